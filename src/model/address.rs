//! IP addresses among the names of a domain (RFC 8738): their notation, and the names that stand for them in handshakes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V4_REVERSE: &str = ".in-addr.arpa";
const V6_REVERSE: &str = ".ip6.arpa";

/// Returns the host of a URL, a request or a virtual host in the form in which names are stored: an IPv6 address without
/// brackets and as short as can be (RFC 5952), anything else unchanged.
pub(super) fn plain_host(text: &str) -> Cow<'_, str> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<Ipv6Addr>() {
        Ok(ip) => Cow::Owned(ip.to_string()),
        Err(_) => Cow::Borrowed(text),
    }
}

/// Returns a host as URLs have it: an IPv6 address in brackets (RFC 3986 section 3.2.2).
#[must_use]
pub fn url_host(host: &str) -> Cow<'_, str> {
    if host.parse::<Ipv6Addr>().is_ok() { Cow::Owned(format!("[{host}]")) } else { Cow::Borrowed(host) }
}

/// Returns the name that a CA asks for in the handshake of tls-alpn-01, as SNI has no addresses (RFC 8738 section 6).
#[must_use]
pub fn reverse_name(ip: IpAddr) -> String {
    let mut name = String::new();
    // Writing to a string does not fail.
    match ip {
        IpAddr::V4(ip) => ip.octets().iter().rev().for_each(|octet| _ = write!(name, "{octet}.")),
        IpAddr::V6(ip) => {
            ip.octets().iter().rev().for_each(|octet| _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4));
        }
    }
    let zone = if ip.is_ipv4() { V4_REVERSE } else { V6_REVERSE };
    name + &zone[1..]
}

/// Returns the address that a name in lower case stands for in such a handshake, if any: the inverse of [`reverse_name`].
#[must_use]
pub fn address_of_reverse_name(name: &str) -> Option<IpAddr> {
    let read = |labels: &str| -> Option<IpAddr> {
        let octets: Vec<u8> = labels.split('.').rev().map(|label| label.parse().ok()).collect::<Option<_>>()?;
        Some(<[u8; 4]>::try_from(octets).ok()?.into())
    };
    let read_nibbles = |labels: &str| -> Option<IpAddr> {
        let digits: String = labels.split('.').rev().collect();
        let bits = u128::from_str_radix(&digits, 16).ok()?;
        Some(Ipv6Addr::from_bits(bits).into())
    };
    let found = match (name.strip_suffix(V4_REVERSE), name.strip_suffix(V6_REVERSE)) {
        (Some(labels), _) => read(labels),
        (_, Some(labels)) => read_nibbles(labels),
        _ => None,
    };
    found.filter(|ip| reverse_name(*ip) == name)
}

/// Whether the address is global: not reserved, private or for documentation (RFC 6890).
#[must_use]
pub fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_global_v4(ip),
        IpAddr::V6(ip) => is_global_v6(ip),
    }
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_for_tests = a == 198 && (b & 0xfe) == 18;
    let is_special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_documentation();
    !(is_special || is_shared || is_for_tests || (a, b, c) == (192, 0, 0) || a == 0 || a >= 224)
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // Global unicast is 2000::/3 (RFC 4291 section 2.4), of which two parts are for documentation (RFC 3849, RFC 9637).
    (0x2000..0x4000).contains(&a) && (a, b) != (0x2001, 0x0db8) && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names_of_rfc_8738() {
        // The RFC's own sample is the first; RFC 3596 section 2.5 has the last.
        let rows = [
            ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
            ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
            ("127.0.0.2", "2.0.0.127.in-addr.arpa"),
            ("4321:0:1:2:3:4:567:89ab", "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"),
        ];
        for (ip, name) in rows {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(reverse_name(ip), name);
            assert_eq!(address_of_reverse_name(name), Some(ip));
        }
    }

    #[test]
    fn other_names_stand_for_no_address() {
        let short = "1.0.0.2.ip6.arpa";
        let signed = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.+2.ip6.arpa";
        let others = ["", "in-addr.arpa", ".in-addr.arpa", "2.0.192.in-addr.arpa", "01.2.0.192.in-addr.arpa"];
        let more = ["256.2.0.192.in-addr.arpa", "x.1.2.0.192.in-addr.arpa", "192.0.2.1", "example.org", short, signed];
        for name in others.into_iter().chain(more) {
            assert_eq!(address_of_reverse_name(name), None, "{name}");
        }
    }

    #[test]
    fn hosts_of_requests_and_urls() {
        let rows = [
            ("[2001:DB8:0:0::1]", "2001:db8::1", "[2001:db8::1]"),
            ("2001:0db8::0001", "2001:db8::1", "[2001:db8::1]"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("[192.0.2.1]", "[192.0.2.1]", "[192.0.2.1]"),
            ("example.org", "example.org", "example.org"),
            ("[::1", "[::1", "[::1"),
            ("", "", ""),
        ];
        for (text, plain, in_url) in rows {
            assert_eq!(plain_host(text), plain);
            assert_eq!(url_host(&plain_host(text)), in_url);
        }
    }

    #[test]
    fn addresses_of_the_public_internet() {
        let of_it = ["8.8.8.8", "100.63.0.1", "198.17.255.255", "192.0.1.1", "2a00:1450::1", "3fff:1000::1", "2001::1"];
        let not = [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.20.1.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
            "3fff:fff::1",
            "::ffff:8.8.8.8",
        ];
        for (ips, expected) in [(&of_it[..], true), (&not[..], false)] {
            ips.iter().for_each(|ip| assert_eq!(is_global(ip.parse().unwrap()), expected, "{ip}"));
        }
    }
}
