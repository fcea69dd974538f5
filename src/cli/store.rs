//! The commands `store ...`: domains in the store, without checks.

use super::args::Given;
use super::domains::{create, new, set_ca};
use super::error::CliError;
use super::session::Session;
use super::syntax;
use crate::log::note;
use crate::model::{DomainName, ManagedDomain, Status};
use crate::store::{Aspect, Group};

/// Adds a domain: `store add domain...`.
pub fn add(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let md = new(syntax::names(&given.args())?, session.acme.clone())?;
    create(session.vault(), &md)?;
    session.tell_domain(&md, None)
}

/// Removes the settings of domains: `store remove [-f] name...`.
pub fn remove(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let names = given.args();
    if names.is_empty() {
        return Err(CliError::Usage("missing argument: name of a managed domain"));
    }
    let store = session.vault().store();
    let force = given.flag("force");
    names.iter().try_for_each(|name| {
        // The C module names directories as the configuration spells the domain.
        let is_there = store.exists(Group::Domains, name, &Aspect::MdJson);
        let name = DomainName::parse(name).ok().filter(|_| !is_there).map_or((*name).to_owned(), String::from);
        let name = name.as_str();
        if !force && !store.exists(Group::Domains, name, &Aspect::MdJson) {
            note!(Error, Status::NOT_FOUND; "managed domain not found: {name}");
            return Err(CliError::Told(Status::NOT_FOUND));
        }
        Ok(store.remove(Group::Domains, name, &Aspect::MdJson)?)
    })
}

/// Lists all domains: `store list`.
pub fn list(session: &mut Session, _: &Given<'_>) -> Result<(), CliError> {
    let names = session.vault().store().list(Group::Domains)?;
    let all: Vec<ManagedDomain> = names.iter().filter_map(|name| load(session, name)).collect();
    all.iter().try_for_each(|md| session.tell_domain(md, None))
}

fn load(session: &Session, name: &str) -> Option<ManagedDomain> {
    session.vault().load_json(Group::Domains, name, &Aspect::MdJson)
}

/// Changes the names or the CA of a domain: `store update name [domains domain...]`.
pub fn update(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let args = given.args();
    let (name, aspect) = args.split_first().ok_or(CliError::Usage("missing argument: name of a managed domain"))?;
    let unknown = || CliError::NoDomain((*name).to_owned());
    let name = DomainName::parse(name).map_err(|_| unknown())?;
    let stored = load(session, name.as_str()).ok_or_else(unknown)?;
    let mut md = stored.clone();
    if let Some(url) = session.acme.as_deref().filter(|url| md.ca.urls != [*url]) {
        set_ca(&mut md, url)?;
    }
    match aspect.split_first() {
        None => {}
        Some((&"domains", names)) => md.domains = syntax::names(names)?,
        Some((other, _)) => return Err(CliError::UnknownAspect((*other).to_owned())),
    }
    if md != stored {
        session.vault().save_json(Group::Domains, name.as_str(), &Aspect::MdJson, &md)?;
    }
    session.tell_domain(&md, None)
}
