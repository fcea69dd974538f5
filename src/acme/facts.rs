//! What is known of one certificate's way to issuance: what the journal holds and what the CA last said.

use jiff::Timestamp;

use super::challenge::ChallengeType;
use super::{Authorization, Order, OrderRecord, Poll};

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
    /// Challenge types that may be used, most wanted first.
    pub challenges: Vec<ChallengeType>,
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
    /// Its challenge was set up in this run.
    pub set_up: bool,
    /// The CA was told in this run to look.
    pub answered: bool,
}

impl Facts {
    /// The facts at the beginning of a run.
    #[must_use]
    pub fn new(chain: bool, record: OrderRecord, challenges: Vec<ChallengeType>, now: Timestamp) -> Self {
        Self {
            directory: false,
            account: false,
            chain,
            record,
            ordered_now: false,
            order: None,
            finalized: false,
            order_gone: false,
            authorizations: Vec::new(),
            challenges,
            poll: Poll::start(now),
            retry_after: None,
        }
    }

    /// Takes over what the CA said of the order.
    pub fn hear_order(&mut self, order: Order, at: Timestamp) {
        for url in &order.authorizations {
            if !self.authorizations.iter().any(|known| known.url == *url) {
                self.authorizations.push(AuthorizationFacts {
                    url: url.clone(),
                    said: None,
                    set_up: false,
                    answered: false,
                });
            }
        }
        self.record.update(&order);
        self.order = Some(Said { value: order, at });
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
            ..Self::new(self.chain, OrderRecord::default(), challenges, now)
        };
    }
}
