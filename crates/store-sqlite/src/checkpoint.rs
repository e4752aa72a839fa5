//! Copies the write-ahead log into the database, beside the commits.
//!
//! A thread with its own connection does the bulk when the log passes the soft limit. It can't catch up with a busy
//! writer, so it then asks the writer to copy the short rest between two transactions; the log starts over and its file
//! stops growing. Above the hard limit the writer waits for its turn and does all of it itself. When nothing was written for
//! a while the log is emptied and cut.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};

use crate::{Options, metrics::Metrics};

/// What writer and checkpoint thread know of the write-ahead log.
pub(crate) struct Wal {
    frame_bytes: u64,
    soft_limit: u64,
    hard_limit: u64,
    /// Frames in the log after the last commit.
    frames: AtomicU64,
    /// The writer should copy the rest.
    finish: AtomicBool,
    /// Whose turn it is: SQLite refuses a second checkpoint beside one, however long the caller would wait.
    turn: Mutex<()>,
    wake: Mutex<Wake>,
    changed: Condvar,
}

#[derive(Default)]
struct Wake {
    copy: bool,
    stop: bool,
}

impl Wal {
    pub(crate) fn new(options: &Options, page_size: u64) -> Self {
        Self {
            frame_bytes: page_size + 24,
            soft_limit: options.wal_soft_limit,
            hard_limit: options.wal_hard_limit,
            frames: AtomicU64::new(0),
            finish: AtomicBool::new(false),
            turn: Mutex::default(),
            wake: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Reports the log's length after each commit of this connection.
    pub(crate) fn watch(self: &Arc<Self>, conn: &mut Connection) -> rusqlite::Result<()> {
        let wal = Arc::clone(self);
        conn.wal_hook(Some(
            move |_: &mut rusqlite::hooks::Wal, frames: std::ffi::c_int| {
                wal.frames
                    .store(u64::try_from(frames).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            },
        ))
    }

    fn bytes(&self) -> u64 {
        self.frames.load(Ordering::Relaxed) * self.frame_bytes
    }

    /// The writer's share, before a transaction.
    pub(crate) fn make_room(&self, conn: &Connection, metrics: &Metrics) {
        let too_long = self.bytes() > self.hard_limit;
        if !self.finish.swap(false, Ordering::Relaxed) && !too_long {
            return;
        }
        // Below the hard limit nothing has to be done now: the checkpoint under way asks for the rest when it ends.
        let turn = if too_long {
            Some(self.turn())
        } else {
            self.turn.try_lock().ok()
        };
        let Some(_turn) = turn else { return };
        match checkpoint(conn, "RESTART") {
            Ok(state) if state.complete() => {
                self.frames.store(0, Ordering::Relaxed);
                metrics.wal(0);
            }
            Ok(_) => tracing::debug!("readers keep the write-ahead log"),
            Err(e) => tracing::warn!(error = %e, "the write-ahead log could not be copied"),
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the checkpoint thread when the log is long enough.
    pub(crate) fn after_commit(&self, metrics: &Metrics) {
        let bytes = self.bytes();
        metrics.wal(bytes);
        if bytes > self.soft_limit {
            self.signal(|wake| wake.copy = true);
        }
    }

    /// Ends the checkpoint thread.
    pub(crate) fn stop(&self) {
        self.signal(|wake| wake.stop = true);
    }

    fn signal(&self, set: impl FnOnce(&mut Wake)) {
        set(&mut self.wake.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// The checkpoint thread.
    pub(crate) fn run(&self, conn: &Connection, idle: Duration) {
        let mut seen = 0;
        loop {
            let guard = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut guard, timeout) = self
                .changed
                .wait_timeout_while(guard, idle, |wake| !wake.copy && !wake.stop)
                .unwrap_or_else(PoisonError::into_inner);
            if guard.stop {
                return;
            }
            guard.copy = false;
            drop(guard);
            if timeout.timed_out() {
                let frames = self.frames.load(Ordering::Relaxed);
                if frames > 0 && frames == seen {
                    self.cut(conn);
                }
                seen = self.frames.load(Ordering::Relaxed);
            } else {
                self.copy(conn);
            }
        }
    }

    fn copy(&self, conn: &Connection) {
        let _turn = self.turn();
        match checkpoint(conn, "PASSIVE") {
            Ok(_) => self.finish.store(true, Ordering::Relaxed),
            Err(e) => tracing::warn!(error = %e, "the write-ahead log could not be copied"),
        }
    }

    fn cut(&self, conn: &Connection) {
        let _turn = self.turn();
        match checkpoint(conn, "TRUNCATE") {
            Ok(state) if state.complete() => self.frames.store(0, Ordering::Relaxed),
            Ok(_) => {}
            Err(e) => tracing::warn!(error = %e, "the write-ahead log could not be cut"),
        }
    }
}

struct State {
    busy: bool,
    frames: i64,
    copied: i64,
}

impl State {
    fn complete(&self) -> bool {
        !self.busy && self.frames == self.copied
    }
}

/// Syncs what a killed process had written and not synced, which looks like any commit: nothing should build on it before. A
/// checkpoint syncs before it copies, so whether there is room to copy is left to later.
pub(crate) fn settle(conn: &Connection) -> rusqlite::Result<()> {
    match checkpoint(conn, "PASSIVE") {
        Ok(state) if state.complete() => Ok(()),
        Ok(_) => {
            tracing::warn!("another program is at the write-ahead log: it may not be on disk yet");
            Ok(())
        }
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!(error = %e, "the write-ahead log can't be copied");
            Ok(())
        }
        Err(e) => Err(e),
    }
}

fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<State> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(State {
            busy: row.get::<_, i64>(0)? != 0,
            frames: row.get(1)?,
            copied: row.get(2)?,
        })
    })
}
