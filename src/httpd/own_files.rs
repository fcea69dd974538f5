//! Hosts that have certificate files of their own beside those of their Managed Domain, when mod_ssl has set them up.

use std::ptr::NonNull;

use apache_sys as sys;

use super::boundary::Null;
use super::c::server::Server;
use super::config::Starting;
use crate::clock::{Clock, SystemClock};
use crate::crypto::{Certificate, TlsPointers};
use crate::log::report;
use crate::serving::own_files::{OwnFiles, Pairs, lines};

/// The data of [`super::entry_ssl`]'s callback for handshakes of such a host.
#[derive(Debug)]
pub struct Beside {
    /// The host.
    pub host: NonNull<sys::server_rec>,
    /// The certificates of its TLS settings, which keep them.
    pub pairs: Pairs,
}

/// Sorts the certificates of a host that has files of its own. `None` if its handshakes have nothing to choose.
pub fn init_host(
    server: Server<'_>,
    host: NonNull<sys::server_rec>,
    pairs: Vec<(TlsPointers, Option<Certificate>)>,
    goes_live: bool,
) -> Result<Option<Beside>, Null> {
    let position = server.config()?.host.position();
    let mut starting = server.main()?.config()?.main()?.starting();
    let Some(Starting { setup, own_files, .. }) = &mut *starting else { return Ok(None) };
    let pairs = Pairs::new(pairs, |leaf| setup.is_of_domain(position, leaf), |leaf| setup.is_for_host(position, leaf));
    // mod_ssl sets up one host after another: this one was noted last.
    if let Some(own) = own_files.iter_mut().rfind(|own| own.position() == position) {
        own.set_up_with(&pairs, SystemClock.now());
    }
    Ok(pairs.leave_a_choice(goes_live).then_some(Beside { host, pairs }))
}

/// Writes to the log, once per start, when the files of which hosts are served.
pub fn log_advice(all: &[OwnFiles]) {
    for line in lines(all) {
        report!(MD0007, "{line}");
    }
}
