//! Why something of this folder could not be made or read.

/// Why a key, a request or a signature could not be made or read. Never tells a secret.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// OpenSSL has no curve of this name.
    #[error("the curve '{0}' is not known to OpenSSL")]
    UnknownCurve(String),
    /// The key is of a type that cannot do this.
    #[error("a key of type {key} cannot {task}")]
    Unsuitable {
        /// Type of the key.
        key: String,
        /// What was asked of it.
        task: &'static str,
    },
    /// The text is no private key, or its pass phrase is another one.
    #[error("the private key cannot be read: {0}")]
    DamagedKey(openssl::error::ErrorStack),
    /// The private key needs a pass phrase and none was given.
    #[error("the private key is encrypted and there is no pass phrase for it")]
    PassPhraseMissing,
    /// The bytes are no certificate.
    #[error("the certificate cannot be read: {0}")]
    DamagedCertificate(String),
    /// OpenSSL failed at something that normally works.
    #[error("OpenSSL: {0}")]
    Library(#[from] openssl::error::ErrorStack),
}

/// Why a text is no chain of certificates.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// There is no certificate in it.
    #[error("there is no certificate in it")]
    Empty,
    /// There is one that cannot be read.
    #[error("certificate {position} cannot be read: {reason}")]
    Damaged {
        /// Which one, counted from 1.
        position: usize,
        /// What is wrong.
        reason: String,
    },
}
