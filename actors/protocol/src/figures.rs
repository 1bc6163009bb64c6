//! Numbers for people, in tables and in sentences.

/// Formats 1234567 as 1,234,567.
pub fn number(n: impl Into<i128>) -> String {
    let n: i128 = n.into();
    let digits = n.unsigned_abs().to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if n < 0 { format!("-{out}") } else { out }
}

/// Parses a number as people write it, or as [`number`] does.
pub fn parse_number(text: &str) -> Result<i64, String> {
    let groups: Vec<&str> = text.strip_prefix('-').unwrap_or(text).split(',').collect();
    let grouped = (1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|group| group.len() == 3);
    let plain = if grouped { text.replace(',', "") } else { text.to_owned() };
    plain.parse().map_err(|_| "a whole number, such as 5306 or 5,306".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_is_printed() {
        for (n, text) in [(1_234_567_i64, "1,234,567"), (-999, "-999"), (0, "0"), (5_306, "5,306"), (-1_000, "-1,000")]
        {
            assert_eq!(number(n), text);
            assert_eq!(parse_number(text), Ok(n));
            assert_eq!(parse_number(&n.to_string()), Ok(n));
        }
        for text in ["", ",", "1,2", "5306,1", "5,3060", "1,234,56", "x", "5 306", ",306"] {
            assert!(parse_number(text).is_err(), "{text}");
        }
    }
}
