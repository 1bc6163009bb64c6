//! The JSON Schemas of events, as the program has them.

use super::call::{Call, json_response};
use super::fault::{Answered, Fault};
use super::query::on_a_line;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use decisiongraph_protocol::schema;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

/// `GET /schemas`.
pub fn list(call: Call) -> BoxFuture<'static, Answered> {
    async move { call.data(json!({ "schemas": schema::list() })) }.boxed()
}

/// `GET /schemas/{name}`: the schema without an envelope, so that a validator can fetch it.
pub fn one(call: Call) -> BoxFuture<'static, Answered> {
    async move {
        let name = call.part("name");
        let found = schema::of(name).ok_or_else(|| unknown(name))?;
        let mut response = json_response(StatusCode::OK, format!("{found}\n"));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/schema+json"));
        Ok(response)
    }
    .boxed()
}

fn unknown(name: &str) -> Fault {
    let name = on_a_line(name);
    let all = schema::list();
    let nearest = all.iter().min_by_key(|listed| strsim::levenshtein(listed.name, &name));
    let hint = nearest.map(|listed| format!("; did you mean `{}`?", listed.name)).unwrap_or_default();
    Fault::not_found(format!("there is no schema `{name}`{hint}")).next("GET /api/v1/schemas lists them")
}
