//! What holds with several instances of a service.

use futures::future::join_all;
use tonic::Code;

use super::*;

/// Nobody is left out.
pub async fn calls_are_spread_over_the_instances(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    start(cluster, &registry, &["a", "b", "c"]).await;
    let channel = registry.channel(SERVICE);
    let mut seen = BTreeSet::new();
    // By chance alone one of three stays out of 100 random choices once in 10^17 runs.
    for _ in 0..100 {
        seen.insert(ask(&channel, question()).await.expect("an answer"));
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

/// The place of a key doesn't depend on who asks, nor on the order in which he learned of the instances.
pub async fn a_key_reaches_the_same_instance_from_every_process(cluster: &dyn Cluster) {
    let early = cluster.registry().await;
    start(cluster, &early, &["a", "b", "c"]).await;
    let late = cluster.registry().await;
    until("a late process sees all", async || ids(&late).len() == 3).await;
    let places = placement(&early.channel(SERVICE)).await;
    assert_eq!(places, placement(&early.channel(SERVICE)).await);
    assert_eq!(places, placement(&late.channel(SERVICE)).await);
    let used: BTreeSet<_> = places.values().collect();
    assert_eq!(used.len(), 3, "{KEYS} keys are served by {used:?} alone");
}

/// Bounded movement: what moves, moves to the newcomer, and the others keep the rest.
pub async fn a_new_instance_takes_only_the_keys_it_serves(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    start(cluster, &registry, &["a", "b", "c"]).await;
    let channel = registry.channel(SERVICE);
    let before = placement(&channel).await;
    start(cluster, &registry, &["d"]).await;
    let after = placement(&channel).await;
    let moved: Vec<_> = (0..KEYS).filter(|k| before[k] != after[k]).collect();
    assert!(moved.iter().all(|k| after[k] == "d"));
    assert!(
        !moved.is_empty() && moved.len() < KEYS / 2,
        "{} of {KEYS} keys moved",
        moved.len()
    );
}

/// Bounded movement: what others served stays where it was.
pub async fn an_instance_that_goes_moves_only_its_own_keys(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    start(cluster, &registry, &["a", "b", "c"]).await;
    let channel = registry.channel(SERVICE);
    let before = placement(&channel).await;
    cluster.stop("b").await;
    until("it is gone", async || !ids(&registry).contains("b")).await;
    let after = placement(&channel).await;
    for key in 0..KEYS {
        if before[&key] == "b" {
            assert_ne!(after[&key], "b");
        } else {
            assert_eq!(after[&key], before[&key]);
        }
    }
}

/// Calls until told to end; how many failed, and why the first one did.
async fn load(
    channel: Channel,
    end: tokio::sync::watch::Receiver<bool>,
    make: fn() -> Request<Body>,
) -> (usize, Vec<Status>) {
    let mut failed = Vec::new();
    let mut calls = 0;
    while !*end.borrow() {
        calls += 1;
        failed.extend(ask(&channel, make()).await.err());
    }
    (calls, failed)
}

/// Has calls go on while something happens; none may fail.
async fn under_load(
    registry: &SharedRegistry,
    make: fn() -> Request<Body>,
    happens: impl Future<Output = ()>,
) {
    let (end, ended) = tokio::sync::watch::channel(false);
    let callers = join_all((0..4).map(|_| load(registry.channel(SERVICE), ended.clone(), make)));
    let event = async {
        happens.await;
        end.send_replace(true);
    };
    let (results, ()) = tokio::join!(callers, event);
    for (calls, failed) in results {
        assert!(
            failed.is_empty(),
            "{} of {calls} calls failed: {:?}",
            failed.len(),
            failed[0]
        );
    }
}

/// An orderly end costs no call, repeatable or not.
pub async fn no_call_fails_while_an_instance_leaves(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    start(cluster, &registry, &["a", "b"]).await;
    under_load(&registry, question, async {
        cluster.stop("a").await;
        until("it is gone", async || !ids(&registry).contains("a")).await;
    })
    .await;
}

/// A sudden end costs no call that may be sent again.
pub async fn no_repeatable_call_fails_when_an_instance_is_killed(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    start(cluster, &registry, &["a", "b"]).await;
    under_load(&registry, repeatable, async {
        cluster.kill("a").await;
        until("it is gone", async || !ids(&registry).contains("a")).await;
    })
    .await;
}

/// Nobody stays listed that has ended.
pub async fn a_killed_instance_vanishes(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    start(cluster, &registry, &["a", "b"]).await;
    cluster.kill("a").await;
    until("it is gone", async || {
        ids(&registry) == BTreeSet::from(["b".to_owned()])
    })
    .await;
    let who = ask(&registry.channel(SERVICE), question()).await;
    assert_eq!(who.expect("an answer"), "b");
}

/// A direct channel is never balanced: when its instance is gone, the call fails.
pub async fn a_direct_channel_reaches_its_instance_and_no_other(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    start(cluster, &registry, &["a", "b", "c"]).await;
    for (id, channel) in registry.instances(SERVICE) {
        for _ in 0..10 {
            assert_eq!(ask(&channel, question()).await.expect("an answer"), id);
        }
    }
    let instances = registry.instances(SERVICE);
    let (_, to_a) = instances
        .iter()
        .find(|(id, _)| id == "a")
        .expect("it is listed");
    cluster.kill("a").await;
    let refused = ask(to_a, repeatable()).await.expect_err("nobody there");
    assert_eq!(refused.code(), Code::Unavailable);
}
