//! Facts about a route. The router, authorization, rates, metrics, the OpenAPI document and the reference page follow
//! them.

use super::call::Call;
use super::fault::Answered;
use super::limits::Class;
use super::parameter::{Parameter, TENANT};
use decisiongraph_protocol::Right;
use futures_util::future::BoxFuture;

/// Method of a route. `HEAD` comes with `GET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Changes something.
    Post,
}

impl Method {
    /// Returns the method as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

/// Proof that a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// No identity.
    Nothing,
    /// Any identity.
    Identity,
    /// An identity with this right.
    Right(Right),
}

/// Logs that a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No log.
    None,
    /// The log of one tenant, which the request names.
    Tenant,
    /// The log of one tenant, or every log when the request names none.
    Node,
    /// Every log: the whole node.
    NodeWide,
}

/// Body that a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// No body.
    Nothing,
    /// A JSON object of at most this many bytes.
    Json(usize),
    /// A JSON object, or no body at all.
    MaybeJson(usize),
    /// One JSON object per line: at most so many bytes as they arrive, and so many when unpacked.
    Lines(usize, usize),
    /// Spans as OTLP has them, of at most this many bytes.
    Otlp(usize),
}

/// A route.
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path, with `{names}` of its variable parts.
    pub path: &'static str,
    /// Name in metrics, spans and the OpenAPI document.
    pub word: &'static str,
    /// Proof that it asks for.
    pub needs: Needs,
    /// Logs that it is about.
    pub place: Place,
    /// Class for its rate.
    pub class: Class,
    /// Body that it takes.
    pub takes: Takes,
    /// Parameters of its query, besides `tenant`.
    pub parameters: &'static [&'static [Parameter]],
    /// Statuses of its success, the first one first.
    pub success: u16,
    /// Schema of the member `data` of its answer, by name; none when the answer has no envelope.
    pub data: Option<&'static str>,
    /// Purpose, in one sentence.
    pub about: &'static str,
    /// Answers a request.
    pub answer: fn(Call) -> BoxFuture<'static, Answered>,
}

impl Route {
    /// Lists the parameters of the query.
    pub fn parameters(&self) -> impl Iterator<Item = &'static Parameter> + Clone {
        let tenant: &'static [Parameter] = match self.place {
            Place::Tenant | Place::Node => &[TENANT],
            Place::None | Place::NodeWide => &[],
        };
        tenant.iter().chain(self.parameters.iter().copied().flatten())
    }

    /// True when the route may change something.
    pub fn changes(&self) -> bool {
        self.method == Method::Post
    }
}
