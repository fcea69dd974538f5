//! Crashes at each change to the store: the former set or the new one is served afterwards, and the work is done in the end.

use crate::crypto::Certificate;
use crate::live::tests::*;
use crate::model::State;

/// A day's renewal of a domain that has a certificate, live or in `domains/`.
fn due(name: &str, is_live: bool) -> World {
    let world = world(&[name]);
    drop(world.run(true));
    if !is_live {
        drop(world.start(true));
    }
    world.clock.advance(SignedDuration::from_hours(24 * 70));
    world
}

/// What a start serves, which is complete.
fn starts(world: &World) -> Option<String> {
    let registry = world.start(true);
    registry.bundles.open(Some(counters()));
    let served = registry.entries[0].served();
    assert_eq!(served.state, Some(State::Complete), "{:?}", served.state_descr);
    served.certificates[0].as_ref().map(crate::crypto::Summary::serial_hex)
}

fn in_live(world: &World, name: &str) -> Option<String> {
    let text = world.text(Group::Live, name, &Aspect::LiveJson)?;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let chain = document["pairs"][0]["chain"].as_str().unwrap();
    Some(Certificate::from_pem(chain.as_bytes()).unwrap().summary().serial_hex())
}

/// Crashes at each change that `work` makes, and looks at what is there after it.
fn at_each(
    name: &str,
    mut begin: impl FnMut() -> World,
    work: impl Fn(&World),
    check: impl Fn(&World, Option<String>),
) {
    let mut changes = 0;
    loop {
        let world = begin();
        let old = in_live(&world, name);
        world.store.crash_at(changes);
        work(&world);
        let is_over = !world.store.has_crashed();
        world.store.recover();
        check(&world, old);
        if is_over {
            break;
        }
        changes += 1;
    }
    assert!(changes >= 8, "there was something to crash in: {changes}");
}

#[test]
fn a_crash_of_a_renewal_that_goes_live_leaves_the_old_or_the_new() {
    let name = "publish.crash.test";
    for is_live in [true, false] {
        let begin = || due(name, is_live);
        let work = |world: &World| drop(world.run(true));
        at_each(name, begin, work, |world, _| {
            assert!(starts(world).is_some());
            // The next run ends it, whatever it was that came to its end.
            drop(world.run(true));
            let registry = world.start(true);
            let until = registry.entries[0].live.common_validity().unwrap().1;
            assert!(until > world.clock.now() + SignedDuration::from_hours(24 * 60));
            assert!(in_live(world, name).is_none());
            world.ca.check();
        });
    }
}

#[test]
fn a_crash_of_a_start_that_moves_what_was_live_leaves_the_old_or_the_new() {
    let name = "settle.crash.test";
    let begin = || {
        let world = due(name, false);
        put(&world, name, vec![pair(&p256(), &[name], world.clock.now())]);
        world
    };
    let work = |world: &World| drop(world.start(true));
    at_each(name, begin, work, |world, live| {
        assert_eq!(starts(world), live);
        assert!(in_live(world, name).is_none());
        assert!((1..=2).contains(&world.store.list(Group::Archive).unwrap().len()));
    });
}
