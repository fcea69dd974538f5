//! Bindings of httpd, APR and the C shim, generated at build time from the installed headers.
//!
//! `build.rs` names every function, type and variable that is bound. [`server_rec`], [`conn_rec`] and [`request_rec`] are
//! opaque: the shim reads their fields, so that only few layouts have to agree. bindgen checks each layout at compile time. The
//! assertions below state what the directive table relies on beyond that.
//!
//! Macros are not bound. Replacements:
//!
//! | in C | here |
//! |---|---|
//! | `STANDARD20_MODULE_STUFF`, `AP_DECLARE_MODULE` | `md_module` in `c-shim/mod_md.c` |
//! | `AP_INIT_TAKE1(..)` and its sisters | a [`command_rec`] literal: the member of [`cmd_func`] that fits `args_how` |
//! | `ap_hook_*` (typed by macro) | registration in `c-shim/mod_md.c` |
//! | `ap_log_error(APLOG_MARK, ..)`, `ap_log_cerror`, `ap_log_rerror` | [`md_shim_log_server`], [`md_shim_log_connection`], [`md_shim_log_request`] |
//! | `APLOG_IS_LEVEL` | [`md_shim_log_enabled`] |
//! | `APLOGNO(10071)` | the text `AH10071: ` in front of the message |
//! | `ap_get_module_config` | [`md_shim_server_config`], [`md_shim_connection_ssl`] |
//! | `APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_..)` | [`md_shim_watchdog_loaded`], `_create`, `_start`, `_interval` |
//! | `ap_hook_get_post_config` with `ap_LINK_post_config_t` | [`md_shim_try_tls`] |
//! | `APR_ARRAY_PUSH`, `APR_ARRAY_IDX` | [`apr_array_push`]; `elts` and `nelts` of [`apr_array_header_t`] |
//! | `ap_rputs` | [`ap_rwrite`] with the length |
//! | `apr_pool_create`, `apr_pool_clear` | not needed: pools are httpd's |

#[allow(
    clippy::all,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn
)]
mod bindings {
    use super::opaque::*;

    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;
pub use opaque::*;

/// Types that Rust holds by pointer only: no size, no fields, neither `Send` nor movable.
mod opaque {
    use core::marker::{PhantomData, PhantomPinned};

    macro_rules! opaque {
        ($($(#[$doc:meta])* $name:ident)*) => {$(
            $(#[$doc])*
            #[repr(C)]
            pub struct $name {
                _size: [u8; 0],
                _marker: PhantomData<(*mut u8, PhantomPinned)>,
            }
        )*};
    }

    opaque! {
        /// An open configuration file.
        ap_configfile_t
        /// A listening socket; `md_shim_listener_*` read its fields.
        ap_listen_rec
        /// Methods named in `<Limit>`.
        ap_method_list_t
        /// A socket address.
        apr_sockaddr_t
        /// A connection; `md_shim_connection_*` read its fields.
        conn_rec
        /// A request; `md_shim_request_*` read its fields.
        request_rec
        /// The main server or a virtual host; `md_shim_server_*` read its fields.
        server_rec
        /// The TLS state of a connection.
        SSL
        /// The TLS settings of a host.
        SSL_CTX
    }
}

// A directive's function is stored as one pointer, whichever member of the union it is.
const _: () = assert!(size_of::<cmd_func>() == size_of::<usize>());
// httpd walks the table by this size until a record without a name.
const _: () = assert!(size_of::<command_rec>() % align_of::<command_rec>() == 0);
// Arrays of `const char *` are read as arrays of thin pointers.
const _: () = assert!(size_of::<*const core::ffi::c_char>() == size_of::<usize>());
// `apr_status_t` and the hooks' results are C ints.
const _: () = assert!(size_of::<apr_status_t>() == size_of::<core::ffi::c_int>());
