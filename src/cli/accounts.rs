//! The commands `acme ...`: accounts at a CA.

use serde_json::json;
use zeroize::Zeroizing;

use super::args::Given;
use super::error::CliError;
use super::session::Session;
use super::syntax;
use crate::accounts::{Accounts, account_key, roll_over};
use crate::acme::{AccountRecord, AccountStatus, AcmeError, Registrar};
use crate::crypto::{self, PrivateKey};
use crate::log::note;
use crate::model::{ManagedDomain, Status};
use crate::store::{Aspect, Group};

/// Registers an account and saves it: `acme newreg contact...`.
pub fn newreg(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let contacts = given.args();
    if contacts.is_empty() {
        return Err(CliError::Usage("missing argument: at least one contact"));
    }
    let contacts = syntax::contacts(&contacts)?;
    let terms = session.terms.clone();
    terms.as_deref().map_or(Ok(()), syntax::check_agreement)?;
    let registered = register(session, &contacts, terms.as_deref());
    let (mut ca, account, key) = registered.map_err(CliError::acme("failed to register new account"))?;
    // Saved before anything else can fail: an account without its key is lost.
    let id = Accounts::read(session.vault())?.add(session.vault(), &account, &key)?;
    let failed = CliError::acme(format!("account {id} is registered and saved, but cannot be read back"));
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

/// Asks the CA whether accounts are valid, and saves the answer: `acme validate account...`.
pub fn validate(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    for_each(session, given, |session, ca, id, (account, key)| {
        let failed = CliError::acme(format!("cannot validate account {id}"));
        match ca.refresh(&account, &key) {
            Ok(known) if known.status == Some(AccountStatus::Valid) => save(session, id, &known)?,
            Ok(known) => {
                save(session, id, &known)?;
                return Err(CliError::invalid(format!("account {id} is no longer valid")));
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

/// Agrees to the terms of the CA, or to those that `-t` names: `acme agree account...`.
pub fn agree(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    session.terms.as_deref().map_or(Ok(()), syntax::check_agreement)?;
    let named = session.terms.clone().filter(|terms| terms != "accepted");
    for_each(session, given, |session, ca, id, (account, key)| {
        let terms = named.clone().or_else(|| ca.terms().map(str::to_owned));
        let terms = terms.ok_or_else(|| {
            CliError::invalid(format!("account {id}: the CA announces no terms of service, give their URL with -t"))
        })?;
        let failed = CliError::acme(format!("account {id} cannot agree to the terms of service"));
        let account = ca.agree(&account, &key, &terms).map_err(failed)?;
        save(session, id, &account)?;
        session.tell(&format!("agreed terms-of-service: {terms}"), json!({ "account": id, "agreement": terms }));
        Ok(())
    })
}

/// Removes accounts from the store: `acme delreg account...`.
pub fn delreg(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let ids = needed(given)?;
    let store = session.vault().store();
    for id in ids {
        for aspect in [Aspect::AccountJson, Aspect::AccountKey, Aspect::NextAccountKey] {
            store.remove(Group::Accounts, id, &aspect)?;
        }
        note!(Debug, "account {id} is removed from the store; the CA is not informed");
    }
    Ok(())
}

/// Changes contacts and agreement of an account: `acme update account [contact...]`.
pub fn update(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let ids = needed(given)?;
    let id = ids[0];
    let contacts = &ids[1..];
    session.terms.as_deref().map_or(Ok(()), syntax::check_agreement)?;
    let users: Vec<_> = domains(session)?.into_iter().filter(|md| md.ca.account.as_deref() == Some(id)).collect();
    let contacts = if contacts.is_empty() { contacts_of(&users) } else { syntax::contacts(contacts)? };
    let terms = session.terms.clone().or_else(|| users.iter().find_map(|md| md.ca.agreement.clone()));
    with_each(session, &[id], |session, ca, id, (account, key)| {
        if contacts.is_empty() && terms.is_none() {
            let text = format!(
                "account {id} is used by no domain: give its contacts as arguments, or agree to the terms with -t"
            );
            return Err(CliError::invalid(text));
        }
        let failed = CliError::acme(format!("cannot update account {id}"));
        let account = ca.update(&account, &key, &contacts, terms.as_deref()).map_err(failed)?;
        save(session, id, &account)?;
        let known = account.contact.join(" ");
        let value = json!({ "account": id, "contact": account.contact, "agreement": account.agreement });
        session.tell(format!("account updated: {id} {known}").trim_end(), value);
        Ok(())
    })
}

fn contacts_of(users: &[ManagedDomain]) -> Vec<String> {
    let mut contacts: Vec<String> = Vec::new();
    for contact in users.iter().flat_map(|md| md.contacts.iter()) {
        if !contacts.contains(contact) {
            contacts.push(contact.clone());
        }
    }
    contacts
}

/// Replaces the keys of accounts: `acme rollover account...`.
pub fn rollover(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    with_each(session, &needed(given)?, |session, ca, id, (account, _)| {
        let failed = CliError::acme(format!("cannot replace the key of account {id}"));
        roll_over(session.vault(), ca, id, &account).map_err(failed)?;
        session.tell(&format!("account has a new key: {id}"), json!({ "account": id }));
        Ok(())
    })
}

/// Deactivates accounts for good: `acme deactivate -y account...`.
pub fn deactivate(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let ids = needed(given)?;
    if !given.flag("yes") {
        return Err(CliError::invalid("a deactivated account can never be used again; confirm with --yes"));
    }
    with_each(session, &ids, |session, ca, id, (account, key)| {
        let failed = CliError::acme(format!("cannot deactivate account {id}"));
        let gone = ca.deactivate(&account, &key).map_err(failed)?;
        save(session, id, &gone)?;
        session.tell(&format!("account deactivated: {id}"), json!({ "account": id }));
        note!(Info, "account {id}: its certificates stay valid; domains register a new account at their next renewal");
        if gone.eab.is_some() {
            note!(Info, "account {id} was bound to an external account; ask the CA whether that can be bound again");
        }
        Ok(())
    })
}

/// Imports the account that the CA has for a key: `acme import file`.
pub fn import(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let args = given.args();
    let [file] = args[..] else { return Err(CliError::Usage("one argument expected: the file with a key")) };
    let unread = |err: std::io::Error| CliError::Refused {
        status: Status::from(&err),
        text: format!("cannot read {file}: {err}"),
    };
    let text = Zeroizing::new(std::fs::read(file).map_err(unread)?);
    let key = crypto::account_key(&text).map_err(|err| CliError::invalid(format!("{file}: {err}")))?;
    let failed = CliError::acme(format!("cannot look up the account of {file}"));
    let mut ca = connect(session).map_err(&failed)?;
    let url = session.acme.clone().unwrap_or_default();
    let unknown = || CliError::Refused {
        status: Status::NOT_FOUND,
        text: format!("{file}: {url} has no account for this key; 'acme newreg' registers one with a new key"),
    };
    let account = ca.lookup(&key).map_err(&failed)?.ok_or_else(unknown)?;
    if account.status != Some(AccountStatus::Valid) {
        return Err(CliError::invalid(format!("{file}: account {} is no longer valid", account.url)));
    }
    // The CA does not return the external account, which decides which domains use the account.
    let bound = domains(session)?.into_iter().find(|md| md.eab.is_some() && md.ca_url() == Some(&url));
    let account = AccountRecord {
        eab: bound.and_then(|md| md.eab.as_deref().cloned()),
        agreement: session.terms.clone(),
        ..account
    };
    let id = Accounts::read(session.vault())?.put(session.vault(), &account, &key)?;
    session.tell(&format!("imported: {id}"), json!({ "account": id, "url": account.url }));
    Ok(())
}

fn domains(session: &Session) -> Result<Vec<ManagedDomain>, CliError> {
    let names = session.vault().store().list(Group::Domains)?;
    let load = |name: String| session.vault().load_json(Group::Domains, &name, &Aspect::MdJson);
    Ok(names.into_iter().filter_map(load).collect())
}

fn for_each(
    session: &mut Session,
    given: &Given<'_>,
    act: impl Fn(&mut Session, &mut Registrar, &str, (AccountRecord, PrivateKey)) -> Result<(), CliError>,
) -> Result<(), CliError> {
    with_each(session, &needed(given)?, act)
}

/// Calls `act` for each of the accounts, which have to be at one CA.
fn with_each(
    session: &mut Session,
    ids: &[&str],
    act: impl Fn(&mut Session, &mut Registrar, &str, (AccountRecord, PrivateKey)) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let accounts = ids.iter().map(|id| load(session, id)).collect::<Result<Vec<_>, _>>()?;
    let url = accounts.first().map(|account| account.ca_url.clone()).unwrap_or_default();
    if let Some(at) = accounts.iter().position(|account| account.ca_url != url) {
        return Err(CliError::invalid(format!(
            "accounts {} and {} are at different CAs; use one command for each CA",
            ids[0], ids[at]
        )));
    }
    let failed = CliError::acme(format!("cannot connect to the ACME server {url}"));
    let http = session.client(None);
    let mut ca = Registrar::connect(http, session.clock.clone(), &url).map_err(failed)?;
    ids.iter().zip(accounts).try_for_each(|(id, account)| {
        let failed = CliError::acme(format!("cannot use account {id}"));
        let key = account_key(session.vault(), &mut ca, id, &account).map_err(failed)?;
        act(session, &mut ca, id, (account, key))
    })
}

/// Returns the accounts that are named, of which there has to be one.
fn needed<'a>(given: &'a Given<'_>) -> Result<Vec<&'a str>, CliError> {
    let ids = given.args();
    if ids.is_empty() { Err(CliError::Usage("missing argument: id of an account")) } else { Ok(ids) }
}

/// Loads an account that has a key, and that is at the CA that `-a` names, if it does.
fn load(session: &Session, id: &str) -> Result<AccountRecord, CliError> {
    let unknown = || CliError::UnknownAccount(id.to_owned());
    let record: AccountRecord =
        session.vault().load_json(Group::Accounts, id, &Aspect::AccountJson).ok_or_else(unknown)?;
    session.vault().load_key(Group::Accounts, id, &Aspect::AccountKey).ok_or_else(unknown)?;
    if session.acme.as_ref().is_some_and(|url| *url != record.ca_url) {
        return Err(CliError::invalid(format!(
            "account {id} is at {}, not at the ACME server of option -a",
            record.ca_url
        )));
    }
    Ok(record)
}

fn save(session: &Session, id: &str, account: &AccountRecord) -> Result<(), CliError> {
    Ok(session.vault().save_json(Group::Accounts, id, &Aspect::AccountJson, account)?)
}
