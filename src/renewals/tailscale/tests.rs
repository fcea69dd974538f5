use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::crypto::self_signed;
use crate::http::{HttpError, Request, Response};
use crate::model::{DomainName, KeySpec, TAILSCALE};
use crate::renewals::queue::Renewals;
use crate::store::{Aspect, Group};
use crate::testing::{TestServer, logged, watch_log};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A tailscaled with its certificate and the requests that it got.
#[derive(Default)]
struct Daemon {
    has: Mutex<Option<(String, Timestamp)>>,
    /// Whether tailscaled is so old that it ignores `min_validity`.
    is_old: bool,
    /// The answer in place of a certificate.
    says: Mutex<Option<(u16, &'static str)>>,
    asked: Mutex<Vec<String>>,
    sockets: Mutex<Vec<Option<PathBuf>>>,
}

/// An HTTP client for tailscaled, with the clock of a server.
struct Way(Arc<Daemon>, Arc<dyn Clock>, &'static str);

impl HttpClient for Way {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let Self(daemon, clock, name) = self;
        let now = clock.now();
        let query = request.url.split_once("?type=pair").unwrap().1.to_owned();
        let validity = query.strip_prefix("&min_validity=").map(|text| text.trim_end_matches('s').parse().unwrap());
        daemon.asked.lock().unwrap().push(query);
        daemon.sockets.lock().unwrap().push(request.socket.clone());
        if let Some((status, text)) = *daemon.says.lock().unwrap() {
            return Ok(Response { status, headers: Vec::new(), body: text.into() });
        }
        let until = now + SignedDuration::from_secs(validity.filter(|_| !daemon.is_old).unwrap_or(0));
        let mut has = daemon.has.lock().unwrap();
        if has.as_ref().is_none_or(|(_, end)| *end < until) {
            *has = Some((pair(name, now), now + DAY * 90));
        }
        let body = has.as_ref().unwrap().0.clone().into();
        Ok(Response { status: 200, headers: Vec::new(), body })
    }
}

/// Key and certificate, valid for 90 days from this time.
fn pair(name: &str, from: Timestamp) -> String {
    let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
    let leaf = self_signed(&key, name, &[DomainName::parse(name).unwrap()], from, 90).unwrap();
    String::from_utf8(key.to_pem().unwrap().to_vec()).unwrap() + &leaf.to_pem()
}

fn server(name: &str) -> TestServer {
    watch_log();
    let mut server = TestServer::without_account(&[name]);
    let settings = &mut server.declared[0].settings;
    (settings.protocol, settings.ca_urls) = (Some(TAILSCALE.into()), None);
    server
}

fn run(server: &TestServer, daemon: &Arc<Daemon>, name: &'static str, is_restart: bool) -> Renewals {
    let way: Arc<dyn HttpClient> = Arc::new(Way(Arc::clone(daemon), Arc::clone(&server.clock) as _, name));
    let renewals = server.renewals_with(is_restart, server.moving_clock(), move |_| Some(Arc::clone(&way)));
    server.go_on(&renewals);
    renewals
}

fn asked(daemon: &Daemon) -> Vec<String> {
    std::mem::take(&mut daemon.asked.lock().unwrap())
}

fn chain_aspect() -> Aspect {
    Aspect::Chain(KeySpec::Ec { curve: "secp256r1".to_owned() })
}

#[test]
fn a_pair_is_staged_activated_and_renewed_in_its_window() {
    let name = "pi.tailnet.test";
    let mut server = server(name);
    let daemon = Arc::default();
    server.declared[0].settings.keys = None;
    drop(run(&server, &daemon, name, false));
    let job = server.staged_job(name);
    assert!(job.finished && job.errors == 0, "{job:?}");
    assert_eq!(asked(&daemon), [""]);
    assert_eq!(daemon.sockets.lock().unwrap()[0], Some(PathBuf::from("/var/run/tailscale/tailscaled.sock")));
    let key = Aspect::PrivateKey(KeySpec::Ec { curve: "secp256r1".to_owned() });
    assert!(server.text(Group::Staging, name, &key).unwrap().contains("ENCRYPTED PRIVATE KEY"));
    assert_eq!(server.text(Group::Staging, name, &Aspect::Chain(KeySpec::Default)), None);

    drop(run(&server, &daemon, name, true));
    let first = server.text(Group::Domains, name, &chain_aspect()).unwrap();
    assert_eq!(asked(&daemon), [""; 0], "nothing is due");
    server.clock.advance(DAY * 70);
    drop(run(&server, &daemon, name, true));
    let queries = asked(&daemon);
    assert_eq!((queries.len(), queries[0].as_str()), (2, ""));
    assert!(queries[1].starts_with("&min_validity=180"), "20 days and a little: {queries:?}");
    drop(run(&server, &daemon, name, true));
    assert_ne!(server.text(Group::Domains, name, &chain_aspect()).unwrap(), first);
    assert_eq!((asked(&daemon), logged("AH10173", name)), (Vec::new(), 0));
}

#[test]
fn a_certificate_that_tailscaled_has_renewed_is_used() {
    let name = "itself.tailnet.test";
    let server = server(name);
    let daemon = Arc::<Daemon>::default();
    drop(run(&server, &daemon, name, false));
    drop(run(&server, &daemon, name, true));
    server.clock.advance(DAY * 70);
    *daemon.has.lock().unwrap() = None;
    asked(&daemon);
    drop(run(&server, &daemon, name, true));
    assert_eq!((asked(&daemon).as_slice(), server.staged_job(name).finished), (&[String::new()][..], true));
}

#[test]
fn failures_are_reported_with_the_remedy_and_tried_again() {
    let name = "denied.tailnet.test";
    let server = server(name);
    let daemon = Arc::<Daemon>::default();
    *daemon.says.lock().unwrap() = Some((403, "cert access denied\n"));
    let renewals = run(&server, &daemon, name, false);
    let job = server.staged_job(name);
    let wait = job.next_run.unwrap().duration_since(server.clock.now());
    assert!(job.errors == 1 && wait < SignedDuration::from_mins(1), "{job:?}");
    let detail = job.last.unwrap().detail.unwrap();
    for words in ["/var/run/tailscale/tailscaled.sock", "403: cert access denied", "TS_PERMIT_CERT_UID=www-data"] {
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!(logged("AH10056", "processing denied.tailnet.test: "), 1);
    *daemon.says.lock().unwrap() = None;
    server.clock.advance(SignedDuration::from_mins(1));
    server.go_on(&renewals);
    assert!(server.staged_job(name).finished);
}

#[test]
fn a_tailscaled_without_min_validity_is_recognized() {
    let name = "old.tailnet.test";
    let server = server(name);
    let daemon = Arc::new(Daemon { is_old: true, ..Daemon::default() });
    drop(run(&server, &daemon, name, false));
    drop(run(&server, &daemon, name, true));
    server.clock.advance(DAY * 70);
    drop(run(&server, &daemon, name, true));
    let detail = server.staged_job(name).last.unwrap().detail.unwrap();
    assert!(detail.contains("the certificate that is in use") && detail.contains("min_validity"), "{detail}");
}

#[test]
fn tailscaled_certifies_a_single_name() {
    let name = "two.tailnet.test";
    let mut server = server(name);
    let daemon = Arc::default();
    server.declared[0].names.push(DomainName::parse("other.tailnet.test").unwrap());
    drop(run(&server, &daemon, name, false));
    let detail = server.staged_job(name).last.unwrap().detail.unwrap();
    assert!(detail.contains("certificates for one name, but the domain has 2"), "{detail}");
    assert_eq!(asked(&daemon), [""; 0]);
}

#[test]
fn the_requested_certificate_is_not_due_at_once() {
    let name = "table.tailnet.test";
    let from = Timestamp::from_second(1_700_000_000).unwrap();
    let chain = Chain::from_pem(pair(name, from).as_bytes()).unwrap();
    let whole = SignedDuration::from_secs(chain.leaf().not_after().duration_since(chain.leaf().not_before()).as_secs());
    let third = Window::Percent(33);
    // Window, days since the certificate was issued, whether it is in use; days of `min_validity`, if any.
    let rows = [
        (third, 10, false, None),
        (third, 70, false, Some(29)),
        (third, 70, true, Some(20)),
        // The certificate is renewed early, as it is revoked, or by force.
        (third, 10, true, Some(80)),
        (Window::Length(DAY * 100), 10, false, Some(81)),
        (Window::Length(DAY * 10), 70, false, None),
        (third, 95, true, Some(0)),
    ];
    for (window, days, is_known, expected) in rows {
        let got = min_validity_of_renewal(chain.leaf(), Some(window), is_known, from + DAY * days);
        let days_of =
            |got: SignedDuration| (got - whole / 100 - SignedDuration::from_secs(1) + DAY / 4).as_hours() / 24;
        assert_eq!(got.map(days_of), expected, "{window:?} {days} {is_known}");
    }
}
