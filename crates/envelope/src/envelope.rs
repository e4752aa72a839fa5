//! The two envelopes, independent of how they are written.

use std::fmt;

use bytes::Bytes;

/// What a client sends in one binary frame.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// What the body is, see [`reqs`](crate::reqs).
    pub req_identifier: i32,
    /// Unused: clients leave it empty and the gateway ignores it.
    pub token: String,
    /// Must be the user of the connection.
    pub send_id: String,
    /// Trace id, echoed in the response and in every push that the request causes.
    pub operation_id: String,
    /// Correlation id chosen by the client, echoed in the response.
    pub msg_incr: String,
    /// Protobuf bytes of the request message.
    pub data: Bytes,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("req_identifier", &self.req_identifier)
            .field("token", &Redacted(&self.token))
            .field("send_id", &self.send_id)
            .field("operation_id", &self.operation_id)
            .field("msg_incr", &self.msg_incr)
            .field("data_len", &self.data.len())
            .finish()
    }
}

/// What the gateway sends in one binary frame: an answer or a push.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The number of the request, or that of a push.
    pub req_identifier: i32,
    /// Echo of the request; empty in pushes.
    pub msg_incr: String,
    /// Echo of the request; in message pushes that of the send request, empty in kick and presence pushes.
    pub operation_id: String,
    /// 0 is success.
    pub err_code: i32,
    /// Short error text, empty on success.
    pub err_msg: String,
    /// Protobuf bytes. `None` is "no payload" (JSON `null`), `Some` of nothing is a message of zero bytes (JSON `""`); gob
    /// leaves out both, and its decoder answers `None`.
    pub data: Option<Bytes>,
}

/// Shows only whether there is a secret.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "\"\""
        } else {
            "[redacted]"
        })
    }
}
