//! The loop: take a batch, apply it, publish, commit. While store or log are away it waits and tries the same batch again.

use std::{future::Future, time::Duration};

use futures::FutureExt as _;
use magpie_log::{Batch, BatchLimits, LogError, Topic};
use magpie_service::Deps;
use magpie_types::time::now_ms;
use prost::Message as _;

use crate::{
    Config,
    batch::{self, Done},
    membership::Versions,
    tails::Tails,
};

/// The consumer group of all transfer instances.
pub const GROUP: &str = "transfer";

pub(crate) struct Worker {
    deps: Deps,
    config: Config,
    tails: Tails,
    versions: Versions,
}

impl Worker {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        let tails = Tails::new(config.tail_entries);
        let versions = Versions::new(
            config.tail_entries,
            Duration::from_millis(config.version_ttl_ms),
        );
        Self {
            deps,
            config,
            tails,
            versions,
        }
    }

    pub(crate) async fn run(self) {
        let shutdown = self.deps.shutdown.clone();
        let limits = BatchLimits {
            records: self.config.batch_records,
            bytes: self.config.batch_bytes,
        };
        let subscribe = || self.deps.log.subscribe(Topic::Inbound, GROUP, limits);
        let Some(mut consumer) = self.retry("subscribe", subscribe).await else {
            return;
        };
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                batch = consumer.next() => batch,
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(e) => {
                    tracing::error!(error = %e, "the inbound log can't be read");
                    tokio::time::sleep(Duration::from_millis(self.config.max_backoff_ms)).await;
                    continue;
                }
            };
            let positions = batch.last_positions();
            // Once begun, a batch is finished: the shutdown waits for it.
            let Some(done) = self.retry("store a batch", || self.apply(&batch)).await else {
                return;
            };
            if self
                .retry("publish a batch", || self.publish(&done))
                .await
                .is_none()
            {
                return;
            }
            if let Err(e) = consumer.commit(&positions).await {
                tracing::warn!(error = %e, "offsets can't be committed; the batch will be replayed");
            }
        }
    }

    async fn apply(&self, batch: &Batch) -> Result<Done, magpie_store::StoreError> {
        let mut done = Done::default();
        let oldest = now_ms() - self.config.drop_after_ms;
        let ages: std::collections::HashMap<_, _> = batch
            .records
            .iter()
            .map(|r| (r.position, r.appended_at))
            .collect();
        let mut runs = batch::runs(batch.records.clone(), &mut done)?;
        for run in &mut runs {
            let before = run.len();
            run.retain(|item| {
                !(item.record.droppable && ages.get(&item.position).is_some_and(|at| *at < oldest))
            });
            metrics::counter!("magpie_transfer_dropped_total")
                .increment((before - run.len()) as u64);
        }
        let (store, at_once) = (&self.deps.store, self.config.store_calls.max(1));
        let known = (&self.tails, &self.versions);
        batch::apply(store, known, runs, at_once, &mut done).await?;
        // Before anything of it is published.
        let new_chats = std::mem::take(&mut done.new_chats);
        new_chats.enter(store, at_once).await?;
        metrics::counter!("magpie_transfer_resends_total").increment(done.resends);
        metrics::counter!("magpie_transfer_replays_total").increment(done.replays);
        metrics::histogram!("magpie_transfer_batch_records").record(batch.records.len() as f64);
        Ok(done)
    }

    /// Appends in order. A refused record ends it before later ones get a place in front of it; the retry repeats what had
    /// its place already, and push drops the repeats.
    async fn publish(&self, done: &Done) -> Result<(), LogError> {
        let mut under_way = Vec::new();
        for p in &done.publish {
            let value = p.stored.encode_to_vec().into();
            let mut append = self.deps.log.append(Topic::Stored, &p.key, value);
            match (&mut append).now_or_never() {
                Some(Ok(_)) => {}
                Some(Err(e @ LogError::TooLarge { .. })) => {
                    let what = format!("{} seq {}", p.stored.conversation_id, p.stored.seq);
                    self.park(&what, &e.to_string()).await?;
                }
                Some(Err(e)) => return Err(e),
                None => under_way.push(append),
            }
        }
        for append in under_way {
            append.await?;
        }
        for (position, reason) in &done.parked {
            self.park(&format!("{position:?}"), reason).await?;
        }
        Ok(())
    }

    async fn park(&self, what: &str, reason: &str) -> Result<(), LogError> {
        tracing::error!(
            record = what,
            reason,
            "a record can never go on; it is parked"
        );
        metrics::counter!("magpie_transfer_parked_total").increment(1);
        let note = format!("{what}: {reason}").into_bytes();
        let parked = self
            .deps
            .log
            .append(Topic::Parked, b"transfer", note.into());
        parked.await.map(drop)
    }

    /// Tries until it works, with growing pauses; `None` when the process stops meanwhile.
    async fn retry<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Option<T> {
        let mut pause = 10;
        loop {
            match attempt().await {
                Ok(value) => return Some(value),
                Err(e) => {
                    tracing::warn!(error = %e, "can't {what} now; trying again in {pause} ms")
                }
            }
            metrics::counter!("magpie_transfer_retries_total").increment(1);
            tokio::select! {
                () = self.deps.shutdown.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_millis(pause)) => {}
            }
            pause = (pause * 2).min(self.config.max_backoff_ms);
        }
    }
}
