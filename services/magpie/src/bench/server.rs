//! The server under measurement: a `magpie up` of its own, pinned to one core, and what can be read of it from outside.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{
    admin::{self, Access, Api},
    cli,
};

/// Clock ticks of `/proc/PID/stat` per second; 100 on every Linux.
const TICKS: f64 = 100.0;
/// A server that takes less than this share of a core over such a time has settled.
const IDLE_SHARE: f64 = 0.05;
const WINDOW: Duration = Duration::from_secs(2);
/// Appends measured for the disk's sync time.
const SYNCS: usize = 500;

/// A running server and its data directory.
pub(super) struct Server {
    child: Child,
    pid: u32,
    pub(super) ws: String,
    api: String,
    ops: String,
    dir: PathBuf,
}

impl Server {
    /// Starts one over `dir` on core `core` and waits for its ready line.
    pub(super) async fn start(dir: &Path, core: usize) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = Command::new("taskset");
        command
            .args(["-c", &core.to_string()])
            .arg(program)
            .args(["up", "--json", "--data-dir"])
            .arg(dir);
        for port in ["ws", "api", "ops", "grpc"] {
            command.args([&format!("--{port}-listen"), "127.0.0.1:0"]);
        }
        let mut child = command
            .env("MAGPIE_TELEMETRY_LOG_FILTER", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("taskset (package util-linux) can't be started")?;
        let pid = child.id().context("the server ended at once")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let ready: Value = serde_json::from_str(&line.context("the server did not start")?)?;
        let url = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            child,
            pid,
            ws: url("ws"),
            api: url("api"),
            ops: url("ops"),
            dir: dir.to_owned(),
        })
    }

    /// A client of its REST API with the administrator's token.
    pub(super) async fn log_in(&self) -> anyhow::Result<Api> {
        let access = Access::of(&cli::Server {
            api: Some(self.api.clone()),
            config: None,
            data_dir: Some(self.dir.display().to_string()),
            secret_file: None,
        })
        .map_err(|e| anyhow!("{e:?}"))?;
        access.log_in().await
    }

    /// Where its REST API listens.
    pub(super) fn api(&self) -> &str {
        &self.api
    }

    /// Returns when it has nothing left to do.
    pub(super) async fn settled(&self) -> anyhow::Result<()> {
        loop {
            let cpu = self.cpu_ms()?;
            tokio::time::sleep(WINDOW).await;
            if self.cpu_ms()? - cpu < WINDOW.as_secs_f64() * 1000.0 * IDLE_SHARE {
                return Ok(());
            }
        }
    }

    /// Stops it as a signal does.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.pid.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await?;
        self.child.wait().await?;
        Ok(())
    }

    /// CPU time used so far, in milliseconds.
    pub(super) fn cpu_ms(&self) -> anyhow::Result<f64> {
        cpu_ms(self.pid)
    }

    /// Resident memory, in KiB.
    pub(super) fn resident_kib(&self) -> anyhow::Result<f64> {
        resident_kib(self.pid)
    }

    /// Sums and counts of its metrics so far.
    pub(super) async fn metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::of(&self.ops).await
    }
}

/// CPU time that a process has used so far, in milliseconds.
pub(super) fn cpu_ms(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok())
        .sum();
    Ok(ticks * 1000.0 / TICKS)
}

/// Resident memory of a process, in KiB.
pub(super) fn resident_kib(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|l| l.trim().trim_end_matches(" kB").parse().ok())
        .context("no VmRSS")
}

/// The numbers on `/metrics`.
#[derive(Default)]
pub(super) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Those of the operators' port `ops`.
    pub(super) async fn of(ops: &str) -> anyhow::Result<Self> {
        let text = admin::get(ops, "/metrics").await?;
        let value = |line: &str| -> Option<(String, f64)> {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(Self(text.lines().filter_map(value).collect()))
    }

    /// Adds those of another process.
    pub(super) fn add(&mut self, other: Self) {
        for (name, value) in other.0 {
            *self.0.entry(name).or_default() += value;
        }
    }

    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Mean of a histogram's values since `earlier`; `name` may end with labels in braces.
    pub(super) fn mean_since(&self, earlier: &Self, name: &str) -> f64 {
        let (base, labels) = name.split_at(name.find('{').unwrap_or(name.len()));
        let grown = |suffix: &str| {
            let name = format!("{base}{suffix}{labels}");
            self.get(&name) - earlier.get(&name)
        };
        grown("_sum") / grown("_count").max(1.0)
    }
}

/// Times of appending 4 KiB and syncing it, in milliseconds: median and 99th percentile.
pub(super) fn disk_sync_ms(dir: &Path) -> anyhow::Result<(f64, f64)> {
    let path = dir.join("sync-probe");
    let mut file = fs::File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    let at = |p: usize| {
        times
            .get(times.len() * p / 100)
            .map_or(0.0, Duration::as_secs_f64)
            * 1000.0
    };
    Ok((at(50), at(99)))
}
