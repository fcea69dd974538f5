//! Certificates in `domains/`, for those who cannot read there: each activation puts those of its set into `active/`.
//!
//! Children of a server are not root, and know the sets that the start has read. Where several servers use one store, or `a2md`
//! does, another one may have renewed a domain since. That is learned here, before anything is ordered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crypto::Chain;
use crate::documents::Documents;
use crate::log::note;
use crate::model::{KeySpec, ManagedDomain};
use crate::store::{Aspect, Group};

/// The certificates of a set.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Active {
    #[serde(rename = "ca-url", skip_serializing_if = "Option::is_none")]
    pub(crate) ca_url: Option<String>,
    /// Chains in PEM by the names of their files in `domains/`.
    chains: BTreeMap<String, String>,
}

impl Active {
    /// A set of the domain that came from its CA.
    pub(crate) fn new<'a>(md: &ManagedDomain, chains: impl Iterator<Item = (&'a KeySpec, &'a Chain)>) -> Self {
        let pem = |chain: &Chain| String::from_utf8_lossy(&chain.to_pem()).into_owned();
        let chains = chains.map(|(spec, chain)| (Aspect::Chain(spec.clone()).file_name(), pem(chain)));
        Self { ca_url: md.ca.url.clone(), chains: chains.collect() }
    }

    /// Publishes that the set is in its place. Without that they order another one, which does no other harm.
    pub(crate) fn tell(&self, documents: &Documents, name: &str) {
        let json = serde_json::to_vec_pretty(self).unwrap_or_default();
        if let Err(err) = documents.store().save_lazily(Group::Active, name, &Aspect::ActiveJson, &json) {
            note!(Info, err.status(); "{name}: other servers do not learn that it has been renewed: {err}");
        }
    }

    /// The chain for a type of key.
    pub(crate) fn chain(&self, spec: &KeySpec) -> Option<&str> {
        self.chains.get(&Aspect::Chain(spec.clone()).file_name()).map(String::as_str)
    }
}

/// When a set of the domain was last put into its place, as far as that was told.
pub(crate) fn told(documents: &Documents, md: &ManagedDomain) -> Option<Timestamp> {
    documents.store().written(Group::Active, md.name.as_str(), &Aspect::ActiveJson)
}
