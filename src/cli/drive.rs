//! The command `drive`: renews each domain that is due once, and activates the new certificates.

use std::sync::Arc;

use super::args::Given;
use super::error::CliError;
use super::output::{self, Progress};
use super::session::Session;
use crate::acme::{AcmeError, Outcome};
use crate::clock::Clock;
use crate::documents::claimed_elsewhere;
use crate::log::note;
use crate::model::{ACME, DomainName, ManagedDomain, State, Status, TAILSCALE, time};
use crate::registry::Registry;
use crate::renewals::{Advisor, Begun, Ended, Renewal, reset};
use crate::sets::{Activation, LiveSet};

/// The options of the command.
struct Way {
    force: bool,
    reset: bool,
    /// The domains were named, so that a domain that is never renewed is a failure.
    named: bool,
    advisor: Advisor,
}

/// Renews domains: `drive [-c type] [-f] [-r] [name...]`.
pub fn drive(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let registry = session.domains(given.value("challenge"))?;
    let names = given.args();
    let advisor = Advisor::default();
    let way = Way { force: given.flag("force"), reset: given.flag("reset"), named: !names.is_empty(), advisor };
    chosen(&registry, &names)?.into_iter().try_for_each(|position| one(session, &registry, position, &way))
}

/// Returns the positions of the domains that are named, or of all.
pub(super) fn chosen(registry: &Registry, names: &[&str]) -> Result<Vec<usize>, CliError> {
    if names.is_empty() {
        return Ok((0..registry.entries.len()).collect());
    }
    let find = |name: &&str| {
        let wanted = DomainName::parse(name).ok();
        let position = registry.entries.iter().position(|entry| Some(&entry.md.name) == wanted.as_ref());
        position.ok_or_else(|| CliError::NoDomain((*name).to_owned()))
    };
    names.iter().map(find).collect()
}

/// Renews one domain.
fn one(session: &Session, registry: &Arc<Registry>, position: usize, way: &Way) -> Result<(), CliError> {
    // Certificates that went live are newer than those in domains/.
    registry.bundles.learn(position);
    let md = &registry.entries[position].md;
    if md.state == State::Error {
        let why = md.state_descr.as_deref().unwrap_or("a file cannot be read");
        return refused(Status::GENERAL, format!("{}: in error state, {why}", md.name));
    }
    if !(way.force || is_due(session, registry, position, way)?) {
        return Ok(());
    }
    refuse_unusable_ca(md)?;
    let asked = registry.retry_after(position, registry.clock.now()).filter(|_| !way.force);
    if let Some(at) = asked {
        let at = time::format_gmt(at);
        return refused(
            Status::AGAIN,
            format!("{}: the CA asked not to retry before {at}; use -f to retry now", md.name),
        );
    }
    if way.reset {
        reset(&registry.vault, md)?;
    }
    if !obtain(session, registry, position, way.force)? {
        note!(Info, "{}: renewed by another process in the meantime, nothing is ordered", md.name);
        return Ok(());
    }
    match registry.activate(position)? {
        Activation::Activated => {
            tell_active(registry, position);
            note!(Trace1, "complete.");
            Ok(())
        }
        Activation::Nothing => refused(Status::GENERAL, format!("{}: the renewal has staged no certificates", md.name)),
        Activation::Waits(reason) => {
            refused(Status::AGAIN, format!("{}: the new certificates are not activated: {reason}", md.name))
        }
        Activation::Dropped(_) => Err(CliError::Told(Status::GENERAL)),
        Activation::Failed(status) => Err(CliError::Told(status)),
    }
}

fn refused<T>(status: Status, text: String) -> Result<T, CliError> {
    Err(CliError::Refused { status, text })
}

/// Returns whether a domain is to be renewed now, and prints the reason if not. A domain that is never renewed is a
/// failure if it was named.
fn is_due(session: &Session, registry: &Registry, position: usize, way: &Way) -> Result<bool, CliError> {
    let md = &registry.entries[position].md;
    let now = registry.clock.now();
    registry.ask_ca(position, &way.advisor, &session.client(Some(md)));
    match registry.due_at(position, now) {
        None => {
            let name = &md.name;
            let text = format!("{name}: not renewed, as it serves MDCertificateFile; use -f to renew it anyway");
            if way.named {
                return refused(Status::INVALID, text);
            }
            note!(Info, "{text}");
            Ok(false)
        }
        Some(due) if due > now => {
            note!(Info, "{}: not due before {}", md.name, time::format_gmt(due));
            Ok(false)
        }
        Some(_) => Ok(true),
    }
}

fn refuse_unusable_ca(md: &ManagedDomain) -> Result<(), CliError> {
    if md.ca_url().is_none() {
        return refused(
            Status::NOT_FOUND,
            format!("{0}: is missing MDCertificateAuthority; 'a2md update {0} ca <url>' sets it", md.name),
        );
    }
    let is_known = |proto: &str| proto.eq_ignore_ascii_case(ACME) || proto == TAILSCALE;
    match md.ca.proto.as_deref().filter(|proto| !is_known(proto)) {
        Some(proto) => refused(Status::INVALID, format!("{}: Unknown CA protocol: {proto}", md.name)),
        None => Ok(()),
    }
}

/// Obtains certificates and stages them; `false` if the domain is no longer due.
fn obtain(session: &Session, registry: &Arc<Registry>, position: usize, force: bool) -> Result<bool, CliError> {
    let md = &registry.entries[position].md;
    match registry.begin(position, force, session.client(Some(md)))? {
        Begun::NotDue | Begun::RenewedElsewhere => Ok(false),
        Begun::Complete | Begun::CompleteFrom(_) | Begun::Denied => Ok(true),
        Begun::ClaimedElsewhere => Err(claimed_elsewhere(md).into()),
        Begun::Renewal(mut renewal) => {
            let result = run(&mut renewal, md.name.as_str(), &*registry.clock);
            let status = result.as_ref().map_or_else(AcmeError::status, |()| Status::OK);
            registry.close(renewal, result.map_or_else(Ended::Failed, |()| Ended::Done));
            if status == Status::OK { Ok(true) } else { Err(CliError::Told(status)) }
        }
    }
}

/// Prints which certificates a server serves for the domain, and from when on.
fn tell_active(registry: &Registry, position: usize) {
    let entry = &registry.entries[position];
    let md = &entry.md;
    let live = entry.live_set();
    let active: Vec<_> = md.key_specs().0.into_iter().zip(LiveSet::stored(&registry.vault, md).certificates).collect();
    let certificates =
        active.iter().filter_map(|(spec, own)| Some(output::certificate(spec.json_name(), own.as_ref()?)));
    let certificates = certificates.collect::<Vec<_>>().join("; ");
    let is_live = live.is_some_and(|live| {
        let serial = |spec| live.pair(spec).map(|pair| pair.summary().serial_hex());
        active.iter().all(|(spec, own)| own.as_ref().is_none_or(|own| serial(spec) == Some(own.serial_hex())))
    });
    let when = match (md.is_static(), is_live) {
        (true, _) => "serves MDCertificateFile instead",
        (false, true) => "uses them within seconds (MDActivation live)",
        (false, false) => "uses them after its next (graceful) restart",
    };
    note!(Info, "{}: the new certificates are active; a running server {when}: {certificates}", md.name);
}

/// Runs a renewal to its end.
fn run(renewal: &mut Renewal, name: &str, clock: &dyn Clock) -> Result<(), AcmeError> {
    let mut progress = Progress::begin(name);
    loop {
        let outcome = renewal.step()?;
        progress.step(renewal.activity().unwrap_or_default());
        match outcome {
            Outcome::Continue => {}
            Outcome::Wait(until) => {
                std::thread::sleep(until.duration_since(clock.now()).try_into().unwrap_or_default())
            }
            Outcome::Done => return Ok(()),
        }
    }
}
