//! What is written is what is read, for any envelope and every codec.

use bytes::Bytes;
use magpie_envelope::{Codec, DecodeError, Encoding, Limits, Request, Response, reqs};
use proptest::collection::vec;
use proptest::prelude::*;

fn request() -> impl Strategy<Value = Request> {
    (any::<i32>(), any::<[String; 4]>(), vec(any::<u8>(), 0..600)).prop_map(
        |(req_identifier, [token, send_id, operation_id, msg_incr], data)| Request {
            req_identifier,
            token,
            send_id,
            operation_id,
            msg_incr,
            data: data.into(),
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    (
        any::<[i32; 2]>(),
        any::<[String; 3]>(),
        proptest::option::of(vec(any::<u8>(), 0..600)),
    )
        .prop_map(
            |([req_identifier, err_code], [msg_incr, operation_id, err_msg], data)| Response {
                req_identifier,
                msg_incr,
                operation_id,
                err_code,
                err_msg,
                data: data.map(Bytes::from),
            },
        )
}

proptest! {
    #[test]
    fn requests_come_back(request in request()) {
        for codec in Codec::ALL {
            let frame = codec.encode_request(&request);
            let again = codec.decode_request(&frame, &Limits::SERVER);
            prop_assert_eq!(again.as_ref(), Ok(&request));
        }
    }

    #[test]
    fn responses_come_back(response in response()) {
        for codec in Codec::ALL {
            let mut expected = response.clone();
            if codec.encoding == Encoding::Gob {
                expected.data = expected.data.filter(|data| !data.is_empty());
            }
            let frame = codec.encode_response(&response);
            prop_assert_eq!(codec.decode_response(&frame, &Limits::CLIENT), Ok(expected));
        }
    }

    #[test]
    fn a_push_frame_is_the_response_with_its_number(operation_id: String, data in vec(any::<u8>(), 0..600)) {
        let response = Response {
            req_identifier: reqs::PUSH_MSG,
            operation_id: operation_id.clone(),
            data: Some(data.clone().into()),
            ..Response::default()
        };
        for codec in Codec::ALL {
            prop_assert_eq!(codec.push_frame(&operation_id, &data), codec.encode_response(&response));
        }
    }

    #[test]
    fn json_is_what_any_json_reader_understands(response in response()) {
        let frame = Codec { encoding: Encoding::Json, compressed: false }.encode_response(&response);
        let value: serde_json::Value = serde_json::from_slice(&frame).unwrap();
        prop_assert_eq!(value["operationID"].as_str(), Some(response.operation_id.as_str()));
        prop_assert_eq!(value["errMsg"].as_str(), Some(response.err_msg.as_str()));
        prop_assert_eq!(value["errCode"].as_i64(), Some(i64::from(response.err_code)));
    }

    #[test]
    fn both_limits_hold_to_the_byte(request in request()) {
        for codec in Codec::ALL {
            let frame = codec.encode_request(&request);
            let plain = Codec { compressed: false, ..codec }.encode_request(&request).len();
            let exact = Limits { wire: frame.len(), decoded: plain };
            prop_assert!(codec.decode_request(&frame, &exact).is_ok());
            let wire = Limits { wire: frame.len() - 1, ..exact };
            let too_large = matches!(codec.decode_request(&frame, &wire), Err(DecodeError::FrameTooLarge { .. }));
            prop_assert!(too_large);
            let decoded = Limits { decoded: plain - 1, ..exact };
            let too_large = matches!(codec.decode_request(&frame, &decoded), Err(DecodeError::EnvelopeTooLarge { .. }));
            prop_assert!(too_large);
        }
    }
}

#[test]
fn every_codec_has_its_own_index() {
    for (at, codec) in Codec::ALL.into_iter().enumerate() {
        assert_eq!(codec.index(), at);
    }
}

#[test]
fn exactly_the_documented_numbers_are_requests() {
    let known: Vec<i32> = (-5..4000)
        .filter(|&number| reqs::is_request(number))
        .collect();
    assert_eq!(
        known,
        [1001, 1002, 1003, 1004, 1005, 1006, 1007, 2003, 2004, 2005]
    );
}

#[test]
fn neither_token_nor_body_is_shown() {
    let request = Request {
        token: "secret".to_owned(),
        data: Bytes::from_static(b"body"),
        ..Request::default()
    };
    let shown = format!("{request:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("body"),
        "{shown}"
    );
}
