//! Colours of words on a terminal.

use crate::status::Urgency;

/// How a word is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Nobody has to do anything.
    Green,
    /// Somebody may have to do something.
    Yellow,
    /// Clients are in trouble, or will be.
    Red,
}

impl Colour {
    /// Returns the colour of a state of this urgency.
    #[must_use]
    pub fn of(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Broken => Self::Red,
            Urgency::Attention | Urgency::Busy => Self::Yellow,
            Urgency::Fine => Self::Green,
        }
    }

    /// Returns what a terminal obeys (ECMA-48, select graphic rendition).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
        }
    }
}
