//! Output of answers: a [`Page`] for people, JSON objects for programs, errors on stderr.
//!
//! *Guarantees.* A closed pipe ends the program quietly. Stored text cannot steer the terminal: people get pages, and
//! JSON has hidden characters as escapes.

use crate::address;
use crate::page::Page;
use decisiongraph_projections::Category;
pub use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::foreign_text::in_json;
use decisiongraph_protocol::{AdminError, Reply, addressed};
use serde::Serialize;
use std::io::{self, Write};

/// Moves to the upper left corner and clears the terminal.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Destination and form of answers.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON instead of text for people.
    pub json: bool,
    /// Address flags of the caller: every command that is shown ends with them ([`crate::address`]).
    pub flags: &'static str,
}

impl Output {
    /// Creates an output of this kind.
    pub fn new(json: bool) -> Output {
        Output { json, flags: "" }
    }

    /// Returns the same output for a caller that used these flags to get here.
    pub fn reached_by(self, flags: &'static str) -> Output {
        Output { flags, ..self }
    }

    /// Prints the reply: as JSON, or as the page that `text` makes of it.
    pub fn reply<A: Reply>(self, reply: &A, text: impl FnOnce() -> Page) -> Result<(), AdminError> {
        if !self.json {
            return self.page(&text());
        }
        match address::reply(reply, self.flags).to_json() {
            Ok(json) => print(&[&in_json(&json), "\n"]),
            Err(error) => Err(AdminError::new(Category::Internal, format!("cannot write the reply: {error}"))),
        }
    }

    /// Prints a page.
    pub fn page(self, page: &Page) -> Result<(), AdminError> {
        print(&[&addressed(&page.to_string(), self.flags), "\n"])
    }

    /// Prints one JSON object.
    pub fn json(self, object: &impl Serialize) -> Result<(), AdminError> {
        self.json_lines(std::slice::from_ref(object))
    }

    /// Prints JSON objects, each on its line.
    pub fn json_lines(self, objects: &[impl Serialize]) -> Result<(), AdminError> {
        let mut lines = String::new();
        for object in objects {
            lines.push_str(&in_json(&serde_json::to_string(object).unwrap_or_default()));
            lines.push('\n');
        }
        print(&[&lines])
    }

    /// Clears the terminal.
    pub fn clear(self) -> Result<(), AdminError> {
        print(&[CLEAR])
    }

    /// Prints a line that may be lost: the reader of the line before may be gone.
    pub fn aside(self, line: &str) {
        let _ = writeln!(io::stdout(), "{line}");
    }

    /// Prints an error on stderr.
    pub fn error(self, error: &AdminError) {
        if self.json {
            #[derive(Serialize)]
            struct Wrapped<'a> {
                error: &'a AdminError,
            }
            let error = &address::error(error, self.flags);
            if let Ok(json) = serde_json::to_string(&Wrapped { error }) {
                let _ = writeln!(io::stderr(), "{}", in_json(&json));
            }
        } else {
            let mut page = Page::of(format_args!("error: {}", error.message));
            page.line(format_args!("  category: {}", error.category));
            page.line(format_args!("  next: {}", error.next));
            self.notice(&page);
        }
    }

    /// Prints a page on stderr.
    pub fn notice(self, page: &Page) {
        let _ = writeln!(io::stderr(), "{}", addressed(&page.to_string(), self.flags));
    }
}

fn print(parts: &[&str]) -> Result<(), AdminError> {
    let mut out = io::stdout().lock();
    written(parts.iter().try_for_each(|part| out.write_all(part.as_bytes())).and_then(|()| out.flush()))
}

/// Checks the result of a write. A closed pipe is the reader's choice, and the program ends with 0. Any other failure
/// is an error.
pub fn written(result: io::Result<()>) -> Result<(), AdminError> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(AdminError::new(Category::Storage, format!("cannot write the output: {error}"))
            .next("check the space and permissions of the file or device behind stdout")),
    }
}

/// Shortens a digest to fit a table.
pub fn digest_short(digest: &str) -> String {
    match digest.split_once(':') {
        Some((kind, hex)) if hex.len() > 12 => format!("{kind}:{}…", hex.get(..12).unwrap_or(hex)),
        _ => digest.to_owned(),
    }
}

/// Formats seconds for people.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// Formats bytes for people.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 1000.0 {
            return format!("{value:.0} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// Returns the text, or `-` when it is missing or empty.
pub fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}
