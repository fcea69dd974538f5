//! Certificates of tailscaled, the daemon of a Tailscale network on the same machine: asks for one through its socket.
//!
//! The daemon is a client of a CA itself. It has a local API, HTTP over a Unix domain socket, that hands out the certificate of
//! the machine's name in the network with the key that it made, and renews them when they are asked for.
#![forbid(unsafe_code)]

mod error;

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

pub use error::{Cause, TailscaleError};

use crate::crypto::{Chain, PrivateKey};
use crate::http::{HttpClient, Request, Response};
use crate::model::{KeySpec, outside};

/// The host name in requests: the daemon refuses others, as a browser might be made to send them.
const HOST: &str = "local-tailscaled.sock";

/// The type of all keys that the daemon makes.
const KEY: &str = "P-256";

/// The longest message of the daemon that is reported, in characters.
const LONGEST_WORDS: usize = 300;

/// Returns the socket that a URL of `MDCertificateAuthority` names; `None` if it is not on this machine.
#[must_use]
pub fn socket_of(url: &str) -> Option<PathBuf> {
    let url = url::Url::parse(url).ok().filter(|url| url.scheme() == "file")?;
    url.to_file_path().ok()
}

/// Asks the daemon for the key and the certificate of `name`. With `min_validity`, the daemon first obtains a new certificate
/// if
/// its own does not last as long, which takes minutes; without, it may begin to do so in the background.
///
/// # Errors
/// If the daemon does not answer, refuses, or gives something else.
pub fn key_and_chain(
    http: &dyn HttpClient,
    socket: &Path,
    name: &str,
    min_validity: Option<SignedDuration>,
    now: Timestamp,
) -> Result<(PrivateKey, Chain), TailscaleError> {
    let failed = |cause| TailscaleError { socket: socket.to_owned(), cause };
    let mut url = format!("http://{HOST}/localapi/v0/cert/{name}?type=pair");
    if let Some(validity) = min_validity {
        url += &format!("&min_validity={}s", validity.as_secs());
    }
    let response = http.send(&Request::get(url).through(socket)).map_err(|err| failed(err.into()))?;
    match response.status {
        200 => read_pair(response).map_err(failed),
        _ => Err(failed(refusal(&response, now))),
    }
}

/// Reads a pair: the key, then the certificate and its issuers, all as PEM.
fn read_pair(response: Response) -> Result<(PrivateKey, Chain), Cause> {
    let body = Zeroizing::new(response.body);
    let key = PrivateKey::from_pem(&body, None).map_err(Cause::Key)?;
    let chain = Chain::from_pem(&body).map_err(Cause::Chain)?;
    chain.check_length().map_err(Cause::Chain)?;
    if !key.fits(chain.leaf()) {
        return Err(Cause::WrongKey);
    }
    if !key.fits_spec(&KeySpec::Ec { curve: KEY.to_owned() }) {
        return Err(Cause::OtherKey(KEY));
    }
    Ok((key, chain))
}

/// Reads the message of a refusal, a line of text.
fn refusal(response: &Response, now: Timestamp) -> Cause {
    let text = String::from_utf8_lossy(&response.body);
    Cause::Refused {
        status: response.status,
        says: outside::text(text.trim()).chars().take(LONGEST_WORDS).collect(),
        retry_after: response.retry_after(now),
    }
}

#[cfg(test)]
mod tests;
