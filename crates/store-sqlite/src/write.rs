//! What each write does inside the shared transaction.
//!
//! A request finds its own mistakes before or within one statement, so nothing of it has to be undone when it fails and
//! no savepoint is needed: SQLite undoes the one statement that broke a constraint. `Max` writes are gathered and merged, and
//! run once at the end of the transaction; its requests are concurrent, so any order among them is right.

use std::collections::HashMap;
use std::sync::Arc;

use magpie_store::{
    Change, Follow, Key, Kind, Outcome, Row, RunItem, Schema, StoreError, Value,
    store::{check_follow, check_row},
};
use rusqlite::{Connection, params_from_iter};

use crate::{
    error::{Failure, of_statement},
    metrics::Metrics,
    table::{Sql, Table, Tables, column, equal, quote, table_of},
};

type Result<T> = std::result::Result<T, Failure>;

/// One transaction under way.
pub(crate) struct Batch<'c> {
    conn: &'c Connection,
    tables: &'c Tables,
    metrics: &'c Metrics,
    raises: HashMap<(&'static str, &'static [usize], Key), Row>,
    rows: usize,
}

impl<'c> Batch<'c> {
    pub(crate) fn new(conn: &'c Connection, tables: &'c Tables, metrics: &'c Metrics) -> Self {
        Self {
            conn,
            tables,
            metrics,
            raises: HashMap::new(),
            rows: 0,
        }
    }

    /// Rows written or tried so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn insert(&mut self, schema: &'static Schema, row: &Row) -> Result<Outcome> {
        check_row(schema, row)?;
        let table = table_of(self.tables, schema)?;
        self.insert_row(table, row)
    }

    pub(crate) fn insert_runs(
        &mut self,
        schema: &'static Schema,
        runs: &[Vec<RunItem>],
    ) -> Result<Vec<Vec<Outcome>>> {
        let table = Arc::clone(table_of(self.tables, schema)?);
        runs.iter()
            .map(|run| self.insert_run(&table, run))
            .collect()
    }

    fn insert_run(&mut self, table: &Table, run: &[RunItem]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(run.len());
        for item in run {
            let outcome = match self.check_item(table, item) {
                Err(e) => Outcome::Refused(e.to_string()),
                Ok(()) => self.insert_row(table, &item.row)?,
            };
            let inserted = outcome == Outcome::Inserted;
            outcomes.push(outcome);
            if !inserted {
                break;
            }
            for follow in &item.then {
                self.follow(follow)?;
            }
        }
        outcomes.resize(run.len(), Outcome::Skipped);
        Ok(outcomes)
    }

    fn check_item(&self, table: &Table, item: &RunItem) -> std::result::Result<(), StoreError> {
        check_row(table.schema, &item.row)?;
        item.then
            .iter()
            .try_for_each(|follow| self.check_follow(follow))
    }

    fn check_follow(&self, follow: &Follow) -> std::result::Result<(), StoreError> {
        check_follow(follow)?;
        table_of(self.tables, follow.schema()).map(|_| ())
    }

    pub(crate) fn apply(&mut self, writes: &[Follow]) -> Result<()> {
        writes
            .iter()
            .try_for_each(|follow| self.check_follow(follow))?;
        writes.iter().try_for_each(|follow| self.follow(follow))
    }

    fn follow(&mut self, follow: &Follow) -> Result<()> {
        match follow {
            Follow::Max {
                schema,
                row,
                fields,
            } => {
                self.rows += 1;
                match self
                    .raises
                    .entry((schema.collection, fields, schema.key_of(row)))
                {
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        entry.insert(row.clone());
                    }
                    std::collections::hash_map::Entry::Occupied(mut entry) => {
                        raise(entry.get_mut(), row, fields)
                    }
                }
                Ok(())
            }
            Follow::Newer {
                schema,
                row,
                version,
                fields,
            } => {
                self.rows += 1;
                let table = table_of(self.tables, schema)?;
                let sql = table.upsert(Some(*version), fields);
                self.execute(table, &sql, row).map(|_| ())
            }
            Follow::InsertIfAbsent { schema, row } => {
                self.rows += 1;
                let table = table_of(self.tables, schema)?;
                self.execute(table, &table.insert, row).map(|_| ())
            }
        }
    }

    /// Writes what was gathered; the last step before the commit.
    pub(crate) fn finish(&mut self) -> Result<()> {
        for ((collection, fields, _), row) in std::mem::take(&mut self.raises) {
            let Some(table) = self.tables.get(collection) else {
                continue;
            };
            self.execute(table, &table.upsert(None, fields), &row)?;
        }
        Ok(())
    }

    pub(crate) fn compare_and_set(
        &mut self,
        schema: &'static Schema,
        row: &Row,
        expected: i64,
    ) -> Result<bool> {
        check_row(schema, row)?;
        self.rows += 1;
        let table = table_of(self.tables, schema)?;
        if table.replace.is_empty() {
            return Err(refused(schema, "the collection has no revision"));
        }
        let expected = Value::Int(expected);
        let changed = self.execute(
            table,
            &table.replace,
            row.iter().chain(std::iter::once(&expected)),
        )?;
        if changed == 0 {
            self.metrics.conflict();
        }
        Ok(changed > 0)
    }

    pub(crate) fn update(
        &mut self,
        schema: &'static Schema,
        key: &Key,
        changes: &[Change],
    ) -> Result<bool> {
        self.rows += 1;
        let table = table_of(self.tables, schema)?;
        table.check_key(key)?;
        if changes.is_empty() {
            return self.exists(&table.get, key.iter());
        }
        let mut set = Vec::with_capacity(changes.len());
        let mut values = key.clone();
        for (position, change) in changes.iter().enumerate() {
            let (field, value) = match change {
                Change::Max(field, v) | Change::Inc(field, v) => (*field, Value::Int(*v)),
                Change::Set(field, v) => (*field, v.clone()),
            };
            let fits = schema
                .fields
                .get(field)
                .is_some_and(|(_, kind)| *kind == value.kind());
            let again = changes.iter().take(position).any(|c| c.field() == field);
            if !fits || again || schema.key.fields.contains(&field) {
                return Err(refused(
                    schema,
                    "a change names a key field, a field twice, or one of another type",
                ));
            }
            values.push(value);
            let (name, number) = (column(schema, field), values.len());
            set.push(match change {
                Change::Max(..) => format!("{name}=max({name},?{number})"),
                Change::Inc(..) => format!("{name}={name}+?{number}"),
                Change::Set(..) => format!("{name}=?{number}"),
            });
        }
        let by_key = equal(schema, schema.key.fields, 1);
        let sql = format!(
            "UPDATE {} SET {} WHERE {by_key}",
            quote(schema.collection),
            set.join(",")
        );
        Ok(self.execute(table, &sql, &values)? > 0)
    }

    pub(crate) fn delete_at(
        &mut self,
        schema: &'static Schema,
        key: &Key,
        expected: i64,
    ) -> Result<bool> {
        self.rows += 1;
        let table = table_of(self.tables, schema)?;
        table.check_key(key)?;
        if table.delete_at.is_empty() {
            return Err(refused(schema, "the collection has no revision"));
        }
        let expected = Value::Int(expected);
        let values = key.iter().chain(std::iter::once(&expected));
        Ok(self.execute(table, &table.delete_at, values)? > 0)
    }

    pub(crate) fn delete(&mut self, schema: &'static Schema, keys: &[Key]) -> Result<u64> {
        let table = table_of(self.tables, schema)?;
        keys.iter().try_for_each(|key| table.check_key(key))?;
        let mut deleted = 0;
        for key in keys {
            self.rows += 1;
            deleted += u64::from(self.execute(table, &table.delete, key)? > 0);
        }
        Ok(deleted)
    }

    fn insert_row(&mut self, table: &Table, row: &Row) -> Result<Outcome> {
        self.rows += 1;
        if self.execute(table, &table.insert, row)? > 0 {
            return Ok(Outcome::Inserted);
        }
        self.metrics.conflict();
        for (index, probe) in &table.probes {
            if self.exists(probe, index.fields.iter().filter_map(|&i| row.get(i)))? {
                return Ok(Outcome::Conflict(index.name));
            }
        }
        let reason = "a row was refused although no index holds its values".to_owned();
        Err(Failure::Request(StoreError::Corrupt {
            collection: table.schema.collection,
            reason,
        }))
    }

    fn execute<'v>(
        &self,
        table: &Table,
        sql: &str,
        values: impl IntoIterator<Item = &'v Value>,
    ) -> Result<usize> {
        let mut statement = self.conn.prepare_cached(sql)?;
        statement
            .execute(params_from_iter(values.into_iter().map(Sql)))
            .map_err(|e| of_statement(table.schema, e))
    }

    fn exists<'v>(&self, sql: &str, values: impl Iterator<Item = &'v Value>) -> Result<bool> {
        Ok(self
            .conn
            .prepare_cached(sql)?
            .exists(params_from_iter(values.map(Sql)))?)
    }
}

fn raise(row: &mut Row, with: &Row, fields: &[usize]) {
    for &field in fields {
        if let (Some(value), Some(other)) = (row.get_mut(field), with.get(field))
            && *value < *other
            && value.kind() == Kind::Int
        {
            *value = other.clone();
        }
    }
}

fn refused(schema: &'static Schema, reason: &str) -> Failure {
    Failure::Request(StoreError::Schema {
        collection: schema.collection,
        reason: reason.to_owned(),
    })
}
