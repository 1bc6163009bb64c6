//! Fail-over to a streaming standby that lacks the last transactions. The seal sees it, and nothing else stops; a seal
//! that publishes after its standbys cannot meet it.

mod cli_support;
mod pages;
mod seal_support;

use cli_support::{Cli, Ended, enterprise, text};
use decisiongraph_projections::TenantId;
use decisiongraph_projections::seal::texts::origin_of;
use decisiongraph_seal::key::SigningKey;
use decisiongraph_store::throwaway::{Database, Server, StopMode};
use seal_support::memory::heads_in;
use seal_support::{NAME, says};

/// A primary with a standby, a log, and a seal beside both.
struct Pair {
    primary: Server,
    standby: Server,
    database: Database,
    cli: Cli,
    after: &'static str,
}

impl Pair {
    async fn start(after: &'static str) -> Pair {
        let primary = Server::start().await.expect("a server");
        let database = primary.fresh_database().await.expect("a database");
        let standby = primary.standby().await.expect("a standby");
        let pair = Pair { primary, standby, database, cli: Cli::new(), after };
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
        command.env("DECISIONGRAPH_SEAL_NAME", NAME).env("DECISIONGRAPH_SEAL_DIR", path("journal"));
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
        let file = self.cli.file("lost.jsonl", cli_support::trace("lost").join("\n"));
        self.ok(&["import", text(&file)]);
        self.ok(&["catch-up"]);
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
    pair.end().await;
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
    alone.end().await;
}
