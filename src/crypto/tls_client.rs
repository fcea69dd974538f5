//! TLS as a client, on a connection that exists.

use std::fmt::Debug;
use std::io::{Read, Write};

use openssl::pkey::PKey;
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use zeroize::Zeroizing;

use super::CryptoError;

/// How a client knows its server, and shows who it is.
#[derive(Default)]
pub struct TlsClient {
    /// The certificates to trust, as PEM; by default those of the system.
    pub roots: Option<Vec<u8>>,
    /// Whether the server's certificate is not verified.
    pub trusts_all: bool,
    /// The client's chain and its private key, as PEM.
    pub identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

/// A connection inside of another.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

impl TlsClient {
    /// Checks that certificates and key can be used.
    ///
    /// # Errors
    /// If they cannot be.
    pub fn check(&self) -> Result<(), CryptoError> {
        self.connector().map(drop)
    }

    fn connector(&self) -> Result<SslConnector, CryptoError> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        if let Some(roots) = &self.roots {
            for root in X509::stack_from_pem(roots)? {
                connector.cert_store_mut().add_cert(root)?;
            }
        }
        if self.trusts_all {
            connector.set_verify(SslVerifyMode::NONE);
        }
        if let Some((chain, key)) = &self.identity {
            let mut chain = X509::stack_from_pem(chain)?.into_iter();
            let leaf = chain.next().ok_or_else(|| CryptoError::DamagedCertificate("the file has none".to_owned()))?;
            connector.set_certificate(&leaf)?;
            chain.try_for_each(|issuer| connector.add_extra_chain_cert(issuer))?;
            let key = PKey::private_key_from_pem(key).map_err(CryptoError::DamagedKey)?;
            connector.set_private_key(&key)?;
        }
        Ok(connector.build())
    }

    /// Begins TLS with the server of this name.
    ///
    /// # Errors
    /// A sentence on what failed.
    pub fn connect<S: Stream + Debug + 'static>(&self, stream: S, host: &str) -> Result<Box<dyn Stream>, String> {
        let connector = self.connector().map_err(|err| err.to_string())?;
        let mut settings = connector.configure().map_err(|err| err.to_string())?;
        settings.set_verify_hostname(!self.trusts_all);
        match settings.connect(host, stream) {
            Ok(stream) => Ok(Box::new(stream)),
            Err(HandshakeError::SetupFailure(err)) => Err(err.to_string()),
            Err(HandshakeError::Failure(stream) | HandshakeError::WouldBlock(stream)) => {
                let verified = stream.ssl().verify_result();
                let is_trusted = verified == openssl::x509::X509VerifyResult::OK;
                Err(if is_trusted { stream.error().to_string() } else { verified.error_string().to_owned() })
            }
        }
    }
}
