//! Our settings of one server, as directives set them.

use crate::model::directive::Target;
use crate::model::{Declared, Globals, Settings};

/// Settings of the main server or of a virtual host.
///
/// Written by directives and the merge, in the parent's only thread; read-only from check_config on.
#[derive(Debug, Default)]
pub struct ServerConfig {
    /// Values of the whole server; those of the main server count.
    pub globals: Globals,
    /// Values that each server has for itself.
    pub local: Local,
}

/// Values that each server has for itself.
#[derive(Debug, Default, Clone)]
pub struct Local {
    /// Properties set outside of sections.
    pub settings: Settings,
    /// Domains declared in this server, in order.
    pub declared: Vec<Declared>,
    /// Whether the last declared domain is a section that is still being read.
    pub(super) in_section: bool,
}

impl ServerConfig {
    /// What a virtual host has once all directives are read: what was said in it. Domains inherit from the main server only.
    #[must_use]
    pub fn merge(_main: &Self, host: &Self) -> Self {
        Self { globals: Globals::default(), local: host.local.clone() }
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
