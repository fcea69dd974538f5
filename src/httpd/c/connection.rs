//! Connections: the host, the pool, and notes for later requests on them.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use apache_sys as sys;

use super::fields::fields;
use super::pool::Pool;
use super::server::Server;
use crate::httpd::boundary::{Null, present};

/// A connection, as long as the hook that got it runs.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'c> {
    raw: NonNull<sys::conn_rec>,
    life: PhantomData<&'c ()>,
}

impl<'c> Connection<'c> {
    /// # Safety
    /// `raw` is NULL or a conn_rec that lives for `'c`.
    pub(in crate::httpd) unsafe fn from_raw(raw: *mut sys::conn_rec) -> Result<Self, Null> {
        Ok(Self { raw: present(raw, "connection")?, life: PhantomData })
    }

    pub(in crate::httpd) fn as_ptr(self) -> *mut sys::conn_rec {
        self.raw.as_ptr()
    }

    fields! { 'c:
        /// The host that SNI chose, or the default one of the address.
        pub base_server: Server = md_shim_connection_base_server;
        /// The address of this end.
        pub local_ip: text = md_shim_connection_local_ip;
        /// The pool that lives as long as the connection.
        pub pool: Pool = md_shim_connection_pool;
        /// The TLS state that mod_ssl handed out before the handshake, and keeps as long as that.
        pub(in crate::httpd) tls_state: raw<*mut sys::SSL> = md_shim_connection_ssl;
        main_connection: Connection = md_shim_connection_master;
        notes: raw<*mut sys::apr_table_t> = md_shim_connection_notes;
    }

    /// Returns the connection that has the socket: with HTTP/2 the one that all streams share, else this one.
    pub fn master(self) -> Self {
        self.main_connection().unwrap_or(self)
    }

    /// Checks whether the client uses TLS.
    pub fn is_tls(self) -> bool {
        // SAFETY: live by `from_raw`.
        unsafe { sys::ap_ssl_conn_is_ssl(self.master().as_ptr()) != 0 }
    }

    /// Checks whether the connection has a note of this name.
    pub fn has_note(self, name: &'static CStr) -> bool {
        // SAFETY: every connection has this table, which lives as long.
        !unsafe { sys::apr_table_get(self.notes(), name.as_ptr()) }.is_null()
    }

    /// Has httpd close the connection after the request on it, if any.
    pub fn close_soon(self) {
        // SAFETY: live by `from_raw`; its own thread.
        unsafe { sys::md_shim_connection_close_soon(self.as_ptr()) }
    }

    /// Adds a note of this name for later requests on the connection.
    pub fn set_note(self, name: &'static CStr) {
        // SAFETY: every connection has this table, which lives as long; the strings are static.
        unsafe { sys::apr_table_setn(self.notes(), name.as_ptr(), c"1".as_ptr()) }
    }
}
