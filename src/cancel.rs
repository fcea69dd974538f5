//! A flag by which one thread asks others to stop.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A request to stop, shared by all clones. It cannot be taken back.
///
/// [`Cancel::wind_down`] ends work that can be continued later, but not the holders of a [`Cancel::patient`] clone.
/// [`Cancel::cancel`] ends those, too.
#[derive(Clone, Default)]
pub struct Cancel {
    state: Arc<State>,
    is_patient: bool,
    /// The place of the worker that has this clone.
    place: Option<Arc<dyn Place>>,
}

/// The place of a worker among others, of which there may be so many. A worker that waits for a command needs none.
pub trait Place: Send + Sync {
    /// Frees the place for another worker; `false` if that cannot be.
    fn step_aside(&self) -> bool;
    /// Takes a place again.
    fn step_back(&self);
}

/// A wait outside of a worker's place, which ends when it is dropped.
pub struct Aside(Option<Arc<dyn Place>>);

#[derive(Debug, Default)]
struct State {
    winds_down: AtomicBool,
    at_once: AtomicBool,
    /// Number of [`Hold`]s: work that only [`Cancel::cancel`] ends.
    held: AtomicUsize,
}

/// Work that is completed while all else winds down.
pub struct Hold(Arc<State>);

impl Cancel {
    /// Asks all holders to stop.
    pub fn cancel(&self) {
        self.state.at_once.store(true, Ordering::Relaxed);
        self.wind_down();
    }

    /// Asks the holders to stop whose clone is not patient.
    pub fn wind_down(&self) {
        self.state.winds_down.store(true, Ordering::Relaxed);
    }

    /// Whether the holder of this clone was asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let flag = if self.is_patient { &self.state.at_once } else { &self.state.winds_down };
        flag.load(Ordering::Relaxed)
    }

    /// Returns a clone that only [`Cancel::cancel`] reaches.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { is_patient: true, ..self.clone() }
    }

    /// Returns a clone for a worker that has this place.
    #[must_use]
    pub fn at(&self, place: Arc<dyn Place>) -> Self {
        Self { place: Some(place), ..self.clone() }
    }

    /// Frees the place of the worker, if it has one, as long as the result lives.
    pub fn step_aside(&self) -> Aside {
        Aside(self.place.clone().filter(|place| place.step_aside()))
    }

    /// Marks work in progress: as long as the result lives, those who wait for the end of all work know that it may take a
    /// while.
    pub fn hold(&self) -> Hold {
        self.state.held.fetch_add(1, Ordering::Relaxed);
        Hold(Arc::clone(&self.state))
    }

    /// Whether a [`Hold`] lives.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state.held.load(Ordering::Relaxed) > 0
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancel")
            .field("state", &self.state)
            .field("is_patient", &self.is_patient)
            .finish_non_exhaustive()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(place) = &self.0 {
            place.step_back();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_the_flag() {
        let cancel = Cancel::default();
        let copy = cancel.clone();
        assert!(!copy.is_cancelled());
        cancel.cancel();
        assert!(copy.is_cancelled() && copy.patient().is_cancelled());
    }

    #[test]
    fn a_patient_copy_is_reached_by_the_second_way_only() {
        let cancel = Cancel::default();
        let patient = cancel.patient();
        cancel.wind_down();
        assert!(cancel.is_cancelled() && !patient.is_cancelled());
        patient.cancel();
        assert!(patient.is_cancelled());
    }

    #[test]
    fn a_place_is_free_while_its_worker_is_aside_if_it_can_be() {
        struct Counted(AtomicUsize, bool);
        impl Place for Counted {
            fn step_aside(&self) -> bool {
                self.0.fetch_add(1, Ordering::Relaxed);
                self.1
            }
            fn step_back(&self) {
                self.0.fetch_add(10, Ordering::Relaxed);
            }
        }
        for (can_be, expected) in [(true, 11), (false, 1)] {
            let place = Arc::new(Counted(AtomicUsize::new(0), can_be));
            let cancel = Cancel::default().at(Arc::clone(&place) as _).patient();
            drop(cancel.step_aside());
            assert_eq!(place.0.load(Ordering::Relaxed), expected);
        }
        drop(Cancel::default().step_aside());
    }

    #[test]
    fn a_hold_counts_until_it_is_dropped() {
        let cancel = Cancel::default();
        let hold = cancel.patient().hold();
        assert!(cancel.is_held());
        drop(hold);
        assert!(!cancel.is_held());
    }
}
