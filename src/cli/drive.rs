//! `drive`: one renewal of every domain that is due, activated at once.

use std::sync::Arc;

use super::args::Given;
use super::error::CliError;
use super::output::Progress;
use super::session::Session;
use crate::acme::{AcmeError, Outcome};
use crate::clock::Clock;
use crate::log::note;
use crate::model::{ACME, State, Status, TAILSCALE, plain_host, time};
use crate::registry::{Activation, Begun, Ended, Registry, Renewal, claimed_elsewhere, reset};

/// How a domain is renewed.
struct Way {
    force: bool,
    reset: bool,
}

/// `drive [-c type] [-f] [-r] [name...]`
pub fn drive(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let (vault, clock) = (Arc::clone(session.vault()), Arc::clone(&session.clock));
    let reach = session.files().load_reachability();
    let registry = Arc::new(Registry::stored(vault, clock, reach, given.value("challenge"))?);
    let way = Way { force: given.flag("force"), reset: given.flag("reset") };
    chosen(&registry, &given.args())?.into_iter().try_for_each(|position| one(session, &registry, position, &way))
}

/// Positions of the domains that are named, or of all.
pub(super) fn chosen(registry: &Registry, names: &[&str]) -> Result<Vec<usize>, CliError> {
    if names.is_empty() {
        return Ok((0..registry.entries.len()).collect());
    }
    let find = |name: &&str| {
        let plain = plain_host(name);
        let position = registry.entries.iter().position(|entry| entry.md.name.as_str().eq_ignore_ascii_case(&plain));
        position.ok_or_else(|| CliError::NoDomain((*name).to_owned()))
    };
    names.iter().map(find).collect()
}

fn one(session: &Session, registry: &Arc<Registry>, position: usize, way: &Way) -> Result<(), CliError> {
    // What is live is newer than what is in domains/.
    registry.bundles.learn(position);
    let entry = &registry.entries[position];
    let (md, now) = (&entry.md, registry.clock.now());
    let refused = |status, text| Err(CliError::Refused { status, text });
    if md.state == State::Error {
        let why = md.state_descr.as_deref().unwrap_or("a file cannot be read");
        return refused(Status::GENERAL, format!("{}: in error state, {why}", md.name));
    }
    match registry.due_at(position, now) {
        _ if way.force => {}
        None => {
            note!(Info, "{}: is not renewed by mod_md, use -f to do it all the same", md.name);
            return Ok(());
        }
        Some(due) if due > now => {
            note!(Info, "{}: not due before {}", md.name, time::format_gmt(due));
            return Ok(());
        }
        Some(_) => {}
    }
    if md.ca_url().is_none() {
        return refused(
            Status::NOT_FOUND,
            format!("{0}: is missing MDCertificateAuthority; 'a2md update {0} ca <url>' sets it", md.name),
        );
    }
    if let Some(proto) = md.ca.proto.as_deref().filter(|proto| !proto.eq_ignore_ascii_case(ACME) && *proto != TAILSCALE)
    {
        return refused(Status::INVALID, format!("{}: Unknown CA protocol: {proto}", md.name));
    }
    let asked = registry.retry_after(position, now).filter(|_| !way.force);
    if let Some(at) = asked {
        let at = time::format_gmt(at);
        return refused(
            Status::AGAIN,
            format!("{}: the CA wants to be asked again at {at}, use -f not to wait", md.name),
        );
    }
    if way.reset {
        reset(&registry.vault, md)?;
    }
    obtain(session, registry, position)?;
    match registry.activate(position)? {
        Activation::Activated => {
            let when = if registry.bundles.is_live(position) && !md.must_staple {
                "within seconds, as MDActivation is 'live'"
            } else {
                "after its next (graceful) restart"
            };
            note!(Info, "{}: the new certificates are active; a running server uses them {when}", md.name);
            note!(Trace1, "complete.");
            Ok(())
        }
        Activation::Nothing => refused(Status::GENERAL, format!("{}: nothing was staged", md.name)),
        Activation::Waits(reason) => refused(Status::AGAIN, format!("{}: not activated, {reason}", md.name)),
        Activation::Dropped(_) => Err(CliError::Told(Status::GENERAL)),
        Activation::Failed(status) => Err(CliError::Told(status)),
    }
}

/// Brings everything that is needed to staging.
fn obtain(session: &Session, registry: &Arc<Registry>, position: usize) -> Result<(), CliError> {
    let md = &registry.entries[position].md;
    match registry.begin(position, session.client(Some(md)))? {
        Begun::Complete | Begun::CompleteFrom(_) | Begun::NotDue | Begun::RenewedElsewhere | Begun::Denied => Ok(()),
        Begun::ClaimedElsewhere => Err(claimed_elsewhere(md).into()),
        Begun::Renewal(mut renewal) => {
            let result = run(&mut renewal, md.name.as_str(), &*registry.clock);
            let status = result.as_ref().map_or_else(AcmeError::status, |()| Status::OK);
            registry.close(renewal, result.map_or_else(Ended::Failed, |()| Ended::Done));
            if status == Status::OK { Ok(()) } else { Err(CliError::Told(status)) }
        }
    }
}

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
