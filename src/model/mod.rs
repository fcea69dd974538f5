//! Values of the domain: names, windows, key types, settings, jobs. No I/O, and time only as a parameter.
#![forbid(unsafe_code)]

mod activation;
mod address;
mod authority;
mod base64;
mod challenge_record;
pub mod contact;
pub mod directive;
mod domain;
mod duration;
mod job;
mod key_spec;
mod name;
mod origin;
pub mod outside;
mod pattern;
mod port_map;
mod problem;
mod route;
mod settings;
mod status;
pub mod time;
mod url;
mod window;

pub use activation::{ActivationMode, DailyWindow, DailyWindowError};
pub use address::{address_of_reverse_name, reverse_name, url_host};
pub use authority::{
    ACME, Authorities, AuthorityRecord, CLOSED_CAS, DEFAULT_CA, Next, TAILSCALE, TAILSCALED, ca_name, is_public_ca,
    is_same_ca, known_ca,
};
pub use base64::base64_decode;
pub use challenge_record::ChallengeRecord;
pub use contact::{Contact, ContactSource};
pub use domain::{CaSettings, Eab, ManagedDomain, MemberMode, RenewMode, RequireHttps, SHORTEST_CHAIN, State};
pub use duration::{DurationError, Unit, format_duration, format_human, parse_duration};
pub use job::{Job, JobResult, LastRenewal, LogEntry, OcspFailures, TxtRecord};
pub use key_spec::{KeySpec, KeySpecError, KeySpecs};
pub use name::{DomainName, Identifier, NameError};
pub use origin::Origin;
pub use pattern::NamePattern;
pub use port_map::{PortMap, PortMapError};
pub use problem::Problem;
pub use route::Route;
pub use settings::{CmdTimeout, Declared, Globals, MatchNames, Settings};
pub use status::Status;
pub use time::Timestamp;
pub use url::{hide_passwords, is_plain_http, is_web_url, without_passwords};
pub use window::{Window, WindowError};

/// The version of module, command line and User-Agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
