//! What names, URLs, contacts and agreements look like. Stricter than the server's configuration: a mistake here is seen
//! by the person who made it.

use std::net::Ipv6Addr;

use super::error::CliError;
use crate::model::DomainName;
use crate::model::directive::contact_uri;

/// The highest port of a URL.
const MAX_PORT: u32 = 65_353;

/// Names of a domain, without duplicates.
///
/// # Errors
/// If there is none, or one can neither be a name in the DNS nor is an address.
pub fn domain_names(texts: &[&str]) -> Result<Vec<DomainName>, CliError> {
    texts.iter().try_for_each(|text| {
        let is_name = is_host(text.strip_prefix("*.").unwrap_or(text)) && has_inner_dot(text);
        let is_address = || DomainName::parse(text).is_ok_and(|name| name.address().is_some());
        (is_name || is_address())
            .then_some(())
            .ok_or_else(|| CliError::invalid(format!("not a domain name: {}", text.escape_default())))
    })?;
    names(texts)
}

/// Names of a domain, without duplicates; whatever could name a directory.
///
/// # Errors
/// If there is none, or one could not.
pub fn names(texts: &[&str]) -> Result<Vec<DomainName>, CliError> {
    let mut names: Vec<DomainName> = Vec::new();
    for text in texts {
        let name = DomainName::parse(text).map_err(|err| CliError::invalid(err.to_string()))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { Err(CliError::invalid("needs at least one domain name")) } else { Ok(names) }
}

/// Contacts as URIs.
///
/// # Errors
/// If there is none, or one is wrong.
pub fn contacts(texts: &[&str]) -> Result<Vec<String>, CliError> {
    let uris: Vec<String> = texts.iter().map(|text| contact_uri(text)).collect();
    uris.iter().try_for_each(|uri| check_uri(uri))?;
    if uris.is_empty() { Err(CliError::invalid("needs at least one contact")) } else { Ok(uris) }
}

/// `accepted`, or the URL of the terms.
///
/// # Errors
/// If it is neither.
pub fn check_agreement(text: &str) -> Result<(), CliError> {
    if text == "accepted" { Ok(()) } else { check_uri(text) }
}

/// Looks at a URI as far as its scheme is known.
///
/// # Errors
/// What is wrong with it.
pub fn check_uri(uri: &str) -> Result<(), CliError> {
    let wrong = |what: &str| CliError::invalid(format!("{what}: {}", uri.escape_default()));
    if uri.contains([' ', '\t']) {
        return Err(wrong("whitespace in uri"));
    }
    let (scheme, rest) =
        uri.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).ok_or_else(|| wrong("missing uri scheme"))?;
    let scheme = scheme.to_ascii_lowercase();
    let checked = match scheme.as_str() {
        "mailto" => check_mail(rest),
        _ if scheme.starts_with("http") => check_authority(rest),
        _ => Ok(()),
    };
    checked.map_err(wrong)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn check_mail(address: &str) -> Result<(), &'static str> {
    match address.split('@').collect::<Vec<_>>()[..] {
        ["", _] => Err("missing local part in mail address"),
        [_, host] if is_host(host) => Ok(()),
        [_, _] => Err("missing or wrong host in mail address"),
        [_] => Err("missing '@' in mail address"),
        _ => Err("more than one '@' in mail address"),
    }
}

fn check_authority(rest: &str) -> Result<(), &'static str> {
    let authority = rest.strip_prefix("//").ok_or("missing host in uri")?;
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if host.is_empty() {
        return Err("missing host in uri");
    }
    if !address.map_or_else(|| is_host(host), |address| address.parse::<Ipv6Addr>().is_ok()) {
        return Err("wrong host in uri");
    }
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|port| (1..=MAX_PORT).contains(&port))
    };
    if port.is_none_or(is_port) { Ok(()) } else { Err("wrong port in uri") }
}

fn is_host(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    !text.is_empty() && !text.starts_with('.') && text.chars().all(known) && !text.contains("..")
}

fn has_inner_dot(text: &str) -> bool {
    text.strip_prefix("*.").unwrap_or(text).trim_matches('.').contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;

    #[test]
    fn names_are_checked_lowered_and_kept_once() {
        let parse =
            |texts: &[&str]| Some(domain_names(texts).ok()?.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(parse(&["A.org", "b.org", "a.ORG"]).unwrap(), ["a.org", "b.org"]);
        assert_eq!(parse(&["*.a.org", "xn--a-1.b-c.org", "1.2"]).unwrap().len(), 3);
        let addresses = ["192.0.2.1", "[2001:DB8::1]", "2001:db8:0::1", "2001:db8::2"];
        assert_eq!(parse(&addresses).unwrap(), ["192.0.2.1", "2001:db8::1", "2001:db8::2"]);
        let bad = [
            "[192.0.2.1]",
            "fe80::1%eth0",
            "*.2001:db8::1",
            "",
            "localhost",
            "a..org",
            ".a.org",
            "a b.org",
            "ä.org",
            "a_b.org",
            "*",
            "*.org",
            "a.*.org",
            "a/b.org",
            "org.",
            "-x@y.org",
        ];
        for text in bad {
            assert_eq!(domain_names(&[text]).unwrap_err().status(), Status::INVALID, "{text}");
        }
        assert!(domain_names(&[]).is_err());
        assert!(names(&["localhost"]).is_ok());
    }

    #[test]
    fn uris_are_checked_as_far_as_their_scheme_is_known() {
        let good = [
            "http://a.org",
            "https://localhost:14000/dir?x=http://b",
            "HTTPS://a.org:65353",
            "https://[::1]:1/",
            "mailto:a@b.org",
            "tel:+1",
            "urn:x:y",
        ];
        for uri in good {
            assert!(check_uri(uri).is_ok(), "{uri}");
        }
        let bad = [
            ("a.org", "missing uri scheme"),
            ("//a.org", "missing uri scheme"),
            ("http://a b", "whitespace in uri"),
            ("tel:\t1", "whitespace in uri"),
            ("http:", "missing host"),
            ("http:///dir", "missing host"),
            ("http://:80/", "missing host"),
            ("http://a..org", "wrong host"),
            ("http://a_b.org", "wrong host"),
            ("http://[::g]/", "wrong host"),
            ("http://a.org:0", "wrong port"),
            ("http://a.org:65354", "wrong port"),
            ("http://a.org:8o", "wrong port"),
            ("http://a.org:", "wrong port"),
            ("mailto:a", "missing '@'"),
            ("mailto:@b.org", "missing local part"),
            ("mailto:a@", "wrong host"),
            ("mailto:a@b..org", "wrong host"),
            ("mailto:a@b@c.org", "more than one '@'"),
        ];
        for (uri, phrase) in bad {
            let error = check_uri(uri).expect_err(uri).to_string();
            assert!(error.contains(phrase), "{uri}: {error}");
        }
    }

    #[test]
    fn contacts_become_uris() {
        assert_eq!(
            contacts(&["a@b.org", "mailto:c@d.org", "tel:1"]).unwrap(),
            ["mailto:a@b.org", "mailto:c@d.org", "tel:1"]
        );
        assert!(contacts(&["nobody"]).is_err() && contacts(&[]).is_err());
    }

    #[test]
    fn an_agreement_is_a_word_or_a_url() {
        assert!(check_agreement("accepted").is_ok() && check_agreement("https://ca.org/terms").is_ok());
        assert!(check_agreement("yes").is_err());
    }
}
