//! Suggestions of CAs when to renew (RFC 9773): `staging/<md>/ari.json`.
//!
//! The file alone is no renewal: it neither says that one is under way nor that one is needed before its time.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::acme::{AriError, RenewalInfo};
use crate::crypto::Summary;
use crate::documents::Documents;
use crate::log::report;
use crate::model::ManagedDomain;
use crate::model::time::{exact, format_gmt, gmt};
use crate::store::{Aspect, Group};

/// How long an answer counts in any case.
const RECENT: SignedDuration = SignedDuration::from_mins(1);

/// `ari.json`: what is suggested for the certificates of a domain.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Advice {
    /// When the CA was asked.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub asked: Option<Timestamp>,
    /// When to ask it again.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub next_check: Option<Timestamp>,
    /// By the identifiers of certificates (RFC 9773 section 4.1).
    pub certificates: BTreeMap<String, Suggestion>,
}

/// The suggestion for one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Suggestion {
    /// Start of the window.
    #[serde(with = "exact")]
    pub start: Timestamp,
    /// End of the window.
    #[serde(with = "exact")]
    pub end: Timestamp,
    /// The moment that was drawn in it, once.
    #[serde(with = "exact")]
    pub renew_at: Timestamp,
    /// A page that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation_url: Option<String>,
}

impl Advice {
    /// Reads what is stored for a domain; nothing if the CA has no say in its renewals.
    #[must_use]
    pub fn load(documents: &Documents, md: &ManagedDomain) -> Self {
        if !md.ari_renewals || md.is_static() {
            return Self::default();
        }
        let mut advice: Self =
            documents.load_json(Group::Staging, md.name.as_str(), &Aspect::AriJson).unwrap_or_default();
        advice.certificates.retain(|_, own| (own.start..=own.end).contains(&own.renew_at));
        advice
    }

    /// Returns the suggestion for a certificate.
    #[must_use]
    pub fn suggestion(&self, certificate: &Summary) -> Option<&Suggestion> {
        if self.certificates.is_empty() { None } else { self.certificates.get(&certificate.ari_cert_id()?) }
    }

    /// The earliest of what is suggested for these certificates.
    pub fn earliest(&self, certificates: impl Iterator<Item = impl Borrow<Summary>>) -> Option<&Suggestion> {
        certificates.filter_map(|certificate| self.suggestion(certificate.borrow())).min_by_key(|own| own.renew_at)
    }

    /// Returns when to ask the CA. `occasion` is when the server was started or a program was run: at such a moment, what the CA has
    /// said more than a minute ago does not count, as it may be about to revoke certificates. What was asked in the future was asked
    /// by a wrong clock.
    #[must_use]
    pub fn due(&self, occasion: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let is_recent = |asked: Timestamp| occasion.is_none_or(|occasion| asked + RECENT >= occasion);
        let counts = self.asked.is_some_and(|asked| asked <= now && is_recent(asked));
        self.next_check.filter(|_| counts).unwrap_or(Timestamp::MIN)
    }

    /// Takes over what was heard of a certificate; `before` is what was known of it.
    pub fn hear(&mut self, name: &str, id: String, before: Option<Suggestion>, heard: Heard, random: f64) {
        let suggestion = match heard {
            Ok(info) => {
                let drawn = before.filter(|own| (own.start, own.end) == (info.start, info.end));
                let renew_at = drawn.as_ref().map_or_else(|| info.moment(random), |own| own.renew_at);
                let RenewalInfo { start, end, explanation_url } = info;
                Some(Suggestion { start, end, renew_at, explanation_url })
            }
            Err(err @ (AriError::Incomplete | AriError::NoWindow(..))) => {
                report!(MD0021, "{name}: what the CA suggests about renewal is ignored: {err}");
                before
            }
            Err(err) => {
                report!(AH10514, "{name}: the CA suggests nothing about renewal: {err}");
                // It may be back soon, unless it says that there is nothing. A moment that is forgotten would be drawn anew.
                before.filter(|_| !err.suggests_nothing())
            }
        };
        self.certificates.extend(suggestion.map(|suggestion| (id, suggestion)));
    }

    /// Reports the moments that were drawn since `before`. Who reads of them in the log finds them in the store.
    pub fn tell_news(&self, name: &str, before: &Self) {
        let window = |own: &Suggestion| (own.start, own.end);
        let is_known = |id: &String, own: &Suggestion| before.certificates.get(id).map(window) == Some(window(own));
        self.certificates.iter().filter(|(id, own)| !is_known(id, own)).for_each(|(_, own)| own.tell(name));
    }
}

/// The answer of a CA about a certificate.
pub type Heard = Result<RenewalInfo, AriError>;

impl Suggestion {
    /// Reports a moment that was drawn.
    fn tell(&self, name: &str) {
        let at = format_gmt(self.renew_at);
        match &self.explanation_url {
            Some(url) => report!(AH10515, "{name}: CA advises renew via ARI at {at}, for explanation see {url}"),
            None => report!(AH10516, "{name}: CA advises renew via ARI at {at}"),
        }
    }

    /// Reports that the renewal begins because of this suggestion.
    pub fn tell_now(&self, name: &str) {
        match &self.explanation_url {
            Some(url) => report!(AH10517, "{name}: CA advises renew via ARI now, for explanation see {url}"),
            None => report!(AH10518, "{name}: CA advises renew via ARI now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_is_asked_when_it_wants_and_at_a_start_if_its_answer_is_older_than_a_minute() {
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        // Seconds at which it was asked, wants to be asked, and of the occasion; whether it is asked now, at 0, or when it wants
        let rows = [
            (None, None, None, true),
            (Some(-600), Some(3600), None, false),
            (Some(-600), Some(3600), Some(-3000), false),
            (Some(-600), Some(3600), Some(-600), false),
            (Some(-600), Some(3600), Some(-540), false),
            (Some(-600), Some(3600), Some(-539), true),
            (Some(-600), Some(3600), Some(0), true),
            (Some(-60), Some(3600), Some(0), false),
            (Some(0), Some(3600), Some(0), false),
            // A clock that was wrong
            (Some(5), Some(3600), None, true),
            (Some(5), Some(3600), Some(0), true),
        ];
        for (asked, next_check, occasion, expected) in rows {
            let advice = Advice { asked: asked.map(at), next_check: next_check.map(at), ..Advice::default() };
            let due = if expected { Timestamp::MIN } else { at(3600) };
            assert_eq!(advice.due(occasion.map(at), at(0)), due, "{asked:?} {occasion:?}");
        }
    }
}
