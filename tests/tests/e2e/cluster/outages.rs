//! Engines that a cluster lives without for a while: etcd is away and comes back empty, Redis forgets everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use magpie_proto::openim::sdkws::{SubUserOnlineStatus, SubUserOnlineStatusTips};
use magpie_testdeps::{Kind, Server};
use magpie_tests::evidence::Evidence;
use magpie_tests::load::{Device, Gateways, Gauge, Run, eventually, roam, settle};
use magpie_tests::{Client, Cluster, Engines, Handshake, Options};
use prost::Message as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

/// How long etcd is away.
const OUTAGE: Duration = Duration::from_secs(60);
/// Longer than a lease.
const LEASE: Duration = Duration::from_secs(8);
/// How often Redis is emptied.
const FLUSHES: usize = 5;

/// Shared engines but for one kind, which the test may harm.
async fn with_own(kind: Kind) -> (Engines, Server) {
    let start = move || (Engines::shared(), Server::start(kind));
    let (shared, own) = spawn_blocking(start).await.expect("the engines start");
    let engines = match kind {
        Kind::Etcd => Engines {
            etcd: own.clone(),
            ..shared
        },
        Kind::Redis => Engines {
            redis: own.clone(),
            ..shared
        },
        other => panic!("nobody harms {other:?} here"),
    };
    (engines, own)
}

/// How many instances are registered.
fn registered(etcd: &Server) -> usize {
    let output = std::process::Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &etcd.url(), "--command-timeout=2s"])
        .args(["get", "/", "--prefix", "--keys-only"])
        .output();
    let keys = String::from_utf8(output.expect("etcdctl runs").stdout).unwrap_or_default();
    keys.lines()
        .filter(|line| line.contains("/services/"))
        .count()
}

/// Every device gets on by twenty.
async fn all_go_on(run: &Run, what: &str, count: fn(&Gauge) -> u64) {
    let before: Vec<u64> = run.gauges.iter().map(|g| count(g)).collect();
    eventually(what, || {
        let mut all = run.gauges.iter().zip(&before);
        all.all(|(gauge, before)| count(gauge) > before + 20)
    })
    .await;
}

/// Ends a run in which no send failed and nobody was dropped, and in which nothing is missing.
async fn undisturbed(cluster: &Cluster, run: Run) {
    run.stop();
    let (mut devices, lives) = run.ended().await;
    let mut evidence = Evidence::default();
    for life in lives {
        let who = &life.connection.who;
        assert_eq!(life.close_code, None, "{who} is not dropped");
        assert_eq!(life.connection.refused(), [0; 0], "{who}");
        assert_eq!(life.connection.unanswered(), 0, "{who}");
        evidence.connections.push(life.connection);
    }
    settle(&cluster.ws_urls(), &mut devices, &mut evidence).await;
    println!("{} acknowledged, none failed", evidence.acknowledged());
    let faults = evidence.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(!cluster.log().contains("panicked"), "a process panicked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_is_away_and_comes_back_empty_costs_no_send_and_no_connection() {
    if super::skipped("cluster::outages") {
        return;
    }
    let (engines, etcd) = with_own(Kind::Etcd).await;
    let mut cluster = Cluster::start_on(engines, 2, Options::default()).await;
    assert_eq!(registered(&etcd), cluster.size());
    let devices = super::couples(&cluster, 2).await;
    let run = Run::start(&cluster.ws_urls(), devices, 0);
    run.under_way(100).await;

    etcd.kill();
    let mut status = cluster.admin_command(&["status"]).expect("a command");
    let status = status.output().await.expect("it ends");
    let shown = String::from_utf8_lossy(&status.stdout);
    assert_eq!(status.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("\n1 wrong:\n  discovery (etcd): it does not answer"),
        "{shown}"
    );
    tokio::time::sleep(OUTAGE).await;
    all_go_on(&run, "acknowledgements without etcd", Gauge::acknowledged).await;
    let (back, returned) = (etcd.clone(), Instant::now());
    let restart = spawn_blocking(move || back.restart_empty());
    restart.await.expect("etcd starts");
    eventually("all registrations", || registered(&etcd) == cluster.size()).await;
    let took = returned.elapsed();
    println!(
        "{} instances are registered {took:?} after etcd's start",
        cluster.size()
    );
    // What an empty etcd takes away it takes away after a lease; the load goes on beyond that.
    tokio::time::sleep(LEASE).await;
    all_go_on(&run, "acknowledgements after it", Gauge::acknowledged).await;
    assert_eq!(registered(&etcd), cluster.size());

    undisturbed(&cluster, run).await;
}

/// Who is connected stays so, is pushed to, and may write; what Redis comes back with does not matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_away_costs_no_message_and_no_push() {
    if super::skipped("cluster::outages") {
        return;
    }
    let (engines, redis) = with_own(Kind::Redis).await;
    let cluster = Cluster::start_on(engines, 2, Options::default()).await;
    let devices = super::couples(&cluster, 2).await;
    let run = Run::start(&cluster.ws_urls(), devices, 0);
    run.under_way(100).await;

    redis.kill();
    all_go_on(&run, "pushes without Redis", Gauge::live).await;
    let back = redis.clone();
    spawn_blocking(move || back.restart())
        .await
        .expect("Redis starts");
    all_go_on(&run, "pushes after it", Gauge::live).await;
    undisturbed(&cluster, run).await;
}

async fn flush(redis: &Server) {
    let stream = TcpStream::connect(("127.0.0.1", redis.port())).await;
    let mut stream = stream.expect("a connection");
    stream.write_all(b"FLUSHALL\r\n").await.expect("sent");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"+OK\r\n");
}

/// Platforms by user, as a gateway tells them.
type Online = BTreeMap<String, Vec<i32>>;

fn online(tips: SubUserOnlineStatusTips) -> Online {
    let each = tips.subscribers.into_iter();
    each.map(|user| (user.user_id, user.online_platform_i_ds))
        .collect()
}

/// Subscribes to users anew until the answer is the expected one; answers how long that took.
async fn presence_is_right(watcher: &mut Client, expected: &Online) -> Duration {
    let users: Vec<String> = expected.keys().cloned().collect();
    let (asked, bound) = (Instant::now(), Duration::from_secs(60));
    let right = async {
        loop {
            let again = SubUserOnlineStatus {
                subscribe_user_id: users.clone(),
                unsubscribe_user_id: users.clone(),
            };
            let told: SubUserOnlineStatusTips = watcher.call(2005, &again).await.expect("told");
            if online(told) == *expected {
                break;
            }
        }
    };
    let right = tokio::time::timeout(bound, right).await;
    right.expect("the gateways tell Redis again who is online");
    asked.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_everything_costs_no_message_no_push_and_no_login() {
    if super::skipped("cluster::outages") {
        return;
    }
    let (engines, redis) = with_own(Kind::Redis).await;
    let cluster = Cluster::start_on(engines, 2, Options::default()).await;
    let devices = super::couples(&cluster, 2).await;
    let gateways = Gateways::default();
    gateways.set(cluster.ws_urls());
    let there = |d: &Device| (d.user.clone(), vec![d.platform]);
    let expected: Online = devices.iter().map(there).collect();
    let tour = roam(&gateways, devices);
    tour.goes_on(100).await;
    cluster.register(&["watcher"]).await;
    let token = cluster.user_token("watcher", 5).await;
    let handshake = Handshake::js("watcher", 5, &token);
    let watcher = Client::connect(&cluster.ws_urls()[0], &handshake).await;
    let mut watcher = watcher.expect("a login");
    presence_is_right(&mut watcher, &expected).await;
    for _ in 0..FLUSHES {
        flush(&redis).await;
        tour.goes_on(100).await;
        let took = presence_is_right(&mut watcher, &expected).await;
        println!("presence is right {took:?} after Redis was emptied and 100 messages were sent");
    }
    while let Some(change) = watcher.other_now() {
        assert_eq!(change.req_identifier, 2005);
        let change = SubUserOnlineStatusTips::decode(change.data.unwrap_or_default());
        let change = online(change.expect("tips"));
        for (user, platforms) in change {
            assert_eq!(platforms, expected[&user], "{user} did not go offline");
        }
    }
    let (devices, ways) = tour.end().await;
    for device in &devices {
        let rest = cluster.anonymous().with_token(&device.token);
        let me = json!({"userIDs": [device.user]});
        let found = rest.data("/user/get_users_info", &me).await;
        assert_eq!(
            found["usersInfo"][0]["userID"], device.user,
            "its token is good"
        );
    }
    super::check_ways(&cluster, devices, ways).await;
}
