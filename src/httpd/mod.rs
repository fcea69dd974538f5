//! Glue to httpd: calls from C come in, are checked, and go to safe functions. Unsafe code lives in this folder only.
//!
//! ```text
//! c-shim/mod_md.c     the module record; registers entry points and says in which order
//!   entry entry_ssl directives   extern "C" functions: pointers become wrapper types, results become what httpd expects
//!     boundary        panics and NULL end here
//!     hooks           the phases of the server, in safe Rust
//!     certificates    certificate files of TLS hosts
//!     answers https alpn   requests and handshakes that the module answers itself
//!     live own_files stapling   certificates and staples of handshakes
//!     driver          renewals in a child
//!     self_restart    the parent tests the configuration and restarts the server
//! config              settings of one server, as directives set them
//! c                   wrappers of httpd's and APR's types: pool, server, connection, request, array, directives
//! ssl                 wrappers of OpenSSL's types; the one file here that names the crate openssl
//! log watchdog threads spawned shared   services of the server and the child
//! phase process       facts about the server and its process
//! a2md                the entry of the program, which is in the archive beside the module
//! ```
//!
//! Decisions that need no server are in [`crate::serving`].

mod a2md;
mod alpn;
mod answers;
mod birth;
mod boundary;
mod c;
mod certificates;
mod config;
mod directives;
mod driver;
mod entry;
mod entry_ssl;
mod files;
mod hooks;
mod https;
mod live;
mod log;
mod own_files;
mod pages;
mod panic_probe;
mod phase;
mod process;
mod self_restart;
mod shared;
mod spawned;
mod ssl;
mod stapling;
mod threads;
mod watchdog;
