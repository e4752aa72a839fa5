//! What a service is given to work with: the engines, the way to other services, tasks and the shutdown signal.

use magpie_discovery::{Channel, SharedRegistry, name};
use magpie_log::SharedLog;
use magpie_presence::{GatewayId, Lookup, Places, PresenceError, SharedPresence};
use magpie_store::SharedStore;
use magpie_types::UserId;
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

    /// Every gateway that may have connections; an error only if presence can't be read and no gateway is registered.
    pub async fn gateways(&self) -> Result<Vec<GatewayId>, PresenceError> {
        let registered = self.registry.instances(name::GATEWAY).into_iter();
        let mut all: Vec<GatewayId> = registered.map(|(id, _)| id.into()).collect();
        match self.presence.gateways().await {
            Ok(known) => all.extend(known),
            Err(error) if all.is_empty() => return Err(error),
            Err(_) => metrics::counter!("magpie_presence_blind_total").increment(1),
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Where users are connected. While presence can't be read every registered gateway is unknown and so to be asked, for
    /// unknown is not offline; it is an error only if none is registered.
    pub async fn whereabouts(&self, users: &[UserId]) -> Result<Lookup, PresenceError> {
        let error = match self.presence.lookup(users).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        metrics::counter!("magpie_presence_blind_total").increment(1);
        let gateways = self.registry.instances(name::GATEWAY);
        if gateways.is_empty() {
            return Err(error);
        }
        Ok(Lookup {
            users: vec![Places::default(); users.len()],
            unknown: gateways.into_iter().map(|(id, _)| id.into()).collect(),
        })
    }
}
