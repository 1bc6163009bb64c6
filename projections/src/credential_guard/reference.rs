//! The reference's rule: a case-insensitive substring search. It finds credentials, and also `sk-` in `task-1`.

use aho_corasick::AhoCorasick;
use std::sync::LazyLock;

/// Texts to search for, as the reference lists them.
pub const PATTERNS: [&str; 21] = [
    "Bearer ",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxr-",
    "sk-",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "-----BEGIN",
    "AKIA",
    "ASIA",
    "api_key=",
    "apikey=",
    "api-key:",
    "password=",
    "passwd=",
    "secret=",
    "token=",
];

static MATCHER: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder().ascii_case_insensitive(true).build(PATTERNS).expect("constant patterns build")
});

/// Returns the pattern that `text` contains, if any.
pub fn find(text: &str) -> Option<&'static str> {
    let found = |text: &str| MATCHER.find(text).map(|hit| PATTERNS[hit.pattern().as_usize()]);
    // Some letters outside ASCII have an ASCII lower case (U+212A, the Kelvin sign, is `k`).
    found(text).or_else(|| if text.is_ascii() { None } else { found(&text.to_lowercase()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_pattern_in_any_case_inside_words() {
        for pattern in PATTERNS {
            for text in
                [pattern.to_owned(), format!("x{}y", pattern.to_uppercase()), format!("é{}", pattern.to_lowercase())]
            {
                assert!(find(&text).is_some(), "{text}");
            }
        }
        assert_eq!(find("ta\u{212a}s\u{212a}-1"), Some("sk-"));
        assert_eq!(find("bearer-token, passwords, a secret"), None);
    }
}
