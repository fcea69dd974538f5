//! Requests that the module answers itself.

use std::ffi::CStr;

use super::boundary::Null;
use super::c::request::{Answer, Request};
use super::live;
use super::log::for_request;
use crate::documents::to_json;
use crate::log::{AH10081, Record};
use crate::registry::Registry;
use crate::serving::http_01::{is_allowed, is_challenge, is_for_another, token};
use crate::status::{self, MetricsFormat};
use crate::store::{Aspect, Group, StoreError};

const CERTIFICATE_STATUS: &str = "/.httpd/certificate-status";

const JSON: &CStr = c"application/json";

/// Seconds after which a client may find a certificate in place of the placeholder.
const RETRY_AFTER: &str = "30";

/// Answers 503 on hosts that have only a placeholder: nothing is served under a certificate that nobody can trust.
pub fn unavailable(request: Request<'_>) -> Result<Answer, Null> {
    let connection = request.connection()?;
    let server = request.server()?;
    if is_challenge(request.path()) || !connection.is_tls() || !server.config()?.host.has_placeholder() {
        return Ok(Answer::Declined);
    }
    if live::is_trusted(server, connection)? {
        return Ok(Answer::Declined);
    }
    request.set_error_header(c"Retry-After", RETRY_AFTER);
    Ok(Answer::Status(503))
}

/// Answers with the data of an http-01 challenge (RFC 8555 section 8.3). A token without data is left to other modules.
pub fn http_01(request: Request<'_>) -> Result<Answer, Null> {
    let Some(token) = request.path().and_then(token) else { return Ok(Answer::Declined) };
    let Some(host) = request.hostname() else { return Ok(Answer::Declined) };
    let Some(registry) = registry(request)? else { return Ok(Answer::Declined) };
    let domain = registry.index.covering(&host).map(|position| &registry.domains[position].md);
    if domain.is_some_and(|md| !is_allowed(&md.ca.challenges)) {
        return Ok(Answer::Declined);
    }
    let data = match registry.documents.store().load(Group::Challenges, host.as_str(), &Aspect::Http01) {
        Ok(Some(data)) => data,
        Ok(None) | Err(StoreError::Name(_)) => return Ok(Answer::Declined),
        Err(err) => {
            for_request(
                request,
                &Record {
                    level: AH10081.level,
                    number: Some(AH10081.number),
                    status: err.status(),
                    text: format_args!("{err}"),
                },
            );
            return Ok(Answer::Status(500));
        }
    };
    if is_for_another(&data, token) {
        return Ok(Answer::Declined);
    }
    if !request.is_get_or_head() {
        return Ok(Answer::Status(501));
    }
    Ok(request.respond(200, None, &data))
}

/// Answers with public facts about the certificate of the requested host (`MDCertificateStatus`).
pub fn certificate_status(request: Request<'_>) -> Result<Answer, Null> {
    if request.path() != Some(CERTIFICATE_STATUS) {
        return Ok(Answer::Declined);
    }
    let Some(registry) = registry(request)?.filter(|registry| registry.globals.certificate_status) else {
        return Ok(Answer::Declined);
    };
    let position = request.hostname().and_then(|host| registry.index.covering(&host));
    let Some(position) = position else { return Ok(Answer::Declined) };
    if !request.is_get_or_head() {
        return Ok(Answer::Status(501));
    }
    let document = status::certificate_status(registry, position).unwrap_or_default();
    Ok(request.respond(200, Some(JSON), &to_json(&document).unwrap_or_default()))
}

/// Answers with the document that `SetHandler` asks for.
pub fn document(request: Request<'_>) -> Result<Answer, Null> {
    let make = match request.handler() {
        Some("md-status") => md_status,
        Some("md-page") => md_page,
        Some("md-metrics") => md_metrics,
        _ => return Ok(Answer::Declined),
    };
    if !request.is_get_or_head() {
        return Ok(Answer::Status(501));
    }
    let Some(registry) = registry(request)? else { return Ok(Answer::Declined) };
    make(request, registry)
}

/// Answers with the status of all domains, or of the domain that the path names, in JSON.
fn md_status(request: Request<'_>, registry: &Registry) -> Result<Answer, Null> {
    let name = request.path_info().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let (status, document) = if name.is_empty() {
        (200, status::listing(registry))
    } else {
        let unknown = || serde_json::json!({ "error": format!("there is no managed domain '{name}'") });
        status::domain(registry, name).map_or_else(|| (404, unknown()), |document| (200, document))
    };
    Ok(request.respond(status, Some(JSON), &to_json(&document).unwrap_or_default()))
}

/// Answers with the status of all domains as a page. Some of its text comes from CAs: should a script get past the escapes, no
/// browser runs it.
fn md_page(request: Request<'_>, registry: &Registry) -> Result<Answer, Null> {
    request.set_header(c"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    Ok(request.respond(200, Some(c"text/html; charset=utf-8"), status::page(registry).as_bytes()))
}

/// Answers with metrics for monitoring.
fn md_metrics(request: Request<'_>, registry: &Registry) -> Result<Answer, Null> {
    let requests = request.server()?.main()?.config()?.main()?.ca_requests.get().copied();
    let format = MetricsFormat::wanted(request.header(c"Accept").unwrap_or_default());
    let content_type = match format {
        MetricsFormat::OpenMetrics => c"application/openmetrics-text; version=1.0.0; charset=utf-8",
        MetricsFormat::Text => c"text/plain; version=0.0.4; charset=utf-8",
    };
    request.set_header(c"Vary", "Accept");
    Ok(request.respond(200, Some(content_type), status::metrics(registry, requests, format).as_bytes()))
}

/// Writes this module's part of the page of mod_status (`MDServerStatus`).
pub fn server_status(request: Request<'_>, for_programs: bool) -> Result<(), Null> {
    if let Some(registry) = registry(request)?.filter(|registry| registry.globals.server_status) {
        let text = if for_programs { status::auto(registry) } else { status::section(registry) };
        request.write(text.as_bytes());
    }
    Ok(())
}

/// Returns all domains; `None` until the last phase of the start.
pub fn registry(request: Request<'_>) -> Result<Option<&Registry>, Null> {
    Ok(request.server()?.main()?.config()?.main()?.registry.get().map(AsRef::as_ref))
}
