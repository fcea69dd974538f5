//! What the directives say of TLS hosts before mod_ssl has looked at them: `httpd -t` ends before that.

use std::collections::HashMap;

use apache_sys as sys;

use super::pool::text;
use super::server::Server;

/// Whether a host has TLS on, and a certificate, as its directives say. What a host does not say the main server says.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    engine: Option<bool>,
    has_certificate: bool,
}

/// What the directives say of the main server and of each virtual host, by file and line of its section.
#[derive(Debug, Default)]
pub struct TlsHosts<'t> {
    main: Said,
    hosts: HashMap<(&'t str, u32), Said>,
}

impl<'t> TlsHosts<'t> {
    /// Looks through the directives of a configuration that has been read.
    pub fn look(_while_configured: Server<'t>) -> Self {
        let mut found = Self::default();
        // SAFETY: written when a configuration is read, in this thread; the tree lives as long as that.
        found.collect(unsafe { sys::ap_conftree }, None);
        found
    }

    fn collect(&mut self, first: *const sys::ap_directive_t, host: Option<(&'t str, u32)>) {
        let mut next = first;
        // SAFETY: NULL, or a node of the tree.
        while let Some(node) = unsafe { next.as_ref() } {
            // SAFETY: NULL or a string that lives as long as the node.
            let [file, name, value] = [node.filename, node.directive, node.args].map(|raw| unsafe { text(raw) });
            let is_called = |wanted: &str| name.is_some_and(|name| name.eq_ignore_ascii_case(wanted));
            let own =
                Some((file.unwrap_or_default(), node.line_num.unsigned_abs())).filter(|_| is_called("<VirtualHost"));
            let said = host.map_or(&mut self.main, |host| self.hosts.entry(host).or_default());
            if is_called("SSLEngine") {
                said.engine = Some(value.is_some_and(|value| value.trim().eq_ignore_ascii_case("on")));
            }
            said.has_certificate |= is_called("SSLCertificateFile");
            self.collect(node.first_child, own.or(host));
            next = node.next;
        }
    }

    /// Whether the host has TLS on and no certificate of its own.
    pub fn is_bare(&self, server: Server<'_>) -> bool {
        let own = server.defined_at().filter(|_| server.is_virtual());
        let own = own.and_then(|place| self.hosts.get(&place)).copied().unwrap_or_default();
        own.engine.or(self.main.engine).unwrap_or(false) && !own.has_certificate && !self.main.has_certificate
    }
}
