//! Placeholders: self-signed certificates of TLS hosts until their domains get real ones.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::acme::PortError;
use crate::crypto::{Certificate, CryptoError, PrivateKey, issuer_of_self_signed, self_signed};
use crate::documents::{Documents, port_error};
use crate::model::{KeySpec, ManagedDomain, Status};
use crate::store::{Aspect, Group};

const COMMON_NAME: &str = "Apache Managed Domain Fallback";
const DAYS: u32 = 14;

/// The key of all placeholders of one type of key.
#[derive(Clone)]
struct SharedKey {
    key: PrivateKey,
    /// The certificate, as PEM, that comes after a placeholder: mod_ssl logs an error for each certificate without an issuer, and
    /// asks who staples it only if there is one.
    issuer: String,
}

/// Makes placeholders. All placeholders of a start share their keys, as clients do not trust them anyway, and a server may have
/// thousands.
#[derive(Default)]
pub(crate) struct Placeholders {
    keys: Mutex<Vec<(KeySpec, SharedKey)>>,
}

impl Placeholders {
    /// Ensures that there is a placeholder for each key type of the domain. A placeholder that is complete and has not expired
    /// is kept.
    ///
    /// # Errors
    /// If a placeholder cannot be made or written.
    pub(crate) fn ensure(&self, documents: &Documents, md: &ManagedDomain, now: Timestamp) -> Result<(), PortError> {
        let specs = md.key_specs().0;
        let mut missing = specs.iter().filter(|spec| !is_usable(documents, md, spec, now));
        missing.try_for_each(|spec| self.make(documents, md, spec, now))
    }

    fn make(&self, documents: &Documents, md: &ManagedDomain, spec: &KeySpec, now: Timestamp) -> Result<(), PortError> {
        let SharedKey { key, issuer } = self.key(spec, now).map_err(crypto)?;
        let certificate = self_signed(&key, COMMON_NAME, &md.domains, now, DAYS).map_err(crypto)?;
        let pem = Zeroizing::new(
            [&**key.to_pem().map_err(crypto)?, certificate.to_pem().as_bytes(), issuer.as_bytes()].concat(),
        );
        let store = documents.store();
        let name = md.name.as_str();
        let aspect = Aspect::Fallback(spec.clone());
        // If several servers make a placeholder at the same time, all serve the first. An unusable placeholder is replaced.
        let is_made = store.create_lazily(Group::Domains, name, &aspect, &pem).map_err(port_error)?;
        if is_made || is_usable(documents, md, spec, now) {
            return Ok(());
        }
        store.save_lazily(Group::Domains, name, &aspect, &pem).map_err(port_error)
    }

    fn key(&self, spec: &KeySpec, now: Timestamp) -> Result<SharedKey, CryptoError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = keys.iter().find(|(known, _)| known == spec) {
            return Ok(known.clone());
        }
        let key = PrivateKey::generate(spec)?;
        let issuer = issuer_of_self_signed(&key, COMMON_NAME, now, DAYS)?.to_pem();
        let shared = SharedKey { key, issuer };
        keys.push((spec.clone(), shared.clone()));
        Ok(shared)
    }
}

/// Returns the key types of the domain for which there is a usable placeholder that has not expired.
pub(crate) fn usable_key_types(documents: &Documents, md: &ManagedDomain, now: Timestamp) -> Vec<KeySpec> {
    md.key_specs().0.into_iter().filter(|spec| is_usable(documents, md, spec, now)).collect()
}

fn is_usable(documents: &Documents, md: &ManagedDomain, spec: &KeySpec, now: Timestamp) -> bool {
    let pem = documents.store().load(Group::Domains, md.name.as_str(), &Aspect::Fallback(spec.clone())).ok().flatten();
    let Some(pem) = pem.map(Zeroizing::new) else { return false };
    let Ok(certificate) = Certificate::from_pem(&pem) else { return false };
    certificate.not_after() > now && PrivateKey::from_pem(&pem, None).is_ok_and(|key| key.fits(&certificate))
}

fn crypto(err: CryptoError) -> PortError {
    PortError { status: Status::GENERAL, text: err.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::*;
    use crate::model::{DomainName, KeySpecs};
    use crate::store::{FileStore, Store};
    use crate::testing::p256;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + SignedDuration::from_hours(24 * days)
    }

    fn domain(name: &str) -> ManagedDomain {
        let mut md = ManagedDomain::new(vec![DomainName::parse(name).unwrap()]).unwrap();
        md.keys = Some(Arc::new(KeySpecs(vec![p256()])));
        md
    }

    fn stored(store: &dyn Store, md: &ManagedDomain) -> Vec<u8> {
        store.load(Group::Domains, md.name.as_str(), &Aspect::Fallback(p256())).unwrap().unwrap()
    }

    #[test]
    fn servers_that_start_together_serve_the_same_complete_placeholder() {
        let temp = tempfile::tempdir().unwrap();
        let now = at(0);
        let start = |md: &ManagedDomain| {
            let store = Arc::new(FileStore::open(temp.path()).unwrap());
            let documents = Documents::new(Arc::clone(&store) as _);
            Placeholders::default().ensure(&documents, md, now).unwrap();
            assert!(is_usable(&documents, md, &p256(), now));
            stored(&*store, md)
        };
        for number in 0..50 {
            let md = domain(&format!("n{number}.test"));
            let served: Vec<_> = std::thread::scope(|scope| {
                let starts = [0; 4].map(|_| scope.spawn(|| start(&md)));
                starts.into_iter().map(|start| start.join().unwrap()).collect()
            });
            assert!(served.iter().all(|pem| *pem == served[0]), "{number}");
        }
    }

    #[test]
    fn a_damaged_or_expired_placeholder_is_made_anew() {
        let temp = tempfile::tempdir().unwrap();
        let store = Arc::new(FileStore::open(temp.path()).unwrap());
        let documents = Documents::new(Arc::clone(&store) as _);
        let md = domain("x.test");
        let now = at(0);
        let ensure = |now| {
            Placeholders::default().ensure(&documents, &md, now).unwrap();
            stored(&*store, &md)
        };
        let first = ensure(now);
        assert_eq!(ensure(at(1)), first);
        let later = at(15);
        let second = ensure(later);
        assert_ne!(second, first);
        let half = &second[..second.len() / 2];
        store.save(Group::Domains, "x.test", &Aspect::Fallback(p256()), half).unwrap();
        assert!(ensure(later).len() > half.len() && is_usable(&documents, &md, &p256(), later));
    }
}
