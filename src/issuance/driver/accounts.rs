//! The account of a domain: found, confirmed, or registered (RFC 8555 section 7.3).

use jiff::SignedDuration;

use crate::acme::session::json;
use crate::acme::{
    Account, AccountRecord, AcmeError, Applicant, Journal, Publisher, confirm, log_in_place_of, read_account,
};
use crate::crypto::PrivateKey;
use crate::issuance::driver::{Driver, Outcome, directory};

impl<J: Journal, P: Publisher> Driver<J, P> {
    /// Registers under a claim only, and only if there is still no account: the former holder of the claim may have
    /// registered one. Finding and checking need no claim, or all domains of a CA would wait for each other.
    pub(super) fn find_or_register(&mut self) -> Result<Outcome, AcmeError> {
        if let Some((account, key)) = self.accounts.find(&self.wanted.scope) {
            if self.trusts_earlier_runs && self.known.takes(&account.url) {
                self.is_from_earlier_run = true;
                self.use_account(account, key);
                return Ok(Outcome::Continue);
            }
            self.check(account, key)?;
            return Ok(Outcome::Continue);
        }
        let Some(_claim) = self.accounts.claim(&self.wanted.scope)? else {
            // Another renewal is registering the account: use the time to make a key.
            self.certificate_key()?;
            return Ok(Outcome::Wait(self.clock.now() + SignedDuration::from_millis(50)));
        };
        if self.accounts.find(&self.wanted.scope).is_some() {
            return Ok(Outcome::Continue);
        }
        match self.relies_on_earlier_run() {
            // The CA may have other terms by now.
            true => self.ask_anew(),
            false => self.register()?,
        }
        Ok(Outcome::Continue)
    }

    /// Asks the CA whether it has the account. An account that the CA does not have any more is not found again.
    fn check(&mut self, account: AccountRecord, key: PrivateKey) -> Result<(), AcmeError> {
        self.journal.progress("Checking the account at the CA");
        let ca = directory(&self.directory)?;
        let session = &mut self.session;
        let read = |url: &str, key: &PrivateKey| {
            let response = read_account(session, ca, url, key)?;
            Ok(json::<Account>(url, &response)?.status)
        };
        if let Some((account, key)) = confirm(&*self.accounts, account, key, read)? {
            log_in_place_of(&account, &self.accounts.given_up(&self.wanted.scope));
            self.known.learn_account(&account.url);
            self.use_account(account, key);
        }
        Ok(())
    }

    fn use_account(&mut self, account: AccountRecord, key: PrivateKey) {
        self.account = Some((account, key));
        self.facts.account = true;
    }

    fn register(&mut self) -> Result<(), AcmeError> {
        let ca = directory(&self.directory)?;
        let wanted = &self.wanted;
        let applicant = Applicant {
            scope: &wanted.scope,
            contacts: &wanted.contacts,
            contact_source: &wanted.contact_source,
            agreement: wanted.agreement.as_deref(),
        };
        applicant.check(ca)?;
        self.journal.progress("Registering a new account at the CA");
        let session = &mut self.session;
        let (account, key) = applicant.register_in(&*self.accounts, |key| applicant.register(session, ca, key))?;
        self.known.learn_account(&account.url);
        self.use_account(account, key);
        Ok(())
    }
}
