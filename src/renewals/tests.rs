mod faults;
mod lives;
mod names;
mod notifications;
mod several_cas;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::acme::{AccountRecord, OrderRecord};
use crate::cancel::Cancel;
use crate::clock::Clock as _;
use crate::crypto::{Certificate, Chain, PrivateKey, self_signed};
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::model::{DomainName, Globals, KeySpec, KeySpecs, ManagedDomain, MatchNames, RenewMode, Settings, State};
use crate::registry::{Host, Setup, Start, configured};
use crate::renewals::Renewals;
use crate::sets::{Advice, StagedState, staged};
use crate::store::{Aspect, Group, Reachability, Store};
use crate::testing::ca::{FakeCa, Fault, Operation, answer, problem, with_header};
use crate::testing::{ACCOUNT, Call, TestServer, declared, host, logged, p256, watch_log};

fn key() -> Aspect {
    Aspect::PrivateKey(p256())
}

fn chain() -> Aspect {
    Aspect::Chain(p256())
}

fn journal(server: &TestServer, md: Arc<ManagedDomain>) -> staged::StagedJournal {
    let events = crate::events::Events::new(&server.globals, &Cancel::default());
    staged::StagedJournal::new(Arc::clone(&server.documents), Arc::clone(&server.clock) as _, md, events)
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// Returns a time in this number of seconds.
fn from_now(server: &TestServer, at: Option<Timestamp>) -> i64 {
    at.expect("a moment").duration_since(server.clock.now()).as_secs()
}

#[test]
fn a_renewal_is_staged_and_reported() {
    watch_log();
    let server = TestServer::new(&["staged.test"]);
    let renewals = server.run(false);
    for aspect in [Aspect::MdJson, Aspect::JobJson, key(), chain()] {
        assert!(server.store.exists(Group::Staging, "staged.test", &aspect), "{aspect:?}");
    }
    for aspect in [Aspect::OrderJson, Aspect::AccountJson, Aspect::AccountKey] {
        assert!(!server.store.exists(Group::Staging, "staged.test", &aspect), "{aspect:?}");
    }
    assert!(server.store.list(Group::Challenges).unwrap().is_empty());
    let text = server.text(Group::Staging, "staged.test", &Aspect::JobJson).unwrap();
    let job: serde_json::Value = serde_json::from_str(&text).unwrap();
    let members: Vec<&str> = job.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        ["name", "finished", "notified", "notified-renewed", "last-run", "valid-from", "errors", "last", "log"]
    );
    assert_eq!((&job["finished"], &job["notified-renewed"], &job["errors"]), (&true.into(), &true.into(), &0.into()));
    let last: Vec<&str> = job["last"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(last, ["status", "detail", "valid-from"]);
    let detail = job["last"]["detail"].as_str().unwrap();
    assert!(
        detail.contains("can be used (valid since ") && detail.ends_with("restart now is recommended."),
        "{detail}"
    );
    let log = job["log"]["entries"].as_array().unwrap();
    let kinds: Vec<_> = log.iter().map(|entry| entry["type"].as_str().unwrap()).collect();
    let events: Vec<_> = kinds.into_iter().rev().filter(|kind| *kind != "progress").collect();
    let challenge = "message-challenge-setup:http-01:staged.test";
    let expected = ["message-renewing", "starting", challenge, "finished", "message-renewed"];
    assert_eq!(events, expected);
    assert!(!text.ends_with('\n') && text.starts_with("{\n  \"name\""));
    assert_eq!(logged("AH10059", "staged.test"), 1);
    server.ca.check();

    // No further attempt is made, now or at the next start.
    server.clock.advance(hours(20));
    server.go_on(&renewals);
    drop(renewals);
    assert_eq!((server.ca.count(Operation::Directory), logged("AH10059", "staged.test")), (1, 1));
}

#[test]
fn the_report_is_finished_only_when_everything_is_staged() {
    let mut server = TestServer::new(&["two.test"]);
    server.declared[0].settings.keys =
        Some(Arc::new(KeySpecs(vec![p256(), KeySpec::Ec { curve: "P-384".to_owned() }])));
    server.ca.fail(Operation::Certificate, Fault::Slow(hours(0)));
    server.ca.fail(Operation::Certificate, Fault::Drop);
    server.run(false);
    let job = server.staged_job("two.test");
    assert_eq!((job.finished, job.errors), (false, 1));
    assert!(server.store.exists(Group::Staging, "two.test", &chain()));
    server.run(false);
    assert!(server.staged_job("two.test").finished);
    assert_eq!(server.ca.ordered().len(), 2);
}

#[test]
fn failures_are_counted_and_wait_longer_each_time() {
    let server = TestServer::new(&["fails.test"]);
    server.ca.fail_times(Operation::NewOrder, 3, Fault::Answer(problem(500, "serverInternal", "out of order")));
    let renewals = server.run(false);
    for (errors, delay) in [(1, 30), (2, 60), (3, 120)] {
        let job = server.staged_job("fails.test");
        assert_eq!((job.errors, job.finished, job.newest("renewal-error").is_some()), (errors, false, true));
        let wait = from_now(&server, job.next_run);
        assert!((delay - 5..=delay).contains(&wait), "{wait}");
        let last = job.last.unwrap();
        assert_eq!(last.problem.as_deref(), Some("urn:ietf:params:acme:error:serverInternal"));
        assert_eq!(
            (last.detail.as_deref(), last.activity.as_deref()),
            (Some("out of order; the CA has to fix this"), Some("Creating new order"))
        );
        assert_eq!((last.status.0, last.status_description.is_some()), (20014, true));
        server.clock.advance(SignedDuration::from_secs(delay / 2));
        server.go_on(&renewals);
        assert_eq!(server.staged_job("fails.test").errors, errors, "not yet");
        server.clock.advance(SignedDuration::from_secs(delay));
        server.go_on(&renewals);
    }
    let job = server.staged_job("fails.test");
    assert!(job.finished && job.errors == 0 && job.next_run.is_none());
}

#[test]
fn a_permanent_failure_waits_a_day() {
    let server = TestServer::new(&["permanent.test"]);
    server.ca.fail(Operation::NewOrder, Fault::Answer(problem(400, "rejectedIdentifier", "not this one")));
    server.run(false);
    let wait = from_now(&server, server.staged_job("permanent.test").next_run);
    assert!((86_300..=86_400).contains(&wait), "{wait}");
}

/// Returns a server whose last attempt at a renewal failed, with or without Retry-After from the CA.
fn failed(name: &str, retry_after: Option<&str>) -> TestServer {
    let server = TestServer::new(&[name]);
    let refusal = answer(503, "text/html", "<html>");
    let refusal = retry_after.map_or(refusal.clone(), |text| with_header(refusal, "Retry-After", text));
    server.ca.fail(Operation::NewOrder, Fault::Answer(refusal));
    server.run(false);
    server
}

#[test]
fn a_retry_after_counts_at_every_start_and_a_back_off_at_a_graceful_one() {
    watch_log();
    // Retry-After, graceful, due now
    let rows = [(None, true, false), (None, false, true), (Some("7200"), true, false), (Some("7200"), false, false)];
    for (index, (retry_after, is_restart, due)) in rows.into_iter().enumerate() {
        let name = format!("back{index}.test");
        let server = failed(&name, retry_after);
        assert_eq!(server.ca.count(Operation::NewOrder), 1);
        let renewals = server.run(is_restart);
        assert_eq!(server.ca.count(Operation::NewOrder), if due { 2 } else { 1 }, "{retry_after:?} {is_restart}");
        assert_eq!(logged("AH10064", &name), usize::from(!is_restart));
        if !due {
            assert_eq!(server.staged_job(&name).errors, u32::from(is_restart));
            server.clock.advance(SignedDuration::from_secs(if retry_after.is_some() { 7200 } else { 30 }));
            server.go_on(&renewals);
        }
        assert!(server.staged_job(&name).finished);
    }
}

#[test]
fn a_changed_configuration_is_due_at_once_but_not_before_the_ca_says() {
    for (retry_after, due) in [(None, true), (Some("7200"), false)] {
        let mut server = failed("changed.test", retry_after);
        server.declared[0].names.push(DomainName::parse("www.changed.test").unwrap());
        let renewals = server.run(true);
        assert_eq!(server.staged_job("changed.test").finished, due);
        server.clock.advance(hours(2));
        server.go_on(&renewals);
        assert!(server.staged_job("changed.test").finished);
        assert_eq!(server.ca.ordered()[0].len(), 2);
    }
}

#[test]
fn settings_that_come_from_the_main_server_make_a_failed_domain_due_too() {
    type Change = fn(&mut TestServer);
    let rows: [(Change, bool); 6] = [
        (|_| {}, false),
        (|server| server.globals.ca_file = Some("/etc/ca.pem".to_owned()), true),
        (|server| server.declared[0].settings.ca_file = Some("none".to_owned()), true),
        (|server| server.reach.http = false, true),
        (|server| server.declared[0].settings.contact = Some("mailto:b@x.org".to_owned()), true),
        // The setting does not change the renewal.
        (|server| server.globals.check_interval = hours(1), false),
    ];
    for (index, (change, due)) in rows.into_iter().enumerate() {
        let mut server = failed("settings.test", None);
        change(&mut server);
        let before = server.staged_job("settings.test");
        drop(server.run(true));
        assert_eq!(server.staged_job("settings.test") != before, due, "{index}");
    }
}

#[test]
fn a_retry_after_of_another_ca_does_not_count() {
    for is_restart in [true, false] {
        let mut server = failed("otherca.test", Some("7200"));
        let urls = vec![FakeCa::DIRECTORY.to_owned() + "/2"];
        server.declared[0].settings.ca_urls = Some(urls);
        let directories = server.ca.count(Operation::Directory);
        server.ca.fail(Operation::Directory, Fault::Drop);
        drop(server.run(is_restart));
        assert_eq!(server.ca.count(Operation::Directory), directories + 1);
        let job = server.staged_job("otherca.test");
        assert_eq!(job.retry_after, None);
    }
}

#[test]
fn a_manual_domain_is_not_renewed_whatever_is_staged() {
    watch_log();
    let mut server = failed("manual.test", Some("7200"));
    server.declared[0].settings.renew_mode = Some(RenewMode::Manual);
    let before = server.staged_job("manual.test");
    for is_restart in [true, false] {
        server.declared[0].settings.contact = Some(format!("mailto:{is_restart}@x.org"));
        server.clock.advance(hours(24));
        drop(server.run(is_restart));
        assert_eq!(server.staged_job("manual.test"), before);
    }
    assert_eq!((logged("AH10064", "manual.test"), server.ca.count(Operation::Directory)), (0, 1));
}

#[test]
fn failures_to_begin_wait_longer_each_time_for_their_domain() {
    watch_log();
    let server = TestServer::new(&["unwritable.test"]);
    server.store.refuse(Call::WorkClaim, Group::Staging);
    let renewals = server.renewals(false);
    for (tries, delay) in [(1, 30), (2, 60), (3, 120), (4, 240)] {
        server.go_on(&renewals);
        assert_eq!(logged("AH10056", "processing unwritable.test: md[unwritable.test] problem[store-failure] "), tries);
        server.clock.advance(SignedDuration::from_secs(delay - 1));
        assert_eq!(renewals.tick(), 0, "not yet");
        server.clock.advance(SignedDuration::from_secs(1));
    }
    server.store.recover();
    drop(renewals);
    drop(server.run(false));
    assert!(server.staged_job("unwritable.test").finished);
}

#[test]
fn a_changed_configuration_starts_anew_but_keeps_the_staged_account() {
    let mut server = TestServer::without_account(&["anew.test"]);
    server.ca.fail(Operation::Challenge, Fault::Drop);
    server.run(false);
    let order = |server: &TestServer| server.text(Group::Staging, "anew.test", &Aspect::OrderJson);
    assert!(order(&server).is_some() && server.store.exists(Group::Challenges, "anew.test", &Aspect::Http01));
    server.clock.advance(hours(1));
    server.declared[0].names.push(DomainName::parse("www.anew.test").unwrap());
    // The server does not start in between, which would move the account.
    let account = |server: &TestServer| server.text(Group::Staging, "anew.test", &Aspect::AccountJson);
    let before = account(&server).unwrap();
    let md = server.declared[0].complete(&Settings::default()).unwrap();
    let mut journal = journal(&server, Arc::new(md));
    let staged = StagedState::read(&server.documents, journal.domain());
    journal.open(staged.begun.as_ref(), &staged.order).unwrap();
    assert_eq!((account(&server), order(&server)), (Some(before), None));
    assert!(server.store.list(Group::Challenges).unwrap().is_empty());
    server.run(false);
    assert!(server.staged_job("anew.test").finished);
    assert_eq!((server.ca.accounts(), server.ca.ordered().len()), (1, 2));
}

#[test]
fn a_domain_that_another_process_has_claimed_is_not_renewed() {
    let server = TestServer::new(&["claimed.test"]);
    watch_log();
    let renewals = server.renewals(false);
    let claim = server.store.claim("claimed.test").unwrap().unwrap();
    server.go_on(&renewals);
    assert!(server.ca.count(Operation::Directory) == 0 && server.job(Group::Staging, "claimed.test").is_none());
    drop(claim);
    assert_eq!(renewals.tick(), 0, "too early");
    server.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(renewals.tick(), 1, "it is looked at again soon");
    assert_eq!(logged("AH10052", "claimed.test"), 0);
    drop(renewals);
    server.run(false);
    assert!(server.staged_job("claimed.test").finished);
    assert_eq!(logged("AH10052", "claimed.test"), 1);
}

/// An HTTP client that cancels the work at a request of some kind.
struct CancelAt(Arc<FakeCa>, Operation, Cancel);

impl HttpClient for CancelAt {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let response = self.0.send(request);
        if self.0.count(self.1) > 0 {
            self.2.cancel();
        }
        response
    }
}

#[test]
fn a_cancelled_renewal_gives_its_claim_back_and_is_continued_later() {
    for operation in [Operation::NewOrder, Operation::Challenge, Operation::Finalize] {
        let server = TestServer::new(&["cancelled.test"]);
        let cancel = Cancel::default();
        let client = Arc::new(CancelAt(Arc::clone(&server.ca), operation, cancel.clone()));
        let renewals = server.renewals_with(false, server.moving_clock(), move |_| Some(Arc::clone(&client) as _));
        assert_eq!(renewals.tick(), 1);
        renewals.work(&cancel);
        // The renewals still exist, as in a child process that is ending gracefully.
        assert!(server.store.claim("cancelled.test").unwrap().is_some(), "{operation:?}");
        let job = server.staged_job("cancelled.test");
        assert_eq!((job.finished, job.errors, job.next_run), (false, 0, None));
        server.run(true);
        assert!(server.staged_job("cancelled.test").finished);
        assert_eq!(server.ca.ordered().len(), 1, "{operation:?}");
        drop(renewals);
    }
}

/// Lets time pass and workers work until all jobs are finished.
fn work_side_by_side(server: &TestServer, renewals: &Renewals, names: &[&str]) {
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        let done = |name: &&str| server.job(Group::Staging, name).is_some_and(|job| job.finished);
        while !names.iter().all(done) {
            for _ in 0..renewals.tick() {
                scope.spawn(|| renewals.work(&cancel));
            }
            server.clock.advance(SignedDuration::from_millis(50));
            std::thread::sleep(Duration::from_millis(2));
        }
    });
}

#[test]
fn fifty_domains_make_one_account() {
    let names: Vec<String> = (0..50).map(|n| format!("n{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = TestServer::without_account(&names);
    let renewals = server.renewals(false);
    work_side_by_side(&server, &renewals, &names);
    assert_eq!((server.ca.accounts(), server.ca.count(Operation::NewAccount)), (1, 1));
    server.ca.check();
    let staged = |name: &&&str| server.store.exists(Group::Staging, name, &Aspect::AccountJson);
    assert_eq!(names.iter().filter(staged).count(), 1);
    drop(renewals);
    let registry = server.start(true);
    assert_eq!(server.store.list(Group::Accounts).unwrap(), [ACCOUNT]);
    assert!(server.store.list(Group::Staging).unwrap().is_empty());
    assert!(registry.domains.iter().all(|domain| domain.md.ca.account.as_deref() == Some(ACCOUNT)));
}

#[test]
fn a_ca_has_at_most_32_orders_of_ours_open() {
    let names: Vec<String> = (0..40).map(|n| format!("o{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = TestServer::new(&names);
    server.ca.behave(|ca| ca.pending_reads = u32::MAX);
    let renewals = server.renewals(false);
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        assert_eq!(renewals.tick(), 8);
        let worker = scope.spawn(|| renewals.work(&cancel));
        while server.ca.count(Operation::Challenge) < 32 {
            server.clock.advance(crate::schedule::CaLimits::GAP);
            std::thread::sleep(Duration::from_millis(1));
        }
        cancel.cancel();
        worker.join().unwrap();
    });
    assert_eq!(server.ca.most_open_orders(), 32);
    server.ca.recover();
    server.ca.set_authorizations("valid");
    let renewals = server.renewals(true);
    work_side_by_side(&server, &renewals, &names);
    assert_eq!((server.ca.most_open_orders(), server.ca.ordered().len()), (32, 40));
}

#[test]
fn an_unused_nonce_is_used_by_the_next_renewal() {
    let mut server = TestServer::new(&["n1.test", "n2.test", "n3.test", "n4.test"]);
    server.globals.renew_workers = 1.try_into().unwrap();
    drop(server.run(false));
    assert_eq!((server.ca.ordered().len(), server.ca.count(Operation::Nonce)), (4, 1));
    server.ca.check();
}

/// An HTTP client that answers only when the test allows it.
struct Gate {
    ca: Arc<FakeCa>,
    open: Mutex<bool>,
    opened: Condvar,
    reached: AtomicBool,
}

impl HttpClient for Gate {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        self.reached.store(true, Ordering::Relaxed);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        self.ca.send(request)
    }
}

#[test]
fn a_domain_whose_ca_is_slow_does_not_delay_others() {
    let server = TestServer::new(&["slow.test", "fast1.test", "fast2.test"]);
    let gate = Arc::new(Gate {
        ca: Arc::clone(&server.ca),
        open: Mutex::new(false),
        opened: Condvar::new(),
        reached: AtomicBool::new(false),
    });
    let slow = Arc::clone(&gate);
    let client = move |name: &str| (name == "slow.test").then(|| Arc::clone(&slow) as Arc<dyn HttpClient>);
    let renewals = server.renewals_with(false, Arc::clone(&server.clock) as _, client);
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        assert_eq!(renewals.tick(), 3);
        for _ in 0..2 {
            scope.spawn(|| renewals.work(&cancel));
        }
        let done = |name: &&str| server.job(Group::Staging, name).is_some_and(|job| job.finished);
        while !["fast1.test", "fast2.test"].iter().all(done) {
            server.clock.advance(SignedDuration::from_millis(50));
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(gate.reached.load(Ordering::Relaxed) && !done(&"slow.test"));
        *gate.open.lock().unwrap() = true;
        gate.opened.notify_all();
        while !done(&"slow.test") {
            server.clock.advance(SignedDuration::from_millis(50));
            std::thread::sleep(Duration::from_millis(2));
        }
    });
}

#[test]
fn a_panic_costs_one_attempt_only() {
    struct Panics;
    impl HttpClient for Panics {
        fn send(&self, _: &Request) -> Result<Response, HttpError> {
            std::panic::resume_unwind(Box::new("on purpose"))
        }
    }
    let server = TestServer::new(&["panics.test"]);
    let first = AtomicBool::new(true);
    let client = move |_: &str| first.swap(false, Ordering::Relaxed).then(|| Arc::new(Panics) as Arc<dyn HttpClient>);
    let renewals = server.renewals_with(false, Arc::clone(&server.clock) as _, client);
    assert_eq!(renewals.tick(), 1);
    let panicked = std::thread::scope(|scope| scope.spawn(|| renewals.work(&Cancel::default())).join().is_err());
    assert!(panicked);
    assert_eq!(renewals.tick(), 0);
    server.clock.advance(hours(13));
    work_side_by_side(&server, &renewals, &["panics.test"]);
}

#[test]
fn damaged_files_in_staging_are_obtained_again() {
    let name = "damaged.test";
    let rows: [(Aspect, &str); 9] = [
        (chain(), ""),
        (chain(), "-----BEGIN CERTIFICATE-----\n"),
        (key(), "no key"),
        (key(), ""),
        (Aspect::JobJson, "{\"name\""),
        (Aspect::JobJson, ""),
        (Aspect::OrderJson, "[]"),
        (Aspect::MdJson, "{}"),
        (Aspect::AccountJson, "null"),
    ];
    for (aspect, text) in rows {
        let server = TestServer::new(&[name]);
        drop(server.run(false));
        server.put(Group::Staging, name, &aspect, text);
        let renewals = server.renewals(false);
        drop(renewals);
        server.run(true);
        // The start serves sets that are still complete; the others are renewed again.
        server.run(true);
        let registry = server.start(true);
        assert_eq!(registry.domains[0].md.state, State::Complete, "{aspect:?} {text:?}");
        server.ca.check();
    }
}

#[test]
fn a_certificate_is_not_combined_with_a_key_of_another_renewal() {
    let server = TestServer::new(&["mixed.test"]);
    drop(server.run(false));
    let other = PrivateKey::generate(&p256()).unwrap();
    server.documents.save_key(Group::Staging, "mixed.test", &key(), &other).unwrap();
    server.run(true);
    assert_eq!(server.ca.ordered().len(), 2, "dropped at the start and ordered again");
    assert!(server.staged_job("mixed.test").finished);
}

/// Returns a server whose first certificate is staged.
fn staged(name: &str) -> TestServer {
    let server = TestServer::new(&[name]);
    drop(server.run(false));
    assert!(server.staged_job(name).finished);
    server
}

#[test]
fn a_staged_set_is_activated_and_the_former_one_archived() {
    watch_log();
    let name = "activated.test";
    let server = staged(name);
    let first = server.text(Group::Staging, name, &chain()).unwrap();
    let registry = server.start(true);
    assert_eq!(server.text(Group::Domains, name, &chain()).unwrap(), first);
    assert!(server.text(Group::Domains, name, &key()).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    for group in [Group::Staging, Group::Tmp, Group::Challenges] {
        assert!(server.store.list(group).unwrap().is_empty(), "{group:?}");
    }
    let job = server.job(Group::Domains, name).unwrap();
    let kinds: Vec<_> = job.log.unwrap().entries.into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds[..3], ["message-installed", "message-renewed", "finished"]);
    assert!(job.finished);
    let domain = &registry.domains[0];
    assert_eq!((domain.md.state, domain.md.ca.account.as_deref()), (State::Complete, Some(ACCOUNT)));
    assert_eq!(domain.md.ca.url.as_deref(), Some(FakeCa::DIRECTORY));
    assert_eq!(logged("AH10068", name), 1);
    let stored: ManagedDomain = server.documents.load_json(Group::Domains, name, &Aspect::MdJson).unwrap();
    assert_eq!(stored, *domain.md);

    server.clock.advance(hours(24 * 80));
    drop(server.run(true));
    let second = server.text(Group::Staging, name, &chain()).unwrap();
    server.start(true);
    assert_eq!(server.text(Group::Domains, name, &chain()).unwrap(), second);
    assert_eq!(server.text(Group::Archive, &format!("{name}.2"), &chain()).unwrap(), first);
    assert_ne!(first, second);
}

#[test]
fn a_set_that_is_not_complete_stays() {
    let name = "incomplete.test";
    let server = staged(name);
    let text = server.text(Group::Staging, name, &chain()).unwrap();
    for aspect in [chain(), key()] {
        let before = server.store.load(Group::Staging, name, &aspect).unwrap().unwrap();
        server.store.remove(Group::Staging, name, &aspect).unwrap();
        server.start(true);
        assert!(server.store.exists(Group::Staging, name, &Aspect::MdJson), "{aspect:?}");
        assert!(!server.store.exists(Group::Domains, name, &chain()), "{aspect:?}");
        server.store.save(Group::Staging, name, &aspect, &before).unwrap();
    }
    server.start(true);
    assert_eq!(server.text(Group::Domains, name, &chain()).unwrap(), text);
}

#[test]
fn a_wrong_staged_set_is_dropped_and_the_served_one_stays() {
    watch_log();
    let name = DomainName::parse("x.test").unwrap();
    let self_made = |names: &[DomainName], key: &PrivateKey, days| {
        self_signed(key, "x", names, Timestamp::from_second(1_700_000_000).unwrap(), days).unwrap().to_pem()
    };
    type Spoil = fn(&TestServer, &str, &dyn Fn(&[DomainName], &PrivateKey, u32) -> String, &DomainName);
    let rows: [(&str, Spoil); 4] = [
        ("wrong1.test", |server, md, make, _| {
            let other = PrivateKey::generate(&p256()).unwrap();
            server.put(Group::Staging, md, &chain(), &make(&[DomainName::parse(md).unwrap()], &other, 90));
        }),
        ("wrong2.test", |server, md, make, name| {
            let own = server.documents.load_key(Group::Staging, md, &key()).unwrap();
            server.put(Group::Staging, md, &chain(), &make(std::slice::from_ref(name), &own, 90));
        }),
        ("wrong3.test", |server, md, make, _| {
            let own = server.documents.load_key(Group::Staging, md, &key()).unwrap();
            server.clock.advance(hours(48));
            server.put(Group::Staging, md, &chain(), &make(&[DomainName::parse(md).unwrap()], &own, 1));
        }),
        ("wrong4.test", |server, md, _, _| {
            let text = server.text(Group::Staging, md, &chain()).unwrap();
            server.put(Group::Staging, md, &chain(), &text.replacen("MII", "MIJ", 1).repeat(2));
        }),
    ];
    for (md, spoil) in rows {
        let server = staged(md);
        server.start(true);
        let served = server.text(Group::Domains, md, &chain()).unwrap();
        server.clock.advance(hours(24 * 80));
        drop(server.run(true));
        spoil(&server, md, &self_made, &name);
        server.put(Group::Challenges, md, &Aspect::Http01, "left over");
        server.start(true);
        assert_eq!(logged("AH10069", md), 1, "{md}");
        assert!(server.store.list(Group::Staging).unwrap().is_empty(), "{md}");
        assert!(server.store.list(Group::Challenges).unwrap().is_empty(), "{md}");
        assert_eq!(server.text(Group::Domains, md, &chain()).unwrap(), served);
        server.run(true);
        assert!(server.staged_job(md).finished);
    }
}

#[test]
fn a_claimed_set_waits_for_the_next_start() {
    let server = staged("busy.test");
    let claim = server.store.claim("busy.test").unwrap();
    server.start(true);
    assert!(!server.store.exists(Group::Domains, "busy.test", &chain()));
    drop(claim);
    server.start(true);
    assert!(server.store.exists(Group::Domains, "busy.test", &chain()));
}

#[test]
fn accounts_move_to_their_place_once() {
    let server = TestServer::without_account(&["account.test"]);
    server.ca.fail(Operation::NewOrder, Fault::Drop);
    drop(server.run(false));
    let staged: AccountRecord =
        server.documents.load_json(Group::Staging, "account.test", &Aspect::AccountJson).unwrap();
    let pem = server.text(Group::Staging, "account.test", &Aspect::AccountKey).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let claim = server.store.claim("account.test").unwrap();
    server.start(true);
    assert!(server.store.list(Group::Accounts).unwrap().is_empty(), "somebody works with it");
    drop(claim);
    server.start(true);
    let moved: AccountRecord = server.documents.load_json(Group::Accounts, ACCOUNT, &Aspect::AccountJson).unwrap();
    assert_eq!(moved, staged);
    assert!(server.documents.load_key(Group::Accounts, ACCOUNT, &Aspect::AccountKey).is_some());
    assert!(!server.store.exists(Group::Staging, "account.test", &Aspect::AccountKey));
    // The state after a crash between the copy and the removal.
    server.documents.save_json(Group::Staging, "account.test", &Aspect::AccountJson, &staged).unwrap();
    server.put(Group::Staging, "account.test", &Aspect::AccountKey, &pem);
    server.start(true);
    assert_eq!(server.store.list(Group::Accounts).unwrap(), [ACCOUNT]);
    drop(server.run(false));
    assert_eq!(server.ca.accounts(), 1);
    server.start(true);
    let md: ManagedDomain = server.documents.load_json(Group::Domains, "account.test", &Aspect::MdJson).unwrap();
    assert_eq!(md.ca.account.as_deref(), Some(ACCOUNT));
}

#[test]
fn an_account_at_the_url_of_a_lost_one_takes_its_place() {
    let server = TestServer::new(&["again.test"]);
    let lost: AccountRecord = server.documents.load_json(Group::Accounts, ACCOUNT, &Aspect::AccountJson).unwrap();
    let key = PrivateKey::generate(&p256()).unwrap();
    server.documents.save_key(Group::Staging, "again.test", &Aspect::AccountKey, &key).unwrap();
    server.documents.save_json(Group::Staging, "again.test", &Aspect::AccountJson, &lost).unwrap();
    server.start(true);
    assert_eq!(server.store.list(Group::Accounts).unwrap(), [ACCOUNT]);
    let kept = server.documents.load_key(Group::Accounts, ACCOUNT, &Aspect::AccountKey).unwrap();
    assert_eq!(kept.to_pem().unwrap(), key.to_pem().unwrap());
}

#[test]
fn accounts_are_read_once_for_many_domains() {
    let names: Vec<String> = (0..20).map(|n| format!("m{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let asked = |names: &[&str]| {
        let server = TestServer::new(names);
        drop(server.run(false));
        server.start(true);
        assert!(names.iter().all(|name| server.store.exists(Group::Domains, name, &chain())));
        let disk = &server.store;
        assert_eq!(disk.count(Call::Load, Group::Accounts, Some(&Aspect::AccountKey)), 1);
        let lists = [Group::Accounts, Group::Staging].map(|group| disk.count(Call::List, group, None));
        (lists, disk.count(Call::Load, Group::Accounts, None))
    };
    assert_eq!(asked(&names), asked(&names[..1]));
}

#[test]
fn an_account_that_cannot_be_moved_is_used_from_staging() {
    type Spoil = fn(&TestServer);
    let rows: [Spoil; 5] = [
        |server| server.store.refuse(Call::Write, Group::Accounts),
        |server| server.store.refuse(Call::List, Group::Accounts),
        |server| {
            for n in 0..1000 {
                server.put(Group::Accounts, &format!("ACME-ca.test-{n:04}"), &Aspect::AccountJson, "{}");
            }
        },
        |server| {
            let text = server.text(Group::Staging, "stuck.test", &Aspect::AccountKey).unwrap();
            server.put(Group::Staging, "stuck.test", &Aspect::AccountKey, &text.replacen("MII", "MIJ", 1));
        },
        // The set is dropped.
        |server| {
            server.store.refuse(Call::Write, Group::Accounts);
            server.put(Group::Staging, "stuck.test", &key(), "no key");
        },
    ];
    for (index, spoil) in rows.into_iter().enumerate() {
        let server = TestServer::without_account(&["stuck.test"]);
        drop(server.run(false));
        spoil(&server);
        let files = [Aspect::AccountJson, Aspect::AccountKey];
        let before = files.clone().map(|aspect| server.text(Group::Staging, "stuck.test", &aspect).unwrap());
        server.start(true);
        assert_eq!(server.store.exists(Group::Domains, "stuck.test", &chain()), index != 4, "{index}");
        let after = files.map(|aspect| server.text(Group::Staging, "stuck.test", &aspect).unwrap());
        assert_eq!(after, before, "{index}");
        for aspect in [Aspect::MdJson, Aspect::JobJson, Aspect::OrderJson, key(), chain()] {
            assert!(!server.store.exists(Group::Staging, "stuck.test", &aspect), "{index} {aspect:?}");
        }
        server.store.recover();
        if index != 3 {
            // Time for the next certificate, with the same account.
            server.clock.advance(hours(24 * 80));
            drop(server.run(true));
            assert!(server.staged_job("stuck.test").finished);
            assert_eq!(server.ca.accounts(), 1, "{index}");
        }
    }
}

#[test]
fn a_start_waits_briefly_for_claims() {
    let server = staged("ending.test");
    let claim = server.store.claim("ending.test").unwrap();
    assert!(claim.is_some());
    std::thread::scope(|scope| {
        let start = scope.spawn(|| server.start(true));
        // The worker has sent one request at least.
        let before = server.store.count(Call::WorkClaim, Group::Staging, None);
        while server.store.count(Call::WorkClaim, Group::Staging, None) < before + 2 && !start.is_finished() {
            std::thread::yield_now();
        }
        drop(claim);
        start.join().unwrap();
    });
    assert!(server.store.exists(Group::Domains, "ending.test", &chain()));
}

#[test]
fn a_lost_account_is_replaced_once_for_all_domains() {
    let server = TestServer::new(&["lost1.test", "lost2.test"]);
    server.ca.set_accounts("gone");
    drop(server.run(false));
    assert!(server.staged_job("lost1.test").finished && server.staged_job("lost2.test").finished);
    assert_eq!(server.ca.accounts(), 2);
    let registry = server.start(true);
    assert_eq!(server.store.list(Group::Accounts).unwrap(), [ACCOUNT, "ACME-ca.test-0001"]);
    assert!(registry.domains.iter().all(|domain| domain.md.ca.account.as_deref() == Some("ACME-ca.test-0001")));
}

#[test]
fn settings_are_merged_with_stored_ones() {
    let mut server = TestServer::new(&["merged.test"]);
    server.start(false);
    let text = |server: &TestServer| server.text(Group::Domains, "merged.test", &Aspect::MdJson).unwrap();
    let written = server.store.modified(Group::Domains, "merged.test", &Aspect::MdJson);
    server.start(true);
    assert_eq!(server.store.modified(Group::Domains, "merged.test", &Aspect::MdJson), written, "nothing has changed");

    let mut stored: ManagedDomain = serde_json::from_str(&text(&server)).unwrap();
    stored.contacts = vec!["mailto:old@x.org".to_owned()].into();
    let ca = Arc::make_mut(&mut stored.ca);
    ca.account = Some("ACME-ca.test-0007".to_owned());
    ca.urls.push("https://other.test/dir".to_owned());
    ca.url = Some("https://other.test/dir".to_owned());
    let save = |server: &TestServer| {
        server.documents.save_json(Group::Domains, "merged.test", &Aspect::MdJson, &stored).unwrap()
    };
    let merged = |server: &TestServer| {
        save(server);
        ManagedDomain::clone(&server.start(true).domains[0].md)
    };
    // The CA in use is no longer configured; neither the CA nor its account is kept.
    let md = merged(&server);
    assert_eq!((md.contacts[0].as_str(), md.ca.account.clone()), ("mailto:admin@x.org", None));
    assert_eq!(md.ca.url.as_deref(), Some(FakeCa::DIRECTORY));
    server.declared[0].settings.contact = None;
    server.declared[0].settings.ca_urls = Some(stored.ca.urls.clone());
    let md = merged(&server);
    assert_eq!(
        (md.contacts.to_vec(), md.ca.url.clone(), md.ca.account.clone()),
        (stored.contacts.to_vec(), stored.ca.url.clone(), stored.ca.account.clone())
    );

    for damage in ["", "{}", "[1]", "{\"name\":\"merged.test\"", "\0"] {
        server.put(Group::Domains, "merged.test", &Aspect::MdJson, damage);
        server.start(true);
        assert_eq!(serde_json::from_str::<ManagedDomain>(&text(&server)).unwrap().name.as_str(), "merged.test");
    }
}

#[test]
fn the_certificates_make_the_state() {
    let name = "state.test";
    let server = TestServer::new(&[name]);
    let now = server.clock.now();
    let own = PrivateKey::generate(&p256()).unwrap();
    let made = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
        self_signed(&own, "x", &names, now, 90).unwrap().to_pem()
    };
    server.documents.save_key(Group::Domains, name, &Aspect::PrivateKey(p256()), &own).unwrap();
    let rows = [
        (None, State::Incomplete, "certificate(P-256) is missing"),
        (Some(String::new()), State::Incomplete, "certificate(P-256) is missing"),
        (Some("x".repeat(1023)), State::Incomplete, "certificate(P-256) is missing"),
        (Some("x".repeat(1024)), State::Error, "error initializing"),
        (Some("-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned()), State::Error, "error initializing"),
        (Some(made(&["other.test"])), State::Incomplete, "certificate(P-256) does not cover all domains."),
        (Some(made(&[name])), State::Complete, ""),
        (Some(made(&["*.test"])), State::Complete, ""),
    ];
    for (text, state, descr) in rows {
        match &text {
            Some(text) => server.put(Group::Domains, name, &chain(), text),
            None => server.store.remove(Group::Domains, name, &chain()).unwrap(),
        }
        let registry = server.start(true);
        let domain = &registry.domains[0];
        assert_eq!((domain.md.state, domain.md.state_descr.as_deref().unwrap_or_default()), (state, descr), "{text:?}");
        let due = domain.renew_at(&Advice::default(), now) <= now;
        assert_eq!(due, state != State::Complete);
        let stored: ManagedDomain = server.documents.load_json(Group::Domains, name, &Aspect::MdJson).unwrap();
        assert_eq!(stored.state, state);
    }
    server.clock.advance(hours(24 * 91));
    let registry = server.start(true);
    assert_eq!(registry.domains[0].md.state, State::Complete, "also when it has expired");
    assert!(registry.domains[0].renew_at(&Advice::default(), server.clock.now()) <= server.clock.now());
}

#[test]
fn challenge_data_of_unknown_names_is_removed_at_a_start() {
    let mut server = TestServer::new(&["own.test"]);
    server.declared[0].names.push(DomainName::parse("alias.test").unwrap());
    for name in ["own.test", "alias.test", "stranger.test"] {
        server.put(Group::Challenges, name, &Aspect::Http01, "data");
    }
    server.start(false);
    assert_eq!(server.store.list(Group::Challenges).unwrap(), ["alias.test", "own.test"]);
}

#[test]
fn a_read_only_start_changes_nothing() {
    let server = staged("readonly.test");
    let start = Start {
        declared: server.declared.clone(),
        main: Settings::default(),
        globals: server.globals.clone(),
        hosts: server.hosts.clone(),
        is_restart: true,
        read_only: true,
    };
    let setup = Setup::begin(start, Arc::clone(&server.documents), Arc::clone(&server.clock) as _).unwrap();
    let registry = setup.finish(|_| true, Reachability::default()).unwrap();
    assert!(!registry.domains[0].watched);
    assert!(server.staged_job("readonly.test").finished);
    assert!(!server.store.exists(Group::Domains, "readonly.test", &chain()));
}

#[test]
fn domains_without_a_host_are_not_renewed_unless_always() {
    let mut server = TestServer::new(&["a.test", "b.test", "c.test"]);
    server.hosts = vec![host("c.test")];
    server.declared[1].settings.renew_mode = Some(RenewMode::Always);
    server.declared[2].settings.renew_mode = Some(RenewMode::Manual);
    let registry = server.start(false);
    let watched: Vec<_> = registry.domains.iter().map(|domain| (domain.watched, domain.renewable())).collect();
    assert_eq!(watched, [(false, false), (true, true), (true, false)]);
    drop(server.run(false));
    assert_eq!(server.store.list(Group::Staging).unwrap(), ["b.test"]);
}

#[test]
fn a_domain_without_a_suitable_challenge_fails_without_the_ca() {
    watch_log();
    let mut server = TestServer::new(&["unsuited.test"]);
    server.declared[0].settings.challenges = Some(vec!["foo-99".to_owned()]);
    drop(server.run(false));
    let job = server.staged_job("unsuited.test");
    let last = job.last.unwrap();
    let says =
        "None of the ACME challenge methods configured for this domain are suitable. The challenge type 'foo-99'";
    assert!(last.detail.unwrap().starts_with(says));
    assert_eq!(last.problem.as_deref(), Some("challenge-mismatch"));
    assert_eq!((last.status.0, job.errors, server.ca.count(Operation::Directory)), (22, 1, 0));
    assert_eq!(logged("AH10173", "unsuited.test"), 1);
}

#[test]
fn a_tls_host_with_two_domains_stops_a_start_but_not_a_restart() {
    let mut server = TestServer::new(&["d.test", "e.test"]);
    server.hosts = vec![Host { aliases: vec![DomainName::parse("e.test").unwrap()], ..host("d.test") }];
    for (is_restart, ok) in [(false, false), (true, true)] {
        let start = Start {
            declared: server.declared.clone(),
            main: Settings::default(),
            globals: server.globals.clone(),
            hosts: server.hosts.clone(),
            is_restart,
            read_only: false,
        };
        let setup = Setup::begin(start, Arc::clone(&server.documents), Arc::clone(&server.clock) as _).unwrap();
        assert_eq!(setup.domain_of(0).is_some(), ok);
        assert_eq!(setup.finish(|_| true, Reachability::default()).is_ok(), ok);
    }
}

#[test]
fn two_domains_with_a_name_in_common_stop_a_start_but_not_a_restart() {
    let main = Settings::default();
    let globals = Globals::default();
    let all = [declared(&["f.test", "g.test"]), declared(&["h.test", "g.test"])];
    assert!(configured(&all, &main, &globals, false).is_err());
    let left = configured(&all, &main, &globals, true).unwrap().domains;
    let names = |md: &ManagedDomain| md.domains.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(left.iter().map(names).collect::<Vec<_>>(), [vec!["f.test", "g.test"], vec!["h.test"]]);
}

#[test]
fn two_domains_of_one_name_share_no_directory_when_matched_by_server_name() {
    let globals = Globals { match_names: MatchNames::ServerNames, ..Globals::default() };
    let main = Settings::default();
    let names = |md: &ManagedDomain| md.domains.iter().map(ToString::to_string).collect::<Vec<_>>();
    // Names other than the first may be shared.
    let all = [declared(&["i.test", "j.test"]), declared(&["k.test", "j.test"])];
    assert_eq!(configured(&all, &main, &globals, false).unwrap().domains.len(), 2);
    let all = [declared(&["i.test", "j.test"]), declared(&["i.test", "j.test"]), declared(&["i.test"])];
    assert!(configured(&all, &main, &globals, false).is_err());
    let left = configured(&all, &main, &globals, true).unwrap().domains;
    assert_eq!(left.iter().map(names).collect::<Vec<_>>(), [vec!["i.test", "j.test"], vec!["j.test"]]);
    assert_eq!(left[1].name.as_str(), "j.test");
}

/// Stages a self-signed certificate for the staged key, valid from this number of minutes after now. Returns its PEM.
fn stage_early(server: &TestServer, name: &str, minutes: i64) -> String {
    let own = server.documents.load_key(Group::Staging, name, &key()).unwrap();
    let from = server.clock.now() + SignedDuration::from_mins(minutes);
    let text = self_signed(&own, "x", &[DomainName::parse(name).unwrap()], from, 90).unwrap().to_pem();
    server.put(Group::Staging, name, &chain(), &text);
    text
}

#[test]
fn a_certificate_that_is_not_valid_yet_does_not_replace_one_that_is() {
    let name = "early.test";
    let server = staged(name);
    let live = |server: &TestServer| server.text(Group::Domains, name, &chain()).unwrap();
    // A set that is not valid yet is better than none.
    let first = stage_early(&server, name, 60);
    server.start(true);
    assert_eq!(live(&server), first);

    server.clock.advance(hours(24 * 80));
    drop(server.run(true));
    let second = stage_early(&server, name, 10);
    server.start(true);
    assert_eq!(live(&server), first);
    assert!(server.staged_job(name).finished, "it waits");
    server.clock.advance(SignedDuration::from_mins(5));
    server.start(true);
    assert_eq!(live(&server), second, "soon enough");

    // The served certificate has expired.
    server.clock.advance(hours(24 * 91));
    drop(server.run(true));
    let third = stage_early(&server, name, 60);
    server.start(true);
    assert_eq!(live(&server), third);
}

#[test]
fn an_activation_that_cannot_clean_up_is_an_activation() {
    watch_log();
    let name = "unclean.test";
    let server = staged(name);
    server.store.refuse(Call::Remove, Group::Challenges);
    server.start(true);
    assert!(server.store.exists(Group::Domains, name, &chain()));
    assert_eq!((logged("AH10068", name), logged("AH10069", name)), (1, 0));
}

#[test]
fn a_useless_certificate_is_an_error_and_its_order_is_dropped() {
    type Make = fn(&TestServer, &DomainName, &PrivateKey) -> String;
    let rows: [(Make, &str); 3] = [
        (
            |server, name, key| {
                self_signed(key, "x", std::slice::from_ref(name), server.clock.now() - hours(48), 1).unwrap().to_pem()
            },
            "the CA's certificate(P-256) has expired",
        ),
        (
            |server, _, key| {
                let other = [DomainName::parse("other.test").unwrap()];
                self_signed(key, "x", &other, server.clock.now(), 90).unwrap().to_pem()
            },
            "the CA's certificate(P-256) is not for useless.test",
        ),
        // OpenSSL cannot read the certificate of the issuer, whose key is not a point on the curve.
        (
            |server, name, key| {
                let good = self_signed(key, "x", std::slice::from_ref(name), server.clock.now(), 90).unwrap();
                let mut der = good.to_der().to_vec();
                let at = der.windows(4).position(|bytes| bytes == [3, 0x42, 0, 4]).unwrap();
                der[at + 3] = 9;
                good.to_pem() + &Certificate::from_der(&der).unwrap().to_pem()
            },
            "the CA's certificate(P-256): certificate 2 cannot be read",
        ),
    ];
    for (make, says) in rows {
        let server = TestServer::new(&["useless.test"]);
        let md = Arc::new(server.declared[0].complete(&Settings::default()).unwrap());
        let own = PrivateKey::generate(&p256()).unwrap();
        let mut journal = journal(&server, md);
        crate::acme::Journal::save_key(&mut journal, &p256(), &own).unwrap();
        let pem = make(&server, &DomainName::parse("useless.test").unwrap(), &own);
        let made = Chain::from_pem(pem.as_bytes()).unwrap();
        let err = crate::acme::Journal::save_chain(&mut journal, &p256(), &made).unwrap_err();
        assert!(err.to_string().starts_with(says), "{err}");
        assert!(!server.store.exists(Group::Staging, "useless.test", &chain()));
    }
}

#[test]
fn a_ca_that_hands_out_useless_certificates_is_asked_once_a_day() {
    let server = TestServer::new(&["useless2.test"]);
    server.ca.behave(|ca| ca.days = 0);
    let renewals = server.run(false);
    for orders in 1..=3 {
        let job = server.staged_job("useless2.test");
        assert_eq!((job.finished, job.errors, server.ca.ordered().len()), (false, orders as u32, orders));
        assert!(
            job.last
                .unwrap()
                .detail
                .unwrap()
                .starts_with("the CA's certificate(P-256) has expired; the served certificate")
        );
        assert!(!server.store.exists(Group::Staging, "useless2.test", &Aspect::OrderJson));
        server.clock.advance(hours(23));
        server.go_on(&renewals);
        assert_eq!(server.ca.ordered().len(), orders, "not yet");
        server.clock.advance(hours(1));
        server.go_on(&renewals);
    }
}

#[test]
fn placeholders_are_made_once_and_anew_when_they_expire() {
    let server = TestServer::new(&["fallback.test"]);
    let setup = || {
        let start = Start {
            declared: server.declared.clone(),
            main: Settings::default(),
            globals: server.globals.clone(),
            hosts: server.hosts.clone(),
            is_restart: true,
            read_only: false,
        };
        Setup::begin(start, Arc::clone(&server.documents), Arc::clone(&server.clock) as _).unwrap()
    };
    let made = || {
        let setup = setup();
        setup.ensure_placeholder(setup.domain_of(0).unwrap()).unwrap();
        server.text(Group::Domains, "fallback.test", &Aspect::Fallback(p256())).unwrap()
    };
    let first = made();
    assert_eq!(made(), first);
    let leaf = Chain::from_pem(first.as_bytes()).unwrap();
    assert_eq!(leaf.leaf().names(), ["fallback.test"]);
    server.clock.advance(hours(24 * 15));
    assert_ne!(made(), first);
    assert!(setup().usable(setup().domain_of(0).unwrap()).is_empty());
}

#[test]
fn records_of_an_interrupted_order_are_removed_with_it() {
    let server = staged("setups.test");
    let order = OrderRecord {
        url: Some("https://ca.test/order/0".to_owned()),
        challenge_setups: vec!["http-01:other.test".to_owned(), "foo-99:x".to_owned()],
        ..OrderRecord::default()
    };
    server.documents.save_json(Group::Staging, "setups.test", &Aspect::OrderJson, &order).unwrap();
    server.put(Group::Challenges, "other.test", &Aspect::Http01, "data");
    server.start(true);
    assert!(server.store.exists(Group::Domains, "setups.test", &chain()));
    assert!(server.store.list(Group::Challenges).unwrap().is_empty());
}

/// Files with a certificate for the name, as an administrator configures them: chain and key.
fn own_files(directory: &std::path::Path, name: &str) -> (String, String) {
    let key = PrivateKey::generate(&p256()).unwrap();
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let chain = self_signed(&key, name, &[DomainName::parse(name).unwrap()], now, 90).unwrap();
    let path = |end: &str| directory.join(format!("{name}.{end}")).to_str().unwrap().to_owned();
    std::fs::write(path("pem"), chain.to_pem()).unwrap();
    std::fs::write(path("key"), key.to_pem().unwrap()).unwrap();
    (path("pem"), path("key"))
}

fn with_files(server: &mut TestServer, chain: &str, key: &str, mode: RenewMode) {
    let own = &mut server.declared[0].settings;
    (own.cert_files, own.key_files) = (vec![chain.to_owned()], vec![key.to_owned()]);
    own.renew_mode = Some(mode);
}

#[test]
fn files_of_the_administrator_are_served_and_not_renewed() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = own_files(directory.path(), "own.test");
    let mut server = TestServer::new(&["own.test"]);
    with_files(&mut server, &chain, &key, RenewMode::Auto);
    let registry = server.start(false);
    let domain = &registry.domains[0];
    assert_eq!((domain.md.renew_mode, domain.renewable(), domain.watched), (RenewMode::Manual, false, true));
    assert_eq!((domain.md.state, domain.at_start.certificates.len()), (State::Complete, 1));
    assert!(domain.renew_at(&Advice::default(), server.clock.now()) > server.clock.now() + hours(24 * 50));

    let states =
        [("missing.pem", State::Incomplete, "certificate(0) is missing"), (key.as_str(), State::Incomplete, "")];
    for (file, state, reason) in states {
        with_files(&mut server, file, &key, RenewMode::Auto);
        let md = Arc::clone(&server.start(true).domains[0].md);
        assert!(md.state == state && md.state_descr.as_ref().unwrap().contains(reason), "{:?}", md.state_descr);
    }
}

#[test]
fn a_standby_certificate_is_renewed_behind_files_of_the_administrator_with_mode_always() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = own_files(directory.path(), "ready.test");
    let mut server = TestServer::new(&["ready.test"]);
    with_files(&mut server, &chain, &key, RenewMode::Always);
    // The file expires soon, but the certificate in the store, which is renewed, is not served.
    server.clock.advance(hours(24 * 89));
    drop(server.run(false));
    let renewals = server.run(true);
    assert!(server.store.exists(Group::Domains, "ready.test", &super::tests::chain()));
    server.go_on(&renewals);
    drop(renewals);
    let orders = server.ca.count(Operation::NewOrder);
    drop(server.run(true));
    assert_eq!(server.ca.count(Operation::NewOrder), orders);
    let registry = server.start(true);
    let domain = &registry.domains[0];
    assert!(domain.renew_at(&Advice::default(), server.clock.now()) > server.clock.now());
    assert_ne!(domain.at_start, **domain.standby.as_ref().unwrap());
}

#[test]
fn settings_that_contradict_each_other_stop_a_start_and_put_a_domain_out_of_service_at_a_restart() {
    watch_log();
    let contradicting = |name: &str, certs: usize, keys: usize, protocol: Option<&str>| {
        let mut declared = declared(&[name]);
        declared.settings.cert_files = vec!["c".to_owned(); certs];
        declared.settings.key_files = vec!["k".to_owned(); keys];
        declared.settings.protocol = protocol.map(Into::into);
        declared
    };
    let rows = [
        ("AH10170", contradicting("fewer-keys.test", 2, 1, None)),
        ("AH10170", contradicting("no-keys.test", 1, 0, None)),
        ("AH10171", contradicting("no-certs.test", 0, 1, None)),
        ("AH10172", contradicting("protocol.test", 0, 0, Some("acme"))),
        // All of them have the URL of a directory.
        ("MD0048", contradicting("authority.test", 0, 0, Some("tailscale"))),
    ];
    let main = Settings::default();
    let globals = Globals::default();
    for (number, bad) in rows {
        let name = bad.names[0].clone();
        let all = [bad, declared(&["good.test"])];
        assert!(configured(&all, &main, &globals, false).is_err());
        assert_eq!(logged(number, name.as_str()), 1, "{name}");
        let mut server = TestServer::new(&["good.test"]);
        server.declared = all.to_vec();
        server.hosts.push(host(name.as_str()));
        let registry = server.start(true);
        let watched: Vec<_> = registry.domains.iter().map(|domain| domain.watched).collect();
        assert_eq!(watched, [false, true]);
        assert!(!registry.domains[0].md.is_static());
        assert!(!server.store.exists(Group::Domains, name.as_str(), &Aspect::MdJson));
    }
}

#[test]
fn names_that_make_orders_fail_are_warned_of_once_per_domain() {
    watch_log();
    let names: Vec<String> = (0..101).map(|number| format!("n{number}.many.example.org")).collect();
    let mut server = TestServer::new(&["ok.example.org"]);
    server.declared.push(declared(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    server.declared.push(declared(&["ok.example.com", "private.local", "10.1.2.3"]));
    server.declared.push(declared(&["nobody-asks.local"]));
    server.declared[3].settings.renew_mode = Some(RenewMode::Manual);
    server.declared[2].settings.require_https = Some(Some(crate::model::RequireHttps::Permanent));
    server.start(false);
    assert_eq!(logged("MD0005", "n0.many.example.org: has 101 names"), 1);
    assert_eq!(
        logged(
            "MD0006",
            "ok.example.com: has names for which no public CA issues certificates: private.local (a reserved name), 10.1.2.3 ("
        ),
        1
    );
    assert_eq!(logged("MD0006", "nobody-asks"), 0);
    assert_eq!(logged("AH10105", "ok.example.com"), 1);
}

#[test]
fn a_start_without_the_store_lock_reads_incomplete_sets_again() {
    let name = "kept.out.test";
    let mut server = TestServer::new(&[name]);
    drop(server.run(false));
    drop(server.start(true));
    // Another start is about to activate the set.
    server.store.rename((Group::Domains, name), (Group::Tmp, name)).unwrap();
    server.globals.store_locks = Some(std::time::Duration::ZERO);
    server.store.refuse(Call::Lock, Group::Domains);
    let claim = server.store.claim(name).unwrap();
    let reads = || server.store.count(Call::Load, Group::Domains, Some(&Aspect::Chain(p256())));
    let before = reads();
    let store = &server.store;
    let registry = std::thread::scope(|scope| {
        scope.spawn(move || {
            while reads() == before {
                std::thread::yield_now();
            }
            store.rename((Group::Tmp, name), (Group::Domains, name)).unwrap();
            drop(claim);
        });
        server.start(true)
    });
    assert_eq!(registry.domains[0].at_start.state, Some(State::Complete));
    assert_eq!(registry.domains[0].md.ca.account.as_deref(), Some(ACCOUNT));
}
