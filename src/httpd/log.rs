//! The server's error log as the sink for messages.

use std::ffi::{CString, c_int};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use apache_sys as sys;

use super::pool::Pool;
use super::request::{Connection, Request};

/// How much a message matters; the numbers are httpd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are those of LogLevel")]
pub enum Level {
    Emerg = 0,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
    Trace1,
    Trace2,
    Trace3,
    Trace4,
    Trace5,
    Trace6,
    Trace7,
    Trace8,
}

/// One message for the log.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Compared with `LogLevel`.
    pub level: Level,
    /// `AH10056` and the like; scanners extract it.
    pub number: Option<&'static str>,
    /// An APR status that httpd prints as "(code)text: ", or 0.
    pub status: i32,
    /// The message, with no end of line.
    pub text: &'a str,
}

/// The server that messages without a request go to; NULL (stderr) while no configuration is in force.
///
/// Written in pre_config and by the clean-up of its pool, when there is one thread; read by any thread after that.
static SERVER: AtomicPtr<sys::server_rec> = AtomicPtr::new(ptr::null_mut());

/// Sends messages to the main server's log for as long as `pconf` lives.
pub(super) fn attach(pconf: Pool<'_>) {
    // SAFETY: httpd sets ap_server_conf before it runs pre_config and writes it only in the one thread of the parent.
    let server = unsafe { sys::ap_server_conf };
    SERVER.store(server, Ordering::Release);
    pconf.on_cleanup(|| SERVER.store(ptr::null_mut(), Ordering::Release));
}

/// Writes to the main server's log; callable from every thread.
pub fn sink(record: &Record<'_>) {
    let server = SERVER.load(Ordering::Acquire);
    let level = record.level as c_int;
    // SAFETY: NULL or the server_rec of the configuration in force; `attach` forgets it before the pool is cleared.
    if unsafe { sys::md_shim_log_enabled(server, level) } != 0 {
        let text = line(record);
        // SAFETY: as above; ap_log_error copies the text, and locks the log file itself.
        unsafe { sys::md_shim_log_server(server, level, record.status, text.as_ptr()) }
    }
}

/// Whether the main server's `LogLevel` lets this level through: asked before an expensive text is made.
pub fn enabled(level: Level) -> bool {
    // SAFETY: see `sink`.
    unsafe { sys::md_shim_log_enabled(SERVER.load(Ordering::Acquire), level as c_int) != 0 }
}

/// Writes to the log of the host that the request is for, with the client's address.
pub fn for_request(request: Request<'_>, record: &Record<'_>) {
    let text = line(record);
    // SAFETY: a wrapper holds a live request_rec; the text is copied.
    unsafe { sys::md_shim_log_request(request.as_ptr(), record.level as c_int, record.status, text.as_ptr()) }
}

/// Writes to the log of the connection's host, with the client's address.
pub fn for_connection(connection: Connection<'_>, record: &Record<'_>) {
    let text = line(record);
    // SAFETY: a wrapper holds a live conn_rec; the text is copied.
    unsafe { sys::md_shim_log_connection(connection.as_ptr(), record.level as c_int, record.status, text.as_ptr()) }
}

/// Reports a fault of our own that the boundary caught.
pub(super) fn internal(text: &str) {
    sink(&Record { level: Level::Error, number: Some("MD0001"), status: 0, text });
}

/// What httpd prints: number, colon, text. A NUL, which would end the line early, becomes a blank.
fn line(record: &Record<'_>) -> CString {
    let text = match record.number {
        Some(number) => format!("{number}: {}", record.text),
        None => record.text.to_owned(),
    };
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}
