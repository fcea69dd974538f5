//! Orders: placed, and read again (RFC 8555 section 7.4).

use crate::acme::error::offer;
use crate::acme::session::{json, location};
use crate::acme::{AccountRecord, AcmeError, Directory, Journal, NewOrder, Order, OrderStatus, Publisher};
use crate::crypto::KeyRef;
use crate::http::RequestKind;
use crate::issuance::driver::{Driver, directory, no_account};
use crate::log::{note, report};
use crate::model::Identifier;

impl<J: Journal, P: Publisher> Driver<J, P> {
    pub(super) fn new_order(&mut self) -> Result<(), AcmeError> {
        if self.relies_on_earlier_run() && self.lacks_profile()? {
            self.ask_anew();
            return Ok(());
        }
        self.journal.progress("Creating new order");
        let profile = self.profile()?;
        let ca = directory(&self.directory)?;
        let (account, key) = self.account.as_ref().ok_or_else(no_account)?;
        let replaces = self.replaced(ca, account);
        let payload = NewOrder {
            identifiers: &self.wanted.identifiers,
            profile: profile.as_deref(),
            replaces: replaces.as_deref(),
        };
        let response = match self.session.about(RequestKind::Order).post(
            ca,
            &ca.new_order,
            key,
            KeyRef::Kid(&account.url),
            &payload,
        ) {
            Ok(response) => response,
            Err(err) if self.relies_on_earlier_run() => return Err(err),
            Err(err) => return self.order_refused(err, profile, replaces),
        };
        self.refused_replacement = None;
        let url = location(ca, &ca.new_order, &response)?;
        let order: Order = json(&url, &response)?;
        let now = self.clock.now();
        self.check_authorizations(&url, 0, &order)?;
        self.learn();
        self.facts.forget_order(now);
        self.facts.ordered_now = true;
        self.facts.record.url = Some(url);
        self.facts.observe_order(order, now);
        self.journal.save_order(&self.facts.record)?;
        Ok(())
    }

    /// Whether the directory does not offer the profile that is wanted.
    fn lacks_profile(&self) -> Result<bool, AcmeError> {
        let offered = &directory(&self.directory)?.meta.profiles;
        let wanted = self.wanted.profile.as_deref();
        Ok(wanted.is_some_and(|wanted| !offered.iter().any(|name| name.eq_ignore_ascii_case(wanted))))
    }

    /// Returns the profile to order by, as the CA spells it.
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
            "{name}: the CA does not offer the profile '{wanted}', but {}; ordering without it",
            offer(offered)
        );
        self.without_profile = true;
        Ok(None)
    }

    /// Returns the certificate that the current order replaces. Only the account that has it may say so, and only to a CA with
    /// renewal information.
    fn replaced(&self, ca: &Directory, account: &AccountRecord) -> Option<String> {
        let replaces = self.wanted.replaces.as_ref().filter(|replaces| replaces.account_url == account.url)?;
        let spec = self.wanted.keys.get(self.current).filter(|_| ca.renewal_info.is_some())?;
        let (_, id) = replaces.certificates.iter().find(|(own, _)| own == spec)?;
        self.journal.may_replace(id).then(|| id.clone())
    }

    /// Leaves the refused profile or `replaces` out of the next order, which is made at once; fails if neither was refused. A
    /// refusal that the order without `replaces` meets too was not about that.
    fn order_refused(
        &mut self,
        err: AcmeError,
        profile: Option<String>,
        replaces: Option<String>,
    ) -> Result<(), AcmeError> {
        match (err, profile, replaces) {
            (AcmeError::Problem { problem, .. }, Some(profile), _) if problem.is("invalidProfile") => {
                if self.wanted.profile_mandatory {
                    return Err(AcmeError::ProfileRefused { profile, problem });
                }
                let name = &self.wanted.name;
                let why = &problem.detail;
                report!(MD0020, "{name}: the CA refuses the profile '{profile}': {why}; ordering without it");
                self.without_profile = true;
            }
            (err, _, Some(certificate)) if err.may_be_of_replacement() => {
                let name = &self.wanted.name;
                note!(Info, err.status(); "{name}: the CA refuses an order with 'replaces': {err}; ordering without it");
                self.journal.set_may_replace(&certificate, false);
                self.refused_replacement = Some((certificate, err.to_result().problem));
            }
            (err, ..) => {
                let refused = self.refused_replacement.take();
                if let Some((certificate, _)) = refused.filter(|(_, problem)| *problem == err.to_result().problem) {
                    self.journal.set_may_replace(&certificate, true);
                }
                return Err(self.of_addresses(err));
            }
        }
        Ok(())
    }

    /// Marks the refusal of an order that has addresses: some CAs want a certain profile for those.
    fn of_addresses(&self, mut err: AcmeError) -> AcmeError {
        let is_short = self.wanted.profile.as_deref().is_some_and(|own| own.eq_ignore_ascii_case("shortlived"));
        let has_address = self.wanted.identifiers.iter().any(|name| matches!(name, Identifier::Ip(_)));
        if let AcmeError::Problem { problem, of_address, .. } = &mut err {
            *of_address = has_address && !is_short && problem.may_be_of_address();
        }
        err
    }

    /// Checks that an order has at most as many authorizations as names, with those that the CA listed before: a renewal
    /// follows each, and keeps it.
    fn check_authorizations(&self, url: &str, before: usize, order: &Order) -> Result<(), AcmeError> {
        let names = self.wanted.identifiers.len();
        match before + order.authorizations.len() {
            count if count > names => Err(AcmeError::TooManyAuthorizations { url: url.to_owned(), count, names }),
            _ => Ok(()),
        }
    }

    pub(super) fn refresh_order(&mut self) -> Result<(), AcmeError> {
        let url = self.facts.record.url.clone().unwrap_or_default();
        match self.read::<Order>(RequestKind::Order, &url) {
            Ok(order) => self.take_over_order(order),
            Err(err) if err.is_gone() && !self.facts.ordered_now && !self.relies_on_earlier_run() => {
                self.facts.order_gone = true;
                Ok(())
            }
            Err(err) => Err(err),
        }
    }

    pub(super) fn take_over_order(&mut self, mut order: Order) -> Result<(), AcmeError> {
        if matches!(order.status, OrderStatus::Pending | OrderStatus::Invalid) {
            let is_known = |url: &&String| self.facts.authorizations.iter().any(|known| known.url == **url);
            let others = self.facts.authorizations.len() - order.authorizations.iter().filter(is_known).count();
            let url = self.facts.record.url.clone().unwrap_or_default();
            match self.check_authorizations(&url, others, &order) {
                // The next order may be another.
                Err(_) if !self.facts.ordered_now => {
                    self.facts.order_gone = true;
                    return Ok(());
                }
                checked => checked?,
            }
        } else {
            // No authorization is looked at any more.
            order.authorizations.clone_from(&self.facts.record.authorizations);
        }
        let before = self.facts.record.status;
        self.facts.observe_order(order, self.clock.now());
        if self.facts.record.status == before { Ok(()) } else { Ok(self.journal.save_order(&self.facts.record)?) }
    }
}
