//! The command line as clap knows it: every command, option and argument in one place. The man page comes from it, too.
//!
//! Options are taken per level and end at the first argument, as scripts expect of `a2md`.

use clap::{Arg, ArgAction, ArgMatches, Command};

/// The arguments of a command, whatever they mean to it.
const REST: &str = "args";

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    level("a2md", "Looks after the store of managed domains, beside an Apache httpd with mod_md or without one")
        .long_about(
            "a2md works on the store of mod_md (MDStoreDir): it lists and changes managed domains, registers accounts \
             at a certificate authority, obtains certificates, and tells what the server would do with what is stored.",
        )
        .args(program_options())
        .subcommands(domain_commands())
        .subcommands(certificate_commands())
        .subcommands([import_commands(), store_commands(), acme_commands()])
}

fn program_options() -> [Arg; 9] {
    [
            value("acme", 'a', "url").help("Directory URL of the ACME server; 'add' and 'update' store it"),
            value("cafile", 'C', "file").help("PEM file with roots to trust when talking to the ACME server"),
            value("dir", 'd', "dir").help(
                "Directory of the store; made if it is missing. There is no default: it is what MDStoreDir says, and without \
                 that /etc/apache2/md on Debian, /var/lib/httpd/md on Fedora and RHEL, md in ServerRoot elsewhere",
            ),
            flag("json", 'j').help("Print one JSON document instead of lines"),
            value("proxy", 'p', "url").help("HTTP proxy to use, or none; else that of the domain or of the environment"),
            counted("quiet", 'q').help("Tell less; may be repeated"),
            value("terms", 't', "url|accepted")
                .help("Agreement to the terms of service, for 'acme newreg', 'acme agree' and 'acme update'"),
            counted("verbose", 'v').help("Tell more; may be repeated"),
            flag("version", 'V').help("Print the version"),
    ]
}

fn domain_commands() -> [Command; 3] {
    [
        leaf("add", "domain...", "Add a managed domain", "The names, the first names the managed domain"),
        leaf(
            "update",
            "name [what [value...]]",
            "Change a managed domain",
            "The managed domain; then what to change, as below",
        )
        .after_help(UPDATE),
        leaf(
            "list",
            "[name...]",
            "List managed domains",
            "Only these, by the name of the managed domain or any name in it",
        ),
    ]
}

fn certificate_commands() -> [Command; 5] {
    [
            leaf("drive", "[name...]", "Renew certificates that are due, and activate them", MANAGED_DOMAINS)
                .long_about(
                    "Renew certificates that are due, and activate them, also where MDRenewMode is manual: what is missing or \
                     incomplete, what is in its renew window, and what the authority wants to have renewed. It tells the serials \
                     of what the server serves from its next (graceful) restart on, or at once with MDActivation live. It ends \
                     at the first failure. A domain that is named and serves MDCertificateFile is one; what is not due is none.",
                )
                .args([
                    value("challenge", 'c', "type").help("Use this type of challenge only, e.g. http-01"),
                    flag("force", 'f').help(
                        "Renew also what is not due, all types of key; what is staged is used if it is not served yet",
                    ),
                    flag("reset", 'r').help("Forget what an earlier renewal has left"),
                ]),
            mixed(
                leaf("revoke", "name", "Revoke the certificates of a managed domain", "The managed domain").arg(
                    value("reason", 'r', "reason").help(
                        "Why, by name or number: keyCompromise (1), affiliationChanged (3), superseded (4), \
                         cessationOfOperation (5); unspecified (0) if it is not said",
                    ),
                ),
            )
            .long_about(
                "Revoke the certificates that a managed domain serves, of all types of key, by the account that \
                 ordered them; where that is gone or refused, by the key of each certificate. The server goes on \
                 serving them until it has new ones, which have new keys: 'drive -f' obtains them at once.",
            ),
            leaf(
                "status",
                "[name...]",
                "Show what is valid until when, what is due, and what failed and why; what is live, and what a restart brings",
                MANAGED_DOMAINS,
            ),
            leaf("check", "", "Tell what the next start of the server would activate, discard or repair", "")
                .long_about(
                    "Tell what the next start of the server would activate, discard or repair, without doing it. It is \
                 assumed that the domains of the store are still configured. A store that would keep the server from \
                 starting is a failure.",
                ),
            leaf(
                "persist-record",
                "name...",
                "Print the TXT records that prove names for good (dns-persist-01)",
                "The managed domains",
            )
            .long_about(
                "Print the TXT records that prove the names of managed domains for good, with the challenge dns-persist-01: \
                 for each name, for each of its ACME servers, and for each name that such a server goes by, of which one is \
                 enough. The records name the account at the server, which is registered if there is none.",
            )
            .arg(value("until", 'u', "time").help("The records are good until then, e.g. 2027-01-31 (persistUntil)")),
    ]
}

fn import_commands() -> Command {
    level("import", "Take over certificates from other programs").subcommand(
        leaf(
            "import certbot",
            "dir",
            "Make a managed domain of every certificate of certbot",
            "Usually /etc/letsencrypt",
        )
        .long_about(
            "Make a managed domain of every certificate of certbot: live/<name>/fullchain.pem and \
                         privkey.pem below the directory. Nothing that the store has is overwritten, and nothing of \
                         certbot is changed; accounts are not taken over.",
        ),
    )
}

fn store_commands() -> Command {
    level("store", "Work on the store without checks").subcommands([
        leaf(
            "store add",
            "domain...",
            "Add a managed domain, without checks",
            "The names, the first names the managed domain",
        ),
        leaf("store remove", "name...", "Remove the settings of managed domains", "The managed domains")
            .arg(flag("force", 'f').help("Also where there is nothing to remove")),
        leaf("store list", "", "List managed domains", ""),
        leaf(
            "store update",
            "name [domains domain...]",
            "Change names or ACME server (-a), without checks",
            "The managed domain; then its new names",
        ),
    ])
}

fn acme_commands() -> Command {
    level("acme", "Work on accounts at an ACME server").subcommands([
        leaf("acme newreg", "contact...", "Register an account", "Where the server reaches you, e.g. a mail address"),
        leaf("acme validate", "account...", "Ask the server whether accounts are valid", ACCOUNTS),
        leaf("acme agree", "account...", "Agree to the server's terms of service", ACCOUNTS),
        leaf(
            "acme update",
            "account [contact...]",
            "Tell the server new contacts, and the agreement to its terms of service",
            "Id of an account in the store; then its contacts, without which they are those of the domains that \
                     use it",
        ),
        leaf("acme rollover", "account...", "Give accounts new keys", ACCOUNTS).long_about(
            "Give accounts new keys. Until the server has agreed the store has both. If this was cut short, the \
                     next command or renewal that uses the account finds out which one the server takes.",
        ),
        leaf("acme import", "file", "Add the account of a key that another program has made", KEY_FILE).long_about(
            "Add the account of a key that another program has made, at the server that -a names. Nothing is \
                     registered.",
        ),
        mixed(
            leaf("acme deactivate", "account...", "Give accounts up, for good", ACCOUNTS)
                .arg(flag("yes", 'y').help("That is what you want; without it nothing is done")),
        )
        .long_about(
            "Give accounts up, for good. Their certificates stay valid, and what the store has of them stays there, \
                     marked. Domains that used them register a new account with their next renewal.",
        ),
        leaf("acme delreg", "account...", "Remove accounts from the store; the server is not told", ACCOUNTS),
    ])
}

const MANAGED_DOMAINS: &str = "Only these managed domains";
const ACCOUNTS: &str = "Ids of accounts in the store";
const KEY_FILE: &str = "The key as JSON Web Key, or as PEM that is not encrypted; RSA or P-256, P-384, P-521";
const UPDATE: &str = "\
What to change:
  domains <domain>...       the names; the managed domain keeps its own
  ca <url> [proto]          the ACME server, as -a does
  account [id]              the account; without an id any that fits
  contacts <contact>...     where the ACME server reaches you
  agreement [url|accepted]  the agreement to its terms of service";

/// The command that was given, its name with those above it, and its own options.
pub struct Given<'a> {
    /// e.g. `store add`; empty if none was given.
    pub path: String,
    /// What was parsed for it.
    pub matches: &'a ArgMatches,
    /// Whether there are commands below it, of which none was given.
    pub is_incomplete: bool,
}

/// Follows the commands to the last one.
///
/// # Errors
/// The name of a command that there is not.
pub fn given<'a>(definition: &Command, matches: &'a ArgMatches) -> Result<Given<'a>, String> {
    let (mut path, mut definition, mut matches) = (Vec::new(), definition, matches);
    while let Some((name, below)) = matches.subcommand().filter(|_| !matches.get_flag("help")) {
        definition = definition.find_subcommand(name).ok_or_else(|| [&path[..], &[name]].concat().join(" "))?;
        matches = below;
        path.push(name);
    }
    Ok(Given { path: path.join(" "), matches, is_incomplete: definition.has_subcommands() })
}

/// The definition of a command, by its name with those above it.
#[must_use]
pub fn find(path: &str) -> Command {
    let mut found = command();
    found.build();
    for name in path.split_whitespace() {
        found = found.find_subcommand(name).cloned().unwrap_or(found);
    }
    found
}

impl Given<'_> {
    /// Its arguments.
    #[must_use]
    pub fn args(&self) -> Vec<&str> {
        let rest = self.matches.try_get_many::<String>(REST).ok().flatten();
        rest.into_iter().flatten().map(String::as_str).collect()
    }

    /// Whether this option was given; not if there is no such option.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.matches.try_get_one(name).ok().flatten().copied().unwrap_or(false)
    }

    /// The value of an option.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.matches.try_get_one::<String>(name).ok().flatten().map(String::as_str)
    }
}

fn level(name: &'static str, about: &'static str) -> Command {
    let help = flag("help", 'h').help("Print help");
    let command = Command::new(name).about(about).arg(help);
    command
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .allow_external_subcommands(true)
}

/// A command that does something: its name behind those above it, and its arguments, of which the first word names all.
fn leaf(path: &'static str, words: &'static str, about: &'static str, help: &'static str) -> Command {
    let name = path.rsplit(' ').next().unwrap_or(path);
    let first = words.split(' ').next().unwrap_or_default().trim_matches(['[', ']', '.']);
    let rest = Arg::new(REST).num_args(0..).trailing_var_arg(true).action(ArgAction::Append);
    let rest = if words.is_empty() { rest.hide(true) } else { rest.value_name(first).help(help) };
    let usage = format!("a2md [options] {path} [options] {words}");
    level(name, about).allow_external_subcommands(false).arg(rest).override_usage(usage.trim_end().to_owned())
}

/// The command, with options that may also stand behind its arguments.
fn mixed(command: Command) -> Command {
    command.mut_arg(REST, |rest| rest.trailing_var_arg(false))
}

fn flag(name: &'static str, short: char) -> Arg {
    Arg::new(name).short(short).long(name).action(ArgAction::SetTrue)
}

fn counted(name: &'static str, short: char) -> Arg {
    Arg::new(name).short(short).long(name).action(ArgAction::Count)
}

fn value(name: &'static str, short: char, value: &'static str) -> Arg {
    Arg::new(name).short(short).long(name).value_name(value)
}
