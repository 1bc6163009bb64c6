//! The Unix socket of a data directory.
//!
//! *Guarantees.* One node per data directory. It holds the lock file as long as it lives, and the kernel frees the lock
//! when it dies. So the remains of a dead node are recognised without asking it. The socket is never reachable for
//! others, not even while it is made. It is bound in a directory of mode 0700, gets mode 0600, and is then moved to its
//! place.

use crate::data_dir::{self, LOCK_NAME, NEST_NAME};
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use rustix::fs::OFlags;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "admin.sock";
/// Longest path that a Unix socket may have, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The socket, and the right to have it.
#[derive(Debug)]
pub struct OwnSocket {
    /// Listener that accepts connections.
    pub listener: UnixListener,
    path: PathBuf,
    /// Lock that is held until the process ends.
    _lock: File,
}

impl OwnSocket {
    /// Takes the directory, as [`data_dir::own`] does, and listens in it. `conflict` when another node lives there.
    pub fn bind(directory: &Path) -> Result<OwnSocket, AdminError> {
        data_dir::own(directory)?;
        let lock = lock(directory)?;
        let (listener, path) = private_listener(directory, SOCKET_NAME)?;
        Ok(OwnSocket { listener, path, _lock: lock })
    }

    /// Removes the socket: no client finds it any more. The directory stays this node's until the process ends.
    pub fn close(&self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        self.close();
    }
}

/// Listens on a socket of this name that only this user reaches. The directory is this user's own ([`data_dir::own`]).
pub fn private_listener(directory: &Path, name: &str) -> Result<(UnixListener, PathBuf), AdminError> {
    let failed = |what: &str, error: io::Error| {
        AdminError::new(Category::Storage, format!("cannot {what} in {}: {error}", directory.display()))
            .next("name a directory that this user may write with --data-dir")
    };
    let path = directory.join(name);
    // The name during the making is as long as the final one.
    let nest = directory.join(NEST_NAME);
    let made = nest.join("s");
    let longest = path.as_os_str().len().max(made.as_os_str().len());
    if longest > SOCKET_PATH_BYTES_MAX {
        return Err(AdminError::new(
            Category::InvalidArgument,
            format!(
                "the path of the socket, {}, has {longest} bytes; the limit is {SOCKET_PATH_BYTES_MAX}",
                path.display()
            ),
        )
        .next("name a data directory with a shorter path"));
    }
    let remove = |path: &Path| match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let listener = (|| {
        remove(&made)?;
        match fs::remove_dir(&nest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&nest)?;
        let listener = UnixListener::bind(&made)?;
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        fs::rename(&made, &path)?;
        fs::remove_dir(&nest)?;
        Ok(listener)
    })()
    .map_err(|error| failed("create the socket", error))?;
    Ok((listener, path))
}

fn lock(directory: &Path) -> Result<File, AdminError> {
    let path = directory.join(LOCK_NAME);
    let cannot = |error: io::Error| {
        AdminError::new(Category::Storage, format!("cannot lock {}: {error}", path.display()))
            .next("check that this user may write the data directory")
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(&path)
        .map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => String::new(),
                pid => format!(" (pid {pid})"),
            };
            return Err(AdminError::new(
                Category::Conflict,
                format!("a node{holder} already runs in {}", directory.display()),
            )
            .next("stop it, or name another directory with --data-dir"));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
    }
    let write_pid = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write_pid(&mut file).map_err(cannot)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_node_a_directory_and_nobody_else_in_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        let socket = OwnSocket::bind(&data).expect("binds");
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!((mode(socket.path()), mode(&data)), (0o600, 0o700));
        assert_eq!(OwnSocket::bind(&data).expect_err("a second one").category, Category::Conflict);
        let path = socket.path().to_owned();
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_node_left_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(UnixListener::bind(dir.path().join(SOCKET_NAME)).expect("binds"));
        fs::create_dir(dir.path().join(".sock")).expect("makes");
        drop(UnixListener::bind(dir.path().join(".sock/s")).expect("binds"));
        assert!(dir.path().join(SOCKET_NAME).exists());
        let socket = OwnSocket::bind(dir.path()).expect("binds");
        assert!(tokio::net::UnixStream::connect(socket.path()).await.is_ok());
    }
}
