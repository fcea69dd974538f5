//! Methods that read one field of a wrapped structure, as `FIELD` of the shim reads it.

/// Methods of a wrapper for `$life`: `name: kind = function of the shim`. The kind says how the field is read: `text`, `flag`,
/// a `raw` pointer, or a wrapper type.
macro_rules! fields {
    ($life:lifetime: $($(#[$doc:meta])* $visibility:vis $name:ident: $kind:ident $(<$raw:ty>)? = $read:ident;)*) => {$(
        $(#[$doc])*
        $visibility fn $name(self) -> $crate::httpd::c::fields::fields!(@type $life $kind $(<$raw>)?) {
            // SAFETY: live by `from_raw`; the function only reads.
            let value = unsafe { apache_sys::$read(self.as_ptr()) };
            $crate::httpd::c::fields::fields!(@value $kind value)
        }
    )*};
    (@type $life:lifetime text) => { Option<&$life str> };
    (@type $life:lifetime flag) => { bool };
    (@type $life:lifetime raw<$raw:ty>) => { $raw };
    (@type $life:lifetime $wrapper:ident) => { Result<$wrapper<$life>, Null> };
    // SAFETY: NULL or a string that lives as long as the structure.
    (@value text $value:ident) => { unsafe { $crate::httpd::c::pool::text($value) } };
    (@value flag $value:ident) => { $value != 0 };
    (@value raw $value:ident) => { $value };
    // SAFETY: NULL or a structure that outlives this one.
    (@value $wrapper:ident $value:ident) => { unsafe { $wrapper::from_raw($value) } };
}

pub(super) use fields;
