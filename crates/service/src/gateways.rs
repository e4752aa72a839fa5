//! Asking gateways, all at once: each knows its own connections alone.

use std::time::Duration;

use magpie_discovery::{Channel, name};
use tonic::{Response, Status};

use crate::Deps;

/// The answers of those registered gateways that `among` chooses. One that fails or takes longer than `limit` is logged and left out.
pub async fn ask<T, F>(
    deps: &Deps,
    limit: Duration,
    among: impl Fn(&str) -> bool,
    call: impl Fn(Channel) -> F,
) -> Vec<T>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut gateways = deps.registry.instances(name::GATEWAY);
    gateways.retain(|(instance, _)| among(instance));
    let asked = gateways.into_iter().map(|(instance, channel)| {
        let answer = tokio::time::timeout(limit, call(channel));
        async move {
            match answer.await {
                Ok(Ok(answer)) => return Some(answer.into_inner()),
                Ok(Err(status)) => {
                    tracing::warn!(%instance, error = status.message(), "a gateway gave no answer");
                }
                Err(_) => tracing::warn!(%instance, "a gateway gave no answer in time"),
            }
            None
        }
    });
    let answers = futures::future::join_all(asked).await;
    answers.into_iter().flatten().collect()
}
