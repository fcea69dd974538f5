//! Memory pools of APR: strings in them, values dropped with them, and actions before they are cleared.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use apache_sys as sys;

use crate::httpd::boundary::{Null, guard, present};

/// A pool that lives for `'p`. Used by one thread: pools of APR have no locks.
#[derive(Debug, Clone, Copy)]
pub struct Pool<'p> {
    raw: NonNull<sys::apr_pool_t>,
    life: PhantomData<&'p ()>,
}

impl<'p> Pool<'p> {
    /// # Safety
    /// `raw` is NULL or a pool that is not cleared during `'p`.
    pub(in crate::httpd) unsafe fn from_raw(raw: *mut sys::apr_pool_t) -> Result<Self, Null> {
        Ok(Self { raw: present(raw, "pool")?, life: PhantomData })
    }

    /// Returns the pool for C.
    pub(in crate::httpd) fn as_ptr(self) -> *mut sys::apr_pool_t {
        self.raw.as_ptr()
    }

    /// Copies a string, up to its first NUL, into the pool.
    pub fn string(self, text: impl AsRef<[u8]>) -> &'p CStr {
        let bytes = text.as_ref();
        // SAFETY: the pool is live by `from_raw`; apr copies `len` bytes and adds a NUL. It ends the process if memory is out.
        let copy = unsafe { sys::apr_pstrmemdup(self.as_ptr(), bytes.as_ptr().cast::<c_char>(), bytes.len()) };
        // SAFETY: the copy ends with a NUL and lives as long as the pool, which nobody clears during 'p.
        unsafe { CStr::from_ptr(copy) }
    }

    /// Keeps a value, which C hands back to us by pointer, until the pool is cleared, and drops it then.
    pub(in crate::httpd) fn keep_raw<T: 'static>(self, value: T) -> *mut T {
        let raw = self.place(value);
        // SAFETY: it was placed above, and nobody else has it.
        unsafe { self.drop_with(raw) };
        raw
    }

    /// Puts a value into the pool, which does not drop it: for values that have nothing to drop.
    pub(in crate::httpd) fn place<T: 'static>(self, value: T) -> *mut T {
        const { assert!(align_of::<T>() <= 8, "APR aligns to 8 bytes") };
        // SAFETY: the pool is live by `from_raw`; apr ends the process if memory is out.
        let raw = unsafe { sys::apr_palloc(self.as_ptr(), size_of::<T>()) }.cast::<T>();
        // SAFETY: room for a `T` that nobody else has.
        unsafe { raw.write(value) };
        raw
    }

    /// Drops a value when the pool is cleared.
    ///
    /// # Safety
    /// `value` comes from [`Pool::place`] of a pool that is not cleared before this one, and is passed here once.
    pub(in crate::httpd) unsafe fn drop_with<T: 'static>(self, value: *mut T) {
        let pool = self.as_ptr();
        let data = value.cast();
        // SAFETY: the pool is live; `drop_value` takes `data` back as what it is, and APR calls it once.
        unsafe { sys::apr_pool_cleanup_register(pool, data, Some(drop_value::<T>), Some(sys::apr_pool_cleanup_null)) }
    }

    /// Runs an action when the pool is cleared, latest registered first; not in a process that is forked to run a command.
    pub fn on_cleanup(self, action: impl FnOnce() + 'static) {
        let data = boxed(action);
        // SAFETY: the pool is live; `run_cleanup` takes `data` back, and APR calls it once.
        unsafe {
            sys::apr_pool_cleanup_register(self.as_ptr(), data, Some(run_cleanup), Some(sys::apr_pool_cleanup_null))
        }
    }

    /// Runs an action when clearing begins, while all memory of the pool and its sub-pools is still there.
    pub fn before_cleanup(self, action: impl FnOnce() + 'static) {
        let data = boxed(action);
        // SAFETY: as in `on_cleanup`.
        unsafe { sys::apr_pool_pre_cleanup_register(self.as_ptr(), data, Some(run_cleanup)) }
    }

    /// Returns the pointer stored under `key`, if any.
    pub fn user_data(self, key: &CStr) -> Option<NonNull<c_void>> {
        let mut data = ptr::null_mut();
        // SAFETY: the pool is live; APR writes NULL or what was stored.
        unsafe { sys::apr_pool_userdata_get(&raw mut data, key.as_ptr(), self.as_ptr()) };
        NonNull::new(data)
    }

    /// Stores a pointer under `key`, which is copied. The process's pool outlives the module: no pointer into the module may go
    /// there.
    pub fn set_user_data(self, key: &CStr, data: NonNull<c_void>) {
        // SAFETY: the pool is live and copies the key; without a clean-up APR never follows `data`.
        unsafe { sys::apr_pool_userdata_set(data.as_ptr(), key.as_ptr(), None, self.as_ptr()) };
    }
}

type Action = Box<dyn FnOnce()>;

/// Returns a thin pointer to an action: C cannot carry the two words of a `Box<dyn FnOnce()>`.
fn boxed(action: impl FnOnce() + 'static) -> *mut c_void {
    Box::into_raw(Box::new(Box::new(action) as Action)).cast()
}

unsafe extern "C" fn drop_value<T>(data: *mut c_void) -> sys::apr_status_t {
    guard("pool clean-up", sys::APR_SUCCESS, || {
        // SAFETY: a `T` by `drop_with`, of which this is the only user; the pool frees the room for it after its clean-ups.
        unsafe { data.cast::<T>().drop_in_place() };
        Ok(sys::APR_SUCCESS)
    })
}

unsafe extern "C" fn run_cleanup(data: *mut c_void) -> sys::apr_status_t {
    guard("pool clean-up", sys::APR_SUCCESS, || {
        // SAFETY: `data` comes from `boxed`, and APR runs a clean-up once.
        let action = unsafe { Box::from_raw(data.cast::<Action>()) };
        action();
        Ok(sys::APR_SUCCESS)
    })
}

/// Returns a C string as text, with U+FFFD for each part that is not UTF-8; `None` for NULL.
///
/// # Safety
/// As for [`text`].
pub(in crate::httpd) unsafe fn lossy_text<'a>(raw: *const c_char) -> Option<Cow<'a, str>> {
    let raw = NonNull::new(raw.cast_mut())?;
    // SAFETY: not NULL; the rest is the caller's promise.
    Some(unsafe { CStr::from_ptr(raw.as_ptr()) }.to_string_lossy())
}

/// Returns a C string as text; `None` for NULL and for a string that is not UTF-8.
///
/// # Safety
/// `raw` is NULL or a string that lives, unchanged, for `'a`.
pub(in crate::httpd) unsafe fn text<'a>(raw: *const c_char) -> Option<&'a str> {
    let raw = NonNull::new(raw.cast_mut())?;
    // SAFETY: not NULL; the rest is the caller's promise.
    unsafe { CStr::from_ptr(raw.as_ptr()) }.to_str().ok()
}
