//! The [`Store`] trait: what every document engine does, and nothing more.
//!
//! There are no multi-document transactions: callers order their writes so that a crash between two is repaired by the
//! retry. What a method promises is checked by [`crate::conformance`] against every engine.

use std::sync::Arc;

use async_trait::async_trait;

use crate::value::{Index, Key, Row, Schema, Value};

/// Why the store could not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store can't be reached or can't write now (disk full, server away); the call may succeed later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A row does not fit its schema; it will never succeed.
    #[error("{collection}: {reason}")]
    Schema {
        /// Collection.
        collection: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// What is stored can't be read back.
    #[error("{collection} holds an unreadable document: {reason}")]
    Corrupt {
        /// Collection.
        collection: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl From<StoreError> for magpie_types::Error {
    fn from(e: StoreError) -> Self {
        magpie_types::Error::internal(e)
    }
}

/// Result of a store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// What became of one inserted document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored.
    Inserted,
    /// A document with the same values in this index is there already (the index's name; the primary key is checked first).
    Conflict(&'static str),
    /// An earlier item of the same run was not stored, so this one was not tried.
    Skipped,
    /// The document can never be stored.
    Refused(String),
}

/// A write that follows another one. All of them may be repeated without harm.
#[derive(Debug, Clone)]
pub enum Follow {
    /// Raises the named `Int` fields of the document with the key of `row` to at least the values given in `row`; inserts
    /// `row` as it stands if there is none. Fields not named keep their value in an existing document. Only for collections
    /// whose one unique constraint is the key, so that it can't fail after the document that it follows was stored.
    Max {
        /// Collection.
        schema: &'static Schema,
        /// The document to insert when missing.
        row: Row,
        /// Positions of the fields to raise.
        fields: &'static [usize],
    },
    /// Sets the named fields, and `version`, of the document with the key of `row` to the values given in `row` if its `version`, an
    /// `Int` field, is lower than that of `row`; inserts `row` as it stands if there is none. No `Max` of the same call may raise that
    /// `version`: which of the two comes first is open. For the same collections as `Max`.
    Newer {
        /// Collection.
        schema: &'static Schema,
        /// The document to insert when missing.
        row: Row,
        /// Position of the field that is compared.
        version: usize,
        /// Positions of the fields to set with it.
        fields: &'static [usize],
    },
    /// Inserts the document unless one of its unique indexes is taken.
    InsertIfAbsent {
        /// Collection.
        schema: &'static Schema,
        /// The document.
        row: Row,
    },
}

impl Follow {
    /// The collection it writes to.
    pub fn schema(&self) -> &'static Schema {
        match self {
            Self::Max { schema, .. }
            | Self::Newer { schema, .. }
            | Self::InsertIfAbsent { schema, .. } => schema,
        }
    }

    /// The document as it is inserted when missing.
    pub fn row(&self) -> &Row {
        match self {
            Self::Max { row, .. } | Self::Newer { row, .. } | Self::InsertIfAbsent { row, .. } => {
                row
            }
        }
    }
}

/// One document of a run, with the writes that happen only if it was inserted (after it, atomically with it where the
/// engine can, else after the inserts: a crash between is repaired by the replay of the record).
#[derive(Debug, Clone)]
pub struct RunItem {
    /// The document.
    pub row: Row,
    /// Writes that follow it.
    pub then: Vec<Follow>,
}

/// A change of one field, given by its position, of one document by [`Store::update`]. Key fields can't be changed, and no
/// field twice in one call.
#[derive(Debug, Clone)]
pub enum Change {
    /// Raises an `Int` field to at least this.
    Max(usize, i64),
    /// Adds to an `Int` field. Past the range of the type is `Err(Schema)`.
    Inc(usize, i64),
    /// Sets a field.
    Set(usize, Value),
}

impl Change {
    /// The field it changes.
    pub fn field(&self) -> usize {
        match self {
            Self::Max(field, _) | Self::Inc(field, _) | Self::Set(field, _) => *field,
        }
    }
}

/// Where a page starts and how it runs.
#[derive(Debug, Clone)]
pub struct Page {
    /// Name of the index to walk (the primary key's name works too).
    pub index: &'static str,
    /// Values of the index's first fields that all documents share.
    pub prefix: Vec<Value>,
    /// Bounds of the field after the prefix, both inclusive.
    pub from: Option<Value>,
    /// Upper bound, inclusive.
    pub to: Option<Value>,
    /// Start after this position, for the next page: the values of all fields of [`order_of`] that come after the prefix.
    /// [`Page::after_row`] takes them from the last row of the page before.
    pub after: Option<Vec<Value>>,
    /// Highest first.
    pub descending: bool,
    /// At most this many documents; an engine may cap it at [`MAX_PAGE`].
    pub limit: usize,
}

/// The largest page an engine gives.
pub const MAX_PAGE: usize = 10_000;

/// The largest row, bytes of its texts and blobs together; what every engine can hold.
pub const MAX_ROW: usize = 15 << 20;

impl Page {
    /// All documents whose index starts with `prefix`, lowest first, at most `limit`.
    pub fn of(index: &'static str, prefix: Vec<Value>, limit: usize) -> Self {
        Self {
            index,
            prefix,
            from: None,
            to: None,
            after: None,
            descending: false,
            limit,
        }
    }

    /// Restricts the field after the prefix to `from..=to`. Bounds on a blob have the length of the values they are for: an index
    /// orders blobs of one length by their bytes, and where those of other lengths stand differs from engine to engine.
    #[must_use]
    pub fn between(mut self, from: impl Into<Value>, to: impl Into<Value>) -> Self {
        self.from = Some(from.into());
        self.to = Some(to.into());
        self
    }

    /// The next page: everything after `row`, which was the last one.
    #[must_use]
    pub fn after_row(mut self, schema: &'static Schema, row: &[Value]) -> Self {
        let order = schema
            .index(self.index)
            .map(|index| order_of(schema, index))
            .unwrap_or_default();
        self.after = Some(
            order
                .iter()
                .skip(self.prefix.len())
                .filter_map(|&i| row.get(i).cloned())
                .collect(),
        );
        self
    }

    /// Highest first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }
}

/// A document engine. Every write that was answered survives the death of process and machine.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes the collections and indexes that are missing. Existing ones must have the same fields; fields added at the end
    /// of a schema are added with the type's zero value.
    async fn prepare(&self, schemas: &[&'static Schema]) -> Result<()>;

    /// The document with this key.
    async fn get(&self, schema: &'static Schema, key: Key) -> Result<Option<Row>>;

    /// The documents with these keys, in the order asked for.
    async fn get_many(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<Vec<Option<Row>>>;

    /// A page of documents in the order of an index (ties by key).
    async fn page(&self, schema: &'static Schema, page: Page) -> Result<Vec<Row>>;

    /// How many documents share these first values of an index.
    async fn count(
        &self,
        schema: &'static Schema,
        index: &'static str,
        prefix: Vec<Value>,
    ) -> Result<u64>;

    /// Inserts one document. `Skipped` does not occur.
    async fn insert(&self, schema: &'static Schema, row: Row) -> Result<Outcome>;

    /// Inserts runs: the items of one run in order, and the first that fails ends its run (the others are `Skipped`); runs
    /// don't depend on each other. Documents and follow-up writes are durable when this returns. The answer has one list
    /// per run with one outcome per item.
    async fn insert_runs(
        &self,
        schema: &'static Schema,
        runs: Vec<Vec<RunItem>>,
    ) -> Result<Vec<Vec<Outcome>>>;

    /// Follow-up writes on their own, in any order.
    async fn apply(&self, writes: Vec<Follow>) -> Result<()>;

    /// Replaces the document with the key of `row` if its revision is `expected`; `row` carries the new revision.
    /// False if there is no such document or its revision differs. Other unique constraints: `Err(Schema)`.
    async fn compare_and_set(
        &self,
        schema: &'static Schema,
        row: Row,
        expected: i64,
    ) -> Result<bool>;

    /// Changes fields of an existing document in one step; false if there is none.
    async fn update(&self, schema: &'static Schema, key: Key, changes: Vec<Change>)
    -> Result<bool>;

    /// Deletes the document with this key if its revision is `expected`; false if there is none or its revision differs.
    async fn delete_at(&self, schema: &'static Schema, key: Key, expected: i64) -> Result<bool>;

    /// Deletes documents; missing ones are no error. Returns how many were there.
    async fn delete(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<u64>;
}

/// A shared engine.
pub type SharedStore = Arc<dyn Store>;

/// Checks a row against its schema; engines call it before they write.
pub fn check_row(schema: &'static Schema, row: &[Value]) -> Result<()> {
    let fail = |reason| {
        Err(StoreError::Schema {
            collection: schema.collection,
            reason,
        })
    };
    if row.len() != schema.fields.len() {
        return fail(format!(
            "{} values for {} fields",
            row.len(),
            schema.fields.len()
        ));
    }
    if row.iter().map(Value::size).sum::<usize>() > MAX_ROW {
        return fail("the document is too large".to_owned());
    }
    match schema
        .fields
        .iter()
        .zip(row)
        .find(|((_, kind), value)| value.kind() != *kind)
    {
        Some(((name, _), _)) => fail(format!("{name} has the wrong type")),
        None => Ok(()),
    }
}

/// Checks a follow-up write; engines call it before they write the document that it follows.
pub fn check_follow(follow: &Follow) -> Result<()> {
    let (schema, row) = (follow.schema(), follow.row());
    check_row(schema, row)?;
    let (numbers, others): (&[usize], &[usize]) = match follow {
        Follow::Max { fields, .. } => (fields, &[]),
        Follow::Newer {
            version, fields, ..
        } => (std::slice::from_ref(version), fields),
        Follow::InsertIfAbsent { .. } => return Ok(()),
    };
    let fail = |reason: &str| {
        Err(StoreError::Schema {
            collection: schema.collection,
            reason: reason.to_owned(),
        })
    };
    if !schema.unique.is_empty() {
        return fail("such a write needs a collection with no unique constraint but its key");
    }
    let free = |i: &usize| *i < row.len() && !schema.key.fields.contains(i);
    let number = |i: &usize| matches!(row.get(*i), Some(Value::Int(_)));
    if numbers.iter().all(|i| free(i) && number(i)) && others.iter().all(free) {
        Ok(())
    } else {
        fail("a follow-up write names a key field or compares one that is no number")
    }
}

/// The fields that order a page of `index`: its own, and for an index that is not unique then the key fields it lacks.
pub fn order_of(schema: &'static Schema, index: &Index) -> Vec<usize> {
    let unique = std::iter::once(&schema.key)
        .chain(schema.unique)
        .any(|i| i.name == index.name);
    let mut order = index.fields.to_vec();
    if !unique {
        order.extend(
            schema
                .key
                .fields
                .iter()
                .filter(|i| !index.fields.contains(i)),
        );
    }
    order
}

/// The index a page walks, or an error that names it.
pub fn index_of(schema: &'static Schema, name: &str) -> Result<&'static Index> {
    schema.index(name).ok_or_else(|| StoreError::Schema {
        collection: schema.collection,
        reason: format!("no index {name}"),
    })
}
