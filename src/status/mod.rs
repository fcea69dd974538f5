//! The status of all domains, as JSON, HTML, lines of text and metrics.
#![forbid(unsafe_code)]

mod domain_page;
mod html;
mod json;
mod metrics;
mod page;
mod parts;
mod query;
mod stapling;
mod text;
mod view;
mod words;

use std::fmt::Display;

pub use html::{PageLink, section, summary};
pub use json::{certificate_status, domain, listing};
pub use metrics::{MetricsFormat, metrics};
pub use page::{Page, PageRequest, page};
pub use query::Query;
pub use text::auto;
pub use view::{View, has_failed};
pub use words::{State as StateWord, Urgency};

use crate::model::outside;

/// Lines of text, each with a name, a colon and a value.
#[derive(Default)]
struct Lines {
    /// Text in front of every name.
    prefix: String,
    text: String,
}

impl Lines {
    /// Adds a line.
    fn add(&mut self, name: &str, value: impl Display) {
        let line = format!("{}{name}: {value}", self.prefix);
        self.text += &outside::line(&line);
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests;
