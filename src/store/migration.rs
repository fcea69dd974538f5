//! Brings stores of earlier releases to the present layout. Each step may be repeated, so that an interrupted migration
//! continues at the next start.

use super::dir::Dir;
use super::{Aspect, FileStore, Group, Store, StoreError};
use crate::model::KeySpec;

/// Takes the steps that lead on from `version`.
pub(super) fn run(store: &FileStore, version: f64) -> Result<(), StoreError> {
    if version > 1.0 {
        return Ok(());
    }
    let key = Aspect::PrivateKey(KeySpec::Default).file_name();
    for group in Group::ALL {
        for item in store.list(group)? {
            let dir = store.item(group, &item)?;
            dir.rename("pkey.pem", &key)?;
            if matches!(group, Group::Domains | Group::Archive) {
                join_chain(&dir, group)?;
            }
        }
    }
    Ok(())
}

/// Joins certificate and chain, which used to be two files.
fn join_chain(dir: &Dir, group: Group) -> Result<(), StoreError> {
    let aspect = Aspect::Chain(KeySpec::Default);
    if dir.read(&aspect.file_name())?.is_some() {
        return Ok(());
    }
    let Some(mut pem) = dir.read("cert.pem")? else { return Ok(()) };
    if !pem.ends_with(b"\n") {
        pem.push(b'\n');
    }
    pem.extend(dir.read("chain.pem")?.unwrap_or_default());
    dir.write(&aspect.file_name(), group.file_mode(&aspect), &pem)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const KEY: &str = "9qMg0aPPPr_x8fmX9DxvBVcHpyWLk5oxhbbWZFPOSfJbpKJ3dX4ltvPpbbrR-AZx";

    fn lay_out(base: &Path, header: &str, files: &[(&str, &str)]) {
        fs::write(base.join("md_store.json"), header).unwrap();
        for (path, text) in files {
            fs::create_dir_all(base.join(path).parent().unwrap()).unwrap();
            fs::write(base.join(path), text).unwrap();
        }
    }

    fn text(base: &Path, path: &str) -> String {
        fs::read_to_string(base.join(path)).unwrap_or_else(|error| error.kind().to_string())
    }

    fn current() -> String {
        format!("{{\n  \"store\": {{\n    \"version\": 3.0\n  }},\n  \"key\": \"{KEY}\"\n}}")
    }

    #[test]
    fn version_1_gets_the_names_of_today() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        let header = format!(
            "{{\n  \"version\": \"0.9.2-git\",\n  \"store\": {{\n    \"version\": 1.0\n  }},\n  \"key\": \"{KEY}\"\n}}"
        );
        let files = [
            ("accounts/ACME-acme.example.org-0000/account.json", "account"),
            ("accounts/ACME-acme.example.org-0000/account.pem", "account key"),
            ("domains/example.org/md.json", "settings"),
            ("domains/example.org/pkey.pem", "key"),
            ("domains/example.org/cert.pem", "leaf"),
            ("domains/example.org/chain.pem", "issuer\n"),
            ("domains/short.org/cert.pem", "leaf only\n"),
            ("domains/.DS_Store", "stray"),
            ("archive/example.org.1/pkey.pem", "old key"),
            ("archive/example.org.1/cert.pem", "old leaf\n"),
            ("staging/example.org/pkey.pem", "staged key"),
            ("staging/example.org/cert.pem", "staged leaf"),
            ("domains/mixed.org/pkey.pem", "key of long ago"),
            ("domains/mixed.org/privkey.pem", "key"),
            ("domains/mixed.org/pubcert.pem", "chain"),
            ("domains/mixed.org/cert.pem", "leaf of long ago"),
        ];
        lay_out(base, &header, &files);
        FileStore::open(base).unwrap();
        let header = current();
        let rows = [
            ("md_store.json", header.as_str()),
            ("accounts/ACME-acme.example.org-0000/account.pem", "account key"),
            ("domains/example.org/md.json", "settings"),
            ("domains/example.org/privkey.pem", "key"),
            ("domains/example.org/pkey.pem", "entity not found"),
            ("domains/example.org/pubcert.pem", "leaf\nissuer\n"),
            ("domains/example.org/cert.pem", "leaf"),
            ("domains/example.org/chain.pem", "issuer\n"),
            ("domains/short.org/pubcert.pem", "leaf only\n"),
            ("archive/example.org.1/privkey.pem", "old key"),
            ("archive/example.org.1/pubcert.pem", "old leaf\n"),
            ("staging/example.org/privkey.pem", "staged key"),
            ("staging/example.org/pubcert.pem", "entity not found"),
            ("domains/mixed.org/privkey.pem", "key"),
            ("domains/mixed.org/pubcert.pem", "chain"),
        ];
        for (path, expected) in rows {
            assert_eq!(text(base, path), expected, "{path}");
        }
    }

    #[test]
    fn version_2_loses_the_member_version() {
        let temp = tempfile::tempdir().unwrap();
        let header = format!(r#"{{"version":"1.0.0","store":{{"version":2.0}},"key":"{KEY}"}}"#);
        lay_out(temp.path(), &header, &[("domains/example.org/pkey.pem", "not ours")]);
        FileStore::open(temp.path()).unwrap();
        assert_eq!(text(temp.path(), "md_store.json"), current());
        assert_eq!(text(temp.path(), "domains/example.org/pkey.pem"), "not ours");
    }

    #[test]
    fn the_present_version_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let header = format!(r#"{{"key":"{KEY}","store":{{"version":3}}}}"#);
        lay_out(temp.path(), &header, &[("domains/example.org/pkey.pem", "not ours")]);
        FileStore::open(temp.path()).unwrap();
        assert_eq!(text(temp.path(), "md_store.json"), header);
        assert_eq!(text(temp.path(), "domains/example.org/pkey.pem"), "not ours");
    }
}
