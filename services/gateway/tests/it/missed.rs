//! The count of missed deliveries: when it ends connections, and how long it stays.

use crate::world::{Client, World};
use magpie_gateway::Config;
use magpie_store::{Change, Documents as _, documents::Missed, key};
use magpie_types::time::now_ms;
use tokio::time::{Duration, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

/// Fails a test that hangs.
const BOUND: Duration = Duration::from_secs(20);
const HOUR: i64 = 3_600_000;

fn often() -> Config {
    Config {
        presence_renewal_ms: 10,
        ..Config::default()
    }
}

fn count(gateway: &str, count: i64, seen_at: i64) -> Missed {
    Missed {
        gateway_id: gateway.to_owned(),
        count,
        rev: 0,
        seen_at,
    }
}

async fn find(world: &World, gateway: &str) -> Option<Missed> {
    world.deps.store.find(key![gateway]).await.unwrap()
}

/// Waits until the count of a gateway is so.
async fn until(world: &World, gateway: &str, holds: impl Fn(Option<&Missed>) -> bool) {
    let wait = async {
        while !holds(find(world, gateway).await.as_ref()) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(BOUND, wait).await.expect("the state comes");
}

async fn ends(client: &mut Client) {
    match timeout(BOUND, client.next()).await.expect("an end") {
        Some(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("{other:?}"),
    }
}

/// What push could not bring is counted in the store; clients then come back and pull.
#[tokio::test]
async fn connections_end_when_deliveries_were_missed() {
    let world = World::new(often()).await;
    until(&world, "gateway", |found| found.is_some()).await;
    let mut client = world.connect("u1@1").await;
    let up = vec![Change::Inc(Missed::count, 1)];
    let store = &world.deps.store;
    assert!(store.change::<Missed>(key!["gateway"], up).await.unwrap());
    ends(&mut client).await;
}

/// Somebody has taken the gateway for dead; what was missed since then was counted nowhere.
#[tokio::test]
async fn connections_end_when_the_count_is_gone_and_it_is_made_again() {
    let world = World::new(often()).await;
    until(&world, "gateway", |found| found.is_some()).await;
    let mut client = world.connect("u1@1").await;
    let gone = vec![key!["gateway"]];
    assert_eq!(world.deps.store.remove::<Missed>(gone).await.unwrap(), 1);
    ends(&mut client).await;
    assert_eq!(find(&world, "gateway").await.map(|m| m.count), Some(0));
}

#[tokio::test]
async fn counts_of_gateways_that_were_not_seen_for_a_day_go_and_no_others() {
    let now = now_ms();
    let counts = vec![
        count("gateway", 7, now - 30 * HOUR),
        count("stands still", 3, now - 23 * HOUR),
        count("dead", 5, now - 25 * HOUR),
        count("of an older version", 1, 0),
    ];
    let world = World::over(often(), counts).await;
    for dead in ["dead", "of an older version"] {
        until(&world, dead, |found| found.is_none()).await;
    }
    let kept = find(&world, "stands still").await;
    assert_eq!(kept, Some(count("stands still", 3, now - 23 * HOUR)));
    let own = find(&world, "gateway").await.expect("its own");
    assert!(own.count == 7 && own.seen_at >= now, "{own:?}");
}

#[tokio::test]
async fn a_gateway_that_stops_takes_its_count_with_it() {
    let world = World::new(often()).await;
    until(&world, "gateway", |found| found.is_some()).await;
    world.deps.shutdown.cancel();
    let store = std::sync::Arc::clone(&world.deps.store);
    world.server.await.unwrap();
    let left: Option<Missed> = store.find(key!["gateway"]).await.unwrap();
    assert_eq!(left, None);
}
