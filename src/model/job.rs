//! The report on the renewal of a domain (`job.json`): the last attempt, its result, and the time of the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::time::{gmt, gmt_list};
use super::{Authorities, ChallengeRecord, Status, Timestamp, problem, without_passwords};

/// The report of a renewal. It never decides what is staged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Job {
    /// Name of the domain.
    pub name: String,
    /// Whether everything is staged.
    pub finished: bool,
    /// Whether the administrator was notified of the end.
    pub notified: bool,
    /// Whether the administrator was notified of the renewal.
    pub notified_renewed: bool,
    /// The next attempt is not before this moment.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Timestamp>,
    /// Start of the last attempt.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Timestamp>,
    /// The moment from which the staged certificates are valid.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// Failed attempts in a row.
    pub errors: u32,
    /// The result of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<JobResult>,
    /// The events of the renewal, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<JobLog>,
    /// The CA does not want to be asked before this moment, whatever else makes the renewal due.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Timestamp>,
    /// A hash of the settings with which the last attempt failed: with other settings, the next one need not fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// The time limit of a running command that is notified of the end of the renewal.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub telling: Option<Timestamp>,
    /// The failed challenges of the last hour, by their moments.
    #[serde(with = "gmt_list", skip_serializing_if = "Vec::is_empty")]
    pub validation_failures: Vec<Timestamp>,
    /// Directory URL of the CA that is or was asked, unless it is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_url: Option<String>,
    /// URL of the account that the renewal was made with, if it can go live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_url: Option<String>,
    /// The records of the CAs, if there are several.
    #[serde(skip_serializing_if = "Authorities::is_empty")]
    pub authorities: Authorities,
    /// Certificates for which the last attempts to fetch an OCSP response failed, by their SHA-1 in hexadecimal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ocsp_failures: BTreeMap<String, OcspFailures>,
    /// TXT records that must be in the DNS for dns-persist-01, as far as they are known.
    #[serde(deserialize_with = "txt_records", skip_serializing_if = "Vec::is_empty")]
    pub txt_records: Vec<TxtRecord>,
    /// Certificates that no order may name as replaced, as the CA has refused that, by their identifiers (RFC 9773 section 4.1).
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub refused_replacements: Vec<String>,
    /// The challenge types that have failed.
    #[serde(skip_serializing_if = "ChallengeRecord::is_empty")]
    pub challenges: ChallengeRecord,
    /// Serial numbers, in hexadecimal, of certificates in `domains/` or `live/` that a2md has revoked.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
}

/// The part of the report of a renewal that matters to the next one of the domain.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct LastRenewal {
    /// TXT records that must be in the DNS for dns-persist-01.
    #[serde(deserialize_with = "txt_records")]
    pub txt_records: Vec<TxtRecord>,
    /// The challenge types that have failed.
    pub challenges: ChallengeRecord,
}

/// A TXT record in the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxtRecord {
    /// The name, without a dot at the end.
    pub name: String,
    /// The text.
    pub value: String,
}

fn txt_records<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TxtRecord>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let records = value.as_array().into_iter().flatten();
    Ok(records.filter_map(|record| serde_json::from_value(record.clone()).ok()).collect())
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let texts = value.as_array().into_iter().flatten();
    Ok(texts.filter_map(|text| text.as_str().map(str::to_owned)).collect())
}

/// Failures in a row to fetch the OCSP response for one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct OcspFailures {
    /// Number of failures.
    pub errors: u32,
    /// The next attempt is not before this moment.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Timestamp>,
}

/// The result of an attempt, or its current activity.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct JobResult {
    /// Result code.
    pub status: Status,
    /// The code in words, where it is an error and its words are true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_description: Option<String>,
    /// Type of the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// A sentence for the administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The step that was begun last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// When the new certificates become valid.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// The CA's problems with single names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subproblems: Vec<Value>,
}

/// The log of a job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobLog {
    /// Entries, newest first.
    pub entries: Vec<LogEntry>,
}

/// A line of a job's log.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogEntry {
    /// The moment.
    #[serde(with = "gmt", skip_serializing_if = "Option::is_none")]
    pub when: Option<Timestamp>,
    /// `starting`, `progress`, `finished`, `renewal-error`, `message-<event>` ...
    #[serde(rename = "type")]
    pub kind: String,
    /// A result code in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Job {
    /// The most entries of a log.
    const LOG_ENTRIES: usize = 128;
    /// The kind of the line that tells of the end.
    pub const FINISHED: &str = "finished";

    /// Makes a job without history.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds a line to the log; the oldest goes when there are too many.
    pub fn record(&mut self, when: Timestamp, kind: &str, status: Option<&str>, detail: Option<&str>) {
        let entries = &mut self.log.get_or_insert_default().entries;
        let entry = LogEntry {
            when: Some(when),
            kind: kind.to_owned(),
            status: status.map(str::to_owned),
            detail: detail.map(|detail| without_passwords(detail).into_owned()),
        };
        entries.insert(0, entry);
        entries.truncate(Self::LOG_ENTRIES);
    }

    /// Records the activity of a running attempt. The failure of the attempt before stays in the report until one succeeds.
    pub fn proceed(&mut self, when: Timestamp, activity: &str) {
        self.record(when, "progress", None, Some(activity));
        let failed = self.last.take().filter(|_| self.errors > 0).unwrap_or_default();
        self.last = Some(JobResult { activity: Some(activity.to_owned()), ..failed });
    }

    /// Adds the problem type of each failure: the C module and former releases have left it out.
    #[must_use]
    pub fn with_problem(mut self) -> Self {
        if self.errors > 0 {
            let last = self.last.get_or_insert_with(|| JobResult::failure(Status::GENERAL, "unknown", String::new()));
            last.problem.get_or_insert_with(|| "unknown".to_owned());
        }
        self
    }

    /// Returns when the newest line of that kind was written.
    #[must_use]
    pub fn newest(&self, kind: &str) -> Option<Timestamp> {
        self.log.as_ref()?.entries.iter().find(|entry| entry.kind == kind)?.when
    }

    /// Returns when the certificates of the renewal were obtained, if it has come to its end.
    #[must_use]
    pub fn ordered(&self) -> Option<Timestamp> {
        self.newest(Self::FINISHED).filter(|_| self.finished)
    }

    /// Returns the report without its log.
    #[must_use]
    pub fn without_log(&self) -> Self {
        Self { log: None, ..self.clone() }
    }
}

impl JobResult {
    /// Makes the result of a step that failed with this code, problem type and sentence.
    #[must_use]
    pub fn failure(status: Status, problem: impl Into<String>, detail: String) -> Self {
        Self {
            status,
            status_description: status.text(),
            problem: Some(problem.into()),
            detail: Some(without_passwords(&detail).into_owned()),
            ..Self::default()
        }
    }

    /// Formats the result for the server's log; scanners look for `problem[` in it.
    #[must_use]
    pub fn to_log(&self, md: &str) -> String {
        let mut line = format!("md[{md}]");
        for (name, text) in [("while", &self.activity), ("problem", &self.problem), ("detail", &self.detail)] {
            if let Some(text) = text {
                line += &format!(" {name}[{text}]");
            }
        }
        if !self.subproblems.is_empty() {
            line += &format!(" subproblems[{}]", problem::told(&self.subproblems));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_report_reads_back_and_keeps_its_order() {
        let text = r#"{"name":"x.org","finished":false,"notified":false,"notified-renewed":false,"next-run":"Thu, 29 Aug 2019 16:06:35 GMT","errors":1,"last":{"status":20014,"status-description":"Internal error (specific information not available)","problem":"p","detail":"d"},"log":{"entries":[{"when":"Thu, 29 Aug 2019 16:06:35 GMT","type":"starting"}]}}"#;
        let job: Job = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&job).unwrap(), text);
        assert!(job.without_log().log.is_none());
    }

    #[test]
    fn members_of_our_own_come_last_and_may_be_anything() {
        let text = r#"{"name":"x.org","finished":false,"notified":false,"notified-renewed":false,"errors":1,"retry-after":"Thu, 29 Aug 2019 16:06:35 GMT","settings":"s","validation-failures":["Thu, 29 Aug 2019 16:06:35 GMT"]}"#;
        let job: Job = serde_json::from_str(text).unwrap();
        assert_eq!((job.validation_failures.len(), serde_json::to_string(&job).unwrap()), (1, text.to_owned()));
        let job: Job = serde_json::from_str(r#"{"retry-after":7,"validation-failures":["soon",1,null]}"#).unwrap();
        assert_eq!(job, Job::default());
        let job: Job = serde_json::from_str(r#"{"validation-failures":{},"txt-records":[7,{"name":"n"}]}"#).unwrap();
        assert_eq!(job, Job::default());
        let job: Job = serde_json::from_str(r#"{"refused-replacements":[7,"AQ.Ag",{}],"errors":1}"#).unwrap();
        assert_eq!((job.refused_replacements.as_slice(), job.errors), (&["AQ.Ag".to_owned()][..], 1));
        let job: Job = serde_json::from_str(r#"{"refused-replacements":"AQ.Ag"}"#).unwrap();
        assert_eq!(serde_json::to_string(&job).unwrap(), serde_json::to_string(&Job::default()).unwrap());
        let text = r#"{"name":"_validation-persist.x.org","value":"ca.example; accounturi=https://ca/1"}"#;
        let job: Job = serde_json::from_str(&format!(r#"{{"txt-records":[{text}]}}"#)).unwrap();
        assert_eq!(serde_json::to_string(&job.txt_records[0]).unwrap(), text);
    }

    #[test]
    fn the_line_of_the_log_has_what_there_is() {
        assert_eq!(JobResult::default().to_log("x.org"), "md[x.org]");
        let result = JobResult {
            activity: Some("Creating new order".to_owned()),
            subproblems: vec![
                serde_json::json!({ "detail": "no x", "identifier": { "value": "a.org" } }),
                serde_json::json!({ "type": "urn:q" }),
            ],
            ..JobResult::failure(Status::GENERAL, "urn:p", "d".to_owned())
        };
        assert_eq!(
            result.to_log("x.org"),
            "md[x.org] while[Creating new order] problem[urn:p] detail[d] subproblems[a.org: no x; urn:q]"
        );
    }

    #[test]
    fn a_failure_stays_until_an_attempt_succeeds() {
        let failed = || JobResult::failure(Status::GENERAL, "urn:p", "d".to_owned());
        let mut job = Job { errors: 1, last: Some(failed()), ..Job::new("x.org") };
        job.proceed(Timestamp::UNIX_EPOCH, "asking");
        let activity = Some("asking".to_owned());
        assert_eq!(job.last, Some(JobResult { activity: activity.clone(), ..failed() }));
        job.errors = 0;
        job.proceed(Timestamp::UNIX_EPOCH, "asking");
        assert_eq!(job.last, Some(JobResult { activity, ..JobResult::default() }));
    }

    #[test]
    fn a_report_of_others_gets_a_problem_where_it_tells_of_errors() {
        let problem = |text| serde_json::from_str::<Job>(text).unwrap().with_problem().last?.problem;
        for (text, expected) in [
            (r#"{"errors":1,"last":{"status":22,"detail":"d"}}"#, Some("unknown")),
            (r#"{"errors":1,"last":{"status":22,"problem":"p"}}"#, Some("p")),
            (r#"{"errors":1}"#, Some("unknown")),
            (r#"{"errors":0,"last":{"status":0,"detail":"d"}}"#, None),
        ] {
            assert_eq!(problem(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_log_keeps_the_newest_entries() {
        let mut job = Job::new("x.org");
        for i in 0..200 {
            job.record(Timestamp::UNIX_EPOCH, "progress", None, Some(&i.to_string()));
        }
        let entries = &job.log.unwrap().entries;
        assert_eq!((entries.len(), entries[0].detail.as_deref()), (128, Some("199")));
    }
}
