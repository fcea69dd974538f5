//! Restarts that the server makes itself (`MDActivation graceful`): the parent starts a test of the configuration, learns of
//! its end and sends the signal.
//!
//! No function waits: httpd's loop calls [`monitor`] every ten seconds or so, and [`maintain`] when the test has ended.
//! Decisions are made in [`crate::registry::self_restart`] and [`crate::serving::restarts`].

use std::ffi::{c_int, c_void};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use apache_sys as sys;
use jiff::Timestamp;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, setsid, waitpid};

use super::boundary::{Null, guard, present};
use super::c::pool::Pool;
use super::c::server::Server;
use super::c::tree;
use super::{phase, process, shared, spawned};
use crate::log::{note, report};
use crate::model::{format_human, time};
use crate::registry::self_restart::{Rule, Step, Trial, judge, trial_arguments};
use crate::registry::{Domain, Registry};
use crate::serving::restarts::{self, End, Files, LONGEST, Memory, Subject};

/// The time that a killed process takes to end.
const PATIENCE: Duration = Duration::from_secs(1);
/// The number of bytes kept of what a test writes.
const MOST_WRITTEN: usize = 16 * 1024;

/// Restarts with one configuration, in whose pool this is. Used by the parent's only thread.
pub(super) struct SelfRestart {
    registry: Arc<Registry>,
    rule: Rule,
    /// When the server last restarted itself, in seconds; 0 for never.
    restarted: Option<&'static AtomicU32>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    memory: Memory,
    process: Option<Process>,
}

/// A test that runs.
struct Process {
    pid: Pid,
    /// The process that started the test: a child that has inherited this must not end it.
    parent: Pid,
    since: Instant,
    subject: Subject,
    output: File,
    written: Vec<u8>,
}

/// Prepares the server to restart itself, if a domain wants that and there is a parent to do it.
pub(super) fn open(main: Server<'_>, registry: &Arc<Registry>) -> Result<(), Null> {
    if !registry.domains.iter().any(Domain::restarts) {
        return Ok(());
    }
    if phase::is_alone() {
        report!(
            MD0039,
            "MDActivation graceful has no effect with one process (httpd -X): restart the server to use new certificates"
        );
        return Ok(());
    }
    let pool = main.process_pool()?;
    let Some([counter]) = shared::counters(pool, "restarts", 1) else {
        report!(MD0039, "no shared memory: MDActivation graceful has no effect");
        return Ok(());
    };
    registry.restarts.share(counter);
    let own = SelfRestart {
        registry: Arc::clone(registry),
        rule: Rule::new(&registry.globals),
        restarted: shared::own_number(pool, "restarted"),
        // Earlier requests are done by this start; else somebody asks again.
        state: Mutex::new(State { memory: Memory::new(registry.restarts.count()), process: None }),
    };
    // Set once, here.
    let _ = main.config()?.main()?.self_restart.set(own);
    Ok(())
}

/// Looks after the test and takes the next step. Called in the parent every ten seconds or so, with the configuration's pool.
pub(super) fn monitor(main: Server<'_>, pconf: Pool<'_>) -> Result<(), Null> {
    let Some(own) = main.config()?.main()?.self_restart.get() else { return Ok(()) };
    own.check_process();
    if own.step() == Step::Try {
        own.try_configuration(main, pconf);
    }
    Ok(())
}

impl SelfRestart {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next step, and returns it: [`Step::Try`] is left to the caller.
    fn step(&self) -> Step {
        let now = self.registry.clock.now();
        let mut state = self.state();
        let restarted = self.restarted.map(|at| at.load(Ordering::Relaxed)).filter(|at| *at > 0);
        let restarted = restarted.and_then(|at| Timestamp::from_second(at.into()).ok());
        let known = state.memory.known(self.registry.restarts.count(), restarted, files_digest);
        let trial = if state.process.is_some() { Trial::Running } else { state.memory.take_trial() };
        let step = self.rule.next(trial, &known, now, process::local_minute(now));
        match &step {
            Step::Rest | Step::Try => {}
            Step::WaitForHours | Step::WaitUntil(_) => {
                if state.memory.is_news(&step) {
                    log_wait(&step);
                }
            }
            Step::Forget => note!(Debug, "no restart: it would activate no staged certificate"),
            Step::Complain(reason) => report!(
                MD0038,
                "the server does not restart itself for new certificates, as it would not start again: {reason}; \
                 the next test is in {}, or when the configuration has changed",
                format_human(self.rule.interval())
            ),
            Step::Restart => {
                state.memory.restarts(self.registry.restarts.count());
                self.restart(now);
            }
        }
        step
    }

    fn subject(&self) -> Subject {
        Subject { requests: self.registry.restarts.count(), files: files_digest() }
    }

    /// Sends the signal for a graceful restart. httpd acts on it when this has returned.
    fn restart(&self, now: Timestamp) {
        note!(Notice, "the configuration is good, the server restarts itself gracefully to use new certificates");
        if let Some(restarted) = self.restarted {
            restarted.store(now.as_second().try_into().unwrap_or(0), Ordering::Relaxed);
        }
        if let Err(err) = kill_process(getpid(), Signal::USR1) {
            report!(MD0038, "the server cannot signal itself: {err}");
        }
    }

    fn try_configuration(&self, main: Server<'_>, pconf: Pool<'_>) {
        let subject = self.subject();
        let mut state = self.state();
        match Process::start(main, subject) {
            Ok(process) => {
                note!(
                    Debug,
                    "the configuration is tested before a restart, by process {}",
                    process.pid.as_raw_nonzero()
                );
                self.register(&process, pconf);
                state.process = Some(process);
            }
            Err(err) => {
                let trial = Trial::Failed(format!("the test of the configuration cannot be run: {err}"));
                state.memory.tested(trial, subject, self.registry.clock.now());
            }
        }
    }

    /// Has httpd call [`maintain`] at the end of the process: httpd collects all processes that end.
    fn register(&self, process: &Process, pconf: Pool<'_>) {
        let record = sys::apr_proc_t {
            pid: process.pid.as_raw_nonzero().get(),
            in_: ptr::null_mut(),
            out: ptr::null_mut(),
            err: ptr::null_mut(),
        };
        let record = pconf.keep_raw(record);
        let data = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: record and data live as long as the pool, whose clean-up unregisters them before it drops them, and before
        // the module is unloaded: it was loaded earlier. `maintain` is for such data.
        unsafe { sys::apr_proc_other_child_register(record, Some(maintain), data, ptr::null_mut(), pconf.as_ptr()) };
    }

    /// Reads what the test has written, so that it can go on writing, and ends a test that takes too long.
    fn check_process(&self) {
        let mut state = self.state();
        let Some(process) = &mut state.process else { return };
        process.read();
        if process.since.elapsed() > LONGEST {
            process.kill();
        }
    }

    /// Notes the result of the test, which has ended with this code or by the signal of this number.
    fn ended(&self, code: i32) {
        let mut state = self.state();
        let Some(mut process) = state.process.take() else { return };
        process.read();
        let end = End {
            is_late: process.since.elapsed() > LONGEST,
            has_changed: files_digest() != process.subject.files,
            waits_for_others: self.registry.restarts_for_others(),
        };
        let trial = end.weigh(judge(code, &process.written));
        state.memory.tested(trial, process.subject, self.registry.clock.now());
    }

    /// Ends the test, as the configuration goes and the module with it.
    fn abandon(&self) {
        let process = self.state().process.take();
        if let Some(process) = process.filter(|process| process.parent == getpid()) {
            process.kill();
            process.collect();
        }
    }
}

/// Handles what httpd has seen of the process of the test.
unsafe extern "C" fn maintain(reason: c_int, data: *mut c_void, status: c_int) {
    guard("other_child", (), || {
        let own = present(data.cast::<SelfRestart>(), "data of a process")?;
        // SAFETY: `register` made it of a reference to what lives until it is unregistered.
        let own: &SelfRestart = unsafe { own.as_ref() };
        match reason {
            sys::APR_OC_REASON_UNREGISTER => own.abandon(),
            sys::APR_OC_REASON_DEATH | sys::APR_OC_REASON_LOST => {
                own.ended(status);
                // SAFETY: registered with this data; httpd allows it from here, and calls us once more.
                unsafe { sys::apr_proc_other_child_unregister(data) };
                // A test begins in the monitor's next call.
                own.step();
            }
            _ => {}
        }
        Ok(())
    });
}

impl Process {
    /// Starts this program with the arguments that it was started with. The test sees what a restart would see: the same
    /// binary, working directory and environment.
    fn start(main: Server<'_>, subject: Subject) -> io::Result<Self> {
        // Neither end waits: text that does not fit into the pipe comes when this end has read.
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let own = main.arguments();
        let mut command = Command::new("/proc/self/exe");
        command.args(trial_arguments(&own));
        own.first().into_iter().for_each(|program| _ = command.arg0(program));
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        spawned::prepare(&mut command);
        // SAFETY: `leave_session` is one system call, which is allowed between fork and exec.
        unsafe { command.pre_exec(leave_session) };
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let since = Instant::now();
        Ok(Self { pid, parent: getpid(), since, subject, output: reader.into(), written: Vec::new() })
    }

    /// Reads what the process has written, and keeps the first of it.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.output.read(&mut buffer) {
            let room = MOST_WRITTEN - self.written.len();
            self.written.extend_from_slice(&buffer[..count.min(room)]);
        }
    }

    /// Kills the process with the commands that it runs.
    fn kill(&self) {
        // An error: the process has ended.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    /// Collects the killed process, which httpd would report as unknown.
    fn collect(&self) {
        let since = Instant::now();
        while matches!(waitpid(Some(self.pid), WaitOptions::NOHANG), Ok(None)) && since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Leaves the terminal, so that nobody is asked for pass phrases, and makes the process the leader of a group.
fn leave_session() -> io::Result<()> {
    setsid()?;
    Ok(())
}

fn log_wait(step: &Step) {
    match step {
        Step::WaitUntil(at) => {
            note!(Info, "new certificates wait for a restart until {}", time::format_gmt(*at));
        }
        _ => note!(Info, "new certificates wait for a restart in the hours of MDActivationWindow"),
    }
}

/// Returns a number that changes with each file that the configuration depends on.
fn files_digest() -> u64 {
    let mut files = Files::default();
    tree::walk(|directive, _| files.add(directive.file, directive.name, directive.value));
    files.digest(|file| {
        let facts = fs::metadata(file).ok()?;
        Some(restarts::State {
            inode: facts.ino(),
            size: facts.size(),
            changed: facts.mtime(),
            changed_nanos: facts.mtime_nsec(),
        })
    })
}
