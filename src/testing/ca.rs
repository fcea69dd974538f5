//! A CA in memory, for tests. Checks requests as strictly as RFC 8555, and fails as a test demands.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::clock::{Clock, SettableClock};
use crate::crypto::{Certificate, PrivateKey, base64url_decode, jwk};
use crate::http::{HttpClient, HttpError, Method, Request, Response};
use crate::testing::issuer::{Issuer, common_name, has_jwk, is_mac, thumbprint_of, verifies};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Directory,
    Nonce,
    NewAccount,
    Account,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    RenewalInfo,
    RevokeCert,
    KeyChange,
}

/// A fault in one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The nonce is refused; a new one comes with the refusal.
    RefuseNonce,
    /// The connection ends before the request is seen.
    Drop,
    /// The request is processed, but its answer is lost.
    DropAnswer,
    /// The request fails with this error.
    Fail(fn() -> HttpError),
    /// The request is not processed, and gets this answer.
    Answer(Response),
    /// The request is processed, and its answer is altered.
    Alter(fn(&mut Response)),
    /// The given time passes before the request is processed.
    Slow(SignedDuration),
}

/// Lasting properties of the CA, in addition to single faults.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Whether new authorizations are valid already.
    pub authorized: bool,
    /// Whether new orders have no authorizations.
    pub without_authorizations: bool,
    /// How often an authorization is still pending when it is read after the response to its challenge.
    pub pending_reads: u32,
    /// Why challenges fail their validation; `None` if they succeed.
    pub finds: Option<&'static str>,
    /// How often an order is still processing when it is read after it was finalized.
    pub processing_reads: u32,
    /// How often the CSR of each order that is ready is refused, as the order is not ready (Dogtag, FreeIPA).
    pub csr_refusals: u32,
    /// Other challenges that are offered before http-01.
    pub others: Vec<Value>,
    /// Whether http-01 is offered.
    pub http_01: bool,
    /// Type under which the http-01 challenge is offered. The CA looks for a file with the key authorization in any case.
    pub kind: &'static str,
    /// Other types that are offered before http-01, and are validated as it is.
    pub more: Vec<&'static str>,
    /// The problem that the validation of a name by a type of challenge finds, as type and detail; `None` if it succeeds.
    pub fails: fn(name: &str, kind: &str) -> Option<(&'static str, &'static str)>,
    /// Whether an answered challenge shows its problem while the CA looks again (RFC 8555 section 8.2).
    pub tells_early: bool,
    /// The `Retry-After` that comes with a challenge while the CA looks again.
    pub looks_again_in: Option<&'static str>,
    /// The status of a challenge that failed while its authorization stays pending, as at CAs that are made of smallstep's library
    /// (2026).
    pub gives_back: Option<&'static str>,
    /// Issuer names in the directory and in challenges for dns-persist-01, whose records are always there.
    pub issuers: Vec<&'static str>,
    /// Functions that make the alternate chains from the CA and the default chain.
    pub alternates: Vec<fn(&Issuer, &[Certificate]) -> Response>,
    /// Whether chains have the issuer's certificate.
    pub with_issuer: bool,
    /// Lifetime of certificates in days.
    pub days: i64,
    /// Lifetime of certificates in hours, instead of `days`.
    pub hours: Option<i64>,
    /// Lifetime of certificates in seconds, instead of `hours`.
    pub seconds: Option<i64>,
    /// Time between the issue of certificates and the beginning of their validity.
    pub starts_in: SignedDuration,
    /// Extensions, by their OIDs in DER, that certificates lack though they were asked for.
    pub forgets: &'static [&'static [u8]],
    /// Whether terms of service are announced.
    pub has_terms: bool,
    /// Whether the directory has a `meta` object.
    pub has_meta: bool,
    /// Profiles that are announced.
    pub profiles: Vec<&'static str>,
    /// Whether announced profiles are refused.
    pub refuses_profiles: bool,
    /// The answer to all requests for renewal information; `None` for a CA without it.
    pub renewal_info: Option<Response>,
    /// Whether all certificates count as replaced already.
    pub all_replaced: bool,
    /// How many requests of an account are checked with its former key after a change of keys, as by servers with a cache.
    pub stale_requests: u32,
    /// The refusal of contacts that have the text; the problem type is first.
    pub refused_contact: Option<(&'static str, &'static str)>,
    /// The problem type of the refusal of an account without a contact; `None` if contacts are optional.
    pub wants_contact: Option<&'static str>,
    /// External accounts, of which each new account has to be bound to one, and each to one only: key id, and MAC key as base64url.
    pub external_accounts: Vec<(&'static str, &'static str)>,
    /// The refusal of requests of an account that is not valid.
    pub inactive: &'static str,
    /// Whether the key of an account that is not valid is refused, too, instead of finding the account.
    pub refuses_inactive_keys: bool,
    /// The answer to orders that name a certificate which they replace; `None` if that is fine.
    pub on_replaces: Option<Response>,
}

struct Account {
    jwk: Value,
    status: &'static str,
    payload: Value,
    /// Keys that the account had before.
    former: Vec<Value>,
}

#[derive(Clone)]
struct Order {
    account: usize,
    names: Vec<Value>,
    status: &'static str,
    authorizations: Vec<usize>,
    reads: u32,
    csr_refusals: u32,
    certificate: Vec<Certificate>,
    common_name: Option<String>,
}

struct Authorization {
    account: usize,
    name: String,
    is_wildcard: bool,
    status: &'static str,
    /// Type and detail.
    error: Option<(&'static str, &'static str)>,
    /// The type of the challenge that was answered.
    answered: Option<&'static str>,
    reads: u32,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    faults: Vec<(Operation, u32, Fault)>,
    counts: HashMap<Operation, usize>,
    nonces: HashSet<String>,
    next_nonce: u64,
    accounts: Vec<Account>,
    orders: Vec<Order>,
    authorizations: Vec<Authorization>,
    violations: Vec<String>,
    order_requests: Vec<Value>,
    asked_about: Vec<String>,
    revocations: Vec<(Vec<u8>, Option<u64>)>,
    most_open: usize,
}

/// A function that finds the challenge data for a name.
type Find = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A CA whose state is in memory.
pub struct FakeCa {
    clock: Arc<SettableClock>,
    issuer: Issuer,
    find: Find,
    state: Mutex<State>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            authorized: false,
            without_authorizations: false,
            pending_reads: 0,
            finds: None,
            processing_reads: 0,
            csr_refusals: 0,
            others: Vec::new(),
            http_01: true,
            kind: "http-01",
            more: Vec::new(),
            fails: |_, _| None,
            tells_early: false,
            looks_again_in: None,
            gives_back: None,
            issuers: Vec::new(),
            alternates: Vec::new(),
            with_issuer: true,
            days: 90,
            hours: None,
            seconds: None,
            starts_in: SignedDuration::ZERO,
            forgets: &[],
            has_terms: true,
            has_meta: true,
            profiles: Vec::new(),
            refuses_profiles: false,
            renewal_info: None,
            all_replaced: false,
            stale_requests: 0,
            refused_contact: None,
            wants_contact: None,
            external_accounts: Vec::new(),
            inactive: "the account is not valid",
            refuses_inactive_keys: false,
            on_replaces: None,
        }
    }
}

/// Returns a problem document (RFC 8555 section 6.7).
pub fn problem(status: u16, name: &str, detail: &str) -> Response {
    let body = json!({ "type": format!("urn:ietf:params:acme:error:{name}"), "detail": detail });
    answer(status, "application/problem+json; charset=utf-8", &body.to_string())
}

/// Returns an answer with a body of that type.
pub fn answer(status: u16, content_type: &str, body: &str) -> Response {
    let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
    Response { status, headers, body: body.as_bytes().to_vec() }
}

/// Returns the answer with one more header.
pub fn with_header(mut response: Response, name: &str, value: &str) -> Response {
    response.headers.push((name.to_owned(), value.to_owned()));
    response
}

fn url(path: &str) -> String {
    format!("{}/{path}", FakeCa::BASE)
}

/// Returns the token of the challenges of an authorization.
fn token(id: usize) -> String {
    format!("token-of-authorization-{id}")
}

fn urls(kind: &str, ids: &[usize]) -> Vec<String> {
    ids.iter().map(|id| url(&format!("{kind}/{id}"))).collect()
}

fn json_answer(status: u16, body: &Value) -> Response {
    answer(status, "application/json", &body.to_string())
}

impl FakeCa {
    const BASE: &str = "https://ca.test";
    /// URL of the directory.
    pub const DIRECTORY: &str = "https://ca.test/directory";

    /// Makes a CA that looks for challenge data with `find`.
    pub fn new(clock: Arc<SettableClock>, find: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Arc<Self> {
        let issuer = Issuer::new(clock.now());
        Arc::new(Self { clock, issuer, find: Box::new(find), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes the behaviour of the CA.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state().behaviour);
    }

    /// Makes the next request of this kind fail.
    pub fn fail(&self, operation: Operation, fault: Fault) {
        self.fail_times(operation, 1, fault);
    }

    /// Makes the next requests of this kind fail, `times` in number.
    pub fn fail_times(&self, operation: Operation, times: u32, fault: Fault) {
        self.state().faults.push((operation, times, fault));
    }

    /// Ends all faults and restores the default behaviour.
    pub fn recover(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.behaviour = Behaviour::default();
    }

    /// Returns the number of requests of this kind.
    pub fn count(&self, operation: Operation) -> usize {
        self.state().counts.get(&operation).copied().unwrap_or(0)
    }

    /// Returns the number of accounts that were made.
    pub fn accounts(&self) -> usize {
        self.state().accounts.len()
    }

    /// Returns the payload that the newest account was made with.
    pub fn registration(&self) -> Value {
        self.state().accounts.last().unwrap().payload.clone()
    }

    /// Makes an account, as if it had been registered, and returns its URL.
    pub fn add_account(&self, key: &PrivateKey) -> String {
        let mut state = self.state();
        state.accounts.push(Account {
            jwk: jwk(key).unwrap(),
            status: "valid",
            payload: Value::Null,
            former: Vec::new(),
        });
        url(&format!("account/{}", state.accounts.len() - 1))
    }

    /// Sets the status of all accounts; `gone` if the CA no longer knows them.
    pub fn set_accounts(&self, status: &'static str) {
        self.state().accounts.iter_mut().for_each(|account| account.status = status);
    }

    /// Sets the status of all orders; `gone` if the CA no longer knows them.
    pub fn set_orders(&self, status: &'static str) {
        self.state().orders.iter_mut().for_each(|order| order.status = status);
    }

    /// Sets the status of all authorizations; `gone` if the CA no longer knows them.
    pub fn set_authorizations(&self, status: &'static str) {
        self.state().authorizations.iter_mut().for_each(|authorization| authorization.status = status);
    }

    /// Returns the identifiers of every order.
    pub fn ordered(&self) -> Vec<Vec<Value>> {
        self.state().orders.iter().map(|order| order.names.clone()).collect()
    }

    /// Returns the payloads of all newOrder requests, also of refused ones.
    pub fn order_requests(&self) -> Vec<Value> {
        self.state().order_requests.clone()
    }

    /// Returns the identifiers of certificates that renewal information was asked for, in order.
    pub fn asked_about(&self) -> Vec<String> {
        self.state().asked_about.clone()
    }

    /// Returns the certificates that were revoked, with the reason if one was given.
    pub fn revocations(&self) -> Vec<(Vec<u8>, Option<u64>)> {
        self.state().revocations.clone()
    }

    /// Returns the largest number of orders that were open at the same time.
    pub fn most_open_orders(&self) -> usize {
        self.state().most_open
    }

    /// Returns the common name in the newest CSR.
    pub fn common_name(&self) -> Option<String> {
        self.state().orders.last().unwrap().common_name.clone()
    }

    /// Fails the test if a request violated RFC 8555.
    pub fn check(&self) {
        let state = self.state();
        assert!(state.violations.is_empty(), "{:#?}", state.violations);
    }
}

impl HttpClient for FakeCa {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let path = request.url.strip_prefix(Self::BASE).expect("a URL of this CA").trim_start_matches('/');
        let (kind, id) = path.split_once('/').unwrap_or((path, "0"));
        let operation = match kind {
            "directory" => Operation::Directory,
            "nonce" => Operation::Nonce,
            "new-account" => Operation::NewAccount,
            "account" => Operation::Account,
            "new-order" => Operation::NewOrder,
            "order" => Operation::Order,
            "authorization" => Operation::Authorization,
            "challenge" => Operation::Challenge,
            "finalize" => Operation::Finalize,
            "certificate" => Operation::Certificate,
            "renewal-info" => Operation::RenewalInfo,
            "revoke-cert" => Operation::RevokeCert,
            "key-change" => Operation::KeyChange,
            _ => panic!("{}", request.url),
        };
        let mut state = self.state();
        *state.counts.entry(operation).or_default() += 1;
        let fault = state.take_fault(operation);
        let lost = || Err(HttpError::Other { host: "ca.test".to_owned(), reason: "connection reset".to_owned() });
        if let Some(Fault::Slow(time)) = fault {
            self.clock.advance(time);
        }
        let mut response = match &fault {
            Some(Fault::Drop) => return lost(),
            Some(Fault::Fail(why)) => return Err(why()),
            Some(Fault::Answer(response)) => response.clone(),
            Some(Fault::RefuseNonce) => problem(400, "badNonce", "the nonce is stale"),
            _ if operation == Operation::RenewalInfo => renewal_info(&mut state, id, request),
            _ => {
                let id = id.split('/').next().and_then(|id| id.parse().ok()).unwrap();
                self.process(&mut state, operation, id, request)
            }
        };
        match fault {
            Some(Fault::Alter(alter)) => alter(&mut response),
            Some(Fault::DropAnswer) => return lost(),
            _ => {}
        }
        if ![Operation::Directory, Operation::RenewalInfo].contains(&operation)
            && !response.headers.iter().any(|(name, _)| name == "No-Nonce")
        {
            let nonce = state.new_nonce();
            response.headers.push(("Replay-Nonce".to_owned(), nonce));
        }
        Ok(response)
    }
}

impl State {
    fn take_fault(&mut self, operation: Operation) -> Option<Fault> {
        let at = self.faults.iter().position(|(faulty, times, _)| *faulty == operation && *times > 0)?;
        self.faults[at].1 -= 1;
        Some(self.faults[at].2.clone())
    }

    fn new_nonce(&mut self) -> String {
        self.next_nonce += 1;
        let nonce = format!("nonce-{}", self.next_nonce);
        self.nonces.insert(nonce.clone());
        nonce
    }

    fn violation(&mut self, words: String) -> Response {
        self.violations.push(words.clone());
        problem(400, "malformed", &words)
    }

    /// Checks a signed request. Returns the account, if the key is that of one, the key, and the payload.
    fn verify(&mut self, request: &Request) -> Result<(Option<usize>, Value, Vec<u8>), Response> {
        let content_type = request.headers.iter().find(|(name, _)| name == "Content-Type").map(|(_, value)| &**value);
        if request.method != Method::Post || content_type != Some("application/jose+json") {
            return Err(self.violation(format!("{:?} {content_type:?} for {}", request.method, request.url)));
        }
        let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let part = |name: &str| message[name].as_str().and_then(base64url_decode);
        let (Some(protected), Some(payload), Some(signature)) = (part("protected"), part("payload"), part("signature"))
        else {
            return Err(self.violation(format!("not a flattened JWS: {message}")));
        };
        let header: Value = serde_json::from_slice(&protected).unwrap_or_default();
        if header["url"] != *request.url || message.as_object().is_none_or(|members| members.len() != 3) {
            return Err(self.violation(format!("{header} for {}", request.url)));
        }
        if !header["nonce"].as_str().is_some_and(|nonce| self.nonces.remove(nonce)) {
            self.violations.push(format!("nonce of {header} was used or never given"));
            return Err(problem(400, "badNonce", "unknown nonce"));
        }
        let prefix = url("account/");
        let number = |kid: &str| kid.strip_prefix(&prefix)?.parse::<usize>().ok();
        let (account, key) = match (header["kid"].as_str(), &header["jwk"]) {
            (None, jwk) if !jwk.is_null() => (self.accounts.iter().position(|known| known.jwk == *jwk), jwk.clone()),
            (Some(kid), Value::Null) => match number(kid).and_then(|id| Some((id, self.accounts.get(id)?))) {
                Some((_, known)) if known.status == "gone" => {
                    return Err(problem(400, "accountDoesNotExist", "no such account"));
                }
                Some((_, known)) if known.status != "valid" => {
                    return Err(problem(401, "unauthorized", self.behaviour.inactive));
                }
                Some((id, known)) => {
                    let stale = known.former.last().filter(|_| self.behaviour.stale_requests > 0).cloned();
                    self.behaviour.stale_requests -= u32::from(stale.is_some());
                    (Some(id), stale.unwrap_or_else(|| known.jwk.clone()))
                }
                None => return Err(problem(400, "accountDoesNotExist", "no such account")),
            },
            _ => return Err(self.violation(format!("{header} needs one of kid and jwk"))),
        };
        let input = format!("{}.{}", message["protected"].as_str().unwrap(), message["payload"].as_str().unwrap());
        if !verifies(&key, input.as_bytes(), &signature) {
            let is_former = |known: &Account| {
                known.former.iter().chain([&known.jwk]).any(|key| verifies(key, input.as_bytes(), &signature))
            };
            if account.is_some_and(|id| is_former(&self.accounts[id])) {
                return Err(problem(400, "malformed", "the signature is not by the key of the account"));
            }
            return Err(self.violation(format!("bad signature: {header}")));
        }
        Ok((account, key, payload))
    }

    fn order_value(&self, id: usize) -> Value {
        let order = &self.orders[id];
        let mut value = json!({
            "status": order.status,
            "identifiers": order.names,
            "authorizations": urls("authorization", &order.authorizations),
            "finalize": url(&format!("finalize/{id}")),
        });
        if order.status == "valid" {
            value["certificate"] = url(&format!("certificate/{id}")).into();
        }
        if order.status == "invalid" {
            value["error"] = json!({ "type": "urn:ietf:params:acme:error:serverInternal", "detail": "order failed" });
        }
        value
    }

    fn challenge_value(&self, id: usize, kind: &str) -> Value {
        let Authorization { status, answered, error, reads, .. } = &self.authorizations[id];
        let is_answered = *answered == Some(kind);
        let given_back = self.behaviour.gives_back.filter(|_| error.is_some() && *reads == 0);
        let status = match *status {
            "pending" if is_answered => given_back.unwrap_or("processing"),
            status => status,
        };
        let path = if kind == self.behaviour.kind { format!("{id}") } else { format!("{id}/{kind}") };
        let mut value = json!({
            "type": kind, "url": url(&format!("challenge/{path}")), "status": status, "token": token(id)
        });
        if kind == "dns-persist-01" {
            value["issuer-domain-names"] = self.behaviour.issuers.clone().into();
        }
        let is_told = status != "processing" || self.behaviour.tells_early;
        if let Some((name, detail)) = error.filter(|_| is_answered && is_told) {
            let name = format!("urn:ietf:params:acme:error:{name}");
            value["error"] = json!({ "type": name, "detail": detail, "status": 403 });
        }
        value
    }

    /// Returns the challenge as the answer to a request for it.
    fn challenge_answer(&self, id: usize, kind: &str) -> Response {
        let value = self.challenge_value(id, kind);
        let after = self.behaviour.looks_again_in.filter(|_| value["status"] == "processing");
        let answer = json_answer(200, &value);
        after.map_or(answer.clone(), |after| with_header(answer, "Retry-After", after))
    }

    fn authorization_value(&self, id: usize) -> Value {
        let authorization = &self.authorizations[id];
        let http_01 = self.behaviour.http_01.then_some(self.behaviour.kind);
        let kinds = self.behaviour.more.iter().copied().chain(http_01);
        let kinds = kinds.filter(|kind| !authorization.is_wildcard || kind.starts_with("dns-"));
        // The others are of no use any more (RFC 8555 section 7.1.4).
        let is_over = authorization.status != "pending" && authorization.answered.is_some();
        let kinds = kinds.filter(|kind| !is_over || authorization.answered == Some(kind));
        let challenges = kinds.map(|kind| self.challenge_value(id, kind));
        let challenges: Vec<Value> = self.behaviour.others.iter().cloned().chain(challenges).collect();
        let mut value = json!({
            "status": authorization.status,
            "identifier": { "type": "dns", "value": authorization.name },
            "challenges": challenges,
        });
        if authorization.is_wildcard {
            value["wildcard"] = true.into();
        }
        value
    }

    /// Updates the status of an order from its authorizations.
    fn update_order(&mut self, id: usize) {
        if self.orders[id].status != "pending" {
            return;
        }
        let of = |at: &usize| self.authorizations[*at].status;
        let all: Vec<_> = self.orders[id].authorizations.iter().map(of).collect();
        if all.iter().all(|status| *status == "valid") {
            self.orders[id].status = "ready";
        } else if all.iter().any(|status| *status != "valid" && *status != "pending") {
            self.orders[id].status = "invalid";
        }
    }
}

impl FakeCa {
    fn process(&self, state: &mut State, operation: Operation, id: usize, request: &Request) -> Response {
        match operation {
            Operation::Directory => return self.directory(state, request),
            Operation::Nonce => return Response { status: 200, ..Response::default() },
            _ => {}
        }
        let (account, key, payload) = match state.verify(request) {
            Ok(verified) => verified,
            Err(response) => return response,
        };
        let reads = [Operation::Account, Operation::Order, Operation::Authorization, Operation::Certificate];
        let is_read = reads.contains(&operation) || operation == Operation::Challenge && payload.is_empty();
        let payload = match (is_read, serde_json::from_slice::<Value>(&payload)) {
            (true, _) if payload.is_empty() => Value::Null,
            (is_read, Ok(value)) if value.is_object() && (!is_read || operation == Operation::Account) => value,
            _ => return state.violation(format!("payload of {}", request.url)),
        };
        if operation == Operation::NewAccount {
            return new_account(state, account, key, payload);
        }
        if operation == Operation::RevokeCert {
            return revoke(state, account, &key, &payload);
        }
        let Some(account) = account else { return problem(400, "accountDoesNotExist", "no such account") };
        let hidden = || problem(404, "malformed", "not found");
        match operation {
            Operation::Account if account != id => hidden(),
            Operation::Account => update_account(&state.behaviour, &mut state.accounts[id], &payload),
            Operation::KeyChange => change_key(state, account, &key, &payload),
            Operation::NewOrder => new_order(state, account, &payload),
            Operation::Order => match state.orders.get(id) {
                Some(order) if order.account == account && order.status != "gone" => read_order(state, id),
                _ => hidden(),
            },
            Operation::Authorization => match state.authorizations.get(id) {
                Some(authz) if authz.account == account && authz.status != "gone" => read_authorization(state, id),
                _ => hidden(),
            },
            Operation::Challenge => self.challenge(state, request, id, &key, &payload),
            Operation::Finalize => self.finalize(state, id, &payload),
            Operation::Certificate => match state.orders.get(id) {
                Some(order) if order.account == account && order.status == "valid" => {
                    let links: Vec<_> = (0..state.behaviour.alternates.len())
                        .map(|number| ("Link".to_owned(), format!("</certificate/{id}/{number}>;rel=\"alternate\"")))
                        .collect();
                    let number =
                        request.url.rsplit_once(&format!("/{id}/")).and_then(|(_, number)| number.parse().ok());
                    let mut answer = match number.and_then(|number: usize| state.behaviour.alternates.get(number)) {
                        Some(alternate) => alternate(&self.issuer, &order.certificate),
                        None => certificate(&order.certificate),
                    };
                    answer.headers.extend(links);
                    answer
                }
                _ => hidden(),
            },
            Operation::Directory | Operation::Nonce | Operation::NewAccount => unreachable!(),
            Operation::RenewalInfo | Operation::RevokeCert => unreachable!(),
        }
    }

    fn directory(&self, state: &mut State, request: &Request) -> Response {
        if request.method != Method::Get {
            return state.violation(format!("{:?} for the directory", request.method));
        }
        let terms = state.behaviour.has_terms.then(|| url("terms"));
        let mut directory = json!({
            "newNonce": url("nonce"),
            "newAccount": url("new-account"),
            "newOrder": url("new-order"),
            "revokeCert": url("revoke-cert"),
            "keyChange": url("key-change"),
            "meta": { "termsOfService": terms, "caaIdentities": state.behaviour.issuers.clone() },
        });
        for profile in &state.behaviour.profiles {
            directory["meta"]["profiles"][*profile] = "what it is for".into();
        }
        if state.behaviour.renewal_info.is_some() {
            directory["renewalInfo"] = url("renewal-info").into();
        }
        if !state.behaviour.has_meta {
            directory.as_object_mut().unwrap().remove("meta");
        }
        json_answer(200, &directory)
    }

    fn challenge(&self, state: &mut State, request: &Request, id: usize, key: &Value, payload: &Value) -> Response {
        let kinds = [&state.behaviour.more[..], &[state.behaviour.kind]].concat();
        let kind = kinds.iter().find(|kind| request.url.ends_with(*kind)).unwrap_or(&state.behaviour.kind);
        if payload.is_null() {
            return state.challenge_answer(id, kind);
        }
        if *payload != json!({}) {
            return state.violation(format!("payload {payload} for a challenge"));
        }
        let reads = state.behaviour.pending_reads;
        let is_there = *kind == "dns-persist-01";
        let fails = state.behaviour.fails;
        let finds = state.behaviour.finds;
        let authorization = &mut state.authorizations[id];
        if authorization.status != "pending" {
            return problem(400, "malformed", "the authorization is not pending");
        }
        let expected = format!("{}.{}", token(id), thumbprint_of(key));
        let found = (self.find)(&authorization.name);
        authorization.answered = Some(kind);
        authorization.reads = reads;
        let is_there = is_there || found.is_some_and(|found| found.lines().any(|line| line == expected));
        let finds = finds.or((!is_there).then_some("the key authorization is another"));
        authorization.error = fails(&authorization.name, kind).or(finds.map(|detail| ("incorrectResponse", detail)));
        state.challenge_answer(id, kind)
    }

    fn finalize(&self, state: &mut State, id: usize, payload: &Value) -> Response {
        state.update_order(id);
        let behaviour = state.behaviour.clone();
        let order = &mut state.orders[id];
        order.csr_refusals += 1;
        if order.status != "ready" || order.csr_refusals <= behaviour.csr_refusals {
            return problem(403, "orderNotReady", "the order is not ready");
        }
        let Some(csr) = payload["csr"].as_str().and_then(base64url_decode) else {
            return state.violation(format!("payload {payload} for finalize"));
        };
        let seconds = behaviour.seconds.unwrap_or(3600 * behaviour.hours.unwrap_or(24 * behaviour.days));
        let issue = |forgets| self.issuer.issue(&csr, self.clock.now() + behaviour.starts_in, seconds, forgets);
        let (Some(whole), Some(leaf)) = (issue(&[]), issue(behaviour.forgets)) else {
            return problem(400, "badCSR", "cannot be read");
        };
        let mut names = whole.names();
        let mut wanted: Vec<_> =
            order.names.iter().map(|name| name["value"].as_str().unwrap_or_default().to_owned()).collect();
        names.sort();
        wanted.sort();
        if names != wanted {
            return problem(400, "badCSR", "other names than in the order");
        }
        order.common_name = common_name(&csr);
        order.reads = behaviour.processing_reads;
        order.certificate = vec![leaf];
        order.certificate.extend(behaviour.with_issuer.then(|| self.issuer.root().clone()));
        order.status = if order.reads == 0 { "valid" } else { "processing" };
        json_answer(200, &state.order_value(id))
    }
}

fn new_account(state: &mut State, known: Option<usize>, jwk: Value, payload: Value) -> Response {
    let (status, id) = match known.filter(|id| state.accounts[*id].status != "gone") {
        Some(id) if state.behaviour.refuses_inactive_keys && state.accounts[id].status != "valid" => {
            return problem(403, "unauthorized", state.behaviour.inactive);
        }
        Some(id) => (200, id),
        None if payload["onlyReturnExisting"] == true => return problem(400, "accountDoesNotExist", "no such account"),
        None if payload["termsOfServiceAgreed"] != true => {
            return problem(403, "userActionRequired", "agree to the terms");
        }
        None => {
            let refused = refused_contact(&state.behaviour, &payload["contact"]);
            if let Some(refused) = refused.or_else(|| refused_binding(state, &jwk, &payload["externalAccountBinding"]))
            {
                return refused;
            }
            state.accounts.push(Account { jwk, status: "valid", payload, former: Vec::new() });
            (201, state.accounts.len() - 1)
        }
    };
    let body = json!({ "status": state.accounts[id].status, "contact": state.accounts[id].payload["contact"] });
    with_header(json_answer(status, &body), "Location", &url(&format!("account/{id}")))
}

/// Checks the contacts of an account; `None` if they are right.
fn refused_contact(behaviour: &Behaviour, contacts: &Value) -> Option<Response> {
    let contacts: Vec<&str> = contacts.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(kind) = behaviour.wants_contact.filter(|_| contacts.is_empty()) {
        return Some(problem(400, kind, "at least one contact is needed"));
    }
    let (kind, text) = behaviour.refused_contact?;
    let refused = contacts.iter().find(|contact| contact.contains(text))?;
    Some(problem(400, kind, &format!("no mail can be sent to {refused}")))
}

/// Checks the binding of a new account to an external one (RFC 8555 section 7.3.4); `None` if it is right.
fn refused_binding(state: &State, jwk: &Value, binding: &Value) -> Option<Response> {
    let known = &state.behaviour.external_accounts;
    if known.is_empty() {
        return None;
    }
    if binding.is_null() {
        return Some(problem(403, "externalAccountRequired", "bind the account"));
    }
    let part = |binding: &Value, name: &str| binding[name].as_str().and_then(base64url_decode).unwrap_or_default();
    let read = |binding: &Value, name| serde_json::from_slice::<Value>(&part(binding, name)).unwrap_or_default();
    let header = read(binding, "protected");
    let input = format!("{}.{}", binding["protected"].as_str()?, binding["payload"].as_str()?);
    let mac_key = known.iter().find(|(kid, _)| header["kid"] == **kid).and_then(|(_, key)| base64url_decode(key));
    let is_right = mac_key.is_some_and(|key| is_mac(&key, input.as_bytes(), &part(binding, "signature")))
        && header["alg"] == "HS256"
        && header["url"] == url("new-account")
        && read(binding, "payload") == *jwk;
    let of_account = |account: &Account| read(&account.payload["externalAccountBinding"], "protected");
    if !is_right {
        Some(problem(403, "unauthorized", "the binding is wrong"))
    } else if state.accounts.iter().any(|account| of_account(account)["kid"] == header["kid"]) {
        Some(problem(403, "unauthorized", "the external account is bound already"))
    } else {
        None
    }
}

/// Reads, updates or deactivates an account (RFC 8555 sections 7.3.2 and 7.3.6).
fn update_account(behaviour: &Behaviour, account: &mut Account, payload: &Value) -> Response {
    if let Some(refused) = refused_contact(behaviour, &payload["contact"]).filter(|_| !payload["contact"].is_null()) {
        return refused;
    }
    if !payload["contact"].is_null() {
        account.payload["contact"] = payload["contact"].clone();
    }
    if payload["status"] == "deactivated" {
        account.status = "deactivated";
    }
    json_answer(200, &json!({ "status": account.status, "contact": account.payload["contact"] }))
}

/// Changes the key of an account (RFC 8555 section 7.3.5).
fn change_key(state: &mut State, account: usize, old: &Value, inner: &Value) -> Response {
    let part = |name: &str| inner[name].as_str().and_then(base64url_decode).unwrap_or_default();
    let read = |name: &str| serde_json::from_slice::<Value>(&part(name)).unwrap_or_default();
    let header = read("protected");
    let payload = read("payload");
    let input = format!("{}.{}", inner["protected"].as_str().unwrap(), inner["payload"].as_str().unwrap());
    let is_right = header["url"] == url("key-change")
        && header["nonce"].is_null()
        && verifies(&header["jwk"], input.as_bytes(), &part("signature"))
        && payload == json!({ "account": url(&format!("account/{account}")), "oldKey": old });
    if !is_right {
        return state.violation(format!("{header} {payload} for a change of keys"));
    }
    if let Some(other) = state.accounts.iter().position(|known| known.jwk == header["jwk"]) {
        let taken = problem(409, "malformed", "another account has this key");
        return with_header(taken, "Location", &url(&format!("account/{other}")));
    }
    let known = &mut state.accounts[account];
    known.former.push(std::mem::replace(&mut known.jwk, header["jwk"].clone()));
    json_answer(200, &json!({ "status": known.status }))
}

/// Revokes a certificate (RFC 8555 section 7.6) for the account that ordered it, or for the holder of its key.
fn revoke(state: &mut State, account: Option<usize>, key: &Value, payload: &Value) -> Response {
    let Some(der) = payload["certificate"].as_str().and_then(base64url_decode) else {
        return state.violation(format!("payload {payload} for a revocation"));
    };
    let of_order = |order: &&Order| order.certificate.first().is_some_and(|leaf| leaf.to_der() == der);
    let Some(order) = state.orders.iter().find(of_order) else {
        return problem(404, "malformed", "no such certificate");
    };
    let has_key = Certificate::from_der(&der).is_ok_and(|leaf| has_jwk(&leaf, key));
    if account != Some(order.account) && !has_key {
        return problem(403, "unauthorized", "not yours");
    }
    if state.revocations.iter().any(|(known, _)| *known == der) {
        return problem(400, "alreadyRevoked", "it is revoked");
    }
    state.revocations.push((der, payload["reason"].as_u64()));
    Response { status: 200, ..Response::default() }
}

fn new_order(state: &mut State, account: usize, payload: &Value) -> Response {
    let names = payload["identifiers"].as_array().cloned().unwrap_or_default();
    if names.is_empty() {
        return state.violation(format!("order {payload}"));
    }
    let behaviour = state.behaviour.clone();
    state.order_requests.push(payload.clone());
    let profile = payload["profile"].as_str();
    if profile.is_some_and(|profile| behaviour.refuses_profiles || !behaviour.profiles.contains(&profile)) {
        return problem(400, "invalidProfile", "not for you");
    }
    if behaviour.all_replaced && payload["replaces"].is_string() {
        return problem(409, "alreadyReplaced", "it was replaced before");
    }
    if let Some(refusal) = behaviour.on_replaces.filter(|_| payload["replaces"].is_string()) {
        return refusal;
    }
    let mut authorizations = Vec::new();
    for name in names.iter().filter(|_| !behaviour.without_authorizations) {
        let name = name["value"].as_str().unwrap_or_default();
        let is_wildcard = name.starts_with("*.");
        let name = name.trim_start_matches("*.").to_owned();
        let status = if behaviour.authorized { "valid" } else { "pending" };
        authorizations.push(state.authorizations.len());
        let authorization = Authorization { account, name, is_wildcard, status, error: None, answered: None, reads: 0 };
        state.authorizations.push(authorization);
    }
    state.orders.push(Order {
        account,
        names,
        status: "pending",
        authorizations,
        reads: 0,
        csr_refusals: 0,
        certificate: Vec::new(),
        common_name: None,
    });
    let id = state.orders.len() - 1;
    state.update_order(id);
    let open = state.orders.iter().filter(|order| !matches!(order.status, "valid" | "invalid" | "gone")).count();
    state.most_open = state.most_open.max(open);
    with_header(json_answer(201, &state.order_value(id)), "Location", &url(&format!("order/{id}")))
}

fn renewal_info(state: &mut State, id: &str, request: &Request) -> Response {
    if request.method != Method::Get {
        return state.violation(format!("{:?} for renewal information", request.method));
    }
    state.asked_about.push(id.to_owned());
    state.behaviour.renewal_info.clone().unwrap_or_else(|| problem(404, "malformed", "not found"))
}

fn read_order(state: &mut State, id: usize) -> Response {
    state.update_order(id);
    let order = &mut state.orders[id];
    if order.status == "processing" {
        match order.reads.checked_sub(1) {
            Some(left) => order.reads = left,
            None => order.status = "valid",
        }
    }
    json_answer(200, &state.order_value(id))
}

fn read_authorization(state: &mut State, id: usize) -> Response {
    let gives_back = state.behaviour.gives_back;
    let authorization = &mut state.authorizations[id];
    if authorization.status == "pending" && authorization.answered.is_some() {
        match (authorization.reads.checked_sub(1), authorization.error) {
            (Some(left), _) => authorization.reads = left,
            (None, None) => authorization.status = "valid",
            (None, Some(_)) if gives_back.is_some() => {}
            (None, Some(_)) => authorization.status = "invalid",
        }
    }
    json_answer(200, &state.authorization_value(id))
}

/// Returns an answer with a chain.
pub fn certificate(chain: &[Certificate]) -> Response {
    let chain: String = chain.iter().map(Certificate::to_pem).collect();
    answer(200, "application/pem-certificate-chain", &chain)
}
