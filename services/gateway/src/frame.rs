//! WebSocket frames, both ways (RFC 6455).
//!
//! [`Inbound`] turns bytes, however they were cut, into messages. It works in the caller's buffer and keeps bytes of its own
//! only while a frame or a fragmented message is incomplete, so an idle connection has no buffer. Clients must mask, may
//! fragment, and may put control frames between fragments; reserved bits and opcodes are refused, since no extension is
//! negotiated. [`wire`] makes a whole frame once, to be shared by everybody it goes to.

use std::borrow::Cow;
use std::io::Cursor;
use std::ops::ControlFlow;

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Longest payload of a control frame.
const MAX_CONTROL: u64 = 125;
/// A buffer of this size is kept while a connection sends large frames in pieces; larger ones are given back.
const KEPT: usize = 1 << 10;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Text(Cow<'a, [u8]>),
    Binary(Cow<'a, [u8]>),
    Ping(&'a [u8]),
    Pong,
    /// With the code, if the frame has one.
    Close(Option<u16>),
}

/// Why the bytes of a client can't be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// A message larger than allowed.
    TooLarge,
    /// Not the WebSocket protocol.
    Protocol,
}

/// The reading side of one connection.
#[derive(Default)]
pub(crate) struct Inbound {
    /// Bytes of an incomplete frame, or frames that were not looked at yet.
    partial: Vec<u8>,
    assembly: Option<Box<Assembly>>,
}

/// The fragments of a message so far.
struct Assembly {
    binary: bool,
    payload: Vec<u8>,
}

impl Inbound {
    /// Starts with bytes that came together with the handshake.
    pub(crate) fn new(early: Vec<u8>) -> Self {
        Self {
            partial: early,
            assembly: None,
        }
    }

    /// Whether bytes wait here, complete or not.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Reads what follows in the stream and hands out each complete message. Stops when `on` breaks; the rest is kept for the
    /// next call, which may bring nothing new.
    pub(crate) fn feed(
        &mut self,
        chunk: &mut [u8],
        limit: usize,
        on: &mut dyn FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), FrameError> {
        let mut held = std::mem::take(&mut self.partial);
        let buffer: &mut [u8] = if held.is_empty() {
            &mut *chunk
        } else {
            held.extend_from_slice(chunk);
            &mut held
        };
        let mut at = 0;
        while let Some((used, message)) = self.next(&mut buffer[at..], limit)? {
            at += used;
            if let Some(message) = message
                && on(message).is_break()
            {
                break;
            }
        }
        let rest = buffer.len() - at;
        if rest > 0 {
            if held.is_empty() {
                self.partial = chunk[at..].to_vec();
            } else {
                held.drain(..at);
                if held.capacity() > KEPT && rest < held.capacity() / 4 {
                    held.shrink_to_fit();
                }
                self.partial = held;
            }
        }
        Ok(())
    }

    /// The next frame: its size, and the message that it completes.
    fn next<'a>(
        &mut self,
        buffer: &'a mut [u8],
        limit: usize,
    ) -> Result<Option<(usize, Option<Message<'a>>)>, FrameError> {
        let mut cursor = Cursor::new(&*buffer);
        let Some((header, length)) =
            FrameHeader::parse(&mut cursor).map_err(|_e| FrameError::Protocol)?
        else {
            return Ok(None);
        };
        let head = usize::try_from(cursor.position()).map_err(|_e| FrameError::Protocol)?;
        let Some(mask) = header.mask else {
            return Err(FrameError::Protocol);
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(FrameError::Protocol);
        }
        let control = matches!(header.opcode, OpCode::Control(_));
        if control && (!header.is_final || length > MAX_CONTROL) {
            return Err(FrameError::Protocol);
        }
        let so_far = if control {
            0
        } else {
            self.assembly.as_ref().map_or(0, |a| a.payload.len())
        };
        let length = usize::try_from(length).map_err(|_e| FrameError::TooLarge)?;
        if length > limit || so_far + length > limit {
            return Err(FrameError::TooLarge);
        }
        let Some(payload) = buffer.get_mut(head..head + length) else {
            return Ok(None);
        };
        unmask(payload, mask);
        let message = match header.opcode {
            OpCode::Control(Control::Ping) => Some(Message::Ping(payload)),
            OpCode::Control(Control::Pong) => Some(Message::Pong),
            OpCode::Control(_) => Some(Message::Close(close_code(payload)?)),
            OpCode::Data(data) => self.data(data, header.is_final, payload)?,
        };
        Ok(Some((head + length, message)))
    }

    fn data<'a>(
        &mut self,
        data: Data,
        last: bool,
        payload: &'a [u8],
    ) -> Result<Option<Message<'a>>, FrameError> {
        let binary = match data {
            Data::Continue => {
                let Some(mut assembly) = self.assembly.take() else {
                    return Err(FrameError::Protocol);
                };
                assembly.payload.extend_from_slice(payload);
                if last {
                    return Ok(Some(message(assembly.binary, Cow::Owned(assembly.payload))));
                }
                self.assembly = Some(assembly);
                return Ok(None);
            }
            Data::Text => false,
            Data::Binary => true,
            Data::Reserved(_) => return Err(FrameError::Protocol),
        };
        if self.assembly.is_some() {
            return Err(FrameError::Protocol);
        }
        if last {
            return Ok(Some(message(binary, Cow::Borrowed(payload))));
        }
        self.assembly = Some(Box::new(Assembly {
            binary,
            payload: payload.to_vec(),
        }));
        Ok(None)
    }
}

fn message(binary: bool, payload: Cow<'_, [u8]>) -> Message<'_> {
    if binary {
        Message::Binary(payload)
    } else {
        Message::Text(payload)
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for chunk in payload.chunks_mut(4) {
        for (byte, key) in chunk.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match payload {
        [] => Ok(None),
        [_] => Err(FrameError::Protocol),
        [high, low, ..] => Ok(Some(u16::from_be_bytes([*high, *low]))),
    }
}

/// A complete frame with a binary payload.
pub(crate) fn binary(payload: &[u8]) -> Bytes {
    wire(OpCode::Data(Data::Binary), payload)
}

/// A complete frame with a text payload.
pub(crate) fn text(payload: &[u8]) -> Bytes {
    wire(OpCode::Data(Data::Text), payload)
}

/// A ping without payload.
pub(crate) fn ping() -> Bytes {
    wire(OpCode::Control(Control::Ping), &[])
}

/// The answer to a ping, with its payload.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    wire(OpCode::Control(Control::Pong), payload)
}

/// A close frame without reason.
pub(crate) fn close(code: Option<u16>) -> Bytes {
    match code {
        Some(code) => wire(OpCode::Control(Control::Close), &code.to_be_bytes()),
        None => wire(OpCode::Control(Control::Close), &[]),
    }
}

fn wire(opcode: OpCode, payload: &[u8]) -> Bytes {
    let header = FrameHeader {
        opcode,
        ..FrameHeader::default()
    };
    let length = payload.len() as u64;
    let mut frame = Vec::with_capacity(header.len(length) + payload.len());
    header
        .format(length, &mut frame)
        .expect("writing to memory can't fail");
    frame.extend_from_slice(payload);
    Bytes::from(frame)
}

#[cfg(test)]
mod tests;
