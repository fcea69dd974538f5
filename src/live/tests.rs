//! Tests of sets that go live, with several processes that share counters.

use jiff::{SignedDuration, Timestamp};

mod crashes;
mod reading;
mod restarts;

use super::*;
use crate::crypto::{Chain, PrivateKey, self_signed};
use crate::model::{ActivationMode, DomainName, KeySpec, KeySpecs, Settings};
use crate::sets::{CertificateSet, Pair, StagedState};
use crate::store::Store;
use crate::testing::ca::FakeCa;
use crate::testing::{Call, TestServer, logged, p256, watch_log};

/// Returns a server in which sets go live.
pub(crate) fn server(names: &[&str]) -> TestServer {
    let mut server = TestServer::new(names);
    server.declared.iter_mut().for_each(|one| one.settings.activation = Some(ActivationMode::Live));
    server
}

/// Counters that the processes of a server share.
pub(crate) fn counters() -> &'static [AtomicU32] {
    (0..LiveSets::COUNTERS).map(|_| AtomicU32::new(0)).collect::<Vec<_>>().leak()
}

/// Returns the live slots of a server's domains.
pub(crate) fn slots(server: &TestServer) -> Vec<Option<Arc<LiveSlot>>> {
    let domains = server.declared.iter().map(|one| Arc::new(one.complete(&Settings::default()).unwrap()));
    domains.map(|md| LiveSlot::new(&md, &CertificateSet::stored(&server.documents, &md))).collect()
}

/// Returns a new process of a server, which starts without changing the store.
pub(crate) fn process(server: &TestServer, counters: &'static [AtomicU32]) -> LiveSets {
    let live_sets = LiveSets::new(Arc::clone(&server.documents), Arc::clone(&server.clock) as _, slots(server));
    live_sets.open(Some(counters));
    live_sets
}

/// Stages a renewal of the domain, made by a server whose sets do not go live.
fn stage(server: &mut TestServer, name: &str) {
    let live = server.declared[0].settings.activation.take();
    drop(server.run(true));
    server.declared[0].settings.activation = live;
    assert!(server.staged_job(name).finished);
}

pub(crate) fn serial(live_sets: &LiveSets) -> Option<String> {
    Some(live_sets.current(0)?.pairs[0].1.summary().serial_hex())
}

pub(crate) fn reads(server: &TestServer) -> usize {
    server.store.count(Call::Load, Group::Live, None)
}

/// Publishes what is staged, as a worker does.
fn publish(live_sets: &LiveSets, started: &CertificateSet, now: Timestamp) -> Result<Published, PortError> {
    let staged = live_sets.slot(0).map(|slot| StagedState::read(&live_sets.documents, &slot.md)).unwrap_or_default();
    let ca_url = staged.begun.as_ref().and_then(|begun| begun.ca.url.as_deref());
    live_sets.publish(0, started, &Renewed { job: &staged.job, ca_url }, now, |_| Ok(()))
}

fn published(live_sets: &LiveSets, now: Timestamp) -> Published {
    publish(live_sets, &CertificateSet::default(), now).unwrap()
}

pub(crate) fn pair(spec: &KeySpec, names: &[&str], now: Timestamp) -> Pair {
    let key = PrivateKey::generate(spec).unwrap();
    let names: Vec<_> = names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
    let chain = Chain::from_pem(self_signed(&key, "x", &names, now, 14).unwrap().to_pem().as_bytes()).unwrap();
    Pair { spec: spec.clone(), key, chain }
}

pub(crate) fn put(server: &TestServer, name: &str, pairs: Vec<Pair>) {
    let text = PairSet { ca_url: None, account_url: None, pairs }.to_json(server.store.secret(), name).unwrap();
    server.store.save(Group::Live, name, &Aspect::LiveJson, &text).unwrap();
}

#[test]
fn a_staged_set_is_served_by_all_processes_and_read_once_by_each() {
    let name = "all.live.test";
    let mut server = server(&["all.live.test"]);
    let counters = counters();
    let [worker, child] = [0, 1].map(|_| process(&server, counters));
    assert_eq!((serial(&child), published(&worker, server.clock.now())), (None, Published::NotNow(NotNow::NothingNew)));
    stage(&mut server, name);
    assert_eq!(serial(&worker), None, "staged is not live");
    let Published::Live(facts) = published(&worker, server.clock.now()) else { panic!("it is good") };
    let before = reads(&server);
    for _ in 0..3 {
        assert_eq!(serial(&child), Some(facts[0].serial_hex()));
    }
    assert_eq!((reads(&server) - before, child.refresh(), serial(&worker)), (1, 0, serial(&child)));
    let served = child.current(0).unwrap();
    assert!(served.is_whole && served.has(served.pairs[0].1.sha1()) && !served.has(&[0; 20]));
    assert_eq!(served.ca_url.as_deref(), Some(FakeCa::DIRECTORY));
    assert_eq!(published(&worker, server.clock.now()), Published::NotNow(NotNow::NothingNew), "it is live already");
    assert_eq!(
        serial(&process(&server, counters)),
        serial(&child),
        "a process that starts now has it without being told"
    );
    drop(server.start(true));
    assert!(!server.store.exists(Group::Live, name, &Aspect::LiveJson));
    assert_eq!(serial(&child), Some(facts[0].serial_hex()), "a child of the former generation goes on");
}

#[test]
fn a_renewal_ends_with_its_certificates_live() {
    watch_log();
    let name = "end.live.test";
    let server = server(&["end.live.test"]);
    let counters = counters();
    let child = process(&server, counters);
    let renewals = server.run(true);
    let text = server.text(Group::Live, name, &Aspect::LiveJson).unwrap();
    assert!(!text.contains("BEGIN PRIVATE KEY") && text.contains("BEGIN ENCRYPTED PRIVATE KEY"));
    assert_eq!(logged("MD0036", name), 1);
    child.announce(0);
    let staged = server.text(Group::Staging, name, &Aspect::Chain(p256())).unwrap();
    let leaf = crate::crypto::Certificate::from_pem(staged.as_bytes()).unwrap();
    assert_eq!(serial(&child), Some(leaf.summary().serial_hex()));
    assert!(server.staged_job(name).newest("message-activated").is_some());
    server.go_on(&renewals);
    assert_eq!(logged("MD0036", name), 1, "once");
}

#[test]
fn only_domains_that_have_changed_are_read_again() {
    let server = server(&["a.only.test", "b.only.test"]);
    let counters = counters();
    assert_ne!(counter_of("a.only.test"), counter_of("b.only.test"));
    let child = process(&server, counters);
    let now = server.clock.now();
    put(&server, "b.only.test", vec![pair(&p256(), &["b.only.test"], now)]);
    assert_eq!((child.refresh(), reads(&server)), (0, 0), "nobody has told");
    child.announce(1);
    assert_eq!((child.refresh(), reads(&server), child.refresh()), (1, 1, 0));
    assert!(child.current(0).is_none() && child.current(1).is_some() && child.current(2).is_none());
    // The same set is announced again.
    child.announce(1);
    let former = child.current(1).unwrap();
    assert_eq!((reads(&server), child.refresh()), (2, 0));
    assert!(Arc::ptr_eq(&former, &child.current(1).unwrap()));
}

#[test]
fn domains_that_wait_for_a_restart_or_have_files_do_not_go_live() {
    let mut server = server(&["restart.mode.test", "static.mode.test"]);
    let counters = counters();
    server.declared[0].settings.activation = Some(ActivationMode::Restart);
    server.declared[1].settings.cert_files = vec!["/none".to_owned()];
    server.declared[1].settings.key_files = vec!["/none".to_owned()];
    let live_sets = process(&server, counters);
    assert!(live_sets.is_empty() && !(0..2).any(|position| live_sets.goes_live(position)));
    assert_eq!(published(&live_sets, server.clock.now()), Published::NotNow(NotNow::NothingNew));
}

#[test]
fn a_set_that_does_not_verify_is_never_served_and_replaces_none() {
    watch_log();
    let name = "bad.live.test";
    let mut server = server(&["bad.live.test"]);
    let counters = counters();
    let p384 = KeySpec::Ec { curve: "P-384".to_owned() };
    server.declared[0].settings.keys = Some(Arc::new(KeySpecs(vec![p256(), p384.clone()])));
    let now = server.clock.now();
    let good = || pair(&p256(), &[name], now);
    put(&server, name, vec![good(), pair(&p384, &[name], now)]);
    let child = process(&server, counters);
    let first = serial(&child);
    assert!(first.is_some(), "what was live when the server ended is live again");

    let mixed = Pair { key: good().key, ..good() };
    let other = TestServer::new(&["x.test"]);
    let foreign =
        PairSet { ca_url: None, account_url: None, pairs: vec![good()] }.to_json(other.store.secret(), name).unwrap();
    let json = |pairs| PairSet { ca_url: None, account_url: None, pairs }.to_json(server.store.secret(), name).unwrap();
    let rows: [(&str, Vec<u8>); 9] = [
        ("cannot be read", b"{".to_vec()),
        ("cannot be read", b"".to_vec()),
        ("there is nothing in it", json(Vec::new())),
        ("there is nothing in it", json(vec![pair(&KeySpec::Default, &[name], now)])),
        ("certificate(P-256) is there twice", json(vec![good(), good()])),
        ("do not match", json(vec![mixed])),
        ("is not for bad.live.test", json(vec![pair(&p256(), &["other.test"], now)])),
        ("is not valid before", json(vec![pair(&p256(), &[name], now + SignedDuration::from_hours(100))])),
        (PLANTED, foreign),
    ];
    for (number, (words, text)) in rows.into_iter().enumerate() {
        server.store.save(Group::Live, name, &Aspect::LiveJson, &text).unwrap();
        child.announce(0);
        assert_eq!(serial(&child), first, "{words}");
        assert!(logged("MD0035", words) > 0, "{words}");
        assert_eq!(logged("MD0035", name), number + 1, "said once: {words}");
        assert_eq!(serial(&child), first);
    }
    server.store.purge(Group::Live, name).unwrap();
    child.announce(0);
    assert_eq!(serial(&child), first, "a start has moved it");
    put(&server, name, vec![good()]);
    child.announce(0);
    let served = child.current(0).unwrap();
    assert!(serial(&child) != first && !served.is_whole);
}

const PLANTED: &str = "it was not written by a server of this store for this domain";

#[test]
fn a_set_that_somebody_without_the_secret_has_written_or_changed_is_never_served() {
    watch_log();
    let name = "planted.live.test";
    let server = server(&["planted.live.test"]);
    let now = server.clock.now();
    let secret = server.store.secret();
    let own = pair(&p256(), &[name], now);
    let set = PairSet { ca_url: Some("https://ca.test/".to_owned()), account_url: None, pairs: vec![own.clone()] };
    let document: serde_json::Value = serde_json::from_slice(&set.to_json(secret, name).unwrap()).unwrap();
    let with = |member: &str, value: serde_json::Value| {
        let mut planted = document.clone();
        *planted.pointer_mut(member).unwrap() = value;
        serde_json::to_vec(&planted).unwrap()
    };
    // Of the same key, which stays encrypted: only the code tells that it is another's.
    let chain = self_signed(&own.key, "x", &[DomainName::parse(name).unwrap()], now, 3).unwrap().to_pem();
    let mut without = document.clone();
    without.as_object_mut().unwrap().remove("mac");
    let plain = String::from_utf8(own.key.to_pem().unwrap().to_vec()).unwrap();
    let rows = [
        with("/pairs/0/chain", chain.into()),
        with("/pairs/0/private-key", plain.into()),
        with("/ca-url", "https://other.test/".into()),
        with("/mac", "".into()),
        serde_json::to_vec(&without).unwrap(),
        set.to_json(secret, "other.live.test").unwrap(),
    ];
    for (number, text) in rows.into_iter().enumerate() {
        server.store.save(Group::Live, name, &Aspect::LiveJson, &text).unwrap();
        assert_eq!(serial(&process(&server, counters())), None, "{number}");
        assert_eq!(logged("MD0035", name), number + 1, "{number}");
        drop(server.start(true));
        assert!(server.text(Group::Domains, name, &Aspect::Chain(p256())).is_none(), "{number}");
    }
    assert!(logged("MD0035", PLANTED) > 0);
    put(&server, name, vec![own]);
    assert!(serial(&process(&server, counters())).is_some());
}

#[test]
fn what_was_live_in_an_earlier_form_is_found_in_staging() {
    let name = "unbound.live.test";
    let server = server(&["unbound.live.test"]);
    drop(server.run(true));
    let text = server.text(Group::Live, name, &Aspect::LiveJson).unwrap();
    let mut unbound: serde_json::Value = serde_json::from_str(&text).unwrap();
    unbound.as_object_mut().unwrap().remove("mac");
    server.put(Group::Live, name, &Aspect::LiveJson, &unbound.to_string());
    let registry = server.start(true);
    let chain = server.text(Group::Domains, name, &Aspect::Chain(p256())).unwrap();
    assert!(text.contains(&serde_json::to_string(&chain).unwrap()));
    assert_eq!(
        (registry.domains[0].at_start.state, server.ca.ordered().len()),
        (Some(crate::model::State::Complete), 1)
    );
    assert!(!server.store.exists(Group::Live, name, &Aspect::LiveJson));
}

#[test]
fn an_expired_set_stays_until_there_is_another() {
    let name = "old.live.test";
    let server = server(&["old.live.test"]);
    let counters = counters();
    put(&server, name, vec![pair(&p256(), &[name], server.clock.now())]);
    server.clock.advance(SignedDuration::from_hours(24 * 30));
    assert!(serial(&process(&server, counters)).is_some());
}

#[test]
fn a_renewal_goes_live_at_the_activation_time() {
    let name = "time.live.test";
    let mut server = server(&["time.live.test"]);
    let counters = counters();
    let worker = process(&server, counters);
    let md = server.declared[0].complete(&Settings::default()).unwrap();
    let mut complete = CertificateSet::stored(&server.documents, &md);
    complete.state = Some(crate::model::State::Complete);
    stage(&mut server, name);
    let mut job = server.staged_job(name);
    let now = server.clock.now();
    // Jobs have whole seconds.
    let at = Timestamp::from_second(now.as_second() + 7200).unwrap();
    job.valid_from = Some(at);
    server.documents.save_json(Group::Staging, name, &Aspect::JobJson, &job).unwrap();
    assert_eq!(publish(&worker, &complete, now).unwrap(), Published::NotNow(NotNow::NotBefore(at)));
    assert_eq!(serial(&worker), None);
    assert!(matches!(publish(&worker, &complete, at).unwrap(), Published::Live(_)));
    // If no certificate is served, there is no reason to wait.
    server.store.purge(Group::Live, name).unwrap();
    assert!(matches!(published(&process(&server, counters), now), Published::Live(_)));
}

#[test]
fn a_damaged_or_incomplete_staged_set_stays_in_staging() {
    let name = "part.live.test";
    let mut server = server(&["part.live.test"]);
    let counters = counters();
    let worker = process(&server, counters);
    stage(&mut server, name);
    let chain = Aspect::Chain(p256());
    let now = server.clock.now();
    let text = server.text(Group::Staging, name, &chain).unwrap();
    server.put(Group::Staging, name, &chain, "damaged");
    assert!(matches!(published(&worker, now), Published::NotNow(NotNow::Unusable(_) | NotNow::Incomplete(_))));
    server.store.remove(Group::Staging, name, &chain).unwrap();
    assert!(matches!(published(&worker, now), Published::NotNow(NotNow::Incomplete(_))));
    assert!(serial(&worker).is_none() && !server.store.exists(Group::Live, name, &Aspect::LiveJson));
    server.put(Group::Staging, name, &chain, &text);
    server.store.refuse(Call::Write, Group::Live);
    assert!(publish(&worker, &CertificateSet::default(), now).is_err());
    assert_eq!(
        (serial(&worker), counters[0].load(Ordering::Relaxed)),
        (None, 0),
        "nobody is told of what is not there"
    );
    server.store.recover();
    assert!(matches!(published(&worker, now), Published::Live(_)));
}

#[test]
fn handshakes_during_changes_find_a_key_that_fits() {
    let name = "swap.live.test";
    let server = server(&["swap.live.test"]);
    let counters = counters();
    let now = server.clock.now();
    let sets: Vec<_> = (0..4).map(|_| pair(&p256(), &[name], now)).collect();
    put(&server, name, vec![sets[0].clone()]);
    let child = process(&server, counters);
    let known: HashSet<_> = sets.iter().map(|set| set.chain.leaf().sha1()).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let served = child.current(0).unwrap();
                    assert!(known.contains(served.pairs[0].1.sha1()));
                }
            });
        }
        for turn in 0..40 {
            put(&server, name, vec![sets[turn % sets.len()].clone()]);
            child.announce(0);
        }
        done.store(true, Ordering::Relaxed);
    });
    child.refresh();
    assert_eq!(child.current(0).unwrap().pairs[0].1.sha1(), &sets[39 % sets.len()].chain.leaf().sha1());
}

#[test]
fn a_first_certificate_is_served_by_every_handshake_after_its_announcement() {
    let name = "first.live.test";
    let server = server(&["first.live.test"]);
    let counters = counters();
    let child = process(&server, counters);
    put(&server, name, vec![pair(&p256(), &[name], server.clock.now())]);
    child.announce(0);
    // Another thread has begun to read the set.
    let known = lock(&child.slots[0].as_ref().unwrap().known);
    std::thread::scope(|scope| {
        let handshake = scope.spawn(|| serial(&child));
        drop(known);
        assert!(handshake.join().unwrap().is_some());
    });
}

#[test]
fn renewals_go_on_without_a_start() {
    let name = "three.live.test";
    let server = server(&["three.live.test"]);
    let renewals = server.run(true);
    let mut seen = HashSet::new();
    for turn in 1..=4 {
        let text = server.text(Group::Live, name, &Aspect::LiveJson).unwrap();
        assert!(seen.insert(text.clone()), "another one each time");
        assert_eq!(server.ca.ordered().len(), turn);
        // Long before it is due there is nothing to do.
        server.clock.advance(SignedDuration::from_hours(24));
        server.go_on(&renewals);
        assert_eq!((server.ca.ordered().len(), server.text(Group::Live, name, &Aspect::LiveJson)), (turn, Some(text)));
        server.clock.advance(SignedDuration::from_hours(24 * 70));
        server.go_on(&renewals);
    }
    assert!(!server.store.exists(Group::Domains, name, &Aspect::Chain(p256())), "no start has been");
    drop(renewals);
    let registry = server.start(true);
    assert_eq!(registry.domains[0].at_start.state, Some(crate::model::State::Complete));
    assert!(!server.store.exists(Group::Live, name, &Aspect::LiveJson));
}

#[test]
fn a_live_set_is_served_after_a_start_also_if_the_next_renewal_has_begun() {
    let name = "settle.live.test";
    let server = server(&["settle.live.test"]);
    let counters = counters();
    drop(server.run(true));
    drop(server.start(true));
    assert_eq!(serial(&process(&server, counters)), None, "it was staged, too");

    let now = server.clock.now() + SignedDuration::from_hours(1);
    server.clock.advance(SignedDuration::from_hours(1));
    let new = pair(&p256(), &[name], now);
    let leaf = new.chain.leaf().clone();
    put(&server, name, vec![new]);
    server.put(Group::Staging, name, &Aspect::JobJson, "{}");
    let registry = server.start(true);
    let served = registry.domains[0].at_start.certificates[0].clone();
    assert_eq!(served, Some(leaf.summary()));
    assert_eq!(registry.domains[0].at_start.state, Some(crate::model::State::Complete));
    assert!(!server.store.exists(Group::Live, name, &Aspect::LiveJson));
    assert!(server.store.exists(Group::Staging, name, &Aspect::JobJson), "the renewal goes on");

    // A set that is older than the served one was left over.
    put(&server, name, vec![pair(&p256(), &[name], now - SignedDuration::from_hours(48))]);
    assert_eq!(server.start(true).domains[0].at_start.certificates[0], Some(leaf.summary()));
    assert!(!server.store.exists(Group::Live, name, &Aspect::LiveJson));
}
