//! The settings of the configuration, before they are merged into managed domains.

use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::{
    ACME, ActivationMode, CaSettings, Contact, DEFAULT_CA, DailyWindow, DomainName, Eab, KeySpecs, ManagedDomain,
    MemberMode, Origin, PortMap, RenewMode, RequireHttps, TAILSCALE, TAILSCALED, Window,
};

/// Settings that a server has and a domain section can override; `None` if not configured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `MDMembers auto|manual`
    pub members: Option<MemberMode>,
    /// `MDCertificateAuthority`, resolved to URLs
    pub ca_urls: Option<Vec<String>>,
    /// `MDCertificateAgreement`
    pub agreement: Option<String>,
    /// `MDContactEmail`; in the settings of the main server also `ServerAdmin`
    pub contact: Option<Contact>,
    /// `MDCAChallenges`
    pub challenges: Option<Vec<String>>,
    /// `MDPrivateKeys`
    pub keys: Option<Arc<KeySpecs>>,
    /// `MDRenewMode`
    pub renew_mode: Option<RenewMode>,
    /// `MDRenewWindow`
    pub renew_window: Option<Window>,
    /// `MDWarnWindow`
    pub warn_window: Option<Window>,
    /// `MDCertificateProtocol`
    pub protocol: Option<Arc<str>>,
    /// `MDProfile`
    pub profile: Option<Arc<str>>,
    /// `MDProfileMandatory`
    pub profile_mandatory: Option<bool>,
    /// `MDPreferredChain`
    pub preferred_chain: Option<Arc<str>>,
    /// `MDRenewViaARI`
    pub ari_renewals: Option<bool>,
    /// `MDActivation`
    pub activation: Option<ActivationMode>,
    /// `MDMustStaple`
    pub must_staple: Option<bool>,
    /// `MDExternalAccountBinding`; `none` is a value, too.
    pub eab: Option<Option<Arc<Eab>>>,
    /// `MDRequireHttps`; `off` is a value, too
    pub require_https: Option<Option<RequireHttps>>,
    /// `MDStapling`
    pub stapling: Option<bool>,
    /// `MDStapleOthers`, of servers only
    pub staple_others: Option<bool>,
    /// `MDCertificateFile`, in sections only
    pub cert_files: Vec<String>,
    /// `MDCertificateKeyFile`, in sections only
    pub key_files: Vec<String>,
    /// `MDChallengeDns01` in a section; outside it is global, as are the next three.
    pub dns01_command: Option<String>,
    /// `MDHttpProxy` in a section
    pub proxy: Option<String>,
    /// `MDHttpProxyCACertificateFile` in a section
    pub proxy_ca_file: Option<String>,
    /// `MDCACertificateFile` in a section
    pub ca_file: Option<String>,
}

/// Settings of the whole server; the last directive wins, wherever it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Globals {
    /// `MDStoreDir`
    pub store_dir: Option<PathBuf>,
    /// `MDPortMap`
    pub port_map: PortMap,
    /// `MDCACertificateFile` outside of sections
    pub ca_file: Option<String>,
    /// `MDHttpProxy` outside of sections
    pub proxy: Option<String>,
    /// `MDHttpProxyCACertificateFile` outside of sections
    pub proxy_ca_file: Option<String>,
    /// `MDChallengeDns01` outside of sections, as written
    pub dns01_command: Option<String>,
    /// `MDChallengeDns01Version`
    pub dns01_version: u8,
    /// `MDNotifyCmd`, as written
    pub notify_command: Option<String>,
    /// `MDMessageCmd`, as written
    pub message_command: Option<String>,
    /// `MDMessageEvents`: whether `MDMessageCmd` gets events that the C module does not have.
    pub all_events: bool,
    /// `MDCmdTimeout`
    pub cmd_timeout: CmdTimeout,
    /// `MDCheckInterval`
    pub check_interval: SignedDuration,
    /// `MDInitialDelay`
    pub initial_delay: SignedDuration,
    /// `MDRetryDelay`
    pub retry_delay: SignedDuration,
    /// `MDRetryFailover`
    pub retry_failover: u32,
    /// `MDActivationDelay`; a negative value counts as 0.
    pub activation_delay: SignedDuration,
    /// `MDActivationMinInterval`: between two restarts that the server makes by itself
    pub activation_interval: SignedDuration,
    /// `MDActivationWindow`: when it makes them, in local time; `None` for at any time
    pub activation_window: Option<DailyWindow>,
    /// `MDStaplingKeepResponse`; a percentage is one of a week
    pub keep_response: Window,
    /// `MDStaplingRenewWindow`
    pub stapling_renew_window: Window,
    /// `MDServerStatus`; `None` if it is not set, where server-status has a summary
    pub server_status: Option<bool>,
    /// `MDCertificateStatus`
    pub certificate_status: bool,
    /// `MDCertificateCheck`: a name, and a URL that a fingerprint is put behind
    pub certificate_check: (String, String),
    /// `MDBaseServer`
    pub base_server: bool,
    /// `MDMatchNames`
    pub match_names: MatchNames,
    /// `MDRenewWorkers`
    pub renew_workers: NonZeroU8,
    /// `MDLazyCertificates`: whether certificates of the store are decoded when the first handshake asks for them
    pub lazy_certificates: bool,
    /// `MDStoreLocks`: how long to wait for the store's lock; `None` for no locking
    pub store_locks: Option<Duration>,
}

/// How long commands may take (`MDCmdTimeout`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CmdTimeout {
    /// Limit for the commands for events.
    pub events: Duration,
    /// Limit for the dns-01 command, which waits until all name servers have a record.
    pub dns01: Duration,
}

impl Default for CmdTimeout {
    fn default() -> Self {
        Self { events: Duration::from_secs(60), dns01: Duration::from_secs(15 * 60) }
    }
}

/// How domains are matched to virtual hosts (`MDMatchNames`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchNames {
    /// By any name of the domain and any ServerName or ServerAlias.
    All,
    /// By ServerName only.
    ServerNames,
}

/// A domain as declared by `MDomain` or a section, before anything is inherited.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// The names, in order, without duplicates.
    pub names: Vec<DomainName>,
    /// The settings of this domain only.
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
            proxy: None,
            proxy_ca_file: None,
            dns01_command: None,
            dns01_version: 1,
            notify_command: None,
            message_command: None,
            all_events: false,
            cmd_timeout: CmdTimeout::default(),
            check_interval: SignedDuration::from_hours(12),
            initial_delay: SignedDuration::ZERO,
            retry_delay: SignedDuration::from_secs(30),
            retry_failover: 13,
            activation_delay: SignedDuration::ZERO,
            activation_interval: SignedDuration::from_hours(1),
            activation_window: None,
            keep_response: Window::Length(SignedDuration::from_hours(7 * 24)),
            stapling_renew_window: Window::Percent(33),
            server_status: None,
            certificate_status: true,
            certificate_check: ("crt.sh".to_owned(), "https://crt.sh?q=".to_owned()),
            base_server: false,
            match_names: MatchNames::All,
            renew_workers: NonZeroU8::new(8).expect("not zero"),
            lazy_certificates: true,
            store_locks: None,
        }
    }
}

impl Declared {
    /// Adds words that are names, or `auto` or `manual`. A name that is there already is not added again.
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

    /// Returns the domain, with settings that are not its own taken from the main server, or from the defaults.
    /// `None` for a declaration without names.
    #[must_use]
    pub fn complete(&self, main: &Settings) -> Option<ManagedDomain> {
        // Without `..`, so that the compiler finds a setting that is not merged. `ca_urls` are merged below, and
        // `staple_others` is of servers only.
        #[rustfmt::skip]
        let Settings {
            members, ca_urls: _, agreement, contact, challenges, keys, renew_mode, renew_window, warn_window, protocol,
            profile, profile_mandatory, preferred_chain, ari_renewals, activation, must_staple, eab, require_https,
            stapling, staple_others: _, cert_files, key_files, dns01_command, proxy, proxy_ca_file, ca_file,
        } = &self.settings;
        let mut md = ManagedDomain::new(self.names.clone())?;
        if let Some(contact) = contact.as_ref().or(main.contact.as_ref()) {
            md.set_contact(contact.clone());
        }
        md.members = members.or(main.members).unwrap_or(MemberMode::Auto);
        let proto = protocol.as_ref().or(main.protocol.as_ref()).map_or(ACME, AsRef::as_ref);
        let urls = self.ca_urls(main, proto);
        md.ca = Arc::new(CaSettings {
            account: None,
            proto: Some(proto.to_owned()),
            url: None,
            urls,
            agreement: agreement.clone().or_else(|| main.agreement.clone()),
            challenges: challenges.clone().or_else(|| main.challenges.clone()).unwrap_or_default(),
        });
        md.keys = keys.clone().or_else(|| main.keys.clone());
        md.renew_mode = renew_mode.or(main.renew_mode).unwrap_or(RenewMode::Auto);
        let renew_window = renew_window.or(main.renew_window);
        md.renew_window = Some(renew_window.unwrap_or(Window::RENEW));
        md.renew_window_configured = renew_window.is_some();
        md.warn_window = Some(warn_window.or(main.warn_window).unwrap_or(Window::WARN));
        md.require_https = require_https.or(main.require_https).flatten();
        md.must_staple = must_staple.or(main.must_staple).unwrap_or(false);
        md.stapling = stapling.or(main.stapling).unwrap_or(false);
        md.eab = eab.clone().or_else(|| main.eab.clone()).flatten();
        md.profile = profile.clone().or_else(|| main.profile.clone());
        md.profile_mandatory = profile_mandatory.or(main.profile_mandatory).unwrap_or(false);
        md.preferred_chain = preferred_chain.clone().or_else(|| main.preferred_chain.clone());
        md.ari_renewals = ari_renewals.or(main.ari_renewals).unwrap_or(true) && !md.is_of_tailscale();
        md.activation = activation.or(main.activation).unwrap_or_default();
        md.cert_files.clone_from(cert_files);
        md.pkey_files.clone_from(key_files);
        md.cmd_dns_01 = dns01_command.clone().map(Arc::new);
        md.proxy_url = proxy.clone().map(Arc::new);
        md.ca_certs = ca_file.clone().map(Arc::new);
        md.proxy_ca_certs = proxy_ca_file.clone().map(Arc::new);
        if md.is_static() && md.renew_mode == RenewMode::Auto {
            md.renew_mode = RenewMode::Manual;
        }
        Some(md)
    }

    /// Returns the configured CAs, or the default of the protocol: the CAs of the main server may be for another protocol.
    fn ca_urls(&self, main: &Settings, proto: &str) -> Vec<String> {
        let (usual, is_tailscale) = if proto == TAILSCALE { (TAILSCALED, true) } else { (DEFAULT_CA, false) };
        let fits = |urls: &&Vec<String>| urls.iter().all(|url| url.starts_with("file:") == is_tailscale);
        let said = self.settings.ca_urls.as_ref().or_else(|| main.ca_urls.as_ref().filter(fits));
        said.filter(|urls| !urls.is_empty()).cloned().unwrap_or_else(|| vec![usual.to_owned()])
    }
}

/// Returns the mode that `auto` and `manual` stand for.
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
    fn tailscale_has_an_authority_and_a_key_of_its_own() {
        let https = "https://ca.test/directory";
        let file = "file:///run/other.sock";
        // Its own authority, that of the main server, what comes of it.
        let rows = [
            (None, None, TAILSCALED),
            (None, Some(https), TAILSCALED),
            (None, Some(file), file),
            (Some(file), Some(https), file),
            (Some(https), Some(file), https),
        ];
        let settings =
            |url: Option<&str>| Settings { ca_urls: url.map(|url| vec![url.to_owned()]), ..Settings::default() };
        for (own, main, expected) in rows {
            let mut declared = Declared { names: Vec::new(), settings: settings(own), origin: Origin::default() };
            declared.add_words(&["pi.chicken.ts.net"]).unwrap();
            declared.settings.protocol = Some(TAILSCALE.into());
            declared.settings.keys = Some(Arc::new(KeySpecs::standard()));
            let md = declared.complete(&settings(main)).unwrap();
            assert_eq!(md.ca.urls, [expected], "{own:?} {main:?}");
            assert_eq!((md.key_specs().0[0].json_name(), md.ari_renewals), ("secp256r1", false));
            declared.settings.protocol = None;
            let usual = main.filter(|url| *url == https).unwrap_or(DEFAULT_CA);
            assert_eq!(declared.complete(&settings(main)).unwrap().ca.urls, [own.unwrap_or(usual)], "{own:?} {main:?}");
        }
    }

    #[test]
    fn what_a_domain_does_not_say_comes_from_the_main_server() {
        let mut declared = Declared { names: Vec::new(), settings: Settings::default(), origin: Origin::default() };
        assert_eq!(declared.complete(&Settings::default()), None);
        declared.add_words(&["X.org", "www.x.org", "x.ORG", "Manual"]).unwrap();
        declared.settings.renew_window = Some(Window::Percent(50));
        let main = Settings {
            contact: Some(Contact::of_directive("a@x.org", Origin::default())),
            renew_window: Some(Window::Percent(20)),
            renew_mode: Some(RenewMode::Always),
            ..Settings::default()
        };
        let md = declared.complete(&main).unwrap();
        assert_eq!(md.domains.len(), 2);
        assert_eq!((md.members, md.renew_mode), (MemberMode::Manual, RenewMode::Always));
        assert_eq!(md.renew_window, Some(Window::Percent(50)));
        assert_eq!(*md.contacts, ["mailto:a@x.org"]);
        assert_eq!(md.ca.urls, [DEFAULT_CA]);
    }

    fn complete(own: Settings, main: &Settings) -> ManagedDomain {
        let names = vec![DomainName::parse("x.org").unwrap()];
        Declared { names, settings: own, origin: Origin::default() }.complete(main).unwrap()
    }

    #[test]
    fn defaults() {
        let md = complete(Settings::default(), &Settings::default());
        let ca =
            CaSettings { proto: Some(ACME.to_owned()), urls: vec![DEFAULT_CA.to_owned()], ..CaSettings::default() };
        let expected = ManagedDomain {
            members: MemberMode::Auto,
            ca: Arc::new(ca),
            renew_mode: RenewMode::Auto,
            renew_window: Some(Window::Percent(33)),
            warn_window: Some(Window::Percent(10)),
            ..ManagedDomain::new(md.domains.clone()).unwrap()
        };
        assert_eq!(md, expected);
        assert!(md.ari_renewals && md.activation.is_default());
    }

    #[test]
    fn a_renew_window_is_configured_where_it_is_written_also_as_the_default() {
        let settings = |renew_window| Settings { renew_window, ..Settings::default() };
        let [usual, other] = [Some(Window::Percent(33)), Some(Window::Percent(20))];
        // Of the domain, of the main server; what counts as configured, and what is shown
        let rows = [
            (None, None, None, usual),
            (usual, None, usual, usual),
            (None, usual, usual, usual),
            (other, usual, other, other),
            (usual, other, usual, usual),
            (None, other, other, other),
        ];
        for (own, main, configured, shown) in rows {
            let md = complete(settings(own), &settings(main));
            assert_eq!((md.configured_renew_window(), md.renew_window), (configured, shown), "{own:?} {main:?}");
        }
    }

    #[test]
    fn off_and_none_of_a_section_override_what_the_main_server_has() {
        let main = Settings {
            require_https: Some(Some(RequireHttps::Permanent)),
            must_staple: Some(true),
            stapling: Some(true),
            profile: Some("short".into()),
            profile_mandatory: Some(true),
            preferred_chain: Some("A Root".into()),
            ari_renewals: Some(false),
            activation: Some(ActivationMode::Live),
            eab: Some(Some(Arc::new(Eab { kid: "k".to_owned(), hmac: "h".to_owned() }))),
            protocol: Some("Other".into()),
            warn_window: Some(Window::Percent(1)),
            ..Settings::default()
        };
        let inherited = complete(Settings::default(), &main);
        assert_eq!((inherited.must_staple, inherited.stapling, inherited.profile_mandatory), (true, true, true));
        assert_eq!((inherited.ari_renewals, inherited.require_https), (false, Some(RequireHttps::Permanent)));
        assert_eq!(inherited.preferred_chain.as_deref(), Some("A Root"));
        assert_eq!(inherited.activation, ActivationMode::Live);
        assert_eq!((inherited.profile.as_deref(), inherited.ca.proto.as_deref()), (Some("short"), Some("Other")));
        assert_eq!((inherited.eab.unwrap().kid.as_str(), inherited.warn_window), ("k", Some(Window::Percent(1))));
        let own = Settings {
            require_https: Some(None),
            must_staple: Some(false),
            stapling: Some(false),
            profile: Some("long".into()),
            profile_mandatory: Some(false),
            preferred_chain: Some("shortest".into()),
            ari_renewals: Some(true),
            activation: Some(ActivationMode::Restart),
            eab: Some(None),
            protocol: Some(ACME.into()),
            ..Settings::default()
        };
        let md = complete(own, &main);
        assert_eq!((md.must_staple, md.stapling, md.profile_mandatory, md.ari_renewals), (false, false, false, true));
        assert_eq!((md.require_https, md.eab.is_none(), md.profile.as_deref()), (None, true, Some("long")));
        assert_eq!((md.activation, md.preferred_chain.as_deref()), (ActivationMode::Restart, Some("shortest")));
    }

    #[test]
    fn files_of_the_administrator_are_not_renewed_unless_that_is_said() {
        let files = || vec!["/f".to_owned()];
        let modes = [
            (None, RenewMode::Manual),
            (Some(RenewMode::Auto), RenewMode::Manual),
            (Some(RenewMode::Always), RenewMode::Always),
        ];
        for (renew_mode, expected) in modes {
            let own = Settings { cert_files: files(), key_files: files(), renew_mode, ..Settings::default() };
            assert_eq!(complete(own, &Settings::default()).renew_mode, expected);
        }
    }

    #[test]
    fn what_domains_have_in_common_is_kept_once_and_a_domain_is_small() {
        let main = Settings { profile: Some("short".into()), ..Settings::default() };
        let a = complete(Settings::default(), &main);
        let b = complete(Settings::default(), &main);
        assert!(Arc::ptr_eq(a.profile.as_ref().unwrap(), b.profile.as_ref().unwrap()));
        assert!(size_of::<ManagedDomain>() <= SIZE, "{}", size_of::<ManagedDomain>());
    }

    /// There may be tens of thousands of them.
    const SIZE: usize = 400;
}
