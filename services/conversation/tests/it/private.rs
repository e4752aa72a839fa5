//! Burn-after-reading: the same on both sides, whoever switches it when, and told when it changes.

use magpie_proto::openim::{conversation::*, protobuf::*};
use magpie_store::{Documents as _, documents, key};
use magpie_testkit::{Fuse, age_intents, code, until, user};

use super::{all, serve, set, start, with_u2};

/// Burn-after-reading between u1 and u2, set by the one whose peer this is.
fn private_with(peer: &str, value: bool) -> ConversationReq {
    ConversationReq {
        user_id: peer.to_owned(),
        is_private_chat: Some(BoolValue { value }),
        ..with_u2()
    }
}

#[tokio::test]
async fn burn_after_reading_is_set_on_both_sides_and_told_in_the_chat() {
    let (world, client) = start().await;
    let private = ConversationReq {
        is_private_chat: Some(BoolValue { value: true }),
        ..with_u2()
    };
    assert_eq!(set(&client, &user("u1"), &["u1"], private).await, 0);
    let detail = r#"{"recvID":"u2","sendID":"u1","isPrivate":true,"conversationID":"si_u1_u2"}"#;
    assert_eq!(
        world.sent(),
        [(
            1701,
            "u1".to_owned(),
            "u2".to_owned(),
            true,
            detail.to_owned()
        )]
    );
    let peers = all(&client, "u2").await;
    assert_eq!(
        peers
            .iter()
            .map(|c| (c.is_private_chat, c.user_id.as_str()))
            .collect::<Vec<_>>(),
        [(true, "u1")]
    );
    assert!(all(&client, "u1").await.iter().all(|c| c.is_private_chat));
}

#[tokio::test]
async fn burn_after_reading_is_told_when_it_changes() {
    let (world, client) = start().await;
    let (one, other) = (user("u1"), user("u2"));
    for (ctx, owner, peer, value, told) in [
        (&one, "u1", "u2", true, 1),
        (&one, "u1", "u2", true, 0),
        (&other, "u2", "u1", true, 0),
        (&other, "u2", "u1", false, 1),
        (&one, "u1", "u2", false, 0),
    ] {
        let wanted = private_with(peer, value);
        assert_eq!(set(&client, ctx, &[owner], wanted).await, 0);
        let lines: Vec<_> = world.sent().into_iter().map(|s| (s.0, s.1)).collect();
        assert_eq!(lines, vec![(1701, owner.to_owned()); told]);
        for user in ["u1", "u2"] {
            assert_eq!(all(&client, user).await[0].is_private_chat, value);
        }
    }
    // The other one's record is made anew without it.
    let on = private_with("u2", true);
    assert_eq!(set(&client, &one, &["u1"], on.clone()).await, 0);
    let removal = DeleteConversationsReq {
        owner_user_id: "u2".to_owned(),
        need_delete_time: 0,
        conversation_i_ds: vec!["si_u1_u2".to_owned()],
    };
    let removed = client
        .clone()
        .delete_conversations(other.request(removal))
        .await;
    assert_eq!(code(removed), 0);
    assert_eq!(set(&client, &one, &["u1"], on).await, 0);
    assert!(all(&client, "u2").await[0].is_private_chat);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_agree_on_burn_after_reading_when_both_switch_it_at_once() {
    let (_world, client) = start().await;
    for _ in 0..5 {
        let switches = (0..12).map(|i| {
            let client = client.clone();
            async move {
                let (me, peer) = [("u1", "u2"), ("u2", "u1")][i % 2];
                set(&client, &user(me), &[me], private_with(peer, i % 4 < 2)).await
            }
        });
        let codes = futures::future::join_all(switches).await;
        assert_eq!(codes, [0; 12]);
        let one = all(&client, "u1").await[0].is_private_chat;
        assert_eq!(all(&client, "u2").await[0].is_private_chat, one);
    }
}

#[tokio::test]
async fn what_is_left_of_a_switch_does_not_undo_the_other_sides_later_one() {
    for writes in 1..12 {
        let (world, _) = start().await;
        let (fuse, deps) = Fuse::new(&world.deps);
        let client = serve(&world, &deps);
        fuse.blow_after(writes);
        let on = private_with("u2", true);
        assert_eq!(set(&client, &user("u1"), &["u1"], on).await, 0);
        let blown = fuse.mend();
        let off = private_with("u1", false);
        assert_eq!(set(&client, &user("u2"), &["u2"], off).await, 0);
        let store = world.deps.store.as_ref();
        age_intents::<documents::Conversation>(store).await;
        let client = serve(&world, &deps);
        until("the worker's end", async || {
            let keys = ["u1", "u2"].map(|user| key![user, "si_u1_u2"]);
            let both = store.find_many::<documents::Conversation>(keys.into());
            let both: Vec<_> = both.await.unwrap().into_iter().flatten().collect();
            both.iter().all(|r| r.pending.is_empty()).then_some(())
        })
        .await;
        for user in ["u1", "u2"] {
            let records = all(&client, user).await;
            assert!(!records[0].is_private_chat, "after {writes} writes");
        }
        let mut lines = world.sent().into_iter().filter(|s| s.0 == 1701);
        assert_eq!(lines.next_back().unwrap().1, "u2");
        assert!(lines.all(|line| line.1 == "u1"));
        if !blown {
            return;
        }
    }
    panic!("the change never ended");
}

#[tokio::test]
async fn only_chats_of_two_users_have_burn_after_reading() {
    let (world, client) = start().await;
    let notices = ConversationReq {
        conversation_id: "sn_u1_u2".to_owned(),
        conversation_type: 4,
        ..private_with("u2", true)
    };
    assert_eq!(set(&client, &user("u1"), &["u1"], notices).await, 0);
    let told: Vec<_> = world.sent().into_iter().map(|s| s.0).collect();
    assert_eq!(told, [1300]);
    assert!(!all(&client, "u1").await[0].is_private_chat);
    assert!(all(&client, "u2").await.is_empty());
}
