//! The ACME protocol (RFC 8555): resources, signed requests and their answers, and the ports through which a renewal keeps what
//! has to survive: [`Journal`], [`AccountBook`] and [`Publisher`].
#![forbid(unsafe_code)]

mod account;
mod applicant;
mod ari;
mod authorization;
pub(crate) mod challenge;
mod directory;
pub(crate) mod error;
mod known;
mod null;
mod order;
mod ports;
pub(crate) mod records;
mod registrar;
pub(crate) mod session;
mod standing;

pub use account::{AccountRecord, AccountScope, AccountStatus};
pub use applicant::{Applicant, Registered};
pub use ari::{AriError, RenewalInfo, again_at, ask as ask_renewal_info};
pub use authorization::{Authorization, AuthorizationStatus, Challenge, ChallengeStatus};
pub use challenge::{ChallengeSetup, ChallengeType, HTTP_01_PATH, PersistRecord, is_txt_value, txt_value};
pub use directory::Directory;
pub use error::AcmeError;
pub use known::{KnownCa, KnownCas};
pub use order::{Order, OrderRecord, OrderStatus};
pub use ports::{AccountBook, AccountClaim, Attempt, ChainRefused, GivenUp, Journal, PortError, Publisher};
pub use registrar::Registrar;
pub use session::Session;

pub(crate) use account::Account;
pub(crate) use applicant::log_in_place_of;
pub(crate) use order::NewOrder;
pub(crate) use standing::{confirm, read_account};
