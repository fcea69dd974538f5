//! The accounts that the renewals of all domains share: those in `accounts/`, and new ones in `staging/`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::acme::{AccountBook, AccountClaim, AccountRecord, AccountScope, GivenUp, PortError};
use crate::crypto::PrivateKey;
use crate::store::{Aspect, Group};

use crate::documents::{Documents, port_error};

/// Accounts in memory, shared by the account books of all domains. The store is read when the first account is needed, and again
/// before one is registered, as another process may have registered it. Accounts that this process registers are added.
#[derive(Debug, Default)]
pub struct SharedAccounts(Mutex<Known>);

/// The most accounts in `staging/` that are known. There are few, unless somebody has planted them.
const MOST_STAGED: usize = 1000;

#[derive(Debug)]
struct Stored {
    group: Group,
    item: String,
    record: AccountRecord,
}

#[derive(Debug, Default)]
struct Known {
    /// Accounts of the store in order of preference: the newest in `accounts/` first, then those in `staging/`. `None` before
    /// the store was read.
    stored: Option<Vec<Stored>>,
    /// Accounts that were used, with their keys.
    usable: Vec<(AccountRecord, PrivateKey)>,
    /// Places in the store whose key cannot be read: it is damaged, or the start of another server has moved the account.
    without_key: HashSet<(Group, String)>,
    /// URLs of accounts that were given up. Kept in memory, as the worker cannot write to `accounts/`.
    lost: HashSet<String>,
    /// Accounts that were given up and nobody was told of yet, with their scopes.
    untold: Vec<(AccountScope, GivenUp)>,
}

/// The account book of one domain's renewal. A new account goes to `staging/`, from where the next start of the server moves it
/// to `accounts/`.
pub struct StoredAccounts {
    shared: Arc<SharedAccounts>,
    documents: Arc<Documents>,
    domain: String,
}

impl StoredAccounts {
    /// Makes the account book for the renewal of `domain`.
    #[must_use]
    pub fn new(shared: Arc<SharedAccounts>, documents: Arc<Documents>, domain: &str) -> Self {
        Self { shared, documents, domain: domain.to_owned() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the item of `staging/` for an account of this scope: the domain, unless an account of another scope is there
    /// already.
    fn place(&self, scope: &AccountScope) -> String {
        let waiting: Option<AccountRecord> =
            self.documents.load_json(Group::Staging, &self.domain, &Aspect::AccountJson);
        if waiting.is_none_or(|record| record.is_for(scope)) { self.domain.clone() } else { draft_item(scope) }
    }
}

impl AccountBook for StoredAccounts {
    fn claim(&self, scope: &AccountScope) -> Result<Option<AccountClaim>, PortError> {
        let claim = self.documents.store().claim(&draft_item(scope)).map_err(port_error)?;
        if claim.is_some() {
            self.known().stored = None;
        }
        Ok(claim.map(|claim| Box::new(claim) as AccountClaim))
    }

    fn find(&self, scope: &AccountScope) -> Option<(AccountRecord, PrivateKey)> {
        // Locked until the end, so that a key that many threads need is decrypted once.
        let mut known = self.known();
        if let Some(found) = known.usable.iter().find(|(record, _)| record.is_for(scope)) {
            return Some(found.clone());
        }
        let Known { stored, usable, lost, without_key, untold: _ } = &mut *known;
        let stored = stored.get_or_insert_with(|| read_all(&self.documents));
        let is_wanted = |stored: &&Stored| stored.record.is_for(scope) && !lost.contains(&stored.record.url);
        for Stored { group, item, record } in stored.iter().filter(is_wanted) {
            let place = (*group, item.clone());
            if without_key.contains(&place) {
                continue;
            }
            if let Some(key) = self.documents.load_key(*group, item, &Aspect::AccountKey) {
                usable.push((record.clone(), key.clone()));
                return Some((record.clone(), key));
            }
            without_key.insert(place);
        }
        None
    }

    fn draft_key(&self, scope: &AccountScope) -> Result<PrivateKey, PortError> {
        let place = draft_item(scope);
        if let Some(key) = self.documents.load_key(Group::Staging, &place, &Aspect::AccountKey) {
            return Ok(key);
        }
        let key = PrivateKey::generate_account()
            .map_err(|err| PortError { status: crate::model::Status::GENERAL, text: err.to_string() })?;
        self.documents.save_key(Group::Staging, &place, &Aspect::AccountKey, &key)?;
        Ok(key)
    }

    fn drop_draft_key(&self, scope: &AccountScope) -> Result<(), PortError> {
        self.documents.store().remove(Group::Staging, &draft_item(scope), &Aspect::AccountKey).map_err(port_error)
    }

    fn add(&self, account: &AccountRecord, key: &PrivateKey) -> Result<(), PortError> {
        let scope = account.scope();
        let place = self.place(&scope);
        let draft = draft_item(&scope);
        if place != draft {
            self.documents.save_key(Group::Staging, &place, &Aspect::AccountKey, key)?;
        }
        self.documents.save_json(Group::Staging, &place, &Aspect::AccountJson, account)?;
        if place != draft {
            self.documents.store().purge(Group::Staging, &draft).map_err(port_error)?;
        }
        self.known().usable.push((account.clone(), key.clone()));
        Ok(())
    }

    fn other_keys(&self, account: &AccountRecord, refused: &PrivateKey) -> Vec<PrivateKey> {
        let items = read_all(&self.documents).into_iter().filter(|stored| {
            stored.group == Group::Accounts
                && stored.record.url == account.url
                && stored.record.ca_url == account.ca_url
        });
        let keys = |item: String| {
            let aspects = [Aspect::NextAccountKey, Aspect::AccountKey];
            aspects.map(|aspect| self.documents.load_key(Group::Accounts, &item, &aspect)).into_iter().flatten()
        };
        items.flat_map(|stored| keys(stored.item)).filter(|key| !key.is_same(refused)).collect()
    }

    fn change_key(&self, account: &AccountRecord, key: &PrivateKey) {
        let mut known = self.known();
        for (_, former) in known.usable.iter_mut().filter(|(record, _)| record.url == account.url) {
            former.clone_from(key);
        }
    }

    fn forget(&self, account: &AccountRecord, why: &str) -> Result<(), PortError> {
        let mut known = self.known();
        known.usable.retain(|(record, _)| record.url != account.url);
        if known.lost.insert(account.url.clone()) {
            known.untold.push((account.scope(), GivenUp { url: account.url.clone(), why: why.to_owned() }));
        }
        Ok(())
    }

    fn given_up(&self, scope: &AccountScope) -> Vec<GivenUp> {
        let mut known = self.known();
        let all = std::mem::take(&mut known.untold).into_iter();
        let (told, untold): (Vec<_>, Vec<_>) = all.partition(|(of, _)| of == scope);
        known.untold = untold;
        told.into_iter().map(|(_, given_up)| given_up).collect()
    }
}

fn read_all(documents: &Documents) -> Vec<Stored> {
    let read = |group: Group, item: String| {
        let record = documents.load_json(group, &item, &Aspect::AccountJson)?;
        Some(Stored { group, item, record })
    };
    let list = |group| documents.store().list(group).unwrap_or_default();
    let moved = list(Group::Accounts).into_iter().rev().filter_map(|id| read(Group::Accounts, id));
    let moved = moved.filter(|stored| stored.item.starts_with(&id_prefix(&stored.record.ca_url)));
    let staged = list(Group::Staging).into_iter().filter_map(|name| read(Group::Staging, name));
    moved.chain(staged.take(MOST_STAGED)).collect()
}

/// Returns an item of `staging/` that is no domain's, as domain names have no capital letters. Holds the draft key of a
/// registration, which any domain may complete, and accounts whose domain already has an account of another scope there.
pub(crate) fn draft_item(scope: &AccountScope) -> String {
    let mut hasher = DefaultHasher::new();
    (&scope.ca_url, scope.eab.as_ref().map(|eab| &eab.kid)).hash(&mut hasher);
    format!("{}{:016x}", id_prefix(&scope.ca_url), hasher.finish())
}

/// Returns the beginning of the ids of accounts at this CA: `ACME-`, the last 16 characters of the host, `-`.
pub(crate) fn id_prefix(ca_url: &str) -> String {
    let host = url::Url::parse(ca_url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let short = host.len().checked_sub(16).and_then(|from| host.get(from..)).unwrap_or(&host);
    format!("ACME-{short}-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Accounts;
    use crate::acme::AccountStatus;
    use crate::model::Eab;
    use crate::store::MemoryStore;

    fn book(documents: &Arc<Documents>, domain: &str) -> StoredAccounts {
        StoredAccounts::new(Arc::default(), Arc::clone(documents), domain)
    }

    fn scope(ca: &str, kid: Option<&str>) -> AccountScope {
        let eab = kid.map(|kid| Eab { kid: kid.to_owned(), hmac: "c2VjcmV0".to_owned() });
        AccountScope { ca_url: format!("https://{ca}/dir"), eab }
    }

    fn account(scope: &AccountScope, url: &str) -> AccountRecord {
        AccountRecord {
            status: Some(AccountStatus::Valid),
            url: url.to_owned(),
            ca_url: scope.ca_url.clone(),
            contact: Vec::new(),
            registration: None,
            agreement: None,
            orders: None,
            eab: scope.eab.clone(),
        }
    }

    #[test]
    fn accounts_of_several_cas_wait_side_by_side_and_all_move() {
        let documents = Arc::new(Documents::new(Arc::new(MemoryStore::new())));
        let scopes = [scope("one.test", None), scope("two.test", Some("a")), scope("two.test", Some("b"))];
        for (scope, url) in scopes.iter().zip(["u1", "u2", "u3"]) {
            let key = book(&documents, "x.org").draft_key(scope).unwrap();
            // A registration that was interrupted continues with its key, for any domain.
            assert!(
                book(&documents, "y.org")
                    .draft_key(scope)
                    .unwrap()
                    .fits_spec(&crate::model::KeySpec::Rsa { bits: 3072 })
            );
            let again = book(&documents, "y.org").draft_key(scope).unwrap();
            assert_eq!(again.to_pem().unwrap(), key.to_pem().unwrap(), "{url}");
            if url == "u1" {
                book(&documents, "y.org").drop_draft_key(scope).unwrap();
                assert!(!documents.store().exists(Group::Staging, &draft_item(scope), &Aspect::AccountKey));
            }
            book(&documents, "x.org").add(&account(scope, url), &key).unwrap();
        }
        let found = |documents: &Arc<Documents>| -> Vec<String> {
            scopes.iter().map(|scope| book(documents, "z.org").find(scope).unwrap().0.url).collect()
        };
        assert_eq!(found(&documents), ["u1", "u2", "u3"]);
        assert_eq!(documents.store().list(Group::Staging).unwrap().len(), 3);
        let mut accounts = Accounts::read(&documents).unwrap();
        accounts.adopt_staged(&documents, std::time::Instant::now());
        assert_eq!(found(&documents), ["u1", "u2", "u3"]);
        let ids = documents.store().list(Group::Accounts).unwrap();
        assert_eq!(ids, ["ACME-one.test-0000", "ACME-two.test-0000", "ACME-two.test-0001"]);
        assert!(documents.store().list(Group::Staging).unwrap().is_empty());
    }

    #[test]
    fn a_draft_key_is_removed_once_its_account_is_stored() {
        let documents = Arc::new(Documents::new(Arc::new(MemoryStore::new())));
        let scope = scope("one.test", None);
        let key = book(&documents, "x.org").draft_key(&scope).unwrap();
        book(&documents, "x.org").add(&account(&scope, "u1"), &key).unwrap();
        // The state after a crash between the two writes.
        let draft = draft_item(&scope);
        documents.save_key(Group::Staging, &draft, &Aspect::AccountKey, &key).unwrap();
        let drafts = || documents.store().list(Group::Staging).unwrap();
        let mut accounts = Accounts::read(&documents).unwrap();
        accounts.adopt_staged(&documents, std::time::Instant::now());
        accounts.adopt_staged(&documents, std::time::Instant::now());
        assert!(!drafts().contains(&draft));
        // The draft key of a registration that has not ended stays.
        book(&documents, "x.org").draft_key(&scope).unwrap();
        accounts.adopt_staged(&documents, std::time::Instant::now());
        assert!(drafts().contains(&draft));
    }

    #[test]
    fn servers_that_share_a_store_register_one_account() {
        let documents = Arc::new(Documents::new(Arc::new(MemoryStore::new())));
        let other = scope("two.test", None);
        let scope = scope("one.test", None);
        let [first, second] = ["a.org", "b.org"].map(|domain| book(&documents, domain));
        assert!(first.find(&scope).is_none() && second.find(&scope).is_none());
        let claim = first.claim(&scope).unwrap();
        assert!(claim.is_some() && second.claim(&scope).unwrap().is_none());
        assert!(second.claim(&other).unwrap().is_some(), "another CA is another matter");
        let key = first.draft_key(&scope).unwrap();
        first.add(&account(&scope, "u1"), &key).unwrap();
        drop(claim);
        assert!(second.claim(&scope).unwrap().is_some());
        assert_eq!(second.find(&scope).unwrap().0.url, "u1");
    }

    #[test]
    fn an_account_that_a_start_has_moved_is_found_again() {
        let documents = Arc::new(Documents::new(Arc::new(MemoryStore::new())));
        let other = scope("two.test", None);
        let scope = scope("one.test", None);
        let [first, second] = ["a.org", "b.org"].map(|domain| book(&documents, domain));
        let key = first.draft_key(&scope).unwrap();
        first.add(&account(&scope, "u1"), &key).unwrap();
        assert!(second.find(&other).is_none(), "what is staged is read");
        Accounts::read(&documents).unwrap().adopt_staged(&documents, std::time::Instant::now());
        assert!(second.find(&scope).is_none());
        assert!(second.claim(&scope).unwrap().is_some());
        assert_eq!(second.find(&scope).unwrap().0.url, "u1");
    }

    #[test]
    fn two_starts_that_move_accounts_at_the_same_time_give_them_different_ids() {
        let documents = Arc::new(Documents::new(Arc::new(MemoryStore::new())));
        let scope = scope("one.test", None);
        let key = PrivateKey::generate(&crate::model::KeySpec::Ec { curve: "P-256".into() }).unwrap();
        let mut starts = [0; 2].map(|_| Accounts::read(&documents).unwrap());
        let ids = [0, 1].map(|n| starts[n].add(&documents, &account(&scope, &format!("u{n}")), &key).unwrap());
        assert_eq!(ids, ["ACME-one.test-0000", "ACME-one.test-0001"]);
    }

    #[test]
    fn a_new_account_replaces_a_lost_one() {
        let documents = Arc::new(Documents::new(Arc::new(MemoryStore::new())));
        let scope = scope("one.test", None);
        let book = book(&documents, "x.org");
        for url in ["u1", "u2"] {
            let key = book.draft_key(&scope).unwrap();
            book.add(&account(&scope, url), &key).unwrap();
            assert_eq!(book.find(&scope).unwrap().0.url, url);
            book.forget(&account(&scope, url), "why").unwrap();
        }
        assert_eq!(documents.store().list(Group::Staging).unwrap(), ["x.org"]);
    }
}
