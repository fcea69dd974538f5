//! dns-persist-01: the TXT records that prove names for good (draft-ietf-acme-dns-persist).

use serde_json::Value;

use crate::crypto::{CryptoError, PrivateKey, base64url, sha256, thumbprint};
use crate::model::{Identifier, Timestamp, TxtRecord};

/// The label in front of a name at which its records are.
const LABEL: &str = "_validation-persist";
/// The most issuer names that a CA may give.
const MOST_ISSUERS: usize = 10;
/// The longest name in the DNS.
const LONGEST_NAME: usize = 253;

/// A TXT record that lets one account at one CA prove a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersistRecord {
    /// The name that is proven.
    pub domain: String,
    /// The name of the CA.
    pub issuer: String,
    /// The URI of the account.
    pub account_uri: String,
    /// Whether the record also proves names below `domain`.
    pub wildcard: bool,
    /// When the record stops to count; never if absent.
    pub until: Option<Timestamp>,
}

/// Why a challenge cannot be answered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    /// The token is not random enough, or has characters that no token has.
    #[error("the challenge is malformed: the token is not base64url of 22 to 256 characters (RFC 8555 section 8.1)")]
    Token,
    /// There is no name to write into the record.
    #[error("the challenge is malformed: the CA sent no issuer names")]
    NoIssuers,
    /// The CA gives more names than it may.
    #[error("the challenge is malformed: the CA sent {0} issuer names, {MOST_ISSUERS} are allowed")]
    TooManyIssuers(usize),
    /// A name is not a domain name in normal form.
    #[error("the challenge is malformed: the CA sent an invalid issuer name: {0}")]
    NotAName(String),
    /// The URI has characters that cannot stand in a record.
    #[error("the CA sent an account URI that cannot stand in a TXT record: {0}")]
    AccountUri(String),
}

impl PersistRecord {
    /// The record as the DNS has it.
    #[must_use]
    pub fn txt(&self) -> TxtRecord {
        let mut value = format!("{}; accounturi={}", self.issuer, self.account_uri);
        if self.wildcard {
            value += "; policy=wildcard";
        }
        if let Some(until) = self.until {
            value += &format!("; persistUntil={}", until.as_second());
        }
        TxtRecord { name: format!("{LABEL}.{}", self.domain), value }
    }
}

/// The issuer names of a challenge or a directory: one at least and ten at most, A-labels in lower case without a dot at
/// the end.
///
/// # Errors
/// See [`Malformed`].
pub fn issuer_names(list: &Value) -> Result<Vec<String>, Malformed> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    match list.len() {
        0 => return Err(Malformed::NoIssuers),
        count if count > MOST_ISSUERS => return Err(Malformed::TooManyIssuers(count)),
        _ => {}
    }
    let name = |value: &Value| {
        let name = value.as_str().filter(|name| is_name(name)).map(str::to_owned);
        name.ok_or_else(|| Malformed::NotAName(value.to_string().chars().take(LONGEST_NAME).collect()))
    };
    list.iter().map(name).collect()
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(known)
    };
    text.len() <= LONGEST_NAME && text.split('.').all(is_label)
}

/// Returns the URI if it can be the value of a parameter in a record (RFC 8659 section 4.2).
///
/// # Errors
/// If it cannot be.
pub fn account_uri(uri: &str) -> Result<String, Malformed> {
    let fits = !uri.is_empty() && uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';' && byte != b'"');
    if fits { Ok(uri.to_owned()) } else { Err(Malformed::AccountUri(uri.escape_default().to_string())) }
}

/// Returns the account URI for the records of a CA that wants it hashed (`accountHashPrefix`, from version 02 of the draft on).
///
/// # Errors
/// If the account key is of a kind that has no thumbprint.
pub fn hashed_uri(prefix: &str, domain: &str, key: &PrivateKey, account_url: &str) -> Result<String, CryptoError> {
    hashed(prefix, domain, &thumbprint(key)?, account_url)
}

fn hashed(prefix: &str, domain: &str, thumbprint: &str, account_url: &str) -> Result<String, CryptoError> {
    let length = u8::try_from(domain.len()).unwrap_or_default();
    let input = [&[length], domain.as_bytes(), thumbprint.as_bytes(), account_url.as_bytes()].concat();
    Ok(format!("{prefix}sha-256/{}", base64url(&sha256(&input)?)))
}

/// Returns the names that need records, without duplicates, and whether names below them do too: those of wildcards.
#[must_use]
pub fn names_to_prove(identifiers: &[Identifier]) -> Vec<(String, bool)> {
    let mut names: Vec<(String, bool)> = Vec::new();
    for identifier in identifiers {
        let Identifier::Dns(name) = identifier else { continue };
        let (base, below) = name.strip_prefix("*.").map_or((name.as_str(), false), |base| (base, true));
        match names.iter_mut().find(|(known, _)| known == base) {
            Some((_, wildcard)) => *wildcard |= below,
            None => names.push((base.to_owned(), below)),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(wildcard: bool, until: Option<i64>) -> String {
        let until = until.map(|at| Timestamp::from_second(at).unwrap());
        let issuer = "authority.example".to_owned();
        let account_uri = "https://ca.example/acct/123".to_owned();
        let txt = PersistRecord { domain: "example.com".to_owned(), issuer, account_uri, wildcard, until }.txt();
        assert_eq!(txt.name, "_validation-persist.example.com");
        txt.value
    }

    #[test]
    fn records_of_the_draft() {
        // draft-ietf-acme-dns-persist-01 section 4.1 and its examples.
        let rows = [
            (false, None, "authority.example; accounturi=https://ca.example/acct/123"),
            (true, None, "authority.example; accounturi=https://ca.example/acct/123; policy=wildcard"),
            (
                false,
                Some(1_721_952_000),
                "authority.example; accounturi=https://ca.example/acct/123; persistUntil=1721952000",
            ),
            (
                true,
                Some(1_721_952_000),
                "authority.example; accounturi=https://ca.example/acct/123; policy=wildcard; persistUntil=1721952000",
            ),
        ];
        for (wildcard, until, expected) in rows {
            assert_eq!(record(wildcard, until), expected);
        }
    }

    #[test]
    fn hashed_uris_of_the_draft() {
        // draft-ietf-acme-dns-persist-02 section 10.2, with the thumbprint of RFC 7638 section 3.1.
        let rows = [
            ("example.com", "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"),
            ("*", "NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"),
        ];
        for (domain, hash) in rows {
            let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
            let uri = hashed("https://ca.example/account-hash/", domain, thumbprint, "https://ca.example/acct/123");
            assert_eq!(uri.unwrap(), format!("https://ca.example/account-hash/sha-256/{hash}"));
        }
    }

    #[test]
    fn issuer_names_are_one_to_ten_in_their_normal_form() {
        assert_eq!(
            issuer_names(&json!(["authority.example", "ca.example.net"])).unwrap(),
            ["authority.example", "ca.example.net"]
        );
        let of_253 = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert!(issuer_names(&json!([of_253, "xn--bcher-kva.example", "localhost"])).is_ok());
        assert!(issuer_names(&json!(vec!["ca.example"; 10])).is_ok());
        assert_eq!(issuer_names(&json!(vec!["ca.example"; 11])), Err(Malformed::TooManyIssuers(11)));
        for none in [json!(null), json!([]), json!({}), json!("ca.example")] {
            assert_eq!(issuer_names(&none), Err(Malformed::NoIssuers), "{none}");
        }
        let too_long = format!("{of_253}e");
        let bad =
            ["", "CA.example", "ca.example.", ".ca", "ca..example", "b\u{fc}cher.example", "a b", "a;b", &too_long];
        for name in bad {
            assert!(matches!(issuer_names(&json!(["ca.example", name])), Err(Malformed::NotAName(_))), "{name}");
        }
        assert!(matches!(issuer_names(&json!([7])), Err(Malformed::NotAName(_))));
    }

    #[test]
    fn account_uris_cannot_end_their_parameter() {
        assert!(account_uri("https://ca.example/acct/1?a=b").is_ok());
        for uri in
            ["", "https://ca/1;policy=wildcard", "https://ca/ 1", "https://ca/\n", "https://ca/\u{e4}", "https://ca/\""]
        {
            assert!(account_uri(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_name_and_its_wildcard_share_a_record() {
        let names = ["x.org", "*.x.org", "www.y.org", "*.z.org", "192.0.2.1"];
        let identifiers: Vec<Identifier> =
            names.map(|name| crate::model::DomainName::parse(name).unwrap().identifier()).into();
        let expected = [("x.org", true), ("www.y.org", false), ("z.org", true)];
        assert_eq!(names_to_prove(&identifiers), expected.map(|(name, below)| (name.to_owned(), below)));
    }
}
