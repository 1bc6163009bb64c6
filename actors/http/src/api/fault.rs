//! Errors of the interface: one table from the failure vocabulary to status and code.
//!
//! *Guarantees.* Every error has the same form, whoever found it. `next` is a step of an HTTP client. An internal cause
//! stays in the log, under the id of the request.

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use serde_json::{Map, Value, json};

/// Text of an error whose cause is no business of the caller.
const INTERNAL: &str = "the node failed to answer; its log has the cause under this request id";

/// Answer of a route.
pub type Answered = Result<Response<Body>, Fault>;

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Stable word.
    pub code: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// Category of the failure vocabulary.
    pub category: Category,
    /// Description for a person.
    pub message: String,
    /// Facts for a program.
    pub details: Map<String, Value>,
    /// Next step for the caller.
    pub next: String,
    /// True when the same request may succeed later.
    pub retryable: bool,
    /// Seconds after which another attempt makes sense.
    pub retry_after: Option<u32>,
    /// Methods that the path has.
    pub allow: Option<Box<str>>,
}

impl Fault {
    /// Makes the fault of this code. The table below gives the rest.
    fn of(code: &'static str, status: u16, category: Category, message: impl Into<String>, next: &str) -> Fault {
        Fault {
            code,
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            category,
            message: message.into(),
            details: Map::new(),
            next: next.to_owned(),
            retryable: false,
            retry_after: None,
            allow: None,
        }
    }

    fn again(self, seconds: Option<u32>) -> Fault {
        Fault { retryable: true, retry_after: seconds, ..self }
    }

    /// Adds a fact.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Fault {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Replaces the next step.
    #[must_use]
    pub fn next(self, next: impl Into<String>) -> Fault {
        Fault { next: next.into(), ..self }
    }

    /// A parameter, a header or a body is wrong.
    pub fn invalid(message: impl Into<String>) -> Fault {
        Fault::category(Category::InvalidArgument, message)
    }

    /// The caller did not prove an identity.
    pub fn unauthorized(message: impl Into<String>) -> Fault {
        let next = "send `authorization: Bearer TOKEN` with a token of this node's identities";
        Fault::of("unauthorized", 401, Category::Unauthorized, message, next)
    }

    /// The caller is known and may not do this.
    pub fn forbidden(message: impl Into<String>) -> Fault {
        let next = "ask an administrator of the node for the right; GET /api/v1/whoami lists yours";
        Fault::of("forbidden", 403, Category::Unauthorized, message, next)
    }

    /// Nothing of this name is there.
    pub fn not_found(message: impl Into<String>) -> Fault {
        Fault::category(Category::NotFound, message)
    }

    /// The path does not have this method.
    pub fn method(allow: String) -> Fault {
        let message = format!("this path has the methods {allow}");
        let next = "use one of the methods in the header `allow`";
        let fault = Fault::of("method_not_allowed", 405, Category::InvalidArgument, message, next);
        Fault { allow: Some(allow.into()), ..fault }
    }

    /// The body did not arrive in time.
    pub fn too_slow() -> Fault {
        let next = "send the body without pauses, or in smaller requests";
        Fault::of("request_timeout", 408, Category::InvalidArgument, "the body did not arrive in time", next)
            .again(None)
    }

    /// The body is larger than this request may have.
    pub fn too_large(bytes_max: usize) -> Fault {
        let message = format!("the body has more than {bytes_max} bytes");
        Fault::of("payload_too_large", 413, Category::InvalidArgument, message, "send fewer events in a request")
    }

    /// The body has another type or encoding than this request takes.
    pub fn media_type(message: impl Into<String>) -> Fault {
        let next = "send `content-type: application/json` (batches: application/x-ndjson), gzip or zstd at most";
        Fault::of("unsupported_media_type", 415, Category::InvalidArgument, message, next)
    }

    /// The caller asks too often.
    pub fn rate(wait_s: u32) -> Fault {
        let message = format!("too many requests of this identity; the next one is taken in {wait_s} s");
        let next = "wait for the seconds in `retry-after`, or send events in batches";
        Fault::of("rate_limited", 429, Category::Unavailable, message, next).again(Some(wait_s))
    }

    /// The original service has this, and a node never will.
    pub fn no_workflows() -> Fault {
        let message = "this server has no workflow layer";
        let next = "keep using the service that has it; events and projections are here";
        Fault::of("not_implemented", 501, Category::NotFound, message, next).detail("layer", "workflow")
    }

    /// The node is busy.
    pub fn busy(message: impl Into<String>) -> Fault {
        Fault::category(Category::Unavailable, message)
    }

    /// Makes the fault of a category: the table.
    pub fn category(category: Category, message: impl Into<String>) -> Fault {
        let of = |code, status, next: &str| Fault::of(code, status, category, message, next);
        match category {
            Category::InvalidArgument => {
                of("invalid_argument", 400, "correct the request; /api/v1/openapi.json describes it")
            }
            Category::NotFound => of("not_found", 404, "check the id and the tenant"),
            Category::Conflict => of("conflict", 409, "read what is stored before the next attempt"),
            Category::IdempotencyConflict => {
                of("idempotency_conflict", 409, "use a new idempotency key for another event or request")
            }
            Category::EventSequenceInvalid => of(
                "event_sequence_invalid",
                409,
                "append the events of a trace in order, or leave trace_seq out and let the server number them",
            ),
            Category::Fenced => of("fenced", 409, "another node owns this now; ask again").again(None),
            Category::ProjectionOutOfDate => {
                of("projection_out_of_date", 409, "ask again, with a larger wait_ms, or with allow_stale=true")
                    .again(None)
            }
            Category::SchemaViolation => of("schema_violation", 422, "correct the event; nothing of it was stored"),
            Category::PiiViolation => {
                of("pii_policy_violation", 422, "take the credential out of the event; nothing of it was stored")
            }
            Category::Internal => {
                Fault { message: INTERNAL.to_owned(), ..of("internal_error", 500, "report it with the request id") }
            }
            Category::Storage => {
                of("storage", 503, "ask again in a moment; the node's log has the cause").again(Some(1))
            }
            Category::Unavailable => of("unavailable", 503, "ask again in a moment").again(Some(1)),
            // The node's own password at the database: the caller's token is good.
            Category::Unauthorized => Fault {
                message: "the node cannot reach its database".to_owned(),
                ..of("unavailable", 503, "ask again in a moment").again(Some(1))
            },
            Category::VersionMismatch => {
                of("version_mismatch", 503, "tell the operator of the node: its versions do not match")
            }
            Category::OutcomeUnknown => {
                of("outcome_unknown", 504, "it may have happened: ask again with the same idempotency-key").again(None)
            }
        }
    }

    /// Lists one fault per code, by status.
    pub fn every() -> Vec<Fault> {
        let mut all: Vec<Fault> = Category::ALL.map(|category| Fault::category(category, "")).into();
        all.extend([
            Fault::unauthorized(""),
            Fault::forbidden(""),
            Fault::method(String::new()),
            Fault::too_slow(),
            Fault::too_large(0),
            Fault::media_type(""),
            Fault::rate(1),
            Fault::no_workflows(),
        ]);
        all.sort_by_key(|fault| (fault.status, fault.code));
        all.dedup_by_key(|fault| fault.code);
        all
    }

    /// Writes the error member of the envelope.
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code,
            "category": self.category.as_str(),
            "message": self.message,
            "details": self.details,
            "retryable": self.retryable,
            "next": self.next,
        })
    }

    /// Writes the answer.
    pub fn response(&self, request_id: &str) -> Response<Body> {
        let body = json!({ "error": self.to_json(), "request_id": request_id });
        let mut response = Response::new(Body::from(format!("{body}\n")));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

impl From<AdminError> for Fault {
    fn from(error: AdminError) -> Fault {
        Fault::category(error.category, error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_has_a_status_and_a_next_step_of_an_http_client() {
        for category in Category::ALL {
            let fault = Fault::category(category, "m");
            assert!(fault.status.is_client_error() || fault.status.is_server_error(), "{category}");
            assert!(!fault.next.is_empty() && !fault.next.contains("--") && !fault.next.contains("decisiongraph "));
        }
        assert_eq!(Fault::category(Category::Unauthorized, "m").status, 503, "the node's password is not the caller's");
        assert!(!Fault::category(Category::Internal, "secret cause").to_json().to_string().contains("secret cause"));
    }
}
