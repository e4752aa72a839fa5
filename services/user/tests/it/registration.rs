//! Registering users: all of a request, also when it is made again because nobody knows what became of it.

use magpie_discovery::Channel;
use magpie_proto::openim::{
    sdkws::UserInfo,
    user::{UserRegisterReq, user_client::UserClient},
};
use magpie_store::{Documents as _, documents::User, key};
use magpie_testkit::{admin, code};

use super::{profile, start};

fn new(id: &str, nickname: &str) -> UserInfo {
    UserInfo {
        user_id: id.to_owned(),
        nickname: nickname.to_owned(),
        ..UserInfo::default()
    }
}

async fn register(client: &UserClient<Channel>, users: &[UserInfo]) -> i32 {
    let req = UserRegisterReq {
        users: users.to_vec(),
    };
    code(client.clone().user_register(admin().request(req)).await)
}

#[tokio::test]
async fn a_request_that_was_interrupted_goes_on_when_it_is_made_again() {
    let (world, client) = start().await;
    let store = &world.deps.store;
    let there = async |id: &str| store.find::<User>(key![id]).await.unwrap().is_some();
    let all = ["a", "b", "c"].map(|id| new(id, "n"));
    assert_eq!(register(&client, &all).await, 0);
    assert_eq!(register(&client, &all).await, 1102);
    // A process that was killed between two writes.
    let lost = vec![key!["b"], key!["c"]];
    store.remove::<User>(lost).await.unwrap();
    // Other requests, which only have a user in common with that one.
    let [a, b, c] = &all;
    for other in [
        &[a.clone()][..],
        &[a.clone(), b.clone()],
        &[a.clone(), c.clone(), b.clone()],
        &[a.clone(), b.clone(), new("c", "m")],
    ] {
        assert_eq!(register(&client, other).await, 1102, "{other:?}");
        assert!(!there("b").await && !there("c").await);
    }
    assert_eq!(register(&client, &all).await, 0);
    assert!(there("a").await && there("b").await && there("c").await);
    assert_eq!(register(&client, &all).await, 1102);
    assert_eq!(profile(&client, "c").await.nickname, "n");
}

#[tokio::test]
async fn nobody_is_registered_with_somebody_who_is_already() {
    let (world, client) = start().await;
    let users = [new("d", "n"), new("u1", "n-u1")];
    assert_eq!(register(&client, &users).await, 1102);
    let found: Option<User> = world.deps.store.find(key!["d"]).await.unwrap();
    assert!(found.is_none());
}
