//! The status as lines of text: `server-status?auto`.

use super::view::{self, View, check_url, date, has_failed, seconds};
use super::{Lines, stapling};
use crate::model::{State, Status, time};
use crate::registry::Registry;

/// Returns the lines about managed domains: counts, then domain by domain, then OCSP responses.
#[must_use]
pub fn auto(registry: &Registry) -> String {
    let views = view::all(registry);
    let mut lines = Lines::default();
    counts(&mut lines, &views);
    for (index, view) in views.iter().enumerate() {
        lines.prefix = format!("ManagedDomain[{index}]");
        domain(&mut lines, registry, view);
    }
    stapling::lines(&mut lines, &stapling::all(registry));
    lines.text
}

fn counts(lines: &mut Lines, views: &[View<'_>]) {
    let count = |test: &dyn Fn(&View<'_>) -> bool| views.iter().filter(|view| test(view)).count();
    let usual = |view: &View<'_>| matches!(view.state(), State::Complete | State::Incomplete);
    let failed = |view: &View<'_>| view.staged.as_ref().is_some_and(|staged| has_failed(&staged.job));
    let ready = |view: &View<'_>| view.renewal().is_some_and(|job| job.finished && !has_failed(job));
    lines.add("ManagedCertificatesTotal", views.len());
    lines.add("ManagedCertificatesOK", count(&|view| view.state() == State::Complete));
    lines.add("ManagedCertificatesRenew", count(&|view| usual(view) && view.renews()));
    lines.add("ManagedCertificatesErrored", count(&|view| !usual(view) || failed(view)));
    lines.add("ManagedCertificatesReady", count(&|view| usual(view) && ready(view)));
}

fn domain(lines: &mut Lines, registry: &Registry, view: &View<'_>) {
    lines.add("Domain", &view.md.name);
    for (index, name) in view.md.domains.iter().enumerate() {
        lines.add(&format!("Names[{index}]"), name);
    }
    lines.add("Status", view.status());
    if let Some((from, until)) = view.validity() {
        if from > view.now {
            lines.add("ValidFrom", date(from));
        }
        lines.add("ValidUntil", date(until));
    }
    for (index, (name, url)) in view.authorities().iter().enumerate() {
        let number = if index == 0 { String::new() } else { index.to_string() };
        lines.add(&format!("CAName{number}"), name);
        url.iter().for_each(|url| lines.add(&format!("CAURL{number}"), url));
    }
    if view.md.stapling {
        lines.add("Stapling", "on");
    }
    for (kind, certificate) in view.certificates() {
        lines.add("CheckAtType", kind);
        lines.add("CheckAtName", &registry.globals.certificate_check.0);
        lines.add("CheckAtURL", check_url(&registry.globals, certificate));
        lines.add("CheckAtFingerprint", certificate.sha256_fingerprint());
    }
    activity(lines, view);
    activation(lines, view);
}

/// Adds lines that the C module does not have: certificates that are live, and those that a restart would serve.
fn activation(lines: &mut Lines, view: &View<'_>) {
    view.domain.activation_warning().iter().for_each(|warning| lines.add("ActivationWarning", warning));
    let Some(mode) = view.activation() else { return };
    lines.add("Activation", mode);
    view.live_since().into_iter().for_each(|at| lines.add("LiveSince", time::format_gmt(at)));
    for (spec, pair) in view.live.iter().flat_map(|live| &live.pairs) {
        lines.add("LiveType", spec.json_name());
        lines.add("LiveSerial", pair.summary().serial_hex());
    }
    for (kind, place, certificate) in view.after_restart() {
        lines.add("AfterRestartType", kind);
        lines.add("AfterRestartFrom", place.name());
        lines.add("AfterRestartSerial", certificate.serial_hex());
    }
}

fn activity(lines: &mut Lines, view: &View<'_>) {
    let Some(job) = view.renewal() else {
        match view.renew_at {
            at if at > view.now => lines.add("ActivityRenew", seconds(view.now, at)),
            _ => lines.add("Activity", "Pending"),
        }
        return;
    };
    if let Some(last) = job.last.as_ref().filter(|last| last.status != Status::OK) {
        lines.add("ActivityLastStatus", last.status);
        last.problem.iter().for_each(|problem| lines.add("ActivityLastProblem", problem));
    }
    if job.finished {
        lines.add("ActivityFinished", "yes");
        lines.add("ActivityNewStaged", view.staged_count());
        return;
    }
    lines.add("ActivityFinished", "no");
    if let Some(detail) = job.last.as_ref().and_then(|last| last.detail.as_ref()) {
        lines.add("ActivityLastDetail", detail);
    }
    if let Some(at) = view.next_run() {
        lines.add("ActivityNextRun", seconds(view.now, at));
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::testing::TestServer;
    use crate::testing::ca::{FakeCa, Fault, Operation, problem};

    /// Returns the lines about the first domain, without their prefix.
    fn lines(registry: &Registry) -> Vec<String> {
        let prefix = "ManagedDomain[0]";
        auto(registry).lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    fn counts(registry: &Registry) -> Vec<String> {
        let count = |line: &str| Some(line.strip_prefix("ManagedCertificates")?.to_owned());
        auto(registry).lines().filter_map(count).collect()
    }

    #[test]
    fn without_domains_there_are_counts() {
        let text = auto(&TestServer::new(&[]).start(false));
        let kinds = ["Total", "OK", "Renew", "Errored", "Ready"].map(|kind| format!("ManagedCertificates{kind}: 0\n"));
        let ocsp = ["Total", "OK", "Renew", "Errored"].map(|kind| format!("ManagedStaplings{kind}: 0\n"));
        assert_eq!(text, kinds.concat() + &ocsp.concat());
    }

    #[test]
    fn a_domain_is_told_from_its_first_renewal_to_the_next_failure() {
        let test_server = TestServer::new(&["t.test"]);
        let registry = test_server.start(false);
        let new = [
            "Domain: t.test",
            "Names[0]: t.test",
            "Status: incomplete: certificate(P-256) is missing",
            "CAName: ca.test",
            &format!("CAURL: {}", FakeCa::DIRECTORY),
            "Activity: Pending",
        ];
        assert_eq!(lines(&registry), new);
        assert_eq!(counts(&registry), ["Total: 1", "OK: 0", "Renew: 1", "Errored: 0", "Ready: 0"]);

        drop(test_server.run(false));
        assert_eq!(lines(&registry)[5..], ["ActivityFinished: yes", "ActivityNewStaged: 1"]);
        assert_eq!(counts(&registry), ["Total: 1", "OK: 0", "Renew: 1", "Errored: 0", "Ready: 1"]);

        let registry = test_server.start(true);
        let certificate = registry.domains[0].own_certificates().next().unwrap();
        let fingerprint = certificate.sha256_fingerprint();
        let (check, url) = &registry.globals.certificate_check;
        let good = [
            "Status: good",
            "ValidUntil: 2024-02-12",
            "CAName: ca.test",
            &format!("CAURL: {}", FakeCa::DIRECTORY),
            "CheckAtType: P-256",
            &format!("CheckAtName: {check}"),
            &format!("CheckAtURL: {url}{fingerprint}"),
            &format!("CheckAtFingerprint: {fingerprint}"),
        ];
        let told = lines(&registry);
        assert_eq!(told[2..10], good);
        assert!(told.len() == 11 && told[10].starts_with("ActivityRenew: 52"), "{told:?}");
        assert_eq!(counts(&registry), ["Total: 1", "OK: 1", "Renew: 0", "Errored: 0", "Ready: 0"]);

        test_server.clock.advance(SignedDuration::from_hours(24 * 61));
        test_server
            .ca
            .fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", "no\nManagedDomain[9]Domain: x")));
        drop(test_server.run(true));
        let told = lines(&test_server.start(true));
        let failed = [
            "ActivityLastStatus: 20014",
            "ActivityLastProblem: urn:ietf:params:acme:error:serverInternal",
            "ActivityFinished: no",
        ];
        assert_eq!(told[10..13], failed);
        assert!(told[13].starts_with("ActivityLastDetail: ") && told[13].contains("no ManagedDomain[9]"), "{told:?}");
        assert!(told[14].starts_with("ActivityNextRun: "), "{told:?}");
        assert_eq!(counts(&test_server.start(true)), ["Total: 1", "OK: 1", "Renew: 1", "Errored: 1", "Ready: 0"]);
    }
}
