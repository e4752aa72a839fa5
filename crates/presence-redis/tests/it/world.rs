//! Engines on a server, each test with keys of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use magpie_presence::{GatewayId, Platforms, Presence as _};
use magpie_presence_redis::{Options, RedisPresence};
use magpie_types::{Platform, UserId};
use tokio::time::{Instant, sleep};

/// How long a state may take to come. Generous: debug build, busy machine.
const BOUND: Duration = Duration::from_secs(60);

/// Options with a prefix that nobody else has.
pub(crate) fn options(url: &str) -> Options {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Options {
        prefix: format!("test{number}"),
        ..Options::new(url)
    }
}

/// An engine that is connected.
pub(crate) async fn open(options: &Options, gateways: &[GatewayId]) -> Arc<RedisPresence> {
    let gateways = gateways.to_vec();
    let registered = Arc::new(move || gateways.clone());
    let presence = RedisPresence::open(options, registered).expect("good options");
    if tokio::time::timeout(BOUND, presence.ready()).await.is_err() {
        panic!("no connection: {:?}", presence.lookup(&[id(0)]).await);
    }
    presence
}

pub(crate) fn id(n: usize) -> UserId {
    UserId::new(format!("u{n}")).expect("an id")
}

pub(crate) fn ids(count: usize) -> Vec<UserId> {
    (0..count).map(id).collect()
}

pub(crate) fn ios() -> Platforms {
    [Platform::Ios].into_iter().collect()
}

pub(crate) async fn report_all(presence: &RedisPresence, gateway: &GatewayId, users: &[UserId]) {
    let users: Vec<_> = users.iter().map(|u| (u.clone(), ios())).collect();
    presence.report(gateway, &users).await.expect("report");
}

/// Whether each of the users has an entry, if no gateway is unknown.
pub(crate) async fn online(presence: &RedisPresence, users: &[UserId]) -> Option<Vec<bool>> {
    let found = presence.lookup(users).await.ok()?;
    let online = found.users.iter().map(|p| !p.gateways.is_empty());
    found.unknown.is_empty().then(|| online.collect())
}

/// Looks until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        sleep(Duration::from_millis(10)).await;
    }
}
