//! The table of all directives: one row each, with its arguments, its place and what it sets.

use std::ffi::CStr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use url::Url;

use super::settings::member_mode;
use super::{Declared, Globals, KeySpecs, MatchNames, Origin, RenewMode, Settings, Unit, Window, parse_duration};

/// One directive.
pub struct Directive {
    /// Its name; sections begin with `<`.
    pub name: &'static CStr,
    /// How its arguments are split.
    pub args: Args,
    /// Where it may stand.
    pub place: Place,
    /// What `httpd -L` says of it.
    pub help: &'static CStr,
    /// Checks the arguments and sets the value.
    pub apply: Apply,
}

/// The arguments a directive takes; httpd checks the count, except for lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Args {
    /// Exactly one.
    One,
    /// One or two.
    OneOrTwo,
    /// Any number.
    List,
    /// Words up to `>`, then directives up to the end tag.
    Section,
}

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a server and in the section of a domain.
    Anywhere,
    /// In a server only.
    Server,
}

/// Sets what the arguments say, or tells what is wrong with them.
pub type Apply = fn(&mut Scope<'_>, &[&str]) -> Result<(), String>;

/// What a directive can see and change at its place.
pub struct Scope<'a> {
    /// Values of the whole server.
    pub globals: &'a mut Globals,
    /// The server or the domain it stands in.
    pub target: Target<'a>,
    /// The place in the configuration.
    pub origin: Origin,
    /// Makes a path absolute, relative to ServerRoot.
    pub resolve: &'a dyn Fn(&str) -> Option<PathBuf>,
}

/// What a directive stands in.
pub enum Target<'a> {
    /// The main server or a virtual host.
    Server {
        /// Its properties.
        settings: &'a mut Settings,
        /// The domains declared in it.
        declared: &'a mut Vec<Declared>,
    },
    /// The section of a domain.
    Domain(&'a mut Declared),
}

/// The CA that is used when none is configured.
pub const DEFAULT_CA: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// CAs that can be called by name.
const CA_NAMES: [(&str, &str); 4] = [
    ("LetsEncrypt", DEFAULT_CA),
    ("LetsEncrypt-Test", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("Buypass", "https://api.buypass.com/acme/directory"),
    ("Buypass-Test", "https://api.test4.buypass.no/acme/directory"),
];

/// What `MDStoreLocks on` waits for the lock.
const STORE_LOCK_WAIT: Duration = Duration::from_secs(5);

/// Workers that `MDRenewWorkers` allows at most.
const MAX_WORKERS: u8 = 64;

/// All directives.
#[rustfmt::skip]
pub static DIRECTIVES: [Directive; 22] = [
    row(c"MDomain", Args::List, Place::Server, c"domain names of a managed domain, with 'auto' or 'manual' for its members", declare),
    row(c"<MDomainSet", Args::Section, Place::Server, c"a managed domain with settings of its own", declare),
    row(c"<MDomain", Args::Section, Place::Server, c"a managed domain with settings of its own", declare),
    row(c"MDMember", Args::List, Place::Anywhere, c"further names of the domain, or 'auto' or 'manual'", members),
    row(c"MDMembers", Args::List, Place::Anywhere, c"further names of the domain, or 'auto' or 'manual'", members),
    row(c"MDCertificateAuthority", Args::List, Place::Anywhere, c"names or directory URLs of the CAs to use, in order", |scope, args| {
        scope.settings().ca_urls = Some(args.iter().map(|arg| ca_url(arg)).collect::<Result<_, _>>()?);
        Ok(())
    }),
    row(c"MDCertificateAgreement", Args::One, Place::Anywhere, c"'accepted', or the URL of the CA's terms you agree to", |scope, args| {
        scope.settings().agreement = Some(args[0].to_owned());
        Ok(())
    }),
    row(c"MDContactEmail", Args::One, Place::Anywhere, c"mail address that the CA may write to", |scope, args| {
        scope.settings().contact = Some(contact_uri(args[0]));
        Ok(())
    }),
    row(c"MDCAChallenges", Args::List, Place::Anywhere, c"challenge types to use, in order of preference", |scope, args| {
        scope.settings().challenges = Some(args.iter().map(ToString::to_string).collect());
        Ok(())
    }),
    row(c"MDCACertificateFile", Args::One, Place::Anywhere, c"file with the root certificates for the CA's server, or 'none'", ca_file),
    row(c"MDPrivateKeys", Args::List, Place::Anywhere, c"'Default', 'RSA [bits]' or names of curves: a certificate for each", |scope, args| {
        scope.settings().keys = Some(Arc::new(KeySpecs::parse(args).map_err(|err| err.to_string())?));
        Ok(())
    }),
    row(c"MDRenewMode", Args::One, Place::Anywhere, c"'auto', 'always' or 'manual'", renew_mode),
    row(c"MDDriveMode", Args::One, Place::Anywhere, c"old name of MDRenewMode", renew_mode),
    row(c"MDRenewWindow", Args::One, Place::Anywhere, c"time before the end of a certificate to renew it in, or a percentage of its life", |scope, args| {
        scope.settings().renew_window = Some(Window::parse(args[0]).map_err(|err| err.to_string())?);
        Ok(())
    }),
    row(c"MDStoreDir", Args::One, Place::Server, c"directory of the store", |scope, args| {
        let path = (scope.resolve)(args[0]).ok_or_else(|| format!("'{}' is not a path", args[0]))?;
        scope.globals.store_dir = Some(path);
        Ok(())
    }),
    row(c"MDPortMap", Args::OneOrTwo, Place::Server, c"local ports behind the public ones, e.g. 'http:8080 https:8443', '-' for none", |scope, args| {
        args.iter().try_for_each(|arg| scope.globals.port_map.set(arg).map_err(|err| err.to_string()))
    }),
    row(c"MDCheckInterval", Args::One, Place::Server, c"time between checks of what is to be renewed", |scope, args| {
        scope.globals.check_interval = at_least(args[0], SignedDuration::from_secs(1), "check interval cannot be less than one second")?;
        Ok(())
    }),
    row(c"MDRetryDelay", Args::One, Place::Server, c"time to wait after the first failure of a renewal", |scope, args| {
        scope.globals.retry_delay = at_least(args[0], SignedDuration::from_millis(1), "minimum delay must be greater than 0")?;
        Ok(())
    }),
    row(c"MDBaseServer", Args::One, Place::Server, c"whether the main server can belong to a managed domain: 'on' or 'off'", |scope, args| {
        scope.globals.base_server = on_off(args[0])?;
        Ok(())
    }),
    row(c"MDMatchNames", Args::One, Place::Server, c"names of virtual hosts that count: 'all' or 'servernames'", |scope, args| {
        scope.globals.match_names = match args[0].to_ascii_lowercase().as_str() {
            "all" => MatchNames::All,
            "servernames" => MatchNames::ServerNames,
            other => return Err(format!("invalid argument, must be a 'all' or 'servernames': '{other}'")),
        };
        Ok(())
    }),
    row(c"MDStoreLocks", Args::One, Place::Server, c"whether servers that share a store take turns at a start: 'on', 'off', or how long to wait", |scope, args| {
        scope.globals.store_locks = store_locks(args[0])?;
        Ok(())
    }),
    row(c"MDRenewWorkers", Args::One, Place::Server, c"renewals that run side by side, 1 to 64", |scope, args| {
        let number = args[0].parse().ok().filter(|number| (1..=MAX_WORKERS).contains(number)).and_then(NonZeroU8::new);
        scope.globals.renew_workers = number.ok_or_else(|| format!("must be a number from 1 to {MAX_WORKERS}: '{}'", args[0]))?;
        Ok(())
    }),
];

const fn row(name: &'static CStr, args: Args, place: Place, help: &'static CStr, apply: Apply) -> Directive {
    Directive { name, args, place, help, apply }
}

impl Directive {
    /// The name as text.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }

    /// Checks the place, then applies the arguments. The text of an error names the directive.
    ///
    /// # Errors
    /// What is wrong, in words for the administrator.
    pub fn run(&self, scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
        match (self.place, &scope.target) {
            (Place::Server, Target::Domain(_)) => {
                Err(format!("{} is not allowed inside an '<MDomainSet' context", self.name()))
            }
            _ => (self.apply)(scope, args).map_err(|err| format!("{}: {err}", self.name())),
        }
    }
}

impl Scope<'_> {
    fn settings(&mut self) -> &mut Settings {
        match &mut self.target {
            Target::Server { settings, .. } => settings,
            Target::Domain(declared) => &mut declared.settings,
        }
    }
}

fn declare(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
    let Target::Server { declared, .. } = &mut scope.target else { return Ok(()) };
    let mut new = Declared { names: Vec::new(), settings: Settings::default(), origin: scope.origin.clone() };
    new.add_words(args).map_err(|err| err.to_string())?;
    if new.names.is_empty() {
        return Err("needs at least one domain name".to_owned());
    }
    declared.push(new);
    Ok(())
}

fn members(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
    match (&mut scope.target, args) {
        (Target::Domain(declared), words) => declared.add_words(words).map_err(|err| err.to_string()),
        (Target::Server { settings, .. }, [word]) => {
            let mode = member_mode(word).ok_or(format!("unknown value '{word}', use \"auto|manual\""))?;
            settings.members = Some(mode);
            Ok(())
        }
        _ => Err("is only valid inside a '<MDomainSet' context, not here".to_owned()),
    }
}

fn ca_url(arg: &str) -> Result<String, String> {
    if let Some((_, url)) = CA_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(arg)) {
        return Ok((*url).to_owned());
    }
    match Url::parse(arg) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(arg.to_owned()),
        _ => {
            let names: Vec<_> = CA_NAMES.iter().map(|(name, _)| *name).collect();
            Err(format!(
                "The CA name '{arg}' is not known and it is not a URL either. Known CA names are: {}.",
                names.join(", ")
            ))
        }
    }
}

/// The contact as a URI: `mailto:` goes in front unless there is a scheme.
#[must_use]
pub fn contact_uri(text: &str) -> String {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
        text.to_owned()
    } else {
        format!("mailto:{text}")
    }
}

fn ca_file(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
    match &mut scope.target {
        Target::Domain(declared) => declared.settings.ca_file = Some(args[0].to_owned()),
        Target::Server { .. } => {
            scope.globals.ca_file = Some(args[0].to_owned()).filter(|file| !file.eq_ignore_ascii_case("none"));
        }
    }
    Ok(())
}

fn renew_mode(scope: &mut Scope<'_>, args: &[&str]) -> Result<(), String> {
    let mode = match args[0].to_ascii_lowercase().as_str() {
        "auto" | "automatic" => RenewMode::Auto,
        "always" => RenewMode::Always,
        "manual" | "stick" => RenewMode::Manual,
        other => return Err(format!("unknown MDDriveMode {other}, use 'auto', 'always' or 'manual'")),
    };
    scope.settings().renew_mode = Some(mode);
    Ok(())
}

fn at_least(text: &str, least: SignedDuration, complaint: &str) -> Result<SignedDuration, String> {
    let value = parse_duration(text, Unit::Seconds).map_err(|err| format!("{err}: '{text}'"))?;
    if value < least { Err(format!("{complaint}: '{text}'")) } else { Ok(value) }
}

/// How long a start waits for the lock of the store; `None` for no lock.
fn store_locks(text: &str) -> Result<Option<Duration>, String> {
    if let Ok(on) = on_off(text) {
        return Ok(on.then_some(STORE_LOCK_WAIT));
    }
    let wait = parse_duration(text, Unit::Seconds).ok().and_then(|wait| Duration::try_from(wait).ok());
    let wait = wait.ok_or_else(|| format!("neither 'on', 'off' or a duration specified: '{text}'"))?;
    Ok(Some(wait).filter(|wait| !wait.is_zero()))
}

fn on_off(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("unknown '{text}', supported parameter values are 'on' and 'off'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Config {
        globals: Globals,
        settings: Settings,
        declared: Vec<Declared>,
    }

    impl Config {
        fn run(&mut self, in_section: bool, line: &str) -> Result<(), String> {
            let (name, args) = line.split_once(' ').unwrap_or((line, ""));
            let directive = DIRECTIVES.iter().find(|row| row.name().eq_ignore_ascii_case(name)).expect("a known name");
            let target = if in_section {
                Target::Domain(&mut self.declared[0])
            } else {
                Target::Server { settings: &mut self.settings, declared: &mut self.declared }
            };
            let resolve = |path: &str| Some(PathBuf::from("/root").join(path));
            let mut scope = Scope { globals: &mut self.globals, target, origin: Origin::default(), resolve: &resolve };
            directive.run(&mut scope, &args.split_whitespace().collect::<Vec<_>>())
        }
    }

    #[test]
    fn wrong_values_are_refused_in_words() {
        let rows = [
            (false, "MDomain auto", "needs at least one domain name"),
            (false, "MDomain a/b.org", "cannot be a domain name"),
            (true, "MDomain x.org", "is not allowed inside an '<MDomainSet' context"),
            (true, "MDStoreDir x", "is not allowed inside an '<MDomainSet' context"),
            (false, "MDMember x.org", "use \"auto|manual\""),
            (false, "MDMembers x.org y.org", "is only valid inside a '<MDomainSet' context, not here"),
            (false, "MDCertificateAuthority nobody", "The CA name 'nobody' is not known "),
            (false, "MDCertificateAuthority nobody", "Known CA names are: LetsEncrypt, "),
            (false, "MDPrivateKeys RSA 1024", "must be 2048 or higher in order to be considered safe."),
            (false, "MDRenewMode never", "unknown MDDriveMode never"),
            (false, "MDRenewWindow soon", "has unrecognized format"),
            (false, "MDRenewWindow 100%", "a length of 100% or more is not allowed."),
            (false, "MDPortMap 80", "no ':' after first port number"),
            (false, "MDCheckInterval 3m", "unrecognized duration format"),
            (false, "MDCheckInterval 10ms", "check interval cannot be less than one second"),
            (false, "MDRetryDelay 0", "minimum delay must be greater than 0"),
            (false, "MDBaseServer maybe", "supported parameter values are 'on' and 'off'"),
            (false, "MDMatchNames some", "invalid argument, must be a 'all' or 'servernames'"),
            (false, "MDRenewWorkers 0", "must be a number from 1 to 64"),
            (false, "MDStoreLocks maybe", "neither 'on', 'off' or a duration specified"),
            (false, "MDStoreLocks -1s", "neither 'on', 'off' or a duration specified"),
            (true, "MDStoreLocks on", "is not allowed inside an '<MDomainSet' context"),
            (false, "MDRenewWorkers 65", "must be a number from 1 to 64"),
        ];
        for (in_section, line, phrase) in rows {
            let mut config = Config::default();
            config.run(false, "MDomain x.org").unwrap();
            let error = config.run(in_section, line).expect_err(line);
            let name = line.split(' ').next().unwrap();
            assert!(error.starts_with(name) && error.contains(phrase), "{line}: {error}");
        }
    }

    #[test]
    fn a_property_in_a_section_stays_there_and_a_global_does_not() {
        let mut config = Config::default();
        config.run(false, "MDomain x.org").unwrap();
        for line in ["MDRenewWindow 10d", "MDMembers www.x.org manual", "MDCACertificateFile none"] {
            config.run(true, line).unwrap();
        }
        assert_eq!(config.settings, Settings::default());
        let md = &config.declared[0];
        assert_eq!((md.names.len(), md.settings.ca_file.as_deref()), (2, Some("none")));
        config.run(false, "mdrenewwindow 5d").unwrap();
        config.run(false, "MDCACertificateFile /ca.pem").unwrap();
        assert_eq!(config.globals.ca_file.as_deref(), Some("/ca.pem"));
        config.run(false, "MDCACertificateFile NONE").unwrap();
        assert_eq!(config.globals.ca_file, None);
    }

    #[test]
    fn the_store_is_locked_if_that_is_wanted_with_a_wait() {
        let rows = [("on", Some(5000)), ("OFF", None), ("10", Some(10_000)), ("500ms", Some(500)), ("0", None)];
        for (text, wait) in rows {
            let mut config = Config::default();
            config.run(false, &format!("MDStoreLocks {text}")).unwrap();
            assert_eq!(config.globals.store_locks, wait.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn contacts_become_uris_and_known_cas_urls() {
        for (text, uri) in [("a@x.org", "mailto:a@x.org"), ("mailto:a@x.org", "mailto:a@x.org"), ("tel:1", "tel:1")] {
            assert_eq!(contact_uri(text), uri);
        }
        let mut config = Config::default();
        config.run(false, "MDCertificateAuthority letsencrypt-test https://ca.x.org/dir").unwrap();
        let urls = config.settings.ca_urls.unwrap();
        assert_eq!(urls, ["https://acme-staging-v02.api.letsencrypt.org/directory", "https://ca.x.org/dir"]);
    }
}
