//! Private files: a secret, a private key.
//!
//! *Guarantees.* A file that others may read or write, or that its group may write, is refused. Its content never
//! reaches an error.

use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_protocol::foreign_text::shell_word;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Permission bits that refuse a file: others have no access to it, and only its owner may write it.
const FORBIDDEN_MODE: u32 = 0o027;

/// Reads the text of this file; `what` names it in errors. `invalid_argument` when it cannot be read, is too long, or
/// is not private.
pub fn read(path: &Path, what: &str, bytes_max: u64) -> Result<String, AdminError> {
    let refuse = |message: String, next: &str| AdminError::new(Category::InvalidArgument, message).next(next);
    let check = format!("check the path of the {what} file and its permissions");
    let unreadable =
        |error: std::io::Error| refuse(format!("cannot read the {what} file {}: {error}", path.display()), &check);
    let facts = std::fs::metadata(path).map_err(unreadable)?;
    if !facts.is_file() || facts.len() > bytes_max {
        return Err(refuse(format!("{} is not a {what} file", path.display()), &check));
    }
    forbid(FORBIDDEN_MODE, path, &facts, &format!("read or write the {what} file"), "600")?;
    std::fs::read_to_string(path).map_err(unreadable)
}

/// Returns `invalid_argument` when the mode has any of the `forbidden` bits: others may do `what` with the file. `mode`
/// removes these bits.
pub fn forbid(forbidden: u32, path: &Path, facts: &Metadata, what: &str, mode: &str) -> Result<(), AdminError> {
    if facts.permissions().mode() & forbidden == 0 {
        return Ok(());
    }
    let message = format!("other users may {what} {}", path.display());
    let next = format!("remove their permissions: `chmod {mode} {}`", shell_word(&path.to_string_lossy()));
    Err(AdminError::new(Category::InvalidArgument, message).next(next))
}
