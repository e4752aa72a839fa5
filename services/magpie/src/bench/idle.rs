//! Idle connections: authenticated, heartbeating, doing nothing else.

use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::client;
use crate::{admin::Api, cli::BenchIdle, output::say};

/// How often a native client pings.
const HEARTBEAT: Duration = Duration::from_secs(24);

pub(super) async fn run(api: &Api, ws: &str, args: &BenchIdle) -> anyhow::Result<Value> {
    let users: Vec<String> = (0..args.connections).map(|i| format!("idle{i}")).collect();
    let tokens = client::tokens(api, &users).await?;
    say(&json!({ "event": "tokens", "count": tokens.len() }).to_string());
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let local = tokio::task::LocalSet::new();
    let mut tasks = Vec::with_capacity(users.len());
    let opened = Instant::now();
    local
        .run_until(async {
            for (i, (user, token)) in users.iter().zip(&tokens).enumerate() {
                let mut socket = client::connect(ws, user, token).await?;
                let first = HEARTBEAT * u32::try_from(i)? / u32::try_from(users.len())?;
                tasks.push(tokio::task::spawn_local(async move {
                    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + first, HEARTBEAT);
                    let mut pongs = 0_u64;
                    loop {
                        tokio::select! {
                            _ = beat.tick() => if socket.send(Message::Ping("1".into())).await.is_err() { return None },
                            frame = socket.next() => match frame {
                                Some(Ok(Message::Pong(_))) => pongs += 1,
                                Some(Ok(_)) => {}
                                _ => return None,
                            },
                            () = tokio::time::sleep_until(end.into()) => return Some(pongs),
                        }
                    }
                }));
            }
            say(&json!({ "event": "open", "count": tasks.len(), "seconds": opened.elapsed().as_secs_f64() }).to_string());
            let (mut alive, mut pongs) = (0_u64, 0_u64);
            for task in tasks {
                if let Some(count) = task.await? {
                    alive += 1;
                    pongs += count;
                }
            }
            anyhow::Ok(json!({ "connections": users.len(), "alive": alive, "pongs": pongs }))
        })
        .await
}
