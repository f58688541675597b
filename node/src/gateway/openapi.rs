//! The OpenAPI 3.1 document of the gateway, made of the catalogue and of the table of refusal codes.
//!
//! The same executable gives the same bytes. Schemas are those of the catalogue as they stand: OpenAPI 3.1 has the
//! JSON Schema of 2020-12.

use crate::fields::{self, catalogue};
use actors::{CatalogOperation, CatalogResource};
use proto::RefusalCode;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// The document as JSON.
pub(super) fn document() -> String {
    let mut paths = Map::new();
    for resource in catalogue() {
        for operation in &resource.operations {
            let path = format!("/api/{}/{}", resource.resource, operation.verb);
            paths.insert(path, path_item(resource, operation));
        }
    }
    paths.insert("/ingest/{topic}".to_owned(), ingest());
    let tags =
        catalogue().iter().map(|it| json!({"name": it.resource, "description": it.description}));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Manifold",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "The admin API and ingestion over HTTP. Every operation is a request of the admin API, \
                asked with the caller's own credentials and permissions.",
        },
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"bearer": []}],
        "tags": tags.chain([json!({"name": "ingest", "description": "messages"})]).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {
                    "type": "http", "scheme": "basic",
                    "description": "User name, <name> or <tenant>/<project>/<name>, and secret.",
                },
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
            "schemas": {"Refusal": refusal()},
            "responses": responses(),
        },
    })
    .to_string()
}

fn path_item(resource: &CatalogResource, operation: &CatalogOperation) -> Json {
    let name = |suffix: &str| {
        format!("{}_{}{suffix}", resource.resource.trim_start_matches('$'), operation.verb)
    };
    let CatalogOperation { description, role, request, .. } = operation;
    let common = json!({
        "summary": description,
        "description": format!("Needs the role {role}."),
        "tags": [resource.resource],
        "responses": answers("200", json!({
            "description": "It is done, durably.",
            "content": {"application/json": {"schema": {
                "type": "object",
                "properties": {"ok": {"const": true}, "data": true},
                "required": ["ok", "data"],
            }}},
        })),
    });
    let with = |more: Json| {
        let mut all = common.clone();
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            all[key] = value;
        }
        all
    };
    let mut post = with(json!({
        "operationId": name(""),
        "requestBody": {"content": {"application/json": {"schema": request}}},
    }));
    if operation.changes {
        post["parameters"] = json!([{
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Makes a repeated request harmless: it is done once, and answered the same again.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        }]);
        return json!({ "post": post });
    }
    let get = with(json!({ "operationId": name("_by_query"), "parameters": query(request) }));
    json!({ "get": get, "post": post })
}

/// The fields of a request as parameters of a query.
fn query(schema: &Json) -> Vec<Json> {
    let mut found = BTreeMap::new();
    let required = schema.get("required").and_then(Json::as_array);
    for form in fields::forms(schema).chain([schema]) {
        for (name, field) in form.get("properties").and_then(Json::as_object).into_iter().flatten()
        {
            let is_required = required.is_some_and(|names| names.iter().any(|it| it == name));
            let mut parameter = json!({
                "name": name, "in": "query", "schema": field, "required": is_required,
            });
            if let Some(text) = field.get("description") {
                parameter["description"] = text.clone();
            }
            found.insert(name, parameter);
        }
    }
    found.into_values().collect()
}

fn ingest() -> Json {
    let parameter = |name: &str, place: &str, schema: Json, description: &str| {
        json!({
            "name": name, "in": place, "schema": schema, "description": description,
            "required": place == "path",
        })
    };
    let mut responses =
        answers("204", json!({"description": "It is taken, with the promise of PUBACK."}));
    responses["202"] = json!({"description": "It is on its way with QoS 0, without a promise."});
    json!({"post": {
        "operationId": "ingest",
        "summary": "publishes the body on a topic",
        "description": "With the caller's own permissions. Content-Type becomes the content type of the message.",
        "tags": ["ingest"],
        "parameters": [
            parameter("topic", "path", json!({"type": "string", "minLength": 1}),
                "The topic. Its slashes stand in the path as they are."),
            parameter("qos", "query", json!({"type": "integer", "enum": [0, 1], "default": 1}),
                "With which guarantee."),
            parameter("retain", "query", json!({"type": "boolean", "default": false}),
                "Whether it is kept for later subscribers."),
        ],
        "requestBody": {"content": {"*/*": {"schema": {}}}},
        "responses": responses,
    }})
}

/// What an operation may answer: `done`, or any refusal.
fn answers(status: &str, done: Json) -> Json {
    let mut answers = Map::from_iter([(status.to_owned(), done)]);
    for (status, _) in statuses() {
        let reference = format!("#/components/responses/{status}");
        answers.insert(status.to_string(), json!({ "$ref": reference }));
    }
    Json::Object(answers)
}

/// The codes by their status.
fn statuses() -> BTreeMap<u16, Vec<&'static str>> {
    let mut statuses = BTreeMap::<u16, Vec<&str>>::new();
    for code in RefusalCode::ALL {
        statuses.entry(code.number()).or_default().push(code.as_str());
    }
    statuses
}

fn responses() -> Json {
    let response = |codes: Vec<&str>| {
        json!({
            "description": codes.join(", "),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
        })
    };
    let all = statuses().into_iter();
    Json::Object(all.map(|(status, codes)| (status.to_string(), response(codes))).collect())
}

fn refusal() -> Json {
    json!({
        "description": "The request was refused and changed nothing.",
        "type": "object",
        "properties": {
            "ok": {"const": false},
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "string", "enum": RefusalCode::ALL.map(RefusalCode::as_str)},
                    "message": {"type": "string", "description": "What is wrong, for a person."},
                    "field": {"type": "string", "description": "The path of the field that is wrong, if it is one."},
                },
                "required": ["code", "message"],
            },
        },
        "required": ["ok", "error"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_catalogue_is_in_it_under_a_name_of_its_own() {
        let document: Json = serde_json::from_str(&document()).unwrap();
        let mut names = std::collections::BTreeSet::new();
        for resource in catalogue() {
            for operation in &resource.operations {
                let path = format!("/api/{}/{}", resource.resource, operation.verb);
                let item = &document["paths"][&path];
                let post = &item["post"];
                let body = &post["requestBody"]["content"]["application/json"]["schema"];
                assert_eq!(*body, operation.request, "{path}");
                assert_eq!(item["get"].is_object(), !operation.changes, "{path}");
                for method in ["get", "post"].iter().filter_map(|it| item.get(it)) {
                    assert!(names.insert(method["operationId"].to_string()), "{path}");
                }
            }
        }
        let count: usize = catalogue().iter().map(|it| it.operations.len()).sum();
        assert_eq!(document["paths"].as_object().unwrap().len(), count + 1);
    }

    #[test]
    fn it_is_the_same_each_time_and_its_references_lead_somewhere() {
        let text = document();
        assert_eq!(text, document());
        let document: Json = serde_json::from_str(&text).unwrap();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
