//! Which challenge types a domain can use, as configured and as the server can be reached.

use crate::acme::ChallengeType;
use crate::model::{ManagedDomain, PortMap};
use crate::store::Reachability;

/// The server can be reached where some `Listen` is on the local port behind the public one and speaks http(s) there.
/// Listeners are given as port and protocol.
#[must_use]
pub fn reachability<'a>(map: PortMap, listeners: impl Iterator<Item = (u16, Option<&'a str>)>) -> Reachability {
    let mut found = Reachability { http: false, https: false };
    for (port, _) in listeners.filter(|(_, protocol)| protocol.is_none_or(|protocol| protocol.starts_with("http"))) {
        found.http |= map.http == Some(port);
        found.https |= map.https == Some(port);
    }
    found
}

/// The types to use for `md`, most wanted first: what `MDCAChallenges` lists, or all that can work.
///
/// # Errors
/// A sentence with the reasons if there is none.
pub fn challenges(md: &ManagedDomain, reach: Reachability) -> Result<Vec<ChallengeType>, String> {
    let mut reasons = Vec::new();
    let types: Vec<_> = if md.ca.challenges.is_empty() {
        if !reach.http {
            reasons.push(
                "The challenge type 'http-01' needs the server to be reachable on port 80 (see MDPortMap and Listen)."
                    .to_owned(),
            );
        }
        ChallengeType::ALL.into_iter().filter(|kind| *kind != ChallengeType::Http01 || reach.http).collect()
    } else {
        let known = |kind: &String| {
            let parsed = ChallengeType::parse(kind);
            if parsed.is_none() {
                reasons.push(format!("The challenge type '{kind}' of MDCAChallenges is not supported."));
            }
            parsed
        };
        md.ca.challenges.iter().filter_map(known).collect()
    };
    let wildcard = md.domains.iter().find(|name| name.is_wildcard());
    match wildcard.filter(|_| !types.iter().any(|kind| kind.proves_wildcards())) {
        Some(name) => reasons.push(format!(
            "The wildcard name '{name}' needs the challenge type 'dns-01', which is not supported in this version."
        )),
        None if !types.is_empty() => return Ok(types),
        None => {}
    }
    Err(format!("None of the ACME challenge methods configured for this domain are suitable. {}", reasons.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DomainName;

    #[test]
    fn listeners_behind_the_mapped_ports_count() {
        let map = PortMap { http: Some(8080), https: None };
        let reach = |listeners: &[(u16, Option<&'static str>)]| {
            let found = reachability(map, listeners.iter().copied());
            (found.http, found.https)
        };
        assert_eq!(reach(&[(8080, None), (443, Some("https"))]), (true, false));
        assert_eq!(reach(&[(8080, Some("ftp")), (80, None)]), (false, false));
    }

    #[test]
    fn what_is_listed_is_used_and_what_is_missing_is_said() {
        let mut md = ManagedDomain::new(vec![DomainName::parse("x.org").unwrap()]).unwrap();
        let (reachable, not) = (Reachability { http: true, https: true }, Reachability { http: false, https: true });
        assert_eq!(challenges(&md, reachable), Ok(vec![ChallengeType::Http01]));
        assert!(challenges(&md, not).unwrap_err().contains("reachable on port 80"));
        let ca = std::sync::Arc::make_mut(&mut md.ca);
        ca.challenges = vec!["foo-99".to_owned(), "HTTP-01".to_owned()];
        assert_eq!(challenges(&md, not), Ok(vec![ChallengeType::Http01]));
        std::sync::Arc::make_mut(&mut md.ca).challenges.pop();
        assert!(challenges(&md, reachable).unwrap_err().contains("'foo-99' of MDCAChallenges is not supported"));
    }

    #[test]
    fn a_wildcard_name_needs_more_than_http_01() {
        let reachable = Reachability { http: true, https: true };
        for listed in [&[][..], &["http-01"], &["dns-01", "http-01"]] {
            let names = ["x.org", "*.x.org"].map(|name| DomainName::parse(name).unwrap());
            let mut md = ManagedDomain::new(names.to_vec()).unwrap();
            std::sync::Arc::make_mut(&mut md.ca).challenges = listed.iter().map(|kind| (*kind).to_owned()).collect();
            let reason = challenges(&md, reachable).unwrap_err();
            assert!(reason.contains("'*.x.org' needs the challenge type 'dns-01'"), "{reason}");
        }
    }
}
