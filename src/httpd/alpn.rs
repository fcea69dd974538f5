//! Answers to tls-alpn-01 (RFC 8737): handshakes for the protocol `acme-tls/1`, which get the challenge's certificate.
//!
//! mod_ssl asks for the protocol while it reads the client's offer, and httpd checks whether `Protocols` names it. The store is
//! asked for a certificate after that.

use std::ffi::CStr;
use std::sync::Arc;

use super::boundary::Null;
use super::c::connection::Connection;
use super::log::for_connection;
use super::ssl::Handshake;
use crate::challenges::tls_alpn_specs;
use crate::log::{AH10080, Record};
use crate::model::{DomainName, Status};
use crate::registry::Registry;
use crate::serving::alpn::{KeyKind, meant_by, sort_for};
use crate::store::{Aspect, Group};

/// The name of the protocol, [`PROTOCOL`](crate::serving::alpn::PROTOCOL), for C.
pub const PROTOCOL_NAME: &CStr = c"acme-tls/1";

/// The note of a connection that has switched to the protocol.
const NOTE: &CStr = c"md-acme-tls";

/// A certificate and its key as PEM.
pub struct ChallengeCertificate {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

/// Switches the connection to the protocol, and ends it after the handshake: the protocol has no messages.
pub fn switch(connection: Connection<'_>) {
    connection.set_note(NOTE);
    connection.close_soon();
}

/// Checks whether the connection has switched to the protocol.
pub fn is_switched(connection: Connection<'_>) -> bool {
    connection.has_note(NOTE)
}

/// Returns the certificate for the challenge of `name`, if the connection has switched to the protocol and the store has one. A
/// CA asks for an address by its reverse name (RFC 8738 section 6).
pub fn answer(connection: Connection<'_>, name: Option<&str>) -> Result<Option<ChallengeCertificate>, Null> {
    if !is_switched(connection) {
        return Ok(None);
    }
    let asked = name.unwrap_or_default();
    let main = connection.base_server()?.main()?.config()?.main()?;
    let mut handshake = Handshake::of(connection);
    let kind = handshake.as_ref().map_or(KeyKind::Any, Handshake::key_kind);
    let find = |registry: &Arc<Registry>| meant_by(asked).find_map(|name| find(registry, &name, kind));
    let found = main.registry.get().and_then(find);
    if found.is_none() {
        for_connection(
            connection,
            &Record {
                level: AH10080.level,
                number: Some(AH10080.number),
                status: Status::OK,
                text: format_args!("{asked}: a tls-alpn-01 connection, but there is no challenge for that name"),
            },
        );
    }
    // mod_ssl adds the certificate to those of the host, and the client would choose among them.
    if let (Some(handshake), true) = (&mut handshake, found.is_some()) {
        handshake.clear_pairs();
    }
    Ok(found)
}

fn find(registry: &Registry, name: &DomainName, kind: KeyKind) -> Option<ChallengeCertificate> {
    let md = &registry.domains[registry.index.exact(name)?].md;
    let mut specs = tls_alpn_specs(md);
    sort_for(&mut specs, kind);
    let load = |aspect| registry.documents.store().load(Group::Challenges, name.as_str(), &aspect).ok().flatten();
    specs.into_iter().find_map(|spec| {
        let certificate = load(Aspect::TlsAlpn01Cert(spec.clone()))?;
        let key = load(Aspect::TlsAlpn01Key(spec))?;
        Some(ChallengeCertificate { certificate, key })
    })
}
