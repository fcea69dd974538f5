//! The status as JSON: the documents of the md-status handler and of `MDCertificateStatus`.

use serde_json::{Map, Value, json};

use super::stapling;
use super::view::{self, View, key_names, served_names};
use crate::crypto::{Sct, Summary, TlsPair};
use crate::model::{KeySpec, ManagedDomain, Timestamp, VERSION, hide_passwords, is_plain_http, time};
use crate::registry::{Place, Registry};
use crate::schedule::Validity;
use crate::sets::{StagedView, Suggestion, TlsSet, common_validity};

/// Returns all domains, sorted by name, without the logs of their renewals.
#[must_use]
pub fn listing(registry: &Registry) -> Value {
    let views = view::all(registry);
    let mut listing = Map::new();
    listing.insert("version".to_owned(), VERSION.into());
    if !views.is_empty() {
        listing.insert("managed-domains".to_owned(), views.iter().map(|view| object(view, false)).collect());
    }
    Value::Object(listing)
}

/// Returns the managed domain `name`, or the one with this DNS name, with the log of its renewal.
#[must_use]
pub fn domain(registry: &Registry, name: &str) -> Option<Value> {
    Some(object(&view::of(registry, name)?, true))
}

/// Returns the public document about the certificates of the domain at `position` (`MDCertificateStatus`).
#[must_use]
pub fn certificate_status(registry: &Registry, position: usize) -> Option<Value> {
    registry.live_sets.refresh();
    let view = View::new(registry, registry.domains.get(position)?, true);
    let mut members = Map::new();
    if let Some(common) = view.validity() {
        members.insert("valid".to_owned(), validity(common));
    }
    let served = served_names(view.md).into_iter().zip(&view.served.certificates);
    members.extend(served.map(|(name, summary)| (name, summary.as_ref().map_or_else(|| json!({}), short_certificate))));
    if let Some(staged) = &view.staged {
        members.insert("renewal".to_owned(), json!({ "cert": staged_certificates(view.md, staged) }));
    }
    Some(Value::Object(members))
}

fn short_certificate(summary: &Summary) -> Value {
    json!({
        "valid": validity(summary.validity()),
        "serial": summary.serial_hex(),
        "sha256-fingerprint": summary.sha256_fingerprint(),
    })
}

/// Returns all that is known of a domain: the settings, then members in the order of the C module, then those of our own.
fn object(view: &View<'_>, with_log: bool) -> Value {
    let md = view.md;
    let suggestion = view.advice.earliest(view.domain.own_certificates());
    let is_activated_otherwise = view.activation().is_some() && !md.is_static();
    let known = [
        ("cert", Some(served(view, with_log))),
        ("renew-at", Some(time::format_gmt(view.renew_at).into())),
        ("watched", Some(view.domain.watched.into())),
        ("renew", view.renews().then(|| true.into())),
        ("renewal", view.staged.as_ref().map(|staged| renewal(md, staged, with_log))),
        ("ari", suggestion.map(|suggestion| ari(suggestion, view.advice.next_check))),
        ("txt-records", Some(view.txt_records()).filter(|records| !records.is_empty()).map(|records| json!(records))),
        ("unsuitable", view.unsuitable().map(Value::from)),
        ("activation-warning", view.domain.activation_warning().map(Value::from)),
        ("live", view.live.as_deref().map(live)),
        ("after-restart", is_activated_otherwise.then(|| after_restart(view))),
    ];
    let mut members = settings(view);
    members.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let mut object = Value::Object(members);
    hide_passwords(&mut object);
    object
}

/// Returns the settings of a domain as `md.json` has them, without the key of the external account.
fn settings(view: &View<'_>) -> Map<String, Value> {
    let Ok(Value::Object(mut members)) = serde_json::to_value(view.md) else { return Map::new() };
    if let Some(hmac) = members.get_mut("eab").and_then(|eab| eab.get_mut("hmac")) {
        *hmac = "***".into();
    }
    let ca = members.get_mut("ca").and_then(Value::as_object_mut);
    if let Some(ca) = ca.filter(|_| view.md.ca.urls.iter().any(|url| is_plain_http(url))) {
        ca.insert("without-tls".to_owned(), true.into());
    }
    if let Some(ca) = members.get_mut("ca").and_then(Value::as_object_mut).filter(|_| view.md.is_static()) {
        // The configured CA has issued none of the served certificates.
        ca.shift_remove("url");
        ca.insert("issuers".to_owned(), json!(view.issuers()));
    }
    if view.live.is_some() {
        state(&mut members, view);
    }
    members
}

/// Returns the served certificates, with their OCSP responses.
fn served(view: &View<'_>, with_log: bool) -> Value {
    let mut served = certificates(&served_names(view.md), &view.served.certificates);
    for (name, certificate) in view.certificates() {
        if let Some(ocsp) = stapling::json(view.domain, certificate, with_log) {
            served[name]["ocsp"] = ocsp;
        }
    }
    served
}

/// Returns the report on the renewal in progress, with its certificates.
fn renewal(md: &ManagedDomain, staged: &StagedView, with_log: bool) -> Value {
    let job = if with_log { staged.job.clone() } else { staged.job.without_log() };
    let mut renewal = serde_json::to_value(job).unwrap_or_default();
    if let Some(members) = renewal.as_object_mut() {
        members.remove("txt-records");
        members.insert("cert".to_owned(), staged_certificates(md, staged));
    }
    renewal
}

/// Replaces the state at the start by the present one.
fn state(members: &mut Map<String, Value>, view: &View<'_>) {
    members.insert("state".to_owned(), serde_json::to_value(view.state()).unwrap_or_default());
    members.shift_remove("state-descr");
    if let Some(why) = &view.served.state_descr {
        let place = members.keys().position(|name| name == "state").map_or(members.len(), |place| place + 1);
        members.shift_insert(place, "state-descr".to_owned(), why.as_str().into());
    }
}

/// Returns the certificates that went live without a restart, and since when.
fn live(set: &TlsSet) -> Value {
    let certificate =
        |(spec, pair): &(KeySpec, TlsPair)| (spec.json_name().to_owned(), short_certificate(pair.summary()));
    let mut value = json!({ "cert": set.pairs.iter().map(certificate).collect::<Map<_, _>>() });
    if let Some(at) = set.since {
        value["since"] = time::format_gmt(at).into();
    }
    value
}

/// Returns the certificates that a restart would serve, and from which directory of the store.
fn after_restart(view: &View<'_>) -> Value {
    let certificate = |(name, place, summary): (String, Place, Summary)| {
        let mut value = short_certificate(&summary);
        value["from"] = place.name().into();
        (name, value)
    };
    json!({ "cert": view.after_restart().into_iter().map(certificate).collect::<Map<_, _>>() })
}

/// Returns the renewal window that the CA suggests (RFC 9773), and when the CA is asked again.
fn ari(suggestion: &Suggestion, next_check: Option<Timestamp>) -> Value {
    let window = json!({ "from": time::format_gmt(suggestion.start), "until": time::format_gmt(suggestion.end) });
    let mut value = json!({ "suggested-window": window, "renew-at": time::format_gmt(suggestion.renew_at) });
    let members =
        [("explanation-url", suggestion.explanation_url.clone()), ("next-check", next_check.map(time::format_gmt))];
    for (name, text) in members.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        value[name] = text.into();
    }
    value
}

/// Returns a member per certificate, and their common validity.
fn certificates(names: &[String], all: &[Option<Summary>]) -> Value {
    let named = names.iter().zip(all).filter_map(|(name, summary)| Some((name, summary.as_ref()?)));
    let mut members: Map<String, Value> = named.map(|(name, summary)| (name.clone(), certificate(summary))).collect();
    if let Some(common) = common_validity(all.iter().map(Option::as_ref)) {
        members.insert("valid".to_owned(), validity(common));
    }
    Value::Object(members)
}

/// Returns the staged certificates, with their SCTs: by these the owner finds them in logs among those of other people.
fn staged_certificates(md: &ManagedDomain, staged: &StagedView) -> Value {
    let names = key_names(md);
    let mut all = certificates(&names, &staged.certificates);
    for (name, scts) in names.iter().zip(&staged.scts).filter(|(_, scts)| !scts.is_empty()) {
        all[name]["scts"] = scts.iter().map(sct).collect();
    }
    all
}

fn sct(sct: &Sct) -> Value {
    json!({
        "logid": sct.log_id,
        "signed": time::format_gmt(sct.signed),
        "signature": sct.signature,
        "signature-type": sct.signature_type,
    })
}

fn certificate(summary: &Summary) -> Value {
    let mut value = json!({ "issuer-name": summary.issuer_name() });
    let mut set = |name: &str, member: Value| value[name] = member;
    if let Some(uri) = summary.issuer_uri() {
        set("issuer-uri", uri.into());
    }
    set("valid", validity(summary.validity()));
    set("serial", summary.serial_hex().into());
    set("sha256-fingerprint", summary.sha256_fingerprint().into());
    if let Some(id) = summary.ari_cert_id() {
        set("ari-cert-id", id.into());
    }
    value
}

fn validity((from, until): Validity) -> Value {
    json!({ "from": time::format_gmt(from), "until": time::format_gmt(until) })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::{Eab, Job, LastRenewal, RenewMode};
    use crate::registry::Domain;
    use crate::store::{Aspect, Group, Store};
    use crate::testing::ca::{Fault, Operation, problem};
    use crate::testing::{TestServer, declared, host, p256};

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    const SETTINGS: [&str; 14] = [
        "name",
        "domains",
        "contacts",
        "transitive",
        "ca",
        "privkey",
        "state",
        "renew-mode",
        "renew-window",
        "warn-window",
        "must-staple",
        "proto",
        "stapling",
        "profile-mandatory",
    ];

    #[test]
    fn without_domains_there_is_only_the_version() {
        let test_server = TestServer::new(&[]);
        assert_eq!(listing(&test_server.start(false)), json!({ "version": VERSION }));
    }

    #[test]
    fn members_are_in_the_contracts_order() {
        let test_server = TestServer::new(&["b.test", "a.test"]);
        let registry = test_server.start(false);
        let all = listing(&registry);
        assert_eq!(keys(&all), ["version", "managed-domains"]);
        let names: Vec<_> = all["managed-domains"].as_array().unwrap().iter().map(|md| &md["name"]).collect();
        assert_eq!(names, ["a.test", "b.test"]);
        let md = &all["managed-domains"][0];
        let mut expected = SETTINGS.to_vec();
        expected.insert(7, "state-descr");
        expected.extend(["ari-renewals", "cert", "renew-at", "watched", "renew"]);
        assert_eq!(keys(md), expected);
        assert_eq!(keys(&md["ca"]), ["proto", "url", "urls", "agreement"]);
        assert_eq!((&md["cert"], &md["renew"], &md["watched"]), (&json!({}), &true.into(), &true.into()));
        assert_eq!(md["state-descr"], "certificate(P-256) is missing");
    }

    #[test]
    fn a_complete_domain_shows_its_certificate_and_no_renew() {
        let test_server = TestServer::new(&["c.test"]);
        drop(test_server.run(false));
        let registry = test_server.start(true);
        let md = domain(&registry, "c.test").unwrap();
        let mut expected = SETTINGS.to_vec();
        expected.extend(["ari-renewals", "cert", "renew-at", "watched"]);
        assert_eq!(keys(&md), expected);
        assert_eq!(keys(&md["ca"]), ["account", "proto", "url", "urls", "agreement"]);
        assert_eq!(keys(&md["cert"]), ["P-256", "valid"]);
        let cert = &md["cert"]["P-256"];
        assert_eq!(keys(cert), ["issuer-name", "valid", "serial", "sha256-fingerprint", "ari-cert-id"]);
        assert_eq!((&cert["issuer-name"], keys(&cert["valid"])), (&"/CN=Fake CA".into(), vec!["from", "until"]));
        assert_eq!(md["cert"]["valid"], cert["valid"]);
        assert_eq!(md["state"], 2);
        test_server.clock.advance(SignedDuration::from_hours(24 * 61));
        assert_eq!(domain(&registry, "c.test").unwrap()["renew"], true, "its window has opened");
    }

    #[test]
    fn what_is_served_is_told_without_a_look_at_the_store() {
        let test_server = TestServer::new(&["n.test"]);
        drop(test_server.run(false));
        let registry = test_server.start(true);
        let before = listing(&registry);
        test_server.store.purge(Group::Domains, "n.test").unwrap();
        assert_eq!(listing(&registry), before);
        assert_eq!(before["managed-domains"][0]["state"], 2);
    }

    #[test]
    fn what_the_ca_suggests_is_shown_and_is_no_renewal() {
        let mut test_server = TestServer::new(&["k.test"]);
        drop(test_server.run(false));
        let registry = test_server.start(true);
        let until = domain(&registry, "k.test").unwrap()["renew-at"].clone();
        let id = registry.domains[0].own_certificates().next().unwrap().ari_cert_id().unwrap();
        let suggested = json!({
            "start": "2023-12-01T00:00:00.5Z", "end": "2023-12-03T00:00:00Z", "renew-at": "2023-12-02T06:07:08.9Z",
            "explanation-url": "https://ca.test/why"
        });
        let advice = json!({
            "asked": "Tue, 14 Nov 2023 22:00:00 GMT", "next-check": "Wed, 15 Nov 2023 04:00:00 GMT",
            "certificates": { id: suggested, "another": suggested }
        });
        test_server.put(Group::Staging, "k.test", &Aspect::AriJson, &advice.to_string());
        let md = domain(&registry, "k.test").unwrap();
        assert_eq!(keys(&md)[keys(&md).len() - 3..], ["renew-at", "watched", "ari"]);
        let expected = json!({
            "suggested-window": { "from": "Fri, 01 Dec 2023 00:00:00 GMT", "until": "Sun, 03 Dec 2023 00:00:00 GMT" },
            "renew-at": "Sat, 02 Dec 2023 06:07:08 GMT",
            "explanation-url": "https://ca.test/why",
            "next-check": "Wed, 15 Nov 2023 04:00:00 GMT"
        });
        assert_eq!((&md["ari"], &md["renew-at"]), (&expected, &expected["renew-at"]));
        // If the CA has no say, what it said is not shown.
        test_server.declared[0].settings.ari_renewals = Some(false);
        let md = domain(&test_server.start(true), "k.test").unwrap();
        assert_eq!((md.get("ari"), &md["renew-at"]), (None, &until));
    }

    #[test]
    fn a_renewal_is_shown_with_its_log_in_the_single_view_only() {
        let test_server = TestServer::new(&["d.test"]);
        test_server.ca.fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", "no")));
        drop(test_server.run(false));
        let registry = test_server.start(true);
        let md = domain(&registry, "d.test").unwrap();
        assert_eq!(keys(&md)[keys(&md).len() - 2..], ["renew", "renewal"]);
        let members = ["name", "finished", "notified", "notified-renewed", "next-run", "last-run", "errors", "last"];
        assert_eq!(keys(&md["renewal"]), [&members[..], &["log", "cert"]].concat());
        assert_eq!((&md["renewal"]["errors"], &md["renewal"]["cert"]), (&1.into(), &json!({})));
        let short = &listing(&registry)["managed-domains"][0]["renewal"];
        assert_eq!(keys(short), [&members[..], &["cert"]].concat());
    }

    #[test]
    fn a_staged_certificate_is_shown_until_it_is_missing() {
        let test_server = TestServer::new(&["e.test"]);
        let registry = test_server.start(false);
        drop(test_server.run(false));
        let md = domain(&registry, "e.test").unwrap();
        assert_eq!((&md["renewal"]["finished"], md["renewal"]["valid-from"].is_string()), (&true.into(), true));
        assert_eq!(keys(&md["renewal"]["cert"]), ["P-256", "valid"]);
        test_server.store.remove(Group::Staging, "e.test", &Aspect::Chain(p256())).unwrap();
        let md = domain(&registry, "e.test").unwrap();
        assert!(md.get("renewal").is_none(), "a report of what is not there");
        test_server.put(Group::Staging, "e.test", &Aspect::JobJson, "{");
        assert!(domain(&registry, "e.test").unwrap().get("renewal").is_none());
    }

    #[test]
    fn what_logs_have_signed_is_shown_of_what_is_staged() {
        let test_server = TestServer::new(&["l.test"]);
        drop(test_server.run(false));
        let registry = test_server.start(false);
        let md = &registry.domains[0].md;
        let certificates = registry.domains[0].at_start.certificates.clone();
        let scts = vec![Sct { signature_type: "ecdsa-with-SHA256", ..Sct::default() }];
        let staged = StagedView { job: Job::default(), certificates, scts: vec![scts] };
        let shown = &staged_certificates(md, &staged)["P-256"];
        assert_eq!(keys(shown).last(), Some(&"scts"));
        let expected = json!([{
            "logid": "", "signed": "Thu, 01 Jan 1970 00:00:00 GMT", "signature": "", "signature-type": "ecdsa-with-SHA256"
        }]);
        assert_eq!(shown["scts"], expected);
    }

    #[test]
    fn why_a_domain_cannot_be_renewed_is_shown_until_it_can() {
        let mut test_server = TestServer::new(&["m.test"]);
        test_server.reach.http = false;
        test_server.reach.https = false;
        let md = domain(&test_server.start(false), "m.test").unwrap();
        assert_eq!(keys(&md).last(), Some(&"unsuitable"));
        assert!(md["unsuitable"].as_str().unwrap().starts_with("None of the ACME challenge methods"), "{md}");
        test_server.declared[0].settings.renew_mode = Some(RenewMode::Manual);
        assert_eq!(domain(&test_server.start(true), "m.test").unwrap().get("unsuitable"), None, "nobody wants to");
        test_server.declared[0].settings.renew_mode = None;
        test_server.reach.http = true;
        assert_eq!(domain(&test_server.start(true), "m.test").unwrap().get("unsuitable"), None);
    }

    #[test]
    fn a_domain_is_found_by_any_of_its_names() {
        let mut test_server = TestServer::new(&["f.test", "g.test"]);
        test_server.declared[0] = declared(&["f.test", "www.f.test", "*.h.test"]);
        test_server.hosts.push(host("www.f.test"));
        let registry = test_server.start(false);
        for (name, expected) in [
            ("F.test", Some("f.test")),
            ("www.f.test", Some("f.test")),
            ("x.h.test", Some("f.test")),
            ("g.test", Some("g.test")),
            ("x.y.h.test", None),
            ("h.test", None),
            ("", None),
        ] {
            let found = domain(&registry, name).map(|md| md["name"].as_str().unwrap().to_owned());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn the_records_that_a_domain_needs_are_shown_while_it_lists_their_challenge() {
        let mut test_server = TestServer::new(&["x.test"]);
        test_server.ca.behave(|ca| (ca.kind, ca.issuers) = ("dns-persist-01", vec!["ca.test"]));
        test_server.declared[0].settings.challenges = Some(vec!["dns-persist-01".to_owned()]);
        let records = json!([{
            "name": "_validation-persist.x.test", "value": "ca.test; accounturi=https://ca.test/account/0"
        }]);
        let shown = |registry: &Registry| domain(registry, "x.test").unwrap();
        assert_eq!(shown(&test_server.start(false)).get("txt-records"), None, "not known yet");
        drop(test_server.run(false));
        let registry = test_server.start(true);
        let renewed = shown(&registry);
        assert_eq!((&renewed["txt-records"], renewed.get("renewal")), (&records, None), "after the activation");
        assert!(super::super::page::list(&registry).contains("<code>_validation-persist.x.test</code> TXT"));
        test_server.clock.advance(SignedDuration::from_hours(24 * 61));
        test_server.ca.behave(|ca| ca.finds = Some("no such record"));
        drop(test_server.run(true));
        let failed = shown(&test_server.start(true));
        assert_eq!(failed["txt-records"], records);
        assert_eq!(failed["renewal"].get("txt-records"), None);
        let detail = failed["renewal"]["last"]["detail"].as_str().unwrap();
        assert!(detail.ends_with("/account/0' and leave it there"), "{detail}");
        test_server.declared[0].settings.challenges = None;
        assert_eq!(shown(&test_server.start(true)).get("txt-records"), None);
    }

    #[test]
    fn the_key_of_an_external_account_is_not_shown() {
        let test_server = TestServer::new(&["i.test"]);
        let registry = test_server.start(false);
        let mut md = (*registry.domains[0].md).clone();
        md.eab = Some(std::sync::Arc::new(Eab { kid: "kid-1".to_owned(), hmac: "c2VjcmV0".to_owned() }));
        let domain = Domain {
            md: std::sync::Arc::new(md),
            at_start: registry.domains[0].at_start.clone(),
            standby: None,
            watched: true,
            issued_by: std::sync::Arc::default(),
            activated: None,
            ordered: None,
            told: None,
            challenges: Ok(Vec::new()).into(),
            last_renewal: LastRenewal::default(),
            stapling: std::sync::Arc::clone(&registry.stapling),
            slot: None,
        };
        let shown = object(&View::new(&registry, &domain, true), true);
        assert_eq!(shown["eab"], json!({ "kid": "kid-1", "hmac": "***" }));
        assert!(!shown.to_string().contains("c2VjcmV0"));
    }
}
