//! The facts about one certificate's way to issuance: from the journal, and from the CA's last answers.

use jiff::Timestamp;

use crate::acme::challenge::{ChallengeSetup, ChallengeType, choose};
use crate::acme::{Authorization, AuthorizationStatus, Challenge, ChallengeStatus, Order, OrderRecord, OrderStatus};
use crate::issuance::poll::Poll;
use crate::model::{ChallengeRecord, Problem, Status, TxtRecord};

/// The facts that [`next`](crate::issuance::next()) decides by.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Whether the directory was read in this run.
    pub directory: bool,
    /// Whether there is an account that the CA took in this run.
    pub account: bool,
    /// Whether the new certificate is in the journal.
    pub chain: bool,
    /// The order in the journal.
    pub record: OrderRecord,
    /// Whether the order was made in this run, so that nothing in it is left from before.
    pub ordered_now: bool,
    /// The CA's last description of the order.
    pub order: Option<Observed<Order>>,
    /// Whether the CA has taken the CSR of the order in this run.
    pub finalized: bool,
    /// When the CA last refused the CSR in this run, as the order was not ready.
    pub not_ready: Option<Timestamp>,
    /// Whether the CA no longer has the order.
    pub order_gone: bool,
    /// The authorizations of the order.
    pub authorizations: Vec<AuthorizationFacts>,
    /// Whether commands of an earlier run have set up challenges that must be taken away.
    pub left_over: bool,
    /// Challenge types that may be used, as they are configured.
    pub challenges: Vec<ChallengeType>,
    /// The challenge types that have failed.
    pub challenge_record: ChallengeRecord,
    /// Whether a name can have one TXT record at a time, so that removing one removes all.
    pub one_txt: bool,
    /// The present wait.
    pub poll: Poll,
    /// The CA does not want to be asked before this moment.
    pub retry_after: Option<Timestamp>,
}

/// A resource as the CA described it, and the moment of that.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed<T> {
    /// The resource.
    pub value: T,
    /// The moment of the answer.
    pub at: Timestamp,
}

/// The facts about one authorization.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationFacts {
    /// URL of the authorization.
    pub url: String,
    /// The CA's last description of the authorization.
    pub observed: Option<Observed<Authorization>>,
    /// The challenges that were offered in this run. An authorization that is over has only the one that decided it.
    pub offered: Vec<Challenge>,
    /// The challenge that was set up for the authorization in this run, and is still in place.
    pub set_up: Option<ChallengeSetup>,
    /// The record that the CA looks for, where the administrator makes it.
    pub record: Option<TxtRecord>,
    /// Types of challenge that could not be set up in this run.
    pub refused: Vec<Refusal>,
    /// The type of the challenge of which the CA was told in this run that it is in place.
    pub answered: Option<ChallengeType>,
    /// The problem of the answered challenge that was told last.
    pub told: Option<Problem>,
}

/// A type of challenge that could not be set up, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The type.
    pub kind: ChallengeType,
    /// Result code.
    pub status: Status,
    /// The reason.
    pub text: String,
}

impl AuthorizationFacts {
    /// Starts with the URL alone.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self {
            url,
            observed: None,
            offered: Vec::new(),
            set_up: None,
            record: None,
            refused: Vec::new(),
            answered: None,
            told: None,
        }
    }

    /// Takes over the CA's description of the authorization.
    pub fn observe(&mut self, value: Authorization, at: Timestamp) {
        if value.status == AuthorizationStatus::Pending {
            self.offered.clone_from(&value.challenges);
        }
        self.observed = Some(Observed { value, at });
    }

    /// Whether challenges of that type could not be set up in this run.
    #[must_use]
    pub fn refuses(&self, kind: ChallengeType) -> bool {
        self.refused.iter().any(|refusal| refusal.kind == kind)
    }

    /// Takes over that a challenge was answered, and the CA's description of it after that.
    pub fn answer(&mut self, kind: ChallengeType, after: Challenge) {
        self.answered = Some(kind);
        let known = self.observed.iter_mut().flat_map(|observed| &mut observed.value.challenges);
        for challenge in known.filter(|challenge| challenge.kind == kind.as_str()) {
            // An earlier error is out of date.
            challenge.status = after.status;
            challenge.error.clone_from(&after.error);
        }
    }

    /// Whether the authorization cannot become valid by the challenge that is used.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let Some(Observed { value, .. }) = &self.observed else { return false };
        let is_given_back = |challenge: &Challenge| match challenge.status {
            ChallengeStatus::Invalid => true,
            ChallengeStatus::Pending => self.answered.is_some() && challenge.error.is_some(),
            ChallengeStatus::Processing | ChallengeStatus::Valid => false,
        };
        // smallstep's library (step-ca, Caddy; 2026) leaves the authorization pending.
        value.has_failed() || self.is_open() && self.used().is_some_and(is_given_back)
    }

    /// Returns the problem with which the CA looks at a challenge again (RFC 8555 section 8.2), and the challenge.
    #[must_use]
    pub fn told_problem(&self) -> Option<(&Challenge, &Problem)> {
        let is_looked_at = |challenge: &&Challenge| challenge.status == ChallengeStatus::Processing && self.is_open();
        let challenge = self.used().filter(is_looked_at)?;
        Some((challenge, challenge.error.as_ref()?))
    }

    /// Returns the challenge that was answered in this run, or set up again, as the CA describes it.
    fn used(&self) -> Option<&Challenge> {
        let kind = self.answered.or(self.set_up.as_ref().map(|set_up| set_up.kind))?;
        self.observed.as_ref()?.value.challenge(kind)
    }

    /// Returns the type of the challenge that failed: the one that was answered in this run, else the one of which the CA says so.
    #[must_use]
    pub fn failed_type(&self) -> Option<ChallengeType> {
        let value = &self.observed.as_ref()?.value;
        let is_looked_at = match value.status {
            AuthorizationStatus::Invalid => true,
            AuthorizationStatus::Pending => self.has_failed() || self.told_problem().is_some(),
            _ => false,
        };
        let said = || value.challenges.iter().find(|challenge| challenge.error.is_some());
        self.answered.or_else(|| ChallengeType::parse(&said()?.kind)).filter(|_| is_looked_at)
    }

    /// Returns the name that was proven in this run, and the type of the challenge.
    fn proof(&self) -> Option<(String, &'static str)> {
        let value = &self.observed.as_ref()?.value;
        let kind = self.answered.filter(|_| value.status == AuthorizationStatus::Valid)?;
        Some((value.name()?, kind.as_str()))
    }

    fn is_open(&self) -> bool {
        self.observed.as_ref().is_none_or(|observed| observed.value.status == AuthorizationStatus::Pending)
    }

    fn is_for_name_of(&self, other: &Self) -> bool {
        let name = |facts: &Self| facts.observed.as_ref().map(|observed| observed.value.identifier.value.clone());
        name(self).is_some_and(|own| name(other) == Some(own))
    }

    fn has_record(&self) -> bool {
        self.set_up.as_ref().is_some_and(|set_up| set_up.kind.answers_by_txt())
    }
}

impl Facts {
    /// Collects the facts at the beginning of a run.
    #[must_use]
    pub fn new(chain: bool, record: OrderRecord, challenges: Vec<ChallengeType>, now: Timestamp) -> Self {
        let left_over = record.challenge_setups.iter().any(|token| ChallengeSetup::is_of_command(token));
        Self {
            directory: false,
            account: false,
            chain,
            left_over,
            record,
            ordered_now: false,
            order: None,
            finalized: false,
            not_ready: None,
            order_gone: false,
            authorizations: Vec::new(),
            challenges,
            challenge_record: ChallengeRecord::default(),
            one_txt: false,
            poll: Poll::start(now),
            retry_after: None,
        }
    }

    /// Takes over the CA's description of the order.
    pub fn observe_order(&mut self, order: Order, at: Timestamp) {
        for url in &order.authorizations {
            if !self.authorizations.iter().any(|known| known.url == *url) {
                self.authorizations.push(AuthorizationFacts::new(url.clone()));
            }
        }
        self.record.update(&order);
        self.order = Some(Observed { value: order, at });
    }

    /// Returns the challenge to meet for an authorization: the first type that is offered and was not refused, among those that have
    /// not failed, else among those that failed the longest time ago.
    #[must_use]
    pub fn chosen<'a>(
        &self,
        authz: &AuthorizationFacts,
        value: &'a Authorization,
    ) -> Option<(ChallengeType, &'a Challenge)> {
        choose(self.usable(authz, value), &value.challenges)
    }

    /// Returns the type of challenge that the next attempt uses for an authorization, if one is left that has not failed since the
    /// last success.
    #[must_use]
    pub fn untried(&self, authz: &AuthorizationFacts) -> Option<ChallengeType> {
        let value = &authz.observed.as_ref()?.value;
        let failed = authz.failed_type();
        let is_left = |kind: &ChallengeType| Some(*kind) != failed && !self.challenge_record.has_failed(kind.as_str());
        choose(self.usable(authz, value).into_iter().filter(is_left), &authz.offered).map(|(kind, _)| kind)
    }

    /// Returns the types that were not refused, in the order in which they are tried.
    fn usable(&self, authz: &AuthorizationFacts, value: &Authorization) -> Vec<ChallengeType> {
        let name = value.name().unwrap_or_default();
        let mut kinds: Vec<_> = self.challenges.iter().copied().filter(|kind| !authz.refuses(*kind)).collect();
        kinds.sort_by_key(|kind| self.challenge_record.turn(&name, kind.as_str()));
        kinds
    }

    /// Returns the authorization, by index, whose challenge the CA looks at again and again, while another type is left.
    #[must_use]
    pub fn stuck(&self) -> Option<usize> {
        let is_stuck = |authz: &AuthorizationFacts| authz.told_problem().is_some() && self.untried(authz).is_some();
        self.authorizations.iter().position(is_stuck)
    }

    /// Learns from the authorizations which challenge types failed, and by which the names were proven.
    pub fn learn(&mut self) {
        let failed: Vec<_> = self.authorizations.iter().filter_map(AuthorizationFacts::failed_type).collect();
        let failed: Vec<_> = failed.into_iter().map(ChallengeType::as_str).collect();
        self.challenge_record.learn(&failed, self.authorizations.iter().filter_map(AuthorizationFacts::proof));
    }

    /// Whether another authorization of the same name occupies the only TXT record.
    #[must_use]
    pub fn waits_for_record(&self, index: usize, kind: ChallengeType) -> bool {
        let has = |other: &AuthorizationFacts| other.has_record();
        kind.answers_by_txt() && self.one_txt && self.of_same_name(index).any(|(_, other)| has(other))
    }

    /// Whether a finished authorization occupies the only TXT record of a name that another authorization needs.
    #[must_use]
    pub fn is_to_give_way(&self, index: usize) -> bool {
        let has = self.authorizations[index].has_record();
        has && self.one_txt && self.of_same_name(index).any(|(_, other)| other.is_open())
    }

    /// Returns another authorization for the same name whose TXT record must be in place too before the CA looks: resolvers
    /// cache the records of a name.
    #[must_use]
    pub fn twin(&self, index: usize, kind: ChallengeType) -> Option<usize> {
        let needs = |(_, other): &(usize, &AuthorizationFacts)| {
            let value = other.observed.as_ref().map(|observed| &observed.value);
            let chosen = value.and_then(|value| self.chosen(other, value)).map(|(kind, _)| kind);
            other.is_open() && other.answered.is_none() && other.set_up.is_none() && chosen == Some(kind)
        };
        let both = kind.answers_by_txt() && !self.one_txt;
        self.of_same_name(index).filter(|_| both).find(needs).map(|(at, _)| at)
    }

    fn of_same_name(&self, index: usize) -> impl Iterator<Item = (usize, &AuthorizationFacts)> {
        let own = &self.authorizations[index];
        self.authorizations.iter().enumerate().filter(move |(at, other)| *at != index && other.is_for_name_of(own))
    }

    /// Takes over a `Retry-After` of the CA. The latest moment counts, whichever resource it came with.
    pub fn observe_retry_after(&mut self, floor: Option<Timestamp>) {
        self.retry_after = self.retry_after.max(floor);
    }

    /// Whether the order is still known as pending, but all of its authorizations as valid, and the CA has not had the CSR.
    #[must_use]
    pub fn may_finalize_unread(&self) -> bool {
        let is_valid = |authz: &AuthorizationFacts| {
            authz.observed.as_ref().is_some_and(|observed| observed.value.status == AuthorizationStatus::Valid)
        };
        let order = self.order.as_ref().map(|observed| &observed.value);
        order.is_some_and(|order| order.status == OrderStatus::Pending && order.finalize.is_some())
            && !self.authorizations.is_empty()
            && self.authorizations.iter().all(is_valid)
            && !self.finalized
            && self.not_ready.is_none()
    }

    /// Whether the CA has refused the CSR, as the order is not ready, since it described the order.
    #[must_use]
    pub fn is_order_not_ready(&self, order: &Observed<Order>) -> bool {
        self.not_ready.is_some_and(|at| order.at <= at)
    }

    /// Notes that the CA refuses the CSR, as the order is not ready. All such refusals of an order are one wait.
    pub fn observe_not_ready(&mut self, retry_after: Option<Timestamp>, now: Timestamp) {
        self.observe_retry_after(retry_after);
        if self.not_ready.replace(now).is_none() {
            self.start_poll(now);
        }
    }

    /// Starts to wait for the CA.
    pub fn start_poll(&mut self, now: Timestamp) {
        let poll = Poll::start(now);
        self.poll = Poll { at: self.retry_after.map_or(poll.at, |floor| floor.max(poll.at)), ..poll };
    }

    /// Forgets the order and everything that belongs to it.
    pub fn forget_order(&mut self, now: Timestamp) {
        let challenges = std::mem::take(&mut self.challenges);
        *self = Self {
            challenge_record: std::mem::take(&mut self.challenge_record),
            directory: self.directory,
            account: self.account,
            one_txt: self.one_txt,
            ..Self::new(self.chain, OrderRecord::default(), challenges, now)
        };
    }
}
