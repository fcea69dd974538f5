//! The status as HTML in the page of mod_status: a section with all domains, or a summary.

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use super::stapling;
use super::view::{self, Health, View, check_url, date, roughly};
use crate::crypto::Summary;
use crate::model::{Status, TxtRecord, time};
use crate::registry::Registry;
use crate::sets::TlsSet;

/// The style sheet, for light and dark, for screens of all sizes. Every rule is limited to elements of this module.
const STYLE: &str = include_str!("status.css");

/// Number of domains of each kind that the summary names, of hundreds maybe.
const NAMED: usize = 6;

/// The kinds of domains in the summary: class for the colour, sign for readers who see no colours, text behind the count.
const KINDS: [(Health, &str, &str, &str); 6] = [
    (Health::Bad, "bad", "\u{d7}", "without a valid certificate"),
    (Health::Failing, "warn", "!", "with a failing renewal"),
    (Health::ByHand, "warn", "!", "due for manual renewal"),
    (Health::Ready, "busy", "\u{2191}", "with a new certificate waiting for a restart"),
    (Health::Busy, "busy", "\u{21bb}", "being renewed"),
    (Health::Good, "good", "\u{2713}", "good"),
];

const COLUMNS: [&str; 8] = ["Domain", "Names", "Status", "Valid", "CA", "Stapling", "CheckAt", "Activity"];

/// Returns the section of server-status; empty without domains and stapled certificates.
#[must_use]
pub fn section(registry: &Registry) -> String {
    let views = view::all(registry);
    let staplings = stapling::all(registry);
    if views.is_empty() && staplings.is_empty() {
        return String::new();
    }
    html! {
        hr;
        @if !views.is_empty() { h3 { "Managed Certificates" } }
        style { (PreEscaped(STYLE)) }
        @if !views.is_empty() { (domains(registry, &views)) }
        @if !staplings.is_empty() {
            h3 { "Managed Staplings" }
            (stapling::table(&staplings))
        }
    }
    .into_string()
}

/// A page of this server that shows all domains, with its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageLink<'s> {
    /// The handler md-page.
    Page(&'s str),
    /// The handler md-status.
    Status(&'s str),
}

impl<'s> PageLink<'s> {
    /// Returns the path of the page.
    #[must_use]
    pub fn path(self) -> &'s str {
        match self {
            Self::Page(path) | Self::Status(path) => path,
        }
    }

    /// Returns the place of one domain.
    fn to(self, view: &View<'_>) -> String {
        format!("{}/{}", self.path().trim_end_matches('/'), view.md.name)
    }
}

/// Returns a few lines for server-status, however many domains there are: how many are in which state, which of them need
/// attention, what expires next, and where all of them are shown. Empty without domains and stapled certificates.
#[must_use]
pub fn summary(registry: &Registry, link: Option<PageLink<'_>>) -> String {
    let views = view::all(registry);
    let staplings = stapling::all(registry);
    if views.is_empty() && staplings.is_empty() {
        return String::new();
    }
    let place = |view: &View<'_>| link.map(|link| link.to(view));
    let expires = |view: &View<'_>| view.validity().map(|(_, until)| until).filter(|until| *until > view.now);
    let next = views.iter().filter_map(|view| Some((expires(view)?, view))).min_by_key(|(until, _)| *until);
    html! {
        hr;
        h3 { "Managed Certificates" }
        dl {
            dt { "Managed domains: " (views.len()) ", with problems: " (troubled(&views)) }
            @for (health, what, some) in kinds(&views) {
                dt { (some.len()) " " (what) (names(health, &some, place)) }
            }
            @if let Some((until, view)) = next {
                dt { "Next expiry: " (name(view, place)) ", " (date(until)) " (" (left(until, view.now)) ")" }
            }
            @if !staplings.is_empty() { dt { (stapling::counts(&staplings)) } }
            dt {
                @if let Some(link) = link {
                    "All domains: " a href=(link.path()) { (link.path()) }
                } @else {
                    "A page with " code { "SetHandler md-page" } " shows all domains, and so does this page with " code { "MDServerStatus on" } "."
                }
            }
        }
    }
    .into_string()
}

fn domains(registry: &Registry, views: &[View<'_>]) -> Markup {
    html! {
        (overview(views))
        table.md_status {
            thead { tr { @for column in COLUMNS { th class=(column) { (column) } } } }
            tbody {
                @for (index, view) in views.iter().enumerate() {
                    tr class=(if index % 2 == 0 { "even" } else { "odd" }) id=(anchor(view)) { (row(registry, view)) }
                }
            }
        }
        p.md_legend {
            "Lifetime of a certificate: "
            span { i.md_passed {} "passed" } " "
            span { i.md_track {} "remaining" } " "
            span { i.md_window {} "renewal window" }
        }
    }
}

/// Counts the domains of each kind, and names them, except good ones.
fn overview(views: &[View<'_>]) -> Markup {
    let place = |view: &View<'_>| Some(format!("#{}", anchor(view)));
    html! {
        ul.md_summary {
            @for (health, what, some) in kinds(views) {
                li { (dot(health)) b { (some.len()) " " (what) } (names(health, &some, place)) }
            }
        }
    }
}

/// Returns the domains of each kind that has any, with the text behind their number.
fn kinds<'v, 'a>(views: &'v [View<'a>]) -> Vec<(Health, &'static str, Vec<&'v View<'a>>)> {
    let healths: Vec<Health> = views.iter().map(View::health).collect();
    let of = |kind: Health| views.iter().zip(&healths).filter(move |(_, own)| **own == kind).map(|(view, _)| view);
    let all = KINDS.into_iter().map(|(health, _, _, what)| (health, what, of(health).collect::<Vec<_>>()));
    all.filter(|(.., some)| !some.is_empty()).collect()
}

fn troubled(views: &[View<'_>]) -> usize {
    views.iter().filter(|view| matches!(view.health(), Health::Bad | Health::Failing)).count()
}

/// Names the first domains of a kind, except good ones. `place` returns where more is said of one.
fn names(health: Health, views: &[&View<'_>], place: impl Fn(&View<'_>) -> Option<String>) -> Markup {
    html! {
        @if health != Health::Good {
            @for (index, view) in views.iter().take(NAMED).enumerate() {
                (if index == 0 { ": " } else { ", " }) (name(view, &place))
            }
            @if views.len() > NAMED { " and " (views.len() - NAMED) " more" }
        }
    }
}

fn name(view: &View<'_>, place: impl Fn(&View<'_>) -> Option<String>) -> Markup {
    html! {
        @if let Some(place) = place(view) { a href=(place) { (view.md.name) } } @else { (view.md.name) }
    }
}

fn anchor(view: &View<'_>) -> String {
    format!("md-{}", view.md.name)
}

fn class(health: Health) -> String {
    let kind = KINDS.into_iter().find(|(kind, ..)| *kind == health);
    kind.map_or_else(String::new, |(_, class, ..)| format!("md_{class}"))
}

fn dot(health: Health) -> Markup {
    let sign = KINDS.into_iter().find(|(kind, ..)| *kind == health).map_or("", |(_, _, sign, _)| sign);
    html! { span class={ "md_dot " (class(health)) } aria-hidden="true" { b { (sign) } } }
}

fn row(registry: &Registry, view: &View<'_>) -> Markup {
    let names = view.md.domains.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(" ");
    let check = &registry.globals.certificate_check.0;
    html! {
        td.Domain { (dot(view.health())) (view.md.name) }
        td.Names { div style="max-width:400px;" { (names) } }
        td.Status { (status(view)) }
        td.Valid { (valid(view)) }
        td.CA {
            @for (name, url) in view.authorities() {
                @if let Some(url) = url { a href=(url) { (name) } } @else { (name) }
                " "
            }
        }
        td.Stapling { @if view.md.stapling { "on" } }
        td.CheckAt {
            @for (kind, certificate) in view.certificates() {
                a href=(check_url(&registry.globals, certificate)) rel="noreferrer" { (check) "[" (kind) "]" }
                br;
            }
        }
        td.Activity { (activity(view)) }
    }
}

/// Returns the class of the status, which is about the served certificates: a failing renewal makes it no worse.
fn status_class(view: &View<'_>) -> String {
    class(if view.health() == Health::Bad { Health::Bad } else { Health::Good })
}

/// Shows the status; `live` instead of `good` if all new certificates are live, so that a restart changes nothing.
fn status(view: &View<'_>) -> Markup {
    let status = view.status();
    let since = view.live_since().filter(|_| status == "good" && view.staged_count() == 0);
    html! {
        @if let Some(since) = since {
            span class=(status_class(view)) title={ "since " (time::format_gmt(since)) ", without a restart" } { "live" }
        } @else {
            span class=(status_class(view)) { (status) }
        }
    }
}

/// Shows the common validity, and a bar for the lifetime of each certificate.
fn valid(view: &View<'_>) -> Markup {
    let has_several = view.certificates().nth(1).is_some();
    html! {
        @if let Some((from, until)) = view.validity() {
            @let title = format!("{} - {}", time::format_gmt(from), time::format_gmt(until));
            @if from > view.now { "from " span title=(title) { (date(from)) } " " }
            "until " span title=(title) { (date(until)) }
        }
        @for (kind, certificate) in view.certificates() {
            (life(view, &kind, certificate))
            span.md_small { (left(certificate.validity().1, view.now)) @if has_several { " (" (kind) ")" } }
        }
    }
}

/// Shows the lifetime of a certificate as a bar: the part that has passed is filled, the renewal window is marked.
pub(super) fn life(view: &View<'_>, kind: &str, certificate: &Summary) -> Markup {
    let (from, until) = certificate.validity();
    let whole = until.duration_since(from).as_secs_f64().max(1.0);
    let part = |at: Timestamp| (at.duration_since(from).as_secs_f64() / whole * 100.0).clamp(0.0, 100.0);
    let now = part(view.now);
    let window = part(view.renew_at);
    let fill = match view.now {
        now if now >= until => "md_over",
        now if now >= view.renew_at => "md_due",
        _ => "",
    };
    let title =
        format!("{kind}: {now:.0}% of the lifetime has passed, renewal from {}", time::format_gmt(view.renew_at));
    html! {
        span.md_life role="img" aria-label=(title) title=(title) {
            span.md_window style=(format!("left:{window:.1}%;width:{:.1}%", 100.0 - window)) {}
            span class={ "md_passed " (fill) } style=(format!("width:{now:.1}%")) {}
        }
    }
}

/// Describes the remaining lifetime: `68 days left`, or `expired 9 days ago`.
pub(super) fn left(until: Timestamp, now: Timestamp) -> String {
    let left = until.duration_since(now);
    match left.as_hours() / 24 {
        days if days > 1 => format!("{days} days left"),
        _ if left.is_positive() => format!("ends {}", roughly(until, now)),
        days if days < -1 => format!("expired {} days ago", -days),
        _ => format!("expired {}", roughly(until, now)),
    }
}

pub(super) fn moment(at: Timestamp, now: Timestamp) -> Markup {
    html! { span title=(time::format_gmt(at)) { (roughly(at, now)) } }
}

/// Shows the result of the last renewal, then the next step.
fn activity(view: &View<'_>) -> Markup {
    html! {
        @if let Some(reason) = view.unsuitable() { p.md_bad { "Cannot be renewed: " (reason) } }
        @if let Some(warning) = view.domain.activation_warning() { p.md_warn { (warning) } }
        @if let Some(set) = &view.live { p title=(serials(set)) { "Live" @if let Some(at) = set.since { " since " (moment(at, view.now)) } } }
        @match view.renewal() {
            Some(_) => {
                (last_result(view))
                p { b { (next_step(view)) } }
                @if let Some(step) = view.last_step() { p.md_small { (step) } }
            },
            None if view.is_manual() => { "Manual renew" @if view.renew_at <= view.now { ": due now" } },
            None if view.renew_at > view.now => { "Renew " (moment(view.renew_at, view.now)) },
            None => "Pending",
        }
        @for TxtRecord { name, value } in view.txt_records() {
            p.md_small { "Permanent DNS record: " code { (name) } " TXT " code { "\"" (value) "\"" } }
        }
    }
}

/// Lists the serial numbers of the certificates that went live.
fn serials(set: &TlsSet) -> String {
    let serials = set.pairs.iter().map(|(spec, pair)| format!("{} {}", spec.json_name(), pair.summary().serial_hex()));
    format!("serial: {}", serials.collect::<Vec<_>>().join(", "))
}

/// Shows the result in words first, then as error code.
fn last_result(view: &View<'_>) -> Markup {
    let Some(job) = view.renewal() else { return html! {} };
    let last = job.last.as_ref();
    let failed = last.filter(|last| last.status != Status::OK);
    html! {
        @if failed.is_some() || !job.finished {
            @if let Some(detail) = last.and_then(|last| last.detail.as_ref()) {
                p class=(if failed.is_some() { "md_bad" } else { "" }) { (detail) }
            }
        }
        @if let Some(last) = failed {
            p.md_small { "Error[" (last.status) "]" @if let Some(problem) = &last.problem { ": " (problem) } }
        }
        @if job.finished {
            @match view.staged_count() {
                0 => p { "finished successfully." },
                1 => p { "finished, 1 new certificate staged." },
                count => p { "finished, " (count) " new certificates staged." },
            }
        }
    }
}

fn next_step(view: &View<'_>) -> Markup {
    let Some(job) = view.renewal() else { return html! {} };
    html! {
        @if job.finished {
            (next_use(view))
        } @else if let Some(at) = view.next_run() {
            "Next run " (moment(at, view.now)) @if job.errors > 1 { ", after " (job.errors) " errors in a row" }
        } @else {
            "Ongoing..."
        }
    }
}

/// Describes when the server uses the staged certificates.
pub(super) fn next_use(view: &View<'_>) -> Markup {
    let later = view.ready_at().filter(|at| *at > view.now);
    html! {
        @match (view.domain.slot.is_some(), later) {
            (true, _) if view.is_staged_live() => "In use",
            (true, Some(at)) => { "Live " (moment(at, view.now)) },
            (true, None) => "Goes live now; if not, the error log has the reason (MD0035)",
            _ if view.domain.restarts() => "In use after a graceful restart, which the server performs itself",
            _ => "In use after the next graceful restart",
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::RenewMode;
    use crate::testing::TestServer;
    use crate::testing::ca::{Fault, Operation, problem};

    #[test]
    fn what_is_left_of_a_life_is_told_in_days_until_the_last_ones() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (hours, expected) in [
            (24 * 68 + 5, "68 days left"),
            (48, "2 days left"),
            (47, "ends in ~1 day"),
            (2, "ends in ~2 hours"),
            (-5, "expired ~5 hours ago"),
            (-47, "expired ~1 day ago"),
            (-24 * 9, "expired 9 days ago"),
        ] {
            assert_eq!(left(now + SignedDuration::from_hours(hours), now), expected);
        }
    }

    fn healths(registry: &Registry) -> Vec<Health> {
        view::all(registry).iter().map(View::health).collect()
    }

    #[test]
    fn a_domain_is_as_bad_as_what_clients_get_and_what_becomes_of_it() {
        let mut test_server = TestServer::new(&["a.test"]);
        assert_eq!(healths(&test_server.start(false)), [Health::Bad], "no certificate");
        drop(test_server.run(false));
        assert_eq!(healths(&test_server.start(true)), [Health::Good]);
        test_server.clock.advance(SignedDuration::from_hours(24 * 61));
        let registry = test_server.start(true);
        assert_eq!(healths(&registry), [Health::Busy], "renew window open");
        test_server.declared[0].settings.renew_mode = Some(RenewMode::Manual);
        assert_eq!(healths(&test_server.start(true)), [Health::ByHand]);
        test_server.declared[0].settings.renew_mode = None;
        test_server.ca.fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", "<b>no</b>")));
        drop(test_server.run(true));
        let registry = test_server.start(true);
        assert_eq!(healths(&registry), [Health::Failing]);
        let page = crate::status::page::list(&registry);
        assert!(
            page.contains("&lt;b&gt;no&lt;/b&gt;") && page.contains("<title>(1) Managed Certificates</title>"),
            "{page}"
        );
        test_server.clock.advance(SignedDuration::from_hours(24 * 61));
        assert_eq!(healths(&registry), [Health::Bad], "expired");
    }
}
