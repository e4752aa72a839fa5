//! The primitive forms of gob: numbers, byte strings, counted messages.

/// Why bytes are no gob stream with an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GobError {
    /// The stream ends within a value, or a length points beyond it.
    #[error("stream is cut off")]
    Truncated,
    /// A number has more bytes than 64 bits need.
    #[error("number is too long")]
    Number,
    /// A number does not fit its field.
    #[error("number does not fit field {0}")]
    Range(&'static str),
    /// A type description is malformed or given twice.
    #[error("bad type description")]
    Description,
    /// More type descriptions or described fields than an envelope can need.
    #[error("too many type descriptions")]
    TooManyTypes,
    /// A value refers to a type that was not described, or that can't be skipped.
    #[error("unknown or unsupported type")]
    UnknownType,
    /// Types are nested more deeply than allowed.
    #[error("types are nested too deeply")]
    TooDeep,
    /// The value is no struct, or a field number is beyond its fields.
    #[error("bad struct value")]
    Struct,
    /// An array has another length than its type says.
    #[error("bad array length")]
    ArrayLength,
    /// A known field has another type.
    #[error("field {0} has another type")]
    FieldType(&'static str),
    /// A text field is not UTF-8.
    #[error("field {0} is not utf-8")]
    Utf8(&'static str),
    /// Bytes are left after a message or after the value.
    #[error("data after the value")]
    Trailing,
}

/// A cursor over bytes that were checked for nothing yet.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn uint(&mut self) -> Result<u64, GobError> {
        let (&first, rest) = self.rest.split_first().ok_or(GobError::Truncated)?;
        self.rest = rest;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let len = usize::from(first.wrapping_neg());
        if len > 8 {
            return Err(GobError::Number);
        }
        let bytes = self.take(len)?;
        Ok(bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    pub(super) fn int(&mut self) -> Result<i64, GobError> {
        let raw = self.uint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// A number of elements, each of which takes at least one byte.
    pub(super) fn count(&mut self) -> Result<usize, GobError> {
        let count = self.uint()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() => Ok(count),
            _ => Err(GobError::Truncated),
        }
    }

    /// A length and that many bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], GobError> {
        let len = self.count()?;
        self.take(len)
    }

    /// A length and that many bytes, as a stream of their own.
    pub(super) fn message(&mut self) -> Result<Reader<'a>, GobError> {
        self.bytes().map(Reader::new)
    }

    /// The next field of a struct: its number, or nothing at the end. `last` starts at `None`.
    pub(super) fn next_field(&mut self, last: Option<u64>) -> Result<Option<u64>, GobError> {
        let delta = self.uint()?;
        if delta == 0 {
            return Ok(None);
        }
        let next = match last {
            None => Some(delta - 1),
            Some(last) => last.checked_add(delta),
        };
        next.map(Some).ok_or(GobError::Struct)
    }

    pub(super) fn end(&self) -> Result<(), GobError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(GobError::Trailing)
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], GobError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(GobError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}
