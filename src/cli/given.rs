//! The command that was given, with its options and arguments.

use clap::{ArgMatches, Command};

/// Id of the positional arguments of every command.
pub const REST: &str = "args";

/// Options by their ids, with the directive in whose place each of them is, and the option.
const INSTEAD: [(&str, &str, &str); 4] = [
    ("acme", "MDCertificateAuthority", "-a"),
    ("challenge", "MDCAChallenges", "-c"),
    ("proxy", "MDHttpProxy", "-p"),
    ("terms", "MDCertificateAgreement", "-t"),
];

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

impl Given<'_> {
    /// Returns the directives in whose place options were given, with these options. What a command for accounts lacks is an option in
    /// any case; `drive` goes to the CA of the domain, whatever option is given.
    pub fn options(&self) -> Vec<(&'static str, &'static str)> {
        let is_of_accounts = self.path.starts_with("acme ");
        let is_given = |(id, ..): &&(&str, &str, &str)| match *id {
            "terms" => is_of_accounts,
            "acme" if self.path == "drive" => false,
            id => self.value(id).is_some(),
        };
        INSTEAD.iter().filter(is_given).map(|(_, directive, option)| (*directive, *option)).collect()
    }

    /// Returns the positional arguments.
    #[must_use]
    pub fn args(&self) -> Vec<&str> {
        self.values(REST)
    }

    /// Returns all values of an option that may be repeated.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        let values = self.matches.try_get_many::<String>(name).ok().flatten();
        values.into_iter().flatten().map(String::as_str).collect()
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
