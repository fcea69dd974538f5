//! `MDRequireHttps`: plain requests are sent to https, and clients are told to stay there (RFC 6797).

use std::ffi::CStr;

use super::answers::registry;
use super::boundary::Null;
use super::c::request::{Answer, Request};
use crate::model::RequireHttps;
use crate::serving::require_https;

const HSTS: &CStr = c"Strict-Transport-Security";

/// Redirects a request that came without TLS to https, if its domain requires that.
pub fn redirect(request: Request<'_>) -> Result<Answer, Null> {
    if request.connection()?.is_tls() {
        return Ok(Answer::Declined);
    }
    let Some(require) = required(request)? else { return Ok(Answer::Declined) };
    let Some(name) = request.server_name() else { return Ok(Answer::Declined) };
    let path = request.path().unwrap_or_default();
    let Some(location) = require_https::location(name.as_str(), path, request.query()) else {
        return Ok(Answer::Declined);
    };
    request.set_header(c"Location", &location);
    Ok(Answer::Status(require_https::status(require, request.is_get_or_head())))
}

/// Adds the header by which clients stay with https, to the response of a domain that requires https permanently.
pub fn promise(request: Request<'_>) -> Result<(), Null> {
    if required(request)? == Some(RequireHttps::Permanent) && request.connection()?.is_tls() {
        request.promise_header(HSTS, require_https::HSTS);
    }
    Ok(())
}

/// Returns what the domain of the request requires.
fn required(request: Request<'_>) -> Result<Option<RequireHttps>, Null> {
    let Some(registry) = registry(request)? else { return Ok(None) };
    let position = request.server()?.config()?.host.position();
    Ok(require_https::required(registry, position, request.path(), || request.server_name()))
}
