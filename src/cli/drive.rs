//! The command `drive`: renews each domain that is due once, several side by side, and activates the new certificates.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::CliError;
use super::given::Given;
use super::output;
use super::progress::Board;
use super::session::Session;
use crate::acme::AcmeError;
use crate::ari::Advisor;
use crate::documents::claimed_elsewhere;
use crate::issuance::Outcome;
use crate::line::{HeldBack, held_back};
use crate::log::note;
use crate::model::{ACME, DomainName, JobResult, ManagedDomain, State, Status, TAILSCALE, time, without_passwords};
use crate::registry::Registry;
use crate::renewals::{Begun, Ended, Renewal, reset};
use crate::sets::{Activation, CertificateSet};

/// How many domains are renewed side by side if nothing is said.
pub(super) const JOBS: usize = 4;
/// The most domains that are renewed side by side: as many as the server begins at a CA.
pub(super) const MOST_JOBS: usize = 32;

/// A run of the command.
struct Drive<'a> {
    session: &'a Session,
    registry: Arc<Registry>,
    force: bool,
    reset: bool,
    /// The domains were named, so that a domain that is never renewed is a failure.
    named: bool,
    advisor: Advisor,
    board: Board,
    /// CAs that have too much to do, by directory URL, with the domain to which they said so.
    refusing: Mutex<BTreeMap<String, DomainName>>,
    /// Held while a domain is activated: whoever activates waits for a lock of the store, but not for long.
    activating: Mutex<()>,
}

/// What became of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Renewed,
    NotDue,
    /// The CA has too much to do.
    NotTried,
}

/// Renews domains: `drive [-c type] [-f] [--jobs number] [-r] [name...]`.
pub fn drive(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let jobs = given.value("jobs").map_or(Ok(JOBS), jobs)?;
    let registry = session.domains(given.value("challenge"))?;
    let names = given.args();
    let mut positions = chosen(&registry, &names)?;
    positions.sort_unstable();
    positions.dedup();
    let drive = Drive {
        force: given.flag("force"),
        reset: given.flag("reset"),
        named: !names.is_empty(),
        ..Drive::new(session, registry, positions.len())
    };
    match positions[..] {
        [position] => drive.one(position).map(|_| ()),
        _ => drive.all(&positions, jobs),
    }
}

/// Obtains the certificates of one domain, as `drive name` does.
pub(super) fn only(session: &Session, name: &str) -> Result<(), CliError> {
    let registry = session.domains_of(&[name])?;
    let positions = chosen(&registry, &[name])?;
    let drive = Drive::new(session, registry, positions.len());
    positions.into_iter().try_for_each(|position| drive.one(position).map(|_| ()))
}

/// Parses how many domains are renewed side by side.
fn jobs(text: &str) -> Result<usize, CliError> {
    let found = text.parse().ok().filter(|jobs| (1..=MOST_JOBS).contains(jobs));
    found.ok_or_else(|| {
        CliError::invalid(format!("--jobs {}: a number from 1 to {MOST_JOBS} is expected", text.escape_default()))
    })
}

/// Returns the positions of the domains that are named, or of all.
pub(super) fn chosen(registry: &Registry, names: &[&str]) -> Result<Vec<usize>, CliError> {
    if names.is_empty() {
        return Ok((0..registry.domains.len()).collect());
    }
    let find = |name: &&str| {
        let wanted = DomainName::parse(name).ok();
        let position = registry.domains.iter().position(|domain| Some(&domain.md.name) == wanted.as_ref());
        position.ok_or_else(|| CliError::no_domain(&registry.documents, name))
    };
    names.iter().map(find).collect()
}

impl<'a> Drive<'a> {
    fn new(session: &'a Session, registry: Arc<Registry>, domains: usize) -> Self {
        Self {
            session,
            registry,
            force: false,
            reset: false,
            named: true,
            advisor: Advisor::default(),
            board: Board::begin(session.terminal(), domains),
            refusing: Mutex::default(),
            activating: Mutex::default(),
        }
    }

    /// Renews domains on so many threads. A failure does not stop the others; the first one is returned.
    fn all(&self, positions: &[usize], jobs: usize) -> Result<(), CliError> {
        let next = AtomicUsize::new(0);
        let ends = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            let work = || {
                while let Some(position) = positions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let end = self.one(*position).inspect_err(|err| err.print(self.session.terminal()));
                    locked(&ends).insert(*position, end);
                    self.board.count();
                }
            };
            (0..jobs.min(positions.len())).for_each(|_| drop(scope.spawn(work)));
        });
        let ends = ends.into_inner().unwrap_or_else(PoisonError::into_inner);
        let name = |position: &usize| self.registry.domains[*position].md.name.as_str();
        let failed: Vec<_> = ends.iter().filter(|(_, end)| end.is_err()).map(|(position, _)| name(position)).collect();
        let count = |wanted: End| ends.values().filter(|end| end.as_ref().is_ok_and(|end| *end == wanted)).count();
        self.session.inform(&summary(count(End::Renewed), &failed, count(End::NotDue), count(End::NotTried)));
        let first = ends.into_values().find_map(Result::err);
        first.map_or(Ok(()), |err| Err(CliError::reported(err.to_result())))
    }

    /// Renews one domain.
    fn one(&self, position: usize) -> Result<End, CliError> {
        let registry = &self.registry;
        // Certificates that went live are newer than those in domains/.
        registry.live_sets.learn(position);
        let md = &registry.domains[position].md;
        if md.state == State::Error {
            let why = md.state_descr.as_deref().unwrap_or("a file cannot be read");
            return refused(Status::GENERAL, format!("{}: in error state, {why}", md.name));
        }
        if !(self.force || self.is_due(position)?) {
            return Ok(End::NotDue);
        }
        refuse_unusable_ca(md)?;
        let next = registry.next_ca(position, registry.clock.now());
        let asked = next.as_ref().and_then(|next| next.retry_after).filter(|_| !self.force);
        if let Some(at) = asked {
            let at = time::format_gmt(at);
            return refused(
                Status::AGAIN,
                format!("{}: the CA asked not to retry before {at}; use -f to retry now", md.name),
            );
        }
        if let Some((url, other)) = next.and_then(|next| {
            locked(&self.refusing).get_key_value(&next.url).map(|(url, other)| (url.clone(), other.clone()))
        }) {
            let url = without_passwords(&url);
            self.session
                .inform(&format!("{}: not tried, as {url} has too much to do since it was asked for {other}", md.name));
            return Ok(End::NotTried);
        }
        if self.reset {
            reset(&registry.documents, md)?;
        }
        if !self.obtain(position)? {
            return Ok(End::NotDue);
        }
        let activation = {
            let _turn = locked(&self.activating);
            registry.activate(position)?
        };
        match activation {
            Activation::Activated => {
                self.report_active(position);
                note!(Trace1, "complete.");
                Ok(End::Renewed)
            }
            Activation::Nothing => {
                refused(Status::GENERAL, format!("{}: the renewal has staged no certificates", md.name))
            }
            Activation::Waits(reason) => {
                refused(Status::AGAIN, format!("{}: the new certificates are not activated: {reason}", md.name))
            }
            Activation::Dropped(reason) => {
                let detail = format!("{}: the staged set cannot be used and is dropped: {reason}", md.name);
                Err(CliError::reported(JobResult::failure(Status::GENERAL, "certificate-unusable", detail)))
            }
            Activation::Failed(err) => Err(CliError::reported(CliError::from(err).to_result())),
        }
    }

    /// Returns whether a domain is to be renewed now, and prints the reason if not. A domain that is never renewed is a
    /// failure if it was named.
    fn is_due(&self, position: usize) -> Result<bool, CliError> {
        let Self { session, registry, .. } = self;
        let md = &registry.domains[position].md;
        let now = registry.clock.now();
        registry.ask_ca(position, &self.advisor, &session.client(Some(md)));
        match registry.due_at(position, now) {
            None => {
                let name = &md.name;
                let text = format!("{name}: not renewed, as it serves MDCertificateFile; use -f to renew it anyway");
                if self.named {
                    return refused(Status::INVALID, text);
                }
                session.inform(&text);
                Ok(false)
            }
            Some(due) if due > now => {
                session.inform(&format!("{}: not due before {}", md.name, time::format_gmt(due)));
                Ok(false)
            }
            Some(_) => Ok(true),
        }
    }

    /// Obtains certificates and stages them; `false` if the domain is no longer due, or not yet, which is told.
    fn obtain(&self, position: usize) -> Result<bool, CliError> {
        let Self { session, registry, .. } = self;
        let md = &registry.domains[position].md;
        match registry.begin(position, self.force, session.client(Some(md)))? {
            Begun::NotDue | Begun::RenewedElsewhere => {
                session.inform(&format!("{}: renewed by another process in the meantime, nothing is ordered", md.name));
                Ok(false)
            }
            Begun::TooSoon { again_at } => {
                let at = time::format_gmt(again_at);
                session
                    .inform(&format!("{}: renewed just now, and not again before {at}; use -f to renew now", md.name));
                Ok(false)
            }
            Begun::Complete { .. } | Begun::NotifiedElsewhere { .. } | Begun::Denied => Ok(true),
            Begun::ClaimedElsewhere => Err(claimed_elsewhere(md).into()),
            Begun::Started(mut renewal) => {
                let result = self.run(&mut renewal, md.name.as_str());
                if let Err(err) = &result {
                    self.heed(&renewal, err);
                }
                let failure = result.as_ref().map_err(AcmeError::to_result);
                let ended = failure.map_or_else(|failure| Err(CliError::reported(failure)), |()| Ok(true));
                registry.close(renewal, result.map_or_else(Ended::Failed, |()| Ended::Done));
                ended
            }
        }
    }

    /// Learns from a failure whether its CA has too much to do.
    fn heed(&self, renewal: &Renewal, err: &AcmeError) {
        let md = renewal.md();
        if held_back(err, renewal.has_account(), &md.domains) == HeldBack::All {
            locked(&self.refusing).insert(renewal.ca_url().to_owned(), md.name.clone());
        }
    }

    /// Prints which certificates a server serves for the domain, and from when on.
    fn report_active(&self, position: usize) {
        let Self { session, registry, .. } = self;
        let domain = &registry.domains[position];
        let md = &domain.md;
        let live = domain.went_live();
        let active: Vec<_> =
            md.key_specs().0.into_iter().zip(CertificateSet::stored(&registry.documents, md).certificates).collect();
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
        session
            .inform(&format!("{}: the new certificates are active; a running server {when}: {certificates}", md.name));
    }

    /// Runs a renewal to its end.
    fn run(&self, renewal: &mut Renewal, name: &str) -> Result<(), AcmeError> {
        let session = self.session;
        let mut progress = self.board.renewal(name);
        loop {
            let outcome = renewal.step()?;
            progress.step(renewal.activity().unwrap_or_default());
            match outcome {
                Outcome::Continue => {}
                Outcome::Wait(until) => {
                    session.sleep(until.duration_since(session.clock().now()).try_into().unwrap_or_default());
                }
                Outcome::Done => return Ok(()),
            }
        }
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused<T>(status: Status, text: String) -> Result<T, CliError> {
    Err(CliError::Refused { status, text })
}

/// Says how a run ended, e.g. `20 renewed, 1 failed: a.example.org, 3 not due`.
fn summary(renewed: usize, failed: &[&str], not_due: usize, not_tried: usize) -> String {
    let mut parts = Vec::new();
    let counts = [(renewed, "renewed"), (failed.len(), "failed"), (not_due, "not due"), (not_tried, "not tried")];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        let names = if what == "failed" { format!(": {}", failed.join(", ")) } else { String::new() };
        parts.push(format!("{count} {what}{names}"));
    }
    if parts.is_empty() { "no managed domains".to_owned() } else { parts.join(", ") }
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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::super::testing::{Done, Shell};
    use crate::crypto::Certificate;
    use crate::model::{ActivationMode, KeySpec};
    use crate::store::{Aspect, Group, Store};
    use crate::testing::ca::{FakeCa, Fault, Operation, answer, problem, with_header};
    use crate::testing::{TestServer, logged};

    fn shell(name: &str) -> Shell {
        let shell = Shell::new();
        shell.add_domain(name);
        shell
    }

    /// Returns the serial number of the certificate that the server uses after a restart.
    fn serial(shell: &Shell, name: &str) -> String {
        let chain = shell.server.text(Group::Domains, name, &Aspect::Chain(KeySpec::Default)).unwrap();
        Certificate::from_pem(chain.as_bytes()).unwrap().summary().serial_hex()
    }

    fn fails(shell: &Shell, line: &str, err: &str) {
        let said = shell.fail(line);
        assert!(said.contains(err), "{line}: {said}");
    }

    #[test]
    fn a_new_domain_is_renewed_and_its_certificate_reported() {
        let name = "new.drive.test";
        let shell = shell(name);
        let Done { code, out, err } = shell.run("drive");
        assert_eq!((code, out.as_str()), (0, ""), "{err}");
        let expected = format!(
            "{name}: the new certificates are active; a running server uses them after its next (graceful) restart: \
             rsa serial {}, valid until 2024-02-12 ",
            serial(&shell, name)
        );
        assert!(err.starts_with(&expected), "{err}");
        for step in ["Contacting ACME server", "Creating new order", "Setting up challenge 'http-01'"] {
            assert!(logged("", &format!("{name}: {step}")) > 0, "{step}");
        }
        let md = shell.md(name);
        assert_eq!((&md["ca"]["account"], &md["ca"]["url"]), (&"ACME-ca.test-0000".into(), &FakeCa::DIRECTORY.into()));
        for group in [Group::Staging, Group::Challenges] {
            assert_eq!(shell.server.store.list(group).unwrap(), Vec::<String>::new());
        }
        assert!(shell.succeed("status").contains("good "));
    }

    #[test]
    fn a_domain_that_is_not_due_is_left_alone_unless_forced() {
        let name = "early.drive.test";
        let shell = shell(name);
        shell.succeed("drive");
        let first = serial(&shell, name);
        for line in ["drive", "drive early.drive.test"] {
            let done = shell.run(line);
            assert_eq!(done.code, 0);
            assert!(done.err.starts_with(&format!("{name}: not due before Sun, 14 Jan 2024 ")), "{}", done.err);
        }
        assert_eq!(shell.json("drive"), json!([]));
        assert_eq!(serial(&shell, name), first);
        shell.succeed("drive -f");
        assert_ne!(serial(&shell, name), first);
        assert_eq!(shell.server.ca.ordered().len(), 2);
        assert!(shell.server.store.list(Group::Archive).unwrap().contains(&format!("{name}.1")));
        shell.server.clock.advance(SignedDuration::from_hours(24 * 61));
        shell.succeed("drive");
        assert_eq!(shell.server.ca.ordered().len(), 3, "its window has opened");
    }

    #[test]
    fn the_ca_is_asked_when_to_renew_unless_it_has_just_answered() {
        let name = "asks.drive.test";
        let shell = shell(name);
        shell.succeed("drive");
        let window = |from: &str, until: &str| {
            let body = format!(r#"{{"suggestedWindow":{{"start":"{from}","end":"{until}"}}}}"#);
            let info = with_header(answer(200, "application/json", &body), "Retry-After", "86400");
            shell.server.ca.behave(|ca| ca.renewal_info = Some(info));
        };
        window("2024-01-20T00:00:00Z", "2024-01-20T00:00:02Z");
        // Seconds that pass; the questions so far
        for (seconds, asked) in [(0, 1), (30, 1), (40, 2), (3600, 3)] {
            shell.server.clock.advance(SignedDuration::from_secs(seconds));
            let err = shell.run("drive").err;
            assert!(err.starts_with(&format!("{name}: not due before Sat, 20 Jan 2024 00:00:0")), "{err}");
            assert_eq!(shell.server.ca.asked_about().len(), asked, "{seconds}");
        }
        window("2023-11-01T00:00:00Z", "2023-11-02T00:00:00Z");
        shell.server.clock.advance(SignedDuration::from_secs(61));
        assert!(shell.run("drive").err.contains("the new certificates are active"));
        assert_eq!(shell.server.ca.ordered().len(), 2);
    }

    #[test]
    fn a_domain_whose_certificates_live_for_seconds_is_renewed_once_a_minute() {
        let name = "seconds.drive.test";
        let shell = shell(name);
        shell.server.ca.behave(|ca| ca.seconds = Some(10));
        shell.succeed("drive");
        shell.server.clock.advance(SignedDuration::from_secs(20));
        let err = shell.run("drive").err;
        let expected = format!("{name}: renewed just now, and not again before Tue, 14 Nov 2023 22:14:");
        assert!(err.starts_with(&expected) && err.ends_with(" GMT; use -f to renew now\n"), "{err}");
        assert_eq!(shell.server.ca.ordered().len(), 1);
        shell.succeed("drive -f");
        assert_eq!(shell.server.ca.ordered().len(), 2);
        shell.server.clock.advance(SignedDuration::from_secs(60));
        shell.succeed("drive");
        assert_eq!(shell.server.ca.ordered().len(), 3);
    }

    #[test]
    fn what_a_domain_lacks_is_named_before_the_ca_is_asked() {
        let name = "lacks.drive.test";
        let shell = Shell::without_account();
        shell.add_domain(name);
        let good = shell.md(name);
        let urls = [FakeCa::DIRECTORY];
        for (member, value, err) in [
            (
                "ca",
                json!({ "proto": "ACME", "urls": urls }),
                "the CA requires you to accept the terms-of-service as specified in ",
            ),
            ("ca", json!({ "proto": "FROB", "urls": urls }), "Error 22: lacks.drive.test: Unknown CA protocol: FROB\n"),
            (
                "ca",
                json!({ "proto": "ACME" }),
                "Error 2: lacks.drive.test: is missing MDCertificateAuthority; 'a2md update lacks.drive.test ca <url>' sets it\n",
            ),
        ] {
            shell.change(name, |md| {
                *md = good.clone();
                md[member] = value;
            });
            let said = shell.fail("drive -f");
            let report = shell.json("status")[0]["renewal"]["last"]["detail"].to_string();
            assert!(said.contains(err) || report.contains(err), "{err}: {said} {report}");
        }
        assert_eq!(shell.server.ca.ordered().len(), 0);
        shell.change(name, |md| *md = good);
        shell.server.put(Group::Domains, name, &Aspect::Chain(KeySpec::Default), &"x".repeat(2000));
        fails(&shell, "drive -f", "Error 20014: lacks.drive.test: in error state, ");
        fails(&shell, "drive unknown.drive.test", "Info 2: managed domain not found: unknown.drive.test\n");
    }

    #[test]
    fn a_failed_renewal_does_not_stop_the_others_and_a_later_one_goes_on() {
        let shell = shell("b.drive.test");
        shell.add_domain("c.drive.test");
        shell.server.ca.fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", "no disk")));
        let done = shell.run("-j drive --jobs 1");
        assert_eq!((done.code, done.document()["status"] != 0), (1, true));
        assert!(done.err.ends_with("\n1 renewed, 1 failed: b.drive.test\n"), "{}", done.err);
        assert_eq!(shell.server.ca.ordered().len(), 1);
        assert!(shell.succeed("status").contains("failed once, last 2023-11-14 22:1"));
        let done = shell.run("drive");
        assert!(done.code == 0 && done.err.ends_with("\n1 renewed, 1 not due\n"), "{done:?}");
        assert_eq!(shell.server.ca.ordered().len(), 2);
        assert!(shell.run("drive c.drive.test c.drive.test").err.starts_with("c.drive.test: not due before "));
    }

    #[test]
    fn domains_that_begin_together_register_one_account() {
        let shell = Shell::without_account();
        let names = ["a", "b", "c", "d", "e"].map(|name| format!("{name}.together.drive.test"));
        names.iter().for_each(|name| shell.add_domain(name));
        let done = shell.run("drive --jobs 5");
        assert!(done.code == 0 && done.err.ends_with("\n5 renewed\n"), "{done:?}");
        assert_eq!((shell.server.ca.accounts(), shell.server.ca.ordered().len()), (1, 5));
        assert_eq!(shell.server.store.list(Group::Accounts).unwrap(), ["ACME-ca.test-0000"]);
        for name in names {
            assert_eq!(shell.md(&name)["ca"]["account"], "ACME-ca.test-0000", "{name}");
        }
    }

    #[test]
    fn a_ca_that_has_too_much_to_do_is_left_alone() {
        let shell = shell("a.busy.drive.test");
        shell.add_domain("b.busy.drive.test");
        let busy = Fault::Answer(answer(503, "text/plain", "busy"));
        shell.server.ca.fail_times(Operation::NewOrder, 9, busy);
        let done = shell.run("drive --jobs 1");
        assert!(done.code == 1 && done.err.ends_with("\n1 failed: a.busy.drive.test, 1 not tried\n"), "{done:?}");
        let said = "b.busy.drive.test: not tried, as https://ca.test/directory has too much to do since it was asked for a.busy.drive.test";
        assert!(done.err.contains(said), "{}", done.err);
        shell.server.ca.recover();
        shell.succeed("drive -f");
    }

    #[test]
    fn so_many_domains_are_renewed_side_by_side_as_is_said() {
        let shell = Shell::new();
        assert_eq!(shell.run("drive").err, "no managed domains\n");
        for number in ["0", "33", "-1", "many"] {
            let err = shell.fail(&format!("drive --jobs={number}"));
            assert_eq!(err, format!("Error 22: --jobs {number}: a number from 1 to 32 is expected\n"));
        }
        assert_eq!(shell.run("drive --jobs 32").code, 0);
    }

    #[test]
    fn a_ca_that_asks_for_patience_gets_it_unless_forced() {
        let name = "patience.drive.test";
        let shell = shell(name);
        let limited = with_header(problem(429, "rateLimited", "slowly"), "Retry-After", "7200");
        shell.server.ca.fail(Operation::NewOrder, Fault::Answer(limited));
        assert_eq!(shell.run("drive").code, 1);
        let asked = shell.server.ca.count(Operation::NewOrder);
        let said = shell.fail("drive");
        let expected = format!("Error 11: {name}: the CA asked not to retry before Wed, 15 Nov 2023 00:1");
        assert!(said.starts_with(&expected) && said.ends_with(" GMT; use -f to retry now\n"), "{said}");
        assert_eq!(shell.server.ca.count(Operation::NewOrder), asked);
        shell.succeed("drive -f");
    }

    #[test]
    fn only_the_challenge_that_is_named_is_used() {
        let name = "kind.drive.test";
        let shell = shell(name);
        assert_eq!(shell.run("drive -c foo-01").code, 1);
        assert!(logged("AH10056", name) > 0);
        assert_eq!(shell.server.ca.ordered().len(), 0);
        shell.succeed("drive -c http-01");
        assert_eq!(shell.md(name)["ca"].get("challenges"), None, "not saved");
    }

    #[test]
    fn a_challenge_that_is_named_is_used_though_it_failed_and_another_comes_next_without_a_name() {
        let name = "turns.drive.test";
        let shell = shell(name);
        shell.change(name, |md| {
            md["ca"]["challenges"] = json!(["tls-alpn-01", "http-01"]);
            md["proto"]["acme-tls/1"] = json!([name]);
        });
        shell.server.ca.behave(|ca| {
            ca.more = vec!["tls-alpn-01"];
            ca.fails = |_, kind| (kind == "tls-alpn-01").then_some(("tls", "no protocol was selected"));
        });
        let set_up = |kind: &str| logged("", &format!("{name}: Setting up challenge '{kind}'"));
        shell.fail("drive");
        assert_eq!(logged("AH10056", &format!("{name}: CA considers answer to challenge invalid: no protocol")), 1);
        shell.fail("drive -c tls-alpn-01");
        assert_eq!((set_up("tls-alpn-01"), set_up("http-01")), (2, 0));
        shell.succeed("drive");
        shell.succeed("drive -f");
        assert_eq!((set_up("tls-alpn-01"), set_up("http-01")), (2, 2));
        shell.fail("drive -f -c tls-alpn-01");
        assert_eq!(set_up("tls-alpn-01"), 3);
    }

    #[test]
    fn a_domain_that_the_server_works_on_is_left_to_it() {
        let name = "claimed.drive.test";
        let shell = shell(name);
        let claim = shell.server.store.claim(name).unwrap();
        for line in ["drive", "drive -f", "drive -r"] {
            fails(
                &shell,
                line,
                "Error 11: claimed.drive.test: another process, such as the server, is working on this domain",
            );
        }
        drop(claim);
        shell.succeed("drive");
    }

    #[test]
    fn reset_discards_an_order_that_is_left() {
        let name = "reset.drive.test";
        let shell = shell(name);
        shell.server.put(Group::Staging, name, &Aspect::OrderJson, r#"{"url":"https://ca.test/order/77"}"#);
        shell.server.put(Group::Challenges, name, &Aspect::Http01, "old");
        shell.succeed("drive -r");
        assert_eq!(shell.server.ca.ordered().len(), 1);
        assert!(!shell.server.store.exists(Group::Challenges, name, &Aspect::Http01));
    }

    #[test]
    fn certificates_that_the_server_has_staged_are_activated() {
        let server = TestServer::new(&["staged.drive.test"]);
        drop(server.run(false));
        let shell = Shell::of(server);
        let err = shell.run("drive").err;
        assert!(err.starts_with("staged.drive.test: the new certificates are active; "), "{err}");
        assert_eq!(shell.server.ca.ordered().len(), 1);
    }

    #[test]
    fn a_named_domain_with_files_of_its_own_is_a_failure() {
        let shell = shell("files.drive.test");
        shell.change("files.drive.test", |md| {
            md["cert-files"] = json!(["/nowhere/cert.pem"]);
            md["pkey-files"] = json!(["/nowhere/key.pem"]);
        });
        let text = "files.drive.test: not renewed, as it serves MDCertificateFile; use -f to renew it anyway\n";
        let done = shell.run("drive");
        assert_eq!((done.code, done.err.as_str()), (0, text), "all domains were asked for");
        assert_eq!(shell.fail("drive files.drive.test"), format!("Error 22: {text}"));
    }

    #[test]
    fn a_live_domain_uses_new_certificates_without_a_restart() {
        let mut server = TestServer::new(&["live.drive.test"]);
        server.declared[0].settings.activation = Some(ActivationMode::Live);
        drop(server.start(false));
        let shell = Shell::of(server);
        let err = shell.run("drive").err;
        assert!(err.contains("a running server uses them within seconds (MDActivation live): P-256 serial "), "{err}");
    }
}
