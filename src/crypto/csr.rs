//! Certificate signing requests, and the extensions that they share with self-signed certificates.

use openssl::asn1::{Asn1Object, Asn1OctetString};
use openssl::nid::Nid;
use openssl::stack::Stack;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509Extension, X509Name, X509NameBuilder, X509Req};

use super::certificate::{MUST_STAPLE, TLS_FEATURE};
use super::{CryptoError, PrivateKey};
use crate::model::Identifier;

/// Makes a certificate signing request, in DER (RFC 8555 section 7.4): all `names` as subjectAltName, the subject empty
/// without `common_name`.
///
/// # Errors
/// If the key cannot sign, or `common_name` is longer than the 64 characters that X.520 gives it.
pub fn csr_der(
    key: &PrivateKey,
    names: &[Identifier],
    common_name: Option<&str>,
    must_staple: bool,
) -> Result<Vec<u8>, CryptoError> {
    let digest = key.digest()?;
    let mut request = X509Req::builder()?;
    request.set_version(0)?;
    request.set_subject_name(subject(common_name)?.as_ref())?;
    request.set_pubkey(key.pkey())?;
    let mut extensions = Stack::new()?;
    extensions.push(alt_names(names).build(&request.x509v3_context(None))?)?;
    if must_staple {
        let value = Asn1OctetString::new_from_bytes(&MUST_STAPLE)?;
        let feature = Asn1Object::from_str(TLS_FEATURE)?;
        extensions.push(X509Extension::new_from_der(&feature, false, &value)?)?;
    }
    request.add_extensions(&extensions)?;
    request.sign(key.pkey(), digest)?;
    Ok(request.build().to_der()?)
}

pub(super) fn subject(common_name: Option<&str>) -> Result<X509Name, CryptoError> {
    let mut name = X509NameBuilder::new()?;
    if let Some(common_name) = common_name {
        name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    }
    Ok(name.build())
}

pub(super) fn alt_names(names: &[Identifier]) -> SubjectAlternativeName {
    let mut extension = SubjectAlternativeName::new();
    for name in names {
        match name {
            Identifier::Dns(name) => extension.dns(name),
            Identifier::Ip(ip) => extension.ip(&ip.to_string()),
        };
    }
    extension
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DomainName, KeySpec};

    fn ec(curve: &str) -> PrivateKey {
        PrivateKey::generate(&KeySpec::Ec { curve: curve.to_owned() }).unwrap()
    }

    fn identifiers(names: &[&str]) -> Vec<Identifier> {
        names.iter().map(|name| DomainName::parse(name).unwrap().identifier()).collect()
    }

    fn extensions(request: &X509Req) -> String {
        String::from_utf8(request.to_text().unwrap()).unwrap()
    }

    #[test]
    fn names_are_alternative_names_and_the_subject_is_optional() {
        let key = ec("P-256");
        let names = identifiers(&["a.example.org", "*.b.example.org", "192.0.2.1", "2001:db8::1"]);
        let request = X509Req::from_der(&csr_der(&key, &names, None, false).unwrap()).unwrap();
        assert_eq!(request.subject_name().entries().count(), 0);
        assert!(request.verify(request.public_key().unwrap().as_ref()).unwrap());
        let text = extensions(&request);
        let expected = "DNS:a.example.org, DNS:*.b.example.org, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1";
        assert!(text.contains(expected) && text.contains("ecdsa-with-SHA256"), "{text}");
        assert!(!text.contains("status_request"));
        let request = csr_der(&key, &names, Some("a.example.org"), true).unwrap();
        let request = X509Req::from_der(&request).unwrap();
        let common_name = request.subject_name().entries_by_nid(Nid::COMMONNAME).next().unwrap();
        assert_eq!(common_name.data().as_slice(), b"a.example.org");
        assert!(extensions(&request).contains("status_request"));
    }

    #[test]
    fn every_type_of_key_that_can_sign_has_a_request() {
        let names = identifiers(&["a.example.org"]);
        for key in [ec("Ed25519"), ec("Ed448"), ec("P-521"), PrivateKey::generate(&KeySpec::Default).unwrap()] {
            let request = X509Req::from_der(&csr_der(&key, &names, None, true).unwrap()).unwrap();
            assert!(request.verify(key.pkey()).unwrap(), "{key:?}");
        }
        let error = csr_der(&ec("X25519"), &names, None, false).unwrap_err();
        assert_eq!(error.to_string(), "a key of type X25519 cannot sign a certificate");
    }

    #[test]
    fn seven_kilobytes_of_names_and_a_long_common_name() {
        let names: Vec<_> = (0..400).map(|n| Identifier::Dns(format!("host-{n}.example.org"))).collect();
        let der = csr_der(&ec("P-256"), &names, None, false).unwrap();
        assert!(extensions(&X509Req::from_der(&der).unwrap()).contains("DNS:host-399.example.org"));
        assert!(csr_der(&ec("P-256"), &names, Some(&"a".repeat(65)), false).is_err());
    }
}
