//! Scopes: taken, given up, paused, read.
//!
//! *Guarantees.* Before an epoch is taken from a former owner, its backend is ended if it still exists. A writer that
//! was paused inside a transaction may hold the very rows that the new owner needs.

use super::PostgresStore;
use super::ask::{Ask, Parameter, Session};
use super::errors::During as _;
use super::group::{self, Claim};
use super::pool::{Connections, Held};
use super::values::Key;
use super::view::View;
use crate::columns::{Columns, Stored};
use crate::decide::{self, Ownership, Taken};
use crate::sections::{ReadScopes, Scopes};
use crate::{
    Acquisition, Checkpoint, Epoch, Lease, Orders, Owner, Result, Scope, ScopeCounts, ScopeHead, ScopeRow, StoreError,
    decode,
};
use async_trait::async_trait;
use decisiongraph_projections::digest::rolling::RollingDigest;
use decisiongraph_projections::{Category, TenantId};
use uuid::Uuid;

const SQL: &str = include_str!("sql/scope.sql");

/// Most attempts at a contended takeover in one call.
const ATTEMPTS_MAX: usize = 5;

#[async_trait]
impl Scopes for PostgresStore {
    async fn acquire_scope(&self, scope: &Scope, owner: &Owner) -> Result<Acquisition> {
        self.judged(group::claim(&self.connections, scope, owner)).await
    }

    async fn release_scope(&self, lease: &Lease) -> Result<()> {
        let ask = self.ask_in_time("give up a scope").await?;
        let (scope, token) = (&lease.scope, Key::from(lease.epoch.token));
        let of: [Parameter<'_>; 4] = [&scope.tenant.as_str(), &scope.projection, &lease.epoch.counter, &token];
        ask.run(sql!(SQL, "release"), &of).await.map(|_| ())
    }

    async fn pause_scope(&self, scope: &Scope, reason: &str, by: &str) -> Result<ScopeRow> {
        let ask = self.ask("pause a scope").await?;
        create_scope(&ask, scope).await?;
        ask.run(sql!(SQL, "pause"), &[&scope.tenant.as_str(), &scope.projection, &reason, &by]).await?;
        one(&ask, scope).await?.ok_or_else(|| decide::no_scope(scope))
    }

    async fn resume_scope(&self, scope: &Scope) -> Result<ScopeRow> {
        let ask = self.ask("resume a scope").await?;
        ask.run(sql!(SQL, "resume"), &[&scope.tenant.as_str(), &scope.projection]).await?;
        one(&ask, scope).await?.ok_or_else(|| decide::no_scope(scope))
    }
}

#[async_trait]
impl ReadScopes for View {
    async fn scope(&self, scope: &Scope) -> Result<Option<ScopeRow>> {
        one(&self.ask("read a scope").await?, scope).await
    }

    async fn flipped_by(&self, scope: &Scope, run_id: Uuid) -> Result<bool> {
        let ask = self.ask("look for the run that built a generation").await?;
        let of: [Parameter<'_>; 3] = [&scope.tenant.as_str(), &scope.projection, &Key::from(run_id)];
        let (flipped,) = ask.one(sql!(SQL, "flipped_by"), &of).await?;
        Ok(flipped)
    }

    async fn scopes(&self, tenant: Option<&TenantId>) -> Result<Vec<ScopeRow>> {
        let ask = self.ask("read scopes").await?;
        Ok(decode::in_order(ask.list(sql!(SQL, "list"), &[&tenant.map(TenantId::as_str)]).await?))
    }

    async fn scope_heads(&self, after_tenant: Option<&TenantId>, tenants_max: usize) -> Result<Vec<ScopeHead>> {
        let ask = self.ask("read the owners of the scopes").await?;
        let limit = i64::try_from(tenants_max).unwrap_or(i64::MAX);
        ask.list(sql!(SQL, "heads"), &[&after_tenant.map_or("", TenantId::as_str), &limit]).await
    }

    async fn digests(&self, scopes: &[Scope]) -> Result<Vec<Option<RollingDigest>>> {
        let ask = self.ask("read the digests of scopes").await?;
        let (tenants, projections): (Vec<&str>, Vec<&str>) =
            scopes.iter().map(|scope| (scope.tenant.as_str(), scope.projection)).unzip();
        ask.all(sql!(SQL, "digests"), &[&tenants, &projections]).await
    }

    async fn scope_counts(&self) -> Result<ScopeCounts> {
        self.ask("count the scopes that need attention").await?.one(sql!(SQL, "counts"), &[]).await
    }

    async fn checkpoints(&self, scope: &Scope, limit: usize) -> Result<Vec<Checkpoint>> {
        let ask = self.ask("read digest checkpoints").await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        ask.all(sql!(SQL, "checkpoints"), &[&scope.tenant.as_str(), &scope.projection, &limit]).await
    }
}

/// Takes the scopes of these claims with one statement, and answers. Claims that need more than that (a former writer
/// to end, a lost race), and all of them when one fails, are made one by one.
pub(super) async fn take(connections: &Connections, place: usize, claims: Vec<Claim>) {
    let held = match connections.writer(place).await {
        Ok(held) => held,
        Err(error) => return claims.into_iter().for_each(|claim| claim.answer(Err(error.clone()))),
    };
    let attempted = attempt(&held, connections, &claims).await;
    let lost = held.client().map_or(true, |client| client.is_closed());
    // Before the answers: a session that is still in use when all callers have gone is closed.
    held.keep();
    let taken = match attempted {
        Ok(taken) => taken,
        Err(error) if lost => return claims.into_iter().for_each(|claim| claim.answer(Err(error.clone()))),
        Err(_) => vec![None; claims.len()],
    };
    for (claim, taken) in claims.into_iter().zip(taken) {
        let answer = match taken {
            Some(acquisition) => Ok(acquisition),
            None => take_alone(connections, place, &claim).await,
        };
        claim.answer(answer);
    }
}

async fn take_alone(connections: &Connections, place: usize, claim: &Claim) -> Result<Acquisition> {
    for _ in 0..ATTEMPTS_MAX {
        let held = connections.writer(place).await?;
        let attempted = attempt(&held, connections, std::slice::from_ref(claim)).await;
        held.keep();
        match attempted {
            Ok(mut taken) => {
                if let Some(acquisition) = taken.pop().flatten() {
                    return Ok(acquisition);
                }
            }
            // Another process created the scope at the same time.
            Err(error) if error.duplicate => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::transient(
        Category::Unavailable,
        format!("{}: other owners claimed this scope at the same time", claim.scope),
    ))
}

/// Takes these scopes, all with one statement; answers in their order. None: a former writer is to be ended first,
/// which is done here for a single claim, or another process was faster.
async fn attempt(held: &Held<'_>, connections: &Connections, claims: &[Claim]) -> Result<Vec<Option<Acquisition>>> {
    let what = "take a scope";
    let client = held.client()?;
    let ask = Ask::new(client, connections, what);
    let scopes = || claims.iter().map(|claim| &claim.scope);
    let tenants: Vec<&str> = scopes().map(|scope| scope.tenant.as_str()).collect();
    let projections: Vec<&str> = scopes().map(|scope| scope.projection).collect();
    let versions: Vec<i32> = scopes().map(decide::rules_version).collect();
    let create = client.prepare_cached(sql!(SQL, "create")).await.during(what)?;
    let look = client.prepare_cached(sql!(SQL, "acquire_look")).await.during(what)?;
    let of_create: [Parameter<'_>; 3] = [&tenants, &projections, &versions];
    let of_look: [Parameter<'_>; 2] = [&tenants, &projections];
    // Sent one behind the other.
    let (created, found) =
        futures_util::future::join(client.execute(&create, &of_create), client.query(&look, &of_look)).await;
    created.during(what)?;
    let (mut answers, mut asked) = (Vec::new(), Taking::default());
    answers.resize_with(claims.len(), || None);
    for row in &found.during(what)? {
        let Found { at, ownership, epoch, former } = Found::read(row)?;
        let Some(claim) = claims.get(at) else { continue };
        let taken_from = match ownership.given_to(&claim.owner) {
            Ok(taken_from) => taken_from,
            Err((by, expires_in)) => {
                answers[at] = Some(Acquisition::Held { by, expires_in });
                continue;
            }
        };
        if former.is_of_another(connections) {
            if claims.len() > 1 {
                continue;
            }
            end_former_writer(&ask, former).await?;
        }
        asked.add(at, claim, epoch, taken_from);
    }
    let session = held.session()?.named();
    for (Placed(at), taken, orders) in asked.taken(&ask).await? {
        let Some(asked) = asked.of.get(at) else { continue };
        let Asked { claim, token, taken_from, .. } = asked;
        let (session, taken_from) = (session.clone(), taken_from.clone());
        answers[asked.at] = Some(taken.acquired(&claim.scope, &claim.owner, *token, session, taken_from, orders));
    }
    Ok(answers)
}

/// Scopes to take.
#[derive(Default)]
struct Taking<'a> {
    of: Vec<Asked<'a>>,
}

/// A scope that is about to be taken.
struct Asked<'a> {
    at: usize,
    claim: &'a Claim,
    seen: Epoch,
    token: Uuid,
    taken_from: Option<String>,
}

impl<'a> Taking<'a> {
    fn add(&mut self, at: usize, claim: &'a Claim, seen: Epoch, taken_from: Option<String>) {
        self.of.push(Asked { at, claim, seen, token: Uuid::new_v4(), taken_from });
    }

    /// Takes them, each unless its epoch moved.
    async fn taken<S: Session>(&self, ask: &Ask<'_, S>) -> Result<Vec<(Placed, Taken, Orders)>> {
        fn list<'a, T: 'a>(of: &'a [Asked<'a>], each: impl Fn(&'a Asked<'a>) -> T) -> Vec<T> {
            of.iter().map(each).collect()
        }
        let tenants = list(&self.of, |it| it.claim.scope.tenant.as_str());
        let projections = list(&self.of, |it| it.claim.scope.projection);
        let nodes = list(&self.of, |it| it.claim.owner.node.as_str());
        let incarnations = list(&self.of, |it| Key::from(it.claim.owner.incarnation));
        let tokens = list(&self.of, |it| Key::from(it.token));
        let epochs = list(&self.of, |it| it.seen.counter);
        let seen = list(&self.of, |it| Key::from(it.seen.token));
        let of: [Parameter<'_>; 7] = [&tenants, &projections, &nodes, &incarnations, &tokens, &epochs, &seen];
        ask.all(sql!(SQL, "acquire_take"), &of).await
    }
}

/// Place of a row in the list that was asked for, from 0.
struct Placed(usize);

impl Stored for (Placed, Taken, Orders) {
    fn read(row: &impl Columns) -> Result<(Placed, Taken, Orders)> {
        let (taken, orders) = Stored::read(row)?;
        Ok((Placed::read(row, 9)?, taken, orders))
    }
}

impl Placed {
    fn read(row: &impl Columns, at: usize) -> Result<Placed> {
        let place: i64 = row.at(at)?;
        Ok(Placed(usize::try_from(place - 1).unwrap_or(usize::MAX)))
    }
}

/// A scope before a takeover.
struct Found {
    at: usize,
    ownership: Ownership,
    epoch: Epoch,
    former: FormerWriter,
}

impl Stored for Found {
    fn read(row: &impl Columns) -> Result<Found> {
        Ok(Found {
            at: Placed::read(row, 7)?.0,
            ownership: Ownership::read(row)?,
            epoch: Epoch { counter: row.at(3)?, token: row.at(4)? },
            former: FormerWriter { pid: row.at(5)?, started: row.at(6)? },
        })
    }
}

/// The backend that wrote under the former epoch, if it still exists. Its start is named, so that an unrelated backend
/// with the same pid is not ended.
pub(super) struct FormerWriter {
    pub(super) pid: Option<i32>,
    pub(super) started: Option<String>,
}

impl FormerWriter {
    /// True when the backend exists and is no session that this store uses for other scopes.
    fn is_of_another(&self, connections: &Connections) -> bool {
        self.pid.is_some_and(|pid| !connections.is_own(pid))
    }
}

/// Ends the former writer's backend, and waits until it is gone. A session that this store uses for other scopes is not
/// ended.
pub(super) async fn end_former_writer<S: Session>(ask: &Ask<'_, S>, former: FormerWriter) -> Result<()> {
    if !former.is_of_another(ask.connections) {
        return Ok(());
    }
    let (Some(pid), Some(started)) = (former.pid, former.started) else { return Ok(()) };
    match ask.run(sql!(SQL, "end_former_writer"), &[&pid, &started]).await {
        // A role without the right to end it leaves that to the session's own time-outs. The epoch fences it all the
        // same.
        Err(error) if error.category == Category::Unauthorized => Ok(()),
        ended => ended.map(|_| ()),
    }
}

/// Creates the scope with its first generation. Not an error when another process did.
pub(super) async fn create_scope<S: Session>(ask: &Ask<'_, S>, scope: &Scope) -> Result<()> {
    let of = (vec![scope.tenant.as_str()], vec![scope.projection], vec![decide::rules_version(scope)]);
    match ask.run(sql!(SQL, "create"), &[&of.0, &of.1, &of.2]).await {
        Err(error) if !error.duplicate => Err(error),
        _ => Ok(()),
    }
}

async fn one<S: Session>(ask: &Ask<'_, S>, scope: &Scope) -> Result<Option<ScopeRow>> {
    ask.first(sql!(SQL, "one"), &[&scope.tenant.as_str(), &scope.projection]).await
}
