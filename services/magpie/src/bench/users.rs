//! Profiles asked for as fast as one core answers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use serde_json::json;

use super::{client, rest::Rest, server::Server, suite::SECONDS};

/// Users of one request.
const ASKED: usize = 10;
/// Users that there are.
const USERS: usize = 2000;
/// Connections, each with one request under way.
const CONNECTIONS: usize = 32;
/// Requests before the clock starts.
const WARM: Duration = Duration::from_secs(3);

/// `get_users_info` requests answered per second of the server's CPU, and per second.
pub(super) async fn rate(server: &Server) -> anyhow::Result<(f64, f64)> {
    let users: Vec<String> = (0..USERS).map(|i| format!("asked{i}")).collect();
    let tokens = client::tokens(&server.log_in().await?, &users).await?;
    let requests: Vec<Bytes> = users
        .chunks(ASKED)
        .map(|ids| json!({ "userIDs": ids }).to_string().into())
        .collect();
    let mut clients = try_join_all(
        tokens
            .iter()
            .take(CONNECTIONS)
            .map(|t| Rest::connect(server.api(), t)),
    )
    .await?;
    answers(&mut clients, &requests, WARM).await?;
    let (cpu, started) = (server.cpu_ms()?, Instant::now());
    let answered = answers(&mut clients, &requests, Duration::from_secs(SECONDS.into())).await?;
    let seconds = started.elapsed().as_secs_f64();
    let busy = (server.cpu_ms()? - cpu) / 1000.0;
    Ok((answered as f64 / busy, answered as f64 / seconds))
}

async fn answers(
    clients: &mut [Rest],
    requests: &[Bytes],
    time: Duration,
) -> anyhow::Result<usize> {
    let end = Instant::now() + time;
    let calls = clients.iter_mut().enumerate().map(async |(start, client)| {
        let mut answered = 0;
        for request in requests.iter().cycle().skip(start * ASKED) {
            if Instant::now() >= end {
                break;
            }
            client.raw("/user/get_users_info", request.clone()).await?;
            answered += 1;
        }
        anyhow::Ok(answered)
    });
    Ok(try_join_all(calls).await?.into_iter().sum())
}
