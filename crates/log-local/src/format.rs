//! What is on disk: segments of records, and the headers of segments.
//!
//! A topic is one sequence of bytes, cut into segment files; the *address* of a record is its place in that sequence and
//! never changes. A record is length, crc32, partition, offset, time of the append, length of the key, key, value (numbers
//! little endian); length 0 ends the segment. The checksum covers the address, so bytes left from elsewhere are not taken
//! for a record. A segment's header has the topic's incarnation and the offset of each partition at its start.

use bytes::Bytes;
use magpie_log::{LogError, Position, Record, Result};

/// Bytes before the first record of a segment.
pub(crate) const HEADER: u64 = HEADER_LEN as u64;
pub(crate) const HEADER_LEN: usize = 4096;
/// Length and checksum before the body of a record.
pub(crate) const PREFIX: usize = 8;
/// Body of a record without key and value.
const FIXED: usize = 24;
/// No body is longer than this, whatever the limit of a record is set to.
pub(crate) const MAX_BODY: usize = 64 << 20;
/// Partitions that fit into a segment's header.
pub(crate) const MAX_PARTITIONS: u32 = 256;
const MAGIC: &[u8; 8] = b"mgplog01";

/// Bytes that a record takes on disk.
pub(crate) fn encoded_len(key: &[u8], value: &[u8]) -> usize {
    PREFIX + FIXED + key.len() + value.len()
}

/// Appends the encoded record to `into`.
pub(crate) fn encode(into: &mut Vec<u8>, address: u64, record: &Record) {
    let (key, value) = (record.key.as_ref(), record.value.as_ref());
    let start = into.len();
    into.reserve(encoded_len(key, value));
    into.extend_from_slice(&u32_of(FIXED + key.len() + value.len()).to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&record.position.partition.to_le_bytes());
    into.extend_from_slice(&record.position.offset.to_le_bytes());
    into.extend_from_slice(&record.appended_at.to_le_bytes());
    into.extend_from_slice(&u32_of(key.len()).to_le_bytes());
    into.extend_from_slice(key);
    into.extend_from_slice(value);
    let crc = checksum(address, into.get(start + PREFIX..).unwrap_or_default());
    if let Some(place) = into.get_mut(start + 4..start + PREFIX) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

fn u32_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn checksum(address: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&address.to_le_bytes());
    crc.update(body);
    crc.finalize()
}

/// What stands at a place of a segment.
pub(crate) enum Decoded {
    /// A record, and the bytes it takes.
    Record(Record, usize),
    /// No more records.
    End,
    /// So many bytes must be read to see what it is.
    Short(usize),
    /// Neither a record nor an end.
    Bad(&'static str),
}

/// Reads what stands at `at` of `chunk`, which is the given address. Key and value share the memory of `chunk`.
pub(crate) fn decode(chunk: &Bytes, at: usize, address: u64, incarnation: u64) -> Decoded {
    let rest = chunk.get(at..).unwrap_or_default();
    let Some(len) = le_u32(rest, 0) else {
        return Decoded::Short(PREFIX);
    };
    let len = len as usize;
    if len == 0 {
        return Decoded::End;
    }
    if !(FIXED..=MAX_BODY).contains(&len) {
        return Decoded::Bad("impossible length");
    }
    let Some(body) = rest.get(PREFIX..PREFIX + len) else {
        return Decoded::Short(PREFIX + len);
    };
    if le_u32(rest, 4) != Some(checksum(address, body)) {
        return Decoded::Bad("wrong checksum");
    }
    let fields = (
        le_u32(body, 0),
        le_u64(body, 4),
        le_u64(body, 12),
        le_u32(body, 20),
    );
    let (Some(partition), Some(offset), Some(appended_at), Some(key_len)) = fields else {
        return Decoded::Bad("impossible length");
    };
    let key_len = key_len as usize;
    if key_len > len - FIXED {
        return Decoded::Bad("impossible key length");
    }
    let key_at = at + PREFIX + FIXED;
    let record = Record {
        position: Position {
            incarnation,
            partition,
            offset,
        },
        appended_at: appended_at.cast_signed(),
        key: chunk.slice(key_at..key_at + key_len),
        value: chunk.slice(key_at + key_len..at + PREFIX + len),
    };
    Decoded::Record(record, PREFIX + len)
}

pub(crate) fn le_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn le_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The start of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) incarnation: u64,
    /// Address of the first record.
    pub(crate) base: u64,
    /// Address of the segment before, or `base` if there was none; shows that none is missing.
    pub(crate) previous: u64,
    /// Unix ms.
    pub(crate) created_at: i64,
    /// Next offset of each partition at the start.
    pub(crate) offsets: Vec<u64>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for n in [
            self.incarnation,
            self.base,
            self.previous,
            self.created_at.cast_unsigned(),
            self.offsets.len() as u64,
        ] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for offset in &self.offsets {
            out.extend_from_slice(&offset.to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Reads a header; None if it is not whole.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let field = |n: usize| le_u64(bytes, MAGIC.len() + 8 * n);
        let count = usize::try_from(field(4)?)
            .ok()
            .filter(|n| (1..=MAX_PARTITIONS as usize).contains(n))?;
        let end = MAGIC.len() + 8 * (5 + count);
        let covered = bytes.get(..end)?;
        if !covered.starts_with(MAGIC) || le_u32(bytes, end)? != crc32fast::hash(covered) {
            return None;
        }
        Some(Self {
            incarnation: field(0)?,
            base: field(1)?,
            previous: field(2)?,
            created_at: field(3)?.cast_signed(),
            offsets: (0..count).map(|p| field(5 + p)).collect::<Option<_>>()?,
        })
    }
}

/// File name of a segment.
pub(crate) fn segment_name(topic: &str, base: u64) -> String {
    format!("{topic}.{base:016x}.seg")
}

/// The address in the file name of a segment of this topic.
pub(crate) fn parse_segment_name(topic: &str, name: &str) -> Option<u64> {
    let hex = name
        .strip_prefix(topic)?
        .strip_prefix('.')?
        .strip_suffix(".seg")?;
    u64::from_str_radix(hex, 16)
        .ok()
        .filter(|_| hex.len() == 16)
}

/// An error for bytes that can't be right.
pub(crate) fn damaged<T>(name: &str, address: u64, why: &str) -> Result<T> {
    Err(LogError::Damaged(format!(
        "{name} at address {address}: {why}"
    )))
}
