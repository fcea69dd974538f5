//! Tests of renewals at several CAs, and of many at one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;

use crate::cancel::Cancel;
use crate::clock::Clock as _;
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::model::{Authorities, Job, ManagedDomain};
use crate::renewals::Renewals;
use crate::sets::Advice;
use crate::store::{Aspect, Group, Store};
use crate::testing::ca::{FakeCa, Fault, Operation, answer, problem, with_header};
use crate::testing::{World, logged, p256, watch_log};

const A: &str = FakeCa::DIRECTORY;
const B: &str = "https://ca.test/directory/2";

/// The way to two CAs, which are one behind two URLs.
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
    fn to(world: &World) -> Arc<Self> {
        Arc::new(Self { ca: Some(Arc::clone(&world.ca)), ..Self::default() })
    }

    fn close(&self, urls: &[&'static str]) {
        *self.down.lock().unwrap() = urls.to_vec();
    }

    /// Which CAs were asked for their directories since the last call.
    fn asked(&self) -> String {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn configure(world: &mut World, urls: &[&str]) {
    for declared in &mut world.declared {
        declared.settings.ca_urls = Some(urls.iter().map(ToString::to_string).collect());
        // What is asked about good certificates is not told apart here.
        declared.settings.ari_renewals = Some(false);
    }
}

/// A domain with two CAs, of which the next one is tried after two failures.
fn two_cas(name: &str) -> (World, Arc<Way>) {
    let mut world = World::new(&[name]);
    configure(&mut world, &[A, B]);
    world.globals.retry_failover = 2;
    let way = Way::to(&world);
    (world, way)
}

fn serve(world: &World, way: &Arc<Way>, is_restart: bool) -> Renewals {
    let way = Arc::clone(way);
    let renewals = world.renewals_with(is_restart, world.moving_clock(), move |_| Some(Arc::clone(&way) as _));
    world.go_on(&renewals);
    renewals
}

fn staged_md(world: &World, name: &str) -> ManagedDomain {
    world.vault.load_json(Group::Staging, name, &Aspect::MdJson).unwrap()
}

fn live_md(world: &World, name: &str) -> ManagedDomain {
    world.vault.load_json(Group::Domains, name, &Aspect::MdJson).unwrap()
}

/// Seconds until the next attempt.
fn wait(world: &World, job: &Job) -> i64 {
    job.next_run.unwrap().duration_since(world.clock.now()).as_secs()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

#[test]
fn after_so_many_failures_the_next_ca_gives_the_certificate() {
    watch_log();
    let name = "failover.test";
    let (world, way) = two_cas(name);
    way.close(&[A]);
    let renewals = serve(&world, &way, false);
    assert_eq!((way.asked().as_str(), staged_md(&world, name).ca.url.as_deref()), ("A", Some(A)));
    assert_eq!(world.staged_job(name).ca_url.as_deref(), Some(A));
    world.clock.advance(SignedDuration::from_secs(30));
    world.go_on(&renewals);
    let job = world.staged_job(name);
    assert_eq!((job.errors, way.asked().as_str(), logged("MD0016", name)), (2, "A", 1));
    assert!((25..=30).contains(&wait(&world, &job)), "the other CA has not failed yet");
    // A server that is restarted waits as long.
    drop(renewals);
    let renewals = serve(&world, &way, true);
    assert_eq!(way.asked(), "");
    world.clock.advance(SignedDuration::from_secs(30));
    world.go_on(&renewals);
    let job = world.staged_job(name);
    assert_eq!((job.finished, job.ca_url.as_deref(), way.asked().as_str()), (true, Some(B), "B"));
    assert_eq!((job.errors, job.authorities), (0, Authorities::default()));
    let staged = staged_md(&world, name);
    assert_eq!((staged.ca.url.as_deref(), staged.ca.urls.clone()), (Some(B), vec![A.to_owned(), B.to_owned()]));
    // What is finished is not done again at the first CA.
    world.clock.advance(days(1));
    world.go_on(&renewals);
    assert_eq!(way.asked(), "");
    drop(renewals);

    let registry = world.start(true);
    let entry = &registry.entries[0];
    assert_eq!((live_md(&world, name).ca.url.as_deref(), entry.md.ca.url.as_deref()), (Some(B), Some(B)));
    assert!(entry.renew_at(&Advice::default(), world.clock.now()) > world.clock.now() + days(50));
    assert_eq!(entry.md.ca.account.as_deref(), Some("ACME-ca.test-0001"), "each CA has its account");
    // The next renewal begins with the first again.
    way.close(&[]);
    world.clock.advance(days(80));
    drop(serve(&world, &way, true));
    assert_eq!((way.asked().as_str(), staged_md(&world, name).ca.url.as_deref()), ("A", Some(A)));
    world.ca.check();
}

#[test]
fn the_state_at_one_ca_survives_the_failures_of_another() {
    let name = "survives.test";
    let (world, way) = two_cas(name);
    let refusal = with_header(answer(503, "text/html", ""), "Retry-After", "7200");
    world.ca.fail_times(Operation::NewOrder, 2, Fault::Answer(refusal));
    let renewals = serve(&world, &way, false);
    assert!(wait(&world, &world.staged_job(name)) > 7000, "it is the first CA's turn still");
    world.clock.advance(SignedDuration::from_hours(2));
    world.go_on(&renewals);
    let job = world.staged_job(name);
    assert!(job.errors == 2 && job.retry_after.is_none() && wait(&world, &job) <= 30, "the second said nothing");
    way.close(&[B]);
    for _ in 0..2 {
        world.clock.advance(SignedDuration::from_secs(30));
        world.go_on(&renewals);
    }
    assert_eq!(way.asked(), "AABB");
    let job = world.staged_job(name);
    // Round again: the first has not forgotten what it said.
    assert_eq!(job.errors, 4);
    assert!(job.retry_after.is_some() && wait(&world, &job) > 7000, "{job:?}");
    // A start of the server makes nothing of it undone.
    drop(renewals);
    let renewals = serve(&world, &way, false);
    assert_eq!((way.asked().as_str(), world.staged_job(name).errors), ("", 0));
    world.clock.advance(SignedDuration::from_hours(2));
    world.go_on(&renewals);
    assert_eq!((way.asked().as_str(), world.staged_job(name).finished), ("A", true));
}

#[test]
fn a_ca_that_wants_to_be_left_alone_for_days_is_not_waited_for_if_there_is_another() {
    for (urls, asked) in [(&[A, B][..], "AB"), (&[A][..], "A")] {
        let (mut world, way) = two_cas("patience.test");
        configure(&mut world, urls);
        let refusal = with_header(problem(429, "rateLimited", "too many"), "Retry-After", "200000");
        world.ca.fail(Operation::NewOrder, Fault::Answer(refusal));
        let renewals = serve(&world, &way, false);
        world.clock.advance(SignedDuration::from_secs(30));
        world.go_on(&renewals);
        assert_eq!(way.asked(), asked);
        world.clock.advance(SignedDuration::from_secs(200_000));
        world.go_on(&renewals);
        assert!(world.staged_job("patience.test").finished);
    }
}

#[test]
fn what_was_begun_at_a_ca_is_taken_away_when_another_has_its_turn() {
    let name = "turn.test";
    let (mut world, way) = two_cas(name);
    world.globals.retry_failover = 1;
    world.ca.fail(Operation::Challenge, Fault::Drop);
    let renewals = serve(&world, &way, false);
    let order = || world.text(Group::Staging, name, &Aspect::OrderJson);
    assert!(order().unwrap().contains("http-01:turn.test"));
    let first = world.text(Group::Staging, name, &Aspect::PrivateKey(p256()));
    world.clock.advance(SignedDuration::from_secs(30));
    world.go_on(&renewals);
    assert_eq!((way.asked().as_str(), world.ca.ordered().len(), order()), ("AB", 2, None));
    assert!(world.staged_job(name).finished && world.store.list(Group::Challenges).unwrap().is_empty());
    assert_ne!(world.text(Group::Staging, name, &Aspect::PrivateKey(p256())), first);
}

#[test]
fn one_ca_alone_is_asked_whatever_the_number_and_reported_as_ever() {
    let name = "alone.test";
    let (mut world, way) = two_cas(name);
    configure(&mut world, &[A]);
    way.close(&[A]);
    let renewals = serve(&world, &way, false);
    for _ in 0..3 {
        world.clock.advance(SignedDuration::from_hours(1));
        world.go_on(&renewals);
    }
    let job = world.staged_job(name);
    assert_eq!((job.errors, job.ca_url, job.authorities), (4, None, Authorities::default()));
    assert_eq!(way.asked(), "AAAA");
}

/// A domain that serves a certificate of the first CA.
fn with_certificate(name: &str) -> (World, Arc<Way>) {
    let mut world = World::new(&[name]);
    configure(&mut world, &[A]);
    let way = Way::to(&world);
    drop(serve(&world, &way, false));
    world.start(true);
    way.asked();
    assert_eq!(live_md(&world, name).ca.url.as_deref(), Some(A));
    (world, way)
}

#[test]
fn another_ca_in_the_configuration_renews_now_while_the_old_certificate_serves() {
    watch_log();
    let name = "changed-ca.test";
    let (mut world, way) = with_certificate(name);
    configure(&mut world, &[B]);
    let chain = || world.text(Group::Domains, name, &Aspect::Chain(p256())).unwrap();
    let old = chain();
    // It is down at first, and not forgotten over restarts that the certificate is of the former one.
    way.close(&[B]);
    for _ in 0..2 {
        drop(serve(&world, &way, false));
    }
    assert_eq!((way.asked().as_str(), world.staged_job(name).ca_url.as_deref()), ("BB", Some(B)));
    assert_eq!((chain(), logged("MD0018", name)), (old.clone(), 2));
    let md = live_md(&world, name);
    assert_eq!((md.ca.url.as_deref(), md.ca.urls.clone()), (Some(A), vec![B.to_owned()]));
    way.close(&[]);
    drop(serve(&world, &way, false));
    assert_eq!((world.staged_job(name).finished, chain()), (true, old.clone()));
    let registry = world.start(true);
    let entry = &registry.entries[0];
    assert_ne!(chain(), old);
    assert_eq!(entry.md.ca.url.as_deref(), Some(B));
    assert!(entry.renew_at(&Advice::default(), world.clock.now()) > world.clock.now());
    way.asked();
    drop(serve(&world, &way, true));
    assert_eq!((way.asked().as_str(), logged("MD0018", name)), ("", 3));
}

#[test]
fn what_is_no_change_of_ca_renews_nothing() {
    let name = "same-ca.test";
    type Change = fn(&World, &mut ManagedDomain);
    let rows: [(&[&str], Change); 6] = [
        (&[A], |_, _| {}),
        // A second one behind or before the present one.
        (&[A, B], |_, _| {}),
        (&[B, A], |_, _| {}),
        (&["https://CA.test/directory/"], |_, _| {}),
        // An imported certificate, or one of an old store.
        (&[B], |_, md| Arc::make_mut(&mut md.ca).url = None),
        (&[B], |_, md| md.ca = Arc::default()),
    ];
    for (index, (urls, change)) in rows.into_iter().enumerate() {
        let (mut world, way) = with_certificate(name);
        let mut md = live_md(&world, name);
        change(&world, &mut md);
        world.vault.save_json(Group::Domains, name, &Aspect::MdJson, &md).unwrap();
        configure(&mut world, urls);
        for is_restart in [true, false] {
            drop(serve(&world, &way, is_restart));
        }
        assert_eq!(way.asked(), "", "{index}");
        assert!(world.store.list(Group::Staging).unwrap().is_empty(), "{index}");
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("d{number}.fleet.test")).collect()
}

/// So many domains, none of which has a certificate.
fn fleet(count: usize) -> (World, Arc<Way>) {
    let names = names(count);
    let world = World::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let way = Way::to(&world);
    (world, way)
}

fn finished(world: &World, count: usize) -> usize {
    let is_finished = |name: &&String| world.job(Group::Staging, name).is_some_and(|job| job.finished);
    names(count).iter().filter(is_finished).count()
}

#[test]
fn a_ca_that_wants_fewer_requests_is_left_alone_by_all_domains() {
    watch_log();
    let (world, way) = fleet(40);
    let refusal = with_header(problem(429, "rateLimited", "too many"), "Retry-After", "600");
    world.ca.fail(Operation::NewOrder, Fault::Answer(refusal));
    let renewals = serve(&world, &way, false);
    assert_eq!((way.asked().len(), world.ca.count(Operation::NewOrder)), (1, 1));
    assert_eq!(logged("MD0019", "39 domains wait"), 1);
    world.clock.advance(SignedDuration::from_secs(500));
    assert_eq!(renewals.tick(), 0, "not yet, and no worker is kept for it");
    world.clock.advance(SignedDuration::from_secs(100));
    world.go_on(&renewals);
    // Those that were not the first to be refused have no error.
    assert_eq!(finished(&world, 40), 40);
    assert_eq!(world.ca.count(Operation::NewOrder), 41);
    world.ca.check();
}

#[test]
fn without_a_moment_from_the_ca_pauses_double() {
    let (world, way) = fleet(5);
    world.ca.fail_times(Operation::Directory, 3, Fault::Answer(answer(429, "text/html", "")));
    let renewals = serve(&world, &way, false);
    for pause in [60, 120, 240] {
        assert_eq!(way.asked().len(), 1);
        world.clock.advance(SignedDuration::from_secs(pause - 10));
        world.go_on(&renewals);
        assert_eq!(way.asked().len(), 0, "{pause}");
        world.clock.advance(SignedDuration::from_secs(10));
        world.go_on(&renewals);
    }
    assert_eq!(way.asked().len(), 5);
}

#[test]
fn a_refusal_of_one_ca_stops_nobody_at_another() {
    let (mut world, way) = fleet(4);
    for declared in &mut world.declared[2..] {
        declared.settings.ca_urls = Some(vec![B.to_owned()]);
    }
    world.ca.fail(Operation::Directory, Fault::Answer(answer(429, "text/html", "")));
    drop(serve(&world, &way, false));
    assert_eq!(way.asked().matches('B').count(), 2);
    assert_eq!(finished(&world, 4), 2);
}

#[test]
fn the_limit_of_open_orders_is_that_of_the_ca_whose_turn_it_is() {
    let (mut world, way) = fleet(40);
    configure(&mut world, &[A, B]);
    let text = format!(r#"{{"errors":13,"authorities":[{{"url":"{A}","errors":0,"turns":1}}]}}"#);
    names(20).iter().for_each(|name| world.put(Group::Staging, name, &Aspect::JobJson, &text));
    world.ca.behave(|ca| ca.pending_reads = u32::MAX);
    let client = Arc::clone(&way);
    let renewals = world.renewals_with(true, Arc::clone(&world.clock) as _, move |_| Some(Arc::clone(&client) as _));
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        renewals.tick();
        let worker = scope.spawn(|| renewals.work(&cancel));
        // More than one CA may have, and not at the limit of either.
        while world.ca.count(Operation::Challenge) < 40 {
            world.clock.advance(crate::schedule::Pace::GAP);
            std::thread::sleep(Duration::from_millis(1));
        }
        cancel.cancel();
        worker.join().unwrap();
    });
    let asked = way.asked();
    assert_eq!((asked.matches('A').count(), asked.matches('B').count()), (20, 20));
}

#[test]
fn a_thousand_domains_due_at_once_are_no_storm() {
    const COUNT: usize = 1000;
    let (world, way) = fleet(COUNT);
    let client = Arc::clone(&way);
    let renewals = world.renewals_with(false, Arc::clone(&world.clock) as _, move |_| Some(Arc::clone(&client) as _));
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        while world.ca.count(Operation::Certificate) < COUNT {
            let workers = renewals.tick();
            assert!(workers <= 8);
            for _ in 0..workers {
                scope.spawn(|| renewals.work(&cancel));
            }
            world.clock.advance(SignedDuration::from_millis(50));
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(finished(&world, COUNT), COUNT);
    assert_eq!((world.ca.ordered().len(), world.ca.count(Operation::NewAccount)), (COUNT, 0));
    let most = (way.most.load(Ordering::SeqCst), world.ca.most_open_orders());
    assert!(most.0 <= 8 && most.1 <= crate::schedule::Pace::MOST_OPEN, "{most:?}");
    world.ca.check();
}

#[test]
fn a_certificate_that_comes_due_is_renewed_at_a_moment_of_its_own() {
    let mut delays = Vec::new();
    for number in 0..4 {
        let name = format!("spread{number}.test");
        let (world, way) = with_certificate(&name);
        let renewals = serve(&world, &way, true);
        let due = world.start(true).entries[0].renew_at(&Advice::default(), world.clock.now());
        world.clock.advance(due.duration_since(world.clock.now()) - SignedDuration::from_mins(1));
        let mut minutes = -1;
        while way.asked().is_empty() {
            // A server that is restarted all the time begins at the same moment.
            let restarted = serve(&world, &way, true);
            world.go_on(&renewals);
            drop(restarted);
            world.clock.advance(SignedDuration::from_mins(10));
            minutes += 10;
        }
        assert!((0..=12 * 60 + 10).contains(&minutes), "{minutes}");
        delays.push(minutes);
    }
    delays.dedup();
    assert!(delays.len() > 1, "{delays:?}");
}
