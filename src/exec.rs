//! External commands: run without a shell in a process group of their own, with a time limit.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::cancel::Cancel;
use crate::log::note;
use crate::model::{Status, outside};

/// A command to run.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program, an absolute path or one relative to the working directory, and its arguments.
    pub argv: Vec<String>,
    /// The longest time that the command may run.
    pub timeout: Duration,
    /// Stops the command earlier.
    pub cancel: Cancel,
}

/// Why a command has failed. The text follows the command's name.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The command could not be started.
    #[error("cannot be executed: {0}")]
    NotExecutable(io::Error),
    /// The command ended with an exit code other than zero.
    #[error("failed with exit code {code}{}", .said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Exit {
        /// The exit code.
        code: i32,
        /// The last line of its error output.
        said: Option<String>,
    },
    /// The command was killed by a signal from elsewhere.
    #[error("was killed by signal {0}")]
    Signal(i32),
    /// The command was stopped because it took longer than this.
    #[error("was stopped after {0:?}")]
    TimedOut(Duration),
    /// The command was stopped because the server stops.
    #[error("was cancelled")]
    Cancelled,
}

/// Prepares a new process beyond what the standard library does; see [`install`].
pub type Prepare = fn(&mut std::process::Command);

static PREPARE: RwLock<Option<Prepare>> = RwLock::new(None);

/// The time between the request to end and the kill.
const GRACE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// The longest line of stderr that is logged in one piece.
const LONGEST_LINE: usize = 4096;
/// The most bytes of stderr that are logged of one run.
const MOST_LOGGED: usize = 64 << 10;

/// Installs `prepare`, which is called for every command before it starts.
///
/// A new process inherits blocked and ignored signals and descriptors that are not close-on-exec. Where there are such, as in a
/// server, only code between fork and exec can change that, which cannot be safe code: it is left to the server's glue.
pub fn install(prepare: Option<Prepare>) {
    *PREPARE.write().unwrap_or_else(PoisonError::into_inner) = prepare;
}

impl Command {
    /// Runs the command to its end with `stdin` as its input. Its output is discarded, its error output is logged, up to 64 KB.
    ///
    /// At the time limit, or on a cancel, the whole process group is asked to end and killed a second later. Otherwise,
    /// processes that
    /// the command leaves in the background stay.
    ///
    /// # Errors
    /// See [`ExecError`].
    pub fn run(&self, stdin: &[u8]) -> Result<(), ExecError> {
        let program = self.argv.first().map_or("", String::as_str);
        self.run_with(stdin, &mut |line| note!(Info, "cmd({program}) stderr: {line}"))
    }

    fn run_with(&self, stdin: &[u8], log: &mut dyn FnMut(&str)) -> Result<(), ExecError> {
        if self.cancel.is_cancelled() {
            return Err(ExecError::Cancelled);
        }
        let mut running = Running::start(&self.argv, stdin).map_err(ExecError::NotExecutable)?;
        let _aside = self.cancel.step_aside();
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        let result = loop {
            running.exchange(log);
            match running.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => break judge(status),
                Err(error) => break Err(ExecError::NotExecutable(error)),
            }
            let stopped = match () {
                () if self.cancel.is_cancelled() => Some(ExecError::Cancelled),
                () if start.elapsed() >= self.timeout => Some(ExecError::TimedOut(self.timeout)),
                () => None,
            };
            if let Some(error) = stopped {
                running.stop();
                break Err(error);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        running.exchange(log);
        running.stderr.finish(log);
        result.map_err(|err| match err {
            ExecError::Exit { code, .. } => ExecError::Exit { code, said: running.stderr.last() },
            other => other,
        })
    }
}

impl ExecError {
    /// Returns the result code to report.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Exit { code: 1..=127, .. } => Status::GENERAL,
            Self::NotExecutable(_) | Self::Exit { .. } | Self::Signal(_) => Status::INCOMPLETE_PATH,
            Self::TimedOut(_) => Status::TIMED_OUT,
            Self::Cancelled => Status::AGAIN,
        }
    }

    /// Whether the command has not even begun.
    #[must_use]
    pub fn is_not_begun(&self) -> bool {
        matches!(self, Self::NotExecutable(_))
    }

    /// Whether the server stopped the command, which does not count as a failure.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

fn judge(status: ExitStatus) -> Result<(), ExecError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(ExecError::Exit { code, said: None }),
        (None, signal) => Err(ExecError::Signal(signal.unwrap_or_default())),
    }
}

/// A running command. Its pipes do not block: a process that inherits its error output may keep it open for ever.
struct Running<'a> {
    child: Child,
    input: Option<Input<'a>>,
    stderr: Lines,
}

/// The input of a command, which need not read it.
struct Input<'a> {
    unsent: &'a [u8],
    /// The end to write to; closed when everything is sent.
    writer: Option<File>,
    /// The other end, kept open so that no SIGPIPE is sent: it ends a server that does not ignore it yet.
    reader: OwnedFd,
}

impl<'a> Running<'a> {
    fn start(argv: &[String], stdin: &'a [u8]) -> io::Result<Self> {
        let (program, args) = argv.split_first().ok_or(ErrorKind::NotFound)?;
        // A name without a slash would be searched for in PATH.
        let path = if program.contains('/') { program.clone() } else { format!("./{program}") };
        let mut command = std::process::Command::new(path);
        let input = if stdin.is_empty() { None } else { Some(Input::new(stdin)?) };
        command.arg0(program).args(args).process_group(0);
        command.stdin(match &input {
            Some(input) => input.reader.try_clone()?.into(),
            None => Stdio::null(),
        });
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(prepare) = *PREPARE.read().unwrap_or_else(PoisonError::into_inner) {
            prepare(&mut command);
        }
        let mut running = Self { child: command.spawn()?, input, stderr: Lines::default() };
        if let Err(error) = running.child.stderr.as_ref().map_or(Ok(()), unblock) {
            running.stop();
            return Err(error);
        }
        Ok(running)
    }

    /// Sends and receives as much as is possible without waiting.
    fn exchange(&mut self, log: &mut dyn FnMut(&str)) {
        if let Some(input) = &mut self.input {
            input.hand_over();
        }
        let mut buffer = [0; LONGEST_LINE];
        // Read in pieces: a command that writes faster than the log must not escape its time limit.
        for _ in 0..64 {
            let Some(pipe) = &mut self.child.stderr else { break };
            match pipe.read(&mut buffer) {
                Ok(0) => self.child.stderr = None,
                Ok(count) => self.stderr.push(&buffer[..count], log),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }

    /// Ends the process group, also the processes in it that outlive the command.
    fn stop(&mut self) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        let _ = kill_process_group(group, Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
            if ended && test_kill_process_group(group).is_err() {
                return;
            }
            thread::sleep(LONGEST_PAUSE / 5);
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        unblock(&writer)?;
        Ok(Self { unsent: bytes, writer: Some(writer.into()), reader })
    }

    fn hand_over(&mut self) {
        while let Some(pipe) = &mut self.writer {
            match pipe.write(self.unsent) {
                Ok(count) if count < self.unsent.len() => self.unsent = &self.unsent[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.writer = None,
            }
        }
    }
}

fn unblock(pipe: &impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?)
}

/// Joins pieces into lines, up to a limit for all of them.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    /// The last line that was complete.
    last: Vec<u8>,
    /// How many bytes there were in all.
    seen: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], log: &mut dyn FnMut(&str)) {
        let logged = &bytes[..bytes.len().min(MOST_LOGGED.saturating_sub(self.seen))];
        self.seen += bytes.len();
        for byte in logged {
            if *byte == b'\n' || self.line.len() == LONGEST_LINE {
                self.end_line(log);
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    fn end_line(&mut self, log: &mut dyn FnMut(&str)) {
        if !self.line.is_empty() {
            log(String::from_utf8_lossy(&self.line).trim_end());
            std::mem::swap(&mut self.line, &mut self.last);
            self.line.clear();
        }
    }

    /// Returns the last line that was logged, for a sentence.
    fn last(&self) -> Option<String> {
        (!self.last.is_empty()).then(|| outside::text(String::from_utf8_lossy(&self.last).trim_end()))
    }

    fn finish(&mut self, log: &mut dyn FnMut(&str)) {
        self.end_line(log);
        let left_out = self.seen.saturating_sub(MOST_LOGGED);
        if left_out > 0 {
            log(&format!("({left_out} more bytes are left out)"));
        }
    }
}

/// Returns why nobody can run the program of a configured command, as far as the file system tells; `None` if it seems
/// runnable.
/// A relative path starts at `/`, where a server works.
#[must_use]
pub fn lack(line: &str) -> Option<String> {
    let words = split_command_line(line);
    let program = words.first()?;
    match fs::metadata(Path::new("/").join(program)) {
        Err(error) => Some(error.to_string()),
        Ok(found) if !found.is_file() => Some("it is not a file".to_owned()),
        Ok(found) if found.mode() & 0o111 == 0 => Some("it is not executable".to_owned()),
        Ok(_) => None,
    }
}

/// Splits a configured command into words as httpd does: at blanks, unless they are in quotes that begin a word or after a
/// backslash. Backslashes vanish; quotes inside of a word stand for themselves.
#[must_use]
pub fn split_command_line(line: &str) -> Vec<String> {
    const BLANKS: [char; 2] = [' ', '\t'];
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(BLANKS);
    while let Some(first) = rest.chars().next() {
        let quote = Some(first).filter(|c| matches!(c, '"' | '\''));
        let ends = |c: char| quote.map_or(BLANKS.contains(&c), |quote| c == quote);
        let text = &rest[quote.map_or(0, char::len_utf8)..];
        let end = word_end(text, ends);
        words.push(without_backslashes(&text[..end]));
        rest = text[end..].strip_prefix(ends).unwrap_or_default().trim_start_matches(BLANKS);
    }
    words
}

fn word_end(text: &str, ends: impl Fn(char) -> bool) -> usize {
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next_if(|(_, next)| matches!(next, ' ' | '\t' | '"' | '\''));
        } else if ends(character) {
            return at;
        }
    }
    text.len()
}

fn without_backslashes(text: &str) -> String {
    let mut characters = text.chars();
    std::iter::from_fn(|| match characters.next() {
        Some('\\') => characters.next(),
        other => other,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_lacks_is_seen_without_running_it() {
        let rows = [
            ("/bin/sh -c 'exit 1'", None),
            ("bin/sh", None),
            ("", None),
            ("/nonexistent/hook a", Some("No such file or directory (os error 2)")),
            ("\"/tmp\" a", Some("it is not a file")),
            ("/etc/passwd", Some("it is not executable")),
        ];
        for (line, expected) in rows {
            assert_eq!(lack(line).as_deref(), expected, "{line}");
        }
    }

    fn sh(script: &str) -> Command {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Command { argv, timeout: Duration::from_secs(600), cancel: Cancel::default() }
    }

    fn wait_for(what: impl Fn() -> bool) {
        while !what() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn lines_of(command: &Command) -> Vec<String> {
        let mut lines = Vec::new();
        command.run_with(b"", &mut |line| lines.push(line.to_owned())).unwrap();
        lines
    }

    #[test]
    fn results_have_their_codes() {
        let rows = [
            ("exit 3", "failed with exit code 3", Status::GENERAL),
            ("exit 127", "failed with exit code 127", Status::GENERAL),
            ("exit 255", "failed with exit code 255", Status::INCOMPLETE_PATH),
            ("kill -9 $$", "was killed by signal 9", Status::INCOMPLETE_PATH),
        ];
        for (script, text, status) in rows {
            let error = sh(script).run(b"").unwrap_err();
            assert_eq!((error.to_string().as_str(), error.status()), (text, status), "{script}");
        }
        sh("true").run(b"").unwrap();
    }

    #[test]
    fn what_cannot_be_executed_is_told() {
        for argv in [&[][..], &["/nonexistent/hook"], &["/etc/passwd"], &["/tmp"], &["true"], &["/bin/echo", "a\0b"]] {
            let argv = argv.iter().map(|word| (*word).to_owned()).collect();
            let error = Command { argv, ..sh("") }.run(b"").unwrap_err();
            assert!(matches!(error, ExecError::NotExecutable(_)), "{error}");
            assert_eq!(error.status(), Status::INCOMPLETE_PATH);
        }
    }

    #[test]
    fn input_is_handed_over_whole_and_stderr_is_logged_by_line() {
        let input = vec![b'x'; 300_000];
        let mut lines = Vec::new();
        let command = sh("wc -c >&2; printf 'no end' >&2; echo lost");
        command.run_with(&input, &mut |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["300000", "no end"]);
        assert_eq!(
            lines_of(&sh("cat; echo \"$0 $PATH\" >&2")),
            [format!("/bin/sh {}", std::env::var("PATH").unwrap())]
        );
    }

    #[test]
    fn input_that_nobody_reads_is_no_error() {
        sh("exec <&-; exit 0").run(&[b'x'; 300_000]).unwrap();
    }

    #[test]
    fn a_flood_of_errors_is_cut_and_the_rest_is_counted() {
        let lines = lines_of(&sh("head -c 3000000 /dev/zero | tr '\\0' '\\n' | sed s/^/xxxxxxx/ >&2; echo end >&2"));
        let logged: usize = lines.iter().map(|line| line.len() + 1).sum();
        assert!(logged < MOST_LOGGED + 200, "{logged}");
        assert_eq!(lines.last().unwrap(), "(23934468 more bytes are left out)");
        let most = "x".repeat(LONGEST_LINE - 1);
        let exact = lines_of(&sh(&format!("for i in $(seq {}); do echo {most} >&2; done", MOST_LOGGED / LONGEST_LINE)));
        assert_eq!(exact, vec![most; MOST_LOGGED / LONGEST_LINE]);
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let lines = lines_of(&sh("head -c 10000 /dev/zero | tr '\\0' x >&2"));
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [4096, 4096, 1808]);
    }

    #[test]
    fn files_of_ours_are_not_open_in_the_command() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = lines_of(&sh("ls -l /proc/$$/fd >&2"));
        assert!(
            !lines.is_empty() && !lines.iter().any(|line| line.contains(file.path().to_str().unwrap())),
            "{lines:?}"
        );
    }

    #[test]
    fn an_installed_preparation_sees_every_command() {
        install(Some(|command| {
            command.env("PREPARED_BY_TEST", "yes");
        }));
        assert_eq!(lines_of(&sh("echo $PREPARED_BY_TEST >&2")), ["yes"]);
        install(None);
    }

    #[test]
    fn a_command_that_leaves_something_behind_is_done_when_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        sh(&format!("sleep 600 & echo $! >{}", file.display())).run(b"").unwrap();
        let pid = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// Starts a stubborn command with a stubborn child, has `stop` stop it, and sees that neither lives on.
    fn is_stopped_with_its_children(command: impl FnOnce(Command) -> Command, stop: impl FnOnce(&Path)) -> ExecError {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pids");
        let script = format!(
            "trap '' TERM; sh -c 'echo $$; exec sleep 600' >{0} & wait_pid=$!; echo $$ >>{0}.own; wait $wait_pid",
            file.display()
        );
        let command = command(sh(&script));
        let running = thread::spawn(move || command.run(b"").unwrap_err());
        stop(&file);
        let error = running.join().unwrap();
        let pids = fs::read_to_string(&file).unwrap_or_default()
            + &fs::read_to_string(file.with_extension("own")).unwrap_or_default();
        for pid in pids.split_whitespace() {
            wait_for(|| {
                // A zombie waits for init, which may take its time.
                fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
            });
        }
        error
    }

    #[test]
    fn a_cancel_kills_the_command_and_its_children() {
        let cancel = Cancel::default();
        let copy = cancel.clone();
        let error = is_stopped_with_its_children(
            |command| Command { cancel: copy, ..command },
            |file| {
                wait_for(|| fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n')));
                cancel.cancel();
            },
        );
        assert!(error.is_cancelled());
    }

    #[test]
    fn a_time_out_kills_the_command_and_its_children() {
        let timeout = Duration::from_millis(100);
        let error = is_stopped_with_its_children(|command| Command { timeout, ..command }, |_| {});
        assert!(matches!(error, ExecError::TimedOut(limit) if limit == timeout));
        assert_eq!(error.status(), Status::TIMED_OUT);
    }

    #[test]
    fn a_cancelled_command_does_not_start() {
        let command = sh("exit 1");
        command.cancel.cancel();
        assert!(command.run(b"").unwrap_err().is_cancelled());
    }

    /// The right-hand sides are what `apr_tokenize_to_argv` of APR 1.7 returns.
    #[test]
    fn command_lines_are_split_as_apr_does() {
        let rows: [(&str, &[&str]); 19] = [
            ("/x a b", &["/x", "a", "b"]),
            ("  /x\ta  ", &["/x", "a"]),
            ("/x 'a b' \"c d\"", &["/x", "a b", "c d"]),
            (r"/x a\ b", &["/x", "a b"]),
            ("/x a\"b c\"", &["/x", "a\"b", "c\""]),
            (r#"/x "a\"b" 'it\'s'"#, &["/x", "a\"b", "it's"]),
            ("/x \"\"", &["/x", ""]),
            ("/x 'open end", &["/x", "open end"]),
            (r"/x a\\b a\b", &["/x", r"a\b", "ab"]),
            ("/x 'a'b c", &["/x", "a", "b", "c"]),
            ("/x \"a 'b' c\"", &["/x", "a 'b' c"]),
            ("/x a\nb", &["/x", "a\nb"]),
            ("", &[]),
            ("   ", &[]),
            ("/x '' y", &["/x", "", "y"]),
            (r"/x \", &["/x", ""]),
            (r#"/x "a\\" b"#, &["/x", r#"a\" b"#]),
            (r"/x 'a\ b'", &["/x", "a b"]),
            ("/x 'a'\"b\" ü", &["/x", "a", "b", "ü"]),
        ];
        for (line, expected) in rows {
            assert_eq!(split_command_line(line), expected, "{line}");
        }
    }
}
