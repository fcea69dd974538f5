//! With feature `httpd`: compiles the C shim against the httpd that apache-sys found.

use std::env;
use std::process::Command;

const SOURCES: &[&str] = &["c-shim/mod_md.c", "c-shim/md_shim.c"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=c-shim");
    if env::var_os("CARGO_FEATURE_HTTPD").is_none() {
        return;
    }
    require_system_libraries();
    let includes = published("DEP_HTTPD_INCLUDES");
    let defines = published("DEP_HTTPD_DEFINES");
    let mut build = cc::Build::new();
    build.std("gnu11").warnings(true).extra_warnings(true).warnings_into_errors(true).files(SOURCES);
    for dir in includes.split(':') {
        // The warnings are about our code, not about the server's headers.
        build.flag("-isystem").flag(dir);
    }
    if let Ok(dir) = env::var("DEP_OPENSSL_INCLUDE") {
        build.flag("-isystem").flag(dir);
    }
    for define in defines.split_whitespace() {
        build.flag(define);
    }
    build.compile("md_shim");
}

/// The module shares libssl with mod_ssl: a second copy in the process would handle objects that are not its own.
fn require_system_libraries() {
    if env::var_os("DEP_OPENSSL_VENDORED").is_some() {
        stop("openssl-sys builds its own OpenSSL; the module needs the system's, which mod_ssl uses");
    }
    if env::var_os("DEP_CURL_STATIC").is_some() {
        stop(
            "curl-sys builds its own curl, as pkg-config finds no libcurl; install its development files (Debian: libcurl4-openssl-dev)",
        );
    }
    for (library, package) in [("libssl >= 3.0", "libssl-dev"), ("libcurl", "libcurl4-openssl-dev")] {
        let found = Command::new("pkg-config").args(["--exists", library]).status();
        match found {
            Ok(status) if status.success() => {}
            Ok(_) => stop(&format!("pkg-config finds no {library}; install its development files (Debian: {package})")),
            Err(err) => {
                stop(&format!("cannot run pkg-config ({err}); install it, the module needs the system's libraries"))
            }
        }
    }
}

fn published(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| stop(&format!("apache-sys did not publish {name}")))
}

fn stop(reason: &str) -> ! {
    println!("cargo::error={reason}");
    std::process::exit(1)
}
