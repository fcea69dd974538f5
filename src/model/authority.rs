//! CAs: their names, the record that a renewal keeps of each, and the choice of the next one.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

use super::time::gmt;
use super::without_passwords;

/// The protocol ACME (`MDCertificateProtocol`, RFC 8555).
pub const ACME: &str = "ACME";

/// The protocol of tailscaled, a daemon on the same machine (`MDCertificateProtocol`).
pub const TAILSCALE: &str = "tailscale";

/// The socket of tailscaled on Linux, if `MDCertificateAuthority` does not name one.
pub const TAILSCALED: &str = "file://localhost/var/run/tailscale/tailscaled.sock";

/// The directory URL of the CA that is used when none is configured.
pub const DEFAULT_CA: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The CAs that `MDCertificateAuthority` knows by name.
pub(super) const CA_NAMES: [(&str, &str); 4] = [
    ("LetsEncrypt", DEFAULT_CA),
    ("LetsEncrypt-Test", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("Buypass", "https://api.buypass.com/acme/directory"),
    ("Buypass-Test", "https://api.test4.buypass.no/acme/directory"),
];

/// The CAs that have closed, with the year.
pub const CLOSED_CAS: [(&str, u16); 2] =
    [("https://api.buypass.com/acme/directory", 2025), ("https://api.test4.buypass.no/acme/directory", 2025)];

/// The longest wait for a CA that is borne while another one may be asked. A renewal waits that long for a CA after some
/// failures anyway.
const TOO_LONG: SignedDuration = SignedDuration::from_hours(24);

/// The record of a CA in the report of a renewal (`job.json`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct AuthorityRecord {
    /// Directory URL of the CA, without a password.
    pub url: String,
    /// Failures in a row, in the current turn.
    pub errors: u32,
    /// Number of turns: how often the CA failed so many times in a row that the next one took its place.
    pub turns: u32,
    /// Number of failures that the turns lack which were over before, as the CA wanted to be left alone for too long.
    #[serde(skip_serializing_if = "is_zero")]
    pub lacking: u32,
    /// The CA does not want to be asked before this moment.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Timestamp>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The records of a domain's CAs since the last success.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Authorities(Vec<AuthorityRecord>);

/// The CA to ask next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Directory URL of the CA.
    pub url: String,
    /// Failures at this CA since the last success.
    pub failures: u32,
    /// The CA does not want to be asked before this moment.
    pub retry_after: Option<Timestamp>,
}

impl Authorities {
    /// Makes the record of a single CA: `errors` failures in a row.
    #[must_use]
    pub fn of_one(url: &str, errors: u32, retry_after: Option<Timestamp>) -> Self {
        Self(vec![AuthorityRecord {
            url: without_passwords(url).into_owned(),
            errors,
            retry_after,
            ..AuthorityRecord::default()
        }])
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Chooses the CA to ask next: among `urls`, the first of those with the fewest turns. A CA that wants to be left alone for
    /// more than a day comes after the others.
    #[must_use]
    pub fn next(&self, urls: &[String], failover: u32, now: Timestamp) -> Option<Next> {
        let known = |url: &String| {
            let url = without_passwords(url);
            self.0.iter().find(|record| record.url == url)
        };
        let rank = |url: &&String| {
            let record = known(url);
            (record.and_then(|record| record.postponed(now)), record.map_or(0, |record| record.turns))
        };
        let url = urls.iter().min_by_key(rank)?;
        let record = known(url);
        Some(Next {
            url: url.clone(),
            failures: record.map_or(0, |record| record.failures(failover)),
            retry_after: record.and_then(|record| record.retry_after).filter(|at| *at > now),
        })
    }

    /// Records a failure at the CA `url`, which is left alone as long as it wants, but not for longer than `patience`. Its turn is
    /// over after `failover` failures, or if it wants to be left alone for longer than that, or than a day.
    pub fn failed(
        &mut self,
        url: &str,
        retry_after: Option<Timestamp>,
        patience: SignedDuration,
        failover: u32,
        now: Timestamp,
    ) {
        let url = without_passwords(url);
        let at = self.0.iter().position(|record| record.url == url).unwrap_or_else(|| {
            self.0.push(AuthorityRecord { url: url.clone().into_owned(), ..AuthorityRecord::default() });
            self.0.len() - 1
        });
        let record = &mut self.0[at];
        record.errors = record.errors.saturating_add(1);
        record.retry_after = retry_after.filter(|at| *at > now).map(|at| at.min(now + patience));
        let is_too_long = |at: Timestamp| at.duration_since(now) > patience.min(TOO_LONG);
        if record.errors >= failover || retry_after.is_some_and(is_too_long) {
            record.turns = record.turns.saturating_add(1);
            record.lacking = record.lacking.saturating_add(failover.saturating_sub(record.errors));
            record.errors = 0;
        }
    }

    /// Starts over: only the moments before which CAs do not want to be asked stay.
    pub fn start_over(&mut self, now: Timestamp) {
        self.0.retain(|record| record.retry_after.is_some_and(|at| at > now));
        self.0.iter_mut().for_each(|record| (record.errors, record.turns, record.lacking) = (0, 0, 0));
    }
}

impl AuthorityRecord {
    /// Returns the number of failures since the last success.
    fn failures(&self, failover: u32) -> u32 {
        self.turns.saturating_mul(failover).saturating_sub(self.lacking).saturating_add(self.errors)
    }

    /// Returns until when the CA wants to be left alone, if that is too long to wait.
    fn postponed(&self, now: Timestamp) -> Option<Timestamp> {
        self.retry_after.filter(|at| at.duration_since(now) > TOO_LONG)
    }
}

/// Whether two directory URLs belong to the same CA. The case of the host and a slash at the end do not matter, so that a
/// different spelling does not renew all certificates.
#[must_use]
pub fn is_same_ca(a: &str, b: &str) -> bool {
    let normal = |text: &str| Url::parse(text).map_or_else(|_| text.to_owned(), String::from);
    // Equal texts need no parser: status pages ask this for every domain.
    a == b || normal(a).trim_end_matches('/') == normal(b).trim_end_matches('/')
}

/// Returns the directory URL of a CA by its name in `MDCertificateAuthority`, in any case.
#[must_use]
pub fn known_ca(name: &str) -> Option<&'static str> {
    CA_NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, url)| *url)
}

/// The ends of the hosts of public CAs, which issue certificates for public names only.
const PUBLIC_HOSTS: [&str; 8] =
    ["letsencrypt.org", "buypass.com", "buypass.no", "zerossl.com", "pki.goog", "sectigo.com", "ssl.com", "harica.gr"];

/// Whether the CA at a directory URL is known to be a public one.
#[must_use]
pub fn is_public_ca(url: &str) -> bool {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_lowercase)).unwrap_or_default();
    let is_below = |end: &&str| host.strip_suffix(*end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    PUBLIC_HOSTS.iter().any(is_below)
}

/// Returns the name of the CA at a directory URL: its name in `MDCertificateAuthority`, else the host.
#[must_use]
pub fn ca_name(url: &str) -> String {
    let known = CA_NAMES.iter().find(|(_, known)| *known == url);
    let host = || Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    known.map(|(name, _)| (*name).to_owned()).or_else(host).unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const WEEK: SignedDuration = SignedDuration::from_hours(24 * 7);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn urls(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// url, errors, turns, Retry-After in hours
    fn known(rows: &[(&str, u32, u32, i64)]) -> Authorities {
        let record = |(url, errors, turns, hours): &(&str, u32, u32, i64)| AuthorityRecord {
            url: (*url).to_owned(),
            errors: *errors,
            turns: *turns,
            lacking: 0,
            retry_after: (*hours > 0).then(|| at(hours * HOUR)),
        };
        Authorities(rows.iter().map(record).collect())
    }

    #[test]
    fn the_next_ca_is_the_first_with_the_fewest_turns() {
        type Row = (&'static [&'static str], &'static [(&'static str, u32, u32, i64)], Option<(&'static str, u32)>);
        let rows: [Row; 13] = [
            (&[], &[], None),
            (&["a"], &[], Some(("a", 0))),
            (&["a", "b"], &[], Some(("a", 0))),
            (&["a", "b"], &[("a", 2, 0, 0)], Some(("a", 2))),
            // Its turn is over.
            (&["a", "b"], &[("a", 0, 1, 0)], Some(("b", 0))),
            (&["a", "b", "c"], &[("a", 0, 1, 0), ("b", 0, 1, 0)], Some(("c", 0))),
            // Round again, and it is known how often it failed before.
            (&["a", "b"], &[("a", 0, 1, 0), ("b", 0, 1, 0)], Some(("a", 3))),
            (&["a", "b"], &[("a", 2, 1, 0), ("b", 0, 1, 0)], Some(("a", 5))),
            // What is no longer configured does not count, and one that is new has not had a turn.
            (&["b"], &[("a", 2, 0, 0), ("b", 1, 4, 0)], Some(("b", 13))),
            (&["a", "b", "new"], &[("a", 0, 1, 0), ("b", 0, 1, 0)], Some(("new", 0))),
            // A pause of hours is waited for, one of days is not where there is another CA.
            (&["a", "b"], &[("a", 1, 0, 24)], Some(("a", 1))),
            (&["a", "b"], &[("a", 1, 0, 25)], Some(("b", 0))),
            (&["a", "b"], &[("a", 1, 0, 72), ("b", 1, 1, 48)], Some(("b", 4))),
        ];
        for (configured, records, expected) in rows {
            let next = known(records).next(&urls(configured), 3, at(0));
            let found = next.as_ref().map(|next| (next.url.as_str(), next.failures));
            assert_eq!(found, expected, "{configured:?} {records:?}");
        }
    }

    #[test]
    fn a_retry_after_belongs_to_one_ca_and_passes() {
        let records = known(&[("a", 1, 0, 2), ("b", 0, 0, 3)]);
        let asked = |configured: &[&str], now| records.next(&urls(configured), 3, now).unwrap().retry_after;
        assert_eq!(asked(&["a", "b"], at(0)), Some(at(2 * HOUR)));
        assert_eq!(asked(&["b"], at(0)), Some(at(3 * HOUR)));
        assert_eq!(asked(&["c"], at(0)), None);
        assert_eq!(asked(&["a"], at(2 * HOUR)), None);
    }

    #[test]
    fn every_ca_has_its_turn_and_the_first_is_the_next_after_the_last() {
        let configured = urls(&["a", "b"]);
        let mut records = Authorities::default();
        let mut order = String::new();
        for _ in 0..14 {
            let next = records.next(&configured, 3, at(0)).unwrap();
            order.push_str(&next.url);
            records.failed(&next.url, None, WEEK, 3, at(0));
        }
        assert_eq!(order, "aaabbbaaabbbaa");
        assert_eq!(records, known(&[("a", 2, 2, 0), ("b", 0, 2, 0)]));
    }

    #[test]
    fn a_ca_that_asks_for_more_than_patience_has_had_its_turn_and_is_left_alone_for_that() {
        // Hours of Retry-After and of patience; whether its turn is over, and hours of pause
        let rows = [
            (Some(-1), 24 * 7, false, 0),
            (Some(0), 24 * 7, false, 0),
            (Some(24), 24 * 7, false, 24),
            (Some(25), 24 * 7, true, 25),
            (Some(25), 25, true, 25),
            (Some(3), 3, false, 3),
            (Some(4), 3, true, 3),
            (Some(24 * 7), 24 * 7, true, 24 * 7),
            (None, 1, false, 0),
        ];
        for (asked, patience, is_over, pause) in rows {
            let mut records = Authorities::default();
            let patience = SignedDuration::from_hours(patience);
            records.failed("a", asked.map(|hours| at(hours * HOUR)), patience, 13, at(0));
            let turns = u32::from(is_over);
            let mut expected = known(&[("a", 1 - turns, turns, pause)]);
            expected.0[0].lacking = 12 * turns;
            assert_eq!(records, expected, "{asked:?} {patience:?}");
            let next = records.next(&urls(&["a", "b"]), 13, at(0)).unwrap();
            assert_eq!(next.url, if is_over { "b" } else { "a" }, "{asked:?} {patience:?}");
            // Where it is alone, it is asked after the pause.
            let alone = records.next(&urls(&["a"]), 13, at(0)).unwrap();
            let expected =
                Next { url: "a".to_owned(), failures: 1, retry_after: (pause > 0).then(|| at(pause * HOUR)) };
            assert_eq!(alone, expected, "{asked:?} {patience:?}");
        }
    }

    #[test]
    fn a_ca_that_asks_for_days_has_had_its_turn() {
        let configured = urls(&["a", "b"]);
        let mut records = Authorities::default();
        records.failed("a", Some(at(30 * HOUR)), WEEK, 13, at(0));
        assert_eq!((records.0[0].errors, records.0[0].turns), (0, 1));
        // Hours later a day is left. What was begun at the other CA goes on there.
        assert_eq!(records.next(&configured, 13, at(10 * HOUR)).unwrap().url, "b");
    }

    #[test]
    fn starting_over_keeps_what_cas_asked_for() {
        let mut records = known(&[("a", 2, 1, 5), ("b", 1, 0, 0), ("c", 0, 1, 1)]);
        records.start_over(at(2 * HOUR));
        assert_eq!(records, known(&[("a", 0, 0, 5)]));
    }

    #[test]
    fn failures_are_counted_across_turns_also_where_one_was_over_early() {
        let mut records = Authorities::default();
        let failures = |records: &Authorities| records.next(&urls(&["a"]), 3, at(0)).unwrap().failures;
        for (number, hours) in [0, 0, 30, 0, 30, 0, 0, 0].into_iter().enumerate() {
            records.failed("a", Some(at(hours * HOUR)), WEEK, 3, at(0));
            assert_eq!(failures(&records) as usize, number + 1);
        }
        assert_eq!((records.0[0].errors, records.0[0].turns), (0, 3));
    }

    #[test]
    fn records_have_a_json_form_that_reads_back() {
        let text = r#"[{"url":"https://ca/dir","errors":2,"turns":1,"retry-after":"Thu, 29 Aug 2019 16:06:35 GMT"},{"url":"b","errors":0,"turns":0}]"#;
        let records: Authorities = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&records).unwrap(), text);
    }

    #[test]
    fn public_cas_are_known_by_their_hosts() {
        assert!(CA_NAMES.iter().all(|(_, url)| is_public_ca(url)));
        for url in ["https://dv.acme-v02.api.pki.goog/directory", "https://ACME.SSL.com/sslcom-dv-rsa"] {
            assert!(is_public_ca(url), "{url}");
        }
        for url in ["https://ca.corp.test/dir", "https://notssl.com/dir", TAILSCALED, "no url"] {
            assert!(!is_public_ca(url), "{url}");
        }
    }

    #[test]
    fn spelling_makes_no_other_ca() {
        let rows = [
            ("https://ca.test/dir", "https://ca.test/dir", true),
            ("https://CA.test:443/dir/", "https://ca.test/dir", true),
            ("https://ca.test/dir", "https://ca.test/Dir", false),
            ("https://ca.test/dir", "https://ca.test:14000/dir", false),
            ("no url", "no url", true),
        ];
        for (a, b, same) in rows {
            assert_eq!(is_same_ca(a, b), same, "{a} {b}");
        }
    }
}
