//! Makes a staged set the one that is served: `staging/` -> `tmp/` -> `domains/`, the former set goes to `archive/`.

use std::sync::Arc;

use jiff::Timestamp;

use super::active::Active;
use super::choice::{Candidate, Choice, Found, Staged, choose};
use super::newest::{self, LiveFile};
use super::order;
use super::pairs::Pair;
use super::served::CertificateSet;
use super::staged::{self, Unreadable};
use crate::accounts::Accounts;
use crate::acme::{AccountScope, PortError};
use crate::documents::{Documents, port_error};
use crate::events::{About, Event, EventFailure, Events};
use crate::log::{note, report};
use crate::model::{DomainName, Job, ManagedDomain, State, time};
use crate::schedule;
use crate::store::{Aspect, Group};

/// The outcome of an attempt to activate a staged set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activation {
    /// The directory in `staging/` has no renewal.
    Nothing,
    /// The set is served from now on.
    Activated,
    /// The set stays as it is, for this reason.
    Waits(String),
    /// The set cannot be used and is dropped, for this reason.
    Dropped(String),
    /// The store failed; the set stays as it is.
    Failed(PortError),
}

/// Activates what is staged for `md` if it is complete and verifies. A set that is not complete stays for the renewal
/// to go on with, and so does one that is not valid yet while another is served. One that is wrong is dropped (AH10069),
/// and the renewal starts over. What is served is never touched by a failure.
pub fn activate(documents: &Arc<Documents>, md: &ManagedDomain, accounts: &Accounts, now: Timestamp) -> Activation {
    let name = md.name.as_str();
    let begun = staged_for(documents, name);
    let (staged, live) = match begun {
        Ok(None) => return Activation::Nothing,
        Ok(Some(staged)) => (staged.clone(), prepare(documents, md, staged, accounts, now)),
        Err(failed) => (md.clone(), Err(failed)),
    };
    let live = live
        .and_then(|new| documents.store().replace(name).map(|()| new).map_err(|err| Failed::Store(port_error(err))));
    match live {
        Ok(NewSet { keeps_some, succeeds_live, active, .. }) => {
            report!(AH10068, "{name}: staged set activated");
            active.tell(documents, name);
            let removed = if succeeds_live { forget_live(documents, name) } else { Ok(()) };
            let removed = removed.and_then(|()| if keeps_some { Ok(()) } else { forget_advice(documents, name) });
            if let Err(err) = removed.and_then(|()| remove_staged(documents, name, &staged)) {
                report!(MD0028, err.status; "{name}: what was staged is active but cannot be removed: {err}");
            }
            Activation::Activated
        }
        Err(Failed::NotYet(reason)) => {
            note!(Debug, "{name}: staged set is not complete: {reason}");
            Activation::Waits(reason)
        }
        Err(Failed::TooEarly(from)) => {
            let from = time::format_gmt(from);
            note!(
                Info,
                "{name}: what is staged can be used from {from} on; what is served stays until a start after that"
            );
            Activation::Waits(too_early(&from))
        }
        Err(Failed::Unusable(reason)) => {
            report!(AH10069, "{name}: the staged set cannot be used and is dropped, its renewal starts over: {reason}");
            drop_staged(documents, name, &staged);
            Activation::Dropped(reason)
        }
        Err(Failed::Store(err)) => {
            report!(AH10069, err.status; "{name}: the staged set stays until the next start: {err}");
            Activation::Failed(err)
        }
    }
}

/// The entry in the log of a report for a set of which commands are to be notified at the next start.
const UNTOLD: &str = "activated";
/// The entry of the event `installed`.
const TOLD: &str = "message-installed";

/// Leaves to the next start of the server to notify commands of a set that another program has activated.
pub fn leave_untold(documents: &Documents, name: &str, now: Timestamp) {
    let job: Option<Job> = documents.load_json(Group::Domains, name, &Aspect::JobJson);
    let mut job = job.unwrap_or_else(|| Job::new(name));
    job.record(now, UNTOLD, None, Some("by a2md; commands are told at the next start of the server"));
    if let Err(err) = documents.save_json(Group::Domains, name, &Aspect::JobJson, &job) {
        note!(Warning, err.status; "{name}: commands will not be told of the new certificates: {err}");
    }
}

/// Returns whether commands are yet to be notified of what another program has activated.
pub fn is_untold(documents: &Documents, name: &str) -> bool {
    let job: Option<Job> = documents.load_json(Group::Domains, name, &Aspect::JobJson);
    let entries = job.and_then(|job| job.log).map(|log| log.entries).unwrap_or_default();
    entries.iter().find(|entry| [UNTOLD, TOLD].contains(&entry.kind.as_str())).is_some_and(|entry| entry.kind == UNTOLD)
}

/// Notifies commands of a set that is served from now on, and notes that in the report that came with it.
pub fn tell_installed(
    documents: &Documents,
    md: &ManagedDomain,
    events: &Events,
    now: Timestamp,
) -> Result<(), EventFailure> {
    let name = md.name.as_str();
    let job: Option<Job> = documents.load_json(Group::Domains, name, &Aspect::JobJson);
    let mut job = job.unwrap_or_else(|| Job::new(name));
    let certificates = staged::summaries_in(documents, Group::Domains, md);
    let told = events.raise(Event::Installed, &About { md, certificates: &certificates }, &mut job, now);
    if let Err(err) = documents.save_json(Group::Domains, name, &Aspect::JobJson, &job) {
        note!(Warning, err.status; "{name}: the report on its renewal cannot be written: {err}");
    }
    told
}

/// Returns what [`activate`] would do with what is staged for `md`, if the store does not fail.
pub fn verdict(documents: &Documents, md: &ManagedDomain, now: Timestamp) -> Activation {
    let begun = staged_for(documents, md.name.as_str());
    let verified = begun.and_then(|begun| begun.map(|staged| verified_pairs(documents, md, &staged, now)).transpose());
    match verified {
        Ok(None) => Activation::Nothing,
        Ok(Some(_)) => Activation::Activated,
        Err(Failed::NotYet(reason)) => Activation::Waits(reason),
        Err(Failed::TooEarly(from)) => Activation::Waits(too_early(&time::format_gmt(from))),
        Err(Failed::Unusable(reason)) => Activation::Dropped(reason),
        Err(Failed::Store(err)) => Activation::Failed(err),
    }
}

/// The domain as it was when what is staged was begun; `None` if nothing was.
fn staged_for(documents: &Documents, name: &str) -> Result<Option<ManagedDomain>, Failed> {
    let staged = staged::begun_as(documents, name).map_err(|err| match err {
        Unreadable::Store(err) => Failed::Store(port_error(err)),
        Unreadable::Damaged(_) => Failed::Unusable(err.to_string()),
    })?;
    // It may have been staged under another name.
    let name = DomainName::parse(name).ok();
    Ok(staged.zip(name).map(|(staged, name)| ManagedDomain { name, ..staged }))
}

fn too_early(from: &str) -> String {
    format!("it can be used from {from} on")
}

enum Failed {
    NotYet(String),
    TooEarly(Timestamp),
    Unusable(String),
    Store(PortError),
}

impl From<PortError> for Failed {
    fn from(err: PortError) -> Self {
        Self::Store(err)
    }
}

/// Assembles the set in `tmp/`.
fn prepare(
    documents: &Arc<Documents>,
    md: &ManagedDomain,
    mut staged: ManagedDomain,
    accounts: &Accounts,
    now: Timestamp,
) -> Result<NewSet, Failed> {
    let name = md.name.as_str();
    let mut new = verified_pairs(documents, md, &staged, now)?;
    order::tear_down(documents, name)?;
    new.active = write(documents, &mut staged, std::mem::take(&mut new.pairs), accounts)?;
    if let Some(mut job) = documents.load_json::<Job>(Group::Staging, name, &Aspect::JobJson) {
        name.clone_into(&mut job.name);
        job.telling = None;
        documents.save_json(Group::Tmp, name, &Aspect::JobJson, &job)?;
    }
    Ok(new)
}

/// Writes the domain and its set to `tmp/`. Returns what others may know of it once it is in its place.
pub(crate) fn write(
    documents: &Documents,
    md: &mut ManagedDomain,
    pairs: Vec<Pair>,
    accounts: &Accounts,
) -> Result<Active, PortError> {
    let name = md.name.to_string();
    let store = documents.store();
    let ca_url = md.ca.url.clone().unwrap_or_default();
    let scope = AccountScope { ca_url, eab: md.eab.as_deref().cloned() };
    Arc::make_mut(&mut md.ca).account = accounts.id_for(&scope).map(str::to_owned);
    store.purge(Group::Tmp, &name).map_err(port_error)?;
    documents.save_json(Group::Tmp, &name, &Aspect::MdJson, md)?;
    let active = Active::new(md, pairs.iter().map(|pair| (&pair.spec, &pair.chain)));
    for Pair { spec, key, chain } in pairs {
        documents.save_key(Group::Tmp, &name, &Aspect::PrivateKey(spec.clone()), &key)?;
        store.save(Group::Tmp, &name, &Aspect::Chain(spec), &chain.to_pem()).map_err(port_error)?;
    }
    Ok(active)
}

/// The set that takes the place of what is served, if there is anything new in it.
struct NewSet {
    pairs: Vec<Pair>,
    /// Whether some of it is served already.
    keeps_some: bool,
    /// Whether no set that is live is newer.
    succeeds_live: bool,
    /// The certificates, for those who cannot read `domains/`.
    active: Active,
}

/// Puts together what is staged and, for types of key that needed nothing, what is served. Where something newer is live, that
/// goes first.
fn verified_pairs(
    documents: &Documents,
    md: &ManagedDomain,
    staged: &ManagedDomain,
    now: Timestamp,
) -> Result<NewSet, Failed> {
    let live = LiveFile::load(documents, staged);
    let is_known = live.is_ok();
    let live = live.ok().flatten();
    let is_finished = is_at_its_end(documents, staged);
    let mut pairs = Vec::new();
    let mut from = None;
    let mut left_out = None;
    for spec in staged.key_specs().0 {
        let is_good = |candidate: &Candidate<Pair>| {
            let Pair { spec, key, chain } = &candidate.pair;
            staged::verify(staged, spec, key, chain, now).is_ok()
        };
        let outcome = staged::outcome(documents, staged, &spec, is_finished, now);
        let mut stored = None;
        if let Staged::LeftOut(reason) = &outcome {
            left_out = Some(reason.clone());
            stored = newest::stored_candidate(documents, staged, &spec).filter(is_good);
        }
        let is_brought = matches!(outcome, Staged::Brought(_));
        let live = live.as_ref().and_then(|live| live.candidate(&spec)).filter(is_good);
        let pair = match choose(Found { staged: outcome, live, stored, at_start: None }, now) {
            Choice::Staged(pair) | Choice::Live(pair) | Choice::Stored(pair) => pair,
            Choice::Damaged(reason) => return Err(Failed::Unusable(reason)),
            Choice::Awaited(reason) | Choice::Missing(reason) => return Err(Failed::NotYet(reason)),
            Choice::AtStart => continue,
        };
        if is_brought {
            from = from.max(Some(pair.chain.leaf().not_before()));
        }
        pairs.push(pair);
    }
    let is_live = |pair: &Pair| live.as_ref().is_some_and(|live| live.has(&pair.spec, &pair.chain));
    let keeps_some = left_out.is_some() || pairs.iter().any(is_live);
    let succeeds_live = is_known || left_out.is_none();
    let Some(from) = from else { return Err(Failed::NotYet(left_out.unwrap_or_default())) };
    let stored =
        std::iter::once_with(|| CertificateSet::stored(documents, md)).filter(|set| set.state == Some(State::Complete));
    let stored = stored.filter_map(|set| set.common_validity());
    if schedule::is_early(from, stored.chain(live.as_ref().and_then(LiveFile::validity)), now) {
        return Err(Failed::TooEarly(from));
    }
    Ok(NewSet { pairs, keeps_some, succeeds_live, active: Active::default() })
}

/// Whether the renewal did not bring, and will not, what it lacks. The report tells of the end: before it, more is to come.
fn is_at_its_end(documents: &Documents, staged: &ManagedDomain) -> bool {
    documents.load_json(Group::Staging, staged.name.as_str(), &Aspect::JobJson).is_some_and(|job: Job| job.finished)
}

/// Takes away what a renewal has set up and drops what it staged.
fn drop_staged(documents: &Arc<Documents>, name: &str, staged: &ManagedDomain) {
    if let Err(err) = order::tear_down(documents, name).and_then(|()| remove_staged(documents, name, staged)) {
        note!(Error, err.status; "{name}: the staged set cannot be removed: {err}");
    }
}

/// Removes what was live: it is older than what is served now, or the same.
pub(crate) fn forget_live(documents: &Documents, name: &str) -> Result<(), PortError> {
    let store = documents.store();
    let aspect = Aspect::LiveJson;
    if store.exists(Group::Live, name, &aspect) { store.purge(Group::Live, name).map_err(port_error) } else { Ok(()) }
}

/// Removes what the CA suggests: that is about certificates that are served no longer.
fn forget_advice(documents: &Documents, name: &str) -> Result<(), PortError> {
    documents.store().remove(Group::Staging, name, &Aspect::AriJson).map_err(port_error)
}

/// An account that waits here, or the key for one, stays: nobody else may have it. So does what the CA suggests, and what
/// is left of an order after [`order::tear_down`].
fn remove_staged(documents: &Documents, name: &str, staged: &ManagedDomain) -> Result<(), PortError> {
    let store = documents.store();
    let stays = [Aspect::AccountJson, Aspect::AccountKey, Aspect::AriJson, Aspect::OrderJson];
    if stays.iter().any(|aspect| store.exists(Group::Staging, name, aspect)) {
        // First what makes the rest a renewal that was begun.
        let mut files = vec![Aspect::MdJson, Aspect::JobJson];
        files.extend(
            staged.key_specs().0.into_iter().flat_map(|spec| [Aspect::PrivateKey(spec.clone()), Aspect::Chain(spec)]),
        );
        files.iter().try_for_each(|aspect| store.remove(Group::Staging, name, aspect)).map_err(port_error)?;
    } else {
        store.purge(Group::Staging, name).map_err(port_error)?;
    }
    store.purge(Group::Challenges, name).map_err(port_error)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::clock::Clock as _;
    use crate::crypto::Certificate;
    use crate::model::{KeySpec, KeySpecs};
    use crate::store::Store;
    use crate::testing::ca::{Fault, Operation, problem};
    use crate::testing::{TestServer, logged, p256, watch_log};

    fn p384() -> KeySpec {
        KeySpec::Ec { curve: "P-384".to_owned() }
    }

    fn with_keys(server: &mut TestServer, keys: Vec<KeySpec>) {
        server.declared[0].settings.keys = Some(Arc::new(KeySpecs(keys)));
    }

    fn live(server: &TestServer, name: &str, spec: KeySpec) -> Certificate {
        Certificate::from_pem(server.text(Group::Domains, name, &Aspect::Chain(spec)).unwrap().as_bytes()).unwrap()
    }

    /// Checks that what is served fits together and is complete.
    fn is_sound(server: &TestServer, name: &str, certificates: usize) {
        let registry = server.start(true);
        let live = &registry.domains[0].at_start;
        assert_eq!((live.state, live.certificates.len()), (Some(State::Complete), certificates), "{live:?}");
        assert!(!server.store.exists(Group::Staging, name, &Aspect::MdJson));
    }

    #[test]
    fn a_second_key_type_is_obtained_alone_and_joins_the_first() {
        let name = "second.keys.test";
        let mut server = TestServer::new(&[name]);
        drop(server.run(false));
        drop(server.start(true));
        let first = live(&server, name, p256());
        let key = server.text(Group::Domains, name, &Aspect::PrivateKey(p256()));
        with_keys(&mut server, vec![p384(), p256()]);
        let renewals = server.run(true);
        assert_eq!(server.ca.ordered().len(), 2);
        assert!(!server.store.exists(Group::Staging, name, &Aspect::Chain(p256())));
        // It is done, also for those who look at the report, and nothing more is done about it.
        let (md, _) = crate::renewals::stored_domain(&server.documents, name).unwrap();
        assert!(staged::report(&server.documents, &md).unwrap().finished);
        server.clock.advance(SignedDuration::from_hours(20));
        server.go_on(&renewals);
        assert_eq!(server.ca.ordered().len(), 2);
        drop(renewals);

        is_sound(&server, name, 2);
        assert_eq!(live(&server, name, p256()), first);
        assert_eq!(server.text(Group::Domains, name, &Aspect::PrivateKey(p256())), key);
        assert_eq!(server.store.list(Group::Archive).unwrap().len(), 2, "one activation for each");
    }

    #[test]
    fn a_key_type_that_is_removed_is_no_reason_to_renew() {
        let name = "removed.keys.test";
        let mut server = TestServer::new(&[name]);
        with_keys(&mut server, vec![p256(), p384()]);
        drop(server.run(false));
        is_sound(&server, name, 2);
        with_keys(&mut server, vec![p384()]);
        drop(server.run(true));
        is_sound(&server, name, 1);
        assert_eq!(server.ca.ordered().len(), 2);
    }

    #[test]
    fn types_whose_certificates_end_at_about_the_same_time_are_renewed_together() {
        let name = "together.keys.test";
        let mut server = TestServer::new(&[name]);
        drop(server.run(false));
        drop(server.start(true));
        server.clock.advance(SignedDuration::from_hours(24 * 5));
        with_keys(&mut server, vec![p256(), p384()]);
        drop(server.run(true));
        is_sound(&server, name, 2);
        let [first, second] = [p256(), p384()].map(|spec| live(&server, name, spec));
        server.clock.advance(SignedDuration::from_hours(24 * 56));
        assert!(second.not_after() > first.not_after());
        let renewals = server.run(true);
        assert_eq!(server.ca.ordered().len(), 4);
        drop(renewals);
        is_sound(&server, name, 2);
        assert!(
            [first, second].iter().all(|old| ![p256(), p384()].map(|spec| live(&server, name, spec)).contains(old))
        );
    }

    #[test]
    fn types_whose_certificates_end_at_different_times_are_renewed_apart() {
        let name = "apart.keys.test";
        let mut server = TestServer::new(&[name]);
        drop(server.run(false));
        drop(server.start(true));
        server.clock.advance(SignedDuration::from_hours(24 * 30));
        with_keys(&mut server, vec![p256(), p384()]);
        drop(server.run(true));
        is_sound(&server, name, 2);
        let second = live(&server, name, p384());
        server.clock.advance(SignedDuration::from_hours(24 * 31));
        let renewals = server.run(true);
        assert_eq!(server.ca.ordered().len(), 3);
        drop(renewals);
        is_sound(&server, name, 2);
        assert_eq!(live(&server, name, p384()), second);
        assert!(live(&server, name, p256()).not_after() > second.not_after());
    }

    #[test]
    fn a_renewal_of_several_types_that_is_under_way_is_not_activated_in_part() {
        let name = "part.keys.test";
        let mut server = TestServer::new(&[name]);
        with_keys(&mut server, vec![p256(), p384()]);
        drop(server.run(false));
        is_sound(&server, name, 2);
        let before = [p256(), p384()].map(|spec| live(&server, name, spec));
        server.clock.advance(SignedDuration::from_hours(24 * 61));
        // The second order is refused: the first certificate waits for it, over restarts, and so do count and report.
        server.ca.fail(Operation::Order, Fault::Slow(SignedDuration::ZERO));
        server.ca.fail(Operation::Finalize, Fault::Slow(SignedDuration::ZERO));
        server.ca.fail(Operation::Finalize, Fault::Answer(problem(500, "serverInternal", "not now")));
        drop(server.run(true));
        assert_eq!(server.staged_job(name).errors, 1);
        drop(server.start(true));
        assert_eq!([p256(), p384()].map(|spec| live(&server, name, spec)), before);
        assert_eq!(server.staged_job(name).errors, 1);
        server.clock.advance(SignedDuration::from_mins(5));
        drop(server.run(true));
        is_sound(&server, name, 2);
        assert!([p256(), p384()].map(|spec| live(&server, name, spec)).iter().all(|new| !before.contains(new)));
    }

    #[test]
    fn what_is_served_is_kept_with_its_own_key_only_while_it_does() {
        for (number, damage) in [Aspect::PrivateKey(p256()), Aspect::Chain(p256())].into_iter().enumerate() {
            let name = format!("kept{number}.keys.test");
            let mut server = TestServer::new(&[&name]);
            drop(server.run(false));
            drop(server.start(true));
            with_keys(&mut server, vec![p256(), p384()]);
            drop(server.run(true));
            // After the renewal of the second type the first is lost: there is no set without it.
            server.put(Group::Domains, &name, &damage, "");
            drop(server.start(true));
            assert!(server.store.exists(Group::Staging, &name, &Aspect::Chain(p384())));
            drop(server.run(true));
            is_sound(&server, &name, 2);
            assert_eq!(server.ca.ordered().len(), 3, "only the lost one is obtained");
        }
    }

    #[test]
    fn a_certificate_that_lacks_must_staple_is_an_error_and_what_is_served_stays() {
        watch_log();
        let name = "staple.keys.test";
        let mut server = TestServer::new(&[name]);
        drop(server.run(false));
        drop(server.start(true));
        let before = live(&server, name, p256());
        server.declared[0].settings.must_staple = Some(true);
        server.ca.behave(|ca| ca.forgets = &[&[0x2b, 6, 1, 5, 5, 7, 1, 0x18]]);
        drop(server.run(true));
        let job = server.staged_job(name);
        assert_eq!((job.finished, job.errors), (false, 1));
        let detail = job.last.unwrap().detail.unwrap();
        assert!(detail.contains("certificate(P-256) lacks the 'must-staple' that MDMustStaple asks for"), "{detail}");
        drop(server.start(true));
        assert_eq!(live(&server, name, p256()), before);
        server.ca.behave(|ca| ca.forgets = &[]);
        server.clock.advance(SignedDuration::from_hours(25));
        drop(server.run(true));
        is_sound(&server, name, 1);
        assert!(live(&server, name, p256()).must_staple());
        // And back: one that has it is renewed without.
        server.declared[0].settings.must_staple = Some(false);
        drop(server.run(true));
        is_sound(&server, name, 1);
        assert!(!live(&server, name, p256()).must_staple());
        assert_eq!(logged("AH10056", name), 1);
    }

    #[test]
    fn suggestions_for_what_stays_in_service_survive_an_activation() {
        let name = "advice.keys.test";
        let mut server = TestServer::new(&[name]);
        server.ca.behave(|ca| ca.renewal_info = Some(Default::default()));
        drop(server.run(false));
        drop(server.start(true));
        let id = live(&server, name, p256()).summary().ari_cert_id().unwrap();
        let at = server.clock.now() + SignedDuration::from_hours(1000);
        let text = format!(r#"{{"certificates":{{"{id}":{{"start":"{at}","end":"{at}","renew-at":"{at}"}}}}}}"#);
        server.put(Group::Staging, name, &Aspect::AriJson, &text);
        with_keys(&mut server, vec![p256(), p384()]);
        drop(server.run(true));
        drop(server.start(true));
        assert_eq!(server.text(Group::Staging, name, &Aspect::AriJson).as_deref(), Some(&*text));
        // A set that is dropped takes nothing with it that is about others.
        server.clock.advance(SignedDuration::from_hours(24 * 61));
        drop(server.run(true));
        server.put(Group::Staging, name, &Aspect::PrivateKey(p256()), "no key");
        drop(server.start(true));
        assert!(server.store.exists(Group::Staging, name, &Aspect::AriJson));
        assert!(!server.store.exists(Group::Staging, name, &Aspect::MdJson));
    }

    #[test]
    fn a_delay_holds_back_the_news_and_not_the_activation() {
        watch_log();
        let name = "delay.keys.test";
        let mut server = TestServer::new(&[name]);
        server.globals.activation_delay = SignedDuration::from_hours(10);
        drop(server.run(false));
        assert_eq!(logged("AH10059", name), 1, "a first certificate is told at once");
        drop(server.start(true));
        server.clock.advance(SignedDuration::from_hours(24 * 61));
        let renewals = server.run(true);
        let job = server.staged_job(name);
        assert_eq!((job.finished, job.notified_renewed, job.valid_from), (true, false, job.next_run));
        assert!(job.last.unwrap().detail.unwrap().contains("can be used from "));
        let wait = job.next_run.unwrap().duration_since(server.clock.now());
        assert!((9..=10).contains(&wait.as_hours()), "{wait:?}");
        // Not before, and then once.
        for (hours, told) in [(5, 1), (4, 1), (2, 2), (20, 2)] {
            server.clock.advance(SignedDuration::from_hours(hours));
            server.go_on(&renewals);
            assert_eq!(logged("AH10059", name), told, "{hours}");
        }
        assert_eq!(server.staged_job(name).next_run, None);
        drop(renewals);
        is_sound(&server, name, 1);
    }
}
