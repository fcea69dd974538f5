//! Sets in `live/` that no process of this server wrote: another node that uses the store did, or `a2md`, or they were copied
//! there from elsewhere.
//!
//! The children of a server take turns, so that one of them asks every few seconds whether the watch of `live/` has news. With
//! news, and now and then without, all sets are looked at. Where there is no watch, a child looks at the store's mark, which
//! tells that there is something to look for, and at the files of some domains in any case: a copy may come without the mark,
//! or after it. What a child finds is announced as by those who write.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::{DOMAINS, LiveSets, LiveSlot, Reading, lock};
use crate::crypto::sha256;
use crate::log::{note, report};
use crate::sets::{Active, CertificateSet};
use crate::store::{Aspect, Group, Watch};

/// How many words the children of a server have in common to take turns.
pub(super) const WORDS: usize = 6;

/// When one of them looked, in seconds.
const LOOKED: usize = 0;
/// Stands for the mark that was seen last.
const MARK: usize = 1;
/// Where the next look begins.
const NEXT: usize = 2;
/// How many domains are still to be looked at since the mark has changed.
const LEFT: usize = 3;

/// When all domains were last looked at although the watch told nothing, in seconds.
const CHECKED: usize = 4;
/// Whether the watch may miss changes.
const BLIND: usize = 5;

/// Seconds between two looks at all domains although the watch tells nothing: there may be file systems that inotify misreports.
pub(super) const ANYWAY: u32 = 600;

/// Seconds between two looks.
const PERIOD: u32 = 3;
/// Seconds between two looks while not all domains have been looked at since the mark has changed.
const PERIOD_WHILE_LEFT: u32 = 1;
/// Files that one look reads at most where the mark has not changed.
const SLICE: usize = 300;
/// Time that one look takes at most; the rest is left to the next.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 3_600_000 } else { 500 });
/// Age of a file from which on it is looked at: a younger one may not be complete, or its writer is about to announce it.
const SETTLED: SignedDuration = SignedDuration::from_secs(1);

/// When a file was written, in nanoseconds; 0 if it is absent.
pub(super) type Written = std::sync::atomic::AtomicI64;

impl LiveSets {
    /// Looks for sets that others have written, if it is time and another child does not do so. For every child, each second.
    /// Returns for how many domains there was something new.
    pub fn look_around(&self) -> usize {
        let now = self.clock.now();
        if !self.takes_turn(now) {
            return 0;
        }
        let words = self.words();
        let everything = self.slots.len() as u32;
        let watch = self.watch.get().filter(|_| words[BLIND].load(Ordering::Relaxed) == 0);
        if let Some(watch) = watch {
            self.heed_watch(&**watch, everything, now);
            if words[LEFT].load(Ordering::Relaxed) == 0 {
                return 0;
            }
        } else {
            self.heed_mark(everything);
        }
        // Watched before they are looked at, so that no change comes in between.
        let present = watch.and_then(|watch| self.watch_all(&**watch));
        let most = if words[LEFT].load(Ordering::Relaxed) > 0 { usize::MAX } else { SLICE };
        let first = words[NEXT].load(Ordering::Relaxed) as usize;
        let walk = self.walk(first, most, now, present.as_ref());
        words[NEXT].store(((first + walk.passed) % self.slots.len().max(1)) as u32, Ordering::Relaxed);
        let left = |left: u32| Some(if walk.again { everything } else { left.saturating_sub(walk.passed as u32) });
        let _ = words[LEFT].fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        walk.found
    }

    /// Begins to watch `live/`, for this process and those that are forked from it.
    pub(super) fn begin_watch(&self) {
        let words = self.words();
        let Some(watch) = self.documents.store().watch(Group::Live) else { return };
        words[BLIND].store(0, Ordering::Relaxed);
        words[CHECKED].store(self.clock.now().as_second() as u32, Ordering::Relaxed);
        self.watch_all(&*watch);
        let _ = self.watch.set(watch);
    }

    /// Watches all sets that are in the store, and returns their names; `None` if they are not known.
    fn watch_all(&self, watch: &dyn Watch) -> Option<HashSet<String>> {
        let items = self.documents.store().list(Group::Live);
        let items = items.inspect_err(|err| note!(Debug, err.status(); "{err}")).ok();
        if !items.iter().flatten().fold(items.is_some(), |is_good, item| watch.add(item) && is_good) {
            note!(
                Info,
                "some sets in live/ cannot be watched by inotify: those of others are looked for every few seconds"
            );
            self.words()[BLIND].store(1, Ordering::Relaxed);
        }
        items.map(|items| items.into_iter().collect())
    }

    /// If there is news, all domains are to be looked at, and now and then without any.
    fn heed_watch(&self, watch: &dyn Watch, everything: u32, now: Timestamp) {
        let words = self.words();
        let now = now.as_second() as u32;
        let is_due = now.wrapping_sub(words[CHECKED].load(Ordering::Relaxed)) >= ANYWAY;
        if watch.has_news() || is_due {
            // Before the news is taken: should this child end, another one looks.
            words[LEFT].store(everything, Ordering::Relaxed);
            words[CHECKED].store(now, Ordering::Relaxed);
            words[MARK].store(self.mark(), Ordering::Relaxed);
            watch.take();
        }
    }

    /// If the mark has changed, all domains are to be looked at.
    fn heed_mark(&self, everything: u32) {
        let words = self.words();
        let mark = self.mark();
        if words[MARK].load(Ordering::Relaxed) != mark {
            words[LEFT].store(everything, Ordering::Relaxed);
            words[MARK].store(mark, Ordering::Relaxed);
        }
    }

    /// Looks at domains from one on, at so many files at most, and only at those that are present, if that is known.
    fn walk(&self, first: usize, most: usize, now: Timestamp, present: Option<&HashSet<String>>) -> Walk {
        let begun = Instant::now();
        let mut looks = 0;
        let mut walk = Walk::default();
        while walk.passed < self.slots.len() && looks < most && begun.elapsed() < PATIENCE {
            let position = (first + walk.passed) % self.slots.len();
            walk.passed += 1;
            let Some(slot) = self.slot(position) else { continue };
            if present.is_some_and(|present| !present.contains(slot.md.name.as_str())) {
                continue;
            }
            looks += 1;
            match self.look_at(position, slot, now) {
                Look::New => walk.found += 1,
                Look::Unsettled => walk.again = true,
                Look::Known => {}
            }
        }
        walk
    }

    /// Looks whether somebody else has written a set for the domain at `position`, and takes it.
    pub fn look_for(&self, position: usize) {
        if let Some(slot) = self.slot(position) {
            // Whoever has written it is done: it is his turn no more.
            self.look_at(position, slot, Timestamp::MAX);
        }
    }

    /// Takes the set of the domain at `position`, for a process that has not called [`LiveSets::open`].
    pub fn learn(&self, position: usize) {
        if let Some(slot) = self.slot(position) {
            self.read(slot, &mut lock(&slot.known), Reading::Change);
        }
    }

    /// Returns whether root has activated what is served: `active/`, where the server's user cannot write, tells of it.
    fn is_activated(&self, slot: &LiveSlot) -> bool {
        let name = slot.md.name.as_str();
        let active: Option<Active> = self.documents.load_json(Group::Active, name, &Aspect::ActiveJson);
        let (Some(active), Some(served)) = (active, slot.served()) else { return false };
        let activated = CertificateSet::told(&self.documents, &slot.md, &active).certificates;
        served.pairs.iter().all(|(_, pair)| activated.iter().flatten().any(|own| own == pair.summary()))
    }

    fn look_at(&self, position: usize, slot: &LiveSlot, now: Timestamp) -> Look {
        let written = self.written(slot);
        let known = slot.written.load(Ordering::Relaxed);
        // What is announced is about to be read anyway.
        if written == 0 || written == known || self.is_stale(slot) {
            return Look::Known;
        }
        let at = Timestamp::from_nanosecond(written.into()).unwrap_or_default();
        if now.duration_since(at).abs() < SETTLED {
            return Look::Unsettled;
        }
        self.announce(position);
        if !self.read(slot, &mut lock(&slot.known), Reading::Change) {
            return Look::Known;
        }
        if self.is_activated(slot) {
            report!(MD0036, "{}: certificates that a2md has activated are live", slot.md.name);
        } else if self.expects_others.get().copied().unwrap_or_default() {
            report!(MD0036, "{}: certificates that another server has put into live/ are live", slot.md.name);
        } else {
            report!(MD0085, "{}: certificates that another process has put into live/ are live", slot.md.name);
        }
        Look::New
    }

    /// When the set in the store was written.
    pub(super) fn written(&self, slot: &LiveSlot) -> i64 {
        let written = self.documents.store().written(Group::Live, slot.md.name.as_str(), &Aspect::LiveJson);
        written.map_or(0, |at| at.as_nanosecond().try_into().unwrap_or(i64::MAX))
    }

    /// Sets the mark that makes other servers look for a set that this process has written. Its own server learns by the counters.
    pub(super) fn bump(&self) {
        let before = self.mark();
        match self.documents.store().bump_generation() {
            Ok(mark) => {
                let words = &self.words()[MARK];
                // If somebody else's change is not yet known here, it is to be looked for.
                let _ = words.compare_exchange(before, digest(&mark), Ordering::Relaxed, Ordering::Relaxed);
            }
            Err(err) => note!(Info, err.status(); "other servers may learn late of what is live: {err}"),
        }
    }

    fn takes_turn(&self, now: Timestamp) -> bool {
        let words = self.words();
        let period = if words[LEFT].load(Ordering::Relaxed) > 0 { PERIOD_WHILE_LEFT } else { PERIOD };
        let last = words[LOOKED].load(Ordering::Relaxed);
        let now = now.as_second() as u32;
        // A clock that was put back makes a large difference too.
        now.wrapping_sub(last) >= period
            && words[LOOKED].compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn mark(&self) -> u32 {
        let mark = self.documents.store().generation();
        let mark = mark.inspect_err(|err| note!(Debug, err.status(); "{err}"));
        mark.ok().flatten().map_or(0, |mark| digest(&mark))
    }

    /// Returns the words that all children share; where nothing is shared, each process has its own.
    fn words(&self) -> &[AtomicU32] {
        match self.counters.get() {
            Some(counters) => &counters[1 + DOMAINS..],
            None => &self.own_words,
        }
    }
}

/// The outcome of a look at some domains.
#[derive(Default)]
struct Walk {
    /// How many there were.
    passed: usize,
    /// For how many there was something new.
    found: usize,
    /// Whether a file was too young, and all are to be looked at again.
    again: bool,
}

enum Look {
    Known,
    New,
    /// The file is too young to be looked at.
    Unsettled,
}

/// Never 0, which stands for no mark.
fn digest(mark: &[u8]) -> u32 {
    let [a, b, c, d, ..] = sha256(mark).unwrap_or_default();
    u32::from_be_bytes([a, b, c, d]) | 1
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::live::tests::{counters, pair, process, put, reads, serial, server, slots};
    use crate::store::Store;
    use crate::testing::{Call, TestServer, logged, p256, watch_log};

    /// Writes a set as another server does that has only the store in common.
    fn write(server: &TestServer, name: &str) {
        put(server, name, vec![pair(&p256(), &[name], server.clock.now())]);
    }

    fn looks(server: &TestServer) -> usize {
        server.store.count(Call::Look, Group::Live, None)
    }

    fn pass(server: &TestServer, seconds: i64) {
        server.clock.advance(SignedDuration::from_secs(seconds));
    }

    #[test]
    fn what_another_server_writes_is_served_by_all_children_after_one_has_looked() {
        watch_log();
        let name = "other.foreign.test";
        let server = server(&["other.foreign.test"]);
        let shared = counters();
        let other = process(&server, counters());
        let children = [0, 1].map(|_| process(&server, shared));
        assert_eq!(children.iter().map(|child| child.look_around()).sum::<usize>(), 0);
        write(&server, name);
        other.bump();
        let before = looks(&server);
        children.iter().for_each(|child| assert_eq!((child.look_around(), serial(child)), (0, None), "not yet"));
        assert_eq!(looks(&server), before, "handshakes do not look, and nobody else before it is time");
        pass(&server, 3);
        assert_eq!(children.each_ref().map(LiveSets::look_around), [1, 0], "one child looks");
        assert!(serial(&children[0]).is_some() && serial(&children[0]) == serial(&children[1]));
        assert_eq!((reads(&server), logged("MD0085", name), logged("MD0036", name)), (2, 1, 0));
        for _ in 0..5 {
            pass(&server, 3);
            assert_eq!(children.each_ref().map(LiveSets::look_around), [0, 0]);
        }
        assert_eq!((reads(&server), logged("MD0085", name)), (2, 1), "once by each child");
    }

    #[test]
    fn sets_of_others_are_no_surprise_where_the_store_is_shared() {
        watch_log();
        let name = "shared.foreign.test";
        let mut server = server(&[name]);
        server.globals.store_locks = Some(Duration::ZERO);
        let registry = server.start(true);
        registry.live_sets.open(Some(counters()));
        write(&server, name);
        pass(&server, 3);
        assert_eq!(registry.live_sets.look_around(), 1);
        assert_eq!((logged("MD0085", name), logged("MD0036", name)), (0, 1));
    }

    #[test]
    fn copies_are_found_without_a_mark_and_where_nothing_is_shared() {
        let name = "copy.foreign.test";
        let server = server(&[name]);
        let child = process(&server, counters());
        let alone = LiveSets::new(Arc::clone(&server.documents), Arc::clone(&server.clock) as _, slots(&server));
        alone.open(None);
        let mut seen = None;
        for _ in 0..3 {
            write(&server, name);
            pass(&server, 3);
            assert_eq!((child.look_around(), alone.look_around()), (1, 1));
            let now = serial(&child);
            assert!(now.is_some() && now != seen && now == serial(&alone));
            seen = now;
        }
        // A file that is gone was moved by a start.
        server.store.purge(Group::Live, name).unwrap();
        pass(&server, 3);
        assert_eq!((child.look_around(), serial(&child)), (0, seen));
    }

    #[test]
    fn a_look_is_bounded_and_the_mark_makes_it_a_look_at_all() {
        let names: Vec<String> = (0..1000).map(|number| format!("n{number}.foreign.test")).collect();
        let server = server(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let shared = counters();
        let [child, worker] = [0, 1].map(|_| process(&server, shared));
        let look = |child: &LiveSets| {
            let before = looks(&server);
            pass(&server, 3);
            let found = child.look_around();
            (found, looks(&server) - before)
        };
        for _ in 0..4 {
            assert_eq!(look(&child), (0, SLICE + 1));
        }
        // A set without a mark is found in the round; with the mark it is found at once.
        write(&server, &names[999]);
        let found: usize = (0..4).map(|_| look(&child).0).sum();
        assert_eq!(found, 1);
        let other = process(&server, counters());
        write(&server, &names[500]);
        other.bump();
        assert_eq!(look(&child), (1, 1000 + 2), "one of them is read");
        // Those who have published have nothing to look for.
        server.store.save(Group::Live, &names[7], &Aspect::LiveJson, b"{}").unwrap();
        worker.look_for(7);
        worker.bump();
        assert_eq!(look(&child).1, SLICE + 1);
    }

    /// Returns what the next look finds, and how many files it looks at.
    fn look(server: &TestServer, child: &LiveSets, seconds: i64) -> (usize, usize) {
        let before = looks(server);
        pass(server, seconds);
        let found = child.look_around();
        (found, looks(server) - before)
    }

    #[test]
    fn where_the_watch_tells_of_changes_nobody_looks_for_them() {
        let names = ["a.watched.test", "b.watched.test", "c.watched.test"];
        let server = server(&names);
        server.store.let_watch();
        write(&server, names[0]);
        let child = process(&server, counters());
        for _ in 0..100 {
            assert_eq!(look(&server, &child, 3), (0, 0), "the start has read it");
        }
        // With a mark or without.
        write(&server, names[1]);
        let (found, files) = look(&server, &child, 3);
        assert_eq!((found, files > 0, serial(&child).is_some()), (1, true, true));
        write(&server, names[1]);
        assert_eq!(look(&server, &child, 3).0, 1, "again");
        assert_eq!(look(&server, &child, 3), (0, 0));
        // What is younger than a moment comes at the next second.
        let now = server.clock.now();
        write(&server, names[2]);
        let written = server.store.written(Group::Live, names[2], &Aspect::LiveJson).unwrap();
        server.clock.advance(written.duration_since(now));
        assert_eq!(child.look_around(), 0);
        assert_eq!(look(&server, &child, 1).0 + look(&server, &child, 1).0, 1);
    }

    #[test]
    fn what_the_watch_does_not_tell_is_found_in_ten_minutes_and_in_seconds_if_it_says_so() {
        let names = ["a.missed.test", "b.missed.test"];
        let server = server(&names);
        server.store.let_watch();
        let child = process(&server, counters());
        let watch = server.store.watch_of(Group::Live);
        watch.deafen();
        write(&server, names[0]);
        for _ in 0..199 {
            assert_eq!(look(&server, &child, 3), (0, 0));
        }
        assert_eq!(look(&server, &child, 3).0, 1);
        assert_eq!(look(&server, &child, 3), (0, 0));

        watch.refuse();
        write(&server, names[0]);
        assert_eq!(look(&server, &child, 600).0, 1);
        write(&server, names[1]);
        assert_eq!(look(&server, &child, 3).0, 1, "as without a watch");
        // Children that come later have been told, too; the next start tries again.
        assert!(look(&server, &child, 3).1 > 0);
        let next = process(&server, child.counters.get().unwrap());
        assert_eq!(look(&server, &next, 3), (0, 0));
    }

    #[test]
    fn a_child_that_ends_while_it_looks_leaves_the_rest_to_the_next() {
        let name = "ends.watched.test";
        let server = server(&[name]);
        server.store.let_watch();
        let shared = counters();
        let child = process(&server, shared);
        write(&server, name);
        pass(&server, 3);
        let watch = child.watch.get().unwrap();
        child.heed_watch(&**watch, 1, server.clock.now());
        assert!(!watch.has_news(), "it has taken the news, and is gone");
        assert_eq!(look(&server, &child, 3).0, 1);
    }

    #[test]
    fn a_parent_reads_some_sets_at_a_time() {
        let names = ["a.some.test", "b.some.test", "c.some.test"];
        let server = server(&names);
        let shared = counters();
        let [child, parent] = [0, 1].map(|_| process(&server, shared));
        names.iter().for_each(|name| write(&server, name));
        assert_eq!(child.look_around(), 3);
        assert_eq!([0, 1, 2].map(|_| parent.refresh_some(2)), [2, 1, 0]);
    }

    #[test]
    fn what_is_younger_than_a_moment_is_looked_at_again_at_once() {
        let name = "young.foreign.test";
        let server = server(&[name]);
        let child = process(&server, counters());
        let turn = |at: Timestamp| {
            server.clock.advance(at.duration_since(server.clock.now()));
            child.look_around()
        };
        assert_eq!(child.look_around(), 0);
        write(&server, name);
        let written = server.store.written(Group::Live, name, &Aspect::LiveJson).unwrap();
        assert_eq!((turn(written), serial(&child)), (0, None));
        assert_eq!(turn(written + SETTLED * 2), 1, "before the usual time");
    }

    #[test]
    fn a_renewal_does_not_begin_where_somebody_else_was_first() {
        for is_staged in [true, false] {
            let name = format!("first{is_staged}.foreign.test");
            let server = server(&[&name]);
            let renewals = server.run(true);
            server.clock.advance(SignedDuration::from_hours(24 * 70));
            write(&server, &name);
            if !is_staged {
                server.store.purge(Group::Staging, &name).unwrap();
            }
            let live = || server.text(Group::Live, &name, &Aspect::LiveJson);
            let foreign = live();
            for _ in 0..3 {
                server.go_on(&renewals);
                assert_eq!((server.ca.ordered().len(), live() == foreign), (1, true), "staged: {is_staged}");
                assert_eq!(server.store.exists(Group::Staging, &name, &Aspect::MdJson), is_staged);
                server.clock.advance(SignedDuration::from_hours(24));
            }
            server.clock.advance(SignedDuration::from_hours(24 * 10));
            server.go_on(&renewals);
            assert_eq!((server.ca.ordered().len(), live() == foreign), (2, false), "due again");
        }
    }
}
