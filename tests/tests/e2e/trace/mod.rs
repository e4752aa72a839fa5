//! A trace follows one message through all services, and tells nothing that is not its business.

mod collector;

use std::collections::BTreeMap;

use magpie_proto::openim::{
    msg::{SendMsgReq, msg_client::MsgClient},
    user::{AccountCheckReq, user_client::UserClient},
};
use magpie_tests::{Handshake, Options, Server, text_message};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, transport::Channel};

use collector::{Collector, attributes};

/// The way of a message from a connection, each span the parent of the next.
const WAY: [&str; 6] = [
    "gateway.send",
    "/openim.msg.msg/SendMsg",
    "msg.append",
    "transfer.store",
    "push.deliver",
    "gateway.deliver",
];

async fn traced(collector: &Collector) -> Server {
    let env = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Server::start_with(Options {
        env: vec![
            env("MAGPIE_TELEMETRY_OTLP_ENDPOINT", &collector.endpoint),
            // The exporter's own pause between batches, milliseconds.
            env("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ],
        ..Options::default()
    })
    .await
    .unwrap()
}

/// The spans from a leaf up to its root, root first.
fn way<'a>(spans: &'a [Span], leaf: &'a Span) -> Vec<&'a Span> {
    let by_id: BTreeMap<_, _> = spans.iter().map(|s| (s.span_id.as_slice(), s)).collect();
    let mut way = vec![leaf];
    while let Some(parent) = by_id.get(way[way.len() - 1].parent_span_id.as_slice()) {
        way.push(parent);
    }
    way.reverse();
    way
}

/// The way of the message in this conversation that has arrived at a gateway, if its spans are complete.
fn complete<'a>(spans: &'a [Span], conversation: &str, root: &str) -> Option<Vec<&'a Span>> {
    spans
        .iter()
        .filter(|s| s.name == "gateway.deliver")
        .filter(|s| attributes(s).get("conversation.id").map(String::as_str) == Some(conversation))
        .map(|leaf| way(spans, leaf))
        .find(|way| way[0].name == root)
}

/// How many connections messages were delivered to.
fn connections(spans: &[Span]) -> usize {
    let deliveries = spans.iter().filter(|s| s.name == "gateway.deliver");
    let counts = deliveries.filter_map(|s| attributes(s).get("connections")?.parse::<usize>().ok());
    counts.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_covers_the_way_from_the_sender_to_the_receiver() {
    let collector = Collector::start().await;
    let server = traced(&collector).await;
    server.register(&["ann", "bob"]).await;
    let token = server.user_token("ann", 5).await;
    let mut ann = server
        .connect_with(Handshake::js("ann", 5, &token))
        .await
        .unwrap();
    let mut bob = server.connect("bob", 5).await;
    let sent = ann.send_text("bob", "a confidential sentence").await;
    let pushed = bob.push().await.unwrap();
    assert_eq!(pushed.message.server_msg_id, sent.server_msg_id);

    // Bob's connection, and Ann's own; maybe of different gateways.
    let found = |all: &[Span]| {
        complete(all, "si_ann_bob", "gateway.send").is_some() && connections(all) == 2
    };
    let spans = collector.spans_when(found).await;
    let mut way = complete(&spans, "si_ann_bob", "gateway.send").unwrap();
    // A call between processes has a span on either side.
    way.dedup_by_key(|span| span.name.clone());
    let names: Vec<_> = way.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, WAY);
    assert!(way.iter().all(|s| s.trace_id == way[0].trace_id));
    for (earlier, later) in way.iter().zip(&way[1..]) {
        assert!(earlier.start_time_unix_nano <= later.start_time_unix_nano);
    }

    let shown: Vec<_> = way.iter().map(|s| attributes(s)).collect();
    let field = |at: usize, name: &str| shown[at].get(name).cloned().unwrap_or_default();
    for at in [0, 2, 3, 4, 5] {
        assert_eq!(field(at, "operation.id"), pushed.operation_id, "{at}");
    }
    assert_eq!(field(2, "message.id"), sent.server_msg_id);
    assert_eq!(field(3, "message.id"), sent.server_msg_id);
    assert_eq!(field(3, "seq"), "1");

    let secrets = [token.as_str(), "confidential", server.secret()];
    for span in &spans {
        let text = format!("{span:?}");
        assert!(!secrets.iter().any(|s| text.contains(s)), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_ends_trace_goes_on_and_a_users_does_not() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let collector = Collector::start().await;
    let server = traced(&collector).await;
    server.register(&["ann", "bob"]).await;
    let mut bob = server.connect("bob", 5).await;
    let admin = serde_json::json!({"secret": server.secret(), "userID": server.admin_id()});
    let admin = server
        .anonymous()
        .data("/auth/get_admin_token", &admin)
        .await;
    let admin = admin["token"].as_str().unwrap();
    let user = server.user_token("ann", 1).await;

    let channel = Channel::from_shared(server.grpc_url().to_owned())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let accounts = AccountCheckReq {
        check_user_i_ds: vec!["ann".to_owned()],
    };
    UserClient::new(channel.clone())
        .account_check(with_metadata(accounts, admin, TRACE))
        .await
        .unwrap();
    let mut messages = MsgClient::new(channel);
    for token in [admin, &user] {
        let request = SendMsgReq {
            msg_data: Some(text_message("ann", "bob", "hello")),
        };
        messages
            .send_msg(with_metadata(request, token, TRACE))
            .await
            .unwrap();
        bob.push().await.unwrap();
    }

    let delivered = |all: &[Span]| all.iter().filter(|s| s.name == "gateway.deliver").count() >= 2;
    let spans = collector.spans_when(delivered).await;
    let mut traces: Vec<String> = spans
        .iter()
        .filter(|s| s.name == "gateway.deliver")
        .map(|s| s.trace_id.iter().map(|b| format!("{b:02x}")).collect())
        .collect();
    traces.sort_by_key(|trace| trace != TRACE);
    assert_eq!(traces[0], TRACE);
    assert!(traces[1..].iter().all(|trace| trace != TRACE), "{traces:?}");
}

fn with_metadata<T>(message: T, token: &str, trace: &str) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("token", token.parse().expect("a value"));
    metadata.insert("operationid", "op".parse().expect("a value"));
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    metadata.insert("traceparent", parent.parse().expect("a value"));
    request
}
