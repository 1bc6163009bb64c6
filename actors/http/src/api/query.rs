//! The query of a URL, read strictly: an unknown or mistyped key is refused, because it would widen the answer.
//!
//! A key may be repeated, and a list may also be written with commas: all values count.

use super::fault::Fault;
use super::parameter::Parameter;
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::query::Freshness;
use std::str::FromStr;

/// Longest wait that a read may ask for, in milliseconds.
const WAIT_MS_MAX: u64 = 30_000;

/// The pairs of a query, all of which the route has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query. Refuses a key that is not in `known`, and names the nearest.
    pub fn parse<'a>(text: &str, known: impl Iterator<Item = &'a Parameter> + Clone) -> Result<Query, Fault> {
        if decoded_badly(text) {
            return Err(Fault::invalid("the query is not percent-encoded UTF-8"));
        }
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        for (key, _) in &pairs {
            if !known.clone().any(|parameter| parameter.name == key) {
                let nearest =
                    known.clone().map(|parameter| parameter.name).min_by_key(|name| strsim::levenshtein(name, key));
                let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                let names: Vec<&str> = known.map(|parameter| parameter.name).collect();
                let next = match names.is_empty() {
                    true => "this path has no parameters".to_owned(),
                    false => format!("the parameters of this path: {}", names.join(", ")),
                };
                return Err(Fault::invalid(format!("there is no parameter `{}`{hint}", on_a_line(key))).next(next));
            }
        }
        Ok(Query(pairs))
    }

    /// Returns the value of a key that may be given once.
    pub fn one(&self, key: &str) -> Result<Option<&str>, Fault> {
        let mut values = self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Fault::invalid(format!("the parameter `{key}` is given more than once"))),
        }
    }

    /// Returns the value of a key that must be given.
    pub fn needed(&self, key: &str) -> Result<&str, Fault> {
        match self.one(key)? {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(Fault::invalid(format!("the parameter `{key}` is missing"))),
        }
    }

    /// Lists the values of a key, repeated or with commas; none when the key is absent.
    pub fn list(&self, key: &str) -> Option<Vec<String>> {
        let mut values = self.0.iter().filter(|(name, _)| name == key).peekable();
        values.peek()?;
        Some(
            values.flat_map(|(_, value)| value.split(',')).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        )
    }

    /// Returns the number of a key.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, Fault> {
        let Some(text) = self.one(key)? else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| Fault::invalid(format!("`{key}` must be a whole number, not `{}`", on_a_line(text))))
    }

    /// Returns the position of a key.
    pub fn position(&self, key: &str) -> Result<Option<LogSeq>, Fault> {
        match self.number::<i64>(key)? {
            Some(number) if number < 0 => Err(Fault::invalid(format!("`{key}` must not be below 0"))),
            number => Ok(number.map(LogSeq)),
        }
    }

    /// Returns the switch of a key: `true` or `false`.
    pub fn switch(&self, key: &str) -> Result<bool, Fault> {
        match self.one(key)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Fault::invalid(format!("`{key}` must be true or false, not `{}`", on_a_line(other)))),
        }
    }

    /// Returns the wait in `wait_ms`.
    pub fn wait_ms(&self, default: u64) -> Result<u64, Fault> {
        match self.number::<u64>("wait_ms")? {
            Some(ms) if ms > WAIT_MS_MAX => {
                Err(Fault::invalid(format!("wait_ms must be 0 to {WAIT_MS_MAX}, not {ms}")))
            }
            ms => Ok(ms.unwrap_or(default)),
        }
    }

    /// Returns how current the answer must be: `wait_ms`, `allow_stale`.
    pub fn freshness(&self) -> Result<Freshness, Fault> {
        Ok(Freshness {
            wait_ms: self.wait_ms(Freshness::default().wait_ms)?,
            allow_stale: self.switch("allow_stale")?,
            at_least: self.position("at_least")?,
        })
    }

    /// Returns the pairs that belong to the question itself, in a fixed order: what a cursor is bound to.
    pub fn question(&self) -> Vec<(&str, &str)> {
        let place = ["limit", "cursor", "wait_ms"];
        let kept = self.0.iter().filter(|(key, _)| !place.contains(&key.as_str()));
        let mut pairs: Vec<_> = kept.map(|(key, value)| (key.as_str(), value.as_str())).collect();
        pairs.sort_unstable();
        pairs
    }
}

/// True when a percent-encoded byte is not followed by two digits, or when the bytes are no UTF-8.
fn decoded_badly(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => decoded.push((high * 16 + low) as u8),
            _ => return true,
        }
    }
    std::str::from_utf8(&decoded).is_err()
}

/// Shortens a text of a caller for an error, and keeps it on one line.
pub(super) fn on_a_line(text: &str) -> String {
    decisiongraph_protocol::foreign_text::on_a_line(text, 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Parameter; 3] =
        [Parameter::text("outcome", ""), Parameter::text("limit", ""), Parameter::text("edge_types", "")];

    fn parse(text: &str) -> Result<Query, Fault> {
        Query::parse(text, KNOWN.iter())
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        let fault = parse("outcom=success").expect_err("unknown");
        assert!(fault.message.contains("did you mean `outcome`"), "{}", fault.message);
        assert_eq!(fault.status, 400);
        assert!(parse("limit=1&limit=2").expect("known").one("limit").is_err(), "twice");
    }

    #[test]
    fn a_list_is_repeated_or_has_commas() {
        let both = parse("edge_types=a&edge_types=b,c").expect("a list");
        assert_eq!(both.list("edge_types").expect("given"), ["a", "b", "c"]);
        assert_eq!(both.list("outcome"), None);
    }

    #[test]
    fn bad_encoding_is_refused() {
        for bad in ["outcome=%ff", "outcome=%4", "outcome=%zz"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("outcome=a%2Fb%20c+d").expect("good").one("outcome").expect("one"), Some("a/b c d"));
    }

    #[test]
    fn the_question_is_without_the_place_in_it() {
        let (one, other) = (parse("limit=5&outcome=x").expect("good"), parse("outcome=x&limit=9").expect("good"));
        assert_eq!(one.question(), other.question());
        assert_ne!(one.question(), parse("outcome=y").expect("good").question());
    }
}
