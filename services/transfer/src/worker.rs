//! The loop: take a batch, apply it, publish, commit. While store or log are away it waits and tries the same batch again.

use std::{future::Future, time::Duration};

use magpie_log::{Batch, BatchLimits, Topic};
use magpie_service::Deps;
use magpie_types::time::now_ms;
use prost::Message as _;

use crate::{
    Config,
    batch::{self, Done},
    tails::Tails,
};

/// The consumer group of all transfer instances.
const GROUP: &str = "transfer";

pub(crate) struct Worker {
    deps: Deps,
    config: Config,
    tails: Tails,
}

impl Worker {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        let tails = Tails::new(config.tail_entries);
        Self {
            deps,
            config,
            tails,
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
        let mut runs = batch::runs(batch.records.clone(), &mut done);
        for run in &mut runs {
            let before = run.len();
            run.retain(|item| {
                !(item.record.droppable && ages.get(&item.position).is_some_and(|at| *at < oldest))
            });
            metrics::counter!("magpie_transfer_dropped_total")
                .increment((before - run.len()) as u64);
        }
        batch::apply(&self.deps.store, &self.tails, runs, &mut done).await?;
        metrics::counter!("magpie_transfer_resends_total").increment(done.resends);
        metrics::counter!("magpie_transfer_replays_total").increment(done.replays);
        metrics::histogram!("magpie_transfer_batch_records").record(batch.records.len() as f64);
        Ok(done)
    }

    async fn publish(&self, done: &Done) -> Result<(), magpie_log::LogError> {
        let appends: Vec<_> = done
            .publish
            .iter()
            .map(|p| {
                self.deps
                    .log
                    .append(Topic::Stored, &p.key, p.stored.encode_to_vec().into())
            })
            .collect();
        for append in appends {
            append.await?;
        }
        for (position, reason) in &done.parked {
            tracing::error!(
                ?position,
                reason,
                "a record can never be stored; it is parked"
            );
            metrics::counter!("magpie_transfer_parked_total").increment(1);
            let note = format!("{position:?}: {reason}").into_bytes();
            self.deps
                .log
                .append(Topic::Parked, b"transfer", note.into())
                .await?;
        }
        Ok(())
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
