//! Brings the database to the schemas: makes what is missing, adds fields at the end, refuses what has changed.

use magpie_store::{Schema, StoreError};
use rusqlite::{Connection, params};

use crate::{
    error::Failure,
    table::{column_type, create_indexes, create_table, quote, type_name},
};

/// Prepares all of them in one transaction.
pub(crate) fn prepare(
    conn: &mut Connection,
    schemas: &[&'static Schema],
) -> Result<(), StoreError> {
    let mut work = || {
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for schema in schemas {
            check_schema(schema)?;
            prepare_one(&tx, schema)?;
        }
        Ok::<_, Failure>(tx.commit()?)
    };
    work().map_err(Failure::into_store_error)
}

fn prepare_one(conn: &Connection, schema: &'static Schema) -> Result<(), Failure> {
    let stored = stored_columns(conn, schema)?;
    if stored.is_empty() {
        conn.execute_batch(&create_table(schema))?;
    } else {
        add_columns(conn, schema, &stored)?;
    }
    let key = stored_columns(conn, schema)?;
    let key_in_table = key.iter().any(|c| c.key > 0);
    if key_in_table {
        let mut fields: Vec<_> = key.iter().enumerate().filter(|(_, c)| c.key > 0).collect();
        fields.sort_by_key(|(_, c)| c.key);
        if !fields.iter().map(|(i, _)| i).eq(schema.key.fields.iter()) {
            return Err(changed(schema, "the key"));
        }
    }
    prepare_indexes(conn, schema, key_in_table)
}

struct Column {
    name: String,
    kind: String,
    /// Place in the primary key, from 1; 0 outside.
    key: i64,
}

fn stored_columns(conn: &Connection, schema: &Schema) -> rusqlite::Result<Vec<Column>> {
    let mut statement =
        conn.prepare("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid")?;
    let columns = statement.query_map([schema.collection], |row| {
        Ok(Column {
            name: row.get(0)?,
            kind: row.get(1)?,
            key: row.get(2)?,
        })
    })?;
    columns.collect()
}

fn add_columns(
    conn: &Connection,
    schema: &'static Schema,
    stored: &[Column],
) -> Result<(), Failure> {
    if stored.len() > schema.fields.len() {
        return Err(changed(schema, "the number of fields"));
    }
    for (i, (name, kind)) in schema.fields.iter().enumerate() {
        match stored.get(i) {
            Some(column) if column.name == *name && column.kind == type_name(*kind) => {}
            Some(column) => {
                return Err(changed(
                    schema,
                    &format!("field {name} ({} before)", column.name),
                ));
            }
            None => {
                let (table, name, kind) =
                    (quote(schema.collection), quote(name), column_type(*kind));
                conn.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {name} {kind}"))?;
            }
        }
    }
    Ok(())
}

fn prepare_indexes(
    conn: &Connection,
    schema: &'static Schema,
    key_in_table: bool,
) -> Result<(), Failure> {
    let mut statement =
        conn.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL")?;
    let stored = statement.query_map(params![schema.collection], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let mut stored: std::collections::HashMap<String, String> =
        stored.collect::<rusqlite::Result<_>>()?;
    for (name, sql) in create_indexes(schema, key_in_table) {
        match stored.remove(&name) {
            Some(before) if before == sql => {}
            Some(_) => return Err(changed(schema, &format!("index {name}"))),
            None => conn
                .execute_batch(&sql)
                .map_err(|e| crate::error::of_statement(schema, e))?,
        }
    }
    // An index that no schema names any more would go on refusing rows.
    for name in stored.keys() {
        conn.execute_batch(&format!("DROP INDEX {}", quote(name)))?;
    }
    Ok(())
}

fn check_schema(schema: &'static Schema) -> Result<(), Failure> {
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let mut names: Vec<_> = schema.fields.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let indexes = || {
        std::iter::once(&schema.key)
            .chain(schema.unique)
            .chain(schema.indexes)
    };
    let sound = word(schema.collection)
        && !schema.collection.starts_with("sqlite_")
        && names.len() == schema.fields.len()
        && names.iter().all(|n| word(n))
        && indexes().all(|i| {
            word(i.name)
                && !i.fields.is_empty()
                && i.fields.iter().all(|&f| f < schema.fields.len())
        });
    if sound {
        return Ok(());
    }
    Err(StoreError::Schema {
        collection: schema.collection,
        reason: "the schema is not well formed".to_owned(),
    }
    .into())
}

fn changed(schema: &'static Schema, what: &str) -> Failure {
    let reason =
        format!("{what} differs from the stored collection; fields may only be added at the end");
    StoreError::Schema {
        collection: schema.collection,
        reason,
    }
    .into()
}
