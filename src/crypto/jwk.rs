//! Private keys in the JSON form of other ACME clients (RFC 7517, RFC 7518 section 6).

use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::RsaPrivateKeyBuilder;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{CryptoError, PrivateKey, base64url_decode};

/// Why a text is not the private key of an account. The text of the error never has a secret.
#[derive(Debug, thiserror::Error)]
pub enum JwkError {
    /// The text is not JSON, or not an object.
    #[error("it is not a JSON Web Key")]
    Form,
    /// The key lacks a member that its type requires.
    #[error("its member '{0}' is missing or not base64url; a private key of this type must have it")]
    Member(&'static str),
    /// The key is of a type that accounts cannot have here.
    #[error("it is of type {0}; accounts have RSA keys, or keys on P-256, P-384 or P-521")]
    Type(String),
    /// The private half belongs to another public half.
    #[error("its private and public halves do not fit each other")]
    Torn,
    /// The text is not a PEM key either.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// Reads the key of an account, from JSON or from PEM that is not encrypted.
///
/// # Errors
/// See [`JwkError`].
pub fn account_key(text: &[u8]) -> Result<PrivateKey, JwkError> {
    let is_json = text.trim_ascii_start().starts_with(b"{");
    let key = if is_json { from_jwk(text)? } else { PrivateKey::from_pem(text, None)? };
    super::jwk(&key)?;
    Ok(key)
}

fn from_jwk(text: &[u8]) -> Result<PrivateKey, JwkError> {
    let jwk: Value = serde_json::from_slice(text).map_err(|_| JwkError::Form)?;
    let word = |name: &str| jwk[name].as_str();
    let key = match (word("kty"), word("crv")) {
        (None, _) => return Err(JwkError::Form),
        (Some("RSA"), _) => rsa(&jwk)?,
        (Some("EC"), Some("P-256")) => ec(&jwk, Nid::X9_62_PRIME256V1)?,
        (Some("EC"), Some("P-384")) => ec(&jwk, Nid::SECP384R1)?,
        (Some("EC"), Some("P-521")) => ec(&jwk, Nid::SECP521R1)?,
        (Some(kty), crv) => return Err(JwkError::Type(crv.unwrap_or(kty).escape_default().to_string())),
    };
    Ok(PrivateKey::from_pkey(key))
}

fn number(jwk: &Value, name: &'static str) -> Result<BigNum, JwkError> {
    let bytes = jwk[name].as_str().and_then(base64url_decode).map(Zeroizing::new);
    let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or(JwkError::Member(name))?;
    Ok(BigNum::from_slice(&bytes).map_err(CryptoError::from)?)
}

fn rsa(jwk: &Value) -> Result<PKey<Private>, JwkError> {
    let number = |name| number(jwk, name);
    let n = number("n")?;
    let e = number("e")?;
    let d = number("d")?;
    let factors = (number("p")?, number("q")?);
    let exponents = (number("dp")?, number("dq")?, number("qi")?);
    let build = || {
        let key = RsaPrivateKeyBuilder::new(n, e, d)?.set_factors(factors.0, factors.1)?;
        Ok(key.set_crt_params(exponents.0, exponents.1, exponents.2)?.build())
    };
    let key = build().map_err(|errors: openssl::error::ErrorStack| CryptoError::from(errors))?;
    if !key.check_key().unwrap_or(false) {
        return Err(JwkError::Torn);
    }
    Ok(PKey::from_rsa(key).map_err(CryptoError::from)?)
}

fn ec(jwk: &Value, curve: Nid) -> Result<PKey<Private>, JwkError> {
    let x = number(jwk, "x")?;
    let y = number(jwk, "y")?;
    let d = number(jwk, "d")?;
    let group = EcGroup::from_curve_name(curve).map_err(CryptoError::from)?;
    // OpenSSL refuses points that are not on the curve, and numbers that are out of range.
    let public = EcKey::from_public_key_affine_coordinates(&group, &x, &y).map_err(|_| JwkError::Torn)?;
    let key = EcKey::from_private_components(&group, &d, public.public_key()).map_err(|_| JwkError::Torn)?;
    key.check_key().map_err(|_| JwkError::Torn)?;
    Ok(PKey::from_ec_key(key).map_err(CryptoError::from)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crypto::{jwk, thumbprint};
    use crate::model::KeySpec;

    /// RFC 7515 section A.2.1.
    fn rsa_sample() -> Value {
        json!({
            "kty": "RSA",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ\
                  S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Ca\
                  pHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h\
                  4FRWyuXpoQ",
            "e": "AQAB",
            "d": "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_G\
                  O-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjud\
                  U2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1Dh\
                  OVRuOopznQ",
            "p": "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2\
                  KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
            "q": "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_\
                  HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
            "dp": "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vm\
                  AktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
            "dq": "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9c\
                  jz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
            "qi": "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnb\
                  JtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
        })
    }

    /// RFC 7515 section A.4.1, on P-521.
    fn p521_sample() -> Value {
        json!({
            "kty": "EC", "crv": "P-521",
            "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
            "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
            "d": "AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C",
        })
    }

    /// RFC 7517 section A.2: a key on P-256 with further members.
    fn p256_sample() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
            "use": "enc", "kid": "1",
        })
    }

    /// RFC 8037 section A.1.
    fn ed25519_sample() -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519",
            "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        })
    }

    fn read(jwk: &Value) -> Result<PrivateKey, JwkError> {
        account_key(jwk.to_string().as_bytes())
    }

    #[test]
    fn samples_of_the_rfcs_are_read() {
        for sample in [rsa_sample(), p521_sample(), p256_sample()] {
            let key = read(&sample).unwrap();
            for (member, value) in jwk(&key).unwrap().as_object().unwrap() {
                assert_eq!(*value, sample[member], "{member}");
            }
        }
        assert_eq!(thumbprint(&read(&p256_sample()).unwrap()).unwrap(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }

    #[test]
    fn what_is_no_private_key_of_an_account_is_refused_with_the_reason() {
        let without = |mut sample: Value, member: &str| {
            sample.as_object_mut().unwrap().shift_remove(member);
            sample
        };
        let with = |mut sample: Value, member: &str, value: &str| {
            sample[member] = value.into();
            sample
        };
        let other_y = "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj3";
        let rows = [
            (ed25519_sample(), "it is of type Ed25519; "),
            (with(p256_sample(), "crv", "secp256k1"), "it is of type secp256k1; "),
            (json!({ "kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ" }), "it is of type oct; "),
            (json!({ "keys": [p256_sample()] }), "it is not a JSON Web Key"),
            (without(p256_sample(), "d"), "its member 'd' is missing"),
            (without(rsa_sample(), "p"), "its member 'p' is missing"),
            (with(rsa_sample(), "d", ""), "its member 'd' is missing"),
            (with(rsa_sample(), "q", p521_sample()["d"].as_str().unwrap()), "halves do not fit"),
            (with(p521_sample(), "y", other_y), "halves do not fit"),
            (with(p256_sample(), "d", "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAI"), "halves do not fit"),
        ];
        for (sample, expected) in rows {
            let error = read(&sample).expect_err(expected).to_string();
            assert!(error.starts_with(expected) || error.contains(expected), "{sample}: {error}");
        }
        for text in [&b"{"[..], b"", b"nonsense", b"[]"] {
            assert!(account_key(text).is_err());
        }
    }

    #[test]
    fn pem_is_read_too() {
        let generate = |curve: &str| PrivateKey::generate(&KeySpec::Ec { curve: curve.to_owned() }).unwrap();
        let key = generate("P-384");
        let read = account_key(&key.to_pem().unwrap()).unwrap();
        assert_eq!(jwk(&read).unwrap(), jwk(&key).unwrap());
        let encrypted = key.to_encrypted_pem(b"secret").unwrap();
        assert!(matches!(account_key(&encrypted), Err(JwkError::Crypto(CryptoError::PassPhraseMissing))));
        let unfit = account_key(&generate("Ed25519").to_pem().unwrap()).unwrap_err().to_string();
        assert_eq!(unfit, "a key of type ED25519 cannot sign for an account");
    }
}
