//! The certificate: its key, the CSR, and the download (RFC 8555 sections 7.4 and 7.4.2).

use crate::acme::session::json;
use crate::acme::{AcmeError, ChallengeSetup, Journal, OrderRecord, Publisher};
use crate::crypto::{Chain, KeyRef, PrivateKey, base64url, csr_der};
use crate::http::{RequestKind, Response};
use crate::issuance::driver::{Driver, directory, no_account};
use crate::log::note;
use crate::model::Identifier;

impl<J: Journal, P: Publisher> Driver<J, P> {
    pub(super) fn finalize(&mut self) -> Result<(), AcmeError> {
        if self.facts.not_ready.is_none() {
            self.journal.progress("Sending the CSR");
        }
        let key = self.certificate_key()?;
        let csr = csr_der(&key, &self.wanted.identifiers, self.common_name(), self.wanted.must_staple)?;
        let url = self.facts.record.finalize.clone().unwrap_or_default();
        let ca = directory(&self.directory)?;
        let (account, key) = self.account.as_ref().ok_or_else(no_account)?;
        let payload = serde_json::json!({ "csr": base64url(&csr) });
        let response =
            match self.session.about(RequestKind::Finalize).post(ca, &url, key, KeyRef::Kid(&account.url), &payload) {
                Err(err) if err.is_order_not_ready() => {
                    note!(Debug, err.status(); "{}: the CSR is sent again later: {err}", self.wanted.name);
                    self.facts.observe_not_ready(err.retry_after(), self.clock.now());
                    return Ok(());
                }
                answered => answered?,
            };
        self.facts.finalized = true;
        self.facts.observe_retry_after(self.session.retry_after(&response));
        self.facts.start_poll(self.clock.now());
        self.take_over_order(json(&url, &response)?)
    }

    /// Returns the common name: the first name, if it is short enough and neither addresses nor the profile forbid it.
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

    pub(super) fn certificate_key(&mut self) -> Result<PrivateKey, AcmeError> {
        let spec = &self.wanted.keys[self.current];
        if let Some(key) = self.journal.key(spec) {
            return Ok(key);
        }
        let key = PrivateKey::generate(spec)?;
        self.journal.save_key(spec, &key)?;
        Ok(key)
    }

    pub(super) fn download(&mut self, url: &str) -> Result<(), AcmeError> {
        self.journal.progress("Downloading the certificate");
        match self.take_certificate(url) {
            Ok(()) => self.facts.chain = true,
            // The order of an earlier run cannot be used, neither now nor in the next run.
            Err(err) if !self.facts.ordered_now && err.is_useless_certificate() => self.facts.order_gone = true,
            Err(err @ (AcmeError::WrongKey | AcmeError::KeyLost(_) | AcmeError::Unfit(_) | AcmeError::Port(_))) => {
                // Set-ups by commands stay in the journal until they are taken away.
                self.withdraw_each(|token| !ChallengeSetup::is_of_command(token))?;
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
        let (chain, alternates) = self.read_chain(url)?;
        let spec = &self.wanted.keys[self.current];
        let key = self.journal.key(spec).ok_or_else(|| AcmeError::KeyLost(spec.json_name().to_owned()))?;
        if !key.fits(chain.leaf()) {
            return Err(AcmeError::WrongKey);
        }
        if self.save_preferred(url, &key, &chain, &alternates)? {
            return Ok(());
        }
        Ok(self.journal.save_chain(&self.wanted.keys[self.current], &chain)?)
    }

    /// Reads a chain, whatever the content type, and the links to alternate chains. The issuers of a single certificate are
    /// read from its `up` links.
    pub(super) fn read_chain(&mut self, url: &str) -> Result<(Chain, Vec<String>), AcmeError> {
        let (mut chain, response) = self.read_certificates(url)?;
        let mut issuer = issuer_url(url, &response);
        let alternates = linked(url, &response, "alternate").collect();
        if chain.certificates().len() > 1 {
            return Ok((chain, alternates));
        }
        while let Some(url) = issuer.filter(|_| chain.certificates().len() < Chain::MOST) {
            let (more, response) = match self.read_certificates(&url) {
                // Some CAs end a chain with a list of certificates, which is not used.
                Err(AcmeError::Certificate { .. }) => break,
                read => read?,
            };
            if more.certificates().iter().any(|certificate| chain.certificates().contains(certificate)) {
                break;
            }
            issuer = issuer_url(&url, &response);
            chain = chain.extended(more);
            chain.check_length().map_err(|source| AcmeError::Certificate { url, source })?;
        }
        Ok((chain, alternates))
    }

    /// Certificates, and the answer that had them.
    fn read_certificates(&mut self, url: &str) -> Result<(Chain, Response), AcmeError> {
        let ca = directory(&self.directory)?;
        let (account, key) = self.account.as_ref().ok_or_else(no_account)?;
        let response = self.session.about(RequestKind::Certificate).read(ca, url, key, &account.url)?;
        let unusable = |source| AcmeError::Certificate { url: url.to_owned(), source };
        let chain = Chain::from_der_or_pem(&response.body).map_err(unusable)?;
        chain.check_length().map_err(unusable)?;
        Ok((chain, response))
    }
}

/// Returns the target of the `up` link of an answer (RFC 8288).
pub(super) fn issuer_url(url: &str, response: &Response) -> Option<String> {
    linked(url, response, "up").next()
}

/// Returns the targets of the links with this relation (RFC 8288).
pub(super) fn linked(url: &str, response: &Response, relation: &str) -> impl Iterator<Item = String> {
    let is_it = |parameter: &str| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel") && relations.any(|own| own.eq_ignore_ascii_case(relation))
    };
    let base = url::Url::parse(url).ok();
    let links = response.headers_named("Link").flat_map(|value| value.split('<').skip(1));
    let links = links.filter_map(|link| link.split_once('>'));
    let targets = links.filter(move |(_, parameters)| parameters.split([';', ',']).any(is_it));
    targets.filter_map(move |(target, _)| Some(base.as_ref()?.join(target).ok()?.into()))
}
