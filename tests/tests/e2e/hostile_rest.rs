//! REST bodies that no back end sends: every route answers them in its form, with an error of the caller's.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use magpie_api::routes;
use magpie_tests::{Answer, Bystanders, Rest, Server};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Requests at a time.
const PARALLEL: usize = 8;
/// Names of members that the routes read.
const MEMBERS: &[&str] = &[
    "secret",
    "userID",
    "userIDs",
    "platformID",
    "token",
    "users",
    "pagination",
    "genre",
    "status",
    "keyword",
    "nickName",
    "faceURL",
    "ownerUserID",
    "fromUserID",
    "toUserID",
    "friendUserIDs",
    "friendUserID",
    "userID1",
    "userID2",
    "userIDList",
    "blackUserID",
    "version",
    "versionID",
    "groupID",
    "groupIDs",
    "conversationID",
    "conversationIDs",
    "conversation",
    "conversations",
    "ownerUserIDs",
    "seq",
    "seqs",
    "seqRanges",
    "order",
    "hasReadSeq",
    "deleteSyncOpt",
    "sendID",
    "recvID",
    "recvIDs",
    "isSendAll",
    "content",
    "contentType",
    "sessionType",
    "sendTime",
    "key",
    "data",
    "offlinePushInfo",
    "senderPlatformID",
    "operationID",
    "timestamp",
    "noReadSeq",
    "limit",
];

/// Values that don't belong anywhere, as JSON text.
fn values() -> Vec<String> {
    let strings: Vec<String> = (0..10_000).map(|n| format!("u{n}")).collect();
    let page = |number: i64, show: i64| json!({"pageNumber": number, "showNumber": show});
    let mut values: Vec<String> = [
        json!(null),
        json!(true),
        json!(-1),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1.5),
        json!("x"),
        json!("a/b:c\u{0}\n\u{7f}"),
        json!("x".repeat(100_000)),
        json!("-9223372036854775808"),
        json!([]),
        json!({}),
        json!([null]),
        json!([[[]]]),
        json!([{}]),
        json!([""]),
        json!(strings),
        json!(vec![-1; 10_000]),
        json!([i64::MIN, i64::MAX, 0]),
        page(i64::MAX, i64::MAX),
        page(i64::MIN, -1),
        page(i64::from(i32::MAX), i64::from(i32::MAX)),
        page(0, 0),
    ]
    .iter()
    .map(Value::to_string)
    .collect();
    values.push("1e400".to_owned());
    values.push(format!("{}{}", "[".repeat(100), "]".repeat(100)));
    values.push(format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)));
    values
}

/// Whole bodies: every member with one of the values, and what is no object at all.
fn bodies() -> Vec<Bytes> {
    let object = |value: &String| {
        let members: Vec<_> = MEMBERS
            .iter()
            .map(|name| format!("\"{name}\":{value}"))
            .collect();
        Bytes::from(format!("{{{}}}", members.join(",")))
    };
    let mut bodies: Vec<Bytes> = values().iter().map(object).collect();
    bodies.extend(
        [
            "",
            "null",
            "[]",
            "\"x\"",
            "5",
            "{",
            "{\"userID\":",
            "{}x",
            "\u{feff}{}",
            "{\"\":{}}",
        ]
        .map(Bytes::from),
    );
    bodies.push(Bytes::from_static(b"{\"userID\":\"\xff\xfe\"}"));
    bodies.push(Bytes::from("[".repeat(200_000)));
    bodies.push(Bytes::from("{\"a\":".repeat(50_000)));
    bodies
}

async fn post(rest: &Rest, path: &str, body: Bytes) -> anyhow::Result<Answer> {
    let headers = [
        ("operationID", "hostile"),
        ("Content-Type", "application/json"),
        ("token", rest.token().unwrap_or_default()),
    ];
    rest.call("POST", path, &headers, body).await
}

/// What is wrong with an answer to nonsense. On a large body that it doesn't read the server may hang up.
fn fault(answer: anyhow::Result<Answer>, body: usize) -> Option<String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if body > 1 << 20 && is_hang_up(&error) => return None,
        Err(error) => return Some(format!("no answer: {error:#}")),
    };
    let status = answer.status.as_u16();
    let known = matches!(status, 200 | 400 | 413 | 501);
    let code = answer.code();
    (!known || code < 0 || code == 500).then(|| {
        let text = String::from_utf8_lossy(&answer.body);
        format!("{status} {}", text.chars().take(200).collect::<String>())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused_by_every_route_and_never_an_internal_error() {
    let server = Server::start().await;
    let bystanders = Bystanders::start(&server).await;
    let admin = server.admin().await;
    let bodies = bodies();
    let paths: Vec<&str> = routes::all()
        .filter(|route| route.method == routes::Method::Post)
        .map(|route| route.path)
        .collect();
    assert!(paths.len() > 100, "{}", paths.len());
    let requests = paths
        .iter()
        .flat_map(|path| bodies.iter().map(|body| (*path, body.clone())));
    let faults: Vec<String> = stream::iter(requests)
        .map(async |(path, body)| {
            let shown: String = String::from_utf8_lossy(&body).chars().take(60).collect();
            let size = body.len();
            let found = fault(post(&admin, path, body).await, size)?;
            Some(format!("{path} {shown}: {found}"))
        })
        .buffer_unordered(PARALLEL)
        .filter_map(async |fault| fault)
        .collect()
        .await;
    bystanders.unharmed(&server).await;
    assert!(faults.is_empty(), "{}\n{}", faults.len(), faults.join("\n"));
}

fn is_hang_up(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("Broken pipe") || text.contains("Connection reset")
}

/// The body is refused with this code.
async fn refuses(rest: &Rest, path: &str, body: Value, code: i64) {
    let shown: String = body.to_string().chars().take(100).collect();
    let answer = rest.post(path, &body).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.code(), code, "{path} {shown}: {text}");
    let json: Map<String, Value> = serde_json::from_str(&text).expect("an object");
    assert!(!json["errMsg"].to_string().is_empty(), "{path}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_seqs_lists_and_sizes_out_of_bounds_get_the_error_of_the_specification() {
    let server = Server::start().await;
    let bystanders = Bystanders::start(&server).await;
    let admin = server.admin().await;
    let user = server.user("good1", 3).await;
    let chat = "si_good1_good2";

    let long = "x".repeat(129);
    for id in ["", "a/b", "a:b", "a\u{0}b", "a\nb", "\u{7f}", &long] {
        let users = json!({"users": [{"userID": id, "nickname": "n"}]});
        refuses(&admin, "/user/user_register", users, 1001).await;
        let message = json!({"sendID": "good1", "recvID": id, "senderPlatformID": 5, "sessionType": 1,
            "contentType": 101, "content": {"content": "x"}});
        let answer = admin.post("/msg/send_msg", &message).await;
        assert_eq!(answer.code(), 1001, "recvID {id:?}: {:?}", answer.body);
    }
    for id in ["AtAllTag", "____S_O_R_T_I_D____"] {
        let users = json!({"users": [{"userID": id, "nickname": "n"}]});
        refuses(&admin, "/user/user_register", users, 1001).await;
    }
    for seq in [i64::MIN, -1, 0] {
        let revoke = json!({"userID": "good1", "conversationID": chat, "seq": seq});
        refuses(&user, "/msg/revoke_msg", revoke, 1001).await;
        let read =
            json!({"userID": "good1", "conversationID": chat, "hasReadSeq": seq, "seqs": []});
        refuses(&user, "/msg/mark_conversation_as_read", read.clone(), 1001).await;
        refuses(&user, "/msg/set_conversation_has_read_seq", read, 1001).await;
        let marks = json!({"userID": "good1", "conversationID": chat, "seqs": [seq]});
        refuses(&user, "/msg/mark_msgs_as_read", marks, 1001).await;
    }
    let revoke = json!({"userID": "good1", "conversationID": chat, "seq": i64::MAX});
    refuses(&user, "/msg/revoke_msg", revoke, 1004).await;
    let many: Vec<String> = (0..10_001).map(|n| format!("u{n}")).collect();
    for path in [
        "/user/get_users_online_status",
        "/user/get_users_online_token_detail",
    ] {
        refuses(&admin, path, json!({"userIDs": many}), 1001).await;
    }
    let many: Vec<i64> = (1..=10_000).collect();
    let delete = json!({"userID": "good1", "conversationID": chat, "seqs": many});
    refuses(&user, "/msg/delete_msgs", delete.clone(), 1001).await;
    refuses(&user, "/msg/mark_msgs_as_read", delete, 1001).await;
    let chats: Vec<String> = (0..10_000).map(|n| format!("si_a_b{n}")).collect();
    let asked = json!({"userID": "good1", "conversationIDs": chats});
    refuses(
        &user,
        "/msg/get_conversations_has_read_and_max_seq",
        asked.clone(),
        1001,
    )
    .await;
    refuses(&user, "/msg/clear_conversation_msg", asked, 1001).await;
    // Other people's affairs.
    let foreign = json!({"userID": "good2", "conversationID": chat, "seq": 1});
    refuses(&user, "/msg/revoke_msg", foreign, 1002).await;

    let large = Bytes::from(format!("{{\"userIDs\":[\"{}\"]}}", "x".repeat(9 << 20)));
    let answer = post(&admin, "/user/get_users_info", large).await;
    match answer {
        Ok(answer) => assert_eq!((answer.status.as_u16(), answer.code()), (413, 1001)),
        Err(error) => assert!(is_hang_up(&error), "{error:#}"),
    }
    bystanders.unharmed(&server).await;
}

/// Sends a head and a part of the body, and then no more.
async fn hold(server: &Server, path: &str, token: &str, part: &[u8]) -> TcpStream {
    let address = server.api_url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\noperationID: o\r\ntoken: {token}\r\nContent-Length: 8000000\r\n\r\n"
    );
    // The server may hang up before it has taken everything.
    if stream.write_all(head.as_bytes()).await.is_ok() {
        stream.write_all(part).await.ok();
    }
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_held_or_swell_do_not_fill_the_memory() {
    let server = Server::start().await;
    let bystanders = Bystanders::start(&server).await;
    let user = server.user("good1", 3).await;
    let token = user.token().unwrap_or_default();
    let part = vec![b' '; 7_500_000];
    let mut held = Vec::new();
    for path in [
        "/auth/parse_token",
        "/auth/get_admin_token",
        "/user/get_users_info",
    ] {
        for _ in 0..30 {
            held.push(hold(&server, path, token, &part).await);
        }
    }
    // Others are served meanwhile.
    let users = json!({"userIDs": ["good1", "good2"]});
    let found = user.data("/user/get_users_info", &users).await;
    assert_eq!(found["usersInfo"].as_array().map(Vec::len), Some(2));
    drop(held);

    for item in ["{}", "\"\"", "[]", "null", "0", "{\"userID\":\"\"}"] {
        for (path, list) in [
            ("/user/user_register", "users"),
            ("/user/get_users_info", "userIDs"),
            ("/msg/delete_msgs", "seqs"),
            ("/msg/pull_msg_by_seq", "seqRanges"),
        ] {
            let items = vec![item; 7_900_000 / (item.len() + 1)].join(",");
            let body = Bytes::from(format!("{{\"userID\":\"good1\",\"{list}\":[{items}]}}"));
            let size = body.len();
            let found = fault(post(&user, path, body).await, size);
            assert_eq!(found, None, "{path} {item}");
        }
    }
    bystanders.unharmed(&server).await;
}
