use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::crypto::self_signed;
use crate::http::HttpError;
use crate::model::{DomainName, Status};

const NAME: &str = "pi.chicken.ts.net";
const SOCKET: &str = "/var/run/tailscale/tailscaled.sock";

/// Says one thing, whatever it is asked.
struct Says(Mutex<Option<Result<Response, HttpError>>>, Mutex<Vec<Request>>);

impl HttpClient for Says {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        self.1.lock().unwrap().push(request.clone());
        self.0.lock().unwrap().take().unwrap()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn response(status: u16, body: impl Into<Vec<u8>>) -> Result<Response, HttpError> {
    let headers = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
    Ok(Response { status, headers, body: body.into() })
}

fn ask(says: Result<Response, HttpError>, validity: Option<SignedDuration>) -> (Result<(), TailscaleError>, Request) {
    let http = Says(Mutex::new(Some(says)), Mutex::default());
    let got = key_and_chain(&http, Path::new(SOCKET), NAME, validity, now()).map(|_| ());
    let request = http.1.lock().unwrap().remove(0);
    (got, request)
}

/// PEM of a key, and of a certificate of it.
fn pair(curve: &str) -> (String, String) {
    let key = PrivateKey::generate(&KeySpec::Ec { curve: curve.to_owned() }).unwrap();
    let leaf = self_signed(&key, NAME, &[DomainName::parse(NAME).unwrap()], now(), 90).unwrap();
    (String::from_utf8(key.to_pem().unwrap().to_vec()).unwrap(), leaf.to_pem())
}

#[test]
fn a_request_is_what_the_local_api_takes() {
    let (key, leaf) = pair("P-256");
    let rows = [(None, ""), (Some(SignedDuration::from_hours(24)), "&min_validity=86400s")];
    for (validity, more) in rows {
        let (got, request) = ask(response(200, format!("{key}{leaf}{leaf}")), validity);
        got.unwrap();
        assert_eq!(request.url, format!("http://local-tailscaled.sock/localapi/v0/cert/{NAME}?type=pair{more}"));
        assert_eq!((request.socket, request.headers), (Some(PathBuf::from(SOCKET)), Vec::new()));
    }
}

#[test]
fn urls_name_sockets() {
    let rows = [
        ("file://localhost/var/run/tailscale/tailscaled.sock", Some(SOCKET)),
        ("file:///var/run/tailscale/tailscaled.sock", Some(SOCKET)),
        ("file:///a%20b", Some("/a b")),
        ("file://other.host/run/tailscaled.sock", None),
        ("https://localhost/var/run/tailscale/tailscaled.sock", None),
        (SOCKET, None),
    ];
    for (url, socket) in rows {
        assert_eq!(socket_of(url), socket.map(PathBuf::from), "{url}");
    }
}

#[test]
fn each_failure_names_the_socket_and_what_to_do() {
    let (key, leaf) = pair("P-256");
    let (other, _) = pair("P-256");
    let (long_key, long_leaf) = pair("P-384");
    let socket = |code| Err(HttpError::Socket { path: SOCKET.into(), reason: io::Error::from_raw_os_error(code) });
    let said = |status, text: &str| response(status, format!("{text}\n"));
    let slow = HttpError::TimedOut { host: HOST.to_owned(), reason: "after 600 s".to_owned() };
    // What happens, the result code, words of the sentence, words of the advice.
    let rows = [
        (socket(libc::ENOENT), Status::NOT_FOUND, "No such file", "MDCertificateAuthority names its socket"),
        (socket(libc::EACCES), Status::DENIED, "Permission denied", "the User of the server"),
        (socket(libc::ECONNREFUSED), Status::REFUSED, "Connection refused", "check that tailscaled runs"),
        (Err(slow), Status::TIMED_OUT, "timed out", "the log of tailscaled"),
        (said(403, "cert access denied"), Status::DENIED, "403: cert access denied", "TS_PERMIT_CERT_UID=www-data"),
        (said(403, "invalid localapi request"), Status::DENIED, "403: invalid localapi", "the log of tailscaled"),
        (said(404, "404 page not found"), Status::NOT_FOUND, "404: 404 page", "update it"),
        (said(429, "acme: rate limited"), Status::AGAIN, "429: acme: rate limited", "wants fewer"),
        (
            said(500, "your Tailscale account does not support getting TLS certs"),
            Status::GENERAL,
            "500: your Tailscale account",
            "HTTPS certificates on the DNS page",
        ),
        (
            said(500, "invalid domain \"x\"; must be one of [\"pi.chicken.ts.net\"]"),
            Status::GENERAL,
            "must be one of ['pi.chicken.ts.net']",
            "MDomain and ServerName",
        ),
        (said(500, "no netmap available"), Status::GENERAL, "no netmap", "tailscale up"),
        (said(500, "acme.GetReg: a\nb"), Status::GENERAL, "500: acme.GetReg: a b", "the log of tailscaled"),
        (said(200, ""), Status::INVALID, "the daemon's key cannot be used", "tailscale cert"),
        (said(200, &leaf), Status::INVALID, "the daemon's key cannot be used", "tailscale cert"),
        (said(200, &key), Status::INVALID, "it contains no certificate", "tailscale cert"),
        (said(200, &format!("{key}{}", &leaf[..300])), Status::INVALID, "cannot be used", "tailscale cert"),
        (said(200, &format!("{other}{leaf}")), Status::INVALID, "do not match", "tailscale cert"),
        (said(200, &format!("{long_key}{long_leaf}")), Status::INVALID, "not of the type P-256", "newer version"),
    ];
    for (says, status, words, advice) in rows {
        let err = ask(says, None).0.unwrap_err();
        let text = err.to_string();
        assert!(text.starts_with("no certificate from tailscaled at /var/run/tailscale/tailscaled.sock: "), "{text}");
        assert!(text.contains(words), "{text}");
        assert_eq!(err.status(), status, "{text}");
        let told = err.advice().unwrap();
        assert!(told.contains(advice), "{text}: {told}");
        assert!(!err.is_cancelled() && err.retry_after().is_none(), "{text}");
    }
}

#[test]
fn a_limit_of_the_ca_behind_it_says_when_to_come_back() {
    let headers = vec![("Retry-After".to_owned(), "3600".to_owned())];
    let (got, _) = ask(Ok(Response { status: 429, headers, body: b"rate limited".to_vec() }), None);
    assert_eq!(got.unwrap_err().retry_after(), Some(now() + SignedDuration::from_hours(1)));
    assert!(ask(Err(HttpError::Cancelled), None).0.unwrap_err().is_cancelled());
}
