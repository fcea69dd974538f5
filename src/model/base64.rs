//! Decodes base64 (RFC 4648 sections 4 and 5).

/// Decodes a text in the URL-safe or in the standard alphabet, with or without padding; `None` if a character is of neither
/// alphabet, or the digits do not make whole bytes.
#[must_use]
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.trim_end_matches('=').bytes().map(digit).collect::<Option<_>>()?;
    let bytes = |group: &[u32]| {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        bits.to_be_bytes().into_iter().skip(1).take(group.len() - 1)
    };
    (digits.len() % 4 != 1).then(|| digits.chunks(4).flat_map(bytes).collect())
}

fn digit(character: u8) -> Option<u32> {
    let digit = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' | b'+' => 62,
        b'_' | b'/' => 63,
        _ => return None,
    };
    Some(digit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_are_read_with_and_without_padding() {
        let rows: [(&str, Option<&[u8]>); 15] = [
            // RFC 4648 section 10
            ("", Some(b"")),
            ("Zg==", Some(b"f")),
            ("Zg", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9vYmFy", Some(b"foobar")),
            // RFC 7515 appendix C
            ("A-z_4ME", Some(&[3, 236, 255, 224, 193])),
            ("A+z/4ME=", Some(&[3, 236, 255, 224, 193])),
            ("A-z/4ME", Some(&[3, 236, 255, 224, 193])),
            // The text was cut off.
            ("Zm9vY", None),
            ("Zm9v\nYmFy", None),
            ("Zm9v YmFy", None),
            ("Zg==Zg==", None),
            ("Zm9v.", None),
            ("'Zm9v'", None),
            ("Zm9vä", None),
        ];
        for (text, expected) in rows {
            assert_eq!(base64_decode(text).as_deref(), expected, "{text:?}");
        }
    }
}
