//! CAs that send more than an order needs, odd tokens, or foreign URLs.

use super::*;

/// Gives an open order so many authorizations, all of which can be read.
fn with_authorizations(answer: &mut Response, count: usize) {
    let mut order: Value = serde_json::from_slice(&answer.body).unwrap();
    let urls = (0..count).map(|number| format!("https://ca.test/authorization/0/{number}"));
    order["authorizations"] = urls.collect::<Vec<_>>().into();
    order["status"] = "pending".into();
    answer.body = order.to_string().into_bytes();
}

/// Makes an authorization a megabyte long.
fn with_challenges(answer: &mut Response) {
    let mut authorization: Value = serde_json::from_slice(&answer.body).unwrap();
    let challenges = authorization["challenges"].as_array_mut().unwrap();
    let other = serde_json::json!({ "type": "x".repeat(500), "url": "u", "token": "t".repeat(500) });
    challenges.extend(std::iter::repeat_n(other, 900));
    answer.body = authorization.to_string().into_bytes();
}

#[test]
fn an_order_has_at_most_one_authorization_for_each_name() {
    let scene = Scene::new(&["x.org", "y.org"]);
    scene.ca.fail(Operation::NewOrder, Fault::Alter(|answer| with_authorizations(answer, 10_000)));
    let err = scene.run().unwrap_err();
    assert_eq!(
        err.to_string(),
        "the CA's order <https://ca.test/order/0> has 10000 authorizations for 2 names, which is more than one for each"
    );
    assert_eq!((scene.ca.count(Operation::Authorization), scene.staged().order.is_empty()), (0, true));
    scene.succeeds();
    assert_eq!(scene.ca.ordered().len(), 2);
}

#[test]
fn authorizations_that_come_later_count_with_the_first() {
    let scene = Scene::new(&["x.org"]);
    // The order is read if the CSR comes too early.
    scene.ca.behave(|ca| (ca.pending_reads, ca.csr_refusals) = (1, 1));
    scene.ca.fail(Operation::Order, Fault::Alter(|answer| with_authorizations(answer, 1)));
    let err = scene.run().unwrap_err();
    assert!(err.to_string().contains("/order/0> has 2 authorizations for 1 names"), "{err}");
    // The next run reads the order again, and replaces it.
    scene.ca.fail(Operation::Order, Fault::Alter(|answer| with_authorizations(answer, 2)));
    scene.succeeds();
    assert_eq!(scene.ca.ordered().len(), 2);
}

#[test]
fn of_a_long_authorization_the_wanted_challenges_are_kept() {
    let scene = Scene::new(&["x.org"]);
    scene.ca.fail(Operation::Authorization, Fault::Alter(with_challenges));
    let mut driver = scene.driver();
    while driver.facts.authorizations.iter().all(|authz| authz.observed.is_none()) {
        driver.step().unwrap();
    }
    let kept = &driver.facts.authorizations[0].observed.as_ref().unwrap().value.challenges;
    let kinds: Vec<_> = kept.iter().map(|challenge| challenge.kind.clone()).collect();
    assert_eq!(kinds, ["http-01".to_owned(), "x".repeat(64)]);
    scene.succeeds();
}

#[test]
fn a_challenge_with_an_odd_token_is_not_set_up() {
    for token in ["short", "../../../../etc/passwd", "with%2fescapes%2fin%2fit.."] {
        let scene = Scene::new(&["x.org"]);
        let odd = serde_json::json!({ "type": "tls-alpn-01", "url": "https://ca.test/challenge/0", "token": token });
        scene.ca.behave(|ca| (ca.http_01, ca.others) = (false, vec![odd.clone()]));
        let err = scene.run().unwrap_err();
        let reason = " 'tls-alpn-01' cannot be set up: the challenge is malformed: the token is not base64url of 22 to 256 \
                      characters (RFC 8555 section 8.1).";
        assert!(err.to_string().ends_with(reason), "{err}");
        assert!(scene.publisher.0.lock().unwrap().data.is_empty());
        // Another challenge is used.
        scene.ca.behave(|ca| ca.http_01 = true);
        scene.succeeds();
    }
}

#[test]
fn a_chain_that_no_client_takes_is_not_used() {
    fn longer(answer: &mut Response) {
        let pem = String::from_utf8(answer.body.clone()).unwrap();
        answer.body = pem.repeat(6).into_bytes();
    }
    fn with_link(answer: &mut Response) {
        let chain = Chain::from_pem(&answer.body).unwrap();
        answer.body = chain.leaf().to_pem().into_bytes();
        answer.headers.push(("Link".to_owned(), "</certificate/0/1>;rel=up".to_owned()));
    }
    fn of_ten(answer: &mut Response) {
        let chain = Chain::from_pem(&answer.body).unwrap();
        answer.body = chain.certificates()[1].to_pem().repeat(10).into_bytes();
    }
    for (first, second, count) in [(longer as fn(&mut Response), None, 12), (with_link, Some(of_ten), 11)] {
        let scene = Scene::new(&["x.org"]);
        scene.ca.fail(Operation::Certificate, Fault::Alter(first));
        if let Some(second) = second {
            scene.ca.fail(Operation::Certificate, Fault::Alter(second));
        }
        let err = scene.run().unwrap_err();
        assert!(err.to_string().contains(&format!("cannot be used: it has {count} certificates with")), "{err}");
        assert_eq!(err.to_result().problem.as_deref(), Some("certificate-unusable"));
        assert!(scene.staged().chains.is_empty());
        scene.succeeds();
    }
}

/// Names the resources of the CA without TLS.
fn without_tls(answer: &mut Response) {
    answer.body = String::from_utf8_lossy(&answer.body).replace("https:", "http:").into_bytes();
}

fn finalize_without_tls(answer: &mut Response) {
    let text = String::from_utf8_lossy(&answer.body).replace("https://ca.test/finalize", "http://ca.test/finalize");
    answer.body = text.into_bytes();
}

/// Names them with a password.
fn with_password(answer: &mut Response) {
    answer.body = String::from_utf8_lossy(&answer.body).replace("https://", "https://user:secret@").into_bytes();
}

fn elsewhere(answer: &mut Response) {
    answer.headers.iter_mut().filter(|(name, _)| name == "Location").for_each(|header| header.1 = "file:///etc".into());
}

#[test]
fn urls_that_a_ca_may_not_name_are_not_asked() {
    use Operation::{Authorization, Certificate, Challenge, Directory, Finalize, NewAccount, NewOrder, Nonce};
    type Row = (Operation, fn(&mut Response), &'static str, Operation);
    let rows: [Row; 9] = [
        (Directory, without_tls, "<http://ca.test/nonce>, which is not of https", Nonce),
        (Directory, with_password, "<https://***@ca.test/nonce>, which has a user or a password", Nonce),
        (NewAccount, elsewhere, "<file:///etc>, which is not of https", NewOrder),
        (NewOrder, elsewhere, "<file:///etc>, which is not of https", Authorization),
        (NewOrder, without_tls, "<http://ca.test/authorization/0>, which is not of https", Authorization),
        (Authorization, with_password, "<https://***@ca.test/challenge/0>, which has a user or a password", Challenge),
        (NewOrder, finalize_without_tls, "<http://ca.test/finalize/0>, which is not of https", Finalize),
        (Finalize, without_tls, "<http://ca.test/certificate/0>, which is not of https", Certificate),
        (Finalize, with_password, "<https://***@ca.test/certificate/0>, which has a user or a password", Certificate),
    ];
    for (named_by, alter, says, not_asked) in rows {
        let scene = Scene::new(&["x.org"]);
        scene.ca.fail(named_by, Fault::Alter(alter));
        let err = scene.run().unwrap_err();
        assert_eq!(err.to_string(), format!("the CA names the URL {says}, so it is not asked"));
        assert_eq!((scene.ca.count(not_asked), err.is_permanent()), (0, false), "{named_by:?} {says}");
        assert_eq!(err.to_result().problem.as_deref(), Some("ca-answer-invalid"));
        scene.succeeds();
    }
}

#[test]
fn a_ca_whose_directory_is_http_may_name_http_urls() {
    let mut scene = Scene::new(&["x.org"]);
    scene.wanted.scope.ca_url = FakeCa::SECRET_DIRECTORY.to_owned();
    scene.succeeds();
}
