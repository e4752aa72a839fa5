//! Requests over a connection with bodies that no client sends, beside a chat that must not notice.

use bytes::Bytes;
use magpie_envelope::{Codec, Encoding, Request, Response};
use magpie_proto::openim::msg::{
    ConversationSeqs, GetConversationsHasReadAndMaxSeqReq, GetLastMessageReq, GetSeqMessageReq,
    GetSeqMessageResp,
};
use magpie_proto::openim::sdkws::{
    GetMaxSeqReq, MsgData, PullMessageBySeqsReq, PullMessageBySeqsResp, SeqRange,
    SubUserOnlineStatus, SubUserOnlineStatusTips,
};
use magpie_tests::{Bystanders, Client, Handshake, Options, Server, text_message};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ME: &str = "mallory";
/// A chat of mallory's own.
const CHAT: &str = "si_good1_mallory";
/// Numbers that no seq has, or only a far one.
const SEQS: [i64; 8] = [
    i64::MIN,
    i64::MIN + 1,
    -1,
    0,
    1,
    1 << 40,
    i64::MAX - 1,
    i64::MAX,
];

async fn answer(client: &mut Client, number: i32, data: Vec<u8>) -> Response {
    let request = client.send_request(number, data.into()).await;
    let request = request.expect("the connection is open");
    client.answer(&request).await.expect("an answer")
}

/// The answer has this code, and a text if it is an error.
async fn code(
    client: &mut Client,
    number: i32,
    body: &(impl prost::Message + std::fmt::Debug),
    expected: i32,
) {
    let answer = answer(client, number, body.encode_to_vec()).await;
    let text = format!("{number} {body:?}")
        .chars()
        .take(200)
        .collect::<String>();
    assert_eq!(answer.err_code, expected, "{text}: {}", answer.err_msg);
    assert_eq!(answer.err_msg.is_empty(), expected == 0, "{text}");
}

/// mallory, and a chat with one message.
async fn mallory(server: &Server) -> Client {
    server.register(&[ME]).await;
    let mut client = server.connect(ME, 5).await;
    client.send_text("good1", "hello").await;
    client.push().await.expect("its push");
    client
}

fn ranges(seq_ranges: Vec<SeqRange>) -> PullMessageBySeqsReq {
    PullMessageBySeqsReq {
        user_id: ME.to_owned(),
        seq_ranges,
        order: 0,
    }
}

fn lists(conversations: Vec<ConversationSeqs>) -> GetSeqMessageReq {
    GetSeqMessageReq {
        user_id: ME.to_owned(),
        conversations,
        order: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seqs_and_lists_out_of_bounds_are_answered_in_bounds() {
    let server = Server::start().await;
    let bystanders = Bystanders::start(&server).await;
    let mut client = mallory(&server).await;
    for begin in SEQS {
        for end in SEQS {
            for num in [i64::MIN, -1, 0, 1, i64::MAX] {
                for order in [0, 1, i32::MAX] {
                    let mut pull = ranges(vec![SeqRange {
                        conversation_id: CHAT.to_owned(),
                        begin,
                        end,
                        num,
                    }]);
                    pull.order = order;
                    let got: PullMessageBySeqsResp =
                        client.call(1002, &pull).await.expect("an answer");
                    let count: usize = got.msgs.values().map(|pulled| pulled.msgs.len()).sum();
                    let there = begin <= 1 && end >= 1 && num > 0;
                    assert_eq!(count, usize::from(there), "{begin}..={end}, {num}");
                }
            }
        }
    }
    for order in [0, 1] {
        let mut pull = lists(vec![ConversationSeqs {
            conversation_id: CHAT.to_owned(),
            seqs: SEQS.to_vec(),
        }]);
        pull.order = order;
        let got: GetSeqMessageResp = client.call(1005, &pull).await.expect("an answer");
        let seqs: Vec<i64> = got.msgs[CHAT].msgs.iter().map(|m| m.seq).collect();
        assert_eq!(seqs, [1]);
    }
    let many = lists(vec![ConversationSeqs {
        conversation_id: CHAT.to_owned(),
        seqs: (1..=10_000).collect(),
    }]);
    code(&mut client, 1005, &many, 1001).await;
    let id = |n: usize| format!("{n:x}");
    let empty = SeqRange::default();
    code(&mut client, 1002, &ranges(vec![empty; 6_000]), 1001).await;
    let conversation_i_ds: Vec<String> = (0..6_000).map(id).collect();
    let positions = GetConversationsHasReadAndMaxSeqReq {
        user_id: ME.to_owned(),
        conversation_i_ds: conversation_i_ds.clone(),
        return_pinned: true,
    };
    code(&mut client, 1006, &positions, 1001).await;
    let last = GetLastMessageReq {
        user_id: ME.to_owned(),
        conversation_i_ds,
    };
    code(&mut client, 1007, &last, 1001).await;

    // Conversations that can't be, and those of others: nothing of them is shown.
    let long = "x".repeat(10_000);
    for id in [
        "",
        "si_",
        "x",
        "si_good1_good2",
        "n_good1_good1",
        "si_\u{0}_/",
        "../..",
        &long,
    ] {
        let range = SeqRange {
            conversation_id: id.to_owned(),
            begin: 1,
            end: 10,
            num: 10,
        };
        code(&mut client, 1002, &ranges(vec![range]), 1002).await;
        let list = lists(vec![ConversationSeqs {
            conversation_id: id.to_owned(),
            seqs: vec![1],
        }]);
        let got: GetSeqMessageResp = client.call(1005, &list).await.expect("an answer");
        let pulled = got.msgs.values().chain(got.notification_msgs.values());
        assert!(pulled.map(|p| p.msgs.len()).sum::<usize>() == 0, "{id:.20}");
        let last = GetLastMessageReq {
            user_id: ME.to_owned(),
            conversation_i_ds: vec![id.to_owned()],
        };
        code(&mut client, 1007, &last, 0).await;
    }
    let foreign = GetMaxSeqReq {
        user_id: "good1".to_owned(),
    };
    code(&mut client, 1001, &foreign, 1002).await;
    bystanders.unharmed(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_with_impossible_fields_are_refused_and_not_stored() {
    let server = Server::start().await;
    let bystanders = Bystanders::start(&server).await;
    let mut client = mallory(&server).await;
    let long = "x".repeat(129);
    let text = || text_message(ME, "good1", "evil");
    let with = |change: &dyn Fn(&mut MsgData)| {
        let mut message = text();
        change(&mut message);
        message
    };
    for id in ["", "a/b", "a:b", "a\u{0}b", "\u{1b}[2J", "a\nb", &long] {
        code(
            &mut client,
            1003,
            &with(&|m| m.recv_id = id.to_owned()),
            1001,
        )
        .await;
    }
    for id in ["a\u{0}b", "\n", &long] {
        code(
            &mut client,
            1003,
            &with(&|m| m.client_msg_id = id.to_owned()),
            1001,
        )
        .await;
    }
    for time in [i64::MIN, -1, 1 << 53, i64::MAX] {
        code(&mut client, 1003, &with(&|m| m.create_time = time), 1001).await;
        code(&mut client, 1003, &with(&|m| m.send_time = time), 1001).await;
    }
    for kind in [i32::MIN, -1, 0, 2, 5, i32::MAX] {
        code(&mut client, 1003, &with(&|m| m.session_type = kind), 1001).await;
    }
    code(
        &mut client,
        1003,
        &with(&|m| m.content = Bytes::new()),
        1001,
    )
    .await;
    code(
        &mut client,
        1003,
        &with(&|m| m.send_id = "good2".to_owned()),
        1002,
    )
    .await;
    for kind in [1201, 2101, 2200, i32::MAX] {
        let notification = with(&|m| m.content_type = kind);
        let answer = answer(&mut client, 1003, notification.encode_to_vec()).await;
        assert!(answer.err_code != 0 && answer.err_code != 500, "{kind}");
    }
    let group = with(&|m| (m.session_type, m.group_id) = (3, "a/b".to_owned()));
    code(&mut client, 1003, &group, 1001).await;

    // Bodies that are no protobuf, and strings in it that are no UTF-8.
    for data in [
        vec![0xff; 100],
        vec![0x0a, 0x7f],
        vec![0x0a, 2, 0xff, 0xfe],
        vec![0x08; 1000],
        [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f].to_vec(),
        vec![0x0b; 30_000],
    ] {
        for number in [1001, 1002, 1003, 1005, 1006, 1007, 2004, 2005] {
            let answer = answer(&mut client, number, data.clone()).await;
            assert_eq!(answer.err_code, 1001, "{number} {:x?}", &data[..2]);
        }
    }
    // In gob a content can be larger than the limit and its frame still fits.
    let token = server.user_token(ME, 2).await;
    let handshake = Handshake::go(ME, 2, &token);
    let mut native = server.connect_with(handshake).await.expect("connected");
    let large = with(&|m| m.content = Bytes::from(vec![b'x'; 500_000]));
    code(&mut native, 1003, &large, 1001).await;

    let options = |count: i32| (0..count).map(|n| (format!("o{n}"), n % 2 == 0));
    let mentions = with(&|m| m.at_user_id_list = vec![String::new(); 1001]);
    let choices = with(&|m| m.options = options(101).collect());
    for crowded in [mentions, choices] {
        code(&mut native, 1003, &crowded, 1001).await;
    }

    // What is odd but no error is stored as it is, once.
    let mut odd = with(&|m| {
        m.seq = i64::MAX;
        m.status = -1;
        m.is_read = true;
        m.at_user_id_list = vec![String::new(); 1000];
        m.options = options(80).collect();
        m.server_msg_id = "mine".to_owned();
    });
    odd.client_msg_id = "odd".to_owned();
    native.send_message(&odd).await.expect("it is taken");
    let push = native.push().await.expect("its push");
    assert_eq!((push.message.seq, push.message.status), (2, 2));
    let stored = native.pull_all(CHAT).await.expect("a pull");
    assert_eq!(stored.len(), 2, "nothing else is stored");
    assert_ne!(stored[1].server_msg_id, "mine");
    bystanders.unharmed(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_subscriptions_are_answered_and_bounded() {
    let server = Server::start().await;
    let bystanders = Bystanders::start(&server).await;
    let mut clients = vec![mallory(&server).await];
    for platform in [1, 2, 3] {
        clients.push(server.connect(ME, platform).await);
    }
    for client in &mut clients {
        for round in 0..4 {
            let wanted: Vec<String> = (0..4_000).map(|n| format!("{round}{n}")).collect();
            let body = SubUserOnlineStatus {
                subscribe_user_id: wanted.clone(),
                unsubscribe_user_id: Vec::new(),
            };
            let tips: SubUserOnlineStatusTips = client.call(2005, &body).await.expect("an answer");
            let got = tips.subscribers.iter().map(|s| &s.user_id);
            assert!(got.eq(&wanted), "every one is answered, in order");
        }
        let strange = SubUserOnlineStatus {
            subscribe_user_id: vec![
                String::new(),
                "a/b".to_owned(),
                "\u{0}".to_owned(),
                "good1".to_owned(),
            ],
            unsubscribe_user_id: vec!["never".to_owned(); 5_000],
        };
        let tips: SubUserOnlineStatusTips = client.call(2005, &strange).await.expect("an answer");
        let online: Vec<bool> = tips
            .subscribers
            .iter()
            .map(|s| !s.online_platform_i_ds.is_empty())
            .collect();
        assert_eq!(online, [false, false, false, true]);
    }
    bystanders.unharmed(&server).await;
}

/// A connection that asks for its whole chat and reads nothing of the answer but its first bytes.
async fn ask_and_look_away(server: &Server, token: &str) -> TcpStream {
    let address = server.ws_url().trim_start_matches("ws://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let query = format!(
        "sendID={ME}&token={token}&platformID=5&operationID=o&isBackground=false&sdkType=js"
    );
    let head = format!(
        "GET /?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut upgraded = Vec::new();
    while !upgraded.ends_with(b"\r\n\r\n") {
        upgraded.push(stream.read_u8().await.expect("an upgrade"));
    }
    let pull = ranges(vec![SeqRange {
        conversation_id: CHAT.to_owned(),
        begin: 1,
        end: 1000,
        num: 1000,
    }]);
    let request = Request {
        req_identifier: 1002,
        send_id: ME.to_owned(),
        operation_id: "o".to_owned(),
        data: pull.encode_to_vec().into(),
        ..Request::default()
    };
    let codec = Codec {
        encoding: Encoding::Json,
        compressed: false,
    };
    let envelope = codec.encode_request(&request);
    let length = u16::try_from(envelope.len()).expect("a short request");
    let mut frame = vec![0x82, 0x80 | 126];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(&envelope);
    stream.write_all(&frame).await.expect("sent");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_that_nobody_reads_do_not_fill_the_memory() {
    let limit = |name: &str, value: &str| (format!("MAGPIE_GATEWAY_{name}"), value.to_owned());
    let server = Server::start_with(Options {
        env: vec![
            limit("MAX_QUEUES_BYTES", "20000000"),
            limit("MAX_PULLS", "1"),
        ],
        ..Options::default()
    })
    .await
    .expect("it starts");
    // All the answers would be 800 MB; the making of one alone takes many copies of it.
    let bystanders = Bystanders::start(&server).await.with_growth(400);
    mallory(&server).await;
    let token = server.user_token(ME, 2).await;
    let mut native = server
        .connect_with(Handshake::go(ME, 2, &token))
        .await
        .expect("connected");
    for _ in 0..250 {
        let mut message = text_message(ME, "good1", "");
        message.content = Bytes::from(vec![b'x'; 40_000]);
        native.send_message(&message).await.expect("it is taken");
        native.push().await.expect("its push");
    }
    let token = server.user_token(ME, 5).await;
    let mut looking_away = Vec::new();
    for _ in 0..60 {
        looking_away.push(ask_and_look_away(&server, &token).await);
    }
    for stream in &looking_away {
        // The answer begins, or the server has hung up.
        stream.peek(&mut [0]).await.ok();
    }
    drop(looking_away);
    bystanders.unharmed(&server).await;
}
