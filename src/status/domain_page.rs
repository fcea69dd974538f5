//! md-page/NAME: all that is known of one domain, for people.

use maud::{Markup, html};

use super::html::{left, life, moment};
use super::parts::{activity, authorities, head, legend, names, word};
use super::stapling::{self, Stapled};
use super::view::{View, check_url, date, key_names};
use crate::crypto::Summary;
use crate::model::{RenewMode, time};
use crate::registry::Registry;

/// Returns the content of the page of one domain.
pub fn content(registry: &Registry, view: &View<'_>) -> Markup {
    let state = view.in_a_word();
    let staplings: Vec<Stapled> = stapling::all(registry);
    let own: Vec<&Stapled> = staplings.iter().filter(|stapled| stapled.view.owner == view.md.name.as_str()).collect();
    html! {
        p { a href="./" { "All domains" } }
        h1 { (view.md.name) }
        p { (word(state)) ": " (state.meaning()) }
        h2 { "What happens" }
        (activity(view, usize::MAX))
        (problem(view))
        h2 { "Certificates" }
        (certificates(registry, view))
        h2 { "Settings" }
        (settings(view))
        @if !own.is_empty() {
            h2 { "Stapling" }
            (stapling::table_of_page(&own, &html! { "Responses of OCSP responders" }))
        }
        (log(view))
    }
}

fn problem(view: &View<'_>) -> Markup {
    let last = view.renewal().and_then(|job| job.last.as_ref()).filter(|_| view.is_failing());
    html! {
        @if let Some(last) = last {
            p {
                small {
                    @if let Some(problem) = &last.problem { "Problem: " code { (problem) } ". " }
                    "Error: " (last.status) "."
                    @if let Some(activity) = &last.activity { " Step: " (activity) "." }
                }
            }
        }
    }
}

fn certificates(registry: &Registry, view: &View<'_>) -> Markup {
    let is_new = |new: &Summary| !view.certificates().any(|(_, own)| own == new);
    let staged = view.staged.iter().flat_map(|staged| key_names(view.md).into_iter().zip(&staged.certificates));
    let staged = staged.filter_map(|(kind, new)| Some((kind, new.as_ref()?))).filter(|(_, new)| is_new(new));
    let served = view.certificates().map(|(kind, own)| ("in use", kind, own));
    let all: Vec<_> = served.chain(staged.map(|(kind, new)| ("not in use yet", kind, new))).collect();
    html! {
        @if all.is_empty() {
            p { "There is none yet." }
        } @else {
            table role="table" {
                caption { "Certificates of this domain" }
                (head(&["Key", "Use", "Valid", "Serial number", "Issuer", "Look it up"]))
                tbody role="rowgroup" { @for (using, kind, own) in &all { (certificate(registry, view, (using, kind, own))) } }
            }
            (legend())
        }
    }
}

fn certificate(registry: &Registry, view: &View<'_>, (using, kind, own): (&str, &str, &Summary)) -> Markup {
    let (from, until) = own.validity();
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (kind) }
            td role="cell" data-label="Use" { (using) }
            td role="cell" data-label="Valid" {
                (date(from)) " until " (time::format_gmt(until)) (life(view, kind, own)) small { (left(until, view.now)) }
            }
            td role="cell" data-label="Serial number" { code { (own.serial_hex()) } }
            td role="cell" data-label="Issuer" { (own.issuer_name()) }
            td role="cell" data-label="Look it up" {
                a href=(check_url(&registry.globals, own)) rel="noreferrer" { (registry.globals.certificate_check.0) " (" (kind) ")" }
            }
        }
    }
}

fn settings(view: &View<'_>) -> Markup {
    let md = view.md;
    let suggested = view.advice.earliest(view.domain.own_certificates());
    html! {
        dl {
            dt { "Names" } dd { (names(view, usize::MAX)) }
            dt { "Authority" } dd { (authorities(view)) }
            dt { "Renewal" }
            dd {
                @match md.renew_mode {
                    RenewMode::Manual => "by you (MDRenewMode manual)",
                    _ if !view.domain.watched => "none: no host uses the domain",
                    _ => { "due " (moment(view.renew_at, view.now)) },
                }
            }
            @if let Some(suggested) = suggested {
                dt { "Suggested by the authority" }
                dd { (time::format_gmt(suggested.start)) " to " (time::format_gmt(suggested.end)) }
            }
            dt { "New certificates get into use by" }
            dd { code { "MDActivation " (md.activation.name()) } }
            dt { "Challenge types" }
            dd {
                @match view.domain.challenges.as_ref() {
                    Ok(types) => @for kind in types { code { (kind) } " " },
                    Err(_) => "none that can be used",
                }
            }
            @if let Some(at) = view.last_success() { dt { "Last success" } dd { (time::format_gmt(at)) } }
            dt { "Stapling" } dd { (if md.stapling { "on" } else { "off" }) }
        }
    }
}

/// Lists the events of the renewal, the newest first.
fn log(view: &View<'_>) -> Markup {
    let entries = view.staged.iter().flat_map(|staged| staged.job.log.iter().flat_map(|log| &log.entries));
    let mut entries = entries.peekable();
    html! {
        @if entries.peek().is_some() {
            h2 { "Log of the renewal" }
            table role="table" {
                caption { "The newest entry is the first" }
                (head(&["Time", "Event", "Details"]))
                tbody role="rowgroup" {
                    @for entry in entries {
                        tr role="row" {
                            th role="rowheader" scope="row" { @if let Some(at) = entry.when { (time::format_gmt(at)) } @else { "unknown" } }
                            td role="cell" data-label="Event" { (entry.kind) @if let Some(status) = &entry.status { " (" (status) ")" } }
                            td role="cell" data-label="Details" { @if let Some(detail) = &entry.detail { (detail) } }
                        }
                    }
                }
            }
        }
    }
}
