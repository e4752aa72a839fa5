//! Revoking, deleting, clearing: who may, who sees what then, and who is told.

use magpie_proto::openim::{
    msg::*,
    sdkws::{MessageRevokedContent, NotificationElem},
};
use magpie_testkit::{admin, code, until, user};

use crate::world::{CHAT, World, caller, message, sent};

const REVOKED: i32 = 2101;
const DELETED: i32 = 2102;
const CLEARED: i32 = 1703;
const BOTH: [&str; 2] = ["u1", "u2"];

async fn revoke(world: &World, who: &str, seq: i64) -> i32 {
    let request = RevokeMsgReq {
        conversation_id: CHAT.to_owned(),
        seq,
        user_id: who.to_owned(),
    };
    code(
        world
            .client()
            .revoke_msg(caller(who).request(request))
            .await,
    )
}

async fn delete(world: &World, who: &str, seqs: &[i64], (own, other): (bool, bool)) {
    let request = DeleteMsgsReq {
        conversation_id: CHAT.to_owned(),
        seqs: seqs.to_vec(),
        user_id: who.to_owned(),
        delete_sync_opt: Some(DeleteSyncOpt {
            is_sync_self: own,
            is_sync_other: other,
        }),
    };
    let mut client = world.client();
    client
        .delete_msgs(user(who).request(request))
        .await
        .unwrap();
}

async fn clear(world: &World, who: &str, (own, other): (bool, bool)) {
    let request = ClearConversationsMsgReq {
        conversation_i_ds: vec![CHAT.to_owned(), "si_x_y".to_owned()],
        user_id: who.to_owned(),
        delete_sync_opt: Some(DeleteSyncOpt {
            is_sync_self: own,
            is_sync_other: other,
        }),
    };
    let mut client = world.client();
    let cleared = client.clear_conversations_msg(user(who).request(request));
    cleared.await.unwrap();
}

#[tokio::test]
async fn the_sender_revokes_and_both_sides_learn_of_it() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["secret", "other"]).await;
    assert_eq!(revoke(&world, "u2", 1).await, 1002);
    assert_eq!(revoke(&world, "u1", 1).await, 0);
    let told = world.notice(REVOKED).await;
    assert_eq!((told.conversation.as_str(), told.seq), ("n_u1_u2", 1));
    let mut receivers = told.receivers.clone();
    receivers.sort();
    assert_eq!(receivers, BOTH);
    assert!(
        told.detail.contains(r#""isAdminRevoke":false"#),
        "{}",
        told.detail
    );
    for reader in BOTH {
        let pulled = world.range(reader, CHAT, (1, 2, 2)).await.unwrap();
        let [revoked, other] = pulled[CHAT].msgs.as_slice() else {
            panic!("two messages")
        };
        assert_eq!((revoked.seq, revoked.content_type), (1, REVOKED));
        let elem: NotificationElem = magpie_proto::json::from_slice(&revoked.content).unwrap();
        let content: MessageRevokedContent =
            magpie_proto::json::from_slice(elem.detail.as_bytes()).unwrap();
        assert_eq!(
            (
                content.revoker_id.as_str(),
                content.source_message_send_id.as_str(),
                content.seq
            ),
            ("u1", "u1", 1)
        );
        assert_eq!(other.content_type, 101);
    }
    assert_eq!(revoke(&world, "u1", 1).await, 1404);
}

#[tokio::test]
async fn a_quote_of_a_revoked_message_does_not_show_it() {
    let world = World::new().await;
    world.chat("u1", "u2", &["secret", "kept"]).await;
    for seq in [1, 2] {
        let mut quote = message("u2", "u1", "");
        let text = format!(
            r#"{{"text":"look","quoteMessage":{{"seq":{seq},"contentType":101,"senderFaceUrl":"f","textElem":{{"content":"secret"}}}}}}"#
        );
        (quote.content_type, quote.content) = (114, text.into());
        let request = SendMsgReq {
            msg_data: Some(quote),
        };
        let mut client = world.client();
        let quoted = client.send_msg(user("u2").request(request)).await;
        assert_eq!(code(quoted), 0);
    }
    let stored = async || (world.max_seq(CHAT).await == 4).then_some(());
    until("the quotes are stored", stored).await;
    assert_eq!(revoke(&world, "u1", 1).await, 0);
    let seen = world.seen("u1").await;
    let quoted = |seq: usize| {
        let content: serde_json::Value = serde_json::from_str(&seen[seq - 1].2).unwrap();
        assert_eq!(content["text"], "look");
        content["quoteMessage"].clone()
    };
    let revoked = quoted(3);
    assert_eq!(revoked["contentType"], REVOKED);
    assert_eq!(revoked["senderFaceUrl"], "f");
    assert_eq!(revoked["textElem"], serde_json::Value::Null);
    assert_eq!(revoked["content"], seen[0].2.as_str());
    assert_eq!(quoted(4)["textElem"]["content"], "secret");
}

#[tokio::test]
async fn an_administrator_revokes_anybodys_message_and_both_sides_learn_of_it() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["bad"]).await;
    assert_eq!(revoke(&world, "imAdmin", 1).await, 0);
    let mut told = world.notice(REVOKED).await;
    told.receivers.sort();
    assert_eq!(told.receivers, BOTH);
    assert!(
        told.detail.contains(r#""isAdminRevoke":true"#),
        "{}",
        told.detail
    );
}

#[tokio::test]
async fn who_revokes_in_anothers_name_is_named_himself() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["bad"]).await;
    let request = RevokeMsgReq {
        conversation_id: CHAT.to_owned(),
        seq: 1,
        user_id: "u2".to_owned(),
    };
    let done = world.client().revoke_msg(admin().request(request)).await;
    assert_eq!(code(done), 0);
    let told = world.notice(REVOKED).await;
    let named = told.detail.contains(r#""revokerUserID":"imAdmin""#);
    assert!(named, "{}", told.detail);
}

#[tokio::test]
async fn what_is_not_there_can_not_be_revoked() {
    let world = World::new().await;
    world.chat("u1", "u2", &["a"]).await;
    delete(&world, "u1", &[1], (false, true)).await;
    assert_eq!(revoke(&world, "u1", 1).await, 1004);
    assert_eq!(revoke(&world, "u1", 0).await, 1001);
}

#[tokio::test]
async fn deleting_for_oneself_hides_the_message_from_nobody_else() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["a", "b"]).await;
    delete(&world, "u2", &[1], (false, false)).await;
    assert_eq!(world.quiet().await, [101, 101]);
    assert_eq!(
        world.seen("u2").await,
        [(1, 4, String::new()), (2, 2, "b".to_owned())]
    );
    assert_eq!(world.seen("u1").await, sent(&[(1, "a"), (2, "b")]));
    // Again, with the other devices told.
    delete(&world, "u2", &[1, 2, 77], (true, false)).await;
    let told = world.notice(DELETED).await;
    assert_eq!(
        (told.conversation.as_str(), told.receivers),
        ("n_u2_u2", vec!["u2".to_owned()])
    );
    assert_eq!(
        told.detail,
        r#"{"userID":"u2","conversationID":"si_u1_u2","seqs":[1,2]}"#
    );
}

#[tokio::test]
async fn deleting_for_everybody_leaves_a_placeholder_and_the_number() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["a", "b"]).await;
    delete(&world, "u1", &[2], (false, true)).await;
    let mut told = world.notice(DELETED).await;
    told.receivers.sort();
    assert_eq!(
        (told.conversation.as_str(), told.receivers),
        ("n_u1_u2", BOTH.map(String::from).to_vec())
    );
    for reader in BOTH {
        assert_eq!(
            world.seen(reader).await,
            [(1, 2, "a".to_owned()), (2, 4, String::new())]
        );
    }
    world.chat("u1", "u2", &["c"]).await;
    assert_eq!(world.seen("u2").await[2], (3, 2, "c".to_owned()));
}

#[tokio::test]
async fn clearing_for_oneself_raises_the_lower_bound_and_the_read_position() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["a", "b"]).await;
    clear(&world, "u2", (true, false)).await;
    let told = world.notice(CLEARED).await;
    assert_eq!(told.receivers, ["u2"]);
    assert_eq!(
        told.detail,
        r#"{"userID":"u2","conversationIDs":["si_u1_u2"]}"#
    );
    assert_eq!(world.seen("u2").await, []);
    assert_eq!(world.seqs("u2").await.has_read_seq, 2);
    world.chat("u1", "u2", &["c"]).await;
    assert_eq!(world.seen("u2").await, sent(&[(3, "c")]));
    assert_eq!(
        world.seen("u1").await,
        sent(&[(1, "a"), (2, "b"), (3, "c")])
    );
}

#[tokio::test]
async fn clearing_for_everybody_clears_both_sides() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["a", "b"]).await;
    clear(&world, "u1", (false, true)).await;
    let mut told = world.notice(CLEARED).await;
    told.receivers.sort();
    assert_eq!(told.receivers, BOTH);
    for reader in BOTH {
        assert_eq!(world.seen(reader).await, []);
    }
    world.chat("u2", "u1", &["c"]).await;
    assert_eq!(world.seen("u1").await, sent(&[(3, "c")]));
}

#[tokio::test]
async fn a_user_clears_all_his_conversations() {
    let world = World::new().await;
    world.chat("u1", "u2", &["a"]).await;
    world.chat("u3", "u2", &["b"]).await;
    let request = UserClearAllMsgReq {
        user_id: "u2".to_owned(),
        delete_sync_opt: None,
    };
    let mut client = world.client();
    client
        .user_clear_all_msg(user("u2").request(request))
        .await
        .unwrap();
    assert_eq!(world.seen("u2").await, []);
    assert_eq!(
        world.range("u2", "si_u2_u3", (1, 9, 9)).await,
        Ok(Default::default())
    );
    assert_eq!(world.seen("u1").await, sent(&[(1, "a")]));
}

#[tokio::test]
async fn erasing_by_age_leaves_newer_messages_and_other_chats() {
    let world = World::new().await;
    world.chat("u1", "u2", &["a", "b"]).await;
    world.chat("u1", "u3", &["c"]).await;
    let erase = async |who: magpie_service::Context, ids: &[&str], timestamp| {
        let request = DeleteMsgPhysicalReq {
            conversation_i_ds: ids.iter().map(|&id| id.to_owned()).collect(),
            timestamp,
        };
        code(
            world
                .client()
                .delete_msg_physical(who.request(request))
                .await,
        )
    };
    assert_eq!(erase(user("u1"), &[CHAT], 0).await, 1002);
    assert_eq!(erase(admin(), &[CHAT], -1).await, 1001);
    assert_eq!(erase(admin(), &["nonsense"], 0).await, 1001);
    assert_eq!(erase(admin(), &[CHAT], 3600).await, 0);
    assert_eq!(world.seen("u2").await, sent(&[(1, "a"), (2, "b")]));
    let now = async || (magpie_types::time::now_ms() > world.newest_time(CHAT).await).then_some(());
    magpie_testkit::until("a millisecond has passed", now).await;
    assert_eq!(erase(admin(), &[CHAT, "si_no_chat"], 0).await, 0);
    let gone = |seq| (seq, 4, String::new());
    assert_eq!(world.seen("u2").await, [gone(1), gone(2)]);
    let other = world.range("u3", "si_u1_u3", (1, 1, 1)).await.unwrap();
    assert_eq!(
        crate::world::lines(&other["si_u1_u3"].msgs),
        sent(&[(1, "c")])
    );
}
