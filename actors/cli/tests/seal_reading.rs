//! Evidence of real logs on both backends: proofs, packs and consistency proofs are accepted by the auditor's program
//! and by the independent oracle; every part of a tree that was tampered with is named; two copies are bisected.

#[path = "seal_reading/bounds.rs"]
mod bounds;
#[path = "seal_reading/checks.rs"]
mod checks;
#[path = "seal_reading/copies.rs"]
mod copies;
#[path = "seal_reading/evidence.rs"]
mod evidence;
mod support;

use decisiongraph_engine::seal::{SealSettings, Sealing, seal_now};
use decisiongraph_engine::{Control, Engine, RunReport, RunRequest, VerifyOptions};
use decisiongraph_projections::Admitted;
use decisiongraph_projections::seal::note::VerifierKey;
use decisiongraph_protocol::report::{LogFacts, LogReport};
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::{Folder, Memory, SigningKeys};
use decisiongraph_store::{Owner, RunMode, Store};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{Db, append, config, owner, tenant};
use tempfile::TempDir;

/// Name of the key, and beginning of every origin.
const NAME: &str = "log.example";

/// A database, an engine that seals it, and the journal.
struct Log {
    db: Db,
    store: Arc<dyn Store>,
    engine: Engine,
    journal: TempDir,
}

fn key() -> SigningKey {
    SigningKey::of_seed(NAME, &[7; 32]).expect("a key")
}

fn sealing(journal: &Path) -> Arc<Sealing> {
    let memory = Memory { journal: Folder::journal(journal), places: Vec::new() };
    Arc::new(Sealing::new(NAME.to_owned(), SigningKeys::of(key()), memory, SealSettings::default()))
}

fn engine(store: &Arc<dyn Store>, owner: Owner, journal: &Path) -> Engine {
    Engine::new(Arc::clone(store), owner, config(500)).with_sealing(Some(sealing(journal)))
}

impl Log {
    async fn of(db: Db) -> Log {
        let (store, journal) = (db.store().await, tempfile::tempdir().expect("a folder"));
        store.migrate().await.expect("migrates");
        let engine = engine(&store, owner("sealer"), journal.path());
        Log { db, store, engine, journal }
    }

    /// Appends events and seals them, with a checkpoint behind each part.
    async fn sealed(self, parts: &[&[Admitted]]) -> Log {
        for part in parts {
            for some in part.chunks(500) {
                append(&self.store, some).await;
            }
            self.seal().await;
        }
        self
    }

    async fn seal(&self) {
        let sealed = seal_now(&self.engine, &tenant(), Duration::from_secs(60)).await;
        sealed.unwrap_or_else(|error| panic!("{}: {error}", self.db.name()));
    }

    fn key(&self) -> VerifierKey {
        let origin = self.engine.sealing().expect("sealing").origin(&tenant());
        key().verifier(&origin)
    }

    async fn verify(&self, verify: VerifyOptions) -> RunReport {
        let request = RunRequest { verify, ..support::request(RunMode::Verify) };
        self.engine.run(&request, &Control::default()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Checks the log alone.
    async fn check(&self) -> Box<LogFacts> {
        match self.verify(VerifyOptions { log_only: true, ..VerifyOptions::default() }).await.log {
            Some(LogReport::Checked(facts)) => facts,
            other => panic!("not checked: {other:?}"),
        }
    }

    /// Checks the log alone, and expects these findings.
    #[track_caller]
    fn found(facts: &LogFacts) -> Vec<&str> {
        facts.findings.iter().map(|found| found.message.as_str()).collect()
    }
}
