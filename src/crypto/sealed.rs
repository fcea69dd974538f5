//! Private keys under a pass phrase, read and written so that no copies stay behind in freed memory. OpenSSL 3.0 frees the
//! encodings in its own readers and in its writer of EC keys without wiping them.
//!
//! The server's user can write such files, and root reads them: the work that a file asks for has a limit, and OpenSSL, which has
//! none, never decrypts one.

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
const HMAC_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 7];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9];
const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 2];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 0x2a];
/// OpenSSL's number of rounds. The pass phrase is as good as a key.
const ROUNDS: u16 = 2048;
/// The most rounds that are computed: they take about 50 ms.
pub(super) const MOST_ROUNDS: u32 = 100_000;
/// The most rounds for a key that anything may have written that runs as the server's user: a start reads some for each domain.
pub(super) const MOST_ROUNDS_UNTRUSTED: u32 = 10_000;

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

/// Returns the content of the first encrypted private key of a PEM text; `None` if there is none.
pub(super) fn sealed_block(pem: &[u8]) -> Option<Vec<u8>> {
    pem_block(pem, &[b"ENCRYPTED PRIVATE KEY-----"])
}

/// Reads a private key from an EncryptedPrivateKeyInfo (RFC 5958).
///
/// # Errors
/// If it is encrypted in another form than this module and other tools use for a store (PBES2 with PBKDF2 and AES in CBC mode), asks
/// for too many rounds, or if the pass phrase is wrong.
pub(super) fn unseal(der: &[u8], pass: &[u8], most_rounds: u32) -> Result<PKey<Private>, CryptoError> {
    let sealed = Sealed::read(der).filter(|sealed| sealed.rounds <= most_rounds);
    let info = sealed.ok_or(CryptoError::OtherEncryption)?.open(pass)?;
    // OpenSSL reads keys of other types, and those that lack their public half.
    own_key(&info).map_or_else(|| PKey::private_key_from_pkcs8(&info).map_err(CryptoError::DamagedKey), Ok)
}

/// Reads an RSA or EC key from a PrivateKeyInfo.
fn own_key(info: &[u8]) -> Option<PKey<Private>> {
    let [_version, algorithm, key] = items(inside(info, Tag::Sequence)?)?;
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

/// An encrypted key of a form that is used here, before anything is computed.
struct Sealed<'a> {
    salt: &'a [u8],
    rounds: u32,
    digest: MessageDigest,
    cipher: Cipher,
    iv: &'a [u8],
    data: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let [algorithm, data] = items(inside(der, Tag::Sequence)?)?;
        let [scheme, parameters] = items(algorithm.data)?;
        let [derivation, cipher] = items(parameters.data)?;
        let [function, derived] = items(derivation.data)?;
        let [salt, rounds] = items(derived.data)?;
        let [cipher, iv] = items(cipher.data)?;
        let digest = match last_of_three(derived.data) {
            // The default of RFC 8018, which OpenSSL wrote until release 1.1.0.
            None => MessageDigest::sha1(),
            Some(mac) => match items::<1>(mac)?[0].data {
                HMAC_SHA1 => MessageDigest::sha1(),
                HMAC_SHA256 => MessageDigest::sha256(),
                _ => return None,
            },
        };
        let cipher = match cipher.data {
            AES_128_CBC => Cipher::aes_128_cbc(),
            AES_256_CBC => Cipher::aes_256_cbc(),
            _ => return None,
        };
        let rounds = rounds.as_u32().ok().filter(|rounds| (1..=MOST_ROUNDS).contains(rounds))?;
        // OpenSSL's wrapper panics at any other length of the IV.
        let is_known = [scheme.data, function.data] == [PBES2, PBKDF2] && iv.data.len() == 16;
        is_known.then_some(Self { salt: salt.data, rounds, digest, cipher, iv: iv.data, data: data.data })
    }

    fn open(&self, pass: &[u8]) -> Result<Secret, CryptoError> {
        let key = derived_key(pass, self.salt, self.rounds, self.digest)?;
        let info = decrypt(self.cipher, &key[..self.cipher.key_len()], Some(self.iv), self.data);
        info.map(Zeroizing::new).map_err(CryptoError::DamagedKey)
    }
}

/// Returns the content of the third item; `None` if there are two.
fn last_of_three(content: &[u8]) -> Option<&[u8]> {
    let [_, _, third] = items(content)?;
    Some(third.data)
}

fn closed(info: &[u8], pass: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let salt = random_bytes::<16>()?;
    let iv = random_bytes::<16>()?;
    let key = derived_key(pass, &salt, ROUNDS.into(), MessageDigest::sha256())?;
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

fn derived_key(
    pass: &[u8],
    salt: &[u8],
    rounds: u32,
    digest: MessageDigest,
) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
    let mut key = Zeroizing::new([0; 32]);
    openssl::pkcs5::pbkdf2_hmac(pass, salt, rounds as usize, digest, key.as_mut_slice())?;
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

    fn opened(pem: &[u8], pass: &[u8]) -> Result<PKey<Private>, CryptoError> {
        unseal(&sealed_block(pem).unwrap(), pass, MOST_ROUNDS)
    }

    /// Returns the DER of a sealed key in which these bytes are replaced by others of the same length.
    fn changed(pem: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut der = sealed_block(pem).unwrap();
        let at = der.windows(from.len()).position(|window| window == from).unwrap();
        der[at..at + to.len()].copy_from_slice(to);
        der
    }

    #[test]
    fn openssl_reads_what_is_written_here_and_the_other_way_round() {
        for curve in ["P-256", "P-384", "P-521", "secp256k1", "brainpoolP320r1", "rsa", "Ed25519"] {
            let key = generated(curve);
            for cipher in [Cipher::aes_128_cbc(), Cipher::aes_256_cbc()] {
                let theirs = key.private_key_to_pem_pkcs8_passphrase(cipher, PASS).unwrap();
                assert!(same(&opened(&theirs, PASS).unwrap(), &key), "{curve}");
            }
            let Some(ours) = seal(&key, PASS) else { continue };
            let ours = ours.unwrap();
            assert!(same(&opened(&ours, PASS).unwrap(), &key), "{curve}");
            assert!(same(&PKey::private_key_from_pem_passphrase(&ours, PASS).unwrap(), &key), "{curve}");
            assert!(ours.split(|byte| *byte == b'\n').all(|line| line.len() <= 64), "{curve}");
        }
        assert!(seal(&generated("rsa"), PASS).is_none() && seal(&generated("Ed25519"), PASS).is_none());
    }

    #[test]
    fn what_asks_for_much_work_or_another_kind_of_it_is_refused_before_anything_is_computed() {
        let key = generated("P-256");
        let pem = seal(&key, PASS).unwrap().unwrap();
        let integer = |content: &[u8]| [&[2, content.len() as u8], content].concat();
        let with_rounds = |content: &[u8]| {
            let derived = [&der(tag::OCTET_STRING, &[&[7; 8]])[..], &integer(content)].concat();
            let object = |oid| der(tag::OBJECT, &[oid]);
            let derivation = der(tag::SEQUENCE, &[&object(PBKDF2), &der(tag::SEQUENCE, &[&derived])]);
            let cipher = der(tag::SEQUENCE, &[&object(AES_256_CBC), &der(tag::OCTET_STRING, &[&[0; 16]])]);
            let scheme = der(tag::SEQUENCE, &[&object(PBES2), &der(tag::SEQUENCE, &[&derivation, &cipher])]);
            der(tag::SEQUENCE, &[&scheme, &der(tag::OCTET_STRING, &[&[0; 16]])])
        };
        let rows: [(&[u8], Option<u32>); 8] = [
            (&[1], Some(1)),
            (&[8, 0], Some(2048)),
            (&[1, 0x86, 0xa0], Some(100_000)),
            (&[1, 0x86, 0xa1], None),
            (&[0], None),
            (&[0xff], None),
            (&[0x7f, 0xff, 0xff, 0xff], None),
            (&[1; 9], None),
        ];
        for (content, expected) in rows {
            let der = with_rounds(content);
            assert_eq!(Sealed::read(&der).map(|sealed| sealed.rounds), expected, "{content:?}");
            assert!(unseal(&der, PASS, MOST_ROUNDS).is_err());
        }
        let weak = with_rounds(&[0x27, 0x11]);
        assert!(matches!(unseal(&weak, PASS, MOST_ROUNDS_UNTRUSTED), Err(CryptoError::OtherEncryption)));
        let scrypt = [0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 0x0b];
        let sha512 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 0x0b];
        for (from, to) in [(PBKDF2, &scrypt[..]), (HMAC_SHA256, &sha512), (PBES2, &scrypt), (AES_256_CBC, &[0x2a; 9])] {
            assert!(
                matches!(unseal(&changed(&pem, from, to), PASS, MOST_ROUNDS), Err(CryptoError::OtherEncryption)),
                "{to:?}"
            );
        }
    }

    #[test]
    fn damage_is_an_error() {
        let pem = seal(&generated("P-256"), PASS).unwrap().unwrap();
        assert!(matches!(opened(&pem, b"another"), Err(CryptoError::DamagedKey(_))));
        assert!(sealed_block(b"").is_none() && unseal(b"", PASS, MOST_ROUNDS).is_err());
        let der = sealed_block(&pem).unwrap();
        for at in 0..der.len() {
            let mut damaged = der.clone();
            damaged[at] ^= 0x11;
            assert!(unseal(&damaged, PASS, MOST_ROUNDS).ok().is_none_or(|read| read.private_key_to_pkcs8().is_ok()));
            assert!(unseal(&der[..at], PASS, MOST_ROUNDS).is_err());
        }
    }
}
