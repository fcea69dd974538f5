//! Hosts of Managed Domains that have certificate files of their own (`SSLCertificateFile`). Those are served until the domain
//! has certificates; from then on only for types of key that the domain lacks, and only while they are good for the host.

use jiff::Timestamp;

use crate::crypto::{Certificate, TlsPointers};
use crate::model::ManagedDomain;

/// A line of the log names this many hosts.
const MOST_NAMED: usize = 20;

/// When the files of a host are served, and what to do about them.
const ADVICE: [(Role, &str); 3] = [
    (
        Role::UntilManaged,
        "SSLCertificateFile is served until the Managed Domain has a certificate; remove SSLCertificateFile and \
         SSLCertificateKeyFile after that",
    ),
    (
        Role::Never,
        "SSLCertificateFile is not served any more, as the Managed Domain has a certificate; remove SSLCertificateFile and \
         SSLCertificateKeyFile",
    ),
    (
        Role::OtherKeys,
        "SSLCertificateFile is still served, for a type of key that the Managed Domain lacks; add the type to \
         MDPrivateKeys, or remove SSLCertificateFile and SSLCertificateKeyFile",
    ),
];

/// A host with files of its own, for the log.
#[derive(Debug)]
pub struct OwnFiles {
    position: usize,
    /// The host, its files and its domain, in words.
    text: String,
    role: Role,
}

/// When the files of a host are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Until the domain has a certificate.
    UntilManaged,
    /// No longer.
    Never,
    /// Still, for a type of key that the domain lacks.
    OtherKeys,
}

/// The certificates that handshakes of such a host choose from. The host's TLS settings keep them.
#[derive(Debug, Default)]
pub struct Pairs {
    /// Certificates that the domain has had at the start.
    pub managed: Vec<TlsPointers>,
    own: Vec<Own>,
}

/// A certificate from a file of the host.
#[derive(Debug)]
struct Own {
    pair: TlsPointers,
    /// When it ends, if it is for a name of the host.
    good_until: Option<Timestamp>,
}

impl OwnFiles {
    /// Makes the record of the host at `position`, which was asked for certificates of its domain.
    #[must_use]
    pub fn new(position: usize, host: &str, files: &[String], md: &ManagedDomain) -> Self {
        let text = format!("{host} ({}; Managed Domain {})", files.join(", "), md.name);
        Self { position, text, role: Role::UntilManaged }
    }

    /// Returns the position of the host among all servers.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Sees when the files are served, now that the host has these certificates.
    pub fn set_up_with(&mut self, pairs: &Pairs, now: Timestamp) {
        self.role = match (pairs.managed.is_empty(), pairs.good_at(now).next().is_some()) {
            (true, _) => Role::UntilManaged,
            (false, true) => Role::OtherKeys,
            (false, false) => Role::Never,
        };
    }
}

impl Pairs {
    /// Sorts the certificates of a host by where they come from: each with what can be read of it.
    pub fn new(
        pairs: impl IntoIterator<Item = (TlsPointers, Option<Certificate>)>,
        is_of_domain: impl Fn(&Certificate) -> bool,
        is_for_host: impl Fn(&Certificate) -> bool,
    ) -> Self {
        let mut sorted = Self::default();
        for (pair, leaf) in pairs {
            if leaf.as_ref().is_some_and(&is_of_domain) {
                sorted.managed.push(pair);
            } else {
                let good_until = leaf.filter(&is_for_host).map(|leaf| leaf.not_after());
                sorted.own.push(Own { pair, good_until });
            }
        }
        sorted
    }

    /// Returns the certificates of files that are served beside those of the domain at `now`.
    pub fn good_at(&self, now: Timestamp) -> impl Iterator<Item = TlsPointers> {
        let good = move |own: &&Own| own.good_until.is_some_and(|until| now < until);
        self.own.iter().filter(good).map(|own| own.pair)
    }

    /// Returns the certificates of all files.
    pub fn all_own(&self) -> impl Iterator<Item = TlsPointers> {
        self.own.iter().map(|own| own.pair)
    }

    /// Checks whether handshakes have something to choose: there are certificates of the domain and of files, or will be.
    #[must_use]
    pub fn leave_a_choice(&self, goes_live: bool) -> bool {
        goes_live || !(self.managed.is_empty() || self.own.is_empty())
    }
}

/// Returns lines for the log: when the files of which hosts are served.
#[must_use]
pub fn lines(all: &[OwnFiles]) -> Vec<String> {
    let line = |(role, advice): (Role, &str)| {
        let mut hosts = all.iter().filter(|own| own.role == role).map(|own| own.text.as_str());
        let named = hosts.by_ref().take(MOST_NAMED).collect::<Vec<_>>().join(", ");
        match hosts.count() {
            _ if named.is_empty() => None,
            0 => Some(format!("{advice}: {named}")),
            more => Some(format!("{advice}: {named} and {more} more")),
        }
    };
    ADVICE.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;
    use crate::crypto::{PrivateKey, self_signed};
    use crate::model::{DomainName, KeySpec};

    const NOW: i64 = 1_700_000_000;
    const DAYS: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A certificate for `name` that ends after 10 days; as its pointers, one that tells it from others.
    fn pair(number: usize, name: &str) -> (TlsPointers, Option<Certificate>) {
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        let leaf = self_signed(&key, name, &[DomainName::parse(name).unwrap()], at(NOW), 10).unwrap();
        (pointers(number), Some(leaf))
    }

    fn pointers(number: usize) -> TlsPointers {
        TlsPointers { leaf: ptr::without_provenance_mut(number), key: ptr::null_mut(), issuers: ptr::null_mut() }
    }

    fn numbers(pairs: impl Iterator<Item = TlsPointers>) -> Vec<usize> {
        pairs.map(|pair| pair.leaf.addr()).collect()
    }

    /// Certificates of the domain are for `md.test`, the host is called `host.test`.
    fn sorted(pairs: impl IntoIterator<Item = (TlsPointers, Option<Certificate>)>) -> Pairs {
        let is_for = |name: &'static str| move |leaf: &Certificate| leaf.names() == [name];
        Pairs::new(pairs, is_for("md.test"), is_for("host.test"))
    }

    #[test]
    fn files_are_served_while_they_are_good_for_the_host() {
        let pairs = [pair(1, "md.test"), pair(2, "host.test"), pair(3, "other.test"), (pointers(4), None)];
        let pairs = sorted(pairs);
        assert_eq!(numbers(pairs.managed.iter().copied()), [1]);
        assert_eq!(numbers(pairs.all_own()), [2, 3, 4]);
        assert_eq!(numbers(pairs.good_at(at(NOW))), [2]);
        assert_eq!(numbers(pairs.good_at(at(NOW + 11 * DAYS))), [0; 0]);
    }

    #[test]
    fn a_choice_needs_certificates_of_both_kinds_or_some_to_come() {
        let rows: [(&[&str], bool); 4] =
            [(&[], false), (&["md.test"], false), (&["host.test"], false), (&["md.test", "host.test"], true)];
        for (names, expected) in rows {
            let pairs = sorted(names.iter().map(|name| pair(1, name)));
            assert_eq!(pairs.leave_a_choice(false), expected, "{names:?}");
            assert!(pairs.leave_a_choice(true), "{names:?}");
        }
    }

    #[test]
    fn the_log_says_when_files_are_served() {
        let md = ManagedDomain::new(vec![DomainName::parse("md.test").unwrap()]).unwrap();
        let rows: [(&[&str], i64, &str); 4] = [
            (&["host.test"], NOW, "SSLCertificateFile is served until"),
            (&["md.test", "host.test"], NOW, "SSLCertificateFile is still served"),
            (&["md.test", "host.test"], NOW + 11 * DAYS, "SSLCertificateFile is not served any more"),
            (&["md.test", "other.test"], NOW, "SSLCertificateFile is not served any more"),
        ];
        for (names, now, begin) in rows {
            let mut own = OwnFiles::new(7, "host.test:443", &["a.pem".to_owned(), "b.pem".to_owned()], &md);
            own.set_up_with(&sorted(names.iter().map(|name| pair(1, name))), at(now));
            let [line] = &lines(&[own])[..] else { panic!("not one line for {names:?}") };
            assert!(line.starts_with(begin), "{line}");
            assert!(line.ends_with(": host.test:443 (a.pem, b.pem; Managed Domain md.test)"), "{line}");
        }
    }

    #[test]
    fn a_line_names_a_few_of_many_hosts() {
        let md = ManagedDomain::new(vec![DomainName::parse("md.test").unwrap()]).unwrap();
        let hosts: Vec<_> = (0..23).map(|n| OwnFiles::new(n, &format!("host{n}"), &[], &md)).collect();
        assert_eq!(hosts[22].position(), 22);
        let [line] = &lines(&hosts)[..] else { panic!("not one line") };
        assert!(line.contains("host19 ") && !line.contains("host20 ") && line.ends_with(" and 3 more"), "{line}");
        assert!(lines(&[]).is_empty());
    }
}
