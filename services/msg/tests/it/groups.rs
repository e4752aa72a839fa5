//! Group messages: who may send, what members and those who were see, and what they may do with it.

use magpie_discovery::name;
use magpie_proto::{
    magpie::{
        log::Membership,
        msg::{AnnounceReq, memberships_client::MembershipsClient},
    },
    openim::{
        msg::*,
        sdkws::{MessageRevokedContent, MsgData, NotificationElem},
    },
};
use magpie_service::{Context, notification::Notification};
use magpie_store::{
    Documents as _,
    documents::{Conversation, Group, GroupMember},
    key,
};
use magpie_testkit::{admin, code, register, rows, until, user};

use crate::world::{World, message};

const CHAT: &str = "sg_g1";

/// u1 owner, u2 administrator, u3 and u4 ordinary members of g1; u5 is nobody there.
async fn start() -> World {
    let world = World::new().await;
    register(&world.engines.deps, &["u4", "u5"]).await;
    let store = &world.engines.deps.store;
    store.add(group(0)).await.unwrap();
    for (who, role) in [("u1", 100), ("u2", 60), ("u3", 20), ("u4", 20)] {
        store.add(member(who, role)).await.unwrap();
    }
    announce(&world, 1, &["u1", "u2", "u3", "u4"], &[]).await;
    world
}

fn group(status: i32) -> Group {
    Group {
        status,
        ..rows::group("g1", "u1", 4, 1)
    }
}

fn member(who: &str, role_level: i32) -> GroupMember {
    GroupMember {
        role_level,
        ..rows::member("g1", who, 1, 0)
    }
}

/// Logs a change of the membership with its line in the chat, and waits for it.
async fn announce(world: &World, version: i64, joined: &[&str], left: &[&str]) {
    let before = world.max_seq(CHAT).await;
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let notice = Notification::to_group(1509, "u1", "g1", &version).unwrap();
    let request = AnnounceReq {
        notification: Some(notice.in_chat().into_msg().unwrap()),
        membership: Some(Membership {
            version,
            joined: owned(joined),
            left: owned(left),
            ..Membership::default()
        }),
    };
    let deps = &world.engines.deps;
    let mut client = MembershipsClient::new(deps.channel(name::MSG));
    let by_user = client.announce(user("u1").request(request.clone())).await;
    assert_eq!(code(by_user), 1002);
    let internal = Context::internal("test");
    client.announce(internal.request(request)).await.unwrap();
    let moved = [joined, left].concat();
    let bounded = async || {
        let last = *moved.last()?;
        if world.max_seq(CHAT).await == before {
            return None;
        }
        let seqs: Option<magpie_store::documents::UserSeq> =
            deps.store.find(key![last, CHAT]).await.unwrap();
        seqs.filter(|s| s.member_version >= version)
    };
    until("the bounds are set", bounded).await;
}

async fn send(world: &World, msg: MsgData) -> i32 {
    let by = user(&msg.send_id);
    let request = SendMsgReq {
        msg_data: Some(msg),
    };
    code(world.client().send_msg(by.request(request)).await)
}

fn text(who: &str) -> MsgData {
    MsgData {
        group_id: "g1".to_owned(),
        session_type: 3,
        ..message(who, "", "hello")
    }
}

/// Sends and waits until it is stored.
async fn say(world: &World, who: &str) -> i64 {
    let before = world.max_seq(CHAT).await;
    assert_eq!(send(world, text(who)).await, 0);
    let stored = async || Some(world.max_seq(CHAT).await).filter(|seq| *seq > before);
    until("the message is stored", stored).await
}

async fn update_member(world: &World, who: &str, change: impl Fn(&mut GroupMember)) {
    let store = &world.engines.deps.store;
    let mut row: GroupMember = store.find(key!["g1", who]).await.unwrap().unwrap();
    let rev = row.rev;
    change(&mut row);
    row.rev += 1;
    assert!(store.replace(row, rev).await.unwrap());
}

async fn set_status(world: &World, status: i32) {
    let store = &world.engines.deps.store;
    let old: Group = store.find(key!["g1"]).await.unwrap().unwrap();
    let new = Group {
        rev: old.rev + 1,
        ..group(status)
    };
    assert!(store.replace(new, old.rev).await.unwrap());
}

async fn seen(world: &World, who: &str) -> Vec<i64> {
    let pulled = world.range(who, CHAT, (1, 100, 100)).await.unwrap();
    pulled
        .get(CHAT)
        .map(|p| p.msgs.iter().map(|m| m.seq).collect())
        .unwrap_or_default()
}

async fn revoke(world: &World, by: &Context, who: &str, seq: i64) -> i32 {
    let request = RevokeMsgReq {
        conversation_id: CHAT.to_owned(),
        seq,
        user_id: who.to_owned(),
    };
    code(world.client().revoke_msg(by.request(request)).await)
}

#[tokio::test]
async fn only_members_who_are_not_muted_speak() {
    let world = start().await;
    assert_eq!(send(&world, text("u3")).await, 0);
    assert_eq!(send(&world, text("u5")).await, 1203);
    let elsewhere = MsgData {
        group_id: "never".to_owned(),
        ..text("u1")
    };
    assert_eq!(send(&world, elsewhere).await, 1201);
    let nowhere = MsgData {
        group_id: String::new(),
        ..text("u1")
    };
    assert_eq!(send(&world, nowhere).await, 1001);
    let forged = MsgData {
        content_type: 1508,
        ..text("u1")
    };
    assert_eq!(send(&world, forged).await, 1002);
    // A write is enforced at once.
    update_member(&world, "u3", |m| m.mute_end_time = i64::MAX).await;
    update_member(&world, "u1", |m| m.mute_end_time = i64::MAX).await;
    assert_eq!(
        (
            send(&world, text("u3")).await,
            send(&world, text("u1")).await
        ),
        (1402, 0)
    );
    set_status(&world, 3).await;
    for (who, expected) in [("u1", 0), ("u2", 0), ("u4", 1403)] {
        assert_eq!(send(&world, text(who)).await, expected, "{who}");
    }
    update_member(&world, "u2", |m| m.left_time = 1).await;
    assert_eq!(send(&world, text("u2")).await, 1203);
    set_status(&world, 2).await;
    assert_eq!(send(&world, text("u1")).await, 1204);
}

#[tokio::test]
async fn members_see_what_their_bounds_allow_and_strangers_nothing() {
    let world = start().await;
    assert_eq!(say(&world, "u1").await, 2);
    announce(&world, 2, &[], &["u4"]).await;
    assert_eq!(say(&world, "u1").await, 4);
    assert_eq!(seen(&world, "u3").await, [1, 2, 3, 4]);
    assert_eq!(seen(&world, "u4").await, [1, 2, 3]);
    assert_eq!(world.range("u5", CHAT, (1, 9, 9)).await, Err(1002));
    let positions = async |who: &str| {
        let request = GetConversationsHasReadAndMaxSeqReq {
            user_id: who.to_owned(),
            conversation_i_ds: vec![CHAT.to_owned()],
            return_pinned: false,
        };
        let mut client = world.client();
        let answer = client.get_conversations_has_read_and_max_seq(user(who).request(request));
        let seqs = answer.await.unwrap().into_inner().seqs;
        seqs.get(CHAT).map(|s| (s.max_seq, s.has_read_seq))
    };
    assert_eq!(positions("u1").await, Some((4, 4)));
    assert_eq!(positions("u4").await, Some((3, 0)));
    assert_eq!(positions("u5").await, None);
    // It was on its way when he left, and is the others'.
    assert_eq!(say(&world, "u4").await, 5);
    assert_eq!(positions("u4").await, Some((3, 3)));
    let listed = GetSeqMessageReq {
        user_id: "u4".to_owned(),
        conversations: vec![ConversationSeqs {
            conversation_id: CHAT.to_owned(),
            seqs: vec![3, 4],
        }],
        order: 0,
    };
    let mut client = world.client();
    let listed = client.get_seq_message(user("u4").request(listed)).await;
    let listed = listed.unwrap().into_inner().msgs[CHAT].clone();
    assert_eq!(
        (listed.msgs.len(), listed.is_end, listed.end_seq),
        (1, true, 3)
    );
}

#[tokio::test]
async fn a_read_position_moves_for_the_readers_own_devices() {
    let mut world = start().await;
    let seq = say(&world, "u1").await;
    let request = MarkConversationAsReadReq {
        conversation_id: CHAT.to_owned(),
        user_id: "u3".to_owned(),
        has_read_seq: seq,
        seqs: Vec::new(),
    };
    let mut client = world.client();
    let stranger = MarkConversationAsReadReq {
        user_id: "u5".to_owned(),
        ..request.clone()
    };
    assert_eq!(
        code(
            client
                .mark_conversation_as_read(user("u5").request(stranger))
                .await
        ),
        1004
    );
    assert_eq!(
        code(
            client
                .mark_conversation_as_read(user("u3").request(request))
                .await
        ),
        0
    );
    let notice = world.notice(2200).await;
    assert_eq!((notice.conversation.as_str(), notice.seq), ("n_u3_u3", 0));
}

#[tokio::test]
async fn a_message_is_revoked_by_its_sender_and_those_above_him() {
    let mut world = start().await;
    let mut seqs = Vec::new();
    for who in ["u1", "u2", "u3", "u3", "u3", "u4"] {
        seqs.push(say(&world, who).await);
    }
    for (who, seq, expected) in [
        ("u4", seqs[2], 1002),
        ("u3", seqs[0], 1002),
        ("u2", seqs[0], 1002),
        ("u5", seqs[2], 1004),
        ("u3", seqs[2], 0),
        ("u2", seqs[3], 0),
        ("u1", seqs[1], 0),
        ("u1", seqs[1], 1404),
    ] {
        assert_eq!(
            revoke(&world, &user(who), who, seq).await,
            expected,
            "{who} {seq}"
        );
    }
    assert_eq!(revoke(&world, &admin(), "imAdmin", seqs[4]).await, 0);
    let notice = world.notice(2101).await;
    assert_eq!(
        (
            notice.conversation.as_str(),
            notice.sender.as_str(),
            notice.seq
        ),
        ("n_g1", "u3", 1)
    );
    let pulled = world
        .range("u4", CHAT, (seqs[3], seqs[3], 1))
        .await
        .unwrap();
    let shown = &pulled[CHAT].msgs[0];
    let elem: NotificationElem = magpie_proto::json::from_slice(&shown.content).unwrap();
    let content: MessageRevokedContent =
        magpie_proto::json::from_slice(elem.detail.as_bytes()).unwrap();
    assert_eq!(
        (content.revoker_id.as_str(), content.revoker_role),
        ("u2", 60)
    );
    // Who has left has no say any more.
    update_member(&world, "u4", |m| m.left_time = 1).await;
    assert_eq!(revoke(&world, &user("u4"), "u4", seqs[5]).await, 1002);
}

#[tokio::test]
async fn what_is_deleted_for_all_is_told_to_the_group() {
    let mut world = start().await;
    let seq = say(&world, "u1").await;
    let request = |who: &str| DeleteMsgsReq {
        conversation_id: CHAT.to_owned(),
        seqs: vec![seq],
        user_id: who.to_owned(),
        delete_sync_opt: Some(DeleteSyncOpt {
            is_sync_self: false,
            is_sync_other: true,
        }),
    };
    let mut client = world.client();
    assert_eq!(
        code(client.delete_msgs(user("u5").request(request("u5"))).await),
        1004
    );
    assert_eq!(
        code(client.delete_msgs(user("u1").request(request("u1"))).await),
        0
    );
    let notice = world.notice(2102).await;
    assert_eq!(notice.conversation, "n_g1");
    let pulled = world.range("u3", CHAT, (seq, seq, 1)).await.unwrap();
    assert_eq!(pulled[CHAT].msgs[0].status, 4);
}

#[tokio::test]
async fn members_take_from_all_what_they_may_revoke_and_clear_nothing() {
    let mut world = start().await;
    let of_owner = say(&world, "u1").await;
    let own = say(&world, "u3").await;
    let for_all = Some(DeleteSyncOpt {
        is_sync_self: false,
        is_sync_other: true,
    });
    let mut client = world.client();
    for (who, conversation, seqs, expected) in [
        ("u3", CHAT, vec![of_owner], 1002),
        ("u3", CHAT, vec![own, of_owner], 1002),
        ("u2", CHAT, vec![of_owner], 1002),
        ("u3", CHAT, vec![own], 0),
    ] {
        let request = DeleteMsgsReq {
            conversation_id: conversation.to_owned(),
            seqs: seqs.clone(),
            user_id: who.to_owned(),
            delete_sync_opt: for_all,
        };
        let done = client.delete_msgs(user(who).request(request)).await;
        assert_eq!(code(done), expected, "{who} {seqs:?}");
    }
    world.notice(2102).await;
    // What was notified stays for devices that were away.
    let request = DeleteMsgsReq {
        conversation_id: "n_g1".to_owned(),
        seqs: vec![1],
        user_id: "u3".to_owned(),
        delete_sync_opt: for_all,
    };
    let done = client.delete_msgs(user("u3").request(request)).await;
    assert_eq!(code(done), 1002);
    let store = &world.engines.deps.store;
    for who in ["u2", "u3"] {
        store.add(record(who)).await.unwrap();
    }
    for (who, expected) in [("u3", 1002), ("u2", 0)] {
        let request = ClearConversationsMsgReq {
            conversation_i_ds: vec![CHAT.to_owned()],
            user_id: who.to_owned(),
            delete_sync_opt: for_all,
        };
        let done = client.clear_conversations_msg(user(who).request(request));
        assert_eq!(code(done.await), expected, "{who}");
    }
    // All that he has: for himself what he may not clear for others.
    let seq = say(&world, "u1").await;
    let request = UserClearAllMsgReq {
        user_id: "u3".to_owned(),
        delete_sync_opt: for_all,
    };
    let done = client.user_clear_all_msg(user("u3").request(request));
    assert_eq!(code(done.await), 0);
    for (who, expected) in [("u3", 0), ("u1", 1)] {
        let pulled = world.range(who, CHAT, (seq, seq, 1)).await.unwrap();
        let shown = pulled.get(CHAT).map_or(0, |pulled| pulled.msgs.len());
        assert_eq!(shown, expected, "{who}");
    }
}

/// A member's record of the group's conversation.
fn record(owner: &str) -> Conversation {
    let with = (String::new(), "g1".to_owned());
    Conversation::blank(owner.to_owned(), CHAT.to_owned(), 3, with, 1)
}

#[tokio::test]
async fn who_was_refused_as_a_stranger_writes_as_soon_as_he_is_a_member() {
    let world = start().await;
    assert_eq!(send(&world, text("u5")).await, 1203);
    let store = &world.engines.deps.store;
    store.add(member("u5", 20)).await.unwrap();
    announce(&world, 2, &["u5"], &[]).await;
    assert_eq!(send(&world, text("u5")).await, 0);
    // The same with a user who is registered after a message to him.
    assert_eq!(world.send("u1", "u6", "hi").await, 1004);
    register(&world.engines.deps, &["u6"]).await;
    assert_eq!(world.send("u1", "u6", "hi").await, 0);
}

#[tokio::test]
async fn a_groups_messages_are_found_by_its_id_or_their_sender_with_its_owner_and_size() {
    let world = start().await;
    let seq = say(&world, "u3").await;
    for (from, to) in [("u3", ""), ("", "g1"), ("u3", "g1")] {
        let request = SearchMessageReq {
            send_id: from.to_owned(),
            recv_id: to.to_owned(),
            content_type: 101,
            session_type: 3,
            pagination: Some(magpie_proto::openim::sdkws::RequestPagination {
                page_number: 1,
                show_number: 10,
            }),
            ..SearchMessageReq::default()
        };
        let mut client = world.client();
        let found = client.search_message(admin().request(request));
        let mut found = found.await.unwrap().into_inner().chat_logs;
        assert_eq!(found.len(), 1);
        let log = found.remove(0).chat_log.unwrap();
        assert_eq!(
            (log.seq, log.recv_id.as_str(), log.group_id.as_str()),
            (seq, "g1", "g1")
        );
        assert_eq!(
            (
                log.group_owner.as_str(),
                log.group_member_count,
                log.group_type
            ),
            ("u1", 4, 2)
        );
    }
}
