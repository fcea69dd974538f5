//! Handshakes and TLS settings of hosts, as OpenSSL has them.

use std::ffi::{c_int, c_uchar};
use std::ptr;

use apache_sys as sys;
use foreign_types::ForeignTypeRef;
use openssl::hash::MessageDigest;
use openssl::pkey::Id;
use openssl::ssl::{SslRef, SslVersion};
use openssl::x509::X509Ref;

use super::boundary::{Null, present};
use super::c::connection::Connection;
use super::c::pool::Pool;
use crate::crypto::{Certificate, TlsPair, TlsPointers};
use crate::registry::Sha1;

/// A function that OpenSSL calls in each handshake that sends a certificate, before one is chosen, with data of its own.
pub(super) type Certify<T> = unsafe extern "C" fn(*mut sys::SSL, *mut T) -> c_int;

/// More types of key than OpenSSL has.
const MOST_PAIRS: usize = 32;

/// The kind of key that a handshake is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Any will do.
    Any,
    /// RSA.
    Rsa,
    /// Of a curve.
    Other,
}
