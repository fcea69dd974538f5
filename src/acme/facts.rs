//! What is known of one certificate's way to issuance: what the journal holds and what the CA last said.

use jiff::Timestamp;

use super::challenge::{ChallengeType, SetUp, choose};
use super::{Authorization, AuthorizationStatus, Challenge, Order, OrderRecord, Poll};
use crate::model::{Status, TxtRecord};

/// All that [`next`](super::next()) looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The directory was read in this run.
    pub directory: bool,
    /// There is an account that the CA took in this run.
    pub account: bool,
    /// The new certificate is in the journal.
    pub chain: bool,
    /// The order in the journal.
    pub record: OrderRecord,
    /// The order was made in this run, so that nothing in it is left from before.
    pub ordered_now: bool,
    /// What the CA says of the order.
    pub order: Option<Said<Order>>,
    /// The CSR of the order was sent in this run.
    pub finalized: bool,
    /// The order cannot be found at the CA any more.
    pub order_gone: bool,
    /// What the CA says of its authorizations.
    pub authorizations: Vec<AuthorizationFacts>,
    /// The journal has set-ups that commands of an earlier run made. Nobody knows what became of them.
    pub left_over: bool,
    /// Challenge types that may be used, most wanted first.
    pub challenges: Vec<ChallengeType>,
    /// There can be one TXT record for a name at a time: taking one away takes all.
    pub one_txt: bool,
    /// The present wait.
    pub poll: Poll,
    /// The CA does not want to be asked before.
    pub retry_after: Option<Timestamp>,
}

/// Something that was heard, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Said<T> {
    /// What was said.
    pub value: T,
    /// The moment.
    pub at: Timestamp,
}

/// What is known of one authorization.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationFacts {
    /// Its URL.
    pub url: String,
    /// What the CA says of it.
    pub said: Option<Said<Authorization>>,
    /// What was set up for it in this run, and is there now.
    pub set_up: Option<SetUp>,
    /// The record that the CA looks for, where the administrator makes it.
    pub record: Option<TxtRecord>,
    /// Types of challenge that could not be set up in this run.
    pub refused: Vec<Refusal>,
    /// The CA was told in this run to look.
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
    /// Nothing is known of it but its URL.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self { url, said: None, set_up: None, record: None, refused: Vec::new(), answered: false }
    }

    /// Whether challenges of that type could not be set up.
    #[must_use]
    pub fn refuses(&self, kind: ChallengeType) -> bool {
        self.refused.iter().any(|refusal| refusal.kind == kind)
    }

    fn is_open(&self) -> bool {
        self.said.as_ref().is_none_or(|said| said.value.status == AuthorizationStatus::Pending)
    }

    fn is_for_name_of(&self, other: &Self) -> bool {
        let name = |facts: &Self| facts.said.as_ref().map(|said| said.value.identifier.value.clone());
        name(self).is_some_and(|own| name(other) == Some(own))
    }

    fn has_record(&self) -> bool {
        self.set_up.as_ref().is_some_and(|set_up| set_up.kind.answers_by_txt())
    }
}

impl Facts {
    /// The facts at the beginning of a run.
    #[must_use]
    pub fn new(chain: bool, record: OrderRecord, challenges: Vec<ChallengeType>, now: Timestamp) -> Self {
        let left_over = record.challenge_setups.iter().any(|token| SetUp::is_of_command(token));
        Self {
            directory: false,
            account: false,
            chain,
            left_over,
            record,
            ordered_now: false,
            order: None,
            finalized: false,
            order_gone: false,
            authorizations: Vec::new(),
            challenges,
            one_txt: false,
            poll: Poll::start(now),
            retry_after: None,
        }
    }

    /// Takes over what the CA said of the order.
    pub fn hear_order(&mut self, order: Order, at: Timestamp) {
        for url in &order.authorizations {
            if !self.authorizations.iter().any(|known| known.url == *url) {
                self.authorizations.push(AuthorizationFacts::new(url.clone()));
            }
        }
        self.record.update(&order);
        self.order = Some(Said { value: order, at });
    }

    /// The challenge to meet for an authorization: the first wanted type that is offered and was not refused.
    #[must_use]
    pub fn chosen<'a>(
        &self,
        authz: &AuthorizationFacts,
        value: &'a Authorization,
    ) -> Option<(ChallengeType, &'a Challenge)> {
        choose(self.challenges.iter().copied().filter(|kind| !authz.refuses(*kind)), &value.challenges)
    }

    /// Whether another authorization has the one TXT record of the name that this one needs.
    #[must_use]
    pub fn waits_for_record(&self, index: usize, kind: ChallengeType) -> bool {
        let has = |other: &AuthorizationFacts| other.has_record();
        kind.answers_by_txt() && self.one_txt && self.of_same_name(index).any(|(_, other)| has(other))
    }

    /// Whether an authorization that is done has the one TXT record of a name that another one needs.
    #[must_use]
    pub fn is_to_give_way(&self, index: usize) -> bool {
        let has = self.authorizations[index].has_record();
        has && self.one_txt && self.of_same_name(index).any(|(_, other)| other.is_open())
    }

    /// An authorization for the same name whose TXT record is to be there too before the CA looks: resolvers remember
    /// which records a name had.
    #[must_use]
    pub fn twin(&self, index: usize, kind: ChallengeType) -> Option<usize> {
        let needs = |(_, other): &(usize, &AuthorizationFacts)| {
            let value = other.said.as_ref().map(|said| &said.value);
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

    /// Takes over when the CA wants to be asked again. The latest such moment counts, whatever it was said of.
    pub fn hear_floor(&mut self, floor: Option<Timestamp>) {
        self.retry_after = self.retry_after.max(floor);
    }

    /// Begins a wait.
    pub fn start_poll(&mut self, now: Timestamp) {
        let poll = Poll::start(now);
        self.poll = Poll { at: self.retry_after.map_or(poll.at, |floor| floor.max(poll.at)), ..poll };
    }

    /// Forgets the order and all that came with it.
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
