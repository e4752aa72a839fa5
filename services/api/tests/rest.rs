//! The API over a socket, with the auth and user services behind it: heads, envelopes, order of the checks.

use std::{net::SocketAddr, sync::Arc};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use magpie_discovery::{InProcess, name};
use magpie_log_local::LocalLog;
use magpie_presence_memory::MemoryPresence;
use magpie_service::{Deps, invalidation::Invalidations};
use magpie_store::{Store as _, documents::SCHEMAS};
use magpie_store_sqlite::{Options, SqliteStore};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

struct World {
    address: SocketAddr,
    deps: Deps,
    _dir: TempDir,
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Value,
}

#[cfg(test)]
impl Answer {
    fn code(&self) -> i64 {
        self.body["errCode"].as_i64().unwrap()
    }
}

#[cfg(test)]
async fn world(config: magpie_api::Config) -> World {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(dir.path().join("store"), Options::default()).unwrap();
    store.prepare(SCHEMAS).await.unwrap();
    let registry = InProcess::new();
    let deps = Deps {
        store,
        log: LocalLog::open(
            &dir.path().join("log"),
            magpie_log_local::Options::default(),
        )
        .unwrap(),
        presence: MemoryPresence::new(),
        registry: Arc::<InProcess>::clone(&registry),
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        invalidations: Arc::new(Invalidations::default()),
        admins: ["imAdmin".to_owned()].into(),
    };
    let secret = Arc::new(SecretString::from("sesame"));
    registry.serve(
        name::AUTH,
        magpie_auth::routes(&deps, magpie_auth::Config::default(), secret),
    );
    registry.serve(
        name::USER,
        magpie_user::routes(&deps, magpie_user::Config::default()),
    );
    registry.serve(
        name::THIRD,
        magpie_third::routes(&deps, magpie_third::Config::default()),
    );
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(magpie_api::serve(deps.clone(), config, listener));
    World {
        address,
        deps,
        _dir: dir,
    }
}

#[cfg(test)]
impl World {
    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender
            .send_request(request.body(Full::new(body.into())).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        let body =
            serde_json::from_slice(&text).unwrap_or_else(|_| String::from_utf8_lossy(&text).into());
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(
            "POST",
            path,
            &[("operationID", "op"), ("token", token)],
            body.to_string(),
        )
        .await
    }

    async fn admin(&self) -> String {
        let answer = self
            .post(
                "",
                "/auth/get_admin_token",
                json!({"secret": "sesame", "userID": "imAdmin"}),
            )
            .await;
        answer.body["data"]["token"].as_str().unwrap().to_owned()
    }

    async fn user(&self, admin: &str, user: &str) -> String {
        let users = json!({"users": [{"userID": user, "nickname": format!("n-{user}")}]});
        assert_eq!(
            self.post(admin, "/user/user_register", users).await.code(),
            0
        );
        let answer = self
            .post(
                admin,
                "/auth/get_user_token",
                json!({"userID": user, "platformID": 5}),
            )
            .await;
        answer.body["data"]["token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn operation_id_comes_before_token_before_path() {
    let world = world(magpie_api::Config::default()).await;
    for (headers, detail) in [
        (vec![], "header must have operationID"),
        (vec![("operationID", "")], "header must have operationID"),
        (vec![("operationID", "op")], "header must have token"),
        (
            vec![("OPERATIONID", "op"), ("token", "")],
            "header must have token",
        ),
    ] {
        let answer = world.call("POST", "/no/such/path", &headers, "{}").await;
        assert_eq!(
            (answer.status, answer.body["errDlt"].as_str()),
            (200, Some(detail))
        );
        assert_eq!(answer.code(), 1001);
    }
    let answer = world.post("garbage", "/no/such/path", json!({})).await;
    assert_eq!((answer.status, answer.code()), (200, 1503));
    let admin = world.admin().await;
    let answer = world.post(&admin, "/no/such/path", json!({})).await;
    assert_eq!(
        (answer.status, answer.body),
        (404, json!("404 page not found"))
    );
    assert_eq!(answer.headers["content-type"], "text/plain");
    assert_eq!(
        world
            .call("GET", "/auth/get_admin_token", &[], "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn every_answer_is_readable_from_any_origin() {
    let world = world(magpie_api::Config::default()).await;
    let preflight = world.call("OPTIONS", "/any/path", &[], "").await;
    assert_eq!(
        (preflight.status, &preflight.body),
        (200, &json!("Options Request!"))
    );
    let refused = world.call("POST", "/any/path", &[], "").await;
    for answer in [preflight, refused] {
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["access-control-max-age"], "172800");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn a_body_is_json_whatever_the_content_type_says() {
    let world = world(magpie_api::Config::default()).await;
    let plain = [("operationID", "op"), ("content-type", "text/plain")];
    let token = |body: &'static str| world.call("POST", "/auth/get_admin_token", &plain, body);
    assert_eq!(
        token(r#"{"SECRET":"sesame","userid":"imAdmin","extra":1}"#)
            .await
            .code(),
        0
    );
    for body in [
        "",
        "{bad",
        "[]",
        r#"{"secret":5}"#,
        r#"{"secret":"sesame","userID":"imAdmin"} trailing"#,
    ] {
        let answer = token(body).await;
        assert_eq!(
            (answer.status, answer.code(), answer.body["errMsg"].as_str()),
            (200, 1001, Some("ArgsError")),
            "{body}"
        );
        assert!(
            answer.body["errDlt"]
                .as_str()
                .unwrap()
                .starts_with("request body: "),
            "{body}"
        );
    }
}

#[tokio::test]
async fn users_are_registered_all_or_none() {
    let world = world(magpie_api::Config::default()).await;
    let admin = world.admin().await;
    let user = world.user(&admin, "u1").await;
    let register = |token: String, users: Value| {
        let world = &world;
        async move {
            world
                .post(&token, "/user/user_register", json!({"users": users}))
                .await
                .code()
        }
    };
    let new = |id: &str| json!({"userID": id, "nickname": "n"});
    assert_eq!(
        register(admin.clone(), json!([new("u2"), new("u1")])).await,
        1102
    );
    assert_eq!(
        register(admin.clone(), json!([new("u2"), new("u2")])).await,
        1001
    );
    assert_eq!(register(admin.clone(), json!([])).await, 1001);
    assert_eq!(register(admin.clone(), json!([new("a:b")])).await, 1001);
    assert_eq!(
        register(admin.clone(), json!([{"userID": "u2"}])).await,
        1001
    );
    assert_eq!(register(user.clone(), json!([new("u2")])).await, 1002);
    let check = world
        .post(
            &admin,
            "/user/account_check",
            json!({"checkUserIDs": ["u2", "u1"]}),
        )
        .await;
    let expected =
        json!([{"userID": "u2", "accountStatus": 0}, {"userID": "u1", "accountStatus": 1}]);
    assert_eq!(check.body["data"]["results"], expected);
    let both = futures::future::join_all(
        (0..8).map(|_| register(admin.clone(), json!([new("u3"), new("u4")]))),
    )
    .await;
    assert_eq!(both.iter().filter(|code| **code == 0).count(), 1);
    assert!(both.iter().all(|code| matches!(code, 0 | 1102)));
}

#[tokio::test]
async fn lists_may_be_empty_but_not_absent() {
    let world = world(magpie_api::Config::default()).await;
    let admin = world.admin().await;
    let answer = world
        .post(&admin, "/user/get_users_info", json!({"userIDs": null}))
        .await;
    assert_eq!(
        (answer.code(), answer.body["errDlt"].as_str()),
        (1001, Some("UserIDs is empty"))
    );
    let answer = world
        .post(&admin, "/user/get_users_info", json!({"userIDs": []}))
        .await;
    assert_eq!(
        answer.body,
        json!({"errCode": 0, "errMsg": "", "errDlt": "", "data": {"usersInfo": null}})
    );
    let answer = world
        .post(
            &admin,
            "/user/get_users_info",
            json!({"userIDs": ["imAdmin", "nobody"]}),
        )
        .await;
    let users = answer.body["data"]["usersInfo"].as_array().unwrap();
    assert_eq!(
        (users.len(), &users[0]["nickname"], &users[0]["createTime"]),
        (1, &json!("superAdmin"), &json!(0))
    );
}

#[tokio::test]
async fn presence_is_asked_in_three_ways() {
    let world = world(magpie_api::Config::default()).await;
    let admin = world.admin().await;
    let user = world.user(&admin, "u1").await;
    let status = world
        .post(
            &user,
            "/user/get_users_status",
            json!({"userIDs": ["u1", "?:/"]}),
        )
        .await;
    let offline = |id: &str| json!({"userID": id, "status": 0, "platformIDs": null});
    assert_eq!(
        status.body["data"]["statusList"],
        json!([offline("u1"), offline("?:/")])
    );
    let online = "/user/get_users_online_status";
    let answer = world.post(&admin, online, json!({"userIDs": ["u1"]})).await;
    assert_eq!(
        answer.body["data"],
        json!([{"userID": "u1", "status": 0, "detailPlatformStatus": null}])
    );
    assert_eq!(
        world.post(&admin, online, json!({})).await.body["data"],
        json!(null)
    );
    assert_eq!(
        world
            .post(&user, online, json!({"userIDs": ["u1"]}))
            .await
            .code(),
        1002
    );
    let answer = world
        .call(
            "POST",
            online,
            &[("operationID", "op"), ("token", &admin)],
            "x",
        )
        .await;
    assert_eq!((answer.status, answer.code()), (400, 1001));
    let answer = world
        .post(
            &user,
            "/user/get_users_online_token_detail",
            json!({"userIDs": ["u1"]}),
        )
        .await;
    assert_eq!((answer.code(), &answer.body["data"]), (0, &json!(null)));
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let world = world(magpie_api::Config::default()).await;
    let admin = world.admin().await;
    for path in ["/object/part_limit", "/config/get_config_list"] {
        let answer = world.post(&admin, path, json!({})).await;
        assert_eq!((answer.status, answer.code()), (501, 1000));
        assert_eq!(answer.body["errDlt"], format!("{path} is not built yet"));
    }
    assert_eq!(
        world.call("GET", "/object/u1/a.png", &[], "").await.status,
        501
    );
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let world = world(magpie_api::Config {
        max_body_bytes: 1000,
        ..Default::default()
    })
    .await;
    let answer = world
        .post(
            "",
            "/auth/get_admin_token",
            json!({"secret": "s".repeat(2000)}),
        )
        .await;
    assert_eq!((answer.status, answer.code()), (413, 1001));
}

#[tokio::test]
async fn a_long_operation_id_and_a_large_answer_are_refused() {
    let world = world(magpie_api::Config {
        max_answers_bytes: 0,
        ..Default::default()
    })
    .await;
    let admin = world.admin().await;
    let long = "o".repeat(257);
    let headers = [("operationID", long.as_str()), ("token", &admin)];
    let answer = world
        .call("POST", "/user/get_users_info", &headers, "{}")
        .await;
    assert_eq!((answer.code(), answer.status), (1001, 200));
    let answer = world.call("GET", "/openapi.json", &[], "").await;
    assert_eq!((answer.status, answer.code()), (429, 429));
}

#[tokio::test]
async fn too_many_requests_are_refused_at_once() {
    let world = world(magpie_api::Config {
        max_requests: 0,
        ..Default::default()
    })
    .await;
    let answer = world.post("", "/auth/get_admin_token", json!({})).await;
    assert_eq!((answer.status, answer.code()), (429, 429));
}

#[tokio::test]
async fn bodies_that_do_not_arrive_keep_nobody_else_out() {
    let world = world(magpie_api::Config {
        max_requests: 1,
        ..Default::default()
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        let head = "POST /auth/get_admin_token HTTP/1.1\r\nhost: h\r\noperationID: o\r\ncontent-length: 9\r\n\r\n{";
        socket.write_all(head.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    world.admin().await;
    // They are still taken for what they may become.
    for socket in &mut slow {
        socket.write_all(b"\"a\":\"b\"}").await.unwrap();
        let mut answer = vec![0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200");
    }
}

#[tokio::test]
async fn shutdown_ends_idle_connections() {
    let world = world(magpie_api::Config::default()).await;
    let mut idle = TcpStream::connect(world.address).await.unwrap();
    world.admin().await;
    world.deps.shutdown.cancel();
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
    world.deps.tasks.close();
    world.deps.tasks.wait().await;
}

#[cfg(test)]
#[tokio::test]
async fn refusals_name_the_user_and_fields_have_a_longest_value() {
    let world = world(magpie_api::Config {
        max_batch: 2,
        ..Default::default()
    })
    .await;
    let admin = world.admin().await;
    world.user(&admin, "u1").await;
    let register = async |nickname: &str| {
        let users = json!({"users": [{"userID": "u1", "nickname": nickname}]});
        world.post(&admin, "/user/user_register", users).await
    };
    let again = register("n").await;
    assert_eq!(again.code(), 1102);
    let text = again.body["errDlt"].as_str().unwrap();
    assert!(text.contains("u1"), "{text}");
    assert_eq!(register(&"x".repeat(17 << 10)).await.code(), 1001);

    let batch = json!({
        "sendID": "u1", "recvIDs": ["a", "b", "c"], "content": {"content": "x"}, "contentType": 101, "sessionType": 1
    });
    let batch = world.post(&admin, "/msg/batch_send_msg", batch).await;
    assert_eq!(batch.code(), 1001, "{}", batch.body);

    let deep = format!(
        "{{\"content\":{}{}}}",
        "{\"a\":".repeat(500),
        "}".repeat(500)
    );
    let headers = [("operationID", "op"), ("token", admin.as_str())];
    let deep = world.call("POST", "/msg/send_msg", &headers, deep).await;
    assert_eq!((deep.status, deep.code()), (400, 1001));
    let list = world.call("POST", "/user/user_register", &headers, "[1]");
    for answer in [deep, list.await] {
        let text = answer.body["errDlt"].as_str().unwrap();
        for inner in ["struct", "Req", "recursion"] {
            assert!(!text.contains(inner), "{text}");
        }
    }
}
