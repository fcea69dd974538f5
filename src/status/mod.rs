//! What is known of all domains, for monitoring and for people.
#![forbid(unsafe_code)]

mod html;
mod json;
mod metrics;
mod stapling;
mod text;
mod view;

pub use html::{page, section};
pub use json::{certificate_status, domain, listing};
pub use metrics::{MetricsFormat, metrics};
pub use text::auto;
pub use view::{View, has_failed};

#[cfg(test)]
mod tests;
