//! The log that a request is about, and its existence: checked once, before anything else is done.
//!
//! *Guarantees.* No reply calls a log sound, current or rebuilt that does not exist. A tenant without events and scopes
//! is `not_found` for every request but an append. A failure or job of another tenant or projection than the named one
//! is not touched.

use super::handler::{StoreAnswers, limit_in, tenant_or_default};
use decisiongraph_engine::Engine;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{
    AdminError, Command, Handle, SEAL_FORGOTTEN, ScopeFilter, Subject, TENANTS_PAGE_MAX, TenantsReply, TenantsRequest,
    seal_finding, seal_next,
};
use decisiongraph_store::ReadView;

/// Most tenants in a hint.
const HINT_TENANTS: usize = 5;

/// Log that a request is about, after the check that it exists; none when the request is about no single log.
pub struct Asked(Option<TenantId>);

impl Asked {
    /// Adds the command that helps to the error.
    pub fn advise(&self, error: AdminError) -> AdminError {
        match &self.0 {
            // An error with a next step of its own keeps it: what is behind need not be a projection.
            _ if !error.has_usual_next() => error,
            Some(tenant) if seal_finding(&error).is_some() || error.message.starts_with(SEAL_FORGOTTEN) => {
                let next = seal_next(tenant, &error.message);
                error.next(next)
            }
            Some(tenant) if error.category == Category::ProjectionOutOfDate => {
                let catch_up = Command::of("catch-up", tenant);
                error.next(format!("run {catch_up}, wait longer (--wait), or accept an older answer (--allow-stale)"))
            }
            _ => error,
        }
    }
}

/// Checks the subject of a request. `not_found` when its log does not exist, or when its failure or job is not of the
/// named scope. An asker who does not reach all tenants is told of another's failure or job as of one that does not
/// exist. A query of an era of the mark (`query_in`) takes a tenant that was found there once as known.
pub async fn settle(
    engine: &Engine,
    subject: Subject<'_>,
    reaches_all: bool,
    query_in: Option<u64>,
) -> Result<Asked, AdminError> {
    let store = engine.store();
    let (thing, list, of, found) = match subject {
        Subject::None => return Ok(Asked(None)),
        Subject::Log(tenant) => {
            let named = tenant_or_default(tenant.cloned());
            let is_known = query_in.is_some_and(|era| engine.known_tenants().has(era, &named));
            if !is_known
                && known(&*store.view().await?, tenant).await?
                && let Some(era) = query_in
            {
                engine.known_tenants().add(era, named.clone());
            }
            return Ok(Asked(Some(named)));
        }
        Subject::Failure(_, of) | Subject::Run(_, of) if *of == ScopeFilter::default() => return Ok(Asked(None)),
        Subject::Failure(failure_id, of) => {
            let found = store.view().await?.failure(failure_id).await?;
            let found = found.map(|failure| (failure.tenant, failure.projection));
            (format!("failure {failure_id}"), "failures --all", of, found)
        }
        Subject::Run(run_id, of) => {
            let found = store.view().await?.run(run_id).await?.map(|run| (run.tenant, run.projection));
            (format!("run {run_id}"), "runs", of, found)
        }
    };
    if let Some(tenant) = &of.tenant {
        known(&*store.view().await?, Some(tenant)).await?;
    }
    match found {
        Some((tenant, projection)) => match fits(&thing, list, of, &tenant, &projection) {
            Err(error) if !reaches_all => Err(AdminError { message: format!("there is no {thing}"), ..error }),
            fits => fits.map(|()| Asked(None)),
        },
        None => Ok(Asked(None)),
    }
}

/// Compares a failure or job with the named scope. `not_found` when it is of another.
fn fits(thing: &str, list: &str, named: &ScopeFilter, tenant: &TenantId, projection: &str) -> Result<(), AdminError> {
    let same_tenant = named.tenant.as_ref().is_none_or(|named| named == tenant);
    let same_projection = named.projection.as_deref().is_none_or(|named| named == projection);
    if same_tenant && same_projection {
        return Ok(());
    }
    let meant = named.tenant.as_ref().unwrap_or(tenant);
    let meant = match named.projection.as_deref() {
        Some(projection) => (format!("{meant}/{projection}"), Command::of_scope(list, meant, projection)),
        None => (format!("tenant {meant}"), Command::of(list, meant)),
    };
    let message = format!("{thing} belongs to {tenant}/{projection}, not to {}; nothing was done", meant.0);
    Err(AdminError::new(Category::NotFound, message).next(format!("check the id: {} lists the known ones", meant.1)))
}

/// Checks that this tenant (`default` when none is named) has a log. `not_found` otherwise. While no other tenant
/// exists, `default` passes if no tenant was named. True when it has events.
pub(crate) async fn known(view: &dyn ReadView, named: Option<&TenantId>) -> Result<bool, AdminError> {
    let tenant = tenant_or_default(named.cloned());
    if view.last_log_seq(&tenant, None).await?.0 > 0 {
        return Ok(true);
    }
    // Scopes without events are enough only for a named tenant. Scopes of an unnamed `default` may come from a typing
    // error.
    if named.is_some() && !view.scopes(named).await?.is_empty() {
        return Ok(false);
    }
    let heads = view.tenant_heads(None, HINT_TENANTS + 1).await?;
    let tenants: Vec<TenantId> =
        heads.into_iter().filter(|head| head.tenant != tenant).map(|head| head.tenant).collect();
    if named.is_none() && tenants.is_empty() {
        return Ok(false);
    }
    Err(unknown(named, &tenants))
}

/// Makes the refusal of a tenant without a log, where these tenants (and perhaps more) have one.
pub fn unknown(named: Option<&TenantId>, tenants: &[TenantId]) -> AdminError {
    let message = match named {
        Some(tenant) => format!("there is no tenant `{tenant}`"),
        None => format!("no tenant was named, and there is no tenant `{}`", TenantId::default()),
    };
    let error = AdminError::new(Category::NotFound, message);
    if tenants.is_empty() {
        let import = Command::about_all("import FILE");
        return error.next(format!("no tenant has events yet; {import} imports events"));
    }
    let named: Vec<String> =
        tenants.iter().take(HINT_TENANTS).map(|tenant| shell_word(tenant.as_str()).into_owned()).collect();
    let more = if tenants.len() > HINT_TENANTS { " and more" } else { "" };
    let list = Command::about_all("tenants");
    error.next(format!(
        "this tenant has no events; choose one with --tenant: {}{more}; {list} lists them",
        named.join(", ")
    ))
}

impl Handle<TenantsRequest> for StoreAnswers<'_> {
    async fn answer(&self, request: TenantsRequest) -> Result<TenantsReply, AdminError> {
        let limit = limit_in(request.limit, TENANTS_PAGE_MAX)?;
        let mut tenants = self.store().view().await?.tenant_heads(request.after.as_ref(), limit + 1).await?;
        let more = tenants.len() > limit;
        tenants.truncate(limit);
        Ok(TenantsReply { tenants, more })
    }
}
