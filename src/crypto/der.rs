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
