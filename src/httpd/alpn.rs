//! Answers to tls-alpn-01 (RFC 8737): handshakes for the protocol `acme-tls/1`, which get the challenge's certificate.
//!
//! mod_ssl asks for the protocol while it reads the client's offer: the store is asked whether there is a challenge. It is asked
//! for the certificate after that.

use std::ffi::CStr;
use std::sync::Arc;

use super::boundary::Null;
use super::c::connection::Connection;
use super::c::server::Server;
use super::log::for_connection;
use super::ssl::Handshake;
use crate::log::{AH10080, Record};
use crate::model::Status;
use crate::registry::Registry;
use crate::serving::alpn::{Asked, ChallengeCertificate, KeyKind, has_challenge};

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

/// Checks whether a handshake that offers the protocol to `server` gets it: only where there is a challenge for it, as other
/// handshakes are none of a CA. A TLS module without a state that can be asked says later what the client asks for.
pub fn is_selected(connection: Connection<'_>, server: Server<'_>) -> Result<bool, Null> {
    if !connection.is_tls() || !server.allows_protocol(PROTOCOL_NAME) {
        return Ok(false);
    }
    let Some(handshake) = Handshake::of(connection) else { return Ok(true) };
    let asked = Asked::of(handshake.server_name(), connection.local_ip());
    let is_there = registry(connection)?.is_some_and(|registry| has_challenge(registry, asked));
    if !is_there {
        tell_none(connection, asked);
    }
    Ok(is_there)
}

/// Returns the certificate for the challenge of `name`, if the connection has switched to the protocol and the store has one. A
/// CA asks for an address by its reverse name (RFC 8738 section 6), or without any name.
pub fn answer(connection: Connection<'_>, name: Option<&str>) -> Result<Option<ChallengeCertificate>, Null> {
    if !is_switched(connection) {
        return Ok(None);
    }
    let asked = Asked::of(name, connection.local_ip());
    let mut handshake = Handshake::of(connection);
    let kind = handshake.as_ref().map_or(KeyKind::Any, Handshake::key_kind);
    let found = registry(connection)?.and_then(|registry| ChallengeCertificate::load(registry, asked, kind));
    if found.is_none() {
        tell_none(connection, asked);
    }
    // mod_ssl adds the certificate to those of the host, and the client would choose among them.
    if let (Some(handshake), true) = (&mut handshake, found.is_some()) {
        handshake.clear_pairs();
    }
    Ok(found)
}

fn registry(connection: Connection<'_>) -> Result<Option<&Registry>, Null> {
    Ok(connection.base_server()?.main()?.config()?.main()?.registry.get().map(Arc::as_ref))
}

fn tell_none(connection: Connection<'_>, asked: Asked<'_>) {
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
