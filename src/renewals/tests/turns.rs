//! Challenge types by turns: after a failure, and in later renewals.

use super::*;
use crate::model::ActivationMode;

/// Returns a server of a domain behind a load balancer that ends TLS: tls-alpn-01 comes first, and never works.
fn behind_a_balancer(name: &str) -> TestServer {
    let mut server = TestServer::new(&[name]);
    (server.hosts[0].allows_acme_tls, server.hosts[0].is_at_https_port) = (true, true);
    server.ca.behave(|ca| {
        ca.more = vec!["tls-alpn-01"];
        ca.fails = |_, kind| (kind == "tls-alpn-01").then_some(("unsupportedIdentifier", "no protocol was selected"));
    });
    server
}

/// Returns the types of challenge that the renewal has set up so far, of a domain with one name.
fn used(server: &TestServer, name: &str) -> Vec<String> {
    let log = server.staged_job(name).log.unwrap_or_default();
    let details = log.entries.iter().rev().filter_map(|entry| entry.detail.as_deref());
    let kind = |detail: &str| Some(detail.strip_prefix("Setting up challenge '")?.split('\'').next()?.to_owned());
    details.filter_map(kind).collect()
}

fn record(server: &TestServer, group: Group, name: &str) -> serde_json::Value {
    let job: serde_json::Value = server.documents.load_json(group, name, &Aspect::JobJson).unwrap();
    job["challenges"].clone()
}

#[test]
fn the_next_attempt_comes_soon_and_what_worked_is_the_first_in_later_renewals_and_after_starts() {
    let name = "turns.test";
    let server = behind_a_balancer(name);
    let renewals = server.run(false);
    let job = server.staged_job(name);
    let detail = job.last.unwrap().detail.unwrap();
    assert!(detail.ends_with("; the next attempt uses 'http-01' in place of 'tls-alpn-01'"), "{detail}");
    assert!(from_now(&server, job.next_run) <= 60, "the failure is permanent for one type only");
    assert_eq!(record(&server, Group::Staging, name), serde_json::json!({ "failed": ["tls-alpn-01"] }));
    server.clock.advance(SignedDuration::from_mins(1));
    server.go_on(&renewals);
    assert!(server.staged_job(name).finished);
    assert_eq!(used(&server, name), ["tls-alpn-01", "http-01"]);
    drop(renewals);
    for is_restart in [true, false] {
        drop(server.run(is_restart));
        let kept = serde_json::json!({ "failed-before": ["tls-alpn-01"] });
        assert_eq!(record(&server, Group::Domains, name), kept);
        server.clock.advance(hours(24 * 61));
        drop(server.run(is_restart));
        assert!(server.staged_job(name).finished);
        assert_eq!(used(&server, name), ["http-01"]);
    }
    assert_eq!(server.ca.count(Operation::Challenge), 4);
}

#[test]
fn what_worked_is_the_first_where_renewals_go_live_without_a_start() {
    let name = "live-turns.test";
    let mut server = behind_a_balancer(name);
    server.declared[0].settings.activation = Some(ActivationMode::Live);
    let renewals = server.run(false);
    server.clock.advance(SignedDuration::from_mins(1));
    server.go_on(&renewals);
    for _ in 0..2 {
        server.clock.advance(hours(24 * 61));
        server.go_on(&renewals);
        assert!(server.staged_job(name).finished);
        assert_eq!(used(&server, name), ["http-01"]);
    }
}

#[test]
fn a_permanent_failure_waits_a_day_once_all_types_have_failed() {
    let name = "turned.test";
    let server = behind_a_balancer(name);
    server.ca.behave(|ca| ca.fails = |_, _| Some(("unsupportedIdentifier", "no")));
    let renewals = server.run(false);
    assert!(from_now(&server, server.staged_job(name).next_run) <= 60);
    server.clock.advance(SignedDuration::from_mins(1));
    server.go_on(&renewals);
    assert_eq!(used(&server, name), ["tls-alpn-01", "http-01"]);
    assert!(from_now(&server, server.staged_job(name).next_run) > 11 * 3600);
    // Each of the failures counts for the limit of validations.
    assert_eq!(server.staged_job(name).validation_failures.len(), 2);
}

#[test]
fn a_type_that_is_no_longer_configured_is_not_used() {
    let name = "turned-off.test";
    let mut server = behind_a_balancer(name);
    drop(server.run(false));
    server.declared[0].settings.challenges = Some(vec!["tls-alpn-01".to_owned()]);
    drop(server.run(true));
    assert_eq!(used(&server, name), ["tls-alpn-01", "tls-alpn-01"]);
    server.declared[0].settings.challenges = Some(vec!["tls-alpn-01".to_owned(), "http-01".to_owned()]);
    drop(server.run(true));
    assert!(server.staged_job(name).finished);
}

#[test]
fn a_report_with_anything_in_place_of_the_record_is_a_report() {
    let name = "odd-turns.test";
    let server = behind_a_balancer(name);
    for odd in [r#""challenges":7"#, r#""challenges":{"failed":{},"exceptions":[1]}"#] {
        let job = format!(r#"{{"name":"{name}","finished":false,"errors":0,{odd}}}"#);
        server.put(Group::Staging, name, &Aspect::JobJson, &job);
        drop(server.run(false));
        assert_eq!(record(&server, Group::Staging, name), serde_json::json!({ "failed": ["tls-alpn-01"] }));
    }
}
