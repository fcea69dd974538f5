//! The secret of a store, in the file `md_store.json` together with the store's version.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::StoreError;
use super::dir::Dir;

/// The version of the layout that is written.
pub(super) const VERSION: f64 = 3.0;

/// Name of the file with the version and the secret of a store, by which a store is known.
pub const FILE: &str = "md_store.json";
/// The mode of the file: who reads it can decrypt the keys of the store.
pub const MODE: u32 = 0o600;
const SIZE: usize = 48;

/// The pass phrase of all private keys that are stored encrypted: raw bytes, of any value. Has no printable form and is
/// wiped from memory.
pub struct Secret(Zeroizing<[u8; SIZE]>);

/// The content of `md_store.json`.
pub(super) struct Header {
    pub(super) secret: Secret,
    /// Version of the layout as found.
    pub(super) version: f64,
    /// The whole document.
    pub(super) document: Map<String, Value>,
    /// Whether the file has just been made.
    pub(super) is_new: bool,
}

impl Secret {
    /// Draws a new secret.
    pub(super) fn generate() -> std::io::Result<Self> {
        let mut bytes = Zeroizing::new([0; SIZE]);
        rustix::rand::getrandom(bytes.as_mut_slice(), rustix::rand::GetRandomFlags::empty())?;
        Ok(Self(bytes))
    }

    /// Makes the empty secret, which encrypts nothing.
    pub(super) fn absent() -> Self {
        Self(Zeroizing::new([0; SIZE]))
    }

    fn from_text(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// The pass phrase.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Header {
    /// Reads the file, or writes one with a new secret into a directory that has none.
    ///
    /// # Errors
    /// An existing file that cannot be parsed is never replaced: the keys that it protects would be lost.
    pub(super) fn load_or_create(dir: &Dir) -> Result<Self, StoreError> {
        let mut is_new = false;
        loop {
            if let Some(header) = Self::load(dir)? {
                return Ok(Self { is_new, ..header });
            }
            let failed = |error| StoreError::io("draw a key for", dir.path().join(FILE), error);
            let secret = Secret::generate().map_err(failed)?;
            let key = BASE64URL_NOPAD.encode(secret.as_bytes());
            let document = json!({ "store": { "version": VERSION }, "key": key });
            // Another process may open the same new store: the first secret wins.
            is_new = dir.create(FILE, MODE, &pretty(&document))?;
        }
    }

    /// Reads the file if there is one.
    ///
    /// # Errors
    /// If it cannot be parsed.
    pub(super) fn load(dir: &Dir) -> Result<Option<Self>, StoreError> {
        let data = dir.read(FILE)?.map(Zeroizing::new);
        data.map(|data| Self::parse(dir, &data)).transpose()
    }

    fn parse(dir: &Dir, data: &[u8]) -> Result<Self, StoreError> {
        let path = || dir.path().join(FILE);
        let damaged = |why| StoreError::Damaged { path: path(), why };
        let document: Map<String, Value> =
            serde_json::from_slice(data).map_err(|_| damaged("it is not a JSON object"))?;
        let version = document.get("store").and_then(|store| store.get("version")).and_then(Value::as_f64);
        let version = version.filter(|version| *version > 0.0).unwrap_or(1.0);
        if version > VERSION {
            return Err(StoreError::Newer { path: path(), version, known: VERSION });
        }
        let key = document.get("key").and_then(Value::as_str).ok_or_else(|| damaged("it has no key"))?;
        let secret = Secret::from_text(key).ok_or_else(|| damaged("its key is not 48 bytes in base64url"))?;
        Ok(Self { secret, version, document, is_new: false })
    }

    /// Writes the file with the current version and without members of earlier versions.
    pub(super) fn upgrade(mut document: Map<String, Value>, dir: &Dir) -> Result<(), StoreError> {
        document.shift_remove("version");
        match document.get_mut("store").and_then(Value::as_object_mut) {
            Some(store) => drop(store.insert("version".to_owned(), VERSION.into())),
            None => drop(document.insert("store".to_owned(), json!({ "version": VERSION }))),
        }
        dir.write(FILE, 0o600, &pretty(&document))
    }
}

/// Formats JSON as all files of the store have it: two blanks, no newline at the end.
pub(super) fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("maps with text keys are always JSON")
}

#[cfg(test)]
mod tests {
    use super::super::dir::Links;
    use super::*;

    fn scene(text: Option<&str>) -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        if let Some(text) = text {
            std::fs::write(temp.path().join(FILE), text).unwrap();
        }
        let dir = Dir::open(temp.path(), Links::Follow).unwrap();
        (temp, dir)
    }

    #[test]
    fn a_new_store_gets_a_secret_that_is_found_again() {
        let (temp, dir) = scene(None);
        let made = Header::load_or_create(&dir).unwrap();
        let found = Header::load_or_create(&dir).unwrap();
        assert_eq!(made.secret.as_bytes(), found.secret.as_bytes());
        assert!(made.secret.as_bytes().iter().any(|byte| *byte != 0));
        let key = BASE64URL_NOPAD.encode(made.secret.as_bytes());
        let text = format!("{{\n  \"store\": {{\n    \"version\": 3.0\n  }},\n  \"key\": \"{key}\"\n}}");
        assert_eq!(std::fs::read_to_string(temp.path().join(FILE)).unwrap(), text);
    }

    #[test]
    fn a_damaged_or_newer_file_is_refused_and_kept() {
        let key = "A".repeat(64);
        let rows = [
            (String::new(), "not a JSON object"),
            ("{\"store\":{".to_owned(), "not a JSON object"),
            ("[]".to_owned(), "not a JSON object"),
            (r#"{"store":{"version":3.0}}"#.to_owned(), "has no key"),
            (r#"{"store":{"version":3.0},"key":7}"#.to_owned(), "has no key"),
            (r#"{"store":{"version":3.0},"key":"QUJD"}"#.to_owned(), "not 48 bytes"),
            (r#"{"store":{"version":3.0},"key":"=/+"}"#.to_owned(), "not 48 bytes"),
            (format!(r#"{{"store":{{"version":3.1}},"key":"{key}"}}"#), "has version 3.1, newer than the 3.0"),
        ];
        for (text, expected) in rows {
            let (temp, dir) = scene(Some(&text));
            let error = Header::load_or_create(&dir).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected) && error.contains("move"), "{text}: {error}");
            assert_eq!(std::fs::read_to_string(temp.path().join(FILE)).unwrap(), text);
        }
    }

    #[test]
    fn version_is_any_number_and_one_if_absent() {
        let key = "A".repeat(64);
        for (store, version) in
            [(r#"{"version":3}"#, 3.0), (r#"{"version":2.0}"#, 2.0), (r#"{"version":0}"#, 1.0), ("{}", 1.0)]
        {
            let (_temp, dir) = scene(Some(&format!(r#"{{"store":{store},"key":"{key}"}}"#)));
            let header = Header::load_or_create(&dir).unwrap();
            assert!((header.version - version).abs() < f64::EPSILON, "{store}");
        }
    }
}
