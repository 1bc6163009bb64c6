//! What is printed and how: tables for people, one JSON object for programs, errors on stderr.
//!
//! *Guarantees.* A closed pipe ends the program quietly. Stored text cannot steer the terminal: control characters are shown, not
//! sent.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent, presets};
use decisiongraph_actors::admin::{AdminError, AdminReply};
use decisiongraph_projections::Category;
use serde::Serialize;
use std::io::{self, Write};

/// Longest text in a table cell, in characters.
const CELL_CHARS_MAX: usize = 60;

/// Where answers go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// One JSON object instead of text for people.
    pub json: bool,
}

impl Output {
    /// An output of this kind.
    pub fn new(json: bool) -> Output {
        Output { json }
    }

    /// Prints the reply: as JSON, or as what `text` makes of it.
    pub fn reply(self, reply: &AdminReply, text: impl FnOnce() -> String) -> Result<(), AdminError> {
        if !self.json {
            return self.text(&text());
        }
        match reply.to_json() {
            Ok(json) => self.text(&json),
            Err(error) => Err(AdminError::new(Category::Internal, format!("cannot write the reply: {error}"))),
        }
    }

    /// Prints text and a line feed.
    pub fn text(self, text: &str) -> Result<(), AdminError> {
        let mut out = io::stdout().lock();
        written(out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()))
    }

    /// Prints an error on stderr.
    pub fn error(self, error: &AdminError) {
        let mut err = io::stderr().lock();
        if self.json {
            #[derive(Serialize)]
            struct Wrapped<'a> {
                error: &'a AdminError,
            }
            if let Ok(json) = serde_json::to_string(&Wrapped { error }) {
                let _ = writeln!(err, "{json}");
            }
        } else {
            let _ = writeln!(
                err,
                "error: {}\n  category: {}\n  next: {}",
                shown(&error.message),
                error.category,
                error.next
            );
        }
    }
}

/// A closed pipe is the reader's choice and no error; anything else is.
pub fn written(result: io::Result<()>) -> Result<(), AdminError> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(AdminError::new(Category::Storage, format!("cannot write the output: {error}"))
            .next("check the space and permissions of the file or device behind stdout")),
    }
}

/// A table with these headings. A heading that starts with `#` is for numbers: without the sign, to the right.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "(none)".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_style(TableComponent::HeaderLines, '─').set_style(TableComponent::MiddleHeaderIntersections, '─');
    table.set_header(headings.iter().map(|heading| heading.trim_start_matches('#')));
    for row in rows {
        table.add_row(headings.iter().zip(row).map(|(heading, text)| {
            let cell = Cell::new(short(&text));
            if heading.starts_with('#') { cell.set_alignment(CellAlignment::Right) } else { cell }
        }));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Text that fits a cell.
fn short(text: &str) -> String {
    let text = shown(text);
    if text.chars().count() <= CELL_CHARS_MAX {
        return text;
    }
    let mut cut: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

/// Text without anything that a terminal would obey.
pub fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let hidden = c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let escaped: Box<dyn Iterator<Item = char>> =
                if hidden && c != '\n' { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) };
            escaped
        })
        .collect()
}

/// [`shown`] on one line.
pub fn line(text: &str) -> String {
    shown(text).replace('\n', " ")
}

/// A digest that fits a table.
pub fn digest_short(digest: &str) -> String {
    match digest.split_once(':') {
        Some((kind, hex)) if hex.len() > 12 => format!("{kind}:{}…", &hex[..12]),
        _ => digest.to_owned(),
    }
}

/// 1234567 as 1,234,567.
pub fn number(n: impl Into<i128>) -> String {
    let n: i128 = n.into();
    let digits = n.unsigned_abs().to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if n < 0 { format!("-{out}") } else { out }
}

/// Seconds for people.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// Bytes for people.
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

/// `-` for nothing.
pub fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_hostile_text_are_shown() {
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(-999), "-999");
        assert_eq!(number(0), "0");
        assert_eq!(shown("a\u{1b}[2Jb\u{202e}"), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(short(&"x".repeat(100)).chars().count(), CELL_CHARS_MAX);
    }
}
