//! Memory for the bodies of a port's requests and answers: bounded over all connections, and refused when it is used up.
//!
//! A request takes its part as its bytes arrive, not as they are announced; an answer keeps its part until it is written, or the
//! connection ends. The first [`SMALL`] bytes of each are free.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// This much of a body needs no part of the memory.
pub const SMALL: usize = 4 << 10;

/// A part of the memory; given back when dropped.
pub type Part = Option<OwnedSemaphorePermit>;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The memory is used up.
    Busy,
    /// It is longer than its limit.
    TooLarge,
    /// It ended before its end.
    Ended,
}

/// See the module.
pub struct Bodies {
    kib: Arc<Semaphore>,
}

impl Bodies {
    /// This much memory, in bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            kib: Arc::new(Semaphore::new((bytes >> 10).min(Semaphore::MAX_PERMITS))),
        }
    }

    fn take(&self, kib: usize) -> Part {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        Arc::clone(&self.kib).try_acquire_many_owned(kib).ok()
    }

    /// The whole of a body of at most `limit` bytes, with its part of the memory.
    pub async fn read<B>(&self, body: B, limit: usize) -> Result<(Bytes, Part), Unread>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = Box::pin(Limited::new(body, limit));
        let mut whole = BytesMut::new();
        let mut part: Part = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    Unread::TooLarge
                } else {
                    Unread::Ended
                }
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let wanted = kib_beyond(whole.len() + data.len());
            let has = part.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            if wanted > has {
                let more = self.take(wanted - has).ok_or(Unread::Busy)?;
                match &mut part {
                    Some(part) => part.merge(more),
                    None => part = Some(more),
                }
            }
            whole.extend_from_slice(&data);
        }
        Ok((whole.freeze(), part))
    }

    /// The same answer, which keeps its part of the memory; `None` if that is used up.
    #[must_use]
    pub fn hold(&self, answer: Bytes) -> Option<Bytes> {
        match kib_beyond(answer.len()) {
            0 => Some(answer),
            kib => {
                let _part = self.take(kib)?;
                Some(Bytes::from_owner(Held { answer, _part }))
            }
        }
    }
}

fn kib_beyond(length: usize) -> usize {
    length.saturating_sub(SMALL).div_ceil(1 << 10)
}

struct Held {
    answer: Bytes,
    _part: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn body(length: usize) -> Full<Bytes> {
        Full::new(vec![7; length].into())
    }

    #[tokio::test]
    async fn large_bodies_share_the_memory_and_small_ones_need_none() {
        let bodies = Bodies::new(16 << 10);
        let (whole, part) = bodies.read(body(20 << 10), 20 << 10).await.unwrap();
        assert_eq!(whole.len(), 20 << 10);
        let refused = bodies.read(body(SMALL + 1), SMALL + 1).await;
        assert_eq!(refused.unwrap_err(), Unread::Busy);
        assert!(bodies.read(body(SMALL), SMALL).await.is_ok());
        drop(part);
        assert!(bodies.read(body(SMALL + 1), SMALL + 1).await.is_ok());
        let long = bodies.read(body(11), 10).await;
        assert_eq!(long.unwrap_err(), Unread::TooLarge);
    }

    #[test]
    fn an_answer_keeps_its_part_until_its_last_byte_is_gone() {
        let bodies = Bodies::new(16 << 10);
        let held = bodies.hold(vec![7; 20 << 10].into()).unwrap();
        let last = held.slice(held.len() - 1..);
        drop(held);
        assert!(bodies.hold(vec![7; 20 << 10].into()).is_none());
        assert!(bodies.hold(vec![7; SMALL].into()).is_some());
        drop(last);
        assert!(bodies.hold(vec![7; 20 << 10].into()).is_some());
    }
}
