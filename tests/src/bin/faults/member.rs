//! One process of the cluster, started again whenever it ends, as Kubernetes would.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Between the end of a process and its next start.
const PAUSE: Duration = Duration::from_secs(2);

/// Where a process that is ready can be reached.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Ready {
    pub(crate) ws: Option<String>,
    pub(crate) api: Option<String>,
    pub(crate) ops: String,
    pub(crate) admin: String,
}

/// What every process of the cluster is started with.
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) logs: PathBuf,
}

/// See the module. Dropping it kills the process.
pub(crate) struct Member {
    pub(crate) service: &'static str,
    pub(crate) name: String,
    shared: Arc<Shared>,
    keeper: tokio::task::JoinHandle<()>,
}

struct Shared {
    pid: Mutex<Option<u32>>,
    /// Further environment at the next start.
    extra: Mutex<Vec<(String, String)>>,
    ready: watch::Sender<Option<Ready>>,
    /// Ends that nobody asked for.
    crashes: Mutex<Vec<String>>,
    asked: Mutex<bool>,
}

impl Member {
    /// Starts the process and keeps it running.
    pub(crate) fn start(plan: &Arc<Plan>, service: &'static str, number: usize) -> Self {
        let name = format!("{service}-{number}");
        let shared = Arc::new(Shared {
            pid: Mutex::default(),
            extra: Mutex::default(),
            ready: watch::Sender::new(None),
            crashes: Mutex::default(),
            asked: Mutex::default(),
        });
        let keeper = tokio::spawn(keep(
            Arc::clone(plan),
            service,
            name.clone(),
            Arc::clone(&shared),
        ));
        Self {
            service,
            name,
            shared,
            keeper,
        }
    }

    /// Where it is, if it is ready.
    pub(crate) fn ready(&self) -> Option<Ready> {
        self.shared.ready.borrow().clone()
    }

    /// Waits until it is ready.
    pub(crate) async fn wait_ready(&self) {
        let mut ready = self.shared.ready.subscribe();
        // The sender lives as long as this.
        drop(ready.wait_for(Option::is_some).await);
    }

    /// kill -9; it is started again after a pause.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        *lock(&self.shared.asked) = true;
        let mut ready = self.shared.ready.subscribe();
        self.signal("KILL").await?;
        ready.wait_for(Option::is_none).await?;
        Ok(())
    }

    /// SIGTERM; it is started again when it has ended.
    pub(crate) async fn terminate(&self) -> anyhow::Result<()> {
        *lock(&self.shared.asked) = true;
        self.signal("TERM").await
    }

    /// Sends a signal.
    pub(crate) async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = lock(&self.shared.pid).with_context(|| format!("{} does not run", self.name))?;
        let status = Command::new("kill")
            .args(["-s", signal, &pid.to_string()])
            .status();
        anyhow::ensure!(status.await?.success(), "{signal} to {} failed", self.name);
        Ok(())
    }

    /// Sets what is added to its environment at the next start.
    pub(crate) fn set_extra(&self, extra: Vec<(String, String)>) {
        *lock(&self.shared.extra) = extra;
    }

    /// Ends that nobody asked for, since the last question.
    pub(crate) fn take_crashes(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared.crashes))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep(plan: Arc<Plan>, service: &'static str, name: String, shared: Arc<Shared>) {
    loop {
        let outcome = live(&plan, service, &name, &shared).await;
        *lock(&shared.pid) = None;
        let asked = std::mem::take(&mut *lock(&shared.asked));
        shared.ready.send_replace(None);
        if !asked {
            let how = outcome.map_or_else(|e| format!("{e:#}"), |status| status.to_string());
            lock(&shared.crashes).push(format!("{name} ended by itself: {how}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One life of the process.
async fn live(
    plan: &Plan,
    service: &str,
    name: &str,
    shared: &Shared,
) -> anyhow::Result<ExitStatus> {
    let mut child = command(plan, service, name, &lock(&shared.extra))?.spawn()?;
    *lock(&shared.pid) = child.id();
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        if let Ok(ready) = serde_json::from_str::<Ready>(&line) {
            shared.ready.send_replace(Some(ready));
        }
    }
    Ok(ended(&mut child).await?)
}

async fn ended(child: &mut Child) -> std::io::Result<ExitStatus> {
    child.wait().await
}

/// The kernel kills the process with this one (`PR_SET_PDEATHSIG`), however that ends.
fn command(
    plan: &Plan,
    service: &str,
    name: &str,
    extra: &[(String, String)],
) -> anyhow::Result<Command> {
    let log = |path: &Path| File::options().create(true).append(true).open(path);
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&plan.binary)
        .args([service, "--json"])
        .envs(plan.env.iter().chain(extra).map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log(&plan.logs.join(format!("{name}.log")))?)
        .kill_on_drop(true);
    for (variable, _) in std::env::vars_os() {
        let variable = variable.to_string_lossy().into_owned();
        if variable.starts_with("MAGPIE_") && !plan.env.iter().any(|(name, _)| *name == variable) {
            command.env_remove(variable);
        }
    }
    Ok(command)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
