//! Threads of a child: started with all signals blocked, cancelled when the child is told to stop, joined before its pool goes.
//!
//! A graceful stop leaves commands for events alone: the child waits for them. From then on the parent's SIGTERM tells that
//! they are to end, too: httpd has no hook by which a child that drains would learn of a stop.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::boundary::guard;
use super::c::pool::Pool;
use super::phase;
use crate::cancel::Cancel;
use crate::log::{note, report};
use crate::serving::threads::{Running, SpawnError, Threads};

/// The time that the end of a child waits for threads: the parent repeats SIGTERM after 3 s, and other modules need time, too.
const PATIENCE: Duration = Duration::from_secs(2);

/// The threads of the child. Always `None` in the parent, and once the end of the child has begun.
static CHILD: Mutex<Option<Threads>> = Mutex::new(None);

/// Starts a thread that ends soon after its [`Cancel`] is set. A panic in it is logged and ends only the thread.
pub fn spawn(name: &str, body: impl FnOnce(&Cancel) + Send + 'static) -> Result<(), SpawnError> {
    let mut guarded = lock(&CHILD);
    let child = guarded.as_mut().ok_or(SpawnError::NotInChild)?;
    let body = move |cancel: &Cancel| {
        guard("thread", (), || {
            body(cancel);
            Ok(())
        });
    };
    with_signals_blocked(|| child.start(name, body))
}

/// Starts `count` threads for the same work. `lost` is called for each that cannot be started.
pub fn spawn_each(count: usize, name: &str, body: impl Fn(&Cancel) + Clone + Send + 'static, lost: impl Fn()) {
    for _ in 0..count {
        if let Err(err) = spawn(name, body.clone()) {
            lost();
            note!(Debug, "thread {name} is not started: {err}");
        }
    }
}

/// Starts a thread that runs `body` at once, and again and again with a pause of `period`, until the child is told to stop.
///
/// A panic in it is logged and ends that run only.
pub fn repeat(name: &'static str, period: Duration, mut body: impl FnMut() + Send + 'static) -> Result<(), SpawnError> {
    let pause = lock(&CHILD).as_ref().map(Threads::pause).ok_or(SpawnError::NotInChild)?;
    spawn(name, move |_| {
        while !pause.is_over() {
            guard(name, (), || {
                body();
                Ok(())
            });
            pause.rest(period);
        }
    })
}

/// Has the end of the child wait for a thread of another module, as long as the result lives. `None` outside of a child, and
/// once its end has begun.
pub(super) fn attend() -> Option<Attended> {
    let running = lock(&CHILD).as_ref()?.attend()?;
    Some(Attended { _running: running })
}

/// A thread of another module that is waited for.
pub(super) struct Attended {
    _running: Running,
}

impl Drop for Attended {
    /// Frees what OpenSSL keeps for the thread: it may end while the process takes OpenSSL down.
    fn drop(&mut self) {
        unsafe extern "C" {
            fn OPENSSL_thread_stop();
        }
        // SAFETY: no conditions; the thread may use OpenSSL again.
        unsafe { OPENSSL_thread_stop() }
    }
}

/// Tells all threads to end, without waiting: the child may have connections that live for long.
pub(super) fn cancel(graceful: bool) {
    let is_threaded = phase::is_threaded();
    // Prefork never says that a stop is graceful. A stop that is not comes from the handler of the signal that ends the child.
    let graceful = graceful || !is_threaded && !phase::handles_end();
    if let Some(child) = lock(&CHILD).as_ref() {
        child.stop(graceful);
    }
    // With prefork SIGTERM ends the child at any time, by httpd's own handler.
    if graceful && is_threaded {
        handle_sigterm();
    }
}

/// Makes threads possible, and has them end before `pchild` is cleared.
pub(super) fn enter_child(pchild: Pool<'_>) {
    let child = Threads::default();
    // Set once: there is one child_init in a process.
    let _ = SIGTERM.set(child.cancel().clone());
    *lock(&CHILD) = Some(child);
    pchild.before_cleanup(end);
}

/// The flag that the parent's SIGTERM sets in a child that drains.
static SIGTERM: OnceLock<Cancel> = OnceLock::new();

/// Has the parent's SIGTERM end commands. By now httpd only waits for its threads, and does nothing at the signal. A child that
/// has served its share of connections sends the signal to itself.
fn handle_sigterm() {
    extern "C" fn on_sigterm(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        // SAFETY: the kernel passes a live siginfo_t to a handler with SA_SIGINFO.
        let info = unsafe { &*info };
        // SAFETY: SIGTERM comes from a process, whose number it has.
        let sender = unsafe { info.si_pid() };
        // SAFETY: no conditions; allowed in a handler.
        if sender == unsafe { libc::getppid() } {
            // Atomic loads and stores only.
            SIGTERM.get().into_iter().for_each(Cancel::cancel);
        }
    }
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are a good `sigaction`: no flags, and the default action.
    let wanted = unsafe { action.assume_init_mut() };
    wanted.sa_sigaction = on_sigterm as *const () as libc::sighandler_t;
    // Without SA_RESTART: the signal interrupts system calls, as with httpd's own handler.
    wanted.sa_flags = libc::SA_SIGINFO;
    // SAFETY: `wanted` is complete, and the handler is in this module, which stays loaded until the process ends.
    unsafe { libc::sigaction(libc::SIGTERM, wanted, ptr::null_mut()) };
}

fn end() {
    let Some(mut child) = lock(&CHILD).take() else { return };
    // An end without child_stopping before it is not graceful.
    child.stop(child.cancel().is_cancelled());
    if child.cancel().is_held() {
        handle_sigterm();
    }
    let left = child.wait_idle(PATIENCE);
    child.let_go(left == 0);
    if left > 0 {
        abandon(left);
    }
}

/// Ends the process at the begin of `exit`, whose clean-ups would unload the module and take OpenSSL apart under threads that
/// still run. The pools of the child are cleared before that. A thread cannot be interrupted while it makes an RSA key, or is in
/// a system call; what it has saved is enough to go on with.
fn abandon(count: usize) {
    report!(
        MD0003,
        "this child ends while {count} of its threads are at work: another child goes on with that, now or after the next start"
    );
    extern "C" fn leave() {
        // SAFETY: no conditions; it does not return.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: `leave` is in this module, which is unloaded by exit handlers that were registered before and so run after it.
    unsafe { libc::atexit(leave) };
}

/// Runs `body` with every signal blocked, which a thread started in it inherits: httpd's handler for SIGTERM calls exit.
fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut old = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: writes a whole set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` was filled; `old` is ours to write.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) };
    let result = body();
    // SAFETY: the call above wrote `old`: it fails only for an unknown first argument.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut()) };
    result
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Data behind these locks is changed in single steps, so a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
