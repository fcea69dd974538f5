//! Certificates for tls-alpn-01 challenges (RFC 8737): for which name and type of key the store is asked.

use std::fmt;

use crate::challenges::tls_alpn_specs;
use crate::model::{DomainName, KeySpec, address_of_reverse_name};
use crate::registry::Registry;
use crate::store::{Aspect, Group};

/// The name of the protocol.
pub const PROTOCOL: &str = "acme-tls/1";

/// The kind of key that a handshake is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Any kind will do.
    Any,
    /// RSA.
    Rsa,
    /// A kind of key that is not RSA.
    Other,
}

/// A certificate and its key as PEM.
pub struct ChallengeCertificate {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

/// The name or address that the client of a handshake asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// The name that the client sent (SNI).
    Name(&'a str),
    /// The address that the client has connected to, without a name.
    Address(&'a str),
}

impl<'a> Asked<'a> {
    /// Takes the name, if the client sent one, else the address of this end of the connection.
    #[must_use]
    pub fn of(name: Option<&'a str>, address: Option<&'a str>) -> Self {
        name.map_or(Self::Address(address.unwrap_or_default()), Self::Name)
    }

    /// Returns the names of domains that may be meant: the name itself, and the address whose reverse name that is (RFC 8738
    /// section 6), or the address.
    fn meant(self) -> impl Iterator<Item = DomainName> {
        let (Self::Name(asked) | Self::Address(asked)) = self;
        let name = DomainName::parse(asked).ok();
        let address = name.as_ref().and_then(|name| address_of_reverse_name(name.as_str()));
        let address = address.and_then(|address| DomainName::parse(&address.to_string()).ok());
        name.into_iter().chain(address)
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Name(asked) | Self::Address(asked)) = self;
        f.write_str(asked)
    }
}

/// Checks whether there is a challenge for what a handshake asks for, so that the protocol may be selected (RFC 8737 section 3).
#[must_use]
pub fn has_challenge(registry: &Registry, asked: Asked<'_>) -> bool {
    let exists =
        |name: &DomainName, aspect| registry.documents.store().exists(Group::Challenges, name.as_str(), &aspect);
    let is_there = |name: &DomainName, spec: KeySpec| {
        exists(name, Aspect::TlsAlpn01Cert(spec.clone())) && exists(name, Aspect::TlsAlpn01Key(spec))
    };
    let has = |name: DomainName| specs(registry, &name).into_iter().any(|spec| is_there(&name, spec));
    asked.meant().any(has)
}

/// Returns the key types of challenge certificates for a name; none if it belongs to no domain.
fn specs(registry: &Registry, name: &DomainName) -> Vec<KeySpec> {
    registry.index.exact(name).map(|position| tls_alpn_specs(&registry.domains[position].md)).unwrap_or_default()
}

impl ChallengeCertificate {
    /// Reads the certificate for the challenge that a handshake asks for; `None` if the store has none.
    #[must_use]
    pub fn load(registry: &Registry, asked: Asked<'_>, kind: KeyKind) -> Option<Self> {
        asked.meant().find_map(|name| Self::of_domain(registry, &name, kind))
    }

    fn of_domain(registry: &Registry, name: &DomainName, kind: KeyKind) -> Option<Self> {
        let mut specs = specs(registry, name);
        sort_for(&mut specs, kind);
        let load = |aspect| registry.documents.store().load(Group::Challenges, name.as_str(), &aspect).ok().flatten();
        specs.into_iter().find_map(|spec| {
            let certificate = load(Aspect::TlsAlpn01Cert(spec.clone()))?;
            let key = load(Aspect::TlsAlpn01Key(spec))?;
            Some(Self { certificate, key })
        })
    }
}

/// Sorts types of keys: first what a handshake bound to `kind` can use. RSA goes first where any kind will do, as every client
/// takes it.
fn sort_for(specs: &mut [KeySpec], kind: KeyKind) {
    let is_rsa = |spec: &KeySpec| spec.file_suffix().is_empty();
    specs.sort_by_key(|spec| is_rsa(spec) == (kind == KeyKind::Other));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestServer, p256};

    #[test]
    fn a_reverse_name_means_an_address_too() {
        let rows: [(&str, &[&str]); 5] = [
            ("a.org", &["a.org"]),
            ("A.org", &["a.org"]),
            ("1.2.0.192.IN-ADDR.arpa", &["1.2.0.192.in-addr.arpa", "192.0.2.1"]),
            ("x.in-addr.arpa", &["x.in-addr.arpa"]),
            ("", &[]),
        ];
        for (asked, expected) in rows {
            let names: Vec<_> = Asked::Name(asked).meant().map(|name| name.as_str().to_owned()).collect();
            assert_eq!(names, expected, "{asked}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key_and_a_domain() {
        let server = TestServer::new(&["a.test", "b.test", "192.0.2.1", "2001:db8::1"]);
        let put = |item: &str, spec: &KeySpec, has_key: bool| {
            let kind = spec.json_name();
            server.put(Group::Challenges, item, &Aspect::TlsAlpn01Cert(spec.clone()), kind);
            if has_key {
                server.put(Group::Challenges, item, &Aspect::TlsAlpn01Key(spec.clone()), kind);
            }
        };
        put("a.test", &p256(), true);
        put("a.test", &KeySpec::Default, true);
        put("b.test", &p256(), false);
        put("192.0.2.1", &p256(), true);
        put("2001:db8::1", &p256(), true);
        put("unmanaged.test", &p256(), true);
        let registry = server.start(false);
        let rows = [
            // The name and the local address of the handshake, the kind of key, the certificate
            (Some("a.test"), None, KeyKind::Any, Some("rsa")),
            (Some("a.test"), None, KeyKind::Other, Some("P-256")),
            (Some("1.2.0.192.in-addr.arpa"), None, KeyKind::Any, Some("P-256")),
            (Some("b.test"), None, KeyKind::Any, None),
            (Some("unmanaged.test"), None, KeyKind::Any, None),
            (Some(""), None, KeyKind::Any, None),
            // Without a name
            (None, Some("192.0.2.1"), KeyKind::Any, Some("P-256")),
            (None, Some("192.0.2.2"), KeyKind::Any, None),
            (None, Some("2001:DB8:0::1"), KeyKind::Any, Some("P-256")),
            (None, Some("fe80::1%eth0"), KeyKind::Any, None),
            (None, None, KeyKind::Any, None),
            // A name is what is asked for
            (Some("b.test"), Some("192.0.2.1"), KeyKind::Any, None),
        ];
        for (name, address, kind, expected) in rows {
            let asked = Asked::of(name, address);
            let found = ChallengeCertificate::load(&registry, asked, kind);
            let found = found.map(|ChallengeCertificate { certificate, key }| [certificate, key]);
            assert_eq!(found, expected.map(|text| [text.into(), text.into()]), "{asked:?} {kind:?}");
            assert_eq!(has_challenge(&registry, asked), expected.is_some(), "{asked:?}");
        }
    }

    #[test]
    fn the_kind_of_key_of_the_handshake_goes_first() {
        let p256 = KeySpec::Ec { curve: "P-256".to_owned() };
        let p384 = KeySpec::Ec { curve: "P-384".to_owned() };
        let all = [p256.clone(), KeySpec::Default, p384.clone()];
        let rows = [
            (KeyKind::Any, [KeySpec::Default, p256.clone(), p384.clone()]),
            (KeyKind::Rsa, [KeySpec::Default, p256.clone(), p384.clone()]),
            (KeyKind::Other, [p256, p384, KeySpec::Default]),
        ];
        for (kind, expected) in rows {
            let mut specs = all.clone();
            sort_for(&mut specs, kind);
            assert_eq!(specs, expected, "{kind:?}");
        }
    }
}
