//! What becomes of a set that was live when the server is started again, with the same configuration or another.

use crate::crypto::Certificate;
use crate::live::tests::*;
use crate::model::State;
use crate::sets::Pair;

fn p384() -> KeySpec {
    KeySpec::Ec { curve: "P-384".to_owned() }
}

fn with_keys(world: &mut World, keys: Vec<KeySpec>) {
    world.declared[0].settings.keys = Some(Arc::new(KeySpecs(keys)));
}

/// A domain with a certificate in `domains/` for each type of key, and later.
fn served(name: &str, keys: Vec<KeySpec>) -> World {
    let mut world = world(&[name]);
    with_keys(&mut world, keys);
    drop(world.run(true));
    drop(world.start(true));
    world.clock.advance(SignedDuration::from_hours(24));
    world
}

/// Puts a set of that age in days into `live/`. Returns its certificates.
fn put_live(world: &World, name: &str, specs: &[KeySpec], age: i64) -> Vec<Certificate> {
    let since = world.clock.now() - SignedDuration::from_hours(24 * age);
    let pairs: Vec<_> = specs.iter().map(|spec| pair(spec, &[name], since)).collect();
    let leaves = pairs.iter().map(|pair| pair.chain.leaf().clone()).collect();
    put(world, name, pairs);
    leaves
}

fn stored(world: &World, name: &str, spec: KeySpec) -> Certificate {
    Certificate::from_pem(world.text(Group::Domains, name, &Aspect::Chain(spec)).unwrap().as_bytes()).unwrap()
}

fn is_live(world: &World, name: &str) -> bool {
    world.store.exists(Group::Live, name, &Aspect::LiveJson)
}

#[test]
fn what_was_live_is_served_though_the_configuration_wants_more_and_is_renewed_for_that() {
    watch_log();
    type Change = fn(&mut World);
    let rows: [(&str, Change, usize); 3] = [
        ("names.more.test", |world| world.declared[0].names.push(DomainName::parse("new.more.test").unwrap()), 1),
        ("staple.more.test", |world| world.declared[0].settings.must_staple = Some(true), 1),
        ("keys.more.test", |world| with_keys(world, vec![p384(), p256()]), 2),
    ];
    for (name, change, certificates) in rows {
        let mut world = served(name, vec![p256()]);
        let leaf = put_live(&world, name, &[p256()], 0).remove(0);
        change(&mut world);
        let registry = world.start(true);
        let live = &registry.entries[0].live;
        assert_eq!((live.state, live.certificates.len()), (Some(State::Incomplete), certificates), "{name}");
        assert!(live.certificates.contains(&Some(leaf.summary())), "{name}");
        assert!(!is_live(&world, name));
        // The renewal follows, at once.
        let orders = world.ca.ordered().len();
        let renewals = world.run(true);
        assert_eq!(world.ca.ordered().len(), orders + 1, "{name}");
        drop(renewals);
        assert_eq!(world.start(true).entries[0].live.state, Some(State::Complete), "{name}");
        assert_eq!(logged("MD0035", name) + logged("AH10069", name) + logged("  Warning", name), 0);
    }
}

#[test]
fn what_is_of_types_of_key_that_are_not_configured_waits_for_them() {
    let name = "others.more.test";
    let mut world = served(name, vec![p256()]);
    let leaf = put_live(&world, name, &[p256()], 0).remove(0);
    with_keys(&mut world, vec![p384()]);
    let registry = world.start(true);
    registry.bundles.open(Some(counters()));
    assert!(is_live(&world, name) && registry.bundles.current(0).is_none());
    assert_eq!(logged("MD0035", name), 0);
    with_keys(&mut world, vec![p256()]);
    assert_eq!(world.start(true).entries[0].live.certificates, [Some(leaf.summary())]);
}

#[test]
fn of_each_type_of_key_the_newest_is_kept() {
    let name = "each.newest.test";
    let mut world = served(name, vec![p256(), p384()]);
    let before = [p256(), p384()].map(|spec| stored(&world, name, spec));
    let leaves = put_live(&world, name, &[p256(), p384()], 0);
    // One of them is older than what is there, and what there is need not be what is wanted now.
    let new = pair(&p256(), &[name], world.clock.now());
    let old = pair(&p384(), &[name], world.clock.now() - SignedDuration::from_hours(24 * 10));
    let leaf = new.chain.leaf().clone();
    put(&world, name, vec![new, old]);
    world.declared[0].names.push(DomainName::parse("www.newest.test").unwrap());
    drop(world.start(true));
    assert_eq!([p256(), p384()].map(|spec| stored(&world, name, spec)), [leaf, before[1].clone()]);
    assert!(!is_live(&world, name) && !leaves.contains(&before[1]));
}

#[test]
fn one_that_has_expired_takes_the_place_of_no_other_that_has_not() {
    let name = "expired.newest.test";
    let world = served(name, vec![p256()]);
    let before = stored(&world, name, p256());
    put_live(&world, name, &[p256()], 0);
    world.clock.advance(SignedDuration::from_hours(24 * 20));
    drop(world.start(true));
    assert_eq!(stored(&world, name, p256()), before);
    assert!(!is_live(&world, name));
    // When all have, the last counts.
    let leaf = put_live(&world, name, &[p256()], 0).remove(0);
    world.clock.advance(SignedDuration::from_hours(24 * 100));
    drop(world.start(true));
    assert_eq!(stored(&world, name, p256()), leaf);
}

#[test]
fn of_certificates_that_begin_together_the_one_that_was_written_later_counts() {
    let name = "midnight.newest.test";
    let world = served(name, vec![p256()]);
    let now = world.clock.now();
    let [first, second] = [0, 1].map(|_| pair(&p256(), &[name], now));
    for new in [first, second] {
        let leaf = new.chain.leaf().clone();
        put(&world, name, vec![new]);
        drop(world.start(true));
        assert_eq!(stored(&world, name, p256()), leaf);
    }
}

#[test]
fn what_is_anothers_or_damaged_is_neither_moved_nor_served_nor_removed() {
    watch_log();
    let name = "foreign.newest.test";
    let world = served(name, vec![p256()]);
    let (before, now) = (stored(&world, name, p256()), world.clock.now());
    let json = |pairs| Bundle { ca_url: None, account_url: None, pairs }.to_json(world.store.secret()).unwrap();
    let mixed = Pair { key: pair(&p256(), &[name], now).key, ..pair(&p256(), &[name], now) };
    let rows: [(&str, Vec<u8>); 3] = [
        ("is not for foreign.newest.test", json(vec![pair(&p256(), &["other.test"], now)])),
        ("do not match", json(vec![mixed])),
        ("cannot be read", b"{".to_vec()),
    ];
    for (number, (words, text)) in rows.into_iter().enumerate() {
        world.store.save(Group::Live, name, &Aspect::LiveJson, &text).unwrap();
        let registry = world.start(true);
        registry.bundles.open(Some(counters()));
        assert_eq!((serial(&registry.bundles), stored(&world, name, p256())), (None, before.clone()), "{words}");
        assert_eq!((logged("MD0035", name), logged("MD0035", words) > 0), (number + 1, true), "{words}");
        assert!(is_live(&world, name), "{words}");
    }
}

#[test]
fn what_is_activated_in_part_is_completed_with_the_newest() {
    for (name, age, is_newer) in [("newer.part.test", 0, true), ("older.part.test", 5, false)] {
        let mut world = served(name, vec![p256()]);
        world.declared[0].settings.activation = None;
        with_keys(&mut world, vec![p256(), p384()]);
        drop(world.run(true));
        assert!(!world.store.exists(Group::Staging, name, &Aspect::Chain(p256())));
        let before = stored(&world, name, p256());
        let leaf = put_live(&world, name, &[p256()], age).remove(0);
        let registry = world.start(true);
        assert_eq!(registry.entries[0].live.state, Some(State::Complete));
        assert_eq!(stored(&world, name, p256()), if is_newer { leaf } else { before });
        assert!(!is_live(&world, name));
    }
}

#[test]
fn what_is_live_and_newer_than_what_is_staged_is_activated_with_it() {
    let name = "staged.newest.test";
    let mut world = world(&[name]);
    stage(&mut world, name);
    world.clock.advance(SignedDuration::from_hours(1));
    let leaf = put_live(&world, name, &[p256()], 0).remove(0);
    drop(world.start(true));
    assert_eq!(stored(&world, name, p256()), leaf);
    assert!(!is_live(&world, name) && !world.store.exists(Group::Staging, name, &Aspect::MdJson));
}

#[test]
fn what_cannot_be_moved_is_served_from_where_it_is_unless_something_newer_is_in_place() {
    watch_log();
    for (name, age, is_newer) in [("newer.stuck.test", 0, true), ("older.stuck.test", 5, false)] {
        let mut world = served(name, vec![p256()]);
        let leaf = put_live(&world, name, &[p256()], age).remove(0);
        world.declared[0].names.push(DomainName::parse("new.stuck.test").unwrap());
        world.store.refuse(Call::Write, Group::Domains);
        world.store.refuse(Call::Remove, Group::Live);
        let registry = world.start(true);
        registry.bundles.open(Some(counters()));
        let entry = &registry.entries[0];
        assert_eq!(logged("AH10069", name), 1);
        assert_eq!(serial(&registry.bundles), is_newer.then(|| leaf.summary().serial_hex()));
        let set = entry.served();
        assert_eq!(set.state, Some(State::Incomplete));
        assert!(set.state_descr.as_ref().unwrap().contains("does not cover all domains"), "{:?}", set.state_descr);
        assert!(entry.renew_at(&Default::default(), world.clock.now()) <= world.clock.now());
        world.store.recover();
        drop(world.start(true));
        assert_eq!(stored(&world, name, p256()) == leaf, is_newer);
        assert!(!is_live(&world, name));
    }
}

#[test]
fn a_worker_of_the_former_generation_loses_nothing_that_it_publishes() {
    let (name, mut world, counters) = ("drains.live.test", world(&["drains.live.test"]), counters());
    let worker = process(&world, counters);
    stage(&mut world, name);
    let new = |world: &World| {
        let registry = world.start(true);
        registry.bundles.open(Some(counters));
        registry
    };
    // It is at work while the server starts, which leaves both staging and what is live to it.
    let claim = world.vault.store().claim(name).unwrap().unwrap();
    let first = put_live(&world, name, &[p256()], 1).remove(0);
    let registry = new(&world);
    assert_eq!(serial(&registry.bundles), Some(first.summary().serial_hex()));
    let Published::Live(facts) = published(&worker, world.clock.now()) else { panic!("it is good") };
    drop(claim);
    assert_eq!(serial(&registry.bundles), Some(facts[0].serial_hex()));
    drop(new(&world));
    assert_eq!(stored(&world, name, p256()).summary(), facts[0]);
    assert!(!is_live(&world, name));

    // It comes after the start has moved everything.
    world.clock.advance(SignedDuration::from_hours(24 * 70));
    let registry = new(&world);
    stage(&mut world, name);
    let Published::Live(facts) = published(&worker, world.clock.now()) else { panic!("it is good") };
    assert_eq!(serial(&registry.bundles), Some(facts[0].serial_hex()));
    drop(new(&world));
    assert_eq!(stored(&world, name, p256()).summary(), facts[0]);
}

#[test]
fn a_worker_that_has_lost_a_part_of_what_is_live_leaves_it_to_the_next_start() {
    let (name, mut world, counters) = ("lost.live.test", world(&["lost.live.test"]), counters());
    with_keys(&mut world, vec![p256(), p384()]);
    stage(&mut world, name);
    let worker = process(&world, counters);
    let now = world.clock.now();
    let md = world.declared[0].complete(&Settings::default()).unwrap();
    assert!(matches!(published(&worker, now), Published::Live(_)));
    // A start has them; then one of them is renewed by the worker that was there before.
    drop(world.start(true));
    let started = LiveSet::stored(&world.vault, &md);
    world.clock.advance(SignedDuration::from_hours(24 * 70));
    stage(&mut world, name);
    for aspect in [Aspect::Chain(p384()), Aspect::PrivateKey(p384())] {
        world.store.remove(Group::Staging, name, &aspect).unwrap();
    }
    let result = worker.publish(0, &started, world.clock.now(), |_| Ok(())).unwrap();
    assert_eq!(result, Published::Incomplete("certificate(P-384) is missing".to_owned()));
    assert_eq!(worker.current(0).unwrap().pairs.len(), 2);
}

#[test]
fn a_ca_that_is_configured_no_more_is_a_reason_to_renew_until_another_one_is_live() {
    watch_log();
    let name = "other-ca.live.test";
    let world = served(name, vec![p256()]);
    let mut md: ManagedDomain = world.vault.load_json(Group::Domains, name, &Aspect::MdJson).unwrap();
    Arc::make_mut(&mut md.ca).url = Some("https://former.test/directory".to_owned());
    world.vault.save_json(Group::Domains, name, &Aspect::MdJson, &md).unwrap();
    let renewals = world.run(true);
    assert_eq!((world.ca.ordered().len(), logged("MD0018", name)), (2, 1));
    for _ in 0..4 {
        world.clock.advance(SignedDuration::from_hours(13));
        world.go_on(&renewals);
    }
    assert_eq!(world.ca.ordered().len(), 2);
}

#[test]
fn sets_of_domains_that_are_not_configured_stay_for_when_they_are() {
    let (name, mut world) = ("gone.live.test", world(&["gone.live.test", "stays.live.test"]));
    drop(world.run(true));
    let leaf = put_live(&world, name, &[p256()], 0).remove(0);
    world.clock.advance(SignedDuration::from_hours(24));
    let (declared, host) = (world.declared.remove(0), world.hosts.remove(0));
    drop(world.run(true));
    assert!(is_live(&world, name));
    world.declared.push(declared);
    world.hosts.push(host);
    world.store.purge(Group::Staging, name).unwrap();
    assert_eq!(world.start(true).entries[1].live.certificates, [Some(leaf.summary())]);
}
