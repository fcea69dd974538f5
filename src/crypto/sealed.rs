//! Private keys under a pass phrase, read and written so that no copies stay behind in freed memory. OpenSSL 3.0 frees the
//! encodings in its own readers and in its writer of EC keys without wiping them.

use openssl::asn1::Asn1Object;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::{Cipher, decrypt, encrypt};
use x509_parser::asn1_rs::Tag;
use zeroize::Zeroizing;

use super::der::{RSA, inside, items, public_bits};
use super::pem::pem_block;
use super::{CryptoError, object, random_bytes};

const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0c];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a];
/// OpenSSL's number of rounds. The pass phrase is as good as a key.
const ROUNDS: u16 = 2048;

/// The universal tags that are used here (X.690).
mod tag {
    pub const INTEGER: u8 = 2;
    pub const BIT_STRING: u8 = 3;
    pub const OCTET_STRING: u8 = 4;
    pub const NULL: u8 = 5;
    pub const OBJECT: u8 = 6;
    pub const SEQUENCE: u8 = 0x30;
    pub const PUBLIC_KEY: u8 = 0xa1;
}

type Secret = Zeroizing<Vec<u8>>;

/// Reads an RSA or EC key from PEM that is encrypted as [`seal`] does it; `None` for any other form, and if the pass phrase
/// is wrong.
pub(super) fn unseal(pem: &[u8], pass: &[u8]) -> Option<PKey<Private>> {
    let der = pem_block(pem, &[b"ENCRYPTED PRIVATE KEY-----"])?;
    let info = opened(&der, pass)?;
    let [_version, algorithm, key] = items(inside(&info, Tag::Sequence)?)?;
    let [kind] = items::<1>(algorithm.data)?;
    match kind.data {
        RSA => PKey::from_rsa(Rsa::private_key_from_der(key.data).ok()?).ok(),
        EC => {
            let [_kind, curve] = items(algorithm.data)?;
            ec_key(&curve.oid().ok()?.to_id_string(), inside(key.data, Tag::Sequence)?)
        }
        _ => None,
    }
}

/// Writes an EC key as PEM of PKCS#8 (RFC 5958), encrypted by AES-256-CBC under a key that PBKDF2 derives from `pass` (RFC
/// 8018). `None` for a key of another type, or on a curve without a name.
///
/// # Errors
/// Those of OpenSSL.
pub(super) fn seal(key: &PKey<Private>, pass: &[u8]) -> Option<Result<Vec<u8>, CryptoError>> {
    let key = key.ec_key().ok()?;
    let curve = Asn1Object::from_str(key.group().curve_name()?.short_name().ok()?).ok()?;
    Some(ec_info(&key, curve.as_slice()).and_then(|info| closed(&info, pass)))
}

/// Decrypts an EncryptedPrivateKeyInfo.
fn opened(der: &[u8], pass: &[u8]) -> Option<Secret> {
    let [algorithm, data] = items(inside(der, Tag::Sequence)?)?;
    let [scheme, parameters] = items(algorithm.data)?;
    let [derivation, cipher] = items(parameters.data)?;
    let [function, derived] = items(derivation.data)?;
    let [salt, rounds, mac] = items(derived.data)?;
    let [mac] = items::<1>(mac.data)?;
    let [cipher, iv] = items(cipher.data)?;
    if [scheme.data, function.data, mac.data, cipher.data] != [PBES2, PBKDF2, HMAC_SHA256, AES_256_CBC] {
        return None;
    }
    let key = derived_key(pass, salt.data, usize::try_from(rounds.as_u32().ok()?).ok()?).ok()?;
    // OpenSSL's wrapper panics at any other length.
    let iv = (iv.data.len() == 16).then_some(iv.data)?;
    decrypt(Cipher::aes_256_cbc(), &*key, Some(iv), data.data).ok().map(Zeroizing::new)
}

fn closed(info: &[u8], pass: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let salt = random_bytes::<16>()?;
    let iv = random_bytes::<16>()?;
    let key = derived_key(pass, &salt, usize::from(ROUNDS))?;
    let data = encrypt(Cipher::aes_256_cbc(), &*key, Some(&iv), info)?;
    let object = |oid| der(tag::OBJECT, &[oid]);
    let mac = der(tag::SEQUENCE, &[&object(HMAC_SHA256), &der(tag::NULL, &[])]);
    let rounds = der(tag::INTEGER, &[&ROUNDS.to_be_bytes()]);
    let derived = der(tag::SEQUENCE, &[&der(tag::OCTET_STRING, &[&salt]), &rounds, &mac]);
    let derivation = der(tag::SEQUENCE, &[&object(PBKDF2), &derived]);
    let cipher = der(tag::SEQUENCE, &[&object(AES_256_CBC), &der(tag::OCTET_STRING, &[&iv])]);
    let parameters = der(tag::SEQUENCE, &[&derivation, &cipher]);
    let algorithm = der(tag::SEQUENCE, &[&object(PBES2), &parameters]);
    let all = der(tag::SEQUENCE, &[&algorithm, &der(tag::OCTET_STRING, &[&data])]);
    Ok(pem(&all))
}

fn derived_key(pass: &[u8], salt: &[u8], rounds: usize) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
    let mut key = Zeroizing::new([0; 32]);
    openssl::pkcs5::pbkdf2_hmac(pass, salt, rounds, MessageDigest::sha256(), key.as_mut_slice())?;
    Ok(key)
}

/// Reads an ECPrivateKey (RFC 5915). A key without its public half is left to OpenSSL, which computes that.
fn ec_key(curve: &str, content: &[u8]) -> Option<PKey<Private>> {
    let group = EcGroup::from_curve_name(object(curve)?).ok()?;
    let [_version, number] = items(content)?;
    let mut secret = BigNum::new_secure().ok()?;
    secret.copy_from_slice(number.data).ok()?;
    let point = EcPoint::from_bytes(&group, public_bits(content)?, &mut *BigNumContext::new().ok()?).ok()?;
    let key = EcKey::from_private_components(&group, &secret, &point).ok()?;
    key.check_key().ok()?;
    PKey::from_ec_key(key).ok()
}

fn ec_info(key: &EcKey<Private>, curve: &[u8]) -> Result<Secret, CryptoError> {
    let group = key.group();
    let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
    let public = key.public_key().to_bytes(group, form, &mut *BigNumContext::new()?)?;
    let length = i32::try_from(group.order_bits().div_ceil(8)).unwrap_or(i32::MAX);
    let number = Zeroizing::new(key.private_key().to_vec_padded(length)?);
    let public = der(tag::PUBLIC_KEY, &[&der(tag::BIT_STRING, &[&[0], &public])]);
    let version = |number| der(tag::INTEGER, &[&[number]]);
    let key = der(tag::SEQUENCE, &[&version(1), &der(tag::OCTET_STRING, &[&number]), &public]);
    let algorithm = der(tag::SEQUENCE, &[&der(tag::OBJECT, &[EC]), &der(tag::OBJECT, &[curve])]);
    Ok(der(tag::SEQUENCE, &[&version(0), &algorithm, &der(tag::OCTET_STRING, &[&key])]))
}

/// Encodes an item of DER. The buffer is allocated at once, as growing would leave copies.
fn der(tag: u8, parts: &[&[u8]]) -> Secret {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut item = Zeroizing::new(Vec::with_capacity(length + 4));
    item.push(tag);
    let bytes = length.to_be_bytes();
    match length {
        0..0x80 => item.push(bytes[bytes.len() - 1]),
        0x80..0x100 => item.extend([0x81, bytes[bytes.len() - 1]]),
        _ => item.extend([0x82, bytes[bytes.len() - 2], bytes[bytes.len() - 1]]),
    }
    parts.iter().for_each(|part| item.extend_from_slice(part));
    item
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = data_encoding::BASE64.encode(der);
    let lines = text.as_bytes().chunks(64).flat_map(|line| [line, b"\n"]);
    let begin = &b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"[..];
    let end = &b"-----END ENCRYPTED PRIVATE KEY-----\n"[..];
    [begin].into_iter().chain(lines).chain([end]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PrivateKey;
    use crate::model::KeySpec;

    const PASS: &[u8] = b"pass\xff";

    fn generated(curve: &str) -> PKey<Private> {
        let spec = if curve == "rsa" { KeySpec::Default } else { KeySpec::Ec { curve: curve.to_owned() } };
        PrivateKey::generate(&spec).unwrap().pkey().clone()
    }

    fn same(one: &PKey<Private>, other: &PKey<Private>) -> bool {
        one.private_key_to_pkcs8().unwrap() == other.private_key_to_pkcs8().unwrap()
    }

    #[test]
    fn openssl_reads_what_is_written_here_and_the_other_way_round() {
        for curve in ["P-256", "P-384", "P-521", "secp256k1", "brainpoolP320r1", "rsa"] {
            let key = generated(curve);
            let theirs = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), PASS).unwrap();
            assert!(same(&unseal(&theirs, PASS).unwrap(), &key), "{curve}");
            let Some(ours) = seal(&key, PASS) else { continue };
            let ours = ours.unwrap();
            assert!(same(&unseal(&ours, PASS).unwrap(), &key), "{curve}");
            assert!(same(&PKey::private_key_from_pem_passphrase(&ours, PASS).unwrap(), &key), "{curve}");
            assert!(ours.split(|byte| *byte == b'\n').all(|line| line.len() <= 64), "{curve}");
        }
        assert!(seal(&generated("rsa"), PASS).is_none() && seal(&generated("Ed25519"), PASS).is_none());
    }

    #[test]
    fn other_forms_and_damage_are_left_to_openssl() {
        let key = generated("P-256");
        let pem = seal(&key, PASS).unwrap().unwrap();
        assert!(unseal(&pem, b"another").is_none() && unseal(b"", PASS).is_none());
        assert!(unseal(&key.private_key_to_pem_pkcs8().unwrap(), PASS).is_none());
        let weaker = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), PASS).unwrap();
        assert!(unseal(&weaker, PASS).is_none());
        let other = generated("Ed25519").private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), PASS).unwrap();
        assert!(unseal(&other, PASS).is_none());
        let der = pem_block(&pem, &[b"ENCRYPTED PRIVATE KEY-----"]).unwrap();
        for at in 0..der.len() {
            let mut damaged = der.clone();
            damaged[at] ^= 0x11;
            assert!(unseal(&super::pem(&damaged), PASS).is_none_or(|read| read.private_key_to_pkcs8().is_ok()));
            assert!(unseal(&super::pem(&der[..at]), PASS).is_none());
        }
    }
}
