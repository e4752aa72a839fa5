//! One connection's way of writing envelopes, and the bounds of what it reads.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{GobError, GzipError, Request, Response, gob, gzip, json, reqs};

/// How an envelope becomes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Go's self-describing binary format (`sdkType=go` or none).
    Gob,
    /// JSON text with the body in base64 (`sdkType=js`).
    Json,
}

/// How the binary frames of one connection are written, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Codec {
    /// How an envelope becomes bytes.
    pub encoding: Encoding,
    /// Whether every frame is one gzip stream.
    pub compressed: bool,
}

/// Largest frame that a decoder looks at, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// As received.
    pub wire: usize,
    /// After decompression.
    pub decoded: usize,
}

impl Limits {
    /// What a gateway accepts from clients. The first number is the one that clients know.
    pub const SERVER: Self = Self {
        wire: 51_200,
        decoded: 1 << 20,
    };
    /// What clients accept from a gateway.
    pub const CLIENT: Self = Self {
        wire: 1 << 20,
        decoded: 16 << 20,
    };
}

/// Why a frame is no envelope. The gateway ends the connection; texts hold nothing of the frame's content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes on the wire than [`Limits::wire`].
    #[error("frame of {size} bytes is larger than {limit}")]
    FrameTooLarge {
        /// Bytes received.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// More bytes after decompression than [`Limits::decoded`].
    #[error("envelope of {size} bytes is larger than {limit}")]
    EnvelopeTooLarge {
        /// Bytes that the frame claims to unpack to.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not one complete gzip stream.
    #[error("not a gzip frame: {0}")]
    Gzip(GzipError),
    /// Not a gob stream that describes and holds an envelope.
    #[error("not a gob envelope: {0}")]
    Gob(#[from] GobError),
    /// Not a JSON object with the members of an envelope.
    #[error("not a json envelope, line {line} column {column}")]
    Json {
        /// Line of the first error, from 1.
        line: usize,
        /// Column of the first error, from 1.
        column: usize,
    },
}

impl Codec {
    /// Every codec, each at the place of its [`index`](Self::index).
    pub const ALL: [Self; 4] = [
        Self {
            encoding: Encoding::Gob,
            compressed: false,
        },
        Self {
            encoding: Encoding::Gob,
            compressed: true,
        },
        Self {
            encoding: Encoding::Json,
            compressed: false,
        },
        Self {
            encoding: Encoding::Json,
            compressed: true,
        },
    ];

    /// A small number for tables with one entry per codec.
    #[must_use]
    pub fn index(self) -> usize {
        let encoding = match self.encoding {
            Encoding::Gob => 0,
            Encoding::Json => 2,
        };
        encoding + usize::from(self.compressed)
    }

    /// Reads a client's frame.
    ///
    /// # Errors
    /// The frame is too large, packed wrongly or no request envelope.
    pub fn decode_request(&self, frame: &[u8], limits: &Limits) -> Result<Request, DecodeError> {
        let envelope = self.unpack(frame, limits)?;
        match self.encoding {
            Encoding::Gob => Ok(gob::decode_request(&envelope)?),
            Encoding::Json => json::decode_request(&envelope),
        }
    }

    /// Reads a gateway's frame.
    ///
    /// # Errors
    /// The frame is too large, packed wrongly or no response envelope.
    pub fn decode_response(&self, frame: &[u8], limits: &Limits) -> Result<Response, DecodeError> {
        let envelope = self.unpack(frame, limits)?;
        match self.encoding {
            Encoding::Gob => Ok(gob::decode_response(&envelope)?),
            Encoding::Json => json::decode_response(&envelope),
        }
    }

    /// Writes a client's frame.
    #[must_use]
    pub fn encode_request(&self, request: &Request) -> Bytes {
        self.pack(match self.encoding {
            Encoding::Gob => gob::encode_request(request),
            Encoding::Json => json::encode_request(request),
        })
    }

    /// Writes a gateway's frame.
    #[must_use]
    pub fn encode_response(&self, response: &Response) -> Bytes {
        self.encode_parts(&ResponseParts {
            req_identifier: response.req_identifier,
            msg_incr: &response.msg_incr,
            operation_id: &response.operation_id,
            err_code: response.err_code,
            err_msg: &response.err_msg,
            data: response.data.as_deref(),
        })
    }

    /// Writes the frame of a message push. It is built once per codec and shared by all receivers; without compression it is
    /// one allocation of the exact size.
    #[must_use]
    pub fn push_frame(&self, operation_id: &str, push_data: &[u8]) -> Bytes {
        self.encode_parts(&ResponseParts {
            req_identifier: reqs::PUSH_MSG,
            msg_incr: "",
            operation_id,
            err_code: 0,
            err_msg: "",
            data: Some(push_data),
        })
    }

    fn encode_parts(&self, parts: &ResponseParts<'_>) -> Bytes {
        self.pack(match self.encoding {
            Encoding::Gob => gob::encode_response(parts),
            Encoding::Json => json::encode_response(parts),
        })
    }

    fn pack(&self, envelope: Vec<u8>) -> Bytes {
        if self.compressed {
            gzip::compress(&envelope)
        } else {
            Bytes::from(envelope)
        }
    }

    fn unpack<'a>(&self, frame: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, DecodeError> {
        if frame.len() > limits.wire {
            return Err(DecodeError::FrameTooLarge {
                size: frame.len(),
                limit: limits.wire,
            });
        }
        if self.compressed {
            return gzip::decompress(frame, limits.decoded).map(Cow::Owned);
        }
        if frame.len() > limits.decoded {
            return Err(DecodeError::EnvelopeTooLarge {
                size: frame.len(),
                limit: limits.decoded,
            });
        }
        Ok(Cow::Borrowed(frame))
    }
}

/// A [`Response`] that borrows everything, so that a push needs no owned copy.
pub(crate) struct ResponseParts<'a> {
    pub(crate) req_identifier: i32,
    pub(crate) msg_incr: &'a str,
    pub(crate) operation_id: &'a str,
    pub(crate) err_code: i32,
    pub(crate) err_msg: &'a str,
    pub(crate) data: Option<&'a [u8]>,
}
