//! JSON lines: split on `\n` only (U+2028 is data), bounded regardless of the file, numbered from 1.
//!
//! *Guarantees.* A line longer than an event may be is refused with its number and never held whole. Memory is bounded
//! by one chunk. Blank lines are skipped.
//!
//! *Never here:* JSON, the database.

pub mod foreign;

use crate::{LineFault, OfferedLine};
use decisiongraph_projections::event::EVENT_BYTES_MAX;
use std::io::{self, BufRead};

/// Most lines per chunk. An import is atomic per chunk.
pub const CHUNK_LINES_MAX: usize = 1_000;
/// Size in bytes at which a chunk ends early. It keeps a chunk from holding a thousand of the longest lines.
pub const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reader of the lines of a stream.
pub struct LineReader<R> {
    input: R,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> LineReader<R> {
    /// Makes a reader that starts at the stream's present position.
    pub fn new(input: R) -> LineReader<R> {
        LineReader { input, number: 0, line: Vec::new() }
    }

    /// Reads the next line that is not blank; none at the end of the stream.
    pub fn next_line(&mut self) -> io::Result<Option<OfferedLine>> {
        loop {
            self.line.clear();
            let mut too_long = false;
            let mut any = false;
            loop {
                let buffer = match self.input.fill_buf() {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    other => other?,
                };
                if buffer.is_empty() {
                    break;
                }
                any = true;
                let end = buffer.iter().position(|byte| *byte == b'\n');
                let piece = &buffer[..end.unwrap_or(buffer.len())];
                if self.line.len() + piece.len() > EVENT_BYTES_MAX {
                    too_long = true;
                    self.line.clear();
                }
                if !too_long {
                    self.line.extend_from_slice(piece);
                }
                let used = end.map_or(buffer.len(), |end| end + 1);
                self.input.consume(used);
                if end.is_some() {
                    break;
                }
            }
            if !any {
                return Ok(None);
            }
            self.number += 1;
            if too_long {
                return Ok(Some(OfferedLine { number: self.number, text: Err(LineFault::TooLong) }));
            }
            if self.line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
                continue;
            }
            let text = match std::str::from_utf8(&self.line) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => Err(LineFault::NotUtf8 { byte: error.valid_up_to() as u64 + 1 }),
            };
            return Ok(Some(OfferedLine { number: self.number, text }));
        }
    }

    /// Reads the next lines, at most [`CHUNK_LINES_MAX`]; empty at the end of the stream. After each line, `prompt` is
    /// asked about the input. True ends the chunk, so that no line waits for a line that has not arrived yet.
    pub fn next_chunk(&mut self, prompt: impl Fn(&R) -> bool) -> io::Result<Vec<OfferedLine>> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while chunk.len() < CHUNK_LINES_MAX && bytes < CHUNK_BYTES_MAX {
            if !chunk.is_empty() && prompt(&self.input) {
                break;
            }
            let Some(line) = self.next_line()? else { break };
            bytes += line.text.as_ref().map_or(0, String::len);
            chunk.push(line);
        }
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn read(bytes: &[u8]) -> Vec<OfferedLine> {
        let mut reader = LineReader::new(BufReader::with_capacity(7, bytes));
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line().expect("reads") {
            lines.push(line);
        }
        lines
    }

    #[test]
    fn only_line_feeds_split_and_blank_lines_keep_their_number() {
        let lines = read("a\u{2028}b\u{85}c\r\n\n  \nlast".as_bytes());
        let seen: Vec<_> = lines.iter().map(|line| (line.number, line.text.as_deref().expect("text"))).collect();
        assert_eq!(seen, [(1, "a\u{2028}b\u{85}c\r"), (4, "last")]);
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_named_and_reading_goes_on() {
        let mut bytes = vec![b'x'; EVENT_BYTES_MAX + 1];
        bytes.extend_from_slice(b"\nab\xffc\nok\n");
        let lines = read(&bytes);
        assert_eq!(lines[0].text, Err(LineFault::TooLong));
        assert_eq!(lines[1].text, Err(LineFault::NotUtf8 { byte: 3 }));
        assert_eq!((lines[2].number, lines[2].text.as_deref()), (3, Ok("ok")));
        assert_eq!(read(&vec![b'y'; EVENT_BYTES_MAX])[0].text.as_ref().map(String::len), Ok(EVENT_BYTES_MAX));
    }

    #[test]
    fn a_chunk_is_bounded() {
        let text = "x\n".repeat(CHUNK_LINES_MAX + 1);
        let mut reader = LineReader::new(text.as_bytes());
        assert_eq!(reader.next_chunk(|_| false).expect("reads").len(), CHUNK_LINES_MAX);
        assert_eq!(reader.next_chunk(|_| false).expect("reads").len(), 1);
        assert!(reader.next_chunk(|_| false).expect("reads").is_empty());
    }
}
