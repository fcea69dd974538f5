//! The challenge type of the next run, after one that failed.

use super::*;
use crate::model::ChallengeRecord;
use crate::testing::ca::Behaviour;
use crate::testing::{logged, watch_log};

const ALPN: ChallengeType = ChallengeType::TlsAlpn01;
const HTTP: ChallengeType = ChallengeType::Http01;
const DNS: ChallengeType = ChallengeType::Dns01;

/// A validation that finds this problem for names of these types.
type Fails = fn(name: &str, kind: &str) -> Option<(&'static str, &'static str)>;

/// With a load balancer in front that ends TLS, tls-alpn-01 never works.
const BALANCER: Fails = |_, kind| (kind == "tls-alpn-01").then_some(("tls", "no protocol was selected"));

/// A scene whose CA offers tls-alpn-01 beside http-01.
fn scene(names: &[&str], fails: Fails) -> Scene {
    let scene = Scene::new(names);
    scene.ca.behave(|ca| (ca.more, ca.fails) = (vec!["tls-alpn-01"], fails));
    scene
}

impl Scene {
    fn behaves(self, change: impl FnOnce(&mut Behaviour)) -> Self {
        self.ca.behave(change);
        self
    }

    /// Runs once. Returns the challenges that were set up, and the error if there is one.
    fn attempt(&self) -> (Vec<String>, Option<AcmeError>) {
        let before = self.publisher.0.lock().unwrap().calls.len();
        let result = self.run();
        let calls = self.publisher.0.lock().unwrap().calls[before..].to_vec();
        let set_up = calls.iter().filter_map(|call| Some(call.strip_prefix('+')?.split(' ').next()?.to_owned()));
        (set_up.collect(), result.err())
    }

    /// Forgets the certificate, so that the next run is another renewal.
    fn expire(&self) {
        self.staged().chains.clear();
    }
}

fn detail(err: Option<AcmeError>) -> String {
    err.expect("a failure").sentence()
}

#[test]
fn after_a_failed_validation_the_next_run_uses_the_next_type_for_all_names() {
    let scene = scene(&["a.org", "b.org"], BALANCER);
    let (set_up, err) = scene.attempt();
    assert_eq!(set_up, ["tls-alpn-01:a.org", "tls-alpn-01:b.org"]);
    let detail = detail(err);
    assert!(
        detail.starts_with("a.org: CA considers answer to challenge invalid: no protocol was selected"),
        "{detail}"
    );
    assert!(detail.ends_with("; the next attempt uses 'http-01' in place of 'tls-alpn-01'"), "{detail}");
    // Also in later renewals.
    for _ in 0..2 {
        let (set_up, err) = scene.attempt();
        assert_eq!((set_up, err.is_some()), (vec!["http-01:a.org".to_owned(), "http-01:b.org".to_owned()], false));
        scene.is_done();
        scene.expire();
    }
}

#[test]
fn a_type_that_failed_comes_round_again_after_the_others() {
    let mut scene = scene(&["a.org"], |_, _| Some(("connection", "time-out")));
    let mut used = Vec::new();
    for _ in 0..4 {
        let (set_up, err) = scene.attempt();
        used.extend(set_up);
        assert!(detail(err).contains("the next attempt uses") == (used.len() == 1), "{used:?}");
    }
    assert_eq!(used, ["tls-alpn-01:a.org", "http-01:a.org", "tls-alpn-01:a.org", "http-01:a.org"]);
    // A type that is no longer configured is not used, though its turn has come.
    scene.wanted.challenges = Ok(vec![HTTP]);
    assert_eq!(scene.attempt().0, ["http-01:a.org"]);
    scene.wanted.challenges = Ok(vec![ALPN, HTTP]);
    assert_eq!(scene.attempt().0, ["tls-alpn-01:a.org"]);
}

#[test]
fn types_that_are_not_offered_or_cannot_be_set_up_are_no_next_types() {
    // The types that are wanted, those that cannot be set up, what each run sets up, and whether the first names another type.
    type Row = (&'static [ChallengeType], &'static [ChallengeType], &'static [&'static [&'static str]], bool);
    let rows: [Row; 4] = [
        (&[ALPN, HTTP], &[], &[&["tls-alpn-01:a.org"], &["http-01:a.org"]], true),
        (&[ALPN, DNS], &[], &[&["tls-alpn-01:a.org"], &["tls-alpn-01:a.org"]], false),
        (
            &[HTTP, ALPN],
            &[HTTP],
            &[&["http-01:a.org", "tls-alpn-01:a.org"], &["http-01:a.org", "tls-alpn-01:a.org"]],
            false,
        ),
        (&[ALPN, HTTP], &[HTTP], &[&["tls-alpn-01:a.org"], &["http-01:a.org", "tls-alpn-01:a.org"]], true),
    ];
    for (wanted, broken, runs, is_next_named) in rows {
        let mut scene = scene(&["a.org"], BALANCER);
        scene.wanted.challenges = Ok(wanted.to_vec());
        scene.publisher.0.lock().unwrap().broken = broken.to_vec();
        for (number, expected) in runs.iter().enumerate() {
            let (set_up, err) = scene.attempt();
            assert_eq!(set_up, *expected, "{wanted:?} {broken:?}");
            if number == 0 {
                assert_eq!(detail(err).contains("the next attempt uses"), is_next_named, "{wanted:?} {broken:?}");
            }
        }
    }
}

#[test]
fn each_name_is_proven_by_the_type_that_works_for_it() {
    // A host behind a balancer, and one whose port 80 is closed.
    let scene = scene(&["balanced.org", "closed.org"], |name, kind| match (name, kind) {
        ("balanced.org", "tls-alpn-01") => Some(("tls", "no protocol was selected")),
        ("closed.org", "http-01") => Some(("connection", "refused")),
        _ => None,
    });
    let mut runs = Vec::new();
    while let (set_up, Some(_)) = scene.attempt() {
        runs.push(set_up);
        assert!(runs.len() < 4, "{runs:?}");
    }
    for _ in 0..2 {
        scene.is_done();
        scene.expire();
        let (set_up, err) = scene.attempt();
        assert_eq!(
            (set_up, err.is_some()),
            (vec!["http-01:balanced.org".to_owned(), "tls-alpn-01:closed.org".to_owned()], false)
        );
    }
}

#[test]
fn a_wildcard_is_proven_by_dns_01_whatever_its_name_is_proven_by() {
    let mut scene = scene(&["a.org", "*.a.org"], BALANCER).behaves(|ca| ca.more.push("dns-01"));
    scene.wanted.challenges = Ok(vec![ALPN, HTTP, DNS]);
    let (set_up, err) = scene.attempt();
    assert_eq!(set_up, ["tls-alpn-01:a.org", "dns-01:a.org"]);
    assert!(detail(err).ends_with("uses 'http-01' in place of 'tls-alpn-01'"));
    let (set_up, err) = scene.attempt();
    assert_eq!((set_up, err.is_some()), (vec!["http-01:a.org".to_owned(), "dns-01:a.org".to_owned()], false));
    scene.is_done();
    // dns-01 fails once: the wildcard has no other type, and its name needs none.
    scene.expire();
    scene.ca.behave(|ca| ca.fails = |_, kind| (kind == "dns-01").then_some(("dns", "no record")));
    let (set_up, err) = scene.attempt();
    assert_eq!(set_up, ["http-01:a.org", "dns-01:a.org"]);
    assert!(!detail(err).contains("the next attempt uses"));
    scene.ca.behave(|ca| ca.fails = BALANCER);
    assert_eq!(scene.attempt().0, ["http-01:a.org", "dns-01:a.org"]);
}

#[test]
fn a_record_that_is_not_there_gives_way_to_another_type() {
    let mut scene = scene(&["a.org"], |_, kind| (kind == "dns-persist-01").then_some(("unauthorized", "no record")))
        .behaves(|ca| (ca.more, ca.issuers) = (vec!["dns-persist-01"], vec!["ca.test"]));
    scene.wanted.challenges = Ok(vec![ChallengeType::DnsPersist01, HTTP]);
    let (set_up, err) = scene.attempt();
    assert!(set_up.is_empty());
    let detail = detail(err);
    assert!(detail.contains("set the TXT record _validation-persist.a.org"), "{detail}");
    assert!(detail.ends_with("the next attempt uses 'http-01' in place of 'dns-persist-01'"), "{detail}");
    let (set_up, err) = scene.attempt();
    assert_eq!((set_up, err.is_some()), (vec!["http-01:a.org".to_owned()], false));
}

#[test]
fn a_permanent_failure_is_passing_as_long_as_another_type_is_left() {
    let used = ["tls-alpn-01:a.org", "http-01:a.org", "tls-alpn-01:a.org"];
    let rows: [(Fails, [bool; 3]); 2] = [
        (|_, _| Some(("unsupportedIdentifier", "no")), [false, true, true]),
        // As smallstep's library says where the balancer answers in place of the server.
        (|_, _| Some(("rejectedIdentifier", "cannot negotiate ALPN acme-tls/1 protocol")), [false; 3]),
    ];
    for (fails, permanent) in rows {
        let scene = scene(&["a.org"], fails);
        let runs = used.map(|_| scene.attempt());
        assert_eq!(runs.each_ref().map(|(set_up, _)| set_up[0].as_str()), used);
        assert_eq!(runs.map(|(_, err)| err.unwrap().is_permanent()), permanent);
    }
}

#[test]
fn a_refused_answer_to_a_challenge_counts_if_another_type_is_left() {
    let refusal = |name| Fault::Answer(problem(400, name, "not for you"));
    let scene = scene(&["a.org"], |_, _| None);
    scene.ca.fail(Operation::Challenge, refusal("unsupportedIdentifier"));
    let (set_up, err) = scene.attempt();
    assert_eq!(set_up, ["tls-alpn-01:a.org"]);
    assert!(!err.as_ref().unwrap().is_permanent());
    assert!(detail(err).ends_with("the next attempt uses 'http-01' in place of 'tls-alpn-01'"));
    // The order goes on, and where the CA does not take that, there is another one.
    scene.ca.fail(Operation::Challenge, refusal("malformed"));
    let (set_up, err) = scene.attempt();
    assert_eq!((set_up, err.is_some()), (vec!["http-01:a.org".to_owned(), "http-01:a.org".to_owned()], false));
    assert_eq!(scene.ca.ordered().len(), 2);
    scene.is_done();
    // What concerns the account, or passes, says nothing of the type.
    for name in ["rateLimited", "serverInternal", "userActionRequired"] {
        scene.expire();
        scene.ca.fail(Operation::Challenge, refusal(name));
        let (set_up, err) = scene.attempt();
        assert_eq!(set_up, ["http-01:a.org"], "{name}");
        assert!(!detail(err).contains("the next attempt uses"), "{name}");
        assert!(scene.attempt().1.is_none());
    }
}

#[test]
fn a_validation_that_failed_may_be_the_answer_to_the_challenge() {
    for name in ["connection", "dns", "incorrectResponse", "tls"] {
        let scene = scene(&["a.org"], |_, _| None);
        scene.ca.fail(Operation::Challenge, Fault::Answer(problem(400, name, "nobody is there")));
        let (set_up, err) = scene.attempt();
        assert_eq!(set_up, ["tls-alpn-01:a.org"], "{name}");
        assert!(detail(err).ends_with("the next attempt uses 'http-01' in place of 'tls-alpn-01'"), "{name}");
        assert!(scene.attempt().1.is_none(), "{name}");
        scene.is_done();
    }
}

#[test]
fn a_challenge_that_is_given_back_has_failed() {
    for status in ["pending", "invalid"] {
        let scene = scene(&["a.org"], BALANCER).behaves(|ca| ca.gives_back = Some(status));
        let begun = scene.clock.now();
        let (set_up, err) = scene.attempt();
        assert_eq!(set_up, ["tls-alpn-01:a.org"]);
        assert!(detail(err).ends_with("the next attempt uses 'http-01' in place of 'tls-alpn-01'"));
        assert!(scene.clock.now().duration_since(begun) < SignedDuration::from_secs(10), "the CA does not look again");
        let (set_up, err) = scene.attempt();
        assert_eq!((set_up, err.is_some()), (vec!["http-01:a.org".to_owned()], false));
        scene.is_done();
    }
}

#[test]
fn an_order_whose_challenge_was_given_back_to_a_run_that_was_cut_off_is_replaced() {
    for status in ["pending", "invalid"] {
        let scene = scene(&["a.org"], BALANCER).behaves(|ca| ca.gives_back = Some(status));
        let mut cut = 0;
        while scene.ca.count(Operation::Challenge) == 0 {
            cut += 1;
            assert!(scene.steps(cut).is_none());
        }
        let (set_up, err) = scene.attempt();
        assert_eq!((set_up.last().unwrap().as_str(), err.is_some()), ("http-01:a.org", false));
        // An answer is given again where the CA waits for one.
        assert_eq!(scene.ca.count(Operation::Challenge), if status == "pending" { 3 } else { 2 });
        scene.is_done();
    }
}

#[test]
fn a_challenge_that_the_ca_looks_at_again_and_again_gives_way_to_another_type() {
    let again = |ca: &mut Behaviour| (ca.tells_early, ca.pending_reads) = (true, 1000);
    let scene = scene(&["a.org"], BALANCER).behaves(again);
    let (set_up, err) = scene.attempt();
    assert_eq!(set_up, ["tls-alpn-01:a.org"]);
    assert!(detail(err).ends_with("the next attempt uses 'http-01' in place of 'tls-alpn-01'"));
    scene.ca.behave(|ca| ca.pending_reads = 2);
    let (set_up, err) = scene.attempt();
    assert_eq!((set_up, err.is_some()), (vec!["http-01:a.org".to_owned()], false));
    scene.is_done();
}

#[test]
fn a_challenge_that_failed_after_the_run_gives_way_in_the_next_run() {
    // The first run ends before the CA has said anything.
    let scene = scene(&["a.org"], BALANCER).behaves(|ca| ca.pending_reads = 1000);
    let (set_up, err) = scene.attempt();
    assert!(matches!(err, Some(AcmeError::TimedOut { .. })), "{err:?}");
    assert_eq!(set_up, ["tls-alpn-01:a.org"]);
    assert_eq!(scene.staged().challenges, ChallengeRecord::default());
    scene.ca.set_authorizations("invalid");
    let (set_up, err) = scene.behaves(|ca| ca.pending_reads = 0).attempt();
    assert_eq!((set_up, err.is_some()), (vec!["http-01:a.org".to_owned()], false));
}

#[test]
fn the_problem_with_which_a_ca_looks_again_and_its_time_are_told_once() {
    watch_log();
    let rows = [
        (None, ""),
        (Some("120"), " after Tue, 14 Nov 2023 22:15:20 GMT"),
        (Some("Tue, 14 Nov 2023 22:14:20 GMT"), " after Tue, 14 Nov 2023 22:14:20 GMT"),
        (Some("soon"), ""),
    ];
    for (number, (looks_again_in, after)) in rows.into_iter().enumerate() {
        let name = format!("again{number}.test");
        let scene = scene(&[&name], |_, _| Some(("connection", "no route to port 80")))
            .behaves(|ca| (ca.tells_early, ca.pending_reads, ca.looks_again_in) = (true, 3, looks_again_in));
        let (_, err) = scene.attempt();
        assert!(detail(err).contains("no route to port 80"));
        let told = format!("at 'tls-alpn-01' of domain {name} again{after}, as it found: no route to port 80");
        let told: Vec<_> = vec![format!("Waiting for the CA to look {told}"), format!("{name}: the CA looks {told}")];
        let activities = scene.staged().activities.clone();
        assert_eq!(activities.iter().filter(|activity| **activity == told[0]).count(), 1, "{activities:?}");
        assert_eq!(logged("", &told[1]), 1, "{}", told[1]);
        // The answer and one question about the challenge.
        assert_eq!(scene.ca.count(Operation::Challenge), 2);
        scene.ca.check();
    }
}

#[test]
fn a_challenge_that_cannot_be_read_is_waited_for_all_the_same() {
    for fault in [Fault::Drop, Fault::RefuseNonce, Fault::Answer(problem(404, "malformed", "not found"))] {
        let scene = scene(&["a.org"], BALANCER).behaves(|ca| (ca.tells_early, ca.pending_reads) = (true, 3));
        // The answer to the challenge passes.
        scene.ca.fail(Operation::Challenge, Fault::Alter(|_| {}));
        scene.ca.fail(Operation::Challenge, fault.clone());
        assert!(detail(scene.attempt().1).contains("no protocol was selected"), "{fault:?}");
        assert!(scene.attempt().1.is_none(), "{fault:?}");
    }
}

#[test]
fn a_wait_that_is_over_says_what_the_ca_found() {
    let rows = [
        (None, "the CA was not done after 5 minutes"),
        (Some("3600"), "the CA wants to be asked again at Tue, 14 Nov 2023 23:13:20 GMT"),
    ];
    for (looks_again_in, says) in rows {
        let mut scene = scene(&["a.org"], BALANCER)
            .behaves(|ca| (ca.tells_early, ca.pending_reads, ca.looks_again_in) = (true, 1000, looks_again_in));
        scene.wanted.challenges = Ok(vec![ALPN]);
        let detail = detail(scene.attempt().1);
        let expected =
            format!("Error waiting for the CA to look at the challenges: {says}; it found: no protocol was selected");
        assert!(detail.starts_with(&expected), "{detail}");
        // The order goes on.
        assert!(self::detail(scene.attempt().1).starts_with(&expected));
        scene.ca.set_authorizations("valid");
        assert!(scene.attempt().1.is_none());
        assert_eq!(scene.ca.ordered().len(), 1);
    }
}
