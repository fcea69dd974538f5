//! Connections, and what is said of them to TLS.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use apache_sys as sys;

use super::pool::Pool;
use super::server::Server;
use crate::httpd::boundary::{Null, present};

/// A connection, for as long as the hook that got it runs.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'c> {
    raw: NonNull<sys::conn_rec>,
    life: PhantomData<&'c ()>,
}

/// A kind of key, as far as TLS 1.2 has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Any will do.
    Any,
    /// RSA.
    Rsa,
    /// Of a curve.
    Other,
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

    /// The connection that has the socket: with HTTP/2 the one all streams share, else this one.
    pub fn master(self) -> Self {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_connection_master(self.as_ptr()) };
        // SAFETY: NULL or a connection that outlives its streams.
        unsafe { Self::from_raw(raw) }.unwrap_or(self)
    }

    /// Whether the client talks TLS to us.
    pub fn is_tls(self) -> bool {
        // SAFETY: live by `from_raw`.
        unsafe { sys::ap_ssl_conn_is_ssl(self.master().as_ptr()) != 0 }
    }

    /// The host that SNI chose, or the default one of the address.
    pub fn base_server(self) -> Result<Server<'c>, Null> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_connection_base_server(self.as_ptr()) };
        // SAFETY: the configuration outlives connections.
        unsafe { Server::from_raw(raw) }
    }

    /// The pool that lives as long as the connection.
    pub fn pool(self) -> Result<Pool<'c>, Null> {
        // SAFETY: live by `from_raw`.
        let pool = unsafe { sys::md_shim_connection_pool(self.as_ptr()) };
        // SAFETY: the connection lives in it.
        unsafe { Pool::from_raw(pool) }
    }

    /// Whether the connection was marked.
    pub fn has_note(self, name: &'static CStr) -> bool {
        // SAFETY: live by `from_raw`; every connection has notes.
        let notes = unsafe { sys::md_shim_connection_notes(self.as_ptr()) };
        // SAFETY: a live table.
        !unsafe { sys::apr_table_get(notes, name.as_ptr()) }.is_null()
    }

    /// The kind of key that its handshake is bound to; only while the protocol is chosen.
    pub fn key_kind(self) -> KeyKind {
        // SAFETY: live by `from_raw`; mod_ssl keeps the TLS state as long as the connection's handshake.
        match unsafe { sys::md_shim_connection_key_kind(self.as_ptr()) } {
            sys::MD_KEY_RSA => KeyKind::Rsa,
            sys::MD_KEY_OTHER => KeyKind::Other,
            _ => KeyKind::Any,
        }
    }

    /// Takes the host's certificates out of its handshake; only while the protocol is chosen.
    pub fn clear_certificates(self) {
        // SAFETY: live by `from_raw`; mod_ssl keeps the TLS state, whose copies of the certificates these are, as long as the
        // handshake, in this thread.
        unsafe { sys::md_shim_connection_clear_certificates(self.as_ptr()) }
    }

    /// Has httpd close the connection after the request on it, if there is one.
    pub fn close_soon(self) {
        // SAFETY: live by `from_raw`; its own thread.
        unsafe { sys::md_shim_connection_close_soon(self.as_ptr()) }
    }

    /// Marks the connection for later requests on it.
    pub fn set_note(self, name: &'static CStr) {
        // SAFETY: live by `from_raw`; every connection has notes.
        let notes = unsafe { sys::md_shim_connection_notes(self.as_ptr()) };
        // SAFETY: a live table; the strings are static.
        unsafe { sys::apr_table_setn(notes, name.as_ptr(), c"1".as_ptr()) }
    }
}
