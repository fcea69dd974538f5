//! Tests of renewals at several CAs, and of many at one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;

use crate::cancel::Cancel;
use crate::clock::Clock as _;
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::model::outside::plain;
use crate::model::{Authorities, Job, ManagedDomain};
use crate::renewals::Renewals;
use crate::sets::Advice;
use crate::store::{Aspect, Group, Store};
use crate::testing::ca::{FakeCa, Fault, Operation, answer, problem, with_header};
use crate::testing::{TestServer, declared, host, logged, p256, watch_log};

const A: &str = FakeCa::DIRECTORY;
const B: &str = "https://ca.test/directory/2";

/// An HTTP client for two CAs, which are one CA behind two URLs.
#[derive(Default)]
struct Way {
    ca: Option<Arc<FakeCa>>,
    down: Mutex<Vec<&'static str>>,
    asked: Mutex<String>,
    requests: AtomicUsize,
    most: AtomicUsize,
}

impl HttpClient for Way {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        if let Some(name) = [(A, 'A'), (B, 'B')].iter().find(|(url, _)| *url == request.url).map(|(_, name)| name) {
            self.asked.lock().unwrap().push(*name);
        }
        if self.down.lock().unwrap().contains(&request.url.as_str()) {
            return Err(HttpError::Other { host: "ca.test".to_owned(), reason: "no route".to_owned() });
        }
        let at_once = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(at_once, Ordering::SeqCst);
        let response = self.ca.as_ref().unwrap().send(request);
        self.requests.fetch_sub(1, Ordering::SeqCst);
        response
    }
}

impl Way {
    fn to(server: &TestServer) -> Arc<Self> {
        Arc::new(Self { ca: Some(Arc::clone(&server.ca)), ..Self::default() })
    }

    fn close(&self, urls: &[&'static str]) {
        *self.down.lock().unwrap() = urls.to_vec();
    }

    /// Returns the CAs whose directories were read since the last call.
    fn asked(&self) -> String {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn configure(server: &mut TestServer, urls: &[&str]) {
    for declared in &mut server.declared {
        declared.settings.ca_urls = Some(urls.iter().map(ToString::to_string).collect());
        // Requests for renewal information would count as requests to a CA.
        declared.settings.ari_renewals = Some(false);
    }
}

/// Returns a server whose domain has two CAs, and tries the next one after two failures.
fn two_cas(name: &str) -> (TestServer, Arc<Way>) {
    let mut server = TestServer::new(&[name]);
    configure(&mut server, &[A, B]);
    server.globals.retry_failover = 2;
    let way = Way::to(&server);
    (server, way)
}

fn serve(server: &TestServer, way: &Arc<Way>, is_restart: bool) -> Renewals {
    let way = Arc::clone(way);
    let renewals = server.renewals_with(is_restart, server.moving_clock(), move |_| Some(Arc::clone(&way) as _));
    server.go_on(&renewals);
    renewals
}

fn staged_md(server: &TestServer, name: &str) -> ManagedDomain {
    server.documents.load_json(Group::Staging, name, &Aspect::MdJson).unwrap()
}

fn live_md(server: &TestServer, name: &str) -> ManagedDomain {
    server.documents.load_json(Group::Domains, name, &Aspect::MdJson).unwrap()
}

/// Seconds until the next attempt.
fn wait(server: &TestServer, job: &Job) -> i64 {
    job.next_run.unwrap().duration_since(server.clock.now()).as_secs()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

#[test]
fn after_a_number_of_failures_the_next_ca_issues_the_certificate() {
    watch_log();
    let name = "failover.test";
    let (server, way) = two_cas(name);
    way.close(&[A]);
    let renewals = serve(&server, &way, false);
    assert_eq!((way.asked().as_str(), staged_md(&server, name).ca.url.as_deref()), ("A", Some(A)));
    assert_eq!(server.staged_job(name).ca_url.as_deref(), Some(A));
    server.clock.advance(SignedDuration::from_secs(30));
    server.go_on(&renewals);
    let job = server.staged_job(name);
    assert_eq!((job.errors, way.asked().as_str(), logged("MD0016", name)), (2, "A", 1));
    assert!((25..=30).contains(&wait(&server, &job)), "the other CA has not failed yet");
    // A restarted server waits as long.
    drop(renewals);
    let renewals = serve(&server, &way, true);
    assert_eq!(way.asked(), "");
    server.clock.advance(SignedDuration::from_secs(30));
    server.go_on(&renewals);
    let job = server.staged_job(name);
    assert_eq!((job.finished, job.ca_url.as_deref(), way.asked().as_str()), (true, Some(B), "B"));
    assert_eq!((job.errors, job.authorities), (0, Authorities::default()));
    let staged = staged_md(&server, name);
    assert_eq!((staged.ca.url.as_deref(), staged.ca.urls.clone()), (Some(B), vec![A.to_owned(), B.to_owned()]));
    // A finished renewal is not repeated at the first CA.
    server.clock.advance(days(1));
    server.go_on(&renewals);
    assert_eq!(way.asked(), "");
    drop(renewals);

    let registry = server.start(true);
    let domain = &registry.domains[0];
    assert_eq!((live_md(&server, name).ca.url.as_deref(), domain.md.ca.url.as_deref()), (Some(B), Some(B)));
    assert!(domain.renew_at(&Advice::default(), server.clock.now()) > server.clock.now() + days(50));
    assert_eq!(domain.md.ca.account.as_deref(), Some("ACME-ca.test-0001"), "each CA has its account");
    // The next renewal begins with the first CA again.
    way.close(&[]);
    server.clock.advance(days(80));
    drop(serve(&server, &way, true));
    assert_eq!((way.asked().as_str(), staged_md(&server, name).ca.url.as_deref()), ("A", Some(A)));
    server.ca.check();
}

#[test]
fn the_state_at_one_ca_survives_the_failures_of_another() {
    let name = "survives.test";
    let (server, way) = two_cas(name);
    let refusal = with_header(answer(503, "text/html", ""), "Retry-After", "7200");
    server.ca.fail_times(Operation::NewOrder, 2, Fault::Answer(refusal));
    let renewals = serve(&server, &way, false);
    assert!(wait(&server, &server.staged_job(name)) > 7000, "it is the first CA's turn still");
    server.clock.advance(SignedDuration::from_hours(2));
    server.go_on(&renewals);
    let job = server.staged_job(name);
    assert!(job.errors == 2 && job.retry_after.is_none() && wait(&server, &job) <= 30, "the second said nothing");
    way.close(&[B]);
    for _ in 0..2 {
        server.clock.advance(SignedDuration::from_secs(30));
        server.go_on(&renewals);
    }
    assert_eq!(way.asked(), "AABB");
    let job = server.staged_job(name);
    // Back at the first CA, its Retry-After still counts.
    assert_eq!(job.errors, 4);
    assert!(job.retry_after.is_some() && wait(&server, &job) > 7000, "{job:?}");
    // A start of the server changes nothing about that.
    drop(renewals);
    let renewals = serve(&server, &way, false);
    assert_eq!((way.asked().as_str(), server.staged_job(name).errors), ("", 0));
    server.clock.advance(SignedDuration::from_hours(2));
    server.go_on(&renewals);
    assert_eq!((way.asked().as_str(), server.staged_job(name).finished), ("A", true));
}

#[test]
fn a_retry_after_of_days_leads_to_the_next_ca() {
    for (urls, asked) in [(&[A, B][..], "AB"), (&[A][..], "A")] {
        let (mut server, way) = two_cas("patience.test");
        configure(&mut server, urls);
        let refusal = with_header(problem(429, "rateLimited", "too many"), "Retry-After", "200000");
        server.ca.fail(Operation::NewOrder, Fault::Answer(refusal));
        let renewals = serve(&server, &way, false);
        server.clock.advance(SignedDuration::from_secs(30));
        server.go_on(&renewals);
        assert_eq!(way.asked(), asked);
        server.clock.advance(SignedDuration::from_secs(200_000));
        server.go_on(&renewals);
        assert!(server.staged_job("patience.test").finished);
    }
}

#[test]
fn a_retry_after_takes_a_third_of_what_is_left_of_the_certificate_and_then_the_next_ca_has_its_turn() {
    let later = |answer, seconds: i64| with_header(answer, "Retry-After", &seconds.to_string());
    let limited = |seconds| (Operation::NewOrder, Fault::Answer(later(problem(429, "rateLimited", "x"), seconds)));
    let busy = |seconds| (Operation::Directory, Fault::Answer(later(answer(503, "text/html", ""), seconds)));
    let slow: fn(&mut Response) = |answer| answer.headers.push(("Retry-After".to_owned(), "7200".to_owned()));
    const HOUR: i64 = 3600;
    // Seconds that are left of the certificate, and the fault; the wait where there is one CA, and who is asked where there are two
    let rows = [
        (240 * HOUR, limited(24 * HOUR), 24 * HOUR, "A"),
        (240 * HOUR, limited(30 * HOUR), 30 * HOUR, "AB"),
        (240 * HOUR, limited(100 * HOUR), 80 * HOUR, "AB"),
        (9 * HOUR, limited(2 * HOUR), 2 * HOUR, "A"),
        (9 * HOUR, limited(4 * HOUR), 3 * HOUR, "AB"),
        (9 * HOUR, limited(168 * HOUR), 3 * HOUR, "AB"),
        (3 * HOUR, busy(2 * HOUR), HOUR, "AB"),
        (3 * HOUR, (Operation::Finalize, Fault::Alter(slow)), HOUR, "AB"),
        (120, limited(2 * HOUR), 60, "AB"),
        (-HOUR, limited(2 * HOUR), 60, "AB"),
    ];
    for (left, (operation, fault), pause, asked) in rows {
        for urls in [&[A][..], &[A, B]] {
            let name = "third.test";
            let (mut server, way) = with_certificate(name);
            configure(&mut server, urls);
            server.globals.retry_delay = SignedDuration::from_secs(1);
            let end = server.start(true).domains[0].own_certificates().next().unwrap().validity().1;
            server.clock.advance(end.duration_since(server.clock.now()) - SignedDuration::from_secs(left));
            server.ca.behave(|ca| ca.processing_reads = 1);
            server.ca.fail(operation, fault.clone());
            let renewals = serve(&server, &way, true);
            let context = format!("{left} {operation:?} {fault:?} {urls:?}");
            let job = server.staged_job(name);
            if urls.len() == 1 || asked == "A" {
                assert!((pause - 10..=pause).contains(&wait(&server, &job)), "{context}: {}", wait(&server, &job));
            } else {
                assert!(wait(&server, &job) <= 1, "{context}: {}", wait(&server, &job));
                server.clock.advance(SignedDuration::from_secs(2));
                server.go_on(&renewals);
                assert_eq!((way.asked().as_str(), server.staged_job(name).finished), (asked, true), "{context}");
            }
        }
    }
}

#[test]
fn a_pause_of_the_ca_takes_a_third_of_what_is_left_of_each_certificate_that_waits() {
    let name = "short.third.test";
    let (mut server, way) = with_certificate(name);
    server.clock.advance(days(90) - SignedDuration::from_hours(3));
    server.declared.insert(0, declared(&["new.third.test"]));
    server.hosts.insert(0, host("new.third.test"));
    configure(&mut server, &[A]);
    let refusal = with_header(answer(503, "text/html", ""), "Retry-After", "86400");
    server.ca.fail(Operation::Directory, Fault::Answer(refusal));
    let renewals = serve(&server, &way, true);
    // A domain without a certificate has to wait as long as the CA wants.
    let waits = |name| wait(&server, &server.staged_job(name));
    assert!((86_300..=86_400).contains(&waits("new.third.test")), "{}", waits("new.third.test"));
    assert!((3500..=3600).contains(&waits(name)), "{}", waits(name));
    server.clock.advance(SignedDuration::from_secs(3400));
    server.go_on(&renewals);
    assert_eq!(way.asked(), "A", "not yet");
    server.clock.advance(SignedDuration::from_secs(200));
    server.go_on(&renewals);
    assert_eq!((way.asked().as_str(), server.staged_job(name).finished), ("A", true));
    assert!(!server.staged_job("new.third.test").finished);
}

#[test]
fn domains_whose_certificates_have_ended_do_not_ask_a_ca_that_refuses_all() {
    let name = "ended.third.test";
    let (server, way) = with_certificate(name);
    server.clock.advance(days(91));
    let refusal = with_header(answer(503, "text/html", ""), "Retry-After", "7200");
    server.ca.fail_times(Operation::Directory, 2, Fault::Answer(refusal));
    let renewals = serve(&server, &way, true);
    for _ in 0..110 {
        server.clock.advance(SignedDuration::from_mins(1));
        server.go_on(&renewals);
    }
    assert_eq!(way.asked(), "A");
    server.clock.advance(SignedDuration::from_mins(20));
    server.go_on(&renewals);
    assert_eq!(way.asked(), "A");
}

#[test]
fn an_order_at_one_ca_is_cleaned_up_before_the_next_ca() {
    let name = "turn.test";
    let (mut server, way) = two_cas(name);
    server.globals.retry_failover = 1;
    server.ca.fail(Operation::Challenge, Fault::Drop);
    let renewals = serve(&server, &way, false);
    let order = || server.text(Group::Staging, name, &Aspect::OrderJson);
    assert!(order().unwrap().contains("http-01:turn.test"));
    let first = server.text(Group::Staging, name, &Aspect::PrivateKey(p256()));
    server.clock.advance(SignedDuration::from_secs(30));
    server.go_on(&renewals);
    assert_eq!((way.asked().as_str(), server.ca.ordered().len(), order()), ("AB", 2, None));
    assert!(server.staged_job(name).finished && server.store.list(Group::Challenges).unwrap().is_empty());
    assert_ne!(server.text(Group::Staging, name, &Aspect::PrivateKey(p256())), first);
}

#[test]
fn a_single_ca_is_asked_after_any_number_of_failures() {
    let name = "alone.test";
    let (mut server, way) = two_cas(name);
    configure(&mut server, &[A]);
    way.close(&[A]);
    let renewals = serve(&server, &way, false);
    for _ in 0..3 {
        server.clock.advance(SignedDuration::from_hours(1));
        server.go_on(&renewals);
    }
    let job = server.staged_job(name);
    assert_eq!((job.errors, job.ca_url, job.authorities), (4, None, Authorities::default()));
    assert_eq!(way.asked(), "AAAA");
}

/// Returns a server whose domain serves a certificate of the first CA.
fn with_certificate(name: &str) -> (TestServer, Arc<Way>) {
    let mut server = TestServer::new(&[name]);
    configure(&mut server, &[A]);
    let way = Way::to(&server);
    drop(serve(&server, &way, false));
    server.start(true);
    way.asked();
    assert_eq!(live_md(&server, name).ca.url.as_deref(), Some(A));
    (server, way)
}

#[test]
fn another_ca_in_the_configuration_renews_now_while_the_old_certificate_serves() {
    watch_log();
    let name = "changed-ca.test";
    let (mut server, way) = with_certificate(name);
    configure(&mut server, &[B]);
    let chain = || server.text(Group::Domains, name, &Aspect::Chain(p256())).unwrap();
    let old = chain();
    // The new CA is down at first; after restarts it is still known that the certificate came from the former one.
    way.close(&[B]);
    for _ in 0..2 {
        drop(serve(&server, &way, false));
    }
    assert_eq!((way.asked().as_str(), server.staged_job(name).ca_url.as_deref()), ("BB", Some(B)));
    assert_eq!((chain(), logged("MD0018", name)), (old.clone(), 2));
    let md = live_md(&server, name);
    assert_eq!((md.ca.url.as_deref(), md.ca.urls.clone()), (Some(A), vec![B.to_owned()]));
    way.close(&[]);
    drop(serve(&server, &way, false));
    assert_eq!((server.staged_job(name).finished, chain()), (true, old.clone()));
    let registry = server.start(true);
    let domain = &registry.domains[0];
    assert_ne!(chain(), old);
    assert_eq!(domain.md.ca.url.as_deref(), Some(B));
    assert!(domain.renew_at(&Advice::default(), server.clock.now()) > server.clock.now());
    way.asked();
    drop(serve(&server, &way, true));
    assert_eq!((way.asked().as_str(), logged("MD0018", name)), ("", 3));
}

#[test]
fn a_configuration_with_the_same_ca_renews_nothing() {
    let name = "same-ca.test";
    type Change = fn(&TestServer, &mut ManagedDomain);
    let rows: [(&[&str], Change); 6] = [
        (&[A], |_, _| {}),
        // A second CA is added behind or before the present one.
        (&[A, B], |_, _| {}),
        (&[B, A], |_, _| {}),
        (&["https://CA.test/directory/"], |_, _| {}),
        // The certificate was imported, or comes from an old store.
        (&[B], |_, md| Arc::make_mut(&mut md.ca).url = None),
        (&[B], |_, md| md.ca = Arc::default()),
    ];
    for (index, (urls, change)) in rows.into_iter().enumerate() {
        let (mut server, way) = with_certificate(name);
        let mut md = live_md(&server, name);
        change(&server, &mut md);
        server.documents.save_json(Group::Domains, name, &Aspect::MdJson, &md).unwrap();
        configure(&mut server, urls);
        for is_restart in [true, false] {
            drop(serve(&server, &way, is_restart));
        }
        assert_eq!(way.asked(), "", "{index}");
        assert!(server.store.list(Group::Staging).unwrap().is_empty(), "{index}");
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("d{number}.fleet.test")).collect()
}

/// Returns a server with this number of domains, none of which has a certificate.
fn fleet(count: usize) -> (TestServer, Arc<Way>) {
    let names = names(count);
    let server = TestServer::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let way = Way::to(&server);
    (server, way)
}

fn finished(server: &TestServer, count: usize) -> usize {
    let is_finished = |name: &&String| server.job(Group::Staging, name).is_some_and(|job| job.finished);
    names(count).iter().filter(is_finished).count()
}

fn limited(retry_after: &str) -> Fault {
    Fault::Answer(with_header(problem(429, "rateLimited", "too many"), "Retry-After", retry_after))
}

#[test]
fn a_ca_that_refuses_before_the_order_has_no_requests_of_other_domains() {
    watch_log();
    for operation in [Operation::Directory, Operation::Nonce, Operation::Account] {
        let (server, way) = fleet(40);
        server.ca.fail(operation, limited("600"));
        let renewals = serve(&server, &way, false);
        assert_eq!((way.asked().len(), server.ca.count(operation)), (1, 1));
        server.clock.advance(SignedDuration::from_secs(500));
        assert_eq!(renewals.tick(), 0, "not yet, and no worker is kept for it");
        server.clock.advance(SignedDuration::from_secs(100));
        server.go_on(&renewals);
        // Domains that wait because another one was refused have no error.
        assert_eq!(finished(&server, 40), 40);
        assert_eq!(server.ca.count(Operation::NewOrder), 40);
        server.ca.check();
    }
    assert_eq!(logged("MD0019", "39 domains wait"), 3);
}

#[test]
fn a_limit_of_one_domain_holds_back_that_domain_only() {
    let (server, way) = fleet(61);
    server.ca.fail(Operation::NewOrder, limited("5400"));
    let renewals = serve(&server, &way, false);
    assert_eq!((finished(&server, 61), server.ca.count(Operation::NewOrder)), (60, 61));
    let refused = server.staged_job("d0.fleet.test");
    let waits = refused.next_run.unwrap().duration_since(refused.last_run.unwrap()).as_secs();
    assert!((5400..5500).contains(&waits), "{waits}");
    server.clock.advance(SignedDuration::from_secs(5400));
    server.go_on(&renewals);
    assert_eq!((finished(&server, 61), server.ca.count(Operation::NewOrder)), (61, 62));
}

#[test]
fn three_domains_that_are_refused_alike_hold_back_the_ca_until_the_earliest_retry_after() {
    watch_log();
    let (server, way) = fleet(40);
    ["5400", "3700", "7000"].into_iter().for_each(|seconds| server.ca.fail(Operation::NewOrder, limited(seconds)));
    let renewals = serve(&server, &way, false);
    // Others had begun, but not ordered yet.
    let asked = server.ca.count(Operation::NewOrder);
    assert_eq!(asked, 3);
    let waits = server.staged_job("d39.fleet.test");
    let last = waits.last.clone().unwrap();
    assert_eq!((waits.errors, last.problem.as_deref()), (0, Some("urn:ietf:params:acme:error:rateLimited")));
    assert!(last.detail.unwrap().contains("too many"));
    assert!((3600..=3700).contains(&wait(&server, &waits)));
    // A restarted server waits, too.
    drop(renewals);
    let renewals = serve(&server, &way, false);
    server.clock.advance(SignedDuration::from_secs(3500));
    server.go_on(&renewals);
    assert_eq!(server.ca.count(Operation::NewOrder), asked);
    server.clock.advance(SignedDuration::from_secs(200));
    server.go_on(&renewals);
    assert!(finished(&server, 40) >= 37);
    server.clock.advance(SignedDuration::from_secs(7000));
    server.go_on(&renewals);
    assert_eq!(finished(&server, 40), 40);
}

#[test]
fn domains_of_a_refused_registered_domain_wait_together_and_no_others() {
    watch_log();
    let server =
        TestServer::new(&["a.limited.test", "b.limited.test", "unlimited.test", "c.limited.test", "other.test"]);
    let way = Way::to(&server);
    let text = "too many certificates (50) already issued for \"limited.test\" in the last 168h0m0s";
    let refusal = with_header(problem(429, "rateLimited", text), "Retry-After", "600");
    server.ca.fail(Operation::NewOrder, Fault::Answer(refusal));
    let renewals = serve(&server, &way, false);
    assert_eq!(server.ca.count(Operation::NewOrder), 3);
    let is_finished = |name: &str| server.staged_job(name).finished;
    assert!(is_finished("unlimited.test") && is_finished("other.test"));
    for name in ["b.limited.test", "c.limited.test"] {
        let job = server.staged_job(name);
        assert_eq!(job.errors, 0);
        assert!((500..=600).contains(&wait(&server, &job)), "{name}");
        assert!(job.last.unwrap().detail.unwrap().contains(&plain(text)), "{name}");
    }
    assert_eq!(logged("MD0019", "limited.test"), 1);
    server.clock.advance(SignedDuration::from_secs(600));
    server.go_on(&renewals);
    assert_eq!(server.ca.count(Operation::NewOrder), 6);
}

#[test]
fn pauses_double_without_retry_after() {
    let (server, way) = fleet(5);
    server.ca.fail_times(Operation::Directory, 3, Fault::Answer(answer(429, "text/html", "")));
    let renewals = serve(&server, &way, false);
    for pause in [60, 120, 240] {
        assert_eq!(way.asked().len(), 1);
        server.clock.advance(SignedDuration::from_secs(pause - 10));
        server.go_on(&renewals);
        assert_eq!(way.asked().len(), 0, "{pause}");
        server.clock.advance(SignedDuration::from_secs(10));
        server.go_on(&renewals);
    }
    assert_eq!((way.asked().len(), finished(&server, 5)), (1, 5));
}

#[test]
fn a_rate_limit_of_one_ca_stops_no_domain_at_another() {
    let (mut server, way) = fleet(4);
    for declared in &mut server.declared[2..] {
        declared.settings.ca_urls = Some(vec![B.to_owned()]);
    }
    server.ca.fail(Operation::Directory, Fault::Answer(answer(429, "text/html", "")));
    drop(serve(&server, &way, false));
    assert_eq!(way.asked().matches('B').count(), 1);
    assert_eq!(finished(&server, 4), 2);
}

#[test]
fn the_limit_of_open_orders_is_that_of_the_ca_in_use() {
    let (mut server, way) = fleet(40);
    configure(&mut server, &[A, B]);
    let text = format!(r#"{{"errors":13,"authorities":[{{"url":"{A}","errors":0,"turns":1}}]}}"#);
    names(20).iter().for_each(|name| server.put(Group::Staging, name, &Aspect::JobJson, &text));
    server.ca.behave(|ca| ca.pending_reads = u32::MAX);
    let client = Arc::clone(&way);
    let renewals = server.renewals_with(true, Arc::clone(&server.clock) as _, move |_| Some(Arc::clone(&client) as _));
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        renewals.tick();
        let worker = scope.spawn(|| renewals.work(&cancel));
        // More orders are open than one CA accepts, but each CA is within its limit.
        while server.ca.count(Operation::Challenge) < 40 {
            server.clock.advance(crate::schedule::CaLimits::GAP);
            std::thread::sleep(Duration::from_millis(1));
        }
        cancel.cancel();
        worker.join().unwrap();
    });
    let ca_urls: Vec<_> = names(40).iter().filter_map(|name| server.staged_job(name).ca_url).collect();
    let orders = [A, B].map(|url| ca_urls.iter().filter(|own| *own == url).count());
    assert_eq!((orders, way.asked().len()), ([20, 20], 2));
}

#[test]
fn a_thousand_domains_due_at_once_are_no_storm() {
    const COUNT: usize = 1000;
    let (server, way) = fleet(COUNT);
    let client = Arc::clone(&way);
    let renewals = server.renewals_with(false, Arc::clone(&server.clock) as _, move |_| Some(Arc::clone(&client) as _));
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        while server.ca.count(Operation::Certificate) < COUNT {
            let workers = renewals.tick();
            assert!(workers <= 8);
            for _ in 0..workers {
                scope.spawn(|| renewals.work(&cancel));
            }
            server.clock.advance(SignedDuration::from_millis(50));
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(finished(&server, COUNT), COUNT);
    assert_eq!((server.ca.ordered().len(), server.ca.count(Operation::NewAccount)), (COUNT, 0));
    let most = (way.most.load(Ordering::SeqCst), server.ca.most_open_orders());
    assert!(most.0 <= 8 && most.1 <= crate::schedule::CaLimits::MOST_OPEN, "{most:?}");
    server.ca.check();
}

#[test]
fn renewals_are_spread_by_certificate() {
    let mut delays = Vec::new();
    for number in 0..4 {
        let name = format!("spread{number}.test");
        let (server, way) = with_certificate(&name);
        let renewals = serve(&server, &way, true);
        let due = server.start(true).domains[0].renew_at(&Advice::default(), server.clock.now());
        server.clock.advance(due.duration_since(server.clock.now()) - SignedDuration::from_mins(1));
        let mut minutes = -1;
        while way.asked().is_empty() {
            // A server that is restarted again and again begins at the same time.
            let restarted = serve(&server, &way, true);
            server.go_on(&renewals);
            drop(restarted);
            server.clock.advance(SignedDuration::from_mins(10));
            minutes += 10;
        }
        assert!((0..=12 * 60 + 10).contains(&minutes), "{minutes}");
        delays.push(minutes);
    }
    delays.dedup();
    assert!(delays.len() > 1, "{delays:?}");
}
