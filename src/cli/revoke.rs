//! The command `revoke`: revokes the certificates of a domain (RFC 8555 section 7.6).

use std::sync::Arc;

use serde_json::json;

use super::domains::named;
use super::error::CliError;
use super::given::Given;
use super::session::Session;
use crate::accounts::{Accounts, account_key};
use crate::acme::{AccountRecord, AccountScope, AcmeError, Registrar};
use crate::crypto::{KeyRef, PrivateKey};
use crate::documents::{CLAIM_PATIENCE, Documents};
use crate::log::note;
use crate::model::{Job, ManagedDomain, Status};
use crate::sets::{Pair, served_pairs};
use crate::store::{Aspect, Group};

/// Reasons that the owner of a certificate may give (RFC 5280 section 5.3.1).
const REASONS: [(&str, u8); 5] = [
    ("unspecified", 0),
    ("keyCompromise", 1),
    ("affiliationChanged", 3),
    ("superseded", 4),
    ("cessationOfOperation", 5),
];

/// Reasons that only a CA may give.
const REASONS_OF_CAS: [(&str, u8); 5] = [
    ("cACompromise", 2),
    ("certificateHold", 6),
    ("removeFromCRL", 8),
    ("privilegeWithdrawn", 9),
    ("aACompromise", 10),
];

/// Author of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The account that ordered the certificate.
    Account,
    /// The key of the certificate.
    Key,
    /// Revoked already, before this command.
    Others,
}

/// Revokes the certificates of a domain: `revoke [-r reason] name`.
pub fn revoke(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let args = given.args();
    let [name] = args[..] else { return Err(CliError::Usage("one argument expected: the name of a managed domain")) };
    let reason = given.value("reason").map(reason).transpose()?;
    let documents = Arc::clone(session.documents());
    let md = named(&documents, name)?;
    let pairs = served_pairs(&documents, &md, session.clock().now());
    if md.is_static() || pairs.is_empty() {
        let text = format!("{}: the store has no certificate to revoke", md.name);
        return Err(CliError::Refused { status: Status::NOT_FOUND, text });
    }
    let url = session.acme.as_deref().or(md.ca.url.as_deref()).or(md.ca_url()).map(str::to_owned);
    let url = url.ok_or_else(|| {
        CliError::invalid(format!("{}: the CA of its certificates is not known, name it with -a", md.name))
    })?;
    let failed = CliError::acme(format!("{}: cannot connect to the ACME server", md.name));
    let mut ca = Registrar::connect(session.client(Some(&md)), session.clock().clone(), &url).map_err(failed)?;
    let account = account(session, &mut ca, &md, &url);
    let mut result = Ok(());
    let mut revoked = Vec::new();
    for pair in &pairs {
        let done = revoke_one(&mut ca, account.as_ref(), pair, reason.filter(|(_, number)| *number > 0));
        let serial = pair.chain.leaf().summary().serial_hex();
        match done {
            Ok(by) => {
                report(session, &md, &serial, by, reason);
                revoked.push(serial);
            }
            Err(err) => {
                let err = CliError::acme(format!("{}: cannot revoke certificate {serial}", md.name))(err);
                err.print(session.terminal());
                result = Err(CliError::reported(err.to_result()));
            }
        }
    }
    remember(&documents, &md, revoked);
    if result.is_ok() {
        let has_responder = pairs.iter().any(|pair| pair.chain.leaf().ocsp_uri().is_some());
        report_next_steps(session, &md, reason, has_responder);
    }
    result
}

/// Notes in the report on the certificates that are served that these are revoked, for `status`.
fn remember(documents: &Documents, md: &ManagedDomain, serials: Vec<String>) {
    let name = md.name.as_str();
    // Whoever activates a set replaces the report.
    let claim = documents.store().claim_within(name, CLAIM_PATIENCE);
    let stored: Option<Job> = documents.load_json(Group::Domains, name, &Aspect::JobJson);
    let mut job = stored.unwrap_or_else(|| Job::new(name));
    job.revoked.extend(serials);
    job.revoked.sort_unstable();
    job.revoked.dedup();
    if let Err(err) = documents.save_json(Group::Domains, name, &Aspect::JobJson, &job) {
        note!(Warning, err.status; "{name}: 'a2md status' will not tell that the certificates are revoked: {err}");
    }
    drop(claim);
}

type Reason = (&'static str, u8);

/// Finds a reason by its name or number.
fn reason(text: &str) -> Result<Reason, CliError> {
    let find = |reasons: &[Reason]| {
        let is_meant = |(name, number): &&Reason| name.eq_ignore_ascii_case(text) || text == number.to_string();
        reasons.iter().find(is_meant).copied()
    };
    let names = || REASONS.map(|(name, number)| format!("{name} ({number})")).join(", ");
    match (find(&REASONS), find(&REASONS_OF_CAS)) {
        (Some(reason), _) => Ok(reason),
        (None, Some((name, _))) => {
            Err(CliError::invalid(format!("the reason {name} is for CAs only, use one of {}", names())))
        }
        (None, None) => {
            Err(CliError::invalid(format!("unknown reason {}, use one of {}", text.escape_default(), names())))
        }
    }
}

/// Returns the account that ordered the certificates, as far as that is known, with the key that the CA accepts for it.
fn account(
    session: &Session,
    ca: &mut Registrar,
    md: &ManagedDomain,
    url: &str,
) -> Option<(AccountRecord, PrivateKey)> {
    let documents = session.documents();
    let load = |id: &str| -> Option<AccountRecord> { documents.load_json(Group::Accounts, id, &Aspect::AccountJson) };
    let usable = |id: &str| load(id).filter(|record| record.ca_url == url && record.is_for(&record.scope()));
    let own = md.ca.account.clone().filter(|id| usable(id).is_some());
    let accounts = Accounts::read(documents).ok()?;
    let scope = AccountScope { ca_url: url.to_owned(), eab: md.eab.as_deref().cloned() };
    let id = own.or_else(|| accounts.id_for(&scope).map(str::to_owned))?;
    let record = load(&id)?;
    let key = account_key(documents, ca, &id, &record).inspect_err(|err| note!(Info, "{}", err.sentence())).ok()?;
    Some((record, key))
}

/// Revokes one certificate, by the account, or by its own key if the CA refuses the account.
fn revoke_one(
    ca: &mut Registrar,
    account: Option<&(AccountRecord, PrivateKey)>,
    pair: &Pair,
    reason: Option<Reason>,
) -> Result<By, AcmeError> {
    let leaf = pair.chain.leaf();
    let reason = reason.map(|(_, number)| number);
    if let Some((record, key)) = account {
        match ca.revoke(leaf, reason, key, KeyRef::Kid(&record.url)) {
            Ok(()) => return Ok(By::Account),
            Err(err) if err.is("alreadyRevoked") => return Ok(By::Others),
            Err(err) if err.is("badRevocationReason") => return Err(err),
            Err(err) if !(err.is_refusal() || err.is_gone() || err.is_account_lost()) => return Err(err),
            Err(err) => note!(Info, "account {} is refused: {err}; using the key of the certificate", record.url),
        }
    }
    match ca.revoke(leaf, reason, &pair.key, KeyRef::Jwk) {
        Err(err) if err.is("alreadyRevoked") => Ok(By::Others),
        result => result.map(|()| By::Key),
    }
}

fn report(session: &mut Session, md: &ManagedDomain, serial: &str, by: By, reason: Option<Reason>) {
    let (done, by) = match by {
        By::Account => ("revoked", "account"),
        By::Key => ("revoked", "key"),
        By::Others => ("already revoked", "others"),
    };
    let reason = reason.map(|(name, _)| name);
    let value = json!({ "name": md.name, "serial": serial, "by": by, "reason": reason });
    session.report(&format!("{done}: {} {serial}", md.name), value);
}

/// Prints what the administrator has to do next, and what the server does.
fn report_next_steps(session: &Session, md: &ManagedDomain, reason: Option<Reason>, has_responder: bool) {
    let name = &md.name;
    session.inform(&format!("{name}: the server serves the revoked certificates until new ones are in use"));
    session.inform(&format!("{name}: 'a2md drive -f {name}' obtains a new certificate with a new key now"));
    let finds_out = match (md.stapling && has_responder, md.ari_renewals) {
        (true, _) => "when OCSP reports the revocation",
        (false, true) => "when the CA suggests a renewal (ARI), which not all CAs do",
        (false, false) => "only when its renewal is due",
    };
    session.inform(&format!("{name}: a running server renews the domain {finds_out}"));
    let of_the_key = match reason {
        Some(("keyCompromise", _)) => {
            "delete all copies of the key, also those that an activation moves to archive/ in the store"
        }
        _ => "the activation of a new certificate moves the key to archive/ in the store",
    };
    session.inform(&format!("{name}: {of_the_key}"));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shell;
    use super::*;
    use crate::renewals::stored_domain;
    use crate::testing::ca::{FakeCa, Fault, Operation, problem};
    use crate::testing::{ACCOUNT, TestServer};

    #[test]
    fn a_certificate_is_revoked_by_its_account_or_else_by_its_key() {
        type Prepare = fn(&FakeCa);
        let refuse = |name: &'static str| Fault::Answer(problem(403, name, "no"));
        let rows: [(&str, Prepare, bool, Option<By>); 5] = [
            ("account", |_| {}, true, Some(By::Account)),
            ("none", |_| {}, false, Some(By::Key)),
            ("deactivated", |ca| ca.set_accounts("deactivated"), true, Some(By::Key)),
            ("gone", |ca| ca.set_accounts("gone"), true, Some(By::Key)),
            ("lost", |ca| ca.fail(Operation::RevokeCert, Fault::Drop), true, None),
        ];
        for (what, prepare, has_account, expected) in rows {
            let server = TestServer::new(&[&format!("{what}.revoke.test")]);
            drop(server.run(false));
            drop(server.start(false));
            let mut ca =
                Registrar::connect(Arc::clone(&server.ca) as _, Arc::clone(&server.clock) as _, FakeCa::DIRECTORY)
                    .unwrap();
            let (md, _) = stored_domain(&server.documents, &format!("{what}.revoke.test")).unwrap();
            let pairs = served_pairs(&server.documents, &md, crate::clock::Clock::now(&*server.clock));
            let record: AccountRecord =
                server.documents.load_json(Group::Accounts, ACCOUNT, &Aspect::AccountJson).unwrap();
            let key = server.documents.load_key(Group::Accounts, ACCOUNT, &Aspect::AccountKey).unwrap();
            let account = has_account.then_some((record, key));
            prepare(&server.ca);
            let reason = Some(("superseded", 4));
            assert_eq!(revoke_one(&mut ca, account.as_ref(), &pairs[0], reason).ok(), expected, "{what}");
            let revoked = vec![(pairs[0].chain.leaf().to_der().to_vec(), Some(4))];
            assert_eq!(server.ca.revocations(), if expected.is_some() { revoked } else { Vec::new() });
            server.ca.fail(Operation::RevokeCert, refuse("badRevocationReason"));
            server.ca.set_accounts("valid");
            let mut again = || revoke_one(&mut ca, account.as_ref(), &pairs[0], None);
            assert!(again().unwrap_err().is("badRevocationReason"), "{what}");
            if expected.is_some() {
                assert_eq!(again().unwrap(), By::Others, "{what}");
            }
            server.ca.check();
        }
    }

    #[test]
    fn reasons_have_names_and_numbers() {
        for (name, number) in REASONS {
            assert_eq!(reason(name).unwrap(), (name, number));
            assert_eq!(reason(&name.to_lowercase()).unwrap().1, number);
            assert_eq!(reason(&number.to_string()).unwrap().0, name);
        }
        for (name, number) in REASONS_OF_CAS {
            for text in [name.to_owned(), number.to_string()] {
                let error = reason(&text).unwrap_err();
                assert_eq!(error.status(), Status::INVALID);
                assert!(
                    error.to_string().starts_with(&format!("the reason {name} is for CAs only, use one of ")),
                    "{error}"
                );
            }
        }
        // RFC 5280 section 5.3.1: 7 is not used.
        for text in ["7", "11", "-1", "01", "", "compromised", "key compromise"] {
            let error = reason(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("unknown reason {text}, use one of "))
                    && error.contains("keyCompromise (1)"),
                "{text}: {error}"
            );
        }
    }

    fn serial(server: &TestServer, name: &str) -> String {
        let (md, _) = stored_domain(&server.documents, name).unwrap();
        let pairs = served_pairs(&server.documents, &md, crate::clock::Clock::now(&*server.clock));
        pairs[0].chain.leaf().summary().serial_hex()
    }

    /// Makes a store with a domain whose certificate the server uses.
    fn shell(name: &str, change: impl FnOnce(&mut TestServer)) -> Shell {
        let mut server = TestServer::new(&[name]);
        change(&mut server);
        drop(server.run(false));
        drop(server.start(true));
        Shell::of(server)
    }

    #[test]
    fn a_revocation_is_printed_with_what_to_do_next() {
        let name = "a.revoke.test";
        let next = "a.revoke.test: 'a2md drive -f a.revoke.test' obtains a new certificate with a new key now";
        for (words, stapling, ari, reason, expected) in [
            (
                "",
                false,
                false,
                None,
                ["only when its renewal is due", "the activation of a new certificate moves the key"],
            ),
            ("-r 4", false, true, Some(4), ["when the CA suggests a renewal (ARI)", "moves the key to archive/"]),
            (
                "--reason keycompromise",
                true,
                true,
                Some(1),
                ["a running server renews the domain when", "delete all copies of the key"],
            ),
        ] {
            let shell = shell(name, |server| {
                server.declared[0].settings.stapling = Some(stapling);
                server.declared[0].settings.ari_renewals = Some(ari);
            });
            let serial = serial(&shell.server, name);
            let done = shell.run(&format!("revoke {name} {words}"));
            assert_eq!((done.code, done.out), (0, format!("revoked: {name} {serial}\n")), "{}", done.err);
            for line in expected.iter().chain([&next, &"the server serves the revoked certificates until"]) {
                assert!(done.err.contains(line), "{line}: {}", done.err);
            }
            let revocations = shell.server.ca.revocations();
            assert_eq!(revocations.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), [reason]);
            let again = shell.json(&format!("revoke {name}"));
            assert_eq!(again, json!([{ "name": name, "serial": serial, "by": "others", "reason": null }]));
            assert_eq!(shell.succeed(&format!("revoke {name}")), format!("already revoked: {name} {serial}\n"));
            let row =
                format!("{name}  revoked  2024-02-12 22:13     89  'a2md drive -f {name}' obtains a new certificate\n");
            assert!(shell.succeed("status").contains(&row), "{}", shell.succeed("status"));
            shell.succeed(&format!("drive -f {name}"));
            assert!(shell.succeed("status").contains(&format!("{name}  good ")), "{}", shell.succeed("status"));
        }
    }

    #[test]
    fn the_key_of_the_certificate_revokes_where_the_account_cannot() {
        let name = "key.revoke.test";
        let shell = shell(name, |_| {});
        shell.server.ca.set_accounts("deactivated");
        let output = shell.json(&format!("revoke -r 1 {name}"));
        assert_eq!((&output[0]["by"], &output[0]["reason"]), (&"key".into(), &"keyCompromise".into()));
        let account = "account https://ca.test/account/0 is refused: ";
        assert!(crate::testing::logged("", account) > 0);
    }

    #[test]
    fn what_cannot_be_revoked_is_named() {
        let name = "no.revoke.test";
        let shell = shell(name, |_| {});
        shell.succeed("add new.revoke.test");
        for (line, err) in [
            ("revoke x.org", "Info 2: managed domain not found: x.org\n".to_owned()),
            ("revoke new.revoke.test", "Error 2: new.revoke.test: the store has no certificate to revoke\n".to_owned()),
        ] {
            assert_eq!(shell.fail(line), err);
        }
        let err = shell.fail(&format!("revoke {name} -r cACompromise"));
        assert!(
            err.starts_with("Error 22: the reason cACompromise is for CAs only, use one of unspecified (0), "),
            "{err}"
        );
        shell.server.ca.fail_times(Operation::RevokeCert, 9, Fault::Answer(problem(500, "serverInternal", "no")));
        let err = shell.fail(&format!("revoke {name}"));
        let serial = serial(&shell.server, name);
        assert!(err.contains("acme problem urn:ietf:params:acme:error:serverInternal: no\n"), "{err}");
        assert!(err.ends_with(&format!(": {name}: cannot revoke certificate {serial}\n")), "{err}");
        shell.change(name, |md| md["ca"] = json!({ "proto": "ACME" }));
        let unknown = format!("Error 22: {name}: the CA of its certificates is not known, name it with -a\n");
        assert_eq!(shell.fail(&format!("revoke {name}")), unknown);
    }
}
