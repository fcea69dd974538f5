//! A managed domain: the settings and the state that `md.json` holds.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    ActivationMode, Contact, ContactSource, DomainName, KeySpec, KeySpecs, TAILSCALE, Window, base64_decode, window,
};

/// A group of names with one certificate per key type. Serde writes it as `md.json`, members in the stored order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManagedDomain {
    /// The first name; the name of its directories.
    pub name: DomainName,
    /// All names, without duplicates.
    #[serde(default, deserialize_with = "read_names")]
    pub domains: Vec<DomainName>,
    /// Contact URIs for the account.
    #[serde(default)]
    pub contacts: Arc<Vec<String>>,
    /// Whether names of matching virtual hosts are added.
    #[serde(default, rename = "transitive")]
    pub members: MemberMode,
    /// The CA and how to talk to it; domains with equal settings can share this.
    #[serde(default)]
    pub ca: Arc<CaSettings>,
    /// Key types, where configured.
    #[serde(default, rename = "privkey", skip_serializing_if = "Option::is_none")]
    pub keys: Option<Arc<KeySpecs>>,
    /// The state of the certificates in `domains/`.
    #[serde(default)]
    pub state: State,
    /// Why the state is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_descr: Option<String>,
    /// When certificates are renewed automatically.
    #[serde(default)]
    pub renew_mode: RenewMode,
    /// How long before its end a certificate is renewed.
    #[serde(default, deserialize_with = "window::read_optional", skip_serializing_if = "Option::is_none")]
    pub renew_window: Option<Window>,
    /// How long before the end of a certificate the administrator is warned.
    #[serde(default, deserialize_with = "window::read_optional", skip_serializing_if = "Option::is_none")]
    pub warn_window: Option<Window>,
    /// The redirection of plain requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_https: Option<RequireHttps>,
    /// Whether certificates ask for stapling (RFC 7633).
    #[serde(default)]
    pub must_staple: bool,
    /// Protocols that the server offers for single names.
    #[serde(default)]
    pub proto: Protocols,
    /// Certificates that the administrator provides, chains in the order of `pkey_files`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cert_files: Vec<String>,
    /// Keys that the administrator provides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pkey_files: Vec<String>,
    /// Whether OCSP responses are stapled.
    #[serde(default)]
    pub stapling: bool,
    /// The command for dns-01, if this domain has one for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd_dns_01: Option<Arc<String>>,
    /// The proxy, if this domain has one for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<Arc<String>>,
    /// Roots for the CA's server, if this domain has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certs: Option<Arc<String>>,
    /// Roots for the proxy, if this domain has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_ca_certs: Option<Arc<String>>,
    /// External account binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eab: Option<Arc<Eab>>,
    /// Name of the order profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Arc<str>>,
    /// Whether an order without the profile is refused.
    #[serde(default)]
    pub profile_mandatory: bool,
    /// Whether the CA may say when to renew (RFC 9773).
    #[serde(default = "yes")]
    pub ari_renewals: bool,
    /// How a new certificate gets into use. The C module, which has only one way, does not know this member.
    #[serde(default, skip_serializing_if = "ActivationMode::is_default")]
    pub activation: ActivationMode,
    /// The chain to take where the CA offers several. The C module does not know this member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_chain: Option<Arc<str>>,
    /// Where the contacts come from; the file has `ServerAdmin` only. The C module does not know this member.
    #[serde(default, rename = "contacts-from", skip_serializing_if = "contact_source_is_not_stored")]
    pub contact_source: Arc<ContactSource>,
    /// Whether `renew_window` is configured. The C module does not know this member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew_window_configured: bool,
}

/// The CA of a domain, and how it is talked to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CaSettings {
    /// Id of the account in `accounts/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The protocol (`MDCertificateProtocol`): `ACME` or `tailscale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<String>,
    /// Directory URL of the CA in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Directory URLs as configured, in the order of fail-over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// `accepted`, or the URL of the terms that were agreed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<String>,
    /// Challenge types, where configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub challenges: Vec<String>,
}

/// Key id and MAC key of an external account (RFC 8555 section 7.3.4). Two are equal if the keys are, however they are encoded.
#[derive(Clone, Serialize, Deserialize)]
pub struct Eab {
    /// Key identifier.
    pub kid: String,
    /// The MAC key in base64, as configured.
    pub hmac: String,
}

impl Eab {
    /// Returns the MAC key: base64url, as RFC 8555 has it, or in the standard alphabet, as some CAs show it. `None` if it cannot
    /// be decoded, or is empty.
    #[must_use]
    pub fn mac_key(&self) -> Option<Vec<u8>> {
        base64_decode(&self.hmac).filter(|key| !key.is_empty())
    }
}

impl PartialEq for Eab {
    fn eq(&self, other: &Self) -> bool {
        let is_same_key = || self.mac_key().is_some_and(|key| other.mac_key() == Some(key));
        self.kid == other.kid && (self.hmac == other.hmac || is_same_key())
    }
}

impl Eq for Eab {}

impl std::fmt::Debug for Eab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eab").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Names for which the server offers a protocol.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Protocols {
    /// Names that can answer tls-alpn-01 (RFC 8737).
    #[serde(rename = "acme-tls/1", deserialize_with = "read_names")]
    pub acme_tls_1: Vec<DomainName>,
}

/// How `MDRequireHttps` redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequireHttps {
    /// 302 or 307.
    Temporary,
    /// 301 or 308, and HSTS.
    Permanent,
}

macro_rules! stored_as_int {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $int:literal),+ $(,)? } $(and $old:literal reads $read:ident,)? else $default:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant = $int),+ }

        impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i32(*self as i32)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(match i64::deserialize(deserializer)? {
                    $($int => Self::$variant,)+
                    $($old => Self::$read,)?
                    _ => Self::$default,
                })
            }
        }
    };
}

stored_as_int! {
    /// Whether names of matching virtual hosts become names of the domain (`MDMembers`).
    MemberMode {
        /// Not configured.
        Unset = -1,
        /// Only the names given.
        Manual = 0,
        /// ServerName and ServerAlias of its virtual hosts too.
        Auto = 1,
    } else Unset
}

stored_as_int! {
    /// When certificates are obtained (`MDRenewMode`).
    RenewMode {
        /// Not configured.
        Unset = -1,
        /// Never by this module.
        Manual = 0,
        /// When a virtual host uses them.
        Auto = 1,
        /// Always.
        Always = 2,
    } else Unset
}

stored_as_int! {
    /// The state of the certificates in `domains/`.
    State {
        /// The certificates have not been checked.
        Unknown = 0,
        /// A certificate is missing or does not fit.
        Incomplete = 1,
        /// Each key type has a certificate that fits; it may have expired. Old files say 3 then.
        Complete = 2,
        /// A file cannot be read.
        Error = 4,
        /// Settings are missing.
        MissingInformation = 5,
    } and 3 reads Complete, else Unknown
}

/// Reads each name once, whatever spellings of it are stored. The C module, which compares the text, has stored several.
fn read_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DomainName>, D::Error> {
    let mut names = Vec::deserialize(deserializer)?;
    let mut known = HashSet::new();
    names.retain(|name: &DomainName| known.insert(name.clone()));
    Ok(names)
}

fn yes() -> bool {
    true
}

fn contact_source_is_not_stored(source: &Arc<ContactSource>) -> bool {
    source.is_not_stored()
}

/// The value of [`ManagedDomain::preferred_chain`] for the chain with the fewest certificates.
pub const SHORTEST_CHAIN: &str = "shortest";

impl ManagedDomain {
    /// Makes a domain of these names with nothing configured. The first name is the domain's.
    #[must_use]
    pub fn new(names: Vec<DomainName>) -> Option<Self> {
        Some(Self {
            name: names.first()?.clone(),
            domains: names,
            contacts: Arc::default(),
            members: MemberMode::Unset,
            ca: Arc::default(),
            keys: None,
            state: State::Unknown,
            state_descr: None,
            renew_mode: RenewMode::Unset,
            renew_window: None,
            warn_window: None,
            require_https: None,
            must_staple: false,
            proto: Protocols::default(),
            cert_files: Vec::new(),
            pkey_files: Vec::new(),
            stapling: false,
            cmd_dns_01: None,
            proxy_url: None,
            ca_certs: None,
            proxy_ca_certs: None,
            eab: None,
            profile: None,
            profile_mandatory: false,
            ari_renewals: true,
            activation: ActivationMode::Restart,
            preferred_chain: None,
            contact_source: Arc::default(),
            renew_window_configured: false,
        })
    }

    /// Sets the contact of the configuration.
    pub fn set_contact(&mut self, contact: Contact) {
        self.contacts = Arc::new(contact.uri.into_iter().collect());
        self.contact_source = Arc::new(contact.source);
    }

    /// Shares the parts that both domains have alike.
    pub fn share(&mut self, other: &Self) {
        if self.ca == other.ca {
            self.ca = Arc::clone(&other.ca);
        }
        if self.contacts == other.contacts {
            self.contacts = Arc::clone(&other.contacts);
        }
        if self.contact_source == other.contact_source {
            self.contact_source = Arc::clone(&other.contact_source);
        }
        if self.keys == other.keys {
            self.keys.clone_from(&other.keys);
        }
    }

    /// Whether a certificate of this domain covers `name`.
    #[must_use]
    pub fn covers(&self, name: &DomainName) -> bool {
        self.domains.iter().any(|own| own.covers(name))
    }

    /// Whether the administrator provides the certificates.
    #[must_use]
    pub fn is_static(&self) -> bool {
        !self.cert_files.is_empty()
    }

    /// Whether sets of the domain go live (`MDActivation live`). Certificate files of the administrator never do.
    #[must_use]
    pub fn goes_live(&self) -> bool {
        self.activation == ActivationMode::Live && !self.is_static()
    }

    /// Whether tailscaled provides the certificates.
    #[must_use]
    pub fn is_of_tailscale(&self) -> bool {
        self.ca.proto.as_deref() == Some(TAILSCALE)
    }

    /// Returns the key types of the domain's certificates. Tailscaled makes its keys itself, and of one type.
    #[must_use]
    pub fn key_specs(&self) -> KeySpecs {
        if self.is_of_tailscale() {
            return KeySpecs(vec![KeySpec::Ec { curve: "secp256r1".to_owned() }]);
        }
        self.keys.as_deref().cloned().unwrap_or_else(KeySpecs::standard)
    }

    /// Returns the names that an order needs: all but those that a wildcard of the same domain covers.
    #[must_use]
    pub fn order_names(&self) -> Vec<&DomainName> {
        let covered = |name: &DomainName| {
            self.domains.iter().any(|other| other.is_wildcard() && other != name && other.covers(name))
        };
        self.domains.iter().filter(|name| !covered(name)).collect()
    }

    /// Returns `MDRenewWindow` if it is configured. A value other than the default is, also where a file does not say so, as one of
    /// the C module.
    #[must_use]
    pub fn configured_renew_window(&self) -> Option<Window> {
        self.renew_window.filter(|window| self.renew_window_configured || *window != Window::RENEW)
    }

    /// Returns the directory URL of the CA in use.
    #[must_use]
    pub fn ca_url(&self) -> Option<&str> {
        self.ca.url.as_deref().or_else(|| self.ca.urls.first().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(names: &[&str]) -> ManagedDomain {
        ManagedDomain::new(names.iter().map(|name| DomainName::parse(name).unwrap()).collect()).unwrap()
    }

    #[test]
    fn an_external_account_is_the_same_in_each_alphabet() {
        let eab = |kid: &str, hmac: &str| Eab { kid: kid.to_owned(), hmac: hmac.to_owned() };
        for hmac in ["A-z_4ME", "A-z_4ME=", "A+z/4ME", "A+z/4ME="] {
            assert_eq!(eab("k", hmac), eab("k", "A-z_4ME"), "{hmac}");
            assert_ne!(eab("k", hmac), eab("l", hmac), "{hmac}");
        }
        assert_ne!(eab("k", "A-z_4ME"), eab("k", "A-z_4MI"));
        assert_eq!(eab("k", "no key!"), eab("k", "no key!"));
        assert_ne!(eab("k", "no key!"), eab("k", "no key?"));
    }

    #[test]
    fn members_are_written_in_the_stored_order() {
        let mut md = domain(&["x.org", "www.x.org"]);
        Arc::make_mut(&mut md.ca).proto = Some("ACME".to_owned());
        md.renew_window = Some(Window::Percent(33));
        let text = r#"{"name":"x.org","domains":["x.org","www.x.org"],"contacts":[],"transitive":-1,"ca":{"proto":"ACME"},"state":0,"renew-mode":-1,"renew-window":"33%","must-staple":false,"proto":{"acme-tls/1":[]},"stapling":false,"profile-mandatory":false,"ari-renewals":true}"#;
        assert_eq!(serde_json::to_string(&md).unwrap(), text);
        assert_eq!(serde_json::from_str::<ManagedDomain>(text).unwrap(), md);
    }

    #[test]
    fn old_files_are_understood() {
        let text =
            r#"{"name":"x.org","state":7,"renew-window":1209600,"ca":{"url":"https://ca/dir"},"future":{"a":1}}"#;
        let md: ManagedDomain = serde_json::from_str(text).unwrap();
        assert_eq!((md.state, md.renew_window, md.ca_url()), (State::Unknown, None, Some("https://ca/dir")));
        assert!(md.ari_renewals);
    }

    #[test]
    fn a_window_is_configured_if_the_file_says_so_or_has_another_than_the_default() {
        let rows = [
            (r#""state":2"#, None),
            (r#""renew-window":"33%""#, None),
            (r#""renew-window":"33%","renew-window-configured":true"#, Some(Window::Percent(33))),
            (r#""renew-window":"20%""#, Some(Window::Percent(20))),
            (r#""renew-window":"20%","renew-window-configured":true"#, Some(Window::Percent(20))),
        ];
        for (members, expected) in rows {
            let md: ManagedDomain = serde_json::from_str(&format!(r#"{{"name":"x.org",{members}}}"#)).unwrap();
            assert_eq!(md.configured_renew_window(), expected, "{members}");
        }
    }

    #[test]
    fn spellings_that_the_c_module_has_stored_are_one_name() {
        let text = r#"{"name":"M\u00fcller.x.org.","domains":["m\u00fcller.x.org","m\u00fcller.x.org.","XN--MLLER-KVA.x.org","b.x.org"],
            "proto":{"acme-tls/1":["b.x.org.","b.x.org"]}}"#;
        let md: ManagedDomain = serde_json::from_str(text).unwrap();
        assert_eq!(md.name.as_str(), "xn--mller-kva.x.org");
        assert_eq!(md.domains, domain(&["xn--mller-kva.x.org", "b.x.org"]).domains);
        assert_eq!(md.proto.acme_tls_1, domain(&["b.x.org"]).domains);
    }

    #[test]
    fn names_covered_by_a_wildcard_are_not_ordered() {
        let md = domain(&["x.org", "a.x.org", "*.x.org", "b.a.x.org"]);
        let names: Vec<_> = md.order_names().iter().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["x.org", "*.x.org", "b.a.x.org"]);
    }

    #[test]
    fn only_what_differs_from_the_c_module_is_written_of_what_it_does_not_know() {
        let mut md = domain(&["x.org"]);
        let text = serde_json::to_string(&md).unwrap();
        assert!(!text.contains("activation") && !text.contains("preferred-chain") && !text.contains("configured"));
        (md.activation, md.preferred_chain) = (ActivationMode::Live, Some("A Root".into()));
        md.renew_window_configured = true;
        let text = serde_json::to_string(&md).unwrap();
        let own = r#","activation":"live","preferred-chain":"A Root","renew-window-configured":true}"#;
        assert!(text.ends_with(own), "{text}");
        assert_eq!(serde_json::from_str::<ManagedDomain>(&text).unwrap(), md);
    }
}
