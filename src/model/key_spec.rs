//! The types of key that a domain has certificates for (`MDPrivateKeys`).

use serde::{Deserialize, Serialize};

/// A type of key. Each type has a certificate of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum KeySpec {
    /// The default: RSA of [`KeySpec::RSA_BITS`].
    Default,
    /// RSA with a modulus of this length.
    #[serde(rename = "RSA")]
    Rsa {
        /// Bits of the modulus.
        #[serde(default = "default_bits")]
        bits: u32,
    },
    /// An elliptic curve, as the administrator wrote it.
    #[serde(rename = "EC")]
    Ec {
        /// Name of the curve, as OpenSSL or NIST call it.
        curve: String,
    },
}

/// The types of key of a domain. Written as one object or as an array of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMany", into = "OneOrMany")]
pub struct KeySpecs(pub Vec<KeySpec>);

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<KeySpec>),
    One(KeySpec),
}

/// An error in the arguments of `MDPrivateKeys`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeySpecError {
    /// There are no arguments.
    #[error("needs to specify the private key type")]
    Missing,
    /// `Default` stands beside other types.
    #[error("'Default' allows no other parameter")]
    DefaultNotAlone,
    /// An RSA length is below the minimum.
    #[error("'{0}' must be 2048 or higher in order to be considered safe.")]
    TooShort(String),
    /// An RSA length is too large to be counted.
    #[error("'{0}' is too large for an RSA key length. Be reasonable.")]
    TooLong(String),
    /// A type is given twice.
    #[error("two keys of type '{0}' are not possible.")]
    Twice(String),
}

fn default_bits() -> u32 {
    KeySpec::RSA_BITS
}

impl KeySpec {
    /// Length of an RSA key when none is given, and the shortest that is accepted.
    pub const RSA_BITS: u32 = 2048;

    /// Returns the part of file names between `privkey` or `pubcert` and `.pem`: empty for RSA, else `.` and the curve.
    #[must_use]
    pub fn file_suffix(&self) -> String {
        match self {
            Self::Ec { curve } if !curve.eq_ignore_ascii_case("rsa") => format!(".{}", curve.to_ascii_lowercase()),
            _ => String::new(),
        }
    }

    /// Returns the name of the certificate in JSON.
    #[must_use]
    pub fn json_name(&self) -> &str {
        match self {
            Self::Ec { curve } => curve,
            _ => "rsa",
        }
    }
}

impl KeySpecs {
    /// Returns the key types of a domain for which none are configured.
    #[must_use]
    pub fn standard() -> Self {
        Self(vec![KeySpec::Default])
    }

    /// Parses the arguments of `MDPrivateKeys`.
    ///
    /// # Errors
    /// See [`KeySpecError`].
    pub fn parse(args: &[&str]) -> Result<Self, KeySpecError> {
        let mut specs: Vec<KeySpec> = Vec::new();
        let mut args_left = args.iter().copied().peekable();
        while let Some(word) = args_left.next() {
            let lower = word.to_ascii_lowercase();
            if lower == "default" && args.len() > 1 {
                return Err(KeySpecError::DefaultNotAlone);
            }
            let spec = match lower.strip_prefix("rsa") {
                _ if lower == "default" => KeySpec::Default,
                Some("") => {
                    let bits = args_left.next_if(|next| next.starts_with(|c: char| c.is_ascii_digit()));
                    KeySpec::Rsa { bits: bits.map_or(Ok(KeySpec::RSA_BITS), parse_bits)? }
                }
                Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => KeySpec::Rsa { bits: parse_bits(bits)? },
                _ => KeySpec::Ec { curve: word.to_owned() },
            };
            if specs.iter().any(|known| known.json_name().eq_ignore_ascii_case(spec.json_name())) {
                let name = if matches!(spec, KeySpec::Rsa { .. }) { "RSA" } else { word };
                return Err(KeySpecError::Twice(name.to_owned()));
            }
            specs.push(spec);
        }
        if specs.is_empty() { Err(KeySpecError::Missing) } else { Ok(Self(specs)) }
    }
}

fn parse_bits(text: &str) -> Result<u32, KeySpecError> {
    match text.parse::<i32>() {
        Err(_) | Ok(i32::MAX) => Err(KeySpecError::TooLong(text.to_owned())),
        Ok(bits) if bits < 2048 => Err(KeySpecError::TooShort(text.to_owned())),
        Ok(bits) => Ok(bits.unsigned_abs()),
    }
}

impl From<OneOrMany> for KeySpecs {
    fn from(specs: OneOrMany) -> Self {
        match specs {
            OneOrMany::Many(specs) => Self(specs),
            OneOrMany::One(spec) => Self(vec![spec]),
        }
    }
}

impl From<KeySpecs> for OneOrMany {
    fn from(specs: KeySpecs) -> Self {
        match <[KeySpec; 1]>::try_from(specs.0) {
            Ok([spec]) => Self::One(spec),
            Err(specs) => Self::Many(specs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ec(curve: &str) -> KeySpec {
        KeySpec::Ec { curve: curve.to_owned() }
    }

    #[test]
    fn arguments_of_the_directive() {
        let rsa = |bits| KeySpec::Rsa { bits };
        let rows: [(&[&str], _); 14] = [
            (&["Default"], Ok(vec![KeySpec::Default])),
            (&["RSA"], Ok(vec![rsa(2048)])),
            (&["rsa", "3072"], Ok(vec![rsa(3072)])),
            (&["rsa4096"], Ok(vec![rsa(4096)])),
            (&["secp384r1", "rsa2048"], Ok(vec![ec("secp384r1"), rsa(2048)])),
            (&["RSA", "P-256"], Ok(vec![rsa(2048), ec("P-256")])),
            (&["rsaish"], Ok(vec![ec("rsaish")])),
            (&[], Err(KeySpecError::Missing)),
            (&["Default", "RSA"], Err(KeySpecError::DefaultNotAlone)),
            (&["RSA", "1024"], Err(KeySpecError::TooShort("1024".into()))),
            (&["rsa2047"], Err(KeySpecError::TooShort("2047".into()))),
            (&["RSA", "99999999999"], Err(KeySpecError::TooLong("99999999999".into()))),
            (&["RSA", "rsa4096"], Err(KeySpecError::Twice("RSA".into()))),
            (&["p-256", "secp384r1", "P-256"], Err(KeySpecError::Twice("P-256".into()))),
        ];
        for (args, expected) in rows {
            assert_eq!(KeySpecs::parse(args).map(|specs| specs.0), expected, "{args:?}");
        }
    }

    #[test]
    fn stored_form_is_an_object_or_an_array() {
        let one = KeySpecs(vec![KeySpec::Default]);
        assert_eq!(serde_json::to_string(&one).unwrap(), r#"{"type":"Default"}"#);
        let two = KeySpecs(vec![KeySpec::Rsa { bits: 3072 }, ec("P-256")]);
        let text = r#"[{"type":"RSA","bits":3072},{"type":"EC","curve":"P-256"}]"#;
        assert_eq!(serde_json::to_string(&two).unwrap(), text);
        assert_eq!(serde_json::from_str::<KeySpecs>(text).unwrap(), two);
        assert_eq!(serde_json::from_str::<KeySpecs>(r#"{"type":"Default"}"#).unwrap(), one);
    }

    #[test]
    fn files_are_named_after_the_curve_in_lower_case() {
        assert_eq!(KeySpec::Default.file_suffix(), "");
        assert_eq!(ec("P-256").file_suffix(), ".p-256");
        assert_eq!(ec("P-256").json_name(), "P-256");
        assert_eq!(ec("RSA").file_suffix(), "");
    }
}
