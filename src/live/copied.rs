//! Sets that somebody puts into `domains/` while the server runs: an administrator, `a2md`, the start of another server.
//!
//! Children cannot read them there. Who can publishes what verifies, as the worker does with what is staged, so that is served
//! which the next start would serve: what was issued later goes before what was live. A pair of which one half has not come
//! yet is looked at again each time. Other domains are left alone while the watch of `domains/` tells of no change in them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::foreign::ANYWAY;
use super::publish::{NotNow, Published};
use super::{LiveSets, LiveSlot, lock};
use crate::acme::PortError;
use crate::crypto::PrivateKey;
use crate::log::report;
use crate::model::{KeySpec, ManagedDomain, State};
use crate::sets::choice::{Candidate, Choice, Found, Staged, choose};
use crate::sets::served::read_chain;
use crate::sets::{CertificateSet, Pair, PairSet, staged};
use crate::store::{Aspect, Group, News, Watch};

/// So many files are looked at in one call.
const SLICE: usize = 300;
/// After so long the rest is left to the next call: the server's parent has other work.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 3_600_000 } else { 200 });
/// For so long somebody may still be at work on the files, and nothing is said of what is wrong with them.
const SETTLED: SignedDuration = SignedDuration::from_secs(8);

/// When each of some files was written.
type Times = Vec<Option<Timestamp>>;

/// Memory of the files of one domain.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// Times of its chains, if their content need not be looked at again; `None` before the first look.
    chains: Option<Times>,
    /// The problem that was reported, which is reported once.
    said: Option<String>,
    need: Need,
}

/// Whether the files of a domain are to be looked at.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Need {
    /// Nobody tells whether they have changed, or they are not all there.
    #[default]
    Look,
    /// Their times are to be compared, although the watch has told nothing.
    Compare,
    /// The watch tells when they change.
    Nothing,
}

/// The state of the search through `domains/`.
#[derive(Default)]
pub(super) struct Round {
    /// The domain that comes next.
    next: usize,
    /// The watch, once it was asked for; `None` in it where there is none.
    watch: Option<Option<Arc<dyn Watch>>>,
    /// When all domains were last looked at although the watch told nothing.
    checked: Timestamp,
}

/// The findings of a start for one domain.
pub struct AtStart<'a> {
    /// The certificates of the domain.
    pub set: &'a CertificateSet,
    /// When they were put into the store.
    pub activated: Option<Timestamp>,
}

impl LiveSets {
    /// Publishes sets that were put into `domains/` since the start or the last call. For a process that may read them, every
    /// ten seconds; one call looks at some domains, the next goes on from there. Domains that the watch knows about are passed over
    /// until it tells of a change. `at_start` tells what the
    /// start has found for each of `count` domains. Returns how many it has published.
    pub fn follow<'a>(&self, count: usize, at_start: impl Fn(usize) -> AtStart<'a>) -> usize {
        let begun = Instant::now();
        let mut looks = 0;
        let mut published = 0;
        let mut round = lock(&self.round);
        let watch = self.heed_changes(&mut round);
        for _ in 0..count {
            if looks >= SLICE || begun.elapsed() > PATIENCE {
                break;
            }
            let position = round.next % count;
            round.next = position + 1;
            let Some(slot) = self.slot(position) else { continue };
            let mut copied = lock(&slot.copied);
            if copied.need == Need::Compare && copied.chains.as_ref() == Some(&self.times_here(slot)) {
                looks += 1;
                copied.need = Need::Nothing;
            }
            if copied.need == Need::Nothing {
                continue;
            }
            // Watched before it is looked at, so that no change comes in between.
            let is_watched = watch.as_ref().is_some_and(|watch| watch.add(slot.md.name.as_str()));
            let chains = self.times(slot, Aspect::Chain);
            looks += chains.len();
            let started = at_start(position);
            if copied.chains.is_none() && self.is_of_start(started.activated, &chains) {
                copied.chains = Some(chains.clone());
            }
            let is_absent = chains.iter().all(Option::is_none);
            if !is_absent && copied.chains.as_ref() != Some(&chains) {
                published += usize::from(self.take(position, slot, &mut copied, chains, started.set));
            }
            let is_final = is_absent || copied.chains.as_ref().is_some_and(|chains| !chains.is_empty());
            copied.need = if is_watched && is_final { Need::Nothing } else { Need::Look };
        }
        published
    }

    /// Ends the search in a process that inherited its watch from another one.
    pub fn leave_search(&self) {
        lock(&self.round).watch = None;
    }

    /// Notes which domains are to be looked at by what the watch tells, and returns the watch.
    fn heed_changes(&self, round: &mut Round) -> Option<Arc<dyn Watch>> {
        let now = self.clock.now();
        let begin = || self.documents.store().watch(Group::Domains);
        let watch = round.watch.get_or_insert_with(begin).clone()?;
        let demand = |need: Need, is_meant: &dyn Fn(&str) -> bool| {
            let meant = self.slots.iter().flatten().filter(|slot| is_meant(slot.md.name.as_str()));
            meant.for_each(|slot| {
                let mut copied = lock(&slot.copied);
                copied.need = if copied.need == Need::Look { Need::Look } else { need };
            });
        };
        if watch.has_news() {
            match watch.take() {
                News::Of(names) => demand(Need::Look, &|name| names.contains(name)),
                News::Everywhere => demand(Need::Look, &|_| true),
            }
        }
        if now.duration_since(round.checked) >= SignedDuration::from_secs(ANYWAY.into()) {
            round.checked = now;
            demand(Need::Compare, &|_| true);
        }
        Some(watch)
    }

    /// Makes all processes serve what is in `domains/` for the domain at `position`, if it verifies and is new. `started` is what the
    /// server has set up at its start.
    ///
    /// # Errors
    /// If the set cannot be written.
    pub fn publish_copied(
        &self,
        position: usize,
        started: &CertificateSet,
        now: Timestamp,
    ) -> Result<Published, PortError> {
        let Some(slot) = self.slot(position) else { return Ok(Published::NotNow(NotNow::NothingNew)) };
        match self.assemble_copied(slot, started, now) {
            Ok(pair_set) => self.put_copied(position, slot, &pair_set, now),
            Err(reason) => Ok(Published::NotNow(reason)),
        }
    }

    /// Publishes what has changed, and remembers what need not be looked at again. Returns whether it is live.
    fn take(
        &self,
        position: usize,
        slot: &LiveSlot,
        copied: &mut Copied,
        chains: Times,
        started: &CertificateSet,
    ) -> bool {
        let name = &slot.md.name;
        let now = self.clock.now();
        let published = match self.assemble_copied(slot, started, now) {
            // A start elsewhere has moved what is live.
            Ok(pair_set) if is_served(slot, &pair_set) => Ok(Published::NotNow(NotNow::NothingNew)),
            Ok(pair_set) => self.put_copied(position, slot, &pair_set, now),
            Err(reason) => Ok(Published::NotNow(reason)),
        };
        let (is_live, problem, is_final) = match published {
            Ok(Published::Live(_)) => {
                report!(MD0036, "{name}: certificates that were put into domains/ are live");
                (true, None, true)
            }
            Ok(Published::NotNow(reason)) => match reason {
                NotNow::NothingNew => (false, None, true),
                NotNow::NotBefore(_) | NotNow::Unstapled(_) => (false, None, false),
                NotNow::Unusable(reason) => (false, Some(reason), true),
                NotNow::Incomplete(reason) => {
                    (false, Some(reason).filter(|_| self.is_settled(slot, &chains, now)), false)
                }
            },
            Err(err) => (false, Some(err.to_string()), false),
        };
        if problem.is_some() && problem != copied.said {
            let reason = problem.as_deref().unwrap_or_default();
            report!(MD0041, "{name}: what was put into domains/ is not served, and what is live stays: {reason}");
        }
        // Files are never of no time at all: that is looked at again.
        copied.chains = Some(if is_final { chains } else { Times::new() });
        copied.said = problem;
        is_live
    }

    /// Whether nobody is at work on the files.
    fn is_settled(&self, slot: &LiveSlot, chains: &Times, now: Timestamp) -> bool {
        let keys = self.times(slot, Aspect::PrivateKey);
        chains.iter().chain(&keys).flatten().all(|at| now.duration_since(*at).abs() > SETTLED)
    }

    /// Publishes a set, if it may be served without a staple: who can read `domains/` fetches none.
    fn put_copied(
        &self,
        position: usize,
        slot: &LiveSlot,
        pair_set: &PairSet,
        now: Timestamp,
    ) -> Result<Published, PortError> {
        if slot.md.must_staple {
            let reason = "with MDMustStaple it is served after the next restart, as it must not be without a staple";
            return Ok(Published::NotNow(NotNow::Unusable(reason.to_owned())));
        }
        self.put(position, slot, pair_set, now, |_| Ok(()))
    }

    /// Puts together the pairs in `domains/` and, for key types that have nothing newer there, those that are live. Left out are
    /// key types for which the server has used the same certificate since its start.
    fn assemble_copied(&self, slot: &LiveSlot, started: &CertificateSet, now: Timestamp) -> Result<PairSet, NotNow> {
        let md = &*slot.md;
        let live = self.stored(slot, now);
        let mut pairs = Vec::new();
        let mut from = None;
        let mut older = None;
        let mut wrong = None;
        for (position, spec) in md.key_specs().0.into_iter().enumerate() {
            let copied = self.copied(md, &spec, now);
            let stored = copied.as_ref().ok().map(|pair| Candidate::of(pair.clone(), None));
            let live = live.as_ref().and_then(|live| live.pair(&spec));
            let found = Found {
                staged: Staged::NoRenewal,
                // Files of the same moment are those that were put there, not those that are live.
                live: live.map(|pair| Candidate::of(pair.clone(), None)),
                stored,
                at_start: slot.good_since_start(started, position, &spec),
            };
            let choice = choose(found, now);
            match (&choice, &copied) {
                (_, Err(reason)) => wrong = wrong.or(Some(reason.clone())),
                (Choice::Stored(pair), _) if live.is_none_or(|live| live.chain != pair.chain) => {
                    from = from.max(Some(pair.chain.leaf().not_before()));
                }
                (Choice::Live(_), Ok(pair)) if !is_of_start(started, position, pair) => {
                    older = older.or(Some(spec));
                }
                _ => {}
            }
            match choice {
                Choice::Staged(pair) | Choice::Live(pair) | Choice::Stored(pair) => pairs.push(pair),
                Choice::AtStart => {}
                Choice::Missing(_) | Choice::Awaited(_) | Choice::Damaged(_) => {
                    return Err(NotNow::Incomplete(wrong.unwrap_or_default()));
                }
            }
        }
        let is_served = live.is_some() || started.state == Some(State::Complete);
        match (from, wrong, older) {
            (Some(from), ..) if from > now && is_served => Err(NotNow::NotBefore(from)),
            (Some(_), ..) => Ok(PairSet { ca_url: self.ca_url(md), account_url: None, pairs }),
            (_, Some(reason), _) => Err(NotNow::Incomplete(reason)),
            (_, _, Some(spec)) => {
                let kind = spec.json_name();
                Err(NotNow::Unusable(format!("certificate({kind}) was issued before the one that is live")))
            }
            _ => Err(NotNow::NothingNew),
        }
    }

    /// The key and the certificate for one type of key.
    fn copied(&self, md: &ManagedDomain, spec: &KeySpec, now: Timestamp) -> Result<Pair, String> {
        let store = self.documents.store();
        let name = md.name.as_str();
        let chain = read_chain(&self.documents, Group::Domains, md, spec).map_err(|(_, reason)| reason)?;
        let kind = spec.json_name();
        let pem = store.load(Group::Domains, name, &Aspect::PrivateKey(spec.clone())).map_err(|err| err.to_string())?;
        let pem = Zeroizing::new(pem.ok_or_else(|| format!("private key({kind}) is missing"))?);
        let key = PrivateKey::from_pem(&pem, Some(store.secret().as_bytes()));
        let key = key.map_err(|err| format!("private key({kind}): {err}"))?;
        staged::verify(md, spec, &key, &chain, now)?;
        Ok(Pair { spec: spec.clone(), key, chain })
    }

    fn ca_url(&self, md: &ManagedDomain) -> Option<String> {
        let stored: Option<ManagedDomain> = self.documents.load_json(Group::Domains, md.name.as_str(), &Aspect::MdJson);
        stored?.ca.url.clone()
    }

    /// Whether these are the files that the start has read. It may have missed what came during the start.
    fn is_of_start(&self, activated: Option<Timestamp>, chains: &Times) -> bool {
        const START: SignedDuration = SignedDuration::from_mins(1);
        let last = chains.iter().flatten().max();
        last.copied() == activated
            && last
                .is_none_or(|last| self.opened.get().is_some_and(|opened| opened.duration_since(*last).abs() > START))
    }

    /// Returns the times of the chains, on a file system that only this machine writes.
    fn times_here(&self, slot: &LiveSlot) -> Times {
        let modified =
            |spec| self.documents.store().modified(Group::Domains, slot.md.name.as_str(), &Aspect::Chain(spec));
        slot.md.key_specs().0.into_iter().map(modified).collect()
    }

    fn times(&self, slot: &LiveSlot, aspect: fn(KeySpec) -> Aspect) -> Times {
        let written = |spec| self.documents.store().written(Group::Domains, slot.md.name.as_str(), &aspect(spec));
        slot.md.key_specs().0.into_iter().map(written).collect()
    }
}

/// Whether the start has found this pair at that position.
fn is_of_start(started: &CertificateSet, position: usize, pair: &Pair) -> bool {
    started.certificates.get(position).is_some_and(|own| *own == Some(pair.chain.leaf().summary()))
}

fn is_served(slot: &LiveSlot, pair_set: &PairSet) -> bool {
    let served = slot.served();
    served.is_some_and(|served| pair_set.pairs.iter().all(|pair| served.has(&pair.chain.leaf().sha1())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::live::tests::{counters, pair, put, serial, server};
    use crate::registry::Registry;
    use crate::store::Store;
    use crate::testing::{Call, TestServer, logged, p256, watch_log};

    fn chain() -> Aspect {
        Aspect::Chain(p256())
    }

    fn start(server: &TestServer) -> Arc<Registry> {
        let registry = server.start(true);
        registry.live_sets.open(Some(counters()));
        registry
    }

    fn follow(registry: &Registry) -> usize {
        registry.follow_copied()
    }

    /// A pair that was issued so many hours from now.
    fn new(server: &TestServer, name: &str, hours: i64) -> Pair {
        pair(&p256(), &[name], server.clock.now() + SignedDuration::from_hours(hours))
    }

    fn save(server: &TestServer, aspect: &Aspect, pair: &Pair) {
        let name = pair.chain.leaf().names()[0].to_string();
        let pem = if aspect == &chain() { pair.chain.to_pem() } else { pair.key.to_pem().unwrap().to_vec() };
        server.store.save(Group::Domains, &name, aspect, &pem).unwrap();
    }

    fn copy(server: &TestServer, pair: &Pair) {
        [Aspect::PrivateKey(p256()), chain()].iter().for_each(|aspect| save(server, aspect, pair));
    }

    fn serves(registry: &Registry, pair: &Pair) -> bool {
        serial(&registry.live_sets) == Some(pair.chain.leaf().summary().serial_hex())
    }

    #[test]
    fn a_set_that_is_put_into_domains_is_served_once_it_is_whole() {
        watch_log();
        let name = "whole.copied.test";
        let server = server(&["whole.copied.test"]);
        let registry = start(&server);
        assert_eq!(follow(&registry), 0);
        let first = new(&server, name, 0);
        copy(&server, &first);
        assert_eq!((follow(&registry), follow(&registry)), (1, 0));
        assert!(serves(&registry, &first) && server.store.generation().unwrap().is_some());

        // One half of the next one.
        let second = new(&server, name, 0);
        for half in [chain(), Aspect::PrivateKey(p256())] {
            save(&server, &half, &second);
            let is_whole = half != chain();
            assert_eq!((follow(&registry), follow(&registry)), (usize::from(is_whole), 0));
            assert!(serves(&registry, if is_whole { &second } else { &first }));
            assert_eq!(logged("MD0041", name), 1, "said once");
        }
        // Damaged, for another domain, gone, and not to be read: what is live stays.
        let text = server.text(Group::Domains, name, &chain()).unwrap();
        server.put(Group::Domains, name, &chain(), &text[..text.len() / 2]);
        assert_eq!(follow(&registry), 0);
        server.store.purge(Group::Domains, name).unwrap();
        assert_eq!(follow(&registry), 0);
        server.store.refuse(Call::Load, Group::Domains);
        copy(&server, &new(&server, name, 0));
        assert_eq!(follow(&registry), 0);
        assert!(serves(&registry, &second));
        server.store.recover();
        assert_eq!(follow(&registry), 1, "it is looked at again");

        // What begins later than now is served when it does.
        let third = new(&server, name, 2);
        copy(&server, &third);
        assert_eq!((follow(&registry), logged("MD0041", name)), (0, logged("MD0041", name)));
        server.clock.advance(SignedDuration::from_hours(2));
        assert_eq!((follow(&registry), serves(&registry, &third)), (1, true));
    }

    #[test]
    fn what_was_issued_later_is_served_as_by_a_start() {
        watch_log();
        let name = "later.copied.test";
        let server = server(&["later.copied.test"]);
        let [older, live, newer] = [-30, -20, -10].map(|hours| new(&server, name, hours));
        copy(&server, &older);
        let registry = start(&server);
        put(&server, name, vec![live.clone()]);
        registry.live_sets.look_for(0);
        // The same once more, and another one.
        copy(&server, &older);
        assert_eq!((follow(&registry), logged("MD0041", name)), (0, 0));
        copy(&server, &new(&server, name, -25));
        assert_eq!((follow(&registry), serves(&registry, &live)), (0, true));
        assert_eq!(
            logged(
                "MD0041",
                "later.copied.test: what was put into domains/ is not served, and what is live stays: certificate(P-256) was issued before"
            ),
            1
        );
        copy(&server, &newer);
        assert_eq!((follow(&registry), serves(&registry, &newer)), (1, true));

        // Where nothing went live since the start, whatever is put there.
        let registry = start(&server);
        assert!(!server.store.exists(Group::Live, name, &Aspect::LiveJson));
        copy(&server, &older);
        assert_eq!((follow(&registry), serves(&registry, &older)), (1, true));
        // Another server's start moves what is live. What this one serves is nothing new.
        let started = start(&server);
        assert_eq!(started.domains[0].at_start.certificates[0], Some(older.chain.leaf().summary()));
        assert!(!server.store.exists(Group::Live, name, &Aspect::LiveJson));
        copy(&server, &older);
        assert_eq!((follow(&registry), follow(&started)), (0, 0));
        copy(&server, &newer);
        assert_eq!((follow(&registry), serves(&registry, &newer)), (1, true), "back to what was there at the start");
    }

    #[test]
    fn what_must_not_be_without_a_staple_waits_for_a_start() {
        watch_log();
        let name = "staple.copied.test";
        let mut server = server(&["staple.copied.test"]);
        server.declared[0].settings.must_staple = Some(true);
        let registry = start(&server);
        copy(&server, &new(&server, name, 0));
        assert_eq!((follow(&registry), follow(&registry), logged("MD0041", name)), (0, 0, 1));
    }

    #[test]
    fn where_the_watch_tells_of_changes_only_those_domains_are_looked_at() {
        watch_log();
        let names: Vec<String> = (0..400).map(|number| format!("n{number}.watched.test")).collect();
        let server = server(&names.iter().map(String::as_str).collect::<Vec<_>>());
        server.store.let_watch();
        names.iter().take(3).for_each(|name| copy(&server, &new(&server, name, 0)));
        let registry = start(&server);
        server.clock.advance(SignedDuration::from_mins(2));
        let call = || {
            let looks = || server.store.count(Call::Look, Group::Domains, None);
            let before = looks();
            server.clock.advance(SignedDuration::from_secs(10));
            (follow(&registry), looks() - before)
        };
        // Each is looked at once.
        assert_eq!([call().1, call().1, call().1, call().1], [300, 100, 0, 0]);
        copy(&server, &new(&server, &names[399], 0));
        assert_eq!((call(), call()), ((1, 1), (0, 0)));
        // What is not whole is looked at until it is.
        let next = new(&server, &names[7], 1);
        save(&server, &chain(), &next);
        for _ in 0..3 {
            assert_eq!(call().0, 0);
        }
        assert_eq!(logged("MD0041", &names[7]), 1, "without a change");
        save(&server, &Aspect::PrivateKey(p256()), &next);
        server.clock.advance(SignedDuration::from_hours(1));
        assert_eq!((call().0, call().1), (1, 0));

        // What the watch does not tell is found in time, by looks that open nothing.
        let watch = server.store.watch_of(Group::Domains);
        watch.deafen();
        copy(&server, &new(&server, &names[9], 0));
        let calls: Vec<_> = (0..120).map(|_| call()).collect();
        let sums = (calls.iter().map(|call| call.0).sum::<usize>(), calls.iter().map(|call| call.1).sum::<usize>());
        assert_eq!(sums, (1, 1));
        // Domains that cannot be watched are looked at each time.
        watch.refuse();
        copy(&server, &new(&server, &names[10], 1));
        let found: usize = (0..90).map(|_| call().0).sum();
        assert_eq!((found, call().1 > 0), (1, true));
        copy(&server, &new(&server, &names[10], 2));
        assert_eq!(call().0, 0, "of the future");
        server.clock.advance(SignedDuration::from_hours(3));
        assert_eq!(call().0, 1);
    }

    #[test]
    fn a_call_looks_at_some_domains_and_reads_what_has_changed() {
        let names: Vec<String> = (0..700).map(|number| format!("n{number}.copied.test")).collect();
        let server = server(&names.iter().map(String::as_str).collect::<Vec<_>>());
        copy(&server, &new(&server, &names[5], 0));
        let registry = start(&server);
        let call = || {
            let count = |call| server.store.count(call, Group::Domains, None);
            let before = [Call::Look, Call::Load].map(count);
            let published = follow(&registry);
            (published, count(Call::Look) - before[0], count(Call::Load) - before[1])
        };
        for _ in 0..5 {
            assert_eq!(call(), (0, SLICE, 0));
        }
        copy(&server, &new(&server, &names[650], 0));
        let calls = [call(), call(), call()];
        assert_eq!(calls.iter().map(|call| call.0).sum::<usize>(), 1);
        assert_eq!(calls.iter().map(|call| call.2).sum::<usize>(), 3, "chain, key and domain");
        assert!(calls.iter().all(|call| call.1 <= SLICE + 1));
    }
}
