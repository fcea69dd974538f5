//! The self-signed certificate that a TLS host has until its domain gets a real one.

use jiff::Timestamp;

use super::vault::Vault;
use crate::acme::PortError;
use crate::crypto::{Certificate, PrivateKey, self_signed};
use crate::model::{KeySpec, ManagedDomain, Status};
use crate::store::{Aspect, Group};

use super::vault::port_error;

const COMMON_NAME: &str = "Apache Managed Domain Fallback";
const DAYS: u32 = 14;

/// Sees to it that there is a placeholder for each key type of the domain; one that is there, fits and has not expired
/// is kept.
///
/// # Errors
/// If one cannot be made or written.
pub fn ensure(vault: &Vault, md: &ManagedDomain, now: Timestamp) -> Result<(), PortError> {
    md.key_specs()
        .0
        .iter()
        .try_for_each(|spec| if is_there(vault, md, spec, now) { Ok(()) } else { make(vault, md, spec, now) })
}

fn is_there(vault: &Vault, md: &ManagedDomain, spec: &KeySpec, now: Timestamp) -> bool {
    let name = md.name.as_str();
    let pem = vault.store().load(Group::Domains, name, &Aspect::FallbackCert(spec.clone())).ok().flatten();
    let Some(certificate) = pem.and_then(|pem| Certificate::from_pem(&pem).ok()) else { return false };
    let key = vault.load_key(Group::Domains, name, &Aspect::FallbackKey(spec.clone()));
    certificate.not_after() > now && key.is_some_and(|key| key.fits(&certificate))
}

fn make(vault: &Vault, md: &ManagedDomain, spec: &KeySpec, now: Timestamp) -> Result<(), PortError> {
    let crypto = |err: crate::crypto::CryptoError| PortError { status: Status::GENERAL, text: err.to_string() };
    let key = PrivateKey::generate(spec).map_err(crypto)?;
    let certificate = self_signed(&key, COMMON_NAME, &md.domains, now, DAYS).map_err(crypto)?;
    let name = md.name.as_str();
    vault.save_key(Group::Domains, name, &Aspect::FallbackKey(spec.clone()), &key)?;
    vault
        .store()
        .save(Group::Domains, name, &Aspect::FallbackCert(spec.clone()), certificate.to_pem().as_bytes())
        .map_err(port_error)
}
