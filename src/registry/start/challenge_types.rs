//! Challenge types that a domain can use, by its configuration and the ports on which the server can be reached.

use std::collections::BTreeSet;

use crate::acme::ChallengeType;
use crate::log::report;
use crate::model::{DomainName, ManagedDomain, PortMap};
use crate::store::Reachability;

/// How CAs reach the server, and what was seen of that.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    /// Whether ports 80 and 443 lead to this server.
    pub reach: Reachability,
    /// Why port 80 does not, if that is known.
    http: Option<String>,
    /// Why port 443 does not, if that is known.
    https: Option<String>,
}

impl From<Reachability> for Ports {
    fn from(reach: Reachability) -> Self {
        Self { reach, ..Self::default() }
    }
}

impl Ports {
    /// Finds out whether the server can be reached on ports 80 and 443: whether a `Listen` with http(s) has the local port that
    /// `MDPortMap` gives. Listeners are given as port and protocol.
    #[must_use]
    pub fn find<'a>(map: PortMap, listeners: impl Iterator<Item = (u16, Option<&'a str>)>) -> Self {
        let all: Vec<_> = listeners.collect();
        let is_http = |protocol: Option<&str>| protocol.is_none_or(|protocol| protocol.starts_with("http"));
        let leads = |local| all.iter().any(|(port, protocol)| local == Some(*port) && is_http(*protocol));
        let listed = all.iter().map(|(port, protocol)| match protocol {
            Some(protocol) if !is_http(Some(protocol)) => format!("{port} {protocol}"),
            _ => port.to_string(),
        });
        let listed: BTreeSet<String> = listed.collect();
        let listed = listed.into_iter().collect::<Vec<_>>().join(", ");
        let obstacle = |public: u16, local: Option<u16>| match local {
            local if leads(local) => None,
            None => Some(format!("MDPortMap says that port {public} does not lead to this server")),
            Some(local) if local == public => {
                Some(format!("nothing listens for http or https at port {public} (Listen: {listed})"))
            }
            Some(local) => Some(format!(
                "MDPortMap leads port {public} to {local}, where nothing listens for http or https (Listen: {listed})"
            )),
        };
        let (http, https) = (obstacle(80, map.http), obstacle(443, map.https));
        Self { reach: Reachability { http: http.is_none(), https: https.is_none() }, http, https }
    }

    /// Returns a sentence's end about a port that cannot be reached.
    fn lack(port: u16, seen: Option<&String>) -> String {
        let seen = seen.map(|seen| format!(": {seen}")).unwrap_or_default();
        format!("the server to be reachable on port {port} (see MDPortMap and Listen){seen}")
    }
}

/// Returns the challenge types for `md` in order of preference: those of `MDCAChallenges`, or all that can work. `dns01` says
/// whether there is a dns-01 command for all domains. The list is empty for tailscale, where there are no challenges.
///
/// # Errors
/// The reasons as sentences, if no type can be used or some name cannot be validated.
pub fn challenges(md: &ManagedDomain, ports: &Ports, dns01: bool) -> Result<Vec<ChallengeType>, String> {
    if md.is_of_tailscale() {
        return Ok(Vec::new());
    }
    let mut reasons = Vec::new();
    let types: Vec<_> = if md.ca.challenges.is_empty() {
        let works = |kind: &ChallengeType| {
            let obstacle = obstacle(*kind, md, ports, dns01);
            let works = obstacle.is_none();
            reasons.extend(obstacle.map(|reason| format!("The challenge type '{kind}' needs {reason}.")));
            works
        };
        ChallengeType::USUAL.into_iter().filter(works).collect()
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
    let unproven = |is_meant: fn(&DomainName) -> bool, proves: fn(ChallengeType) -> bool| {
        md.domains.iter().find(|name| is_meant(name)).filter(|_| !types.iter().any(|kind| proves(*kind)))
    };
    let wildcard = unproven(DomainName::is_wildcard, ChallengeType::proves_wildcards);
    let address = unproven(|name| name.address().is_some(), ChallengeType::proves_addresses);
    if wildcard.or(address).is_none() && !types.is_empty() {
        return Ok(types);
    }
    reasons.extend(
        wildcard
            .map(|name| format!("The wildcard name '{name}' needs the challenge type 'dns-01' or 'dns-persist-01'.")),
    );
    let other_types = "needs the challenge type 'http-01' or 'tls-alpn-01', as the DNS cannot validate IP addresses";
    reasons.extend(address.map(|ip| format!("The address '{ip}' {other_types}.")));
    Err(format!("None of the ACME challenge methods configured for this domain are suitable. {}", reasons.join(" ")))
}

/// Reports why a domain that is to be renewed has no challenge types, if it has none.
pub fn report_unproven(md: &ManagedDomain, challenges: &Result<Vec<ChallengeType>, String>) {
    if let Err(reason) = challenges {
        report!(AH10173, "{}: cannot be renewed: {reason}", md.name);
    }
}

/// Returns the requirement of a challenge type that is not met, if any.
fn obstacle(kind: ChallengeType, md: &ManagedDomain, ports: &Ports, dns01: bool) -> Option<String> {
    match kind {
        ChallengeType::TlsAlpn01 if !ports.reach.https => Some(Ports::lack(443, ports.https.as_ref())),
        ChallengeType::TlsAlpn01 if md.proto.acme_tls_1.is_empty() => {
            Some("'acme-tls/1' among the Protocols of the domain's TLS host".to_owned())
        }
        ChallengeType::Http01 if !ports.reach.http => Some(Ports::lack(80, ports.http.as_ref())),
        ChallengeType::Dns01 if !dns01 && md.cmd_dns_01.is_none() => {
            Some("a command (see MDChallengeDns01)".to_owned())
        }
        ChallengeType::TlsAlpn01 | ChallengeType::Http01 | ChallengeType::Dns01 | ChallengeType::DnsPersist01 => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn listeners_behind_the_mapped_ports_count() {
        let map = PortMap { http: Some(8080), https: None };
        let reach = |listeners: &[(u16, Option<&'static str>)]| {
            let found = Ports::find(map, listeners.iter().copied()).reach;
            (found.http, found.https)
        };
        assert_eq!(reach(&[(8080, None), (443, Some("https"))]), (true, false));
        assert_eq!(reach(&[(8080, Some("ftp")), (80, None)]), (false, false));
    }

    #[test]
    fn the_reason_says_what_was_seen_of_the_ports() {
        let listeners = [(18080, None), (18443, Some("https")), (21, Some("ftp")), (18080, None)];
        let rows = [
            (
                PortMap { http: Some(18081), https: None },
                "on port 80 (see MDPortMap and Listen): MDPortMap leads port 80 to 18081, where nothing listens for http or https \
                 (Listen: 18080, 18443, 21 ftp).",
            ),
            (
                PortMap { http: Some(18081), https: None },
                "on port 443 (see MDPortMap and Listen): MDPortMap says that port 443 does not lead to this server.",
            ),
            (
                PortMap { http: Some(80), https: Some(443) },
                "on port 80 (see MDPortMap and Listen): nothing listens for http or https at port 80 (Listen: 18080, ",
            ),
        ];
        for (map, words) in rows {
            let ports = Ports::find(map, listeners.iter().copied());
            let reason = challenges(&md(&["x.org"], &[]), &ports, false).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }

    fn md(names: &[&str], listed: &[&str]) -> ManagedDomain {
        let names = names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
        let mut md = ManagedDomain::new(names).unwrap();
        std::sync::Arc::make_mut(&mut md.ca).challenges = listed.iter().map(|kind| (*kind).to_owned()).collect();
        md
    }

    /// Checks the types that are found, or that the error contains these words.
    fn check(md: &ManagedDomain, reach: (bool, bool), dns01: bool, expected: Result<&[ChallengeType], &[&str]>) {
        let found = challenges(md, &Reachability { http: reach.0, https: reach.1 }.into(), dns01);
        match (found, expected) {
            (Ok(types), Ok(expected)) => assert_eq!(types, expected),
            (Err(reason), Err(words)) => {
                assert!(
                    reason.starts_with("None of the ACME challenge methods configured for this domain are suitable. ")
                );
                words.iter().for_each(|word| assert!(reason.contains(word), "{reason}"));
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn all_types_that_can_work_are_used_in_their_order() {
        use ChallengeType::{Dns01, Http01, TlsAlpn01};
        let plain = md(&["x.org"], &[]);
        let mut alpn = md(&["x.org", "www.x.org"], &[]);
        alpn.proto.acme_tls_1 = alpn.domains[1..].to_vec();
        let with_command = ManagedDomain { cmd_dns_01: Some(Arc::new("/bin/true".to_owned())), ..plain.clone() };
        check(&alpn, (true, true), true, Ok(&[TlsAlpn01, Http01, Dns01]));
        check(&plain, (true, true), true, Ok(&[Http01, Dns01]));
        check(&plain, (true, true), false, Ok(&[Http01]));
        check(&alpn, (false, true), false, Ok(&[TlsAlpn01]));
        check(&with_command, (false, false), false, Ok(&[Dns01]));
        check(&alpn, (true, false), false, Ok(&[Http01]));
        let all = ["'tls-alpn-01' needs the server to be reachable on port 443", "on port 80", "MDChallengeDns01"];
        check(&alpn, (false, false), false, Err(&all));
        check(&plain, (false, true), false, Err(&["'tls-alpn-01' needs 'acme-tls/1'", "on port 80"]));
    }

    #[test]
    fn listed_challenge_types_are_used_and_unknown_ones_reported() {
        use ChallengeType::{Dns01, Http01, TlsAlpn01};
        let listed = md(&["x.org"], &["dns-01", "foo-99", "HTTP-01", "tls-alpn-01"]);
        check(&listed, (false, false), false, Ok(&[Dns01, Http01, TlsAlpn01]));
        check(&md(&["x.org"], &["foo-99"]), (true, true), true, Err(&["'foo-99' of MDCAChallenges is not supported"]));
    }

    #[test]
    fn a_wildcard_name_needs_dns_01() {
        let names = ["x.org", "*.x.org"];
        check(&md(&names, &[]), (true, true), true, Ok(&[ChallengeType::Http01, ChallengeType::Dns01]));
        check(&md(&names, &["dns-01"]), (true, true), false, Ok(&[ChallengeType::Dns01]));
        check(&md(&names, &["dns-persist-01"]), (false, false), false, Ok(&[ChallengeType::DnsPersist01]));
        let words = ["'*.x.org' needs the challenge type 'dns-01'"];
        check(&md(&names, &["http-01"]), (true, true), true, Err(&words));
        check(&md(&names, &[]), (true, true), false, Err(&["'*.x.org' needs", "a command (see MDChallengeDns01)"]));
    }

    #[test]
    fn the_reason_names_each_type_that_would_do() {
        let none = Reachability { http: false, https: false }.into();
        let reason = |name: &str| challenges(&md(&[name], &["foo-99"]), &none, false).unwrap_err();
        let wildcard = reason("*.x.org");
        let address = reason("192.0.2.1");
        for kind in ChallengeType::ALL {
            let name = format!("'{kind}'");
            assert_eq!(wildcard.contains(&name), kind.proves_wildcards(), "{wildcard}");
            assert_eq!(address.contains(&name), kind.proves_addresses(), "{address}");
        }
    }

    #[test]
    fn an_address_needs_a_challenge_that_connects_to_it() {
        use ChallengeType::{Dns01, Http01};
        let names = ["x.org", "192.0.2.1", "2001:db8::1"];
        check(&md(&names, &[]), (true, true), true, Ok(&[Http01, Dns01]));
        check(&md(&names, &["http-01"]), (false, false), false, Ok(&[Http01]));
        let words = ["The address '192.0.2.1' needs the challenge type 'http-01' or 'tls-alpn-01'"];
        check(&md(&names, &["dns-01"]), (true, true), true, Err(&words));
        check(&md(&names[2..], &[]), (false, false), true, Err(&["The address '2001:db8::1' needs", "on port 80"]));
        let both = ["x.org", "*.x.org", "192.0.2.1"];
        check(&md(&both, &[]), (true, true), true, Ok(&[Http01, Dns01]));
        check(&md(&both, &["http-01"]), (true, true), true, Err(&["'*.x.org' needs"]));
        check(&md(&both, &["foo-99"]), (true, true), true, Err(&["'*.x.org' needs", "'192.0.2.1' needs"]));
    }
}
