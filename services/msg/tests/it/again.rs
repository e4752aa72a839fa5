//! Requests that failed half-way: the client's repeat ends with everything stored and everybody told.

use std::sync::Arc;

use magpie_discovery::name;
use magpie_proto::openim::{
    msg::*,
    sdkws::{MessageRevokedContent, NotificationElem, RevokeMsgTips},
};
use magpie_service::{Context, Deps};
use magpie_testkit::{Fuse, ScriptedLog, admin, code, user};

use crate::world::{CHAT, World, sent};

const REVOKED: i32 = 2101;
const DELETED: i32 = 2102;
const RECEIPT: i32 = 2200;
const CLEARED: i32 = 1703;

/// From now on the msg service has these.
fn serve(world: &World, deps: &Deps) {
    let routes = magpie_msg::routes(deps, Default::default());
    world.engines.registry.serve(name::MSG, routes);
}

/// From now on nothing can be appended, so nobody is told anything.
fn lose_log(world: &World) {
    let log = ScriptedLog::default();
    log.refuse(usize::MAX);
    let deps = Deps {
        log: Arc::new(log),
        ..world.engines.deps.clone()
    };
    serve(world, &deps);
}

/// Everything works again.
fn mend(world: &World) {
    serve(world, &world.engines.deps);
}

async fn revoke(world: &World, by: &Context, name: &str, seq: i64) -> i32 {
    let request = RevokeMsgReq {
        conversation_id: CHAT.to_owned(),
        seq,
        user_id: name.to_owned(),
    };
    code(world.client().revoke_msg(by.request(request)).await)
}

/// Moves the position of u2 in one of three ways.
async fn read(world: &World, way: &str, to: i64) -> i32 {
    let (by, mut client) = (user("u2"), world.client());
    let (conversation_id, user_id) = (CHAT.to_owned(), "u2".to_owned());
    match way {
        "messages" => {
            let request = MarkMsgsAsReadReq {
                conversation_id,
                seqs: vec![to],
                user_id,
            };
            code(client.mark_msgs_as_read(by.request(request)).await)
        }
        "conversation" => {
            let request = MarkConversationAsReadReq {
                conversation_id,
                user_id,
                has_read_seq: to,
                seqs: Vec::new(),
            };
            code(client.mark_conversation_as_read(by.request(request)).await)
        }
        _ => {
            let request = SetConversationHasReadSeqReq {
                conversation_id,
                user_id,
                has_read_seq: to,
                no_notification: false,
            };
            let set = client.set_conversation_has_read_seq(by.request(request));
            code(set.await)
        }
    }
}

fn reach(own: bool, other: bool) -> Option<DeleteSyncOpt> {
    Some(DeleteSyncOpt {
        is_sync_self: own,
        is_sync_other: other,
    })
}

async fn delete(world: &World, seq: i64, (own, other): (bool, bool)) -> i32 {
    let request = DeleteMsgsReq {
        conversation_id: CHAT.to_owned(),
        seqs: vec![seq],
        user_id: "u1".to_owned(),
        delete_sync_opt: reach(own, other),
    };
    let mut client = world.client();
    code(client.delete_msgs(user("u1").request(request)).await)
}

async fn clear(world: &World, (own, other): (bool, bool)) -> i32 {
    let request = ClearConversationsMsgReq {
        conversation_i_ds: vec![CHAT.to_owned()],
        user_id: "u1".to_owned(),
        delete_sync_opt: reach(own, other),
    };
    let mut client = world.client();
    let cleared = client.clear_conversations_msg(user("u1").request(request));
    code(cleared.await)
}

/// The next notice of a revocation, and what is shown of that message.
async fn revoked(world: &mut World, seq: i64) -> (RevokeMsgTips, MessageRevokedContent) {
    let told = world.notice(REVOKED).await;
    assert_eq!(told.conversation, "n_u1_u2");
    let tips = magpie_proto::json::from_slice(told.detail.as_bytes());
    let pulled = world.range("u2", CHAT, (seq, seq, 1)).await.unwrap();
    let shown = &pulled[CHAT].msgs[0];
    let elem: NotificationElem = magpie_proto::json::from_slice(&shown.content).unwrap();
    let content = magpie_proto::json::from_slice(elem.detail.as_bytes());
    (tips.unwrap(), content.unwrap())
}

#[tokio::test]
async fn a_revocation_that_nobody_was_told_of_is_told_once_when_it_is_repeated() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["secret"]).await;
    lose_log(&world);
    assert_eq!(revoke(&world, &user("u1"), "u1", 1).await, 500);
    mend(&world);
    assert_eq!(revoke(&world, &user("u1"), "u1", 1).await, 1404);
    let (tips, shown) = revoked(&mut world, 1).await;
    assert_eq!(
        tips,
        RevokeMsgTips {
            revoker_user_id: "u1".to_owned(),
            client_msg_id: shown.client_msg_id,
            revoke_time: shown.revoke_time,
            sesstion_type: 1,
            seq: 1,
            conversation_id: CHAT.to_owned(),
            is_admin_revoke: false,
        }
    );
    for who in ["u1", "u2"] {
        assert_eq!(revoke(&world, &user(who), who, 1).await, 1404);
    }
    assert_eq!(world.quiet().await, [0; 0]);
}

#[tokio::test]
async fn an_administrators_revocation_is_repeated_as_his() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["bad", "bad too"]).await;
    lose_log(&world);
    for seq in [1, 2] {
        assert_eq!(revoke(&world, &admin(), "u2", seq).await, 500);
    }
    mend(&world);
    let others = (user("u1"), "u1");
    for (seq, (by, name), revoker) in [(1, (admin(), "u2"), "imAdmin"), (2, others, "u2")] {
        assert_eq!(revoke(&world, &by, name, seq).await, 1404);
        let (tips, shown) = revoked(&mut world, seq).await;
        assert_eq!((tips.seq, tips.revoker_user_id.as_str()), (seq, revoker));
        assert_eq!(shown.revoker_id, "u2");
        assert!(tips.is_admin_revoke);
    }
}

#[tokio::test]
async fn a_receipt_that_was_lost_comes_when_the_reader_repeats_it() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["1", "2", "3"]).await;
    for (way, to) in [("conversation", 1), ("messages", 2), ("set", 3)] {
        lose_log(&world);
        assert_eq!(read(&world, way, to).await, 500, "{way}");
        assert_eq!(world.seqs("u2").await.has_read_seq, to - 1, "{way}");
        mend(&world);
        assert_eq!(read(&world, way, to).await, 0, "{way}");
        let told = world.notice(RECEIPT).await;
        let position = format!(r#""hasReadSeq":{to}}}"#);
        assert!(told.detail.ends_with(&position), "{}", told.detail);
        assert_eq!(world.seqs("u2").await.has_read_seq, to, "{way}");
    }
}

#[tokio::test]
async fn a_position_that_could_not_be_stored_moves_when_the_reader_repeats_it() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["1", "2", "3"]).await;
    let (fuse, deps) = Fuse::new(&world.engines.deps);
    serve(&world, &deps);
    // Who takes part in his own stream is stored by the first notice in it.
    for (way, to, writes) in [("conversation", 1, 0), ("messages", 2, 0), ("set", 3, 1)] {
        fuse.blow_after(writes);
        assert_eq!(read(&world, way, to).await, 500, "{way}");
        assert!(fuse.mend());
        assert_eq!(world.seqs("u2").await.has_read_seq, to - 1, "{way}");
        assert_eq!(read(&world, way, to).await, 0, "{way}");
        assert_eq!(world.seqs("u2").await.has_read_seq, to, "{way}");
        // Both tell the same.
        let first = world.notice(RECEIPT).await.detail;
        assert_eq!(world.notice(RECEIPT).await.detail, first, "{way}");
    }
}

#[tokio::test]
async fn what_was_deleted_or_cleared_untold_is_told_when_it_is_repeated() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["a", "b", "c"]).await;
    for (seq, reach) in [(1, (true, false)), (2, (false, true))] {
        lose_log(&world);
        assert_eq!(delete(&world, seq, reach).await, 500, "{seq}");
        mend(&world);
        assert_eq!(delete(&world, seq, reach).await, 0, "{seq}");
        let told = world.notice(DELETED).await;
        assert!(told.detail.ends_with(&format!(r#""seqs":[{seq}]}}"#)));
    }
    for reach in [(true, false), (false, true)] {
        lose_log(&world);
        assert_eq!(clear(&world, reach).await, 500, "{reach:?}");
        mend(&world);
        assert_eq!(clear(&world, reach).await, 0, "{reach:?}");
        world.notice(CLEARED).await;
    }
    assert_eq!(world.seen("u2").await, []);
}

#[tokio::test]
async fn a_message_that_can_not_be_read_now_is_not_taken_for_deleted() {
    let mut world = World::new().await;
    world.chat("u1", "u2", &["a"]).await;
    let (fuse, deps) = Fuse::new(&world.engines.deps);
    serve(&world, &deps);
    fuse.lose_lists(true);
    assert_eq!(delete(&world, 1, (false, true)).await, 500);
    fuse.lose_lists(false);
    assert_eq!(world.quiet().await, [101]);
    assert_eq!(world.seen("u2").await, sent(&[(1, "a")]));
    assert_eq!(delete(&world, 1, (false, true)).await, 0);
    world.notice(DELETED).await;
}
