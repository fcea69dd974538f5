//! A server with its store, CA and clock, all in memory, for tests.

use std::sync::{Arc, Mutex, Once};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::cancel::Cancel;
use crate::clock::{Clock, SettableClock};
use crate::crypto::PrivateKey;
use crate::documents::Documents;
use crate::http::HttpClient;
use crate::log::{Level, Record, Sink};
use crate::model::{Contact, Declared, DomainName, Globals, Job, KeySpec, KeySpecs, Origin, Settings};
use crate::registry::{Host, Registry, Setup, Start};
use crate::renewals::Renewals;
use crate::store::{Aspect, Group, Reachability, Store};
use crate::testing::ca::FakeCa;
use crate::testing::failing_store::FailingStore;

/// Id of the account that [`TestServer::new`] makes.
pub const ACCOUNT: &str = "ACME-ca.test-0000";

/// Surroundings of a server that outlive its restarts: store, CA, clock and configuration.
pub struct TestServer {
    pub clock: Arc<SettableClock>,
    pub store: Arc<FailingStore>,
    pub documents: Arc<Documents>,
    pub ca: Arc<FakeCa>,
    pub declared: Vec<Declared>,
    pub hosts: Vec<Host>,
    pub globals: Globals,
    pub reach: Reachability,
    /// Where the server counts what it does.
    pub counts: Option<&'static crate::counts::Counts>,
}

/// A clock that advances whenever it is read, so that waits end by themselves.
struct Moving(Arc<SettableClock>);

impl Clock for Moving {
    fn now(&self) -> Timestamp {
        self.0.advance(SignedDuration::from_millis(200));
        self.0.now()
    }
}

/// A clock that runs like any other, from a given time on.
struct Running(Timestamp, Instant);

impl Clock for Running {
    fn now(&self) -> Timestamp {
        self.0 + self.1.elapsed()
    }
}

pub fn p256() -> KeySpec {
    KeySpec::Ec { curve: "P-256".to_owned() }
}

pub fn declared(names: &[&str]) -> Declared {
    let settings = Settings {
        ca_urls: Some(vec![FakeCa::DIRECTORY.to_owned()]),
        agreement: Some("accepted".to_owned()),
        contact: Some(Contact::of_directive("admin@x.org", Origin::default())),
        keys: Some(Arc::new(KeySpecs(vec![p256()]))),
        ..Settings::default()
    };
    let names = names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
    Declared { names, settings, origin: Origin::default() }
}

pub fn host(name: &str) -> Host {
    Host { origin: format!("host of {name}"), ..Host::called(Some(name), [], []) }
}

impl TestServer {
    /// Makes a server with a domain and a host for each of these names, and an account at the CA.
    pub fn new(names: &[&str]) -> Self {
        let server = Self::without_account(names);
        let key = PrivateKey::generate(&p256()).unwrap();
        let url = server.ca.add_account(&key);
        let account = format!(r#"{{"status":"valid","url":"{url}","ca-url":"{}"}}"#, FakeCa::DIRECTORY);
        server.put(Group::Accounts, ACCOUNT, &Aspect::AccountJson, &account);
        server.documents.save_key(Group::Accounts, ACCOUNT, &Aspect::AccountKey, &key).unwrap();
        server
    }

    /// Makes a server like that of [`TestServer::new`], but without an account at the CA.
    pub fn without_account(names: &[&str]) -> Self {
        let clock = Arc::new(SettableClock::new(Timestamp::from_second(1_700_000_000).unwrap()));
        let store = Arc::new(FailingStore::default());
        let published = Arc::clone(&store);
        let find = move |name: &str| {
            let text = published.load(Group::Challenges, name, &Aspect::Http01).unwrap()?;
            Some(String::from_utf8(text).unwrap())
        };
        Self {
            ca: FakeCa::new(Arc::clone(&clock), find),
            documents: Arc::new(Documents::new(Arc::clone(&store) as Arc<dyn Store>)),
            store,
            clock,
            declared: names.iter().map(|name| declared(&[name])).collect(),
            hosts: names.iter().map(|name| host(name)).collect(),
            globals: Globals::default(),
            reach: Reachability::default(),
            counts: None,
        }
    }

    fn setup(&self, is_restart: bool, clock: Arc<dyn Clock>) -> Setup {
        let start = Start {
            declared: self.declared.clone(),
            main: Settings::default(),
            globals: self.globals.clone(),
            hosts: self.hosts.clone(),
            is_restart,
            read_only: false,
            patience: crate::documents::CLAIM_PATIENCE,
            counts: self.counts,
        };
        Setup::begin(start, Arc::clone(&self.documents), clock).unwrap()
    }

    /// Starts the server. All hosts use TLS and can be reached.
    pub fn start(&self, is_restart: bool) -> Arc<Registry> {
        let setup = self.setup(is_restart, Arc::clone(&self.clock) as _);
        Arc::new(setup.finish(|_| true, &self.reach.into()).unwrap())
    }

    /// Starts the server with certificates that `prime` adds for stapling.
    pub fn start_with(&self, is_restart: bool, prime: impl FnOnce(&Setup)) -> Arc<Registry> {
        self.start_at(is_restart, Arc::clone(&self.clock) as _, prime)
    }

    /// Starts the server with certificates for stapling, and with a clock by which waits end by themselves.
    pub fn start_moving(&self, is_restart: bool, prime: impl FnOnce(&Setup)) -> Arc<Registry> {
        self.start_at(is_restart, self.moving_clock(), prime)
    }

    fn start_at(&self, is_restart: bool, clock: Arc<dyn Clock>, prime: impl FnOnce(&Setup)) -> Arc<Registry> {
        let setup = self.setup(is_restart, clock);
        prime(&setup);
        Arc::new(setup.finish(|_| true, &self.reach.into()).unwrap())
    }

    /// Starts the server and returns its renewals. Their delays are not random.
    pub fn renewals(&self, is_restart: bool) -> Renewals {
        self.renewals_with(is_restart, Arc::clone(&self.clock) as _, |_| None)
    }

    /// Starts the server with another clock, and with other HTTP clients for domains for which `client` returns one. Returns its
    /// renewals.
    pub fn renewals_with(
        &self,
        is_restart: bool,
        clock: Arc<dyn Clock>,
        client: impl Fn(&str) -> Option<Arc<dyn HttpClient>> + Send + Sync + 'static,
    ) -> Renewals {
        let setup = self.setup(is_restart, clock);
        let registry = Arc::new(setup.finish(|_| true, &self.reach.into()).unwrap());
        let ca = Arc::clone(&self.ca);
        let clients = move |md: &crate::model::ManagedDomain, _: &Cancel| {
            client(md.name.as_str()).unwrap_or_else(|| Arc::clone(&ca) as Arc<dyn HttpClient>)
        };
        Renewals::new(registry, Box::new(clients), || 0.5)
    }

    /// Starts the server with other random numbers, and with a clock by which waits end by themselves. Returns its renewals.
    pub fn renewals_with_chance(&self, is_restart: bool, chance: fn() -> f64) -> Renewals {
        let setup = self.setup(is_restart, self.moving_clock());
        let registry = Arc::new(setup.finish(|_| true, &self.reach.into()).unwrap());
        let ca = Arc::clone(&self.ca);
        Renewals::new(registry, Box::new(move |_, _| Arc::clone(&ca) as _), chance)
    }

    /// Returns a clock by which waits end by themselves.
    pub fn moving_clock(&self) -> Arc<dyn Clock> {
        Arc::new(Moving(Arc::clone(&self.clock)))
    }

    /// Returns a clock by which waits take their real time.
    pub fn running_clock(&self) -> Arc<dyn Clock> {
        Arc::new(Running(self.clock.now(), Instant::now()))
    }

    /// Starts the server, does the work that is due, and returns its renewals.
    pub fn run(&self, is_restart: bool) -> Renewals {
        let renewals = self.renewals_with(is_restart, self.moving_clock(), |_| None);
        self.go_on(&renewals);
        renewals
    }

    /// Does the work that is due.
    pub fn go_on(&self, renewals: &Renewals) {
        for _ in 0..renewals.tick() {
            renewals.work(&Cancel::default());
        }
    }

    pub fn job(&self, group: Group, name: &str) -> Option<Job> {
        self.documents.load_json(group, name, &Aspect::JobJson)
    }

    pub fn staged_job(&self, name: &str) -> Job {
        self.job(Group::Staging, name).expect("a report in staging")
    }

    pub fn text(&self, group: Group, item: &str, aspect: &Aspect) -> Option<String> {
        Some(String::from_utf8(self.store.load(group, item, aspect).unwrap()?).unwrap())
    }

    pub fn put(&self, group: Group, item: &str, aspect: &Aspect, text: &str) {
        self.store.save(group, item, aspect, text.as_bytes()).unwrap();
    }
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl Sink for Lines {
    fn enabled(&self, level: Level) -> bool {
        level <= Level::Debug
    }

    fn write(&self, record: &Record<'_>) {
        LINES.lock().unwrap().push(format!("{} {}", record.number.unwrap_or_default(), record.text));
    }
}

/// Collects log lines of all tests from now on.
pub fn watch_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| crate::log::install(Some(&Lines)));
}

/// Returns the number of log lines with this message number and these words. Tests run side by side, so the words must be of one
/// test only.
pub fn logged(number: &str, words: &str) -> usize {
    let lines = LINES.lock().unwrap();
    lines.iter().filter(|line| line.starts_with(number) && line.contains(words)).count()
}
