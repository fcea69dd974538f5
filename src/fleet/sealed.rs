//! Sealing of records (AES-256-GCM): whoever has the engine reads and changes nothing.

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::{Fence, Key};
use crate::crypto::{CryptoError, gcm_open, gcm_seal, random_bytes, sha256};

/// The first byte of a record: the form of what follows.
const FORM: u8 = 1;
const KEY: usize = 32;
const ID: usize = 4;
const NONCE: usize = 12;
/// The most keys of a file.
const MOST_KEYS: usize = 8;

/// The keys of a fleet: the first one seals, all open. Has no printable form and is wiped from memory.
pub struct Seal {
    fleet: String,
    keys: Vec<([u8; ID], Zeroizing<Vec<u8>>)>,
}

/// Why a record or a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file has no key.
    #[error("it has no key; 'a2md fleet keygen' makes one")]
    NoKey,
    /// A line of the file is no key.
    #[error("line {0} is not 32 bytes in base64; 'a2md fleet keygen' makes a key")]
    NotAKey(usize),
    /// The file has more keys than are used.
    #[error("it has more than {MOST_KEYS} keys; remove old ones")]
    TooMany,
    /// The record was sealed with a key that the node does not have.
    #[error("it is sealed with a key that MDFleetKeyFile does not have")]
    OtherKey,
    /// The record has a form that this release does not know.
    #[error("it has a form that this release does not know")]
    OtherForm,
    /// The record is damaged, or was put in the place of another.
    #[error("it is damaged, or belongs to another place")]
    Damaged,
    /// OpenSSL failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl Seal {
    /// Reads the keys of a fleet from the lines of its key file; empty lines and lines with `#` in front do not count.
    ///
    /// # Errors
    /// If a line is no key, or there are none or too many.
    pub fn parse(fleet: &str, text: &str) -> Result<Self, SealError> {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let mut keys = Vec::new();
        for (at, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let key = Zeroizing::new(BASE64.decode(line.as_bytes()).map_err(|_| SealError::NotAKey(at))?);
            if key.len() != KEY {
                return Err(SealError::NotAKey(at));
            }
            let digest = sha256(&key)?;
            keys.push(([digest[0], digest[1], digest[2], digest[3]], key));
        }
        match keys.len() {
            0 => Err(SealError::NoKey),
            1..=MOST_KEYS => Ok(Self { fleet: fleet.to_owned(), keys }),
            _ => Err(SealError::TooMany),
        }
    }

    /// Makes a line with a new key.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn generate() -> Result<Zeroizing<String>, CryptoError> {
        let key = Zeroizing::new(random_bytes::<KEY>()?);
        Ok(Zeroizing::new(BASE64.encode(&*key)))
    }

    /// Seals the content of a record. `fence` is that of the claim under which it is written; 0 for none.
    ///
    /// # Errors
    /// Those of OpenSSL.
    pub fn seal(&self, key: &Key, fence: Fence, content: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (id, secret) = &self.keys[0];
        let nonce = random_bytes::<NONCE>()?;
        let sealed = gcm_seal(secret, &nonce, &self.place(key, fence), content)?;
        Ok([&[FORM][..], id, &nonce, &sealed].concat())
    }

    /// Opens a record that was read at `key` with this fence.
    ///
    /// # Errors
    /// If it was sealed for another place or with another key, or is damaged.
    pub fn open(&self, key: &Key, fence: Fence, record: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (form, rest) = record.split_first().ok_or(SealError::Damaged)?;
        if *form != FORM {
            return Err(SealError::OtherForm);
        }
        let (id, rest) = rest.split_at_checked(ID).ok_or(SealError::Damaged)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE).ok_or(SealError::Damaged)?;
        let (_, secret) = self.keys.iter().find(|(own, _)| own == id).ok_or(SealError::OtherKey)?;
        gcm_open(secret, nonce, &self.place(key, fence), sealed).map(Zeroizing::new).ok_or(SealError::Damaged)
    }

    /// The place of a record, which is bound to its content. Each part has its length in front.
    fn place(&self, key: &Key, fence: Fence) -> Vec<u8> {
        let parts = [self.fleet.as_bytes(), key.as_str().as_bytes(), &fence.0.to_be_bytes()];
        parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes(), *part].concat()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_at_its_place_only() {
        let line = Seal::generate().unwrap();
        let seal = Seal::parse("md", &line).unwrap();
        let key = Key::new("cert", "a.test");
        let record = seal.seal(&key, Fence(7), b"content").unwrap();
        assert!(!record.windows(7).any(|part| part == b"content"));
        assert_eq!(seal.open(&key, Fence(7), &record).unwrap().as_slice(), b"content");
        let other = Seal::parse("other", &line).unwrap();
        assert!(matches!(other.open(&key, Fence(7), &record), Err(SealError::Damaged)));
        for (key, fence) in [(Key::new("cert", "b.test"), 7), (Key::new("order", "a.test"), 7), (key.clone(), 8)] {
            assert!(matches!(seal.open(&key, Fence(fence), &record), Err(SealError::Damaged)), "{key} {fence}");
        }
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 1;
            assert!(seal.open(&key, Fence(7), &changed).is_err(), "{at}");
            assert!(seal.open(&key, Fence(7), &record[..at]).is_err(), "{at}");
        }
        assert_ne!(record, seal.seal(&key, Fence(7), b"content").unwrap(), "a nonce is used once");
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, new) = (Seal::generate().unwrap(), Seal::generate().unwrap());
        let key = Key::new("cert", "a.test");
        let by_old = Seal::parse("md", &old).unwrap().seal(&key, Fence(0), b"x").unwrap();
        let both = Seal::parse("md", &format!("# keys\n\n{}\n {} \n", *new, *old)).unwrap();
        assert_eq!(both.open(&key, Fence(0), &by_old).unwrap().as_slice(), b"x");
        let by_new = both.seal(&key, Fence(0), b"x").unwrap();
        let only_old = Seal::parse("md", &old).unwrap();
        assert!(matches!(only_old.open(&key, Fence(0), &by_new), Err(SealError::OtherKey)));
    }

    #[test]
    fn a_wrong_line_of_the_key_file_is_named() {
        let key = Seal::generate().unwrap();
        for (text, phrase) in [
            (String::new(), "no key"),
            ("# comment\n".to_owned(), "no key"),
            ("secret".to_owned(), "line 1 "),
            (format!("{}\nQUJD\n", *key), "line 2 "),
            (format!("{}\n", *key).repeat(9), "more than 8"),
        ] {
            let err = Seal::parse("md", &text).err().map(|err| err.to_string()).unwrap_or_default();
            assert!(err.contains(phrase), "{text}: {err}");
        }
    }
}
