//! The documents in `staging/` about the renewal of one domain, read at one moment.

use super::advice::Advice;
use super::order;
use crate::acme::OrderRecord;
use crate::documents::Documents;
use crate::model::{Job, ManagedDomain};
use crate::store::{Aspect, Group};

/// The documents in `staging/` about the renewal of a domain, as they were at one moment. They stay as they are only while the
/// reader has the claim on the domain.
#[derive(Debug, Default)]
pub struct StagedState {
    /// The report; an empty one if there is none.
    pub job: Job,
    /// The domain as it was when the renewal was begun; `None` if there is no renewal, or the document cannot be read.
    pub begun: Option<ManagedDomain>,
    /// The order; an empty one if there is none.
    pub order: OrderRecord,
    /// The suggestions of the CA.
    pub advice: Advice,
}

impl StagedState {
    /// Reads all of them.
    #[must_use]
    pub fn read(documents: &Documents, md: &ManagedDomain) -> Self {
        let name = md.name.as_str();
        Self {
            job: documents.load_json(Group::Staging, name, &Aspect::JobJson).unwrap_or_default(),
            begun: documents.load_json(Group::Staging, name, &Aspect::MdJson),
            order: order::load(documents, md),
            advice: Advice::load(documents, md),
        }
    }

    /// Whether commands have set up something for the domain that is not taken away.
    #[must_use]
    pub fn has_left_over(&self) -> bool {
        !order::left_over(&self.order).is_empty()
    }
}
