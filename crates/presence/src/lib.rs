//! Presence: who is connected where, with owners that may die, and the announcements that go with it.
//!
//! Everything here may vanish at any moment and is rebuilt by the gateways. *Unknown is not offline*: a lookup names the
//! gateways whose entries can't be trusted right now, and push asks those directly. Presence belongs to connections: a gateway
//! reports, per user, the platforms that are connected to it now, and an entry ends with its gateway's lease.
//!
//! [`conformance`] is the contract as tests.

pub mod conformance;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use magpie_types::{Platform, UserId};
use tokio::sync::broadcast;

/// Longest notice, bytes.
pub const MAX_NOTICE: usize = 64 << 10;

/// One incarnation of a gateway process.
pub type GatewayId = Arc<str>;

/// How long others may go on trusting a gateway that can't write any more: a lease, and a renewal that was under way.
pub const TRUST: Duration = Duration::from_millis(6500);

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

    /// As a number that [`from_bits`](Self::from_bits) takes: one bit per platform, at the place of its number.
    #[must_use]
    pub fn bits(self) -> u16 {
        self.0
    }

    /// The set with these bits; those of no platform stay unseen.
    #[must_use]
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
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

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The platforms of a user.
    User {
        /// Who.
        user: UserId,
        /// All platforms online now.
        platforms: Platforms,
    },
    /// Changes may have been missed: the present state is to be read by [`Presence::lookup`].
    Missed,
}

/// What another process says, by [`Presence::announce`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Its words.
    Said(String),
    /// Notices may have been missed.
    Missed,
}

/// A presence engine.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// Says what is connected to `gateway` for each of these users now (an empty set: nothing any more). When it returns, every
    /// lookup sees it. Reports for one user are made one after the other.
    ///
    /// An engine remembers what it was told, and makes good at a renewal what it can't write now. The error for users who are
    /// connected comes only once no lookup trusts this gateway about them any more, at the latest after [`TRUST`].
    async fn report(&self, gateway: &GatewayId, users: &[(UserId, Platforms)]) -> Result<()>;

    /// Keeps the gateway's entries alive for another lease. The answer is users whose entries had vanished while lookups trusted
    /// this gateway: who looked took them for offline, so their connections are to be closed, and they fetch what they missed.
    async fn renew(&self, gateway: &GatewayId) -> Result<Vec<UserId>>;

    /// Ends all entries of a gateway.
    async fn leave(&self, gateway: &GatewayId) -> Result<()>;

    /// The gateways that a lookup may name: those that have renewed or reported, have not left, and are trusted.
    async fn gateways(&self) -> Result<Vec<GatewayId>>;

    /// Where these users are.
    async fn lookup(&self, users: &[UserId]) -> Result<Lookup>;

    /// Changes of anybody's platforms from now on. A receiver that lags reads the present state by `lookup`.
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// Says something to all processes, at most [`MAX_NOTICE`] bytes. Who is not connected to the engine at the moment gets
    /// [`Notice::Missed`] when he is again.
    async fn announce(&self, notice: String) -> Result<()>;

    /// What any process, this one included, announces from now on.
    fn notices(&self) -> broadcast::Receiver<Notice>;
}

/// A shared engine.
pub type SharedPresence = Arc<dyn Presence>;
