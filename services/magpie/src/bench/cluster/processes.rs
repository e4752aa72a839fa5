//! The processes of a cluster under measurement, and what can be read of them and of the engines from outside.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use futures::future::{join_all, try_join_all};
use magpie_discovery::name;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::super::server::{self, Metrics};
use crate::{
    admin::{Access, Api},
    cli,
    process::services::ALL,
};

/// Longest wait for a process to be ready, or for the partitions to be shared.
const START: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

/// Where a cluster is alone on shared engines, and what its processes have in common.
pub(super) struct Namespace {
    environment: Vec<(&'static str, String)>,
    secret_file: PathBuf,
    /// Name and process id.
    engines: Vec<(String, u32)>,
}

impl Namespace {
    pub(super) fn new(
        place: &Path,
        engines: &[(String, u32)],
        partitions: u32,
    ) -> anyhow::Result<Self> {
        let name = format!("bench{:08x}", rand::random::<u32>());
        let secret = || hex::encode(rand::random::<[u8; 32]>());
        let secret_file = place.join("secret");
        fs::write(&secret_file, secret()).context("the secret can't be written")?;
        let environment = vec![
            ("MAGPIE_CLUSTER_SECRET", secret()),
            ("MAGPIE_ETCD_PREFIX", format!("/{name}/services")),
            ("MAGPIE_KAFKA_PREFIX", format!("{name}-")),
            ("MAGPIE_KAFKA_PARTITIONS", partitions.to_string()),
            ("MAGPIE_KAFKA_REPLICATION", "1".to_owned()),
            ("MAGPIE_MONGO_DATABASE", name.clone()),
            ("MAGPIE_REDIS_PREFIX", name),
            ("MAGPIE_TELEMETRY_LOG_FILTER", "error".to_owned()),
        ];
        Ok(Self {
            environment,
            secret_file,
            engines: engines.to_vec(),
        })
    }
}

struct Process {
    service: &'static str,
    pid: u32,
    /// Its line of JSON: where it listens.
    ready: Value,
    child: Child,
}

impl Process {
    fn address(&self, port: &str) -> String {
        self.ready[port].as_str().unwrap_or_default().to_owned()
    }
}

/// See the module. Its processes end with it.
pub(super) struct Cluster {
    namespace: Namespace,
    processes: Vec<Process>,
}

impl Cluster {
    /// Starts `copies` of each service.
    pub(super) async fn start(
        namespace: Namespace,
        copies: impl Fn(&str) -> usize,
    ) -> anyhow::Result<Self> {
        let all = ALL
            .into_iter()
            .flat_map(|service| std::iter::repeat_n(service, copies(service)));
        let processes = try_join_all(all.map(|service| spawn(&namespace, service))).await?;
        Ok(Self {
            namespace,
            processes,
        })
    }

    /// One more process of a service.
    pub(super) async fn add(&mut self, service: &'static str) -> anyhow::Result<()> {
        self.processes.push(spawn(&self.namespace, service).await?);
        Ok(())
    }

    /// SIGKILL to the first process of a service.
    pub(super) async fn kill(&mut self, service: &str) -> anyhow::Result<()> {
        let at = self.processes.iter().position(|p| p.service == service);
        let mut process = self.processes.remove(at.context("none is left")?);
        process.child.kill().await.context("it can't be killed")
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let ends = self.processes.iter_mut().map(|p| p.child.kill());
        let ends: Result<Vec<()>, _> = join_all(ends).await.into_iter().collect();
        ends.map(drop).context("a process can't be killed")
    }

    fn of(&self, service: &str) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |p| p.service == service)
    }

    pub(super) fn count(&self, service: &str) -> usize {
        self.of(service).count()
    }

    /// Where the processes of a service listen: `ws`, `api`, `ops`.
    pub(super) fn addresses(&self, service: &str, port: &str) -> Vec<String> {
        self.of(service).map(|p| p.address(port)).collect()
    }

    /// A client of the REST API with the administrator's token.
    pub(super) async fn log_in(&self) -> anyhow::Result<Api> {
        let access = Access::of(&cli::Server {
            api: self.addresses(name::API, "api").into_iter().next(),
            config: None,
            data_dir: None,
            secret_file: Some(self.namespace.secret_file.display().to_string()),
        })
        .map_err(|e| anyhow!("{e:?}"))?;
        access.log_in().await
    }

    /// Metrics of all processes of a service, added up.
    pub(super) async fn metrics(&self, service: &str) -> anyhow::Result<Metrics> {
        let mut sum = Metrics::default();
        for ops in self.addresses(service, "ops") {
            sum.add(Metrics::of(&ops).await?);
        }
        Ok(sum)
    }

    /// Returns when the consumers own the same number of partitions, give or take one.
    pub(super) async fn shared_evenly(&self, partitions: u32) -> anyhow::Result<()> {
        for (service, topic) in [(name::TRANSFER, "inbound"), (name::PUSH, "stored")] {
            let name = format!("magpie_log_partitions_owned{{topic=\"{topic}\"}}");
            let share = f64::from(partitions) / self.count(service) as f64;
            let wait = async {
                loop {
                    let mut owned = Vec::new();
                    for ops in self.addresses(service, "ops") {
                        owned.push(Metrics::of(&ops).await?.get(&name));
                    }
                    let fair = owned.iter().all(|n| (n - share).abs() < 1.0);
                    if fair && owned.iter().sum::<f64>() == f64::from(partitions) {
                        return anyhow::Ok(());
                    }
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::time::timeout(START, wait)
                .await
                .with_context(|| format!("{service} does not share its partitions"))??;
        }
        Ok(())
    }

    /// Resident memory by service, the largest of its processes.
    pub(super) fn resident_mib(&self) -> anyhow::Result<BTreeMap<&'static str, f64>> {
        let mut all = BTreeMap::new();
        for process in &self.processes {
            let mib = server::resident_kib(process.pid)? / 1024.0;
            let largest: &mut f64 = all.entry(process.service).or_default();
            *largest = largest.max(mib);
        }
        Ok(all)
    }

    /// CPU time so far, in milliseconds.
    pub(super) fn used(&self) -> anyhow::Result<Used> {
        let mut services = BTreeMap::new();
        for process in &self.processes {
            *services.entry(process.service).or_default() += server::cpu_ms(process.pid)?;
        }
        let engines = self.namespace.engines.iter();
        let engines = engines.map(|(name, pid)| Ok((name.clone(), server::cpu_ms(*pid)?)));
        Ok(Used {
            services,
            engines: engines.collect::<anyhow::Result<_>>()?,
        })
    }
}

/// Milliseconds of CPU by service and by engine.
pub(super) struct Used {
    pub(super) services: BTreeMap<&'static str, f64>,
    pub(super) engines: BTreeMap<String, f64>,
}

impl Used {
    /// What was added since `earlier`, per message.
    pub(super) fn since(mut self, earlier: &Self, messages: usize) -> Self {
        for (service, ms) in &mut self.services {
            let before = earlier.services.get(service).copied();
            *ms = (*ms - before.unwrap_or_default()) / messages as f64;
        }
        for (engine, ms) in &mut self.engines {
            let before = earlier.engines.get(engine).copied();
            *ms = (*ms - before.unwrap_or_default()) / messages as f64;
        }
        self
    }

    pub(super) fn sum<K>(of: &BTreeMap<K, f64>) -> f64 {
        of.values().sum()
    }
}

/// Starts a process and waits for its ready line.
async fn spawn(namespace: &Namespace, service: &'static str) -> anyhow::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([service, "--json", "--secret-file"]);
    command.arg(&namespace.secret_file);
    let ports: &[&str] = match service {
        name::GATEWAY => &["ops", "ws"],
        name::API => &["ops", "api", "grpc"],
        _ => &["ops"],
    };
    for port in ports {
        command.args([&format!("--{port}-listen"), "127.0.0.1:0"]);
    }
    let environment = namespace.environment.iter().map(|(name, v)| (*name, v));
    let mut child = command
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().context("it ended at once")?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
    let Ok(line) = tokio::time::timeout(START, lines.next_line()).await else {
        bail!("{service} is not ready after {} s", START.as_secs());
    };
    let line = line?.with_context(|| format!("{service} did not start; it has said why above"))?;
    Ok(Process {
        service,
        pid,
        ready: serde_json::from_str(&line)?,
        child,
    })
}
