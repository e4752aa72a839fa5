//! Reads an envelope: any number of type descriptions, then one struct value whose fields are matched by name.
//!
//! Fields that the envelope does not have are skipped whatever their type, missing ones stay zero. A known name with another
//! type is an error, and so is anything after the value.

use bytes::Bytes;

use super::reader::{GobError, Reader};
use super::types::{self, Types, field_at};
use crate::{Request, Response};

pub(crate) fn decode_request(stream: &[u8]) -> Result<Request, GobError> {
    let mut request = Request::default();
    decode_struct(stream, |name, value| {
        match name {
            b"ReqIdentifier" => request.req_identifier = value.int("ReqIdentifier")?,
            b"Token" => request.token = value.text("Token")?,
            b"SendID" => request.send_id = value.text("SendID")?,
            b"OperationID" => request.operation_id = value.text("OperationID")?,
            b"MsgIncr" => request.msg_incr = value.text("MsgIncr")?,
            b"Data" => request.data = value.bytes("Data")?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(request)
}

pub(crate) fn decode_response(stream: &[u8]) -> Result<Response, GobError> {
    let mut response = Response::default();
    decode_struct(stream, |name, value| {
        match name {
            b"ReqIdentifier" => response.req_identifier = value.int("ReqIdentifier")?,
            b"MsgIncr" => response.msg_incr = value.text("MsgIncr")?,
            b"OperationID" => response.operation_id = value.text("OperationID")?,
            b"ErrCode" => response.err_code = value.int("ErrCode")?,
            b"ErrMsg" => response.err_msg = value.text("ErrMsg")?,
            b"Data" => response.data = Some(value.bytes("Data")?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(response)
}

/// A field's value, borrowed from the stream.
enum Value<'a> {
    Int(i64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Skipped,
}

impl Value<'_> {
    fn int(&self, field: &'static str) -> Result<i32, GobError> {
        let Self::Int(value) = self else {
            return Err(GobError::FieldType(field));
        };
        i32::try_from(*value).ok().ok_or(GobError::Range(field))
    }

    fn text(&self, field: &'static str) -> Result<String, GobError> {
        let Self::Text(value) = self else {
            return Err(GobError::FieldType(field));
        };
        std::str::from_utf8(value)
            .ok()
            .map(str::to_owned)
            .ok_or(GobError::Utf8(field))
    }

    fn bytes(&self, field: &'static str) -> Result<Bytes, GobError> {
        let Self::Bytes(value) = self else {
            return Err(GobError::FieldType(field));
        };
        Ok(Bytes::copy_from_slice(value))
    }
}

/// Calls `each` with every field of the stream's one struct value.
fn decode_struct(
    stream: &[u8],
    mut each: impl FnMut(&[u8], Value<'_>) -> Result<(), GobError>,
) -> Result<(), GobError> {
    let mut stream = Reader::new(stream);
    let mut types = Types::default();
    let (id, mut value) = loop {
        let mut message = stream.message()?;
        let id = message.int()?;
        if id >= 0 {
            break (id, message);
        }
        types.describe(id.checked_neg().ok_or(GobError::Description)?, &mut message)?;
    };
    let fields = types.struct_fields(id)?;
    let mut last = None;
    while let Some(number) = value.next_field(last)? {
        let field = field_at(fields, number)?;
        let content = match field.type_id {
            types::INT => Value::Int(value.int()?),
            types::STRING => Value::Text(value.bytes()?),
            types::BYTES => Value::Bytes(value.bytes()?),
            other => {
                types.skip(other, &mut value)?;
                Value::Skipped
            }
        };
        each(field.name, content)?;
        last = Some(number);
    }
    value.end()?;
    stream.end()
}
