//! The one place through which C calls Rust: panics and NULL end here, as a logged message and a fallback.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::ptr::NonNull;

use super::panic_probe;
use crate::log::report;

thread_local! {
    // Const and without a destructor: a thread-local with one would keep the module loaded over restarts.
    static HOOK: Cell<&'static str> = const { Cell::new("a thread") };
}

/// httpd passed no pointer where it promises one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("httpd passed no {0}")]
pub struct Null(pub &'static str);

/// The start cannot go on. The reason is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

impl From<Null> for Stop {
    fn from(null: Null) -> Self {
        report!(MD0002, "{null}");
        Self
    }
}

/// Turns a pointer into something that is there, or into the error that [`guard`] logs.
pub fn present<T>(pointer: *const T, what: &'static str) -> Result<NonNull<T>, Null> {
    NonNull::new(pointer.cast_mut()).ok_or(Null(what))
}

/// Runs the Rust side of `hook` and gives C an answer in every case: `fallback` after a panic or an unexpected NULL.
///
/// The fallback is what the server can go on with; a panic's message and place are in the error log then.
pub fn guard<R>(hook: &'static str, fallback: R, body: impl FnOnce() -> Result<R, Null>) -> R {
    // One look for the variable, which takes its time in a module that is loaded.
    let outcome = HOOK.with(|current| {
        let outer = current.replace(hook);
        // Unwind safety: what a panic may have left half done is reached through locks, whose users expect poison.
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            panic_probe::run(hook);
            body()
        }));
        current.set(outer);
        outcome
    });
    match outcome {
        Ok(Ok(value)) => value,
        Ok(Err(null)) => {
            report!(MD0002, "{hook}: {null}");
            fallback
        }
        Err(_) => fallback,
    }
}

/// Sends panics to the server log, once, in place of the text and backtrace that std prints to stderr.
///
/// Runs before anything of ours can panic; installing again is harmless. The hook has no state, so nothing is allocated.
pub fn install_panic_log() {
    panic::set_hook(Box::new(log_panic));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
    report!(MD0001, "{}: panic{place}: {}", HOOK.get(), message(info.payload()));
}

fn message(payload: &dyn Any) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
