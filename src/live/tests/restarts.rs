//! Tests of live sets when the server is started again, with the same configuration or another.

use super::*;
use crate::crypto::Certificate;
use crate::model::State;
use crate::sets::Pair;

fn p384() -> KeySpec {
    KeySpec::Ec { curve: "P-384".to_owned() }
}

fn with_keys(server: &mut TestServer, keys: Vec<KeySpec>) {
    server.declared[0].settings.keys = Some(Arc::new(KeySpecs(keys)));
}

/// Returns a server with a certificate in `domains/` for each key type, some days later.
fn served(name: &str, keys: Vec<KeySpec>) -> TestServer {
    let mut server = server(&[name]);
    with_keys(&mut server, keys);
    drop(server.run(true));
    drop(server.start(true));
    server.clock.advance(SignedDuration::from_hours(24));
    server
}

/// Puts a set that was issued this number of days ago into `live/`. Returns its certificates.
fn put_live(server: &TestServer, name: &str, specs: &[KeySpec], age: i64) -> Vec<Certificate> {
    let since = server.clock.now() - SignedDuration::from_hours(24 * age);
    let pairs: Vec<_> = specs.iter().map(|spec| pair(spec, &[name], since)).collect();
    let leaves = pairs.iter().map(|pair| pair.chain.leaf().clone()).collect();
    put(server, name, pairs);
    leaves
}

fn stored(server: &TestServer, name: &str, spec: KeySpec) -> Certificate {
    Certificate::from_pem(server.text(Group::Domains, name, &Aspect::Chain(spec)).unwrap().as_bytes()).unwrap()
}

fn is_live(server: &TestServer, name: &str) -> bool {
    server.store.exists(Group::Live, name, &Aspect::LiveJson)
}

#[test]
fn a_live_set_that_lacks_a_configured_name_is_served_and_renewed() {
    watch_log();
    type Change = fn(&mut TestServer);
    let rows: [(&str, Change, usize); 3] = [
        ("names.more.test", |server| server.declared[0].names.push(DomainName::parse("new.more.test").unwrap()), 1),
        ("staple.more.test", |server| server.declared[0].settings.must_staple = Some(true), 1),
        ("keys.more.test", |server| with_keys(server, vec![p384(), p256()]), 2),
    ];
    for (name, change, certificates) in rows {
        let mut server = served(name, vec![p256()]);
        let leaf = put_live(&server, name, &[p256()], 0).remove(0);
        change(&mut server);
        let registry = server.start(true);
        let live = &registry.domains[0].at_start;
        assert_eq!((live.state, live.certificates.len()), (Some(State::Incomplete), certificates), "{name}");
        assert!(live.certificates.contains(&Some(leaf.summary())), "{name}");
        assert!(!is_live(&server, name));
        // The renewal follows at once.
        let orders = server.ca.ordered().len();
        let renewals = server.run(true);
        assert_eq!(server.ca.ordered().len(), orders + 1, "{name}");
        drop(renewals);
        assert_eq!(server.start(true).domains[0].at_start.state, Some(State::Complete), "{name}");
        assert_eq!(logged("MD0035", name) + logged("AH10069", name) + logged("  Warning", name), 0);
    }
}

#[test]
fn live_pairs_of_key_types_that_are_not_configured_are_kept() {
    let name = "others.more.test";
    let mut server = served(name, vec![p256()]);
    let leaf = put_live(&server, name, &[p256()], 0).remove(0);
    with_keys(&mut server, vec![p384()]);
    let registry = server.start(true);
    registry.live_sets.open(Some(counters()));
    assert!(is_live(&server, name) && registry.live_sets.current(0).is_none());
    assert_eq!(logged("MD0035", name), 0);
    with_keys(&mut server, vec![p256()]);
    assert_eq!(server.start(true).domains[0].at_start.certificates, [Some(leaf.summary())]);
}

#[test]
fn the_newest_pair_of_each_key_type_is_kept() {
    let name = "each.newest.test";
    let mut server = served(name, vec![p256(), p384()]);
    let before = [p256(), p384()].map(|spec| stored(&server, name, spec));
    let leaves = put_live(&server, name, &[p256(), p384()], 0);
    // One of the pairs is older than the one in `domains/`, which lacks a name that is configured now.
    let new = pair(&p256(), &[name], server.clock.now());
    let old = pair(&p384(), &[name], server.clock.now() - SignedDuration::from_hours(24 * 10));
    let leaf = new.chain.leaf().clone();
    put(&server, name, vec![new, old]);
    server.declared[0].names.push(DomainName::parse("www.newest.test").unwrap());
    drop(server.start(true));
    assert_eq!([p256(), p384()].map(|spec| stored(&server, name, spec)), [leaf, before[1].clone()]);
    assert!(!is_live(&server, name) && !leaves.contains(&before[1]));
}

#[test]
fn an_expired_set_does_not_replace_a_valid_one() {
    let name = "expired.newest.test";
    let server = served(name, vec![p256()]);
    let before = stored(&server, name, p256());
    put_live(&server, name, &[p256()], 0);
    server.clock.advance(SignedDuration::from_hours(24 * 20));
    drop(server.start(true));
    assert_eq!(stored(&server, name, p256()), before);
    assert!(!is_live(&server, name));
    // If all sets have expired, the newest counts.
    let leaf = put_live(&server, name, &[p256()], 0).remove(0);
    server.clock.advance(SignedDuration::from_hours(24 * 100));
    drop(server.start(true));
    assert_eq!(stored(&server, name, p256()), leaf);
}

#[test]
fn of_certificates_that_begin_together_the_later_written_one_counts() {
    let name = "midnight.newest.test";
    let server = served(name, vec![p256()]);
    let now = server.clock.now();
    let [first, second] = [0, 1].map(|_| pair(&p256(), &[name], now));
    for new in [first, second] {
        let leaf = new.chain.leaf().clone();
        put(&server, name, vec![new]);
        drop(server.start(true));
        assert_eq!(stored(&server, name, p256()), leaf);
    }
}

#[test]
fn a_foreign_or_damaged_live_set_is_neither_moved_nor_served_nor_removed() {
    watch_log();
    let name = "foreign.newest.test";
    let server = served(name, vec![p256()]);
    let before = stored(&server, name, p256());
    let now = server.clock.now();
    let json = |pairs| PairSet { ca_url: None, account_url: None, pairs }.to_json(server.store.secret(), name).unwrap();
    let mixed = Pair { key: pair(&p256(), &[name], now).key, ..pair(&p256(), &[name], now) };
    let rows: [(&str, Vec<u8>); 3] = [
        ("is not for foreign.newest.test", json(vec![pair(&p256(), &["other.test"], now)])),
        ("do not match", json(vec![mixed])),
        ("cannot be read", b"{".to_vec()),
    ];
    for (number, (words, text)) in rows.into_iter().enumerate() {
        server.store.save(Group::Live, name, &Aspect::LiveJson, &text).unwrap();
        let registry = server.start(true);
        registry.live_sets.open(Some(counters()));
        assert_eq!((serial(&registry.live_sets), stored(&server, name, p256())), (None, before.clone()), "{words}");
        assert_eq!((logged("MD0035", name), logged("MD0035", words) > 0), (number + 1, true), "{words}");
        assert!(is_live(&server, name), "{words}");
    }
}

#[test]
fn a_partly_activated_set_is_completed_with_the_newest_pairs() {
    for (name, age, is_newer) in [("newer.part.test", 0, true), ("older.part.test", 5, false)] {
        let mut server = served(name, vec![p256()]);
        server.declared[0].settings.activation = None;
        with_keys(&mut server, vec![p256(), p384()]);
        drop(server.run(true));
        assert!(!server.store.exists(Group::Staging, name, &Aspect::Chain(p256())));
        let before = stored(&server, name, p256());
        let leaf = put_live(&server, name, &[p256()], age).remove(0);
        let registry = server.start(true);
        assert_eq!(registry.domains[0].at_start.state, Some(State::Complete));
        assert_eq!(stored(&server, name, p256()), if is_newer { leaf } else { before });
        assert!(!is_live(&server, name));
    }
}

#[test]
fn live_pairs_that_are_newer_than_staged_ones_are_activated_with_them() {
    let name = "staged.newest.test";
    let mut server = server(&[name]);
    stage(&mut server, name);
    server.clock.advance(SignedDuration::from_hours(1));
    let leaf = put_live(&server, name, &[p256()], 0).remove(0);
    drop(server.start(true));
    assert_eq!(stored(&server, name, p256()), leaf);
    assert!(!is_live(&server, name) && !server.store.exists(Group::Staging, name, &Aspect::MdJson));
}

#[test]
fn a_live_set_that_cannot_be_moved_is_served_from_live_unless_domains_has_a_newer_one() {
    watch_log();
    for (name, age, is_newer) in [("newer.stuck.test", 0, true), ("older.stuck.test", 5, false)] {
        let mut server = served(name, vec![p256()]);
        let leaf = put_live(&server, name, &[p256()], age).remove(0);
        server.declared[0].names.push(DomainName::parse("new.stuck.test").unwrap());
        server.store.refuse(Call::Write, Group::Domains);
        server.store.refuse(Call::Remove, Group::Live);
        let registry = server.start(true);
        registry.live_sets.open(Some(counters()));
        let domain = &registry.domains[0];
        assert_eq!(logged("AH10069", name), 1);
        assert_eq!(serial(&registry.live_sets), is_newer.then(|| leaf.summary().serial_hex()));
        let set = domain.served();
        assert_eq!(set.state, Some(State::Incomplete));
        assert!(set.state_descr.as_ref().unwrap().contains("does not cover all domains"), "{:?}", set.state_descr);
        assert!(domain.renew_at(&Default::default(), server.clock.now()) <= server.clock.now());
        server.store.recover();
        drop(server.start(true));
        assert_eq!(stored(&server, name, p256()) == leaf, is_newer);
        assert!(!is_live(&server, name));
    }
}

#[test]
fn a_worker_of_the_former_generation_loses_nothing_that_it_publishes() {
    let name = "drains.live.test";
    let mut server = server(&["drains.live.test"]);
    let counters = counters();
    let worker = process(&server, counters);
    stage(&mut server, name);
    let new = |server: &TestServer| {
        let registry = server.start(true);
        registry.live_sets.open(Some(counters));
        registry
    };
    // A worker holds the claim while the server starts, so that the start leaves `staging/` and `live/` alone.
    let claim = server.documents.store().claim(name).unwrap().unwrap();
    let first = put_live(&server, name, &[p256()], 1).remove(0);
    let registry = new(&server);
    assert_eq!(serial(&registry.live_sets), Some(first.summary().serial_hex()));
    let Published::Live(facts) = published(&worker, server.clock.now()) else { panic!("it is good") };
    drop(claim);
    assert_eq!(serial(&registry.live_sets), Some(facts[0].serial_hex()));
    drop(new(&server));
    assert_eq!(stored(&server, name, p256()).summary(), facts[0]);
    assert!(!is_live(&server, name));

    // The worker writes after the start has moved everything.
    server.clock.advance(SignedDuration::from_hours(24 * 70));
    let registry = new(&server);
    stage(&mut server, name);
    let Published::Live(facts) = published(&worker, server.clock.now()) else { panic!("it is good") };
    assert_eq!(serial(&registry.live_sets), Some(facts[0].serial_hex()));
    drop(new(&server));
    assert_eq!(stored(&server, name, p256()).summary(), facts[0]);
}

#[test]
fn a_worker_that_misses_a_live_pair_leaves_the_set_to_the_next_start() {
    let name = "lost.live.test";
    let mut server = server(&["lost.live.test"]);
    let counters = counters();
    with_keys(&mut server, vec![p256(), p384()]);
    stage(&mut server, name);
    let worker = process(&server, counters);
    let now = server.clock.now();
    let md = server.declared[0].complete(&Settings::default()).unwrap();
    assert!(matches!(published(&worker, now), Published::Live(_)));
    // A start has put both into `domains/`; then a worker of the former generation renews one of them.
    drop(server.start(true));
    let started = CertificateSet::stored(&server.documents, &md);
    server.clock.advance(SignedDuration::from_hours(24 * 70));
    stage(&mut server, name);
    for aspect in [Aspect::Chain(p384()), Aspect::PrivateKey(p384())] {
        server.store.remove(Group::Staging, name, &aspect).unwrap();
    }
    let result = publish(&worker, &started, server.clock.now()).unwrap();
    assert_eq!(result, Published::NotNow(NotNow::Incomplete("certificate(P-384) is missing".to_owned())));
    assert_eq!(worker.current(0).unwrap().pairs.len(), 2);
}

#[test]
fn a_ca_that_is_no_longer_configured_causes_one_renewal() {
    watch_log();
    let name = "other-ca.live.test";
    let server = served(name, vec![p256()]);
    let mut md: ManagedDomain = server.documents.load_json(Group::Domains, name, &Aspect::MdJson).unwrap();
    Arc::make_mut(&mut md.ca).url = Some("https://former.test/directory".to_owned());
    server.documents.save_json(Group::Domains, name, &Aspect::MdJson, &md).unwrap();
    let renewals = server.run(true);
    assert_eq!((server.ca.ordered().len(), logged("MD0018", name)), (2, 1));
    for _ in 0..4 {
        server.clock.advance(SignedDuration::from_hours(13));
        server.go_on(&renewals);
    }
    assert_eq!(server.ca.ordered().len(), 2);
}

#[test]
fn live_sets_of_domains_that_are_not_configured_are_kept() {
    let name = "gone.live.test";
    let mut server = server(&["gone.live.test", "stays.live.test"]);
    drop(server.run(true));
    let leaf = put_live(&server, name, &[p256()], 0).remove(0);
    server.clock.advance(SignedDuration::from_hours(24));
    let declared = server.declared.remove(0);
    let host = server.hosts.remove(0);
    drop(server.run(true));
    assert!(is_live(&server, name));
    server.declared.push(declared);
    server.hosts.push(host);
    server.store.purge(Group::Staging, name).unwrap();
    assert_eq!(server.start(true).domains[1].at_start.certificates, [Some(leaf.summary())]);
}
