//! OCSP (RFC 6960, RFC 5019): fetches responses, and knows when they are valid and when the next one is due.
#![forbid(unsafe_code)]

mod fetch;
mod freshness;

pub use fetch::{CONNECT_TIMEOUT, FetchError, Fetched, TIMEOUT, fetch};
pub use freshness::{FreshnessError, Validity, check, next_fetch};
