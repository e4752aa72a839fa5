//! The same message sent again, and changes right after an acknowledgement.

use futures::future::join_all;
use magpie_proto::openim::msg::{SendMsgReq, SendMsgResp, msg_client::MsgClient};
use magpie_proto::openim::sdkws::MsgData;
use magpie_tests::{Client, Server, text_message};
use prost::Message as _;
use serde_json::json;
use tonic::transport::Channel;

const CHAT: &str = "si_ann_bob";
/// Platforms that can be connected beside each other.
const PLATFORMS: [i32; 4] = [1, 2, 3, 5];

/// Sends over gRPC, as a back end does in the name of a user.
async fn send_grpc(channel: Channel, token: &str, message: &MsgData) -> SendMsgResp {
    let mut request = tonic::Request::new(SendMsgReq {
        msg_data: Some(message.clone()),
    });
    let token = token.parse().expect("a token is plain text");
    request.metadata_mut().insert("token", token);
    let answer = MsgClient::new(channel).send_msg(request).await;
    answer.expect("an answer").into_inner()
}

async fn grpc(server: &Server) -> Channel {
    let endpoint = Channel::from_shared(server.grpc_url().to_owned()).expect("a URL");
    endpoint.connect().await.expect("a connection")
}

/// Sends the same message so many times without waiting, then takes the answers.
async fn send_again_and_again(
    client: &mut Client,
    message: &MsgData,
    times: usize,
) -> Vec<SendMsgResp> {
    let mut requests = Vec::new();
    for _ in 0..times {
        let body = message.encode_to_vec().into();
        requests.push(client.send_request(1003, body).await.expect("sent"));
    }
    let mut answers = Vec::new();
    for request in requests {
        let answer = client.answer(&request).await.expect("answered");
        assert_eq!(answer.err_code, 0, "{}", answer.err_msg);
        let data = answer.data.expect("a body");
        answers.push(SendMsgResp::decode(data).expect("an acknowledgement"));
    }
    answers
}

/// What bob gets up to a message that is sent now.
async fn pushes_until_now(ann: &mut Client, bob: &mut Client) -> Vec<MsgData> {
    let last = ann.send_text("bob", "that is all").await.client_msg_id;
    let mut pushed = Vec::new();
    loop {
        let push = bob.push().await.expect("a push");
        if push.message.client_msg_id == last {
            return pushed;
        }
        pushed.push(push.message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_message_from_everywhere_at_once_and_after_a_crash_is_one_message() {
    let mut server = Server::start().await;
    server.register(&["ann", "bob"]).await;
    let token = server.user_token("ann", 7).await;
    let message = text_message("ann", "bob", "once");
    let mut bob = server.connect("bob", 5).await;
    let mut devices = Vec::new();
    for platform in PLATFORMS {
        devices.push(server.connect("ann", platform).await);
    }
    let channel = grpc(&server).await;
    let sockets = join_all(
        devices
            .iter_mut()
            .map(|device| send_again_and_again(device, &message, 4)),
    );
    let calls = join_all((0..8).map(|_| send_grpc(channel.clone(), &token, &message)));
    let (sockets, calls) = tokio::join!(sockets, calls);
    let answers: Vec<SendMsgResp> = sockets.into_iter().flatten().chain(calls).collect();
    assert_eq!(answers.len(), 24);
    let first = &answers[0];
    assert!(answers.iter().all(|answer| answer == first), "{answers:?}");

    let pushed = pushes_until_now(&mut devices[0], &mut bob).await;
    assert_eq!(pushed.len(), 1, "{pushed:?}");
    assert_eq!(pushed[0].server_msg_id, first.server_msg_id);
    let stored = bob.pull_all(CHAT).await.expect("a pull");
    assert_eq!(stored.len(), 2);
    assert_eq!(
        (&stored[0].server_msg_id, stored[0].send_time),
        (&first.server_msg_id, first.send_time)
    );

    server.kill().await;
    server.restart().await.expect("it starts");
    let mut bob = server.connect("bob", 5).await;
    let mut ann = server.connect("ann", 5).await;
    // What was not committed before the kill is replayed, in its place: bob's new connection may get it, ahead of what comes now.
    pushes_until_now(&mut ann, &mut bob).await;
    let again = send_again_and_again(&mut ann, &message, 2).await;
    let called = send_grpc(grpc(&server).await, &token, &message).await;
    assert!(
        again.iter().chain([&called]).all(|answer| answer == first),
        "{again:?} {called:?} instead of {first:?}"
    );
    let pushed = pushes_until_now(&mut ann, &mut bob).await;
    let ids: Vec<_> = pushed.iter().map(|m| &m.client_msg_id).collect();
    assert!(!ids.contains(&&message.client_msg_id), "pushed once more");
    let stored = bob.pull_all(CHAT).await.expect("a pull");
    let copies = stored
        .iter()
        .filter(|m| m.client_msg_id == message.client_msg_id);
    assert_eq!((copies.count(), stored.len()), (1, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_and_a_delete_right_after_the_acknowledgement_find_their_message() {
    let server = Server::start().await;
    server.register(&["ann", "bob"]).await;
    let mut ann = server.connect("ann", 5).await;
    let mut bob = server.connect("bob", 5).await;
    let rest = server.user("ann", 7).await;
    for seq in 1..=100 {
        ann.send_text("bob", "soon gone").await;
        if seq % 2 == 0 {
            let body = json!({"userID": "ann", "conversationID": CHAT, "seq": seq});
            rest.data("/msg/revoke_msg", &body).await;
        } else {
            let body = json!({"userID": "ann", "conversationID": CHAT, "seqs": [seq],
                "deleteSyncOpt": {"IsSyncSelf": true, "IsSyncOther": true}});
            rest.data("/msg/delete_msgs", &body).await;
        }
    }
    let stored = bob.pull_all(CHAT).await.expect("a pull");
    assert_eq!(stored.len(), 100);
    for (message, seq) in stored.iter().zip(1..) {
        assert_eq!(message.seq, seq);
        if seq % 2 == 0 {
            assert_eq!(message.content_type, 2101, "{message:?}");
        } else {
            assert!(
                message.status == 4 && message.content.is_empty(),
                "{message:?}"
            );
        }
    }
}
