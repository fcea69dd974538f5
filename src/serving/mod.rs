//! Decisions behind hooks and handshakes, without httpd: `httpd` asks for facts, and does what is decided here.
#![forbid(unsafe_code)]

pub mod alpn;
pub mod clients;
pub mod http_01;
pub mod offer;
pub mod own_files;
pub mod require_https;
pub mod restarts;
pub mod threads;
pub mod words;
