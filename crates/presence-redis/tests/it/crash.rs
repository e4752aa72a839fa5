//! Redis dies, stops, forgets and comes back.

use std::{fs, path::Path, time::Duration};

use magpie_presence::{GatewayId, Lookup, Platforms, Presence as _, PresenceError};
use magpie_presence_redis::{Options, RedisPresence};
use magpie_testdeps::{Kind, Server};
use magpie_types::UserId;
use tokio::time::timeout;

use crate::world::{id, ids, ios, online, open, options, report_all, until};

const WAIT: Duration = Duration::from_secs(60);

/// One gateway with a hundred users on a server of its own.
struct World {
    server: Server,
    options: Options,
    gateway: GatewayId,
    users: Vec<UserId>,
    presence: std::sync::Arc<RedisPresence>,
}

impl World {
    async fn new() -> Self {
        let server = Server::start_with(Kind::Redis, &["--appendfsync", "always"]);
        let gateway: GatewayId = "g1".into();
        let options = options(&server.url());
        let presence = open(&options, std::slice::from_ref(&gateway)).await;
        assert_eq!(presence.renew(&gateway).await.unwrap(), []);
        let users = ids(100);
        report_all(&presence, &gateway, &users).await;
        let world = Self {
            server,
            options,
            gateway,
            users,
            presence,
        };
        assert_eq!(world.online().await, Some(vec![true; 100]));
        world
    }

    async fn online(&self) -> Option<Vec<bool>> {
        online(&self.presence, &self.users).await
    }

    async fn lookup(&self) -> Lookup {
        until("an answer", async || {
            self.presence.lookup(&self.users).await.ok()
        })
        .await
    }

    /// Renews as a gateway does, until everything is as before. Gives the users who were lost on the way.
    async fn heal(&self) -> Vec<UserId> {
        let mut lost = Vec::new();
        until("everybody is online again", async || {
            lost.extend(self.presence.renew(&self.gateway).await.ok()?);
            (self.online().await? == [true; 100]).then_some(())
        })
        .await;
        lost
    }

    async fn raw(&self, command: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.server.url()).unwrap();
        let mut conn = client.get_multiplexed_async_connection().await.unwrap();
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        cmd.query_async(&mut conn).await.unwrap()
    }

    async fn restart(&self) {
        let server = self.server.clone();
        let restart = tokio::task::spawn_blocking(move || server.restart());
        restart.await.unwrap();
    }

    fn assert_all_unknown(&self, found: &Lookup) {
        assert_eq!(found.unknown, std::slice::from_ref(&self.gateway));
        assert!(found.users.iter().all(|p| p.gateways.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_everybody() {
    let world = World::new().await;
    world.server.kill();
    let error = until("the kill is noticed", async || {
        world.presence.lookup(&world.users).await.err()
    });
    let PresenceError::Unavailable(why) = error.await;
    assert!(!why.is_empty());
    assert!(world.presence.renew(&world.gateway).await.is_err());
    world.restart().await;
    assert_eq!(world.heal().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_at_once_while_the_server_is_away() {
    let world = World::new().await;
    world.server.kill();
    let calls = async {
        for _ in 0..2000 {
            assert!(world.presence.lookup(&world.users).await.is_err());
            assert!(world.presence.renew(&world.gateway).await.is_err());
        }
    };
    timeout(WAIT, calls).await.expect("no call waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_everything_makes_all_unknown_and_is_filled_again() {
    let world = World::new().await;
    let server = world.server.clone();
    let emptied = tokio::task::spawn_blocking(move || server.restart_empty());
    emptied.await.unwrap();
    world.assert_all_unknown(&world.lookup().await);
    // Nobody was trusted about them meanwhile, so no connection is closed.
    assert_eq!(world.heal().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn flushing_makes_all_unknown_and_is_made_good() {
    let world = World::new().await;
    world.raw(&["FLUSHALL"]).await;
    world.assert_all_unknown(&world.lookup().await);
    assert_eq!(world.heal().await, []);
    // A report alone makes its bucket good.
    world.raw(&["FLUSHALL"]).await;
    report_all(&world.presence, &world.gateway, &world.users[..1]).await;
    let found = world.lookup().await;
    assert_eq!(found.users[0].platforms(), ios());
    assert_eq!(found.unknown, std::slice::from_ref(&world.gateway));
    assert_eq!(world.heal().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_were_forgotten_are_sent_again() {
    let world = World::new().await;
    world.raw(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(world.online().await, Some(vec![true; 100]));
    world.raw(&["SCRIPT", "FLUSH"]).await;
    report_all(&world.presence, &world.gateway, &world.users).await;
}

/// As when the append-only file lost its end, or a replica that lagged was promoted.
#[tokio::test(flavor = "multi_thread")]
async fn lost_writes_are_found_by_the_next_renewal() {
    let world = World::new().await;
    let data = world.server.dir().join("data");
    let copy = world.server.dir().join("copy");
    copy_tree(&data, &copy);
    let late = UserId::new("late").unwrap();
    let gone = world.users[..1].to_vec();
    report_all(&world.presence, &world.gateway, std::slice::from_ref(&late)).await;
    let departure = [(gone[0].clone(), Platforms::default())];
    world
        .presence
        .report(&world.gateway, &departure)
        .await
        .unwrap();
    world.server.kill();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&copy, &data).unwrap();
    world.restart().await;
    let lost = until("the loss is found", async || {
        let lost = world.presence.renew(&world.gateway).await.ok()?;
        (!lost.is_empty()).then_some(lost)
    });
    assert_eq!(lost.await, std::slice::from_ref(&late));
    let users = [late, gone[0].clone(), world.users[1].clone()];
    let found = until("all is written again", async || {
        drop(world.presence.renew(&world.gateway).await);
        online(&world.presence, &users).await
    });
    // Who had left does not come back with the old data.
    assert_eq!(found.await, [true, false, true]);
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_evicted_is_found_by_a_round_of_renewals() {
    let world = World::new().await;
    let user = &world.users[7];
    let pattern = format!("{}:*:{user}", world.options.prefix);
    let keys: Vec<String> = redis::from_redis_value(world.raw(&["KEYS", &pattern]).await).unwrap();
    assert_eq!(keys.len(), 1);
    world.raw(&["DEL", &keys[0]]).await;
    let mut lost = Vec::new();
    for _ in 0..64 {
        lost.extend(world.presence.renew(&world.gateway).await.unwrap());
    }
    assert_eq!(lost, std::slice::from_ref(user));
    assert_eq!(world.online().await, Some(vec![true; 100]));
}

/// The error of a report comes when nobody trusts the gateway any more, and the renewals that lay in the queues of a stopped
/// server don't bring that trust back.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_ends_trust_before_a_report_fails() {
    let world = World::new().await;
    let late = [id(1000)];
    let report = [(late[0].clone(), ios())];
    world.server.stop();
    let (renewed, reported) = tokio::join!(
        world.presence.renew(&world.gateway),
        timeout(WAIT, world.presence.report(&world.gateway, &report)),
    );
    assert!(renewed.is_err());
    assert!(reported.expect("it has a deadline").is_err());
    let departure = [(world.users[0].clone(), Platforms::default())];
    let departed = world.presence.report(&world.gateway, &departure);
    assert!(
        timeout(WAIT, departed)
            .await
            .expect("it has a deadline")
            .is_err()
    );
    assert!(world.presence.lookup(&late).await.is_err());
    world.server.cont();
    let found = until("an answer", async || {
        world.presence.lookup(&late).await.ok()
    })
    .await;
    assert_eq!(found.unknown, std::slice::from_ref(&world.gateway));
    report_all(&world.presence, &world.gateway, &world.users[..1]).await;
    assert_eq!(world.heal().await, []);
    assert_eq!(online(&world.presence, &late).await, Some(vec![true]));
}

/// One that lay in the queue of a stopped server.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_comes_too_late_changes_nothing() {
    let world = World::new().await;
    let key = format!("{}:{{p0}}", world.options.prefix);
    let before = world.raw(&["HGET", &key, "g1"]).await;
    let mark: String = redis::from_redis_value(before.clone()).unwrap();
    let parts: Vec<&str> = mark.split(':').collect();
    let script = include_str!("../../src/lua/renew.lua");
    let renew = [
        "EVAL", script, "1", &key, "g1", parts[2], parts[3], "1", "1000",
    ];
    let answer: Vec<u64> = redis::from_redis_value(world.raw(&renew).await).unwrap();
    assert_eq!(answer[0], 3);
    assert_eq!(world.raw(&["HGET", &key, "g1"]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_died_is_unknown_while_registered_and_offline_afterwards() {
    let world = World::new().await;
    let (dead, user): (GatewayId, _) = ("dead".into(), [id(500)]);
    let gateways = std::sync::Arc::new(std::sync::Mutex::new(vec![GatewayId::clone(&dead)]));
    let seen = std::sync::Arc::clone(&gateways);
    let registered = std::sync::Arc::new(move || seen.lock().unwrap().clone());
    let reader = RedisPresence::open(&world.options, registered).unwrap();
    timeout(WAIT, reader.ready()).await.unwrap();
    let mut changes = reader.changes();
    {
        let process = open(&world.options, &[]).await;
        process.renew(&dead).await.unwrap();
        report_all(&process, &dead, &user).await;
        assert_eq!(online(&reader, &user).await, Some(vec![true]));
    }
    let found = until("its marks end", async || {
        let found = reader.lookup(&user).await.unwrap();
        (!found.unknown.is_empty()).then_some(found)
    });
    let found = found.await;
    assert_eq!(found.unknown, std::slice::from_ref(&dead));
    assert!(found.users[0].gateways.is_empty());
    gateways.lock().unwrap().clear();
    assert_eq!(online(&reader, &user).await, Some(vec![false]));
    // Subscribers look up the present state.
    let missed =
        async { while changes.recv().await.unwrap() != magpie_presence::Change::Missed {} };
    timeout(WAIT, missed).await.expect("they are told in time");
}
