//! Received frames in the form of recorded lines, decoded through the connection's codec and the contract's descriptors.

use std::io::Read as _;

use anyhow::Context as _;
use magpie_envelope::{Codec, Encoding, Limits};
use serde_json::{Value, json};

use crate::{Event, Opcode, decode_message, response_type};

/// An event as a recorded line.
pub(super) fn line_of(codec: Codec, event: &Event) -> Value {
    let Event::Frame {
        last,
        opcode,
        payload,
    } = event
    else {
        return json!({"event": "closed", "how": "eof"});
    };
    let mut line = match *opcode {
        Opcode::TEXT => {
            let text = serde_json::from_slice(payload).unwrap_or_else(|_| json!(String::from_utf8_lossy(payload)));
            json!({"opcode": "text", "text": text})
        }
        Opcode::BINARY => envelope(codec, payload)
            .unwrap_or_else(|error| json!({"opcode": "binary", "undecodable": format!("{error:#}"), "hex": hex::encode(payload)})),
        Opcode::PING => json!({"opcode": "ping", "payload_hex": hex::encode(payload)}),
        Opcode::PONG => json!({"opcode": "pong", "payload_hex": hex::encode(payload)}),
        Opcode::CLOSE => {
            let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
            json!({"opcode": "close", "code": code, "reason": String::from_utf8_lossy(payload.get(2..).unwrap_or_default())})
        }
        Opcode(other) => json!({"opcode": other}),
    };
    line["event"] = json!("recv");
    if !last {
        line["fragment"] = json!(true);
    }
    line
}

pub(super) fn gunzip(packed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .take(64 << 20)
        .read_to_end(&mut plain)?;
    Ok(plain)
}

/// A binary frame as a recorded line.
fn envelope(codec: Codec, frame: &[u8]) -> anyhow::Result<Value> {
    let response = codec.decode_response(frame, &Limits::CLIENT)?;
    let mut line = json!({"opcode": "binary", "env": {
        "reqIdentifier": response.req_identifier,
        "msgIncr": response.msg_incr,
        "operationID": response.operation_id,
        "errCode": response.err_code,
        "errMsg": response.err_msg,
    }});
    if codec.compressed {
        line["gzip"] = json!(true);
    }
    if codec.encoding == Encoding::Gob {
        let plain = if codec.compressed {
            gunzip(frame)?
        } else {
            frame.to_vec()
        };
        let (name, fields) = gob_type(&plain).context("no gob type description")?;
        line["gob"] = json!(true);
        line["gobType"] = json!(name);
        line["gobFields"] = json!(fields);
    }
    match response.data {
        Some(data) if !data.is_empty() => {
            let name = response_type(i64::from(response.req_identifier))
                .context("a body under this number")?;
            line["dataType"] = json!(name);
            line["data"] = decode_message(name, &data)?;
        }
        Some(_) => line["env"]["data"] = json!(""),
        None => line["env"]["data"] = Value::Null,
    }
    Ok(line)
}

/// Name and field names of the struct that a gob stream describes first.
fn gob_type(stream: &[u8]) -> Option<(String, Vec<String>)> {
    let mut at = 0;
    let mut byte = || {
        let found = stream.get(at).copied();
        at += 1;
        found
    };
    let mut uint = || -> Option<usize> {
        let first = byte()?;
        if first < 128 {
            return Some(usize::from(first));
        }
        (0..=(!first)).try_fold(0_usize, |value, _| {
            Some((value << 8) | usize::from(byte()?))
        })
    };
    let (_count, _negative_type) = (uint()?, uint()?);
    let (_struct_type, _common, _name) = (uint()?, uint()?, uint()?);
    let text = |uint: &mut dyn FnMut() -> Option<usize>| -> Option<String> {
        let length = uint()?;
        let bytes: Option<Vec<u8>> = (0..length)
            .map(|_| uint().and_then(|byte| u8::try_from(byte).ok()))
            .collect();
        String::from_utf8(bytes?).ok()
    };
    let name = text(&mut uint)?;
    let (_id, _type, _end) = (uint()?, uint()?, uint()?);
    let (_list, count) = (uint()?, uint()?);
    let mut fields = Vec::new();
    for _ in 0..count {
        let _name = uint()?;
        fields.push(text(&mut uint)?);
        let (_code, _type, _end) = (uint()?, uint()?, uint()?);
    }
    Some((name, fields))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use magpie_envelope::Response;

    use super::*;

    fn frame(codec: Codec, response: &Response) -> Event {
        Event::Frame {
            last: true,
            opcode: Opcode::BINARY,
            payload: codec.encode_response(response),
        }
    }

    #[test]
    fn a_gob_frame_shows_its_type_and_fields() {
        let kick = Response {
            req_identifier: 2002,
            ..Response::default()
        };
        for codec in Codec::ALL
            .into_iter()
            .filter(|codec| codec.encoding == Encoding::Gob)
        {
            let line = line_of(codec, &frame(codec, &kick));
            assert_eq!(line["gobType"], "Resp");
            let fields = [
                "ReqIdentifier",
                "MsgIncr",
                "OperationID",
                "ErrCode",
                "ErrMsg",
                "Data",
            ];
            assert_eq!(line["gobFields"], json!(fields));
            assert_eq!(line["gzip"].as_bool().unwrap_or_default(), codec.compressed);
        }
    }

    #[test]
    fn an_answer_of_zero_bytes_is_not_an_answer_without_a_body() {
        let codec = Codec {
            encoding: Encoding::Json,
            compressed: false,
        };
        let empty = Response {
            req_identifier: 1001,
            data: Some(Bytes::new()),
            ..Response::default()
        };
        assert_eq!(line_of(codec, &frame(codec, &empty))["env"]["data"], "");
        let none = Response {
            data: None,
            ..empty
        };
        assert_eq!(
            line_of(codec, &frame(codec, &none))["env"]["data"],
            Value::Null
        );
    }

    #[test]
    fn a_frame_that_does_not_decode_is_shown_raw() {
        let codec = Codec {
            encoding: Encoding::Json,
            compressed: false,
        };
        let event = Event::Frame {
            last: true,
            opcode: Opcode::BINARY,
            payload: Bytes::from_static(b"{"),
        };
        assert_eq!(line_of(codec, &event)["hex"], "7b");
    }
}
