//! The status of all domains, as JSON, HTML, lines of text and metrics.
#![forbid(unsafe_code)]

mod html;
mod json;
mod metrics;
mod stapling;
mod text;
mod view;

use std::fmt::{Display, Write};

pub use html::{page, section};
pub use json::{certificate_status, domain, listing};
pub use metrics::{MetricsFormat, metrics};
pub use text::auto;
pub use view::{View, has_failed};

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
        let begin = self.text.len();
        let _ = write!(self.text, "{}{name}: {value}", self.prefix);
        // A line break in a value would make a second line of it.
        if self.text[begin..].contains(['\r', '\n']) {
            let line = self.text.split_off(begin).replace(['\r', '\n'], " ");
            self.text.push_str(&line);
        }
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests;
