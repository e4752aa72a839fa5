//! The gob form of envelopes: one self-contained stream per frame, that is a type description and one value.
//!
//! Writing needs no description at run time: it never changes, so it is a constant prefix. Reading trusts nothing of the
//! sender's description but its names (see [`decode`]): type ids, type names and field order are the sender's business.

mod decode;
mod reader;
mod types;

pub(crate) use decode::{decode_request, decode_response};
pub use reader::GobError;

use crate::Request;
use crate::codec::ResponseParts;

/// Describes type 65: `GeneralWsReq` with its six fields.
const REQUEST_TYPE: &[u8] = b"\x66\xff\x81\x03\x01\x01\x0cGeneralWsReq\x01\xff\x82\x00\x01\x06\
    \x01\x0dReqIdentifier\x01\x04\x00\x01\x05Token\x01\x0c\x00\x01\x06SendID\x01\x0c\x00\
    \x01\x0bOperationID\x01\x0c\x00\x01\x07MsgIncr\x01\x0c\x00\x01\x04Data\x01\x0a\x00\x00\x00";
const REQUEST_ID: [u8; 2] = [0xff, 0x82];

/// Describes type 66: `Resp` with its six fields.
const RESPONSE_TYPE: &[u8] = b"\x60\xff\x83\x03\x01\x01\x04Resp\x01\xff\x84\x00\x01\x06\
    \x01\x0dReqIdentifier\x01\x04\x00\x01\x07MsgIncr\x01\x0c\x00\x01\x0bOperationID\x01\x0c\x00\
    \x01\x07ErrCode\x01\x04\x00\x01\x06ErrMsg\x01\x0c\x00\x01\x04Data\x01\x0a\x00\x00\x00";
const RESPONSE_ID: [u8; 2] = [0xff, 0x84];

pub(crate) fn encode_request(request: &Request) -> Vec<u8> {
    stream(
        REQUEST_TYPE,
        REQUEST_ID,
        &[
            Scalar::int(request.req_identifier),
            Scalar::Bytes(request.token.as_bytes()),
            Scalar::Bytes(request.send_id.as_bytes()),
            Scalar::Bytes(request.operation_id.as_bytes()),
            Scalar::Bytes(request.msg_incr.as_bytes()),
            Scalar::Bytes(&request.data),
        ],
    )
}

pub(crate) fn encode_response(parts: &ResponseParts<'_>) -> Vec<u8> {
    stream(
        RESPONSE_TYPE,
        RESPONSE_ID,
        &[
            Scalar::int(parts.req_identifier),
            Scalar::Bytes(parts.msg_incr.as_bytes()),
            Scalar::Bytes(parts.operation_id.as_bytes()),
            Scalar::int(parts.err_code),
            Scalar::Bytes(parts.err_msg.as_bytes()),
            Scalar::Bytes(parts.data.unwrap_or_default()),
        ],
    )
}

/// A field's value. Zero values are not written.
enum Scalar<'a> {
    /// A signed integer in its unsigned form: doubled, or its complement doubled plus one.
    Int(u64),
    /// A string or bytes.
    Bytes(&'a [u8]),
}

impl Scalar<'_> {
    fn int(value: i32) -> Self {
        let value = i64::from(value);
        Self::Int(((value << 1) ^ (value >> 63)).cast_unsigned())
    }

    fn is_zero(&self) -> bool {
        match self {
            Self::Int(value) => *value == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Int(value) => uint_size(*value),
            Self::Bytes(bytes) => uint_size(bytes.len() as u64) + bytes.len(),
        }
    }
}

/// The description, then one value message; a single allocation of the exact size.
fn stream(description: &[u8], type_id: [u8; 2], fields: &[Scalar<'_>]) -> Vec<u8> {
    let written = fields.iter().filter(|field| !field.is_zero());
    let body = type_id.len() + written.map(|field| 1 + field.size()).sum::<usize>() + 1;
    let size = description.len() + uint_size(body as u64) + body;
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(description);
    put_uint(&mut out, body as u64);
    out.extend_from_slice(&type_id);
    let mut delta = 1;
    for field in fields {
        if field.is_zero() {
            delta += 1;
            continue;
        }
        out.push(delta);
        delta = 1;
        match field {
            Scalar::Int(value) => put_uint(&mut out, *value),
            Scalar::Bytes(bytes) => {
                put_uint(&mut out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
    }
    out.push(0);
    debug_assert_eq!(
        out.len(),
        size,
        "the size was computed from the same fields"
    );
    out
}

/// Bytes of a number without its leading zero bytes.
fn significant_bytes(value: u64) -> usize {
    (8 - value.leading_zeros() / 8) as usize
}

fn uint_size(value: u64) -> usize {
    if value < 0x80 {
        1
    } else {
        1 + significant_bytes(value)
    }
}

fn put_uint(out: &mut Vec<u8>, value: u64) {
    let low = value.to_be_bytes()[7];
    if value < 0x80 {
        out.push(low);
        return;
    }
    let len = significant_bytes(value);
    out.push((len as u8).wrapping_neg());
    out.extend(value.to_be_bytes().into_iter().skip(8 - len));
}

#[cfg(test)]
mod tests {
    use super::reader::Reader;
    use super::*;

    fn uint(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_uint(&mut out, value);
        assert_eq!(out.len(), uint_size(value));
        out
    }

    #[test]
    fn unsigned_numbers_have_the_documented_bytes() {
        assert_eq!(uint(0), [0]);
        assert_eq!(uint(0x7f), [0x7f]);
        assert_eq!(uint(0x80), [0xff, 0x80]);
        assert_eq!(uint(0x0102), [0xfe, 1, 2]);
        assert_eq!(
            uint(u64::MAX),
            [0xf8, 255, 255, 255, 255, 255, 255, 255, 255]
        );
    }

    #[test]
    fn signed_numbers_come_back() {
        for value in [0, 1, -1, 64, -65, 65, 1001, i32::MAX, i32::MIN] {
            let Scalar::Int(raw) = Scalar::int(value) else {
                unreachable!()
            };
            let bytes = uint(raw);
            assert_eq!(Reader::new(&bytes).int().unwrap(), i64::from(value));
        }
        assert!(matches!(Scalar::int(-65), Scalar::Int(129)));
    }

    #[test]
    fn a_stream_is_one_allocation_of_its_exact_size() {
        for len in [0, 1, 127, 128, 255, 256, 70_000] {
            let request = Request {
                operation_id: "x".repeat(len),
                data: vec![1; len].into(),
                ..Request::default()
            };
            let out = encode_request(&request);
            assert_eq!(out.capacity(), out.len());
        }
    }
}
