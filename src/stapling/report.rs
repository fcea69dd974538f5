//! Jobs of fetching OCSP responses, one for each owner, as status pages show them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::documents::Documents;
use crate::model::Job;
use crate::store::{Aspect, Group};

/// Files that changed more recently are read again: their times are only as exact as the kernel's clock ticks.
const RECENT: SignedDuration = SignedDuration::from_millis(100);

/// Jobs that were read, with the times of their files.
#[derive(Debug, Default)]
pub struct Reports(Mutex<HashMap<String, (Timestamp, Arc<Job>)>>);

impl Reports {
    /// Returns the job of an owner, if there is one. No lock is held while the file is read.
    pub fn of(&self, documents: &Documents, owner: &str, now: Timestamp) -> Option<Arc<Job>> {
        let written = documents.store().modified(Group::Ocsp, owner, &Aspect::JobJson)?;
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, job)) = known().get(owner).filter(|(at, _)| *at == written) {
            return Some(Arc::clone(job));
        }
        let job: Arc<Job> = documents.load_json(Group::Ocsp, owner, &Aspect::JobJson)?;
        if now.duration_since(written) > RECENT {
            known().insert(owner.to_owned(), (written, Arc::clone(&job)));
        }
        Some(job)
    }
}
