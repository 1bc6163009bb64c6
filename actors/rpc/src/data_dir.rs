//! The data directory: holds the embedded store, the admin socket, the node's lock and its name.
//!
//! *Guarantees.* It belongs to this user alone. The directory has mode 0700 and each file in it 0600, whatever the
//! umask. A directory or file that others may write, or that belongs to another user, is refused by name. The refusal
//! has the command that repairs it. A directory or file that others may only read is accepted, and closed to them. A
//! link in the place of one of the files is refused: it leads where its maker wants.

use crate::SOCKET_NAME;
use crate::private_file::forbid;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_protocol::foreign_text::shell_word;
use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Name of the embedded store.
pub const EMBEDDED_FILE: &str = "decisiongraph.db";
/// Name of the file that a node locks.
pub const LOCK_NAME: &str = "node.lock";
/// Name of the file that holds the node's identity.
pub const IDENTITY_NAME: &str = "node.json";
/// Name of the Unix socket of the HTTP interface.
pub const HTTP_SOCKET_NAME: &str = "http.sock";
/// Name of the file with the token of the node's own user.
pub const HTTP_TOKEN_NAME: &str = "http.token";
/// Name of the directory in which a node makes its socket.
pub const NEST_NAME: &str = ".sock";
/// All permission bits of the group and of others.
const OTHERS: u32 = 0o077;
/// Write permission bits of the group and of others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Makes the directory when it is missing. Ensures that it and the files in it belong to this user alone.
///
/// `invalid_argument` for what is refused; `storage` for what cannot be made.
pub fn own(directory: &Path) -> Result<(), AdminError> {
    let failed = |what: &str, path: &Path, error: io::Error| {
        AdminError::new(Category::Storage, format!("cannot {what} {}: {error}", path.display()))
            .next("name a directory that this user may write with --data-dir")
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| failed("create the data directory", directory, error))?;
    trust(directory)?;
    // Takes permissions away and gives none: a file that its owner only reads stays so.
    let close = |path: &Path, facts: &Metadata| {
        let mode = facts.permissions().mode();
        if mode & OTHERS == 0 {
            return Ok(());
        }
        match fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS & 0o777)) {
            // The log beside a database disappears with the last process that has it open.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove the permissions of other users from", path, error))
            }
            _ => Ok(()),
        }
    };
    let facts = fs::metadata(directory).map_err(|error| failed("inspect", directory, error))?;
    close(directory, &facts)?;
    for path in files(directory).chain([directory.join(NEST_NAME)]) {
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("inspect", &path, error)),
            Ok(facts) => {
                refuse_link(&path, &facts)?;
                ours(&path, &facts)?;
                forbid(WRITABLE_BY_OTHERS, &path, &facts, "write the file", "600")?;
                close(&path, &facts)?;
            }
        }
    }
    Ok(())
}

/// Checks that the directory belongs to this user, and that no other user may put files into it. `invalid_argument`
/// when not: any user may have made the files in it.
pub fn trust(directory: &Path) -> Result<(), AdminError> {
    let facts = fs::metadata(directory).map_err(|error| {
        AdminError::new(
            Category::InvalidArgument,
            format!("cannot inspect the data directory {}: {error}", directory.display()),
        )
        .next("check its path and its permissions, or name another with --data-dir")
    })?;
    ours(directory, &facts)?;
    forbid(WRITABLE_BY_OTHERS, directory, &facts, "put files into the data directory", "700")
}

/// Writes a file anew, whole or not at all, through another file that no link can lead astray.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        // Left by a process that died here.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

/// Lists the files that this program makes in the directory.
fn files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let store = ["", "-wal", "-shm", "-journal"].map(|suffix| format!("{EMBEDDED_FILE}{suffix}"));
    let own = [LOCK_NAME, IDENTITY_NAME, SOCKET_NAME, HTTP_SOCKET_NAME, HTTP_TOKEN_NAME].map(str::to_owned);
    store.into_iter().chain(own).map(|name| directory.join(name))
}

fn refuse_link(path: &Path, facts: &Metadata) -> Result<(), AdminError> {
    if !facts.is_symlink() {
        return Ok(());
    }
    let path = path.to_string_lossy();
    Err(AdminError::new(
        Category::InvalidArgument,
        format!("{path} is a link, and links in the data directory are not followed"),
    )
    .next(format!("remove it: `rm {}`; a database elsewhere is named with --database sqlite:PATH", shell_word(&path))))
}

/// Refuses a file that belongs to another user.
fn ours(path: &Path, facts: &Metadata) -> Result<(), AdminError> {
    let us = rustix::process::geteuid().as_raw();
    if facts.uid() == us {
        return Ok(());
    }
    let path = path.to_string_lossy();
    Err(AdminError::new(
        Category::InvalidArgument,
        format!("{path} belongs to user {}, and this program runs as user {us}", facts.uid()),
    )
    .next(format!(
        "run the command as its owner: `sudo -u '#{}' decisiongraph …`; or make it yours: `chown -R {us} {}`; or name another directory with --data-dir",
        facts.uid(),
        shell_word(&path)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").permissions().mode() & 0o777
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("sets");
    }

    #[test]
    fn a_directory_that_others_may_read_is_closed_to_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("a/data");
        own(&data).expect("made");
        assert_eq!(mode(&data), 0o700);
        set(&data, 0o755);
        let files: Vec<PathBuf> = files(&data).collect();
        for file in &files {
            fs::write(file, "x").expect("writes");
            set(file, 0o644);
        }
        own(&data).expect("taken");
        assert_eq!(mode(&data), 0o700);
        assert!(files.iter().all(|file| mode(file) == 0o600));
        set(&data, 0o555);
        own(&data).expect("taken");
        assert_eq!(mode(&data), 0o500, "nobody gets a right");
    }

    #[test]
    fn what_others_may_write_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("it's data");
        own(&data).expect("made");
        for bits in [0o720, 0o702, 0o777] {
            set(&data, bits);
            let refused = own(&data).expect_err("others may write it");
            assert_eq!(refused.category, Category::InvalidArgument);
            assert_eq!(trust(&data), Err(refused.clone()));
            let told = refused.next.split('`').nth(1).expect("a command").to_owned();
            let ran = decisiongraph_store::launch::program("sh").args(["-c", &told]).status().expect("a shell");
            assert!(ran.success() && own(&data).is_ok(), "{told}");
        }
        let file = data.join(EMBEDDED_FILE);
        fs::write(&file, "x").expect("writes");
        set(&file, 0o620);
        assert!(own(&data).expect_err("others may write it").message.contains(EMBEDDED_FILE));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        let facts = fs::metadata("/proc/self").expect("Linux");
        if facts.uid() != 0 {
            assert!(trust(Path::new("/")).expect_err("root's").message.contains("belongs to user 0"));
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        own(&data).expect("made");
        std::os::unix::fs::chown(&data, Some(65_534), None).expect("given away");
        let refused = trust(&data).expect_err("another's");
        assert!(
            refused.message.contains("belongs to user 65534") && refused.next.contains("chown -R 0 "),
            "{refused:?}"
        );
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (data, victim) = (dir.path().join("data"), dir.path().join("victim"));
        own(&data).expect("made");
        fs::write(&victim, "precious").expect("writes");
        for file in files(&data) {
            symlink(&victim, &file).expect("plants");
            assert!(own(&data).expect_err("a link").next.contains("rm "));
            fs::remove_file(&file).expect("removes");
        }
        symlink(&victim, data.join("node.json.new")).expect("plants");
        write(&data.join(IDENTITY_NAME), b"fresh").expect("writes");
        assert_eq!(fs::read_to_string(&victim).expect("reads"), "precious");
        assert_eq!(fs::read_to_string(data.join(IDENTITY_NAME)).expect("reads"), "fresh");
        assert_eq!(mode(&data.join(IDENTITY_NAME)), 0o600);
    }
}
