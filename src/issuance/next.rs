//! The decision of the protocol: the next step, given the facts.

use jiff::Timestamp;

use crate::acme::challenge::ChallengeType;
use crate::acme::{Authorization, AuthorizationStatus, ChallengeStatus, Order, OrderStatus};
use crate::issuance::facts::{AuthorizationFacts, Facts, Observed};

/// A step on the way to a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the CA's directory.
    Directory,
    /// Find an account that the CA takes, or register one.
    Register,
    /// Make an order.
    NewOrder,
    /// Read the order.
    RefreshOrder,
    /// Read an authorization, by index.
    Refresh(usize),
    /// Put the data of a challenge in place, by index of the authorization.
    ChallengeSetup(usize, ChallengeType),
    /// Tell the CA that the challenge is in place, by index of the authorization.
    Answer(usize, ChallengeType),
    /// Wait until that moment, then decide again.
    Wait {
        /// The moment.
        until: Timestamp,
    },
    /// Send the CSR.
    Finalize,
    /// Get the certificate from that URL.
    Download(String),
    /// Take away the challenge of an authorization, by index: it is in the way of another.
    Withdraw(usize),
    /// Take away the challenges that commands have set up in an earlier run.
    CleanUp,
    /// Take away all challenges.
    TearDown,
    /// Finish: the certificate is in the journal and nothing is left to do.
    Done,
    /// End the run without a certificate.
    GiveUp(Failure),
}

/// Why a run ends without a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// An authorization failed, by index.
    Authorization(usize),
    /// No challenge of an authorization, by index, can be answered.
    NoChallenge(usize),
    /// The order failed.
    Order,
    /// The CA was not done with this in time.
    TimedOut(&'static str),
    /// The CA wants to be asked about this so late that it is left to another run.
    Postponed(&'static str, Timestamp),
    /// The CA says that there is a certificate, but not at which URL.
    NoCertificateUrl,
    /// The CA does not give a URL for the CSR.
    NoFinalizeUrl,
}

/// Decides by the facts alone: after a restart they are gathered again and the run goes on.
#[must_use]
pub fn next(facts: &Facts, now: Timestamp) -> Step {
    if facts.left_over {
        return Step::CleanUp;
    }
    if facts.chain {
        return if facts.record.is_empty() { Step::Done } else { Step::TearDown };
    }
    if !facts.directory {
        return Step::Directory;
    }
    if !facts.account {
        return Step::Register;
    }
    if facts.record.url.is_none() {
        return if facts.record.is_empty() { Step::NewOrder } else { Step::TearDown };
    }
    if facts.order_gone {
        return failed(facts, Failure::Order);
    }
    let Some(order) = &facts.order else { return Step::RefreshOrder };
    match order.value.status {
        OrderStatus::Pending => authorize(facts, now),
        // A CA may take a moment to notice the CSR; a second one would be an error, or another certificate.
        OrderStatus::Ready if facts.finalized => wait_for_order(facts, now, "the certificate to be issued"),
        // Servers of a CA may differ for a moment in what they know of an order (Dogtag and FreeIPA, 2023).
        OrderStatus::Ready if facts.is_order_not_ready(order) => wait_for_order(facts, now, READY),
        OrderStatus::Ready if order.value.finalize.is_some() => Step::Finalize,
        OrderStatus::Ready => failed(facts, Failure::NoFinalizeUrl),
        OrderStatus::Processing => wait_for_order(facts, now, "the certificate to be issued"),
        OrderStatus::Valid => download(facts, &order.value),
        OrderStatus::Invalid => {
            let unread = facts.authorizations.iter().position(|authz| authz.observed.is_none());
            let culprit = facts.authorizations.iter().position(AuthorizationFacts::has_failed);
            match (culprit, unread) {
                (Some(index), _) => failed(facts, Failure::Authorization(index)),
                // The order of an earlier run is replaced, by another type of challenge if one failed.
                (None, Some(index)) if facts.ordered_now || facts.challenges.len() > 1 => Step::Refresh(index),
                _ => failed(facts, Failure::Order),
            }
        }
    }
}

const CHALLENGES: &str = "the CA to look at the challenges";
const READY: &str = "the order to become ready";

fn authorize(facts: &Facts, now: Timestamp) -> Step {
    let mut stale = None;
    let mut open = false;
    for (index, authz) in facts.authorizations.iter().enumerate() {
        let Some(observed) = &authz.observed else { return Step::Refresh(index) };
        if authz.has_failed() {
            return failed(facts, Failure::Authorization(index));
        }
        if authz.set_up.as_ref().is_some_and(|set_up| authz.refuses(set_up.kind))
            || facts.is_to_give_way(index) && !is_open(observed)
        {
            return Step::Withdraw(index);
        }
        if !is_open(observed) {
            continue;
        }
        if authz.answered.is_none() {
            let Some((kind, challenge)) = facts.chosen(authz, &observed.value) else {
                return failed(facts, Failure::NoChallenge(index));
            };
            if authz.set_up.is_none() && facts.waits_for_record(index, kind) {
                open = true;
                continue;
            }
            if authz.set_up.is_none() {
                return Step::ChallengeSetup(index, kind);
            }
            // With an error, the CA may wait for another answer (RFC 8555 section 8.2) while it says that it is processing the old one.
            if challenge.status == ChallengeStatus::Pending || challenge.error.is_some() {
                return answer(facts, index, kind);
            }
        }
        stale = stale.or(Some(index).filter(|_| observed.at < facts.poll.at));
        open = true;
    }
    match stale {
        Some(index) => when_due(facts, now, Step::Refresh(index), CHALLENGES),
        None if open => wait(facts, now, CHALLENGES),
        // The order is ready now (RFC 8555 section 7.1.6); a CA that needs longer says so.
        None if facts.may_finalize_unread() => Step::Finalize,
        None => wait_for_order(facts, now, READY),
    }
}

/// Answers a challenge once all TXT records of its name are in place: the CA might see too few of them otherwise.
fn answer(facts: &Facts, index: usize, kind: ChallengeType) -> Step {
    let unread = facts.authorizations.iter().position(|authz| authz.observed.is_none());
    match unread.filter(|_| kind.answers_by_txt()) {
        Some(unread) => Step::Refresh(unread),
        None => facts.twin(index, kind).map_or(Step::Answer(index, kind), |twin| Step::ChallengeSetup(twin, kind)),
    }
}

fn is_open(observed: &Observed<Authorization>) -> bool {
    observed.value.status != AuthorizationStatus::Valid
}

fn wait_for_order(facts: &Facts, now: Timestamp, what: &'static str) -> Step {
    let newest =
        facts.authorizations.iter().filter_map(|authz| authz.observed.as_ref()).map(|observed| observed.at).max();
    match &facts.order {
        Some(observed) if newest.is_some_and(|at| at > observed.at) => Step::RefreshOrder,
        Some(observed) if observed.at >= facts.poll.at => wait(facts, now, what),
        _ => when_due(facts, now, Step::RefreshOrder, what),
    }
}

/// Takes the step once its time has come, as the last answer is out of date by then; waits until then.
fn when_due(facts: &Facts, now: Timestamp, step: Step, what: &'static str) -> Step {
    if now < facts.poll.at { pause(facts, facts.poll.at, what) } else { step }
}

fn wait(facts: &Facts, now: Timestamp, what: &'static str) -> Step {
    if facts.poll.is_over(now) {
        return stop_waiting(facts, Failure::TimedOut(what));
    }
    pause(facts, facts.poll.next_at(now, facts.retry_after), what)
}

/// Waits, unless the CA wants a longer wait than a run polls: a run has its claim and one of the places at the CA.
fn pause(facts: &Facts, until: Timestamp, what: &'static str) -> Step {
    match facts.retry_after.filter(|floor| facts.poll.is_over(*floor)) {
        Some(floor) => stop_waiting(facts, Failure::Postponed(what, floor)),
        None => Step::Wait { until },
    }
}

/// Ends a wait without a result. A challenge that the CA looks at again and again counts as failed, if another type is left.
fn stop_waiting(facts: &Facts, failure: Failure) -> Step {
    match facts.stuck() {
        Some(index) => failed(facts, Failure::Authorization(index)),
        None => Step::GiveUp(failure),
    }
}

fn download(facts: &Facts, order: &Order) -> Step {
    match &order.certificate {
        Some(url) => Step::Download(url.clone()),
        None => failed(facts, Failure::NoCertificateUrl),
    }
}

/// Ends a failed order: an order from an earlier run is replaced, the failure of one of this run is the result.
fn failed(facts: &Facts, failure: Failure) -> Step {
    if !facts.record.challenge_setups.is_empty() {
        Step::TearDown
    } else if facts.ordered_now {
        Step::GiveUp(failure)
    } else {
        Step::NewOrder
    }
}

#[cfg(test)]
mod tests;
