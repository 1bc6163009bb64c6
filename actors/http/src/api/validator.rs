//! Validators of answers: an answer that the caller has already is not made again.
//!
//! *Guarantees.* The validator is that of the rows in the query's own snapshot, and only of rows that were current
//! there. A caller without a validator costs no further read.

use super::call::{Call, filter};
use super::fault::{Answered, Fault};
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderValue, Response, StatusCode};
use decisiongraph_protocol::DigestRequest;
use decisiongraph_protocol::query::RowsState;
use std::fmt::Write as _;

/// Characters of a digest in a validator.
const DIGEST_CHARS: usize = 16;

/// Answers that nothing changed, when the caller has the answer of the present state of these projections.
pub async fn unchanged(call: &Call, projections: &[&str]) -> Result<Option<Answered>, Fault> {
    let Some(known) = call.headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok()) else { return Ok(None) };
    let one = if let [one] = projections { Some((*one).to_owned()) } else { None };
    let state = call.ask_for_the_route(DigestRequest(filter(call.tenant.clone(), one))).await?;
    let rows = |name: &&str| {
        let scope = state.digests.iter().find(|scope| scope.projection == **name)?;
        // Behind its last event, more of the log is on its way, whatever the rows say.
        Some(RowsState {
            generation: scope.generation.filter(|_| scope.cursor >= state.last_log_seq)?,
            cursor: scope.cursor,
            last_log_seq: state.last_log_seq,
            digest: scope.digest.clone(),
        })
    };
    let rows: Option<Vec<RowsState>> = projections.iter().map(rows).collect();
    let Some(tag) = rows.and_then(|rows| tag(&rows)) else { return Ok(None) };
    let same = known.split(',').any(|known| known.trim().as_bytes() == tag.as_bytes());
    Ok(same.then(|| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        put(&mut response, tag);
        Ok(response)
    }))
}

/// Puts the validator of these rows on an answer.
pub fn validated(mut response: Response<Body>, rows: &[RowsState]) -> Response<Body> {
    if let Some(tag) = tag(rows) {
        put(&mut response, tag);
    }
    response
}

fn put(response: &mut Response<Body>, tag: HeaderValue) {
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

/// Writes the validator of these rows; none without rows.
fn tag(rows: &[RowsState]) -> Option<HeaderValue> {
    let mut tag = String::from("W/\"");
    for RowsState { generation, cursor, last_log_seq, digest } in rows {
        // The digest tells two histories apart that are equally long, as after a restore.
        let digest: String = digest.chars().skip_while(|c| *c != ':').skip(1).take(DIGEST_CHARS).collect();
        let _ = write!(tag, "{generation}.{cursor}.{last_log_seq}.{digest}.");
    }
    if rows.is_empty() {
        return None;
    }
    tag.pop();
    tag.push('"');
    HeaderValue::from_str(&tag).ok()
}
