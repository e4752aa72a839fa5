//! Read positions: clamped, never back, only moves are announced (corrections.md 52, 54).

use magpie_proto::openim::msg::*;
use magpie_store::{Document as _, Follow, documents::UserSeq};
use magpie_testkit::{code, user};

use crate::world::{CHAT, World};

const RECEIPT: i32 = 2200;

async fn mark_conversation(world: &World, has_read_seq: i64, seqs: &[i64]) -> i32 {
    let request = MarkConversationAsReadReq {
        conversation_id: CHAT.to_owned(),
        user_id: "u2".to_owned(),
        has_read_seq,
        seqs: seqs.to_vec(),
    };
    let mut client = world.client();
    code(
        client
            .mark_conversation_as_read(user("u2").request(request))
            .await,
    )
}

async fn mark_msgs(world: &World, seqs: &[i64]) -> i32 {
    let request = MarkMsgsAsReadReq {
        conversation_id: CHAT.to_owned(),
        seqs: seqs.to_vec(),
        user_id: "u2".to_owned(),
    };
    code(
        world
            .client()
            .mark_msgs_as_read(user("u2").request(request))
            .await,
    )
}

#[tokio::test]
async fn a_request_that_names_nobody_is_a_mistake() {
    let world = World::new().await;
    let (me, mut client) = (user("u2"), world.client());
    let marked = client.mark_msgs_as_read(me.request(MarkMsgsAsReadReq {
        conversation_id: CHAT.to_owned(),
        seqs: vec![1],
        user_id: String::new(),
    }));
    assert_eq!(code(marked.await), 1001);
    let nobody = GetConversationsHasReadAndMaxSeqReq::default();
    let positions = client.get_conversations_has_read_and_max_seq(me.request(nobody));
    assert_eq!(code(positions.await), 1001);
}

async fn set(world: &World, has_read_seq: i64) -> i32 {
    let request = SetConversationHasReadSeqReq {
        conversation_id: CHAT.to_owned(),
        user_id: "u2".to_owned(),
        has_read_seq,
        no_notification: false,
    };
    let mut client = world.client();
    code(
        client
            .set_conversation_has_read_seq(user("u2").request(request))
            .await,
    )
}

async fn read_seq(world: &World) -> i64 {
    world.seqs("u2").await.has_read_seq
}

#[tokio::test]
async fn marking_a_conversation_moves_up_to_the_newest_message_and_never_back() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["1", "2", "3"]).await;
    assert_eq!(mark_conversation(&world, 2, &[]).await, 0);
    let told = world.notice(RECEIPT).await;
    assert_eq!(
        (told.conversation.as_str(), told.sender.as_str(), told.seq),
        ("n_u1_u2", "u2", 1)
    );
    assert_eq!(told.receivers, ["u1", "u2"]);
    assert_eq!(
        told.detail,
        r#"{"markAsReadUserID":"u2","conversationID":"si_u1_u2","seqs":[1,2],"hasReadSeq":2}"#
    );
    // Above the newest: clamped.
    assert_eq!(mark_conversation(&world, 99, &[]).await, 0);
    let told = world.notice(RECEIPT).await;
    assert!(
        told.detail.ends_with(r#""seqs":[3],"hasReadSeq":3}"#),
        "{}",
        told.detail
    );
    assert_eq!(read_seq(&world).await, 3);
    // Back, or where it is: nothing happens, nobody is told.
    for (to, seqs) in [(1, &[][..]), (3, &[]), (2, &[1, 2])] {
        assert_eq!(mark_conversation(&world, to, seqs).await, 0);
    }
    assert_eq!(world.quiet().await, [0; 0]);
    assert_eq!(read_seq(&world).await, 3);
    assert_eq!(mark_conversation(&world, 0, &[]).await, 1001);
}

#[tokio::test]
async fn marking_messages_moves_to_the_highest_and_never_back() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["1", "2", "3"]).await;
    assert_eq!(mark_msgs(&world, &[2, 1]).await, 0);
    let told = world.notice(RECEIPT).await;
    assert!(
        told.detail.ends_with(r#""seqs":[2,1],"hasReadSeq":2}"#),
        "{}",
        told.detail
    );
    assert_eq!(mark_msgs(&world, &[1]).await, 0);
    assert_eq!(world.quiet().await, [0; 0]);
    assert_eq!(read_seq(&world).await, 2);
    for wrong in [&[][..], &[0], &[9, 1], &[1, 9]] {
        assert_eq!(mark_msgs(&world, wrong).await, 1001, "{wrong:?}");
    }
    assert_eq!(read_seq(&world).await, 2);
}

#[tokio::test]
async fn setting_a_position_tells_the_readers_own_devices_only() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["1", "2"]).await;
    // What the chat's receivers get and what u2's own devices get have no order between them.
    assert_eq!(world.quiet().await, [101, 101]);
    assert_eq!(set(&world, 2).await, 0);
    let told = world.notice(RECEIPT).await;
    assert_eq!((told.receivers, told.seq), (vec!["u2".to_owned()], 0));
    assert!(
        told.detail.ends_with(r#""seqs":[],"hasReadSeq":2}"#),
        "{}",
        told.detail
    );
    assert_eq!([set(&world, 1).await, set(&world, 2).await], [0, 0]);
    assert_eq!(world.quiet().await, [0; 0]);
    assert_eq!([set(&world, 3).await, set(&world, 0).await], [1001, 1001]);
    assert_eq!(read_seq(&world).await, 2);
}

#[tokio::test]
async fn a_sender_has_read_his_own_message_and_sees_when_the_other_has() {
    let world = World::new().await;
    world.chat("u1", "u2", &["1", "2"]).await;
    assert_eq!(world.seqs("u1").await.has_read_seq, 2);
    assert_eq!(mark_conversation(&world, 1, &[]).await, 0);
    let pulled = world.range("u1", CHAT, (1, 2, 2)).await.unwrap();
    let read: Vec<_> = pulled[CHAT].msgs.iter().map(|m| m.is_read).collect();
    assert_eq!(read, [true, false]);
}

#[tokio::test]
async fn nobody_has_read_more_than_there_is() {
    let world = World::new().await;
    world.chat("u1", "u2", &["a"]).await;
    // MongoDB shows the writes that follow a message in any order: this position before the head.
    let ahead = UserSeq {
        user_id: "u2".to_owned(),
        conversation_id: CHAT.to_owned(),
        read_seq: 2,
        min_seq: 0,
        max_seq: 0,
        member_version: 0,
        marked_seq: 0,
    };
    let raise = Follow::Max {
        schema: UserSeq::SCHEMA,
        row: ahead.into_row(),
        fields: &[2],
    };
    world.engines.deps.store.apply(vec![raise]).await.unwrap();
    let seqs = world.seqs("u2").await;
    assert_eq!((seqs.has_read_seq, seqs.max_seq), (1, 1));
}
