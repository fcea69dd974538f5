//! The module's data of one server: its settings, and facts that the start found out.

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use apache_sys as sys;

use super::boundary::{Null, present};
use super::c::server::Server;
use super::files::{CertificateFiles, FileArrays};
use super::self_restart::SelfRestart;
use crate::model::directive::Target;
use crate::model::{Declared, Globals, Settings};
use crate::registry::{Registry, Setup};
use crate::serving::own_files::OwnFiles;
use crate::serving::tls_hosts::TlsHosts;
use crate::sets::LazySets;
use crate::store::FileStore;

/// Settings of the main server or of a virtual host. There are as many as hosts, so parts that few of them need are boxed.
///
/// Written by directives, in the parent's only thread; read-only from check_config on.
#[derive(Default)]
pub struct ServerConfig {
    main: Option<Box<Main>>,
    local: Option<Box<Local>>,
    /// Facts that the start found out about this server.
    pub host: HostState,
}

/// Data of the main server.
#[derive(Default)]
pub struct Main {
    /// Values of the whole server.
    pub globals: Globals,
    /// The start in progress: from the first to the last post_config.
    starting: Mutex<Option<Starting>>,
    /// All domains: from the last post_config on.
    pub registry: OnceLock<Arc<Registry>>,
    /// Sets that handshakes decode: from the last post_config on, if there are any.
    pub lazy_sets: OnceLock<LazySets>,
    /// Restarts that the server makes by itself: from the last post_config on, if it is to make any.
    pub(super) self_restart: OnceLock<SelfRestart>,
}

/// Data of a start, kept from its first phase to its last.
pub struct Starting {
    /// Domains and hosts.
    pub setup: Setup,
    /// Where mod_ssl finds its files; `None` where a trial finds no store.
    pub store: Option<Arc<FileStore>>,
    /// Hosts of domains that have files of their own.
    pub own_files: Vec<OwnFiles>,
    /// Sets that handshakes decode; `None` if mod_ssl reads all.
    pub lazy: Option<Lazy>,
}

/// The way of hosts whose certificates handshakes decode.
pub struct Lazy {
    /// The sets.
    pub sets: LazySets,
    /// The directives of hosts about TLS.
    pub tls: TlsHosts,
    /// Files of hosts that mod_ssl gets to know when it has set up all hosts, by the position of the host.
    pub files: HashMap<usize, (FileArrays, Vec<CertificateFiles>)>,
    /// The number of hosts that go this way, and of other hosts with certificates of the store.
    pub hosts: [usize; 2],
}

/// Facts that the start found out about one server. Written in post_config by the parent's only thread.
#[derive(Debug, Default)]
pub struct HostState {
    position: AtomicU32,
    tls: AtomicBool,
    placeholder: AtomicBool,
    stapled: AtomicBool,
    managed: AtomicBool,
    own_files: AtomicBool,
    /// The number of the set that handshakes decode, plus one.
    lazy: AtomicU32,
}

/// Settings made in one server.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// Properties set outside of sections.
    settings: Settings,
    /// Domains declared in this server, in order, until a start takes them.
    declared: Mutex<Vec<Declared>>,
    /// Whether the last declared domain is a section that is still being read.
    pub(super) in_section: bool,
}

impl ServerConfig {
    /// Makes the settings of the main server.
    #[must_use]
    pub fn for_main() -> Self {
        Self { main: Some(Box::default()), ..Self::default() }
    }

    /// Returns the data of the main server.
    ///
    /// # Errors
    /// If this is not the main server.
    pub fn main(&self) -> Result<&Main, Null> {
        self.main.as_deref().ok_or(Null("main server"))
    }

    /// Returns the values of the whole server, to be changed.
    pub(super) fn globals_mut(&mut self) -> Result<&mut Globals, Null> {
        self.main.as_deref_mut().map(|main| &mut main.globals).ok_or(Null("main server"))
    }

    /// Returns the settings made in this server, to be changed.
    pub(super) fn local_mut(&mut self) -> &mut Local {
        self.local.get_or_insert_default()
    }

    /// Returns the values of the whole server and the settings made in this one, to be changed.
    pub(super) fn both_mut(&mut self) -> Result<(&mut Globals, &mut Local), Null> {
        let main = self.main.as_deref_mut().ok_or(Null("main server"))?;
        Ok((&mut main.globals, self.local.get_or_insert_default()))
    }

    /// Returns the properties set outside of sections.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.local.as_deref().map(|local| &local.settings)
    }

    /// Returns the domains declared in this server, in order.
    #[must_use]
    pub fn declared(&self) -> Vec<Declared> {
        self.local.as_deref().map(|local| lock(&local.declared).clone()).unwrap_or_default()
    }

    /// Takes the domains declared in this server, which are not needed after this.
    #[must_use]
    pub fn take_declared(&self) -> Vec<Declared> {
        self.local.as_deref().map(|local| std::mem::take(&mut *lock(&local.declared))).unwrap_or_default()
    }
}

impl<'s> Server<'s> {
    /// Returns the module's settings of this server.
    pub fn config(self) -> Result<&'s ServerConfig, Null> {
        let config = self.config_ptr()?;
        // SAFETY: one of the two entry points that create settings made it and its pool keeps it. Only directives have a
        // `&mut`, before 's begins.
        Ok(unsafe { config.as_ref() })
    }

    pub(super) fn config_ptr(self) -> Result<NonNull<ServerConfig>, Null> {
        // SAFETY: live by `from_raw`.
        present(unsafe { sys::md_shim_server_config(self.as_ptr()) }.cast::<ServerConfig>(), "server configuration")
    }
}

impl Main {
    /// Returns the start in progress.
    pub fn starting(&self) -> MutexGuard<'_, Option<Starting>> {
        lock(&self.starting)
    }
}

impl Local {
    /// Returns the target of a directive: the section that is being read, or the server.
    pub(super) fn target(&mut self) -> Target<'_> {
        let declared = self.declared.get_mut().unwrap_or_else(PoisonError::into_inner);
        match declared.len() {
            count if self.in_section && count > 0 => Target::Domain(&mut declared[count - 1]),
            _ => Target::Server { settings: &mut self.settings, declared },
        }
    }
}

impl HostState {
    /// Sets the position among all servers, the main server first.
    pub fn set_position(&self, position: usize) {
        self.position.store(position.try_into().unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Returns the position among all servers.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position.load(Ordering::Relaxed) as usize
    }

    /// Notes that mod_ssl asked for certificates.
    pub fn set_tls(&self) {
        self.tls.store(true, Ordering::Relaxed);
    }

    /// Checks whether this host uses TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.load(Ordering::Relaxed)
    }

    /// Notes that the host has a placeholder as its certificate.
    pub fn set_placeholder(&self) {
        self.placeholder.store(true, Ordering::Relaxed);
    }

    /// Notes that the host has certificates from the configuration, beside those of its domain.
    pub fn set_own_files(&self) {
        self.own_files.store(true, Ordering::Relaxed);
    }

    /// Checks whether the host has certificates from the configuration, beside those of its domain.
    #[must_use]
    pub fn has_own_files(&self) -> bool {
        self.own_files.load(Ordering::Relaxed)
    }

    /// Notes that the host has the certificates of its domain from the store, or waits for them.
    pub fn set_managed(&self) {
        self.managed.store(true, Ordering::Relaxed);
    }

    /// Checks whether the certificates of the host are those of its domain in the store, or other ones until there are some.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.managed.load(Ordering::Relaxed)
    }

    /// Notes that handshakes decode the set with this number.
    pub fn set_lazy(&self, number: usize) {
        self.lazy.store(number.try_into().map_or(0, |number: u32| number.saturating_add(1)), Ordering::Relaxed);
    }

    /// Returns the number of the set that handshakes decode; `None` if mod_ssl has the certificates of the host.
    #[must_use]
    pub fn lazy(&self) -> Option<usize> {
        (self.lazy.load(Ordering::Relaxed) as usize).checked_sub(1)
    }

    /// Notes that this module staples the certificates of the host.
    pub fn set_stapled(&self) {
        self.stapled.store(true, Ordering::Relaxed);
    }

    /// Checks whether this module staples the certificates of the host.
    #[must_use]
    pub fn is_stapled(&self) -> bool {
        self.stapled.load(Ordering::Relaxed)
    }

    /// Checks whether the host had no certificate that clients can trust when the server started.
    #[must_use]
    pub fn has_placeholder(&self) -> bool {
        self.placeholder.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
