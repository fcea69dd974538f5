//! Wrappers of OpenSSL's types: handshakes and the TLS settings of hosts.

use std::ffi::{c_int, c_void};
use std::ptr;

use apache_sys as sys;
use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::Id;
use openssl::ssl::{NameType, SslContext, SslMethod, SslRef, SslVersion};
use openssl::x509::X509Ref;

use super::boundary::{Null, present};
use super::c::connection::Connection;
use crate::crypto::{Certificate, TlsPair, TlsPointers};
use crate::serving::alpn::{KeyKind, PROTOCOL};
use crate::stapling::Sha1;

/// A number larger than that of OpenSSL's types of key.
const MOST_PAIRS: usize = 32;

/// A handshake, as long as the callback that got it runs, in its thread.
pub(super) struct Handshake<'h>(&'h mut SslRef);

impl<'h> Handshake<'h> {
    /// # Safety
    /// `raw` is NULL or the TLS state of a handshake that this thread is in for `'h`, and the caller has no other.
    pub(super) unsafe fn from_raw(raw: *mut sys::SSL) -> Result<Self, Null> {
        let raw = present(raw, "TLS state")?;
        // SAFETY: the caller's promise.
        Ok(Self(unsafe { SslRef::from_ptr_mut(raw.as_ptr().cast()) }))
    }

    /// Returns the handshake of a connection, only while its protocol is chosen.
    pub(super) fn of(connection: Connection<'h>) -> Option<Self> {
        // SAFETY: mod_ssl keeps the TLS state as long as the connection's handshake, which this thread is in.
        unsafe { Self::from_raw(connection.tls_state()) }.ok()
    }

    fn as_ptr(&self) -> *mut sys::SSL {
        self.0.as_ptr().cast()
    }

    /// Checks whether the certificates of the handshake must stay: the client has accepted them in an earlier handshake of the
    /// connection (RFC 5746), or they are of a challenge, which TLS 1.3 has decided by now.
    pub(super) fn is_decided(&self) -> bool {
        self.0.peer_finished(&mut []) > 0 || self.0.selected_alpn_protocol() == Some(PROTOCOL.as_bytes())
    }

    /// Returns the connection of the handshake, as mod_ssl keeps it.
    pub(super) fn connection(&self) -> Result<Connection<'h>, Null> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_ssl_connection(self.as_ptr()) };
        // SAFETY: the connection outlives its handshakes.
        unsafe { Connection::from_raw(raw) }
    }

    /// Returns the name that the client asks for (SNI).
    pub(super) fn server_name(&self) -> Option<&str> {
        self.0.servername(NameType::HOST_NAME)
    }

    /// Returns the kind of key that the handshake is bound to when the protocol is chosen: before TLS 1.3, that of the
    /// certificate that was chosen with the cipher.
    pub(super) fn key_kind(&self) -> KeyKind {
        let is_chosen = self.0.version2().is_some_and(|version| version != SslVersion::TLS1_3);
        let chosen = self.0.certificate().filter(|_| is_chosen);
        match chosen.and_then(|leaf| leaf.public_key().ok()).map(|key| key.id()) {
            None => KeyKind::Any,
            Some(Id::RSA) => KeyKind::Rsa,
            Some(_) => KeyKind::Other,
        }
    }

    /// Returns the SHA-1 of the certificate that the handshake has chosen. OpenSSL computes it once.
    pub(super) fn fingerprint(&self) -> Option<Sha1> {
        let digest = self.0.certificate()?.digest(MessageDigest::sha1()).ok()?;
        digest.as_ref().try_into().ok()
    }

    /// Has a copy of the OCSP response sent to the client. Returns whether there is memory for it.
    pub(super) fn staple(&mut self, der: &[u8]) -> bool {
        self.0.set_ocsp_status(der).is_ok()
    }

    /// Has the handshake use these certificates in place of others of the same types of key. Returns whether OpenSSL takes all;
    /// for the type of key of a refused one it keeps the former certificate.
    ///
    /// # Safety
    /// The pairs are live. OpenSSL takes references of its own.
    pub(super) unsafe fn use_pairs(&mut self, pairs: impl Iterator<Item = TlsPointers>) -> bool {
        let refused = pairs.filter(|&TlsPointers { leaf, key, issuers }| {
            // SAFETY: the caller's promise, and live by `from_raw`.
            unsafe { sys::SSL_use_cert_and_key(self.as_ptr(), leaf.cast(), key.cast(), issuers.cast(), 1) != 1 }
        });
        let all_taken = refused.count() == 0;
        if !all_taken {
            // The handshake goes on, and must not find these errors when something else fails.
            drop(ErrorStack::get());
        }
        all_taken
    }

    /// Takes all certificates out of the handshake.
    pub(super) fn clear_pairs(&mut self) {
        // SAFETY: live by `from_raw`; the handshake has copies of its own.
        unsafe { sys::SSL_certs_clear(self.as_ptr()) }
    }

    /// Makes sure that nobody resumes the session that this handshake begins.
    pub(super) fn forget_session(&mut self) {
        unsafe extern "C" fn is_not_resumable(_ssl: *mut sys::SSL, _is_forward_secure: c_int) -> c_int {
            1
        }
        // For versions up to TLS 1.2.
        // SAFETY: live by `from_raw`; the function is in the module, which outlives connections.
        unsafe { sys::SSL_set_not_resumable_session_callback(self.as_ptr(), Some(is_not_resumable)) };
        // For TLS 1.3. OpenSSL does not refuse this.
        let _ = self.0.set_num_tickets(0);
    }
}

/// Returns the security level of new TLS settings of a server; `None` if they have no certificate.
pub(super) fn level_with_certificate() -> Option<u32> {
    let context = SslContext::builder(SslMethod::tls_server()).ok()?.build();
    context.certificate().filter(|_| context.private_key().is_some())?;
    Some(context.security_level())
}

/// Sets the function that OpenSSL calls in each handshake of the host that sends a certificate, before one is chosen.
///
/// # Safety
/// `context` is live, and `certify` can be called with `data` as long as the context is used.
pub(super) unsafe fn set_certify(context: *mut sys::SSL_CTX, certify: sys::md_rs_certify_fn, data: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { sys::SSL_CTX_set_cert_cb(context, certify, data) }
}

/// Returns the certificates that mod_ssl has set up for a host, one of each type of key; `None` for one that cannot be read.
///
/// # Safety
/// `context` is live, and nobody makes handshakes of it yet.
pub(super) unsafe fn pairs(context: *mut sys::SSL_CTX) -> Vec<(TlsPointers, Option<Certificate>)> {
    const NONE: sys::md_pair = sys::md_pair { leaf: ptr::null_mut(), key: ptr::null_mut(), issuers: ptr::null_mut() };
    let mut pairs = [NONE; MOST_PAIRS];
    // SAFETY: the caller's promise, and room for so many.
    let count = unsafe { sys::md_shim_context_pairs(context, pairs.as_mut_ptr(), pairs.len()) };
    let read = |sys::md_pair { leaf, key, issuers }: &sys::md_pair| {
        // SAFETY: a certificate of the context.
        let x509 = unsafe { X509Ref::from_ptr(leaf.cast()) };
        let certificate = x509.to_der().ok().and_then(|der| Certificate::from_der(&der).ok());
        (TlsPointers { leaf: *leaf, key: *key, issuers: *issuers }, certificate)
    };
    pairs[..count].iter().map(read).collect()
}

/// Has the certificate of a pair share its private key, as OpenSSL would else compare the two in each handshake. Returns
/// whether it does.
pub(super) fn share_key(pair: &mut TlsPair) -> bool {
    let pointers = pair.pointers();
    // SAFETY: live objects; nobody else has the certificate yet, and OpenSSL takes a reference of its own to the key.
    !pointers.key.is_null() && unsafe { sys::md_shim_pair_share_key(pointers.leaf, pointers.key) != 0 }
}
