//! Presence: who is connected where, with owners that may die, and the announcements that go with it.
//!
//! Everything here may vanish at any moment and is rebuilt by the gateways. *Unknown is not offline*: a lookup names the
//! gateways whose entries can't be trusted right now, and push asks those directly. Presence belongs to connections: a gateway
//! reports, per user, the platforms that are connected to it now, and an entry ends with its gateway's lease.

use std::sync::Arc;

use async_trait::async_trait;
use magpie_types::{Platform, UserId};
use tokio::sync::broadcast;

/// One incarnation of a gateway process.
pub type GatewayId = Arc<str>;

/// Why presence could not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PresenceError {
    /// The engine is away.
    #[error("presence is unavailable: {0}")]
    Unavailable(String),
}

/// Result of a presence call.
pub type Result<T, E = PresenceError> = std::result::Result<T, E>;

/// The platforms of a user, as a small set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Platforms(u16);

impl Platforms {
    /// Adds one.
    pub fn insert(&mut self, platform: Platform) {
        self.0 |= 1 << platform.number();
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// No platform: offline.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members in order of number.
    pub fn iter(self) -> impl Iterator<Item = Platform> {
        Platform::ALL
            .into_iter()
            .filter(move |p| self.0 & (1 << p.number()) != 0)
    }
}

impl FromIterator<Platform> for Platforms {
    fn from_iter<I: IntoIterator<Item = Platform>>(platforms: I) -> Self {
        let mut set = Self::default();
        platforms.into_iter().for_each(|p| set.insert(p));
        set
    }
}

/// Where a user is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Gateways and what is connected there, no empty ones.
    pub gateways: Vec<(GatewayId, Platforms)>,
}

impl Places {
    /// All platforms that are online.
    pub fn platforms(&self) -> Platforms {
        self.gateways
            .iter()
            .fold(Platforms::default(), |all, (_, p)| all.union(*p))
    }
}

/// The answer to a lookup.
#[derive(Debug, Clone, Default)]
pub struct Lookup {
    /// One per user asked for, in order.
    pub users: Vec<Places>,
    /// Gateways that may have connections of these users without an entry here: ask them.
    pub unknown: Vec<GatewayId>,
}

/// The set of platforms of a user has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub user: UserId,
    /// All platforms online now.
    pub platforms: Platforms,
}

/// A presence engine.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// Says what is connected to `gateway` for each of these users now (an empty set: nothing any more). When it returns, every
    /// lookup sees it.
    async fn report(&self, gateway: &GatewayId, users: &[(UserId, Platforms)]) -> Result<()>;

    /// Keeps the gateway's entries alive for another lease.
    async fn renew(&self, gateway: &GatewayId) -> Result<()>;

    /// Ends all entries of a gateway.
    async fn leave(&self, gateway: &GatewayId) -> Result<()>;

    /// Where these users are.
    async fn lookup(&self, users: &[UserId]) -> Result<Lookup>;

    /// Changes of anybody's platforms from now on. A receiver that lags reads the present state by `lookup`.
    fn changes(&self) -> broadcast::Receiver<Change>;
}

/// A shared engine.
pub type SharedPresence = Arc<dyn Presence>;
