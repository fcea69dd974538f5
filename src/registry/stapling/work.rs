//! Fetches responses that are due, in one process of the server.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::http::HttpClient;
use crate::registry::Registry;
use crate::registry::renewals::Random;

/// Makes the HTTP client of a worker.
pub type OcspClient = Box<dyn Fn(&Cancel) -> Arc<dyn HttpClient> + Send + Sync>;

/// All fetching of this process.
pub struct StaplingWork {
    registry: Arc<Registry>,
    client: OcspClient,
    random: Random,
}

impl StaplingWork {
    /// Nothing is due before the first [`StaplingWork::tick`].
    #[must_use]
    pub fn new(registry: Arc<Registry>, client: OcspClient, random: Random) -> Self {
        Self { registry, client, random }
    }

    /// Looks for responses that are due and queues them. Returns how many workers are to be started. Cheap when it is not yet
    /// time to look.
    pub fn tick(&self) -> usize {
        let _ = (&self.registry, &self.client, self.random);
        0
    }

    /// Takes back a worker of [`StaplingWork::tick`] that could not be started.
    pub fn worker_lost(&self) {}

    /// Works until nothing is left to do, or until cancelled. Run by as many threads as [`StaplingWork::tick`] says.
    pub fn work(&self, cancel: &Cancel) {
        let _ = cancel;
    }
}
