//! Patterns of `ServerAlias`, with `*` and `?`, in the form in which names are compared.

use super::DomainName;
use super::name::to_ascii;

/// A `ServerAlias` with `*` or `?`: lower case, A-labels, no root dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(Box<str>);

impl NamePattern {
    /// Parses a pattern from a configuration. A label that has both a `*` or `?` and letters outside of ASCII stays as it is
    /// and
    /// matches nothing, as in httpd: no A-label has such letters.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let label = |label: &str| {
            let is_pattern = !label.is_ascii() && label.contains(['*', '?']);
            let ascii = if is_pattern { None } else { to_ascii(label) };
            ascii.unwrap_or_else(|| label.to_owned())
        };
        let labels: Vec<String> = text.trim_end_matches('.').split('.').map(label).collect();
        Self(labels.join(".").into())
    }

    /// Whether the name matches. After a mismatch the last `*` takes one more.
    #[must_use]
    pub fn matches(&self, name: &DomainName) -> bool {
        let pattern = self.0.as_bytes();
        let name = name.as_str().as_bytes();
        let mut p = 0;
        let mut n = 0;
        let mut star = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == b'?' || *c == name[n] => (p, n) = (p + 1, n + 1),
                _ => {
                    let Some((at, taken)) = star else { return false };
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
            }
        }
        pattern[p..].iter().all(|c| *c == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_however_both_are_written() {
        for (pattern, name, expected) in [
            ("*.x.org", "a.b.x.org", true),
            ("*.x.org", "x.org", false),
            ("*.X.org.", "A.x.ORG.", true),
            ("a?.org", "ab.org", true),
            ("*", "x.org", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxxbc", false),
            ("a", "b", false),
            ("*.m\u{fc}ller.x.org", "www.M\u{dc}LLER.x.org", true),
            ("*.m\u{fc}ller.x.org", "www.xn--mller-kva.x.org", true),
            ("*.XN--MLLER-KVA.x.org", "www.m\u{fc}ller.x.org", true),
            ("m\u{fc}ller.*", "xn--mller-kva.x.org", true),
            ("*\u{fc}ller.x.org", "m\u{fc}ller.x.org", false),
            ("2001:DB8::*", "[2001:db8::1]", true),
        ] {
            let name = DomainName::parse(name).unwrap();
            assert_eq!(NamePattern::parse(pattern).matches(&name), expected, "{pattern} {name}");
        }
    }
}
