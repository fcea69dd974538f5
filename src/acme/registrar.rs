//! Accounts at one CA apart from any renewal: registration, a look at what the CA has, agreement (RFC 8555 section 7.3).

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::account::{Account, NewAccount};
use super::session::{json, location};
use super::{AccountRecord, AccountStatus, AcmeError, Directory, Session};
use crate::clock::Clock;
use crate::crypto::{KeyRef, PrivateKey};
use crate::http::{HttpClient, Response};

/// Works on accounts at one CA.
pub struct Registrar {
    session: Session,
    directory: Directory,
    ca_url: String,
}

impl Registrar {
    /// Refused nonces in a row that are taken.
    const MAX_REFUSED_NONCES: u32 = 25;

    /// Reads the directory of the CA.
    ///
    /// # Errors
    /// If there is none.
    pub fn connect(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>, ca_url: &str) -> Result<Self, AcmeError> {
        let mut session = Session::new(http, clock);
        let directory = session.directory(ca_url)?;
        Ok(Self { session, directory, ca_url: ca_url.to_owned() })
    }

    /// URL of the CA's terms of service.
    #[must_use]
    pub fn terms(&self) -> Option<&str> {
        self.directory.meta.terms_of_service.as_deref()
    }

    /// Registers an account for `key`. Without an agreement the CA is asked all the same: it is its word that counts.
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
            terms_of_service_agreed: agreement.is_some() && self.terms().is_some(),
            external_account_binding: None,
        };
        let new_account = self.directory.new_account.clone();
        let response = self.post(&new_account, key, KeyRef::Jwk, &payload)?;
        let record = AccountRecord {
            status: None,
            url: location(&new_account, &response)?,
            ca_url: self.ca_url.clone(),
            contact: Vec::new(),
            registration: None,
            agreement: agreement.map(str::to_owned),
            orders: None,
            eab: None,
        };
        heard(record, &response)
    }

    /// The account as the CA has it now.
    ///
    /// # Errors
    /// If the CA does not know it.
    pub fn refresh(&mut self, account: &AccountRecord, key: &PrivateKey) -> Result<AccountRecord, AcmeError> {
        let response = self.retried(|session, ca| session.read(ca, &account.url, key, &account.url))?;
        heard(account.clone(), &response)
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
        // Some CAs take an update only if it says something that they keep.
        let mut payload = json!({ "termsOfServiceAgreed": true });
        if !account.contact.is_empty() {
            payload["contact"] = account.contact.clone().into();
        }
        let response = self.post(&account.url, key, KeyRef::Kid(&account.url), &payload)?;
        heard(AccountRecord { agreement: Some(agreement.to_owned()), ..account.clone() }, &response)
    }

    fn post(
        &mut self,
        url: &str,
        key: &PrivateKey,
        key_ref: KeyRef<'_>,
        payload: &impl Serialize,
    ) -> Result<Response, AcmeError> {
        self.retried(|session, ca| session.post(ca, url, key, key_ref, payload))
    }

    fn retried(
        &mut self,
        send: impl Fn(&mut Session, &Directory) -> Result<Response, AcmeError>,
    ) -> Result<Response, AcmeError> {
        let mut refused = 0;
        loop {
            match send(&mut self.session, &self.directory) {
                Err(AcmeError::BadNonce) if refused < Self::MAX_REFUSED_NONCES => refused += 1,
                result => return result,
            }
        }
    }
}

/// The account with what the CA said of it.
fn heard(record: AccountRecord, response: &Response) -> Result<AccountRecord, AcmeError> {
    let said: Account = json(&record.url, response)?;
    Ok(AccountRecord {
        status: said.status.or(Some(AccountStatus::Valid)),
        contact: said.contact,
        registration: json(&record.url, response).ok(),
        orders: said.orders.or(record.orders.clone()),
        ..record
    })
}
