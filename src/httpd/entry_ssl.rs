//! The functions that TLS calls about certificates and staples: at the start for each certificate and host, and in handshakes.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::slice;

use apache_sys as sys;

use super::boundary::{Null, guard, present};
use super::c::pool::{Pool, text};
use super::c::server::Server;
use super::certificates;
use super::entry::add_files;
use super::live::{self, Certify};
use super::own_files::{self, Beside};
use super::ssl::{self, Handshake};
use super::stapling;
use crate::clock::{Clock, SystemClock};
use crate::crypto::TlsPointers;
use crate::sets::TlsSet;
use crate::stapling::{Sha1, Staple};

// A signature that differs from the header's does not compile.
const _: sys::md_rs_ocsp_prime_fn = Some(md_rs_ocsp_prime);
const _: sys::md_rs_ocsp_response_fn = Some(md_rs_ocsp_response);
const _: sys::md_rs_init_server_fn = Some(md_rs_init_server);
const _: sys::md_rs_status_request_fn = Some(md_rs_status_request);
const _: sys::md_rs_certify_fn = Some(md_rs_certify);
const _: sys::md_rs_certify_fn = Some(md_rs_certify_beside);

/// The result of a callback for status requests that has set a response.
const STAPLED: c_int = 0;
/// The result of a callback for status requests that has none.
const NOTHING: c_int = 3;

/// The result of a callback for certificates with which the handshake goes on.
const GO_ON: c_int = 1;

/// A TLS host whose status requests come to this module.
struct StatusRequests {
    host: NonNull<sys::server_rec>,
    /// The callback of mod_ssl, which still answers for certificates of others.
    former: sys::md_status_callback,
}

/// Tells a TLS module whether a certificate needs no stapling of its own: this module staples it, or it is a placeholder, which
/// has no issuer and no responder. mod_ssl would log errors about it.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_ocsp_prime(
    server: *mut sys::server_rec,
    _pool: *mut sys::apr_pool_t,
    id: *const c_char,
    length: sys::apr_size_t,
    pem: *const c_char,
) -> c_int {
    guard("ssl_ocsp_prime", sys::DECLINED, || {
        // SAFETY: a server of the configuration being set up.
        let server = unsafe { Server::from_raw(server) }?;
        // SAFETY: `id` has `length` bytes while the hook runs.
        let is_known = unsafe { fingerprint(id, length) }?.is_some();
        // SAFETY: NULL or a C string that lives while the hook runs.
        let pem = unsafe { text(pem) }.unwrap_or_default();
        let host = &server.config()?.host;
        // Of a lazy host mod_ssl knows the certificate that no client sees.
        let is_done =
            host.has_placeholder() || host.lazy().is_some() || is_known && stapling::prime(server, pem.as_bytes())?;
        Ok(if is_done { sys::OK } else { sys::DECLINED })
    })
}

/// Hands a TLS module the response to staple to a certificate.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_ocsp_response(
    server: *mut sys::server_rec,
    _connection: *mut sys::conn_rec,
    id: *const c_char,
    length: sys::apr_size_t,
    copy: sys::ap_ssl_ocsp_copy_resp,
    data: *mut c_void,
) -> c_int {
    guard("ssl_ocsp_get_resp", sys::DECLINED, || {
        // SAFETY: the server that the connection is for.
        let server = unsafe { Server::from_raw(server) }?;
        // SAFETY: `id` has `length` bytes while the hook runs.
        let sha1 = unsafe { fingerprint(id, length) }?;
        let copy = copy.ok_or(Null("function for a response"))?;
        let staple = sha1.map_or(Ok(Staple::NotOurs), |sha1| stapling::staple(server, &sha1))?;
        let response = match &staple {
            Staple::NotOurs => return Ok(sys::DECLINED),
            Staple::None => &[],
            Staple::Response(der) => &**der,
        };
        let first = if response.is_empty() { ptr::null() } else { response.as_ptr() };
        // SAFETY: the caller's function with the caller's data; it copies the bytes, NULL and 0 stand for none.
        unsafe { copy(first, response.len(), data) };
        Ok(sys::OK)
    })
}

/// Sets the callbacks of a host that mod_ssl has set up.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_init_server(
    server: *mut sys::server_rec,
    pool: *mut sys::apr_pool_t,
    is_proxy: c_int,
    context: *mut sys::SSL_CTX,
) -> c_int {
    guard("init_server", sys::OK, || {
        if is_proxy != 0 {
            return Ok(sys::OK);
        }
        let raw = present(server, "server")?;
        let context = present(context, "TLS settings")?.as_ptr();
        // SAFETY: a server of the configuration being set up.
        let server = unsafe { Server::from_raw(server) }?;
        // SAFETY: the configuration's pool; mod_ssl frees the context when that is cleared.
        let pool = unsafe { Pool::from_raw(pool) }?;
        if stapling::init_host(server)? {
            // SAFETY: the live context of the host, which is gone before the pool and the server.
            unsafe { take_status_requests(raw, pool, context) };
        }
        if let Some((arrays, files)) = certificates::take_later(server)? {
            // SAFETY: mod_ssl's arrays, as long as the configuration.
            unsafe { add_files(arrays, &files) }?;
        }
        let goes_live = live::init_host(server)?;
        if server.config()?.host.has_own_files() {
            // SAFETY: as above.
            let pairs = unsafe { ssl::pairs(context) };
            if let Some(beside) = own_files::init_host(server, raw, pairs, goes_live)? {
                let data = pool.keep_raw(beside).cast();
                // SAFETY: as above; the data lives as long as the context is used.
                unsafe { ssl::set_certify(context, Some(md_rs_certify_beside), data) };
            }
        } else if goes_live || server.config()?.host.lazy().is_some() {
            // SAFETY: as above; the server is the data of the callback.
            unsafe { ssl::set_certify(context, Some(md_rs_certify), raw.as_ptr().cast()) };
        }
        Ok(sys::OK)
    })
}

/// Has OpenSSL ask this module first for responses: mod_ssl asks only for certificates that it knew at the start.
///
/// # Safety
/// `context` is live, and gone before `pool` and `host`.
unsafe fn take_status_requests(host: NonNull<sys::server_rec>, pool: Pool<'_>, context: *mut sys::SSL_CTX) {
    // SAFETY: the caller's promise.
    let former = unsafe { sys::md_shim_context_status_callback(context) };
    let data = pool.keep_raw(StatusRequests { host, former });
    let ours = sys::md_status_callback { answer: Some(md_rs_status_request), data: data.cast() };
    // SAFETY: the caller's promise; the data lives as long as the context is used.
    unsafe { sys::md_shim_context_set_status_callback(context, ours) };
}

/// Sets the certificates of a handshake, before one is chosen, for a host whose sets go live. After a panic the handshake has
/// those of the start.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_certify(ssl: *mut sys::SSL, data: *mut c_void) -> c_int {
    guard("certify", GO_ON, || {
        // SAFETY: set in `md_rs_init_server`: the host, which outlives its handshakes.
        let server = unsafe { Server::from_raw(data.cast()) }?;
        // SAFETY: OpenSSL's handshake, in its thread.
        let mut handshake = unsafe { Handshake::from_raw(ssl) }?;
        if handshake.is_decided() {
            return Ok(GO_ON);
        }
        let is_placeholder = match live::certify(server)? {
            Certify::AsStarted => false,
            Certify::Placeholder => true,
            Certify::Set(set) => !use_set(&mut handshake, &set) && live::warn_of_refusal(server, &set)?,
            Certify::Lazy(at_start, live) => {
                // The certificate that mod_ssl knows of may be of another type of key.
                handshake.clear_pairs();
                use_set(&mut handshake, &at_start);
                match live {
                    Some(live) if !use_set(&mut handshake, &live) => live::warn_of_refusal(server, &live)?,
                    _ => false,
                }
            }
        };
        if is_placeholder {
            handshake.forget_session();
            live::mark_placeholder(handshake.connection()?);
        }
        Ok(GO_ON)
    })
}

/// Sets the certificates of a handshake, before one is chosen, for a host that has certificate files of its own: those of its
/// domain, and those of files that are good for a type of key that the domain lacks. After a panic the handshake has those of
/// the start.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_certify_beside(ssl: *mut sys::SSL, data: *mut c_void) -> c_int {
    guard("certify_beside", GO_ON, || {
        let beside = present(data.cast::<Beside>(), "data of the callback for certificates")?;
        // SAFETY: set in `md_rs_init_server`, and in its pool as long as there are handshakes. Shared access only.
        let beside = unsafe { beside.as_ref() };
        // SAFETY: a server of the same configuration.
        let server = unsafe { Server::from_raw(beside.host.as_ptr()) }?;
        // SAFETY: OpenSSL's handshake, in its thread.
        let mut handshake = unsafe { Handshake::from_raw(ssl) }?;
        if handshake.is_decided() {
            return Ok(GO_ON);
        }
        let set = match live::certify(server)? {
            Certify::Set(set) => Some(set),
            // A host with files of its own is never lazy.
            _ if beside.pairs.managed.is_empty() => return Ok(GO_ON),
            _ => None,
        };
        let good = beside.pairs.good_at(SystemClock.now());
        // SAFETY: the pairs are in the host's context, which outlives its handshakes.
        let is_used = unsafe { use_in_layers(&mut handshake, good, beside, set.as_deref()) };
        if let (Some(set), false) = (&set, is_used) {
            live::warn_of_refusal(server, set)?;
            if beside.pairs.managed.is_empty() {
                // SAFETY: as above.
                unsafe { use_in_layers(&mut handshake, beside.pairs.all_own(), beside, Some(set)) };
            }
        }
        Ok(GO_ON)
    })
}

/// Has the handshake use these certificates: for each type of key those of the host's files give way to those of its domain,
/// and those of the start to the set that is live. Returns whether OpenSSL takes all.
///
/// # Safety
/// The pairs of files and of the start are live.
unsafe fn use_in_layers(
    handshake: &mut Handshake<'_>,
    own: impl Iterator<Item = TlsPointers>,
    beside: &Beside,
    set: Option<&TlsSet>,
) -> bool {
    handshake.clear_pairs();
    // SAFETY: the caller's promise.
    let is_base_used = unsafe { handshake.use_pairs(own.chain(beside.pairs.managed.iter().copied())) };
    set.is_none_or(|set| use_set(handshake, set)) && is_base_used
}

/// Has the handshake use a set in place of the certificates that the host has had since its start, each in place of the one of
/// its type of key. Returns whether OpenSSL takes all: the host may want longer keys than others (`@SECLEVEL` in
/// `SSLCipherSuite`), and keeps the former certificate of that type of key then.
fn use_set(handshake: &mut Handshake<'_>, set: &TlsSet) -> bool {
    // SAFETY: the pairs live as long as the set.
    unsafe { handshake.use_pairs(set.pairs.iter().map(|(_, pair)| pair.pointers())) }
}

/// Answers a client that asks for the status of the certificate that the handshake has chosen (RFC 6066 section 8).
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_status_request(ssl: *mut sys::SSL, data: *mut c_void) -> c_int {
    guard("status_request", NOTHING, || {
        let requests = present(data.cast::<StatusRequests>(), "data of the status callback")?;
        // SAFETY: set in `md_rs_init_server`, and in its pool as long as there are handshakes. Shared access only.
        let StatusRequests { host, former } = unsafe { requests.as_ref() };
        // SAFETY: a server of the same configuration.
        let server = unsafe { Server::from_raw(host.as_ptr()) }?;
        // SAFETY: OpenSSL's handshake, in its thread.
        let mut handshake = unsafe { Handshake::from_raw(ssl) }?;
        let sha1 = handshake.fingerprint();
        Ok(match sha1.map_or(Ok(Staple::NotOurs), |sha1| stapling::staple(server, &sha1))? {
            Staple::Response(der) if handshake.staple(&der) => STAPLED,
            Staple::Response(_) | Staple::None => NOTHING,
            // SAFETY: the callback as it was found, with its own data.
            Staple::NotOurs => former.answer.map_or(NOTHING, |answer| unsafe { answer(ssl, former.data) }),
        })
    })
}

/// Returns the SHA-1 of a certificate, by which mod_ssl names it; `None` for any other kind of name.
///
/// # Safety
/// `id` is NULL or has `length` bytes.
unsafe fn fingerprint(id: *const c_char, length: usize) -> Result<Option<Sha1>, Null> {
    let id = present(id.cast::<u8>(), "id of a certificate")?;
    // SAFETY: the caller's promise.
    let id = unsafe { slice::from_raw_parts(id.as_ptr(), length) };
    Ok(id.try_into().ok())
}
