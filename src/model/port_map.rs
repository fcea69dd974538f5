//! The local ports that the CA's requests to 80 and 443 arrive at (`MDPortMap`).

/// The local ports behind the public ports 80 and 443; `None` if the public port does not reach this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMap {
    /// The local port behind port 80.
    pub http: Option<u16>,
    /// The local port behind port 443.
    pub https: Option<u16>,
}

/// An error in an argument of `MDPortMap`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PortMapError {
    /// The text before the colon is not a port number.
    #[error("unable to parse first port number: '{0}'")]
    First(String),
    /// There is no colon.
    #[error("no ':' after first port number: '{0}'")]
    NoColon(String),
    /// The text after the colon is not a port number.
    #[error("unable to parse second port number: '{0}'")]
    Second(String),
    /// The local port number is out of range.
    #[error("invalid number for port map, must be in ]0,65535]: '{0}'")]
    Range(String),
    /// The public port is neither 80 nor 443, which are the only ports that CAs use.
    #[error("mapped port number must be 80 or 443: '{0}'")]
    Mapped(String),
}

impl Default for PortMap {
    fn default() -> Self {
        Self { http: Some(80), https: Some(443) }
    }
}

impl PortMap {
    /// Parses an argument (`80:8080`, `http:-`); the other port stays as it is.
    ///
    /// # Errors
    /// See [`PortMapError`].
    pub fn set(&mut self, arg: &str) -> Result<(), PortMapError> {
        let (public, rest) = if let Some(rest) = arg.strip_prefix("http:") {
            (80, rest)
        } else if let Some(rest) = arg.strip_prefix("https:") {
            (443, rest)
        } else {
            let (number, rest) = leading_number(arg).ok_or_else(|| PortMapError::First(arg.to_owned()))?;
            (number, rest.strip_prefix(':').ok_or_else(|| PortMapError::NoColon(arg.to_owned()))?)
        };
        let local = if rest.starts_with('-') {
            None
        } else {
            let (number, _) = leading_number(rest).ok_or_else(|| PortMapError::Second(arg.to_owned()))?;
            let port = u16::try_from(number).ok().filter(|port| *port > 0);
            Some(port.ok_or_else(|| PortMapError::Range(arg.to_owned()))?)
        };
        match public {
            80 => self.http = local,
            443 => self.https = local,
            _ => return Err(PortMapError::Mapped(arg.to_owned())),
        }
        Ok(())
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok().map(|number| (number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_change_only_the_port_they_name() {
        let text = |text: &str| text.to_owned();
        let rows = [
            ("80:8080", Ok((Some(8080), Some(443)))),
            ("http:8080", Ok((Some(8080), Some(443)))),
            ("443:8443", Ok((Some(80), Some(8443)))),
            ("https:-", Ok((Some(80), None))),
            ("80:8080x", Ok((Some(8080), Some(443)))),
            ("x:80", Err(PortMapError::First(text("x:80")))),
            ("HTTP:80", Err(PortMapError::First(text("HTTP:80")))),
            ("80", Err(PortMapError::NoColon(text("80")))),
            ("80:x", Err(PortMapError::Second(text("80:x")))),
            ("80:0", Err(PortMapError::Range(text("80:0")))),
            ("80:65536", Err(PortMapError::Range(text("80:65536")))),
            ("81:80", Err(PortMapError::Mapped(text("81:80")))),
        ];
        for (arg, expected) in rows {
            let mut map = PortMap::default();
            assert_eq!(map.set(arg).map(|()| (map.http, map.https)), expected, "{arg}");
        }
    }
}
