//! The tenants of the database.

use crate::request::{Facts, FromDatabase, Reply, Request, Right};
use decisiongraph_projections::TenantId;
use decisiongraph_records::TenantHead;
use serde::{Deserialize, Serialize};

/// A page of the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantsRequest {
    /// Tenant behind which the page starts.
    #[serde(default)]
    pub after: Option<TenantId>,
    /// Most tenants per page, at most [`TENANTS_PAGE_MAX`].
    pub limit: i64,
}

/// Most tenants per page.
pub const TENANTS_PAGE_MAX: i64 = 10_000;

impl Request for TenantsRequest {
    const FACTS: Facts = Facts::reads("tenants", Some(Right::Observe)).since(3);
    type Reply = TenantsReply;
    type Source = FromDatabase;
}

/// A page of the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantsReply {
    /// Tenants by the bytes of their ids.
    pub tenants: Vec<TenantHead>,
    /// True when the list goes on. Ask again with `after` = the last tenant.
    pub more: bool,
}

impl Reply for TenantsReply {}
