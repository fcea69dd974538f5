//! Takes the steps that [`next`] decides on, one request or command each, until there is a certificate or no way on.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::account::{Account, NewAccount};
use super::challenge::{choose, key_authorization, txt_value};
use super::error::offer;
use super::facts::{AuthorizationFacts, Refusal, Said};
use super::next::Failure;
use super::order::NewOrder;
use super::session::{empty_object, json, location};
use super::{
    AccountBook, AccountRecord, AccountScope, AccountStatus, AcmeError, Authorization, ChallengeType, Directory, Facts,
    Journal, Order, OrderRecord, PortError, Publisher, Session, SetUp, Step, next,
};
use crate::clock::Clock;
use crate::crypto::{Chain, KeyRef, PrivateKey, base64url, base64url_decode, csr_der, sign_eab};
use crate::http::{HttpClient, Response};
use crate::log::{note, report};
use crate::model::{Eab, Identifier, KeySpec, Problem, Status};

/// What a renewal is to bring.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Name of the domain, for messages.
    pub name: String,
    /// What the certificates are to be for, in order.
    pub identifiers: Vec<Identifier>,
    /// The types of key; a certificate each.
    pub keys: Vec<KeySpec>,
    /// Whether certificates ask for stapling (RFC 7633).
    pub must_staple: bool,
    /// The profile to order by (ACME profiles extension), as configured.
    pub profile: Option<Arc<str>>,
    /// Whether there may be no order without the profile.
    pub profile_mandatory: bool,
    /// The certificates that the new ones take the place of, where the CA shall know of it.
    pub replaces: Option<Replaces>,
    /// The CA, and the external account if any.
    pub scope: AccountScope,
    /// Contact URIs for a new account.
    pub contacts: Vec<String>,
    /// The agreement to the CA's terms, as configured.
    pub agreement: Option<String>,
    /// Challenge types that may be used, most wanted first; or why there is none.
    pub challenges: Result<Vec<ChallengeType>, String>,
    /// There can be one TXT record for a name at a time: the command that takes one away takes all.
    pub one_txt: bool,
}

/// Certificates that are replaced (RFC 9773 section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// URL of the account that they were issued to.
    pub account_url: String,
    /// Their identifiers (RFC 9773 section 4.1), by type of key.
    pub certificates: Vec<(KeySpec, String)>,
}

/// What is left to do after some steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Call again, at once.
    Continue,
    /// Call again, not before this moment.
    Wait(Timestamp),
    /// All certificates are in the journal, and nothing is left set up.
    Done,
}

/// One run of a domain's renewal.
pub struct Driver<J, P> {
    wanted: Wanted,
    journal: J,
    publisher: P,
    accounts: Arc<dyn AccountBook>,
    clock: Arc<dyn Clock>,
    session: Session,
    directory: Option<Directory>,
    account: Option<(AccountRecord, PrivateKey)>,
    /// The key type that is worked on, by index.
    current: usize,
    facts: Facts,
    refused_nonces: u32,
    /// The CA does not have the profile, so that this run orders without.
    without_profile: bool,
    /// The CA does not take the order of the present key type as a replacement.
    without_replaces: bool,
    /// The run has failed for this reason, and takes away what its commands have set up.
    failed: Option<AcmeError>,
}

impl<J: Journal, P: Publisher> Driver<J, P> {
    /// Refused nonces in a row that are taken; at the end there is a pause between tries.
    const MAX_REFUSED_NONCES: u32 = 25;
    /// Refused nonces in a row that are answered at once.
    const IMMEDIATE_RETRIES: u32 = 3;
    /// How long to wait before it is asked again whether nobody else publishes.
    const BUSY: SignedDuration = SignedDuration::from_millis(250);
    /// Longest first name that becomes the common name (RFC 5280, ub-common-name).
    const MAX_COMMON_NAME: usize = 64;
    /// Profiles whose certificates have no common name.
    const NAMELESS_PROFILES: [&str; 2] = ["tlsserver", "shortlived"];
    /// Certificates that a chain can have.
    const LONGEST_CHAIN: usize = 10;

    /// A run that goes on where the journal ends.
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
        let session = Session::new(http, Arc::clone(&clock));
        let mut driver = Self {
            wanted,
            journal,
            publisher,
            accounts,
            clock,
            session,
            directory: None,
            account: None,
            current: 0,
            facts,
            refused_nonces: 0,
            without_profile: false,
            without_replaces: false,
            failed: None,
        };
        driver.look();
        driver
    }

    /// The journal, to close it.
    pub fn journal(&mut self) -> &mut J {
        &mut self.journal
    }

    /// Takes one step.
    ///
    /// # Errors
    /// If the run is over without all certificates. What is in the journal serves the next run.
    pub fn step(&mut self) -> Result<Outcome, AcmeError> {
        if let Some(error) = self.failed.take() {
            return self.fail(error);
        }
        let result = match self.take(next(&self.facts, self.clock.now())) {
            Err(AcmeError::BadNonce) => self.nonce_refused(),
            result => {
                self.refused_nonces = 0;
                result
            }
        };
        result.or_else(|error| self.fail(error))
    }

    /// Ends the run. What commands have set up does not stay until another one, which may be days away; files do, as the
    /// CA may still look.
    fn fail(&mut self, error: AcmeError) -> Result<Outcome, AcmeError> {
        if error.is_cancelled() {
            return Err(error);
        }
        match self.withdraw_each(SetUp::is_of_command) {
            Ok(false) => {
                self.failed = Some(error);
                Ok(self.busy())
            }
            // That the store fails too is no news.
            Ok(true) | Err(_) => Err(error),
        }
    }

    fn busy(&self) -> Outcome {
        Outcome::Wait(self.clock.now() + Self::BUSY)
    }

    fn take(&mut self, step: Step) -> Result<Outcome, AcmeError> {
        match step {
            Step::Directory => self.read_directory()?,
            Step::Register => return self.find_or_register(),
            Step::NewOrder => self.new_order()?,
            Step::RefreshOrder => self.refresh_order()?,
            Step::Refresh(index) => self.refresh(index)?,
            Step::SetUp(index, kind) => return self.set_up(index, kind),
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
                self.current += 1;
                self.without_replaces = false;
                self.look();
            }
            Step::Done => return Ok(Outcome::Done),
            Step::GiveUp(failure) => return Err(self.give_up(&failure)),
        }
        Ok(Outcome::Continue)
    }

    /// Gathers the facts about the present key type from the journal; those about the CA stay. An order is for the
    /// first type without a certificate; if it is not, its certificate turns out to be for another key.
    fn look(&mut self) {
        let (record, challenges) = (self.journal.order(), self.wanted.challenges.clone().unwrap_or_default());
        while record.url.is_some() && self.current + 1 < self.wanted.keys.len() && self.has_chain() {
            self.current += 1;
        }
        let facts = Facts::new(self.has_chain(), record, challenges, self.clock.now());
        let one_txt = self.wanted.one_txt;
        self.facts = Facts { directory: self.directory.is_some(), account: self.account.is_some(), one_txt, ..facts };
    }

    fn has_chain(&self) -> bool {
        self.wanted.keys.get(self.current).is_none_or(|spec| self.journal.has_chain(spec))
    }

    fn nonce_refused(&mut self) -> Result<Outcome, AcmeError> {
        self.refused_nonces += 1;
        if self.refused_nonces > Self::MAX_REFUSED_NONCES {
            return Err(AcmeError::BadNonce);
        }
        let Some(pauses) = self.refused_nonces.checked_sub(Self::IMMEDIATE_RETRIES) else {
            return Ok(Outcome::Continue);
        };
        let pause = SignedDuration::from_millis(50 << pauses.min(4));
        Ok(Outcome::Wait(self.clock.now() + pause))
    }

    fn read_directory(&mut self) -> Result<(), AcmeError> {
        if let Err(reason) = &self.wanted.challenges {
            return Err(AcmeError::NoSuitableChallenge(reason.clone()));
        }
        self.journal.progress("Contacting ACME server");
        self.directory = Some(self.session.directory(&self.wanted.scope.ca_url)?);
        self.facts.directory = true;
        Ok(())
    }

    /// Registers only under a claim, and only when still nothing is found: whoever had the claim before may have
    /// registered. Finding and checking need none, or all domains of a CA would wait for each other.
    fn find_or_register(&mut self) -> Result<Outcome, AcmeError> {
        if let Some((account, key)) = self.accounts.find(&self.wanted.scope) {
            self.check(account, key)?;
            return Ok(Outcome::Continue);
        }
        let Some(_claim) = self.accounts.claim(&self.wanted.scope) else {
            return Ok(Outcome::Wait(self.clock.now() + SignedDuration::from_millis(50)));
        };
        if self.accounts.find(&self.wanted.scope).is_none() {
            self.register()?;
        }
        Ok(Outcome::Continue)
    }

    /// Asks the CA whether it takes the account. One that it does not take is forgotten, so that it is not found again.
    fn check(&mut self, account: AccountRecord, key: PrivateKey) -> Result<(), AcmeError> {
        self.journal.progress("Checking the account at the CA");
        match self.session.read(directory(&self.directory)?, &account.url, &key, &account.url) {
            Ok(response) if json::<Account>(&account.url, &response)?.is_valid() => {
                self.account = Some((account, key));
                self.facts.account = true;
            }
            Ok(_) => self.accounts.forget(&account)?,
            Err(err) if err.is_account_lost() => {
                note!(Info, err.status(); "the CA no longer takes account {}: {err}; a new one is registered", account.url);
                self.accounts.forget(&account)?;
            }
            Err(err) => return Err(err),
        }
        Ok(())
    }

    fn register(&mut self) -> Result<(), AcmeError> {
        let (ca, wanted) = (directory(&self.directory)?, &self.wanted);
        if wanted.contacts.is_empty() {
            return Err(AcmeError::NoContact(wanted.name.clone()));
        }
        if wanted.agreement.is_none() {
            let terms = ca.meta.terms_of_service.clone().unwrap_or_else(|| "none".to_owned());
            return Err(AcmeError::NoAgreement { terms });
        }
        self.journal.progress("Registering a new account at the CA");
        let key = self.accounts.draft_key(&wanted.scope)?;
        let binding = wanted.scope.eab.as_ref().map(|eab| bind(&key, &ca.new_account, eab)).transpose()?;
        let payload = NewAccount {
            contact: &wanted.contacts,
            terms_of_service_agreed: ca.meta.terms_of_service.is_some(),
            external_account_binding: binding,
        };
        let response = self.session.post(ca, &ca.new_account, &key, KeyRef::Jwk, &payload)?;
        let url = location(&ca.new_account, &response)?;
        let said: Account = json(&url, &response)?;
        let record = AccountRecord {
            status: said.status.or(Some(AccountStatus::Valid)),
            url,
            ca_url: wanted.scope.ca_url.clone(),
            contact: said.contact,
            registration: json(&ca.new_account, &response).ok(),
            agreement: wanted.agreement.clone(),
            orders: said.orders,
            eab: wanted.scope.eab.clone(),
        };
        self.accounts.add(&record, &key)?;
        report!(
            MD0023,
            "registered new account {}: CAA records with accounturi and records for dns-persist-01 have to name it",
            record.url
        );
        self.account = Some((record, key));
        self.facts.account = true;
        Ok(())
    }

    fn new_order(&mut self) -> Result<(), AcmeError> {
        self.journal.progress("Creating new order");
        let profile = self.profile()?;
        let (ca, (account, key)) = (directory(&self.directory)?, self.account.as_ref().ok_or_else(no_account)?);
        let replaces = self.replaced(ca, account);
        let payload = NewOrder {
            identifiers: &self.wanted.identifiers,
            profile: profile.as_deref(),
            replaces: replaces.as_deref(),
        };
        let is_replacement = replaces.is_some();
        let response = match self.session.post(ca, &ca.new_order, key, KeyRef::Kid(&account.url), &payload) {
            Ok(response) => response,
            Err(err) => return self.order_refused(err, profile, is_replacement),
        };
        let url = location(&ca.new_order, &response)?;
        let order: Order = json(&url, &response)?;
        let now = self.clock.now();
        self.facts.forget_order(now);
        self.facts.ordered_now = true;
        self.facts.record.url = Some(url);
        self.facts.hear_order(order, now);
        self.journal.save_order(&self.facts.record)?;
        Ok(())
    }

    /// The profile to order by, as the CA spells it.
    fn profile(&mut self) -> Result<Option<String>, AcmeError> {
        let Some(wanted) = self.wanted.profile.as_deref().filter(|_| !self.without_profile) else { return Ok(None) };
        let offered = &directory(&self.directory)?.meta.profiles;
        if let Some(name) = offered.iter().find(|name| name.eq_ignore_ascii_case(wanted)) {
            return Ok(Some(name.clone()));
        }
        if self.wanted.profile_mandatory {
            return Err(AcmeError::ProfileNotOffered { profile: wanted.to_owned(), offered: offered.clone() });
        }
        let name = &self.wanted.name;
        report!(
            MD0020,
            "{name}: the CA does not offer the profile '{wanted}', but {}; the order goes without",
            offer(offered)
        );
        self.without_profile = true;
        Ok(None)
    }

    /// The certificate that the present order replaces. Only the account that has it may say so, and only to a CA that
    /// knows of this.
    fn replaced(&self, ca: &Directory, account: &AccountRecord) -> Option<String> {
        let replaces = self.wanted.replaces.as_ref().filter(|replaces| replaces.account_url == account.url)?;
        let spec =
            self.wanted.keys.get(self.current).filter(|_| ca.renewal_info.is_some() && !self.without_replaces)?;
        replaces.certificates.iter().find(|(own, _)| own == spec).map(|(_, id)| id.clone())
    }

    /// What an order can do without is left out of the next, which is made at once.
    fn order_refused(&mut self, err: AcmeError, profile: Option<String>, replaces: bool) -> Result<(), AcmeError> {
        match (err, profile) {
            (AcmeError::Problem { problem, .. }, Some(profile)) if problem.is("invalidProfile") => {
                if self.wanted.profile_mandatory {
                    return Err(AcmeError::ProfileRefused { profile, problem });
                }
                let (name, why) = (&self.wanted.name, &problem.detail);
                report!(
                    MD0020,
                    "{name}: the CA refuses to order by the profile '{profile}': {why}; the order goes without"
                );
                self.without_profile = true;
            }
            (err, _) if replaces && err.is_refusal() => {
                let name = &self.wanted.name;
                note!(Info, err.status(); "{name}: the CA refuses an order that replaces a certificate: {err}; the next goes without");
                self.without_replaces = true;
            }
            (err, _) => return Err(err),
        }
        Ok(())
    }

    fn refresh_order(&mut self) -> Result<(), AcmeError> {
        let url = self.facts.record.url.clone().unwrap_or_default();
        match self.read::<Order>(&url) {
            Ok(order) => self.heard_order(order),
            Err(err) if err.is_gone() && !self.facts.ordered_now => {
                self.facts.order_gone = true;
                Ok(())
            }
            Err(err) => Err(err),
        }
    }

    fn heard_order(&mut self, order: Order) -> Result<(), AcmeError> {
        let before = self.facts.record.status;
        self.facts.hear_order(order, self.clock.now());
        if self.facts.record.status == before { Ok(()) } else { Ok(self.journal.save_order(&self.facts.record)?) }
    }

    fn refresh(&mut self, index: usize) -> Result<(), AcmeError> {
        let url = self.facts.authorizations[index].url.clone();
        let value = match self.read::<Authorization>(&url) {
            Ok(value) => value,
            Err(err) if err.is_gone() && !self.facts.ordered_now => {
                self.facts.order_gone = true;
                return Ok(());
            }
            Err(err) => return Err(err),
        };
        self.facts.authorizations[index].said = Some(Said { value, at: self.clock.now() });
        Ok(())
    }

    fn set_up(&mut self, index: usize, kind: ChallengeType) -> Result<Outcome, AcmeError> {
        let (_, key) = self.account.as_ref().ok_or_else(no_account)?;
        let authz = authorization(&self.facts.authorizations[index])?;
        let (_, challenge) = choose([kind], &authz.challenges).ok_or_else(|| no_challenge(&self.wanted, authz))?;
        let value = key_authorization(&challenge.token, key)?;
        let txt = (kind == ChallengeType::Dns01).then(|| txt_value(&value)).transpose()?;
        let name = authz.identifier.value.trim_start_matches("*.").to_owned();
        let set_up = SetUp { kind, name, txt };
        match self.publisher.reserve(&set_up) {
            Ok(true) => {}
            Ok(false) => return Ok(self.busy()),
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

    /// The next type is tried.
    fn refuse(&mut self, index: usize, set_up: &SetUp, reason: &PortError) {
        let SetUp { kind, name, .. } = set_up;
        note!(Info, reason.status; "{}: '{kind}' cannot be set up for {name}: {reason}", self.wanted.name);
        let refusal = Refusal { kind: *kind, status: reason.status, text: reason.text.clone() };
        self.facts.authorizations[index].refused.push(refusal);
    }

    fn answer(&mut self, index: usize, kind: ChallengeType) -> Result<(), AcmeError> {
        let authz = authorization(&self.facts.authorizations[index])?;
        let (_, challenge) = choose([kind], &authz.challenges).ok_or_else(|| no_challenge(&self.wanted, authz))?;
        let (ca, (account, key)) = (directory(&self.directory)?, self.account.as_ref().ok_or_else(no_account)?);
        let response = self.session.post(ca, &challenge.url, key, KeyRef::Kid(&account.url), &empty_object())?;
        self.journal.progress(&format!("Waiting for the CA to look at '{kind}' of domain {}", authz.identifier.value));
        self.facts.authorizations[index].answered = true;
        self.facts.hear_floor(self.session.retry_after(&response));
        self.facts.start_poll(self.clock.now());
        Ok(())
    }

    fn finalize(&mut self) -> Result<(), AcmeError> {
        self.journal.progress("Sending the CSR");
        let key = self.certificate_key()?;
        let csr = csr_der(&key, &self.wanted.identifiers, self.common_name(), self.wanted.must_staple)?;
        let url = self.facts.record.finalize.clone().unwrap_or_default();
        let (ca, (account, key)) = (directory(&self.directory)?, self.account.as_ref().ok_or_else(no_account)?);
        let payload = serde_json::json!({ "csr": base64url(&csr) });
        let response = self.session.post(ca, &url, key, KeyRef::Kid(&account.url), &payload)?;
        self.facts.finalized = true;
        self.facts.hear_floor(self.session.retry_after(&response));
        self.facts.start_poll(self.clock.now());
        self.heard_order(json(&url, &response)?)
    }

    /// The first name, where it is short enough and neither addresses nor the profile forbid it.
    fn common_name(&self) -> Option<&str> {
        let is_nameless = |profile: &str| Self::NAMELESS_PROFILES.iter().any(|own| own.eq_ignore_ascii_case(profile));
        let names = &self.wanted.identifiers;
        match names.first()? {
            _ if names.iter().any(|name| matches!(name, Identifier::Ip(_))) => None,
            _ if self.wanted.profile.as_deref().is_some_and(is_nameless) => None,
            Identifier::Dns(name) => Some(name.as_str()).filter(|name| name.len() < Self::MAX_COMMON_NAME),
            Identifier::Ip(_) => None,
        }
    }

    fn certificate_key(&mut self) -> Result<PrivateKey, AcmeError> {
        let spec = &self.wanted.keys[self.current];
        if let Some(key) = self.journal.key(spec) {
            return Ok(key);
        }
        let key = PrivateKey::generate(spec)?;
        self.journal.save_key(spec, &key)?;
        Ok(key)
    }

    fn download(&mut self, url: &str) -> Result<(), AcmeError> {
        self.journal.progress("Downloading the certificate");
        match self.take_certificate(url) {
            Ok(()) => self.facts.chain = true,
            // What an earlier run has left is of no use, and would not be in the next run either.
            Err(err) if !self.facts.ordered_now && err.is_useless_certificate() => self.facts.order_gone = true,
            Err(err @ (AcmeError::WrongKey | AcmeError::KeyLost(_) | AcmeError::Unfit(_) | AcmeError::Port(_))) => {
                // Only what commands have set up stays, for as long as it takes to take it away.
                self.withdraw_each(|token| !SetUp::is_of_command(token))?;
                self.facts.record = OrderRecord {
                    challenge_setups: self.facts.record.challenge_setups.clone(),
                    ..OrderRecord::default()
                };
                self.journal.save_order(&self.facts.record)?;
                return Err(err);
            }
            Err(err) => return Err(err),
        }
        Ok(())
    }

    fn take_certificate(&mut self, url: &str) -> Result<(), AcmeError> {
        let chain = self.read_chain(url)?;
        let spec = &self.wanted.keys[self.current];
        let key = self.journal.key(spec).ok_or_else(|| AcmeError::KeyLost(spec.json_name().to_owned()))?;
        if !key.fits(chain.leaf()) {
            return Err(AcmeError::WrongKey);
        }
        Ok(self.journal.save_chain(spec, &chain)?)
    }

    /// Reads a chain, of whatever type it says to be. Issuers of a single certificate are where its links lead.
    fn read_chain(&mut self, url: &str) -> Result<Chain, AcmeError> {
        let (mut chain, mut issuer) = self.read_certificates(url)?;
        if chain.certificates().len() > 1 {
            return Ok(chain);
        }
        while let Some(url) = issuer.filter(|_| chain.certificates().len() < Self::LONGEST_CHAIN) {
            let (more, next) = match self.read_certificates(&url) {
                // The end of a chain can be told by a list of certificates, which there is no use for.
                Err(AcmeError::Certificate { .. }) => break,
                read => read?,
            };
            if more.certificates().iter().any(|certificate| chain.certificates().contains(certificate)) {
                break;
            }
            (chain, issuer) = (chain.extended(more), next);
        }
        Ok(chain)
    }

    /// Certificates, and the URL of those that issued them.
    fn read_certificates(&mut self, url: &str) -> Result<(Chain, Option<String>), AcmeError> {
        let (ca, (account, key)) = (directory(&self.directory)?, self.account.as_ref().ok_or_else(no_account)?);
        let response = self.session.read(ca, url, key, &account.url)?;
        let chain = Chain::from_der_or_pem(&response.body)
            .map_err(|source| AcmeError::Certificate { url: url.to_owned(), source })?;
        Ok((chain, issuer_url(url, &response)))
    }

    /// All set-ups. With the last one the order goes too if it has come to its end.
    fn tear_down(&mut self) -> Result<Outcome, AcmeError> {
        if !self.withdraw_each(|_| true)? {
            return Ok(self.busy());
        }
        if self.facts.chain {
            self.facts.record = OrderRecord::default();
            self.journal.save_order(&self.facts.record)?;
        }
        Ok(Outcome::Continue)
    }

    fn clean_up(&mut self) -> Result<Outcome, AcmeError> {
        if !self.withdraw_each(SetUp::is_of_command)? {
            return Ok(self.busy());
        }
        self.facts.left_over = false;
        Ok(Outcome::Continue)
    }

    fn withdraw(&mut self, index: usize) -> Result<Outcome, AcmeError> {
        let token = self.facts.authorizations[index].set_up.as_ref().map(ToString::to_string).unwrap_or_default();
        if !self.withdraw_each(|other| other == token)? {
            return Ok(self.busy());
        }
        self.facts.authorizations[index].set_up = None;
        Ok(Outcome::Continue)
    }

    /// Takes away the set-ups that `which` accepts, the latest first; `false` if not all can be now. Each is taken away
    /// once: it leaves the journal with it.
    fn withdraw_each(&mut self, which: impl Fn(&str) -> bool) -> Result<bool, AcmeError> {
        while let Some(at) = self.facts.record.challenge_setups.iter().rposition(|token| which(token)) {
            if let Some(set_up) = SetUp::parse(&self.facts.record.challenge_setups[at]) {
                if !self.publisher.withdraw(&set_up)? {
                    return Ok(false);
                }
                self.journal.challenge_taken_away(&set_up)?;
            }
            self.facts.record.challenge_setups.remove(at);
            self.journal.save_order(&self.facts.record)?;
        }
        Ok(true)
    }

    /// Turns the failure into words. An order that failed for good is forgotten.
    fn give_up(&mut self, failure: &Failure) -> AcmeError {
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
        let order = self.facts.order.as_ref().map(|said| &said.value);
        match failure {
            Failure::Authorization(index) => {
                let authz = authorization(&self.facts.authorizations[*index]);
                let (name, problem) =
                    authz.map_or((String::new(), None), |a| (a.identifier.value.clone(), a.problem()));
                AcmeError::ChallengeFailed { name, problem: problem.cloned().unwrap_or_else(unexplained) }
            }
            Failure::NoChallenge(index) => match authorization(&self.facts.authorizations[*index]) {
                Ok(authz) => self.describe_no_challenge(authz, &self.facts.authorizations[*index].refused),
                Err(err) => err,
            },
            Failure::Order => match order.and_then(|order| order.error.clone()) {
                Some(problem) => AcmeError::Problem { problem, retry_after: None },
                None => AcmeError::OrderInvalid { url },
            },
            Failure::TimedOut(what) => AcmeError::TimedOut { what },
            Failure::Postponed(what, retry_after) => AcmeError::Postponed { what, retry_after: *retry_after },
            Failure::NoCertificateUrl => AcmeError::Lacks { url, what: "the URL of the certificate" },
            Failure::NoFinalizeUrl => AcmeError::Lacks { url, what: "the URL to finalize at" },
        }
    }

    /// What became of the last of the wanted types decides what it is called; what could not be set up is said anyway.
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

    /// Reads a resource of the account and remembers when the CA wants to be asked again.
    fn read<T: serde::de::DeserializeOwned>(&mut self, url: &str) -> Result<T, AcmeError> {
        let (ca, (account, key)) = (directory(&self.directory)?, self.account.as_ref().ok_or_else(no_account)?);
        let response = self.session.read(ca, url, key, &account.url)?;
        self.facts.hear_floor(self.session.retry_after(&response));
        json(url, &response)
    }
}

fn directory(directory: &Option<Directory>) -> Result<&Directory, AcmeError> {
    directory.as_ref().ok_or(AcmeError::Lacks { url: String::new(), what: "a directory" })
}

/// The binding of an account key to an external account (RFC 8555 section 7.3.4).
fn bind(key: &PrivateKey, url: &str, eab: &Eab) -> Result<Value, AcmeError> {
    let hmac_key = base64url_decode(&eab.hmac).filter(|decoded| !decoded.is_empty()).ok_or(AcmeError::EabKey)?;
    Ok(sign_eab(key, url, &eab.kid, &hmac_key)?)
}

fn no_account() -> AcmeError {
    AcmeError::Lacks { url: String::new(), what: "an account" }
}

fn authorization(facts: &AuthorizationFacts) -> Result<&Authorization, AcmeError> {
    let lacks = || AcmeError::Lacks { url: facts.url.clone(), what: "an authorization" };
    facts.said.as_ref().map(|said| &said.value).ok_or_else(lacks)
}

fn no_challenge(wanted: &Wanted, authz: &Authorization) -> AcmeError {
    AcmeError::NoChallenge {
        name: authz.identifier.value.clone(),
        offered: authz.challenges.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>().join(" "),
        wanted: wanted.challenges.iter().flatten().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" "),
        reasons: String::new(),
    }
}

/// Where the `up` link of an answer leads (RFC 8288).
fn issuer_url(url: &str, response: &Response) -> Option<String> {
    let is_up = |parameter: &str| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("up"))
    };
    let links = response.headers_named("Link").flat_map(|value| value.split('<').skip(1));
    let mut links = links.filter_map(|link| link.split_once('>'));
    let (target, _) = links.find(|(_, parameters)| parameters.split([';', ',']).any(is_up))?;
    Some(url::Url::parse(url).ok()?.join(target).ok()?.into())
}

fn unexplained() -> Problem {
    Problem { detail: "the CA does not say why".to_owned(), ..Problem::default() }
}

#[cfg(test)]
mod tests;
