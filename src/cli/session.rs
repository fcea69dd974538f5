//! The state that all commands share: the options of the program, the open store, the connection to a CA, the output.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;

use super::environment::{DIR_VARIABLE, Environment, has_store};
use super::error::CliError;
use super::output::{self, Terminal};
use super::syntax;
use crate::clock::Clock;
use crate::documents::Documents;
use crate::http::{CurlSettings, HttpClient, Proxy};
use crate::log::Level;
use crate::model::{DomainName, JobResult, ManagedDomain, Route, Status, VERSION};
use crate::registry::Registry;
use crate::store::ServerFacts;

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
    /// The option or the variable that names the directory of the store.
    named_by: &'static str,
    environment: Environment,
    ca_file: Option<String>,
    proxy: Option<String>,
    store: Option<(Arc<Documents>, ServerFacts)>,
    output: Vec<Value>,
}

impl Session {
    /// Makes a run with the options of the program.
    #[must_use]
    pub fn new(environment: Environment, matches: &ArgMatches) -> Self {
        let value = |name| matches.get_one::<String>(name).cloned();
        Self {
            acme: value("acme").as_deref().map(syntax::ca_url),
            dir: value("dir").map(PathBuf::from),
            terms: value("terms"),
            json: matches.get_flag("json"),
            named_by: "-d",
            environment,
            ca_file: value("cafile"),
            proxy: value("proxy"),
            store: None,
            output: Vec::new(),
        }
    }

    /// Returns the directory of the store: that of the option `-d`, else of the environment, else one of the usual directories that
    /// has a store. `None` if there is none.
    pub fn find(&mut self) -> Option<PathBuf> {
        if self.dir.is_none() {
            let named = self.environment.dir.clone().map(|dir| (dir, DIR_VARIABLE));
            let usual = || Some((self.environment.usual.iter().find(|dir| has_store(dir))?.clone(), "the usual place"));
            let (dir, reason) = named.or_else(usual)?;
            self.named_by = reason;
            self.inform(&format!("the store is {} ({reason})", dir.display()));
            self.dir = Some(dir);
        }
        self.dir.clone()
    }

    /// Opens the store in a directory. `makes` says whether the store is made if there is none.
    ///
    /// # Errors
    /// If there is no store, or it cannot be used.
    pub fn open(&mut self, dir: &Path, makes: bool) -> Result<(), CliError> {
        let opened = (self.environment.open)(dir, makes)?;
        let (store, facts) =
            opened.ok_or_else(|| CliError::NoStore { dir: dir.display().to_string(), option: self.named_by })?;
        self.store = Some((Arc::new(Documents::new(store)), facts));
        Ok(())
    }

    /// Returns the clock of the run.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.environment.clock
    }

    /// Waits for a time, while the CA is busy.
    pub fn sleep(&self, time: Duration) {
        (self.environment.sleep)(time);
    }

    /// Returns the receiver of the output.
    #[must_use]
    pub fn terminal(&self) -> &dyn Terminal {
        &*self.environment.terminal
    }

    /// Returns the documents and keys of the store.
    #[must_use]
    pub fn documents(&self) -> &Arc<Documents> {
        &self.opened().0
    }

    /// Loads the domains of the store, with the certificates that are live. `only` is a challenge type to use instead of the
    /// configured ones.
    ///
    /// # Errors
    /// If the domains cannot be listed.
    pub fn domains(&self, only: Option<&str>) -> Result<Arc<Registry>, CliError> {
        let (documents, facts) = self.opened();
        let registry = Registry::stored(Arc::clone(documents), Arc::clone(self.clock()), facts, only)?;
        registry.live_sets.open(None);
        Ok(Arc::new(registry))
    }

    /// Loads the domains of the store that have these names, with the certificates that are live; all domains if there is no name.
    ///
    /// # Errors
    /// If the domains cannot be listed.
    pub fn domains_of(&self, names: &[&str]) -> Result<Arc<Registry>, CliError> {
        if names.is_empty() {
            return self.domains(None);
        }
        let mut names: Vec<String> =
            names.iter().filter_map(|name| DomainName::parse(name).ok()).map(String::from).collect();
        names.sort_unstable();
        names.dedup();
        let (documents, facts) = self.opened();
        let registry = Registry::stored_of(&names, Arc::clone(documents), Arc::clone(self.clock()), facts, None);
        registry.live_sets.open(None);
        Ok(Arc::new(registry))
    }

    fn opened(&self) -> &(Arc<Documents>, ServerFacts) {
        self.store.as_ref().expect("`perform` opens the store before every command that uses it")
    }

    /// Returns why the server does not renew a domain, as its last start found out.
    #[must_use]
    pub fn idle(&self, name: &str) -> Option<&String> {
        self.opened().1.idle.get(name)
    }

    /// Returns a client for requests to a CA, with the settings of `md` where no option replaces them.
    #[must_use]
    pub fn client(&self, md: Option<&ManagedDomain>) -> Arc<dyn HttpClient> {
        (self.environment.connect)(self.settings(md))
    }

    /// Returns a client for requests to this server, which never go through a proxy.
    #[must_use]
    pub fn direct_client(&self) -> Arc<dyn HttpClient> {
        (self.environment.connect)(CurlSettings { proxy: Proxy::Never, ca_file: None, ..self.settings(None) })
    }

    /// Returns host and port of the proxy for a request of `md` to this URL.
    #[must_use]
    pub fn proxy_to(&self, md: &ManagedDomain, url: &str) -> Option<String> {
        let url = url.parse().ok()?;
        let variable = |name: &str| std::env::var(name).ok();
        self.settings(Some(md)).proxy.choose(&url, variable).map(|proxy| proxy.name())
    }

    fn settings(&self, md: Option<&ManagedDomain>) -> CurlSettings {
        let all = self.store.as_ref().map(|(_, facts)| facts.server.route.clone()).unwrap_or_default();
        let of_md = all.of(md);
        let route = Route {
            ca_file: self.ca_file.clone().or(of_md.ca_file),
            proxy: self.proxy.clone().or(of_md.proxy),
            proxy_ca_file: of_md.proxy_ca_file,
        };
        let user_agent = format!("apachemd/{VERSION} mod_md_rs/{VERSION}");
        CurlSettings { user_agent, ..CurlSettings::default() }.by(&route)
    }

    /// Prints a message for the person who runs the command.
    pub fn inform(&self, text: &str) {
        self.terminal().message(Level::Info, Status::OK, text);
    }

    /// Prints a line, or keeps its content for the document.
    pub fn report(&mut self, line: &str, value: impl Into<Value>) {
        if self.json {
            self.output.push(value.into());
        } else {
            self.terminal().print(line);
        }
    }

    /// Prints a domain; `renew` is whether the domain is due.
    ///
    /// # Errors
    /// If the domain cannot be written as JSON.
    pub fn report_domain(&mut self, md: &ManagedDomain, renew: Option<bool>) -> Result<(), CliError> {
        let mut value = serde_json::to_value(md).map_err(|err| CliError::invalid(err.to_string()))?;
        if let Some(renew) = renew {
            value["renew"] = renew.into();
        }
        self.report(&output::domain_line(md), value);
        Ok(())
    }

    /// Prints the document, at the end of the run.
    pub fn print_document(&self, failure: Option<&JobResult>) {
        self.terminal().print(&format!("{:#}", output::envelope(&self.output, failure)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::args;
    use super::*;

    fn session(line: &str) -> Session {
        let words = std::iter::once("a2md").chain(line.split_whitespace());
        Session::new(Environment::of_process(), &args::command().try_get_matches_from(words).unwrap())
    }

    fn domain(change: impl FnOnce(&mut ManagedDomain)) -> ManagedDomain {
        let mut md = ManagedDomain::new(vec![DomainName::parse("a.org").unwrap()]).unwrap();
        change(&mut md);
        md
    }

    #[test]
    fn options_replace_the_proxy_and_the_roots_of_the_domain() {
        let some = |text: &str| Some(Arc::new(text.to_owned()));
        let plain = domain(|_| {});
        let own = domain(|md| {
            md.proxy_url = some("http://own:1/");
            md.ca_certs = some("/own.pem");
            md.proxy_ca_certs = some("/proxy.pem");
        });
        let none = domain(|md| {
            md.proxy_url = some("None");
            md.ca_certs = some("none");
        });
        let at = |url: &str| Proxy::At(url.to_owned());
        for (line, md, proxy, ca_file, proxy_ca_file) in [
            ("", None, Proxy::Environment, None, None),
            ("", Some(&plain), Proxy::Environment, None, None),
            ("", Some(&own), at("http://own:1/"), Some("/own.pem"), Some("/proxy.pem")),
            ("", Some(&none), Proxy::Never, None, None),
            ("-C /ca.pem -p http://option:1/", None, at("http://option:1/"), Some("/ca.pem"), None),
            ("-C /ca.pem -p http://option:1/", Some(&own), at("http://option:1/"), Some("/ca.pem"), Some("/proxy.pem")),
            ("-p none", Some(&own), Proxy::Never, Some("/own.pem"), Some("/proxy.pem")),
        ] {
            let settings = session(line).settings(md);
            let file = |path: Option<&str>| path.map(PathBuf::from);
            assert_eq!(settings.proxy, proxy, "{line}");
            assert_eq!((settings.ca_file, settings.proxy_ca_file), (file(ca_file), file(proxy_ca_file)), "{line}");
            assert_eq!(settings.user_agent, format!("apachemd/{VERSION} mod_md_rs/{VERSION}"));
        }
    }
}
