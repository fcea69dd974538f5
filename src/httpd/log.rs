//! The server's error log as the sink for messages.

use std::ffi::{CString, c_int};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use apache_sys as sys;

use super::c::connection::Connection;
use super::c::pool::Pool;
use super::c::request::Request;
use crate::log::{self, Level, Record, Sink};

// The numbers of both scales are the same: a level is passed on as it is.
const _: () = assert!(Level::Emergency as c_int == sys::APLOG_EMERG);
const _: () = assert!(Level::Error as c_int == sys::APLOG_ERR);
const _: () = assert!(Level::Trace2 as c_int == sys::APLOG_TRACE2);

/// The server whose log takes messages without a request; NULL (stderr) while no configuration is in force.
///
/// Written in pre_config and by the clean-up of its pool, when there is one thread; read by any thread after that.
static SERVER: AtomicPtr<sys::server_rec> = AtomicPtr::new(ptr::null_mut());

/// The log of the main server; httpd locks the file itself.
struct ServerLog;

impl Sink for ServerLog {
    fn enabled(&self, level: Level) -> bool {
        // SAFETY: NULL or the server_rec of the configuration in force; `attach` forgets it before the pool is cleared.
        unsafe { sys::md_shim_log_enabled(SERVER.load(Ordering::Acquire), level as c_int) != 0 }
    }

    fn write(&self, record: &Record<'_>) {
        let text = line(record);
        let server = SERVER.load(Ordering::Acquire);
        // SAFETY: as in `enabled`; httpd copies the text.
        unsafe { sys::md_shim_log_server(server, record.level as c_int, record.status.to_log().0, text.as_ptr()) }
    }
}

/// Sends all messages to the server; to stderr, until a configuration is in force.
pub(super) fn install() {
    log::install(Some(&ServerLog));
}

/// Sends messages to the main server's log for as long as `pconf` lives.
pub(super) fn attach(pconf: Pool<'_>) {
    // SAFETY: httpd sets ap_server_conf before it runs pre_config and writes it only in the one thread of the parent.
    let server = unsafe { sys::ap_server_conf };
    SERVER.store(server, Ordering::Release);
    pconf.on_cleanup(|| SERVER.store(ptr::null_mut(), Ordering::Release));
}

/// Writes to the log of the host that the request is for, with the client's address.
pub fn for_request(request: Request<'_>, record: &Record<'_>) {
    let text = line(record);
    // SAFETY: a wrapper holds a live request_rec; the text is copied.
    unsafe {
        sys::md_shim_log_request(request.as_ptr(), record.level as c_int, record.status.to_log().0, text.as_ptr())
    }
}

/// Writes to the log of the connection's host, with the client's address.
pub fn for_connection(connection: Connection<'_>, record: &Record<'_>) {
    let text = line(record);
    // SAFETY: a wrapper holds a live conn_rec; the text is copied.
    unsafe {
        sys::md_shim_log_connection(connection.as_ptr(), record.level as c_int, record.status.to_log().0, text.as_ptr())
    }
}

/// Returns the line that httpd prints: number, colon, text.
fn line(record: &Record<'_>) -> CString {
    let text = match record.number {
        Some(number) => format!("{number}: {}", record.text),
        None => record.text.to_string(),
    };
    CString::new(log::line_of_log(&text)).unwrap_or_default()
}
