//! The state that all commands share: the options of the program, the open store, the connection to a CA, the output.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ArgMatches;
use serde_json::Value;

use super::error::CliError;
use super::output;
use crate::cancel::Cancel;
use crate::clock::{Clock, SystemClock};
use crate::documents::Vault;
use crate::http::{CurlClient, CurlSettings, HttpClient, Proxy};
use crate::model::{ManagedDomain, Status, VERSION};
use crate::registry::Registry;
use crate::store::{FileStore, Store};

/// A run of the program.
pub struct Session {
    /// Directory URL of the CA.
    pub acme: Option<String>,
    /// Directory of the store.
    pub dir: Option<PathBuf>,
    /// Agreement to terms of service: their URL, or `accepted`.
    pub terms: Option<String>,
    /// Print one JSON document instead of lines.
    pub json: bool,
    /// The clock of the run.
    pub clock: Arc<dyn Clock>,
    ca_file: Option<String>,
    proxy: Option<String>,
    store: Option<(Arc<FileStore>, Arc<Vault>)>,
    output: Vec<Value>,
}

impl Session {
    /// Makes a run with the options of the program.
    #[must_use]
    pub fn new(matches: &ArgMatches) -> Self {
        let value = |name| matches.get_one::<String>(name).cloned();
        Self {
            acme: value("acme"),
            dir: value("dir").map(PathBuf::from),
            terms: value("terms"),
            json: matches.get_flag("json"),
            clock: Arc::new(SystemClock),
            ca_file: value("cafile"),
            proxy: value("proxy"),
            store: None,
            output: Vec::new(),
        }
    }

    /// Opens the store, and creates it if it does not exist.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn open(&mut self) -> Result<(), CliError> {
        let store = Arc::new(FileStore::open(self.dir.as_deref().unwrap_or_else(|| "".as_ref()))?);
        let vault = Arc::new(Vault::new(Arc::clone(&store) as Arc<dyn Store>));
        self.store = Some((store, vault));
        Ok(())
    }

    /// Returns the store as files.
    #[must_use]
    pub fn files(&self) -> &FileStore {
        &self.opened().0
    }

    /// Returns the documents and keys of the store.
    #[must_use]
    pub fn vault(&self) -> &Arc<Vault> {
        &self.opened().1
    }

    /// Loads the domains of the store, with the certificates that are live. `only` is a challenge type to use instead of the
    /// configured ones.
    ///
    /// # Errors
    /// If the domains cannot be listed.
    pub fn domains(&self, only: Option<&str>) -> Result<Arc<Registry>, CliError> {
        let reach = self.files().load_reachability();
        let registry = Registry::stored(Arc::clone(self.vault()), Arc::clone(&self.clock), reach, only)?;
        registry.bundles.open(None);
        Ok(Arc::new(registry))
    }

    fn opened(&self) -> &(Arc<FileStore>, Arc<Vault>) {
        self.store.as_ref().expect("`perform` opens the store before every command that uses it")
    }

    /// Returns a client for requests to a CA, with the settings of `md` where no option replaces them.
    #[must_use]
    pub fn client(&self, md: Option<&ManagedDomain>) -> Arc<dyn HttpClient> {
        let file = |own: Option<&String>| own.filter(|file| !file.eq_ignore_ascii_case("none")).cloned();
        let ca_file = self.ca_file.clone().or_else(|| file(md?.ca_certs.as_deref()));
        let settings = CurlSettings {
            user_agent: format!("apachemd/{VERSION} mod_md_rs/{VERSION}"),
            ca_file: ca_file.map(PathBuf::from),
            proxy: Proxy::configured(self.proxy.as_ref().or_else(|| md?.proxy_url.as_deref()).map(String::as_str)),
            proxy_ca_file: file(md.and_then(|md| md.proxy_ca_certs.as_deref())).map(PathBuf::from),
            ..CurlSettings::default()
        };
        Arc::new(CurlClient::new(settings, Cancel::default()))
    }

    /// Prints a line, or keeps its content for the document.
    pub fn tell(&mut self, line: &str, value: impl Into<Value>) {
        if self.json {
            self.output.push(value.into());
        } else {
            output::print(line);
        }
    }

    /// Prints a domain; `renew` is whether the domain is due.
    ///
    /// # Errors
    /// If the domain cannot be written as JSON.
    pub fn tell_domain(&mut self, md: &ManagedDomain, renew: Option<bool>) -> Result<(), CliError> {
        let mut value = serde_json::to_value(md).map_err(|err| CliError::invalid(err.to_string()))?;
        if let Some(renew) = renew {
            value["renew"] = renew.into();
        }
        self.tell(&output::domain_line(md), value);
        Ok(())
    }

    /// Prints the document, at the end of the run.
    pub fn print_document(&self, status: Status) {
        output::print(&format!("{:#}", output::envelope(&self.output, status)));
    }
}
