//! A changed profile on its way to everybody who has the user as friend.

use magpie_proto::openim::relation::*;
use magpie_store::{Documents as _, documents::ProfileFanout, key};
use magpie_testkit::{admin, age_intents, code, register, until, user};

use super::{full_ids, import, since, start, start_fused};

fn changed(of: &str) -> NotificationUserInfoUpdateReq {
    NotificationUserInfoUpdateReq {
        user_id: of.to_owned(),
        old_user_info: None,
        new_user_info: None,
    }
}

const FRIENDS: [&str; 5] = ["u2", "u3", "f1", "f2", "f3"];

#[tokio::test]
async fn every_friend_gets_an_update_and_is_told_by_who_changed_it() {
    let (world, client) = start().await;
    register(&world.deps, &["f1", "f2", "f3"]).await;
    import(&client, &admin(), &FRIENDS).await;
    super::delete(&client, "f1", "u1").await;
    let before = full_ids(&client, "u2").await;
    world.sent();
    let call = client
        .clone()
        .notification_user_info_update(admin().request(changed("u1")))
        .await;
    assert_eq!(code(call), 0);
    let mut told = Vec::new();
    until("1209 to all", async || {
        told.extend(world.sent());
        (told.len() >= 4).then_some(())
    })
    .await;
    told.sort();
    let line = |to: &str| {
        let detail = r#"{"userID":"u1"}"#.to_owned();
        (1209, "imAdmin".to_owned(), to.to_owned(), false, detail)
    };
    assert_eq!(told, ["f2", "f3", "u2", "u3"].map(line));
    let changes = since(&client, "u2", &before).await;
    assert_eq!(changes.update.len(), 1);
    let foreign = client
        .clone()
        .notification_user_info_update(user("u2").request(changed("u1")))
        .await;
    assert_eq!(code(foreign), 1002);
}

/// Killed after any number of writes, the walk ends: everybody is told, and nobody twice by different messages.
#[tokio::test]
async fn a_walk_that_was_interrupted_goes_on() {
    for writes in 1..12 {
        let (world, client, fuse, deps) = start_fused().await;
        register(&world.deps, &["f1", "f2", "f3"]).await;
        import(&client, &admin(), &FRIENDS).await;
        world.sent();
        fuse.blow_after(writes);
        let call = client
            .clone()
            .notification_user_info_update(user("u1").request(changed("u1")))
            .await;
        assert_eq!(code(call), 0, "after {writes}");
        let walk = async || -> ProfileFanout {
            let found = world.deps.store.find(key!["u1"]).await.unwrap();
            found.expect("the walk is noted")
        };
        deps.tasks.close();
        let mut looks = 0;
        // The walk has ended, or can't go on.
        let mut told = Vec::new();
        until("an end", async || {
            told.extend(world.messages());
            looks += 1;
            (walk().await.pending.is_empty() || looks > 40).then_some(())
        })
        .await;
        fuse.mend();
        if !walk().await.pending.is_empty() {
            assert_eq!(
                age_intents::<ProfileFanout>(world.deps.store.as_ref()).await,
                1
            );
            super::serve(&world, &deps);
        }
        until("the walk's end", async || {
            walk().await.pending.is_empty().then_some(())
        })
        .await;
        told.extend(world.messages());
        let mut ids: Vec<_> = told
            .into_iter()
            .map(|m| (m.recv_id, m.client_msg_id))
            .collect();
        ids.sort();
        ids.dedup();
        let receivers: Vec<_> = ids.iter().map(|(to, _)| to.as_str()).collect();
        assert_eq!(receivers, ["f1", "f2", "f3", "u2", "u3"], "after {writes}");
    }
}
