//! Reason for which a scenario failed: the first difference, or an error before anything could be compared.

use decisiongraph_projections::Refusal;
use decisiongraph_store::StoreError;
use std::fmt;

/// The outcome of one check.
pub type Checked<T = ()> = Result<T, Finding>;

/// Reason for which a check failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Two values that should be equal are not.
    Differs {
        /// Path of the compared values.
        path: String,
        /// Value in the file.
        expected: String,
        /// Value that this program gives.
        got: String,
    },
    /// Error before a comparison.
    Failed(String),
}

impl Finding {
    /// Compares two values. The error is the difference at this path.
    pub fn equal<E, G>(path: impl fmt::Display, expected: &E, got: &G) -> Checked
    where
        E: fmt::Display + ?Sized,
        G: fmt::Display + ?Sized,
    {
        let (expected, got) = (expected.to_string(), got.to_string());
        if expected == got { Ok(()) } else { Err(Finding::Differs { path: path.to_string(), expected, got }) }
    }

    /// Returns the same finding, with the current step in front.
    pub fn within(self, what: &str) -> Finding {
        match self {
            Finding::Differs { path, expected, got } => {
                Finding::Differs { path: format!("{what}: {path}"), expected, got }
            }
            Finding::Failed(message) => Finding::Failed(format!("{what}: {message}")),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Differs { path, expected, got } => {
                write!(
                    f,
                    "{}: expected {}, got {}",
                    shown(path, usize::MAX),
                    shown(expected, SHOWN_MAX),
                    shown(got, SHOWN_MAX)
                )
            }
            Finding::Failed(message) => f.write_str(&shown(message, usize::MAX)),
        }
    }
}

/// Longest value that is printed whole, characters.
const SHOWN_MAX: usize = 300;

/// Renders text on one line; more than `max` characters of it are cut.
fn shown(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == max {
            out.push('…');
            break;
        }
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

impl From<StoreError> for Finding {
    fn from(error: StoreError) -> Finding {
        Finding::Failed(error.to_string())
    }
}

impl From<Refusal> for Finding {
    fn from(refusal: Refusal) -> Finding {
        Finding::Failed(refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_path_and_both_sides_in_one_line() {
        let finding = Finding::equal("a[1]", "x\ny", "z").expect_err("differs").within("catch-up");
        assert_eq!(finding.to_string(), "catch-up: a[1]: expected x\\u{a}y, got z");
        assert_eq!(Finding::equal("a", "x", "x"), Ok(()));
    }
}
