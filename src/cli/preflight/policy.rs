//! What the records of a domain allow: CAA, and the permanent records of dns-persist-01.

use super::Finding;
use crate::acme::PersistRecord;
use crate::dns::{Data, DnsError};
use crate::model::{Timestamp, outside};

/// Checks whether CAA lets the CA issue for a name (RFC 8659). `identities` are the names of the CA; `ask` returns the CAA
/// records of one name.
pub(super) fn caa(name: &str, identities: &[String], ask: impl Fn(&str) -> Result<Vec<Data>, DnsError>) -> Finding {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let mut at = Some(bare);
    while let Some(label) = at {
        let found = match ask(label) {
            Ok(found) => found,
            Err(err) => {
                return Finding::error(
                    format!("{label}: {err}"),
                    "a CA issues nothing where it cannot read CAA: mend the zone",
                );
            }
        };
        let records: Vec<_> = found
            .iter()
            .filter_map(|data| {
                if let Data::Caa(critical, tag, value) = data {
                    Some((*critical, tag.as_str(), value.as_str()))
                } else {
                    None
                }
            })
            .collect();
        if !records.is_empty() {
            return of_set(label, &records, identities, name.starts_with("*."));
        }
        at = label.split_once('.').map(|(_, parent)| parent);
    }
    Finding::ok("no CAA record restricts CAs")
}

/// Checks the records of the closest name that has some.
fn of_set(at: &str, records: &[(bool, &str, &str)], identities: &[String], is_wildcard: bool) -> Finding {
    const KNOWN: [&str; 6] = ["issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail"];
    if let Some((_, tag, _)) = records.iter().find(|(critical, tag, _)| *critical && !KNOWN.contains(tag)) {
        return Finding::warning(
            format!("{at} has a critical CAA property {}, which a CA may not know", outside::text(tag)),
            "remove it if it is a mistake",
        );
    }
    let values = |wanted: &str| {
        records.iter().filter(|(_, tag, _)| *tag == wanted).map(|(_, _, value)| *value).collect::<Vec<_>>()
    };
    let wild = if is_wildcard { values("issuewild") } else { Vec::new() };
    let allowed = if wild.is_empty() { values("issue") } else { wild };
    if allowed.is_empty() {
        return Finding::ok(format!("the CAA records of {at} restrict no CA"));
    }
    let issuer = |value: &&str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let listed: Vec<String> = allowed.iter().map(issuer).filter(|name| !name.is_empty()).collect();
    let shown = if listed.is_empty() { "no CA".to_owned() } else { outside::text(&listed.join(", ")) };
    if identities.is_empty() {
        return Finding::warning(
            format!("the CAA records of {at} allow {shown}, and the CA does not say which name it has"),
            "see that it is allowed",
        );
    }
    let fitting: Vec<&&str> = allowed.iter().filter(|value| identities.contains(&issuer(value))).collect();
    match fitting.first() {
        None => Finding::error(
            format!("the CAA records of {at} allow {shown}"),
            format!("add: {at}. IN CAA 0 issue '{}'", identities[0]),
        ),
        Some(value) if fitting.len() == 1 && value.contains(';') => {
            let rest = value.split_once(';').map(|(_, rest)| rest.trim()).unwrap_or_default();
            Finding::ok(format!("the CAA records of {at} allow the CA, with {}", outside::text(rest)))
        }
        Some(_) => Finding::ok(format!("the CAA records of {at} allow the CA")),
    }
}

/// Checks whether one of the records that would prove a name is there.
pub(super) fn standing_record(
    at: &str,
    wanted: &[PersistRecord],
    found: &[Data],
    now: Timestamp,
    remedy: &str,
) -> Finding {
    let texts: Vec<&str> =
        found.iter().filter_map(|data| if let Data::Text(text) = data { Some(text.as_str()) } else { None }).collect();
    let is_right = |text: &&str| wanted.iter().any(|record| fits(record, text, now));
    if texts.iter().any(is_right) {
        Finding::ok(format!("the record {at} is there"))
    } else if texts.is_empty() {
        Finding::error(format!("there is no record {at}"), remedy)
    } else {
        Finding::error(format!("no record {at} is for this account and name, or it has expired"), remedy)
    }
}

fn fits(record: &PersistRecord, text: &str, now: Timestamp) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default();
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let value = |name: &str| {
        parameters.iter().find(|(own, _)| own.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let is_current =
        value("persistUntil").is_none_or(|until| until.parse::<i64>().is_ok_and(|until| until > now.as_second()));
    issuer.eq_ignore_ascii_case(&record.issuer)
        && value("accounturi") == Some(record.account_uri.as_str())
        && (!record.wildcard || value("policy").is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard")))
        && is_current
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn record(critical: bool, tag: &str, value: &str) -> Data {
        Data::Caa(critical, tag.to_owned(), value.to_owned())
    }

    #[test]
    fn the_closest_caa_records_decide() {
        let ca = ["ca.test".to_owned(), "alias.test".to_owned()];
        let at = |name: &str| match name {
            "allowed.test" => {
                vec![record(false, "issue", "CA.test; validationmethods=dns-01"), record(false, "iodef", "mailto:x")]
            }
            "other.test" => vec![record(false, "issue", "other.example")],
            "nobody.test" => vec![record(false, "issue", ";")],
            "wild.test" => vec![record(false, "issue", "other.example"), record(false, "issuewild", "alias.test")],
            "mail.test" => vec![record(false, "issuemail", "other.example")],
            "critical.test" => vec![record(true, "frob", "x"), record(false, "issue", "ca.test")],
            _ => vec![],
        };
        for (name, verdict, phrase) in [
            ("a.free.test", Verdict::Ok, "no CAA record"),
            ("a.b.allowed.test", Verdict::Ok, "with validationmethods=dns-01"),
            ("other.test", Verdict::Error, "allow other.example"),
            ("x.nobody.test", Verdict::Error, "allow no CA"),
            ("wild.test", Verdict::Error, "allow other.example"),
            ("*.wild.test", Verdict::Ok, "allow the CA"),
            ("*.other.test", Verdict::Error, "allow other.example"),
            ("mail.test", Verdict::Ok, "restrict no CA"),
            ("critical.test", Verdict::Warning, "frob"),
        ] {
            let finding = caa(name, &ca, |name| Ok(at(name)));
            assert_eq!(finding.verdict, verdict, "{name}: {finding:?}");
            assert!(finding.detail.contains(phrase), "{name}: {finding:?}");
        }
        let finding = caa("other.test", &[], |name| Ok(at(name)));
        assert!(finding.verdict == Verdict::Warning && finding.detail.contains("does not say"), "{finding:?}");
        let finding = caa("a.test", &ca, |_| Err(DnsError::NoServer));
        assert_eq!(finding.verdict, Verdict::Error);
        assert!(
            caa("other.test", &ca, |name| Ok(at(name)))
                .remedy
                .unwrap()
                .contains("other.test. IN CAA 0 issue 'ca.test'")
        );
    }

    #[test]
    fn a_permanent_record_is_for_the_account_and_not_expired() {
        let wanted = |wildcard| {
            let account_uri = "https://ca.test/1".to_owned();
            [PersistRecord {
                domain: "a.test".to_owned(),
                issuer: "ca.test".to_owned(),
                account_uri,
                wildcard,
                until: None,
            }]
        };
        let now = Timestamp::from_second(1_000).unwrap();
        for (text, plain, wildcard) in [
            ("ca.test; accounturi=https://ca.test/1", Verdict::Ok, Verdict::Error),
            ("CA.test;accounturi=https://ca.test/1;policy=Wildcard", Verdict::Ok, Verdict::Ok),
            ("ca.test; accounturi=https://ca.test/1; persistUntil=1001", Verdict::Ok, Verdict::Error),
            ("ca.test; accounturi=https://ca.test/1; persistUntil=999", Verdict::Error, Verdict::Error),
            ("ca.test; accounturi=https://ca.test/2", Verdict::Error, Verdict::Error),
            ("other.test; accounturi=https://ca.test/1", Verdict::Error, Verdict::Error),
        ] {
            let found = [Data::Text("v=spf1".to_owned()), Data::Text(text.to_owned())];
            let verdict = |wildcard| standing_record("x", &wanted(wildcard), &found, now, "").verdict;
            assert_eq!((verdict(false), verdict(true)), (plain, wildcard), "{text}");
        }
        let finding = standing_record("x", &wanted(false), &[], now, "add it");
        assert!(finding.detail.contains("there is no record") && finding.remedy.as_deref() == Some("add it"));
    }
}
