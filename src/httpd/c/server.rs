//! The main server, virtual hosts and listening sockets as httpd has read them from its configuration.

use std::borrow::Cow;
use std::ffi::{CStr, OsStr, OsString};
use std::iter;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::ptr::{self, NonNull};

use apache_sys as sys;

use super::array::strings;
use super::pool::{Pool, lossy_text, text};
use crate::httpd::boundary::{Null, present};

/// The main server or a virtual host. Complete from check_config on, and unchanged until the configuration goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Server<'s> {
    raw: NonNull<sys::server_rec>,
    life: PhantomData<&'s ()>,
}

/// One address of a virtual host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'s> {
    /// As written in `<VirtualHost>`, without the port.
    pub host: &'s str,
    /// 0 stands for every port.
    pub port: u16,
}

/// One `Listen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener<'s> {
    /// The local port.
    pub port: u16,
    /// The protocol, if the directive or the port's number says one.
    pub protocol: Option<&'s str>,
}

impl<'s> Server<'s> {
    /// # Safety
    /// `raw` is NULL or a server_rec that lives for `'s`.
    pub(in crate::httpd) unsafe fn from_raw(raw: *const sys::server_rec) -> Result<Self, Null> {
        Ok(Self { raw: present(raw, "server")?, life: PhantomData })
    }

    pub(in crate::httpd) fn as_ptr(self) -> *mut sys::server_rec {
        self.raw.as_ptr()
    }

    /// The main server of the same configuration, which has the settings of the whole process.
    pub fn main(self) -> Result<Self, Null> {
        // SAFETY: set when the configuration is read, before any server of it is handed to us.
        let raw = unsafe { sys::ap_server_conf };
        // SAFETY: it lives as long as its virtual hosts.
        unsafe { Self::from_raw(raw) }
    }

    /// This server and those after it: all, if asked of the main server, which comes first.
    pub fn all(self) -> impl Iterator<Item = Server<'s>> {
        iter::successors(Some(self), |server| {
            // SAFETY: live by `from_raw`.
            let next = unsafe { sys::md_shim_server_next(server.as_ptr()) };
            // SAFETY: httpd links servers of one configuration, which live equally long.
            unsafe { Self::from_raw(next) }.ok()
        })
    }

    /// False for the main server.
    pub fn is_virtual(self) -> bool {
        // SAFETY: live by `from_raw`.
        unsafe { sys::md_shim_server_is_virtual(self.as_ptr()) != 0 }
    }

    /// `ServerName`, or what httpd chose in its place.
    pub fn name(self) -> Option<&'s str> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_server_hostname(self.as_ptr()) };
        // SAFETY: allocated in the configuration's pool.
        unsafe { text(raw) }
    }

    /// The same for messages and comparisons, with U+FFFD for what is not UTF-8.
    pub fn name_as_written(self) -> Option<Cow<'s, str>> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_server_hostname(self.as_ptr()) };
        // SAFETY: allocated in the configuration's pool.
        unsafe { lossy_text(raw) }
    }

    /// The port of `ServerName`, 0 if it has none.
    pub fn port(self) -> u16 {
        // SAFETY: live by `from_raw`.
        unsafe { sys::md_shim_server_port(self.as_ptr()) }
    }

    /// `ServerAdmin`, without the text that stands for "not configured".
    pub fn admin(self) -> Option<&'s str> {
        // SAFETY: live by `from_raw`.
        let raw = unsafe { sys::md_shim_server_admin(self.as_ptr()) };
        // SAFETY: allocated in the configuration's pool.
        unsafe { text(raw) }.filter(|admin| Ok(*admin) != sys::DEFAULT_ADMIN.to_str())
    }

    /// Every `ServerAlias` without a wildcard.
    pub fn aliases(self) -> impl Iterator<Item = Cow<'s, str>> {
        // SAFETY: live by `from_raw`.
        let names = unsafe { sys::md_shim_server_aliases(self.as_ptr()) };
        // SAFETY: httpd fills `names` with strings and leaves it alone once the configuration is read.
        unsafe { strings(names) }
    }

    /// Every `ServerAlias` with `*` or `?`.
    pub fn wildcard_aliases(self) -> impl Iterator<Item = Cow<'s, str>> {
        // SAFETY: live by `from_raw`.
        let names = unsafe { sys::md_shim_server_wildcard_aliases(self.as_ptr()) };
        // SAFETY: as for `aliases`.
        unsafe { strings(names) }
    }

    /// The addresses in `<VirtualHost>`.
    pub fn addresses(self) -> impl Iterator<Item = Address<'s>> {
        // SAFETY: live by `from_raw`.
        let first = unsafe { sys::md_shim_server_addrs(self.as_ptr()) };
        // SAFETY: NULL or a record of the configuration's pool, as are those that follow it.
        let first: Option<&'s sys::server_addr_rec> = unsafe { first.as_ref() };
        // SAFETY: see above.
        iter::successors(first, |address| unsafe { address.next.as_ref() }).map(|address| {
            // SAFETY: NULL or a string in the same pool.
            let host = unsafe { text(address.virthost) };
            Address { host: host.unwrap_or_default(), port: address.host_port }
        })
    }

    /// The file and line of `<VirtualHost>`.
    pub fn defined_at(self) -> Option<(&'s str, u32)> {
        // SAFETY: live by `from_raw`.
        let file = unsafe { sys::md_shim_server_defn_name(self.as_ptr()) };
        // SAFETY: live by `from_raw`.
        let line = unsafe { sys::md_shim_server_defn_line(self.as_ptr()) };
        // SAFETY: NULL or a string in the configuration's pool.
        unsafe { text(file) }.map(|file| (file, line))
    }

    /// Whether `Protocols` of this server names `protocol`.
    pub fn allows_protocol(self, protocol: &CStr) -> bool {
        // SAFETY: with a server httpd looks at neither connection nor request.
        unsafe { sys::ap_is_allowed_protocol(ptr::null_mut(), ptr::null_mut(), self.as_ptr(), protocol.as_ptr()) != 0 }
    }

    /// What httpd was started with, the program's name first; without `-k`.
    pub fn arguments(self) -> Vec<OsString> {
        let argument = |number| {
            // SAFETY: live by `from_raw`; httpd sets `process` in every server_rec.
            let raw = unsafe { sys::md_shim_server_argument(self.as_ptr(), number) };
            // SAFETY: not NULL, and a string in the process's pool or its own.
            NonNull::new(raw.cast_mut()).map(|raw| unsafe { CStr::from_ptr(raw.as_ptr()) })
        };
        let arguments = (0..).map_while(argument);
        arguments.map(|word| OsStr::from_bytes(word.to_bytes()).to_owned()).collect()
    }

    /// Has mod_ssl set up all hosts, as a start does. False if it cannot; the log says why. For a process that ends after that
    /// without clean-ups, see `trial`.
    pub(in crate::httpd) fn try_tls(self, pconf: Pool<'_>) -> bool {
        // SAFETY: live by `from_raw`, and the pool is that of its configuration, which is complete.
        unsafe { sys::md_shim_try_tls(pconf.as_ptr(), self.as_ptr()) != 0 }
    }

    /// The pool of the process: it survives every restart.
    pub fn process_pool(self) -> Result<Pool<'s>, Null> {
        // SAFETY: live by `from_raw`; httpd sets `process` in every server_rec.
        let pool = unsafe { sys::md_shim_server_process_pool(self.as_ptr()) };
        // SAFETY: it lives longer than any server.
        unsafe { Pool::from_raw(pool) }
    }
}

/// What httpd listens on, known from check_config on.
pub fn listeners(_while_configured: Server<'_>) -> impl Iterator<Item = Listener<'_>> {
    // SAFETY: written while directives are read, in the parent's only thread.
    let first = NonNull::new(unsafe { sys::ap_listeners });
    iter::successors(first, |listener| {
        // SAFETY: in a list of records that live until the configuration goes.
        NonNull::new(unsafe { sys::md_shim_listener_next(listener.as_ptr()) })
    })
    .map(|listener| {
        // SAFETY: as above.
        let port = unsafe { sys::md_shim_listener_port(listener.as_ptr()) };
        // SAFETY: as above.
        let protocol = unsafe { sys::md_shim_listener_protocol(listener.as_ptr()) };
        // SAFETY: NULL or a string that lives as long as the record.
        Listener { port, protocol: unsafe { text(protocol) } }
    })
}
