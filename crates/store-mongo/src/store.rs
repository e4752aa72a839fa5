//! [`MongoStore`]: the connection, the prepared collections, and a time limit around every call.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use magpie_store::{
    Change, Follow, Key, Outcome, Page, Row, RunItem, Schema, Store, StoreError, Value,
    store::{Result, check_row},
};
use mongodb::{
    Database,
    bson::{RawDocumentBuf, serialize_to_raw_document_buf},
};

use crate::{
    Options,
    connect::{connect, write_concern},
    follow, insert,
    metrics::Metrics,
    prepare::prepare,
    read,
    table::{Table, Tables, refused},
    write,
};

/// The store on one MongoDB database.
pub struct MongoStore {
    pub(crate) database: Database,
    pub(crate) write_concern: RawDocumentBuf,
    pub(crate) metrics: Metrics,
    tables: RwLock<Tables>,
    call_timeout: Duration,
    prepare_timeout: Duration,
}

impl MongoStore {
    /// Connects to the database; it is made when something is written.
    ///
    /// # Errors
    /// `Unavailable` with the reason if the URI is not usable or the server can't be reached; the latter may be tried again.
    pub async fn connect(options: Options) -> Result<Arc<Self>> {
        let write_concern = serialize_to_raw_document_buf(&write_concern(options.call_timeout))
            .map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let database = within("connect", options.call_timeout, connect(&options)).await?;
        Ok(Arc::new(Self {
            database,
            write_concern,
            metrics: Metrics::new(),
            tables: RwLock::new(HashMap::new()),
            call_timeout: options.call_timeout,
            prepare_timeout: options.prepare_timeout,
        }))
    }

    /// The collection of `schema`, which must have been prepared as it is.
    pub(crate) fn table(&self, schema: &'static Schema) -> Result<Arc<Table>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let table = tables
            .get(schema.collection)
            .filter(|t| std::ptr::eq(t.schema, schema) || t.schema == schema);
        table
            .map(Arc::clone)
            .ok_or_else(|| refused(schema, "the collection was not prepared"))
    }

    async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        within(name, self.call_timeout, work).await
    }
}

/// Gives the work this much time. A write given up may still happen.
async fn within<T>(
    name: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let start = Instant::now();
    let result = tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_elapsed| {
            Err(StoreError::Unavailable(format!(
                "MongoDB did not answer within {} ms",
                limit.as_millis()
            )))
        });
    Metrics::call(
        name,
        matches!(result, Err(StoreError::Unavailable(_))),
        start.elapsed(),
    );
    result
}

#[async_trait]
impl Store for MongoStore {
    async fn prepare(&self, schemas: &[&'static Schema]) -> Result<()> {
        let prepared = within(
            "prepare",
            self.prepare_timeout,
            prepare(&self.database, schemas),
        )
        .await?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.extend(
            prepared
                .into_iter()
                .map(|table| (table.schema.collection, Arc::new(table))),
        );
        Ok(())
    }

    async fn get(&self, schema: &'static Schema, key: Key) -> Result<Option<Row>> {
        let table = self.table(schema)?;
        let mut found = self
            .call("get", read::get_many(&table, &[key], self.call_timeout))
            .await?;
        Ok(found.pop().flatten())
    }

    async fn get_many(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<Vec<Option<Row>>> {
        let table = self.table(schema)?;
        self.call("get_many", read::get_many(&table, &keys, self.call_timeout))
            .await
    }

    async fn page(&self, schema: &'static Schema, page: Page) -> Result<Vec<Row>> {
        let table = self.table(schema)?;
        self.call("page", read::page(&table, &page, self.call_timeout))
            .await
    }

    async fn count(
        &self,
        schema: &'static Schema,
        index: &'static str,
        prefix: Vec<Value>,
    ) -> Result<u64> {
        let table = self.table(schema)?;
        self.call(
            "count",
            read::count(&table, index, &prefix, self.call_timeout),
        )
        .await
    }

    async fn insert(&self, schema: &'static Schema, row: Row) -> Result<Outcome> {
        let table = self.table(schema)?;
        check_row(schema, &row)?;
        let run = vec![RunItem {
            row,
            then: Vec::new(),
        }];
        let mut outcomes = self
            .call("insert", insert::insert_runs(self, &table, vec![run]))
            .await?;
        match outcomes.pop().and_then(|mut run| run.pop()) {
            Some(Outcome::Refused(reason)) => Err(refused(schema, reason)),
            outcome => Ok(outcome.unwrap_or(Outcome::Skipped)),
        }
    }

    async fn insert_runs(
        &self,
        schema: &'static Schema,
        runs: Vec<Vec<RunItem>>,
    ) -> Result<Vec<Vec<Outcome>>> {
        let table = self.table(schema)?;
        self.call("insert_runs", insert::insert_runs(self, &table, runs))
            .await
    }

    async fn apply(&self, writes: Vec<Follow>) -> Result<()> {
        writes
            .iter()
            .try_for_each(|write| follow::check(self, write))?;
        self.call("apply", follow::apply(self, writes)).await
    }

    async fn compare_and_set(
        &self,
        schema: &'static Schema,
        row: Row,
        expected: i64,
    ) -> Result<bool> {
        let table = self.table(schema)?;
        self.call(
            "compare_and_set",
            write::compare_and_set(self, &table, &row, expected),
        )
        .await
    }

    async fn update(
        &self,
        schema: &'static Schema,
        key: Key,
        changes: Vec<Change>,
    ) -> Result<bool> {
        let table = self.table(schema)?;
        self.call("update", write::update(&table, &key, &changes))
            .await
    }

    async fn delete_at(&self, schema: &'static Schema, key: Key, expected: i64) -> Result<bool> {
        let table = self.table(schema)?;
        self.call("delete_at", write::delete_at(&table, &key, expected))
            .await
    }

    async fn delete(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<u64> {
        let table = self.table(schema)?;
        self.call("delete", write::delete(&table, &keys)).await
    }
}
