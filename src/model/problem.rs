//! Problem documents (RFC 7807, RFC 8555 section 6.7): what they mean for the next attempt, and advice for the
//! administrator.

use serde::Deserialize;
use serde_json::Value;

use super::outside::plain_value;
use super::{Status, outside};

/// A problem document of a CA, or of this module in the same form. It is read from any JSON, because a document that explains
/// a failure must not be another: members of other types count as absent, texts are plain
/// ([`super::outside`]), and texts and lists have a limit.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(from = "Value")]
pub struct Problem {
    /// The type URI, e.g. `urn:ietf:params:acme:error:rateLimited`; empty if there is none.
    pub kind: String,
    /// The CA's sentence about this occurrence.
    pub detail: String,
    /// Problems of single identifiers (RFC 8555 section 6.7.1), with the members that the CA sent.
    pub subproblems: Vec<Value>,
    /// URLs with more information for people: the `instance`, and the links of the answer.
    pub see: Box<[String]>,
    /// HTTP status of the answer; 0 for a problem inside of a resource.
    pub http_status: u16,
}

struct Type {
    /// The type without its prefix.
    name: &'static str,
    status: Status,
    /// Whether another attempt with the same input is pointless until somebody acts.
    permanent: bool,
    /// Advice for the administrator; empty where the CA's own words say it.
    advice: &'static str,
}

const fn passing(name: &'static str, status: Status, advice: &'static str) -> Type {
    Type { name, status, permanent: false, advice }
}

const fn permanent(name: &'static str, status: Status, advice: &'static str) -> Type {
    Type { name, status, permanent: true, advice }
}

const ADDRESSES: &str =
    "check that all addresses of the name, IPv6 too, lead to this server and that nothing else answers there";
const RECORDS: &str =
    "check that the command of MDChallengeDns01 ends only when all name servers of the zone have the record";
const KEY_OF_ACCOUNT: &str = "the CA does not take this kind of account key";
const NAME: &str = "take the name out of the domain, or use another CA";

/// The types of RFC 8555, RFC 9773 (`alreadyReplaced`) and RFC 9799 (`onionCAARequired`), and of ACME profiles
/// (`invalidProfile`); `agreementRequired` and `invalidEmail` are older. The findings of a validation may be put right outside of this server, so
/// they are tried again soon. A lost account or a replaced certificate is a matter of the next request.
const TYPES: [Type; 29] = [
    passing("accountDoesNotExist", Status::GENERAL, "the next attempt registers a new account"),
    permanent(
        "agreementRequired",
        Status::GENERAL,
        "read the CA's terms and, if you agree, set MDCertificateAgreement accepted",
    ),
    passing("alreadyReplaced", Status::GENERAL, ""),
    permanent("alreadyRevoked", Status::GENERAL, ""),
    permanent("badCSR", Status::INVALID, "check which keys and extensions the CA takes: MDPrivateKeys, MDMustStaple"),
    passing("badNonce", Status::AGAIN, ""),
    permanent("badPublicKey", Status::INVALID, KEY_OF_ACCOUNT),
    permanent("badRevocationReason", Status::INVALID, ""),
    permanent("badSignatureAlgorithm", Status::INVALID, KEY_OF_ACCOUNT),
    passing("caa", Status::GENERAL, "the CAA records of the name must permit this CA"),
    passing("compound", Status::GENERAL, ""),
    passing(
        "connection",
        Status::GENERAL,
        "the CA must reach the name from outside: check its addresses, IPv6 too, firewalls and MDPortMap",
    ),
    passing("dns", Status::GENERAL, "check that the name servers of the name answer, to everybody"),
    permanent(
        "externalAccountRequired",
        Status::INVALID,
        "set MDExternalAccountBinding to the values that the CA gives its customers",
    ),
    passing("incorrectResponse", Status::GENERAL, ADDRESSES),
    permanent("invalidContact", Status::BAD_ARGUMENT, "correct MDContactEmail"),
    permanent("invalidEmail", Status::BAD_ARGUMENT, "correct MDContactEmail"),
    permanent("invalidProfile", Status::GENERAL, "choose one of the CA's profiles with MDProfile"),
    permanent("malformed", Status::INVALID, ""),
    permanent("onionCAARequired", Status::GENERAL, ""),
    passing("orderNotReady", Status::GENERAL, ""),
    passing("rateLimited", Status::BAD_ARGUMENT, "the renewal continues when the CA permits"),
    permanent("rejectedIdentifier", Status::BAD_ARGUMENT, NAME),
    passing("serverInternal", Status::GENERAL, "the CA has to fix this"),
    passing(
        "tls",
        Status::GENERAL,
        "check that port 443 of the name leads to this server and that its Protocols have acme-tls/1",
    ),
    passing("unauthorized", Status::DENIED, ""),
    permanent("unsupportedContact", Status::GENERAL, "correct MDContactEmail"),
    permanent("unsupportedIdentifier", Status::BAD_ARGUMENT, NAME),
    permanent("userActionRequired", Status::GENERAL, "do what the CA asks of the holder of the account"),
];

/// The types by which CAs refuse addresses, or refuse them with the profile of the order.
const REFUSALS_OF_ADDRESSES: [&str; 6] =
    ["compound", "invalidProfile", "malformed", "rejectedIdentifier", "unauthorized", "unsupportedIdentifier"];

impl Problem {
    /// The longest subproblem that is kept, in bytes.
    const MAX_PART: usize = 2000;
    /// The most subproblems that are kept: a certificate has a hundred names.
    const MAX_SUBPROBLEMS: usize = 100;
    /// The most subproblems in a sentence.
    const MAX_TOLD: usize = 10;

    /// Whether this is the ACME error of that name, e.g. `badNonce`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        acme_name(&self.kind).is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    /// Whether the type is one of the ACME protocol, known here or not.
    #[must_use]
    pub fn is_acme(&self) -> bool {
        acme_name(&self.kind).is_some()
    }

    /// Whether the type says more than the HTTP status does (RFC 7807 section 4.2).
    #[must_use]
    pub fn has_type(&self) -> bool {
        !matches!(self.kind.as_str(), "" | "about:blank")
    }

    /// Returns the texts in which the CA says what the problem is about: the details, and the identifiers of subproblems.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let parts = self.subproblems.iter().flat_map(|part| [&part["detail"], &part["identifier"]["value"]]);
        let of_parts = parts.filter_map(Value::as_str).map(str::to_owned);
        std::iter::once(self.detail.clone()).chain(of_parts).collect()
    }

    /// Returns the result code for the type.
    #[must_use]
    pub fn status(&self) -> Status {
        known(&self.kind).map_or(Status::GENERAL, |known| known.status)
    }

    /// Whether the CA will refuse the same input again. For a compound problem, one such part is enough.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        let is_permanent = |kind: &str| known(kind).is_some_and(|known| known.permanent);
        let of_part = |part: &Value| part["type"].as_str().is_some_and(is_permanent);
        is_permanent(&self.kind) || self.is("compound") && self.subproblems.iter().any(of_part)
    }

    /// Whether the problem was found by validating a name (RFC 8555 section 6.7). For a compound problem, one such part is
    /// enough.
    #[must_use]
    pub fn is_of_validation(&self) -> bool {
        const FINDINGS: [&str; 5] = ["caa", "connection", "dns", "incorrectResponse", "tls"];
        let is_finding =
            |kind: &str| acme_name(kind).is_some_and(|name| FINDINGS.iter().any(|own| own.eq_ignore_ascii_case(name)));
        let of_part = |part: &Value| part["type"].as_str().is_some_and(is_finding);
        is_finding(&self.kind) || self.is("compound") && self.subproblems.iter().any(of_part)
    }

    /// Whether the problem is about the contacts of an account.
    #[must_use]
    pub fn is_of_contact(&self) -> bool {
        ["invalidContact", "invalidEmail", "unsupportedContact"].iter().any(|name| self.is(name))
    }

    /// Whether a refused registration may be about the contacts of the account, or about their absence: some CAs say `malformed`,
    /// such as that of Google for an account without a contact (May 2025).
    #[must_use]
    pub fn may_be_of_contact(&self) -> bool {
        self.is_of_contact() || self.is("malformed")
    }

    /// Whether the problem may be about an address: nothing says that it is about other names only.
    #[must_use]
    pub fn may_be_of_address(&self) -> bool {
        let mut types = self.subproblems.iter().map(|part| &part["identifier"]["type"]).filter(|kind| !kind.is_null());
        let is_refusal = REFUSALS_OF_ADDRESSES.iter().any(|name| self.is(name));
        is_refusal && types.clone().next().is_none_or(|_| types.any(|kind| kind == "ip"))
    }

    /// Returns advice, where it says more than the CA's words.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        let parts = self.subproblems.iter().filter_map(|part| part["type"].as_str());
        let advice = |kind| Some(known(kind)?.advice).filter(|advice| !advice.is_empty());
        if self.is("compound") { parts.filter_map(advice).next() } else { advice(&self.kind) }
    }

    /// Returns advice on the problem of a challenge, where `unauthorized` means that another server answered, or that a TXT record
    /// was not seen. `by_txt` says which of them it can be.
    #[must_use]
    pub fn advice_on_challenge(&self, by_txt: bool) -> Option<&'static str> {
        let is_unseen = self.is("unauthorized") || self.is_wrong_answer() || self.is("incorrectResponse");
        match (is_unseen, by_txt) {
            (true, true) => Some(RECORDS),
            (true, false) => Some(ADDRESSES),
            (false, _) => self.advice(),
        }
    }

    /// Whether the CA will say the same again of a challenge that it looks at.
    #[must_use]
    pub fn is_permanent_of_challenge(&self) -> bool {
        self.is_permanent() && !self.is_wrong_answer()
    }

    /// Whether the problem of a challenge is a wrong answer: smallstep's library (step-ca, Caddy; 2026) calls it `rejectedIdentifier`.
    fn is_wrong_answer(&self) -> bool {
        self.is("rejectedIdentifier")
    }

    /// Returns the CA's message as a sentence, with the subproblems and the URLs of more information.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = if self.detail.is_empty() { "the CA does not say why" } else { &self.detail }.to_owned();
        let parts = told(&self.subproblems);
        if !parts.is_empty() {
            text += &format!(" ({parts})");
        }
        for url in self.see.iter().filter(|url| !self.detail.contains(*url)) {
            text += &format!(", see {url}");
        }
        text
    }
}

impl From<Value> for Problem {
    fn from(value: Value) -> Self {
        let text = |name: &str| outside::text(value[name].as_str().unwrap_or_default());
        let is_part = |part: &&Value| part.is_object() && part.to_string().len() <= Self::MAX_PART;
        let parts = value["subproblems"].as_array().into_iter().flatten().filter(is_part);
        let instance = text("instance");
        Self {
            kind: text("type"),
            detail: outside::detail(value["detail"].as_str().unwrap_or_default()),
            subproblems: parts.take(Self::MAX_SUBPROBLEMS).map(plain_value).collect(),
            see: Some(instance).into_iter().filter(|url| url.starts_with("http")).collect(),
            http_status: 0,
        }
    }
}

/// Describes subproblems; after the first ones, their number.
pub(super) fn told(subproblems: &[Value]) -> String {
    let mut parts: Vec<String> = subproblems.iter().take(Problem::MAX_TOLD).filter_map(part).collect();
    match subproblems.len().saturating_sub(Problem::MAX_TOLD) {
        0 => {}
        more => parts.push(format!("and {more} more")),
    }
    parts.join("; ")
}

/// Describes a subproblem and its name.
fn part(value: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let says = text(&value["detail"]).or_else(|| text(&value["type"]))?;
    Some(text(&value["identifier"]["value"]).map_or(says.clone(), |name| format!("{name}: {says}")))
}

fn acme_name(kind: &str) -> Option<&str> {
    let rest = kind.strip_prefix("urn:ietf:params:").or_else(|| kind.strip_prefix("urn:"));
    rest.unwrap_or(kind).strip_prefix("acme:error:")
}

fn known(kind: &str) -> Option<&'static Type> {
    let name = acme_name(kind)?;
    TYPES.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_type(kind: &str) -> Problem {
        Problem { kind: kind.to_owned(), ..Problem::default() }
    }

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
            let problem = of_type(kind);
            assert_eq!((problem.status(), problem.is_permanent()), (status, permanent), "{kind}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(TYPES.windows(2).all(|pair| pair[0].name.to_lowercase() < pair[1].name.to_lowercase()));
    }

    #[test]
    fn sample_with_subproblems() {
        // RFC 8555 section 6.7.1
        let text = r#"{"type": "urn:ietf:params:acme:error:malformed",
            "detail": "Some of the identifiers requested were rejected",
            "subproblems": [{"type": "urn:ietf:params:acme:error:malformed",
                "detail": "Invalid underscore in DNS name \"_example.org\"",
                "identifier": {"type": "dns", "value": "_example.org"}},
                {"type": "urn:ietf:params:acme:error:rejectedIdentifier",
                "detail": "This CA will not issue for \"example.net\"",
                "identifier": {"type": "dns", "value": "example.net"}}]}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert!(problem.is("malformed"));
        assert_eq!(problem.subproblems.len(), 2);
        assert_eq!(
            problem.sentence(),
            "Some of the identifiers requested were rejected (_example.org: Invalid underscore in DNS name '_example.org'; \
             example.net: This CA will not issue for 'example.net')"
        );
    }

    #[test]
    fn a_compound_problem_is_what_its_parts_are() {
        let compound = |kinds: &[&str]| {
            let part = |kind| json!({ "type": format!("urn:ietf:params:acme:error:{kind}") });
            let parts: Vec<_> = kinds.iter().map(part).collect();
            Problem::from(json!({ "type": "urn:ietf:params:acme:error:compound", "subproblems": parts }))
        };
        assert!(!compound(&[]).is_permanent());
        assert!(!compound(&["caa", "dns"]).is_permanent());
        assert!(compound(&["caa", "rejectedIdentifier"]).is_permanent());
        assert_eq!(compound(&["odd", "rejectedIdentifier"]).advice(), Some(NAME));
    }

    #[test]
    fn a_refusal_may_be_of_an_address_unless_it_tells_of_other_names_only() {
        let part = |kind| json!({ "type": "x", "identifier": { "type": kind, "value": "x" } });
        let rows = [
            ("rejectedIdentifier", json!([]), true),
            ("unauthorized", json!([]), true),
            ("malformed", json!([part("dns"), part("ip")]), true),
            ("malformed", json!([part("dns")]), false),
            ("compound", json!([{ "detail": "no" }]), true),
            ("rateLimited", json!([]), false),
        ];
        for (kind, parts, expected) in rows {
            let kind = format!("urn:ietf:params:acme:error:{kind}");
            let problem = Problem::from(json!({ "type": kind, "subproblems": parts }));
            assert_eq!(problem.may_be_of_address(), expected, "{problem:?}");
        }
    }

    #[test]
    fn a_challenge_that_rejects_an_identifier_has_found_another_answer() {
        let rows = [
            ("rejectedIdentifier", false, Some(ADDRESSES)),
            ("unauthorized", false, Some(ADDRESSES)),
            ("unsupportedIdentifier", true, Some(NAME)),
            ("malformed", true, None),
        ];
        for (name, permanent, advice) in rows {
            let problem = of_type(&format!("urn:ietf:params:acme:error:{name}"));
            assert_eq!(
                (problem.is_permanent_of_challenge(), problem.advice_on_challenge(false)),
                (permanent, advice),
                "{name}"
            );
        }
        assert!(
            of_type("urn:ietf:params:acme:error:rejectedIdentifier").is_permanent(),
            "an order is refused by policy"
        );
    }

    #[test]
    fn any_json_is_read() {
        for value in [json!(null), json!([]), json!("x"), json!({ "type": 1, "detail": null, "subproblems": {} })] {
            assert_eq!(Problem::from(value.clone()), Problem::default(), "{value}");
        }
        let odd = json!({ "detail": "no", "instance": "urn:x", "subproblems": [1, null, {}, { "detail": "part" }] });
        assert_eq!(Problem::from(odd).sentence(), "no (part)");
    }

    #[test]
    fn what_is_kept_has_limits() {
        let part = |n: usize| json!({ "detail": "x".repeat(n), "identifier": { "value": format!("n{n}.org") } });
        let parts: Vec<_> = (1..200).chain([5000]).map(part).collect();
        let problem = Problem::from(json!({ "type": "t", "detail": "d".repeat(1 << 20), "subproblems": parts }));
        assert_eq!((problem.detail.len(), problem.subproblems.len()), (outside::LONGEST_DETAIL, 100));
        assert!(problem.sentence().ends_with("; n10.org: xxxxxxxxxx; and 90 more)"));
        assert_eq!(Problem::from(json!({ "subproblems": [part(5000)] })).subproblems, Vec::<Value>::new());
    }

    #[test]
    fn urls_are_told_once() {
        let problem = Problem::from(json!({ "detail": "see https://ca/a", "instance": "https://ca/a" }));
        let see = ["https://ca/a", "https://ca/b"].map(str::to_owned).into();
        assert_eq!(problem.see.len(), 1);
        let problem = Problem { see, ..problem };
        assert_eq!(problem.sentence(), "see https://ca/a, see https://ca/b");
    }
}
