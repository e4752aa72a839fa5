//! The types that a stream describes, and skipping values of any of them.
//!
//! Every element of a list takes at least one byte, so the work is bounded by the length of the stream; the memory is bounded
//! by [`MAX_TYPES`] and [`MAX_FIELDS`], the stack by [`MAX_DEPTH`].

use std::ops::Range;

use super::reader::{GobError, Reader};

/// Descriptions per stream. An envelope needs one.
const MAX_TYPES: usize = 32;
/// Fields of all described structs together. An envelope has six.
const MAX_FIELDS: usize = 256;
/// Nesting of a skipped value.
const MAX_DEPTH: usize = 32;
/// Ids below belong to the format itself.
const FIRST_OWN_ID: i64 = 64;

pub(super) const BOOL: i64 = 1;
pub(super) const INT: i64 = 2;
pub(super) const UINT: i64 = 3;
pub(super) const FLOAT: i64 = 4;
pub(super) const BYTES: i64 = 5;
pub(super) const STRING: i64 = 6;
pub(super) const COMPLEX: i64 = 7;

/// A described type.
enum Shape {
    Array {
        elem: i64,
        len: u64,
    },
    Slice {
        elem: i64,
    },
    Struct {
        fields: Range<usize>,
    },
    Map {
        key: i64,
        elem: i64,
    },
    /// A type that writes itself: a length and bytes.
    Opaque,
}

/// A field of a described struct.
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) type_id: i64,
}

/// All types described so far.
#[derive(Default)]
pub(super) struct Types<'a> {
    shapes: Vec<(i64, Shape)>,
    fields: Vec<Field<'a>>,
}

impl<'a> Types<'a> {
    /// Reads the description of type `id`.
    pub(super) fn describe(&mut self, id: i64, message: &mut Reader<'a>) -> Result<(), GobError> {
        if id < FIRST_OWN_ID || self.find(id).is_some() {
            return Err(GobError::Description);
        }
        if self.shapes.len() == MAX_TYPES {
            return Err(GobError::TooManyTypes);
        }
        let mut shape = None;
        let mut last = None;
        while let Some(kind) = message.next_field(last)? {
            if shape.replace(self.shape(kind, message)?).is_some() {
                return Err(GobError::Description);
            }
            last = Some(kind);
        }
        message.end()?;
        self.shapes.push((id, shape.ok_or(GobError::Description)?));
        Ok(())
    }

    /// The fields of a struct type.
    pub(super) fn struct_fields(&self, id: i64) -> Result<&[Field<'a>], GobError> {
        match self.find(id) {
            Some(Shape::Struct { fields }) => {
                self.fields.get(fields.clone()).ok_or(GobError::UnknownType)
            }
            Some(_) => Err(GobError::Struct),
            None => Err(GobError::UnknownType),
        }
    }

    /// Passes over a value of type `id`.
    pub(super) fn skip(&self, id: i64, value: &mut Reader<'a>) -> Result<(), GobError> {
        self.skip_nested(id, value, MAX_DEPTH)
    }

    fn skip_nested(&self, id: i64, value: &mut Reader<'a>, depth: usize) -> Result<(), GobError> {
        match id {
            BOOL | INT | UINT | FLOAT => return value.uint().map(drop),
            BYTES | STRING => return value.bytes().map(drop),
            COMPLEX => {
                value.uint()?;
                return value.uint().map(drop);
            }
            _ => {}
        }
        let depth = depth.checked_sub(1).ok_or(GobError::TooDeep)?;
        match self.find(id).ok_or(GobError::UnknownType)? {
            Shape::Array { elem, len } => {
                let count = value.count()?;
                if count as u64 != *len {
                    return Err(GobError::ArrayLength);
                }
                (0..count).try_for_each(|_| self.skip_nested(*elem, value, depth))
            }
            Shape::Slice { elem } => {
                let count = value.count()?;
                (0..count).try_for_each(|_| self.skip_nested(*elem, value, depth))
            }
            Shape::Map { key, elem } => {
                let count = value.count()?;
                (0..count).try_for_each(|_| {
                    self.skip_nested(*key, value, depth)?;
                    self.skip_nested(*elem, value, depth)
                })
            }
            Shape::Struct { .. } => {
                let fields = self.struct_fields(id)?;
                let mut last = None;
                while let Some(number) = value.next_field(last)? {
                    self.skip_nested(field_at(fields, number)?.type_id, value, depth)?;
                    last = Some(number);
                }
                Ok(())
            }
            Shape::Opaque => value.bytes().map(drop),
        }
    }

    fn find(&self, id: i64) -> Option<&Shape> {
        self.shapes
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, shape)| shape)
    }

    /// One member of the union that describes a type: the common part, then what the kind needs.
    fn shape(&mut self, kind: u64, message: &mut Reader<'a>) -> Result<Shape, GobError> {
        let (mut first, mut second) = (0, 0);
        let mut fields = 0..0;
        let mut last = None;
        while let Some(part) = message.next_field(last)? {
            match (kind, part) {
                (0..=6, 0) => skip_common(message)?,
                (2, 1) => fields = self.struct_description(message)?,
                (0 | 1 | 3, 1) => first = message.int()?,
                (0 | 3, 2) => second = message.int()?,
                _ => return Err(GobError::Description),
            }
            last = Some(part);
        }
        match kind {
            0 => {
                let len = u64::try_from(second).ok().ok_or(GobError::Description)?;
                Ok(Shape::Array { elem: first, len })
            }
            1 => Ok(Shape::Slice { elem: first }),
            2 => Ok(Shape::Struct { fields }),
            3 => Ok(Shape::Map {
                key: first,
                elem: second,
            }),
            4..=6 => Ok(Shape::Opaque),
            _ => Err(GobError::Description),
        }
    }

    fn struct_description(&mut self, message: &mut Reader<'a>) -> Result<Range<usize>, GobError> {
        let count = message.count()?;
        if self.fields.len() + count > MAX_FIELDS {
            return Err(GobError::TooManyTypes);
        }
        let start = self.fields.len();
        for _ in 0..count {
            let mut field = Field {
                name: &[],
                type_id: 0,
            };
            let mut last = None;
            while let Some(part) = message.next_field(last)? {
                match part {
                    0 => field.name = message.bytes()?,
                    1 => field.type_id = message.int()?,
                    _ => return Err(GobError::Description),
                }
                last = Some(part);
            }
            self.fields.push(field);
        }
        Ok(start..self.fields.len())
    }
}

/// The field with this number.
pub(super) fn field_at<'t, 'a>(
    fields: &'t [Field<'a>],
    number: u64,
) -> Result<&'t Field<'a>, GobError> {
    usize::try_from(number)
        .ok()
        .and_then(|at| fields.get(at))
        .ok_or(GobError::Struct)
}

/// Name and id of a type: the name is the sender's business and the id is known already.
fn skip_common(message: &mut Reader<'_>) -> Result<(), GobError> {
    let mut last = None;
    while let Some(part) = message.next_field(last)? {
        match part {
            0 => drop(message.bytes()?),
            1 => drop(message.int()?),
            _ => return Err(GobError::Description),
        }
        last = Some(part);
    }
    Ok(())
}
