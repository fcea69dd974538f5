//! The status as metrics: of domains, OCSP responses, and what the server has done.
//!
//! The library writes OpenMetrics. The older text format 0.0.4 has no units and no type `info`, and its names of families
//! include the suffix of the samples; the samples of both formats are the same.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry as Families, Unit};
use url::form_urlencoded;

use super::stapling::{self, Stapled};
use super::view::{self, View};
use super::words::State;
use crate::counts::{CommandOutcome, Counts, RenewalOutcome};
use crate::crypto::{Revocation, Summary};
use crate::events::EVENTS;
use crate::http::{RequestCounts, RequestKind, RequestOutcome, StatusClass};
use crate::model::{Timestamp, VERSION};
use crate::registry::Registry;
use crate::schedule::Validity;
use crate::sets::Suggestion;
use crate::stapling::revocation_name;

/// Format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFormat {
    /// Text format 0.0.4 of Prometheus.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl MetricsFormat {
    /// Returns the format for a client with this `Accept` header (RFC 9110 section 12.5.1): OpenMetrics if the header names
    /// it and does not prefer text.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let mut open = 0.0;
        let mut text = 0.0_f32;
        for range in accept.split(',') {
            let (kind, quality) = media_range(range);
            match kind.as_str() {
                "application/openmetrics-text" => open = quality.max(open),
                "text/plain" => text = quality.max(text),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }
}

/// Parses a media range: its type in lower case, and its quality. The quality of a version that is not supported is 0.
fn media_range(range: &str) -> (String, f32) {
    let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
    let kind = parts.next().unwrap_or_default();
    let mut quality = 1.0;
    for parameter in parts {
        match parameter.split_once('=') {
            Some(("q", value)) => quality = value.parse().unwrap_or(0.0),
            Some(("version", version)) if !["0.0.1", "0.0.4", "1.0.0"].contains(&version) => return (kind, 0.0),
            _ => {}
        }
    }
    (kind, quality)
}

/// Returns all metrics, or with `domains=off` in the query only those of the whole server. Where nothing is counted there are no
/// counts.
#[must_use]
pub fn metrics(registry: &Registry, format: MetricsFormat, query: &str) -> String {
    let views = view::all(registry);
    let staplings = stapling::all(registry);
    let mut families = Vec::new();
    if !form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "domains" && value == "off") {
        families.extend(OF_DOMAINS.iter().map(|metric| Family::of_domains(metric, &views)));
        families.extend(Family::of_staplings(&staplings));
    }
    families.extend(Family::of_states(&views));
    families.extend(Family::of_ocsp_states(&staplings));
    if let Some(counts) = registry.counts.filter(|_| !views.is_empty()) {
        families.push(Family::of_renewals(counts));
        families.push(Family::of_requests(&counts.requests));
        families.push(Family::of_request_kinds(&counts.requests));
    }
    let has_commands = registry.globals.notify_command.is_some() || registry.globals.message_command.is_some();
    families.extend(registry.counts.filter(|_| has_commands).map(Family::of_commands));
    families.push(Family::of_build());
    let mut collected = Families::default();
    let mut encoded = String::new();
    collected.register_collector(Box::new(Snapshot { families, format }));
    // Writing to a string does not fail.
    let _ = text::encode_registry(&mut encoded, &collected);
    if format == MetricsFormat::OpenMetrics {
        let _ = text::encode_eof(&mut encoded);
    }
    encoded
}

/// Definition of a metric of domains.
struct OfDomains {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    values: fn(&View<'_>) -> Vec<Sample>,
}

/// Kind of the values of a metric.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Moment,
    /// Always 1: the information is in the labels.
    Info,
}

/// The states of `mod_md_domain_state`, named as in server-status, without blanks.
const STATES: [&str; 6] = ["good", "expired", "incomplete", "error", "missing_information", "unknown"];

const OF_DOMAINS: &[OfDomains] = &[
    OfDomains {
        name: "mod_md_domain_state",
        kind: Kind::Number,
        help: "1 if the domain is in this state, else 0",
        values: |view| {
            let status = view.status();
            let word = status.split(':').next().unwrap_or_default().replace(' ', "_");
            STATES.iter().map(|state| Sample::of(view, i64::from(word == *state)).with("state", *state)).collect()
        },
    },
    OfDomains {
        name: "mod_md_certificate_not_before_timestamp",
        kind: Kind::Moment,
        help: "Start of the validity of a served certificate",
        values: |view| of_certificates(view, |summary| summary.validity().0),
    },
    OfDomains {
        name: "mod_md_certificate_not_after_timestamp",
        kind: Kind::Moment,
        help: "End of the validity of a served certificate",
        values: |view| of_certificates(view, |summary| summary.validity().1),
    },
    OfDomains {
        name: "mod_md_certificate",
        kind: Kind::Info,
        help: "A served certificate; source tells whether it was activated by a start or went live",
        values: |view| {
            let live = view.live.as_ref();
            let went_live = |summary: &Summary| {
                live.is_some_and(|live| live.pairs.iter().any(|(_, pair)| pair.summary() == summary))
            };
            let sample = |(key, summary): (String, &Summary)| {
                let source = if went_live(summary) { "live" } else { "start" };
                Sample::of(view, 1).with("key", key).with("serial", summary.serial_hex()).with("source", source)
            };
            view.certificates().map(sample).collect()
        },
    },
    OfDomains {
        name: "mod_md_after_restart_not_after_timestamp",
        kind: Kind::Moment,
        help: "End of the validity of the certificate that a restart of the server would serve",
        values: |view| {
            let sample = |(key, _, summary): (String, _, Summary)| {
                Sample::of(view, summary.validity().1.as_second()).with("key", key)
            };
            view.after_restart().into_iter().map(sample).collect()
        },
    },
    OfDomains {
        name: "mod_md_activation",
        kind: Kind::Info,
        help: "How new certificates of the domain get into use (MDActivation)",
        values: |view| vec![Sample::of(view, 1).with("mode", view.md.activation.name())],
    },
    OfDomains {
        name: "mod_md_live_since_timestamp",
        kind: Kind::Moment,
        help: "When certificates went live without a restart",
        values: |view| moment(view, view.live_since()),
    },
    OfDomains {
        name: "mod_md_renewal_due_timestamp",
        kind: Kind::Moment,
        help: "When the renewal of the domain is or was due",
        values: |view| moment(view, Some(view.renew_at).filter(|_| view.domain.renewable())),
    },
    OfDomains {
        name: "mod_md_renewal_next_run_timestamp",
        kind: Kind::Moment,
        help: "When a waiting renewal makes its next attempt",
        values: |view| moment(view, view.next_run()),
    },
    OfDomains {
        name: "mod_md_renewal_errors",
        kind: Kind::Number,
        help: "Failed attempts in a row to renew the domain",
        values: |view| vec![Sample::of(view, view.staged.as_ref().map_or(0, |staged| staged.job.errors.into()))],
    },
    OfDomains {
        name: "mod_md_renewal_problem",
        kind: Kind::Info,
        help: "Problem of the last attempt to renew the domain",
        values: |view| {
            let last = view.staged.as_ref().and_then(|staged| staged.job.last.as_ref());
            let problem = last.and_then(|last| last.problem.clone());
            // Problems of CAs are URIs, if they keep to RFC 8555.
            let word = |problem: String| problem.split_whitespace().collect::<Vec<_>>().join("_");
            problem.map(|problem| Sample::of(view, 1).with("problem", word(problem))).into_iter().collect()
        },
    },
    OfDomains {
        name: "mod_md_renewal_last_success_timestamp",
        kind: Kind::Moment,
        help: "When new certificates were last staged or activated",
        values: |view| moment(view, view.last_success()),
    },
    OfDomains {
        name: "mod_md_staged_certificates",
        kind: Kind::Number,
        help: "New certificates that are not in use yet",
        values: |view| {
            let is_finished = view.staged.as_ref().is_some_and(|staged| staged.job.finished);
            let count = if is_finished { view.staged_count() } else { 0 };
            vec![Sample::of(view, i64::try_from(count).unwrap_or(i64::MAX))]
        },
    },
    OfDomains {
        name: "mod_md_ari_window_start_timestamp",
        kind: Kind::Moment,
        help: "Start of the renewal window that the CA suggests",
        values: |view| of_suggestion(view, |suggestion| suggestion.start),
    },
    OfDomains {
        name: "mod_md_ari_window_end_timestamp",
        kind: Kind::Moment,
        help: "End of the renewal window that the CA suggests",
        values: |view| of_suggestion(view, |suggestion| suggestion.end),
    },
];

fn of_certificates(view: &View<'_>, when: fn(&Summary) -> Timestamp) -> Vec<Sample> {
    let sample = |(key, summary)| Sample::of(view, when(summary).as_second()).with("key", key);
    view.certificates().map(sample).collect()
}

fn of_suggestion(view: &View<'_>, when: fn(&Suggestion) -> Timestamp) -> Vec<Sample> {
    moment(view, view.advice.earliest(view.domain.own_certificates()).map(when))
}

fn moment(view: &View<'_>, at: Option<Timestamp>) -> Vec<Sample> {
    at.map(|at| Sample::of(view, at.as_second())).into_iter().collect()
}

/// A value with its labels.
#[derive(Debug)]
struct Sample {
    labels: Vec<(&'static str, Cow<'static, str>)>,
    value: i64,
}

impl Sample {
    fn of(view: &View<'_>, value: i64) -> Self {
        Self { labels: vec![("domain", view.md.name.to_string().into())], value }
    }

    fn count(labels: Vec<(&'static str, Cow<'static, str>)>, count: impl TryInto<i64>) -> Self {
        Self { labels, value: count.try_into().unwrap_or(i64::MAX) }
    }

    fn with(mut self, label: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// A metric with all its values.
#[derive(Debug)]
struct Family {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    kind: MetricType,
    samples: Vec<Sample>,
}

impl Family {
    fn of_domains(metric: &OfDomains, views: &[View<'_>]) -> Self {
        Self {
            name: metric.name,
            unit: (metric.kind == Kind::Moment).then_some(Unit::Seconds),
            help: metric.help,
            kind: if metric.kind == Kind::Info { MetricType::Info } else { MetricType::Gauge },
            samples: views.iter().flat_map(metric.values).collect(),
        }
    }

    /// Makes the families of stapled certificates; none if there are no such certificates.
    fn of_staplings(all: &[Stapled]) -> Vec<Self> {
        let labels = |stapled: &Stapled| {
            vec![("domain", stapled.view.owner.clone().into()), ("certificate", stapled.id().into())]
        };
        let family = |name, unit, help, samples| Self { name, unit, help, kind: MetricType::Gauge, samples };
        let state = |stapled: &Stapled, revocation| {
            let value = i64::from(stapled.view.revocation == revocation);
            Sample { labels: labels(stapled), value }.with("status", revocation_name(revocation))
        };
        let states = [Revocation::Good, Revocation::Revoked, Revocation::Unknown];
        let states = all.iter().flat_map(|stapled| states.map(|revocation| state(stapled, revocation))).collect();
        let dates = |date: fn(Validity) -> Timestamp| {
            let sample = |stapled: &Stapled| {
                Some(Sample { labels: labels(stapled), value: date(stapled.view.validity?).as_second() })
            };
            all.iter().filter_map(sample).collect()
        };
        let errors = |stapled: &Stapled| {
            let failures = stapled.job.as_ref().and_then(|job| job.ocsp_failures.get(&stapled.id()));
            Sample { labels: labels(stapled), value: failures.map_or(0, |failures| failures.errors.into()) }
        };
        let families = [
            family("mod_md_ocsp_status", None, "1 if the certificate has this status by OCSP, else 0", states),
            family(
                "mod_md_ocsp_this_update_timestamp",
                Some(Unit::Seconds),
                "Start of the validity of the OCSP response",
                dates(|(from, _)| from),
            ),
            family(
                "mod_md_ocsp_next_update_timestamp",
                Some(Unit::Seconds),
                "End of the validity of the OCSP response, until which it is stapled",
                dates(|(_, until)| until),
            ),
            family(
                "mod_md_ocsp_errors",
                None,
                "Failed attempts in a row to fetch an OCSP response",
                all.iter().map(errors).collect(),
            ),
        ];
        if all.is_empty() { Vec::new() } else { families.into() }
    }

    fn of_requests(requests: &RequestCounts) -> Self {
        let mut samples = Vec::new();
        for (ca, counts) in requests.all() {
            samples.extend(RequestOutcome::ALL.into_iter().zip(counts).map(|(outcome, count)| {
                Sample::count(vec![("ca", ca.clone().into()), ("outcome", outcome.name().into())], count)
            }));
        }
        Self::counter("mod_md_ca_requests", "Requests to the CA by outcome", samples)
    }

    /// Counts domains by state; nothing if there are none.
    fn of_states(views: &[View<'_>]) -> Option<Self> {
        let states: Vec<State> = views.iter().map(View::in_a_word).collect();
        let count = |state: State| states.iter().filter(|own| **own == state).count();
        let sample = |state: State| Sample::count(vec![("state", state.key().into())], count(state));
        let samples = State::ALL.into_iter().map(sample).collect();
        let help = "Domains in this state, each in one";
        (!views.is_empty()).then_some(Self {
            name: "mod_md_domains",
            unit: None,
            help,
            kind: MetricType::Gauge,
            samples,
        })
    }

    /// Counts stapled certificates by OCSP status; nothing if there are none.
    fn of_ocsp_states(all: &[Stapled]) -> Option<Self> {
        let count = |state| all.iter().filter(|stapled| stapled.view.revocation == state).count();
        let sample = |state| Sample::count(vec![("status", revocation_name(state).into())], count(state));
        let samples = [Revocation::Good, Revocation::Revoked, Revocation::Unknown].map(sample).into();
        let help = "Stapled certificates with this status by OCSP";
        let name = "mod_md_stapled_certificates";
        (!all.is_empty()).then_some(Self { name, unit: None, help, kind: MetricType::Gauge, samples })
    }

    fn counter(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, unit: None, help, kind: MetricType::Counter, samples }
    }

    fn of_renewals(counts: &Counts) -> Self {
        let outcomes = RenewalOutcome::ALL.into_iter().zip(counts.renewals());
        let samples = outcomes.map(|((_, name), count)| Sample::count(vec![("outcome", name.into())], count)).collect();
        Self::counter("mod_md_renewals", "Attempts at renewals by outcome", samples)
    }

    fn of_commands(counts: &Counts) -> Self {
        let mut samples = Vec::new();
        for (event, counts) in EVENTS.into_iter().zip(counts.commands()) {
            let outcomes = CommandOutcome::ALL.into_iter().zip(counts);
            samples.extend(outcomes.map(|((_, outcome), count)| {
                Sample::count(vec![("event", event.into()), ("outcome", outcome.into())], count)
            }));
        }
        Self::counter("mod_md_commands", "Commands that were run for events, by outcome", samples)
    }

    fn of_request_kinds(requests: &RequestCounts) -> Self {
        let mut samples = Vec::new();
        for ((_, kind), counts) in RequestKind::ALL.into_iter().zip(requests.kinds()) {
            let statuses = StatusClass::ALL.into_iter().zip(counts);
            samples.extend(statuses.map(|((_, status), count)| {
                Sample::count(vec![("kind", kind.into()), ("status", status.into())], count)
            }));
        }
        Self::counter("mod_md_ca_requests_by_kind", "Requests to CAs by resource and HTTP status", samples)
    }

    fn of_build() -> Self {
        let samples = vec![Sample { labels: vec![("version", VERSION.into())], value: 1 }];
        Self { name: "mod_md_build", unit: None, help: "Version of the module", kind: MetricType::Info, samples }
    }

    fn to_open_metrics(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), self.kind)?;
        for Sample { labels, value } in &self.samples {
            match self.kind {
                MetricType::Counter => {
                    let count = u64::try_from(*value).unwrap_or_default();
                    metric.encode_family(labels)?.encode_counter::<[(&str, &str); 0], _, u64>(&count, None)?;
                }
                MetricType::Info => metric.encode_info(labels)?,
                _ => metric.encode_family(labels)?.encode_gauge(value)?,
            }
        }
        Ok(())
    }

    fn to_text(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let (suffix, kind) = match self.kind {
            MetricType::Counter => ("_total", MetricType::Counter),
            MetricType::Info => ("_info", MetricType::Gauge),
            _ => ("", MetricType::Gauge),
        };
        let name = format!("{}{unit}{suffix}", self.name);
        let mut metric = encoder.encode_descriptor(&name, self.help, None, kind)?;
        // The name has the suffix already, so samples of a counter are written as those of a gauge.
        self.samples.iter().try_for_each(|Sample { labels, value }| metric.encode_family(labels)?.encode_gauge(value))
    }
}

/// The metrics of one request, as the library takes them.
#[derive(Debug)]
struct Snapshot {
    families: Vec<Family>,
    format: MetricsFormat,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.families.iter().try_for_each(|family| match self.format {
            MetricsFormat::OpenMetrics => family.to_open_metrics(&mut encoder),
            MetricsFormat::Text => family.to_text(&mut encoder),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock as _;
    use crate::testing::TestServer;
    use crate::testing::ca::{Fault, Operation, problem};
    use MetricsFormat::{OpenMetrics, Text};

    #[test]
    fn clients_get_what_they_ask_for() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let rows = [
            ("", Text),
            ("*/*", Text),
            ("text/html, */*;q=0.1", Text),
            ("text/plain;version=0.0.4", Text),
            ("Application/OpenMetrics-Text", OpenMetrics),
            (prometheus_2, OpenMetrics),
            (prometheus_3, OpenMetrics),
            ("application/openmetrics-text; q=0", Text),
            ("application/openmetrics-text; q=x", Text),
            ("application/openmetrics-text; version=2.0.0, text/plain;q=0.5", Text),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.5", Text),
            (";;,;q=;=,", Text),
        ];
        for (accept, expected) in rows {
            assert_eq!(MetricsFormat::wanted(accept), expected, "{accept}");
        }
    }

    /// Returns the value of the sample with that name and labels.
    fn value(text: &str, sample: &str) -> Option<i64> {
        text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn both_formats_have_the_same_samples_and_their_own_descriptions() {
        let mut test_server = TestServer::new(&["a.test", "b.test"]);
        drop(test_server.run(false));
        let unknown = test_server.start(true);
        let counts: &'static Counts = Box::leak(Box::default());
        test_server.counts = Some(counts);
        let registry = test_server.start(true);
        counts.requests.add("https://ca.test/", RequestOutcome::RateLimited);
        let [open, text] = [OpenMetrics, Text].map(|format| metrics(&registry, format, ""));
        let samples =
            |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(samples(&open), samples(&text));
        for (family, kind, open_kind) in [("ca_requests", "counter", "counter"), ("build", "gauge", "info")] {
            let suffix = if family == "build" { "_info" } else { "_total" };
            assert!(
                open.contains(&format!("\n# TYPE mod_md_{family} {open_kind}\nmod_md_{family}{suffix}{{")),
                "{open}"
            );
            assert!(
                text.contains(&format!("\n# TYPE mod_md_{family}{suffix} {kind}\nmod_md_{family}{suffix}{{")),
                "{text}"
            );
        }
        let seconds = "mod_md_certificate_not_after_timestamp_seconds";
        assert!(
            open.contains(&format!("# TYPE {seconds} gauge\n# UNIT {seconds} seconds\n{seconds}{{domain=")),
            "{open}"
        );
        assert!(text.contains(&format!("# TYPE {seconds} gauge\n{seconds}{{domain=")), "{text}");
        assert!(open.ends_with("\n# EOF\n") && text.ends_with("\n") && !text.contains("# EOF"));
        assert_eq!(value(&text, r#"mod_md_ca_requests_total{ca="ca.test",outcome="rate_limited"}"#), Some(1));
        assert_eq!(value(&text, r#"mod_md_ca_requests_total{ca="ca.test",outcome="success"}"#), Some(0));
        assert!(!metrics(&unknown, Text, "").contains("mod_md_ca_requests"), "not known is not none");
    }

    #[test]
    fn a_domain_without_a_certificate_one_that_fails_and_one_that_waits_for_a_restart() {
        let test_server = TestServer::new(&["c.test"]);
        let registry = test_server.start(false);
        let now = test_server.clock.now().as_second();
        let text = || metrics(&registry, Text, "");
        let told = |name: &str| value(&text(), &format!(r#"mod_md_{name}{{domain="c.test"}}"#));
        let state = |state: &str| value(&text(), &format!(r#"mod_md_domain_state{{domain="c.test",state="{state}"}}"#));
        assert_eq!(STATES.map(state), STATES.map(|word| Some(i64::from(word == "incomplete"))));
        assert_eq!((told("renewal_due_timestamp_seconds"), told("renewal_errors")), (Some(now), Some(0)));
        assert_eq!((told("staged_certificates"), told("renewal_last_success_timestamp_seconds")), (Some(0), None));
        assert!(!text().contains("mod_md_certificate_not_after_timestamp_seconds{"));

        test_server.ca.fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", "no")));
        let renewals = test_server.run(false);
        assert_eq!(told("renewal_errors"), Some(1));
        let server_internal = "problem=\"urn:ietf:params:acme:error:serverInternal\"";
        assert!(text().contains(&format!("mod_md_renewal_problem_info{{domain=\"c.test\",{server_internal}}} 1")));
        assert!(told("renewal_next_run_timestamp_seconds") > Some(now));
        test_server.clock.advance(jiff::SignedDuration::from_hours(1));
        test_server.go_on(&renewals);
        assert_eq!((told("renewal_errors"), told("staged_certificates")), (Some(0), Some(1)));
        assert!(!text().contains("mod_md_renewal_problem_info{"));
        assert!(told("renewal_last_success_timestamp_seconds") >= Some(now + 3600));
        assert_eq!(told("renewal_next_run_timestamp_seconds"), None);
    }

    #[test]
    fn what_the_server_has_done_is_counted_and_sums_need_no_domains() {
        let mut server = TestServer::new(&["e.test", "f.test"]);
        let counts: &'static Counts = Box::leak(Box::default());
        server.counts = Some(counts);
        server.globals.message_command = Some("/bin/false".to_owned());
        let registry = server.start(false);
        let sums = || metrics(&registry, Text, "x=y&domains=off");
        let all = metrics(&registry, Text, "domains=on");
        assert_eq!(value(&all, "mod_md_domains{state=\"no_certificate\"}"), Some(2));
        assert_eq!(all.matches("\nmod_md_domains{").count(), 11);
        assert!(all.contains("e.test") && !sums().contains(".test"), "{}", sums());
        drop(server.run(false));
        let of = |name: &str| value(&sums(), &format!("mod_md_{name}\"}}"));
        assert_eq!(of("commands_total{event=\"renewing\",outcome=\"failure"), Some(2));
        assert_eq!(of("renewals_total{outcome=\"denied"), Some(2));
        server.globals.message_command = None;
        server.ca.fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", "no")));
        server.clock.advance(jiff::SignedDuration::from_hours(2));
        drop(server.run(true));
        assert_eq!(
            (of("renewals_total{outcome=\"failure"), of("renewals_total{outcome=\"success")),
            (Some(1), Some(1))
        );
        assert!(!metrics(&server.start(true), Text, "").contains("mod_md_commands"), "there are none");
        let blank = sums().lines().filter(|line| !line.starts_with('#')).any(|line| line.matches(' ').count() > 1);
        assert!(!blank, "{}", sums());
    }

    #[test]
    fn the_lives_of_what_is_served_are_told() {
        let mut test_server = TestServer::new(&["d.test"]);
        drop(test_server.run(false));
        let registry = test_server.start(true);
        let text = metrics(&registry, Text, "");
        let (from, until) = registry.domains[0].own_certificates().next().unwrap().validity();
        let of = |name: &str| {
            value(&text, &format!(r#"mod_md_certificate_{name}_timestamp_seconds{{domain="d.test",key="P-256"}}"#))
        };
        assert_eq!((of("not_before"), of("not_after")), (Some(from.as_second()), Some(until.as_second())));
        assert!(value(&text, r#"mod_md_renewal_last_success_timestamp_seconds{domain="d.test"}"#).is_some());
        test_server.declared[0].settings.renew_mode = Some(crate::model::RenewMode::Manual);
        let text = metrics(&test_server.start(true), Text, "");
        assert!(!text.contains(r#"mod_md_renewal_due_timestamp_seconds{"#), "it never is");
    }

    #[test]
    fn labels_are_escaped() {
        for format in [OpenMetrics, Text] {
            let sample = Sample { labels: vec![("domain", "a\"b\\c\n".into())], value: 7 };
            let family = Family { name: "n", unit: None, help: "h", kind: MetricType::Gauge, samples: vec![sample] };
            let mut families = Families::default();
            let mut text = String::new();
            families.register_collector(Box::new(Snapshot { families: vec![family], format }));
            text::encode_registry(&mut text, &families).unwrap();
            assert_eq!(text, "# HELP n h\n# TYPE n gauge\nn{domain=\"a\\\"b\\\\c\\n\"} 7\n");
        }
    }
}
