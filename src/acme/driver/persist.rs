//! dns-persist-01: there is nothing to set up. The CA is told to look, and the administrator which record it looks for.

use super::super::challenge::{ChallengeType, PersistRecord, choose, names_to_prove};
use super::super::facts::Refusal;
use super::super::records::{persist_records, uri_of};
use super::super::{AcmeError, Journal, Publisher, SetUp};
use super::failure::no_challenge;
use super::{Driver, Outcome, authorization, directory, no_account};
use crate::log::note;
use crate::model::{Status, TxtRecord};

impl<J: Journal, P: Publisher> Driver<J, P> {
    /// Notes the records that the account needs, where this challenge may be used and the CA has told its names.
    pub(super) fn note_records(&mut self) -> Result<(), AcmeError> {
        let wants = self.wanted.challenges.iter().flatten().any(|kind| *kind == ChallengeType::DnsPersist01);
        let (Some((account, key)), true) = (&self.account, wants) else { return Ok(()) };
        let records =
            persist_records(directory(&self.directory)?, (&account.url, key), &self.wanted.identifiers, None)?;
        let mut records: Vec<TxtRecord> = records.iter().map(PersistRecord::txt).collect();
        // Any of a name will do.
        records.dedup_by(|later, first| later.name == first.name);
        self.records = records;
        self.journal.needs_records(&self.records);
        Ok(())
    }

    fn note_record(&mut self, record: &TxtRecord) {
        match self.records.iter_mut().find(|known| known.name == record.name) {
            Some(known) => known.clone_from(record),
            None => self.records.push(record.clone()),
        }
        self.journal.needs_records(&self.records);
    }

    /// Takes the record for granted that the challenge is about. If the challenge is malformed, the next type is tried.
    pub(super) fn rely_on_record(&mut self, index: usize) -> Result<Outcome, AcmeError> {
        let kind = ChallengeType::DnsPersist01;
        let authz = authorization(&self.facts.authorizations[index])?;
        let (_, challenge) = choose([kind], &authz.challenges).ok_or_else(|| no_challenge(&self.wanted, authz))?;
        let lacks =
            || AcmeError::Lacks { url: self.facts.authorizations[index].url.clone(), what: "a name of the order" };
        let domain = self.ordered_name(&authz.identifier.value).ok_or_else(lacks)?;
        let (ca, (account, key)) = (directory(&self.directory)?, self.account.as_ref().ok_or_else(no_account)?);
        match challenge.issuer_names().and_then(|issuers| Ok((issuers, challenge.account_uri()?))) {
            Ok((issuers, said)) => {
                // The administrator may have used one that the directory has.
                let known = ca.issuers().iter().find(|name| issuers.contains(name));
                let issuer = known.or(issuers.first()).cloned().unwrap_or_default();
                let account_uri = said.map_or_else(|| uri_of(ca, &domain, (&account.url, key)), Ok)?;
                // For a name above those that are ordered it has to be good for names below.
                let names = names_to_prove(&self.wanted.identifiers);
                let wildcard = names.iter().find(|(name, _)| *name == domain).is_none_or(|(_, wildcard)| *wildcard);
                let record = PersistRecord { domain: domain.clone(), issuer, account_uri, wildcard, until: None }.txt();
                self.note_record(&record);
                let facts = &mut self.facts.authorizations[index];
                facts.set_up = Some(SetUp { kind, name: domain, txt: None });
                facts.record = Some(record);
            }
            Err(malformed) => {
                let text = format!("its challenge is malformed, {malformed}");
                note!(Info, Status::INVALID; "{}: '{kind}' cannot be used for {domain}: {text}", self.wanted.name);
                let refusal = Refusal { kind, status: Status::INVALID, text };
                self.facts.authorizations[index].refused.push(refusal);
            }
        }
        Ok(Outcome::Continue)
    }
}
