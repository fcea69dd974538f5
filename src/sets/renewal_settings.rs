//! The settings of a domain that matter to its renewal: what is ordered, from which CAs, and what may let an attempt succeed.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::acme::ChallengeType;
use crate::model::{CaSettings, ContactSource, DomainName, Eab, Globals, KeySpecs, ManagedDomain};

/// The settings of one domain that matter to its renewal.
///
/// The functions of this type take it, [`ManagedDomain`] and [`Globals`] apart without `..`: the compiler asks of each new setting
/// whether it belongs here, and what it decides.
pub(crate) struct RenewalSettings<'a> {
    /// All names of an order, in the order of the configuration.
    pub(crate) names: Vec<&'a DomainName>,
    pub(crate) keys: KeySpecs,
    pub(crate) must_staple: bool,
    pub(crate) profile: Option<&'a Arc<str>>,
    pub(crate) eab: Option<&'a Arc<Eab>>,
    /// The CA that the renewal goes to.
    ca_url: Option<&'a String>,
    /// The CAs that it can go to.
    ca_urls: &'a [String],
    pub(crate) preferred_chain: Option<&'a Arc<str>>,
    pub(crate) contacts: &'a Vec<String>,
    pub(crate) contact_source: &'a Arc<ContactSource>,
    pub(crate) agreement: &'a Option<String>,
    pub(crate) profile_mandatory: bool,
    own_ca_file: Option<&'a String>,
    own_proxy: Option<&'a String>,
    own_proxy_ca_file: Option<&'a String>,
    own_dns01_command: Option<&'a String>,
}

impl<'a> RenewalSettings<'a> {
    /// Takes them from those of a domain.
    pub(crate) fn of(md: &'a ManagedDomain) -> Self {
        #[rustfmt::skip]
        let ManagedDomain {
            contacts, ca, must_staple, cmd_dns_01, proxy_url, ca_certs, proxy_ca_certs, eab, profile, profile_mandatory,
            preferred_chain, contact_source,
            // By `order_names` and `key_specs`.
            name: _, domains: _, keys: _,
            // These decide whether and when there is a renewal, or are about what is served.
            members: _, state: _, state_descr: _, renew_mode: _, renew_window: _, renew_window_configured: _, warn_window: _,
            require_https: _, proto: _,
            cert_files: _, pkey_files: _, stapling: _, ari_renewals: _, activation: _,
        } = md;
        // The protocol goes with the URL, and the challenge types that can be used are handed to `digest`.
        let CaSettings { account: _, proto: _, url, urls, agreement, challenges: _ } = &**ca;
        Self {
            names: md.order_names(),
            keys: md.key_specs(),
            must_staple: *must_staple,
            profile: profile.as_ref(),
            eab: eab.as_ref(),
            ca_url: url.as_ref(),
            ca_urls: urls,
            preferred_chain: preferred_chain.as_ref(),
            contacts,
            contact_source,
            agreement,
            profile_mandatory: *profile_mandatory,
            own_ca_file: ca_certs.as_deref(),
            own_proxy: proxy_url.as_deref(),
            own_proxy_ca_file: proxy_ca_certs.as_deref(),
            own_dns01_command: cmd_dns_01.as_deref(),
        }
    }

    /// Whether an order that was begun for `self` serves `other`.
    pub(crate) fn order_serves(&self, other: &Self) -> bool {
        self.ordered() == other.ordered() && self.ca_url == other.ca_url
    }

    /// Whether both order the same of the same CAs, though perhaps not of the same CA at the moment.
    pub(crate) fn is_configured_alike(&self, other: &Self) -> bool {
        self.ordered() == other.ordered() && self.ca_urls == other.ca_urls
    }

    /// Returns those that make another order.
    fn ordered(&self) -> impl PartialEq {
        #[rustfmt::skip]
        let Self {
            names, keys, must_staple, profile, eab,
            ca_url: _, ca_urls: _, preferred_chain: _, contacts: _, contact_source: _, agreement: _, profile_mandatory: _, own_ca_file: _,
            own_proxy: _, own_proxy_ca_file: _, own_dns01_command: _,
        } = self;
        (names.iter().copied().collect::<BTreeSet<_>>(), keys, must_staple, profile, eab)
    }

    /// Returns a text that stands for the settings, from wherever they come, that may decide whether an attempt succeeds, beside
    /// what is ordered and where. The text is stored with a failure: a domain for which it is another one is tried once more.
    pub(crate) fn digest(&self, challenges: &Arc<Result<Vec<ChallengeType>, String>>, globals: &Globals) -> String {
        #[rustfmt::skip]
        let Self {
            contacts, contact_source, agreement, profile_mandatory, own_ca_file, own_proxy, own_proxy_ca_file,
            own_dns01_command,
            names: _, keys: _, must_staple: _, profile: _, eab: _, ca_url: _, ca_urls: _, preferred_chain: _,
        } = self;
        #[rustfmt::skip]
        let Globals {
            ca_file, proxy, proxy_ca_file, dns01_command, dns01_version, message_command,
            store_dir: _, port_map: _, notify_command: _, all_events: _, cmd_timeout: _, check_interval: _,
            initial_delay: _, retry_delay: _, retry_failover: _, activation_delay: _, activation_interval: _,
            activation_window: _, keep_response: _, stapling_renew_window: _, server_status: _, certificate_status: _,
            certificate_check: _, base_server: _, match_names: _, renew_workers: _, store_locks: _, lazy_certificates: _,
        } = globals;
        let ca_file = own_ca_file.or(ca_file.as_ref());
        let proxy = own_proxy.or(proxy.as_ref());
        let proxy_ca_file = own_proxy_ca_file.or(proxy_ca_file.as_ref());
        let dns01_command = own_dns01_command.or(dns01_command.as_ref());
        let mut hasher = DefaultHasher::new();
        (contacts, agreement, challenges, ca_file, proxy, proxy_ca_file, profile_mandatory).hash(&mut hasher);
        (dns01_command, dns01_version, message_command).hash(&mut hasher);
        // A contact that may be left out: whether an attempt succeeds no longer depends on it.
        if ***contact_source == ContactSource::ServerAdmin {
            true.hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }
}
