//! TLS hosts as directives describe them: `httpd -t` ends before mod_ssl has looked at any.

use std::collections::HashMap;

/// A file and a line.
pub type Place = (String, u32);

/// Directives of a host about TLS. Those of the main server count where a host has none.
#[derive(Debug, Clone, Copy, Default)]
struct Tls {
    engine: Option<bool>,
    has_certificate: bool,
}

/// Directives about TLS: those of the main server, and of each virtual host by the place of its section.
#[derive(Debug, Default)]
pub struct TlsHosts {
    main: Tls,
    hosts: HashMap<Place, Tls>,
}

impl TlsHosts {
    /// Adds a directive of the host whose section begins at `host`, or of the main server.
    pub fn add(&mut self, host: Option<Place>, name: &str, value: Option<&str>) {
        let tls = host.map_or(&mut self.main, |place| self.hosts.entry(place).or_default());
        if name.eq_ignore_ascii_case("SSLEngine") {
            tls.engine = Some(value.is_some_and(|value| value.trim().eq_ignore_ascii_case("on")));
        }
        tls.has_certificate |= name.eq_ignore_ascii_case("SSLCertificateFile");
    }

    /// Checks whether the host has TLS on and no certificate of its own.
    #[must_use]
    pub fn is_bare(&self, host: Option<&Place>) -> bool {
        let own = host.and_then(|place| self.hosts.get(place)).copied().unwrap_or_default();
        own.engine.or(self.main.engine).unwrap_or(false) && !own.has_certificate && !self.main.has_certificate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_bare_with_tls_and_without_a_certificate() {
        /// Whether a directive stands in the section of the host, its name and its value.
        type Directive = (bool, &'static str, &'static str);
        let rows: [(&[Directive], bool); 10] = [
            (&[], false),
            (&[(true, "SSLEngine", "on")], true),
            (&[(true, "sslengine", " ON ")], true),
            (&[(true, "SSLEngine", "optional")], false),
            (&[(false, "SSLEngine", "on")], true),
            (&[(false, "SSLEngine", "on"), (true, "SSLEngine", "off")], false),
            (&[(true, "SSLEngine", "on"), (true, "SSLCertificateFile", "a.pem")], false),
            (&[(true, "SSLEngine", "on"), (false, "sslcertificatefile", "a.pem")], false),
            (&[(true, "SSLEngine", "on"), (true, "SSLCertificateKeyFile", "a.key")], true),
            (&[(true, "ServerName", "on")], false),
        ];
        let place = ("/etc/sites.conf".to_owned(), 7);
        for (directives, expected) in rows {
            let mut hosts = TlsHosts::default();
            for (is_of_host, name, value) in directives {
                hosts.add(is_of_host.then(|| place.clone()), name, Some(value));
            }
            assert_eq!(hosts.is_bare(Some(&place)), expected, "{directives:?}");
        }
    }

    #[test]
    fn hosts_are_told_apart_by_file_and_line() {
        let place = |line| ("/etc/sites.conf".to_owned(), line);
        let mut hosts = TlsHosts::default();
        hosts.add(Some(place(7)), "SSLEngine", Some("on"));
        assert_eq!([7, 8].map(|line| hosts.is_bare(Some(&place(line)))), [true, false]);
        assert!(!hosts.is_bare(None));
    }
}
