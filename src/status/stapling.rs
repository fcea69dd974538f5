//! The status of OCSP responses, for the pages and metrics.

use std::sync::Arc;

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::Lines;
use super::parts::head;
use super::view::{date, roughly, seconds};
use crate::crypto::{Revocation, Summary};
use crate::model::{Job, Status, ca_name, time};
use crate::registry::{Domain, Registry};
use crate::stapling::{StapleView, revocation_name};

/// A stapled certificate.
pub struct Stapled {
    /// The OCSP response for the certificate.
    pub view: StapleView,
    /// The report on the OCSP requests of the owner.
    pub job: Option<Arc<Job>>,
    now: Timestamp,
}

/// Returns all stapled certificates, by owner and fingerprint.
#[must_use]
pub fn all(registry: &Registry) -> Vec<Stapled> {
    let now = registry.clock.now();
    let with_job = |view: StapleView| Stapled { job: registry.stapling.job(&view.owner), view, now };
    registry.stapling.views().into_iter().map(with_job).collect()
}

/// Returns the member `ocsp` of a certificate; `None` if nothing is known.
#[must_use]
pub fn json(domain: &Domain, certificate: &Summary, with_log: bool) -> Option<Value> {
    let owner = domain.md.name.as_str();
    let staple = domain.stapling.view_of(owner, certificate);
    if staple.is_none() && !domain.md.stapling {
        return None;
    }
    let job = domain.stapling.job(owner);
    let mut value = json!({});
    if let Some(staple) = &staple {
        value["status"] = revocation_name(staple.revocation).into();
        if let Some((from, until)) = staple.validity {
            value["valid"] = json!({ "from": time::format_gmt(from), "until": time::format_gmt(until) });
        }
    }
    if let Some(job) = &job {
        let job = if with_log { Job::clone(job) } else { job.without_log() };
        value["renewal"] = serde_json::to_value(job).unwrap_or_default();
    }
    (staple.is_some() || job.is_some()).then_some(value)
}

impl Stapled {
    /// Returns the SHA-1 fingerprint of the certificate in lower-case hexadecimal.
    #[must_use]
    pub fn id(&self) -> String {
        self.view.sha1.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Checks whether the certificate has no good response.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        !self.is(Revocation::Good)
    }

    fn is(&self, revocation: Revocation) -> bool {
        self.view.revocation == revocation
    }

    /// Returns the time of the next request after a failure.
    fn next_run(&self) -> Option<Timestamp> {
        let job = self.job.as_ref().filter(|job| job.errors > 0)?;
        let own = job.ocsp_failures.get(&self.id());
        own.and_then(|own| own.next_run).filter(|at| *at > self.now)
    }

    /// Returns the last failure of the owner, if requests for this certificate have failed since the last success.
    fn failure(&self) -> Option<&crate::model::JobResult> {
        let job = self.job.as_ref()?;
        job.last.as_ref().filter(|last| last.status != Status::OK && job.ocsp_failures.contains_key(&self.id()))
    }
}

/// Returns how many certificates have a good response, and how many others there are, in words.
pub fn counts(all: &[Stapled]) -> String {
    let count = |revocation| all.iter().filter(|stapled| stapled.is(revocation)).count();
    let [good, revoked, unknown] = [Revocation::Good, Revocation::Revoked, Revocation::Unknown].map(count);
    format!("Stapled certificates: {}, good: {good}, revoked: {revoked}, without a response: {unknown}", all.len())
}

/// Adds the lines for server-status?auto: counts, then one certificate after the other.
pub fn lines(lines: &mut Lines, all: &[Stapled]) {
    let count = |revocation| all.iter().filter(|stapled| stapled.is(revocation)).count();
    lines.prefix.clear();
    lines.add("ManagedStaplingsTotal", all.len());
    lines.add("ManagedStaplingsOK", count(Revocation::Good));
    lines.add("ManagedStaplingsRenew", count(Revocation::Revoked));
    lines.add("ManagedStaplingsErrored", count(Revocation::Unknown));
    for (index, stapled) in all.iter().enumerate() {
        lines.prefix = format!("ManagedStapling[{index}]");
        let view = &stapled.view;
        let now = stapled.now;
        lines.add("Domain", &view.owner);
        lines.add("CertificateID", stapled.id());
        lines.add("OCSPStatus", revocation_name(view.revocation));
        if let Some((from, until)) = view.validity {
            if from > now {
                lines.add("StaplingValidFrom", date(from));
            }
            lines.add("StaplingValidUntil", date(until));
        }
        lines.add("ResponderName", ca_name(&view.responder));
        lines.add("ResponderURL", &view.responder);
        match view.refresh_at.filter(|at| *at > now) {
            Some(at) => lines.add("ActivityRefresh", seconds(now, at)),
            None if stapled.failure().is_none() => lines.add("Activity", "Pending"),
            None => {}
        }
        if let Some(last) = stapled.failure() {
            lines.add("ActivityLastStatus", last.status);
            last.problem.iter().for_each(|problem| lines.add("ActivityLastProblem", problem));
            lines.add("ActivityFinished", "no");
            last.detail.iter().for_each(|detail| lines.add("ActivityLastDetail", detail));
        }
        if let Some(at) = stapled.next_run() {
            lines.add("ActivityNextRun", seconds(now, at));
        }
    }
    lines.prefix.clear();
}

const COLUMNS: [&str; 6] = ["Domain", "CertificateID", "OCSPStatus", "StaplingValid", "Responder", "Activity"];

/// Returns the table of the HTML pages.
pub fn table(all: &[Stapled]) -> Markup {
    html! {
        table.md_ocsp_status.md_status {
            thead { tr { @for column in COLUMNS { th class=(column) { (column) } } } }
            tbody {
                @for (index, stapled) in all.iter().enumerate() {
                    tr class=(if index % 2 == 0 { "even" } else { "odd" }) { (row(stapled)) }
                }
            }
        }
    }
}

/// Returns the table of md-page.
pub fn table_of_page(some: &[&Stapled], caption: &Markup) -> Markup {
    html! {
        table role="table" {
            caption { (caption) }
            (head(&["Domain", "Certificate", "Response", "Valid", "Responder", "What happens"]))
            tbody role="rowgroup" { @for stapled in some { (row_of_page(stapled)) } }
        }
    }
}

fn row_of_page(stapled: &Stapled) -> Markup {
    let view = &stapled.view;
    let now = stapled.now;
    let state = match view.revocation {
        Revocation::Good => "good",
        Revocation::Revoked => "revoked",
        Revocation::Unknown => "none yet",
    };
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (view.owner) }
            td role="cell" data-label="Certificate" { code { (stapled.id()) } }
            td role="cell" data-label="Response" { span class=(if stapled.is_troubled() { "bad" } else { "good" }) { (state) } }
            td role="cell" data-label="Valid" {
                @if let Some((from, until)) = view.validity {
                    @if from > now { "from " (date(from)) " " }
                    "until " (moment(until, now))
                }
            }
            td role="cell" data-label="Responder" { (ca_name(&view.responder)) }
            td role="cell" data-label="What happens" {
                @if let Some(last) = stapled.failure() {
                    p.bad { "The last request failed" @if let Some(detail) = &last.detail { ": " (detail) } }
                }
                @if let Some(at) = stapled.next_run() { p { "Next request " (moment(at, now)) } }
                @else if let Some(at) = view.refresh_at.filter(|at| *at > now) { p { "Refreshed " (moment(at, now)) } }
                @else { p { "The request begins soon" } }
            }
        }
    }
}

fn row(stapled: &Stapled) -> Markup {
    let view = &stapled.view;
    let now = stapled.now;
    html! {
        td.Domain { (view.owner) }
        td.CertificateID { (stapled.id()) }
        td.OCSPStatus { (revocation_name(view.revocation)) }
        td.StaplingValid {
            @if let Some((from, until)) = view.validity {
                @let title = format!("{} - {}", time::format_gmt(from), time::format_gmt(until));
                @if from > now { "from " span title=(title) { (date(from)) } " " }
                "until " span title=(title) { (roughly(until, now)) }
            }
        }
        td.Responder { a href=(view.responder) { (ca_name(&view.responder)) } }
        td.Activity {
            @let refresh = view.refresh_at.filter(|at| *at > now);
            @if let Some(at) = refresh { "Refresh " (moment(at, now)) }
            @else if stapled.failure().is_none() { "Pending" }
            @if let Some(last) = stapled.failure() {
                @if refresh.is_some() { br; }
                span.md_bad { "Error[" (last.status) "]: " @if let Some(detail) = &last.detail { (detail) } }
            }
            @if let Some(at) = stapled.next_run() { br; "Next run " (moment(at, now)) }
        }
    }
}

fn moment(at: Timestamp, now: Timestamp) -> Markup {
    html! { span title=(time::format_gmt(at)) { (roughly(at, now)) } }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::crypto::{Certificate, PrivateKey, base64url};
    use crate::status::page::list;
    use crate::status::{self, MetricsFormat};
    use crate::store::{Aspect, Group};
    use crate::testing::responder::{Said, Signatory};
    use crate::testing::{TestServer, host, p256};

    /// Makes a test_server with a domain that has a certificate, and another certificate without a domain. `said` is the response
    /// for the first one.
    fn scene(said: &Said<'_>) -> (TestServer, Signatory, [Certificate; 2]) {
        let mut test_server = TestServer::new(&["s.test"]);
        test_server.declared[0].settings.stapling = Some(true);
        test_server.hosts.push(host("other.test"));
        let now = crate::clock::Clock::now(&*test_server.clock);
        let key = PrivateKey::generate(&p256()).unwrap();
        let ca = Signatory::ca("CA", now);
        test_server.documents.save_key(Group::Domains, "s.test", &Aspect::PrivateKey(p256()), &key).unwrap();
        let leaves = [
            ca.leaf_of(key, "s.test", Some("http://ocsp.test/a"), false, now),
            ca.leaf("other.test", Some("http://ocsp.test/b"), false, now),
        ];
        let chain = String::from_utf8(ca.chain(&leaves[0])).unwrap();
        test_server.put(Group::Domains, "s.test", &Aspect::Chain(p256()), &chain);
        let der = ca.answer(&leaves[0], now, said);
        let from = time::format_gmt(now);
        let until = time::format_gmt(now + SignedDuration::from_hours(24));
        let stored = json!({ "response": base64url(&der), "status": "?", "valid": { "from": from, "until": until } });
        test_server.put(Group::Ocsp, "s.test", &Aspect::OcspJson(leaves[0].sha1()), &stored.to_string());
        (test_server, ca, leaves)
    }

    fn start(test_server: &TestServer, ca: &Signatory, leaves: &[Certificate]) -> Arc<Registry> {
        test_server.start_with(false, |setup| {
            for (position, leaf) in leaves.iter().enumerate() {
                assert!(setup.prime(position, Some(true), None, &ca.chain(leaf)));
            }
        })
    }

    #[test]
    fn all_pages_show_what_is_stapled() {
        let (test_server, ca, leaves) = scene(&Said::default());
        let id = leaves[1].sha1().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let failures = format!(r#""{id}":{{"errors":3,"next-run":"Tue, 14 Nov 2023 22:14:20 GMT"}}"#);
        let job = r#"{"name":"other","errors":3,"last":{"status":111,"detail":"no <connection>"}"#;
        test_server.put(Group::Ocsp, "other", &Aspect::JobJson, &format!(r#"{job},"ocsp-failures":{{{failures}}}}}"#));
        let registry = start(&test_server, &ca, &leaves);

        let md = status::domain(&registry, "s.test").unwrap();
        let ocsp = &md["cert"]["P-256"]["ocsp"];
        let until = "Wed, 15 Nov 2023 22:13:20 GMT";
        let valid = json!({ "from": "Tue, 14 Nov 2023 22:12:20 GMT", "until": until });
        assert_eq!(*ocsp, json!({ "status": "good", "valid": valid }));

        let lines = status::auto(&registry);
        let other = format!("CertificateID: {id}");
        let expected = [
            "ManagedStaplingsTotal: 2",
            "ManagedStaplingsOK: 1",
            "ManagedStaplingsRenew: 0",
            "ManagedStaplingsErrored: 1",
            "ManagedStapling[0]Domain: other",
            &format!("ManagedStapling[0]{other}"),
            "ManagedStapling[0]OCSPStatus: unknown",
            "ManagedStapling[0]ResponderName: ocsp.test",
            "ManagedStapling[0]ResponderURL: http://ocsp.test/b",
            "ManagedStapling[0]ActivityLastStatus: Connection refused",
            "ManagedStapling[0]ActivityFinished: no",
            "ManagedStapling[0]ActivityLastDetail: no <connection>",
            "ManagedStapling[0]ActivityNextRun: 60",
            "ManagedStapling[1]Domain: s.test",
            &format!("ManagedStapling[1]CertificateID: {}", Stapled::id(&all(&registry)[1])),
            "ManagedStapling[1]OCSPStatus: good",
            "ManagedStapling[1]StaplingValidUntil: 2023-11-15",
            "ManagedStapling[1]ResponderName: ocsp.test",
            "ManagedStapling[1]ResponderURL: http://ocsp.test/a",
            "ManagedStapling[1]ActivityRefresh: 57869",
        ];
        let staplings: Vec<&str> = lines.lines().filter(|line| line.starts_with("ManagedStapling")).collect();
        assert_eq!(staplings, expected);

        let shown = |query| {
            let request = status::PageRequest { query, ..Default::default() };
            status::page(&registry, &request).html
        };
        for page in [shown(""), shown("list=staplings")] {
            for words in [&id, "none yet", "The last request failed: no &lt;conn", "Next request"] {
                assert!(page.contains(words), "{words}: {page}");
            }
        }
        assert!(shown("list=staplings").contains(">s.test</th>") && !shown("").contains(">s.test</th>"));
        let section = status::section(&registry);
        let at = section.find("<table class=\"md_ocsp_status md_status\">").expect("a table");
        for words in [&id, "good", "until ", "in ~1 day", ">ocsp.test</a>", "Refresh ", "Error[", "no &lt;conn", "Next"]
        {
            assert!(section[at..].contains(words), "{words}: {section}");
        }

        let text = status::metrics(&registry, MetricsFormat::Text, "");
        for line in [
            format!(r#"mod_md_ocsp_status{{domain="other",certificate="{id}",status="unknown"}} 1"#),
            format!(r#"mod_md_ocsp_status{{domain="other",certificate="{id}",status="good"}} 0"#),
            format!(r#"mod_md_ocsp_errors{{domain="other",certificate="{id}"}} 3"#),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
        let dates: Vec<_> =
            text.lines().filter(|line| line.starts_with("mod_md_ocsp") && line.contains("date_")).collect();
        assert_eq!(dates.len(), 2);
        assert!(dates[0].ends_with(" 1699999940") && dates[1].ends_with(" 1700086400"), "{dates:?}");
    }

    #[test]
    fn what_is_revoked_is_bad_and_due() {
        let (test_server, ca, leaves) = scene(&Said { revocation: Revocation::Revoked, ..Said::default() });
        test_server.put(
            Group::Ocsp,
            "s.test",
            &Aspect::JobJson,
            r#"{"name":"s.test","log":{"entries":[{"type":"x"}]}}"#,
        );
        let registry = start(&test_server, &ca, &leaves[..1]);
        let md = status::domain(&registry, "s.test").unwrap();
        let ocsp = &md["cert"]["P-256"]["ocsp"];
        assert_eq!((&ocsp["status"], &ocsp["renewal"]["log"]["entries"][0]["type"]), (&"revoked".into(), &"x".into()));
        assert_eq!(md["renew"], true);
        let listed = &status::listing(&registry)["managed-domains"][0]["cert"]["P-256"]["ocsp"]["renewal"];
        assert_eq!((&listed["name"], listed.get("log")), (&"s.test".into(), None));
        assert!(list(&registry).contains("<b>1</b> revoked"));
        assert!(status::auto(&registry).contains("ManagedStaplingsRenew: 1\n"));
    }

    #[test]
    fn without_staplings_there_is_nothing_to_see() {
        let test_server = TestServer::new(&["n.test"]);
        let registry = test_server.start(false);
        assert!(status::auto(&registry).contains("ManagedStaplingsTotal: 0\nManagedStaplingsOK: 0\n"));
        assert!(!list(&registry).contains("Stapl"));
        assert!(!status::metrics(&registry, MetricsFormat::Text, "").contains("mod_md_ocsp"));
        assert!(!status::listing(&registry).to_string().contains("ocsp"));
    }
}
