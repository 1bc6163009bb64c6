//! JSON as the reference sees it: no floats, integers of any size, and two canonical forms.
//!
//! * [`parse`](crate::json_reader::parse) reads one text and reports when it already *is* the canonical payload form.
//!   A stored payload in that form is hashed as it is, without being written again.
//! * [`Json::write_payload_form`] is the form that `payload_hash` covers: UTF-8 as it is.
//! * [`write_digest_string`] is the string escape of the projection digests: ASCII only.
//!
//! Rules of both forms: keys are sorted by code point. `,` and `:` have no blanks around them. The last of repeated
//! keys wins. `-0` is `0`.

use crate::category::{Category, Refusal};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Deepest nesting of arrays and objects that the reader accepts.
pub const DEPTH_MAX: usize = 256;

/// A JSON value that borrows from the text it was read from.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer, digit for digit.
    Int(Cow<'a, str>),
    /// A number with a fraction or an exponent, or `NaN` and its kin: readable, never storable.
    Float(&'a str),
    /// A string, unescaped.
    Str(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object: keys sorted by code point, each once.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// A parsed text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<'a> {
    /// The value.
    pub value: Json<'a>,
    /// True when the text is, byte for byte, the canonical payload form of the value. The value then holds no float.
    pub canonical: bool,
}

/// Reason why a text is not readable, with the byte offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("not JSON: {what} at byte {at}")]
    Syntax {
        /// Byte offset.
        at: usize,
        /// Thing that was found or is missing.
        what: &'static str,
    },
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels at byte {at}")]
    TooDeep {
        /// Byte offset.
        at: usize,
    },
    /// A `\uD800`–`\uDFFF` escape without its other half.
    #[error("a lone UTF-16 surrogate escape at byte {at}")]
    LoneSurrogate {
        /// Byte offset.
        at: usize,
    },
    /// U+0000 inside a string: no database text can hold it.
    #[error("U+0000 inside a string at byte {at}")]
    Nul {
        /// Byte offset.
        at: usize,
    },
}

impl JsonError {
    /// Returns the refusal of an append. A text that the database cannot hold is `invalid_argument` (deviation 4 of
    /// `docs/DEVIATIONS.md`).
    pub fn on_append(&self) -> Refusal {
        let category = match self {
            JsonError::LoneSurrogate { .. } | JsonError::Nul { .. } => Category::InvalidArgument,
            JsonError::Syntax { .. } | JsonError::TooDeep { .. } => Category::SchemaViolation,
        };
        Refusal::new(category, self.to_string())
    }
}

impl<'a> Json<'a> {
    /// Returns the member of an object; `None` when this is no object or has no such member.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(members) => {
                members.binary_search_by(|(k, _)| k.as_ref().cmp(key)).ok().map(|index| &members[index].1)
            }
            _ => None,
        }
    }

    /// Returns the string, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Names the kind of this value, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Int(_) => "an integer",
            Json::Float(_) => "a float",
            Json::Str(_) => "a string",
            Json::Array(_) => "a list",
            Json::Object(_) => "an object",
        }
    }

    /// Calls `visit` with every string *value* (never a key) until it returns true. True when it did.
    pub fn any_string(&self, visit: &mut impl FnMut(&str) -> bool) -> bool {
        match self {
            Json::Str(text) => visit(text),
            Json::Array(items) => items.iter().any(|item| item.any_string(visit)),
            Json::Object(members) => members.iter().any(|(_, value)| value.any_string(visit)),
            _ => false,
        }
    }

    /// Appends the canonical payload form. A float is written as it was read; refuse floats first.
    pub fn write_payload_form(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Int(digits) => out.push_str(digits),
            Json::Float(raw) => out.push_str(raw),
            Json::Str(text) => write_payload_string(out, text),
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_payload_form(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_payload_string(out, key);
                    out.push(':');
                    value.write_payload_form(out);
                }
                out.push('}');
            }
        }
    }

    /// Returns the canonical payload form.
    pub fn to_payload_form(&self) -> String {
        let mut out = String::new();
        self.write_payload_form(&mut out);
        out
    }
}

/// Appends a JSON string in the payload form: only `"`, `\` and U+0000–U+001F are escaped.
pub fn write_payload_string(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + 1;
        write_short_escape(out, byte);
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// Appends a JSON string in the digest form, which is ASCII only. Characters outside U+0020–U+007E become `\uxxxx`,
/// with surrogate pairs above U+FFFF.
pub fn write_digest_string(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, c) in text.char_indices() {
        if matches!(c, ' '..='~') && c != '"' && c != '\\' {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + c.len_utf8();
        match c {
            '"' | '\\' | '\0'..='\x1f' => write_short_escape(out, c as u8),
            _ => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

fn write_short_escape(out: &mut String, byte: u8) {
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        0x08 => out.push_str("\\b"),
        0x0c => out.push_str("\\f"),
        b'\n' => out.push_str("\\n"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        _ => {
            let _ = write!(out, "\\u{byte:04x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_reader::parse;
    use proptest::prelude::*;

    fn form(text: &str) -> (String, bool) {
        let parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (parsed.value.to_payload_form(), parsed.canonical)
    }

    #[test]
    fn canonical_texts_are_recognised_and_others_are_rewritten() {
        for text in [
            "{}",
            "[]",
            "null",
            r#"{"a":1,"b":[true,false,null]}"#,
            r#""é\n\u0001\\\"""#,
            "\"\u{7f}\u{2028}😀\"",
            "-12345678901234567890123456789",
        ] {
            assert_eq!(form(text), (text.to_owned(), true), "{text}");
        }
        for (text, canonical) in [
            (" 1", "1"),
            (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"b":0,"a":1,"b":{"x":1},"a":3}"#, r#"{"a":3,"b":{"x":1}}"#),
            ("-0", "0"),
            (r#""\u00e9\/\u000A""#, r#""é/\n""#),
            (r#""\ud83d\ude00""#, r#""😀""#),
            (r#""\u001F""#, r#""\u001f""#),
        ] {
            assert_eq!(form(text), (canonical.to_owned(), false), "{text}");
        }
    }

    #[test]
    fn keys_sort_by_code_point_not_by_utf16() {
        // U+FFEE sorts before U+10000 by code point, after it by UTF-16 unit.
        assert_eq!(form("{\"\u{10000}\":1,\"\u{ffee}\":2}").0, "{\"\u{ffee}\":2,\"\u{10000}\":1}");
    }

    #[test]
    fn floats_are_found_where_they_hide() {
        for text in ["1.0", "1e3", "-1E-2", "NaN", "-Infinity", "Infinity"] {
            let nested = format!(r#"{{"a":[1,{{"b":{text}}}]}}"#);
            assert_eq!(
                parse(&nested).expect("readable").value.first_float("payload").as_deref(),
                Some("payload.a[1].b")
            );
        }
    }

    #[test]
    fn unreadable_texts_say_where_and_why() {
        use JsonError::*;
        assert_eq!(parse("{\"a\":"), Err(Syntax { at: 5, what: "the text ends early" }));
        assert_eq!(parse("[1,]"), Err(Syntax { at: 3, what: "a value is missing" }));
        assert_eq!(parse("\u{feff}{}"), Err(Syntax { at: 0, what: "a byte order mark (save the text without one)" }));
        assert_eq!(parse("01"), Err(Syntax { at: 0, what: "a number with a leading zero" }));
        assert_eq!(parse("\"a\nb\""), Err(Syntax { at: 2, what: "a raw control character inside a string" }));
        for control in '\0'..' ' {
            assert!(parse(&format!("\"{control}\"")).is_err(), "{control:?}");
        }
        assert!(parse("\" \u{7f}\"").is_ok());
        assert_eq!(parse(r#""\ud800""#), Err(LoneSurrogate { at: 1 }));
        assert_eq!(parse(r#""\ud800\u0041""#), Err(LoneSurrogate { at: 1 }));
        assert_eq!(parse(r#""\udc00""#), Err(LoneSurrogate { at: 1 }));
        assert_eq!(parse(r#""a\u0000""#), Err(Nul { at: 2 }));
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(parse(&deep), Err(TooDeep { at: DEPTH_MAX }));
        assert!(parse(&format!("{}1{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX))).is_ok());
    }

    #[test]
    fn the_digest_form_is_ascii() {
        let mut out = String::new();
        write_digest_string(&mut out, "a\u{7f}é\u{2028}😀\"\\\n\u{1}");
        assert_eq!(out, r#""a\u007f\u00e9\u2028\ud83d\ude00\"\\\n\u0001""#);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[^\u{0}]*".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
                prop::collection::btree_map("[^\u{0}]{0,5}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// This reader and serde_json agree on the value of a text, in compact and in pretty spelling. The canonical
        /// form is a fixed point.
        #[test]
        fn agrees_with_serde_json(value in any_json()) {
            let compact = serde_json::to_string(&value).expect("serialises");
            let pretty = serde_json::to_string_pretty(&value).expect("serialises");
            let ours = parse(&compact).expect("readable").value.to_payload_form();
            prop_assert_eq!(&parse(&pretty).expect("readable").value.to_payload_form(), &ours);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&ours).expect("JSON"), value);
            let again = parse(&ours).expect("readable");
            prop_assert!(again.canonical);
            prop_assert_eq!(again.value.to_payload_form(), ours);
        }

        /// `canonical` is true exactly when writing the value again gives the same bytes.
        #[test]
        fn canonical_means_unchanged(text in r#"[ \[\]{}:,"\\u0-9a-f\-]{0,24}"#) {
            if let Ok(parsed) = parse(&text) {
                prop_assert_eq!(parsed.canonical, parsed.value.to_payload_form() == text && parsed.value.first_float("").is_none());
            }
        }
    }
}
