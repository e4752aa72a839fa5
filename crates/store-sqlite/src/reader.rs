//! The reader threads: a bounded queue of reads, each thread with its own connection.
//!
//! A hot point read takes some ten microseconds, but a cold one waits for the disk, and that must not stop the threads
//! that serve connections.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use magpie_store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::Failure;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The queue's entrance.
pub(crate) struct Readers {
    queue: mpsc::Sender<Read>,
}

impl Readers {
    /// Starts one thread per connection; they end when the entrance is dropped.
    pub(crate) fn start(
        conns: Vec<Connection>,
        queue: usize,
    ) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (sender, receiver) = mpsc::channel(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        let start = |(i, conn)| {
            let queue = Arc::clone(&receiver);
            thread::Builder::new()
                .name(format!("store-reader-{i}"))
                .spawn(move || serve(&conn, &queue))
        };
        let threads = conns
            .into_iter()
            .enumerate()
            .map(start)
            .collect::<Result<_, _>>()?;
        Ok((Self { queue: sender }, threads))
    }

    /// Runs a query and waits for its answer.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |conn| {
            if !reply.is_closed()
                && reply
                    .send(query(conn).map_err(Failure::into_store_error))
                    .is_err()
            {
                tracing::trace!("the caller of a read did not wait for its answer");
            }
        });
        let stopped = |_| StoreError::Unavailable("the store is closed".to_owned());
        self.queue.send(read).await.map_err(|_closed| stopped(()))?;
        answer.await.map_err(|_closed| stopped(()))?
    }
}

fn serve(conn: &Connection, queue: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        let next = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        match next {
            Some(read) => read(conn),
            None => return,
        }
    }
}
