//! Errors between an order and its certificate, and what they mean for the next attempt.

use jiff::Timestamp;

use super::challenge::{ChallengeType, Malformed};
use super::{ChainRefused, PortError};
use crate::crypto::{ChainError, CryptoError};
use crate::http::HttpError;
use crate::model::{ContactSource, JobResult, Problem, Status, TxtRecord, outside, time};
use crate::tailscale::TailscaleError;

/// Words by which CAs say that an account is at an end, where the problem is `unauthorized` (RFC 8555 section 7.3.6): Boulder and
/// Pebble the first, smallstep's CA, which Caddy has, the last.
const AT_AN_END: [&str; 3] = ["deactivated", "revoked", "not active"];

const SHORT_LIFE: &str = "if it is because of the addresses: some CAs want a profile of short life for them (MDProfile \
                          shortlived), others take none";

/// Contacts that were left out of a registration, as the CA refused them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The contacts, in quotes.
    pub contacts: String,
    /// The words of the CA.
    pub why: String,
}

/// Why a renewal could not go on. The text is a sentence for the administrator.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// No directory came from the CA.
    #[error("Unsuccessful in contacting ACME server at <{url}>: {source}")]
    NoDirectory {
        /// Directory URL.
        url: String,
        /// The failure of the request.
        source: HttpError,
    },
    /// The CA did not give what every client may have: the directory or a nonce.
    #[error("Unsuccessful in contacting ACME server at <{url}>: {}{}", unavailable(*.http_status), says(.problem, .moved_to))]
    Unavailable {
        /// The resource.
        url: String,
        /// HTTP status.
        http_status: u16,
        /// The problem document of the answer.
        problem: Option<Box<Problem>>,
        /// The URL of a redirect.
        moved_to: Option<String>,
        /// The CA does not want to be asked before this moment.
        retry_after: Option<Timestamp>,
    },
    /// The answer is not a directory.
    #[error("Unable to understand ACME server response from <{url}>. Wrong ACME protocol version or link?")]
    NotADirectory {
        /// Directory URL.
        url: String,
    },
    /// The directory is of ACME version 1, the protocol before the RFC.
    #[error("The CA at <{url}> speaks ACME version 1, which is no longer supported. Use the CA's version 2 URL.")]
    Version1 {
        /// Directory URL.
        url: String,
    },
    /// A request got no answer.
    #[error("{0}")]
    Transport(#[from] HttpError),
    /// The CA wants a fresh nonce (RFC 8555 section 6.5); the request was not processed.
    #[error("the CA did not accept the nonce")]
    BadNonce,
    /// The CA refused.
    #[error("{} <{}>", .problem.detail, .problem.kind)]
    Problem {
        /// The problem document.
        problem: Problem,
        /// HTTP status of the answer; `None` if the problem is part of a resource.
        http_status: Option<u16>,
        /// The CA does not want to be asked before this moment.
        retry_after: Option<Timestamp>,
        /// The refused order has addresses (RFC 8738), which may be why.
        of_address: bool,
    },
    /// The CA answered with an error that has no problem document of the protocol.
    #[error("unexpected http status: {http_status} from <{url}>{}", says(.problem, .moved_to))]
    HttpStatus {
        /// The resource.
        url: String,
        /// HTTP status.
        http_status: u16,
        /// A problem document of another kind.
        problem: Option<Box<Problem>>,
        /// The URL of a redirect.
        moved_to: Option<String>,
        /// The CA does not want to be asked before this moment.
        retry_after: Option<Timestamp>,
    },
    /// The answer is not what the protocol says.
    #[error("unable to process the response from <{url}>: http-status={http_status}, content-type={content_type}")]
    NotUnderstood {
        /// The resource.
        url: String,
        /// HTTP status.
        http_status: u16,
        /// Type of the body.
        content_type: String,
    },
    /// The answer lacks something that is needed.
    #[error("the CA's answer from <{url}> lacks {what}")]
    Lacks {
        /// The resource.
        url: String,
        /// The missing part.
        what: &'static str,
    },
    /// The CA names a URL that no request may go to.
    #[error("the CA names the URL <{url}>, which {why}, so it is not asked")]
    ForeignUrl {
        /// The URL.
        url: String,
        /// The reason.
        why: &'static str,
    },
    /// The order has more authorizations than a renewal follows.
    #[error("the CA's order <{url}> has {count} authorizations for {names} names, which is more than one for each")]
    TooManyAuthorizations {
        /// The order.
        url: String,
        /// Number of authorizations.
        count: usize,
        /// Number of names.
        names: usize,
    },
    /// The CA refuses an account, and does not say that the account is at an end.
    #[error("{}", account_refused(.url, .why))]
    AccountRefused {
        /// URL of the account.
        url: String,
        /// The refusal.
        why: Box<AcmeError>,
    },
    /// The CA refuses a contact that the administrator has set for it.
    #[error("{}", contact_refused(.contacts, .from, &.problem.detail))]
    ContactRefused {
        /// The contacts, in quotes.
        contacts: String,
        /// The directive and its place.
        from: String,
        /// The problem document.
        problem: Box<Problem>,
    },
    /// The CA refuses an account that has no contact.
    #[error("{}", no_contact(.left_out, &.problem.detail))]
    NoContact {
        /// Contacts that the CA refused before.
        left_out: Option<LeftOut>,
        /// The problem document.
        problem: Box<Problem>,
    },
    /// The CA's terms were not agreed to.
    #[error(
        "the CA requires you to accept the terms-of-service as specified in <{terms}>. Please read the document that you find at that URL and, if you agree to the conditions, configure 'MDCertificateAgreement accepted' in your Apache. Then (graceful) restart the server to activate."
    )]
    NoAgreement {
        /// URL of the terms.
        terms: String,
    },
    /// The MAC key of the external account cannot be decoded.
    #[error("the MAC key of MDExternalAccountBinding is neither base64url nor base64")]
    EabKey,
    /// No type of challenge can be answered, so the CA need not be asked.
    #[error("{0}")]
    NoSuitableChallenge(String),
    /// The CA has no challenge that can be answered.
    #[error(
        "None of offered challenge types for domain {name} are supported. The server offered '{offered}' and available are: '{wanted}'.{reasons}"
    )]
    NoChallenge {
        /// The name.
        name: String,
        /// The types that the CA offers.
        offered: String,
        /// The types that could be used.
        wanted: String,
        /// Why some types could not be used, a sentence each with a blank in front.
        reasons: String,
    },
    /// No challenge could be set up.
    #[error("None of the offered challenge types for domain {name} could be set up.{reasons}")]
    NotSetUp {
        /// The name.
        name: String,
        /// Result code of the last try.
        status: Status,
        /// The reason for each type, a sentence each with a blank in front.
        reasons: String,
    },
    /// The CA does not offer the mandatory profile.
    #[error(
        "the CA does not offer the profile '{profile}', but {}; change MDProfile, or set MDProfileMandatory off to order without",
        offer(.offered)
    )]
    ProfileNotOffered {
        /// As configured.
        profile: String,
        /// The profiles that the CA offers.
        offered: Vec<String>,
    },
    /// The CA refused the mandatory profile.
    #[error("{}", profile_refused(.profile, &.problem.detail))]
    ProfileRefused {
        /// As configured.
        profile: String,
        /// The problem document.
        problem: Problem,
    },
    /// No record for dns-persist-01 is possible.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A challenge was not met.
    #[error("CA considers answer to challenge invalid: {}", .problem.detail)]
    ChallengeFailed {
        /// The name.
        name: String,
        /// The problem document.
        problem: Box<Problem>,
        /// Whether a TXT record that a command has made was the answer.
        by_txt: bool,
        /// The record that the administrator has to make for the challenge to be met.
        record: Option<TxtRecord>,
        /// The type of the challenge, and the one that the next attempt uses in its place, if one is left untried.
        turn: Option<(ChallengeType, ChallengeType)>,
    },
    /// The order failed without the CA saying why.
    #[error("the order {url} is invalid")]
    OrderInvalid {
        /// The order.
        url: String,
    },
    /// The CA takes too long.
    #[error("Error waiting for {what}: the CA was not done after 5 minutes{}", found(.problem))]
    TimedOut {
        /// The awaited event.
        what: &'static str,
        /// The problem with which the CA has not given up yet.
        problem: Option<Box<Problem>>,
    },
    /// The CA wants to be asked much later.
    #[error("Error waiting for {what}: the CA wants to be asked again at {}{}", time::format_gmt(*.retry_after), found(.problem))]
    Postponed {
        /// The awaited event.
        what: &'static str,
        /// The problem with which the CA has not given up yet.
        problem: Option<Box<Problem>>,
        /// Not before this moment.
        retry_after: Timestamp,
    },
    /// The certificate cannot be read.
    #[error("the certificate from <{url}> cannot be used: {source}")]
    Certificate {
        /// URL of the certificate.
        url: String,
        /// The error in the chain.
        source: ChainError,
    },
    /// The certificate is for another key.
    #[error("Certificate and private key do not match.")]
    WrongKey,
    /// The key that was saved before the order is gone from the store.
    #[error("The staged private key ({0}) of the ordered certificate is gone or cannot be read.")]
    KeyLost(String),
    /// The certificate is not what was ordered.
    #[error("{0}")]
    Unfit(String),
    /// There is no certificate of tailscaled.
    #[error(transparent)]
    Tailscale(#[from] TailscaleError),
    /// Keys or signatures failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The store or a command failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Describes the profiles that a CA offers, for a sentence.
pub(crate) fn offer(profiles: &[String]) -> String {
    if profiles.is_empty() {
        "no profiles at all".to_owned()
    } else {
        format!("only {}", outside::text(&profiles.join(", ")))
    }
}

fn profile_refused(profile: &str, says: &str) -> String {
    format!(
        "the CA refuses the profile '{profile}': {says}; change MDProfile, or set MDProfileMandatory off to order without"
    )
}

fn contact_refused(contacts: &str, from: &str, says: &str) -> String {
    format!("the CA refuses the contact {contacts} ({from}): {says}")
}

fn no_contact(left_out: &Option<LeftOut>, says: &str) -> String {
    match left_out {
        Some(LeftOut { contacts, why }) => format!(
            "the CA refuses the contact {contacts} of ServerAdmin ({why}), and then an account without a contact: {says}"
        ),
        None => format!("the CA refuses an account without a contact: {says}"),
    }
}

fn account_refused(url: &str, says: &impl std::fmt::Display) -> String {
    format!("the CA refuses requests of account {url}: {says}")
}

fn unavailable(http_status: u16) -> String {
    match http_status {
        503 => "the server is unavailable (HTTP status 503)".to_owned(),
        other => format!("the server answered with HTTP status {other}"),
    }
}

fn says(problem: &Option<Box<Problem>>, moved_to: &Option<String>) -> String {
    match (problem, moved_to) {
        (Some(problem), _) => format!(": {}", problem.sentence()),
        (None, Some(url)) => format!(", a redirect to <{url}>, which is not followed"),
        (None, None) => String::new(),
    }
}

fn found(problem: &Option<Box<Problem>>) -> String {
    problem
        .as_ref()
        .map_or_else(String::new, |problem| format!("; it found: {}", problem.sentence().trim_end_matches('.')))
}

fn set_record(TxtRecord { name, value }: &TxtRecord) -> String {
    format!("set the TXT record {name} to '{value}' and leave it there")
}

/// Joins what happened and what to do about it.
fn with_advice(happened: &str, advice: Option<&str>) -> String {
    match advice {
        Some(advice) if happened.ends_with('.') => format!("{happened} What to do: {advice}"),
        Some(advice) => format!("{happened}; {advice}"),
        None => happened.to_owned(),
    }
}

impl From<ChainRefused> for AcmeError {
    fn from(refused: ChainRefused) -> Self {
        match refused {
            ChainRefused::Unfit(reason) => Self::Unfit(reason),
            ChainRefused::Port(err) => Self::Port(err),
        }
    }
}

impl AcmeError {
    /// Whether the same input will be refused again, so that tries are wasted until the administrator acts.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Problem { problem, .. } => problem.is_permanent(),
            Self::ChallengeFailed { problem, turn, .. } => turn.is_none() && problem.is_permanent_of_challenge(),
            Self::ContactRefused { problem, .. } | Self::NoContact { problem, .. } => problem.is_permanent(),
            Self::NoAgreement { .. } | Self::NoSuitableChallenge(_) => true,
            Self::EabKey | Self::Version1 { .. } => true,
            // Each attempt would cost another certificate.
            Self::WrongKey | Self::Unfit(_) => true,
            Self::ProfileNotOffered { .. } | Self::ProfileRefused { .. } => true,
            _ => false,
        }
    }

    /// The moment before which the CA does not want to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Timestamp> {
        match self {
            Self::Problem { retry_after, .. }
            | Self::HttpStatus { retry_after, .. }
            | Self::Unavailable { retry_after, .. } => *retry_after,
            Self::Postponed { retry_after, .. } => Some(*retry_after),
            Self::Tailscale(source) => source.retry_after(),
            Self::AccountRefused { why, .. } => why.retry_after(),
            _ => None,
        }
    }

    /// Whether the CA refused with the ACME error of that name, e.g. `badNonce`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Problem { problem, .. } if problem.is(name))
    }

    /// Whether no answer has come.
    #[must_use]
    pub fn is_of_transport(&self) -> bool {
        matches!(self, Self::Transport(_) | Self::NoDirectory { .. })
    }

    /// Whether it was this server that stopped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Transport(source) | Self::NoDirectory { source, .. } => source.is_cancelled(),
            Self::Tailscale(source) => source.is_cancelled(),
            _ => false,
        }
    }

    /// Whether the CA has looked at a name and was not content: at a challenge, or at its CAA records, which it also looks
    /// at when the order is finalized. CAs limit how often that may happen in an hour.
    #[must_use]
    pub fn is_failed_validation(&self) -> bool {
        match self {
            Self::ChallengeFailed { .. } => true,
            Self::Problem { problem, .. } => problem.is_of_validation(),
            _ => false,
        }
    }

    /// Whether the CA no longer knows the resource, or does not let this account see it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Problem { problem, .. } => {
                matches!(problem.status(), Status::DENIED | Status::NOT_FOUND) || problem.is("malformed")
            }
            Self::HttpStatus { http_status, .. } => matches!(http_status, 401 | 403 | 404),
            _ => false,
        }
    }

    /// Whether the reason may be that the directory or the account, which were read a while ago, are out of date.
    #[must_use]
    pub fn may_be_outdated(&self) -> bool {
        let is_of_url = |http_status: u16| http_status < 500 && http_status != 429;
        match self {
            Self::Transport(source) => !source.is_cancelled(),
            Self::Unavailable { http_status, .. } | Self::HttpStatus { http_status, .. } => is_of_url(*http_status),
            Self::Problem { problem, http_status, .. } => {
                ["accountDoesNotExist", "unauthorized", "malformed"].iter().any(|kind| problem.is(kind))
                    || matches!(http_status, Some(401 | 404 | 405 | 410))
            }
            _ => false,
        }
    }

    /// Whether the CA cannot take the CSR yet, as the order is not ready (RFC 8555 section 7.4).
    #[must_use]
    pub fn is_order_not_ready(&self) -> bool {
        matches!(self, Self::Problem { problem, .. } if problem.is("orderNotReady"))
    }

    /// Whether the CA refused what was sent, and might take something else at once.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Problem { problem, retry_after: None, .. } => {
                !["rateLimited", "accountDoesNotExist", "userActionRequired"].iter().any(|name| problem.is(name))
            }
            Self::HttpStatus { http_status, retry_after: None, .. } => {
                (400..500).contains(http_status) && *http_status != 429
            }
            _ => false,
        }
    }

    /// Whether an order may have been refused because of the certificate that it names as replaced, so that the CA might take it
    /// without that name. Some CAs answer with an internal error then, which
    /// has a Retry-After as any other.
    #[must_use]
    pub fn may_be_of_replacement(&self) -> bool {
        match self {
            Self::Problem { problem, .. } => {
                self.is_refusal() || problem.http_status == 500 && problem.is("serverInternal")
            }
            Self::HttpStatus { http_status, .. } => self.is_refusal() || *http_status == 500,
            _ => false,
        }
    }

    /// Whether an order has no certificate that would be of use.
    #[must_use]
    pub fn is_useless_certificate(&self) -> bool {
        self.is_gone() || matches!(self, Self::Certificate { .. } | Self::WrongKey | Self::KeyLost(_) | Self::Unfit(_))
    }

    /// Whether the refusal of a registration may be about its contacts.
    #[must_use]
    pub fn may_be_of_contact(&self) -> bool {
        matches!(self, Self::Problem { problem, .. } if problem.may_be_of_contact())
    }

    /// Names the contacts in the refusal of a registration that had them.
    pub(crate) fn of_contacts(self, contacts: String, source: &ContactSource) -> Self {
        match self {
            Self::Problem { problem, .. } if problem.is_of_contact() => {
                Self::ContactRefused { contacts, from: source.to_string(), problem: Box::new(problem) }
            }
            other => other,
        }
    }

    /// Marks the refusal of a registration without a contact.
    pub(crate) fn of_missing_contact(self, left_out: Option<LeftOut>) -> Self {
        match self {
            Self::Problem { problem, .. } if problem.may_be_of_contact() => {
                Self::NoContact { left_out, problem: Box::new(problem) }
            }
            other => other,
        }
    }

    /// Whether the CA says that the account does not exist, or is deactivated or revoked. No other refusal says so: a key that
    /// was just changed is refused, too, as are requests that a proxy answers.
    #[must_use]
    pub fn is_account_lost(&self) -> bool {
        let Self::Problem { problem, .. } = self else { return false };
        let detail = problem.detail.to_ascii_lowercase();
        let is_at_an_end = || AT_AN_END.iter().any(|words| detail.contains(words));
        problem.is("accountDoesNotExist") || problem.is("unauthorized") && is_at_an_end()
    }

    /// The result code.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::NoDirectory { source, .. } | Self::Transport(source) => source.status(),
            Self::Unavailable { .. } | Self::Postponed { .. } | Self::BadNonce => Status::AGAIN,
            Self::Problem { problem, .. } => problem.status(),
            Self::ContactRefused { problem, .. } | Self::NoContact { problem, .. } => problem.status(),
            Self::HttpStatus { http_status: 400, .. } => Status::INVALID,
            Self::HttpStatus { http_status: 401 | 403, .. } => Status::DENIED,
            Self::HttpStatus { http_status: 404, .. } => Status::NOT_FOUND,
            Self::TimedOut { .. } => Status::TIMED_OUT,
            Self::Port(source) => source.status,
            Self::Tailscale(source) => source.status(),
            Self::AccountRefused { why, .. } => why.status(),
            Self::NotSetUp { status, .. } => *status,
            Self::HttpStatus { .. } | Self::ChallengeFailed { .. } | Self::Crypto(_) => Status::GENERAL,
            Self::Unfit(_) => Status::GENERAL,
            _ => Status::INVALID,
        }
    }

    /// The type of the problem where the CA gives none. Monitoring reads these names, so they stay as they are;
    /// docs/monitoring.md lists them.
    fn own_problem(&self) -> &'static str {
        match self {
            Self::NoDirectory { source, .. } | Self::Transport(source) => source.problem(),
            Self::Unavailable { .. } => "ca-unavailable",
            Self::NotADirectory { .. } | Self::Version1 { .. } => "ca-directory-invalid",
            Self::BadNonce => "urn:ietf:params:acme:error:badNonce",
            Self::HttpStatus { .. } => "ca-http-status",
            Self::NotUnderstood { .. } | Self::Lacks { .. } => "ca-answer-invalid",
            Self::TooManyAuthorizations { .. } | Self::ForeignUrl { .. } => "ca-answer-invalid",
            Self::Problem { .. } | Self::ContactRefused { .. } | Self::NoContact { .. } => "ca-problem",
            Self::AccountRefused { why, .. } => why.own_problem(),
            Self::NoAgreement { .. } => "agreement-missing",
            Self::EabKey => "apache:eab-hmac-invalid",
            Self::NoSuitableChallenge(_) | Self::NoChallenge { .. } => "challenge-mismatch",
            Self::NotSetUp { .. } | Self::Malformed(_) => "challenge-setup-failure",
            Self::ChallengeFailed { .. } => "challenge-failed",
            Self::ProfileNotOffered { .. } | Self::ProfileRefused { .. } => "profile-refused",
            Self::OrderInvalid { .. } => "order-invalid",
            Self::TimedOut { .. } => "ca-timeout",
            Self::Postponed { .. } => "ca-postponed",
            Self::Certificate { .. } | Self::WrongKey | Self::Unfit(_) => "certificate-unusable",
            Self::KeyLost(_) => "key-lost",
            Self::Tailscale(source) => source.problem(),
            Self::Crypto(_) => "crypto-failure",
            Self::Port(_) => PortError::PROBLEM,
        }
    }

    /// Returns advice for the administrator, where the text of the error does not give it already.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        const TRIED_AGAIN: &str =
            "the answer may come from something other than the CA, such as a proxy; the next attempt follows";
        match self {
            Self::NotADirectory { .. } => Some("check that MDCertificateAuthority is the URL of the CA's directory"),
            Self::Unavailable { moved_to: Some(_), .. } | Self::HttpStatus { moved_to: Some(_), .. } => {
                Some("check whether the CA has a new URL for MDCertificateAuthority")
            }
            Self::Unavailable { http_status: 400..500, problem: None, retry_after: None, .. } => {
                Some("check that MDCertificateAuthority is the URL of the CA's directory")
            }
            Self::Unavailable { .. } => Some("the next attempt follows"),
            Self::HttpStatus { http_status: 500.., .. } => Some("the CA has to fix this; the next attempt follows"),
            Self::HttpStatus { .. } | Self::NotUnderstood { .. } | Self::Lacks { .. } => Some(TRIED_AGAIN),
            Self::Certificate { .. } | Self::ForeignUrl { .. } => Some(TRIED_AGAIN),
            Self::NoDirectory { source, .. } | Self::Transport(source) => source.advice(),
            Self::BadNonce => {
                Some("servers of the CA, or a proxy, may not share their nonces; the next attempt follows")
            }
            Self::Problem { of_address: true, .. } => Some(SHORT_LIFE),
            Self::Problem { problem, .. } => problem.advice(),
            Self::ContactRefused { problem, .. } => problem.advice(),
            Self::NoContact { .. } => Some("if the CA wants a contact, set MDContactEmail"),
            Self::ChallengeFailed { record: Some(_), .. } => None,
            Self::ChallengeFailed { problem, by_txt, .. } => problem.advice_on_challenge(*by_txt),
            Self::Tailscale(source) => source.advice(),
            Self::AccountRefused { .. } => Some(
                "the account stays in use, and the next attempt follows; if the CA will not take it again, 'a2md acme delreg' and \
                 a restart let the server register another",
            ),
            Self::EabKey => Some("copy the key again from the CA's page"),
            Self::NoChallenge { .. } => Some("see MDCAChallenges, MDPortMap, and MDChallengeDns01 for wildcards"),
            Self::OrderInvalid { .. } | Self::TooManyAuthorizations { .. } => {
                Some("the next attempt places a new order")
            }
            Self::KeyLost(_) => Some("a new certificate is ordered with a new key"),
            Self::TimedOut { .. } | Self::Postponed { .. } => Some("the next attempt continues the same order"),
            Self::Unfit(_) | Self::WrongKey => Some(
                "the served certificate stays, and the CA is asked again once a day: check whether it takes these settings, or use \
                 another CA",
            ),
            _ => None,
        }
    }

    /// Adds which type of challenge the next attempt uses, if that is another one.
    fn with_turn(&self, happened: String) -> String {
        match self {
            Self::ChallengeFailed { turn: Some((kind, next)), .. } => {
                let end = if happened.ends_with('.') { " The" } else { "; the" };
                format!("{happened}{end} next attempt uses '{next}' in place of '{kind}'")
            }
            _ => happened,
        }
    }

    /// Returns the error as a sentence, with all that the CA says and with the advice.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.to_result().detail.unwrap_or_default()
    }

    /// Returns the result for job.json, the log and the status pages: the error, all that the CA says, and the advice.
    #[must_use]
    pub fn to_result(&self) -> JobResult {
        let (problem, happened) = match self {
            Self::Problem { problem, .. } => (Some(problem), problem.sentence()),
            Self::ChallengeFailed { name, problem, record, .. } => {
                let says = problem.sentence();
                let name = if name.is_empty() { String::new() } else { format!("{name}: ") };
                let record =
                    record.as_ref().map(|record| with_advice("", Some(&set_record(record)))).unwrap_or_default();
                (Some(&**problem), format!("{name}CA considers answer to challenge invalid: {says}{record}"))
            }
            Self::ProfileRefused { profile, problem } => (Some(problem), profile_refused(profile, &problem.sentence())),
            Self::ContactRefused { contacts, from, problem } => {
                (Some(&**problem), contact_refused(contacts, from, &problem.sentence()))
            }
            Self::NoContact { left_out, problem } => (Some(&**problem), no_contact(left_out, &problem.sentence())),
            Self::AccountRefused { url, why } => match &**why {
                Self::Problem { problem, .. } => (Some(problem), account_refused(url, &problem.sentence())),
                _ => (None, self.to_string()),
            },
            Self::Unavailable { problem, .. } | Self::HttpStatus { problem, .. } => {
                (problem.as_deref(), self.to_string())
            }
            _ => (None, self.to_string()),
        };
        let kind = problem.filter(|problem| problem.has_type()).map(|problem| &*problem.kind);
        let detail = self.with_turn(with_advice(&happened, self.advice()));
        JobResult {
            subproblems: problem.map(|problem| problem.subproblems.clone()).unwrap_or_default(),
            ..JobResult::failure(self.status(), kind.unwrap_or(self.own_problem()), detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn every_kind() -> Vec<(AcmeError, &'static str)> {
        let url = || "https://ca.test/x".to_owned();
        let text = || "text".to_owned();
        let transport = || HttpError::Resolve { host: text(), reason: text() };
        let typed = || Problem::from(json!({ "type": "urn:ietf:params:acme:error:caa", "detail": "no" }));
        let unavailable = |problem| AcmeError::Unavailable {
            url: url(),
            http_status: 503,
            problem,
            moved_to: None,
            retry_after: None,
        };
        let http_status = |problem| AcmeError::HttpStatus {
            url: url(),
            http_status: 500,
            problem,
            moved_to: None,
            retry_after: None,
        };
        let refused = |problem| AcmeError::Problem { problem, http_status: None, retry_after: None, of_address: false };
        let failed = |problem| AcmeError::ChallengeFailed {
            name: text(),
            problem: Box::new(problem),
            by_txt: false,
            record: None,
            turn: None,
        };
        let no_profile = |problem| AcmeError::ProfileRefused { profile: text(), problem };
        let caa = "urn:ietf:params:acme:error:caa";
        let tailscale = |cause| AcmeError::Tailscale(TailscaleError { socket: "/run/tailscaled.sock".into(), cause });
        vec![
            (AcmeError::NoDirectory { url: url(), source: transport() }, "transport-resolve"),
            (AcmeError::Transport(transport()), "transport-resolve"),
            (unavailable(None), "ca-unavailable"),
            (unavailable(Some(Box::new(typed()))), caa),
            (AcmeError::NotADirectory { url: url() }, "ca-directory-invalid"),
            (AcmeError::Version1 { url: url() }, "ca-directory-invalid"),
            (AcmeError::BadNonce, "urn:ietf:params:acme:error:badNonce"),
            (refused(typed()), caa),
            (refused(Problem::default()), "ca-problem"),
            (http_status(None), "ca-http-status"),
            (http_status(Some(Box::new(typed()))), caa),
            (AcmeError::NotUnderstood { url: url(), http_status: 200, content_type: text() }, "ca-answer-invalid"),
            (AcmeError::Lacks { url: url(), what: "text" }, "ca-answer-invalid"),
            (AcmeError::ForeignUrl { url: url(), why: "is not of https" }, "ca-answer-invalid"),
            (AcmeError::TooManyAuthorizations { url: url(), count: 2, names: 1 }, "ca-answer-invalid"),
            (AcmeError::AccountRefused { url: url(), why: Box::new(refused(typed())) }, caa),
            (AcmeError::AccountRefused { url: url(), why: Box::new(http_status(None)) }, "ca-http-status"),
            (AcmeError::ContactRefused { contacts: text(), from: text(), problem: Box::new(typed()) }, caa),
            (AcmeError::NoContact { left_out: None, problem: Box::new(typed()) }, caa),
            (AcmeError::NoAgreement { terms: url() }, "agreement-missing"),
            (AcmeError::EabKey, "apache:eab-hmac-invalid"),
            (AcmeError::NoSuitableChallenge(text()), "challenge-mismatch"),
            (
                AcmeError::NoChallenge { name: text(), offered: text(), wanted: text(), reasons: text() },
                "challenge-mismatch",
            ),
            (AcmeError::NotSetUp { name: text(), status: Status::GENERAL, reasons: text() }, "challenge-setup-failure"),
            (AcmeError::Malformed(Malformed::NoIssuers), "challenge-setup-failure"),
            (AcmeError::ProfileNotOffered { profile: text(), offered: Vec::new() }, "profile-refused"),
            (no_profile(typed()), caa),
            (no_profile(Problem::default()), "profile-refused"),
            (failed(typed()), caa),
            (failed(Problem::default()), "challenge-failed"),
            (AcmeError::OrderInvalid { url: url() }, "order-invalid"),
            (AcmeError::TimedOut { what: "text", problem: Some(Box::new(typed())) }, "ca-timeout"),
            (AcmeError::Postponed { what: "text", problem: None, retry_after: Timestamp::UNIX_EPOCH }, "ca-postponed"),
            (AcmeError::WrongKey, "certificate-unusable"),
            (AcmeError::Unfit(text()), "certificate-unusable"),
            (AcmeError::KeyLost(text()), "key-lost"),
            (tailscale(crate::tailscale::Cause::Transport(transport())), "transport-resolve"),
            (tailscale(crate::tailscale::Cause::WrongKey), "certificate-unusable"),
            (AcmeError::Port(PortError { status: Status(28), text: text() }), "store-failure"),
        ]
    }

    #[test]
    fn each_failure_has_a_status_a_problem_and_a_sentence() {
        for (error, problem) in every_kind() {
            let result = error.to_result();
            assert_eq!(result.problem.as_deref(), Some(problem), "{error:?}");
            assert_ne!(result.status, Status::OK, "{error:?}");
            assert_eq!(
                (&result.status_description, result.detail.is_some()),
                (&result.status.text(), true),
                "{error:?}"
            );
            let line = result.to_log("x.org");
            assert!(line.contains(&format!("problem[{problem}] detail[")), "{line}");
        }
    }
}
