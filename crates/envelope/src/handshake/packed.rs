//! The alternative form of the query: one parameter `v`, an object in unpadded base64url.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use serde::de::MapAccess;

use super::{HandshakeError, RawParams};
use crate::json::object::{self, Members, ignore, is, set};

/// Unused bits of the last character are not examined.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    NO_PAD.with_decode_allow_trailing_bits(true),
);

pub(super) fn parse(v: &str) -> Result<RawParams, HandshakeError> {
    let text = BASE64URL
        .decode(v)
        .ok()
        .ok_or_else(|| HandshakeError::args("data is not base64"))?;
    object::parse(&text).map_err(|error| {
        let info = not_a_value(&text)
            .unwrap_or_else(|| format!("unexpected input at column {}", error.column()));
        HandshakeError::args(format!("data is not json, info={info}"))
    })
}

/// Names the first character of a text that can't be the start of any JSON value.
fn not_a_value(text: &[u8]) -> Option<String> {
    let first = *text.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if matches!(
        first,
        b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'
    ) {
        return None;
    }
    Some(format!(
        "invalid character {:?} looking for beginning of value",
        char::from(first)
    ))
}

impl<'de> Members<'de> for RawParams {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            n if is(n, "token") => set(&mut self.token, map),
            n if is(n, "userID") => set(&mut self.send_id, map),
            n if is(n, "platformID") => set(&mut self.platform_id, map),
            n if is(n, "operationID") => set(&mut self.operation_id, map),
            n if is(n, "compression") => set(&mut self.compression, map),
            n if is(n, "sdkType") => set(&mut self.sdk_type, map),
            n if is(n, "sendResponse") => set(&mut self.is_msg_resp, map),
            n if is(n, "background") => set(&mut self.is_background, map),
            n if is(n, "sdkVersion") => set(&mut self.sdk_version, map),
            _ => ignore(map),
        }
    }
}
