//! The accounts that all domains share, as renewals use them: those in `accounts/`, and new ones in `staging/`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::acme::{AccountBook, AccountClaim, AccountRecord, AccountScope, PortError};
use crate::crypto::PrivateKey;
use crate::model::ManagedDomain;
use crate::store::{Aspect, Group};

use super::vault::{Vault, port_error};

/// What the account books of all domains share. The store is read once, when the first account is looked for: what
/// comes into being after that is added here too.
#[derive(Debug, Default)]
pub struct SharedAccounts {
    claimed: Mutex<HashSet<String>>,
    /// What was in the store, most wanted first: the newest in `accounts/`, then what is staged.
    stored: OnceLock<Vec<Stored>>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Stored {
    group: Group,
    item: String,
    record: AccountRecord,
}

#[derive(Debug, Default)]
struct Known {
    /// Accounts that were found, with their keys.
    usable: Vec<(AccountRecord, PrivateKey)>,
    /// URLs of accounts that a CA did not take, or whose key cannot be read; the worker cannot write to `accounts/`.
    lost: HashSet<String>,
}

/// The accounts as one domain's renewal sees them: a new one goes to its own staging directory, from where the next
/// start of the server moves it to `accounts/`.
pub struct StoredAccounts {
    shared: Arc<SharedAccounts>,
    vault: Arc<Vault>,
    domain: String,
}

struct Claim {
    shared: Arc<SharedAccounts>,
    key: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl StoredAccounts {
    /// The accounts for the renewal of `domain`.
    #[must_use]
    pub fn new(shared: Arc<SharedAccounts>, vault: Arc<Vault>, domain: &str) -> Self {
        Self { shared, vault, domain: domain.to_owned() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self) -> &[Stored] {
        self.shared.stored.get_or_init(|| read_all(&self.vault))
    }

    /// The key of a registration for `domain` of which no answer was heard.
    fn drafted(&self, domain: &str) -> Option<PrivateKey> {
        let known = self.vault.load_json::<AccountRecord>(Group::Staging, domain, &Aspect::AccountJson);
        if known.is_some() { None } else { self.vault.load_key(Group::Staging, domain, &Aspect::AccountKey) }
    }

    /// The key of a registration that a renewal of another domain did not bring to its end: the CA may have the account
    /// already, and answers with that one if it is asked with the same key.
    fn interrupted(&self, scope: &AccountScope) -> Option<PrivateKey> {
        let others = self.vault.store().list(Group::Staging).unwrap_or_default();
        others.iter().filter(|domain| **domain != self.domain).find_map(|domain| {
            let md: ManagedDomain = self.vault.load_json(Group::Staging, domain, &Aspect::MdJson)?;
            let is_same = md.ca_url() == Some(scope.ca_url.as_str()) && md.eab.as_deref() == scope.eab.as_ref();
            is_same.then(|| self.drafted(domain))?
        })
    }
}

impl AccountBook for StoredAccounts {
    fn claim(&self, scope: &AccountScope) -> Option<AccountClaim> {
        let key = format!("{} {}", scope.ca_url, scope.eab.as_ref().map_or("", |eab| &eab.kid));
        let new = self.shared.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        new.then(|| Box::new(Claim { shared: Arc::clone(&self.shared), key }) as AccountClaim)
    }

    fn find(&self, scope: &AccountScope) -> Option<(AccountRecord, PrivateKey)> {
        let stored = self.stored();
        // Locked to the end, so that a key that many look for is decrypted once.
        let mut known = self.known();
        if let Some(found) = known.usable.iter().find(|(record, _)| record.is_for(scope)) {
            return Some(found.clone());
        }
        for Stored { group, item, record } in stored.iter().filter(|stored| stored.record.is_for(scope)) {
            if known.lost.contains(&record.url) {
                continue;
            }
            if let Some(key) = self.vault.load_key(*group, item, &Aspect::AccountKey) {
                known.usable.push((record.clone(), key.clone()));
                return Some((record.clone(), key));
            }
            known.lost.insert(record.url.clone());
        }
        None
    }

    fn draft_key(&self, scope: &AccountScope) -> Result<PrivateKey, PortError> {
        if let Some(key) = self.drafted(&self.domain) {
            return Ok(key);
        }
        self.vault.store().remove(Group::Staging, &self.domain, &Aspect::AccountJson).map_err(port_error)?;
        let key = match self.interrupted(scope) {
            Some(key) => key,
            None => PrivateKey::generate_account()
                .map_err(|err| PortError { status: crate::model::Status::GENERAL, text: err.to_string() })?,
        };
        self.vault.save_key(Group::Staging, &self.domain, &Aspect::AccountKey, &key)?;
        Ok(key)
    }

    fn add(&self, account: &AccountRecord, key: &PrivateKey) -> Result<(), PortError> {
        self.vault.save_json(Group::Staging, &self.domain, &Aspect::AccountJson, account)?;
        self.known().usable.push((account.clone(), key.clone()));
        Ok(())
    }

    fn forget(&self, account: &AccountRecord) -> Result<(), PortError> {
        let mut known = self.known();
        known.usable.retain(|(record, _)| record.url != account.url);
        known.lost.insert(account.url.clone());
        Ok(())
    }
}

fn read_all(vault: &Vault) -> Vec<Stored> {
    let read = |group: Group, item: String| {
        let record = vault.load_json(group, &item, &Aspect::AccountJson)?;
        Some(Stored { group, item, record })
    };
    let list = |group| vault.store().list(group).unwrap_or_default();
    let moved = list(Group::Accounts).into_iter().rev().filter_map(|id| read(Group::Accounts, id));
    let moved = moved.filter(|stored| stored.item.starts_with(&id_prefix(&stored.record.ca_url)));
    moved.chain(list(Group::Staging).into_iter().filter_map(|name| read(Group::Staging, name))).collect()
}

/// How the ids of accounts at that CA begin: `ACME-`, the last 16 characters of the host, `-`.
pub(super) fn id_prefix(ca_url: &str) -> String {
    let host = url::Url::parse(ca_url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let short = host.len().checked_sub(16).and_then(|from| host.get(from..)).unwrap_or(&host);
    format!("ACME-{short}-")
}
