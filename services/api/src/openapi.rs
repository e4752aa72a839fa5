//! `/openapi.json`: the table of routes and the messages of the contract as an OpenAPI 3.1 document.
//!
//! Schemas follow the JSON form of messages (rest-api.md 1.3, `magpie_proto::json`): integers are numbers, bytes base64, lists and
//! messages may be null.

use std::{collections::BTreeMap, sync::LazyLock};

use bytes::Bytes;
use prost_types::{
    DescriptorProto, FieldDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::{
    contract::{self, DESCRIPTORS, Rpc},
    routes::{self, Access, Method, Route, Shape},
};

/// Where the document is served.
pub(crate) const PATH: &str = "/openapi.json";

/// The document, made once.
pub(crate) static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default().into());

/// The wrapper messages, which are bare values in JSON.
const WRAPPERS: &str = "openim.protobuf.";

fn document() -> Value {
    let rpcs = contract::rpcs();
    let mut paths = Map::new();
    for route in routes::all().filter(|r| r.method == Method::Post && r.is_implemented()) {
        paths.insert(
            route.path.to_owned(),
            json!({ "post": operation(route, &rpcs) }),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Magpie",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every answer has an envelope: errCode 0 and data, or an error. The HTTP status is 200, but for bodies of the routes that \
                            send (400), too many requests (429), and routes that are not built yet (501) and therefore not listed here.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "apiKey", "in": "header", "name": "token" },
            },
            "parameters": {
                "operationID": {
                    "name": "operationID",
                    "in": "header",
                    "required": true,
                    "description": "Chosen by the caller; follows the request through logs and traces.",
                    "schema": { "type": "string", "minLength": 1 },
                },
            },
            "schemas": schemas(),
        },
    })
}

fn operation(route: &Route, rpcs: &[Rpc]) -> Value {
    let (takes, gives) = match (&route.shapes, route.rpcs) {
        (Some((takes, gives)), _) => (shape(takes), shape(gives)),
        (None, [(owner, method), ..]) => {
            let rpc = rpcs
                .iter()
                .find(|r| r.owner == *owner && r.method == *method);
            let name =
                |of: fn(&Rpc) -> &str| rpc.map_or(Value::Bool(true), |rpc| reference(of(rpc)));
            (name(|rpc| &rpc.takes), name(|rpc| &rpc.gives))
        }
        (None, []) => (Value::Bool(true), Value::Bool(true)),
    };
    let tag = route.path.split('/').nth(1).unwrap_or_default();
    let mut operation = json!({
        "operationId": route.path.trim_start_matches('/').replace('/', "_"),
        "tags": [tag],
        "description": who(route.access),
        "parameters": [{ "$ref": "#/components/parameters/operationID" }],
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": takes } },
        },
        "responses": {
            "200": {
                "description": "The envelope.",
                "content": { "application/json": { "schema": {
                    "allOf": [
                        { "$ref": "#/components/schemas/Envelope" },
                        { "type": "object", "properties": { "data": gives } },
                    ],
                } } },
            },
        },
    });
    if route.access != Access::Open {
        operation["security"] = json!([{ "token": [] }]);
    }
    operation
}

fn who(access: Access) -> String {
    match access {
        Access::Open => "Needs no token.".to_owned(),
        Access::Any => "For every user.".to_owned(),
        Access::Own(fields) => format!(
            "For the user named in `{}`, and administrators.",
            fields.join("` or `")
        ),
        Access::OwnOrManager(user, group) => format!(
            "For the user named in `{user}`, who manages the group named in `{group}`, and administrators."
        ),
        Access::Member(field) => {
            format!("For members of the group named in `{field}`, and administrators.")
        }
        Access::Manager(field) => format!(
            "For the owner and the administrators of the group named in `{field}`, and administrators of the application."
        ),
        Access::Owner(field) => {
            format!("For the owner of the group named in `{field}`, and administrators.")
        }
        Access::Admin => "For administrators of the application.".to_owned(),
    }
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Message(name) => reference(name),
        Shape::List(name) => nullable_list(reference(name)),
        Shape::Own(make) => {
            let mut schema = Value::from(make());
            if let Some(members) = schema.as_object_mut() {
                members.remove("$schema");
                members.remove("title");
            }
            schema
        }
    }
}

/// The schema of a field with the text of offline pushes, for hand-made bodies.
pub(crate) fn push_info(_: &mut SchemaGenerator) -> Schema {
    linked("openim.sdkws.OfflinePushInfo")
}

/// The schema of a field with a message, for hand-made answers.
pub(crate) fn msg_data(_: &mut SchemaGenerator) -> Schema {
    linked("openim.sdkws.MsgData")
}

fn linked(name: &str) -> Schema {
    Schema::try_from(reference(name)).unwrap_or_default()
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn nullable_list(items: Value) -> Value {
    json!({ "type": ["array", "null"], "items": items })
}

/// All messages of the contract, and the envelope.
fn schemas() -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for file in &DESCRIPTORS.file {
        let package = file.package();
        if package.starts_with("openim.") && !format!("{package}.").starts_with(WRAPPERS) {
            for message in &file.message_type {
                add(&mut all, package, message);
            }
        }
    }
    let envelope = json!({
        "type": "object",
        "required": ["errCode", "errMsg", "errDlt"],
        "properties": {
            "errCode": { "type": "integer", "description": "0, or what went wrong." },
            "errMsg": { "type": "string", "description": "Its symbolic name." },
            "errDlt": { "type": "string", "description": "A text for developers." },
        },
    });
    all.insert("Envelope".to_owned(), envelope);
    all
}

fn add(all: &mut BTreeMap<String, Value>, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        if !is_map(nested) {
            add(all, &name, nested);
        }
    }
    let fields = message.field.iter();
    let properties: Map<String, Value> = fields
        .map(|field| (field.name().to_owned(), property(message, field)))
        .collect();
    all.insert(name, json!({ "type": "object", "properties": properties }));
}

fn is_map(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|o| o.map_entry())
}

fn property(message: &DescriptorProto, field: &FieldDescriptorProto) -> Value {
    let type_name = field.type_name().trim_start_matches('.');
    if field.label() == Label::Repeated {
        let short = type_name.rsplit('.').next();
        let entry = message
            .nested_type
            .iter()
            .find(|n| is_map(n) && Some(n.name()) == short);
        return match entry.and_then(|entry| entry.field.iter().find(|f| f.name() == "value")) {
            Some(value) => json!({ "type": "object", "additionalProperties": single(value) }),
            None => nullable_list(single(field)),
        };
    }
    match field.r#type() {
        Type::Message => match type_name.strip_prefix(WRAPPERS) {
            Some(wrapper) => nullable(scalar(wrapped(wrapper))),
            None => json!({ "anyOf": [reference(type_name), { "type": "null" }] }),
        },
        kind if field.proto3_optional() => nullable(scalar(kind)),
        kind => scalar(kind),
    }
}

/// One element of a list or map.
fn single(field: &FieldDescriptorProto) -> Value {
    match field.r#type() {
        Type::Message => reference(field.type_name().trim_start_matches('.')),
        kind => scalar(kind),
    }
}

/// The type of the value in a wrapper message.
fn wrapped(name: &str) -> Type {
    match name {
        "BoolValue" => Type::Bool,
        "Int32Value" => Type::Int32,
        "Int64Value" => Type::Int64,
        "UInt32Value" => Type::Uint32,
        "UInt64Value" => Type::Uint64,
        "DoubleValue" => Type::Double,
        "FloatValue" => Type::Float,
        "BytesValue" => Type::Bytes,
        _ => Type::String,
    }
}

fn nullable(mut schema: Value) -> Value {
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
    }
    schema
}

fn scalar(kind: Type) -> Value {
    match kind {
        Type::String => json!({ "type": "string" }),
        Type::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Type::Bool => json!({ "type": "boolean" }),
        Type::Double | Type::Float => json!({ "type": "number" }),
        Type::Int64 | Type::Sint64 | Type::Sfixed64 | Type::Uint64 | Type::Fixed64 => {
            json!({ "type": "integer", "format": "int64" })
        }
        _ => json!({ "type": "integer", "format": "int32" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of the document.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(text) if name == "$ref" => found.push(text.to_owned()),
                        _ => references(member, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_there_and_every_reference_leads_somewhere() {
        let document = document();
        for route in routes::all().filter(|r| r.method == Method::Post && r.is_implemented()) {
            let schema = &document["paths"][route.path]["post"]["requestBody"]["content"]["application/json"]
                ["schema"];
            assert!(schema.is_object(), "{}: {schema}", route.path);
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 300, "{}", found.len());
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn schemas_have_the_json_form_of_messages() {
        let all = schemas();
        let user = &all["openim.sdkws.UserInfoWithEx"]["properties"];
        assert_eq!(user["nickname"]["type"], json!(["string", "null"]));
        let msg = &all["openim.sdkws.MsgData"]["properties"];
        assert_eq!(msg["content"]["contentEncoding"], "base64");
        assert_eq!(msg["options"]["additionalProperties"]["type"], "boolean");
        assert_eq!(msg["atUserIDList"]["type"], json!(["array", "null"]));
        assert_eq!(msg["sendTime"]["format"], "int64");
    }
}
