//! The domains that the failure of one renewal holds back at its CA: by where the CA refused, and by the names in its answer.

use crate::acme::AcmeError;
use crate::model::{DomainName, Status};

/// The HTTP statuses by which a server says that it has too much to do (RFC 6585 section 4, RFC 9110 section 15.6.4).
const TOO_MANY_REQUESTS: u16 = 429;
const SERVICE_UNAVAILABLE: u16 = 503;

/// The domains that a failure holds back, beside the one that has failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeldBack {
    /// No other domain.
    Nobody,
    /// The domains with names that the refusal is about.
    Alike {
        /// Type of the problem, or the HTTP status.
        kind: String,
        /// Names from the CA's answer. Domains with a name at or below one of them are held back.
        names: Vec<String>,
    },
    /// All domains of the CA.
    All,
}

/// Decides whom a failure holds back. `has_account` says whether the CA had taken the account before; what it refuses from then on
/// is about the order, which has these names.
pub(crate) fn held_back(err: &AcmeError, has_account: bool, names: &[DomainName]) -> HeldBack {
    let alike = |kind: &str, texts: &[String]| HeldBack::Alike { kind: kind.to_owned(), names: named(texts, names) };
    match err {
        // The CA's slowness is not the fault of this domain.
        AcmeError::NoDirectory { source, .. } | AcmeError::Transport(source)
            if source.status() == Status::TIMED_OUT =>
        {
            HeldBack::All
        }
        AcmeError::Unavailable { http_status, retry_after, .. } => match *http_status {
            TOO_MANY_REQUESTS | SERVICE_UNAVAILABLE => HeldBack::All,
            500.. if retry_after.is_some() => HeldBack::All,
            _ => HeldBack::Nobody,
        },
        AcmeError::HttpStatus { http_status: SERVICE_UNAVAILABLE, .. }
        | AcmeError::Problem { http_status: Some(SERVICE_UNAVAILABLE), .. } => HeldBack::All,
        AcmeError::HttpStatus { http_status: TOO_MANY_REQUESTS, problem, .. } => match has_account {
            true => alike("429", &problem.iter().map(|problem| problem.detail.clone()).collect::<Vec<_>>()),
            false => HeldBack::All,
        },
        AcmeError::Problem { problem, retry_after, .. }
            if problem.is("rateLimited") || problem.is("serverInternal") && retry_after.is_some() =>
        {
            match has_account {
                true => alike(&problem.kind, &problem.texts()),
                false => HeldBack::All,
            }
        }
        _ => HeldBack::Nobody,
    }
}

/// Returns the names in texts of a CA that are one of `own`, or above it: those that a limit of a registered domain is about.
fn named(texts: &[String], own: &[DomainName]) -> Vec<String> {
    let is_part_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let words = texts.iter().flat_map(|text| text.split(|c| !is_part_of_name(c)));
    let words = words.map(|word| word.trim_matches('.').to_ascii_lowercase()).filter(|word| word.contains('.'));
    let mut names: Vec<_> = words.filter(|word| own.iter().any(|name| is_at_or_below(name.as_str(), word))).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether a name is another one, or below it.
pub(crate) fn is_at_or_below(name: &str, other: &str) -> bool {
    name.strip_suffix(other).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::HeldBack::{Alike, All, Nobody};
    use super::*;
    use crate::http::HttpError;
    use crate::model::Problem;

    fn domain_names(names: &[&str]) -> Vec<DomainName> {
        names.iter().map(|name| DomainName::parse(name).unwrap()).collect()
    }

    fn problem(kind: &str, http_status: u16, retry_after: Option<Timestamp>) -> AcmeError {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        let problem = Problem { kind, ..Problem::default() };
        AcmeError::Problem { problem, http_status: Some(http_status), retry_after, of_address: false }
    }

    fn status(http_status: u16, retry_after: Option<Timestamp>) -> AcmeError {
        AcmeError::HttpStatus { url: String::new(), http_status, problem: None, moved_to: None, retry_after }
    }

    fn unavailable(http_status: u16, retry_after: Option<Timestamp>) -> AcmeError {
        AcmeError::Unavailable { url: String::new(), http_status, problem: None, moved_to: None, retry_after }
    }

    #[test]
    fn a_failure_holds_back_by_what_the_ca_refused() {
        let later = Some(Timestamp::UNIX_EPOCH);
        let host = || "ca.test".to_owned();
        let slow = || HttpError::TimedOut { host: host(), reason: String::new() };
        let lost = || HttpError::Other { host: host(), reason: String::new() };
        let alike = |kind: &str| Alike { kind: kind.to_owned(), names: Vec::new() };
        let acme = |kind: &str| alike(&format!("urn:ietf:params:acme:error:{kind}"));
        // The failure; whom it holds back before the CA has taken the account, and from then on
        let rows = [
            (AcmeError::NoDirectory { url: String::new(), source: slow() }, All, All),
            (AcmeError::Transport(slow()), All, All),
            (AcmeError::NoDirectory { url: String::new(), source: lost() }, Nobody, Nobody),
            (AcmeError::Transport(lost()), Nobody, Nobody),
            (unavailable(503, None), All, All),
            (unavailable(429, None), All, All),
            (unavailable(500, None), Nobody, Nobody),
            (unavailable(500, later), All, All),
            (unavailable(404, later), Nobody, Nobody),
            (status(503, None), All, All),
            (status(429, None), All, alike("429")),
            (status(500, later), Nobody, Nobody),
            (problem("rateLimited", 429, None), All, acme("rateLimited")),
            (problem("rateLimited", 429, later), All, acme("rateLimited")),
            (problem("rateLimited", 503, later), All, All),
            (problem("serverInternal", 500, None), Nobody, Nobody),
            (problem("serverInternal", 500, later), All, acme("serverInternal")),
            (problem("malformed", 400, later), Nobody, Nobody),
            (problem("rejectedIdentifier", 400, later), Nobody, Nobody),
            (AcmeError::WrongKey, Nobody, Nobody),
        ];
        for (err, before, after) in rows {
            assert_eq!(held_back(&err, false, &[]), before, "{err:?}");
            assert_eq!(held_back(&err, true, &[]), after, "{err:?}");
        }
    }

    #[test]
    fn a_limit_concerns_the_names_that_the_answer_has_of_the_order_or_above_it() {
        let own = domain_names(&["www.shop.example.org", "example.net"]);
        // The last two are as Boulder says it.
        let rows: [(&str, &[&str]); 8] = [
            ("too many requests", &[]),
            ("too many certificates already issued for this exact set of identifiers", &[]),
            ("see https://ca.test/docs/rate-limits.html", &[]),
            ("too many for org", &[]),
            ("not for ample.org or other.example.org", &[]),
            ("'Example.ORG', example.net.", &["example.net", "example.org"]),
            (
                "too many certificates (50) already issued for \"example.org\" in the last 168h0m0s, retry after",
                &["example.org"],
            ),
            (
                "too many failed authorizations (5) for \"www.shop.example.org\" in the last 1h0m0s",
                &["www.shop.example.org"],
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(named(&[text.to_owned()], &own), expected, "{text}");
        }
    }

    #[test]
    fn subproblems_name_whom_a_compound_limit_concerns() {
        let document = serde_json::json!({
            "type": "urn:ietf:params:acme:error:rateLimited",
            "detail": "too many",
            "subproblems": [
                { "detail": "too many for \"example.org\"", "identifier": { "type": "dns", "value": "www.example.org" } },
                7,
            ],
        });
        let refused = AcmeError::Problem {
            problem: Problem::from(document),
            http_status: Some(429),
            retry_after: None,
            of_address: false,
        };
        let HeldBack::Alike { names, .. } = held_back(&refused, true, &domain_names(&["www.example.org"])) else {
            panic!("it concerns names");
        };
        assert_eq!(names, ["example.org", "www.example.org"]);
    }
}
