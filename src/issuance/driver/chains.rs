//! Chooses among the chains that a CA offers for a certificate (RFC 8555 section 7.4.2).

use std::collections::BTreeSet;

use crate::acme::{AcmeError, ChainRefused, Journal, Publisher};
use crate::crypto::{Chain, PrivateKey};
use crate::issuance::driver::Driver;
use crate::log::{note, report};
use crate::model::SHORTEST_CHAIN;

impl<J: Journal, P: Publisher> Driver<J, P> {
    /// The most alternate chains that are read.
    const MOST_ALTERNATES: usize = 10;
    /// The most tries for one chain while the nonce is refused.
    const TRIES: usize = 10;

    /// Saves the preferred chain if it is not `default`, which came from `url`. `false` if the default is to be used. A faulty
    /// alternate chain never costs the certificate.
    pub(super) fn save_preferred(
        &mut self,
        url: &str,
        key: &PrivateKey,
        default: &Chain,
        alternates: &[String],
    ) -> Result<bool, AcmeError> {
        let Some(wanted) = self.wanted.preferred_chain.clone() else { return Ok(false) };
        let mut chains = vec![default.clone()];
        let mut seen = BTreeSet::from([url]);
        let urls = alternates.iter().map(String::as_str).filter(|url| seen.insert(url)).take(Self::MOST_ALTERNATES);
        for url in urls {
            if *wanted != *SHORTEST_CHAIN && choose(&wanted, &chains).is_some() {
                break;
            }
            match self.read_alternate(url, key) {
                Ok(chain) => chains.push(chain),
                Err(AlternateError::Read(err)) if err.is_cancelled() => return Err(*err),
                Err(err) => note!(Info, "{}: the chain at {url} is not considered: {err}", self.wanted.name),
            }
        }
        let Some(chosen) = choose(&wanted, &chains) else {
            let offered = chains
                .iter()
                .map(|chain| format!("'{}'", top_issuer(chain).escape_debug()))
                .collect::<Vec<_>>()
                .join(", ");
            let name = &self.wanted.name;
            report!(
                MD0046,
                "{name}: the CA has no chain to '{wanted}' and its default chain is used; it offers chains to {offered}"
            );
            return Ok(false);
        };
        if chosen == 0 {
            return Ok(false);
        }
        match self.journal.save_chain(&self.wanted.keys[self.current], &chains[chosen]) {
            Ok(()) => Ok(true),
            Err(ChainRefused::Unfit(reason)) => {
                report!(
                    MD0046,
                    "{}: the CA's default chain is used, as the preferred one cannot be used: {reason}",
                    self.wanted.name
                );
                Ok(false)
            }
            Err(err) => Err(err.into()),
        }
    }

    /// Reads an alternate chain. The chain must be whole: leaf and issuers of different chains are never mixed.
    fn read_alternate(&mut self, url: &str, key: &PrivateKey) -> Result<Chain, AlternateError> {
        let mut tries = (0..Self::TRIES).map(|_| self.read_chain(url));
        let read = tries.find(|read| !matches!(read, Err(AcmeError::BadNonce)));
        let (chain, _) = read.unwrap_or(Err(AcmeError::BadNonce)).map_err(Box::new)?;
        if !key.fits(chain.leaf()) {
            return Err(AlternateError::OtherKey);
        }
        if chain.is_linked() { Ok(chain) } else { Err(AlternateError::Unlinked) }
    }
}

/// Why an alternate chain is not considered.
#[derive(Debug, thiserror::Error)]
enum AlternateError {
    #[error(transparent)]
    Read(#[from] Box<AcmeError>),
    #[error("the certificate is for another key")]
    OtherKey,
    #[error("a certificate of the chain was not signed by the next")]
    Unlinked,
}

/// Returns the first chain, with the CA's default in front, that is as wanted: by the common name of the issuer at its top,
/// or `shortest`.
fn choose(wanted: &str, chains: &[Chain]) -> Option<usize> {
    if wanted == SHORTEST_CHAIN {
        return (0..chains.len()).min_by_key(|index| chains[*index].certificates().len());
    }
    chains.iter().position(|chain| top_issuer(chain) == wanted)
}

/// Returns the common name of the issuer of the topmost certificate; a root is its own issuer.
fn top_issuer(chain: &Chain) -> String {
    chain.certificates().last().and_then(|top| top.issuer_common_name()).unwrap_or_default()
}
