//! The definitions of all commands, options and arguments, from which the help and the man page are made.
//!
//! The options of the program stand anywhere, the options of a command anywhere behind it.

use clap::{Arg, ArgAction, Command, ValueHint};

use super::commands::makers;
use super::drive::{JOBS, MOST_JOBS};
use super::environment::{DIR_VARIABLE, USUAL};
use super::examples;
use super::given::REST;

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    level("a2md", "Manage the domains, certificates and accounts in the store of mod_md")
        .long_about(
            "a2md works on the store of mod_md (MDStoreDir), beside a running Apache httpd or without one. It lists and \
             changes managed domains, registers accounts at a certificate authority, obtains and revokes certificates, \
             and shows what the server will do with the contents of the store.",
        )
        .after_help(examples::of(""))
        .args(program_options())
        .subcommands(domain_commands())
        .subcommands([drive_command(), revoke_command(), status_command(), check_command()])
        .subcommands([preflight_command(), persist_record_command()])
        .subcommands([import_commands(), store_commands(), acme_commands(), fleet_commands()])
        .subcommands([
            leaf("help", "[command...]", "Print help", "Words of a command; the default is the help of a2md"),
            leaf("version", "", "Print the version", ""),
        ])
}

fn program_options() -> impl Iterator<Item = Arg> {
    let (last, others) = USUAL.split_last().expect("some places are usual");
    let dir = format!(
        "Directory of the store, as MDStoreDir names it. The default is {DIR_VARIABLE} of the environment, else the store in {} \
         or {last}. Only {} create a store",
        others.join(", "),
        makers()
    );
    let options = [
        value("acme", 'a', "url").help("Directory URL of the ACME server, or its name in MDCertificateAuthority, e.g. letsencrypt-test; 'add' and 'update' \
             save it in the domain"),
        value("cafile", 'C', "file").value_hint(ValueHint::FilePath)
            .help("PEM file with the root certificates to trust for connections to the ACME server"),
        value("dir", 'd', "dir").value_hint(ValueHint::DirPath).help(dir),
        flag("json", 'j').help("Print one JSON document instead of lines"),
        value("proxy", 'p', "url").help(
            "URL of the HTTP proxy, or none; the default is the proxy of the domain (MDHttpProxy), else that of the \
             environment",
        ),
        counted("quiet", 'q').help("Print fewer messages; may be repeated"),
        value("terms", 't', "url|accepted")
            .help("Agreement to the terms of service, for 'add', 'acme newreg', 'acme agree' and 'acme update'"),
        counted("verbose", 'v').help("Print more messages; may be repeated"),
    ];
    let global = options.map(|option| option.global(true).help_heading("Options of all commands"));
    global.into_iter().chain([flag("version", 'V').help("Print the version")])
}

fn domain_commands() -> [Command; 3] {
    [
        add_command(),
        leaf(
            "update",
            "name [setting [value...]]",
            "Change a managed domain",
            "Name of the managed domain, then the setting to change, as listed below",
        )
        .after_help(format!("{UPDATE}\n\n{}", examples::of("update"))),
        leaf(
            "list",
            "[name...]",
            "List managed domains",
            "Name of a managed domain, or any DNS name in one; the default is all managed domains",
        ),
    ]
}

fn add_command() -> Command {
    let contact = value("contact", 'c', "address")
        .action(ArgAction::Append)
        .help("Where the ACME server can reach you, e.g. a mail address; may be repeated");
    let now = Arg::new("now").long("now").action(ArgAction::SetTrue);
    leaf("add", "domain...", "Add a managed domain", DNS_NAMES)
        .long_about(
            "Add a managed domain. With --now, its certificate is obtained at once, as by 'drive': a running server with mod_md \
             has to answer on port 80 of the names. If that fails, the domain stays, and 'drive' tries again.",
        )
        .args([contact, now.help("Obtain the certificate at once")])
}

fn drive_command() -> Command {
    leaf("drive", "[name...]", "Renew certificates that are due, and activate them", MANAGED_DOMAINS)
        .visible_alias("renew")
        .long_about(
            "Renew certificates that are due, and activate them, also with MDRenewMode manual. A domain is due if a \
             certificate is missing or incomplete, if its renew window has opened, or if the ACME server asks for a \
             renewal. The command reports the serial numbers of the new certificates; the server uses these after its \
             next (graceful) restart, or at once with MDActivation live. A failure does not stop the renewals of other \
             domains; where there are several domains, the last line counts them and names those that failed. If an ACME \
             server has too much to do, the domains that remain are not tried there. Naming a domain that serves MDCertificateFile is a failure; naming a domain that is not due is not.",
        )
        .args([
            value("challenge", 'c', "type").help("Use only this challenge type, e.g. http-01"),
            flag("force", 'f').help(
                "Renew certificates of all key types even if they are not due; if new certificates are staged already and \
                 not served yet, these are activated instead",
            ),
            Arg::new("jobs")
                .long("jobs")
                .value_name("number")
                .help(format!("Renew so many domains side by side, at most {MOST_JOBS}; the default is {JOBS}")),
            flag("reset", 'r').help("Discard what an earlier renewal has left in staging"),
        ])
}

fn revoke_command() -> Command {
    let reason = value("reason", 'r', "reason").help(
        "Reason, by name or number: keyCompromise (1), affiliationChanged (3), superseded (4), cessationOfOperation (5); \
         the default is unspecified (0)",
    );
    leaf("revoke", "name", "Revoke the certificates of a managed domain", "Name of the managed domain")
        .arg(reason)
        .long_about(
            "Revoke the certificates that a managed domain serves, of all key types. The requests are signed by the \
             account that ordered the certificates, or by the key of each certificate if that account is gone or refused. \
             The server serves the revoked certificates until new ones are in use; 'drive -f' obtains new certificates \
             with new keys at once.",
        )
}

fn status_command() -> Command {
    let status = leaf("status", "[name...]", "Show the certificates and renewals of managed domains", MANAGED_DOMAINS);
    status.visible_alias("certificates").long_about(
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
             directory, and print the lines that the configuration of the server needs for them. Domains that exist in the store \
             stay as they are, and the files of certbot are not changed. Accounts are not imported.",
        ),
    )
}

fn fleet_commands() -> Command {
    level("fleet", "Prepare an engine by which several servers will share certificates").subcommands([
        leaf("fleet keygen", "", "Print a new key for the records of a fleet", ""),
        leaf(
            "fleet check",
            "url [name]",
            "Find out whether a Redis or Valkey can be the meeting point of a fleet",
            "URL such as redis://cache.example.net/, or rediss:// for TLS, then the name of the fleet, by default md",
        )
        .long_about(
            "Find out whether a Redis 6.2 or newer, or a Valkey, can be the meeting point of a fleet: whether it answers, \
             takes the login, verifies, keeps its records, and has the right time. With --suite, all that a fleet needs of \
             it is tried, under names of the command's own.",
        )
        .args([
            value("login", 'l', "file").value_hint(ValueHint::FilePath)
                .help("File with the user, which may be empty, in its first line, and the password in its second"),
            value("key", 'k', "file").value_hint(ValueHint::FilePath).help("File with the keys of the fleet, to check it"),
            value("roots", 'R', "file").value_hint(ValueHint::FilePath)
                .help("PEM file with the certificates to trust; the default is those of the system"),
            flag("suite", 's').help("Try all that a fleet needs of the engine"),
        ]),
    ])
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
        leaf("acme deactivate", "account...", "Deactivate accounts for good", ACCOUNTS)
            .arg(flag("yes", 'y').help("Confirm the deactivation; without this option nothing is done"))
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

/// Returns the definition of the command with these words, e.g. `store add`.
#[must_use]
pub fn find(path: &str) -> Option<Command> {
    let mut program = command();
    program.build();
    path.split_whitespace().try_fold(&program, |found, name| found.find_subcommand(name)).cloned()
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
    let rest = Arg::new(REST).num_args(0..).action(ArgAction::Append);
    let rest = if words.is_empty() { rest.hide(true) } else { rest.value_name(first).help(help) };
    let usage = format!("a2md [options] {path} [options] {words}");
    let command = level(name, about).allow_external_subcommands(false).arg(rest).after_help(examples::of(path));
    command.override_usage(usage.trim_end().to_owned())
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
