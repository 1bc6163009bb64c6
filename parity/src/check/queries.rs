//! Compares answers to queries with the reference's answers.

use super::finding::{Checked, Finding};
use super::trial::Trial;
use crate::bundle::QueryCase;
use decisiongraph_engine::queries::{EdgesQuery, Freshness, SubgraphQuery, current_view, edges, precedents, subgraph};
use decisiongraph_projections::Category;
use decisiongraph_projections::canonical_json::Json;
use decisiongraph_projections::catalogue::{CONTEXT_GRAPH, PRECEDENT_INDEX, TRACE_SUMMARY};
use decisiongraph_projections::json_reader::parse;
use decisiongraph_store::{Direction, PrecedentFilter, PrecedentHit, StoreError};

/// Most pages of an edge listing that are followed: more than any fixture has. They end the loop for a cursor that does
/// not move.
const PAGES_MAX: usize = 10_000;

/// Asks one query of a projected scenario and compares the answer.
pub async fn check(trial: &Trial, case: &QueryCase) -> Checked {
    let read = |text: &'_ str| parse(text).map_err(|error| Finding::Failed(format!("the file: {error}"))).map(drop);
    read(&case.args)?;
    read(&case.expected)?;
    let (Ok(args), Ok(expected)) = (parse(&case.args), parse(&case.expected)) else { return Ok(()) };
    let args = Args(&args.value);
    let answer = match case.query.as_str() {
        "subgraph" => ask_subgraph(trial, &args).await,
        "edges" => ask_edges(trial, &args).await,
        "precedents" => ask_precedents(trial, &args).await,
        other => Err(Asked::Finding(Finding::Failed(format!("`{other}` is no query that this program knows")))),
    };
    let got = match answer {
        Ok(got) => got,
        Err(Asked::Finding(finding)) => return Err(finding),
        // The file expects an answer here: the whole error names more than its category.
        Err(Asked::Refused(error)) if expected.value.get("error").is_none() => return Err(error.into()),
        Err(Asked::Refused(error)) => object(vec![("error", Json::Str(error.category.as_str().to_owned().into()))]),
    };
    same("", &expected.value, &got)
}

/// Reason for which a query has no answer.
enum Asked {
    /// The program refused it.
    Refused(StoreError),
    /// The file asks for something unknown.
    Finding(Finding),
}

impl From<StoreError> for Asked {
    fn from(error: StoreError) -> Asked {
        Asked::Refused(error)
    }
}

impl From<Finding> for Asked {
    fn from(finding: Finding) -> Asked {
        Asked::Finding(finding)
    }
}

type Answer = Result<Json<'static>, Asked>;

async fn ask_subgraph(trial: &Trial, args: &Args<'_>) -> Answer {
    args.only(&["node_type", "node_id", "max_depth", "max_nodes", "max_edges", "node_types", "edge_types"])?;
    let around = SubgraphQuery::around(args.node()?);
    let query = SubgraphQuery {
        max_depth: args.int("max_depth")?.unwrap_or(around.max_depth),
        max_nodes: args.int("max_nodes")?.unwrap_or(around.max_nodes),
        max_edges: args.int("max_edges")?.unwrap_or(around.max_edges),
        node_types: args.texts("node_types")?,
        edge_types: args.texts("edge_types")?,
        ..around
    };
    let current = current_view(trial.engine(), trial.tenant(), &[CONTEXT_GRAPH], Freshness::default()).await?;
    let found = subgraph(&*current.view, trial.tenant(), current.generations[0], &query).await?;
    Ok(object(vec![
        ("edges", ids(found.edges.into_iter().map(|edge| edge.edge_id))),
        ("nodes", ids(found.nodes.into_iter().map(|node| node.node_id))),
        ("truncated", Json::Bool(found.truncated)),
    ]))
}

async fn ask_edges(trial: &Trial, args: &Args<'_>) -> Answer {
    args.only(&["node_type", "node_id", "direction", "limit", "cursor"])?;
    let direction = match args.text("direction")?.as_deref() {
        None | Some("both") => Direction::Both,
        Some("outgoing") => Direction::Outgoing,
        Some("incoming") => Direction::Incoming,
        Some(other) => {
            let message = format!("direction is outgoing, incoming or both, not {other}");
            return Err(StoreError::new(Category::InvalidArgument, message).into());
        }
    };
    let limit = args.int("limit")?.unwrap_or(100);
    let mut query = EdgesQuery { node_id: args.node()?, direction, cursor: args.text("cursor")?, limit };
    let current = current_view(trial.engine(), trial.tenant(), &[CONTEXT_GRAPH], Freshness::default()).await?;
    let mut pages = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = edges(&*current.view, trial.tenant(), current.generations[0], &query).await?;
        pages.push(ids(page.edges.into_iter().map(|edge| edge.edge_id)));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    Ok(object(vec![("pages", Json::Array(pages))]))
}

async fn ask_precedents(trial: &Trial, args: &Args<'_>) -> Answer {
    args.only(&["policy_id", "policy_version", "entity_type", "entity_id", "outcome", "limit"])?;
    let filter = PrecedentFilter {
        policy_id: args.text("policy_id")?,
        policy_version: args.text("policy_version")?,
        entity_type: args.text("entity_type")?,
        entity_id: args.text("entity_id")?,
        outcome: args.text("outcome")?,
        limit: args.int("limit")?.unwrap_or(100),
    };
    let projections = [TRACE_SUMMARY, PRECEDENT_INDEX];
    let current = current_view(trial.engine(), trial.tenant(), &projections, Freshness::default()).await?;
    let (summaries, index) = (current.generations[0], current.generations[1]);
    let hits = precedents(&*current.view, trial.tenant(), summaries, index, &filter).await?;
    Ok(object(vec![("hits", Json::Array(hits.items.into_iter().map(hit).collect()))]))
}

fn hit(hit: PrecedentHit) -> Json<'static> {
    let text = |text: String| Json::Str(text.into());
    let optional = |text: Option<String>| text.map_or(Json::Null, |text| Json::Str(text.into()));
    object(vec![
        ("trace_id", text(hit.trace_id)),
        ("workflow", text(hit.workflow)),
        ("title", text(hit.title)),
        ("outcome", text(hit.outcome)),
        ("finished_at", text(hit.finished_at)),
        ("last_log_seq", Json::Int(hit.last_log_seq.to_string().into())),
        ("primary_entity_type", optional(hit.primary_entity_type)),
        ("primary_entity_id", optional(hit.primary_entity_id)),
        ("policy_id", optional(hit.policy_id)),
        ("policy_version", optional(hit.policy_version)),
        ("exception_id", optional(hit.exception_id)),
    ])
}

fn ids(ids: impl Iterator<Item = String>) -> Json<'static> {
    Json::Array(ids.map(|id| Json::Str(id.into())).collect())
}

fn object(members: Vec<(&'static str, Json<'static>)>) -> Json<'static> {
    let mut members: Vec<_> = members.into_iter().map(|(key, value)| (key.into(), value)).collect();
    members.sort_by(|a: &(std::borrow::Cow<'static, str>, _), b| a.0.cmp(&b.0));
    Json::Object(members)
}

/// Finds the first difference. Of an object, only the members that the file names are compared.
fn same(path: &str, expected: &Json<'_>, got: &Json<'_>) -> Checked {
    match (expected, got) {
        (Json::Object(members), Json::Object(_)) => members.iter().try_for_each(|(key, expected)| {
            let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
            match got.get(key) {
                Some(got) => same(&path, expected, got),
                None => Finding::equal(path, &expected.to_payload_form(), "nothing"),
            }
        }),
        (Json::Array(expected), Json::Array(got)) => {
            for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
                same(&format!("{path}[{index}]"), expected, got)?;
            }
            Finding::equal(format_args!("number of {path}"), &expected.len(), &got.len())
        }
        _ => Finding::equal(path, &expected.to_payload_form(), &got.to_payload_form()),
    }
}

/// The arguments of a query.
struct Args<'a>(&'a Json<'a>);

impl Args<'_> {
    /// Refuses arguments that would be ignored.
    fn only(&self, known: &[&str]) -> Checked {
        let Json::Object(members) = self.0 else {
            return Err(Finding::Failed(format!("args of the file is an object, not {}", self.0.kind())));
        };
        match members.iter().find(|(key, value)| *value != Json::Null && !known.contains(&key.as_ref())) {
            Some((key, _)) => Err(Finding::Failed(format!("`{key}` is no argument that this program knows"))),
            None => Ok(()),
        }
    }

    fn text(&self, key: &str) -> Checked<Option<String>> {
        match self.0.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Str(text)) => Ok(Some(text.clone().into_owned())),
            Some(other) => Err(Finding::Failed(format!("args.{key} of the file is a string, not {}", other.kind()))),
        }
    }

    fn int(&self, key: &str) -> Checked<Option<i64>> {
        match self.0.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Int(digits)) => match digits.parse() {
                Ok(int) => Ok(Some(int)),
                Err(_) => Err(Finding::Failed(format!("args.{key} of the file does not fit in 64 bits"))),
            },
            Some(other) => Err(Finding::Failed(format!("args.{key} of the file is an integer, not {}", other.kind()))),
        }
    }

    fn texts(&self, key: &str) -> Checked<Option<Vec<String>>> {
        let wrong = || Finding::Failed(format!("args.{key} of the file is a list of strings"));
        match self.0.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .map(Some)
                .ok_or_else(wrong),
            Some(_) => Err(wrong()),
        }
    }

    /// Returns `{node_type}:{node_id}`, or the id alone when no type is given.
    fn node(&self) -> Checked<String> {
        let id =
            self.text("node_id")?.ok_or_else(|| Finding::Failed("args.node_id of the file is missing".to_owned()))?;
        Ok(match self.text("node_type")? {
            Some(node_type) => format!("{node_type}:{id}"),
            None => id,
        })
    }
}
