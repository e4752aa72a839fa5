//! Silent clients, too many of them, and the end of the process, over real sockets.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    time::timeout,
};

use super::*;

/// Fails a test that hangs.
const BOUND: Duration = Duration::from_secs(30);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

struct World {
    address: SocketAddr,
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// A request has begun, and may end.
    begun: Arc<Notify>,
    may_end: Arc<Notify>,
}

/// A server whose requests end when they may.
async fn world(connections: usize, silence: Duration) -> World {
    let tcp = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let world = World {
        address: tcp.local_addr().unwrap(),
        stopping: CancellationToken::new(),
        tasks: TaskTracker::new(),
        begun: Arc::default(),
        may_end: Arc::default(),
    };
    let limits = Limits {
        connections,
        silence,
        stall: BOUND,
    };
    let listener = Listener::new(tcp, limits, world.stopping.clone());
    let (begun, may_end) = (Arc::clone(&world.begun), Arc::clone(&world.may_end));
    let service = service_fn(move |_| {
        let (begun, may_end) = (Arc::clone(&begun), Arc::clone(&may_end));
        async move {
            begun.notify_one();
            may_end.notified().await;
            Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from_static(b"yes"))))
        }
    });
    let tasks = world.tasks.clone();
    tokio::spawn(async move { listener.http1(&tasks, service).await });
    world
}

impl World {
    async fn say(&self, bytes: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket
    }

    async fn ended(&self) {
        self.tasks.close();
        timeout(BOUND, self.tasks.wait()).await.expect("all end");
    }
}

/// What the server says until it closes.
async fn rest(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(BOUND, socket.read_to_end(&mut text));
    // It may reset what it does not read.
    read.await.expect("it closes").ok();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_client_that_sends_no_request_in_time_is_closed() {
    let world = world(9, Duration::from_millis(50)).await;
    for said in [&b""[..], b"GET / HTTP/1.1\r\n"] {
        assert_eq!(rest(world.say(said).await).await, "");
    }
    world.may_end.notify_one();
    let answer = rest(world.say(REQUEST).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_begin_http2_in_time_is_closed() {
    let tcp = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let limits = Limits {
        connections: 9,
        silence: Duration::from_millis(50),
        stall: BOUND,
    };
    let listener = Listener::new(tcp, limits, CancellationToken::new());
    let routes = tonic::service::Routes::default();
    let incoming = Box::pin(listener.http2());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_routes(routes)
            .serve_with_incoming(incoming),
    );
    for said in ["", "PRI * HTTP/2.0\r\n"] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        rest(socket).await;
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_closed() {
    let tcp = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let limits = Limits {
        connections: 9,
        silence: BOUND,
        stall: Duration::from_millis(50),
    };
    let listener = Listener::new(tcp, limits, CancellationToken::new());
    let tasks = TaskTracker::new();
    let connections = tasks.clone();
    let large = service_fn(|_| async {
        let body = bytes::Bytes::from(vec![7; 64 << 20]);
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    });
    tokio::spawn(async move { listener.http1(&connections, large).await });
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(REQUEST).await.unwrap();
    socket.readable().await.unwrap();
    tasks.close();
    timeout(BOUND, tasks.wait()).await.expect("it ends");
}

#[tokio::test]
async fn beyond_the_limit_a_connection_waits_for_a_place() {
    let world = world(1, BOUND).await;
    let first = world.say(REQUEST).await;
    world.begun.notified().await;
    let second = world.say(REQUEST).await;
    let begun = timeout(Duration::from_millis(100), world.begun.notified());
    assert!(begun.await.is_err(), "it waits");
    drop(first);
    timeout(BOUND, world.begun.notified())
        .await
        .expect("its turn");
    drop(second);
}

#[tokio::test]
async fn when_the_process_stops_a_running_request_is_answered_and_the_rest_ends() {
    let world = world(9, BOUND).await;
    let silent = world.say(b"").await;
    let half = world.say(b"GET / HTTP/1.1\r\n").await;
    let running = world.say(REQUEST).await;
    world.begun.notified().await;
    world.stopping.cancel();
    assert_eq!(rest(silent).await, "");
    assert_eq!(rest(half).await, "");
    world.may_end.notify_one();
    let answer = rest(running).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    world.ended().await;
}
