//! The phases of the server in safe Rust: the start, a child's begin, and the hooks of requests.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::boundary::Stop;
use super::c::pool::Pool;
use super::c::request::{Answer, Request};
use super::c::server::{Server, listeners};
use super::c::tree;
use super::config::{Lazy, Main, ServerConfig, Starting};
use super::pages::Pages;
use super::{
    answers, birth, driver, https, live, own_files, phase, process, self_restart, shared, spawned, ssl, stapling,
};
use crate::accounts::Accounts;
use crate::clock::SystemClock;
use crate::documents::{CLAIM_PATIENCE, Documents};
use crate::log::{note, report};
use crate::model::{Contact, Declared, VERSION};
use crate::registry::self_restart::{WOULD_ACTIVATE, WOULD_DO_NOTHING, WOULD_NOT_START};
use crate::registry::{Host, Ports, Setup, Start, check, configured};
use crate::serving::tls_hosts::TlsHosts;
use crate::sets::LazySets;
use crate::store::{FileStore, MemoryStore, ServerFacts, ServerWide, Store, StoreError};

/// Checks the complete configuration, at a start and for `httpd -t`. A restart cannot be refused any more.
pub fn check_config(pconf: Pool<'_>, _ptemp: Pool<'_>, main: Server<'_>) -> Result<(), Stop> {
    if phase::is_restart() {
        return Ok(());
    }
    let globals = &main.config()?.main()?.globals;
    let declared: Vec<Declared> = declared(main, ServerConfig::declared);
    let found = configured(&declared, &main_settings(main)?, globals, false).map_err(|_| Stop)?;
    // A start says it later, when its log is open.
    if phase::is_config_test() {
        let tls = tls_hosts();
        let mut hosts = hosts(main)?;
        for (server, host) in main.all().zip(&mut hosts) {
            let section = server.section();
            host.is_bare = tls.is_bare(section.as_ref());
            host.tls = tls.is_on(section.as_ref());
        }
        let ports = Ports::find(globals.port_map, listeners(main).map(|at| (at.port, at.protocol)));
        check(found.domains, &hosts, globals, || stored_accounts(pconf, main), &ports).map_err(|_| Stop)?;
    }
    Ok(())
}

/// Returns the accounts of the store, or of one that is not there yet; `None` if they cannot be read.
fn stored_accounts(pconf: Pool<'_>, main: Server<'_>) -> Option<Accounts> {
    match FileStore::look(&store_dir(pconf, main.config().ok()?.main().ok()?).ok()?).ok()? {
        Some((store, _)) => Accounts::read(&Documents::new(Arc::new(store))).ok(),
        None => Some(Accounts::default()),
    }
}

/// Begins a start, before the TLS modules ask for certificates; also in the pass that only tries the configuration.
pub fn post_config_first(pconf: Pool<'_>, _ptemp: Pool<'_>, main: Server<'_>) -> Result<(), Stop> {
    if phase::is_dry_run() {
        report!(AH10070, "initial configuration pass");
    } else {
        report!(AH10071, "mod_md (v{VERSION}, Rust), initializing...");
    }
    spawned::install();
    let config = main.config()?.main()?;
    let declared = declared(main, ServerConfig::take_declared);
    let (store, read_only) = open_store(pconf, config, declared.is_empty() && !is_stapling(main))?;
    if !(phase::is_dry_run() || read_only) {
        occupy(main.process_pool()?, &store, config.globals.store_locks.is_some());
    }
    begin(pconf, main, declared, Some(store), read_only)
}

/// Runs the first phase of a start with the declared domains, and the store if there is one.
fn begin(
    pconf: Pool<'_>,
    main: Server<'_>,
    declared: Vec<Declared>,
    store: Option<Arc<FileStore>>,
    read_only: bool,
) -> Result<(), Stop> {
    let config = main.config()?.main()?;
    let start = Start {
        declared,
        main: main_settings(main)?,
        globals: config.globals.clone(),
        hosts: hosts(main)?,
        is_restart: phase::is_restart(),
        read_only,
        // What is held then is waited for by the start that follows.
        patience: if phase::is_dry_run() { Duration::ZERO } else { CLAIM_PATIENCE },
        counts: shared::counts(main.process_pool()?),
    };
    let bytes: Arc<dyn Store> = match &store {
        Some(store) => Arc::clone(store) as _,
        None => Arc::new(MemoryStore::new()),
    };
    let setup = Setup::begin(start, Arc::new(Documents::new(bytes)), Arc::new(SystemClock)).map_err(|_| Stop)?;
    let lazy = (config.globals.lazy_certificates && birth::open(pconf)).then(|| Lazy {
        sets: LazySets::new(Box::new(Pages::default()), ssl::share_key),
        tls: tls_hosts(),
        files: HashMap::new(),
        hosts: [0; 2],
    });
    *config.starting() = Some(Starting { setup, store, own_files: Vec::new(), lazy });
    Ok(())
}

/// Ends a start, after the TLS modules asked for certificates and before mod_watchdog starts.
pub fn post_config_last(pconf: Pool<'_>, _ptemp: Pool<'_>, main: Server<'_>) -> Result<(), Stop> {
    birth::expect(birth::Expected::Nothing);
    let config = main.config()?.main()?;
    let Some(Starting { setup, store, own_files, lazy }) = config.starting().take() else { return Ok(()) };
    if phase::is_dry_run() {
        return Ok(());
    }
    own_files::log_advice(&own_files);
    if let Some(Lazy { mut sets, hosts: [lazy, others], .. }) = lazy.filter(|lazy| lazy.hosts != [0; 2]) {
        note!(
            Info,
            "certificates are decoded at the first handshake for {lazy} TLS hosts, and by mod_ssl at the start for {others}"
        );
        sets.seal();
        // Set once, here.
        let _ = config.lazy_sets.set(sets);
    }
    let ports = Ports::find(config.globals.port_map, listeners(main).map(|at| (at.port, at.protocol)));
    let reach = ports.reach;
    report!(AH10037, "server seems reachable via http: {}, https: {}", reach.http, reach.https);
    let store = store.filter(|_| !setup.is_read_only());
    let servers: Vec<Server<'_>> = main.all().collect();
    let tls = |position: usize| servers[position].config().is_ok_and(|config| config.host.is_tls());
    let registry = Arc::new(setup.finish(tls, &ports).map_err(|_| Stop)?);
    if let Some(store) = store {
        let facts = ServerFacts { reach, server: ServerWide::of(&config.globals), idle: registry.idle_domains() };
        if let Err(err) = store.save_facts(&facts) {
            report!(MD0028, err.status(); "{err}");
        }
    }
    live::open(main, &registry)?;
    self_restart::open(main, &registry)?;
    let registered = driver::register(pconf, &registry).and_then(|()| stapling::register(pconf, main, &registry));
    // Set once, here.
    let _ = config.registry.set(registry);
    process::trim_memory();
    registered
}

/// Returns the exit code of this process, which is a test for a server that wants to restart: what a start with this
/// configuration would come to (see [`crate::registry::self_restart`]). Nothing in the store changes.
pub fn try_start(pconf: Pool<'_>, main: Server<'_>) -> i32 {
    match rehearse(pconf, main) {
        Ok(true) => WOULD_ACTIVATE,
        Ok(false) => WOULD_DO_NOTHING,
        Err(Stop) => WOULD_NOT_START,
    }
}

/// Checks whether a start would activate anything. httpd has read the configuration by now; without a start it does not look at
/// certificates.
fn rehearse(pconf: Pool<'_>, main: Server<'_>) -> Result<bool, Stop> {
    let config = main.config()?.main()?;
    let store = FileStore::look(&store_dir(pconf, config)?).map_err(|err| {
        report!(AH10046, err.status(); "MDStoreDir: the store cannot be used: {err}");
        Stop
    })?;
    begin(pconf, main, declared(main, ServerConfig::declared), store.map(|(store, _)| Arc::new(store)), true)?;
    if !main.try_tls(pconf) {
        return Err(Stop);
    }
    Ok(config.starting().as_ref().is_some_and(|starting| starting.setup.would_activate()))
}

/// Prepares a new child, in which threads may be started from now on.
pub fn child_init(main: Server<'_>) {
    // Without the main server's configuration there is nothing to learn.
    let _ = stapling::child_init(main).and_then(|()| live::child_init(main));
}

/// Answers a request before mod_ssl or any other module sees it.
pub fn post_read_first(request: Request<'_>) -> Answer {
    match answers::certificate_status(request) {
        Ok(Answer::Declined) => answers::unavailable(request).unwrap_or(Answer::Declined),
        answer => answer.unwrap_or(Answer::Declined),
    }
}

/// Answers a request before it is mapped to anything: requests for challenges, and those that have to come over https.
pub fn post_read_second(request: Request<'_>) -> Answer {
    match answers::http_01(request) {
        Ok(Answer::Declined) => https::redirect(request).unwrap_or(Answer::Declined),
        answer => answer.unwrap_or(Answer::Declined),
    }
}

/// Prepares the response to a request.
pub fn insert_filter(request: Request<'_>) {
    // Without the request's connection or server there is nothing to say about them.
    let _ = https::promise(request);
}

/// Answers a request in the content phase.
pub fn handler(request: Request<'_>) -> Answer {
    answers::document(request).unwrap_or(Answer::Declined)
}

/// Writes a part of the page of mod_status, for programs or for people.
pub fn status(request: Request<'_>, for_programs: bool) {
    // Without the main server's configuration there is nothing to show.
    let _ = answers::server_status(request, for_programs);
}

/// Returns all domains that are declared anywhere, those of the main server first.
fn declared(main: Server<'_>, of: fn(&ServerConfig) -> Vec<Declared>) -> Vec<Declared> {
    main.all().filter_map(|server| server.config().ok()).flat_map(of).collect()
}

/// Checks whether certificates are to be stapled that may belong to no domain.
fn is_stapling(main: Server<'_>) -> bool {
    let is_on = |config: &ServerConfig| config.settings().and_then(|all| all.stapling).unwrap_or(false);
    main.all().any(|server| server.config().is_ok_and(is_on))
}

fn main_settings(main: Server<'_>) -> Result<crate::model::Settings, Stop> {
    let mut settings = main.config()?.settings().cloned().unwrap_or_default();
    settings.contact = settings.contact.or_else(|| main.admin().map(Contact::of_server_admin));
    Ok(settings)
}

/// Collects the directives of all hosts about TLS.
fn tls_hosts() -> TlsHosts {
    let mut hosts = TlsHosts::default();
    let is_host = |name: &str| name.eq_ignore_ascii_case("<VirtualHost");
    let is_of_mod_ssl = |begin: &[u8]| begin.eq_ignore_ascii_case(b"SSL");
    tree::walk(|directive, sections| {
        // Of the thousands of directives few are mod_ssl's.
        let Some(name) = directive.name.filter(|name| name.as_bytes().get(..3).is_some_and(is_of_mod_ssl)) else {
            return;
        };
        let host = sections.iter().rfind(|section| section.name.is_some_and(is_host));
        let place = host.map(|section| (section.file.unwrap_or_default().to_owned(), section.line));
        hosts.add(place, name, directive.value);
    });
    hosts
}

fn hosts(main: Server<'_>) -> Result<Vec<Host>, Stop> {
    let https_port = main.config()?.main()?.globals.port_map.https;
    let describe = |(position, server): (usize, Server<'_>)| {
        let config = server.config()?;
        config.host.set_position(position);
        let name = server.name_as_written();
        let shown = name.as_deref().unwrap_or("(no name)");
        let origin = server.defined_at().map_or(shown.to_owned(), |(file, line)| format!("{shown} ({file}:{line})"));
        Ok(Host {
            is_main: !server.is_virtual(),
            tls: false,
            contact: config.settings().and_then(|settings| settings.contact.clone()),
            admin: server.admin().map(str::to_owned),
            allows_acme_tls: server.allows_protocol(c"acme-tls/1"),
            is_at_https_port: server.ports().all(|port| Some(port) == https_port),
            origin,
            ..Host::called(name.as_deref(), server.aliases(), server.wildcard_aliases())
        })
    };
    main.all().enumerate().map(describe).collect()
}

/// Marks the store as used by this server, and warns if another one uses it: two servers that renew the same domains and
/// activate each other's certificates are a mistake, unless they take turns.
fn occupy(process: Pool<'_>, store: &FileStore, takes_turns: bool) {
    if takes_turns || process::kept_handle(process).is_some_and(|handle| store.is_occupied_by(handle)) {
        return;
    }
    match store.occupy() {
        Ok(Some(handle)) => process::keep_handle(process, handle),
        Ok(None) => report!(
            MD0008,
            "MDStoreDir {}: another running httpd uses this store; give each a store of its own, or set MDStoreLocks in both",
            store.base().display()
        ),
        Err(err) => note!(Info, err.status(); "MDStoreDir: cannot tell whether another httpd uses this store: {err}"),
    }
}

/// Returns the directory of the store: `MDStoreDir`, or the C module's default with this httpd.
fn store_dir(pconf: Pool<'_>, config: &Main) -> Result<PathBuf, Stop> {
    let usual = || process::state_path(pconf, "md").or_else(|| process::server_path(pconf, "md"));
    config.globals.store_dir.clone().or_else(usual).ok_or(Stop)
}

/// Opens the store, and tells whether it can only be read. If the server needs none, the store is neither made nor opened: only
/// challenges of `a2md` are looked for.
fn open_store(pconf: Pool<'_>, config: &Main, unused: bool) -> Result<(Arc<FileStore>, bool), Stop> {
    let dir = store_dir(pconf, config)?;
    if unused {
        return Ok((Arc::new(FileStore::read_only(&dir)), true));
    }
    let is_new = !dir.exists();
    let lacks_parent = dir.parent().is_some_and(|parent| !parent.exists());
    let opened = FileStore::open(&dir).map_err(|err| {
        report!(AH10046, err.status(); "MDStoreDir: the store cannot be used: {err}");
    });
    let prepared = opened.and_then(|store| {
        let done = store.prepare(Some(process::worker_ids()));
        done.map(|()| store).map_err(|err| match err {
            StoreError::Owner { .. } => report!(AH10082, err.status(); "MDStoreDir: {err}"),
            _ => report!(AH10047, err.status(); "MDStoreDir: {err}"),
        })
    });
    match prepared {
        Ok(store) => {
            if is_new {
                report!(
                    MD0103,
                    "MDStoreDir {}: a new store was made{}; what another directory has of accounts and certificates is not used",
                    dir.display(),
                    if lacks_parent { ", with the directory above it, which did not exist" } else { "" }
                );
            }
            if !phase::is_dry_run() {
                store.report_flaws(process::worker_ids());
            }
            Ok((Arc::new(store), false))
        }
        Err(()) => {
            if !phase::is_restart() {
                return Err(Stop);
            }
            Ok((Arc::new(FileStore::read_only(&dir)), true))
        }
    }
}
