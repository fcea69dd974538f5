//! The table of all directives: a row for each, with its arguments, its place and its effect.

mod values;

use std::ffi::CStr;
use std::io;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;

use self::values::{at_least, ca_url, command, duration, eab, file, match_names, on_off, path, proxy_url, unless_none};
use super::settings::member_mode;
use super::{Contact, Declared, DomainName, Globals, KeySpecs, Origin, Settings, Unit, Window};

/// A row of the table.
pub struct Directive {
    /// The name; that of a section begins with `<`.
    pub name: &'static CStr,
    /// How the arguments are split.
    pub args: Args,
    /// Where the directive may stand.
    pub place: Place,
    /// The description for `httpd -L`.
    pub help: &'static CStr,
    /// Whether the C module does not know the directive.
    pub is_ours: bool,
    /// Checks the arguments and sets the value.
    pub apply: Apply,
}

/// The arguments a directive takes; httpd checks the count, except for lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Args {
    /// Exactly one argument.
    One,
    /// An argument, and possibly a second one.
    OneOrTwo,
    /// Exactly two arguments.
    Two,
    /// Any number of arguments.
    List,
    /// The rest of the line, as one argument: a command with its arguments, quotes and all.
    Line,
    /// Words up to `>`, then directives up to the end tag.
    Section,
}

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a server and in the section of a domain.
    Anywhere,
    /// In a server and in the section of a domain, and in `<If>` and `<Files>`, whose conditions do not matter.
    AnywhereOrIf,
    /// In a server only.
    Server,
    /// In the section of a domain only.
    Domain,
}

/// Sets the value that the arguments give, or describes their error.
pub type Apply = fn(&mut Scope<'_>, &[&str]) -> Result<(), String>;

/// The part of the configuration that a directive can read and change at its place.
pub struct Scope<'a> {
    /// Settings of the whole server.
    pub globals: &'a mut Globals,
    /// The server or the domain that the directive stands in.
    pub target: Target<'a>,
    /// The place in the configuration.
    pub origin: Origin,
    /// Makes a path absolute, relative to ServerRoot.
    pub resolve: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// Reads a file; `None` where the configuration is only listed, which needs no rights to read it.
    pub read: &'a dyn Fn(&Path) -> io::Result<Option<Vec<u8>>>,
}

/// The context of a directive.
pub enum Target<'a> {
    /// The main server or a virtual host.
    Server {
        /// Settings of the server.
        settings: &'a mut Settings,
        /// The domains declared in it.
        declared: &'a mut Vec<Declared>,
    },
    /// The section of a domain.
    Domain(&'a mut Declared),
}

/// The most workers that `MDRenewWorkers` allows.
const MAX_WORKERS: u8 = 64;

/// All directives.
#[rustfmt::skip]
pub static DIRECTIVES: [Directive; 56] = [
    row(c"MDomain", Args::List, Place::Server, c"domain names of a managed domain, with 'auto' or 'manual' for its members", |scope, args| {
        declare(scope, Vec::new(), args)
    }),
    row(c"<MDomainSet", Args::Section, Place::Server, c"a managed domain with settings of its own", section),
    row(c"<MDomain", Args::Section, Place::Server, c"a managed domain with settings of its own", section),
    row(c"MDMember", Args::List, Place::Anywhere, c"further names of the domain, or 'auto' or 'manual'", members),
    row(c"MDMembers", Args::List, Place::Anywhere, c"further names of the domain, or 'auto' or 'manual'", members),
    row(c"MDCertificateAuthority", Args::List, Place::Anywhere, c"names or directory URLs of the CAs to use, in order", |scope, args| {
        scope.settings().ca_urls = Some(args.iter().map(|arg| ca_url(arg)).collect::<Result<_, _>>()?);
        Ok(())
    }),
    row(c"MDCertificateProtocol", Args::One, Place::Anywhere, c"'ACME', or 'tailscale' for the daemon of that name", |scope, args| {
        scope.settings().protocol = Some(args[0].into());
        Ok(())
    }),
    row(c"MDCertificateAgreement", Args::One, Place::Anywhere, c"'accepted', or the URL of the CA's terms you agree to", |scope, args| {
        scope.settings().agreement = Some(args[0].to_owned());
        Ok(())
    }),
    row(c"MDContactEmail", Args::One, Place::Anywhere, c"mail address that the CA may write to", |scope, args| {
        scope.settings().contact = Some(Contact::of_directive(args[0], scope.origin.clone()));
        Ok(())
    }),
    row(c"MDCAChallenges", Args::List, Place::Anywhere, c"challenge types to use, in order of preference", |scope, args| {
        scope.settings().challenges = Some(args.iter().map(ToString::to_string).collect());
        Ok(())
    }),
    row(c"MDRenewMode", Args::One, Place::Anywhere, c"'auto', 'always' or 'manual'", renew_mode),
    row(c"MDDriveMode", Args::One, Place::Anywhere, c"old name of MDRenewMode", renew_mode),
    row(c"MDRenewWindow", Args::One, Place::Anywhere, c"time before the end of a certificate to renew it in, or a percentage of its life", |scope, args| {
        scope.settings().renew_window = Some(window(args[0])?);
        Ok(())
    }),
    row(c"MDWarnWindow", Args::One, Place::Anywhere, c"time before the end of a certificate to warn in, or a percentage of its life", |scope, args| {
        scope.settings().warn_window = Some(window(args[0])?);
        Ok(())
    }),
    row(c"MDMustStaple", Args::One, Place::Anywhere, c"whether certificates ask for stapling: 'on' or 'off'", |scope, args| {
        scope.settings().must_staple = Some(on_off(args[0])?);
        Ok(())
    }),
    row(c"MDPrivateKeys", Args::List, Place::Anywhere, c"'Default', 'RSA [bits]' or names of curves: a certificate for each", |scope, args| {
        scope.settings().keys = Some(Arc::new(KeySpecs::parse(args).map_err(|err| err.to_string())?));
        Ok(())
    }),
    row(c"MDProfile", Args::One, Place::Anywhere, c"name of the CA's profile to order certificates by", |scope, args| {
        scope.settings().profile = Some(args[0].into());
        Ok(())
    }),
    row(c"MDProfileMandatory", Args::One, Place::Anywhere, c"whether an order without the profile is refused: 'on' or 'off'", |scope, args| {
        scope.settings().profile_mandatory = Some(on_off(args[0])?);
        Ok(())
    }),
    ours(row(c"MDPreferredChain", Args::One, Place::Anywhere, c"common name of the issuer at the top of the chain to take, or 'shortest'", |scope, args| {
        scope.settings().preferred_chain = Some(values::preferred_chain(args[0]));
        Ok(())
    })),
    row(c"MDRenewViaARI", Args::One, Place::Anywhere, c"whether the CA may say when to renew: 'on' or 'off'", |scope, args| {
        scope.settings().ari_renewals = Some(on_off(args[0])?);
        Ok(())
    }),
    row(c"MDExternalAccountBinding", Args::OneOrTwo, Place::Anywhere, c"key id and MAC key of an account at the CA, a JSON file with both, or 'none'", |scope, args| {
        scope.settings().eab = Some(eab(scope, args)?);
        Ok(())
    }),
    row(c"MDChallengeDns01", Args::Line, Place::Anywhere, c"command that sets up and tears down dns-01 challenges", |scope, args| {
        let line = command(args[0]);
        *scope.own_or_global(|own| &mut own.dns01_command, |globals| &mut globals.dns01_command) = line;
        Ok(())
    }),
    row(c"MDChallengeDns01Version", Args::One, Place::Server, c"arguments that the dns-01 command gets: '1' or '2'", |scope, args| {
        scope.globals.dns01_version = match args[0] {
            "1" => 1,
            "2" => 2,
            other => return Err(format!("Only versions `1` and `2` are supported: '{other}'")),
        };
        Ok(())
    }),
    row(c"MDHttpProxy", Args::One, Place::Anywhere, c"URL of the proxy for requests to CAs and OCSP responders, or 'none' for no proxy, not even the environment's", |scope, args| {
        let url = proxy_url(args[0])?;
        *scope.own_or_global(|own| &mut own.proxy, |globals| &mut globals.proxy) = Some(url);
        Ok(())
    }),
    row(c"MDHttpProxyCACertificateFile", Args::One, Place::Anywhere, c"file with the root certificates for an https proxy, or 'none'", |scope, args| {
        set_file(scope, args[0], |own| &mut own.proxy_ca_file, |globals| &mut globals.proxy_ca_file)
    }),
    row(c"MDCACertificateFile", Args::One, Place::Anywhere, c"file with the root certificates for the CA's server, or 'none'", |scope, args| {
        set_file(scope, args[0], |own| &mut own.ca_file, |globals| &mut globals.ca_file)
    }),
    row(c"MDCertificateFile", Args::One, Place::Domain, c"file with a certificate and its chain to serve for the domain", |scope, args| {
        let file = file(scope, args[0], "certificate file not found: ")?;
        scope.settings().cert_files.push(file);
        Ok(())
    }),
    row(c"MDCertificateKeyFile", Args::One, Place::Domain, c"file with the key of the certificate file of the same number", |scope, args| {
        let file = file(scope, args[0], "certificate key file not found: ")?;
        scope.settings().key_files.push(file);
        Ok(())
    }),
    row(c"MDRequireHttps", Args::One, Place::AnywhereOrIf, c"how plain requests are sent to https: 'off', 'temporary' or 'permanent'", |scope, args| {
        scope.settings().require_https = Some(values::require_https(args[0])?);
        Ok(())
    }),
    row(c"MDStapling", Args::One, Place::Anywhere, c"whether OCSP responses are stapled: 'on' or 'off'", |scope, args| {
        scope.settings().stapling = Some(on_off(args[0])?);
        Ok(())
    }),
    row(c"MDStapleOthers", Args::One, Place::Anywhere, c"whether stapling includes hosts without a managed domain: 'on' or 'off'", |scope, args| {
        scope.settings().staple_others = Some(on_off(args[0])?);
        Ok(())
    }),
    row(c"MDStaplingKeepResponse", Args::One, Place::Anywhere, c"age at which OCSP responses are deleted, or a percentage of a week", |scope, args| {
        scope.globals.keep_response = Window::parse_any(args[0]).map_err(|err| err.to_string())?;
        Ok(())
    }),
    row(c"MDStaplingRenewWindow", Args::One, Place::Anywhere, c"time before the end of an OCSP response to renew it in, or a percentage of its life", |scope, args| {
        scope.globals.stapling_renew_window = window(args[0]).map_err(|err| err.replace("a length", "with a length"))?;
        Ok(())
    }),
    row(c"MDStoreDir", Args::One, Place::Server, c"directory of the store", |scope, args| {
        scope.globals.store_dir = Some(path(scope, args[0], "not a path: ")?);
        Ok(())
    }),
    row(c"MDNotifyCmd", Args::Line, Place::Server, c"command that is run when a domain is renewed", |scope, args| {
        scope.globals.notify_command = command(args[0]);
        Ok(())
    }),
    row(c"MDMessageCmd", Args::Line, Place::Server, c"command that is run when something happens to a domain", |scope, args| {
        scope.globals.message_command = command(args[0]);
        Ok(())
    }),
    ours(row(c"MDMessageEvents", Args::One, Place::Server, c"events for which MDMessageCmd is run: 'compatible' (those of the C module) or 'all'", |scope, args| {
        scope.globals.all_events = values::message_events(args[0])?;
        Ok(())
    })),
    ours(row(c"MDCmdTimeout", Args::OneOrTwo, Place::Server, c"how long commands for events may take, and those for dns-01", |scope, args| {
        let timeouts = &mut scope.globals.cmd_timeout;
        timeouts.events = values::timeout(args[0])?;
        timeouts.dns01 = args.get(1).map_or(Ok(timeouts.dns01), |arg| values::timeout(arg))?;
        Ok(())
    })),
    row(c"MDPortMap", Args::OneOrTwo, Place::Server, c"local ports behind the public ones, e.g. 'http:8080 https:8443', '-' for none", |scope, args| {
        args.iter().try_for_each(|arg| scope.globals.port_map.set(arg).map_err(|err| err.to_string()))
    }),
    row(c"MDBaseServer", Args::One, Place::Server, c"whether the main server can belong to a managed domain: 'on' or 'off'", |scope, args| {
        scope.globals.base_server = on_off(args[0])?;
        Ok(())
    }),
    row(c"MDMatchNames", Args::One, Place::Server, c"names of virtual hosts that count: 'all' or 'servernames'", |scope, args| {
        scope.globals.match_names = match_names(args[0])?;
        Ok(())
    }),
    row(c"MDCheckInterval", Args::One, Place::Server, c"time between checks of what is to be renewed", |scope, args| {
        scope.globals.check_interval = at_least(args[0], SignedDuration::from_secs(1), "check interval cannot be less than one second")?;
        Ok(())
    }),
    row(c"MDInitialDelay", Args::One, Place::Server, c"time from a start to the first check", |scope, args| {
        scope.globals.initial_delay = at_least(args[0], SignedDuration::ZERO, "initial delay must not be negative")?;
        Ok(())
    }),
    row(c"MDRetryDelay", Args::One, Place::Server, c"time to wait after the first failure of a renewal", |scope, args| {
        scope.globals.retry_delay = at_least(args[0], SignedDuration::from_millis(1), "minimum delay must be greater than 0")?;
        Ok(())
    }),
    row(c"MDRetryFailover", Args::One, Place::Server, c"failures at which the next CA is tried", |scope, args| {
        let number = args[0].parse().ok().filter(|number| *number > 0);
        scope.globals.retry_failover = number.ok_or_else(|| format!("invalid argument, must be a number > 0: '{}'", args[0]))?;
        Ok(())
    }),
    row(c"MDActivationDelay", Args::One, Place::Server, c"time from a renewal to its notification", |scope, args| {
        scope.globals.activation_delay = duration(args[0], Unit::Days)?;
        Ok(())
    }),
    ours(row(c"MDActivation", Args::One, Place::Anywhere, c"what makes a new certificate be used: 'restart', 'live' or 'graceful'", |scope, args| {
        scope.settings().activation = Some(values::activation(args[0])?);
        Ok(())
    })),
    ours(row(c"MDActivationMinInterval", Args::One, Place::Server, c"least time between restarts that MDActivation graceful makes", |scope, args| {
        let interval = at_least(args[0], SignedDuration::from_secs(1), "interval cannot be less than one second")?;
        scope.globals.activation_interval = interval;
        Ok(())
    })),
    ours(row(c"MDActivationWindow", Args::One, Place::Server, c"hours in which MDActivation graceful restarts, like 03:00-05:00, or 'any'", |scope, args| {
        scope.globals.activation_window = values::daily_window(args[0])?;
        Ok(())
    })),
    row(c"MDServerStatus", Args::One, Place::Anywhere, c"whether server-status shows managed domains: 'on' or 'off'", |scope, args| {
        scope.globals.server_status = Some(on_off(args[0])?);
        Ok(())
    }),
    row(c"MDCertificateStatus", Args::One, Place::Anywhere, c"whether /.httpd/certificate-status is answered: 'on' or 'off'", |scope, args| {
        scope.globals.certificate_status = on_off(args[0])?;
        Ok(())
    }),
    row(c"MDCertificateCheck", Args::Two, Place::Anywhere, c"name and URL of a site that shows certificates by their fingerprint", certificate_check),
    ours(row(c"MDCertificateMonitor", Args::Two, Place::Anywhere, c"another name of MDCertificateCheck", certificate_check)),
    ours(row(c"MDLazyCertificates", Args::One, Place::Server, c"whether certificates are decoded when the first handshake asks for them: 'on' or 'off'", |scope, args| {
        scope.globals.lazy_certificates = on_off(args[0])?;
        Ok(())
    })),
    row(c"MDStoreLocks", Args::One, Place::Server, c"whether servers that share a store take turns at a start: 'on', 'off', or how long to wait", |scope, args| {
        scope.globals.store_locks = values::store_locks(args[0])?;
        Ok(())
    }),
    ours(row(c"MDRenewWorkers", Args::One, Place::Server, c"renewals that run side by side, 1 to 64", |scope, args| {
        let number = args[0].parse().ok().filter(|number| (1..=MAX_WORKERS).contains(number)).and_then(NonZeroU8::new);
        scope.globals.renew_workers = number.ok_or_else(|| format!("must be a number from 1 to {MAX_WORKERS}: '{}'", args[0]))?;
        Ok(())
    })),
];

const fn row(name: &'static CStr, args: Args, place: Place, help: &'static CStr, apply: Apply) -> Directive {
    Directive { name, args, place, help, is_ours: false, apply }
}

/// Marks a directive that the C module does not have.
const fn ours(row: Directive) -> Directive {
    Directive { is_ours: true, ..row }
}

impl Directive {
    /// Returns the name as text.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }

    /// Checks the place, then applies the arguments. The text of an error names the directive.
    ///
    /// # Errors
    /// The error, in words for the administrator.
    pub fn run(&self, scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
        let name = self.name();
        match (self.place, &scope.target) {
            (Place::Server, Target::Domain(_)) => {
                return Err(format!("{name} is not allowed inside an '<MDomainSet' context"));
            }
            (Place::Domain, Target::Server { .. }) => return Err(format!("{name} {OUTSIDE}")),
            _ => {}
        }
        (self.apply)(scope, args).map_err(|err| format!("{name}: {err}"))
    }
}

/// The error of a directive that stands outside of a domain's section.
const OUTSIDE: &str = "is only valid inside a '<MDomainSet' context, not here";

impl Scope<'_> {
    fn settings(&mut self) -> &mut Settings {
        match &mut self.target {
            Target::Server { settings, .. } => settings,
            Target::Domain(declared) => &mut declared.settings,
        }
    }

    /// Returns the place of a value that a domain can have for itself: the domain's in a section, else the server's.
    fn own_or_global<T>(&mut self, own: fn(&mut Settings) -> &mut T, global: fn(&mut Globals) -> &mut T) -> &mut T {
        match &mut self.target {
            Target::Server { .. } => global(self.globals),
            Target::Domain(declared) => own(&mut declared.settings),
        }
    }
}

/// Keeps `none` as a value in a section, where it overrides the file of the server.
fn set_file(
    scope: &mut Scope<'_>,
    text: &str,
    own: fn(&mut Settings) -> &mut Option<String>,
    global: fn(&mut Globals) -> &mut Option<String>,
) -> Result<(), String> {
    let value = match unless_none(text) {
        Some(text) => Some(file(scope, &text, "Invalid file path ")?),
        None => matches!(scope.target, Target::Domain(_)).then(|| "none".to_owned()),
    };
    *scope.own_or_global(own, global) = value;
    Ok(())
}

/// Declares a domain of these names and of those among the words.
fn declare(scope: &mut Scope<'_>, names: Vec<DomainName>, words: &[&str]) -> Result<(), String> {
    let Target::Server { declared, .. } = &mut scope.target else { return Ok(()) };
    let mut new = Declared { names, settings: Settings::default(), origin: scope.origin.clone() };
    new.add_words(words).map_err(|err| err.to_string())?;
    if new.names.is_empty() {
        return Err("needs at least one domain name".to_owned());
    }
    declared.push(new);
    Ok(())
}

/// The first word of a section is its name, even if it is `auto`.
fn section(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
    let [first, rest @ ..] = args else { return Err("section must specify a unique domain name".to_owned()) };
    declare(scope, vec![DomainName::parse(first).map_err(|err| err.to_string())?], rest)
}

fn members(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
    match (&mut scope.target, args) {
        (Target::Domain(declared), words) => declared.add_words(words).map_err(|err| err.to_string()),
        (Target::Server { settings, .. }, [word]) => {
            let mode = member_mode(word).ok_or(format!("unknown value '{word}', use 'auto|manual'"))?;
            settings.members = Some(mode);
            Ok(())
        }
        _ => Err(OUTSIDE.to_owned()),
    }
}

fn renew_mode(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
    scope.settings().renew_mode = Some(values::renew_mode(args[0])?);
    Ok(())
}

fn window(text: &str) -> Result<Window, String> {
    Window::parse(text).map_err(|err| err.to_string())
}

fn certificate_check(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
    scope.globals.certificate_check = (args[0].to_owned(), args[1].to_owned());
    Ok(())
}

#[cfg(test)]
mod tests;
