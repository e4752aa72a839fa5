//! The `magpie` program: `up` runs everything in one process, `admin` talks to a running server, `config` shows what is set.
//!
//! Only this crate names engines. Exit codes: 0 done, 1 it failed while working, 2 the command line or configuration is wrong.

mod admin;
#[cfg(feature = "bench")]
mod bench;
mod cli;
mod config;
mod data;
mod help;
mod output;
#[cfg(feature = "embedded")]
mod up;

#[cfg(feature = "otlp")]
mod otlp;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

#[cfg(feature = "embedded")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        #[cfg(feature = "embedded")]
        Command::Up(args) => up::run(&args),
        #[cfg(not(feature = "embedded"))]
        Command::Up(_) => Err(output::Failure::Usage(
            "this build has no embedded engines (cargo feature `embedded`)".to_owned(),
        )),
        Command::Config(args) => config::command(&args),
        Command::Admin(args) => admin::run(&args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => bench::run(&args),
        Command::Service(words) => Err(help::no_command(&words)),
    };
    result.unwrap_or_else(|failure| failure.report())
}
