//! The sealed log over HTTP: evidence byte for byte, rights, and a caller who reaches one tenant.

use super::http_support::{Ask, PATIENCE, Place};
use super::node_support::until;
use super::support::Db;
use super::{by_role, started};
use decisiongraph_engine::seal::{SealSettings, Sealing};
use decisiongraph_seal::key::SigningKey;
use decisiongraph_seal::{Beside, Folder, Memory, SigningKeys, Trust, audit};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "log.example";

fn key() -> SigningKey {
    SigningKey::of_seed(NAME, &[7; 32]).expect("a key")
}

/// Makes the sealing of a node with a journal and a place in this folder.
fn sealing(folder: &std::path::Path) -> Arc<Sealing> {
    std::fs::create_dir(folder.join("place")).expect("a place");
    let place = Arc::new(Folder::new(&folder.join("place")));
    let memory = Memory { journal: Folder::journal(&folder.join("journal")), places: vec![place] };
    let settings = SealSettings { checkpoint: Duration::from_millis(50), ..SealSettings::default() };
    Arc::new(Sealing::new(NAME.to_owned(), SigningKeys::of(key()), memory, settings))
}

/// Starts a node that seals two tenants, each with one event.
async fn place(db: Db, folder: &std::path::Path) -> Place {
    let place = Place::sealing(db, &by_role(), sealing(folder)).await;
    for tenant in ["default", "other"] {
        let text = started("t").to_string();
        let ask = Ask::post("/api/v1/events", "application/json", text.as_bytes()).tenant(Some(tenant));
        assert_eq!(place.send(Some("everywhere"), ask).await.status, 201, "{tenant}");
    }
    place
}

async fn seal(place: &Place, tenant: &str) -> Value {
    let ask = Ask::post("/api/v1/seal/now?wait_ms=20000", "application/json", b"{}").tenant(Some(tenant));
    let sealed = place.send(Some("everywhere"), ask).await;
    assert_eq!(sealed.status, 200, "{}", sealed.text);
    sealed.json()["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_over_http_is_accepted_by_an_auditor() {
    for db in Db::both().await {
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(db, folder.path()).await;
        let sealed = seal(&place, "default").await;
        let origin = sealed["origin"].as_str().expect("an origin").to_owned();
        let trust = Trust::new(&[key().verifier(&origin).to_string()], &[], 0).expect("a key");
        let accepted = |file: &str, beside: Beside<'_>| audit(file.as_bytes(), beside, &trust).expect("accepted");

        let proof = place.get("auditor", "/api/v1/seal/proof?log_seq=1").await;
        assert_eq!(proof.status, 200, "{}", proof.text);
        let proof = proof.json()["data"].clone();
        let event = proof["event"].as_str().expect("an event");
        accepted(proof["proof"].as_str().expect("a proof"), Beside { event: Some(event), ..Beside::default() });
        let pack = place.get("auditor", "/api/v1/seal/pack?trace_id=t&redact=title").await;
        assert_eq!((pack.status, pack.header("content-type")), (200, "application/x-ndjson"), "{}", pack.text);
        accepted(&pack.text, Beside::default());
        let checkpoint = place.get("auditor", "/api/v1/seal/checkpoint").await.json();
        accepted(checkpoint["data"]["checkpoint"].as_str().expect("a note"), Beside::default());

        assert_eq!(place.post("appender", "/api/v1/events", &started("u")).await.status, 201);
        assert_eq!(seal(&place, "default").await["size"], 2);
        let shown = place.get("auditor", "/api/v1/seal/consistency?from=1&to=2").await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        let shown = shown.json()["data"].clone();
        let older = shown["older"].as_str().expect("a note");
        accepted(shown["proof"].as_str().expect("a proof"), Beside { against: Some(older), ..Beside::default() });
        let list = place.get("auditor", "/api/v1/seal/checkpoints?limit=1").await.json();
        let cursor = list["data"]["next_cursor"].as_str().expect("a cursor").to_owned();
        assert_eq!(list["data"]["notes"][0]["size"], 2);
        let next = place.get("auditor", &format!("/api/v1/seal/checkpoints?limit=1&cursor={cursor}")).await.json();
        assert_eq!(next["data"]["notes"][0]["size"], 1);

        for (path, status, code) in [
            ("/api/v1/seal/proof?event_id=nobody", 404, "not_found"),
            ("/api/v1/seal/proof?log_seq=99", 404, "not_found"),
            ("/api/v1/seal/proof", 400, "invalid_argument"),
            ("/api/v1/seal/pack?trace_id=t&event_id=e", 400, "invalid_argument"),
            ("/api/v1/seal/pack?trace_id=nobody", 404, "not_found"),
            ("/api/v1/seal/consistency?from=1&to=9", 404, "not_found"),
            ("/api/v1/seal/checkpoint?size=9", 404, "not_found"),
        ] {
            let got = place.get("auditor", path).await;
            assert_eq!((got.status, got.code().as_str()), (status, code), "{path}: {}", got.text);
            assert!(!got.text.contains("decisiongraph "), "{path} names no command: {}", got.text);
        }
        place.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_sealed_has_no_proof_over_http_either() {
    let place = Place::start(Db::sqlite().await, &by_role(), super::no_rates()).await;
    assert_eq!(place.post("appender", "/api/v1/events", &started("t")).await.status, 201);
    for path in ["/api/v1/seal/proof?log_seq=1", "/api/v1/seal/pack?trace_id=t"] {
        let got = place.get("auditor", path).await;
        assert_eq!((got.status, got.code().as_str()), (409, "projection_out_of_date"), "{path}: {}", got.text);
        assert!(!got.text.contains("decisiongraph ") && got.text.contains("/api/v1/seal/now"), "{}", got.text);
    }
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_one_tenant_sees_no_other_seal_and_no_path_of_the_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = place(Db::sqlite().await, folder.path()).await;
    for tenant in ["default", "other"] {
        seal(&place, tenant).await;
    }
    let own = place.get("auditor", "/api/v1/seal/status").await;
    assert_eq!(own.status, 200, "{}", own.text);
    let data = own.json()["data"].clone();
    let seals = data["seals"].as_array().expect("a list");
    assert_eq!(
        (seals.len(), &seals[0]["tenant"], &seals[0]["size"]),
        (1, &"default".into(), &1.into()),
        "{}",
        own.text
    );
    assert!(!own.text.contains(folder.path().to_str().expect("UTF-8")), "{}", own.text);
    assert_eq!(seals[0]["places"][1]["place"], "dir", "{}", own.text);
    for path in ["status", "checkpoint", "proof?log_seq=2", "pack?from_log_seq=1&to_log_seq=2"] {
        let path = format!("/api/v1/seal/{path}");
        let foreign = place.send(Some("auditor"), Ask::get(&path).tenant(Some("other"))).await;
        assert_eq!(foreign.status, 403, "{path}: {}", foreign.text);
    }
    // The other tenant's event is at position 2, and is no event of this tenant.
    assert_eq!(place.get("auditor", "/api/v1/seal/proof?log_seq=2").await.status, 404);
    let all = place.send(Some("everywhere"), Ask::get("/api/v1/seal/status").tenant(None)).await;
    assert_eq!(all.json()["data"]["seals"].as_array().map(Vec::len), Some(2), "{}", all.text);
    assert!(all.text.contains(folder.path().to_str().expect("UTF-8")), "an operator of the node sees its places");
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_administrator_changes_a_tree_and_it_is_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = place(Db::sqlite().await, folder.path()).await;
    seal(&place, "default").await;
    let reason = json!({ "reason": "restored a backup", "on_behalf_of": "carol" });
    for role in ["appender", "reader", "auditor", "operator"] {
        for path in ["/api/v1/seal/fork", "/api/v1/seal/rebuild", "/api/v1/seal/init"] {
            assert_eq!(place.post(role, path, &reason).await.status, 403, "{path} as {role}");
        }
    }
    assert_eq!(place.post("reader", "/api/v1/seal/now", &json!({})).await.status, 403);
    assert_eq!(place.post("auditor", "/api/v1/seal/now", &json!({})).await.status, 200);
    assert_eq!(place.post("admin", "/api/v1/seal/fork", &json!({})).await.status, 400, "without a reason");
    let begun = json!({ "reason": "named", "origin": "log.example/x" });
    assert_eq!(place.post("admin", "/api/v1/seal/init", &begun).await.status, 409, "the tree has begun");
    let rebuilt = place.post("admin", "/api/v1/seal/rebuild", &reason).await;
    assert_eq!(rebuilt.status, 200, "{}", rebuilt.text);
    let forked = place.post("admin", "/api/v1/seal/fork", &reason).await;
    assert_eq!((forked.status, &forked.json()["data"]["tree"]), (200, &2.into()), "{}", forked.text);
    until("the next tree is sealed", PATIENCE, async || {
        let status = place.get("auditor", "/api/v1/seal/status").await.json();
        let seal = &status["data"]["seals"][0];
        seal["tree"] == 2 && seal["size"] == 1 && seal["state"] == "open"
    })
    .await;
    assert_eq!(seal(&place, "default").await["tree"], 2);
    let entries = place.get("everywhere", "/api/v1/audit?action=seal_fork&outcome=accepted").await.json();
    let entry = &entries["data"]["entries"][0];
    for (name, expected) in
        [("identity", "admin"), ("on_behalf_of", "carol"), ("reason", "restored a backup"), ("projection", "seal")]
    {
        assert_eq!(entry[name], expected, "{name}: {entries}");
    }
    place.stop().await;
}
