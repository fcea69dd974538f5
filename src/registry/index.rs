//! Finds the domain that a name belongs to without looking at all of them.

use std::collections::HashMap;

use crate::model::{DomainName, ManagedDomain};

/// An index from names to domains, given by their positions in the list it was made from.
#[derive(Debug, Default)]
pub struct DomainIndex {
    names: HashMap<DomainName, u32>,
    /// Wildcard names without their `*.`.
    wildcards: HashMap<Box<str>, u32>,
}

impl DomainIndex {
    /// Makes an index of these domains; a name that two of them have finds the first.
    pub fn new<'a>(domains: impl IntoIterator<Item = &'a ManagedDomain>) -> Self {
        let mut index = Self::default();
        for (position, md) in domains.into_iter().enumerate() {
            md.domains.iter().for_each(|name| index.add(name, position));
        }
        index
    }

    /// Adds a name of the domain at `position`.
    pub fn add(&mut self, name: &DomainName, position: usize) {
        let position = position.try_into().unwrap_or(u32::MAX);
        match name.as_str().strip_prefix("*.") {
            Some(parent) => self.wildcards.entry(parent.into()).or_insert(position),
            None => self.names.entry(name.clone()).or_insert(position),
        };
    }

    /// Returns the domain that has exactly this name.
    #[must_use]
    pub fn exact(&self, name: &DomainName) -> Option<usize> {
        match name.as_str().strip_prefix("*.") {
            Some(parent) => self.wildcards.get(parent),
            None => self.names.get(name),
        }
        .map(|position| *position as usize)
    }

    /// Returns the domain that has a wildcard for this name. Wildcards do not match IP addresses.
    #[must_use]
    pub fn wildcard(&self, name: &DomainName) -> Option<usize> {
        let (label, parent) = name.as_str().split_once('.')?;
        let found = self.wildcards.get(parent).map(|position| *position as usize);
        found.filter(|_| label != "*" && name.address().is_none())
    }

    /// Returns the domain whose certificate is good for this name.
    #[must_use]
    pub fn covering(&self, name: &DomainName) -> Option<usize> {
        self.exact(name).or_else(|| self.wildcard(name))
    }
}

/// Two domains that have a name in common.
#[derive(Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Position of the earlier one.
    pub first: usize,
    /// Position of the later one.
    pub second: usize,
    /// The name.
    pub name: String,
}

/// Returns the first two domains of which one has a name that the other has or covers.
#[must_use]
pub fn overlap(domains: &[ManagedDomain]) -> Option<Overlap> {
    let index = DomainIndex::new(domains);
    let found = |a: usize, b: usize, name: &DomainName| {
        (a != b).then(|| Overlap { first: a.min(b), second: a.max(b), name: name.to_string() })
    };
    domains.iter().enumerate().find_map(|(position, md)| {
        md.domains.iter().find_map(|name| {
            let holders = [index.exact(name), index.wildcard(name)];
            holders.into_iter().flatten().find_map(|holder| found(holder, position, name))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(all: &[&[&str]]) -> Vec<ManagedDomain> {
        let parse = |names: &[&str]| names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
        all.iter().map(|names| ManagedDomain::new(parse(names)).unwrap()).collect()
    }

    #[test]
    fn names_find_their_domain() {
        let index = DomainIndex::new(&domains(&[
            &["x.org", "www.x.org"],
            &["*.y.org", "*.0.2.1"],
            &["192.0.2.2", "2001:DB8::1"],
        ]));
        let rows = [
            ("WWW.x.org", Some(0)),
            ("a.y.org", Some(1)),
            ("*.y.org", Some(1)),
            ("y.org", None),
            ("a.b.y.org", None),
            ("192.0.2.1", None),
            ("192.0.2.2", Some(2)),
            ("2001:db8::1", Some(2)),
        ];
        for (name, expected) in rows {
            assert_eq!(index.covering(&DomainName::parse(name).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn overlaps_are_found_in_either_order() {
        let rows: [(&[&[&str]], _); 4] = [
            (&[&["a.org", "b.org"], &["c.org", "b.org"]], Some((0, 1))),
            (&[&["*.x.org"], &["a.x.org"]], Some((0, 1))),
            (&[&["a.x.org"], &["*.x.org"]], Some((0, 1))),
            (&[&["x.org", "*.x.org", "a.x.org"], &["y.org"]], None),
        ];
        for (names, expected) in rows {
            assert_eq!(overlap(&domains(names)).map(|o| (o.first, o.second)), expected, "{names:?}");
        }
    }
}
