//! The certificate that answers a tls-alpn-01 challenge (RFC 8737 section 3).

use std::io::{Read, Write};

use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::extension::BasicConstraints;
use openssl::x509::{X509, X509Extension};

use super::csr::{alt_names, subject};
use super::self_signed::random_serial;
use super::{Certificate, CryptoError, PrivateKey, sha256};
use crate::model::{DomainName, Timestamp};

const COMMON_NAME: &str = "tls-alpn-01-challenge";
/// id-pe-acmeIdentifier.
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";
const DAYS: i64 = 7;

/// Makes a certificate for `name` alone that the key signs itself, with the digest of the key authorization in it.
///
/// # Errors
/// If the key cannot sign.
pub fn alpn_certificate(
    key: &PrivateKey,
    name: &DomainName,
    key_authorization: &str,
    from: Timestamp,
) -> Result<Certificate, CryptoError> {
    let digest = key.digest()?;
    let from = from.as_second();
    let common_name = subject(Some(COMMON_NAME))?;
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_serial_number(random_serial()?.as_ref())?;
    certificate.set_subject_name(&common_name)?;
    certificate.set_issuer_name(&common_name)?;
    certificate.set_pubkey(key.pkey())?;
    certificate.set_not_before(Asn1Time::from_unix(from)?.as_ref())?;
    certificate.set_not_after(Asn1Time::from_unix(from + DAYS * 86_400)?.as_ref())?;
    certificate.append_extension(BasicConstraints::new().critical().build()?)?;
    let alt_names = alt_names(&[name.identifier()]).build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(alt_names)?;
    certificate.append_extension(acme_identifier(key_authorization)?)?;
    certificate.sign(key.pkey(), digest)?;
    Certificate::from_der(&certificate.build().to_der()?)
}

/// Makes the critical extension: an OCTET STRING of 32 bytes.
fn acme_identifier(key_authorization: &str) -> Result<X509Extension, CryptoError> {
    let value = digest_in_der(key_authorization)?;
    let id = Asn1Object::from_str(ACME_IDENTIFIER)?;
    Ok(X509Extension::new_from_der(&id, true, Asn1OctetString::new_from_bytes(&value)?.as_ref())?)
}

fn digest_in_der(key_authorization: &str) -> Result<Vec<u8>, CryptoError> {
    Ok([&[0x04, 0x20], sha256(key_authorization.as_bytes())?.as_slice()].concat())
}

/// The answer to a handshake for `acme-tls/1`.
#[derive(Debug, PartialEq, Eq)]
pub enum AlpnAnswer {
    /// The certificate that answers the challenge.
    Right,
    /// The protocol with another certificate.
    OtherCertificate,
    /// Another protocol, or none, as any TLS server speaks.
    OtherProtocol,
}

/// Asks for `acme-tls/1` as a CA does (RFC 8737 section 3), and returns what a server answers to the key authorization.
///
/// # Errors
/// A sentence on the handshake that failed.
pub fn ask_alpn<S: Read + Write + std::fmt::Debug>(
    stream: S,
    server_name: &str,
    key_authorization: &str,
) -> Result<AlpnAnswer, String> {
    let make = || -> Result<_, CryptoError> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.set_verify(SslVerifyMode::NONE);
        connector.set_alpn_protos(b"\x0aacme-tls/1")?;
        Ok((connector.build().configure()?.verify_hostname(false), digest_in_der(key_authorization)?))
    };
    let (connector, digest) = make().map_err(|err| err.to_string())?;
    let stream = connector.connect(server_name, stream).map_err(|err| match err {
        HandshakeError::Failure(stream) | HandshakeError::WouldBlock(stream) => stream.error().to_string(),
        HandshakeError::SetupFailure(err) => err.to_string(),
    })?;
    let ssl = stream.ssl();
    if ssl.selected_alpn_protocol() != Some(b"acme-tls/1") {
        return Ok(AlpnAnswer::OtherProtocol);
    }
    let has_digest = |der: Vec<u8>| der.windows(digest.len()).any(|part| part == digest);
    let is_right = ssl.peer_certificate().and_then(|leaf| leaf.to_der().ok()).is_some_and(has_digest);
    Ok(if is_right { AlpnAnswer::Right } else { AlpnAnswer::OtherCertificate })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeySpec;

    #[test]
    fn certificate_has_the_name_and_the_digest_and_is_signed_by_its_key() {
        let from = Timestamp::from_second(1_700_000_000).unwrap();
        let name = DomainName::parse("a.example.org").unwrap();
        for spec in
            [KeySpec::Default, KeySpec::Ec { curve: "P-384".to_owned() }, KeySpec::Ec { curve: "ed25519".into() }]
        {
            let key = PrivateKey::generate(&spec).unwrap();
            let certificate = alpn_certificate(&key, &name, "token.thumbprint", from).unwrap();
            assert_eq!(certificate.names(), ["a.example.org"]);
            assert_eq!(certificate.summary().issuer_name(), "/CN=tls-alpn-01-challenge");
            assert_eq!((certificate.not_before(), certificate.not_after().as_second()), (from, 1_700_604_800));
            assert!(key.fits(&certificate));
            let x509 = X509::from_der(certificate.to_der()).unwrap();
            assert!(x509.verify(key.pkey()).unwrap());
            // OBJECT IDENTIFIER, BOOLEAN true, OCTET STRING around an OCTET STRING.
            let mut extension = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x1f\x01\x01\xff\x04\x22\x04\x20".to_vec();
            extension.extend(sha256(b"token.thumbprint").unwrap());
            assert!(certificate.to_der().windows(extension.len()).any(|part| part == extension), "{spec:?}");
        }
    }

    #[test]
    fn an_address_stands_as_its_bytes() {
        // iPAddress [7] of RFC 5280 section 4.2.1.6, alone in the list (RFC 8738 section 6).
        let rows: [(&str, &[u8]); 2] = [
            ("192.0.2.1", b"\x30\x06\x87\x04\xc0\x00\x02\x01"),
            ("2001:db8::1", b"\x30\x12\x87\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"),
        ];
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".into() }).unwrap();
        for (name, san) in rows {
            let name = DomainName::parse(name).unwrap();
            let certificate = alpn_certificate(&key, &name, "t", Timestamp::UNIX_EPOCH).unwrap();
            assert!(certificate.to_der().windows(san.len()).any(|part| part == san), "{name}");
        }
    }

    #[test]
    fn a_key_that_cannot_sign_is_an_error() {
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "X25519".to_owned() }).unwrap();
        assert!(alpn_certificate(&key, &DomainName::parse("a.org").unwrap(), "t", Timestamp::UNIX_EPOCH).is_err());
    }
}
