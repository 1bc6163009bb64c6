//! Proofs and packs of real logs.

use crate::Log;
use crate::support::{Db, log, tenant};
use decisiongraph_engine::seal::evidence::{Wanted, consistency, prove};
use decisiongraph_engine::seal::pack::{PackOf, PackRequest, pack};
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_seal::{Accepted, Beside, Trust, audit};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn trust(log: &Log) -> Trust {
    Trust::new(&[log.key().to_string()], &[], 0).expect("a key")
}

/// Finds the independent oracle, where it is.
fn oracle() -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let places = ["../shared/parity/seal_oracle.py", "../../shared/parity/seal_oracle.py"];
    places.iter().map(|place| repository.join(place)).find(|path| path.is_file())
}

/// Runs the oracle over a pack.
#[expect(clippy::disallowed_methods, reason = "python3 is no program under test")]
fn oracle_accepts(pack: &str, key: &str) {
    let Some(oracle) = oracle() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pack");
    std::fs::write(&file, pack).expect("writes");
    let mut command = Command::new("python3");
    command.arg(oracle).arg("audit").arg(&file).args(["--key", key]).stdin(Stdio::null());
    let output = command.output().expect("runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the oracle refuses it: {out}{err}");
}

/// Takes all pages of a pack.
async fn whole(log: &Log, request: &PackRequest) -> (String, usize) {
    let (mut text, mut pages, mut after) = (String::new(), 0, None);
    loop {
        let view = log.store.view().await.expect("a view");
        let request = PackRequest { after, ..request.clone() };
        let page = pack(&log.engine, &*view, &tenant(), &request).await.expect("a page");
        assert!(page.events <= request.events_max as u64, "{} events in a page", page.events);
        text.push_str(&page.text);
        pages += 1;
        match page.next {
            // The place is passed on as text.
            Some(next) => after = Some(next.to_string().parse().expect("a place")),
            None => return (text, pages),
        }
    }
}

fn request(of: PackOf) -> PackRequest {
    PackRequest { of, redact: Vec::new(), without_payloads: false, rotations: true, after: None, events_max: 100 }
}

async fn proofs_and_packs_are_accepted(db: Db) {
    let events = log(100, 0);
    let log = Log::of(db).await.sealed(&[&events[..60], &events[60..]]).await;
    let (name, trust, view) = (log.db.name(), trust(&log), log.store.view().await.expect("a view"));
    for (wanted, index) in [
        (Wanted::Id("ev:0:0"), 0),
        (Wanted::At(LogSeq(60)), 59),
        (Wanted::At(LogSeq(257)), 256),
        (Wanted::At(LogSeq(700)), 699),
    ] {
        let proof = prove(&log.engine, &*view, &tenant(), wanted).await.expect("a proof");
        assert_eq!((proof.index, proof.size), (index, 700), "{name}");
        let beside = Beside { event: Some(&proof.event), ..Beside::default() };
        assert!(matches!(audit(proof.text.as_bytes(), beside, &trust), Ok(Accepted::Proof(_))), "{name}: {index}");
        let other = proof.event.replace("\"trace_seq\":", "\"trace_seq\":1");
        let beside = Beside { event: Some(&other), ..Beside::default() };
        assert!(audit(proof.text.as_bytes(), beside, &trust).is_err(), "{name}: another event");
    }
    let ids = |ids: &[&str]| PackOf::Events(ids.iter().map(|id| (*id).to_owned()).collect());
    let redacted = PackRequest { redact: vec!["title".to_owned()], ..request(PackOf::Trace("trace7".to_owned())) };
    let withheld = PackRequest { without_payloads: true, ..request(PackOf::Range(LogSeq(250), LogSeq(520))) };
    let cases = [
        (request(PackOf::Trace("trace7".to_owned())), 7, 1),
        (request(PackOf::Range(LogSeq(1), LogSeq(700))), 700, 7),
        (request(PackOf::Range(LogSeq(256), LogSeq(257))), 2, 1),
        (request(PackOf::Range(LogSeq(690), LogSeq(9_999))), 11, 1),
        (request(ids(&["ev:99:6", "ev:0:0", "ev:50:3"])), 3, 1),
        (redacted, 7, 1),
        (withheld, 271, 3),
    ];
    for (request, events, pages) in cases {
        let (text, taken) = whole(&log, &request).await;
        assert_eq!(taken, pages, "{name}: {:?}", request.of);
        let accepted = audit(text.as_bytes(), Beside::default(), &trust);
        let Ok(Accepted::Pack(proven)) = accepted else { panic!("{name}: {:?}: {accepted:?}", request.of) };
        assert_eq!(proven.events, events, "{name}: {:?}", request.of);
        if !request.redact.is_empty() {
            assert!(proven.redacted > 0 && !text.contains("Título"), "{name}: a title is shown");
        }
        if request.without_payloads {
            assert_eq!(proven.withheld, events);
        }
        oracle_accepts(&text, &log.key().to_string());
    }
    let proof = consistency(&*view, &tenant(), None, 60, 700).await.expect("a proof");
    let beside = Beside { against: Some(&proof.older), ..Beside::default() };
    assert!(matches!(audit(proof.text.as_bytes(), beside, &trust), Ok(Accepted::Consistency(_))), "{name}");
    let missing = consistency(&*view, &tenant(), None, 61, 700).await.expect_err("no checkpoint");
    assert_eq!(missing.category, Category::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_and_packs_of_sqlite_are_accepted() {
    proofs_and_packs_are_accepted(Db::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_and_packs_of_postgres_are_accepted() {
    proofs_and_packs_are_accepted(Db::postgres().await).await;
}

/// A pack goes on with its checkpoint, whatever is sealed between two pages.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_of_one_checkpoint() {
    let events = log(40, 0);
    let log = Log::of(Db::sqlite().await).await.sealed(&[&events[..140]]).await;
    let first = request(PackOf::Range(LogSeq(1), LogSeq(140)));
    let view = log.store.view().await.expect("a view");
    let page = pack(&log.engine, &*view, &tenant(), &first).await.expect("a page");
    crate::append(&log.store, &events[140..]).await;
    log.seal().await;
    let second = PackRequest { after: page.next, ..first };
    let rest = pack(&log.engine, &*view, &tenant(), &second).await.expect("a page");
    assert_eq!(rest.next, None);
    let accepted = audit((page.text + &rest.text).as_bytes(), Beside::default(), &trust(&log)).expect("accepted");
    let Accepted::Pack(proven) = accepted else { panic!("a pack") };
    assert_eq!((proven.checkpoint.size, proven.events), (140, 140));
}

/// An event that was edited, deleted or put there by hand is in no evidence.
#[tokio::test(flavor = "multi_thread")]
async fn no_evidence_is_made_of_what_was_not_sealed() {
    for db in Db::both().await {
        let events = log(10, 0);
        let log = Log::of(db).await.sealed(&[&events]).await;
        crate::append(&log.store, &crate::support::log(1, 10)).await;
        let view = log.store.view().await.expect("a view");
        let late = prove(&log.engine, &*view, &tenant(), Wanted::At(LogSeq(71))).await.expect_err("not sealed yet");
        assert_eq!(late.category, Category::ProjectionOutOfDate);
        assert!(late.message.contains("log_seq 71 is not sealed yet"), "{}", late.message);
        let none = prove(&log.engine, &*view, &tenant(), Wanted::Id("ev:77:0")).await.expect_err("no such event");
        assert_eq!(none.category, Category::NotFound);
        let late = request(PackOf::Range(LogSeq(60), LogSeq(72)));
        let late = pack(&log.engine, &*view, &tenant(), &late).await.expect_err("not sealed yet");
        assert_eq!(late.category, Category::ProjectionOutOfDate);
        log.db.tamper("UPDATE dg_event_log SET actor_id = 'mallory' WHERE log_seq = 5").await;
        log.db.tamper("DELETE FROM dg_event_log WHERE log_seq = 8").await;
        let id = events[4].envelope().event_id.clone();
        let line = format!("envelope_differs: leaf 4 (log_seq 5, {id}): its envelope is not what was sealed");
        let edited = prove(&log.engine, &*view, &tenant(), Wanted::Id(&id)).await.expect_err("edited");
        assert_eq!((edited.category, edited.message), (Category::Conflict, line.clone()));
        let gone = prove(&log.engine, &*view, &tenant(), Wanted::At(LogSeq(8))).await.expect_err("deleted");
        assert_eq!(gone.message, "event_missing: leaf 7 (log_seq 8): sealed, and not in the log");
        let range = |first, last| request(PackOf::Range(LogSeq(first), LogSeq(last)));
        let packed = pack(&log.engine, &*view, &tenant(), &range(1, 70)).await.expect_err("edited");
        assert_eq!(packed.message, line);
        let packed = pack(&log.engine, &*view, &tenant(), &range(6, 70)).await.expect_err("deleted");
        assert_eq!(packed.message, "event_missing: leaf 7 (log_seq 8): sealed, and not in the log");
        assert!(pack(&log.engine, &*view, &tenant(), &range(9, 70)).await.is_ok(), "what is as sealed");
    }
}
