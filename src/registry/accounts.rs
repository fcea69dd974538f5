//! The accounts that all domains share, in the store: those in `accounts/`, and new ones that wait in `staging/`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::acme::{AccountBook, AccountClaim, AccountRecord, AccountScope, PortError};
use crate::crypto::PrivateKey;
use crate::log::note;
use crate::model::ManagedDomain;
use crate::store::{Aspect, Group, Store};

use super::vault::{Vault, port_error};

/// What the account books of all domains share.
#[derive(Debug, Default)]
pub struct SharedAccounts {
    claimed: Mutex<HashSet<String>>,
    /// URLs of accounts that a CA did not take; the worker cannot write to `accounts/`.
    lost: Mutex<HashSet<String>>,
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

    fn is_lost(&self, url: &str) -> bool {
        self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner).contains(url)
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
            let is_same = md.ca_url() == Some(scope.ca_url.as_str()) && md.eab == scope.eab;
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
        candidates(self.vault.store(), &scope.ca_url).find_map(|(group, item)| {
            let record: AccountRecord = self.vault.load_json(group, &item, &Aspect::AccountJson)?;
            if !record.is_for(scope) || self.is_lost(&record.url) {
                return None;
            }
            self.vault.load_key(group, &item, &Aspect::AccountKey).map(|key| (record, key))
        })
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

    fn add(&self, account: &AccountRecord) -> Result<(), PortError> {
        self.vault.save_json(Group::Staging, &self.domain, &Aspect::AccountJson, account)
    }

    fn forget(&self, account: &AccountRecord) -> Result<(), PortError> {
        self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(account.url.clone());
        Ok(())
    }
}

/// Places where an account of that CA may be: the newest in `accounts/` first, then what is staged.
fn candidates<'a>(store: &'a dyn Store, ca_url: &str) -> impl Iterator<Item = (Group, String)> + use<'a> {
    let prefix = id_prefix(ca_url);
    let list = |group| store.list(group).unwrap_or_default();
    let known = list(Group::Accounts).into_iter().rev().filter(move |id| id.starts_with(&prefix));
    known.map(|id| (Group::Accounts, id)).chain(list(Group::Staging).into_iter().map(|name| (Group::Staging, name)))
}

/// How the ids of accounts at that CA begin: `ACME-`, the last 16 characters of the host, `-`.
fn id_prefix(ca_url: &str) -> String {
    let host = url::Url::parse(ca_url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let short = host.len().checked_sub(16).and_then(|from| host.get(from..)).unwrap_or(&host);
    format!("ACME-{short}-")
}

/// The id of a usable account in `accounts/` of that scope.
#[must_use]
pub fn find_id(vault: &Vault, scope: &AccountScope) -> Option<String> {
    candidates(vault.store(), &scope.ca_url).take_while(|(group, _)| *group == Group::Accounts).find_map(
        |(group, id)| {
            let record: AccountRecord = vault.load_json(group, &id, &Aspect::AccountJson)?;
            record.is_for(scope).then_some(id)
        },
    )
}

/// Moves every account that waits in staging to `accounts/`. For the start of the server, before anything in staging is
/// activated or dropped. An account that cannot be moved, or that somebody may be registering just now, stays and is
/// used from where it is.
pub fn adopt_staged(vault: &Vault) {
    for domain in vault.store().list(Group::Staging).unwrap_or_default() {
        let Ok(Some(_claim)) = vault.store().claim(&domain) else { continue };
        let Some(record) = vault.load_json::<AccountRecord>(Group::Staging, &domain, &Aspect::AccountJson) else {
            continue;
        };
        if let Err(err) = adopt(vault, &domain, &record) {
            note!(Warning, err.status; "account {} stays in staging/{domain}: {err}", record.url);
        }
    }
}

fn adopt(vault: &Vault, domain: &str, record: &AccountRecord) -> Result<(), PortError> {
    let store = vault.store();
    if let Some(key) = vault.load_key(Group::Staging, domain, &Aspect::AccountKey) {
        let prefix = id_prefix(&record.ca_url);
        let url_of = |id: &str| {
            vault.load_json::<AccountRecord>(Group::Accounts, id, &Aspect::AccountJson).map(|known| known.url)
        };
        let known = store.list(Group::Accounts).map_err(port_error)?;
        if !known.iter().any(|id| id.starts_with(&prefix) && url_of(id).as_ref() == Some(&record.url)) {
            let free =
                (0..1000).map(|n| format!("{prefix}{n:04}")).find(|id| !known.contains(id)).ok_or_else(|| {
                    PortError {
                        status: crate::model::Status::EXISTS,
                        text: format!(
                            "there are 1000 accounts named {prefix}* already; remove those that are not used"
                        ),
                    }
                })?;
            vault.save_key(Group::Accounts, &free, &Aspect::AccountKey, &key)?;
            vault.save_json(Group::Accounts, &free, &Aspect::AccountJson, record)?;
        }
    }
    store.remove(Group::Staging, domain, &Aspect::AccountJson).map_err(port_error)?;
    store.remove(Group::Staging, domain, &Aspect::AccountKey).map_err(port_error)
}
