//! What a service is given to work with: the engines, the way to other services, tasks and the shutdown signal.

use magpie_discovery::{Channel, SharedRegistry};
use magpie_log::SharedLog;
use magpie_presence::SharedPresence;
use magpie_store::SharedStore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Cheap to clone; only the binary knows which engines these are.
#[derive(Clone)]
pub struct Deps {
    /// Documents.
    pub store: SharedStore,
    /// Message log.
    pub log: SharedLog,
    /// Presence.
    pub presence: SharedPresence,
    /// Other services.
    pub registry: SharedRegistry,
    /// Every task of the process is spawned here, so that shutdown can wait for it.
    pub tasks: TaskTracker,
    /// Cancelled when the process stops; each task decides what it finishes first.
    pub shutdown: CancellationToken,
    /// Changes of documents that caches hold; `store` is wrapped in [`crate::invalidation::Observed`] with the same one.
    pub invalidations: std::sync::Arc<crate::invalidation::Invalidations>,
    /// Users who are application administrators.
    pub admins: std::sync::Arc<[String]>,
}

impl Deps {
    /// A channel to a service, for a generated client.
    pub fn channel(&self, service: &'static str) -> Channel {
        self.registry.channel(service)
    }
}
