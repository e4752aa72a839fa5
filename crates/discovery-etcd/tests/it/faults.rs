//! Faults of etcd. Whatever it does, no call fails and no living instance is lost sight of; afterwards everybody is registered.

use std::{collections::BTreeSet, sync::Arc};

use magpie_discovery::{
    SharedRegistry,
    conformance::{Cluster as _, SERVICE, Who, ask, ids, question, repeatable, until},
};
use magpie_testdeps::{Kind, Server};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::world::World;

fn both() -> BTreeSet<String> {
    ["a", "b"].map(str::to_owned).into()
}

/// Two instances, and a process that calls them without a pause.
struct Running {
    etcd: Server,
    world: World,
    caller: SharedRegistry,
    end: CancellationToken,
    load: AbortOnDropHandle<usize>,
}

impl Running {
    async fn start() -> Self {
        let etcd = spawn(|| Server::start(Kind::Etcd)).await;
        let world = World::new(&etcd);
        let caller: SharedRegistry = world.process();
        for instance in ["a", "b"] {
            world.add(instance, Who::routes(instance)).await;
        }
        until("both are seen", async || ids(&caller) == both()).await;
        let end = CancellationToken::new();
        let load = tokio::spawn({
            let (caller, end) = (Arc::clone(&caller), end.clone());
            async move {
                let channel = caller.channel(SERVICE);
                let mut calls = 0;
                while !end.is_cancelled() {
                    ask(&channel, question()).await.expect("no call fails");
                    assert_eq!(
                        ids(&caller),
                        both(),
                        "an instance that serves was forgotten"
                    );
                    calls += 1;
                    tokio::task::yield_now().await;
                }
                calls
            }
        });
        Self {
            etcd,
            world,
            caller,
            end,
            load: AbortOnDropHandle::new(load),
        }
    }

    async fn noticed(&self) {
        until("the registrations notice", async || {
            self.world.none_registered()
        })
        .await;
    }

    /// Everybody is registered again, new instances are seen, and no call has failed.
    async fn finish(self) {
        until("all are registered", async || self.world.all_registered()).await;
        let other: SharedRegistry = self.world.process();
        until("a new process sees both", async || ids(&other) == both()).await;
        self.end.cancel();
        let calls = self.load.await.expect("no call failed");
        assert!(calls > 0);
        self.world.add("c", Who::routes("c")).await;
        until("a new instance is seen", async || {
            ids(&self.caller).len() == 3
        })
        .await;
    }
}

async fn act(etcd: &Server, act: impl FnOnce(Server) + Send + 'static) {
    let etcd = etcd.clone();
    spawn(move || act(etcd)).await;
}

async fn spawn<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act)
        .await
        .expect("etcd does it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_killed_and_restarted() {
    let running = Running::start().await;
    act(&running.etcd, |etcd| etcd.kill()).await;
    running.noticed().await;
    act(&running.etcd, |etcd| etcd.restart()).await;
    running.finish().await;
}

/// When it goes on, it ends the leases that it could not renew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_stopped_for_longer_than_the_leases() {
    let running = Running::start().await;
    act(&running.etcd, |etcd| etcd.stop()).await;
    running.noticed().await;
    // The leases' own time, of which only etcd knows; they were renewed last before the stop.
    tokio::time::sleep(running.world.options.etcd.lease).await;
    act(&running.etcd, |etcd| etcd.cont()).await;
    running.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_replaced_by_an_empty_one() {
    let running = Running::start().await;
    act(&running.etcd, |etcd| etcd.restart_empty()).await;
    running.finish().await;
}

/// The last known instances include a dead one, which costs no call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_dies_while_etcd_is_away() {
    let etcd = spawn(|| Server::start(Kind::Etcd)).await;
    let world = World::new(&etcd);
    let caller: SharedRegistry = world.process();
    for instance in ["a", "b"] {
        world.add(instance, Who::routes(instance)).await;
    }
    until("both are seen", async || ids(&caller) == both()).await;
    act(&etcd, |etcd| etcd.kill()).await;
    world.kill("a").await;
    let channel = caller.channel(SERVICE);
    for _ in 0..100 {
        ask(&channel, repeatable()).await.expect("no call fails");
    }
    // Neither its data nor its lease is there to say so: it is gone because it does not answer.
    act(&etcd, |etcd| etcd.restart_empty()).await;
    until("it is gone", async || {
        ids(&caller) == BTreeSet::from(["b".to_owned()])
    })
    .await;
    until("the other is registered", async || world.all_registered()).await;
    assert_eq!(ask(&channel, question()).await.expect("an answer"), "b");
}

/// An etcd that asks for user and password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_asks_who_we_are() {
    let etcd = spawn(|| Server::start(Kind::Etcd)).await;
    let mut admin = etcd_client::Client::connect([etcd.url()], None)
        .await
        .unwrap();
    admin.user_add("root", "the password", None).await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.auth_enable().await.unwrap();

    let mut world = World::new(&etcd);
    world.options.etcd.user = Some(("root".to_owned(), "the password".into()));
    let caller: SharedRegistry = world.process();
    world.add("a", Who::routes("a")).await;
    until("it is seen", async || ids(&caller).contains("a")).await;

    // A token is of one connection; the next one asks for its own.
    act(&etcd, |etcd| etcd.stop()).await;
    until("the registration notices", async || world.none_registered()).await;
    act(&etcd, |etcd| etcd.cont()).await;
    until("it is registered again", async || world.all_registered()).await;
    world.add("b", Who::routes("b")).await;
    until("another is seen", async || ids(&caller) == both()).await;
}
