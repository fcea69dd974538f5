//! The directives as data.

use std::ffi::CStr;

/// One directive.
#[derive(Debug)]
pub struct Directive {
    /// The name in the configuration; a section's begins with `<`.
    pub name: &'static CStr,
    /// What follows the name.
    pub kind: Kind,
    /// Where httpd accepts it.
    pub place: Place,
    /// What httpd prints after an arity error.
    pub help: &'static CStr,
}

/// How httpd splits what follows a directive's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The rest of the line, as one argument.
    Raw,
    /// A section: words up to the closing `>`, then directives up to the end tag.
    Section,
    /// Any number of words.
    Words,
    /// One word.
    One,
    /// One or two words.
    OneOrTwo,
    /// Two words.
    Two,
}

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the main server and in virtual hosts.
    Server,
    /// As `Server`, and inside `<If>`.
    ServerOrIf,
}

/// Every directive of the module.
pub const DIRECTIVES: &[Directive] = &[
    Directive {
        name: c"MDomain",
        kind: Kind::Words,
        place: Place::Server,
        help: c"A group of server names with one certificate",
    },
    Directive {
        name: c"<MDomainSet",
        kind: Kind::Section,
        place: Place::Server,
        help: c"Container for a managed domain with its own settings",
    },
    Directive {
        name: c"<MDomain",
        kind: Kind::Section,
        place: Place::Server,
        help: c"Container for a managed domain with its own settings",
    },
    Directive {
        name: c"MDStoreDir",
        kind: Kind::One,
        place: Place::Server,
        help: c"the directory for all data of managed domains",
    },
    Directive {
        name: c"MDPortMap",
        kind: Kind::OneOrTwo,
        place: Place::Server,
        help: c"Which local ports the Internet's ports 80 and 443 reach",
    },
];
