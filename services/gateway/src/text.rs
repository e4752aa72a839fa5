//! Text frames of clients: `ping`, answered with the same body, and `pong` (gateway.md 3.4). Anything else ends the
//! connection.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::frame;

/// Neither a ping nor a pong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadText;

/// A JSON object; the first spelling of a name in any case counts.
#[derive(Deserialize)]
struct Object<'a>(#[serde(borrow)] BTreeMap<String, &'a RawValue>);

impl Object<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.get())
    }
}

/// The frame to answer with, if any.
pub(crate) fn answer(payload: &[u8]) -> Result<Option<Bytes>, BadText> {
    let object: Object<'_> = serde_json::from_slice(payload).map_err(|_e| BadText)?;
    match object.get("type") {
        Some(r#""ping""#) => {
            let body = object.get("body").unwrap_or("null");
            Ok(Some(frame::text(
                format!(r#"{{"type":"pong","body":{body}}}"#).as_bytes(),
            )))
        }
        Some(r#""pong""#) => Ok(None),
        _ => Err(BadText),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str) -> Result<Option<String>, BadText> {
        let frame = answer(text.as_bytes())?;
        Ok(frame.map(|f| String::from_utf8(f[2..].to_vec()).unwrap()))
    }

    #[test]
    fn a_ping_gets_its_body_back() {
        for (ping, pong) in [
            (r#"{"type":"ping"}"#, r#"{"type":"pong","body":null}"#),
            (
                r#"{"type":"ping","body":"123"}"#,
                r#"{"type":"pong","body":"123"}"#,
            ),
            (
                r#"{"type":"ping","body":{"a":[1,2]}}"#,
                r#"{"type":"pong","body":{"a":[1,2]}}"#,
            ),
            (
                r#"{"type":"ping","body":5,"x":1}"#,
                r#"{"type":"pong","body":5}"#,
            ),
            (
                r#"{"TYPE":"ping","Body":"c"}"#,
                r#"{"type":"pong","body":"c"}"#,
            ),
        ] {
            assert_eq!(answered(ping), Ok(Some(pong.to_owned())));
        }
    }

    #[test]
    fn a_pong_is_taken_silently() {
        assert_eq!(answered(r#"{"type":"pong","body":"z"}"#), Ok(None));
    }

    #[test]
    fn anything_else_is_refused() {
        let deep = "[".repeat(10_000);
        for bad in [
            "",
            "ping",
            "{}",
            "[]",
            r#"{"type":"foo"}"#,
            r#"{"type":5}"#,
            "{\"type\":\"ping\"",
            deep.as_str(),
        ] {
            assert_eq!(answered(bad), Err(BadText), "{bad:.20}");
        }
        assert_eq!(
            answer(b"{\"type\":\"ping\",\"body\":\"\xff\"}"),
            Err(BadText)
        );
    }
}
