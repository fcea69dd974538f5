//! The command `import certbot`: makes domains of the certificates of certbot.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::domains::{create, new, refuse_overlap};
use super::error::CliError;
use super::given::Given;
use super::output::show;
use super::session::Session;
use super::syntax;
use crate::crypto::{Chain, PrivateKey};
use crate::documents::Documents;
use crate::log::Level;
use crate::model::{DomainName, JobResult, KeySpec, KeySpecs, ManagedDomain, State, Status, Window};
use crate::renewals::stored_domain;
use crate::sets::CertificateSet;
use crate::store::{Aspect, Group};

/// Directory of the newest certificates, in the directory of certbot.
const LIVE: &str = "live";
/// Curves of keys that can be imported.
const CURVES: [&str; 3] = ["secp256r1", "secp384r1", "secp521r1"];
/// Sizes of RSA keys that can be imported, beside that of [`KeySpec::Default`].
const RSA_BITS: [u32; 3] = [3072, 4096, 8192];

/// Imports all certificates: `import certbot dir`. A certificate that cannot be imported does not stop the others.
pub fn certbot(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let args = given.args();
    let [dir] = args[..] else { return Err(CliError::Usage("one argument expected: the directory of certbot")) };
    let live = Path::new(dir).join(LIVE);
    let failed = |err: std::io::Error| CliError::Refused {
        status: Status::from(&err),
        text: format!("cannot read {}: {err}", live.display()),
    };
    let mut folders: Vec<_> =
        fs::read_dir(&live).map_err(failed)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    if folders.is_empty() {
        let text = format!("there are no certificates in {}", live.display());
        return Err(CliError::Refused { status: Status::NOT_FOUND, text });
    }
    let mut result = Ok(());
    let mut all = Vec::new();
    for folder in folders {
        match import(session, &folder) {
            Ok(md) => all.push(md),
            Err(err) => {
                let text = format!("{}: not imported: {err}", folder.display());
                session.terminal().message(Level::Error, err.status(), &text);
                let failure = JobResult { detail: Some(text), ..err.to_result() };
                result = result.and(Err(CliError::reported(failure)));
            }
        }
    }
    if !(all.is_empty() || session.json) {
        session.inform("The configuration of the server needs these lines, and a restart:");
        configuration(&all).iter().for_each(|line| session.inform(line));
    }
    result
}

/// Returns the lines of the configuration for these domains.
fn configuration(all: &[ManagedDomain]) -> Vec<String> {
    let mut lines = vec!["MDCertificateAgreement accepted".to_owned()];
    for md in all {
        let names = md.domains.iter().map(DomainName::as_str).collect::<Vec<_>>().join(" ");
        let keys = md.keys.iter().flat_map(|keys| &keys.0).map(|spec| match spec {
            KeySpec::Rsa { bits } => format!("rsa{bits}"),
            spec => spec.json_name().to_owned(),
        });
        let keys = keys.map(|key| format!("    MDPrivateKeys {key}"));
        let settings: Vec<_> = keys.chain(md.must_staple.then(|| "    MDMustStaple on".to_owned())).collect();
        if settings.is_empty() {
            lines.push(format!("MDomain {names}"));
        } else {
            lines.push(format!("<MDomainSet {names}>"));
            lines.extend(settings);
            lines.push("</MDomainSet>".to_owned());
        }
    }
    lines
}

/// Imports a certificate, unless the store has certificates of the domain already. Returns the domain.
fn import(session: &mut Session, folder: &Path) -> Result<ManagedDomain, CliError> {
    let chain = Chain::from_pem(&read(folder, "fullchain.pem")?);
    let chain = chain
        .and_then(|chain| chain.check().map(|()| chain))
        .map_err(|err| CliError::invalid(format!("fullchain.pem: {err}")))?;
    let key = PrivateKey::from_pem(&Zeroizing::new(read(folder, "privkey.pem")?), None);
    let key = key.map_err(|err| CliError::invalid(format!("privkey.pem: {err}")))?;
    if !key.fits(chain.leaf()) {
        return Err(CliError::invalid("privkey.pem is not the key of the certificate in fullchain.pem"));
    }
    let spec = spec_of(&key).ok_or_else(|| {
        CliError::invalid("privkey.pem: this type of key is not supported; use RSA, P-256, P-384 or P-521")
    })?;
    let names = names(&folder.file_name().unwrap_or_default().to_string_lossy(), &chain)?;
    session.acme.as_deref().map_or(Ok(()), syntax::check_uri)?;
    let mut md = new(names, session.acme.clone())?;
    md.keys = (spec != KeySpec::Default).then(|| Arc::new(KeySpecs(vec![spec.clone()])));
    md.must_staple = chain.leaf().must_staple();
    md.renew_window = Some(Window::RENEW);
    md.warn_window = Some(Window::WARN);
    if let Some((known, live)) = stored_domain(session.documents(), md.name.as_str()) {
        if let Some((_, until)) = live.common_validity() {
            session.inform(&format!(
                "{}: is there already, valid until {}, and is not changed",
                known.name,
                show(until)
            ));
            return Ok(known);
        }
    }
    save(session.documents(), &mut md, &spec, &key, &chain)?;
    session.report_domain(&md, None)?;
    Ok(md)
}

fn read(folder: &Path, file: &str) -> Result<Vec<u8>, CliError> {
    fs::read(folder.join(file))
        .map_err(|err| CliError::Refused { status: Status::from(&err), text: format!("{file}: {err}") })
}

/// Returns the names of the certificate. The name of the folder comes first, unless certbot invented it
/// (`example.org-0001`).
fn names(folder: &str, chain: &Chain) -> Result<Vec<DomainName>, CliError> {
    let names = chain.leaf().names();
    let mut names = syntax::names(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    if let Some(at) = names.iter().position(|name| name.as_str() == folder) {
        names[..=at].rotate_right(1);
    }
    Ok(names)
}

fn spec_of(key: &PrivateKey) -> Option<KeySpec> {
    let rsa = RSA_BITS.into_iter().map(|bits| KeySpec::Rsa { bits });
    let ec = CURVES.into_iter().map(|curve| KeySpec::Ec { curve: curve.to_owned() });
    std::iter::once(KeySpec::Default).chain(rsa).chain(ec).find(|spec| key.fits_spec(spec))
}

/// Saves the domain with its key and chain. The settings come last: without them the domain does not exist.
fn save(
    documents: &Documents,
    md: &mut ManagedDomain,
    spec: &KeySpec,
    key: &PrivateKey,
    chain: &Chain,
) -> Result<(), CliError> {
    let name = md.name.to_string();
    let store = documents.store();
    // A server without MDPrivateKeys looks for the files of the default key type.
    let specs = if *spec == KeySpec::Default { vec![KeySpec::Default] } else { vec![spec.clone(), KeySpec::Default] };
    let files = specs.iter().flat_map(|spec| [Aspect::Chain(spec.clone()), Aspect::PrivateKey(spec.clone())]);
    if files.chain([Aspect::MdJson]).any(|aspect| store.exists(Group::Domains, &name, &aspect)) {
        let text = format!("the store already has a domain {name}, which is not changed");
        return Err(CliError::Refused { status: Status::EXISTS, text });
    }
    refuse_overlap(documents, md)?;
    for spec in specs {
        documents.save_key(Group::Domains, &name, &Aspect::PrivateKey(spec.clone()), key)?;
        store.save(Group::Domains, &name, &Aspect::Chain(spec), &chain.to_pem())?;
    }
    let live = CertificateSet::load(documents, md);
    md.state = live.state.unwrap_or(State::Unknown);
    md.state_descr = live.state_descr;
    create(documents, md)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::testing::Shell;
    use super::*;
    use crate::clock::Clock;
    use crate::crypto::{Certificate, self_signed};
    use crate::store::Store;

    const P384: &str = "P-384";

    fn ec(curve: &str) -> KeySpec {
        KeySpec::Ec { curve: curve.to_owned() }
    }

    /// A directory of certbot.
    struct Certbot(tempfile::TempDir);

    impl Certbot {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join(LIVE)).unwrap();
            fs::write(directory.path().join("live/README"), "what certbot writes there").unwrap();
            Self(directory)
        }

        fn command(&self) -> String {
            format!("import certbot {}", self.0.path().display())
        }

        fn file(&self, folder: &str, file: &str) -> PathBuf {
            self.0.path().join(LIVE).join(folder).join(file)
        }

        fn write(&self, folder: &str, file: &str, content: &[u8]) {
            fs::create_dir_all(self.file(folder, "")).unwrap();
            fs::write(self.file(folder, file), content).unwrap();
        }

        /// Adds a certificate for these names.
        fn add(&self, shell: &Shell, folder: &str, spec: &KeySpec, names: &[&str]) -> (Certificate, PrivateKey) {
            let key = PrivateKey::generate(spec).unwrap();
            let parsed: Vec<_> = names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
            let leaf = self_signed(&key, names[0], &parsed, shell.server.clock.now(), 90).unwrap();
            self.write(folder, "fullchain.pem", leaf.to_pem().as_bytes());
            self.write(folder, "privkey.pem", &key.to_pem().unwrap());
            (leaf, key)
        }
    }

    #[test]
    fn certificates_become_domains_that_a_server_can_serve() {
        for (spec, words, privkey) in [
            (KeySpec::Default, "", None),
            (KeySpec::Rsa { bits: 3072 }, "rsa3072", Some(r#"{"type":"RSA","bits":3072}"#)),
            (ec("P-256"), "secp256r1", Some(r#"{"type":"EC","curve":"secp256r1"}"#)),
            (ec(P384), "secp384r1", Some(r#"{"type":"EC","curve":"secp384r1"}"#)),
        ] {
            let shell = Shell::new();
            let certbot = Certbot::new();
            let (leaf, key) = certbot.add(&shell, "a.import.test", &spec, &["www.import.test", "a.import.test"]);
            let done = shell.run(&certbot.command());
            let line = "md: a.import.test [a.import.test, www.import.test]\n";
            assert_eq!((done.code, done.out.as_str()), (0, line), "{spec:?}");
            let configuration = |name: &str| match name {
                "" => "MDomain a.import.test www.import.test\n".to_owned(),
                name => {
                    format!("<MDomainSet a.import.test www.import.test>\n    MDPrivateKeys {name}\n</MDomainSet>\n")
                }
            };
            let needs =
                "The configuration of the server needs these lines, and a restart:\nMDCertificateAgreement accepted\n";
            assert_eq!(done.err, format!("{needs}{}", configuration(words)));
            let listed = &shell.json("list")[0];
            assert_eq!((&listed["state"], &listed["renew"]), (&2.into(), &false.into()), "{spec:?}");
            assert_eq!(listed.get("privkey").map(ToString::to_string).as_deref(), privkey);
            // Where no directive names the type of key, too.
            for spec in [spec_of(&key).unwrap(), KeySpec::Default] {
                let chain = shell.server.text(Group::Domains, "a.import.test", &Aspect::Chain(spec.clone())).unwrap();
                assert_eq!(chain, leaf.to_pem());
                let aspect = Aspect::PrivateKey(spec);
                assert!(shell.server.documents.load_key(Group::Domains, "a.import.test", &aspect).unwrap().fits(&leaf));
            }
        }
    }

    #[test]
    fn a_number_of_certbot_is_no_name_and_the_ca_can_be_named() {
        let shell = Shell::new();
        let certbot = Certbot::new();
        certbot.add(&shell, "b.import.test-0001", &ec("P-256"), &["b.import.test"]);
        let md = &shell.json(&format!("-a https://ca.test/dir {}", certbot.command()))[0];
        assert_eq!((&md["name"], &md["ca"]["urls"][0]), (&"b.import.test".into(), &"https://ca.test/dir".into()));
    }

    #[test]
    fn a_domain_of_the_store_is_not_changed_and_the_others_are_imported() {
        let shell = Shell::new();
        let certbot = Certbot::new();
        for name in ["a.import.test", "b.import.test"] {
            certbot.add(&shell, name, &ec("P-256"), &[name]);
        }
        certbot.add(&shell, "c.import.test", &ec("P-256"), &["c.import.test", "www.a.import.test"]);
        shell.succeed("add a.import.test www.a.import.test");
        let before = shell.md("a.import.test");
        let done = shell.run(&certbot.command());
        assert_eq!((done.code, done.out.as_str()), (1, "md: b.import.test [b.import.test]\n"));
        let said = [
            ("Error 17", "a.import.test", "the store already has a domain a.import.test, which is not changed"),
            (
                "Error 22",
                "c.import.test",
                "c.import.test: the name www.a.import.test is also in managed domain a.import.test",
            ),
        ];
        let said = said.map(|(level, folder, why)| {
            format!(
                "{level}: {}: not imported: {why}\n",
                certbot.file(folder, "").display().to_string().trim_end_matches('/')
            )
        });
        assert!(done.err.starts_with(&said.concat()), "{}", done.err);
        // What was imported is no error.
        let again = shell.run(&certbot.command());
        let there = "b.import.test: is there already, valid until 2024-02-12 22:13, and is not changed\n";
        assert!(again.code == 1 && again.err.contains(there), "{again:?}");
        assert!(
            again.err.ends_with("<MDomainSet b.import.test>\n    MDPrivateKeys secp256r1\n</MDomainSet>\n"),
            "{}",
            again.err
        );
        assert_eq!(shell.md("a.import.test"), before);
        assert!(!shell.server.store.exists(Group::Domains, "a.import.test", &Aspect::PrivateKey(ec("secp256r1"))));
    }

    #[test]
    fn what_cannot_be_imported_is_named() {
        let shell = Shell::new();
        let certbot = Certbot::new();
        let empty = format!("Error 2: there are no certificates in {}/live\n", certbot.0.path().display());
        assert_eq!(shell.fail(&certbot.command()), empty);
        assert!(shell.fail("import certbot /nowhere").starts_with("Error 2: cannot read /nowhere/live: "));

        let (leaf, key) = certbot.add(&shell, "d.import.test", &ec("P-256"), &["d.import.test"]);
        let other = PrivateKey::generate(&ec("P-256")).unwrap().to_pem().unwrap();
        let good = key.to_pem().unwrap();
        let chain = leaf.to_pem();
        for (file, content, err) in [
            (
                "privkey.pem",
                &other[..],
                "Error 22: {}: not imported: privkey.pem is not the key of the certificate in fullchain.pem",
            ),
            ("privkey.pem", b"", "Error 22: {}: not imported: privkey.pem: the private key cannot be read"),
            (
                "fullchain.pem",
                b"no certificate",
                "Error 22: {}: not imported: fullchain.pem: it contains no certificate",
            ),
        ] {
            certbot.write("d.import.test", "privkey.pem", &good);
            certbot.write("d.import.test", "fullchain.pem", chain.as_bytes());
            certbot.write("d.import.test", file, content);
            let folder = certbot.file("d.import.test", "").display().to_string();
            let said = shell.fail(&certbot.command());
            assert!(said.starts_with(&err.replace("{}", folder.trim_end_matches('/'))), "{said}");
        }
        certbot.add(&shell, "d.import.test", &ec("secp256k1"), &["d.import.test"]);
        let unsupported = "privkey.pem: this type of key is not supported; use RSA, P-256, P-384 or P-521\n";
        assert!(shell.fail(&certbot.command()).ends_with(unsupported));
        fs::remove_file(certbot.file("d.import.test", "fullchain.pem")).unwrap();
        assert!(shell.fail(&certbot.command()).contains("d.import.test: not imported: fullchain.pem: No such file"));
        assert_eq!(shell.server.store.list(Group::Domains).unwrap(), Vec::<String>::new());
    }
}
