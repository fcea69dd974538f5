//! Authorizations and their challenges (RFC 8555 sections 7.1.4 and 8).

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::challenge::{ChallengeType, Malformed, account_uri, issuer_names};
use super::null::or_nothing;
use crate::model::{DomainName, Problem};

/// The most challenges of an authorization that are read.
const MOST_CHALLENGES: usize = 32;
/// The most characters of an unknown challenge type that are kept.
const LONGEST_TYPE: usize = 64;
/// The most subproblems of a challenge that are kept: a challenge is about one name.
const MOST_SUBPROBLEMS: usize = 10;

/// The state of an authorization (RFC 8555 section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorizationStatus {
    /// Control over the name has been shown.
    Valid,
    /// A challenge failed.
    Invalid,
    /// The authorization has expired.
    Expired,
    /// The account gave the authorization up.
    Deactivated,
    /// The CA withdrew the authorization.
    Revoked,
    /// A challenge is to be met. Also stands for a status that is not known here.
    #[default]
    #[serde(other)]
    Pending,
}

/// An authorization as the CA describes it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Authorization {
    /// The state.
    pub status: AuthorizationStatus,
    /// The name or address to prove.
    pub identifier: AuthorizedIdentifier,
    /// The ways to show control; one suffices. At most one of each known type, and the names of the other types.
    #[serde(deserialize_with = "kept")]
    pub challenges: Vec<Challenge>,
    /// Whether the authorization is for a wildcard name.
    #[serde(deserialize_with = "or_nothing")]
    pub wildcard: bool,
}

/// The name of an authorization, without the `*.` of a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct AuthorizedIdentifier {
    /// The name or address.
    pub value: String,
}

/// The state of a challenge (RFC 8555 section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChallengeStatus {
    /// The CA is looking.
    Processing,
    /// The challenge was met.
    Valid,
    /// The challenge failed.
    Invalid,
    /// The CA waits to be told that it can look.
    #[default]
    #[serde(other)]
    Pending,
}

/// A challenge as the CA describes it. Challenges of unknown types may lack any member.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Challenge {
    /// The challenge type, such as `http-01`.
    #[serde(rename = "type")]
    pub kind: String,
    /// URL to post to when the challenge is set up.
    #[serde(deserialize_with = "or_nothing")]
    pub url: String,
    /// The state.
    #[serde(deserialize_with = "or_nothing")]
    pub status: ChallengeStatus,
    /// Random value of the CA; empty for types that have none.
    #[serde(deserialize_with = "or_nothing")]
    pub token: String,
    /// Why the challenge failed.
    pub error: Option<Problem>,
    /// The issuer names of dns-persist-01, as versions 00 and 01 of its draft call them.
    #[serde(rename = "issuer-domain-names")]
    pub(crate) issuer_domain_names_01: Value,
    /// The issuer names of dns-persist-01, as version 02 of its draft and later ones call them.
    #[serde(rename = "issuerDomainNames")]
    pub(crate) issuer_domain_names: Value,
    /// The account URI for records of dns-persist-01, if the CA gives one.
    #[serde(rename = "accounturi")]
    pub(crate) account_uri: Value,
}

/// Reads a list of challenges, and keeps what is of use: a CA chooses the length of the list, and a renewal keeps the
/// authorizations of all its names.
fn kept<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Challenge>, D::Error> {
    let mut kept: Vec<Challenge> = Vec::new();
    for value in or_nothing::<D, Vec<Value>>(from)?.into_iter().take(MOST_CHALLENGES) {
        let mut challenge = Challenge::deserialize(value).map_err(D::Error::custom)?;
        if ChallengeType::named(&challenge.kind).is_none() {
            challenge.kind = challenge.kind.chars().take(LONGEST_TYPE).collect();
            challenge = Challenge { kind: challenge.kind, ..Challenge::default() };
        }
        if let Some(problem) = &mut challenge.error {
            problem.subproblems.truncate(MOST_SUBPROBLEMS);
        }
        match kept.iter_mut().find(|known| known.kind == challenge.kind) {
            None => kept.push(challenge),
            Some(known) if known.token.is_empty() && !challenge.token.is_empty() => *known = challenge,
            Some(_) => {}
        }
    }
    Ok(kept)
}

impl Challenge {
    /// Returns the issuer names of which a record for dns-persist-01 must have one.
    ///
    /// # Errors
    /// If there are none, or one is not valid.
    pub fn issuer_names(&self) -> Result<Vec<String>, Malformed> {
        let newer = !self.issuer_domain_names.is_null();
        issuer_names(if newer { &self.issuer_domain_names } else { &self.issuer_domain_names_01 })
    }

    /// Returns the account URI for a record of dns-persist-01; `None` if the CA gives none.
    ///
    /// # Errors
    /// If the URI cannot stand in a record.
    pub fn account_uri(&self) -> Result<Option<String>, Malformed> {
        match &self.account_uri {
            Value::Null => Ok(None),
            Value::String(uri) => account_uri(uri).map(Some),
            other => Err(Malformed::AccountUri(other.to_string())),
        }
    }
}

impl Authorization {
    /// Whether the authorization can no longer become valid.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !matches!(self.status, AuthorizationStatus::Pending | AuthorizationStatus::Valid)
    }

    /// Returns the problem that the CA reports of a challenge, if any.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        self.challenges.iter().find_map(|challenge| challenge.error.as_ref())
    }

    /// Returns the challenge of that type, if the CA offers it.
    #[must_use]
    pub fn challenge(&self, kind: ChallengeType) -> Option<&Challenge> {
        self.challenges.iter().find(|challenge| challenge.kind == kind.as_str())
    }

    /// Returns the name that is proven, with `*.` for a wildcard, in the form of the configuration; `None` for a name that no
    /// domain has.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let name = DomainName::parse(&self.identifier.value).ok()?;
        let prefix = if self.wildcard && !name.is_wildcard() { "*." } else { "" };
        Some(format!("{prefix}{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_of_the_rfc() {
        // RFC 8555 section 7.1.4
        let authorization: Authorization = serde_json::from_str(
            r#"{
            "status": "valid",
            "expires": "2015-03-01T14:09:07.99Z",
            "identifier": { "type": "dns", "value": "www.example.org" },
            "challenges": [{
                "url": "https://example.com/acme/chall/prV_B7yEyA4",
                "type": "http-01",
                "status": "valid",
                "token": "DGyRejmCefe7v4NfDGDKfA",
                "validated": "2014-12-01T12:05:58.16Z"
            }],
            "wildcard": false
        }"#,
        )
        .unwrap();
        assert_eq!(authorization.challenges[0].token, "DGyRejmCefe7v4NfDGDKfA");
        assert!(!authorization.has_failed());
    }

    #[test]
    fn of_many_challenges_those_of_use_are_kept() {
        let read = |challenges: &[Value]| {
            let text = serde_json::json!({ "challenges": challenges }).to_string();
            serde_json::from_str::<Authorization>(&text).unwrap().challenges
        };
        let challenge = |kind: &str, token: &str| serde_json::json!({ "type": kind, "url": "u", "token": token });
        let other = challenge(&"x".repeat(100), "t");
        let late = [&vec![other.clone(); MOST_CHALLENGES][..], &[challenge("http-01", "t")]].concat();
        let unknown = Challenge { kind: "x".repeat(LONGEST_TYPE), ..Challenge::default() };
        assert_eq!(read(&late), [unknown]);
        let first = [challenge("http-01", ""), challenge("http-01", "a"), challenge("http-01", "b"), other];
        let tokens: Vec<_> = read(&first).into_iter().map(|challenge| challenge.token).collect();
        assert_eq!(tokens, ["a", ""]);
        let parts = vec![serde_json::json!({ "detail": "x" }); 50];
        let failed = serde_json::json!({ "type": "dns-01", "error": { "detail": "no", "subproblems": parts } });
        assert_eq!(read(&[failed])[0].error.as_ref().unwrap().subproblems.len(), MOST_SUBPROBLEMS);
    }

    #[test]
    fn challenges_of_the_draft_for_persistent_records() {
        // draft-ietf-acme-dns-persist-01 section 3.1, and -02 section 3.1
        let rows = [
            (
                r#"{"type": "dns-persist-01", "url": "https://ca.example/acme/authz/1234/0", "status": "pending",
                "accounturi": "https://ca.example/acct/123", "issuer-domain-names": ["authority.example", "ca.example.net"]}"#,
                Some("https://ca.example/acct/123"),
            ),
            (
                r#"{"type": "dns-persist-01", "url": "https://ca.example/acme/authz/1234/0", "status": "pending",
                "issuerDomainNames": ["authority.example", "ca.example.net"]}"#,
                None,
            ),
        ];
        for (text, uri) in rows {
            let challenge: Challenge = serde_json::from_str(text).unwrap();
            assert_eq!(challenge.issuer_names().unwrap(), ["authority.example", "ca.example.net"]);
            assert_eq!(challenge.account_uri().unwrap().as_deref(), uri);
        }
        let odd = r#"{"type": "http-01", "token": "t", "issuerDomainNames": 7, "issuer-domain-names": "x", "accounturi": []}"#;
        let odd: Challenge = serde_json::from_str(odd).unwrap();
        assert!(odd.token == "t" && odd.issuer_names().is_err() && odd.account_uri().is_err());
    }

    #[test]
    fn unknown_challenge_types_do_not_break_parsing() {
        let authorization: Authorization = serde_json::from_str(
            r#"{"status": "pending", "identifier": {"type": "dns", "value": "x.org"},
            "challenges": [{"type": "dns-persist-01", "url": "u", "issuer-domain-names": ["ca"]}, {"type": "foo-99", "status": "odd"},
            {"type": "http-01", "url": null, "token": null, "status": null, "error": null}]}"#,
        )
        .unwrap();
        assert_eq!(authorization.challenges.len(), 3);
        assert_eq!(authorization.challenges[1].status, ChallengeStatus::Pending);
        let done: Authorization = serde_json::from_str(r#"{"status": "valid", "challenges": null}"#).unwrap();
        assert!(done.challenges.is_empty());
    }
}
