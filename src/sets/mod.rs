//! Sets of keys and certificates of a domain: served, live and staged, and how one takes the place of another.
#![forbid(unsafe_code)]

pub(crate) mod activation;
pub(crate) mod active;
mod advice;
pub(crate) mod choice;
mod lazy;
mod newest;
pub(crate) mod order;
mod pairs;
mod renewal_settings;
pub(crate) mod served;
pub(crate) mod staged;
mod staged_state;
mod staged_view;
pub(crate) mod take_over_live;

pub use activation::Activation;
pub(crate) use active::Active;
pub use advice::{Advice, Suggestion};
pub use lazy::{LazySets, Place, SharedBytes};
pub use newest::served_pairs;
pub use pairs::{Pair, PairSet, PairSetError, TlsSet};
pub(crate) use renewal_settings::RenewalSettings;
pub use served::{CertificateSet, StoredPair, common_validity};
pub use staged::{StagedJournal, facts as staged_summaries, report as staged_report};
pub use staged_state::StagedState;
pub use staged_view::{StagedView, StagedViews};
