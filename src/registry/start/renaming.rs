//! Renames directories of the store for domains whose first name changed in the configuration.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Instant;

use crate::acme::PortError;
use crate::documents::{Documents, port_error};
use crate::log::note;
use crate::model::ManagedDomain;
use crate::sets::PairSet;
use crate::store::{Aspect, Group, StoreError};

/// Gives the directories of domains that are no longer configured to new domains with the same names. A directory that cannot be
/// moved stays where it is, and the new domain starts without it.
pub(crate) fn follow(documents: &Documents, domains: &[ManagedDomain], until: Instant) {
    let stored = documents.items(Group::Domains);
    let new: Vec<_> = domains.iter().filter(|md| !stored.contains(md.name.as_str())).collect();
    if new.is_empty() || stored.is_empty() {
        return;
    }
    let configured: HashSet<_> = domains.iter().map(|md| md.name.as_str()).collect();
    let mut left: Vec<_> = stored.into_iter().filter(|item| !configured.contains(item.as_str())).collect();
    left.sort();
    let load = |item: String| Some((documents.load_json(Group::Domains, &item, &Aspect::MdJson)?, item));
    let left: Vec<(ManagedDomain, String)> = left.into_iter().filter_map(load).collect();
    for (former, new) in pairs(&left, &new) {
        match rename(documents, former, new, until) {
            Ok(()) => {
                note!(Info, "{new}: takes over certificates and reports of {former}, which is no longer configured")
            }
            Err(err) => {
                note!(Error, err.status(); "{new}: cannot take over certificates and reports of {former}: {err}")
            }
        }
    }
}

/// Chooses the directory for each new domain in turn: that of the former domain which has most of its names and, among several,
/// fewest other names.
fn pairs<'a>(left: &'a [(ManagedDomain, String)], new: &[&'a ManagedDomain]) -> Vec<(&'a str, &'a str)> {
    let mut free: Vec<_> = left.iter().collect();
    let mut choose = |new: &&'a ManagedDomain| {
        let common = |old: &ManagedDomain| new.domains.iter().filter(|name| old.covers(name)).count();
        let candidates = free.iter().enumerate().filter(|(_, (old, _))| common(old) > 0);
        // `max_by_key` returns the last of equal elements, so positions are reversed to get the first.
        let key = |(at, (old, _)): &(usize, &&(ManagedDomain, String))| {
            (common(old), Reverse(old.domains.len()), Reverse(*at))
        };
        let (at, _) = candidates.max_by_key(key)?;
        Some((free.remove(at).1.as_str(), new.name.as_str()))
    };
    new.iter().filter_map(&mut choose).collect()
}

/// Renames the directories of a domain. The one in `staging/` is left if another process works on the renewal for longer than
/// the start can wait. `domains/` comes last: after a crash in between, the next start finds the same pair again.
fn rename(documents: &Documents, former: &str, new: &str, until: Instant) -> Result<(), StoreError> {
    let store = documents.store();
    if store.list(Group::Staging)?.iter().any(|item| item == former) {
        let patience = until.saturating_duration_since(Instant::now());
        let moved = match store.claim_within(former, patience) {
            Ok(Some(_claim)) => store.rename((Group::Staging, former), (Group::Staging, new)).map(|()| true),
            claimed => claimed.map(|_| false),
        };
        match moved {
            Ok(true) => {}
            Ok(false) => note!(Info, "{former}: another process is working on the renewal, which starts over as {new}"),
            Err(err) => {
                note!(Error, err.status(); "{former}: the renewal cannot be moved and starts over as {new}: {err}")
            }
        }
    }
    if let Err(err) = rename_live(documents, former, new) {
        note!(Error, err.status; "{former}: the set in live/ cannot be moved to {new} and stays there: {err}");
    }
    store.rename((Group::Domains, former), (Group::Domains, new))
}

/// Writes the set in `live/` anew, as it says which domain it is for.
fn rename_live(documents: &Documents, former: &str, new: &str) -> Result<(), PortError> {
    let store = documents.store();
    let text = store.load(Group::Live, former, &Aspect::LiveJson).map_err(port_error)?;
    let Some(text) = text else { return Ok(()) };
    let text = PairSet::renamed(&text, store.secret(), former, new)?;
    store.save(Group::Live, new, &Aspect::LiveJson, &text).map_err(port_error)?;
    store.purge(Group::Live, former).map_err(port_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ActivationMode, DomainName};
    use crate::store::Store;
    use crate::testing::{TestServer, declared, host, p256};

    fn md(names: &str) -> ManagedDomain {
        ManagedDomain::new(names.split(' ').map(|name| DomainName::parse(name).unwrap()).collect()).unwrap()
    }

    #[test]
    fn a_new_domain_gets_the_directory_of_the_one_with_its_names() {
        // Stored and new domains, then what goes where.
        let rows = [
            ("a b", "b a", "a>b"),
            ("a b", "new a b", "a>new"),
            ("a b c", "b", "a>b"),
            ("a b", "c d", ""),
            // Most names, then fewest others, then the order of names.
            ("a x; b x y", "x y", "b>x"),
            ("a x q r; b x q", "x q", "b>x"),
            ("a x; b x", "x", "a>x"),
            // Each goes to one domain only.
            ("a b c", "b; c", "a>b"),
            ("a b c; d c", "b; c", "a>b d>c"),
            ("*.a.org", "www.a.org a.org", "*.a.org>www.a.org"),
            ("www.a.org", "*.a.org", ""),
        ];
        for (left, new, expected) in rows {
            let left: Vec<_> = left.split("; ").map(md).map(|md| (md.clone(), md.name.to_string())).collect();
            let new: Vec<_> = new.split("; ").map(md).collect();
            let new: Vec<_> = new.iter().collect();
            let pairs: Vec<_> = pairs(&left, &new).iter().map(|(from, to)| format!("{from}>{to}")).collect();
            assert_eq!(pairs.join(" "), expected, "{left:?} -> {new:?}");
        }
    }

    /// Returns a server whose domain `a.test b.test` is now configured as `b.test a.test`.
    fn reordered(staged: bool) -> TestServer {
        let mut test_server = TestServer::new(&["a.test"]);
        test_server.declared = vec![declared(&["a.test", "b.test"])];
        test_server.run(false);
        if !staged {
            test_server.start(true);
        }
        test_server.declared = vec![declared(&["b.test", "a.test"])];
        test_server.hosts = vec![host("b.test")];
        test_server
    }

    #[test]
    fn certificates_stay_in_service_under_a_new_first_name() {
        let test_server = reordered(false);
        let registry = test_server.start(true);
        assert_eq!(registry.domains[0].at_start.state, Some(crate::model::State::Complete));
        assert_eq!(test_server.store.list(Group::Domains).unwrap(), ["b.test"]);
        let stored: ManagedDomain = test_server.documents.load_json(Group::Domains, "b.test", &Aspect::MdJson).unwrap();
        assert_eq!(stored.name.as_str(), "b.test");
    }

    #[test]
    fn a_staged_set_is_activated_under_the_new_name() {
        let test_server = reordered(true);
        let registry = test_server.start(true);
        assert_eq!(registry.domains[0].at_start.state, Some(crate::model::State::Complete));
        assert!(test_server.store.list(Group::Staging).unwrap().is_empty());
        let name =
            |group| test_server.documents.load_json::<ManagedDomain>(group, "b.test", &Aspect::MdJson).unwrap().name;
        assert_eq!(name(Group::Domains).as_str(), "b.test");
        assert_eq!(test_server.job(Group::Domains, "b.test").unwrap().name, "b.test");
    }

    #[test]
    fn a_live_set_is_served_under_the_new_name() {
        for is_busy in [false, true] {
            let mut test_server = TestServer::new(&["a.test"]);
            test_server.declared = vec![declared(&["a.test", "b.test"])];
            test_server.declared[0].settings.activation = Some(ActivationMode::Live);
            drop(test_server.run(true));
            let live = test_server.text(Group::Live, "a.test", &Aspect::LiveJson).unwrap();
            // The next renewal has begun.
            test_server.store.clear(Group::Staging, "a.test").unwrap();
            test_server.put(Group::Staging, "a.test", &Aspect::JobJson, "{}");
            test_server.declared[0].names.reverse();
            test_server.hosts = vec![host("b.test")];
            let claim = is_busy.then(|| test_server.documents.store().claim("a.test").unwrap().unwrap());
            let registry = test_server.start(true);
            assert_eq!(registry.domains[0].at_start.state, Some(crate::model::State::Complete));
            let chain = test_server.text(Group::Domains, "b.test", &Aspect::Chain(p256())).unwrap();
            assert!(live.contains(&serde_json::to_string(&chain).unwrap()));
            assert_eq!(test_server.store.list(Group::Live).unwrap(), [""; 0]);
            assert_eq!(test_server.store.list(Group::Staging).unwrap(), [if is_busy { "a.test" } else { "b.test" }]);
            drop(claim);
        }
    }

    #[test]
    fn a_renewal_in_progress_keeps_the_former_name() {
        let test_server = reordered(true);
        let claim = test_server.documents.store().claim("a.test").unwrap().expect("nobody has it");
        test_server.start(true);
        assert_eq!(test_server.store.list(Group::Domains).unwrap(), ["b.test"]);
        assert_eq!(test_server.store.list(Group::Staging).unwrap(), ["a.test"]);
        drop(claim);
    }
}
