//! Routes about the interface itself and its caller.

use super::call::{Call, json_response, word};
use super::fault::Answered;
use axum::http::StatusCode;
use decisiongraph_projections::catalogue;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

/// `GET /api/healthz`: open, and answered as long as the process answers.
pub fn healthz(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let node = call.api.surroundings.state();
        let projections: Vec<&str> = catalogue::ALL.iter().map(|projection| projection.name()).collect();
        let body = json!({
            "deployment_env": call.api.deployment,
            "version": env!("CARGO_PKG_VERSION"),
            "status": node.status,
            "projector": { "projections": projections },
            "store": { "backend": node.backend, "up": node.database_up },
        });
        Ok(json_response(StatusCode::OK, format!("{body}\n")))
    }
    .boxed()
}

/// `GET /api/v1/openapi.json`.
pub fn document(call: Call) -> BoxFuture<'static, Answered> {
    async move { Ok(json_response(StatusCode::OK, call.api.document.get().cloned().unwrap_or_default())) }.boxed()
}

/// `GET /api/v1/whoami`.
pub fn whoami(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let caller = call.caller()?;
        let mut rights: Vec<String> = caller.rights().iter().map(|right| word(*right)).collect();
        rights.sort_unstable();
        call.data(json!({
            "name": caller.identity.name,
            "roles": caller.identity.roles,
            "rights": rights,
            "tenants": caller.identity.tenants,
            "token_id": caller.token_id,
            "expires_at": caller.expires_at,
        }))
    }
    .boxed()
}

/// The paths of the original service's workflow layer, which a node does not have.
pub fn workflows(_: Call) -> BoxFuture<'static, Answered> {
    async move { Err(super::fault::Fault::no_workflows()) }.boxed()
}
