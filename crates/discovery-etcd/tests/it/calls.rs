//! Faults of instances, and the limits of calls.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use magpie_discovery::{
    Farewell, SharedRegistry,
    conformance::{Cluster as _, SERVICE, Who, ask, ids, question, repeatable, until},
};
use magpie_service::health::Readiness;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{Code, Status, body::Body, server::NamedService, service::Routes};
use tower::Service;

use crate::world::{ETCD, World, internal, run};

/// An instance that never answers, or is never ready.
#[derive(Clone)]
enum Bad {
    Silent,
    Unavailable(Arc<AtomicUsize>),
}

impl NamedService for Bad {
    const NAME: &'static str = "test.Who";
}

impl Service<Request<Body>> for Bad {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        match self {
            Self::Silent => Box::pin(std::future::pending()),
            Self::Unavailable(count) => {
                count.fetch_add(1, Relaxed);
                Box::pin(async { Ok(Status::unavailable("not now").into_http()) })
            }
        }
    }
}

/// Registers an instance at an address where something else may be.
async fn pretend(world: &World, instance: &str, address: &str) -> impl Drop + use<> {
    let registry = world.process();
    let registration = registry
        .register(SERVICE, instance, address)
        .expect("it works");
    registration.registered().await;
    AbortOnDropHandle::new(tokio::spawn(async move {
        let _held = (registry, registration);
        std::future::pending::<()>().await;
    }))
}

async fn sees(registry: &SharedRegistry, count: usize) {
    until("the instances are seen", async || {
        ids(registry).len() == count
    })
    .await;
}

async fn local() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_breaks_its_connections_is_put_aside_and_comes_back() {
    let world = World::new(&ETCD);
    let caller: SharedRegistry = world.process();
    world.add("good", Who::routes("good")).await;
    let (listener, address) = local().await;
    let _bad = pretend(&world, "bad", &address).await;
    sees(&caller, 2).await;

    // It takes connections and ends them.
    let accepted = Arc::new(AtomicUsize::new(0));
    let broken = CancellationToken::new();
    let breaking = tokio::spawn({
        let (accepted, broken) = (Arc::clone(&accepted), broken.clone());
        async move {
            while let Some(Ok(_dropped)) = broken.run_until_cancelled(listener.accept()).await {
                accepted.fetch_add(1, Relaxed);
            }
            listener
        }
    });
    let channel = caller.channel(SERVICE);
    for _ in 0..1000 {
        assert_eq!(
            ask(&channel, repeatable()).await.expect("an answer"),
            "good"
        );
    }
    // Half of 1000 calls would have gone there.
    let accepted = accepted.load(Relaxed);
    assert!((1..100).contains(&accepted), "{accepted} connections");

    // Now it serves, and is found again by the question whether it does.
    broken.cancel();
    let listener = breaking.await.unwrap();
    let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
    readiness.set(true);
    let served = run(
        "bad".into(),
        Who::routes("bad"),
        internal(),
        readiness,
        listener,
        shutdown,
    );
    let _served = AbortOnDropHandle::new(tokio::spawn(served));
    until("it gets calls", async || {
        ask(&channel, question()).await.expect("an answer") == "bad"
    })
    .await;
}

/// A stopped process: its kernel takes connections, and nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_hangs_is_put_aside() {
    let world = World::new(&ETCD);
    let mut options = world.options.clone();
    options.calls.keepalive = Duration::from_millis(200);
    options.calls.keepalive_timeout = Duration::from_millis(200);
    options.calls.eject_after = 1;
    options.calls.eject_first = Duration::from_secs(600);
    options.calls.eject_longest = Duration::from_secs(1200);
    let caller: SharedRegistry = world.process_with(options);
    world.add("good", Who::routes("good")).await;
    let (_listener, address) = local().await;
    let _hung = pretend(&world, "hung", &address).await;
    sees(&caller, 2).await;
    let channel = caller.channel(SERVICE);
    for _ in 0..200 {
        assert_eq!(
            ask(&channel, repeatable()).await.expect("an answer"),
            "good"
        );
    }
    // Put aside for long: calls that must not be repeated don't go there either.
    for _ in 0..200 {
        assert_eq!(ask(&channel, question()).await.expect("an answer"), "good");
    }
}

/// The address of a dead instance may be taken over by the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_takes_no_calls_that_are_meant_for_another() {
    let world = World::new(&ETCD);
    let caller: SharedRegistry = world.process();
    let address = world.add("new", Who::routes("new")).await;
    let _old = pretend(&world, "old", &address).await;
    sees(&caller, 2).await;
    let instances = caller.instances(SERVICE);
    let (_, old) = instances.iter().find(|(id, _)| id == "old").unwrap();
    let refused = ask(old, question()).await.expect_err("it is not there");
    assert_eq!(refused.code(), Code::Unavailable);
    let channel = caller.channel(SERVICE);
    for _ in 0..50 {
        assert_eq!(ask(&channel, question()).await.expect("an answer"), "new");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_at_the_callers_deadline() {
    let world = World::new(&ETCD);
    let caller: SharedRegistry = world.process();
    world.add("silent", Routes::new(Bad::Silent)).await;
    caller.wait_for(SERVICE).await;
    let mut request = question();
    request
        .headers_mut()
        .insert("grpc-timeout", "50m".parse().unwrap());
    let late = ask(&caller.channel(SERVICE), request)
        .await
        .expect_err("no answer");
    assert_eq!(late.code(), Code::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_deadline_ends_at_the_configured_one() {
    let world = World::new(&ETCD);
    let mut options = world.options.clone();
    options.calls.timeout = Duration::from_millis(50);
    let caller: SharedRegistry = world.process_with(options);
    world.add("silent", Routes::new(Bad::Silent)).await;
    caller.wait_for(SERVICE).await;
    let late = ask(&caller.channel(SERVICE), question())
        .await
        .expect_err("no answer");
    assert_eq!(late.code(), Code::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let world = World::new(&ETCD);
    let mut options = world.options.clone();
    options.calls.max_outstanding = 3;
    let caller: SharedRegistry = world.process_with(options);
    world.add("silent", Routes::new(Bad::Silent)).await;
    caller.wait_for(SERVICE).await;
    let channel = caller.channel(SERVICE);
    let calls = (0..4).map(|_| Box::pin(ask(&channel, question())));
    // Three stay under way, so the first one to end is the fourth.
    let (first, _, waiting) = futures::future::select_all(calls).await;
    assert_eq!(first.expect_err("no room").code(), Code::ResourceExhausted);
    assert_eq!(waiting.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_may_be_repeated_is_sent_again_after_an_answer() {
    let world = World::new(&ETCD);
    let caller: SharedRegistry = world.process();
    let asked = Arc::new(AtomicUsize::new(0));
    world
        .add("bad", Routes::new(Bad::Unavailable(Arc::clone(&asked))))
        .await;
    caller.wait_for(SERVICE).await;
    let channel = caller.channel(SERVICE);
    let refused = ask(&channel, question()).await.expect_err("a refusal");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unavailable, "not now")
    );
    // There is no other instance to repeat it at.
    ask(&channel, repeatable()).await.expect_err("a refusal");
    assert_eq!(asked.load(Relaxed), 2);

    world.add("good", Who::routes("good")).await;
    sees(&caller, 2).await;
    for _ in 0..50 {
        assert_eq!(
            ask(&channel, repeatable()).await.expect("an answer"),
            "good"
        );
    }
    let mut refused = 0;
    for _ in 0..100 {
        refused += usize::from(ask(&channel, question()).await.is_err());
    }
    assert!(refused > 0, "calls were repeated that must not be");
}

/// As one does that ends while the first call is on its way to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_goes_away_costs_no_call() {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // The last stream that it answers is 0, so none; no error.
    const GO_AWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let world = World::new(&ETCD);
    let caller: SharedRegistry = world.process();
    let (listener, address) = local().await;
    let _leaving = pretend(&world, "leaving", &address).await;
    let met = Arc::new(AtomicUsize::new(0));
    let _server = AbortOnDropHandle::new(tokio::spawn({
        let met = Arc::clone(&met);
        async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let met = Arc::clone(&met);
                tokio::spawn(async move {
                    socket.write_all(&SETTINGS).await?;
                    until_headers(&mut socket).await?;
                    met.fetch_add(1, Relaxed);
                    socket.write_all(&GO_AWAY).await?;
                    tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
                });
            }
        }
    }));
    world.add("good", Who::routes("good")).await;
    sees(&caller, 2).await;
    let channel = caller.channel(SERVICE);
    until("both were picked", async || {
        assert_eq!(ask(&channel, question()).await.expect("an answer"), "good");
        met.load(Relaxed) > 1
    })
    .await;
}

/// Reads a client's frames up to the first request.
async fn until_headers(socket: &mut TcpStream) -> std::io::Result<()> {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    socket.read_exact(&mut [0; PREFACE]).await?;
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await?;
        if head[3] == HEADERS {
            return Ok(());
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        socket.read_exact(&mut payload).await?;
    }
}

/// When all fail, repeats add a bounded share to the load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_have_a_budget() {
    let world = World::new(&ETCD);
    let caller: SharedRegistry = world.process();
    let asked = Arc::new(AtomicUsize::new(0));
    for instance in ["a", "b"] {
        world
            .add(instance, Routes::new(Bad::Unavailable(Arc::clone(&asked))))
            .await;
    }
    sees(&caller, 2).await;
    let channel = caller.channel(SERVICE);
    for _ in 0..1000 {
        ask(&channel, repeatable()).await.expect_err("a refusal");
    }
    // A fifth, and ten a second over ten seconds, of which a slow run has some more.
    let asked = asked.load(Relaxed);
    assert!(
        (1010..1700).contains(&asked),
        "1000 calls were sent {asked} times"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_takes_nobody_for_a_member_costs_no_call() {
    // As one does whose clock is wrong.
    let world = World::new(&ETCD);
    world.add_stranger("a", Who::routes("a")).await;
    let caller: SharedRegistry = world.process();
    until("the stranger is there", async || ids(&caller).len() == 1).await;
    let refused = ask(&caller.channel(SERVICE), question()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    world.add("b", Who::routes("b")).await;
    until("both are there", async || ids(&caller).len() == 2).await;
    for _ in 0..20 {
        let answer = ask(&caller.channel(SERVICE), question()).await;
        assert_eq!(answer.unwrap(), "b");
    }
}

/// It may only stand still; who would miss it does something about that first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_says_nothing_is_forgotten_after_its_farewell() {
    let world = World::new(&ETCD);
    let caller: SharedRegistry = world.process();
    let (said, end) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
    let farewell: Farewell = {
        let (said, end) = (Arc::clone(&said), end.clone());
        Arc::new(move |instance: String| -> BoxFuture<'static, ()> {
            said.lock().unwrap().push(instance);
            Box::pin(end.clone().cancelled_owned())
        })
    };
    caller.before_forgetting(SERVICE, farewell);
    world.add("a", Who::routes("a")).await;
    world.add("b", Who::routes("b")).await;
    sees(&caller, 2).await;
    world.kill("a").await;
    until("the farewell has begun", async || {
        !said.lock().unwrap().is_empty()
    })
    .await;
    assert_eq!(ids(&caller).len(), 2);
    end.cancel();
    until("it is forgotten", async || ids(&caller).len() == 1).await;
    assert_eq!(*said.lock().unwrap(), ["a"]);
}
