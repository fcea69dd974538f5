//! A connection that speaks the protocol of Redis (RESP), over TCP or TLS.
//!
//! The crate `redis` writes requests and reads answers. Its own connections are not used: they panic where a certificate does not
//! verify, and take no file of CAs.

use std::fmt;
use std::io::{Read, Write};
use std::net::SocketAddr;

use ::redis::{Cmd, Parser, Value, cmd};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{LARGEST_RECORD, MeetingError, PATIENCE};
use crate::cancel::Cancel;
use crate::crypto::{Stream, TlsClient};
use crate::net::{Deadline, TimedStream, addresses};

/// The port of Redis and Valkey.
const PORT: u16 = 6379;
/// The most hosts of an address.
const MOST_HOSTS: usize = 8;
/// The largest answer: a record and what is around it, or the list of many changes.
const LARGEST_ANSWER: u64 = 16 * LARGEST_RECORD as u64;

/// Where the engine is (`MDFleet`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether connections are TLS (`rediss`).
    pub is_tls: bool,
    /// Hosts and ports; of several the one that can be written is used.
    pub hosts: Vec<(String, u16)>,
    /// The number of the database.
    pub database: u32,
}

/// User and password (`MDFleetAuthFile`).
#[derive(Clone, Default)]
pub struct Login {
    /// The user; empty for the engine's default one.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// TLS with the engine.
pub type Tls = TlsClient;

impl Address {
    /// Reads `redis://host[:port][,host2[:port]...][/database]`, or `rediss` for TLS.
    ///
    /// # Errors
    /// A sentence on what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("the URL begins with redis:// or rediss://")?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" => false,
            "rediss" => true,
            _ => return Err("the URL begins with redis:// or rediss://".to_owned()),
        };
        if rest.contains('@') {
            return Err("the URL has a user or a password, which everybody sees who sees the configuration: write them into a file and name it by MDFleetAuthFile".to_owned());
        }
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match database {
            "" => 0,
            number => {
                number.parse().map_err(|_| format!("'{}' is not the number of a database", number.escape_default()))?
            }
        };
        let hosts: Vec<(String, u16)> = hosts.split(',').map(host).collect::<Result<_, _>>()?;
        if hosts.len() > MOST_HOSTS {
            return Err(format!("the URL has more than {MOST_HOSTS} hosts"));
        }
        Ok(Self { is_tls, hosts, database })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> =
            self.hosts.iter().map(|(host, port)| format!("{}:{port}", crate::model::url_host(host))).collect();
        write!(f, "{}://{}/{}", if self.is_tls { "rediss" } else { "redis" }, hosts.join(","), self.database)
    }
}

fn host(text: &str) -> Result<(String, u16), String> {
    // The port of a URL is not given back where it is the usual one of its scheme, so the scheme is one without.
    let url = Url::parse(&format!("engine://{text}"))
        .ok()
        .filter(|url| url.path().is_empty() && url.query().is_none() && url.fragment().is_none());
    let found = url.as_ref().and_then(|url| {
        let host = match url.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        Some((host, url.port().unwrap_or(PORT))).filter(|(host, port)| !host.is_empty() && *port > 0)
    });
    found.ok_or_else(|| format!("'{}' is not a host with or without a port", text.escape_default()))
}

/// A connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    parser: Parser,
    deadline: Deadline,
}

impl Wire {
    /// Connects to a host and logs in.
    pub(super) fn connect(
        address: &Address,
        (host, port): (&str, u16),
        login: Option<&Login>,
        tls: &Tls,
        cancel: &Cancel,
    ) -> Result<Self, MeetingError> {
        let deadline = Deadline::after(PATIENCE);
        let at = format!("{}:{port}", crate::model::url_host(host));
        let away = |err: &dyn fmt::Display| MeetingError::Away(format!("no connection to {at}: {err}"));
        let found = addresses(host, port, &deadline).map_err(|err| away(&err))?;
        let stream = first(&found, &deadline, cancel).map_err(|err| away(&err))?;
        let stream: Box<dyn Stream> =
            if address.is_tls { tls.connect(stream, host).map_err(|err| away(&err))? } else { Box::new(stream) };
        let mut wire = Self { stream, parser: Parser::new(), deadline };
        if let Some(login) = login {
            let mut auth = cmd("AUTH");
            if !login.user.is_empty() {
                auth.arg(&login.user);
            }
            wire.ask(auth.arg(login.password.as_str()))?;
        }
        if address.database > 0 {
            wire.ask(cmd("SELECT").arg(address.database))?;
        }
        Ok(wire)
    }

    /// Sends a request and reads its answer.
    pub(super) fn ask(&mut self, request: &Cmd) -> Result<Value, MeetingError> {
        self.deadline.set_after(PATIENCE);
        self.send(request)?;
        self.read()
    }

    pub(super) fn send(&mut self, request: &Cmd) -> Result<(), MeetingError> {
        let bytes = Zeroizing::new(request.get_packed_command());
        let sent = self.stream.write_all(&bytes).and_then(|()| self.stream.flush());
        sent.map_err(|err| MeetingError::Away(format!("the engine does not take a request: {err}")))
    }

    /// Reads the next answer until the deadline.
    pub(super) fn read(&mut self) -> Result<Value, MeetingError> {
        let answer = self.parser.parse_value((&mut self.stream).take(LARGEST_ANSWER));
        match answer.map_err(|err| MeetingError::Away(format!("the engine sends no answer: {err}")))? {
            Value::ServerError(err) => Err(refusal(err.code(), err.details().unwrap_or_default())),
            value => Ok(value),
        }
    }

    /// Moves the deadline for what is read next.
    pub(super) fn wait_until(&self, time: std::time::Duration) {
        self.deadline.set_after(time);
    }
}

/// Codes of errors that pass by themselves: the engine loads its data, has lost its master, or changes it.
const PASSING: [&str; 7] = ["LOADING", "MASTERDOWN", "READONLY", "TRYAGAIN", "CLUSTERDOWN", "BUSY", "NOREPLICAS"];

fn refusal(code: &str, detail: &str) -> MeetingError {
    let text = crate::model::outside::text(&format!("{code} {detail}"));
    if PASSING.contains(&code) {
        MeetingError::Away(format!("the engine is not ready: {text}"))
    } else {
        MeetingError::Refused(format!("the engine refuses: {text}"))
    }
}

fn first(found: &[SocketAddr], deadline: &Deadline, cancel: &Cancel) -> std::io::Result<TimedStream> {
    let mut last = Err(std::io::ErrorKind::NotFound.into());
    for at in found {
        last = TimedStream::connect(*at, deadline.clone(), cancel.clone());
        if last.is_ok() {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_hosts_ports_and_a_database() {
        let parse = |text| Address::parse(text).map(|address| (address.to_string(), address.is_tls));
        for (text, expected, is_tls) in [
            ("redis://cache.example.net/", "redis://cache.example.net:6379/0", false),
            ("REDISS://cache.example.net", "rediss://cache.example.net:6379/0", true),
            (
                "redis://a.test:7000,b.test,[2001:db8::1]:1/3",
                "redis://a.test:7000,b.test:6379,[2001:db8::1]:1/3",
                false,
            ),
            ("redis://127.0.0.1:80", "redis://127.0.0.1:80/0", false),
        ] {
            assert_eq!(parse(text), Ok((expected.to_owned(), is_tls)), "{text}");
        }
    }

    #[test]
    fn mistakes_in_an_address_are_named() {
        let many = format!("redis://{}", ["a"; 9].join(","));
        for (text, phrase) in [
            ("cache.example.net", "begins with redis://"),
            ("http://cache.example.net", "begins with redis://"),
            ("redis://user:secret@cache.example.net/", "MDFleetAuthFile"),
            ("redis://", "is not a host"),
            ("redis://a,,b", "is not a host"),
            ("redis://a:0", "is not a host"),
            ("redis://a:x", "is not a host"),
            ("redis://a?x=1", "is not a host"),
            ("redis://a/x", "'x' is not the number of a database"),
            (&many, "more than 8 hosts"),
        ] {
            let err = Address::parse(text).unwrap_err();
            assert!(err.contains(phrase) && !err.contains("secret"), "{text}: {err}");
        }
    }

    #[test]
    fn some_refusals_pass() {
        assert!(matches!(refusal("LOADING", "x"), MeetingError::Away(_)));
        assert!(
            matches!(refusal("NOPERM", "\u{1b}[2J"), MeetingError::Refused(text) if text.contains("NOPERM") && !text.contains('\u{1b}'))
        );
    }
}
