//! dns-persist-01: nothing is set up. The CA is told to look for a record, and the administrator which one.

use crate::acme::challenge::{ChallengeType, PersistRecord, choose, names_to_prove};
use crate::acme::records::{persist_records, uri_of};
use crate::acme::{AcmeError, Challenge, ChallengeSetup, Journal, Publisher};
use crate::issuance::driver::failure::no_challenge;
use crate::issuance::driver::{Driver, Outcome, authorization, directory, no_account};
use crate::issuance::facts::Refusal;
use crate::log::note;
use crate::model::{Status, TxtRecord};

impl<J: Journal, P: Publisher> Driver<J, P> {
    /// Notes the records that the account needs, if the challenge type may be used and the directory has the CA's names.
    pub(super) fn note_records(&mut self) {
        let wants = self.wanted.challenges.iter().flatten().any(|kind| kind.needs_standing_record());
        let (Some((account, key)), Some(ca), true) = (&self.account, &self.directory, wants) else { return };
        // An error is left to the challenge, which may have other names, or to another type.
        let records = persist_records(ca, (&account.url, key), &self.wanted.identifiers, None).unwrap_or_default();
        let mut records: Vec<TxtRecord> = records.iter().map(PersistRecord::txt).collect();
        // Any record of a name suffices.
        records.dedup_by(|later, first| later.name == first.name);
        if !records.is_empty() {
            self.journal.needs_records(&records);
            self.records = records;
        }
    }

    fn note_record(&mut self, record: &TxtRecord) {
        match self.records.iter_mut().find(|known| known.name == record.name) {
            Some(known) => known.clone_from(record),
            None => self.records.push(record.clone()),
        }
        self.journal.needs_records(&self.records);
    }

    /// Takes the record of the challenge for granted. If no record is possible, the next type is tried.
    pub(super) fn rely_on_record(&mut self, index: usize, kind: ChallengeType) -> Result<Outcome, AcmeError> {
        let authz = authorization(&self.facts.authorizations[index])?;
        let (_, challenge) = choose([kind], &authz.challenges).ok_or_else(|| no_challenge(&self.wanted, authz))?;
        let lacks =
            || AcmeError::Lacks { url: self.facts.authorizations[index].url.clone(), what: "a name of the order" };
        let name = self.ordered_name(&authz.identifier.value).ok_or_else(lacks)?;
        match self.record_for(challenge, &name) {
            Ok(record) => {
                self.note_record(&record);
                let facts = &mut self.facts.authorizations[index];
                (facts.set_up, facts.record) = (Some(ChallengeSetup { kind, name, txt: None }), Some(record));
            }
            Err(err) => {
                note!(Info, err.status(); "{}: '{kind}' cannot be used for {name}: {err}", self.wanted.name);
                let refusal = Refusal { kind, status: Status::INVALID, text: err.to_string() };
                self.facts.authorizations[index].refused.push(refusal);
            }
        }
        Ok(Outcome::Continue)
    }

    fn record_for(&self, challenge: &Challenge, name: &str) -> Result<TxtRecord, AcmeError> {
        let ca = directory(&self.directory)?;
        let (account, key) = self.account.as_ref().ok_or_else(no_account)?;
        let issuers = challenge.issuer_names()?;
        let account_uri = challenge.account_uri()?;
        // The administrator may have used an issuer name of the directory.
        let known = ca.issuers().iter().find(|name| issuers.contains(name));
        let issuer = known.or(issuers.first()).cloned().unwrap_or_default();
        let account_uri = account_uri.map_or_else(|| uri_of(ca, name, (&account.url, key)), Ok)?;
        // A record of a name above the ordered ones must count for names below it.
        let names = names_to_prove(&self.wanted.identifiers);
        let wildcard = names.iter().find(|(own, _)| own == name).is_none_or(|(_, below)| *below);
        Ok(PersistRecord { domain: name.to_owned(), issuer, account_uri, wildcard, until: None }.txt())
    }
}
