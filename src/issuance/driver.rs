//! Takes the steps that [`next()`] decides on, one request or command each, until there is a certificate or no way on.

mod accounts;
mod certificate;
mod chains;
mod challenges;
mod failure;
mod orders;
mod persist;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Step, next};
use crate::acme::session::json;
use crate::acme::{
    AccountBook, AccountRecord, AccountScope, AcmeError, Attempt, Authorization, ChallengeSetup, ChallengeType,
    Directory, Journal, KnownCa, KnownCas, OrderRecord, Publisher, Session,
};
use crate::clock::Clock;
use crate::crypto::PrivateKey;
use crate::http::{HttpClient, RequestKind};
use crate::issuance::facts::{AuthorizationFacts, Facts};
use crate::log::note;
use crate::model::{ContactSource, Identifier, KeySpec, TxtRecord};

/// The certificates that a renewal has to obtain.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Name of the domain, for messages.
    pub name: String,
    /// The names and addresses of the certificates, in order.
    pub identifiers: Vec<Identifier>,
    /// The types of key; each has a certificate.
    pub keys: Vec<KeySpec>,
    /// Whether certificates ask for stapling (RFC 7633).
    pub must_staple: bool,
    /// The profile to order by (ACME profiles extension), as configured.
    pub profile: Option<Arc<str>>,
    /// Whether there may be no order without the profile.
    pub profile_mandatory: bool,
    /// The chain to take where the CA offers several: the common name of the issuer at its top, or `shortest`.
    pub preferred_chain: Option<Arc<str>>,
    /// The certificates that the new ones replace, if the CA is to be told.
    pub replaces: Option<Replaces>,
    /// The CA, and the external account if any.
    pub scope: AccountScope,
    /// Contact URIs for a new account.
    pub contacts: Vec<String>,
    /// The origin of the contacts, which decides whether they may be left out.
    pub contact_source: Arc<ContactSource>,
    /// The agreement to the CA's terms, as configured.
    pub agreement: Option<String>,
    /// Challenge types that may be used, most wanted first; or the reason why there is none.
    pub challenges: Result<Vec<ChallengeType>, String>,
    /// Whether a name can have one TXT record at a time: the command that removes one removes all.
    pub one_txt: bool,
}

/// Certificates that are replaced (RFC 9773 section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// URL of the account that the certificates were issued to.
    pub account_url: String,
    /// The identifiers of the certificates (RFC 9773 section 4.1), by type of key.
    pub certificates: Vec<(KeySpec, String)>,
}

/// The next call that a [`Driver`] needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Call again, at once.
    Continue,
    /// Call again, not before this moment.
    Wait(Timestamp),
    /// Stop: all certificates are in the journal, and nothing is left set up.
    Done,
}

/// A run of a domain's renewal.
pub struct Driver<J, P> {
    wanted: Wanted,
    journal: J,
    publisher: P,
    accounts: Arc<dyn AccountBook>,
    clock: Arc<dyn Clock>,
    session: Session,
    known: KnownCa,
    /// Whether to use what earlier runs have learnt: until the CA does not answer as expected.
    trusts_earlier_runs: bool,
    /// Whether directory or account are from an earlier run.
    is_from_earlier_run: bool,
    directory: Option<Directory>,
    account: Option<(AccountRecord, PrivateKey)>,
    /// Index of the current key type.
    current: usize,
    facts: Facts,
    refused_nonces: u32,
    /// Records that the account needs for dns-persist-01, one for each name.
    records: Vec<TxtRecord>,
    /// Whether this run orders without the profile, which the CA does not offer.
    without_profile: bool,
    /// The certificate that the last order was not to name as replaced, and the problem that the CA told, until an order is placed.
    refused_replacement: Option<(String, Option<String>)>,
    /// The error that this run ends with, once the challenges that commands have set up are taken away.
    failed: Option<AcmeError>,
}

impl<J: Journal, P: Publisher> Driver<J, P> {
    /// The most refused nonces in a row; towards the end there is a pause between tries.
    const MAX_REFUSED_NONCES: u32 = 25;
    /// The number of refused nonces in a row that are answered at once.
    const IMMEDIATE_RETRIES: u32 = 3;
    /// The pause before a busy publisher is asked again.
    const BUSY: SignedDuration = SignedDuration::from_millis(250);
    /// The longest first name that becomes the common name (RFC 5280, ub-common-name).
    const MAX_COMMON_NAME: usize = 64;
    /// Profiles whose certificates have no common name.
    const NAMELESS_PROFILES: [&str; 2] = ["tlsserver", "shortlived"];

    /// Starts a run that continues from the journal.
    #[must_use]
    pub fn new(
        wanted: Wanted,
        journal: J,
        publisher: P,
        accounts: Arc<dyn AccountBook>,
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let facts = Facts::new(false, OrderRecord::default(), Vec::new(), clock.now());
        let known = Arc::<KnownCas>::default().at(&http, &wanted.scope.ca_url);
        let session = Session::new(http, Arc::clone(&clock));
        let mut driver = Self {
            wanted,
            journal,
            publisher,
            accounts,
            clock,
            session,
            known,
            trusts_earlier_runs: true,
            is_from_earlier_run: false,
            directory: None,
            account: None,
            current: 0,
            facts,
            refused_nonces: 0,
            records: Vec::new(),
            without_profile: false,
            refused_replacement: None,
            failed: None,
        };
        driver.gather_facts();
        driver
    }

    /// Has the run use what earlier ones have learnt of the CA, and tell later ones.
    #[must_use]
    pub fn with_known(self, known: KnownCa) -> Self {
        Self { known, ..self }
    }

    /// Gives the session a nonce of its CA, which saves asking for one (RFC 8555 section 7.2).
    pub fn set_nonce(&mut self, nonce: Option<String>) {
        self.session.nonce = nonce;
    }

    /// Takes the unused nonce, if any, for another session at the same CA.
    pub fn take_nonce(&mut self) -> Option<String> {
        self.session.nonce.take()
    }

    /// Returns the account that this run uses, once it has needed one.
    #[must_use]
    pub fn account(&self) -> Option<&AccountRecord> {
        self.account.as_ref().map(|(account, _)| account)
    }

    /// Checks whether the CA has answered the first request of this run.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.facts.directory && !self.relies_on_earlier_run()
    }

    /// Checks whether the CA has taken the account in this run.
    #[must_use]
    pub fn has_account(&self) -> bool {
        self.facts.account && !self.relies_on_earlier_run()
    }

    /// Checks whether there is an order for the current type of key, of this run or an earlier one.
    #[must_use]
    pub fn has_order(&self) -> bool {
        self.facts.record.url.is_some()
    }

    /// Checks whether the journal has the certificates for all types of key: the CA is needed no more.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.facts.chain && self.current + 1 >= self.wanted.keys.len()
    }

    /// Returns the journal, to close it.
    pub fn journal(&mut self) -> &mut J {
        &mut self.journal
    }

    /// Takes one step.
    ///
    /// # Errors
    /// If the run is over without all certificates. The next run continues from the journal.
    pub fn step(&mut self) -> Result<Outcome, AcmeError> {
        if let Some(error) = self.failed.take() {
            return self.fail(error);
        }
        let now = self.clock.now();
        let result = match self.take(next(&self.facts, now), now) {
            Err(AcmeError::BadNonce) => self.nonce_refused(),
            Err(error) if self.relies_on_earlier_run() && error.may_be_outdated() => {
                note!(Debug, error.status(); "{}: the CA is asked for its directory again: {error}", self.wanted.name);
                self.ask_anew();
                Ok(Outcome::Continue)
            }
            result => {
                self.refused_nonces = 0;
                result
            }
        };
        result.or_else(|error| self.fail(error))
    }

    /// Ends the run. Records that commands have set up do not stay until the next run, which may be days away; files do, as the
    /// CA may still look.
    fn fail(&mut self, error: AcmeError) -> Result<Outcome, AcmeError> {
        if error.is_cancelled() {
            return Err(error);
        }
        match self.withdraw_each(ChallengeSetup::is_of_command) {
            Ok(Attempt::Busy) => {
                self.failed = Some(error);
                Ok(self.busy())
            }
            // The first error is reported, even if the store fails, too.
            Ok(Attempt::Done) | Err(_) => Err(error),
        }
    }

    fn busy(&self) -> Outcome {
        Outcome::Wait(self.clock.now() + Self::BUSY)
    }

    fn take(&mut self, step: Step, now: Timestamp) -> Result<Outcome, AcmeError> {
        match step {
            Step::Directory => self.read_directory(now)?,
            Step::Register => {
                let outcome = self.find_or_register()?;
                self.note_records();
                return Ok(outcome);
            }
            Step::ChallengeSetup(index, kind) if kind.needs_standing_record() => {
                return self.rely_on_record(index, kind);
            }
            Step::NewOrder => self.new_order()?,
            Step::RefreshOrder => self.refresh_order()?,
            Step::Refresh(index) => self.refresh(index)?,
            Step::ChallengeSetup(index, kind) => return self.set_up(index, kind),
            Step::Answer(index, kind) => self.answer(index, kind)?,
            Step::Wait { until } => {
                if until > self.facts.poll.at {
                    self.facts.poll = self.facts.poll.again(until);
                }
                return Ok(Outcome::Wait(until));
            }
            Step::Finalize => self.finalize()?,
            Step::Download(url) => self.download(&url)?,
            Step::Withdraw(index) => return self.withdraw(index),
            Step::CleanUp => return self.clean_up(),
            Step::TearDown => return self.tear_down(),
            Step::Done if self.current + 1 < self.wanted.keys.len() => {
                self.learn();
                self.current += 1;
                self.gather_facts();
            }
            Step::Done => {
                self.learn();
                return Ok(Outcome::Done);
            }
            Step::GiveUp(failure) => return Err(self.give_up(&failure)),
        }
        Ok(Outcome::Continue)
    }

    /// Gathers the facts about the current key type from the journal; the facts about the CA stay. An order is taken to be for
    /// the first type without a certificate; if it is not, its certificate turns out to be for another key.
    fn gather_facts(&mut self) {
        let record = self.journal.order();
        let challenges = self.wanted.challenges.clone().unwrap_or_default();
        while record.url.is_some() && self.current + 1 < self.wanted.keys.len() && self.has_chain() {
            self.current += 1;
        }
        let facts = Facts::new(self.has_chain(), record, challenges, self.clock.now());
        self.facts = Facts {
            directory: self.directory.is_some(),
            account: self.account.is_some(),
            one_txt: self.wanted.one_txt,
            challenge_record: self.journal.challenge_record(),
            ..facts
        };
    }

    fn has_chain(&self) -> bool {
        self.wanted.keys.get(self.current).is_none_or(|spec| self.journal.has_chain(spec))
    }

    fn nonce_refused(&mut self) -> Result<Outcome, AcmeError> {
        self.refused_nonces += 1;
        if self.refused_nonces > Self::MAX_REFUSED_NONCES {
            return Err(AcmeError::BadNonce);
        }
        if self.refused_nonces == Self::IMMEDIATE_RETRIES && self.relies_on_earlier_run() {
            self.ask_anew();
        }
        let Some(pauses) = self.refused_nonces.checked_sub(Self::IMMEDIATE_RETRIES) else {
            return Ok(Outcome::Continue);
        };
        let pause = SignedDuration::from_millis(50 << pauses.min(4));
        Ok(Outcome::Wait(self.clock.now() + pause))
    }

    fn read_directory(&mut self, now: Timestamp) -> Result<(), AcmeError> {
        if let Err(reason) = &self.wanted.challenges {
            return Err(AcmeError::NoSuitableChallenge(reason.clone()));
        }
        self.directory = self.known.directory(now).filter(|_| self.trusts_earlier_runs);
        self.is_from_earlier_run = self.directory.is_some();
        if self.directory.is_none() {
            self.journal.progress("Contacting ACME server");
            let directory = self.session.directory(&self.wanted.scope.ca_url)?;
            self.known.learn_directory(&directory, now);
            self.directory = Some(directory);
        }
        self.facts.directory = true;
        Ok(())
    }

    /// Whether the CA has not yet answered by what an earlier run has learnt of it.
    fn relies_on_earlier_run(&self) -> bool {
        self.is_from_earlier_run && !self.session.is_heard
    }

    /// Forgets what earlier runs have learnt of the CA, which is asked for its directory and for the account next.
    fn ask_anew(&mut self) {
        self.known.forget();
        self.trusts_earlier_runs = false;
        self.is_from_earlier_run = false;
        self.directory = None;
        self.account = None;
        self.facts.directory = false;
        self.facts.account = false;
    }

    /// Reads a resource of the account, and the `Retry-After` that comes with it.
    fn read<T: serde::de::DeserializeOwned>(&mut self, kind: RequestKind, url: &str) -> Result<T, AcmeError> {
        let ca = directory(&self.directory)?;
        let (account, key) = self.account.as_ref().ok_or_else(no_account)?;
        let response = self.session.about(kind).read(ca, url, key, &account.url)?;
        self.facts.observe_retry_after(self.session.retry_after(&response));
        json(url, &response)
    }
}

fn directory(directory: &Option<Directory>) -> Result<&Directory, AcmeError> {
    directory.as_ref().ok_or(AcmeError::Lacks { url: String::new(), what: "a directory" })
}

fn no_account() -> AcmeError {
    AcmeError::Lacks { url: String::new(), what: "an account" }
}

fn authorization(facts: &AuthorizationFacts) -> Result<&Authorization, AcmeError> {
    let lacks = || AcmeError::Lacks { url: facts.url.clone(), what: "an authorization" };
    facts.observed.as_ref().map(|observed| &observed.value).ok_or_else(lacks)
}

#[cfg(test)]
mod tests;
