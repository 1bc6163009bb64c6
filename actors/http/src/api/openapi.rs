//! The OpenAPI document: made of the table of routes, the table of errors, and the schemas of the objects.

use super::fault::Fault;
use super::parameter::{Form, Parameter};
use super::route::{Needs, Place, Route, Takes};
use super::routes::ROUTES;
use decisiongraph_projections::Category;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Schemas of the objects, by name.
const SCHEMAS: &str = include_str!("schemas.json");

/// Makes the document.
pub fn document() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES {
        paths.entry(route.path).or_default().insert(route.method.as_str().to_lowercase(), operation(route));
    }
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "DecisionGraph",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The event log of decisions and what is projected from it. Within v1 there are only additions: new paths, members, optional parameters and words.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "responses": error_responses(),
            "schemas": schemas,
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route.path.split('/').filter_map(path_parameter).collect();
    if let Place::Tenant | Place::Node = route.place {
        parameters.push(json!({
            "name": "x-tenant-id", "in": "header", "required": false, "schema": { "type": "string" },
            "description": match route.place {
                Place::Tenant => "Tenant of the log. Header or the parameter `tenant`: one of them is needed.",
                _ => "Tenant of the log; every tenant when absent, for callers who reach all of them.",
            },
        }));
    }
    parameters.extend(route.parameters().map(parameter));
    let mut operation = json!({
        "operationId": route.word,
        "summary": route.about,
        "description": needs(route),
        "parameters": parameters,
        "responses": responses(route),
    });
    if route.needs == Needs::Nothing {
        operation["security"] = json!([]);
    }
    if let Some(body) = body(route) {
        operation["requestBody"] = body;
    }
    operation
}

fn needs(route: &Route) -> String {
    match route.needs {
        Needs::Nothing => "Needs no token.".to_owned(),
        Needs::Identity => "Needs a token.".to_owned(),
        Needs::Right(right) => format!("Needs the right `{}`.", super::call::word(right)),
    }
}

fn path_parameter(part: &str) -> Option<Value> {
    let name = part.strip_prefix('{')?.strip_suffix('}')?;
    Some(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }))
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.form {
        Form::Text => json!({ "type": "string" }),
        Form::List => json!({ "type": "array", "items": { "type": "string" } }),
        Form::Number => json!({ "type": "integer", "minimum": 0 }),
        Form::Switch => json!({ "type": "boolean" }),
        Form::Word(words) => json!({ "type": "string", "enum": words }),
    };
    json!({
        "name": parameter.name, "in": "query", "required": parameter.required, "schema": schema,
        "description": parameter.about,
    })
}

fn body(route: &Route) -> Option<Value> {
    let (kind, schema, required) = match route.takes {
        Takes::Nothing => return None,
        Takes::Json(_) => ("application/json", reference(&format!("{}_body", route.word)), true),
        Takes::MaybeJson(_) => ("application/json", reference("Reason"), false),
        Takes::Lines(..) => ("application/x-ndjson", json!({ "type": "string" }), true),
        Takes::Otlp(_) => return Some(json!({ "required": true, "content": otlp_content() })),
    };
    Some(json!({ "required": required, "content": { kind: { "schema": schema } } }))
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Lists the answers of a route: its success, and each error by status.
fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    let content = match route.word {
        "healthz" => json!({ "application/json": { "schema": reference("Healthz") } }),
        "openapi" => json!({ "application/json": { "schema": { "type": "object" } } }),
        "schema" => json!({ "application/schema+json": { "schema": { "type": "object" } } }),
        word if word.ends_with("_stream") => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
        "export" | "audit_pack" => json!({ "application/x-ndjson": { "schema": { "type": "string" } } }),
        "otlp_traces" => otlp_content(),
        "append_batch" => json!({
            "application/x-ndjson": { "schema": { "type": "string" } },
            "application/json": { "schema": envelope("Reply") },
        }),
        _ => json!({ "application/json": { "schema": envelope(route.data.unwrap_or("Reply")) } }),
    };
    responses.insert(
        route.success.to_string(),
        json!({ "description": route.about, "headers": headers(), "content": content }),
    );
    for status in statuses(route) {
        if let Takes::Otlp(_) = route.takes {
            let status_message = json!({ "description": "google.rpc.Status", "content": otlp_content() });
            responses.insert(status.to_string(), status_message);
            continue;
        }
        responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/error_{status}") }));
    }
    Value::Object(responses)
}

/// Describes a message of OTLP, in both of its forms.
fn otlp_content() -> Value {
    json!({ "application/x-protobuf": {}, "application/json": { "schema": { "type": "object" } } })
}

fn envelope(data: &str) -> Value {
    json!({
        "type": "object", "required": ["data", "request_id"],
        "properties": { "data": reference(data), "request_id": { "type": "string" } },
    })
}

/// Lists the statuses of the errors that a route may answer.
fn statuses(route: &Route) -> BTreeSet<u16> {
    let mut all = vec![Fault::invalid(""), Fault::rate(1), Fault::method(String::new())];
    if route.needs != Needs::Nothing {
        all.extend([Fault::unauthorized(""), Fault::forbidden("")]);
        all.extend(Category::ALL.map(|category| Fault::category(category, "")));
    }
    if route.takes != Takes::Nothing {
        all.extend([Fault::too_large(0), Fault::media_type(""), Fault::too_slow()]);
    }
    let status = |fault: &Fault| match route.takes {
        Takes::Otlp(_) => crate::otlp::status(fault.status, fault.retryable),
        _ => fault.status,
    };
    all.iter().map(|fault| status(fault).as_u16()).collect()
}

/// Describes each status of an error, with its codes.
fn error_responses() -> Map<String, Value> {
    let mut codes: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    for fault in Fault::every() {
        codes.entry(fault.status.as_u16()).or_default().push(fault.code);
    }
    let described = codes.into_iter().map(|(status, codes)| {
        let response = json!({
            "description": codes.join(", "), "headers": headers(),
            "content": { "application/json": { "schema": reference("Error") } },
        });
        (format!("error_{status}"), response)
    });
    described.collect()
}

/// Describes the headers of every answer.
fn headers() -> Value {
    json!({ "x-request-id": { "schema": { "type": "string" }, "description": "Id of the request, as in the log." } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_has_its_schema_and_every_schema_is_referred_to() {
        let document = document();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let mut rest = text.as_str();
        let mut used = std::collections::BTreeSet::new();
        while let Some((_, behind)) = rest.split_once("#/components/schemas/") {
            let name = behind.split('"').next().expect("a name");
            assert!(schemas.contains_key(name), "no schema {name}");
            used.insert(name.to_owned());
            rest = behind;
        }
        let unused: Vec<_> = schemas.keys().filter(|name| !used.contains(*name)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn every_route_is_in_the_document() {
        let document = document();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            assert_eq!(operation["operationId"], route.word, "{}", route.path);
            assert!(operation["responses"][route.success.to_string()].is_object());
        }
    }
}
