//! Queries that clients and strangers sent to a running OpenIM server, and what the caller is told.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use magpie_envelope::Encoding;
use magpie_envelope::handshake::{HandshakeError, HandshakeParams, MAX_QUERY, SUCCESS};
use proptest::prelude::*;
use serde_json::{Value, json};

/// One handshake per line: `step`, `query`, the `compression` header if there was one, and the body of the refusal if the
/// query itself was refused.
const HANDSHAKES: &str = include_str!("data/handshakes.jsonl");
const GOOD: &str = "sendID=u1&token=tok&platformID=5&operationID=op";

fn refusal(query: &str) -> HandshakeError {
    HandshakeParams::parse(query, None).unwrap_err()
}

#[test]
fn recorded_queries_are_judged_as_recorded() {
    let mut refused = 0;
    for line in HANDSHAKES.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let outcome = HandshakeParams::parse(
            recorded["query"].as_str().unwrap(),
            recorded["compression"].as_str(),
        );
        match recorded["refused"]["errCode"].as_i64() {
            Some(1602) => {
                let body: Value = serde_json::from_str(&outcome.unwrap_err().to_json()).unwrap();
                assert_eq!(body, recorded["refused"], "{line}");
                refused += 1;
            }
            // The recorded server called it its own fault that isBackground was missing or malformed.
            Some(500) if line.contains("isBackground=yes") => {
                let error = outcome.unwrap_err();
                assert_eq!(
                    (error.code, error.detail.as_str()),
                    (1602, "isBackground is not bool"),
                    "{line}"
                );
            }
            Some(500) => assert!(!outcome.unwrap().is_background, "{line}"),
            other => {
                assert_eq!(other, None);
                outcome.unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }
    assert!(refused > 15, "{refused}");
}

#[test]
fn every_field_is_read() {
    let query = format!(
        "{GOOD}&isBackground=T&compression=gzip&sdkType=js&isMsgResp=1&sdkVersion=3.8.3%20x&unknown=1"
    );
    let expected = HandshakeParams {
        token: "tok".to_owned(),
        send_id: "u1".to_owned(),
        platform_id: 5,
        operation_id: "op".to_owned(),
        is_background: true,
        compression: true,
        sdk_type: Encoding::Json,
        is_msg_resp: true,
        sdk_version: "3.8.3 x".to_owned(),
    };
    assert_eq!(HandshakeParams::parse(&query, None), Ok(expected));
}

#[test]
fn a_bare_query_means_gob_without_gzip_and_without_answer() {
    let params = HandshakeParams::parse(GOOD, None).unwrap();
    assert_eq!(
        (params.codec().encoding, params.codec().compressed),
        (Encoding::Gob, false)
    );
    assert!(!params.is_msg_resp && !params.is_background);
}

#[test]
fn the_compression_header_counts_only_where_the_query_is_silent() {
    let compressed =
        |query: &str, header| HandshakeParams::parse(query, header).unwrap().compression;
    assert!(compressed(GOOD, Some("gzip")));
    assert!(compressed(&format!("{GOOD}&compression="), Some("gzip")));
    assert!(!compressed(
        &format!("{GOOD}&compression=none"),
        Some("gzip")
    ));
    assert!(!compressed(&format!("{GOOD}&compression=GZIP"), None));
    assert!(!compressed(GOOD, Some("deflate")));
}

#[test]
fn platforms_1_to_12_are_known() {
    for id in -2..20 {
        let outcome = HandshakeParams::parse(
            &format!("sendID=u1&token=t&operationID=o&platformID={id}"),
            None,
        );
        assert_eq!(outcome.is_ok(), (1..=12).contains(&id), "{id}");
    }
    for (id, detail) in [
        ("4294967301", "platformID is invalid"),
        ("99999999999999999999", "platformID is not int"),
    ] {
        let error = refusal(&format!("sendID=u1&token=t&operationID=o&platformID={id}"));
        assert_eq!(error.detail, detail);
    }
}

#[test]
fn the_first_failing_check_is_named() {
    let order = [
        (
            "isMsgResp=x&isBackground=x&sdkType=x",
            "platformID is not int",
        ),
        (
            "platformID=0&isMsgResp=x&isBackground=x&sdkType=x",
            "isMsgResp is not bool",
        ),
        (
            "platformID=0&isBackground=x&sdkType=x",
            "isBackground is not bool",
        ),
        ("platformID=0&sdkType=x", "operationID is empty"),
        ("platformID=0&sdkType=x&operationID=o", "token is empty"),
        (
            "platformID=0&sdkType=x&operationID=o&token=t",
            "sendID is empty",
        ),
        (
            "platformID=0&sdkType=x&operationID=o&token=t&sendID=u",
            "platformID is invalid",
        ),
        (
            "platformID=1&sdkType=x&operationID=o&token=t&sendID=u",
            "sdkType is invalid",
        ),
    ];
    for (query, detail) in order {
        assert_eq!(refusal(query).detail, detail, "{query}");
    }
}

#[test]
fn a_packed_query_hides_all_other_parameters() {
    let object = json!({
        "token": "t", "userID": "u9", "platformID": 2, "operationID": "o", "compression": "gzip", "sdkType": "go",
        "sendResponse": true, "background": true, "sdkVersion": "4", "more": [1],
    });
    let query = format!("{GOOD}&v={}", URL_SAFE_NO_PAD.encode(object.to_string()));
    let params = HandshakeParams::parse(&query, None).unwrap();
    assert_eq!(
        (
            params.send_id.as_str(),
            params.platform_id,
            params.sdk_version.as_str()
        ),
        ("u9", 2, "4")
    );
    assert!(params.compression && params.is_msg_resp && params.is_background);
}

#[test]
fn a_packed_query_with_wrong_types_is_refused_briefly_without_quoting_it() {
    let object = json!({ "token": { "secret": "s3cret" }, "userID": "x".repeat(5000) });
    let error = refusal(&format!("v={}", URL_SAFE_NO_PAD.encode(object.to_string())));
    assert_eq!(error.code, 1602);
    let body = error.to_json();
    assert!(body.len() < 300 && !body.contains("s3cret"), "{body}");
}

#[test]
fn refusals_are_written_in_the_order_that_clients_know() {
    assert_eq!(
        refusal("").to_json(),
        r#"{"errCode":1602,"errMsg":"args err, need token, sendID, platformID","errDlt":"platformID is not int"}"#
    );
    assert_eq!(HandshakeError::new(0, "", "").to_json(), SUCCESS);
}

#[test]
fn a_long_query_is_not_looked_at() {
    let query = format!("{GOOD}&x={}", "y".repeat(MAX_QUERY));
    assert_eq!(refusal(&query).detail, "query is too long");
}

#[test]
fn the_token_is_not_shown() {
    let params =
        HandshakeParams::parse("sendID=u1&token=s3cret&platformID=5&operationID=op", None).unwrap();
    assert!(!format!("{params:?}").contains("s3cret"));
}

proptest! {
    #[test]
    fn any_query_is_read_without_panic(query: String, packed: Vec<u8>, text in "[a-zA-Z&=;%+0-9]{0,80}") {
        for query in [query, text, format!("v={}", URL_SAFE_NO_PAD.encode(packed))] {
            if let Err(error) = HandshakeParams::parse(&query, None) {
                prop_assert_eq!(error.code, 1602);
                prop_assert!(error.to_json().len() <= 1024);
            }
        }
    }
}
