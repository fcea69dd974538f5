//! A server, a CA, an OCSP responder, a failing store and the ports of the ACME driver in memory, for the tests of all rooms.
#![forbid(unsafe_code)]

pub mod ca;
mod failing_store;
pub mod issuer;
pub mod ports;
pub mod responder;
mod server;

pub use failing_store::Call;
pub use server::{ACCOUNT, TestServer, declared, host, logged, p256, watch_log};
