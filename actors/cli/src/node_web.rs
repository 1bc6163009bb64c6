//! A node's HTTP interface, as the commands of an auditor ask it.
//!
//! *Guarantees.* The token is read from a file that others may not read, and sent over TLS or within this machine. A
//! refusal keeps its category and its message.

use crate::globals::Globals;
use crate::web_client::Web;
use bytes::Bytes;
use decisiongraph_projections::{Category, TenantId};
use decisiongraph_protocol::AdminError;
use decisiongraph_rpc::private_file;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Largest token file, in bytes.
const TOKEN_BYTES_MAX: u64 = 4 * 1024;

/// A node behind HTTP.
pub struct NodeWeb {
    address: String,
    web: Web,
    token: Option<String>,
    tenant: TenantId,
    deadline: Duration,
}

#[derive(Deserialize)]
struct Body<T> {
    data: T,
}

impl NodeWeb {
    /// True for the address of a node's interface.
    pub fn is_address(text: &str) -> bool {
        text.starts_with("http://") || text.starts_with("https://")
    }

    /// Reads an address, and the token that the node wants.
    pub fn open(globals: &Globals, address: &str, token: Option<&Path>) -> Result<NodeWeb, AdminError> {
        let token = match token {
            Some(path) => Some(private_file::read(path, "token", TOKEN_BYTES_MAX)?.trim().to_owned()),
            None => None,
        };
        let web = Web::new(address).map_err(|message| AdminError::new(Category::InvalidArgument, message))?;
        let (tenant, deadline) = (globals.tenant.clone().unwrap_or_default(), Duration::from_secs_f64(globals.timeout));
        Ok(NodeWeb { address: address.to_owned(), web, token, tenant, deadline })
    }

    /// Returns the address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Reads the data of a route. `path` begins with a slash.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        let mut headers = vec![("x-tenant-id", self.tenant.to_string())];
        headers.extend(self.token.as_ref().map(|token| ("authorization", format!("Bearer {token}"))));
        let answer = self.web.ask(Method::GET, path, &headers, Bytes::new(), self.deadline).await;
        let answer = answer.map_err(|message| AdminError::new(Category::Unavailable, message))?;
        if answer.status == StatusCode::OK {
            let body: Result<Body<T>, _> = serde_json::from_slice(&answer.body);
            let unread = |error| format!("the answer of {} cannot be read: {error}", self.address);
            return body
                .map(|body| body.data)
                .map_err(|error| AdminError::new(Category::SchemaViolation, unread(error)));
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = body["error"]["message"].as_str().unwrap_or_default();
        let category = match answer.status {
            StatusCode::NOT_FOUND => Category::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Category::Unauthorized,
            StatusCode::CONFLICT => Category::Conflict,
            status if status.is_server_error() => Category::Unavailable,
            _ => Category::InvalidArgument,
        };
        Err(AdminError::new(category, format!("the node answers {}: {message}", answer.status)))
    }
}
