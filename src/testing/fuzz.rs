//! Entry points for any bytes, one for each kind of text that others write. `make fuzz` calls them with inputs that libFuzzer makes
//! up, and a test with those in `fuzz/corpus`. A property that does not hold is a panic.

use std::fmt::Display;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::acme::challenge::Malformed;
use crate::acme::session::{json, location};
use crate::acme::{
    AccountRecord, AcmeError, Authorization, ChallengeSetup, Directory, Order, OrderRecord, RenewalInfo, Session,
};
use crate::clock::{Clock, SettableClock};
use crate::crypto::{
    Certificate, Chain, KeyRef, OcspIssuer, PrivateKey, account_key, base64url, base64url_decode, read_ocsp_response,
};
use crate::dns;
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::model::contact::{check_mail, contact_flaw, contact_uri};
use crate::model::directive::{Args, DIRECTIVES, Scope};
use crate::model::time::{SignedDuration, format_gmt, parse_gmt};
use crate::model::{
    Authorities, DailyWindow, Declared, DomainName, Globals, Job, JobResult, KeySpecs, ManagedDomain, NamePattern,
    Origin, PortMap, Problem, Settings, Timestamp, Unit, Window, base64_decode, format_duration, parse_duration,
};
use crate::model::{directive, outside};
use crate::ocsp;
use crate::sets::{Active, Advice};
use crate::status::Query;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// The targets with their names, which are those of the folders of inputs.
pub static TARGETS: [(&str, Target); 11] = [
    ("directives", directives),
    ("documents", documents),
    ("problems", problems),
    ("ari", ari),
    ("sessions", sessions),
    ("chains", chains),
    ("ocsp", ocsp_responses),
    ("keys", keys),
    ("values", values),
    ("names", names),
    ("queries", queries),
];

/// The most bytes of a sentence about an answer: a problem with its subproblems is the longest.
const LONGEST_SENTENCE: usize = 64 << 10;
/// The pass phrase of encrypted keys among the inputs.
const PASS: &[u8] = b"pass";
/// The most rounds of a key derivation that are computed.
const MOST_ROUNDS: u64 = 100_000;
/// The most rounds of a key derivation that are worth the time that each takes here.
const CHEAP_ROUNDS: u64 = 200;
/// The object identifier of PBKDF2 (RFC 8018) in DER.
const PBKDF2: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];

/// Answers of name servers.
fn names(bytes: &[u8]) {
    if let Some(Ok(records)) = dns::records(bytes) {
        assert!(records.len() <= 500, "{} records", records.len());
    }
}

/// The part of a URL of md-page behind `?`.
fn queries(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let query = Query::read(&text);
    // A link has what was understood, and leads to the same list.
    let link = query.on_page(query.page);
    assert!(link.len() <= 4096 && link.is_ascii(), "{link:?}");
    let again = Query::read(link.trim_start_matches('?'));
    assert_eq!(again.on_page(again.page), link, "{text:?}");
    query.notes.iter().for_each(check_text);
}

/// A moment in the validity of the certificates of this module.
fn now() -> Timestamp {
    Timestamp::from_second(1_798_761_600).unwrap_or_default()
}

/// Checks that a sentence has a limit, and no character that a terminal takes for a command.
fn check_text(sentence: &impl Display) {
    let text = sentence.to_string();
    assert!(text.len() <= LONGEST_SENTENCE, "{} bytes", text.len());
    let forged =
        text.chars().find(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    assert!(forged.is_none(), "{text:?}");
}

/// Checks that a value is read back as it is written.
fn check_form<T: DeserializeOwned + Serialize>(text: &[u8]) {
    let Ok(value) = outside::stored::<T>(text) else { return };
    let written = serde_json::to_vec(&value).expect("a form in JSON");
    let read: T = serde_json::from_slice(&written).expect("the written form");
    assert_eq!(serde_json::to_vec(&read).expect("a form in JSON"), written, "{}", String::from_utf8_lossy(&written));
}

/// Splits the first byte off, which chooses what the others are.
fn choice(data: &[u8], of: u8) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (first % of, rest))
}

/// Runs each line as a directive, in a server or (with a blank in front) in a section. What comes of it can be stored.
fn directives(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut globals = Globals::default();
    let mut settings = Settings::default();
    let mut declared = Vec::<Declared>::new();
    for line in text.lines().take(64) {
        let (name, rest) = line.trim_start().split_once(' ').unwrap_or((line.trim_start(), ""));
        let Some(directive) = DIRECTIVES.iter().find(|row| row.name().eq_ignore_ascii_case(name)) else { continue };
        let quoted = rest.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        let words: Vec<&str> = if directive.args == Args::Line { vec![rest] } else { quoted.collect() };
        let is_possible = match directive.args {
            Args::One | Args::Line => words.len() == 1,
            Args::OneOrTwo => matches!(words.len(), 1 | 2),
            Args::Two => words.len() == 2,
            Args::List | Args::Section => !words.is_empty(),
        };
        if !is_possible {
            continue;
        }
        let target = match declared.last_mut() {
            Some(domain) if line.starts_with(' ') => directive::Target::Domain(domain),
            _ => directive::Target::Server { settings: &mut settings, declared: &mut declared },
        };
        let resolve = |path: &str| Some(std::path::Path::new("/etc").join(path));
        let read = |_: &std::path::Path| Ok(Some(rest.as_bytes().to_vec()));
        let mut scope =
            Scope { globals: &mut globals, target, origin: Origin::default(), resolve: &resolve, read: &read };
        if let Err(text) = directive.run(&mut scope, &words) {
            assert!(text.len() < 8 * line.len() + 1024, "{text}");
        }
    }
    for md in declared.iter().filter_map(|domain| domain.complete(&settings)) {
        check_form::<ManagedDomain>(&serde_json::to_vec(&md).expect("a form in JSON"));
        assert!(md.covers(&md.name) || md.domains.is_empty());
    }
}

/// Reads a document of the store, or of a CA.
fn documents(data: &[u8]) {
    let Some((kind, text)) = choice(data, 12) else { return };
    match kind {
        0 => check_form::<ManagedDomain>(text),
        1 => check_form::<Job>(text),
        2 => check_form::<OrderRecord>(text),
        3 => check_form::<AccountRecord>(text),
        4 => check_form::<Authorities>(text),
        5 => check_form::<Advice>(text),
        6 => check_form::<Active>(text),
        7 => check_form::<KeySpecs>(text),
        8 => {
            let order: Order = outside::json(text).unwrap_or_default();
            let mut record = OrderRecord::default();
            record.update(&order);
            check_form::<OrderRecord>(&serde_json::to_vec(&record).expect("a form in JSON"));
            order.error.iter().for_each(|problem| check_text(&problem.sentence()));
        }
        9 => authorization(&outside::json(text).unwrap_or_default()),
        10 => match Directory::parse("https://ca.test/dir", text) {
            Ok(directory) => directory.issuers().iter().for_each(check_text),
            Err(err) => check_text(&err.sentence()),
        },
        _ => {
            let result: JobResult = outside::stored(text).unwrap_or_default();
            check_text(&result.to_log("a.test"));
        }
    }
}

fn authorization(authorization: &Authorization) {
    if let Some(name) = authorization.name() {
        let read = DomainName::parse(&name).expect("a name");
        assert_eq!(read.as_str(), name);
    }
    for challenge in &authorization.challenges {
        let names = challenge.issuer_names().map(|names| names.join(" "));
        let uri = challenge.account_uri().map(Option::unwrap_or_default);
        for told in [names, uri] {
            check_text(&told.unwrap_or_else(|err: Malformed| err.to_string()));
        }
    }
    authorization.problem().iter().for_each(|problem| check_text(&problem.sentence()));
}

/// Reads a problem document.
fn problems(data: &[u8]) {
    let Ok(value) = outside::json::<Value>(data) else { return };
    let problem = Problem::from(value);
    check_text(&problem.sentence());
    problem.texts().iter().for_each(check_text);
    assert!(problem.subproblems.len() <= 100);
    assert!(problem.is_acme() || !problem.is_permanent(), "{}", problem.kind);
}

/// Reads renewal information.
fn ari(data: &[u8]) {
    match RenewalInfo::parse(data) {
        Ok(info) => {
            assert!(info.start < info.end);
            for random in [0.0, 0.5, 0.999_999, 1.0] {
                assert!((info.start..=info.end).contains(&info.moment(random)), "{random} of {info:?}");
            }
            info.explanation_url.iter().for_each(|url| {
                assert!(
                    url.starts_with("http") || url::Url::parse(url).is_ok_and(|url| url.scheme().starts_with("http"))
                );
                check_text(url);
            });
        }
        Err(err) => check_text(&err),
    }
}

/// A client of a server whose next answer is given.
struct Canned(Mutex<Response>);

impl HttpClient for Canned {
    fn send(&self, _: &Request) -> Result<Response, HttpError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Reads an answer: the status in two bytes, lines of headers, an empty line, the body.
fn answer(data: &[u8]) -> Option<Response> {
    let (status, rest) = data.split_first_chunk::<2>()?;
    let end = rest.windows(2).position(|pair| pair == b"\n\n").unwrap_or(rest.len());
    let (head, body) = rest.split_at(end);
    let head = String::from_utf8_lossy(head);
    let mut response = Response {
        status: 200 + u16::from_be_bytes(*status) % 400,
        body: body.get(2..).unwrap_or_default().to_vec(),
        ..Response::default()
    };
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .for_each(|(name, value)| response.keep_header(name, value.trim()));
    Some(response)
}

/// Lets a session read an answer in each of the ways in which sessions do it.
fn sessions(data: &[u8]) {
    static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::from_pem(KEY_PEM, None).expect("a key"));
    let Some(response) = answer(data) else { return };
    let clock = Arc::new(SettableClock::new(now()));
    let http = Arc::new(Canned(Mutex::new(response.clone())));
    let mut session = Session::new(http, Arc::clone(&clock) as Arc<dyn Clock>);
    let url = "https://ca.test/resource";
    let told = |err: AcmeError| {
        check_text(&err.sentence());
        let job = err.to_result();
        check_text(&job.detail.as_deref().unwrap_or_default());
        if let Some(at) = err.retry_after() {
            assert!(at <= now() + SignedDuration::from_hours(7 * 24), "{at}");
        }
    };
    let directory = session.directory(url).map_err(told).ok();
    let usual = || {
        let named = serde_json::json!({ "newNonce": url, "newAccount": url, "newOrder": url });
        Directory::parse(url, named.to_string().as_bytes()).expect("a directory")
    };
    let directory = directory.unwrap_or_else(usual);
    session.nonce = None;
    let posted = session.post(&directory, url, &KEY, KeyRef::Kid(url), &serde_json::json!({}));
    if let Ok(response) = posted.map_err(told) {
        let _ = json::<Order>(url, &response).map_err(told);
        let _ = location(&directory, url, &response).map_err(told).inspect(check_text);
    }
    if let Some(at) = session.retry_after(&response) {
        assert!(at <= now() + SignedDuration::from_hours(7 * 24), "{at}");
    }
}

/// Reads certificates: one in DER, or a chain in PEM.
fn chains(data: &[u8]) {
    let Some((kind, data)) = choice(data, 3) else { return };
    let parsed = match kind {
        0 => Certificate::from_der(data).map(|leaf| leaf.to_pem().into_bytes()).unwrap_or_default(),
        1 => pem("CERTIFICATE", data),
        _ => data.to_vec(),
    };
    let chain = match Chain::from_der_or_pem(&parsed) {
        Ok(chain) => chain,
        Err(err) => return check_text(&err),
    };
    let again = Chain::from_pem(&chain.to_pem()).expect("the written form");
    assert_eq!(again, chain);
    let leaf = chain.leaf();
    let summary = leaf.summary();
    check_text(&summary.issuer_name());
    assert!(summary.validity() == (leaf.not_before(), leaf.not_after()));
    assert!(summary.serial_hex().len() <= 2 * data.len().max(1));
    for url in [leaf.ocsp_uri(), summary.issuer_uri().map(str::to_owned)].into_iter().flatten() {
        check_text(&url);
    }
    for name in leaf.names() {
        check_text(&name);
        let _ = DomainName::parse(&name).map(|name| leaf.covers(&name));
    }
    leaf.scts().iter().for_each(|sct| assert_eq!(sct.log_id.len(), 64));
    match chain.check() {
        Ok(()) => assert!(chain.certificates().len() <= Chain::MOST),
        Err(err) => check_text(&err),
    }
    let _ = chain.is_linked();
    leaf.issuer_common_name().iter().for_each(check_text);
}

/// Verifies a response about one certificate: nothing but what its issuer signed is an answer.
fn ocsp_responses(data: &[u8]) {
    static ABOUT: LazyLock<(Certificate, OcspIssuer)> = LazyLock::new(|| {
        let chain = Chain::from_pem(CHAIN_PEM).expect("a chain");
        let issuer = OcspIssuer::new(&chain.certificates()[1]).expect("an issuer");
        (chain.leaf().clone(), issuer)
    });
    let (leaf, issuer) = &*ABOUT;
    match read_ocsp_response(data, leaf, issuer, now()) {
        Ok(answer) => {
            let _ = ocsp::check(&answer, now()).map(|(from, until)| assert!(until > now() && from < until));
            // The only signed response among the inputs, and what follows it is not read.
            assert!(
                GOOD_RESPONSE.get(60..).is_some_and(|signed| data.windows(signed.len()).any(|part| part == signed))
            );
        }
        Err(err) => check_text(&err),
    }
}

/// Reads a key: PEM, DER in PEM, or JSON. No derivation of a key takes more rounds than the limit.
fn keys(data: &[u8]) {
    let Some((kind, data)) = choice(data, 4) else { return };
    let text = match kind {
        0 => pem("ENCRYPTED PRIVATE KEY", data),
        1 => pem("PRIVATE KEY", data),
        _ => data.to_vec(),
    };
    let rounds = if kind == 0 { rounds(data).unwrap_or_default() } else { 0 };
    if (CHEAP_ROUNDS..=MOST_ROUNDS).contains(&rounds) {
        return;
    }
    let read = if kind == 3 {
        account_key(&text).map_err(|err| err.to_string())
    } else {
        PrivateKey::from_pem(&text, Some(PASS)).map_err(|err| err.to_string())
    };
    match read {
        Ok(key) => {
            assert!(rounds <= MOST_ROUNDS, "{rounds}");
            // OpenSSL reads keys that it cannot write, such as those on curves without a name.
            if let Ok(written) = key.to_pem() {
                let again = PrivateKey::from_pem(&written, None).expect("the written form");
                // OpenSSL does not compare keys of all types, not even with themselves.
                assert_eq!(again.is_same(&key), key.is_same(&key));
            }
        }
        Err(text) => check_text(&text),
    }
}

/// Returns the rounds in the parameters of PBKDF2, an INTEGER after the salt.
fn rounds(der: &[u8]) -> Option<u64> {
    let at = der.windows(PBKDF2.len()).position(|part| part == PBKDF2)?;
    let [0x30, _, 0x04, salt, rest @ ..] = der.get(at + PBKDF2.len()..)? else { return None };
    let [0x02, length, rest @ ..] = rest.get(usize::from(*salt)..)? else { return None };
    let digits = rest.get(..usize::from(*length))?;
    Some(digits.iter().fold(0, |sum: u64, digit| sum.saturating_mul(256).saturating_add((*digit).into())))
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let body = data_encoding::BASE64.encode(der);
    let lines = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n").into_bytes()
}

/// Reads a value of a directive, of the store or of a request.
fn values(data: &[u8]) {
    let Some((kind, data)) = choice(data, 13) else { return };
    let Ok(text) = std::str::from_utf8(data) else { return };
    match kind {
        0 => name(text),
        1 => duration(text),
        2 => {
            if let Ok(window) = Window::parse(text) {
                assert_eq!(Window::parse(&window.to_string()), Ok(window));
                assert!(window.length(SignedDuration::from_hours(2160)) <= SignedDuration::from_hours(100 * 366 * 24));
            }
        }
        3 => {
            if let Ok(window) = DailyWindow::parse(text) {
                assert!((0..24 * 60).any(|minute| window.contains(minute)));
            }
        }
        4 => {
            let words: Vec<&str> = text.split_whitespace().collect();
            let specs = KeySpecs::parse(&words).ok();
            specs.iter().for_each(|specs| check_form::<KeySpecs>(&serde_json::to_vec(specs).expect("a form in JSON")));
        }
        5 => {
            let _ = PortMap::default().set(text);
        }
        6 => {
            let (pattern, name) = text.split_once(' ').unwrap_or((text, "a.test"));
            let Ok(name) = DomainName::parse(name) else { return };
            let pattern = NamePattern::parse(pattern);
            assert!(!pattern.matches(&name) || NamePattern::parse("*").matches(&name));
        }
        7 => {
            if let Some(time) = parse_gmt(text) {
                assert_eq!(parse_gmt(&format_gmt(time)).map(Timestamp::as_second), Some(time.as_second()));
            }
        }
        8 => {
            if let Some(bytes) = base64url_decode(text) {
                assert_eq!(base64url_decode(&base64url(&bytes)), Some(bytes));
            }
            assert!(base64_decode(text).is_none_or(|bytes| bytes.len() <= text.len()));
        }
        9 => {
            if let Some(setup) = ChallengeSetup::parse(text) {
                assert_eq!(ChallengeSetup::parse(&setup.to_string()), Some(setup));
            }
        }
        10 => {
            let uri = contact_uri(text);
            assert_eq!(contact_uri(&uri), uri);
            let _ = (contact_flaw(&uri), check_mail(text));
        }
        11 => {
            let response = Response { headers: vec![("Retry-After".into(), text.into())], ..Response::default() };
            assert!(response.retry_after(now()).is_none_or(|at| at < Timestamp::MAX));
        }
        _ => check_text(&crate::model::ca_name(text).len()),
    }
}

fn name(text: &str) {
    match DomainName::parse(text) {
        Ok(name) => {
            assert_eq!(DomainName::parse(name.as_str()).as_ref(), Ok(&name));
            // The name is that of a directory in the store.
            let forbidden = |c: char| c == '/' || c.is_control() || c.is_whitespace();
            assert!(!name.as_str().starts_with('.') && !name.as_str().contains(forbidden), "{name}");
            assert!((1..=253).contains(&name.as_str().len()));
            assert!(name.covers(&name) || name.is_wildcard());
            let _ = name.to_unicode();
        }
        Err(err) => {
            assert!(!err.to_string().chars().any(char::is_control) && err.to_string().len() < 12 * text.len() + 256)
        }
    }
}

fn duration(text: &str) {
    for unit in [Unit::Days, Unit::Seconds] {
        let Ok(value) = parse_duration(text, unit) else { continue };
        assert_eq!(parse_duration(&format_duration(value), Unit::Seconds), Ok(value));
        assert!(value.abs() <= SignedDuration::from_hours(100 * 366 * 24));
    }
}

const KEY_PEM: &[u8] = include_bytes!("../../fuzz/fixtures/key.pem");
const CHAIN_PEM: &[u8] = include_bytes!("../../fuzz/fixtures/chain.pem");
const GOOD_RESPONSE: &[u8] = include_bytes!("../../fuzz/fixtures/response.der");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn inputs_that_were_found_keep_their_properties() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let mut size = 0;
        for (name, target) in TARGETS {
            let files = std::fs::read_dir(corpus.join(name)).unwrap();
            let inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
            assert!(inputs.len() > 10, "{name}");
            inputs.iter().for_each(|input| target(input));
            size += inputs.iter().map(Vec::len).sum::<usize>();
        }
        assert!(size < 256 << 10, "{size} bytes are in the repository");
    }
}
