//! `check`: everything in fixture files, each scenario in a store of its own, by catch-up and by rebuild.
//!
//! *Guarantees.* There is one line and one count per scenario or case, with its first difference. The last line is
//! `N passed, N failed`. An entry that cannot be read or run is a failure, never skipped.

pub mod finding;
pub mod queries;
pub mod rows;
pub mod stores;
pub mod trial;

use crate::bundle::{AppendCase, Bundle, Content, QueryScenario, Scenario};
use decisiongraph_projections::json_reader::parse;
use finding::{Checked, Finding};
use futures_util::{StreamExt as _, stream};
use std::io::Write;
use std::path::{Path, PathBuf};
use stores::Stores;
use trial::Trial;

/// Scenarios that are checked at the same time.
const CONCURRENT: usize = 4;

/// Files and settings of a check.
pub struct Request {
    /// The fixture files, in the order of the output.
    pub files: Vec<PathBuf>,
    /// Bundle in which the scenarios of query verdicts are sought first.
    pub bundle: Option<PathBuf>,
    /// Events per batch.
    pub batch_events: usize,
}

/// Counts of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Scenarios and cases that agree with the reference.
    pub passed: usize,
    /// All others, files that cannot be read included.
    pub failed: usize,
}

/// One scenario or case of one file.
enum Task<'a> {
    Scenario(&'a Scenario),
    Append(&'a AppendCase),
    Queries(&'a QueryScenario, Option<&'a Scenario>),
}

/// Checks everything. Writes one line per scenario or case, as soon as the lines before it are written.
pub async fn run(request: &Request, stores: &Stores, out: &mut dyn Write) -> std::io::Result<Counts> {
    let mut counts = Counts::default();
    let files: Vec<(&Path, anyhow::Result<Bundle>)> =
        request.files.iter().map(|path| (path.as_path(), Bundle::read(path))).collect();
    let given = request.bundle.as_deref().map(Bundle::read);
    if let Some(Err(error)) = &given {
        counts.failed += 1;
        writeln!(out, "FAIL  --bundle: {error:#}")?;
    }
    let beside: Vec<Bundle> = beside(&files);
    // Order of the search: --bundle, the other files, a bundle beside the file.
    let find = |name: &str| {
        let given = given.iter().flatten();
        let named = files.iter().filter_map(|(_, file)| file.as_ref().ok());
        given.chain(named).chain(&beside).find_map(|bundle| bundle.scenario(name))
    };
    for (path, file) in &files {
        let label =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let tasks: Vec<Task<'_>> = match file.as_ref().map(|file| &file.content) {
            Err(error) => {
                counts.failed += 1;
                writeln!(out, "FAIL  {label}: {error:#}")?;
                continue;
            }
            Ok(Content::Scenarios(all)) => all.iter().map(Task::Scenario).collect(),
            Ok(Content::Appends(all)) => all.iter().map(Task::Append).collect(),
            Ok(Content::Queries(all)) => all.iter().map(|of| Task::Queries(of, find(&of.name))).collect(),
        };
        if tasks.is_empty() {
            counts.failed += 1;
            writeln!(out, "FAIL  {label}: there is nothing in it to check")?;
        }
        // Every second rebuild writes into a partition of its own, so that both ways are held to the same digests.
        let checks = tasks
            .iter()
            .enumerate()
            .map(|(n, task)| async move { (task, check(task, stores, request.batch_events, n % 2 == 1).await) });
        let mut checked = stream::iter(checks).buffered(CONCURRENT);
        while let Some((task, outcome)) = checked.next().await {
            match outcome {
                Ok(()) => {
                    counts.passed += 1;
                    writeln!(out, "ok    {label} {task}")?;
                }
                Err(finding) => {
                    counts.failed += 1;
                    writeln!(out, "FAIL  {label} {task}: {finding}")?;
                }
            }
        }
    }
    writeln!(out, "{} passed, {} failed", counts.passed, counts.failed)?;
    out.flush()?;
    Ok(counts)
}

/// Reads the bundles that lie in the same directory as a file of query verdicts, by name.
fn beside(files: &[(&Path, anyhow::Result<Bundle>)]) -> Vec<Bundle> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for (path, file) in files {
        let Ok(Bundle { content: Content::Queries(_), .. }) = file else { continue };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        let json =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
        paths.extend(json);
    }
    paths.sort();
    paths.dedup();
    paths
        .iter()
        .filter_map(|path| Bundle::read(path).ok())
        .filter(|b| matches!(b.content, Content::Scenarios(_)))
        .collect()
}

async fn check(task: &Task<'_>, stores: &Stores, batch_events: usize, own_partition: bool) -> Checked {
    let fresh = stores.fresh().await?;
    let trial = Trial::new(fresh.store(), batch_events, own_partition);
    let outcome = compare(task, &trial).await;
    drop(trial);
    stores.take_back(fresh).await;
    outcome
}

async fn compare(task: &Task<'_>, trial: &Trial) -> Checked {
    match task {
        Task::Scenario(scenario) => {
            trial.append_all(&scenario.events).await?;
            trial.project_and_compare(&scenario.digests, Some(scenario)).await
        }
        Task::Append(case) => {
            trial.offer_each(&case.events, &case.verdicts).await?;
            Finding::equal("stored_events", &case.stored_events, &trial.stored_events().await?)?;
            trial.project_and_compare(&case.digests, None).await
        }
        Task::Queries(of, scenario) => {
            let Some(scenario) = scenario else {
                return Err(Finding::Failed(
                    "this scenario is in no bundle: not in --bundle, the other files or beside this one".to_owned(),
                ));
            };
            trial.append_all(&scenario.events).await?;
            for mode in [decisiongraph_store::RunMode::CatchUp, decisiongraph_store::RunMode::Rebuild] {
                trial.run(mode).await.map_err(|finding| finding.within(mode.as_str()))?;
                for (index, case) in of.queries.iter().enumerate() {
                    let args =
                        parse(&case.args).map_or_else(|_| case.args.clone(), |args| args.value.to_payload_form());
                    let name = format!("{}: queries[{index}] {} {args}", mode.as_str(), case.query);
                    queries::check(trial, case).await.map_err(|finding| finding.within(&name))?;
                }
            }
            Ok(())
        }
    }
}

impl std::fmt::Display for Task<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Task::Scenario(scenario) => write!(f, "{} ({} events)", scenario.name, scenario.events.len()),
            Task::Append(case) => write!(f, "{} ({} events offered)", case.name, case.events.len()),
            Task::Queries(of, _) => write!(f, "{} ({} queries)", of.name, of.queries.len()),
        }
    }
}
