//! Records that the administrator makes once (dns-persist-01).

use super::*;

/// A CA that looks for persistent records only, and has these names.
fn world_of_records(issuers: &[&'static str]) -> Scene {
    let mut scene = Scene::new(&["x.org", "*.x.org", "y.org"]);
    scene.wanted.challenges = Ok(vec![ChallengeType::DnsPersist01, ChallengeType::Http01]);
    scene.ca.behave(|ca| (ca.kind, ca.issuers) = ("dns-persist-01", issuers.to_vec()));
    scene
}

/// The records for x.org and y.org, by the first issuer.
fn expected_records() -> [TxtRecord; 2] {
    let record = |name: &str, policy: &str| TxtRecord {
        name: format!("_validation-persist.{name}"),
        value: format!("ca.test; accounturi=https://ca.test/account/0{policy}"),
    };
    [record("x.org", "; policy=wildcard"), record("y.org", "")]
}

#[test]
fn records_that_are_there_for_good_need_no_set_up() {
    let scene = world_of_records(&["ca.test", "ca.example.net"]);
    scene.succeeds();
    let staged = scene.staged();
    assert_eq!(staged.records, expected_records());
    assert!(staged.events.is_empty() && staged.orders_saved.iter().all(|order| order.challenge_setups.is_empty()));
    assert!(scene.publisher.0.lock().unwrap().calls.is_empty());
}

#[test]
fn a_record_that_is_not_as_it_has_to_be_is_told() {
    let scene = world_of_records(&["ca.test"]);
    scene.ca.behave(|ca| ca.finds = Some("no such record"));
    let err = scene.run().unwrap_err();
    let detail = err.to_result().detail.unwrap();
    assert_eq!(
        detail,
        "x.org: CA considers answer to challenge invalid: no such record; set the TXT record _validation-persist.x.org to \
         'ca.test; accounturi=https://ca.test/account/0; policy=wildcard' and leave it there"
    );
    assert!(err.is_failed_validation() && scene.staged().order.is_empty());
    assert_eq!(scene.staged().records, expected_records());
    scene.ca.behave(|ca| ca.finds = None);
    scene.succeeds();
}

#[test]
fn an_account_that_takes_the_place_of_a_lost_one_needs_other_records() {
    let scene = world_of_records(&["ca.test"]);
    scene.succeeds();
    scene.ca.set_accounts("gone");
    scene.staged().chains.clear();
    scene.succeeds();
    assert!(scene.staged().records[0].value.contains("https://ca.test/account/1"));
}

#[test]
fn a_malformed_challenge_for_records_is_refused_and_the_next_type_tried() {
    let scene = world_of_records(&["ca.test"; 11]);
    let err = scene.run().unwrap_err();
    assert_eq!(
        err.to_string(),
        "None of offered challenge types for domain x.org are supported. The server offered 'dns-persist-01' and \
         available are: 'dns-persist-01 http-01'. 'dns-persist-01' cannot be set up: the challenge is malformed: the CA \
         sent 11 issuer names, 10 are allowed."
    );
    let mut scene = Scene::new(&["x.org"]);
    scene.wanted.challenges = Ok(vec![ChallengeType::DnsPersist01, ChallengeType::Http01]);
    let malformed =
        r#"{"type":"dns-persist-01","url":"https://ca.test/challenge/9","issuer-domain-names":["CA.test"]}"#;
    scene.ca.behave(|ca| ca.others = vec![serde_json::from_str(malformed).unwrap()]);
    scene.succeeds();
    assert_eq!(scene.staged().events, ["http-01:x.org"]);
}
