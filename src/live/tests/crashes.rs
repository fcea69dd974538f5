//! Tests of crashes at each change to the store: afterwards the former or the new set is served, and a later run completes the work.

use super::*;
use crate::crypto::Certificate;
use crate::model::State;

/// Returns a server with a renewal of one day ago, for a domain that has a certificate in `live/` or `domains/`.
fn due(name: &str, is_live: bool) -> TestServer {
    let server = server(&[name]);
    drop(server.run(true));
    if !is_live {
        drop(server.start(true));
    }
    server.clock.advance(SignedDuration::from_hours(24 * 70));
    server
}

/// Returns the set that a start serves, after a check that it is complete.
fn starts(server: &TestServer) -> Option<String> {
    let registry = server.start(true);
    registry.live_sets.open(Some(counters()));
    let served = registry.domains[0].served();
    assert_eq!(served.state, Some(State::Complete), "{:?}", served.state_descr);
    served.certificates[0].as_ref().map(crate::crypto::Summary::serial_hex)
}

fn in_live(server: &TestServer, name: &str) -> Option<String> {
    let text = server.text(Group::Live, name, &Aspect::LiveJson)?;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let chain = document["pairs"][0]["chain"].as_str().unwrap();
    Some(Certificate::from_pem(chain.as_bytes()).unwrap().summary().serial_hex())
}

/// Crashes at each change that `work` makes, and checks what is served afterwards.
fn at_each(
    name: &str,
    mut begin: impl FnMut() -> TestServer,
    work: impl Fn(&TestServer),
    check: impl Fn(&TestServer, Option<String>),
) {
    let mut changes = 0;
    loop {
        let server = begin();
        let old = in_live(&server, name);
        server.store.crash_at(changes);
        work(&server);
        let is_over = !server.store.has_crashed();
        server.store.recover();
        check(&server, old);
        if is_over {
            break;
        }
        changes += 1;
    }
    assert!(changes >= 8, "there was something to crash in: {changes}");
}

#[test]
fn a_crash_while_a_set_goes_live_leaves_the_old_set_or_the_new_one() {
    let name = "publish.crash.test";
    for is_live in [true, false] {
        let begin = || due(name, is_live);
        let work = |server: &TestServer| drop(server.run(true));
        at_each(name, begin, work, |server, _| {
            assert!(starts(server).is_some());
            // The next run completes the work.
            drop(server.run(true));
            let registry = server.start(true);
            let until = registry.domains[0].at_start.common_validity().unwrap().1;
            assert!(until > server.clock.now() + SignedDuration::from_hours(24 * 60));
            assert!(in_live(server, name).is_none());
            server.ca.check();
        });
    }
}

#[test]
fn a_crash_while_a_start_moves_a_live_set_leaves_the_old_set_or_the_new_one() {
    let name = "settle.crash.test";
    let begin = || {
        let server = due(name, false);
        put(&server, name, vec![pair(&p256(), &[name], server.clock.now())]);
        server
    };
    let work = |server: &TestServer| drop(server.start(true));
    at_each(name, begin, work, |server, live| {
        assert_eq!(starts(server), live);
        assert!(in_live(server, name).is_none());
        assert!((1..=2).contains(&server.store.list(Group::Archive).unwrap().len()));
    });
}
