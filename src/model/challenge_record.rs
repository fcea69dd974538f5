//! The order in which a domain tries challenge types: what failed comes last, so that what worked comes first.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::DomainName;

/// The record of challenge types in the report of a renewal (`job.json`). Types are known by their names in the protocol.
///
/// A type that failed is tried after all others, for all names of the domain, as one answer of the CA tells of one name only.
/// So the type that worked last is always the first. Names that are proven by a type which failed for others are exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChallengeRecord {
    /// Types that failed since the last success, in the order of their last failures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
    /// Types that failed before the last success, in the order of their last failures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed_before: Vec<String>,
    /// Names, and the type that proves each of them though it failed for another.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exceptions: BTreeMap<String, String>,
}

/// The place of a challenge type: types with a smaller one are tried first, equal ones as they are configured.
pub type Turn = (u8, usize);

impl ChallengeRecord {
    /// Whether all types are tried as they are configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the place of a type among those that can prove `name`.
    #[must_use]
    pub fn turn(&self, name: &str, kind: &str) -> Turn {
        let place = |list: &[String]| list.iter().position(|own| own == kind);
        match (place(&self.failed), place(&self.failed_before)) {
            _ if self.exceptions.get(name).is_some_and(|own| own == kind) => (0, 0),
            (None, None) => (1, 0),
            (None, Some(place)) => (2, place),
            (Some(place), _) => (3, place),
        }
    }

    /// Whether the type has failed since the last success.
    #[must_use]
    pub fn has_failed(&self, kind: &str) -> bool {
        self.failed.iter().any(|own| own == kind)
    }

    /// Records the outcome of an order: the types that failed for some name, and the names that were proven all the same.
    pub fn learn<'a>(&mut self, failed: &[&str], proven: impl IntoIterator<Item = (String, &'a str)>) {
        for kind in failed {
            self.failed.retain(|own| own != kind);
            self.failed.push((*kind).to_owned());
        }
        // What proved a name in an earlier order need not do so any more.
        self.exceptions.retain(|_, kind| !failed.contains(&kind.as_str()));
        for (name, kind) in proven {
            if self.failed.iter().chain(&self.failed_before).any(|own| own == kind) {
                self.exceptions.insert(name, kind.to_owned());
            } else {
                self.exceptions.remove(&name);
            }
        }
    }

    /// Records that the renewal of a domain with these names has succeeded. The order of the types stays.
    pub fn succeed(&mut self, names: &[DomainName]) {
        let failed = std::mem::take(&mut self.failed);
        self.failed_before.retain(|kind| !failed.contains(kind));
        self.failed_before.extend(failed);
        self.exceptions.retain(|name, _| names.iter().any(|own| own.as_str() == name));
    }
}

impl<'de> Deserialize<'de> for ChallengeRecord {
    /// Reads any JSON: members of other types count as absent.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let list = |name: &str| value[name].as_array().into_iter().flatten().filter_map(text).collect();
        let exceptions = value["exceptions"].as_object().into_iter().flatten();
        Ok(Self {
            failed: list("failed"),
            failed_before: list("failed-before"),
            exceptions: exceptions.filter_map(|(name, kind)| Some((name.clone(), text(kind)?))).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPN: &str = "tls-alpn-01";
    const HTTP: &str = "http-01";
    const DNS: &str = "dns-01";

    /// Plays runs, each of which has words such as `a-alpn` (failed for the name a) and `b+http` (proved b), or is `ok` (success).
    fn after(runs: &[&str]) -> ChallengeRecord {
        let full = |short: &str| [ALPN, HTTP, DNS].into_iter().find(|kind| kind.contains(short)).unwrap();
        let mut record = ChallengeRecord::default();
        for run in runs {
            if *run == "ok" {
                record.succeed(&["a", "b"].map(|name| DomainName::parse(name).unwrap()));
                continue;
            }
            let failed: Vec<_> =
                run.split(' ').filter_map(|word| word.split_once('-')).map(|(_, kind)| full(kind)).collect();
            let proven = run.split(' ').filter_map(|word| word.split_once('+'));
            record.learn(&failed, proven.map(|(name, kind)| (name.to_owned(), full(kind))));
        }
        record
    }

    fn order(record: &ChallengeRecord, name: &str, configured: &[&'static str]) -> Vec<&'static str> {
        let mut order = configured.to_vec();
        order.sort_by_key(|kind| record.turn(name, kind));
        order
    }

    #[test]
    fn the_next_type_is_the_first_that_has_not_failed_or_failed_the_longest_time_ago() {
        type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);
        let rows: [Row; 22] = [
            // What is said, the runs, the configuration, the order for the name a
            ("no run", &[], &[ALPN, HTTP, DNS], &[ALPN, HTTP, DNS]),
            ("as configured", &[], &[DNS, ALPN], &[DNS, ALPN]),
            ("success", &["a+alpn", "ok"], &[ALPN, HTTP], &[ALPN, HTTP]),
            ("one failed", &["a-alpn"], &[ALPN, HTTP, DNS], &[HTTP, DNS, ALPN]),
            ("two failed", &["a-alpn", "a-http"], &[ALPN, HTTP, DNS], &[DNS, ALPN, HTTP]),
            ("all failed: round again", &["a-alpn", "a-http", "a-dns"], &[ALPN, HTTP, DNS], &[ALPN, HTTP, DNS]),
            ("and again", &["a-alpn", "a-http", "a-alpn"], &[ALPN, HTTP], &[HTTP, ALPN]),
            ("the only one", &["a-http"], &[HTTP], &[HTTP]),
            ("another name failed", &["b-alpn"], &[ALPN, HTTP], &[HTTP, ALPN]),
            // Remembered
            ("what worked", &["a-alpn", "a+http", "ok"], &[ALPN, HTTP, DNS], &[HTTP, DNS, ALPN]),
            ("it fails later", &["a-alpn", "a+http", "ok", "a-http"], &[ALPN, HTTP, DNS], &[DNS, ALPN, HTTP]),
            ("it works again", &["a-alpn", "a-http", "a+alpn", "ok"], &[ALPN, HTTP], &[ALPN, HTTP]),
            ("what is untried before what failed before", &["a-alpn", "ok", "a-http"], &[ALPN, HTTP], &[ALPN, HTTP]),
            ("authorized before: no proof", &["a-alpn", "ok", "ok"], &[ALPN, HTTP], &[HTTP, ALPN]),
            // Several names
            ("a name for which it works", &["b-alpn a+alpn"], &[ALPN, HTTP], &[ALPN, HTTP]),
            ("a name of which nothing is known", &["b-alpn"], &[ALPN, HTTP], &[HTTP, ALPN]),
            ("it fails for that name, too", &["b-alpn a+alpn", "a-alpn"], &[ALPN, HTTP], &[HTTP, ALPN]),
            ("it fails again for another", &["b-alpn a+alpn", "ok", "b-alpn"], &[ALPN, HTTP], &[HTTP, ALPN]),
            ("each name its own", &["b-alpn", "b+http a-http", "a+alpn b+http", "ok"], &[ALPN, HTTP], &[ALPN, HTTP]),
            // Configuration
            ("no longer configured", &["a-alpn", "a+http", "ok"], &[ALPN], &[ALPN]),
            ("one that is new comes first", &["a-alpn", "a+http", "ok"], &[DNS, ALPN, HTTP], &[DNS, HTTP, ALPN]),
            ("an unknown one", &["a-alpn"], &[ALPN, "foo-99"], &["foo-99", ALPN]),
        ];
        for (what, runs, configured, expected) in rows {
            assert_eq!(order(&after(runs), "a", configured), expected, "{what}");
        }
        let each = after(&["b-alpn", "b+http a-http", "a+alpn b+http", "ok"]);
        assert_eq!(order(&each, "b", &[ALPN, HTTP]), [HTTP, ALPN]);
    }

    #[test]
    fn what_failed_counts_until_the_next_success() {
        let rows: [(&[&str], bool); 4] = [
            (&[], false),
            (&["a-alpn"], true),
            (&["a-alpn", "a+http", "ok"], false),
            (&["a-alpn", "a+http", "ok", "a-alpn"], true),
        ];
        for (runs, expected) in rows {
            assert_eq!(after(runs).has_failed(ALPN), expected, "{runs:?}");
        }
    }

    #[test]
    fn exceptions_end_with_the_name() {
        let mut record = after(&["b-alpn a+alpn"]);
        record.succeed(&[DomainName::parse("b").unwrap()]);
        assert_eq!(record, after(&["b-alpn", "ok"]));
    }

    #[test]
    fn a_record_reads_back_and_any_json_is_read() {
        let text = r#"{"failed":["http-01"],"failed-before":["tls-alpn-01"],"exceptions":{"b":"tls-alpn-01"}}"#;
        let record: ChallengeRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        assert_eq!(record, after(&["a-alpn b+alpn", "ok", "a-http"]));
        for text in ["7", "null", "[]", r#"{"failed":{},"failed-before":[7,null],"exceptions":{"b":7}}"#] {
            assert!(serde_json::from_str::<ChallengeRecord>(text).unwrap().is_empty(), "{text}");
        }
    }
}
