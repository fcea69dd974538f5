//! The definitions of all commands, options and arguments, from which the help and the man page are made.
//!
//! Options belong to one level and end at its first argument, as scripts expect of `a2md`.

use clap::{Arg, ArgAction, ArgMatches, Command};

/// Id of the positional arguments of every command.
const REST: &str = "args";

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    level("a2md", "Manage the domains, certificates and accounts in the store of mod_md")
        .long_about(
            "a2md works on the store of mod_md (MDStoreDir), beside a running Apache httpd or without one. It lists and \
             changes managed domains, registers accounts at a certificate authority, obtains and revokes certificates, \
             and shows what the server will do with the contents of the store.",
        )
        .args(program_options())
        .subcommands(domain_commands())
        .subcommands([drive_command(), revoke_command(), status_command(), check_command()])
        .subcommands([preflight_command(), persist_record_command()])
        .subcommands([import_commands(), store_commands(), acme_commands()])
}

fn program_options() -> [Arg; 9] {
    [
        value("acme", 'a', "url").help("Directory URL of the ACME server; 'add' and 'update' save it in the domain"),
        value("cafile", 'C', "file").help("PEM file with the root certificates to trust for connections to the ACME server"),
        value("dir", 'd', "dir").help(
            "Directory of the store, as MDStoreDir names it. The default is A2MD_DIR of the environment, else the store in \
             /etc/apache2/md, /var/lib/apache2/md, /var/lib/httpd/md, /usr/local/apache2/md or /etc/httpd/md. Only 'add', \
             'import', 'store add', 'acme newreg' and 'acme import' create a store",
        ),
        flag("json", 'j').help("Print one JSON document instead of lines"),
        value("proxy", 'p', "url").help(
            "URL of the HTTP proxy, or none; the default is the proxy of the domain (MDHttpProxy), else that of the \
             environment",
        ),
        counted("quiet", 'q').help("Print fewer messages; may be repeated"),
        value("terms", 't', "url|accepted")
            .help("Agreement to the terms of service, for 'acme newreg', 'acme agree' and 'acme update'"),
        counted("verbose", 'v').help("Print more messages; may be repeated"),
        flag("version", 'V').help("Print the version"),
    ]
}

fn domain_commands() -> [Command; 3] {
    [
        leaf("add", "domain...", "Add a managed domain", DNS_NAMES),
        leaf(
            "update",
            "name [setting [value...]]",
            "Change a managed domain",
            "Name of the managed domain, then the setting to change, as listed below",
        )
        .after_help(UPDATE),
        leaf(
            "list",
            "[name...]",
            "List managed domains",
            "Name of a managed domain, or any DNS name in one; the default is all managed domains",
        ),
    ]
}

fn drive_command() -> Command {
    leaf("drive", "[name...]", "Renew certificates that are due, and activate them", MANAGED_DOMAINS)
        .long_about(
            "Renew certificates that are due, and activate them, also with MDRenewMode manual. A domain is due if a \
             certificate is missing or incomplete, if its renew window has opened, or if the ACME server asks for a \
             renewal. The command reports the serial numbers of the new certificates; the server uses these after its \
             next (graceful) restart, or at once with MDActivation live. The command ends at the first failure. Naming a \
             domain that serves MDCertificateFile is a failure; naming a domain that is not due is not.",
        )
        .args([
            value("challenge", 'c', "type").help("Use only this challenge type, e.g. http-01"),
            flag("force", 'f').help(
                "Renew certificates of all key types even if they are not due; if new certificates are staged already and \
                 not served yet, these are activated instead",
            ),
            flag("reset", 'r').help("Discard what an earlier renewal has left in staging"),
        ])
}

fn revoke_command() -> Command {
    let reason = value("reason", 'r', "reason").help(
        "Reason, by name or number: keyCompromise (1), affiliationChanged (3), superseded (4), cessationOfOperation (5); \
         the default is unspecified (0)",
    );
    mixed(leaf("revoke", "name", "Revoke the certificates of a managed domain", "Name of the managed domain").arg(reason))
        .long_about(
            "Revoke the certificates that a managed domain serves, of all key types. The requests are signed by the \
             account that ordered the certificates, or by the key of each certificate if that account is gone or refused. \
             The server serves the revoked certificates until new ones are in use; 'drive -f' obtains new certificates \
             with new keys at once.",
        )
}

fn status_command() -> Command {
    leaf("status", "[name...]", "Show the certificates and renewals of managed domains", MANAGED_DOMAINS).long_about(
        "Show until when certificates are valid, when they will be renewed, and which renewals failed and why; with \
         MDActivation live or graceful also which certificates are live, and which the server will use after a restart.",
    )
}

fn check_command() -> Command {
    leaf("check", "", "Show what the next start of the server would activate, discard or repair", "").long_about(
        "Show what the next start of the server would activate, discard or repair, and change nothing. The command assumes \
         that all domains of the store are still configured. A store that would keep the server from starting is a failure.",
    )
}

fn preflight_command() -> Command {
    leaf("preflight", "[name...]", "Find out what would keep a CA from issuing certificates", MANAGED_DOMAINS)
        .long_about(
            "Find out what would keep a CA from issuing certificates, without ordering any. For each name: the addresses in \
             the DNS; CAA records; for each challenge type that may be used, whether a test challenge is answered as a CA \
             will look for it (by the running server, through each address of the name), or its TXT record is seen. For each \
             CA: whether its directory answers, through which proxy, and whether the clocks agree. Run it on the server, \
             while httpd runs. Each line ends in ok, warning or error. A challenge type that fails is an error where no other \
             works. The command is advice: it never holds a renewal back. The exit code is 1 if there are errors.",
        )
        .args([
            value("resolver", 'r', "address").help("Name server to ask, e.g. 192.0.2.53 or 192.0.2.53:5353; the default is those of /etc/resolv.conf"),
            value("http-port", 'P', "port").help("Port at which the CA looks for http-01; the default is 80"),
            value("https-port", 'S', "port").help("Port at which the CA looks for tls-alpn-01; the default is 443"),
        ])
}

fn persist_record_command() -> Command {
    leaf(
        "persist-record",
        "name...",
        "Print the permanent TXT records for the challenge dns-persist-01",
        "Names of managed domains",
    )
    .long_about(
        "Print the TXT records with which the challenge dns-persist-01 validates the names of managed domains at every \
         renewal: one for each name and each ACME server of the domain. If a server has several issuer names, there is one \
         record for each of them, and one of these is enough. The records contain the account at the server; a missing \
         account is registered.",
    )
    .arg(value("until", 'u', "time").help("Time at which the records expire, e.g. 2027-01-31 (persistUntil)"))
}

fn import_commands() -> Command {
    level("import", "Import certificates of other programs").subcommand(
        leaf(
            "import certbot",
            "dir",
            "Create a managed domain for each certificate of certbot",
            "Directory of certbot, usually /etc/letsencrypt",
        )
        .long_about(
            "Create a managed domain for each certificate of certbot, from live/<name>/fullchain.pem and privkey.pem in its \
             directory. Domains that exist in the store stay as they are, and the files of certbot are not changed. \
             Accounts are not imported.",
        ),
    )
}

fn store_commands() -> Command {
    level("store", "Change the store without checks").subcommands([
        leaf("store add", "domain...", "Add a managed domain, without checks", DNS_NAMES),
        leaf(
            "store remove",
            "name...",
            "Remove the settings of managed domains; keys and certificates stay",
            "Names of managed domains",
        )
        .arg(flag("force", 'f').help("Ignore domains that do not exist")),
        leaf("store list", "", "List managed domains", ""),
        leaf(
            "store update",
            "name [domains domain...]",
            "Change the DNS names or the ACME server (-a) of a managed domain, without checks",
            "Name of the managed domain, then its new DNS names",
        ),
    ])
}

fn acme_commands() -> Command {
    level("acme", "Manage accounts at an ACME server").subcommands([
        leaf(
            "acme newreg",
            "[contact...]",
            "Register an account",
            "Where the ACME server can reach you, e.g. a mail address; some ACME servers want one",
        ),
        leaf("acme validate", "account...", "Ask the ACME server whether accounts are valid", ACCOUNTS),
        leaf("acme agree", "account...", "Agree to the terms of service of the ACME server", ACCOUNTS),
        leaf(
            "acme update",
            "account [contact...]",
            "Change the contacts of an account, and its agreement to the terms of service",
            "Id of an account in the store, then its new contacts; the default is the contacts of the domains that use the \
             account",
        ),
        leaf("acme rollover", "account...", "Replace the keys of accounts", ACCOUNTS).long_about(
            "Replace the keys of accounts. The store has the old and the new key until the server has accepted the new one. \
             If the command is interrupted, the next command or renewal that uses the account finds out which key the \
             server accepts.",
        ),
        leaf("acme import", "file", "Import the account of a key that another program has created", KEY_FILE).long_about(
            "Import the account of a key that another program has created, from the server that -a names. No account is \
             registered.",
        ),
        mixed(
            leaf("acme deactivate", "account...", "Deactivate accounts for good", ACCOUNTS)
                .arg(flag("yes", 'y').help("Confirm the deactivation; without this option nothing is done")),
        )
        .long_about(
            "Deactivate accounts at the ACME server. This cannot be undone. Certificates of the accounts stay valid, and \
             the store keeps the accounts, marked as deactivated. Domains that use such an account register a new one at \
             their next renewal.",
        ),
        leaf("acme delreg", "account...", "Remove accounts from the store; the ACME server is not informed", ACCOUNTS),
    ])
}

const DNS_NAMES: &str = "DNS names of the domain; the first one is also the name of the managed domain";
const MANAGED_DOMAINS: &str = "Names of managed domains; the default is all";
const ACCOUNTS: &str = "Ids of accounts in the store";
const KEY_FILE: &str =
    "File with the key, as JSON Web Key or as PEM without encryption; the key may be RSA, P-256, P-384 or P-521";
const UPDATE: &str = "\
Settings:
  domains <domain>...       the DNS names; the name of the managed domain stays
  ca <url> [proto]          the ACME server, as option -a
  account [id]              the account; without an id, any suitable account
  contacts <contact>...     where the ACME server can reach you
  agreement [url|accepted]  the agreement to the terms of service; without a value, none";

/// The command that the arguments name, with its own options.
pub struct Given<'a> {
    /// The words of the command, e.g. `store add`; empty if no command was given.
    pub path: String,
    /// The options and arguments of the command.
    pub matches: &'a ArgMatches,
    /// True for a group such as `store` without a command of the group.
    pub is_incomplete: bool,
}

/// Finds the command in parsed arguments.
///
/// # Errors
/// The words of a command that is not defined.
pub fn given<'a>(definition: &Command, matches: &'a ArgMatches) -> Result<Given<'a>, String> {
    let mut path = Vec::new();
    let mut definition = definition;
    let mut matches = matches;
    while let Some((name, below)) = matches.subcommand().filter(|_| !matches.get_flag("help")) {
        definition = definition.find_subcommand(name).ok_or_else(|| [&path[..], &[name]].concat().join(" "))?;
        matches = below;
        path.push(name);
    }
    Ok(Given { path: path.join(" "), matches, is_incomplete: definition.has_subcommands() })
}

/// Returns the definition of the command with these words, e.g. `store add`.
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
    /// Returns the positional arguments.
    #[must_use]
    pub fn args(&self) -> Vec<&str> {
        let rest = self.matches.try_get_many::<String>(REST).ok().flatten();
        rest.into_iter().flatten().map(String::as_str).collect()
    }

    /// Returns whether an option without a value was given; false for options that the command does not have.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.matches.try_get_one(name).ok().flatten().copied().unwrap_or(false)
    }

    /// Returns the value of an option.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.matches.try_get_one::<String>(name).ok().flatten().map(String::as_str)
    }
}

/// Defines a group of commands, or the common part of a command.
fn level(name: &'static str, about: &'static str) -> Command {
    let help = flag("help", 'h').help("Print help");
    let command = Command::new(name).about(about).arg(help);
    command
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .allow_external_subcommands(true)
}

/// Defines a command that is no group. `path` has all words of the command; `words` are the arguments as the usage line
/// shows them, and the first of these becomes the name of the positional arguments.
fn leaf(path: &'static str, words: &'static str, about: &'static str, help: &'static str) -> Command {
    let name = path.rsplit(' ').next().unwrap_or(path);
    let first = words.split(' ').next().unwrap_or_default().trim_matches(['[', ']', '.']);
    let rest = Arg::new(REST).num_args(0..).trailing_var_arg(true).action(ArgAction::Append);
    let rest = if words.is_empty() { rest.hide(true) } else { rest.value_name(first).help(help) };
    let usage = format!("a2md [options] {path} [options] {words}");
    level(name, about).allow_external_subcommands(false).arg(rest).override_usage(usage.trim_end().to_owned())
}

/// Allows options behind the arguments of a command.
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
