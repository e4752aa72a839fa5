//! Settings for clients.

use std::collections::BTreeMap;

use magpie_discovery::Channel;
use magpie_proto::openim::{
    sdkws::RequestPagination,
    user::{user_client::UserClient, *},
};
use magpie_service::Context;
use magpie_testkit::{admin, code, user};

use super::start;

async fn set(
    client: &UserClient<Channel>,
    ctx: &Context,
    user_id: &str,
    configs: &[(&str, &str)],
) -> i32 {
    let req = SetUserClientConfigReq {
        user_id: user_id.to_owned(),
        configs: configs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    };
    code(
        client
            .clone()
            .set_user_client_config(ctx.request(req))
            .await,
    )
}

async fn get(
    client: &UserClient<Channel>,
    ctx: &Context,
    user_id: &str,
) -> Result<BTreeMap<String, String>, i32> {
    let req = GetUserClientConfigReq {
        user_id: user_id.to_owned(),
    };
    let answer = client
        .clone()
        .get_user_client_config(ctx.request(req))
        .await;
    match answer {
        Ok(answer) => Ok(answer.into_inner().configs),
        Err(status) => Err(code::<()>(Err(status))),
    }
}

fn map(configs: &[(&str, &str)]) -> BTreeMap<String, String> {
    configs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_users_own_values_win() {
    let (_world, client) = start().await;
    let (me, admin) = (user("u1"), admin());
    assert_eq!(set(&client, &admin, "", &[("a", "1"), ("b", "2")]).await, 0);
    assert_eq!(
        set(&client, &admin, "u1", &[("b", "u"), ("c", "3")]).await,
        0
    );
    assert_eq!(set(&client, &admin, "u1", &[("c", "4")]).await, 0);
    assert_eq!(set(&client, &admin, "", &[]).await, 0);
    let mine = map(&[("a", "1"), ("b", "u"), ("c", "4")]);
    assert_eq!(get(&client, &me, "u1").await, Ok(mine));
    assert_eq!(
        get(&client, &me, "").await,
        Ok(map(&[("a", "1"), ("b", "2")]))
    );
    let page = |user_id: &str, key: &str, pagination| {
        let req = PageUserClientConfigReq {
            user_id: user_id.to_owned(),
            key: key.to_owned(),
            pagination,
        };
        let (mut client, admin) = (client.clone(), admin.clone());
        async move {
            let page = client.page_user_client_config(admin.request(req)).await;
            let page = page.unwrap().into_inner();
            let lines = page.configs.into_iter().map(|c| (c.user_id, c.key));
            (page.total, lines.collect::<Vec<_>>())
        }
    };
    let first = Some(RequestPagination {
        page_number: 1,
        show_number: 10,
    });
    let line = |user: &str, key: &str| (user.to_owned(), key.to_owned());
    let all = vec![
        line("", "a"),
        line("", "b"),
        line("u1", "b"),
        line("u1", "c"),
    ];
    assert_eq!(page("", "", first).await, (4, all));
    assert_eq!(page("u1", "", first).await.0, 2);
    assert_eq!(
        page("", "b", first).await.1,
        [line("", "b"), line("u1", "b")]
    );
    assert_eq!(page("", "", None).await, (4, Vec::new()));
    let delete = DelUserClientConfigReq {
        user_id: "u1".to_owned(),
        keys: vec!["b".to_owned(), "zz".to_owned()],
    };
    let deleted = client
        .clone()
        .del_user_client_config(admin.request(delete))
        .await;
    assert_eq!(code(deleted), 0);
    let mine = map(&[("a", "1"), ("b", "2"), ("c", "4")]);
    assert_eq!(get(&client, &me, "u1").await, Ok(mine));
}

#[tokio::test]
async fn refuses_users_nobody_and_long_values() {
    let (_world, client) = start().await;
    let (me, admin) = (user("u1"), admin());
    assert_eq!(set(&client, &me, "u1", &[("a", "1")]).await, 1002);
    assert_eq!(set(&client, &admin, "nobody", &[("a", "1")]).await, 1004);
    assert_eq!(set(&client, &admin, "", &[("", "1")]).await, 1001);
    let long = "x".repeat(17 << 10);
    assert_eq!(set(&client, &admin, "", &[("a", &long)]).await, 1001);
    assert_eq!(set(&client, &admin, "", &[(&long, "1")]).await, 1001);
    assert_eq!(get(&client, &me, "u2").await, Err(1002));
    assert_eq!(get(&client, &admin, "nobody").await, Err(1004));
    let delete = DelUserClientConfigReq::default();
    let deleted = client
        .clone()
        .del_user_client_config(me.request(delete))
        .await;
    assert_eq!(code(deleted), 1002);
    let page = PageUserClientConfigReq::default();
    let page = client
        .clone()
        .page_user_client_config(me.request(page))
        .await;
    assert_eq!(code(page), 1002);
}
