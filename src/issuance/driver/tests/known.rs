//! What a run takes from earlier ones: directory and account, as long as the CA answers as expected.

use super::*;

/// A scene after a first run; the next one begins without a certificate.
fn after_a_run() -> Scene {
    let mut scene = Scene::new(&["x.org"]);
    scene.known = Some(Arc::default());
    begin_another(&scene);
    scene
}

fn begin_another(scene: &Scene) {
    scene.succeeds();
    let mut staged = scene.staged();
    staged.keys.clear();
    staged.chains.clear();
}

fn counts(scene: &Scene) -> [usize; ALL.len()] {
    ALL.map(|operation| scene.ca.count(operation))
}

#[test]
fn a_certificate_takes_six_requests_and_a_nonce_once_the_ca_is_known() {
    let scene = after_a_run();
    let before = counts(&scene);
    let mut driver = scene.driver();
    assert!(!driver.has_answer() && !driver.has_account());
    driver.set_nonce(None);
    begin_another(&scene);
    let asked: Vec<_> = counts(&scene).iter().zip(before).map(|(now, before)| now - before).collect();
    // Directory, nonce, new account, account, new order, order, authorization, challenge, finalize, certificate. Another run at the
    // same time would have left its nonce.
    assert_eq!(asked, [0, 1, 0, 0, 1, 0, 2, 1, 1, 1]);
    scene.clock.advance(SignedDuration::from_hours(1));
    scene.succeeds();
    assert_eq!((scene.ca.count(Operation::Directory), scene.ca.count(Operation::Account)), (2, 1));
}

#[test]
fn a_ca_that_does_not_answer_as_expected_is_asked_anew() {
    use Operation::{NewOrder, Nonce};
    let html = |status| Fault::Answer(answer(status, "text/html", "<html>"));
    let acme = |status, kind| Fault::Answer(problem(status, kind, "no"));
    let rows = [
        (Nonce, 1, html(404)),
        (Nonce, 1, html(405)),
        (Nonce, 1, Fault::Drop),
        (NewOrder, 1, html(404)),
        (NewOrder, 1, html(405)),
        (NewOrder, 1, html(301)),
        (NewOrder, 1, Fault::Drop),
        (NewOrder, 1, acme(404, "malformed")),
        (NewOrder, 1, acme(401, "unauthorized")),
        (NewOrder, 1, acme(400, "accountDoesNotExist")),
        (NewOrder, 4, Fault::RefuseNonce),
    ];
    for (operation, times, fault) in rows {
        let scene = after_a_run();
        let context = format!("{operation:?} {fault:?}");
        scene.ca.fail_times(operation, times, fault);
        scene.run().expect(&context);
        let asked = [Operation::Directory, Operation::Account, Operation::NewAccount].map(|kind| scene.ca.count(kind));
        assert_eq!(asked, [2, 1, 1], "{context}");
    }
}

#[test]
fn an_account_that_the_ca_has_lost_meanwhile_is_replaced_in_the_same_run() {
    for status in ["gone", "deactivated"] {
        let scene = after_a_run();
        scene.ca.set_accounts(status);
        scene.succeeds();
        assert_eq!((scene.ca.accounts(), scene.ca.count(Operation::Directory)), (2, 2), "{status}");
    }
}

#[test]
fn a_ca_that_refuses_an_order_is_not_asked_anew() {
    let limited = with_header(problem(429, "rateLimited", "too many"), "Retry-After", "3600");
    let rows = [limited, problem(400, "rejectedIdentifier", "no"), problem(500, "serverInternal", "no")];
    for response in rows.into_iter().chain([answer(503, "text/html", "no"), answer(429, "text/html", "no")]) {
        let scene = after_a_run();
        scene.ca.fail(Operation::NewOrder, Fault::Answer(response.clone()));
        let mut driver = scene.driver();
        let refused = std::iter::repeat_with(|| driver.step()).find_map(Result::err).unwrap();
        assert!(driver.has_answer() && driver.has_account(), "{refused}");
        assert_eq!((scene.ca.count(Operation::Directory), scene.ca.count(Operation::NewOrder)), (1, 2), "{refused}");
    }
}

#[test]
fn a_ca_that_cannot_be_reached_any_more_is_told_of_by_its_directory() {
    let scene = after_a_run();
    for operation in ALL {
        scene.ca.fail(operation, Fault::Drop);
    }
    let mut driver = scene.driver();
    let unreached = std::iter::repeat_with(|| driver.step()).find_map(Result::err).unwrap();
    assert!(matches!(unreached, AcmeError::NoDirectory { .. }), "{unreached}");
    assert!(!driver.has_answer() && !driver.has_account());
}

#[test]
fn a_profile_that_the_ca_did_not_offer_before_is_looked_for_again() {
    let mut scene = after_a_run();
    scene.ca.behave(|ca| ca.profiles = vec!["shortlived"]);
    scene.wanted.profile = Some("shortlived".into());
    scene.wanted.profile_mandatory = true;
    scene.succeeds();
    assert_eq!(scene.ca.count(Operation::Directory), 2);
}
