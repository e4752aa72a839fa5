//! Bytes that no client sends, against a running server beside a chat that must not notice: frames and handshakes.

use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use magpie_tests::{Bystanders, Conn, Event, Handshake, Opcode, Options, Server};
use std::io::Write as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an end or an answer may take.
const BOUND: Duration = Duration::from_secs(20);
/// Largest message of a client.
const LIMIT: usize = 51_200;

/// Connections of one attacker, one after the other.
struct Attacker<'a> {
    server: &'a Server,
    token: String,
}

impl<'a> Attacker<'a> {
    async fn new(server: &'a Server) -> Self {
        server.register(&["mallory"]).await;
        let token = server.user_token("mallory", 5).await;
        Self { server, token }
    }

    async fn json(&self) -> Conn {
        self.open(&Handshake::js("mallory", 5, &self.token)).await
    }

    async fn gob(&self) -> Conn {
        self.open(&Handshake::go("mallory", 5, &self.token)).await
    }

    async fn open(&self, handshake: &Handshake) -> Conn {
        let opened = Conn::open(self.server.ws_url(), handshake).await;
        let mut conn = opened.expect("an answer").expect("an upgrade");
        if handshake.parameter("isMsgResp") == "true" {
            assert!(conn.next(BOUND).await.is_some(), "the result");
        }
        conn
    }
}

/// What comes until the end of the stream: codes of close frames, and the opcodes of other frames.
async fn until_closed(what: &str, conn: &mut Conn) -> (Vec<u16>, Vec<u8>) {
    let (mut codes, mut others) = (Vec::new(), Vec::new());
    loop {
        let arrival = conn.next(BOUND).await;
        let arrival = arrival.unwrap_or_else(|| panic!("{what}: the connection stays open"));
        match arrival.event {
            Event::Closed { .. } => return (codes, others),
            Event::Frame {
                opcode: Opcode::CLOSE,
                payload,
                ..
            } => codes.extend(payload.first_chunk().map(|c| u16::from_be_bytes(*c))),
            Event::Frame { opcode, .. } => others.push(opcode.0),
        }
    }
}

/// The connection ends without a word.
async fn ends(what: &str, mut conn: Conn, bytes: &[u8]) {
    // The server may end it before it has taken everything.
    conn.send_bytes(bytes).await.ok();
    let end = until_closed(what, &mut conn).await;
    assert_eq!(end, (vec![], vec![]), "{what}");
}

/// The connection ends with code 1009.
async fn is_too_large(what: &str, mut conn: Conn, bytes: &[u8]) {
    conn.send_bytes(bytes).await.ok();
    let end = until_closed(what, &mut conn).await;
    assert_eq!(end, (vec![1009], vec![]), "{what}");
}

/// A frame head with mask, and a payload under an all-zero mask.
fn frame(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | 127];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn whole(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload.len() as u64, payload)
}

fn short(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    let mut frame = vec![first, 0x80 | length, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(plain).expect("memory takes it");
    packer.finish().expect("memory takes it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_end_their_connection_and_no_other() {
    let server = Server::start().await;
    let bystanders = Bystanders::start(&server).await;
    let attacker = Attacker::new(&server).await;

    is_too_large(
        "one byte too many",
        attacker.json().await,
        &whole(0x82, &vec![b'x'; LIMIT + 1]),
    )
    .await;
    for length in [1 << 30, 1 << 40, (1 << 63) - 1] {
        let head = frame(0x82, length, b"");
        is_too_large("a huge length", attacker.json().await, &head).await;
    }
    let mut pieces = whole(0x02, &vec![b'x'; 30_000]);
    pieces.extend(whole(0x00, &vec![b'x'; 30_000]));
    is_too_large("too large in pieces", attacker.json().await, &pieces).await;

    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let what = format!("opcode {opcode}");
        ends(&what, attacker.json().await, &short(0x80 | opcode, b"x")).await;
    }
    for bits in [0x40, 0x20, 0x10, 0x70] {
        let what = format!("reserved bits {bits:x}");
        ends(&what, attacker.json().await, &short(0x82 | bits, b"{}")).await;
    }
    let long = [0; 126];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an unmasked frame", vec![0x82, 2, b'{', b'}']),
        ("a ping in pieces", short(0x09, b"x")),
        ("a long ping", whole(0x89, &long)),
        ("a long close frame", whole(0x88, &long)),
        ("a close frame with half a code", short(0x88, b"x")),
        ("a continuation of nothing", short(0x80, b"x")),
        (
            "a message inside another",
            [short(0x02, b"x"), short(0x82, b"x")].concat(),
        ),
        ("an empty text", short(0x81, b"")),
        ("a text that is no JSON", short(0x81, b"ping")),
        (
            "a text that is not UTF-8",
            short(0x81, b"{\"type\":\"ping\xff\"}"),
        ),
        (
            "a ping whose body is not UTF-8",
            short(0x81, b"{\"type\":\"ping\",\"body\":\"\xc3\x28\"}"),
        ),
        ("a text of brackets", whole(0x81, &[b'['; 50_000])),
        ("an empty envelope", short(0x82, b"")),
        ("an envelope of brackets", whole(0x82, &[b'['; 50_000])),
        (
            "an envelope that is not UTF-8",
            short(0x82, b"{\"reqIdentifier\":1001,\"sendID\":\"mallory\xff\"}"),
        ),
        (
            "data that is deep",
            whole(
                0x82,
                format!(
                    r#"{{"reqIdentifier":1001,"sendID":"mallory","data":{}{}}}"#,
                    "[".repeat(20_000),
                    "]".repeat(20_000)
                )
                .as_bytes(),
            ),
        ),
        (
            "another user's envelope",
            short(0x82, br#"{"reqIdentifier":1001,"sendID":"good1"}"#),
        ),
        (
            "a number that clients can't ask for",
            short(0x82, br#"{"reqIdentifier":2002,"sendID":"mallory"}"#),
        ),
    ];
    for (what, bytes) in cases {
        ends(what, attacker.json().await, &bytes).await;
    }
    bystanders.unharmed(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_and_cut_streams_end_their_connection_and_no_other() {
    let server = Server::start().await;
    let bystanders = Bystanders::start(&server).await;
    let attacker = Attacker::new(&server).await;

    let bomb = gzip(&vec![0; 45 << 20]);
    assert!(bomb.len() < LIMIT);
    let mut lying = bomb.clone();
    let trailer = lying.len() - 4;
    lying.splice(trailer.., 100_u32.to_le_bytes());
    let mut twice = gzip(b"x");
    twice.extend(gzip(b"x"));
    let deep_types: Vec<u8> = (0..12_000).flat_map(|n| [3, 0xff, 0x81, n as u8]).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a gzip bomb", bomb.clone()),
        ("a bomb that says it is small", lying),
        ("two streams", twice),
        ("half a stream", bomb[..bomb.len() / 2].to_vec()),
        ("no stream", b"\x1f\x8b\x08\x00".to_vec()),
        ("plain bytes", b"{}".to_vec()),
        ("a stream of zeros", gzip(&[0; 1 << 20])),
        ("gob of nested types", gzip(&deep_types)),
        (
            "gob of a huge length",
            gzip(&[0xf8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
        (
            "gob of random bytes",
            gzip(&rand::random::<[u8; 32]>().repeat(64)),
        ),
    ];
    for (what, bytes) in cases {
        ends(what, attacker.gob().await, &whole(0x82, &bytes)).await;
    }
    // Many at a time.
    let mut bombs = Vec::new();
    for _ in 0..50 {
        let conn = attacker.gob().await;
        conn.send_bytes(&whole(0x82, &bomb)).await.expect("sent");
        bombs.push(conn);
    }
    for mut conn in bombs {
        until_closed("a bomb of many", &mut conn).await;
    }
    // Cut anywhere: the frame is forgotten with its connection.
    let request = whole(0x82, br#"{"reqIdentifier":1001,"sendID":"mallory"}"#);
    for at in 1..request.len() {
        let mut conn = attacker.json().await;
        conn.send_bytes(&request[..at]).await.expect("sent");
        conn.hang_up().await.expect("hung up");
        let end = until_closed("a cut frame", &mut conn).await;
        assert_eq!(end, (vec![], vec![]), "cut at {at}");
    }
    // Pieces without end and without content are no message.
    let mut conn = attacker.json().await;
    conn.send_bytes(&short(0x02, b"")).await.expect("sent");
    for _ in 0..20_000 {
        conn.send_bytes(&short(0x00, b"")).await.expect("sent");
    }
    conn.send_bytes(&short(0x89, b"alive")).await.expect("sent");
    let pong = conn.next(BOUND).await.expect("a pong");
    assert!(matches!(
        pong.event,
        Event::Frame {
            opcode: Opcode::PONG,
            ..
        }
    ));
    bystanders.unharmed(&server).await;
}

/// Everything that the server says until it ends the connection.
async fn answer_to(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // It may hang up before it has taken everything.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let end = timeout(BOUND, stream.read_to_end(&mut answer)).await;
    // A reset is an end as well.
    end.expect("the connection stays open").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_are_slow_endless_or_nonsense_are_cut() {
    let server = Server::start_with(Options {
        env: vec![
            (
                "MAGPIE_GATEWAY_HANDSHAKE_TIMEOUT_MS".to_owned(),
                "1500".to_owned(),
            ),
            ("MAGPIE_API_HEADER_TIMEOUT_MS".to_owned(), "1500".to_owned()),
        ],
        ..Options::default()
    })
    .await
    .expect("it starts");
    let bystanders = Bystanders::start(&server).await;
    let gateway = server.ws_url().trim_start_matches("ws://").to_owned();
    let api = server.api_url().trim_start_matches("http://").to_owned();
    let grpc = server.grpc_url().trim_start_matches("http://").to_owned();

    // A head that grows by a byte at a time and never ends.
    let mut slow = Vec::new();
    for address in [&gateway, &api].into_iter().cycle().take(100) {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        slow.push(tokio::spawn(async move {
            stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.ok();
            let (mut read, mut write) = stream.into_split();
            let trickle = async {
                while write.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            let mut rest = Vec::new();
            let ended = async { read.read_to_end(&mut rest).await.ok() };
            let race = async {
                tokio::select! {
                    () = trickle => {}
                    _ = ended => {}
                }
            };
            timeout(BOUND, race).await.expect("a slow head is cut");
        }));
    }

    let long = "x".repeat(20_000);
    let headers: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
    for head in [
        format!("GET /?{long} HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nX: {long}"),
        format!("GET / HTTP/1.1\r\n{headers}\r\n"),
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(),
        "\r\n\r\n\r\n\0\0\0".to_owned(),
    ] {
        let answer = answer_to(&gateway, head.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{head:.40}: {answer}"
        );
    }
    let token = server.user_token("good1", 3).await;
    for user in ["a%00b", "a%2Fb", "a%3Ab", "%0D%0A", "%ff%fe", ""] {
        let query =
            format!("sendID={user}&token={token}&platformID=3&operationID=o&isBackground=false");
        let answer = answer_to(
            &gateway,
            format!("GET /?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""errCode":1"#),
            "{user}: {answer}"
        );
    }
    let endless = format!(
        "POST /user/get_users_info HTTP/1.1\r\nX: {}",
        "x".repeat(200_000)
    );
    let answer = answer_to(&api, endless.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer:.60}"
    );
    answer_to(&grpc, b"GET / HTTP/1.1\r\n\r\n").await;
    answer_to(
        &grpc,
        &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0xff; 200]].concat(),
    )
    .await;
    for task in slow {
        task.await.expect("cut");
    }
    bystanders.unharmed(&server).await;
}
