//! `httpd.json`: facts about the server and settings of its whole, for processes that do not see its configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dir::Dir;
use super::{StoreError, secret};
use crate::log::note;
use crate::model::{Globals, Route, Status};

const FILE: &str = "httpd.json";

/// Whether a CA can reach the server on port 80 and on port 443.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reachability {
    /// By http.
    pub http: bool,
    /// By https.
    pub https: bool,
}

/// Settings outside of `<MDomainSet>`, which `md.json` does not have, under the names of its members.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ServerWide {
    /// The way to CAs.
    #[serde(flatten)]
    pub route: Route,
    /// `MDChallengeDns01`, as written
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd_dns_01: Option<String>,
    /// `MDChallengeDns01Version`, if it is not the usual one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd_dns_01_version: Option<u8>,
}

/// What a start of the server leaves for others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServerFacts {
    /// How a CA reaches the server.
    #[serde(rename = "proto")]
    pub reach: Reachability,
    /// Settings of the whole server.
    #[serde(default, skip_serializing_if = "ServerWide::is_usual")]
    pub server: ServerWide,
    /// Domains of the store that the server does not renew, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub idle: BTreeMap<String, String>,
}

/// Both ports are assumed to be reachable until a start finds out.
impl Default for Reachability {
    fn default() -> Self {
        Self { http: true, https: true }
    }
}

impl ServerWide {
    /// Takes the settings that programs beside the server need.
    #[must_use]
    pub fn of(globals: &Globals) -> Self {
        let version = Some(globals.dns01_version).filter(|version| *version != Globals::default().dns01_version);
        Self { route: Route::of_all(globals), cmd_dns_01: globals.dns01_command.clone(), cmd_dns_01_version: version }
    }

    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl ServerFacts {
    /// Reads the file. An unreadable one is removed: the next start writes it again.
    pub(super) fn load(dir: &Dir) -> Self {
        let parsed = match dir.read(FILE) {
            Ok(None) => return Self::default(),
            Ok(Some(data)) => serde_json::from_slice(&data).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        parsed.unwrap_or_else(|error| {
            let path = dir.path().join(FILE);
            note!(Info, Status::INVALID; "{}: unreadable, removed, written again when needed: {error}", path.display());
            let _ = dir.remove(FILE);
            Self::default()
        })
    }

    /// Writes the file, if its content changes.
    pub(super) fn save(&self, dir: &Dir) -> Result<(), StoreError> {
        if Self::load(dir) == *self {
            return Ok(());
        }
        dir.write(FILE, 0o600, &secret::pretty(self))
    }
}

#[cfg(test)]
mod tests {
    use super::super::dir::Links;
    use super::*;

    #[test]
    fn is_written_when_it_differs_and_dropped_when_unreadable() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path(), Links::Follow).unwrap();
        let file = temp.path().join(FILE);
        let reach = Reachability { http: false, https: true };
        let https_only = ServerFacts { reach, ..ServerFacts::default() };
        ServerFacts::default().save(&dir).unwrap();
        assert!(!file.exists());
        https_only.save(&dir).unwrap();
        assert_eq!(ServerFacts::load(&dir), https_only);
        let text = "{\n  \"proto\": {\n    \"http\": false,\n    \"https\": true\n  }\n}";
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        let globals = Globals { dns01_command: Some("/dns".to_owned()), dns01_version: 2, ..Globals::default() };
        let with_settings = ServerFacts { server: ServerWide::of(&globals), ..https_only.clone() };
        with_settings.save(&dir).unwrap();
        assert_eq!(ServerFacts::load(&dir), with_settings);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(r#""cmd-dns-01": "/dns""#) && text.contains(r#""cmd-dns-01-version": 2"#), "{text}");
        assert!(!text.contains("proxy"), "{text}");
        for damage in ["", "{}", r#"{"proto":{"http":1}}"#] {
            std::fs::write(&file, damage).unwrap();
            assert_eq!(ServerFacts::load(&dir), ServerFacts::default());
            assert!(!file.exists());
        }
    }
}
