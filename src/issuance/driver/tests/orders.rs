//! Orders of a run: asked for, refused, waited for.

use super::*;
use crate::model::outside::plain;

#[test]
fn an_order_that_is_valid_at_once_is_downloaded_if_its_key_is_here() {
    let scene = busy_world();
    scene.ca.fail(Operation::Certificate, Fault::Drop);
    scene.run().unwrap_err();
    assert_eq!(scene.staged().order.status, OrderStatus::Valid);
    scene.succeeds();
    assert_eq!((scene.ca.ordered().len(), scene.ca.count(Operation::Finalize)), (1, 1));
}

#[test]
fn what_is_left_of_an_order_that_cannot_be_used_is_replaced_in_the_same_run() {
    let spoil: [fn(&FakeCa); 6] = [
        |ca| ca.set_orders("invalid"),
        |ca| ca.set_orders("gone"),
        |ca| ca.set_authorizations("invalid"),
        |ca| ca.set_authorizations("expired"),
        |ca| ca.set_authorizations("gone"),
        |ca| ca.set_authorizations("deactivated"),
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let scene = Scene::new(&["x.org"]);
        scene.ca.fail(Operation::Challenge, Fault::Drop);
        scene.run().unwrap_err();
        assert_eq!(scene.staged().order.challenge_setups, ["http-01:x.org"]);
        spoil(&scene.ca);
        scene.succeeds();
        assert_eq!(scene.ca.ordered().len(), 2, "{index}");
    }
}

#[test]
fn an_order_that_fails_in_its_own_run_ends_it() {
    let scene = Scene::new(&["x.org"]);
    scene.ca.behave(|ca| ca.authorized = true);
    let invalid: fn(&mut Response) = |answer| answer.body = br#"{"status":"invalid"}"#.to_vec();
    scene.ca.fail(Operation::Finalize, Fault::Alter(invalid));
    assert_eq!(scene.run().unwrap_err().to_string(), "the order https://ca.test/order/0 is invalid");
    let explained: fn(&mut Response) = |answer| {
        answer.body =
            br#"{"status":"invalid","error":{"type":"urn:ietf:params:acme:error:caa","detail":"no"}}"#.to_vec();
    };
    scene.ca.fail(Operation::Finalize, Fault::Alter(explained));
    assert_eq!(scene.run().unwrap_err().to_string(), "no <urn:ietf:params:acme:error:caa>");
    scene.succeeds();
    assert_eq!(scene.ca.ordered().len(), 3);
}

#[test]
fn orders_that_lack_a_url_are_given_up() {
    let without = |member: &'static str| -> fn(&mut Response) {
        match member {
            "finalize" => |answer| answer.body = br#"{"status":"ready"}"#.to_vec(),
            _ => |answer| answer.body = br#"{"status":"valid"}"#.to_vec(),
        }
    };
    for (member, says) in
        [("finalize", "lacks the URL to finalize at"), ("certificate", "lacks the URL of the certificate")]
    {
        let scene = Scene::new(&["x.org"]);
        scene.ca.fail(Operation::NewOrder, Fault::Alter(without(member)));
        let err = scene.run().unwrap_err();
        assert!(err.to_string().ends_with(says), "{err}");
        assert!(scene.staged().order.is_empty());
        scene.succeeds();
    }
}

#[test]
fn a_ca_that_is_never_done_is_given_five_minutes_and_its_order_is_kept() {
    for (pending, processing, what) in
        [(u32::MAX, 0, "the CA to look at the challenges"), (0, u32::MAX, "the certificate to be issued")]
    {
        let scene = Scene::new(&["x.org"]);
        scene.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (pending, processing));
        let began = scene.clock.now();
        let err = scene.run().unwrap_err();
        assert_eq!(err.to_string(), format!("Error waiting for {what}: the CA was not done after 5 minutes"));
        assert_eq!(err.status(), Status::TIMED_OUT);
        let took = scene.clock.now().duration_since(began).as_secs();
        assert!((300..=311).contains(&took), "{took}");
        assert!(scene.ca.count(Operation::Order) + scene.ca.count(Operation::Authorization) < 60);
        assert!(!scene.staged().order.is_empty());
    }
}

#[test]
fn retry_after_is_a_floor_for_polling() {
    let later: fn(&mut Response) = |answer| answer.headers.push(("Retry-After".to_owned(), "20".to_owned()));
    for operation in [Operation::Challenge, Operation::Authorization, Operation::Finalize, Operation::Order] {
        let scene = busy_world();
        scene.ca.fail_times(operation, 100, Fault::Alter(later));
        let began = scene.clock.now();
        scene.succeeds();
        let took = scene.clock.now().duration_since(began).as_secs();
        assert!((20..90).contains(&took), "{operation:?}: {took}");
    }
}

#[test]
fn a_retry_after_of_an_hour_ends_the_run_and_keeps_its_order() {
    let later: fn(&mut Response) = |answer| answer.headers.push(("Retry-After".to_owned(), "3600".to_owned()));
    for operation in [Operation::Challenge, Operation::Authorization, Operation::Finalize] {
        let scene = busy_world();
        scene.ca.fail(operation, Fault::Alter(later));
        let began = scene.clock.now();
        let err = scene.run().unwrap_err();
        assert!(scene.clock.now().duration_since(began).as_secs() < 10, "{operation:?}");
        let wait = err.retry_after().unwrap().duration_since(began).as_secs();
        assert!((3600..3610).contains(&wait) && !err.is_permanent(), "{operation:?}: {wait}");
        assert!(err.to_string().contains("the CA wants to be asked again at Tue, 14 Nov 2023 23:13:"), "{err}");
        scene.clock.advance(SignedDuration::from_secs(3600));
        scene.succeeds();
        assert_eq!(scene.ca.ordered().len(), 1);
    }
}

#[test]
fn an_order_that_stays_ready_is_finalized_once_in_a_run() {
    let ready: fn(&mut Response) = |answer| {
        let body = String::from_utf8_lossy(&answer.body);
        answer.body = body.replace(r#""processing""#, r#""ready""#).replace(r#""valid""#, r#""ready""#).into_bytes();
    };
    for (reads, ends) in [(3, true), (1000, false)] {
        let scene = busy_world();
        scene.ca.fail(Operation::Finalize, Fault::Alter(ready));
        // The first answer belongs to the time before.
        scene.ca.fail_times(Operation::Order, reads, Fault::Alter(ready));
        let result = scene.run();
        assert_eq!((result.is_ok(), scene.ca.count(Operation::Finalize)), (ends, 1), "{result:?}");
        assert!(ends || matches!(result, Err(AcmeError::TimedOut { .. })));
    }
}

#[test]
fn a_csr_that_comes_before_the_order_is_ready_is_sent_again() {
    let not_ready = || problem(403, "orderNotReady", "the order is not ready");
    let soon = Fault::Answer(not_ready());
    let later = Fault::Answer(with_header(not_ready(), "Retry-After", "20"));
    // Whether the order says meanwhile that it is ready; seconds that it takes, at least and at most
    let pending: fn(&mut Response) =
        |answer| answer.body = String::from_utf8_lossy(&answer.body).replace(r#""ready""#, r#""pending""#).into_bytes();
    for (refusal, says_ready, took) in
        [(&soon, true, 0..3), (&soon, false, 0..5), (&later, true, 60..70), (&later, false, 60..90)]
    {
        let scene = Scene::new(&["x.org"]);
        scene.ca.behave(|ca| ca.authorized = true);
        scene.ca.fail_times(Operation::Finalize, 3, refusal.clone());
        if !says_ready {
            scene.ca.fail_times(Operation::Order, 2, Fault::Alter(pending));
        }
        let began = scene.clock.now();
        scene.succeeds();
        assert_eq!((scene.ca.ordered().len(), scene.ca.count(Operation::Finalize)), (1, 4), "{says_ready} {refusal:?}");
        let seconds = scene.clock.now().duration_since(began).as_secs();
        assert!(took.contains(&seconds), "{says_ready} {refusal:?}: {seconds}");
    }
}

#[test]
fn an_order_that_never_becomes_ready_is_given_five_minutes_and_kept() {
    let scene = Scene::new(&["x.org"]);
    scene.ca.behave(|ca| ca.csr_refusals = u32::MAX);
    let began = scene.clock.now();
    let err = scene.run().unwrap_err();
    assert_eq!(err.to_string(), "Error waiting for the order to become ready: the CA was not done after 5 minutes");
    let took = scene.clock.now().duration_since(began).as_secs();
    assert!((300..=311).contains(&took), "{took}");
    assert!(scene.ca.count(Operation::Finalize) < 60, "{}", scene.ca.count(Operation::Finalize));
    // The next run goes on with the same order and the same key.
    let key = scene.staged().keys["P-256"].to_pem().unwrap();
    scene.ca.recover();
    scene.succeeds();
    assert_eq!((scene.ca.ordered().len(), scene.staged().keys["P-256"].to_pem().unwrap()), (1, key));
}

#[test]
fn an_order_that_was_finalized_in_an_earlier_run_is_not_finalized_again() {
    let scene = busy_world();
    // The run ends without the answer, and the next one is told at first that the order is ready still.
    scene.ca.fail(Operation::Finalize, Fault::DropAnswer);
    scene.run().unwrap_err();
    let ready: fn(&mut Response) = |answer| {
        answer.body = String::from_utf8_lossy(&answer.body).replace(r#""processing""#, r#""ready""#).into_bytes();
    };
    scene.ca.fail(Operation::Order, Fault::Alter(ready));
    scene.succeeds();
    assert_eq!((scene.ca.ordered().len(), scene.ca.count(Operation::Finalize)), (1, 2));
}

#[test]
fn a_slow_ca_is_waited_for() {
    let scene = busy_world();
    ALL.into_iter().for_each(|o| scene.ca.fail_times(o, 1, Fault::Slow(SignedDuration::from_secs(60))));
    scene.succeeds();
}

#[test]
fn a_certificate_that_stays_away_does_not_keep_its_order_alive() {
    let faults = [
        Fault::Answer(problem(404, "malformed", "no such certificate")),
        Fault::Answer(answer(403, "text/html", "<html>")),
        Fault::Answer(answer(200, "application/pem-certificate-chain", "-----BEGIN CERTIFICATE-----")),
    ];
    for fault in faults {
        let scene = busy_world();
        scene.ca.fail_times(Operation::Certificate, 2, fault);
        scene.run().unwrap_err();
        scene.succeeds();
        assert_eq!(scene.ca.ordered().len(), 2);
    }
}

#[test]
fn a_first_name_of_64_octets_is_no_common_name() {
    let label = "a".repeat(60);
    for (name, is_common) in [(format!("{label}.ab"), true), (format!("{label}.abc"), false)] {
        let scene = Scene::new(&[&name, "x.org"]);
        scene.succeeds();
        assert_eq!(scene.ca.common_name(), is_common.then_some(name));
        assert_eq!(scene.staged().chains["P-256"].leaf().names().len(), 2);
    }
}

#[test]
fn many_names_are_ordered_whole() {
    let names: Vec<String> = (0..100).map(|n| format!("{n}.{}.example.org", "a".repeat(60))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let scene = Scene::new(&names);
    scene.ca.behave(|ca| ca.authorized = true);
    scene.succeeds();
    assert_eq!(scene.staged().chains["P-256"].leaf().names(), names);
}

#[test]
fn a_full_disk_ends_the_run_and_the_next_one_goes_on() {
    let scene = Scene::new(&["x.org"]);
    scene.staged().full = true;
    let err = scene.run().unwrap_err();
    assert_eq!((err.to_string(), err.status()), ("no space left".to_owned(), Status(28)));
    scene.staged().full = false;
    scene.succeeds();
}

#[test]
fn a_request_that_was_cancelled_is_no_failure() {
    struct Cancelled;
    impl HttpClient for Cancelled {
        fn send(&self, _: &crate::http::Request) -> Result<Response, crate::http::HttpError> {
            Err(crate::http::HttpError::Cancelled)
        }
    }
    let scene = Scene::new(&["x.org"]);
    let book = Arc::new(scene.book.clone());
    let clock = Arc::clone(&scene.clock);
    let mut driver = Driver::new(
        scene.wanted.clone(),
        scene.journal.clone(),
        scene.publisher.clone(),
        book,
        Arc::new(Cancelled),
        clock,
    );
    assert!(driver.step().unwrap_err().is_cancelled());
}

#[test]
fn a_profile_goes_by_the_spelling_of_the_ca_or_is_left_out_if_it_is_not_mandatory() {
    let with = |mandatory| {
        let mut scene = Scene::new(&["x.org"]);
        (scene.wanted.profile, scene.wanted.profile_mandatory) = (Some("ShortLived".into()), mandatory);
        scene
    };
    // What the CA offers, whether it refuses it; the profiles of the orders, or the error if it is mandatory.
    type Row = (&'static [&'static str], bool, &'static [Option<&'static str>], Option<&'static str>);
    let rows: [Row; 4] = [
        (&["classic", "shortlived"], false, &[Some("shortlived")], None),
        (
            &["classic", "tlsserver"],
            false,
            &[None],
            Some("'ShortLived', but only classic, tlsserver; change MDProfile"),
        ),
        (&[], false, &[None], Some("'ShortLived', but no profiles at all; change")),
        (
            &["SHORTLIVED"],
            true,
            &[Some("SHORTLIVED"), None],
            Some("refuses the profile 'SHORTLIVED': not for you; change"),
        ),
    ];
    for (offered, refused, orders, error) in rows {
        for mandatory in [false, true] {
            let scene = with(mandatory);
            scene.ca.behave(|ca| (ca.profiles, ca.refuses_profiles) = (offered.to_vec(), refused));
            let result = scene.run();
            let asked: Vec<_> =
                scene.ca.order_requests().iter().map(|order| order["profile"].as_str().map(str::to_owned)).collect();
            let Some(error) = error.filter(|_| mandatory) else {
                result.unwrap();
                assert_eq!(asked.iter().map(Option::as_deref).collect::<Vec<_>>(), orders);
                scene.is_done();
                continue;
            };
            let err = result.unwrap_err();
            assert!(err.to_string().contains(error), "{err}");
            assert_eq!((err.status(), err.is_permanent()), (Status::INVALID, true));
            // The configuration is changed.
            let scene = Scene { wanted: Wanted { profile_mandatory: false, ..scene.wanted.clone() }, ..scene };
            scene.succeeds();
        }
    }
}

#[test]
fn a_refusal_of_addresses_tells_of_the_profile_that_some_cas_want() {
    let refusals = ["rejectedIdentifier", "unsupportedIdentifier", "malformed", "unauthorized"];
    let rows: [(&[&str], Option<&str>, bool); 4] = [
        (&["x.org", "192.0.2.1"], None, true),
        (&["2001:db8::1"], Some("classic"), true),
        (&["192.0.2.1"], Some("ShortLived"), false),
        (&["x.org"], None, false),
    ];
    for (kind, (names, profile, expected)) in refusals.into_iter().flat_map(|kind| rows.map(|row| (kind, row))) {
        let mut scene = Scene::new(names);
        scene.wanted.profile = profile.map(Into::into);
        scene.ca.behave(|ca| ca.profiles = vec!["classic", "shortlived"]);
        let detail = "Profile \"classic\" does not permit ip type identifiers";
        scene.ca.fail(Operation::NewOrder, Fault::Answer(problem(403, kind, detail)));
        let result = scene.run().unwrap_err().to_result();
        let says = result.detail.unwrap_or_default();
        assert!(says.starts_with(&plain(detail)), "{says}");
        assert_eq!(says.contains("a profile of short life for them (MDProfile shortlived)"), expected, "{says}");
        assert_eq!(result.problem.unwrap(), format!("urn:ietf:params:acme:error:{kind}"));
    }
}

#[test]
fn addresses_and_profiles_for_short_lives_have_no_common_name() {
    let rows: [(&[&str], Option<&str>, Option<&str>); 5] = [
        (&["x.org", "www.x.org"], None, Some("x.org")),
        (&["x.org"], Some("classic"), Some("x.org")),
        (&["x.org"], Some("TLSServer"), None),
        (&["x.org"], Some("shortlived"), None),
        (&["x.org", "192.0.2.1", "2001:db8::1"], None, None),
    ];
    for (names, profile, expected) in rows {
        let mut scene = Scene::new(names);
        scene.wanted.profile = profile.map(Into::into);
        scene.ca.behave(|ca| (ca.authorized, ca.profiles) = (true, vec!["classic", "tlsserver", "shortlived"]));
        scene.succeeds();
        assert_eq!(scene.ca.common_name().as_deref(), expected, "{names:?} {profile:?}");
        assert_eq!(scene.staged().chains["P-256"].leaf().names(), names);
    }
}

/// A scene in which certificates of two key types are replaced, and the account has issued them.
fn replacing() -> Scene {
    let mut scene = Scene::new(&["x.org"]);
    scene.run().unwrap();
    let account_url = scene.book.0.lock().unwrap().accounts[0].0.url.clone();
    let p384 = KeySpec::Ec { curve: "P-384".to_owned() };
    scene.wanted.keys = vec![spec(), p384.clone()];
    let certificates = vec![(p384, "key.384".to_owned()), (spec(), "key.256".to_owned())];
    scene.wanted.replaces = Some(Replaces { account_url, certificates });
    scene.journal = MemoryJournal::default();
    scene.ca.behave(|ca| ca.renewal_info = Some(Response::default()));
    scene
}

fn replaced(scene: &Scene) -> Vec<Option<String>> {
    let of = |order: &Value| order["replaces"].as_str().map(str::to_owned);
    scene.ca.order_requests().iter().skip(1).map(of).collect()
}

#[test]
fn an_order_tells_which_certificate_it_replaces_to_who_can_know_it() {
    let own = |id: &str| Some(id.to_owned());
    let scene = replacing();
    scene.succeeds();
    assert_eq!(replaced(&scene), [own("key.256"), own("key.384")]);
    // Neither to a CA without renewal information, nor as another account, nor if it is switched off.
    let changes: [fn(&mut Scene); 3] = [
        |scene| scene.ca.behave(|ca| ca.renewal_info = None),
        |scene| scene.wanted.replaces.as_mut().unwrap().account_url = "https://ca.test/account/7".to_owned(),
        |scene| scene.wanted.replaces = None,
    ];
    for change in changes {
        let mut scene = replacing();
        change(&mut scene);
        scene.succeeds();
        assert_eq!(replaced(&scene), [None, None]);
    }
}

#[test]
fn an_order_that_is_refused_as_a_replacement_is_placed_without_it_in_the_same_run() {
    let own = |id: &str| Some(id.to_owned());
    let scene = replacing();
    scene.ca.behave(|ca| ca.all_replaced = true);
    scene.succeeds();
    assert_eq!(replaced(&scene), [own("key.256"), None, own("key.384"), None]);
    let later = |refusal| with_header(refusal, "Retry-After", "3600");
    let broken = || problem(500, "serverInternal", "Error creating new order");
    for refusal in [
        problem(404, "malformed", "unknown certificate"),
        answer(400, "text/html", "<html>"),
        broken(),
        later(broken()),
        answer(500, "text/html", "<html>"),
        later(answer(500, "text/html", "<html>")),
    ] {
        let scene = replacing();
        scene.ca.fail(Operation::NewOrder, Fault::Answer(refusal));
        scene.succeeds();
        assert_eq!(replaced(&scene), [None, own("key.384")]);
    }
    // What is not about the certificate is not tried again at once.
    for refusal in [
        later(problem(429, "rateLimited", "slow down")),
        problem(429, "rateLimited", "slow down"),
        later(problem(503, "serverInternal", "down")),
        later(problem(500, "rateLimited", "slow down")),
        answer(503, "text/html", ""),
        later(answer(503, "text/html", "")),
        later(answer(502, "text/html", "")),
    ] {
        let scene = replacing();
        scene.ca.fail(Operation::NewOrder, Fault::Answer(refusal.clone()));
        scene.run().unwrap_err();
        assert!(replaced(&scene).is_empty(), "{refusal:?}");
        assert!(scene.staged().refused_replacements.is_empty(), "{refusal:?}");
    }
}

#[test]
fn a_certificate_that_no_order_may_replace_is_not_named_in_the_next_run_either() {
    let own = |id: &str| Some(id.to_owned());
    let broken = with_header(problem(500, "serverInternal", "Error creating new order"), "Retry-After", "3600");
    for refusal in [broken, problem(409, "alreadyReplaced", "no"), problem(404, "malformed", "no such certificate")] {
        let scene = replacing();
        scene.ca.behave(|ca| ca.on_replaces = Some(refusal.clone()));
        // The first order without it fails for another reason, the first one of the second key later.
        scene.ca.fail(Operation::Finalize, Fault::Answer(problem(429, "rateLimited", "slow down")));
        scene.run().unwrap_err();
        assert_eq!(replaced(&scene), [own("key.256"), None]);
        scene.ca.set_orders("gone");
        scene.succeeds();
        assert_eq!(replaced(&scene), [own("key.256"), None, None, own("key.384"), None], "{refusal:?}");
    }
}

#[test]
fn a_refusal_that_the_order_without_it_meets_too_is_not_about_the_replaced_certificate() {
    let own = |id: &str| Some(id.to_owned());
    let refusals = [
        problem(500, "serverInternal", "Error creating new order"),
        answer(500, "text/html", "<html>"),
        problem(400, "rejectedIdentifier", "not in our list"),
    ];
    for refusal in refusals {
        let scene = replacing();
        scene.ca.fail_times(Operation::NewOrder, 2, Fault::Answer(refusal.clone()));
        scene.run().unwrap_err();
        assert_eq!(scene.ca.count(Operation::NewOrder), 3);
        scene.succeeds();
        assert_eq!(replaced(&scene), [own("key.256"), own("key.384")], "{refusal:?}");
    }
}
