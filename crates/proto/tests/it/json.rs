//! The JSON form: the worked examples, every rule, and a walk over all messages.

use std::fmt::Debug;

use bytes::Bytes;
use magpie_proto::json::{from_slice, to_string, to_vec};
use magpie_proto::openim::protobuf::{BytesValue, DoubleValue, StringValue};
use magpie_proto::openim::relation::UpdateFriendsReq;
use magpie_proto::openim::sdkws::{GetMaxSeqResp, MsgData, PullMessageBySeqsResp, PullMsgs};
use magpie_proto::openim::{conversation, msg, rtc, user};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::sample::Samples;

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

fn msg(json: &str) -> Result<MsgData, serde_json::Error> {
    from_slice(json.as_bytes())
}

#[test]
fn an_update_with_only_a_remark_has_null_for_the_rest() {
    let req = UpdateFriendsReq {
        owner_user_id: "u1".to_owned(),
        friend_user_i_ds: vec!["u2".to_owned()],
        remark: Some(StringValue {
            value: "Bob".to_owned(),
        }),
        ..Default::default()
    };
    let text =
        r#"{"ownerUserID":"u1","friendUserIDs":["u2"],"isPinned":null,"remark":"Bob","ex":null}"#;
    assert_eq!(to_string(&req).unwrap(), text);
    assert_eq!(
        from_slice::<UpdateFriendsReq>(text.as_bytes()).unwrap(),
        req
    );
}

#[test]
fn an_empty_message_has_all_members_but_the_map() {
    let text = r#"{"sendID":"","recvID":"","groupID":"","clientMsgID":"","serverMsgID":"","senderPlatformID":0,"senderNickname":"","senderFaceURL":"","sessionType":0,"msgFrom":0,"contentType":0,"content":null,"seq":0,"sendTime":0,"createTime":0,"status":0,"isRead":false,"offlinePushInfo":null,"atUserIDList":null,"attachedInfo":"","ex":""}"#;
    assert_eq!(to_string(&MsgData::default()).unwrap(), text);
    assert_eq!(msg(text).unwrap(), MsgData::default());
}

#[test]
fn html_and_line_separators_are_escaped() {
    let data = MsgData {
        ex: "a<b>&\u{2028}\u{2029}\"\u{e9}".to_owned(),
        ..Default::default()
    };
    let text = to_string(&data).unwrap();
    assert!(
        text.ends_with(r#""ex":"a\u003cb\u003e\u0026\u2028\u2029\"é"}"#),
        "{text}"
    );
    assert_eq!(msg(&text).unwrap(), data);
}

#[test]
fn integers_keep_64_bits_and_are_never_quoted() {
    let data = MsgData {
        seq: i64::MAX,
        send_time: i64::MIN,
        ..Default::default()
    };
    let text = to_string(&data).unwrap();
    assert!(text.contains(r#""seq":9223372036854775807,"sendTime":-9223372036854775808"#));
    assert_eq!(msg(&text).unwrap(), data);
}

#[test]
fn numbers_of_another_form_or_range_are_refused() {
    for bad in [
        r#""5""#,
        "5.0",
        "1e3",
        "9223372036854775808",
        "true",
        "[]",
        "{}",
        "05",
        "+5",
    ] {
        assert!(msg(&format!(r#"{{"seq":{bad}}}"#)).is_err(), "{bad}");
    }
    for bad in ["2147483648", "-2147483649", "1.5"] {
        assert!(msg(&format!(r#"{{"status":{bad}}}"#)).is_err(), "{bad}");
    }
}

#[test]
fn wrong_types_are_refused() {
    for bad in [
        r#""ex":5"#,
        r#""isRead":1"#,
        r#""isRead":"true""#,
        r#""offlinePushInfo":[]"#,
        r#""atUserIDList":"u1""#,
    ] {
        assert!(msg(&format!("{{{bad}}}")).is_err(), "{bad}");
    }
    assert!(from_slice::<msg::DelMsgsResp>(b"[]").is_err());
    for bad in [
        "[]",
        "[\"a\"]",
        "5",
        "\"x\"",
        "",
        "{}x",
        "{",
        "{\"ex\":\"\u{1}\"}",
    ] {
        assert!(msg(bad).is_err(), "{bad}");
    }
}

#[test]
fn bytes_are_padded_base64_and_null_when_empty() {
    let data = MsgData {
        content: Bytes::from_static(&[0xff, 0xfe, 0xfd, 0xfc]),
        ..Default::default()
    };
    let text = to_string(&data).unwrap();
    assert!(text.contains(r#""content":"//79/A==""#));
    assert_eq!(msg(&text).unwrap(), data);
    assert_eq!(msg(r#"{"content":""}"#).unwrap(), MsgData::default());
    assert_eq!(msg(r#"{"content":"\/\/79\/A=="}"#).unwrap(), data);
    for bad in [r#""//79/A""#, r#""__79_A==""#, r#""%""#, "[1]", "5"] {
        assert!(msg(&format!(r#"{{"content":{bad}}}"#)).is_err(), "{bad}");
    }
}

#[test]
fn names_match_in_any_case_and_unknown_members_are_skipped() {
    let text =
        r#"{"SENDID":"a","recvid":"b","unknown":[{"seq":"x"}],"OfflinePushInfo":{"TITLE":"t"}}"#;
    let data = msg(text).unwrap();
    assert_eq!((data.send_id.as_str(), data.recv_id.as_str()), ("a", "b"));
    assert_eq!(data.offline_push_info.unwrap().title, "t");
}

#[test]
fn names_match_in_any_case_inside_lists_and_maps_but_map_keys_stay() {
    let text = r#"{"MSGS":{"SG_g1":{"msgs":[{"SEQ":7}],"ISEND":true}}}"#;
    let resp: PullMessageBySeqsResp = from_slice(text.as_bytes()).unwrap();
    let pulled = &resp.msgs["SG_g1"];
    assert!(pulled.is_end);
    assert_eq!(pulled.msgs[0].seq, 7);
}

#[test]
fn names_given_with_escapes_match() {
    assert_eq!(msg(r#"{"\u0073endID":"a"}"#).unwrap().send_id, "a");
}

#[test]
fn a_member_given_twice_is_refused() {
    assert!(msg(r#"{"ex":"a","EX":"b"}"#).is_err());
}

#[test]
fn irregular_names_are_written_as_they_are() {
    assert!(
        to_string(&PullMsgs::default())
            .unwrap()
            .starts_with(r#"{"Msgs":null,"#)
    );
    assert_eq!(
        to_string(&user::ProcessUserCommandGetResp::default()).unwrap(),
        r#"{"CommandResp":null}"#
    );
    assert!(
        to_string(&conversation::ConversationElem::default())
            .unwrap()
            .contains(r#""IsPinned":false"#)
    );
}

#[test]
fn null_is_accepted_in_place_of_anything() {
    assert_eq!(msg("null").unwrap(), MsgData::default());
    let lists: PullMsgs = from_slice(br#"{"Msgs":[null]}"#).unwrap();
    assert_eq!(lists.msgs, [MsgData::default()]);
    let seqs: GetMaxSeqResp =
        from_slice(br#"{"maxSeqs":{"a":null,"b":2},"minSeqs":null}"#).unwrap();
    assert_eq!(
        (seqs.max_seqs["a"], seqs.max_seqs["b"], seqs.min_seqs.len()),
        (0, 2, 0)
    );
}

#[test]
fn empty_lists_are_written_as_null_and_read_from_both() {
    assert!(
        to_string(&MsgData::default())
            .unwrap()
            .contains(r#""atUserIDList":null"#)
    );
    assert_eq!(msg(r#"{"atUserIDList":[]}"#).unwrap(), MsgData::default());
}

#[test]
fn map_keys_are_sorted_and_empty_maps_left_out() {
    let max_seqs = [("b", 2), ("a", 1), ("c", 3)]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
    let resp = GetMaxSeqResp {
        max_seqs,
        ..Default::default()
    };
    assert_eq!(
        to_string(&resp).unwrap(),
        r#"{"maxSeqs":{"a":1,"b":2,"c":3}}"#
    );
    assert_eq!(to_string(&GetMaxSeqResp::default()).unwrap(), "{}");
}

#[test]
fn wrappers_are_bare_values_that_know_zero_from_unset() {
    let req: UpdateFriendsReq = from_slice(br#"{"isPinned":false,"remark":"","ex":null}"#).unwrap();
    assert!(!req.is_pinned.unwrap().value);
    assert_eq!(req.remark.clone().unwrap().value, "");
    assert!(req.ex.is_none());
    assert!(
        to_string(&req)
            .unwrap()
            .contains(r#""isPinned":false,"remark":"","ex":null"#)
    );
    for bad in [
        r#"{"remark":{"value":"x"}}"#,
        r#"{"remark":5}"#,
        r#"{"isPinned":"true"}"#,
        r#"{"isPinned":0}"#,
    ] {
        assert!(
            from_slice::<UpdateFriendsReq>(bad.as_bytes()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn wrapped_integers_are_unquoted() {
    let read = |text: &str| from_slice::<conversation::ConversationReq>(text.as_bytes());
    assert_eq!(
        read(r#"{"recvMsgOpt":3}"#)
            .unwrap()
            .recv_msg_opt
            .unwrap()
            .value,
        3
    );
    for bad in [r#""3""#, "3.5", "2147483648"] {
        assert!(
            read(&format!(r#"{{"recvMsgOpt":{bad}}}"#)).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn whole_floating_point_numbers_have_no_fraction() {
    assert_eq!(to_string(&DoubleValue { value: 3.0 }).unwrap(), "3");
    assert_eq!(to_string(&DoubleValue { value: 0.1 }).unwrap(), "0.1");
    assert_eq!(
        from_slice::<DoubleValue>(b"3").unwrap().value.to_string(),
        "3"
    );
}

#[test]
fn wrapped_bytes_are_base64() {
    let value = BytesValue {
        value: Bytes::from_static(b"hi"),
    };
    assert_eq!(to_string(&value).unwrap(), r#""aGk=""#);
    assert_eq!(from_slice::<BytesValue>(br#""aGk=""#).unwrap(), value);
}

#[test]
fn a_oneof_is_the_member_that_is_set() {
    let payload = rtc::signal_req::Payload::Cancel(rtc::SignalCancelReq {
        user_id: "u".to_owned(),
        ..Default::default()
    });
    let req = rtc::SignalReq {
        payload: Some(payload),
    };
    let text = to_string(&req).unwrap();
    assert!(text.starts_with(r#"{"cancel":{"#), "{text}");
    assert_eq!(from_slice::<rtc::SignalReq>(text.as_bytes()).unwrap(), req);
    assert_eq!(to_string(&rtc::SignalReq::default()).unwrap(), "{}");
}

#[test]
fn enums_are_numbers() {
    let req: msg::GetSeqMessageReq = from_slice(br#"{"order":1}"#).unwrap();
    assert_eq!(req.order, 1);
    assert!(to_string(&req).unwrap().contains(r#""order":1"#));
    assert!(from_slice::<msg::GetSeqMessageReq>(br#"{"order":"PullOrderDesc"}"#).is_err());
}

/// One message type: its default and its filled value keep their meaning in both directions, whatever the case of names.
fn walk<T>(samples: &Samples, name: &str)
where
    T: prost::Message + Default + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let empty = to_vec(&T::default()).unwrap();
    assert_eq!(from_slice::<T>(&empty).unwrap(), T::default(), "{name}");

    let (wire, json) = samples.filled(&format!(".{name}"), 2);
    let message = T::decode(wire.as_slice()).unwrap();
    let ours: Value = serde_json::from_slice(&to_vec(&message).unwrap()).unwrap();
    assert_eq!(ours, json, "{name}");

    let oneof = name.starts_with("openim.rtc.Signal");
    let input = if oneof { json } else { shout(json) };
    assert_eq!(
        from_slice::<T>(input.to_string().as_bytes()).unwrap(),
        message,
        "{name}"
    );
}

/// The value with all member names in upper case; the samples' only map key has none.
fn shout(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(shout).collect(),
        Value::Object(members) => {
            let upper = |(name, value): (String, Value)| {
                (
                    if name.starts_with('<') {
                        name
                    } else {
                        name.to_uppercase()
                    },
                    shout(value),
                )
            };
            members.into_iter().map(upper).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

#[test]
fn every_message_keeps_its_meaning_in_json() {
    let samples = Samples::new();
    let mut count = 0;
    macro_rules! walk_all {
        ($($name:literal => $type:ty;)*) => {$( walk::<$type>(&samples, $name); count += 1; )*};
    }
    each_message!(walk_all);
    assert_eq!(count, 558);
    assert_eq!(
        shout(json!({"a": [{"<k>": 1}]})),
        json!({"A": [{"<k>": 1}]})
    );
}
