//! Renewals: the queue, a single renewal, tailscale, and renewals by a2md.
#![forbid(unsafe_code)]

mod begin;
mod offline;
mod queue;
mod renewal;
mod tailscale;
#[cfg(test)]
mod tests;

pub use begin::{Begun, Reason};
pub use offline::{activation_verdict, reset, stored_domain};
pub use queue::{Clients, Renewals};
pub use renewal::{Ended, Renewal};
