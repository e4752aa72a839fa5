//! What gateways have missed, as they learn of it: each has a count in the store, which it reads at every renewal of its presence;
//! when it rose, the gateway ends its connections, which then synchronise.
//!
//! Push may look past a gateway that it does not know: one whose entries in presence do not count and that is not registered. So a
//! count is raised before that can happen: when a gateway is about to be forgotten that has not left, for it may only stand still;
//! and, for all that others have forgotten, when push starts.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use magpie_discovery::{Farewell, SharedRegistry, name};
use magpie_service::Deps;
use magpie_store::{
    Change, Documents as _, Page, SharedStore,
    documents::Missed,
    key,
    store::{MAX_PAGE, Result},
};
use tokio_util::sync::CancellationToken;

use crate::Config;

/// How much later than its count the registration of a gateway that has just started may be seen.
const LATE: Duration = Duration::from_secs(1);

/// The process stops; what is under way will be done again from the log.
pub(crate) struct Stopped;

/// See the module.
#[derive(Clone)]
pub(crate) struct Counts {
    store: SharedStore,
    shutdown: CancellationToken,
    pause: Duration,
}

impl Counts {
    pub(crate) fn new(deps: &Deps, config: &Config) -> Self {
        Self {
            store: Arc::clone(&deps.store),
            shutdown: deps.shutdown.clone(),
            pause: Duration::from_millis(config.backoff_ms),
        }
    }

    /// Raises a gateway's count; tries until the store has it.
    pub(crate) async fn raise(&self, gateway: &str) -> Result<(), Stopped> {
        loop {
            match raise(&self.store, gateway).await {
                Ok(()) => return Ok(()),
                Err(e) => {
                    tracing::warn!(%gateway, error = %e, "the store can't be told of what a gateway missed")
                }
            }
            self.sleep(self.pause).await?;
        }
    }

    /// From now on the count of a gateway is raised before the registry forgets it.
    pub(crate) fn guard(&self, registry: &SharedRegistry) {
        let counts = self.clone();
        let farewell = move |gateway: String| -> BoxFuture<'static, ()> {
            let counts = counts.clone();
            Box::pin(async move {
                tracing::warn!(%gateway, "a gateway is forgotten; if it only stood still, it ends its connections");
                if counts.raise(&gateway).await.is_err() {
                    // Nobody may look past it in what is left of this process.
                    std::future::pending::<()>().await;
                }
            })
        };
        let farewell: Farewell = Arc::new(farewell);
        registry.before_forgetting(name::GATEWAY, farewell);
    }

    /// Raises the counts of all gateways that are not registered: nobody else may have been there when they were forgotten.
    pub(crate) async fn begin(&self, registry: &SharedRegistry) -> Result<(), Stopped> {
        registry.was_read().await;
        let mut unknown = loop {
            match all(&self.store).await {
                Ok(all) => break all,
                Err(e) => {
                    tracing::warn!(error = %e, "push waits for the counts of missed deliveries")
                }
            }
            self.sleep(self.pause).await?;
        };
        retain_unknown(&mut unknown, registry);
        if unknown.is_empty() {
            return Ok(());
        }
        self.sleep(LATE).await?;
        retain_unknown(&mut unknown, registry);
        for gateway in &unknown {
            self.raise(gateway).await?;
        }
        Ok(())
    }

    async fn sleep(&self, pause: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = self.shutdown.cancelled() => Err(Stopped),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}

fn retain_unknown(gateways: &mut Vec<String>, registry: &SharedRegistry) {
    let known = registry.instances(name::GATEWAY).into_iter();
    let known: HashSet<String> = known.map(|(id, _)| id).collect();
    gateways.retain(|gateway| !known.contains(gateway));
}

/// A gateway without a count has left, or its connections end as soon as it makes one.
async fn raise(store: &SharedStore, gateway: &str) -> Result<()> {
    let up = vec![Change::Inc(Missed::count, 1)];
    store.change::<Missed>(key![gateway], up).await.map(drop)
}

/// The gateways with a count: those that are there, and those that died within a day. There are never more instances than fit.
async fn all(store: &SharedStore) -> Result<Vec<String>> {
    let page = Page::of("by_seen", Vec::new(), MAX_PAGE).descending();
    let all: Vec<Missed> = store.list(page).await?;
    Ok(all.into_iter().map(|found| found.gateway_id).collect())
}
