//! Errors of keys, requests, certificates and chains.

/// Why a key, a request or a signature could not be made or read. The text never has a secret.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// OpenSSL has no curve of this name.
    #[error("the curve '{0}' is not known to OpenSSL")]
    UnknownCurve(String),
    /// The key is of a type that cannot do the task.
    #[error("a key of type {key} cannot {task}")]
    Unsuitable {
        /// Type of the key.
        key: String,
        /// The task.
        task: &'static str,
    },
    /// The text is not a private key, or the pass phrase is wrong.
    #[error("the private key cannot be read: {0}")]
    DamagedKey(openssl::error::ErrorStack),
    /// The private key is encrypted and no pass phrase was given.
    #[error("the private key is encrypted and there is no pass phrase for it")]
    PassPhraseMissing,
    /// The private key is encrypted in a form that is not used in stores, or takes too much work to decrypt.
    #[error("the private key is encrypted in another form than the store's, or by too many rounds of PBKDF2")]
    OtherEncryption,
    /// The private key is not encrypted, and whoever wrote it may have chosen it.
    #[error("the private key is not encrypted with the store's secret, and the file is not root's")]
    NotEncrypted,
    /// The bytes are not a certificate.
    #[error("the certificate cannot be read: {0}")]
    DamagedCertificate(String),
    /// OpenSSL failed at an operation that normally works.
    #[error("OpenSSL: {0}")]
    Library(#[from] openssl::error::ErrorStack),
}

/// Why a text is not a chain of certificates.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The text has no certificate.
    #[error("it contains no certificate")]
    Empty,
    /// The chain is longer than clients take.
    #[error("it has {certificates} certificates with {bytes} bytes, which is more than clients take")]
    TooLong {
        /// Number of certificates.
        certificates: usize,
        /// The bytes of all certificates.
        bytes: usize,
    },
    /// A certificate of the text cannot be read.
    #[error("certificate {position} cannot be read: {reason}")]
    Damaged {
        /// Position of the certificate, counted from 1.
        position: usize,
        /// The parser's reason.
        reason: String,
    },
}
