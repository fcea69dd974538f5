//! How a new certificate gets into use: the mode, and the hours of the day in which the server may restart itself.

use serde::{Deserialize, Serialize};

/// How a new certificate gets into use (`MDActivation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationMode {
    /// At the next start or restart, which the administrator causes.
    #[default]
    Restart,
    /// At once: handshakes use it without a restart.
    Live,
    /// By a graceful restart that the server makes itself.
    Graceful,
}

impl ActivationMode {
    /// Returns the argument of the directive.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Live => "live",
            Self::Graceful => "graceful",
        }
    }

    /// Whether this is the mode that md.json leaves out.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Hours of the day, in minutes from midnight (`MDActivationWindow`). May last over midnight, never all day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DailyWindow {
    from: u16,
    until: u16,
}

/// A text that names no hours of the day; the directive's name goes in front.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("has unrecognized format: '{0}', use hours like 03:00-05:00 or 'any'")]
pub struct DailyWindowError(String);

/// The minutes of a day.
const DAY: u16 = 24 * 60;

impl DailyWindow {
    /// Parses `hh:mm-hh:mm`.
    ///
    /// # Errors
    /// If the text has another form, or both ends are the same.
    pub fn parse(text: &str) -> Result<Self, DailyWindowError> {
        let ends = text.split_once('-').and_then(|(from, until)| Some((minute(from)?, minute(until)?)));
        match ends {
            Some((from, until)) if from < DAY && from != until % DAY => Ok(Self { from, until: until % DAY }),
            _ => Err(DailyWindowError(text.to_owned())),
        }
    }

    /// Whether this minute of the day, counted from midnight, is in the window. The end is not.
    #[must_use]
    pub fn contains(self, minute: u16) -> bool {
        let since = (minute % DAY + DAY - self.from) % DAY;
        let length = (self.until + DAY - self.from) % DAY;
        since < length
    }
}

/// Parses `hh:mm` as a minute of the day; `24:00` is its end.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| text.parse().ok().filter(|_| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()));
    let hours: u16 = number(hours)?;
    let minutes: u16 = number(minutes)?;
    (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_a_beginning_and_an_end_that_is_not_in_them() {
        let rows = [
            ("03:00-05:00", &[180, 299][..], &[0, 179, 300, 1439][..]),
            ("23:30-00:30", &[1410, 1439, 0, 29], &[30, 1409, 720]),
            ("22:00-24:00", &[1320, 1439], &[0, 1319]),
            ("22:00-00:00", &[1320, 1439], &[0, 1319]),
            ("00:00-00:01", &[0], &[1, 1439]),
        ];
        for (text, inside, outside) in rows {
            let window = DailyWindow::parse(text).unwrap();
            assert!(inside.iter().all(|minute| window.contains(*minute)), "{text}");
            assert!(!outside.iter().any(|minute| window.contains(*minute)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_windows() {
        let texts = "x any 03:00 3:00-5:00 03:00-03:00 00:00-24:00 24:00-01:00 03:60-05:00 03:00-24:01 03.00-05.00 +3:00-05:00 \
                     03:00-05:00-06:00 03:00- -05:00";
        for text in texts.split(' ').chain(["", "03:00 - 05:00"]) {
            assert_eq!(DailyWindow::parse(text), Err(DailyWindowError(text.to_owned())), "{text}");
        }
    }
}
