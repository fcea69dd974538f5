//! Managed domains for Apache httpd: the core of `mod_md` and `a2md`.
//!
//! Layers, in dependency order; nothing imports what stands below it:
//!
//! ```text
//! model  clock  cancel  log         values, time, messages: no I/O
//! crypto  http  net  exec  store    one outside thing each
//! dns  fleet                        name servers, and the meeting point of several nodes, on net
//! tailscale                         certificates of tailscaled, on crypto and http
//! acme  ocsp                        RFC 8555, and RFC 6960, on crypto and http
//! issuance                          one certificate, step by step, on acme
//!                                   how domains are kept, each room on those above it:
//! counts                            what renewals, commands and requests have come to
//! schedule  documents  events       when something is due; documents of the store; commands that hear of events
//! accounts  sets  challenges        accounts at CAs; keys and certificates; challenge data
//! stapling  live                    OCSP responses; sets that are served without a restart
//! registry  renewals                all domains and their start; the queue of what is due
//! status                            snapshots as JSON
//! serving                           what hooks and handshakes decide, without the server
//! httpd (feature `httpd`), cli      the server, and the command line a2md
//! ```

pub mod cancel;
pub mod clock;
pub mod log;
pub mod model;

pub mod crypto;
pub mod dns;
pub mod exec;
pub mod fleet;
pub mod http;
pub mod net;
pub mod store;

pub mod acme;
pub mod issuance;
pub mod ocsp;
pub mod tailscale;

pub mod accounts;
pub mod ari;
pub mod challenges;
pub mod counts;
pub mod documents;
pub mod events;
mod line;
pub mod live;
pub mod registry;
pub mod renewals;
pub mod schedule;
pub mod sets;
pub mod stapling;

pub mod status;

pub mod cli;
pub mod serving;

#[cfg(feature = "httpd")]
pub mod httpd;

#[cfg(test)]
mod testing;

#[cfg(any(test, feature = "fuzzing"))]
#[path = "testing/fuzz.rs"]
pub mod fuzz;
