//! The command `preflight`: finds out what would keep a CA from issuing certificates, without asking it for any.
//!
//! Challenges are set up as for a renewal, with a key authorization of no account, and looked at as a CA looks at them: by the
//! addresses in the DNS, at the ports of the challenge types. So the answers are those of the running server.

mod policy;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::check::modes;
use super::domains::named;
use super::error::CliError;
use super::given::Given;
use super::session::Session;
use crate::accounts::StoredAccounts;
use crate::acme::{
    AccountBook, AccountScope, Attempt, ChallengeSetup, ChallengeType, Directory, HTTP_01_PATH, Publisher, Registrar,
    txt_value,
};
use crate::cancel::Cancel;
use crate::challenges::StoredChallenges;
use crate::crypto::{AlpnAnswer, ask_alpn, base64url, random_bytes};
use crate::dns::{Data, Kind, NameServers};
use crate::documents::port_error;
use crate::http::Request;
use crate::model::time::parse_gmt;
use crate::model::{DomainName, Identifier, ManagedDomain, Status, reverse_name, url_host, without_passwords};
use crate::net::{Deadline, TimedStream};
use crate::registry::Registry;

/// Time for one connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Size of the largest answer to a challenge.
const LARGEST_ANSWER: usize = 64 << 10;
/// The most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 8;
/// Time until a TXT record that a command has set up must be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// Time between two questions for it.
const PAUSE: Duration = Duration::from_secs(1);
/// The difference to the clock of the CA that is told, in seconds.
const CLOCK_DRIFT: i64 = 60;

/// How a finding is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    Warning,
    Error,
}

/// A finding, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    detail: String,
    remedy: Option<String>,
}

impl Finding {
    fn ok(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, detail: detail.into(), remedy: None }
    }

    fn warning(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    fn error(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

/// A CA whose directory was read, with what was found about it.
type Authority = (Option<Directory>, Vec<Finding>);

/// A run of the command.
struct Preflight<'a> {
    session: &'a mut Session,
    servers: NameServers,
    http_port: u16,
    https_port: u16,
    /// By directory URL.
    authorities: BTreeMap<String, Authority>,
    errors: usize,
    warnings: usize,
}

/// Looks at domains: `preflight [-r address] [name...]`.
pub fn preflight(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let names = given.args();
    let found = names.iter().map(|name| named(session.documents(), name)).collect::<Result<Vec<_>, _>>()?;
    let found: Vec<&str> = found.iter().map(|md| md.name.as_str()).collect();
    let registry = session.domains_of(&found)?;
    let mut run = Preflight {
        servers: name_servers(given.value("resolver"))?,
        http_port: port(given, "http-port", 80)?,
        https_port: port(given, "https-port", 443)?,
        authorities: BTreeMap::new(),
        errors: 0,
        warnings: 0,
        session,
    };
    run.store();
    for position in 0..registry.domains.len() {
        run.domain(&registry, position)?;
    }
    let Preflight { errors, warnings, session, .. } = run;
    session.inform(&format!("{} looked at: {errors} errors, {warnings} warnings", domains(registry.domains.len())));
    if errors == 0 {
        return Ok(());
    }
    let text = format!("{errors} errors found that would keep certificates from being issued");
    Err(CliError::Refused { status: Status::GENERAL, text })
}

fn domains(count: usize) -> String {
    if count == 1 { "1 domain".to_owned() } else { format!("{count} domains") }
}

fn port(given: &Given<'_>, option: &str, usual: u16) -> Result<u16, CliError> {
    let wrong =
        |text: &str| CliError::invalid(format!("--{option} wants a port from 1 to 65535: {}", text.escape_default()));
    given.value(option).map_or(Ok(usual), |text| text.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong(text)))
}

fn name_servers(text: Option<&str>) -> Result<NameServers, CliError> {
    let Some(text) = text else { return Ok(NameServers::of_system()) };
    let server = text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 53)));
    let wrong = || CliError::invalid(format!("-r wants the address of a name server: {}", text.escape_default()));
    server.map(NameServers::only).ok_or_else(wrong)
}

impl Preflight<'_> {
    fn tell(&mut self, domain: &str, check: &str, finding: &Finding) {
        let Finding { verdict, detail, remedy } = finding;
        let word = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Error => "error",
        };
        self.errors += usize::from(*verdict == Verdict::Error);
        self.warnings += usize::from(*verdict == Verdict::Warning);
        let advice = remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        let line = format!("{domain:24} {check:15} {detail}{advice}: {word}");
        let value = json!({ "domain": domain, "check": check, "result": word, "detail": detail, "remedy": remedy });
        self.session.report(&line, value);
    }

    fn store(&mut self) {
        let dir = self.session.dir.clone().unwrap_or_default();
        let wrong = modes(&dir);
        for finding in &wrong {
            let detail = format!("{}/{}: {}", dir.display(), finding.item, finding.detail);
            self.tell("", "store", &Finding::warning(detail, "the next start of the server repairs it"));
        }
        if wrong.is_empty() {
            self.tell("", "store", &Finding::ok(format!("{} has the usual modes", dir.display())));
        }
    }

    /// Looks at a domain: its CA, its names in the DNS, and its challenges.
    fn domain(&mut self, registry: &Registry, position: usize) -> Result<(), CliError> {
        let md = Arc::clone(&registry.domains[position].md);
        let own = md.name.as_str();
        let url = self.session.acme.clone().or_else(|| md.ca_url().map(str::to_owned));
        let directory = url.as_ref().and_then(|url| self.authority(&md, url));
        if url.is_none() {
            let remedy = format!("set MDCertificateAuthority, or use 'a2md update {own} ca <url>'");
            self.tell(own, "CA", &Finding::error("no CA is configured", remedy));
        }
        if let Some(reason) = self.session.idle(own).map(|reason| format!("the server does not renew it: {reason}")) {
            self.tell(own, "server", &Finding::warning(reason, "add it, or renew by 'a2md drive'"));
        }
        let identities = directory.map(|directory| directory.meta.caa_identities).unwrap_or_default();
        let addresses = md.order_names().into_iter().map(|name| (name, self.name(name, &identities))).collect();
        match &*registry.domains[position].challenges {
            Ok(kinds) => self.challenges(registry, &md, url.as_deref(), kinds, addresses),
            Err(why) => {
                let finding = Finding::error(why.trim_end_matches('.'), "change MDCAChallenges");
                self.tell(own, "challenges", &finding);
                Ok(())
            }
        }
    }

    /// Looks at a name in the DNS, and returns its addresses.
    fn name(&mut self, name: &DomainName, identities: &[String]) -> Vec<IpAddr> {
        let found = self.addresses(name);
        if let Identifier::Dns(text) = name.identifier() {
            let finding = policy::caa(&text, identities, |name| self.servers.ask(name, Kind::Caa));
            self.tell(&text, "CAA", &finding);
        }
        found
    }

    /// Tries the challenge types with each name, unless the domain is being renewed.
    fn challenges(
        &mut self,
        registry: &Registry,
        md: &Arc<ManagedDomain>,
        url: Option<&str>,
        kinds: &[ChallengeType],
        addresses: Vec<(&DomainName, Vec<IpAddr>)>,
    ) -> Result<(), CliError> {
        let Some(_claim) = registry.documents.store().claim(md.name.as_str()).map_err(port_error)? else {
            let detail = "the domain is being renewed, so its challenges are left alone";
            let finding = Finding::warning(detail, "try again when the renewal has ended");
            self.tell(md.name.as_str(), "challenges", &finding);
            return Ok(());
        };
        let cancel = Cancel::default();
        let mut publisher = StoredChallenges::new(Arc::clone(&registry.challenges), Arc::clone(md), &cancel);
        for (name, at) in addresses {
            let mut found = Vec::new();
            for kind in kinds.iter().copied().filter(|kind| proves(*kind, name)) {
                let findings = match kind {
                    ChallengeType::DnsPersist01 => vec![self.standing_record(registry, md, url, name)],
                    _ => self.challenge(&mut publisher, kind, name, &at),
                };
                found.extend(findings.into_iter().map(|finding| (kind, finding)));
            }
            self.tell_ways(name, found);
        }
        Ok(())
    }

    /// Tells the findings about challenge types. One that fails is an error only where no other works, as a renewal tries all.
    fn tell_ways(&mut self, name: &DomainName, found: Vec<(ChallengeType, Finding)>) {
        let fails =
            |kind: &ChallengeType| found.iter().any(|(of, finding)| of == kind && finding.verdict == Verdict::Error);
        let has_way = found.iter().any(|(kind, _)| !fails(kind));
        if found.is_empty() {
            let detail = "no configured challenge type can prove the name";
            self.tell(name.as_str(), "challenges", &Finding::error(detail, "add one to MDCAChallenges"));
        }
        for (kind, mut finding) in found {
            if has_way {
                finding.verdict = finding.verdict.min(Verdict::Warning);
            }
            self.tell(name.as_str(), kind.as_str(), &finding);
        }
    }

    /// Reads the directory of a CA once, and tells what is found.
    fn authority(&mut self, md: &ManagedDomain, url: &str) -> Option<Directory> {
        if !self.authorities.contains_key(url) {
            let found = self.ask_authority(md, url);
            self.authorities.insert(url.to_owned(), found);
            let findings = self.authorities.get(url).map(|(_, findings)| findings.clone()).unwrap_or_default();
            for finding in &findings {
                self.tell(md.name.as_str(), "CA", finding);
            }
        }
        self.authorities.get(url).and_then(|(directory, _)| directory.clone())
    }

    fn ask_authority(&self, md: &ManagedDomain, url: &str) -> Authority {
        let shown = without_passwords(url);
        let way = self.session.proxy_to(md, url).map_or(String::new(), |proxy| format!(" through the proxy {proxy}"));
        let remedy = "let the server reach it, or set MDHttpProxy or MDCACertificateFile";
        let response = match self.session.client(Some(md)).send(&Request::get(url)) {
            Ok(response) if response.status == 200 => response,
            Ok(response) => {
                let detail = format!("{shown} answers {}{way}", response.status);
                return (None, vec![Finding::error(detail, "check the URL of MDCertificateAuthority")]);
            }
            Err(err) => return (None, vec![Finding::error(format!("{shown} cannot be asked{way}: {err}"), remedy)]),
        };
        let directory = match Directory::parse(url, &response.body) {
            Ok(directory) => directory,
            Err(err) => {
                return (None, vec![Finding::error(err.to_string(), "check the URL of MDCertificateAuthority")]);
            }
        };
        let mut findings = vec![Finding::ok(format!("{shown} answers{way}"))];
        let now = self.session.clock().now();
        let drift = response.header("Date").and_then(parse_gmt).map(|date| date.as_second() - now.as_second());
        if let Some(drift) = drift.filter(|drift| drift.abs() > CLOCK_DRIFT) {
            let detail = format!(
                "this machine's clock is {} seconds {} that of the CA",
                drift.abs(),
                if drift > 0 { "behind" } else { "ahead of" }
            );
            findings.push(Finding::warning(detail, "set the clock, e.g. by NTP: times of certificates depend on it"));
        }
        if directory.meta.external_account_required && md.eab.is_none() {
            findings.push(Finding::error("the CA wants an external account", "set MDExternalAccountBinding"));
        }
        (Some(directory), findings)
    }

    /// Returns the addresses at which a CA looks for a name. Told for names that need them.
    fn addresses(&mut self, name: &DomainName) -> Vec<IpAddr> {
        if let Some(address) = name.address() {
            return vec![address];
        }
        if name.is_wildcard() {
            return Vec::new();
        }
        let asked = [Kind::A, Kind::Aaaa].map(|kind| self.servers.ask(name.as_str(), kind));
        let mut found = Vec::new();
        for answer in asked {
            match answer {
                Ok(data) => found.extend(
                    data.into_iter().filter_map(|data| if let Data::Address(ip) = data { Some(ip) } else { None }),
                ),
                Err(err) => {
                    self.tell(
                        name.as_str(),
                        "DNS",
                        &Finding::error(err.to_string(), "mend the zone or the name server"),
                    );
                    return found;
                }
            }
        }
        found.truncate(MOST_ADDRESSES);
        let finding = if found.is_empty() {
            Finding::warning(
                "has no address in the DNS",
                "add A or AAAA records; without them only dns-01 and dns-persist-01 work",
            )
        } else {
            let list: Vec<String> = found
                .iter()
                .map(|ip| format!("{ip}{}", if is_own(*ip) { "" } else { " (not of this machine)" }))
                .collect();
            Finding::ok(format!("resolves to {}", list.join(", ")))
        };
        self.tell(name.as_str(), "DNS", &finding);
        found
    }

    /// Sets up a challenge, looks at it as a CA does, and takes it away.
    fn challenge(
        &self,
        publisher: &mut StoredChallenges,
        kind: ChallengeType,
        name: &DomainName,
        at: &[IpAddr],
    ) -> Vec<Finding> {
        let random = || random_bytes::<32>().map(|bytes| base64url(&bytes));
        let (Ok(token), Ok(thumbprint)) = (random(), random()) else {
            return vec![Finding::error("the system has no random numbers", "look at OpenSSL")];
        };
        let key_authorization = format!("{token}.{thumbprint}");
        let bare = name.as_str().trim_start_matches("*.");
        let txt = if kind == ChallengeType::Dns01 { txt_value(&key_authorization).ok() } else { None };
        let set_up = ChallengeSetup { kind, name: bare.to_owned(), txt };
        match publisher.reserve(&set_up) {
            Ok(Attempt::Done) => {}
            Ok(Attempt::Busy) => {
                return vec![Finding::warning("another process runs the dns-01 command", "try again later")];
            }
            Err(err) => {
                return vec![Finding::error(err.text, format!("or take {} out of MDCAChallenges", kind.as_str()))];
            }
        }
        if let Err(err) = publisher.publish(&set_up, &key_authorization) {
            return vec![Finding::error(err.text, "the challenge cannot be set up")];
        }
        let findings = match kind {
            ChallengeType::Dns01 => vec![self.txt_record(&set_up)],
            _ if at.is_empty() => {
                vec![Finding::error("there is no address to ask", "add A or AAAA records to the DNS")]
            }
            ChallengeType::Http01 => at.iter().map(|ip| self.http_01(*ip, name, &token, &key_authorization)).collect(),
            _ => at.iter().map(|ip| self.tls_alpn_01(*ip, name, &key_authorization)).collect(),
        };
        // A record that stays does no harm; the command's failure is told by its message.
        let _ = publisher.withdraw(&set_up);
        findings
    }

    fn http_01(&self, ip: IpAddr, name: &DomainName, token: &str, key_authorization: &str) -> Finding {
        let at = SocketAddr::new(ip, self.http_port);
        let mut request =
            Request::get(format!("http://{at}{HTTP_01_PATH}{token}")).header("Host", &url_host(name.as_str()));
        request.limit = LARGEST_ANSWER;
        let other = "see that requests for /.well-known/acme-challenge/ reach this server: another server, a proxy or a load balancer may answer";
        match self.session.direct_client().send(&request) {
            Err(err) => Finding::error(
                format!("{at}: {err}"),
                format!("start the server, and let port {} through", self.http_port),
            ),
            Ok(answer) if answer.body.trim_ascii() == key_authorization.as_bytes() => {
                Finding::ok(format!("{at} is answered by this server"))
            }
            Ok(answer) => match answer.header("Location").filter(|_| (300..400).contains(&answer.status)) {
                Some(to) => Finding::error(format!("{at} answers {} to {to}", answer.status), other),
                None => Finding::error(format!("{at} answers {} without the challenge", answer.status), other),
            },
        }
    }

    fn tls_alpn_01(&self, ip: IpAddr, name: &DomainName, key_authorization: &str) -> Finding {
        let at = SocketAddr::new(ip, self.https_port);
        let server_name = name.address().map_or_else(|| name.as_str().to_owned(), reverse_name);
        let stream = match TimedStream::connect(at, Deadline::after(PATIENCE), Cancel::default()) {
            Ok(stream) => stream,
            Err(err) => {
                return Finding::error(
                    format!("{at}: {err}"),
                    format!("start the server, and let port {} through", self.https_port),
                );
            }
        };
        let other = "see that TLS to this name ends at this server, not at a proxy or load balancer, and that its host has acme-tls/1 among its Protocols";
        match ask_alpn(stream, &server_name, key_authorization) {
            Ok(AlpnAnswer::Right) => Finding::ok(format!("{at} is answered by this server")),
            Ok(AlpnAnswer::OtherCertificate) => Finding::error(format!("{at} answers with another challenge"), other),
            Ok(AlpnAnswer::OtherProtocol) => Finding::error(format!("{at} does not answer for acme-tls/1"), other),
            Err(err) => Finding::error(format!("{at}: the handshake failed: {err}"), other),
        }
    }

    fn txt_record(&self, set_up: &ChallengeSetup) -> Finding {
        let record = format!("_acme-challenge.{}", set_up.name);
        let wanted = Data::Text(set_up.txt.clone().unwrap_or_default());
        let until = Instant::now() + SEEN_WITHIN;
        loop {
            let last = match self.servers.ask(&record, Kind::Txt) {
                Ok(records) if records.contains(&wanted) => {
                    return Finding::ok(format!("the record {record} was set up and seen"));
                }
                Ok(records) => format!("{} others are", records.len()),
                Err(err) => err.to_string(),
            };
            if Instant::now() >= until {
                let detail = format!("the record {record} is not seen after {} s: {last}", SEEN_WITHIN.as_secs());
                return Finding::error(
                    detail,
                    "see what the command of MDChallengeDns01 does, and let it wait until name servers have the record",
                );
            }
            self.session.sleep(PAUSE);
        }
    }

    /// Looks for the permanent record of dns-persist-01.
    fn standing_record(
        &self,
        registry: &Registry,
        md: &ManagedDomain,
        url: Option<&str>,
        name: &DomainName,
    ) -> Finding {
        let remedy = format!("add the record that 'a2md persist-record {}' prints", md.name);
        let Some(url) = url else { return Finding::error("no CA is configured", remedy) };
        let book =
            StoredAccounts::new(Arc::clone(&registry.accounts), Arc::clone(&registry.documents), md.name.as_str());
        let scope = AccountScope { ca_url: url.to_owned(), eab: md.eab.as_deref().cloned() };
        let Some((account, key)) = book.find(&scope) else {
            return Finding::error("there is no account yet that a record could name", remedy);
        };
        let connected = Registrar::connect(self.session.client(Some(md)), Arc::clone(self.session.clock()), url);
        let records = connected.and_then(|ca| ca.persist_records(&account, &key, &[name.identifier()], None));
        match records {
            Err(err) => Finding::error(err.to_string(), remedy),
            Ok(records) if records.is_empty() => {
                Finding::error("the CA announces no name for records", "use another challenge type")
            }
            Ok(records) => {
                let record = records[0].txt().name;
                match self.servers.ask(&record, Kind::Txt) {
                    Err(err) => Finding::error(format!("{record}: {err}"), "mend the zone or the name server"),
                    Ok(found) => {
                        policy::standing_record(&record, &records, &found, self.session.clock().now(), &remedy)
                    }
                }
            }
        }
    }
}

/// Returns whether a challenge type can prove a name.
fn proves(kind: ChallengeType, name: &DomainName) -> bool {
    (kind.proves_wildcards() || !name.is_wildcard()) && (kind.proves_addresses() || name.address().is_none())
}

/// Returns whether an address is one of this machine.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}
