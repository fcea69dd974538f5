//! `MDRequireHttps`: plain requests are sent to https, and clients are told to stay there (RFC 6797).

use std::ffi::CStr;

use super::answers::registry;
use super::boundary::Null;
use super::c::request::{Answer, Request};
use crate::model::RequireHttps;
use crate::serving::require_https;

const HSTS: &CStr = c"Strict-Transport-Security";

/// Redirects a request that came without TLS and should not.
pub fn redirect(request: Request<'_>) -> Result<Answer, Null> {
    if request.connection()?.is_tls() {
        return Ok(Answer::Declined);
    }
    let Some(require) = required(request)? else { return Ok(Answer::Declined) };
    let (Some(name), Some(path)) = (request.server_name(), request.path()) else { return Ok(Answer::Declined) };
    let Some(location) = require_https::location(name.as_str(), path, request.query()) else {
        return Ok(Answer::Declined);
    };
    request.set_header(c"Location", &location);
    Ok(Answer::Status(require_https::status(require, request.is_get_or_head())))
}

/// Has the response to a request that came over TLS tell the client to stay there, where that is for good.
pub fn promise(request: Request<'_>) -> Result<(), Null> {
    if required(request)? == Some(RequireHttps::Permanent) && request.connection()?.is_tls() {
        request.promise_header(HSTS, require_https::HSTS);
    }
    Ok(())
}

/// What the domain wants that the request is for: one that applies to the host and has the name by which it is known.
fn required(request: Request<'_>) -> Result<Option<RequireHttps>, Null> {
    if !require_https::applies_to(request.path()) {
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
