//! The `magpie` program: `up` runs everything in one process, `gateway`, `msg` and so on run one service, `admin` talks to a running server, `config` shows what is set.
//!
//! Only this crate names engines. Exit codes: 0 done, 1 it failed while working, 2 the command line or configuration is wrong.

mod admin;
#[cfg(feature = "bench")]
mod bench;
mod cli;
mod config;
mod help;
mod output;
mod process;

#[cfg(feature = "otlp")]
mod otlp;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    output::Failure,
    process::{EngineSet, Plan},
};

#[cfg(feature = "embedded")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Up(args) => up(&args),
        Command::Config(args) => config::command(&args),
        Command::Admin(args) => admin::run(&args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => bench::run(&args),
        Command::Service(service) => one(&service),
        Command::Unknown(words) => Err(help::no_command(&words)),
    };
    result.unwrap_or_else(|failure| failure.report())
}

/// `magpie up`.
fn up(args: &cli::Up) -> Result<ExitCode, Failure> {
    let engines = if args.cluster {
        EngineSet::Cluster
    } else {
        EngineSet::Embedded
    };
    let plan = Plan {
        engines,
        services: process::services::ALL.to_vec(),
        json: args.json,
    };
    process::run(
        config::load(&args.settings, Some(&args.listen))?.config,
        &plan,
    )
}

/// `magpie <service>`.
fn one(service: &cli::Service) -> Result<ExitCode, Failure> {
    let (name, args) = service.parts();
    let plan = Plan {
        engines: EngineSet::Cluster,
        services: vec![name],
        json: args.json,
    };
    process::run(
        config::load(&args.settings, Some(&args.listen))?.config,
        &plan,
    )
}
