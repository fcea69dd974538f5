//! The commands `add`, `update` and `list`: domains in the store, with all checks.

use std::sync::Arc;

use super::drive;
use super::error::CliError;
use super::given::Given;
use super::session::Session;
use super::syntax;
use super::unknown::Unknown;
use crate::documents::{Documents, to_json};
use crate::model::{CaSettings, ContactSource, DomainName, ManagedDomain, MemberMode, State, Status, Window};
use crate::registry::Registry;
use crate::renewals::stored_domain;
use crate::sets::CertificateSet;
use crate::store::{Aspect, Group};

/// Protocol of a new domain.
const PROTO: &str = "ACME";
/// What `update` changes.
const SETTINGS: [&str; 5] = ["domains", "ca", "account", "contacts", "agreement"];

/// Adds a domain: `add [-c address...] [--now] domain...`.
pub fn add(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let names = syntax::domain_names(&given.args())?;
    let url = session.acme.clone();
    url.as_deref().map_or(Ok(()), syntax::check_uri)?;
    let mut md = new(names, url)?;
    let contacts = given.values("contact");
    if !contacts.is_empty() {
        set_contacts(&mut md, &contacts)?;
    }
    if let Some(terms) = session.terms.as_deref() {
        syntax::check_agreement(terms)?;
        Arc::make_mut(&mut md.ca).agreement = Some(terms.to_owned());
    }
    let documents = session.documents();
    refuse_known(documents, &md)?;
    refuse_overlap(documents, &md)?;
    md.members = MemberMode::Manual;
    md.renew_window = Some(Window::RENEW);
    md.warn_window = Some(Window::WARN);
    let live = CertificateSet::load(documents, &md);
    md.state = live.state.unwrap_or(State::Incomplete);
    md.state_descr.clone_from(&live.state_descr);
    create(documents, &md)?;
    if !given.flag("now") {
        return report_saved(session, &md);
    }
    let obtained = drive::only(session, md.name.as_str());
    let md = named(session.documents(), md.name.as_str())?;
    report_saved(session, &md)?;
    obtained
}

fn set_contacts(md: &mut ManagedDomain, addresses: &[&str]) -> Result<(), CliError> {
    md.contacts = Arc::new(syntax::contacts(addresses)?);
    md.contact_source = Arc::new(ContactSource::Store);
    Ok(())
}

/// Makes a domain with names and a CA, and no other settings.
pub(super) fn new(names: Vec<DomainName>, url: Option<String>) -> Result<ManagedDomain, CliError> {
    let none = || CliError::invalid("at least one domain name is needed");
    let mut md = ManagedDomain::new(names).ok_or_else(none)?;
    let proto = Some(PROTO.to_owned());
    md.ca = Arc::new(CaSettings { proto, urls: url.into_iter().collect(), ..CaSettings::default() });
    Ok(md)
}

/// Loads the domain that an argument names.
pub(super) fn named(documents: &Documents, name: &str) -> Result<ManagedDomain, CliError> {
    let found = DomainName::parse(name).ok().and_then(|name| stored_domain(documents, name.as_str()));
    found.map(|(md, _)| md).ok_or_else(|| CliError::no_domain(documents, name))
}

/// Saves a domain that must not exist yet.
pub(super) fn create(documents: &Documents, md: &ManagedDomain) -> Result<(), CliError> {
    match documents.store().create(Group::Domains, md.name.as_str(), &Aspect::MdJson, &to_json(md)?)? {
        true => Ok(()),
        false => Err(exists(md)),
    }
}

fn refuse_known(documents: &Documents, md: &ManagedDomain) -> Result<(), CliError> {
    let known = documents.store().exists(Group::Domains, md.name.as_str(), &Aspect::MdJson);
    if known { Err(exists(md)) } else { Ok(()) }
}

fn exists(md: &ManagedDomain) -> CliError {
    CliError::Refused { status: Status::EXISTS, text: format!("managed domain exists already: {}", md.name) }
}

/// Fails if another domain has a name in common with `md`, by a wildcard or as it is.
pub(super) fn refuse_overlap(documents: &Documents, md: &ManagedDomain) -> Result<(), CliError> {
    for other in stored(documents)?.iter().map(|(other, _)| other).filter(|other| other.name != md.name) {
        let common = md.domains.iter().find(|name| other.covers(name));
        if let Some(name) = common.or_else(|| other.domains.iter().find(|name| md.covers(name))) {
            return Err(CliError::invalid(format!(
                "{}: the name {name} is also in managed domain {}",
                md.name, other.name
            )));
        }
    }
    Ok(())
}

/// Loads all domains with their certificates. Domains that cannot be read are logged and left out.
fn stored(documents: &Documents) -> Result<Vec<(ManagedDomain, CertificateSet)>, CliError> {
    let names = documents.store().list(Group::Domains)?;
    Ok(names.iter().filter_map(|name| stored_domain(documents, name)).collect())
}

/// Prints a domain that was just saved.
fn report_saved(session: &mut Session, md: &ManagedDomain) -> Result<(), CliError> {
    let registry = session.domains_of(&[md.name.as_str()])?;
    let position = registry.domains.iter().position(|domain| domain.md.name == md.name);
    session.report_domain(md, position.map(|position| is_due(&registry, position)))
}

fn is_due(registry: &Registry, position: usize) -> bool {
    let now = registry.clock.now();
    registry.due_at(position, now).is_some_and(|due| due <= now)
}

/// Changes a domain: `update name [setting [value...]]`.
pub fn update(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let args = given.args();
    let (name, setting) = args.split_first().ok_or(CliError::Usage("missing argument: name of a managed domain"))?;
    let documents = Arc::clone(session.documents());
    let stored = named(&documents, name)?;
    let mut md = stored.clone();
    if let Some(url) = session.acme.as_deref().filter(|url| md.ca.urls != [*url]) {
        set_ca(&mut md, url)?;
    }
    if let Some((setting, values)) = setting.split_first() {
        change(&mut md, setting, values)?;
    }
    if md.domains != stored.domains {
        refuse_overlap(&documents, &md)?;
    }
    let live = CertificateSet::load(&documents, &md);
    md.state = live.state.unwrap_or(State::Unknown);
    md.state_descr.clone_from(&live.state_descr);
    documents.save_json(Group::Domains, md.name.as_str(), &Aspect::MdJson, &md)?;
    report_saved(session, &md)
}

/// Changes a setting of a domain.
fn change(md: &mut ManagedDomain, setting: &str, values: &[&str]) -> Result<(), CliError> {
    let first = values.first().map(|value| (*value).to_owned());
    match setting {
        "domains" => md.domains = syntax::domain_names(values)?,
        "ca" => {
            set_ca(md, values.first().ok_or(CliError::Usage("missing argument: URL of the ACME server"))?)?;
            let proto = values.get(1).copied().unwrap_or(PROTO);
            Arc::make_mut(&mut md.ca).proto = Some(proto.to_owned());
        }
        "account" => Arc::make_mut(&mut md.ca).account = first,
        "contacts" => set_contacts(md, values)?,
        "agreement" => {
            first.as_deref().map_or(Ok(()), syntax::check_agreement)?;
            Arc::make_mut(&mut md.ca).agreement = first;
        }
        other => return Err(CliError::UnknownSetting(Unknown::among(other, SETTINGS))),
    }
    Ok(())
}

/// Sets the CA of a domain. A domain with certificates of another CA is due.
pub(super) fn set_ca(md: &mut ManagedDomain, ca: &str) -> Result<(), CliError> {
    let url = syntax::ca_url(ca);
    syntax::check_uri(&url)?;
    Arc::make_mut(&mut md.ca).urls = vec![url];
    Ok(())
}

/// Lists domains: `list [name...]`.
pub fn list(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let registry = session.domains(None)?;
    let args = given.args();
    if args.is_empty() {
        return (0..registry.domains.len()).try_for_each(|position| report(session, &registry, position));
    }
    args.iter().try_for_each(|name| {
        let found = DomainName::parse(name).ok().and_then(|name| {
            let called = registry.domains.iter().position(|domain| domain.md.name == name);
            called.or_else(|| registry.index.covering(&name))
        });
        report(session, &registry, found.ok_or_else(|| not_listed(&registry, name))?)
    })
}

fn not_listed(registry: &Registry, name: &str) -> CliError {
    let known = registry.domains.iter().flat_map(|domain| &domain.md.domains).map(DomainName::as_str);
    CliError::NotListed(Unknown::among(name, known))
}

/// Prints the domain as it is stored, with the state of its certificates.
fn report(session: &mut Session, registry: &Registry, position: usize) -> Result<(), CliError> {
    let domain = &registry.domains[position];
    let served = domain.served();
    let md = ManagedDomain {
        ca: Arc::clone(&domain.issued_by),
        state: served.state.unwrap_or(State::Unknown),
        state_descr: served.state_descr.clone(),
        ..(*domain.md).clone()
    };
    session.report_domain(&md, Some(is_due(registry, position)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::Shell;
    use crate::store::{Aspect, Group, Store};
    use crate::testing::ca::FakeCa;
    use crate::testing::{TestServer, p256};

    const CA: &str = "https://ca.test:14000/dir";

    #[test]
    fn a_domain_is_added_with_its_defaults() {
        let shell = Shell::new();
        let output =
            shell.json(&format!("-a {CA} add Test.Example.org www.example.org WWW.example.ORG *.x.example.org"));
        let stored = json!({
            "name": "test.example.org",
            "domains": ["test.example.org", "www.example.org", "*.x.example.org"],
            "contacts": [],
            "transitive": 0,
            "ca": { "proto": "ACME", "urls": [CA] },
            "state": 1,
            "state-descr": "certificate(rsa) is missing",
            "renew-mode": -1,
            "renew-window": "33%",
            "warn-window": "10%",
            "must-staple": false,
            "proto": { "acme-tls/1": [] },
            "stapling": false,
            "profile-mandatory": false,
            "ari-renewals": true,
        });
        assert_eq!(shell.md("test.example.org"), stored);
        let mut printed = stored;
        printed["renew"] = true.into();
        assert_eq!(output, json!([printed]));
        let line = "md: test.example.org [test.example.org, www.example.org, *.x.example.org]\n";
        assert_eq!(shell.succeed("list"), line);
    }

    #[test]
    fn a_first_certificate_takes_one_command() {
        let shell = Shell::without_account();
        let name = "now.domains.test";
        let line = format!("add --now -a {} -t accepted -c admin@x.org {name}", FakeCa::DIRECTORY);
        let md = &shell.json(&line)[0];
        assert_eq!(
            (&md["state"], &md["renew"], &md["ca"]["account"]),
            (&2.into(), &false.into(), &"ACME-ca.test-0000".into())
        );
        assert_eq!((&md["contacts"][0], &md["ca"]["agreement"]), (&"mailto:admin@x.org".into(), &"accepted".into()));
        assert_eq!(shell.server.ca.ordered().len(), 1);
        // Without a CA the domain is there all the same.
        let done = shell.run("add --now b.domains.test");
        assert_eq!((done.code, done.out.as_str()), (1, "md: b.domains.test [b.domains.test]\n"));
        assert!(done.err.contains("'a2md update b.domains.test ca <url>' sets it"), "{}", done.err);
    }

    #[test]
    fn authorities_have_the_names_of_the_directive() {
        let shell = Shell::new();
        let test = "https://acme-staging-v02.api.letsencrypt.org/directory";
        assert_eq!(shell.json("add -a letsencrypt-test a.org")[0]["ca"]["urls"][0], test);
        assert_eq!(shell.json("-a https://x.org/ update a.org")[0]["ca"]["urls"][0], "https://x.org/");
        assert_eq!(shell.json("update a.org ca LetsEncrypt-Test")[0]["ca"]["urls"][0], test);
    }

    #[test]
    fn what_cannot_be_added_is_refused_with_the_reason() {
        let shell = Shell::new();
        shell.succeed("add a.org www.a.org *.w.org");
        for (line, err) in [
            ("add", "Error 22: at least one domain name is needed\n"),
            ("add good.org a..org", "Error 22: not a domain name: a..org\n"),
            ("add -- -x.org/", "Error 22: not a domain name: -x.org/\n"),
            ("-a nohost add b.org", "Error 22: missing uri scheme: nohost\n"),
            ("-a https://a.org:0/ add b.org", "Error 22: wrong port in uri: https://a.org:0/\n"),
            ("add a.org b.org", "Error 17: managed domain exists already: a.org\n"),
            ("add b.org www.a.org", "Error 22: b.org: the name www.a.org is also in managed domain a.org\n"),
            ("add y.w.org", "Error 22: y.w.org: the name y.w.org is also in managed domain a.org\n"),
            ("add c.org *.a.org", "Error 22: c.org: the name www.a.org is also in managed domain a.org\n"),
        ] {
            assert_eq!(shell.fail(line), err, "{line}");
        }
        assert_eq!(shell.succeed("list"), "md: a.org [a.org, www.a.org, *.w.org]\n");
    }

    #[test]
    fn list_finds_a_domain_by_its_name_before_any_name_in_it() {
        let shell = Shell::new();
        shell.succeed("add b.org www.b.org");
        shell.succeed("add a.org *.a.org");
        let listed = shell.json("list");
        let names: Vec<&Value> = listed.as_array().unwrap().iter().map(|md| &md["name"]).collect();
        assert_eq!(names, ["a.org", "b.org"]);
        let lines = "md: b.org [b.org, www.b.org]\nmd: a.org [a.org, *.a.org]\n";
        assert_eq!(shell.succeed("list www.b.org x.a.org"), lines);
        assert_eq!(shell.json("list B.org")[0]["renew"], true);
        let done = shell.run("list b.org c.org a.org");
        assert_eq!((done.code, done.out.as_str()), (1, "md: b.org [b.org, www.b.org]\n"));
        assert_eq!(done.err, "managed domain not found: c.org\n");
    }

    #[test]
    fn update_changes_one_setting_saves_and_prints_it() {
        let ca = |proto: &str, url: &str| json!({ "proto": proto, "urls": [url] });
        let with = |member: &str, value: &str| {
            let mut all = ca("ACME", CA);
            all[member] = value.into();
            all
        };
        for (line, member, expected) in [
            ("update a.org", "ca", ca("ACME", CA)),
            ("update a.org domains B.org a.org b.org", "domains", json!(["b.org", "a.org"])),
            ("update a.org ca https://other.org:65535/dir", "ca", ca("ACME", "https://other.org:65535/dir")),
            ("update a.org ca https://other.org/dir whatever", "ca", ca("whatever", "https://other.org/dir")),
            ("-a https://other.org/dir update a.org", "ca", ca("ACME", "https://other.org/dir")),
            ("update a.org account ACME-x-0000 more", "ca", with("account", "ACME-x-0000")),
            ("update a.org account", "ca", ca("ACME", CA)),
            ("update a.org contacts a@b.org mailto:c@d.org", "contacts", json!(["mailto:a@b.org", "mailto:c@d.org"])),
            ("update a.org agreement accepted", "ca", with("agreement", "accepted")),
            ("update a.org agreement https://ca.org/terms", "ca", with("agreement", "https://ca.org/terms")),
            ("update a.org agreement", "ca", ca("ACME", CA)),
        ] {
            let shell = Shell::new();
            shell.succeed(&format!("-a {CA} add a.org"));
            let output = shell.json(line);
            let mut stored = shell.md("a.org");
            assert_eq!((&stored["name"], &stored[member]), (&"a.org".into(), &expected), "{line}");
            stored["renew"] = true.into();
            assert_eq!(output, json!([stored]), "{line}");
        }
    }

    #[test]
    fn a_setting_without_a_value_is_taken_away() {
        let shell = Shell::new();
        shell.succeed("add a.org");
        for (setting, value) in [("account", "ACME-x-0000"), ("agreement", "accepted")] {
            shell.succeed(&format!("update a.org {setting} {value}"));
            assert_eq!(shell.md("a.org")["ca"][setting], value);
            shell.succeed(&format!("update a.org {setting}"));
            assert_eq!(shell.md("a.org")["ca"].get(setting), None);
        }
    }

    #[test]
    fn a_wrong_update_changes_nothing_and_names_what_is_wrong() {
        let shell = Shell::new();
        shell.succeed("add a.org");
        shell.succeed("add b.org www.b.org");
        let before = shell.md("a.org");
        for (line, err) in [
            ("update a.org domains", "Error 22: at least one domain name is needed\n"),
            ("update a.org domains nodot", "Error 22: not a domain name: nodot\n"),
            (
                "update a.org domains a.org www.b.org",
                "Error 22: a.org: the name www.b.org is also in managed domain b.org\n",
            ),
            ("update a.org ca nohost", "Error 22: missing uri scheme: nohost\n"),
            ("-a http:// update a.org contacts a@b.org", "Error 22: missing host in uri: http://\n"),
            ("update a.org contacts", "Error 22: at least one contact is needed\n"),
            ("update a.org contacts a@b@c", "Error 22: more than one '@' in mail address: mailto:a@b@c\n"),
            ("update a.org agreement yes", "Error 22: missing uri scheme: yes\n"),
            ("update a.org frob x", "unknown setting: frob\n"),
            ("update x.org", "Info 2: managed domain not found: x.org\n"),
            ("update ../accounts", "Info 2: managed domain not found: ../accounts\n"),
        ] {
            assert_eq!(shell.fail(line), err, "{line}");
        }
        assert_eq!(shell.md("a.org"), before);
        assert_eq!(shell.run("-j update a.org frob").document()["status"], 70023);
    }

    #[test]
    fn a_domain_is_due_when_its_window_opens_or_its_ca_changes() {
        let server = TestServer::new(&["a.list.test"]);
        drop(server.run(false));
        drop(server.start(true));
        let shell = Shell::of(server);
        let listed = &shell.json("list")[0];
        assert_eq!((&listed["state"], &listed["renew"]), (&2.into(), &false.into()));
        assert_eq!(listed["ca"]["url"], FakeCa::DIRECTORY);
        let updated = &shell.json(&format!("update a.list.test ca {CA}"))[0];
        assert_eq!((&updated["ca"]["urls"], &updated["renew"]), (&json!([CA]), &true.into()));
        shell.succeed(&format!("update a.list.test ca {}", FakeCa::DIRECTORY));
        assert_eq!(shell.json("list")[0]["renew"], false);
        shell.server.clock.advance(jiff::SignedDuration::from_hours(24 * 61));
        assert_eq!(shell.json("list")[0]["renew"], true);
    }

    #[test]
    fn domains_that_cannot_be_read_are_left_out_and_keys_of_external_accounts_are_shown() {
        let shell = Shell::new();
        shell.succeed("add a.org");
        shell.change("a.org", |md| md["eab"] = json!({ "kid": "k", "hmac": "secret" }));
        shell.server.put(Group::Domains, "damaged.list.test", &Aspect::MdJson, "[]");
        shell.server.put(Group::Domains, "empty.list.test", &Aspect::Chain(p256()), "");
        let listed = shell.json("list");
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed[0]["eab"], json!({ "kid": "k", "hmac": "secret" }), "as the C module has it");
        let failed = "failed to load JSON file domains/damaged.list.test/md.json";
        assert!(crate::testing::logged("", failed) > 0);
        assert!(shell.server.store.exists(Group::Domains, "damaged.list.test", &Aspect::MdJson));
    }
}
