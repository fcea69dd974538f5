//! TLS hosts as directives describe them: `httpd -t` ends before mod_ssl has looked at any.

use std::collections::HashMap;

/// A file and a line.
pub type Place = (String, u32);

/// Directives of a host about TLS. Those of the main server count where a host has none.
#[derive(Debug, Clone, Copy, Default)]
struct Tls {
    engine: Option<bool>,
    has_certificate: bool,
    /// `SSLUseStapling`
    stapling: Option<bool>,
    /// mod_ssl has to have the certificates when it sets up the host.
    needs_files: bool,
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
        if name.eq_ignore_ascii_case("SSLUseStapling") {
            tls.stapling = Some(value.is_some_and(|value| value.trim().eq_ignore_ascii_case("on")));
        }
        tls.has_certificate |= name.eq_ignore_ascii_case("SSLCertificateFile");
        tls.needs_files |= needs_files(name, value.unwrap_or_default());
    }

    /// Checks whether mod_ssl has to have the host's certificates when it sets up the host. `is_stapled` says whether this module
    /// staples them: mod_ssl staples only certificates that it knows from the start.
    #[must_use]
    pub fn needs_files(&self, host: Option<&Place>, is_stapled: bool) -> bool {
        let is_stapled_by_others = self.wants_staples(host) && !is_stapled;
        self.of(host).needs_files || self.main.needs_files || is_stapled_by_others
    }

    /// Checks whether mod_ssl staples certificates of the host that nobody else staples (`SSLUseStapling`).
    #[must_use]
    pub fn wants_staples(&self, host: Option<&Place>) -> bool {
        self.of(host).stapling.or(self.main.stapling).unwrap_or(false)
    }

    fn of(&self, host: Option<&Place>) -> Tls {
        host.and_then(|place| self.hosts.get(place)).copied().unwrap_or_default()
    }

    /// Checks whether the host has TLS on.
    #[must_use]
    pub fn is_on(&self, host: Option<&Place>) -> bool {
        self.of(host).engine.or(self.main.engine).unwrap_or(false)
    }

    /// Checks whether the host has TLS on and no certificate of its own.
    #[must_use]
    pub fn is_bare(&self, host: Option<&Place>) -> bool {
        let own = self.of(host);
        self.is_on(host) && !own.has_certificate && !self.main.has_certificate
    }
}

/// Checks whether a directive of mod_ssl is about certificates that mod_ssl reads: extensions of a chain, commands of OpenSSL, a
/// dialog for pass phrases, and a security level that a certificate can fail.
fn needs_files(name: &str, value: &str) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    is("SSLCertificateChainFile")
        || is("SSLOpenSSLConfCmd")
        || is("SSLPassPhraseDialog") && !value.trim().eq_ignore_ascii_case("builtin")
        || is("SSLCipherSuite") && value.to_ascii_uppercase().contains("@SECLEVEL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mod_ssl_reads_the_certificates_where_its_directives_are_about_them() {
        let rows = [
            ("SSLEngine", "on", [false, false]),
            ("SSLCipherSuite", "HIGH:!aNULL", [false, false]),
            ("SSLCipherSuite", "DEFAULT:@seclevel=3", [true, true]),
            ("sslopensslconfcmd", "Curves P-256", [true, true]),
            ("SSLCertificateChainFile", "chain.pem", [true, true]),
            ("SSLPassPhraseDialog", "builtin", [false, false]),
            ("SSLPassPhraseDialog", "exec:/bin/pass", [true, true]),
            ("SSLUseStapling", "on", [true, false]),
            ("SSLUseStapling", "off", [false, false]),
        ];
        let place = ("/etc/sites.conf".to_owned(), 7);
        for (name, value, expected) in rows {
            for host in [None, Some(place.clone())] {
                let mut hosts = TlsHosts::default();
                hosts.add(host.clone(), name, Some(value));
                assert_eq!(
                    [false, true].map(|ours| hosts.needs_files(Some(&place), ours)),
                    expected,
                    "{name} {value} {host:?}"
                );
            }
        }
        let mut hosts = TlsHosts::default();
        hosts.add(None, "SSLUseStapling", Some("on"));
        hosts.add(Some(place.clone()), "SSLUseStapling", Some("off"));
        assert_eq!([Some(&place), None].map(|host| hosts.needs_files(host, false)), [false, true]);
        assert_eq!([Some(&place), None].map(|host| hosts.wants_staples(host)), [false, true]);
    }

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
