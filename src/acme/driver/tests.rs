use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use serde_json::Value;

use super::certificate::issuer_url;
use super::*;
use crate::acme::{AccountClaim, ChainRefused, OrderStatus, PortError};
use crate::clock::SettableClock;
use crate::crypto::{Certificate, Chain, base64url_decode};
use crate::http::Response;
use crate::model::{DomainName, Eab, Status, TxtRecord};
use crate::testing::ca::{FakeCa, Fault, Operation, answer, certificate, problem, with_header};
use crate::testing::issuer::Issuer;

/// What survives of one domain.
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

/// What is published, and what was asked for.
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
    fn reserve(&mut self, set_up: &SetUp) -> Result<bool, PortError> {
        let mut published = self.0.lock().unwrap();
        if published.unsupported.contains(&set_up.kind) {
            return Err(PortError { status: Status::UNSUPPORTED, text: "not here".to_owned() });
        }
        Ok(published.is_free())
    }

    fn publish(&mut self, set_up: &SetUp, value: &str) -> Result<(), PortError> {
        let mut published = self.0.lock().unwrap();
        published.calls.push(format!("+{set_up}"));
        published.data.insert(set_up.clone(), value.to_owned());
        if published.broken.contains(&set_up.kind) { Err(broken("out of order")) } else { Ok(()) }
    }

    fn withdraw(&mut self, set_up: &SetUp) -> Result<bool, PortError> {
        let mut published = self.0.lock().unwrap();
        if !published.is_free() {
            return Ok(false);
        }
        published.calls.push(format!("-{set_up}"));
        published.data.remove(set_up);
        Ok(true)
    }
}

impl Published {
    fn is_free(&mut self) -> bool {
        self.busy = self.busy.saturating_sub(1);
        self.busy == 0
    }

    /// What the CA finds for a name: all key authorizations, a line each.
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

/// One domain, its CA, and the time.
struct World {
    clock: Arc<SettableClock>,
    ca: Arc<FakeCa>,
    journal: MemoryJournal,
    publisher: MemoryPublisher,
    book: MemoryBook,
    wanted: Wanted,
}

impl World {
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
        let (ca, clock) = (Arc::clone(&self.ca), Arc::clone(&self.clock));
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
        let (key, chain) = (&staged.keys["P-256"], &staged.chains["P-256"]);
        assert!(key.fits(chain.leaf()));
        assert!(staged.order.is_empty() && self.publisher.0.lock().unwrap().data.is_empty());
        self.ca.check();
    }
}

#[test]
fn a_certificate_is_obtained_over_http_01() {
    let world = World::new(&["x.org", "www.x.org"]);
    world.succeeds();
    let staged = world.staged();
    assert_eq!(staged.chains["P-256"].leaf().names(), ["x.org", "www.x.org"]);
    assert_eq!(staged.chains["P-256"].certificates().len(), 2);
    assert_eq!(world.ca.common_name().as_deref(), Some("x.org"));
    let registration = world.ca.registration();
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
        let world = World::new(&["x.org"]);
        world.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (1, 1));
        let ended = world.steps(cut);
        world.succeeds();
        assert_eq!(world.ca.accounts(), 1, "cut after {cut} steps");
        assert_eq!(world.ca.ordered().len(), 1, "cut after {cut} steps");
        if ended.is_some() {
            assert!(cut > 8);
            return;
        }
    }
}

#[test]
fn several_key_types_have_an_order_each() {
    let mut world = World::new(&["x.org"]);
    world.wanted.keys.push(KeySpec::Ec { curve: "P-384".to_owned() });
    world.succeeds();
    assert_eq!((world.ca.ordered().len(), world.staged().chains.len()), (2, 2));
    let key = world.staged().keys["P-384"].clone();
    assert!(key.fits(world.staged().chains["P-384"].leaf()));
}

#[test]
fn several_key_types_go_on_after_any_step() {
    for cut in 0.. {
        let mut world = World::new(&["x.org"]);
        world.wanted.keys.push(KeySpec::Ec { curve: "P-384".to_owned() });
        let ended = world.steps(cut);
        world.succeeds();
        assert_eq!(world.staged().chains.len(), 2);
        // Cut right behind the first certificate, its order is looked at once more.
        assert_eq!(world.ca.ordered().len(), 2, "cut after {cut} steps");
        if ended.is_some() {
            return;
        }
    }
}

/// A fault in one kind of request, and what the run that meets it says.
struct Row {
    operation: Operation,
    fault: Fault,
    says: &'static str,
    status: Status,
}

fn row(operation: Operation, fault: Fault, says: &'static str, status: Status) -> Row {
    Row { operation, fault, says, status }
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

/// A world whose next run comes by every operation.
fn busy_world() -> World {
    let world = World::new(&["x.org"]);
    world.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (1, 1));
    world
}

/// As above, for this operation: accounts are read where there is one already.
fn world_for(operation: Operation) -> World {
    let world = busy_world();
    if operation == Operation::Account {
        let key = ACCOUNT_KEYS[0].clone();
        let url = world.ca.add_account(&key);
        let text = format!(r#"{{"status":"valid","url":"{url}","ca-url":"{}"}}"#, FakeCa::DIRECTORY);
        let mut book = world.book.0.lock().unwrap();
        book.drafted = 1;
        book.accounts.push((serde_json::from_str(&text).unwrap(), key));
        drop(book);
    }
    world
}

/// A run that fails in this way, then one that succeeds.
fn fails_then_succeeds(row: Row) -> AcmeError {
    let world = world_for(row.operation);
    let context = format!("{:?} {:?}", row.operation, row.fault);
    world.ca.fail(row.operation, row.fault);
    let err = world.run().expect_err(&context);
    assert_eq!((err.to_string(), err.status()), (row.says.to_owned(), row.status), "{context}");
    let result = err.to_result();
    let says = row.says.split(" <urn:").next().unwrap_or_default();
    assert!(result.detail.is_some_and(|detail| detail.starts_with(says)), "{context}");
    world.ca.recover();
    world.succeeds();
    assert_eq!(world.ca.accounts(), 1, "{context}");
    err
}

#[test]
fn connections_that_end_are_tried_again_in_the_next_run() {
    for operation in ALL {
        for fault in [Fault::Drop, Fault::DropAnswer] {
            let says = match operation {
                Operation::Directory => {
                    "Unsuccessful in contacting ACME server at <https://ca.test/directory>: the request to ca.test failed: \
                     connection reset"
                }
                _ => "the request to ca.test failed: connection reset",
            };
            let err = fails_then_succeeds(row(operation, fault, says, Status::GENERAL));
            assert!(!err.is_permanent() && err.retry_after().is_none());
        }
    }
}

#[test]
fn rate_limits_say_when_to_come_back() {
    let limited = with_header(problem(429, "rateLimited", "too many"), "Retry-After", "3600");
    for operation in ALL {
        let (says, status) = match operation {
            Operation::Directory => (
                "Unsuccessful in contacting ACME server at <https://ca.test/directory>: it answered with HTTP status 429: \
                 too many",
                Status::AGAIN,
            ),
            Operation::Nonce => (
                "Unsuccessful in contacting ACME server at <https://ca.test/nonce>: it answered with HTTP status 429: too many",
                Status::AGAIN,
            ),
            _ => ("too many <urn:ietf:params:acme:error:rateLimited>", Status::BAD_ARGUMENT),
        };
        let err = fails_then_succeeds(row(operation, Fault::Answer(limited.clone()), says, status));
        assert!(!err.is_permanent());
        let wait = err.retry_after().unwrap().as_second() - 1_700_000_000;
        assert!((3600..3605).contains(&wait), "{operation:?}: {wait}");
    }
}

#[test]
fn retry_after_is_a_date_or_seconds_and_at_most_a_week() {
    let rows = [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("Tue, 14 Nov 2023 22:15:20 GMT", Some(120)),
        ("Fri, 14 Nov 2053 22:15:20 GMT", Some(7 * 86_400)),
        ("4000000000", Some(7 * 86_400)),
        ("-1", None),
        ("soon", None),
        ("", None),
    ];
    for (text, expected) in rows {
        let world = busy_world();
        let unavailable = with_header(answer(503, "text/html", "<html>"), "retry-after", text);
        world.ca.fail(Operation::Directory, Fault::Answer(unavailable));
        let err = world.run().unwrap_err();
        assert_eq!(err.retry_after().map(|at| at.as_second() - 1_700_000_000), expected, "{text:?}");
        assert!(err.to_string().contains("unavailable at the moment (HTTP status 503)"), "{err}");
    }
}

#[test]
fn problems_are_told_and_some_are_permanent() {
    let rows = [
        (Operation::NewAccount, "invalidContact", Status::BAD_ARGUMENT, true),
        (Operation::NewAccount, "externalAccountRequired", Status::INVALID, true),
        (Operation::Account, "serverInternal", Status::GENERAL, false),
        (Operation::NewOrder, "rejectedIdentifier", Status::BAD_ARGUMENT, true),
        (Operation::NewOrder, "unauthorized", Status::DENIED, false),
        (Operation::NewOrder, "userActionRequired", Status::GENERAL, true),
        (Operation::NewOrder, "caa", Status::GENERAL, false),
        (Operation::Order, "unauthorized", Status::DENIED, false),
        (Operation::Authorization, "serverInternal", Status::GENERAL, false),
        (Operation::Challenge, "malformed", Status::INVALID, true),
        (Operation::Finalize, "badCSR", Status::INVALID, true),
        (Operation::Finalize, "orderNotReady", Status::GENERAL, false),
        (Operation::Certificate, "serverInternal", Status::GENERAL, false),
    ];
    for (operation, name, status, permanent) in rows {
        let says: &str = Box::leak(format!("no <urn:ietf:params:acme:error:{name}>").into_boxed_str());
        let err = fails_then_succeeds(row(operation, Fault::Answer(problem(403, name, "no")), says, status));
        assert_eq!(err.is_permanent(), permanent, "{operation:?} {name}");
        assert!(err.to_result().problem.unwrap().ends_with(name));
    }
}

#[test]
fn empty_and_broken_answers_are_errors_of_this_run_only() {
    let bodies: [fn(&mut Response); 3] = [
        |answer| answer.body.clear(),
        |answer| answer.body.truncate(answer.body.len() / 3),
        |answer| answer.body = b"<html>sorry</html>".to_vec(),
    ];
    for operation in ALL {
        for (index, body) in bodies.into_iter().enumerate() {
            let world = world_for(operation);
            world.ca.fail(operation, Fault::Alter(body));
            let err = match (operation, world.run()) {
                // What is in these answers is in their headers.
                (Operation::Nonce | Operation::Challenge, result) => {
                    result.unwrap();
                    continue;
                }
                (_, result) => result.expect_err(&format!("{operation:?} {index}")),
            };
            let says = match operation {
                Operation::Directory => "Unable to understand ACME server response",
                Operation::Certificate => "the certificate from <https://ca.test/certificate/0> cannot be used",
                _ => "unable to process the response from <https://ca.test/",
            };
            assert!(err.to_string().starts_with(says), "{operation:?} {index}: {err}");
            assert_eq!(err.status(), Status::INVALID);
            assert!(!err.is_permanent());
            world.ca.recover();
            world.succeeds();
            assert_eq!(world.ca.accounts(), 1);
        }
    }
}

#[test]
fn errors_without_a_problem_document_have_the_status() {
    let rows = [
        (400, Status::INVALID),
        (401, Status::DENIED),
        (403, Status::DENIED),
        (404, Status::NOT_FOUND),
        (500, Status::GENERAL),
        (301, Status::GENERAL),
    ];
    for (http_status, status) in rows {
        for body in [answer(http_status, "text/html", "<html>"), answer(http_status, "application/problem+json", "{}")]
        {
            let says = format!("unexpected http status: {http_status} from <https://ca.test/new-order>");
            let says: &str = Box::leak(says.into_boxed_str());
            fails_then_succeeds(row(Operation::NewOrder, Fault::Answer(body), says, status));
        }
    }
}

#[test]
fn a_missing_location_matters_only_where_something_is_created() {
    let strip: fn(&mut Response) = |answer| answer.headers.retain(|(name, _)| name != "Location");
    for (operation, url) in [(Operation::NewAccount, "new-account"), (Operation::NewOrder, "new-order")] {
        let says: &str = Box::leak(format!("the CA's answer from <https://ca.test/{url}> lacks a Location").into());
        fails_then_succeeds(row(operation, Fault::Alter(strip), says, Status::INVALID));
    }
    let world = busy_world();
    for operation in [Operation::Finalize, Operation::Certificate, Operation::Authorization] {
        world.ca.fail(operation, Fault::Alter(strip));
    }
    world.succeeds();
}

#[test]
fn content_types_of_good_answers_do_not_matter() {
    let types: [fn(&mut Response); 3] = [
        |answer| answer.headers.retain(|(name, _)| name != "Content-Type"),
        |answer| {
            answer
                .headers
                .iter_mut()
                .filter(|(n, _)| n == "Content-Type")
                .for_each(|(_, v)| *v = "text/plain".to_owned())
        },
        |answer| {
            answer.headers.iter_mut().filter(|(n, _)| n == "Content-Type").for_each(|(_, v)| *v = "a/b".to_owned())
        },
    ];
    for alter in types {
        let world = busy_world();
        ALL.into_iter().for_each(|operation| world.ca.fail_times(operation, 100, Fault::Alter(alter)));
        world.succeeds();
    }
}

#[test]
fn refused_nonces_are_answered_with_the_new_one_in_every_operation() {
    for operation in ALL.into_iter().filter(|o| !matches!(o, Operation::Directory | Operation::Nonce)) {
        let world = world_for(operation);
        world.ca.fail_times(operation, 25, Fault::RefuseNonce);
        world.succeeds();
        assert_eq!(world.ca.count(Operation::Nonce), 1, "{operation:?}");
        assert_eq!(world.ca.ordered().len(), 1);
    }
    let world = world_for(Operation::Finalize);
    world.ca.fail_times(Operation::Finalize, 26, Fault::RefuseNonce);
    let began = world.clock.now();
    assert!(matches!(world.run(), Err(AcmeError::BadNonce)));
    let took = world.clock.now().duration_since(began);
    assert!(took > SignedDuration::from_secs(5) && took < SignedDuration::from_secs(60), "{took:?}");
}

#[test]
fn a_refusal_without_a_nonce_leads_to_a_fresh_one() {
    let world = busy_world();
    let bare = with_header(problem(400, "badNonce", "stale"), "No-Nonce", "");
    world.ca.fail(Operation::NewOrder, Fault::Answer(bare));
    world.succeeds();
    assert_eq!(world.ca.count(Operation::Nonce), 2);
    world.ca.fail(
        Operation::Nonce,
        Fault::Answer(with_header(Response { status: 200, ..Response::default() }, "No-Nonce", "")),
    );
    let world = World { journal: MemoryJournal::default(), ..world };
    assert_eq!(
        world.run().unwrap_err().to_string(),
        "the CA's answer from <https://ca.test/nonce> lacks a Replay-Nonce"
    );
}

#[test]
fn a_crash_right_after_the_registration_makes_no_second_account() {
    let world = World::new(&["x.org"]);
    world.ca.fail(Operation::NewAccount, Fault::DropAnswer);
    world.run().unwrap_err();
    assert_eq!((world.ca.accounts(), world.book.0.lock().unwrap().accounts.len()), (1, 0));
    world.succeeds();
    assert_eq!((world.ca.accounts(), world.ca.count(Operation::NewAccount)), (1, 2));
}

#[test]
fn an_account_that_the_ca_lost_is_replaced_in_the_same_run() {
    for status in ["gone", "deactivated", "revoked"] {
        let world = world_for(Operation::Account);
        world.ca.set_accounts(status);
        world.succeeds();
        assert_eq!((world.ca.accounts(), world.book.0.lock().unwrap().accounts.len()), (2, 1), "{status}");
    }
    let deactivated: fn(&mut Response) = |answer| answer.body = br#"{"status":"deactivated"}"#.to_vec();
    let world = world_for(Operation::Account);
    world.ca.fail(Operation::Account, Fault::Alter(deactivated));
    world.ca.set_accounts("valid");
    world.run().unwrap();
}

#[test]
fn an_order_of_a_lost_account_is_replaced_too() {
    let world = world_for(Operation::Account);
    world.ca.fail(Operation::Finalize, Fault::Drop);
    world.run().unwrap_err();
    world.ca.set_accounts("gone");
    world.succeeds();
    assert_eq!((world.ca.accounts(), world.ca.ordered().len()), (2, 2));
}

#[test]
fn somebody_else_at_the_accounts_is_waited_for() {
    let world = World::new(&["x.org"]);
    world.book.0.lock().unwrap().busy = true;
    assert!(world.steps(20).is_none());
    assert_eq!(world.ca.count(Operation::NewAccount), 0);
    world.book.0.lock().unwrap().busy = false;
    world.succeeds();
}

#[test]
fn an_account_without_a_status_counts_as_valid() {
    let bare: fn(&mut Response) = |answer| answer.body = b"{}".to_vec();
    let world = World::new(&["x.org"]);
    world.ca.fail(Operation::NewAccount, Fault::Alter(bare));
    world.succeeds();
    assert!(world.book.0.lock().unwrap().accounts[0].0.is_for(&world.wanted.scope));
    let world = world_for(Operation::Account);
    world.ca.fail(Operation::Account, Fault::Alter(bare));
    world.succeeds();
    assert_eq!(world.ca.accounts(), 1);
}

#[test]
fn an_account_that_is_there_needs_no_claim() {
    let world = world_for(Operation::Account);
    world.book.0.lock().unwrap().busy = true;
    world.succeeds();
    assert_eq!((world.ca.accounts(), world.ca.count(Operation::NewAccount)), (1, 0));
}

/// A book that gives out a claim and at the same time turns out to have an account.
struct Late(MemoryBook, (AccountRecord, PrivateKey));

impl AccountBook for Late {
    fn claim(&self, _: &AccountScope) -> Result<Option<AccountClaim>, PortError> {
        self.0.0.lock().unwrap().accounts.push(self.1.clone());
        Ok(Some(Box::new(())))
    }

    fn find(&self, scope: &AccountScope) -> Option<(AccountRecord, PrivateKey)> {
        self.0.find(scope)
    }

    fn draft_key(&self, _: &AccountScope) -> Result<PrivateKey, PortError> {
        unreachable!()
    }

    fn add(&self, _: &AccountRecord, _: &PrivateKey) -> Result<(), PortError> {
        unreachable!()
    }

    fn other_keys(&self, _: &AccountRecord, _: &PrivateKey) -> Vec<PrivateKey> {
        unreachable!()
    }

    fn change_key(&self, _: &AccountRecord, _: &PrivateKey) {
        unreachable!()
    }

    fn forget(&self, _: &AccountRecord) -> Result<(), PortError> {
        unreachable!()
    }
}

#[test]
fn an_account_that_came_before_the_claim_is_taken() {
    let world = world_for(Operation::Account);
    let account = world.book.0.lock().unwrap().accounts.pop().unwrap();
    let book = Arc::new(Late(world.book.clone(), account));
    let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let (journal, publisher) = (world.journal.clone(), world.publisher.clone());
    let http = Arc::clone(&world.ca) as Arc<dyn HttpClient>;
    let mut driver = Driver::new(world.wanted.clone(), journal, publisher, book, http, clock);
    while world.ca.count(Operation::NewOrder) == 0 {
        assert_eq!(driver.step().unwrap(), Outcome::Continue);
    }
    assert_eq!((world.ca.count(Operation::NewAccount), world.ca.count(Operation::Account)), (0, 1));
}

#[test]
fn registration_needs_a_contact_and_an_agreement() {
    let mut world = World::new(&["x.org"]);
    world.wanted.contacts.clear();
    let err = world.run().unwrap_err();
    assert!(err.to_string().starts_with("No contact information is available for MD x.org"), "{err}");
    assert!(err.is_permanent());
    world.wanted.contacts.push("mailto:a@x.org".to_owned());
    world.wanted.agreement = None;
    let err = world.run().unwrap_err();
    assert!(err.to_string().contains("terms-of-service as specified in <https://ca.test/terms>"), "{err}");
    assert!(err.is_permanent());
    world.wanted.agreement = Some("accepted".to_owned());
    world.ca.behave(|ca| ca.has_terms = false);
    world.succeeds();
    assert_eq!(world.ca.registration().to_string(), r#"{"contact":["mailto:a@x.org"]}"#);
}

#[test]
fn an_external_account_is_bound_once() {
    let mut world = World::new(&["x.org"]);
    let eab = |hmac: &str| Some(Eab { kid: "kid-1".to_owned(), hmac: hmac.to_owned() });
    world.wanted.scope.eab = eab("");
    let err = world.run().unwrap_err();
    assert!(matches!(err, AcmeError::EabKey) && err.is_permanent());
    world.wanted.scope.eab = eab("c2VjcmV0");
    world.succeeds();
    let binding = &world.ca.registration()["externalAccountBinding"];
    let header = base64url_decode(binding["protected"].as_str().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!((&header["kid"], &header["alg"]), (&"kid-1".into(), &"HS256".into()));
    assert_eq!(world.book.0.lock().unwrap().accounts[0].0.eab, world.wanted.scope.eab);
}

#[test]
fn authorizations_that_are_valid_already_need_no_challenge() {
    let world = World::new(&["x.org", "y.org"]);
    world.ca.behave(|ca| ca.authorized = true);
    world.succeeds();
    assert_eq!((world.ca.count(Operation::Challenge), world.ca.count(Operation::Authorization)), (0, 0));
    let world = World::new(&["x.org", "y.org"]);
    world.ca.behave(|ca| ca.without_authorizations = true);
    world.succeeds();
    let world = World::new(&["x.org", "y.org"]);
    world.ca.behave(|ca| ca.authorized = true);
    let pending: fn(&mut Response) = |answer| {
        answer.body = String::from_utf8_lossy(&answer.body).replace(r#""ready""#, r#""pending""#).into_bytes();
    };
    world.ca.fail(Operation::NewOrder, Fault::Alter(pending));
    world.succeeds();
    assert_eq!((world.ca.count(Operation::Challenge), world.ca.count(Operation::Authorization)), (0, 2));
}

#[test]
fn an_order_that_is_valid_at_once_is_downloaded_if_its_key_is_here() {
    let world = busy_world();
    world.ca.fail(Operation::Certificate, Fault::Drop);
    world.run().unwrap_err();
    assert_eq!(world.staged().order.status, OrderStatus::Valid);
    world.succeeds();
    assert_eq!((world.ca.ordered().len(), world.ca.count(Operation::Finalize)), (1, 1));
}

#[test]
fn unknown_challenge_types_are_passed_over() {
    let world = World::new(&["x.org"]);
    let others = [
        r#"{"type":"dns-account-01","url":"https://ca.test/challenge/9","status":"pending","token":"t"}"#,
        r#"{"type":"dns-persist-01","url":"https://ca.test/challenge/9","issuer-domain-names":["ca.test"]}"#,
        r#"{"type":"foo-99"}"#,
    ];
    world.ca.behave(|ca| ca.others = others.iter().map(|text| serde_json::from_str(text).unwrap()).collect());
    world.succeeds();
    let world = World::new(&["x.org"]);
    world.ca.behave(|ca| {
        ca.http_01 = false;
        ca.others = others.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    });
    let err = world.run().unwrap_err();
    assert_eq!(
        err.to_string(),
        "None of offered challenge types for domain x.org are supported. The server offered 'dns-account-01 dns-persist-01 \
         foo-99' and available are: 'tls-alpn-01 http-01 dns-01'."
    );
    assert_eq!(err.to_result().problem.as_deref(), Some("challenge-mismatch"));
    assert!(world.staged().order.is_empty());
    world.ca.recover();
    world.succeeds();
}

/// A CA that looks for persistent records only, and has these names.
fn world_of_records(issuers: &[&'static str]) -> World {
    let mut world = World::new(&["x.org", "*.x.org", "y.org"]);
    world.wanted.challenges = Ok(vec![ChallengeType::DnsPersist01, ChallengeType::Http01]);
    world.ca.behave(|ca| (ca.kind, ca.issuers) = ("dns-persist-01", issuers.to_vec()));
    world
}

/// The records for x.org and y.org, by the first issuer.
fn expected_records() -> [TxtRecord; 2] {
    let record = |name: &str, policy: &str| TxtRecord {
        name: format!("_validation-persist.{name}"),
        value: format!("ca.test; accounturi=https://ca.test/account/0{policy}"),
    };
    [record("x.org", "; policy=wildcard"), record("y.org", "")]
}

#[test]
fn records_that_are_there_for_good_need_no_set_up() {
    let world = world_of_records(&["ca.test", "ca.example.net"]);
    world.succeeds();
    let staged = world.staged();
    assert_eq!(staged.records, expected_records());
    assert!(staged.events.is_empty() && staged.orders_saved.iter().all(|order| order.challenge_setups.is_empty()));
    assert!(world.publisher.0.lock().unwrap().calls.is_empty());
}

#[test]
fn a_record_that_is_not_as_it_has_to_be_is_told() {
    let world = world_of_records(&["ca.test"]);
    world.ca.behave(|ca| ca.finds = Some("no such record"));
    let err = world.run().unwrap_err();
    let detail = err.to_result().detail.unwrap();
    assert_eq!(
        detail,
        "x.org: CA considers answer to challenge invalid: no such record; set the TXT record _validation-persist.x.org to \
         \"ca.test; accounturi=https://ca.test/account/0; policy=wildcard\" and leave it there"
    );
    assert!(err.is_failed_validation() && world.staged().order.is_empty());
    assert_eq!(world.staged().records, expected_records());
    world.ca.behave(|ca| ca.finds = None);
    world.succeeds();
}

#[test]
fn an_account_that_takes_the_place_of_a_lost_one_needs_other_records() {
    let world = world_of_records(&["ca.test"]);
    world.succeeds();
    world.ca.set_accounts("gone");
    world.staged().chains.clear();
    world.succeeds();
    assert!(world.staged().records[0].value.contains("https://ca.test/account/1"));
}

#[test]
fn a_malformed_challenge_for_records_is_refused_and_the_next_type_tried() {
    let world = world_of_records(&["ca.test"; 11]);
    let err = world.run().unwrap_err();
    assert_eq!(
        err.to_string(),
        "None of offered challenge types for domain x.org are supported. The server offered 'dns-persist-01' and \
         available are: 'dns-persist-01 http-01'. 'dns-persist-01' cannot be set up: its challenge is malformed: the CA \
         gives 11 issuer names, where 10 are allowed."
    );
    let mut world = World::new(&["x.org"]);
    world.wanted.challenges = Ok(vec![ChallengeType::DnsPersist01, ChallengeType::Http01]);
    let malformed =
        r#"{"type":"dns-persist-01","url":"https://ca.test/challenge/9","issuer-domain-names":["CA.test"]}"#;
    world.ca.behave(|ca| ca.others = vec![serde_json::from_str(malformed).unwrap()]);
    world.succeeds();
    assert_eq!(world.staged().events, ["http-01:x.org"]);
}

#[test]
fn without_a_suitable_challenge_the_ca_is_not_asked() {
    let mut world = World::new(&["x.org"]);
    world.wanted.challenges = Err("None of the ACME challenge methods are suitable.".to_owned());
    let err = world.run().unwrap_err();
    assert_eq!(err.to_string(), "None of the ACME challenge methods are suitable.");
    assert_eq!((err.status(), err.is_permanent()), (Status::INVALID, true));
    assert_eq!(err.to_result().problem.as_deref(), Some("challenge-mismatch"));
    assert_eq!(world.ca.count(Operation::Directory), 0);
}

#[test]
fn a_challenge_that_fails_is_told_and_leaves_nothing() {
    let world = World::new(&["x.org", "y.org"]);
    world.ca.behave(|ca| ca.finds = Some("404 at http://x.org"));
    let err = world.run().unwrap_err();
    assert_eq!(err.to_string(), "CA considers answer to challenge invalid: 404 at http://x.org");
    let result = err.to_result();
    assert_eq!(result.problem.as_deref(), Some("urn:ietf:params:acme:error:incorrectResponse"));
    assert!(result.detail.unwrap().starts_with("x.org: CA considers"));
    assert!(world.staged().order.is_empty() && world.publisher.0.lock().unwrap().data.is_empty());
    world.ca.recover();
    world.succeeds();
    assert_eq!(world.ca.ordered().len(), 2);
}

#[test]
fn what_is_left_of_an_order_that_cannot_be_used_is_replaced_in_the_same_run() {
    let spoil: [fn(&FakeCa); 6] = [
        |ca| ca.set_orders("invalid"),
        |ca| ca.set_orders("gone"),
        |ca| ca.set_authorizations("invalid"),
        |ca| ca.set_authorizations("expired"),
        |ca| ca.set_authorizations("gone"),
        |ca| ca.set_authorizations("deactivated"),
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let world = World::new(&["x.org"]);
        world.ca.fail(Operation::Challenge, Fault::Drop);
        world.run().unwrap_err();
        assert_eq!(world.staged().order.challenge_setups, ["http-01:x.org"]);
        spoil(&world.ca);
        world.succeeds();
        assert_eq!(world.ca.ordered().len(), 2, "{index}");
    }
}

#[test]
fn an_order_that_fails_in_its_own_run_ends_it() {
    let world = World::new(&["x.org"]);
    world.ca.behave(|ca| ca.authorized = true);
    let invalid: fn(&mut Response) = |answer| answer.body = br#"{"status":"invalid"}"#.to_vec();
    world.ca.fail(Operation::Finalize, Fault::Alter(invalid));
    assert_eq!(world.run().unwrap_err().to_string(), "the order https://ca.test/order/0 is invalid");
    let explained: fn(&mut Response) = |answer| {
        answer.body =
            br#"{"status":"invalid","error":{"type":"urn:ietf:params:acme:error:caa","detail":"no"}}"#.to_vec();
    };
    world.ca.fail(Operation::Finalize, Fault::Alter(explained));
    assert_eq!(world.run().unwrap_err().to_string(), "no <urn:ietf:params:acme:error:caa>");
    world.succeeds();
    assert_eq!(world.ca.ordered().len(), 3);
}

#[test]
fn orders_that_lack_a_url_are_given_up() {
    let without = |member: &'static str| -> fn(&mut Response) {
        match member {
            "finalize" => |answer| answer.body = br#"{"status":"ready"}"#.to_vec(),
            _ => |answer| answer.body = br#"{"status":"valid"}"#.to_vec(),
        }
    };
    for (member, says) in
        [("finalize", "lacks the URL to finalize at"), ("certificate", "lacks the URL of the certificate")]
    {
        let world = World::new(&["x.org"]);
        world.ca.fail(Operation::NewOrder, Fault::Alter(without(member)));
        let err = world.run().unwrap_err();
        assert!(err.to_string().ends_with(says), "{err}");
        assert!(world.staged().order.is_empty());
        world.succeeds();
    }
}

#[test]
fn a_ca_that_is_never_done_is_given_five_minutes_and_its_order_is_kept() {
    for (pending, processing, what) in
        [(u32::MAX, 0, "the CA to look at the challenges"), (0, u32::MAX, "the certificate to be issued")]
    {
        let world = World::new(&["x.org"]);
        world.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (pending, processing));
        let began = world.clock.now();
        let err = world.run().unwrap_err();
        assert_eq!(err.to_string(), format!("Error waiting for {what}: the CA was not done after 5 minutes"));
        assert_eq!(err.status(), Status::TIMED_OUT);
        let took = world.clock.now().duration_since(began).as_secs();
        assert!((300..=311).contains(&took), "{took}");
        assert!(world.ca.count(Operation::Order) + world.ca.count(Operation::Authorization) < 60);
        assert!(!world.staged().order.is_empty());
    }
}

#[test]
fn retry_after_is_a_floor_for_polling() {
    let later: fn(&mut Response) = |answer| answer.headers.push(("Retry-After".to_owned(), "20".to_owned()));
    for operation in [Operation::Challenge, Operation::Authorization, Operation::Finalize, Operation::Order] {
        let world = busy_world();
        world.ca.fail_times(operation, 100, Fault::Alter(later));
        let began = world.clock.now();
        world.succeeds();
        let took = world.clock.now().duration_since(began).as_secs();
        assert!((20..90).contains(&took), "{operation:?}: {took}");
    }
}

#[test]
fn a_retry_after_of_an_hour_ends_the_run_and_keeps_its_order() {
    let later: fn(&mut Response) = |answer| answer.headers.push(("Retry-After".to_owned(), "3600".to_owned()));
    for operation in [Operation::Challenge, Operation::Authorization, Operation::Finalize] {
        let world = busy_world();
        world.ca.fail(operation, Fault::Alter(later));
        let began = world.clock.now();
        let err = world.run().unwrap_err();
        assert!(world.clock.now().duration_since(began).as_secs() < 10, "{operation:?}");
        let wait = err.retry_after().unwrap().duration_since(began).as_secs();
        assert!((3600..3610).contains(&wait) && !err.is_permanent(), "{operation:?}: {wait}");
        assert!(err.to_string().contains("the CA wants to be asked again at Tue, 14 Nov 2023 23:13:"), "{err}");
        world.clock.advance(SignedDuration::from_secs(3600));
        world.succeeds();
        assert_eq!(world.ca.ordered().len(), 1);
    }
}

#[test]
fn an_order_that_stays_ready_is_finalized_once_in_a_run() {
    let ready: fn(&mut Response) = |answer| {
        let body = String::from_utf8_lossy(&answer.body);
        answer.body = body.replace(r#""processing""#, r#""ready""#).replace(r#""valid""#, r#""ready""#).into_bytes();
    };
    for (reads, ends) in [(3, true), (1000, false)] {
        let world = busy_world();
        world.ca.fail(Operation::Finalize, Fault::Alter(ready));
        // The first answer belongs to the time before.
        world.ca.fail_times(Operation::Order, reads, Fault::Alter(ready));
        let result = world.run();
        assert_eq!((result.is_ok(), world.ca.count(Operation::Finalize)), (ends, 1), "{result:?}");
        assert!(ends || matches!(result, Err(AcmeError::TimedOut { .. })));
    }
}

#[test]
fn a_slow_ca_is_waited_for() {
    let world = busy_world();
    ALL.into_iter().for_each(|o| world.ca.fail_times(o, 1, Fault::Slow(SignedDuration::from_secs(60))));
    world.succeeds();
}

#[test]
fn a_chain_of_one_certificate_is_taken() {
    let world = World::new(&["x.org"]);
    world.ca.behave(|ca| ca.with_issuer = false);
    world.succeeds();
    assert_eq!(world.staged().chains["P-256"].certificates().len(), 1);
}

#[test]
fn a_certificate_for_another_key_is_refused() {
    let world = busy_world();
    world.ca.fail(Operation::Certificate, Fault::Drop);
    world.run().unwrap_err();
    // As if the key had been lost: the order of the former run is replaced at once.
    world.staged().keys.insert("P-256".to_owned(), ec());
    world.succeeds();
    assert_eq!(world.ca.ordered().len(), 2);
    // In its own run it is an error.
    let world = World::new(&["x.org"]);
    let other: fn(&mut Response) = |answer| {
        let name = [DomainName::parse("x.org").unwrap()];
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        answer.body = crate::crypto::self_signed(&ec(), "x", &name, at, 1).unwrap().to_pem().into_bytes();
    };
    world.ca.fail(Operation::Certificate, Fault::Alter(other));
    assert!(matches!(world.run(), Err(AcmeError::WrongKey)));
    assert!(world.staged().chains.is_empty() && world.staged().order.is_empty());
    world.succeeds();
}

#[test]
fn a_key_that_is_lost_while_its_certificate_is_ordered_costs_one_more_order() {
    let world = World::new(&["x.org"]);
    world.staged().loses_keys = true;
    let err = world.run().unwrap_err();
    assert!(matches!(err, AcmeError::KeyLost(_)) && !err.is_permanent());
    assert!(world.staged().order.is_empty());
    world.staged().loses_keys = false;
    world.succeeds();
    assert_eq!(world.ca.ordered().len(), 2);
}

#[test]
fn a_certificate_that_stays_away_does_not_keep_its_order_alive() {
    let faults = [
        Fault::Answer(problem(404, "malformed", "no such certificate")),
        Fault::Answer(answer(403, "text/html", "<html>")),
        Fault::Answer(answer(200, "application/pem-certificate-chain", "-----BEGIN CERTIFICATE-----")),
    ];
    for fault in faults {
        let world = busy_world();
        world.ca.fail_times(Operation::Certificate, 2, fault);
        world.run().unwrap_err();
        world.succeeds();
        assert_eq!(world.ca.ordered().len(), 2);
    }
}

#[test]
fn a_first_name_of_64_octets_is_no_common_name() {
    let label = "a".repeat(60);
    for (name, is_common) in [(format!("{label}.ab"), true), (format!("{label}.abc"), false)] {
        let world = World::new(&[&name, "x.org"]);
        world.succeeds();
        assert_eq!(world.ca.common_name(), is_common.then_some(name));
        assert_eq!(world.staged().chains["P-256"].leaf().names().len(), 2);
    }
}

#[test]
fn many_names_are_ordered_whole() {
    let names: Vec<String> = (0..100).map(|n| format!("{n}.{}.example.org", "a".repeat(60))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(&names);
    world.ca.behave(|ca| ca.authorized = true);
    world.succeeds();
    assert_eq!(world.staged().chains["P-256"].leaf().names(), names);
}

#[test]
fn a_full_disk_ends_the_run_and_the_next_one_goes_on() {
    let world = World::new(&["x.org"]);
    world.staged().full = true;
    let err = world.run().unwrap_err();
    assert_eq!((err.to_string(), err.status()), ("no space left".to_owned(), Status(28)));
    world.staged().full = false;
    world.succeeds();
}

#[test]
fn a_request_that_was_cancelled_is_no_failure() {
    struct Cancelled;
    impl HttpClient for Cancelled {
        fn send(&self, _: &crate::http::Request) -> Result<Response, crate::http::HttpError> {
            Err(crate::http::HttpError::Cancelled)
        }
    }
    let world = World::new(&["x.org"]);
    let (book, clock) = (Arc::new(world.book.clone()), Arc::clone(&world.clock));
    let mut driver = Driver::new(
        world.wanted.clone(),
        world.journal.clone(),
        world.publisher.clone(),
        book,
        Arc::new(Cancelled),
        clock,
    );
    assert!(driver.step().unwrap_err().is_cancelled());
}

#[test]
fn a_profile_goes_by_the_spelling_of_the_ca_or_is_left_out_if_it_is_not_mandatory() {
    let with = |mandatory| {
        let mut world = World::new(&["x.org"]);
        (world.wanted.profile, world.wanted.profile_mandatory) = (Some("ShortLived".into()), mandatory);
        world
    };
    // What the CA offers, whether it refuses it; the profiles of the orders, or the error if it is mandatory.
    type Row = (&'static [&'static str], bool, &'static [Option<&'static str>], Option<&'static str>);
    let rows: [Row; 4] = [
        (&["classic", "shortlived"], false, &[Some("shortlived")], None),
        (
            &["classic", "tlsserver"],
            false,
            &[None],
            Some("'ShortLived', but only classic, tlsserver; change MDProfile"),
        ),
        (&[], false, &[None], Some("'ShortLived', but no profiles at all; change")),
        (&["SHORTLIVED"], true, &[Some("SHORTLIVED"), None], Some("by the profile 'SHORTLIVED': not for you; change")),
    ];
    for (offered, refused, orders, error) in rows {
        for mandatory in [false, true] {
            let world = with(mandatory);
            world.ca.behave(|ca| (ca.profiles, ca.refuses_profiles) = (offered.to_vec(), refused));
            let result = world.run();
            let asked: Vec<_> =
                world.ca.order_requests().iter().map(|order| order["profile"].as_str().map(str::to_owned)).collect();
            let Some(error) = error.filter(|_| mandatory) else {
                result.unwrap();
                assert_eq!(asked.iter().map(Option::as_deref).collect::<Vec<_>>(), orders);
                world.is_done();
                continue;
            };
            let err = result.unwrap_err();
            assert!(err.to_string().contains(error), "{err}");
            assert_eq!((err.status(), err.is_permanent()), (Status::INVALID, true));
            // The configuration is changed.
            let world = World { wanted: Wanted { profile_mandatory: false, ..world.wanted.clone() }, ..world };
            world.succeeds();
        }
    }
}

#[test]
fn a_refusal_of_addresses_tells_of_the_profile_that_some_cas_want() {
    let refusals = ["rejectedIdentifier", "unsupportedIdentifier", "malformed", "unauthorized"];
    let rows: [(&[&str], Option<&str>, bool); 4] = [
        (&["x.org", "192.0.2.1"], None, true),
        (&["2001:db8::1"], Some("classic"), true),
        (&["192.0.2.1"], Some("ShortLived"), false),
        (&["x.org"], None, false),
    ];
    for (kind, (names, profile, expected)) in refusals.into_iter().flat_map(|kind| rows.map(|row| (kind, row))) {
        let mut world = World::new(names);
        world.wanted.profile = profile.map(Into::into);
        world.ca.behave(|ca| ca.profiles = vec!["classic", "shortlived"]);
        let detail = "Profile \"classic\" does not permit ip type identifiers";
        world.ca.fail(Operation::NewOrder, Fault::Answer(problem(403, kind, detail)));
        let result = world.run().unwrap_err().to_result();
        let says = result.detail.unwrap_or_default();
        assert!(says.starts_with(detail), "{says}");
        assert_eq!(says.contains("a profile of short life for them (MDProfile shortlived)"), expected, "{says}");
        assert_eq!(result.problem.unwrap(), format!("urn:ietf:params:acme:error:{kind}"));
    }
}

#[test]
fn addresses_and_profiles_for_short_lives_have_no_common_name() {
    let rows: [(&[&str], Option<&str>, Option<&str>); 5] = [
        (&["x.org", "www.x.org"], None, Some("x.org")),
        (&["x.org"], Some("classic"), Some("x.org")),
        (&["x.org"], Some("TLSServer"), None),
        (&["x.org"], Some("shortlived"), None),
        (&["x.org", "192.0.2.1", "2001:db8::1"], None, None),
    ];
    for (names, profile, expected) in rows {
        let mut world = World::new(names);
        world.wanted.profile = profile.map(Into::into);
        world.ca.behave(|ca| (ca.authorized, ca.profiles) = (true, vec!["classic", "tlsserver", "shortlived"]));
        world.succeeds();
        assert_eq!(world.ca.common_name().as_deref(), expected, "{names:?} {profile:?}");
        assert_eq!(world.staged().chains["P-256"].leaf().names(), names);
    }
}

/// A world in which certificates of two key types are replaced, and the account has issued them.
fn replacing() -> World {
    let mut world = World::new(&["x.org"]);
    world.run().unwrap();
    let account_url = world.book.0.lock().unwrap().accounts[0].0.url.clone();
    let p384 = KeySpec::Ec { curve: "P-384".to_owned() };
    world.wanted.keys = vec![spec(), p384.clone()];
    let certificates = vec![(p384, "key.384".to_owned()), (spec(), "key.256".to_owned())];
    world.wanted.replaces = Some(Replaces { account_url, certificates });
    world.journal = MemoryJournal::default();
    world.ca.behave(|ca| ca.renewal_info = Some(Response::default()));
    world
}

fn replaced(world: &World) -> Vec<Option<String>> {
    let of = |order: &Value| order["replaces"].as_str().map(str::to_owned);
    world.ca.order_requests().iter().skip(1).map(of).collect()
}

#[test]
fn an_order_tells_which_certificate_it_replaces_to_who_can_know_it() {
    let own = |id: &str| Some(id.to_owned());
    let world = replacing();
    world.succeeds();
    assert_eq!(replaced(&world), [own("key.256"), own("key.384")]);
    // Neither to a CA without renewal information, nor as another account, nor if it is switched off.
    let changes: [fn(&mut World); 3] = [
        |world| world.ca.behave(|ca| ca.renewal_info = None),
        |world| world.wanted.replaces.as_mut().unwrap().account_url = "https://ca.test/account/7".to_owned(),
        |world| world.wanted.replaces = None,
    ];
    for change in changes {
        let mut world = replacing();
        change(&mut world);
        world.succeeds();
        assert_eq!(replaced(&world), [None, None]);
    }
}

#[test]
fn an_order_that_is_refused_as_a_replacement_is_placed_without_it_in_the_same_run() {
    let own = |id: &str| Some(id.to_owned());
    let world = replacing();
    world.ca.behave(|ca| ca.all_replaced = true);
    world.succeeds();
    assert_eq!(replaced(&world), [own("key.256"), None, own("key.384"), None]);
    for refusal in [problem(404, "malformed", "unknown certificate"), answer(400, "text/html", "<html>")] {
        let world = replacing();
        world.ca.fail(Operation::NewOrder, Fault::Answer(refusal));
        world.succeeds();
        assert_eq!(replaced(&world), [None, own("key.384")]);
    }
    // What is not about the certificate is not tried again at once.
    let limit = with_header(problem(429, "rateLimited", "slow down"), "Retry-After", "3600");
    for refusal in [limit, problem(429, "rateLimited", "slow down"), answer(503, "text/html", "")] {
        let world = replacing();
        world.ca.fail(Operation::NewOrder, Fault::Answer(refusal));
        world.run().unwrap_err();
        assert!(replaced(&world).is_empty());
    }
}

#[test]
fn issuers_of_a_single_certificate_are_found_by_links() {
    // The first answer is the leaf alone, with a link to what the second answer is.
    fn leaf(answer: &mut Response) {
        let chain = Chain::from_pem(&answer.body).unwrap();
        answer.body = chain.leaf().to_der().to_vec();
        answer.headers[0].1 = "application/pkix-cert".to_owned();
        let link = r#"<https://ca.test/directory>;rel="index", </certificate/0>; title=x; rel="up""#;
        answer.headers.push(("Link".to_owned(), r#"</certificate/0/1>;rel="alternate""#.to_owned()));
        answer.headers.push(("link".to_owned(), link.to_owned()));
    }
    fn issuer(answer: &mut Response) {
        let chain = Chain::from_pem(&answer.body).unwrap();
        answer.body = chain.certificates()[1].to_pem().into_bytes();
        answer.headers[0].1 = "text/plain; charset=utf-8".to_owned();
        // Round in a circle.
        answer.headers.push(("Link".to_owned(), "<0>; rel=up".to_owned()));
    }
    fn list(answer: &mut Response) {
        answer.headers[0].1 = "application/x-pkcs7-mime".to_owned();
        answer.body = b"\x30\x03\x02\x01\x05".to_vec();
    }
    for (second, length) in [(issuer as fn(&mut Response), 2), (list, 1)] {
        let world = World::new(&["x.org"]);
        world.ca.fail(Operation::Certificate, Fault::Alter(leaf));
        world.ca.fail_times(Operation::Certificate, 2, Fault::Alter(second));
        world.succeeds();
        let chain = world.staged().chains["P-256"].clone();
        assert_eq!(chain.certificates().len(), length);
        assert_eq!(chain.leaf().names(), ["x.org"]);
    }
    // A chain that is complete needs no more.
    let world = World::new(&["x.org"]);
    let linked: fn(&mut Response) = |answer| answer.headers.push(("Link".to_owned(), "<0>;rel=up".to_owned()));
    world.ca.fail(Operation::Certificate, Fault::Alter(linked));
    world.succeeds();
    assert_eq!(world.ca.count(Operation::Certificate), 1);
}

#[test]
fn links_lead_up_where_they_say_so() {
    let rows = [
        (r#"<https://ca/issuer>;rel="up""#, Some("https://ca/issuer")),
        ("</issuer>; Rel=UP", Some("https://ca.test/issuer")),
        (r#"<a>; rel="index up", <b>; rel=up"#, Some("https://ca.test/certificate/a")),
        (r#"<a>;rel="alternate""#, None),
        ("<a>; rel=update", None),
        ("<a; rel=up", None),
        ("", None),
    ];
    for (value, expected) in rows {
        let response = Response { headers: vec![("Link".to_owned(), value.to_owned())], ..Response::default() };
        assert_eq!(issuer_url("https://ca.test/certificate/0", &response).as_deref(), expected, "{value}");
    }
}

/// A world in which only dns-01 is offered.
fn dns_world(names: &[&str], one_txt: bool) -> World {
    let mut world = World::new(names);
    world.wanted.one_txt = one_txt;
    world.ca.behave(|ca| ca.kind = "dns-01");
    world
}

impl World {
    /// What was published (+) and withdrawn (-), with the values as numbers in order of appearance.
    fn calls(&self) -> Vec<String> {
        let (published, mut values) = (self.publisher.0.lock().unwrap(), Vec::new());
        let number = |call: &String| {
            let Some((rest, value)) = call.split_once(' ') else { return call.clone() };
            let at = values.iter().position(|known| *known == value).unwrap_or_else(|| {
                values.push(value.to_owned());
                values.len() - 1
            });
            format!("{rest} {at}")
        };
        published.calls.iter().map(number).collect()
    }
}

#[test]
fn a_name_and_its_wildcard_are_proven_by_dns_01() {
    let names = ["x.org", "*.x.org"];
    let together = dns_world(&names, false);
    together.succeeds();
    assert_eq!(together.calls(), ["+dns-01:x.org 0", "+dns-01:x.org 1", "-dns-01:x.org 1", "-dns-01:x.org 0"]);
    let one = dns_world(&names, true);
    one.succeeds();
    assert_eq!(one.calls(), ["+dns-01:x.org 0", "-dns-01:x.org 0", "+dns-01:x.org 1", "-dns-01:x.org 1"]);
    assert_eq!(one.staged().events.len(), 2);
}

#[test]
fn every_record_is_taken_away_once_wherever_a_run_is_cut_off() {
    for cut in 0.. {
        let world = dns_world(&["x.org", "*.x.org"], cut % 2 == 0);
        world.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (1, 1));
        let ended = world.steps(cut);
        world.succeeds();
        let (put, taken): (Vec<_>, Vec<_>) = world.calls().into_iter().partition(|call| call.starts_with('+'));
        let sorted = |calls: Vec<String>| {
            let mut calls: Vec<_> = calls.iter().map(|call| call[1..].to_owned()).collect();
            calls.sort();
            calls
        };
        assert_eq!(sorted(put), sorted(taken), "cut after {cut} steps");
        assert_eq!(world.ca.ordered().len(), 1, "cut after {cut} steps");
        if ended.is_some() {
            return;
        }
    }
}

#[test]
fn a_failed_run_takes_away_what_commands_have_set_up() {
    let world = dns_world(&["x.org"], true);
    world.ca.fail(Operation::Challenge, Fault::Drop);
    assert!(world.run().is_err());
    assert_eq!(world.calls(), ["+dns-01:x.org 0", "-dns-01:x.org 0"]);
    assert!(world.staged().order.challenge_setups.is_empty() && world.staged().order.url.is_some());
    world.ca.behave(|ca| ca.finds = Some("no record"));
    assert!(world.run().unwrap_err().to_string().contains("no record"));
    // The earlier order went bad, and its successor.
    assert_eq!(world.calls().len(), 6);
    world.ca.recover();
    world.ca.behave(|ca| ca.kind = "dns-01");
    world.succeeds();
    assert_eq!(world.calls().len(), 8);
}

#[test]
fn whoever_has_to_wait_for_others_goes_on_after_them() {
    let world = dns_world(&["x.org"], true);
    world.publisher.0.lock().unwrap().busy = 5;
    world.succeeds();
    let (mut driver, mut waits) = (dns_world(&["x.org"], true), 0);
    driver.wanted.challenges = Ok(vec![ChallengeType::Dns01]);
    driver.publisher.0.lock().unwrap().busy = 3;
    let mut run = driver.driver();
    while let Ok(Outcome::Continue | Outcome::Wait(_)) = run.step() {
        waits += usize::from(
            driver.staged().order.challenge_setups.is_empty() && driver.ca.count(Operation::Authorization) == 1,
        );
        driver.clock.advance(SignedDuration::from_millis(250));
    }
    assert!(waits >= 2, "{waits}");
}

#[test]
fn the_next_type_is_tried_when_one_cannot_be_set_up() {
    let other =
        |kind: &str| serde_json::json!({ "type": kind, "url": "https://ca.test/challenge/0", "token": "other" });
    for unsupported in [false, true] {
        let world = World::new(&["x.org"]);
        world.ca.behave(|ca| ca.others = vec![other("tls-alpn-01")]);
        let kinds = vec![ChallengeType::TlsAlpn01];
        match unsupported {
            true => world.publisher.0.lock().unwrap().unsupported = kinds,
            false => world.publisher.0.lock().unwrap().broken = kinds,
        }
        world.succeeds();
        let expected: &[&str] = match unsupported {
            true => &["+http-01:x.org", "-http-01:x.org"],
            false => &["+tls-alpn-01:x.org", "-tls-alpn-01:x.org", "+http-01:x.org", "-http-01:x.org"],
        };
        assert_eq!(world.calls(), expected);
    }
}

#[test]
fn what_became_of_the_last_type_is_the_error() {
    use ChallengeType::{Dns01, Http01};
    let rows = [
        (vec![Dns01, Http01], vec![Http01], vec![], "challenge-setup-failure", 20014),
        (vec![Http01, Dns01], vec![Http01], vec![], "challenge-mismatch", 22),
        (vec![Http01], vec![], vec![Http01], "challenge-mismatch", 22),
        (vec![Dns01], vec![], vec![], "challenge-mismatch", 22),
    ];
    for (wanted, broken, unsupported, problem, status) in rows {
        let mut world = World::new(&["x.org"]);
        world.wanted.challenges = Ok(wanted.clone());
        let said = [broken.as_slice(), unsupported.as_slice()].concat();
        (world.publisher.0.lock().unwrap().broken, world.publisher.0.lock().unwrap().unsupported) =
            (broken, unsupported);
        let result = world.run().unwrap_err().to_result();
        assert_eq!((result.problem.as_deref(), result.status.0), (Some(problem), status), "{wanted:?}");
        let detail = result.detail.unwrap();
        assert!(said.iter().all(|kind| detail.contains(&format!("'{kind}' cannot be set up: "))), "{detail}");
        assert!(world.publisher.0.lock().unwrap().data.is_empty() && world.staged().order.is_empty());
    }
}

#[test]
fn an_event_that_is_refused_is_a_failed_set_up_and_comes_before_the_answer() {
    let mut world = World::new(&["x.org"]);
    world.wanted.challenges = Ok(vec![ChallengeType::Http01]);
    world.staged().objects = true;
    let result = world.run().unwrap_err().to_result();
    assert_eq!(result.problem.as_deref(), Some("challenge-setup-failure"));
    assert!(result.detail.unwrap().contains("the event failed"));
    assert_eq!(world.ca.count(Operation::Challenge), 0);
    assert_eq!(world.calls(), ["+http-01:x.org", "-http-01:x.org"]);
    world.staged().objects = false;
    world.succeeds();
    assert_eq!(world.staged().events, ["http-01:x.org", "http-01:x.org"]);
    assert_eq!(world.staged().taken_away, ["http-01:x.org", "http-01:x.org"]);
}

#[test]
fn challenges_are_for_names_of_the_order_only() {
    // The first authorization is said to be for another name.
    fn renamed(answer: &mut Response, name: &str) {
        let mut value: Value = serde_json::from_slice(&answer.body).unwrap();
        value["identifier"]["value"] = name.into();
        answer.body = value.to_string().into_bytes();
    }
    let strange: [fn(&mut Response); 4] = [
        |answer| renamed(answer, "--help"),
        |answer| renamed(answer, "other.org"),
        |answer| renamed(answer, "w.x.org"),
        |answer| renamed(answer, ""),
    ];
    for alter in strange {
        let world = World::new(&["www.x.org"]);
        world.ca.fail(Operation::Authorization, Fault::Alter(alter));
        let err = world.run().unwrap_err();
        let says = "the CA's answer from <https://ca.test/authorization/0> lacks a name of the order";
        assert_eq!(err.to_string(), says);
        assert!(world.publisher.0.lock().unwrap().calls.is_empty());
        world.succeeds();
    }
    let world = World::new(&["www.x.org"]);
    world.ca.fail(Operation::Authorization, Fault::Alter(|answer| renamed(answer, "WWW.X.org")));
    world.succeeds();
    for (said, name) in [("X.org", Some("x.org")), ("*.www.x.org", Some("www.x.org")), ("ww.x.org", None)] {
        assert_eq!(world.driver().ordered_name(said).as_deref(), name, "{said}");
    }
    let world = World::new(&["2001:db8::1", "192.0.2.1"]);
    for (said, name) in [("2001:DB8:0::1", Some("2001:db8::1")), ("192.0.2.1", Some("192.0.2.1")), ("2.1", None)] {
        assert_eq!(world.driver().ordered_name(said).as_deref(), name, "{said}");
    }
}

/// Alternate chains that are of use: to another root, and without any issuer.
fn crossed(ca: &Issuer, chain: &[Certificate]) -> Response {
    certificate(&[chain[0].clone(), ca.crossed("Other Root")])
}

fn twice_crossed(ca: &Issuer, chain: &[Certificate]) -> Response {
    certificate(&[chain[0].clone(), ca.crossed("Bücher Root")])
}

fn leaf_alone(_: &Issuer, chain: &[Certificate]) -> Response {
    certificate(&chain[..1])
}

/// One that is damaged, or no chain, or not of this certificate.
const DAMAGED: [fn(&Issuer, &[Certificate]) -> Response; 6] = [
    |_, _| problem(404, "malformed", "not found"),
    |_, _| answer(200, "application/pem-certificate-chain", "<html>"),
    |ca, _| certificate(&[ca.crossed("Other Root")]),
    |ca, chain| {
        certificate(&[chain[0].clone(), Issuer::new(chain[0].not_before()).crossed("Other Root"), ca.root().clone()])
    },
    |ca, chain| certificate(&[ca.crossed("Other Root"), chain[0].clone()]),
    |ca, _| {
        let mut answer = certificate(&[ca.crossed("Other Root")]);
        answer.headers.push(("Link".to_owned(), "<1>;rel=up, </certificate/0>;rel=alternate".to_owned()));
        answer
    },
];

/// The issuer at the top of the chain that is taken, its length, and how many were read.
fn chain_for(wanted: &str, alternates: &[fn(&Issuer, &[Certificate]) -> Response]) -> (String, usize, usize) {
    let mut world = World::new(&["x.org"]);
    world.ca.behave(|ca| ca.alternates = alternates.to_vec());
    world.wanted.preferred_chain = Some(wanted.into()).filter(|_| !wanted.is_empty());
    world.succeeds();
    let chain = world.staged().chains["P-256"].clone();
    let top = chain.certificates().last().unwrap().issuer_common_name().unwrap();
    (top, chain.certificates().len(), world.ca.count(Operation::Certificate))
}

#[test]
fn the_chain_that_is_preferred_is_taken_if_the_ca_has_it() {
    let all = [crossed as fn(&Issuer, &[Certificate]) -> Response, twice_crossed, leaf_alone, leaf_alone];
    let rows: [(&str, usize, (&str, usize, usize)); 8] = [
        // Wanted, how many alternates there are; the top of what is taken, its length, how many are read
        ("", 4, ("Fake CA", 2, 1)),
        ("Fake CA", 4, ("Fake CA", 2, 1)),
        ("Other Root", 4, ("Other Root", 2, 2)),
        ("Bücher Root", 4, ("Bücher Root", 2, 3)),
        ("No Root", 2, ("Fake CA", 2, 3)),
        ("No Root", 0, ("Fake CA", 2, 1)),
        ("shortest", 4, ("Fake CA", 1, 5)),
        ("shortest", 2, ("Fake CA", 2, 3)),
    ];
    for (wanted, alternates, (top, length, read)) in rows {
        assert_eq!(chain_for(wanted, &all[..alternates]), (top.to_owned(), length, read), "{wanted} of {alternates}");
    }
}

#[test]
fn an_alternate_chain_that_is_of_no_use_does_not_cost_the_certificate() {
    for (number, damaged) in DAMAGED.into_iter().enumerate() {
        for wanted in ["Other Root", "shortest"] {
            let (top, length, _) = chain_for(wanted, &[damaged]);
            assert_eq!((&*top, length), ("Fake CA", 2), "{number}, {wanted}");
            let (top, ..) = chain_for("Other Root", &[damaged, crossed]);
            assert_eq!(top, "Other Root", "{number}");
        }
    }
    // However many there are, not all are read.
    let (.., read) = chain_for("No Root", &[DAMAGED[0]; 50]);
    assert_eq!(read, 11);
}

#[test]
fn refused_nonces_and_lost_connections_do_not_keep_from_the_default_chain() {
    for (fault, top) in [(Fault::RefuseNonce, "Other Root"), (Fault::Drop, "Fake CA"), (Fault::DropAnswer, "Fake CA")] {
        let mut world = World::new(&["x.org"]);
        world.ca.behave(|ca| ca.alternates = vec![crossed]);
        world.wanted.preferred_chain = Some("Other Root".into());
        // The first is the default one.
        world.ca.fail(Operation::Certificate, Fault::Slow(SignedDuration::ZERO));
        world.ca.fail(Operation::Certificate, fault.clone());
        world.run().unwrap();
        let chain = world.staged().chains["P-256"].clone();
        assert_eq!(chain.certificates().last().unwrap().issuer_common_name().as_deref(), Some(top), "{fault:?}");
    }
}
