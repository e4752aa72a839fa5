//! The query of the WebSocket handshake: who connects, and how frames are written from then on.
//!
//! Parsing is separate from judging the token: [`HandshakeParams`] says what the caller claims, a [`HandshakeError`] why the
//! claim can't be read. Errors found here are always answered over HTTP, status 200 with [`HandshakeError::to_json`] as body,
//! because the wish for an answer as a WebSocket message (`isMsgResp`) only counts once the whole query was understood.
//! Texts are those that clients and their operators know; a missing `isBackground` is false, and a malformed one is the
//! caller's mistake like any other.

mod packed;
mod query;

use std::fmt;

use crate::envelope::Redacted;
use crate::{Codec, Encoding, json};

pub use query::MAX_QUERY;

/// The text message that reports success, for callers that asked for one.
pub const SUCCESS: &str = r#"{"errCode":0,"errMsg":"","errDlt":""}"#;

/// Error code of a query that can't be read.
pub const CONN_ARGS_ERR: i32 = 1602;
/// The platforms that exist.
pub const PLATFORMS: std::ops::RangeInclusive<i32> = 1..=12;

const CONN_ARGS_MSG: &str = "args err, need token, sendID, platformID";

/// What a caller says about itself. Nothing is verified but the form.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeParams {
    /// Not empty.
    pub token: String,
    /// The user that the caller claims to be; not empty.
    pub send_id: String,
    /// One of [`PLATFORMS`].
    pub platform_id: i32,
    /// Trace id of the handshake; not empty.
    pub operation_id: String,
    /// The application starts in the background.
    pub is_background: bool,
    /// Every binary frame is gzip.
    pub compression: bool,
    /// How envelopes are written.
    pub sdk_type: Encoding,
    /// The result of the handshake is sent as the first text message.
    pub is_msg_resp: bool,
    /// For information only; may be empty.
    pub sdk_version: String,
}

/// Why a handshake is refused, as told to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{msg}: {detail}")]
pub struct HandshakeError {
    /// `errCode`
    pub code: i32,
    /// `errMsg`
    pub msg: String,
    /// `errDlt`
    pub detail: String,
}

impl HandshakeParams {
    /// Reads the part of the request target after `?`; `compression_header` is the HTTP header `compression`, which counts
    /// where the query does not say anything.
    ///
    /// # Errors
    /// A field is missing or malformed, or the query is longer than [`MAX_QUERY`].
    pub fn parse(query: &str, compression_header: Option<&str>) -> Result<Self, HandshakeError> {
        let raw = query::parse(query)?;
        Self::check(raw, compression_header)
    }

    /// The codec of the connection.
    #[must_use]
    pub fn codec(&self) -> Codec {
        Codec {
            encoding: self.sdk_type,
            compressed: self.compression,
        }
    }

    fn check(raw: RawParams, compression_header: Option<&str>) -> Result<Self, HandshakeError> {
        for (name, value) in [
            ("operationID", &raw.operation_id),
            ("token", &raw.token),
            ("sendID", &raw.send_id),
        ] {
            if value.is_empty() {
                return Err(HandshakeError::args(format!("{name} is empty")));
            }
        }
        let platform_id = i32::try_from(raw.platform_id)
            .ok()
            .filter(|id| PLATFORMS.contains(id))
            .ok_or_else(|| HandshakeError::args("platformID is invalid"))?;
        let sdk_type = match raw.sdk_type.as_str() {
            "" | "go" => Encoding::Gob,
            "js" => Encoding::Json,
            _ => return Err(HandshakeError::args("sdkType is invalid")),
        };
        let compression = match raw.compression.as_str() {
            "" => compression_header.unwrap_or_default(),
            given => given,
        };
        Ok(Self {
            compression: compression == "gzip",
            token: raw.token,
            send_id: raw.send_id,
            platform_id,
            operation_id: raw.operation_id,
            is_background: raw.is_background,
            sdk_type,
            is_msg_resp: raw.is_msg_resp,
            sdk_version: raw.sdk_version,
        })
    }
}

impl fmt::Debug for HandshakeParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeParams")
            .field("token", &Redacted(&self.token))
            .field("send_id", &self.send_id)
            .field("platform_id", &self.platform_id)
            .field("operation_id", &self.operation_id)
            .field("is_background", &self.is_background)
            .field("compression", &self.compression)
            .field("sdk_type", &self.sdk_type)
            .field("is_msg_resp", &self.is_msg_resp)
            .field("sdk_version", &self.sdk_version)
            .finish()
    }
}

impl HandshakeError {
    /// A refusal for a reason that was found elsewhere, such as the token's.
    #[must_use]
    pub fn new(code: i32, msg: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
            detail: detail.into(),
        }
    }

    /// The object that clients get, as HTTP body or as text message. Native clients read 1024 bytes of it, so texts are short.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::handshake_error(self.code, &self.msg, &self.detail)
    }

    pub(crate) fn args(detail: impl Into<String>) -> Self {
        Self::new(CONN_ARGS_ERR, CONN_ARGS_MSG, detail)
    }
}

/// The fields before they are checked, from either form of the query.
#[derive(Default)]
struct RawParams {
    token: String,
    send_id: String,
    platform_id: i64,
    operation_id: String,
    is_background: bool,
    compression: String,
    sdk_type: String,
    is_msg_resp: bool,
    sdk_version: String,
}
