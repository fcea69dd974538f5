//! Accounts at one CA apart from any renewal (RFC 8555 section 7.3): registered, read, changed, deactivated. And the
//! revocation of certificates (section 7.6).

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::account::{Account, NewAccount, registration};
use super::records::persist_records;
use super::session::{json, location};
use super::{
    AccountBook, AccountRecord, AccountStatus, AcmeError, Applicant, Directory, PersistRecord, Registered, Session,
    confirm, read_account,
};
use crate::clock::Clock;
use crate::crypto::{Certificate, KeyRef, PrivateKey, base64url, sign_key_change};
use crate::http::{HttpClient, RequestKind, Response};
use crate::model::{Identifier, Timestamp, without_passwords};

/// Works on accounts at one CA.
pub struct Registrar {
    session: Session,
    directory: Directory,
    ca_url: String,
}

impl Registrar {
    /// The most refused nonces in a row.
    const MAX_REFUSED_NONCES: u32 = 25;

    /// Reads the directory of the CA.
    ///
    /// # Errors
    /// If the CA gives none.
    pub fn connect(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>, ca_url: &str) -> Result<Self, AcmeError> {
        let mut session = Session::new(http, clock);
        let directory = session.directory(ca_url)?;
        Ok(Self { session, directory, ca_url: ca_url.to_owned() })
    }

    /// Returns the URL of the CA's terms of service.
    #[must_use]
    pub fn terms(&self) -> Option<&str> {
        self.directory.meta.terms_of_service.as_deref()
    }

    /// Registers an account for `key`. Without an agreement the CA is asked all the same, as its answer is what counts.
    ///
    /// # Errors
    /// If the CA refuses.
    pub fn register(
        &mut self,
        key: &PrivateKey,
        contacts: &[String],
        agreement: Option<&str>,
    ) -> Result<AccountRecord, AcmeError> {
        let payload = NewAccount {
            contact: contacts,
            terms_of_service_agreed: agreement.is_some(),
            external_account_binding: None,
        };
        let new_account = self.directory.new_account.clone();
        let response = self.post(&new_account, key, KeyRef::Jwk, &payload)?;
        let record = self.record(location(&self.directory, &new_account, &response)?, agreement);
        updated(record, &response)
    }

    /// Checks that everything is there that a registration needs.
    ///
    /// # Errors
    /// The first missing part.
    pub fn check(&self, applicant: &Applicant<'_>) -> Result<(), AcmeError> {
        applicant.check(&self.directory)
    }

    /// Registers an account as a renewal does, bound to the external account if any. The account is not saved yet.
    ///
    /// # Errors
    /// If the CA refuses.
    pub fn register_as(&mut self, applicant: &Applicant<'_>, key: &PrivateKey) -> Result<Registered, AcmeError> {
        self.retried(|session, ca| applicant.register(session, ca, key))
    }

    /// Returns the records that let the account prove these names with dns-persist-01: one for each name and each name of the CA,
    /// of which one is enough. Empty if the CA does not give its names. The records count until `until`, if given.
    ///
    /// # Errors
    /// If no record can hold the account URI.
    pub fn persist_records(
        &self,
        account: &AccountRecord,
        key: &PrivateKey,
        identifiers: &[Identifier],
        until: Option<Timestamp>,
    ) -> Result<Vec<PersistRecord>, AcmeError> {
        persist_records(&self.directory, (&account.url, key), identifiers, until)
    }

    /// Reads the account from the CA.
    ///
    /// # Errors
    /// If the CA refuses. [`AcmeError::is_account_lost`] tells whether the CA does not have the account any more.
    pub fn refresh(&mut self, account: &AccountRecord, key: &PrivateKey) -> Result<AccountRecord, AcmeError> {
        let response = self.retried(|session, ca| read_account(session, ca, &account.url, key))?;
        updated(account.clone(), &response)
    }

    /// Asks the CA about an account of the book, with each key that the account may have. Returns the account with the key that the
    /// CA accepts, or `None` if the CA does not have the account any more: the book has given it up then.
    ///
    /// # Errors
    /// If the CA refuses the account for any other reason, or cannot be asked.
    pub fn confirm(
        &mut self,
        book: &dyn AccountBook,
        account: AccountRecord,
        key: PrivateKey,
    ) -> Result<Option<(AccountRecord, PrivateKey)>, AcmeError> {
        let known = account.clone();
        confirm(book, account, key, |_, key| Ok(self.refresh(&known, key)?.status))
    }

    /// Finds the account that the CA has for a key, without registering one (RFC 8555 section 7.3.1); `None` if it has none.
    ///
    /// # Errors
    /// If the CA does not answer that.
    pub fn lookup(&mut self, key: &PrivateKey) -> Result<Option<AccountRecord>, AcmeError> {
        let new_account = self.directory.new_account.clone();
        let response = match self.post(&new_account, key, KeyRef::Jwk, &json!({ "onlyReturnExisting": true })) {
            Err(AcmeError::Problem { problem, .. }) if problem.is("accountDoesNotExist") => return Ok(None),
            result => result?,
        };
        let record = self.record(location(&self.directory, &new_account, &response)?, None);
        updated(record, &response).map(Some)
    }

    /// Tells the CA that its terms are agreed to (RFC 8555 section 7.3.3).
    ///
    /// # Errors
    /// If the CA refuses.
    pub fn agree(
        &mut self,
        account: &AccountRecord,
        key: &PrivateKey,
        agreement: &str,
    ) -> Result<AccountRecord, AcmeError> {
        self.update(account, key, &account.contact, Some(agreement))
    }

    /// Changes the contacts at the CA, unless there are none, and agrees to the terms, if they are agreed to (RFC 8555 sections
    /// 7.3.2 and 7.3.3).
    ///
    /// # Errors
    /// If the CA refuses.
    pub fn update(
        &mut self,
        account: &AccountRecord,
        key: &PrivateKey,
        contacts: &[String],
        agreement: Option<&str>,
    ) -> Result<AccountRecord, AcmeError> {
        // Some CAs take an agreement only together with a change.
        let mut payload = json!({});
        if agreement.is_some() {
            payload["termsOfServiceAgreed"] = true.into();
        }
        if !contacts.is_empty() {
            payload["contact"] = contacts.into();
        }
        let response = self.post(&account.url, key, KeyRef::Kid(&account.url), &payload)?;
        let agreement = agreement.map(str::to_owned).or_else(|| account.agreement.clone());
        updated(AccountRecord { agreement, ..account.clone() }, &response)
    }

    /// Deactivates the account, for good (RFC 8555 section 7.3.6). The status of the result is valid if the CA says that the
    /// account is so: some CAs ignore the request.
    ///
    /// # Errors
    /// If the CA refuses.
    pub fn deactivate(&mut self, account: &AccountRecord, key: &PrivateKey) -> Result<AccountRecord, AcmeError> {
        let payload = json!({ "status": "deactivated" });
        let response = self.post(&account.url, key, KeyRef::Kid(&account.url), &payload)?;
        let said: Account = json(&account.url, &response)?;
        let known = updated(account.clone(), &response)?;
        Ok(AccountRecord { status: said.status.or(Some(AccountStatus::Deactivated)), ..known })
    }

    /// Changes the key of the account from `old` to `new` (RFC 8555 section 7.3.5).
    ///
    /// # Errors
    /// If the CA refuses. If its answer was lost, the key may have been changed all the same.
    pub fn change_key(&mut self, account: &AccountRecord, old: &PrivateKey, new: &PrivateKey) -> Result<(), AcmeError> {
        let url = self.key_change()?.to_owned();
        let inner = sign_key_change(new, old, &url, &account.url)?;
        self.post(&url, old, KeyRef::Kid(&account.url), &inner)?;
        Ok(())
    }

    /// Returns the URL for key changes.
    ///
    /// # Errors
    /// If the CA does not take key changes.
    pub fn key_change(&self) -> Result<&str, AcmeError> {
        self.offered(self.directory.key_change.as_deref(), "a keyChange resource, so keys stay as they are")
    }

    /// Revokes a certificate, for one of the reasons of RFC 5280 section 5.3.1 if given. `key_ref` is the account that `key`
    /// belongs to, or [`KeyRef::Jwk`] for the key of the certificate itself (RFC 8555 section 7.6).
    ///
    /// # Errors
    /// If the CA refuses.
    pub fn revoke(
        &mut self,
        certificate: &Certificate,
        reason: Option<u8>,
        key: &PrivateKey,
        key_ref: KeyRef<'_>,
    ) -> Result<(), AcmeError> {
        let url = self.offered(self.directory.revoke_cert.as_deref(), "a revokeCert resource")?.to_owned();
        let mut payload = json!({ "certificate": base64url(certificate.to_der()) });
        if let Some(reason) = reason {
            payload["reason"] = reason.into();
        }
        self.post(&url, key, key_ref, &payload)?;
        Ok(())
    }

    fn offered<'a>(&self, url: Option<&'a str>, what: &'static str) -> Result<&'a str, AcmeError> {
        url.ok_or_else(|| AcmeError::Lacks { url: without_passwords(&self.ca_url).into_owned(), what })
    }

    fn record(&self, url: String, agreement: Option<&str>) -> AccountRecord {
        AccountRecord {
            status: None,
            url,
            ca_url: self.ca_url.clone(),
            contact: Vec::new(),
            registration: None,
            agreement: agreement.map(str::to_owned),
            orders: None,
            eab: None,
        }
    }

    fn post(
        &mut self,
        url: &str,
        key: &PrivateKey,
        key_ref: KeyRef<'_>,
        payload: &impl Serialize,
    ) -> Result<Response, AcmeError> {
        self.retried(|session, ca| session.about(RequestKind::Account).post(ca, url, key, key_ref, payload))
    }

    fn retried<T>(&mut self, send: impl Fn(&mut Session, &Directory) -> Result<T, AcmeError>) -> Result<T, AcmeError> {
        let mut refused = 0;
        loop {
            match send(&mut self.session, &self.directory) {
                Err(AcmeError::BadNonce) if refused < Self::MAX_REFUSED_NONCES => refused += 1,
                result => return result,
            }
        }
    }
}

/// Returns the account with the CA's description of it.
fn updated(record: AccountRecord, response: &Response) -> Result<AccountRecord, AcmeError> {
    let account: Account = json(&record.url, response)?;
    Ok(AccountRecord {
        status: account.status.or(Some(AccountStatus::Valid)),
        contact: account.contact,
        registration: registration(response),
        orders: account.orders.or(record.orders.clone()),
        ..record
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::clock::SettableClock;
    use crate::model::KeySpec;
    use crate::testing::ca::{FakeCa, Fault, Operation};

    fn scene() -> (Arc<FakeCa>, Registrar, PrivateKey) {
        let clock = Arc::new(SettableClock::new(Timestamp::UNIX_EPOCH));
        let ca = FakeCa::new(Arc::clone(&clock), |_| None);
        let registrar = Registrar::connect(Arc::clone(&ca) as _, clock, FakeCa::DIRECTORY).unwrap();
        (ca, registrar, PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap())
    }

    #[test]
    fn an_account_is_registered_and_read_back() {
        let (ca, mut registrar, key) = scene();
        let contacts = ["mailto:a@x.org".to_owned()];
        let account = registrar.register(&key, &contacts, Some("accepted")).unwrap();
        assert_eq!((account.status, account.agreement.as_deref()), (Some(AccountStatus::Valid), Some("accepted")));
        assert_eq!(ca.registration()["termsOfServiceAgreed"], true);
        let known = registrar.refresh(&account, &key).unwrap();
        assert_eq!((known.url.as_str(), &known.agreement), (account.url.as_str(), &account.agreement));
        ca.set_accounts("gone");
        assert!(registrar.refresh(&account, &key).unwrap_err().is_account_lost());
        ca.check();
    }

    #[test]
    fn without_an_agreement_the_ca_is_asked_and_refuses() {
        let (ca, mut registrar, key) = scene();
        let refused = registrar.register(&key, &["mailto:a@x.org".to_owned()], None).unwrap_err();
        assert!(matches!(refused, AcmeError::Problem { .. }), "{refused}");
        assert_eq!((ca.count(Operation::NewAccount), ca.accounts()), (1, 0));
    }

    #[test]
    fn an_account_is_found_changed_and_given_up() {
        let (ca, mut registrar, key) = scene();
        assert_eq!(registrar.lookup(&key).unwrap(), None);
        let account = registrar.register(&key, &["mailto:a@x.org".to_owned()], Some("accepted")).unwrap();
        let found = registrar.lookup(&key).unwrap().unwrap();
        assert_eq!((found.url.as_str(), found.contact.as_slice()), (account.url.as_str(), account.contact.as_slice()));
        let contacts = ["mailto:b@x.org".to_owned()];
        let updated = registrar.update(&account, &key, &contacts, None).unwrap();
        assert_eq!((&updated.contact[..], updated.agreement.as_deref()), (&contacts[..], Some("accepted")));
        let next = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        registrar.change_key(&updated, &key, &next).unwrap();
        assert_eq!(registrar.lookup(&key).unwrap(), None);
        let refused = registrar.refresh(&updated, &key).unwrap_err();
        assert!(refused.is("malformed") && !refused.is_account_lost(), "the account has another key");
        assert_eq!(registrar.refresh(&updated, &next).unwrap().contact, contacts);
        let gone = registrar.deactivate(&updated, &next).unwrap();
        assert_eq!(gone.status, Some(AccountStatus::Deactivated));
        assert_eq!(registrar.refresh(&gone, &next).unwrap().status, Some(AccountStatus::Deactivated));
        assert_eq!((ca.accounts(), ca.count(Operation::KeyChange)), (1, 1));
        ca.check();
    }

    #[test]
    fn a_ca_without_revocation_or_change_of_keys_is_told_apart() {
        let (ca, _, key) = scene();
        ca.fail(
            Operation::Directory,
            Fault::Alter(|answer| {
                let text = String::from_utf8(answer.body.clone()).unwrap();
                answer.body = text.replace("revokeCert", "x").replace("keyChange", "y").into_bytes();
            }),
        );
        let clock = Arc::new(SettableClock::new(Timestamp::UNIX_EPOCH));
        let mut registrar = Registrar::connect(Arc::clone(&ca) as _, clock, FakeCa::DIRECTORY).unwrap();
        let account = registrar.register(&key, &[], Some("accepted")).unwrap();
        let refused = registrar.change_key(&account, &key, &key).unwrap_err().to_string();
        assert!(refused.contains("lacks a keyChange resource"), "{refused}");
        let names = [crate::model::DomainName::parse("x.org").unwrap()];
        let own = crate::crypto::self_signed(&key, "x", &names, Timestamp::UNIX_EPOCH, 1).unwrap();
        let refused = registrar.revoke(&own, None, &key, KeyRef::Jwk).unwrap_err().to_string();
        assert!(refused.contains("lacks a revokeCert resource"), "{refused}");
        ca.check();
    }

    #[test]
    fn refused_nonces_are_taken_within_limits() {
        let (ca, mut registrar, key) = scene();
        ca.fail_times(Operation::NewAccount, 25, Fault::RefuseNonce);
        let account = registrar.register(&key, &[], Some("accepted")).unwrap();
        ca.fail_times(Operation::Account, 26, Fault::RefuseNonce);
        assert!(matches!(registrar.refresh(&account, &key), Err(AcmeError::BadNonce)));
    }
}
