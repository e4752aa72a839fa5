//! Reads a segment from an address on, in chunks.

use std::{io, sync::Arc};

use bytes::Bytes;
use magpie_log::Record;

use crate::{
    files::File,
    format::{Decoded, HEADER, PREFIX, decode},
};

/// What a read may keep in memory at once, unless one record is larger.
const CHUNK: usize = 256 << 10;

/// What stands at an address.
pub(crate) enum Found {
    /// A record, and the address after it.
    Record(Record, u64),
    End,
    Bad(&'static str),
}

/// Reads one segment.
pub(crate) struct Reader {
    file: Arc<dyn File>,
    pub(crate) base: u64,
    incarnation: u64,
    chunk: Bytes,
    /// Address of the first byte of the chunk.
    chunk_at: u64,
}

impl Reader {
    pub(crate) fn new(file: Arc<dyn File>, base: u64, incarnation: u64) -> Self {
        Self {
            file,
            base,
            incarnation,
            chunk: Bytes::new(),
            chunk_at: base,
        }
    }

    /// Reads what stands at an address, which is the start of a record or the end.
    pub(crate) fn read(&mut self, address: u64) -> io::Result<Found> {
        let at = usize::try_from(address.wrapping_sub(self.chunk_at)).unwrap_or(usize::MAX);
        // Only a whole record is believed of an old chunk: it may have been read before this place was written.
        let mut wanted = match decode(&self.chunk, at, address, self.incarnation) {
            Decoded::Record(record, len) => return Ok(Found::Record(record, address + len as u64)),
            Decoded::Short(need) => need,
            Decoded::End | Decoded::Bad(_) => PREFIX,
        };
        loop {
            self.load(address, wanted)?;
            match decode(&self.chunk, 0, address, self.incarnation) {
                Decoded::Record(record, len) => {
                    return Ok(Found::Record(record, address + len as u64));
                }
                Decoded::End => return Ok(Found::End),
                Decoded::Bad(why) => return Ok(Found::Bad(why)),
                Decoded::Short(need) if need > wanted.max(CHUNK) => wanted = need,
                Decoded::Short(_) if self.chunk.len() < PREFIX => return Ok(Found::End),
                Decoded::Short(_) => return Ok(Found::Bad("the segment ends inside a record")),
            }
        }
    }

    fn load(&mut self, address: u64, wanted: usize) -> io::Result<()> {
        let at = HEADER + address.saturating_sub(self.base);
        let there = usize::try_from(self.file.size()?.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; wanted.max(CHUNK).min(there)];
        let read = self.file.pread(&mut chunk, at)?;
        chunk.truncate(read);
        self.chunk = Bytes::from(chunk);
        self.chunk_at = address;
        Ok(())
    }
}
