//! The group service through its generated client, on SQLite. Groups can't be made yet, so a test writes their documents.

#![cfg(test)]

#[path = "../../conversation/tests/world/mod.rs"]
mod world;

use magpie_discovery::{Channel, name};
use magpie_proto::openim::{
    group::{group_client::GroupClient, *},
    sdkws::RequestPagination,
};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember},
    versions::{self, List, State},
};
use magpie_testkit::{code, user};
use world::World;

async fn start() -> (World, GroupClient<Channel>) {
    let world = World::new().await;
    world.registry.serve(
        name::GROUP,
        magpie_group::routes(&world.deps, magpie_group::Config::default()),
    );
    let client = GroupClient::new(world.deps.channel(name::GROUP));
    (world, client)
}

/// A group that u1 has made, with u1 alone in it.
async fn make(world: &World, id: &str, status: i32) {
    let text = || String::new();
    let group = Group {
        group_id: id.to_owned(),
        name: format!("name-{id}"),
        notification: text(),
        notification_update_time: 0,
        notification_user_id: text(),
        introduction: text(),
        face_url: text(),
        ex: text(),
        owner_id: "u1".to_owned(),
        creator_id: "u1".to_owned(),
        create_time: 1,
        member_count: 1,
        status,
        group_type: 2,
        need_verification: 0,
        look_member_info: 0,
        apply_member_friend: 0,
        member_version: 1,
        pending: Default::default(),
        rev: 1,
    };
    let member = GroupMember {
        group_id: id.to_owned(),
        user_id: "u1".to_owned(),
        role_level: 100,
        join_time: 1,
        nickname: text(),
        face_url: text(),
        join_source: 2,
        operator_id: text(),
        inviter_id: text(),
        ex: text(),
        mute_end_time: 0,
        member_version: 1,
        left_time: 0,
        rev: 1,
    };
    world.deps.store.add(group).await.unwrap();
    world.deps.store.add(member).await.unwrap();
    let store = world.deps.store.as_ref();
    versions::record(store, "u1", List::JoinedGroups, &[(id, State::Insert)])
        .await
        .unwrap();
}

fn since(group: &str, version_id: &str, version: u64) -> GetIncrementalGroupMemberReq {
    GetIncrementalGroupMemberReq {
        group_id: group.to_owned(),
        version_id: version_id.to_owned(),
        version,
    }
}

async fn batch(
    client: &GroupClient<Channel>,
    who: &str,
    req_list: Vec<GetIncrementalGroupMemberReq>,
) -> BatchGetIncrementalGroupMemberResp {
    let req = BatchGetIncrementalGroupMemberReq {
        user_id: String::new(),
        req_list,
    };
    client
        .clone()
        .batch_get_incremental_group_member(user(who).request(req))
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn a_user_without_groups_gets_empty_lists_with_a_version() {
    let (_world, client) = start().await;
    let req = GetIncrementalJoinGroupReq {
        user_id: "u1".to_owned(),
        ..Default::default()
    };
    let first = client
        .clone()
        .get_incremental_join_group(user("u1").request(req))
        .await
        .unwrap()
        .into_inner();
    assert!(
        first.full && first.insert.is_empty() && first.version == 1 && first.version_id.len() == 24
    );
    let req = GetFullJoinGroupIDsReq {
        id_hash: 0,
        user_id: "u1".to_owned(),
    };
    let full = client
        .clone()
        .get_full_join_group_i_ds(user("u1").request(req))
        .await
        .unwrap()
        .into_inner();
    assert!(full.equal && full.version_id == first.version_id);
    let pagination = Some(RequestPagination {
        page_number: 1,
        show_number: 100,
    });
    let req = GetJoinedGroupListReq {
        pagination,
        from_user_id: "u1".to_owned(),
    };
    let list = client
        .clone()
        .get_joined_group_list(user("u1").request(req.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((list.total, list.groups.len()), (0, 0));
    assert_eq!(
        code(
            client
                .clone()
                .get_joined_group_list(user("u2").request(req))
                .await
        ),
        1002
    );
}

#[tokio::test]
async fn joined_groups_are_sorted_by_name_without_dismissed_ones() {
    let (world, client) = start().await;
    for (id, status) in [("b", 0), ("a", 0), ("c", 2)] {
        make(&world, id, status).await;
    }
    let req = GetFullJoinGroupIDsReq {
        id_hash: 0,
        user_id: "u1".to_owned(),
    };
    let full = client
        .clone()
        .get_full_join_group_i_ds(user("u1").request(req))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(full.group_i_ds, ["a", "b"]);
    let req = GetIncrementalJoinGroupReq {
        user_id: "u1".to_owned(),
        version_id: full.version_id,
        version: 1,
    };
    let changes = client
        .clone()
        .get_incremental_join_group(user("u1").request(req))
        .await
        .unwrap()
        .into_inner();
    let came: Vec<_> = changes.insert.iter().map(|g| g.group_id.as_str()).collect();
    assert_eq!((came, changes.delete), (vec!["a"], vec!["c".to_owned()]));
}

#[tokio::test]
async fn every_group_asked_for_has_an_entry() {
    let (world, client) = start().await;
    make(&world, "g1", 0).await;
    make(&world, "gone", 2).await;
    let asked = || {
        vec![
            since("g1", "", 0),
            since("gone", "abc", 7),
            since("never", "", 3),
        ]
    };
    let members = batch(&client, "u1", asked()).await.resp_list;
    assert!(members["g1"].full && members["g1"].group.as_ref().unwrap().owner_user_id == "u1");
    assert_eq!(
        (
            members["gone"].version,
            members["gone"].version_id.as_str(),
            members["gone"].full
        ),
        (7, "abc", false)
    );
    assert!(members["gone"].group.is_none());
    assert_eq!(members["never"].version, 3);
    assert!(world.sent().is_empty());
    let strangers = batch(&client, "u2", asked()).await.resp_list;
    assert!(!strangers["g1"].full && strangers["g1"].group.is_none() && strangers.len() == 3);
}

#[tokio::test]
async fn a_changed_member_shows_his_own_name_where_the_group_has_none() {
    let (world, client) = start().await;
    make(&world, "g1", 0).await;
    let store = world.deps.store.as_ref();
    let first = versions::current(store, "g1", List::Members).await.unwrap();
    versions::record(
        store,
        "g1",
        List::Members,
        &[("u1", State::Update), ("", State::Update)],
    )
    .await
    .unwrap();
    let members = batch(&client, "u1", vec![since("g1", &first.id, 1)])
        .await
        .resp_list;
    let entry = &members["g1"];
    assert_eq!(
        (entry.update.len(), entry.update[0].nickname.as_str()),
        (1, "n-u1")
    );
    assert!(entry.group.is_some() && entry.delete.is_empty());
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let (_world, client) = start().await;
    let status = client
        .clone()
        .create_group(user("u1").request(CreateGroupReq::default()))
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(status.message().contains("create_group"));
}
