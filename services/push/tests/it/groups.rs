//! Who gets a group's records: the members at their place, whatever the rows of the store say by then.

use crate::world::*;
use magpie_proto::magpie::{
    gateway::Audience,
    log::{Membership, Stored},
};
use magpie_push::Config;
use magpie_store::{Documents as _, documents::Group};
use magpie_testkit::rows;
use prost::Message as _;

const G: &str = "g1";

async fn member(world: &World, who: &str, joined: i64, left: i64) {
    let row = rows::member(G, who, joined, left);
    world.engines.deps.store.add(row).await.unwrap();
}

async fn group(world: &World, status: i32, member_version: i64) {
    let group = Group {
        status,
        ..rows::group(G, "a", 0, member_version)
    };
    world.engines.deps.store.add(group).await.unwrap();
}

fn said(seq: i64, version: i64) -> Stored {
    Stored {
        conversation_id: format!("sg_{G}"),
        group_id: G.to_owned(),
        member_version: version,
        ..stored(seq, &[])
    }
}

fn moved(seq: i64, change: Membership) -> Stored {
    Stored {
        membership: Some(change.clone()),
        ..said(seq, change.version)
    }
}

fn joins(version: i64, who: &str) -> Membership {
    Membership {
        version,
        joined: vec![who.to_owned()],
        ..Membership::default()
    }
}

fn leaves(version: i64, who: &str) -> Membership {
    Membership {
        version,
        left: vec![who.to_owned()],
        ..Membership::default()
    }
}

fn of(offset: u64, stored: &Stored) -> (u64, &'static str, Vec<u8>) {
    (offset, G, stored.encode_to_vec())
}

/// Who got each record, sorted.
fn got(delivered: &Delivered) -> Vec<(i64, Vec<String>)> {
    let mut all: Vec<_> = calls(delivered).into_iter().flatten().collect();
    all.iter_mut().for_each(|(_, users)| users.sort());
    all
}

#[tokio::test]
async fn a_list_follows_the_records() {
    let world = World::new().await;
    let gateway = world.gateway("gw", &["a", "b", "c"]).await;
    group(&world, 0, 3).await;
    // As the store has them after everything: c came with 2, b left with 3.
    member(&world, "a", 1, 0).await;
    member(&world, "b", 1, 3).await;
    member(&world, "c", 2, 0).await;
    world
        .log
        .feed([
            of(0, &said(1, 1)),
            of(1, &moved(2, joins(2, "c"))),
            of(2, &said(3, 2)),
            of(3, &moved(4, leaves(3, "b"))),
            of(4, &said(5, 3)),
        ])
        .await;
    assert_eq!(
        got(&gateway),
        [
            item(1, &["a", "b"]),
            item(2, &["a", "b", "c"]),
            item(3, &["a", "b", "c"]),
            item(4, &["a", "b", "c"]),
            item(5, &["a", "c"]),
        ]
    );
}

#[tokio::test]
async fn a_worker_that_starts_in_the_middle_knows_who_was_there() {
    for (first, expected) in [
        (said(1, 1), item(1, &["a", "b"])),
        (moved(2, joins(2, "c")), item(2, &["a", "b", "c"])),
        (moved(4, leaves(3, "b")), item(4, &["a", "b", "c"])),
        (said(5, 3), item(5, &["a", "c"])),
    ] {
        let world = World::new().await;
        let gateway = world.gateway("gw", &["a", "b", "c"]).await;
        group(&world, 0, 3).await;
        member(&world, "a", 1, 0).await;
        member(&world, "b", 1, 3).await;
        member(&world, "c", 2, 0).await;
        world.log.feed([of(0, &first)]).await;
        assert_eq!(got(&gateway), [expected]);
    }
}

#[tokio::test]
async fn a_list_that_has_missed_a_change_is_read_again() {
    let world = World::new().await;
    let gateway = world.gateway("gw", &["a", "b"]).await;
    group(&world, 0, 1).await;
    member(&world, "a", 1, 0).await;
    world.log.feed([of(0, &said(1, 1))]).await;
    member(&world, "b", 2, 0).await;
    world.log.feed([of(7, &said(3, 2))]).await;
    assert_eq!(got(&gateway), [item(1, &["a"]), item(3, &["a", "b"])]);
}

#[tokio::test]
async fn a_dismissal_goes_to_all_and_nothing_after_it_to_anybody() {
    let dismissal = Membership {
        version: 2,
        dismissed: true,
        ..Membership::default()
    };
    for cold in [false, true] {
        let world = World::new().await;
        let gateway = world.gateway("gw", &["a", "b"]).await;
        group(&world, 2, 2).await;
        member(&world, "a", 1, 0).await;
        member(&world, "b", 1, 2).await;
        if !cold {
            world.log.feed([of(0, &said(1, 1))]).await;
            assert_eq!(got(&gateway), [item(1, &["a", "b"])]);
        }
        world.log.feed([of(1, &moved(2, dismissal.clone()))]).await;
        assert_eq!(got(&gateway), [item(2, &["a", "b"])]);
        world.log.feed([of(2, &said(3, 2))]).await;
        assert!(got(&gateway).is_empty());
    }
}

#[tokio::test]
async fn a_sender_can_be_left_out_and_a_quiet_change_is_for_nobody() {
    let world = World::new().await;
    let gateway = world.gateway("gw", &["a", "b"]).await;
    group(&world, 0, 1).await;
    member(&world, "a", 1, 0).await;
    member(&world, "b", 1, 0).await;
    let typing = Stored {
        skip_sender: true,
        ..said(0, 1)
    };
    let quiet = Membership {
        quiet: true,
        ..leaves(2, "b")
    };
    world
        .log
        .feed([of(0, &typing), of(1, &moved(0, quiet)), of(2, &said(1, 2))])
        .await;
    assert_eq!(got(&gateway), [item(0, &["b"]), item(1, &["a"])]);
}

#[tokio::test]
async fn the_members_of_a_large_group_are_found_by_every_gateway() {
    let config = Config {
        largest_group: 2,
        ..World::config()
    };
    let world = World::with(config).await;
    let one = world.gateway("g1", &["a"]).await;
    // Connected to nobody, and so to be asked, and one that only presence knows.
    let two = world.gateway("g2", &[]).await;
    world.count("g3").await;
    world.connect("g3", &["x"]).await;
    let store = &world.engines.deps.store;
    store.add(rows::group(G, "a", 3, 1)).await.unwrap();
    let joining = Stored {
        skip_sender: true,
        ..moved(2, joins(2, "b"))
    };
    world.log.feed([of(0, &said(1, 1)), of(1, &joining)]).await;
    for gateway in [one, two] {
        let items = std::mem::take(&mut *gateway.lock().unwrap()).concat();
        let seen: Vec<_> = items
            .into_iter()
            .map(|i| (i.seq, i.user_ids.len(), i.audience.unwrap()))
            .collect();
        let audience = |member_version, change, except: &str| Audience {
            group_id: G.to_owned(),
            member_version,
            change,
            except: except.to_owned(),
        };
        let expected = [
            (1, 0, audience(1, None, "")),
            (2, 0, audience(2, Some(joins(2, "b")), "a")),
        ];
        assert_eq!(seen, expected);
    }
    assert_eq!(world.missed("g3").await, Some(1));
}

#[tokio::test]
async fn a_group_that_grows_becomes_a_large_one() {
    let config = Config {
        largest_group: 2,
        ..World::config()
    };
    let world = World::with(config).await;
    let gateway = world.gateway("gw", &["a", "b", "c"]).await;
    group(&world, 0, 1).await;
    member(&world, "a", 1, 0).await;
    member(&world, "b", 1, 0).await;
    world
        .log
        .feed([of(0, &said(1, 1)), of(1, &moved(2, joins(2, "c")))])
        .await;
    let named = [item(1, &["a", "b"]), item(2, &["a", "b", "c"])];
    assert_eq!(got(&gateway), named);
    world.log.feed([of(2, &said(3, 2))]).await;
    assert_eq!(got(&gateway), [item(3, &[])]);
}

/// It may have to read the members first.
#[tokio::test]
async fn a_gateway_that_answers_may_take_longer_for_a_large_group() {
    for (audience_timeout_ms, missed) in [(20_000, 0), (0, 1)] {
        let config = Config {
            largest_group: 2,
            deliver_timeout_ms: 20,
            audience_timeout_ms,
            ..World::config()
        };
        let world = World::with(config).await;
        let store = &world.engines.deps.store;
        store.add(rows::group(G, "a", 3, 1)).await.unwrap();
        let slow = Gateway::default();
        slow.reading.send_replace(true);
        let delivered = world.add("gw", slow.clone(), &["a"]).await;
        let first = said(1, 1);
        let fed = world.log.feed([of(0, &first)]);
        let asked = async {
            magpie_testkit::until("it is asked whether it lives", async || {
                (delivered.lock().unwrap().len() > 2 || missed > 0).then_some(())
            })
            .await;
            if missed == 0 {
                slow.reading.send_replace(false);
            }
        };
        tokio::join!(fed, asked);
        assert_eq!(world.missed("gw").await, Some(missed));
        let expected = if missed == 0 {
            vec![item(1, &[])]
        } else {
            Vec::new()
        };
        assert_eq!(got(&delivered), expected);
    }
}
