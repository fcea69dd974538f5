//! OCSP (RFC 6960, RFC 5019): when a response is due, and how it is fetched.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Longest time to connect to a responder.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for a request and its answer.
pub const TIMEOUT: Duration = Duration::from_secs(30);
