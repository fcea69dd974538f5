//! The outside server of a run: terminal, clock, stores and network. Tests replace all of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::output::{Streams, Terminal};
use crate::cancel::Cancel;
use crate::clock::{Clock, SystemClock};
use crate::http::{CurlClient, CurlSettings, HttpClient};
use crate::store::{FileStore, Reachability, STORE_FILE, Store, StoreError};

/// Opens the store in a directory. The flag says whether a store is made if there is none. The result tells how a CA reaches the
/// server, too.
pub type Opener = Box<dyn Fn(&Path, bool) -> Opened + Send + Sync>;
/// An open store, `None` if there is none and none is to be made, or the reason why it cannot be opened.
pub type Opened = Result<Option<(Arc<dyn Store>, Reachability)>, StoreError>;

/// The variable that names the directory of the store.
pub const DIR_VARIABLE: &str = "A2MD_DIR";
/// The directories in which servers of distributions have a store if `MDStoreDir` says nothing, and those that are usual with it.
pub const USUAL: [&str; 5] =
    ["/etc/apache2/md", "/var/lib/apache2/md", "/var/lib/httpd/md", "/usr/local/apache2/md", "/etc/httpd/md"];

/// The outside server of a run.
pub struct Environment {
    /// Receives the output.
    pub terminal: Arc<dyn Terminal>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The directory of the store that the environment names.
    pub dir: Option<PathBuf>,
    /// Directories that may have a store, if neither an option nor the environment names one.
    pub usual: Vec<PathBuf>,
    /// Opens stores.
    pub open: Opener,
    /// Makes clients for requests to a CA.
    pub connect: Box<dyn Fn(CurlSettings) -> Arc<dyn HttpClient> + Send + Sync>,
    /// Waits while a CA is busy.
    pub sleep: Box<dyn Fn(Duration) + Send + Sync>,
}

impl Environment {
    /// Returns the environment of this process: its streams, the file system, and curl.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            terminal: Arc::new(Streams),
            clock: Arc::new(SystemClock),
            dir: std::env::var_os(DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from),
            usual: USUAL.map(PathBuf::from).to_vec(),
            open: Box::new(open_files),
            connect: Box::new(|settings| Arc::new(CurlClient::new(settings, Cancel::default()))),
            sleep: Box::new(std::thread::sleep),
        }
    }
}

/// Opens a store of files.
pub fn open_files(dir: &Path, makes: bool) -> Opened {
    if !(makes || has_store(dir)) {
        return Ok(None);
    }
    let store = FileStore::open(dir)?;
    let reach = store.load_reachability();
    Ok(Some((Arc::new(store), reach)))
}

/// Checks whether there is a store in a directory, also one that may not be read.
pub fn has_store(dir: &Path) -> bool {
    dir.join(STORE_FILE).try_exists().unwrap_or(true)
}
