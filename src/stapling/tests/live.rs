//! Tests of stapling for certificates that go live: responses are fetched before, and all processes adopt them.

use super::*;
use crate::crypto::Chain;
use crate::live::LiveSets;
use crate::model::{ActivationMode, State};
use crate::sets::{Pair, PairSet};
use crate::stapling::before_live::Unstapled;

const NAME: &str = "adopt.live.test";

/// Counters that the processes of a server share.
fn counters(count: usize) -> &'static [AtomicU32] {
    (0..count).map(|_| AtomicU32::new(0)).collect::<Vec<_>>().leak()
}

impl Scene {
    /// Returns a scene whose only domain goes live, and is stapled if `is_stapled`.
    fn live(name: &str, must_staple: bool, is_stapled: bool) -> Self {
        let mut scene = Self::new(&[name]);
        let settings = &mut scene.test_server.declared[0].settings;
        settings.activation = Some(ActivationMode::Live);
        (settings.must_staple, settings.stapling) = (Some(must_staple), Some(is_stapled));
        scene
    }

    /// Returns a process of a server whose hosts have placeholders. Processes with the same counters belong to one server.
    fn process(&self, counters: [&'static [AtomicU32]; 2]) -> Server {
        let registry = self.test_server.start_with(true, |setup| {
            let _ = setup.staples(0, None, None);
        });
        registry.live_sets.open(Some(counters[0]));
        registry.stapling.share(counters[1]);
        let responder = Arc::clone(&self.responder);
        registry.stapling.set_client(Box::new(move |_| Arc::clone(&responder) as _));
        self.serve(registry)
    }

    fn pair(&self, name: &str, must_staple: bool) -> Pair {
        let key = PrivateKey::generate(&p256()).unwrap();
        let leaf = self.responder.ca.leaf_of(key.clone(), name, Some(URL), must_staple, self.now());
        self.responder.leaves.lock().unwrap().push(leaf.clone());
        Pair { spec: p256(), key, chain: Chain::from_pem(&self.responder.ca.chain(&leaf)).unwrap() }
    }

    /// Writes a live set and announces it.
    fn publish(&self, server: &Server, pair: &Pair) {
        let text = PairSet { ca_url: None, account_url: None, pairs: vec![pair.clone()] }
            .to_json(self.test_server.store.secret(), NAME)
            .unwrap();
        self.test_server.store.save(Group::Live, NAME, &Aspect::LiveJson, &text).unwrap();
        server.registry.live_sets.announce(0);
    }
}

fn server_counters() -> [&'static [AtomicU32]; 2] {
    [counters(LiveSets::COUNTERS), counters(1 + LIVE_SIGNALS)]
}

#[test]
fn live_certificates_are_adopted_refreshed_and_dropped_when_replaced() {
    let scene = Scene::live(NAME, false, true);
    let shared = server_counters();
    let [fetching, child] = [0, 1].map(|_| scene.process(shared));
    let stapling = [&fetching, &child].map(|server| &server.registry.stapling);
    assert!(!stapling[0].is_empty() && stapling[0].signals_needed() <= shared[1].len());
    fetching.run();
    let first = scene.pair(NAME, false);
    let leaf = first.chain.leaf();
    scene.publish(&fetching, &first);
    assert_eq!(child.staple(leaf), Staple::NotOurs);
    for server in [&fetching, &child] {
        assert!(server.registry.live_sets.current(0).is_some());
        assert_eq!(server.staple(leaf), Staple::None);
    }
    fetching.run();
    assert_eq!((child.registry.stapling.refresh(), child.has_staple(leaf), scene.asked()), (1, true, 1));
    assert_eq!((scene.job(NAME).finished, stapling[1].views().len()), (true, 1));

    // A new response is fetched when the renew window opens.
    scene.test_server.clock.advance(DAY - SignedDuration::from_hours(1));
    fetching.run();
    assert_eq!((scene.asked(), stapling[1].refresh()), (2, 1));

    // The next set takes its place. Handshakes that have begun still find the former response.
    let mut former = first.clone();
    for turn in 0..20 {
        let next = scene.pair(NAME, false);
        scene.publish(&fetching, &next);
        for server in [&fetching, &child] {
            let _ = server.registry.live_sets.current(0);
        }
        fetching.run();
        child.registry.stapling.refresh();
        assert!(child.has_staple(next.chain.leaf()) && child.has_staple(former.chain.leaf()), "{turn}");
        former = next;
        for stapling in stapling {
            let table = stapling.table();
            assert_eq!((table.len(), table.of(NAME).len(), table.iter().count()), (1, 1, 1));
        }
    }
    assert_eq!(child.staple(leaf), Staple::NotOurs);
    assert_eq!((scene.asked(), fetching.work.planned()), (22, 1));

    // Files of replaced certificates are removed like others.
    let files = || scene.test_server.store.ocsp_responses().unwrap().len();
    assert_eq!(files(), 21);
    let past = Timestamp::now().duration_since(scene.now());
    scene.test_server.clock.advance(past + DAY * 8);
    scene.publish(&fetching, &scene.pair(NAME, false));
    let _ = fetching.registry.live_sets.current(0);
    fetching.run();
    assert_eq!(files(), 1);
}

#[test]
fn live_certificates_replace_those_that_the_start_offered_and_no_others() {
    let scene = Scene::live(NAME, false, true);
    let shared = server_counters();
    let offered = scene.pair(NAME, false);
    let own = scene.pair(NAME, false);
    let next = scene.pair(NAME, false);
    let text = |pair: &Pair| String::from_utf8(pair.chain.to_pem()).unwrap();
    scene.test_server.documents.save_key(Group::Domains, NAME, &Aspect::PrivateKey(p256()), &offered.key).unwrap();
    scene.test_server.put(Group::Domains, NAME, &Aspect::Chain(p256()), &text(&offered));
    let registry = scene.test_server.start_with(true, |setup| {
        assert_eq!(setup.usable(setup.domain_of(0).unwrap()), [0]);
        assert!([&offered, &own].iter().all(|pair| setup.prime(0, None, None, text(pair).as_bytes())));
    });
    registry.live_sets.open(Some(shared[0]));
    let server = scene.serve(registry);
    server.run();
    // One worker has done the work of two.
    server.work.worker_lost();
    scene.publish(&server, &next);
    assert!(server.registry.live_sets.current(0).is_some());
    server.run();
    let has_staple = [&offered, &own, &next].map(|pair| server.has_staple(pair.chain.leaf()));
    assert_eq!(has_staple, [true; 3]);
    let views: Vec<_> = server.registry.stapling.views().into_iter().map(|view| view.sha1).collect();
    let is_shown = [&offered, &own, &next].map(|pair| views.contains(&pair.chain.leaf().sha1()));
    assert_eq!(is_shown, [false, true, true]);
}

#[test]
fn a_live_certificate_that_is_revoked_is_renewed() {
    let scene = Scene::live(NAME, false, true);
    let shared = server_counters();
    let server = scene.process(shared);
    let pair = scene.pair(NAME, false);
    scene.publish(&server, &pair);
    let _ = server.registry.live_sets.current(0);
    server.run();
    let entry = &server.registry.domains[0];
    let due = || {
        let due = entry.renew_at(&crate::sets::Advice::default(), scene.now()) <= scene.now();
        (entry.served().state, entry.is_revoked(), due)
    };
    assert_eq!(due(), (Some(State::Complete), false, false));
    scene.set(pair.chain.leaf(), says(|| Said { revocation: Revocation::Revoked, ..Said::default() }));
    scene.test_server.clock.advance(DAY);
    server.run();
    assert_eq!(due(), (Some(State::Complete), true, true));
    assert_eq!(logged("MD0030", &pair.chain.leaf().summary().serial_hex()), 1);
}

#[test]
fn only_certificates_that_have_to_be_stapled_wait_for_a_response() {
    let error = |failures: u32| {
        let reason = "no connection to ocsp.test: refused".to_owned();
        Err(Unstapled::NoResponse { reason, failures })
    };
    // must-staple, stapled, whether the responder answers; the result, number of requests and of stored responses.
    let rows = [
        (false, true, true, Ok(()), 1, true),
        (false, true, false, Ok(()), 1, false),
        (false, false, true, Ok(()), 0, false),
        (true, true, true, Ok(()), 1, true),
        (true, true, false, error(1), 1, false),
        (true, false, true, Err(Unstapled::Off), 0, false),
    ];
    for (must_staple, is_stapled, answers, expected, asked, stored) in rows {
        let scene = Scene::live(NAME, must_staple, is_stapled);
        let server = scene.process(server_counters());
        let pair = scene.pair(NAME, must_staple);
        let leaf = pair.chain.leaf();
        if !answers {
            scene.set(leaf, dead());
        }
        let stapling = &server.registry.stapling;
        let md = &server.registry.domains[0].md;
        let fetch = |cancel: &Cancel| {
            let result = stapling.fetch_before_live(md, std::iter::once(&pair.chain), cancel);
            result.map_err(|lack| match lack {
                Unstapled::NoResponse { reason, failures } => {
                    let reason = reason.split(';').next().unwrap().to_owned();
                    Unstapled::NoResponse { reason, failures }
                }
                other => other,
            })
        };
        let row = format!("{must_staple} {is_stapled} {answers}");
        let cancelled = Cancel::default();
        assert_eq!(fetch(&Cancel::default()), expected, "{row}");
        assert_eq!((scene.asked(), scene.stored(NAME, leaf).is_some()), (asked, stored), "{row}");
        // A stored response is not fetched again; failures in a row are counted until the responder answers.
        if expected == error(1) {
            assert_eq!(fetch(&Cancel::default()), error(2), "{row}");
            cancelled.cancel();
            assert_eq!(fetch(&cancelled), Err(Unstapled::Cancelled), "{row}");
            scene.set(leaf, says(Said::default));
            assert_eq!(fetch(&Cancel::default()), Ok(()), "{row}");
            scene.test_server.store.purge(Group::Ocsp, NAME).unwrap();
            scene.set(leaf, dead());
            assert_eq!(fetch(&Cancel::default()), error(1), "{row}");
        } else if stored {
            assert_eq!((fetch(&Cancel::default()), scene.asked()), (Ok(()), asked), "{row}");
        }
    }
}

#[test]
fn a_set_that_has_to_be_stapled_goes_live_with_its_response_and_is_tried_again_until_then() {
    let name = "must.live.test";
    let scene = Scene::live(name, true, true);
    let shared = server_counters();
    let [worker, child] = [0, 1].map(|_| scene.process(shared));
    let pair = scene.pair(name, true);
    let store = &scene.test_server.store;
    let documents = &scene.test_server.documents;
    let md = &worker.registry.domains[0].md;
    documents.save_key(Group::Staging, name, &Aspect::PrivateKey(p256()), &pair.key).unwrap();
    store.save(Group::Staging, name, &Aspect::Chain(p256()), &pair.chain.to_pem()).unwrap();
    documents.save_json(Group::Staging, name, &Aspect::MdJson, &**md).unwrap();
    let job = Job { finished: true, notified_renewed: true, ..Job::new(name) };
    documents.save_json(Group::Staging, name, &Aspect::JobJson, &job).unwrap();
    let leaf = pair.chain.leaf();
    scene.set(leaf, dead());
    let ca = Arc::clone(&scene.test_server.ca);
    let renewals = Renewals::new(Arc::clone(&worker.registry), Box::new(move |_, _| Arc::clone(&ca) as _), || 0.5);
    let run = |seconds| {
        scene.test_server.clock.advance(SignedDuration::from_secs(seconds));
        scene.test_server.go_on(&renewals);
        (scene.asked(), child.registry.live_sets.current(0).is_some())
    };
    // The wait after the first attempt, and after the second.
    for (seconds, asked) in [(0, 1), (29, 1), (1, 2), (59, 2)] {
        assert_eq!(run(seconds), (asked, false), "{seconds}");
    }
    assert_eq!(logged("MD0037", "must.live.test: what is staged does not go live yet: a certificate needs"), 2);
    scene.set(leaf, says(Said::default));
    assert_eq!(run(1), (3, true));
    assert!(child.has_staple(leaf), "it was in the store before");
    assert_eq!((logged("MD0036", name), logged("MD0037", name)), (1, 2));
}
