//! A domain of the registry: its settings, its certificates as they were at the start, and when they are renewed.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::acme::ChallengeType;
use crate::crypto::{Certificate, Summary};
use crate::events::Event;
use crate::live::LiveSlot;
use crate::model::{CaSettings, Job, KeySpec, LastRenewal, ManagedDomain, RenewMode, State};
use crate::registry::next_ca;
use crate::schedule::{self, Plan};
use crate::sets::{Advice, CertificateSet, TlsSet};
use crate::stapling::Stapling;

/// A domain of the registry. Read-only from the end of the start on.
#[derive(Debug)]
pub struct Domain {
    /// The domain with all its settings.
    pub md: Arc<ManagedDomain>,
    /// The certificates as they were at the start.
    pub at_start: CertificateSet,
    /// The certificates in the store, where the administrator's are served and ours are ready all the same.
    pub standby: Option<Box<CertificateSet>>,
    /// Whether it is looked after.
    pub watched: bool,
    /// The CA as it was when the certificates were issued.
    pub issued_by: Arc<CaSettings>,
    /// When what is in the store was put there: the last activation.
    pub activated: Option<Timestamp>,
    /// When what is in the store was obtained, if that was so short a time ago that it is not renewed yet.
    pub ordered: Option<Timestamp>,
    /// When others were told of an activation before this server started.
    pub told: Option<Timestamp>,
    /// Challenge types that it can use, or why there is none.
    pub challenges: Arc<Result<Vec<ChallengeType>, String>>,
    /// What the renewal that brought its certificates has left to the next one.
    pub last_renewal: LastRenewal,
    /// Knows which certificates are revoked.
    pub stapling: Arc<Stapling>,
    /// The slot of sets that go live; `None` where none do.
    pub slot: Option<Arc<LiveSlot>>,
}

impl Domain {
    /// Whether a challenge type may be used that needs a TXT record made once by the administrator.
    #[must_use]
    pub fn needs_standing_record(&self) -> bool {
        self.challenges.iter().flatten().any(|kind| kind.needs_standing_record())
    }

    /// Whether this module obtains its certificates.
    #[must_use]
    pub fn renewable(&self) -> bool {
        self.watched && self.md.renew_mode != RenewMode::Manual
    }

    /// When its certificates are to be renewed, according to their lives and to what the CA suggests; now if their CA is
    /// no longer configured.
    #[must_use]
    pub fn renew_at(&self, advice: &Advice, now: Timestamp) -> Timestamp {
        if self.is_ca_gone() {
            return now;
        }
        schedule::renew_at(&self.plans(advice), now)
    }

    /// How long to wait after a failure, by the life of the certificates that are renewed. `base` is the least.
    pub(crate) fn delay_for_short_life(
        &self,
        delay: SignedDuration,
        permanent: bool,
        base: SignedDuration,
        now: Timestamp,
    ) -> SignedDuration {
        let own = self.own();
        let validity = own.common_validity().filter(|_| own.state == Some(State::Complete));
        schedule::delay_for_short_life(delay, validity, permanent, base, now)
    }

    /// Returns how long a CA's Retry-After is waited for at most, by the first end of the certificates that are renewed.
    pub(crate) fn patience(&self, now: Timestamp) -> SignedDuration {
        schedule::patience(self.own_certificates().map(|own| own.validity().1).min(), now)
    }

    /// Returns how long the domain waits at most for a CA that refuses other domains, too. Those whose certificates have ended wait
    /// as long as those without any: they would ask it each minute.
    pub(crate) fn patience_with_others(&self, since: Timestamp) -> SignedDuration {
        let ends = self.own_certificates().map(|own| own.validity().1);
        schedule::patience(ends.filter(|end| *end > since).min(), since)
    }

    /// Whether one of the certificates that are renewed was found to be revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        let mut own = self.own_certificates();
        own.any(|certificate| self.stapling.is_revoked(self.md.name.as_str(), &certificate))
    }

    /// When each certificate is to be renewed; `None` for one that is missing, does not do, or is revoked.
    fn plans(&self, advice: &Advice) -> Vec<Option<Plan>> {
        let is_revoked = |certificate: &Option<Summary>| {
            certificate.as_ref().is_some_and(|own| self.stapling.is_revoked(self.md.name.as_str(), own))
        };
        let own = self.own();
        let plans = own.plans(self.md.configured_renew_window(), advice).into_iter().zip(&own.certificates);
        plans.map(|(plan, certificate)| plan.filter(|_| !is_revoked(certificate))).collect()
    }

    /// Whether a certificate is missing, does not do, or is revoked.
    pub(crate) fn lacks_some(&self) -> bool {
        self.plans(&Advice::default()).iter().any(Option::is_none)
    }

    /// When to tell that the end of its certificates is near, by what the report on it says; `None` if that is not to be.
    #[must_use]
    pub fn warn_at(&self, job: &Job, retry_delay: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        let opens = self.served().warn_at(self.md.warn_window).filter(|_| self.watched && !job.finished)?;
        Some(Event::Expiring.not_before(job, retry_delay, now).map_or(opens, |moment| moment.max(opens)))
    }

    /// The certificates that are renewed.
    pub fn own_certificates(&self) -> impl Iterator<Item = Summary> + use<> {
        self.own().into_owned().certificates.into_iter().flatten()
    }

    /// The certificates that are renewed, in the order of their types of key; none for files of the administrator.
    pub(crate) fn certificates(&self) -> Vec<Option<Summary>> {
        let is_stored = !self.md.is_static() || self.standby.is_some();
        if is_stored { self.own().into_owned().certificates } else { Vec::new() }
    }

    /// Whether the CA is asked when to renew, by whoever does that.
    pub(crate) fn asks_ca(&self) -> bool {
        let is_known = self.issuer().is_some() && (self.issued_by.account.is_some() || self.went_live().is_some());
        self.md.ari_renewals && !self.md.is_static() && is_known && self.own().certificates.iter().any(Option::is_some)
    }

    /// The directory URL of the CA that the certificates which are renewed came from.
    pub(crate) fn issuer(&self) -> Option<String> {
        let live = self.went_live();
        live.map_or_else(|| self.issued_by.url.clone(), |live| live.ca_url.clone())
    }

    /// Whether the CA that the certificates came from is no longer configured.
    pub(crate) fn is_ca_gone(&self) -> bool {
        let live = self.went_live().and_then(|live| live.ca_url.clone());
        live.map_or_else(|| next_ca::is_ca_gone(&self.md), |url| next_ca::is_gone(&self.md, &url))
    }

    /// Returns the set that went live since the start, as far as this process knows.
    #[must_use]
    pub fn went_live(&self) -> Option<Arc<TlsSet>> {
        self.slot.as_ref()?.served()
    }

    /// The types of key whose certificates are to be renewed: those that are due, or all if none is or their CA is gone.
    pub(crate) fn keys_to_renew(&self, advice: &Advice, now: Timestamp) -> Vec<KeySpec> {
        let specs = self.md.key_specs().0;
        let due = schedule::to_renew(&self.plans(advice), now);
        let is_ours = due.len() == specs.len() && (!self.md.is_static() || self.standby.is_some());
        if !is_ours || !due.contains(&true) || self.is_ca_gone() {
            return specs;
        }
        specs.into_iter().zip(due).filter(|(_, due)| *due).map(|(spec, _)| spec).collect()
    }

    /// The certificates that are renewed.
    pub(crate) fn own(&self) -> Cow<'_, CertificateSet> {
        self.standby.as_deref().map_or_else(|| self.served(), Cow::Borrowed)
    }

    /// The certificates that are served now: those of the start, except where others went live since.
    #[must_use]
    pub fn served(&self) -> Cow<'_, CertificateSet> {
        self.with_live(self.went_live().as_deref())
    }

    /// Whether something is staged, but nothing new: it is served already, or somebody else has renewed since.
    pub(crate) fn has_nothing_new_in(&self, staged: &[Option<Certificate>]) -> bool {
        let staged = staged.iter().zip(self.md.key_specs().0).filter_map(|(leaf, spec)| Some((leaf.as_ref()?, spec)));
        let mut staged = staged.peekable();
        let is_anything = staged.peek().is_some();
        let outdated = |live: Arc<TlsSet>| staged.all(|(leaf, spec)| live.outdates(&spec, leaf));
        is_anything && self.went_live().is_some_and(outdated)
    }

    /// Returns the certificates that are served if this set is live.
    #[must_use]
    pub fn with_live(&self, live: Option<&TlsSet>) -> Cow<'_, CertificateSet> {
        live.map_or(Cow::Borrowed(&self.at_start), |live| Cow::Owned(live.over(&self.at_start, &self.md)))
    }
}
