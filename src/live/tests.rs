//! Tests of sets that go live, with several processes that share counters.

use jiff::{SignedDuration, Timestamp};

mod crashes;
mod reading;
mod restarts;

use super::*;
use crate::crypto::{Chain, PrivateKey, self_signed};
use crate::model::{ActivationMode, DomainName, KeySpec, KeySpecs, Settings};
use crate::sets::{LiveSet, Pair};
use crate::store::Store;
use crate::testing::ca::FakeCa;
use crate::testing::{Call, World, logged, p256, watch_log};

/// A world in which sets go live.
pub(crate) fn world(names: &[&str]) -> World {
    let mut world = World::new(names);
    world.declared.iter_mut().for_each(|one| one.settings.activation = Some(ActivationMode::Live));
    world
}

/// What the processes of a server share.
pub(crate) fn counters() -> &'static [AtomicU32] {
    (0..Bundles::COUNTERS).map(|_| AtomicU32::new(0)).collect::<Vec<_>>().leak()
}

/// The domains.
pub(crate) fn slots(world: &World) -> Vec<Option<Arc<Slot>>> {
    let domains = world.declared.iter().map(|one| Arc::new(one.complete(&Settings::default()).unwrap()));
    domains.map(|md| Slot::new(&md, &LiveSet::stored(&world.vault, &md))).collect()
}

/// A process of a server that started, as far as that does not change the store.
pub(crate) fn process(world: &World, counters: &'static [AtomicU32]) -> Bundles {
    let bundles = Bundles::new(Arc::clone(&world.vault), Arc::clone(&world.clock) as _, slots(world));
    bundles.open(Some(counters));
    bundles
}

/// A staged renewal of the domain, which the server has none of yet. It was made by one that does not go live.
fn stage(world: &mut World, name: &str) {
    let live = world.declared[0].settings.activation.take();
    drop(world.run(true));
    world.declared[0].settings.activation = live;
    assert!(world.staged_job(name).finished);
}

pub(crate) fn serial(bundles: &Bundles) -> Option<String> {
    Some(bundles.current(0)?.pairs[0].1.summary().serial_hex())
}

pub(crate) fn reads(world: &World) -> usize {
    world.store.count(Call::Load, Group::Live, None)
}

fn published(bundles: &Bundles, now: Timestamp) -> Published {
    bundles.publish(0, &LiveSet::default(), now, |_| Ok(())).unwrap()
}

pub(crate) fn pair(spec: &KeySpec, names: &[&str], now: Timestamp) -> Pair {
    let key = PrivateKey::generate(spec).unwrap();
    let names: Vec<_> = names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
    let chain = Chain::from_pem(self_signed(&key, "x", &names, now, 14).unwrap().to_pem().as_bytes()).unwrap();
    Pair { spec: spec.clone(), key, chain }
}

pub(crate) fn put(world: &World, name: &str, pairs: Vec<Pair>) {
    let text = Bundle { ca_url: None, account_url: None, pairs }.to_json(world.store.secret()).unwrap();
    world.store.save(Group::Live, name, &Aspect::LiveJson, &text).unwrap();
}

#[test]
fn a_staged_set_is_served_by_all_processes_and_read_once_by_each() {
    let (name, mut world, counters) = ("all.live.test", world(&["all.live.test"]), counters());
    let [worker, child] = [0, 1].map(|_| process(&world, counters));
    assert_eq!((serial(&child), published(&worker, world.clock.now())), (None, Published::Nothing));
    stage(&mut world, name);
    assert_eq!(serial(&worker), None, "staged is not live");
    let Published::Live(facts) = published(&worker, world.clock.now()) else { panic!("it is good") };
    let before = reads(&world);
    for _ in 0..3 {
        assert_eq!(serial(&child), Some(facts[0].serial_hex()));
    }
    assert_eq!((reads(&world) - before, child.refresh(), serial(&worker)), (1, 0, serial(&child)));
    let served = child.current(0).unwrap();
    assert!(served.is_whole && served.has(served.pairs[0].1.sha1()) && !served.has(&[0; 20]));
    assert_eq!(served.ca_url.as_deref(), Some(FakeCa::DIRECTORY));
    assert_eq!(published(&worker, world.clock.now()), Published::Nothing, "it is live already");
    assert_eq!(
        serial(&process(&world, counters)),
        serial(&child),
        "a process that starts now has it without being told"
    );
    drop(world.start(true));
    assert!(!world.store.exists(Group::Live, name, &Aspect::LiveJson));
    assert_eq!(serial(&child), Some(facts[0].serial_hex()), "a child of the former generation goes on");
}

#[test]
fn a_renewal_ends_with_its_certificates_live() {
    watch_log();
    let (name, world, counters) = ("end.live.test", world(&["end.live.test"]), counters());
    let child = process(&world, counters);
    let renewals = world.run(true);
    let text = world.text(Group::Live, name, &Aspect::LiveJson).unwrap();
    assert!(!text.contains("BEGIN PRIVATE KEY") && text.contains("BEGIN ENCRYPTED PRIVATE KEY"));
    assert_eq!(logged("MD0036", name), 1);
    child.announce(0);
    let staged = world.text(Group::Staging, name, &Aspect::Chain(p256())).unwrap();
    let leaf = crate::crypto::Certificate::from_pem(staged.as_bytes()).unwrap();
    assert_eq!(serial(&child), Some(leaf.summary().serial_hex()));
    assert!(world.staged_job(name).newest("message-activated").is_some());
    world.go_on(&renewals);
    assert_eq!(logged("MD0036", name), 1, "once");
}

#[test]
fn only_domains_that_have_changed_are_read_again() {
    let (world, counters) = (world(&["a.only.test", "b.only.test"]), counters());
    assert_ne!(counter_of("a.only.test"), counter_of("b.only.test"));
    let child = process(&world, counters);
    let now = world.clock.now();
    put(&world, "b.only.test", vec![pair(&p256(), &["b.only.test"], now)]);
    assert_eq!((child.refresh(), reads(&world)), (0, 0), "nobody has told");
    child.announce(1);
    assert_eq!((child.refresh(), reads(&world), child.refresh()), (1, 1, 0));
    assert!(child.current(0).is_none() && child.current(1).is_some() && child.current(2).is_none());
    // Told again, with the same.
    child.announce(1);
    let former = child.current(1).unwrap();
    assert_eq!((reads(&world), child.refresh()), (2, 0));
    assert!(Arc::ptr_eq(&former, &child.current(1).unwrap()));
}

#[test]
fn domains_that_wait_for_a_restart_or_have_files_take_no_part() {
    let (mut world, counters) = (world(&["restart.mode.test", "static.mode.test"]), counters());
    world.declared[0].settings.activation = Some(ActivationMode::Restart);
    world.declared[1].settings.cert_files = vec!["/none".to_owned()];
    world.declared[1].settings.key_files = vec!["/none".to_owned()];
    let bundles = process(&world, counters);
    assert!(bundles.is_empty() && !(0..2).any(|position| bundles.is_live(position)));
    assert_eq!(published(&bundles, world.clock.now()), Published::Nothing);
}

#[test]
fn what_does_not_verify_is_never_served_and_takes_nothing_away() {
    watch_log();
    let (name, mut world, counters) = ("bad.live.test", world(&["bad.live.test"]), counters());
    let p384 = KeySpec::Ec { curve: "P-384".to_owned() };
    world.declared[0].settings.keys = Some(Arc::new(KeySpecs(vec![p256(), p384.clone()])));
    let now = world.clock.now();
    let good = || pair(&p256(), &[name], now);
    put(&world, name, vec![good(), pair(&p384, &[name], now)]);
    let child = process(&world, counters);
    let first = serial(&child);
    assert!(first.is_some(), "what was live when the server ended is live again");

    let mixed = Pair { key: good().key, ..good() };
    let other = World::new(&["x.test"]);
    let foreign =
        Bundle { ca_url: None, account_url: None, pairs: vec![good()] }.to_json(other.store.secret()).unwrap();
    let json = |pairs| Bundle { ca_url: None, account_url: None, pairs }.to_json(world.store.secret()).unwrap();
    let rows: [(&str, Vec<u8>); 9] = [
        ("cannot be read", b"{".to_vec()),
        ("cannot be read", b"".to_vec()),
        ("there is nothing in it", br#"{"pairs":[]}"#.to_vec()),
        ("there is nothing in it", json(vec![pair(&KeySpec::Default, &[name], now)])),
        ("certificate(P-256) is there twice", json(vec![good(), good()])),
        ("do not match", json(vec![mixed])),
        ("is not for bad.live.test", json(vec![pair(&p256(), &["other.test"], now)])),
        ("is not valid before", json(vec![pair(&p256(), &[name], now + SignedDuration::from_hours(100))])),
        ("private key(P-256)", foreign),
    ];
    for (number, (words, text)) in rows.into_iter().enumerate() {
        world.store.save(Group::Live, name, &Aspect::LiveJson, &text).unwrap();
        child.announce(0);
        assert_eq!(serial(&child), first, "{words}");
        assert!(logged("MD0035", words) > 0, "{words}");
        assert_eq!(logged("MD0035", name), number + 1, "said once: {words}");
        assert_eq!(serial(&child), first);
    }
    world.store.purge(Group::Live, name).unwrap();
    child.announce(0);
    assert_eq!(serial(&child), first, "a start has moved it");
    put(&world, name, vec![good()]);
    child.announce(0);
    let served = child.current(0).unwrap();
    assert!(serial(&child) != first && !served.is_whole);
}

#[test]
fn one_that_has_expired_stays_until_there_is_another() {
    let (name, world, counters) = ("old.live.test", world(&["old.live.test"]), counters());
    put(&world, name, vec![pair(&p256(), &[name], world.clock.now())]);
    world.clock.advance(SignedDuration::from_hours(24 * 30));
    assert!(serial(&process(&world, counters)).is_some());
}

#[test]
fn a_renewal_goes_live_when_its_time_has_come() {
    let (name, mut world, counters) = ("time.live.test", world(&["time.live.test"]), counters());
    let worker = process(&world, counters);
    let md = world.declared[0].complete(&Settings::default()).unwrap();
    let mut complete = LiveSet::stored(&world.vault, &md);
    complete.state = Some(crate::model::State::Complete);
    stage(&mut world, name);
    let mut job = world.staged_job(name);
    let now = world.clock.now();
    // Reports have whole seconds.
    let at = Timestamp::from_second(now.as_second() + 7200).unwrap();
    job.valid_from = Some(at);
    world.vault.save_json(Group::Staging, name, &Aspect::JobJson, &job).unwrap();
    assert_eq!(worker.publish(0, &complete, now, |_| Ok(())).unwrap(), Published::NotBefore(at));
    assert_eq!(serial(&worker), None);
    assert!(matches!(worker.publish(0, &complete, at, |_| Ok(())).unwrap(), Published::Live(_)));
    // Where nothing is served there is nothing to wait for.
    world.store.purge(Group::Live, name).unwrap();
    assert!(matches!(published(&process(&world, counters), now), Published::Live(_)));
}

#[test]
fn what_is_damaged_or_not_complete_in_staging_stays_there() {
    let (name, mut world, counters) = ("part.live.test", world(&["part.live.test"]), counters());
    let worker = process(&world, counters);
    stage(&mut world, name);
    let (chain, now) = (Aspect::Chain(p256()), world.clock.now());
    let text = world.text(Group::Staging, name, &chain).unwrap();
    world.put(Group::Staging, name, &chain, "damaged");
    assert!(matches!(published(&worker, now), Published::Unusable(_) | Published::Incomplete(_)));
    world.store.remove(Group::Staging, name, &chain).unwrap();
    assert!(matches!(published(&worker, now), Published::Incomplete(_)));
    assert!(serial(&worker).is_none() && !world.store.exists(Group::Live, name, &Aspect::LiveJson));
    world.put(Group::Staging, name, &chain, &text);
    world.store.refuse(Call::Write, Group::Live);
    assert!(worker.publish(0, &LiveSet::default(), now, |_| Ok(())).is_err());
    assert_eq!(
        (serial(&worker), counters[0].load(Ordering::Relaxed)),
        (None, 0),
        "nobody is told of what is not there"
    );
    world.store.recover();
    assert!(matches!(published(&worker, now), Published::Live(_)));
}

#[test]
fn handshakes_during_changes_find_a_key_that_fits() {
    let (name, world, counters) = ("swap.live.test", world(&["swap.live.test"]), counters());
    let now = world.clock.now();
    let sets: Vec<_> = (0..4).map(|_| pair(&p256(), &[name], now)).collect();
    put(&world, name, vec![sets[0].clone()]);
    let child = process(&world, counters);
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
            put(&world, name, vec![sets[turn % sets.len()].clone()]);
            child.announce(0);
        }
        done.store(true, Ordering::Relaxed);
    });
    child.refresh();
    assert_eq!(child.current(0).unwrap().pairs[0].1.sha1(), &sets[39 % sets.len()].chain.leaf().sha1());
}

#[test]
fn a_first_certificate_is_served_by_every_handshake_after_it_was_told() {
    let (name, world, counters) = ("first.live.test", world(&["first.live.test"]), counters());
    let child = process(&world, counters);
    put(&world, name, vec![pair(&p256(), &[name], world.clock.now())]);
    child.announce(0);
    // Another thread has begun to read.
    let known = lock(&child.slots[0].as_ref().unwrap().known);
    std::thread::scope(|scope| {
        let handshake = scope.spawn(|| serial(&child));
        drop(known);
        assert!(handshake.join().unwrap().is_some());
    });
}

#[test]
fn renewals_go_on_without_a_start() {
    let (name, world) = ("three.live.test", world(&["three.live.test"]));
    let renewals = world.run(true);
    let mut seen = HashSet::new();
    for turn in 1..=4 {
        let text = world.text(Group::Live, name, &Aspect::LiveJson).unwrap();
        assert!(seen.insert(text.clone()), "another one each time");
        assert_eq!(world.ca.ordered().len(), turn);
        // Long before it is due there is nothing to do.
        world.clock.advance(SignedDuration::from_hours(24));
        world.go_on(&renewals);
        assert_eq!((world.ca.ordered().len(), world.text(Group::Live, name, &Aspect::LiveJson)), (turn, Some(text)));
        world.clock.advance(SignedDuration::from_hours(24 * 70));
        world.go_on(&renewals);
    }
    assert!(!world.store.exists(Group::Domains, name, &Aspect::Chain(p256())), "no start has been");
    drop(renewals);
    let registry = world.start(true);
    assert_eq!(registry.entries[0].live.state, Some(crate::model::State::Complete));
    assert!(!world.store.exists(Group::Live, name, &Aspect::LiveJson));
}

#[test]
fn what_was_live_is_served_after_a_start_also_if_the_next_renewal_has_begun() {
    let (name, world, counters) = ("settle.live.test", world(&["settle.live.test"]), counters());
    drop(world.run(true));
    drop(world.start(true));
    assert_eq!(serial(&process(&world, counters)), None, "it was staged, too");

    let now = world.clock.now() + SignedDuration::from_hours(1);
    world.clock.advance(SignedDuration::from_hours(1));
    let new = pair(&p256(), &[name], now);
    let leaf = new.chain.leaf().clone();
    put(&world, name, vec![new]);
    world.put(Group::Staging, name, &Aspect::JobJson, "{}");
    let registry = world.start(true);
    let served = registry.entries[0].live.certificates[0].clone();
    assert_eq!(served, Some(leaf.summary()));
    assert_eq!(registry.entries[0].live.state, Some(crate::model::State::Complete));
    assert!(!world.store.exists(Group::Live, name, &Aspect::LiveJson));
    assert!(world.store.exists(Group::Staging, name, &Aspect::JobJson), "the renewal goes on");

    // One that is older than what is served was left over.
    put(&world, name, vec![pair(&p256(), &[name], now - SignedDuration::from_hours(48))]);
    assert_eq!(world.start(true).entries[0].live.certificates[0], Some(leaf.summary()));
    assert!(!world.store.exists(Group::Live, name, &Aspect::LiveJson));
}
