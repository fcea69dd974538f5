//! The challenges of an order: set up, answered, and taken away again (RFC 8555 section 7.5).

use crate::acme::challenge::{check_token, choose, key_authorization, txt_value};
use crate::acme::session::empty_object;
use crate::acme::{
    AcmeError, Attempt, Authorization, Challenge, ChallengeSetup, ChallengeType, Journal, OrderRecord, PortError,
    Publisher,
};
use crate::crypto::KeyRef;
use crate::http::RequestKind;
use crate::issuance::driver::failure::no_challenge;
use crate::issuance::driver::{Driver, Outcome, authorization, directory, no_account};
use crate::issuance::facts::Refusal;
use crate::log::note;
use crate::model::{DomainName, Identifier, Status, outside, time};

impl<J: Journal, P: Publisher> Driver<J, P> {
    pub(super) fn refresh(&mut self, index: usize) -> Result<(), AcmeError> {
        let url = self.facts.authorizations[index].url.clone();
        let value = match self.read::<Authorization>(RequestKind::Authorization, &url) {
            Ok(value) => value,
            Err(err) if err.is_gone() && !self.facts.ordered_now => {
                self.facts.order_gone = true;
                return Ok(());
            }
            Err(err) => return Err(err),
        };
        self.facts.authorizations[index].observe(value, self.clock.now());
        self.tell_problem(index)
    }

    /// Tells why the CA looks at a challenge again, once for each problem, and when. The CA says when in answers about the challenge
    /// itself (RFC 8555 section 8.2).
    fn tell_problem(&mut self, index: usize) -> Result<(), AcmeError> {
        let authz = &self.facts.authorizations[index];
        let Some((challenge, problem)) = authz.told_problem() else { return Ok(()) };
        if authz.told.as_ref() == Some(problem) {
            return Ok(());
        }
        let problem = problem.clone();
        let url = challenge.url.clone();
        let what = format!("'{}' of domain {}", challenge.kind, authorization(authz)?.identifier.value);
        match self.read::<Challenge>(RequestKind::Challenge, &url) {
            Err(err) if err.is_cancelled() => return Err(err),
            // The moment is a courtesy.
            Err(err) => note!(Debug, err.status(); "{}: {what} cannot be read: {err}", self.wanted.name),
            Ok(_) => {}
        }
        let again = self.facts.retry_after.filter(|at| *at > self.clock.now());
        let after = again.map(|at| format!(" after {}", time::format_gmt(at))).unwrap_or_default();
        let says = problem.sentence();
        note!(Info, "{}: the CA looks at {what} again{after}, as it found: {says}", self.wanted.name);
        self.journal
            .lasting_progress(&format!("Waiting for the CA to look at {what} again{after}, as it found: {says}"));
        self.facts.authorizations[index].told = Some(problem);
        Ok(())
    }

    pub(super) fn set_up(&mut self, index: usize, kind: ChallengeType) -> Result<Outcome, AcmeError> {
        let (_, key) = self.account.as_ref().ok_or_else(no_account)?;
        let authz = authorization(&self.facts.authorizations[index])?;
        let (_, challenge) = choose([kind], &authz.challenges).ok_or_else(|| no_challenge(&self.wanted, authz))?;
        let token = challenge.token.clone();
        let value = key_authorization(&token, key)?;
        let txt = kind.answers_by_txt().then(|| txt_value(&value)).transpose()?;
        let lacks =
            || AcmeError::Lacks { url: self.facts.authorizations[index].url.clone(), what: "a name of the order" };
        let name = self.ordered_name(&authz.identifier.value).ok_or_else(lacks)?;
        let set_up = ChallengeSetup { kind, name, txt };
        if let Err(malformed) = check_token(&token) {
            let reason = PortError { status: Status::INVALID, text: malformed.to_string() };
            self.refuse(index, &set_up, &reason);
            return Ok(Outcome::Continue);
        }
        match self.publisher.reserve(&set_up) {
            Ok(Attempt::Done) => {}
            Ok(Attempt::Busy) => return Ok(self.busy()),
            Err(reason) => {
                self.refuse(index, &set_up, &reason);
                return Ok(Outcome::Continue);
            }
        }
        self.journal.progress(&format!("Setting up challenge '{kind}' for domain {}", set_up.name));
        let token = set_up.to_string();
        if !self.facts.record.challenge_setups.contains(&token) {
            self.facts.record.challenge_setups.push(token);
            if let Err(err) = self.journal.save_order(&self.facts.record) {
                self.facts.record.challenge_setups.pop();
                return Err(err.into());
            }
        }
        self.facts.authorizations[index].set_up = Some(set_up.clone());
        let put = self.publisher.publish(&set_up, &value).and_then(|()| self.journal.challenge_in_place(&set_up));
        if let Err(reason) = put {
            self.refuse(index, &set_up, &reason);
        }
        Ok(Outcome::Continue)
    }

    /// Returns the name that a challenge is for, if it is a name of the order or above one. The CA's text becomes part of a
    /// path and an argument of commands.
    pub(super) fn ordered_name(&self, proven: &str) -> Option<String> {
        let proven = DomainName::parse(proven.trim_start_matches("*.")).ok()?;
        let is_above =
            |name: &str| name.strip_suffix(proven.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let is_meant = |identifier: &Identifier| match identifier {
            Identifier::Dns(name) => is_above(name),
            Identifier::Ip(address) => proven.address() == Some(*address),
        };
        self.wanted.identifiers.iter().any(is_meant).then(|| proven.into())
    }

    /// Notes that the challenge cannot be set up; the next type is tried.
    fn refuse(&mut self, index: usize, set_up: &ChallengeSetup, reason: &PortError) {
        let ChallengeSetup { kind, name, .. } = set_up;
        note!(Info, reason.status; "{}: '{kind}' cannot be set up for {name}: {reason}", self.wanted.name);
        let refusal = Refusal { kind: *kind, status: reason.status, text: reason.text.clone() };
        self.facts.authorizations[index].refused.push(refusal);
    }

    /// Records which types of challenge failed in the present order, and which worked.
    pub(super) fn learn(&mut self) {
        self.facts.learn();
        self.journal.record_challenges(&self.facts.challenge_record);
    }

    pub(super) fn answer(&mut self, index: usize, kind: ChallengeType) -> Result<(), AcmeError> {
        let authz = authorization(&self.facts.authorizations[index])?;
        let (_, challenge) = choose([kind], &authz.challenges).ok_or_else(|| no_challenge(&self.wanted, authz))?;
        let ca = directory(&self.directory)?;
        let (account, key) = self.account.as_ref().ok_or_else(no_account)?;
        let response = match self.session.about(RequestKind::Challenge).post(
            ca,
            &challenge.url,
            key,
            KeyRef::Kid(&account.url),
            &empty_object(),
        ) {
            Ok(response) => response,
            Err(err) => return self.answer_refused(index, kind, err),
        };
        self.journal.progress(&format!("Waiting for the CA to look at '{kind}' of domain {}", authz.identifier.value));
        self.facts.observe_retry_after(self.session.retry_after(&response));
        self.facts.authorizations[index].answer(kind, outside::json(&response.body).unwrap_or_default());
        self.tell_problem(index)?;
        self.facts.start_poll(self.clock.now());
        Ok(())
    }

    /// Replaces an order of an earlier run whose challenges are gone. A refusal that asking again does not change counts as a
    /// failure of the challenge type, if another one is left, and so does the outcome of a validation: some CAs answer with it.
    fn answer_refused(&mut self, index: usize, kind: ChallengeType, err: AcmeError) -> Result<(), AcmeError> {
        if err.is_gone() && !self.facts.ordered_now {
            self.facts.order_gone = true;
            return Ok(());
        }
        if !(err.is_refusal() && (err.is_permanent() || err.is_failed_validation())) {
            return Err(err);
        }
        self.facts.challenge_record.learn(&[kind.as_str()], []);
        self.journal.record_challenges(&self.facts.challenge_record);
        match (err, self.facts.untried(&self.facts.authorizations[index])) {
            (AcmeError::Problem { problem, .. }, Some(next)) => {
                Err(self.challenge_failed(index, problem, Some((kind, next))))
            }
            (err, _) => Err(err),
        }
    }

    /// Takes away all set-ups, and after the last one the order, if it is finished.
    pub(super) fn tear_down(&mut self) -> Result<Outcome, AcmeError> {
        if self.withdraw_each(|_| true)? == Attempt::Busy {
            return Ok(self.busy());
        }
        if self.facts.chain {
            self.facts.record = OrderRecord::default();
            self.journal.save_order(&self.facts.record)?;
        }
        Ok(Outcome::Continue)
    }

    pub(super) fn clean_up(&mut self) -> Result<Outcome, AcmeError> {
        if self.withdraw_each(ChallengeSetup::is_of_command)? == Attempt::Busy {
            return Ok(self.busy());
        }
        self.facts.left_over = false;
        Ok(Outcome::Continue)
    }

    pub(super) fn withdraw(&mut self, index: usize) -> Result<Outcome, AcmeError> {
        let token = self.facts.authorizations[index].set_up.as_ref().map(ToString::to_string).unwrap_or_default();
        if self.withdraw_each(|other| other == token)? == Attempt::Busy {
            return Ok(self.busy());
        }
        self.facts.authorizations[index].set_up = None;
        Ok(Outcome::Continue)
    }

    /// Takes away the set-ups that `which` accepts, the latest first. Each is taken away once: it leaves the journal then.
    pub(super) fn withdraw_each(&mut self, which: impl Fn(&str) -> bool) -> Result<Attempt, AcmeError> {
        while let Some(at) = self.facts.record.challenge_setups.iter().rposition(|token| which(token)) {
            if let Some(set_up) = ChallengeSetup::parse(&self.facts.record.challenge_setups[at]) {
                if self.publisher.withdraw(&set_up)? == Attempt::Busy {
                    return Ok(Attempt::Busy);
                }
                self.journal.challenge_taken_away(&set_up)?;
            }
            self.facts.record.challenge_setups.remove(at);
            self.journal.save_order(&self.facts.record)?;
        }
        Ok(Attempt::Done)
    }
}
