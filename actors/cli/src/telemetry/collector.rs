//! Transport of exports to an OTLP collector: one HTTP/1.1 request per connection, over hyper.
//!
//! *Guarantees.* An export ends within [`EXPORT_DEADLINE`], whatever the collector does. The log reports once that the
//! collector is not reached, and once that it is reached again. The exporters' own threads wait here; the node's
//! threads never do.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// Longest time for one request, from the connection's start to the end of the answer.
pub const EXPORT_DEADLINE: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Port of a URL without one.
const HTTP_PORT: u16 = 80;

/// Sends the exports of one signal.
#[derive(Debug)]
pub(super) struct Collector {
    /// `traces` or `metrics`.
    signal: &'static str,
    /// The runtime that does the I/O: exporters call from threads without one.
    runtime: Handle,
    away: AtomicBool,
}

impl Collector {
    pub fn new(signal: &'static str, runtime: Handle) -> Collector {
        Collector { signal, runtime, away: AtomicBool::new(false) }
    }

    fn told(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let fault = match outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        match fault {
            Some(error) if !self.away.swap(true, Ordering::SeqCst) => {
                tracing::warn!(signal = self.signal, "collector not reached; exports are dropped until it is: {error}");
            }
            None if self.away.swap(false, Ordering::SeqCst) => {
                tracing::info!(signal = self.signal, "collector reached again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = self.runtime.spawn(async move {
            match tokio::time::timeout(EXPORT_DEADLINE, exchange(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {EXPORT_DEADLINE:?}").into()),
            }
        });
        // The task ends early only when the runtime does.
        let outcome = exchange.await.unwrap_or_else(|error| Err(error.into()));
        self.told(&outcome);
        outcome
    }
}

async fn exchange(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().ok_or("the endpoint has no host")?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(HTTP_PORT))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    head.uri = path;
    head.headers.insert(hyper::header::HOST, authority.as_str().parse()?);
    let answered = async {
        let (head, body) = sender.send_request(Request::from_parts(head, Full::new(body))).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok::<_, HttpError>(Response::from_parts(head, body))
    };
    tokio::pin!(answered, connection);
    tokio::select! {
        answer = &mut answered => answer,
        ended = &mut connection => {
            ended?;
            // The connection may end with the answer still to be read.
            answered.await
        }
    }
}
