//! Tests of all pages with domains whose certificates go live, and with those that wait for a restart.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::page::list;
use super::view::Health;
use super::*;
use crate::cancel::Cancel;
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::model::{ActivationMode, DomainName, Timestamp, time};
use crate::registry::Registry;
use crate::renewals::Renewals;
use crate::store::{Aspect, Group, Store};
use crate::testing::ca::{FakeCa, Fault, Operation};
use crate::testing::{Call, TestServer, logged, p256, watch_log};

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// Makes a test_server with a domain of this `MDActivation`.
fn test_server(name: &str, mode: ActivationMode) -> TestServer {
    let mut test_server = TestServer::new(&[name]);
    test_server.declared[0].settings.activation = Some(mode);
    test_server
}

/// Starts a server, and does the renewals that are due.
fn server(test_server: &TestServer, is_restart: bool) -> (Arc<Registry>, Renewals) {
    let registry = test_server.start_moving(is_restart, |_| {});
    let ca = Arc::clone(&test_server.ca);
    let renewals = Renewals::new(Arc::clone(&registry), Box::new(move |_, _| Arc::clone(&ca) as _), || 0.5);
    test_server.go_on(&renewals);
    (registry, renewals)
}

/// Returns the serial number of the certificate in a group of the store.
fn serial(test_server: &TestServer, group: Group, name: &str) -> String {
    let text = test_server.text(group, name, &Aspect::Chain(p256())).unwrap();
    crate::crypto::Certificate::from_pem(text.as_bytes()).unwrap().summary().serial_hex()
}

fn health(registry: &Registry) -> Health {
    view::all(registry)[0].health()
}

/// Returns the samples of a metric without its name.
fn values(registry: &Registry, name: &str) -> Vec<String> {
    let text = metrics(registry, MetricsFormat::Text, "");
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    values.map(str::to_owned).collect()
}

fn has_line(registry: &Registry, line: &str) -> bool {
    auto(registry).lines().any(|told| told == format!("ManagedDomain[0]{line}"))
}

#[test]
fn a_domain_that_is_live_tells_what_is_served_and_waits_for_nobody() {
    watch_log();
    let name = "tells.live.test";
    let test_server = test_server(name, ActivationMode::Live);
    let before = test_server.start(false);
    assert_eq!(domain(&before, name).unwrap()["after-restart"], json!({ "cert": {} }));
    let (registry, _renewals) = server(&test_server, false);
    let serial = serial(&test_server, Group::Staging, name);
    let md = domain(&registry, name).unwrap();
    assert_eq!((&md["state"], md.get("state-descr"), md.get("renew")), (&2.into(), None, None));
    assert_eq!((&md["cert"]["P-256"]["serial"], &md["renewal"]["finished"]), (&json!(serial), &true.into()));
    let keys: Vec<&str> = md.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys[keys.len() - 6..], ["cert", "renew-at", "watched", "renewal", "live", "after-restart"]);
    let since = test_server.store.modified(Group::Live, name, &Aspect::LiveJson).unwrap();
    assert_eq!(md["live"]["since"], time::format_gmt(since));
    let live = &md["live"]["cert"]["P-256"];
    for (member, text) in md["cert"]["P-256"].as_object().unwrap() {
        assert!(live.get(member).is_none_or(|own| own == text), "{member}");
    }
    assert_eq!(live["serial"], serial.as_str());
    let after = &md["after-restart"]["cert"]["P-256"];
    assert_eq!((&after["serial"], &after["from"]), (&json!(serial), &"live".into()));
    let anybody = certificate_status(&registry, 0).unwrap();
    assert_eq!(anybody["P-256"]["serial"], serial.as_str());

    assert_eq!(health(&registry), Health::Good);
    let page = list(&registry);
    assert!(page.contains(">good</span>") && page.contains("Live since"), "{page}");
    assert!(!page.contains("restart</p>") && !page.contains("restart</b>"), "{page}");
    let section = section(&registry);
    assert!(section.contains(">live</span>") && section.contains(&format!("serial: P-256 {serial}")), "{section}");
    for line in ["ManagedCertificatesOK: 1", "ManagedCertificatesRenew: 0", "ManagedCertificatesReady: 0"] {
        assert!(auto(&registry).lines().any(|told| told == line), "{line}");
    }
    let since = format!("LiveSince: {}", time::format_gmt(since));
    let lines = ["Status: good", "Activation: live", &since, "LiveType: P-256", "AfterRestartFrom: live"];
    for line in lines.map(str::to_owned).into_iter().chain([format!("LiveSerial: {serial}")]) {
        assert!(has_line(&registry, &line), "{line}");
    }
    let certificate = format!(r#"domain="{name}",key="P-256",serial="{serial}",source="live"}} 1"#);
    assert_eq!(values(&registry, "mod_md_certificate_info"), [certificate]);
    assert_eq!(values(&registry, "mod_md_staged_certificates"), [format!(r#"domain="{name}"}} 0"#)]);
    assert_eq!(values(&registry, "mod_md_activation_info"), [format!(r#"domain="{name}",mode="live"}} 1"#)]);
    assert_eq!(values(&registry, "mod_md_live_since_timestamp_seconds").len(), 1);
    // The log does not ask for a restart (MD0036 instead of AH10059).
    assert_eq!((logged("MD0036", name), logged("AH10059", name)), (1, 0));
    let detail = md["renewal"]["last"]["detail"].as_str().unwrap();
    assert!(detail.ends_with("No server restart is needed."), "{detail}");

    // After the next start these certificates are no longer live, but in domains/.
    drop(registry);
    let md = domain(&test_server.start(true), name).unwrap();
    assert_eq!((md.get("live"), &md["cert"]["P-256"]["serial"]), (None, &json!(serial)));
    assert_eq!(md["after-restart"]["cert"]["P-256"]["from"], "domains");
}

#[test]
fn what_is_live_is_told_without_a_look_at_the_store() {
    let calls = |mode| {
        let test_server = test_server("quiet.live.test", mode);
        let (registry, _renewals) = server(&test_server, false);
        let count = |group| {
            let calls = [Call::Load, Call::Write, Call::Remove, Call::Claim, Call::List];
            calls.into_iter().map(|call| test_server.store.count(call, group, None)).sum::<usize>()
        };
        let before = Group::ALL.map(count);
        drop((listing(&registry), list(&registry), auto(&registry), metrics(&registry, MetricsFormat::Text, "")));
        registry.live_sets.announce(0);
        drop((domain(&registry, "quiet.live.test"), certificate_status(&registry, 0)));
        let calls = Group::ALL.map(count).into_iter().zip(before).map(|(after, before)| after - before);
        calls.collect::<Vec<_>>()
    };
    let live = calls(ActivationMode::Live);
    assert_eq!(live, calls(ActivationMode::Restart), "as many as where nothing is live");
    let asked = Group::ALL.into_iter().zip(live).filter(|(_, calls)| *calls > 0);
    assert_eq!(asked.map(|(group, _)| group).collect::<Vec<_>>(), [Group::Staging]);
}

#[test]
fn a_renewal_that_has_to_wait_is_told_beside_what_is_live() {
    let name = "delay.live.test";
    let mut test_server = test_server(name, ActivationMode::Live);
    test_server.globals.activation_delay = hours(10);
    let (registry, renewals) = server(&test_server, false);
    let first = serial(&test_server, Group::Staging, name);
    test_server.clock.advance(hours(24 * 61));
    assert_eq!(health(&registry), Health::Busy, "it is due");
    test_server.go_on(&renewals);
    let second = serial(&test_server, Group::Staging, name);
    assert_ne!(first, second);
    let md = domain(&registry, name).unwrap();
    let serials = |md: &Value| {
        let places = [&md["cert"], &md["live"]["cert"], &md["renewal"]["cert"], &md["after-restart"]["cert"]];
        places.map(|cert| cert["P-256"]["serial"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(serials(&md), [&*first, &*first, &*second, &*second]);
    assert_eq!((&md["renew"], &md["after-restart"]["cert"]["P-256"]["from"]), (&true.into(), &"staging".into()));
    assert_eq!(health(&registry), Health::Busy);
    let page = list(&registry);
    let waits = ["A new certificate is there", "Live <span", "in ~9 hours", ">being renewed</span>"];
    assert!(waits.iter().all(|words| page.contains(words)), "{page}");
    assert!(has_line(&registry, "ActivityNewStaged: 1") && has_line(&registry, "AfterRestartFrom: staging"));
    assert_eq!(values(&registry, "mod_md_staged_certificates"), [format!(r#"domain="{name}"}} 1"#)]);
    let served = values(&registry, "mod_md_certificate_not_after_timestamp_seconds");
    assert_ne!(served, values(&registry, "mod_md_after_restart_not_after_timestamp_seconds"));

    test_server.clock.advance(hours(11));
    test_server.go_on(&renewals);
    let md = domain(&registry, name).unwrap();
    assert_eq!(serials(&md), [&*second; 4]);
    assert_eq!((md.get("renew"), health(&registry)), (None, Health::Good));
}

#[test]
fn what_is_live_and_lacks_a_name_is_not_called_good() {
    let name = "lacks.live.test";
    let mut test_server = test_server(name, ActivationMode::Live);
    drop(server(&test_server, false));
    test_server.declared[0].names.push(DomainName::parse("new.lacks.live.test").unwrap());
    test_server.hosts.push(crate::testing::host("new.lacks.live.test"));
    // The start cannot move what is live to domains/.
    test_server.store.refuse(Call::Write, Group::Tmp);
    let registry = test_server.start(true);
    registry.live_sets.open(None);
    let md = domain(&registry, name).unwrap();
    assert_eq!((&md["state"], md["live"]["cert"]["P-256"].is_object()), (&1.into(), true));
    let keys: Vec<&str> = md.as_object().unwrap().keys().map(String::as_str).collect();
    let place = keys.iter().position(|key| *key == "state").unwrap();
    assert_eq!(keys[place + 1], "state-descr");
    assert_eq!(md["state-descr"], "certificate(P-256) does not cover all domains.");
    assert!(has_line(&registry, "Status: incomplete: certificate(P-256) does not cover all domains."));
}

#[test]
fn nothing_is_added_where_a_restart_is_waited_for() {
    let name = "same.restart.test";
    let test_server = test_server(name, ActivationMode::Restart);
    let (registry, _renewals) = server(&test_server, false);
    let md = domain(&registry, name).unwrap();
    for member in ["activation", "live", "after-restart", "activation-warning"] {
        assert_eq!(md.get(member), None, "{member}");
    }
    assert_eq!((&md["cert"], &md["renew"], health(&registry)), (&json!({}), &true.into(), Health::Bad));
    assert!(list(&registry).contains("In use after the next graceful restart"));
    assert!(!auto(&registry).contains("Restart") && !auto(&registry).contains("Activation"));
    assert_eq!(values(&registry, "mod_md_activation_info"), [format!(r#"domain="{name}",mode="restart"}} 1"#)]);
    assert_eq!(values(&registry, "mod_md_live_since_timestamp_seconds"), [""; 0]);
    assert_eq!(values(&registry, "mod_md_after_restart_not_after_timestamp_seconds").len(), 1, "what is staged");
    let served = values(&test_server.start(true), "mod_md_certificate_info");
    assert!(served.len() == 1 && served[0].ends_with(r#"source="start"} 1"#), "{served:?}");
}

#[test]
fn the_server_is_said_to_restart_itself_where_it_does() {
    let name = "own.graceful.test";
    let test_server = test_server(name, ActivationMode::Graceful);
    let (registry, _renewals) = server(&test_server, false);
    let md = domain(&registry, name).unwrap();
    assert_eq!((&md["activation"], md.get("live")), (&"graceful".into(), None));
    assert_eq!(md["after-restart"]["cert"]["P-256"]["from"], "staging");
    assert!(list(&registry).contains("which the server performs itself"));
    assert!(has_line(&registry, "Activation: graceful"));
    drop(registry);
    assert_eq!(health(&test_server.start(true)), Health::Good);
}

#[test]
fn short_lives_that_wait_for_restarts_are_warned_of() {
    for (mode, days, warned) in [
        (ActivationMode::Restart, 6, true),
        (ActivationMode::Restart, 90, false),
        (ActivationMode::Live, 6, false),
        (ActivationMode::Graceful, 6, false),
    ] {
        let name = "short.test";
        let test_server = test_server(name, mode);
        test_server.ca.behave(|ca| ca.days = days);
        drop(test_server.run(false));
        let registry = test_server.start(true);
        let words = registry.domains[0].activation_warning();
        assert_eq!(words.is_some(), warned, "{mode:?} {days}");
        let words = words.unwrap_or_else(|| "wait for a restart".to_owned());
        let told = domain(&registry, name).unwrap().get("activation-warning").cloned();
        assert_eq!(told, warned.then(|| words.as_str().into()), "{mode:?} {days}");
        assert_eq!(list(&registry).contains(&words), warned, "{mode:?} {days}");
        assert_eq!(has_line(&registry, &format!("ActivationWarning: {words}")), warned, "{mode:?} {days}");
    }
}

/// A way to a CA whose server stops when it polls an authorization.
struct Stopping(Arc<FakeCa>, Cancel);

impl HttpClient for Stopping {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        if request.url.contains("/authorization/") && self.0.count(Operation::Authorization) == 1 {
            self.1.cancel();
            return Err(HttpError::Cancelled);
        }
        self.0.send(request)
    }
}

#[test]
fn a_renewal_in_progress_tells_its_last_step_and_what_the_ca_has_found_so_far() {
    let name = "again.status.test";
    let test_server = TestServer::new(&[name]);
    test_server.ca.behave(|ca| {
        (ca.tells_early, ca.pending_reads, ca.looks_again_in) = (true, 100, Some("30"));
        ca.fails = |_, _| Some(("connection", "<b>no route</b>"));
    });
    let cancel = Cancel::default();
    let client = Arc::new(Stopping(Arc::clone(&test_server.ca), cancel.clone()));
    let renewals =
        test_server.renewals_with(false, test_server.moving_clock(), move |_| Some(Arc::clone(&client) as _));
    renewals.tick();
    renewals.work(&cancel);
    let registry = test_server.start(true);
    let step = format!("Waiting for the CA to look at 'http-01' of domain {name} again after Tue, 14 Nov 2023 22:1");
    let known = json::domain(&registry, name).unwrap();
    let activity = known["renewal"]["last"]["activity"].as_str().unwrap();
    assert!(activity.starts_with(&step), "{activity}");
    assert!(activity.ends_with(" GMT, as it found: <b>no route</b>"), "{activity}");
    assert!(known["renewal"]["log"].to_string().contains(activity));
    let page = list(&registry);
    assert!(page.contains(" GMT, as it found: &lt;b&gt;no route&lt;/b&gt;"), "{page}");
}

#[test]
fn a_ca_without_tls_is_marked_and_the_password_in_its_url_is_shown_nowhere() {
    watch_log();
    let name = "secret.status.test";
    let mut test_server = TestServer::new(&[name]);
    test_server.declared[0].settings.ca_urls =
        Some(vec![FakeCa::SECRET_DIRECTORY.to_owned(), FakeCa::DIRECTORY.to_owned()]);
    test_server.ca.fail(Operation::Directory, Fault::Drop);
    let (registry, _) = server(&test_server, false);
    let job = test_server.text(Group::Staging, name, &Aspect::JobJson).unwrap();
    let status = json::listing(&registry).to_string();
    let pages = [job, status, section(&registry), auto(&registry), metrics(&registry, MetricsFormat::Text, "")];
    for page in &pages {
        assert!(!page.contains("secret@") && !page.contains("user"), "{page}");
    }
    assert!(pages[0].contains(r#""url": "http://***@ca.test/directory""#), "{}", pages[0]);
    assert_eq!(json::listing(&registry)["managed-domains"][0]["ca"]["without-tls"], true);
    assert_eq!(logged("MD0080", "the CA at http://***@ca.test/directory is asked over http, without TLS"), 1);
    // The record of the CA is found again by its URL with the password.
    let job = test_server.staged_job(name);
    assert_eq!(job.authorities.next(&registry.domains[0].md.ca.urls, 9, Timestamp::UNIX_EPOCH).unwrap().failures, 1);
    test_server.clock.advance(hours(1));
    let (registry, _) = server(&test_server, true);
    assert!(!json::listing(&registry).to_string().contains("secret@"));
    assert_eq!(test_server.ca.ordered().len(), 1, "the renewal went on");
}

#[test]
fn what_somebody_has_put_into_a_report_is_shown_as_text() {
    let name = "planted.status.test";
    let test_server = TestServer::new(&[name]);
    let evil = "\u{1b}[2J\nManagedDomain[0]Name: forged\r\u{9b}1m\u{202e}end";
    let job = json!({
        "name": name, "errors": 3, "next-run": "Thu, 01 Jan 2099 00:00:00 GMT",
        "last": { "status": 20014, "problem": evil, "detail": evil, "activity": evil },
        "log": { "entries": [{ "when": "Thu, 01 Jan 2015 00:00:00 GMT", "type": evil, "status": evil, "detail": evil }] },
    });
    test_server.put(Group::Staging, name, &Aspect::JobJson, &job.to_string());
    let registry = test_server.start(true);
    let status = json::domain(&registry, name).unwrap();
    let shown = "?[2J ManagedDomain[0]Name: forged ?1m?end";
    assert_eq!(status["renewal"]["last"]["detail"], shown);
    assert_eq!(status["renewal"]["log"]["entries"][0]["detail"], shown);
    let pages = [section(&registry), auto(&registry), metrics(&registry, MetricsFormat::Text, "")];
    for page in &pages {
        let is_raw = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!page.contains(is_raw), "{page:?}");
        assert!(!page.lines().any(|line| line == "ManagedDomain[0]Name: forged"), "{page}");
    }
}
