//! md-page: all domains for people, those that need attention first, and one domain with all that is known of it.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::domain_page;
use super::parts::{activity, authorities, head, legend, names, sign, valid, word};
use super::query::{Query, Sort};
use super::stapling::{self, Stapled};
use super::view::{self, View};
use super::words::State;
use crate::model::{VERSION, time};
use crate::registry::Registry;

/// The style sheet, for light, dark and print, for screens of all sizes.
const STYLE: &str = include_str!("page.css");
/// The number of rows on a page.
const ROWS: usize = 50;
/// The number of domains of each state that the summary names, of hundreds maybe.
const NAMED: usize = 6;
/// The number of names of a domain in a table; its own page has all.
const NAMES: usize = 20;
/// The number of characters of an error in a table; the domain's own page has all.
const DETAIL: usize = 600;

/// A request for md-page.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageRequest<'r> {
    /// The path of the list, percent-encoded, without the name of a domain.
    pub path: &'r str,
    /// The name behind the path, if there is one.
    pub name: Option<&'r str>,
    /// The part of the URL that follows `?`.
    pub query: &'r str,
    /// The name of the server.
    pub server: Option<&'r str>,
}

/// The answer of md-page.
#[derive(Debug)]
pub struct Page {
    /// Whether there is a domain of the name that was asked for.
    pub is_found: bool,
    /// The seconds after which the browser asks again.
    pub refresh: Option<u32>,
    /// The page.
    pub html: String,
}

/// Returns the page of the md-page handler: of one domain if a name is asked for, else the list.
#[must_use]
pub fn page(registry: &Registry, asked: &PageRequest<'_>) -> Page {
    let query = Query::read(asked.query);
    let found = asked.name.map(|name| (name, view::of(registry, name)));
    let (is_found, title, content) = match &found {
        Some((_, Some(view))) => (true, view.md.name.to_string(), domain_page::content(registry, view)),
        Some((name, None)) => {
            let unknown = html! {
                h1 { "No such domain" }
                p { "There is no managed domain " code { (name.chars().take(255).collect::<String>()) } "." }
                p { a href="./" { "All domains" } }
            };
            (false, "No such domain".to_owned(), unknown)
        }
        None => {
            let (troubled, list) = List::of(registry, asked, &query).content();
            let count = if troubled > 0 { format!("({troubled}) ") } else { String::new() };
            (true, format!("{count}Managed Certificates"), list)
        }
    };
    let title = asked.server.map_or_else(|| title.clone(), |server| format!("{title}, {server}"));
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    @if let Some(server) = asked.server { b { (server) } " at " }
                    (time::format_gmt(registry.clock.now()))
                    @if let Some(seconds) = query.refresh { ", again every " (seconds) " seconds" }
                }
                main { (content) }
                footer { "mod_md " (VERSION) }
            }
        }
    };
    Page { is_found, refresh: query.refresh, html: html.into_string() }
}

/// The list of all domains, or those that were asked for.
struct List<'a> {
    views: Vec<(State, View<'a>)>,
    staplings: Vec<Stapled>,
    query: &'a Query,
    /// What a relative URL of a domain's page begins with.
    base: String,
}

impl<'a> List<'a> {
    fn of(registry: &'a Registry, asked: &PageRequest<'_>, query: &'a Query) -> Self {
        let views = view::all(registry).into_iter().map(|view| (view.in_a_word(), view)).collect();
        // Behind `/` the URL is that of a folder, else that of a file in one. A colon in it would end a scheme.
        let last = asked.path.rsplit('/').next().filter(|last| !last.is_empty());
        let base = last.map_or("./".to_owned(), |last| format!("./{last}/"));
        Self { views, staplings: stapling::all(registry), query, base }
    }

    /// Returns the number of troubled domains, and the page.
    fn content(mut self) -> (usize, Markup) {
        let troubled = self.views.iter().filter(|(state, _)| state.is_troubled()).count();
        let query = self.query;
        match query.sort {
            // Sorting is stable: domains that are equal stay sorted by name.
            Sort::State => self.views.sort_by_key(|(state, _)| *state),
            Sort::Name => {}
            Sort::Until => self.views.sort_by_cached_key(|(_, view)| view.validity().map(|(_, until)| until)),
        }
        let content = html! {
            h1 { "Managed Certificates" }
            @for note in &query.notes { p.note role="status" { (note) } }
            @if self.views.is_empty() {
                p { "There are no managed domains. Add one with a directive such as " code { "MDomain www.example.org" } "." }
            } @else {
                (self.summary())
            }
            @if query.staplings {
                (self.all_staplings())
            } @else {
                @if !self.views.is_empty() { (self.form()) (self.domains()) }
                (self.troubled_staplings())
            }
        };
        (troubled, content)
    }

    /// Counts the domains in each state, and names them, except good ones.
    fn summary(&self) -> Markup {
        html! {
            ul.summary {
                @for state in State::ALL {
                    @let some: Vec<&View<'_>> = self.views.iter().filter(|(own, _)| *own == state).map(|(_, view)| view).collect();
                    @let place = self.query.in_state(Some(state));
                    @if !some.is_empty() {
                        li {
                            (sign(state)) a href=(place) { b { (some.len()) } " " (state.word()) }
                            @if state != State::Good {
                                @for (index, view) in some.iter().take(NAMED).enumerate() {
                                    (if index == 0 { ": " } else { ", " }) (self.link(view))
                                }
                                @if some.len() > NAMED { " " a href=(place) { "and " (some.len() - NAMED) " more" } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn form(&self) -> Markup {
        let query = self.query;
        html! {
            form method="get" {
                label { "Name " input type="search" name="q" value=(query.text) maxlength="100"; }
                label {
                    "State "
                    select name="state" {
                        option value="" { "all" }
                        @for state in State::ALL {
                            option value=(state.key()) selected[query.state == Some(state)] { (state.word()) }
                        }
                    }
                }
                label {
                    "Order "
                    select name="sort" {
                        @for (sort, key, words) in Sort::ALL {
                            option value=(key) selected[query.sort == sort] { (words) }
                        }
                    }
                }
                @if let Some(seconds) = query.refresh { input type="hidden" name="refresh" value=(seconds); }
                button type="submit" { "Show" }
            }
        }
    }

    /// Shows one page of the domains that were asked for.
    fn domains(&self) -> Markup {
        let query = self.query;
        let is_wanted = |view: &View<'_>| {
            query.text.is_empty() || view.md.domains.iter().any(|name| name.as_str().contains(&query.text))
        };
        let state = |own: State| query.state.is_none_or(|wanted| wanted == own);
        let wanted: Vec<_> = self.views.iter().filter(|(own, view)| state(*own) && is_wanted(view)).collect();
        let part = Part::of(query.page, wanted.len());
        let caption = html! {
            @if wanted.is_empty() { "No domain is so called and in this state" }
            @else { "Domains " (part.first + 1) " to " (part.end) " of " (wanted.len()) }
            @if wanted.len() < self.views.len() { ", of " (self.views.len()) " in all" }
        };
        html! {
            @if wanted.len() < self.views.len() { p { a href=(query.in_state(None)) { "Show all domains" } } }
            table.domains role="table" {
                caption { (caption) }
                (head(&["Domain", "State", "Names", "Valid", "Authority", "What happens"]))
                tbody role="rowgroup" {
                    @for (state, view) in &wanted[part.first..part.end] { (self.row(*state, view)) }
                }
            }
            (part.links(query))
            (legend())
        }
    }

    fn row(&self, state: State, view: &View<'_>) -> Markup {
        html! {
            tr role="row" id={ "md-" (view.md.name) } {
                th role="rowheader" scope="row" { (self.link(view)) }
                td role="cell" data-label="State" { (word(state)) }
                td role="cell" data-label="Names" {
                    (names(view, NAMES))
                    @if view.md.domains.len() > NAMES {
                        a.more href={ (self.base) (view.md.name) } { "and " (view.md.domains.len() - NAMES) " more" }
                    }
                }
                td role="cell" data-label="Valid" { (valid(view)) }
                td role="cell" data-label="Authority" { (authorities(view)) }
                td role="cell" data-label="What happens" { (activity(view, DETAIL)) }
            }
        }
    }

    fn link(&self, view: &View<'_>) -> Markup {
        html! { a href={ (self.base) (view.md.name) } { (view.md.name) } }
    }

    fn troubled_staplings(&self) -> Markup {
        let mut troubled: Vec<&Stapled> = self.staplings.iter().filter(|stapled| stapled.is_troubled()).collect();
        let count = troubled.len();
        troubled.truncate(NAMED);
        html! {
            @if !self.staplings.is_empty() {
                h2 { "Stapling" }
                p { (stapling::counts(&self.staplings)) ". " a href=(self.query.of_staplings()) { "Show all" } }
                @if count > 0 { (stapling::table_of_page(&troubled, &html! { "Certificates without a good response" })) }
                @if count > NAMED { p { a href=(self.query.of_staplings()) { "and " (count - NAMED) " more" } } }
            }
        }
    }

    /// Lists the stapled certificates, those without a good response first.
    fn all_staplings(&self) -> Markup {
        let mut all: Vec<&Stapled> = self.staplings.iter().collect();
        all.sort_by_key(|stapled| !stapled.is_troubled());
        let part = Part::of(self.query.page, all.len());
        let caption = html! {
            "Stapled certificates" @if !all.is_empty() { " " (part.first + 1) " to " (part.end) " of " (all.len()) }
        };
        html! {
            p { a href=(self.query.in_state(None)) { "All domains" } }
            (stapling::table_of_page(&all[part.first..part.end], &caption))
            (part.links(self.query))
        }
    }
}

/// The rows of one page.
struct Part {
    first: usize,
    end: usize,
    page: usize,
    pages: usize,
}

impl Part {
    /// Cuts out a page, the last one if it is too far.
    fn of(page: usize, rows: usize) -> Self {
        let pages = rows.div_ceil(ROWS).max(1);
        let page = page.clamp(1, pages);
        let first = (page - 1) * ROWS;
        Self { first, end: (first + ROWS).min(rows), page, pages }
    }

    fn links(&self, query: &Query) -> Markup {
        let link = |page: usize, words: &str| html! { a href=(query.on_page(page)) { (words) } " " };
        html! {
            @if self.pages > 1 {
                nav aria-label="Pages" {
                    @if self.page > 1 { (link(1, "First")) (link(self.page - 1, "Previous")) }
                    span { "Page " (self.page) " of " (self.pages) " " }
                    @if self.page < self.pages { (link(self.page + 1, "Next")) (link(self.pages, "Last")) }
                }
            }
        }
    }
}

/// Returns the list of a server without a name, for tests.
#[cfg(test)]
pub fn list(registry: &Registry) -> String {
    page(registry, &PageRequest::default()).html
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::testing::TestServer;
    use crate::testing::ca::{Fault, Operation, problem};

    fn shown(registry: &Registry, query: &str) -> String {
        let asked = PageRequest { path: "/status/page", query, server: Some("www.x.test"), name: None };
        page(registry, &asked).html
    }

    /// Returns the names in the rows of a page.
    fn rows(page: &str) -> Vec<&str> {
        let ids = page.split("<tr role=\"row\" id=\"md-").skip(1);
        ids.filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn domains_that_need_attention_come_first_on_pages_of_a_limited_length() {
        let names: Vec<String> = (0..120).map(|number| format!("d{number:03}.test")).collect();
        let mut server = TestServer::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let registry = server.start(false);
        let first = shown(&registry, "");
        assert_eq!(rows(&first), names[..50]);
        assert!(first.contains("Domains 1 to 50 of 120") && first.contains("<a href=\"?page=2\">Next</a>"), "{first}");
        assert!(first.contains("<a href=\"?state=no_certificate\"><b>120</b> no certificate yet</a>"), "{first}");
        assert!(first.contains("<a href=\"?state=no_certificate\">and 114 more</a>"), "{first}");
        assert!(first.contains("<a href=\"./page/d000.test\">") && first.len() < 150_000, "{first}");
        for (query, expected) in [
            ("page=3", &names[100..]),
            ("page=77", &names[100..]),
            ("page=x", &names[..50]),
            ("q=D11", &names[110..]),
            ("q=nobody", &[]),
            ("state=good", &[]),
            ("state=no_certificate&q=d00&page=2", &names[..10]),
        ] {
            assert_eq!(rows(&shown(&registry, query)), expected, "{query}");
        }
        server.declared.truncate(3);
        server.hosts.truncate(3);
        drop(server.run(false));
        server.ca.fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", "no")));
        server.clock.advance(SignedDuration::from_hours(24 * 61));
        let renewals = server.run(true);
        server.go_on(&renewals);
        let registry = server.start(true);
        let first = shown(&registry, "sort=state");
        assert_eq!(rows(&first).len(), 3);
        let failing = rows(&first)[0].to_owned();
        assert_eq!(rows(&shown(&registry, "state=failing")), [failing], "{first}");
        assert_eq!(rows(&shown(&registry, "sort=name")), names[..3]);
        assert_eq!(rows(&shown(&registry, "sort=until")).len(), 3);
        assert!(first.contains("<title>(1) Managed Certificates, www.x.test</title>"), "{first}");
        assert!(first.contains("The last attempt failed: no"), "{first}");
    }

    #[test]
    fn a_domain_without_a_host_is_not_said_to_be_renewed() {
        let mut server = TestServer::new(&["a.test"]);
        let words = "It is not renewed, as no host uses the domain";
        assert!(!list(&server.start(false)).contains(words));
        server.hosts.clear();
        assert!(list(&server.start(false)).contains(words));
    }

    #[test]
    fn what_is_in_a_query_or_a_path_is_text() {
        let registry = TestServer::new(&["a.test"]).start(false);
        let page_of = |query, name| page(&registry, &PageRequest { path: "/\"<p>", name, query, server: None });
        let answers = [
            page_of("q=%3Cscript%3E&state=%3Cscript%3E&sort=%22%3E&page=%3Cscript%3E&refresh=%3Cscript%3E", None),
            page_of("", Some("<script>")),
            page_of("refresh=99", Some("a.test")),
        ];
        for answer in &answers {
            assert!(!answer.html.contains("<script") && !answer.html.contains("\"<p>"), "{}", answer.html);
        }
        let found = answers.each_ref().map(|answer| (answer.is_found, answer.refresh));
        assert_eq!(found, [(true, None), (false, None), (true, Some(99))]);
        assert!(answers[0].html.contains("href=\"./&quot;&lt;p&gt;/a.test\""), "{}", answers[0].html);
        assert!(answers[1].html.contains("<code>&lt;script&gt;</code>"), "{}", answers[1].html);
    }

    #[test]
    fn a_domain_has_a_page_of_its_own_with_all_that_is_known() {
        let mut server = TestServer::new(&["a.test"]);
        let more: Vec<_> = (0..30).map(|number| format!("n{number}.a.test")).collect();
        server.declared[0].names.extend(more.iter().map(|name| crate::model::DomainName::parse(name).unwrap()));
        server.hosts.extend(more.iter().map(|name| crate::testing::host(name)));
        drop(server.run(false));
        let staged = server.start(false);
        let of = |registry: &Registry, name| {
            page(registry, &PageRequest { path: "/page/a.test", name: Some(name), query: "", server: None }).html
        };
        let one = of(&staged, "a.test");
        for words in [
            ">good</span>: Nothing has to be done.",
            "31 names",
            "n29.a.test",
            "Serial number",
            "in use",
            "MDActivation restart",
        ] {
            assert!(one.contains(words), "{words}: {one}");
        }
        assert_eq!(one, of(&staged, "n7.a.test"), "by any of its names");
        let list = shown(&staged, "");
        assert!(list.contains("31 names") && !list.contains("n29.a.test"), "{list}");
        assert!(list.contains("<a class=\"more\" href=\"./page/a.test\">and 11 more</a>"), "{list}");
        server.ca.fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", &"long ".repeat(200))));
        server.clock.advance(SignedDuration::from_hours(24 * 61));
        drop(server.run(true));
        let failing = server.start(true);
        let one = of(&failing, "a.test");
        for words in
            [">failing</span>", "urn:ietf:params:acme:error:serverInternal", "Log of the renewal", "renewal-error"]
        {
            assert!(one.contains(words), "{words}: {one}");
        }
        let detail = "long ".repeat(199);
        assert!(one.contains(&detail) && !shown(&failing, "").contains(&detail), "cut in the list only");
    }
}
