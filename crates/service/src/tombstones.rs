//! Traces of deleted documents. A deleted document that others may still be about to write stays for a day with its revision,
//! so that a late follow-up of an earlier change finds that it was overtaken; then it goes. So do notes that are kept for a day.

use std::{sync::Arc, time::Duration};

use magpie_store::{Document, Documents as _, Intends, Key, SharedStore, store::Page};
use magpie_types::{Result, time::now_ms};
use tokio::time::MissedTickBehavior;

use crate::Deps;

/// How long a trace stays: longer than the follow-up of any change takes.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Time between two sweeps; the first is at the start.
const INTERVAL: Duration = Duration::from_secs(3600);
/// Traces removed in one step.
const BATCH: usize = 500;

/// Removes old traces until shutdown. `index` is one over the time of deletion alone, in ms, 0 while the document is there.
pub fn spawn_sweeper<D: Intends>(deps: &Deps, index: &'static str) {
    spawn::<D, _>(deps, move |store, before| sweep::<D>(store, index, before));
}

/// Removes documents a day after the time in `index`, which is over that time alone, in ms, until shutdown.
pub fn spawn_expiry<D: Document>(deps: &Deps, index: &'static str, key: fn(&D) -> Key) {
    spawn::<D, _>(deps, move |store, before| expire(store, index, key, before));
}

fn spawn<D: Document, F: Future<Output = Result<()>> + Send>(
    deps: &Deps,
    step: impl Fn(SharedStore, i64) -> F + Send + 'static,
) {
    let (store, shutdown) = (Arc::clone(&deps.store), deps.shutdown.clone());
    deps.tasks.spawn(async move {
        let mut sweeps = tokio::time::interval(INTERVAL);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(sweeps.tick()).await.is_some() {
            let life = i64::try_from(LIFE.as_millis()).unwrap_or(i64::MAX);
            let sweep = step(Arc::clone(&store), now_ms() - life);
            match shutdown.run_until_cancelled(sweep).await {
                Some(Err(e)) => tracing::warn!(
                    collection = D::SCHEMA.collection,
                    error = e.report(),
                    "old documents can't be removed"
                ),
                Some(Ok(())) => {}
                None => return,
            }
        }
    });
}

async fn expire<D: Document>(
    store: SharedStore,
    index: &'static str,
    key: fn(&D) -> Key,
    before: i64,
) -> Result<()> {
    loop {
        let old = Page::of(index, Vec::new(), BATCH).between(0, before);
        let old: Vec<D> = store.list(old).await?;
        if old.is_empty() {
            return Ok(());
        }
        store.remove::<D>(old.iter().map(key).collect()).await?;
    }
}

/// Removes what was deleted before; what still has an intent, or was written meanwhile, waits for the next sweep.
async fn sweep<D: Intends>(store: SharedStore, index: &'static str, before: i64) -> Result<()> {
    let mut page = Page::of(index, Vec::new(), BATCH).between(1, before);
    loop {
        let rows = store.page(D::SCHEMA, page.clone()).await?;
        let last = rows.len() < BATCH;
        if let Some(row) = rows.last() {
            page = page.after_row(D::SCHEMA, row);
        }
        for row in rows {
            let trace = D::from_row(row)?;
            if trace.pending().is_empty() {
                store.remove_at::<D>(trace.key(), trace.rev()).await?;
            }
        }
        if last {
            return Ok(());
        }
    }
}
