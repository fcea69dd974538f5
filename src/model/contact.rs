//! Contacts of accounts (RFC 8555 section 7.3): where they come from, and whether a CA could use them.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::Origin;

/// A contact of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The contact as a URI; `None` for a `ServerAdmin` that no CA could use.
    pub uri: Option<String>,
    /// The directive.
    pub source: ContactSource,
}

/// Where the contacts of a domain come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum ContactSource {
    /// The store: `a2md update`, or `MDContactEmail` of the configuration that was stored.
    #[default]
    Store,
    /// `MDContactEmail` at this place.
    Directive(Origin),
    /// `ServerAdmin`, which is meant for visitors: a CA need not take it.
    ServerAdmin,
}

const SERVER_ADMIN: &str = "ServerAdmin";

impl Contact {
    /// Takes the contact that `MDContactEmail` sets.
    #[must_use]
    pub fn of_directive(text: &str, origin: Origin) -> Self {
        Self { uri: Some(contact_uri(text)), source: ContactSource::Directive(origin) }
    }

    /// Takes `ServerAdmin` as a contact, if it is a mail address. It may also be a URL, and Debian's is `webmaster@localhost`.
    #[must_use]
    pub fn of_server_admin(text: &str) -> Self {
        let uri = contact_uri(text);
        let is_mail = mail_address(&uri).is_some() && contact_flaw(&uri).is_none();
        Self { uri: Some(uri).filter(|_| is_mail), source: ContactSource::ServerAdmin }
    }
}

impl ContactSource {
    /// Whether `md.json` need not name the source.
    pub(super) fn is_not_stored(&self) -> bool {
        *self != Self::ServerAdmin
    }
}

impl From<String> for ContactSource {
    fn from(text: String) -> Self {
        if text == SERVER_ADMIN { Self::ServerAdmin } else { Self::Store }
    }
}

impl Serialize for ContactSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for ContactSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directive(origin) => write!(f, "MDContactEmail in {origin}"),
            Self::Store => f.write_str("MDContactEmail, or 'a2md update'"),
            Self::ServerAdmin => f.write_str(SERVER_ADMIN),
        }
    }
}

/// Returns the contact as a URI: `mailto:` goes in front unless there is a scheme.
#[must_use]
pub fn contact_uri(text: &str) -> String {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
        text.to_owned()
    } else {
        format!("mailto:{text}")
    }
}

/// Returns what is wrong with a contact: its URI has white space, or its mail address is not one, or is one of this machine only.
/// Other URIs are for the CA to judge.
#[must_use]
pub fn contact_flaw(uri: &str) -> Option<&'static str> {
    if uri.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("white space in the address");
    }
    let address = mail_address(uri)?;
    check_mail(address).err().or_else(|| is_local(address).then_some("an address of this machine only"))
}

fn mail_address(uri: &str) -> Option<&str> {
    let (scheme, address) = uri.split_once(':')?;
    scheme.eq_ignore_ascii_case("mailto").then_some(address)
}

fn is_local(address: &str) -> bool {
    let host = address.rsplit('@').next().unwrap_or_default();
    let last = host.rsplit('.').next().unwrap_or_default();
    ["localhost", "localdomain", "invalid"].iter().any(|own| last.eq_ignore_ascii_case(own))
}

/// Checks a mail address.
///
/// # Errors
/// The first part that is wrong.
pub fn check_mail(address: &str) -> Result<(), &'static str> {
    let (local, host) = address.split_once('@').ok_or("missing '@' in mail address")?;
    if local.is_empty() {
        Err("missing local part in mail address")
    } else if host.contains('@') {
        Err("more than one '@' in mail address")
    } else if local.split('.').any(str::is_empty) {
        Err("wrong local part in mail address")
    } else if !is_host(host) || host.ends_with('.') {
        Err("missing or wrong host in mail address")
    } else {
        Ok(())
    }
}

/// Whether a text may be the name of a host in a mail address or a URL.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    !text.is_empty() && !text.starts_with('.') && text.chars().all(known) && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_become_uris() {
        for (text, uri) in [("a@x.org", "mailto:a@x.org"), ("mailto:a@x.org", "mailto:a@x.org"), ("tel:1", "tel:1")] {
            assert_eq!(contact_uri(text), uri);
        }
    }

    #[test]
    fn a_contact_is_a_mail_address_that_reaches_somebody_or_another_uri() {
        let rows = [
            ("mailto:a@x.org", None),
            ("MAILTO:a.b+c@mail.x.org", None),
            // A CA of the same network may take it.
            ("mailto:admin@intranet", None),
            ("tel:+12025551212", None),
            ("https://x.org/contact", None),
            ("mailto:", Some("missing '@' in mail address")),
            ("mailto:nobody", Some("missing '@' in mail address")),
            ("mailto:@x.org", Some("missing local part in mail address")),
            ("mailto:a@x.org,b@x.org", Some("more than one '@' in mail address")),
            ("mailto:a..b@x.org", Some("wrong local part in mail address")),
            ("mailto:a@x.org?subject=no", Some("missing or wrong host in mail address")),
            ("mailto:a@x.org.", Some("missing or wrong host in mail address")),
            ("mailto:The Admin <a@x.org>", Some("white space in the address")),
            ("tel:1 2", Some("white space in the address")),
            ("mailto:webmaster@localhost", Some("an address of this machine only")),
            ("mailto:root@LOCALHOST.localdomain", Some("an address of this machine only")),
            ("mailto:a@nowhere.invalid", Some("an address of this machine only")),
        ];
        for (uri, flaw) in rows {
            assert_eq!(contact_flaw(uri), flaw, "{uri}");
        }
    }

    #[test]
    fn a_server_admin_is_a_contact_if_it_is_a_mail_address() {
        let rows = [
            ("admin@x.org", Some("mailto:admin@x.org")),
            ("mailto:admin@x.org", Some("mailto:admin@x.org")),
            ("root@intranet", Some("mailto:root@intranet")),
            ("webmaster@localhost", None),
            ("you@example..com", None),
            ("https://x.org/contact", None),
            ("tel:1", None),
            ("The webmaster", None),
            ("", None),
        ];
        for (text, uri) in rows {
            let contact = Contact::of_server_admin(text);
            assert_eq!((contact.uri.as_deref(), contact.source), (uri, ContactSource::ServerAdmin), "{text}");
        }
    }

    #[test]
    fn the_store_remembers_contacts_of_server_admin() {
        let text = |source: &ContactSource| serde_json::to_string(source).unwrap();
        let read = |text: &str| serde_json::from_str::<ContactSource>(text).unwrap();
        assert_eq!(read(&text(&ContactSource::ServerAdmin)), ContactSource::ServerAdmin);
        assert_eq!(read(r#""another""#), ContactSource::Store);
        assert!(ContactSource::Directive(Origin::default()).is_not_stored() && ContactSource::Store.is_not_stored());
    }
}
