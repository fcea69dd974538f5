//! Base64 with the URL-safe alphabet (RFC 4648 section 5), which ACME uses.

/// Encodes in base64 with the URL-safe alphabet and no padding (RFC 7515 section 2).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    let url_safe = |c| match c {
        '+' => '-',
        '/' => '_',
        other => other,
    };
    openssl::base64::encode_block(bytes).trim_end_matches('=').chars().map(url_safe).collect()
}

/// Decodes up to the first character outside the alphabet, such as padding; `None` if the digits do not make whole bytes.
#[must_use]
pub fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.bytes().map_while(base64url_digit).map(u32::from).collect();
    let bytes = |group: &[u32]| {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        bits.to_be_bytes().into_iter().skip(1).take(group.len() - 1)
    };
    (digits.len() % 4 != 1).then(|| digits.chunks(4).flat_map(bytes).collect())
}

fn base64url_digit(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_reads_back_and_stops_at_foreign_characters() {
        for bytes in [&b""[..], b"f", b"fo", b"foo", b"foob", &[0xfb, 0xff, 0xbf, 0xfe]] {
            assert_eq!(base64url_decode(&base64url(bytes)).as_deref(), Some(bytes));
        }
        // RFC 7515 appendix C
        assert_eq!(base64url(&[3, 236, 255, 224, 193]), "A-z_4ME");
        let rows = [
            ("Zm9v", Some("foo")),
            ("Zm8=", Some("fo")),
            ("Zg==", Some("f")),
            ("Zm9v\nYmFy", Some("foo")),
            ("Zm9v+", Some("foo")),
            ("=", Some("")),
            ("Zm9vY", None),
        ];
        for (text, expected) in rows {
            assert_eq!(base64url_decode(text).as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }
}
