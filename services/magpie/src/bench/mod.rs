//! `magpie bench`: an open-loop load generator that checks every frame.
//!
//! It runs in its own process, so that the server's CPU can be read from outside. Messages are sent at intended times that do not
//! wait for answers; latency counts from the intended time. `scripts/bench` drives it and writes docs/benchmarks.md.

mod chat;
mod client;
mod idle;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{
    cli::{Bench, BenchCommand},
    output::{Failure, say},
};

/// Runs one measurement and prints its result as one line of JSON.
pub(crate) fn run(args: &Bench) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let result = runtime.block_on(async {
        let api = crate::admin::connect(&args.server).await?;
        match &args.command {
            BenchCommand::Chat(chat) => chat::run(&api, &args.ws, chat).await,
            BenchCommand::Idle(idle) => idle::run(&api, &args.ws, idle).await,
        }
    })?;
    say(&result.to_string());
    Ok(ExitCode::SUCCESS)
}
