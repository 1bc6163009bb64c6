//! The guided tour: a decision log goes in and the projections come out. A rebuild and a verify prove them.
//!
//! *Guarantees.* Everything shown is a real answer of the program on a real store. The tour ends with exit code 1 if a
//! proof fails.

use crate::commands::subgraph::text as graph_table;
use crate::commands::{Context, precedents, trace};
use crate::graph_text::{dot, mermaid};
use crate::interrupt;
use crate::output::{digest_short, number};
use crate::page::Page;
use crate::session::{Access, Location};
use decisiongraph_admin::answer;
use decisiongraph_cli::config::EMBEDDED_FILE;
use decisiongraph_engine::queries::{Freshness, ReferenceDigests, Subgraph, SubgraphQuery};
use decisiongraph_engine::report::{LogReport, RunReport};
use decisiongraph_engine::{Control, Engine};
use decisiongraph_projections::payload_hash::sha256_hex;
use decisiongraph_projections::{Category, LogSeq, TenantId};
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::lines::LineReader;
use decisiongraph_protocol::{
    AdminError, AppendReply, AppendRequest, Asker, CatchUpRequest, ExitCode, JobReply, JobRequest, ReadRequest,
    RebuildRequest, ReferenceDigestRequest, Request, SealNowRequest, TraceRequest, VerifyPart, VerifyRequest,
};
use decisiongraph_store::{PageLimit, PrecedentFilter, RunState};
use serde::Serialize;
use std::path::PathBuf;

/// A small company's decisions: discounts, refunds, vendors, access, changes.
const LOG: &str = include_str!("../../../fixtures/enterprise.jsonl");
/// Id of the trace that is shown.
const TRACE: &str = "discount-acme-2026q3";
/// The node whose neighbourhood is shown.
const NODE: &str = "entity:account:acme";
/// The policy whose precedents are shown.
const POLICY: &str = "discount_cap";
/// The event that is edited: an approval, and the text in its payload that decides.
const APPROVAL: &str = "discount-acme-2026q3/5";
const APPROVED: &str = "\"decision\":\"approved\"";
const REJECTED: &str = "\"decision\":\"rejected\"";
/// Longest wait for the seal.
const SEAL_WAIT_MS: u64 = 30_000;

/// The JSON object that `--json` prints.
#[derive(Serialize)]
struct Told {
    database: String,
    accepted: u64,
    repeated: u64,
    digests: ReferenceDigests,
    rebuild_equal: bool,
    drift: bool,
    edit_found: bool,
}

/// Runs the tour.
pub async fn tour(context: &Context) -> Result<ExitCode, AdminError> {
    interrupt::ends_at_once();
    let kept = context.globals.data_dir.clone();
    let (directory, _temporary) = match &kept {
        Some(directory) => (directory.clone(), None),
        None => {
            let temporary = tempfile::tempdir().map_err(|error| {
                AdminError::new(Category::Storage, format!("cannot create a temporary directory: {error}"))
                    .next("name a directory with --data-dir")
            })?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let engine = Location::embedded(&directory)?.open(&context.globals, Access::Write).await?;
    let database = directory.join(EMBEDDED_FILE);
    let tour = Tour { context, engine, database, tenant: context.globals.tenant.clone().unwrap_or_default() };
    tour.walk(kept.as_ref().map(|directory| directory.display().to_string())).await
}

struct Tour<'c> {
    context: &'c Context,
    engine: Engine,
    database: PathBuf,
    tenant: TenantId,
}

impl Tour<'_> {
    async fn walk(&self, kept: Option<String>) -> Result<ExitCode, AdminError> {
        self.ours(
            "DecisionGraph records how decisions were made, as events, and keeps three read models of them:\n\
             a summary of each decision (a \"trace\"), a graph of what touched what, and an index of precedents.",
        )?;
        self.refuse_foreign_log().await?;

        let lines = LOG.lines().count() as i64;
        self.step(
            1,
            "A decision log goes in",
            &[
                &format!(
                    "{} events of a small company, as JSON lines: discounts, refunds, vendors, access, changes.",
                    number(lines)
                ),
                "Each is checked (shape, secrets, order in its trace) and stored durably, once.",
            ],
        )?;
        let first = self.import().await?;
        let again = self.import().await?;
        self.say(&Page::of(format_args!(
            "  stored {} events; appended again: {} stored, {} recognised as repeats",
            number(first.accepted),
            number(again.accepted),
            number(again.repeated)
        )))?;

        self.step(
            2,
            "The projections catch up",
            &[
                "Every batch commits its rows, its position and its digest in one transaction: killed at any",
                "moment, it continues where it stopped, skips nothing and applies nothing twice.",
            ],
        )?;
        let caught_up = self.job(CatchUpRequest(self.all())).await?;
        self.say(&work(&caught_up))?;

        self.step(
            3,
            "One decision, from start to end",
            &[&format!("How did Acme get its discount?   decisiongraph trace {TRACE}")],
        )?;
        let request = TraceRequest {
            tenant: self.tenant(),
            trace_id: TRACE.to_owned(),
            after: LogSeq::ORIGIN,
            limit: 100,
            freshness: Freshness::default(),
        };
        let found = self.ask(request).await?;
        self.say(&trace::text(TRACE, &found))?;

        self.step(
            4,
            "What touched what",
            &[&format!("Everything one step away from the customer.   decisiongraph subgraph {NODE}")],
        )?;
        let graph = self.graph(SubgraphQuery::around(NODE)).await?;
        self.say(&graph_table(NODE, &graph))?;
        self.ours("\nThe same for Markdown (--format mermaid):\n")?;
        self.say(&mermaid(NODE, &graph).indented())?;
        self.ours("\nand for Graphviz (--format dot):\n")?;
        self.say(&dot(NODE, &graph).indented())?;

        self.step(
            5,
            "Precedents",
            &[&format!(
                "How were earlier cases under this policy decided?   decisiongraph precedents --policy-id {POLICY}"
            )],
        )?;
        let filter = PrecedentFilter { policy_id: Some(POLICY.to_owned()), limit: 10, ..PrecedentFilter::default() };
        let request = ReadRequest { tenant: self.tenant(), freshness: Freshness::default(), query: filter };
        let found = self.ask(request).await?;
        self.say(&precedents::text(&found.answer.hits))?;

        self.step(
            6,
            "Digests",
            &[
                "One number for all rows: equal logs give equal digests, on any machine and any database.",
                "  decisiongraph digest --reference",
            ],
        )?;
        let before = self.digests().await?;
        self.say(&digest_lines(&before))?;

        self.step(
            7,
            "Proof",
            &[
                "A rebuild folds the whole log again, beside the live rows, and must arrive at the same digest.",
                "A verify then compares three: the stored one, one of the rows, one of the log.",
            ],
        )?;
        let rebuilt = self.job(RebuildRequest(self.all())).await?;
        let equal =
            rebuilt.scopes.iter().all(|scope| scope.rebuild.as_ref().is_some_and(|facts| facts.equal == Some(true)));
        let verified = self.job(VerifyRequest(self.all())).await?;
        let after = self.digests().await?;
        self.say(&proof(&rebuilt, &verified))?;
        let proven = equal && !verified.drifted() && before == after;
        self.ours(if proven {
            "\n  Proven: rebuilt rows, live rows and log agree, and the reference digests did not change."
        } else {
            "\n  NOT proven: see above."
        })?;

        self.step(
            8,
            "Tamper with the log",
            &[
                "Rows follow from the log. So an edited event would be the new truth, if nothing else knew it:",
                "each event is also a leaf of a Merkle tree, whose signed root leaves the database.",
                "  decisiongraph seal now; decisiongraph verify --log-only",
            ],
        )?;
        let found = self.tampered().await?;
        self.ours(if found {
            "\n  Found, and put back: log, tree and signed checkpoint agree again."
        } else {
            "\n  NOT found: see above."
        })?;

        match &kept {
            Some(directory) => {
                let directory = shell_word(directory);
                let mut page = Page::default();
                page.ours("\nThe store is kept. Continue with");
                page.line(format_args!("  decisiongraph --data-dir {directory} status"));
                page.line(format_args!("  decisiongraph --data-dir {directory} subgraph trace:{TRACE} --max-depth 2"));
                self.say(&page)?;
            }
            None => self.ours(
                "\nThe store was temporary and is gone. `decisiongraph demo --data-dir DIR` keeps it; \
                 `decisiongraph import FILE` imports your own log.",
            )?,
        }
        if self.context.output.json {
            let told = Told {
                database: self.engine.store().address(),
                accepted: first.accepted,
                repeated: again.repeated,
                digests: after,
                rebuild_equal: equal,
                drift: verified.drifted(),
                edit_found: found,
            };
            self.context.output.json(&told)?;
        }
        Ok(if proven && found { ExitCode::OK } else { ExitCode::OTHER })
    }

    /// Seals the log, edits an event as a stranger with the database would, and puts it back. True when the edit was
    /// found, and nothing once it was undone.
    async fn tampered(&self) -> Result<bool, AdminError> {
        let sealed = self.ask(SealNowRequest { tenant: self.tenant(), wait_ms: SEAL_WAIT_MS }).await?;
        let mut page = Page::default();
        page.line(format_args!(
            "  sealed and signed: {} events, root {}",
            number(sealed.tree.size as i64),
            sealed.tree.root
        ));
        page.line("  A stranger turns the approval of the discount around, and makes the payload's hash right:");
        page.line("");
        self.say(&page)?;
        let approval = self.edited(APPROVED, REJECTED).await?;
        let found = self.log_report().await?;
        let mut page = Page::default();
        found.iter().for_each(|line| page.line(format_args!("  {line}")));
        self.say(&page)?;
        self.edited(REJECTED, APPROVED).await?;
        let undone = self.log_report().await?;
        Ok(approval && found.iter().any(|line| line.starts_with("payload_differs")) && undone.is_empty())
    }

    /// Lists what a verify of the log alone finds.
    async fn log_report(&self) -> Result<Vec<String>, AdminError> {
        let part = VerifyPart { log_only: true, ..VerifyPart::default() };
        let report = self.job(VerifyRequest(JobRequest { verify: Some(part), ..self.all() })).await?;
        let findings = match report.log {
            Some(LogReport::Checked(facts)) => facts.findings,
            Some(LogReport::Unsealed) | None => Vec::new(),
        };
        Ok(findings.into_iter().map(|finding| finding.message).collect())
    }

    /// Replaces a text in the payload of the approval, past the program. True when there was such a text.
    async fn edited(&self, before: &'static str, after: &'static str) -> Result<bool, AdminError> {
        let (path, tenant) = (self.database.clone(), self.tenant.as_str().to_owned());
        let edit = move || -> rusqlite::Result<bool> {
            let file = rusqlite::Connection::open(path)?;
            let of = "tenant_id = ?1 AND event_id = ?2";
            let read = format!("SELECT payload FROM dg_event_log WHERE {of}");
            let payload: String = file.query_row(&read, (&tenant, APPROVAL), |row| row.get(0))?;
            let edited = payload.replace(before, after);
            let write = format!("UPDATE dg_event_log SET payload = ?3, payload_hash = ?4 WHERE {of}");
            file.execute(&write, (&tenant, APPROVAL, &edited, sha256_hex(edited.as_bytes())))?;
            Ok(edited != payload)
        };
        let failed = |error: String| AdminError::new(Category::Storage, format!("cannot edit the log: {error}"));
        let done = tokio::task::spawn_blocking(edit).await.map_err(|error| failed(error.to_string()))?;
        done.map_err(|error| failed(error.to_string()))
    }

    /// Refuses a tenant with events of its own: the tour must not mix its company with a real one.
    async fn refuse_foreign_log(&self) -> Result<(), AdminError> {
        let view = self.engine.store().view().await?;
        let lines: u64 = LOG.lines().count() as u64;
        let events = view.count_events(&self.tenant, LogSeq::ORIGIN, LogSeq(i64::MAX), lines + 1).await?;
        let (found, _) = decisiongraph_engine::queries::trace_events(
            &*view,
            &self.tenant,
            TRACE,
            LogSeq::ORIGIN,
            PageLimit::rows(1),
        )
        .await?;
        if events > lines || (events > 0 && found.is_empty()) {
            return Err(AdminError::new(
                Category::Conflict,
                format!("tenant {} of this store has events of its own", self.tenant),
            )
            .next("choose another --data-dir, or a tenant for the tour: --tenant demo"));
        }
        Ok(())
    }

    fn say(&self, page: &Page) -> Result<(), AdminError> {
        if self.context.output.json { Ok(()) } else { self.context.output.page(page) }
    }

    fn ours(&self, text: &'static str) -> Result<(), AdminError> {
        let mut page = Page::default();
        page.ours(text);
        self.say(&page)
    }

    fn step(&self, number: u8, title: &str, lines: &[&str]) -> Result<(), AdminError> {
        let mut page = Page::default();
        page.line("");
        page.line(format_args!("{number}. {title}"));
        page.line("─".repeat(title.chars().count() + 3));
        lines.iter().for_each(|line| page.line(line));
        page.line("");
        self.say(&page)
    }

    fn tenant(&self) -> Option<TenantId> {
        Some(self.tenant.clone())
    }

    fn all(&self) -> JobRequest {
        JobRequest { tenant: self.tenant(), ..JobRequest::default() }
    }

    async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, AdminError> {
        answer(&self.engine, &Asker::here(None), request, &Control::default()).await
    }

    async fn job<R: Request<Reply = JobReply>>(&self, request: R) -> Result<RunReport, AdminError> {
        let report = self.ask(request).await?.ended()?;
        let state = report.run.state;
        if state != RunState::Completed {
            let ended = || AdminError::new(Category::Internal, format!("the job is {}", state.as_str()));
            return Err(report.run.error.map_or_else(ended, AdminError::from));
        }
        Ok(report)
    }

    async fn graph(&self, query: SubgraphQuery) -> Result<Subgraph, AdminError> {
        let request = ReadRequest { tenant: self.tenant(), freshness: Freshness::default(), query };
        Ok(self.ask(request).await?.answer)
    }

    async fn digests(&self) -> Result<ReferenceDigests, AdminError> {
        self.ask(ReferenceDigestRequest { tenant: self.tenant() }).await
    }

    async fn import(&self) -> Result<AppendReply, AdminError> {
        let mut lines = LineReader::new(LOG.as_bytes());
        let lines = lines.next_chunk(|_| false).map_err(|error| {
            AdminError::new(Category::Internal, format!("cannot read the log of the tour: {error}"))
        })?;
        let request = AppendRequest { tenant: self.tenant(), all_or_nothing: true, lines, ..AppendRequest::default() };
        let reply = self.ask(request).await?;
        match reply.verdicts.first() {
            None => Ok(reply),
            Some(refused) => Err(AdminError::new(
                refused.category.unwrap_or(Category::Internal),
                format!("line {}: {}", refused.line, refused.message.as_deref().unwrap_or("refused")),
            )),
        }
    }
}

fn work(report: &RunReport) -> Page {
    let rows = report.scopes.iter().map(|scope| {
        vec![
            scope.projection.clone(),
            number(scope.from.0),
            number(scope.cursor.0),
            number(scope.events),
            number(scope.batches),
            digest_short(&scope.digest),
        ]
    });
    let mut page = Page::default();
    page.table(&["projection", "#from", "#to", "#events", "#batches", "rolling digest"], rows);
    page
}

fn digest_lines(digests: &ReferenceDigests) -> Page {
    let mut page = Page::default();
    for (name, digest) in digests.named() {
        page.line(format_args!("  {name:16} {digest}"));
    }
    page
}

fn proof(rebuilt: &RunReport, verified: &RunReport) -> Page {
    let rows = rebuilt.scopes.iter().zip(&verified.scopes).map(|(scope, verify)| {
        let facts = scope.rebuild.as_ref();
        let digests = verify.verify.as_ref();
        vec![
            scope.projection.clone(),
            facts.map_or("-".to_owned(), |facts| digest_short(&facts.old_digest)),
            facts.and_then(|facts| facts.new_digest_there.as_deref()).map_or("-".to_owned(), digest_short),
            digests.map_or("-".to_owned(), |facts| digest_short(&facts.from_rows)),
            digests.map_or("-".to_owned(), |facts| digest_short(&facts.from_log)),
        ]
    });
    let mut page = Page::default();
    page.table(&["projection", "before the rebuild", "rebuilt", "verify: of the rows", "verify: of the log"], rows);
    page
}
