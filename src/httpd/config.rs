//! What our module keeps for one server: its settings, and what became of them at the start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::model::directive::Target;
use crate::model::{Declared, Globals, Settings};
use crate::registry::{Registry, Setup};
use crate::store::FileStore;

/// Settings of the main server or of a virtual host. There are as many as hosts, so what few of them need is boxed.
///
/// Written by directives, in the parent's only thread; read-only from check_config on.
#[derive(Default)]
pub struct ServerConfig {
    /// Values of the whole server; those of the main server count.
    globals: Option<Box<Globals>>,
    /// What was said in this server.
    local: Option<Box<Local>>,
    /// What the start found out about this server.
    pub host: HostState,
    /// The start in progress, in the main server: from the first to the last post_config.
    starting: Mutex<Option<Box<Starting>>>,
    /// All domains, in the main server: from the last post_config on.
    pub registry: OnceLock<Arc<Registry>>,
}

/// What is known between the two phases of a start.
pub struct Starting {
    /// Domains and hosts.
    pub setup: Setup,
    /// Where mod_ssl finds its files; `None` where no domain is declared.
    pub store: Option<Arc<FileStore>>,
}

/// What the start found out about one server. Written in post_config by the parent's only thread.
#[derive(Debug, Default)]
pub struct HostState {
    /// Position among all servers, the main server first.
    pub position: OnceLock<usize>,
    tls: AtomicBool,
    placeholder: AtomicBool,
}

impl HostState {
    /// mod_ssl asked for certificates.
    pub fn set_tls(&self) {
        self.tls.store(true, Ordering::Relaxed);
    }

    /// Whether this host uses TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.load(Ordering::Relaxed)
    }

    /// The host has got a placeholder as its certificate.
    pub fn set_placeholder(&self) {
        self.placeholder.store(true, Ordering::Relaxed);
    }

    /// Whether there is no certificate yet that clients can trust.
    #[must_use]
    pub fn has_placeholder(&self) -> bool {
        self.placeholder.load(Ordering::Relaxed)
    }
}

/// Values that a server has for itself.
#[derive(Debug, Default, Clone)]
pub(super) struct Local {
    /// Properties set outside of sections.
    pub settings: Settings,
    /// Domains declared in this server, in order.
    pub declared: Vec<Declared>,
    /// Whether the last declared domain is a section that is still being read.
    pub(super) in_section: bool,
}

impl ServerConfig {
    /// The start in progress.
    pub fn starting(&self) -> MutexGuard<'_, Option<Box<Starting>>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Values of the whole server.
    #[must_use]
    pub fn globals(&self) -> Globals {
        self.globals.as_deref().cloned().unwrap_or_default()
    }

    /// Values of the whole server, to be changed.
    pub(super) fn globals_mut(&mut self) -> &mut Globals {
        self.globals.get_or_insert_default()
    }

    /// Properties set outside of sections.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.local.as_deref().map(|local| &local.settings)
    }

    /// Domains declared in this server, in order.
    #[must_use]
    pub fn declared(&self) -> &[Declared] {
        self.local.as_deref().map_or(&[], |local| &local.declared)
    }

    /// What is said in this server, to be changed.
    pub(super) fn local_mut(&mut self) -> &mut Local {
        self.local.get_or_insert_default()
    }

    /// Both.
    pub(super) fn both_mut(&mut self) -> (&mut Globals, &mut Local) {
        (self.globals.get_or_insert_default(), self.local.get_or_insert_default())
    }
}

impl Local {
    /// What a directive sets now: the section that is being read, or the server.
    pub(super) fn target(&mut self) -> Target<'_> {
        match self.declared.len() {
            count if self.in_section && count > 0 => Target::Domain(&mut self.declared[count - 1]),
            _ => Target::Server { settings: &mut self.settings, declared: &mut self.declared },
        }
    }
}
