//! Tests of sets that cannot be read for a while.

use super::*;

#[test]
fn an_unreadable_set_is_read_again_at_the_next_check_and_logged_once() {
    watch_log();
    let name = "again.read.test";
    let server = server(&["again.read.test"]);
    let counters = counters();
    let now = server.clock.now();
    put(&server, name, vec![pair(&p256(), &[name], now)]);
    let child = process(&server, counters);
    let first = serial(&child);
    let before = reads(&server);
    put(&server, name, vec![pair(&p256(), &[name], now)]);
    server.store.refuse(Call::Load, Group::Live);
    child.announce(0);
    for _ in 0..5 {
        assert_eq!(serial(&child), first);
    }
    assert_eq!(reads(&server) - before, 1, "no handshake tries again");
    assert_eq!((child.refresh(), child.refresh(), reads(&server) - before), (0, 0, 3));
    assert_eq!(logged("MD0035", name), 1);
    server.store.recover();
    assert_eq!((serial(&child) == first, child.refresh(), serial(&child) == first), (true, 1, false));
    assert_eq!((child.refresh(), reads(&server) - before), (0, 4));
}

#[test]
fn a_set_of_another_server_is_served_once_its_copy_is_complete() {
    watch_log();
    let name = "copied.read.test";
    let server = server(&["copied.read.test"]);
    let counters = counters();
    let now = server.clock.now();
    let child = process(&server, counters);
    put(&server, name, vec![pair(&p256(), &[name], now)]);
    let text = server.text(Group::Live, name, &Aspect::LiveJson).unwrap();
    child.announce(0);
    for length in [0, 10, text.len() / 2, text.len() - 3] {
        server.put(Group::Live, name, &Aspect::LiveJson, &text[..length]);
        assert!(child.refresh() == 0 && serial(&child).is_none());
    }
    assert_eq!(logged("MD0035", name), 1);
    server.put(Group::Live, name, &Aspect::LiveJson, &text);
    assert_eq!((child.refresh(), serial(&child).is_some()), (1, true));
    // The file is damaged once more, which is logged, and then restored.
    server.put(Group::Live, name, &Aspect::LiveJson, "{");
    child.announce(0);
    assert_eq!((child.refresh(), logged("MD0035", name)), (0, 2));
    server.put(Group::Live, name, &Aspect::LiveJson, &text);
    assert_eq!((child.refresh(), child.refresh(), serial(&child).is_some()), (0, 0, true));
}

#[test]
fn a_set_that_cannot_be_read_at_the_start_is_served_later() {
    watch_log();
    let name = "start.read.test";
    let server = server(&["start.read.test", "none.read.test"]);
    let counters = counters();
    put(&server, name, vec![pair(&p256(), &[name], server.clock.now())]);
    for refused in [Call::Load, Call::List] {
        server.store.refuse(refused, Group::Live);
        if refused == Call::List {
            server.store.refuse(Call::Load, Group::Live);
        }
        let child = process(&server, counters);
        assert_eq!(serial(&child), None);
        server.store.recover();
        assert_eq!((child.refresh(), child.refresh(), serial(&child).is_some()), (1, 0, true));
    }
}
