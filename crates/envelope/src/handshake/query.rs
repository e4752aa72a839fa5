//! Reads the query string.
//!
//! Clients concatenate it without encoding, so the rules for odd characters matter: `+` is a space, a pair with a broken
//! escape or a `;` is dropped as if it were absent, the first of several equal names counts.

use std::borrow::Cow;

use super::{HandshakeError, RawParams, packed};

/// Longest query that is looked at, in bytes.
pub const MAX_QUERY: usize = 8 << 10;

pub(super) fn parse(query: &str) -> Result<RawParams, HandshakeError> {
    if query.len() > MAX_QUERY {
        return Err(HandshakeError::args("query is too long"));
    }
    let given = Given::collect(query);
    if !given.v.is_empty() {
        return packed::parse(&given.v);
    }
    Ok(RawParams {
        platform_id: given
            .platform_id
            .parse()
            .ok()
            .ok_or_else(|| HandshakeError::args("platformID is not int"))?,
        is_msg_resp: boolean("isMsgResp", &given.is_msg_resp)?,
        is_background: boolean("isBackground", &given.is_background)?,
        token: given.token.into_owned(),
        send_id: given.send_id.into_owned(),
        operation_id: given.operation_id.into_owned(),
        compression: given.compression.into_owned(),
        sdk_type: given.sdk_type.into_owned(),
        sdk_version: given.sdk_version.into_owned(),
    })
}

/// The known parameters; an absent one is empty, which never differs from a present empty one.
#[derive(Default)]
struct Given<'q> {
    v: Cow<'q, str>,
    token: Cow<'q, str>,
    send_id: Cow<'q, str>,
    platform_id: Cow<'q, str>,
    operation_id: Cow<'q, str>,
    is_background: Cow<'q, str>,
    compression: Cow<'q, str>,
    sdk_type: Cow<'q, str>,
    is_msg_resp: Cow<'q, str>,
    sdk_version: Cow<'q, str>,
}

impl<'q> Given<'q> {
    fn collect(query: &'q str) -> Self {
        let mut given = Self::default();
        let mut seen = [false; 10];
        for pair in query.split('&').filter(|pair| !pair.contains(';')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (unescape(name), unescape(value)) else {
                continue;
            };
            let (at, slot) = match name.as_ref() {
                "v" => (0, &mut given.v),
                "token" => (1, &mut given.token),
                "sendID" => (2, &mut given.send_id),
                "platformID" => (3, &mut given.platform_id),
                "operationID" => (4, &mut given.operation_id),
                "isBackground" => (5, &mut given.is_background),
                "compression" => (6, &mut given.compression),
                "sdkType" => (7, &mut given.sdk_type),
                "isMsgResp" => (8, &mut given.is_msg_resp),
                "sdkVersion" => (9, &mut given.sdk_version),
                _ => continue,
            };
            if !std::mem::replace(&mut seen[at], true) {
                *slot = value;
            }
        }
        given
    }
}

fn boolean(name: &str, text: &str) -> Result<bool, HandshakeError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(HandshakeError::args(format!("{name} is not bool"))),
    }
}

/// Resolves `%xx` and `+`; nothing for a broken escape or for what is not UTF-8 afterwards.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_and_broken_ones_drop_the_pair() {
        assert_eq!(unescape("a%2Fb+c").as_deref(), Some("a/b c"));
        assert_eq!(unescape("%E4%BD%A0").as_deref(), Some("你"));
        for broken in ["%", "%4", "%zz", "%%%", "%ff"] {
            assert_eq!(unescape(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_first_of_equal_names_counts_even_if_empty() {
        let given = Given::collect("sendID=&sendID=b&token=x=y&token=z&a;token=w");
        assert_eq!((given.send_id.as_ref(), given.token.as_ref()), ("", "x=y"));
    }
}
