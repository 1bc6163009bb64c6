//! Cost of `status`, `health` and `why` on PostgreSQL, counted between program and server: as many statements for many
//! scopes and failures as for few, and few bytes per scope.

use super::cli_support::{Cli, started};
use super::many_scopes::{EVENT, FAILURE, projections};
use super::{server, session};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most bytes of the server's answers per scope. A digest alone has 2,048.
const SCOPE_BYTES_MAX: u64 = 512;
/// Message of a client that asks for TLS before it begins its session.
const ASKS_FOR_TLS: u32 = 80_877_103;

/// Statements that clients executed, and bytes that the server sent.
#[derive(Debug, Default)]
struct Counts {
    statements: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    /// Returns both numbers, and starts anew.
    fn take(&self) -> (u64, u64) {
        (self.statements.swap(0, Ordering::SeqCst), self.bytes.swap(0, Ordering::SeqCst))
    }
}

/// Listens on a port of its own, passes everything on to the server, and counts.
fn relay(server: SocketAddr, counts: Arc<Counts>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(server).expect("the server");
            let (from, to) = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
            let (asked, answered) = (Arc::clone(&counts), Arc::clone(&counts));
            std::thread::spawn(move || ask(from, to, &asked));
            std::thread::spawn(move || answer(server, client, &answered));
        }
    });
    port
}

/// Passes the client's messages on until it hangs up. All but the first ones begin with a letter.
fn ask(mut client: TcpStream, mut server: TcpStream, counts: &Counts) -> Option<()> {
    let mut begun = false;
    loop {
        let (mut letter, mut length) = ([0; 1], [0; 4]);
        if begun {
            client.read_exact(&mut letter).ok()?;
        }
        client.read_exact(&mut length).ok()?;
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - length.len()];
        client.read_exact(&mut rest).ok()?;
        if begun {
            server.write_all(&letter).ok()?;
            counts.statements.fetch_add(u64::from(b"EQ".contains(&letter[0])), Ordering::SeqCst);
        }
        begun |= !rest.starts_with(&ASKS_FOR_TLS.to_be_bytes());
        server.write_all(&length).ok()?;
        server.write_all(&rest).ok()?;
    }
}

fn answer(mut server: TcpStream, mut client: TcpStream, counts: &Counts) -> Option<()> {
    let mut bytes = [0; 65_536];
    loop {
        let read = server.read(&mut bytes).ok().filter(|read| *read > 0)?;
        counts.bytes.fetch_add(read as u64, Ordering::SeqCst);
        client.write_all(&bytes[..read]).ok()?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_many_failures_takes_the_statements_of_a_report_of_few() {
    let Some(address) = server().await.host_port() else { return };
    let database = server().await.fresh_database().await.expect("a database");
    let (cli, counts) = (Cli::new(), Arc::new(Counts::default()));
    let port = relay(address.parse().expect("an address"), Arc::clone(&counts));
    let through = format!("postgres://postgres@127.0.0.1:{port}/{}", database.name());
    let url = ["--database", database.url()];
    let one = started("t").to_string();
    assert_eq!(cli.pipe(&[&["import", "-"][..], &url].concat(), one.as_bytes()).code, 0);
    let client = session(database.url()).await;
    // Each tenant has an event, a scope per projection with a digest of full size, and two failures in one of them.
    let grow = async |tenants: RangeInclusive<u32>| {
        let (from, to, p) = (tenants.start(), tenants.end(), projections());
        let named = "'t' || lpad(n::text, 6, '0')";
        let sql = format!(
            "INSERT INTO dg_event_log (tenant_id, {EVENT})
             SELECT {named}, {EVENT} FROM dg_event_log, generate_series({from}, {to}) AS n WHERE tenant_id = 'default';
             INSERT INTO dg_scope (tenant_id, projection, epoch, epoch_token, generation, cursor_seq, digest, version)
             SELECT {named}, p.name, 1, gen_random_uuid(), 1, 0, decode(repeat('ab', 2048), 'hex'), 1
               FROM generate_series({from}, {to}) AS n, {p};
             INSERT INTO dg_failure (tenant_id, {FAILURE})
             SELECT {named}, 'trace_summary', log_seq, 'e', 't', 'TraceStarted', 'conflict', 'm', 1, 1, 'd', 1
               FROM generate_series({from}, {to}) AS n, generate_series(1, 2) AS log_seq;"
        );
        client.batch_execute(&sql).await.expect("grows");
    };
    let commands: [&[&str]; 3] = [&["status"], &["health"], &["why"]];
    let costs = || {
        commands.map(|args| {
            let ended = cli.run(&[args, &["--database", &through]].concat());
            assert!([0, 11].contains(&ended.code), "{args:?}: {}", ended.stderr);
            counts.take()
        })
    };
    grow(1..=100).await;
    let few = tokio::task::block_in_place(costs);
    grow(101..=400).await;
    let many = tokio::task::block_in_place(costs);
    let scopes = 300 * decisiongraph_projections::catalogue::ALL.len() as u64;
    for (args, (few, many)) in commands.iter().zip(few.iter().zip(many)) {
        assert!(few.0 > 5 && few.1 > 1_000, "{args:?}: nothing was counted: {few:?}");
        assert_eq!(few.0, many.0, "{args:?}: statements for 300 scopes, for 1,200");
        let each = many.1.saturating_sub(few.1) / scopes;
        assert!(each <= SCOPE_BYTES_MAX, "{args:?}: {each} bytes per scope: {few:?} became {many:?}");
    }
}
