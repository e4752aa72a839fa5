//! While Redis is killed, stopped and emptied again and again, nobody who is connected is ever taken for offline: a lookup shows
//! the user, or names the gateway as unknown, or fails.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use magpie_presence::{GatewayId, Platforms, Presence as _};
use magpie_presence_redis::RedisPresence;
use magpie_testdeps::{Kind, Server};
use magpie_types::UserId;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::world::{id, ios, open, options, until};

const WORKERS: usize = 8;
const USERS: usize = 10;
/// Lookups that a fault is to meet.
const LOOKUPS: usize = 30;

struct Chaos {
    gateway: GatewayId,
    writer: Arc<RedisPresence>,
    reader: Arc<RedisPresence>,
    /// Users whose handshake was answered and who have not left, with the number of the connection.
    connected: Mutex<HashMap<UserId, usize>>,
    connections: AtomicUsize,
    lookups: AtomicUsize,
    /// Users who were found, users of an unknown gateway, lookups that failed.
    outcomes: [AtomicUsize; 3],
    end: CancellationToken,
}

impl Chaos {
    /// Users connect and leave.
    async fn work(self: Arc<Self>, worker: usize) {
        while !self.end.is_cancelled() {
            for n in 0..USERS {
                let user = id(worker * USERS + n);
                let report = [(user.clone(), ios())];
                // As in the gateway: an error is as good, for by then nobody trusts it.
                drop(self.writer.report(&self.gateway, &report).await);
                let number = self.connections.fetch_add(1, Ordering::Relaxed);
                self.connected.lock().unwrap().insert(user, number);
            }
            for n in 0..USERS {
                let user = id(worker * USERS + n);
                self.connected.lock().unwrap().remove(&user);
                let report = [(user, Platforms::default())];
                drop(self.writer.report(&self.gateway, &report).await);
            }
        }
    }

    async fn renew(self: Arc<Self>) {
        while !self.end.is_cancelled() {
            if let Ok(lost) = self.writer.renew(&self.gateway).await {
                assert_eq!(lost, [], "nothing was lost that had been answered");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn check(self: Arc<Self>) {
        let users: Vec<UserId> = (0..WORKERS * USERS).map(id).collect();
        while !self.end.is_cancelled() {
            let before = self.connected.lock().unwrap().clone();
            let found = self.reader.lookup(&users).await;
            let after = self.connected.lock().unwrap().clone();
            self.lookups.fetch_add(1, Ordering::Relaxed);
            let Ok(found) = found else {
                self.outcomes[2].fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            if !found.unknown.is_empty() {
                self.outcomes[1].fetch_add(1, Ordering::Relaxed);
                continue;
            }
            for (user, places) in users.iter().zip(found.users) {
                let Some(number) = before.get(user) else {
                    continue;
                };
                if after.get(user) == Some(number) {
                    self.outcomes[0].fetch_add(1, Ordering::Relaxed);
                    assert_eq!(
                        places.platforms(),
                        ios(),
                        "{user} is connected, and taken for offline"
                    );
                }
            }
        }
    }

    /// Returns after some more lookups.
    async fn lookups(&self) {
        let goal = self.lookups.load(Ordering::Relaxed) + LOOKUPS;
        until("lookups go on", async || {
            (self.lookups.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    async fn healed(&self) {
        until("the gateway is trusted again", async || {
            let found = self.reader.lookup(&[id(0)]).await.ok()?;
            found.unknown.is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_who_is_connected_is_taken_for_offline() {
    let server = Server::start_with(Kind::Redis, &["--appendfsync", "always"]);
    let gateway: GatewayId = "g1".into();
    let options = options(&server.url());
    let chaos = Arc::new(Chaos {
        writer: open(&options, &[]).await,
        reader: open(&options, std::slice::from_ref(&gateway)).await,
        gateway,
        connected: Mutex::default(),
        connections: AtomicUsize::new(0),
        lookups: AtomicUsize::new(0),
        outcomes: Default::default(),
        end: CancellationToken::new(),
    });
    let mut tasks = JoinSet::new();
    for worker in 0..WORKERS {
        tasks.spawn(Arc::clone(&chaos).work(worker));
    }
    tasks.spawn(Arc::clone(&chaos).renew());
    tasks.spawn(Arc::clone(&chaos).check());
    let faults = async {
        for round in 0..12 {
            chaos.healed().await;
            chaos.lookups().await;
            match round % 4 {
                0 => {
                    server.kill();
                    chaos.lookups().await;
                    blocking(&server, Server::restart).await;
                }
                1 => {
                    server.stop();
                    until("the stop is noticed", async || {
                        chaos.reader.lookup(&[id(0)]).await.err()
                    })
                    .await;
                    server.cont();
                }
                2 => flush(&server).await,
                _ => blocking(&server, Server::restart_empty).await,
            }
        }
        chaos.healed().await;
        chaos.lookups().await;
    };
    tokio::select! {
        () = faults => {}
        // None ends by itself but by a panic.
        Some(ended) = tasks.join_next() => ended.expect("the check holds"),
    }
    chaos.end.cancel();
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            ended.expect("the check holds");
        }
    };
    timeout(Duration::from_secs(60), all)
        .await
        .expect("all end");
    for outcome in &chaos.outcomes {
        assert!(outcome.load(Ordering::Relaxed) > 0, "{:?}", chaos.outcomes);
    }
}

async fn blocking(server: &Server, what: fn(&Server)) {
    let server = server.clone();
    let done = tokio::task::spawn_blocking(move || what(&server));
    done.await.expect("the server is there");
}

async fn flush(server: &Server) {
    let client = redis::Client::open(server.url()).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    let flushed = redis::cmd("FLUSHALL").query_async(&mut conn).await;
    let () = flushed.unwrap();
}
