//! A certificate authority and an OCSP responder in memory, for the tests of all layers.
#![forbid(unsafe_code)]

pub mod ca;
pub mod issuer;
pub mod responder;
