//! Renewals: the queue of what is due, one renewal, questions to CAs about it, and the work of a program beside the server.
#![forbid(unsafe_code)]

mod ari;
mod begin;
mod decisions;
mod line;
mod offline;
mod queue;
mod renewal;
mod tailscale;
#[cfg(test)]
mod tests;

pub use ari::Advisor;
pub use begin::{Begun, Reason};
pub use offline::{activation_verdict, reset, stored_domain};
pub use queue::{Clients, Renewals};
pub use renewal::{Ended, Renewal};
