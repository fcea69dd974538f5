//! The progress of renewals: on a terminal a line for each that runs and one that counts them, else a message for each step.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Terminal;
use crate::log::note;

/// Time between two frames of a spinner.
const TURN: Duration = Duration::from_millis(100);

/// What the terminal shows now.
static SHOWN: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Writes to the terminal while no progress is there.
pub fn above(write: impl FnOnce()) {
    match &*shown() {
        Some(lines) => lines.suspend(write),
        None => write(),
    }
}

fn shown() -> MutexGuard<'static, Option<MultiProgress>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lines of all renewals of a command.
pub struct Board {
    lines: Option<MultiProgress>,
    total: ProgressBar,
}

/// The line of a renewal.
pub struct Progress {
    name: String,
    shown: String,
    line: Option<(MultiProgress, ProgressBar)>,
}

impl Board {
    /// Shows how many of so many domains are done, if that is more than one and the terminal can show it.
    #[must_use]
    pub fn begin(terminal: &dyn Terminal, domains: usize) -> Self {
        let lines = terminal.has_spinner().then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        let mut total = ProgressBar::hidden();
        if let Some(lines) = lines.as_ref().filter(|_| domains > 1) {
            let bar = ProgressBar::new(domains.try_into().unwrap_or_default())
                .with_style(style("{pos} of {len} domains {elapsed}"));
            total = lines.add(bar);
            total.tick();
        }
        shown().clone_from(&lines);
        Self { lines, total }
    }

    /// Begins the line of a renewal.
    #[must_use]
    pub fn renewal(&self, name: &str) -> Progress {
        let line = self.lines.as_ref().map(|lines| {
            let bar = ProgressBar::new_spinner().with_style(style("{spinner} {prefix}: {wide_msg} {elapsed}"));
            let bar = lines.add(bar.with_prefix(name.to_owned()));
            bar.enable_steady_tick(TURN);
            (lines.clone(), bar)
        });
        Progress { name: name.to_owned(), shown: String::new(), line }
    }

    /// Counts a domain as done.
    pub fn count(&self) {
        self.total.inc(1);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Drop for Board {
    fn drop(&mut self) {
        self.total.finish_and_clear();
        *shown() = None;
    }
}

impl Progress {
    /// Shows the activity, unless it is the one before.
    pub fn step(&mut self, activity: &str) {
        if activity == self.shown {
            return;
        }
        activity.clone_into(&mut self.shown);
        match &self.line {
            Some((_, line)) => line.set_message(activity.to_owned()),
            None => note!(Info, "{}: {activity}", self.name),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((lines, line)) = self.line.take() {
            line.finish_and_clear();
            lines.remove(&line);
        }
    }
}
