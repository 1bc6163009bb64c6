//! A place of signed notes behind HTTPS, such as a bucket with object lock.
//!
//! ```text
//! PUT /TAG/98.checkpoint            if-none-match: *
//! 412 Precondition Failed           GET, and compare
//! ```
//!
//! *Guarantees.* Nothing there is overwritten. A checkpoint that is there with another root is refused. A request ends
//! within its deadline.
//!
//! A plain bucket cannot say which checkpoint is its newest. [`Place::newest`] tells what this node has put there, from
//! a note in the directory of the journal. So it is no memory that answers: what is there is for auditors.

use crate::web_client::{Web, segment};
use bytes::Bytes;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_seal::place::{is_there, object_name, tag};
use decisiongraph_seal::{Place, PlaceError, Remembered};
use hyper::{Method, StatusCode};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Handle;

/// Longest time for one request.
const DEADLINE: Duration = Duration::from_secs(10);
/// Directory, in that of the journal, of the notes about what was put.
const PUT: &str = "put";

/// A service that keeps objects.
pub struct HttpsPlace {
    /// The address, without the name of a local file.
    name: String,
    web: Web,
    /// The runtime that does the I/O: a place is called from threads without one.
    runtime: Handle,
    /// Directory with the newest checkpoint that was put, one file per log.
    put: PathBuf,
}

impl HttpsPlace {
    /// Names a service. Call it within a tokio runtime. `directory` is that of the journal.
    pub fn new(address: &str, directory: &Path) -> Result<HttpsPlace, AdminError> {
        let refuse = |message: String| {
            AdminError::new(Category::InvalidArgument, format!("seal_places: {message}"))
                .next("name it like https://HOST/BUCKET, or https://HOST/BUCKET#ca=FILE with an authority of your own")
        };
        let web = Web::new(address).map_err(refuse)?;
        let runtime = Handle::try_current().map_err(|error| refuse(error.to_string()))?;
        let name = address.split('#').next().unwrap_or(address).to_owned();
        let folder = blake3::hash(name.as_bytes()).to_hex();
        let put = directory.join(PUT).join(folder.get(..16).unwrap_or(&folder));
        Ok(HttpsPlace { name, web, runtime, put })
    }

    fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), PlaceError> {
        let mut headers = Vec::new();
        if method == Method::PUT {
            headers.push(("if-none-match", "*".to_owned()));
            headers.push(("content-type", "text/plain; charset=utf-8".to_owned()));
        }
        let asked = self.web.ask(method, path, &headers, body, DEADLINE);
        match self.runtime.block_on(asked) {
            Ok(answer) => Ok((answer.status, answer.body)),
            Err(error) => Err(PlaceError::Away(error)),
        }
    }

    fn answers(&self, status: StatusCode, what: &str) -> PlaceError {
        PlaceError::Away(format!("{} answers {status} to {what}", self.name))
    }

    /// Notes that a checkpoint was put.
    fn note_put(&self, note: &Remembered) -> Result<(), PlaceError> {
        if !note.is_checkpoint() || self.newest(&note.origin)?.is_some_and(|newest| newest.size >= note.size) {
            return Ok(());
        }
        let path = self.put.join(tag(&note.origin)?);
        let write = || {
            fs::create_dir_all(&self.put)?;
            decisiongraph_rpc::data_dir::write(&path, note.line().as_bytes())
        };
        write().map_err(|error: std::io::Error| PlaceError::Away(format!("cannot write {}: {error}", path.display())))
    }
}

impl Place for HttpsPlace {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn put(&self, note: &Remembered) -> Result<(), PlaceError> {
        let path = format!("/{}/{}", segment(&tag(&note.origin)?), segment(&object_name(note, 0)));
        let (status, _) = self.ask(Method::PUT, &path, Bytes::from(note.note.clone()))?;
        match status {
            _ if status.is_success() => {}
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => {
                let (status, body) = self.ask(Method::GET, &path, Bytes::new())?;
                if status != StatusCode::OK {
                    return Err(self.answers(status, "GET"));
                }
                let there = std::str::from_utf8(&body).ok().and_then(|text| Remembered::of(text, &note.at).ok());
                if !is_there(&self.name, &there.unwrap_or_default(), note)? {
                    return Err(PlaceError::Damaged(format!("{} has something else at {path}", self.name)));
                }
            }
            _ => return Err(self.answers(status, "PUT")),
        }
        self.note_put(note)
    }

    fn newest(&self, origin: &str) -> Result<Option<Remembered>, PlaceError> {
        let path = self.put.join(tag(origin)?);
        match fs::read(&path) {
            Ok(line) => Ok(Remembered::parse(line.trim_ascii_end()).filter(|note| note.origin == origin)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PlaceError::Away(format!("cannot read {}: {error}", path.display()))),
        }
    }

    fn each(&self, origin: &str, take: &mut dyn FnMut(Remembered)) -> Result<(), PlaceError> {
        self.newest(origin)?.into_iter().for_each(take);
        Ok(())
    }

    fn remembers(&self) -> bool {
        false
    }
}
