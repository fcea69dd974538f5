//! JSON documents and private keys in the store, read and written as values instead of bytes.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::acme::PortError;
use crate::crypto::{Chain, ChainError, Issuers, PrivateKey};
use crate::log::note;
use crate::model::{ManagedDomain, Status, outside};
use crate::store::{Aspect, Group, Store, StoreError};

/// Longest total wait for other processes that work in `staging/`.
pub const CLAIM_PATIENCE: Duration = Duration::from_secs(2);

/// Longest time that a start spends on what can as well be removed by the next: whatever runs as the server's user could make any
/// amount of it.
pub(crate) const CLEANING: Duration = Duration::from_millis(if cfg!(test) { 600_000 } else { 500 });

/// Typed access to a store, whose secret encrypts keys. A document that cannot be read is logged and counts as absent.
pub struct Documents {
    store: Arc<dyn Store>,
    issuers: Mutex<Issuers>,
}

/// A private key with the text of its file. As long as the file has that text, the key need not be decrypted again, which takes
/// longer than to sign a request with it.
pub struct KnownKey {
    pem: Zeroizing<Vec<u8>>,
    /// Whether the key is used only if nobody else can have written its file.
    needs_trust: bool,
    key: PrivateKey,
}

impl Documents {
    /// Gives typed access to the documents and keys of a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, issuers: Mutex::default() }
    }

    /// Returns the store that holds these documents.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the names of all items in a group; an empty set if the group cannot be listed.
    #[must_use]
    pub fn items(&self, group: Group) -> HashSet<String> {
        let listed = self.store.list(group).inspect_err(|err| note!(Error, err.status(); "{err}"));
        listed.unwrap_or_default().into_iter().collect()
    }

    /// Returns the names of all items in a group for a caller that lists it again soon: a failure to list it is not logged.
    #[must_use]
    pub fn items_if_listed(&self, group: Group) -> HashSet<String> {
        self.store.list(group).unwrap_or_default().into_iter().collect()
    }

    /// Reads a JSON document; `None` if it is absent or damaged.
    #[must_use]
    pub fn load_json<T: DeserializeOwned>(&self, group: Group, item: &str, aspect: &Aspect) -> Option<T> {
        let file = || format!("{}/{item}/{}", group.name(), aspect.file_name());
        let bytes = self.store.load(group, item, aspect).unwrap_or_else(|err| {
            note!(Error, err.status(); "{err}; the file is ignored");
            None
        })?;
        outside::stored(&bytes)
            .inspect_err(|err| note!(Error, "failed to load JSON file {}: {err}; it is ignored and made anew", file()))
            .ok()
    }

    /// Writes a JSON document in the stored form: two blanks of indent, no newline at the end.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_json(
        &self,
        group: Group,
        item: &str,
        aspect: &Aspect,
        value: &impl Serialize,
    ) -> Result<(), PortError> {
        self.store.save(group, item, aspect, &to_json(value)?).map_err(port_error)
    }

    /// Writes a JSON document that can be made again, without waiting for the disk: a power failure may damage it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_json_lazily(
        &self,
        group: Group,
        item: &str,
        aspect: &Aspect,
        value: &impl Serialize,
    ) -> Result<(), PortError> {
        self.store.save_lazily(group, item, aspect, &to_json(value)?).map_err(port_error)
    }

    /// Parses the chain of a file. Issuers that other chains have, too, are decoded once.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub fn chain(&self, pem: &[u8]) -> Result<Chain, ChainError> {
        Chain::from_pem_with(pem, &mut self.issuers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads a private key; `None` if it is absent or unusable. A key that is not encrypted is unusable if the server's user may have
    /// put it where it is.
    #[must_use]
    pub fn load_key(&self, group: Group, item: &str, aspect: &Aspect) -> Option<PrivateKey> {
        self.load_known_key(group, item, aspect, &mut None)
    }

    /// Reads a private key as [`Documents::load_key`] does, without decrypting it if it is the `known` one; else it becomes that.
    #[must_use]
    pub fn load_known_key(
        &self,
        group: Group,
        item: &str,
        aspect: &Aspect,
        known: &mut Option<KnownKey>,
    ) -> Option<PrivateKey> {
        let (pem, is_trusted) = self.store.load_with_owner(group, item, aspect).unwrap_or_else(|err| {
            note!(Error, err.status(); "{err}; the file is ignored");
            None
        })?;
        let pem = Zeroizing::new(pem);
        let is_trusted = is_trusted || !group.is_of_server();
        if let Some(known) = known.as_ref().filter(|known| known.pem == pem && (is_trusted || !known.needs_trust)) {
            return Some(known.key.clone());
        }
        let secret = self.store.secret().as_bytes();
        let read = if is_trusted {
            PrivateKey::from_pem(&pem, Some(secret))
        } else {
            PrivateKey::from_encrypted_pem(&pem, secret)
        };
        let read = read.inspect_err(|err| {
            note!(
                Error,
                "{}/{item}/{} is not a usable private key: {err}; the file is ignored",
                group.name(),
                aspect.file_name()
            )
        });
        let key = read.ok()?;
        *known = Some(KnownKey { pem, needs_trust: is_trusted, key: key.clone() });
        Some(key)
    }

    /// Writes a private key: encrypted in the groups that the server's user can read, else plain. Returns it as it is known now.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save_key(&self, group: Group, item: &str, aspect: &Aspect, key: &PrivateKey) -> Result<KnownKey, PortError> {
        let needs_trust = !group.encrypts_keys();
        let pem = match needs_trust {
            true => key.to_pem(),
            false => key.to_encrypted_pem(self.store.secret().as_bytes()).map(Zeroizing::new),
        };
        let pem = pem.map_err(|err| PortError { status: Status::GENERAL, text: err.to_string() })?;
        self.store.save(group, item, aspect, &pem).map_err(port_error)?;
        Ok(KnownKey { pem, needs_trust, key: key.clone() })
    }
}

/// Formats a JSON document in the stored form.
///
/// # Errors
/// If the value has no JSON form.
pub fn to_json(value: &impl Serialize) -> Result<Vec<u8>, PortError> {
    serde_json::to_vec_pretty(value).map_err(|err| PortError { status: Status::GENERAL, text: err.to_string() })
}

/// Converts an error of the store into the error type of the ports of `acme`.
pub(crate) fn port_error(err: StoreError) -> PortError {
    PortError { status: err.status(), text: err.to_string() }
}

/// Returns the error for a domain that another process has claimed.
#[must_use]
pub fn claimed_elsewhere(md: &ManagedDomain) -> PortError {
    let text = format!(
        "{}: another process, such as the server, is working on this domain; try again when it has finished",
        md.name
    );
    PortError { status: Status::AGAIN, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Call, TestServer, logged, p256, watch_log};

    #[test]
    fn a_file_that_cannot_be_read_counts_as_absent_and_is_logged() {
        watch_log();
        let name = "damaged.documents.test";
        let server = TestServer::new(&[name]);
        let documents = &server.documents;
        let key = Aspect::PrivateKey(p256());
        server.put(Group::Domains, name, &Aspect::MdJson, "{");
        server.put(Group::Domains, name, &key, "no key");
        assert_eq!(documents.load_json::<ManagedDomain>(Group::Domains, name, &Aspect::MdJson), None);
        assert!(documents.load_key(Group::Domains, name, &key).is_none());
        assert_eq!(logged("", &format!("failed to load JSON file domains/{name}/md.json")), 1);
        assert_eq!(logged("", &format!("domains/{name}/{} is not a usable private key", key.file_name())), 1);
        assert_eq!(documents.load_json::<ManagedDomain>(Group::Staging, name, &Aspect::MdJson), None);
        assert_eq!(logged("", &format!("staging/{name}")), 0, "an absent file is nothing to tell of");
    }

    #[test]
    fn keys_are_encrypted_in_the_groups_that_the_servers_user_can_read() {
        let name = "keys.documents.test";
        let server = TestServer::new(&[name]);
        let key = PrivateKey::generate(&p256()).unwrap();
        let aspect = Aspect::PrivateKey(p256());
        for (group, is_encrypted) in [(Group::Staging, true), (Group::Domains, false)] {
            server.documents.save_key(group, name, &aspect, &key).unwrap();
            let pem = server.text(group, name, &aspect).unwrap();
            assert_eq!(pem.contains("ENCRYPTED"), is_encrypted, "{group:?}");
            assert!(server.documents.load_key(group, name, &aspect).unwrap().is_same(&key));
        }
    }

    #[test]
    fn a_plain_key_of_the_servers_user_is_not_used() {
        watch_log();
        let name = "planted.documents.test";
        let server = TestServer::new(&[name]);
        let key = PrivateKey::generate(&p256()).unwrap();
        let [plain, sealed] =
            [key.to_pem().unwrap().to_vec(), key.to_encrypted_pem(server.store.secret().as_bytes()).unwrap()];
        let aspect = Aspect::PrivateKey(p256());
        for (group, is_planted, pem, is_used) in [
            (Group::Staging, true, &plain, false),
            (Group::Staging, true, &sealed, true),
            (Group::Staging, false, &plain, true),
            (Group::Domains, false, &plain, true),
        ] {
            if is_planted {
                server.store.plant(group, name, &aspect, pem);
            } else {
                server.store.save(group, name, &aspect, pem).unwrap();
            }
            assert_eq!(server.documents.load_key(group, name, &aspect).is_some(), is_used, "{group:?} {is_planted}");
        }
        assert_eq!(logged("", &format!("staging/{name}/{} is not a usable private key", aspect.file_name())), 1);
    }

    #[test]
    fn a_known_key_is_decrypted_again_only_if_its_file_has_changed() {
        let name = "known.documents.test";
        let server = TestServer::new(&[name]);
        let [first, second] = [(); 2].map(|()| PrivateKey::generate(&p256()).unwrap());
        let aspect = Aspect::PrivateKey(p256());
        let load = |known: &mut Option<KnownKey>| server.documents.load_known_key(Group::Staging, name, &aspect, known);
        let saved = server.documents.save_key(Group::Staging, name, &aspect, &first).unwrap();
        // Who decrypts the file gets another key than the one that is known here.
        let mut known = Some(KnownKey { key: second.clone(), ..saved });
        assert!(load(&mut known).unwrap().is_same(&second));
        server.documents.save_key(Group::Staging, name, &aspect, &first).unwrap();
        assert!(load(&mut known).unwrap().is_same(&first), "the salt is another one");
        server.store.remove(Group::Staging, name, &aspect).unwrap();
        assert!(load(&mut known).is_none());
        let plain = first.to_pem().unwrap();
        server.store.save(Group::Staging, name, &aspect, &plain).unwrap();
        assert!(load(&mut known).unwrap().is_same(&first));
        server.store.plant(Group::Staging, name, &aspect, &plain);
        assert!(load(&mut known).is_none(), "the same text, but of the server's user");
    }

    #[test]
    fn a_group_that_cannot_be_listed_has_no_items() {
        let server = TestServer::new(&["items.documents.test"]);
        server.put(Group::Staging, "items.documents.test", &Aspect::JobJson, "{}");
        assert_eq!(server.documents.items(Group::Staging).len(), 1);
        server.store.refuse(Call::List, Group::Staging);
        assert!(server.documents.items(Group::Staging).is_empty());
        assert!(server.store.list(Group::Staging).is_err());
    }
}
