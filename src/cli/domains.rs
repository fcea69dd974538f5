//! The commands `add`, `update` and `list`: domains in the store, with all checks.

use std::sync::Arc;

use super::args::Given;
use super::error::CliError;
use super::session::Session;
use super::syntax;
use crate::documents::{Vault, to_json};
use crate::model::{CaSettings, DomainName, ManagedDomain, MemberMode, State, Status, Window};
use crate::registry::Registry;
use crate::renewals::stored_domain;
use crate::sets::LiveSet;
use crate::store::{Aspect, Group};

/// Protocol of a new domain.
const PROTO: &str = "ACME";

/// `MDRenewWindow` of a new domain.
const RENEW_WINDOW: Window = Window::Percent(33);
/// `MDWarnWindow` of a new domain.
const WARN_WINDOW: Window = Window::Percent(10);

/// Adds a domain: `add domain...`.
pub fn add(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let names = syntax::domain_names(&given.args())?;
    let url = session.acme.clone();
    url.as_deref().map_or(Ok(()), syntax::check_uri)?;
    let mut md = new(names, url)?;
    let vault = session.vault();
    refuse_known(vault, &md)?;
    refuse_overlap(vault, &md)?;
    md.members = MemberMode::Manual;
    md.renew_window = Some(RENEW_WINDOW);
    md.warn_window = Some(WARN_WINDOW);
    let live = LiveSet::load(vault, &md);
    md.state = live.state.unwrap_or(State::Incomplete);
    md.state_descr.clone_from(&live.state_descr);
    create(vault, &md)?;
    tell_saved(session, &md)
}

/// Makes a domain with names and a CA, and no other settings.
pub(super) fn new(names: Vec<DomainName>, url: Option<String>) -> Result<ManagedDomain, CliError> {
    let none = || CliError::invalid("at least one domain name is needed");
    let mut md = ManagedDomain::new(names).ok_or_else(none)?;
    let proto = Some(PROTO.to_owned());
    md.ca = Arc::new(CaSettings { proto, urls: url.into_iter().collect(), ..CaSettings::default() });
    Ok(md)
}

/// Saves a domain that must not exist yet.
pub(super) fn create(vault: &Vault, md: &ManagedDomain) -> Result<(), CliError> {
    match vault.store().create(Group::Domains, md.name.as_str(), &Aspect::MdJson, &to_json(md)?)? {
        true => Ok(()),
        false => Err(exists(md)),
    }
}

fn refuse_known(vault: &Vault, md: &ManagedDomain) -> Result<(), CliError> {
    let known = vault.store().exists(Group::Domains, md.name.as_str(), &Aspect::MdJson);
    if known { Err(exists(md)) } else { Ok(()) }
}

fn exists(md: &ManagedDomain) -> CliError {
    CliError::Refused { status: Status::EXISTS, text: format!("managed domain exists already: {}", md.name) }
}

/// Fails if another domain has a name in common with `md`, by a wildcard or as it is.
pub(super) fn refuse_overlap(vault: &Vault, md: &ManagedDomain) -> Result<(), CliError> {
    for other in stored(vault)?.iter().map(|(other, _)| other).filter(|other| other.name != md.name) {
        let common = md.domains.iter().find(|name| other.covers(name));
        if let Some(name) = common.or_else(|| other.domains.iter().find(|name| md.covers(name))) {
            return Err(CliError::invalid(format!(
                "{}: the name {name} is also in managed domain {}",
                md.name, other.name
            )));
        }
    }
    Ok(())
}

/// Loads all domains with their certificates. Domains that cannot be read are logged and left out.
fn stored(vault: &Vault) -> Result<Vec<(ManagedDomain, LiveSet)>, CliError> {
    let names = vault.store().list(Group::Domains)?;
    Ok(names.iter().filter_map(|name| stored_domain(vault, name)).collect())
}

/// Prints a domain that was just saved.
fn tell_saved(session: &mut Session, md: &ManagedDomain) -> Result<(), CliError> {
    let registry = session.domains(None)?;
    let position = registry.entries.iter().position(|entry| entry.md.name == md.name);
    session.tell_domain(md, position.map(|position| is_due(&registry, position)))
}

fn is_due(registry: &Registry, position: usize) -> bool {
    let now = registry.clock.now();
    registry.due_at(position, now).is_some_and(|due| due <= now)
}

/// Changes a domain: `update name [setting [value...]]`.
pub fn update(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let args = given.args();
    let (name, aspect) = args.split_first().ok_or(CliError::Usage("missing argument: name of a managed domain"))?;
    let vault = Arc::clone(session.vault());
    let unknown = || CliError::NoDomain((*name).to_owned());
    let (stored, _) =
        DomainName::parse(name).ok().and_then(|name| stored_domain(&vault, name.as_str())).ok_or_else(unknown)?;
    let mut md = stored.clone();
    if let Some(url) = session.acme.as_deref().filter(|url| md.ca.urls != [*url]) {
        set_ca(&mut md, url)?;
    }
    if let Some((aspect, values)) = aspect.split_first() {
        change(&mut md, aspect, values)?;
    }
    if md.domains != stored.domains {
        refuse_overlap(&vault, &md)?;
    }
    let live = LiveSet::load(&vault, &md);
    md.state = live.state.unwrap_or(State::Unknown);
    md.state_descr.clone_from(&live.state_descr);
    vault.save_json(Group::Domains, md.name.as_str(), &Aspect::MdJson, &md)?;
    tell_saved(session, &md)
}

fn change(md: &mut ManagedDomain, aspect: &str, values: &[&str]) -> Result<(), CliError> {
    let first = values.first().map(|value| (*value).to_owned());
    match aspect {
        "domains" => md.domains = syntax::domain_names(values)?,
        "ca" => {
            set_ca(md, values.first().ok_or(CliError::Usage("missing argument: URL of the ACME server"))?)?;
            let proto = values.get(1).copied().unwrap_or(PROTO);
            Arc::make_mut(&mut md.ca).proto = Some(proto.to_owned());
        }
        "account" => Arc::make_mut(&mut md.ca).account = first,
        "contacts" => md.contacts = Arc::new(syntax::contacts(values)?),
        "agreement" => {
            first.as_deref().map_or(Ok(()), syntax::check_agreement)?;
            Arc::make_mut(&mut md.ca).agreement = first;
        }
        other => return Err(CliError::UnknownAspect(other.to_owned())),
    }
    Ok(())
}

/// Sets the CA of a domain. A domain with certificates of another CA is due.
pub(super) fn set_ca(md: &mut ManagedDomain, url: &str) -> Result<(), CliError> {
    syntax::check_uri(url)?;
    Arc::make_mut(&mut md.ca).urls = vec![url.to_owned()];
    Ok(())
}

/// Lists domains: `list [name...]`.
pub fn list(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let registry = session.domains(None)?;
    let args = given.args();
    if args.is_empty() {
        return (0..registry.entries.len()).try_for_each(|position| tell(session, &registry, position));
    }
    args.iter().try_for_each(|name| {
        let found = DomainName::parse(name).ok().and_then(|name| {
            let called = registry.entries.iter().position(|entry| entry.md.name == name);
            called.or_else(|| registry.index.covering(&name))
        });
        tell(session, &registry, found.ok_or_else(|| CliError::NotListed((*name).to_owned()))?)
    })
}

/// Prints the domain as it is stored, with the state of its certificates.
fn tell(session: &mut Session, registry: &Registry, position: usize) -> Result<(), CliError> {
    let entry = &registry.entries[position];
    let served = entry.served();
    let md = ManagedDomain {
        ca: Arc::clone(&entry.issued_by),
        state: served.state.unwrap_or(State::Unknown),
        state_descr: served.state_descr.clone(),
        ..(*entry.md).clone()
    };
    session.tell_domain(&md, Some(is_due(registry, position)))
}
