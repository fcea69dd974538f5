//! The commands `store ...`: domains in the store, without checks.

use super::domains::{create, new, set_ca};
use super::error::CliError;
use super::given::Given;
use super::session::Session;
use super::syntax;
use super::unknown::Unknown;
use crate::model::{DomainName, ManagedDomain, Status};
use crate::store::{Aspect, Group};

/// Adds a domain: `store add domain...`.
pub fn add(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let md = new(syntax::names(&given.args())?, session.acme.clone())?;
    create(session.documents(), &md)?;
    session.report_domain(&md, None)
}

/// Removes the settings of domains: `store remove [-f] name...`.
pub fn remove(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let names = given.args();
    if names.is_empty() {
        return Err(CliError::Usage("missing argument: name of a managed domain"));
    }
    let store = session.documents().store();
    let force = given.flag("force");
    names.iter().try_for_each(|name| {
        // The C module names directories as the configuration spells the domain.
        let is_there = store.exists(Group::Domains, name, &Aspect::MdJson);
        let name = DomainName::parse(name).ok().filter(|_| !is_there).map_or((*name).to_owned(), String::from);
        let name = name.as_str();
        if !force && !store.exists(Group::Domains, name, &Aspect::MdJson) {
            let known = store.list(Group::Domains).unwrap_or_default();
            let unknown = Unknown::among(name, known.iter().map(String::as_str));
            let text = format!("managed domain not found: {unknown}");
            return Err(CliError::Refused { status: Status::NOT_FOUND, text });
        }
        Ok(store.remove(Group::Domains, name, &Aspect::MdJson)?)
    })
}

/// Lists all domains: `store list`.
pub fn list(session: &mut Session, _: &Given<'_>) -> Result<(), CliError> {
    let names = session.documents().store().list(Group::Domains)?;
    let all: Vec<ManagedDomain> = names.iter().filter_map(|name| load(session, name)).collect();
    all.iter().try_for_each(|md| session.report_domain(md, None))
}

fn load(session: &Session, name: &str) -> Option<ManagedDomain> {
    session.documents().load_json(Group::Domains, name, &Aspect::MdJson)
}

/// Changes the names or the CA of a domain: `store update name [domains domain...]`.
pub fn update(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let args = given.args();
    let (name, setting) = args.split_first().ok_or(CliError::Usage("missing argument: name of a managed domain"))?;
    let unknown = || CliError::no_domain(session.documents(), name);
    let name = DomainName::parse(name).map_err(|_| unknown())?;
    let stored = load(session, name.as_str()).ok_or_else(unknown)?;
    let mut md = stored.clone();
    if let Some(url) = session.acme.as_deref().filter(|url| md.ca.urls != [*url]) {
        set_ca(&mut md, url)?;
    }
    match setting.split_first() {
        None => {}
        Some((&"domains", names)) => md.domains = syntax::names(names)?,
        Some((other, _)) => return Err(CliError::UnknownSetting(Unknown::among(other, ["domains"]))),
    }
    if md != stored {
        session.documents().save_json(Group::Domains, name.as_str(), &Aspect::MdJson, &md)?;
    }
    session.report_domain(&md, None)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shell;
    use crate::store::{Aspect, Group, Store};
    use crate::testing::{Call, p256};

    #[test]
    fn add_accepts_names_that_checks_would_refuse() {
        let shell = Shell::new();
        shell.succeed("add a.org b.org");
        let md = &shell.json("-a https://ca.test/dir store add localhost b.org")[0];
        assert_eq!((&md["state"], &md["transitive"], &md["renew-mode"]), (&0.into(), &(-1).into(), &(-1).into()));
        for member in ["renew", "renew-window", "warn-window", "state-descr"] {
            assert_eq!(md.get(member), None, "{member}");
        }
        assert_eq!(*md, shell.md("localhost"));
        assert_eq!(shell.fail("store add localhost"), "Error 17: managed domain exists already: localhost\n");
        assert_eq!(shell.fail("store add"), "Error 22: at least one domain name is needed\n");
        let err = shell.fail("store add a/b");
        assert!(err.starts_with("Error 22: ") && err.contains("cannot be a domain name"), "{err}");
        assert_eq!(shell.succeed("store list"), "md: a.org [a.org, b.org]\nmd: localhost [localhost, b.org]\n");
    }

    #[test]
    fn remove_takes_the_settings_and_leaves_keys() {
        let shell = Shell::new();
        shell.succeed("add a.org");
        shell.server.put(Group::Domains, "a.org", &Aspect::PrivateKey(p256()), "a key");
        assert_eq!(shell.succeed("store remove A.org"), "");
        let exists = |aspect| shell.server.store.exists(Group::Domains, "a.org", &aspect);
        assert_eq!((exists(Aspect::MdJson), exists(Aspect::PrivateKey(p256()))), (false, true));
        assert_eq!(shell.fail("store remove a.org"), "Error 2: managed domain not found: a.org\n");
        assert_eq!(shell.run("-j store remove x.org").document()["status"], 2);
        assert_eq!(shell.succeed("store remove -f a.org x.org"), "");
    }

    #[test]
    fn remove_finds_a_directory_that_is_spelled_in_capitals() {
        let shell = Shell::new();
        shell.server.put(Group::Domains, "Capital.org", &Aspect::MdJson, "{}");
        shell.succeed("store remove Capital.org");
        assert!(!shell.server.store.exists(Group::Domains, "Capital.org", &Aspect::MdJson));
    }

    #[test]
    fn update_replaces_names_and_url_and_writes_only_changes() {
        let shell = Shell::new();
        shell.succeed("store add a.org");
        let written = || shell.server.store.count(Call::Write, Group::Domains, None);
        let before = written();
        assert_eq!(shell.succeed("store update a.org"), "md: a.org [a.org]\n");
        assert_eq!(written(), before, "written without need");
        assert_eq!(shell.succeed("store update a.org domains localhost"), "md: a.org [localhost]\n");
        let md = &shell.json("-a https://ca.test/dir store update A.org")[0];
        assert_eq!((&md["ca"]["urls"][0], &md["domains"][0]), (&"https://ca.test/dir".into(), &"localhost".into()));
        assert_eq!(*md, shell.md("a.org"));
        assert_eq!(shell.fail("store update a.org domains"), "Error 22: at least one domain name is needed\n");
        assert_eq!(shell.fail("store update a.org frob"), "unknown setting: frob\n");
        assert_eq!(shell.fail("-a nohost store update a.org"), "Error 22: missing uri scheme: nohost\n");
        assert_eq!(shell.fail("store update x.org"), "Info 2: managed domain not found: x.org\n");
    }
}
