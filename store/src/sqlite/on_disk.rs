//! The file on the disk: made private, and recognised later.
//!
//! *Guarantees.* A file that is made here belongs to its owner alone from its first moment, whatever the umask. SQLite
//! gives the log and the index beside it the same mode. A link that leads nowhere is not followed. While a store is
//! open, each write checks that the path still leads to the opened files. Nothing more is written into a file that was
//! removed or replaced.

use super::errors::Result;
use crate::StoreError;
use decisiongraph_projections::Category;
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Files of a database: the suffix of each name, and the word for each file.
const FILES: [(&str, &str); 3] =
    [("", "the file"), ("-wal", "its log (-wal)"), ("-shm", "the index of its log (-shm)")];

/// The files that a store opened. None: the file did not exist, as beside a read-only file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OnDisk([Option<Inode>; 3]);

/// Remedy, for people.
const NEXT: &str = "stop every process that uses the file, put the right one in its place without the -wal and -shm of \
    another, and start again";

/// Device and number of a file.
type Inode = (u64, u64);

impl OnDisk {
    /// Reads the files that exist now.
    pub fn at(path: &Path) -> OnDisk {
        OnDisk(FILES.map(|(suffix, _)| inode(&beside(path, suffix))))
    }

    /// Returns a name that distinguishes this file from every other of this machine.
    pub fn name(&self) -> String {
        self.0[0].map_or_else(|| "gone".to_owned(), |(device, number)| format!("{device}:{number}"))
    }

    /// Fails with `unavailable` when the path does not lead to these files any more. The error is permanent.
    pub fn check(&self, path: &Path) -> Result<()> {
        for ((suffix, word), opened) in FILES.iter().zip(&self.0) {
            let what = match (opened, inode(&beside(path, suffix))) {
                (Some(opened), Some(now)) if *opened == now => continue,
                (None, _) => continue,
                (Some(_), Some(_)) => "replaced by another file",
                (Some(_), None) => "removed",
            };
            let message = format!("{word} was {what} while it was open, so nothing more is written");
            return Err(StoreError::new(Category::Unavailable, message).next(NEXT).into());
        }
        Ok(())
    }
}

/// True when there is a log beside the file.
pub(super) fn has_log(path: &Path) -> bool {
    beside(path, "-wal").exists()
}

/// Returns the file's address for a reader that may not write beside it, in SQLite's form: no locks, no log.
pub(super) fn as_it_is(path: &Path) -> PathBuf {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    PathBuf::from(format!("file:{path}?immutable=1"))
}

/// Creates the file and its folder, for their owner alone, if they do not exist. Blocks.
pub(super) fn make(path: &Path) -> Result<()> {
    let unavailable =
        |what: &str, error: io::Error| StoreError::new(Category::Unavailable, format!("cannot create {what}: {error}"));
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        private_folder().create(parent).map_err(|error| unavailable("its folder", error))?;
    }
    if path.exists() {
        return Ok(());
    }
    // Fails when anything has the name, also a link to nothing.
    let made = private_file().write(true).create_new(true).open(path);
    match made.and_then(|file| make_private(&file)) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.exists() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::new(
            Category::Unavailable,
            format!("it is a link to a file that does not exist; remove it: `rm '{}'`", path.display()),
        )
        .into()),
        done => Ok(done.map_err(|error| unavailable("it", error))?),
    }
}

/// Returns the name of a file beside the database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(unix)]
fn inode(path: &Path) -> Option<Inode> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|facts| (facts.dev(), facts.ino()))
}

#[cfg(not(unix))]
fn inode(path: &Path) -> Option<Inode> {
    path.exists().then_some((0, 0))
}

#[cfg(unix)]
fn private_folder() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

#[cfg(not(unix))]
fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    builder
}

#[cfg(unix)]
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    OpenOptions::new()
}

/// Restores the owner's rights that the umask removed.
#[cfg(unix)]
fn make_private(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private(_: &std::fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, victim) = (folder.path().join("x.db"), folder.path().join("victim"));
        std::os::unix::fs::symlink(&victim, &path).expect("plants");
        assert!(make(&path).expect_err("refused").message.contains("remove it"));
        assert!(!victim.exists());
    }

    #[test]
    fn files_are_known_again_when_they_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db");
        make(&path).expect("made");
        let opened = OnDisk::at(&path);
        // Nothing was beside it: files that come later are not checked.
        std::fs::write(beside(&path, "-wal"), "x").expect("writes");
        opened.check(&path).expect("the same");
        let away = folder.path().join("away");
        std::fs::rename(&path, &away).expect("moves");
        let gone = opened.check(&path).expect_err("gone");
        assert!(
            gone.category == Category::Unavailable && !gone.transient && gone.message.contains("removed"),
            "{gone}"
        );
        std::fs::write(&path, "x").expect("writes");
        assert!(opened.check(&path).expect_err("another").message.contains("replaced by another file"));
        std::fs::rename(&away, &path).expect("moves back");
        opened.check(&path).expect("the same");
    }
}
