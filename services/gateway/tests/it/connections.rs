//! Handshakes, presence, and the ways a connection ends.

use crate::world::{Client, World, item};
use bytes::Bytes;
use futures::SinkExt;
use magpie_envelope::reqs;
use magpie_gateway::Config;
use magpie_proto::openim::msggateway::{
    MultiTerminalLoginCheckReq, msg_gateway_client::MsgGatewayClient,
};
use magpie_proto::openim::sdkws::{
    SubUserOnlineStatus, SubUserOnlineStatusElem, SubUserOnlineStatusTips,
};
use magpie_service::Context;
use magpie_types::MultiLogin;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tonic::Status;

async fn http(world: &World, request: &str) -> String {
    let mut stream = TcpStream::connect(&world.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn refusals_have_the_form_that_clients_know() {
    let world = World::new(Config {
        allowed_origins: vec!["http://good".to_owned()],
        ..Config::default()
    })
    .await;
    let good = "sendID=u1&token=u1@5&platformID=5&operationID=o&isBackground=false&sdkType=js";
    let missing = http(
        &world,
        "GET /?platformID=5&operationID=o&isBackground=false HTTP/1.1\r\n\r\n",
    )
    .await;
    assert!(
        missing.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"),
        "{missing}"
    );
    assert!(missing.ends_with(r#"{"errCode":1602,"errMsg":"args err, need token, sendID, platformID","errDlt":"token is empty"}"#));
    for query in [
        good.to_owned(),
        format!("{good}&isMsgResp=true"),
        good.replace("u1@5", "bad") + "&isMsgResp=true",
    ] {
        let answer = http(&world, &format!("GET /?{query} HTTP/1.1\r\n\r\n")).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\nBad Request\n"),
            "{answer}"
        );
    }
    let kicked = http(
        &world,
        &format!(
            "GET /?{} HTTP/1.1\r\n\r\n",
            good.replace("u1@5", "u1@5.kicked")
        ),
    )
    .await;
    assert!(
        kicked.ends_with(r#"{"errCode":1506,"errMsg":"TokenKickedError","errDlt":""}"#),
        "{kicked}"
    );
    let evil = http(
        &world,
        &format!("GET /?{good} HTTP/1.1\r\nOrigin: http://evil\r\n\r\n"),
    )
    .await;
    assert!(evil.starts_with("HTTP/1.1 403 "), "{evil}");
    for (query, error) in [
        (
            good.replace("u1@5", "u1@5.kicked"),
            r#"{"errCode":1506,"errMsg":"TokenKickedError","errDlt":""}"#,
        ),
        (
            good.replace("sendID=u1", "sendID=u2"),
            r#"{"errCode":1502,"errMsg":"TokenInvalidError","errDlt":"token uid u1 != userID u2"}"#,
        ),
        (
            good.replace("ID=5", "ID=12"),
            r#"{"errCode":1502,"errMsg":"TokenInvalidError","errDlt":"token platform 5 != platformID 12"}"#,
        ),
    ] {
        let mut client = Client {
            socket: world.open(&format!("{query}&isMsgResp=true")).await,
            user: String::new(),
        };
        assert_eq!(client.text().await, error);
        assert_eq!(client.next().await, None);
    }
    assert_eq!(world.platforms("u1").await, Vec::<i32>::new());
}

#[tokio::test]
async fn a_full_gateway_refuses_with_1601() {
    let world = World::new(Config {
        max_connections: 1,
        ..Config::default()
    })
    .await;
    let _client = world.connect("u1@5").await;
    let answer = http(&world, "GET / HTTP/1.1\r\n\r\n").await;
    assert!(
        answer.contains(r#""errCode":1601,"errMsg":"ConnOverMaxNumLimit""#),
        "{answer}"
    );
}

#[tokio::test]
async fn another_login_ends_the_platform_but_not_its_own_token() {
    let world = World::new(Config::default()).await;
    let mut old = world.connect("u1@5.a").await;
    let mut same = world.connect("u1@5.a").await;
    let mut phone = world.connect("u1@2").await;
    assert!(old.until_answered().await.is_empty());
    world.marked.lock().unwrap().clear();
    let mut new = world.connect("u1@5.b").await;
    for ended in [&mut old, &mut same] {
        let kick = ended.response().await;
        assert_eq!((kick.req_identifier, kick.data), (reqs::KICK, None));
        assert_eq!(ended.next().await, None);
    }
    assert_eq!(*world.marked.lock().unwrap(), ["u1@5.b"]);
    assert!(phone.until_answered().await.is_empty() && new.until_answered().await.is_empty());
    assert_eq!(world.platforms("u1").await, [2, 5]);
}

#[tokio::test]
async fn bad_frames_end_the_connection_without_a_word() {
    let world = World::new(Config::default()).await;
    let json = |text: &'static str| Message::Binary(Bytes::from_static(text.as_bytes()));
    for bad in [
        Message::text(""),
        Message::text("ping"),
        Message::text(r#"{"type":"foo"}"#),
        json(""),
        json("{}"),
        json(r#"{"reqIdentifier":1001.0,"sendID":"u1"}"#),
        json(r#"{"reqIdentifier":1001,"sendID":"u2"}"#),
        json(r#"{"reqIdentifier":1008,"sendID":"u1"}"#),
        json(r#"{"reqIdentifier":2001,"sendID":"u1"}"#),
    ] {
        let mut client = world.connect("u1@5").await;
        client.socket.send(bad.clone()).await.unwrap();
        assert_eq!(client.next().await, None, "{bad}");
    }
    let mut client = world.connect("u1@5").await;
    client
        .socket
        .send(Message::Binary(vec![0; 51_201].into()))
        .await
        .ok();
    match client.next().await {
        Some(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1009),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn presence_follows_the_connections_through_any_churn() {
    let world = World::new(Config {
        multi_login_policy: MultiLogin::Unlimited,
        ..Config::default()
    })
    .await;
    let mut watcher = world.connect("u1@5").await;
    let subscribe = SubUserOnlineStatus {
        subscribe_user_id: vec!["u2".to_owned(), String::new(), "u1".to_owned()],
        unsubscribe_user_id: Vec::new(),
    };
    watcher.request(2005, "s", subscribe.encode_to_vec()).await;
    let element = |user: &str, platforms: &[i32]| SubUserOnlineStatusElem {
        user_id: user.to_owned(),
        online_platform_i_ds: platforms.to_vec(),
    };
    let tips = SubUserOnlineStatusTips::decode(watcher.response().await.data.unwrap()).unwrap();
    assert_eq!(
        tips.subscribers,
        [element("u2", &[]), element("", &[]), element("u1", &[5])]
    );

    let mut web = world.connect("u2@5").await;
    let phone = world.connect("u2@2").await;
    drop(phone);
    let mut seen = Vec::new();
    while seen.last() != Some(&element("u2", &[5])) || seen.len() < 3 {
        let push = watcher.response().await;
        assert_eq!((push.req_identifier, push.msg_incr.as_str()), (2005, ""));
        seen.extend(
            SubUserOnlineStatusTips::decode(push.data.unwrap())
                .unwrap()
                .subscribers,
        );
    }
    assert_eq!(
        seen,
        [
            element("u2", &[5]),
            element("u2", &[2, 5]),
            element("u2", &[5])
        ]
    );
    web.socket.close(None).await.unwrap();
    let push = watcher.response().await;
    assert_eq!(
        SubUserOnlineStatusTips::decode(push.data.unwrap())
            .unwrap()
            .subscribers,
        [element("u2", &[])]
    );

    let unsubscribe = SubUserOnlineStatus {
        unsubscribe_user_id: vec!["u2".to_owned()],
        ..Default::default()
    };
    watcher
        .request(2005, "t", unsubscribe.encode_to_vec())
        .await;
    let tips = SubUserOnlineStatusTips::decode(watcher.response().await.data.unwrap()).unwrap();
    assert_eq!(
        tips.subscribers,
        [element("u2", &[])],
        "TypeScript needs an element"
    );
    let _back = world.connect("u2@5").await;
    assert!(watcher.until_answered().await.is_empty());
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_closed_and_a_browser_is_kept_by_pings() {
    let config = Config {
        read_timeout_ms: 2000,
        web_ping_interval_ms: 100,
        ..Config::default()
    };
    let world = World::new(config).await;
    let mut web = world.connect("u1@5").await;
    let mut phone = world.connect("u1@2").await;
    let pings = async {
        for _ in 0..30 {
            assert_eq!(web.next().await, Some(Message::Ping(Bytes::new())));
        }
    };
    let (end, ()) = tokio::join!(phone.next(), pings);
    assert_eq!(end, None);
}

#[tokio::test]
async fn a_close_frame_is_answered_with_its_code() {
    let world = World::new(Config::default()).await;
    let mut client = world.connect("u1@5").await;
    client
        .socket
        .send(Message::Ping(Bytes::from_static(b"abc")))
        .await
        .unwrap();
    assert_eq!(
        client.next().await,
        Some(Message::Pong(Bytes::from_static(b"abc")))
    );
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
        code: 1000.into(),
        reason: "bye".into(),
    };
    client.socket.close(Some(frame)).await.unwrap();
    match client.next().await {
        Some(Message::Close(Some(frame))) => {
            assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1000, ""))
        }
        other => panic!("{other:?}"),
    }
}

/// A client that came back often before its old connections were known to be dead.
#[tokio::test]
async fn a_connection_beyond_the_limit_of_its_user_and_platform_ends_the_oldest() {
    let world = World::new(Config {
        max_connections_per_user: 2,
        ..Config::default()
    })
    .await;
    let mut oldest = world.connect("u1@5").await;
    let mut second = world.connect("u1@5").await;
    let _elsewhere = world.connect("u1@1").await;
    let _another = world.connect("u2@5").await;
    let mut third = world.connect("u1@5").await;
    assert!(oldest.next().await.is_none(), "it ends, and is not kicked");
    world.deliver(vec![item(1, "o", &["u1"])]).await;
    assert_eq!(second.response().await.req_identifier, reqs::PUSH_MSG);
    assert_eq!(third.response().await.req_identifier, reqs::PUSH_MSG);
    assert_eq!(world.platforms("u1").await, [1, 5]);
}

#[tokio::test]
async fn devices_that_log_in_at_once_on_two_gateways_do_not_wait_for_each_other() {
    let world = World::new(Config::default()).await;
    // The user logs in there too: that gateway answers when this one has been told of it.
    let here = world.deps.channel(magpie_discovery::name::GATEWAY);
    let (told, mut was_told) = tokio::sync::mpsc::unbounded_channel();
    world.second_gateway(move || {
        let (mut here, told) = (MsgGatewayClient::new(here.clone()), told.clone());
        async move {
            let login = MultiTerminalLoginCheckReq {
                user_id: "u1".to_owned(),
                platform_id: 2,
                token: "u1@2".to_owned(),
            };
            let request = Context::internal("login there").request(login);
            here.multi_terminal_login_check(request).await?;
            told.send(()).map_err(|e| Status::internal(e.to_string()))?;
            Ok(Vec::new())
        }
    });
    world.connect("u1@5").await;
    was_told
        .try_recv()
        .expect("it was told before the login was answered");
}
