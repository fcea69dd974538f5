//! Periodic work through mod_watchdog: one thread, in one child of the server at a time.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use apache_sys as sys;

use super::boundary::{Stop, guard, present};
use super::c::pool::Pool;
use super::{phase, threads};
use crate::log::{self, Message, Record};
use crate::model::Status;

/// The reason of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The work begins in this child.
    Start,
    /// The interval is over.
    Run,
    /// The child stops. Not every child that stops is told so: see [`threads`] for a reliable end.
    Stop,
}

/// Why periodic work cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchdogError {
    /// mod_watchdog is not loaded.
    #[error("mod_watchdog is required")]
    Missing,
    /// mod_watchdog has no instance for us; the status is APR's.
    #[error("cannot create the watchdog")]
    Instance(i32),
    /// mod_watchdog does not take the callback; the status is APR's.
    #[error("cannot register the watchdog's callback")]
    Callback(i32),
}

/// The messages about work that cannot be registered.
pub struct Failures {
    /// The message for [`WatchdogError::Missing`].
    pub missing: Message,
    /// The message for [`WatchdogError::Instance`].
    pub instance: Message,
    /// The message for [`WatchdogError::Callback`].
    pub callback: Message,
}

/// A function that the server calls. Returns the time until the next call, if that is to change.
///
/// A call holds the lock that a next generation waits for, so it has to be short. Longer work belongs on [`threads`].
pub type Callback = Box<dyn FnMut(Occasion) -> Option<Duration> + Send>;

struct Job {
    handle: *mut sys::ap_watchdog_t,
    callback: Mutex<Callback>,
}

/// Registers work without which a server does not start; a server that runs goes on without.
pub fn require(
    name: &'static CStr,
    delay: Duration,
    pconf: Pool<'_>,
    failures: &Failures,
    callback: Callback,
) -> Result<(), Stop> {
    let Err(err) = register(name, delay, pconf, callback) else { return Ok(()) };
    let (Message { number, level }, status, advice) = match err {
        WatchdogError::Missing => (failures.missing, Status::OK, ", load it with LoadModule watchdog_module"),
        WatchdogError::Instance(status) => (failures.instance, Status(status), ""),
        WatchdogError::Callback(status) => (failures.callback, Status(status), ""),
    };
    log::write(&Record { level, number: Some(number), status, text: format_args!("{err}{advice}") });
    if phase::is_restart() { Ok(()) } else { Err(Stop) }
}

/// Registers work for the configuration of `pconf`, before mod_watchdog's post_config. The first call comes after `delay`.
fn register(name: &'static CStr, delay: Duration, pconf: Pool<'_>, callback: Callback) -> Result<(), WatchdogError> {
    // SAFETY: no conditions.
    if unsafe { sys::md_shim_watchdog_loaded() } == 0 {
        return Err(WatchdogError::Missing);
    }
    let mut handle = ptr::null_mut();
    // SAFETY: `handle` is ours to write; the name is static in the module, which stays loaded as long as `pconf`.
    let status = unsafe { sys::md_shim_watchdog_create(&raw mut handle, name.as_ptr(), pconf.as_ptr()) };
    if status != sys::APR_SUCCESS {
        return Err(WatchdogError::Instance(status));
    }
    let job: *mut Job = pconf.keep_raw(Job { handle, callback: Mutex::new(callback) });
    // SAFETY: mod_watchdog keeps the pointer as long as `pconf`, which drops the job.
    match unsafe { sys::md_shim_watchdog_start(handle, interval(delay), job.cast()) } {
        sys::APR_SUCCESS => Ok(()),
        status => Err(WatchdogError::Callback(status)),
    }
}

const _: sys::md_rs_watchdog_fn = Some(md_rs_watchdog);

/// Runs the work. Always succeeds: mod_watchdog never calls again what has returned an error.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_watchdog(state: c_int, data: *mut c_void, _pool: *mut sys::apr_pool_t) -> sys::apr_status_t {
    guard("watchdog", sys::APR_SUCCESS, || {
        let job = present(data.cast::<Job>(), "data of the watchdog")?;
        // SAFETY: registered in `register`; mod_watchdog joins its threads before the pool goes. Shared access only.
        let job = unsafe { job.as_ref() };
        let occasion = match state {
            sys::AP_WATCHDOG_STATE_STARTING => Occasion::Start,
            sys::AP_WATCHDOG_STATE_STOPPING => Occasion::Stop,
            _ => Occasion::Run,
        };
        // mod_watchdog does not wait for its threads where a child ends by itself.
        let attended = threads::attend();
        if occasion == Occasion::Run && attended.is_none() {
            return Ok(sys::APR_SUCCESS);
        }
        // A callback that panicked is called again: the state it keeps is its own to check.
        let mut callback = job.callback.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = callback(occasion) {
            // SAFETY: the handle of this job's instance, from its own thread.
            unsafe { sys::md_shim_watchdog_interval(job.handle, interval(next), data) };
        }
        Ok(sys::APR_SUCCESS)
    })
}

/// Returns a time as APR counts it, in microseconds.
fn interval(time: Duration) -> sys::apr_interval_time_t {
    time.as_micros().try_into().unwrap_or(sys::apr_interval_time_t::MAX)
}
