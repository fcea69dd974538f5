//! Base64 with the URL-safe alphabet (RFC 4648 section 5), which ACME uses.

use crate::model::base64_decode;

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
    let is_foreign = |character: char| !(character.is_ascii_alphanumeric() || matches!(character, '-' | '_'));
    text.split(is_foreign).next().and_then(base64_decode)
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
