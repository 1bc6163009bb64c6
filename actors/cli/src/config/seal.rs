//! Settings of the sealed log: key, name, journal, places, pace.

use decisiongraph_engine::seal::SealSettings;
use decisiongraph_projections::seal::texts::is_origin;
use std::path::PathBuf;

/// Words for the moment from which a checkpoint may be signed: at the commit, or once every standby has it.
pub const PUBLISH_WORDS: [&str; 2] = ["commit", "standby"];

/// Begin of every origin where no other is configured.
pub const SEAL_NAME: &str = "decisiongraph.local";
/// Directory of the journal, in the data directory.
pub const SEAL_DIR: &str = "seal";
/// Key of the embedded default, in the data directory.
pub const SEAL_KEY: &str = "seal.key";

/// Settings of the sealed log.
#[derive(Debug, Clone)]
pub struct SealConfig {
    /// File with the key that signs; none without a key of the operator's.
    pub key_file: Option<PathBuf>,
    /// Beginning of every origin.
    pub name: String,
    /// Directory of the journal; empty for the one in the data directory.
    pub dir: PathBuf,
    /// Other places, with commas between them.
    pub places: Option<String>,
    /// `commit` or `standby`.
    pub publish_after: String,
    /// Pace and bounds.
    pub settings: SealSettings,
}

impl Default for SealConfig {
    fn default() -> SealConfig {
        SealConfig {
            key_file: None,
            name: SEAL_NAME.to_owned(),
            dir: PathBuf::new(),
            places: None,
            publish_after: PUBLISH_WORDS[0].to_owned(),
            settings: SealSettings::default(),
        }
    }
}

impl SealConfig {
    /// Returns the settings with everything that words and texts say.
    pub fn settings(&self) -> SealSettings {
        SealSettings { after_standby: self.publish_after == PUBLISH_WORDS[1], ..self.settings.clone() }
    }

    /// Lists the places.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let named = self.places.as_deref().unwrap_or_default().split(',').map(str::trim);
        named.filter(|place| !place.is_empty())
    }

    /// Reports a name with which no origin can begin.
    pub fn name_fault(&self) -> Option<String> {
        let name = &self.name;
        (!is_origin(&format!("{name}/0"))).then(|| {
            format!("seal_name: `{name}` is not a name such as decisions.example.com: it has neither spaces nor `+`")
        })
    }
}

/// A place that the configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedPlace<'a> {
    /// A directory with an append-only file per log.
    Folder(&'a str),
    /// A directory with a file per note.
    Objects(&'a str),
    /// A service, with its whole address.
    Https(&'a str),
}

impl<'a> NamedPlace<'a> {
    /// Reads the name of a place.
    pub fn parse(text: &'a str) -> Option<NamedPlace<'a>> {
        let path = |word: &str| text.strip_prefix(word).filter(|path| !path.is_empty());
        if let Some(path) = path("dir:") {
            return Some(NamedPlace::Folder(path));
        }
        if let Some(path) = path("objects:") {
            return Some(NamedPlace::Objects(path));
        }
        path("https://").map(|_| NamedPlace::Https(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_by_their_kind_and_others_are_refused() {
        assert_eq!(NamedPlace::parse("dir:/seals"), Some(NamedPlace::Folder("/seals")));
        assert_eq!(NamedPlace::parse("objects:worm"), Some(NamedPlace::Objects("worm")));
        assert_eq!(NamedPlace::parse("https://h/x"), Some(NamedPlace::Https("https://h/x")));
        for wrong in ["", "dir:", "/seals", "http://h/x", "https://", "s3://bucket"] {
            assert_eq!(NamedPlace::parse(wrong), None, "{wrong}");
        }
        let config = SealConfig { places: Some(" dir:/a, objects:/b ,,".to_owned()), ..SealConfig::default() };
        assert!(config.places().eq(["dir:/a", "objects:/b"]));
        assert!(SealConfig::default().places().next().is_none());
    }

    #[test]
    fn a_name_that_no_origin_can_begin_with_is_a_fault() {
        assert_eq!(SealConfig::default().name_fault(), None);
        for name in ["a b", "a+b", "decisiongraph"] {
            assert!(SealConfig { name: name.to_owned(), ..SealConfig::default() }.name_fault().is_some(), "{name}");
        }
        let standby = SealConfig { publish_after: "standby".to_owned(), ..SealConfig::default() };
        assert!(standby.settings().after_standby && !SealConfig::default().settings().after_standby);
    }
}
