//! `magpie bench`: an open-loop load generator that checks every frame, and the suite that fills docs/benchmarks.md.
//!
//! The generator runs in its own process, so that the server's CPU can be read from outside. Messages are sent at intended
//! times that do not wait for answers; latency counts from the intended time. [`chat`], [`group`], [`idle`], [`sync`], [`users`] and
//! [`mod@large_group`] are the loads, [`client`] and [`rest`] their connections; [`suite`] starts servers ([`server`]), runs the loads and judges the figures ([`report`]). [`cluster`] does
//! the same with one process per service.

mod chat;
mod client;
mod cluster;
mod group;
mod idle;
mod large_group;
mod report;
mod rest;
mod server;
mod suite;
mod sync;
mod users;

use std::{future::Future, process::ExitCode};

use anyhow::{Context as _, anyhow};
use magpie_service::run::Signals;
use serde_json::Value;

use crate::{
    admin::Access,
    cli::{Bench, BenchCommand},
    output::{Failure, say},
};

/// Runs one measurement and prints its result as one line of JSON, or the whole suite.
pub(crate) fn run(args: &Bench) -> Result<ExitCode, Failure> {
    let result = match &args.command {
        BenchCommand::Chat(chat) => {
            let access = Access::of(&chat.server)?;
            on_one_thread(async {
                let api = access.log_in().await?;
                let mut load =
                    chat::Load::connect(&api, std::slice::from_ref(&chat.ws), chat.pairs).await?;
                let outcome = load.run(chat.rate, chat.seconds, chat.bytes).await?;
                Ok(serde_json::to_value(outcome)?)
            })?
        }
        BenchCommand::Idle(idle) => {
            let access = Access::of(&idle.server)?;
            on_one_thread(async {
                let api = access.log_in().await?;
                let tokens = idle::Tokens::issue(&api, idle.connections).await?;
                let crowd = idle::Crowd::connect(&idle.ws, &tokens).await?;
                tokio::time::sleep(std::time::Duration::from_secs(idle.seconds)).await;
                Ok(serde_json::to_value(crowd.end())?)
            })?
        }
        BenchCommand::Suite(args) => on_one_thread(suite::run(args))?,
        BenchCommand::Cluster(args) => on_one_thread(cluster::run(args))?,
    };
    if let Value::Object(_) = &result {
        say(&result.to_string());
    }
    Ok(ExitCode::SUCCESS)
}

fn on_one_thread(work: impl Future<Output = anyhow::Result<Value>>) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut signals = Signals::listen()?;
        tokio::select! {
            result = work => result,
            // The processes under measurement end with what is dropped here.
            () = signals.next() => Err(anyhow!("stopped by a signal")),
        }
    })
}
