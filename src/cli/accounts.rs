//! The commands `acme ...`: accounts at a CA.

use serde_json::json;
use zeroize::Zeroizing;

use super::error::CliError;
use super::given::Given;
use super::session::Session;
use super::syntax;
use super::unknown::Unknown;
use crate::accounts::{Accounts, account_key, roll_over};
use crate::acme::{AccountRecord, AccountStatus, AcmeError, Registrar};
use crate::crypto::{self, PrivateKey};
use crate::log::note;
use crate::model::{ContactSource, ManagedDomain, Status};
use crate::store::{Aspect, Group};

/// Registers an account and saves it: `acme newreg [contact...]`.
pub fn newreg(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let contacts = given.args();
    let contacts = if contacts.is_empty() { Vec::new() } else { syntax::contacts(&contacts)? };
    let terms = session.terms.clone();
    terms.as_deref().map_or(Ok(()), syntax::check_agreement)?;
    let registered = register(session, &contacts, terms.as_deref());
    let (mut ca, account, key) = registered.map_err(CliError::acme("failed to register new account"))?;
    // Saved before anything else can fail: an account without its key is lost.
    let id = Accounts::read(session.documents())?.add(session.documents(), &account, &key)?;
    let failed = CliError::acme(format!("account {id} is registered and saved, but cannot be read back"));
    save(session, &id, &ca.refresh(&account, &key).map_err(failed)?)?;
    session.report(&format!("registered: {id}"), json!({ "account": id, "url": account.url }));
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
    Registrar::connect(session.client(None), session.clock().clone(), url)
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
        session.report(&format!("account valid: {id}"), json!({ "account": id }));
        Ok(())
    })
}

/// Agrees to the terms of the CA, or to those that `-t` names: `acme agree account...`. A CA that announces no terms may want the
/// agreement all the same.
pub fn agree(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    session.terms.as_deref().map_or(Ok(()), syntax::check_agreement)?;
    let given_terms = session.terms.clone();
    for_each(session, given, |session, ca, id, (account, key)| {
        let named = given_terms.as_deref().filter(|terms| *terms != "accepted");
        let terms = named.or(ca.terms()).or(given_terms.as_deref()).map(str::to_owned);
        let terms = terms.ok_or_else(|| {
            CliError::invalid(format!(
                "account {id}: the CA announces no terms of service, give their URL or 'accepted' with -t"
            ))
        })?;
        let failed = CliError::acme(format!("account {id} cannot agree to the terms of service"));
        let account = ca.agree(&account, &key, &terms).map_err(failed)?;
        save(session, id, &account)?;
        session.report(&format!("agreed terms-of-service: {terms}"), json!({ "account": id, "agreement": terms }));
        Ok(())
    })
}

/// Removes accounts from the store: `acme delreg account...`.
pub fn delreg(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let ids = named_accounts(given)?;
    let store = session.documents().store();
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
    let ids = named_accounts(given)?;
    let id = ids[0];
    let contacts = &ids[1..];
    session.terms.as_deref().map_or(Ok(()), syntax::check_agreement)?;
    let users: Vec<_> = domains(session)?.into_iter().filter(|md| md.ca.account.as_deref() == Some(id)).collect();
    let of_server_admin = |md: &ManagedDomain| *md.contact_source == ContactSource::ServerAdmin;
    let is_of_server_admin = contacts.is_empty() && !users.is_empty() && users.iter().all(of_server_admin);
    let contacts = if contacts.is_empty() { contacts_of(&users) } else { syntax::contacts(contacts)? };
    let terms = session.terms.clone().or_else(|| users.iter().find_map(|md| md.ca.agreement.clone()));
    with_each(session, &[id], |session, ca, id, (account, key)| {
        if contacts.is_empty() && terms.is_none() {
            let text = format!(
                "account {id} is used by no domain with a contact: give its contacts as arguments, or agree to the terms with -t"
            );
            return Err(CliError::invalid(text));
        }
        let failed = CliError::acme(format!("cannot update account {id}"));
        let updated = match ca.update(&account, &key, &contacts, terms.as_deref()) {
            // Nobody has set the contact for a CA, while the agreement is wanted.
            Err(err) if is_of_server_admin && terms.is_some() && err.may_be_of_contact() => {
                session.inform(&format!("account {id}: {} of ServerAdmin is left out: {err}", contacts.join(" ")));
                ca.update(&account, &key, &[], terms.as_deref())
            }
            updated => updated,
        };
        let account = updated.map_err(failed)?;
        save(session, id, &account)?;
        let known = account.contact.join(" ");
        let value = json!({ "account": id, "contact": account.contact, "agreement": account.agreement });
        session.report(format!("account updated: {id} {known}").trim_end(), value);
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
    with_each(session, &named_accounts(given)?, |session, ca, id, (account, _)| {
        let failed = CliError::acme(format!("cannot replace the key of account {id}"));
        roll_over(session.documents(), ca, id, &account).map_err(failed)?;
        session.report(&format!("account has a new key: {id}"), json!({ "account": id }));
        Ok(())
    })
}

/// Deactivates accounts for good: `acme deactivate -y account...`.
pub fn deactivate(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let ids = named_accounts(given)?;
    if !given.flag("yes") {
        return Err(CliError::invalid("a deactivated account can never be used again; confirm with --yes"));
    }
    with_each(session, &ids, |session, ca, id, (account, key)| {
        let failed = CliError::acme(format!("cannot deactivate account {id}"));
        let gone = ca.deactivate(&account, &key).map_err(failed)?;
        if gone.status == Some(AccountStatus::Valid) {
            let text = format!("account {id} is still valid: the CA does not deactivate accounts");
            return Err(CliError::Refused { status: Status::UNSUPPORTED, text });
        }
        save(session, id, &gone)?;
        session.report(&format!("account deactivated: {id}"), json!({ "account": id }));
        session.inform(&format!(
            "account {id}: its certificates stay valid; domains register a new account at their next renewal"
        ));
        if gone.eab.is_some() {
            session.inform(&format!(
                "account {id} was bound to an external account; ask the CA whether that can be bound again"
            ));
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
    let id = Accounts::read(session.documents())?.put(session.documents(), &account, &key)?;
    session.report(&format!("imported: {id}"), json!({ "account": id, "url": account.url }));
    Ok(())
}

fn domains(session: &Session) -> Result<Vec<ManagedDomain>, CliError> {
    let names = session.documents().store().list(Group::Domains)?;
    let load = |name: String| session.documents().load_json(Group::Domains, &name, &Aspect::MdJson);
    Ok(names.into_iter().filter_map(load).collect())
}

fn for_each(
    session: &mut Session,
    given: &Given<'_>,
    act: impl Fn(&mut Session, &mut Registrar, &str, (AccountRecord, PrivateKey)) -> Result<(), CliError>,
) -> Result<(), CliError> {
    with_each(session, &named_accounts(given)?, act)
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
    let mut ca = Registrar::connect(http, session.clock().clone(), &url).map_err(failed)?;
    ids.iter().zip(accounts).try_for_each(|(id, account)| {
        let failed = CliError::acme(format!("cannot use account {id}"));
        let key = account_key(session.documents(), &mut ca, id, &account).map_err(failed)?;
        act(session, &mut ca, id, (account, key))
    })
}

/// Returns the accounts that are named, of which there has to be one.
fn named_accounts<'a>(given: &'a Given<'_>) -> Result<Vec<&'a str>, CliError> {
    let ids = given.args();
    if ids.is_empty() { Err(CliError::Usage("missing argument: id of an account")) } else { Ok(ids) }
}

/// Loads an account that has a key. With `-a`, the account has to be at that CA.
fn load(session: &Session, id: &str) -> Result<AccountRecord, CliError> {
    let unknown = || {
        let known = session.documents().store().list(Group::Accounts).unwrap_or_default();
        CliError::UnknownAccount(Unknown::among(id, known.iter().map(String::as_str)))
    };
    let record: AccountRecord =
        session.documents().load_json(Group::Accounts, id, &Aspect::AccountJson).ok_or_else(unknown)?;
    session.documents().load_key(Group::Accounts, id, &Aspect::AccountKey).ok_or_else(unknown)?;
    if session.acme.as_ref().is_some_and(|url| *url != record.ca_url) {
        return Err(CliError::invalid(format!(
            "account {id} is at {}, not at the ACME server of option -a",
            record.ca_url
        )));
    }
    Ok(record)
}

fn save(session: &Session, id: &str, account: &AccountRecord) -> Result<(), CliError> {
    Ok(session.documents().save_json(Group::Accounts, id, &Aspect::AccountJson, account)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::Shell;
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::http::Response;
    use crate::store::Store;
    use crate::testing::ca::{FakeCa, Fault, Operation, answer, problem};
    use crate::testing::{ACCOUNT, p256};

    const SECOND: &str = "ACME-ca.test-0001";

    fn record(shell: &Shell, id: &str) -> AccountRecord {
        shell.server.documents.load_json(Group::Accounts, id, &Aspect::AccountJson).expect("an account in the store")
    }

    fn at_ca(words: &str) -> String {
        format!("-a {} {words}", FakeCa::DIRECTORY)
    }

    /// Adds a second account, whose key costs less time than one of `acme newreg`.
    fn add_second(shell: &Shell) {
        let documents = &shell.server.documents;
        let key = PrivateKey::generate(&p256()).unwrap();
        let account = AccountRecord { url: shell.server.ca.add_account(&key), ..record(shell, ACCOUNT) };
        assert_eq!(Accounts::read(documents).unwrap().add(documents, &account, &key).unwrap(), SECOND);
    }

    #[test]
    fn an_account_is_registered_and_saved() {
        let shell = Shell::without_account();
        let done = shell.run(&at_ca("-t accepted acme newreg admin@x.org mailto:b@x.org"));
        assert_eq!((done.code, done.out, done.err), (0, format!("registered: {ACCOUNT}\n"), String::new()));
        let account = record(&shell, ACCOUNT);
        assert_eq!(account.contact, ["mailto:admin@x.org", "mailto:b@x.org"]);
        assert_eq!((account.ca_url.as_str(), account.agreement.as_deref()), (FakeCa::DIRECTORY, Some("accepted")));
        let key = shell.server.text(Group::Accounts, ACCOUNT, &Aspect::AccountKey).unwrap();
        assert!(key.contains("ENCRYPTED"), "{key}");
        let second = shell.json(&at_ca("-t accepted acme newreg c@x.org"));
        assert_eq!(second, json!([{ "account": SECOND, "url": "https://ca.test/account/1" }]));
        shell.server.ca.check();
    }

    #[test]
    fn an_account_needs_no_contact_unless_the_ca_wants_one() {
        let shell = Shell::without_account();
        shell.succeed(&at_ca("-t accepted acme newreg"));
        assert!(shell.server.ca.registration()["contact"].is_null() && record(&shell, ACCOUNT).contact.is_empty());
        shell.server.ca.behave(|ca| ca.wants_contact = Some("malformed"));
        assert!(shell.fail(&at_ca("-t accepted acme newreg")).contains("at least one contact is needed"));
    }

    #[test]
    fn a_registration_that_cannot_work_is_refused_before_the_ca_is_asked() {
        let shell = Shell::without_account();
        for (words, err) in [
            ("-t accepted acme newreg nobody", "Error 22: missing '@' in mail address: mailto:nobody\n"),
            ("-t accepted acme newreg a@b@c.org", "Error 22: more than one '@' in mail address: mailto:a@b@c.org\n"),
            ("-t yes acme newreg a@x.org", "Error 22: missing uri scheme: yes\n"),
        ] {
            assert_eq!(shell.fail(&at_ca(words)), err);
        }
        assert_eq!(shell.server.ca.count(Operation::Directory), 0);
    }

    #[test]
    fn a_refused_registration_tells_the_problem_first() {
        let shell = Shell::without_account();
        let err = shell.fail(&at_ca("acme newreg a@x.org"));
        let kind = "urn:ietf:params:acme:error:userActionRequired";
        let lines: Vec<&str> = err.lines().collect();
        let [first, second] = lines[..] else { panic!("{err}") };
        let (level, first) = first.split_once(": ").unwrap();
        assert!(level.starts_with("Warning "), "{err}");
        assert_eq!(first, format!("acme problem {kind}: agree to the terms"));
        assert!(second.starts_with("Error ") && second.ends_with(": failed to register new account"), "{err}");
        assert_eq!(shell.server.store.list(Group::Accounts).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_account_that_cannot_be_read_back_is_not_lost() {
        let shell = Shell::without_account();
        shell.server.ca.fail(Operation::Account, Fault::Answer(problem(500, "serverInternal", "not now")));
        let err = shell.fail(&at_ca("-t accepted acme newreg admin@x.org"));
        assert!(
            err.ends_with(&format!(": account {ACCOUNT} is registered and saved, but cannot be read back\n")),
            "{err}"
        );
        let valid = format!("account valid: {ACCOUNT}\n");
        assert_eq!(shell.succeed(&at_ca(&format!("acme validate {ACCOUNT}"))), valid);
        assert_eq!(shell.server.ca.accounts(), 1);
    }

    #[test]
    fn a_ca_that_cannot_be_reached_is_told() {
        let shell = Shell::new();
        shell.server.ca.fail_times(Operation::Directory, 2, Fault::Drop);
        let err = shell.fail(&at_ca(&format!("acme validate {ACCOUNT}")));
        let lines: Vec<&str> = err.lines().collect();
        assert!(lines[0].contains("Unsuccessful in contacting ACME server at <https://ca.test/directory>"), "{err}");
        assert!(lines[1].ends_with(": cannot connect to the ACME server https://ca.test/directory"), "{err}");
    }

    #[test]
    fn accounts_are_validated_until_the_ca_has_lost_them() {
        let shell = Shell::new();
        add_second(&shell);
        let validate = |ids: &str| at_ca(&format!("acme validate {ids}"));
        let both = format!("account valid: {ACCOUNT}\naccount valid: {SECOND}\n");
        assert_eq!(shell.succeed(&validate(&format!("{ACCOUNT} {SECOND}"))), both);
        shell.server.ca.set_accounts("gone");
        let err = shell.fail(&validate(ACCOUNT));
        assert!(
            err.contains("accountDoesNotExist") && err.contains(&format!("cannot validate account {ACCOUNT}")),
            "{err}"
        );
        assert_eq!(record(&shell, ACCOUNT).status, None, "not used again");
        assert_eq!(record(&shell, SECOND).status, Some(AccountStatus::Valid));
    }

    #[test]
    fn an_account_that_the_ca_refuses_for_now_is_not_marked_as_lost() {
        let shell = Shell::new();
        let validate = at_ca(&format!("acme validate {ACCOUNT}"));
        let stale = || Fault::Answer(problem(400, "malformed", "JWS verification error"));
        for fault in [stale(), Fault::Answer(answer(403, "text/html", "a proxy")), Fault::Drop] {
            shell.server.ca.fail(Operation::Account, fault);
            let err = shell.fail(&validate);
            assert!(err.ends_with(&format!(": cannot validate account {ACCOUNT}\n")), "{err}");
            assert_eq!(record(&shell, ACCOUNT).status, Some(AccountStatus::Valid));
        }
        shell.succeed(&validate);
        shell.server.ca.set_accounts("revoked");
        let err = shell.fail(&validate);
        assert_eq!(err, format!("Error 22: account {ACCOUNT} is no longer valid\n"));
        assert_eq!(record(&shell, ACCOUNT).status, Some(AccountStatus::Revoked));
    }

    #[test]
    fn an_account_of_the_store_is_needed_and_of_one_ca() {
        let shell = Shell::new();
        for command in ["validate", "agree", "update", "rollover", "deactivate -y"] {
            let err = shell.fail(&at_ca(&format!("acme {command} ACME-unknown-0000")));
            assert_eq!(err, "unknown account: ACME-unknown-0000\n", "{command}");
        }
        assert_eq!(
            shell.fail(&format!("-a https://other.test/dir acme validate {ACCOUNT}")),
            format!("Error 22: account {ACCOUNT} is at {}, not at the ACME server of option -a\n", FakeCa::DIRECTORY)
        );
        add_second(&shell);
        let mut elsewhere = record(&shell, SECOND);
        elsewhere.ca_url = "https://other.test/dir".to_owned();
        shell.server.documents.save_json(Group::Accounts, SECOND, &Aspect::AccountJson, &elsewhere).unwrap();
        assert_eq!(
            shell.fail(&format!("acme rollover {ACCOUNT} {SECOND}")),
            format!("Error 22: accounts {ACCOUNT} and {SECOND} are at different CAs; use one command for each CA\n")
        );
    }

    #[test]
    fn an_account_agrees_to_the_terms_of_the_ca_or_to_those_that_are_named() {
        let shell = Shell::new();
        let agree = |terms: &str| at_ca(&format!("{terms} acme agree {ACCOUNT}"));
        for (terms, url) in [("", "https://ca.test/terms"), ("-t https://x.test/t", "https://x.test/t")] {
            assert_eq!(shell.succeed(&agree(terms)), format!("agreed terms-of-service: {url}\n"));
            assert_eq!(record(&shell, ACCOUNT).agreement.as_deref(), Some(url));
        }
        shell.server.ca.behave(|ca| ca.has_terms = false);
        let text = format!(
            "Error 22: account {ACCOUNT}: the CA announces no terms of service, give their URL or 'accepted' with -t\n"
        );
        assert_eq!(shell.fail(&agree("")), text);
        assert_eq!(shell.succeed(&agree("-t accepted")), "agreed terms-of-service: accepted\n");
    }

    #[test]
    fn an_update_sends_the_contacts_that_are_given_or_those_of_the_domains() {
        let shell = Shell::new();
        let unused = format!(
            "Error 22: account {ACCOUNT} is used by no domain with a contact: give its contacts as arguments, or agree to the terms with -t\n"
        );
        assert_eq!(shell.fail(&format!("acme update {ACCOUNT}")), unused);
        let given = format!("account updated: {ACCOUNT} mailto:a@x.org mailto:b@x.org\n");
        assert_eq!(shell.succeed(&format!("acme update {ACCOUNT} a@x.org b@x.org")), given);
        assert_eq!(record(&shell, ACCOUNT).contact, ["mailto:a@x.org", "mailto:b@x.org"]);
        for name in ["one.update.test", "two.update.test"] {
            shell.add_domain(name);
            shell.succeed(&format!("update {name} account {ACCOUNT}"));
        }
        let of_domains = json!([{ "account": ACCOUNT, "contact": ["mailto:admin@x.org"], "agreement": "accepted" }]);
        assert_eq!(shell.json(&format!("acme update {ACCOUNT}")), of_domains);
        shell.server.ca.behave(|ca| ca.refused_contact = Some(("invalidContact", "admin")));
        let err = shell.fail(&format!("acme update {ACCOUNT}"));
        assert!(err.contains("no mail can be sent to mailto:admin@x.org"), "{err}");
        for name in ["one.update.test", "two.update.test"] {
            shell.change(name, |md| md["contacts-from"] = "ServerAdmin".into());
        }
        let done = shell.run(&format!("acme update {ACCOUNT}"));
        assert_eq!(done.code, 0, "{}", done.err);
        assert!(
            done.err.contains("mailto:admin@x.org of ServerAdmin is left out: no mail can be sent"),
            "{}",
            done.err
        );
        shell.succeed("update one.update.test contacts admin@x.org");
        assert!(shell.fail(&format!("acme update {ACCOUNT}")).contains("cannot update account"));
    }

    #[test]
    fn a_rollover_replaces_the_key() {
        let shell = Shell::new();
        let key = || shell.server.text(Group::Accounts, ACCOUNT, &Aspect::AccountKey).unwrap();
        let before = key();
        assert_eq!(shell.succeed(&format!("acme rollover {ACCOUNT}")), format!("account has a new key: {ACCOUNT}\n"));
        assert_ne!(key(), before);
        assert!(!shell.server.store.exists(Group::Accounts, ACCOUNT, &Aspect::NextAccountKey));
        shell.succeed(&at_ca(&format!("acme validate {ACCOUNT}")));
        shell.server.ca.fail_times(Operation::KeyChange, 2, Fault::Answer(problem(403, "unauthorized", "no")));
        let err = shell.fail(&format!("acme rollover {ACCOUNT}"));
        assert!(err.ends_with(&format!(": cannot replace the key of account {ACCOUNT}\n")), "{err}");
        shell.succeed(&at_ca(&format!("acme validate {ACCOUNT}")));
        shell.server.ca.check();
    }

    #[test]
    fn a_deactivation_has_to_be_confirmed_and_cannot_be_undone() {
        let shell = Shell::new();
        let mut account = record(&shell, ACCOUNT);
        account.eab = Some(crate::model::Eab { kid: "kid".to_owned(), hmac: "aGVsbG8".to_owned() });
        shell.server.documents.save_json(Group::Accounts, ACCOUNT, &Aspect::AccountJson, &account).unwrap();
        let refused = "Error 22: a deactivated account can never be used again; confirm with --yes\n";
        assert_eq!(shell.fail(&format!("acme deactivate {ACCOUNT}")), refused);
        assert_eq!(record(&shell, ACCOUNT).status, Some(AccountStatus::Valid));
        let done = shell.run(&format!("acme deactivate {ACCOUNT} --yes"));
        assert_eq!((done.code, done.out), (0, format!("account deactivated: {ACCOUNT}\n")));
        let next = [
            "its certificates stay valid; domains register a new account at their next renewal",
            "was bound to an external account; ask the CA whether that can be bound again",
        ];
        assert!(next.iter().all(|words| done.err.contains(words)), "{}", done.err);
        assert_eq!(record(&shell, ACCOUNT).status, Some(AccountStatus::Deactivated));
        assert!(shell.server.store.exists(Group::Accounts, ACCOUNT, &Aspect::AccountKey));
        assert_eq!(shell.run(&at_ca(&format!("acme validate {ACCOUNT}"))).code, 1);
    }

    #[test]
    fn an_account_that_the_ca_still_calls_valid_was_not_deactivated() {
        let shell = Shell::new();
        let ignored: fn(&mut Response) = |answer| answer.body = br#"{"status":"valid"}"#.to_vec();
        shell.server.ca.fail(Operation::Account, Fault::Alter(ignored));
        let text = format!("Error 70023: account {ACCOUNT} is still valid: the CA does not deactivate accounts\n");
        assert_eq!(shell.fail(&format!("acme deactivate {ACCOUNT} --yes")), text);
        assert_eq!(record(&shell, ACCOUNT).status, Some(AccountStatus::Valid));
    }

    #[test]
    fn delreg_removes_accounts_without_the_ca_and_ignores_unknown_ones() {
        let shell = Shell::new();
        add_second(&shell);
        let asked = shell.server.ca.count(Operation::Directory);
        let done = shell.run(&format!("acme delreg {ACCOUNT} ACME-unknown-0000"));
        assert_eq!((done.code, done.out, done.err), (0, String::new(), String::new()));
        let exists = |id| shell.server.store.exists(Group::Accounts, id, &Aspect::AccountKey);
        assert_eq!((exists(ACCOUNT), exists(SECOND)), (false, true));
        assert_eq!(shell.server.ca.count(Operation::Directory), asked);
    }

    #[test]
    fn the_account_of_a_key_from_elsewhere_is_imported_once() {
        let shell = Shell::without_account();
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let key = PrivateKey::generate(&p256()).unwrap();
        let url = shell.server.ca.add_account(&key);
        let pem = file("key.pem", &key.to_pem().unwrap());
        let import = |file: &str| at_ca(&format!("-t accepted acme import {file}"));
        for _ in 0..2 {
            assert_eq!(shell.json(&import(&pem)), json!([{ "account": ACCOUNT, "url": url }]));
        }
        assert_eq!(record(&shell, ACCOUNT).agreement.as_deref(), Some("accepted"));
        assert_eq!(shell.succeed(&at_ca(&format!("acme validate {ACCOUNT}"))), format!("account valid: {ACCOUNT}\n"));

        let stranger = file("stranger.pem", &PrivateKey::generate(&p256()).unwrap().to_pem().unwrap());
        let unknown = "has no account for this key; 'acme newreg' registers one with a new key";
        assert_eq!(shell.fail(&import(&stranger)), format!("Error 2: {stranger}: {} {unknown}\n", FakeCa::DIRECTORY));
        let err = shell.fail(&import(&file("x.json", b"{}")));
        assert!(err.starts_with("Error 22: ") && err.contains("x.json: ") && err.contains("JSON Web Key"), "{err}");
        assert!(shell.fail(&import("/nowhere/key.pem")).starts_with("Error 2: cannot read /nowhere/key.pem: "));
        shell.server.ca.set_accounts("deactivated");
        let err = shell.fail(&import(&pem));
        assert!(err.ends_with(&format!("account {url} is no longer valid\n")), "{err}");
        assert_eq!(shell.server.ca.accounts(), 1);
    }
}
