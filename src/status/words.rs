//! States of a domain in the words of people, for md-page and metrics; the most urgent comes first.

/// The state of a domain: what clients get, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A served certificate is revoked.
    Revoked,
    /// A served certificate has expired.
    Expired,
    /// A certificate or its key cannot be used.
    Unusable,
    /// There is no certificate.
    NoCertificate,
    /// The certificates lack something, such as a name.
    Incomplete,
    /// A good certificate is served, and its renewal fails or is not possible.
    Failing,
    /// A renewal is due, and `MDRenewMode manual` leaves it to the administrator.
    ByHand,
    /// A new certificate waits for a restart of the server.
    Waiting,
    /// A renewal is due, and begins soon.
    Due,
    /// A renewal is in progress.
    Renewing,
    /// No action is needed.
    Good,
}

/// The urgency of a state, for colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Clients get no certificate that they trust.
    Broken,
    /// Somebody has to act before the certificate ends.
    Attention,
    /// Something is under way.
    Busy,
    /// No action is needed.
    Fine,
}

/// The names of a state.
struct Words {
    /// In queries and metrics, without blanks.
    key: &'static str,
    /// In tables.
    word: &'static str,
    /// As a sentence.
    meaning: &'static str,
    urgency: Urgency,
}

impl State {
    /// All states, the most urgent first.
    pub const ALL: [Self; 11] = [
        Self::Revoked,
        Self::Expired,
        Self::Unusable,
        Self::NoCertificate,
        Self::Incomplete,
        Self::Failing,
        Self::ByHand,
        Self::Waiting,
        Self::Due,
        Self::Renewing,
        Self::Good,
    ];

    /// Returns the state that is called so in queries.
    #[must_use]
    pub fn called(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.key() == key)
    }

    /// Returns the name in queries and metrics, without blanks.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.words().key
    }

    /// Returns the word in tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.words().word
    }

    /// Returns what the state means, as a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.words().meaning
    }

    /// Returns how urgent the state is.
    #[must_use]
    pub fn urgency(self) -> Urgency {
        self.words().urgency
    }

    /// Checks whether somebody should look at the domain.
    #[must_use]
    pub fn is_troubled(self) -> bool {
        self <= Self::Failing
    }

    fn words(self) -> Words {
        let (key, word, meaning, urgency) = match self {
            Self::Revoked => (
                "revoked",
                "revoked",
                "The authority has revoked a certificate: clients may refuse it.",
                Urgency::Broken,
            ),
            Self::Expired => {
                ("expired", "expired", "Clients refuse the certificate, as it has expired.", Urgency::Broken)
            }
            Self::Unusable => (
                "unusable",
                "unusable",
                "A certificate or its key is there and cannot be used. The error log has the reason.",
                Urgency::Broken,
            ),
            Self::NoCertificate => (
                "no_certificate",
                "no certificate yet",
                "Hosts that have no certificate of their own answer 503 until there is one.",
                Urgency::Broken,
            ),
            Self::Incomplete => (
                "incomplete",
                "incomplete",
                "The certificates lack a name or a key type of the domain.",
                Urgency::Broken,
            ),
            Self::Failing => (
                "failing",
                "failing",
                "The certificate is good, and its renewal fails. It expires if nobody mends that.",
                Urgency::Attention,
            ),
            Self::ByHand => (
                "due_by_hand",
                "due, by hand",
                "The certificate is to be renewed now, which the configuration leaves to you.",
                Urgency::Attention,
            ),
            Self::Waiting => (
                "waiting_for_restart",
                "waiting for a restart",
                "A new certificate is there. A graceful restart of the server puts it into use.",
                Urgency::Busy,
            ),
            Self::Due => ("due", "due", "The renewal begins soon.", Urgency::Busy),
            Self::Renewing => ("renewing", "being renewed", "The renewal is in progress.", Urgency::Busy),
            Self::Good => ("good", "good", "Nothing has to be done.", Urgency::Fine),
        };
        Words { key, word, meaning, urgency }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_a_key_without_blanks_and_its_place_in_the_order() {
        for pair in State::ALL.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
        for state in State::ALL {
            assert_eq!(State::called(state.key()), Some(state));
            assert!(state.key().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{state:?}");
            assert!(state.meaning().ends_with('.'), "{state:?}");
            let is_broken = matches!(state.urgency(), Urgency::Broken);
            assert_eq!(is_broken, state < State::Failing, "{state:?}");
        }
        assert_eq!(State::called("Good"), None);
        assert_eq!((State::Failing.is_troubled(), State::ByHand.is_troubled()), (true, false));
    }
}
