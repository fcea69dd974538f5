//! Requests that the module answers itself.

use super::boundary::Null;
use super::c::request::{Answer, Request};
use super::live;
use super::log::for_request;
use crate::log::{AH10081, Record};
use crate::registry::Registry;
use crate::serving::documents::{self, Asked, CERTIFICATE_STATUS, Document, Handler};
use crate::serving::http_01::{self, is_challenge, token};

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
    match http_01::data(registry, &host, token) {
        Ok(None) => Ok(Answer::Declined),
        Ok(Some(_)) if !request.is_get_or_head() => Ok(Answer::Status(501)),
        Ok(Some(data)) => {
            request.set_header(c"X-Content-Type-Options", "nosniff");
            Ok(request.respond(200, c"application/octet-stream", &data))
        }
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
            Ok(Answer::Status(500))
        }
    }
}

/// Answers with public facts about the certificate of the requested host (`MDCertificateStatus`).
pub fn certificate_status(request: Request<'_>) -> Result<Answer, Null> {
    if request.path() != Some(CERTIFICATE_STATUS) {
        return Ok(Answer::Declined);
    }
    let Some(registry) = registry(request)? else { return Ok(Answer::Declined) };
    let document = request.hostname().and_then(|host| Document::about_certificate(&host, registry));
    Ok(document.map_or(Answer::Declined, |document| send(request, &document)))
}

/// Answers with the document that `SetHandler` asks for.
pub fn document(request: Request<'_>) -> Result<Answer, Null> {
    let Some(handler) = request.handler().and_then(Handler::called) else { return Ok(Answer::Declined) };
    if !request.is_get_or_head() {
        return Ok(Answer::Status(501));
    }
    let Some(registry) = registry(request)? else { return Ok(Answer::Declined) };
    // What the administrator calls it, whatever the client did.
    let server = request.server()?.name_as_written();
    let asked = Asked {
        path: request.path(),
        path_info: request.path_info(),
        location: request.location_of(c"md-page"),
        query: request.query(),
        server: server.as_deref(),
        accept: request.header(c"Accept"),
    };
    Ok(send(request, &handler.document(asked, registry)))
}

/// Sends a document, with 501 for methods that do more than read.
fn send(request: Request<'_>, document: &Document) -> Answer {
    if !request.is_get_or_head() {
        return Answer::Status(501);
    }
    document.headers.iter().for_each(|(name, value)| request.set_header(name, value));
    request.respond(document.status, document.content_type, &document.body)
}

/// Writes this module's part of the page of mod_status (`MDServerStatus`).
pub fn server_status(request: Request<'_>, for_programs: bool) -> Result<(), Null> {
    let Some(registry) = registry(request)? else { return Ok(()) };
    let text = documents::server_status(registry, for_programs, |handler| request.location_of(handler));
    request.write(text.as_bytes());
    Ok(())
}

/// Returns all domains; `None` until the last phase of the start.
pub fn registry(request: Request<'_>) -> Result<Option<&Registry>, Null> {
    Ok(request.server()?.main()?.config()?.main()?.registry.get().map(AsRef::as_ref))
}
