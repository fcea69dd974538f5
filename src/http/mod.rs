//! Requests over HTTP: the port that ACME and OCSP use, and its implementation on curl.
// The one exception is fenced in curl.rs.
#![deny(unsafe_code)]

mod budget;
mod curl;
mod error;
mod proxy;
mod requests;

pub use budget::Limit;
pub use curl::{CurlClient, CurlSettings};
pub use error::HttpError;
pub use proxy::Proxy;
pub use requests::{Counted, Outcome as RequestOutcome, RequestCounts, RequestKind, StatusClass};

use std::path::PathBuf;

use crate::model::time::{SignedDuration, parse_gmt};
use crate::model::{Timestamp, outside};

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are HTTP's")]
pub enum Method {
    Get,
    Head,
    Post,
}

/// A request for one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The absolute URL, of `http` or `https`.
    pub url: String,
    /// Headers in addition to those of the client.
    pub headers: Vec<(String, String)>,
    /// The body; empty unless the method is POST.
    pub body: Vec<u8>,
    /// The most bytes of the answer: status lines, headers, body and trailers together.
    pub limit: usize,
    /// The Unix domain socket to use instead of the network. Proxies are ignored then, and the server may be silent for as long
    /// as it works.
    pub socket: Option<PathBuf>,
    /// The resource that it is about, for the counts.
    pub kind: RequestKind,
}

/// An answer, with any status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// The status, e.g. 200.
    pub status: u16,
    /// The headers that some caller reads, in the order of the answer.
    pub headers: Vec<(String, String)>,
    /// The body, complete.
    pub body: Vec<u8>,
}

/// An HTTP client. Calls block until the answer is complete; threads may share a client, and their requests run side by side.
pub trait HttpClient: Send + Sync {
    /// Sends the request and reads the answer. Redirects are not followed: they are answers, too.
    ///
    /// # Errors
    /// If there is no complete answer; see [`HttpError`]. Requests are not repeated.
    fn send(&self, request: &Request) -> Result<Response, HttpError>;
}

impl Request {
    /// The usual limit of an answer, in bytes.
    pub const LIMIT: usize = 1 << 20;

    /// Makes a GET.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: Method::Get,
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            limit: Self::LIMIT,
            socket: None,
            kind: RequestKind::Other,
        }
    }

    /// Makes a HEAD.
    #[must_use]
    pub fn head(url: impl Into<String>) -> Self {
        Self { method: Method::Head, ..Self::get(url) }
    }

    /// Makes a POST of a body with its `Content-Type`.
    #[must_use]
    pub fn post(url: impl Into<String>, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: Method::Post, body: body.into(), ..Self::get(url) }.header("Content-Type", content_type)
    }

    /// Says which resource the request is about.
    #[must_use]
    pub fn about(mut self, kind: RequestKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sends the request through this Unix domain socket.
    #[must_use]
    pub fn through(mut self, socket: impl Into<PathBuf>) -> Self {
        self.socket = Some(socket.into());
        self
    }

    /// Adds a header to the request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Response {
    /// The headers that are kept; there is no use for others.
    const KEPT: [&str; 6] = ["Content-Type", "Date", "Link", "Location", "Replay-Nonce", "Retry-After"];

    /// Keeps a header of the answer, unless nobody reads it or it is too long.
    pub(crate) fn keep_header(&mut self, name: &str, value: &str) {
        let is_kept = Self::KEPT.iter().any(|kept| kept.eq_ignore_ascii_case(name));
        if is_kept && value.len() <= outside::LONGEST {
            self.headers.push((name.to_owned(), outside::header(value)));
        }
    }

    /// Returns the value of the first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns the values of all headers of this name, in any case.
    pub fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns when the server wants to be asked again (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn retry_after(&self, now: Timestamp) -> Option<Timestamp> {
        let text = self.header("Retry-After")?.trim();
        if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
            return parse_gmt(text);
        }
        // More seconds than fit count as a century.
        Some(now + SignedDuration::from_secs(text.parse::<u32>().unwrap_or(u32::MAX).into()))
    }

    /// Returns the `Content-Type` in lower case, without parameters.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        let value = self.header("Content-Type")?;
        let essence = value.split(';').next().unwrap_or_default().trim();
        (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_any_case() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![
            header("link", "<a>"),
            header("Content-TYPE", "Application/Problem+JSON ; charset=utf-8"),
            header("Link", "<b>"),
        ];
        let response = Response { headers, ..Response::default() };
        assert_eq!(response.header("LINK"), Some("<a>"));
        assert_eq!(response.headers_named("link").collect::<Vec<_>>(), ["<a>", "<b>"]);
        assert_eq!(response.content_type().as_deref(), Some("application/problem+json"));
        assert_eq!(Response::default().content_type(), None);
    }

    #[test]
    fn headers_are_kept_if_they_are_read_and_short_and_without_control_characters() {
        let longest = "x".repeat(outside::LONGEST);
        let long = format!("{longest}x");
        let rows = [
            ("location", "https://ca/1", Some("https://ca/1")),
            ("Replay-Nonce", &longest, Some(&longest[..])),
            ("Replay-Nonce", &long, None),
            ("Content-Type", "text/\u{1b}[2Jhtml", Some("text/?[2Jhtml")),
            ("Set-Cookie", "a=b", None),
        ];
        for (name, value, expected) in rows {
            let mut response = Response::default();
            response.keep_header(name, value);
            assert_eq!(response.header(name), expected, "{name}");
        }
    }
}
