//! Deliveries that this gateway has missed: push counts them in the store when the gateway does not answer in time.
//!
//! The count is read at the pace of presence renewals, and at once after the process was stopped for a while. When it rose, every
//! connection is ended, in groups: clients reconnect and synchronise by seq.

use std::sync::Arc;

use magpie_store::{Documents as _, documents::Missed, key, store::Result};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::hub::Hub;
use crate::server::{DRAIN_GROUP, DRAIN_PAUSE};

/// Looks until the process stops.
pub(crate) async fn follow(hub: Arc<Hub>) {
    let mut times = interval(hub.config.presence_renewal());
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    loop {
        tokio::select! {
            _ = times.tick() => {}
            () = hub.deps.shutdown.cancelled() => return,
        }
        match count(&hub).await {
            Ok(now) => {
                if known.replace(now).is_some_and(|before| before < now) {
                    tracing::warn!(
                        "deliveries were missed; all connections are ended to synchronise"
                    );
                    resync(&hub).await;
                }
            }
            Err(e) => tracing::warn!(error = %e, "missed deliveries can't be read"),
        }
    }
}

async fn count(hub: &Hub) -> Result<i64> {
    let found: Option<Missed> = hub.deps.store.find(key![&*hub.id]).await?;
    Ok(found.map_or(0, |missed| missed.count))
}

async fn resync(hub: &Hub) {
    for group in hub.registry.all().chunks(DRAIN_GROUP) {
        group.iter().for_each(|conn| conn.drain());
        sleep(DRAIN_PAUSE).await;
    }
}

/// Nobody will read the count any more.
pub(crate) async fn forget(hub: &Hub) {
    if let Err(e) = hub.deps.store.remove::<Missed>(vec![key![&*hub.id]]).await {
        tracing::debug!(error = %e, "the count of missed deliveries stays");
    }
}
