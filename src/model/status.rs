//! The result codes that job.json, md-status and the server log carry.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A result as APR numbers it on Linux; `0` is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(pub i32);

impl Status {
    /// The first code that is not the operating system's.
    const FIRST_OF_APR: i32 = 20000;

    /// Success.
    pub const OK: Self = Self(0);
    /// A file or resource is absent.
    pub const NOT_FOUND: Self = Self(2);
    /// May work when tried again.
    pub const AGAIN: Self = Self(11);
    /// Permission is denied.
    pub const DENIED: Self = Self(13);
    /// A file or resource exists already.
    pub const EXISTS: Self = Self(17);
    /// A value is invalid.
    pub const INVALID: Self = Self(22);
    /// The connection broke.
    pub const ABORTED: Self = Self(103);
    /// The connection was refused.
    pub const REFUSED: Self = Self(111);
    /// Any other failure.
    pub const GENERAL: Self = Self(20014);
    /// A command could not be run.
    pub const INCOMPLETE_PATH: Self = Self(20022);
    /// The time limit has passed.
    pub const TIMED_OUT: Self = Self(70007);
    /// A required value is missing.
    pub const INCOMPLETE: Self = Self(70008);
    /// The CA does not accept a value of the configuration.
    pub const BAD_ARGUMENT: Self = Self(70013);
    /// Not supported.
    pub const UNSUPPORTED: Self = Self(70023);

    /// Returns the text of success, of a time limit or of the operating system's error, in APR's words. `None` for APR's other
    /// codes: their texts tell nothing, or of something that has not happened.
    #[must_use]
    pub fn text(self) -> Option<String> {
        match self {
            Self::OK => Some("Success".to_owned()),
            Self::TIMED_OUT => Some("The timeout specified has expired".to_owned()),
            Self(code) if (1..Self::FIRST_OF_APR).contains(&code) => {
                let text = std::io::Error::from_raw_os_error(code).to_string();
                text.split(" (os error ").next().filter(|text| !text.starts_with("Unknown error")).map(str::to_owned)
            }
            Self(_) => None,
        }
    }

    /// Returns the code for a log that puts APR's text before the message: success, which has none, where the text would mislead.
    #[must_use]
    pub fn to_log(self) -> Self {
        self.text().map_or(Self::OK, |_| self)
    }
}

impl From<&std::io::Error> for Status {
    fn from(error: &std::io::Error) -> Self {
        error.raw_os_error().map_or(Self::GENERAL, Self)
    }
}

impl fmt::Display for Status {
    /// Writes the text, or the number where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(&text),
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_a_text_where_it_is_true() {
        let rows = [
            (Status::OK, Some("Success")),
            (Status::NOT_FOUND, Some("No such file or directory")),
            (Status::AGAIN, Some("Resource temporarily unavailable")),
            (Status::DENIED, Some("Permission denied")),
            (Status::EXISTS, Some("File exists")),
            (Status::INVALID, Some("Invalid argument")),
            (Status(28), Some("No space left on device")),
            (Status::REFUSED, Some("Connection refused")),
            (Status::TIMED_OUT, Some("The timeout specified has expired")),
            (Status::GENERAL, None),
            (Status::INCOMPLETE_PATH, None),
            (Status::INCOMPLETE, None),
            (Status::BAD_ARGUMENT, None),
            (Status::UNSUPPORTED, None),
            (Status(9999), None),
            (Status(70099), None),
            (Status(-1), None),
        ];
        for (status, text) in rows {
            assert_eq!(status.text().as_deref(), text, "{}", status.0);
            assert_eq!(status.to_log(), if text.is_some() { status } else { Status::OK }, "{}", status.0);
            assert_eq!(status.to_string(), text.map_or(status.0.to_string(), str::to_owned));
        }
    }
}
