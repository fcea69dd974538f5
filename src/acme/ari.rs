//! ACME renewal information (RFC 9773): the window that a CA suggests for the renewal of one certificate.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::Session;
use crate::clock::Clock;
use crate::http::{HttpClient, HttpError, Request, RequestKind};
use crate::model::outside;

/// The window in which a CA wants a certificate to be renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalInfo {
    /// Start of the suggested window.
    pub start: Timestamp,
    /// End of the window, later than the start.
    pub end: Timestamp,
    /// URL of a page that explains the window, with the scheme `http` or `https`.
    pub explanation_url: Option<String>,
}

/// Why a CA's renewal information cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AriError {
    /// The request got no answer.
    #[error(transparent)]
    Transport(#[from] HttpError),
    /// The answer is an error.
    #[error("the CA answered with HTTP status {0}")]
    HttpStatus(u16),
    /// The answer lacks a member, or a member cannot be read.
    #[error("renewal info from CA incomplete")]
    Incomplete,
    /// The window does not end after its start.
    #[error("the suggested window does not end after its start: {0} to {1}")]
    NoWindow(Timestamp, Timestamp),
}

impl AriError {
    /// Whether the CA says that it suggests nothing, and not only that it cannot answer now.
    #[must_use]
    pub fn suggests_nothing(&self) -> bool {
        matches!(self, Self::HttpStatus(status @ 400..=499) if !matches!(status, 408 | 429))
    }
}

/// The answer of a CA to one question, and when to ask again.
pub type Asked = (Result<RenewalInfo, AriError>, Timestamp);

/// When to ask again if the CA does not say it (RFC 9773 section 4.3.3).
const INTERVAL: SignedDuration = SignedDuration::from_hours(6);
/// The shortest and the longest time that a CA's `Retry-After` counts for.
const BOUNDS: [SignedDuration; 2] = [SignedDuration::from_mins(1), SignedDuration::from_hours(24)];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    suggested_window: SuggestedWindow,
    #[serde(default, rename = "explanationURL")]
    explanation_url: Value,
}

#[derive(Deserialize)]
struct SuggestedWindow {
    start: String,
    end: String,
}

/// Asks at `endpoint`, the `renewalInfo` of a directory, about the certificate with this identifier (RFC 9773
/// section 4.1). The request is not signed.
pub fn ask(http: &Arc<dyn HttpClient>, clock: &Arc<dyn Clock>, endpoint: &str, id: &str) -> Asked {
    let response =
        http.send(&Request::get(format!("{}/{id}", endpoint.trim_end_matches('/'))).about(RequestKind::RenewalInfo));
    let now = clock.now();
    match response {
        Err(err) => (Err(err.into()), again_at(None, now)),
        Ok(response) => {
            let again = Session::new(Arc::clone(http), Arc::clone(clock)).retry_after(&response);
            let info = match response.status {
                200..=299 => RenewalInfo::parse(&response.body),
                other => Err(AriError::HttpStatus(other)),
            };
            (info, again_at(again, now))
        }
    }
}

/// Returns when to ask again, `retry_after` being the CA's answer to that.
#[must_use]
pub fn again_at(retry_after: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let [least, most] = BOUNDS;
    retry_after.map_or(now + INTERVAL, |at| at.clamp(now + least, now + most))
}

impl RenewalInfo {
    /// Reads an answer (RFC 9773 section 4.2).
    ///
    /// # Errors
    /// If it does not have a window.
    pub fn parse(body: &[u8]) -> Result<Self, AriError> {
        let answer: Answer = outside::json(body).map_err(|_| AriError::Incomplete)?;
        let moment = |text: &str| text.parse::<Timestamp>().map_err(|_| AriError::Incomplete);
        let start = moment(&answer.suggested_window.start)?;
        let end = moment(&answer.suggested_window.end)?;
        if end <= start {
            return Err(AriError::NoWindow(start, end));
        }
        let is_page = |text: &&str| url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        let explanation_url = answer.explanation_url.as_str().filter(is_page).map(str::to_owned);
        Ok(Self { start, end, explanation_url })
    }

    /// Returns a moment in the window. `random` in 0..1 spreads it evenly (RFC 9773 section 4.2).
    #[must_use]
    pub fn moment(&self, random: f64) -> Timestamp {
        let length = self.end.duration_since(self.start).as_secs_f64();
        let into = SignedDuration::from_secs_f64(length * random.clamp(0.0, 1.0));
        self.start.checked_add(into).unwrap_or(self.end).min(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_of_rfc_9773() {
        // Section 4.2
        let body = br#"{
            "suggestedWindow": { "start": "2025-01-02T04:00:00Z", "end": "2025-01-03T04:00:00Z" },
            "explanationURL": "https://acme.example.com/docs/ari"
        }"#;
        let info = RenewalInfo::parse(body).unwrap();
        assert_eq!(info.start.to_string(), "2025-01-02T04:00:00Z");
        assert_eq!(info.end.duration_since(info.start), SignedDuration::from_hours(24));
        assert_eq!(info.explanation_url.as_deref(), Some("https://acme.example.com/docs/ari"));
    }

    #[test]
    fn windows_of_all_forms() {
        let window = |start: &str, end: &str| format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#);
        for (start, end) in [
            ("2025-01-02T04:00:00.123456789Z", "2025-01-02T04:00:01Z"),
            ("2025-01-02T04:00:00+05:30", "2025-01-02T04:00:00-08:00"),
            ("1970-01-01T00:00:00Z", "9999-01-01T00:00:00Z"),
        ] {
            RenewalInfo::parse(window(start, end).as_bytes()).unwrap();
        }
        let moment = "2025-01-02T04:00:00Z";
        for end in [moment, "2025-01-02T03:59:59Z"] {
            assert!(matches!(RenewalInfo::parse(window(moment, end).as_bytes()), Err(AriError::NoWindow(..))), "{end}");
        }
        let one_sided = r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z"}}"#.to_owned();
        let broken = [window("soon", moment), window(moment, ""), one_sided];
        let broken = broken.iter().map(String::as_str).chain(["", "{}", "[]", "<html>", r#"{"suggestedWindow": 7}"#]);
        for body in broken {
            assert!(matches!(RenewalInfo::parse(body.as_bytes()), Err(AriError::Incomplete)), "{body}");
        }
    }

    #[test]
    fn an_explanation_is_a_page_or_none() {
        let with = |url: &str| {
            let body = format!(
                r#"{{"suggestedWindow":{{"start":"2025-01-01T00:00:00Z","end":"2025-01-02T00:00:00Z"}},"explanationURL":{url}}}"#
            );
            RenewalInfo::parse(body.as_bytes()).unwrap().explanation_url
        };
        assert_eq!(with(r#""http://x.org/why""#).as_deref(), Some("http://x.org/why"));
        for url in ["null", "7", r#""""#, r#""javascript:alert(1)""#, r#""why?""#] {
            assert_eq!(with(url), None, "{url}");
        }
    }

    #[test]
    fn ten_thousand_draws_are_within_the_window() {
        let start: Timestamp = "2025-01-02T04:00:00.5Z".parse().unwrap();
        for seconds in [1, 3600, 86_400 * 30] {
            let end = start + SignedDuration::from_secs(seconds);
            let info = RenewalInfo { start, end, explanation_url: None };
            let draws: Vec<_> = (0..=10_000).map(|n| info.moment(f64::from(n) / 10_000.0)).collect();
            assert!(draws.iter().all(|draw| (start..=end).contains(draw)), "{seconds}");
            assert_eq!((draws[0], draws[10_000]), (start, end));
            assert!(draws.windows(2).all(|pair| pair[0] < pair[1]), "evenly");
        }
        let ages = RenewalInfo { start: Timestamp::MIN, end: Timestamp::MAX, explanation_url: None };
        assert_eq!([ages.moment(-1.0), ages.moment(2.0)], [Timestamp::MIN, Timestamp::MAX]);
    }

    #[test]
    fn the_ca_says_when_to_ask_again_within_bounds() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let rows = [(None, 6 * 3600), (Some(0), 60), (Some(-5), 60), (Some(21_600), 21_600), (Some(604_800), 86_400)];
        for (said, expected) in rows {
            let again = again_at(said.map(|seconds| now + SignedDuration::from_secs(seconds)), now);
            assert_eq!(again.duration_since(now).as_secs(), expected, "{said:?}");
        }
    }
}
