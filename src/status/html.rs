//! The domains for people: a section of server-status, and the same as a page of its own.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::view::{self, Health, View, check_url, date, roughly};
use crate::crypto::Summary;
use crate::model::{Status, VERSION, time};
use crate::registry::Registry;

/// Looks good in light and dark, on a phone, and without it too. Only what is in our tables is touched.
const STYLE: &str = include_str!("status.css");

/// The section of server-status; nothing if there are no domains.
#[must_use]
pub fn section(registry: &Registry) -> String {
    let views = view::all(registry);
    if views.is_empty() {
        return String::new();
    }
    html! {
        hr;
        h3 { "Managed Certificates" }
        style { (PreEscaped(STYLE)) }
        (table(registry, &views))
    }
    .into_string()
}

/// The page of the md-page handler.
#[must_use]
pub fn page(registry: &Registry) -> String {
    let views = view::all(registry);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Managed Certificates" }
                style { (PreEscaped(STYLE)) }
            }
            body.md_page {
                h1 { "Managed Certificates" }
                p.md_summary { (summary(&views)) }
                @if !views.is_empty() { (table(registry, &views)) }
                p.md_footer { "mod_md " (VERSION) " at " (time::format_gmt(registry.clock.now())) }
            }
        }
    }
    .into_string()
}

fn summary(views: &[View<'_>]) -> Markup {
    let count = |health: Health| views.iter().filter(|view| view.health() == health).count();
    let parts = [(Health::Bad, "without a good certificate"), (Health::Busy, "being renewed"), (Health::Good, "good")];
    html! {
        @if views.is_empty() { "There are no managed domains." }
        @for (health, what) in parts {
            @if count(health) > 0 { span.md_count { (dot(health)) " " (count(health)) " " (what) } " " }
        }
    }
}

const COLUMNS: [&str; 8] = ["Domain", "Names", "Status", "Valid", "CA", "Stapling", "CheckAt", "Activity"];

fn table(registry: &Registry, views: &[View<'_>]) -> Markup {
    html! {
        table.md_status {
            thead { tr { @for column in COLUMNS { th class=(column) { (column) } } } }
            tbody {
                @for (index, view) in views.iter().enumerate() {
                    tr class=(if index % 2 == 0 { "even" } else { "odd" }) { (row(registry, view)) }
                }
            }
        }
    }
}

fn row(registry: &Registry, view: &View<'_>) -> Markup {
    let names = view.md.domains.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(" ");
    let check = &registry.globals.certificate_check.0;
    html! {
        td.Domain { (view.md.name) }
        td.Names { div style="max-width:400px;" { (names) } }
        td.Status { (dot(view.health())) " " (view.status()) }
        td.Valid { (valid(view)) }
        td.CA { @for (name, url) in view.authorities() { a href=(url) { (name) } " " } }
        td.Stapling { @if view.md.stapling { "on" } }
        td.CheckAt {
            @for (kind, certificate) in view.certificates() {
                a href=(check_url(&registry.globals, certificate)) { (check) "[" (kind) "]" }
                br;
            }
        }
        td.Activity { (activity(view)) }
    }
}

fn dot(health: Health) -> Markup {
    let (class, sign) = match health {
        Health::Good => ("good", "\u{25cf}"),
        Health::Busy => ("busy", "\u{25d0}"),
        Health::Bad => ("bad", "\u{25cb}"),
    };
    html! { span class={ "md_dot md_" (class) } aria-hidden="true" { (sign) } }
}

/// Until when, and a bar for each certificate's life.
fn valid(view: &View<'_>) -> Markup {
    html! {
        @if let Some((from, until)) = view.validity() {
            @let title = format!("{} - {}", time::format_gmt(from), time::format_gmt(until));
            @if from > view.now { "from " span title=(title) { (date(from)) } " " }
            "until " span title=(title) { (date(until)) }
        }
        @for (kind, certificate) in view.certificates() { (life(view, &kind, certificate)) }
    }
}

/// The life of a certificate as a bar: what has passed is filled, and the part in which it is renewed is marked.
fn life(view: &View<'_>, kind: &str, certificate: &Summary) -> Markup {
    let (from, until) = certificate.validity();
    let whole = until.duration_since(from).as_secs_f64().max(1.0);
    let part = |at: Timestamp| (at.duration_since(from).as_secs_f64() / whole * 100.0).clamp(0.0, 100.0);
    let (now, window) = (part(view.now), if view.is_manual() { 100.0 } else { part(view.renew_at) });
    let left = roughly(until, view.now);
    let title = format!(
        "{kind}: {now:.0}% of its life is over, it ends {left}, renewal from {}",
        time::format_gmt(view.renew_at)
    );
    html! {
        span.md_life role="img" aria-label=(title) title=(title) {
            span.md_window style=(format!("left:{window:.1}%;width:{:.1}%", 100.0 - window)) {}
            span.md_passed style=(format!("width:{now:.1}%")) {}
        }
    }
}

fn moment(at: Timestamp, now: Timestamp) -> Markup {
    html! { span title=(time::format_gmt(at)) { (roughly(at, now)) } }
}

fn activity(view: &View<'_>) -> Markup {
    let Some(staged) = &view.staged else {
        return match view.renew_at {
            at if at > view.now => html! { "Renew " (moment(at, view.now)) },
            _ if view.is_manual() => html! { "Manual renew" },
            _ => html! { "Pending" },
        };
    };
    let (job, count) = (&staged.job, view.staged_count());
    let last = job.last.as_ref();
    html! {
        @if let Some(last) = last.filter(|last| last.status != Status::OK) {
            span.md_error { "Error[" (last.status) "]: " @if let Some(problem) = &last.problem { (problem) " " } }
        }
        @if job.finished {
            @match count {
                0 => { "finished successfully." }
                1 => { "finished, 1 new certificate staged." }
                _ => { "finished, " (count) " new certificates staged." }
            }
        } @else {
            @if let Some(detail) = last.and_then(|last| last.detail.as_ref()) { (detail) }
        }
        br;
        @if job.finished {
            "It is used from the next restart of the server on."
        } @else if let Some(at) = view.next_run() {
            "Next run " (moment(at, view.now)) @if job.errors > 1 { ", after " (job.errors) " errors in a row" }
        } @else {
            "Ongoing..."
        }
    }
}
