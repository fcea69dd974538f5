//! Must-staple certificates (RFC 7633), which clients refuse without an OCSP response, and why such a certificate is not stapled.

/// Why a must-staple certificate is not stapled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MustStaple {
    /// The certificate names no OCSP responder.
    NoResponder,
    /// Stapling is off.
    Off,
}

impl MustStaple {
    /// Returns the reason why a must-staple certificate is not stapled, if there is one.
    #[must_use]
    pub fn judge(must_staple: bool, has_responder: bool, is_stapled: bool) -> Option<Self> {
        match (must_staple, has_responder, is_stapled) {
            (false, ..) | (true, true, true) => None,
            (true, false, _) => Some(Self::NoResponder),
            (true, true, false) => Some(Self::Off),
        }
    }

    /// Returns the reason and its remedy, as the end of a log line.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::NoResponder => {
                "but its CA has no OCSP responder; set 'MDMustStaple off' to have it renewed without must-staple, or use another CA"
            }
            Self::Off => "but stapling is off; set 'MDStapling on', unless 'SSLUseStapling on' staples it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_must_staple_certificate_that_is_not_stapled_has_a_reason() {
        let rows = [
            (false, false, false, None),
            (false, false, true, None),
            (false, true, false, None),
            (false, true, true, None),
            (true, false, false, Some(MustStaple::NoResponder)),
            (true, false, true, Some(MustStaple::NoResponder)),
            (true, true, false, Some(MustStaple::Off)),
            (true, true, true, None),
        ];
        for (must_staple, has_responder, is_stapled, expected) in rows {
            let found = MustStaple::judge(must_staple, has_responder, is_stapled);
            assert_eq!(found, expected, "{must_staple} {has_responder} {is_stapled}");
        }
        assert!(MustStaple::Off.advice().contains("MDStapling on"));
        assert!(MustStaple::NoResponder.advice().contains("MDMustStaple off"));
    }
}
