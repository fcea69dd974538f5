//! Requests and their responses.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;

use apache_sys as sys;

use super::connection::Connection;
use super::fields::fields;
use super::pool::{Pool, text};
use super::server::Server;
use crate::httpd::boundary::{Null, present};
use crate::model::DomainName;

/// A request, as long as the hook that got it runs.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    raw: NonNull<sys::request_rec>,
    life: PhantomData<&'r ()>,
}

/// The result of a hook for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The hook did nothing: other modules are asked.
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

    fields! { 'r:
        /// The handler that `SetHandler` and its like chose.
        pub handler: text = md_shim_request_handler;
        /// The path as the client sent it, still percent-encoded.
        pub path: text = md_shim_request_path;
        /// The part of the path that follows the handler's own.
        pub path_info: text = md_shim_request_path_info;
        /// The part of the URL that follows `?`.
        pub query: text = md_shim_request_query;
        /// The pool that lives as long as the request.
        pub pool: Pool = md_shim_request_pool;
        /// The connection; with HTTP/2 one of the several that share a socket.
        pub connection: Connection = md_shim_request_connection;
        /// The host that the request is for.
        pub server: Server = md_shim_request_server;
        host_as_sent: text = md_shim_request_hostname;
        server_name_as_set: text = ap_get_server_name;
        headers_in: raw<*mut sys::apr_table_t> = md_shim_request_headers_in;
        headers_out: raw<*mut sys::apr_table_t> = md_shim_request_headers_out;
        error_headers_out: raw<*mut sys::apr_table_t> = md_shim_request_error_headers_out;
        method_number: raw<c_int> = md_shim_request_method_number;
    }

    /// Returns the path of a `<Location>` of the request's server, or the main one, with `SetHandler` and this name.
    pub fn location_of(self, handler: &CStr) -> Option<&'r str> {
        // SAFETY: live by `from_raw`; httpd's core has a configuration for every server, and for every section of it.
        let path = unsafe { sys::md_shim_request_location(self.as_ptr(), handler.as_ptr()) };
        // SAFETY: NULL or a string in the configuration's pool, which outlives the request.
        unsafe { text(path) }
    }

    /// Checks whether the method is GET or HEAD, to which httpd gives the number of GET.
    pub fn is_get_or_head(self) -> bool {
        self.method_number() == sys::M_GET
    }

    /// Returns the host that the client named; `None` if that is no domain name.
    pub fn hostname(self) -> Option<DomainName> {
        DomainName::parse(self.host_as_sent()?).ok()
    }

    /// Returns the name of this server in links, by the rules of `UseCanonicalName`; `None` if that is no domain name.
    pub fn server_name(self) -> Option<DomainName> {
        DomainName::parse(self.server_name_as_set()?).ok()
    }

    /// Returns a header of the request.
    pub fn header(self, name: &CStr) -> Option<&'r str> {
        // SAFETY: every request has this table, of strings in the request's pool.
        let raw = unsafe { sys::apr_table_get(self.headers_in(), name.as_ptr()) };
        // SAFETY: as above.
        unsafe { text(raw) }
    }

    /// Sets a header of a normal response.
    pub fn set_header(self, name: &'static CStr, value: &str) {
        self.set(self.headers_out(), name, value);
    }

    /// Sets a header that stays when httpd makes an error document.
    pub fn set_error_header(self, name: &'static CStr, value: &str) {
        self.set(self.error_headers_out(), name, value);
    }

    /// Sets a header of the response, whichever module makes that, unless it has the header.
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

    /// Writes a whole response with its length. The body of the request is read and dropped first.
    pub fn respond(self, status: u16, content_type: &'static CStr, body: &[u8]) -> Answer {
        // SAFETY: live by `from_raw`.
        let drained = unsafe { sys::ap_discard_request_body(self.as_ptr()) };
        if drained != sys::OK {
            return u16::try_from(drained).map_or(Answer::Written, Answer::Status);
        }
        // SAFETY: live by `from_raw`.
        unsafe { sys::md_shim_request_set_status(self.as_ptr(), c_int::from(status)) };
        // SAFETY: live by `from_raw`; the string is static.
        unsafe { sys::ap_set_content_type(self.as_ptr(), content_type.as_ptr()) };
        // SAFETY: live by `from_raw`. A slice is never longer than isize::MAX.
        unsafe { sys::ap_set_content_length(self.as_ptr(), body.len() as sys::apr_off_t) };
        self.write(body);
        Answer::Written
    }

    /// Adds to the body of the response.
    pub fn write(self, body: &[u8]) {
        for part in body.chunks(c_int::MAX as usize) {
            // SAFETY: `part` is readable for its length; httpd copies it or sends it before it returns.
            unsafe { sys::ap_rwrite(part.as_ptr().cast(), part.len() as c_int, self.as_ptr()) };
        }
    }
}
