//! Checks the syntax of names, URLs, contacts and agreements. The checks are stricter than those of the configuration: the
//! person who made a mistake sees the message.

use url::{Host, ParseError, Url};

use super::error::CliError;
use crate::model::contact::{check_mail, contact_uri, is_host};
use crate::model::{DomainName, known_ca};

/// Parses the names of a domain and drops duplicates.
///
/// # Errors
/// If there is no name, or one is neither a DNS name nor an address.
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

/// Parses the names of a domain and drops duplicates. Any text that can be the name of a directory is a name.
///
/// # Errors
/// If there is no name, or one cannot be the name of a directory.
pub fn names(texts: &[&str]) -> Result<Vec<DomainName>, CliError> {
    let mut names: Vec<DomainName> = Vec::new();
    for text in texts {
        let name = DomainName::parse(text).map_err(|err| CliError::invalid(err.to_string()))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { Err(CliError::invalid("at least one domain name is needed")) } else { Ok(names) }
}

/// Makes URIs of contacts: a text without a scheme is a mail address.
///
/// # Errors
/// If there is no contact, or one is wrong.
pub fn contacts(texts: &[&str]) -> Result<Vec<String>, CliError> {
    let uris: Vec<String> = texts.iter().map(|text| contact_uri(text)).collect();
    uris.iter().try_for_each(|uri| check_uri(uri))?;
    if uris.is_empty() { Err(CliError::invalid("at least one contact is needed")) } else { Ok(uris) }
}

/// Returns the URL of a CA for its URL, or for the name that `MDCertificateAuthority` has for it.
pub fn ca_url(text: &str) -> String {
    known_ca(text).unwrap_or(text).to_owned()
}

/// Checks that an agreement is `accepted`, or the URL of the terms of service.
///
/// # Errors
/// If the text is neither.
pub fn check_agreement(text: &str) -> Result<(), CliError> {
    if text == "accepted" { Ok(()) } else { check_uri(text) }
}

/// Checks a URI: http, https and mailto in all parts, other schemes for white space only.
///
/// # Errors
/// The first part that is wrong.
pub fn check_uri(uri: &str) -> Result<(), CliError> {
    let checked = if uri.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Err("whitespace in uri")
    } else {
        match (Url::parse(uri), uri.split_once(':')) {
            (Ok(url), Some((_, address))) if url.scheme() == "mailto" => check_mail(address),
            (Ok(url), Some((_, rest))) if matches!(url.scheme(), "http" | "https") => check_authority(&url, rest),
            (Ok(_), _) => Ok(()),
            (Err(ParseError::RelativeUrlWithoutBase), _) => Err("missing uri scheme"),
            (Err(ParseError::EmptyHost), _) => Err("missing host in uri"),
            (Err(ParseError::InvalidPort), _) => Err("wrong port in uri"),
            (Err(_), _) => Err("wrong host in uri"),
        }
    };
    checked.map_err(|what| CliError::invalid(format!("{what}: {}", uri.escape_default())))
}

/// Checks host and port. `rest` is the text behind the scheme: the parser, as browsers do, accepts missing slashes.
fn check_authority(url: &Url, rest: &str) -> Result<(), &'static str> {
    let is_written = rest.strip_prefix("//").is_some_and(|rest| !rest.starts_with(['/', '\\']));
    match url.host() {
        Some(Host::Domain(name)) if is_written && !is_host(name) => Err("wrong host in uri"),
        Some(_) if is_written && url.port() == Some(0) => Err("wrong port in uri"),
        Some(_) if is_written => Ok(()),
        _ => Err("missing host in uri"),
    }
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
            "http://a.org:65535",
            "mailto:a.b+c@d-e.org",
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
            ("http:a.org", "missing host"),
            ("https:/a.org", "missing host"),
            ("https://\\a.org", "missing host"),
            ("\nhttp://a.org", "whitespace in uri"),
            ("http://:80/", "missing host"),
            ("http://a..org", "wrong host"),
            ("http://a_b.org", "wrong host"),
            ("http://[::g]/", "wrong host"),
            ("http://a.org:0", "wrong port"),
            ("http://a.org:65536", "wrong port"),
            ("http://a.org:8o", "wrong port"),
            ("mailto:a", "missing '@'"),
            ("mailto:@b.org", "missing local part"),
            ("mailto:a@", "wrong host"),
            ("mailto:a@b..org", "wrong host"),
            ("mailto:a@b.org.", "wrong host"),
            ("mailto:a@b.org?subject=x", "wrong host"),
            ("mailto:a..b@c.org", "wrong local part"),
            ("mailto:.a@c.org", "wrong local part"),
            ("mailto:a.@c.org", "wrong local part"),
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
