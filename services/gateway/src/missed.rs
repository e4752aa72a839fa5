//! Deliveries that this gateway has missed: push counts them in the store when the gateway does not answer in time, and once
//! before it forgets a gateway that is not registered and does not answer; from then on it may look past everybody here.
//!
//! The count is read at the pace of presence renewals, and at once after the process was stopped for a while. When it rose, every
//! connection is ended, in groups: clients reconnect and synchronise by seq. The same when there is none: what was missed until
//! it is made was counted nowhere. So the counts of gateways that were killed may be deleted by anybody, without knowing whether
//! they are dead or only stand still; each gateway looks for some every hour.

use std::sync::Arc;
use std::time::Duration;

use magpie_store::{Change, Documents as _, Outcome, Page, documents::Missed, key, store::Result};
use magpie_types::time::now_ms;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::hub::Hub;
use crate::server::{DRAIN_GROUP, DRAIN_PAUSE};

/// How often a gateway notes that it is there.
const NOTE_INTERVAL: Duration = Duration::from_secs(3600);
/// How long the count of one that was not seen stays.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Counts that are deleted at a time.
const FORGOTTEN: usize = 1000;

/// Makes the count, before there is a connection that could miss something. `None`: the process stops.
pub(crate) async fn begin(hub: &Hub) -> Option<i64> {
    loop {
        match look(hub, 0).await {
            Ok((count, _)) => return Some(count),
            Err(e) => {
                tracing::warn!(error = %e, "waiting for the store before the first connection")
            }
        }
        tokio::select! {
            () = sleep(hub.config.presence_renewal()) => {}
            () = hub.deps.shutdown.cancelled() => return None,
        }
    }
}

/// Looks until the process stops.
pub(crate) async fn follow(hub: Arc<Hub>, mut known: i64) {
    // Whether push may look past those who connect now.
    let mut hidden = false;
    let mut times = interval(hub.config.presence_renewal());
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = times.tick() => {}
            () = hub.deps.shutdown.cancelled() => return,
        }
        match look(&hub, known).await {
            Ok((count, missed)) => {
                known = count;
                if !missed && !hidden {
                    continue;
                }
                // From its end on push finds everybody by presence, so all who may have missed something have come before.
                let renewed = hub.deps.presence.renew(&hub.id).await;
                hidden = renewed.is_err();
                if missed || !hidden {
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

/// The count, and whether deliveries may have been missed since it was `known`.
async fn look(hub: &Hub, known: i64) -> Result<(i64, bool)> {
    let store = &hub.deps.store;
    let now = now_ms();
    let found: Option<Missed> = store.find(key![&*hub.id]).await?;
    let Some(found) = found else {
        let first = Missed {
            gateway_id: hub.id.to_string(),
            count: 0,
            rev: 0,
            seen_at: now,
        };
        return Ok((0, store.add(first).await? == Outcome::Inserted));
    };
    if now - found.seen_at >= millis(NOTE_INTERVAL) {
        let seen = vec![Change::Max(Missed::seen_at, now)];
        store.change::<Missed>(key![&*hub.id], seen).await?;
        forget_dead(hub, now - millis(KEPT)).await?;
    }
    Ok((found.count, known < found.count))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Deletes the counts of gateways that were last seen before this time.
async fn forget_dead(hub: &Hub, before: i64) -> Result<()> {
    let page = Page::of("by_seen", Vec::new(), FORGOTTEN).between(0, before);
    let dead: Vec<Missed> = hub.deps.store.list(page).await?;
    let keys: Vec<_> = dead.into_iter().map(|gone| key![gone.gateway_id]).collect();
    if !keys.is_empty() {
        let count = hub.deps.store.remove::<Missed>(keys).await?;
        tracing::info!(count, "forgot gateways that were not seen for a day");
    }
    Ok(())
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
