//! Applications: who is told, who may answer, and what an answer does.

use magpie_proto::openim::{group::*, sdkws::RequestPagination};
use magpie_testkit::{code, user};

use crate::world::{G, World, kinds, refused, verification};

pub(crate) async fn answer(world: &World, by: &str, whom: &str, result: i32) -> i32 {
    let request = GroupApplicationResponseReq {
        group_id: G.to_owned(),
        from_user_id: whom.to_owned(),
        handled_msg: "so be it".to_owned(),
        handle_result: result,
    };
    code(
        world
            .client()
            .group_application_response(user(by).request(request))
            .await,
    )
}

const PAGE: Option<RequestPagination> = Some(RequestPagination {
    page_number: 1,
    show_number: 10,
});

#[tokio::test]
async fn an_application_is_told_answered_once_and_lets_in() {
    let mut world = World::new().await;
    world.group(G, &["u2"]).await;
    world.until_now().await;
    assert_eq!(world.join("u3").await, 0);
    let told = world.until_now().await;
    let expected = [
        (("n_u1_u3".to_owned(), 1503), 1),
        (("n_u3_u3".to_owned(), 1503), 1),
    ];
    assert_eq!(kinds(&told), expected.into());
    assert_eq!(told[0].tips["request"]["userInfo"]["userID"], "u3");
    assert_eq!(told[0].tips["applicant"]["nickname"], "n-u3");
    assert_eq!(told[0].tips["uuid"], told[1].tips["uuid"]);
    // Clients know by the operation which events they caused.
    assert!(told.iter().all(|n| n.operation == "test"), "{told:?}");
    for (by, whom, result, expected) in [
        ("u2", "u3", 1, 1002),
        ("u4", "u3", 1, 1004),
        ("u1", "u5", 1, 1004),
        ("u1", "u3", 0, 1001),
        ("u1", "", 1, 1001),
        ("u1", "u3", 1, 0),
        ("u1", "u3", 1, 1206),
    ] {
        assert_eq!(
            answer(&world, by, whom, result).await,
            expected,
            "{by} {whom} {result}"
        );
    }
    let told = world.until_now().await;
    assert!(told.iter().all(|n| n.operation == "test"), "{told:?}");
    let all = kinds(&told);
    for (conversation, kind) in [
        ("n_u1_u3", 1505),
        ("n_u1_u1", 1505),
        ("n_g1", 1510),
        ("sg_g1", 1510),
        ("n_u3_u3", 1300),
    ] {
        assert_eq!(
            all.get(&(conversation.to_owned(), kind)),
            Some(&1),
            "{conversation} {kind}"
        );
    }
    let member = world.row("u3").await.unwrap();
    assert_eq!(
        (
            member.join_source,
            member.operator_id.as_str(),
            member.inviter_id.as_str()
        ),
        (3, "u1", "")
    );
}

#[tokio::test]
async fn a_refused_one_may_ask_again() {
    let mut world = World::new().await;
    world.group(G, &[]).await;
    assert_eq!(world.join("u3").await, 0);
    assert_eq!(answer(&world, "u1", "u3", -1).await, 0);
    assert_eq!(world.notice(1506).await.tips["handleMsg"], "so be it");
    assert!(!world.is_member("u3").await);
    assert_eq!(world.join("u3").await, 0);
    assert_eq!(answer(&world, "u1", "u3", 1).await, 0);
    assert!(world.is_member("u3").await);
}

#[tokio::test]
async fn an_invitation_by_an_ordinary_member_needs_an_answer_where_the_group_says_so() {
    let mut world = World::new().await;
    world.group(G, &["u2"]).await;
    assert_eq!(world.set(&user("u1"), verification(1)).await, 0);
    world.until_now().await;
    assert_eq!(world.invite(&user("u2"), &["u3", "u1"]).await, 0);
    let told = world.until_now().await;
    let expected = [
        (("n_u1_u2".to_owned(), 1503), 1),
        (("n_u2_u2".to_owned(), 1503), 1),
    ];
    assert_eq!(kinds(&told), expected.into());
    assert_eq!(told[0].tips["applicant"]["userID"], "u2");
    assert_eq!(told[0].tips["request"]["userInfo"]["userID"], "u3");
    assert_eq!(answer(&world, "u1", "u3", 1).await, 0);
    let entered = world.notice(1509).await;
    assert_eq!(entered.tips["opUser"]["userID"], "u1");
    assert_eq!(entered.tips["opUser"]["roleLevel"], 100);
    assert_eq!(entered.tips["opUser"]["appMangerLevel"], 0);
    assert_eq!(entered.tips["inviterUser"]["userID"], "u2");
    assert_eq!(world.invite(&user("u1"), &["u4"]).await, 0);
    assert!(world.is_member("u4").await);
}

#[tokio::test]
async fn applications_are_listed_to_those_concerned() {
    let world = World::new().await;
    world.group(G, &["u2"]).await;
    assert_eq!(world.join("u3").await, 0);
    let received = async |by: &str, groups: &[&str], results: &[i32]| {
        let request = GetGroupApplicationListReq {
            pagination: PAGE,
            from_user_id: by.to_owned(),
            group_i_ds: crate::world::owned(groups),
            handle_results: results.to_vec(),
        };
        let mut client = world.client();
        let answer = client
            .get_group_application_list(user(by).request(request))
            .await;
        refused(answer).map(|list| (list.total, list.group_requests.len()))
    };
    assert_eq!(received("u1", &[], &[]).await, Ok((1, 1)));
    assert_eq!(received("u1", &[G], &[0]).await, Ok((1, 1)));
    assert_eq!(received("u1", &[], &[1]).await, Ok((0, 0)));
    assert_eq!(received("u2", &[], &[]).await, Ok((0, 0)));
    assert_eq!(received("u2", &[G], &[]).await, Err(1002));
    let made = async |by: &str, whose: &str| {
        let request = GetUserReqApplicationListReq {
            pagination: PAGE,
            user_id: whose.to_owned(),
            ..GetUserReqApplicationListReq::default()
        };
        let mut client = world.client();
        let answer = client
            .get_user_req_application_list(user(by).request(request))
            .await;
        refused(answer).map(|list| list.total)
    };
    assert_eq!(made("u3", "u3").await, Ok(1));
    assert_eq!(made("u1", "u3").await, Err(1002));
    let unhandled = async |who: &str| {
        let request = GetGroupApplicationUnhandledCountReq {
            user_id: who.to_owned(),
            time: 0,
        };
        let mut client = world.client();
        let answer = client.get_group_application_unhandled_count(user(who).request(request));
        refused(answer.await).map(|r| r.count)
    };
    assert_eq!(
        (unhandled("u1").await, unhandled("u2").await),
        (Ok(1), Ok(0))
    );
    let one = async |by: &str| {
        let request = GetSpecifiedUserGroupRequestInfoReq {
            group_id: G.to_owned(),
            user_id: "u3".to_owned(),
        };
        let mut client = world.client();
        let answer = client.get_specified_user_group_request_info(user(by).request(request));
        refused(answer.await).map(|r| r.total)
    };
    assert_eq!(
        (one("u1").await, one("u3").await, one("u2").await),
        (Ok(1), Ok(1), Err(1002))
    );
    let of_users = async |by: &str| {
        let request = GetGroupUsersReqApplicationListReq {
            group_id: G.to_owned(),
            user_i_ds: vec!["u3".to_owned()],
        };
        let mut client = world.client();
        let answer = client.get_group_users_req_application_list(user(by).request(request));
        refused(answer.await).map(|r| r.total)
    };
    assert_eq!(
        (of_users("u1").await, of_users("u2").await),
        (Ok(1), Err(1002))
    );
}
