//! A flag by which one thread asks others to stop.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Asks whoever holds a copy to end what it does. Cannot be taken back.
///
/// There are two ways to ask. [`Cancel::wind_down`] ends what can be gone on with later, and leaves alone what asks a
/// [`Cancel::patient`] copy. [`Cancel::cancel`] ends that, too.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    state: Arc<State>,
    is_patient: bool,
}

#[derive(Debug, Default)]
struct State {
    winds_down: AtomicBool,
    at_once: AtomicBool,
    /// How many are at work that only [`Cancel::cancel`] ends.
    held: AtomicUsize,
}

/// Work that is brought to its end though all else winds down.
pub struct Hold(Arc<State>);

impl Cancel {
    /// Asks everybody.
    pub fn cancel(&self) {
        self.state.at_once.store(true, Ordering::Relaxed);
        self.wind_down();
    }

    /// Asks those whose copy is not patient.
    pub fn wind_down(&self) {
        self.state.winds_down.store(true, Ordering::Relaxed);
    }

    /// Whether the holder of this copy was asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let flag = if self.is_patient { &self.state.at_once } else { &self.state.winds_down };
        flag.load(Ordering::Relaxed)
    }

    /// A copy that only [`Cancel::cancel`] reaches.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { is_patient: true, ..self.clone() }
    }

    /// For as long as the answer lives, whoever waits for the end of all work knows that some of it may take its time.
    pub fn hold(&self) -> Hold {
        self.state.held.fetch_add(1, Ordering::Relaxed);
        Hold(Arc::clone(&self.state))
    }

    /// Whether work goes on that has a [`Hold`].
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state.held.load(Ordering::Relaxed) > 0
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
    fn a_hold_counts_until_it_is_dropped() {
        let cancel = Cancel::default();
        let hold = cancel.patient().hold();
        assert!(cancel.is_held());
        drop(hold);
        assert!(!cancel.is_held());
    }
}
