mod accounts;
mod faults;
mod lives;
mod names;
mod notifications;
mod several_cas;
mod starts;
mod turns;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::acme::{AccountRecord, OrderRecord};
use crate::cancel::Cancel;
use crate::clock::Clock as _;
use crate::crypto::{Certificate, Chain, PrivateKey, self_signed};
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::model::{
    Contact, ContactSource, DomainName, Globals, KeySpec, KeySpecs, ManagedDomain, MatchNames, Origin, RenewMode,
    Settings, State,
};
use crate::registry::{Host, Setup, Start, check, configured};
use crate::renewals::Renewals;
use crate::sets::{Advice, StagedState, staged};
use crate::store::{Aspect, Group, Reachability, Store};
use crate::testing::ca::{FakeCa, Fault, Operation, answer, problem, with_header};
use crate::testing::{ACCOUNT, Call, TestServer, declared, host, logged, p256, watch_log};

fn key() -> Aspect {
    Aspect::PrivateKey(p256())
}

fn contact(address: &str) -> Contact {
    Contact::of_directive(address, Origin::default())
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
fn progress_is_written_twice_a_second_at_most_and_what_lasts_at_once() {
    use crate::acme::Journal as _;
    let name = "progress.test";
    let server = TestServer::new(&[name]);
    let mut journal = journal(&server, Arc::clone(&server.start(false).domains[0].md));
    let stored = || server.staged_job(name).last.unwrap().activity.unwrap();
    journal.progress("first");
    journal.progress("second");
    assert_eq!(stored(), "first");
    journal.lasting_progress("third");
    assert_eq!(stored(), "third");
    server.clock.advance(SignedDuration::from_millis(500));
    journal.progress("fourth");
    assert_eq!(stored(), "fourth");
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
fn a_renewal_waits_for_the_disk_for_what_cannot_be_had_again() {
    let name = "disk.test";
    let mut server = TestServer::new(&[name]);
    let saved =
        |names: &[Aspect]| -> Vec<_> { names.iter().map(|aspect| (Group::Staging, aspect.file_name())).collect() };
    let renewals = server.renewals_with(false, server.moving_clock(), |_| None);
    server.store.waited_for();
    server.go_on(&renewals);
    assert_eq!(server.store.waited_for(), saved(&[Aspect::MdJson, key(), chain()]));
    // Of a failure, the time of the next attempt lasts.
    drop(renewals);
    server.declared = vec![declared(&["other.disk.test"])];
    server.hosts = vec![host("other.disk.test")];
    server.ca.fail(Operation::NewOrder, Fault::Drop);
    let renewals = server.renewals_with(false, server.moving_clock(), |_| None);
    server.store.waited_for();
    server.go_on(&renewals);
    let waited_for = server.store.waited_for();
    assert_eq!(waited_for[..2], saved(&[Aspect::MdJson, Aspect::JobJson]), "{waited_for:?}");
}

#[test]
fn a_report_that_a_power_failure_has_damaged_costs_no_order() {
    let name = "powerless.test";
    let server = TestServer::new(&[name]);
    let renewals = server.run(false);
    for text in ["", "{\"name\": "] {
        server.put(Group::Staging, name, &Aspect::JobJson, text);
        server.clock.advance(hours(24));
        server.go_on(&renewals);
        assert!(server.staged_job(name).finished);
        assert_eq!(server.ca.ordered().len(), 1);
    }
    drop(server.run(true));
    assert!(server.store.exists(Group::Domains, name, &chain()), "a start activates it in any case");
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
        assert_eq!((last.status.0, last.status_description.is_some()), (20014, false));
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
        (|server| server.declared[0].settings.contact = Some(contact("b@x.org")), true),
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
        server.declared[0].settings.contact = Some(contact(&format!("{is_restart}@x.org")));
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
    server.store.refuse(Call::Claim, Group::Staging);
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
            self.2.wind_down();
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

#[test]
fn commands_are_told_of_a_set_whose_last_certificate_comes_while_the_process_stops() {
    let name = "complete.cancelled.test";
    let directory = tempfile::tempdir().unwrap();
    let calls = directory.path().join("calls");
    let mut server = TestServer::new(&[name]);
    server.globals.message_command = Some(format!(r#"/bin/sh -c 'echo "$1" >>{}' sh"#, calls.display()));
    let cancel = Cancel::default();
    let client = Arc::new(CancelAt(Arc::clone(&server.ca), Operation::Certificate, cancel.clone()));
    let renewals = server.renewals_with(false, server.moving_clock(), move |_| Some(Arc::clone(&client) as _));
    assert_eq!(renewals.tick(), 1);
    renewals.work(&cancel);
    assert!(server.staged_job(name).finished && server.staged_job(name).notified_renewed);
    server.start(true);
    assert!(server.store.list(Group::Staging).unwrap().is_empty());
    assert!(server.store.exists(Group::Domains, name, &Aspect::Chain(p256())));
    assert_eq!(std::fs::read_to_string(calls).unwrap().matches("renewed").count(), 1);
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

/// Directory URL of a CA that answers only when the test allows it.
const SLOW: &str = "https://slow.test/directory";

/// An HTTP client for that CA.
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
        let url = request.url.replace(SLOW, FakeCa::DIRECTORY);
        self.ca.send(&Request { url, ..request.clone() })
    }
}

#[test]
fn a_domain_whose_ca_is_slow_does_not_delay_others() {
    let mut server = TestServer::new(&["slow.test", "fast1.test", "fast2.test"]);
    server.declared[0].settings.ca_urls = Some(vec![SLOW.to_owned()]);
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
