//! Generates the bindings of the installed httpd and publishes the compiler flags found for it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use bindgen::{Builder, Formatter};

/// `child_stopping`, on which joining worker threads in time depends, is new in this release.
const MINIMUM: [u32; 3] = [2, 4, 49];

const FUNCTIONS: &[&str] = &[
    "CRYPTO_free_ex_index",
    "CRYPTO_get_ex_new_index",
    "SSL_CTX_get_ssl_method",
    "SSL_CTX_set_cert_cb",
    "SSL_CTX_use_cert_and_key",
    "TLS_client_method",
    "SSL_certs_clear",
    "SSL_set_not_resumable_session_callback",
    "SSL_use_cert_and_key",
    "ap_check_cmd_context",
    "ap_discard_request_body",
    "ap_exists_config_define",
    "ap_get_server_banner",
    "ap_get_server_name",
    "ap_getword_conf",
    "ap_is_allowed_protocol",
    "ap_mpm_query",
    "ap_rwrite",
    "ap_server_root_relative",
    "ap_set_content_length",
    "ap_set_content_type",
    "ap_ssl_conn_is_ssl",
    "ap_state_query",
    "ap_walk_config",
    "apr_array_push",
    "apr_palloc",
    "apr_pool_cleanup_null",
    "apr_pool_cleanup_register",
    "apr_pool_pre_cleanup_register",
    "apr_pool_userdata_get",
    "apr_pool_userdata_set",
    "apr_proc_other_child_(register|unregister)",
    "apr_pstrmemdup",
    "apr_table_get",
    "apr_table_setn",
    "md_shim_.*",
];

const TYPES: &[&str] = &[
    "ap_directive_t",
    "apr_proc_t",
    "cmd_func",
    "cmd_how",
    "cmd_parms",
    "command_rec",
    "md_rs_.*_fn",
    "md_status_callback",
    "server_addr_rec",
    "unixd_config_rec",
];

const VARIABLES: &[&str] = &[
    "APLOG_(EMERG|ERR|TRACE2)",
    "APR_OC_REASON_(DEATH|LOST|UNREGISTER)",
    "APR_SUCCESS",
    "AP_MPMQ_IS_THREADED",
    "AP_SQ_(CONFIG_GEN|MAIN_STATE|MS_CREATE_PRE_CONFIG|RM_CONFIG_DUMP|RM_CONFIG_TEST|RUN_MODE)",
    "AP_STATUS_SHORT",
    "CRYPTO_EX_INDEX_SSL_CTX",
    "AP_WATCHDOG_STATE_.*",
    "DECLINED",
    "DEFAULT_ADMIN",
    "DONE",
    "HTTP_INTERNAL_SERVER_ERROR",
    "M_GET",
    "NOT_IN_(DIR_CONTEXT|FILES|HTACCESS)",
    "OK",
    "OR_AUTHCFG",
    "RSRC_CONF",
    "ap_conftree",
    "ap_listeners",
    "ap_server_conf",
    "ap_unixd_config",
];

/// Types that Rust holds by pointer only: `src/lib.rs` declares them without fields.
const OPAQUE: &[&str] = &[
    "ap_configfile_t",
    "ap_listen_rec",
    "ap_method_list_t",
    "apr_sockaddr_t",
    "conn_rec",
    "request_rec",
    "server_rec",
    "SSL",
    "SSL_CTX",
];

fn main() {
    println!("cargo::rerun-if-env-changed=APXS");
    println!("cargo::rerun-if-changed=wrapper.h");
    println!("cargo::rerun-if-changed=../c-shim/md_shim.h");
    let apxs = env::var("APXS").unwrap_or_else(|_| "apxs".into());
    let includes = include_dirs(&apxs);
    let defines = defines(&apxs);
    require_minimum(&includes[0]);
    publish(&includes, &defines);

    let target = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("bindings.rs");
    builder(&includes, &defines)
        .generate()
        .unwrap_or_else(|err| stop(&format!("cannot read the headers of httpd: {err}")))
        .write_to_file(&target)
        .unwrap_or_else(|err| stop(&format!("cannot write {}: {err}", target.display())));
}

fn builder(includes: &[String], defines: &[String]) -> Builder {
    let mut builder = bindgen::builder()
        .header("wrapper.h")
        .clang_args(includes.iter().map(|dir| format!("-isystem{dir}")))
        .clang_args(defines)
        .formatter(Formatter::None)
        .generate_comments(false)
        .derive_debug(false)
        .layout_tests(true)
        .use_core()
        .generate_cstr(true)
        .default_macro_constant_type(bindgen::MacroTypeVariation::Signed);
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in VARIABLES {
        builder = builder.allowlist_var(name);
    }
    for name in OPAQUE {
        builder = builder.blocklist_type(name);
    }
    builder
}

/// httpd's include directory, then those of APR and APR-util.
fn include_dirs(apxs: &str) -> Vec<String> {
    let mut dirs: Vec<String> = Vec::new();
    for variable in ["INCLUDEDIR", "APR_INCLUDEDIR", "APU_INCLUDEDIR"] {
        let dir = query(apxs, variable);
        if !dir.is_empty() && !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs
}

/// The `-D` flags httpd was built with; they decide the width of some APR types.
fn defines(apxs: &str) -> Vec<String> {
    ["EXTRA_CFLAGS", "EXTRA_CPPFLAGS", "NOTEST_CPPFLAGS"]
        .iter()
        .flat_map(|variable| query(apxs, variable).split_whitespace().map(String::from).collect::<Vec<_>>())
        .filter(|flag| flag.starts_with("-D"))
        .collect()
}

fn query(apxs: &str, variable: &str) -> String {
    let output = Command::new(apxs).args(["-q", variable]).output().unwrap_or_else(|err| {
        stop(&format!(
            "cannot run '{apxs}' ({err}); install httpd's development files (Debian: apache2-dev) or set APXS to its path"
        ))
    });
    // Some releases of apxs fail for a variable they do not know: that is an empty value.
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Ends the build for an httpd that lacks hooks this module relies on.
fn require_minimum(include: &str) {
    let header = Path::new(include).join("ap_release.h");
    println!("cargo::rerun-if-changed={}", header.display());
    let text = std::fs::read_to_string(&header)
        .unwrap_or_else(|err| stop(&format!("cannot read {}: {err}", header.display())));
    let found = ["MAJORVERSION", "MINORVERSION", "PATCHLEVEL"].map(|part| release_number(&text, part));
    if found < MINIMUM {
        let [need, have] = [MINIMUM, found].map(|v| format!("{}.{}.{}", v[0], v[1], v[2]));
        stop(&format!("httpd {need} or newer is needed, {} is of {have}", header.display()));
    }
}

fn release_number(header: &str, part: &str) -> u32 {
    let name = format!("AP_SERVER_{part}_NUMBER");
    header
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.trim().strip_prefix(&name)?.trim().parse().ok())
        .next()
        .unwrap_or_else(|| stop(&format!("ap_release.h does not define {name}")))
}

/// Tells dependents the flags: they see `DEP_HTTPD_INCLUDES` and `DEP_HTTPD_DEFINES`.
fn publish(includes: &[String], defines: &[String]) {
    println!("cargo::metadata=includes={}", includes.join(":"));
    println!("cargo::metadata=defines={}", defines.join(" "));
}

fn stop(reason: &str) -> ! {
    println!("cargo::error={reason}");
    std::process::exit(1)
}
