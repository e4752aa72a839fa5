//! Protobuf to the JSON form of the recordings: by descriptor, so that it doesn't share a mistake with generated code.
//!
//! Fields at their default are left out; 64-bit numbers are numbers; bytes are text when they are UTF-8, else
//! `base64:…`. Bytes that the descriptor doesn't know appear under `#unknown`, so that they are noticed.

use std::sync::LazyLock;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DescriptorPool, DynamicMessage, MapKey, Value as Field};
use serde_json::{Map, Value, json};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(magpie_proto::DESCRIPTOR_SET)
        .expect("the embedded descriptor set is valid")
});

/// Name of the message that answers (or is pushed under) a number, `None` when it has no body.
#[must_use]
pub fn response_type(req_identifier: i64) -> Option<&'static str> {
    Some(match req_identifier {
        1001 => "openim.sdkws.GetMaxSeqResp",
        1002 => "openim.sdkws.PullMessageBySeqsResp",
        1003 => "openim.msg.SendMsgResp",
        1005 => "openim.msg.GetSeqMessageResp",
        1006 => "openim.msg.GetConversationsHasReadAndMaxSeqResp",
        1007 => "openim.msg.GetLastMessageResp",
        2001 => "openim.sdkws.PushMessages",
        2003 => "openim.push.DelUserPushTokenResp",
        2005 => "openim.sdkws.SubUserOnlineStatusTips",
        _ => return None,
    })
}

/// Decodes a message of the contract into the recordings' JSON.
///
/// # Errors
/// No message of that name, or the bytes aren't one.
pub fn decode_message(name: &str, bytes: &[u8]) -> anyhow::Result<Value> {
    let descriptor = POOL
        .get_message_by_name(name)
        .with_context(|| format!("no message {name}"))?;
    Ok(message(&DynamicMessage::decode(descriptor, bytes)?))
}

fn message(from: &DynamicMessage) -> Value {
    let mut members: Map<String, Value> = from
        .fields()
        .map(|(field, value)| (field.name().to_owned(), form(value)))
        .collect();
    if from.unknown_fields().next().is_some() {
        let numbers: Vec<_> = from
            .unknown_fields()
            .map(|unknown| unknown.number())
            .collect();
        members.insert("#unknown".to_owned(), json!(numbers));
    }
    Value::Object(members)
}

fn form(value: &Field) -> Value {
    match value {
        Field::Bool(flag) => json!(flag),
        Field::I32(number) | Field::EnumNumber(number) => json!(number),
        Field::I64(number) => json!(number),
        Field::U32(number) => json!(number),
        Field::U64(number) => json!(number),
        Field::F32(number) => json!(number),
        Field::F64(number) => json!(number),
        Field::String(text) => json!(text),
        Field::Bytes(bytes) => json!(text_or_base64(bytes)),
        Field::Message(inner) => message(inner),
        Field::List(items) => items.iter().map(form).collect(),
        Field::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key_text(key), form(value)))
                .collect(),
        ),
    }
}

fn text_or_base64(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(flag) => flag.to_string(),
        MapKey::I32(number) => number.to_string(),
        MapKey::I64(number) => number.to_string(),
        MapKey::U32(number) => number.to_string(),
        MapKey::U64(number) => number.to_string(),
        MapKey::String(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{case_names, folder};

    fn drop_derived(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|name, _| !name.ends_with("_json"));
                members.values_mut().for_each(drop_derived);
            }
            Value::Array(items) => items.iter_mut().for_each(drop_derived),
            _ => {}
        }
    }

    #[test]
    fn every_recorded_body_decodes_to_its_recorded_form() {
        let mut decoded = 0;
        for name in case_names().unwrap() {
            let text = std::fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
            for line in text
                .lines()
                .filter(|line| line.contains(r#""kind": "ws","#))
            {
                let mut line: Value = serde_json::from_str(line).unwrap();
                let Some(data_type) = line["dataType"].as_str() else {
                    continue;
                };
                assert_eq!(
                    Some(data_type),
                    response_type(line["env"]["reqIdentifier"].as_i64().unwrap())
                );
                let bytes = STANDARD
                    .decode(line["env"]["data"].as_str().unwrap())
                    .unwrap();
                let form = decode_message(data_type, &bytes).unwrap();
                drop_derived(&mut line["data"]);
                assert_eq!(form, line["data"], "{name} s{}", line["step"]);
                decoded += 1;
            }
        }
        assert!(decoded > 20, "{decoded}");
    }
}
