mod accounts;
mod certificates;
mod challenges;
mod faults;
mod floods;
mod known;
mod orders;
mod records;
mod turns;

use serde_json::Value;

use super::*;
use crate::acme::{AccountClaim, GivenUp, OrderStatus, PortError};
use crate::clock::SettableClock;
use crate::crypto::{Certificate, Chain};
use crate::http::Response;
use crate::issuance::driver::certificate::issuer_url;
use crate::model::{DomainName, Eab, Origin, Status, TxtRecord};
use crate::testing::ca::{FakeCa, Fault, Operation, answer, certificate, problem, with_header};
use crate::testing::issuer::Issuer;
use crate::testing::ports::{ACCOUNT_KEYS, MemoryBook, MemoryJournal, MemoryPublisher, Staged, ec, spec};

/// A domain with its CA and its clock.
struct Scene {
    clock: Arc<SettableClock>,
    ca: Arc<FakeCa>,
    journal: MemoryJournal,
    publisher: MemoryPublisher,
    book: MemoryBook,
    wanted: Wanted,
    /// What runs learn of the CA, if they tell each other.
    known: Option<Arc<KnownCas>>,
}

impl Scene {
    fn new(names: &[&str]) -> Self {
        let clock = Arc::new(SettableClock::new(Timestamp::from_second(1_700_000_000).unwrap()));
        let publisher = MemoryPublisher::default();
        let published = publisher.clone();
        let ca = FakeCa::new(Arc::clone(&clock), move |name| published.0.lock().unwrap().look(name));
        let identifiers = names.iter().map(|name| DomainName::parse(name).unwrap().identifier()).collect();
        let wanted = Wanted {
            name: names[0].to_owned(),
            identifiers,
            keys: vec![spec()],
            must_staple: false,
            profile: None,
            profile_mandatory: false,
            preferred_chain: None,
            replaces: None,
            scope: AccountScope { ca_url: FakeCa::DIRECTORY.to_owned(), eab: None },
            contacts: vec!["mailto:admin@x.org".to_owned()],
            contact_source: Arc::default(),
            agreement: Some("accepted".to_owned()),
            challenges: Ok(ChallengeType::USUAL.to_vec()),
            one_txt: false,
        };
        Self {
            clock,
            ca,
            journal: MemoryJournal::default(),
            publisher,
            book: MemoryBook::default(),
            wanted,
            known: None,
        }
    }

    fn driver(&self) -> Driver<MemoryJournal, MemoryPublisher> {
        let ca: Arc<dyn HttpClient> = Arc::clone(&self.ca) as _;
        let clock = Arc::clone(&self.clock);
        let known = self.known.clone().unwrap_or_default().at(&ca, FakeCa::DIRECTORY);
        let book = Arc::new(self.book.clone());
        let journal = self.journal.clone();
        Driver::new(self.wanted.clone(), journal, self.publisher.clone(), book, ca, clock).with_known(known)
    }

    /// Takes at most so many steps; `None` if that is not the end. Waits take no time.
    fn steps(&self, most: usize) -> Option<Result<(), AcmeError>> {
        let mut driver = self.driver();
        for _ in 0..most {
            match driver.step() {
                Ok(Outcome::Continue) => {}
                Ok(Outcome::Wait(until)) => self.clock.advance(until.duration_since(self.clock.now())),
                Ok(Outcome::Done) => return Some(Ok(())),
                Err(err) => return Some(Err(err)),
            }
        }
        None
    }

    fn run(&self) -> Result<(), AcmeError> {
        self.steps(1000).expect("a run comes to an end")
    }

    fn staged(&self) -> std::sync::MutexGuard<'_, Staged> {
        self.journal.0.lock().unwrap()
    }

    /// A run succeeds and leaves a certificate, and nothing else.
    fn succeeds(&self) {
        self.run().unwrap();
        self.is_done();
    }

    fn is_done(&self) {
        let staged = self.staged();
        let key = &staged.keys["P-256"];
        let chain = &staged.chains["P-256"];
        assert!(key.fits(chain.leaf()));
        assert!(staged.order.is_empty() && self.publisher.0.lock().unwrap().data.is_empty());
        self.ca.check();
    }
}

const ALL: [Operation; 10] = [
    Operation::Directory,
    Operation::Nonce,
    Operation::NewAccount,
    Operation::Account,
    Operation::NewOrder,
    Operation::Order,
    Operation::Authorization,
    Operation::Challenge,
    Operation::Finalize,
    Operation::Certificate,
];

/// A scene whose next run comes by every operation.
fn busy_world() -> Scene {
    let scene = Scene::new(&["x.org"]);
    scene.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (1, 1));
    scene
}

/// A scene whose next run comes by this operation: accounts are read if there is one already.
fn world_for(operation: Operation) -> Scene {
    let scene = busy_world();
    if operation == Operation::Account {
        let key = ACCOUNT_KEYS[0].clone();
        let url = scene.ca.add_account(&key);
        let text = format!(r#"{{"status":"valid","url":"{url}","ca-url":"{}"}}"#, FakeCa::DIRECTORY);
        let mut book = scene.book.0.lock().unwrap();
        book.drafted = 1;
        book.accounts.push((serde_json::from_str(&text).unwrap(), key));
        drop(book);
    }
    scene
}

#[test]
fn a_certificate_is_obtained_over_http_01() {
    let scene = Scene::new(&["x.org", "www.x.org"]);
    scene.succeeds();
    let staged = scene.staged();
    assert_eq!(staged.chains["P-256"].leaf().names(), ["x.org", "www.x.org"]);
    assert_eq!(staged.chains["P-256"].certificates().len(), 2);
    assert_eq!(scene.ca.common_name().as_deref(), Some("x.org"));
    let registration = scene.ca.registration();
    assert_eq!(registration.to_string(), r#"{"contact":["mailto:admin@x.org"],"termsOfServiceAgreed":true}"#);
    assert_eq!(
        staged.activities,
        [
            "Contacting ACME server",
            "Registering a new account at the CA",
            "Creating new order",
            "Setting up challenge 'http-01' for domain x.org",
            "Waiting for the CA to look at 'http-01' of domain x.org",
            "Setting up challenge 'http-01' for domain www.x.org",
            "Waiting for the CA to look at 'http-01' of domain www.x.org",
            "Sending the CSR",
            "Downloading the certificate",
        ]
    );
    let set_up: Vec<_> = staged.orders_saved.iter().map(|order| order.challenge_setups.len()).collect();
    assert_eq!(set_up.iter().max(), Some(&2), "{set_up:?}");
}

#[test]
fn a_run_that_is_cut_off_after_any_step_goes_on() {
    for cut in 0.. {
        let scene = Scene::new(&["x.org"]);
        scene.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (1, 1));
        let ended = scene.steps(cut);
        scene.succeeds();
        assert_eq!(scene.ca.accounts(), 1, "cut after {cut} steps");
        assert_eq!(scene.ca.ordered().len(), 1, "cut after {cut} steps");
        if ended.is_some() {
            assert!(cut > 8);
            return;
        }
    }
}

#[test]
fn several_key_types_have_an_order_each() {
    let mut scene = Scene::new(&["x.org"]);
    scene.wanted.keys.push(KeySpec::Ec { curve: "P-384".to_owned() });
    scene.succeeds();
    assert_eq!((scene.ca.ordered().len(), scene.staged().chains.len()), (2, 2));
    let key = scene.staged().keys["P-384"].clone();
    assert!(key.fits(scene.staged().chains["P-384"].leaf()));
}

#[test]
fn several_key_types_go_on_after_any_step() {
    for cut in 0.. {
        let mut scene = Scene::new(&["x.org"]);
        scene.wanted.keys.push(KeySpec::Ec { curve: "P-384".to_owned() });
        let ended = scene.steps(cut);
        scene.succeeds();
        assert_eq!(scene.staged().chains.len(), 2);
        // Cut right behind the first certificate, its order is looked at once more.
        assert_eq!(scene.ca.ordered().len(), 2, "cut after {cut} steps");
        if ended.is_some() {
            return;
        }
    }
}

/// A fault in one kind of request, and the error of the run that meets it.
struct Row {
    operation: Operation,
    fault: Fault,
    says: &'static str,
    status: Status,
}
