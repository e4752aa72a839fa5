//! What holds with a single instance.

use http_body_util::{BodyExt as _, Full};
use tonic::Code;

use super::*;

async fn run(cluster: &dyn Cluster, registry: &SharedRegistry) {
    cluster.start("a", Who::routes("a")).await;
    registry.wait_for(SERVICE).await;
}

/// A call to nobody is refused, and at once.
pub async fn a_service_without_instances_is_unavailable(cluster: &dyn Cluster) {
    let channel = cluster.registry().await.channel(SERVICE);
    let refused = ask(&channel, question()).await.expect_err("a refusal");
    assert_eq!(refused.code(), Code::Unavailable);
}

/// Channels resolve their service when they are used.
pub async fn a_channel_made_before_its_service_works_when_it_runs(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    let channel = registry.channel(SERVICE);
    assert!(ask(&channel, question()).await.is_err());
    run(cluster, &registry).await;
    assert_eq!(ask(&channel, question()).await.expect("an answer"), "a");
}

/// Whoever waits for a service can call it then.
pub async fn waiting_ends_when_the_service_runs(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    let wait = async {
        tokio::time::timeout(WAIT, registry.wait_for(SERVICE))
            .await
            .expect("the service in time");
        ask(&registry.channel(SERVICE), question()).await
    };
    let (who, ()) = tokio::join!(wait, cluster.start("a", Who::routes("a")));
    assert_eq!(who.expect("an answer"), "a");
    registry.wait_for(SERVICE).await;
}

/// Metadata and body arrive, and come back.
pub async fn requests_and_answers_pass_unchanged(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    run(cluster, &registry).await;
    let sent = Bytes::from(vec![7; 100_000]);
    let mut request = question().map(|_| Body::new(Full::new(sent.clone())));
    request
        .headers_mut()
        .insert("text", HeaderValue::from_static("hello"));
    let channel = registry.channel(SERVICE);
    let answer = channel.oneshot(request).await.expect("an answer");
    assert_eq!(answer.headers()["text"], "hello");
    let body = answer.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), sent);
}

/// What the service refuses comes back as it said it.
pub async fn a_refusal_is_passed_on(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    run(cluster, &registry).await;
    let mut request = question();
    *request.uri_mut() = http::Uri::from_static("/test.Who/Refuse");
    let refused = ask(&registry.channel(SERVICE), request).await;
    let refused = refused.expect_err("a refusal");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.message(), "not for you");
}

/// The instances are listed with a way to each.
pub async fn an_instance_has_a_direct_channel(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    run(cluster, &registry).await;
    let instances = registry.instances(SERVICE);
    assert_eq!(instances.len(), 1);
    assert_eq!(
        ask(&instances[0].1, question()).await.expect("an answer"),
        "a"
    );
}

/// A call with a route and leave to repeat is a call.
pub async fn hints_are_no_hindrance(cluster: &dyn Cluster) {
    let registry = cluster.registry().await;
    run(cluster, &registry).await;
    let channel = registry.channel(SERVICE);
    assert_eq!(ask(&channel, keyed(1)).await.expect("an answer"), "a");
    assert_eq!(ask(&channel, repeatable()).await.expect("an answer"), "a");
}
