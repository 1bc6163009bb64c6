//! The router: every route of the table, what stands for all other paths, and the layers around them.

use super::interface::Api;
use super::route::{Needs, Route};
use super::routes::{BATCH_BODY, NO_WORKFLOWS, ROUTES};
use super::{enter, openapi};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::routing::any;
use decisiongraph_protocol::Right;
use http_body_util::Limited;
use std::collections::BTreeMap;
use std::sync::Arc;
use tower::util::MapRequestLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;

/// Size from which an answer is compressed, in bytes.
const COMPRESS_ABOVE: u64 = 1_024;

/// Paths of the original service's workflow layer.
const WORKFLOWS: [(&str, Right); 3] = [
    ("/api/v1/workflows", Right::Read),
    ("/api/v1/workflow-studio", Right::Read),
    ("/api/v1/admin/workflows", Right::Replay),
];

/// Makes the router: every route of the table, and what stands for all other paths.
pub fn router(api: &Arc<Api>) -> Router {
    api.document.get_or_init(|| format!("{:#}\n", openapi::document()));
    let mut paths: BTreeMap<&str, Vec<&'static Route>> = BTreeMap::new();
    for route in ROUTES {
        paths.entry(route.path).or_default().push(route);
    }
    let mut router = Router::new();
    for (path, routes) in paths {
        let api = Arc::clone(api);
        let routes: Arc<[&'static Route]> = routes.into();
        router = router.route(
            path,
            any(move |parts: Result<RawPathParams, RawPathParamsRejection>, request: Request| {
                enter::enter(api, Some(routes), parts_of(parts), request)
            }),
        );
    }
    for (path, right) in WORKFLOWS {
        let route = NO_WORKFLOWS.iter().find(|route| route.needs == Needs::Right(right));
        for path in [path.to_owned(), format!("{path}/{{*rest}}")] {
            let api = Arc::clone(api);
            router = router.route(&path, any(move |request: Request| enter::never(api, route, request)));
        }
    }
    let unknown = Arc::clone(api);
    let router = router.fallback(move |request: Request| enter::enter(unknown, None, Some(Vec::new()), request));
    let compressed = SizeAbove::new(COMPRESS_ABOVE).and(NotForContentType::SSE);
    let router = router
        .layer(CompressionLayer::new().compress_when(compressed))
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(MapRequestLayer::new(|request: Request| request.map(|body| Body::new(Limited::new(body, BATCH_BODY)))));
    match cors(&api.bounds.cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// Returns the variable parts of a path, decoded; none when they are no UTF-8.
fn parts_of(parts: Result<RawPathParams, RawPathParamsRejection>) -> Option<Vec<(String, String)>> {
    Some(parts.ok()?.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Lets pages of these origins read answers; never with credentials, and never any origin.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    use axum::http::{HeaderValue, Method};
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
            .expose_headers(["x-request-id", "x-log-seq", "retry-after"].map(axum::http::HeaderName::from_static))
    })
}
