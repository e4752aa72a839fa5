//! Decoding must end in a value or an error, whatever comes in, and with bounded memory.

use magpie_proto::json::{from_slice, to_vec};
use magpie_proto::openim::msggateway::GetUsersOnlineStatusResp;
use magpie_proto::openim::rtc::SignalReq;
use magpie_proto::openim::sdkws::{GetMaxSeqResp, MsgData, PullMessageBySeqsResp, PullMsgs};
use proptest::prelude::*;
use prost::Message;

use crate::sample::Samples;

/// Decodes as types that have every kind of field: lists, maps, bytes, nested and recursive messages, a oneof.
fn decode_all(input: &[u8]) {
    macro_rules! each {
        ($($type:ty),*) => {$(
            if let Ok(message) = <$type>::decode(input) {
                assert_eq!(from_slice::<$type>(&to_vec(&message).unwrap()).unwrap(), message);
            }
            if let Ok(message) = from_slice::<$type>(input) {
                assert_eq!(<$type>::decode(message.encode_to_vec().as_slice()).unwrap(), message);
            }
        )*};
    }
    each!(
        MsgData,
        PullMessageBySeqsResp,
        GetUsersOnlineStatusResp,
        SignalReq,
        GetMaxSeqResp
    );
}

/// Text made of the pieces that JSON is made of, so that most of it gets past the first byte.
fn almost_json() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "true",
        "5",
        "-1e999",
        "\"",
        "\"msgs\"",
        "\"Msgs\"",
        "\"seq\"",
        "\"content\"",
        "\"options\"",
        "\"maxSeqs\"",
        "\"invite\"",
        "\\u0000",
        "\\ud800",
        "\u{2028}",
        " ",
        "99999999999999999999",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn random_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..300)) {
        decode_all(&input);
    }

    #[test]
    fn almost_json_never_panics(input in almost_json()) {
        decode_all(input.as_bytes());
    }

    #[test]
    fn damaged_messages_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let samples = Samples::new();
        let (wire, json) = samples.filled(".openim.sdkws.PullMessageBySeqsResp", 3);
        for mut input in [wire, json.to_string().into_bytes()] {
            let (at, cut) = (at.index(input.len()), cut.index(input.len()));
            input[at] = byte;
            decode_all(&input);
            decode_all(&input[..cut]);
        }
    }

    #[test]
    fn any_string_survives_json(text in any::<String>()) {
        let data = MsgData { ex: text, ..Default::default() };
        let json = to_vec(&data).unwrap();
        prop_assert!(!json.iter().any(|b| matches!(b, b'<' | b'>' | b'&')));
        prop_assert_eq!(from_slice::<MsgData>(&json).unwrap(), data);
    }
}

#[test]
fn deep_nesting_is_refused_or_skipped() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    let lists = deep("[", "]");
    assert!(from_slice::<serde_json::Value>(lists.as_bytes()).is_err());
    assert!(from_slice::<PullMessageBySeqsResp>(deep("{\"msgs\":", "}").as_bytes()).is_err());
    let unknown = format!("{{\"unknown\":{lists}}}");
    assert!(from_slice::<PullMessageBySeqsResp>(unknown.as_bytes()).is_ok());
    let groups = [0x0b_u8; 100_000];
    assert!(PullMessageBySeqsResp::decode(groups.as_slice()).is_err());
}

#[test]
fn short_text_cannot_make_long_lists() {
    let list = |count: usize| format!("{{\"Msgs\":[{}{{}}]}}", "{},".repeat(count));
    assert!(from_slice::<PullMsgs>(list(10_000).as_bytes()).is_ok());
    assert!(from_slice::<PullMsgs>(list(1_000_000).as_bytes()).is_err());
}
