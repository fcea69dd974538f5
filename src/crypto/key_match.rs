//! Private keys compared with certificates by their encodings: a start of the server does so for thousands, and OpenSSL takes a
//! hundred times as long to read a key.

use x509_parser::asn1_rs::Tag;
use zeroize::Zeroizing;

use super::der::{RSA, inside, integer, items, public_bits};
use super::pem::pem_block;
use super::{Certificate, PrivateKey};

/// Checks whether the private key in this PEM is the one that the certificate was issued for; `None` if no private key can be
/// read. OpenSSL decides where the encoding does not tell.
#[must_use]
pub fn key_fits(pem: &[u8], pass: Option<&[u8]>, certificate: &Certificate) -> Option<bool> {
    if plain(pem).and_then(|der| Some(public_part(&der)? == certificate.public_key()?)) == Some(true) {
        return Some(true);
    }
    PrivateKey::from_pem(pem, pass).ok().map(|key| key.fits(certificate))
}

fn plain(pem: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    pem_block(pem, &[b"PRIVATE KEY-----"]).map(Zeroizing::new)
}

/// Returns the public key as a certificate holds it, from a PrivateKeyInfo (RFC 5958): that of an RSA key (RFC 8017 appendix
/// A.1.2) or of an EC key that has it (RFC 5915).
fn public_part(der: &[u8]) -> Option<Vec<u8>> {
    let [_version, algorithm, key] = items(inside(der, Tag::Sequence)?)?;
    let [algorithm, ..] = items::<1>(algorithm.data)?;
    let key = inside(key.data, Tag::Sequence)?;
    if algorithm.data == RSA {
        let [_version, modulus, exponent] = items(key)?;
        return Some([integer(modulus.data), integer(exponent.data)].concat());
    }
    public_bits(key).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::self_signed;
    use crate::model::{DomainName, KeySpec, Timestamp};

    #[test]
    fn the_encoding_tells_what_openssl_tells() {
        let names = [DomainName::parse("x.org").unwrap()];
        let certificate = |key: &PrivateKey| self_signed(key, "x", &names, Timestamp::UNIX_EPOCH, 9).unwrap();
        for spec in ["P-256", "secp384r1", "Ed25519", "rsa"] {
            let spec = if spec == "rsa" { KeySpec::Default } else { KeySpec::Ec { curve: spec.to_owned() } };
            let [key, other] = [0, 1].map(|_| PrivateKey::generate(&spec).unwrap());
            let pem = key.to_pem().unwrap();
            assert_eq!(key_fits(&pem, None, &certificate(&key)), Some(true), "{spec:?}");
            assert_eq!(key_fits(&pem, None, &certificate(&other)), Some(false), "{spec:?}");
            if spec != (KeySpec::Ec { curve: "Ed25519".to_owned() }) {
                let quick = public_part(&plain(&pem).unwrap()).unwrap();
                assert_eq!(quick, certificate(&key).public_key().unwrap(), "{spec:?}: OpenSSL is not needed");
            }
            let encrypted = key.to_encrypted_pem(b"pass").unwrap();
            assert_eq!(key_fits(&encrypted, Some(b"pass"), &certificate(&key)), Some(true));
            assert_eq!(key_fits(&encrypted, None, &certificate(&key)), None);
            for cut in (0..pem.len()).step_by(7) {
                assert_ne!(key_fits(&pem[..cut], None, &certificate(&other)), Some(true));
            }
        }
        let certificate = certificate(&PrivateKey::generate(&KeySpec::Default).unwrap());
        assert_eq!(key_fits(b"", None, &certificate), None);
    }
}
