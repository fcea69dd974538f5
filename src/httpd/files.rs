//! Files with certificates, as mod_ssl takes them.

use std::path::PathBuf;
use std::ptr::NonNull;

use apache_sys as sys;

/// A certificate chain and its key, both PEM files that the parent can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's certificate first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// mod_ssl's arrays of the certificates and keys of a host, as long as the configuration.
#[derive(Debug, Clone, Copy)]
pub struct FileArrays {
    /// The paths of chains.
    pub certs: NonNull<sys::apr_array_header_t>,
    /// The paths of keys.
    pub keys: NonNull<sys::apr_array_header_t>,
}
