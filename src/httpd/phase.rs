//! The phase of the server: a start, a restart, a check of the configuration, or service.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr;

use apache_sys as sys;

use crate::registry::self_restart;

/// Checks whether httpd reads its configuration a first time, only to see whether it can start.
pub fn is_dry_run() -> bool {
    query(sys::AP_SQ_MAIN_STATE) == sys::AP_SQ_MS_CREATE_PRE_CONFIG
}

/// Checks whether httpd reads its configuration only to check it (`httpd -t`).
pub fn is_config_test() -> bool {
    query(sys::AP_SQ_RUN_MODE) == sys::AP_SQ_RM_CONFIG_TEST
}

/// Checks whether this process is the test that a running server makes before it restarts itself.
pub fn is_trial() -> bool {
    is_config_test() && is_defined(self_restart::TRIAL_DEFINE)
}

/// Checks whether the server has one process only (`httpd -X`).
pub fn is_alone() -> bool {
    ["DEBUG", "ONE_PROCESS"].into_iter().any(is_defined)
}

/// Checks whether this name is defined: by `-D`, or by httpd itself.
fn is_defined(name: &str) -> bool {
    // SAFETY: httpd compares the string, which lives until then, with others.
    CString::new(name).is_ok_and(|name| unsafe { sys::ap_exists_config_define(name.as_ptr()) != 0 })
}

/// Checks whether httpd reads its configuration only to list it (`httpd -D DUMP_CONFIG` and its like).
pub fn is_config_dump() -> bool {
    query(sys::AP_SQ_RUN_MODE) == sys::AP_SQ_RM_CONFIG_DUMP
}

/// Checks whether the server has run with an earlier configuration: an error would end it now.
/// The generation is 0 in the dry run, 1 at the start, and one more at every restart.
pub fn is_restart() -> bool {
    query(sys::AP_SQ_CONFIG_GEN) > 1
}

/// Checks whether children serve requests with threads.
pub fn is_threaded() -> bool {
    let mut answer = 0;
    // SAFETY: writes the answer, if there is one.
    let known = unsafe { sys::ap_mpm_query(sys::AP_MPMQ_IS_THREADED, &raw mut answer) };
    known == sys::APR_SUCCESS && answer != 0
}

/// Checks whether a handler of a signal runs that ends the process at once: the signal is blocked meanwhile.
pub(super) fn handles_end() -> bool {
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: empties the set.
    unsafe { libc::sigemptyset(blocked.as_mut_ptr()) };
    // SAFETY: without a new set it only writes the one in force.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), blocked.as_mut_ptr()) };
    // SAFETY: the set was written above.
    [libc::SIGTERM, libc::SIGHUP].into_iter().any(|signal| unsafe { libc::sigismember(blocked.as_ptr(), signal) } == 1)
}

fn query(what: i32) -> i32 {
    // SAFETY: no conditions.
    unsafe { sys::ap_state_query(what) }
}
