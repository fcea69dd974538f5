//! The placeholder certificate that a domain serves until a CA has issued one.

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509, X509Builder};

use super::csr::{alt_names, subject};
use super::{Certificate, CryptoError, PrivateKey, random_bytes};
use crate::model::{DomainName, Identifier, Timestamp};

/// Makes a certificate for `names` that is signed with its own key and valid for `days` days after `from`.
///
/// # Errors
/// If the key cannot sign, or the dates cannot be written in a certificate.
pub fn self_signed(
    key: &PrivateKey,
    cn: &str,
    names: &[DomainName],
    from: Timestamp,
    days: u32,
) -> Result<Certificate, CryptoError> {
    let identifiers: Vec<Identifier> = names.iter().map(DomainName::identifier).collect();
    let mut certificate = begin(key, cn, from, days)?;
    certificate.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    certificate.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
    let alt_names = alt_names(&identifiers).build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(alt_names)?;
    sign(certificate, key)
}

/// Makes a certificate that programs take for the issuer of a [`self_signed`] one with this key and common name. It is no CA's, and
/// has no names: nothing can be trusted by it.
///
/// # Errors
/// If the key cannot sign.
pub fn issuer_of_self_signed(
    key: &PrivateKey,
    cn: &str,
    from: Timestamp,
    days: u32,
) -> Result<Certificate, CryptoError> {
    sign(begin(key, cn, from, days)?, key)
}

fn begin(key: &PrivateKey, cn: &str, from: Timestamp, days: u32) -> Result<X509Builder, CryptoError> {
    let from = from.as_second();
    let name = subject(Some(cn))?;
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_serial_number(random_serial()?.as_ref())?;
    certificate.set_subject_name(&name)?;
    certificate.set_issuer_name(&name)?;
    certificate.set_pubkey(key.pkey())?;
    certificate.set_not_before(Asn1Time::from_unix(from)?.as_ref())?;
    certificate.set_not_after(Asn1Time::from_unix(from + i64::from(days) * 86_400)?.as_ref())?;
    certificate.append_extension(BasicConstraints::new().critical().build()?)?;
    Ok(certificate)
}

fn sign(mut certificate: X509Builder, key: &PrivateKey) -> Result<Certificate, CryptoError> {
    certificate.sign(key.pkey(), key.digest()?)?;
    Certificate::from_der(&certificate.build().to_der()?)
}

/// Draws a serial number of just 20 bytes, positive (RFC 5280 section 4.1.2.2).
pub(super) fn random_serial() -> Result<Asn1Integer, CryptoError> {
    let mut bytes = random_bytes::<20>()?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(BigNum::from_slice(&bytes)?.to_asn1_integer()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeySpec;

    fn names(names: &[&str]) -> Vec<DomainName> {
        names.iter().map(|name| DomainName::parse(name).unwrap()).collect()
    }

    #[test]
    fn placeholder_has_all_names_and_is_good_for_a_server_only() {
        let from = Timestamp::from_second(1_700_000_000).unwrap();
        for curve in ["P-256", "Ed25519"] {
            let key = PrivateKey::generate(&KeySpec::Ec { curve: curve.to_owned() }).unwrap();
            let domain = names(&["a.example.org", "*.b.example.org", "192.0.2.1"]);
            let certificate = self_signed(&key, "Placeholder", &domain, from, 14).unwrap();
            assert_eq!(certificate.names(), ["a.example.org", "*.b.example.org", "192.0.2.1"]);
            assert_eq!(certificate.not_before(), from);
            assert_eq!(certificate.not_after().as_second(), 1_700_000_000 + 14 * 86_400);
            assert_eq!(certificate.summary().issuer_name(), "/CN=Placeholder");
            assert_eq!(certificate.summary().serial_hex().len(), 40);
            assert!(key.fits(&certificate));
            let issuer = issuer_of_self_signed(&key, "Placeholder", from, 14).unwrap();
            let issuer = X509::from_der(issuer.to_der()).unwrap();
            let x509 = X509::from_der(certificate.to_der()).unwrap();
            assert_eq!(issuer.issued(&x509), openssl::x509::X509VerifyResult::OK);
            assert!(String::from_utf8(issuer.to_text().unwrap()).unwrap().contains("CA:FALSE"));
            assert!(x509.verify(key.pkey()).unwrap());
            let text = String::from_utf8(x509.to_text().unwrap()).unwrap();
            for part in ["CA:FALSE", "Key Usage: critical\n                Digital Signature\n", "TLS Web Server Auth"]
            {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn another_key_does_not_fit() {
        let key = || PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        let certificate = self_signed(&key(), "x", &names(&["a.org"]), Timestamp::UNIX_EPOCH, 1).unwrap();
        assert!(!key().fits(&certificate));
    }

    #[test]
    fn a_key_that_cannot_sign_is_an_error() {
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "X25519".to_owned() }).unwrap();
        assert!(self_signed(&key, "x", &names(&["a.org"]), Timestamp::UNIX_EPOCH, 1).is_err());
    }
}
