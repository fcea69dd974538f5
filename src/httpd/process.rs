//! The process of the server: its ids, paths, memory, and the handle that it keeps.

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::ptr::NonNull;

use apache_sys as sys;
use jiff::Timestamp;

use super::c::pool::{Pool, text};

/// The key of the kept handle's number in the process's pool.
const KEPT_HANDLE: &CStr = c"mod_md_rs_handle";

/// Returns user and group id of the children, of `User` and `Group`; known from check_config on.
pub fn worker_ids() -> (u32, u32) {
    let config = &raw const sys::ap_unixd_config;
    // SAFETY: a variable of httpd, written while directives are read, in the parent's only thread.
    let uid = unsafe { (*config).user_id };
    // SAFETY: as above.
    (uid, unsafe { (*config).group_id })
}

/// Returns the minute of the local day.
pub fn local_minute(now: Timestamp) -> u16 {
    let seconds: libc::time_t = now.as_second();
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both are live; it writes one `tm`, or nothing for a year that does not fit, and zeros are a good `tm` but for the
    // time zone's name, which is not looked at.
    unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    // SAFETY: see above.
    let parts = unsafe { parts.assume_init_ref() };
    u16::try_from(parts.tm_hour * 60 + parts.tm_min).unwrap_or(0)
}

/// Ends the process without any clean-up.
pub fn leave(code: i32) -> ! {
    // SAFETY: no conditions; it does not return.
    unsafe { libc::_exit(code) }
}

/// Returns the server's name and version as `ServerTokens` allows.
pub fn banner() -> &'static str {
    // SAFETY: no conditions; never NULL once the configuration is read.
    let raw = unsafe { sys::ap_get_server_banner() };
    // SAFETY: NULL or in the process's pool or httpd's program text.
    unsafe { text(raw) }.unwrap_or_default()
}

/// Returns the server's name and version without those of its modules.
pub fn base_version() -> &'static str {
    banner().split(' ').next().unwrap_or_default()
}

/// Returns a path of the configuration, below `ServerRoot` unless it is absolute; `None` if the text cannot be a path.
pub fn server_path(pool: Pool<'_>, path: &str) -> Option<PathBuf> {
    // SAFETY: the pool is live, the string NUL-terminated; httpd answers NULL for what is not a path.
    let raw = unsafe { sys::ap_server_root_relative(pool.as_ptr(), pool.string(path).as_ptr()) };
    // SAFETY: NULL or in the pool.
    unsafe { text(raw) }.map(PathBuf::from)
}

/// Returns a path in the directory of state files, which httpd 2.5 and the 2.4 of Red Hat have; `None` with others.
pub fn state_path(pool: Pool<'_>, path: &str) -> Option<PathBuf> {
    type StateDirRelative = unsafe extern "C" fn(*mut sys::apr_pool_t, *const c_char) -> *mut c_char;
    // SAFETY: a C string; the symbol is looked up in what the process has loaded, and nothing is run.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"ap_state_dir_relative".as_ptr()) };
    // SAFETY: NULL is `None`, and httpd declares the function of that name so.
    let state_dir_relative = unsafe { std::mem::transmute::<*mut c_void, Option<StateDirRelative>>(found) }?;
    // SAFETY: the pool is live, the string NUL-terminated; httpd answers NULL for what is not a path.
    let raw = unsafe { state_dir_relative(pool.as_ptr(), pool.string(path).as_ptr()) };
    // SAFETY: NULL or in the pool.
    unsafe { text(raw) }.map(PathBuf::from)
}

/// Returns the handle that this server keeps open as long as it runs, if there is one.
pub fn kept_handle(process: Pool<'_>) -> Option<BorrowedFd<'_>> {
    let number = process.user_data(KEPT_HANDLE)?;
    // SAFETY: `keep_handle` stored a string of the same pool.
    let number = unsafe { text(number.as_ptr().cast()) }?.parse().ok()?;
    // SAFETY: open until `keep_handle` stores another, which starts do one after the other, in one thread.
    Some(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Keeps a handle in place of the former. The process's pool has its number: the module is unloaded at every restart and cannot
/// own a handle.
pub fn keep_handle(process: Pool<'_>, handle: OwnedFd) {
    let former = kept_handle(process).map(|handle| handle.as_raw_fd());
    let number = process.string(handle.into_raw_fd().to_string());
    process.set_user_data(KEPT_HANDLE, NonNull::from(number).cast());
    if let Some(former) = former {
        // SAFETY: kept by an earlier call of this function, and its number is known to nobody any more.
        drop(unsafe { OwnedFd::from_raw_fd(former) });
    }
}

/// Gives memory that the start has freed back to the system, before children are forked from it.
#[cfg(target_env = "gnu")]
pub fn trim_memory() {
    // SAFETY: glibc's own; it takes its locks itself and moves nothing that is in use.
    unsafe { libc::malloc_trim(0) };
    // Pieces of pages stay. glibc sorts them at the next request for more than the largest of them, which writes to all these
    // pages: here once, or else in each child, which gets its own copies of them. From 128 KB on glibc would ask the system.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(100_000)));
}

/// Does nothing: other C libraries give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn trim_memory() {}

/// Keeps libcurl in the process when httpd unloads the module at a restart: of the two dozen libraries that come with it, some
/// leave memory behind each time they are loaded and unloaded.
pub(super) fn keep_libcurl() {
    let flags = libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: a C string; the library is in the process already, as the module is linked with it, so nothing is run.
    unsafe { libc::dlopen(c"libcurl.so.4".as_ptr(), flags) };
}
