//! Values, rows and schemas: what an engine sees of a document.
//!
//! A document is a flat row of typed fields, so that every engine can index, compare and raise single fields natively
//! (columns in SQLite, members in MongoDB) and no document passes through a text form. Nested data that nobody queries goes
//! into a `Blob` field, encoded by the document's owner.

use bytes::Bytes;

/// One field's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A whole number; booleans are 0 and 1, times are Unix milliseconds.
    Int(i64),
    /// Text, compared bytewise.
    Text(String),
    /// Bytes.
    Blob(Bytes),
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Value::Int`]
    Int,
    /// [`Value::Text`]
    Text,
    /// [`Value::Blob`]
    Blob,
}

impl Value {
    /// The type of this value.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Int(_) => Kind::Int,
            Self::Text(_) => Kind::Text,
            Self::Blob(_) => Kind::Blob,
        }
    }

    /// Bytes of text or blob; 0 for a number.
    pub fn size(&self) -> usize {
        match self {
            Self::Int(_) => 0,
            Self::Text(v) => v.len(),
            Self::Blob(v) => v.len(),
        }
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}
impl From<i32> for Value {
    fn from(v: i32) -> Self {
        Self::Int(i64::from(v))
    }
}
impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::Int(i64::from(v))
    }
}
impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(v.to_owned())
    }
}
impl From<String> for Value {
    fn from(v: String) -> Self {
        Self::Text(v)
    }
}
impl From<Bytes> for Value {
    fn from(v: Bytes) -> Self {
        Self::Blob(v)
    }
}

/// A document: one value per field of its schema, in the schema's order.
pub type Row = Vec<Value>;
/// The values of the key fields, in order.
pub type Key = Vec<Value>;

/// A named list of fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Index {
    /// Name, unique in the collection and never reused with other fields.
    pub name: &'static str,
    /// Positions of the fields in [`Schema::fields`].
    pub fields: &'static [usize],
}

/// What a collection looks like. Schemas are constants; engines may key caches by `collection`.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// Name of the collection.
    pub collection: &'static str,
    /// Names and types of the fields.
    pub fields: &'static [(&'static str, Kind)],
    /// The primary key; its first field is what one would shard by.
    pub key: Index,
    /// Further unique constraints.
    pub unique: &'static [Index],
    /// Further indexes.
    pub indexes: &'static [Index],
    /// Position of the revision that compare-and-set compares, if documents of this collection change as a whole.
    pub revision: Option<usize>,
}

impl Schema {
    /// The index with this name; the primary key, unique constraints and plain indexes alike.
    pub fn index(&self, name: &str) -> Option<&Index> {
        std::iter::once(&self.key)
            .chain(self.unique)
            .chain(self.indexes)
            .find(|i| i.name == name)
    }

    /// The key of `row`.
    pub fn key_of(&self, row: &[Value]) -> Key {
        self.key
            .fields
            .iter()
            .filter_map(|&i| row.get(i).cloned())
            .collect()
    }

    /// Position of the field called `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|(n, _)| *n == name)
    }
}
