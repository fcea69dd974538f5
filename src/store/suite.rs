//! Tests that every store must pass.

use std::time::Duration;

use super::{Aspect, Group, Store, StoreError};
use crate::model::{KeySpec, Status, Timestamp};

const MD: &str = "example.org";

/// Runs all tests on an empty store.
pub(super) fn run(store: &dyn Store) {
    files(store);
    items(store);
    bad_names(store);
    replacing(store);
    archive_keeps_the_newest(store);
    claims(store);
    responses(store);
    generations(store);
}

fn generations(store: &dyn Store) {
    assert_eq!(store.generation().unwrap(), None);
    let marks = [0, 1].map(|_| store.bump_generation().unwrap());
    assert_ne!(marks[0], marks[1]);
    assert_eq!(store.generation().unwrap().unwrap(), marks[1]);
    assert!(store.list(Group::Live).unwrap().is_empty(), "it is no set");
    store.save(Group::Live, MD, &Aspect::LiveJson, b"{}").unwrap();
    let written = store.written(Group::Live, MD, &Aspect::LiveJson);
    assert!(written.is_some() && written == store.modified(Group::Live, MD, &Aspect::LiveJson));
    store.purge(Group::Live, MD).unwrap();
    assert_eq!(store.written(Group::Live, MD, &Aspect::LiveJson), None);
}

fn responses(store: &dyn Store) {
    assert!(store.ocsp_responses().unwrap().is_empty());
    let aspect = Aspect::OcspJson([7; 20]);
    store.save(Group::Ocsp, MD, &aspect, b"{}").unwrap();
    store.save(Group::Ocsp, MD, &Aspect::JobJson, b"{}").unwrap();
    let written = store.modified(Group::Ocsp, MD, &aspect).unwrap();
    assert_eq!(store.ocsp_responses().unwrap(), [(MD.to_owned(), [7; 20], written)]);
    store.remove(Group::Ocsp, MD, &aspect).unwrap();
    assert!(store.ocsp_responses().unwrap().is_empty());
}

fn text(store: &dyn Store, group: Group, item: &str) -> Option<String> {
    let data = store.load(group, item, &Aspect::MdJson).unwrap()?;
    Some(String::from_utf8(data).unwrap())
}

fn put(store: &dyn Store, group: Group, item: &str, text: &str) {
    store.save(group, item, &Aspect::MdJson, text.as_bytes()).unwrap();
}

fn files(store: &dyn Store) {
    let group = Group::Staging;
    let aspect = Aspect::PrivateKey(KeySpec::Ec { curve: "P-256".into() });
    assert_eq!(store.load(group, MD, &aspect).unwrap(), None);
    assert!(!store.exists(group, MD, &aspect));
    assert_eq!(store.modified(group, MD, &aspect), None);
    store.remove(group, MD, &aspect).unwrap();
    store.save(group, MD, &aspect, b"old").unwrap();
    store.save(group, MD, &aspect, b"new").unwrap();
    assert_eq!(store.load(group, MD, &aspect).unwrap().unwrap(), b"new");
    assert!(!store.create(group, MD, &aspect, b"other").unwrap());
    assert_eq!(store.load(group, MD, &aspect).unwrap().unwrap(), b"new");
    assert!(store.exists(group, MD, &aspect));
    assert!(!store.exists(group, MD, &Aspect::PrivateKey(KeySpec::Default)));
    let age = Timestamp::now().duration_since(store.modified(group, MD, &aspect).unwrap());
    assert!(age.as_secs().abs() < 3600, "{age}");
    store.remove(group, MD, &aspect).unwrap();
    assert_eq!(store.load(group, MD, &aspect).unwrap(), None);
    assert!(store.create(group, MD, &aspect, b"first").unwrap());
    store.clear(group, MD).unwrap();
    assert!(!store.exists(group, MD, &aspect));
    assert_eq!(store.list(group).unwrap(), [MD]);
    store.purge(group, MD).unwrap();
}

fn items(store: &dyn Store) {
    let group = Group::Domains;
    assert!(store.list(group).unwrap().is_empty());
    store.purge(group, MD).unwrap();
    store.clear(group, MD).unwrap();
    for item in ["b.org", "*.example.org", "a.org"] {
        put(store, group, item, item);
    }
    assert_eq!(store.list(group).unwrap(), ["*.example.org", "a.org", "b.org"]);
    let error = store.rename((group, "a.org"), (group, "b.org")).unwrap_err();
    assert!(error.to_string().contains("domains/a.org to "), "{error}");
    assert_eq!(text(store, group, "b.org").unwrap(), "b.org");
    store.rename((group, "a.org"), (group, "c.org")).unwrap();
    assert_eq!(store.list(group).unwrap(), ["*.example.org", "b.org", "c.org"]);
    assert_eq!(text(store, group, "c.org").unwrap(), "a.org");
    assert_eq!(store.rename((group, "a.org"), (group, "d.org")).unwrap_err().status(), Status::NOT_FOUND);
    for item in store.list(group).unwrap() {
        store.purge(group, &item).unwrap();
    }
    assert!(store.list(group).unwrap().is_empty());
}

fn bad_names(store: &dyn Store) {
    let group = Group::Domains;
    for name in ["", "..", "../tmp", "a/b", ".hidden"] {
        let results = [
            store.load(group, name, &Aspect::MdJson).map(|_| ()),
            store.save(group, name, &Aspect::MdJson, b""),
            store.create(group, name, &Aspect::MdJson, b"").map(|_| ()),
            store.remove(group, name, &Aspect::MdJson),
            store.purge(group, name),
            store.clear(group, name),
            store.rename((group, name), (group, MD)),
            store.rename((group, MD), (group, name)),
            store.replace(name),
            store.claim(name).map(|_| ()),
        ];
        assert!(results.iter().all(|result| matches!(result, Err(StoreError::Name(_)))), "{name:?}: {results:?}");
    }
    let curve = Aspect::PrivateKey(KeySpec::Ec { curve: "x/../../../x".into() });
    assert!(matches!(store.save(group, MD, &curve, b""), Err(StoreError::Name(_))));
    assert!(store.list(group).unwrap().is_empty());
}

fn replacing(store: &dyn Store) {
    assert_eq!(store.replace(MD).unwrap_err().status(), Status::NOT_FOUND);
    put(store, Group::Tmp, MD, "first");
    store.replace(MD).unwrap();
    assert!(store.list(Group::Archive).unwrap().is_empty());
    assert_eq!(store.replace(MD).unwrap_err().status(), Status::NOT_FOUND);
    assert_eq!(text(store, Group::Domains, MD).unwrap(), "first");
    for (new, old) in [("second", "first"), ("third", "second")] {
        put(store, Group::Tmp, MD, new);
        store.replace(MD).unwrap();
        assert_eq!(text(store, Group::Domains, MD).unwrap(), new);
        let last = store.list(Group::Archive).unwrap().pop().unwrap();
        assert_eq!(text(store, Group::Archive, &last).unwrap(), old);
    }
    assert_eq!(store.list(Group::Archive).unwrap(), ["example.org.1", "example.org.2"]);
    assert!(store.list(Group::Tmp).unwrap().is_empty());
}

fn archive_keeps_the_newest(store: &dyn Store) {
    let item = "busy.org";
    put(store, Group::Archive, "busy.org.mine", "not a set");
    put(store, Group::Tmp, item, "0");
    store.replace(item).unwrap();
    for generation in 1..=52 {
        put(store, Group::Tmp, item, &generation.to_string());
        store.replace(item).unwrap();
    }
    let sets = store.list(Group::Archive).unwrap();
    let mut kept: Vec<u32> = sets
        .iter()
        .filter(|name| name.starts_with("busy.org.") && *name != "busy.org.mine")
        .map(|name| text(store, Group::Archive, name).unwrap().parse().unwrap())
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, (2..=51).collect::<Vec<_>>());
    assert_eq!(sets.len(), 50 + 3, "sets of others stay: {sets:?}");
}

fn claims(store: &dyn Store) {
    let first = store.claim(MD).unwrap().expect("nobody has it");
    assert!(store.claim(MD).unwrap().is_none());
    let other = store.claim("other.org").unwrap().expect("nobody has it");
    put(store, Group::Staging, MD, "work");
    store.clear(Group::Staging, MD).unwrap();
    assert!(store.claim(MD).unwrap().is_none(), "a claim outlives the files");
    put(store, Group::Staging, MD, "work");
    drop((first, other));
    assert_eq!(store.list(Group::Staging).unwrap(), [MD], "an empty item goes with its claim");
    let again = store.claim(MD).unwrap().expect("given back");
    assert_eq!(text(store, Group::Staging, MD).unwrap(), "work");
    store.purge(Group::Staging, MD).unwrap();
    drop(again);
    assert!(store.list(Group::Staging).unwrap().is_empty());
    waiting(store);
}

fn waiting(store: &dyn Store) {
    let held = store.claim(MD).unwrap();
    assert!(held.is_some() && store.claim_within(MD, Duration::ZERO).unwrap().is_none());
    assert!(store.claim_within(MD, Duration::from_millis(30)).unwrap().is_none());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| store.claim_within(MD, Duration::from_secs(60)).unwrap().is_some());
        drop(held);
        assert!(waits.join().unwrap());
    });
    assert!(store.claim_within(MD, Duration::ZERO).unwrap().is_some());
}
