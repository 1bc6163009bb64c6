//! Destination of a command: a node, or an engine in this process.
//!
//! `--database` comes first (in this process), then `--node`, then the node that lives in the data directory.
//! `DATABASE_URL` follows (in this process), and last the embedded file in the data directory.

use crate::globals::Globals;
use crate::session::{Access, Location, data_dir};
use decisiongraph_admin::{answer, no_node};
use decisiongraph_engine::{Control, Engine};
use decisiongraph_projections::Category;
use decisiongraph_protocol::report::RunReport;
use decisiongraph_protocol::{
    AdminError, Asker, CancelRunRequest, Command, JobReply, Request, ScopeFilter, WatchReply, WatchRunRequest,
    has_ended,
};
use decisiongraph_rpc::data_dir;
use decisiongraph_rpc::wire::Versions;
use decisiongraph_rpc::{CLUSTER_NAME, Client, NodeAddress, SOCKET_NAME, Secret, Target, Tls, TlsFiles, loopback};
use decisiongraph_store::{Run, RunState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// Time between two checks of a job that a node runs, milliseconds.
const LOOK_MS: u64 = 250;
/// Consecutive checks that find the process of a job gone before the command gives up: a lease may be late.
const ORPHAN_LOOKS_MAX: u32 = 20;

/// Side that answers a command.
pub enum Connection {
    /// An engine of this process.
    InProcess(Box<Engine>),
    /// A running node.
    Node(Node),
}

/// A node, with the client, timeout and request ids of the command.
pub struct Node {
    client: Client,
    timeout: Duration,
    ids: RequestIds,
}

impl Connection {
    /// Opens the connection that the arguments name.
    pub async fn open(globals: &Globals, access: Access) -> Result<Connection, AdminError> {
        match Node::find(globals).await? {
            Some(_) if globals.batch_size.is_some() => Err(AdminError::new(
                Category::InvalidArgument,
                "--batch-size does not apply to a node, which has its own setting",
            )
            .next("omit --batch-size, or work in this process with --database URL")),
            Some(node) => Ok(Connection::Node(node)),
            None => Ok(Connection::InProcess(Box::new(Location::resolve(globals)?.open(globals, access).await?))),
        }
    }

    /// Opens the node that the arguments name; `unavailable` when there is none.
    pub async fn to_node(globals: &Globals) -> Result<Connection, AdminError> {
        Node::find(globals).await?.map(Connection::Node).ok_or_else(no_node)
    }

    /// True when a running node answers: it applies events without a request.
    pub fn is_node(&self) -> bool {
        matches!(self, Connection::Node(_))
    }

    /// Sends a request that is not a job, and returns the reply.
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, AdminError> {
        match self {
            Connection::InProcess(engine) => answer(engine, &Asker::here(me()), request, &Control::default()).await,
            Connection::Node(node) => node.ask(request).await,
        }
    }

    /// Runs a job to its end.
    pub async fn job<R: Request<Reply = JobReply>>(
        &self,
        request: R,
        control: &Control,
    ) -> Result<RunReport, AdminError> {
        match self {
            Connection::InProcess(engine) => answer(engine, &Asker::here(me()), request, control).await?.ended(),
            Connection::Node(node) => match node.ask(request).await? {
                JobReply::Ended(report) => Ok(*report),
                JobReply::Begun(watch) => node.follow(watch, control).await,
            },
        }
    }

    /// Starts a job and leaves it to the node.
    pub async fn detached<R: Request<Reply = JobReply>>(&self, request: R) -> Result<Run, AdminError> {
        match self {
            Connection::InProcess(_) => {
                Err(AdminError::new(Category::InvalidArgument, "only a node can continue a job in the background")
                    .next("omit --detach, or ask a node (--node ADDR)"))
            }
            Connection::Node(node) => match node.ask(request).await? {
                JobReply::Ended(report) => Ok(report.run),
                JobReply::Begun(watch) => Ok(watch.run),
            },
        }
    }

    /// Returns the address of the database, or names it by the node that answers; without secrets.
    pub fn address(&self) -> String {
        match self {
            Connection::InProcess(engine) => engine.store().address(),
            Connection::Node(node) => format!("the database of the node at {}", node.client.target()),
        }
    }
}

impl Node {
    /// Finds the node that the arguments name, or that lives in the data directory.
    async fn find(globals: &Globals) -> Result<Option<Node>, AdminError> {
        if globals.database.is_some() {
            return Ok(None);
        }
        let timeout = Duration::from_secs_f64(globals.timeout);
        let versions = globals.protocol_version.map_or_else(Versions::ours, Versions::only);
        let client = match &globals.node {
            Some(text) => {
                let target = match NodeAddress::parse(text)? {
                    NodeAddress::Unix(path) => Target::Unix(path),
                    NodeAddress::Tcp(text) => match tls(globals)? {
                        Some(tls) => Target::Tls(text, secret(globals)?, tls),
                        None => Target::Tcp(loopback(&text).await?, secret(globals)?),
                    },
                };
                Some(Client::connect(&target, &versions, timeout).await?)
            }
            None => match data_dir(globals) {
                Ok(directory) => {
                    let socket = directory.join(SOCKET_NAME);
                    // In a directory that other users may write, the socket could belong to any of them.
                    match socket.symlink_metadata() {
                        Ok(_) => {
                            data_dir::trust(&directory)?;
                            Client::connect_local(&socket, &versions, timeout).await?
                        }
                        Err(_) => None,
                    }
                }
                // Without a data directory there is no place for a node.
                Err(_) => None,
            },
        };
        let client = client.map(|client| client.asking_for(me()));
        Ok(client.map(|client| Node { client, timeout, ids: RequestIds::new(globals.request_id) }))
    }

    async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, AdminError> {
        self.client.ask(request, self.ids.next(), self.timeout).await
    }

    /// Follows a job that the node has begun. Passes a cancel request on.
    async fn follow(&self, begun: Box<WatchReply>, control: &Control) -> Result<RunReport, AdminError> {
        let mut watch = begun;
        let mut cancel_passed_on = false;
        let mut orphan_looks = 0;
        loop {
            if let Some(report) = watch.report {
                return Ok(report);
            }
            let run = watch.run;
            let lost = |error: AdminError| {
                let next = format!(
                    "the job may continue: {} shows it",
                    Command::of(&format!("run {}", run.run_id), &run.tenant)
                );
                if error.category == Category::Unavailable { error.next(next) } else { error }
            };
            orphan_looks = if run.node_live || has_ended(run.state) { 0 } else { orphan_looks + 1 };
            if run.state == RunState::Running && orphan_looks > ORPHAN_LOOKS_MAX {
                let what = format!("the process of run {} is gone ({})", run.run_id, run.node);
                return Err(AdminError::new(Category::Unavailable, what).next(format!(
                    "{} continues it",
                    Command::of(&format!("run resume {}", run.run_id), &run.tenant)
                )));
            }
            if let (Some(sender), Some(progress)) = (&control.progress, watch.progress) {
                sender.send_replace(Some(progress));
            }
            if control.cancel.is_requested() && !std::mem::replace(&mut cancel_passed_on, true) {
                match self
                    .ask(CancelRunRequest {
                        run_id: run.run_id,
                        reason: Some("the command that followed it was interrupted".to_owned()),
                        of: ScopeFilter::default(),
                    })
                    .await
                {
                    // The job has ended meanwhile.
                    Err(error) if error.category == Category::Conflict => {}
                    done => drop(done.map_err(lost)?),
                }
            }
            let look = WatchRunRequest { run_id: run.run_id, wait_ms: LOOK_MS };
            watch = self.ask(look).await.map_err(lost)?;
        }
    }
}

/// Returns the name of the user on this machine, such as `ada@laptop`.
pub fn me() -> Option<String> {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok().filter(|user| !user.is_empty())?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(match host.trim() {
        "" => user,
        host => format!("{user}@{host}"),
    })
}

fn secret(globals: &Globals) -> Result<Secret, AdminError> {
    Secret::resolve(globals.secret_file.as_deref())?.ok_or_else(|| {
        AdminError::new(Category::Unauthorized, "a node behind TCP needs its secret, and none is given")
            .next("give it: --secret-file FILE, DECISIONGRAPH_SECRET_FILE or DECISIONGRAPH_SECRET")
    })
}

/// Loads TLS, when flags or the environment name its files.
fn tls(globals: &Globals) -> Result<Option<Arc<Tls>>, AdminError> {
    let given = |flag: &Option<PathBuf>, variable: &str| {
        let found = || std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        flag.clone().or_else(found)
    };
    let ca = given(&globals.tls_ca, "DECISIONGRAPH_TLS_CA");
    let cert = given(&globals.tls_cert, "DECISIONGRAPH_TLS_CERT");
    let key = given(&globals.tls_key, "DECISIONGRAPH_TLS_KEY");
    let name = globals.tls_name.clone().or_else(|| std::env::var("DECISIONGRAPH_TLS_NAME").ok());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| CLUSTER_NAME.to_owned());
    match (ca, cert, key) {
        (None, None, None) => Ok(None),
        (Some(ca), Some(cert), Some(key)) => Tls::load(TlsFiles { ca, cert, key, name }).map(Some),
        _ => Err(AdminError::new(Category::InvalidArgument, "TLS needs all of --tls-ca, --tls-cert and --tls-key")),
    }
}

/// Ids of a command's requests. With `--request-id`, every repetition of the command uses the same ids.
struct RequestIds {
    base: Option<Uuid>,
    drawn: AtomicU64,
}

impl RequestIds {
    fn new(base: Option<Uuid>) -> RequestIds {
        RequestIds { base, drawn: AtomicU64::new(0) }
    }

    fn next(&self) -> Uuid {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        match (self.base, number) {
            (None, _) => Uuid::now_v7(),
            (Some(base), 0) => base,
            (Some(base), number) => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(base.as_bytes()).update(&number.to_be_bytes());
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
                uuid::Builder::from_random_bytes(bytes).into_uuid()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_command_asks_under_the_same_ids() {
        let draw = |base| {
            let ids = RequestIds::new(base);
            [ids.next(), ids.next(), ids.next()]
        };
        let base = Some(Uuid::from_u128(9));
        assert_eq!(draw(base), draw(base));
        assert_eq!(draw(base)[0], Uuid::from_u128(9));
        assert_ne!(draw(base)[1], draw(base)[2]);
        assert_ne!(draw(None), draw(None));
    }
}
