//! OCSP requests and responses (RFC 6960): encoded, parsed and verified.

use openssl::asn1::Asn1GeneralizedTimeRef;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::ocsp::{OcspCertId, OcspCertStatus, OcspFlag, OcspRequest, OcspResponse, OcspResponseStatus};
use openssl::stack::Stack;
use openssl::x509::X509;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use x509_parser::asn1_rs::Tag;

use super::der::{inside, is_der, items};
use super::{Certificate, CryptoError};
use crate::model::Timestamp;

/// The status that a responder gives for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The certificate is not revoked.
    Good,
    /// The certificate is revoked, for good or for a while.
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
}

/// A verified answer: it comes from the issuer or its delegate. Its dates are not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcspAnswer {
    /// The status of the certificate.
    pub revocation: Revocation,
    /// The moment for which the status is known (thisUpdate).
    pub this_update: Timestamp,
    /// The moment by which there is a newer answer (nextUpdate); `None` if there always is one.
    pub next_update: Option<Timestamp>,
    /// When the certificate was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Why bytes are not a verified answer about a certificate.
#[derive(Debug, thiserror::Error)]
pub enum OcspError {
    /// The bytes are not an OCSP response.
    #[error("it is not an OCSP response: {0}")]
    Damaged(String),
    /// The responder refuses to answer.
    #[error("the responder refuses to answer: {0}")]
    Refused(&'static str),
    /// The answer is about another certificate, or names ours by other hashes than the request.
    #[error("it is about another certificate")]
    AnotherCertificate,
    /// The answer is signed neither by the issuer of the certificate nor by a responder that the issuer has delegated and
    /// that is valid now.
    #[error("it is not signed by the issuer of the certificate or by a responder that the issuer has delegated: {0}")]
    Signature(String),
    /// OpenSSL failed at an operation that normally works.
    #[error("OpenSSL: {0}")]
    Library(#[from] ErrorStack),
}

/// The issuer of certificates, parsed once: OpenSSL takes long for a key.
#[derive(Debug)]
pub struct OcspIssuer {
    certificate: Certificate,
    x509: X509,
}

impl OcspIssuer {
    /// Parses the certificate of an issuer.
    ///
    /// # Errors
    /// If OpenSSL cannot read it.
    pub fn new(certificate: &Certificate) -> Result<Self, CryptoError> {
        Ok(Self { certificate: certificate.clone(), x509: certificate.x509()? })
    }

    /// The issuer's certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Encodes a request about one certificate, in DER: without a nonce, as answers are made ahead and cached (RFC 5019 section
/// 2.1.1).
///
/// # Errors
/// If OpenSSL cannot read the certificates.
pub fn ocsp_request(leaf: &Certificate, issuer: &OcspIssuer) -> Result<Vec<u8>, CryptoError> {
    let mut request = OcspRequest::new()?;
    request.add_id(id(leaf, issuer)?)?;
    Ok(request.to_der()?)
}

/// Reads a response, in DER, about a certificate, and verifies that its signer may speak for the issuer and is valid `now`
/// (RFC 6960 section 3.2).
///
/// # Errors
/// See [`OcspError`].
pub fn read_ocsp_response(
    der: &[u8],
    leaf: &Certificate,
    issuer: &OcspIssuer,
    now: Timestamp,
) -> Result<OcspAnswer, OcspError> {
    let response = OcspResponse::from_der(der).map_err(|errors| OcspError::Damaged(reason(&errors)))?;
    if response.status() != OcspResponseStatus::SUCCESSFUL {
        return Err(OcspError::Refused(refusal(response.status())));
    }
    let basic = response.basic().map_err(|errors| OcspError::Damaged(reason(&errors)))?;
    if !basic_der(der).is_some_and(|basic| is_der(der) && is_der(basic)) {
        return Err(OcspError::Damaged("its encoding is not DER, or something follows it".to_owned()));
    }
    let store = trust(&issuer.x509, now)?;
    let mut known = Stack::new()?;
    known.push(issuer.x509.clone())?;
    basic.verify(&known, &store, OcspFlag::empty()).map_err(|errors| OcspError::Signature(reason(&errors)))?;
    let found = basic.find_status(id(leaf, issuer)?.as_ref()).ok_or(OcspError::AnotherCertificate)?;
    let revocation = match found.status {
        OcspCertStatus::GOOD => Revocation::Good,
        OcspCertStatus::REVOKED => Revocation::Revoked,
        _ => Revocation::Unknown,
    };
    Ok(OcspAnswer {
        revocation,
        this_update: moment(found.this_update)?,
        next_update: found.next_update().map(moment).transpose()?,
        revoked_at: found.revocation_time.and_then(|at| moment(at).ok()),
    })
}

/// Returns the BasicOCSPResponse of a successful response (RFC 6960 section 4.2.1).
fn basic_der(der: &[u8]) -> Option<&[u8]> {
    let [_status, bytes] = items(inside(der, Tag::Sequence)?)?;
    let [_kind, basic] = items(inside(bytes.data, Tag::Sequence)?)?;
    Some(basic.data)
}

fn id(leaf: &Certificate, issuer: &OcspIssuer) -> Result<OcspCertId, ErrorStack> {
    OcspCertId::from_cert(MessageDigest::sha1(), leaf.x509()?.as_ref(), &issuer.x509)
}

/// Makes a trust store of the issuer alone, which mostly is not a root.
fn trust(issuer: &X509, now: Timestamp) -> Result<X509Store, ErrorStack> {
    let mut param = X509VerifyParam::new()?;
    param.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    param.set_time(now.as_second());
    let mut store = X509StoreBuilder::new()?;
    store.set_param(&param)?;
    store.add_cert(issuer.clone())?;
    Ok(store.build())
}

fn refusal(status: OcspResponseStatus) -> &'static str {
    match status {
        OcspResponseStatus::MALFORMED_REQUEST => "malformedRequest, it does not understand us",
        OcspResponseStatus::INTERNAL_ERROR => "internalError",
        OcspResponseStatus::TRY_LATER => "tryLater",
        OcspResponseStatus::SIG_REQUIRED => "sigRequired, it wants signed requests",
        OcspResponseStatus::UNAUTHORIZED => "unauthorized, it knows nothing of this certificate",
        _ => "for a reason that is not known",
    }
}

/// Returns OpenSSL's description of the first error.
fn reason(errors: &ErrorStack) -> String {
    errors.errors().iter().find_map(openssl::error::Error::reason).unwrap_or("no reason is known").to_owned()
}

/// Reads a time from its printed form, e.g. `Nov 23 12:00:00 2026 GMT`, which is the only access to it.
fn moment(time: &Asn1GeneralizedTimeRef) -> Result<Timestamp, OcspError> {
    let text = time.to_string();
    jiff::civil::DateTime::strptime("%b %e %H:%M:%S %Y GMT", &text)
        .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC))
        .map(|zoned| zoned.timestamp())
        .map_err(|_| OcspError::Damaged(format!("'{text}' is no time")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::responder::{Said, Signatory, is_about};

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    #[test]
    fn a_request_names_the_certificate_and_has_no_nonce() {
        let ca = Signatory::ca("CA", now());
        let leaf = ca.leaf("a.org", None, false, now());
        let other = ca.leaf("b.org", None, false, now());
        let request = ocsp_request(&leaf, &ca.issuer()).unwrap();
        assert!(is_about(&request, &leaf) && !is_about(&request, &other));
        assert_eq!(request, ocsp_request(&leaf, &ca.issuer()).unwrap());
    }

    #[test]
    fn what_is_said_is_read_with_its_dates() {
        let ca = Signatory::ca("CA", now());
        let leaf = ca.leaf("a.org", None, false, now());
        let rows = [
            (Revocation::Good, -60, Some(3600)),
            (Revocation::Revoked, -60, Some(3600)),
            (Revocation::Unknown, -60, Some(3600)),
            (Revocation::Good, -60, None),
            (Revocation::Good, -9000, Some(-3600)),
            (Revocation::Good, 9000, Some(9001)),
        ];
        for (revocation, this_update, next_update) in rows {
            let said = Said { revocation, this_update, next_update, ..Said::default() };
            let answer = read_ocsp_response(&ca.answer(&leaf, now(), &said), &leaf, &ca.issuer(), now()).unwrap();
            let at = |seconds: i64| now() + jiff::SignedDuration::from_secs(seconds);
            let revoked_at = (revocation == Revocation::Revoked).then(|| at(-3600));
            let this_update = at(this_update);
            let next_update = next_update.map(at);
            assert_eq!(answer, OcspAnswer { revocation, this_update, next_update, revoked_at });
        }
    }

    #[test]
    fn only_the_issuer_and_whom_it_has_named_may_answer() {
        let ca = Signatory::ca("CA", now());
        let other = Signatory::ca("Other", now());
        let namesake = Signatory::ca("CA", now());
        let leaf = ca.leaf("a.org", None, false, now());
        let days = (-1, 1);
        let good = ca.responder(true, days, now());
        let unnamed = ca.responder(false, days, now());
        let past = ca.responder(true, (-3, -1), now());
        let future = ca.responder(true, (1, 3), now());
        let foreign = other.responder(true, days, now());
        let forged = namesake.responder(true, days, now());
        let rows = [
            ("issuer", None, false, true),
            ("issuer, sent along", Some((&ca, true)), false, true),
            ("responder", Some((&good, true)), false, true),
            ("responder, not sent along", Some((&good, false)), false, false),
            ("no responder", Some((&unnamed, true)), false, false),
            ("responder that has expired", Some((&past, true)), false, false),
            ("responder of tomorrow", Some((&future, true)), false, false),
            ("responder of another CA", Some((&foreign, true)), false, false),
            ("responder of a CA of the same name", Some((&forged, true)), false, false),
            ("another CA", Some((&other, true)), false, false),
            ("a CA of the same name", Some((&namesake, true)), false, false),
            ("a signature of something else", None, true, false),
        ];
        for (name, signer, forged, is_good) in rows {
            let said = Said { signer, forged, ..Said::default() };
            let read = read_ocsp_response(&ca.answer(&leaf, now(), &said), &leaf, &ca.issuer(), now());
            match read {
                Ok(_) => assert!(is_good, "{name}"),
                Err(err) => assert!(!is_good && matches!(err, OcspError::Signature(_)), "{name}: {err}"),
            }
        }
    }

    #[test]
    fn a_good_answer_in_another_encoding_is_not_stapled() {
        let ca = Signatory::ca("CA", now());
        let leaf = ca.leaf("a.org", None, false, now());
        let good = ca.answer(&leaf, now(), &Said::default());
        let read = |der: &[u8]| read_ocsp_response(der, &leaf, &ca.issuer(), now());
        assert!(read(&good).is_ok());
        // The tag of the list of responses, after the time of the answer, with the bit for a primitive item: OpenSSL reads it.
        let at = good.windows(2).position(|pair| pair == b"Z0").unwrap() + 1;
        let mut primitive = good.clone();
        primitive[at] = 0x10;
        for other in [primitive, [&good[..], b"garbage"].concat()] {
            assert!(matches!(read(&other), Err(OcspError::Damaged(_))));
        }
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_told_apart() {
        let ca = Signatory::ca("CA", now());
        let leaf = ca.leaf("a.org", None, false, now());
        let other = ca.leaf("b.org", None, false, now());
        let answer = ca.answer(&leaf, now(), &Said::default());
        let refused = |response| ca.answer(&leaf, now(), &Said { response, ..Said::default() });
        let rows = [
            (ca.answer(&other, now(), &Said::default()), "it is about another certificate"),
            (refused(3), "the responder refuses to answer: tryLater"),
            (refused(6), "the responder refuses to answer: unauthorized, it knows nothing of this certificate"),
            (Vec::new(), "it is not an OCSP response: "),
            (b"<html>".to_vec(), "it is not an OCSP response: "),
            (answer[..answer.len() - 1].to_vec(), "it is not an OCSP response: "),
        ];
        for (der, words) in rows {
            let err = read_ocsp_response(&der, &leaf, &ca.issuer(), now()).unwrap_err().to_string();
            assert!(err.starts_with(words), "{err} instead of {words}");
        }
    }
}
