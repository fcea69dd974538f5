//! Requests: what they ask, and how to answer.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;

use apache_sys as sys;

use super::connection::Connection;
use super::pool::{Pool, text};
use super::server::Server;
use crate::httpd::boundary::{Null, present};
use crate::model::DomainName;

/// A request, for as long as the hook that got it runs.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    raw: NonNull<sys::request_rec>,
    life: PhantomData<&'r ()>,
}

/// What a hook did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: others have their turn.
    Declined,
    /// The response is written.
    Written,
    /// httpd makes the response for this HTTP status.
    Status(u16),
}

impl<'r> Request<'r> {
    /// # Safety
    /// `raw` is NULL or a request_rec that lives for `'r`.
    pub(in crate::httpd) unsafe fn from_raw(raw: *mut sys::request_rec) -> Result<Self, Null> {
        Ok(Self { raw: present(raw, "request")?, life: PhantomData })
    }

    pub(in crate::httpd) fn as_ptr(self) -> *mut sys::request_rec {
        self.raw.as_ptr()
    }

    /// `GET`, `POST` and so on. HEAD says `HEAD` here; see [`Request::is_get_or_head`].
    pub fn method(self) -> Option<&'r str> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_request_method(self.as_ptr()) };
        // SAFETY: in the request's pool.
        unsafe { text(raw) }
    }

    /// Whether the request only reads.
    pub fn is_get_or_head(self) -> bool {
        // SAFETY: live by `from_raw`; httpd gives HEAD the number of GET.
        unsafe { sys::md_shim_request_method_number(self.as_ptr()) == sys::M_GET }
    }

    /// What `SetHandler` and its like chose.
    pub fn handler(self) -> Option<&'r str> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_request_handler(self.as_ptr()) };
        // SAFETY: in the request's or the configuration's pool.
        unsafe { text(raw) }
    }

    /// The host that the client named; `None` if that is no name.
    pub fn hostname(self) -> Option<DomainName> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_request_hostname(self.as_ptr()) };
        // SAFETY: in the request's pool.
        DomainName::parse(unsafe { text(raw) }?).ok()
    }

    /// The name to use for this server in links, by the rules of `UseCanonicalName`; `None` if that is no name.
    pub fn server_name(self) -> Option<DomainName> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::ap_get_server_name(self.as_ptr()) };
        // SAFETY: in the request's or the configuration's pool.
        DomainName::parse(unsafe { text(raw) }?).ok()
    }

    /// The path as the client sent it, still percent-encoded.
    pub fn path(self) -> Option<&'r str> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_request_path(self.as_ptr()) };
        // SAFETY: in the request's pool.
        unsafe { text(raw) }
    }

    /// What follows the handler's own path.
    pub fn path_info(self) -> Option<&'r str> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_request_path_info(self.as_ptr()) };
        // SAFETY: in the request's pool.
        unsafe { text(raw) }
    }

    /// What follows `?`.
    pub fn query(self) -> Option<&'r str> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_request_query(self.as_ptr()) };
        // SAFETY: in the request's pool.
        unsafe { text(raw) }
    }

    /// A header of the request.
    pub fn header(self, name: &CStr) -> Option<&'r str> {
        // SAFETY: live by `from_raw`.
        let table = unsafe { sys::md_shim_request_headers_in(self.as_ptr()) };
        // SAFETY: every request has this table, of strings in the request's pool.
        let raw = unsafe { sys::apr_table_get(table, name.as_ptr()) };
        // SAFETY: as above.
        unsafe { text(raw) }
    }

    /// A header that is already in the response.
    pub fn response_header(self, name: &CStr) -> Option<&'r str> {
        // SAFETY: live by `from_raw`.
        let table = unsafe { sys::md_shim_request_headers_out(self.as_ptr()) };
        // SAFETY: every request has this table, of strings in the request's pool.
        let raw = unsafe { sys::apr_table_get(table, name.as_ptr()) };
        // SAFETY: as above.
        unsafe { text(raw) }
    }

    /// Sets a header of a normal response.
    pub fn set_header(self, name: &'static CStr, value: &str) {
        // SAFETY: live by `from_raw`.
        let table = unsafe { sys::md_shim_request_headers_out(self.as_ptr()) };
        self.set(table, name, value);
    }

    /// Sets a header that stays when httpd makes an error document.
    pub fn set_error_header(self, name: &'static CStr, value: &str) {
        // SAFETY: live by `from_raw`.
        let table = unsafe { sys::md_shim_request_error_headers_out(self.as_ptr()) };
        self.set(table, name, value);
    }

    /// Sets a header of the response, whoever makes that, unless it is set there.
    pub fn promise_header(self, name: &'static CStr, value: &'static CStr) {
        // SAFETY: live by `from_raw`; the strings are static, though in the module, which outlives requests.
        unsafe { sys::md_shim_add_header_filter(self.as_ptr(), name.as_ptr(), value.as_ptr()) }
    }

    fn set(self, table: *mut sys::apr_table_t, name: &'static CStr, value: &str) {
        let value = self.pool().map(|pool| pool.string(value));
        if let Ok(value) = value {
            // SAFETY: a table of this request; the name is static, though in the module, which outlives requests.
            unsafe { sys::apr_table_setn(table, name.as_ptr(), value.as_ptr()) }
        }
    }

    /// Writes a whole response with its length; a request body that was sent along is read and dropped first.
    pub fn respond(self, status: u16, content_type: Option<&'static CStr>, body: &[u8]) -> Answer {
        // SAFETY: live by `from_raw`.
        let drained = unsafe { sys::ap_discard_request_body(self.as_ptr()) };
        if drained != sys::OK {
            return u16::try_from(drained).map_or(Answer::Written, Answer::Status);
        }
        // SAFETY: live by `from_raw`.
        unsafe { sys::md_shim_request_set_status(self.as_ptr(), c_int::from(status)) };
        if let Some(content_type) = content_type {
            // SAFETY: live by `from_raw`; the string is static.
            unsafe { sys::ap_set_content_type(self.as_ptr(), content_type.as_ptr()) };
        }
        // SAFETY: live by `from_raw`. A slice is never longer than isize::MAX.
        unsafe { sys::ap_set_content_length(self.as_ptr(), body.len() as sys::apr_off_t) };
        self.write(body);
        Answer::Written
    }

    /// Adds to a response that somebody has begun.
    pub fn write(self, body: &[u8]) {
        for part in body.chunks(c_int::MAX as usize) {
            // SAFETY: `part` is readable for its length; httpd copies it or sends it before it returns.
            unsafe { sys::ap_rwrite(part.as_ptr().cast(), part.len() as c_int, self.as_ptr()) };
        }
    }

    /// The pool that lives as long as the request.
    pub fn pool(self) -> Result<Pool<'r>, Null> {
        // SAFETY: live by `from_raw`.
        let pool = unsafe { sys::md_shim_request_pool(self.as_ptr()) };
        // SAFETY: the request lives in it.
        unsafe { Pool::from_raw(pool) }
    }

    /// The connection; with HTTP/2 one of the several that share a socket.
    pub fn connection(self) -> Result<Connection<'r>, Null> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_request_connection(self.as_ptr()) };
        // SAFETY: a connection outlives its requests.
        unsafe { Connection::from_raw(raw) }
    }

    /// The host that the request is for.
    pub fn server(self) -> Result<Server<'r>, Null> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_request_server(self.as_ptr()) };
        // SAFETY: the configuration outlives requests.
        unsafe { Server::from_raw(raw) }
    }
}
