//! Challenges of a run: chosen, set up, answered, taken away.

use super::*;

#[test]
fn authorizations_that_are_valid_already_need_no_challenge() {
    let scene = Scene::new(&["x.org", "y.org"]);
    scene.ca.behave(|ca| ca.authorized = true);
    scene.succeeds();
    assert_eq!((scene.ca.count(Operation::Challenge), scene.ca.count(Operation::Authorization)), (0, 0));
    let scene = Scene::new(&["x.org", "y.org"]);
    scene.ca.behave(|ca| ca.without_authorizations = true);
    scene.succeeds();
    let scene = Scene::new(&["x.org", "y.org"]);
    scene.ca.behave(|ca| ca.authorized = true);
    let pending: fn(&mut Response) = |answer| {
        answer.body = String::from_utf8_lossy(&answer.body).replace(r#""ready""#, r#""pending""#).into_bytes();
    };
    scene.ca.fail(Operation::NewOrder, Fault::Alter(pending));
    scene.succeeds();
    assert_eq!((scene.ca.count(Operation::Challenge), scene.ca.count(Operation::Authorization)), (0, 2));
}

#[test]
fn unknown_challenge_types_are_passed_over() {
    let scene = Scene::new(&["x.org"]);
    let others = [
        r#"{"type":"dns-account-01","url":"https://ca.test/challenge/9","status":"pending","token":"t"}"#,
        r#"{"type":"dns-persist-01","url":"https://ca.test/challenge/9","issuer-domain-names":["ca.test"]}"#,
        r#"{"type":"foo-99"}"#,
    ];
    scene.ca.behave(|ca| ca.others = others.iter().map(|text| serde_json::from_str(text).unwrap()).collect());
    scene.succeeds();
    let scene = Scene::new(&["x.org"]);
    scene.ca.behave(|ca| {
        ca.http_01 = false;
        ca.others = others.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    });
    let err = scene.run().unwrap_err();
    assert_eq!(
        err.to_string(),
        "None of offered challenge types for domain x.org are supported. The server offered 'dns-account-01 dns-persist-01 \
         foo-99' and available are: 'tls-alpn-01 http-01 dns-01'."
    );
    assert_eq!(err.to_result().problem.as_deref(), Some("challenge-mismatch"));
    assert!(scene.staged().order.is_empty());
    scene.ca.recover();
    scene.succeeds();
}

#[test]
fn without_a_suitable_challenge_the_ca_is_not_asked() {
    let mut scene = Scene::new(&["x.org"]);
    scene.wanted.challenges = Err("None of the ACME challenge methods are suitable.".to_owned());
    let err = scene.run().unwrap_err();
    assert_eq!(err.to_string(), "None of the ACME challenge methods are suitable.");
    assert_eq!((err.status(), err.is_permanent()), (Status::INVALID, true));
    assert_eq!(err.to_result().problem.as_deref(), Some("challenge-mismatch"));
    assert_eq!(scene.ca.count(Operation::Directory), 0);
}

#[test]
fn a_challenge_that_fails_is_told_and_leaves_nothing() {
    let scene = Scene::new(&["x.org", "y.org"]);
    scene.ca.behave(|ca| ca.finds = Some("404 at http://x.org"));
    let err = scene.run().unwrap_err();
    assert_eq!(err.to_string(), "CA considers answer to challenge invalid: 404 at http://x.org");
    let result = err.to_result();
    assert_eq!(result.problem.as_deref(), Some("urn:ietf:params:acme:error:incorrectResponse"));
    assert!(result.detail.unwrap().starts_with("x.org: CA considers"));
    assert!(scene.staged().order.is_empty() && scene.publisher.0.lock().unwrap().data.is_empty());
    scene.ca.recover();
    scene.succeeds();
    assert_eq!(scene.ca.ordered().len(), 2);
}

/// A scene in which only dns-01 is offered.
fn dns_world(names: &[&str], one_txt: bool) -> Scene {
    let mut scene = Scene::new(names);
    scene.wanted.one_txt = one_txt;
    scene.ca.behave(|ca| ca.kind = "dns-01");
    scene
}

impl Scene {
    /// All publications (+) and withdrawals (-), with the values as numbers in order of appearance.
    fn calls(&self) -> Vec<String> {
        let published = self.publisher.0.lock().unwrap();
        let mut values = Vec::new();
        let number = |call: &String| {
            let Some((rest, value)) = call.split_once(' ') else { return call.clone() };
            let at = values.iter().position(|known| *known == value).unwrap_or_else(|| {
                values.push(value.to_owned());
                values.len() - 1
            });
            format!("{rest} {at}")
        };
        published.calls.iter().map(number).collect()
    }
}

#[test]
fn a_name_and_its_wildcard_are_proven_by_dns_01() {
    let names = ["x.org", "*.x.org"];
    let together = dns_world(&names, false);
    together.succeeds();
    assert_eq!(together.calls(), ["+dns-01:x.org 0", "+dns-01:x.org 1", "-dns-01:x.org 1", "-dns-01:x.org 0"]);
    let one = dns_world(&names, true);
    one.succeeds();
    assert_eq!(one.calls(), ["+dns-01:x.org 0", "-dns-01:x.org 0", "+dns-01:x.org 1", "-dns-01:x.org 1"]);
    assert_eq!(one.staged().events.len(), 2);
}

#[test]
fn every_record_is_taken_away_once_wherever_a_run_is_cut_off() {
    for cut in 0.. {
        let scene = dns_world(&["x.org", "*.x.org"], cut % 2 == 0);
        scene.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (1, 1));
        let ended = scene.steps(cut);
        scene.succeeds();
        let (put, taken): (Vec<_>, Vec<_>) = scene.calls().into_iter().partition(|call| call.starts_with('+'));
        let sorted = |calls: Vec<String>| {
            let mut calls: Vec<_> = calls.iter().map(|call| call[1..].to_owned()).collect();
            calls.sort();
            calls
        };
        assert_eq!(sorted(put), sorted(taken), "cut after {cut} steps");
        assert_eq!(scene.ca.ordered().len(), 1, "cut after {cut} steps");
        if ended.is_some() {
            return;
        }
    }
}

#[test]
fn a_failed_run_takes_away_what_commands_have_set_up() {
    let scene = dns_world(&["x.org"], true);
    scene.ca.fail(Operation::Challenge, Fault::Drop);
    assert!(scene.run().is_err());
    assert_eq!(scene.calls(), ["+dns-01:x.org 0", "-dns-01:x.org 0"]);
    assert!(scene.staged().order.challenge_setups.is_empty() && scene.staged().order.url.is_some());
    scene.ca.behave(|ca| ca.finds = Some("no record"));
    assert!(scene.run().unwrap_err().to_string().contains("no record"));
    // The earlier order went bad, and its successor.
    assert_eq!(scene.calls().len(), 6);
    scene.ca.recover();
    scene.ca.behave(|ca| ca.kind = "dns-01");
    scene.succeeds();
    assert_eq!(scene.calls().len(), 8);
}

#[test]
fn whoever_has_to_wait_for_others_goes_on_after_them() {
    let scene = dns_world(&["x.org"], true);
    scene.publisher.0.lock().unwrap().busy = 5;
    scene.succeeds();
    let mut driver = dns_world(&["x.org"], true);
    let mut waits = 0;
    driver.wanted.challenges = Ok(vec![ChallengeType::Dns01]);
    driver.publisher.0.lock().unwrap().busy = 3;
    let mut run = driver.driver();
    while let Ok(Outcome::Continue | Outcome::Wait(_)) = run.step() {
        waits += usize::from(
            driver.staged().order.challenge_setups.is_empty() && driver.ca.count(Operation::Authorization) == 1,
        );
        driver.clock.advance(SignedDuration::from_millis(250));
    }
    assert!(waits >= 2, "{waits}");
}

#[test]
fn the_next_type_is_tried_when_one_cannot_be_set_up() {
    let other = |kind: &str| serde_json::json!({ "type": kind, "url": "https://ca.test/challenge/0", "token": "token-of-another-type-0" });
    for unsupported in [false, true] {
        let scene = Scene::new(&["x.org"]);
        scene.ca.behave(|ca| ca.others = vec![other("tls-alpn-01")]);
        let kinds = vec![ChallengeType::TlsAlpn01];
        match unsupported {
            true => scene.publisher.0.lock().unwrap().unsupported = kinds,
            false => scene.publisher.0.lock().unwrap().broken = kinds,
        }
        scene.succeeds();
        let expected: &[&str] = match unsupported {
            true => &["+http-01:x.org", "-http-01:x.org"],
            false => &["+tls-alpn-01:x.org", "-tls-alpn-01:x.org", "+http-01:x.org", "-http-01:x.org"],
        };
        assert_eq!(scene.calls(), expected);
    }
}

#[test]
fn what_became_of_the_last_type_is_the_error() {
    use ChallengeType::{Dns01, Http01};
    let rows = [
        (vec![Dns01, Http01], vec![Http01], vec![], "challenge-setup-failure", 20014),
        (vec![Http01, Dns01], vec![Http01], vec![], "challenge-mismatch", 22),
        (vec![Http01], vec![], vec![Http01], "challenge-mismatch", 22),
        (vec![Dns01], vec![], vec![], "challenge-mismatch", 22),
    ];
    for (wanted, broken, unsupported, problem, status) in rows {
        let mut scene = Scene::new(&["x.org"]);
        scene.wanted.challenges = Ok(wanted.clone());
        let said = [broken.as_slice(), unsupported.as_slice()].concat();
        (scene.publisher.0.lock().unwrap().broken, scene.publisher.0.lock().unwrap().unsupported) =
            (broken, unsupported);
        let result = scene.run().unwrap_err().to_result();
        assert_eq!((result.problem.as_deref(), result.status.0), (Some(problem), status), "{wanted:?}");
        let detail = result.detail.unwrap();
        assert!(said.iter().all(|kind| detail.contains(&format!("'{kind}' cannot be set up: "))), "{detail}");
        assert!(scene.publisher.0.lock().unwrap().data.is_empty() && scene.staged().order.is_empty());
    }
}

#[test]
fn an_event_that_is_refused_is_a_failed_set_up_and_comes_before_the_answer() {
    let mut scene = Scene::new(&["x.org"]);
    scene.wanted.challenges = Ok(vec![ChallengeType::Http01]);
    scene.staged().objects = true;
    let result = scene.run().unwrap_err().to_result();
    assert_eq!(result.problem.as_deref(), Some("challenge-setup-failure"));
    assert!(result.detail.unwrap().contains("the event failed"));
    assert_eq!(scene.ca.count(Operation::Challenge), 0);
    assert_eq!(scene.calls(), ["+http-01:x.org", "-http-01:x.org"]);
    scene.staged().objects = false;
    scene.succeeds();
    assert_eq!(scene.staged().events, ["http-01:x.org", "http-01:x.org"]);
    assert_eq!(scene.staged().taken_away, ["http-01:x.org", "http-01:x.org"]);
}

#[test]
fn challenges_are_for_names_of_the_order_only() {
    // The first authorization is said to be for another name.
    fn renamed(answer: &mut Response, name: &str) {
        let mut value: Value = serde_json::from_slice(&answer.body).unwrap();
        value["identifier"]["value"] = name.into();
        answer.body = value.to_string().into_bytes();
    }
    let strange: [fn(&mut Response); 4] = [
        |answer| renamed(answer, "--help"),
        |answer| renamed(answer, "other.org"),
        |answer| renamed(answer, "w.x.org"),
        |answer| renamed(answer, ""),
    ];
    for alter in strange {
        let scene = Scene::new(&["www.x.org"]);
        scene.ca.fail(Operation::Authorization, Fault::Alter(alter));
        let err = scene.run().unwrap_err();
        let says = "the CA's answer from <https://ca.test/authorization/0> lacks a name of the order";
        assert_eq!(err.to_string(), says);
        assert!(scene.publisher.0.lock().unwrap().calls.is_empty());
        scene.succeeds();
    }
    let scene = Scene::new(&["www.x.org"]);
    scene.ca.fail(Operation::Authorization, Fault::Alter(|answer| renamed(answer, "WWW.X.org")));
    scene.succeeds();
    for (said, name) in [("X.org", Some("x.org")), ("*.www.x.org", Some("www.x.org")), ("ww.x.org", None)] {
        assert_eq!(scene.driver().ordered_name(said).as_deref(), name, "{said}");
    }
    let scene = Scene::new(&["2001:db8::1", "192.0.2.1"]);
    for (said, name) in [("2001:DB8:0::1", Some("2001:db8::1")), ("192.0.2.1", Some("192.0.2.1")), ("2.1", None)] {
        assert_eq!(scene.driver().ordered_name(said).as_deref(), name, "{said}");
    }
}
