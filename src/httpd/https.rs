//! `MDRequireHttps`: plain requests are sent to https, and clients are told to stay there (RFC 6797).

use std::ffi::CStr;

use super::answers::registry;
use super::boundary::Null;
use super::c::request::{Answer, Request};
use crate::model::{RequireHttps, url_host};

/// Challenges and the like have to be answered without TLS too.
const WELL_KNOWN: &str = "/.well-known/";

const HSTS: &CStr = c"Strict-Transport-Security";

/// Half a year.
const HSTS_VALUE: &CStr = c"max-age=15768000";

/// Redirects a request that came without TLS and should not.
pub fn redirect(request: Request<'_>) -> Result<Answer, Null> {
    if request.connection()?.is_tls() {
        return Ok(Answer::Declined);
    }
    let Some(require) = required(request)? else { return Ok(Answer::Declined) };
    let (Some(name), Some(path)) = (request.server_name(), request.path().filter(|path| path.starts_with('/'))) else {
        return Ok(Answer::Declined);
    };
    let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
    request.set_header(c"Location", &format!("https://{}{path}{query}", url_host(name.as_str())));
    // Other methods than these two are to be repeated as they are (RFC 9110 section 15.4).
    Ok(Answer::Status(match (require, request.is_get_or_head()) {
        (RequireHttps::Temporary, true) => 302,
        (RequireHttps::Temporary, false) => 307,
        (RequireHttps::Permanent, true) => 301,
        (RequireHttps::Permanent, false) => 308,
    }))
}

/// Has the response to a request that came over TLS tell the client to stay there, where that is for good.
pub fn promise(request: Request<'_>) -> Result<(), Null> {
    if required(request)? == Some(RequireHttps::Permanent) && request.connection()?.is_tls() {
        request.promise_header(HSTS, HSTS_VALUE);
    }
    Ok(())
}

/// What the domain wants that the request is for: one that applies to the host and has the name by which it is known.
fn required(request: Request<'_>) -> Result<Option<RequireHttps>, Null> {
    if request.path().is_none_or(|path| path.starts_with(WELL_KNOWN)) {
        return Ok(None);
    }
    let Some(registry) = registry(request)? else { return Ok(None) };
    let position = request.server()?.config()?.host.position();
    if registry.domains_at(position).all(|md| md.require_https.is_none()) {
        return Ok(None);
    }
    let Some(name) = request.server_name() else { return Ok(None) };
    let found = registry.domains_at(position).find(|md| md.covers(&name));
    Ok(found.and_then(|md| md.require_https))
}
