//! Users of different gateways are users of one service. One test, because starting its cluster takes longer than all of it.

use std::collections::BTreeSet;

use magpie_proto::openim::sdkws::{
    SubUserOnlineStatus, SubUserOnlineStatusElem, SubUserOnlineStatusTips,
};
use magpie_tests::{Client, Cluster, Handshake, Push};
use prost::Message as _;
use serde_json::json;

/// Messages of each side of a chat.
const MESSAGES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_different_gateways_are_users_of_one_service() {
    if super::skipped("cluster::gateways") {
        return;
    }
    let cluster = Cluster::start(2).await;
    a_second_login_ends_the_first_one_on_the_other_gateway(&cluster).await;
    logins_at_the_same_time_do_not_wait_for_each_other(&cluster).await;
    who_comes_and_goes_is_seen_on_the_other_gateway(&cluster).await;
    a_chat_has_one_order_on_both_gateways_and_in_both_encodings(&cluster).await;
    assert!(!cluster.log().contains("panicked"), "a process panicked");
}

async fn a_second_login_ends_the_first_one_on_the_other_gateway(cluster: &Cluster) {
    cluster.register(&["eve"]).await;
    let [first, second] = [0, 1].map(|n| cluster.ws_urls()[n].clone());
    for urls in [[&first, &second], [&second, &first]] {
        let mut logins = Vec::new();
        for url in urls {
            let token = cluster.user_token("eve", 5).await;
            let login = Client::connect(url, &Handshake::js("eve", 5, &token)).await;
            logins.push(login.expect("a login"));
        }
        let kick = logins[0].other().await.expect("a kick");
        assert_eq!(kick.req_identifier, 2002);
        logins[0].closed().await.expect("its end");
        let sent = logins[1].send_text("eve", "I am still here").await;
        let push = logins[1].push().await.expect("the push");
        assert_eq!(push.message.server_msg_id, sent.server_msg_id);
    }
}

async fn logins_at_the_same_time_do_not_wait_for_each_other(cluster: &Cluster) {
    cluster.register(&["max"]).await;
    let urls = cluster.ws_urls();
    let [pc, phone] = [
        cluster.user_token("max", 5).await,
        cluster.user_token("max", 2).await,
    ];
    let (pc, phone) = (
        Handshake::js("max", 5, &pc),
        Handshake::go("max", 2, &phone),
    );
    for _ in 0..10 {
        let both = tokio::join!(
            Client::connect(&urls[0], &pc),
            Client::connect(&urls[1], &phone)
        );
        let (mut pc, mut phone) = (both.0.expect("a login"), both.1.expect("a login"));
        let sent = pc.send_text("max", "to my phone").await;
        for client in [&mut pc, &mut phone] {
            let push = client.push().await.expect("a push");
            assert_eq!(push.message.server_msg_id, sent.server_msg_id);
        }
    }
    let untold = "a gateway was not told of a login";
    assert!(!cluster.log().contains(untold), "{untold}");
}

/// The next change that a subscriber is told.
async fn change(subscriber: &mut Client) -> SubUserOnlineStatusElem {
    let told = subscriber.other().await.expect("a change");
    assert_eq!(told.req_identifier, 2005);
    let tips = SubUserOnlineStatusTips::decode(told.data.unwrap_or_default()).expect("tips");
    tips.subscribers.into_iter().next().expect("a user")
}

async fn who_comes_and_goes_is_seen_on_the_other_gateway(cluster: &Cluster) {
    cluster.register(&["tim", "sue"]).await;
    let urls = cluster.ws_urls();
    let token = cluster.user_token("sue", 5).await;
    let sue = Client::connect(&urls[1], &Handshake::js("sue", 5, &token)).await;
    let mut sue = sue.expect("a login");
    let wanted = SubUserOnlineStatus {
        subscribe_user_id: vec!["tim".to_owned()],
        ..SubUserOnlineStatus::default()
    };
    let now: SubUserOnlineStatusTips = sue.call(2005, &wanted).await.expect("an answer");
    assert_eq!(now.subscribers[0].online_platform_i_ds, [0; 0]);

    let mut devices = Vec::new();
    for (n, platform) in [(0, 2), (1, 1), (0, 7)] {
        let token = cluster.user_token("tim", platform).await;
        let device = Client::connect(&urls[n], &Handshake::go("tim", platform, &token)).await;
        devices.push(device.expect("a login"));
        let seen = change(&mut sue).await;
        let online: BTreeSet<i32> = seen.online_platform_i_ds.into_iter().collect();
        let expected: BTreeSet<i32> = devices.iter().map(|device| device.platform).collect();
        assert_eq!((seen.user_id.as_str(), online), ("tim", expected));
    }
    let asked = json!({"userIDs": ["tim"]});
    for _ in &urls {
        let admin = cluster.admin().await;
        let told = admin.data("/user/get_users_online_status", &asked).await;
        assert_eq!(told[0]["status"], 1, "{told}");
    }
    while let Some(mut device) = devices.pop() {
        device.conn().hang_up().await.expect("hung up");
        let seen = change(&mut sue).await;
        assert_eq!(seen.online_platform_i_ds.len(), devices.len(), "{seen:?}");
    }
}

async fn a_chat_has_one_order_on_both_gateways_and_in_both_encodings(cluster: &Cluster) {
    cluster.register(&["ada", "bea"]).await;
    let urls = cluster.ws_urls();
    let [ada, bea] = [
        cluster.user_token("ada", 5).await,
        cluster.user_token("bea", 2).await,
    ];
    let ada = Client::connect(&urls[0], &Handshake::js("ada", 5, &ada)).await;
    let bea = Client::connect(&urls[1], &Handshake::go("bea", 2, &bea)).await;
    let (mut ada, mut bea) = (ada.expect("a login"), bea.expect("a login"));
    let (from_ada, from_bea) = tokio::join!(talk(&mut ada, "bea"), talk(&mut bea, "ada"));
    let sent: BTreeSet<_> = from_ada.into_iter().chain(from_bea).collect();
    let mut views = Vec::new();
    for client in [&mut ada, &mut bea] {
        let mut pushed = Vec::new();
        while pushed.len() < 2 * MESSAGES {
            let here = |push: &Push| push.conversation == "si_ada_bea";
            let push = client.push_where(here).await.expect("a push");
            pushed.push(push.message.server_msg_id);
        }
        let pulled = client.pull_all("si_ada_bea").await.expect("a pull");
        let ids: Vec<_> = pulled.iter().map(|m| m.server_msg_id.clone()).collect();
        assert_eq!(ids, pushed, "{} is pushed what it can pull", client.user);
        views.push(pulled);
    }
    assert!(views[0] == views[1], "both see the same");
    let stored = views[0].iter().map(|m| m.server_msg_id.clone());
    assert_eq!(stored.collect::<BTreeSet<_>>(), sent);
}

/// Sends messages, each after the acknowledgement of the one before; answers their ids.
async fn talk(client: &mut Client, to: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..MESSAGES {
        let sent = client.send_text(to, &format!("message {n}")).await;
        ids.push(sent.server_msg_id);
    }
    ids
}
