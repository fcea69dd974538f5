//! Answers to tls-alpn-01 (RFC 8737): handshakes for the protocol `acme-tls/1`, which get the challenge's certificate.
//!
//! mod_ssl asks for the protocol while the client's offer is looked at, httpd sees whether `Protocols` has it, and only
//! then is the store asked for a certificate.

use std::ffi::CStr;

use super::boundary::Null;
use super::c::connection::Connection;
use super::log::for_connection;
use super::ssl::{Handshake, KeyKind};
use crate::challenges::tls_alpn_specs;
use crate::log::{AH10080, Record};
use crate::model::{DomainName, KeySpec, Status, address_of_reverse_name};
use crate::registry::Registry;
use crate::store::{Aspect, Group};

/// The name of the protocol.
pub const PROTOCOL: &str = "acme-tls/1";
/// The same for C.
pub const PROTOCOL_NAME: &CStr = c"acme-tls/1";

/// What marks a connection that has switched to the protocol.
const NOTE: &CStr = c"md-acme-tls";

/// A certificate and its key as PEM.
pub struct ChallengeCertificate {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

/// The connection speaks the protocol from now on: there is nothing to say in it after the handshake.
pub fn switch(connection: Connection<'_>) {
    connection.set_note(NOTE);
    connection.close_soon();
}

/// Whether the connection speaks the protocol.
pub fn is_switched(connection: Connection<'_>) -> bool {
    connection.has_note(NOTE)
}

/// The certificate for the challenge of `name`, if the connection speaks the protocol and there is one. An address is asked
/// for by its reverse name (RFC 8738 section 6).
pub fn answer(connection: Connection<'_>, name: Option<&str>) -> Result<Option<ChallengeCertificate>, Null> {
    if !is_switched(connection) {
        return Ok(None);
    }
    let asked = name.unwrap_or_default();
    let main = connection.base_server()?.main()?.config()?.main()?;
    let mut handshake = Handshake::of(connection);
    let kind = handshake.as_ref().map_or(KeyKind::Any, Handshake::key_kind);
    let found = main.registry.get().and_then(|registry| {
        let find = |name: &DomainName| find(registry, name, kind);
        let name = DomainName::parse(asked).ok()?;
        let address = || DomainName::parse(&address_of_reverse_name(name.as_str())?.to_string()).ok();
        find(&name).or_else(|| find(&address()?))
    });
    if found.is_none() {
        let (level, number) = (AH10080.level, Some(AH10080.number));
        let text = format!("{asked}: a tls-alpn-01 connection, but there is no challenge for that name");
        for_connection(connection, &Record { level, number, status: Status::OK, text: format_args!("{text}") });
    }
    // mod_ssl adds to what the host has, and the client would choose.
    if let (Some(handshake), true) = (&mut handshake, found.is_some()) {
        handshake.clear_pairs();
    }
    Ok(found)
}

fn find(registry: &Registry, name: &DomainName, kind: KeyKind) -> Option<ChallengeCertificate> {
    let md = &registry.entries[registry.index.exact(name)?].md;
    let mut specs = tls_alpn_specs(md);
    // RSA goes first where that is left to us: every client takes it.
    let is_rsa = |spec: &KeySpec| spec.file_suffix().is_empty();
    specs.sort_by_key(|spec| is_rsa(spec) == (kind == KeyKind::Other));
    let load = |aspect| registry.vault.store().load(Group::Challenges, name.as_str(), &aspect).ok().flatten();
    specs.into_iter().find_map(|spec| {
        let (certificate, key) = (load(Aspect::TlsAlpn01Cert(spec.clone()))?, load(Aspect::TlsAlpn01Key(spec))?);
        Some(ChallengeCertificate { certificate, key })
    })
}
