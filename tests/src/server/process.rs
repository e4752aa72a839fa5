//! The process itself: which binary, with which arguments, and how it says that it is ready.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Options, env};

/// How long a server may take to print its ready line. Generous: debug build, busy machine.
pub(super) const START_BOUND: Duration = Duration::from_secs(60);
/// The line that the server prints when it accepts connections.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Ready {
    pub(super) event: String,
    pub(super) ws: String,
    pub(super) api: String,
    pub(super) ops: String,
    pub(super) grpc: String,
    pub(super) admin: String,
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

/// The command that starts a server: of `MAGPIE_*` it has only what the test sets, and its log goes to a file.
pub(super) fn command(options: &Options, data_dir: &Path, log: &Path) -> anyhow::Result<Command> {
    let stderr = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)?;
    let mut command = Command::new(binary()?);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MAGPIE_"))
    {
        command.env_remove(name);
    }
    command
        .arg("up")
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--ws-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"])
        .args(["--ops-listen", "127.0.0.1:0"])
        .args(["--grpc-listen", "127.0.0.1:0", "--json"])
        .args(&options.args)
        .env(env::SECRET, &options.secret)
        .envs(options.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .kill_on_drop(true);
    Ok(command)
}

pub(super) async fn spawn(
    options: &Options,
    data_dir: &Path,
    log: &Path,
) -> anyhow::Result<(Child, Ready)> {
    let mut child = command(options, data_dir, log)?.spawn()?;
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
        bail!("the server ended its output before it was ready")
    };
    let ready = match timeout(START_BOUND, waiting).await {
        Ok(Ok(ready)) => ready,
        outcome => {
            child.start_kill()?;
            let status = child.wait().await?;
            let logged = std::fs::read_to_string(log).unwrap_or_default();
            let why = outcome.map_or_else(|late| late.to_string(), |early| format!("{early:?}"));
            let code = status.code().or_else(|| status.signal());
            bail!("not ready ({why}, ended with {code:?}):\n{}", tail(&logged));
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, ready))
}

/// The last lines of a log.
pub(super) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines
        .get(lines.len().saturating_sub(120)..)
        .unwrap_or_default()
        .join("\n")
}
