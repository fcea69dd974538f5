//! Orders (RFC 8555 section 7.1.3): as the CA describes them, and as `order.json` keeps them.

use serde::{Deserialize, Serialize};

use super::null::or_nothing;
use crate::model::{Identifier, Problem};

/// The state of an order (RFC 8555 section 7.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// All authorizations are valid; the order can be finalized.
    Ready,
    /// The certificate is being issued.
    Processing,
    /// The certificate can be downloaded.
    Valid,
    /// The order failed.
    Invalid,
    /// Authorizations are open. Also stands for a status that is not known here.
    #[default]
    #[serde(other)]
    Pending,
}

/// An order as the CA describes it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Order {
    /// The state.
    pub status: OrderStatus,
    /// URLs of the authorizations.
    #[serde(deserialize_with = "or_nothing")]
    pub authorizations: Vec<String>,
    /// URL for the CSR.
    pub finalize: Option<String>,
    /// URL of the certificate.
    pub certificate: Option<String>,
    /// Why the order is invalid.
    pub error: Option<Problem>,
}

/// The content of `order.json`: what a run after a restart must know of the order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct OrderRecord {
    /// URL of the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The state as last read.
    pub status: OrderStatus,
    /// URLs of the authorizations.
    pub authorizations: Vec<String>,
    /// Challenges that were set up and must be torn down, as [`super::ChallengeSetup`] writes them.
    pub challenge_setups: Vec<String>,
    /// URL for the CSR.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finalize: Option<String>,
    /// URL of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// The payload of a newOrder request (RFC 8555 section 7.4).
#[derive(Debug, Serialize)]
pub struct NewOrder<'a> {
    /// The names and addresses of the certificate.
    pub identifiers: &'a [Identifier],
    /// The profile, as the CA spells it (ACME profiles extension).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<&'a str>,
    /// The certificate that is replaced (RFC 9773 section 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<&'a str>,
}

impl OrderRecord {
    /// Takes over the CA's description of the order. The URL and the set-ups stay.
    pub fn update(&mut self, order: &Order) {
        self.status = order.status;
        self.authorizations.clone_from(&order.authorizations);
        self.finalize.clone_from(&order.finalize);
        self.certificate.clone_from(&order.certificate);
    }

    /// Whether the record has nothing that a run must look at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.url.is_none() && self.challenge_setups.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_of_the_rfc() {
        // RFC 8555 section 7.1.3
        let order: Order = serde_json::from_str(
            r#"{
            "status": "valid",
            "expires": "2016-01-20T14:09:07.99Z",
            "identifiers": [{ "type": "dns", "value": "www.example.org" }, { "type": "dns", "value": "example.org" }],
            "notBefore": "2016-01-01T00:00:00Z",
            "notAfter": "2016-01-08T00:00:00Z",
            "authorizations": ["https://example.com/acme/authz/PAniVnsZcis", "https://example.com/acme/authz/r4HqLzrSrpI"],
            "finalize": "https://example.com/acme/order/TOlocE8rfgo/finalize",
            "certificate": "https://example.com/acme/cert/mAt3xBGaobw"
        }"#,
        )
        .unwrap();
        assert_eq!((order.status, order.authorizations.len()), (OrderStatus::Valid, 2));
    }

    #[test]
    fn an_order_may_have_no_authorizations() {
        let text = r#"{"status": "ready", "authorizations": null, "certificate": null, "error": null}"#;
        let order: Order = serde_json::from_str(text).unwrap();
        assert_eq!(order, Order { status: OrderStatus::Ready, ..Order::default() });
    }

    #[test]
    fn a_status_that_is_not_known_reads_as_pending() {
        let order: Order = serde_json::from_str(r#"{"status": "pondering"}"#).unwrap();
        assert_eq!(order.status, OrderStatus::Pending);
    }

    #[test]
    fn the_record_keeps_its_stored_form() {
        let text = r#"{"url":"https://ca/order/1","status":"pending","authorizations":["https://ca/authz/1"],"challenge-setups":["http-01:x.org"],"finalize":"https://ca/order/1/finalize"}"#;
        let record: OrderRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
    }
}
