//! Publishes challenge data: as files in `challenges/`, and as DNS records, which a command sets up and removes.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::acme::{Attempt, ChallengeSetup, ChallengeType, Journal, PortError, Publisher};
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::crypto::{CryptoError, PrivateKey, alpn_certificate};
use crate::documents::{Documents, port_error};
use crate::events::Events;
use crate::exec::{Command, split_command_line};
use crate::log::{note, report};
use crate::model::{DomainName, Globals, KeySpec, ManagedDomain, Status};
use crate::sets::{StagedJournal, order};
use crate::store::{Aspect, Group};

/// Publishing of challenge data, shared by all renewals of a server: the store, and the right to run the dns-01 command.
pub struct Challenges {
    documents: Arc<Documents>,
    clock: Arc<dyn Clock>,
    /// `MDChallengeDns01` of the whole server.
    command: Option<String>,
    /// `MDChallengeDns01Version`.
    version: u8,
    /// `MDCmdTimeout`, of dns-01 commands.
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether a dns-01 command is running.
    command: bool,
    /// Names whose DNS record some renewal has reserved.
    names: HashSet<String>,
    /// Keys for tls-alpn-01, used again and again: generating one takes time, and any key will do.
    keys: Vec<(KeySpec, PrivateKey)>,
}

/// Publishes the challenge data of one domain. Reservations end when this value is dropped.
pub struct StoredChallenges {
    md: Arc<ManagedDomain>,
    shared: Arc<Challenges>,
    dns01: Dns01,
    /// Whether all names of the domain are reserved. They are reserved together, as two domains with some of each could wait
    /// for each other.
    has_names: bool,
    has_command: bool,
}

/// The dns-01 command of a domain.
struct Dns01 {
    words: Option<Vec<String>>,
    version: u8,
    timeout: Duration,
    cancel: Cancel,
    /// Names for which the command could not even begin, so that nothing is to be removed.
    not_begun: HashSet<String>,
}

impl Challenges {
    /// Makes the shared part of all publishers, with the dns-01 command of the configuration.
    #[must_use]
    pub fn new(documents: Arc<Documents>, clock: Arc<dyn Clock>, globals: &Globals) -> Self {
        let command = globals.dns01_command.clone();
        let timeout = globals.cmd_timeout.dns01;
        Self { documents, clock, command, version: globals.dns01_version, timeout, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, spec: &KeySpec) -> Result<PrivateKey, CryptoError> {
        if let Some((_, key)) = self.state().keys.iter().find(|(known, _)| known == spec) {
            return Ok(key.clone());
        }
        let key = PrivateKey::generate(spec)?;
        self.state().keys.push((spec.clone(), key.clone()));
        Ok(key)
    }

    /// Removes DNS records that a command has set up for a domain that is not being renewed, and raises `events` for them.
    /// Returns `false` if some cannot be removed now.
    ///
    /// # Errors
    /// If the store fails, or the server stops meanwhile.
    pub fn clean_up(
        self: &Arc<Self>,
        md: &Arc<ManagedDomain>,
        events: Events,
        cancel: &Cancel,
    ) -> Result<bool, PortError> {
        let name = md.name.as_str();
        let documents = &self.documents;
        let Some(_claim) = documents.store().claim(name).map_err(port_error)? else { return Ok(false) };
        let mut publisher = StoredChallenges::new(Arc::clone(self), Arc::clone(md), cancel);
        let mut journal = StagedJournal::new(Arc::clone(documents), Arc::clone(&self.clock), Arc::clone(md), events);
        let mut order = order::load(documents, md);
        while let Some(at) = order.challenge_setups.iter().rposition(|token| ChallengeSetup::is_of_command(token)) {
            let set_up = ChallengeSetup::parse(&order.challenge_setups[at]);
            if let Some(set_up) = set_up {
                if publisher.withdraw(&set_up)? == Attempt::Busy {
                    return Ok(false);
                }
                journal.challenge_taken_away(&set_up)?;
            }
            order.challenge_setups.remove(at);
            order::save(documents, name, &order)?;
        }
        if documents.store().exists(Group::Staging, name, &Aspect::JobJson) {
            journal.save_job().map(|()| true)
        } else {
            Ok(true)
        }
    }
}

impl StoredChallenges {
    /// Makes the publisher for the renewal of `md`. Commands are ended when `cancel` is set.
    #[must_use]
    pub fn new(shared: Arc<Challenges>, md: Arc<ManagedDomain>, cancel: &Cancel) -> Self {
        let line = md.cmd_dns_01.as_deref().or(shared.command.as_ref());
        let dns01 = Dns01 {
            words: line.map(|line| split_command_line(line)),
            version: shared.version,
            timeout: shared.timeout,
            cancel: cancel.clone(),
            not_begun: HashSet::new(),
        };
        Self { md, shared, dns01, has_names: false, has_command: false }
    }

    /// Reserves the DNS records of this domain's names and the right to run a command; `false` if another renewal has them.
    fn reserve_command(&mut self) -> bool {
        let names: HashSet<String> = self.record_names().collect();
        let mut state = self.shared.state();
        if !self.has_command && state.command || !self.has_names && !names.is_disjoint(&state.names) {
            return false;
        }
        state.command = true;
        state.names.extend(names);
        (self.has_command, self.has_names) = (true, true);
        true
    }

    fn record_names(&self) -> impl Iterator<Item = String> {
        self.md.domains.iter().map(|name| name.as_str().trim_start_matches("*.").to_owned())
    }

    fn release_command(&mut self) {
        if std::mem::take(&mut self.has_command) {
            self.shared.state().command = false;
        }
    }

    fn save_http_01(&self, name: &str, key_authorization: &str) -> Result<(), PortError> {
        let data = key_authorization.as_bytes();
        self.shared.documents.store().save_lazily(Group::Challenges, name, &Aspect::Http01, data).map_err(port_error)
    }

    /// Saves new challenge certificates, in place of those of an earlier order, which are for another token.
    fn save_tls_alpn_01(&self, name: &str, key_authorization: &str) -> Result<(), PortError> {
        let store = self.shared.documents.store();
        store.purge_lazily(Group::Challenges, name).map_err(port_error)?;
        let domain = DomainName::parse(name).map_err(|err| failure(Status::INVALID, err.to_string()))?;
        for spec in tls_alpn_specs(&self.md) {
            let made = self.shared.key(&spec).and_then(|key| {
                Ok((key.to_pem()?, alpn_certificate(&key, &domain, key_authorization, self.shared.clock.now())?))
            });
            let (key, certificate) = match made {
                Ok(made) => made,
                Err(err) => {
                    note!(Debug, "{name}: no tls-alpn-01 certificate with a key of type {}: {err}", spec.json_name());
                    continue;
                }
            };
            let save =
                |aspect, data: &[u8]| store.save_lazily(Group::Challenges, name, &aspect, data).map_err(port_error);
            save(Aspect::TlsAlpn01Key(spec.clone()), &key)?;
            save(Aspect::TlsAlpn01Cert(spec), certificate.to_pem().as_bytes())?;
        }
        Ok(())
    }
}

/// Returns the key types of challenge certificates: those of the domain, and at least one RSA and one EC key. With TLS 1.2 the
/// kind of key has to be that of the host's certificate, which may be one that the administrator configured.
#[must_use]
pub fn tls_alpn_specs(md: &ManagedDomain) -> Vec<KeySpec> {
    let mut specs = md.key_specs().0;
    let is_rsa = |spec: &KeySpec| spec.file_suffix().is_empty();
    if !specs.iter().any(is_rsa) {
        specs.push(KeySpec::Default);
    }
    if specs.iter().all(is_rsa) {
        specs.push(KeySpec::Ec { curve: "P-256".to_owned() });
    }
    specs
}

impl Dns01 {
    fn run(&self, arguments: &[&str]) -> Result<(), crate::exec::ExecError> {
        let words = self.words.iter().flatten().cloned();
        let argv = words.chain(arguments.iter().map(ToString::to_string)).collect();
        Command { argv, timeout: self.timeout, cancel: self.cancel.clone() }.run(b"")
    }

    fn set_up(&mut self, name: &str, txt: &str) -> Result<(), PortError> {
        self.run(&["setup", name, txt]).map_err(|err| {
            let status = err.status();
            if err.is_not_begun() {
                self.not_begun.insert(name.to_owned());
            }
            let program = self.program();
            if status == Status::INCOMPLETE_PATH {
                report!(MD0106, status; "{name}: dns-01 setup command failed to execute: {program} {err}");
            }
            // Every error counts as a failure of the command, even a command that cannot be executed.
            failure(Status::GENERAL, format!("the dns-01 command {program} {err}"))
        })
    }

    /// Runs the command that removes a record. A failure is only logged, as a record that stays does no harm. `Err` if the
    /// command was interrupted because the server stops.
    fn tear_down(&mut self, name: &str, txt: &str) -> Result<(), PortError> {
        if self.not_begun.remove(name) {
            return Ok(());
        }
        let arguments = ["teardown", name, txt];
        let arguments = if self.version == 1 { &arguments[..2] } else { &arguments };
        let Err(err) = self.run(arguments) else { return Ok(()) };
        if err.is_cancelled() {
            return Err(failure(Status::AGAIN, format!("{name}: the dns-01 teardown command was interrupted")));
        }
        report!(MD0027, err.status(); "{name}: dns-01 teardown command failed, a TXT record may be left: {} {err}", self.program());
        Ok(())
    }

    fn program(&self) -> &str {
        self.words.as_ref().and_then(|words| words.first()).map_or("", String::as_str)
    }
}

fn failure(status: Status, text: String) -> PortError {
    PortError { status, text }
}

impl Publisher for StoredChallenges {
    fn reserve(&mut self, set_up: &ChallengeSetup) -> Result<Attempt, PortError> {
        let unsupported = |text: &str| Err(failure(Status::UNSUPPORTED, text.to_owned()));
        match set_up.kind {
            kind if !kind.proves_addresses() && set_up.name.parse::<IpAddr>().is_ok() => {
                unsupported("IP addresses cannot be validated through the DNS")
            }
            ChallengeType::Http01 | ChallengeType::DnsPersist01 => Ok(Attempt::Done),
            ChallengeType::TlsAlpn01 if self.md.proto.acme_tls_1.is_empty() => {
                unsupported("no TLS host of the domain has acme-tls/1 among its Protocols")
            }
            ChallengeType::TlsAlpn01 => Ok(Attempt::Done),
            ChallengeType::Dns01 if self.dns01.words.is_none() => {
                unsupported("no dns-01 command is configured (see MDChallengeDns01)")
            }
            ChallengeType::Dns01 if self.dns01.cancel.is_cancelled() || !self.reserve_command() => Ok(Attempt::Busy),
            ChallengeType::Dns01 => Ok(Attempt::Done),
        }
    }

    fn publish(&mut self, set_up: &ChallengeSetup, key_authorization: &str) -> Result<(), PortError> {
        match set_up.kind {
            ChallengeType::DnsPersist01 => Ok(()),
            ChallengeType::Http01 => self.save_http_01(&set_up.name, key_authorization),
            ChallengeType::TlsAlpn01 => self.save_tls_alpn_01(&set_up.name, key_authorization),
            ChallengeType::Dns01 => {
                let result = self.dns01.set_up(&set_up.name, set_up.txt.as_deref().unwrap_or_default());
                self.release_command();
                result
            }
        }
    }

    fn withdraw(&mut self, set_up: &ChallengeSetup) -> Result<Attempt, PortError> {
        match set_up.kind {
            ChallengeType::Http01 | ChallengeType::TlsAlpn01 | ChallengeType::DnsPersist01 => {
                let store = self.shared.documents.store();
                store.purge_lazily(Group::Challenges, &set_up.name).map(|()| Attempt::Done).map_err(port_error)
            }
            ChallengeType::Dns01 => self.withdraw_record(set_up),
        }
    }
}

impl StoredChallenges {
    /// Has the command remove a record.
    fn withdraw_record(&mut self, set_up: &ChallengeSetup) -> Result<Attempt, PortError> {
        if self.dns01.words.is_none() {
            report!(
                MD0027,
                "{}: a dns-01 TXT record stays in the DNS, as MDChallengeDns01 is no longer configured; remove it by hand",
                set_up.name
            );
            return Ok(Attempt::Done);
        }
        if self.dns01.cancel.is_cancelled() || !self.reserve_command() {
            return Ok(Attempt::Busy);
        }
        let result = self.dns01.tear_down(&set_up.name, set_up.txt.as_deref().unwrap_or_default());
        self.release_command();
        result.map(|()| Attempt::Done)
    }
}

impl Drop for StoredChallenges {
    fn drop(&mut self) {
        self.release_command();
        if self.has_names {
            let names: Vec<String> = self.record_names().collect();
            let mut state = self.shared.state();
            names.iter().for_each(|name| {
                state.names.remove(name);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::crypto::Certificate;
    use crate::registry::Registry;
    use crate::store::Store;
    use crate::testing::{TestServer, logged, p256, watch_log};

    /// Returns a command that writes its arguments to a file, one line per call.
    fn noting(directory: &Path) -> String {
        format!(r#"/bin/sh -c 'echo "$@" >>{}/calls' sh"#, directory.display())
    }

    fn calls(directory: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(directory.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn publisher(registry: &Registry, position: usize) -> StoredChallenges {
        let md = Arc::clone(&registry.domains[position].md);
        StoredChallenges::new(Arc::clone(&registry.challenges), md, &Cancel::default())
    }

    fn dns01(name: &str, value: &str) -> ChallengeSetup {
        ChallengeSetup { kind: ChallengeType::Dns01, name: name.to_owned(), txt: Some(value.to_owned()) }
    }

    fn alpn(name: &str) -> ChallengeSetup {
        ChallengeSetup { kind: ChallengeType::TlsAlpn01, name: name.to_owned(), txt: None }
    }

    fn with_acme_tls(server: &mut TestServer) {
        server.hosts.iter_mut().for_each(|host| (host.allows_acme_tls, host.is_at_https_port) = (true, true));
    }

    #[test]
    fn challenge_certificates_have_every_kind_of_key_and_the_current_token() {
        let mut server = TestServer::new(&["alpn.challenges.test"]);
        with_acme_tls(&mut server);
        let registry = server.start(false);
        let mut publisher = publisher(&registry, 0);
        let set_up = alpn("alpn.challenges.test");
        assert_eq!(tls_alpn_specs(&registry.domains[0].md), [p256(), KeySpec::Default]);
        let mut seen = Vec::new();
        for token in ["first", "second"] {
            assert_eq!(publisher.reserve(&set_up).unwrap(), Attempt::Done);
            publisher.publish(&set_up, token).unwrap();
            for spec in [p256(), KeySpec::Default] {
                let load = |aspect: &Aspect| server.text(Group::Challenges, &set_up.name, aspect).unwrap();
                let certificate = Certificate::from_pem(load(&Aspect::TlsAlpn01Cert(spec.clone())).as_bytes()).unwrap();
                let key = PrivateKey::from_pem(load(&Aspect::TlsAlpn01Key(spec.clone())).as_bytes(), None).unwrap();
                let expected =
                    alpn_certificate(&key, &"alpn.challenges.test".parse_name(), token, server.clock.now()).unwrap();
                assert!(key.fits(&certificate) && key.fits_spec(&spec));
                assert_eq!(digest(&certificate), digest(&expected));
                seen.push(digest(&certificate));
            }
        }
        assert!(seen[0] == seen[1] && seen[2] == seen[3] && seen[0] != seen[2]);
        assert_eq!(publisher.withdraw(&set_up).unwrap(), Attempt::Done);
        assert!(server.store.list(Group::Challenges).unwrap().is_empty());
    }

    trait ParseName {
        fn parse_name(&self) -> DomainName;
    }

    impl ParseName for str {
        fn parse_name(&self) -> DomainName {
            DomainName::parse(self).unwrap()
        }
    }

    /// Returns the bytes after the object identifier of the acmeIdentifier extension.
    fn digest(certificate: &Certificate) -> Vec<u8> {
        let der = certificate.to_der();
        let id = b"\x2b\x06\x01\x05\x05\x07\x01\x1f";
        let at = der.windows(id.len()).position(|part| part == id).unwrap();
        der[at..at + 48].to_vec()
    }

    #[test]
    fn challenge_types_that_cannot_work_are_unsupported() {
        let server = TestServer::new(&["plain.challenges.test"]);
        let registry = server.start(false);
        let mut publisher = publisher(&registry, 0);
        for set_up in [alpn("plain.challenges.test"), dns01("plain.challenges.test", "v")] {
            assert_eq!(publisher.reserve(&set_up).unwrap_err().status, Status::UNSUPPORTED);
        }
        let mut server = TestServer::new(&["ip.challenges.test"]);
        with_acme_tls(&mut server);
        let registry = server.start(false);
        let mut publisher = super::tests::publisher(&registry, 0);
        assert_eq!(publisher.reserve(&alpn("192.0.2.1")).unwrap(), Attempt::Done);
        let in_the_dns = publisher.reserve(&dns01("192.0.2.1", "v")).unwrap_err();
        assert_eq!(in_the_dns.text, "IP addresses cannot be validated through the DNS");
    }

    #[test]
    fn commands_get_their_arguments_by_version_and_by_domain() {
        let directory = tempfile::tempdir().unwrap();
        for (version, teardown) in [(1, "teardown args.challenges.test"), (2, "teardown args.challenges.test value")] {
            let mut server = TestServer::new(&["args.challenges.test"]);
            server.globals.dns01_command = Some("/nonexistent/global".to_owned());
            server.globals.dns01_version = version;
            server.declared[0].settings.dns01_command = Some(noting(directory.path()));
            let registry = server.start(false);
            let mut publisher = publisher(&registry, 0);
            let set_up = dns01("args.challenges.test", "value");
            assert_eq!(publisher.reserve(&set_up).unwrap(), Attempt::Done);
            publisher.publish(&set_up, "not used").unwrap();
            assert_eq!(publisher.withdraw(&set_up).unwrap(), Attempt::Done);
            assert_eq!(calls(directory.path()), ["setup args.challenges.test value", teardown]);
            std::fs::remove_file(directory.path().join("calls")).unwrap();
        }
    }

    #[test]
    fn a_failing_set_up_is_an_error_and_a_failing_tear_down_a_warning() {
        watch_log();
        for (line, words) in [("/bin/false", "failed with exit code 1"), ("/nonexistent/dns", "cannot be executed")] {
            let mut server = TestServer::new(&["failing.challenges.test"]);
            server.globals.dns01_command = Some(line.to_owned());
            let registry = server.start(false);
            let mut publisher = publisher(&registry, 0);
            let set_up = dns01("failing.challenges.test", "value");
            assert_eq!(publisher.reserve(&set_up).unwrap(), Attempt::Done);
            let err = publisher.publish(&set_up, "").unwrap_err();
            assert_eq!(err.status, Status::GENERAL);
            assert!(err.text.contains(words), "{err}");
            assert_eq!(publisher.withdraw(&set_up).unwrap(), Attempt::Done);
        }
        assert_eq!(logged("MD0106", "failing.challenges.test: dns-01 setup command failed to execute"), 1);
        // What has not begun has left nothing.
        assert_eq!(logged("MD0027", "failing.challenges.test: dns-01 teardown command failed"), 1);
    }

    #[test]
    fn one_dns_command_runs_at_a_time_and_one_renewal_has_a_name() {
        let mut server = TestServer::new(&["*.hands.test", "hands.test", "other.test"]);
        server.globals.dns01_command = Some("/bin/true".to_owned());
        let registry = server.start(false);
        let [mut wild, mut base, mut other] = [0, 1, 2].map(|position| publisher(&registry, position));
        let name = dns01("hands.test", "v");
        let another = dns01("other.test", "v");
        assert_eq!(wild.reserve(&name).unwrap(), Attempt::Done);
        assert_eq!(base.reserve(&name).unwrap(), Attempt::Busy, "a command runs");
        assert_eq!(other.reserve(&another).unwrap(), Attempt::Busy, "a command runs");
        wild.publish(&name, "").unwrap();
        assert_eq!(other.reserve(&another).unwrap(), Attempt::Done);
        assert_eq!(base.withdraw(&name).unwrap(), Attempt::Busy);
        drop(other);
        assert_eq!(base.reserve(&name).unwrap(), Attempt::Busy, "the record is there");
        assert_eq!(wild.withdraw(&name).unwrap(), Attempt::Done);
        assert_eq!(base.reserve(&name).unwrap(), Attempt::Busy);
        drop(wild);
        assert_eq!(base.reserve(&name).unwrap(), Attempt::Done);
    }

    #[test]
    fn records_of_a_stopped_server_are_left_for_the_next_clean_up() {
        let mut server = TestServer::new(&["stopped.challenges.test"]);
        server.globals.dns01_command = Some("/bin/true".to_owned());
        let registry = server.start(false);
        let cancel = Cancel::default();
        let mut publisher =
            StoredChallenges::new(Arc::clone(&registry.challenges), Arc::clone(&registry.domains[0].md), &cancel);
        cancel.cancel();
        let set_up = dns01("stopped.challenges.test", "v");
        assert_eq!(publisher.reserve(&set_up).unwrap(), Attempt::Busy);
        assert_eq!(publisher.withdraw(&set_up).unwrap(), Attempt::Busy);
    }

    const TXT: &str = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ";

    fn md_of(server: &TestServer) -> ManagedDomain {
        server.declared[0].complete(&crate::model::Settings::default()).unwrap()
    }

    #[test]
    fn names_that_somebody_has_planted_reach_no_command() {
        watch_log();
        let directory = tempfile::tempdir().unwrap();
        let name = "planted.challenges.test";
        let mut server = TestServer::new(&[name]);
        server.globals.dns01_command = Some(noting(directory.path()));
        server.globals.message_command = Some(noting(directory.path()));
        (server.globals.dns01_version, server.globals.all_events) = (2, true);
        let planted = ["--evil", "other.test", "challenges.test", "../domains", ""];
        let own = format!("dns-01:{name} {TXT}");
        let mut tokens: Vec<_> = planted.iter().map(|name| format!("dns-01:{name} {TXT}")).collect();
        tokens.extend(["--evil", "", "v"].map(|value| format!("dns-01:{name} {value}")));
        tokens.extend([format!("dns-01:{name}"), own, format!("dns-01:{name} {TXT} -x")]);
        let order = serde_json::json!({ "challenge-setups": tokens });
        server.put(Group::Staging, name, &Aspect::OrderJson, &order.to_string());
        drop(server.run(true));
        let asked = calls(directory.path());
        let expected = format!("teardown {name} {TXT}");
        assert_eq!(asked.iter().filter(|line| line.starts_with("teardown")).collect::<Vec<_>>(), [&expected]);
        assert!(asked.iter().all(|line| !line.contains("evil") && !line.contains("other")), "{asked:?}");
        assert!(logged("MD0027", name) > 0);
    }

    /// Stores an order whose challenges a command has set up.
    fn leave(server: &TestServer, name: &str) {
        let mut order = order::load(&server.documents, &md_of(server));
        order.url = Some("https://ca.test/order/0".to_owned());
        order.challenge_setups = vec![format!("dns-01:{name} {TXT}"), format!("http-01:{name}")];
        order::save(&server.documents, name, &order).unwrap();
    }

    #[test]
    fn records_left_after_an_activation_are_removed_by_the_worker_though_nothing_is_due() {
        let directory = tempfile::tempdir().unwrap();
        let name = "left.challenges.test";
        let mut server = TestServer::new(&[name]);
        server.globals.dns01_command = Some(noting(directory.path()));
        server.globals.dns01_version = 2;
        drop(server.run(false));
        leave(&server, name);
        let renewals = server.renewals(true);
        assert!(server.store.exists(Group::Domains, name, &Aspect::Chain(p256())));
        assert_eq!(order::load(&server.documents, &md_of(&server)).challenge_setups, [format!("dns-01:{name} {TXT}")]);
        assert!(calls(directory.path()).is_empty(), "no command runs in the parent");
        server.go_on(&renewals);
        assert_eq!(calls(directory.path()), [format!("teardown {name} {TXT}")]);
        assert!(
            order::left_over(&order::load(&server.documents, &md_of(&server))).is_empty()
                && server.store.list(Group::Staging).unwrap().is_empty()
        );
        server.go_on(&renewals);
        assert_eq!(calls(directory.path()).len(), 1);
    }

    #[test]
    fn records_left_of_an_order_for_former_settings_are_removed_by_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let name = "changed.challenges.test";
        let mut server = TestServer::new(&[name]);
        server.globals.dns01_command = Some(noting(directory.path()));
        server.globals.dns01_version = 2;
        drop(server.start(false));
        let begun = ManagedDomain { must_staple: true, ..(*server.start(false).domains[0].md).clone() };
        server.documents.save_json(Group::Staging, name, &Aspect::MdJson, &begun).unwrap();
        leave(&server, name);
        drop(server.run(true));
        assert_eq!(calls(directory.path()), [format!("teardown {name} {TXT}")]);
        assert!(server.staged_job(name).finished);
    }
}
