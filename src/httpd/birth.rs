//! The certificate that the TLS settings of a host have from birth, while mod_ssl sets up hosts whose certificates handshakes decode.
//! mod_ssl is given no files of such a host and insists on a certificate all the same.

use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use apache_sys as sys;

use super::boundary::{Null, guard, present};
use super::c::pool::Pool;
use super::ssl;
use crate::clock::{Clock, SystemClock};
use crate::crypto::{Chain, CryptoError, PrivateKey, TlsPair, issuer_of_self_signed};
use crate::log::note;
use crate::model::KeySpec;

/// The security level of OpenSSL that this certificate meets, and with it each certificate that a CA issues today.
const USUAL_LEVEL: u32 = 2;

/// The certificate's name of itself.
const NAME: &str = "mod_md: decoded at the first handshake";

/// The longest life of the certificate, in days: nobody is to accept it, ever.
const DAYS: u32 = 1;

struct Birth {
    pair: TlsPair,
    /// The index of OpenSSL's data by which `born` is called.
    index: c_int,
    /// The part of the pair that the next TLS settings get.
    expected: Expected,
}

/// The part of the pair that TLS settings of a host have from birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Nothing,
    /// The certificate.
    Leaf,
    /// The certificate and its issuer: mod_ssl asks who staples a certificate only if the issuer is there, too, and complains of one
    /// that it is to staple without.
    Chain,
}

static BIRTH: Mutex<Option<Birth>> = Mutex::new(None);

/// Prepares a certificate for TLS settings that are made while `pool` lives. Returns whether this OpenSSL plays along.
pub fn open(pool: Pool<'_>) -> bool {
    close();
    let opened = make().map(|pair| {
        // SAFETY: the function is in the module, which outlives the pool; `close` has OpenSSL forget the function before.
        let index = unsafe {
            sys::CRYPTO_get_ex_new_index(sys::CRYPTO_EX_INDEX_SSL_CTX, 0, ptr::null_mut(), Some(born), None, None)
        };
        *birth() = Some(Birth { pair, index, expected: Expected::Nothing });
    });
    pool.before_cleanup(close);
    let works = opened.is_ok_and(|()| works());
    if !works {
        note!(
            Info,
            "mod_ssl reads all certificates at the start: this OpenSSL makes no TLS settings with a certificate"
        );
        close();
    }
    works
}

/// Says what the next TLS settings of a host get.
pub fn expect(expected: Expected) {
    if let Some(birth) = &mut *birth() {
        birth.expected = expected;
    }
}

fn make() -> Result<TlsPair, CryptoError> {
    let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() })?;
    let certificate = issuer_of_self_signed(&key, NAME, SystemClock.now(), DAYS)?;
    let mut pair = TlsPair::new(&key, &Chain::of(vec![certificate.clone(), certificate]))?;
    // Settings are made by the thousand, and OpenSSL compares key and certificate twice for each.
    pair.share_key(ssl::share_key)?;
    Ok(pair)
}

/// Checks on new TLS settings that they get the certificate, and that OpenSSL's policy is the usual one.
fn works() -> bool {
    expect(Expected::Chain);
    let level = ssl::level_with_certificate();
    expect(Expected::Nothing);
    level.is_some_and(|level| level <= USUAL_LEVEL)
}

fn close() {
    // Outside of the lock: OpenSSL has one of its own, under which it calls `born`.
    let former = birth().take();
    if let Some(birth) = former {
        // SAFETY: the index comes from `open`, and nobody else has it.
        unsafe { sys::CRYPTO_free_ex_index(sys::CRYPTO_EX_INDEX_SSL_CTX, birth.index) };
    }
}

/// Gives new TLS settings of a server the certificate, if they are expected.
unsafe extern "C" fn born(
    parent: *mut c_void,
    _data: *mut c_void,
    _all: *mut sys::CRYPTO_EX_DATA,
    _index: c_int,
    _number: c_long,
    _argument: *mut c_void,
) {
    guard("birth of TLS settings", (), || {
        let context = present(parent.cast::<sys::SSL_CTX>(), "TLS settings")?.as_ptr();
        // SAFETY: settings that OpenSSL is making, with their method.
        let method = unsafe { sys::SSL_CTX_get_ssl_method(context) };
        // SAFETY: no conditions.
        let is_client = ptr::eq(method, unsafe { sys::TLS_client_method() });
        let mut birth = birth();
        let Some(birth) = birth.as_mut().filter(|birth| birth.expected != Expected::Nothing && !is_client) else {
            return Ok::<_, Null>(());
        };
        let expected = std::mem::replace(&mut birth.expected, Expected::Nothing);
        let pair = birth.pair.pointers();
        let issuers = if expected == Expected::Chain { pair.issuers } else { ptr::null_mut() };
        // SAFETY: as above, and live objects, of which OpenSSL takes references.
        unsafe { sys::SSL_CTX_use_cert_and_key(context, pair.leaf.cast(), pair.key.cast(), issuers.cast(), 1) };
        Ok(())
    });
}

fn birth() -> MutexGuard<'static, Option<Birth>> {
    BIRTH.lock().unwrap_or_else(PoisonError::into_inner)
}
