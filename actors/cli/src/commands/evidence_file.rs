//! Evidence as a file or on stdout: signed notes, proofs, events, packs.
//!
//! *Guarantees.* A file has all of the evidence or is not there, and no file is overwritten. Stdout gets the bytes of
//! the evidence and nothing else.

use crate::output::{Output, written};
use crate::page::Page;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_protocol::foreign_text::shell_word;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that is being written. Without [`Evidence::keep`] nothing of it stays.
pub struct Evidence {
    to: BufWriter<NamedTempFile>,
    folder: PathBuf,
    path: PathBuf,
}

impl Evidence {
    /// Begins a file. `invalid_argument` when there is one of this name.
    pub fn begin(path: &Path) -> Result<Evidence, AdminError> {
        if path.symlink_metadata().is_ok() {
            return Err(there(path));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let fresh = tempfile::Builder::new().prefix(".decisiongraph-evidence-").tempfile_in(&folder);
        let fresh = fresh.map_err(|error| unwritten(path, &error))?;
        Ok(Evidence { to: BufWriter::with_capacity(BUFFER_BYTES, fresh), folder, path: path.to_owned() })
    }

    /// Writes text.
    pub fn write(&mut self, text: &str) -> Result<(), AdminError> {
        self.to.write_all(text.as_bytes()).map_err(|error| unwritten(&self.path, &error))
    }

    /// Gives the file its name, durably.
    pub fn keep(self) -> Result<(), AdminError> {
        let Evidence { to, folder, path } = self;
        let failed = |error: io::Error| unwritten(&path, &error);
        let fresh = to.into_inner().map_err(|error| failed(error.into_error()))?;
        fresh.as_file().sync_all().map_err(failed)?;
        match fresh.persist_noclobber(&path) {
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Err(there(&path)),
            kept => kept.map_err(|error| failed(error.error))?,
        };
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// Writes a whole text to a new file and says so, or to stdout when no file is named.
pub fn put(output: Output, file: Option<&Path>, text: &str, what: &str) -> Result<(), AdminError> {
    let Some(path) = file else {
        let mut out = io::stdout().lock();
        return written(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    };
    let mut evidence = Evidence::begin(path)?;
    evidence.write(text)?;
    evidence.keep()?;
    let file = path.display().to_string();
    match output.json {
        true => output.json(&json!({ "file": file, "holds": what })),
        false => output.page(&Page::of(format_args!("{file} holds {what}"))),
    }
}

fn there(path: &Path) -> AdminError {
    let name = shell_word(&path.to_string_lossy()).into_owned();
    let what = format!("{} already exists and is not overwritten", path.display());
    AdminError::new(Category::InvalidArgument, what)
        .next(format!("name another file, or move it away: `mv {name} {name}.old`"))
}

fn unwritten(path: &Path, error: &io::Error) -> AdminError {
    AdminError::new(Category::Storage, format!("cannot write {}: {error}", path.display()))
        .next("check that its folder exists, is writable, and has space")
}
