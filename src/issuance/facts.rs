//! The facts about one certificate's way to issuance: from the journal, and from the CA's last answers.

use jiff::Timestamp;

use crate::acme::challenge::{ChallengeSetup, ChallengeType, choose};
use crate::acme::{Authorization, AuthorizationStatus, Challenge, Order, OrderRecord};
use crate::issuance::poll::Poll;
use crate::model::{Status, TxtRecord};

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
    /// Challenge types that may be used, most wanted first.
    pub challenges: Vec<ChallengeType>,
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
    /// The challenge that was set up for the authorization in this run, and is still in place.
    pub set_up: Option<ChallengeSetup>,
    /// The record that the CA looks for, where the administrator makes it.
    pub record: Option<TxtRecord>,
    /// Types of challenge that could not be set up in this run.
    pub refused: Vec<Refusal>,
    /// Whether the CA was told in this run that the challenge is in place.
    pub answered: bool,
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
        Self { url, observed: None, set_up: None, record: None, refused: Vec::new(), answered: false }
    }

    /// Whether challenges of that type could not be set up in this run.
    #[must_use]
    pub fn refuses(&self, kind: ChallengeType) -> bool {
        self.refused.iter().any(|refusal| refusal.kind == kind)
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

    /// Returns the challenge to meet for an authorization: the first wanted type that is offered and was not refused.
    #[must_use]
    pub fn chosen<'a>(
        &self,
        authz: &AuthorizationFacts,
        value: &'a Authorization,
    ) -> Option<(ChallengeType, &'a Challenge)> {
        choose(self.challenges.iter().copied().filter(|kind| !authz.refuses(*kind)), &value.challenges)
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
            other.is_open() && !other.answered && other.set_up.is_none() && chosen == Some(kind)
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
            directory: self.directory,
            account: self.account,
            one_txt: self.one_txt,
            ..Self::new(self.chain, OrderRecord::default(), challenges, now)
        };
    }
}
