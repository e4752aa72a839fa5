//! Settings of conversations, and the lists of them.

use magpie_conversation::Config;
use magpie_proto::openim::{conversation::*, protobuf::*, sdkws::RequestPagination};
use magpie_service::Context;
use magpie_store::{
    Documents as _,
    documents::{self, UserSeq},
};
use magpie_testkit::{admin, code, user};

use super::{all, incremental, serve_with, set, start, with_u2};

#[tokio::test]
async fn a_setting_makes_the_record_and_is_announced_once() {
    let (world, client) = start().await;
    let pin = ConversationReq {
        is_pinned: Some(BoolValue { value: true }),
        ..with_u2()
    };
    assert_eq!(set(&client, &user("u1"), &["u1"], pin.clone()).await, 0);
    let detail = r#"{"userID":"u1","conversationIDList":["si_u1_u2"]}"#;
    assert_eq!(
        world.sent(),
        [(
            1300,
            "u1".to_owned(),
            "u1".to_owned(),
            false,
            detail.to_owned()
        )]
    );
    assert_eq!(set(&client, &user("u1"), &["u1"], pin).await, 0);
    assert!(world.sent().is_empty());
    let [record] = all(&client, "u1").await.try_into().unwrap();
    assert!(record.is_pinned);
    assert_eq!(
        (record.user_id.as_str(), record.latest_msg_destruct_time),
        ("u2", 0)
    );
    assert!(all(&client, "u2").await.is_empty());
}

#[tokio::test]
async fn texts_have_a_longest_value() {
    let (world, client) = start().await;
    let text = |bytes| {
        Some(StringValue {
            value: "x".repeat(bytes),
        })
    };
    for (bytes, code) in [(16 << 10, 0), ((16 << 10) + 1, 1001)] {
        let ex = ConversationReq {
            ex: text(bytes),
            ..with_u2()
        };
        let info = ConversationReq {
            attached_info: text(bytes),
            ..with_u2()
        };
        for wanted in [ex, info] {
            assert_eq!(set(&client, &user("u1"), &["u1"], wanted).await, code);
        }
    }
    assert_eq!(world.sent().len(), 2);
}

#[tokio::test]
async fn a_user_makes_no_more_records_than_the_limit() {
    let (world, _) = start().await;
    let config = Config {
        max_records: 1,
        ..Config::default()
    };
    let client = serve_with(&world, &world.deps, config);
    let with_u3 = ConversationReq {
        conversation_id: "si_u1_u3".to_owned(),
        user_id: "u3".to_owned(),
        ..with_u2()
    };
    for (wanted, code) in [(with_u2(), 0), (with_u3, 1001), (with_u2(), 0)] {
        assert_eq!(set(&client, &user("u1"), &["u1"], wanted).await, code);
    }
}

#[tokio::test]
async fn groups_have_no_burn_after_reading() {
    let (world, client) = start().await;
    let group = ConversationReq {
        conversation_id: "sg_g1".to_owned(),
        conversation_type: 3,
        group_id: "g1".to_owned(),
        recv_msg_opt: Some(Int32Value { value: 2 }),
        is_private_chat: Some(BoolValue { value: true }),
        ..Default::default()
    };
    assert_eq!(set(&client, &user("u1"), &["u1"], group).await, 0);
    assert_eq!(world.sent().len(), 1);
    assert!(!all(&client, "u1").await[0].is_private_chat);
    let req = GetNotNotifyConversationIDsReq {
        user_id: "u1".to_owned(),
    };
    let quiet = client
        .clone()
        .get_not_notify_conversation_i_ds(user("u1").request(req))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(quiet.conversation_i_ds, ["sg_g1"]);
}

#[tokio::test]
async fn each_change_is_one_version_and_is_found_by_it() {
    let (_world, client) = start().await;
    let first = incremental(&client, ("", 0)).await;
    assert!(
        first.full
            && first.version_id.len() == 24
            && first.version_id.bytes().all(|b| b.is_ascii_hexdigit())
    );
    let remark = |text: &str| ConversationReq {
        ex: Some(StringValue {
            value: text.to_owned(),
        }),
        ..with_u2()
    };
    set(&client, &user("u1"), &["u1"], remark("a")).await;
    let created = incremental(&client, (&first.version_id, first.version)).await;
    assert_eq!(
        (
            created.version,
            created.insert.len(),
            created.update.len(),
            created.full
        ),
        (first.version + 1, 1, 0, false)
    );
    set(&client, &user("u1"), &["u1"], remark("b")).await;
    let changed = incremental(&client, (&first.version_id, created.version)).await;
    assert_eq!(
        (
            changed.version,
            changed.insert.len(),
            changed.update[0].ex.as_str()
        ),
        (created.version + 1, 0, "b")
    );
    let same = incremental(&client, (&first.version_id, changed.version)).await;
    assert!(!same.full && same.update.is_empty());
    assert!(
        incremental(&client, (&first.version_id, changed.version + 1))
            .await
            .full
    );
    assert!(incremental(&client, ("bad", 1)).await.full);
}

#[tokio::test]
async fn lists_are_in_order_of_creation() {
    let (_world, client) = start().await;
    for (id, send) in [("si_u1_u2", "u2"), ("si_u1_u3", "u3"), ("si_u1_u1", "u1")] {
        let req = CreateSingleChatConversationsReq {
            recv_id: "u1".to_owned(),
            send_id: send.to_owned(),
            conversation_id: id.to_owned(),
            conversation_type: 1,
        };
        client
            .clone()
            .create_single_chat_conversations(Context::internal("x").request(req))
            .await
            .unwrap();
    }
    let ids: Vec<_> = all(&client, "u1")
        .await
        .into_iter()
        .map(|c| c.conversation_id)
        .collect();
    let req = GetFullOwnerConversationIDsReq {
        id_hash: 0,
        user_id: "u1".to_owned(),
    };
    let full = client
        .clone()
        .get_full_owner_conversation_i_ds(user("u1").request(req))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((full.conversation_i_ds.len(), full.equal), (3, false));
    assert_eq!(full.conversation_i_ds, ids);
    let pagination = Some(RequestPagination {
        page_number: 2,
        show_number: 2,
    });
    let req = GetOwnerConversationReq {
        user_id: "u1".to_owned(),
        pagination,
    };
    let page = client
        .clone()
        .get_owner_conversation(user("u1").request(req))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.total, page.conversations[0].conversation_id.as_str()),
        (3, ids[2].as_str())
    );
}

#[tokio::test]
async fn reading_bounds_are_shown() {
    let (world, client) = start().await;
    set(&client, &user("u1"), &["u1"], with_u2()).await;
    let seq = UserSeq {
        user_id: "u1".to_owned(),
        conversation_id: "si_u1_u2".to_owned(),
        read_seq: 4,
        min_seq: 3,
        max_seq: 0,
        member_version: 0,
        marked_seq: 0,
    };
    world.deps.store.add(seq).await.unwrap();
    assert_eq!(all(&client, "u1").await[0].min_seq, 3);
}

#[tokio::test]
async fn refuses_strangers_and_broken_requests() {
    let (world, client) = start().await;
    assert_eq!(set(&client, &user("u1"), &["u2"], with_u2()).await, 1002);
    assert_eq!(
        set(&client, &user("u1"), &["u1", "u2"], with_u2()).await,
        1002
    );
    assert_eq!(
        set(
            &client,
            &user("u1"),
            &["u1"],
            ConversationReq {
                conversation_type: 0,
                ..with_u2()
            }
        )
        .await,
        1001
    );
    assert_eq!(
        set(
            &client,
            &user("u1"),
            &["u1"],
            ConversationReq {
                user_id: String::new(),
                ..with_u2()
            }
        )
        .await,
        1001
    );
    assert_eq!(
        set(
            &client,
            &user("u1"),
            &["u1"],
            ConversationReq {
                conversation_type: 3,
                ..with_u2()
            }
        )
        .await,
        1001
    );
    assert_eq!(set(&client, &user("u3"), &["u3"], with_u2()).await, 1001);
    let get = |owner: &str, id: &str| GetConversationReq {
        conversation_id: id.to_owned(),
        owner_user_id: owner.to_owned(),
    };
    for (caller, id, expected) in [
        ("u1", "si_x_y", 1004),
        ("u2", "si_u1_u2", 1002),
        ("u1", "", 1001),
    ] {
        let request = user(caller).request(get("u1", id));
        let answer = client.clone().get_conversation(request).await;
        assert_eq!(code(answer), expected, "{caller} {id}");
    }
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn an_administrator_sets_both_sides_of_a_chat() {
    let (world, client) = start().await;
    let ex = ConversationReq {
        ex: Some(StringValue {
            value: "adm".to_owned(),
        }),
        ..with_u2()
    };
    assert_eq!(set(&client, &admin(), &["u1", "u2"], ex).await, 0);
    let mut told: Vec<_> = world
        .sent()
        .into_iter()
        .map(|(kind, from, to, ..)| (kind, from, to))
        .collect();
    told.sort();
    assert_eq!(
        told,
        ["u1", "u2"].map(|u| (1300, u.to_owned(), u.to_owned()))
    );
    assert_eq!(
        (
            all(&client, "u1").await[0].user_id.as_str(),
            all(&client, "u2").await[0].user_id.as_str()
        ),
        ("u2", "u1")
    );
}

#[tokio::test]
async fn concurrent_settings_of_one_record_all_stand() {
    let (_world, client) = start().await;
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut wanted = with_u2();
                match i % 3 {
                    0 => {
                        wanted.ex = Some(StringValue {
                            value: "ex".to_owned(),
                        })
                    }
                    1 => wanted.is_pinned = Some(BoolValue { value: true }),
                    _ => wanted.burn_duration = Some(Int32Value { value: 60 }),
                }
                assert_eq!(set(&client, &user("u1"), &["u1"], wanted).await, 0);
            })
        })
        .collect();
    futures::future::try_join_all(tasks).await.unwrap();
    let record = all(&client, "u1").await.remove(0);
    assert_eq!(
        (record.ex.as_str(), record.is_pinned, record.burn_duration),
        ("ex", true, 60)
    );
}

#[tokio::test]
async fn burn_after_reading_is_not_for_who_is_blocked_or_about_nobody() {
    let (world, client) = start().await;
    let private = |id: &str, peer: &str| ConversationReq {
        conversation_id: id.to_owned(),
        conversation_type: 1,
        user_id: peer.to_owned(),
        is_private_chat: Some(BoolValue { value: true }),
        ..Default::default()
    };
    let block = documents::Black {
        owner_id: "u2".to_owned(),
        blocked_id: "u1".to_owned(),
        create_time: 1,
        add_source: 0,
        operator_id: "u2".to_owned(),
        ex: String::new(),
        rev: 1,
        pending: Default::default(),
        deleted_at: 0,
    };
    world.deps.store.add(block).await.unwrap();
    let me = user("u1");
    for (id, peer, expected) in [("si_u1_u2", "u2", 1302), ("si_nobody_u1", "nobody", 1004)] {
        assert_eq!(
            set(&client, &me, &["u1"], private(id, peer)).await,
            expected
        );
    }
    assert!(world.sent().is_empty());
    assert_eq!(all(&client, "u1").await, []);
    let other = private("si_u1_u2", "u1");
    assert_eq!(set(&client, &user("u2"), &["u2"], other).await, 0);
}

#[tokio::test]
async fn nothing_is_set_for_anybody_when_it_can_not_be_for_one() {
    let (world, client) = start().await;
    let pinned = ConversationReq {
        is_pinned: Some(BoolValue { value: true }),
        ..with_u2()
    };
    assert_eq!(set(&client, &admin(), &["u1", "u3"], pinned).await, 1001);
    assert!(world.sent().is_empty());
    assert_eq!(all(&client, "u1").await, []);
}
