//! Hostile text: any text that a producer may legally send and a projection must carry through unchanged.
//!
//! Pieces are chosen so that no run of them spells a credential pattern of the credential guard.

use super::prng::Prng;

const WORDS: &[&str] = &[
    "renewal",
    "discount",
    "healthcare",
    "margin",
    "approval",
    "quarter",
    "limit",
    "exposure",
    "vendor",
    "contract",
    "region",
    "credit",
    "review",
    "threshold",
    "evidence",
    "segment",
    "customer",
    "exception",
    "window",
    "invoice",
];

/// Pieces, each for one kind of trouble. Kinds: escapes of both canonical forms, separators of ids, line ends that are
/// data, control characters. Other pieces order differently by UTF-16, by collation and by code point.
const PIECES: &[&str] = &[
    "\"",
    "\\",
    "/",
    ":",
    "::",
    "'",
    "`",
    "$1",
    "%s",
    "{}",
    "[]",
    "<b>",
    "&",
    ";",
    "--",
    "\t",
    "\n",
    "\r\n",
    "\u{8}",
    "\u{c}",
    "\u{1}",
    "\u{1f}",
    "\u{7f}",
    "\u{80}",
    "\u{85}",
    "\u{a0}",
    "é",
    "e\u{301}",
    "Ω",
    "ß",
    "İ",
    "ı",
    "日本",
    "עברית",
    "\u{200b}",
    "\u{200d}",
    "\u{202e}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{e000}",
    "😀",
    "🏳\u{fe0f}\u{200d}🌈",
    "𝒳",
    "\u{10ffff}",
    "\\u0041",
    "\\n",
    "null",
    "0",
];

/// Numbers that are integers, but not what a 64-bit reader expects.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1",
    "2147483648",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "100000000000000000000000000000000000000001",
];

/// Writes plain words, about `bytes` bytes of them.
pub fn prose(prng: &mut Prng, bytes: usize) -> String {
    let mut out = String::with_capacity(bytes + 16);
    while out.len() < bytes {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(prng.pick(WORDS));
    }
    out
}

/// Writes a hostile string of up to `pieces` pieces, never empty.
pub fn hostile(prng: &mut Prng, pieces: usize) -> String {
    let mut out = String::new();
    for _ in 0..prng.between(1, pieces) {
        out.push_str(prng.pick(PIECES));
        if prng.one_in(2) {
            out.push_str(prng.pick(WORDS));
        }
    }
    out
}

/// Writes an id: mostly plain, at times with separators, at times hostile, rarely longer than a B-tree key may be.
pub fn id(prng: &mut Prng, kind: &str, number: usize) -> String {
    match prng.below(400) {
        0..=19 => format!("{kind}:{number}:{}", number % 7),
        20..=39 => format!("{}{kind}{number}", hostile(prng, 3)),
        40 => format!("{kind}.{number}.{}", prose(prng, 3_000)),
        _ => format!("{kind}.{number}"),
    }
}

/// Picks an exotic integer, as JSON text.
pub fn number(prng: &mut Prng) -> String {
    prng.pick(NUMBERS).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_projections::credential_guard::reference;

    #[test]
    fn no_two_pieces_spell_a_credential() {
        for first in PIECES.iter().chain(WORDS) {
            for second in PIECES.iter().chain(WORDS) {
                for third in PIECES {
                    let text = format!("{first}{second}{third}");
                    assert_eq!(reference::find(&text), None, "{text:?}");
                }
            }
        }
    }
}
