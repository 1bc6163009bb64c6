//! Finds the parts of a JSON text without reading them.
//!
//! An event of a fixture must be offered exactly as it is written there. That includes its floats, its big integers and
//! its lone surrogate escapes. A reader that builds values would refuse the whole file for one such event, or change
//! it. So a file is cut into the texts of its parts first. Each part is then read by its own reader.
//!
//! *Guarantees:* brackets and strings are balanced over the whole text. *Never:* judges the inside of a string or a
//! number.

use decisiongraph_projections::canonical_json::Json;
use decisiongraph_projections::json_reader::parse;

/// Fault of a text that cannot be cut: its kind, and its byte in the given text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Byte offset.
    pub at: usize,
    /// Missing or unexpected part.
    pub what: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not JSON: {} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

/// Returns the members of an object, in the order written: key (unescaped) and text of the value.
pub fn members(text: &str) -> Result<Vec<(String, &str)>, Malformed> {
    let mut cut = Cutter { text, at: 0 };
    let mut members = Vec::new();
    cut.open(b'{', "an object")?;
    while !cut.closes(b'}', members.is_empty())? {
        let key = cut.value()?;
        let key = match parse(key).map(|parsed| parsed.value) {
            Ok(Json::Str(key)) => key.into_owned(),
            _ => return Err(cut.malformed("a key is missing")),
        };
        cut.blank();
        if cut.next() != Some(b':') {
            return Err(cut.malformed("`:` is missing"));
        }
        cut.at += 1;
        members.push((key, cut.value()?));
    }
    cut.end()?;
    Ok(members)
}

/// Returns the texts of the items of a list.
pub fn items(text: &str) -> Result<Vec<&str>, Malformed> {
    let mut cut = Cutter { text, at: 0 };
    let mut items = Vec::new();
    cut.open(b'[', "a list")?;
    while !cut.closes(b']', items.is_empty())? {
        items.push(cut.value()?);
    }
    cut.end()?;
    Ok(items)
}

struct Cutter<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cutter<'a> {
    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.next() {
            self.at += 1;
        }
    }

    fn open(&mut self, bracket: u8, what: &'static str) -> Result<(), Malformed> {
        self.blank();
        if self.next() != Some(bracket) {
            return Err(self.malformed(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Steps over the closing bracket (true), or over the comma before the next part (false).
    fn closes(&mut self, bracket: u8, first: bool) -> Result<bool, Malformed> {
        self.blank();
        match self.next() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(true)
            }
            Some(b',') if !first => {
                self.at += 1;
                Ok(false)
            }
            Some(_) if first => Ok(false),
            _ => Err(self.malformed("a comma or a closing bracket is missing")),
        }
    }

    fn end(&mut self) -> Result<(), Malformed> {
        self.blank();
        if self.at < self.text.len() { Err(self.malformed("the end of the text")) } else { Ok(()) }
    }

    /// Cuts out the text of one value of any kind.
    fn value(&mut self) -> Result<&'a str, Malformed> {
        self.blank();
        let from = self.at;
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.next() {
                Some(b'"') => self.string()?,
                Some(bracket @ (b'{' | b'[')) => {
                    open.push(bracket);
                    self.at += 1;
                }
                Some(bracket @ (b'}' | b']')) => {
                    let wanted = if bracket == b'}' { b'{' } else { b'[' };
                    if open.pop() != Some(wanted) {
                        return Err(self.malformed("a bracket that was never opened"));
                    }
                    self.at += 1;
                }
                Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') if !open.is_empty() => {
                    self.at += 1;
                    continue;
                }
                Some(b',' | b':') | None => return Err(self.malformed("a value is missing")),
                Some(_) => {
                    while self.next().is_some_and(|byte| !b",:{}[]\" \t\n\r".contains(&byte)) {
                        self.at += 1;
                    }
                }
            }
            if open.is_empty() {
                return Ok(&self.text[from..self.at]);
            }
        }
    }

    fn string(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        self.at += 1;
        loop {
            match self.next() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => {
                    self.at = from;
                    return Err(self.malformed("a string is not closed"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_out_as_they_are_written() {
        let text = r#" {"a": [1.50, "x\"]", {"k":[]}] , "b\u0041":-0,"c":"\ud800" , "d":{}} "#;
        let parts = members(text).expect("cuts");
        let parts: Vec<(&str, &str)> = parts.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        assert_eq!(parts, [("a", r#"[1.50, "x\"]", {"k":[]}]"#), ("bA", "-0"), ("c", r#""\ud800""#), ("d", "{}")]);
        assert_eq!(items(parts[0].1).expect("cuts"), ["1.50", r#""x\"]""#, r#"{"k":[]}"#]);
        assert!(items("[]").expect("cuts").is_empty());
    }

    #[test]
    fn a_torn_text_is_refused() {
        for torn in ["", "{", "[1", "[1,", "[1 2]", "[,]", r#"{"a"}"#, r#"{"a":1"#, r#"["x]"#, "[1]]", "[{]}", "{1:2}"]
        {
            assert!(items(torn).is_err() && members(torn).is_err(), "{torn}");
        }
    }
}
