//! Private keys compared with certificates by their encodings: a start of the server does so for thousands, and OpenSSL takes a
//! hundred times as long to read a key.

use x509_parser::asn1_rs::{Any, FromDer, Tag};
use zeroize::Zeroizing;

use super::chain::pem_block;
use super::{Certificate, PrivateKey};

pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

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

/// Returns the public key in the content of an ECPrivateKey: version, privateKey, parameters [0] and publicKey [1], both
/// optional.
pub(super) fn public_bits(mut rest: &[u8]) -> Option<&[u8]> {
    while !rest.is_empty() {
        let (after, item) = Any::from_der(rest).ok()?;
        if item.header.raw_tag() == Some(&[0xa1]) {
            let (_, bits) = Any::from_der(item.data).ok()?;
            return bits.data.get(1..);
        }
        rest = after;
    }
    None
}

/// Returns the first items of a sequence's content.
pub(super) fn items<const N: usize>(mut content: &[u8]) -> Option<[Any<'_>; N]> {
    let mut found = Vec::with_capacity(N);
    for _ in 0..N {
        let (rest, item) = Any::from_der(content).ok()?;
        found.push(item);
        content = rest;
    }
    found.try_into().ok()
}

pub(super) fn inside(der: &[u8], tag: Tag) -> Option<&[u8]> {
    let (_, item) = Any::from_der(der).ok()?;
    (item.tag() == tag).then_some(item.data)
}

/// Returns the content of an INTEGER, with its length in front so that two in a row are told apart.
fn integer(content: &[u8]) -> Vec<u8> {
    [&content.len().to_be_bytes()[..], content].concat()
}

/// Returns the comparable form of a public key: modulus and exponent, or the point.
pub(super) fn comparable(algorithm_oid: &[u8], bits: &[u8]) -> Option<Vec<u8>> {
    if algorithm_oid != RSA {
        return Some(bits.to_vec());
    }
    let [modulus, exponent] = items(inside(bits, Tag::Sequence)?)?;
    Some([integer(modulus.data), integer(exponent.data)].concat())
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
