//! Documents about Managed Domains: status in JSON, as a page and as metrics.

use std::borrow::Cow;
use std::ffi::CStr;

use serde_json::{Value, json};

use crate::documents::to_json;
use crate::model::DomainName;
use crate::registry::Registry;
use crate::status::{self, MetricsFormat, PageLink, PageRequest};

/// The path of the document for `MDCertificateStatus`.
pub const CERTIFICATE_STATUS: &str = "/.httpd/certificate-status";

/// A document that `SetHandler` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// `md-status`: the status of all domains, or of one, in JSON.
    Status,
    /// `md-page`: the status of all domains, for people.
    Page,
    /// `md-metrics`: figures for monitoring.
    Metrics,
}

/// The part of a request that a document depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'r> {
    /// The path, percent-encoded.
    pub path: Option<&'r str>,
    /// The path behind that of the handler; its last part names a domain.
    pub path_info: Option<&'r str>,
    /// The path at which the server has the handler, if that is known.
    pub location: Option<&'r str>,
    /// The part of the URL that follows `?`.
    pub query: Option<&'r str>,
    /// The name of the server.
    pub server: Option<&'r str>,
    /// The header `Accept`.
    pub accept: Option<&'r str>,
}

/// A response with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static CStr,
    /// Other headers.
    pub headers: Vec<(&'static CStr, Cow<'static, str>)>,
    /// The content.
    pub body: Vec<u8>,
}

impl Handler {
    /// Returns the handler of this name.
    #[must_use]
    pub fn called(name: &str) -> Option<Self> {
        match name {
            "md-status" => Some(Self::Status),
            "md-page" => Some(Self::Page),
            "md-metrics" => Some(Self::Metrics),
            _ => None,
        }
    }

    /// Makes the document.
    #[must_use]
    pub fn document(self, asked: Asked<'_>, registry: &Registry) -> Document {
        match self {
            Self::Status => match asked.path_info.and_then(|path| path.rsplit('/').next()).unwrap_or_default() {
                "" => Document::json(200, &status::listing(registry)),
                name => domain(registry, name),
            },
            Self::Page => Document::page(asked, registry),
            Self::Metrics => {
                let format = MetricsFormat::wanted(asked.accept.unwrap_or_default());
                let content_type = match format {
                    MetricsFormat::OpenMetrics => c"application/openmetrics-text; version=1.0.0; charset=utf-8",
                    MetricsFormat::Text => c"text/plain; version=0.0.4; charset=utf-8",
                };
                let body = status::metrics(registry, format, asked.query.unwrap_or_default()).into();
                Document { status: 200, content_type, headers: vec![(c"Vary", "Accept".into())], body }
            }
        }
    }
}

impl Document {
    /// Makes the document with public facts about the certificate of `host` (`MDCertificateStatus`); `None` if that is off, or no
    /// domain has the host.
    #[must_use]
    pub fn about_certificate(host: &DomainName, registry: &Registry) -> Option<Self> {
        let position = registry.index.covering(host).filter(|_| registry.globals.certificate_status)?;
        Some(Self::json(200, &status::certificate_status(registry, position).unwrap_or_default()))
    }

    /// Makes the page of all domains, or of the one that is named behind its path.
    fn page(asked: Asked<'_>, registry: &Registry) -> Self {
        let path = asked.path.unwrap_or_default();
        let last = asked.path_info.and_then(|path| path.rsplit('/').next()).filter(|last| !last.is_empty());
        // The path behind a handler of unknown place, or in a folder that does not exist, may be the handler's own.
        let rest = asked.location.and_then(|location| path.strip_prefix(location.trim_end_matches('/')));
        let is_behind = rest.map(|rest| !rest.trim_matches('/').is_empty());
        let is_known = |name: &str| DomainName::parse(name).is_ok_and(|name| registry.index.covering(&name).is_some());
        let is_name = |name: &&str| is_behind.unwrap_or_else(|| is_known(name));
        let name = last.filter(is_name);
        let request = PageRequest { path, name, query: asked.query.unwrap_or_default(), server: asked.server };
        let page = status::page(registry, &request);
        let mut headers: Vec<(&'static CStr, Cow<'static, str>)> = vec![
            // Some of the text comes from CAs: should a script get past the escapes, no browser runs it.
            (c"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'".into()),
            (c"Cache-Control", "no-store".into()),
        ];
        headers.extend(page.refresh.map(|seconds| (c"Refresh", seconds.to_string().into())));
        let status = if page.is_found { 200 } else { 404 };
        Self { status, content_type: c"text/html; charset=utf-8", headers, body: page.html.into() }
    }

    fn json(status: u16, value: &impl serde::Serialize) -> Self {
        let body = to_json(value).unwrap_or_default();
        Self { status, content_type: c"application/json", headers: Vec::new(), body }
    }
}

/// Returns the part of server-status that is about domains: all of them if `MDServerStatus` is on, and a summary for people if it
/// is not set. `location` returns the path at which the server has a handler of this name.
#[must_use]
pub fn server_status<'s>(
    registry: &Registry,
    for_programs: bool,
    location: impl Fn(&CStr) -> Option<&'s str>,
) -> String {
    match (registry.globals.server_status, for_programs) {
        (Some(false), _) | (None, true) => String::new(),
        (Some(true), true) => status::auto(registry),
        (Some(true), false) => status::section(registry),
        (None, false) => {
            let page = location(c"md-page").map(PageLink::Page);
            let link = page.or_else(|| location(c"md-status").map(PageLink::Status));
            // Elsewhere `%`, `?` and others would need escapes.
            let is_plain =
                |path: &str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte));
            status::summary(registry, link.filter(|link| is_plain(link.path())))
        }
    }
}

fn domain(registry: &Registry, name: &str) -> Document {
    match status::domain(registry, name) {
        Some(document) => Document::json(200, &document),
        None => {
            let unknown: Value = json!({ "error": format!("there is no managed domain '{name}'") });
            Document::json(404, &unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestServer;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    #[test]
    fn handlers_go_by_their_names() {
        for (text, expected) in [
            ("md-status", Some(Handler::Status)),
            ("md-page", Some(Handler::Page)),
            ("md-metrics", Some(Handler::Metrics)),
            ("MD-STATUS", None),
            ("server-status", None),
        ] {
            assert_eq!(Handler::called(text), expected, "{text}");
        }
    }

    #[test]
    fn the_last_part_of_the_path_names_a_domain() {
        let registry = TestServer::new(&["a.test", "b.test"]).start(false);
        let rows = [
            (None, 200, Some("managed-domains")),
            (Some("/"), 200, Some("managed-domains")),
            (Some("/a.test"), 200, Some("name")),
            (Some("/x/b.test"), 200, Some("name")),
            (Some("/c.test"), 404, Some("error")),
        ];
        for (path_info, status, member) in rows {
            let document = Handler::Status.document(Asked { path_info, ..Asked::default() }, &registry);
            assert_eq!((document.status, document.content_type), (status, c"application/json"), "{path_info:?}");
            let value: Value = serde_json::from_slice(&document.body).unwrap();
            assert!(member.is_some_and(|member| value.get(member).is_some()), "{path_info:?}: {value}");
        }
    }

    #[test]
    fn server_status_has_all_domains_if_told_so_and_else_a_summary_for_people() {
        let mut server = TestServer::new(&["a.test"]);
        let rows = [
            (None, true, [false, false]),
            (None, false, [true, false]),
            (Some(true), true, [true, true]),
            (Some(true), false, [true, true]),
            (Some(false), true, [false, false]),
            (Some(false), false, [false, false]),
        ];
        for (setting, for_programs, expected) in rows {
            server.globals.server_status = setting;
            let text = server_status(&server.start(false), for_programs, |_| None);
            let found = ["a.test", "ca.test"].map(|part| text.contains(part));
            assert_eq!(found, expected, "{setting:?} {for_programs}: {text}");
        }
    }

    #[test]
    fn a_summary_leads_to_the_page_of_all_domains_if_its_path_needs_no_escapes() {
        let registry = TestServer::new(&["a.test"]).start(false);
        for (page, status, expected) in [
            (Some("/a-b/page"), Some("/json"), Some("<a href=\"/a-b/page/a.test\">a.test</a>")),
            (None, Some("/json/"), Some("<a href=\"/json/a.test\">a.test</a>")),
            (Some("/100%"), None, None),
            (None, None, None),
        ] {
            let location = |handler: &CStr| if handler == c"md-page" { page } else { status };
            let text = server_status(&registry, false, location);
            assert!(expected.is_none_or(|link| text.contains(link)), "{text}");
            assert_eq!(text.contains("<a "), expected.is_some(), "{text}");
        }
    }

    #[test]
    fn a_page_runs_no_scripts() {
        let registry = TestServer::new(&["a.test"]).start(false);
        let document = Handler::Page.document(Asked::default(), &registry);
        assert_eq!((document.status, document.content_type), (200, c"text/html; charset=utf-8"));
        let (header, policy) = &document.headers[0];
        assert_eq!(*header, c"Content-Security-Policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("script"));
        assert!(String::from_utf8(document.body).unwrap().contains("a.test"));
    }

    #[test]
    fn the_format_of_metrics_is_what_the_client_accepts() {
        let registry = TestServer::new(&["a.test"]).start(false);
        let rows = [
            (None, c"text/plain; version=0.0.4; charset=utf-8"),
            (Some("text/plain"), c"text/plain; version=0.0.4; charset=utf-8"),
            (Some("application/openmetrics-text"), c"application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ];
        for (accept, content_type) in rows {
            let document = Handler::Metrics.document(Asked { accept, ..Asked::default() }, &registry);
            assert_eq!((document.status, document.content_type), (200, content_type), "{accept:?}");
            assert_eq!(document.headers, [(c"Vary", "Accept".into())]);
        }
    }

    #[test]
    fn anybody_may_ask_for_the_certificate_of_a_domain_unless_that_is_off() {
        let mut server = TestServer::new(&["a.test"]);
        for (is_on, host, expected) in [(true, "a.test", true), (true, "b.test", false), (false, "a.test", false)] {
            server.globals.certificate_status = is_on;
            let found = Document::about_certificate(&name(host), &server.start(false));
            assert_eq!(found.map(|document| document.status), expected.then_some(200), "{is_on} {host}");
        }
    }
}
