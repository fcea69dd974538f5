//! The commands of a fleet: `fleet keygen` and `fleet check`.

use std::time::Duration;

use serde_json::json;
use zeroize::Zeroizing;

use super::error::CliError;
use super::given::Given;
use super::session::Session;
use crate::cancel::Cancel;
use crate::fleet::{Address, Facts, Login, MeetingError, RedisMeeting, Seal, Tls, run_suite};
use crate::model::Status;

/// The fleet of a server that gives it no name.
const USUAL_NAME: &str = "md";
/// The life of sessions while the contract is run.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// The largest file that is read.
const LARGEST_FILE: u64 = 64 << 10;
/// The difference to the clock of the engine that is told, in seconds.
const CLOCK_DRIFT: i64 = 60;

/// Prints a new key for `MDFleetKeyFile`: `fleet keygen`.
pub fn keygen(session: &mut Session, _: &Given<'_>) -> Result<(), CliError> {
    let key = Seal::generate().map_err(|err| CliError::invalid(err.to_string()))?;
    session.report(&key, json!(&*key));
    Ok(())
}

/// Connects to an engine and tells whether it can be the meeting point of a fleet: `fleet check [options] url [name]`.
pub fn check(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let args = given.args();
    let [url, rest @ ..] = &args[..] else {
        return Err(CliError::Usage("missing argument: URL of the engine, as MDFleet has it"));
    };
    let name = rest.first().copied().unwrap_or(USUAL_NAME);
    let address = Address::parse(url).map_err(CliError::invalid)?;
    let login = given.value("login").map(read_login).transpose()?;
    let roots = given.value("roots").map(|path| read(path).map(|text| text.as_bytes().to_vec())).transpose()?;
    if let Some(path) = given.value("key") {
        Seal::parse(name, &read(path)?).map_err(|err| CliError::invalid(format!("{path}: {err}")))?;
        session.report(&format!("{path} has keys: ok"), json!({ "check": "key", "result": "ok" }));
    }
    let runs_suite = given.flag("suite");
    let life = if runs_suite { SHORT_LIFE } else { crate::fleet::SESSION };
    let make = || {
        let tls = Tls { roots: roots.clone(), ..Tls::default() };
        RedisMeeting::new(address.clone(), login.clone(), tls, name, Cancel::default()).with_life(life)
    };
    let failed = |err: &MeetingError| {
        let status = if matches!(err, MeetingError::Away(_)) { Status::AGAIN } else { Status::GENERAL };
        CliError::Refused { status, text: format!("{address}: {err}") }
    };
    let facts = make().facts().map_err(|err| failed(&err))?;
    let problems = problems(&facts, session.clock().now().as_second());
    let line = format!("{address} is {}", facts.program);
    session.report(&line, json!({ "check": "engine", "result": "ok", "detail": line }));
    for problem in &problems {
        session.report(
            &format!("{problem}: warning"),
            json!({ "check": "engine", "result": "warning", "detail": problem }),
        );
    }
    if runs_suite {
        let connect = &mut || Ok(Box::new(make()) as Box<dyn crate::fleet::Meeting>);
        run_suite(connect, &std::thread::sleep, SHORT_LIFE)
            .map_err(|err| CliError::Refused { status: Status::GENERAL, text: format!("{address}: {err}") })?;
        session.report("the engine keeps the contract: ok", json!({ "check": "contract", "result": "ok" }));
    }
    Ok(())
}

/// Returns what is not as it should be.
fn problems(facts: &Facts, now: i64) -> Vec<String> {
    let mut found = Vec::new();
    if !(facts.eviction.is_empty() || facts.eviction == "noeviction" || facts.eviction.starts_with("volatile-")) {
        found.push(format!(
            "maxmemory-policy is {}, so that records vanish when the memory is full; set noeviction",
            facts.eviction
        ));
    }
    if facts.is_replica {
        found.push("it is a replica and takes no writes; name its master too".to_owned());
    }
    if !facts.is_durable {
        found.push(
            "it has no append-only file, so that nodes have to tell it everything again after its restart".to_owned(),
        );
    }
    if (facts.time - now).abs() > CLOCK_DRIFT {
        found.push(format!("its clock differs by {} seconds from that of this machine", (facts.time - now).abs()));
    }
    found
}

/// Reads user and password (`MDFleetAuthFile`).
fn read_login(path: &str) -> Result<Login, CliError> {
    let text = read(path)?;
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(user), Some(password)) => {
            Ok(Login { user: user.trim().to_owned(), password: Zeroizing::new(password.trim().to_owned()) })
        }
        _ => Err(CliError::invalid(format!(
            "{path}: the first line is the user, which may be empty, the second the password"
        ))),
    }
}

fn read(path: &str) -> Result<Zeroizing<String>, CliError> {
    use std::io::Read;
    let failed = |err: std::io::Error| CliError::invalid(format!("cannot read {path}: {err}"));
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text)).map_err(failed)?;
    Ok(text)
}
