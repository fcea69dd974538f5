//! The cryptography of a CA, for tests: checks signatures of accounts and signs certificates.

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::rsa::Rsa;
use openssl::sign::{Signer, Verifier};
use openssl::x509::{X509, X509Extension, X509Name, X509NameBuilder, X509Req};
use serde_json::Value;

use crate::crypto::{Certificate, PrivateKey, base64url, base64url_decode, random_bytes, self_signed};
use crate::model::{DomainName, KeySpec, Timestamp};

/// An issuer of certificates with its own root.
pub struct Issuer {
    key: PrivateKey,
    root: Certificate,
}

impl Issuer {
    pub fn new(now: Timestamp) -> Self {
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        let root = self_signed(&key, "Fake CA", &[DomainName::parse("ca.test").unwrap()], now, 3650);
        Self { key, root: root.unwrap() }
    }

    pub fn root(&self) -> &Certificate {
        &self.root
    }

    /// Returns the root's name and key, certified by another CA of the same name.
    pub fn crossed(&self, by: &str) -> Certificate {
        let other = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        let root = x509(&self.root);
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(serial().as_ref()).unwrap();
        builder.set_subject_name(root.subject_name()).unwrap();
        builder.set_issuer_name(name(by).as_ref()).unwrap();
        builder.set_pubkey(&pkey(&self.key)).unwrap();
        builder.set_not_before(root.not_before()).unwrap();
        builder.set_not_after(root.not_after()).unwrap();
        builder.sign(&pkey(&other), MessageDigest::sha256()).unwrap();
        Certificate::from_der(&builder.build().to_der().unwrap()).unwrap()
    }

    /// Returns a certificate with the subject, key and extensions of the request, without extensions with the given OIDs; `None`
    /// if the request is not signed with its key.
    pub fn issue(&self, request: &[u8], from: Timestamp, seconds: i64, without: &[&[u8]]) -> Option<Certificate> {
        let request = X509Req::from_der(request).ok()?;
        let key = request.public_key().ok()?;
        if !request.verify(&key).ok()? {
            return None;
        }
        let mut builder = X509::builder().ok()?;
        builder.set_version(2).ok()?;
        builder.set_serial_number(serial().as_ref()).ok()?;
        builder.set_subject_name(request.subject_name()).ok()?;
        builder.set_issuer_name(name("Fake CA").as_ref()).ok()?;
        builder.set_pubkey(&key).ok()?;
        builder.set_not_before(Asn1Time::from_unix(from.as_second()).ok()?.as_ref()).ok()?;
        builder.set_not_after(Asn1Time::from_unix(from.as_second() + seconds).ok()?.as_ref()).ok()?;
        builder.append_extension(self.key_identifier()?).ok()?;
        for extension in request.extensions().ok()? {
            let der = extension.to_der().ok()?;
            if without.iter().any(|oid| der.windows(oid.len()).any(|bytes| bytes == *oid)) {
                continue;
            }
            builder.append_extension(extension).ok()?;
        }
        builder.sign(&pkey(&self.key), MessageDigest::sha256()).ok()?;
        Certificate::from_der(&builder.build().to_der().ok()?).ok()
    }
}

impl Issuer {
    /// Returns the authority key identifier.
    fn key_identifier(&self) -> Option<X509Extension> {
        let digest = hash(MessageDigest::sha1(), &pkey(&self.key).public_key_to_der().ok()?).ok()?;
        let value = [&[0x30, 0x16, 0x80, 0x14], &*digest].concat();
        let oid = Asn1Object::from_str("2.5.29.35").ok()?;
        let value = Asn1OctetString::new_from_bytes(&value).ok()?;
        X509Extension::new_from_der(&oid, false, &value).ok()
    }
}

/// Returns the common name of a request.
pub fn common_name(request: &[u8]) -> Option<String> {
    let request = X509Req::from_der(request).ok()?;
    let entry = request.subject_name().entries_by_nid(Nid::COMMONNAME).next()?;
    String::from_utf8(entry.data().as_slice().to_vec()).ok()
}

/// Checks the signature of `input` by this public key, with RS256 or ES256.
pub fn verifies(jwk: &Value, input: &[u8], signature: &[u8]) -> bool {
    let Some(key) = public_key(jwk) else { return false };
    match key.id() {
        Id::EC => verifies_ec(&key, input, signature).unwrap_or(false),
        _ => Verifier::new(MessageDigest::sha256(), &key).unwrap().verify_oneshot(signature, input).unwrap_or(false),
    }
}

/// Checks a MAC with HMAC and SHA-256 (HS256).
pub fn is_mac(key: &[u8], input: &[u8], mac: &[u8]) -> bool {
    let key = PKey::hmac(key).unwrap();
    Signer::new(MessageDigest::sha256(), &key).unwrap().sign_oneshot_to_vec(input).unwrap() == mac
}

/// Checks whether the certificate is for this key.
pub fn has_jwk(certificate: &Certificate, jwk: &Value) -> bool {
    let key = x509(certificate).public_key().unwrap();
    public_key(jwk).is_some_and(|public| key.public_eq(&public))
}

/// Returns the thumbprint (RFC 7638) of a key whose members are in order.
pub fn thumbprint_of(jwk: &Value) -> String {
    base64url(&hash(MessageDigest::sha256(), jwk.to_string().as_bytes()).unwrap())
}

/// Returns the public key of a JWK: RSA, or EC on P-256.
fn public_key(jwk: &Value) -> Option<PKey<Public>> {
    let number = |member: &str| BigNum::from_slice(&base64url_decode(jwk[member].as_str()?)?).ok();
    match jwk["kty"].as_str()? {
        "RSA" => PKey::from_rsa(Rsa::from_public_components(number("n")?, number("e")?).ok()?).ok(),
        "EC" => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).ok()?;
            let key = EcKey::from_public_key_affine_coordinates(&group, &*number("x")?, &*number("y")?).ok()?;
            PKey::from_ec_key(key).ok()
        }
        _ => None,
    }
}

fn verifies_ec(key: &PKey<Public>, input: &[u8], signature: &[u8]) -> Option<bool> {
    let [r, s] = [signature.get(..32)?, signature.get(32..64)?].map(BigNum::from_slice);
    let signature = EcdsaSig::from_private_components(r.ok()?, s.ok()?).ok()?;
    signature.verify(&hash(MessageDigest::sha256(), input).ok()?, &*key.ec_key().ok()?).ok()
}

/// Returns the key as OpenSSL has it.
pub(super) fn pkey(key: &PrivateKey) -> PKey<Private> {
    PKey::private_key_from_pem(&key.to_pem().unwrap()).unwrap()
}

/// Returns the certificate as OpenSSL has it.
pub(super) fn x509(certificate: &Certificate) -> X509 {
    X509::from_der(certificate.to_der()).unwrap()
}

/// Returns a name that is a common name only.
pub(super) fn name(common_name: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, common_name).unwrap();
    name.build()
}

/// Returns a serial number of 20 bytes.
pub(super) fn serial() -> Asn1Integer {
    let mut bytes = random_bytes::<20>().unwrap();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    BigNum::from_slice(&bytes).unwrap().to_asn1_integer().unwrap()
}
