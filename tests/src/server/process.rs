//! A process under test: which binary, with which arguments, and how it says that it is ready.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a process may take to print its ready line. Generous: debug build, busy machine.
pub(super) const START_BOUND: Duration = Duration::from_secs(60);
/// How long it may take to drain after SIGTERM.
const DRAIN_BOUND: Duration = Duration::from_secs(60);

/// What a process is started with.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// Its command: `up` or a service.
    pub(super) command: &'static str,
    /// Arguments besides those of every process.
    pub(super) args: Vec<String>,
    /// All it gets of `MAGPIE_*`, and more.
    pub(super) env: Vec<(String, String)>,
    /// Where its log goes.
    pub(super) log: PathBuf,
}

/// The line that a process prints when it accepts connections.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Ready {
    pub(super) event: String,
    pub(super) ws: Option<String>,
    pub(super) api: Option<String>,
    pub(super) grpc: Option<String>,
    pub(super) ops: String,
    pub(super) admin: String,
}

/// A running process, or one that has ended.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) spec: Spec,
    pub(super) ready: Ready,
    pub(super) child: Child,
}

impl Process {
    /// Starts it and waits until it is ready.
    pub(super) async fn start(spec: Spec) -> anyhow::Result<Self> {
        let (child, ready) = spawn(&spec).await?;
        Ok(Self { spec, ready, child })
    }

    /// Starts it again, at once if it still runs. Ports change.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        if self.is_running() {
            self.child.kill().await?;
        }
        (self.child, self.ready) = spawn(&self.spec).await?;
        Ok(())
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    pub(super) fn signal(&self, signal: i32) -> anyhow::Result<()> {
        let pid = self.child.id().context("the process has ended")?;
        kill(pid, signal)
    }

    pub(super) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = timeout(DRAIN_BOUND, self.child.wait()).await;
        Ok(ended
            .with_context(|| format!("`magpie {}` didn't end in time", self.spec.command))??)
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.spec.log).unwrap_or_default()
    }
}

fn kill(pid: u32, signal: i32) -> anyhow::Result<()> {
    let status = std::process::Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status()?;
    if !status.success() {
        bail!("signal {signal} was not delivered to {pid}");
    }
    Ok(())
}

/// Path of the binary under test.
fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("MAGPIE_BIN") {
        return Ok(PathBuf::from(path));
    }
    let test = std::env::current_exe()?;
    let folders = test.ancestors().skip(1).take(3);
    folders
        .map(|folder| folder.join("magpie"))
        .find(|path| path.is_file())
        .context("no magpie binary: build it with `cargo build -p magpie-server` or set MAGPIE_BIN")
}

/// The program with the environment of a process; of `MAGPIE_*` it has only what the test sets.
pub(super) fn clean_command(spec: &Spec) -> anyhow::Result<Command> {
    let mut command = Command::new(binary()?);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MAGPIE_"))
    {
        command.env_remove(name);
    }
    command
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// The command of a process; its log goes to a file.
pub(super) fn command(spec: &Spec) -> anyhow::Result<Command> {
    let stderr = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&spec.log)?;
    let mut command = clean_command(spec)?;
    command
        .arg(spec.command)
        .args(["--ws-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"])
        .args(["--ops-listen", "127.0.0.1:0"])
        .args(["--grpc-listen", "127.0.0.1:0", "--json"])
        .args(&spec.args)
        .stderr(stderr);
    Ok(command)
}

async fn spawn(spec: &Spec) -> anyhow::Result<(Child, Ready)> {
    let mut child = command(spec)?.spawn()?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let waiting = async {
        while let Some(line) = lines.next_line().await? {
            if let Ok(ready) = serde_json::from_str::<Ready>(&line)
                && ready.event == "ready"
            {
                return Ok(ready);
            }
        }
        bail!("the process ended its output before it was ready")
    };
    let ready = match timeout(START_BOUND, waiting).await {
        Ok(Ok(ready)) => ready,
        outcome => {
            child.start_kill()?;
            let status = child.wait().await?;
            let logged = std::fs::read_to_string(&spec.log).unwrap_or_default();
            let why = outcome.map_or_else(|late| late.to_string(), |early| format!("{early:?}"));
            let code = status.code().or_else(|| status.signal());
            bail!(
                "`magpie {}` is not ready ({why}, ended with {code:?}):\n{}",
                spec.command,
                tail(&logged)
            );
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, ready))
}

/// Starts a process that must not come up: its exit code and everything it says on stderr.
pub(super) async fn refused(spec: &Spec) -> anyhow::Result<(i32, String)> {
    let mut child = command(spec)?.spawn()?;
    let status = timeout(START_BOUND, child.wait())
        .await
        .context("the process goes on")??;
    let code = status.code().context("it ended by a signal")?;
    Ok((code, std::fs::read_to_string(&spec.log)?))
}

/// Starts a process that does not come up, asks it to end when its log has these words: its exit code and its log.
pub(super) async fn ended_while(spec: &Spec, words: &str) -> anyhow::Result<(i32, String)> {
    let mut child = command(spec)?.spawn()?;
    let pid = child.id().context("it runs")?;
    let said = async {
        while !std::fs::read_to_string(&spec.log)?.contains(words) {
            if let Some(status) = child.try_wait()? {
                bail!("it ended early: {status}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    timeout(START_BOUND, said)
        .await
        .with_context(|| format!("it never said {words:?}"))??;
    kill(pid, libc::SIGTERM)?;
    let status = timeout(DRAIN_BOUND, child.wait())
        .await
        .context("the process goes on")??;
    let code = status.code().context("it ended by a signal")?;
    Ok((code, std::fs::read_to_string(&spec.log)?))
}

/// The last lines of a log.
pub(super) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines
        .get(lines.len().saturating_sub(120)..)
        .unwrap_or_default()
        .join("\n")
}

/// A path as an argument.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
