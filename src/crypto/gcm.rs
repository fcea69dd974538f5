//! AES-256-GCM (NIST SP 800-38D), for contents that others keep.

use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};

use super::CryptoError;

const TAG: usize = 16;

/// Encrypts a content and binds it to `place`; the tag is at the end. A nonce must not be used twice with a key.
///
/// # Errors
/// Those of OpenSSL.
pub fn gcm_seal(key: &[u8], nonce: &[u8], place: &[u8], content: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut tag = [0; TAG];
    let mut sealed = encrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), place, content, &mut tag)?;
    sealed.extend(tag);
    Ok(sealed)
}

/// Decrypts a content; `None` if it is not what was sealed for this place.
#[must_use]
pub fn gcm_open(key: &[u8], nonce: &[u8], place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (sealed, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG)?)?;
    decrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), place, sealed, tag).ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Test case 16 of the specification of GCM (McGrew and Viega, appendix B).
    #[test]
    fn a_test_vector_of_the_specification() {
        let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
        let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let nonce = hex("cafebabefacedbaddecaf888");
        let place = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let content = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let expected = hex(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
        );
        let sealed = gcm_seal(&key, &nonce, &place, &content).unwrap();
        assert_eq!(sealed, expected);
        assert_eq!(gcm_open(&key, &nonce, &place, &sealed).unwrap(), content);
        assert_eq!(gcm_open(&key, &nonce, b"", &sealed), None);
        assert_eq!(gcm_open(&key, &nonce, &place, &sealed[..TAG - 1]), None);
    }
}
