//! [`SqliteStore`]: opens the database, starts the threads, and hands each call to the right one.

use std::{
    fs::File,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use magpie_store::{
    Change, Follow, Key, Outcome, Page, Row, RunItem, Schema, Store, StoreError, Value,
    store::Result,
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Options,
    checkpoint::Wal,
    connection::{lock, open_more, open_writer, pragma},
    error::{Failure, unavailable},
    metrics::Metrics,
    prepare::prepare,
    read,
    reader::Readers,
    table::{Table, Tables, table_of},
    write::Batch,
    writer::{Request, SharedTables, Task, Writer, current},
};

/// Background writes are split into requests of this many rows, so that none holds the writer long.
const CHUNK: usize = 200;
/// Keys that one read looks up.
const READ_CHUNK: usize = 512;
/// Page cache of the checkpoint connection, which reads nothing.
const CHECKPOINT_CACHE: usize = 64 << 10;

/// The store on one SQLite database. Dropping it finishes the writes under way and closes the database.
pub struct SqliteStore {
    // Fields are taken out by `drop`, in its order.
    writer: Option<mpsc::Sender<Task>>,
    readers: Option<Readers>,
    tables: SharedTables,
    wal: Arc<Wal>,
    threads: Vec<JoinHandle<()>>,
    _lock: File,
}

impl SqliteStore {
    /// Opens the database at `path`, making it if there is none; its folder must exist. Blocks shortly.
    ///
    /// # Errors
    /// `Unavailable` with the reason if another process uses it, it can't be read or written, or it is not ours.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Arc<Self>> {
        let path = path.as_ref();
        let file_lock = lock(path)?;
        let mut conn = open_writer(path, &options)?;
        let checkpointer = open_more(path, &options, CHECKPOINT_CACHE)?;
        let readers: Result<Vec<_>> = (0..options.readers.max(1))
            .map(|_| open_more(path, &options, options.reader_cache))
            .collect();
        let page_size = pragma(&conn, "page_size").map_err(|e| unavailable(&e))?;
        let wal = Arc::new(Wal::new(&options, u64::try_from(page_size).unwrap_or(0)));
        wal.watch(&mut conn).map_err(|e| unavailable(&e))?;
        let tables = SharedTables::new(RwLock::new(Arc::new(Tables::new())));

        let thread_failed =
            |e: std::io::Error| StoreError::Unavailable(format!("a thread can't be started: {e}"));
        let (readers, mut threads) =
            Readers::start(readers?, options.read_queue.max(1)).map_err(thread_failed)?;
        let (sender, queue) = mpsc::channel(options.write_queue.max(1));
        let idle = options.idle_checkpoint;
        let copier = Arc::clone(&wal);
        threads.push(
            spawn("store-checkpoint", move || copier.run(&checkpointer, idle))
                .map_err(thread_failed)?,
        );
        let writer = Writer {
            conn,
            tables: Arc::clone(&tables),
            queue,
            options,
            metrics: Metrics::new(),
            wal: Arc::clone(&wal),
        };
        threads.push(spawn("store-writer", move || writer.run()).map_err(thread_failed)?);
        Ok(Arc::new(Self {
            writer: Some(sender),
            readers: Some(readers),
            tables,
            wal,
            threads,
            _lock: file_lock,
        }))
    }

    fn table(&self, schema: &'static Schema) -> Result<Arc<Table>> {
        table_of(&current(&self.tables), schema).map(Arc::clone)
    }

    async fn send(&self, task: Task) -> Result<()> {
        let queue = self.writer.as_ref().ok_or_else(closed)?;
        queue.send(task).await.map_err(|_closed| closed())
    }

    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Batch<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (job, answer) = Request::boxed(work);
        self.send(Task::Write(job)).await?;
        answer.await.map_err(|_closed| closed())?
    }

    async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.readers.as_ref().ok_or_else(closed)?.read(query).await
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.writer = None;
        self.readers = None;
        self.wal.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn prepare(&self, schemas: &[&'static Schema]) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let (schemas, tables) = (schemas.to_vec(), Arc::clone(&self.tables));
        self.send(Task::Alone(Box::new(move |conn| {
            let result = prepare(conn, &schemas);
            if result.is_ok() {
                let mut all = Tables::clone(&current(&tables));
                all.extend(
                    schemas
                        .into_iter()
                        .map(|schema| (schema.collection, Arc::new(Table::new(schema)))),
                );
                *tables.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
            }
            if reply.send(result).is_err() {
                tracing::trace!("the caller of prepare did not wait for its answer");
            }
        })))
        .await?;
        answer.await.map_err(|_closed| closed())?
    }

    async fn get(&self, schema: &'static Schema, key: Key) -> Result<Option<Row>> {
        let table = self.table(schema)?;
        let mut found = self
            .read(move |conn| read::get_many(conn, &table, &[key]))
            .await?;
        Ok(found.pop().flatten())
    }

    async fn get_many(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<Vec<Option<Row>>> {
        let table = self.table(schema)?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in chunks(keys, READ_CHUNK) {
            let table = Arc::clone(&table);
            found.extend(
                self.read(move |conn| read::get_many(conn, &table, &keys))
                    .await?,
            );
        }
        Ok(found)
    }

    async fn page(&self, schema: &'static Schema, page: Page) -> Result<Vec<Row>> {
        let table = self.table(schema)?;
        self.read(move |conn| read::page(conn, &table, &page)).await
    }

    async fn count(
        &self,
        schema: &'static Schema,
        index: &'static str,
        prefix: Vec<Value>,
    ) -> Result<u64> {
        let table = self.table(schema)?;
        self.read(move |conn| read::count(conn, &table, index, &prefix))
            .await
    }

    async fn insert(&self, schema: &'static Schema, row: Row) -> Result<Outcome> {
        self.write(move |batch| batch.insert(schema, &row)).await
    }

    async fn insert_runs(
        &self,
        schema: &'static Schema,
        runs: Vec<Vec<RunItem>>,
    ) -> Result<Vec<Vec<Outcome>>> {
        self.write(move |batch| batch.insert_runs(schema, &runs))
            .await
    }

    async fn apply(&self, writes: Vec<Follow>) -> Result<()> {
        for writes in chunks(writes, CHUNK) {
            self.write(move |batch| batch.apply(&writes)).await?;
        }
        Ok(())
    }

    async fn compare_and_set(
        &self,
        schema: &'static Schema,
        row: Row,
        expected: i64,
    ) -> Result<bool> {
        self.write(move |batch| batch.compare_and_set(schema, &row, expected))
            .await
    }

    async fn update(
        &self,
        schema: &'static Schema,
        key: Key,
        changes: Vec<Change>,
    ) -> Result<bool> {
        self.write(move |batch| batch.update(schema, &key, &changes))
            .await
    }

    async fn delete_at(&self, schema: &'static Schema, key: Key, expected: i64) -> Result<bool> {
        self.write(move |batch| batch.delete_at(schema, &key, expected))
            .await
    }

    async fn delete(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<u64> {
        let mut deleted = 0;
        for keys in chunks(keys, CHUNK) {
            deleted += self.write(move |batch| batch.delete(schema, &keys)).await?;
        }
        Ok(deleted)
    }
}

/// Splits a list into parts of at most `size`, in order.
fn chunks<T>(list: Vec<T>, size: usize) -> impl Iterator<Item = Vec<T>> + Send
where
    T: Send,
{
    let mut rest = list.into_iter();
    std::iter::from_fn(move || {
        let part: Vec<T> = rest.by_ref().take(size).collect();
        (!part.is_empty()).then_some(part)
    })
}
