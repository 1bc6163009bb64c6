//! Sealing of a process, from its configuration: the key, the journal, the places.
//!
//! *Guarantees.* Without a configured key nothing is sealed. The embedded default is the exception: its key is made on
//! first use, in the data directory, and said once.

use crate::https_place::HttpsPlace;
use crate::output::Output;
use crate::page::Page;
use decisiongraph_cli::config::seal::{NamedPlace, SEAL_DIR, SEAL_KEY, SealConfig};
use decisiongraph_engine::seal::Sealing;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_seal::key::{KeyError, SigningKey};
use decisiongraph_seal::{Folder, Memory, Objects, Place, SigningKeys};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Key of a database for which none is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKey {
    /// There is none: the database was named.
    None,
    /// The one in the data directory, if it is there already.
    Found,
    /// The one in the data directory, which is made when it is missing.
    Made,
}

/// Makes the sealing of a process. None where nothing is sealed. With `json`, a new key is not announced: standard
/// error then has errors alone.
pub fn sealing(
    config: &SealConfig,
    data_dir: impl Fn() -> Result<PathBuf, AdminError>,
    own: OwnKey,
    json: bool,
) -> Result<Option<Arc<Sealing>>, AdminError> {
    let key = match &config.key_file {
        Some(path) => path.clone(),
        None if own == OwnKey::None => return Ok(None),
        None => {
            let path = data_dir()?.join(SEAL_KEY);
            if !path.exists() {
                if own != OwnKey::Made {
                    return Ok(None);
                }
                make(&config.name, &path, json)?;
            }
            path
        }
    };
    let directory = directory(config, data_dir)?;
    let keys = SigningKeys::read(&key, &directory).map_err(refused)?;
    let memory = Memory { journal: Folder::journal(&directory), places: places(config, &directory)? };
    Ok(Some(Arc::new(Sealing::new(config.name.clone(), keys, memory, config.settings()))))
}

/// Returns the directory of the journal.
pub fn directory(
    config: &SealConfig,
    data_dir: impl Fn() -> Result<PathBuf, AdminError>,
) -> Result<PathBuf, AdminError> {
    match config.dir.as_os_str().is_empty() {
        true => Ok(data_dir()?.join(SEAL_DIR)),
        false => Ok(config.dir.clone()),
    }
}

/// Makes the key of the embedded default, and says where it is.
fn make(name: &str, path: &Path, json: bool) -> Result<(), AdminError> {
    match SigningKey::create(name, path) {
        Ok(_) => {}
        // Another process made it meanwhile.
        Err(KeyError::File(_, error)) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(refused(error)),
    }
    if !json {
        Output::new(false).notice(&Page::of(format_args!(
            "the log is sealed from now on, with a new key: {}; the checkpoints are beside it: keep a copy of them elsewhere (seal_places)",
            path.display()
        )));
    }
    Ok(())
}

/// Makes the places. `directory` is that of the journal.
pub fn places(config: &SealConfig, directory: &Path) -> Result<Vec<Arc<dyn Place>>, AdminError> {
    config.places().map(|name| place(name, directory)).collect()
}

/// Makes the place of this name.
pub fn place(name: &str, directory: &Path) -> Result<Arc<dyn Place>, AdminError> {
    let place: Arc<dyn Place> = match NamedPlace::parse(name) {
        Some(NamedPlace::Folder(path)) => Arc::new(Folder::new(Path::new(path))),
        Some(NamedPlace::Objects(path)) => Arc::new(Objects::new(Path::new(path))),
        Some(NamedPlace::Https(url)) => Arc::new(HttpsPlace::new(url, directory)?),
        None => {
            let message = format!("seal_places: `{name}` is not a place");
            return Err(AdminError::new(Category::InvalidArgument, message)
                .next("name dir:PATH, objects:PATH or https://HOST/PATH"));
        }
    };
    Ok(place)
}

/// Refuses a key file.
pub fn refused(error: KeyError) -> AdminError {
    let next = match &error {
        KeyError::Open(path) => {
            format!("remove the permissions of others: `chmod 600 {}`", shell_word(&path.to_string_lossy()))
        }
        KeyError::File(..) => "check the path and its permissions".to_owned(),
        _ => "name a file that `decisiongraph seal key new` made".to_owned(),
    };
    AdminError::new(Category::InvalidArgument, error.to_string()).next(next)
}
