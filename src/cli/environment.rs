//! The outside server of a run: terminal, clock, stores and network. Tests replace all of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::output::{Streams, Terminal};
use crate::cancel::Cancel;
use crate::clock::{Clock, SystemClock};
use crate::http::{CurlClient, CurlSettings, HttpClient};
use crate::store::{FileStore, Reachability, Store, StoreError};

/// Opens the store in a directory, and creates it if it does not exist. The result tells how a CA reaches the server, too.
pub type Opener = Box<dyn Fn(&Path) -> Opened>;
/// An open store, or the reason why it cannot be opened.
pub type Opened = Result<(Arc<dyn Store>, Reachability), StoreError>;

/// The outside server of a run.
pub struct Environment {
    /// Receives the output.
    pub terminal: Arc<dyn Terminal>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Opens stores.
    pub open: Opener,
    /// Makes clients for requests to a CA.
    pub connect: Box<dyn Fn(CurlSettings) -> Arc<dyn HttpClient>>,
    /// Waits while a CA is busy.
    pub sleep: Box<dyn Fn(Duration)>,
}

impl Environment {
    /// Returns the environment of this process: its streams, the file system, and curl.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            terminal: Arc::new(Streams),
            clock: Arc::new(SystemClock),
            open: Box::new(open_files),
            connect: Box::new(|settings| Arc::new(CurlClient::new(settings, Cancel::default()))),
            sleep: Box::new(std::thread::sleep),
        }
    }
}

/// Opens a store of files.
pub fn open_files(dir: &Path) -> Opened {
    let store = FileStore::open(dir)?;
    let reach = store.load_reachability();
    Ok((Arc::new(store), reach))
}
