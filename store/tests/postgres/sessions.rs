//! Sessions other than requested: a pooler in between, a server of an older version.

use crate::fold::owner;
use crate::raw::{Fresh, until};
use decisiongraph_projections::Category;
use decisiongraph_store::throwaway::shared;
use decisiongraph_store::{StoreOptions, postgres};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The treatment of a session's start settings by a pooler.
#[derive(Clone, Copy, PartialEq)]
enum Settings {
    /// Drops them, as pgbouncer with `ignore_startup_parameters = options`.
    Dropped,
    /// Refuses them, as pgbouncer by default.
    Refused,
    /// Keeps them: not a pooler. It changes the oldest accepted version, so that this server counts as older.
    Kept,
}

/// Starts a proxy between a program and the server, and returns the URL that leads through it.
async fn between(url: &str, settings: Settings) -> String {
    let (before, rest) = url.split_once('@').expect("a user");
    let (host, database) = rest.split_once('/').expect("a database");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let through = format!("{before}@{}/{database}", listener.local_addr().expect("an address"));
    let host = host.to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&host).await.expect("the server");
            tokio::spawn(pass(client, server, settings));
        }
    });
    through
}

async fn pass(mut client: TcpStream, mut server: TcpStream, settings: Settings) -> std::io::Result<()> {
    let start = loop {
        let mut start = vec![0; client.read_u32().await? as usize - 4];
        client.read_exact(&mut start).await?;
        if start.len() > 4 {
            break start;
        }
        // The client asked for TLS.
        client.write_u8(b'N').await?;
    };
    let mut words: Vec<&[u8]> = start[4..].split(|byte| *byte == 0).collect();
    let options = words.iter().position(|word| *word == b"options").expect("settings are sent");
    match settings {
        Settings::Refused => {
            let said = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
            client.write_u8(b'E').await?;
            client.write_u32(said.len() as u32 + 4).await?;
            return client.write_all(said).await;
        }
        Settings::Dropped => {
            words.drain(options..options + 2);
        }
        Settings::Kept => {}
    }
    let rest = words.join(&0);
    server.write_u32(rest.len() as u32 + 8).await?;
    server.write_all(&start[..4]).await?;
    server.write_all(&rest).await?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    let up = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let read = from_client.read(&mut bytes).await?;
            if read == 0 {
                return Ok::<(), std::io::Error>(());
            }
            if settings == Settings::Kept
                && let Some(at) = bytes[..read].windows(6).position(|part| part == b"140000")
            {
                bytes[at..at + 6].copy_from_slice(b"990000");
            }
            to_server.write_all(&bytes[..read]).await?;
        }
    };
    tokio::select! {
        ended = up => ended,
        ended = tokio::io::copy(&mut from_server, &mut to_client) => ended.map(|_| ()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_drops_the_settings_is_refused_by_name() {
    let fresh = Fresh::new().await;
    for settings in [Settings::Dropped, Settings::Refused] {
        let url = between(fresh.database.url(), settings).await;
        let refused =
            postgres::open(&url, StoreOptions::default()).await.err().expect("not the session that was asked for");
        assert_eq!(refused.category, Category::Unavailable, "{refused}");
        assert!(!refused.transient, "it does not pass by itself: {refused}");
        assert!(refused.next.is_some_and(|next| next.contains("pooler") && next.contains("directly")), "{refused:?}");
        // The same later, for a node that was started while its database was away.
        let later = postgres::open(&url, StoreOptions { later: true, ..StoreOptions::default() }).await.expect("opens");
        let refused = later.schema_status().await.expect_err("no session");
        assert!(
            refused.next.is_some_and(|next| next.contains("pooler")) && later.wakes().await.is_err(),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_is_refused_by_its_version() {
    let fresh = Fresh::new().await;
    let url = between(fresh.database.url(), Settings::Kept).await;
    let refused = postgres::open(&url, StoreOptions::default()).await.err().expect("too old");
    assert_eq!(refused.category, Category::VersionMismatch, "{refused}");
    let version = fresh.client().await.query_one("SHOW server_version", &[]).await.expect("a version");
    assert!(
        refused.message.contains(version.get::<_, &str>(0)) && refused.message.contains("14 or newer"),
        "{refused}"
    );
    assert!(refused.next.is_some_and(|next| next.contains("upgrade the server")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_in_utf8_is_refused_by_its_encoding() {
    let server = shared().await.expect("a server");
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = server.encoded_database(encoding).await.expect("a database");
        let refused = postgres::open(database.url(), StoreOptions::default()).await.err().expect("not in UTF8");
        assert_eq!((refused.category, refused.transient), (Category::Unavailable, false), "{refused}");
        assert!(refused.message.contains(&format!("is encoded in {encoding}; UTF8 is needed")), "{refused}");
        let next = refused.next.expect("a step");
        assert!(next.contains("`createdb --encoding=UTF8 --locale=C --template=template0 NAME`"), "{next}");
        // The same later, for every call.
        let later = StoreOptions { later: true, ..StoreOptions::default() };
        let later = postgres::open(database.url(), later).await.expect("opens");
        assert!(later.migrate().await.expect_err("no session").message.contains(encoding));
    }
    let database = server.encoded_database("UTF8").await.expect("a database");
    postgres::open(database.url(), StoreOptions::default())
        .await
        .expect("that is the one")
        .migrate()
        .await
        .expect("migrates");
}

/// A session keeps the state that its database had when the session was made. The pool of this test has one session.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_write_is_not_used_again() {
    let fresh = Fresh::with(StoreOptions { pool_size: 1, ..StoreOptions::default() }).await;
    let (admin, me) = (fresh.client().await, owner("n"));
    let name = fresh.database.url().rsplit('/').next().expect("a name");
    for renews in [false, true] {
        let call = async || match renews {
            true => fresh.store.heartbeat(&me, Duration::from_secs(60)).await.map(|_| ()),
            false => fresh.store.writable().await,
        };
        call().await.expect("writes");
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on; {others}");
        admin.batch_execute(&read_only).await.expect("set");
        until("it is refused", async || {
            call().await.is_err_and(|error| error.unfit && error.message.contains("read-only"))
        })
        .await;
        admin
            .batch_execute(&format!("ALTER DATABASE {name} RESET default_transaction_read_only"))
            .await
            .expect("reset");
        call().await.expect("a new session");
    }
}
