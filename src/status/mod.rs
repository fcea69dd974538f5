//! What is known of all domains, as JSON for monitoring.
#![forbid(unsafe_code)]

mod json;

pub use json::{domain, listing};
