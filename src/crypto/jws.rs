//! Signed messages of ACME: JSON Web Signature and Key (RFC 7515, 7517, 7518, 7638).

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::EcKeyRef;
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef};
use openssl::sign::Signer;
use serde_json::{Value, json};

use super::{CryptoError, PrivateKey, base64url};

/// How a message names the key that signed it (RFC 8555 section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRef<'a> {
    /// By the public key itself, for new accounts.
    Jwk,
    /// By the URL of the account.
    Kid(&'a str),
}

/// Returns the public half of the key as JSON (RFC 7517), the members in the order that a thumbprint needs.
///
/// # Errors
/// If the key is neither RSA nor on a curve of NIST.
pub fn jwk(key: &PrivateKey) -> Result<Value, CryptoError> {
    public_jwk(key.pkey())?.ok_or_else(|| key.unsuitable("sign for an account"))
}

/// Returns the SHA-256 of the public key's JSON, base64url (RFC 7638): the second part of a key authorization.
///
/// # Errors
/// As [`jwk`].
pub fn thumbprint(key: &PrivateKey) -> Result<String, CryptoError> {
    thumbprint_of(&jwk(key)?)
}

/// Signs a message to the CA, in the flattened JSON form (RFC 7515 section 7.2.2), with RS256, ES256, ES384 or ES512.
///
/// # Errors
/// As [`jwk`].
pub fn sign_jws(
    key: &PrivateKey,
    url: &str,
    nonce: Option<&str>,
    key_ref: KeyRef<'_>,
    payload: &[u8],
) -> Result<String, CryptoError> {
    let mut header = json!({ "alg": algorithm(key)?.0 });
    match key_ref {
        KeyRef::Jwk => header["jwk"] = jwk(key)?,
        KeyRef::Kid(url) => header["kid"] = url.into(),
    }
    if let Some(nonce) = nonce {
        header["nonce"] = nonce.into();
    }
    header["url"] = url.into();
    flattened(&header, payload, |input| sign(key, input)).map(|message| message.to_string())
}

/// Signs the binding of a new account to an external account (RFC 8555 section 7.3.4) with HS256.
///
/// # Errors
/// As [`jwk`]; or if `hmac_key` is empty.
pub fn sign_eab(account: &PrivateKey, url: &str, kid: &str, hmac_key: &[u8]) -> Result<Value, CryptoError> {
    let header = json!({ "alg": "HS256", "kid": kid, "url": url });
    flattened(&header, jwk(account)?.to_string().as_bytes(), |input| hs256(hmac_key, input))
}

/// Signs with the new key that it replaces `old` in an account. The result is the payload of a message signed with the old
/// key (RFC 8555 section 7.3.5): without a nonce, and for the same `url`.
///
/// # Errors
/// As [`jwk`].
pub fn sign_key_change(new: &PrivateKey, old: &PrivateKey, url: &str, account: &str) -> Result<Value, CryptoError> {
    let header = json!({ "alg": algorithm(new)?.0, "jwk": jwk(new)?, "url": url });
    let payload = json!({ "account": account, "oldKey": jwk(old)? });
    flattened(&header, payload.to_string().as_bytes(), |input| sign(new, input))
}

fn flattened(
    header: &Value,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, CryptoError>,
) -> Result<Value, CryptoError> {
    let protected = base64url(header.to_string().as_bytes());
    let payload = base64url(payload);
    let signature = sign(format!("{protected}.{payload}").as_bytes())?;
    Ok(json!({ "protected": protected, "payload": payload, "signature": base64url(&signature) }))
}

pub(super) fn public_jwk<T: HasPublic>(key: &PKeyRef<T>) -> Result<Option<Value>, CryptoError> {
    match key.id() {
        Id::RSA => {
            let rsa = key.rsa()?;
            Ok(Some(json!({ "e": base64url(&rsa.e().to_vec()), "kty": "RSA", "n": base64url(&rsa.n().to_vec()) })))
        }
        Id::EC => {
            let ec = key.ec_key()?;
            let Some((_, curve, _)) = ec_algorithm(&ec) else { return Ok(None) };
            let mut x = BigNum::new()?;
            let mut y = BigNum::new()?;
            let size = coordinate_size(&ec);
            let mut context = BigNumContext::new()?;
            ec.public_key().affine_coordinates(ec.group(), &mut x, &mut y, &mut context)?;
            let [x, y] = [x.to_vec_padded(size)?, y.to_vec_padded(size)?].map(|value| base64url(&value));
            Ok(Some(json!({ "crv": curve, "kty": "EC", "x": x, "y": y })))
        }
        _ => Ok(None),
    }
}

fn thumbprint_of(jwk: &Value) -> Result<String, CryptoError> {
    Ok(base64url(&hash(MessageDigest::sha256(), jwk.to_string().as_bytes())?))
}

fn algorithm(key: &PrivateKey) -> Result<(&'static str, MessageDigest), CryptoError> {
    if key.pkey().id() == Id::RSA {
        return Ok(("RS256", MessageDigest::sha256()));
    }
    let ec = key.pkey().ec_key().ok().and_then(|ec| ec_algorithm(&ec));
    ec.map(|(name, _, digest)| (name, digest)).ok_or_else(|| key.unsuitable("sign for an account"))
}

/// Returns algorithm, curve and digest (RFC 7518 section 3.4).
fn ec_algorithm<T>(key: &EcKeyRef<T>) -> Option<(&'static str, &'static str, MessageDigest)>
where
    T: HasPublic,
{
    match key.group().curve_name()? {
        Nid::X9_62_PRIME256V1 => Some(("ES256", "P-256", MessageDigest::sha256())),
        Nid::SECP384R1 => Some(("ES384", "P-384", MessageDigest::sha384())),
        Nid::SECP521R1 => Some(("ES512", "P-521", MessageDigest::sha512())),
        _ => None,
    }
}

/// Returns the length of a coordinate in bytes. Each half of a signature has it too, as the order of these curves is as long.
fn coordinate_size<T: HasPublic>(key: &EcKeyRef<T>) -> i32 {
    i32::try_from(key.group().degree().div_ceil(8)).unwrap_or(i32::MAX)
}

fn sign(key: &PrivateKey, input: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let (_, digest) = algorithm(key)?;
    if key.pkey().id() == Id::RSA {
        return Ok(Signer::new(digest, key.pkey())?.sign_oneshot_to_vec(input)?);
    }
    let ec = key.pkey().ec_key()?;
    let signature = EcdsaSig::sign(&hash(digest, input)?, &ec)?;
    let size = coordinate_size(&ec);
    Ok([signature.r().to_vec_padded(size)?, signature.s().to_vec_padded(size)?].concat())
}

fn hs256(key: &[u8], input: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = PKey::hmac(key)?;
    Ok(Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(input)?)
}

#[cfg(test)]
mod tests {
    use openssl::ec::{EcGroup, EcKey};
    use openssl::pkey::Private;
    use openssl::rsa::Rsa;

    use super::*;
    use crate::crypto::base64url_decode;
    use crate::model::KeySpec;

    fn number(text: &str) -> BigNum {
        BigNum::from_slice(&base64url_decode(text).unwrap()).unwrap()
    }

    fn private(key: PKey<Private>) -> PrivateKey {
        PrivateKey::from_pem(&key.private_key_to_pem_pkcs8().unwrap(), None).unwrap()
    }

    /// The key of RFC 7515 section A.2.1.
    fn rsa_sample() -> PrivateKey {
        let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ\
                 S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Ca\
                 pHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h\
                 4FRWyuXpoQ";
        let d = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_G\
                 O-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjud\
                 U2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1Dh\
                 OVRuOopznQ";
        let p = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2\
                 KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc";
        let q = "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_\
                 HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc";
        let dp = "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vm\
                  AktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0";
        let dq = "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9c\
                  jz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU";
        let qi = "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnb\
                  JtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U";
        let [n, e, d, p, q, dp, dq, qi] = [n, "AQAB", d, p, q, dp, dq, qi].map(number);
        private(PKey::from_rsa(Rsa::from_private_components(n, e, d, p, q, dp, dq, qi).unwrap()).unwrap())
    }

    /// The key of RFC 7515 section A.3.1.
    fn ec_sample() -> PrivateKey {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let x = number("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
        let y = number("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let public = EcKey::from_public_key_affine_coordinates(&group, &x, &y).unwrap();
        let d = number("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI");
        let key = EcKey::from_private_components(&group, &d, public.public_key()).unwrap();
        private(PKey::from_ec_key(key).unwrap())
    }

    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    #[test]
    fn thumbprint_of_rfc_7638_section_3_1() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3\
                 oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu\
                 6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awa\
                 pJzKnqDKgw";
        let rsa = Rsa::from_public_components(number(n), number("AQAB")).unwrap();
        let jwk = public_jwk(&PKey::from_rsa(rsa).unwrap()).unwrap().unwrap();
        assert_eq!(jwk.to_string(), format!(r#"{{"e":"AQAB","kty":"RSA","n":"{n}"}}"#));
        assert_eq!(thumbprint_of(&jwk).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn rs256_of_rfc_7515_section_a_2() {
        let expected = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9\
                        uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB\
                        _eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq\
                        Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let signature = sign(&rsa_sample(), format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}").as_bytes()).unwrap();
        assert_eq!(base64url(&signature), expected);
    }

    #[test]
    fn hs256_of_rfc_7515_section_a_1() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let input = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}");
        let signature = hs256(&base64url_decode(key).unwrap(), input.as_bytes()).unwrap();
        assert_eq!(base64url(&signature), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn jwk_of_rfc_7515_section_a_3() {
        let expected = r#"{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
        assert_eq!(jwk(&ec_sample()).unwrap().to_string(), expected);
    }

    #[test]
    fn ecdsa_signatures_are_two_numbers_of_fixed_length() {
        for (curve, name, size) in [("P-256", "ES256", 64), ("P-384", "ES384", 96), ("P-521", "ES512", 132)] {
            let key = PrivateKey::generate(&KeySpec::Ec { curve: curve.to_owned() }).unwrap();
            let (algorithm, digest) = algorithm(&key).unwrap();
            assert_eq!(algorithm, name);
            let signature = sign(&key, b"message").unwrap();
            assert_eq!(signature.len(), size);
            let [r, s] = [&signature[..size / 2], &signature[size / 2..]].map(|half| BigNum::from_slice(half).unwrap());
            let signature = EcdsaSig::from_private_components(r, s).unwrap();
            let digest = hash(digest, b"message").unwrap();
            assert!(signature.verify(&digest, &key.pkey().ec_key().unwrap()).unwrap());
        }
    }

    fn parts(message: &Value) -> (Value, Vec<u8>, String) {
        let text = |member: &str| message[member].as_str().unwrap();
        let decoded = |member| base64url_decode(text(member)).unwrap();
        let input = format!("{}.{}", text("protected"), text("payload"));
        assert_eq!(message.as_object().unwrap().len(), 3);
        (serde_json::from_slice(&decoded("protected")).unwrap(), decoded("payload"), input)
    }

    #[test]
    fn message_to_the_ca_names_the_key_once() {
        let key = rsa_sample();
        let kid = "https://ca.example/acct/1";
        let message = sign_jws(&key, "https://ca.example/new", Some("n0"), KeyRef::Kid(kid), b"").unwrap();
        let message = serde_json::from_str::<Value>(&message).unwrap();
        let (header, payload, input) = parts(&message);
        assert_eq!(header, json!({ "alg": "RS256", "kid": kid, "nonce": "n0", "url": "https://ca.example/new" }));
        assert!(payload.is_empty());
        assert_eq!(message["signature"], base64url(&sign(&key, input.as_bytes()).unwrap()));
        let message = sign_jws(&ec_sample(), "https://ca.example/new", None, KeyRef::Jwk, b"{}").unwrap();
        let (header, payload, _) = parts(&serde_json::from_str(&message).unwrap());
        let expected = json!({ "alg": "ES256", "jwk": jwk(&ec_sample()).unwrap(), "url": "https://ca.example/new" });
        assert_eq!((header, payload), (expected, b"{}".to_vec()));
    }

    #[test]
    fn external_account_binding_signs_the_account_key() {
        let message = sign_eab(&rsa_sample(), "https://ca.example/new", "kid-1", b"secret").unwrap();
        let (header, payload, input) = parts(&message);
        assert_eq!(header, json!({ "alg": "HS256", "kid": "kid-1", "url": "https://ca.example/new" }));
        assert_eq!(payload, jwk(&rsa_sample()).unwrap().to_string().as_bytes());
        assert_eq!(message["signature"], base64url(&hs256(b"secret", input.as_bytes()).unwrap()));
    }

    #[test]
    fn a_new_key_speaks_for_itself_in_a_key_change() {
        // RFC 8555 section 7.3.5: "alg", "jwk" and the "url" of the outer message, no "nonce", no "kid".
        let url = "https://example.com/acme/key-change";
        let account = "https://example.com/acme/acct/evOfKhNU60wg";
        let inner = sign_key_change(&ec_sample(), &rsa_sample(), url, account).unwrap();
        let (header, payload, input) = parts(&inner);
        assert_eq!(header, json!({ "alg": "ES256", "jwk": jwk(&ec_sample()).unwrap(), "url": url }));
        let said: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(said, json!({ "account": account, "oldKey": jwk(&rsa_sample()).unwrap() }));
        let signature = base64url_decode(inner["signature"].as_str().unwrap()).unwrap();
        assert!(crate::testing::issuer::verifies(&header["jwk"], input.as_bytes(), &signature));
        let outer =
            sign_jws(&rsa_sample(), url, Some("n0"), KeyRef::Kid(account), inner.to_string().as_bytes()).unwrap();
        let (header, payload, _) = parts(&serde_json::from_str(&outer).unwrap());
        assert_eq!(header, json!({ "alg": "RS256", "kid": account, "nonce": "n0", "url": url }));
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), inner);
    }

    #[test]
    fn other_keys_are_no_account_keys() {
        for curve in ["Ed25519", "brainpoolP256r1"] {
            let key = PrivateKey::generate(&KeySpec::Ec { curve: curve.to_owned() }).unwrap();
            assert!(matches!(jwk(&key), Err(CryptoError::Unsuitable { .. })), "{curve}");
            assert!(sign_jws(&key, "u", None, KeyRef::Kid("k"), b"").is_err());
        }
    }
}
