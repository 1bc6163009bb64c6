//! What a job tells: while it runs ([`Progress`]) and at its end ([`RunReport`]).

use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_records::{Failure, Generation, Run, RunMode, Skip};
use serde::{Deserialize, Serialize};

/// Where a running job stands. Sent at each batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it does.
    pub mode: RunMode,
    /// The projection it works on.
    pub projection: String,
    /// Position reached.
    pub cursor: LogSeq,
    /// Position it works towards.
    pub target: LogSeq,
    /// Events applied so far, over all projections.
    pub events: u64,
}

/// What a job did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The job as stored at its end.
    pub run: Run,
    /// Per projection that was reached.
    pub scopes: Vec<ScopeReport>,
}

impl RunReport {
    /// What the row of an ended job says of it.
    pub fn stored(run: Run) -> RunReport {
        let scopes = recorded(&run).unwrap_or_default();
        RunReport { run, scopes }
    }

    /// Whether a verify found drift.
    pub fn drifted(&self) -> bool {
        self.scopes.iter().any(|scope| scope.verify.as_ref().is_some_and(|verify| verify.drifted))
    }
}

/// What an ended job found, as its row says; none when it recorded nothing that this program can read.
pub fn recorded(run: &Run) -> Option<Vec<ScopeReport>> {
    serde_json::from_str(run.report.as_deref()?).ok()
}

/// What a verify found, in a few words; none for other jobs, and for one that compared nothing.
pub fn verdict(run: &Run, scopes: &[ScopeReport]) -> Option<String> {
    let compared: Vec<&VerifyFacts> = scopes.iter().filter_map(|scope| scope.verify.as_ref()).collect();
    if run.mode != RunMode::Verify || compared.is_empty() {
        return None;
    }
    let found = match compared.iter().filter(|facts| facts.drifted).count() {
        0 => "no drift".to_owned(),
        drifted => format!("drift in {drifted} of {}", compared.len()),
    };
    Some(match compared.iter().map(|facts| facts.skipped_total).sum::<u64>() {
        0 => found,
        1 => format!("{found}, 1 skip"),
        skips => format!("{found}, {skips} skips"),
    })
}

/// What a job did to one projection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopeReport {
    /// Which.
    pub projection: String,
    /// Cursor at its start (a resumed rebuild: where it went on).
    pub from: LogSeq,
    /// Cursor at its end.
    pub cursor: LogSeq,
    /// Where it wanted to get.
    pub target: LogSeq,
    /// Events read and applied.
    pub events: u64,
    /// Batches committed.
    pub batches: u64,
    /// Wall time, seconds.
    pub seconds: f64,
    /// The live generation at its end.
    pub generation: Generation,
    /// The rolling digest at `cursor`.
    pub digest: String,
    /// The event that stopped it.
    pub failure: Option<Failure>,
    /// Rebuild only.
    pub rebuild: Option<RebuildFacts>,
    /// This rebuild had flipped to `generation` before it was interrupted: nothing was left to do, and what it found then is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flipped_before: bool,
    /// Verify only.
    pub verify: Option<VerifyFacts>,
}

/// What a rebuild found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildFacts {
    /// The generation that was live before.
    pub old_generation: Generation,
    /// Where that one stood.
    pub old_cursor: LogSeq,
    /// Its digest there.
    pub old_digest: String,
    /// The new generation's digest at that same position; none when the live one moved on meanwhile and was overtaken.
    pub new_digest_there: Option<String>,
    /// Whether the two are equal: the log gives the digest that was stored.
    pub equal: Option<bool>,
}

/// What a verify found at one cursor, in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyFacts {
    /// The stored digest.
    pub stored: String,
    /// Recomputed from the live rows.
    pub from_rows: String,
    /// Recomputed from the log.
    pub from_log: String,
    /// Whether any of the three differ, or any row does.
    pub drifted: bool,
    /// The first rows that differ, in the order of their row keys, at most [`DRIFT_ROWS_MAX`].
    pub first: Vec<DriftRow>,
    /// Whether there are more.
    pub more: bool,
    /// Events up to the cursor that are skipped: they were left out of what the log gives. The first of them, at most [`SKIPS_NAMED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skip>,
    /// How many there are.
    #[serde(default)]
    pub skipped_total: u64,
}

/// Most skips that a verify names.
pub const SKIPS_NAMED_MAX: usize = 20;

/// Most rows that a drift report names.
pub const DRIFT_ROWS_MAX: usize = 20;

/// A row, or one column of it, that is not what the log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRow {
    /// The table.
    pub table: String,
    /// The row's canonical key.
    pub key: String,
    /// The column; none when the whole row is missing or too many.
    pub column: Option<String>,
    /// What is in the live row; none when null, or when the row is missing.
    pub live: Option<String>,
    /// What the log says; none when null, or when there should be no such row.
    pub log: Option<String>,
    /// In one word: `differs`, `missing` or `extra`.
    pub kind: String,
}

/// What meeting a failure again gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReplay {
    /// Whether the same event failed again, for a reason of the same category.
    pub reproduced: bool,
    /// The event that failed now; none when the batch is sound.
    pub log_seq: Option<LogSeq>,
    /// Of what now failed.
    pub category: Option<Category>,
    /// Of what now failed.
    pub message: Option<String>,
    /// Whether the state that the batch was folded over has the digest that was recorded with the failure.
    pub digest_before_matches: bool,
    /// Where that state came from: `live rows` or `log from the origin`.
    pub source: String,
    /// Events read, with those on the way to the batch.
    pub events: u64,
}
