//! Items of DER, and the public keys in it.

use x509_parser::asn1_rs::{Any, FromDer, Tag};

pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// Returns the public key in the content of an ECPrivateKey: version, privateKey, parameters `[0]` and publicKey `[1]`, both
/// optional.
pub(super) fn public_bits(mut rest: &[u8]) -> Option<&[u8]> {
    while !rest.is_empty() {
        let (after, item) = Any::from_der(rest).ok()?;
        if item.header.raw_tag() == Some(&[0xa1]) {
            let (_, bits) = Any::from_der(item.data).ok()?;
            return bits.data.get(1..);
        }
        rest = after;
    }
    None
}

/// Returns the first items of a sequence's content.
pub(super) fn items<const N: usize>(mut content: &[u8]) -> Option<[Any<'_>; N]> {
    let mut found = Vec::with_capacity(N);
    for _ in 0..N {
        let (rest, item) = Any::from_der(content).ok()?;
        found.push(item);
        content = rest;
    }
    found.try_into().ok()
}

/// The deepest nesting of items that is looked at.
const DEEPEST: usize = 16;

/// Whether the bytes are one item of DER, with items of DER in it (X.690 section 10). OpenSSL reads more than that, and a signature
/// is good for all encodings of the same content.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    after_item(bytes, 0).is_some_and(<[u8]>::is_empty)
}

fn after_item(der: &[u8], depth: usize) -> Option<&[u8]> {
    let (tag, rest) = der.split_first()?;
    let number = tag & 0x1f;
    let is_constructed = tag & 0x20 != 0;
    let is_universal = tag & 0xc0 == 0;
    // Of the universal types only SEQUENCE and SET have items in them. No item here has a tag of several bytes.
    let is_list = matches!(number, 0x10 | 0x11);
    if number == 0x1f || is_universal && is_list != is_constructed || depth > DEEPEST {
        return None;
    }
    let (content, after) = content(rest)?;
    let mut inner = content;
    while is_constructed && !inner.is_empty() {
        inner = after_item(inner, depth + 1)?;
    }
    Some(after)
}

/// Splits what follows a tag into content and rest; `None` unless the length is as short as can be.
fn content(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
            let is_shortest = length >= 0x80 && digits.first() != Some(&0);
            (Some(length).filter(|_| is_shortest)?, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

pub(super) fn inside(der: &[u8], tag: Tag) -> Option<&[u8]> {
    let (_, item) = Any::from_der(der).ok()?;
    (item.tag() == tag).then_some(item.data)
}

/// Returns the content of an INTEGER with its length in front, so that two in a row are told apart.
pub(super) fn integer(content: &[u8]) -> Vec<u8> {
    [&content.len().to_be_bytes()[..], content].concat()
}

/// Returns the comparable form of a public key: modulus and exponent, or the point.
pub(super) fn comparable(algorithm_oid: &[u8], bits: &[u8]) -> Option<Vec<u8>> {
    if algorithm_oid != RSA {
        return Some(bits.to_vec());
    }
    let [modulus, exponent] = items(inside(bits, Tag::Sequence)?)?;
    Some([integer(modulus.data), integer(exponent.data)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_has_one_form() {
        let long = [&[0x04, 0x81, 0x80][..], &[7; 0x80]].concat();
        let padded = [&[0x04, 0x82, 0, 0x80][..], &[7; 0x80]].concat();
        let deep = (0..20).fold(vec![5, 0], |inner, _| [&[0x30, inner.len() as u8][..], &inner].concat());
        let rows: [(&[u8], bool); 14] = [
            (&[0x05, 0], true),
            (&[0x30, 2, 0x05, 0], true),
            (&[0xa0, 3, 0x80, 1, 0xff], true),
            (&long, true),
            (&[], false),
            (&[0x05], false),
            (&[0x05, 1], false),
            (&[0x05, 0, 0], false),
            (&[0x10, 2, 0x05, 0], false),
            (&[0x24, 2, 0x04, 0], false),
            (&[0x30, 0x80, 0, 0], false),
            (&[0x04, 0x81, 1, 7], false),
            (&padded, false),
            (&deep, false),
        ];
        for (bytes, expected) in rows {
            assert_eq!(is_der(bytes), expected, "{bytes:02x?}");
        }
    }
}
