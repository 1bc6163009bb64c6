//! The outline of a statement: its action, without its values. Literals are payloads, so they never leave this file.
//!
//! *Guarantees.* Strings, numbers and comments are gone, however the statement is cut off. When the end of a string is
//! doubtful (a backslash in it), nothing behind it is shown.

/// Longest outline, in characters.
const CHARS_MAX: usize = 80;

/// Returns the beginning of a statement on one line, without literals and comments.
pub(super) fn outline(sql: &str) -> String {
    let mut rest = sql;
    let mut out = String::new();
    let mut chars = 0;
    while let Some(c) = rest.chars().next() {
        let within_word = out.chars().next_back().is_some_and(|last| last.is_alphanumeric() || "_$\"".contains(last));
        let (piece, behind) = if rest.starts_with("--") {
            (" ", rest.find('\n').map_or("", |end| &rest[end..]))
        } else if rest.starts_with("/*") {
            (" ", behind_comment(rest))
        } else if c == '\'' {
            // The letter before it (E, B, X, N, U&) belongs to it, and is harmless.
            ("?", behind_string(&rest[1..]))
        } else if let Some(tag) = dollar_tag(rest).filter(|_| !within_word) {
            let body = &rest[tag.len()..];
            ("?", body.find(tag).map_or("", |end| &body[end + tag.len()..]))
        } else if c.is_ascii_digit() && !within_word {
            ("?", rest.trim_start_matches(|c: char| c.is_alphanumeric() || "._".contains(c)))
        } else if c.is_whitespace() || c.is_control() {
            (" ", &rest[c.len_utf8()..])
        } else {
            rest.split_at(c.len_utf8())
        };
        rest = behind;
        if piece == " " && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        chars += 1;
        if chars > CHARS_MAX {
            out.pop();
            return out + "…";
        }
        out.push_str(piece);
    }
    out.trim_end().to_owned()
}

/// Returns the text behind a string whose opening quote is gone.
fn behind_string(text: &str) -> &str {
    let mut at = 0;
    while let Some(found) = text[at..].find(['\'', '\\']) {
        at += found;
        if text[at..].starts_with("''") {
            at += 2;
        } else if text[at..].starts_with('\\') {
            // With some settings it escapes a quote, with others it does not.
            return "";
        } else {
            return &text[at + 1..];
        }
    }
    ""
}

/// Returns the text behind a comment, which may hold other comments.
fn behind_comment(text: &str) -> &str {
    let (mut at, mut depth) = (0, 0);
    while let Some(found) = text[at..].find(['*', '/']) {
        at += found;
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return &text[at..];
            }
        } else {
            at += 1;
        }
    }
    ""
}

/// Returns `$tag$`, when the text begins with it.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text.strip_prefix('$')?.find('$')? + 2;
    let tag = &text[1..end - 1];
    let named = tag.chars().all(|c| c.is_alphanumeric() || c == '_') && !tag.starts_with(|c: char| c.is_ascii_digit());
    named.then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_literal_is_in_an_outline_however_it_is_written_or_cut() {
        for sql in [
            "INSERT INTO t VALUES ('SECRET', 'it''s SECRET', 4111111111)",
            "INSERT INTO t VALUES (E'\\'SECRET', $$SECRET$$, $a$ $$SECRET $a$)",
            "INSERT INTO t VALUES ('C:\\', 'SECRET')",
            "INSERT INTO t /* SECRET /* SECRET */ SECRET */ VALUES (-- SECRET\n 4.111e11)",
            "INSERT INTO t VALUES ('SECRET that was cut o",
            "INSERT INTO t VALUES ($x$SECRET that was cut o",
            "SELECT * FROM t WHERE a=4111 AND b = 'é' /* SECRET",
        ] {
            let outline = outline(sql);
            assert!(!outline.contains("SECRET") && !outline.contains("4111"), "{outline}");
            assert!(outline.starts_with("INSERT INTO t") || outline.starts_with("SELECT"), "{outline}");
        }
        assert_eq!(outline("-- why\n\n  SELECT a1,\n  $1, t.\"x 2\"  FROM t2;  "), "SELECT a1, $1, t.\"x ?\" FROM t2;");
        let long = outline(&format!("SELECT {}", "abcdef ".repeat(40)));
        assert_eq!((long.chars().count(), long.ends_with('…')), (CHARS_MAX, true));
    }
}
