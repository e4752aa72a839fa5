//! SIGTERM under load: clients are sent elsewhere, what was taken is answered, what was not taken is not stored.

use magpie_tests::evidence::Evidence;
use magpie_tests::load::{Run, eventually, pair, settle};
use magpie_tests::{Options, Server};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How often the server is stopped under load.
const STOPS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_answers_or_drops_every_send_and_loses_nothing() {
    let mut server = Server::start().await;
    let mut devices = pair(&server, "ann", "bob").await;
    devices.extend(pair(&server, "cat", "dan").await);
    let mut evidence = Evidence::default();
    let mut unanswered = 0;
    for life in 0..STOPS {
        let run = Run::start(&server.ws_urls(), devices, life);
        run.under_way(rand::random_range(50..400)).await;
        let ended = server.roll().await.expect("it drains and starts");
        assert_eq!(ended.code(), Some(0), "{ended}");
        let (back, lives) = run.ended().await;
        devices = back;
        for life in lives {
            let who = &life.connection.who;
            assert_eq!(life.close_code, Some(1001), "{who} is told to go elsewhere");
            assert_eq!(life.connection.refused(), [0; 0], "{who}");
            unanswered += life.connection.unanswered();
            evidence.connections.push(life.connection);
        }
        // Devices that abandon left nothing behind that is stored without an answer.
        let mut now = evidence.clone();
        for device in &devices {
            let pull = device.pull(server.ws_url()).await;
            now.pulls.push(pull.expect("a pull"));
        }
        assert_eq!(now.stored_unacknowledged(), [""; 0], "life {life}");
    }
    println!(
        "{} acknowledged, {unanswered} not answered",
        evidence.acknowledged()
    );
    settle(&server.ws_urls(), &mut devices, &mut evidence).await;
    let faults = evidence.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(evidence.stored_unacknowledged(), [""; 0]);
    assert!(!server.log().contains("panicked"), "it panicked");
}

/// A server that can't finish: it answers a request that waits for a message which never comes.
async fn stuck() -> (Server, TcpStream) {
    let minutes = "600000".to_owned();
    let server = Server::start_with(Options {
        env: vec![
            ("MAGPIE_SHUTDOWN_DEADLINE_MS".to_owned(), minutes.clone()),
            ("MAGPIE_MSG_HEAD_WAIT_MS".to_owned(), minutes.clone()),
            ("MAGPIE_API_REQUEST_TIMEOUT_MS".to_owned(), minutes),
        ],
        ..Options::default()
    })
    .await
    .expect("it starts");
    server.register(&["ann", "bob"]).await;
    let body = r#"{"userID":"ann","conversationID":"n_ann_ann","hasReadSeq":9}"#;
    let path = "/msg/set_conversation_has_read_seq";
    let request = begin(&server, path, body.len(), body).await;
    (server, request)
}

/// Begins a request to the REST API that says it has `length` bytes, and sends only these.
async fn begin(server: &Server, path: &str, length: usize, body: &str) -> TcpStream {
    let token = server.user_token("ann", 5).await;
    let address = server.api_url().trim_start_matches("http://");
    let mut request = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\noperationID: o\r\ntoken: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    request.write_all(head.as_bytes()).await.expect("sent");
    request
}

/// Connections that say nothing, or have said half of what they want, end with the process and do not hold it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_running_request_do_not_hold_the_end() {
    let minutes = "600000".to_owned();
    let waits = [
        "SHUTDOWN_DEADLINE",
        "API_HEADER_TIMEOUT",
        "API_REQUEST_TIMEOUT",
        "GRPC_HANDSHAKE_TIMEOUT",
        "GATEWAY_HANDSHAKE_TIMEOUT",
    ];
    let env = waits.map(|name| (format!("MAGPIE_{name}_MS"), minutes.clone()));
    let mut server = Server::start_with(Options {
        env: env.to_vec(),
        ..Options::default()
    })
    .await
    .expect("it starts");
    server.register(&["ann"]).await;
    let mut held = vec![begin(&server, "/user/get_users_info", 1000, "{").await];
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let urls = [server.ws_url(), server.api_url(), server.grpc_url()];
    for url in urls {
        let address = url.split("://").last().expect("an address");
        for said in ["", "G", "GET / HTTP/1.1\r\nHost: x", preface] {
            let mut socket = TcpStream::connect(address).await.expect("a connection");
            // A server that refuses what it reads may have closed it.
            socket.write_all(said.as_bytes()).await.ok();
            held.push(socket);
        }
    }
    let ended = server.terminate().await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{ended}");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_forces_the_end_and_loses_nothing() {
    for second in [libc::SIGTERM, libc::SIGINT] {
        let (mut server, request) = stuck().await;
        let mut ann = server.connect("ann", 5).await;
        let acknowledged = ann.send_text("bob", "before the end").await;
        server.signal(libc::SIGTERM).expect("it runs");
        eventually("the first signal", || {
            server.log().contains("a second signal forces")
        })
        .await;
        ann.closed().await.expect("the client is sent elsewhere");
        assert!(server.is_running(), "it waits for the request under way");
        server.signal(second).expect("it still runs");
        let ended = server.ended().await.expect("it ends");
        assert_eq!(ended.code(), Some(1), "{ended}");
        drop(request);
        server.restart().await.expect("it starts");
        let mut bob = server.connect("bob", 5).await;
        let stored = bob.pull_all("si_ann_bob").await.expect("a pull");
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].server_msg_id, acknowledged.server_msg_id);
    }
}
