//! Reading JSON text: one grammar, and four ways to keep the result.
//!
//! * [`parse`] keeps the whole value;
//! * [`outline`] keeps only the shallow levels, for callers that need a few members of a large text;
//! * [`is_canonical`] keeps nothing;
//! * [`canonical_members`] splits the text, and stops where it is not canonical.
//!
//! The others read the text to its end. They refuse it for the same reasons at the same byte.

use crate::canonical_json::{DEPTH_MAX, Json, JsonError, Parsed, write_payload_string};
use std::borrow::Cow;

/// Reads one JSON text (nothing but white space may follow it).
pub fn parse(text: &str) -> Result<Parsed<'_>, JsonError> {
    let (value, canonical) = read(text, usize::MAX)?;
    Ok(Parsed { value, canonical })
}

/// Reads one JSON text. Arrays and objects inside `levels` others are left empty.
pub fn outline(text: &str, levels: usize) -> Result<Json<'_>, JsonError> {
    Ok(read(text, levels)?.0)
}

/// True when the text is, byte for byte, the canonical payload form of its value. The value then holds no float.
pub fn is_canonical(text: &str) -> Result<bool, JsonError> {
    Ok(read::<()>(text, usize::MAX)?.1)
}

/// Splits a canonical object into its members: each key, and the bytes `"key":value` as they lie. `None` for any other
/// text.
pub fn canonical_members(text: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    if text == "{}" {
        return Some(Vec::new());
    }
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, canonical: true, levels: usize::MAX };
    let mut members: Vec<(Cow<'_, str>, &str)> = Vec::with_capacity(8);
    let mut before = b'{';
    while reader.peek()? == before {
        reader.at += 1;
        let from = reader.at;
        if reader.peek()? != b'"' {
            return None;
        }
        let key = reader.string().ok()?;
        if reader.peek()? != b':' {
            return None;
        }
        reader.at += 1;
        reader.value::<()>(1).ok()?;
        if !reader.canonical || members.last().is_some_and(|(last, _)| *last >= key) {
            return None;
        }
        members.push((key, &text[from..reader.at]));
        before = b',';
    }
    (!members.is_empty() && reader.bytes[reader.at..] == *b"}").then_some(members)
}

/// Returns the value, and true when the text is its canonical form.
fn read<'a, B: Build<'a>>(text: &'a str, levels: usize) -> Result<(B, bool), JsonError> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, canonical: true, levels };
    reader.blank();
    let value = reader.value(0)?;
    reader.blank();
    if reader.at < reader.bytes.len() {
        return Err(reader.syntax("more text after the value"));
    }
    Ok((value, reader.canonical))
}

/// Target of the reader: it decides which values are kept.
trait Build<'a> {
    /// An array's items so far.
    type Items: Default;
    /// An object's members so far.
    type Members;

    fn leaf(value: Json<'a>) -> Self;
    fn push(items: &mut Self::Items, item: Self);
    fn array(items: Self::Items) -> Self;
    /// Creates the empty members of an object that is inside `depth` others.
    fn members(depth: usize) -> Self::Members;
    /// True when `key` sorts behind the last member's key.
    fn ascends(members: &Self::Members, key: &str) -> bool;
    fn insert(members: &mut Self::Members, key: Cow<'a, str>, value: Self);
    /// Completes an object. `ascending` is true when the keys are sorted and each occurs once.
    fn object(members: Self::Members, ascending: bool) -> Self;
}

impl<'a> Build<'a> for Json<'a> {
    type Items = Vec<Json<'a>>;
    type Members = Vec<(Cow<'a, str>, Json<'a>)>;

    fn leaf(value: Json<'a>) -> Json<'a> {
        value
    }

    fn push(items: &mut Self::Items, item: Json<'a>) {
        items.push(item);
    }

    fn array(items: Self::Items) -> Json<'a> {
        Json::Array(items)
    }

    fn members(depth: usize) -> Self::Members {
        // A text has one outermost object, which has several members.
        Vec::with_capacity(if depth == 0 { 8 } else { 0 })
    }

    fn ascends(members: &Self::Members, key: &str) -> bool {
        members.last().is_none_or(|(last, _)| last.as_ref() < key)
    }

    fn insert(members: &mut Self::Members, key: Cow<'a, str>, value: Json<'a>) {
        members.push((key, value));
    }

    fn object(mut members: Self::Members, ascending: bool) -> Json<'a> {
        if !ascending {
            // A stable sort keeps repeated keys in their original order, so that the last of them can win.
            members.sort_by(|a, b| a.0.cmp(&b.0));
            let mut unique: Self::Members = Vec::with_capacity(members.len());
            for member in members {
                match unique.last_mut() {
                    Some(last) if last.0 == member.0 => *last = member,
                    _ => unique.push(member),
                }
            }
            members = unique;
        }
        Json::Object(members)
    }
}

/// Keeps nothing but the previous key, for comparison.
impl<'a> Build<'a> for () {
    type Items = ();
    type Members = Option<Cow<'a, str>>;

    fn leaf(_: Json<'a>) {}
    fn push((): &mut (), (): ()) {}
    fn array((): ()) {}

    fn members(_: usize) -> Self::Members {
        None
    }

    fn ascends(last: &Self::Members, key: &str) -> bool {
        last.as_deref().is_none_or(|last| last < key)
    }

    fn insert(last: &mut Self::Members, key: Cow<'a, str>, (): ()) {
        *last = Some(key);
    }

    fn object(_: Self::Members, _: bool) {}
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    canonical: bool,
    /// Nesting depth from which arrays and objects are left empty.
    levels: usize,
}

impl<'a> Reader<'a> {
    fn syntax(&self, what: &'static str) -> JsonError {
        if self.at >= self.bytes.len() {
            return JsonError::Syntax { at: self.bytes.len(), what: "the text ends early" };
        }
        JsonError::Syntax { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
            self.canonical = false;
        }
    }

    fn value<B: Build<'a>>(&mut self, depth: usize) -> Result<B, JsonError> {
        Ok(B::leaf(match self.peek() {
            Some(b'"') => Json::Str(self.string()?),
            Some(b'{') if depth < self.levels => return self.object(depth),
            Some(b'[') if depth < self.levels => return self.array(depth),
            Some(b'{') => {
                self.object::<()>(depth)?;
                Json::Object(Vec::new())
            }
            Some(b'[') => {
                self.array::<()>(depth)?;
                Json::Array(Vec::new())
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Json::Bool(true))?,
            Some(b'f') => self.word("false", Json::Bool(false))?,
            Some(b'n') => self.word("null", Json::Null)?,
            // Python's reader accepts these as floats. The reference therefore calls them a schema violation, not bad
            // JSON.
            Some(b'N') => self.word("NaN", Json::Float("NaN"))?,
            Some(b'I') => self.word("Infinity", Json::Float("Infinity"))?,
            // RFC 8259, section 8.1: a text has no byte order mark. Editors that write one do not show it.
            _ if self.text[self.at..].starts_with('\u{feff}') => {
                return Err(self.syntax("a byte order mark (save the text without one)"));
            }
            _ => return Err(self.syntax("a value is missing")),
        }))
    }

    fn word(&mut self, word: &'static str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            self.canonical &= !matches!(value, Json::Float(_));
            Ok(value)
        } else {
            Err(self.syntax("an unknown word"))
        }
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Result<Json<'a>, JsonError> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
            if self.peek() == Some(b'I') {
                return self.word("Infinity", Json::Float("-Infinity"));
            }
        }
        let whole = self.at;
        if self.digits() == 0 {
            return Err(self.syntax("a digit is missing"));
        }
        if self.bytes[whole] == b'0' && self.at > whole + 1 {
            self.at = whole;
            return Err(self.syntax("a number with a leading zero"));
        }
        let mut float = false;
        if self.peek() == Some(b'.') {
            float = true;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.syntax("a digit is missing"));
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            float = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.syntax("a digit is missing"));
            }
        }
        let raw = &self.text[from..self.at];
        if float {
            self.canonical = false;
            return Ok(Json::Float(raw));
        }
        if raw == "-0" {
            self.canonical = false;
            return Ok(Json::Int(Cow::Borrowed("0")));
        }
        Ok(Json::Int(Cow::Borrowed(raw)))
    }

    fn array<B: Build<'a>>(&mut self, depth: usize) -> Result<B, JsonError> {
        if depth >= DEPTH_MAX {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.at += 1;
        self.blank();
        let mut items = B::Items::default();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(B::array(items));
        }
        loop {
            self.blank();
            B::push(&mut items, self.value(depth + 1)?);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(B::array(items));
                }
                _ => return Err(self.syntax("`,` or `]` is missing")),
            }
        }
    }

    fn object<B: Build<'a>>(&mut self, depth: usize) -> Result<B, JsonError> {
        if depth >= DEPTH_MAX {
            return Err(JsonError::TooDeep { at: self.at });
        }
        self.at += 1;
        self.blank();
        let mut members = B::members(depth);
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(B::object(members, true));
        }
        let mut ascending = true;
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return Err(self.syntax("a key is missing"));
            }
            let key = self.string()?;
            self.blank();
            if self.peek() != Some(b':') {
                return Err(self.syntax("`:` is missing"));
            }
            self.at += 1;
            self.blank();
            let value = self.value(depth + 1)?;
            ascending &= B::ascends(&members, &key);
            B::insert(&mut members, key, value);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                _ => return Err(self.syntax("`,` or `}` is missing")),
            }
        }
        self.canonical &= ascending;
        Ok(B::object(members, ascending))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let from = self.at;
        let mut owned: Option<String> = None;
        let mut copied = from;
        loop {
            let Some(next) = memchr::memchr2(b'"', b'\\', &self.bytes[self.at..]) else {
                self.at = self.bytes.len();
                return Err(self.syntax("a string is not closed"));
            };
            let stop = self.at + next;
            let plain = &self.bytes[self.at..stop];
            // All bytes are checked at once, which the compiler does in wide steps. The position is computed only when
            // one is found.
            if plain.iter().fold(false, |found, byte| found | (*byte < 0x20)) {
                self.at += plain.iter().position(|byte| *byte < 0x20).unwrap_or_default();
                return Err(self.syntax("a raw control character inside a string"));
            }
            self.at = stop + 1;
            if self.bytes[stop] == b'"' {
                return Ok(match owned {
                    None => Cow::Borrowed(&self.text[from..stop]),
                    Some(mut text) => {
                        text.push_str(&self.text[copied..stop]);
                        Cow::Owned(text)
                    }
                });
            }
            let text = owned.get_or_insert_with(String::new);
            text.push_str(&self.text[copied..stop]);
            let c = self.escape(stop)?;
            text.push(c);
            copied = self.at;
        }
    }

    /// Reads the character of the escape whose backslash is at `start`. The cursor is just behind the backslash.
    fn escape(&mut self, start: usize) -> Result<char, JsonError> {
        let byte = self.peek().ok_or_else(|| self.syntax(""))?;
        self.at += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => {
                self.canonical = false;
                '/'
            }
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex4()?;
                let c = match first {
                    0xd800..=0xdbff => {
                        if !self.bytes[self.at..].starts_with(b"\\u") {
                            return Err(JsonError::LoneSurrogate { at: start });
                        }
                        self.at += 2;
                        let second = self.hex4()?;
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(JsonError::LoneSurrogate { at: start });
                        }
                        let code = 0x10000 + ((u32::from(first) - 0xd800) << 10) + (u32::from(second) - 0xdc00);
                        char::from_u32(code).ok_or(JsonError::LoneSurrogate { at: start })?
                    }
                    0xdc00..=0xdfff => return Err(JsonError::LoneSurrogate { at: start }),
                    0 => return Err(JsonError::Nul { at: start }),
                    unit => char::from_u32(u32::from(unit)).ok_or(JsonError::LoneSurrogate { at: start })?,
                };
                let mut canonical = String::new();
                write_payload_string(&mut canonical, c.encode_utf8(&mut [0; 4]));
                if canonical[1..canonical.len() - 1] != self.text[start..self.at] {
                    self.canonical = false;
                }
                c
            }
            _ => {
                self.at = start;
                return Err(self.syntax("an unknown escape"));
            }
        })
    }

    fn hex4(&mut self) -> Result<u16, JsonError> {
        let mut unit = 0u16;
        for _ in 0..4 {
            let digit = match self.peek() {
                Some(byte @ b'0'..=b'9') => byte - b'0',
                Some(byte @ b'a'..=b'f') => byte - b'a' + 10,
                Some(byte @ b'A'..=b'F') => byte - b'A' + 10,
                _ => return Err(self.syntax("four hex digits are missing")),
            };
            unit = unit << 4 | u16::from(digit);
            self.at += 1;
        }
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts `value` as [`outline`] does.
    fn cut(value: Json<'_>, levels: usize) -> Json<'_> {
        match value {
            Json::Array(_) if levels == 0 => Json::Array(Vec::new()),
            Json::Object(_) if levels == 0 => Json::Object(Vec::new()),
            Json::Array(items) => Json::Array(items.into_iter().map(|item| cut(item, levels - 1)).collect()),
            Json::Object(members) => {
                Json::Object(members.into_iter().map(|(key, value)| (key, cut(value, levels - 1))).collect())
            }
            leaf => leaf,
        }
    }

    fn agree(text: &str) {
        let whole = parse(text);
        assert_eq!(is_canonical(text), whole.clone().map(|parsed| parsed.canonical), "{text}");
        for levels in 0..4 {
            assert_eq!(outline(text, levels), whole.clone().map(|parsed| cut(parsed.value, levels)), "{text}");
        }
        let split = canonical_members(text);
        let keys = match &whole {
            Ok(Parsed { value: Json::Object(members), canonical: true }) => Some(members),
            _ => None,
        };
        assert_eq!(split.is_some(), keys.is_some(), "{text}");
        if let (Some(split), Some(keys)) = (split, keys) {
            assert!(split.iter().map(|(key, _)| key).eq(keys.iter().map(|(key, _)| key)), "{text}");
            let parts: Vec<&str> = split.iter().map(|(_, member)| *member).collect();
            assert_eq!(format!("{{{}}}", parts.join(",")), text);
        }
    }

    #[test]
    fn what_is_kept_does_not_change_what_is_read() {
        for text in [
            r#"{"a":{"b":{"c":[1,{"d":"e"}]}},"b":[[2],[]]}"#,
            r#"{"b":{"b":1,"a":[NaN]},"a":-Infinity,"b":{"a":{"x":1.5}}}"#,
            r#"{"a":[{"a":1,}]}"#,
            r#"{"a":{"b":{"c":"\ud800"}}}"#,
            r#"{"a":{"b":{"c":"\u0000"}}}"#,
            r#"[[["\u00e9" , 0]]]"#,
            "[[[\"\u{1}\"]]]",
            r#"{"a":{"b":1,"b":1}}"#,
            "{}",
            "}",
            "{",
            "",
            r#"{"a":{"b":[]},"b\n":-1,"c":"\"}"}"#,
            r#"{"a":1,}"#,
            r#"{"a":1}}"#,
            r#"{"a":1,"a":2}"#,
            &"[".repeat(DEPTH_MAX + 1),
        ] {
            agree(text);
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_does_not_change_what_is_read_of_any_text(text in r#"(\{"a":|\{"b":\[|[ \[\]{}:,"\\u0-9a-fNI.\-]){0,24}"#) {
            agree(&text);
        }
    }
}
