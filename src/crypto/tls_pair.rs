//! Pairs of a key and its certificates for TLS handshakes: decoded once, used by many.

use std::ffi::c_void;
use std::{fmt, ptr};

use foreign_types::ForeignType;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::X509;

use super::{Chain, CryptoError, PrivateKey, Summary};

/// A private key, the certificate for it, and those that lead to a root. OpenSSL wipes the key when the last user drops it.
pub struct TlsPair {
    /// `None` if the certificate shares it.
    key: Option<PKey<Private>>,
    leaf: X509,
    issuers: Stack<X509>,
    sha1: [u8; 20],
    summary: Summary,
}

/// Pointers for OpenSSL's functions, good as long as the [`TlsPair`] lives.
#[derive(Debug, Clone, Copy)]
pub struct TlsPointers {
    /// `X509 *`
    pub leaf: *mut c_void,
    /// `EVP_PKEY *`, or NULL if the certificate shares it
    pub key: *mut c_void,
    /// `STACK_OF(X509) *`: the issuers only
    pub issuers: *mut c_void,
}

impl TlsPair {
    /// Decodes the certificates.
    ///
    /// # Errors
    /// If OpenSSL cannot read a certificate, or the key belongs to another one.
    pub fn new(key: &PrivateKey, chain: &Chain) -> Result<Self, CryptoError> {
        let leaf = chain.leaf();
        if !key.fits(leaf) {
            return Err(key.unsuitable("be used with another's certificate"));
        }
        let mut issuers = Stack::new()?;
        for issuer in &chain.certificates()[1..] {
            issuers.push(issuer.x509()?)?;
        }
        Ok(Self {
            key: Some(key.pkey().clone()),
            leaf: leaf.x509()?,
            issuers,
            sha1: leaf.sha1(),
            summary: leaf.summary(),
        })
    }

    /// Lets `share` put the private key in the place of the public one that OpenSSL has read from the certificate
    /// (`X509_set_pubkey`), and say whether it did. Handshakes then need not compare the two, which takes longer than all else
    /// there. The certificate is read anew if it is not the same in DER after that.
    ///
    /// # Errors
    /// If OpenSSL cannot write or read the certificate.
    pub fn share_key(&mut self, share: fn(&mut Self) -> bool) -> Result<(), CryptoError> {
        let signed = self.leaf.to_der()?;
        if share(self) {
            if self.leaf.to_der()? == signed {
                self.key = None;
            } else {
                self.leaf = X509::from_der(&signed)?;
            }
        }
        Ok(())
    }

    /// Returns pointers for OpenSSL, which takes references of its own.
    #[must_use]
    pub fn pointers(&self) -> TlsPointers {
        TlsPointers {
            leaf: self.leaf.as_ptr().cast(),
            key: self.key.as_ref().map_or(ptr::null_mut(), |key| key.as_ptr().cast()),
            issuers: self.issuers.as_ptr().cast(),
        }
    }

    /// Returns the SHA-1 of the certificate, by which the TLS module asks for a staple.
    #[must_use]
    pub fn sha1(&self) -> &[u8; 20] {
        &self.sha1
    }

    /// Returns facts about the certificate.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl fmt::Debug for TlsPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsPair({})", self.summary.serial_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::self_signed;
    use crate::model::{DomainName, KeySpec, Timestamp};

    fn certificate(key: &PrivateKey) -> Vec<u8> {
        let names = [DomainName::parse("pair.test").unwrap()];
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        self_signed(key, "pair", &names, now, 14).unwrap().to_pem().into_bytes()
    }

    #[test]
    fn a_pair_is_of_one_key_and_has_all_issuers() {
        let spec = KeySpec::Ec { curve: "P-256".to_owned() };
        let [key, other] = [0, 1].map(|_| PrivateKey::generate(&spec).unwrap());
        let text = [certificate(&key), certificate(&other), certificate(&other)].concat();
        let chain = Chain::from_pem(&text).unwrap();
        let pair = TlsPair::new(&key, &chain).unwrap();
        assert_eq!((pair.issuers.len(), pair.sha1()), (2, &chain.leaf().sha1()));
        assert_eq!(pair.summary(), &chain.leaf().summary());
        let pointers = pair.pointers();
        assert!(![pointers.leaf, pointers.key, pointers.issuers].iter().any(|pointer| pointer.is_null()));
        assert!(matches!(TlsPair::new(&other, &chain), Err(CryptoError::Unsuitable { .. })));
        assert!(!format!("{pair:?}").contains("PRIVATE"));
    }

    #[test]
    fn sharing_the_key_leaves_the_certificate_as_it_was_signed() {
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        let chain = Chain::from_pem(&[certificate(&key), certificate(&key)].concat()).unwrap();
        let mut pair = TlsPair::new(&key, &chain).unwrap();
        // As a library would that writes the certificate in its own way.
        pair.share_key(|pair| {
            pair.leaf = pair.issuers.iter().next().unwrap().to_owned();
            true
        })
        .unwrap();
        assert_eq!((&pair.leaf, pair.pointers().key.is_null()), (&chain.leaf().x509().unwrap(), false));
        for is_shared in [false, true] {
            pair.share_key(if is_shared { |_| true } else { |_| false }).unwrap();
            assert_eq!(pair.pointers().key.is_null(), is_shared);
        }
    }
}
