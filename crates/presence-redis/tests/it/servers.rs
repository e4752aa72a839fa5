//! Every sort of Redis: with a password, over TLS, under sentinels, as a cluster.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use async_trait::async_trait;
use magpie_presence::{
    GatewayId, Presence as _, PresenceError, SharedPresence, conformance::Factory,
};
use magpie_presence_redis::{Options, RedisPresence};
use magpie_testdeps::{Kind, Server, certificates};
use tokio::time::timeout;

use crate::world::{ids, online, open, options, report_all, until};

const WAIT: Duration = Duration::from_secs(60);

fn gateway() -> GatewayId {
    "g1".into()
}

/// Renews and looks until everybody is online.
async fn healed(presence: &RedisPresence, count: usize) {
    let users = ids(count);
    until("everybody is online", async || {
        let lost = presence.renew(&gateway()).await.ok()?;
        assert_eq!(lost, []);
        let online = online(presence, &users).await?;
        online.iter().all(|online| *online).then_some(())
    })
    .await;
}

async fn raw(url: &str, command: &[&str]) -> redis::RedisResult<redis::Value> {
    let client = redis::Client::open(url)?;
    let mut conn = client.get_multiplexed_async_connection().await?;
    let mut cmd = redis::cmd(command[0]);
    cmd.arg(&command[1..]).query_async(&mut conn).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_used_and_never_told() {
    let server = Server::start_with(Kind::Redis, &["--requirepass", "p@ss word"]);
    let port = server.port();
    let good = options(&format!("redis://:p%40ss%20word@127.0.0.1:{port}"));
    let presence = open(&good, &[gateway()]).await;
    report_all(&presence, &gateway(), &ids(10)).await;
    healed(&presence, 10).await;
    for url in [format!("redis://:hunter2@127.0.0.1:{port}"), server.url()] {
        let presence = RedisPresence::open(&options(&url), std::sync::Arc::new(Vec::new)).unwrap();
        let PresenceError::Unavailable(why) = presence.lookup(&ids(1)).await.unwrap_err();
        assert!(!why.is_empty() && !why.contains("hunter2"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_certificates_of_both_sides() {
    let server = Server::start(Kind::Redis);
    let dir = server.dir();
    certificates(dir);
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let port = (server.port() + 1).to_string();
    let set = [
        "CONFIG",
        "SET",
        "tls-ca-cert-file",
        &file("ca.pem"),
        "tls-cert-file",
        &file("cert.pem"),
        "tls-key-file",
        &file("key.pem"),
        "tls-port",
        &port,
    ];
    raw(&server.url(), &set).await.unwrap();
    let mut options = Options {
        ca_file: Some(dir.join("ca.pem")),
        identity_files: Some((dir.join("cert.pem"), dir.join("key.pem"))),
        ..options(&format!("rediss://127.0.0.1:{port}"))
    };
    let presence = open(&options, &[gateway()]).await;
    report_all(&presence, &gateway(), &ids(10)).await;
    healed(&presence, 10).await;
    // A server that none of the system's authorities knows is not talked to.
    options.ca_file = None;
    options.identity_files = None;
    let stranger = RedisPresence::open(&options, std::sync::Arc::new(Vec::new)).unwrap();
    assert!(stranger.lookup(&ids(1)).await.is_err());
}

/// A sentinel that watches one master, killed when it is dropped or when this process ends.
struct Sentinel(Child);

impl Sentinel {
    fn start(dir: &Path, port: u16, master: u16) -> Self {
        let file = dir.join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\n\
             sentinel monitor chat 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds chat 500\n\
             sentinel failover-timeout chat 5000\n",
            dir.display()
        );
        fs::write(&file, text).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "redis-server"])
            .arg(file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_name_the_master_also_after_a_failover() {
    let master = Server::start(Kind::Redis);
    let (host, port) = ("127.0.0.1", master.port().to_string());
    let replica = Server::start_with(Kind::Redis, &["--replicaof", host, &port]);
    until("the replica has joined", async || {
        let role = raw(&replica.url(), &["ROLE"]).await.ok()?;
        format!("{role:?}").contains("connected").then_some(())
    })
    .await;
    let at = replica.port() + 1;
    let sentinel = Sentinel::start(replica.dir(), at, master.port());
    until("the sentinel knows the replica", async || {
        let url = format!("redis://127.0.0.1:{at}");
        let known = raw(&url, &["SENTINEL", "REPLICAS", "chat"]).await.ok()?;
        let known = format!("{known:?}");
        known.contains(&replica.port().to_string()).then_some(())
    })
    .await;
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{at}/chat");
    let presence = open(&options(&url), &[gateway()]).await;
    report_all(&presence, &gateway(), &ids(100)).await;
    healed(&presence, 100).await;
    // What the replica has not got is lost with the master.
    let waited = raw(&master.url(), &["PING"]).await;
    waited.unwrap();
    until("the replica has everything", async || {
        let of = |info: redis::Value| -> Option<u64> {
            let text: String = redis::from_redis_value(info).ok()?;
            let line = text
                .lines()
                .find(|l| l.starts_with("master_repl_offset:"))?;
            line.rsplit(':').next()?.trim().parse().ok()
        };
        let ask = ["INFO", "replication"];
        let (there, here) = (
            raw(&master.url(), &ask).await.ok()?,
            raw(&replica.url(), &ask).await.ok()?,
        );
        (of(there)? <= of(here)?).then_some(())
    })
    .await;
    master.kill();
    until("the replica is the master", async || {
        let role = raw(&replica.url(), &["ROLE"]).await.ok()?;
        format!("{role:?}").contains("master").then_some(())
    })
    .await;
    healed(&presence, 100).await;
    drop(sentinel);
}

/// Three masters.
struct Cluster([Server; 3]);

impl Cluster {
    async fn start() -> Self {
        let start = || {
            let arguments = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--appendfsync",
                "always",
            ];
            Server::start_with(Kind::Redis, &arguments)
        };
        let servers = [start(), start(), start()];
        for (server, slots) in
            servers
                .iter()
                .zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")])
        {
            let add = ["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1];
            raw(&server.url(), &add).await.unwrap();
            let port = servers[0].port().to_string();
            let meet = ["CLUSTER", "MEET", "127.0.0.1", &port];
            raw(&server.url(), &meet).await.unwrap();
        }
        let cluster = Self(servers);
        cluster.settled().await;
        cluster
    }

    async fn settled(&self) {
        for server in &self.0 {
            until("the cluster is complete", async || {
                let info = raw(&server.url(), &["CLUSTER", "INFO"]).await.ok()?;
                let info = format!("{info:?}");
                let good =
                    info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3");
                good.then_some(())
            })
            .await;
        }
    }

    fn url(&self) -> String {
        let [a, b, c] = &self.0;
        format!(
            "redis+cluster://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}",
            a.port(),
            b.port(),
            c.port()
        )
    }
}

/// A cluster that all cases share.
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let start = || {
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(Cluster::start())
    };
    std::thread::spawn(start).join().unwrap()
});

struct InCluster;

#[async_trait]
impl Factory for InCluster {
    async fn open(&self, gateways: &[GatewayId]) -> SharedPresence {
        open(&options(&CLUSTER.url()), gateways).await
    }
}

mod cluster {
    use super::*;
    magpie_presence::conformance_tests!(InCluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_heals_after_one_and_after_all_nodes_were_killed() {
    let cluster = Cluster::start().await;
    let presence = open(&options(&cluster.url()), &[gateway()]).await;
    report_all(&presence, &gateway(), &ids(200)).await;
    healed(&presence, 200).await;
    for count in [1, 3] {
        for server in &cluster.0[..count] {
            server.kill();
        }
        let failed = until("the loss is noticed", async || {
            presence.lookup(&ids(200)).await.err()
        });
        failed.await;
        assert!(
            timeout(WAIT, presence.renew(&gateway()))
                .await
                .unwrap()
                .is_err()
        );
        for server in &cluster.0[..count] {
            let server = server.clone();
            let restart = tokio::task::spawn_blocking(move || server.restart());
            restart.await.unwrap();
        }
        cluster.settled().await;
        healed(&presence, 200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_stops_meets_the_deadline() {
    let cluster = Cluster::start().await;
    let presence = open(&options(&cluster.url()), &[gateway()]).await;
    report_all(&presence, &gateway(), &ids(200)).await;
    healed(&presence, 200).await;
    cluster.0.iter().for_each(Server::stop);
    for _ in 0..3 {
        let answer = timeout(WAIT, presence.lookup(&ids(200))).await;
        assert!(answer.expect("it has a deadline").is_err());
    }
    cluster.0.iter().for_each(Server::cont);
    healed(&presence, 200).await;
}
