//! Parsers for the values of directives, with their errors.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use url::{ParseError, Url};

use super::Scope;
use crate::model::authority::{CA_NAMES, known_ca};
use crate::model::{
    ActivationMode, DailyWindow, Eab, MatchNames, RenewMode, RequireHttps, SHORTEST_CHAIN, Unit, parse_duration,
    without_passwords,
};

/// The error of a MAC key. The key itself is a secret.
const NO_MAC_KEY: &str = "cannot be decoded: it has to be the whole text that the CA shows, in base64url or base64";

/// The time that `MDStoreLocks on` waits for the lock.
const STORE_LOCK_WAIT: Duration = Duration::from_secs(5);

/// Reads `shortest` in any case, or the name of an issuer as it is.
pub(super) fn preferred_chain(arg: &str) -> Arc<str> {
    if arg.eq_ignore_ascii_case(SHORTEST_CHAIN) { SHORTEST_CHAIN.into() } else { arg.into() }
}

pub(super) fn ca_url(arg: &str) -> Result<String, String> {
    if let Some(url) = known_ca(arg) {
        return Ok(url.to_owned());
    }
    match Url::parse(arg) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(arg.to_owned()),
        // A socket of tailscaled.
        Ok(url) if url.scheme() == "file" => match url.to_file_path() {
            Ok(_) => Ok(arg.to_owned()),
            Err(()) => Err(format!("'{arg}' is not on this machine: use file://localhost/path/to/socket")),
        },
        _ => {
            let names: Vec<_> = CA_NAMES.iter().map(|(name, _)| *name).collect();
            Err(format!(
                "The CA name '{}' is not known and it is not a URL either. Known CA names are: {}.",
                without_passwords(arg),
                names.join(", ")
            ))
        }
    }
}

pub(super) fn proxy_url(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(text.to_owned());
    }
    let shown = without_passwords(text);
    let wrong = |what: &str| Err(format!("{what}: '{shown}', use a URL like http://proxy.example.org:3128, or 'none'"));
    if text.is_empty() {
        return wrong("missing uri identifier");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return wrong("whitespace in uri");
    }
    let Some((scheme, rest)) = text.split_once(':') else { return wrong("missing uri scheme") };
    if !["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return wrong("uri scheme must be http or https");
    }
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') {
        return wrong("missing hostname");
    }
    match Url::parse(text) {
        Ok(url) if url.port() == Some(0) => wrong("invalid port"),
        Ok(url) if url.host_str().is_none_or(|host| !is_host(host)) => wrong("invalid hostname"),
        Ok(_) => Ok(text.to_owned()),
        Err(ParseError::InvalidPort) => wrong("invalid port"),
        Err(ParseError::EmptyHost) => wrong("missing hostname"),
        Err(
            ParseError::IdnaError
            | ParseError::InvalidDomainCharacter
            | ParseError::InvalidIpv4Address
            | ParseError::InvalidIpv6Address,
        ) => wrong("invalid hostname"),
        Err(_) => wrong("not an uri"),
    }
}

/// Checks a host: an address, or labels without characters that no host has.
fn is_host(host: &str) -> bool {
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    host.starts_with('[') || host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

/// Reads the word `none`, in any case, as `None`.
pub(super) fn unless_none(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.eq_ignore_ascii_case("none"))
}

/// Reads the rest of a line; `None` if it is empty.
pub(super) fn command(line: &str) -> Option<String> {
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

pub(super) fn path(scope: &Scope<'_>, text: &str, complaint: &str) -> Result<PathBuf, String> {
    (scope.resolve)(text).ok_or_else(|| format!("{complaint}{text}"))
}

pub(super) fn file(scope: &Scope<'_>, text: &str, complaint: &str) -> Result<String, String> {
    Ok(path(scope, text, complaint)?.to_string_lossy().into_owned())
}

/// Reads key id and MAC key, the name of a file that has both, or `none`.
pub(super) fn eab(scope: &Scope<'_>, args: &[&str]) -> Result<Option<Arc<Eab>>, String> {
    match args {
        [kid, hmac] => {
            let eab = Eab { kid: (*kid).to_owned(), hmac: (*hmac).to_owned() };
            eab.mac_key().ok_or_else(|| format!("the MAC key of '{kid}' {NO_MAC_KEY}"))?;
            Ok(Some(Arc::new(eab)))
        }
        [word, ..] if !word.eq_ignore_ascii_case("none") => {
            let path = path(scope, word, "Invalid file path ")?;
            let Some(bytes) = (scope.read)(&path).map_err(|err| unreadable(&path, &err))? else { return Ok(None) };
            eab_in(&path, &bytes).map(|eab| Some(Arc::new(eab)))
        }
        _ => Ok(None),
    }
}

fn unreadable(path: &Path, err: &io::Error) -> String {
    match err.kind() {
        io::ErrorKind::NotFound => format!("file not found: {}", path.display()),
        _ => format!("error reading JSON file {}: {err}", path.display()),
    }
}

/// Parses the file without repeating its content in errors, as that is a secret.
fn eab_in(path: &Path, bytes: &[u8]) -> Result<Eab, String> {
    let json: Value =
        serde_json::from_slice(bytes).map_err(|_| format!("error reading JSON file {}: no JSON", path.display()))?;
    let member = |name: &str| {
        let found = json.get(name).and_then(Value::as_str).map(str::to_owned);
        found.ok_or_else(|| format!("JSON does not contain '{name}' element in file {}", path.display()))
    };
    let eab = Eab { kid: member("kid")?, hmac: member("hmac")? };
    eab.mac_key().ok_or_else(|| format!("'hmac' element in file {} {NO_MAC_KEY}", path.display()))?;
    Ok(eab)
}

pub(super) fn renew_mode(text: &str) -> Result<RenewMode, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" | "automatic" => Ok(RenewMode::Auto),
        "always" => Ok(RenewMode::Always),
        "manual" | "stick" => Ok(RenewMode::Manual),
        other => Err(format!("unknown mode '{other}', use 'auto', 'always' or 'manual'")),
    }
}

pub(super) fn activation(text: &str) -> Result<ActivationMode, String> {
    match text.to_ascii_lowercase().as_str() {
        "restart" => Ok(ActivationMode::Restart),
        "live" => Ok(ActivationMode::Live),
        "graceful" => Ok(ActivationMode::Graceful),
        _ => Err(format!("unknown '{text}', use 'restart', 'live' or 'graceful'")),
    }
}

/// Reads whether commands are told of all events.
pub(super) fn message_events(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "compatible" => Ok(false),
        "all" => Ok(true),
        _ => Err(format!("unknown '{text}', use 'compatible' or 'all'")),
    }
}

/// Reads hours of the day; `None` for the word `any`.
pub(super) fn daily_window(text: &str) -> Result<Option<DailyWindow>, String> {
    if text.eq_ignore_ascii_case("any") {
        return Ok(None);
    }
    DailyWindow::parse(text).map(Some).map_err(|err| err.to_string())
}

pub(super) fn require_https(text: &str) -> Result<Option<RequireHttps>, String> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(None),
        "temporary" => Ok(Some(RequireHttps::Temporary)),
        "permanent" => Ok(Some(RequireHttps::Permanent)),
        _ => Err(format!("unknown '{text}', supported parameter values are 'temporary' and 'permanent', or 'off'")),
    }
}

pub(super) fn match_names(text: &str) -> Result<MatchNames, String> {
    match text.to_ascii_lowercase().as_str() {
        "all" => Ok(MatchNames::All),
        "servernames" => Ok(MatchNames::ServerNames),
        other => Err(format!("invalid argument, must be a 'all' or 'servernames': '{other}'")),
    }
}

pub(super) fn duration(text: &str, default: Unit) -> Result<SignedDuration, String> {
    parse_duration(text, default).map_err(|err| format!("{err}: '{text}'"))
}

pub(super) fn at_least(text: &str, least: SignedDuration, complaint: &str) -> Result<SignedDuration, String> {
    let value = duration(text, Unit::Seconds)?;
    if value < least { Err(format!("{complaint}: '{text}'")) } else { Ok(value) }
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let value = at_least(text, SignedDuration::from_millis(1), "time-out must be greater than 0")?;
    Ok(value.unsigned_abs())
}

pub(super) fn on_off(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("unknown '{text}', supported parameter values are 'on' and 'off'")),
    }
}

/// Reads how long a start waits for the lock of the store; `None` for no lock.
pub(super) fn store_locks(text: &str) -> Result<Option<Duration>, String> {
    if let Ok(on) = on_off(text) {
        return Ok(on.then_some(STORE_LOCK_WAIT));
    }
    let wait = parse_duration(text, Unit::Seconds).ok().and_then(|wait| Duration::try_from(wait).ok());
    let wait = wait.ok_or_else(|| format!("neither 'on', 'off' or a duration specified: '{text}'"))?;
    Ok(Some(wait).filter(|wait| !wait.is_zero()))
}
