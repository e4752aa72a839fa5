//! A `magpie up` process under test.
//!
//! The binary is `$MAGPIE_BIN`, or the one in the target folder that the test itself was built into. Ports are chosen by the
//! server and read from its ready line. Of `MAGPIE_*` it gets only what the test sets. Its log goes to a file that is printed when the test panics. Dropping a [`Server`]
//! kills the process and removes the data directory that was made for it.

mod process;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Child;
use tokio::time::timeout;

use self::process::{Ready, START_BOUND, command, spawn, tail};
use crate::{Client, Conn, Handshake, Rest};

/// Names of the environment variables that tests set, in one place.
pub mod env {
    /// The secret that signs tokens.
    pub const SECRET: &str = "MAGPIE_SECRET";
    /// The multi-terminal policy: 0, 1, 4 or 5.
    pub const MULTI_LOGIN_POLICY: &str = "MAGPIE_AUTH_MULTI_LOGIN_POLICY";
}

/// How long a server may take to drain after SIGTERM.
const DRAIN_BOUND: Duration = Duration::from_secs(60);

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it keeps its data; `None`: a fresh temporary directory that goes away with the server.
    pub data_dir: Option<PathBuf>,
    /// The secret in its environment.
    pub secret: String,
    /// Further environment.
    pub env: Vec<(String, String)>,
    /// Further arguments after those of the harness.
    pub args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dir: None,
            secret: "tests-only-secret-0123456789abcdef".to_owned(),
            env: Vec::new(),
            args: Vec::new(),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    ready: Ready,
    options: Options,
    data_dir: PathBuf,
    log: PathBuf,
    _owned: tempfile::TempDir,
}

impl Server {
    /// Starts a server with [`Options::default`].
    ///
    /// # Panics
    /// It doesn't become ready.
    pub async fn start() -> Self {
        Self::start_with(Options::default())
            .await
            .expect("the server starts")
    }

    /// Starts a server.
    ///
    /// # Errors
    /// The binary is missing, ends early, or isn't ready in time; the text holds the end of its log.
    pub async fn start_with(options: Options) -> anyhow::Result<Self> {
        let owned = tempfile::Builder::new().prefix("magpie-test-").tempdir()?;
        let data_dir = options
            .data_dir
            .clone()
            .unwrap_or_else(|| owned.path().join("data"));
        let log = owned.path().join("server.log");
        let (child, ready) = spawn(&options, &data_dir, &log).await?;
        Ok(Self {
            child,
            ready,
            options,
            data_dir,
            log,
            _owned: owned,
        })
    }

    /// Starts a server that must not come up: its exit code and everything it says on stderr.
    ///
    /// # Errors
    /// It does come up, or is killed.
    pub async fn refused(options: &Options, data_dir: &Path) -> anyhow::Result<(i32, String)> {
        let owned = tempfile::Builder::new().prefix("magpie-test-").tempdir()?;
        let log = owned.path().join("server.log");
        let mut child = command(options, data_dir, &log)?.spawn()?;
        let status = timeout(START_BOUND, child.wait())
            .await
            .context("the server goes on")??;
        let code = status.code().context("it ended by a signal")?;
        Ok((code, std::fs::read_to_string(&log)?))
    }

    /// `ws://…` of the gateway.
    #[must_use]
    pub fn ws_url(&self) -> &str {
        &self.ready.ws
    }

    /// `http://…` of the REST interface.
    #[must_use]
    pub fn api_url(&self) -> &str {
        &self.ready.api
    }

    /// `http://…` of health and metrics.
    #[must_use]
    pub fn ops_url(&self) -> &str {
        &self.ready.ops
    }

    /// `http://…` of the gRPC services.
    #[must_use]
    pub fn grpc_url(&self) -> &str {
        &self.ready.grpc
    }

    /// User id of the administrator.
    #[must_use]
    pub fn admin_id(&self) -> &str {
        &self.ready.admin
    }

    /// The secret that signs tokens.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.options.secret
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Process id, `None` once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether the process has not ended.
    ///
    /// # Panics
    /// Nobody can tell.
    pub fn is_running(&mut self) -> bool {
        let ended = self.child.try_wait().expect("the process can be asked");
        ended.is_none()
    }

    /// A REST client without a token.
    #[must_use]
    pub fn anonymous(&self) -> Rest {
        Rest::new(self.api_url())
    }

    /// A REST client with a fresh token of the administrator.
    ///
    /// # Panics
    /// The token is refused.
    pub async fn admin(&self) -> Rest {
        let body = serde_json::json!({"secret": self.secret(), "userID": self.admin_id()});
        let data = self.anonymous().data("/auth/get_admin_token", &body).await;
        self.anonymous()
            .with_token(data["token"].as_str().expect("a token"))
    }

    /// Registers users under their ids as nicknames.
    ///
    /// # Panics
    /// The server refuses.
    pub async fn register(&self, users: &[&str]) {
        let users: Vec<_> = users
            .iter()
            .map(|id| serde_json::json!({"userID": id, "nickname": id, "faceURL": ""}))
            .collect();
        self.admin()
            .await
            .data("/user/user_register", &serde_json::json!({"users": users}))
            .await;
    }

    /// A fresh token of a user.
    ///
    /// # Panics
    /// The server refuses.
    pub async fn user_token(&self, user: &str, platform: i32) -> String {
        let body = serde_json::json!({"userID": user, "platformID": platform});
        let data = self.admin().await.data("/auth/get_user_token", &body).await;
        data["token"].as_str().expect("a token").to_owned()
    }

    /// A REST client of a user.
    ///
    /// # Panics
    /// The server refuses the token.
    pub async fn user(&self, user: &str, platform: i32) -> Rest {
        self.anonymous()
            .with_token(&self.user_token(user, platform).await)
    }

    /// Connects a user with a fresh token, as the TypeScript SDK does.
    ///
    /// # Panics
    /// The handshake fails.
    pub async fn connect(&self, user: &str, platform: i32) -> Client {
        let token = self.user_token(user, platform).await;
        self.connect_with(Handshake::js(user, platform, &token))
            .await
            .expect("the handshake succeeds")
    }

    /// Connects with any handshake that asks for a codec.
    ///
    /// # Errors
    /// The handshake is refused, in either form.
    pub async fn connect_with(&self, handshake: Handshake) -> anyhow::Result<Client> {
        let conn = Conn::open(self.ws_url(), &handshake)
            .await?
            .map_err(|refused| anyhow::anyhow!("refused: {} {}", refused.status, refused.text()))?;
        Client::start(conn, &handshake).await
    }

    /// Ends the process at once, as a crash would.
    ///
    /// # Panics
    /// The process can't be waited for.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the process can be killed");
    }

    /// Asks the process to drain (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// It has ended already, or doesn't end in time.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.ended().await
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// It doesn't end in time.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(timeout(DRAIN_BOUND, self.child.wait())
            .await
            .context("the server didn't end in time")??)
    }

    /// Sends any signal to the process.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&self, signal: i32) -> anyhow::Result<()> {
        let pid = self.pid().context("the server has ended")?;
        let status = std::process::Command::new("kill")
            .args([format!("-{signal}"), pid.to_string()])
            .status()?;
        if !status.success() {
            bail!("signal {signal} was not delivered to {pid}");
        }
        Ok(())
    }

    /// Starts again over the same data, after [`kill`](Self::kill) or [`terminate`](Self::terminate). Ports change.
    ///
    /// # Errors
    /// As [`start_with`](Self::start_with).
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_none() {
            self.kill().await;
        }
        (self.child, self.ready) = spawn(&self.options, &self.data_dir, &self.log).await?;
        Ok(())
    }
}

impl Drop for Server {
    #[expect(
        clippy::print_stderr,
        reason = "the log of a failed test belongs to its output"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", tail(&self.log()));
        }
    }
}
