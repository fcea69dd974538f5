//! Certificates, parsed once.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use openssl::asn1::Asn1Object;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{PKeyRef, Private};
use openssl::x509::{X509, X509VerifyResult};
use x509_parser::certificate::X509CertificateParser;
use x509_parser::extensions::{AuthorityInfoAccess, AuthorityKeyIdentifier, GeneralName, SubjectAlternativeName};
use x509_parser::nom::Parser;
use x509_parser::prelude::{FromDer, TbsCertificate, X509Certificate, X509Name};

use super::der::comparable;
use super::pem::{PemBlocks, decode};
use super::sct::{SCT_LIST, Sct};
use super::summary::{Issuer, Summary};
use super::{ChainError, CryptoError, hex};
use crate::model::{DomainName, Identifier, Timestamp, is_web_url, outside};

/// A parsed certificate. Parsing is cheap, as a server start reads thousands; clones share the data.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(Arc<Facts>);

#[derive(PartialEq, Eq)]
struct Facts {
    der: Vec<u8>,
    names: Vec<Identifier>,
    not_before: Timestamp,
    not_after: Timestamp,
    /// Content octets of the INTEGER.
    serial: Vec<u8>,
    issuer: String,
    authority_key_id: Option<Vec<u8>>,
    issuer_uri: Option<String>,
    ocsp_uri: Option<String>,
    must_staple: bool,
}

/// The TLS feature extension (RFC 7633), and its value that asks for `status_request`.
pub(super) const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
pub(super) const MUST_STAPLE: [u8; 5] = [0x30, 0x03, 0x02, 0x01, 0x05];

const ALTERNATIVE_NAMES: &str = "2.5.29.17";
const AUTHORITY_KEY: &str = "2.5.29.35";
const AUTHORITY_ACCESS: &str = "1.3.6.1.5.5.7.1.1";
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
const OCSP: &str = "1.3.6.1.5.5.7.48.1";

impl Certificate {
    /// Parses DER.
    ///
    /// # Errors
    /// If the bytes are not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        let parsed = parse(der).map_err(|error| damaged(&error))?;
        let facts = Facts::read(&parsed.tbs_certificate);
        Ok(Self(Arc::new(Facts { der: parsed.as_raw().to_vec(), ..facts })))
    }

    /// Parses the first certificate of a PEM text.
    ///
    /// # Errors
    /// If there is none, or it cannot be parsed.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CryptoError> {
        let body = PemBlocks(pem).next().ok_or_else(|| damaged(&ChainError::Empty))?;
        Self::from_der(&body.and_then(decode).map_err(|reason| damaged(&reason))?)
    }

    /// The certificate as PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let body = openssl::base64::encode_block(&self.0.der);
        let mut pem = String::with_capacity(body.len() + body.len() / 64 + 60);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = body.as_str();
        while !rest.is_empty() {
            let (line, tail) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = tail;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// The certificate as DER.
    #[must_use]
    pub fn to_der(&self) -> &[u8] {
        &self.0.der
    }

    /// The names of the certificate: DNS names in lower case, addresses in their canonical text form.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.names.iter().map(Identifier::value).collect()
    }

    /// Start of the validity.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// End of the validity.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// Returns the facts to report about the certificate, to be kept when the certificate itself is not.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let facts = &*self.0;
        let issuer = Issuer {
            name: facts.issuer.clone(),
            uri: facts.issuer_uri.clone(),
            key_id: facts.authority_key_id.clone(),
        };
        Summary::new(issuer, (facts.not_before, facts.not_after), &facts.serial, &facts.der)
    }

    /// SHA-1 of the DER, the fingerprint.
    #[must_use]
    pub fn sha1(&self) -> [u8; 20] {
        // Only a library that is configured to refuse the digest fails here; the fingerprint then matches nothing.
        hash(MessageDigest::sha1(), &self.0.der)
            .ok()
            .and_then(|digest| digest.as_ref().try_into().ok())
            .unwrap_or_default()
    }

    /// URL of the OCSP responder (RFC 5280 section 4.2.2.1).
    #[must_use]
    pub fn ocsp_uri(&self) -> Option<String> {
        self.0.ocsp_uri.clone()
    }

    /// Whether clients must refuse the certificate without an OCSP staple (RFC 7633).
    #[must_use]
    pub fn must_staple(&self) -> bool {
        self.0.must_staple
    }

    /// Parses the signed certificate timestamps (RFC 6962). Parsed on each call: only staged certificates are asked for them.
    #[must_use]
    pub fn scts(&self) -> Vec<Sct> {
        let Ok(parsed) = parse(&self.0.der) else { return Vec::new() };
        let list = parsed.extensions().iter().find(|extension| extension.oid.to_id_string() == SCT_LIST);
        list.map(|extension| Sct::read_list(extension.value)).unwrap_or_default()
    }

    /// Whether the certificate is valid for the name: by the name itself, or for a host by a wildcard above it. An address must
    /// be listed as an address, byte for byte (RFC 8738 section 3); clients do not take a DNS name that is spelled like it.
    #[must_use]
    pub fn covers(&self, name: &DomainName) -> bool {
        let wanted = name.identifier();
        self.0.names.iter().any(|own| match (own, &wanted) {
            (Identifier::Dns(own), Identifier::Dns(wanted)) => {
                own == wanted || DomainName::parse(own).is_ok_and(|own| own.covers(name))
            }
            (own, wanted) => own == wanted,
        })
    }

    /// Common name of the issuer, in the characters of the certificate.
    #[must_use]
    pub fn issuer_common_name(&self) -> Option<String> {
        let x509 = self.x509().ok()?;
        let name = x509.issuer_name().entries_by_nid(Nid::COMMONNAME).last()?;
        Some(outside::text(&name.data().to_string().ok()?))
    }

    /// Whether the subject of the other certificate signed this one, by its name and by its key.
    pub(super) fn is_signed_by(&self, issuer: &Self) -> bool {
        let (Ok(own), Ok(issuer)) = (self.x509(), issuer.x509()) else { return false };
        let is_named = issuer.issued(&own) == X509VerifyResult::OK;
        is_named && issuer.public_key().and_then(|key| own.verify(&key)).unwrap_or(false)
    }

    /// Whether the certificate has the public half of this key.
    pub(super) fn has_key(&self, key: &PKeyRef<Private>) -> bool {
        let Ok(parsed) = parse(&self.0.der) else { return false };
        // Comparing bytes first: OpenSSL needs much longer to read a public key than to write one.
        key.public_key_to_der().is_ok_and(|own| own == parsed.public_key().raw)
            || self.x509().and_then(|x509| x509.public_key()).is_ok_and(|public| key.public_eq(&public))
    }

    /// Returns the public key in the form in which keys are compared.
    pub(super) fn public_key(&self) -> Option<Vec<u8>> {
        let parsed = parse(&self.0.der).ok()?;
        let key = parsed.public_key();
        comparable(key.algorithm.algorithm.as_bytes(), &key.subject_public_key.data)
    }

    /// Parses the certificate, with its public key, by OpenSSL.
    pub(super) fn x509(&self) -> Result<X509, ErrorStack> {
        X509::from_der(&self.0.der)
    }
}

impl Facts {
    /// Reads the facts, without the DER.
    fn read(certificate: &TbsCertificate<'_>) -> Self {
        let mut facts = Self {
            der: Vec::new(),
            names: Vec::new(),
            not_before: moment(certificate.validity().not_before.timestamp()),
            not_after: moment(certificate.validity().not_after.timestamp()),
            serial: certificate.raw_serial().to_vec(),
            issuer: one_line(certificate.issuer()),
            authority_key_id: None,
            issuer_uri: None,
            ocsp_uri: None,
            must_staple: false,
        };
        for extension in certificate.extensions() {
            facts.read_extension(&extension.oid.to_id_string(), extension.value);
        }
        facts
    }

    /// Reads an extension; one that cannot be parsed is ignored.
    fn read_extension(&mut self, oid: &str, value: &[u8]) {
        match oid {
            ALTERNATIVE_NAMES => {
                let names = SubjectAlternativeName::from_der(value).map(|(_, san)| san.general_names);
                self.names = names.unwrap_or_default().iter().filter_map(identifier).collect();
            }
            AUTHORITY_KEY => {
                let id = AuthorityKeyIdentifier::from_der(value).ok().and_then(|(_, id)| id.key_identifier);
                self.authority_key_id = id.map(|id| id.0.to_vec());
            }
            AUTHORITY_ACCESS => {
                let Ok((_, access)) = AuthorityInfoAccess::from_der(value) else { return };
                let first = |method: &str| {
                    access.iter().find_map(|description| match &description.access_location {
                        GeneralName::URI(uri) if description.access_method.to_id_string() == method => {
                            Some((*uri).to_owned()).filter(|uri| is_web_url(uri))
                        }
                        _ => None,
                    })
                };
                (self.issuer_uri, self.ocsp_uri) = (first(CA_ISSUERS), first(OCSP));
            }
            TLS_FEATURE => self.must_staple = value == MUST_STAPLE,
            _ => {}
        }
    }
}

/// Parses a certificate, but not the content of its extensions: for those the parser makes a table that is never freed,
/// while httpd loads and unloads the module at each restart.
fn parse(der: &[u8]) -> Result<X509Certificate<'_>, impl fmt::Display + use<>> {
    X509CertificateParser::new().with_deep_parse_extensions(false).parse(der).map(|(_, certificate)| certificate)
}

/// Returns the moment, or the nearest in range: "no end" is the year 9999 (RFC 5280 section 4.1.2.5), a day past our range.
fn moment(seconds: i64) -> Timestamp {
    let seconds = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

fn damaged(reason: &dyn fmt::Display) -> CryptoError {
    CryptoError::DamagedCertificate(reason.to_string())
}

fn identifier(name: &GeneralName<'_>) -> Option<Identifier> {
    match name {
        GeneralName::DNSName(name) => Some(Identifier::Dns(outside::text(&name.to_ascii_lowercase()))),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.ok().map(Identifier::Ip)
        }
        _ => None,
    }
}

/// Formats a name as `X509_NAME_oneline` does, with bytes that do not print as `\xHH`.
fn one_line(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for attribute in name.iter_attributes() {
        let id = attribute.attr_type().to_id_string();
        let nid = Asn1Object::from_str(&id).map_or(Nid::UNDEF, |object| object.nid());
        let known = Some(nid).filter(|nid| *nid != Nid::UNDEF).and_then(|nid| nid.short_name().ok());
        text.extend(["/", known.unwrap_or(&id), "="]);
        for byte in attribute.attr_value().data {
            match byte {
                b' '..=b'~' => text.push(char::from(*byte)),
                _ => text.extend(["\\x", &hex(&[*byte], true)]),
            }
        }
    }
    text
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} {:?})", self.summary().serial_hex(), self.0.names)
    }
}

#[cfg(test)]
mod tests {
    use openssl::asn1::{Asn1OctetString, Asn1Time};
    use openssl::bn::BigNum;
    use openssl::x509::{X509Extension, X509NameBuilder};

    use super::*;
    use crate::crypto::{PrivateKey, csr, sct};
    use crate::model::KeySpec;

    fn extension(oid: &str, value: &[u8]) -> X509Extension {
        let value = Asn1OctetString::new_from_bytes(value).unwrap();
        X509Extension::new_from_der(&Asn1Object::from_str(oid).unwrap(), false, &value).unwrap()
    }

    fn issue(serial: &[u8], names: &[Identifier], extensions: Vec<X509Extension>) -> Certificate {
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        let mut issuer = X509NameBuilder::new().unwrap();
        issuer.append_entry_by_nid(Nid::COUNTRYNAME, "DE").unwrap();
        issuer.append_entry_by_nid(Nid::ORGANIZATIONNAME, "Bücher & Co").unwrap();
        issuer.append_entry_by_nid(Nid::COMMONNAME, "Test CA").unwrap();
        let mut x509 = X509::builder().unwrap();
        x509.set_version(2).unwrap();
        x509.set_serial_number(&BigNum::from_slice(serial).unwrap().to_asn1_integer().unwrap()).unwrap();
        x509.set_issuer_name(&issuer.build()).unwrap();
        x509.set_pubkey(key.pkey()).unwrap();
        x509.set_not_before(&Asn1Time::from_unix(1_600_000_000).unwrap()).unwrap();
        x509.set_not_after(&Asn1Time::from_str_x509("99991231235959Z").unwrap()).unwrap();
        if !names.is_empty() {
            let names = csr::alt_names(names).build(&x509.x509v3_context(None, None)).unwrap();
            x509.append_extension(names).unwrap();
        }
        for extension in extensions {
            x509.append_extension(extension).unwrap();
        }
        x509.sign(key.pkey(), MessageDigest::sha256()).unwrap();
        Certificate::from_der(&x509.build().to_der().unwrap()).unwrap()
    }

    fn with_names(names: &[&str]) -> Certificate {
        let identifier = |name: &&str| match name.parse() {
            Ok(ip) => Identifier::Ip(ip),
            Err(_) => Identifier::Dns((*name).to_owned()),
        };
        issue(&[1], &names.iter().map(identifier).collect::<Vec<_>>(), Vec::new())
    }

    /// Authority key identifier and serial number of RFC 9773 section 4.1.
    #[test]
    fn ari_identifier_of_rfc_9773() {
        let key_id = [
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01,
            0xc8, 0xd4,
        ];
        let value = [&[0x30, 0x16, 0x80, 0x14], &key_id[..]].concat();
        let certificate = issue(&[0x87, 0x65, 0x43, 0x21], &[], vec![extension("2.5.29.35", &value)]);
        assert_eq!(certificate.summary().ari_cert_id().unwrap(), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
        assert_eq!(certificate.summary().serial_hex(), "87654321");
        assert_eq!(with_names(&["a.org"]).summary().ari_cert_id(), None);
    }

    #[test]
    fn facts_of_a_certificate() {
        let access = b"\x30\x2c\
            \x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x01\x86\x08http://o\
            \x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x08http://i";
        let extensions = vec![extension("1.3.6.1.5.5.7.1.1", access), extension(TLS_FEATURE, &MUST_STAPLE)];
        let certificate = issue(&[0x0a, 0xbc], &[Identifier::Dns("A.example.org".to_owned())], extensions);
        assert_eq!(certificate.names(), ["a.example.org"]);
        assert_eq!(certificate.summary().serial_hex(), "0ABC");
        assert_eq!(certificate.not_before().as_second(), 1_600_000_000);
        assert_eq!(certificate.not_after().as_second(), Timestamp::MAX.as_second());
        assert_eq!(certificate.summary().issuer_name(), "/C=DE/O=B\\xC3\\xBCcher & Co/CN=Test CA");
        assert_eq!(certificate.ocsp_uri().as_deref(), Some("http://o"));
        assert_eq!(certificate.summary().issuer_uri(), Some("http://i"));
        assert!(certificate.must_staple());
        let digest = hash(MessageDigest::sha256(), certificate.to_der()).unwrap();
        assert_eq!(certificate.summary().sha256_fingerprint(), hex(&digest, false));
        assert_eq!(certificate.sha1()[..], *hash(MessageDigest::sha1(), certificate.to_der()).unwrap());
    }

    #[test]
    fn signatures_of_logs_are_read_from_the_certificate() {
        let certificate = issue(&[1], &[], vec![extension(SCT_LIST, &sct::sample())]);
        assert_eq!(certificate.scts(), Sct::read_list(&sct::sample()));
        assert_eq!((certificate.scts().len(), with_names(&["a.org"]).scts().len()), (2, 0));
    }

    #[test]
    fn senseless_extensions_are_as_good_as_none() {
        let oids = ["2.5.29.17", "2.5.29.35", "1.3.6.1.5.5.7.1.1", TLS_FEATURE, SCT_LIST];
        for value in [&b""[..], b"\x30", b"\x30\x00", b"\x30\x84\xff\xff\xff\xff", b"\x04\x03abc", &[0xff; 40]] {
            let certificate = issue(&[1], &[], oids.iter().map(|oid| extension(oid, value)).collect());
            assert!(certificate.names().is_empty() && !certificate.must_staple(), "{value:?}");
            assert!(certificate.scts().is_empty(), "{value:?}");
            let summary = certificate.summary();
            assert_eq!((summary.issuer_uri(), certificate.ocsp_uri(), summary.ari_cert_id()), (None, None, None));
        }
    }

    #[test]
    fn names_have_no_control_characters() {
        let certificate = issue(&[1], &[Identifier::Dns("*.b\u{1b}[2Jtest.org".to_owned())], Vec::new());
        assert_eq!(certificate.names(), ["*.b?[2jtest.org"]);
    }

    #[test]
    fn covers_names_wildcards_and_addresses() {
        let certificate = with_names(&["Example.org", "*.Example.org", "192.0.2.1", "2001:db8::1", "*.0.2.9"]);
        let rows = [
            ("example.org", true),
            ("www.example.org", true),
            ("*.example.org", true),
            ("a.b.example.org", false),
            ("example.com", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("1.0.2.9", false),
            ("2001:DB8:0:0::1", true),
        ];
        for (name, expected) in rows {
            assert_eq!(certificate.covers(&DomainName::parse(name).unwrap()), expected, "{name}");
        }
        // A DNS name is no address, and an IPv4 address is not the IPv6 address that it is mapped to.
        let texts = ["192.0.2.1", "2001:db8::1"].map(|name| Identifier::Dns(name.to_owned()));
        let mapped = Identifier::Ip("::ffff:192.0.2.1".parse().unwrap());
        let certificate = issue(&[1], &[&texts[..], &[mapped]].concat(), Vec::new());
        for (name, expected) in [("192.0.2.1", false), ("2001:db8::1", false), ("::ffff:c000:201", true)] {
            assert_eq!(certificate.covers(&DomainName::parse(name).unwrap()), expected, "{name}");
        }
        let certificate = with_names(&["www.example.org"]);
        assert!(!certificate.covers(&DomainName::parse("*.example.org").unwrap()));
    }

    #[test]
    fn pem_is_what_openssl_writes() {
        let certificate = with_names(&["a.org"]);
        let expected = certificate.x509().unwrap().to_pem().unwrap();
        assert_eq!(certificate.to_pem().as_bytes(), expected);
        assert!(Certificate::from_pem(&expected).unwrap() == certificate);
    }

    #[test]
    fn any_bytes_are_an_error_and_no_panic() {
        let der = with_names(&["a.org"]).to_der().to_vec();
        for position in 0..der.len() {
            let mut bytes = der.clone();
            bytes[position] ^= 0x55;
            let _ = Certificate::from_der(&bytes).map(|certificate| certificate.summary().serial_hex());
            assert!(Certificate::from_der(&der[..position]).is_err());
        }
    }
}
