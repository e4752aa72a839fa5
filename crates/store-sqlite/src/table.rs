//! A schema as SQL: the statements that every request needs, written once.
//!
//! A document with a blob lives in a rowid table, appended to in order of arrival, and its key is a unique index: random
//! keys then touch small index pages only. A document without one lives inside its key's tree (`WITHOUT ROWID`): one tree to
//! search instead of two. Plain indexes end with the key fields, so that a page is ordered by the index alone.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use magpie_store::{Index, Key, Kind, Row, Schema, StoreError, Value, store::order_of};
use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};

/// The prepared collections by name.
pub(crate) type Tables = HashMap<&'static str, Arc<Table>>;

/// The version that an upsert compares, if it does, and the fields that it sets.
type Upsert = (Option<usize>, &'static [usize]);

/// The prepared form of one schema.
pub(crate) struct Table {
    pub(crate) schema: &'static Schema,
    pub(crate) insert: String,
    pub(crate) get: String,
    pub(crate) delete: String,
    /// Delete by key and revision; empty if the collection has none.
    pub(crate) delete_at: String,
    /// Empty if the collection has no revision.
    pub(crate) replace: String,
    /// For each unique index, key first: a statement that finds a row with the same values (numbered as in the row).
    pub(crate) probes: Vec<(&'static Index, String)>,
    /// The upserts that were asked for, one for each place in the code that writes one.
    upserts: Mutex<HashMap<Upsert, Arc<str>>>,
    columns: String,
}

/// The table of `schema`, which must have been prepared as it is.
pub(crate) fn table_of<'t>(
    tables: &'t Tables,
    schema: &'static Schema,
) -> Result<&'t Arc<Table>, StoreError> {
    tables
        .get(schema.collection)
        .filter(|t| std::ptr::eq(t.schema, schema) || t.schema == schema)
        .ok_or_else(|| StoreError::Schema {
            collection: schema.collection,
            reason: "the collection was not prepared".to_owned(),
        })
}

impl Table {
    pub(crate) fn new(schema: &'static Schema) -> Self {
        let table = quote(schema.collection);
        let all: Vec<usize> = (0..schema.fields.len()).collect();
        let columns = names(schema, &all);
        let by_key = equal(schema, schema.key.fields, 1);
        let values = all
            .iter()
            .map(|i| format!("?{}", i + 1))
            .collect::<Vec<_>>()
            .join(",");
        let replace = schema.revision.map_or_else(String::new, |revision| {
            let set = all
                .iter()
                .filter(|i| !schema.key.fields.contains(i))
                .map(|&i| format!("{}=?{}", column(schema, i), i + 1));
            let set = set.collect::<Vec<_>>().join(",");
            let key = in_row(schema, schema.key.fields);
            format!(
                "UPDATE {table} SET {set} WHERE {key} AND {}=?{}",
                column(schema, revision),
                all.len() + 1
            )
        });
        let delete_at = schema.revision.map_or_else(String::new, |revision| {
            let number = schema.key.fields.len() + 1;
            let revision = column(schema, revision);
            format!("DELETE FROM {table} WHERE {by_key} AND {revision}=?{number}")
        });
        let probes = std::iter::once(&schema.key)
            .chain(schema.unique)
            .map(|index| {
                (
                    index,
                    format!(
                        "SELECT 1 FROM {table} WHERE {}",
                        equal(schema, index.fields, 1)
                    ),
                )
            })
            .collect();
        Self {
            schema,
            insert: format!(
                "INSERT INTO {table}({columns}) VALUES({values}) ON CONFLICT DO NOTHING"
            ),
            get: format!("SELECT {columns} FROM {table} WHERE {by_key}"),
            delete: format!("DELETE FROM {table} WHERE {by_key}"),
            delete_at,
            replace,
            probes,
            upserts: Mutex::default(),
            columns,
        }
    }

    /// Insert, or raise `fields`; with a version, insert, or set `fields` if it is lower.
    pub(crate) fn upsert(&self, version: Option<usize>, fields: &'static [usize]) -> Arc<str> {
        let mut upserts = self.upserts.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = upserts.entry((version, fields)).or_insert_with(|| {
            let sql = match version {
                Some(version) => self.newer_sql(version, fields),
                None => self.max_sql(fields),
            };
            sql.into()
        });
        Arc::clone(sql)
    }

    /// Insert, or raise `fields`; a row that would not change is not written.
    fn max_sql(&self, fields: &[usize]) -> String {
        let insert = self.insert.trim_end_matches(" ON CONFLICT DO NOTHING");
        let key = names(self.schema, self.schema.key.fields);
        if fields.is_empty() {
            return self.insert.clone();
        }
        let raise = fields
            .iter()
            .map(|&i| column(self.schema, i))
            .map(|c| format!("{c}=max({c},excluded.{c})"));
        let higher = fields
            .iter()
            .map(|&i| column(self.schema, i))
            .map(|c| format!("excluded.{c}>{c}"));
        format!(
            "{insert} ON CONFLICT({key}) DO UPDATE SET {} WHERE {}",
            raise.collect::<Vec<_>>().join(","),
            higher.collect::<Vec<_>>().join(" OR ")
        )
    }

    /// Insert, or set `fields` and `version` if `version` is lower.
    fn newer_sql(&self, version: usize, fields: &[usize]) -> String {
        let insert = self.insert.trim_end_matches(" ON CONFLICT DO NOTHING");
        let key = names(self.schema, self.schema.key.fields);
        let set = fields
            .iter()
            .chain(std::iter::once(&version))
            .map(|&i| column(self.schema, i))
            .map(|c| format!("{c}=excluded.{c}"));
        let version = column(self.schema, version);
        format!(
            "{insert} ON CONFLICT({key}) DO UPDATE SET {} WHERE {version}<excluded.{version}",
            set.collect::<Vec<_>>().join(",")
        )
    }

    /// The start of every query.
    pub(crate) fn select(&self) -> String {
        format!(
            "SELECT {} FROM {}",
            self.columns,
            quote(self.schema.collection)
        )
    }

    /// Reads a row as this schema says.
    pub(crate) fn read(&self, row: &rusqlite::Row<'_>) -> Result<Row, crate::error::Failure> {
        let mut values = Row::with_capacity(self.schema.fields.len());
        for (i, (name, kind)) in self.schema.fields.iter().enumerate() {
            let value = match (kind, row.get_ref(i)?) {
                (Kind::Int, ValueRef::Integer(v)) => Some(Value::Int(v)),
                (Kind::Text, ValueRef::Text(v)) => std::str::from_utf8(v)
                    .ok()
                    .map(|v| Value::Text(v.to_owned())),
                (Kind::Blob, ValueRef::Blob(v)) => {
                    Some(Value::Blob(bytes::Bytes::copy_from_slice(v)))
                }
                _ => None,
            };
            values.push(value.ok_or_else(|| StoreError::Corrupt {
                collection: self.schema.collection,
                reason: format!("field {name} has another type than the schema says"),
            })?);
        }
        Ok(values)
    }

    /// Checks that these are values of the first fields of `index`, all of them if `whole`.
    pub(crate) fn check_values(
        &self,
        fields: &[usize],
        values: &[Value],
        whole: bool,
    ) -> Result<(), StoreError> {
        let fits = values.len() <= fields.len() && (!whole || values.len() == fields.len());
        let same = fields.iter().zip(values).all(|(&i, v)| {
            self.schema
                .fields
                .get(i)
                .is_some_and(|(_, kind)| *kind == v.kind())
        });
        if fits && same {
            return Ok(());
        }
        Err(StoreError::Schema {
            collection: self.schema.collection,
            reason: "the values do not fit the index".to_owned(),
        })
    }

    /// Checks a key.
    pub(crate) fn check_key(&self, key: &Key) -> Result<(), StoreError> {
        self.check_values(self.schema.key.fields, key, true)
    }
}

/// The statement that makes the table.
pub(crate) fn create_table(schema: &'static Schema) -> String {
    let mut sql = format!("CREATE TABLE {}(", quote(schema.collection));
    for (i, (name, kind)) in schema.fields.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(sql, "{comma}{} {}", quote(name), column_type(*kind)).expect("writing to a string");
    }
    if has_rowid(schema) {
        sql.push_str(") STRICT");
    } else {
        write!(
            sql,
            ", PRIMARY KEY({})) STRICT, WITHOUT ROWID",
            names(schema, schema.key.fields)
        )
        .expect("writing to a string");
    }
    sql
}

/// Name of each index in the database, with the statement that makes it.
pub(crate) fn create_indexes(schema: &'static Schema, key_in_table: bool) -> Vec<(String, String)> {
    let key = (!key_in_table).then_some(&schema.key);
    let table = quote(schema.collection);
    let unique = key.into_iter().chain(schema.unique).map(|i| (i, "UNIQUE "));
    let plain = schema.indexes.iter().map(|i| (i, ""));
    unique
        .chain(plain)
        .map(|(index, unique)| {
            let name = format!("{}.{}", schema.collection, index.name);
            let sql = format!(
                "CREATE {unique}INDEX {} ON {table}({})",
                quote(&name),
                names(schema, &order_of(schema, index))
            );
            (name, sql)
        })
        .collect()
}

/// The column's definition after its name; the default is the type's zero value.
pub(crate) fn column_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "INTEGER NOT NULL DEFAULT 0",
        Kind::Text => "TEXT NOT NULL DEFAULT ''",
        Kind::Blob => "BLOB NOT NULL DEFAULT x''",
    }
}

/// The name of the column's type.
pub(crate) fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "INTEGER",
        Kind::Text => "TEXT",
        Kind::Blob => "BLOB",
    }
}

fn has_rowid(schema: &Schema) -> bool {
    let outside_key = |i: &usize| !schema.key.fields.contains(i);
    (0..schema.fields.len()).filter(outside_key).any(|i| {
        schema
            .fields
            .get(i)
            .is_some_and(|(_, kind)| *kind == Kind::Blob)
    })
}

/// An identifier in quotes.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The quoted name of a field.
pub(crate) fn column(schema: &Schema, field: usize) -> String {
    quote(schema.fields.get(field).map_or("", |(name, _)| name))
}

fn names(schema: &Schema, fields: &[usize]) -> String {
    fields
        .iter()
        .map(|&i| column(schema, i))
        .collect::<Vec<_>>()
        .join(",")
}

/// `a=?n AND b=?n+1 …`
pub(crate) fn equal(schema: &Schema, fields: &[usize], first: usize) -> String {
    fields
        .iter()
        .enumerate()
        .map(|(n, &i)| format!("{}=?{}", column(schema, i), first + n))
        .collect::<Vec<_>>()
        .join(" AND ")
}

/// The same, with the numbers that the fields have in a whole row.
fn in_row(schema: &Schema, fields: &[usize]) -> String {
    fields
        .iter()
        .map(|&i| format!("{}=?{}", column(schema, i), i + 1))
        .collect::<Vec<_>>()
        .join(" AND ")
}

/// A value as a parameter.
pub(crate) struct Sql<'a>(pub(crate) &'a Value);

impl ToSql for Sql<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Int(v) => ValueRef::Integer(*v),
            Value::Text(v) => ValueRef::Text(v.as_bytes()),
            Value::Blob(v) => ValueRef::Blob(v),
        }))
    }
}
