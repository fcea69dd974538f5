//! The accounts in `accounts/`, as a start reads them, and the move of new ones from `staging/` to `accounts/`.

#![forbid(unsafe_code)]

mod registration;
mod rollover;
mod shared;

use std::collections::BTreeMap;
use std::time::Instant;

use zeroize::Zeroizing;

use self::shared::id_prefix;
use crate::acme::{AccountRecord, AccountScope, PortError};
use crate::crypto::{PrivateKey, sha256};
use crate::documents::{Documents, port_error};
use crate::log::report;
use crate::model::Status;
use crate::store::{Aspect, Group, WorkClaim};

pub use registration::find_or_register;
pub use rollover::{account_key, roll_over};
pub(crate) use shared::draft_item;
pub use shared::{SharedAccounts, StoredAccounts};

/// The most places in `staging/` whose accounts one start moves. There are few, unless somebody has planted them.
const MOST_STAGED: usize = 100;

/// Accounts by id; `None` for an account that cannot be read. Read once per start, as there may be thousands of domains.
#[derive(Debug, Default)]
pub struct Accounts {
    records: BTreeMap<String, Option<AccountRecord>>,
    /// Digests of the keys that were looked at: reading one takes some time.
    keys: BTreeMap<String, Option<[u8; 32]>>,
}

impl Accounts {
    /// Reads all accounts in `accounts/`.
    ///
    /// # Errors
    /// If `accounts/` cannot be listed.
    pub fn read(documents: &Documents) -> Result<Self, PortError> {
        let ids = documents.store().list(Group::Accounts).map_err(port_error)?;
        let read = |id: String| {
            let record = documents.load_json(Group::Accounts, &id, &Aspect::AccountJson);
            (id, record)
        };
        Ok(Self { records: ids.into_iter().map(read).collect(), keys: BTreeMap::new() })
    }

    /// Returns the id of the newest usable account of this scope.
    #[must_use]
    pub fn id_for(&self, scope: &AccountScope) -> Option<&str> {
        self.at(&scope.ca_url).rev().find(|(_, record)| record.is_for(scope)).map(|(id, _)| id)
    }

    /// Checks whether there is an account at this CA.
    #[must_use]
    pub fn has_any_at(&self, ca_url: &str) -> bool {
        // The beginning of an id is that of several CAs, such as one for tests and the one beside it.
        self.at(ca_url).any(|(_, record)| record.ca_url == ca_url)
    }

    fn at(&self, ca_url: &str) -> impl DoubleEndedIterator<Item = (&str, &AccountRecord)> {
        let prefix = id_prefix(ca_url);
        let readable = self.records.iter().filter_map(|(id, record)| Some((id.as_str(), record.as_ref()?)));
        readable.filter(move |(id, _)| id.starts_with(&prefix))
    }

    /// Moves every account in `staging/` to `accounts/`. Called at a start of the server, before anything in `staging/` is
    /// activated or dropped. An account that cannot be moved, or is still in use by another process at `until`, stays in
    /// `staging/` and is used from there.
    pub fn adopt_staged(&mut self, documents: &Documents, until: Instant) {
        let is_draft = |item: &str| item.starts_with("ACME-");
        let has_account =
            |item: &String| is_draft(item) || documents.store().exists(Group::Staging, item, &Aspect::AccountJson);
        let staged = documents.store().list(Group::Staging).unwrap_or_default();
        for domain in staged.into_iter().filter(has_account).take(MOST_STAGED) {
            let patience = until.saturating_duration_since(Instant::now());
            let Ok(Some(_claim)) = documents.store().claim_within(&domain, patience) else { continue };
            self.adopt_from(documents, &domain);
            if is_draft(&domain) {
                self.drop_draft(documents, &domain);
            }
        }
    }

    /// Removes the draft key of a registration whose account is in `accounts/`: a crash prevented that earlier. The next
    /// registration must not use this key, as a CA remembers the key of an account that was deactivated.
    fn drop_draft(&mut self, documents: &Documents, item: &str) {
        let known = self.records.iter().filter_map(|(id, record)| Some((id, record.as_ref()?)));
        let of_scope = known.filter(|(_, record)| draft_item(&record.scope()) == item).map(|(id, _)| id.clone());
        let of_scope: Vec<_> = of_scope.collect();
        if of_scope.is_empty() {
            return;
        }
        let draft = documents.load_key(Group::Staging, item, &Aspect::AccountKey);
        let Some(draft) = draft.as_ref().and_then(digest_of) else { return };
        if of_scope.iter().any(|id| self.key_of(documents, id) == Some(draft)) {
            // A failure is repeated at the next start.
            let _ = documents.store().purge(Group::Staging, item);
        }
    }

    /// Moves the account in `staging/` of `domain` to `accounts/`, if there is one. The caller holds the claim on the domain.
    pub(crate) fn adopt_from(&mut self, documents: &Documents, domain: &str) {
        let Some(record) = documents.load_json::<AccountRecord>(Group::Staging, domain, &Aspect::AccountJson) else {
            return;
        };
        if let Err(err) = self.adopt(documents, domain, &record) {
            report!(MD0028, err.status; "account {}: not moved from staging/{domain} to accounts/ and used from there: {err}", record.url);
        }
    }

    /// Moves the account of a scope to `accounts/`, if there is none yet and the renewal of any domain has left one in `staging/`.
    /// That renewal may still run, and has the account in memory. The caller keeps others from changing the store.
    pub(crate) fn adopt_for(&mut self, documents: &Documents, scope: &AccountScope) {
        if self.id_for(scope).is_some() {
            return;
        }
        let has_account = |item: &String| {
            let record = documents.load_json::<AccountRecord>(Group::Staging, item, &Aspect::AccountJson);
            record.is_some_and(|record| record.is_for(scope))
        };
        let staged = documents.store().list(Group::Staging).unwrap_or_default();
        if let Some(item) = staged.iter().take(MOST_STAGED).find(|item| has_account(item)) {
            self.adopt_from(documents, item);
        }
    }

    /// Adds a new account to `accounts/` and returns its id.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(
        &mut self,
        documents: &Documents,
        record: &AccountRecord,
        key: &PrivateKey,
    ) -> Result<String, PortError> {
        let (id, _claim) = self.free_id(documents, &record.ca_url)?;
        self.save(documents, &id, record, key)?;
        Ok(id)
    }

    /// Puts an account with a key that the CA accepts into `accounts/`, and returns its id. An account with the same URL keeps
    /// its id, and the members that the CA does not report.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(
        &mut self,
        documents: &Documents,
        record: &AccountRecord,
        key: &PrivateKey,
    ) -> Result<String, PortError> {
        let Some((id, known)) = self.at(&record.ca_url).find(|(_, known)| known.url == record.url) else {
            return self.add(documents, record, key);
        };
        let id = id.to_owned();
        let known = known.clone();
        let record = AccountRecord {
            eab: record.eab.clone().or(known.eab),
            agreement: record.agreement.clone().or(known.agreement),
            ..record.clone()
        };
        self.save(documents, &id, &record, key)?;
        documents.store().remove(Group::Accounts, &id, &Aspect::NextAccountKey).map_err(port_error)?;
        Ok(id)
    }

    fn save(
        &mut self,
        documents: &Documents,
        id: &str,
        record: &AccountRecord,
        key: &PrivateKey,
    ) -> Result<(), PortError> {
        documents.save_key(Group::Accounts, id, &Aspect::AccountKey, key)?;
        documents.save_json(Group::Accounts, id, &Aspect::AccountJson, record)?;
        self.records.insert(id.to_owned(), Some(record.clone()));
        self.keys.remove(id);
        Ok(())
    }

    /// Moves an account from `staging/` to `accounts/`. An account without a key is removed, as it cannot be used. An account
    /// with a key is removed from `staging/` only after it was saved. No account in `accounts/` gets another key: what is staged
    /// may come from anything that runs as the server's user.
    fn adopt(&mut self, documents: &Documents, domain: &str, record: &AccountRecord) -> Result<(), PortError> {
        let store = documents.store();
        if store.exists(Group::Staging, domain, &Aspect::AccountKey) {
            let key = documents.load_key(Group::Staging, domain, &Aspect::AccountKey).ok_or_else(|| PortError {
                status: Status::INVALID,
                text: "the key of the account cannot be read".to_owned(),
            })?;
            // A CA has one account for a key. If it has lost its accounts, it may give their URLs to new ones.
            let staged = digest_of(&key);
            let known: Vec<_> = self.at(&record.ca_url).map(|(id, _)| id.to_owned()).collect();
            if !known.iter().any(|id| staged.is_some() && self.key_of(documents, id) == staged) {
                self.add(documents, record, &key)?;
            }
        }
        store.remove(Group::Staging, domain, &Aspect::AccountJson).map_err(port_error)?;
        store.remove(Group::Staging, domain, &Aspect::AccountKey).map_err(port_error)
    }

    /// Returns the digest of the key of an account in `accounts/`. Whoever uses the account tells of a key that cannot be read.
    fn key_of(&mut self, documents: &Documents, id: &str) -> Option<[u8; 32]> {
        *self.keys.entry(id.to_owned()).or_insert_with(|| {
            let store = documents.store();
            let pem = Zeroizing::new(store.load(Group::Accounts, id, &Aspect::AccountKey).ok()??);
            digest_of(&PrivateKey::from_pem(&pem, Some(store.secret().as_bytes())).ok()?)
        })
    }

    /// Finds an id that no account has, and claims it, as another process may be looking for one at the same time.
    fn free_id(&self, documents: &Documents, ca_url: &str) -> Result<(String, WorkClaim), PortError> {
        let store = documents.store();
        let prefix = id_prefix(ca_url);
        let has = |id: &str, aspect| store.exists(Group::Accounts, id, &aspect);
        for id in (0..1000).map(|n| format!("{prefix}{n:04}")).filter(|id| !self.records.contains_key(id)) {
            let claim = store.claim(&id).map_err(port_error)?;
            if let Some(claim) = claim.filter(|_| !has(&id, Aspect::AccountKey) && !has(&id, Aspect::AccountJson)) {
                return Ok((id, claim));
            }
        }
        Err(PortError {
            status: Status::EXISTS,
            text: format!("accounts/ already has 1000 accounts named {prefix}*; remove those that are no longer used"),
        })
    }
}

fn digest_of(key: &PrivateKey) -> Option<[u8; 32]> {
    sha256(&key.to_pem().ok()?).ok()
}
