//! Faults against a real cluster: two processes of every service over real etcd, Kafka, MongoDB protocol and Redis, clients on
//! the wire protocol, one nemesis after the other, and a checker. `scripts/faults --help`.
//!
//! - `world`: the cluster; `member`: one process of it. `magpie_tests::proxy`: in front of a dependency.
//! - `nemesis`: what is done to it. `device`, `incoming`, `identity`, `log`: clients and what they saw; `reader`: read positions.
//! - `crowd`, `line`: groups whose members come and go. `cast`: all users. `archive`: what is stored.
//! - `run`: a nemesis and the judgement. `table`: the sum.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

mod archive;
mod cast;
mod crowd;
mod device;
mod identity;
mod incoming;
mod line;
mod log;
mod member;
mod nemesis;
mod reader;
mod run;
mod table;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::cast::Size;
use crate::nemesis::Nemesis;
use crate::run::Run;
use crate::world::{Shape, World};

/// Breaks a real cluster in many ways under load and checks that nothing acknowledged is lost, doubled or reordered.
#[derive(Parser)]
struct Arguments {
    /// How long; every nemesis comes once before one comes again.
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// Stop after so many nemeses, whatever the time.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only these nemeses, separated by commas; a name that ends in * stands for all that begin so.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Messages per second, of all clients together.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Pairs of users who write to each other, with two devices each.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// Groups of 8, 12 and 20 users, with two devices each, of whom some come and go all the time.
    #[arg(long, default_value_t = 3)]
    groups: usize,
    /// The same seed gives the same sequence.
    #[arg(long)]
    seed: Option<u64>,
    /// Three Kafka brokers, of which one is killed.
    #[arg(long)]
    three_brokers: bool,
    /// The nemeses there are.
    #[arg(long)]
    list: bool,
    /// Go on after a broken promise.
    #[arg(long)]
    keep_going: bool,
    /// Where the processes log.
    #[arg(long, default_value = "target/faults")]
    logs: PathBuf,
    /// The program.
    #[arg(long, env = "MAGPIE_BIN")]
    binary: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match go(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("faults: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every promise was kept.
async fn go(arguments: Arguments) -> anyhow::Result<bool> {
    let mut shape = Shape {
        three_brokers: arguments.three_brokers,
        disks: false,
    };
    let nemeses = chosen(&arguments, shape)?;
    if arguments.list {
        nemeses.iter().for_each(|n| println!("{}", n.name()));
        return Ok(true);
    }
    shape.disks = nemeses.iter().any(|n| n.needs_disk());
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    drop(std::fs::remove_dir_all(&arguments.logs));
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.with_file_name("magpie"),
    };
    ensure!(
        binary.is_file(),
        "{} is missing: cargo build -p magpie-server",
        binary.display()
    );
    let world = Arc::new(World::start(shape, binary, &arguments.logs).await?);
    println!(
        "the cluster is ready; it logs to {}",
        arguments.logs.display()
    );
    let size = Size {
        pairs: arguments.pairs,
        groups: arguments.groups,
        rate: arguments.rate,
    };
    let mut run = Run::start(world, size).await?;
    run.warm_up().await?;
    let end = Instant::now() + Duration::from_secs_f64(arguments.minutes * 60.0);
    let mut rounds = Vec::new();
    let mut waiting: Vec<Nemesis> = Vec::new();
    while Instant::now() < end && arguments.rounds.is_none_or(|most| rounds.len() < most) {
        if waiting.is_empty() {
            waiting = nemeses.clone();
            waiting.shuffle(&mut chance);
        }
        let Some(nemesis) = waiting.pop() else { break };
        let round = run.round(nemesis, &mut chance).await?;
        println!("{}", round.line());
        for text in round
            .faults
            .iter()
            .map(ToString::to_string)
            .chain(round.missed.clone())
            .take(20)
        {
            println!("  {text}");
        }
        let stop = !round.is_right() && !arguments.keep_going;
        rounds.push(round);
        if stop {
            break;
        }
    }
    let last = run.finish().await?;
    last.iter()
        .for_each(|fault| println!("at the end: {fault}"));
    println!("\n{}", table::table(&rounds));
    Ok(last.is_empty() && rounds.iter().all(table::Round::is_right))
}

fn chosen(arguments: &Arguments, shape: Shape) -> anyhow::Result<Vec<Nemesis>> {
    let fits = |nemesis: &Nemesis| {
        let name = nemesis.name();
        let only = &arguments.only;
        only.is_empty()
            || only.iter().any(|wanted| match wanted.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == *wanted,
            })
    };
    let chosen: Vec<Nemesis> = Nemesis::all(shape).into_iter().filter(fits).collect();
    ensure!(
        !chosen.is_empty(),
        "there is no such nemesis; --list shows them"
    );
    Ok(chosen)
}
