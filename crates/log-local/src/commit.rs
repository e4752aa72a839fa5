//! The thread that makes deferred topics and committed offsets durable, in this order: capture the offsets, sync the
//! deferred topics, store what was captured. It also watches backlogs and deletes old segments.

use std::{
    io,
    sync::{
        Arc, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    offsets::{Committed, Offsets},
    topic::TopicLog,
};

/// Between two looks for segments to delete.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);

/// The running thread.
pub(crate) struct Committer {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Offsets>,
}

impl Committer {
    pub(crate) fn start(
        topics: [Arc<TopicLog>; 4],
        offsets: Offsets,
        interval: Duration,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let work = Work {
            topics,
            offsets,
            stored: Vec::new(),
            failing: false,
        };
        let thread = thread::Builder::new()
            .name("log-commit".to_owned())
            .spawn(move || work.run(interval, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread; None if it panicked.
    pub(crate) fn stop(self) -> Option<Offsets> {
        drop(self.stop);
        self.thread.join().ok()
    }
}

struct Work {
    topics: [Arc<TopicLog>; 4],
    offsets: Offsets,
    stored: Vec<Committed>,
    failing: bool,
}

impl Work {
    fn run(mut self, interval: Duration, stopped: &mpsc::Receiver<()>) -> Offsets {
        let mut expired = Instant::now();
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            let failed = self.cycle().err();
            if let Some(error) = &failed
                && !self.failing
            {
                tracing::error!(%error, "can't make committed offsets durable");
            }
            self.failing = failed.is_some();
            for log in &self.topics {
                log.watch_backlogs();
            }
            if expired.elapsed() >= EXPIRE_INTERVAL {
                expired = Instant::now();
                for log in &self.topics {
                    if let Err(error) = log.expire() {
                        tracing::warn!(topic = log.topic.name(), %error, "can't delete an old segment");
                    }
                }
            }
        }
        self.offsets
    }

    fn cycle(&mut self) -> io::Result<()> {
        let committed: Vec<Committed> =
            self.topics.iter().flat_map(|log| log.committed()).collect();
        let deferred = || self.topics.iter().filter(|log| !log.synced_topic());
        let targets: Vec<_> = deferred().map(|log| (log, log.request_sync())).collect();
        for (log, target) in targets {
            log.await_sync(target)?;
        }
        if committed != self.stored {
            self.offsets.store(&committed)?;
            self.stored = committed;
        }
        Ok(())
    }
}

/// Up to where a sync was asked for, and how many had failed before.
#[derive(Clone, Copy)]
pub(crate) struct SyncTarget {
    address: u64,
    failures: u64,
}

impl TopicLog {
    /// Asks the writer of a deferred topic to sync all that was appended.
    pub(crate) fn request_sync(&self) -> SyncTarget {
        let mut state = self.lock();
        let target = SyncTarget {
            address: state.visible,
            failures: state.failures,
        };
        if state.synced < target.address {
            state.sync_to = target.address;
            self.work.notify_one();
        }
        target
    }

    /// Waits until the writer has synced or failed to.
    pub(crate) fn await_sync(&self, target: SyncTarget) -> io::Result<()> {
        let mut state = self.lock();
        while state.synced < target.address {
            if state.failures != target.failures || state.writer_gone {
                let why = state
                    .last_error
                    .as_ref()
                    .map_or_else(|| "closed".to_owned(), ToString::to_string);
                return Err(io::Error::other(why));
            }
            state = self
                .progress
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}
