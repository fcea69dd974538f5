//! Moments, as the store and the status write them.

use jiff::fmt::rfc2822;
pub use jiff::{SignedDuration, Timestamp};

/// Formats as JSON files have it, e.g. `Thu, 29 Aug 2019 16:06:35 GMT` (RFC 9110 section 5.6.7).
#[must_use]
pub fn format_gmt(time: Timestamp) -> String {
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default()
}

/// Parses the output of [`format_gmt`]; `None` for any other text.
#[must_use]
pub fn parse_gmt(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// Serde form of a moment that may be absent; an unreadable text counts as absent.
pub mod gmt {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Timestamp, format_gmt, parse_gmt};

    /// Writes the moment as GMT text.
    ///
    /// # Errors
    /// Those of the serializer.
    #[allow(clippy::ref_option, reason = "serde's calling convention")]
    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_str(&format_gmt(*time)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a moment from GMT text.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let value = Option::<serde_json::Value>::deserialize(deserializer)?;
        Ok(value.and_then(|value| parse_gmt(value.as_str()?)))
    }
}

/// Serde form of several moments; unreadable ones are left out.
pub mod gmt_list {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Timestamp, format_gmt, parse_gmt};

    /// Writes the moments as GMT texts.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(times: &[Timestamp], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(times.iter().map(|time| format_gmt(*time)))
    }

    /// Reads moments from GMT texts.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Timestamp>, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(value.as_array().into_iter().flatten().filter_map(|value| parse_gmt(value.as_str()?)).collect())
    }
}

/// Serde form of a moment in full precision, e.g. `2025-01-02T04:00:00.5Z` (RFC 3339).
pub mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Timestamp;

    /// Writes the moment.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    /// Reads a moment.
    ///
    /// # Errors
    /// If there is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gmt_text_reads_back() {
        let time = Timestamp::from_second(1_567_094_795).unwrap();
        assert_eq!(format_gmt(time), "Thu, 29 Aug 2019 16:06:35 GMT");
        assert_eq!(parse_gmt("Thu, 29 Aug 2019 16:06:35 GMT"), Some(time));
        assert_eq!(parse_gmt("yesterday"), None);
    }
}
