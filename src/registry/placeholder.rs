//! The self-signed certificates that TLS hosts have until their domains get real ones.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::vault::{Vault, port_error};
use crate::acme::PortError;
use crate::crypto::{Certificate, CryptoError, PrivateKey, self_signed};
use crate::model::{KeySpec, ManagedDomain, Status};
use crate::store::{Aspect, Group};

const COMMON_NAME: &str = "Apache Managed Domain Fallback";
const DAYS: u32 = 14;

/// Makes placeholders. Those of one start share their keys, as nobody trusts them and a server may have thousands.
#[derive(Default)]
pub(super) struct Placeholders {
    keys: Mutex<Vec<(KeySpec, PrivateKey)>>,
}

impl Placeholders {
    /// Sees to it that there is a placeholder for each key type of the domain; one that is there, fits and has not
    /// expired is kept.
    ///
    /// # Errors
    /// If one cannot be made or written.
    pub(super) fn ensure(&self, vault: &Vault, md: &ManagedDomain, now: Timestamp) -> Result<(), PortError> {
        let specs = md.key_specs().0;
        let mut missing = specs.iter().filter(|spec| !is_there(vault, md, spec, now));
        missing.try_for_each(|spec| self.make(vault, md, spec, now))
    }

    fn make(&self, vault: &Vault, md: &ManagedDomain, spec: &KeySpec, now: Timestamp) -> Result<(), PortError> {
        let key = self.key(spec).map_err(crypto)?;
        let certificate = self_signed(&key, COMMON_NAME, &md.domains, now, DAYS).map_err(crypto)?;
        let save = |aspect: &Aspect, data: &[u8]| {
            vault.store().save_lazily(Group::Domains, md.name.as_str(), aspect, data).map_err(port_error)
        };
        save(&Aspect::FallbackKey(spec.clone()), &key.to_pem().map_err(crypto)?)?;
        save(&Aspect::FallbackCert(spec.clone()), certificate.to_pem().as_bytes())
    }

    fn key(&self, spec: &KeySpec) -> Result<PrivateKey, CryptoError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = keys.iter().find(|(known, _)| known == spec) {
            return Ok(key.clone());
        }
        let key = PrivateKey::generate(spec)?;
        keys.push((spec.clone(), key.clone()));
        Ok(key)
    }
}

/// Key types of the domain for which there is a placeholder that fits and has not expired.
pub(super) fn there(vault: &Vault, md: &ManagedDomain, now: Timestamp) -> Vec<KeySpec> {
    md.key_specs().0.into_iter().filter(|spec| is_there(vault, md, spec, now)).collect()
}

fn is_there(vault: &Vault, md: &ManagedDomain, spec: &KeySpec, now: Timestamp) -> bool {
    let name = md.name.as_str();
    let pem = vault.store().load(Group::Domains, name, &Aspect::FallbackCert(spec.clone())).ok().flatten();
    let Some(certificate) = pem.and_then(|pem| Certificate::from_pem(&pem).ok()) else { return false };
    let key = vault.load_key(Group::Domains, name, &Aspect::FallbackKey(spec.clone()));
    certificate.not_after() > now && key.is_some_and(|key| key.fits(&certificate))
}

fn crypto(err: CryptoError) -> PortError {
    PortError { status: Status::GENERAL, text: err.to_string() }
}
