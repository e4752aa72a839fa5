//! A change that stops in the middle, wherever that is, has happened completely once it is taken up again, or not at all.

use magpie_group::Config;
use magpie_proto::openim::group::SetGroupInfoExReq;
use magpie_store::{
    Documents as _,
    documents::GroupRequest,
    key,
    versions::{self, List},
};
use magpie_testkit::{age_intents, until, user};

use crate::{
    requests::answer,
    world::{G, World, kinds, text},
};

/// More writes than any of these changes makes.
const MOST: i64 = 40;

fn soon() -> Config {
    Config {
        follow_up_ms: 400,
        ..Config::default()
    }
}

/// Whoever changes the group next finishes what was left.
async fn next_change(world: &World) {
    let ex = SetGroupInfoExReq {
        ex: Some(text("next")),
        ..SetGroupInfoExReq::default()
    };
    assert_eq!(world.set(&user("u1"), ex).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_invitation_is_finished_by_the_next_change() {
    for writes in 0..MOST {
        let mut world = World::with(soon()).await;
        world.group(G, &["u2"]).await;
        world.until_now().await;
        world.fuse.blow_after(writes);
        let answer = world.invite(&user("u1"), &["u3"]).await;
        let blown = world.fuse.mend();
        next_change(&world).await;
        let told = kinds(&world.until_now().await);
        let in_chat = told.get(&("sg_g1".to_owned(), 1509)).copied().unwrap_or(0);
        if answer != 0 {
            assert_eq!((answer, writes, in_chat), (500, 0, 0));
            assert!(!world.is_member("u3").await);
            continue;
        }
        assert_eq!(in_chat, 1, "after {writes} writes");
        assert!(told.contains_key(&("n_u3_u3".to_owned(), 1300)));
        assert!(world.is_member("u3").await && world.record("u3").await.is_some());
        assert_eq!(world.bounds("u3").await.unwrap().member_version, 2);
        let store = world.deps.store.as_ref();
        for list in [List::JoinedGroups, List::Conversations] {
            assert!(versions::current(store, "u3", list).await.unwrap().number >= 1);
        }
        assert!(world.document().await.pending.is_empty());
        if !blown {
            return;
        }
    }
    panic!("the change makes more than {MOST} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_removal_is_finished_by_the_next_change() {
    for writes in 1..MOST {
        let mut world = World::with(soon()).await;
        world.group(G, &["u2"]).await;
        world.until_now().await;
        world.fuse.blow_after(writes);
        assert_eq!(world.kick(&user("u1"), &["u2"]).await, 0);
        let blown = world.fuse.mend();
        next_change(&world).await;
        let told = kinds(&world.until_now().await);
        assert_eq!(
            told[&("sg_g1".to_owned(), 1508)],
            1,
            "after {writes} writes"
        );
        assert!(told.contains_key(&("n_u2_u2".to_owned(), 1300)));
        assert!(!world.is_member("u2").await);
        assert_eq!(world.bounds("u2").await.unwrap().max_seq, 2);
        assert_eq!(world.record("u2").await.unwrap().max_seq, 2);
        if !blown {
            return;
        }
    }
    panic!("the change makes more than {MOST} writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_dismissal_is_finished_by_whoever_looks_at_the_group() {
    for writes in 1..MOST {
        let mut world = World::with(soon()).await;
        world.group(G, &["u2"]).await;
        world.until_now().await;
        world.fuse.blow_after(writes);
        assert_eq!(world.dismiss(&user("u1")).await, 0);
        let blown = world.fuse.mend();
        let finished = async || {
            assert_eq!(world.quit(&user("u2"), "u2").await, 1204);
            world.document().await.pending.is_empty().then_some(())
        };
        until("the dismissal is finished", finished).await;
        assert_eq!(world.notice(1511).await.conversation, "n_g1");
        assert!(!world.is_member("u1").await && !world.is_member("u2").await);
        assert!(
            world.document().await.pending.is_empty(),
            "after {writes} writes"
        );
        if !blown {
            return;
        }
    }
    panic!("the change makes more than {MOST} writes");
}

/// An acceptance lets in once: who has left since then stays out when somebody takes up what was left of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_acceptance_does_not_bring_back_who_has_left_again() {
    for writes in 1..MOST {
        let mut world = World::with(soon()).await;
        world.group(G, &["u2"]).await;
        assert_eq!(world.join("u3").await, 0);
        world.until_now().await;
        world.fuse.blow_after(writes);
        assert_eq!(answer(&world, "u1", "u3", 1).await, 0);
        let blown = world.fuse.mend();
        next_change(&world).await;
        let left = world.quit(&user("u3"), "u3").await == 0;
        let store = world.deps.store.as_ref();
        age_intents::<GroupRequest>(store).await;
        world.start_again();
        until("the worker's end", async || {
            let found = store.find::<GroupRequest>(key![G, "u3"]);
            found.await.unwrap()?.pending.is_empty().then_some(())
        })
        .await;
        // Who was not let in before the process stopped is let in now.
        assert_eq!(world.is_member("u3").await, !left, "after {writes} writes");
        if !blown {
            assert!(left);
            return;
        }
    }
    panic!("the change makes more than {MOST} writes");
}
