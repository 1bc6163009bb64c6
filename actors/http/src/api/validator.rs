//! Validators of answers: an answer that the caller has already is not made again.
//!
//! *Guarantees.* The validator is that of the rows before the query. A change meanwhile makes the next question a new
//! answer, and never an old one.

use super::call::{Call, filter};
use super::fault::{Answered, Fault};
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderValue, Response, StatusCode};
use decisiongraph_protocol::DigestRequest;
use std::fmt::Write as _;

/// Characters of a digest in a validator.
const DIGEST_CHARS: usize = 16;

/// State of the rows behind an answer.
pub struct Validator(Option<HeaderValue>);

impl Validator {
    /// Reads the state of these projections. An answer of one that is behind has no validator.
    pub async fn of(call: &Call, projections: &[&str]) -> Result<Validator, Fault> {
        let state = call.ask_for_the_route(DigestRequest(filter(call.tenant.clone(), None))).await?;
        let mut tag = String::from("W/\"");
        for name in projections {
            let Some(scope) = state.digests.iter().find(|scope| scope.projection == *name) else {
                return Ok(Validator(None));
            };
            // Behind its last event, more of the log is on its way, whatever the rows say.
            let Some(generation) = scope.generation.filter(|_| scope.cursor >= state.last_log_seq) else {
                return Ok(Validator(None));
            };
            // The digest tells two histories apart that are equally long, as after a restore.
            let digest: String = scope.digest.chars().skip_while(|c| *c != ':').skip(1).take(DIGEST_CHARS).collect();
            let _ = write!(tag, "{generation}.{}.{}.{digest}.", scope.cursor, state.last_log_seq);
        }
        tag.pop();
        tag.push('"');
        Ok(Validator(HeaderValue::from_str(&tag).ok()))
    }

    /// Answers that nothing changed, when the caller has the answer of this state.
    pub fn unchanged(&self, call: &Call) -> Option<Answered> {
        let known = call.headers.get(IF_NONE_MATCH)?.to_str().ok()?;
        let tag = self.0.as_ref()?.to_str().ok()?;
        known.split(',').any(|known| known.trim() == tag).then(|| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            Ok(self.put(response))
        })
    }

    /// Puts the validator on an answer.
    pub fn put(&self, mut response: Response<Body>) -> Response<Body> {
        if let Some(tag) = &self.0 {
            response.headers_mut().insert(ETAG, tag.clone());
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        }
        response
    }
}
