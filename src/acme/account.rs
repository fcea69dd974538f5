//! Accounts (RFC 8555 section 7.1.2): what the CA says of one, and what is kept of it in `account.json`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::null::without_nothings;
use crate::http::Response;
use crate::model::{Eab, outside};

/// Whether the CA takes requests of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountStatus {
    /// The CA takes its requests.
    Valid,
    /// The holder gave the account up.
    Deactivated,
    /// The CA took it away.
    Revoked,
}

impl std::fmt::Display for AccountStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Deactivated => "deactivated",
            Self::Revoked => "revoked",
        })
    }
}

/// The content of `account.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccountRecord {
    /// The state of the account; absent once the CA refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AccountStatus>,
    /// URL of the account, the key id of requests.
    pub url: String,
    /// Directory URL of its CA.
    pub ca_url: String,
    /// Contact URIs as the CA knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contact: Vec<String>,
    /// The CA's answer to the registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Value>,
    /// The terms that were agreed to.
    #[serde(default, alias = "terms-of-service", skip_serializing_if = "Option::is_none")]
    pub agreement: Option<String>,
    /// URL of the list of orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<String>,
    /// The external account that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eab: Option<Eab>,
}

/// The CA, and the external account if any, that an account can be used with.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountScope {
    /// Directory URL of the CA.
    pub ca_url: String,
    /// The external account.
    pub eab: Option<Eab>,
}

/// An account as the CA describes it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Account {
    pub status: Option<AccountStatus>,
    #[serde(deserialize_with = "without_nothings")]
    pub contact: Vec<String>,
    pub orders: Option<String>,
}

/// The payload of a newAccount request (RFC 8555 section 7.3).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewAccount<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub contact: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terms_of_service_agreed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_account_binding: Option<Value>,
}

/// Returns what is kept of the CA's answer to a registration: all of it, unless it is unusually long.
pub(crate) fn registration(response: &Response) -> Option<Value> {
    const LONGEST: usize = 4 << 10;
    outside::json(&response.body).ok().filter(|_| response.body.len() <= LONGEST)
}

impl Account {
    /// Whether the CA takes requests of the account. A CA that says nothing about that has just answered one.
    pub fn is_valid(&self) -> bool {
        self.status.is_none_or(|status| status == AccountStatus::Valid)
    }
}

impl AccountRecord {
    /// Whether this account can be used for orders in that scope.
    #[must_use]
    pub fn is_for(&self, scope: &AccountScope) -> bool {
        self.status == Some(AccountStatus::Valid) && self.ca_url == scope.ca_url && self.eab == scope.eab
    }

    /// Returns the CA and the external account that the account can be used with.
    #[must_use]
    pub fn scope(&self) -> AccountScope {
        AccountScope { ca_url: self.ca_url.clone(), eab: self.eab.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_accounts_read_back() {
        let text = r#"{"status":"valid","url":"https://ca/acct/1","ca-url":"https://ca/dir","contact":["mailto:a@x.org"],"registration":{"status":"valid"},"agreement":"accepted","orders":"https://ca/list/1"}"#;
        let record: AccountRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        let old: AccountRecord =
            serde_json::from_str(r#"{"url":"u","ca-url":"c","terms-of-service":"t","eab":{"kid":"k","hmac":"h"}}"#)
                .unwrap();
        assert_eq!(old.agreement.as_deref(), Some("t"));
        assert!(!old.is_for(&AccountScope { ca_url: "c".to_owned(), eab: old.eab.clone() }), "no status: not usable");
    }

    #[test]
    fn an_account_may_have_no_contacts() {
        for none in ["null", "[]", "[null]"] {
            let text = format!(r#"{{"status":null,"contact":{none},"orders":null}}"#);
            let account: Account = serde_json::from_str(&text).unwrap();
            assert!(account.is_valid() && account.contact.is_empty(), "{none}");
        }
    }

    #[test]
    fn an_account_is_for_one_ca_and_one_external_account() {
        let eab = |kid: &str| Some(Eab { kid: kid.to_owned(), hmac: "h".to_owned() });
        let scope = |ca: &str, eab| AccountScope { ca_url: ca.to_owned(), eab };
        let record: AccountRecord =
            serde_json::from_str(r#"{"status":"valid","url":"u","ca-url":"c","eab":{"kid":"k","hmac":"h"}}"#).unwrap();
        assert!(record.is_for(&scope("c", eab("k"))));
        assert!(!record.is_for(&scope("d", eab("k"))));
        assert!(!record.is_for(&scope("c", eab("l"))));
        assert!(!record.is_for(&scope("c", None)));
    }
}
