//! Memory that all processes of the server have in common, and that outlives restarts: the counts of requests to CAs.

use std::ffi::CString;
use std::ptr::{self, NonNull};

use super::pool::Pool;
use crate::acme::RequestCounts;
use crate::log::note;

/// The counts of this server, made by the first start. `None` if there is no memory for them: nothing is counted then.
pub fn ca_requests(process: Pool<'_>) -> Option<&'static RequestCounts> {
    // After a restart it may be another release of the module that finds the memory: what it would read in another
    // way, it does not look at.
    let key = CString::new(format!("mod_md_rs_ca_requests_{}", size_of::<RequestCounts>())).ok()?;
    let counts = match process.user_data(&key) {
        Some(known) => known.cast(),
        None => {
            let new = map()?;
            process.set_user_data(&key, new.cast());
            new
        }
    };
    // SAFETY: `map` made it, in this process or in its parent, and nobody ever unmaps it. It is made of atomics, for
    // which all zeros are good values.
    Some(unsafe { counts.as_ref() })
}

/// Memory full of zeros that children share with their parent.
fn map() -> Option<NonNull<RequestCounts>> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: new pages at an address of the system's choice.
    let pages = unsafe { libc::mmap(ptr::null_mut(), size_of::<RequestCounts>(), access, kind, -1, 0) };
    if pages == libc::MAP_FAILED {
        note!(Info, "requests to CAs are not counted: {}", std::io::Error::last_os_error());
        return None;
    }
    NonNull::new(pages.cast())
}
