//! What is read of groups and members, and who may.

use magpie_proto::openim::{group::*, sdkws::RequestPagination};
use magpie_testkit::{admin, code, user};

use crate::world::{G, World, refused};

fn page(number: i32, size: i32) -> Option<RequestPagination> {
    Some(RequestPagination {
        page_number: number,
        show_number: size,
    })
}

fn since(group: &str, version_id: &str, version: u64) -> GetIncrementalGroupMemberReq {
    GetIncrementalGroupMemberReq {
        group_id: group.to_owned(),
        version_id: version_id.to_owned(),
        version,
    }
}

#[tokio::test]
async fn members_are_paged_in_their_order() {
    let world = World::new().await;
    world.group(G, &["u4", "u3", "u2"]).await;
    let list = async |number, size, filter, keyword: &str| {
        let request = GetGroupMemberListReq {
            pagination: page(number, size),
            group_id: G.to_owned(),
            filter,
            keyword: keyword.to_owned(),
        };
        let mut client = world.client();
        let answer = client
            .get_group_member_list(user("u2").request(request))
            .await;
        refused(answer).map(|list| {
            let ids: Vec<String> = list.members.into_iter().map(|m| m.user_id).collect();
            (list.total, ids)
        })
    };
    let ids = |ids: &[&str]| crate::world::owned(ids);
    assert_eq!(
        list(1, 10, 0, "").await,
        Ok((4, ids(&["u1", "u2", "u3", "u4"])))
    );
    assert_eq!(list(2, 3, 0, "").await, Ok((4, ids(&["u4"]))));
    assert_eq!(list(3, 3, 0, "").await, Ok((4, ids(&[]))));
    assert_eq!(list(1, 10, 1, "").await, Ok((1, ids(&["u1"]))));
    assert_eq!(list(1, 10, 0, "u3").await, Ok((1, ids(&["u3"]))));
    assert_eq!(list(1, 10, 6, "").await, Err(1001));
    assert_eq!(list(0, 10, 0, "").await, Err(1001));
}

#[tokio::test]
async fn members_are_shown_to_members_alone() {
    let world = World::new().await;
    world.group(G, &["u2"]).await;
    for (by, expected) in [(user("u2"), 0), (user("u3"), 1002), (admin(), 0)] {
        let mut client = world.client();
        let request = GetGroupMemberListReq {
            pagination: page(1, 10),
            group_id: G.to_owned(),
            ..GetGroupMemberListReq::default()
        };
        assert_eq!(
            code(client.get_group_member_list(by.request(request)).await),
            expected
        );
        let request = GetGroupMembersInfoReq {
            group_id: G.to_owned(),
            user_i_ds: vec!["u1".to_owned()],
        };
        assert_eq!(
            code(client.get_group_members_info(by.request(request)).await),
            expected
        );
        let request = GetGroupMemberUserIDsReq {
            group_id: G.to_owned(),
        };
        assert_eq!(
            code(client.get_group_member_user_i_ds(by.request(request)).await),
            expected
        );
        let request = GetGroupAbstractInfoReq {
            group_i_ds: vec![G.to_owned()],
        };
        assert_eq!(
            code(client.get_group_abstract_info(by.request(request)).await),
            expected
        );
        let request = GetFullGroupMemberUserIDsReq {
            group_id: G.to_owned(),
            id_hash: 0,
        };
        assert_eq!(
            code(
                client
                    .get_full_group_member_user_i_ds(by.request(request))
                    .await
            ),
            expected
        );
        assert_eq!(
            code(
                client
                    .get_incremental_group_member(by.request(since(G, "", 0)))
                    .await
            ),
            expected
        );
        let request = GetGroupMemberRoleLevelReq {
            group_id: G.to_owned(),
            role_levels: vec![100],
        };
        assert_eq!(
            code(
                client
                    .get_group_member_role_level(by.request(request))
                    .await
            ),
            expected
        );
    }
}

#[tokio::test]
async fn every_group_asked_for_has_an_entry() {
    let world = World::new().await;
    world.group(G, &["u2"]).await;
    world.group("gone", &["u2"]).await;
    let request = DismissGroupReq {
        group_id: "gone".to_owned(),
        ..DismissGroupReq::default()
    };
    assert_eq!(
        code(
            world
                .client()
                .dismiss_group(user("u1").request(request))
                .await
        ),
        0
    );
    let batch = async |who: &str| {
        let request = BatchGetIncrementalGroupMemberReq {
            user_id: String::new(),
            req_list: vec![
                since(G, "", 0),
                since("gone", "abc", 7),
                since("never", "", 3),
            ],
        };
        let mut client = world.client();
        let answer = client.batch_get_incremental_group_member(user(who).request(request));
        answer.await.unwrap().into_inner().resp_list
    };
    let members = batch("u1").await;
    assert!(members[G].full && members[G].group.as_ref().unwrap().owner_user_id == "u1");
    let gone = &members["gone"];
    assert_eq!(
        (gone.version, gone.version_id.as_str(), gone.full),
        (7, "abc", false)
    );
    assert!(gone.group.is_none());
    assert_eq!(members["never"].version, 3);
    let strangers = batch("u4").await;
    assert!(!strangers[G].full && strangers[G].group.is_none() && strangers.len() == 3);
}

#[tokio::test]
async fn a_delta_has_what_came_changed_and_went() {
    let world = World::new().await;
    world.group(G, &["u2", "u3"]).await;
    let mut client = world.client();
    let first = client.get_incremental_group_member(user("u1").request(since(G, "", 0)));
    let first = first.await.unwrap().into_inner();
    assert!(first.full);
    assert_eq!(world.invite(&user("u1"), &["u4"]).await, 0);
    assert_eq!(world.kick(&user("u1"), &["u3"]).await, 0);
    let known = since(G, &first.version_id, first.version);
    let delta = client.get_incremental_group_member(user("u1").request(known));
    let delta = delta.await.unwrap().into_inner();
    assert_eq!(
        (delta.version, delta.full, delta.delete),
        (3, false, vec!["u3".to_owned()])
    );
    assert_eq!(delta.insert[0].user_id, "u4");
    assert_eq!(
        (delta.sort_version, delta.group.unwrap().member_count),
        (2, 3)
    );
}

#[tokio::test]
async fn joined_groups_are_sorted_by_name_without_dismissed_ones() {
    let world = World::new().await;
    for id in ["b", "a", "c"] {
        world.group(id, &["u2"]).await;
    }
    let request = DismissGroupReq {
        group_id: "c".to_owned(),
        ..DismissGroupReq::default()
    };
    assert_eq!(
        code(
            world
                .client()
                .dismiss_group(user("u1").request(request))
                .await
        ),
        0
    );
    let request = GetFullJoinGroupIDsReq {
        id_hash: 0,
        user_id: "u2".to_owned(),
    };
    let mut client = world.client();
    let full = client.get_full_join_group_i_ds(user("u2").request(request));
    assert_eq!(full.await.unwrap().into_inner().group_i_ds, ["a", "b"]);
    let request = GetJoinedGroupListReq {
        pagination: page(1, 10),
        from_user_id: "u2".to_owned(),
    };
    let list = client
        .get_joined_group_list(user("u2").request(request.clone()))
        .await;
    assert_eq!(list.unwrap().into_inner().total, 2);
    assert_eq!(
        code(
            client
                .get_joined_group_list(user("u1").request(request))
                .await
        ),
        1002
    );
}

#[tokio::test]
async fn administrators_search_and_count_all_groups() {
    let world = World::new().await;
    world.group("a", &["u2"]).await;
    world.group("b", &[]).await;
    let search = |name: &str, id: &str| GetGroupsReq {
        pagination: page(1, 10),
        group_name: name.to_owned(),
        group_id: id.to_owned(),
    };
    let mut client = world.client();
    assert_eq!(
        code(client.get_groups(user("u1").request(search("", ""))).await),
        1002
    );
    let all = client
        .get_groups(admin().request(search("", "")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (all.total, all.groups[0].group_owner_user_name.as_str()),
        (2, "n-u1")
    );
    let one = client
        .get_groups(admin().request(search("name-a", "")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(one.total, 1);
    let one = client
        .get_groups(admin().request(search("", "b")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(one.groups[0].group_info.as_ref().unwrap().group_id, "b");
    let count = |start, end| GroupCreateCountReq { start, end };
    assert_eq!(
        code(
            client
                .group_create_count(user("u1").request(count(1, 2)))
                .await
        ),
        1002
    );
    assert_eq!(
        code(
            client
                .group_create_count(admin().request(count(2, 1)))
                .await
        ),
        1001
    );
    let counted = client
        .group_create_count(admin().request(count(1, i64::MAX)))
        .await;
    let counted = counted.unwrap().into_inner();
    assert_eq!(
        (
            counted.total,
            counted.before,
            counted.count.values().sum::<i64>()
        ),
        (2, 0, 2)
    );
    let request = GetGroupMembersCmsReq {
        pagination: page(1, 10),
        group_id: "a".to_owned(),
        user_name: "u2".to_owned(),
    };
    let found = client.get_group_members_cms(admin().request(request)).await;
    assert_eq!(found.unwrap().into_inner().total, 1);
    let request = GetGroupInfoCacheReq {
        group_id: "a".to_owned(),
    };
    assert_eq!(
        code(
            client
                .get_group_info_cache(admin().request(request.clone()))
                .await
        ),
        0
    );
    assert_eq!(
        code(
            client
                .get_group_info_cache(user("u1").request(request))
                .await
        ),
        1002
    );
    let request = GetGroupMemberCacheReq {
        group_id: "a".to_owned(),
        group_member_id: "u2".to_owned(),
    };
    assert_eq!(
        code(
            client
                .get_group_member_cache(admin().request(request))
                .await
        ),
        0
    );
    let request = GetUserInGroupMembersReq {
        user_id: "u2".to_owned(),
        group_i_ds: vec!["a".to_owned(), "b".to_owned()],
    };
    let own = client
        .get_user_in_group_members(user("u2").request(request.clone()))
        .await;
    assert_eq!(own.unwrap().into_inner().members.len(), 1);
    assert_eq!(
        code(
            client
                .get_user_in_group_members(user("u1").request(request))
                .await
        ),
        1002
    );
}

#[tokio::test]
async fn a_group_asked_for_twice_is_shown_once() {
    let world = World::new().await;
    world.group(G, &[]).await;
    let request = GetGroupsInfoReq {
        group_i_ds: [G, "nowhere", G].map(str::to_owned).to_vec(),
    };
    let found = world
        .client()
        .get_groups_info(user("u4").request(request))
        .await;
    let found = found.unwrap().into_inner().group_infos;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].group_id, G);
}
