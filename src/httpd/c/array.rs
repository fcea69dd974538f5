//! Arrays of strings, as httpd passes them to hooks.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::slice;

use apache_sys as sys;

use super::pool::{Pool, lossy_text};
use crate::httpd::boundary::{Null, present};

/// Returns the strings of an array, with U+FFFD for each part that is not UTF-8.
///
/// # Safety
/// `array` is NULL or an array of C strings that stays unchanged for `'a`.
pub(in crate::httpd) unsafe fn strings<'a>(
    array: *const sys::apr_array_header_t,
) -> impl Iterator<Item = Cow<'a, str>> {
    // SAFETY: the caller's promise.
    unsafe { elements(array) }.iter().filter_map(|item| unsafe { lossy_text(*item) })
}

/// Returns the strings of an array as they are.
///
/// # Safety
/// `array` is NULL or an array of C strings that stays unchanged for `'a`.
pub(in crate::httpd) unsafe fn elements<'a>(array: *const sys::apr_array_header_t) -> &'a [*const c_char] {
    // SAFETY: the caller's promise.
    match unsafe { array.as_ref() }.filter(|array| array.nelts > 0) {
        // SAFETY: `elts` holds `nelts` pointers, aligned by APR's allocator.
        Some(array) => unsafe { slice::from_raw_parts(array.elts.cast(), array.nelts.unsigned_abs() as usize) },
        None => &[],
    }
}

/// Returns the paths in an array, for messages.
///
/// # Safety
/// `array` is a live APR array of C strings.
pub(in crate::httpd) unsafe fn paths(array: *const sys::apr_array_header_t) -> Vec<String> {
    // SAFETY: the caller's promise.
    let items = unsafe { elements(array) };
    // SAFETY: as above.
    items.iter().map(|item| unsafe { CStr::from_ptr(*item) }.to_string_lossy().into_owned()).collect()
}

/// Makes both arrays equally long, so that a certificate and a key added to them are a pair. mod_ssl goes by the position: it
/// takes the file of a certificate without a key for both, and ignores keys without a certificate.
///
/// # Safety
/// The arrays are live ones of C strings, and different.
pub(in crate::httpd) unsafe fn align(
    certs: *mut sys::apr_array_header_t,
    keys: *mut sys::apr_array_header_t,
) -> Result<(), Null> {
    // SAFETY: the caller's promise; nothing is added to this one here.
    let files = unsafe { elements(certs) };
    // SAFETY: the caller's promise.
    let known = unsafe { elements(keys) }.len().min(files.len());
    // SAFETY: as above; so many are there, and nobody refers to them here.
    unsafe { (*keys).nelts = known as c_int };
    // SAFETY: as above; the strings live as long as one array, which is as long as the other.
    files[known..].iter().try_for_each(|file| unsafe { push_raw(keys, *file) })
}

/// # Safety
/// `array` is a live APR array of `const char *`.
pub(in crate::httpd) unsafe fn push(array: *mut sys::apr_array_header_t, path: &Path) -> Result<(), Null> {
    // SAFETY: the caller's promise.
    let pool = unsafe { (*array).pool };
    // SAFETY: the array's own pool: the string lives as long as the array.
    let pool = unsafe { Pool::from_raw(pool) }?;
    // SAFETY: the caller's promise.
    unsafe { push_raw(array, pool.string(path.as_os_str().as_bytes()).as_ptr()) }
}

/// # Safety
/// `array` is a live APR array of `const char *`, and `path` lives as long.
unsafe fn push_raw(array: *mut sys::apr_array_header_t, path: *const c_char) -> Result<(), Null> {
    // SAFETY: the caller's promise.
    let slot = present(unsafe { sys::apr_array_push(array) }.cast::<*const c_char>(), "element of an array")?;
    // SAFETY: APR returns room for one element, that is one pointer.
    unsafe { slot.write(path) };
    Ok(())
}
