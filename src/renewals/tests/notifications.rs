//! Which commands hear of what in the life of a domain, and what their failures mean for it.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::model::{Job, RenewMode, State, Window};
use crate::renewals::Renewals;
use crate::store::{Aspect, Group};

/// A command that notes how it is called, and then does this.
fn noting(directory: &Path, then: &str) -> Option<String> {
    Some(format!(r#"/bin/sh -c 'echo "$*" >>{}/calls; {then}' sh"#, directory.display()))
}

/// What it noted since it was asked last.
fn calls(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("calls")).unwrap_or_default();
    let _ = std::fs::remove_file(directory.join("calls"));
    text.lines().map(str::to_owned).collect()
}

/// Lets time pass, hour by hour.
fn live(world: &World, renewals: &Renewals, time: i64) {
    for _ in 0..time {
        world.clock.advance(hours(1));
        world.go_on(renewals);
    }
}

#[test]
fn a_renewal_is_told_from_its_beginning_to_its_activation() {
    let (name, directory) = ("told.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    world.globals.message_command = noting(directory.path(), "");
    world.globals.notify_command = noting(directory.path(), "");
    drop(world.run(false));
    let begun = vec![format!("renewing {name}"), format!("challenge-setup:http-01:{name} {name}")];
    assert_eq!(calls(directory.path()), [begun, vec![name.to_owned(), format!("renewed {name}")]].concat());
    drop(world.start(true));
    assert_eq!(calls(directory.path()), [format!("installed {name}")]);
    let job = world.job(Group::Domains, name).unwrap();
    let kinds: Vec<_> = job.log.iter().flat_map(|log| &log.entries).map(|entry| entry.kind.as_str()).collect();
    assert_eq!((kinds[0], kinds[1]), ("message-installed", "message-renewed"));
    drop(world.run(true));
    assert!(calls(directory.path()).is_empty());
}

#[test]
fn what_nobody_activates_is_told_once() {
    let (name, directory) = ("waits.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    drop(world.run(false));
    drop(world.start(true));
    world.clock.advance(hours(24 * 59));
    world.globals.message_command = noting(directory.path(), "");
    let renewals = world.run(true);
    live(&world, &renewals, 24 * 29);
    let reasons: Vec<_> = calls(directory.path()).into_iter().filter(|call| !call.starts_with("challenge")).collect();
    assert_eq!(reasons, [format!("renewing {name}"), format!("renewed {name}")]);
    assert_eq!(world.ca.count(Operation::NewOrder), 2);
}

#[test]
fn a_notification_that_fails_is_told_again_and_what_is_staged_is_as_good_as_before() {
    for (name, problem) in [("notify.test", "AH10108"), ("message.test", "AH10109")] {
        let directory = tempfile::tempdir().unwrap();
        let mut world = World::new(&[name]);
        let failing = noting(directory.path(), &format!("test -e {}/good", directory.path().display()));
        if problem == "AH10108" {
            world.globals.notify_command = failing;
        } else {
            let line = failing.unwrap();
            world.globals.message_command = Some(line.replace("test -e", r#"test "$1" != renewed || test -e"#));
        }
        let renewals = world.run(false);
        for (errors, delay) in [(1, 30), (2, 60), (3, 120)] {
            let job = world.staged_job(name);
            assert_eq!((job.finished, job.notified_renewed, job.errors), (true, false, errors));
            assert!(job.last.unwrap().problem.unwrap().contains(problem));
            let wait = job.next_run.unwrap().duration_since(world.clock.now()).as_secs();
            assert!((delay - 5..=delay).contains(&wait), "{wait}");
            let told = calls(directory.path()).len();
            assert!(told >= 1);
            world.clock.advance(SignedDuration::from_secs(delay / 2));
            world.go_on(&renewals);
            assert!(calls(directory.path()).is_empty(), "not yet");
            if errors == 3 {
                std::fs::write(directory.path().join("good"), "").unwrap();
            }
            world.clock.advance(SignedDuration::from_secs(delay));
            world.go_on(&renewals);
        }
        let job = world.staged_job(name);
        assert_eq!((job.finished, job.notified_renewed, job.errors, job.next_run), (true, true, 0, None));
        let last = job.last.unwrap();
        assert!(last.problem.is_none() && last.detail.unwrap().contains("renewed successfully"));
        assert_eq!(world.ca.count(Operation::NewOrder), 1);
        live(&world, &renewals, 30);
        assert_eq!(calls(directory.path()).len(), 1);
    }
}

/// A domain whose sets go live, with certificates that live for a day.
fn goes_live(name: &str) -> World {
    let mut world = World::new(&[name]);
    world.declared[0].settings.activation = Some(crate::model::ActivationMode::Live);
    world.ca.behave(|ca| ca.days = 1);
    world
}

#[test]
fn every_renewal_that_goes_live_is_told_however_soon_it_follows() {
    let (name, directory) = ("lively.test", tempfile::tempdir().unwrap());
    let mut world = goes_live(name);
    world.globals.message_command = noting(directory.path(), "");
    world.globals.notify_command = noting(directory.path(), "");
    let renewals = world.run(false);
    for turn in 1..=4 {
        assert_eq!(world.ca.count(Operation::NewOrder), turn);
        let calls: Vec<_> = calls(directory.path()).into_iter().filter(|call| !call.starts_with("challenge")).collect();
        let [renewing, activated, renewed] = ["renewing", "activated", "renewed"].map(|what| format!("{what} {name}"));
        assert_eq!(calls, [renewing, activated, name.to_owned(), renewed], "{turn}");
        live(&world, &renewals, 15);
    }
}

#[test]
fn a_renewal_that_is_live_is_told_again_when_a_command_fails() {
    let (name, directory) = ("lively-again.test", tempfile::tempdir().unwrap());
    let mut world = goes_live(name);
    let failing = format!("test -e {}/good", directory.path().display());
    world.globals.notify_command = noting(directory.path(), &failing);
    // Two types of key: the second comes by itself.
    let p384 = KeySpec::Ec { curve: "P-384".to_owned() };
    drop(world.run(false));
    drop(world.start(true));
    let _ = calls(directory.path());
    world.declared[0].settings.keys = Some(Arc::new(KeySpecs(vec![p256(), p384])));
    let renewals = world.run(true);
    let orders = world.ca.count(Operation::NewOrder);
    for (errors, delay) in [(1, 30), (2, 60), (3, 120)] {
        let job = world.staged_job(name);
        assert_eq!((job.finished, job.notified_renewed, job.errors), (true, false, errors));
        assert_eq!(calls(directory.path()).len(), 1);
        assert!(world.store.exists(Group::Live, name, &Aspect::LiveJson));
        if errors == 3 {
            std::fs::write(directory.path().join("good"), "").unwrap();
        }
        world.clock.advance(SignedDuration::from_secs(delay / 2));
        world.go_on(&renewals);
        assert!(calls(directory.path()).is_empty(), "not yet");
        world.clock.advance(SignedDuration::from_secs(delay));
        world.go_on(&renewals);
    }
    let job = world.staged_job(name);
    assert_eq!((job.finished, job.notified_renewed, job.errors, job.next_run), (true, true, 0, None));
    live(&world, &renewals, 2);
    assert_eq!((calls(directory.path()).len(), world.ca.count(Operation::NewOrder)), (1, orders));
}

#[test]
fn a_crash_between_the_end_and_its_telling_is_made_good() {
    let (name, directory) = ("crashed.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    world.globals.message_command = noting(directory.path(), "");
    let renewals = world.run(false);
    let job = Job { notified: false, notified_renewed: false, log: None, ..world.staged_job(name) };
    world.vault.save_json(Group::Staging, name, &Aspect::JobJson, &job).unwrap();
    let _ = calls(directory.path());
    live(&world, &renewals, 13);
    assert_eq!(calls(directory.path()), [format!("renewed {name}")]);
}

#[test]
fn a_veto_stops_this_run_only() {
    watch_log();
    let (name, directory) = ("vetoed.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    let veto = format!(r#"test "$1" != renewing || test -e {}/good"#, directory.path().display());
    world.globals.message_command = noting(directory.path(), &veto);
    let renewals = world.run(false);
    let job = world.staged_job(name);
    let problem = job.last.and_then(|last| last.problem);
    assert_eq!((job.errors, job.finished, job.next_run), (0, false, None));
    assert_eq!(problem.as_deref(), Some("urn:org:apache:httpd:log:AH10109:"));
    assert_eq!(logged("AH10060", name), 1);
    assert_eq!((world.ca.count(Operation::Directory), logged("AH10056", name)), (0, 0));
    // At the next regular check, 12 hours on, and at every start.
    live(&world, &renewals, 11);
    assert_eq!(logged("AH10060", name), 1);
    live(&world, &renewals, 2);
    assert_eq!(logged("AH10060", name), 2);
    std::fs::write(directory.path().join("good"), "").unwrap();
    live(&world, &renewals, 13);
    assert!(world.staged_job(name).finished);
}

#[test]
fn a_failure_is_told_once_an_hour_and_a_command_that_fails_too_hides_nothing() {
    let (name, directory) = ("errored.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    world.globals.message_command = noting(directory.path(), r#"test "$1" != errored || test ! -e /"#);
    world.ca.fail_times(Operation::NewOrder, 3, Fault::Answer(problem(500, "serverInternal", "out of order")));
    let renewals = world.run(false);
    let job = world.staged_job(name);
    assert_eq!(job.errors, 1);
    assert!(job.last.unwrap().detail.unwrap().starts_with("out of order"));
    assert!(job.next_run.is_some());
    assert_eq!(calls(directory.path()), [format!("renewing {name}"), format!("errored {name}")]);
    world.globals.message_command = noting(directory.path(), "");
    drop(renewals);
    let renewals = world.renewals_with(true, world.moving_clock(), |_| None);
    for told in [1, 0] {
        world.clock.advance(SignedDuration::from_mins(10));
        world.go_on(&renewals);
        let calls = calls(directory.path());
        assert_eq!(calls.iter().filter(|call| call.starts_with("errored")).count(), told, "{calls:?}");
    }
    assert_eq!(world.staged_job(name).errors, 3);
}

/// A certificate for the name in files of their own, good for 90 days from the beginning of the world on.
fn with_files(world: &mut World, directory: &Path, name: &str) {
    let key = PrivateKey::generate(&p256()).unwrap();
    let names = [DomainName::parse(name).unwrap()];
    let chain = self_signed(&key, name, &names, world.clock.now(), 90).unwrap();
    let path = |end: &str| directory.join(end).to_str().unwrap().to_owned();
    std::fs::write(path("pem"), chain.to_pem()).unwrap();
    std::fs::write(path("key"), key.to_pem().unwrap()).unwrap();
    let own = &mut world.declared[0].settings;
    (own.cert_files, own.key_files) = (vec![path("pem")], vec![path("key")]);
}

#[test]
fn the_end_of_a_certificate_of_the_administrator_is_told_daily() {
    let (name, directory) = ("static.telling.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    with_files(&mut world, directory.path(), name);
    world.globals.message_command = noting(directory.path(), "");
    let renewals = world.run(false);
    live(&world, &renewals, 24 * 80);
    assert!(calls(directory.path()).is_empty(), "the window is 10%");
    live(&world, &renewals, 24 * 15);
    let told = calls(directory.path());
    assert!((13..=15).contains(&told.len()), "{told:?}");
    assert!(told.iter().all(|call| *call == format!("expiring {name}")));
    assert_eq!(world.ca.count(Operation::Directory), 0);
    // Also across restarts, where there are many.
    for _ in 0..5 {
        drop(world.run(true));
    }
    assert!(calls(directory.path()).is_empty());
}

#[test]
fn windows_are_obeyed_and_what_is_renewed_by_hand_is_watched_too() {
    let (name, directory) = ("manual.telling.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    drop(world.run(false));
    drop(world.start(true));
    let own = &mut world.declared[0].settings;
    (own.renew_mode, own.warn_window) = (Some(RenewMode::Manual), Some(Window::Length(hours(48))));
    world.globals.message_command = noting(directory.path(), "");
    let registry = world.start(true);
    let until = registry.entries[0].live.common_validity().unwrap().1;
    let left = until.duration_since(world.clock.now()).as_hours();
    let renewals = world.renewals_with(true, world.moving_clock(), |_| None);
    live(&world, &renewals, left - 50);
    assert!(calls(directory.path()).is_empty());
    live(&world, &renewals, 3);
    assert_eq!(calls(directory.path()), [format!("expiring {name}")]);
    let job = world.staged_job(name);
    assert_eq!((job.finished, job.notified, job.errors, job.next_run), (false, false, 0, None));
}

#[test]
fn a_renewal_that_fails_is_warned_of_and_one_that_waits_is_not() {
    let (name, directory) = ("warned.telling.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    drop(world.run(false));
    drop(world.start(true));
    let until = world.start(true).entries[0].live.common_validity().unwrap().1;
    world.clock.advance(until.duration_since(world.clock.now()) - hours(24 * 5));
    world.globals.message_command = noting(directory.path(), r#"test "$1" != expiring"#);
    world.ca.fail_times(Operation::NewOrder, 1, Fault::Answer(problem(400, "rejectedIdentifier", "not this one")));
    let renewals = world.run(true);
    let told = [format!("renewing {name}"), format!("errored {name}"), format!("expiring {name}")];
    assert_eq!(calls(directory.path()), told);
    let before = world.staged_job(name);
    assert_eq!(before.errors, 1, "a warning that fails is no failed renewal");
    // It is told again soon, while the renewal waits its day.
    live(&world, &renewals, 1);
    let again = calls(directory.path());
    assert!(!again.is_empty() && again.iter().all(|call| *call == format!("expiring {name}")), "{again:?}");
    let job = world.staged_job(name);
    assert_eq!((job.errors, job.next_run, job.last), (1, before.next_run, before.last));
    live(&world, &renewals, 24);
    assert!(world.staged_job(name).finished);
    let _ = calls(directory.path());
    live(&world, &renewals, 48);
    assert!(calls(directory.path()).is_empty(), "new certificates wait");
}

#[test]
fn a_command_that_hangs_keeps_a_start_from_one_domain_only() {
    watch_log();
    let (names, directory) = (["a.hangs.test", "b.hangs.test"], tempfile::tempdir().unwrap());
    let mut world = World::new(&names);
    drop(world.run(false));
    world.globals.cmd_timeout.events = Duration::from_millis(200);
    world.globals.message_command = noting(directory.path(), "exec sleep 600");
    let registry = world.start(true);
    assert_eq!(calls(directory.path()), ["installed a.hangs.test"]);
    assert!(registry.entries.iter().all(|entry| entry.md.state == State::Complete));
    assert_eq!(logged("", "b.hangs.test: 'installed' is not told"), 1);
    let job = world.job(Group::Domains, names[0]).unwrap();
    assert_eq!(job.log.unwrap().entries[0].kind, "message-error");
}

#[test]
fn a_command_for_the_dns_that_hangs_does_not_hold_up_those_that_need_none() {
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("d{number}.dns.test")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("last.dns.test");
    let mut world = World::new(&names);
    for declared in &mut world.declared[..40] {
        declared.settings.challenges = Some(vec!["dns-01".to_owned()]);
    }
    world.globals.dns01_command = noting(directory.path(), "exec sleep 600");
    let dns01 =
        serde_json::json!({"type": "dns-01", "url": "https://ca.test/dns-01", "token": "dns-01", "status": "pending"});
    world.ca.behave(|ca| ca.others = vec![dns01]);
    let renewals = Arc::new(world.renewals_with(false, world.running_clock(), |_| None));
    let cancel = Cancel::default();
    let workers: Vec<_> = (0..renewals.tick())
        .map(|_| {
            let (renewals, cancel) = (Arc::clone(&renewals), cancel.clone());
            std::thread::spawn(move || renewals.work(&cancel))
        })
        .collect();
    let is_done = || world.job(Group::Staging, "last.dns.test").is_some_and(|job| job.finished);
    while !is_done() || !directory.path().join("calls").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let staged = world.store.list(Group::Staging).unwrap();
    assert!(staged.len() <= 5, "{staged:?}");
    assert_eq!(calls(directory.path()).len(), 1);
    cancel.cancel();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

#[test]
fn warnings_that_hang_do_not_delay_renewals() {
    let (name, directory) = ("hung.telling.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    with_files(&mut world, directory.path(), name);
    world.clock.advance(hours(24 * 85));
    world.declared.push(declared(&["other.telling.test"]));
    world.hosts.push(host("other.telling.test"));
    let go = directory.path().join("go");
    let hanging = format!(r#"test "$1" != expiring || while test ! -e {}; do sleep 0.01; done"#, go.display());
    world.globals.message_command = noting(directory.path(), &hanging);
    let renewals = Arc::new(world.renewals_with(false, world.moving_clock(), |_| None));
    let workers: Vec<_> = (0..renewals.tick())
        .map(|_| {
            let renewals = Arc::clone(&renewals);
            std::thread::spawn(move || renewals.work(&Cancel::default()))
        })
        .collect();
    assert_eq!(workers.len(), 2);
    while !world.job(Group::Staging, "other.telling.test").is_some_and(|job| job.finished) {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::write(go, "").unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert!(calls(directory.path()).contains(&format!("expiring {name}")));
}

#[test]
fn a_start_activates_what_a_command_is_told_of() {
    let (name, directory) = ("told-of.telling.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    let go = directory.path().join("go");
    let waiting = format!(r#"test "$1" != renewed || while test ! -e {}; do sleep 0.01; done"#, go.display());
    world.globals.message_command = noting(directory.path(), &waiting);
    let renewals = Arc::new(world.renewals_with(false, world.moving_clock(), |_| None));
    let (worker, cancel) = (Arc::clone(&renewals), Cancel::default());
    assert_eq!(renewals.tick(), 1);
    let ends = cancel.clone();
    let worker = std::thread::spawn(move || worker.work(&ends));
    let told = format!("renewed {name}\n");
    while !std::fs::read_to_string(directory.path().join("calls")).is_ok_and(|calls| calls.contains(&told)) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // The process winds down, and the next one neither waits for it nor tells the same.
    cancel.wind_down();
    assert!(world.staged_job(name).telling.is_some() && world.store.claim(name).unwrap().is_some());
    let next = world.renewals_with(false, world.moving_clock(), |_| None);
    assert!(world.store.exists(Group::Domains, name, &Aspect::Chain(p256())));
    world.go_on(&next);
    std::fs::write(go, "").unwrap();
    worker.join().unwrap();
    assert_eq!(calls(directory.path()).iter().filter(|call| call.starts_with("renewed")).count(), 1);
    assert_eq!(world.job(Group::Domains, name).unwrap().telling, None);
    assert!(world.store.list(Group::Staging).unwrap().is_empty());
}

#[test]
fn what_another_process_is_telling_is_told_again_if_that_does_not_end_it() {
    let (name, directory) = ("lease.telling.test", tempfile::tempdir().unwrap());
    let mut world = World::new(&[name]);
    world.globals.message_command = noting(directory.path(), "");
    let renewals = world.run(false);
    calls(directory.path());
    let until = world.clock.now() + hours(48);
    let job = Job { notified_renewed: false, log: None, telling: Some(until), ..world.staged_job(name) };
    world.vault.save_json(Group::Staging, name, &Aspect::JobJson, &job).unwrap();
    live(&world, &renewals, 47);
    assert!(calls(directory.path()).is_empty());
    live(&world, &renewals, 14);
    assert_eq!(calls(directory.path()), [format!("renewed {name}")]);
    assert_eq!((world.staged_job(name).telling, world.staged_job(name).notified_renewed), (None, true));
}
