//! Examples of each command, for its help and its page of the manual.

/// Command lines with the words of their command, and what each is for.
pub const EXAMPLES: [(&str, &str, &str); 38] = [
    ("", "a2md status", "Show all certificates in the store of this server"),
    ("", "a2md drive", "Renew what is due"),
    ("", "a2md help drive", "Show the options of a command"),
    (
        "add",
        "a2md add --now -a letsencrypt-test -t accepted www.example.org",
        "Obtain a first certificate, from an ACME server for tests",
    ),
    ("add", "a2md add www.example.org example.org", "Add a domain with two names"),
    ("add", "a2md add -a https://ca.example.org/directory shop.example.org", "Add a domain with an ACME server"),
    ("update", "a2md update www.example.org contacts admin@example.org", "Set a mail address"),
    ("update", "a2md update www.example.org agreement accepted", "Agree to the terms of service"),
    ("list", "a2md list", "Show all domains with their names"),
    ("list", "a2md list -j www.example.org", "Show the settings of a domain as JSON"),
    ("drive", "a2md drive", "Renew all that is due"),
    ("drive", "a2md drive --force www.example.org", "Renew a domain now"),
    ("drive", "a2md -q drive && apachectl graceful", "From cron, for MDRenewMode manual"),
    ("revoke", "a2md revoke -r keyCompromise www.example.org", "A key was stolen"),
    ("status", "a2md status", "Show all domains"),
    ("status", "a2md status -j www.example.org", "Show a domain as JSON"),
    ("check", "a2md check", "Before a restart"),
    ("preflight", "a2md preflight", "Look at all domains as a CA does"),
    ("preflight", "a2md preflight -j www.example.org", "Look at one domain, for a script"),
    ("persist-record", "a2md persist-record www.example.org", "Show which records to set"),
    ("import certbot", "a2md import certbot /etc/letsencrypt", "Take over all certificates of certbot"),
    ("fleet keygen", "a2md fleet keygen >/etc/apache2/md-fleet.key", "Make the key of a fleet"),
    ("fleet check", "a2md fleet check rediss://cache.example.net/", "Look at an engine"),
    ("store add", "a2md store add intern.example.org", "Add a domain"),
    ("store remove", "a2md store remove old.example.org", "Remove a domain that the server does not have any more"),
    ("store list", "a2md store list", "Show all domains"),
    ("store update", "a2md store update www.example.org domains www.example.org example.org", "Replace the DNS names"),
    (
        "acme newreg",
        "a2md -a https://ca.example.org/directory -t accepted acme newreg admin@example.org",
        "Register, and agree to the terms of service",
    ),
    (
        "acme validate",
        "a2md -a https://ca.example.org/directory acme validate ACME-ca.example.org-0000",
        "Ask whether an account is valid",
    ),
    (
        "acme agree",
        "a2md -a https://ca.example.org/directory acme agree ACME-ca.example.org-0000",
        "Agree to new terms of service",
    ),
    ("acme update", "a2md acme update ACME-ca.example.org-0000 admin@example.org", "Change the mail address"),
    ("acme rollover", "a2md acme rollover ACME-ca.example.org-0000", "Replace the key"),
    (
        "acme import",
        "a2md -a https://ca.example.org/directory acme import /root/account.json",
        "Use the account of another program",
    ),
    ("acme deactivate", "a2md acme deactivate -y ACME-ca.example.org-0000", "End an account"),
    ("acme delreg", "a2md acme delreg ACME-ca.example.org-0000", "Forget an account that has ended"),
    ("help", "a2md help store add", "Show the options of a command"),
    ("version", "a2md version", "Print the version"),
    ("version", "a2md -V", "The same"),
];

/// Returns the examples of a command for its help.
#[must_use]
pub fn of(path: &str) -> String {
    let lines = EXAMPLES.iter().filter(|(of, ..)| *of == path);
    let lines: Vec<_> = lines.map(|(_, line, what)| format!("  {what}:\n    {line}")).collect();
    format!("Examples:\n{}", lines.join("\n"))
}
