//! Registers an account at a CA (RFC 8555 section 7.3).

use serde_json::Value;

use super::account::{Account, NewAccount};
use super::session::{json, location};
use super::{AccountRecord, AccountScope, AccountStatus, AcmeError, Directory, GivenUp, Session};
use crate::crypto::{KeyRef, PrivateKey, sign_eab};
use crate::log::report;
use crate::model::Eab;

/// The administrator's part where another account is used.
const RECORDS: &str = "CAA records with accounturi and records for dns-persist-01 have to name it";

/// The contacts, agreement and external account of a registration.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// Name of the domain, for messages.
    pub name: &'a str,
    /// The CA, and the external account if any.
    pub scope: &'a AccountScope,
    /// Contact URIs.
    pub contacts: &'a [String],
    /// The agreement to the CA's terms, as configured.
    pub agreement: Option<&'a str>,
}

impl Applicant<'_> {
    /// Checks that everything is there that a registration needs.
    ///
    /// # Errors
    /// The first missing part.
    pub(crate) fn check(&self, ca: &Directory) -> Result<(), AcmeError> {
        if self.contacts.is_empty() {
            return Err(AcmeError::NoContact(self.name.to_owned()));
        }
        if self.agreement.is_none() {
            let terms = ca.meta.terms_of_service.clone().unwrap_or_else(|| "none".to_owned());
            return Err(AcmeError::NoAgreement { terms });
        }
        Ok(())
    }

    /// Registers an account for `key`. The account is not saved yet.
    ///
    /// # Errors
    /// If the CA refuses.
    pub(crate) fn register(
        &self,
        session: &mut Session,
        ca: &Directory,
        key: &PrivateKey,
    ) -> Result<AccountRecord, AcmeError> {
        let eab = self.scope.eab.as_ref();
        let payload = NewAccount {
            contact: self.contacts,
            terms_of_service_agreed: self.agreement.is_some(),
            external_account_binding: eab.map(|eab| bind(key, &ca.new_account, eab)).transpose()?,
        };
        let response = session.post(ca, &ca.new_account, key, KeyRef::Jwk, &payload)?;
        let url = location(&ca.new_account, &response)?;
        let account: Account = json(&url, &response)?;
        Ok(AccountRecord {
            status: account.status.or(Some(AccountStatus::Valid)),
            url,
            ca_url: self.scope.ca_url.clone(),
            contact: account.contact,
            registration: json(&ca.new_account, &response).ok(),
            agreement: self.agreement.map(str::to_owned),
            orders: account.orders,
            eab: self.scope.eab.clone(),
        })
    }
}

/// Logs an account that was registered and saved, with the accounts that it takes the place of.
pub(crate) fn log_registered(account: &AccountRecord, given_up: &[GivenUp]) {
    let before = in_place_of(given_up);
    report!(MD0023, "registered new account {}{before}: {RECORDS}", account.url);
}

/// Logs that another account of the store takes the place of those that were given up, if there are any.
pub(crate) fn log_in_place_of(account: &AccountRecord, given_up: &[GivenUp]) {
    if !given_up.is_empty() {
        report!(MD0023, "account {} is used{}: {RECORDS}", account.url, in_place_of(given_up));
    }
}

fn in_place_of(given_up: &[GivenUp]) -> String {
    let all: Vec<_> = given_up.iter().map(|GivenUp { url, why }| format!("{url}, which is given up ({why})")).collect();
    if all.is_empty() { String::new() } else { format!(" in place of {}", all.join(" and ")) }
}

/// Signs the binding of an account key to an external account (RFC 8555 section 7.3.4).
fn bind(key: &PrivateKey, url: &str, eab: &Eab) -> Result<Value, AcmeError> {
    let hmac_key = eab.mac_key().ok_or(AcmeError::EabKey)?;
    Ok(sign_eab(key, url, &eab.kid, &hmac_key)?)
}
