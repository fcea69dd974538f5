//! [`Meeting`] on Redis 6.2 or newer, or Valkey.
//!
//! All keys of a fleet have one hash tag, so that a cluster has them in one place. Each call is one script, which the engine carries
//! out as one step.

use std::time::{Duration, Instant};

use ::redis::{Value, cmd};
use serde_json::json;

use super::wire::{Address, Login, Tls, Wire};
use super::{
    Changes, Fence, Held, Key, LARGEST_RECORD, Live, Meeting, MeetingError, PATIENCE, Pulse, Put, Record, Revision,
    SESSION, Session,
};
use crate::cancel::Cancel;
use crate::crypto::{base64url, random_bytes};

const BEAT: &str = include_str!("redis/beat.lua");
const LEAVE: &str = include_str!("redis/leave.lua");
const CLAIM: &str = concat!(include_str!("redis/common.lua"), include_str!("redis/claim.lua"));
const FREE: &str = include_str!("redis/free.lua");
const PUT: &str = concat!(include_str!("redis/common.lua"), include_str!("redis/put.lua"));
const REMOVE: &str = concat!(include_str!("redis/common.lua"), include_str!("redis/remove.lua"));
const CHANGES: &str = include_str!("redis/changes.lua");

/// For how long a removal is listed.
const REMOVALS: Duration = Duration::from_secs(7 * 86_400);
/// Time after which a node looks by itself, as a notice may be lost.
const LOOK: Duration = Duration::from_secs(1);
/// The most sessions that are taken note of.
const MOST_SESSIONS: usize = 1_000;

/// A node's way to the engine. Connections are made when they are needed.
pub struct RedisMeeting {
    address: Address,
    login: Option<Login>,
    tls: Tls,
    cancel: Cancel,
    prefix: String,
    life: Duration,
    wire: Option<Wire>,
    notices: Option<Wire>,
}

/// What the engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The program and its version, e.g. `redis 7.0.15`.
    pub program: String,
    /// What the engine drops when its memory is full (`maxmemory-policy`).
    pub eviction: String,
    /// Whether it keeps changes on disk (`appendonly`).
    pub is_durable: bool,
    /// Whether it is a replica, which takes no writes.
    pub is_replica: bool,
    /// The engine's clock, in seconds since 1970.
    pub time: i64,
}

impl RedisMeeting {
    /// Makes the way of a node of the fleet with this name. Sessions live for `life`; all nodes need the same.
    #[must_use]
    pub fn new(address: Address, login: Option<Login>, tls: Tls, fleet: &str, cancel: Cancel) -> Self {
        let prefix = format!("{{md:{fleet}}}:");
        Self { address, login, tls, cancel, prefix, life: SESSION, wire: None, notices: None }
    }

    /// Has sessions live for another time.
    #[must_use]
    pub fn with_life(self, life: Duration) -> Self {
        Self { life, ..self }
    }

    /// Returns what the engine says of itself.
    ///
    /// # Errors
    /// See [`MeetingError`].
    pub fn facts(&mut self) -> Result<Facts, MeetingError> {
        let info = text(&self.ask(&cmd("INFO"))?);
        let value = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            crate::model::outside::text(line.unwrap_or_default().trim())
        };
        let time = list(self.ask(&cmd("TIME"))?);
        let program = match value("valkey_version") {
            version if version.is_empty() => format!("redis {}", value("redis_version")),
            version => format!("valkey {version}"),
        };
        Ok(Facts {
            program,
            eviction: value("maxmemory_policy"),
            is_durable: value("aof_enabled") == "1",
            is_replica: value("role") == "slave",
            time: time.first().map(text).and_then(|seconds| seconds.parse().ok()).unwrap_or_default(),
        })
    }

    /// Connects to the first host that takes writes.
    fn connect(&self) -> Result<Wire, MeetingError> {
        let mut last = Err(MeetingError::Away("no host of MDFleet takes writes".to_owned()));
        for (host, port) in &self.address.hosts {
            match Wire::connect(&self.address, (host, *port), self.login.as_ref(), &self.tls, &self.cancel) {
                Ok(mut wire) if self.address.hosts.len() > 1 => {
                    // An engine that tells nothing of itself is taken as it is.
                    let is_replica =
                        wire.ask(cmd("INFO").arg("replication")).is_ok_and(|info| text(&info).contains("role:slave"));
                    if !is_replica {
                        return Ok(wire);
                    }
                }
                Ok(wire) => return Ok(wire),
                Err(err) => last = Err(err),
            }
        }
        last
    }

    fn ask(&mut self, request: &::redis::Cmd) -> Result<Value, MeetingError> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect()?,
        };
        let answer = wire.ask(request);
        // What comes after a failure would be the answer to another request.
        if !matches!(answer, Err(MeetingError::Away(_))) {
            self.wire = Some(wire);
        }
        answer
    }

    /// Runs a script, whose first argument is the prefix.
    fn run(&mut self, script: &str, arguments: &[&[u8]]) -> Result<Value, MeetingError> {
        let mut request = cmd("EVAL");
        request.arg(script).arg(1).arg(format!("{}rev", self.prefix)).arg(&self.prefix);
        for argument in arguments {
            request.arg(*argument);
        }
        self.ask(&request)
    }

    fn revision(&mut self) -> Result<Revision, MeetingError> {
        let key = format!("{}rev", self.prefix);
        Ok(Revision(number(&self.ask(cmd("GET").arg(key))?)))
    }
}

impl Meeting for RedisMeeting {
    fn beat(&mut self, session: &Session, applied: Revision) -> Result<Pulse, MeetingError> {
        let Session { node, id, version, format, domains } = session;
        let description = json!({
            "node": node, "id": id, "version": version, "format": format, "domains": domains, "applied": applied.0
        });
        let life = self.life.as_millis().to_string();
        let epoch = base64url(&random_bytes::<12>().map_err(|err| MeetingError::Refused(err.to_string()))?);
        let name = session.name();
        let description = description.to_string();
        let arguments = [name.as_bytes(), description.as_bytes(), life.as_bytes(), epoch.as_bytes()];
        let found = list(self.run(BEAT, &arguments)?);
        let [epoch, revision, driver, sessions] = <[Value; 4]>::try_from(found).map_err(|_| unexpected())?;
        let driver = Some(text(&driver)).filter(|driver| !driver.is_empty());
        let sessions = list(sessions).iter().take(MOST_SESSIONS).filter_map(live).collect();
        Ok(Pulse { epoch: text(&epoch), revision: Revision(number(&revision)), driver, sessions })
    }

    fn leave(&mut self, session: &str) -> Result<(), MeetingError> {
        self.run(LEAVE, &[session.as_bytes()]).map(drop)
    }

    fn claim(&mut self, key: &Key, session: &Session) -> Result<Option<Held>, MeetingError> {
        let session = session.name();
        let answer = self.run(CLAIM, &[key.as_str().as_bytes(), session.as_bytes()])?;
        Ok(number_or_lost(&answer)?.map(|fence| Held { key: key.clone(), session, fence: Fence(fence) }))
    }

    fn free(&mut self, held: &Held) -> Result<(), MeetingError> {
        let fence = held.fence.0.to_string();
        self.run(FREE, &[held.key.as_str().as_bytes(), fence.as_bytes()]).map(drop)
    }

    fn get(&mut self, key: &Key) -> Result<Option<Record>, MeetingError> {
        let name = format!("{}d:{key}", self.prefix);
        let found = list(self.ask(cmd("HMGET").arg(name).arg(&["rev", "fence", "content"]))?);
        let [revision, fence, content] = <[Value; 3]>::try_from(found).map_err(|_| unexpected())?;
        match content {
            Value::BulkString(bytes) if bytes.len() <= LARGEST_RECORD => {
                Ok(Some(Record { revision: Revision(number(&revision)), fence: Fence(number(&fence)), bytes }))
            }
            Value::Nil => Ok(None),
            _ => Err(unexpected()),
        }
    }

    fn put(&mut self, put: &Put<'_>) -> Result<Option<Revision>, MeetingError> {
        if put.bytes.len() > LARGEST_RECORD {
            return Err(MeetingError::Refused(format!("the record {} is larger than {LARGEST_RECORD} bytes", put.key)));
        }
        let over = put.over.map_or(String::new(), |revision| revision.0.to_string());
        let [claim, session, fence] = claim_words(put.held);
        let life = put.life.map_or(0, |life| life.as_millis()).to_string();
        let arguments = [
            put.key.as_str().as_bytes(),
            over.as_bytes(),
            claim.as_bytes(),
            session.as_bytes(),
            fence.as_bytes(),
            life.as_bytes(),
            put.bytes,
        ];
        let answer = self.run(PUT, &arguments)?;
        Ok(number_or_lost(&answer)?.map(Revision))
    }

    fn remove(&mut self, key: &Key, held: Option<&Held>) -> Result<(), MeetingError> {
        let [claim, session, fence] = claim_words(held);
        let listed = REMOVALS.as_millis().to_string();
        let words = [key.as_str(), &claim, &session, &fence, &listed].map(str::as_bytes);
        let answer = self.run(REMOVE, &words)?;
        if text(&answer) == "lost" { Err(MeetingError::Lost) } else { Ok(()) }
    }

    fn changes(&mut self, epoch: &str, since: Revision) -> Result<Changes, MeetingError> {
        let answer = self.run(CHANGES, &[epoch.as_bytes(), since.0.to_string().as_bytes()])?;
        if matches!(answer, Value::Nil) {
            return Ok(Changes::Everything);
        }
        let found = list(answer);
        let change =
            |row: &[Value]| Some((Key::parse(&text(&row[0]))?, Revision(number(&row[1])), number(&row[2]) == 0));
        Ok(Changes::Keys(found.chunks_exact(3).filter_map(change).collect()))
    }

    fn wait(&mut self, since: Revision, most: Duration, cancel: &Cancel) -> Result<(), MeetingError> {
        let until = Instant::now() + most;
        loop {
            if self.revision()? > since || cancel.is_cancelled() {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if self.notices.is_none() {
                let mut wire = self.connect()?;
                wire.wait_until(PATIENCE);
                wire.send(cmd("SUBSCRIBE").arg(format!("{}notice", self.prefix)))?;
                wire.read()?;
                self.notices = Some(wire);
                // Something may have happened before the subscription.
                continue;
            }
            let Some(wire) = &mut self.notices else { continue };
            wire.wait_until(left.min(LOOK));
            if wire.read().is_err() {
                // No notice in this time, or no connection. The next look tells; reading on could begin in the middle of an answer.
                self.notices = None;
            }
        }
    }
}

/// The words that a script needs of a claim.
fn claim_words(held: Option<&Held>) -> [String; 3] {
    held.map_or_else(
        || [String::new(), String::new(), "0".to_owned()],
        |held| [held.key.as_str().to_owned(), held.session.clone(), held.fence.0.to_string()],
    )
}

fn unexpected() -> MeetingError {
    MeetingError::Refused("the engine sends another answer than the scripts return".to_owned())
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::VerbatimString { text, .. } => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Okay => "OK".to_owned(),
        _ => String::new(),
    }
}

fn number(value: &Value) -> u64 {
    text(value).parse().unwrap_or_default()
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        _ => Vec::new(),
    }
}

/// Reads a number, or the words of a script for none.
fn number_or_lost(value: &Value) -> Result<Option<u64>, MeetingError> {
    match text(value).as_str() {
        "lost" => Err(MeetingError::Lost),
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| unexpected()),
    }
}

/// Reads the description of a session. Others than nodes may write into the engine: what is no description is ignored.
fn live(value: &Value) -> Option<Live> {
    let document: serde_json::Value = serde_json::from_str(&text(value)).ok()?;
    let word = |name: &str| document[name].as_str().map(crate::model::outside::text);
    let small = |name: &str| document[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let session = Session {
        node: word("node")?,
        id: word("id")?,
        version: word("version")?,
        format: small("format")?,
        domains: small("domains")?,
    };
    Some(Live { session, applied: Revision(document["applied"].as_u64()?) })
}
