//! The query of md-page: which domains it shows, in which order, and how often a browser asks again.

use url::form_urlencoded::{Serializer, parse};

use super::words::State;
use crate::model::outside;

/// The most parameters that are looked at.
const MOST: usize = 20;
/// The most characters of a text to search for, and of a value in a note.
const LONGEST: usize = 100;
/// The seconds after which a browser may ask again.
const REFRESH: std::ops::RangeInclusive<u32> = 5..=3600;

/// The order of the domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Those that need attention first.
    #[default]
    State,
    /// By name.
    Name,
    /// By the end of the certificates; those without any first.
    Until,
}

impl Sort {
    /// All orders, with their names in queries and on the page.
    pub const ALL: [(Self, &str, &str); 3] = [
        (Self::State, "state", "urgent ones first"),
        (Self::Name, "name", "by name"),
        (Self::Until, "until", "by end of validity"),
    ];

    fn key(self) -> &'static str {
        Self::ALL.into_iter().find(|(sort, ..)| *sort == self).map_or("", |(_, key, _)| key)
    }
}

/// What a browser asks md-page for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Only domains in this state.
    pub state: Option<State>,
    /// Only domains with this text in one of their names, in lower case; empty for all.
    pub text: String,
    /// The order.
    pub sort: Sort,
    /// The page, from 1 on; 0 if it is not given.
    pub page: usize,
    /// The seconds after which the browser asks again.
    pub refresh: Option<u32>,
    /// Whether stapled certificates are listed, and not domains.
    pub staplings: bool,
    /// Sentences about values that cannot be used.
    pub notes: Vec<String>,
}

impl Query {
    /// Reads the part of a URL behind `?`. Parameters with other names are ignored.
    #[must_use]
    pub fn read(query: &str) -> Self {
        let mut all = Self::default();
        for (name, value) in parse(query.as_bytes()).take(MOST) {
            // An empty field of the form means the same as one that is not there.
            if !value.is_empty() {
                all.set(&name, &value);
            }
        }
        all
    }

    fn set(&mut self, name: &str, value: &str) {
        let shown = || outside::text(&clipped(value));
        match name {
            "q" => self.text = clipped(value.trim()).to_ascii_lowercase(),
            "state" => match State::called(value) {
                Some(state) => self.state = Some(state),
                None => self.notes.push(format!("There is no state '{}': all are shown.", shown())),
            },
            "sort" => match Sort::ALL.into_iter().find(|(_, key, _)| *key == value) {
                Some((sort, ..)) => self.sort = sort,
                None => self.notes.push(format!("There is no order '{}': urgent ones come first.", shown())),
            },
            "page" => match value.parse() {
                Ok(page) if page > 0 => self.page = page,
                _ => self.notes.push(format!("There is no page '{}': this is the first one.", shown())),
            },
            "refresh" => match value.parse::<u32>() {
                Ok(seconds) => {
                    let used = seconds.clamp(*REFRESH.start(), *REFRESH.end());
                    if used != seconds {
                        self.notes.push(format!("refresh={} is not possible: {used} seconds are used.", shown()));
                    }
                    self.refresh = Some(used);
                }
                Err(_) => self.notes.push(format!("refresh={} is no number of seconds.", shown())),
            },
            "list" if value == "staplings" => self.staplings = true,
            _ => {}
        }
    }

    /// Returns the relative URL with which a browser asks for the same, on another page.
    #[must_use]
    pub fn on_page(&self, page: usize) -> String {
        Self { page, ..self.clone() }.url()
    }

    /// Returns the relative URL of the domains in this state, or of all.
    #[must_use]
    pub fn in_state(&self, state: Option<State>) -> String {
        Self { state, refresh: self.refresh, sort: self.sort, ..Self::default() }.url()
    }

    /// Returns the relative URL of the stapled certificates.
    #[must_use]
    pub fn of_staplings(&self) -> String {
        Self { staplings: true, refresh: self.refresh, ..Self::default() }.url()
    }

    fn url(&self) -> String {
        let mut query = Serializer::for_suffix(String::from("?"), 1);
        let mut add = |name: &str, value: &str| {
            query.append_pair(name, value);
        };
        if self.staplings {
            add("list", "staplings");
        }
        if let Some(state) = self.state {
            add("state", state.key());
        }
        if !self.text.is_empty() {
            add("q", &self.text);
        }
        if self.sort != Sort::default() {
            add("sort", self.sort.key());
        }
        if let Some(seconds) = self.refresh {
            add("refresh", &seconds.to_string());
        }
        if self.page > 1 {
            add("page", &self.page.to_string());
        }
        query.finish()
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_domains_in_which_order() {
        let query = Query::read("state=failing&q=WWW.Example+&sort=until&page=3&refresh=30&x=y&list=staplings");
        let expected = Query {
            state: Some(State::Failing),
            text: "www.example".to_owned(),
            sort: Sort::Until,
            page: 3,
            refresh: Some(30),
            staplings: true,
            notes: Vec::new(),
        };
        assert_eq!(query, expected);
        assert_eq!(Query::read(query.on_page(3).trim_start_matches('?')), expected);
        for nothing in ["", "&&&", "=", "state=&q=&sort=&page=&refresh=", "list=x"] {
            assert_eq!(Query::read(nothing), Query::default(), "{nothing}");
        }
        assert_eq!((query.in_state(None), Query::default().on_page(1)), ("?sort=until&refresh=30".into(), "?".into()));
        assert_eq!(query.of_staplings(), "?list=staplings&refresh=30");
    }

    #[test]
    fn values_that_cannot_be_used_are_noted_and_bounded() {
        let long = "x".repeat(5000);
        for (text, expected) in [
            ("state=<b>", "There is no state '<b>': all are shown.".to_owned()),
            ("sort=%22", "There is no order ''': urgent ones come first.".to_owned()),
            ("page=0", "There is no page '0': this is the first one.".to_owned()),
            ("page=-1", "There is no page '-1': this is the first one.".to_owned()),
            (
                "page=99999999999999999999999",
                "There is no page '99999999999999999999999': this is the first one.".to_owned(),
            ),
            ("refresh=1", "refresh=1 is not possible: 5 seconds are used.".to_owned()),
            ("refresh=4000", "refresh=4000 is not possible: 3600 seconds are used.".to_owned()),
            ("refresh=soon", "refresh=soon is no number of seconds.".to_owned()),
            (&format!("state={long}"), format!("There is no state '{}': all are shown.", "x".repeat(100))),
        ] {
            assert_eq!(Query::read(text).notes, [expected], "{text}");
        }
        assert_eq!(Query::read(&format!("q={long}")).text.len(), 100);
        assert_eq!(Query::read(&"state=x&".repeat(5000)).notes.len(), 20);
        assert_eq!(Query::read("q=%ff%00%zz").notes, [""; 0]);
    }
}
