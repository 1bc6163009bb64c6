//! A TCP proxy of the tests, and the faults that it simulates. It lies between a node and its database or between two
//! nodes.
//!
//! *Guarantees.* [`Way::Hold`] is a network that loses packets and delivers them later: bytes wait, nothing is lost.
//! [`Way::Swallow`] is a firewall that forgot the connection. That connection stays open for ever and says nothing
//! more, even when the way changes later.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Treatment of the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Pass,
    Delay(Duration),
    Hold,
    Swallow,
}

/// Both directions, and a flag that refuses new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub there: Way,
    pub back: Way,
    pub refuse: bool,
}

pub const OPEN: Line = both(Way::Pass);

pub const fn both(way: Way) -> Line {
    Line { there: way, back: way, refuse: false }
}

/// A proxy that listens on its own port as long as it lives.
pub struct Proxy {
    pub port: u16,
    target: Arc<Mutex<SocketAddr>>,
    line: watch::Sender<Line>,
    cuts: watch::Sender<u64>,
    listening: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let target = Arc::new(Mutex::new(target));
        let (line, cuts) = (watch::Sender::new(OPEN), watch::Sender::new(0));
        let listening = tokio::spawn({
            let (target, lines, cuts) = (Arc::clone(&target), line.subscribe(), cuts.subscribe());
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    if !lines.borrow().refuse {
                        tokio::spawn(carry(client, Arc::clone(&target), lines.clone(), cuts.clone()));
                    }
                }
            }
        });
        Proxy { port, target, line, cuts, listening }
    }

    /// Applies this line from now on.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Ends every open connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Directs new connections to this target.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().expect("not poisoned") = target;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

async fn carry(
    client: TcpStream,
    target: Arc<Mutex<SocketAddr>>,
    mut lines: watch::Receiver<Line>,
    mut cuts: watch::Receiver<u64>,
) {
    cuts.borrow_and_update();
    let carried = async {
        // Nothing reaches the other side before the way there is open.
        let open = lines.wait_for(|line| matches!(line.there, Way::Pass | Way::Delay(_))).await.is_ok();
        if !open {
            return;
        }
        let to = *target.lock().expect("not poisoned");
        let Ok(server) = TcpStream::connect(to).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::join!(
            pump(from_client, to_server, lines.clone(), |line| line.there),
            pump(from_server, to_client, lines.clone(), |line| line.back),
        );
    };
    tokio::select! {
        () = carried => {}
        _ = cuts.changed() => {}
    }
}

/// Copies one direction until its end was passed on.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut lines: watch::Receiver<Line>,
    way: fn(&Line) -> Way,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut lost = false;
    loop {
        // The end of a stream is passed on like bytes.
        let count = from.read(&mut buffer).await.unwrap_or(0);
        loop {
            let now = way(&lines.borrow_and_update());
            lost |= now == Way::Swallow;
            match now {
                _ if lost => {}
                Way::Hold => {
                    if lines.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                Way::Delay(pause) => tokio::time::sleep(pause).await,
                Way::Pass | Way::Swallow => {}
            }
            break;
        }
        if lost && count == 0 {
            // The end is passed to neither side: only a cut ends the connection.
            std::future::pending::<()>().await;
        }
        if count == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if !lost && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
