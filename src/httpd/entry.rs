//! The functions that httpd calls: each checks its arguments, calls one safe function and translates the result.

use std::ffi::{c_char, c_int, c_void};

use apache_sys as sys;

use super::boundary::{self, Null, Stop, guard, present};
use super::c::array::{align, paths, push, strings};
use super::c::connection::Connection;
use super::c::pool::{Pool, text};
use super::c::request::{Answer, Request};
use super::c::server::Server;
use super::certificates::{self, Offered, certificate_files};
use super::config::ServerConfig;
use super::files::{CertificateFiles, FileArrays};
use super::{alpn, hooks, live, log, phase, process, self_restart, stapling, threads};
use crate::registry::self_restart::WOULD_NOT_START;
use crate::serving::alpn::PROTOCOL;

// A signature that differs from the header's does not compile.
const _: sys::md_rs_create_server_config_fn = Some(md_rs_create_server_config);
const _: sys::md_rs_merge_server_config_fn = Some(md_rs_merge_server_config);
const _: sys::md_rs_pre_config_fn = Some(md_rs_pre_config);
const _: sys::md_rs_check_config_fn = Some(md_rs_check_config);
const _: sys::md_rs_post_config_fn = Some(md_rs_post_config_first);
const _: sys::md_rs_post_config_fn = Some(md_rs_post_config_last);
const _: sys::md_rs_child_init_fn = Some(md_rs_child_init);
const _: sys::md_rs_child_stopping_fn = Some(md_rs_child_stopping);
const _: sys::md_rs_monitor_fn = Some(md_rs_monitor);
const _: sys::md_rs_test_config_fn = Some(md_rs_test_config);
const _: sys::md_rs_request_fn = Some(md_rs_post_read_first);
const _: sys::md_rs_request_fn = Some(md_rs_post_read_second);
const _: sys::md_rs_request_fn = Some(md_rs_handler);
const _: sys::md_rs_insert_filter_fn = Some(md_rs_insert_filter);
const _: sys::md_rs_status_fn = Some(md_rs_status);
const _: sys::md_rs_cert_files_fn = Some(md_rs_add_cert_files);
const _: sys::md_rs_protocol_propose_fn = Some(md_rs_protocol_propose);
const _: sys::md_rs_protocol_switch_fn = Some(md_rs_protocol_switch);
const _: sys::md_rs_protocol_get_fn = Some(md_rs_protocol_get);
const _: sys::md_rs_answer_challenge_fn = Some(md_rs_answer_challenge);

/// Makes the settings of a server. The first function of the module that httpd calls, right after loading it.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_create_server_config(
    pool: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> *mut c_void {
    log::install();
    boundary::install_panic_log();
    guard("create_server_config", std::ptr::null_mut(), || {
        process::keep_libcurl();
        // SAFETY: httpd passes the configuration's pool, in which it also keeps the pointer that we return.
        let pool = unsafe { Pool::from_raw(pool) }?;
        // SAFETY: the server that the configuration is for, which lives as long.
        let server = unsafe { Server::from_raw(server) }?;
        // There is one for each virtual host, and most stay empty: only a directive in a host adds data that is to be dropped.
        let config = if server.is_virtual() {
            pool.place(ServerConfig::default())
        } else {
            pool.keep_raw(ServerConfig::for_main())
        };
        Ok(config.cast())
    })
}

/// Keeps the settings of a virtual host, once all directives are read: domains inherit from the main server only. Without this
/// function httpd would make no configuration for a host that has none of the module's directives.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_merge_server_config(
    _pool: *mut sys::apr_pool_t,
    _base: *mut c_void,
    add: *mut c_void,
) -> *mut c_void {
    guard("merge_server_config", add, || Ok(add))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_pre_config(
    pconf: *mut sys::apr_pool_t,
    _plog: *mut sys::apr_pool_t,
    _ptemp: *mut sys::apr_pool_t,
) -> c_int {
    guard("pre_config", sys::OK, || {
        // SAFETY: httpd's pool of the configuration, cleared when the next one is read.
        log::attach(unsafe { Pool::from_raw(pconf) }?);
        Ok(sys::OK)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_check_config(
    pconf: *mut sys::apr_pool_t,
    _plog: *mut sys::apr_pool_t,
    ptemp: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    // SAFETY: httpd's arguments are passed on.
    unsafe { configure("check_config", pconf, ptemp, server, hooks::check_config) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_post_config_first(
    pconf: *mut sys::apr_pool_t,
    _plog: *mut sys::apr_pool_t,
    ptemp: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    // SAFETY: httpd's arguments are passed on.
    unsafe { configure("post_config_first", pconf, ptemp, server, hooks::post_config_first) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_post_config_last(
    pconf: *mut sys::apr_pool_t,
    _plog: *mut sys::apr_pool_t,
    ptemp: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    // SAFETY: httpd's arguments are passed on.
    unsafe { configure("post_config_last", pconf, ptemp, server, hooks::post_config_last) }
}

/// Runs a hook of the configuration. After a panic a first start ends, while a running server goes on without what the hook
/// does.
///
/// # Safety
/// The pointers are those httpd passes to such a hook.
unsafe fn configure(
    hook: &'static str,
    pconf: *mut sys::apr_pool_t,
    ptemp: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
    run: fn(Pool<'_>, Pool<'_>, Server<'_>) -> Result<(), Stop>,
) -> c_int {
    let fallback = if phase::is_restart() { sys::OK } else { sys::HTTP_INTERNAL_SERVER_ERROR };
    guard(hook, fallback, || {
        // SAFETY: live while the hook runs, by the caller's promise.
        let pconf = unsafe { Pool::from_raw(pconf) }?;
        // SAFETY: as above.
        let ptemp = unsafe { Pool::from_raw(ptemp) }?;
        // SAFETY: as above.
        let server = unsafe { Server::from_raw(server) }?;
        Ok(match run(pconf, ptemp, server) {
            Ok(()) => sys::OK,
            Err(Stop) => sys::HTTP_INTERNAL_SERVER_ERROR,
        })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_child_init(pchild: *mut sys::apr_pool_t, server: *mut sys::server_rec) {
    guard("child_init", (), || {
        // SAFETY: the child's pool, destroyed when the child ends.
        let pchild = unsafe { Pool::from_raw(pchild) }?;
        // SAFETY: the main server, which outlives the child.
        let server = unsafe { Server::from_raw(server) }?;
        threads::enter_child(pchild);
        hooks::child_init(server);
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_child_stopping(_pchild: *mut sys::apr_pool_t, graceful: c_int) {
    guard("child_stopping", (), || {
        threads::cancel(graceful != 0);
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_monitor(pool: *mut sys::apr_pool_t, server: *mut sys::server_rec) -> c_int {
    guard("monitor", sys::DECLINED, || {
        // SAFETY: the main server of the configuration in force.
        let main = unsafe { Server::from_raw(server) }?;
        stapling::monitor(main)?;
        live::monitor(main)?;
        // SAFETY: the pool of that configuration.
        self_restart::monitor(main, unsafe { Pool::from_raw(pool) }?)?;
        Ok(sys::DECLINED)
    })
}

/// Ends the process, if it is a test for a server that wants to restart.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_test_config(pconf: *mut sys::apr_pool_t, server: *mut sys::server_rec) {
    if !phase::is_trial() {
        return;
    }
    process::leave(guard("test_config", WOULD_NOT_START, || {
        // SAFETY: live while the process is.
        let pconf = unsafe { Pool::from_raw(pconf) }?;
        // SAFETY: as above.
        let main = unsafe { Server::from_raw(server) }?;
        Ok(hooks::try_start(pconf, main))
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_post_read_first(request: *mut sys::request_rec) -> c_int {
    // SAFETY: httpd's argument is passed on.
    unsafe { answer("post_read_first", request, sys::DECLINED, sys::DONE, hooks::post_read_first) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_post_read_second(request: *mut sys::request_rec) -> c_int {
    // SAFETY: httpd's argument is passed on.
    unsafe { answer("post_read_second", request, sys::DECLINED, sys::DONE, hooks::post_read_second) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_insert_filter(request: *mut sys::request_rec) {
    guard("insert_filter", (), || {
        // SAFETY: a live request_rec; it is not kept after this call.
        hooks::insert_filter(unsafe { Request::from_raw(request) }?);
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_status(request: *mut sys::request_rec, flags: c_int) -> c_int {
    guard("status", sys::DECLINED, || {
        // SAFETY: a live request_rec; it is not kept after this call.
        let request = unsafe { Request::from_raw(request) }?;
        hooks::status(request, flags & sys::AP_STATUS_SHORT != 0);
        Ok(sys::OK)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_handler(request: *mut sys::request_rec) -> c_int {
    // SAFETY: httpd's argument is passed on.
    unsafe { answer("handler", request, sys::HTTP_INTERNAL_SERVER_ERROR, sys::OK, hooks::handler) }
}

/// Runs a hook of a request. `written` tells httpd in this phase that the response is complete.
///
/// # Safety
/// `request` is what httpd passes to such a hook.
unsafe fn answer(
    hook: &'static str,
    request: *mut sys::request_rec,
    fallback: c_int,
    written: c_int,
    run: fn(Request<'_>) -> Answer,
) -> c_int {
    guard(hook, fallback, || {
        // SAFETY: a live request_rec, by the caller's promise; it is not kept after this call.
        let request = unsafe { Request::from_raw(request) }?;
        Ok(match run(request) {
            Answer::Declined => sys::DECLINED,
            Answer::Written => written,
            Answer::Status(status) => c_int::from(status),
        })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_add_cert_files(
    server: *mut sys::server_rec,
    _pool: *mut sys::apr_pool_t,
    certs: *mut sys::apr_array_header_t,
    keys: *mut sys::apr_array_header_t,
) -> c_int {
    guard("ssl_add_cert_files", sys::DECLINED, || {
        // SAFETY: a server of the configuration being set up.
        let server = unsafe { Server::from_raw(server) }?;
        let certs = present(certs, "array of certificates")?;
        let keys = present(keys, "array of keys")?;
        // SAFETY: a live array of C strings, as the hook's documentation says.
        let own = unsafe { paths(certs.as_ptr()) };
        let arrays = FileArrays { certs, keys };
        Ok(match certificate_files(server, &own) {
            Offered::Nothing => sys::DECLINED,
            Offered::Files(files) => {
                // SAFETY: live arrays, as the hook's documentation says.
                unsafe { add_files(arrays, &files) }?;
                sys::OK
            }
            Offered::Lazily(files) => {
                certificates::add_later(server, arrays, files)?;
                sys::DECLINED
            }
        })
    })
}

/// Adds files to those of a host.
///
/// # Safety
/// The arrays are live and have paths of files (`const char *`).
pub(super) unsafe fn add_files(FileArrays { certs, keys }: FileArrays, files: &[CertificateFiles]) -> Result<(), Null> {
    let (certs, keys) = (certs.as_ptr(), keys.as_ptr());
    // SAFETY: the caller's promise, for both.
    unsafe { align(certs, keys) }?;
    for pair in files {
        // SAFETY: the caller's promise.
        unsafe { push(certs, &pair.chain) }?;
        // SAFETY: as above.
        unsafe { push(keys, &pair.key) }?;
    }
    Ok(())
}

/// Proposes the protocol of challenges to a connection that offers it in its handshake.
#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_protocol_propose(
    connection: *mut sys::conn_rec,
    request: *mut sys::request_rec,
    server: *mut sys::server_rec,
    offers: *const sys::apr_array_header_t,
    proposals: *mut sys::apr_array_header_t,
) -> c_int {
    // The protocol is chosen in a handshake, before there is a request.
    if !request.is_null() || offers.is_null() {
        return sys::DECLINED;
    }
    guard("protocol_propose", sys::DECLINED, || {
        // SAFETY: a live connection; it is not kept after this call.
        let connection = unsafe { Connection::from_raw(connection) }?;
        // SAFETY: an array of C strings that the caller does not change meanwhile.
        let offered = unsafe { strings(offers) }.any(|offer| offer == PROTOCOL);
        // SAFETY: the server that the connection is for.
        let server = unsafe { Server::from_raw(server) }?;
        if !(offered && alpn::is_selected(connection, server)?) {
            return Ok(sys::DECLINED);
        }
        let proposals = present(proposals, "array of protocols")?.as_ptr();
        // SAFETY: httpd passes a live array of `const char *` for us to add to.
        unsafe { push(proposals, PROTOCOL.as_ref()) }?;
        Ok(sys::OK)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_protocol_switch(
    connection: *mut sys::conn_rec,
    _request: *mut sys::request_rec,
    _server: *mut sys::server_rec,
    protocol: *const c_char,
) -> c_int {
    guard("protocol_switch", sys::DECLINED, || {
        // SAFETY: NULL or a C string that lives as long as this call.
        if unsafe { text(protocol) } != Some(PROTOCOL) {
            return Ok(sys::DECLINED);
        }
        // SAFETY: a live connection; it is not kept after this call.
        alpn::switch(unsafe { Connection::from_raw(connection) }?);
        Ok(sys::OK)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_protocol_get(connection: *const sys::conn_rec) -> *const c_char {
    guard("protocol_get", std::ptr::null(), || {
        // SAFETY: a live connection; it is not kept after this call, and only read.
        let connection = unsafe { Connection::from_raw(connection.cast_mut()) }?;
        Ok(if alpn::is_switched(connection) { alpn::PROTOCOL_NAME.as_ptr() } else { std::ptr::null() })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn md_rs_answer_challenge(
    connection: *mut sys::conn_rec,
    name: *const c_char,
    chain: *mut *const c_char,
    key: *mut *const c_char,
) -> c_int {
    guard("ssl_answer_challenge", sys::DECLINED, || {
        // SAFETY: a live connection; it is not kept after this call.
        let connection = unsafe { Connection::from_raw(connection) }?;
        // SAFETY: NULL or a C string that lives as long as this call.
        let name = unsafe { text(name) };
        let Some(answer) = alpn::answer(connection, name)? else { return Ok(sys::DECLINED) };
        let chain = present(chain, "place for a certificate")?;
        let key = present(key, "place for a key")?;
        let pool = connection.pool()?;
        // SAFETY: the caller's place for one pointer; the string lives as long as the connection.
        unsafe { chain.write(pool.string(&answer.certificate).as_ptr()) };
        // SAFETY: as above.
        unsafe { key.write(pool.string(&answer.key).as_ptr()) };
        Ok(sys::OK)
    })
}
