//! Tests of the events in the life of a domain: which are raised, and what a failed command means for the renewal.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::model::{Job, RenewMode, State, Window};
use crate::renewals::Renewals;
use crate::store::{Aspect, Group};

/// Returns a command that writes its arguments to a file, and then runs `then`.
fn noting(directory: &Path, then: &str) -> Option<String> {
    Some(format!(r#"/bin/sh -c 'echo "$*" >>{}/calls; {then}' sh"#, directory.display()))
}

/// Returns the lines that the command has written since the last call.
fn calls(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("calls")).unwrap_or_default();
    let _ = std::fs::remove_file(directory.join("calls"));
    text.lines().map(str::to_owned).collect()
}

/// Lets time pass, hour by hour.
fn live(server: &TestServer, renewals: &Renewals, time: i64) {
    for _ in 0..time {
        server.clock.advance(hours(1));
        server.go_on(renewals);
    }
}

#[test]
fn a_renewal_raises_events_from_its_beginning_to_its_activation() {
    let name = "told.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    server.globals.message_command = noting(directory.path(), "");
    server.globals.notify_command = noting(directory.path(), "");
    drop(server.run(false));
    let begun = vec![format!("renewing {name}"), format!("challenge-setup:http-01:{name} {name}")];
    assert_eq!(calls(directory.path()), [begun, vec![name.to_owned(), format!("renewed {name}")]].concat());
    drop(server.start(true));
    assert_eq!(calls(directory.path()), [format!("installed {name}")]);
    let job = server.job(Group::Domains, name).unwrap();
    let kinds: Vec<_> = job.log.iter().flat_map(|log| &log.entries).map(|domain| domain.kind.as_str()).collect();
    assert_eq!((kinds[0], kinds[1]), ("message-installed", "message-renewed"));
    drop(server.run(true));
    assert!(calls(directory.path()).is_empty());
}

#[test]
fn a_set_that_is_not_activated_is_announced_once() {
    let name = "waits.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    drop(server.run(false));
    drop(server.start(true));
    server.clock.advance(hours(24 * 59));
    server.globals.message_command = noting(directory.path(), "");
    let renewals = server.run(true);
    live(&server, &renewals, 24 * 29);
    let reasons: Vec<_> = calls(directory.path()).into_iter().filter(|call| !call.starts_with("challenge")).collect();
    assert_eq!(reasons, [format!("renewing {name}"), format!("renewed {name}")]);
    assert_eq!(server.ca.count(Operation::NewOrder), 2);
}

#[test]
fn a_failed_notification_is_repeated_and_leaves_the_staged_set_as_it_is() {
    for (name, problem) in [("notify.test", "AH10108"), ("message.test", "AH10109")] {
        let directory = tempfile::tempdir().unwrap();
        let mut server = TestServer::new(&[name]);
        let failing = noting(directory.path(), &format!("test -e {}/good", directory.path().display()));
        if problem == "AH10108" {
            server.globals.notify_command = failing;
        } else {
            let line = failing.unwrap();
            server.globals.message_command = Some(line.replace("test -e", r#"test "$1" != renewed || test -e"#));
        }
        let renewals = server.run(false);
        for (errors, delay) in [(1, 30), (2, 60), (3, 120)] {
            let job = server.staged_job(name);
            assert_eq!((job.finished, job.notified_renewed, job.errors), (true, false, errors));
            assert!(job.last.unwrap().problem.unwrap().contains(problem));
            let wait = job.next_run.unwrap().duration_since(server.clock.now()).as_secs();
            assert!((delay - 5..=delay).contains(&wait), "{wait}");
            let called = calls(directory.path()).len();
            assert!(called >= 1);
            server.clock.advance(SignedDuration::from_secs(delay / 2));
            server.go_on(&renewals);
            assert!(calls(directory.path()).is_empty(), "not yet");
            if errors == 3 {
                std::fs::write(directory.path().join("good"), "").unwrap();
            }
            server.clock.advance(SignedDuration::from_secs(delay));
            server.go_on(&renewals);
        }
        let job = server.staged_job(name);
        assert_eq!((job.finished, job.notified_renewed, job.errors, job.next_run), (true, true, 0, None));
        let last = job.last.unwrap();
        assert!(last.problem.is_none() && last.detail.unwrap().contains("renewed successfully"));
        assert_eq!(server.ca.count(Operation::NewOrder), 1);
        live(&server, &renewals, 30);
        assert_eq!(calls(directory.path()).len(), 1);
    }
}

/// Returns a domain whose sets go live, with certificates that live for a day.
fn goes_live(name: &str) -> TestServer {
    let mut server = TestServer::new(&[name]);
    server.declared[0].settings.activation = Some(crate::model::ActivationMode::Live);
    server.ca.behave(|ca| ca.days = 1);
    server
}

#[test]
fn every_renewal_that_goes_live_raises_events_however_soon_it_follows() {
    let name = "lively.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = goes_live(name);
    server.globals.message_command = noting(directory.path(), "");
    server.globals.notify_command = noting(directory.path(), "");
    let renewals = server.run(false);
    for turn in 1..=4 {
        assert_eq!(server.ca.count(Operation::NewOrder), turn);
        let calls: Vec<_> = calls(directory.path()).into_iter().filter(|call| !call.starts_with("challenge")).collect();
        let [renewing, activated, renewed] = ["renewing", "activated", "renewed"].map(|what| format!("{what} {name}"));
        assert_eq!(calls, [renewing, activated, name.to_owned(), renewed], "{turn}");
        live(&server, &renewals, 15);
    }
}

#[test]
fn a_failed_command_of_a_live_renewal_is_repeated() {
    let name = "lively-again.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = goes_live(name);
    let failing = format!("test -e {}/good", directory.path().display());
    server.globals.notify_command = noting(directory.path(), &failing);
    // There are two key types; the certificate for the second goes live by itself.
    let p384 = KeySpec::Ec { curve: "P-384".to_owned() };
    drop(server.run(false));
    drop(server.start(true));
    let _ = calls(directory.path());
    server.declared[0].settings.keys = Some(Arc::new(KeySpecs(vec![p256(), p384])));
    let renewals = server.run(true);
    let orders = server.ca.count(Operation::NewOrder);
    for (errors, delay) in [(1, 30), (2, 60), (3, 120)] {
        let job = server.staged_job(name);
        assert_eq!((job.finished, job.notified_renewed, job.errors), (true, false, errors));
        assert_eq!(calls(directory.path()).len(), 1);
        assert!(server.store.exists(Group::Live, name, &Aspect::LiveJson));
        if errors == 3 {
            std::fs::write(directory.path().join("good"), "").unwrap();
        }
        server.clock.advance(SignedDuration::from_secs(delay / 2));
        server.go_on(&renewals);
        assert!(calls(directory.path()).is_empty(), "not yet");
        server.clock.advance(SignedDuration::from_secs(delay));
        server.go_on(&renewals);
    }
    let job = server.staged_job(name);
    assert_eq!((job.finished, job.notified_renewed, job.errors, job.next_run), (true, true, 0, None));
    live(&server, &renewals, 2);
    assert_eq!((calls(directory.path()).len(), server.ca.count(Operation::NewOrder)), (1, orders));
}

#[test]
fn events_that_a_crash_prevented_are_raised_by_the_next_process() {
    let name = "crashed.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    server.globals.message_command = noting(directory.path(), "");
    let renewals = server.run(false);
    let job = Job { notified: false, notified_renewed: false, log: None, ..server.staged_job(name) };
    server.documents.save_json(Group::Staging, name, &Aspect::JobJson, &job).unwrap();
    let _ = calls(directory.path());
    live(&server, &renewals, 13);
    assert_eq!(calls(directory.path()), [format!("renewed {name}")]);
}

#[test]
fn a_failed_renewing_event_stops_this_run_only() {
    watch_log();
    let name = "vetoed.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    let veto = format!(r#"test "$1" != renewing || test -e {}/good"#, directory.path().display());
    server.globals.message_command = noting(directory.path(), &veto);
    let renewals = server.run(false);
    let job = server.staged_job(name);
    let problem = job.last.and_then(|last| last.problem);
    assert_eq!((job.errors, job.finished, job.next_run), (0, false, None));
    assert_eq!(problem.as_deref(), Some("urn:org:apache:httpd:log:AH10109:"));
    assert_eq!(logged("AH10060", name), 1);
    assert_eq!((server.ca.count(Operation::Directory), logged("AH10056", name)), (0, 0));
    // The event is raised at the next regular check, 12 hours later, and at every start.
    live(&server, &renewals, 11);
    assert_eq!(logged("AH10060", name), 1);
    live(&server, &renewals, 2);
    assert_eq!(logged("AH10060", name), 2);
    std::fs::write(directory.path().join("good"), "").unwrap();
    live(&server, &renewals, 13);
    assert!(server.staged_job(name).finished);
}

#[test]
fn errored_is_raised_once_an_hour_and_a_failing_command_hides_no_error() {
    let name = "errored.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    server.globals.message_command = noting(directory.path(), r#"test "$1" != errored || test ! -e /"#);
    server.ca.fail_times(Operation::NewOrder, 3, Fault::Answer(problem(500, "serverInternal", "out of order")));
    let renewals = server.run(false);
    let job = server.staged_job(name);
    assert_eq!(job.errors, 1);
    assert!(job.last.unwrap().detail.unwrap().starts_with("out of order"));
    assert!(job.next_run.is_some());
    assert_eq!(calls(directory.path()), [format!("renewing {name}"), format!("errored {name}")]);
    server.globals.message_command = noting(directory.path(), "");
    drop(renewals);
    let renewals = server.renewals_with(true, server.moving_clock(), |_| None);
    for expected in [1, 0] {
        server.clock.advance(SignedDuration::from_mins(10));
        server.go_on(&renewals);
        let calls = calls(directory.path());
        assert_eq!(calls.iter().filter(|call| call.starts_with("errored")).count(), expected, "{calls:?}");
    }
    assert_eq!(server.staged_job(name).errors, 3);
}

#[test]
fn the_event_and_the_log_of_a_refusal_by_policy_name_the_next_attempt_a_day_later() {
    watch_log();
    let name = "policy.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    let input = directory.path().join("input");
    server.globals.message_command =
        noting(directory.path(), &format!(r#"test "$1" != errored || cat >{}"#, input.display()));
    server.ca.fail(Operation::NewOrder, Fault::Answer(problem(403, "rejectedIdentifier", "not in our list")));
    let renewals = server.run(false);
    let next = server.staged_job(name).next_run.unwrap();
    assert!((86_390..=86_400).contains(&from_now(&server, Some(next))));
    let event: serde_json::Value = serde_json::from_slice(&std::fs::read(&input).unwrap()).unwrap();
    let at = crate::model::time::format_gmt(next);
    assert_eq!((event["event"].as_str(), event["next-run"].as_str()), (Some("errored"), Some(&*at)));
    let advice = "take the name out of the domain, or use another CA";
    assert_eq!(logged("AH10056", &format!("detail[not in our list; {advice}], next attempt at {at}")), 1);
    assert_eq!(logged("AH10057", &format!("{name}: encountered error for the 1. time, next run in ")), 1);
    // A day later, and not before.
    live(&server, &renewals, 23);
    assert_eq!(server.ca.count(Operation::NewOrder), 1);
    live(&server, &renewals, 1);
    assert_eq!(server.ca.count(Operation::NewOrder), 2);
}

/// Files with a certificate for the name, valid for 90 days from the start of the test.
fn with_files(server: &mut TestServer, directory: &Path, name: &str) {
    let key = PrivateKey::generate(&p256()).unwrap();
    let names = [DomainName::parse(name).unwrap()];
    let chain = self_signed(&key, name, &names, server.clock.now(), 90).unwrap();
    let path = |end: &str| directory.join(end).to_str().unwrap().to_owned();
    std::fs::write(path("pem"), chain.to_pem()).unwrap();
    std::fs::write(path("key"), key.to_pem().unwrap()).unwrap();
    let own = &mut server.declared[0].settings;
    (own.cert_files, own.key_files) = (vec![path("pem")], vec![path("key")]);
}

#[test]
fn the_expiry_of_an_administrators_certificate_is_warned_of_daily() {
    let name = "static.telling.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    with_files(&mut server, directory.path(), name);
    server.globals.message_command = noting(directory.path(), "");
    let renewals = server.run(false);
    live(&server, &renewals, 24 * 80);
    assert!(calls(directory.path()).is_empty(), "the window is 10%");
    live(&server, &renewals, 24 * 15);
    let called = calls(directory.path());
    assert!((13..=15).contains(&called.len()), "{called:?}");
    assert!(called.iter().all(|call| *call == format!("expiring {name}")));
    assert_eq!(server.ca.count(Operation::Directory), 0);
    // The same holds across many restarts.
    for _ in 0..5 {
        drop(server.run(true));
    }
    assert!(calls(directory.path()).is_empty());
}

#[test]
fn warn_windows_count_and_manual_domains_are_watched_too() {
    let name = "manual.telling.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    drop(server.run(false));
    drop(server.start(true));
    let own = &mut server.declared[0].settings;
    (own.renew_mode, own.warn_window) = (Some(RenewMode::Manual), Some(Window::Length(hours(48))));
    server.globals.message_command = noting(directory.path(), "");
    let registry = server.start(true);
    let until = registry.domains[0].at_start.common_validity().unwrap().1;
    let left = until.duration_since(server.clock.now()).as_hours();
    let renewals = server.renewals_with(true, server.moving_clock(), |_| None);
    live(&server, &renewals, left - 50);
    assert!(calls(directory.path()).is_empty());
    live(&server, &renewals, 3);
    assert_eq!(calls(directory.path()), [format!("expiring {name}")]);
    let job = server.staged_job(name);
    assert_eq!((job.finished, job.notified, job.errors, job.next_run), (false, false, 0, None));
}

#[test]
fn expiry_is_warned_of_if_the_renewal_fails_and_not_if_it_waits() {
    let name = "warned.telling.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    drop(server.run(false));
    drop(server.start(true));
    let until = server.start(true).domains[0].at_start.common_validity().unwrap().1;
    server.clock.advance(until.duration_since(server.clock.now()) - hours(24 * 5));
    server.globals.message_command = noting(directory.path(), r#"test "$1" != expiring"#);
    server.ca.fail_times(Operation::NewOrder, 1, Fault::Answer(problem(400, "rejectedIdentifier", "not this one")));
    let renewals = server.run(true);
    let expected = [format!("renewing {name}"), format!("errored {name}"), format!("expiring {name}")];
    assert_eq!(calls(directory.path()), expected);
    let before = server.staged_job(name);
    assert_eq!(before.errors, 1, "a warning that fails is no failed renewal");
    // The event is raised again soon, while the renewal waits for a day.
    live(&server, &renewals, 1);
    let again = calls(directory.path());
    assert!(!again.is_empty() && again.iter().all(|call| *call == format!("expiring {name}")), "{again:?}");
    let job = server.staged_job(name);
    assert_eq!((job.errors, job.next_run, job.last), (1, before.next_run, before.last));
    live(&server, &renewals, 24);
    assert!(server.staged_job(name).finished);
    let _ = calls(directory.path());
    live(&server, &renewals, 48);
    assert!(calls(directory.path()).is_empty(), "new certificates wait");
}

#[test]
fn a_hanging_command_delays_a_start_for_one_domain_only() {
    watch_log();
    let names = ["a.hangs.test", "b.hangs.test"];
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&names);
    drop(server.run(false));
    server.globals.cmd_timeout.events = Duration::from_millis(200);
    server.globals.message_command = noting(directory.path(), "exec sleep 600");
    let registry = server.start(true);
    assert_eq!(calls(directory.path()), ["installed a.hangs.test"]);
    assert!(registry.domains.iter().all(|domain| domain.md.state == State::Complete));
    assert_eq!(logged("", "b.hangs.test: 'installed' is not told"), 1);
    let job = server.job(Group::Domains, names[0]).unwrap();
    assert_eq!(job.log.unwrap().entries[0].kind, "message-error");
}

#[test]
fn a_hanging_dns_command_does_not_delay_renewals_without_one() {
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("d{number}.dns.test")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("last.dns.test");
    let mut server = TestServer::new(&names);
    for declared in &mut server.declared[..40] {
        declared.settings.challenges = Some(vec!["dns-01".to_owned()]);
    }
    server.globals.dns01_command = noting(directory.path(), "exec sleep 600");
    let dns01 = serde_json::json!({"type": "dns-01", "url": "https://ca.test/dns-01", "token": "token-of-the-dns-challenge", "status": "pending"});
    server.ca.behave(|ca| ca.others = vec![dns01]);
    let renewals = Arc::new(server.renewals_with(false, server.running_clock(), |_| None));
    let cancel = Cancel::default();
    let workers: Vec<_> = (0..renewals.tick())
        .map(|_| {
            let renewals = Arc::clone(&renewals);
            let cancel = cancel.clone();
            std::thread::spawn(move || renewals.work(&cancel))
        })
        .collect();
    let is_done = || server.job(Group::Staging, "last.dns.test").is_some_and(|job| job.finished);
    while !is_done() || !directory.path().join("calls").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let staged = server.store.list(Group::Staging).unwrap();
    assert!(staged.len() <= 5, "{staged:?}");
    assert_eq!(calls(directory.path()).len(), 1);
    cancel.cancel();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

#[test]
fn hanging_commands_for_warnings_do_not_delay_renewals() {
    let name = "hung.telling.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    with_files(&mut server, directory.path(), name);
    server.clock.advance(hours(24 * 85));
    server.declared.push(declared(&["other.telling.test"]));
    server.hosts.push(host("other.telling.test"));
    let go = directory.path().join("go");
    let hanging = format!(r#"test "$1" != expiring || while test ! -e {}; do sleep 0.01; done"#, go.display());
    server.globals.message_command = noting(directory.path(), &hanging);
    let renewals = Arc::new(server.renewals_with(false, server.moving_clock(), |_| None));
    let workers: Vec<_> = (0..renewals.tick())
        .map(|_| {
            let renewals = Arc::clone(&renewals);
            std::thread::spawn(move || renewals.work(&Cancel::default()))
        })
        .collect();
    assert_eq!(workers.len(), 2);
    while !server.job(Group::Staging, "other.telling.test").is_some_and(|job| job.finished) {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::write(go, "").unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert!(calls(directory.path()).contains(&format!("expiring {name}")));
}

#[test]
fn a_start_activates_a_set_while_a_command_runs_for_it() {
    let name = "told-of.telling.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    let go = directory.path().join("go");
    let waiting = format!(r#"test "$1" != renewed || while test ! -e {}; do sleep 0.01; done"#, go.display());
    server.globals.message_command = noting(directory.path(), &waiting);
    let renewals = Arc::new(server.renewals_with(false, server.moving_clock(), |_| None));
    let worker = Arc::clone(&renewals);
    let cancel = Cancel::default();
    assert_eq!(renewals.tick(), 1);
    let ends = cancel.clone();
    let worker = std::thread::spawn(move || worker.work(&ends));
    let expected = format!("renewed {name}\n");
    while !std::fs::read_to_string(directory.path().join("calls")).is_ok_and(|calls| calls.contains(&expected)) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // The process winds down; the next process neither waits for it nor raises the same event.
    cancel.wind_down();
    assert!(server.staged_job(name).telling.is_some() && server.store.claim(name).unwrap().is_some());
    let next = server.renewals_with(false, server.moving_clock(), |_| None);
    assert!(server.store.exists(Group::Domains, name, &Aspect::Chain(p256())));
    server.go_on(&next);
    std::fs::write(go, "").unwrap();
    worker.join().unwrap();
    assert_eq!(calls(directory.path()).iter().filter(|call| call.starts_with("renewed")).count(), 1);
    assert_eq!(server.job(Group::Domains, name).unwrap().telling, None);
    assert!(server.store.list(Group::Staging).unwrap().is_empty());
}

#[test]
fn an_event_of_another_process_is_raised_again_if_that_process_does_not_finish() {
    let name = "lease.telling.test";
    let directory = tempfile::tempdir().unwrap();
    let mut server = TestServer::new(&[name]);
    server.globals.message_command = noting(directory.path(), "");
    let renewals = server.run(false);
    calls(directory.path());
    let until = server.clock.now() + hours(48);
    let job = Job { notified_renewed: false, log: None, telling: Some(until), ..server.staged_job(name) };
    server.documents.save_json(Group::Staging, name, &Aspect::JobJson, &job).unwrap();
    live(&server, &renewals, 47);
    assert!(calls(directory.path()).is_empty());
    live(&server, &renewals, 14);
    assert_eq!(calls(directory.path()), [format!("renewed {name}")]);
    assert_eq!((server.staged_job(name).telling, server.staged_job(name).notified_renewed), (None, true));
}
