//! Certificates for tls-alpn-01 challenges (RFC 8737): for which name and type of key the store is asked.

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

impl ChallengeCertificate {
    /// Reads the certificate for the challenge of the name in a handshake; `None` if the store has none.
    #[must_use]
    pub fn load(registry: &Registry, asked: &str, kind: KeyKind) -> Option<Self> {
        meant_by(asked).find_map(|name| Self::of_domain(registry, &name, kind))
    }

    fn of_domain(registry: &Registry, name: &DomainName, kind: KeyKind) -> Option<Self> {
        let mut specs = tls_alpn_specs(&registry.domains[registry.index.exact(name)?].md);
        sort_for(&mut specs, kind);
        let load = |aspect| registry.documents.store().load(Group::Challenges, name.as_str(), &aspect).ok().flatten();
        specs.into_iter().find_map(|spec| {
            let certificate = load(Aspect::TlsAlpn01Cert(spec.clone()))?;
            let key = load(Aspect::TlsAlpn01Key(spec))?;
            Some(Self { certificate, key })
        })
    }
}

/// Returns the names of domains that may be meant by the name in a handshake: the name itself, and the address whose reverse
/// name that is (RFC 8738 section 6).
fn meant_by(asked: &str) -> impl Iterator<Item = DomainName> {
    let name = DomainName::parse(asked).ok();
    let address = name.as_ref().and_then(|name| address_of_reverse_name(name.as_str()));
    let address = address.and_then(|address| DomainName::parse(&address.to_string()).ok());
    name.into_iter().chain(address)
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
            let names: Vec<_> = meant_by(asked).map(|name| name.as_str().to_owned()).collect();
            assert_eq!(names, expected, "{asked}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key_and_a_domain() {
        let server = TestServer::new(&["a.test", "b.test", "192.0.2.1"]);
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
        put("unmanaged.test", &p256(), true);
        let registry = server.start(false);
        let rows = [
            ("a.test", KeyKind::Any, Some("rsa")),
            ("a.test", KeyKind::Other, Some("P-256")),
            ("1.2.0.192.in-addr.arpa", KeyKind::Any, Some("P-256")),
            ("b.test", KeyKind::Any, None),
            ("unmanaged.test", KeyKind::Any, None),
            ("", KeyKind::Any, None),
        ];
        for (asked, kind, expected) in rows {
            let found = ChallengeCertificate::load(&registry, asked, kind);
            let found = found.map(|ChallengeCertificate { certificate, key }| [certificate, key]);
            assert_eq!(found, expected.map(|text| [text.into(), text.into()]), "{asked} {kind:?}");
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
