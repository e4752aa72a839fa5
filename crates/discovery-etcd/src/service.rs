//! One service: its instances as they are known now, and what all calls to it share.

use std::sync::{Arc, OnceLock};

use magpie_discovery::Farewell;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError, watch};
use tonic::Status;
use tower::retry::budget::{Budget as _, TpsBudget};

use crate::{Calls, Hook, endpoint::Endpoint};

/// Repeats per second that are allowed however few calls there are.
const MIN_RETRIES: u32 = 10;

pub(crate) struct Service {
    name: String,
    members: watch::Sender<Arc<[Arc<Endpoint>]>>,
    slots: Semaphore,
    budget: TpsBudget,
    farewell: OnceLock<Farewell>,
    pub(crate) limits: Arc<Calls>,
    pub(crate) hook: Hook,
}

impl Service {
    pub(crate) fn new(name: &str, limits: Arc<Calls>, hook: Hook) -> Self {
        Self {
            name: name.to_owned(),
            members: watch::Sender::new(Arc::new([])),
            slots: Semaphore::new(limits.max_outstanding.min(Semaphore::MAX_PERMITS)),
            budget: TpsBudget::new(
                std::time::Duration::from_secs(10),
                MIN_RETRIES,
                limits.retry_share.clamp(0.0, 1.0),
            ),
            farewell: OnceLock::new(),
            limits,
            hook,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn members(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.members.borrow())
    }

    pub(crate) fn set_members(&self, members: Arc<[Arc<Endpoint>]>) {
        self.members.send_replace(members);
    }

    /// What comes before an instance that has not left is forgotten; the first one counts.
    pub(crate) fn set_farewell(&self, farewell: Farewell) {
        self.farewell.get_or_init(|| farewell);
    }

    pub(crate) fn farewell(&self) -> Option<Farewell> {
        self.farewell.get().cloned()
    }

    /// Waits for the first instance.
    pub(crate) async fn populated(&self) {
        let mut members = self.members.subscribe();
        // The sender is borrowed from `self`, so the wait can't fail.
        let _some = members.wait_for(|m| !m.is_empty()).await;
    }

    /// Room for one more call, or a refusal at once.
    pub(crate) fn admit(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.slots.try_acquire().map_err(|full: TryAcquireError| {
            metrics::counter!("magpie_rpc_shed_total", "service" => self.name.clone()).increment(1);
            tracing::debug!(service = self.name, %full, "a call is refused");
            Status::resource_exhausted(format!(
                "{} calls to {} are under way, which is the limit",
                self.limits.max_outstanding, self.name
            ))
        })
    }

    /// Counts a call, which earns a share of a repeat.
    pub(crate) fn earn(&self) {
        self.budget.deposit();
    }

    /// Whether the budget has a repeat left.
    pub(crate) fn spend(&self) -> bool {
        self.budget.withdraw()
    }
}
