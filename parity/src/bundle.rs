//! The three fixture formats, distinguished by their `format` member: scenarios with rows and digests, append verdicts,
//! query verdicts.
//!
//! *Guarantees:* an event is kept as the very text of the file. *Never:* guesses; an unknown format or version is an
//! error.

use crate::skim;
use anyhow::{Context as _, Result, anyhow, bail};
use decisiongraph_projections::canonical_json::Json;
use decisiongraph_projections::json_reader::parse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Version of the formats that this program reads.
pub const VERSION: &str = "1";
/// `format` of a file of [`Scenario`]s.
pub const REFERENCE_FIXTURE_BUNDLE: &str = "decisiongraph.reference_fixture_bundle";
/// `format` of a file of [`AppendCase`]s.
pub const APPEND_VERDICTS: &str = "decisiongraph.append_verdicts";
/// `format` of a file of [`QueryScenario`]s.
pub const QUERY_VERDICTS: &str = "decisiongraph.query_verdicts";

/// A fixture file.
#[derive(Debug)]
pub struct Bundle {
    /// Path of the file.
    pub path: PathBuf,
    /// Content of the file.
    pub content: Content,
}

/// Content of a fixture file.
#[derive(Debug)]
pub enum Content {
    /// Rows and digests.
    Scenarios(Vec<Scenario>),
    /// Verdict of each event, then digests.
    Appends(Vec<AppendCase>),
    /// Answers of queries, over scenarios of other files.
    Queries(Vec<QueryScenario>),
}

/// Digests that a scenario names, by `context_graph`, …, `full_projection`.
pub type ExpectedDigests = BTreeMap<String, String>;

/// A history with all its results.
#[derive(Debug)]
pub struct Scenario {
    /// Name of the scenario in its file.
    pub name: String,
    /// Trace of its `trace_summary`.
    pub trace_id: Option<String>,
    /// Events, each as the text of the file.
    pub events: Vec<String>,
    /// Digests of the reference.
    pub digests: ExpectedDigests,
    /// Rows of the reference, as text.
    pub snapshot: Option<String>,
}

/// Events that are offered one by one.
#[derive(Debug)]
pub struct AppendCase {
    /// Name of the case.
    pub name: String,
    /// Events, each as the text of the file.
    pub events: Vec<String>,
    /// `accepted` or the category of the refusal, one per event.
    pub verdicts: Vec<String>,
    /// Number of events in the log afterwards.
    pub stored_events: u64,
    /// Digests of the accepted events.
    pub digests: ExpectedDigests,
}

/// Queries over one scenario.
#[derive(Debug)]
pub struct QueryScenario {
    /// Name of the scenario.
    pub name: String,
    /// Queries over the scenario.
    pub queries: Vec<QueryCase>,
}

/// One query and its answer.
#[derive(Debug)]
pub struct QueryCase {
    /// `subgraph`, `edges`, `precedents`.
    pub query: String,
    /// Arguments of the query, as text.
    pub args: String,
    /// Answer to the query, as text.
    pub expected: String,
}

impl Bundle {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Bundle> {
        let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let text = String::from_utf8(bytes)
            .map_err(|error| anyhow!("{} is not UTF-8 at byte {}", path.display(), error.utf8_error().valid_up_to()))?;
        let content = content(&text).with_context(|| path.display().to_string())?;
        Ok(Bundle { path: path.to_owned(), content })
    }

    /// Finds the scenario with this name, if this is a file of scenarios that has it.
    pub fn scenario(&self, name: &str) -> Option<&Scenario> {
        match &self.content {
            Content::Scenarios(scenarios) => scenarios.iter().find(|scenario| scenario.name == name),
            _ => None,
        }
    }
}

fn content(text: &str) -> Result<Content> {
    let file = Object::of(text)?;
    let format = file.text("format")?;
    let known = [REFERENCE_FIXTURE_BUNDLE, APPEND_VERDICTS, QUERY_VERDICTS];
    if !known.contains(&format.as_str()) {
        bail!("`format` is \"{format}\"; this program reads {}", known.join(", "));
    }
    match file.raw("version")? {
        VERSION => {}
        other => bail!("`version` of {format} is {other}; this program reads {VERSION}"),
    }
    Ok(match format.as_str() {
        REFERENCE_FIXTURE_BUNDLE => Content::Scenarios(file.list("scenarios", scenario)?),
        APPEND_VERDICTS => Content::Appends(file.list("cases", append_case)?),
        _ => Content::Queries(file.list("scenarios", query_scenario)?),
    })
}

fn scenario(object: &Object<'_>) -> Result<Scenario> {
    let name = object.text("scenario")?;
    let read = || -> Result<_> {
        Ok(Scenario {
            name: name.clone(),
            trace_id: object.find("trace_id").map(text_of).transpose()?.flatten(),
            events: owned(skim::items(object.raw("events")?)?),
            digests: digests(object)?,
            snapshot: object.find("projection_snapshot").map(str::to_owned),
        })
    };
    read().with_context(|| format!("scenario {name}"))
}

fn append_case(object: &Object<'_>) -> Result<AppendCase> {
    let name = object.text("case")?;
    let read = || -> Result<_> {
        let events = owned(skim::items(object.raw("events")?)?);
        let verdicts = skim::items(object.raw("verdicts")?)?
            .into_iter()
            .map(|verdict| text_of(verdict)?.context("a verdict is a string"))
            .collect::<Result<Vec<_>>>()?;
        if verdicts.len() != events.len() {
            bail!("{} events, but {} verdicts", events.len(), verdicts.len());
        }
        let stored_events = object.raw("stored_events")?.parse().context("`stored_events` is a count")?;
        Ok(AppendCase { name: name.clone(), events, verdicts, stored_events, digests: digests(object)? })
    };
    read().with_context(|| format!("case {name}"))
}

fn query_scenario(object: &Object<'_>) -> Result<QueryScenario> {
    let name = object.text("scenario")?;
    let read = || -> Result<_> {
        let queries = object.list("queries", |query| {
            Ok(QueryCase {
                query: query.text("query")?,
                args: query.raw("args")?.to_owned(),
                expected: query.raw("expected")?.to_owned(),
            })
        })?;
        Ok(QueryScenario { name: name.clone(), queries })
    };
    read().with_context(|| format!("scenario {name}"))
}

fn digests(object: &Object<'_>) -> Result<ExpectedDigests> {
    let digests: ExpectedDigests = skim::members(object.raw("expected_digests")?)?
        .into_iter()
        .map(|(key, value)| Ok((key, text_of(value)?.context("a digest is a string")?)))
        .collect::<Result<_>>()?;
    if digests.is_empty() {
        bail!("`expected_digests` is empty: there is nothing to check against");
    }
    Ok(digests)
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

/// Reads the string, or none for null.
fn text_of(text: &str) -> Result<Option<String>> {
    match parse(text)?.value {
        Json::Str(text) => Ok(Some(text.into_owned())),
        Json::Null => Ok(None),
        other => bail!("a string is wanted, not {}", other.kind()),
    }
}

/// An object whose members are still text.
struct Object<'a> {
    members: Vec<(String, &'a str)>,
}

impl<'a> Object<'a> {
    fn of(text: &'a str) -> Result<Object<'a>> {
        Ok(Object { members: skim::members(text)? })
    }

    /// Finds a member by key. The last member of a repeated key wins.
    fn find(&self, key: &str) -> Option<&'a str> {
        self.members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    fn raw(&self, key: &str) -> Result<&'a str> {
        self.find(key).with_context(|| format!("`{key}` is missing"))
    }

    fn text(&self, key: &str) -> Result<String> {
        text_of(self.raw(key)?)?.with_context(|| format!("`{key}` is null"))
    }

    fn list<T>(&self, key: &str, read: impl Fn(&Object<'a>) -> Result<T>) -> Result<Vec<T>> {
        let items = skim::items(self.raw(key)?).with_context(|| format!("`{key}`"))?;
        items.into_iter().map(|item| read(&Object::of(item)?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_as_it_is_written() {
        let event = r#"{"payload": {"x": 1.50, "y":"\ud800", "z": NaN} }"#;
        let text = format!(
            r#"{{"format":"{APPEND_VERDICTS}","version":1,"cases":[{{"case":"c","events":[{event}],"verdicts":["invalid_argument"],"stored_events":0,"expected_digests":{{"context_graph":"sha256:0"}}}}]}}"#
        );
        let Content::Appends(cases) = content(&text).expect("reads") else { panic!("append verdicts") };
        assert_eq!(cases[0].events, [event]);
    }

    #[test]
    fn what_is_unknown_is_said() {
        let error = |text: &str| format!("{:#}", content(text).expect_err(text));
        assert_eq!(error("{}"), "`format` is missing");
        assert!(
            error(r#"{"format":"x","version":1}"#).starts_with("`format` is \"x\"; this program reads decisiongraph.")
        );
        let newer = format!(r#"{{"format":"{QUERY_VERDICTS}","version":2,"scenarios":[]}}"#);
        assert_eq!(error(&newer), format!("`version` of {QUERY_VERDICTS} is 2; this program reads 1"));
        let torn = format!(r#"{{"format":"{QUERY_VERDICTS}","version":1,"scenarios":[}}"#);
        assert!(error(&torn).starts_with("not JSON"), "{}", error(&torn));
        let uneven = format!(
            r#"{{"format":"{APPEND_VERDICTS}","version":1,"cases":[{{"case":"c","events":[],"verdicts":["accepted"],"stored_events":0,"expected_digests":{{"x":"y"}}}}]}}"#
        );
        assert_eq!(error(&uneven), "case c: 0 events, but 1 verdicts");
    }
}
