//! Exchanges recorded from a running OpenIM server and its clients.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use magpie_envelope::{Codec, Limits, Request, Response};
use serde_json::Value;

use crate::{GOB, GOB_GZIP, JSON, JSON_GZIP};

/// One envelope per line, under `request` or `response`.
const ENVELOPES: &str = include_str!("data/envelopes.jsonl");

fn text(envelope: &Value, member: &str) -> String {
    envelope[member].as_str().unwrap_or_default().to_owned()
}

fn number(envelope: &Value, member: &str) -> i32 {
    envelope[member]
        .as_i64()
        .unwrap_or_default()
        .try_into()
        .unwrap()
}

fn data(envelope: &Value) -> Option<Bytes> {
    envelope["data"]
        .as_str()
        .map(|data| STANDARD.decode(data).unwrap().into())
}

fn request(envelope: &Value) -> Request {
    Request {
        req_identifier: number(envelope, "reqIdentifier"),
        token: text(envelope, "token"),
        send_id: text(envelope, "sendID"),
        operation_id: text(envelope, "operationID"),
        msg_incr: text(envelope, "msgIncr"),
        data: data(envelope).unwrap_or_default(),
    }
}

fn response(envelope: &Value) -> Response {
    Response {
        req_identifier: number(envelope, "reqIdentifier"),
        msg_incr: text(envelope, "msgIncr"),
        operation_id: text(envelope, "operationID"),
        err_code: number(envelope, "errCode"),
        err_msg: text(envelope, "errMsg"),
        data: data(envelope),
    }
}

#[test]
fn recorded_requests_are_read_in_every_codec() {
    let mut seen = 0;
    for line in ENVELOPES
        .lines()
        .filter(|line| line.starts_with(r#"{"request":"#))
    {
        let envelope = &serde_json::from_str::<Value>(line).unwrap()["request"];
        let expected = request(envelope);
        for codec in Codec::ALL {
            let frame = codec.encode_request(&expected);
            assert_eq!(
                codec.decode_request(&frame, &Limits::SERVER).as_ref(),
                Ok(&expected)
            );
        }
        let sent = serde_json::to_vec(envelope).unwrap();
        assert_eq!(JSON.decode_request(&sent, &Limits::SERVER), Ok(expected));
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn recorded_responses_are_written_as_recorded() {
    let mut seen = 0;
    for line in ENVELOPES
        .lines()
        .filter_map(|line| line.strip_prefix(r#"{"response":"#))
    {
        let recorded = line.strip_suffix('}').unwrap();
        let expected = response(&serde_json::from_str(recorded).unwrap());
        assert_eq!(JSON.encode_response(&expected), recorded.as_bytes());
        for codec in [JSON_GZIP, GOB, GOB_GZIP] {
            let frame = codec.encode_response(&expected);
            let again = codec.decode_response(&frame, &Limits::CLIENT).unwrap();
            let data = if codec.encoding == JSON.encoding {
                expected.data.clone()
            } else {
                expected.data.clone().filter(|data| !data.is_empty())
            };
            assert_eq!(
                again,
                Response {
                    data,
                    ..expected.clone()
                }
            );
        }
        if expected.req_identifier == 2001 {
            let frame = JSON.push_frame(&expected.operation_id, expected.data.as_deref().unwrap());
            assert_eq!(frame, recorded.as_bytes());
        }
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn recorded_gob_frame_is_read() {
    let frame = "66ff810301010c47656e6572616c577352657101ff82000106010d5265714964656e7469666965720104000105546f6b656e010c00\
        010653656e644944010c00010b4f7065726174696f6e4944010c0001074d7367496e6372010c00010444617461010a0000001cff8201fe07d2\
        0202753201036f7031010475315f3101040a02753200";
    let request = GOB
        .decode_request(&hex::decode(frame).unwrap(), &Limits::SERVER)
        .unwrap();
    assert_eq!(
        (
            request.req_identifier,
            &*request.send_id,
            &*request.operation_id,
            &*request.msg_incr,
            &request.data[..]
        ),
        (1001, "u2", "op1", "u1_1", &b"\x0a\x02u2"[..])
    );
}

#[test]
fn frames_that_ended_a_recorded_connection_are_refused() {
    for frame in [
        "",
        "[]",
        r#"{"reqIdentifier":"1001"}"#,
        r#"{"reqIdentifier":1001,"sendID":"u1","operationID":"o","msgIncr":"1","data":"!!"}"#,
        r#"{"reqIdentifier":1001,"sendID":"u1","operationID":"o","msgIncr":"1","data":"CgJ1MQ"}"#,
        r#"{"reqIdentifier":1001.0,"sendID":"u1","operationID":"o","msgIncr":"1","data":"CgJ1MQ=="}"#,
    ] {
        JSON.decode_request(frame.as_bytes(), &Limits::SERVER)
            .unwrap_err();
    }
    JSON.decode_request(b"\xff\xfe", &Limits::SERVER)
        .unwrap_err();
    GOB_GZIP
        .decode_request(b"not gzip", &Limits::SERVER)
        .unwrap_err();
    let plain = br#"{"reqIdentifier":1001,"sendID":"u1","operationID":"o","msgIncr":"1","data":"CgJ1MQ=="}"#;
    JSON_GZIP
        .decode_request(plain, &Limits::SERVER)
        .unwrap_err();
}

#[test]
fn frames_that_were_answered_in_spite_of_their_form_are_read() {
    let full = Request {
        req_identifier: 1001,
        send_id: "u1".to_owned(),
        operation_id: "o".to_owned(),
        msg_incr: "1".to_owned(),
        data: Bytes::from_static(b"\x0a\x02u1"),
        ..Request::default()
    };
    let bare = Request {
        req_identifier: 1001,
        send_id: "u1".to_owned(),
        ..Request::default()
    };
    let cases = [
        (r#"{"reqIdentifier":1001,"sendID":"u1"}"#, &bare),
        (
            r#"{"reqIdentifier":1001,"sendID":"u1","operationID":null,"msgIncr":null,"data":null}"#,
            &bare,
        ),
        (
            r#"{"ReqIdentifier":1001,"SENDID":"u1","operationid":"o","msgincr":"1","Data":"CgJ1MQ=="}"#,
            &full,
        ),
        (
            r#"{"reqIdentifier":1001,"sendID":"u1","operationID":"o","msgIncr":"1","data":"CgJ1MQ==","extra":{"a":1}}"#,
            &full,
        ),
    ];
    for (frame, expected) in cases {
        assert_eq!(
            JSON.decode_request(frame.as_bytes(), &Limits::SERVER)
                .as_ref(),
            Ok(expected),
            "{frame}"
        );
    }
}

#[test]
fn a_frame_packed_by_another_gzip_is_read() {
    let frame = "1f8b080800f1536502ff7265712e6a736f6e00ab562a4a2df44c49cd2bc94ccb4c2d52b232343030d4512a4ecd4bf17451b2522a35\
        54d251ca2f482d4a2cc9cccf030be50345728bd33df39281ca9540f22989258940a673ba97a16fa0adad522d0078feae8f56000000";
    let request = JSON_GZIP
        .decode_request(&hex::decode(frame).unwrap(), &Limits::SERVER)
        .unwrap();
    assert_eq!(
        (request.req_identifier, &*request.send_id, &request.data[..]),
        (1001, "u1", &b"\x0a\x02u1"[..])
    );
}
