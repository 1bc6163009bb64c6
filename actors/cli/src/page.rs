//! Text for people, line by line.
//!
//! *Guarantees.* Nothing raw gets through: every line and every cell of a table is escaped here ([`shown`]), from any
//! source. Stored text can neither steer the terminal nor make a line of its own. Only text of this program
//! ([`Page::ours`]) may have several lines.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent, presets};
use decisiongraph_protocol::foreign_text::shown;
use std::borrow::Cow;
use std::fmt::{self, Display};

/// Longest text in a table cell, in characters.
const CELL_CHARS_MAX: usize = 60;

/// Lines that are safe to print.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    lines: Vec<String>,
}

impl Page {
    /// Creates a page of one line.
    pub fn of(line: impl Display) -> Page {
        let mut page = Page::default();
        page.line(line);
        page
    }

    /// Adds one line, with any content.
    pub fn line(&mut self, line: impl Display) {
        self.lines.push(shown(&line.to_string()).into_owned());
    }

    /// Adds lines of this program's own text.
    pub fn ours(&mut self, text: &'static str) {
        text.split('\n').for_each(|line| self.line(line));
    }

    /// Adds the lines of another page.
    pub fn page(&mut self, other: Page) {
        self.lines.extend(other.lines);
    }

    /// Adds a table with these headings. A heading with a leading `#` is for numbers: it is shown without the sign, and
    /// its column is aligned right.
    pub fn table(&mut self, headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return self.line("(none)");
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
        table.lines().for_each(|line| self.line(line.trim_end()));
    }

    /// Returns the same lines, further to the right.
    pub fn indented(&self) -> Page {
        let mut page = Page::default();
        self.lines.iter().for_each(|line| page.line(format_args!("    {line}")));
        page
    }
}

impl Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

/// Cuts text to fit a cell. A space at its beginning is escaped, so that the text begins where the cell does.
fn short(text: &str) -> String {
    let text = match text.strip_prefix(' ') {
        Some(rest) => Cow::Owned(format!("\\u{{20}}{}", shown(rest))),
        None => shown(text),
    };
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.into_owned();
    }
    let mut cut: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_makes_no_line_and_steers_nothing_wherever_it_is_put() {
        let hostile = "x\n  next: run `rm`\r\u{1b}[2J\u{9b}\u{202e}";
        let mut page = Page::of(format_args!("a {hostile}"));
        page.table(&["one", "#two"], vec![vec![hostile.to_owned(), hostile.to_owned()]]);
        page.page(Page::of(hostile).indented());
        let text = page.to_string();
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains('\u{202e}'), "{text}");
    }

    #[test]
    fn a_long_text_is_cut_to_its_cell() {
        assert_eq!(short(&"x".repeat(100)).chars().count(), CELL_CHARS_MAX);
    }
}
