//! Who may enter the directories of a store, and whom they belong to. What is found is told: repairing it could follow what another
//! user has put there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Group;
use super::secret::FILE;
use crate::log::report;

/// Finds what belongs to another user than root and holds keys, or leads to them: names in the store with the user's id. The store
/// itself has an empty name. The C module gives `accounts/`, where all keys are encrypted, to the server's user.
#[must_use]
pub fn of_others(base: &Path) -> Vec<(&'static str, u32)> {
    let groups = Group::ALL.into_iter().filter(|group| !group.is_of_server() && *group != Group::Accounts);
    let names = ["", FILE].into_iter().chain(groups.map(Group::name));
    let owner = |name: &'static str| Some((name, fs::symlink_metadata(base.join(name)).ok()?.uid()));
    names.filter_map(owner).filter(|(_, owner)| *owner != 0).collect()
}

/// Returns the command that gives all of these to root. It follows no link.
#[must_use]
pub fn giving_to_root(base: &Path, found: &[(&'static str, u32)]) -> String {
    let path = |name: &str| if name.is_empty() { base.to_owned() } else { base.join(name) };
    let (single, whole): (Vec<_>, Vec<_>) = found.iter().partition(|(name, _)| name.is_empty() || *name == FILE);
    let command = |option: &str, all: Vec<&(&str, u32)>| {
        let paths: Vec<_> = all.iter().map(|(name, _)| path(name).display().to_string()).collect();
        (!paths.is_empty()).then(|| format!("chown {option} root {}", paths.join(" ")))
    };
    let commands = [command("-h", single), command("-hR", whole)];
    commands.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Finds the first directory on the way to the store, and the store itself, that a user may not enter by its mode, with this mode.
/// The other groups of the user are not known, so that a directory which its group may enter counts as one of theirs.
fn closed_to(base: &Path, (user, group): (u32, u32)) -> Option<(PathBuf, u32)> {
    let base = fs::canonicalize(base).ok()?;
    let is_closed = |found: &fs::Metadata| {
        let needed = match () {
            () if found.uid() == user => 0o100,
            () if found.gid() == group => 0o010,
            () => 0o011,
        };
        found.permissions().mode() & needed == 0
    };
    let closed = |dir: &Path| {
        let found = fs::metadata(dir).ok().filter(is_closed)?;
        Some((dir.to_owned(), found.permissions().mode() & 0o7777))
    };
    let mut all: Vec<&Path> = base.ancestors().collect();
    all.reverse();
    all.into_iter().find_map(closed)
}

/// Warns of directories and files that belong to the wrong user, and of a directory that the server's user cannot enter.
pub(super) fn report_flaws(base: &Path, server: (u32, u32)) {
    let found = of_others(base);
    if !found.is_empty() {
        let shown = |(name, owner): &(&str, u32)| match *name {
            "" => format!("the directory itself (user {owner})"),
            name => format!("{name} (user {owner})"),
        };
        report!(
            MD0101,
            "MDStoreDir {}: belongs to another user than root, who can read or replace private keys: {}; repair that by: {}",
            base.display(),
            found.iter().map(shown).collect::<Vec<_>>().join(", "),
            giving_to_root(base, &found)
        );
    }
    if let Some((dir, mode)) = closed_to(base, server).filter(|_| server.0 != 0) {
        report!(
            MD0102,
            "MDStoreDir {}: user {}, who answers challenges and renews, may not enter {} by its mode {mode:04o}: unless an ACL \
             permits it, no renewal succeeds; repair that by: chmod a+x {}",
            base.display(),
            server.0,
            dir.display(),
            dir.display()
        );
    }
}
