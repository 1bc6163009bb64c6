//! Fail-over to a streaming standby that lacks the last transactions. The seal sees it, and nothing else stops; a seal
//! that publishes after its standbys cannot meet it.

mod cli_support;
mod pages;
mod seal_support;

use cli_support::{Cli, Ended, enterprise, text};
use decisiongraph_projections::TenantId;
use decisiongraph_projections::seal::texts::{Checkpoint, origin_of};
use decisiongraph_seal::key::SigningKey;
use decisiongraph_store::throwaway::{Database, Server, StopMode};
use seal_support::memory::heads_in;
use seal_support::{NAME, says};
use std::collections::BTreeMap;

/// A primary with a standby, a log, and a seal beside both.
struct Pair {
    primary: Server,
    standby: Server,
    database: Database,
    cli: Cli,
    after: &'static str,
    journal: &'static str,
}

impl Pair {
    async fn start(after: &'static str) -> Pair {
        let primary = Server::start().await.expect("a server");
        let database = primary.fresh_database().await.expect("a database");
        let standby = primary.standby().await.expect("a standby");
        let pair = Pair { primary, standby, database, cli: Cli::new(), after, journal: "journal" };
        // A place is never made by the program: a mount that is missing is not written beside.
        std::fs::create_dir_all(pair.cli.path("place")).expect("a folder");
        let key = pair.cli.path("seal.key");
        pair.ok(&["seal", "key", "new", "--name", NAME, "-o", text(&key)]);
        pair.ok(&["import", text(&enterprise())]);
        pair.ok(&["catch-up"]);
        pair.ok(&["seal", "now", "--wait", "20"]);
        pair.standby.has_replayed(&pair.primary).await.expect("follows");
        pair
    }

    fn run_on(&self, url: &str, args: &[&str]) -> Ended {
        let path = |name: &str| self.cli.path(name).display().to_string();
        let mut command = self.cli.command(args);
        command.env("DATABASE_URL", url).env("DECISIONGRAPH_SEAL_KEY_FILE", path("seal.key"));
        command.env("DECISIONGRAPH_SEAL_NAME", NAME).env("DECISIONGRAPH_SEAL_DIR", path(self.journal));
        command.env("DECISIONGRAPH_SEAL_PLACES", format!("dir:{}", path("place")));
        command.env("DECISIONGRAPH_SEAL_PUBLISH_AFTER", self.after);
        Ended::of(command.output().expect("starts"))
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.run_on(self.database.url(), args)
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{args:?}: {}{}", ended.stdout, ended.stderr);
        ended
    }

    fn promoted(&self) -> String {
        self.standby.url_of(self.database.name())
    }

    /// The primary fails with three events that the standby never got.
    async fn fail_over(&self) {
        self.primary.stop(StopMode::Immediate).await.expect("fails");
        self.standby.promote().await.expect("takes over");
    }

    async fn lose_a_tail(&self) {
        self.standby.disconnect().await.expect("stops following");
        self.append_lost("lost");
    }

    /// Appends a trace that the standby never gets.
    fn append_lost(&self, trace: &str) {
        let file = self.cli.file("lost.jsonl", cli_support::trace(trace).join("\n"));
        self.ok(&["import", text(&file)]);
        self.ok(&["catch-up"]);
    }

    /// Fails when journals and place have two roots for one size of a tree. Returns the sizes that were signed.
    fn signed_once(&self) -> Vec<u64> {
        let mut heads = BTreeMap::new();
        for folder in ["journal", "other-journal", "place"] {
            for Checkpoint { origin, head } in heads_in(&self.cli.path(folder)) {
                let known = *heads.entry((origin.clone(), head.size)).or_insert(head.root);
                assert_eq!(known, head.root, "{folder}: two roots for {} events of {origin}", head.size);
            }
        }
        heads.into_keys().map(|(_, size)| size).collect()
    }

    fn key(&self, origin: &str) -> String {
        SigningKey::read(&self.cli.path("seal.key")).expect("the key").verifier(origin).to_string()
    }

    /// The test's database went with the server.
    async fn end(self) {
        self.primary.start_again().await.expect("starts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tail_is_seen_at_the_takeover_and_a_fork_goes_on_from_what_is_common() {
    let pair = Pair::start("commit").await;
    pair.lose_a_tail().await;
    pair.ok(&["seal", "now"]);
    let origin = origin_of(NAME, &TenantId::default());
    let old_pack = pair.cli.path("old.pack");
    pair.ok(&["audit-pack", "--trace", "lost", "-o", text(&old_pack)]);
    pair.fail_over().await;

    let url = pair.promoted();
    let on = |args: &[&str]| pair.run_on(&url, args);
    let line = "tree_shrunk: 97 events are sealed here, a checkpoint for 100 was signed at … (…)";
    let other = pair.cli.file("other.jsonl", cli_support::trace("other").join("\n"));
    assert_eq!(on(&["import", text(&other)]).code, 0);
    assert_eq!(on(&["catch-up"]).code, 0, "projections go on");
    says(&on(&["seal", "now"]), 3, line, "at the takeover");
    says(&on(&["verify", "--log-only"]), 3, line, "by verify");
    let status = on(&["status", "--json"]).json();
    for scope in status["scopes"].as_array().expect("a list").iter().filter(|it| it["projection"] != "seal") {
        assert_eq!(scope["cursor"], scope["last_log_seq"], "{scope}");
    }
    let signed = heads_in(&pair.cli.path("journal")).len();

    let forked = on(&["seal", "fork", "--tenant", "default", "--reason", "fail-over of 1 December"]);
    assert_eq!(forked.code, 0, "{}{}", forked.stdout, forked.stderr);
    let sealed = on(&["seal", "now"]);
    assert_eq!(sealed.code, 0, "{}{}", sealed.stdout, sealed.stderr);
    assert!(heads_in(&pair.cli.path("journal")).len() > signed);
    says(&on(&["verify", "--log-only"]), 0, "", "the new tree");

    // Packs of both trees verify, each under its own name.
    let new_pack = pair.cli.path("new.pack");
    let packed = on(&["audit-pack", "--trace", "other", "-o", text(&new_pack)]);
    assert_eq!(packed.code, 0, "{}{}", packed.stdout, packed.stderr);
    let (old_key, new_key) = (pair.key(&origin), pair.key(&format!("{origin}/2")));
    for (pack, key, code) in
        [(&old_pack, &old_key, 0), (&new_pack, &new_key, 0), (&old_pack, &new_key, 8), (&new_pack, &old_key, 8)]
    {
        let ended = on(&["audit", text(pack), "--key", key]);
        assert_eq!(ended.code, code, "{}: {}{}", pack.display(), ended.stdout, ended.stderr);
    }
    pair.signed_once();
    pair.end().await;
}

/// The standby lacks two checkpoints, and is taken over by another node, whose journal is its own. The place that both
/// have remembers.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_with_two_checkpoints_is_seen_by_a_node_that_signed_none_of_them() {
    let pair = Pair::start("commit").await;
    pair.lose_a_tail().await;
    pair.ok(&["seal", "now"]);
    pair.append_lost("lost-too");
    pair.ok(&["seal", "now"]);
    assert_eq!(pair.signed_once(), [97, 100, 103]);
    pair.fail_over().await;

    let url = pair.promoted();
    let other = Pair { journal: "other-journal", ..pair };
    let on = |args: &[&str]| other.run_on(&url, args);
    // As many events again as were lost: by its size, the tree could be the one that was signed.
    let mut lines = cli_support::trace("other");
    lines.extend(cli_support::trace("other-too"));
    let file = other.cli.file("other.jsonl", lines.join("\n"));
    assert_eq!(on(&["import", text(&file)]).code, 0);
    let line = "tree_shrunk: 97 events are sealed here, a checkpoint for 103 was signed at … (dir:…)";
    says(&on(&["seal", "now"]), 3, line, "at the takeover");
    says(&on(&["verify", "--log-only"]), 3, line, "by verify");
    assert_eq!(other.signed_once(), [97, 100, 103], "nothing is signed");
    assert!(heads_in(&other.cli.path("other-journal")).is_empty());

    let forked = on(&["seal", "fork", "--tenant", "default", "--reason", "fail-over of 2 December"]);
    assert_eq!(forked.code, 0, "{}{}", forked.stdout, forked.stderr);
    let sealed = on(&["seal", "now"]);
    assert_eq!(sealed.code, 0, "{}{}", sealed.stdout, sealed.stderr);
    says(&on(&["verify", "--log-only"]), 0, "", "the new tree");
    assert_eq!(other.signed_once(), [97, 100, 103, 103], "the last one is of the new tree");
    let (pack, origin) = (other.cli.path("new.pack"), origin_of(NAME, &TenantId::default()));
    let packed = on(&["audit-pack", "--trace", "other-too", "-o", text(&pack)]);
    assert_eq!(packed.code, 0, "{}{}", packed.stdout, packed.stderr);
    let audited = on(&["audit", text(&pack), "--key", &other.key(&format!("{origin}/2"))]);
    assert_eq!(audited.code, 0, "{}{}", audited.stdout, audited.stderr);
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_publishes_after_its_standbys_does_not_fork() {
    let pair = Pair::start("standby").await;
    assert_eq!(heads_in(&pair.cli.path("journal")).len(), 1, "the standby has it, so it is signed");
    pair.lose_a_tail().await;
    // No standby is connected: the tree grows, and nothing is signed.
    let waits = pair.run(&["seal", "now", "--wait", "2"]);
    assert!([6, 7].contains(&waits.code), "{}: {}{}", waits.code, waits.stdout, waits.stderr);
    assert_eq!(heads_in(&pair.cli.path("journal")).len(), 1);
    pair.fail_over().await;

    let url = pair.promoted();
    let alone = Pair { after: "commit", ..pair };
    let on = |args: &[&str]| alone.run_on(&url, args);
    assert_eq!(on(&["catch-up"]).code, 0);
    let other = alone.cli.file("other.jsonl", cli_support::trace("other").join("\n"));
    assert_eq!(on(&["import", text(&other)]).code, 0);
    let sealed = on(&["seal", "now"]);
    assert_eq!(sealed.code, 0, "no fork: {}{}", sealed.stdout, sealed.stderr);
    says(&on(&["verify", "--log-only"]), 0, "", "the same tree");
    assert_eq!(alone.signed_once(), [97, 100], "what was not signed is lost without a trace");
    alone.end().await;
}
