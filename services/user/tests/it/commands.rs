//! Notes that a user's devices share.

use magpie_discovery::Channel;
use magpie_proto::openim::{
    protobuf::StringValue,
    user::{user_client::UserClient, *},
};
use magpie_service::Context;
use magpie_store::{Documents as _, documents::UserCommand, key};
use magpie_testkit::{Fuse, admin, age_intents, code, until, user};

use super::{serve, start};

fn text(value: &str) -> Option<StringValue> {
    Some(StringValue {
        value: value.to_owned(),
    })
}

fn adding(kind: i32, uuid: &str) -> ProcessUserCommandAddReq {
    ProcessUserCommandAddReq {
        user_id: "u1".to_owned(),
        r#type: kind,
        uuid: uuid.to_owned(),
        value: text("v"),
        ex: text("e"),
    }
}

fn deleting(kind: i32, uuid: &str) -> ProcessUserCommandDeleteReq {
    ProcessUserCommandDeleteReq {
        user_id: "u1".to_owned(),
        r#type: kind,
        uuid: uuid.to_owned(),
    }
}

async fn add(client: &UserClient<Channel>, ctx: &Context, req: ProcessUserCommandAddReq) -> i32 {
    code(
        client
            .clone()
            .process_user_command_add(ctx.request(req))
            .await,
    )
}

async fn delete(
    client: &UserClient<Channel>,
    ctx: &Context,
    req: ProcessUserCommandDeleteReq,
) -> i32 {
    code(
        client
            .clone()
            .process_user_command_delete(ctx.request(req))
            .await,
    )
}

async fn all(client: &UserClient<Channel>) -> Vec<(i32, String, String, String)> {
    let req = ProcessUserCommandGetAllReq {
        user_id: "u1".to_owned(),
    };
    let all = client
        .clone()
        .process_user_command_get_all(user("u1").request(req))
        .await;
    let all = all.unwrap().into_inner().command_resp;
    all.into_iter()
        .map(|c| (c.r#type, c.uuid, c.value, c.ex))
        .collect()
}

fn note(kind: i32, uuid: &str, value: &str, ex: &str) -> (i32, String, String, String) {
    (kind, uuid.to_owned(), value.to_owned(), ex.to_owned())
}

#[tokio::test]
async fn notes_are_added_changed_and_deleted_and_the_devices_told() {
    let (world, client) = start().await;
    let me = user("u1");
    assert_eq!(add(&client, &me, adding(1, "a")).await, 0);
    assert_eq!(add(&client, &me, adding(2, "a")).await, 0);
    assert_eq!(add(&client, &me, adding(1, "a")).await, 0);
    let update = ProcessUserCommandUpdateReq {
        user_id: "u1".to_owned(),
        r#type: 1,
        uuid: "a".to_owned(),
        value: text("w"),
        ex: None,
    };
    let changed = client
        .clone()
        .process_user_command_update(me.request(update.clone()))
        .await;
    assert_eq!(code(changed), 0);
    assert_eq!(
        all(&client).await,
        [note(1, "a", "w", "e"), note(2, "a", "v", "e")]
    );
    let one = ProcessUserCommandGetReq {
        user_id: "u1".to_owned(),
        r#type: 2,
    };
    let one = client
        .clone()
        .process_user_command_get(me.request(one))
        .await
        .unwrap()
        .into_inner()
        .command_resp;
    assert_eq!((one.len(), one[0].r#type), (1, 2));
    assert!(one[0].create_time > 0 && one[0].create_time < 100_000_000_000);
    assert_eq!(delete(&client, &me, deleting(1, "a")).await, 0);
    assert_eq!(delete(&client, &me, deleting(1, "a")).await, 1004);
    let gone = client
        .clone()
        .process_user_command_update(me.request(update))
        .await;
    assert_eq!(code(gone), 1004);
    assert_eq!(all(&client).await, [note(2, "a", "v", "e")]);
    let told = world.sent();
    let kinds: Vec<_> = told.iter().map(|s| s.0).collect();
    assert_eq!(kinds, [1305, 1305, 1305, 1307, 1306]);
    let detail = r#"{"fromUserID":"u1","toUserID":"u1"}"#;
    for (_, from, to, in_chat, shown) in told {
        assert_eq!(
            (&*from, &*to, in_chat, &*shown),
            ("u1", "u1", false, detail)
        );
    }
    // A deleted note can be added again.
    assert_eq!(add(&client, &me, adding(1, "a")).await, 0);
    assert_eq!(all(&client).await.len(), 2);
}

#[tokio::test]
async fn refuses_others_and_bad_values() {
    let (world, client) = start().await;
    let me = user("u1");
    assert_eq!(add(&client, &user("u2"), adding(1, "a")).await, 1002);
    assert_eq!(add(&client, &me, adding(0, "a")).await, 1001);
    assert_eq!(add(&client, &me, adding(1, "")).await, 1001);
    assert_eq!(add(&client, &me, adding(1, &"x".repeat(257))).await, 1001);
    let long = ProcessUserCommandAddReq {
        value: text(&"x".repeat(17 << 10)),
        ..adding(1, "a")
    };
    assert_eq!(add(&client, &me, long).await, 1001);
    assert_eq!(delete(&client, &user("u2"), deleting(1, "a")).await, 1002);
    assert_eq!(delete(&client, &me, deleting(0, "a")).await, 1001);
    let get = ProcessUserCommandGetAllReq {
        user_id: "u1".to_owned(),
    };
    let get = client
        .clone()
        .process_user_command_get_all(user("u2").request(get))
        .await;
    assert_eq!(code(get), 1002);
    let get = ProcessUserCommandGetReq {
        user_id: "u1".to_owned(),
        r#type: 0,
    };
    let get = client
        .clone()
        .process_user_command_get(me.request(get))
        .await;
    assert_eq!(code(get), 1001);
    assert!(world.sent().is_empty());
    assert_eq!(add(&client, &admin(), adding(1, "a")).await, 0);
}

#[tokio::test]
async fn an_interrupted_deletion_is_told_or_did_not_happen() {
    for writes in 0..3 {
        let (world, client) = start().await;
        let me = user("u1");
        add(&client, &me, adding(1, "a")).await;
        world.messages();
        let (fuse, deps) = Fuse::new(&world.deps);
        let client = serve(&world, &deps);
        all(&client).await;
        fuse.blow_after(writes);
        let begun = delete(&client, &me, deleting(1, "a")).await == 0;
        assert_eq!(begun, writes > 0);
        fuse.mend();
        age_intents::<UserCommand>(world.deps.store.as_ref()).await;
        let client = serve(&world, &deps);
        until("the worker's end", async || {
            let found: UserCommand = world.deps.store.find(key!["u1", 1, "a"]).await.unwrap()?;
            found.pending.is_empty().then_some(())
        })
        .await;
        assert_eq!(all(&client).await.is_empty(), begun);
        let mut ids: Vec<_> = world
            .messages()
            .into_iter()
            .map(|m| m.client_msg_id)
            .collect();
        ids.dedup();
        assert_eq!(ids.len(), usize::from(begun));
    }
}
