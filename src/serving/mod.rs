//! Decisions behind hooks and handshakes, as functions of facts. The layer `httpd` finds the facts and does what is decided.
#![forbid(unsafe_code)]

pub mod alpn;
pub mod clients;
pub mod documents;
pub mod http_01;
pub mod offer;
pub mod own_files;
pub mod require_https;
pub mod restarts;
pub mod threads;
pub mod tls_hosts;
pub mod words;
