//! Commands of the administrator, which inherit the environment of the server, and none of its signals and sockets.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use crate::exec;

/// Directories in which programs are looked for, if the server was started without `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The first descriptor that is not standard input, output or error.
const FIRST: libc::c_uint = 3;

/// Has every command of this process prepared for its start.
pub fn install() {
    exec::install(Some(prepare));
}

/// Prepares a command that is not started by [`exec`].
pub(super) fn prepare(command: &mut Command) {
    if std::env::var_os("PATH").is_none() {
        command.env("PATH", PATH);
    }
    // SAFETY: `in_new_process` calls nothing but functions that are allowed between fork and exec, and takes no memory.
    unsafe { command.pre_exec(in_new_process) };
}

/// Resets signals and has descriptors closed, between fork and exec. Handlers end with exec by themselves, but ignored signals
/// stay ignored, blocked ones stay blocked (as all are in threads of the module), and sockets of the server stay open.
fn in_new_process() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: no conditions; for signals that cannot be set it fails, which is as well.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: writes a whole set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: `none` was emptied. No handler of the server is left that could run here.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
    // Closed by exec, and not here: the standard library reports a failing exec through one of them.
    // SAFETY: the descriptors of a process that has one thread and does nothing but exec; they stay open until then.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked == 0 { Ok(()) } else { mark_each() }
}

/// Has descriptors closed one by one, for a kernel before 5.11.
fn mark_each() -> io::Result<()> {
    // SAFETY: no conditions.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    for descriptor in FIRST as libc::c_int..libc::c_int::try_from(limit).unwrap_or(libc::c_int::MAX) {
        // SAFETY: fails for a number that is no descriptor.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}
