//! Requests that the module answers itself.

use std::ffi::CStr;

use super::boundary::Null;
use super::c::request::{Answer, Request};
use super::live;
use super::log::for_request;
use crate::acme::ChallengeType;
use crate::documents::to_json;
use crate::log::{AH10081, Record};
use crate::registry::{Entry, Registry};
use crate::status::{self, MetricsFormat};
use crate::store::{Aspect, Group, StoreError};

const CHALLENGES: &str = "/.well-known/acme-challenge/";

const CERTIFICATE_STATUS: &str = "/.httpd/certificate-status";

const JSON: &CStr = c"application/json";

/// Seconds after which a client may find a certificate in place of the placeholder.
const RETRY_AFTER: &str = "30";

/// 503 on hosts that have only a placeholder: nothing is served under a certificate that nobody can trust.
pub fn unavailable(request: Request<'_>) -> Result<Answer, Null> {
    let is_challenge = request.path().is_some_and(|path| path.starts_with(CHALLENGES));
    let (connection, server) = (request.connection()?, request.server()?);
    if is_challenge || !connection.is_tls() || !server.config()?.host.has_placeholder() {
        return Ok(Answer::Declined);
    }
    if live::is_trusted(server, connection)? {
        return Ok(Answer::Declined);
    }
    request.set_error_header(c"Retry-After", RETRY_AFTER);
    Ok(Answer::Status(503))
}

/// The data of an http-01 challenge (RFC 8555 section 8.3). A token that nobody waits for is left to other modules.
pub fn http_01(request: Request<'_>) -> Result<Answer, Null> {
    let token = request.path().and_then(|path| path.strip_prefix(CHALLENGES));
    let token = token.filter(|token| !token.is_empty() && !token.contains('/'));
    let (Some(token), Some(host)) = (token, request.hostname()) else {
        return Ok(Answer::Declined);
    };
    let Some(registry) = registry(request)? else { return Ok(Answer::Declined) };
    if registry.index.covering(&host).is_some_and(|position| !may_use_http_01(&registry.entries[position])) {
        return Ok(Answer::Declined);
    }
    let data = match registry.vault.store().load(Group::Challenges, host.as_str(), &Aspect::Http01) {
        Ok(Some(data)) => data,
        Ok(None) | Err(StoreError::Name(_)) => return Ok(Answer::Declined),
        Err(err) => {
            let (level, number) = (AH10081.level, Some(AH10081.number));
            for_request(request, &Record { level, number, status: err.status(), text: format_args!("{err}") });
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

fn may_use_http_01(entry: &Entry) -> bool {
    let configured = &entry.md.ca.challenges;
    configured.is_empty() || configured.iter().any(|kind| ChallengeType::parse(kind) == Some(ChallengeType::Http01))
}

/// Whether this is a key authorization (`token.thumbprint`), but for another token. Other text is for any.
fn is_for_another(data: &[u8], token: &str) -> bool {
    let Some(dot) = data.iter().position(|byte| *byte == b'.') else { return false };
    let is_base64url = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    let (own, thumbprint) = (&data[..dot], &data[dot + 1..]);
    thumbprint.len() == 43 && is_base64url(thumbprint) && is_base64url(own) && own != token.as_bytes()
}

/// What anybody may know of the certificate of the host that is asked (`MDCertificateStatus`).
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

/// The documents that `SetHandler` asks for.
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

/// What is known of all domains, or of the one that the path names.
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

/// For people. What stands in it comes from CAs too: no script would run, should one get past the escapes.
fn md_page(request: Request<'_>, registry: &Registry) -> Result<Answer, Null> {
    request.set_header(c"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    Ok(request.respond(200, Some(c"text/html; charset=utf-8"), status::page(registry).as_bytes()))
}

/// For monitoring.
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

/// Our part of mod_status's page (`MDServerStatus`).
pub fn server_status(request: Request<'_>, for_programs: bool) -> Result<(), Null> {
    if let Some(registry) = registry(request)?.filter(|registry| registry.globals.server_status) {
        let text = if for_programs { status::auto(registry) } else { status::section(registry) };
        request.write(text.as_bytes());
    }
    Ok(())
}

/// All domains, from the last phase of the start on.
pub fn registry(request: Request<'_>) -> Result<Option<&Registry>, Null> {
    Ok(request.server()?.main()?.config()?.main()?.registry.get().map(AsRef::as_ref))
}
