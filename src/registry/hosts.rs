//! Which managed domains belong to which virtual hosts, and what they take over from them.

use std::collections::{HashMap, HashSet};

use super::index::DomainIndex;
use crate::crypto::Certificate;
use crate::log::report;
use crate::model::{DomainName, ManagedDomain, MatchNames, MemberMode, RenewMode};

/// What has to be known of a virtual host, or of the main server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// ServerName, without port.
    pub server_name: Option<String>,
    /// ServerAlias without wildcards.
    pub aliases: Vec<String>,
    /// ServerAlias with wildcards.
    pub wild_aliases: Vec<String>,
    /// Whether it is the main server.
    pub is_main: bool,
    /// Whether TLS is on: it has asked for certificates.
    pub tls: bool,
    /// Its own MDContactEmail, as a URI.
    pub contact: Option<String>,
    /// Its ServerAdmin.
    pub admin: Option<String>,
    /// Where it is defined, for messages.
    pub origin: String,
    /// Whether `Protocols` has acme-tls/1 (RFC 8737).
    pub allows_acme_tls: bool,
    /// Whether all its addresses have the port behind the world's 443.
    pub is_at_https_port: bool,
}

impl Host {
    /// Whether requests for this name come here.
    fn has(&self, name: &DomainName) -> bool {
        let named = |own: &String| own.eq_ignore_ascii_case(name.as_str());
        self.aliases.iter().chain(&self.server_name).any(named)
            || self.server_name.as_ref().is_some_and(|own| name.covers(own))
            || self.wild_aliases.iter().any(|pattern| glob(pattern, name.as_str()))
    }

    /// Whether a certificate is for one of its names.
    pub(super) fn is_named_in(&self, leaf: &Certificate) -> bool {
        let mut names = self.server_name.iter().chain(&self.aliases).filter_map(|name| DomainName::parse(name).ok());
        let is_matched = |name: String| self.wild_aliases.iter().any(|pattern| glob(pattern, &name));
        names.any(|name| leaf.covers(&name)) || leaf.names().into_iter().any(is_matched)
    }
}

/// For each host the positions of its domains, ascending. One list holds them all, as there are many hosts with one each.
#[derive(Debug, Default)]
pub struct Assigned {
    positions: Vec<usize>,
    /// Where those of each host end.
    ends: Vec<usize>,
}

impl Assigned {
    /// Those of one host; none for one that is not known.
    #[must_use]
    pub fn of(&self, host: usize) -> &[usize] {
        let begin = host.checked_sub(1).and_then(|former| self.ends.get(former)).copied().unwrap_or_default();
        self.ends.get(host).map_or(&[], |end| &self.positions[begin..*end])
    }

    /// Those of each host, in order.
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
        (MatchNames::ServerNames, Some(name)) => exact
            .get(name.to_ascii_lowercase().as_str())
            .cloned()
            .unwrap_or_else(|| index.wildcard(name).into_iter().collect()),
        (MatchNames::ServerNames, None) => Vec::new(),
    };
    hosts.iter().map(matches).collect()
}

/// All domains that have a name, as they may share it where hosts are matched by their server names.
fn by_name(domains: &[ManagedDomain]) -> HashMap<&str, Vec<usize>> {
    let mut all: HashMap<&str, Vec<usize>> = HashMap::new();
    for (position, md) in domains.iter().enumerate() {
        md.domains.iter().for_each(|name| all.entry(name.as_str()).or_default().push(position));
    }
    all
}

fn by_all_names(domains: &[ManagedDomain], index: &DomainIndex, host: &Host) -> Vec<usize> {
    let server_name = host.server_name.as_deref();
    let mut found: Vec<usize> =
        server_name.into_iter().chain(host.aliases.iter().map(String::as_str)).filter_map(|n| index.exact(n)).collect();
    found.extend(server_name.and_then(|name| index.wildcard(name)));
    for pattern in &host.wild_aliases {
        let matches = |md: &ManagedDomain| md.domains.iter().any(|name| glob(pattern, name.as_str()));
        found.extend(domains.iter().enumerate().filter(|(_, md)| matches(md)).map(|(position, _)| position));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether a pattern of httpd (`*` and `?`, any case) matches the name. After a mismatch the last `*` takes one more.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || c.eq_ignore_ascii_case(&name[n]) => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Adds the names of TLS hosts to the domains that want them, and tells of those that a manual domain lacks.
pub fn add_members(domains: &mut [ManagedDomain], hosts: &[Host], assigned: &Assigned) {
    for (host, positions) in hosts.iter().zip(assigned.iter()) {
        let ([position], true) = (positions, host.tls) else { continue };
        let md = &mut domains[*position];
        for name in host.server_name.iter().chain(&host.aliases) {
            if md.covers(name) {
                continue;
            }
            match (DomainName::parse(name), md.members) {
                (Ok(name), MemberMode::Auto) => md.domains.push(name),
                _ => report!(
                    AH10040,
                    "Virtual Host {} has name {name} that is not covered by the Managed Domain {}. \
                     Add it with MDMembers, or let it be added with 'MDMembers auto'",
                    host.origin,
                    md.name
                ),
            }
        }
    }
}

/// Tells of a domain that is nowhere used.
pub fn tell_unused(md: &ManagedDomain) {
    if md.renew_mode != RenewMode::Always {
        report!(
            AH10045,
            "No VirtualHost matches Managed Domain {}: it gets no certificates unless a ServerName or ServerAlias has one of its names, or MDRenewMode is 'always'",
            md.name
        );
    }
}

/// Tells of domains that are to be seen by https only, and have no host for it.
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

fn tls_hosts<'a>(hosts: &'a [Host], assigned: &'a Assigned) -> impl Iterator<Item = (&'a Host, &'a [usize])> {
    hosts.iter().zip(assigned.iter()).filter(|(host, _)| host.tls)
}

/// Finds the names for which the server can answer tls-alpn-01 (RFC 8737): those with a TLS host that the CA reaches and
/// that speaks acme-tls/1. A domain that lists the challenge is taken at its word about the port.
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
        let own = by_domain.get(&position).map(Vec::as_slice).unwrap_or_default();
        let is_listed = md.ca.challenges.iter().any(|kind| kind.eq_ignore_ascii_case("tls-alpn-01"));
        let answers = |name: &&DomainName| {
            let all = || own.iter().filter(|host| host.has(name));
            let found = if is_listed {
                all().find(|host| host.allows_acme_tls).or_else(|| all().next())
            } else {
                all().find(|host| can_https && host.is_at_https_port)
            };
            let Some(host) = found.copied().or(main) else {
                report!(AH10168, "{name}: there is no https server that could answer tls-alpn-01 for {}", md.name);
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

/// Gives domains without a contact that of their first host: MDContactEmail, then ServerAdmin.
pub fn add_contacts(domains: &mut [ManagedDomain], hosts: &[Host], assigned: &Assigned) {
    for (host, positions) in hosts.iter().zip(assigned.iter()) {
        for position in positions {
            let md = &mut domains[*position];
            if !md.contacts.is_empty() {
                continue;
            }
            if let Some(contact) = &host.contact {
                report!(AH10044, "{}: contact info {contact} from the virtual host {}", md.name, host.origin);
                md.contacts = vec![contact.clone()].into();
            } else if let Some(admin) = &host.admin {
                report!(AH10237, "{}: contact info {admin} from ServerAdmin of {}", md.name, host.origin);
                md.contacts = vec![crate::model::directive::contact_uri(admin)].into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::crypto::{PrivateKey, self_signed};
    use crate::model::{CaSettings, KeySpec};

    fn md(names: &[&str]) -> ManagedDomain {
        ManagedDomain::new(names.iter().map(|name| DomainName::parse(name).unwrap()).collect()).unwrap()
    }

    fn host(server_name: &str, aliases: &[&str], wild: &[&str]) -> Host {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Host {
            server_name: Some(server_name.to_owned()),
            aliases: all(aliases),
            wild_aliases: all(wild),
            tls: true,
            ..Host::default()
        }
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
    fn contacts_of_last_resort_come_from_the_first_host() {
        let mut domains = [md(&["a.org"])];
        let hosts = [Host { admin: Some("admin@a.org".to_owned()), ..host("a.org", &[], &[]) }];
        add_contacts(&mut domains, &hosts, &Assigned::from_iter([vec![0]]));
        assert_eq!(*domains[0].contacts, ["mailto:admin@a.org"]);
    }

    #[test]
    fn patterns_of_httpd() {
        for (pattern, name, expected) in [
            ("*.x.org", "a.b.x.org", true),
            ("*.x.org", "x.org", false),
            ("a?.org", "ab.org", true),
            ("*", "", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxxbc", false),
            ("a", "", false),
        ] {
            assert_eq!(glob(pattern, name), expected, "{pattern} {name}");
        }
    }
}
