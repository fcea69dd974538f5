//! Memory that all processes of the server share, and that outlives restarts: counts, signals.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use super::c::pool::Pool;
use crate::counts::Counts;
use crate::log::note;

/// Returns the counts of what the server does, made by the first start. `None` if there is no memory: nothing is counted then.
pub fn counts(process: Pool<'_>) -> Option<&'static Counts> {
    // After a restart another release of the module may find the memory: under the name and size that it uses itself, or not.
    let counts = kept(process, "counts", size_of::<Counts>())?.cast::<Counts>();
    // SAFETY: pages are aligned for anything, have that size, and stay. It is made of atomics, for which all zeros are good
    // values.
    Some(unsafe { counts.as_ref() })
}

/// Returns at least `count` counters, at zero, by which a process tells others what has changed. Children of the former
/// generation use the same counters: new children may look at something twice.
pub fn signals(process: Pool<'_>, count: usize) -> Option<&'static [AtomicU32]> {
    // The number grows in steps, so that few are ever made: no memory is given back.
    let count = count.next_power_of_two().max(1024);
    let pages = kept(process, "signals", count * size_of::<AtomicU32>())?.cast::<AtomicU32>();
    // SAFETY: pages are aligned for anything, have room for so many, and stay. Zero is a good value.
    let signals = unsafe { slice::from_raw_parts(pages.as_ptr(), count) };
    signals.iter().for_each(|signal| signal.store(0, Ordering::Relaxed));
    Some(signals)
}

/// Returns `count` counters that go on from start to start and have the same meaning in all generations of the server. `name`
/// tells what they count.
pub fn counters(process: Pool<'_>, name: &str, count: usize) -> Option<&'static [AtomicU32]> {
    let pages = kept(process, name, count * size_of::<AtomicU32>())?.cast::<AtomicU32>();
    // SAFETY: pages are aligned for anything, have room for so many, and stay. Zero is a good value.
    Some(unsafe { slice::from_raw_parts(pages.as_ptr(), count) })
}

/// Returns a number of the parent that goes on from start to start and that children cannot change.
pub fn own_number(process: Pool<'_>, name: &str) -> Option<&'static AtomicU32> {
    let page = kept_as(libc::MAP_PRIVATE, process, name, size_of::<AtomicU32>())?.cast::<AtomicU32>();
    // SAFETY: pages are aligned for anything, have room for one, and stay. Zero is a good value.
    Some(unsafe { page.as_ref() })
}

/// Returns memory of that name and size that children share with their parent. New memory is full of zeros; nobody ever unmaps
/// it.
fn kept(process: Pool<'_>, name: &str, size: usize) -> Option<NonNull<c_void>> {
    kept_as(libc::MAP_SHARED, process, name, size)
}

fn kept_as(sharing: libc::c_int, process: Pool<'_>, name: &str, size: usize) -> Option<NonNull<c_void>> {
    let key = CString::new(format!("mod_md_rs_{name}_{size}")).ok()?;
    process.user_data(&key).or_else(|| {
        let new = map(sharing, name, size)?;
        process.set_user_data(&key, new);
        Some(new)
    })
}

/// Maps new memory, full of zeros.
fn map(sharing: libc::c_int, name: &str, size: usize) -> Option<NonNull<c_void>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = sharing | libc::MAP_ANONYMOUS;
    // SAFETY: new pages at an address of the system's choice.
    let pages = unsafe { libc::mmap(ptr::null_mut(), size, access, kind, -1, 0) };
    if pages == libc::MAP_FAILED {
        note!(Info, "no shared memory for {name}: {}", std::io::Error::last_os_error());
        return None;
    }
    NonNull::new(pages)
}
