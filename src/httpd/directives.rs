//! Directives: the table as httpd wants it, and the way from a configuration line to safe Rust.

use std::ffi::{CStr, c_char, c_uint, c_void};
use std::fs;
use std::path::Path;
use std::ptr::{self, NonNull};

use apache_sys as sys;

use super::boundary::{Null, guard, present};
use super::c::pool::{Pool, text};
use super::c::server::Server;
use super::config::{Local, ServerConfig};
use super::{phase, process};
use crate::model::directive::{Args, DIRECTIVES, Directive, Place, Scope};
use crate::model::{Globals, Origin};
use crate::serving::words::{section_words, words};

/// A directive being handled, in the parent's only thread.
struct Command<'c> {
    raw: NonNull<sys::cmd_parms>,
    pool: Pool<'c>,
    config: NonNull<ServerConfig>,
    main_config: NonNull<ServerConfig>,
}

impl<'c> Command<'c> {
    /// # Safety
    /// `raw` is NULL or the live cmd_parms of a directive, which nobody else uses to reach a configuration of ours in `'c`.
    unsafe fn from_raw(raw: *mut sys::cmd_parms) -> Result<Self, Null> {
        let raw = present(raw, "directive")?;
        // SAFETY: live by the caller's promise.
        let parms = unsafe { raw.as_ref() };
        // SAFETY: httpd keeps the configuration's pool as long as it handles directives.
        let pool = unsafe { Pool::from_raw(parms.pool) }?;
        // SAFETY: as above.
        let server = unsafe { Server::from_raw(parms.server) }?;
        // SAFETY: set before directives are processed.
        let main = unsafe { sys::ap_server_conf };
        // SAFETY: it lives as long as its virtual hosts.
        let main = unsafe { Server::from_raw(main) }?;
        Ok(Self { raw, pool, config: server.config_ptr()?, main_config: main.config_ptr()? })
    }

    /// Checks the arguments and applies them.
    fn run(&mut self, row: &Directive, words: &[impl AsRef<str>]) -> Result<(), String> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let pool = self.pool;
        let origin = self.origin();
        let (globals, local) = self.settings().map_err(|null| null.to_string())?;
        let resolve = |path: &str| process::server_path(pool, path);
        let read = |path: &Path| if phase::is_config_dump() { Ok(None) } else { fs::read(path).map(Some) };
        row.run(&mut Scope { globals, target: local.target(), origin, resolve: &resolve, read: &read }, &words)
    }

    /// Returns the values of the whole server, and the settings of the server that the directive stands in.
    fn settings(&mut self) -> Result<(&mut Globals, &mut Local), Null> {
        // SAFETY: made by `create_server_config`; `self` is the only way to it now, see `from_raw`, and borrowed mutably.
        let main = unsafe { self.main_config.as_mut() };
        if self.config == self.main_config {
            return main.both_mut();
        }
        let globals = main.globals_mut()?;
        // SAFETY: as above, and not the same as `main`.
        let host = unsafe { self.config.as_mut() };
        if host.settings().is_none() {
            // SAFETY: `create_server_config` has placed it, in the same pool; here once, as it has settings from now on.
            unsafe { self.pool.drop_with(self.config.as_ptr()) };
        }
        Ok((globals, host.local_mut()))
    }

    /// Enters or leaves a section, in which directives set what its domain has.
    fn set_in_section(&mut self, inside: bool) -> Result<(), String> {
        self.settings().map(|(_, local)| local.in_section = inside).map_err(|null| null.to_string())
    }

    /// Returns the file and line of the directive.
    fn origin(&self) -> Origin {
        // SAFETY: live by `from_raw`.
        let directive = unsafe { (*self.raw.as_ptr()).directive };
        // SAFETY: NULL or a node of the tree that httpd is walking.
        let Some(directive) = (unsafe { directive.as_ref() }) else { return Origin::default() };
        // SAFETY: NULL or in the configuration's pool.
        let file = unsafe { text(directive.filename) }.unwrap_or_default();
        Origin { file: file.to_owned(), line: directive.line_num.unsigned_abs() }
    }

    /// Returns the directive's row, which every record of the module has.
    fn row(&self) -> Result<&'static Directive, Null> {
        // SAFETY: live by `from_raw`.
        let info = unsafe { (*self.raw.as_ptr()).info };
        let row = present(info.cast::<Directive>(), "directive's row")?;
        // SAFETY: `record` stored a reference to a static there.
        Ok(unsafe { row.as_ref() })
    }

    /// Refuses, in httpd's words, a directive inside `<Directory>` and its like, or in a `.htaccess`: there it would change the
    /// server's settings while requests are served.
    fn misplaced(&self, row: &Directive) -> Result<(), Refusal> {
        let allowed = if row.place == Place::AnywhereOrIf { sys::NOT_IN_FILES } else { 0 };
        let forbidden = ((sys::NOT_IN_DIR_CONTEXT | sys::NOT_IN_HTACCESS) & !allowed) as c_uint;
        // SAFETY: live by `from_raw`.
        refused(unsafe { sys::ap_check_cmd_context(self.raw.as_ptr(), forbidden) })
    }

    /// Handles the directives inside this section; each makes a `Command` of its own.
    fn walk(&mut self) -> Result<(), Refusal> {
        // SAFETY: live by `from_raw`.
        let parms = unsafe { self.raw.as_ref() };
        let context = parms.context;
        // SAFETY: `directive` is the node being handled.
        let children = unsafe { (*parms.directive).first_child };
        // SAFETY: httpd's way to handle children; NULL is an empty section. `&mut self`: no reference into a configuration is
        // alive.
        refused(unsafe { sys::ap_walk_config(children, self.raw.as_ptr(), context) })
    }
}

/// Why a directive is not accepted.
enum Refusal {
    /// A message of this module.
    Ours(String),
    /// A message of httpd, or of a directive inside a section.
    Httpd(*const c_char),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Ours(reason)
    }
}

fn refused(message: *const c_char) -> Result<(), Refusal> {
    if message.is_null() { Ok(()) } else { Err(Refusal::Httpd(message)) }
}

/// Handles a directive. Returns NULL for httpd if it is accepted, and else the reason.
///
/// # Safety
/// As for [`Command::from_raw`].
unsafe fn directive(
    parms: *mut sys::cmd_parms,
    body: impl FnOnce(&mut Command<'_>, &'static Directive) -> Result<(), Refusal>,
) -> *const c_char {
    guard("directive", c"internal error, see the error log".as_ptr(), || {
        // SAFETY: the caller's promise.
        let mut command = unsafe { Command::from_raw(parms) }?;
        let row = command.row()?;
        let outcome = command.misplaced(row).and_then(|()| body(&mut command, row));
        Ok(match outcome {
            Ok(()) => ptr::null(),
            Err(Refusal::Httpd(message)) => message,
            Err(Refusal::Ours(reason)) => command.pool.string(reason).as_ptr(),
        })
    })
}

/// # Safety
/// As for [`Command::from_raw`]; every word is NULL or a string that lives while the directive is handled.
unsafe fn apply(parms: *mut sys::cmd_parms, words: &[*const c_char]) -> *const c_char {
    let body = |command: &mut Command<'_>, row: &Directive| {
        // SAFETY: the caller's promise.
        let words = words.iter().filter_map(|word| unsafe { utf8(*word, row) }).collect::<Result<Vec<_>, _>>()?;
        Ok(command.run(row, &words)?)
    };
    // SAFETY: the caller's promise.
    unsafe { directive(parms, body) }
}

/// Returns the word, `None` for NULL, or the reason why it is no text.
///
/// # Safety
/// `raw` is NULL or a string that lives for `'a`.
unsafe fn utf8<'a>(raw: *const c_char, row: &Directive) -> Option<Result<&'a str, String>> {
    let raw = NonNull::new(raw.cast_mut())?;
    // SAFETY: the caller's promise.
    let raw = unsafe { CStr::from_ptr(raw.as_ptr()) };
    Some(raw.to_str().map_err(|_| format!("{}: '{}' is not valid UTF-8", row.name(), raw.to_string_lossy())))
}

unsafe extern "C" fn take_one(parms: *mut sys::cmd_parms, _dir: *mut c_void, word: *const c_char) -> *const c_char {
    // SAFETY: httpd calls this with its live cmd_parms, in the one thread that reads the configuration.
    unsafe { apply(parms, &[word]) }
}

unsafe extern "C" fn take_two(
    parms: *mut sys::cmd_parms,
    _dir: *mut c_void,
    first: *const c_char,
    second: *const c_char,
) -> *const c_char {
    // SAFETY: as in `take_one`; the second word is NULL if there is none.
    unsafe { apply(parms, &[first, second]) }
}

/// Handles directives with any number of words: httpd itself silently drops those after the 64th.
unsafe extern "C" fn take_words(parms: *mut sys::cmd_parms, _dir: *mut c_void, rest: *const c_char) -> *const c_char {
    let body = |command: &mut Command<'_>, row: &Directive| {
        // SAFETY: httpd passes the rest of the line, which lives while the directive is handled.
        let rest = unsafe { utf8(rest, row) }.transpose()?.unwrap_or_default();
        Ok(command.run(row, &words(rest))?)
    };
    // SAFETY: as in `take_one`.
    unsafe { directive(parms, body) }
}

unsafe extern "C" fn take_line(parms: *mut sys::cmd_parms, _dir: *mut c_void, rest: *const c_char) -> *const c_char {
    let rest = if rest.is_null() { c"".as_ptr() } else { rest };
    // SAFETY: as in `take_one`.
    unsafe { apply(parms, &[rest]) }
}

unsafe extern "C" fn take_section(parms: *mut sys::cmd_parms, _dir: *mut c_void, rest: *const c_char) -> *const c_char {
    let body = |command: &mut Command<'_>, row: &'static Directive| {
        // SAFETY: httpd passes the rest of the line, which lives while the section is handled.
        let rest = unsafe { utf8(rest, row) }.transpose()?.unwrap_or_default();
        command.run(row, &section_words(row.name(), rest)?)?;
        command.set_in_section(true)?;
        let children = command.walk();
        command.set_in_section(false)?;
        children
    };
    // SAFETY: as in `take_one`.
    unsafe { directive(parms, body) }
}

/// The table in httpd's form, ended by a record without a name.
#[repr(transparent)]
struct Records([sys::command_rec; DIRECTIVES.len() + 1]);

// SAFETY: httpd only reads the records, and what they point to is constant.
unsafe impl Sync for Records {}

/// The table of directives. A static, as mod_so reads it before any function of the module has run.
#[unsafe(no_mangle)]
static md_rs_directives: Records = Records(records());

const fn records() -> [sys::command_rec; DIRECTIVES.len() + 1] {
    let end = sys::command_rec {
        name: ptr::null(),
        func: sys::cmd_func { no_args: None },
        cmd_data: ptr::null_mut(),
        req_override: 0,
        args_how: sys::cmd_how_RAW_ARGS,
        errmsg: ptr::null(),
    };
    let mut records = [end; DIRECTIVES.len() + 1];
    let mut i = 0;
    while i < DIRECTIVES.len() {
        records[i] = record(&DIRECTIVES[i]);
        i += 1;
    }
    records
}

const fn record(row: &'static Directive) -> sys::command_rec {
    let (args_how, func) = match row.args {
        Args::One => (sys::cmd_how_TAKE1, sys::cmd_func { take1: Some(take_one) }),
        Args::OneOrTwo => (sys::cmd_how_TAKE12, sys::cmd_func { take2: Some(take_two) }),
        Args::Two => (sys::cmd_how_TAKE2, sys::cmd_func { take2: Some(take_two) }),
        Args::Line => (sys::cmd_how_RAW_ARGS, sys::cmd_func { raw_args: Some(take_line) }),
        Args::List => (sys::cmd_how_RAW_ARGS, sys::cmd_func { raw_args: Some(take_words) }),
        Args::Section => (sys::cmd_how_RAW_ARGS, sys::cmd_func { raw_args: Some(take_section) }),
    };
    // OR_AUTHCFG lets a directive pass inside `<If>`; sections of directories are refused when it is handled.
    let req_override =
        if matches!(row.place, Place::AnywhereOrIf) { sys::RSRC_CONF | sys::OR_AUTHCFG } else { sys::RSRC_CONF };
    sys::command_rec {
        name: row.name.as_ptr(),
        func,
        cmd_data: ptr::from_ref(row).cast_mut().cast(),
        req_override,
        args_how,
        errmsg: row.help.as_ptr(),
    }
}
