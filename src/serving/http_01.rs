//! Requests for the data of http-01 challenges (RFC 8555 section 8.3).

use crate::acme::{ChallengeType, HTTP_01_PATH};
use crate::model::DomainName;
use crate::registry::Registry;
use crate::store::{Aspect, Group, StoreError};

/// Checks whether a request is for the data of a challenge, of this module or of another program.
#[must_use]
pub fn is_challenge(path: Option<&str>) -> bool {
    path.is_some_and(|path| path.starts_with(HTTP_01_PATH))
}

/// Returns the token that a CA asks for.
#[must_use]
pub fn token(path: &str) -> Option<&str> {
    path.strip_prefix(HTTP_01_PATH).filter(|token| !token.is_empty() && !token.contains('/'))
}

/// Returns the key authorization for a token that a CA asks for at `host`; `None` if there is none, or one for another token.
///
/// # Errors
/// If the store cannot be read.
pub fn data(registry: &Registry, host: &DomainName, token: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let domain = registry.index.covering(host).map(|position| &registry.domains[position].md);
    if domain.is_some_and(|md| !is_allowed(&md.ca.challenges)) {
        return Ok(None);
    }
    match registry.documents.store().load(Group::Challenges, host.as_str(), &Aspect::Http01) {
        Err(StoreError::Name(_)) => Ok(None),
        found => Ok(found?.and_then(|data| key_authorization(data, token))),
    }
}

/// Checks whether a domain with these configured challenge types may answer http-01; no type stands for all.
fn is_allowed(configured: &[String]) -> bool {
    configured.is_empty() || configured.iter().any(|kind| ChallengeType::parse(kind) == Some(ChallengeType::Http01))
}

/// Returns the data, without an end of line, if it is the key authorization for this token: `token.thumbprint` (RFC 8555
/// section 8.1). Anybody may ask for any token, and whoever writes into the store must not be able to publish anything else.
fn key_authorization(mut data: Vec<u8>, token: &str) -> Option<Vec<u8>> {
    let is_base64url = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    data.truncate(data.trim_ascii_end().len());
    let thumbprint = data.strip_prefix(token.as_bytes())?.strip_prefix(b".")?;
    (thumbprint.len() == 43 && is_base64url(thumbprint) && is_base64url(token.as_bytes())).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestServer;

    const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    #[test]
    fn a_token_is_one_segment_below_the_path_of_challenges() {
        let rows = [
            ("/.well-known/acme-challenge/abc", true, Some("abc")),
            ("/.well-known/acme-challenge/", true, None),
            ("/.well-known/acme-challenge/a/b", true, None),
            ("/.well-known/acme-challenge", false, None),
            ("/.well-known/other/abc", false, None),
            ("/x/.well-known/acme-challenge/abc", false, None),
            ("", false, None),
        ];
        for (path, below, expected) in rows {
            assert_eq!((is_challenge(Some(path)), token(path)), (below, expected), "{path}");
        }
        assert!(!is_challenge(None));
    }

    #[test]
    fn data_is_given_for_the_host_that_is_asked() {
        let mut server = TestServer::new(&["a.test", "b.test"]);
        server.declared[1].settings.challenges = Some(vec!["tls-alpn-01".to_owned()]);
        let registry = server.start(false);
        let answer = format!("token.{THUMBPRINT}");
        for host in ["a.test", "b.test", "by-another-program.test"] {
            server.put(Group::Challenges, host, &Aspect::Http01, &answer);
        }
        for (host, expected) in
            [("a.test", true), ("b.test", false), ("by-another-program.test", true), ("c.test", false)]
        {
            let found = data(&registry, &DomainName::parse(host).unwrap(), "token").unwrap();
            assert_eq!(found, expected.then(|| answer.clone().into_bytes()), "{host}");
        }
    }

    #[test]
    fn configured_challenge_types_decide_who_answers() {
        let rows: [(&[&str], bool); 5] = [
            (&[], true),
            (&["http-01"], true),
            (&["tls-alpn-01", "http-01"], true),
            (&["tls-alpn-01"], false),
            (&["unknown-01"], false),
        ];
        for (configured, expected) in rows {
            let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
            assert_eq!(is_allowed(&configured), expected, "{configured:?}");
        }
    }

    #[test]
    fn nothing_but_the_key_authorization_for_the_token_is_an_answer() {
        let own = format!("abc.{THUMBPRINT}");
        let rows = [
            (own.clone(), "abc", true),
            (format!("{own}\r\n"), "abc", true),
            (own.clone(), "ab", false),
            (own.clone(), "abcd", false),
            (own.clone(), "", false),
            (format!("{own}\nmore"), "abc", false),
            (format!("{own}x"), "abc", false),
            (format!("abc.{}", &THUMBPRINT[1..]), "abc", false),
            (format!("abc.{}<", &THUMBPRINT[1..]), "abc", false),
            (format!("<b>.{THUMBPRINT}"), "<b>", false),
            ("abc".to_owned(), "abc", false),
            (format!(".{THUMBPRINT}"), "abc", false),
            ("<script>alert(1)</script>".to_owned(), "abc", false),
            (String::new(), "abc", false),
        ];
        for (data, token, expected) in rows {
            let found = key_authorization(data.clone().into_bytes(), token);
            assert_eq!(found, expected.then(|| own.clone().into_bytes()), "{data:?} {token:?}");
        }
    }
}
