//! The command `import certbot`: makes domains of the certificates of certbot.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::args::Given;
use super::domains::{create, new, refuse_overlap};
use super::error::CliError;
use super::session::Session;
use super::syntax;
use crate::crypto::{Chain, PrivateKey};
use crate::documents::Vault;
use crate::log::note;
use crate::model::{DomainName, KeySpec, KeySpecs, ManagedDomain, State, Status, Window};
use crate::sets::LiveSet;
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
    for folder in folders {
        if let Err(err) = import(session, &folder) {
            note!(Error, err.status(); "{}: not imported: {err}", folder.display());
            result = result.and(Err(CliError::Told(err.status())));
        }
    }
    result
}

fn import(session: &mut Session, folder: &Path) -> Result<(), CliError> {
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
    md.renew_window = Some(Window::Percent(33));
    md.warn_window = Some(Window::Percent(10));
    save(session.vault(), &mut md, &spec, &key, &chain)?;
    session.tell_domain(&md, None)
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
    vault: &Vault,
    md: &mut ManagedDomain,
    spec: &KeySpec,
    key: &PrivateKey,
    chain: &Chain,
) -> Result<(), CliError> {
    let name = md.name.to_string();
    let store = vault.store();
    // A server without MDPrivateKeys looks for the files of the default key type.
    let specs = if *spec == KeySpec::Default { vec![KeySpec::Default] } else { vec![spec.clone(), KeySpec::Default] };
    let files = specs.iter().flat_map(|spec| [Aspect::Chain(spec.clone()), Aspect::PrivateKey(spec.clone())]);
    if files.chain([Aspect::MdJson]).any(|aspect| store.exists(Group::Domains, &name, &aspect)) {
        let text = format!("the store already has a domain {name}, which is not changed");
        return Err(CliError::Refused { status: Status::EXISTS, text });
    }
    refuse_overlap(vault, md)?;
    for spec in specs {
        vault.save_key(Group::Domains, &name, &Aspect::PrivateKey(spec.clone()), key)?;
        store.save(Group::Domains, &name, &Aspect::Chain(spec), &chain.to_pem())?;
    }
    let live = LiveSet::load(vault, md);
    md.state = live.state.unwrap_or(State::Unknown);
    md.state_descr = live.state_descr;
    create(vault, md)
}
