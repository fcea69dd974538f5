//! OCSP responses in the store, in the C module's format. Only the signed response is trusted, not the other members of a file.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Held, StapledCertificate};
use crate::acme::PortError;
use crate::crypto::{Revocation, base64url, base64url_decode, read_ocsp_response};
use crate::documents::{Documents, port_error, to_json};
use crate::model::time::gmt;
use crate::ocsp::{self, Fetched, FreshnessError};
use crate::store::{Aspect, Group};

/// The document `ocsp-<sha1>.json`.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// The response: DER in base64url.
    response: String,
    status: String,
    valid: Valid,
}

#[derive(Serialize, Deserialize)]
struct Valid {
    #[serde(with = "gmt")]
    from: Option<Timestamp>,
    #[serde(with = "gmt")]
    until: Option<Timestamp>,
}

/// The response in the store for a certificate.
pub(super) enum Found {
    Nothing,
    Held(Held),
    /// The file or its response cannot be used, for this reason.
    Unusable(String),
}

/// Returns the name of a revocation status in files and on status pages.
#[must_use]
pub fn revocation_name(revocation: Revocation) -> &'static str {
    match revocation {
        Revocation::Good => "good",
        Revocation::Revoked => "revoked",
        Revocation::Unknown => "unknown",
    }
}

/// Reads and checks the response for a certificate. A response that has expired is not stapled, but if it says that the certificate
/// is revoked, that is kept.
pub(super) fn load(documents: &Documents, entry: &StapledCertificate, now: Timestamp) -> Found {
    let aspect = Aspect::OcspJson(entry.sha1);
    let written = documents.store().modified(Group::Ocsp, entry.owner(), &aspect);
    let bytes = match documents.store().load(Group::Ocsp, entry.owner(), &aspect) {
        // A power failure may leave a new file empty.
        Ok(bytes) => bytes.filter(|bytes| !bytes.is_empty()),
        Err(err) => return Found::Unusable(err.to_string()),
    };
    let Some(bytes) = bytes else { return Found::Nothing };
    match check(&bytes, entry, now) {
        Ok(held) => Found::Held(Held { written, ..held }),
        Err(reason) => Found::Unusable(reason),
    }
}

fn check(bytes: &[u8], entry: &StapledCertificate, now: Timestamp) -> Result<Held, String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|err| err.to_string())?;
    let until = stored.valid.from.and(stored.valid.until).ok_or("the file does not state a validity")?;
    let der = base64url_decode(&stored.response).ok_or("the response is not base64url")?;
    // The certificate of the responder that signed it may have been valid only as long as the response.
    let when = now.min(until - SignedDuration::from_secs(1));
    let answer = read_ocsp_response(&der, &entry.leaf, &entry.issuer, when).map_err(|err| err.to_string())?;
    match (ocsp::check(&answer, now), answer.revocation) {
        (_, Revocation::Unknown) => Err("the responder does not know the certificate".to_owned()),
        (Ok(validity), revocation) => Ok(Held {
            response: Some(der.into()),
            revocation: Some(revocation),
            validity: Some(validity),
            written: None,
        }),
        (Err(FreshnessError::Expired(_)), revocation) => {
            let revocation = Some(revocation).filter(|known| *known == Revocation::Revoked);
            Ok(Held { revocation, ..Held::default() })
        }
        (Err(err), _) => Err(err.to_string()),
    }
}

/// Writes a response, and returns it as the process holds it. Written without fsync, as a response that a power failure damages can
/// be fetched again.
pub(super) fn save(
    documents: &Documents,
    entry: &StapledCertificate,
    fetched: Fetched,
) -> (Held, Result<(), PortError>) {
    let (from, until) = fetched.validity;
    let stored = Stored {
        response: base64url(&fetched.der),
        status: revocation_name(fetched.revocation).to_owned(),
        valid: Valid { from: Some(from), until: Some(until) },
    };
    let store = documents.store();
    let owner = entry.owner();
    let aspect = Aspect::OcspJson(entry.sha1);
    let saved =
        to_json(&stored).and_then(|json| store.save_lazily(Group::Ocsp, owner, &aspect, &json).map_err(port_error));
    let written = store.modified(Group::Ocsp, owner, &aspect);
    let response = Some(Arc::from(fetched.der));
    let held = Held { response, revocation: Some(fetched.revocation), validity: Some(fetched.validity), written };
    (held, saved)
}
