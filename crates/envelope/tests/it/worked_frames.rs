//! Frames whose every byte is documented.

use bytes::Bytes;
use magpie_envelope::{Limits, Request, Response, reqs};

use crate::{GOB, JSON};

const REQUEST: &str = "66ff810301010c47656e6572616c577352657101ff82000106010d5265714964656e746966696572010400\
    0105546f6b656e010c00010653656e644944010c00010b4f7065726174696f6e4944010c0001074d7367496e6372010c00010444617461010a\
    0000001cff8201fe07d20202753101036f7031010475315f3101040a02753100";
const RESPONSE_TYPE: &str = "60ff83030101045265737001ff84000106010d5265714964656e746966696572010400\
    01074d7367496e6372010c00010b4f7065726174696f6e4944010c000107457272436f6465010400\
    01064572724d7367010c00010444617461010a000000";

fn request() -> Request {
    Request {
        req_identifier: 1001,
        send_id: "u1".to_owned(),
        operation_id: "op1".to_owned(),
        msg_incr: "u1_1".to_owned(),
        data: Bytes::from_static(b"\x0a\x02u1"),
        ..Request::default()
    }
}

fn max_seqs() -> Response {
    Response {
        req_identifier: 1001,
        msg_incr: "u1_1".to_owned(),
        operation_id: "op1".to_owned(),
        data: Some(hex::decode("0a0c0a0873675f67726f7570100a").unwrap().into()),
        ..Response::default()
    }
}

fn blocked() -> Response {
    Response {
        req_identifier: 1003,
        msg_incr: "u1_2".to_owned(),
        operation_id: "op2".to_owned(),
        err_code: 1302,
        err_msg: "BlockedByPeer".to_owned(),
        data: None,
    }
}

fn kick() -> Response {
    Response {
        req_identifier: reqs::KICK,
        ..Response::default()
    }
}

#[test]
fn the_gob_request_has_the_documented_bytes() {
    assert_eq!(hex::encode(GOB.encode_request(&request())), REQUEST);
    assert_eq!(
        GOB.decode_request(&hex::decode(REQUEST).unwrap(), &Limits::SERVER),
        Ok(request())
    );
}

#[test]
fn gob_responses_have_the_documented_bytes() {
    let cases = [
        (
            max_seqs(),
            "22ff8401fe07d2010475315f3101036f7031030e0a0c0a0873675f67726f7570100a00",
        ),
        (kick(), "07ff8401fe0fa400"),
        (
            blocked(),
            "25ff8401fe07d6010475315f3201036f703201fe0a2c010d426c6f636b6564427950656572 00",
        ),
        (Response::default(), "03ff8400"),
    ];
    for (response, value) in cases {
        let expected = format!("{RESPONSE_TYPE}{}", value.replace(' ', ""));
        assert_eq!(hex::encode(GOB.encode_response(&response)), expected);
        assert_eq!(
            GOB.decode_response(&hex::decode(expected).unwrap(), &Limits::CLIENT),
            Ok(response)
        );
    }
}

#[test]
fn the_response_prefix_has_97_bytes_and_the_request_132() {
    assert_eq!((RESPONSE_TYPE.len() / 2, REQUEST.len() / 2), (97, 132));
}

#[test]
fn the_json_request_of_clients_is_read() {
    let frame = br#"{"reqIdentifier":1006,"msgIncr":"k3j9x0a1b2c1718000000000","sendID":"u1","operationID":"z8q1w1718000000000","data":"CgJ1MQ=="}"#;
    let expected = Request {
        req_identifier: 1006,
        operation_id: "z8q1w1718000000000".to_owned(),
        msg_incr: "k3j9x0a1b2c1718000000000".to_owned(),
        ..request()
    };
    assert_eq!(JSON.decode_request(frame, &Limits::SERVER), Ok(expected));
}

#[test]
fn json_responses_have_the_documented_text() {
    let cases = [
        (
            max_seqs(),
            r#"{"reqIdentifier":1001,"msgIncr":"u1_1","operationID":"op1","errCode":0,"errMsg":"","data":"CgwKCHNnX2dyb3VwEAo="}"#,
        ),
        (
            kick(),
            r#"{"reqIdentifier":2002,"msgIncr":"","operationID":"","errCode":0,"errMsg":"","data":null}"#,
        ),
        (
            Response {
                data: Some(Bytes::new()),
                ..kick()
            },
            r#"{"reqIdentifier":2002,"msgIncr":"","operationID":"","errCode":0,"errMsg":"","data":""}"#,
        ),
        (
            Response {
                operation_id: "a\"\\\n\u{1}你".to_owned(),
                ..blocked()
            },
            r#"{"reqIdentifier":1003,"msgIncr":"u1_2","operationID":"a\"\\\n\u0001你","errCode":1302,"errMsg":"BlockedByPeer","data":null}"#,
        ),
    ];
    for (response, text) in cases {
        assert_eq!(JSON.encode_response(&response), text.as_bytes());
        assert_eq!(
            JSON.decode_response(text.as_bytes(), &Limits::CLIENT),
            Ok(response)
        );
    }
}
