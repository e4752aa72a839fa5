//! The writer thread: all waiting writes, one transaction, one fsync, then the answers.
//!
//! Commits are spaced, not delayed: a transaction starts at once if the last one started long enough ago, else when it
//! did. If a transaction fails for a reason that lies in one of its requests, each request is tried again alone, so that
//! nobody pays for another one's mistake; if the disk is full or broken, all are told so and the next transaction tries anew.

use std::{
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Instant,
};

use magpie_store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Options,
    checkpoint::Wal,
    error::{Failure, is_environmental, unavailable},
    metrics::Metrics,
    table::Tables,
    write::Batch,
};

/// The prepared collections, replaced as a whole.
pub(crate) type SharedTables = Arc<RwLock<Arc<Tables>>>;

/// The collections prepared by now.
pub(crate) fn current(tables: &SharedTables) -> Arc<Tables> {
    Arc::clone(&tables.read().unwrap_or_else(PoisonError::into_inner))
}

/// A request that waits for the writer.
pub(crate) trait Job: Send {
    /// Does the work inside a transaction; may be called again after the transaction was rolled back.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), rusqlite::Error>;
    /// Tells the caller: the result if it is durable, else why it isn't.
    fn answer(self: Box<Self>, durable: Result<(), StoreError>);
}

/// What the writer's queue holds.
pub(crate) enum Task {
    /// One request of a shared transaction.
    Write(Box<dyn Job>),
    /// Work with the connection for itself.
    Alone(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// A [`Job`] from a closure and the place of its answer.
pub(crate) struct Request<T, F> {
    work: F,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

/// Work on the connection outside any transaction.
type Maintenance = Box<dyn FnOnce(&mut Connection) + Send>;

impl<T, F> Request<T, F>
where
    T: Send + 'static,
    F: FnMut(&mut Batch<'_>) -> Result<T, Failure> + Send + 'static,
{
    pub(crate) fn boxed(work: F) -> (Box<dyn Job>, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        (
            Box::new(Self {
                work,
                result: None,
                reply,
            }),
            answer,
        )
    }
}

impl<T, F> Job for Request<T, F>
where
    T: Send + 'static,
    F: FnMut(&mut Batch<'_>) -> Result<T, Failure> + Send + 'static,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), rusqlite::Error> {
        self.result = Some(match (self.work)(batch) {
            Ok(value) => Ok(value),
            Err(Failure::Request(e)) => Err(e),
            Err(Failure::Engine(e)) => return Err(e),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, durable: Result<(), StoreError>) {
        let stopped = || {
            Err(StoreError::Unavailable(
                "the request was not carried out".to_owned(),
            ))
        };
        let Self { result, reply, .. } = *self;
        if reply
            .send(durable.and_then(|()| result.unwrap_or_else(stopped)))
            .is_err()
        {
            tracing::trace!("the caller of a write did not wait for its answer");
        }
    }
}

/// Everything the writer thread owns.
pub(crate) struct Writer {
    pub(crate) conn: Connection,
    pub(crate) tables: SharedTables,
    pub(crate) queue: mpsc::Receiver<Task>,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    pub(crate) wal: Arc<Wal>,
}

impl Writer {
    /// Runs until all senders are gone and the queue is empty.
    pub(crate) fn run(mut self) {
        let mut last_start: Option<Instant> = None;
        while let Some(first) = self.queue.blocking_recv() {
            if let Some(wait) =
                last_start.and_then(|t| self.options.commit_spacing.checked_sub(t.elapsed()))
                && self.queue.len() < self.options.batch_rows
            {
                thread::sleep(wait);
            }
            self.wal.make_room(&self.conn, &self.metrics);
            last_start = Some(Instant::now());
            self.metrics.queue(self.queue.len() + 1);
            match first {
                Task::Alone(work) => work(&mut self.conn),
                Task::Write(job) => {
                    if let Some(work) = self.commit_waiting(job) {
                        work(&mut self.conn);
                    }
                }
            }
            self.wal.after_commit(&self.metrics);
        }
    }

    /// Commits this job and those that wait behind it; gives back work that wants the connection alone.
    fn commit_waiting(&mut self, first: Box<dyn Job>) -> Option<Maintenance> {
        let started = Instant::now();
        let tables = current(&self.tables);
        let mut jobs = Vec::with_capacity(self.queue.len() + 1);
        let mut alone = None;
        let mut next = Some(first);
        let result = transaction(&self.conn, &tables, &self.metrics, |batch| {
            while let Some(job) = next.take() {
                jobs.push(job);
                jobs.last_mut().map_or(Ok(()), |job| job.run(batch))?;
                if batch.rows() >= self.options.batch_rows {
                    break;
                }
                match self.queue.try_recv() {
                    Ok(Task::Write(job)) => next = Some(job),
                    Ok(Task::Alone(work)) => alone = Some(work),
                    Err(_) => {}
                }
            }
            Ok(())
        });
        match result {
            Ok(rows) => {
                self.metrics.committed(rows, started.elapsed());
                jobs.into_iter().for_each(|job| job.answer(Ok(())));
            }
            Err(e) if jobs.len() > 1 && !is_environmental(&e) => {
                tracing::warn!(error = %e, requests = jobs.len(), "a transaction failed, its requests are tried one by one");
                self.metrics.commit_failed();
                jobs.into_iter()
                    .for_each(|job| self.commit_one(&tables, job));
            }
            Err(e) => {
                self.metrics.commit_failed();
                let error = unavailable(&e);
                tracing::error!(%error, requests = jobs.len(), "a transaction failed");
                jobs.into_iter()
                    .for_each(|job| job.answer(Err(error.clone())));
            }
        }
        alone
    }

    fn commit_one(&self, tables: &Tables, mut job: Box<dyn Job>) {
        let started = Instant::now();
        match transaction(&self.conn, tables, &self.metrics, |batch| job.run(batch)) {
            Ok(rows) => {
                self.metrics.committed(rows, started.elapsed());
                job.answer(Ok(()));
            }
            Err(e) => {
                self.metrics.commit_failed();
                let error = unavailable(&e);
                tracing::error!(%error, "a request failed");
                job.answer(Err(error));
            }
        }
    }
}

/// Runs `work` in a transaction; afterwards there is none, whatever happened. Answers the number of rows.
fn transaction(
    conn: &Connection,
    tables: &Tables,
    metrics: &Metrics,
    work: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<usize> {
    let mut batch = Batch::new(conn, tables, metrics);
    let result = conn
        .prepare_cached("BEGIN IMMEDIATE")
        .and_then(|mut begin| begin.execute([]))
        .and_then(|_| {
            work(&mut batch)?;
            batch.finish().map_err(|e| match e {
                Failure::Engine(e) => e,
                Failure::Request(e) => rusqlite::Error::ToSqlConversionFailure(Box::new(e)),
            })?;
            conn.prepare_cached("COMMIT")?.execute([])
        });
    if result.is_err()
        && !conn.is_autocommit()
        && let Err(e) = conn.execute_batch("ROLLBACK")
    {
        tracing::error!(error = %e, "a transaction could not be rolled back");
    }
    result.map(|_| batch.rows())
}
