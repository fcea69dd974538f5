//! Tests of stapling from a start to the handshake, with a responder in memory.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::thread;

use data_encoding::{BASE64, HEXLOWER};

mod live;

use super::*;
use crate::cancel::Cancel;
use crate::clock::SettableClock;
use crate::crypto::PrivateKey;
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::model::{Status, Window};
use crate::registry::Registry;
use crate::renewals::Renewals;
use crate::store::Store;
use crate::testing::responder::{Said, Signatory, is_about};
use crate::testing::{Call, TestServer, host, logged, p256, watch_log};

const URL: &str = "http://ocsp.test/";
const DAY: SignedDuration = SignedDuration::from_hours(24);

type How = Box<dyn Fn(&Signatory, &Certificate, Timestamp) -> Result<Response, HttpError> + Send + Sync>;

/// A CA with responders at any URL, and the requests that they got.
struct Responder {
    ca: Signatory,
    clock: Arc<SettableClock>,
    leaves: Mutex<Vec<Certificate>>,
    /// Answers by fingerprint of the certificate; `Good` by default.
    how: Mutex<HashMap<Sha1, How>>,
    asked: Mutex<Vec<Sha1>>,
    in_flight: AtomicUsize,
    most: AtomicUsize,
    pause: std::time::Duration,
}

impl HttpClient for Responder {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(in_flight, Ordering::SeqCst);
        let leaf = self.leaf_of(request);
        self.asked.lock().unwrap().push(leaf.sha1());
        thread::sleep(self.pause);
        let now = self.clock.now();
        let how = self.how.lock().unwrap();
        let answer = how
            .get(&leaf.sha1())
            .map_or_else(|| says(Said::default)(&self.ca, &leaf, now), |how| how(&self.ca, &leaf, now));
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

impl Responder {
    fn leaf_of(&self, request: &Request) -> Certificate {
        let text = request.url.rsplit('/').next().unwrap();
        let text = text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let question =
            if request.body.is_empty() { BASE64.decode(text.as_bytes()).unwrap() } else { request.body.clone() };
        self.leaves.lock().unwrap().iter().find(|leaf| is_about(&question, leaf)).expect("one of ours").clone()
    }
}

fn says(said: impl Fn() -> Said<'static> + Send + Sync + 'static) -> How {
    Box::new(move |ca, leaf, now| Ok(answer(200, "application/ocsp-response", &ca.answer(leaf, now, &said()))))
}

fn answer(status: u16, kind: &str, body: &[u8]) -> Response {
    Response { status, headers: vec![("Content-Type".to_owned(), kind.to_owned())], body: body.to_vec() }
}

fn dead() -> How {
    Box::new(|_, _, _| {
        Err(HttpError::Connect { host: "ocsp.test".to_owned(), reason: "refused".to_owned(), status: Status::REFUSED })
    })
}

fn slow() -> How {
    Box::new(|_, _, _| Err(HttpError::TimedOut { host: "ocsp.test".to_owned(), reason: "30 s".to_owned() }))
}

/// Certificates, their CA, and a server that serves them.
struct Scene {
    test_server: TestServer,
    responder: Arc<Responder>,
}

/// A process of a server.
struct Server {
    registry: Arc<Registry>,
    work: StaplingWork,
}

impl Scene {
    fn new(domains: &[&str]) -> Self {
        watch_log();
        let mut test_server = TestServer::new(domains);
        test_server.declared.iter_mut().for_each(|declared| declared.settings.stapling = Some(true));
        test_server.hosts.push(host("static.test"));
        let now = test_server.clock.now();
        let responder = Responder {
            ca: Signatory::ca("Test CA", now),
            clock: Arc::clone(&test_server.clock),
            leaves: Mutex::default(),
            how: Mutex::default(),
            asked: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            pause: std::time::Duration::ZERO,
        };
        Self { test_server, responder: Arc::new(responder) }
    }

    fn leaf(&self, name: &str, url: &str) -> Certificate {
        let leaf = self.responder.ca.leaf(name, Some(url), false, self.test_server.clock.now());
        self.responder.leaves.lock().unwrap().push(leaf.clone());
        leaf
    }

    fn set(&self, leaf: &Certificate, how: How) {
        self.responder.how.lock().unwrap().insert(leaf.sha1(), how);
    }

    fn asked(&self) -> usize {
        self.responder.asked.lock().unwrap().len()
    }

    /// Starts a server with these certificates: one for each domain, and others in the last host.
    fn start(&self, is_restart: bool, leaves: &[&Certificate]) -> Server {
        let last = self.test_server.hosts.len() - 1;
        let registry = self.test_server.start_with(is_restart, |setup| {
            for (position, leaf) in leaves.iter().enumerate() {
                let chain = self.responder.ca.chain(leaf);
                assert!(setup.prime(position.min(last), Some(true), None, &chain));
            }
        });
        self.serve(registry)
    }

    fn serve(&self, registry: Arc<Registry>) -> Server {
        let responder = Arc::clone(&self.responder);
        let client: OcspClient = Box::new(move |_| Arc::clone(&responder) as _);
        Server { work: registry.stapling_work(client, || 0.5), registry }
    }

    fn job(&self, owner: &str) -> Job {
        self.test_server.job(Group::Ocsp, owner).expect("a report")
    }

    fn stored(&self, owner: &str, leaf: &Certificate) -> Option<serde_json::Value> {
        let text = self.test_server.text(Group::Ocsp, owner, &Aspect::OcspJson(leaf.sha1()))?;
        Some(serde_json::from_str(&text).unwrap())
    }

    fn now(&self) -> Timestamp {
        self.test_server.clock.now()
    }
}

impl Server {
    /// Does the work that is due.
    fn run(&self) {
        for _ in 0..self.work.tick().min(1) {
            self.work.work(&Cancel::default());
        }
    }

    fn staple(&self, leaf: &Certificate) -> Staple {
        self.registry.stapling.staple(&leaf.sha1(), self.registry.clock.now())
    }

    fn has_staple(&self, leaf: &Certificate) -> bool {
        matches!(self.staple(leaf), Staple::Response(_))
    }
}

fn kinds(job: &Job) -> Vec<&str> {
    job.log.iter().flat_map(|log| &log.entries).map(|entry| entry.kind.as_str()).collect()
}

#[test]
fn the_answer_of_a_responder_decides_what_is_stapled_and_reported() {
    let scene = Scene::new(&["table.test"]);
    let now = scene.now();
    let forger: &Signatory = Box::leak(Box::new(Signatory::ca("Test CA", now)));
    let delegate: &Signatory = Box::leak(Box::new(scene.responder.ca.responder(true, (-1, 1), now)));
    let http = |status: u16| -> How { Box::new(move |_, _, _| Ok(answer(status, "text/html", b"<p>no</p>"))) };
    let body =
        |body: &'static [u8]| -> How { Box::new(move |_, _, _| Ok(answer(200, "application/ocsp-response", body))) };
    let revocation = |revocation| says(move || Said { revocation, ..Said::default() });
    // Answer, whether it is stapled, and the status code.
    let rows: Vec<(&str, How, bool, i32)> = vec![
        ("good", revocation(Revocation::Good), true, 0),
        ("revoked", revocation(Revocation::Revoked), true, 0),
        ("unknown", revocation(Revocation::Unknown), false, 2),
        ("expired", says(|| Said { this_update: -90, next_update: Some(-30), ..Said::default() }), false, 22),
        ("early", says(|| Said { this_update: 3600, next_update: Some(7200), ..Said::default() }), false, 22),
        ("forged", says(move || Said { signer: Some((forger, true)), ..Said::default() }), false, 22),
        ("delegated", says(move || Said { signer: Some((delegate, true)), ..Said::default() }), true, 0),
        ("without-end", says(|| Said { next_update: None, ..Said::default() }), true, 0),
        ("slow", slow(), false, 70007),
        ("dead", dead(), false, 111),
        ("garbage", body(b"\x30\x03\x0a\x01"), false, 22),
        ("empty", body(b""), false, 22),
        ("500", http(500), false, 20014),
        ("503", http(503), false, 11),
        ("404", http(404), false, 20014),
        ("page", http(200), false, 22),
    ];
    for (name, how, is_stapled, status) in rows {
        let scene =
            Scene { test_server: Scene::new(&["table.test"]).test_server, responder: Arc::clone(&scene.responder) };
        let leaf = scene.leaf(&format!("{name}.test"), URL);
        scene.set(&leaf, how);
        let server = scene.start(false, &[&leaf]);
        assert_eq!(server.staple(&leaf), Staple::None, "{name}");
        server.run();
        assert_eq!(server.has_staple(&leaf), is_stapled, "{name}");
        assert_eq!(scene.stored("table.test", &leaf).is_some(), is_stapled, "{name}");
        let job = scene.job("table.test");
        let last = job.last.as_ref().unwrap();
        assert_eq!((job.errors, last.status.0), (u32::from(!is_stapled), status), "{name}: {last:?}");
        let expected = match (is_stapled, name) {
            (true, _) => vec!["message-ocsp-renewed"],
            (false, _) => vec!["message-ocsp-errored", "ocsp-error"],
        };
        assert_eq!(kinds(&job), expected, "{name}");
        let serial = leaf.summary().serial_hex();
        assert_eq!(
            logged("MD0030", &format!("revoked certificate {serial}")),
            usize::from(name == "revoked"),
            "{name}"
        );
        assert_eq!(logged("MD0031", &format!("for certificate {serial}")), usize::from(!is_stapled), "{name}");
    }
}

#[test]
fn the_file_has_the_c_modules_format_and_a_response_without_next_update_is_kept_half_a_day() {
    let scene = Scene::new(&["format.test"]);
    let leaf = scene.leaf("format.test", URL);
    scene.set(&leaf, says(|| Said { next_update: None, ..Said::default() }));
    let server = scene.start(false, &[&leaf]);
    server.run();
    let stored = scene.stored("format.test", &leaf).unwrap();
    let from = scene.now() - SignedDuration::from_secs(60);
    let until = from + SignedDuration::from_hours(12);
    let Staple::Response(der) = server.staple(&leaf) else { panic!("there is none") };
    let valid = serde_json::json!({ "from": time::format_gmt(from), "until": time::format_gmt(until) });
    let response = crate::crypto::base64url(&der);
    assert_eq!(stored, serde_json::json!({ "response": response, "status": "good", "valid": valid }));
    scene.test_server.clock.advance(SignedDuration::from_hours(12) - SignedDuration::from_secs(61));
    assert!(server.has_staple(&leaf));
    scene.test_server.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(server.staple(&leaf), Staple::None);
}

#[test]
fn a_response_is_fetched_again_when_its_window_opens_and_not_before() {
    let scene = Scene::new(&["window.test"]);
    let leaf = scene.leaf("window.test", URL);
    scene.set(&leaf, says(|| Said { this_update: 0, next_update: Some(100_000), ..Said::default() }));
    let server = scene.start(false, &[&leaf]);
    server.run();
    scene.test_server.clock.advance(SignedDuration::from_secs(66_999));
    server.run();
    assert_eq!(scene.asked(), 1);
    scene.test_server.clock.advance(SignedDuration::from_secs(1));
    scene.set(&leaf, dead());
    server.run();
    assert_eq!((scene.asked(), server.has_staple(&leaf)), (2, true));
    let serial = leaf.summary().serial_hex();
    assert_eq!(logged("MD0031", &format!("{serial}: no connection to ocsp.test: refused; check")), 1);
    assert_eq!(logged("MD0031", "the current one is valid until"), 1);
}

#[test]
fn a_hundred_responses_are_fetched_by_the_configured_number_of_workers() {
    let mut scene = Scene::new(&[]);
    Arc::get_mut(&mut scene.responder).unwrap().pause = std::time::Duration::from_millis(1);
    let leaves: Vec<_> =
        (0..100).map(|n| scene.leaf(&format!("h{n}.test"), &format!("http://r{}.test/", n % 3))).collect();
    let server = scene.start(false, &leaves.iter().collect::<Vec<_>>());
    let workers = server.work.tick();
    assert_eq!((workers, server.work.tick()), (8, 0));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| server.work.work(&Cancel::default()));
        }
    });
    assert!(leaves.iter().all(|leaf| server.has_staple(leaf)));
    assert_eq!(scene.asked(), 100);
    let most = scene.responder.most.load(Ordering::SeqCst);
    assert!((1..=8).contains(&most), "{most}");
    let job = scene.job(OTHER);
    assert_eq!((job.errors, job.finished, job.ocsp_failures.len()), (0, true, 0));
    assert_eq!(kinds(&job), ["message-ocsp-renewed"]);
    assert_eq!(server.work.tick(), 0);
}

#[test]
fn a_dead_responder_is_asked_once_and_delays_no_other() {
    let mut scene = Scene::new(&[]);
    Arc::get_mut(&mut scene.responder).unwrap().pause = std::time::Duration::from_millis(1);
    let at_dead: Vec<_> = (0..50).map(|n| scene.leaf(&format!("d{n}.test"), "http://dead.test/")).collect();
    let at_good: Vec<_> = (0..50).map(|n| scene.leaf(&format!("g{n}.test"), "http://good.test/x")).collect();
    at_dead.iter().for_each(|leaf| scene.set(leaf, dead()));
    let all: Vec<_> = at_dead.iter().chain(&at_good).collect();
    let run = |server: &Server| {
        thread::scope(|scope| {
            for _ in 0..server.work.tick() {
                scope.spawn(|| server.work.work(&Cancel::default()));
            }
        });
    };
    let server = scene.start(false, &all);
    run(&server);
    assert!(at_good.iter().all(|leaf| server.has_staple(leaf)));
    assert_eq!(scene.asked(), 51);
    assert_eq!(scene.job(OTHER).ocsp_failures.len(), 1);
    run(&server);
    assert_eq!(scene.asked(), 51);
    // The wait before the first question after a failure, and before the second.
    for (seconds, asked) in [(29, 51), (1, 52), (59, 52), (1, 53)] {
        scene.test_server.clock.advance(SignedDuration::from_secs(seconds));
        run(&server);
        assert_eq!(scene.asked(), asked, "{seconds}");
    }
    at_dead.iter().for_each(|leaf| scene.set(leaf, says(Said::default)));
    scene.test_server.clock.advance(SignedDuration::from_secs(120));
    run(&server);
    assert!(all.iter().all(|leaf| server.has_staple(leaf)));
}

#[test]
fn other_processes_learn_of_a_response_by_a_signal() {
    let scene = Scene::new(&["a.signal.test"]);
    let leaves = [scene.leaf("a.signal.test", URL), scene.leaf("b.signal.test", "http://other.test")];
    let leaves: Vec<_> = leaves.iter().collect();
    let fetching = scene.start(false, &leaves);
    let other = scene.start(false, &leaves);
    let stapling = [&fetching, &other].map(|server| &server.registry.stapling);
    let signals: Vec<AtomicU32> = (0..stapling[0].signals_needed()).map(|_| AtomicU32::new(0)).collect();
    let signals: &'static [AtomicU32] = Box::leak(signals.into_boxed_slice());
    stapling.iter().for_each(|stapling| stapling.share(signals));
    assert!(!stapling[1].is_stale());
    fetching.run();
    assert!(stapling[1].is_stale());
    assert_eq!(other.staple(leaves[0]), Staple::None);
    assert_eq!((stapling[1].refresh(), stapling[1].refresh(), stapling[0].refresh()), (2, 0, 0));
    assert_eq!(leaves.map_staples(&other), leaves.map_staples(&fetching));
    assert!(leaves.iter().all(|leaf| other.has_staple(leaf)));
    // Only files that have changed are read.
    scene.set(leaves[1], says(|| Said { next_update: Some(999_999), ..Said::default() }));
    scene.test_server.clock.advance(DAY * 2);
    scene.set(leaves[0], dead());
    fetching.run();
    assert_eq!(scene.test_server.store.count(Call::Load, Group::Ocsp, Some(&Aspect::OcspJson(leaves[0].sha1()))), 3);
    assert_eq!((stapling[1].refresh(), other.has_staple(leaves[0]), other.has_staple(leaves[1])), (1, false, true));
}

trait MapStaples {
    fn map_staples(&self, server: &Server) -> Vec<Staple>;
}

impl MapStaples for Vec<&Certificate> {
    fn map_staples(&self, server: &Server) -> Vec<Staple> {
        self.iter().map(|leaf| server.staple(leaf)).collect()
    }
}

#[test]
fn stored_responses_are_used_if_they_verify() {
    let scene = Scene::new(&["stored.test"]);
    let leaf = scene.leaf("stored.test", URL);
    let other = scene.leaf("other.test", URL);
    let now = scene.now();
    let says =
        |about: &Certificate, said: &Said<'_>| crate::crypto::base64url(&scene.responder.ca.answer(about, now, said));
    let good = says(&leaf, &Said::default());
    let file = |response: &str, until: &str| {
        let valid = format!(r#"{{"from":"{}","until":{until}}}"#, time::format_gmt(now - DAY));
        format!(r#"{{"response":"{response}","status":"good","valid":{valid}}}"#)
    };
    let tomorrow = format!("\"{}\"", time::format_gmt(now + DAY));
    let without = format!(r#"{{"response":"{good}","status":"good"}}"#);
    let forger = Signatory::ca("Test CA", now);
    let forged = says(&leaf, &Said { signer: Some((&forger, true)), ..Said::default() });
    let unknown = says(&leaf, &Said { revocation: Revocation::Unknown, ..Said::default() });
    let expired = says(&leaf, &Said { next_update: Some(-1), ..Said::default() });
    // Content of the file, whether it is used, and the log line if not.
    let rows = [
        (file(&good, &tomorrow), true, None),
        (file(&expired, &format!("\"{}\"", time::format_gmt(now))), false, None),
        (file(&expired, &tomorrow), false, None),
        (String::new(), false, None),
        (file(&good, "\"tomorrow\""), false, Some("the file does not state a validity")),
        (file(&good, "null"), false, Some("the file does not state a validity")),
        (without, false, Some("missing field `valid`")),
        (file("!", &tomorrow), false, Some("it is not an OCSP response")),
        (file(&good[..100], &tomorrow), false, Some("it is not an OCSP response")),
        (file(&says(&other, &Said::default()), &tomorrow), false, Some("it is about another certificate")),
        (file(&forged, &tomorrow), false, Some("it is not signed by the issuer")),
        (file(&unknown, &tomorrow), false, Some("the responder does not know the certificate")),
        ("{".to_owned(), false, Some("EOF while parsing")),
    ];
    let serial = leaf.summary().serial_hex();
    let mut reported = 0;
    for (text, is_used, words) in rows {
        scene.test_server.put(Group::Ocsp, "stored.test", &Aspect::OcspJson(leaf.sha1()), &text);
        let server = scene.start(false, &[&leaf]);
        assert_eq!(server.has_staple(&leaf), is_used, "{text}");
        assert_eq!(server.work.tick(), usize::from(!is_used), "{text}");
        reported += usize::from(words.is_some());
        assert_eq!(logged("MD0032", &serial), reported, "{text}");
        words.iter().for_each(|words| assert!(logged("MD0032", words) > 0, "{words}"));
    }
}

#[test]
fn failures_are_remembered_over_a_graceful_restart_and_at_a_start_while_there_is_a_response() {
    for (is_restart, has_response, asks) in
        [(true, false, false), (false, false, true), (true, true, false), (false, true, false)]
    {
        let scene = Scene::new(&["again.test"]);
        let leaf = scene.leaf("again.test", URL);
        if has_response {
            scene.start(false, &[&leaf]).run();
            scene.test_server.clock.advance(DAY - SignedDuration::from_hours(1));
        }
        scene.set(&leaf, dead());
        let server = scene.start(false, &[&leaf]);
        server.run();
        scene.test_server.clock.advance(SignedDuration::from_secs(31));
        server.run();
        let asked = scene.asked();
        let job = scene.job("again.test");
        let sha1 = HEXLOWER.encode(&leaf.sha1());
        assert_eq!((job.errors, job.finished, job.ocsp_failures[&sha1].errors), (2, false, 2));
        assert_eq!(
            (job.next_run, job.last_run),
            (Some(scene.now() + SignedDuration::from_secs(60)), Some(scene.now()))
        );
        let next = scene.start(is_restart, &[&leaf]);
        next.run();
        assert_eq!(
            (scene.asked() > asked, next.has_staple(&leaf)),
            (asks, has_response),
            "{is_restart} {has_response}"
        );
        scene.test_server.clock.advance(SignedDuration::from_secs(61));
        scene.set(&leaf, says(Said::default));
        next.run();
        let job = scene.job("again.test");
        assert_eq!((job.errors, job.finished, job.ocsp_failures.len(), next.has_staple(&leaf)), (0, true, 0, true));
    }
}

#[test]
fn a_response_that_another_process_has_fetched_is_not_fetched_again() {
    let scene = Scene::new(&["twice.test"]);
    let leaf = scene.leaf("twice.test", URL);
    let old = scene.start(false, &[&leaf]);
    let new = scene.start(true, &[&leaf]);
    old.run();
    new.run();
    assert_eq!((scene.asked(), new.has_staple(&leaf)), (1, true));
}

#[test]
fn a_cancel_ends_the_work_and_is_no_failure() {
    let scene = Scene::new(&["cancel.test"]);
    let leaf = scene.leaf("cancel.test", URL);
    scene.set(&leaf, Box::new(|_, _, _| Err(HttpError::Cancelled)));
    let server = scene.start(false, &[&leaf]);
    let cancel = Cancel::default();
    assert_eq!(server.work.tick(), 1);
    cancel.cancel();
    server.work.work(&cancel);
    assert_eq!((scene.asked(), server.work.tick()), (0, 1));
    server.work.worker_lost();
    assert_eq!(server.work.tick(), 1);
    let stapling = &server.registry.stapling;
    assert_eq!((stapling.job("cancel.test"), server.has_staple(&leaf)), (None, false));
}

#[test]
fn a_response_that_cannot_be_stored_is_stapled_by_this_process() {
    let scene = Scene::new(&["full.test"]);
    let leaf = scene.leaf("full.test", URL);
    let server = scene.start(false, &[&leaf]);
    scene.test_server.store.refuse(Call::Write, Group::Ocsp);
    server.run();
    assert!(server.has_staple(&leaf));
    assert!(logged("MD0028", "full.test: an OCSP response is used by one process only, as it cannot be stored") == 1);
}

#[test]
fn old_responses_are_removed_unless_they_are_in_use() {
    let mut scene = Scene::new(&["keep.test"]);
    // The memory store has the system's time.
    scene.test_server.clock.advance(Timestamp::now().duration_since(scene.now()));
    let good = scene.leaf("a.test", URL);
    let revoked = scene.leaf("b.test", URL);
    let old = scene.leaf("c.test", URL);
    scene.set(&revoked, says(|| Said { revocation: Revocation::Revoked, ..Said::default() }));
    scene.set(&good, says(|| Said { next_update: Some(30 * 86_400), ..Said::default() }));
    scene.test_server.globals.keep_response = Window::Percent(200);
    let owners = ["keep.test", OTHER, OTHER];
    let all = [&good, &revoked, &old];
    scene.start(false, &all).run();
    let left = |scene: &Scene| {
        let is_left = |(owner, leaf): (&&str, &&Certificate)| scene.stored(owner, leaf).is_some();
        owners.iter().zip(&all).map(is_left).collect::<Vec<_>>()
    };
    for (days, with, expected) in [
        (13, &all[..0], [true, true, true]),
        (2, &all[..], [true, true, false]),
        (0, &all[..1], [true, false, false]),
        (16, &all[..1], [false, false, false]),
    ] {
        scene.test_server.clock.advance(DAY * days);
        scene.start(true, with);
        assert_eq!(left(&scene), expected, "{days}");
    }
    assert!(scene.test_server.store.exists(Group::Ocsp, "keep.test", &Aspect::JobJson));
}

#[test]
fn only_certificates_with_responder_and_issuer_are_stapled() {
    let scene = Scene::new(&["prime.test"]);
    let ca = &scene.responder.ca;
    let now = scene.now();
    let leaf = scene.leaf("prime.test", URL);
    let plain = ca.leaf("prime.test", None, false, now);
    let must = ca.leaf("prime.test", Some(URL), true, now);
    let in_vain = ca.leaf("prime.test", None, true, now);
    let serial = |leaf: &Certificate| leaf.summary().serial_hex();
    let registry = scene.test_server.start_with(false, |setup| {
        let prime = |position, stapling, pem: &[u8]| setup.prime(position, stapling, Some(true), pem);
        assert!(prime(0, None, &ca.chain(&leaf)) && prime(1, Some(true), &ca.chain(&leaf)));
        assert!(!prime(1, Some(false), &ca.chain(&must)) && !prime(1, None, &ca.chain(&must)));
        assert!(!prime(0, None, &ca.chain(&plain)) && !prime(0, None, &ca.chain(&plain)));
        assert!(!prime(1, Some(true), &ca.chain(&in_vain)));
        assert!(!prime(0, None, must.to_pem().as_bytes()));
        assert!(!prime(0, None, b"-----BEGIN CERTIFICATE-----\nAAAA\n"));
    });
    assert_eq!((registry.stapling.views().len(), registry.stapling.views()[0].owner.as_str()), (1, "prime.test"));
    let no_url = |leaf: &Certificate, owner: &str| {
        logged("", &format!("md[{owner}]: certificate with serial {} has no OCSP responder URL", serial(leaf)))
    };
    assert_eq!((no_url(&plain, "prime.test"), no_url(&in_vain, OTHER)), (1, 1));
    assert_eq!(logged("AH10269", &format!("serial {} is not stapled", serial(&must))), 1);
    assert_eq!(logged("AH10268", "md[prime.test]: a certificate is not stapled"), 1);
    assert_eq!(
        logged("MD0033", &format!("{} needs an OCSP response (must-staple), but its CA has no", serial(&in_vain))),
        1
    );
    assert_eq!(logged("MD0033", &serial(&plain)) + logged("MD0033", &serial(&must)), 0);
    let server = scene.serve(registry);
    server.run();
    assert_eq!((scene.asked(), server.staple(&plain)), (1, Staple::NotOurs));
}

#[test]
fn a_must_staple_domain_without_stapling_is_warned_of_once() {
    let mut scene = Scene::new(&["must.test"]);
    let settings = &mut scene.test_server.declared[0].settings;
    (settings.must_staple, settings.stapling) = (Some(true), Some(false));
    let leaf = scene.responder.ca.leaf("must.test", Some(URL), true, scene.now());
    let registry = scene.test_server.start_with(false, |setup| {
        let chain = scene.responder.ca.chain(&leaf);
        assert!((0..2).all(|_| !setup.prime(0, Some(true), None, &chain)));
    });
    assert!(registry.stapling.is_empty());
    let words = format!("md[must.test]: certificate {} needs an OCSP response", leaf.summary().serial_hex());
    assert_eq!((logged("MD0033", &words), logged("MD0033", "set 'MDStapling on', unless 'SSLUseStapling on'")), (1, 1));
}

#[test]
fn stapling_of_a_section_goes_before_that_of_a_host() {
    let on = Some(true);
    let off = Some(false);
    // MDStapling in the section and the inherited one, if the host has one domain; MDStapling and MDStapleOthers of the host.
    let rows = [
        (None, None, None, false),
        (None, on, None, true),
        (None, on, on, true),
        (None, on, off, false),
        (None, off, on, false),
        (None, None, on, false),
        (Some((on, false)), None, None, true),
        (Some((on, false)), off, off, true),
        (Some((off, true)), on, on, false),
        (Some((None, true)), off, None, true),
        (Some((None, false)), on, None, true),
        (Some((None, false)), on, off, false),
        (Some((None, false)), None, None, false),
    ];
    for (only, stapling, others, expected) in rows {
        assert_eq!(is_stapled(only, stapling, others), expected, "{only:?} {stapling:?} {others:?}");
    }
}

#[test]
fn a_domain_with_a_revoked_certificate_is_renewed_once_with_a_new_key_also_after_restarts() {
    let scene = Scene::new(&["revoked.test"]);
    let name = "revoked.test";
    let key = PrivateKey::generate(&p256()).unwrap();
    let now = scene.now();
    let key_file = Aspect::PrivateKey(p256());
    let chain_file = Aspect::Chain(p256());
    scene.test_server.documents.save_key(Group::Domains, name, &key_file, &key).unwrap();
    let leaf = scene.responder.ca.leaf_of(key, name, Some(URL), false, now);
    scene.responder.leaves.lock().unwrap().push(leaf.clone());
    let chain = String::from_utf8(scene.responder.ca.chain(&leaf)).unwrap();
    scene.test_server.put(Group::Domains, name, &chain_file, &chain);
    let renew_at = |registry: &Registry| {
        let entry = &registry.domains[0];
        (entry.is_revoked(), entry.renew_at(&crate::sets::Advice::default(), scene.now()) <= scene.now())
    };
    let renewals = |server: &Server| {
        let ca = Arc::clone(&scene.test_server.ca);
        Renewals::new(Arc::clone(&server.registry), Box::new(move |_, _| Arc::clone(&ca) as _), || 0.5)
    };

    let server = scene.start(false, &[&leaf]);
    server.run();
    let working = renewals(&server);
    assert_eq!((renew_at(&server.registry), working.tick()), ((false, false), 0));
    scene.set(&leaf, says(|| Said { revocation: Revocation::Revoked, ..Said::default() }));
    scene.test_server.clock.advance(DAY);
    server.run();
    assert_eq!((renew_at(&server.registry), working.tick()), ((true, true), 1));
    let serial = leaf.summary().serial_hex();
    assert_eq!(
        logged("MD0030", &format!("revoked.test: the CA has revoked certificate {serial}: clients refuse it")),
        1
    );

    // The responder is gone and the response has expired; the certificate still counts as revoked.
    scene.set(&leaf, dead());
    scene.test_server.clock.advance(DAY * 8);
    let server = scene.start(true, &[&leaf]);
    server.run();
    assert_eq!((renew_at(&server.registry), server.staple(&leaf)), ((true, true), Staple::None));

    let moving = scene.test_server.start_moving(true, |setup| {
        setup.prime(0, None, None, chain.as_bytes());
    });
    let working = renewals(&scene.serve(moving));
    assert_eq!(working.tick(), 1);
    working.work(&Cancel::default());
    assert!(scene.test_server.staged_job(name).finished);
    assert_eq!(logged("AH10500", name), 1);
    let orders = scene.test_server.ca.ordered().len();
    // The staged set waits for a restart, and no further one is ordered meanwhile.
    for _ in 0..3 {
        scene.test_server.clock.advance(DAY);
        if working.tick() > 0 {
            working.work(&Cancel::default());
        }
    }
    assert_eq!(scene.test_server.ca.ordered().len(), orders);

    let key = || scene.test_server.text(Group::Domains, name, &key_file).unwrap();
    let old = key();
    let server = scene.start(true, &[]);
    assert_eq!((renew_at(&server.registry), key() == old), ((false, false), false));
    assert_ne!(scene.test_server.text(Group::Domains, name, &chain_file).unwrap(), chain);
}
