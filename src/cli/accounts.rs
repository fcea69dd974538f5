//! `acme ...`: accounts at a CA.

use serde_json::json;

use super::args::Given;
use super::error::CliError;
use super::session::Session;
use super::syntax;
use crate::acme::{AccountRecord, AccountStatus, AcmeError, Registrar};
use crate::crypto::PrivateKey;
use crate::log::note;
use crate::registry::Accounts;
use crate::store::{Aspect, Group};

/// `acme newreg contact...`
pub fn newreg(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let contacts = given.args();
    if contacts.is_empty() {
        return Err(CliError::Usage("needs at least one contact"));
    }
    let contacts = syntax::contacts(&contacts)?;
    let terms = session.terms.clone();
    terms.as_deref().map_or(Ok(()), syntax::check_agreement)?;
    let registered = register(session, &contacts, terms.as_deref());
    let (mut ca, account, key) = registered.map_err(CliError::acme("register new account"))?;
    // Before anything else can fail: without its key the account would be lost.
    let id = Accounts::read(session.vault())?.add(session.vault(), &account, &key)?;
    let failed = CliError::acme(format!("read back account {id}, which is registered and saved"));
    save(session, &id, &ca.refresh(&account, &key).map_err(failed)?)?;
    session.tell(&format!("registered: {id}"), json!({ "account": id, "url": account.url }));
    Ok(())
}

fn register(
    session: &Session,
    contacts: &[String],
    terms: Option<&str>,
) -> Result<(Registrar, AccountRecord, PrivateKey), AcmeError> {
    let key = PrivateKey::generate_account()?;
    let mut ca = connect(session)?;
    let account = ca.register(&key, contacts, terms)?;
    Ok((ca, account, key))
}

fn connect(session: &Session) -> Result<Registrar, AcmeError> {
    let url = session.acme.as_deref().unwrap_or_default();
    Registrar::connect(session.client(None), session.clock.clone(), url)
}

/// `acme validate account...`
pub fn validate(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    for_each(session, given, |session, ca, id, (account, key)| {
        let failed = CliError::acme(format!("validate account {id}"));
        match ca.refresh(&account, &key) {
            Ok(known) if known.status == Some(AccountStatus::Valid) => save(session, id, &known)?,
            Ok(known) => {
                save(session, id, &known)?;
                return Err(CliError::invalid(format!("account is not valid any more: {id}")));
            }
            Err(err) if err.is_account_lost() => {
                save(session, id, &AccountRecord { status: None, ..account })?;
                return Err(failed(err));
            }
            Err(err) => return Err(failed(err)),
        }
        session.tell(&format!("account valid: {id}"), json!({ "account": id }));
        Ok(())
    })
}

/// `acme agree account...`
pub fn agree(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    session.terms.as_deref().map_or(Ok(()), syntax::check_agreement)?;
    let named = session.terms.clone().filter(|terms| terms != "accepted");
    for_each(session, given, |session, ca, id, (account, key)| {
        let terms = named.clone().or_else(|| ca.terms().map(str::to_owned));
        let terms = terms.ok_or_else(|| CliError::invalid("the CA has no terms of service"))?;
        let failed = CliError::acme(format!("agree to terms of service with account {id}"));
        let account = ca.agree(&account, &key, &terms).map_err(failed)?;
        save(session, id, &account)?;
        session.tell(&format!("agreed terms-of-service: {terms}"), json!({ "account": id, "agreement": terms }));
        Ok(())
    })
}

/// `acme delreg account...`
pub fn delreg(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let ids = needed(given)?;
    let store = session.vault().store();
    for id in ids {
        for aspect in [Aspect::AccountJson, Aspect::AccountKey] {
            store.remove(Group::Accounts, id, &aspect)?;
        }
        note!(Debug, "removed account {id}; the CA was not told");
    }
    Ok(())
}

/// Does something with every account that is named, at their CA.
fn for_each(
    session: &mut Session,
    given: &Given<'_>,
    act: impl Fn(&mut Session, &mut Registrar, &str, (AccountRecord, PrivateKey)) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let ids = needed(given)?;
    let accounts = ids.iter().map(|id| load(session, id)).collect::<Result<Vec<_>, _>>()?;
    let failed = CliError::acme("talk to the ACME server");
    let mut ca = connect(session).map_err(failed)?;
    ids.iter().zip(accounts).try_for_each(|(id, account)| act(session, &mut ca, id, account))
}

fn needed<'a>(given: &'a Given<'_>) -> Result<Vec<&'a str>, CliError> {
    let ids = given.args();
    if ids.is_empty() { Err(CliError::Usage("needs the id of an account")) } else { Ok(ids) }
}

/// An account of the store, with its key. It has to be one at the CA that was named.
fn load(session: &Session, id: &str) -> Result<(AccountRecord, PrivateKey), CliError> {
    let unknown = || CliError::UnknownAccount(id.to_owned());
    let record: AccountRecord =
        session.vault().load_json(Group::Accounts, id, &Aspect::AccountJson).ok_or_else(unknown)?;
    let key = session.vault().load_key(Group::Accounts, id, &Aspect::AccountKey).ok_or_else(unknown)?;
    if session.acme.as_deref() != Some(record.ca_url.as_str()) {
        return Err(CliError::invalid(format!("account {id} is one at {}", record.ca_url)));
    }
    Ok((record, key))
}

fn save(session: &Session, id: &str, account: &AccountRecord) -> Result<(), CliError> {
    Ok(session.vault().save_json(Group::Accounts, id, &Aspect::AccountJson, account)?)
}
