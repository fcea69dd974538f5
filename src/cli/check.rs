//! The command `check`: finds out what the next start of the server would activate, discard or repair, and changes nothing.
//!
//! The configuration of the server is not known here: the command assumes that the domains of the store are configured.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::error::CliError;
use super::given::Given;
use super::session::Session;
use crate::acme::AccountRecord;
use crate::documents::Documents;
use crate::model::{ManagedDomain, State, Timestamp, time};
use crate::renewals::{activation_verdict, stored_domain};
use crate::sets::{Activation, PairSet, staged_report, staged_summaries};
use crate::store::{Aspect, FileStore, Group, STORE_FILE, STORE_MODE, Store, giving_to_root, of_others};

/// An action of the next start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// `activate`, `keep`, `discard`, `repair` or `renew`.
    action: &'static str,
    /// The domain, or a path in the store.
    pub(super) item: String,
    /// The reason for the action, or the change that it makes.
    pub(super) detail: String,
}

/// Prints all findings: `check`.
pub fn check(session: &mut Session, _: &Given<'_>) -> Result<(), CliError> {
    let dir = session.dir.clone().unwrap_or_default();
    let Some((store, is_old)) = FileStore::look(&dir)? else {
        let text = format!("there is no store in {}", dir.display());
        return Err(CliError::Refused { status: crate::model::Status::NOT_FOUND, text });
    };
    let mut findings = Vec::new();
    if is_old {
        findings.push(finding("repair", STORE_FILE, "the store is migrated to the current layout".to_owned()));
    }
    findings.extend(modes(&dir));
    let documents = Documents::new(Arc::new(store));
    let now = session.clock().now();
    findings.extend(content(&documents, now)?);
    if findings.is_empty() && !session.json {
        session.terminal().print("nothing to do: the next start changes nothing");
    }
    for Finding { action, item, detail } in findings {
        session.report(
            &format!("{action}: {item}: {detail}"),
            json!({ "action": action, "item": item, "detail": detail }),
        );
    }
    Ok(())
}

fn finding(action: &'static str, item: &str, detail: String) -> Finding {
    Finding { action, item: item.to_owned(), detail }
}

/// Checks modes and owners of the directories of the store, and of its secret.
pub(super) fn modes(dir: &Path) -> Vec<Finding> {
    let wrong = |group: Group| {
        let mode = std::fs::metadata(dir.join(group.name())).ok()?.permissions().mode() & 0o7777;
        let detail = format!("its mode changes from {mode:04o} to {:04o}", group.dir_mode());
        (mode != group.dir_mode()).then(|| finding("repair", group.name(), detail))
    };
    let mut findings: Vec<_> = Group::ALL.into_iter().filter_map(wrong).collect();
    let is_root = rustix::process::geteuid().is_root();
    let secret = std::fs::symlink_metadata(dir.join(STORE_FILE)).ok().filter(std::fs::Metadata::is_file);
    let mode = secret.map(|found| found.permissions().mode() & 0o7777).filter(|mode| *mode != STORE_MODE);
    findings.extend(
        mode.map(|mode| finding("repair", STORE_FILE, format!("its mode changes from {mode:04o} to {STORE_MODE:04o}"))),
    );
    for found in of_others(dir).into_iter().filter(|_| is_root) {
        let (name, owner) = found;
        let detail =
            format!("it belongs to user {owner} and not to root; repair that by: {}", giving_to_root(dir, &[found]));
        findings.push(finding("keep", if name.is_empty() { "." } else { name }, detail));
    }
    findings
}

/// Checks the content of the store.
fn content(documents: &Documents, now: Timestamp) -> Result<Vec<Finding>, CliError> {
    let store = documents.store();
    let domains = store.list(Group::Domains)?;
    let staged = store.list(Group::Staging)?;
    let live = store.list(Group::Live)?;
    let mut findings = interrupted(store, &domains)?;
    let mut known = Vec::new();
    for name in &domains {
        match stored_domain(documents, name) {
            Some((md, live)) => {
                findings.extend(served(&md, live.common_validity().map(|(_, until)| until), now));
                known.push(md);
            }
            None => {
                findings.push(finding("repair", name, "md.json is missing or damaged and is written again".to_owned()))
            }
        }
    }
    for name in &staged {
        findings.extend(account(documents, name));
        if has_advice_only(store, name) {
            continue;
        }
        match known.iter().find(|md| md.name.as_str() == name) {
            Some(md) => findings.extend(waiting(documents, md, now)),
            None => {
                findings.push(finding("keep", name, "a renewal is staged, but the store has no such domain".to_owned()))
            }
        }
    }
    findings
        .extend(known.iter().filter(|md| live.contains(&md.name.to_string())).filter_map(|md| settles(documents, md)));
    let is_of_none =
        |name: &&String| !known.iter().any(|md| md.domains.iter().any(|own| own.as_str() == name.as_str()));
    let challenges = store.list(Group::Challenges)?;
    findings.extend(
        challenges.iter().filter(is_of_none).map(|name| {
            finding("discard", &format!("challenges/{name}"), "no managed domain has this name".to_owned())
        }),
    );
    // What a start activates, it does not renew.
    let is_activated = |item: &str| findings.iter().any(|other| other.action == "activate" && other.item == item);
    let activated: Vec<String> = domains.into_iter().filter(|name| is_activated(name)).collect();
    findings.retain(|finding| finding.action != "renew" || !activated.contains(&finding.item));
    Ok(findings)
}

/// Returns whether staging has nothing for the domain but the advice of the CA about the next renewal.
fn has_advice_only(store: &dyn Store, name: &str) -> bool {
    let exists = |aspect: &Aspect| store.exists(Group::Staging, name, aspect);
    exists(&Aspect::AriJson) && ![Aspect::MdJson, Aspect::JobJson].iter().any(exists)
}

/// Finds activations that a crash interrupted.
fn interrupted(store: &dyn Store, domains: &[String]) -> Result<Vec<Finding>, CliError> {
    let archived = store.list(Group::Archive)?;
    let is_former = |item: &str, set: &str| {
        set.strip_prefix(item)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|number| number.parse::<u16>().is_ok())
    };
    let lost = |item: &String| {
        !domains.contains(item)
            && store.exists(Group::Tmp, item, &Aspect::MdJson)
            && archived.iter().any(|set| is_former(item, set))
    };
    let detail = || "an activation was interrupted, the former certificates are restored".to_owned();
    Ok(store.list(Group::Tmp)?.into_iter().filter(lost).map(|item| finding("repair", &item, detail())).collect())
}

/// Checks the certificates that the server loads at its start.
fn served(md: &ManagedDomain, until: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
    let why = md.state_descr.clone().unwrap_or_default();
    match (md.state, until) {
        (State::Complete, Some(until)) if until <= now => {
            let detail = format!("the certificate expired at {}", time::format_gmt(until));
            Some(finding("renew", md.name.as_str(), detail))
        }
        (State::Complete, _) => None,
        (State::Error, _) => Some(finding("renew", md.name.as_str(), format!("a certificate cannot be read: {why}"))),
        _ => Some(finding("renew", md.name.as_str(), why)),
    }
}

/// Checks certificates that went live, and that no start has moved to `domains/` yet.
fn settles(documents: &Documents, md: &ManagedDomain) -> Option<Finding> {
    let store = documents.store();
    let name = md.name.as_str();
    let text = store.load(Group::Live, name, &Aspect::LiveJson).ok()??;
    Some(match PairSet::kept(&text, store.secret(), md) {
        Ok(live) => live.map(|_| {
            finding("activate", name, "the live certificates move to domains/, unless those are newer".to_owned())
        })?,
        Err(err) => finding("keep", name, format!("the live certificates are not activated: {err}")),
    })
}

/// Finds an account that a renewal has left in staging.
fn account(documents: &Documents, name: &str) -> Option<Finding> {
    let record: AccountRecord = documents.load_json(Group::Staging, name, &Aspect::AccountJson)?;
    let detail = format!("the account {} moves to accounts/", record.url);
    Some(finding("activate", &format!("staging/{name}"), detail))
}

/// Checks what a renewal has staged for a domain of the store.
fn waiting(documents: &Documents, md: &ManagedDomain, now: Timestamp) -> Vec<Finding> {
    let name = md.name.as_str();
    let until = || staged_summaries(documents, md).iter().flatten().map(|facts| facts.validity().1).min();
    let until = || until().map_or_else(String::new, |until| format!(", valid until {}", time::format_gmt(until)));
    let found = match activation_verdict(documents, md, now) {
        Activation::Activated => finding("activate", name, format!("the staged certificates{}", until())),
        Activation::Dropped(reason) => {
            finding("discard", name, format!("the staged certificates cannot be used: {reason}"))
        }
        Activation::Waits(reason) => {
            finding("keep", name, format!("the staged certificates are not activated yet: {reason}"))
        }
        // What is left of a failure, and is used by the next renewal.
        Activation::Nothing => return failures(documents, md),
        Activation::Failed(err) => finding("keep", name, format!("the staged certificates cannot be read: {err}")),
    };
    std::iter::once(found).chain(failures(documents, md)).collect()
}

/// Counts the renewals that failed.
fn failures(documents: &Documents, md: &ManagedDomain) -> Vec<Finding> {
    let job = staged_report(documents, md).filter(|job| job.errors > 0);
    let detail = |errors| format!("failed renewals: {errors}; a full start counts from 0 again and retries at once");
    job.into_iter().map(|job| finding("renew", md.name.as_str(), detail(job.errors))).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::testing::Shell;
    use super::*;
    use crate::clock::Clock;
    use crate::testing::{TestServer, p256};

    fn lines(server: &TestServer) -> Vec<String> {
        let findings = content(&server.documents, server.clock.now()).unwrap();
        findings.iter().map(|Finding { action, item, detail }| format!("{action}: {item}: {detail}")).collect()
    }

    fn begins(lines: &[String], expected: &[&str]) {
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        assert!(lines.iter().zip(expected).all(|(line, start)| line.starts_with(start)), "{lines:?}");
    }

    #[test]
    fn a_check_names_the_actions_of_the_next_start() {
        let server = TestServer::without_account(&["a.check.test"]);
        drop(server.start(false));
        begins(&lines(&server), &["renew: a.check.test: certificate(P-256) is missing"]);
        drop(server.run(false));
        let expected = [
            "activate: staging/a.check.test: the account ",
            "activate: a.check.test: the staged certificates, valid until ",
        ];
        begins(&lines(&server), &expected);
        begins(&lines(&server), &expected);
        drop(server.start(true));
        assert_eq!(lines(&server), Vec::<String>::new());
        server.clock.advance(SignedDuration::from_hours(24 * 91));
        server.put(Group::Staging, "a.check.test", &Aspect::AriJson, "{}");
        begins(&lines(&server), &["renew: a.check.test: the certificate expired at "]);
    }

    #[test]
    fn live_certificates_move_at_the_next_start_or_stay() {
        let mut server = TestServer::new(&["h.check.test"]);
        server.declared[0].settings.activation = Some(crate::model::ActivationMode::Live);
        drop(server.run(false));
        server.store.clear(Group::Staging, "h.check.test").unwrap();
        begins(&lines(&server), &["activate: h.check.test: the live certificates move to domains/"]);
        server.put(Group::Live, "h.check.test", &Aspect::LiveJson, "{");
        assert!(
            lines(&server)
                .iter()
                .any(|line| line.starts_with("keep: h.check.test: the live certificates are not activated: "))
        );
    }

    #[test]
    fn damage_and_leftovers_are_named() {
        let server = TestServer::new(&["b.check.test", "c.check.test"]);
        drop(server.run(false));
        server.put(Group::Staging, "b.check.test", &Aspect::PrivateKey(p256()), "no key");
        server.store.remove(Group::Staging, "c.check.test", &Aspect::Chain(p256())).unwrap();
        server.put(Group::Domains, "d.check.test", &Aspect::MdJson, "{");
        server.put(Group::Staging, "e.check.test", &Aspect::MdJson, "{}");
        server.put(Group::Challenges, "f.check.test", &Aspect::Http01, "x");
        server.put(Group::Challenges, "b.check.test", &Aspect::Http01, "x");
        server.put(Group::Tmp, "g.check.test", &Aspect::MdJson, "{}");
        server.put(Group::Archive, "g.check.test.7", &Aspect::MdJson, "{}");
        let expected = [
            "repair: g.check.test: an activation was interrupted",
            "renew: b.check.test: certificate(P-256) is missing",
            "renew: c.check.test",
            "repair: d.check.test: md.json is missing or damaged",
            "discard: b.check.test: the staged certificates cannot be used: private key(P-256) cannot be read",
            "keep: c.check.test: the staged certificates are not activated yet: certificate(P-256) is missing",
            "keep: e.check.test",
            "discard: challenges/f.check.test",
        ];
        begins(&lines(&server), &expected);
    }

    #[test]
    fn check_prints_what_it_finds_and_changes_nothing() {
        let shell = Shell::on_files();
        let dir = shell.dir();
        let missing = format!("Error 2: there is no store in {}\n", dir.display());
        assert_eq!(shell.fail("check"), missing);
        assert!(!dir.exists());
        shell.succeed("add a.check.test");
        assert_eq!(shell.succeed("check"), "renew: a.check.test: certificate(rsa) is missing\n");

        let file = dir.join("md_store.json");
        let mut document: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        document["store"]["version"] = 2.0.into();
        let old = document.to_string();
        std::fs::write(&file, &old).unwrap();
        std::fs::set_permissions(dir.join("domains"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = json!([
            { "action": "repair", "item": "md_store.json", "detail": "the store is migrated to the current layout" },
            { "action": "repair", "item": "domains", "detail": "its mode changes from 0755 to 0700" },
            { "action": "renew", "item": "a.check.test", "detail": "certificate(rsa) is missing" },
        ]);
        assert_eq!(shell.json("check"), found);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), old);
        std::fs::write(&file, "{}").unwrap();
        let err = shell.fail("check");
        assert!(err.starts_with("Error 22: ") && err.contains("md_store.json is damaged"), "{err}");
    }

    #[test]
    fn failed_renewals_are_counted() {
        let server = TestServer::new(&["e.check.test"]);
        server.ca.fail(crate::testing::ca::Operation::NewOrder, crate::testing::ca::Fault::Drop);
        drop(server.run(false));
        let lines = lines(&server);
        let counted = "renew: e.check.test: failed renewals: 1; a full start counts from 0 again and retries at once";
        assert!(lines.iter().any(|line| line == counted), "{lines:?}");
    }
}
