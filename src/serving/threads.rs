//! Threads of a child: counted from before they start until they have ended, told to stop, and waited for.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;

/// The time after which a child that waits for commands sees that it is to wait no longer.
const POLL: Duration = Duration::from_millis(100);

/// The reason why a thread was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The process is the parent: children would inherit the handle of a thread that they do not have.
    #[error("threads run in children only")]
    NotInChild,
    /// The child ends.
    #[error("the child is stopping")]
    Stopping,
    /// The system has no thread to give.
    #[error("cannot start a thread: {0}")]
    System(#[from] io::Error),
}

/// All threads of a child.
#[derive(Default)]
pub struct Threads {
    cancel: Cancel,
    count: Arc<Count>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Count {
    running: Mutex<usize>,
    changed: Condvar,
}

/// A thread that is waited for as long as this lives.
pub struct Running(Arc<Count>);

/// A pause that ends early when the threads are told to stop.
#[derive(Clone)]
pub struct Pause {
    count: Arc<Count>,
    cancel: Cancel,
}

impl Threads {
    /// Starts a thread that ends soon after its [`Cancel`] is set. Threads that have ended are let go.
    ///
    /// # Errors
    /// If the child ends, or the system has no thread to give.
    pub fn start(&mut self, name: &str, body: impl FnOnce(&Cancel) + Send + 'static) -> Result<(), SpawnError> {
        let running = self.attend().ok_or(SpawnError::Stopping)?;
        self.join(JoinHandle::is_finished);
        let cancel = self.cancel.clone();
        let body = move || {
            let _running = running;
            body(&cancel);
        };
        self.handles.push(thread::Builder::new().name(name.to_owned()).spawn(body)?);
        Ok(())
    }

    /// Has [`Threads::wait_idle`] wait for a thread that is not one of these. `None` once they are told to stop.
    #[must_use]
    pub fn attend(&self) -> Option<Running> {
        (!self.cancel.is_cancelled()).then(|| Running::new(&self.count))
    }

    /// Returns the pause between two runs of a thread that repeats its work.
    #[must_use]
    pub fn pause(&self) -> Pause {
        Pause { count: Arc::clone(&self.count), cancel: self.cancel.clone() }
    }

    /// Returns the flag by which all are told to stop.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Tells all threads to stop; a graceful stop leaves work alone that holds it ([`Cancel::hold`]).
    pub fn stop(&self, graceful: bool) {
        if graceful {
            self.cancel.wind_down();
        } else {
            self.cancel.cancel();
        }
        self.count.wake();
    }

    /// Waits until no thread runs: as long as it takes while one holds the stop, and else for `patience`. Returns how many are
    /// left.
    pub fn wait_idle(&self, patience: Duration) -> usize {
        let mut deadline = Instant::now() + patience;
        loop {
            let left = self.count.wait_idle(deadline.min(Instant::now() + POLL));
            if left == 0 || Instant::now() >= deadline {
                return left;
            }
            if self.is_holding() {
                deadline = Instant::now() + patience;
            }
        }
    }

    /// Checks whether a thread holds the stop, as a graceful one allows.
    fn is_holding(&self) -> bool {
        self.cancel.is_held() && !self.cancel.patient().is_cancelled()
    }

    /// Joins all threads, which have ended, or those that have.
    pub fn let_go(&mut self, have_all_ended: bool) {
        self.join(|handle| have_all_ended || handle.is_finished());
    }

    fn join(&mut self, which: impl Fn(&JoinHandle<()>) -> bool) {
        let (ended, others): (Vec<_>, Vec<_>) = self.handles.drain(..).partition(which);
        self.handles = others;
        for handle in ended {
            // A panic is the body's to log.
            let _ = handle.join();
        }
    }
}

impl Pause {
    /// Checks whether the threads are told to stop.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Waits for `period`, or until the threads are told to stop.
    pub fn rest(&self, period: Duration) {
        let running = lock(&self.count.running);
        drop(self.count.changed.wait_timeout_while(running, period, |_| !self.is_over()));
    }
}

impl Count {
    /// Waits until no thread runs, at most until `deadline`. Returns how many are left.
    fn wait_idle(&self, deadline: Instant) -> usize {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout_while(lock(&self.running), left, |running| *running > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes threads at rest, so that they see that they are to stop. The lock makes sure that none is between its check and
    /// its rest.
    fn wake(&self) {
        let _running = lock(&self.running);
        self.changed.notify_all();
    }
}

impl Running {
    fn new(count: &Arc<Count>) -> Self {
        *lock(&count.running) += 1;
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *lock(&self.0.running) -= 1;
        self.0.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The number behind the lock is changed in single steps, so a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// No test waits so long.
    const LONG: Duration = Duration::from_secs(60);
    const NO_TIME: Duration = Duration::ZERO;

    /// A thread that runs until the sender is dropped.
    fn busy(threads: &mut Threads) -> mpsc::Sender<()> {
        let (sender, receiver) = mpsc::channel::<()>();
        threads.start("busy", move |_| _ = receiver.recv()).unwrap();
        sender
    }

    #[test]
    fn threads_are_waited_for_until_they_end() {
        let mut threads = Threads::default();
        assert_eq!(threads.wait_idle(LONG), 0);
        let working = [busy(&mut threads), busy(&mut threads)];
        assert_eq!(threads.wait_idle(NO_TIME), 2);
        drop(working);
        assert_eq!(threads.wait_idle(LONG), 0);
        threads.let_go(true);
        assert!(threads.handles.is_empty());
    }

    #[test]
    fn threads_that_do_not_end_are_left_behind() {
        let mut threads = Threads::default();
        let working = busy(&mut threads);
        threads.stop(false);
        assert_eq!(threads.wait_idle(NO_TIME), 1);
        threads.let_go(false);
        assert_eq!(threads.handles.len(), 1);
        drop(working);
        threads.let_go(true);
    }

    #[test]
    fn nothing_starts_once_the_threads_are_to_stop() {
        for graceful in [false, true] {
            let mut threads = Threads::default();
            threads.stop(graceful);
            assert!(matches!(threads.start("late", |_| panic!("has started")), Err(SpawnError::Stopping)));
            assert!(threads.attend().is_none());
            assert_eq!(threads.wait_idle(NO_TIME), 0);
        }
    }

    #[test]
    fn a_stop_reaches_threads_at_work_and_at_rest() {
        let mut threads = Threads::default();
        let pause = threads.pause();
        threads
            .start("repeating", move |_| {
                while !pause.is_over() {
                    pause.rest(LONG);
                }
            })
            .unwrap();
        let working = busy(&mut threads);
        threads
            .start("waiting for its flag", move |cancel| {
                let _working = working;
                while !cancel.is_cancelled() {
                    thread::yield_now();
                }
            })
            .unwrap();
        threads.stop(true);
        assert_eq!(threads.wait_idle(LONG), 0);
        threads.let_go(true);
    }

    #[test]
    fn a_thread_of_another_is_waited_for() {
        let threads = Threads::default();
        let attended = threads.attend();
        assert_eq!(threads.wait_idle(NO_TIME), 1);
        drop(attended);
        assert_eq!(threads.wait_idle(NO_TIME), 0);
    }

    #[test]
    fn a_thread_that_panics_is_counted_out() {
        let mut threads = Threads::default();
        threads.start("panicking", |_| panic!("as the test wants")).unwrap();
        assert_eq!(threads.wait_idle(LONG), 0);
        threads.let_go(true);
    }

    #[test]
    fn a_hold_is_obeyed_until_the_stop_is_no_longer_graceful() {
        let threads = Threads::default();
        assert!(!threads.is_holding());
        let hold = threads.cancel().hold();
        threads.stop(true);
        assert!(threads.is_holding());
        threads.stop(false);
        assert!(!threads.is_holding());
        drop(hold);
    }
}
