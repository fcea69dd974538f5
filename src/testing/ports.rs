//! The ports of the ACME driver in memory.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use crate::acme::{
    AccountBook, AccountClaim, AccountRecord, AccountScope, Attempt, ChainRefused, ChallengeSetup, ChallengeType,
    GivenUp, Journal, OrderRecord, PortError, Publisher,
};
use crate::crypto::{Chain, PrivateKey};
use crate::model::{ChallengeRecord, KeySpec, Status, TxtRecord};

/// The journal of one domain in memory.
#[derive(Default)]
pub struct Staged {
    pub order: OrderRecord,
    pub orders_saved: Vec<OrderRecord>,
    pub keys: HashMap<String, PrivateKey>,
    pub chains: HashMap<String, Chain>,
    pub activities: Vec<String>,
    pub events: Vec<String>,
    pub records: Vec<TxtRecord>,
    pub challenges: ChallengeRecord,
    pub taken_away: Vec<String>,
    pub objects: bool,
    pub full: bool,
    pub loses_keys: bool,
    pub refused_replacements: Vec<String>,
}

#[derive(Clone, Default)]
pub struct MemoryJournal(pub Arc<Mutex<Staged>>);

/// The published challenges, and the calls for them.
#[derive(Default)]
pub struct Published {
    pub data: HashMap<ChallengeSetup, String>,
    pub calls: Vec<String>,
    pub busy: u32,
    pub unsupported: Vec<ChallengeType>,
    pub broken: Vec<ChallengeType>,
}

#[derive(Clone, Default)]
pub struct MemoryPublisher(pub Arc<Mutex<Published>>);

#[derive(Default)]
pub struct Book {
    pub draft: Option<PrivateKey>,
    pub accounts: Vec<(AccountRecord, PrivateKey)>,
    pub drafted: usize,
    pub busy: bool,
    /// Keys that the accounts may have, too.
    pub other_keys: Vec<PrivateKey>,
    pub given_up: Vec<GivenUp>,
}

#[derive(Clone, Default)]
pub struct MemoryBook(pub Arc<Mutex<Book>>);

/// Account keys take long to make.
pub static ACCOUNT_KEYS: LazyLock<[PrivateKey; 2]> = LazyLock::new(|| [ec(), ec()]);

pub fn spec() -> KeySpec {
    KeySpec::Ec { curve: "P-256".to_owned() }
}

pub fn ec() -> PrivateKey {
    PrivateKey::generate(&spec()).unwrap()
}

pub fn broken(text: &str) -> PortError {
    PortError { status: Status::GENERAL, text: text.to_owned() }
}

pub fn full() -> PortError {
    PortError { status: Status(28), text: "no space left".to_owned() }
}

impl Journal for MemoryJournal {
    fn order(&self) -> OrderRecord {
        self.0.lock().unwrap().order.clone()
    }

    fn save_order(&mut self, order: &OrderRecord) -> Result<(), PortError> {
        let mut staged = self.0.lock().unwrap();
        if staged.full {
            return Err(full());
        }
        staged.order = order.clone();
        staged.orders_saved.push(order.clone());
        Ok(())
    }

    fn key(&mut self, spec: &KeySpec) -> Option<PrivateKey> {
        let staged = self.0.lock().unwrap();
        staged.keys.get(spec.json_name()).filter(|_| !staged.loses_keys).cloned()
    }

    fn save_key(&mut self, spec: &KeySpec, key: &PrivateKey) -> Result<(), PortError> {
        self.0.lock().unwrap().keys.insert(spec.json_name().to_owned(), key.clone());
        Ok(())
    }

    fn has_chain(&self, spec: &KeySpec) -> bool {
        self.0.lock().unwrap().chains.contains_key(spec.json_name())
    }

    fn save_chain(&mut self, spec: &KeySpec, chain: &Chain) -> Result<(), ChainRefused> {
        self.0.lock().unwrap().chains.insert(spec.json_name().to_owned(), chain.clone());
        Ok(())
    }

    fn may_replace(&self, certificate: &str) -> bool {
        !self.0.lock().unwrap().refused_replacements.iter().any(|refused| refused == certificate)
    }

    fn set_may_replace(&mut self, certificate: &str, may: bool) {
        let refused = &mut self.0.lock().unwrap().refused_replacements;
        refused.retain(|own| own != certificate);
        refused.extend((!may).then(|| certificate.to_owned()));
    }

    fn challenge_record(&self) -> ChallengeRecord {
        self.0.lock().unwrap().challenges.clone()
    }

    fn record_challenges(&mut self, record: &ChallengeRecord) {
        self.0.lock().unwrap().challenges = record.clone();
    }

    fn progress(&mut self, activity: &str) {
        self.0.lock().unwrap().activities.push(activity.to_owned());
    }

    fn needs_records(&mut self, records: &[TxtRecord]) {
        self.0.lock().unwrap().records = records.to_vec();
    }

    fn challenge_in_place(&mut self, set_up: &ChallengeSetup) -> Result<(), PortError> {
        let mut staged = self.0.lock().unwrap();
        staged.events.push(set_up.to_string());
        if staged.objects { Err(broken("the event failed")) } else { Ok(()) }
    }

    fn challenge_taken_away(&mut self, set_up: &ChallengeSetup) -> Result<(), PortError> {
        self.0.lock().unwrap().taken_away.push(set_up.to_string());
        Ok(())
    }
}

impl Publisher for MemoryPublisher {
    fn reserve(&mut self, set_up: &ChallengeSetup) -> Result<Attempt, PortError> {
        let mut published = self.0.lock().unwrap();
        if published.unsupported.contains(&set_up.kind) {
            return Err(PortError { status: Status::UNSUPPORTED, text: "not here".to_owned() });
        }
        Ok(if published.is_free() { Attempt::Done } else { Attempt::Busy })
    }

    fn publish(&mut self, set_up: &ChallengeSetup, value: &str) -> Result<(), PortError> {
        let mut published = self.0.lock().unwrap();
        published.calls.push(format!("+{set_up}"));
        published.data.insert(set_up.clone(), value.to_owned());
        if published.broken.contains(&set_up.kind) { Err(broken("out of order")) } else { Ok(()) }
    }

    fn withdraw(&mut self, set_up: &ChallengeSetup) -> Result<Attempt, PortError> {
        let mut published = self.0.lock().unwrap();
        if !published.is_free() {
            return Ok(Attempt::Busy);
        }
        published.calls.push(format!("-{set_up}"));
        published.data.remove(set_up);
        Ok(Attempt::Done)
    }
}

impl Published {
    pub fn is_free(&mut self) -> bool {
        self.busy = self.busy.saturating_sub(1);
        self.busy == 0
    }

    /// Returns all key authorizations for a name, a line each, as the CA finds them.
    pub fn look(&self, name: &str) -> Option<String> {
        let found: Vec<_> =
            self.data.iter().filter(|(set_up, _)| set_up.name == name).map(|(_, data)| data.as_str()).collect();
        (!found.is_empty()).then(|| found.join("\n"))
    }
}

impl AccountBook for MemoryBook {
    fn claim(&self, _scope: &AccountScope) -> Result<Option<AccountClaim>, PortError> {
        Ok((!self.0.lock().unwrap().busy).then(|| Box::new(()) as _))
    }

    fn find(&self, scope: &AccountScope) -> Option<(AccountRecord, PrivateKey)> {
        self.0.lock().unwrap().accounts.iter().find(|(record, _)| record.is_for(scope)).cloned()
    }

    fn draft_key(&self, _scope: &AccountScope) -> Result<PrivateKey, PortError> {
        let mut book = self.0.lock().unwrap();
        if book.draft.is_none() {
            book.draft = Some(ACCOUNT_KEYS[book.drafted].clone());
            book.drafted += 1;
        }
        Ok(book.draft.clone().unwrap())
    }

    fn drop_draft_key(&self, _scope: &AccountScope) -> Result<(), PortError> {
        self.0.lock().unwrap().draft = None;
        Ok(())
    }

    fn add(&self, account: &AccountRecord, key: &PrivateKey) -> Result<(), PortError> {
        let mut book = self.0.lock().unwrap();
        book.draft.take().unwrap();
        book.accounts.push((account.clone(), key.clone()));
        Ok(())
    }

    fn other_keys(&self, _: &AccountRecord, _: &PrivateKey) -> Vec<PrivateKey> {
        self.0.lock().unwrap().other_keys.clone()
    }

    fn change_key(&self, account: &AccountRecord, key: &PrivateKey) {
        let mut book = self.0.lock().unwrap();
        book.accounts.iter_mut().filter(|(known, _)| known.url == account.url).for_each(|(_, old)| old.clone_from(key));
    }

    fn forget(&self, account: &AccountRecord, why: &str) -> Result<(), PortError> {
        let mut book = self.0.lock().unwrap();
        book.accounts.retain(|(record, _)| record.url != account.url);
        book.given_up.push(GivenUp { url: account.url.clone(), why: why.to_owned() });
        Ok(())
    }

    fn given_up(&self, _: &AccountScope) -> Vec<GivenUp> {
        self.0.lock().unwrap().given_up.clone()
    }
}
