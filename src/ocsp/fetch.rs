//! Asks a responder over HTTP and checks the response.

use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;

use super::freshness::{self, FreshnessError, Validity};
use crate::crypto::{Certificate, CryptoError, OcspError, OcspIssuer, Revocation, ocsp_request, read_ocsp_response};
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::model::Status;

/// The longest time to connect to a responder.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time for a request and its answer.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes of an answer; responses have one to five thousand.
const LIMIT: usize = 1 << 16;

/// The longest URL that is asked with GET (RFC 5019 section 5).
const LONGEST_URL: usize = 255;

const RESPONSE_TYPE: &str = "application/ocsp-response";

/// A response that can be stapled now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The response.
    pub der: Vec<u8>,
    /// The status of the certificate, never `Unknown`.
    pub revocation: Revocation,
    /// The time in which the response is valid.
    pub validity: Validity,
}

/// Why there is no response. The text says what happened and what can be done.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// OpenSSL cannot read the certificate, or that of its issuer.
    #[error("the OCSP request cannot be made: {0}")]
    Request(#[from] CryptoError),
    /// The request got no answer.
    #[error("{0}{advice}", advice = .0.advice().map(|advice| format!("; {advice}")).unwrap_or_default())]
    Http(#[from] HttpError),
    /// The answer has an error status.
    #[error("{url} answered with status {status}; the CA's responder is faulty or overloaded and is asked again")]
    HttpStatus {
        /// URL of the responder.
        url: String,
        /// The status.
        status: u16,
        /// When the responder wants to be asked again.
        retry_after: Option<Timestamp>,
    },
    /// The answer is not an OCSP response.
    #[error(
        "{url} answered with '{found}' instead of an OCSP response; check that nothing between this machine and the responder \
         answers for it"
    )]
    ContentType {
        /// URL of the responder.
        url: String,
        /// The `Content-Type` of the answer.
        found: String,
    },
    /// The response cannot be verified.
    #[error("the response of {url} cannot be used: {reason}")]
    Response {
        /// URL of the responder.
        url: String,
        /// The error.
        reason: OcspError,
    },
    /// The response is not valid now.
    #[error("the response of {url} cannot be used: {reason}")]
    Freshness {
        /// URL of the responder.
        url: String,
        /// The error.
        reason: FreshnessError,
    },
    /// The responder does not know the certificate.
    #[error(
        "{url} does not know the certificate; a new certificate may take the CA some minutes, otherwise report this to the CA"
    )]
    Unknown {
        /// URL of the responder.
        url: String,
    },
}

impl FetchError {
    /// Returns the result code to report.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Http(err) => err.status(),
            Self::HttpStatus { status: 429 | 503, .. } => Status::AGAIN,
            Self::Unknown { .. } => Status::NOT_FOUND,
            Self::Response { .. } | Self::Freshness { .. } | Self::ContentType { .. } => Status::INVALID,
            Self::Request(_) | Self::HttpStatus { .. } => Status::GENERAL,
        }
    }

    /// Returns the problem type. Monitoring reads these names, so they stay as they are.
    #[must_use]
    pub fn problem(&self) -> &'static str {
        match self {
            Self::Request(_) => "ocsp-request",
            Self::Http(err) => err.problem(),
            Self::HttpStatus { .. } => "ocsp-http-status",
            Self::ContentType { .. } | Self::Response { .. } | Self::Freshness { .. } => "ocsp-response-invalid",
            Self::Unknown { .. } => "ocsp-unknown",
        }
    }

    /// Whether this server cancelled the request, which does not count as a failure.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Http(err) if err.is_cancelled())
    }

    /// Whether a question about another certificate would most likely fail at this responder in the same way.
    #[must_use]
    pub fn is_of_responder(&self) -> bool {
        match self {
            Self::Http(err) => !err.is_cancelled(),
            Self::HttpStatus { status, .. } => matches!(status, 429 | 500..),
            Self::ContentType { .. } => true,
            _ => false,
        }
    }

    /// Returns when the responder wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Timestamp> {
        match self {
            Self::HttpStatus { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Asks the responder at `url` about a certificate: with GET if the request fits into a URL, as such answers can be cached;
/// with
/// POST otherwise, or if GET is refused.
///
/// # Errors
/// See [`FetchError`]. A response that is not valid `now` is an error.
pub fn fetch(
    http: &dyn HttpClient,
    url: &str,
    leaf: &Certificate,
    issuer: &OcspIssuer,
    now: Timestamp,
) -> Result<Fetched, FetchError> {
    let question = ocsp_request(leaf, issuer)?;
    let response = ask(http, url, question)?;
    if response.status != 200 {
        let retry_after = response.retry_after(now);
        return Err(FetchError::HttpStatus { url: url.to_owned(), status: response.status, retry_after });
    }
    if let Some(found) = response.content_type().filter(|found| found != RESPONSE_TYPE) {
        return Err(FetchError::ContentType { url: url.to_owned(), found });
    }
    judge(url, response.body, leaf, issuer, now)
}

fn judge(
    url: &str,
    der: Vec<u8>,
    leaf: &Certificate,
    issuer: &OcspIssuer,
    now: Timestamp,
) -> Result<Fetched, FetchError> {
    let url = || url.to_owned();
    let answer =
        read_ocsp_response(&der, leaf, issuer, now).map_err(|reason| FetchError::Response { url: url(), reason })?;
    let validity = freshness::check(&answer, now).map_err(|reason| FetchError::Freshness { url: url(), reason })?;
    match answer.revocation {
        Revocation::Unknown => Err(FetchError::Unknown { url: url() }),
        revocation => Ok(Fetched { der, revocation, validity }),
    }
}

fn ask(http: &dyn HttpClient, url: &str, question: Vec<u8>) -> Result<Response, HttpError> {
    if let Some(long) = with_question(url, &question) {
        let response = http.send(&Request { limit: LIMIT, ..Request::get(long) })?;
        // Responders that take only POST refuse GET with various statuses.
        if !matches!(response.status, 400..=428 | 430..=499 | 501) {
            return Ok(response);
        }
    }
    http.send(&Request { limit: LIMIT, ..Request::post(url, "application/ocsp-request", question) })
}

/// Returns the URL for a GET (RFC 6960 appendix A.1), unless it is too long.
fn with_question(url: &str, question: &[u8]) -> Option<String> {
    let question = BASE64.encode(question).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let long = format!("{}/{question}", url.strip_suffix('/').unwrap_or(url));
    (long.len() <= LONGEST_URL && !url.contains(['?', '#'])).then_some(long)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::http::Method;
    use crate::testing::responder::{Said, Signatory};

    const URL: &str = "http://ocsp.test/x";

    /// Gives one answer after the other.
    struct Server(Mutex<Vec<Response>>, Mutex<Vec<Request>>);

    impl HttpClient for Server {
        fn send(&self, request: &Request) -> Result<Response, HttpError> {
            self.1.lock().unwrap().push(request.clone());
            Ok(self.0.lock().unwrap().remove(0))
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn answer(status: u16, kind: Option<&str>, body: &[u8]) -> Response {
        let headers = kind.map(|kind| ("Content-Type".to_owned(), kind.to_owned())).into_iter().collect();
        Response { status, headers, body: body.to_vec() }
    }

    struct Case {
        ca: Signatory,
        leaf: Certificate,
    }

    impl Case {
        fn new() -> Self {
            let ca = Signatory::ca("CA", now());
            Self { leaf: ca.leaf("a.org", Some(URL), false, now()), ca }
        }

        fn says(&self, said: &Said<'_>) -> Vec<u8> {
            self.ca.answer(&self.leaf, now(), said)
        }

        fn fetch(&self, url: &str, answers: Vec<Response>) -> (Result<Fetched, FetchError>, Vec<Request>) {
            let server = Server(Mutex::new(answers), Mutex::default());
            let result = fetch(&server, url, &self.leaf, &self.ca.issuer(), now());
            (result, server.1.into_inner().unwrap())
        }
    }

    #[test]
    fn a_request_that_fits_is_a_get_and_a_longer_one_a_post() {
        let case = Case::new();
        let good = case.says(&Said::default());
        let question = ocsp_request(&case.leaf, &case.ca.issuer()).unwrap();
        for (url, is_get) in [
            (URL.to_owned(), true),
            (format!("{URL}/"), true),
            (format!("http://ocsp.test/{}", "x".repeat(200)), false),
            ("http://ocsp.test/?ca=1".to_owned(), false),
        ] {
            let (result, requests) = case.fetch(&url, vec![answer(200, Some(RESPONSE_TYPE), &good)]);
            let validity = (now() - Duration::from_secs(60), now() + Duration::from_secs(86_400));
            assert_eq!(result.unwrap(), Fetched { der: good.clone(), revocation: Revocation::Good, validity });
            let [request] = &requests[..] else { panic!("{requests:?}") };
            if is_get {
                let text = request.url.strip_prefix("http://ocsp.test/x/").unwrap();
                let text = text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
                assert_eq!((request.method, BASE64.decode(text.as_bytes()).unwrap()), (Method::Get, question.clone()));
            } else {
                assert_eq!((request.method, &request.url, &request.body), (Method::Post, &url, &question));
                assert_eq!(request.headers, [("Content-Type".to_owned(), "application/ocsp-request".to_owned())]);
            }
        }
    }

    #[test]
    fn a_refused_get_is_followed_by_a_post() {
        let case = Case::new();
        let good = || answer(200, Some(RESPONSE_TYPE), &case.says(&Said::default()));
        for (status, asks) in [(405, 2), (404, 2), (400, 2), (501, 2), (429, 1), (500, 1), (503, 1), (302, 1)] {
            let (result, requests) = case.fetch(URL, vec![answer(status, None, b""), good()]);
            assert_eq!((result.is_ok(), requests.len()), (asks == 2, asks), "{status}");
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let case = Case::new();
        let other = Signatory::ca("CA", now());
        let good = case.says(&Said::default());
        let said = |said: Said<'_>| answer(200, Some(RESPONSE_TYPE), &case.says(&said));
        let rows = [
            (answer(200, Some("text/html"), &good), Status::INVALID, true, "answered with 'text/html' instead of"),
            (answer(200, Some(RESPONSE_TYPE), b"<html>"), Status::INVALID, false, "it is not an OCSP response"),
            (answer(200, None, b""), Status::INVALID, false, "it is not an OCSP response"),
            (answer(500, None, b""), Status::GENERAL, true, "answered with status 500;"),
            (answer(503, None, b""), Status::AGAIN, true, "answered with status 503;"),
            (answer(301, None, b""), Status::GENERAL, false, "answered with status 301;"),
            (said(Said { revocation: Revocation::Unknown, ..Said::default() }), Status::NOT_FOUND, false, "not know"),
            (said(Said { next_update: Some(-1), ..Said::default() }), Status::INVALID, false, "it was valid until"),
            (said(Said { this_update: 900, ..Said::default() }), Status::INVALID, false, "it is valid from"),
            (
                said(Said { signer: Some((&other, true)), ..Said::default() }),
                Status::INVALID,
                false,
                "is not signed by",
            ),
            (said(Said { response: 3, ..Said::default() }), Status::INVALID, false, "refuses to answer: tryLater"),
        ];
        for (response, status, is_of_responder, words) in rows {
            let err = case.fetch(URL, vec![response]).0.unwrap_err();
            assert_eq!((err.status(), err.is_of_responder()), (status, is_of_responder), "{err}");
            assert!(err.to_string().contains(words), "{err}");
        }
    }

    #[test]
    fn a_responder_may_ask_for_patience_and_a_revocation_is_an_answer() {
        let case = Case::new();
        let mut busy = answer(503, None, b"");
        busy.headers.push(("Retry-After".to_owned(), "120".to_owned()));
        let err = case.fetch(URL, vec![busy]).0.unwrap_err();
        assert_eq!(err.retry_after(), Some(now() + Duration::from_secs(120)));
        let revoked = case.says(&Said { revocation: Revocation::Revoked, next_update: None, ..Said::default() });
        let fetched = case.fetch(URL, vec![answer(200, Some("Application/OCSP-Response;x=1"), &revoked)]).0.unwrap();
        assert_eq!(fetched.revocation, Revocation::Revoked);
        assert_eq!(fetched.validity.1, now() + Duration::from_secs(12 * 3600 - 60));
    }
}
