//! Requests renewal information from CAs (ARI, RFC 9773).
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::acme::{AriError, Session, again_at, ask_renewal_info};
use crate::http::HttpClient;
use crate::log::{note, report};
use crate::registry::{Domain, Registry};
use crate::sets::Advice;
use crate::store::{Aspect, Group};

/// How long the URL from a directory is used.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Time until the next attempt if another process works on the domain.
const CLAIMED_ELSEWHERE: SignedDuration = SignedDuration::from_mins(1);

/// Requests renewal information. Directories are read once for all domains.
#[derive(Default)]
pub struct Advisor {
    /// Until when to use it, and the URL for renewal information if the CA has it; by URL of the directory.
    endpoints: Mutex<HashMap<String, (Timestamp, Option<String>)>>,
}

impl Advisor {
    /// Requests renewal information for the certificates of a domain from the CA that issued them, and stores it as advice.
    /// Returns when to ask again. An error is only logged, as renewals do not depend on the answer.
    pub(crate) fn ask(
        &self,
        registry: &Registry,
        domain: &Domain,
        http: &Arc<dyn HttpClient>,
        random: fn() -> f64,
    ) -> Timestamp {
        let name = domain.md.name.as_str();
        let now = registry.clock.now();
        let claim = match registry.documents.store().claim(name) {
            Ok(Some(claim)) => claim,
            Ok(None) => return now + CLAIMED_ELSEWHERE,
            Err(err) => {
                note!(Debug, err.status(); "{name}: renewal information is not requested: {err}");
                return again_at(None, now);
            }
        };
        let url = domain.issuer().unwrap_or_default();
        report!(AH10513, "{name}: ARI is enabled, asking the CA at {url} when to renew");
        let endpoint = match self.endpoint(registry, &url, http) {
            Ok(endpoint) => endpoint,
            Err(again) => {
                report!(AH10514, "{name}: the CA at {url} has no renewal information");
                return again;
            }
        };
        let before = Advice::load(&registry.documents, &domain.md);
        let mut advice = Advice { asked: Some(now), next_check: None, certificates: BTreeMap::new() };
        for certificate in domain.own_certificates() {
            let Some(id) = certificate.ari_cert_id() else {
                note!(Debug, "{name}: cert has no authority key id extension, the CA cannot be asked about it");
                continue;
            };
            let (answer, again) = ask_renewal_info(http, &registry.clock, &endpoint, &id);
            if matches!(&answer, Err(AriError::Transport(err)) if err.is_cancelled()) {
                return now;
            }
            advice.next_check = Some(advice.next_check.map_or(again, |other| other.min(again)));
            advice.hear(name, id, before.suggestion(&certificate).cloned(), answer, random());
        }
        let Some(again) = advice.next_check else { return now + KEPT };
        if let Err(err) = registry.documents.save_json(Group::Staging, name, &Aspect::AriJson, &advice) {
            note!(Debug, err.status; "{name}: the renewal information of the CA cannot be stored: {err}");
        }
        advice.tell_news(name, &before);
        drop(claim);
        again
    }

    /// Returns the URL for renewal information, or when to read the directory again.
    fn endpoint(&self, registry: &Registry, url: &str, http: &Arc<dyn HttpClient>) -> Result<String, Timestamp> {
        let now = registry.clock.now();
        let known = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        if let Some((until, endpoint)) = known.filter(|(until, _)| (now..=now + KEPT).contains(until)) {
            return endpoint.ok_or(until);
        }
        let (until, endpoint) = match Session::new(Arc::clone(http), Arc::clone(&registry.clock)).directory(url) {
            Ok(directory) => (now + KEPT, directory.renewal_info),
            Err(err) if err.is_cancelled() => return Err(now),
            Err(err) => (again_at(err.retry_after(), now), None),
        };
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.insert(url.to_owned(), (until, endpoint.clone()));
        endpoint.ok_or(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::clock::Clock as _;
    use crate::http::{HttpError, Limit, Response};
    use crate::model::{Status, Window};
    use crate::renewals::Renewals;
    use crate::store::Store;
    use crate::testing::ca::{FakeCa, Fault, Operation, answer, problem, with_header};
    use crate::testing::{ACCOUNT, TestServer, declared, host, logged, p256, watch_log};

    /// Returns renewal information with a window that opens and ends this many hours after the start of the test.
    fn window(open: i64, end: i64) -> Response {
        let at = |hours: i64| Timestamp::from_second(1_700_000_000 + hours * 3600).unwrap();
        let body = format!(
            r#"{{"suggestedWindow":{{"start":"{}","end":"{}"}},"explanationURL":"https://ca.test/why"}}"#,
            at(open),
            at(end)
        );
        answer(200, "application/json", &body)
    }

    fn after(response: Response, hours: i64) -> Response {
        with_header(response, "Retry-After", &(hours * 3600).to_string())
    }

    /// Returns a server with a certificate of 90 days, whose CA answers `says`.
    fn served(name: &str, says: Response) -> TestServer {
        watch_log();
        let server = TestServer::new(&[name]);
        server.ca.behave(|ca| ca.renewal_info = Some(says));
        drop(server.run(false));
        assert!(server.ca.asked_about().is_empty(), "there is nothing to ask about");
        server
    }

    fn says(server: &TestServer, says: Response) {
        server.ca.behave(|ca| ca.renewal_info = Some(says));
    }

    fn stored(server: &TestServer, name: &str) -> Option<Advice> {
        server.documents.load_json(Group::Staging, name, &Aspect::AriJson)
    }

    fn drawn(server: &TestServer, name: &str) -> Timestamp {
        stored(server, name).unwrap().certificates.values().next().unwrap().renew_at
    }

    fn pass(server: &TestServer, renewals: &Renewals, hours: i64) {
        server.clock.advance(SignedDuration::from_hours(hours));
        server.go_on(renewals);
        // The next round uses the answer.
        server.go_on(renewals);
    }

    #[test]
    fn a_renewal_time_is_drawn_once_per_window_over_restarts() {
        let name = "drawn.ari.test";
        let server = served(name, after(window(1000, 1010), 6));
        let renewals = server.run(true);
        let id = server.ca.asked_about();
        let ari_id = server.start(true).domains[0].own_certificates().next().unwrap().ari_cert_id().unwrap();
        assert_eq!(id, [ari_id]);
        let first = drawn(&server, name);
        let start = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(first.duration_since(start), SignedDuration::from_hours(1005), "chance says a half here");
        assert_eq!(logged("AH10515", "drawn.ari.test: CA advises renew via ARI at"), 1);

        let registry = server.start(true);
        let domain = &registry.domains[0];
        let now = server.clock.now();
        assert_eq!(domain.renew_at(&Advice::load(&server.documents, &domain.md), now), first);
        assert!(crate::sets::staged_report(&server.documents, &domain.md).is_none(), "it is no renewal");

        // With another random number and the same window: the next question comes after 6 hours, and changes nothing.
        drop(renewals);
        let renewals = server.renewals_with_chance(true, || 0.9);
        server.go_on(&renewals);
        assert_eq!(server.ca.asked_about().len(), 1);
        pass(&server, &renewals, 7);
        assert_eq!((server.ca.asked_about().len(), drawn(&server, name)), (2, first));
        assert_eq!(logged("AH10515", name), 1);
        // Another window gets another time.
        says(&server, after(window(1000, 1011), 6));
        pass(&server, &renewals, 7);
        assert_eq!(drawn(&server, name).duration_since(start).as_mins(), 1009 * 60 + 54);
        server.ca.check();
    }

    #[test]
    fn retry_after_is_obeyed_also_after_a_restart() {
        let name = "later.ari.test";
        let server = served(name, after(window(1000, 1010), 6));
        drop(server.run(true));
        for _ in 0..5 {
            server.clock.advance(SignedDuration::from_hours(1));
            let renewals = server.run(true);
            pass(&server, &renewals, 0);
            assert_eq!(server.ca.asked_about().len(), 1);
        }
        server.clock.advance(SignedDuration::from_hours(1));
        drop(server.run(true));
        assert_eq!(server.ca.asked_about().len(), 2);
        // The CA is asked at least daily, whatever Retry-After says, also after an error.
        says(&server, after(answer(500, "text/plain", ""), 24 * 7));
        for days in 1..4 {
            let renewals = server.run(true);
            pass(&server, &renewals, 25);
            assert_eq!(server.ca.asked_about().len(), 2 + days);
        }
    }

    #[test]
    fn a_full_start_asks_again_what_was_answered_more_than_a_minute_ago() {
        let name = "again.ari.test";
        let server = served(name, after(window(1000, 1010), 6));
        drop(server.run(true));
        let asked = || server.ca.asked_about().len();
        assert_eq!(asked(), 1);
        // Seconds that pass, whether the restart is graceful, the questions so far
        for (seconds, is_restart, expected) in
            [(30, false, 1), (60, true, 1), (1, false, 2), (3600, true, 2), (1, false, 3)]
        {
            server.clock.advance(SignedDuration::from_secs(seconds));
            let renewals = server.run(is_restart);
            assert_eq!(asked(), expected, "{seconds} {is_restart}");
            // Another child of the same server asks when the CA wants that.
            pass(&server, &renewals, 0);
            assert_eq!(asked(), expected, "{seconds} {is_restart}");
        }
        // On a day of mass revocation, an administrator restarts the server.
        says(&server, window(-10, -5));
        server.clock.advance(SignedDuration::from_mins(2));
        let renewals = server.run(false);
        server.go_on(&renewals);
        assert!(server.staged_job(name).finished);
        server.ca.check();
    }

    #[test]
    fn a_window_in_the_past_renews_now_with_an_order_that_names_the_replaced_certificate() {
        let name = "past.ari.test";
        let server = served(name, window(-10, -5));
        let renewals = server.run(true);
        server.go_on(&renewals);
        assert_eq!(
            logged("AH10517", "past.ari.test: CA advises renew via ARI now, for explanation see https://ca.test/why"),
            1
        );
        assert!(server.staged_job(name).finished);
        let orders = server.ca.order_requests();
        assert_eq!(
            (orders.len(), orders[1]["replaces"].as_str()),
            (2, server.ca.asked_about().first().map(String::as_str))
        );
        // Advice about the former certificate is removed once the new one is served.
        drop(renewals);
        drop(server.start(true));
        assert_eq!(server.store.list(Group::Staging).unwrap(), [""; 0]);
    }

    #[test]
    fn that_the_ca_refuses_a_replacement_is_known_until_the_renewal_succeeds() {
        let name = "refused.ari.test";
        let server = served(name, window(-10, -5));
        let broken = with_header(problem(500, "serverInternal", "Error creating new order"), "Retry-After", "3600");
        server.ca.behave(|ca| ca.on_replaces = Some(broken));
        server.ca.fail(Operation::Finalize, Fault::Drop);
        let renewals = server.run(true);
        server.go_on(&renewals);
        let job = server.staged_job(name);
        assert_eq!((job.errors, &job.refused_replacements), (1, &server.ca.asked_about()));
        // Another process makes the next attempt, with an order of its own.
        drop(renewals);
        server.ca.set_orders("gone");
        server.clock.advance(SignedDuration::from_mins(1));
        drop(server.run(true));
        let job = server.staged_job(name);
        assert_eq!((job.finished, job.refused_replacements.len()), (true, 0));
        let named: Vec<bool> = server.ca.order_requests().iter().map(|order| order["replaces"].is_string()).collect();
        assert_eq!(named, [false, true, false, false]);
        server.ca.check();
    }

    #[test]
    fn a_first_certificate_that_went_live_is_asked_about_and_replaced_without_a_start() {
        let name = "live.ari.test";
        let mut server = TestServer::without_account(&[name]);
        server.declared[0].settings.activation = Some(crate::model::ActivationMode::Live);
        server.ca.behave(|ca| ca.renewal_info = Some(window(-10, -5)));
        let renewals = server.run(false);
        pass(&server, &renewals, 13);
        let asked = server.ca.asked_about();
        let orders = server.ca.order_requests();
        assert!(!asked.is_empty() && orders.len() == 2, "{asked:?} {orders:?}");
        assert_eq!(orders[1]["replaces"].as_str(), Some(&*asked[0]));
        assert_eq!(server.ca.accounts(), 1);
        server.ca.check();
    }

    #[test]
    fn the_renewal_time_of_a_live_certificate_stays_when_a_start_activates_it() {
        let name = "stays.ari.test";
        let mut server = TestServer::new(&[name]);
        server.declared[0].settings.activation = Some(crate::model::ActivationMode::Live);
        says(&server, after(window(1000, 1010), 24));
        let renewals = server.run(true);
        pass(&server, &renewals, 13);
        let before = stored(&server, name).unwrap();
        drop(renewals);
        drop(server.renewals_with_chance(true, || 0.9));
        assert!(server.store.exists(Group::Domains, name, &Aspect::Chain(p256())));
        assert_eq!((stored(&server, name), server.ca.asked_about().len()), (Some(before), 1));
    }

    #[test]
    fn a_suggested_time_is_waited_for_until_a_tenth_of_the_life_is_left_or_the_configured_window_opens() {
        let percent = |percent| Some(Window::Percent(percent));
        // First hour of the window that is suggested and MDRenewWindow, of a certificate of 90 days; the hour of the renewal, and
        // whether it is because of the suggestion
        let rows = [
            (100, None, 101, true),
            (100, percent(33), 101, true),
            (24 * 70, None, 24 * 70 + 1, true),
            (24 * 70, percent(25), 1620, false),
            // The default is a value as any other, where it is written.
            (24 * 70, percent(33), 1447, false),
            (24 * 85, None, 1944, false),
            (24 * 85, percent(5), 24 * 85 + 1, true),
            (24 * 88, percent(5), 2052, false),
        ];
        for (number, (open, configured, hour, is_suggested)) in rows.into_iter().enumerate() {
            let name = format!("row{number}.later.ari.test");
            let mut server = served(&name, window(open, open + 2));
            server.declared[0].settings.renew_window = configured;
            let renewals = server.run(true);
            let [suggested, usual] = [logged("AH10517", &name), logged("AH10512", &name)];
            // The beginning of a usual renewal is spread by at most 12 hours.
            let spread = if is_suggested { 1 } else { 13 };
            pass(&server, &renewals, hour - 2);
            assert_eq!(server.ca.ordered().len(), 1, "{open} {configured:?}");
            for _ in 0..=spread {
                pass(&server, &renewals, 1);
            }
            assert_eq!(server.ca.ordered().len(), 2, "{open} {configured:?}");
            let why = [logged("AH10517", &name) - suggested, logged("AH10512", &name) - usual];
            assert_eq!(why, [usize::from(is_suggested), usize::from(!is_suggested)], "{open} {configured:?}");
        }
    }

    #[test]
    fn senseless_or_missing_renewal_information_changes_nothing() {
        let name = "senseless.ari.test";
        let server = served(name, window(1000, 1010));
        let mut renewals = server.run(true);
        let first = drawn(&server, name);
        let rows = [
            (window(7, 7), true),
            (window(7, 6), true),
            (answer(200, "text/html", "<html>"), true),
            (answer(503, "text/plain", ""), true),
            (answer(429, "text/plain", ""), true),
            (answer(408, "text/plain", ""), true),
            (answer(404, "text/plain", ""), false),
        ];
        for (count, (answer, is_kept)) in rows.into_iter().enumerate() {
            says(&server, answer);
            pass(&server, &renewals, 7);
            assert_eq!(server.ca.asked_about().len(), 2 + count);
            assert_eq!(stored(&server, name).unwrap().certificates.len(), usize::from(is_kept), "{count}");
            assert!(!is_kept || drawn(&server, name) == first);
            assert!(server.job(Group::Staging, name).is_none());
        }
        assert_eq!(logged("MD0021", name), 3);
        // The renewal window of the configuration decides.
        renewals = {
            drop(renewals);
            server.run(true)
        };
        pass(&server, &renewals, 24 * 61);
        assert_eq!(server.ca.ordered().len(), 2);
        server.ca.check();
    }

    #[test]
    fn a_failed_request_for_renewal_information_is_no_failed_renewal() {
        let name = "unanswered.ari.test";
        let server = served(name, window(1000, 1010));
        let renewals = server.run(true);
        let first = drawn(&server, name);
        let rows: [(Fault, &str); 11] = [
            (
                Fault::Fail(|| HttpError::Connect {
                    host: "ca.test".to_owned(),
                    reason: "Refused".to_owned(),
                    status: Status::REFUSED,
                }),
                "no connection to ca.test: Refused",
            ),
            (
                Fault::Fail(|| HttpError::Resolve { host: "ca.test".to_owned(), reason: "none".to_owned() }),
                "cannot be resolved",
            ),
            (
                Fault::Fail(|| HttpError::TimedOut { host: "ca.test".to_owned(), reason: "stalled".to_owned() }),
                "timed out",
            ),
            (
                Fault::Fail(|| HttpError::TooLarge { host: "ca.test".to_owned(), limit: Limit::Bytes(1 << 20) }),
                "has more than 1048576 bytes",
            ),
            (
                Fault::Fail(|| HttpError::Tls { host: "ca.test".to_owned(), reason: "wrong version".to_owned() }),
                "no TLS connection",
            ),
            (Fault::Drop, "connection reset"),
            (Fault::DropAnswer, "connection reset"),
            (Fault::Answer(answer(302, "text/html", "")), "302"),
            (Fault::Answer(with_header(answer(503, "text/plain", ""), "Retry-After", "3600")), "503"),
            (Fault::Alter(|answer| answer.body.truncate(answer.body.len() / 2)), ""),
            (Fault::Slow(SignedDuration::from_secs(60)), ""),
        ];
        for (fault, says) in rows {
            let before = logged("AH10514", says);
            server.ca.fail(Operation::RenewalInfo, fault.clone());
            pass(&server, &renewals, 7);
            assert!(says.is_empty() || logged("AH10514", says) > before, "{fault:?}");
            assert_eq!(drawn(&server, name), first, "{fault:?}");
            assert!(server.job(Group::Staging, name).is_none(), "{fault:?}");
        }
        let asked = server.ca.asked_about().len();
        pass(&server, &renewals, 7);
        assert_eq!((server.ca.asked_about().len(), drawn(&server, name)), (asked + 1, first));
        server.ca.check();
    }

    #[test]
    fn only_the_issuing_ca_is_asked_and_only_with_mdrenewviaari() {
        let changes: [fn(&mut TestServer); 5] = [
            |server| server.declared[0].settings.ari_renewals = Some(false),
            |server| server.declared[0].settings.renew_mode = Some(crate::model::RenewMode::Manual),
            |server| server.put(Group::Domains, "who.ari.test", &Aspect::MdJson, "{}"),
            |server| {
                let text = server.text(Group::Domains, "who.ari.test", &Aspect::MdJson).unwrap();
                server.put(
                    Group::Domains,
                    "who.ari.test",
                    &Aspect::MdJson,
                    &text.replace(&format!("\"account\": \"{ACCOUNT}\","), ""),
                );
            },
            |server| server.ca.behave(|ca| ca.renewal_info = None),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut server = served("who.ari.test", window(1000, 1010));
            drop(server.start(true));
            change(&mut server);
            let renewals = server.run(true);
            pass(&server, &renewals, 1);
            assert!(server.ca.asked_about().is_empty() && stored(&server, "who.ari.test").is_none(), "{number}");
            assert!(server.ca.count(Operation::Directory) <= 2, "a CA without it is not asked each time");
        }
        // The certificate's own CA, once the first of two, is asked even when the second is preferred.
        let mut server = served("who.ari.test", window(1000, 1010));
        drop(server.start(true));
        let others = vec!["https://other.test/directory".to_owned(), FakeCa::DIRECTORY.to_owned()];
        server.declared[0].settings.ca_urls = Some(others);
        drop(server.run(true));
        assert_eq!(server.ca.asked_about().len(), 1);
    }

    #[test]
    fn a_suggestion_without_an_explanation_is_logged_at_debug() {
        let name = "plain.ari.test";
        let silent = |mut response: Response| {
            let text = String::from_utf8(response.body).unwrap().replace("https://ca.test/why", "");
            response.body = text.into_bytes();
            response
        };
        let server = served(name, silent(window(1000, 1010)));
        let renewals = server.run(true);
        assert_eq!([logged("AH10513", name), logged("AH10516", name), logged("AH10515", name)], [1, 1, 0]);
        says(&server, answer(503, "text/plain", ""));
        pass(&server, &renewals, 7);
        assert_eq!(logged("AH10514", name), 1);
        says(&server, silent(window(-2, -1)));
        pass(&server, &renewals, 7);
        assert_eq!([logged("AH10518", name), logged("AH10517", name)], [1, 0]);
    }

    #[test]
    fn damaged_advice_or_advice_from_the_future_is_requested_again() {
        let name = "damaged.ari.test";
        let server = served(name, window(1000, 1010));
        drop(server.run(true));
        let text = server.text(Group::Staging, name, &Aspect::AriJson).unwrap();
        let future = text.replace("2023", "2123");
        assert_ne!(text, future);
        for (count, damaged) in
            ["{", "[]", r#"{"certificates":{"x":{"start":"never"}}}"#, &future].into_iter().enumerate()
        {
            server.put(Group::Staging, name, &Aspect::AriJson, damaged);
            drop(server.run(true));
            assert_eq!(server.ca.asked_about().len(), 2 + count, "{damaged}");
            assert_eq!(stored(&server, name).unwrap().certificates.len(), 1);
        }
    }

    #[test]
    fn renewal_information_has_a_worker_more_and_waits_for_renewals() {
        for (workers, name) in [(1_u8, "one"), (8, "eight")] {
            let old = format!("old-{name}.ari.test");
            let new = format!("new-{name}.ari.test");
            let mut server = served(&old, window(1000, 1010));
            server.declared.push(declared(&[&new]));
            server.hosts.push(host(&new));
            server.globals.renew_workers = workers.try_into().unwrap();
            let renewals = server.renewals_with(true, server.moving_clock(), |_| None);
            assert_eq!(renewals.tick(), 2, "one for the renewal, one for the question");
            let done = |server: &TestServer| {
                let is_staged = server.job(Group::Staging, &new).is_some_and(|job| job.finished);
                (is_staged, server.ca.asked_about().len())
            };
            renewals.work(&Cancel::default());
            assert_eq!(done(&server), if workers == 1 { (false, 1) } else { (true, 1) });
            renewals.work(&Cancel::default());
            assert_eq!(done(&server), (true, 1));
        }
    }

    #[test]
    fn a_short_lived_certificate_is_due_at_half_of_its_life_unless_the_ca_suggests_a_time() {
        let name = "short.ari.test";
        watch_log();
        let server = TestServer::new(&[name]);
        server.ca.behave(|ca| ca.days = 6);
        drop(server.run(false));
        let registry = server.start(true);
        let at = |registry: &Registry| {
            let domain = &registry.domains[0];
            let now = server.clock.now();
            let from = domain.own_certificates().next().unwrap().validity().0;
            domain.renew_at(&Advice::load(&server.documents, &domain.md), now).duration_since(from).as_hours()
        };
        assert_eq!(at(&registry), 72);
        server.ca.behave(|ca| ca.renewal_info = Some(window(80, 82)));
        let renewals = server.run(true);
        assert!((80..=82).contains(&at(&registry)));
        drop(renewals);
        let mut server = server;
        server.declared[0].settings.renew_window = Some(Window::Percent(20));
        server.declared[0].settings.ari_renewals = Some(false);
        let registry = server.start(true);
        let from = registry.domains[0].own_certificates().next().unwrap().validity().0;
        let at =
            registry.domains[0].renew_at(&Advice::load(&server.documents, &registry.domains[0].md), server.clock.now());
        assert_eq!(at.duration_since(from).as_hours(), 115);
    }
}
