//! Requests, answers and pushes, and their order.

use crate::world::{Client, World, body, item};
use bytes::Bytes;
use magpie_gateway::Config;
use magpie_proto::magpie::gateway::{Audience, Item, ItemResult};
use magpie_proto::magpie::log::Membership;
use magpie_proto::openim::sdkws::{MsgData, PushMessages, SubUserOnlineStatus};
use magpie_types::{Code, Error};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn the_answer_of_a_send_goes_before_its_push_and_sends_of_a_conversation_wait_for_each_other()
{
    let mut world = World::new(Config::default()).await;
    let mut client = world.connect("u1@5").await;
    client.request(1003, "o1", body("a", "u2")).await;
    client.request(1003, "o2", body("", "u2")).await;
    client.request(1003, "o3", body("c", "u3")).await;
    let first = world.sent.recv().await.unwrap();
    let beside = world.sent.recv().await.unwrap();
    assert_eq!(
        (first.client_msg_id.as_str(), beside.client_msg_id.as_str()),
        ("a", "c")
    );
    let number = connection_id(&world).await;
    world
        .deliver(vec![
            Item {
                sender_connection_id: number,
                ..item(1, "o1", &["u1"])
            },
            item(2, "x", &["u1"]),
        ])
        .await;
    assert_eq!(client.until_answered().await, []);
    beside
        .answer
        .send(Err(Error::from(Code::BLOCKED_BY_PEER)))
        .unwrap();
    let refused = client.response().await;
    assert_eq!(
        (
            refused.operation_id.as_str(),
            refused.err_code,
            refused.err_msg.as_str()
        ),
        ("o3", 1302, "BlockedByPeer")
    );
    assert_eq!(refused.data, None);
    first.answer.send(Ok(())).unwrap();
    let order = [
        client.response().await,
        client.response().await,
        client.response().await,
    ];
    let seen = order.map(|r| (r.req_identifier, r.operation_id));
    assert_eq!(
        seen,
        [
            (1003, "o1".to_owned()),
            (2001, "o1".to_owned()),
            (2001, "x".to_owned())
        ]
    );
    let next = world.sent.recv().await.unwrap();
    assert_eq!(next.client_msg_id.len(), 32, "an empty id was replaced");
    next.answer.send(Ok(())).unwrap();
    assert_eq!(client.response().await.operation_id, "o2");
}

async fn connection_id(world: &World) -> String {
    use magpie_proto::openim::msggateway::{
        GetUsersOnlineStatusReq, msg_gateway_client::MsgGatewayClient,
    };
    let mut gateway = MsgGatewayClient::new(world.deps.channel("gateway"));
    let request = GetUsersOnlineStatusReq {
        user_i_ds: vec!["u1".to_owned()],
    };
    let answer = gateway
        .get_users_online_status(magpie_service::Context::internal("t").request(request))
        .await
        .unwrap();
    answer.into_inner().success_result[0].detail_platform_status[0]
        .conn_id
        .clone()
}

#[tokio::test]
async fn wrong_bodies_are_refused_and_the_connection_goes_on() {
    let world = World::new(Config::default()).await;
    let mut client = world.connect("u1@5").await;
    for (number, data, code) in [
        (1001, vec![0xff], 1001),
        (1001, Vec::new(), 1002),
        (1001, vec![0x0a, 2, b'u', b'2'], 1002),
        (1003, vec![0xff], 1001),
        (1004, Vec::new(), 1001),
        (1005, vec![0x0a, 2, b'u', b'2'], 1002),
        (2004, vec![0xff], 1001),
    ] {
        client.request(number, "o", data).await;
        let response = client.response().await;
        assert_eq!(
            (response.req_identifier, response.err_code, response.data),
            (number, code, None)
        );
        assert!(!response.err_msg.is_empty());
    }
    client.request(1001, "o", vec![0x0a, 2, b'u', b'1']).await;
    assert_eq!(client.response().await.data, Some(Bytes::new()));
    client.request(2003, "o", Vec::new()).await;
    assert_eq!(client.response().await.err_code, 1001);
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn what_would_take_much_memory_is_refused() {
    let world = World::new(Config::default()).await;
    let mut client = world.connect("u1@5").await;
    let mentions = MsgData {
        at_user_id_list: vec![String::new(); 1001],
        ..MsgData::default()
    };
    let many = SubUserOnlineStatus {
        subscribe_user_id: vec!["u".to_owned(); 5001],
        ..SubUserOnlineStatus::default()
    };
    for (number, data) in [
        (1003, mentions.encode_to_vec()),
        (2005, many.encode_to_vec()),
    ] {
        client.request(number, "o", data).await;
        assert_eq!(client.response().await.err_code, 1001);
    }
    client.request(1001, &"o".repeat(257), Vec::new()).await;
    assert_eq!(client.next().await, None);
}

#[tokio::test]
async fn repeats_of_the_stored_log_are_dropped_and_resend_answers_are_not() {
    let world = World::new(Config::default()).await;
    let mut client = world.connect("u1@5").await;
    let mut other = world.connect("u1@2").await;
    let answer = world
        .deliver(vec![item(5, "a", &["u1", "nobody"]), item(6, "b", &["u1"])])
        .await;
    let missed: Vec<_> = answer.results.iter().map(|r| &r.missed[..]).collect();
    assert_eq!(missed, [&[1][..], &[]], "nobody has no connection");
    let repeated = world
        .deliver(vec![item(6, "b", &["u1"]), item(7, "c", &["u1"])])
        .await;
    assert!(
        repeated.results[0].missed.is_empty(),
        "who had it still counts as reached"
    );
    for (connection, missed) in [
        ("unknown".to_owned(), &[0][..]),
        (connection_id(&world).await, &[]),
    ] {
        let only = Item {
            only_connection_id: connection,
            ..item(5, "d", &["u1"])
        };
        assert_eq!(world.deliver(vec![only]).await.results[0].missed, missed);
    }
    let mut resent = 0;
    for client in [&mut client, &mut other] {
        let mut pushes = client.until_answered().await;
        let first = PushMessages::decode(pushes[0].data.clone().unwrap()).unwrap();
        assert_eq!(first.msgs["si_u1_u2"].msgs[0].client_msg_id, "m5");
        resent += pushes.extract_if(.., |r| r.operation_id == "d").count();
        let seen: Vec<_> = pushes.iter().map(|r| r.operation_id.as_str()).collect();
        assert_eq!(seen, ["a", "b", "c"]);
    }
    assert_eq!(resent, 1, "the connection that asked alone");
}

/// A transfer worker that takes a partition over publishes again what the one before it did not commit.
#[tokio::test]
async fn messages_that_are_in_the_stored_log_twice_are_written_once() {
    let world = World::new(Config::default()).await;
    let mut client = world.connect("u1@5").await;
    let at = |seq, item| Item { seq, ..item };
    let parts = vec![
        at(7, item(20, "a", &["u2"])),
        at(7, item(20, "a", &["u1"])),
        at(8, item(21, "b", &["u1"])),
    ];
    world.deliver(parts).await;
    let again = vec![
        at(7, item(22, "a", &["u1"])),
        at(8, item(23, "b", &["u1"])),
        at(0, item(24, "typing", &["u1"])),
        at(9, item(25, "c", &["u1"])),
    ];
    world.deliver(again).await;
    let pushes = client.until_answered().await;
    let seen: Vec<_> = pushes.iter().map(|r| r.operation_id.as_str()).collect();
    assert_eq!(seen, ["a", "b", "typing", "c"]);
}

/// A repartition makes the stored log anew while the gateway goes on, and a push worker may have stood still meanwhile.
#[tokio::test]
async fn the_offsets_of_a_log_that_was_made_anew_begin_again_and_those_of_the_old_one_stay_known() {
    let world = World::new(Config::default()).await;
    let mut client = world.connect("u1@5").await;
    let made = |incarnation, item| Item {
        incarnation,
        ..item
    };
    world.deliver(vec![made(1, item(8, "a", &["u1"]))]).await;
    let mixed = vec![
        made(2, item(0, "b", &["u1"])),
        made(1, item(8, "a", &["u1"])),
        made(2, item(1, "c", &["u1"])),
    ];
    world.deliver(mixed).await;
    let pushes = client.until_answered().await;
    let seen: Vec<_> = pushes.iter().map(|r| r.operation_id.as_str()).collect();
    assert_eq!(seen, ["a", "b", "c"]);
}

/// A message to a large group, at a version of its membership.
fn said(group: &str, offset: u64, member_version: i64) -> Item {
    Item {
        audience: Some(Audience {
            group_id: group.to_owned(),
            member_version,
            ..Audience::default()
        }),
        ..item(offset, &offset.to_string(), &[])
    }
}

/// A line that tells who came and left.
fn moved(offset: u64, version: i64, joined: &[&str], left: &[&str]) -> Item {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let mut item = said("g1", offset, version);
    item.audience.as_mut().unwrap().change = Some(Membership {
        version,
        joined: owned(joined),
        left: owned(left),
        ..Membership::default()
    });
    item
}

/// The operations whose messages came, put together.
async fn got(client: &mut Client) -> String {
    let pushes = client.until_answered().await;
    pushes.into_iter().map(|r| r.operation_id).collect()
}

/// Rows of a group as they are after everything: c came with 2, b left with 3, and many who are not connected here.
#[tokio::test]
async fn the_members_of_a_large_group_are_found_among_the_connected() {
    for others in [0, 50] {
        let world = World::new(Config::default()).await;
        world
            .group("g1", 3, &[("a", 1, 0), ("b", 1, 3), ("c", 2, 0)])
            .await;
        let others: Vec<String> = (0..others).map(|i| format!("other{i}")).collect();
        for other in &others {
            world.member("g1", other, 1, 0).await;
        }
        let mut clients = Vec::new();
        for who in ["a", "b", "c", "stranger", "another", "third", "fourth"] {
            clients.push(world.connect(&format!("{who}@5")).await);
        }
        let items = vec![
            said("g1", 1, 1),
            moved(2, 2, &["c"], &[]),
            moved(3, 3, &[], &["b"]),
            said("g1", 4, 3),
        ];
        let results = world.deliver(items).await.results;
        assert_eq!(results, vec![ItemResult::default(); 4]);
        let mut typing = said("g1", 5, 3);
        typing.audience.as_mut().unwrap().except = "a".to_owned();
        world.deliver(vec![moved(3, 3, &[], &["b"]), typing]).await;
        let mut all = Vec::new();
        for client in &mut clients {
            all.push(got(client).await);
        }
        assert_eq!(all, ["1234", "123", "2345", "", "", "", ""], "{others:?}");
    }
}

/// The push worker dies while the gateway waits for the members of another group; the next one begins again.
#[tokio::test]
async fn a_call_that_is_cut_off_and_made_again_leaves_nobody_out() {
    let world = World::new(Config::default()).await;
    world.group("g1", 2, &[("a", 1, 0), ("b", 1, 2)]).await;
    world.group("g2", 1, &[("a", 1, 0)]).await;
    let mut stays = world.connect("a@5").await;
    let mut leaves = world.connect("b@5").await;
    world.deliver(vec![said("g1", 1, 1)]).await;
    assert_eq!(stays.response().await.operation_id, "1");
    world.fuse.go_blind(true);
    let items = || vec![said("g1", 2, 1), moved(3, 2, &[], &["b"]), said("g2", 4, 1)];
    tokio::select! {
        _ = world.deliver(items()) => panic!("the members of g2 can't be read"),
        _ = async { [stays.response().await, stays.response().await] } => {}
    }
    world.fuse.go_blind(false);
    world.deliver(items()).await;
    assert_eq!(got(&mut leaves).await, "123");
    assert_eq!(got(&mut stays).await, "4");
}

#[tokio::test]
async fn an_ios_application_in_the_background_gets_no_messages() {
    let world = World::new(Config::default()).await;
    let mut phone = world.connect("u1@1").await;
    phone.request(2004, "b", vec![0x10, 1]).await;
    assert_eq!(phone.response().await.data, None);
    let asleep = world.deliver(vec![item(1, "a", &["u1"])]).await;
    assert_eq!(asleep.results[0].missed, [0]);
    phone.request(2004, "f", Vec::new()).await;
    phone.response().await;
    world.deliver(vec![item(2, "b", &["u1"])]).await;
    assert_eq!(phone.response().await.operation_id, "b");
}

#[tokio::test]
async fn a_stopping_gateway_answers_what_is_under_way_and_sends_clients_elsewhere() {
    let mut world = World::new(Config::default()).await;
    let mut client = world.connect("u1@5").await;
    let mut idle = world.connect("u2@5").await;
    client.request(1003, "o1", body("a", "u2")).await;
    let send = world.sent.recv().await.unwrap();
    world.deps.shutdown.cancel();
    let going = |message| match message {
        Some(Message::Close(Some(frame))) => u16::from(frame.code),
        other => panic!("{other:?}"),
    };
    assert_eq!(going(idle.next().await), 1001);
    send.answer.send(Ok(())).unwrap();
    assert_eq!(client.response().await.operation_id, "o1");
    assert_eq!(going(client.next().await), 1001);
    world.server.await.unwrap();
    assert!(TcpStream::connect(&world.address).await.is_err());
}
