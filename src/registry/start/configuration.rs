//! The domains of the configuration: errors for settings that contradict each other, and warnings.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use crate::accounts::Accounts;
use crate::acme::ChallengeType;
use crate::exec;
use crate::log::report;
use crate::model::contact::contact_flaw;
use crate::model::{
    ACME, CLOSED_CAS, ContactSource, Declared, DomainName, Globals, ManagedDomain, MatchNames, Origin, RenewMode,
    Settings, TAILSCALE, TAILSCALED, is_plain_http, is_public_ca, is_same_ca, without_passwords,
};
use crate::registry::index::{self, Overlap};
use crate::registry::start::challenge_types::{Ports, challenges, report_unproven};
use crate::registry::start::hosts::Host;
use crate::registry::start::{CannotStart, hosts};
use crate::store::read_foreign;

const CA_FILE: &str = "MDCACertificateFile";
const PROXY_FILE: &str = "MDHttpProxyCACertificateFile";

/// The word by which the administrator agrees to the terms of a CA.
const ACCEPTED: &str = "accepted";

/// Most names in a certificate of most CAs.
const MOST_NAMES: usize = 100;
/// Most names in a certificate, by profiles of Let's Encrypt.
const MOST_NAMES_OF: [(&str, usize); 2] = [("tlsserver", 25), ("shortlived", 25)];

/// The domains of a configuration.
pub struct Configured {
    /// The domains, in order of declaration.
    pub domains: Vec<ManagedDomain>,
    /// Domains whose settings contradict each other: they serve the certificates of the store and are not renewed.
    pub out_of_service: HashSet<DomainName>,
}

/// Returns the domains of the configuration, before hosts and store add to them.
///
/// # Errors
/// If the settings of a domain contradict each other (AH10170, AH10171, AH10172, MD0048), or two domains have a name in common
/// (AH10038). At a restart, the former is put out of service, and the later of the two domains loses that name instead.
pub fn configured(
    declared: &[Declared],
    main: &Settings,
    globals: &Globals,
    is_restart: bool,
) -> Result<Configured, CannotStart> {
    let mut origins: Vec<&Origin> = Vec::with_capacity(declared.len());
    let mut domains: Vec<ManagedDomain> = Vec::with_capacity(declared.len());
    let mut out_of_service = HashSet::new();
    for declared in declared {
        let Some(mut md) = declared.complete(main) else { continue };
        domains.last().into_iter().for_each(|other| md.share(other));
        if !is_consistent(&md, &declared.origin) {
            // It is not known which certificate belongs to which key.
            md.cert_files.clear();
            md.pkey_files.clear();
            out_of_service.insert(md.name.clone());
        }
        domains.push(md);
        origins.push(&declared.origin);
    }
    if !is_restart && !out_of_service.is_empty() {
        return Err(CannotStart);
    }
    separate(&mut domains, &mut origins, globals.match_names == MatchNames::ServerNames, is_restart)?;
    Ok(Configured { domains, out_of_service })
}

/// Checks whether the settings of a domain are consistent, and logs the reason if they are not.
fn is_consistent(md: &ManagedDomain, origin: &Origin) -> bool {
    let certs = md.cert_files.len();
    let keys = md.pkey_files.len();
    if certs == 0 && keys > 0 {
        report!(
            AH10171,
            "{}: defined in {origin}, has {keys} MDCertificateKeyFile but no MDCertificateFile; add one for each",
            md.name
        );
        return false;
    }
    if certs != keys {
        report!(
            AH10170,
            "{}: defined in {origin}, has {certs} MDCertificateFile and {keys} MDCertificateKeyFile; the numbers must be the same",
            md.name
        );
        return false;
    }
    match md.ca.proto.as_deref() {
        None | Some(ACME | TAILSCALE) => {
            let wrong = md.ca.urls.iter().find(|url| url.starts_with("file:") != md.is_of_tailscale());
            if let Some(url) = wrong {
                report!(
                    MD0048,
                    "{}: defined in {origin}, has MDCertificateAuthority {url}, which does not match its \
                     MDCertificateProtocol; '{TAILSCALE}' needs a URL such as {TAILSCALED}, '{ACME}' the URL of a directory",
                    md.name
                );
            }
            wrong.is_none()
        }
        Some(other) => {
            report!(
                AH10172,
                "{}: defined in {origin}, uses unknown CA protocol '{other}'; MDCertificateProtocol can be '{ACME}' or '{TAILSCALE}'",
                md.name
            );
            false
        }
    }
}

/// Removes common names of two domains from the later one.
fn separate(
    domains: &mut Vec<ManagedDomain>,
    origins: &mut Vec<&Origin>,
    by_server_name: bool,
    is_restart: bool,
) -> Result<(), CannotStart> {
    let find = if by_server_name { same_name } else { index::overlap };
    while let Some(overlap) = find(domains) {
        report!(
            AH10038,
            "two Managed Domains have the name {} in common: MD {} defined in {} and MD {} defined in {}; remove it from one",
            overlap.name,
            domains[overlap.second].name,
            origins[overlap.second],
            domains[overlap.first].name,
            origins[overlap.first]
        );
        if !is_restart {
            return Err(CannotStart);
        }
        match without(&domains[overlap.second], &domains[overlap.first], by_server_name) {
            Some(rest) if rest.domains.len() == domains[overlap.second].domains.len() => break,
            Some(rest) => domains[overlap.second] = rest,
            None => {
                domains.remove(overlap.second);
                origins.remove(overlap.second);
            }
        }
    }
    Ok(())
}

/// Returns the first two domains of the same name.
fn same_name(domains: &[ManagedDomain]) -> Option<Overlap> {
    let mut known = HashMap::new();
    domains.iter().enumerate().find_map(|(second, md)| {
        let first = known.insert(&md.name, second)?;
        Some(Overlap { first, second, name: md.name.to_string() })
    })
}

/// Returns the domain without the names that it must not share with `other`; `None` if no name is left. The domain is not left
/// out as a whole, as its hosts would have no certificate, and mod_ssl would end the server. A wildcard that covers names of
/// `other` stays. With `MDMatchNames servernames`, domains may share all names but the first, which names their directories.
fn without(md: &ManagedDomain, other: &ManagedDomain, by_server_name: bool) -> Option<ManagedDomain> {
    let mut rest = md.clone();
    rest.domains.retain(|name| if by_server_name { *name != other.name } else { !other.covers(name) });
    if rest.name == other.name {
        rest.name = rest.domains.first()?.clone();
    }
    (!rest.domains.is_empty()).then_some(rest)
}

/// Logs the errors and warnings of `httpd -t`: those that are known before mod_ssl has set up the hosts. `accounts` reads those of
/// the store; `None` if it cannot be read.
///
/// # Errors
/// If mod_ssl could not start with it.
pub fn check(
    mut domains: Vec<ManagedDomain>,
    hosts: &[Host],
    globals: &Globals,
    accounts: impl FnOnce() -> Option<Accounts>,
    ports: &Ports,
) -> Result<(), CannotStart> {
    advise(&domains, hosts, globals, accounts);
    let assigned = hosts::assign(&domains, hosts, globals.match_names, globals.base_server);
    hosts::find_protocols(&mut domains, hosts, &assigned, globals.base_server, ports.reach.https);
    let used: HashSet<usize> = assigned.iter().flatten().copied().collect();
    domains.iter().enumerate().filter(|(at, _)| !used.contains(at)).for_each(|(_, md)| hosts::report_unused(md));
    hosts::report_not_found(&domains, hosts, &assigned);
    hosts::report_without_tls(&domains, hosts, &assigned);
    let watched = domains.iter().enumerate().filter(|(at, md)| is_watched(md, used.contains(at))).map(|(_, md)| md);
    for md in watched.filter(|md| md.renew_mode != RenewMode::Manual) {
        report_unproven(md, &challenges(md, ports, globals.dns01_command.is_some()));
    }
    let missing = domains.iter().filter(|md| lacks_files(md)).count();
    let bare = hosts.iter().zip(assigned.iter()).filter(|(host, positions)| host.is_bare && positions.is_empty());
    let reported = bare.filter_map(|(host, _)| hosts::report_bare(host, &domains, &assigned)).count();
    let conflicts = hosts::report_conflicts(&domains, hosts, &assigned);
    if missing + reported + conflicts == 0 { Ok(()) } else { Err(CannotStart) }
}

/// Checks whether the server watches a domain, which is `used` by a host or not.
pub(crate) fn is_watched(md: &ManagedDomain, used: bool) -> bool {
    used || md.renew_mode != RenewMode::Auto
}

/// Logs `MDCertificateFile` and `MDCertificateKeyFile` that do not exist. Files that cannot be read are not reported, as
/// `httpd -t` may be run by a user without the right to.
fn lacks_files(md: &ManagedDomain) -> bool {
    let files = md.cert_files.iter().chain(&md.pkey_files);
    let missing = files.filter(|file| matches!(read_foreign(Path::new(file)), Ok(None)));
    missing.inspect(|file| report!(AH10110, "{}: file {file} does not exist", md.name)).count() > 0
}

fn most_names(md: &ManagedDomain) -> usize {
    let profile = md.profile.as_deref().unwrap_or_default();
    MOST_NAMES_OF.iter().find(|(name, _)| name.eq_ignore_ascii_case(profile)).map_or(MOST_NAMES, |(_, most)| *most)
}

/// Warns of commands that cannot be executed: a renewal does not begin if its `renewing` event fails.
fn advise_of_commands(globals: &Globals, domains: &[ManagedDomain]) {
    let of_domains = domains.iter().filter_map(|md| md.cmd_dns_01.as_deref());
    let dns01 = of_domains.chain(&globals.dns01_command).map(|line| ("MDChallengeDns01", line));
    let of_events = [("MDNotifyCmd", &globals.notify_command), ("MDMessageCmd", &globals.message_command)];
    let of_events = of_events.into_iter().filter_map(|(directive, line)| Some((directive, line.as_ref()?)));
    let all: BTreeSet<_> = of_events.chain(dns01).collect();
    for (directive, line) in all {
        if let Some(reason) = exec::lack(line) {
            report!(MD0061, "{directive} {line}: the command cannot be executed: {reason}");
        }
    }
}

/// Warns of each `MDContactEmail` that no CA can use.
fn advise_of_contacts(domains: &[ManagedDomain], hosts: &[Host]) {
    let of_domains = domains.iter().flat_map(|md| md.contacts.iter().map(|uri| wrong_contact(uri, &md.contact_source)));
    let of_hosts = hosts.iter().filter_map(|host| host.contact.as_ref());
    let of_hosts = of_hosts.map(|contact| wrong_contact(contact.uri.as_deref()?, &contact.source));
    let all: BTreeSet<_> = of_domains.chain(of_hosts).flatten().collect();
    for (file, line, uri, flaw) in all {
        report!(
            MD0070,
            "MDContactEmail '{uri}' in {file}:{line}: {flaw}; a CA may refuse to register an account with it"
        );
    }
}

/// Returns file and line, the contact, and what is wrong with it; `None` for a good one, or one of another source.
fn wrong_contact<'a>(uri: &'a str, source: &'a ContactSource) -> Option<(&'a str, u32, &'a str, &'static str)> {
    let ContactSource::Directive(Origin { file, line }) = source else { return None };
    Some((file, *line, uri, contact_flaw(uri)?))
}

/// Domains by a word that they have, such as the URL of a CA, each list in the order of the configuration.
type ByWord<'a> = BTreeMap<&'a str, Vec<&'a ManagedDomain>>;

fn by_word<'a>(
    domains: impl Iterator<Item = &'a ManagedDomain>,
    words: fn(&'a ManagedDomain) -> &'a [String],
) -> ByWord<'a> {
    let mut found = ByWord::new();
    domains.for_each(|md| words(md).iter().for_each(|word| found.entry(word).or_default().push(md)));
    found
}

fn by_ca<'a>(domains: impl Iterator<Item = &'a ManagedDomain>) -> ByWord<'a> {
    by_word(domains, |md| &md.ca.urls)
}

/// Returns the domains for which a CA may be asked.
fn asking(domains: &[ManagedDomain]) -> impl Iterator<Item = &ManagedDomain> {
    domains.iter().filter(|md| md.renew_mode != RenewMode::Manual)
}

/// Warns of each CA that is asked over http.
fn advise_of_plain_http(domains: &[ManagedDomain]) {
    for (url, all) in by_ca(domains.iter()).into_iter().filter(|(url, _)| is_plain_http(url)) {
        report!(
            MD0080,
            "MDCertificateAuthority: the CA at {} is asked over http, without TLS, for {} ({} domains): everybody on the way can \
             read and change what it says; use its https URL, unless it is a CA for tests",
            without_passwords(url),
            all[0].name,
            all.len()
        );
    }
}

/// Warns of each CA that has closed.
fn advise_of_closed_cas(domains: &[ManagedDomain]) {
    let asking = by_ca(asking(domains));
    for (url, year) in CLOSED_CAS {
        let spellings = asking.iter().filter(|(used, _)| is_same_ca(used, url)).map(|(_, all)| all);
        let all: BTreeSet<_> = spellings.flatten().map(|md| md.name.as_str()).collect();
        if let Some(first) = all.first() {
            report!(
                MD0017,
                "MDCertificateAuthority: the CA at {url} closed in {year}; configure another one, such as LetsEncrypt, \
                 for {first} ({} domains)",
                all.len()
            );
        }
    }
}

/// Warns of types of challenges that are not known.
fn advise_of_challenges(domains: &[ManagedDomain]) {
    let words = by_word(asking(domains), |md| &md.ca.challenges);
    for (word, all) in words.into_iter().filter(|(word, _)| ChallengeType::parse(word).is_none()) {
        let known: Vec<_> = ChallengeType::ALL.iter().map(ChallengeType::to_string).collect();
        report!(
            MD0093,
            "MDCAChallenges: '{word}' is no type of challenges and is passed over, for {} ({} domains); known are {}",
            all[0].name,
            all.len(),
            known.join(", ")
        );
    }
}

/// Warns of files of certificates to trust that do not exist: no request succeeds then.
fn advise_of_trust(globals: &Globals, domains: &[ManagedDomain]) {
    let of_domains = domains.iter().flat_map(|md| [(CA_FILE, &md.ca_certs), (PROXY_FILE, &md.proxy_ca_certs)]);
    let of_domains = of_domains.filter_map(|(directive, file)| Some((directive, file.as_deref()?.as_str())));
    let of_all = [(CA_FILE, &globals.ca_file), (PROXY_FILE, &globals.proxy_ca_file)];
    let of_all = of_all.into_iter().filter_map(|(directive, file)| Some((directive, file.as_deref()?)));
    let files: BTreeSet<_> = of_all.chain(of_domains).collect();
    for (directive, file) in files.into_iter().filter(|(_, file)| !file.eq_ignore_ascii_case("none")) {
        if matches!(read_foreign(Path::new(file)), Ok(None)) {
            report!(MD0094, "{directive} {file}: the file does not exist; no renewal succeeds until it does");
        }
    }
}

/// Warns of each CA whose terms nobody has agreed to, and at which there is no account yet. `accounts` is called only if nobody
/// has agreed to some terms.
fn advise_of_terms(domains: &[ManagedDomain], accounts: impl FnOnce() -> Option<Accounts>) {
    let asked = by_ca(asking(domains).filter(|md| !md.is_of_tailscale() && md.ca.agreement.is_none()));
    let Some(accounts) = (if asked.is_empty() { None } else { accounts() }) else { return };
    for (url, all) in asked.into_iter().filter(|(url, _)| !accounts.has_any_at(url)) {
        report!(
            MD0092,
            "MDCertificateAgreement is missing for {} ({} domains): the CA at {} registers no account before its terms are \
             agreed to; read them, and add 'MDCertificateAgreement accepted'",
            all[0].name,
            all.len(),
            without_passwords(url)
        );
    }
}

/// Warns of words in MDCertificateAgreement that the manual does not have. They are taken as agreement, as the C module takes them.
fn advise_of_agreements(domains: &[ManagedDomain]) {
    let words = by_word(asking(domains), |md| md.ca.agreement.as_slice());
    let is_usual = |word: &str| word == ACCEPTED || word.starts_with("https://") || word.starts_with("http://");
    for (word, all) in words.into_iter().filter(|(word, _)| !is_usual(word)) {
        report!(
            MD0100,
            "MDCertificateAgreement: '{word}' is neither '{ACCEPTED}' nor a URL, and counts as agreement to the terms of the CA all \
             the same, for {} ({} domains); write '{ACCEPTED}' if you agree, or else remove the directive",
            all[0].name,
            all.len()
        );
    }
}

/// Warns of commands that cannot be executed, of contacts that no CA can use, of names for which every order fails, and of CAs that
/// have closed or are asked without TLS. `accounts` reads those of the store; `None` if it cannot be read.
pub(crate) fn advise(
    domains: &[ManagedDomain],
    hosts: &[Host],
    globals: &Globals,
    accounts: impl FnOnce() -> Option<Accounts>,
) {
    advise_of_terms(domains, accounts);
    advise_of_agreements(domains);
    advise_of_commands(globals, domains);
    advise_of_contacts(domains, hosts);
    advise_of_closed_cas(domains);
    advise_of_plain_http(domains);
    advise_of_challenges(domains);
    advise_of_trust(globals, domains);
    for md in asking(domains) {
        let names = md.domains.len();
        let most = most_names(md);
        if names > most {
            report!(
                MD0005,
                "{}: has {names} names, but CAs issue certificates for at most {most}; divide them among several Managed Domains",
                md.name
            );
        }
        let listed = |why: fn(&DomainName) -> Option<&'static str>| {
            let with_reason = |name: &DomainName| Some(format!("{name} ({})", why(name)?));
            md.domains.iter().filter_map(with_reason).collect::<Vec<_>>()
        };
        let wrong = listed(DomainName::not_a_name);
        if !wrong.is_empty() {
            report!(
                MD0104,
                "{}: no CA issues a certificate, as these are no domain names: {}; correct or remove them",
                md.name,
                wrong.join(", ")
            );
        }
        let is_public = md.ca.urls.is_empty() || md.ca.urls.iter().any(|url| is_public_ca(url));
        let unfit = listed(|name| name.not_public().filter(|_| name.not_a_name().is_none()));
        if is_public && !unfit.is_empty() {
            report!(MD0006, "{}: has names for which no public CA issues certificates: {}", md.name, unfit.join(", "));
        }
    }
}
