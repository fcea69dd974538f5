//! A CA with an OCSP responder, for tests, that answers as a test demands.

use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::hash::{MessageDigest, hash};
use openssl::sign::Signer;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage};
use openssl::x509::{X509, X509Builder, X509Extension};

use super::issuer::{self, pkey, x509};
use crate::crypto::{Certificate, OcspIssuer, PrivateKey, Revocation};
use crate::model::{KeySpec, Timestamp};

/// A key with its certificate.
pub struct Signatory {
    key: PrivateKey,
    pub certificate: Certificate,
}

/// Properties of a responder's answer.
pub struct Said<'a> {
    /// Status of the whole response (RFC 6960 section 4.2.1).
    pub response: u8,
    /// `Good`, `Revoked` or `Unknown`.
    pub revocation: Revocation,
    /// Seconds from the time of the answer.
    pub this_update: i64,
    pub next_update: Option<i64>,
    /// The signer, if not the issuer, and whether its certificate is sent along.
    pub signer: Option<(&'a Signatory, bool)>,
    /// Whether the signature is invalid, as it signs other bytes.
    pub forged: bool,
}

impl Default for Said<'_> {
    fn default() -> Self {
        Self {
            response: 0,
            revocation: Revocation::Good,
            this_update: -60,
            next_update: Some(86_400),
            signer: None,
            forged: false,
        }
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap()
}

fn extension(oid: &str, value: &[u8]) -> X509Extension {
    let value = Asn1OctetString::new_from_bytes(value).unwrap();
    X509Extension::new_from_der(&Asn1Object::from_str(oid).unwrap(), false, &value).unwrap()
}

impl Signatory {
    /// Returns a CA with this name, valid for ten years around `now`.
    pub fn ca(name: &str, now: Timestamp) -> Self {
        let key = key();
        let mut builder = builder(&key, name, name, now, (-1825, 1825));
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&pkey(&key), MessageDigest::sha256()).unwrap();
        Self { certificate: Certificate::from_der(&builder.build().to_der().unwrap()).unwrap(), key }
    }

    /// Returns the CA as the issuer by which its responses are checked.
    pub fn issuer(&self) -> OcspIssuer {
        OcspIssuer::new(&self.certificate).unwrap()
    }

    fn name(&self) -> String {
        self.certificate.summary().issuer_name().trim_start_matches("/CN=").to_owned()
    }

    fn issue(
        &self,
        key: PrivateKey,
        name: &str,
        now: Timestamp,
        days: (i64, i64),
        extensions: Vec<X509Extension>,
    ) -> Self {
        let mut builder = builder(&key, name, &self.name(), now, days);
        extensions.into_iter().for_each(|extension| builder.append_extension(extension).unwrap());
        builder.sign(&pkey(&self.key), MessageDigest::sha256()).unwrap();
        Self { certificate: Certificate::from_der(&builder.build().to_der().unwrap()).unwrap(), key }
    }

    /// Returns a certificate for a name, whose responder is at this URL.
    pub fn leaf(&self, name: &str, url: Option<&str>, must_staple: bool, now: Timestamp) -> Certificate {
        self.leaf_of(key(), name, url, must_staple, now)
    }

    /// Returns a certificate for a name and a key.
    pub fn leaf_of(
        &self,
        key: PrivateKey,
        name: &str,
        url: Option<&str>,
        must_staple: bool,
        now: Timestamp,
    ) -> Certificate {
        let mut extensions = vec![extension("2.5.29.17", &nest(0x30, &[tlv(0x82, name.as_bytes())]))];
        if let Some(url) = url {
            let ocsp = [0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
            let access = nest(0x30, &[nest(0x30, &[ocsp.to_vec(), tlv(0x86, url.as_bytes())])]);
            extensions.push(extension("1.3.6.1.5.5.7.1.1", &access));
        }
        if must_staple {
            extensions.push(extension("1.3.6.1.5.5.7.1.24", &[0x30, 0x03, 0x02, 0x01, 0x05]));
        }
        self.issue(key, name, now, (-1, 89), extensions).certificate
    }

    /// Returns a responder that this CA has certified, with the right to sign responses if it `may`; valid for these days from
    /// `now`.
    pub fn responder(&self, may: bool, days: (i64, i64), now: Timestamp) -> Self {
        let usage = if may { "OCSPSigning" } else { "serverAuth" };
        self.issue(key(), "Responder", now, days, vec![ExtendedKeyUsage::new().other(usage).build().unwrap()])
    }

    /// Returns the leaf with its issuer, as PEM.
    pub fn chain(&self, leaf: &Certificate) -> Vec<u8> {
        format!("{}{}", leaf.to_pem(), self.certificate.to_pem()).into_bytes()
    }

    /// Returns the response about a certificate of this CA, in DER.
    pub fn answer(&self, leaf: &Certificate, now: Timestamp, said: &Said<'_>) -> Vec<u8> {
        let status = tlv(0x0a, &[said.response]);
        if said.response != 0 {
            return nest(0x30, &[status]);
        }
        let (signer, is_sent) = said.signer.unwrap_or((self, false));
        let time = |seconds: i64| {
            let at = now + jiff::SignedDuration::from_secs(seconds);
            tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
        };
        let revocation = match said.revocation {
            Revocation::Good => tlv(0x80, b""),
            Revocation::Revoked => nest(0xa1, &[time(-3600)]),
            Revocation::Unknown => tlv(0x82, b""),
        };
        let next_update = said.next_update.map(|seconds| nest(0xa0, &[time(seconds)]));
        let single = [cert_id(leaf, &self.certificate), revocation, time(said.this_update)];
        let single = nest(0x30, &single.into_iter().chain(next_update).collect::<Vec<_>>());
        let by_key = nest(0xa2, &[tlv(0x04, &key_hash(&signer.certificate))]);
        let data = nest(0x30, &[by_key, time(0), nest(0x30, &[single])]);
        let key = pkey(&signer.key);
        let mut sealer = Signer::new(MessageDigest::sha256(), &key).unwrap();
        let signed = if said.forged { b"other".to_vec() } else { data.clone() };
        let signature = [vec![0], sealer.sign_oneshot_to_vec(&signed).unwrap()].concat();
        let ecdsa_with_sha256 = nest(0x30, &[tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])]);
        let mut basic = vec![data, ecdsa_with_sha256, tlv(0x03, &signature)];
        if is_sent {
            let certificates = [signer.certificate.to_der().to_vec()];
            basic.push(nest(0xa0, &[nest(0x30, &certificates)]));
        }
        let kind = tlv(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]);
        let bytes = nest(0x30, &[kind, tlv(0x04, &nest(0x30, &basic))]);
        nest(0x30, &[status, nest(0xa0, &[bytes])])
    }
}

/// Checks whether the request ends with the serial number of the certificate.
pub fn is_about(request: &[u8], leaf: &Certificate) -> bool {
    request.ends_with(&serial(leaf))
}

fn builder(key: &PrivateKey, name: &str, issuer: &str, now: Timestamp, days: (i64, i64)) -> X509Builder {
    let at = |days: i64| Asn1Time::from_unix(now.as_second() + days * 86_400).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(issuer::serial().as_ref()).unwrap();
    builder.set_subject_name(issuer::name(name).as_ref()).unwrap();
    builder.set_issuer_name(issuer::name(issuer).as_ref()).unwrap();
    builder.set_pubkey(&pkey(key)).unwrap();
    builder.set_not_before(at(days.0).as_ref()).unwrap();
    builder.set_not_after(at(days.1).as_ref()).unwrap();
    builder
}

fn cert_id(leaf: &Certificate, issuer: &Certificate) -> Vec<u8> {
    let name = x509(issuer).subject_name().to_der().unwrap();
    let sha1 = |bytes: &[u8]| tlv(0x04, &hash(MessageDigest::sha1(), bytes).unwrap());
    let algorithm = nest(0x30, &[tlv(0x06, &[0x2b, 0x0e, 3, 2, 0x1a]), tlv(0x05, b"")]);
    nest(0x30, &[algorithm, sha1(&name), tlv(0x04, &key_hash(issuer)), serial(leaf)])
}

fn key_hash(certificate: &Certificate) -> Vec<u8> {
    let spki = x509(certificate).public_key().unwrap().public_key_to_der().unwrap();
    // The point is the last 65 bytes of a P-256 key.
    hash(MessageDigest::sha1(), &spki[spki.len() - 65..]).unwrap().to_vec()
}

fn serial(certificate: &Certificate) -> Vec<u8> {
    tlv(0x02, &x509(certificate).serial_number().to_bn().unwrap().to_vec())
}

/// Returns a value of ASN.1.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    der.extend(content);
    der
}

/// Returns a value of ASN.1 that consists of others.
fn nest(tag: u8, content: &[Vec<u8>]) -> Vec<u8> {
    tlv(tag, &content.concat())
}
