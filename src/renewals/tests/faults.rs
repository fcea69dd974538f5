//! Tests of every ACME operation with every fault: message and time of the next attempt, as an administrator sees them in job.json
//! and the server's log, and that the next run without faults succeeds.

use crate::acme::AccountScope;
use crate::clock::Clock as _;
use crate::crypto::{PrivateKey, self_signed};
use crate::http::{HttpError, Limit, Response};
use crate::model::{DomainName, JobResult, Status};
use crate::renewals::Renewals;
use crate::store::{Aspect, Group};
use crate::testing::ca::Operation::{
    Account, Authorization, Certificate, Challenge, Directory, Finalize, NewAccount, NewOrder, Nonce, Order,
};
use crate::testing::ca::{FakeCa, Fault, Operation, answer, problem, with_header};
use crate::testing::{TestServer, logged, p256, watch_log};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const ALL: &[Operation] =
    &[Directory, Nonce, NewAccount, Account, NewOrder, Order, Authorization, Challenge, Finalize, Certificate];
const SIGNED: &[Operation] = &[NewAccount, Account, NewOrder, Order, Authorization, Challenge, Finalize, Certificate];
/// Operations whose refusal is not about the account.
const ORDERING: &[Operation] = &[NewAccount, NewOrder, Order, Authorization, Challenge, Finalize, Certificate];
/// Operations whose refusal is neither about the account nor about its contacts.
const ORDERS: &[Operation] = &[NewOrder, Order, Authorization, Challenge, Finalize, Certificate];
/// Operations of orders, without the one that waits for the order to become ready.
const ORDERS_WITHOUT_CSR: &[Operation] = &[NewOrder, Order, Authorization, Challenge, Certificate];

const AGAIN: &str = "the answer may come from something other than the CA, such as a proxy; the next attempt follows";
const KEPT: &str = "the account stays in use, and the next attempt follows; if the CA will not take it again, 'a2md acme delreg' \
                    and a restart let the server register another";
const CONTACT: &str = "Unsuccessful in contacting ACME server at <{url}>: ";

/// The consequence of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Next {
    /// The run succeeds in spite of the fault.
    Nothing,
    /// The next attempt comes after the delay of a first failure.
    Soon,
    /// The next attempt comes a day later.
    Tomorrow,
    /// The next attempt comes after this number of seconds, as the CA asked.
    After(i64),
}

use Next::{After, Nothing, Soon, Tomorrow};

/// A row of a table: a fault in these operations has this message and this time of the next attempt. In the message, `{url}` is the
/// URL of the request, `{made}` the URL of the resource that it made, `{status}` the HTTP status of success, `{again}` a common
/// advice, `{kept}` the advice for an account, `{contact}` the beginning of the message for the directory.
type Row = (&'static [Operation], Fault, &'static str, Next);

/// A run of a domain's renewal with a fault.
struct Case {
    name: String,
    operation: Operation,
    server: TestServer,
}

impl Case {
    fn new(operation: Operation) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        watch_log();
        let name = format!("fault{}.test", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let server =
            if operation == NewAccount { TestServer::without_account(&[&name]) } else { TestServer::new(&[&name]) };
        if operation == NewAccount {
            // An RSA key takes long to generate.
            let scope = AccountScope { ca_url: FakeCa::DIRECTORY.to_owned(), eab: None };
            let key = PrivateKey::generate(&p256()).unwrap();
            let draft = crate::accounts::draft_item(&scope);
            server.documents.save_key(Group::Staging, &draft, &Aspect::AccountKey, &key).unwrap();
        }
        server.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (1, 1));
        Self { name, operation, server }
    }

    fn sentence(&self, says: &str) -> String {
        let url = |path: &str| format!("https://ca.test/{path}");
        let (asked, made) = match self.operation {
            Directory => (url("directory"), url("directory")),
            Nonce => (url("nonce"), url("nonce")),
            NewAccount => (url("new-account"), url("account/0")),
            Account => (url("account/0"), url("account/0")),
            NewOrder => (url("new-order"), url("order/0")),
            Order => (url("order/0"), url("order/0")),
            Authorization => (url("authorization/0"), url("authorization/0")),
            Challenge => (url("challenge/0"), url("challenge/0")),
            Finalize => (url("finalize/0"), url("finalize/0")),
            Certificate => (url("certificate/0"), url("certificate/0")),
            Operation::RenewalInfo => (url("renewal-info"), url("renewal-info")),
            other @ (Operation::RevokeCert | Operation::KeyChange) => panic!("{other:?} is of no renewal"),
        };
        let contact = if self.operation == Directory { CONTACT } else { "" };
        let status = if matches!(self.operation, NewAccount | NewOrder) { "201" } else { "200" };
        let parts = [
            ("{contact}", contact),
            ("{again}", AGAIN),
            ("{kept}", KEPT),
            ("{status}", status),
            ("{name}", &self.name),
        ];
        let parts = parts.into_iter().chain([("{url}", asked.as_str()), ("{made}", &made)]);
        parts.fold(says.to_owned(), |says, (part, text)| says.replace(part, text))
    }

    /// Runs once with the fault, checks the result, and checks that the next run without a fault succeeds.
    fn check(&self, context: &str, says: &str, kind: Option<&str>, next: Next) {
        let server = &self.server;
        let name = self.name.as_str();
        let context = format!("{:?} {context}", self.operation);
        let renewals = server.run(false);
        let job = server.staged_job(name);
        if next != Nothing {
            assert_eq!((job.finished, job.errors), (false, 1), "{context}");
            let last = job.last.clone().unwrap();
            let detail = last.detail.clone().unwrap_or_default();
            let sentence = self.sentence(says);
            assert_eq!(detail, sentence, "{context}");
            assert!(last.status.0 != 0 && last.status_description == last.status.text(), "{context}");
            assert!(last.activity.is_some(), "{context}");
            let own = |kind: &&str| kind.starts_with("challenge-");
            let kind = kind
                .map(|kind| if own(&kind) { kind.to_owned() } else { format!("urn:ietf:params:acme:error:{kind}") });
            let problem = last.problem.clone().unwrap_or_default();
            assert!(kind.map_or(!problem.is_empty(), |kind| problem == kind), "{context}: {problem}");
            let mut entries = job.log.as_ref().unwrap().entries.iter();
            let entry = entries.find(|entry| entry.kind == "renewal-error").unwrap();
            assert_eq!(entry.detail.as_deref(), Some(&*sentence), "{context}");
            let line = format!("processing {name}: {}", last.to_log(name));
            assert_eq!(logged("AH10056", &line), 1, "{context}");
            assert_eq!(logged("AH10057", &format!("{name}: encountered error for the 1. time")), 1, "{context}");
            self.check_wait(&context, &renewals, next);
        }
        assert_eq!(logged("AH10056", &format!("processing {name}:")), usize::from(next != Nothing), "{context}");
        let job = server.staged_job(name);
        assert_eq!((job.finished, job.errors, job.next_run), (true, 0, None), "{context}: {:?}", job.last);
        assert!(server.ca.accounts() <= 2, "{context}");
        server.ca.check();
    }

    /// Checks that the next attempt begins at its time and not before, and succeeds.
    fn check_wait(&self, context: &str, renewals: &Renewals, next: Next) {
        let server = &self.server;
        let name = self.name.as_str();
        let wait = server.staged_job(name).next_run.unwrap().duration_since(server.clock.now()).as_secs();
        let expected = match next {
            Nothing => 0,
            Soon => 30,
            Tomorrow => 86_400,
            After(seconds) => seconds,
        };
        assert!((expected - 20..=expected).contains(&wait), "{context}: {wait}");
        server.ca.recover();
        let asked = || ALL.iter().map(|operation| server.ca.count(*operation)).sum::<usize>();
        let before = asked();
        server.clock.advance(SignedDuration::from_secs(wait - 5));
        server.go_on(renewals);
        assert_eq!(asked(), before, "{context}: not yet");
        server.clock.advance(SignedDuration::from_secs(7));
        server.go_on(renewals);
        // A CA that limits the rate without Retry-After, or does not answer, gets no requests from any domain for a minute.
        let wants_fewer = |last: &JobResult| {
            let is_status = |detail: &String| detail.contains("429") || detail.contains("503");
            [Status::BAD_ARGUMENT, Status::TIMED_OUT].contains(&last.status)
                || last.detail.as_ref().is_some_and(is_status)
        };
        if server.staged_job(name).last.as_ref().is_some_and(wants_fewer) {
            server.clock.advance(SignedDuration::from_mins(1));
            server.go_on(renewals);
        }
    }
}

fn check(rows: &[Row]) {
    for (operations, fault, says, next) in rows {
        for operation in *operations {
            let case = Case::new(*operation);
            case.server.ca.fail(*operation, fault.clone());
            let kind = match fault {
                Fault::Answer(answer) => serde_json::from_slice::<crate::model::Problem>(&answer.body).ok(),
                _ => None,
            };
            let kind = kind.filter(|problem| problem.is_acme()).map(|problem| problem.kind);
            let kind = kind.as_deref().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"));
            case.check(&format!("{fault:?}"), says, kind, *next);
        }
    }
}

fn ca() -> String {
    "ca.test".to_owned()
}

fn text(reason: &str) -> String {
    reason.to_owned()
}

#[test]
fn failed_requests() {
    let rows: &[Row] = &[
        (
            ALL,
            Fault::Fail(|| HttpError::Connect {
                host: ca(),
                reason: text("Connection refused"),
                status: Status::REFUSED,
            }),
            "{contact}no connection to ca.test: Connection refused; check that the URL is right and that this machine may \
             connect to it; if that takes a proxy, set MDHttpProxy",
            Soon,
        ),
        (
            ALL,
            Fault::Fail(|| HttpError::Connect {
                host: ca(),
                reason: text("Permission denied"),
                status: Status::DENIED,
            }),
            "{contact}no connection to ca.test: Permission denied; the system does not permit the connection: with SELinux, \
             'setsebool -P httpd_can_network_connect on' does; without, see its firewall",
            Soon,
        ),
        (
            ALL,
            Fault::Fail(|| HttpError::Resolve { host: ca(), reason: text("no such name") }),
            "{contact}the name of ca.test cannot be resolved: no such name; check that the name is right and that this \
             machine has a name server that answers",
            Soon,
        ),
        (
            ALL,
            Fault::Fail(|| HttpError::TimedOut { host: ca(), reason: text("stalled") }),
            "{contact}the request to ca.test timed out: stalled; check that no firewall drops the connection; the next attempt follows",
            Soon,
        ),
        (
            ALL,
            Fault::Fail(|| HttpError::Other { host: ca(), reason: text("3 bytes remaining to read") }),
            "{contact}the request to ca.test failed: 3 bytes remaining to read; the next attempt follows",
            Soon,
        ),
        (ALL, Fault::Drop, "{contact}the request to ca.test failed: connection reset; the next attempt follows", Soon),
        (
            ALL,
            Fault::DropAnswer,
            "{contact}the request to ca.test failed: connection reset; the next attempt follows",
            Soon,
        ),
        (
            ALL,
            Fault::Fail(|| HttpError::TooLarge { host: ca(), limit: Limit::Bytes(1 << 20) }),
            "{contact}the answer from ca.test has more than 1048576 bytes; check that the URL is the CA's; the next attempt follows",
            Soon,
        ),
        (
            ALL,
            Fault::Fail(|| HttpError::Certificate { host: ca(), reason: text("self-signed") }),
            "{contact}the certificate of ca.test is not trusted: self-signed; if it was issued by a CA of your own, name its \
             root certificate in MDCACertificateFile",
            Soon,
        ),
        (
            ALL,
            Fault::Fail(|| HttpError::Tls { host: ca(), reason: text("wrong version") }),
            "{contact}no TLS connection to ca.test: wrong version; check that the URL is right and that nothing intercepts the \
             connection",
            Soon,
        ),
        (
            ALL,
            Fault::Fail(|| {
                let proxy = text("proxy.test:3128");
                let reason = text("Connection refused");
                HttpError::Proxy { proxy, source_name: "MDHttpProxy", reason, status: Status::GENERAL, fault: None }
            }),
            "{contact}the proxy proxy.test:3128 of MDHttpProxy cannot be used: Connection refused; check that the proxy runs and lets \
             this machine connect to the CA",
            Soon,
        ),
        (ALL, Fault::Slow(SignedDuration::from_secs(60)), "", Nothing),
    ];
    check(rows);
}

#[test]
fn unexpected_answers() {
    const READ: &[Operation] = &[NewAccount, Account, NewOrder, Order, Authorization, Finalize];
    const NO_JSON: &str =
        "unable to process the response from <{made}>: http-status={status}, content-type=application/json; {again}";
    const NO_DIRECTORY: &str = "Unable to understand ACME server response from <{url}>. Wrong ACME protocol version or \
                                link?; check that MDCertificateAuthority is the URL of the CA's directory";
    const NO_CHAIN: &str = "the certificate from <{url}> cannot be used: it contains no certificate; {again}";
    let empty = Fault::Alter(|answer| answer.body.clear());
    let cut = Fault::Alter(|answer| answer.body.truncate(answer.body.len() / 2));
    let page = Fault::Alter(|answer| answer.body = b"<html>sorry</html>".to_vec());
    let html = Fault::Answer(answer(200, "text/html", "<html>sorry</html>"));
    let rows: &[Row] = &[
        (READ, empty.clone(), NO_JSON, Soon),
        (READ, cut.clone(), NO_JSON, Soon),
        (READ, page.clone(), NO_JSON, Soon),
        (&[Directory], empty.clone(), NO_DIRECTORY, Soon),
        (&[Directory], cut.clone(), NO_DIRECTORY, Soon),
        (&[Directory], page.clone(), NO_DIRECTORY, Soon),
        (&[Directory], html.clone(), NO_DIRECTORY, Soon),
        (
            &[Directory],
            Fault::Answer(answer(200, "application/json", r#"{"new-authz": "https://ca.test/new-authz"}"#)),
            "The CA at <{url}> speaks ACME version 1, which is no longer supported. Use the CA's version 2 URL.",
            Tomorrow,
        ),
        (
            &[Account, Order, Authorization, Finalize],
            html.clone(),
            "unable to process the response from <{url}>: http-status=200, content-type=text/html; {again}",
            Soon,
        ),
        (&[NewAccount, NewOrder], html.clone(), "the CA's answer from <{url}> lacks a Location; {again}", Soon),
        (&[Certificate], empty.clone(), NO_CHAIN, Soon),
        (
            &[Certificate],
            // Half of the body may end right after the first certificate, and then is a chain.
            Fault::Alter(|answer| answer.body.truncate(answer.body.len() - 20)),
            "the certificate from <{url}> cannot be used: certificate 2 cannot be read: its end is missing; {again}",
            Soon,
        ),
        (&[Certificate], page.clone(), NO_CHAIN, Soon),
        (&[Certificate], html, NO_CHAIN, Soon),
        // These answers have their content in headers.
        (&[Nonce, Challenge], empty, "", Nothing),
        (&[Nonce, Challenge], cut, "", Nothing),
        (&[Nonce, Challenge], page, "", Nothing),
        // The body counts.
        (ALL, Fault::Alter(|answer| answer.headers.retain(|(name, _)| name != "Content-Type")), "", Nothing),
        (
            ALL,
            Fault::Alter(|answer| {
                answer.headers.iter_mut().for_each(|(name, value)| {
                    if name == "Content-Type" {
                        *value = "text/plain; charset=utf-8".to_owned();
                    }
                })
            }),
            "",
            Nothing,
        ),
    ];
    check(rows);
}

#[test]
fn missing_headers() {
    let without_nonce = Fault::Alter(|answer| answer.headers.push(("No-Nonce".to_owned(), String::new())));
    let without_location = Fault::Alter(|answer| answer.headers.retain(|(name, _)| name != "Location"));
    let rows: &[Row] = &[
        (SIGNED, without_nonce.clone(), "", Nothing),
        (&[Nonce], without_nonce, "the CA's answer from <{url}> lacks a Replay-Nonce; {again}", Soon),
        (
            &[NewAccount, NewOrder],
            without_location.clone(),
            "the CA's answer from <{url}> lacks a Location; {again}",
            Soon,
        ),
        (
            &[Directory, Nonce, Account, Order, Authorization, Challenge, Finalize, Certificate],
            without_location,
            "",
            Nothing,
        ),
    ];
    check(rows);
}

#[test]
fn problem_documents() {
    const ADDRESSES: &str = "no; check that all addresses of the name, IPv6 too, lead to this server and that nothing else \
                             answers there";
    const NAME: &str = "no; take the name out of the domain, or use another CA";
    const KEY: &str = "no; the CA does not take this kind of account key";
    let rows = [
        ("accountDoesNotExist", "no; the next attempt registers a new account", Soon),
        (
            "agreementRequired",
            "no; read the CA's terms and, if you agree, set MDCertificateAgreement accepted",
            Tomorrow,
        ),
        ("alreadyReplaced", "no", Soon),
        ("alreadyRevoked", "no", Tomorrow),
        ("badCSR", "no; check which keys and extensions the CA takes: MDPrivateKeys, MDMustStaple", Tomorrow),
        ("badPublicKey", KEY, Tomorrow),
        ("badRevocationReason", "no", Tomorrow),
        ("badSignatureAlgorithm", KEY, Tomorrow),
        ("caa", "no; the CAA records of the name must permit this CA", Soon),
        ("compound", "no", Soon),
        (
            "connection",
            "no; the CA must reach the name from outside: check its addresses, IPv6 too, firewalls and MDPortMap",
            Soon,
        ),
        ("dns", "no; check that the name servers of the name answer, to everybody", Soon),
        (
            "externalAccountRequired",
            "no; set MDExternalAccountBinding to the values that the CA gives its customers",
            Tomorrow,
        ),
        ("incorrectResponse", ADDRESSES, Soon),
        ("invalidContact", "no; correct MDContactEmail", Tomorrow),
        ("invalidEmail", "no; correct MDContactEmail", Tomorrow),
        ("invalidProfile", "no; choose one of the CA's profiles with MDProfile", Tomorrow),
        ("malformed", "no", Tomorrow),
        ("onionCAARequired", "no", Tomorrow),
        ("orderNotReady", "no", Soon),
        ("rateLimited", "no; the renewal continues when the CA permits", Soon),
        ("rejectedIdentifier", NAME, Tomorrow),
        ("serverInternal", "no; the CA has to fix this", Soon),
        (
            "tls",
            "no; check that port 443 of the name leads to this server and that its Protocols have acme-tls/1",
            Soon,
        ),
        ("unauthorized", "no", Soon),
        ("unsupportedContact", "no; correct MDContactEmail", Tomorrow),
        ("unsupportedIdentifier", NAME, Tomorrow),
        ("userActionRequired", "no; do what the CA asks of the holder of the account", Tomorrow),
        // An error type that is not defined yet.
        ("tomorrow", "no", Soon),
    ];
    let rows = rows.map(|(kind, says, next)| -> [Row; 3] {
        let fault = Fault::Answer(problem(403, kind, "no"));
        let of_account: Row = match kind {
            // A new account is registered at once.
            "accountDoesNotExist" => (&[Account], fault.clone(), "", Nothing),
            "malformed" | "unauthorized" => {
                (&[Account], fault.clone(), "the CA refuses requests of account {url}: no; {kept}", Soon)
            }
            _ => (&[Account], fault.clone(), says, next),
        };
        let of_registration = match kind {
            "invalidContact" | "invalidEmail" | "unsupportedContact" => {
                "the CA refuses the contact 'mailto:admin@x.org' (MDContactEmail in :0): no; correct MDContactEmail"
            }
            _ => says,
        };
        let orders = if kind == "orderNotReady" { ORDERS_WITHOUT_CSR } else { ORDERS };
        [(&[NewAccount], fault.clone(), of_registration, next), (orders, fault, says, next), of_account]
    });
    check(rows.as_flattened());
    let refused = Fault::Answer(problem(400, "badNonce", "stale"));
    let not_ready = Fault::Answer(problem(403, "orderNotReady", "no"));
    check(&[(SIGNED, refused, "", Nothing), (&[Finalize], not_ready, "", Nothing)]);
}

/// Returns a problem document with all members that it can have, in an answer with this content type.
fn elaborate(content_type: &str) -> Response {
    let part = |kind: &str, name: &str| {
        json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": format!("{kind} it is"),
            "identifier": { "type": "dns", "value": name } })
    };
    let body = json!({
        "type": "urn:ietf:params:acme:error:compound",
        "detail": "Errors during the order",
        "instance": "https://ca.test/people/1",
        "subproblems": [part("caa", "a.test"), part("rejectedIdentifier", "b.test")],
    });
    let links = "<https://ca.test/limits>;rel=\"help\", <https://ca.test/directory>;rel=\"index\"";
    with_header(answer(400, content_type, &body.to_string()), "Link", links)
}

#[test]
fn all_details_of_a_problem_are_reported_whatever_its_content_type() {
    const SAYS: &str = "Errors during the order (a.test: caa it is; b.test: rejectedIdentifier it is), see \
                        https://ca.test/people/1, see https://ca.test/limits; the CAA records of the name must permit \
                        this CA";
    for content_type in ["application/problem+json; charset=utf-8", "application/json", "text/plain", "text/html", ""] {
        for operation in [NewOrder, Finalize] {
            let case = Case::new(operation);
            let bare = case.name.clone();
            case.server.ca.fail(operation, Fault::Answer(elaborate(content_type)));
            case.check(content_type, SAYS, Some("compound"), Tomorrow);
            assert_eq!(logged("AH10056", &format!("md[{bare}] while[")), 1);
            assert_eq!(logged("AH10056", &format!("{bare}] while[")), 1);
        }
    }
    let terms = with_header(
        problem(403, "userActionRequired", "new terms"),
        "Link",
        "<https://ca.test/terms>; rel=terms-of-service",
    );
    check(&[(
        &[NewOrder],
        Fault::Answer(terms),
        "new terms, see https://ca.test/terms; do what the CA asks of the holder of the account",
        Tomorrow,
    )]);
    // An error of the directory is reported too, and the directory is read again soon.
    check(&[(
        &[Directory],
        Fault::Answer(elaborate("application/problem+json")),
        "Unsuccessful in contacting ACME server at <{url}>: the server answered with HTTP status 400: Errors during the order (a.test: caa it is; b.test: \
         rejectedIdentifier it is), see https://ca.test/people/1, see https://ca.test/limits; the next attempt follows",
        Soon,
    )]);
}

#[test]
fn subproblems_are_in_job_and_log() {
    let case = Case::new(NewOrder);
    case.server.ca.fail(NewOrder, Fault::Answer(elaborate("application/problem+json")));
    drop(case.server.run(false));
    let last = case.server.staged_job(&case.name).last.unwrap();
    assert_eq!(last.subproblems[1]["identifier"]["value"], "b.test");
    let line = format!(
        "processing {0}: md[{0}] while[Creating new order] problem[urn:ietf:params:acme:error:compound] detail[Errors during",
        case.name
    );
    assert_eq!(logged("AH10056", &line), 1);
    let line = last.to_log(&case.name);
    assert!(line.ends_with("] subproblems[a.test: caa it is; b.test: rejectedIdentifier it is]"), "{line}");
    assert_eq!(logged("AH10056", &line), 1);
}

#[test]
fn http_statuses_without_a_problem_document() {
    const PAGE: &str = "<html>sorry</html>";
    let page = |status| Fault::Answer(answer(status, "text/html", PAGE));
    let mut rows: Vec<Row> = Vec::new();
    for (status, says, directory) in [
        (
            400,
            "unexpected http status: 400 from <{url}>; {again}",
            "Unsuccessful in contacting ACME server at <{url}>: the server answered with HTTP status 400; check that MDCertificateAuthority is the URL of the CA's directory",
        ),
        (
            403,
            "unexpected http status: 403 from <{url}>; {again}",
            "Unsuccessful in contacting ACME server at <{url}>: the server answered with HTTP status 403; check that MDCertificateAuthority is the URL of the CA's directory",
        ),
        (
            404,
            "unexpected http status: 404 from <{url}>; {again}",
            "Unsuccessful in contacting ACME server at <{url}>: the server answered with HTTP status 404; check that MDCertificateAuthority is the URL of the CA's directory",
        ),
        (
            500,
            "unexpected http status: 500 from <{url}>; the CA has to fix this; the next attempt follows",
            "Unsuccessful in contacting ACME server at <{url}>: the server answered with HTTP status 500; the next attempt follows",
        ),
        (
            503,
            "unexpected http status: 503 from <{url}>; the CA has to fix this; the next attempt follows",
            "Unsuccessful in contacting ACME server at <{url}>: the server is unavailable (HTTP status 503); the next attempt follows",
        ),
    ] {
        rows.push((ORDERING, page(status), says, Soon));
        rows.push((&[Account], page(status), of_account(status).unwrap_or(says), Soon));
        rows.push((&[Directory, Nonce], page(status), directory, Soon));
    }
    let moved = Fault::Answer(with_header(answer(302, "text/html", PAGE), "Location", "https://new.test/"));
    rows.push((
        SIGNED,
        moved.clone(),
        "unexpected http status: 302 from <{url}>, a redirect to <https://new.test/>, which is not followed; check whether the \
         CA has a new URL for MDCertificateAuthority",
        Soon,
    ));
    rows.push((
        &[Directory, Nonce],
        moved,
        "Unsuccessful in contacting ACME server at <{url}>: the server answered with HTTP status 302, a redirect to \
         <https://new.test/>, which is not followed; check whether the CA has a new URL for MDCertificateAuthority",
        Soon,
    ));
    let other = Fault::Answer(answer(409, "application/json", r#"{"detail": "please wait", "code": 7}"#));
    let blank = r#"{"type": "about:blank", "title": "Conflict", "detail": "please wait"}"#;
    let blank = Fault::Answer(answer(409, "application/problem+json", blank));
    rows.push((SIGNED, blank, "unexpected http status: 409 from <{url}>: please wait; {again}", Soon));
    rows.push((SIGNED, other, "unexpected http status: 409 from <{url}>: please wait; {again}", Soon));
    check(&rows);
}

#[test]
fn retry_after_sets_the_next_attempt() {
    const LIMITED: &str = "too many; the renewal continues when the CA permits";
    const UNAVAILABLE: &str =
        "unexpected http status: 503 from <{url}>; the CA has to fix this; the next attempt follows";
    let limited = |text| Fault::Answer(with_header(problem(429, "rateLimited", "too many"), "Retry-After", text));
    let unavailable = |text| Fault::Answer(with_header(answer(503, "text/html", "<html>"), "Retry-After", text));
    let rows: &[Row] = &[
        (SIGNED, limited("3600"), LIMITED, After(3600)),
        (SIGNED, unavailable("7200"), UNAVAILABLE, After(7200)),
        // The clock of these tests begins at 22:13:20.
        (SIGNED, unavailable("Tue, 14 Nov 2023 23:13:20 GMT"), UNAVAILABLE, After(3600)),
        (SIGNED, limited("604800"), LIMITED, After(604_800)),
        (&[NewOrder], limited("1000000"), LIMITED, After(604_800)),
        (&[NewOrder], limited("99999999999999999999"), LIMITED, After(604_800)),
        (&[NewOrder], limited("Mon, 14 Nov 2033 23:13:20 GMT"), LIMITED, After(604_800)),
        // Retry-After is a lower limit only.
        (&[NewOrder], limited("1"), LIMITED, Soon),
        (&[NewOrder], limited("soon"), LIMITED, Soon),
        (
            &[Directory, Nonce],
            unavailable("7200"),
            "Unsuccessful in contacting ACME server at <{url}>: the server is unavailable (HTTP status 503); the next attempt follows",
            After(7200),
        ),
        (
            &[Directory, Nonce],
            limited("3600"),
            "Unsuccessful in contacting ACME server at <{url}>: the server answered with HTTP status 429: too many; the next attempt follows",
            After(3600),
        ),
    ];
    check(rows);
}

#[test]
fn refused_nonces() {
    for operation in SIGNED {
        let case = Case::new(*operation);
        case.server.ca.fail_times(*operation, 25, Fault::RefuseNonce);
        case.check("25 times", "", None, Nothing);
        let case = Case::new(*operation);
        case.server.ca.fail_times(*operation, 26, Fault::RefuseNonce);
        let says = "the CA did not accept the nonce; servers of the CA, or a proxy, may not share their nonces; the next attempt follows";
        case.check("26 times", says, None, Soon);
    }
}

/// Returns the message for an account whose requests get this HTTP status, where that is not the one for all requests.
fn of_account(status: u16) -> Option<&'static str> {
    match status {
        403 => Some("the CA refuses requests of account {url}: unexpected http status: 403 from <{url}>; {kept}"),
        404 => Some("the CA refuses requests of account {url}: unexpected http status: 404 from <{url}>; {kept}"),
        _ => None,
    }
}

/// Checks a run with a CA that misbehaves for longer than one request.
fn check_behaviour(
    operation: Operation,
    prepare: impl FnOnce(&TestServer),
    says: &str,
    kind: Option<&str>,
    next: Next,
) {
    let case = Case::new(operation);
    prepare(&case.server);
    case.check(says, says, kind, next);
}

#[test]
fn accounts_orders_and_authorizations_are_in_a_wrong_state() {
    for status in ["deactivated", "revoked", "gone"] {
        check_behaviour(Account, |server| server.ca.set_accounts(status), "", None, Nothing);
    }
    let body = |text: &'static str| -> fn(&mut Response) {
        match text {
            "invalid" => |answer| answer.body = br#"{"status":"invalid"}"#.to_vec(),
            "caa" => |answer| {
                answer.body =
                    br#"{"status":"invalid","error":{"type":"urn:ietf:params:acme:error:caa","detail":"no"}}"#.to_vec();
            },
            "ready" => |answer| answer.body = br#"{"status":"ready"}"#.to_vec(),
            _ => |answer| answer.body = br#"{"status":"valid"}"#.to_vec(),
        }
    };
    type Row = (&'static [Operation], &'static str, &'static str, Option<&'static str>, Next);
    let rows: &[Row] = &[
        (
            &[NewOrder, Order, Finalize],
            "invalid",
            "the order https://ca.test/order/0 is invalid; the next attempt places a new order",
            None,
            Soon,
        ),
        (&[NewOrder, Order, Finalize], "caa", "no; the CAA records of the name must permit this CA", Some("caa"), Soon),
        (
            &[NewOrder],
            "ready",
            "the CA's answer from <https://ca.test/order/0> lacks the URL to finalize at; {again}",
            None,
            Soon,
        ),
        (
            &[NewOrder, Order, Finalize],
            "valid",
            "the CA's answer from <https://ca.test/order/0> lacks the URL of the certificate; {again}",
            None,
            Soon,
        ),
        (&[Authorization], "invalid", "CA considers answer to challenge invalid: the CA does not say why", None, Soon),
    ];
    for (operations, text, says, kind, next) in rows {
        for operation in *operations {
            let fault = Fault::Alter(body(text));
            check_behaviour(*operation, |server| server.ca.fail_times(*operation, 9, fault), says, *kind, *next);
        }
    }
    check_behaviour(
        Challenge,
        |server| server.ca.behave(|ca| ca.finds = Some("404 at your place")),
        "{name}: CA considers answer to challenge invalid: 404 at your place; check that all addresses of the name, IPv6 too, \
         lead to this server and that nothing else answers there",
        Some("incorrectResponse"),
        Soon,
    );
    check_behaviour(
        Authorization,
        |server| {
            server.ca.behave(|ca| {
                ca.http_01 = false;
                ca.others = vec![json!({ "type": "foo-99", "url": "https://ca.test/foo", "token": "t" })];
            });
        },
        "None of offered challenge types for domain {name} are supported. The server offered 'foo-99' and available are: \
         'http-01'. What to do: see MDCAChallenges, MDPortMap, and MDChallengeDns01 for wildcards",
        Some("challenge-mismatch"),
        Soon,
    );
}

#[test]
fn orders_that_never_finish() {
    for (pending, processing, what) in
        [(60, 0, "the CA to look at the challenges"), (0, 60, "the certificate to be issued")]
    {
        let says = format!(
            "Error waiting for {what}: the CA was not done after 5 minutes; the next attempt continues the same order"
        );
        let never = |server: &TestServer| {
            server.ca.behave(|ca| (ca.pending_reads, ca.processing_reads) = (pending, processing))
        };
        check_behaviour(Order, never, &says, None, Soon);
    }
}

#[test]
fn an_order_that_is_not_ready_for_a_while_is_no_failure() {
    let case = Case::new(Finalize);
    case.server.ca.behave(|ca| ca.csr_refusals = 5);
    case.check("five times", "", None, Nothing);
    let job = case.server.staged_job(&case.name);
    let kinds: Vec<_> = job.log.iter().flat_map(|log| &log.entries).map(|entry| entry.kind.as_str()).collect();
    assert!(!kinds.contains(&"message-errored") && !kinds.contains(&"renewal-error"), "{kinds:?}");
    assert_eq!((case.server.ca.count(Finalize), case.server.ca.ordered().len()), (6, 1));
}

#[test]
fn a_retry_after_longer_than_a_poll_is_the_time_of_the_next_attempt() {
    let later = Fault::Alter(|answer| answer.headers.push(("Retry-After".to_owned(), "3600".to_owned())));
    for operation in [Challenge, Authorization, Finalize] {
        let case = Case::new(operation);
        case.server.ca.fail(operation, later.clone());
        let renewals = case.server.run(false);
        let job = case.server.staged_job(&case.name);
        let detail = job.last.unwrap().detail.unwrap();
        assert!(detail.contains("the CA wants to be asked again at Tue, 14 Nov 2023 23:13:"), "{detail}");
        assert!(detail.ends_with("; the next attempt continues the same order"), "{detail}");
        case.check_wait("Postponed", &renewals, After(3600));
        assert!(case.server.staged_job(&case.name).finished);
        assert_eq!(case.server.ca.ordered().len(), 1);
    }
}

#[test]
fn certificates_that_were_not_ordered() {
    const TLS_FEATURE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 0x18];
    const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    type Spoil = fn(&mut TestServer);
    let rows: [(Spoil, &str); 5] = [
        (|server| server.ca.behave(|ca| ca.days = 0), "the CA's certificate(P-256) has expired"),
        (
            |server| server.ca.behave(|ca| ca.starts_in = SignedDuration::from_hours(48)),
            "the CA's certificate(P-256) is not valid before Sun, 04 Feb 2024 22:1",
        ),
        (
            |server| server.ca.behave(|ca| ca.forgets = &[ALTERNATIVE_NAME]),
            "the CA's certificate(P-256) is not for {name}",
        ),
        (
            |server| {
                server.declared[0].settings.must_staple = Some(true);
                server.ca.behave(|ca| ca.forgets = &[TLS_FEATURE]);
            },
            "the CA's certificate(P-256) lacks the 'must-staple' that MDMustStaple asks for",
        ),
        (
            |server| {
                server.ca.fail(
                    Certificate,
                    Fault::Alter(|answer| {
                        let key = PrivateKey::generate(&p256()).unwrap();
                        let at = Timestamp::from_second(1_700_000_000);
                        let name = [DomainName::parse("other.test").unwrap()];
                        answer.body = self_signed(&key, "x", &name, at.unwrap(), 90).unwrap().to_pem().into_bytes();
                    }),
                );
            },
            "Certificate and private key do not match.",
        ),
    ];
    for (spoil, says) in rows {
        let mut case = Case::new(Certificate);
        // The domain serves a certificate that is due.
        drop(case.server.run(false));
        drop(case.server.start(true));
        let live = |case: &Case| case.server.text(Group::Domains, &case.name, &Aspect::Chain(p256())).unwrap();
        let before = live(&case);
        case.server.clock.advance(SignedDuration::from_hours(80 * 24));
        spoil(&mut case.server);
        let says = case.sentence(says);
        let renewals = case.server.run(true);
        for days in 1..=3 {
            let job = case.server.staged_job(&case.name);
            let detail = job.last.clone().unwrap().detail.unwrap();
            // A day later, the certificate is valid from another time on.
            assert!(days > 1 || detail.starts_with(&says), "{detail}");
            assert!(
                detail.contains("; the served certificate stays")
                    || detail.contains(" What to do: the served certificate stays")
            );
            assert_eq!((job.errors, case.server.ca.ordered().len()), (days, 1 + days as usize), "{says}");
            assert_eq!(live(&case), before);
            case.server.clock.advance(SignedDuration::from_hours(23));
            case.server.go_on(&renewals);
            assert_eq!(case.server.ca.ordered().len(), 1 + days as usize, "{says}: not yet");
            if says.starts_with("Certificate and") {
                break;
            }
            case.server.clock.advance(SignedDuration::from_hours(1));
            case.server.go_on(&renewals);
        }
        case.server.ca.recover();
        case.server.clock.advance(SignedDuration::from_hours(24));
        case.server.go_on(&renewals);
        assert!(case.server.staged_job(&case.name).finished, "{says}");
        drop(case.server.start(true));
        assert_ne!(live(&case), before);
        case.server.ca.check();
    }
}

#[test]
fn a_ca_that_ignores_must_staple_causes_no_loop() {
    let mut case = Case::new(Certificate);
    drop(case.server.run(false));
    // From now on the CA issues the same certificate as before.
    case.server.declared[0].settings.must_staple = Some(true);
    case.server.ca.behave(|ca| ca.forgets = &[&[0x2b, 6, 1, 5, 5, 7, 1, 0x18]]);
    let mut orders = Vec::new();
    for hour in 0..48 {
        drop(case.server.run(true));
        orders.push(case.server.ca.ordered().len());
        case.server.clock.advance(SignedDuration::from_hours(1));
        assert!(case.server.text(Group::Domains, &case.name, &Aspect::Chain(p256())).is_some(), "{hour}");
    }
    assert_eq!((orders[0], orders[23], orders[47]), (2, 2, 3));
}

#[test]
fn at_most_five_validations_fail_in_an_hour_with_any_restarts() {
    let case = Case::new(Challenge);
    let server = &case.server;
    let name = case.name.as_str();
    server.ca.behave(|ca| ca.finds = Some("404"));
    let began = server.clock.now();
    let minutes = |at: Timestamp| at.duration_since(began).as_mins();
    let mut renewals = server.run(false);
    // The server tries four times by itself.
    while minutes(server.clock.now()) < 55 {
        server.clock.advance(SignedDuration::from_secs(5));
        server.go_on(&renewals);
    }
    assert_eq!((server.ca.count(Challenge), server.staged_job(name).errors), (4, 4));
    assert!((60..=61).contains(&minutes(server.staged_job(name).next_run.unwrap())));
    // A graceful restart causes no further attempt, a full start or a change of the configuration causes one.
    renewals = server.run(true);
    assert_eq!(server.ca.count(Challenge), 4);
    for is_restart in [false, false, true] {
        drop(renewals);
        renewals = server.run(is_restart);
        assert_eq!(server.ca.count(Challenge), 5);
    }
    let mut changed = server.declared[0].clone();
    changed.settings.contact = Some(super::contact("other@x.org"));
    drop(renewals);
    let mut case = case;
    case.server.declared[0] = changed;
    let server = &case.server;
    renewals = server.run(true);
    assert_eq!(server.ca.count(Challenge), 5);
    assert!((60..=61).contains(&minutes(server.staged_job(&case.name).next_run.unwrap())));
    server.ca.recover();
    server.clock.advance(SignedDuration::from_mins(6));
    server.go_on(&renewals);
    let job = server.staged_job(&case.name);
    assert!(job.finished && job.validation_failures.is_empty());
}

#[test]
fn an_order_that_fails_at_finalization_counts_as_a_failed_validation() {
    for (kind, parts) in [("caa", json!([])), ("compound", json!([{"type": "urn:ietf:params:acme:error:dns"}]))] {
        let case = Case::new(Finalize);
        let server = &case.server;
        let name = case.name.as_str();
        let mut refusal = problem(403, kind, "no");
        let mut body: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
        body["subproblems"] = parts;
        refusal.body = body.to_string().into_bytes();
        server.ca.fail_times(Finalize, 99, Fault::Answer(refusal));
        let began = server.clock.now();
        let renewals = server.run(false);
        while server.clock.now().duration_since(began).as_mins() < 55 {
            server.clock.advance(SignedDuration::from_secs(5));
            server.go_on(&renewals);
        }
        assert_eq!((server.ca.count(Finalize), server.staged_job(name).errors), (4, 4), "{kind}");
        server.ca.recover();
        server.clock.advance(SignedDuration::from_mins(10));
        server.go_on(&renewals);
        assert!(server.staged_job(name).finished);
    }
}
