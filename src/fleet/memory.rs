//! An engine in memory, for tests: with a clock of its own, and with nodes that lose it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Changes, Fence, Held, Key, Live, Meeting, MeetingError, Pulse, Put, Record, Revision, SESSION, Session};
use crate::cancel::Cancel;

/// The engine.
#[derive(Clone, Default)]
pub struct Engine(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Duration,
    is_away: bool,
    forgotten: u64,
    revision: u64,
    fence: u64,
    sessions: BTreeMap<String, (Live, Duration)>,
    claims: BTreeMap<Key, (String, Fence)>,
    records: BTreeMap<Key, (Record, Option<Duration>)>,
    index: BTreeMap<Key, Revision>,
}

/// The engine as one node sees it.
#[derive(Clone)]
pub struct MemoryMeeting {
    engine: Engine,
    is_cut: Arc<Mutex<bool>>,
}

impl Engine {
    /// Connects a node.
    #[must_use]
    pub fn node(&self) -> MemoryMeeting {
        MemoryMeeting { engine: self.clone(), is_cut: Arc::default() }
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.state().now += time;
    }

    /// Takes the engine away, or brings it back.
    pub fn set_away(&self, is_away: bool) {
        self.state().is_away = is_away;
    }

    /// Loses all that the engine has, but the time.
    pub fn forget(&self) {
        let mut state = self.state();
        *state = State { now: state.now, forgotten: state.forgotten + 1, ..State::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryMeeting {
    /// Cuts this node off from the engine, or connects it again.
    pub fn set_cut(&self, is_cut: bool) {
        *self.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = is_cut;
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, MeetingError> {
        let is_cut = *self.is_cut.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.engine.state();
        if is_cut || state.is_away {
            return Err(MeetingError::Away("the engine in memory is away".to_owned()));
        }
        let now = state.now;
        state.sessions.retain(|_, (_, until)| *until > now);
        let State { records, .. } = &mut *state;
        records.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        Ok(state)
    }
}

impl State {
    fn check(&self, held: Option<&Held>) -> Result<(), MeetingError> {
        let Some(held) = held else { return Ok(()) };
        let is_had = self.claims.get(&held.key) == Some(&(held.session.clone(), held.fence));
        if is_had && self.sessions.contains_key(&held.session) { Ok(()) } else { Err(MeetingError::Lost) }
    }

    fn next(&mut self, key: &Key) -> Revision {
        self.revision += 1;
        self.index.insert(key.clone(), Revision(self.revision));
        Revision(self.revision)
    }
}

impl Meeting for MemoryMeeting {
    fn beat(&mut self, session: &Session, applied: Revision) -> Result<Pulse, MeetingError> {
        let mut state = self.state()?;
        let until = state.now + SESSION;
        state.sessions.insert(session.name(), (Live { session: session.clone(), applied }, until));
        let driver = state.claims.get(&Key::new("driver", "-")).map(|(session, _)| session.clone());
        Ok(Pulse {
            epoch: state.forgotten.to_string(),
            revision: Revision(state.revision),
            driver: driver.filter(|session| state.sessions.contains_key(session)),
            sessions: state.sessions.values().map(|(live, _)| live.clone()).collect(),
        })
    }

    fn leave(&mut self, session: &str) -> Result<(), MeetingError> {
        self.state()?.sessions.remove(session);
        Ok(())
    }

    fn claim(&mut self, key: &Key, session: &Session) -> Result<Option<Held>, MeetingError> {
        let mut state = self.state()?;
        let session = session.name();
        if !state.sessions.contains_key(&session) {
            return Err(MeetingError::Lost);
        }
        let other = state.claims.get(key).filter(|(by, _)| *by != session);
        if other.is_some_and(|(by, _)| state.sessions.contains_key(by)) {
            return Ok(None);
        }
        let time = u64::try_from(state.now.as_millis()).unwrap_or(u64::MAX);
        state.fence = time.max(state.fence + 1);
        let fence = Fence(state.fence);
        state.claims.insert(key.clone(), (session.clone(), fence));
        Ok(Some(Held { key: key.clone(), session, fence }))
    }

    fn free(&mut self, held: &Held) -> Result<(), MeetingError> {
        let mut state = self.state()?;
        if state.claims.get(&held.key).is_some_and(|(_, fence)| *fence == held.fence) {
            state.claims.remove(&held.key);
        }
        Ok(())
    }

    fn get(&mut self, key: &Key) -> Result<Option<Record>, MeetingError> {
        Ok(self.state()?.records.get(key).map(|(record, _)| record.clone()))
    }

    fn put(&mut self, put: &Put<'_>) -> Result<Option<Revision>, MeetingError> {
        let mut state = self.state()?;
        state.check(put.held)?;
        let there = state.records.get(put.key).map_or(Revision(0), |(record, _)| record.revision);
        if put.over.is_some_and(|over| over != there) {
            return Ok(None);
        }
        let revision = state.next(put.key);
        let fence = put.held.map_or(Fence(0), |held| held.fence);
        let until = put.life.map(|life| state.now + life);
        state.records.insert(put.key.clone(), (Record { revision, fence, bytes: put.bytes.to_vec() }, until));
        Ok(Some(revision))
    }

    fn remove(&mut self, key: &Key, held: Option<&Held>) -> Result<(), MeetingError> {
        let mut state = self.state()?;
        state.check(held)?;
        if state.records.remove(key).is_some() {
            state.next(key);
        }
        Ok(())
    }

    fn changes(&mut self, epoch: &str, since: Revision) -> Result<Changes, MeetingError> {
        let state = self.state()?;
        if epoch != state.forgotten.to_string() {
            return Ok(Changes::Everything);
        }
        let later = state.index.iter().filter(|(_, revision)| **revision > since);
        let mut keys: Vec<_> =
            later.map(|(key, revision)| (key.clone(), *revision, !state.records.contains_key(key))).collect();
        keys.sort_by_key(|(_, revision, _)| *revision);
        Ok(Changes::Keys(keys))
    }

    fn wait(&mut self, _: Revision, _: Duration, _: &Cancel) -> Result<(), MeetingError> {
        self.state().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::super::run_suite;
    use super::*;

    #[test]
    fn the_engine_in_memory_keeps_the_contract() {
        let engine = Engine::default();
        let passing = engine.clone();
        run_suite(&mut || Ok(Box::new(engine.node())), &|time| passing.pass(time), SESSION).unwrap();
    }

    #[test]
    fn an_engine_that_forgets_knows_no_claim_and_counts_on() {
        let engine = Engine::default();
        let mut node = engine.node();
        let session = super::super::suite::session("a");
        engine.pass(Duration::from_secs(1_000_000));
        let before = node.beat(&session, Revision(0)).unwrap();
        let key = Key::new("md", "a.test");
        let held = node.claim(&key, &session).unwrap().unwrap();
        engine.forget();
        assert_eq!(node.put(&Put::new(&key, b"x").under(&held)), Err(MeetingError::Lost));
        engine.pass(Duration::from_secs(1));
        let after = node.beat(&session, Revision(0)).unwrap();
        assert_ne!(before.epoch, after.epoch);
        assert_eq!(node.changes(&before.epoch, before.revision), Ok(Changes::Everything));
        assert!(node.claim(&key, &session).unwrap().unwrap().fence > held.fence);
    }

    #[test]
    fn a_node_that_is_cut_off_is_alone() {
        let engine = Engine::default();
        let (mut one, mut two) = (engine.node(), engine.node());
        one.set_cut(true);
        assert!(matches!(one.get(&Key::new("cert", "x")), Err(MeetingError::Away(_))));
        assert_eq!(two.get(&Key::new("cert", "x")), Ok(None));
        one.set_cut(false);
        engine.set_away(true);
        assert!(one.leave("x").is_err() && two.leave("x").is_err());
    }
}
