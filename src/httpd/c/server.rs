//! The main server, virtual hosts and listening sockets as httpd has read them from its configuration.

use std::borrow::Cow;
use std::ffi::{CStr, OsStr, OsString, c_char};
use std::iter;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::ptr::{self, NonNull};

use apache_sys as sys;

use super::array::strings;
use super::fields::fields;
use super::pool::{Pool, lossy_text, text};
use crate::httpd::boundary::{Null, present};

/// The main server or a virtual host. Complete from check_config on, and unchanged until the configuration goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Server<'s> {
    raw: NonNull<sys::server_rec>,
    life: PhantomData<&'s ()>,
}

/// A socket that `Listen` opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener<'s> {
    /// The local port.
    pub port: u16,
    /// The protocol, if the directive or the port gives one.
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

    /// Returns the main server of the same configuration, which has the settings of the whole process.
    pub fn main(self) -> Result<Self, Null> {
        // SAFETY: set when the configuration is read, before any server of it is handed to us.
        let raw = unsafe { sys::ap_server_conf };
        // SAFETY: it lives as long as its virtual hosts.
        unsafe { Self::from_raw(raw) }
    }

    /// Iterates over this server and those after it: all servers, for the main server.
    pub fn all(self) -> impl Iterator<Item = Server<'s>> {
        iter::successors(Some(self), |server| server.next().ok())
    }

    fields! { 's:
        /// Whether this is not the main server.
        pub is_virtual: flag = md_shim_server_is_virtual;
        /// `ServerName`, or the name that httpd chose in its place.
        pub name: text = md_shim_server_hostname;
        /// The pool of the process, which survives every restart.
        pub process_pool: Pool = md_shim_server_process_pool;
        next: Server = md_shim_server_next;
        admin_as_set: text = md_shim_server_admin;
        section_file: text = md_shim_server_defn_name;
        section_line: raw<u32> = md_shim_server_defn_line;
        raw_name: raw<*const c_char> = md_shim_server_hostname;
        raw_aliases: raw<*const sys::apr_array_header_t> = md_shim_server_aliases;
        raw_wildcard_aliases: raw<*const sys::apr_array_header_t> = md_shim_server_wildcard_aliases;
        raw_addresses: raw<*const sys::server_addr_rec> = md_shim_server_addrs;
    }

    /// Returns [`Server::name`] for messages and comparisons, with U+FFFD for each part that is not UTF-8.
    pub fn name_as_written(self) -> Option<Cow<'s, str>> {
        // SAFETY: NULL or a string in the configuration's pool.
        unsafe { lossy_text(self.raw_name()) }
    }

    /// Returns `ServerAdmin`; `None` for the text that stands for "not configured".
    pub fn admin(self) -> Option<&'s str> {
        self.admin_as_set().filter(|admin| Ok(*admin) != sys::DEFAULT_ADMIN.to_str())
    }

    /// Iterates over `ServerAlias` without wildcards.
    pub fn aliases(self) -> impl Iterator<Item = Cow<'s, str>> {
        // SAFETY: httpd fills the array with strings and leaves it alone once the configuration is read.
        unsafe { strings(self.raw_aliases()) }
    }

    /// Iterates over `ServerAlias` with `*` or `?`.
    pub fn wildcard_aliases(self) -> impl Iterator<Item = Cow<'s, str>> {
        // SAFETY: as for `aliases`.
        unsafe { strings(self.raw_wildcard_aliases()) }
    }

    /// Iterates over the ports in `<VirtualHost>`; 0 stands for every port.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        // SAFETY: NULL or a record of the configuration's pool, as are those that follow it.
        let first: Option<&'s sys::server_addr_rec> = unsafe { self.raw_addresses().as_ref() };
        // SAFETY: see above.
        iter::successors(first, |address| unsafe { address.next.as_ref() }).map(|address| address.host_port)
    }

    /// Returns the file and line of `<VirtualHost>`.
    pub fn defined_at(self) -> Option<(&'s str, u32)> {
        self.section_file().map(|file| (file, self.section_line()))
    }

    /// Returns the file and line of the section that declares a virtual host.
    pub fn section(self) -> Option<(String, u32)> {
        self.defined_at().filter(|_| self.is_virtual()).map(|(file, line)| (file.to_owned(), line))
    }

    /// Checks whether `Protocols` of this server names `protocol`.
    pub fn allows_protocol(self, protocol: &CStr) -> bool {
        // SAFETY: with a server httpd looks at neither connection nor request.
        unsafe { sys::ap_is_allowed_protocol(ptr::null_mut(), ptr::null_mut(), self.as_ptr(), protocol.as_ptr()) != 0 }
    }

    /// Returns the arguments that httpd was started with, the program's name first, without `-k`.
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

    /// Has mod_ssl set up all hosts, as a start does. Returns whether it can; the log has the reason. Only for a process that
    /// ends after that without clean-ups.
    pub(in crate::httpd) fn try_tls(self, pconf: Pool<'_>) -> bool {
        // SAFETY: live by `from_raw`, and the pool is that of its configuration, which is complete.
        unsafe { sys::md_shim_try_tls(pconf.as_ptr(), self.as_ptr()) != 0 }
    }
}

/// Iterates over the sockets that httpd listens on, known from check_config on.
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
