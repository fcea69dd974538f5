//! Staged sets as the status shows them: read again only when a file has changed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::advice::Advice;
use super::staged;
use crate::crypto::{Certificate, Sct, Summary};
use crate::documents::Documents;
use crate::model::{DomainName, Job, ManagedDomain};
use crate::store::{Aspect, Group};

/// Times of files are only as exact as the kernel's clock ticks: what changed just now may change again unseen.
const UNSETTLED: SignedDuration = SignedDuration::from_millis(100);

/// The staged set of one domain.
#[derive(Debug, Clone, PartialEq)]
pub struct StagedView {
    /// The report on the renewal.
    pub job: Job,
    /// The certificates that are there, one entry per key type.
    pub certificates: Vec<Option<Summary>>,
    /// The signed timestamps of logs of Certificate Transparency, for each certificate.
    pub scts: Vec<Vec<Sct>>,
}

impl StagedView {
    fn new(job: Job, leaves: &[Option<Certificate>]) -> Self {
        let certificates = leaves.iter().map(|leaf| leaf.as_ref().map(Certificate::summary)).collect();
        let scts = leaves.iter().map(|leaf| leaf.as_ref().map(Certificate::scts).unwrap_or_default()).collect();
        Self { job, certificates, scts }
    }
}

/// When the files that a view was made from were written.
type Written = Vec<Option<Timestamp>>;

type View = (Option<Arc<StagedView>>, Arc<Advice>);

/// The views of all domains. May be used by many requests at a time.
#[derive(Debug, Default)]
pub struct StagedViews(Mutex<HashMap<DomainName, (Written, View)>>);

impl StagedViews {
    /// Names of domains for which something may be staged: for a look at all of them.
    #[must_use]
    pub fn candidates(documents: &Documents) -> HashSet<String> {
        documents.items_if_listed(Group::Staging)
    }

    /// Returns what is staged for `md`, if there is a renewal under way, and what the CA suggests about its certificates. Nothing is
    /// locked while files are read.
    #[must_use]
    pub fn of(
        &self,
        documents: &Documents,
        md: &ManagedDomain,
        now: Timestamp,
    ) -> (Option<Arc<StagedView>>, Arc<Advice>) {
        let written = written(documents, md);
        if written.iter().all(Option::is_none) {
            return Default::default();
        }
        if let Some((_, view)) = self.known().get(&md.name).filter(|(known, _)| *known == written) {
            return view.clone();
        }
        let job = staged::report(documents, md);
        let staged = job.map(|job| Arc::new(StagedView::new(job, &staged::leaves(documents, md))));
        let view = (staged, Arc::new(Advice::load(documents, md)));
        if written.iter().flatten().all(|at| now.duration_since(*at) > UNSETTLED) {
            self.known().insert(md.name.clone(), (written, view.clone()));
        }
        view
    }

    fn known(&self) -> MutexGuard<'_, HashMap<DomainName, (Written, View)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn written(documents: &Documents, md: &ManagedDomain) -> Written {
    let certificates =
        md.key_specs().0.into_iter().flat_map(|spec| [Aspect::PrivateKey(spec.clone()), Aspect::Chain(spec)]);
    let files = [Aspect::JobJson, Aspect::MdJson, Aspect::AriJson].into_iter().chain(certificates);
    files.map(|aspect| documents.store().modified(Group::Staging, md.name.as_str(), &aspect)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::testing::{Call, TestServer};

    #[test]
    fn files_are_read_again_only_when_one_of_them_has_changed() {
        let name = "view.test";
        let server = TestServer::new(&["view.test"]);
        let views = StagedViews::default();
        let registry = server.start(false);
        drop(server.run(false));
        let look = |now| {
            let before = server.store.count(Call::Load, Group::Staging, None);
            let (view, _) = views.of(&server.documents, &registry.domains[0].md, now);
            (view.map(|view| view.job.finished), server.store.count(Call::Load, Group::Staging, None) - before)
        };
        let written = server.store.modified(Group::Staging, name, &Aspect::JobJson).unwrap();
        for _ in 0..2 {
            let (finished, loads) = look(written + UNSETTLED / 2);
            assert!(finished == Some(true) && loads > 0, "it may change unseen");
        }
        let later = written + SignedDuration::from_hours(1);
        assert!(look(later).1 > 0);
        assert_eq!(look(later), (Some(true), 0));
        server.put(Group::Staging, name, &Aspect::JobJson, &format!(r#"{{"name":"{name}","finished":false}}"#));
        let (finished, loads) = look(later);
        assert!(finished == Some(false) && loads > 0);
        assert_eq!(look(later), (Some(false), 0));
        server.store.purge(Group::Staging, name).unwrap();
        assert_eq!(look(later), (None, 0));
    }
}
