//! Figures of a cluster: one process per service on this machine, over the engines that the configuration names.
//!
//! Processes, engines and load generator share all cores, as nothing else is pinned. Each figure has a cluster of its own, in a
//! namespace that no other has used. [`processes`] starts, reads and kills; [`mod@recovery`] is the load that goes on through kills.

mod processes;
mod recovery;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use magpie_discovery::name;
use serde_json::Value;

use self::{
    processes::{Cluster, Namespace, Used},
    recovery::Talk,
};
use super::{
    chat::{Load, Outcome},
    group::Crowd,
    report::{Limit, Report, Share},
    server,
    suite::{self, BYTES, GROUP_RATE, PAIRS, SECONDS},
};
use crate::{cli::BenchCluster, output::say, process::services::ALL};

/// Partitions of the log's topics.
const PARTITIONS: u32 = 16;
/// Rate of the figures that are not the capacity, messages per second.
const RATE: u32 = 500;
/// Where the search for the capacity starts.
const FIRST: u32 = 1200;
/// Services whose instances share partitions: scaled together.
const SCALED: [&str; 3] = [name::MSG, name::TRANSFER, name::PUSH];
/// Time without any load before memory is read.
const IDLE: Duration = Duration::from_secs(30);
/// Gateways that share the members of a group.
const GATEWAYS: usize = 3;
/// Pairs of users that write while a process is killed.
const TALKERS: usize = 40;

/// Runs the figures that were asked for; writes and prints the report.
pub(super) async fn run(args: &BenchCluster) -> anyhow::Result<Value> {
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|o| o == name);
    let place = tempfile::tempdir().context("no folder for the secret")?;
    let disk = server::disk_sync_ms(place.path())?;
    let cores = std::thread::available_parallelism()?;
    let arrangement = format!(
        "all services, engines and load generator share {cores} cores; one process of each service unless said, {PARTITIONS} \
         partitions, one Kafka broker; else default configuration"
    );
    let mut report = Report::new("scripts/bench --cluster", &arrangement, disk, PAIRS, BYTES);
    let namespace = || Namespace::new(place.path(), &args.engines, PARTITIONS);
    if wanted("chat") {
        chat(namespace()?, &mut report).await?;
    }
    if wanted("group") {
        group(namespace()?, &mut report).await?;
    }
    if wanted("recovery") {
        recovery(namespace()?, &mut report).await?;
    }
    if wanted("growth") {
        growth(namespace()?, &mut report).await?;
    }
    report.write(args.json.as_deref(), args.markdown.as_deref())?;
    say(&report.table());
    Ok(Value::Null)
}

/// A load on a cluster, with first messages and caches behind it.
async fn load(cluster: &Cluster) -> anyhow::Result<Load> {
    let gateways = cluster.addresses(name::GATEWAY, "ws");
    let mut load = Load::connect(&cluster.log_in().await?, &gateways, PAIRS).await?;
    // The first message of a chat makes its records: one by one.
    load.run(50, 8, BYTES).await?;
    load.run(RATE, 6, BYTES).await?;
    load.quiet().await;
    Ok(load)
}

/// A run with what it took of whom, in milliseconds of CPU per message.
async fn measured(
    cluster: &Cluster,
    load: &mut Load,
    rate: u32,
    report: &mut Report,
) -> anyhow::Result<(Outcome, Used)> {
    let (transfer, push) = (
        cluster.metrics(name::TRANSFER).await?,
        cluster.metrics(name::PUSH).await?,
    );
    let before = cluster.used()?;
    let outcome = load.run(rate, SECONDS, BYTES).await?;
    let used = cluster.used()?.since(&before, outcome.sent);
    let (transfers, pushes) = (
        cluster.metrics(name::TRANSFER).await?,
        cluster.metrics(name::PUSH).await?,
    );
    let more = vec![
        ("engines' CPU ms", Used::sum(&used.engines)),
        ("instances", cluster.count(name::TRANSFER) as f64),
        (
            "batch: transfer",
            transfers.mean_since(&transfer, "magpie_transfer_batch_records"),
        ),
        (
            "batch: push",
            pushes.mean_since(&push, "magpie_push_batch_records"),
        ),
    ];
    report.run(&outcome, Used::sum(&used.services), more);
    if !outcome.is_clean() {
        load.quiet().await;
    }
    Ok((outcome, used))
}

/// Memory of idle processes, CPU and latency at a fixed rate, then the capacity.
async fn chat(namespace: Namespace, report: &mut Report) -> anyhow::Result<()> {
    say("a cluster of one process per service");
    let cluster = Cluster::start(namespace, |_| 1).await?;
    tokio::time::sleep(IDLE).await;
    let memory = cluster.resident_mib()?;
    let mut load = load(&cluster).await?;
    let (outcome, used) = measured(&cluster, &mut load, RATE, report).await?;
    let clean = outcome.is_clean();
    let services = used.services.iter().map(|(service, cpu)| Share {
        process: (*service).to_owned(),
        memory_mib: memory.get(service).copied(),
        cpu_ms_per_message: Some(*cpu),
    });
    let engines = used.engines.iter().map(|(engine, cpu)| Share {
        process: format!("{engine} (engine)"),
        memory_mib: None,
        cpu_ms_per_message: Some(*cpu),
    });
    report.shares(services.chain(engines).collect());
    report.figure(
        &format!("CPU of all Magpie processes per durable message at {RATE}/s, ms"),
        Used::sum(&used.services),
        Limit::AtMost(0.4),
        None,
        clean,
    );
    report.figure(
        &format!("p99 send → receive at {RATE}/s, ms"),
        outcome.delivery_p99_ms,
        Limit::AtMost(60.0),
        None,
        clean,
    );
    report.figure(
        "resident memory of the largest idle service, MiB",
        memory.values().copied().fold(0.0, f64::max),
        Limit::AtMost(40.0),
        None,
        true,
    );
    let capacity = suite::capacity(FIRST, async |rate| {
        Ok(measured(&cluster, &mut load, rate, report).await?.0)
    })
    .await?;
    report.figure(
        "capacity, messages/s",
        f64::from(capacity),
        Limit::AtLeast(1200.0),
        None,
        true,
    );
    cluster.stop().await
}

/// What gateways and push take per delivery in groups whose members are all online.
async fn group(namespace: Namespace, report: &mut Report) -> anyhow::Result<()> {
    say(&format!("groups over {GATEWAYS} gateways"));
    let copies = |service: &str| {
        if service == name::GATEWAY {
            GATEWAYS
        } else {
            1
        }
    };
    let cluster = Cluster::start(namespace, copies).await?;
    let (api, gateways) = (
        cluster.log_in().await?,
        cluster.addresses(name::GATEWAY, "ws"),
    );
    for members in [100, 1000] {
        let mut crowd = Crowd::connect(&api, &gateways, members).await?;
        crowd.run(GROUP_RATE, 4, BYTES).await?;
        let before = cluster.used()?;
        let outcome = crowd.run(GROUP_RATE, SECONDS, BYTES).await?;
        let used = cluster.used()?;
        let deliveries = usize::try_from(outcome.deliveries)?.max(1);
        let used = used.since(&before, deliveries);
        let of = |service| used.services.get(service).copied().unwrap_or_default() * 1000.0;
        let (gateway, push) = (of(name::GATEWAY), of(name::PUSH));
        say(&format!(
            "  {members} members: gateways {gateway:.2} µs, push {push:.2} µs a delivery, all services {:.2} µs, {outcome:?}",
            Used::sum(&used.services) * 1000.0
        ));
        report.figure(
            &format!(
                "CPU of {GATEWAYS} gateways and push per delivery, {members} members online, {GROUP_RATE} messages/s, µs"
            ),
            gateway + push,
            Limit::AtMost(15.0),
            None,
            outcome.clean,
        );
    }
    cluster.stop().await
}

/// How long one of two processes of each service is missed after kill -9. None is started again.
async fn recovery(namespace: Namespace, report: &mut Report) -> anyhow::Result<()> {
    say("kill -9 of one of two processes of each service");
    let mut cluster = Cluster::start(namespace, |_| 2).await?;
    let gateways = cluster.addresses(name::GATEWAY, "ws");
    let talk = Talk::start(&cluster.log_in().await?, &gateways, TALKERS).await?;
    let mut others = (0.0_f64, true);
    for service in ALL {
        talk.steady().await?;
        cluster.shared_evenly(PARTITIONS).await?;
        let killed = Instant::now();
        cluster.kill(service).await?;
        let (seconds, back) = talk.recovered(killed).await;
        say(&format!("  {service}: {seconds:.2} s"));
        let limit = match service {
            name::TRANSFER | name::PUSH => 10.0,
            name::GATEWAY | name::MSG => 3.0,
            _ => {
                others = (others.0.max(seconds), others.1 && back);
                continue;
            }
        };
        let name = format!("recovery after kill -9 of one of two {service} processes, s");
        report.figure(&name, seconds, Limit::AtMost(limit), None, back);
    }
    report.figure(
        "the same, slowest of the other services, s",
        others.0,
        Limit::AtMost(3.0),
        None,
        others.1,
    );
    cluster.stop().await
}

/// CPU per message at one rate over the same partitions, carried by ever more processes.
async fn growth(namespace: Namespace, report: &mut Report) -> anyhow::Result<()> {
    say("1, 2 and 4 processes of msg, transfer and push");
    let mut cluster = Cluster::start(namespace, |_| 1).await?;
    let mut load = load(&cluster).await?;
    let mut alone = None;
    for instances in [1, 2, 4] {
        for service in SCALED {
            while cluster.count(service) < instances {
                cluster.add(service).await?;
            }
        }
        cluster.shared_evenly(PARTITIONS).await?;
        load.run(RATE, 6, BYTES).await?;
        let (outcome, used) = measured(&cluster, &mut load, RATE, report).await?;
        let cpu = Used::sum(&used.services);
        let alone = *alone.get_or_insert(cpu);
        if instances > 1 {
            report.figure(
                &format!("CPU per message at {RATE}/s, {instances} msg, transfer and push against 1, ratio"),
                cpu / alone,
                Limit::AtMost(1.1),
                None,
                outcome.is_clean(),
            );
        }
    }
    cluster.stop().await
}
