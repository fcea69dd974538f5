//! Signed requests to one CA: nonces, JWS, and problem documents (RFC 8555 section 6).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{AcmeError, Directory};
use crate::clock::Clock;
use crate::crypto::{KeyRef, PrivateKey, sign_jws};
use crate::http::{HttpClient, Request, RequestKind, Response};
use crate::model::{Problem, outside, without_passwords};

/// A client of one CA. Renewals do not share it.
pub struct Session {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    /// An unused nonce; good for one request.
    pub(crate) nonce: Option<String>,
    /// Whether the CA has answered a signed request, so that what is known of CA and account is not out of date.
    pub(crate) is_heard: bool,
    /// The resource that signed requests are about, for the counts.
    kind: RequestKind,
}

impl Session {
    /// The longest wait that a CA's `Retry-After` can ask for.
    const MAX_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// Starts a session without a nonce.
    #[must_use]
    pub fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        Self { http, clock, nonce: None, is_heard: false, kind: RequestKind::Other }
    }

    /// Says which resource the signed requests from now on are about.
    pub fn about(&mut self, kind: RequestKind) -> &mut Self {
        self.kind = kind;
        self
    }

    /// Reads the directory (RFC 8555 section 7.1.1).
    ///
    /// # Errors
    /// If there is no answer, or it is not a directory.
    pub fn directory(&mut self, url: &str) -> Result<Directory, AcmeError> {
        let shown = without_passwords(url);
        let response = self
            .http
            .send(&Request::get(url).about(RequestKind::Directory))
            .map_err(|source| AcmeError::NoDirectory { url: shown.clone().into_owned(), source })?;
        if !is_success(&response) {
            return Err(self.unavailable(&shown, &response));
        }
        Directory::parse(&shown, &response.body)
    }

    /// Sends `payload`, signed with the account key, in one attempt: a refused nonce is [`AcmeError::BadNonce`], and the
    /// next attempt uses the nonce that came with it.
    ///
    /// # Errors
    /// If there is no answer, or the CA refuses.
    pub fn post(
        &mut self,
        directory: &Directory,
        url: &str,
        key: &PrivateKey,
        key_ref: KeyRef<'_>,
        payload: &impl Serialize,
    ) -> Result<Response, AcmeError> {
        let payload =
            serde_json::to_vec(payload).map_err(|_| AcmeError::Lacks { url: url.to_owned(), what: "a payload" })?;
        self.send(directory, url, key, key_ref, &payload)
    }

    /// Reads a resource (POST-as-GET, RFC 8555 section 6.3).
    ///
    /// # Errors
    /// If there is no answer, or the CA refuses.
    pub fn read(
        &mut self,
        directory: &Directory,
        url: &str,
        key: &PrivateKey,
        account_url: &str,
    ) -> Result<Response, AcmeError> {
        self.send(directory, url, key, KeyRef::Kid(account_url), b"")
    }

    fn send(
        &mut self,
        directory: &Directory,
        url: &str,
        key: &PrivateKey,
        key_ref: KeyRef<'_>,
        payload: &[u8],
    ) -> Result<Response, AcmeError> {
        directory.check(url)?;
        let nonce = self.take_nonce(directory)?;
        let body = sign_jws(key, url, Some(&nonce), key_ref, payload)?;
        let response = self.http.send(&Request::post(url, "application/jose+json", body).about(self.kind))?;
        self.keep_nonce(&response);
        let answer = if is_success(&response) { Ok(response) } else { Err(self.error(url, &response)) };
        self.is_heard |= !matches!(&answer, Err(err) if matches!(err, AcmeError::BadNonce) || err.may_be_outdated());
        answer
    }

    fn take_nonce(&mut self, directory: &Directory) -> Result<String, AcmeError> {
        if self.nonce.is_none() {
            let url = &directory.new_nonce;
            let response = self.http.send(&Request::head(url).about(RequestKind::Nonce))?;
            if !is_success(&response) {
                // A failed HEAD says nothing about the account, whatever its status.
                return Err(self.unavailable(url, &response));
            }
            self.keep_nonce(&response);
        }
        self.nonce.take().ok_or_else(|| AcmeError::Lacks { url: directory.new_nonce.clone(), what: "a Replay-Nonce" })
    }

    fn keep_nonce(&mut self, response: &Response) {
        if let Some(nonce) = response.header("Replay-Nonce") {
            self.nonce = Some(nonce.to_owned());
        }
    }

    fn unavailable(&self, url: &str, response: &Response) -> AcmeError {
        AcmeError::Unavailable {
            url: url.to_owned(),
            http_status: response.status,
            problem: problem(response),
            moved_to: moved_to(response),
            retry_after: self.retry_after(response),
        }
    }

    fn error(&self, url: &str, response: &Response) -> AcmeError {
        let retry_after = self.retry_after(response);
        let url = url.to_owned();
        let http_status = response.status;
        match problem(response) {
            Some(problem) if problem.is("badNonce") => AcmeError::BadNonce,
            Some(problem) if problem.is_acme() || is_problem(response) && problem.has_type() => {
                AcmeError::Problem { problem: *problem, http_status: Some(http_status), retry_after, of_address: false }
            }
            problem => AcmeError::HttpStatus { url, http_status, problem, moved_to: moved_to(response), retry_after },
        }
    }

    /// Returns when the CA wants to be asked again (RFC 9110 section 10.2.3), at most a week from now.
    #[must_use]
    pub fn retry_after(&self, response: &Response) -> Option<Timestamp> {
        response.header("Retry-After")?;
        let now = self.clock.now();
        Some(response.retry_after(now)?.min(now + Self::MAX_RETRY_AFTER))
    }
}

/// Reads the JSON of an answer.
///
/// # Errors
/// If the body is not JSON of that shape.
pub fn json<T: DeserializeOwned>(url: &str, response: &Response) -> Result<T, AcmeError> {
    outside::json(&response.body).map_err(|_| AcmeError::NotUnderstood {
        url: url.to_owned(),
        http_status: response.status,
        content_type: response.content_type().unwrap_or_else(|| "none".to_owned()),
    })
}

/// Returns the URL of the resource that a request created.
///
/// # Errors
/// If the answer has no `Location`, or the URL may not be asked.
pub fn location(directory: &Directory, url: &str, response: &Response) -> Result<String, AcmeError> {
    let location = response.header("Location");
    let location = location.ok_or_else(|| AcmeError::Lacks { url: url.to_owned(), what: "a Location" })?;
    directory.check(location)?;
    Ok(location.to_owned())
}

/// The payload that tells a CA to look at a challenge (RFC 8555 section 7.5.1).
#[must_use]
pub fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

fn is_problem(response: &Response) -> bool {
    response.content_type().as_deref() == Some("application/problem+json")
}

/// Reads the problem document of an answer, whatever the type of the body: servers and proxies get the type wrong, and the
/// status says already that the answer is an error.
fn problem(response: &Response) -> Option<Box<Problem>> {
    let value: Value = outside::json(&response.body).ok()?;
    let told = Problem::from(value);
    // RFC 8555 sections 6.6 and 7.3.3.
    let for_people = |(relation, _): &(String, _)| matches!(relation.as_str(), "help" | "terms-of-service");
    let linked = links(response).filter(for_people).map(|(_, url)| url);
    let see = told.see.iter().cloned().chain(linked).collect();
    let problem = Problem { see, http_status: response.status, ..told };
    (problem.is_acme() || !problem.detail.is_empty()).then(|| Box::new(problem))
}

/// Returns the relations and targets of the `Link` headers (RFC 8288).
fn links(response: &Response) -> impl Iterator<Item = (String, String)> {
    let links = response.headers_named("Link").flat_map(|value| value.split(','));
    links.filter_map(|link| {
        let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let relation = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("rel="))?;
        Some((relation.trim_matches('"').to_ascii_lowercase(), url.to_owned()))
    })
}

fn moved_to(response: &Response) -> Option<String> {
    response.header("Location").filter(|_| (300..400).contains(&response.status)).map(str::to_owned)
}

fn is_success(response: &Response) -> bool {
    (200..300).contains(&response.status)
}
