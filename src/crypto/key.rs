//! Private keys: generated, read from and written as PEM.

use std::cell::Cell;
use std::fmt;

use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use zeroize::Zeroizing;

use super::{Certificate, CryptoError, object, sealed};
use crate::model::KeySpec;

/// A private key with its public half. Clones share the key.
#[derive(Clone)]
pub struct PrivateKey(PKey<Private>);

/// The type of a key, with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa(u32),
    Curve(Nid),
    Fixed(Id),
}

/// Names by NIST and SECG that OpenSSL's table of objects lacks.
const OTHER_NAMES: [(&str, &str); 7] = [
    ("p-192", "prime192v1"),
    ("p-224", "secp224r1"),
    ("p-256", "prime256v1"),
    ("p-384", "secp384r1"),
    ("p-521", "secp521r1"),
    ("secp192r1", "prime192v1"),
    ("secp256r1", "prime256v1"),
];

const ACCOUNT_BITS: u32 = 3072;

impl PrivateKey {
    /// Generates a key. Curves are named as NIST, SECG or OpenSSL do, or X25519, X448, Ed25519 or Ed448, in any case.
    ///
    /// # Errors
    /// If the curve is not known.
    pub fn generate(spec: &KeySpec) -> Result<Self, CryptoError> {
        let key = match Kind::of_spec(spec)? {
            Kind::Rsa(bits) => PKey::from_rsa(Rsa::generate(bits)?)?,
            Kind::Curve(nid) => PKey::from_ec_key(EcKey::generate(curve_group(nid, spec)?.as_ref())?)?,
            Kind::Fixed(Id::X25519) => PKey::generate_x25519()?,
            Kind::Fixed(Id::X448) => PKey::generate_x448()?,
            Kind::Fixed(Id::ED448) => PKey::generate_ed448()?,
            Kind::Fixed(_) => PKey::generate_ed25519()?,
        };
        Ok(Self(key))
    }

    /// Generates the key of an ACME account: RSA, which other software that shares the store can read.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate_account() -> Result<Self, CryptoError> {
        Self::generate(&KeySpec::Rsa { bits: ACCOUNT_BITS })
    }

    /// Writes the key as PEM of PKCS#8, not encrypted.
    ///
    /// # Errors
    /// Those of OpenSSL.
    pub fn to_pem(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        Ok(Zeroizing::new(self.0.private_key_to_pem_pkcs8()?))
    }

    /// Writes the key as PEM of PKCS#8, encrypted by AES-256-CBC under a key that PBKDF2 derives from `pass`, which may be
    /// any bytes.
    ///
    /// # Errors
    /// Those of OpenSSL.
    pub fn to_encrypted_pem(&self, pass: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let sealed = sealed::seal(&self.0, pass);
        sealed.unwrap_or_else(|| Ok(self.0.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), pass)?))
    }

    /// Reads a key from PEM: in PKCS#8, encrypted or not, or in its traditional form, not encrypted. A terminal is never asked.
    ///
    /// # Errors
    /// If there is no key, or it is encrypted and `pass` is absent or wrong, or it is encrypted in another form than
    /// [`PrivateKey::to_encrypted_pem`] uses.
    pub fn from_pem(pem: &[u8], pass: Option<&[u8]>) -> Result<Self, CryptoError> {
        if let Some(sealed) = sealed::sealed_block(pem) {
            let pass = pass.ok_or(CryptoError::PassPhraseMissing)?;
            return sealed::unseal(&sealed, pass, sealed::MOST_ROUNDS).map(Self);
        }
        let asked = Cell::new(false);
        // The only reader of the crate that never asks a terminal. It gets no pass phrase: OpenSSL would work for as long as the text
        // says.
        let key = PKey::private_key_from_pem_callback(pem, |_| {
            asked.set(true);
            Err(ErrorStack::get())
        });
        match key {
            Ok(key) => Ok(Self(key)),
            Err(_) if asked.get() && pass.is_none() => Err(CryptoError::PassPhraseMissing),
            Err(_) if asked.get() => Err(CryptoError::OtherEncryption),
            Err(errors) => Err(CryptoError::DamagedKey(errors)),
        }
    }

    /// Reads a key from PEM that is encrypted with this pass phrase, and that somebody else may have written.
    ///
    /// # Errors
    /// As [`PrivateKey::from_pem`], and if the key is not encrypted, or takes more work than one that is written here.
    pub fn from_encrypted_pem(pem: &[u8], pass: &[u8]) -> Result<Self, CryptoError> {
        let sealed = sealed::sealed_block(pem).ok_or(CryptoError::NotEncrypted)?;
        sealed::unseal(&sealed, pass, sealed::MOST_ROUNDS_UNTRUSTED).map(Self)
    }

    /// Whether the certificate was issued for this key.
    #[must_use]
    pub fn fits(&self, certificate: &Certificate) -> bool {
        certificate.has_key(&self.0)
    }

    /// Whether both keys have the same public half.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.public_eq(&other.0)
    }

    /// Whether the key is of the type that the specification asks for.
    #[must_use]
    pub fn fits_spec(&self, spec: &KeySpec) -> bool {
        Kind::of_spec(spec).is_ok_and(|kind| Kind::of_key(&self.0) == Some(kind))
    }

    pub(super) fn from_pkey(key: PKey<Private>) -> Self {
        Self(key)
    }

    pub(super) fn pkey(&self) -> &PKey<Private> {
        &self.0
    }

    /// Returns the digest to sign requests and certificates with; the Edwards curves have their own.
    pub(super) fn digest(&self) -> Result<MessageDigest, CryptoError> {
        match self.0.id() {
            Id::ED25519 | Id::ED448 => Ok(MessageDigest::null()),
            Id::X25519 | Id::X448 => Err(self.unsuitable("sign a certificate")),
            _ => Ok(MessageDigest::sha256()),
        }
    }

    pub(super) fn unsuitable(&self, task: &'static str) -> CryptoError {
        CryptoError::Unsuitable { key: self.type_name(), task }
    }

    fn type_name(&self) -> String {
        match Kind::of_key(&self.0) {
            Some(Kind::Rsa(bits)) => format!("RSA {bits}"),
            Some(Kind::Curve(nid)) => nid.short_name().unwrap_or("EC").to_owned(),
            Some(Kind::Fixed(id)) => Nid::from_raw(id.as_raw()).short_name().unwrap_or("unknown").to_owned(),
            None => "unknown".to_owned(),
        }
    }
}

impl Kind {
    fn of_spec(spec: &KeySpec) -> Result<Self, CryptoError> {
        let curve = match spec {
            KeySpec::Default => return Ok(Self::Rsa(KeySpec::RSA_BITS)),
            KeySpec::Rsa { bits } => return Ok(Self::Rsa(*bits)),
            KeySpec::Ec { curve } => curve,
        };
        let lower = curve.to_ascii_lowercase();
        match lower.as_str() {
            "x25519" => return Ok(Self::Fixed(Id::X25519)),
            "x448" => return Ok(Self::Fixed(Id::X448)),
            "ed25519" => return Ok(Self::Fixed(Id::ED25519)),
            "ed448" => return Ok(Self::Fixed(Id::ED448)),
            _ => {}
        }
        let known = OTHER_NAMES.iter().find(|(name, _)| *name == lower).map_or(curve.as_str(), |(_, known)| known);
        let nid = object(known).or_else(|| object(&lower)).ok_or_else(|| CryptoError::UnknownCurve(curve.clone()))?;
        Ok(Self::Curve(nid))
    }

    fn of_key(key: &PKey<Private>) -> Option<Self> {
        match key.id() {
            Id::RSA => Some(Self::Rsa(key.bits())),
            Id::EC => key.ec_key().ok()?.group().curve_name().map(Self::Curve),
            id => Some(Self::Fixed(id)),
        }
    }
}

fn curve_group(nid: Nid, spec: &KeySpec) -> Result<EcGroup, CryptoError> {
    EcGroup::from_curve_name(nid).map_err(|_| CryptoError::UnknownCurve(spec.json_name().to_owned()))
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.type_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: &[u8] = b"pass\0with\0NULs\xff of forty-eight bytes, as they are";

    fn ec(curve: &str) -> KeySpec {
        KeySpec::Ec { curve: curve.to_owned() }
    }

    #[test]
    fn curves_have_many_names() {
        let rows = [
            ("P-256", "prime256v1"),
            ("p-256", "prime256v1"),
            ("secp256r1", "prime256v1"),
            ("prime256v1", "prime256v1"),
            ("P-384", "secp384r1"),
            ("SECP384R1", "secp384r1"),
            ("P-521", "secp521r1"),
            ("secp192r1", "prime192v1"),
            ("brainpoolP256r1", "brainpoolP256r1"),
            ("X25519", "X25519"),
            ("Ed25519", "ED25519"),
            ("ed448", "ED448"),
        ];
        for (curve, name) in rows {
            let key = PrivateKey::generate(&ec(curve)).unwrap();
            assert_eq!(format!("{key:?}"), format!("PrivateKey({name})"));
            assert!(key.fits_spec(&ec(curve)) && !key.fits_spec(&KeySpec::Default), "{curve}");
        }
        for curve in ["nonsense", "", "a\0b", "sha256", "CN"] {
            let error = PrivateKey::generate(&ec(curve)).unwrap_err();
            assert!(matches!(&error, CryptoError::UnknownCurve(name) if name == curve), "{error}");
        }
    }

    #[test]
    fn rsa_has_the_bits_that_were_asked_for() {
        let key = PrivateKey::generate(&KeySpec::Default).unwrap();
        assert!(key.fits_spec(&KeySpec::Rsa { bits: 2048 }) && key.fits_spec(&KeySpec::Default));
        assert!(!key.fits_spec(&KeySpec::Rsa { bits: 3072 }) && !key.fits_spec(&ec("P-256")));
        assert!(PrivateKey::generate_account().unwrap().fits_spec(&KeySpec::Rsa { bits: 3072 }));
        // `make unittest` has primes at hand for the sizes above.
        let odd = KeySpec::Rsa { bits: 2304 };
        assert!(PrivateKey::generate(&odd).unwrap().fits_spec(&odd));
    }

    #[test]
    fn plain_and_encrypted_pem_read_back() {
        let key = PrivateKey::generate(&ec("P-256")).unwrap();
        let plain = key.to_pem().unwrap();
        let encrypted = key.to_encrypted_pem(PASS).unwrap();
        assert!(plain.starts_with(b"-----BEGIN PRIVATE KEY-----\n"));
        assert!(encrypted.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        for (pem, pass) in [(&plain[..], None), (&plain, Some(PASS)), (&encrypted, Some(PASS))] {
            assert!(PrivateKey::from_pem(pem, pass).unwrap().0.public_eq(&key.0));
        }
        assert!(matches!(PrivateKey::from_pem(&encrypted, None), Err(CryptoError::PassPhraseMissing)));
        for pass in [&b""[..], b"pass", &[7; 5000]] {
            assert!(matches!(PrivateKey::from_pem(&encrypted, Some(pass)), Err(CryptoError::DamagedKey(_))));
        }
    }

    #[test]
    fn encryption_is_pbes2_with_hmac_sha256_and_aes_256_cbc() {
        let pem = PrivateKey::generate(&ec("P-256")).unwrap().to_encrypted_pem(PASS).unwrap();
        let text = String::from_utf8(pem).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let der = openssl::base64::decode_block(&body).unwrap();
        let has = |what: &[u8]| der.windows(what.len()).any(|window| window == what);
        assert!(has(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]), "PBES2");
        assert!(has(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09]), "hmacWithSHA256");
        assert!(has(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a]), "aes256-CBC");
        assert!(has(&[0x02, 0x02, 0x08, 0x00]), "2048 iterations");
    }

    #[test]
    fn traditional_forms_are_read() {
        let key = PrivateKey::generate(&KeySpec::Default).unwrap();
        let plain = key.0.rsa().unwrap().private_key_to_pem().unwrap();
        let encrypted = key.0.rsa().unwrap().private_key_to_pem_passphrase(Cipher::aes_256_cbc(), PASS).unwrap();
        assert!(plain.starts_with(b"-----BEGIN RSA PRIVATE KEY-----\n"));
        assert!(PrivateKey::from_pem(&plain, None).unwrap().0.public_eq(&key.0));
        assert!(matches!(PrivateKey::from_pem(&encrypted, Some(PASS)), Err(CryptoError::OtherEncryption)));
        assert!(matches!(PrivateKey::from_pem(&encrypted, None), Err(CryptoError::PassPhraseMissing)));
        assert!(matches!(PrivateKey::from_encrypted_pem(&plain, PASS), Err(CryptoError::NotEncrypted)));
        let ec_key = PrivateKey::generate(&ec("P-384")).unwrap();
        let pem = ec_key.0.ec_key().unwrap().private_key_to_pem().unwrap();
        assert!(PrivateKey::from_pem(&pem, Some(PASS)).unwrap().0.public_eq(&ec_key.0));
    }

    #[test]
    fn what_is_no_key_is_an_error() {
        let mut cut = PrivateKey::generate(&ec("P-256")).unwrap().to_pem().unwrap();
        cut.truncate(80);
        for pem in [&b""[..], b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &cut] {
            assert!(matches!(PrivateKey::from_pem(pem, None), Err(CryptoError::DamagedKey(_))));
        }
    }
}
