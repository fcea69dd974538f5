//! Problem documents of a CA and what they mean for the next attempt (RFC 7807, RFC 8555 section 6.7).

use serde::{Deserialize, Serialize};

use super::Status;

/// What a CA says went wrong, or what this module says in the same form.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The full type, e.g. `urn:ietf:params:acme:error:rateLimited`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The CA's sentence about this occurrence.
    pub detail: String,
    /// Problems of single identifiers (RFC 8555 section 6.7.1), as the CA sent them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subproblems: Vec<serde_json::Value>,
}

/// Type without prefix, status code, and whether another attempt with the same input is pointless.
const TYPES: [(&str, Status, bool); 20] = [
    ("agreementRequired", Status::GENERAL, true),
    ("badCSR", Status::INVALID, true),
    ("badNonce", Status::AGAIN, false),
    ("badRevocationReason", Status::INVALID, true),
    ("badSignatureAlgorithm", Status::INVALID, true),
    ("caa", Status::GENERAL, false),
    ("connection", Status::GENERAL, false),
    ("dns", Status::GENERAL, false),
    ("externalAccountRequired", Status::INVALID, true),
    ("incorrectResponse", Status::GENERAL, false),
    ("invalidContact", Status::BAD_ARGUMENT, true),
    ("malformed", Status::INVALID, true),
    ("rateLimited", Status::BAD_ARGUMENT, false),
    ("rejectedIdentifier", Status::BAD_ARGUMENT, true),
    ("serverInternal", Status::GENERAL, false),
    ("tls", Status::GENERAL, false),
    ("unauthorized", Status::DENIED, false),
    ("unsupportedContact", Status::GENERAL, true),
    ("unsupportedIdentifier", Status::BAD_ARGUMENT, true),
    ("userActionRequired", Status::GENERAL, true),
];

impl Problem {
    /// Whether this is the ACME error of that name, e.g. `badNonce`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.acme_name().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    /// The status code that goes with the type.
    #[must_use]
    pub fn status(&self) -> Status {
        self.known().map_or(Status::GENERAL, |(_, status, _)| *status)
    }

    /// Whether the CA will refuse the same input again.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.known().is_some_and(|(_, _, permanent)| *permanent)
    }

    fn acme_name(&self) -> Option<&str> {
        let kind = self.kind.strip_prefix("urn:ietf:params:").or_else(|| self.kind.strip_prefix("urn:"));
        kind.unwrap_or(&self.kind).strip_prefix("acme:error:")
    }

    fn known(&self) -> Option<&'static (&'static str, Status, bool)> {
        TYPES.iter().find(|(name, _, _)| self.is(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_map_to_status_and_permanence() {
        let rows = [
            ("urn:ietf:params:acme:error:badNonce", Status::AGAIN, false),
            ("urn:acme:error:BADCSR", Status::INVALID, true),
            ("acme:error:unauthorized", Status::DENIED, false),
            ("urn:ietf:params:acme:error:userActionRequired", Status::GENERAL, true),
            ("urn:ietf:params:acme:error:accountDoesNotExist", Status::GENERAL, false),
            ("about:blank", Status::GENERAL, false),
        ];
        for (kind, status, permanent) in rows {
            let problem = Problem { kind: kind.to_owned(), ..Problem::default() };
            assert_eq!((problem.status(), problem.is_permanent()), (status, permanent), "{kind}");
        }
    }

    #[test]
    fn sample_with_subproblems() {
        // RFC 8555 section 6.7.1
        let text = r#"{"type": "urn:ietf:params:acme:error:malformed",
            "detail": "Some of the identifiers requested were rejected",
            "subproblems": [{"type": "urn:ietf:params:acme:error:malformed",
                "detail": "Invalid underscore in DNS name \"_example.org\"",
                "identifier": {"type": "dns", "value": "_example.org"}}]}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert!(problem.is("malformed"));
        assert_eq!(problem.subproblems.len(), 1);
    }
}
