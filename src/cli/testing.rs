//! Runs commands of a2md on a store and a CA in memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use serde_json::Value;

use super::environment::{Environment, open_files};
use super::output::Terminal;
use super::run_in;
use super::words::Colour;
use crate::log::Level;
use crate::model::Status;
use crate::store::{Aspect, Group};
use crate::testing::ca::FakeCa;
use crate::testing::{TestServer, watch_log};

/// A server, and the directory of a store of files if the commands use one.
pub struct Shell {
    pub server: TestServer,
    files: Option<tempfile::TempDir>,
}

/// The result of a command.
#[derive(Debug)]
pub struct Done {
    pub code: u8,
    pub out: String,
    /// Lines and messages. Messages begin with level and result code, unless they are `info` without a failure.
    pub err: String,
}

#[derive(Default)]
struct Recorder {
    out: Mutex<String>,
    err: Mutex<String>,
    is_plain: bool,
}

fn add(text: &Mutex<String>, line: &str) {
    let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
    text.push_str(line.trim_end());
    text.push('\n');
}

impl Terminal for Recorder {
    fn listen(&self, _more: i32, _options: Vec<(&'static str, &'static str)>) {
        watch_log();
    }

    fn print(&self, line: &str) {
        add(&self.out, line);
    }

    fn print_coloured(&self, before: &str, _colour: Colour, word: &str, after: &str) {
        self.print(&format!("{before}{word}{after}"));
    }

    fn say(&self, line: &str) {
        add(&self.err, line);
    }

    fn message(&self, level: Level, status: Status, text: &str) {
        match (level, status) {
            (Level::Info, Status::OK) => self.say(text),
            _ => self.say(&format!("{level:?} {}: {text}", status.0)),
        }
    }

    fn has_spinner(&self) -> bool {
        false
    }

    fn is_plain(&self) -> bool {
        self.is_plain
    }
}

impl Shell {
    /// Makes an empty store in memory, with an account at the CA.
    pub fn new() -> Self {
        Self::of(TestServer::new(&[]))
    }

    /// Makes an empty store in memory, and a CA without accounts.
    pub fn without_account() -> Self {
        Self::of(TestServer::without_account(&[]))
    }

    /// Uses the store and the CA of a server.
    pub fn of(server: TestServer) -> Self {
        Self { server, files: None }
    }

    /// Chooses a directory for a store of files, which does not exist yet.
    pub fn on_files() -> Self {
        Self { files: Some(tempfile::tempdir().unwrap()), ..Self::without_account() }
    }

    /// Returns the directory of the store of files.
    pub fn dir(&self) -> PathBuf {
        self.files.as_ref().expect("a store of files").path().join("md")
    }

    /// Runs a2md with the options and arguments in `line`, and the store.
    pub fn run(&self, line: &str) -> Done {
        let dir = if self.files.is_some() { self.dir() } else { PathBuf::from("/md") };
        self.run_without_store(&format!("-d {} {line}", dir.display()))
    }

    /// Runs a2md with nothing but the options and arguments in `line`.
    pub fn run_without_store(&self, line: &str) -> Done {
        self.run_on(Recorder::default(), line)
    }

    /// Runs a2md as [`Shell::run`] for a person at a terminal, and returns the messages.
    pub fn said_to_a_person(&self, line: &str) -> String {
        self.run_on(Recorder { is_plain: true, ..Recorder::default() }, &format!("-d /md {line}")).err
    }

    fn run_on(&self, recorder: Recorder, line: &str) -> Done {
        let recorder = Arc::new(recorder);
        let ca = Arc::clone(&self.server.ca);
        let clock = Arc::clone(&self.server.clock);
        let store = Arc::clone(&self.server.store);
        let reach = self.server.reach;
        let environment = Environment {
            terminal: Arc::clone(&recorder) as _,
            clock: self.server.moving_clock(),
            dir: None,
            usual: self.files.iter().map(|_| self.dir()).collect(),
            open: match self.files {
                Some(_) => Box::new(open_files),
                None => Box::new(move |_: &Path, _| Ok(Some((Arc::clone(&store) as _, reach)))),
            },
            connect: Box::new(move |_| Arc::clone(&ca) as _),
            sleep: Box::new(move |time| clock.advance(SignedDuration::try_from(time).unwrap())),
        };
        let words = std::iter::once("a2md").chain(line.split_whitespace());
        let code = run_in(environment, words.map(Into::into));
        let text = |text: &Mutex<String>| text.lock().unwrap().clone();
        Done { code, out: text(&recorder.out), err: text(&recorder.err) }
    }

    /// Runs a command that succeeds, and returns what it prints.
    pub fn succeed(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!(done.code, 0, "{line}: {done:?}");
        done.out
    }

    /// Runs a command that fails without a result, and returns its messages.
    pub fn fail(&self, line: &str) -> String {
        let done = self.run(line);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{line}: {done:?}");
        done.err
    }

    /// Runs a command that succeeds with `-j`, and returns the output in its document.
    pub fn json(&self, line: &str) -> Value {
        let done = self.run(&format!("-j {line}"));
        let document = done.document();
        assert_eq!((done.code, &document["status"]), (0, &0.into()), "{line}: {done:?}");
        document["output"].clone()
    }

    /// Adds a domain that can be renewed at the CA.
    pub fn add_domain(&self, names: &str) {
        let name = names.split(' ').next().unwrap();
        self.succeed(&format!("-a {} add {names}", FakeCa::DIRECTORY));
        self.succeed(&format!("update {name} contacts admin@x.org"));
        self.succeed(&format!("update {name} agreement accepted"));
    }

    /// Returns the settings of a domain in the store.
    pub fn md(&self, name: &str) -> Value {
        let text = self.server.text(Group::Domains, name, &Aspect::MdJson).expect("a domain in the store");
        serde_json::from_str(&text).unwrap()
    }

    /// Changes the settings of a domain in the store.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut md = self.md(name);
        change(&mut md);
        self.server.put(Group::Domains, name, &Aspect::MdJson, &md.to_string());
    }
}

impl Done {
    /// Returns the JSON document that the command has printed.
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|err| panic!("{err}: {self:?}"))
    }
}
