//! Filled values of any message, made from its descriptor: the wire form and the JSON form that must belong to it.

use std::collections::HashMap;

use magpie_proto::DESCRIPTOR_SET;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use serde_json::{Map, Value, json};

/// All messages by full name with a leading dot, map entries included.
pub(crate) struct Samples(HashMap<String, DescriptorProto>);

impl Samples {
    pub(crate) fn new() -> Self {
        let mut all = HashMap::new();
        for file in FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap().file {
            let scope = format!(".{}", file.package());
            index(&mut all, &scope, file.message_type);
        }
        Self(all)
    }

    /// Wire form and JSON form of `name` with every field set, down to `depth` levels of messages.
    pub(crate) fn filled(&self, name: &str, depth: usize) -> (Vec<u8>, Value) {
        let message = &self.0[name];
        let mut wire = Vec::new();
        let mut members = Map::new();
        let mut oneofs = Vec::new();
        for field in &message.field {
            if field.oneof_index.is_some() && !field.proto3_optional() {
                if oneofs.contains(&field.oneof_index) {
                    continue;
                }
                oneofs.push(field.oneof_index);
            }
            if let Some(value) = self.field(&mut wire, field, depth) {
                members.insert(field.name().to_owned(), value);
            }
        }
        match members.remove("value") {
            Some(value) if is_wrapper(name) => (wire, value),
            Some(value) => {
                members.insert("value".to_owned(), value);
                (wire, members.into())
            }
            None => (wire, members.into()),
        }
    }

    /// Appends the field and gives its JSON form; nothing for an empty map and an unset oneof.
    fn field(
        &self,
        wire: &mut Vec<u8>,
        field: &FieldDescriptorProto,
        depth: usize,
    ) -> Option<Value> {
        let number = u32::try_from(field.number()).unwrap();
        if field.r#type() != Type::Message {
            let value = scalar(wire, number, field.r#type());
            return Some(if field.label() == Label::Repeated {
                json!([value])
            } else {
                value
            });
        }
        let target = &self.0[field.type_name()];
        let map = target.options.as_ref().is_some_and(|o| o.map_entry());
        if depth == 0 {
            let left_out = map || field.oneof_index.is_some();
            return (!left_out).then_some(Value::Null);
        }
        let (inner, value) = self.filled(field.type_name(), depth - usize::from(!map));
        encode_key(number, WireType::LengthDelimited, wire);
        encode_varint(inner.len() as u64, wire);
        wire.extend(inner);
        if map {
            let key = value["key"].as_str().unwrap();
            return Some(json!({ key: value["value"] }));
        }
        Some(if field.label() == Label::Repeated {
            json!([value])
        } else {
            value
        })
    }
}

fn index(all: &mut HashMap<String, DescriptorProto>, scope: &str, messages: Vec<DescriptorProto>) {
    for mut message in messages {
        let name = format!("{scope}.{}", message.name());
        index(all, &name, std::mem::take(&mut message.nested_type));
        all.insert(name, message);
    }
}

fn is_wrapper(name: &str) -> bool {
    name.starts_with(".openim.protobuf.") && name.ends_with("Value")
}

/// Appends a value that needs the whole width of its type.
fn scalar(wire: &mut Vec<u8>, number: u32, kind: Type) -> Value {
    let mut varint = |n: u64| {
        encode_key(number, WireType::Varint, wire);
        encode_varint(n, wire);
    };
    match kind {
        Type::Int64 => varint(i64::MIN.cast_unsigned()),
        Type::Uint64 => varint(u64::MAX),
        Type::Int32 => varint(i64::from(i32::MIN).cast_unsigned()),
        Type::Uint32 => varint(u32::MAX.into()),
        Type::Bool | Type::Enum => varint(1),
        Type::Double => prost::encoding::double::encode(number, &2.5, wire),
        Type::Float => prost::encoding::float::encode(number, &2.5, wire),
        Type::String => prost::encoding::string::encode(number, &"<\u{e9}>".to_owned(), wire),
        Type::Bytes => prost::encoding::bytes::encode(number, &vec![0xff, 0xfe, 0xfd, 0xfc], wire),
        other => panic!("the contract has no {other:?}"),
    }
    match kind {
        Type::Int64 => json!(i64::MIN),
        Type::Uint64 => json!(u64::MAX),
        Type::Int32 => json!(i32::MIN),
        Type::Uint32 => json!(u32::MAX),
        Type::Bool => json!(true),
        Type::Enum => json!(1),
        Type::String => json!("<\u{e9}>"),
        Type::Bytes => json!("//79/A=="),
        _ => json!(2.5),
    }
}
