//! Lines of a file, of stdin or of another program's log, read by a thread of its own. Reading overlaps with storing,
//! and a stalled pipe never holds up the end of the program. At most two chunks wait.

use super::Context;
use crate::interrupt::Asked;
use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser, ValueParser};
use decisiongraph_projections::Category;
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::event::EVENT_BYTES_MAX;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::lines::foreign::Foreign;
use decisiongraph_protocol::lines::{CHUNK_BYTES_MAX, CHUNK_LINES_MAX, LineReader};
use decisiongraph_protocol::{AdminError, Command, LineFault, OfferedLine};
use decisiongraph_store::{ForeignLine, ForeignLog};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Chunks that wait between the reader and the store.
const CHUNKS_WAITING: usize = 2;
const BUFFER_BYTES: usize = 256 * 1024;

/// Source of lines.
#[derive(Debug, Clone)]
pub enum Input {
    /// Standard input: `-`.
    Stdin,
    /// A path.
    File(PathBuf),
}

impl Input {
    /// Returns the parser of `FILE|-`.
    pub fn parser() -> ValueParser {
        ValueParser::new(PathBufValueParser::new().map(|path| match path.to_str() {
            Some("-") => Input::Stdin,
            _ => Input::File(path),
        }))
    }
}

/// Returns the parser of the rule of `--credential-guard`.
pub fn credential_guard() -> ValueParser {
    let words = PossibleValuesParser::new(CredentialGuard::WORDS);
    ValueParser::new(words.map(|word| CredentialGuard::parse(&word).unwrap_or_default()))
}

/// Returns the command of this name as it was given, without its input.
pub fn command(name: &str, context: &Context, guard: Option<CredentialGuard>) -> Command {
    let command = match &context.globals.tenant {
        Some(tenant) => Command::of(name, tenant),
        None => Command::about_all(name),
    };
    match guard {
        Some(guard) => command.with("--credential-guard", guard.word()),
        None => command,
    }
}

/// Next result of a [`LineSource`].
pub enum Next {
    /// Lines, at least one.
    Lines(Vec<OfferedLine>),
    /// The input is at its end.
    End,
    /// The first signal has come, such as Ctrl-C.
    Interrupted,
}

/// A running reader.
pub struct LineSource {
    /// Chunks in order; the last one is followed by the end of the channel.
    chunks: mpsc::Receiver<Result<Vec<OfferedLine>, AdminError>>,
    /// Bytes read so far.
    pub bytes: Arc<AtomicU64>,
    /// Size of the file, if it is one.
    pub size: Option<u64>,
    /// Meaning of a line's number: `line` of a file, `log_seq` of another program's log.
    pub unit: &'static str,
}

impl LineSource {
    /// Opens the input and starts to read, for this command. With `prompt`, a complete line never waits for a line that
    /// has not arrived.
    pub fn start(command: Command, input: &Input, prompt: bool) -> Result<LineSource, AdminError> {
        let (source, size): (Box<dyn Read + Send>, _) = match input {
            Input::Stdin => (Box::new(io::stdin()), None),
            Input::File(path) => {
                let file = File::open(path).map_err(|error| cannot_read(input, &error))?;
                let facts = file.metadata().map_err(|error| cannot_read(input, &error))?;
                if facts.is_dir() {
                    return Err(AdminError::new(
                        Category::InvalidArgument,
                        format!("{} is a directory", path.display()),
                    )
                    .next("name a file of JSON lines, or - for stdin"));
                }
                (Box::new(file), facts.is_file().then_some(facts.len()))
            }
        };
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { source, bytes: Arc::clone(&bytes) };
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
        let input = input.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::with_capacity(BUFFER_BYTES, counted);
            // A failure to read shows again at the first line.
            if let Some(foreign) = Foreign::of(source.fill_buf().unwrap_or_default()) {
                // The receiver is gone when the command was interrupted.
                let _ = sender.blocking_send(Err(refuse(foreign, command, &input)));
                return;
            }
            let mut lines = LineReader::new(source);
            loop {
                let chunk = lines.next_chunk(|input| prompt && !input.buffer().contains(&b'\n'));
                let chunk = chunk.map_err(|error| cannot_read(&input, &error));
                if chunk.as_ref().is_ok_and(Vec::is_empty) {
                    return;
                }
                let failed = chunk.is_err();
                if sender.blocking_send(chunk).is_err() || failed {
                    return;
                }
            }
        });
        Ok(LineSource { chunks, bytes, size, unit: "line" })
    }

    /// Starts to read the log of another program. The number of a line is the event's position there.
    pub fn of_log(log: ForeignLog) -> LineSource {
        let bytes = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&bytes);
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
        let runtime = tokio::runtime::Handle::current();
        // A file is read without the runtime: on a thread of its own.
        std::thread::spawn(move || {
            runtime.block_on(async {
                let (mut chunk, mut chunk_bytes) = (Vec::new(), 0);
                let whole = log.read(async |ForeignLine { log_seq, text }| {
                    read.fetch_add(text.len() as u64, Ordering::Relaxed);
                    chunk_bytes += text.len();
                    let number = log_seq.0.unsigned_abs();
                    let text = if text.len() > EVENT_BYTES_MAX { Err(LineFault::TooLong) } else { Ok(text) };
                    chunk.push(OfferedLine { number, text });
                    if chunk.len() < CHUNK_LINES_MAX && chunk_bytes < CHUNK_BYTES_MAX {
                        return true;
                    }
                    chunk_bytes = 0;
                    sender.send(Ok(std::mem::take(&mut chunk))).await.is_ok()
                });
                let whole = whole.await;
                let rest = whole.map(|()| chunk).map_err(AdminError::from);
                // The receiver is gone when the command was interrupted.
                let _ = sender.send(rest).await;
            });
        });
        LineSource { chunks, bytes, size: None, unit: "log_seq" }
    }

    /// Waits for the next lines. An interrupt comes before lines that wait, and does not wait for lines.
    pub async fn next(&mut self, asked: &mut Asked) -> Result<Next, AdminError> {
        tokio::select! {
            biased;
            () = asked.wait() => Ok(Next::Interrupted),
            chunk = self.chunks.recv() => match chunk {
                Some(Ok(lines)) => Ok(Next::Lines(lines)),
                Some(Err(error)) => Err(error),
                None => Ok(Next::End),
            },
        }
    }
}

/// Refuses an input of another form, and names the whole command that reads it.
fn refuse(Foreign { what, program }: Foreign, command: Command, input: &Input) -> AdminError {
    let (name, next) = match input {
        Input::Stdin => ("stdin".to_owned(), format!("put `{program} |` before {}", command.word("-"))),
        Input::File(path) => {
            let path = path.display().to_string();
            // A path that begins with a dash must not be read as an option.
            let word = if path.starts_with('-') { format!("./{path}") } else { path.clone() };
            let word = shell_word(&word).into_owned();
            (path, format!("run {}", command.word("-").fed_by(&format!("{program} {word}"))))
        }
    };
    AdminError::new(Category::InvalidArgument, format!("one JSON object per line is needed; {name} {what}")).next(next)
}

/// Returns the error for a failing input, as opposed to wrong data.
fn cannot_read(input: &Input, error: &io::Error) -> AdminError {
    let name = match input {
        Input::Stdin => "stdin".to_owned(),
        Input::File(path) => path.display().to_string(),
    };
    let category = match error.kind() {
        io::ErrorKind::NotFound => Category::NotFound,
        io::ErrorKind::PermissionDenied => Category::Unauthorized,
        _ => Category::Storage,
    };
    AdminError::new(category, format!("cannot read {name}: {error}")).next("check the path and its permissions")
}

struct Counted<R> {
    source: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
