//! `httpd.json`: the ports on which clients reach the server, for processes that do not see its configuration.

use serde::{Deserialize, Serialize};

use super::dir::Dir;
use super::{StoreError, secret};
use crate::log::note;
use crate::model::Status;

const FILE: &str = "httpd.json";

/// Whether a CA can reach the server on port 80 and on port 443.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reachability {
    /// By http.
    pub http: bool,
    /// By https.
    pub https: bool,
}

#[derive(Serialize, Deserialize)]
struct Document {
    proto: Reachability,
}

/// Both ports are assumed to be reachable until a start finds out.
impl Default for Reachability {
    fn default() -> Self {
        Self { http: true, https: true }
    }
}

impl Reachability {
    /// Reads the file. An unreadable one is removed: the next start writes it again.
    pub(super) fn load(dir: &Dir) -> Self {
        let parsed = match dir.read(FILE) {
            Ok(None) => return Self::default(),
            Ok(Some(data)) => serde_json::from_slice::<Document>(&data).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        parsed.map(|document| document.proto).unwrap_or_else(|error| {
            let path = dir.path().join(FILE);
            note!(Info, Status::INVALID; "{}: unreadable, removed, written again when needed: {error}", path.display());
            let _ = dir.remove(FILE);
            Self::default()
        })
    }

    /// Writes the file, if its content changes.
    pub(super) fn save(self, dir: &Dir) -> Result<(), StoreError> {
        if Self::load(dir) == self {
            return Ok(());
        }
        dir.write(FILE, 0o600, &secret::pretty(&Document { proto: self }))
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
        let https_only = Reachability { http: false, https: true };
        Reachability::default().save(&dir).unwrap();
        assert!(!file.exists());
        https_only.save(&dir).unwrap();
        assert_eq!(Reachability::load(&dir), https_only);
        let text = "{\n  \"proto\": {\n    \"http\": false,\n    \"https\": true\n  }\n}";
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        for damage in ["", "{}", r#"{"proto":{"http":1}}"#] {
            std::fs::write(&file, damage).unwrap();
            assert_eq!(Reachability::load(&dir), Reachability::default());
            assert!(!file.exists());
        }
    }
}
