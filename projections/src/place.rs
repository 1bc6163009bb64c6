//! Paths into a JSON value, as messages show them: `payload.items[3].price`.
//!
//! *Guarantees.* A path is short, and nothing is written on the way to a value. A key may be as long as its event, and
//! a list as wide.

use crate::canonical_json::Json;

/// Longest key in a path, in characters.
const KEY_CHARS_MAX: usize = 60;
/// Longest path, in characters.
const PATH_CHARS_MAX: usize = 300;

impl<'a> Json<'a> {
    /// Returns the path of the first float at any depth; a long path is cut.
    pub fn first_float(&self, root: &str) -> Option<String> {
        self.place(&|value| matches!(value, Json::Float(_))).map(|(place, _)| path(root, place))
    }

    /// Returns the first string *value* for which `wanted` is true, and its path; a long path is cut.
    pub fn string_path(&self, root: &str, wanted: &impl Fn(&str) -> bool) -> Option<(String, &str)> {
        let (place, found) = self.place(&|value| value.as_str().is_some_and(wanted))?;
        Some((path(root, place), found.as_str()?))
    }

    /// Finds the first value that is neither list nor object and for which `wanted` is true. Its path has the last step
    /// first.
    fn place(&self, wanted: &impl Fn(&Json<'a>) -> bool) -> Found<'_, 'a> {
        match self {
            Json::Array(items) => {
                items.iter().enumerate().find_map(|(i, item)| behind(Step::Item(i), item.place(wanted)))
            }
            Json::Object(members) => {
                members.iter().find_map(|(key, value)| behind(Step::Member(key), value.place(wanted)))
            }
            value => wanted(value).then(|| (Vec::new(), value)),
        }
    }
}

/// A way into a value, from its last step back to the name at its start. It is written only when it is told.
#[derive(Clone, Copy)]
pub(crate) enum Way<'w> {
    /// The name at its start.
    Start(&'w str),
    /// An item of the list at the end of another way.
    Item(&'w Way<'w>, usize),
    /// A member of the object at the end of another way.
    Member(&'w Way<'w>, &'w str),
}

impl Way<'_> {
    /// Writes the way as a path; a long path is cut.
    pub(crate) fn path(&self) -> String {
        let (mut place, mut at) = (Vec::new(), self);
        loop {
            match at {
                Way::Start(root) => return path(root, place),
                Way::Item(before, index) => {
                    place.push(Step::Item(*index));
                    at = before;
                }
                Way::Member(before, key) => {
                    place.push(Step::Member(key));
                    at = before;
                }
            }
        }
    }
}

/// A path, its last step first, and the value at its end.
type Found<'j, 'a> = Option<(Vec<Step<'j>>, &'j Json<'a>)>;

fn behind<'j, 'a>(step: Step<'j>, found: Found<'j, 'a>) -> Found<'j, 'a> {
    let (mut place, value) = found?;
    place.push(step);
    Some((place, value))
}

/// One step into a value.
enum Step<'j> {
    Item(usize),
    Member(&'j str),
}

/// Writes the path as text.
fn path(root: &str, place: Vec<Step<'_>>) -> String {
    let mut path = root.to_owned();
    for step in place.into_iter().rev() {
        match step {
            Step::Item(index) => path.push_str(&format!("[{index}]")),
            Step::Member(key) => path.push_str(&format!(".{}", shown_key(key))),
        }
    }
    cut(&path, PATH_CHARS_MAX)
}

/// Returns a key as a path shows it.
pub(crate) fn shown_key(key: &str) -> String {
    cut(key, KEY_CHARS_MAX)
}

/// Returns the text, or its beginning.
fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical_json::DEPTH_MAX;
    use crate::json_reader::parse;

    #[test]
    fn a_place_is_told_in_few_words_however_long_the_keys_and_wide_the_lists() {
        let (key, items) = ("k".repeat(1_000_000), "\"x\",".repeat(300_000));
        let text = format!(r#"{{"{key}":[{items}1.5,"last"]}}"#);
        let value = parse(&text).expect("readable").value;
        let short = format!("payload.{}…", &key[..KEY_CHARS_MAX]);
        assert_eq!(value.first_float("payload"), Some(format!("{short}[300000]")));
        let last = value.string_path("payload", &|text| text == "last");
        assert_eq!(last, Some((format!("{short}[300001]"), "last")));
        let deep = format!("{}1.5{}", r#"{"key":"#.repeat(DEPTH_MAX), "}".repeat(DEPTH_MAX));
        let path = parse(&deep).expect("readable").value.first_float("payload").expect("a float");
        assert!(path.starts_with("payload.key.key") && path.chars().count() == PATH_CHARS_MAX + 1, "{path}");
    }
}
