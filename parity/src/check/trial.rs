//! Brings a scenario into a store and projects it twice: by catch-up, then by a rebuild beside it.

use super::finding::{Checked, Finding};
use super::rows::{compare, compare_row, rows_of};
use crate::bundle::{ExpectedDigests, Scenario};
use decisiongraph_engine::{Control, Engine, EngineConfig, RunReport, RunRequest};
use decisiongraph_projections::canonical_json::Json;
use decisiongraph_projections::catalogue::{self, CONTEXT_GRAPH, PRECEDENT_INDEX, TRACE_SUMMARY};
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::digest::reference::{Writer, full_projection};
use decisiongraph_projections::event::Line;
use decisiongraph_projections::json_reader::parse;
use decisiongraph_projections::validation::admit_under;
use decisiongraph_projections::{Admitted, Category, LogSeq, Projection, Refusal, Row, TenantId};
use decisiongraph_store::{
    AppendMode, Generation, Owner, ReadView, RunMode, RunState, Scope, ScopeRow, Store, Verdict, digest_of_rows,
};
use std::sync::Arc;
use uuid::Uuid;

/// A scenario's store and the engine that projects it.
pub struct Trial {
    store: Arc<dyn Store>,
    tenant: TenantId,
    engine: Engine,
}

/// Reads and checks an event as an append under the reference's credential guard would.
pub fn read(event: &str) -> Result<Admitted, Refusal> {
    admit_under(CredentialGuard::Reference, Line::parse(event)?.draft)
}

impl Trial {
    /// Creates an engine for this store. With `own_partition`, rebuilds write into a partition of their own.
    pub fn new(store: &Arc<dyn Store>, batch_events: usize, own_partition: bool) -> Trial {
        let config = EngineConfig {
            batch_events_max: batch_events,
            own_partition_events: if own_partition { 1 } else { u64::MAX },
            // Small enough that a scenario of a few dozen events passes some checkpoints.
            checkpoint_events: 10,
            ..EngineConfig::default()
        };
        let owner = Owner { node: "parity".to_owned(), incarnation: Uuid::new_v4() };
        Trial {
            store: Arc::clone(store),
            tenant: TenantId::default(),
            engine: Engine::new(Arc::clone(store), owner, config),
        }
    }

    /// Returns the store.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the tenant of the log.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Offers events one after the other and compares each verdict; a refused event is left out.
    pub async fn offer_each(&self, events: &[String], expected: &[String]) -> Checked {
        for (index, (event, expected)) in events.iter().zip(expected).enumerate() {
            let verdict = match read(event) {
                Ok(admitted) => {
                    let verdicts = self.store.append(&self.tenant, &[admitted], AppendMode::Each).await?;
                    let [verdict] = verdicts.as_slice() else {
                        return Err(Finding::Failed(format!("events[{index}] got {} verdicts", verdicts.len())));
                    };
                    word(verdict)
                }
                Err(refusal) => refusal.category.as_str(),
            };
            Finding::equal(format_args!("verdicts[{index}]"), expected.as_str(), verdict)?;
        }
        Ok(())
    }

    /// Appends events that must all be stored.
    pub async fn append_all(&self, events: &[String]) -> Checked {
        let mut admitted = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            let refused = |refusal: Refusal| Finding::Failed(format!("events[{index}] is refused: {refusal}"));
            admitted.push(read(event).map_err(refused)?);
        }
        let verdicts = self.store.append(&self.tenant, &admitted, AppendMode::AllOrNothing).await?;
        let mut unwelcome = verdicts.iter().enumerate();
        match unwelcome.find(|(_, verdict)| !matches!(verdict, Verdict::Accepted { .. } | Verdict::NotStored)) {
            Some((index, Verdict::Refused(refusal))) => {
                Err(Finding::Failed(format!("events[{index}] is refused: {refusal}")))
            }
            Some((index, _)) => Err(Finding::Failed(format!("events[{index}] repeats an earlier one"))),
            None => Ok(()),
        }
    }

    /// Counts the events in the log.
    pub async fn stored_events(&self) -> Checked<u64> {
        let view = self.store.view().await?;
        let last = view.last_log_seq(&self.tenant, None).await?;
        Ok(view.count_events(&self.tenant, LogSeq::ORIGIN, last, u64::MAX >> 2).await?)
    }

    /// Runs a job over all projections to its end.
    pub async fn run(&self, mode: RunMode) -> Checked<RunReport> {
        let request = RunRequest {
            tenant: self.tenant.clone(),
            projections: catalogue::ALL.to_vec(),
            mode,
            until: None,
            cause: Default::default(),
            verify: Default::default(),
        };
        let report = self.engine.run(&request, &Control::default()).await?;
        if let Some(failure) = report.scopes.iter().find_map(|scope| scope.failure.as_ref()) {
            return Err(Finding::Failed(format!(
                "{} stopped at log_seq {}: {}: {}",
                failure.projection, failure.log_seq, failure.category, failure.message
            )));
        }
        Finding::equal("state of the run", RunState::Completed.as_str(), report.run.state.as_str())?;
        Ok(report)
    }

    /// Projects by catch-up and by rebuild. Compares rows, then digests, then the two rolling digests with each other.
    pub async fn project_and_compare(&self, digests: &ExpectedDigests, scenario: Option<&Scenario>) -> Checked {
        let mut before: Vec<(Generation, String)> = Vec::new();
        for mode in [RunMode::CatchUp, RunMode::Rebuild] {
            let within = |finding: Finding| finding.within(mode.as_str());
            let report = self.run(mode).await.map_err(within)?;
            let seen = self.compare(digests, scenario).await.map_err(within)?;
            for (projection, ((generation, digest), old)) in catalogue::ALL.iter().zip(seen.iter().zip(&before)) {
                let name = projection.name();
                Finding::equal(
                    format_args!("rebuild: {name}: rolling digest of catch-up and rebuild"),
                    &old.1,
                    digest,
                )?;
                if *generation == old.0 {
                    return Err(Finding::Failed(format!("rebuild: {name} has still generation {generation}")));
                }
            }
            for scope in &report.scopes {
                if let Some(rebuild) = scope.rebuild.as_ref() {
                    let path = format!("rebuild: {}: digest at {}", scope.projection, rebuild.old_cursor);
                    // No other process moves the live generation here, so the rebuild must have compared them.
                    let there = rebuild.new_digest_there.as_deref().unwrap_or("not compared");
                    Finding::equal(path, &rebuild.old_digest, there)?;
                }
            }
            before = seen;
        }
        Ok(())
    }

    /// Compares the content of the store with the file. Returns each projection's generation and rolling digest.
    async fn compare(
        &self,
        digests: &ExpectedDigests,
        scenario: Option<&Scenario>,
    ) -> Checked<Vec<(Generation, String)>> {
        let view = self.store.snapshot().await?;
        let mut found = Vec::new();
        let mut seen = Vec::new();
        let mut tables: Vec<(&'static str, Vec<Row>)> = Vec::new();
        let mut cursors = Vec::new();
        for projection in catalogue::ALL {
            let Some(scope) = self.scope(&*view, projection).await? else {
                let none: Vec<Vec<Row>> = projection.tables().iter().map(|_| Vec::new()).collect();
                found.extend(reference_digest(projection, &none));
                tables.extend(projection.tables().iter().map(|table| (table.name, Vec::new())));
                cursors.push((projection.name(), LogSeq::ORIGIN));
                continue;
            };
            let mut of_projection = Vec::new();
            for (index, table) in projection.tables().iter().enumerate() {
                of_projection.push(rows_of(&*view, &self.tenant, projection, scope.generation, index).await?);
                tables.push((table.name, of_projection[index].clone()));
            }
            found.extend(reference_digest(projection, &of_projection));
            let stored = scope.position.digest.to_text();
            let recomputed = digest_of_rows(&*view, &self.tenant, projection, scope.generation).await?.to_text();
            Finding::equal(format_args!("{}: stored rolling digest", projection.name()), &recomputed, &stored)?;
            seen.push((scope.generation, stored));
            cursors.push((projection.name(), scope.position.cursor));
        }
        // Rows first: when both differ, the row shows more than a digest.
        if let Some((scenario, snapshot)) = scenario.and_then(|scenario| Some((scenario, scenario.snapshot.as_ref()?)))
        {
            compare_snapshot(scenario, snapshot, &tables, &cursors)?;
        }
        let full = full_projection(found.iter().map(|(_, digest)| digest.as_str()));
        found.push(("full_projection", full));
        for (name, expected) in digests {
            match found.iter().find(|(found, _)| found == name) {
                Some((_, digest)) => Finding::equal(format_args!("expected_digests.{name}"), expected, digest)?,
                None => {
                    return Err(Finding::Failed(format!(
                        "expected_digests.{name} is no digest that this program knows"
                    )));
                }
            }
        }
        Ok(seen)
    }

    /// Reads the scope's row. A job over a log without events makes none; over any other log it must exist.
    async fn scope(&self, view: &dyn ReadView, projection: &dyn Projection) -> Checked<Option<ScopeRow>> {
        let scope = view.scope(&Scope::new(&self.tenant, projection)).await?;
        if scope.is_none() && self.stored_events().await? > 0 {
            return Err(Finding::Failed(format!("{} has no scope after a run", projection.name())));
        }
        Ok(scope)
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted { .. } | Verdict::Repeated { .. } => "accepted",
        Verdict::Refused(refusal) => refusal.category.as_str(),
        Verdict::NotStored => Category::Internal.as_str(),
    }
}

/// Computes the reference digest under the projection's name; none when the reference has no such projection.
fn reference_digest(projection: &dyn Projection, tables: &[Vec<Row>]) -> Option<(&'static str, String)> {
    let form = projection.reference_form()?;
    let mut writer = Writer::new(form);
    for _ in form {
        let section = writer.section();
        tables[section.table].iter().for_each(|row| writer.row(row));
    }
    Some((projection.name(), writer.finish()))
}

fn compare_snapshot(
    scenario: &Scenario,
    snapshot: &str,
    tables: &[(&'static str, Vec<Row>)],
    cursors: &[(&'static str, LogSeq)],
) -> Checked {
    let snapshot = match parse(snapshot) {
        Ok(parsed) => parsed.value,
        Err(error) => return Err(Finding::Failed(format!("projection_snapshot of the file is {error}"))),
    };
    let Json::Object(members) = &snapshot else {
        return Err(Finding::Failed(format!("projection_snapshot of the file is an object, not {}", snapshot.kind())));
    };
    let [nodes, edges] = CONTEXT_GRAPH.tables() else { return Err(Finding::Failed("two tables".to_owned())) };
    let [evaluations, precedents] = PRECEDENT_INDEX.tables() else {
        return Err(Finding::Failed("two tables".to_owned()));
    };
    let [summaries] = TRACE_SUMMARY.tables() else { return Err(Finding::Failed("one table".to_owned())) };
    let rows = |name: &str| tables.iter().find(|(table, _)| *table == name).map_or(&[][..], |(_, rows)| rows);
    for (name, value) in members {
        match name.as_ref() {
            "context_graph" => {
                let Json::Object(parts) = value else {
                    return Err(Finding::Failed("context_graph of the file is an object".to_owned()));
                };
                for (part, value) in parts {
                    let path = format!("context_graph.{part}");
                    match part.as_ref() {
                        "nodes" => compare(&path, nodes, value, rows(nodes.name))?,
                        "edges" => compare(&path, edges, value, rows(edges.name))?,
                        "node_count" => Finding::equal(path, &value.to_payload_form(), &rows(nodes.name).len())?,
                        "edge_count" => Finding::equal(path, &value.to_payload_form(), &rows(edges.name).len())?,
                        _ => return Err(unknown(&path)),
                    }
                }
            }
            "trace_summaries" => compare(name, summaries, value, rows(summaries.name))?,
            "trace_summary" => {
                // The row of the scenario's own trace; if the scenario names none, of the trace that the file's row
                // names.
                let own = scenario.trace_id.as_deref().or_else(|| value.get("trace_id").and_then(Json::as_str));
                let row = rows(summaries.name).iter().find(|row| Some(row.key()) == own);
                match (value, row) {
                    (Json::Null, None) => {}
                    (Json::Null, Some(row)) => Finding::equal(name, "null", row.key())?,
                    (value, Some(row)) => compare_row(name, summaries, value, row)?,
                    (value, None) => Finding::equal(name, &value.to_payload_form(), "no such row")?,
                }
            }
            "policy_eval_index" => compare(name, evaluations, value, rows(evaluations.name))?,
            "precedent_index" => compare(name, precedents, value, rows(precedents.name))?,
            "projection_cursor" => {
                for (projection, cursor) in cursors {
                    Finding::equal(
                        format_args!("projection_cursor of {projection}"),
                        &value.to_payload_form(),
                        cursor,
                    )?;
                }
            }
            _ => return Err(unknown(name)),
        }
    }
    Ok(())
}

fn unknown(path: &str) -> Finding {
    Finding::Failed(format!("projection_snapshot.{path} is nothing that this program knows how to compare"))
}
