//! Memory for keys and certificates that a start reads and children use: written before the first fork, read-only after that, in no
//! core dump, and wiped when the configuration goes.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::slice;

use zeroize::Zeroize;

use crate::sets::{Place, SharedBytes};

/// The size of a piece of memory.
const CHUNK: usize = 1 << 20;

/// Pieces of memory, filled one after the other.
#[derive(Default)]
pub struct Pages {
    chunks: Vec<NonNull<u8>>,
    /// The bytes that are used, with those that were left free at the end of a piece.
    used: usize,
}

// SAFETY: the pages belong to this value, and `&self` only reads them.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    fn add_chunk(&mut self) -> Option<()> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // Private: a parent that wipes its pages leaves those of its children as they are.
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new pages at an address of the system's choice.
        let new = unsafe { libc::mmap(ptr::null_mut(), CHUNK, access, kind, -1, 0) };
        if new == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the pages above. Where the kernel cannot leave them out of a core dump, they are in it.
        unsafe { libc::madvise(new, CHUNK, libc::MADV_DONTDUMP) };
        self.used = self.chunks.len() * CHUNK;
        self.chunks.push(NonNull::new(new.cast())?);
        Some(())
    }

    fn protect(&self, access: libc::c_int) {
        for chunk in &self.chunks {
            // SAFETY: pages of this value.
            unsafe { libc::mprotect(chunk.as_ptr().cast::<c_void>(), CHUNK, access) };
        }
    }
}

impl SharedBytes for Pages {
    fn keep(&mut self, bytes: &[u8]) -> Option<Place> {
        if bytes.len() > CHUNK {
            return None;
        }
        if self.used + bytes.len() > self.chunks.len() * CHUNK {
            self.add_chunk()?;
        }
        let place = Place { at: self.used, length: bytes.len() };
        let chunk = self.chunks.get(place.at / CHUNK)?;
        // SAFETY: within the pages of the piece, by the check above.
        let target = unsafe { chunk.add(place.at % CHUNK) };
        // SAFETY: room for so many bytes, by the check above, which nobody else has.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target.as_ptr(), bytes.len()) };
        self.used += bytes.len();
        Some(place)
    }

    fn get(&self, place: Place) -> &[u8] {
        let Some(chunk) = self.chunks.get(place.at / CHUNK).filter(|_| place.at % CHUNK + place.length <= CHUNK) else {
            return &[];
        };
        // SAFETY: within the pages of the piece, by the check above.
        let first = unsafe { chunk.add(place.at % CHUNK) };
        // SAFETY: so many bytes of the piece, which only `&mut self` writes.
        unsafe { slice::from_raw_parts(first.as_ptr(), place.length) }
    }

    fn seal(&mut self) {
        self.protect(libc::PROT_READ);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.protect(libc::PROT_READ | libc::PROT_WRITE);
        for chunk in &self.chunks {
            // SAFETY: pages of this value, writable by now, that nobody else uses.
            unsafe { slice::from_raw_parts_mut(chunk.as_ptr(), CHUNK) }.zeroize();
            // SAFETY: as above; nobody uses them after that.
            unsafe { libc::munmap(chunk.as_ptr().cast::<c_void>(), CHUNK) };
        }
    }
}
