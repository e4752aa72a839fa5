//! A prepared collection, and rows as its documents.

use std::{collections::HashMap, sync::Arc};

use magpie_store::{Index, Kind, Row, Schema, StoreError, Value, store::check_row};
use mongodb::{
    Collection,
    bson::{
        Binary, Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc,
        raw::{CStr, CString, cstr},
        spec::BinarySubtype,
    },
};

use crate::id::id_of;

/// The prepared collections by name.
pub(crate) type Tables = HashMap<&'static str, Arc<Table>>;

/// Name of the primary key's index.
pub(crate) const ID: &str = "_id";
/// The largest document that MongoDB takes.
const MAX_DOCUMENT: usize = 16 << 20;

/// A collection and its schema.
pub(crate) struct Table {
    pub(crate) schema: &'static Schema,
    pub(crate) documents: Collection<RawDocumentBuf>,
    names: Vec<CString>,
    /// Fields that the collection had when it was made. Documents may lack the later ones, which then read as zero.
    made_with: usize,
}

impl Table {
    pub(crate) fn new(
        schema: &'static Schema,
        documents: Collection<RawDocumentBuf>,
        made_with: usize,
    ) -> Result<Self, StoreError> {
        let names = schema.fields.iter().map(|(name, _)| {
            CString::try_from(*name).map_err(|e| refused(schema, format!("field {name}: {e}")))
        });
        Ok(Self {
            schema,
            documents,
            names: names.collect::<Result<_, _>>()?,
            made_with,
        })
    }

    pub(crate) fn name(&self, field: usize) -> &CStr {
        self.names.get(field).map_or(cstr!(""), |name| name)
    }

    /// The `_id` of a row.
    pub(crate) fn id(&self, row: &[Value]) -> String {
        id_of(&self.schema.key_of(row))
    }

    /// Checks a row and makes its document.
    pub(crate) fn document(&self, row: &[Value]) -> Result<RawDocumentBuf, StoreError> {
        check_row(self.schema, row)?;
        let mut document = RawDocumentBuf::new();
        document.append(cstr!("_id"), self.id(row));
        for (name, value) in self.names.iter().zip(row) {
            document.append(name, raw(value));
        }
        if document.as_bytes().len() > MAX_DOCUMENT {
            return Err(refused(self.schema, "the document is too large"));
        }
        Ok(document)
    }

    /// Reads a document as this schema says.
    pub(crate) fn row(&self, document: &RawDocument) -> Result<Row, StoreError> {
        let mut found: Vec<Option<Value>> = vec![None; self.names.len()];
        let mut next = 0;
        for element in document {
            let (name, value) = element.map_err(|e| self.corrupt(e.to_string()))?;
            let at = |i: usize| {
                self.names
                    .get(i)
                    .is_some_and(|n| n.as_str() == name.as_str())
            };
            // Nearly always in the schema's order.
            let position = Some(next).filter(|i| at(*i));
            let Some(i) = position.or_else(|| (0..self.names.len()).find(|i| at(*i))) else {
                continue;
            };
            next = i + 1;
            if let Some(place) = found.get_mut(i) {
                *place = read(value);
                if place.is_none() {
                    return Err(
                        self.corrupt(format!("field {name} has a type that is never written"))
                    );
                }
            }
        }
        let fields = self.schema.fields.iter().zip(found).enumerate();
        fields
            .map(|(i, ((name, kind), value))| match value {
                Some(value) if value.kind() == *kind => Ok(value),
                None if self.is_later(i) => Ok(zero(*kind)),
                None => Err(self.corrupt(format!("field {name} is missing"))),
                Some(_) => Err(self.corrupt(format!(
                    "field {name} has another type than the schema says"
                ))),
            })
            .collect()
    }

    /// True if documents may lack the field.
    pub(crate) fn is_later(&self, field: usize) -> bool {
        field >= self.made_with
    }

    /// The condition that the field has this value; a missing later field is zero.
    pub(crate) fn equals(&self, field: usize, value: &Value) -> (String, Bson) {
        let condition = if self.is_later(field) && *value == zero(value.kind()) {
            Bson::Document(doc! { "$in": [bson(value), Bson::Null] })
        } else {
            bson(value)
        };
        (self.name(field).as_str().to_owned(), condition)
    }

    /// The condition and the change that must come before the field is raised to `value`: `$max` would take it for the
    /// missing field's value, although it is below zero.
    pub(crate) fn zero_before_max(&self, field: usize, value: i64) -> Option<(Document, Document)> {
        let name = self.name(field).as_str();
        (value < 0 && self.is_later(field)).then(|| {
            (
                doc! { name: { "$exists": false } },
                doc! { "$set": { name: 0_i64 } },
            )
        })
    }

    /// Checks that these are values of the first of `fields`, of all of them if `whole`.
    pub(crate) fn check_values(
        &self,
        fields: &[usize],
        values: &[Value],
        whole: bool,
    ) -> Result<(), StoreError> {
        let fits = values.len() <= fields.len() && (!whole || values.len() == fields.len());
        let kind = |i: usize| self.schema.fields.get(i).map(|(_, kind)| *kind);
        if fits
            && fields
                .iter()
                .zip(values)
                .all(|(&i, v)| kind(i) == Some(v.kind()))
        {
            return Ok(());
        }
        Err(refused(self.schema, "the values do not fit the index"))
    }

    /// Checks a key and makes its `_id`.
    pub(crate) fn id_of_key(&self, key: &[Value]) -> Result<String, StoreError> {
        self.check_values(self.schema.key.fields, key, true)?;
        Ok(id_of(key))
    }

    pub(crate) fn corrupt(&self, reason: String) -> StoreError {
        StoreError::Corrupt {
            collection: self.schema.collection,
            reason,
        }
    }
}

/// True if the collection has an index of the first key field and the `_id`. MongoDB walks a key along `_id` alone; this one is for
/// who asks by hand, for sharding by the first key field, and for servers that sort before they limit. A collection with a
/// further unique index is one that is written often, and does without.
pub(crate) fn has_key_index(schema: &Schema) -> bool {
    schema.key.fields.len() > 1 && schema.unique.is_empty()
}

/// True if `index` is the primary key.
pub(crate) fn is_key(schema: &Schema, index: &Index) -> bool {
    index.name == schema.key.name
}

/// What a missing later field reads as.
pub(crate) fn zero(kind: Kind) -> Value {
    match kind {
        Kind::Int => Value::Int(0),
        Kind::Text => Value::Text(String::new()),
        Kind::Blob => Value::Blob(bytes::Bytes::new()),
    }
}

/// A value in a query or an update.
pub(crate) fn bson(value: &Value) -> Bson {
    match value {
        Value::Int(v) => Bson::Int64(*v),
        Value::Text(v) => Bson::String(v.clone()),
        Value::Blob(v) => Bson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes: v.to_vec(),
        }),
    }
}

/// A value in a document.
pub(crate) fn raw(value: &Value) -> RawBsonRef<'_> {
    match value {
        Value::Int(v) => RawBsonRef::Int64(*v),
        Value::Text(v) => RawBsonRef::String(v),
        Value::Blob(v) => RawBsonRef::Binary(mongodb::bson::RawBinaryRef {
            subtype: BinarySubtype::Generic,
            bytes: v,
        }),
    }
}

fn read(value: RawBsonRef<'_>) -> Option<Value> {
    match value {
        RawBsonRef::Int64(v) => Some(Value::Int(v)),
        RawBsonRef::Int32(v) => Some(Value::Int(i64::from(v))),
        RawBsonRef::String(v) => Some(Value::from(v)),
        RawBsonRef::Binary(v) => Some(Value::Blob(bytes::Bytes::copy_from_slice(v.bytes))),
        _ => None,
    }
}

pub(crate) fn refused(schema: &'static Schema, reason: impl Into<String>) -> StoreError {
    StoreError::Schema {
        collection: schema.collection,
        reason: reason.into(),
    }
}
