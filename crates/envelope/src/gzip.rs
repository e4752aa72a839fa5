//! One gzip stream (RFC 1952) per frame.
//!
//! The deflate states are large (about 200 KiB to write, 40 KiB to read) and most clients compress, so each thread keeps one
//! of each and the gzip header and trailer are handled here. The trailer names the unpacked size: it is compared with the
//! limit before anything is unpacked, and the output buffer has just that size, so a stream that lies about it stops there.
//! A frame is one complete stream: bytes after it, a second stream among them, are refused.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use crate::DecodeError;

/// Magic, deflate, no flags, no time, no hint, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const TRAILER_LEN: usize = 8;
/// A larger output buffer is given back after use.
const SCRATCH_KEPT: usize = 256 << 10;

const FLAG_HEADER_CRC: u8 = 0x02;
const FLAG_EXTRA: u8 = 0x04;
const FLAG_NAME: u8 = 0x08;
const FLAG_COMMENT: u8 = 0x10;
const FLAGS_RESERVED: u8 = 0xe0;

/// Why a frame is not one complete gzip stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GzipError {
    /// No gzip header, or one with unknown parts.
    #[error("bad header")]
    Header,
    /// The compressed data is damaged, cut off, or longer than its trailer says.
    #[error("bad compressed data")]
    Deflate,
    /// Something follows the end of the stream.
    #[error("data after the end of the stream")]
    Trailing,
    /// The unpacked data does not have the size or checksum of the trailer.
    #[error("size or checksum differs")]
    Checksum,
}

struct Deflater {
    state: Compress,
    scratch: Vec<u8>,
}

thread_local! {
    static DEFLATER: RefCell<Deflater> =
        RefCell::new(Deflater { state: Compress::new(Compression::fast(), false), scratch: Vec::new() });
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Packs `plain`; the result has its exact size.
pub(crate) fn compress(plain: &[u8]) -> Bytes {
    DEFLATER.with_borrow_mut(|deflater| deflater.gzip(plain))
}

impl Deflater {
    fn gzip(&mut self, plain: &[u8]) -> Bytes {
        let Self { state, scratch } = self;
        state.reset();
        scratch.clear();
        scratch.extend_from_slice(&HEADER);
        scratch.reserve(plain.len() / 2 + 128);
        let mut rest = plain;
        loop {
            let before = state.total_in();
            let status = state
                .compress_vec(rest, scratch, FlushCompress::Finish)
                .expect("deflate refuses no input, and the state was reset");
            let consumed = usize::try_from(state.total_in() - before).unwrap_or(rest.len());
            rest = rest.get(consumed..).unwrap_or_default();
            if status == Status::StreamEnd {
                break;
            }
            scratch.reserve(rest.len() + 256);
        }
        let mut crc = Crc::new();
        crc.update(plain);
        scratch.extend_from_slice(&crc.sum().to_le_bytes());
        scratch.extend_from_slice(&crc.amount().to_le_bytes());
        let packed = Bytes::copy_from_slice(scratch);
        scratch.truncate(0);
        scratch.shrink_to(SCRATCH_KEPT);
        packed
    }
}

/// Unpacks one stream that may have `limit` bytes at most.
pub(crate) fn decompress(frame: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let (deflated, crc, size) = split(frame).ok_or(DecodeError::Gzip(GzipError::Header))?;
    if size > limit {
        return Err(DecodeError::EnvelopeTooLarge { size, limit });
    }
    inflate(deflated, crc, size).map_err(DecodeError::Gzip)
}

fn inflate(deflated: &[u8], crc: u32, size: usize) -> Result<Vec<u8>, GzipError> {
    // One byte more than promised: room to see that there is more, and room to reach the end mark when there is not.
    let mut plain = Vec::with_capacity(size + 1);
    let (status, consumed) = INFLATER.with_borrow_mut(|state| {
        state.reset(false);
        (
            state.decompress_vec(deflated, &mut plain, FlushDecompress::Finish),
            state.total_in(),
        )
    });
    if !matches!(status, Ok(Status::StreamEnd)) {
        return Err(GzipError::Deflate);
    }
    if consumed != deflated.len() as u64 {
        return Err(GzipError::Trailing);
    }
    let mut actual = Crc::new();
    actual.update(&plain);
    if plain.len() != size || actual.sum() != crc {
        return Err(GzipError::Checksum);
    }
    Ok(plain)
}

/// The deflate stream, the checksum and the unpacked size of a frame.
fn split(frame: &[u8]) -> Option<(&[u8], u32, usize)> {
    let (header, rest) = frame.split_first_chunk::<10>()?;
    let (magic, flags) = (header.first_chunk::<3>()?, header[3]);
    if *magic != [0x1f, 0x8b, 8] || flags & FLAGS_RESERVED != 0 {
        return None;
    }
    let mut rest = rest;
    if flags & FLAG_EXTRA != 0 {
        let (len, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    let (deflated, trailer) = rest.split_last_chunk::<TRAILER_LEN>()?;
    let [c0, c1, c2, c3, s0, s1, s2, s3] = *trailer;
    let size = usize::try_from(u32::from_le_bytes([s0, s1, s2, s3])).ok()?;
    Some((deflated, u32::from_le_bytes([c0, c1, c2, c3]), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn unpacks_what_it_packed_whatever_the_state_did_before() {
        let noise: Vec<u8> = (0u32..70_000)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for len in [0, 1, 30, 31, 32, 33, 1_000, 40_000, 70_000, 3, 0] {
            let plain = &noise[..len];
            assert_eq!(decompress(&compress(plain), LIMIT).unwrap(), plain);
            let zeros = vec![0; len * 4];
            assert_eq!(decompress(&compress(&zeros), LIMIT).unwrap(), zeros);
        }
    }

    #[test]
    fn unpacks_a_stream_with_name_comment_extra_and_header_checksum() {
        let mut frame = vec![0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3];
        frame.extend_from_slice(b"\x02\0xxname\0comment\0cc");
        frame.extend_from_slice(&compress(b"hello")[HEADER.len()..]);
        assert_eq!(decompress(&frame, LIMIT).unwrap(), b"hello");
    }

    #[test]
    fn refuses_every_cut_and_every_tail() {
        let frame = compress(b"hello hello hello hello");
        for len in 0..frame.len() {
            decompress(&frame[..len], LIMIT).unwrap_err();
        }
        for tail in [&b"\0"[..], b"garbage and more of it", &frame] {
            let mut long = frame.to_vec();
            long.extend_from_slice(tail);
            decompress(&long, 64 << 20).unwrap_err();
        }
    }

    #[test]
    fn a_second_stream_is_refused_as_trailing() {
        let one = compress(b"hello");
        let two = [&one[..], &one[..]].concat();
        assert_eq!(
            decompress(&two, LIMIT),
            Err(DecodeError::Gzip(GzipError::Trailing))
        );
    }

    #[test]
    fn a_trailer_that_lies_about_the_size_is_refused() {
        let mut frame = compress(&[0; 5_000]).to_vec();
        let at = frame.len() - 4;
        for claimed in [0u32, 1, 4_999, 5_001, 100_000] {
            frame[at..].copy_from_slice(&claimed.to_le_bytes());
            decompress(&frame, LIMIT).unwrap_err();
        }
    }
}
