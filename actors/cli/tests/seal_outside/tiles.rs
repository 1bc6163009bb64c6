//! A tile is the same through every door, and is that of the tree.

use crate::cli_support::node::{Node, PATIENCE};
use crate::cli_support::trace;
use crate::cluster_support::{Authority, NAME, listening};
use crate::page;
use crate::seal_support::{BOTH, Ground, tree};
use decisiongraph_admin::answer;
use decisiongraph_engine::{Control, Engine, EngineConfig};
use decisiongraph_projections::seal::tree::root_of;
use decisiongraph_projections::seal::{Hash, base64};
use decisiongraph_projections::{Category, LogSeq};
use decisiongraph_protocol::{AdminError, Asker, SealTileReply, SealTileRequest};
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{Client, Secret, Target, Tls};
use decisiongraph_store::Owner;
use serde_json::Value;
use uuid::Uuid;

/// More events than a tile has.
const EVENTS: usize = 300;

/// Makes a log of so many events, sealed.
pub async fn long(backend: crate::seal_support::Backend) -> Ground {
    let ground = Ground::new(backend).await;
    let lines: Vec<String> = (0..EVENTS / 3).flat_map(|number| trace(&format!("t-{number:03}"))).collect();
    assert_eq!(lines.len(), EVENTS);
    ground.import(&lines.join("\n"));
    ground.ok(&["seal", "now"]);
    ground
}

fn tile(level: u32, index: u64, width: Option<u16>) -> SealTileRequest {
    SealTileRequest { tenant: None, tree: None, level, index, width }
}

/// Asks over HTTP. A fault comes back as its status and code.
fn over_http(address: &str, token: &str, asked: &SealTileRequest) -> Result<SealTileReply, (u16, Value)> {
    let width = asked.width.map(|width| format!("&width={width}")).unwrap_or_default();
    let path = format!("/api/v1/seal/tile?level={}&index={}{width}", asked.level, asked.index);
    let (status, body) = page(address, &path, Some(token));
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    match status {
        200 => Ok(serde_json::from_value(body["data"].clone()).expect("a tile")),
        _ => Err((status, body)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_is_that_of_the_tree_through_every_door() {
    for backend in BOTH {
        let ground = long(backend).await;
        let store = ground.store().await;
        let newest = tree::newest(&store).await;
        let leaves = tree::leaves(&store, &newest).await;
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf.entry.leaf_hash()).collect();
        let positions: Vec<LogSeq> = leaves.iter().map(|leaf| leaf.log_seq).collect();
        assert_eq!(hashes.len(), EVENTS);

        let authority = Authority::new();
        let flags = listening(&authority.issue("node", NAME));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let environment = ground.environment();
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
        let node = Node::start_with(&ground.cli, &flags, &environment);
        let secret = || Secret::from_file(&node.secret).expect("reads");
        let tls = Tls::load(authority.issue("program", "an-auditor")).expect("loads");
        let doors = [
            ("socket", Target::Unix(node.socket.clone())),
            ("TCP", Target::Tcp(node.tcp.parse().expect("an address"), secret())),
            ("peer link", Target::Tls(node.cluster.clone().expect("listens"), secret(), tls)),
        ];
        let owner = Owner { node: "test".to_owned(), incarnation: Uuid::new_v4() };
        let engine = Engine::new(store.clone(), owner, EngineConfig::default());
        let (http, token) = (node.http.clone().expect("an address"), ground.cli.data_dir().join("http.token"));
        let token = std::fs::read_to_string(token).expect("a token");

        let cases: [(SealTileRequest, Vec<Hash>, Vec<LogSeq>); 5] = [
            (tile(0, 0, None), hashes[..256].to_vec(), positions[..256].to_vec()),
            (tile(0, 1, None), hashes[256..].to_vec(), positions[256..].to_vec()),
            (tile(0, 1, Some(44)), hashes[256..].to_vec(), positions[256..].to_vec()),
            (tile(0, 1, Some(7)), hashes[256..263].to_vec(), positions[256..263].to_vec()),
            (tile(1, 0, None), vec![root_of(&hashes[..256])], Vec::new()),
        ];
        for (asked, hashes, log_seqs) in cases {
            let about = format!("{backend:?} {asked:?}");
            let check = |door: &str, reply: SealTileReply| {
                let expected: Vec<String> = hashes.iter().map(|hash| base64(hash)).collect();
                assert_eq!(reply.hashes, expected, "{door}: {about}");
                assert_eq!(reply.log_seqs, log_seqs, "{door}: {about}");
                assert_eq!((reply.tree.size, reply.tree.root), (EVENTS as u64, base64(&newest.head.root)), "{door}");
            };
            let here = answer(&engine, &Asker::here(None), asked.clone(), &Control::default()).await;
            check("in this process", here.expect("answers"));
            for (door, target) in &doors {
                let client = Client::connect(target, &Versions::ours(), PATIENCE).await.expect("connects");
                check(door, client.ask(asked.clone(), Uuid::new_v4(), PATIENCE).await.expect("answers"));
            }
            check("HTTP", over_http(&http, token.trim(), &asked).expect("answers"));
        }

        for (asked, category, status) in [
            (tile(0, 1, Some(0)), Category::InvalidArgument, 400),
            (tile(0, 1, Some(257)), Category::InvalidArgument, 400),
            (tile(0, 1, Some(45)), Category::NotFound, 404),
            (tile(0, 2, None), Category::NotFound, 404),
            (tile(0, u64::MAX, None), Category::NotFound, 404),
            (tile(1, 0, Some(2)), Category::NotFound, 404),
            (tile(2, 0, None), Category::NotFound, 404),
            (tile(u32::MAX, 0, None), Category::NotFound, 404),
        ] {
            let about = format!("{backend:?} {asked:?}");
            let check = |door: &str, error: AdminError| {
                assert_eq!(error.category, category, "{door}: {about}: {}", error.message);
                let step = if category == Category::NotFound { "seal status" } else { "leave the width out" };
                assert!(error.next.contains(step), "{door}: {about}: {}", error.next);
            };
            let here = answer(&engine, &Asker::here(None), asked.clone(), &Control::default()).await;
            check("in this process", here.expect_err("refused"));
            for (door, target) in &doors {
                let client = Client::connect(target, &Versions::ours(), PATIENCE).await.expect("connects");
                check(door, client.ask(asked.clone(), Uuid::new_v4(), PATIENCE).await.expect_err("refused"));
            }
            let (found, body) = over_http(&http, token.trim(), &asked).expect_err("refused");
            assert_eq!(found, status, "{about}: {body}");
            assert!(!body["error"]["next"].as_str().unwrap_or_default().is_empty(), "{about}: {body}");
        }
        // Without a right, no tile; without its parameters, no answer.
        assert_eq!(page(&http, "/api/v1/seal/tile?level=0&index=0", None).0, 401);
        assert_eq!(page(&http, "/api/v1/seal/tile?level=0", Some(token.trim())).0, 400);
    }
}
