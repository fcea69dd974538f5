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

/// The error of a NULL where httpd promises a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("httpd passed no {0}")]
pub struct Null(pub &'static str);

/// The error of a start that cannot go on. The reason is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

impl From<Null> for Stop {
    fn from(null: Null) -> Self {
        report!(MD0002, "{null}");
        Self
    }
}

/// Checks that a pointer is not NULL; the error names what is absent, for [`guard`] to log.
pub fn present<T>(pointer: *const T, what: &'static str) -> Result<NonNull<T>, Null> {
    NonNull::new(pointer.cast_mut()).ok_or(Null(what))
}

/// Runs the Rust side of `hook` and returns a value for C in every case: `fallback` after a panic or an unexpected NULL.
///
/// The server can go on with the fallback. Message and place of a panic are in the error log.
pub fn guard<R>(hook: &'static str, fallback: R, body: impl FnOnce() -> Result<R, Null>) -> R {
    // One access to the variable: each takes its time in a module that is loaded.
    let outcome = HOOK.with(|current| {
        let outer = current.replace(hook);
        // Unwind safety: data that a panic may have left half done is behind locks, whose users expect poison.
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
/// Called before any code of the module can panic; a second call is harmless. The hook has no state, so nothing is allocated.
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
