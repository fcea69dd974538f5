//! The account of a domain: found, confirmed, or registered (RFC 8555 section 7.3).

use jiff::SignedDuration;

use crate::acme::session::json;
use crate::acme::{Account, AccountRecord, AcmeError, Applicant, Journal, Publisher, log_registered};
use crate::crypto::PrivateKey;
use crate::issuance::driver::{Driver, Outcome, directory};
use crate::log::{note, report};

impl<J: Journal, P: Publisher> Driver<J, P> {
    /// Registers under a claim only, and only if there is still no account: the former holder of the claim may have
    /// registered one. Finding and checking need no claim, or all domains of a CA would wait for each other.
    pub(super) fn find_or_register(&mut self) -> Result<Outcome, AcmeError> {
        if let Some((account, key)) = self.accounts.find(&self.wanted.scope) {
            self.check(account, key)?;
            return Ok(Outcome::Continue);
        }
        let Some(_claim) = self.accounts.claim(&self.wanted.scope)? else {
            // Another renewal is registering the account: use the time to make a key.
            self.certificate_key()?;
            return Ok(Outcome::Wait(self.clock.now() + SignedDuration::from_millis(50)));
        };
        if self.accounts.find(&self.wanted.scope).is_none() {
            self.register()?;
        }
        Ok(Outcome::Continue)
    }

    /// Asks the CA whether it takes the account. An account that it refuses under every key it may have is forgotten, so that
    /// it is not found again.
    fn check(&mut self, account: AccountRecord, key: PrivateKey) -> Result<(), AcmeError> {
        self.journal.progress("Checking the account at the CA");
        match self.is_taken(&account, &key) {
            Ok(true) => self.use_account(account, key),
            Ok(false) => self.accounts.forget(&account)?,
            Err(err) if err.is_account_lost() => self.find_other_key(account, &key, &err)?,
            Err(err) => return Err(err),
        }
        Ok(())
    }

    fn find_other_key(
        &mut self,
        account: AccountRecord,
        refused: &PrivateKey,
        why: &AcmeError,
    ) -> Result<(), AcmeError> {
        for key in self.accounts.other_keys(&account, refused) {
            match self.is_taken(&account, &key) {
                Ok(true) => {
                    report!(MD0047, "the key of account {} was changed; the new one is used from now on", account.url);
                    self.accounts.change_key(&account, &key);
                    self.use_account(account, key);
                    return Ok(());
                }
                Err(err) if !err.is_account_lost() => return Err(err),
                Ok(false) | Err(_) => {}
            }
        }
        note!(Info, why.status(); "the CA no longer takes account {}: {why}; a new one is registered", account.url);
        Ok(self.accounts.forget(&account)?)
    }

    fn is_taken(&mut self, account: &AccountRecord, key: &PrivateKey) -> Result<bool, AcmeError> {
        let response = self.session.read(directory(&self.directory)?, &account.url, key, &account.url)?;
        Ok(json::<Account>(&account.url, &response)?.is_valid())
    }

    fn use_account(&mut self, account: AccountRecord, key: PrivateKey) {
        self.account = Some((account, key));
        self.facts.account = true;
    }

    fn register(&mut self) -> Result<(), AcmeError> {
        let ca = directory(&self.directory)?;
        let wanted = &self.wanted;
        let applicant = Applicant {
            name: &wanted.name,
            scope: &wanted.scope,
            contacts: &wanted.contacts,
            agreement: wanted.agreement.as_deref(),
        };
        applicant.check(ca)?;
        self.journal.progress("Registering a new account at the CA");
        let key = self.accounts.draft_key(&wanted.scope)?;
        let record = applicant.register(&mut self.session, ca, &key)?;
        self.accounts.add(&record, &key)?;
        log_registered(&record);
        self.account = Some((record, key));
        self.facts.account = true;
        Ok(())
    }
}
