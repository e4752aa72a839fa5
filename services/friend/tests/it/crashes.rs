//! Killed after any number of writes, a change has happened completely after the worker's take-over, or not at all.

use magpie_discovery::Channel;
use magpie_proto::openim::relation::friend_client::FriendClient;
use magpie_store::{
    Documents as _, Intends,
    documents::{Black, Friend, FriendRequest},
    store::Page,
};
use magpie_testkit::{admin, age_intents, until, user};

use super::{apply, delete, full_ids, import, respond, serve, since, start_fused, world::World};

/// More writes than any of these changes makes.
const ENOUGH: i64 = 30;

async fn unfinished<D: Intends>(world: &World) -> bool {
    let all: Vec<D> = world
        .deps
        .store
        .list(Page::of("key", Vec::new(), 100))
        .await
        .unwrap();
    all.iter().any(|d| !d.pending().is_empty())
}

/// Runs `change` with a store that dies after each number of writes, and the worker after it. `judge` is told whether the
/// change was begun, and what was sent: content type and id, each once.
async fn at_every_write(
    prepare: impl AsyncFn(&FriendClient<Channel>),
    change: impl AsyncFn(&FriendClient<Channel>) -> i32,
    judge: impl AsyncFn(&FriendClient<Channel>, bool, Vec<i32>),
) {
    for writes in 0..ENOUGH {
        let (world, client, fuse, deps) = start_fused().await;
        prepare(&client).await;
        world.messages();
        fuse.blow_after(writes);
        let begun = change(&client).await == 0;
        assert_eq!(begun, writes > 0, "after {writes} writes");
        let blown = fuse.mend();
        let store = world.deps.store.as_ref();
        age_intents::<Friend>(store).await;
        age_intents::<FriendRequest>(store).await;
        age_intents::<Black>(store).await;
        serve(&world, &deps);
        until("the worker's end", async || {
            let busy = unfinished::<Friend>(&world).await
                || unfinished::<FriendRequest>(&world).await
                || unfinished::<Black>(&world).await;
            (!busy).then_some(())
        })
        .await;
        let mut sent: Vec<_> = world
            .messages()
            .into_iter()
            .map(|m| (m.content_type, m.client_msg_id))
            .collect();
        sent.sort();
        sent.dedup();
        judge(
            &client,
            begun,
            sent.into_iter().map(|(kind, _)| kind).collect(),
        )
        .await;
        if !blown {
            return;
        }
    }
    panic!("the change never ended");
}

#[tokio::test]
async fn an_acceptance() {
    at_every_write(
        async |client| {
            apply(client, &user("u1"), "u1", "u2").await;
            apply(client, &user("u2"), "u2", "u1").await;
        },
        async |client| respond(client, &user("u2"), ("u1", "u2"), 1).await,
        async |client, begun, sent| {
            let (mine, theirs) = (full_ids(client, "u1").await, full_ids(client, "u2").await);
            let friends = (mine.user_i_ds.len(), theirs.user_i_ds.len());
            assert_eq!(friends, if begun { (1, 1) } else { (0, 0) });
            assert_eq!(sent, if begun { vec![1201] } else { Vec::new() });
        },
    )
    .await;
}

#[tokio::test]
async fn an_import() {
    at_every_write(
        async |_| {},
        async |client| import(client, &admin(), &["u2"]).await,
        async |client, begun, sent| {
            let (mine, theirs) = (full_ids(client, "u1").await, full_ids(client, "u2").await);
            let friends = (mine.user_i_ds.len(), theirs.user_i_ds.len());
            assert_eq!(friends, if begun { (1, 1) } else { (0, 0) });
            assert_eq!(sent, if begun { vec![1201] } else { Vec::new() });
        },
    )
    .await;
}

#[tokio::test]
async fn a_deletion() {
    at_every_write(
        async |client| {
            import(client, &admin(), &["u2"]).await;
            full_ids(client, "u1").await;
        },
        async |client| delete(client, "u1", "u2").await,
        async |client, begun, sent| {
            let mine = full_ids(client, "u1").await;
            assert_eq!(mine.user_i_ds.is_empty(), begun);
            assert_eq!(sent, if begun { vec![1205] } else { Vec::new() });
            if begun {
                let before =
                    magpie_proto::openim::relation::GetFullFriendUserIDsResp { version: 1, ..mine };
                assert_eq!(since(client, "u1", &before).await.delete, ["u2"]);
            }
        },
    )
    .await;
}
