//! Who sees and changes what: participants, strangers, administrators, and pairs whose conversation ids are equal.

use magpie_proto::openim::{msg::*, sdkws::MsgData};
use magpie_service::Context;
use magpie_testkit::{admin, code, register, user};

use crate::world::{CHAT, World, lines, pull_range, sent};

const NO_PERMISSION: i32 = 1002;
const NOT_FOUND: i32 = 1004;

#[tokio::test]
async fn a_message_that_is_refused_gives_its_conversation_to_nobody() {
    let world = World::new().await;
    register(&world.engines.deps, &["u1_x", "y"]).await;
    assert_eq!(world.send("u1", "x_y", "mine").await, NOT_FOUND);
    world.chat("u1_x", "y", &["ours"]).await;
}

#[tokio::test]
async fn a_stranger_reads_nothing_and_changes_nothing() {
    let world = World::new().await;
    world.chat("u1", "u2", &["a", "b"]).await;
    let (mut client, id) = (world.client(), CHAT.to_owned());
    let stranger = user("u3");

    let pulled = world.range("u3", CHAT, (1, 2, 2)).await;
    assert_eq!(pulled, Err(NO_PERMISSION));
    let asked = ConversationSeqs {
        conversation_id: id.clone(),
        seqs: vec![1, 2],
    };
    let by_list = GetSeqMessageReq {
        user_id: "u3".to_owned(),
        conversations: vec![asked],
        order: 0,
    };
    let by_list = client.get_seq_message(stranger.request(by_list)).await;
    assert_eq!(by_list.unwrap().into_inner().msgs[CHAT].msgs, []);
    let last = GetLastMessageReq {
        user_id: "u3".to_owned(),
        conversation_i_ds: vec![id.clone()],
    };
    let last = client.get_last_message(stranger.request(last)).await;
    assert!(last.unwrap().into_inner().msgs.is_empty());
    assert_eq!(world.seqs("u3").await, Seqs::default());

    let user_id = "u3".to_owned();
    let revoke = RevokeMsgReq {
        conversation_id: id.clone(),
        seq: 1,
        user_id: user_id.clone(),
    };
    let delete = DeleteMsgsReq {
        conversation_id: id.clone(),
        seqs: vec![1],
        user_id: user_id.clone(),
        delete_sync_opt: Some(DeleteSyncOpt {
            is_sync_self: false,
            is_sync_other: true,
        }),
    };
    let mark = MarkMsgsAsReadReq {
        conversation_id: id.clone(),
        seqs: vec![1],
        user_id: user_id.clone(),
    };
    let set = SetConversationHasReadSeqReq {
        conversation_id: id.clone(),
        user_id,
        has_read_seq: 1,
        no_notification: false,
    };
    assert_eq!(
        [
            code(client.revoke_msg(stranger.request(revoke)).await),
            code(client.delete_msgs(stranger.request(delete)).await),
            code(client.mark_msgs_as_read(stranger.request(mark)).await),
            code(
                client
                    .set_conversation_has_read_seq(stranger.request(set))
                    .await
            ),
        ],
        [NOT_FOUND; 4]
    );
    assert_eq!(world.seen("u2").await, sent(&[(1, "a"), (2, "b")]));
}

#[tokio::test]
async fn nobody_acts_for_another_user_but_an_administrator() {
    let world = World::new().await;
    world.chat("u1", "u2", &["a"]).await;
    let mut client = world.client();
    let pull = || pull_range("u1", CHAT, (1, 1, 1), 0);
    assert_eq!(
        code(
            client
                .pull_message_by_seqs(user("u2").request(pull()))
                .await
        ),
        NO_PERMISSION
    );
    let pulled = client.pull_message_by_seqs(admin().request(pull())).await;
    let pulled = pulled.unwrap().into_inner();
    assert_eq!(lines(&pulled.msgs[CHAT].msgs), sent(&[(1, "a")]));
    let request = SendMsgReq {
        msg_data: Some(crate::world::message("u1", "u2", "forged")),
    };
    assert_eq!(
        code(client.send_msg(user("u2").request(request)).await),
        NO_PERMISSION
    );
    let request = GetConversationMaxSeqReq {
        conversation_id: CHAT.to_owned(),
    };
    assert_eq!(
        code(
            client
                .get_conversation_max_seq(user("u1").request(request))
                .await
        ),
        NO_PERMISSION
    );
}

#[tokio::test]
async fn of_a_list_the_foreign_conversations_are_skipped() {
    let world = World::new().await;
    world.chat("u1", "u2", &["a"]).await;
    world.chat("u1", "u3", &["b"]).await;
    let mut request = pull_range("u3", CHAT, (1, 1, 1), 0);
    let own = pull_range("u3", "si_u1_u3", (1, 1, 1), 0);
    request.seq_ranges.extend(own.seq_ranges);
    let pulled = world
        .client()
        .pull_message_by_seqs(user("u3").request(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(pulled.msgs.keys().collect::<Vec<_>>(), ["si_u1_u3"]);
}

/// Both pairs, `a` with `b_c` and `a_b` with `c`, have the chat `si_a_b_c`.
#[tokio::test]
async fn the_second_pair_with_a_conversation_id_gets_1001_and_reads_nothing() {
    let world = World::new().await;
    register(&world.engines.deps, &["a", "b_c", "a_b", "c"]).await;
    world.chat("a", "b_c", &["private"]).await;
    assert_eq!(world.send("a_b", "c", "mine").await, 1001);
    let chat = "si_a_b_c";
    let pulled = world.range("a_b", chat, (1, 1, 1)).await;
    assert_eq!(pulled, Err(NO_PERMISSION));
    let pulled = world.range("b_c", chat, (1, 1, 1)).await.unwrap();
    assert_eq!(lines(&pulled[chat].msgs), sent(&[(1, "private")]));
}

/// The stream `n_a_b_a_b` of user `a_b` with himself is also that of `a` and `b_a_b`.
#[tokio::test]
async fn a_users_own_stream_is_his_only_if_no_pair_has_it() {
    let world = World::new().await;
    register(&world.engines.deps, &["a", "b_a_b", "a_b"]).await;
    world.chat("a", "b_a_b", &["one"]).await;
    let mark = MarkMsgsAsReadReq {
        conversation_id: "si_a_b_a_b".to_owned(),
        seqs: vec![1],
        user_id: "b_a_b".to_owned(),
    };
    let mut client = world.client();
    client
        .mark_msgs_as_read(user("b_a_b").request(mark))
        .await
        .unwrap();
    let stream = "n_a_b_a_b";
    let stored = async || (world.max_seq(stream).await == 1).then_some(());
    magpie_testkit::until("the receipt is stored", stored).await;
    let pulled = world.range("a_b", stream, (1, 1, 1)).await;
    assert_eq!(pulled, Err(NO_PERMISSION));
    assert!(world.range("a", stream, (1, 1, 1)).await.is_ok());
    // A user whose stream has no message yet is answered, with nothing.
    let pulled = world.range("u1", "n_u1_u1", (1, 1, 1)).await;
    assert_eq!(pulled, Ok(Default::default()));
}

/// A time that JavaScript can't hold would lock the receiver out of the TypeScript SDK.
#[tokio::test]
async fn a_users_message_has_the_servers_time_and_no_claim_of_its_own() {
    let world = World::new().await;
    let before = magpie_types::time::now_ms();
    let forged = || MsgData {
        send_time: 1 << 52,
        msg_from: 200,
        ..crate::world::message("u1", "u2", "a")
    };
    let send = async |from: Context, msg: MsgData| {
        let request = SendMsgReq {
            msg_data: Some(msg),
        };
        code(world.client().send_msg(from.request(request)).await)
    };
    assert_eq!(send(user("u1"), forged()).await, 0);
    // Administrators import.
    assert_eq!(send(admin(), forged()).await, 0);
    for time in [-1, 1 << 53, i64::MIN, i64::MAX] {
        for (send_time, create_time) in [(time, 0), (0, time)] {
            for from in [user("u1"), admin()] {
                let msg = MsgData {
                    send_time,
                    create_time,
                    ..forged()
                };
                assert_eq!(send(from, msg).await, 1001, "{send_time} {create_time}");
            }
        }
    }
    let stored = async || (world.max_seq(CHAT).await == 2).then_some(());
    magpie_testkit::until("both are stored", stored).await;
    let pulled = world.range("u2", CHAT, (1, 9, 9)).await.unwrap();
    let [own, imported] = &pulled[CHAT].msgs[..] else {
        panic!("two messages");
    };
    assert!((before..=magpie_types::time::now_ms()).contains(&own.send_time));
    assert_eq!(own.msg_from, 100);
    assert_eq!((imported.send_time, imported.msg_from), (1 << 52, 200));
}
