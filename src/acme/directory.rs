//! The directory of a CA (RFC 8555 section 7.1.1).

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::AcmeError;
use super::challenge::issuer_names;
use super::null::or_nothing;
use crate::model::outside;

/// The URLs of a CA's resources, and the requirements for its clients.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// URL for nonces.
    pub new_nonce: String,
    /// URL for registrations.
    pub new_account: String,
    /// URL for orders.
    pub new_order: String,
    /// URL for revocations (RFC 8555 section 7.6), if the CA takes them.
    #[serde(default)]
    pub revoke_cert: Option<String>,
    /// URL for new account keys (RFC 8555 section 7.3.5), if the CA takes them.
    #[serde(default)]
    pub key_change: Option<String>,
    /// URL for renewal information (RFC 9773), if the CA gives it.
    #[serde(default)]
    pub renewal_info: Option<String>,
    /// The `meta` object.
    #[serde(default, deserialize_with = "or_nothing")]
    pub meta: Meta,
}

/// The `meta` object of a directory (RFC 8555 section 9.7.6).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// URL of the terms of service.
    pub terms_of_service: Option<String>,
    /// Whether an account needs an external one (RFC 8555 section 7.3.4).
    #[serde(deserialize_with = "or_nothing")]
    pub external_account_required: bool,
    /// Names of the profiles that can be ordered (ACME profiles extension).
    #[serde(deserialize_with = "names")]
    pub profiles: Vec<String>,
    /// The names of the CA in CAA records.
    #[serde(deserialize_with = "issuers")]
    pub caa_identities: Vec<String>,
    /// The names of the CA in records for dns-persist-01, if the CA gives them.
    #[serde(deserialize_with = "issuers")]
    pub issuer_domain_names: Vec<String>,
    /// The prefix of hashed account URIs (draft-ietf-acme-dns-persist-02 section 4.1).
    #[serde(deserialize_with = "text")]
    pub account_hash_prefix: Option<String>,
}

/// Reads a list of issuer names; empty if one of them is not valid.
fn issuers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(issuer_names(&Value::deserialize(deserializer)?).unwrap_or_default())
}

/// Reads a string; a value of another type counts as absent.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
}

/// The most profiles of a CA that are kept; CAs have a handful.
const MOST_PROFILES: usize = 100;

/// Reads the member names of an object; a value of another type has none.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_object().map(|members| members.keys().take(MOST_PROFILES).cloned().collect()).unwrap_or_default())
}

impl Directory {
    /// Returns the names of the CA in records for dns-persist-01, as far as the directory has them.
    #[must_use]
    pub fn issuers(&self) -> &[String] {
        let Meta { issuer_domain_names: own, caa_identities, .. } = &self.meta;
        if own.is_empty() { caa_identities } else { own }
    }

    /// Reads the answer to a request for the directory at `url`.
    ///
    /// # Errors
    /// If it is not the directory of an RFC 8555 server.
    pub fn parse(url: &str, body: &[u8]) -> Result<Self, AcmeError> {
        outside::json(body).map_err(|_| {
            let version_1 = outside::json::<Value>(body).is_ok_and(|v| v.get("new-authz").is_some());
            if version_1 {
                AcmeError::Version1 { url: url.to_owned() }
            } else {
                AcmeError::NotADirectory { url: url.to_owned() }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_of_the_rfc() {
        // RFC 8555 section 7.1.1
        let body = br#"{
            "newNonce": "https://example.com/acme/new-nonce",
            "newAccount": "https://example.com/acme/new-account",
            "newOrder": "https://example.com/acme/new-order",
            "newAuthz": "https://example.com/acme/new-authz",
            "revokeCert": "https://example.com/acme/revoke-cert",
            "keyChange": "https://example.com/acme/key-change",
            "meta": {
                "termsOfService": "https://example.com/acme/terms/2017-5-30",
                "website": "https://www.example.com/",
                "caaIdentities": ["example.com"],
                "externalAccountRequired": false
            }
        }"#;
        let directory = Directory::parse("https://example.com/acme", body).unwrap();
        assert_eq!(directory.new_order, "https://example.com/acme/new-order");
        assert_eq!(directory.revoke_cert.as_deref(), Some("https://example.com/acme/revoke-cert"));
        assert_eq!(directory.key_change.as_deref(), Some("https://example.com/acme/key-change"));
        assert_eq!(directory.meta.terms_of_service.as_deref(), Some("https://example.com/acme/terms/2017-5-30"));
        assert_eq!(
            (directory.issuers(), &directory.meta.account_hash_prefix),
            (&["example.com".to_owned()][..], &None)
        );
    }

    #[test]
    fn records_name_the_ca_by_its_issuer_names() {
        let parse = |meta: &str| {
            let body = format!(r#"{{"newNonce":"n","newAccount":"a","newOrder":"o","meta":{meta}}}"#);
            Directory::parse("https://ca/dir", body.as_bytes()).unwrap()
        };
        // draft-ietf-acme-dns-persist-02 section 10.3
        let sample = r#"{"accountHashPrefix": "https://ca.example/account-hash/",
            "issuerDomainNames": ["authority.example", "ca.example.net"], "caaIdentities": ["ca.example"]}"#;
        let directory = parse(sample);
        assert_eq!(directory.issuers(), ["authority.example", "ca.example.net"]);
        assert_eq!(directory.meta.account_hash_prefix.as_deref(), Some("https://ca.example/account-hash/"));
        let odd =
            parse(r#"{"accountHashPrefix": 7, "issuerDomainNames": ["No.Name"], "caaIdentities": ["ca.example"]}"#);
        assert_eq!((odd.issuers(), odd.meta.account_hash_prefix.clone()), (&["ca.example".to_owned()][..], None));
        assert!(parse(r#"{"issuerDomainNames": null, "caaIdentities": {}}"#).issuers().is_empty());
    }

    #[test]
    fn profiles_are_the_names_of_an_object() {
        let parse = |profiles: &str| {
            let body = format!(
                r#"{{"newNonce":"n","newAccount":"a","newOrder":"o","renewalInfo":"r","meta":{{"profiles":{profiles}}}}}"#
            );
            Directory::parse("https://ca/dir", body.as_bytes()).unwrap()
        };
        let directory = parse(r#"{"classic": "https://ca/docs#classic", "tlsServer": null}"#);
        assert_eq!(directory.meta.profiles, ["classic", "tlsServer"]);
        assert_eq!(directory.renewal_info.as_deref(), Some("r"));
        for odd in ["null", "[]", "7", r#""classic""#] {
            assert!(parse(odd).meta.profiles.is_empty(), "{odd}");
        }
    }

    #[test]
    fn a_directory_may_say_nothing_of_itself() {
        let parse = |meta: &str| {
            let body =
                format!(r#"{{"newNonce":"n","newAccount":"a","newOrder":"o","renewalInfo":null,"meta":{meta}}}"#);
            Directory::parse("https://ca/dir", body.as_bytes()).unwrap()
        };
        let nothing = r#"{"termsOfService": null, "externalAccountRequired": null}"#;
        assert_eq!([parse("null").meta, parse(nothing).meta], [Meta::default(), Meta::default()]);
    }

    #[test]
    fn other_answers_are_named() {
        let parse = |body: &str| Directory::parse("https://ca/dir", body.as_bytes()).unwrap_err();
        assert!(matches!(parse(r#"{"new-authz": "https://ca/new-authz"}"#), AcmeError::Version1 { .. }));
        for body in ["", "<html>", "{}", "[]", r#"{"newNonce": 1, "newAccount": "", "newOrder": ""}"#] {
            assert!(matches!(parse(body), AcmeError::NotADirectory { .. }), "{body}");
        }
    }
}
