//! Power cuts under load: what was acknowledged is stored once, every consumer sees it, and pushes go on.

use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;

use magpie_log::Topic;
use magpie_tests::evidence::Evidence;
use magpie_tests::load::{Device, Habit, Run, settle};

use crate::world::{Disks, Seen, World};

/// How often the power is cut.
const CUTS: usize = 30;

async fn devices(world: &World) -> Vec<Device> {
    let mut devices = Vec::new();
    for (a, b) in [("ann", "bob"), ("cat", "dan")] {
        world.register(&[a, b]).await;
        for (user, peer) in [(a, b), (b, a)] {
            for (platform, habit) in [(5, Habit::Resend), (2, Habit::Abandon)] {
                let token = world.token(user, platform).await;
                devices.push(Device::new(user, platform, token, peer, habit));
            }
        }
    }
    devices
}

/// Every stored message was seen, and for the first time in the order of its conversation.
fn saw_everything(group: &str, seen: &Seen, evidence: &Evidence) {
    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    let mut all: BTreeSet<(String, i64)> = BTreeSet::new();
    for (conversation, seq) in seen.lock().unwrap().iter() {
        if all.insert((conversation.clone(), *seq)) {
            let last = newest.insert(conversation.clone(), *seq).unwrap_or(0);
            assert!(
                *seq == last + 1,
                "{group} saw {seq} of {conversation} after {last}"
            );
        }
    }
    for pull in &evidence.pulls {
        for row in &pull.rows {
            assert!(
                all.contains(&(pull.conversation.clone(), row.seq)),
                "{group} never saw {row:?} of {}",
                pull.conversation
            );
        }
    }
}

/// Waits until a group has done everything.
async fn done(world: &World, topic: Topic, group: &str) {
    let bound = tokio::time::Duration::from_secs(60);
    let wait = async {
        while world.backlog(topic, group).await > 0 {
            tokio::time::sleep(tokio::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(bound, wait)
        .await
        .unwrap_or_else(|_| panic!("{group} does not get through {}", topic.name()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_fails_again_and_again_under_load_and_every_acknowledged_message_is_stored_seen_and_pushed()
 {
    let mut world = World::start(Disks::new()).await;
    let mut devices = devices(&world).await;
    let mut evidence = Evidence::default();
    let mut interrupted = 0;
    let audit = Seen::default();
    for life in 0..=CUTS {
        // A group that is there from the beginning, beside push.
        world.consume("audit", &audit);
        let run = Run::start(from_ref(&world.ws_url), devices, life);
        run.under_way(rand::random_range(50..500)).await;
        // Every third cut keeps nothing that was not synced, the others any part of it.
        let next = if life < CUTS {
            let keep = || life % 3 != 0 && rand::random_bool(0.5);
            World::start(world.cut_power(keep)).await
        } else {
            run.stop();
            world
        };
        let (back, lives) = run.ended().await;
        devices = back;
        for life in lives {
            interrupted += life.connection.unanswered();
            evidence.connections.push(life.connection);
        }
        world = next;
    }
    settle(from_ref(&world.ws_url), &mut devices, &mut evidence).await;
    println!(
        "{} acknowledged, {} stored, {interrupted} interrupted",
        evidence.acknowledged(),
        evidence.stored()
    );
    assert!(interrupted > CUTS, "{interrupted} sends were interrupted");
    let faults = evidence.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    done(&world, Topic::Inbound, "transfer").await;
    for group in ["push", "audit"] {
        done(&world, Topic::Stored, group).await;
    }
    saw_everything("audit", &audit, &evidence);
    // A group that begins later reads everything that the log still has, which is everything.
    let webhook = Seen::default();
    world.consume("webhook", &webhook);
    done(&world, Topic::Stored, "webhook").await;
    saw_everything("webhook", &webhook, &evidence);
    assert_eq!(
        world.backlog(Topic::Parked, "nobody").await,
        0,
        "nothing is parked"
    );
    let (seen, stored) = (audit.lock().unwrap().len(), evidence.stored());
    assert!(
        seen > stored,
        "the cuts met records on their way: {seen} of {stored}"
    );
    world.cut_power(|| true);
}
