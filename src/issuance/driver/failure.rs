//! Describes why a run failed.

use crate::acme::{AcmeError, Authorization, ChallengeType, Journal, OrderRecord, Publisher};
use crate::issuance::driver::{Driver, Wanted, authorization};
use crate::issuance::facts::{AuthorizationFacts, Refusal};
use crate::issuance::next::Failure;
use crate::model::{Problem, Status, outside};

impl<J: Journal, P: Publisher> Driver<J, P> {
    /// Describes the failure. An order that failed for good is forgotten.
    pub(super) fn give_up(&mut self, failure: &Failure) -> AcmeError {
        self.learn();
        let error = self.describe(failure);
        if !matches!(failure, Failure::TimedOut(_) | Failure::Postponed(..)) {
            if let Err(err) = self.journal.save_order(&OrderRecord::default()) {
                return err.into();
            }
        }
        error
    }

    fn describe(&self, failure: &Failure) -> AcmeError {
        let url = self.facts.record.url.clone().unwrap_or_default();
        let order = self.facts.order.as_ref().map(|observed| &observed.value);
        match failure {
            Failure::Authorization(index) => {
                let authz = authorization(&self.facts.authorizations[*index]);
                let problem = authz.ok().and_then(Authorization::problem).cloned();
                let facts = &self.facts.authorizations[*index];
                let turn = facts.failed_type().zip(self.facts.untried(facts));
                self.challenge_failed(*index, problem.unwrap_or_else(unexplained), turn)
            }
            Failure::NoChallenge(index) => match authorization(&self.facts.authorizations[*index]) {
                Ok(authz) => self.describe_no_challenge(authz, &self.facts.authorizations[*index].refused),
                Err(err) => err,
            },
            Failure::Order => match order.and_then(|order| order.error.clone()) {
                Some(problem) => {
                    AcmeError::Problem { problem, http_status: None, retry_after: None, of_address: false }
                }
                None => AcmeError::OrderInvalid { url },
            },
            Failure::TimedOut(what) => AcmeError::TimedOut { what, problem: self.told_problem() },
            Failure::Postponed(what, retry_after) => {
                AcmeError::Postponed { what, problem: self.told_problem(), retry_after: *retry_after }
            }
            Failure::NoCertificateUrl => AcmeError::Lacks { url, what: "the URL of the certificate" },
            Failure::NoFinalizeUrl => AcmeError::Lacks { url, what: "the URL to finalize at" },
        }
    }

    /// Returns the problem of a challenge that the CA looks at again.
    fn told_problem(&self) -> Option<Box<Problem>> {
        let problems = self.facts.authorizations.iter().filter_map(AuthorizationFacts::told_problem);
        problems.map(|(_, problem)| Box::new(problem.clone())).next()
    }

    /// Describes that the challenge of an authorization, by index, failed.
    pub(super) fn challenge_failed(
        &self,
        index: usize,
        problem: Problem,
        turn: Option<(ChallengeType, ChallengeType)>,
    ) -> AcmeError {
        let facts = &self.facts.authorizations[index];
        let name = authorization(facts).map_or_else(|_| String::new(), |authz| authz.identifier.value.clone());
        let by_txt = facts.failed_type().is_some_and(ChallengeType::answers_by_txt);
        AcmeError::ChallengeFailed { name, problem: Box::new(problem), by_txt, record: facts.record.clone(), turn }
    }

    /// Describes why no challenge could be used. The last wanted type decides which error it is; all refusals are listed.
    fn describe_no_challenge(&self, authz: &Authorization, refused: &[Refusal]) -> AcmeError {
        let last = self.facts.challenges.last();
        let decisive = refused.iter().find(|refusal| Some(&refusal.kind) == last);
        let say = |refusal: &Refusal| {
            format!(" '{}' cannot be set up: {}.", refusal.kind, refusal.text.trim_end_matches('.'))
        };
        let reasons: String = refused.iter().map(say).collect();
        match (decisive.filter(|refusal| refusal.status != Status::UNSUPPORTED), no_challenge(&self.wanted, authz)) {
            (Some(refusal), _) => {
                AcmeError::NotSetUp { name: authz.identifier.value.clone(), status: refusal.status, reasons }
            }
            (None, AcmeError::NoChallenge { name, offered, wanted, .. }) => {
                AcmeError::NoChallenge { name, offered, wanted, reasons }
            }
            (None, other) => other,
        }
    }
}

pub(super) fn no_challenge(wanted: &Wanted, authz: &Authorization) -> AcmeError {
    AcmeError::NoChallenge {
        name: authz.identifier.value.clone(),
        offered: outside::text(&authz.challenges.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>().join(" ")),
        wanted: wanted.challenges.iter().flatten().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" "),
        reasons: String::new(),
    }
}

fn unexplained() -> Problem {
    Problem { detail: "the CA does not say why".to_owned(), ..Problem::default() }
}
