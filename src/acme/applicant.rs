//! Registers an account at a CA (RFC 8555 section 7.3).

use serde_json::Value;

use super::account::{Account, NewAccount, registration};
use super::error::LeftOut;
use super::session::{json, location};
use super::{AccountBook, AccountRecord, AccountScope, AccountStatus, AcmeError, Directory, GivenUp, Session};
use crate::crypto::{KeyRef, PrivateKey, sign_eab};
use crate::http::RequestKind;
use crate::log::report;
use crate::model::{ContactSource, Eab};

/// The administrator's part where another account is used.
const RECORDS: &str = "CAA records with accounturi and records for dns-persist-01 have to name it";

/// The contacts, agreement and external account of a registration.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// The CA, and the external account if any.
    pub scope: &'a AccountScope,
    /// Contact URIs.
    pub contacts: &'a [String],
    /// The origin of the contacts, which decides whether they may be left out.
    pub contact_source: &'a ContactSource,
    /// The agreement to the CA's terms, as configured.
    pub agreement: Option<&'a str>,
}

/// An account that a CA has registered.
#[derive(Debug)]
pub struct Registered {
    /// The account.
    pub account: AccountRecord,
    /// The contacts that the CA refused, so that the account has none.
    left_out: Option<LeftOut>,
}

impl Applicant<'_> {
    /// Checks that everything is there that a registration needs.
    ///
    /// # Errors
    /// The first missing part.
    pub(crate) fn check(&self, ca: &Directory) -> Result<(), AcmeError> {
        if self.agreement.is_none() {
            let terms = ca.meta.terms_of_service.clone().unwrap_or_else(|| "none".to_owned());
            return Err(AcmeError::NoAgreement { terms });
        }
        Ok(())
    }

    /// Registers an account for `key`; without the contacts if they are of `ServerAdmin` and the CA refuses them. The account is not
    /// saved yet.
    ///
    /// # Errors
    /// If the CA refuses.
    pub(crate) fn register(
        &self,
        session: &mut Session,
        ca: &Directory,
        key: &PrivateKey,
    ) -> Result<Registered, AcmeError> {
        match self.send(session, ca, key) {
            Err(err) if self.may_leave_out_contacts() && err.may_be_of_contact() => {
                let left_out = LeftOut { contacts: quoted(self.contacts), why: err.to_string() };
                match (Applicant { contacts: &[], ..*self }).send(session, ca, key) {
                    Ok(account) => Ok(Registered { account, left_out: Some(left_out) }),
                    // The contacts were not the reason.
                    Err(err) if err.to_string() == left_out.why => Err(err),
                    Err(err) => Err(err.of_missing_contact(Some(left_out))),
                }
            }
            Err(err) if self.contacts.is_empty() => Err(err.of_missing_contact(None)),
            Err(err) => Err(err.of_contacts(quoted(self.contacts), self.contact_source)),
            Ok(account) => Ok(Registered { account, left_out: None }),
        }
    }

    /// Registers an account by `register` with the drafted key of the book, and adds it to the book.
    ///
    /// # Errors
    /// If the CA refuses, or the book cannot be written.
    pub(crate) fn register_in(
        &self,
        book: &dyn AccountBook,
        register: impl FnOnce(&PrivateKey) -> Result<Registered, AcmeError>,
    ) -> Result<(AccountRecord, PrivateKey), AcmeError> {
        let key = book.draft_key(self.scope)?;
        let registered = register(&key);
        if registered.as_ref().is_err_and(AcmeError::is_account_lost) {
            book.drop_draft_key(self.scope)?;
        }
        let registered = registered?;
        book.add(&registered.account, &key)?;
        registered.log(&book.given_up(self.scope));
        Ok((registered.account, key))
    }

    fn may_leave_out_contacts(&self) -> bool {
        !self.contacts.is_empty() && *self.contact_source == ContactSource::ServerAdmin
    }

    fn send(&self, session: &mut Session, ca: &Directory, key: &PrivateKey) -> Result<AccountRecord, AcmeError> {
        let eab = self.scope.eab.as_ref();
        let payload = NewAccount {
            contact: self.contacts,
            terms_of_service_agreed: self.agreement.is_some(),
            external_account_binding: eab.map(|eab| bind(key, &ca.new_account, eab)).transpose()?,
        };
        let response = session.about(RequestKind::Account).post(ca, &ca.new_account, key, KeyRef::Jwk, &payload)?;
        let url = location(ca, &ca.new_account, &response)?;
        let account: Account = json(&url, &response)?;
        Ok(AccountRecord {
            status: account.status.or(Some(AccountStatus::Valid)),
            url,
            ca_url: self.scope.ca_url.clone(),
            contact: account.contact,
            registration: registration(&response),
            agreement: self.agreement.map(str::to_owned),
            orders: account.orders,
            eab: self.scope.eab.clone(),
        })
    }
}

impl Registered {
    /// Logs the account, once it is saved, with the accounts that it takes the place of.
    fn log(&self, given_up: &[GivenUp]) {
        let url = &self.account.url;
        let without = |LeftOut { contacts, why }: &LeftOut| {
            format!(" without the contact {contacts} of ServerAdmin, which the CA refuses ({why})")
        };
        let without = self.left_out.as_ref().map(without).unwrap_or_default();
        if given_up.is_empty() {
            report!(MD0091, "registered an account at {}: {url}{without}", self.account.ca_url);
        } else {
            report!(MD0023, "registered new account {url}{}{without}: {RECORDS}", in_place_of(given_up));
        }
    }
}

/// Logs that another account of the store takes the place of those that were given up, if there are any.
pub(crate) fn log_in_place_of(account: &AccountRecord, given_up: &[GivenUp]) {
    if !given_up.is_empty() {
        report!(MD0023, "account {} is used{}: {RECORDS}", account.url, in_place_of(given_up));
    }
}

fn in_place_of(given_up: &[GivenUp]) -> String {
    let all: Vec<_> = given_up.iter().map(|GivenUp { url, why }| format!("{url}, which is given up ({why})")).collect();
    format!(" in place of {}", all.join(" and "))
}

fn quoted(contacts: &[String]) -> String {
    contacts.iter().map(|uri| format!("'{uri}'")).collect::<Vec<_>>().join(" ")
}

/// Signs the binding of an account key to an external account (RFC 8555 section 7.3.4).
fn bind(key: &PrivateKey, url: &str, eab: &Eab) -> Result<Value, AcmeError> {
    let hmac_key = eab.mac_key().ok_or(AcmeError::EabKey)?;
    Ok(sign_eab(key, url, &eab.kid, &hmac_key)?)
}
