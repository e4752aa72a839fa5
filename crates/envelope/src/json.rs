//! The JSON form of envelopes.
//!
//! Reading follows what clients are used to: member names in any case, unknown members ignored, `null` the same as absent,
//! the last of a repeated member wins, the request number an integer literal, the body in padded standard base64. Writing has
//! a fixed order of members and goes straight into one buffer of the exact size.

pub(crate) mod object;
mod write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error as _, MapAccess};

use self::object::{Members, Text, ignore, is, set};
use self::write::{Piece, join};
use crate::codec::ResponseParts;
use crate::{DecodeError, Request, Response};

pub(crate) fn encode_request(request: &Request) -> Vec<u8> {
    join(&[
        Piece::Raw("{\"reqIdentifier\":"),
        Piece::Int(request.req_identifier),
        Piece::Raw(",\"token\":"),
        Piece::Text(&request.token),
        Piece::Raw(",\"sendID\":"),
        Piece::Text(&request.send_id),
        Piece::Raw(",\"operationID\":"),
        Piece::Text(&request.operation_id),
        Piece::Raw(",\"msgIncr\":"),
        Piece::Text(&request.msg_incr),
        Piece::Raw(",\"data\":"),
        Piece::Base64(&request.data),
        Piece::Raw("}"),
    ])
}

pub(crate) fn encode_response(parts: &ResponseParts<'_>) -> Vec<u8> {
    join(&[
        Piece::Raw("{\"reqIdentifier\":"),
        Piece::Int(parts.req_identifier),
        Piece::Raw(",\"msgIncr\":"),
        Piece::Text(parts.msg_incr),
        Piece::Raw(",\"operationID\":"),
        Piece::Text(parts.operation_id),
        Piece::Raw(",\"errCode\":"),
        Piece::Int(parts.err_code),
        Piece::Raw(",\"errMsg\":"),
        Piece::Text(parts.err_msg),
        Piece::Raw(",\"data\":"),
        parts.data.map_or(Piece::Raw("null"), Piece::Base64),
        Piece::Raw("}"),
    ])
}

pub(crate) fn handshake_error(code: i32, msg: &str, detail: &str) -> String {
    let text = join(&[
        Piece::Raw("{\"errCode\":"),
        Piece::Int(code),
        Piece::Raw(",\"errMsg\":"),
        Piece::Text(msg),
        Piece::Raw(",\"errDlt\":"),
        Piece::Text(detail),
        Piece::Raw("}"),
    ]);
    String::from_utf8(text).expect("every piece is text")
}

pub(crate) fn decode_request(text: &[u8]) -> Result<Request, DecodeError> {
    object::parse(text).map_err(at)
}

pub(crate) fn decode_response(text: &[u8]) -> Result<Response, DecodeError> {
    object::parse(text).map_err(at)
}

/// Keeps the place and drops the text, which may quote the frame.
fn at(error: serde_json::Error) -> DecodeError {
    DecodeError::Json {
        line: error.line(),
        column: error.column(),
    }
}

impl<'de> Members<'de> for Request {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            n if is(n, "reqIdentifier") => set(&mut self.req_identifier, map),
            n if is(n, "token") => set(&mut self.token, map),
            n if is(n, "sendID") => set(&mut self.send_id, map),
            n if is(n, "operationID") => set(&mut self.operation_id, map),
            n if is(n, "msgIncr") => set(&mut self.msg_incr, map),
            n if is(n, "data") => {
                if let Some(data) = base64_value(map)? {
                    self.data = data;
                }
                Ok(())
            }
            _ => ignore(map),
        }
    }
}

impl<'de> Members<'de> for Response {
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            n if is(n, "reqIdentifier") => set(&mut self.req_identifier, map),
            n if is(n, "msgIncr") => set(&mut self.msg_incr, map),
            n if is(n, "operationID") => set(&mut self.operation_id, map),
            n if is(n, "errCode") => set(&mut self.err_code, map),
            n if is(n, "errMsg") => set(&mut self.err_msg, map),
            n if is(n, "data") => {
                self.data = base64_value(map)?;
                Ok(())
            }
            _ => ignore(map),
        }
    }
}

fn base64_value<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Bytes>, A::Error> {
    let Some(text) = map.next_value::<Option<Text<'de>>>()? else {
        return Ok(None);
    };
    match STANDARD.decode(text.0.as_bytes()) {
        Ok(data) => Ok(Some(Bytes::from(data))),
        Err(_) => Err(A::Error::custom("data is not padded standard base64")),
    }
}
