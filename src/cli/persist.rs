//! The command `persist-record`: prints the TXT records for the challenge dns-persist-01.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::domains::named;
use super::error::CliError;
use super::given::Given;
use super::session::Session;
use crate::accounts::find_or_register;
use crate::acme::{AccountScope, Applicant, ChallengeType, PersistRecord, Registrar};
use crate::model::{DomainName, Identifier, ManagedDomain, Status, Timestamp, TxtRecord, ca_name};

/// Length of the longest string in a TXT record (RFC 1035 section 3.3).
const LONGEST_STRING: usize = 255;

/// Prints the records of domains: `persist-record [-u time] name...`.
pub fn record(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let names = given.args();
    if names.is_empty() {
        return Err(CliError::Usage("missing argument: name of a managed domain"));
    }
    let until = given.value("until").map(|text| moment(text, session.clock().now())).transpose()?;
    let domains = names.iter().map(|name| named(session.documents(), name)).collect::<Result<Vec<_>, _>>()?;
    let mut is_first = true;
    domains.iter().try_for_each(|md| {
        let listed =
            md.ca.challenges.iter().any(|kind| ChallengeType::parse(kind) == Some(ChallengeType::DnsPersist01));
        if !listed {
            session.inform(&format!(
                "{}: MDCAChallenges does not list dns-persist-01, so the records are not used yet",
                md.name
            ));
        }
        authorities(session, md)?.iter().try_for_each(|url| at_ca(session, md, url, until, &mut is_first))
    })
}

/// Returns the CAs of the domain, or the one that `-a` names.
fn authorities(session: &Session, md: &ManagedDomain) -> Result<Vec<String>, CliError> {
    let configured = || if md.ca.urls.is_empty() { md.ca.url.iter().cloned().collect() } else { md.ca.urls.clone() };
    let urls = session.acme.clone().map_or_else(configured, |url| vec![url]);
    let text = || format!("{0}: is missing MDCertificateAuthority; 'a2md update {0} ca <url>' sets it", md.name);
    if urls.is_empty() { Err(CliError::Refused { status: Status::NOT_FOUND, text: text() }) } else { Ok(urls) }
}

/// Prints the records of a domain for one of its CAs.
fn at_ca(
    session: &mut Session,
    md: &ManagedDomain,
    url: &str,
    until: Option<Timestamp>,
    is_first: &mut bool,
) -> Result<(), CliError> {
    let failed = CliError::acme(format!("{}: cannot find or register an account at {url}", md.name));
    let mut ca = Registrar::connect(session.client(Some(md)), session.clock().clone(), url).map_err(&failed)?;
    let scope = AccountScope { ca_url: url.to_owned(), eab: md.eab.as_deref().cloned() };
    let agreement = session.terms.as_deref().or(md.ca.agreement.as_deref());
    let applicant = Applicant { scope: &scope, contacts: &md.contacts, contact_source: &md.contact_source, agreement };
    let (account, key) = find_or_register(session.documents(), md, &mut ca, &applicant).map_err(&failed)?;
    let identifiers: Vec<Identifier> = md.order_names().into_iter().map(DomainName::identifier).collect();
    let records = ca.persist_records(&account, &key, &identifiers, until).map_err(&failed)?;
    if records.is_empty() {
        let text = format!(
            "{}: {url} announces no issuer names, or the domain has no DNS names; if the CA supports dns-persist-01, a \
             failed renewal reports the record to create",
            md.name
        );
        return Err(CliError::Refused { status: Status::UNSUPPORTED, text });
    }
    for (at, record) in records.iter().enumerate() {
        let of_name = |other: &&PersistRecord| other.domain == record.domain;
        let choice = (records[..at].iter().filter(of_name).count() + 1, records.iter().filter(of_name).count());
        let block = block(record, &ca_name(url), choice);
        let line = if std::mem::take(is_first) { block } else { format!("\n{block}") };
        session.report(&line, document(md, url, &account.url, record));
    }
    Ok(())
}

/// Formats a record twice: field by field for web forms, and as a line of a zone file.
fn block(record: &PersistRecord, ca: &str, (number, of): (usize, usize)) -> String {
    let TxtRecord { name, value } = record.txt();
    let choice = if of > 1 { format!(", alternative {number} of {of}, one is enough") } else { String::new() };
    let strings: Vec<String> =
        value.as_bytes().chunks(LONGEST_STRING).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
    format!(
        "# {} at {ca}{choice}\nname:  {name}\ntype:  TXT\nvalue: {value}\nzone:  {name}. IN TXT {}",
        record.domain,
        strings.join(" ")
    )
}

fn document(md: &ManagedDomain, url: &str, account: &str, record: &PersistRecord) -> Value {
    let TxtRecord { name, value } = record.txt();
    json!({
        "md": md.name, "domain": record.domain, "ca": url, "account": account, "issuer": record.issuer,
        "name": name, "type": "TXT", "value": value,
    })
}

/// Parses a time in the future, given as a date (midnight UTC) or with the time of day.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, CliError> {
    let midnight = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let is_date = text.len() == "2027-01-31".len();
    let found = if is_date { midnight() } else { text.parse::<Timestamp>().ok() };
    let found = found.ok_or_else(|| {
        CliError::invalid(format!(
            "invalid time {}: write it as 2027-01-31 or 2027-01-31T12:00:00Z",
            text.escape_default()
        ))
    })?;
    if found > now { Ok(found) } else { Err(CliError::invalid(format!("the time {text} is in the past"))) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shell;
    use super::*;

    #[test]
    fn a_record_is_good_until_a_moment_to_come() {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let until = |text| moment(text, now).ok().map(Timestamp::as_second);
        assert_eq!(until("2027-01-31"), Some(1_801_353_600));
        assert_eq!(until("2027-01-31T00:00:01Z"), Some(1_801_353_601));
        assert_eq!(until("2027-01-31T01:00:01+01:00"), Some(1_801_353_601));
        for text in ["", "soon", "2026-11-23", "2027-13-01", "1801353600", "2027-01-31 12:00"] {
            assert_eq!(until(text), None, "{text}");
        }
    }

    #[test]
    fn long_values_are_split_in_zone_files_only() {
        let record = |account: &str| PersistRecord {
            domain: "x.org".to_owned(),
            issuer: "ca.example".to_owned(),
            account_uri: account.to_owned(),
            wildcard: true,
            until: None,
        };
        assert_eq!(
            block(&record("https://ca/1"), "ca", (1, 1)),
            "# x.org at ca\n\
             name:  _validation-persist.x.org\n\
             type:  TXT\n\
             value: ca.example; accounturi=https://ca/1; policy=wildcard\n\
             zone:  _validation-persist.x.org. IN TXT \"ca.example; accounturi=https://ca/1; policy=wildcard\""
        );
        let long = block(&record(&"u".repeat(300)), "ca", (2, 3));
        assert!(long.starts_with("# x.org at ca, alternative 2 of 3, one is enough\n"), "{long}");
        let zone = long.lines().last().unwrap().split_once(" IN TXT ").unwrap().1;
        let strings: Vec<_> = zone.split('"').filter(|part| part.trim() != "").collect();
        assert_eq!(strings[0].len(), 255);
        assert_eq!(strings.concat(), record(&"u".repeat(300)).txt().value);
    }

    fn shell(names: &str) -> Shell {
        let shell = Shell::without_account();
        shell.server.ca.behave(|ca| ca.issuers = vec!["ca.test", "alias.test"]);
        shell.add_domain(names);
        shell
    }

    #[test]
    fn records_are_printed_for_each_name_and_issuer_name() {
        let shell = shell("a.persist.test *.b.persist.test");
        let done = shell.run("persist-record a.persist.test");
        let block = |name: &str, issuer: &str, number: u8, policy: &str| {
            let value = format!("{issuer}; accounturi=https://ca.test/account/0{policy}");
            let record = format!("_validation-persist.{name}");
            format!(
                "# {name} at ca.test, alternative {number} of 2, one is enough\n\
                 name:  {record}\ntype:  TXT\nvalue: {value}\nzone:  {record}. IN TXT \"{value}\"\n"
            )
        };
        let wildcard = "; policy=wildcard";
        let blocks = [
            block("a.persist.test", "ca.test", 1, ""),
            block("a.persist.test", "alias.test", 2, ""),
            block("b.persist.test", "ca.test", 1, wildcard),
            block("b.persist.test", "alias.test", 2, wildcard),
        ];
        assert_eq!((done.code, done.out), (0, blocks.join("\n")));
        let unused = "a.persist.test: MDCAChallenges does not list dns-persist-01, so the records are not used yet\n";
        assert_eq!(done.err, unused);
        assert_eq!(shell.server.ca.accounts(), 1, "the account is registered");

        shell.change("a.persist.test", |md| md["ca"]["challenges"] = json!(["dns-persist-01"]));
        let done = shell.run("-j persist-record -u 2027-01-31 a.persist.test");
        let value = "ca.test; accounturi=https://ca.test/account/0; persistUntil=1801353600";
        let first = json!({
            "md": "a.persist.test", "domain": "a.persist.test", "ca": "https://ca.test/directory",
            "account": "https://ca.test/account/0", "issuer": "ca.test",
            "name": "_validation-persist.a.persist.test", "type": "TXT", "value": value,
        });
        assert_eq!((&done.document()["output"][0], done.err.as_str()), (&first, ""));
        assert_eq!(shell.server.ca.accounts(), 1, "the account is found again");
    }

    #[test]
    fn why_there_are_no_records_is_told() {
        let shell = shell("a.persist.test");
        for (line, err) in [
            ("persist-record x.org", "Info 2: managed domain not found: x.org\n"),
            (
                "persist-record -u soon a.persist.test",
                "Error 22: invalid time soon: write it as 2027-01-31 or 2027-01-31T12:00:00Z\n",
            ),
            ("persist-record -u 2020-01-01 a.persist.test", "Error 22: the time 2020-01-01 is in the past\n"),
        ] {
            assert_eq!(shell.fail(line), err);
        }
        shell.server.ca.behave(|ca| ca.issuers.clear());
        let err = shell.fail("persist-record a.persist.test");
        let expected =
            "Error 70023: a.persist.test: https://ca.test/directory announces no issuer names, or the domain";
        assert!(err.contains(expected), "{err}");
        shell.change("a.persist.test", |md| md["ca"] = json!({ "proto": "ACME" }));
        let err = shell.fail("persist-record a.persist.test");
        assert!(err.contains("Error 2: a.persist.test: is missing MDCertificateAuthority; 'a2md update"), "{err}");
        shell.server.ca.fail_times(crate::testing::ca::Operation::Directory, 9, crate::testing::ca::Fault::Drop);
        let err = shell.fail("-a https://ca.test/directory persist-record a.persist.test");
        assert!(
            err.ends_with("a.persist.test: cannot find or register an account at https://ca.test/directory\n"),
            "{err}"
        );
    }
}
