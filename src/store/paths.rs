//! Paths of the store: groups, aspects, their names and modes, and the only builder of paths.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use super::StoreError;
use crate::model::KeySpec;

/// A directory on the first level of the store. Each of its items is a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// ACME accounts; items are account ids.
    Accounts,
    /// Data that a CA looks for; items are DNS names.
    Challenges,
    /// The served sets; items are managed domains, as in all following groups.
    Domains,
    /// Renewals under way.
    Staging,
    /// Sets that are put together for activation.
    Tmp,
    /// Former sets; items are a managed domain, a dot and a number.
    Archive,
    /// OCSP responses; the item `other` is for certificates without a managed domain.
    Ocsp,
    /// The sets that went live, served until a start has put them into [`Group::Domains`].
    Live,
    /// The certificates of [`Group::Domains`] for processes that cannot read that group.
    Active,
}

/// A file of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aspect {
    /// `md.json`: settings and state.
    MdJson,
    /// `job.json`: report on the renewal.
    JobJson,
    /// `order.json`: the order at the CA.
    OrderJson,
    /// `account.json`: the account as the CA knows it.
    AccountJson,
    /// `account.pem`: the key of the account, always encrypted.
    AccountKey,
    /// `account-next.pem`: the key that the account is to get, or has already at its CA; always encrypted.
    NextAccountKey,
    /// `ari.json`: when the CA suggests to renew.
    AriJson,
    /// `privkey[.<curve>].pem`: the private key.
    PrivateKey(KeySpec),
    /// `pubcert[.<curve>].pem`: the certificate with its chain.
    Chain(KeySpec),
    /// `fallback[.<curve>].pem`: the placeholder certificate and its key. In one file, so that they fit whoever writes it.
    Fallback(KeySpec),
    /// `acme-http-01.txt`: the key authorization.
    Http01,
    /// `acme-tls-alpn-01-privkey[.<curve>].pem`: the key of the challenge certificate.
    TlsAlpn01Key(KeySpec),
    /// `acme-tls-alpn-01-pubcert[.<curve>].pem`: the challenge certificate.
    TlsAlpn01Cert(KeySpec),
    /// `live.json`: keys, always encrypted, and certificates of a whole set.
    LiveJson,
    /// `active.json`: certificates of a set.
    ActiveJson,
    /// `ocsp-<hex>.json`: the response for the certificate with this SHA-1 fingerprint.
    OcspJson([u8; 20]),
}

struct Rule {
    name: &'static str,
    dir_mode: u32,
    file_mode: u32,
    of_server: bool,
}

impl Group {
    /// All groups.
    pub const ALL: [Self; 9] = [
        Self::Accounts,
        Self::Challenges,
        Self::Domains,
        Self::Staging,
        Self::Tmp,
        Self::Archive,
        Self::Ocsp,
        Self::Live,
        Self::Active,
    ];

    #[rustfmt::skip]
    fn rule(self) -> Rule {
        let (name, dir_mode, file_mode, of_server) = match self {
            Self::Accounts   => ("accounts",   0o755, 0o644, false),
            Self::Challenges => ("challenges", 0o755, 0o644, true),
            Self::Domains    => ("domains",    0o700, 0o600, false),
            Self::Staging    => ("staging",    0o755, 0o644, true),
            Self::Tmp        => ("tmp",        0o700, 0o600, false),
            Self::Archive    => ("archive",    0o700, 0o600, false),
            Self::Ocsp       => ("ocsp",       0o755, 0o644, true),
            Self::Live       => ("live",       0o755, 0o644, true),
            Self::Active     => ("active",     0o755, 0o644, false),
        };
        Rule { name, dir_mode, file_mode, of_server }
    }

    /// Returns the name of the directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.rule().name
    }

    /// Returns the mode of the group's directory and of its items.
    #[must_use]
    pub fn dir_mode(self) -> u32 {
        self.rule().dir_mode
    }

    /// Whether the directories belong to the server's user, who works in them. Symbolic links in them are not followed: root
    /// works
    /// in these directories too.
    #[must_use]
    pub fn is_of_server(self) -> bool {
        self.rule().of_server
    }

    /// Whether private keys in this group are encrypted, so that anybody may read the files.
    #[must_use]
    pub fn encrypts_keys(self) -> bool {
        matches!(self, Self::Accounts | Self::Staging | Self::Live)
    }

    /// Returns the mode of a file.
    #[must_use]
    pub fn file_mode(self, aspect: &Aspect) -> u32 {
        if aspect.is_secret() && !self.encrypts_keys() { 0o600 } else { self.rule().file_mode }
    }
}

impl Aspect {
    /// Whether the file may hold the key of an external account, in a directory that others can read.
    pub(super) const WITH_EAB_KEYS: [(Group, Self); 3] =
        [(Group::Accounts, Self::AccountJson), (Group::Staging, Self::AccountJson), (Group::Staging, Self::MdJson)];

    /// Returns the name of the file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let pem = |kind: &str, spec: &KeySpec| format!("{kind}{}.pem", spec.file_suffix());
        match self {
            Self::MdJson => "md.json".to_owned(),
            Self::JobJson => "job.json".to_owned(),
            Self::OrderJson => "order.json".to_owned(),
            Self::AccountJson => "account.json".to_owned(),
            Self::AccountKey => "account.pem".to_owned(),
            Self::NextAccountKey => "account-next.pem".to_owned(),
            Self::AriJson => "ari.json".to_owned(),
            Self::PrivateKey(spec) => pem("privkey", spec),
            Self::Chain(spec) => pem("pubcert", spec),
            Self::Fallback(spec) => pem("fallback", spec),
            Self::Http01 => "acme-http-01.txt".to_owned(),
            Self::TlsAlpn01Key(spec) => pem("acme-tls-alpn-01-privkey", spec),
            Self::TlsAlpn01Cert(spec) => pem("acme-tls-alpn-01-pubcert", spec),
            Self::LiveJson => "live.json".to_owned(),
            Self::ActiveJson => "active.json".to_owned(),
            Self::OcspJson(sha1) => format!("ocsp-{}.json", HEXLOWER.encode(sha1)),
        }
    }

    /// Returns the fingerprint in the name of an OCSP response; `None` for other files.
    pub(super) fn ocsp_sha1(name: &str) -> Option<[u8; 20]> {
        let hex = name.strip_prefix("ocsp-")?.strip_suffix(".json")?;
        HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
    }

    /// Whether the file is a private key, which only its owner may read unless it is encrypted.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        let is_for_accounts = matches!(self, Self::AccountKey | Self::NextAccountKey);
        is_for_accounts || matches!(self, Self::PrivateKey(_) | Self::Fallback(_) | Self::TlsAlpn01Key(_))
    }
}

/// Builds every path of a store.
#[derive(Debug, Clone)]
pub(super) struct Paths(PathBuf);

impl Paths {
    pub(super) fn new(base: &Path) -> Self {
        Self(base.to_owned())
    }

    pub(super) fn base(&self) -> &Path {
        &self.0
    }

    pub(super) fn group(&self, group: Group) -> PathBuf {
        self.0.join(group.name())
    }

    /// Returns the directory of the claims. It is not a group, as its files have no content.
    pub(super) fn locks(&self) -> PathBuf {
        self.0.join("locks")
    }

    pub(super) fn item(&self, group: Group, item: &str) -> Result<PathBuf, StoreError> {
        Ok(self.group(group).join(checked(item)?))
    }

    pub(super) fn file(&self, group: Group, item: &str, aspect: &Aspect) -> Result<PathBuf, StoreError> {
        Ok(self.item(group, item)?.join(checked_file(aspect)?))
    }
}

/// Checks that the name of an item can be the name of a directory, and of a domain or an account. Hidden ones would not be listed, and
/// names with control characters would reach terminals.
pub(super) fn checked(name: &str) -> Result<&str, StoreError> {
    let unfit = name.is_empty() || name.starts_with('.') || name.contains(|c: char| c == '/' || c.is_control());
    if unfit { Err(StoreError::Name(name.to_owned())) } else { Ok(name) }
}

/// Checks the name of a file: the curve in it comes from a configuration or from a file.
pub(super) fn checked_file(aspect: &Aspect) -> Result<String, StoreError> {
    let name = aspect.file_name();
    checked(&name)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_names_of_the_contract() {
        let ec = || KeySpec::Ec { curve: "P-256".into() };
        let rows = [
            (Aspect::PrivateKey(KeySpec::Default), "privkey.pem"),
            (Aspect::PrivateKey(ec()), "privkey.p-256.pem"),
            (Aspect::Chain(KeySpec::Rsa { bits: 4096 }), "pubcert.pem"),
            (Aspect::Fallback(ec()), "fallback.p-256.pem"),
            (Aspect::Fallback(KeySpec::Default), "fallback.pem"),
            (Aspect::TlsAlpn01Key(KeySpec::Default), "acme-tls-alpn-01-privkey.pem"),
            (Aspect::TlsAlpn01Cert(ec()), "acme-tls-alpn-01-pubcert.p-256.pem"),
            (Aspect::OcspJson([0xab; 20]), "ocsp-abababababababababababababababababababab.json"),
        ];
        for (aspect, name) in rows {
            assert_eq!(aspect.file_name(), name);
        }
        let name = Aspect::OcspJson([0xab; 20]).file_name();
        assert_eq!(Aspect::ocsp_sha1(&name), Some([0xab; 20]));
        for other in ["job.json", "ocsp-ab.json", &name.to_uppercase(), &format!("{name}.1234.tmp")] {
            assert_eq!(Aspect::ocsp_sha1(other), None);
        }
    }

    #[test]
    fn only_encrypted_keys_may_be_read_by_others() {
        let key = Aspect::PrivateKey(KeySpec::Default);
        let modes = Group::ALL.map(|group| (group.name(), group.dir_mode(), group.file_mode(&key)));
        let expected = [
            ("accounts", 0o755, 0o644),
            ("challenges", 0o755, 0o600),
            ("domains", 0o700, 0o600),
            ("staging", 0o755, 0o644),
            ("tmp", 0o700, 0o600),
            ("archive", 0o700, 0o600),
            ("ocsp", 0o755, 0o600),
            ("live", 0o755, 0o644),
            ("active", 0o755, 0o600),
        ];
        assert_eq!(modes, expected);
        assert_eq!(Group::Challenges.file_mode(&Aspect::Http01), 0o644);
        assert_eq!(Group::Domains.file_mode(&Aspect::MdJson), 0o600);
    }

    #[test]
    fn no_name_leads_out_of_the_store() {
        let paths = Paths::new(Path::new("/md"));
        for name in ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a\nb", "\x1b[2J", ".DS_Store"] {
            assert!(matches!(paths.item(Group::Domains, name), Err(StoreError::Name(_))), "{name:?}");
        }
        let curve = Aspect::PrivateKey(KeySpec::Ec { curve: "../../../etc/x".into() });
        assert!(matches!(paths.file(Group::Domains, "a", &curve), Err(StoreError::Name(_))));
        let path = paths.file(Group::Domains, "*.example.org", &Aspect::MdJson).unwrap();
        assert_eq!(path, Path::new("/md/domains/*.example.org/md.json"));
    }
}
