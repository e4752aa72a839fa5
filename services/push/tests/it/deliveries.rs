//! The push worker: who is called, what is dropped, and what one gateway's trouble means for the others.

use std::sync::atomic::Ordering;

use crate::world::*;
use magpie_proto::magpie::log::Stored;

#[tokio::test]
async fn a_batch_is_one_call_per_gateway_for_the_users_connected_there() {
    let world = World::new().await;
    let one = world.gateway("g1", &["a", "b"]).await;
    let two = world.gateway("g2", &["b"]).await;
    world
        .log
        .feed([
            at(3, &stored(1, &["b", "a"])),
            at(4, &stored(2, &["a"])),
            at(5, &stored(3, &["offline"])),
        ])
        .await;
    let first = one.lock().unwrap()[0][0].clone();
    assert_eq!(calls(&one), [vec![item(1, &["b", "a"]), item(2, &["a"])]]);
    assert_eq!(calls(&two), [vec![item(1, &["b"])]]);
    assert_eq!((first.msg.as_ref(), first.offset), (&b"body 1"[..], 3));
    assert_eq!(first.sender_connection_id, "sender's connection");
    assert_eq!(first.only_connection_id, "");
}

#[tokio::test]
async fn repeats_are_dropped_but_unstored_records_and_resends_are_not() {
    let world = World::new().await;
    let gateway = world.gateway("g1", &["a", "b"]).await;
    let (first, second) = (stored(1, &["b"]), stored(2, &["b"]));
    world.log.feed([at(0, &first), at(1, &second)]).await;
    calls(&gateway);
    let resend = Stored {
        resend: true,
        ..stored(1, &["a"])
    };
    let typing = stored(0, &["b"]);
    world
        .log
        .feed([
            at(2, &first),
            at(3, &second),
            at(4, &typing),
            at(5, &typing),
            at(6, &resend),
            at(7, &stored(3, &["b"])),
        ])
        .await;
    let items = std::mem::take(&mut *gateway.lock().unwrap()).remove(0);
    let lines: Vec<_> = items
        .iter()
        .map(|i| (i.seq, i.only_connection_id.as_str()))
        .collect();
    assert_eq!(
        lines,
        [(0, ""), (0, ""), (1, "sender's connection"), (3, "")]
    );
    // Another conversation has numbers of its own.
    let mut other = stored(1, &["b"]);
    other.conversation_id = "n_a_b".to_owned();
    world.log.feed([at(8, &other), at(9, &first)]).await;
    let items = std::mem::take(&mut *gateway.lock().unwrap()).remove(0);
    assert!(items.len() == 1 && items[0].notification, "{items:?}");
}

#[tokio::test]
async fn a_silent_gateway_delays_the_batch_no_longer_than_its_time_limit() {
    let world = World::new().await;
    let gateway = Gateway::default();
    gateway.silent.store(true, Ordering::SeqCst);
    let one = world.add("g1", gateway.clone(), &["a"]).await;
    let two = world.gateway("g2", &["b"]).await;
    assert_eq!(world.missed("g1").await, Some(0));
    world.log.feed([at(0, &stored(1, &["a", "b"]))]).await;
    assert_eq!(calls(&two), [vec![item(1, &["b"])]]);
    assert_eq!(world.missed("g1").await, Some(1));
    // It is not waited for again, and learns later of everything that it misses.
    world.log.feed([at(1, &stored(2, &["a", "b"]))]).await;
    assert_eq!(calls(&two), [vec![item(2, &["b"])]]);
    assert_eq!(world.missed("g1").await, Some(2));
    gateway.silent.store(false, Ordering::SeqCst);
    let mut seq = 2;
    magpie_testkit::until("the gateway is delivered to again", async || {
        seq += 1;
        let offset = u64::try_from(seq).unwrap();
        world.log.feed([at(offset, &stored(seq, &["a"]))]).await;
        calls(&one).contains(&vec![item(seq, &["a"])]).then_some(())
    })
    .await;
    assert_eq!(world.missed("g2").await, Some(0));
}

/// Unknown is not offline: what presence can't tell the gateways can.
#[tokio::test]
async fn every_gateway_is_asked_while_presence_is_away() {
    let world = World::new().await;
    let one = world.gateway("g1", &["a"]).await;
    let two = world.gateway("g2", &["b"]).await;
    *world.presence.failures.lock().unwrap() = usize::MAX;
    world.log.feed([at(0, &stored(1, &["a", "b"]))]).await;
    for gateway in [&one, &two] {
        assert_eq!(calls(gateway), [vec![item(1, &["a", "b"])]]);
    }
}

#[tokio::test]
async fn a_batch_waits_while_neither_presence_nor_a_gateway_can_be_asked() {
    let world = World::new().await;
    *world.presence.failures.lock().unwrap() = usize::MAX;
    let fed = world.log.feed([at(0, &stored(1, &["b"]))]);
    let came = async {
        let failures = || usize::MAX - *world.presence.failures.lock().unwrap();
        magpie_testkit::until("presence is asked again", async || {
            (failures() > 2).then_some(())
        })
        .await;
        world.gateway("g1", &["b"]).await
    };
    let ((), gateway) = tokio::join!(fed, came);
    assert_eq!(calls(&gateway), [vec![item(1, &["b"])]]);
}

/// Unknown is not offline; and who is known there as well gets the message once.
#[tokio::test]
async fn a_gateway_without_a_marker_is_asked_for_everybody_once() {
    let world = World::new().await;
    let one = world.gateway("g1", &["a"]).await;
    *world.presence.unknown.lock().unwrap() = vec!["g1".into()];
    world.log.feed([at(0, &stored(1, &["a", "b"]))]).await;
    assert_eq!(calls(&one), [vec![item(1, &["a", "b"])]]);
}

/// A gateway that gets another one's deliveries would raise its position and drop its own as repeats.
#[tokio::test]
async fn what_is_meant_for_one_gateway_goes_to_no_other() {
    let world = World::new().await;
    let one = world.gateway("g1", &["a"]).await;
    world.count("gone").await;
    world.connect("gone", &["b"]).await;
    world.log.feed([at(0, &stored(1, &["a", "b"]))]).await;
    assert_eq!(calls(&one), [vec![item(1, &["a"])]]);
    assert_eq!(world.missed("gone").await, Some(1));
    // It is found as soon as it is registered.
    let gone = world.gateway("gone", &["b"]).await;
    world.log.feed([at(1, &stored(2, &["b"]))]).await;
    assert_eq!(calls(&gone), [vec![item(2, &["b"])]]);
}

/// It may only stand still, and then it gets nothing and is counted for by nobody.
#[tokio::test]
async fn a_gateway_is_counted_for_before_it_is_forgotten() {
    let world = World::new().await;
    world.gateway("g1", &["a"]).await;
    let farewell = world.gateways.1.lock().unwrap().clone();
    farewell.expect("push has one")("g1".to_owned()).await;
    assert_eq!(world.missed("g1").await, Some(1));
}

/// All who knew it may have ended meanwhile.
#[tokio::test]
async fn a_push_that_starts_counts_for_gateways_that_are_not_registered() {
    let world = World::over(World::config(), &["forgotten"]).await;
    assert_eq!(world.missed("forgotten").await, Some(1));
}

/// Presence may name a gateway for a while after it has stopped and taken its count with it.
#[tokio::test]
async fn a_gateway_that_has_left_gets_no_new_count() {
    let world = World::new().await;
    world.connect("left", &["b"]).await;
    world.log.feed([at(0, &stored(1, &["b"]))]).await;
    assert_eq!(world.missed("left").await, None);
}

#[tokio::test]
async fn an_unreadable_record_is_skipped() {
    let world = World::new().await;
    let gateway = world.gateway("g1", &["b"]).await;
    let broken = (0, "a_b", b"\xff\xff no record".to_vec());
    world.log.feed([broken, at(1, &stored(1, &["b"]))]).await;
    assert_eq!(calls(&gateway), [vec![item(1, &["b"])]]);
}
