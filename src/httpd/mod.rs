//! Glue to httpd: C calls come in, are checked, and go to safe functions in [`hooks`]; this is where unsafe code lives.
//!
//! ```text
//! c-shim/mod_md.c    the module record; registers entry points and says in which order
//!   entry, entry_ssl, directives   extern "C" functions: pointers become wrapper types, results become what httpd expects
//!     boundary       panics and NULL end here
//!     hooks          the phases of the server, in safe Rust
//!     answers alpn driver live stapling   requests and handshakes that are answered here; renewals and responses in a child
//!     self_restart   what the parent does beside forking children
//! config                         our settings of one server, as directives set them
//! c                              wrapper types: pool, server, tree, request
//! process shared                 facts, and memory that all processes have in common
//! log watchdog threads spawned  services of the server and the child
//! a2md           the entry of the program, which is in the archive beside the module
//! ```

mod a2md;
mod alpn;
mod answers;
mod boundary;
mod c;
mod certificates;
mod config;
mod directives;
mod driver;
mod entry;
mod entry_ssl;
mod hooks;
mod https;
mod live;
mod log;
mod own_files;
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
