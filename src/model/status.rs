//! The result codes that job.json, md-status and the server log carry.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A result as APR numbers it on Linux; `0` is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(pub i32);

impl Status {
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

    /// Returns the text for people, in APR's words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::OK => "Success",
            Self::NOT_FOUND => "No such file or directory",
            Self::AGAIN => "Resource temporarily unavailable",
            Self::DENIED => "Permission denied",
            Self::EXISTS => "File exists",
            Self::INVALID => "Invalid argument",
            Self::ABORTED => "Software caused connection abort",
            Self::REFUSED => "Connection refused",
            Self::INCOMPLETE_PATH => "The given path is incomplete",
            Self::TIMED_OUT => "The timeout specified has expired",
            Self::INCOMPLETE => "Partial results are valid but processing is incomplete",
            Self::BAD_ARGUMENT => "Missing parameter for the specified command line option",
            Self::UNSUPPORTED => "This function has not been implemented on this platform",
            _ => "Internal error (specific information not available)",
        }
    }
}

impl From<&std::io::Error> for Status {
    fn from(error: &std::io::Error) -> Self {
        error.raw_os_error().map_or(Self::GENERAL, Self)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
