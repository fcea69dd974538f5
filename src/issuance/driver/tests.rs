mod accounts;
mod certificates;
mod challenges;
mod faults;
mod orders;
mod records;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use serde_json::Value;

use crate::acme::{AccountClaim, ChainRefused, OrderStatus, PortError};
use crate::clock::SettableClock;
use crate::crypto::{Certificate, Chain, base64url_decode};
use crate::http::Response;
use crate::issuance::driver::certificate::issuer_url;
use crate::issuance::driver::*;
use crate::model::{DomainName, Eab, Status, TxtRecord};
use crate::testing::ca::{FakeCa, Fault, Operation, answer, certificate, problem, with_header};
use crate::testing::issuer::Issuer;

/// The journal of one domain in memory.
#[derive(Default)]
struct Staged {
    order: OrderRecord,
    orders_saved: Vec<OrderRecord>,
    keys: HashMap<String, PrivateKey>,
    chains: HashMap<String, Chain>,
    activities: Vec<String>,
    events: Vec<String>,
    records: Vec<TxtRecord>,
    taken_away: Vec<String>,
    objects: bool,
    full: bool,
    loses_keys: bool,
}

#[derive(Clone, Default)]
struct MemoryJournal(Arc<Mutex<Staged>>);

/// The published challenges, and the calls for them.
#[derive(Default)]
struct Published {
    data: HashMap<SetUp, String>,
    calls: Vec<String>,
    busy: u32,
    unsupported: Vec<ChallengeType>,
    broken: Vec<ChallengeType>,
}

#[derive(Clone, Default)]
struct MemoryPublisher(Arc<Mutex<Published>>);

#[derive(Default)]
struct Book {
    draft: Option<PrivateKey>,
    accounts: Vec<(AccountRecord, PrivateKey)>,
    drafted: usize,
    busy: bool,
}

#[derive(Clone, Default)]
struct MemoryBook(Arc<Mutex<Book>>);

/// Account keys take long to make.
static ACCOUNT_KEYS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| [ec(), ec()]);

fn spec() -> KeySpec {
    KeySpec::Ec { curve: "P-256".to_owned() }
}

fn ec() -> PrivateKey {
    PrivateKey::generate(&spec()).unwrap()
}

fn broken(text: &str) -> PortError {
    PortError { status: Status::GENERAL, text: text.to_owned() }
}

fn full() -> PortError {
    PortError { status: Status(28), text: "no space left".to_owned() }
}

impl Journal for MemoryJournal {
    fn order(&self) -> OrderRecord {
        self.0.lock().unwrap().order.clone()
    }

    fn save_order(&mut self, order: &OrderRecord) -> Result<(), PortError> {
        let mut staged = self.0.lock().unwrap();
        if staged.full {
            return Err(full());
        }
        staged.order = order.clone();
        staged.orders_saved.push(order.clone());
        Ok(())
    }

    fn key(&self, spec: &KeySpec) -> Option<PrivateKey> {
        let staged = self.0.lock().unwrap();
        staged.keys.get(spec.json_name()).filter(|_| !staged.loses_keys).cloned()
    }

    fn save_key(&mut self, spec: &KeySpec, key: &PrivateKey) -> Result<(), PortError> {
        self.0.lock().unwrap().keys.insert(spec.json_name().to_owned(), key.clone());
        Ok(())
    }

    fn has_chain(&self, spec: &KeySpec) -> bool {
        self.0.lock().unwrap().chains.contains_key(spec.json_name())
    }

    fn save_chain(&mut self, spec: &KeySpec, chain: &Chain) -> Result<(), ChainRefused> {
        self.0.lock().unwrap().chains.insert(spec.json_name().to_owned(), chain.clone());
        Ok(())
    }

    fn progress(&mut self, activity: &str) {
        self.0.lock().unwrap().activities.push(activity.to_owned());
    }

    fn needs_records(&mut self, records: &[TxtRecord]) {
        self.0.lock().unwrap().records = records.to_vec();
    }

    fn challenge_in_place(&mut self, set_up: &SetUp) -> Result<(), PortError> {
        let mut staged = self.0.lock().unwrap();
        staged.events.push(set_up.to_string());
        if staged.objects { Err(broken("the event failed")) } else { Ok(()) }
    }

    fn challenge_taken_away(&mut self, set_up: &SetUp) -> Result<(), PortError> {
        self.0.lock().unwrap().taken_away.push(set_up.to_string());
        Ok(())
    }
}

impl Publisher for MemoryPublisher {
    fn reserve(&mut self, set_up: &SetUp) -> Result<Attempt, PortError> {
        let mut published = self.0.lock().unwrap();
        if published.unsupported.contains(&set_up.kind) {
            return Err(PortError { status: Status::UNSUPPORTED, text: "not here".to_owned() });
        }
        Ok(if published.is_free() { Attempt::Done } else { Attempt::Busy })
    }

    fn publish(&mut self, set_up: &SetUp, value: &str) -> Result<(), PortError> {
        let mut published = self.0.lock().unwrap();
        published.calls.push(format!("+{set_up}"));
        published.data.insert(set_up.clone(), value.to_owned());
        if published.broken.contains(&set_up.kind) { Err(broken("out of order")) } else { Ok(()) }
    }

    fn withdraw(&mut self, set_up: &SetUp) -> Result<Attempt, PortError> {
        let mut published = self.0.lock().unwrap();
        if !published.is_free() {
            return Ok(Attempt::Busy);
        }
        published.calls.push(format!("-{set_up}"));
        published.data.remove(set_up);
        Ok(Attempt::Done)
    }
}

impl Published {
    fn is_free(&mut self) -> bool {
        self.busy = self.busy.saturating_sub(1);
        self.busy == 0
    }

    /// Returns all key authorizations for a name, a line each, as the CA finds them.
    fn look(&self, name: &str) -> Option<String> {
        let found: Vec<_> =
            self.data.iter().filter(|(set_up, _)| set_up.name == name).map(|(_, data)| data.as_str()).collect();
        (!found.is_empty()).then(|| found.join("\n"))
    }
}

impl AccountBook for MemoryBook {
    fn claim(&self, _scope: &AccountScope) -> Result<Option<AccountClaim>, PortError> {
        Ok((!self.0.lock().unwrap().busy).then(|| Box::new(()) as _))
    }

    fn find(&self, scope: &AccountScope) -> Option<(AccountRecord, PrivateKey)> {
        self.0.lock().unwrap().accounts.iter().find(|(record, _)| record.is_for(scope)).cloned()
    }

    fn draft_key(&self, _scope: &AccountScope) -> Result<PrivateKey, PortError> {
        let mut book = self.0.lock().unwrap();
        if book.draft.is_none() {
            book.draft = Some(ACCOUNT_KEYS[book.drafted].clone());
            book.drafted += 1;
        }
        Ok(book.draft.clone().unwrap())
    }

    fn add(&self, account: &AccountRecord, key: &PrivateKey) -> Result<(), PortError> {
        let mut book = self.0.lock().unwrap();
        book.draft.take().unwrap();
        book.accounts.push((account.clone(), key.clone()));
        Ok(())
    }

    fn other_keys(&self, _: &AccountRecord, _: &PrivateKey) -> Vec<PrivateKey> {
        Vec::new()
    }

    fn change_key(&self, _: &AccountRecord, _: &PrivateKey) {
        unreachable!()
    }

    fn forget(&self, account: &AccountRecord) -> Result<(), PortError> {
        self.0.lock().unwrap().accounts.retain(|(record, _)| record.url != account.url);
        Ok(())
    }
}

/// A domain with its CA and its clock.
struct Scene {
    clock: Arc<SettableClock>,
    ca: Arc<FakeCa>,
    journal: MemoryJournal,
    publisher: MemoryPublisher,
    book: MemoryBook,
    wanted: Wanted,
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
            agreement: Some("accepted".to_owned()),
            challenges: Ok(ChallengeType::USUAL.to_vec()),
            one_txt: false,
        };
        Self { clock, ca, journal: MemoryJournal::default(), publisher, book: MemoryBook::default(), wanted }
    }

    fn driver(&self) -> Driver<MemoryJournal, MemoryPublisher> {
        let ca = Arc::clone(&self.ca);
        let clock = Arc::clone(&self.clock);
        Driver::new(
            self.wanted.clone(),
            self.journal.clone(),
            self.publisher.clone(),
            Arc::new(self.book.clone()),
            ca,
            clock,
        )
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
