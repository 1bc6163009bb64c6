//! Detects a job that fell short of its request. Such a job ended without an error, but did not check or apply all that
//! it should have.
//!
//! *Guarantees.* A catch-up or rebuild after which events of the tenant still wait is not reported as done. Nor is a
//! verify of a projection that has no rows. Both are `projection_out_of_date`. The sentence names what holds them up
//! and what to run then.

use super::Engine;
use super::report::ScopeReport;
use decisiongraph_projections::{Category, LogSeq, Projection, Refusal};
use decisiongraph_protocol::Command;
use decisiongraph_protocol::figures::number;
use decisiongraph_protocol::writers::who;
use decisiongraph_store::{OpenWriter, Result, Run, RunMode, Scope};
use std::time::Duration;

/// Most appenders that a sentence names.
const NAMED_MAX: usize = 3;

/// Request of a job, as of its beginning.
pub struct Asked {
    /// The tenant's last event then, or at most `until`.
    last: LogSeq,
    /// True when the tenant has neither events nor scopes: there is nothing to do, and nothing is made.
    pub nothing: bool,
}

impl Engine {
    /// Reads the request of this job; to be called before it reads the mark.
    pub async fn asked(&self, run: &Run, projections: &[&'static dyn Projection]) -> Result<Asked> {
        let view = self.store().view().await?;
        let last = view.last_log_seq(&run.tenant, run.until).await?;
        let mut nothing = last == LogSeq::ORIGIN && view.last_log_seq(&run.tenant, None).await? == LogSeq::ORIGIN;
        for projection in projections {
            nothing = nothing && view.scope(&Scope::new(&run.tenant, *projection)).await?.is_none();
        }
        Ok(Asked { last, nothing })
    }

    /// Tells how the job fell short of its request, if it did.
    pub async fn short(
        &self,
        asked: &Asked,
        run: &Run,
        projections: &[&'static dyn Projection],
        scopes: &[ScopeReport],
    ) -> Result<Option<Refusal>> {
        if asked.last == LogSeq::ORIGIN {
            return Ok(None);
        }
        let one = projections.first().filter(|_| projections.len() == 1).map(|projection| projection.name());
        let command = |words: &str| match one {
            Some(projection) => Command::of_scope(words, &run.tenant, projection),
            None => Command::of(words, &run.tenant),
        };
        let out_of_date = |message| Ok(Some(Refusal::new(Category::ProjectionOutOfDate, message)));
        if run.mode == RunMode::Verify {
            let looked_at = |projection: &&&dyn Projection| scopes.iter().any(|it| it.projection == projection.name());
            let missing: Vec<_> = projections.iter().filter(|it| !looked_at(it)).map(|it| it.name()).collect();
            if missing.is_empty() {
                return Ok(None);
            }
            let (missing, catch_up) = (missing.join(", "), command("catch-up"));
            return out_of_date(format!(
                "{missing}: not compared, because no event was applied yet; {catch_up} applies the events"
            ));
        }
        // A generation to which this run flipped before its interruption is live, and follows the log as live ones do.
        let built = scopes.iter().filter(|scope| !scope.flipped_before);
        let Some(behind) = built.map(|scope| scope.cursor).filter(|cursor| *cursor < asked.last).min() else {
            return Ok(None);
        };
        let held_up_by = held_up_by(&self.read_mark(Duration::ZERO).await?.waiting_for);
        out_of_date(format!(
            "events after log_seq {}, up to {}, are stored but not applied: {held_up_by}; then {} applies them",
            number(behind.0),
            number(asked.last.0),
            command("catch-up")
        ))
    }
}

/// Names the appenders that hold up the mark, and what has to happen.
fn held_up_by(writers: &[OpenWriter]) -> String {
    if writers.is_empty() {
        return "an open appender held up the log, and has ended since".to_owned();
    }
    let named: Vec<_> = writers.iter().take(NAMED_MAX).map(who).collect();
    let rest = writers.len() - named.len();
    let rest = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    let ends = match writers.iter().all(|writer| writer.waits_for_standby) {
        true => "",
        false => ", which has to commit or roll back",
    };
    format!("the log is held up by an open appender, {}{rest}{ends}", named.join("; and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_up_the_log_is_named_a_few_at_most() {
        let writer =
            |pid| OpenWriter { transaction: "3/7".to_owned(), pid, age_seconds: Some(12.34), ..OpenWriter::default() };
        let waits = held_up_by(&[OpenWriter { waits_for_standby: true, ..writer(Some(42)) }]);
        assert!(waits.ends_with("pid 42, open for 12.3 s, whose commit waits for a synchronous standby"), "{waits}");
        assert!(held_up_by(&[]).contains("has ended"));
        let told = held_up_by(&[writer(Some(42)), writer(None)]);
        assert!(told.contains("pid 42, open for 12.3 s; and prepared transaction 3/7"), "{told}");
        assert!(held_up_by(&vec![writer(Some(1)); 5]).contains("and 2 more"));
    }
}
