//! Answers in the terms of OTLP: the response of an export, and a `google.rpc.Status` for an error.
//!
//! *Guarantees.* An answer has the form of its request. An error after which the same request may succeed has a status
//! that exporters repeat.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;
use serde_json::json;

/// Statuses after which an exporter repeats its request.
const REPEATED: [u16; 4] = [429, 502, 503, 504];
/// Field `message` of `google.rpc.Status`.
const STATUS_MESSAGE: u32 = 2;

/// Form of a request and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Binary protobuf.
    Protobuf,
    /// JSON.
    Json,
}

impl Form {
    /// Types of the content, in this form and in the other one.
    pub const TYPES: [&'static str; 2] = ["application/x-protobuf", "application/json"];

    /// Returns the form of a request with these headers.
    pub fn of(headers: &HeaderMap) -> Form {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case(Form::TYPES[1]) { Form::Json } else { Form::Protobuf }
    }

    fn put(self, mut response: Response<Body>, body: Vec<u8>) -> Response<Body> {
        let kind = Form::TYPES[usize::from(self == Form::Json)];
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.map(|_| Body::from(body))
    }
}

/// Writes the answer to an export. The message says what was left out, and why.
pub fn exported(form: Form, rejected_spans: usize, message: String) -> Response<Body> {
    let rejected = i64::try_from(rejected_spans).unwrap_or(i64::MAX);
    let whole = message.is_empty();
    let body = match form {
        Form::Json if whole => b"{}".to_vec(),
        Form::Json => {
            let partial = json!({ "rejectedSpans": rejected.to_string(), "errorMessage": message });
            json!({ "partialSuccess": partial }).to_string().into_bytes()
        }
        Form::Protobuf => {
            let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: message };
            ExportTraceServiceResponse { partial_success: (!whole).then_some(partial) }.encode_to_vec()
        }
    };
    form.put(Response::new(Body::empty()), body)
}

/// Returns the status of an error for an exporter.
pub fn status(status: StatusCode, retryable: bool) -> StatusCode {
    match retryable && !REPEATED.contains(&status.as_u16()) {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => status,
    }
}

/// Writes an error in place of the body of this answer, whose headers stay.
pub fn failed(form: Form, message: String, retryable: bool, answer: Response<Body>) -> Response<Body> {
    let body = match form {
        Form::Json => json!({ "message": message }).to_string().into_bytes(),
        Form::Protobuf => {
            let mut body = Vec::new();
            prost::encoding::string::encode(STATUS_MESSAGE, &message, &mut body);
            body
        }
    };
    let mut answer = form.put(answer, body);
    *answer.status_mut() = status(answer.status(), retryable);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn body(response: Response<Body>) -> Vec<u8> {
        response.into_body().collect().await.expect("a body").to_bytes().to_vec()
    }

    #[tokio::test]
    async fn an_answer_has_the_form_of_its_request() {
        assert_eq!(body(exported(Form::Protobuf, 0, String::new())).await, b"");
        assert_eq!(body(exported(Form::Json, 0, String::new())).await, b"{}");
        let told = body(exported(Form::Json, 3, "why".to_owned())).await;
        assert_eq!(told, br#"{"partialSuccess":{"errorMessage":"why","rejectedSpans":"3"}}"#);
        let told = exported(Form::Protobuf, 3, "why".to_owned());
        assert_eq!(told.headers()[CONTENT_TYPE], "application/x-protobuf");
        let told = ExportTraceServiceResponse::decode(&*body(told).await).expect("a response");
        let partial = told.partial_success.expect("partial");
        assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (3, "why"));
    }

    #[tokio::test]
    async fn an_error_is_a_status_message_under_the_headers_of_the_answer() {
        let mut answer = Response::new(Body::from("{}"));
        *answer.status_mut() = StatusCode::REQUEST_TIMEOUT;
        answer.headers_mut().insert("retry-after", HeaderValue::from(1));
        let told = failed(Form::Protobuf, "why".to_owned(), true, answer);
        assert_eq!((told.status().as_u16(), &told.headers()["retry-after"]), (503, &HeaderValue::from(1)));
        assert_eq!(body(told).await, b"\x12\x03why", "field 2, a string of 3 bytes");
        assert_eq!(status(StatusCode::GATEWAY_TIMEOUT, true), 504);
        assert_eq!(status(StatusCode::BAD_REQUEST, false), 400);
    }
}
