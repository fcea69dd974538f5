//! Matches managed domains with virtual hosts, and adds names, contacts and protocols of hosts to domains.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::crypto::Certificate;
use crate::log::{note, report};
use crate::model::{Contact, DomainName, ManagedDomain, MatchNames, MemberMode, NamePattern, RenewMode};
use crate::registry::index::DomainIndex;

/// Settings of a virtual host, or of the main server, that concern managed domains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// ServerName, without port.
    pub server_name: Option<DomainName>,
    /// ServerAlias without wildcards.
    pub aliases: Vec<DomainName>,
    /// ServerAlias with wildcards.
    pub wild_aliases: Vec<NamePattern>,
    /// Names whose spelling in the configuration differs from the form in which names are compared.
    pub spellings: Vec<Spelling>,
    /// Whether the host is the main server.
    pub is_main: bool,
    /// Whether TLS is on: the TLS module has asked for certificates.
    pub tls: bool,
    /// Whether TLS is on and no certificate is configured, by the directives alone, before TLS is set up.
    pub is_bare: bool,
    /// `MDContactEmail` of the host.
    pub contact: Option<Contact>,
    /// `ServerAdmin` of the host.
    pub admin: Option<String>,
    /// Place in the configuration, for messages.
    pub origin: String,
    /// Whether `Protocols` has acme-tls/1 (RFC 8737).
    pub allows_acme_tls: bool,
    /// Whether all addresses of the host have the local port for public port 443 (`MDPortMap`).
    pub is_at_https_port: bool,
}

/// A name as the configuration has it. httpd compares text, so that it finds the host only by this spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    text: String,
    /// The name that is meant; `None` if the text is not a name.
    name: Option<DomainName>,
}

impl Host {
    /// Makes a host with these names, as the configuration has them.
    pub fn called<'a>(
        server_name: Option<&str>,
        aliases: impl IntoIterator<Item = Cow<'a, str>>,
        wild_aliases: impl IntoIterator<Item = Cow<'a, str>>,
    ) -> Self {
        let mut host = Self::default();
        host.server_name = server_name.and_then(|text| host.parse(text));
        host.aliases = aliases.into_iter().filter_map(|text| host.parse(&text)).collect();
        host.wild_aliases = wild_aliases.into_iter().map(|text| NamePattern::parse(&text)).collect();
        host
    }

    fn parse(&mut self, text: &str) -> Option<DomainName> {
        let name = DomainName::parse(text).ok();
        if !name.as_ref().is_some_and(|name| name.as_str().eq_ignore_ascii_case(text)) {
            self.spellings.push(Spelling { text: text.to_owned(), name: name.clone() });
        }
        name
    }

    /// ServerName, then every ServerAlias without wildcards.
    fn names(&self) -> impl Iterator<Item = &DomainName> {
        self.server_name.iter().chain(&self.aliases)
    }

    /// Checks whether requests for this name come to this host.
    fn has(&self, name: &DomainName) -> bool {
        self.names().any(|known| known == name)
            || self.server_name.as_ref().is_some_and(|known| name.covers(known))
            || self.wild_aliases.iter().any(|pattern| pattern.matches(name))
    }

    /// Checks whether httpd finds the host by this name: httpd compares text.
    fn is_found_by(&self, name: &DomainName) -> bool {
        let spellings = self.spellings.iter().filter(|spelling| spelling.name.as_ref() == Some(name)).count();
        self.names().filter(|known| *known == name).count() > spellings
            || self.wild_aliases.iter().any(|pattern| pattern.matches(name))
    }

    /// Checks whether a certificate covers a name of the host.
    pub(crate) fn is_named_in(&self, leaf: &Certificate) -> bool {
        let is_matched = |name: DomainName| self.wild_aliases.iter().any(|pattern| pattern.matches(&name));
        let mut named = leaf.names().into_iter().filter_map(|name| DomainName::parse(&name).ok());
        self.names().any(|name| leaf.covers(name)) || named.any(is_matched)
    }
}

/// The positions of each host's domains, ascending, in one list, as there may be many hosts with one domain each.
#[derive(Debug, Default)]
pub struct Assigned {
    positions: Vec<usize>,
    /// Where the positions of each host end.
    ends: Vec<usize>,
}

impl Assigned {
    /// Returns the positions of one host's domains; none for an unknown host.
    #[must_use]
    pub fn of(&self, host: usize) -> &[usize] {
        let begin = host.checked_sub(1).and_then(|former| self.ends.get(former)).copied().unwrap_or_default();
        self.ends.get(host).map_or(&[], |end| &self.positions[begin..*end])
    }

    /// Returns the positions of each host's domains, in order of hosts.
    pub fn iter(&self) -> impl Iterator<Item = &[usize]> {
        (0..self.ends.len()).map(|host| self.of(host))
    }
}

impl FromIterator<Vec<usize>> for Assigned {
    fn from_iter<T: IntoIterator<Item = Vec<usize>>>(lists: T) -> Self {
        let mut all = Self::default();
        for list in lists {
            all.positions.extend(list);
            all.ends.push(all.positions.len());
        }
        all.positions.shrink_to_fit();
        all.ends.shrink_to_fit();
        all
    }
}

/// Matches domains with hosts.
#[must_use]
pub fn assign(domains: &[ManagedDomain], hosts: &[Host], mode: MatchNames, main_too: bool) -> Assigned {
    let index = DomainIndex::new(domains);
    let exact = if mode == MatchNames::ServerNames { by_name(domains) } else { HashMap::new() };
    let matches = |host: &Host| match (mode, &host.server_name) {
        _ if host.is_main && !main_too => Vec::new(),
        (MatchNames::All, _) => by_all_names(domains, &index, host),
        (MatchNames::ServerNames, Some(name)) => {
            exact.get(name).cloned().unwrap_or_else(|| index.wildcard(name).into_iter().collect())
        }
        (MatchNames::ServerNames, None) => Vec::new(),
    };
    hosts.iter().map(matches).collect()
}

/// Returns the domains by name; with `MDMatchNames servernames`, several domains may have the same one.
fn by_name(domains: &[ManagedDomain]) -> HashMap<&DomainName, Vec<usize>> {
    let mut all: HashMap<&DomainName, Vec<usize>> = HashMap::new();
    for (position, md) in domains.iter().enumerate() {
        md.domains.iter().for_each(|name| all.entry(name).or_default().push(position));
    }
    all
}

fn by_all_names(domains: &[ManagedDomain], index: &DomainIndex, host: &Host) -> Vec<usize> {
    let mut found: Vec<usize> = host.names().filter_map(|name| index.exact(name)).collect();
    found.extend(host.server_name.as_ref().and_then(|name| index.wildcard(name)));
    for pattern in &host.wild_aliases {
        let matches = |md: &ManagedDomain| md.domains.iter().any(|name| pattern.matches(name));
        found.extend(domains.iter().enumerate().filter(|(_, md)| matches(md)).map(|(position, _)| position));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Adds the names of TLS hosts to domains with `MDMembers auto`, and warns of names that other domains lack.
pub fn add_members(domains: &mut [ManagedDomain], hosts: &[Host], assigned: &Assigned) {
    for (host, positions) in hosts.iter().zip(assigned.iter()) {
        let ([position], true) = (positions, host.tls) else { continue };
        let md = &mut domains[*position];
        let lacks = |md: &ManagedDomain, name: &dyn std::fmt::Display| {
            report!(
                AH10040,
                "Virtual Host {} has name {name} that is not covered by the Managed Domain {}. \
                 Add it with MDMembers, or let it be added with 'MDMembers auto'",
                host.origin,
                md.name
            );
        };
        for name in host.names() {
            match md.members {
                _ if md.covers(name) => {}
                MemberMode::Auto => md.domains.push(name.clone()),
                _ => lacks(md, name),
            }
        }
        host.spellings.iter().filter(|spelling| spelling.name.is_none()).for_each(|spelling| lacks(md, &spelling.text));
    }
}

/// Warns of a domain that no host uses.
pub fn report_unused(md: &ManagedDomain) {
    if md.renew_mode != RenewMode::Always {
        report!(
            AH10045,
            "No VirtualHost matches Managed Domain {}: it gets no certificates unless a ServerName or ServerAlias has one of its names, or MDRenewMode is 'always'",
            md.name
        );
    }
}

/// Warns of names of domains by which httpd does not find the host, as it compares text.
pub fn report_not_found(domains: &[ManagedDomain], hosts: &[Host], assigned: &Assigned) {
    for (host, positions) in hosts.iter().zip(assigned.iter()) {
        let mut reported = HashSet::new();
        for Spelling { text, name } in &host.spellings {
            let Some(name) = name.as_ref().filter(|name| name.address().is_none() && !host.is_found_by(name)) else {
                continue;
            };
            if positions.iter().any(|position| domains[*position].covers(name)) && reported.insert(name) {
                report!(
                    MD0056,
                    "{}: clients ask for {name}, which httpd does not find by '{text}'; add 'ServerAlias {name}' to the virtual host",
                    host.origin
                );
            }
        }
    }
}

/// Finds the domain that a host without a domain was probably meant to have, among those without a host, and the reason why they
/// do not match.
fn probably_meant_for<'a>(
    host: &Host,
    domains: &'a [ManagedDomain],
    assigned: &Assigned,
) -> Option<(&'a ManagedDomain, String)> {
    let used: HashSet<usize> = assigned.iter().flatten().copied().collect();
    let unused = || domains.iter().enumerate().filter(|(at, _)| !used.contains(at)).map(|(_, md)| md);
    let is_not_matched = |md: &'a ManagedDomain| {
        let name = host.names().find(|name| md.covers(name))?;
        let reason = format!(
            "the host's name {name} is not used for matching; see MDMatchNames, and MDBaseServer for the main server"
        );
        Some((md, reason))
    };
    let is_alike = |md: &'a ManagedDomain| {
        let texts =
            host.names().map(DomainName::as_str).chain(host.spellings.iter().map(|spelling| spelling.text.as_str()));
        let (text, name) = texts.flat_map(|text| md.domains.iter().map(move |name| (text, name))).find(is_alike)?;
        let unicode = Some(name.to_unicode()).filter(|unicode| unicode != name.as_str());
        let unicode = unicode.map(|unicode| format!(" ({unicode})")).unwrap_or_default();
        Some((md, format!("the host's name {text} differs from {name}{unicode} only in spelling")))
    };
    let is_unused = || Some((unused().next()?, "host and Managed Domain have no name in common".to_owned()));
    unused().find_map(is_not_matched).or_else(|| unused().find_map(is_alike)).or_else(is_unused)
}

/// Checks whether a text was probably meant to be the name.
fn is_alike((text, name): &(&str, &DomainName)) -> bool {
    let bare = |text: &str| {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or_default();
        host.trim_matches(['.', '[', ']', '"', '\'', ' ']).to_lowercase()
    };
    let text = bare(text);
    let name = bare(&name.to_unicode());
    let are_same = |(written, meant): (char, char)| written == meant || written == char::REPLACEMENT_CHARACTER;
    text.chars().count() == name.chars().count() && text.chars().zip(name.chars()).all(are_same)
        || DomainName::parse(&text).is_ok_and(|text| DomainName::parse(&name) == Ok(text))
}

/// Warns of a TLS host that has neither a certificate nor a domain, if some domain was probably meant for it. Returns that domain.
pub fn report_bare<'a>(host: &Host, domains: &'a [ManagedDomain], assigned: &Assigned) -> Option<&'a ManagedDomain> {
    let (md, reason) = probably_meant_for(host, domains, assigned)?;
    report!(
        MD0055,
        "{}: uses TLS and has neither a certificate nor a Managed Domain, and Managed Domain {} has no host: {reason}. \
         Make them match, or give the host a certificate: httpd does not start like this (AH02572)",
        host.origin,
        md.name
    );
    Some(md)
}

/// Logs domains with `MDRequireHttps` that have no TLS host.
pub fn check_required_https(domains: &[ManagedDomain], hosts: &[Host], assigned: &Assigned) {
    let with_tls: HashSet<usize> = tls_hosts(hosts, assigned).flat_map(|(_, positions)| positions).copied().collect();
    for (position, md) in domains.iter().enumerate() {
        if md.require_https.is_some() && !with_tls.contains(&position) {
            report!(
                AH10105,
                "MD {} does not match any VirtualHost with 'SSLEngine on', but is configured to require https. This cannot work.",
                md.name
            );
        }
    }
}

/// Warns of domains that have a host at the port for https, but none with TLS. Domains with hosts at other ports only, as where https
/// is still to come or the certificate is for another program, are not meant.
pub fn report_without_tls(domains: &[ManagedDomain], hosts: &[Host], assigned: &Assigned) {
    let with_tls: HashSet<usize> = tls_hosts(hosts, assigned).flat_map(|(_, positions)| positions).copied().collect();
    let mut reported = HashSet::new();
    let at_port = hosts.iter().zip(assigned.iter()).filter(|(host, _)| host.is_at_https_port && !host.is_main);
    for (host, position) in at_port.flat_map(|(host, positions)| positions.iter().map(move |at| (host, *at))) {
        if !with_tls.contains(&position) && reported.insert(position) {
            report!(
                MD0105,
                "{}: no host of this Managed Domain has 'SSLEngine on', so nobody serves its certificate; add it to {}, which is at \
                 the port for https",
                domains[position].name,
                host.origin
            );
        }
    }
}

/// Logs TLS hosts that have several domains, and returns how many there are.
pub fn report_conflicts(domains: &[ManagedDomain], hosts: &[Host], assigned: &Assigned) -> usize {
    let several = |(host, positions): (_, &[usize])| match positions {
        [first, second, ..] => Some((host, [*first, *second])),
        _ => None,
    };
    let conflicts = tls_hosts(hosts, assigned).filter_map(several);
    let report = |(host, positions): &(&Host, [usize; 2])| {
        let [one, other] = positions.map(|at| &domains[at].name);
        report!(
            AH10042,
            "the virtual host {} matches the Managed Domains {one} and {other}, but a TLS host can have only one",
            host.origin
        );
    };
    conflicts.inspect(report).count()
}

/// Returns the hosts with TLS, each with the positions of its domains.
pub fn tls_hosts<'a>(hosts: &'a [Host], assigned: &'a Assigned) -> impl Iterator<Item = (&'a Host, &'a [usize])> {
    hosts.iter().zip(assigned.iter()).filter(|(host, _)| host.tls)
}

/// Finds the names for which the server can answer tls-alpn-01 (RFC 8737): those with a TLS host that the CA can reach, and that
/// has acme-tls/1 among its `Protocols`. A domain with tls-alpn-01 in `MDCAChallenges` counts as reachable.
pub fn find_protocols(
    domains: &mut [ManagedDomain],
    hosts: &[Host],
    assigned: &Assigned,
    main_too: bool,
    can_https: bool,
) {
    let mut by_domain: HashMap<usize, Vec<&Host>> = HashMap::new();
    for (host, positions) in tls_hosts(hosts, assigned) {
        positions.iter().for_each(|position| by_domain.entry(*position).or_default().push(host));
    }
    let main = hosts.iter().find(|host| host.is_main && main_too);
    for (position, md) in domains.iter_mut().enumerate() {
        let tls_hosts = by_domain.get(&position).map(Vec::as_slice).unwrap_or_default();
        let is_listed = md.ca.challenges.iter().any(|kind| kind.eq_ignore_ascii_case("tls-alpn-01"));
        let answers = |name: &&DomainName| {
            let all = || tls_hosts.iter().filter(|host| host.has(name));
            let found = if is_listed {
                all().find(|host| host.allows_acme_tls).or_else(|| all().next())
            } else {
                all().find(|host| can_https && host.is_at_https_port)
            };
            let Some(host) = found.copied().or(main) else {
                report!(AH10168, "{name}: no https server can answer tls-alpn-01 for {}", md.name);
                return false;
            };
            if !host.allows_acme_tls {
                report!(AH10169, "{name}: acme-tls/1 is not among the Protocols of {}", host.origin);
            }
            host.allows_acme_tls
        };
        md.proto.acme_tls_1 = md.domains.iter().filter(answers).cloned().collect();
    }
}

/// Gives domains without a contact the contact of their first host: `MDContactEmail`, then `ServerAdmin`.
pub fn add_contacts(domains: &mut [ManagedDomain], hosts: &[Host], assigned: &Assigned) {
    for (host, positions) in hosts.iter().zip(assigned.iter()) {
        for position in positions {
            let md = &mut domains[*position];
            if !md.contacts.is_empty() {
                continue;
            }
            if let Some(contact) = &host.contact {
                let uri = contact.uri.as_deref().unwrap_or_default();
                report!(AH10044, "{}: contact info {uri} from the virtual host {}", md.name, host.origin);
                md.set_contact(contact.clone());
            } else if let Some(admin) = &host.admin {
                let contact = Contact::of_server_admin(admin);
                match contact.uri {
                    Some(_) => {
                        report!(AH10237, "{}: contact info {admin} from ServerAdmin of {}", md.name, host.origin)
                    }
                    None => note!(Debug, "{}: ServerAdmin {admin} of {} is no contact for a CA", md.name, host.origin),
                }
                md.set_contact(contact);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::{PrivateKey, self_signed};
    use crate::model::{CaSettings, ContactSource, KeySpec, Origin};

    fn md(names: &[&str]) -> ManagedDomain {
        ManagedDomain::new(names.iter().map(|name| DomainName::parse(name).unwrap()).collect()).unwrap()
    }

    fn host(server_name: &str, aliases: &[&str], wild: &[&str]) -> Host {
        let [aliases, wild] = [aliases, wild].map(|names| names.iter().map(|name| Cow::Borrowed(*name)));
        Host { tls: true, ..Host::called(Some(server_name), aliases, wild) }
    }

    #[test]
    fn domains_find_their_hosts() {
        let domains = [md(&["a.org", "www.a.org"]), md(&["*.b.org"]), md(&["x.c.org"])];
        let rows = [
            (host("A.org", &[], &[]), vec![0], vec![0]),
            (host("other.org", &["WWW.a.org"], &[]), vec![0], vec![]),
            (host("y.b.org", &[], &[]), vec![1], vec![1]),
            (host("z.y.b.org", &[], &[]), vec![], vec![]),
            (host("other.org", &["y.b.org"], &[]), vec![], vec![]),
            (host("other.org", &[], &["*.C.org"]), vec![2], vec![]),
            (host("a.org", &["x.c.org"], &[]), vec![0, 2], vec![0]),
            (Host { is_main: true, ..host("a.org", &[], &[]) }, vec![], vec![]),
        ];
        for (host, all, servernames) in rows {
            let hosts = [host.clone()];
            assert_eq!(assign(&domains, &hosts, MatchNames::All, false).of(0), all, "{host:?}");
            assert_eq!(assign(&domains, &hosts, MatchNames::ServerNames, false).of(0), servernames, "{host:?}");
        }
        let main = [Host { is_main: true, ..host("a.org", &[], &[]) }];
        assert_eq!(assign(&domains, &main, MatchNames::All, true).of(0), [0]);
    }

    #[test]
    fn certificates_are_for_hosts_with_one_of_their_names() {
        let host = host("a.org", &["www.a.org", "192.0.2.1"], &["*.b.org"]);
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        for (names, expected) in [
            (&["A.org"][..], true),
            (&["*.a.org"], true),
            (&["other.org", "192.0.2.1"], true),
            (&["*.b.org"], true),
            (&["x.b.org"], true),
            (&["b.org", "x.a.org"], false),
            (&["*.org.test", "localhost.test"], false),
        ] {
            let names: Vec<DomainName> = names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
            let leaf = self_signed(&key, "own", &names, jiff::Timestamp::UNIX_EPOCH, 14).unwrap();
            assert_eq!(host.is_named_in(&leaf), expected, "{names:?}");
        }
    }

    #[test]
    fn addresses_find_their_hosts_and_no_wildcard_does() {
        let domains = [md(&["192.0.2.1", "2001:db8::1"]), md(&["*.0.2.2", "x.org"])];
        let rows = [
            (host("192.0.2.1", &[], &[]), vec![0]),
            (host("other.org", &["2001:db8::1"], &[]), vec![0]),
            (host("1.0.2.2", &[], &[]), vec![]),
            (host("x.org", &["192.0.2.9"], &[]), vec![1]),
        ];
        for (host, expected) in rows {
            assert_eq!(
                assign(&domains, std::slice::from_ref(&host), MatchNames::All, false).of(0),
                expected,
                "{host:?}"
            );
        }
        let mut domains = [domains[0].clone()];
        domains[0].ca = Arc::new(CaSettings { challenges: vec!["tls-alpn-01".into()], ..Default::default() });
        let hosts = [Host { allows_acme_tls: true, ..host("x.org", &["192.0.2.1", "2001:db8::1"], &[]) }];
        find_protocols(&mut domains, &hosts, &Assigned::from_iter([vec![0]]), false, false);
        assert_eq!(domains[0].proto.acme_tls_1, domains[0].domains);
    }

    #[test]
    fn hosts_are_matched_however_they_are_written() {
        let domains = [md(&["m\u{fc}ller.a.org", "*.wild.m\u{fc}ller.a.org"])];
        let rows = [
            (host("M\u{dc}LLER.a.org.", &[], &[]), [1, 1]),
            (host("XN--MLLER-KVA.a.org", &[], &[]), [1, 1]),
            (host("x.org", &["m\u{fc}ller.a.org:443"], &[]), [1, 0]),
            (host("x.org", &[], &["m\u{fc}ller.*"]), [1, 0]),
            (host("x.wild.m\u{fc}ller.a.org.", &[], &[]), [1, 1]),
            (host("m\u{fffd}ller.a.org", &["https://m\u{fc}ller.a.org"], &[]), [0, 0]),
        ];
        for (host, expected) in rows {
            let found = [MatchNames::All, MatchNames::ServerNames]
                .map(|mode| assign(&domains, std::slice::from_ref(&host), mode, false).of(0).len());
            assert_eq!(found, expected, "{host:?}");
        }
    }

    #[test]
    fn httpd_finds_a_host_by_the_written_name_only() {
        let name = DomainName::parse("m\u{fc}ller.a.org").unwrap();
        let rows: [(&str, &[&str], &[&str], bool); 7] = [
            ("m\u{fc}ller.a.org", &[], &[], false),
            ("m\u{fc}ller.a.org", &["XN--MLLER-KVA.a.org"], &[], true),
            ("xn--mller-kva.a.org", &["m\u{fc}ller.a.org", "m\u{fc}ller.a.org."], &[], true),
            ("xn--mller-kva.a.org.", &[], &[], false),
            ("m\u{fc}ller.a.org", &[], &["*.a.org"], true),
            ("m\u{fc}ller.a.org", &["xn--mller-kva.a.org:443"], &[], false),
            ("other.org", &[], &[], false),
        ];
        for (server_name, aliases, wild, expected) in rows {
            assert_eq!(host(server_name, aliases, wild).is_found_by(&name), expected, "{server_name} {aliases:?}");
        }
    }

    #[test]
    fn a_host_without_a_domain_is_reported_with_a_domain_without_a_host() {
        let domains = [md(&["used.org"]), md(&["some.org"]), md(&["m\u{fc}ller.a.org", "*.w.org"])];
        let assigned = Assigned::from_iter([vec![], vec![0]]);
        let not_matched = "is not used for matching";
        let rows = [
            (host("used.org", &[], &[]), "some.org", "host and Managed Domain have no name in common"),
            (host("x.org", &["some.org"], &[]), "some.org", not_matched),
            (host("x.org", &["b.w.org"], &[]), "xn--mller-kva.a.org", not_matched),
            (host("m\u{fffd}ller.a.org", &[], &[]), "xn--mller-kva.a.org", "(m\u{fc}ller.a.org) only in spelling"),
            (
                host("x.org", &["https://SOME.org/"], &[]),
                "some.org",
                "name https://SOME.org/ differs from some.org only",
            ),
            (host("x.org", &[".some.org"], &[]), "some.org", "name .some.org differs from some.org only in spelling"),
        ];
        for (host, name, expected) in rows {
            let (md, reason) = probably_meant_for(&host, &domains, &assigned).unwrap();
            assert_eq!(md.name.as_str(), name, "{host:?}");
            assert!(reason.contains(expected), "{reason}");
        }
        assert!(
            probably_meant_for(&host("x.org", &[], &[]), &domains[..1], &Assigned::from_iter([vec![], vec![0]]))
                .is_none()
        );
    }

    #[test]
    fn a_server_name_is_matched_exactly_before_any_wildcard() {
        let domains = [md(&["*.a.org", "shared.org"]), md(&["x.a.org", "shared.org"])];
        for (name, expected) in
            [("X.a.org", vec![1]), ("y.a.org", vec![0]), ("shared.org", vec![0, 1]), ("a.org", vec![])]
        {
            assert_eq!(
                assign(&domains, &[host(name, &[], &[])], MatchNames::ServerNames, false).of(0),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn names_of_tls_hosts_become_members() {
        let mut domains = [md(&["a.org"])];
        let hosts =
            [host("a.org", &["b.org", "A.org"], &["*.c.org"]), Host { tls: false, ..host("a.org", &["d.org"], &[]) }];
        domains[0].members = MemberMode::Auto;
        let assigned = assign(&domains, &hosts, MatchNames::All, false);
        add_members(&mut domains, &hosts, &assigned);
        let names: Vec<_> = domains[0].domains.iter().map(DomainName::as_str).collect();
        assert_eq!(names, ["a.org", "b.org"]);
        domains[0] = md(&["a.org"]);
        domains[0].members = MemberMode::Manual;
        add_members(&mut domains, &hosts, &assigned);
        assert_eq!(domains[0].domains.len(), 1);
    }

    #[test]
    fn names_that_can_answer_tls_alpn_01() {
        let host = |name: &str, allows: bool, at_port: bool| Host {
            allows_acme_tls: allows,
            is_at_https_port: at_port,
            ..host(name, &[], &["*.wild.org"])
        };
        let plain = |name: &str| Host { tls: false, ..host(name, true, true) };
        let main = Host { is_main: true, tls: false, ..host("main.org", true, false) };
        // Hosts, whether the challenge is configured, MDBaseServer, reachability, what is found.
        let rows = [
            (vec![host("a.org", true, true)], false, false, true, vec!["a.org"]),
            (vec![host("a.org", true, true)], false, false, false, vec![]),
            (vec![host("a.org", true, false)], false, false, true, vec![]),
            (vec![host("a.org", true, false)], true, false, false, vec!["a.org"]),
            (vec![host("a.org", false, true)], true, false, true, vec![]),
            (vec![host("a.org", false, true), host("A.org", true, true)], false, false, true, vec![]),
            (vec![host("a.org", false, true), host("A.org", true, true)], true, false, true, vec!["a.org"]),
            (vec![plain("a.org")], true, false, true, vec![]),
            (
                vec![host("a.org", true, true), host("www.a.org", true, true)],
                false,
                false,
                true,
                vec!["a.org", "www.a.org"],
            ),
            (vec![main.clone()], false, false, true, vec![]),
            (vec![main], false, true, true, vec!["a.org", "www.a.org"]),
        ];
        for (hosts, listed, main_too, can_https, expected) in rows {
            let mut domains = [md(&["a.org", "www.a.org"])];
            if listed {
                std::sync::Arc::make_mut(&mut domains[0].ca).challenges = vec!["tls-alpn-01".to_owned()];
            }
            let assigned = hosts.iter().map(|_| vec![0]).collect();
            find_protocols(&mut domains, &hosts, &assigned, main_too, can_https);
            let found: Vec<_> = domains[0].proto.acme_tls_1.iter().map(DomainName::as_str).collect();
            assert_eq!(found, expected, "{hosts:?} {listed} {main_too} {can_https}");
        }
        let mut wild = [md(&["*.a.org", "x.wild.org"])];
        let hosts = [host("b.a.org", true, true)];
        find_protocols(&mut wild, &hosts, &Assigned::from_iter([vec![0]]), false, true);
        assert_eq!(wild[0].proto.acme_tls_1, wild[0].domains);
    }

    #[test]
    fn contacts_of_last_resort_come_from_the_first_host_that_has_one() {
        let of_host = |contact: Option<&str>, admin: Option<&str>| Host {
            contact: contact.map(|text| Contact::of_directive(text, Origin::default())),
            admin: admin.map(str::to_owned),
            ..host("a.org", &[], &[])
        };
        let directive = ContactSource::Directive(Origin::default());
        let rows = [
            (vec![of_host(None, Some("admin@a.org"))], Some("mailto:admin@a.org"), ContactSource::ServerAdmin),
            (vec![of_host(Some("b@a.org"), Some("admin@a.org"))], Some("mailto:b@a.org"), directive.clone()),
            (vec![of_host(None, None)], None, ContactSource::Store),
            // Debian's default, and a URL.
            (vec![of_host(None, Some("webmaster@localhost"))], None, ContactSource::ServerAdmin),
            (vec![of_host(None, Some("https://a.org/who"))], None, ContactSource::ServerAdmin),
            (
                vec![of_host(None, Some("webmaster@localhost")), of_host(Some("b@a.org"), None)],
                Some("mailto:b@a.org"),
                directive,
            ),
        ];
        for (hosts, contact, source) in rows {
            let mut domains = [md(&["a.org"])];
            let assigned = hosts.iter().map(|_| vec![0]).collect();
            add_contacts(&mut domains, &hosts, &assigned);
            assert_eq!(domains[0].contacts.first().map(String::as_str), contact, "{hosts:?}");
            assert_eq!(*domains[0].contact_source, source, "{hosts:?}");
        }
    }
}
