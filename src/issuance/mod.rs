//! Issuance: takes a renewal from a directory URL to a certificate chain.
//!
//! [`next()`] decides: it looks at the [`Facts`] and names one [`Step`]. The [`Driver`] takes that step and updates the
//! facts. No steps are stored, so an interrupted renewal continues by gathering the facts again.
#![forbid(unsafe_code)]

mod driver;
mod facts;
mod next;
mod poll;

pub use driver::{Driver, Outcome, Replaces, Wanted};
pub use facts::Facts;
pub use next::{Step, next};
pub use poll::Poll;
