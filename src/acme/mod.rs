//! The ACME protocol (RFC 8555): resources, signed requests, and the driver that takes a renewal from a directory
//! URL to a certificate chain.
//!
//! [`next()`] decides: it looks at the [`Facts`] and names one [`Step`]. The [`Driver`] takes that step and updates the
//! facts. No steps are stored, so an interrupted renewal continues by gathering the facts again. What must survive
//! goes through three ports: [`Journal`], [`AccountBook`] and [`Publisher`].
#![forbid(unsafe_code)]

mod account;
mod applicant;
mod ari;
mod authorization;
mod challenge;
mod directory;
mod driver;
mod error;
mod facts;
mod next;
mod null;
mod order;
mod poll;
mod ports;
mod records;
mod registrar;
mod session;

pub use account::{AccountRecord, AccountScope, AccountStatus};
pub use applicant::Applicant;
pub use ari::{AriError, RenewalInfo, again_at, ask as ask_renewal_info};
pub use authorization::{Authorization, AuthorizationStatus, Challenge, ChallengeStatus};
pub use challenge::{ChallengeType, PersistRecord, SetUp};
pub use directory::Directory;
pub use driver::{Driver, Outcome, Replaces, Wanted};
pub use error::AcmeError;
pub use facts::Facts;
pub use next::{Step, next};
pub use order::{Order, OrderRecord, OrderStatus};
pub use poll::Poll;
pub use ports::{AccountBook, AccountClaim, Attempt, ChainRefused, Journal, PortError, Publisher};
pub use registrar::Registrar;
pub use session::Session;
