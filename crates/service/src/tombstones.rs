//! Traces of deleted documents. A deleted document that others may still be about to write stays for a day with its revision,
//! so that a late follow-up of an earlier change finds that it was overtaken; then it goes. So do notes that are kept for a day.

use std::{sync::Arc, time::Duration};

use magpie_store::{Document, Documents as _, Intends, Key, Store, store::Page};
use magpie_types::{Result, time::now_ms};
use tokio::time::MissedTickBehavior;

use crate::Deps;

/// How long a trace stays: longer than the follow-up of any change takes.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// Time between two sweeps; the first is at the start.
const INTERVAL: Duration = Duration::from_secs(3600);
/// Traces removed in one step.
const BATCH: usize = 500;

/// Removes old traces until shutdown. `index` is one over the time of deletion alone, in ms, 0 while the document is there; `gone`
/// answers the key and the revision of a trace that may go.
pub fn spawn_sweeper<D: Document>(
    deps: &Deps,
    index: &'static str,
    gone: fn(&D) -> Option<(Key, i64)>,
) {
    let (store, shutdown) = (Arc::clone(&deps.store), deps.shutdown.clone());
    deps.tasks.spawn(async move {
        let mut sweeps = tokio::time::interval(INTERVAL);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(sweeps.tick()).await.is_some() {
            let life = i64::try_from(LIFE.as_millis()).unwrap_or(i64::MAX);
            let sweep = sweep(store.as_ref(), index, gone, now_ms() - life);
            match shutdown.run_until_cancelled(sweep).await {
                Some(Err(e)) => tracing::warn!(
                    collection = D::SCHEMA.collection,
                    error = e.report(),
                    "traces of deleted documents can't be removed"
                ),
                Some(Ok(())) => {}
                None => return,
            }
        }
    });
}

/// The trace of a document whose changes are followed up: what still has an intent waits for the next sweep.
pub fn done<D: Intends>(trace: &D) -> Option<(Key, i64)> {
    let done = trace.pending().is_empty();
    done.then(|| (trace.key(), trace.rev()))
}

/// Removes what was deleted before; what was written meanwhile stays.
async fn sweep<D: Document>(
    store: &dyn Store,
    index: &'static str,
    gone: fn(&D) -> Option<(Key, i64)>,
    before: i64,
) -> Result<()> {
    let mut page = Page::of(index, Vec::new(), BATCH).between(1, before);
    loop {
        let rows = store.page(D::SCHEMA, page.clone()).await?;
        let last = rows.len() < BATCH;
        if let Some(row) = rows.last() {
            page = page.after_row(D::SCHEMA, row);
        }
        for row in rows {
            if let Some((key, revision)) = gone(&D::from_row(row)?) {
                store.remove_at::<D>(key, revision).await?;
            }
        }
        if last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use magpie_store::{Follow, documents::SendState, key};

    use super::*;

    fn gone(state: &SendState) -> Option<(Key, i64)> {
        let id = state.operation_id.as_str();
        (state.status != 1).then(|| (key![id], state.noted_at))
    }

    #[tokio::test]
    async fn what_is_old_and_may_go_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            magpie_store_sqlite::SqliteStore::open(folder.path().join("store"), Default::default())
                .unwrap();
        store.prepare(&[SendState::SCHEMA]).await.unwrap();
        let many = (0..2 * BATCH).map(|n| (format!("old{n}"), 2, 5));
        let others = [("busy", 1, 5), ("new", 2, 11), ("there", 2, 0)];
        let others = others.map(|(id, status, at)| (id.to_owned(), status, at));
        let add = |(operation_id, status, noted_at)| Follow::InsertIfAbsent {
            schema: SendState::SCHEMA,
            row: SendState {
                operation_id,
                status,
                noted_at,
            }
            .into_row(),
        };
        store
            .apply(many.chain(others).map(add).collect())
            .await
            .unwrap();
        sweep(store.as_ref(), "by_time", gone, 10).await.unwrap();
        let left: Vec<SendState> = store.list(Page::of("key", Vec::new(), 10)).await.unwrap();
        let left: Vec<_> = left
            .iter()
            .map(|state| state.operation_id.as_str())
            .collect();
        assert_eq!(left, ["busy", "new", "there"]);
    }
}
