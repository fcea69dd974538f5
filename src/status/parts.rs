//! Parts of the pages of md-page: tables, states in words, bars, and what happens to a domain.

use std::borrow::Cow;

use maud::{Markup, html};

use super::html::{left, life, moment, next_use};
use super::view::{View, date};
use super::words::{State, Urgency};
use crate::model::TxtRecord;

/// The number of names that are shown without a click.
const UNFOLDED: usize = 5;

/// Makes the head of a table. The roles stay where a style sheet makes blocks of its rows.
pub fn head(columns: &[&str]) -> Markup {
    html! {
        thead role="rowgroup" {
            tr role="row" { @for column in columns { th role="columnheader" scope="col" { (column) } } }
        }
    }
}

/// Shows a sign for the urgency, beside words that say it.
pub fn sign(state: State) -> Markup {
    let (class, sign) = looks(state);
    html! { span class={ "sign " (class) } aria-hidden="true" { (sign) } " " }
}

/// Shows the state in words.
pub fn word(state: State) -> Markup {
    html! { (sign(state)) span class=(looks(state).0) { (state.word()) } }
}

/// Returns the class for the colour, and the sign for readers who see no colours.
fn looks(state: State) -> (&'static str, &'static str) {
    match (state.urgency(), state) {
        (Urgency::Broken, _) => ("bad", "\u{d7}"),
        (Urgency::Attention, _) => ("warn", "!"),
        (Urgency::Busy, State::Waiting) => ("busy", "\u{2191}"),
        (Urgency::Busy, _) => ("busy", "\u{21bb}"),
        (Urgency::Fine, _) => ("good", "\u{2713}"),
    }
}

/// Lists at most so many names, one per line; many are folded.
pub fn names(view: &View<'_>, most: usize) -> Markup {
    let names = &view.md.domains;
    let list = html! { ul { @for name in names.iter().take(most) { li { (name) } } } };
    html! {
        @if names.len() > UNFOLDED { details { summary { (names.len()) " names" } (list) } } @else { (list) }
    }
}

/// Shows the common validity, and a bar for the life of each certificate.
pub fn valid(view: &View<'_>) -> Markup {
    let has_several = view.certificates().nth(1).is_some();
    html! {
        @if let Some((from, until)) = view.validity() {
            @if from > view.now { "from " (date(from)) " " }
            "until " (date(until))
        }
        @for (kind, certificate) in view.certificates() {
            (life(view, &kind, certificate))
            small { (left(certificate.validity().1, view.now)) @if has_several { " (" (kind) ")" } }
        }
    }
}

/// Names the authorities, with links.
pub fn authorities(view: &View<'_>) -> Markup {
    html! {
        @for (name, url) in view.authorities() {
            @if let Some(url) = url { a href=(url) rel="noreferrer" { (name) } } @else { (name) }
            " "
        }
    }
}

/// Explains the bars.
pub fn legend() -> Markup {
    html! {
        p.legend {
            "Life of a certificate: "
            span { i.key_passed {} "passed" } " "
            span { i.key_left {} "left" } " "
            span { i.key_window {} "time to renew" }
        }
    }
}

/// Tells what is wrong, then what comes next. Texts are cut after so many characters.
pub fn activity(view: &View<'_>, most: usize) -> Markup {
    html! {
        @if let Some(reason) = view.unsuitable() { p.bad { "Cannot be renewed: " (cut(reason, most)) } }
        @if let Some(warning) = view.domain.activation_warning() { p.warn { (warning) } }
        @if let Some(at) = view.live_since() { p { "Live since " (moment(at, view.now)) } }
        (renewal(view, most))
        @for TxtRecord { name, value } in view.txt_records() {
            p { small { "Permanent DNS record: " code { (cut(name, most)) } " TXT " code { (cut(value, most)) } } }
        }
    }
}

fn renewal(view: &View<'_>, most: usize) -> Markup {
    let Some(job) = view.renewal() else {
        return html! {
            @if view.is_manual() {
                p {
                    @if view.md.is_static() { "You renew it: its certificates are files of yours" }
                    @else { "You renew it: MDRenewMode is manual" }
                    @if view.renew_at <= view.now { ". Do it now." }
                }
            } @else if !view.domain.watched {
                p { "It is not renewed, as no host uses the domain" }
            } @else if view.renew_at > view.now {
                p { "Renewal due " (moment(view.renew_at, view.now)) }
            } @else if view.unsuitable().is_none() {
                p { "The renewal begins soon" }
            }
        };
    };
    let last = job.last.as_ref();
    let reason = last.and_then(|last| last.detail.as_ref().or(last.problem.as_ref()));
    html! {
        @if view.is_failing() {
            p.bad { "The last attempt failed: " (reason.map_or_else(|| "no reason is known".into(), |reason| cut(reason, most))) }
        } @else if let Some(reason) = reason.filter(|_| !job.finished) {
            p { (cut(reason, most)) }
        }
        @if job.finished {
            @match view.staged_count() {
                0 => p { "The renewal has succeeded" },
                1 => p { "A new certificate is there" },
                count => p { (count) " new certificates are there" },
            }
            p { b { (next_use(view)) } }
        } @else if let Some(at) = view.next_run() {
            p { b { "Next attempt " (moment(at, view.now)) } @if job.errors > 1 { ", after " (job.errors) " failures in a row" } }
        } @else {
            p { b { "The renewal is in progress" } }
            @if let Some(step) = view.last_step() { p { small { (cut(step, most)) } } }
        }
    }
}

/// Returns at most so many characters of a text.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text.into(),
    }
}
