//! Text from outside the program on its way to a person: ids, titles, reasons, words of a database.
//!
//! *Guarantees.* Output of [`shown`] stays on its line, steers no terminal and hides nothing. Output of [`shell_word`]
//! is one word of a shell that stands for exactly this text. Output of [`in_json`] is the same JSON value.
//!
//! *Never here:* the decision to call it. The program prints through its `Page`, the log through its fields. Both call
//! [`shown`] for every line, so that no author has to remember it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Characters beyond the controls that a reader does not see, or that change the order of the visible text. These are
/// formats, fillers and tags. The selectors U+FE00 to U+FE0F stay: they choose the look of the character before them.
const INVISIBLE: [(char, char); 19] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// True when a person would not see the character, or a terminal would obey it.
fn hidden(c: char) -> bool {
    c.is_control() || (c >= '\u{ad}' && INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&c)))
}

/// Returns the text on one line, with everything visible. Hidden characters are written as in Rust, such as `\n` and
/// `\u{1b}`.
pub fn shown(text: &str) -> Cow<'_, str> {
    replaced(text, hidden, |out, c| out.extend(c.escape_default()))
}

/// Returns the beginning of a client's text, without control characters.
pub fn on_a_line(text: &str, bytes_max: usize) -> String {
    let end = (0..=text.len().min(bytes_max)).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].chars().filter(|c| !c.is_control()).collect()
}

/// Quotes the text as one word of a shell. Text with hidden characters takes the form `$'…'`, which is printable and
/// stands for the same text.
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:@/+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    // A command in our texts ends with a backtick, so a word must not contain a backtick.
    let by_number = |c: char| hidden(c) || c == '`';
    if !text.chars().any(by_number) {
        return Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")));
    }
    let quoted = replaced(
        text,
        |c| by_number(c) || matches!(c, '\'' | '\\'),
        |out, c| {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Three octal digits: a digit that follows is not taken for a part of the number.
                let _ = write!(out, "\\{byte:03o}");
            }
        },
    );
    Cow::Owned(format!("$'{quoted}'"))
}

/// Replaces hidden characters in the strings of a JSON text by `\u` escapes: the same value, safe on a terminal.
pub fn in_json(json: &str) -> Cow<'_, str> {
    // In JSON text a control below U+0020 occurs between values only.
    replaced(
        json,
        |c| c >= '\u{7f}' && hidden(c),
        |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

/// Replaces some characters of the text; borrowed when it has none of them.
fn replaced(text: &str, which: impl Fn(char) -> bool, write: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let Some(first) = text.find(&which) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if which(c) { write(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\r\nb\u{9b}\u{202e}\u{200b}\u{feff}\u{e0041}\u{7f}é\u{301}漢 \u{a0}❤\u{fe0f}";

    #[test]
    fn what_is_shown_is_one_line_without_hidden_characters_and_leaves_letters_alone() {
        let text = shown(HOSTILE);
        assert!(!text.chars().any(hidden), "{text}");
        assert!(text.starts_with("a\\u{1b}[2J\\r\\nb\\u{9b}\\u{202e}\\u{200b}\\u{feff}\\u{e0041}\\u{7f}é"), "{text}");
        assert!(text.ends_with("é\u{301}漢 \u{a0}❤\u{fe0f}"), "{text}");
        assert!(matches!(shown("Ünïcode, 漢字"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_shell_reads_a_printed_word_as_the_text_that_was_stored() {
        for text in ["plain-1", "", "o'neil & co", "$(rm)", "`id`", "a'\\b\n1", HOSTILE] {
            let word = shell_word(text);
            assert!(!word.chars().any(|c| hidden(c) || c == '`'), "{word}");
            #[expect(clippy::disallowed_methods, reason = "bash gets no variables")]
            let mut bash = std::process::Command::new("bash");
            let echo = bash.env_clear().args(["-c", &format!("printf %s {word}")]).output();
            // Without bash on the machine, the test has nothing to check.
            if let Ok(echo) = echo {
                assert_eq!(String::from_utf8_lossy(&echo.stdout), text, "{word}");
            }
        }
        assert_eq!(shell_word("acme"), "acme");
    }

    #[test]
    fn the_text_that_is_noted_is_bounded_and_on_a_line() {
        assert_eq!(on_a_line("a\nb\0c", 9), "abc");
        assert_eq!(on_a_line(&"ü".repeat(200), 300).len(), 300);
        assert_eq!(on_a_line("üü", 3), "ü");
    }

    #[test]
    fn json_stays_the_same_value() {
        let json = serde_json::to_string(&[HOSTILE]).expect("JSON");
        let safe = in_json(&json);
        assert!(!safe.chars().any(hidden), "{safe}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe).expect("JSON"), [HOSTILE]);
    }
}
