//! What the configuration says, before it is merged into managed domains.

use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::{CaSettings, DomainName, KeySpecs, ManagedDomain, MemberMode, PortMap, RenewMode, Window};

/// Properties that a server has and a domain section can have for itself; `None` where nothing was said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `MDMembers auto|manual`
    pub members: Option<MemberMode>,
    /// `MDCertificateAuthority`, resolved to URLs
    pub ca_urls: Option<Vec<String>>,
    /// `MDCertificateAgreement`
    pub agreement: Option<String>,
    /// `MDContactEmail`, as a URI
    pub contact: Option<String>,
    /// `MDCAChallenges`
    pub challenges: Option<Vec<String>>,
    /// `MDPrivateKeys`
    pub keys: Option<Arc<KeySpecs>>,
    /// `MDRenewMode`
    pub renew_mode: Option<RenewMode>,
    /// `MDRenewWindow`
    pub renew_window: Option<Window>,
    /// `MDCACertificateFile` in a section; outside it is global
    pub ca_file: Option<String>,
}

/// Values that the whole server has once; the last directive wins, wherever it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Globals {
    /// `MDStoreDir`
    pub store_dir: Option<PathBuf>,
    /// `MDPortMap`
    pub port_map: PortMap,
    /// `MDCACertificateFile` outside of sections
    pub ca_file: Option<String>,
    /// `MDCheckInterval`
    pub check_interval: SignedDuration,
    /// `MDRetryDelay`
    pub retry_delay: SignedDuration,
    /// `MDBaseServer`
    pub base_server: bool,
    /// `MDMatchNames`
    pub match_names: MatchNames,
    /// `MDRenewWorkers`
    pub renew_workers: NonZeroU8,
    /// `MDStoreLocks`: how long to wait for the store's lock; `None` for no locking
    pub store_locks: Option<Duration>,
}

/// How domains are matched to virtual hosts (`MDMatchNames`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchNames {
    /// By any name of the domain and any ServerName or ServerAlias.
    All,
    /// By ServerName only.
    ServerNames,
}

/// Where in the configuration something was declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// The line in it.
    pub line: u32,
}

/// A domain as declared by `MDomain` or a section, before anything is inherited.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// The names, in order, without duplicates.
    pub names: Vec<DomainName>,
    /// What was said for this domain only.
    pub settings: Settings,
    /// The place of the declaration.
    pub origin: Origin,
}

impl Default for Globals {
    fn default() -> Self {
        Self {
            store_dir: None,
            port_map: PortMap::default(),
            ca_file: None,
            check_interval: SignedDuration::from_hours(12),
            retry_delay: SignedDuration::from_secs(30),
            base_server: false,
            match_names: MatchNames::All,
            renew_workers: NonZeroU8::new(8).expect("not zero"),
            store_locks: None,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Declared {
    /// Takes words that are names, or `auto` or `manual`. A name that is there already is not added again.
    ///
    /// # Errors
    /// If a word cannot be a name.
    pub fn add_words(&mut self, words: &[&str]) -> Result<(), super::NameError> {
        for word in words {
            if let Some(mode) = member_mode(word) {
                self.settings.members = Some(mode);
            } else {
                self.add_name(DomainName::parse(word)?);
            }
        }
        Ok(())
    }

    /// Adds a name that is not there yet.
    pub fn add_name(&mut self, name: DomainName) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// The domain with everything that was not said for it taken from the main server, or from the defaults.
    /// `None` for a declaration without names.
    #[must_use]
    pub fn complete(&self, main: &Settings) -> Option<ManagedDomain> {
        let own = &self.settings;
        let mut md = ManagedDomain::new(self.names.clone())?;
        md.contacts = Arc::new(own.contact.iter().chain(&main.contact).take(1).cloned().collect());
        md.members = own.members.or(main.members).unwrap_or(MemberMode::Auto);
        let urls = own.ca_urls.clone().or_else(|| main.ca_urls.clone()).filter(|urls| !urls.is_empty());
        md.ca = Arc::new(CaSettings {
            account: None,
            proto: Some("ACME".to_owned()),
            url: None,
            urls: urls.unwrap_or_else(|| vec![super::directive::DEFAULT_CA.to_owned()]),
            agreement: own.agreement.clone().or_else(|| main.agreement.clone()),
            challenges: own.challenges.clone().or_else(|| main.challenges.clone()).unwrap_or_default(),
        });
        md.keys = own.keys.clone().or_else(|| main.keys.clone());
        md.renew_mode = own.renew_mode.or(main.renew_mode).unwrap_or(RenewMode::Auto);
        md.renew_window = Some(own.renew_window.or(main.renew_window).unwrap_or(Window::Percent(33)));
        md.warn_window = Some(Window::Percent(10));
        md.ca_certs.clone_from(&own.ca_file);
        Some(md)
    }
}

/// The mode that `auto` and `manual` stand for.
pub(super) fn member_mode(word: &str) -> Option<MemberMode> {
    match word.to_ascii_lowercase().as_str() {
        "auto" => Some(MemberMode::Auto),
        "manual" => Some(MemberMode::Manual),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_domain_does_not_say_comes_from_the_main_server() {
        let mut declared = Declared { names: Vec::new(), settings: Settings::default(), origin: Origin::default() };
        assert_eq!(declared.complete(&Settings::default()), None);
        declared.add_words(&["X.org", "www.x.org", "x.ORG", "Manual"]).unwrap();
        declared.settings.renew_window = Some(Window::Percent(50));
        let main = Settings {
            contact: Some("mailto:a@x.org".to_owned()),
            renew_window: Some(Window::Percent(20)),
            renew_mode: Some(RenewMode::Always),
            ..Settings::default()
        };
        let md = declared.complete(&main).unwrap();
        assert_eq!(md.domains.len(), 2);
        assert_eq!((md.members, md.renew_mode), (MemberMode::Manual, RenewMode::Always));
        assert_eq!(md.renew_window, Some(Window::Percent(50)));
        assert_eq!(*md.contacts, ["mailto:a@x.org"]);
        assert_eq!(md.ca.urls, [super::super::directive::DEFAULT_CA]);
    }
}
