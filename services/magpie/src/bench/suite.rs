//! All figures of docs/benchmarks.md, one after the other, each on servers of its own with the default configuration.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::{
    chat::{Load, Outcome},
    client,
    group::Crowd,
    idle,
    large_group::Group,
    report::{Limit, Report},
    server::{self, Server},
    sync::{self, Device},
    users,
};
use crate::{cli::BenchSuite, output::say};

/// Pairs of users of the chat figures.
pub(super) const PAIRS: usize = 200;
/// Bytes of a message's content.
pub(super) const BYTES: usize = 128;
/// Length of a run that a figure is taken from, seconds.
pub(super) const SECONDS: u32 = 20;
/// Delivery at the 99th percentile that a capacity allows, milliseconds.
const CAPACITY_P99: f64 = 250.0;
/// The search for the capacity ends when it is known this closely.
const CAPACITY_STEP: f64 = 1.05;
/// Time for heartbeats and allocator before an idle figure is taken.
const IDLE: Duration = Duration::from_secs(60);
/// Messages per second in a group.
pub(super) const GROUP_RATE: u32 = 10;
/// Members of the group that the large one is compared with.
const SMALL_GROUP: usize = 1000;
/// How long a call is repeated whose CPU is measured.
const REPEATED: Duration = Duration::from_secs(5);
/// Conversations of the figure about a large store.
const CONVERSATIONS: usize = 1000;

/// Runs the figures that were asked for; writes and prints the report.
pub(super) async fn run(args: &BenchSuite) -> anyhow::Result<Value> {
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|o| o == name);
    let folder = tempfile_in(&args.dir)?;
    let place = folder.path();
    let disk = server::disk_sync_ms(place)?;
    let arrangement = format!(
        "server on core {} alone, load generator on another; default configuration",
        args.server_core
    );
    let mut report = Report::new("scripts/bench", &arrangement, disk, PAIRS, BYTES);
    if wanted("chat") {
        chat(&place.join("chat"), args, &mut report).await?;
    }
    if wanted("group") {
        group(&place.join("group"), args, &mut report).await?;
    }
    if wanted("sync") {
        sync(&place.join("sync"), args, &mut report).await?;
    }
    if wanted("users") {
        users(&place.join("users"), args, &mut report).await?;
    }
    if wanted("large-group") {
        large_group(&place.join("large-group"), args, &mut report).await?;
    }
    if wanted("start") {
        start(&place.join("start"), args, &mut report).await?;
    }
    if wanted("idle") {
        idle(&place.join("idle"), args, &mut report).await?;
    }
    if wanted("large") {
        large(&place.join("large"), args, &mut report).await?;
    }
    report.write(args.json.as_deref(), args.markdown.as_deref())?;
    say(&report.table());
    Ok(Value::Null)
}

fn tempfile_in(dir: &Path) -> anyhow::Result<tempfile::TempDir> {
    std::fs::create_dir_all(dir).with_context(|| format!("{} can't be made", dir.display()))?;
    tempfile::Builder::new()
        .prefix("magpie-bench-")
        .tempdir_in(dir)
        .context("no folder for the servers' data")
}

/// A run with what it took: CPU per message in milliseconds, batch sizes.
async fn measured(
    server: &Server,
    load: &mut Load,
    rate: u32,
    report: &mut Report,
) -> anyhow::Result<(Outcome, f64)> {
    let (metrics, cpu) = (server.metrics().await?, server.cpu_ms()?);
    let outcome = load.run(rate, SECONDS, BYTES).await?;
    let cpu = (server.cpu_ms()? - cpu) / outcome.sent as f64;
    let now = server.metrics().await?;
    let mean = |name| now.mean_since(&metrics, name);
    let more = vec![
        (
            "batch: log",
            mean(r#"magpie_log_sync_batch_records{topic="inbound"}"#),
        ),
        ("batch: transfer", mean("magpie_transfer_batch_records")),
        ("batch: store rows", mean("magpie_store_commit_rows")),
    ];
    report.run(&outcome, cpu, more);
    Ok((outcome, cpu))
}

/// CPU and latency at fixed rates, then the capacity, then latency near it.
async fn chat(dir: &Path, args: &BenchSuite, report: &mut Report) -> anyhow::Result<()> {
    say("one-to-one chat");
    let server = Server::start(dir, args.server_core).await?;
    let mut load = Load::connect(
        &server.log_in().await?,
        std::slice::from_ref(&server.ws),
        PAIRS,
    )
    .await?;
    load.run(500, 4, BYTES).await?;
    for (rate, cpu_limit, other_cpu, p99_limit, other_p99) in
        [(300, 0.2, 0.56, 5.0, 6.0), (2000, 0.1, 0.28, 10.0, 86.0)]
    {
        let (outcome, cpu) = measured(&server, &mut load, rate, report).await?;
        let clean = outcome.is_clean();
        report.figure(
            &format!("CPU per durable message at {rate}/s, ms"),
            cpu,
            Limit::AtMost(cpu_limit),
            Some(other_cpu),
            clean,
        );
        report.figure(
            &format!("p99 send → receive at {rate}/s, ms"),
            outcome.delivery_p99_ms,
            Limit::AtMost(p99_limit),
            Some(other_p99),
            clean,
        );
    }
    let capacity = capacity(4000, async |rate| {
        let (outcome, _) = measured(&server, &mut load, rate, report).await?;
        if !outcome.is_clean() {
            load.quiet().await;
        }
        Ok(outcome)
    })
    .await?;
    report.figure(
        "capacity, messages/s",
        f64::from(capacity),
        Limit::AtLeast(6000.0),
        Some(2000.0),
        true,
    );
    let (outcome, _) = measured(&server, &mut load, capacity * 7 / 10, report).await?;
    report.figure(
        "p99 send → receive at 70 % of capacity, ms",
        outcome.delivery_p99_ms,
        Limit::AtMost(30.0),
        Some(11.0),
        outcome.is_clean(),
    );
    server.stop().await
}

/// CPU per delivery in groups whose members are all online.
async fn group(dir: &Path, args: &BenchSuite, report: &mut Report) -> anyhow::Result<()> {
    say("groups");
    let server = Server::start(dir, args.server_core).await?;
    let api = server.log_in().await?;
    let gateways = std::slice::from_ref(&server.ws);
    for (members, other) in [(100, 41.0), (1000, 25.0)] {
        let mut crowd = Crowd::connect(&api, gateways, members).await?;
        crowd.run(GROUP_RATE, 4, BYTES).await?;
        let cpu = server.cpu_ms()?;
        let outcome = crowd.run(GROUP_RATE, SECONDS, BYTES).await?;
        let used = (server.cpu_ms()? - cpu) * 1000.0 / outcome.deliveries as f64;
        say(&format!(
            "  {members} members: {used:.2} µs a delivery, {outcome:?}"
        ));
        report.figure(
            &format!("CPU per delivery, {members} members online, {GROUP_RATE} messages/s, µs"),
            used,
            Limit::AtMost(10.0),
            Some(other),
            outcome.clean,
        );
    }
    server.stop().await
}

/// What a user with thousands of friends, groups and conversations costs when he logs in.
async fn sync(dir: &Path, args: &BenchSuite, report: &mut Report) -> anyhow::Result<()> {
    say("a user with much to synchronise");
    let server = Server::start(dir, args.server_core).await?;
    let api = server.log_in().await?;
    sync::populate(&api, &server).await?;
    let cpu = server.cpu_ms()?;
    let mut device = Device::log_in(&api, &server).await?;
    device.first_sync(&server).await?;
    let first = (server.cpu_ms()? - cpu) / 1000.0;
    report.figure(
        &format!(
            "login and first sync, {} friends, {} groups, {} conversations, s of CPU",
            sync::FRIENDS,
            sync::GROUPS,
            sync::CONVERSATIONS
        ),
        first,
        Limit::AtMost(2.0),
        None,
        true,
    );
    let unchanged = each(&server, async || device.unchanged().await).await?;
    report.figure(
        "friends, groups and conversations with equal versions, ms of CPU together",
        unchanged,
        Limit::AtMost(2.0),
        None,
        true,
    );
    let max_seqs = each(&server, async || device.max_seqs().await.map(drop)).await?;
    report.figure(
        &format!("1001 over {} conversations, ms of CPU", sync::CONVERSATIONS),
        max_seqs,
        Limit::AtMost(60.0),
        None,
        true,
    );
    for (first, known) in [(true, "without a version"), (false, "with equal versions")] {
        let members = each(&server, async || device.members(first).await).await?;
        report.figure(
            &format!(
                "members of {} groups {known}, µs of CPU per group",
                sync::GROUPS
            ),
            members * 1000.0 / sync::GROUPS as f64,
            Limit::AtMost(20.0),
            None,
            true,
        );
    }
    server.stop().await
}

/// Milliseconds of server CPU that `work` takes when it is done over and over for [`REPEATED`].
async fn each(
    server: &Server,
    mut work: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    work().await?;
    let (cpu, end) = (server.cpu_ms()?, Instant::now() + REPEATED);
    let mut times = 0_u32;
    while Instant::now() < end {
        work().await?;
        times += 1;
    }
    Ok((server.cpu_ms()? - cpu) / f64::from(times))
}

/// Profiles read as fast as the core answers.
async fn users(dir: &Path, args: &BenchSuite, report: &mut Report) -> anyhow::Result<()> {
    say("profiles");
    let server = Server::start(dir, args.server_core).await?;
    let (rate, seen) = users::rate(&server).await?;
    say(&format!(
        "  {rate:.0} requests per second of CPU; the load generator asked {seen:.0}/s"
    ));
    report.figure(
        "get_users_info of 10 users, requests per second of one core",
        rate,
        Limit::AtLeast(5000.0),
        None,
        true,
    );
    server.stop().await
}

/// Whether what a request waits for grows with its group.
async fn large_group(dir: &Path, args: &BenchSuite, report: &mut Report) -> anyhow::Result<()> {
    say("a small and a large group");
    let server = Server::start(dir, args.server_core).await?;
    let api = server.log_in().await?;
    let mut found = Vec::new();
    for members in [SMALL_GROUP, args.members] {
        let mut group = Group::fill(&api, &server, members).await?;
        let cpu = group.cpu_per_message(&server, GROUP_RATE, SECONDS).await?;
        let calls = group.calls().await?;
        let times = calls.iter().map(|(name, ms)| format!("{name} {ms:.2}"));
        let times: Vec<_> = times.collect();
        say(&format!(
            "  {members} members: {cpu:.3} ms of CPU per message; ms until the answer: {}",
            times.join(", ")
        ));
        found.push((cpu, calls));
    }
    let [(small_cpu, small), (large_cpu, large)] = found.as_slice() else {
        return server.stop().await;
    };
    for ((name, small), (_, large)) in small.iter().zip(large) {
        report.figure(
            &format!(
                "time of {name}, {} members against {SMALL_GROUP}, ratio",
                args.members
            ),
            large / small,
            Limit::AtMost(1.5),
            None,
            true,
        );
    }
    report.figure(
        "CPU per message, the same, nobody but the sender online, ratio",
        large_cpu / small_cpu,
        Limit::AtMost(1.5),
        None,
        true,
    );
    server.stop().await
}

/// The highest rate that a run of [`SECONDS`] keeps up with.
pub(super) async fn capacity(
    mut rate: u32,
    mut run: impl AsyncFnMut(u32) -> anyhow::Result<Outcome>,
) -> anyhow::Result<u32> {
    let (mut good, mut bad) = (0_u32, None::<u32>);
    loop {
        let outcome = run(rate).await?;
        if outcome.is_clean() && outcome.delivery_p99_ms < CAPACITY_P99 {
            good = rate;
        } else {
            bad = Some(rate);
        }
        rate = match bad {
            None => good * 3 / 2,
            Some(bad) if f64::from(bad) / f64::from(good.max(1)) < CAPACITY_STEP => {
                return Ok(good);
            }
            Some(bad) if good == 0 => bad / 2,
            Some(bad) => u32::midpoint(good, bad),
        };
        if rate < 50 {
            return Ok(good);
        }
    }
}

/// From the start of a process over existing data to the first acknowledged message, and its memory afterwards.
async fn start(dir: &Path, args: &BenchSuite, report: &mut Report) -> anyhow::Result<()> {
    say("start");
    let server = Server::start(dir, args.server_core).await?;
    let users = ["bench0".to_owned(), "bench1".to_owned()];
    let tokens = client::tokens(&server.log_in().await?, &users).await?;
    server.stop().await?;
    let started = Instant::now();
    let server = Server::start(dir, args.server_core).await?;
    let token = tokens.first().map(String::as_str).unwrap_or_default();
    let mut socket = client::connect(&server.ws, "bench0", token).await?;
    let text = r#"{"content":"first"}"#;
    let request = client::message("bench0", "bench1", "first", 0, text);
    socket.send(request).await?;
    while let Some(frame) = socket.next().await {
        let Message::Binary(bytes) = frame? else {
            continue;
        };
        if client::response(&bytes)?.msg_incr == "0" {
            break;
        }
    }
    let took = started.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let memory = server.resident_kib()? / 1024.0;
    say(&format!(
        "  first message after {took:.2} s, {memory:.0} MiB"
    ));
    report.figure(
        "start to first message accepted, s",
        took,
        Limit::AtMost(0.5),
        Some(0.5),
        true,
    );
    report.figure(
        "resident memory idle, MiB",
        memory,
        Limit::AtMost(40.0),
        Some(52.0),
        true,
    );
    server.stop().await
}

/// Memory and CPU of connections that only send heartbeats.
async fn idle(dir: &Path, args: &BenchSuite, report: &mut Report) -> anyhow::Result<()> {
    say(&format!("{} idle connections", args.connections));
    let server = Server::start(dir, args.server_core).await?;
    let tokens = idle::Tokens::issue(&server.log_in().await?, args.connections).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = server.resident_kib()?;
    let crowd = idle::Crowd::connect(&server.ws, &tokens).await?;
    say("  connected");
    tokio::time::sleep(IDLE).await;
    let growth = (server.resident_kib()? - before) / args.connections as f64;
    let cpu = server.cpu_ms()?;
    let watched = Instant::now();
    tokio::time::sleep(IDLE).await;
    let share = (server.cpu_ms()? - cpu) / (watched.elapsed().as_secs_f64() * 1000.0) * 100.0;
    let outcome = crowd.end();
    let whole = outcome.closed == 0 && outcome.unexpected == 0;
    say(&format!(
        "  {growth:.2} KiB a connection, {share:.2} % of a core, {outcome:?}"
    ));
    report.figure(
        &format!("memory per idle connection ({}), KiB", args.connections),
        growth,
        Limit::AtMost(6.0),
        Some(2.6),
        whole,
    );
    report.figure(
        &format!("CPU of {} idle connections, % of a core", args.connections),
        share,
        Limit::AtMost(1.5),
        Some(1.2),
        whole,
    );
    server.stop().await
}

/// CPU per message when the store is large against when it is small, checkpoints included.
async fn large(dir: &Path, args: &BenchSuite, report: &mut Report) -> anyhow::Result<()> {
    say("a large store");
    let server = Server::start(dir, args.server_core).await?;
    let mut load = Load::connect(
        &server.log_in().await?,
        std::slice::from_ref(&server.ws),
        CONVERSATIONS,
    )
    .await?;
    let mut cpu = Vec::new();
    let mut stored = 0;
    let mut clean = true;
    for target in [10_000, args.messages] {
        while stored < target {
            let seconds = ((target - stored) / args.fill_rate as usize).clamp(1, 60);
            let outcome = load
                .run(args.fill_rate, u32::try_from(seconds)?, BYTES)
                .await?;
            clean &= outcome.is_clean();
            stored += outcome.sent;
        }
        say(&format!("  {stored} messages stored"));
        let (outcome, used) = measured(&server, &mut load, 2000, report).await?;
        clean &= outcome.is_clean();
        stored += outcome.sent;
        cpu.push(used);
    }
    let ratio = match cpu.as_slice() {
        [small, large] => large / small,
        _ => f64::NAN,
    };
    report.figure(
        &format!(
            "CPU per message with {} stored against 10,000, ratio",
            args.messages
        ),
        ratio,
        Limit::AtMost(1.2),
        None,
        clean,
    );
    server.stop().await
}
