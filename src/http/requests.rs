//! Counts of requests to each CA and their outcomes, and of requests of each kind and their statuses, in memory that several processes may share.
//!
//! Only the child that renews sends requests, while any child may report them, and the counts outlive both. So they are plain
//! atomics without pointers: all bytes zero is a table without counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use url::{Position, Url};

use super::{HttpClient, HttpError, Request, Response};
use crate::model::{Problem, outside};

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The CA did what was asked.
    Success,
    /// The CA wants another nonce (RFC 8555 section 6.5), which is usual.
    BadNonce,
    /// The account has sent too many requests (RFC 8555 section 6.6).
    RateLimited,
    /// The CA refused the request.
    Refused,
    /// The CA failed.
    ServerError,
    /// The answer did not come, or not completely.
    NoAnswer,
}

impl Outcome {
    /// All outcomes, each at its position.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::BadNonce, Self::RateLimited, Self::Refused, Self::ServerError, Self::NoAnswer];

    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["success", "bad_nonce", "rate_limited", "refused", "server_error", "no_answer"][self as usize]
    }

    /// Returns the outcome; `None` for a request that this server broke off.
    fn of(result: &Result<Response, HttpError>) -> Option<Self> {
        match result {
            Ok(response) => Some(Self::of_response(response)),
            Err(err) if err.is_cancelled() => None,
            Err(_) => Some(Self::NoAnswer),
        }
    }

    fn of_response(response: &Response) -> Self {
        let is = |name: &str| outside::json(&response.body).is_ok_and(|problem: Problem| problem.is(name));
        match response.status {
            200..=299 => Self::Success,
            429 => Self::RateLimited,
            _ if is("rateLimited") => Self::RateLimited,
            _ if is("badNonce") => Self::BadNonce,
            500.. => Self::ServerError,
            _ => Self::Refused,
        }
    }
}

/// The resource of a CA that a request is about (RFC 8555 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestKind {
    /// The directory.
    Directory,
    /// A new nonce.
    Nonce,
    /// The account: registered, read or changed.
    Account,
    /// An order: made or read.
    Order,
    /// The authorization of a name.
    Authorization,
    /// A challenge.
    Challenge,
    /// The end of an order, with the CSR.
    Finalize,
    /// A certificate.
    Certificate,
    /// When to renew (RFC 9773).
    RenewalInfo,
    /// Something else.
    #[default]
    Other,
}

impl RequestKind {
    /// All kinds with their names in metrics, each at its position.
    pub const ALL: [(Self, &str); 10] = [
        (Self::Directory, "directory"),
        (Self::Nonce, "nonce"),
        (Self::Account, "account"),
        (Self::Order, "order"),
        (Self::Authorization, "authorization"),
        (Self::Challenge, "challenge"),
        (Self::Finalize, "finalize"),
        (Self::Certificate, "certificate"),
        (Self::RenewalInfo, "renewal_info"),
        (Self::Other, "other"),
    ];
}

/// The class of the HTTP status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClass {
    /// 200 to 299.
    Success,
    /// 300 to 399.
    Redirection,
    /// 400 to 499 without 429.
    ClientError,
    /// 429.
    TooMany,
    /// 500 and more.
    ServerError,
    /// There was no complete answer.
    None,
}

impl StatusClass {
    /// All classes with their names in metrics, each at its position.
    pub const ALL: [(Self, &str); 6] = [
        (Self::Success, "2xx"),
        (Self::Redirection, "3xx"),
        (Self::ClientError, "4xx"),
        (Self::TooMany, "429"),
        (Self::ServerError, "5xx"),
        (Self::None, "none"),
    ];

    fn of(result: &Result<Response, HttpError>) -> Self {
        match result.as_ref().map_or(0, |response| response.status) {
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            429 => Self::TooMany,
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
            _ => Self::None,
        }
    }
}

/// Counts by host. A count never decreases while the memory lives.
#[repr(C)]
pub struct RequestCounts {
    hosts: [HostCounts; Self::HOSTS],
    /// Counts of hosts that have no place.
    others: [AtomicU64; Outcome::ALL.len()],
    kinds: [[AtomicU64; StatusClass::ALL.len()]; RequestKind::ALL.len()],
}

#[repr(C)]
struct HostCounts {
    state: AtomicU32,
    /// Ends with a zero byte.
    name: [AtomicU8; 256],
    counts: [AtomicU64; Outcome::ALL.len()],
}

/// The place is free.
const FREE: u32 = 0;
/// A process is writing the name. If it dies meanwhile, the place is lost.
const NAMED_NOW: u32 = 1;
/// The name is written, and stays.
const NAMED: u32 = 2;

impl RequestCounts {
    /// Hosts with counts of their own. A server has a few CAs; a CA that names a new host each time must not fill memory.
    const HOSTS: usize = 32;
    /// The label of the hosts without a place. No host has this name.
    pub const OTHERS: &str = "other";

    /// Counts a request.
    pub fn add(&self, url: &str, outcome: Outcome) {
        let host = host(url);
        let counts = self.place(&host).map_or(&self.others, |place| &place.counts);
        counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn add_kind(&self, kind: RequestKind, status: StatusClass) {
        self.kinds[kind as usize][status as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of requests of each kind with each status, in the order of [`RequestKind::ALL`] and
    /// [`StatusClass::ALL`].
    #[must_use]
    pub fn kinds(&self) -> [[u64; StatusClass::ALL.len()]; RequestKind::ALL.len()] {
        self.kinds.each_ref().map(|counts| counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Returns all counts, by host and with its port unless that is the default; in the order of [`Outcome::ALL`].
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, [u64; Outcome::ALL.len()]> {
        let mut all = BTreeMap::new();
        let named = self.hosts.iter().filter(|place| place.state.load(Ordering::Acquire) == NAMED);
        let others = self.others.iter().any(|count| count.load(Ordering::Relaxed) > 0);
        let others = others.then(|| (Self::OTHERS.to_owned(), &self.others));
        for (name, counts) in named.map(|place| (place.name(), &place.counts)).chain(others) {
            // Two processes that name the same host at the same time take a place each.
            let sums = all.entry(name).or_insert([0; Outcome::ALL.len()]);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count.load(Ordering::Relaxed));
        }
        all
    }

    fn place(&self, host: &str) -> Option<&HostCounts> {
        self.hosts.iter().find(|place| match place.state.load(Ordering::Acquire) {
            NAMED => place.is_called(host),
            FREE => place.take(host),
            _ => false,
        })
    }
}

impl Default for RequestCounts {
    fn default() -> Self {
        let zeros = || [const { AtomicU64::new(0) }; Outcome::ALL.len()];
        let place =
            |_| HostCounts { state: AtomicU32::new(FREE), name: [const { AtomicU8::new(0) }; 256], counts: zeros() };
        Self { hosts: std::array::from_fn(place), others: zeros(), kinds: Default::default() }
    }
}

impl fmt::Debug for RequestCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestCounts").field(&self.all()).finish()
    }
}

impl HostCounts {
    /// Names the place, unless another process does or the name is too long.
    fn take(&self, host: &str) -> bool {
        let fits = host.len() < self.name.len() && !host.is_empty();
        if !fits || self.state.compare_exchange(FREE, NAMED_NOW, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return false;
        }
        self.name.iter().zip(host.bytes()).for_each(|(own, byte)| own.store(byte, Ordering::Relaxed));
        self.state.store(NAMED, Ordering::Release);
        true
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.name.iter().map(|byte| byte.load(Ordering::Relaxed)).take_while(|byte| *byte != 0)
    }

    fn is_called(&self, host: &str) -> bool {
        self.bytes().eq(host.bytes())
    }

    fn name(&self) -> String {
        String::from_utf8_lossy(&self.bytes().collect::<Vec<_>>()).into_owned()
    }
}

/// Returns the host of a URL, and its port unless that is the default; empty if there is none.
fn host(url: &str) -> String {
    Url::parse(url).map(|url| url[Position::BeforeHost..Position::AfterPort].to_owned()).unwrap_or_default()
}

/// A client whose requests are counted.
pub struct Counted {
    client: Arc<dyn HttpClient>,
    counts: &'static RequestCounts,
}

impl Counted {
    /// Counts the requests through `client`.
    #[must_use]
    pub fn new(client: Arc<dyn HttpClient>, counts: &'static RequestCounts) -> Self {
        Self { client, counts }
    }
}

impl HttpClient for Counted {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let result = self.client.send(request);
        if let Some(outcome) = Outcome::of(&result) {
            self.counts.add(&request.url, outcome);
            self.counts.add_kind(request.kind, StatusClass::of(&result));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_by_status_and_problem() {
        use Outcome::{BadNonce, RateLimited, Refused, ServerError, Success};
        let rows = [
            (200, "", Success),
            (201, "rateLimited", Success),
            (400, "badNonce", BadNonce),
            (400, "malformed", Refused),
            (301, "", Refused),
            (403, "rateLimited", RateLimited),
            (429, "", RateLimited),
            (500, "serverInternal", ServerError),
            (503, "rateLimited", RateLimited),
            (503, "", ServerError),
        ];
        for (status, kind, expected) in rows {
            let body = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}"}}"#).into_bytes();
            let response = Response { status, body, ..Response::default() };
            assert_eq!(Outcome::of(&Ok(response)), Some(expected), "{status} {kind}");
        }
        let err = HttpError::Resolve { host: "ca.test".to_owned(), reason: "no".to_owned() };
        assert_eq!(Outcome::of(&Err(err)), Some(Outcome::NoAnswer));
        assert_eq!(Outcome::of(&Err(HttpError::Cancelled)), None);
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, position);
        }
        assert!(RequestKind::ALL.into_iter().enumerate().all(|(position, (kind, _))| kind as usize == position));
    }

    #[test]
    fn statuses_are_told_by_class() {
        let rows = [(204, "2xx"), (302, "3xx"), (400, "4xx"), (428, "4xx"), (429, "429"), (500, "5xx"), (599, "5xx")];
        for (status, name) in rows {
            let class = StatusClass::of(&Ok(Response { status, ..Response::default() }));
            assert_eq!(StatusClass::ALL[class as usize], (class, name), "{status}");
        }
        assert_eq!(StatusClass::of(&Err(HttpError::Cancelled)), StatusClass::None);
    }

    #[test]
    fn requests_are_counted_by_host_and_port() {
        let counts = RequestCounts::default();
        assert!(counts.all().is_empty());
        for url in
            ["https://CA.test/new", "https://ca.test:443/x?y", "https://u:p@ca.test/", "https://ca.test:14000/dir"]
        {
            counts.add(url, Outcome::Success);
        }
        counts.add("https://ca.test/", Outcome::NoAnswer);
        let all = counts.all();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["ca.test", "ca.test:14000"]);
        assert_eq!((all["ca.test"], all["ca.test:14000"]), ([3, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn what_has_no_place_is_counted_together() {
        let counts = RequestCounts::default();
        counts.add("nothing", Outcome::Refused);
        counts.add(&format!("https://{}.test/", "x".repeat(300)), Outcome::Refused);
        for number in 0..50 {
            counts.add(&format!("https://ca-{number}.test/"), Outcome::Success);
        }
        let all = counts.all();
        assert_eq!((all.len(), all[RequestCounts::OTHERS]), (33, [18, 0, 0, 2, 0, 0]));
        assert_eq!(all.values().flatten().sum::<u64>(), 52);
    }

    #[test]
    fn nothing_is_lost_when_many_count_at_once() {
        let counts = RequestCounts::default();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let counts = &counts;
                scope.spawn(move || {
                    for number in 0..1000 {
                        counts.add(&format!("https://ca-{}.test/", (number + thread) % 4), Outcome::Success);
                    }
                });
            }
        });
        let all = counts.all();
        assert_eq!((all.len(), all.values().map(|counts| counts[0]).sum::<u64>()), (4, 8000));
    }

    /// Memory that the system gives is all zeros.
    #[test]
    fn zeros_are_a_table_without_counts() {
        let size = size_of::<RequestCounts>();
        assert!(size < 16 * 1024 && size % align_of::<RequestCounts>() == 0);
        assert_eq!((FREE, AtomicU8::new(0).into_inner()), (0, 0));
    }
}
