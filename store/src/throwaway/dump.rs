//! Dumps of a throw-away database, and databases restored from one: by `pg_dump` and `pg_restore`, as operators do it.

use super::{Database, PROGRAMS_VARIABLE, Server, failure, find_binaries};
use crate::{Result, StoreError, launch};
use decisiongraph_projections::Category;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

impl Server {
    /// Writes a dump of a database into a file.
    pub fn dump(&self, database: &Database, file: &Path) -> Result<()> {
        let target = format!("--dbname={}", database.url());
        client("pg_dump", [OsStr::new("--format=custom"), OsStr::new("--file"), file.as_os_str(), target.as_ref()])
    }

    /// Creates a database, and restores a dump into it.
    pub async fn restore(&self, file: &Path) -> Result<Database> {
        let database = self.empty_database().await?;
        let target = format!("--dbname={}", database.url());
        client("pg_restore", [OsStr::new("--exit-on-error"), target.as_ref(), file.as_os_str()])?;
        Ok(database)
    }
}

/// Runs a client program of the server's own folder, or of the PATH where no server is installed.
fn client<const N: usize>(program: &str, arguments: [&OsStr; N]) -> Result<()> {
    let server =
        find_binaries(std::env::var_os(PROGRAMS_VARIABLE).map(PathBuf::from)).map(|folder| folder.join("pg_ctl"));
    // A folder of links may have links to the server's programs alone.
    let own = server.ok().and_then(|server| Some(server.canonicalize().ok()?.with_file_name(program)));
    let path = own.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(program));
    let output = launch::program(path).args(arguments).output();
    let output = output.map_err(|error| failure(&format!("run {program}"), error))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(StoreError::new(
                Category::Unavailable,
                format!("{program} ended with {}: {}", output.status, said.trim()),
            ))
        }
    }
}
