//! Removing records, the older form of setting, and the text that every record about a user gets.

use magpie_proto::openim::{conversation::*, protobuf::*};
use magpie_service::Context;
use magpie_store::{Change, Documents as _, Store, documents, key};
use magpie_testkit::{Fuse, admin, age_intents, code, until, user};

use super::{all, incremental, serve, set, start, with_u2};

fn naming(ids: &[&str]) -> DeleteConversationsReq {
    DeleteConversationsReq {
        owner_user_id: "u1".to_owned(),
        need_delete_time: 0,
        conversation_i_ds: ids.iter().map(|&id| id.to_owned()).collect(),
    }
}

fn pinned(conversation: ConversationReq) -> ConversationReq {
    ConversationReq {
        is_pinned: Some(BoolValue { value: true }),
        ..conversation
    }
}

fn with_u3() -> ConversationReq {
    ConversationReq {
        conversation_id: "si_u1_u3".to_owned(),
        conversation_type: 1,
        user_id: "u3".to_owned(),
        ..Default::default()
    }
}

fn head(id: &str, max_seq: i64) -> documents::Head {
    documents::Head {
        conversation_id: id.to_owned(),
        max_seq,
        max_seq_time: 0,
        min_seq: 0,
        member_version: 0,
        closed_seq: 0,
    }
}

/// A message is stored: the newest seq of the conversation rises.
async fn rise(store: &dyn Store, id: &str, max_seq: i64) {
    let max = Change::Max(documents::Head::max_seq, max_seq);
    let risen = store.change::<documents::Head>(key![id], vec![max]);
    assert!(risen.await.unwrap());
}

#[tokio::test]
async fn a_removed_record_is_gone_until_something_is_set() {
    let (world, client) = start().await;
    let me = user("u1");
    for conversation in [with_u2(), with_u3()] {
        set(&client, &me, &["u1"], pinned(conversation)).await;
    }
    let before = incremental(&client, ("", 0)).await;
    world.sent();
    let removed = client
        .clone()
        .delete_conversations(me.request(naming(&["si_u1_u2", "si_u1_u9"])))
        .await;
    assert_eq!(code(removed), 0);
    assert!(world.sent().is_empty(), "nothing is announced");
    let changes = incremental(&client, (&before.version_id, before.version)).await;
    assert_eq!(changes.delete, ["si_u1_u2"]);
    let left = all(&client, "u1").await;
    assert_eq!((left.len(), &*left[0].conversation_id), (1, "si_u1_u3"));
    let one = GetConversationReq {
        conversation_id: "si_u1_u2".to_owned(),
        owner_user_id: "u1".to_owned(),
    };
    let one = client.clone().get_conversation(me.request(one)).await;
    assert_eq!(code(one), 1004);
    // Removing again changes nothing; a setting makes the record anew.
    let again = client
        .clone()
        .delete_conversations(me.request(naming(&["si_u1_u2"])))
        .await;
    assert_eq!(code(again), 0);
    let now = incremental(&client, (&before.version_id, changes.version)).await;
    assert_eq!(now.version, changes.version);
    let opt = ConversationReq {
        recv_msg_opt: Some(Int32Value { value: 2 }),
        ..with_u2()
    };
    assert_eq!(set(&client, &me, &["u1"], opt).await, 0);
    let changes = incremental(&client, (&before.version_id, now.version)).await;
    assert_eq!(changes.insert.len(), 1);
    assert!(!changes.insert[0].is_pinned);
}

#[tokio::test]
async fn a_removed_record_comes_back_with_the_next_message() {
    let (world, client) = start().await;
    let me = user("u1");
    let group = |id: &str| ConversationReq {
        conversation_id: format!("sg_{id}"),
        conversation_type: 3,
        group_id: id.to_owned(),
        ..Default::default()
    };
    let groups = ["in", "out", "never"].map(group);
    for conversation in [pinned(with_u2()), with_u3()].into_iter().chain(groups) {
        set(&client, &me, &["u1"], conversation).await;
    }
    let ids = ["si_u1_u2", "si_u1_u3", "sg_in", "sg_out", "sg_never"];
    let store = world.deps.store.as_ref();
    for id in ids {
        store.add(head(id, 5)).await.unwrap();
    }
    for (id, max_seq) in [("sg_in", 0), ("sg_out", 5)] {
        let bounds = documents::UserSeq {
            user_id: "u1".to_owned(),
            conversation_id: id.to_owned(),
            read_seq: 0,
            min_seq: 0,
            max_seq,
            member_version: 1,
            marked_seq: 0,
        };
        store.add(bounds).await.unwrap();
    }
    let removed = client
        .clone()
        .delete_conversations(me.request(naming(&ids)))
        .await;
    assert_eq!(code(removed), 0);
    let before = incremental(&client, ("", 0)).await;
    assert_eq!(all(&client, "u1").await, []);
    world.sent();
    for id in ["si_u1_u2", "sg_in", "sg_out", "sg_never"] {
        rise(store, id, 6).await;
    }
    let changes = incremental(&client, (&before.version_id, before.version)).await;
    let mut back: Vec<_> = changes.insert.iter().map(|c| &*c.conversation_id).collect();
    back.sort_unstable();
    assert_eq!(back, ["sg_in", "si_u1_u2"]);
    let with_u2 = changes.insert.iter().find(|c| c.user_id == "u2").unwrap();
    assert_eq!((with_u2.conversation_type, with_u2.is_pinned), (1, false));
    let told: Vec<_> = world.sent().into_iter().map(|n| (n.0, n.2)).collect();
    assert_eq!(told, [(1300, "u1".to_owned()), (1300, "u1".to_owned())]);
    // Once only.
    assert_eq!(all(&client, "u1").await.len(), 2);
    assert!(world.sent().is_empty());
    let again = naming(&["si_u1_u2"]);
    let again = client.clone().delete_conversations(me.request(again)).await;
    assert_eq!(code(again), 0);
    assert_eq!(all(&client, "u1").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_during_the_removal_does_not_hide_those_that_follow() {
    let (world, client) = start().await;
    let (store, me) = (world.deps.store.as_ref(), user("u1"));
    store.add(head("si_u1_u2", 1)).await.unwrap();
    for round in 1..=20 {
        set(&client, &me, &["u1"], pinned(with_u2())).await;
        let removal = async {
            let removal = me.request(naming(&["si_u1_u2"]));
            let removed = client.clone().delete_conversations(removal).await;
            assert_eq!(code(removed), 0);
        };
        let reading = async {
            rise(store, "si_u1_u2", 2 * round).await;
            for _ in 0..5 {
                all(&client, "u1").await;
            }
        };
        tokio::join!(removal, reading);
        rise(store, "si_u1_u2", 2 * round + 1).await;
        assert_eq!(all(&client, "u1").await.len(), 1, "round {round}");
    }
}

#[tokio::test]
async fn refuses_to_remove_nothing_both_or_others() {
    let (_world, client) = start().await;
    let me = user("u1");
    let both = DeleteConversationsReq {
        need_delete_time: 1,
        ..naming(&["si_u1_u2"])
    };
    let negative = DeleteConversationsReq {
        need_delete_time: -1,
        ..naming(&[])
    };
    for (ctx, req, expected) in [
        (&me, both, 1001),
        (&me, naming(&[]), 1001),
        (&me, negative, 1001),
        (&user("u2"), naming(&["si_u1_u2"]), 1002),
    ] {
        let answer = client.clone().delete_conversations(ctx.request(req)).await;
        assert_eq!(code(answer), expected);
    }
}

#[tokio::test]
async fn an_interrupted_removal_is_finished_or_did_not_happen() {
    // First what brings it back is noted, then it goes, then that is noted again.
    for writes in 0..6 {
        let (world, client) = start().await;
        set(&client, &user("u1"), &["u1"], pinned(with_u2())).await;
        let before = incremental(&client, ("", 0)).await;
        let (fuse, deps) = Fuse::new(&world.deps);
        let client = serve(&world, &deps);
        all(&client, "u1").await;
        fuse.blow_after(writes);
        let removed = client
            .clone()
            .delete_conversations(user("u1").request(naming(&["si_u1_u2"])))
            .await;
        let gone = writes > 1;
        assert_eq!(code(removed) == 0, writes > 2);
        fuse.mend();
        let store = world.deps.store.as_ref();
        age_intents::<documents::Conversation>(store).await;
        let client = serve(&world, &deps);
        until("the worker's end", async || {
            let found = store.find::<documents::Conversation>(key!["u1", "si_u1_u2"]);
            found.await.unwrap()?.pending.is_empty().then_some(())
        })
        .await;
        let changes = incremental(&client, (&before.version_id, before.version)).await;
        assert_eq!(changes.delete.len(), usize::from(gone));
        assert_eq!(all(&client, "u1").await.is_empty(), gone);
    }
}

#[tokio::test]
async fn every_record_about_a_user_gets_his_text() {
    let (world, client) = start().await;
    let about_u2 = ConversationReq {
        conversation_id: "si_u2_u3".to_owned(),
        ..pinned(with_u2())
    };
    set(&client, &user("u1"), &["u1"], pinned(with_u2())).await;
    set(&client, &user("u3"), &["u3"], about_u2).await;
    world.sent();
    let text = |user_id: &str, ex: Option<&str>| UpdateConversationsByUserReq {
        user_id: user_id.to_owned(),
        ex: ex.map(|value| StringValue {
            value: value.to_owned(),
        }),
    };
    let update = |ctx: Context, req| {
        let mut client = client.clone();
        async move { code(client.update_conversations_by_user(ctx.request(req)).await) }
    };
    assert_eq!(update(user("u2"), text("u2", Some("shop"))).await, 0);
    for owner in ["u1", "u3"] {
        assert_eq!(all(&client, owner).await[0].ex, "shop");
    }
    assert_eq!(update(user("u2"), text("u2", None)).await, 0);
    assert_eq!(update(user("u1"), text("u2", Some("x"))).await, 1002);
    assert_eq!(update(admin(), text("", Some("x"))).await, 1001);
    assert_eq!(all(&client, "u1").await[0].ex, "shop");
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn the_older_form_sets_the_whole_record() {
    let (world, client) = start().await;
    let whole = Conversation {
        owner_user_id: "u1".to_owned(),
        conversation_id: "si_u1_u2".to_owned(),
        conversation_type: 1,
        user_id: "u2".to_owned(),
        is_pinned: true,
        ex: "e".to_owned(),
        ..Conversation::default()
    };
    let set = |ctx: Context, whole: Option<Conversation>| {
        let mut client = client.clone();
        async move {
            let req = SetConversationReq {
                conversation: whole,
            };
            code(client.set_conversation(ctx.request(req)).await)
        }
    };
    assert_eq!(set(user("u1"), Some(whole.clone())).await, 0);
    let private = Conversation {
        is_pinned: false,
        is_private_chat: true,
        ..whole.clone()
    };
    assert_eq!(set(user("u1"), Some(private)).await, 0);
    let kinds: Vec<_> = world.sent().iter().map(|s| s.0).collect();
    assert_eq!(kinds, [1300, 1300, 1701]);
    let record = &all(&client, "u1").await[0];
    assert!(!record.is_pinned && record.is_private_chat);
    assert!(all(&client, "u2").await[0].is_private_chat);
    assert_eq!(set(user("u2"), Some(whole.clone())).await, 1002);
    assert_eq!(set(user("u1"), None).await, 1001);
    let other = Conversation {
        user_id: "u3".to_owned(),
        ..whole
    };
    assert_eq!(set(user("u1"), Some(other)).await, 1001);
}
