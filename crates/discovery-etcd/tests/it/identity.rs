//! Who calls, over real connections.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task,
};

use http::{Request, Response};
use magpie_discovery::{
    SharedRegistry,
    conformance::{SERVICE, Who, ask, question},
};
use magpie_service::{Caller, Context};
use magpie_types::UserId;
use tokio::sync::mpsc;
use tonic::{Code, Status, body::Body, server::NamedService, service::Routes, transport::Endpoint};
use tower::{Service, ServiceExt as _};

use crate::world::{ETCD, World};

/// An instance that tells the test who called.
#[derive(Clone)]
struct Listening(mpsc::UnboundedSender<(Option<Context>, http::HeaderMap)>);

impl NamedService for Listening {
    const NAME: &'static str = "test.Who";
}

impl Service<Request<Body>> for Listening {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let context = request.extensions().get::<Context>().cloned();
        self.0
            .send((context, request.headers().clone()))
            .expect("the test listens");
        ready(Ok(Status::ok("").into_http()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_of_a_call_arrives_and_its_metadata_stays_behind() {
    let world = World::new(&ETCD);
    let caller: SharedRegistry = world.process();
    let (heard, mut hears) = mpsc::unbounded_channel();
    world.add("a", Routes::new(Listening(heard))).await;
    caller.wait_for(SERVICE).await;
    let context = Context {
        caller: Caller::User(UserId::new("张三").unwrap()),
        operation_id: "an operation 手机".to_owned(),
        connection_id: "c-1".to_owned(),
        platform_id: 5,
    };
    for sent in [Some(context.clone()), Some(context.as_internal()), None] {
        let mut request = question();
        // A forgery from outside is replaced or removed.
        request
            .headers_mut()
            .insert("magpie-context-bin", "CAMSA2JvYg".parse().unwrap());
        request.extensions_mut().clear();
        if let Some(context) = &sent {
            request.extensions_mut().insert(context.clone());
        }
        ask(&caller.channel(SERVICE), request).await.unwrap();
        let (context, headers) = hears.recv().await.unwrap();
        assert_eq!(context, sent);
        assert!(
            !headers.keys().any(|k| k.as_str().starts_with("magpie-")),
            "{headers:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_outside_the_cluster_is_let_in() {
    let world = World::new(&ETCD);
    let address = world.add("a", Who::routes("a")).await;
    let outside = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut outside = outside.connect().await.unwrap();
    let forged = "eyJhbGciOiJub25lIn0.eyJhdWQiOiJtYWdwaWUuaW50ZXJuYWwiLCJleHAiOjk5OTk5OTk5OTl9.";
    for proof in [None, Some("x"), Some(forged)] {
        let mut request = question();
        *request.uri_mut() = format!("http://{address}/test.Who/Ask").parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("magpie-wire", "1".parse().unwrap());
        headers.insert("magpie-context-bin", "EAM".parse().unwrap());
        if let Some(proof) = proof {
            headers.insert("magpie-proof", proof.parse().unwrap());
        }
        let answer = outside.ready().await.unwrap().call(request).await.unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
}
