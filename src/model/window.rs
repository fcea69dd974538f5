//! The end of a validity in which something is due: a length, or a share of the validity.

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Timestamp, Unit, format_duration, parse_duration};

/// A window at the end of a validity (`MDRenewWindow`, `MDWarnWindow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Percent of the whole validity; below 100, except where [`Window::parse_any`] read it.
    Percent(u32),
    /// A fixed length.
    Length(SignedDuration),
}

impl Window {
    /// The default of `MDRenewWindow`.
    pub(crate) const RENEW: Self = Self::Percent(33);
    /// The default of `MDWarnWindow`.
    pub(crate) const WARN: Self = Self::Percent(10);
}

/// Why a text is not a window; the directive's name goes in front.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WindowError {
    /// Neither a duration nor a percentage.
    #[error("has unrecognized format: '{0}', use a duration like 30d or a percentage like 33%")]
    Format(String),
    /// A negative percentage.
    #[error("percent must be less than 100 and not negative: '{0}'")]
    Negative(String),
    /// The window would be all of the validity.
    #[error("a length of 100% or more is not allowed.")]
    Whole,
}

impl Window {
    /// Parses `<duration>` (default unit days) or `<int>%`.
    ///
    /// # Errors
    /// If the text is neither, or the percentage is not in 0..100.
    pub fn parse(text: &str) -> Result<Self, WindowError> {
        match Self::parse_any(text)? {
            Self::Percent(100..) => Err(WindowError::Whole),
            window => Ok(window),
        }
    }

    /// Parses as [`Window::parse`] does, but a percentage may be any.
    ///
    /// # Errors
    /// If the text is neither, or the percentage is negative.
    pub fn parse_any(text: &str) -> Result<Self, WindowError> {
        let format = || WindowError::Format(text.to_owned());
        let Some(percent) = text.strip_suffix('%') else {
            return parse_duration(text, Unit::Days).map(Self::Length).map_err(|_| format());
        };
        match percent.parse::<i64>().map_err(|_| format())? {
            ..0 => Err(WindowError::Negative(text.to_owned())),
            percent => Ok(Self::Percent(percent.try_into().unwrap_or(u32::MAX))),
        }
    }

    /// Returns the length of the window; a percentage is a share of `whole`.
    #[must_use]
    pub fn length(self, whole: SignedDuration) -> SignedDuration {
        match self {
            Self::Percent(percent) => SignedDuration::from_secs(
                i64::try_from(i128::from(whole.as_secs()) * i128::from(percent) / 100).unwrap_or(i64::MAX),
            ),
            Self::Length(length) => length,
        }
    }

    /// Returns when the window of this validity opens; never before `from`.
    #[must_use]
    pub fn opens(self, from: Timestamp, until: Timestamp) -> Timestamp {
        until.checked_sub(self.length(until.duration_since(from))).unwrap_or(from).max(from)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Length(length) => f.write_str(&format_duration(*length)),
        }
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a window; old files hold it as an integer of unknown unit, which reads as absent.
pub(super) fn read_optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Window>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| Window::parse(value.as_str()?).ok()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_parse_and_print() {
        let rows = [
            ("33%", Ok("33%")),
            ("0%", Ok("0%")),
            ("99%", Ok("99%")),
            ("14", Ok("14d")),
            ("36h", Ok("36h")),
            ("100%", Err(WindowError::Whole)),
            ("-1%", Err(WindowError::Negative("-1%".into()))),
            ("x%", Err(WindowError::Format("x%".into()))),
            ("soon", Err(WindowError::Format("soon".into()))),
        ];
        for (text, expected) in rows {
            assert_eq!(Window::parse(text).map(|w| w.to_string()), expected.map(str::to_owned), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(number in 0_i64..36_500, unit in prop::sample::select(vec!["", "d", "h", "mi", "s", "ms"])) {
            let window = Window::parse(&format!("{number}{unit}")).unwrap();
            prop_assert_eq!(Window::parse(&window.to_string()), Ok(window));
        }

        #[test]
        fn percentages_read_back_below_100(number in -200_i64..200) {
            let parsed = Window::parse(&format!("{number}%"));
            prop_assert_eq!(parsed.is_ok(), (0..100).contains(&number));
            prop_assert_eq!(Window::parse_any(&format!("{number}%")).is_ok(), number >= 0);
        }

        #[test]
        fn a_window_opens_within_the_validity(percent in 0_u32..100, days in 0_i64..40_000, life in 0_i64..1_000_000_000) {
            let from = Timestamp::from_second(1_000_000_000).unwrap();
            let until = from + SignedDuration::from_secs(life);
            for window in [Window::Percent(percent), Window::Length(SignedDuration::from_hours(24 * days))] {
                let opens = window.opens(from, until);
                prop_assert!(from <= opens && opens <= until, "{:?}", window);
            }
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,12}%?") {
            let _ = Window::parse(&text);
        }
    }

    #[test]
    fn renew_window_arithmetic_holds_for_all_lifetimes() {
        let from = Timestamp::UNIX_EPOCH;
        let hours = SignedDuration::from_hours;
        let rows = [
            ("33%", hours(1), hours(1) - SignedDuration::from_secs(1188)),
            ("33%", hours(160), SignedDuration::from_secs(160 * 3600 - 160 * 3600 * 33 / 100)),
            ("30d", hours(24 * 90), hours(24 * 60)),
            ("30d", hours(24 * 7), SignedDuration::ZERO),
            ("33%", hours(24 * 3650), SignedDuration::from_secs(24 * 3650 * 3600 / 100 * 67)),
        ];
        for (window, life, after) in rows {
            assert_eq!(Window::parse(window).unwrap().opens(from, from + life), from + after, "{window} of {life}");
        }
    }
}
