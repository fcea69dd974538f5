//! OCSP (RFC 6960, RFC 5019): when a response is good, when the next one is due, and how it is fetched.
#![forbid(unsafe_code)]

mod fetch;
mod freshness;

pub use fetch::{CONNECT_TIMEOUT, FetchError, Fetched, TIMEOUT, fetch};
pub use freshness::{FreshnessError, Validity, check, next_fetch};
