//! Answers to tls-alpn-01 (RFC 8737): handshakes for the protocol `acme-tls/1`, which get the challenge's certificate.
//!
//! mod_ssl asks for the protocol while it reads the client's offer, and httpd checks whether `Protocols` names it. The store is
//! asked for a certificate after that.

use std::ffi::CStr;

use super::boundary::Null;
use super::c::connection::Connection;
use super::log::for_connection;
use super::ssl::Handshake;
use crate::log::{AH10080, Record};
use crate::model::Status;
use crate::serving::alpn::{ChallengeCertificate, KeyKind};

/// The name of the protocol, [`PROTOCOL`](crate::serving::alpn::PROTOCOL), for C.
pub const PROTOCOL_NAME: &CStr = c"acme-tls/1";

/// The note of a connection that has switched to the protocol.
const NOTE: &CStr = c"md-acme-tls";

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
    let found = main.registry.get().and_then(|registry| ChallengeCertificate::load(registry, asked, kind));
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
