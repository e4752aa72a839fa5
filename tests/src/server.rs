//! `magpie` processes under test.
//!
//! The binary is `$MAGPIE_BIN`, or the one in the target folder that the test itself was built into. Ports are chosen by the
//! server and read from its ready line. Of `MAGPIE_*` it gets only what the test sets. Logs go to files that are printed when
//! the test panics. Dropping a [`Server`] kills it and removes the data directory that was made for it.
//!
//! On real engines (see [`on_cluster`]) a [`Server`] is two processes that both have all services; clients and REST calls go to them
//! in turn, and what is done to the server is done to both. A [`Cluster`] has a process for each instance of each service.

mod cluster;
mod engines;
mod process;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use futures::future::{join_all, try_join_all};

pub use self::cluster::Cluster;
use self::engines::Namespace;
pub use self::engines::{Engines, needs_cluster, needs_embedded, on_cluster};
use self::process::{Process, Ready, Spec, shown, tail};
use crate::{Client, Handshake, Rest};

/// Names of the environment variables that tests set, in one place.
pub mod env {
    /// The secret that signs tokens.
    pub const SECRET: &str = "MAGPIE_SECRET";
    /// The multi-terminal policy: 0, 1, 4 or 5.
    pub const MULTI_LOGIN_POLICY: &str = "MAGPIE_AUTH_MULTI_LOGIN_POLICY";
    /// Whether only friends' single-chat messages are taken.
    pub const FRIEND_VERIFY: &str = "MAGPIE_MSG_FRIEND_VERIFY";
    /// Whether new members see what was written before they joined.
    pub const HISTORY_FOR_NEW_MEMBERS: &str = "MAGPIE_GROUP_HISTORY_FOR_NEW_MEMBERS";
}

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where embedded engines keep their data; `None`: a fresh temporary directory that goes away with the server.
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
    processes: Vec<Process>,
    secret: String,
    data_dir: PathBuf,
    turn: AtomicUsize,
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

    /// Starts a server on the engines that the environment chooses.
    ///
    /// # Errors
    /// The binary is missing, ends early, or isn't ready in time; the text holds the end of its log.
    pub async fn start_with(options: Options) -> anyhow::Result<Self> {
        if on_cluster() {
            let engines = tokio::task::spawn_blocking(Engines::shared).await?;
            Self::launch(options, Some(engines), &["up", "up"]).await
        } else {
            Self::launch(options, None, &["up"]).await
        }
    }

    /// Starts a process for each command, all at once; embedded without engines.
    async fn launch(
        options: Options,
        engines: Option<Engines>,
        commands: &[&'static str],
    ) -> anyhow::Result<Self> {
        let owned = tempfile::Builder::new().prefix("magpie-test-").tempdir()?;
        let data_dir = options
            .data_dir
            .clone()
            .unwrap_or_else(|| owned.path().join("data"));
        let namespace = engines.map(Namespace::new);
        let specs = commands.iter().enumerate().map(|(n, command)| {
            let log = owned.path().join(format!("{n}-{command}.log"));
            spec(&options, command, &data_dir, namespace.as_ref(), log)
        });
        Ok(Self {
            processes: try_join_all(specs.map(Process::start)).await?,
            secret: options.secret,
            data_dir,
            turn: AtomicUsize::new(0),
            _owned: owned,
        })
    }

    /// Starts an embedded server that must not come up: its exit code and everything it says on stderr.
    ///
    /// # Errors
    /// It does come up, or is killed.
    pub async fn refused(options: &Options, data_dir: &Path) -> anyhow::Result<(i32, String)> {
        let owned = tempfile::Builder::new().prefix("magpie-test-").tempdir()?;
        let log = owned.path().join("server.log");
        process::refused(&spec(options, "up", data_dir, None, log)).await
    }

    /// What processes that have it say of an address, in the order in which they were started.
    fn all(&self, of: impl Fn(&Ready) -> Option<&String>) -> Vec<&str> {
        let found = self.processes.iter().filter_map(|p| of(&p.ready));
        found.map(String::as_str).collect()
    }

    fn in_turn(&self, of: impl Fn(&Ready) -> Option<&String>) -> &str {
        let all = self.all(of);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        all.get(turn % all.len().max(1))
            .copied()
            .unwrap_or_default()
    }

    /// `ws://…` of a gateway, each in turn.
    #[must_use]
    pub fn ws_url(&self) -> &str {
        self.in_turn(|ready| ready.ws.as_ref())
    }

    /// `ws://…` of every gateway.
    #[must_use]
    pub fn ws_urls(&self) -> Vec<String> {
        let all = self.all(|ready| ready.ws.as_ref());
        all.into_iter().map(str::to_owned).collect()
    }

    /// `http://…` of the REST interface, each in turn.
    #[must_use]
    pub fn api_url(&self) -> &str {
        self.in_turn(|ready| ready.api.as_ref())
    }

    /// `http://…` of the gRPC services, each in turn.
    #[must_use]
    pub fn grpc_url(&self) -> &str {
        self.in_turn(|ready| ready.grpc.as_ref())
    }

    /// `http://…` of health and metrics of every process.
    #[must_use]
    pub fn ops_urls(&self) -> Vec<&str> {
        self.all(|ready| Some(&ready.ops))
    }

    /// User id of the administrator.
    #[must_use]
    pub fn admin_id(&self) -> &str {
        self.processes.first().map_or("", |p| &p.ready.admin)
    }

    /// The secret that signs tokens.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Where embedded engines keep their data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Everything that its processes have logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.processes.iter().map(Process::log).collect()
    }

    /// Ids of the processes that have not ended.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let all = self.processes.iter();
        all.filter_map(|process| process.child.id()).collect()
    }

    /// Whether a process has not ended.
    pub fn is_running(&mut self) -> bool {
        self.processes.iter_mut().any(Process::is_running)
    }

    /// A REST client without a token.
    #[must_use]
    pub fn anonymous(&self) -> Rest {
        Rest::new(&self.all(|ready| ready.api.as_ref()))
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
        Client::connect(self.ws_url(), &handshake).await
    }

    /// Ends every process at once, as a crash would.
    ///
    /// # Panics
    /// One can't be waited for.
    pub async fn kill(&mut self) {
        let killed = try_join_all(self.processes.iter_mut().map(|p| p.child.kill())).await;
        killed.expect("a process can be killed");
    }

    /// Asks every process to drain (SIGTERM) and waits for their end; answers the status of one that failed, if there is one.
    ///
    /// # Errors
    /// All have ended already, or one doesn't end in time.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.ended().await
    }

    /// Waits for the end of every process, as [`terminate`](Self::terminate) does.
    ///
    /// # Errors
    /// One doesn't end in time.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = try_join_all(self.processes.iter_mut().map(Process::ended)).await?;
        of_all(&ended)
    }

    /// Sends any signal to every process that has not ended.
    ///
    /// # Errors
    /// None is left.
    pub fn signal(&mut self, signal: i32) -> anyhow::Result<()> {
        let running = self.processes.iter_mut();
        let running: Vec<_> = running
            .filter_map(|p| p.is_running().then_some(p))
            .collect();
        anyhow::ensure!(!running.is_empty(), "the server has ended");
        running
            .iter()
            .try_for_each(|process| process.signal(signal))
    }

    /// Stops and starts every process, one after the other, as an update does; answers a status as
    /// [`terminate`](Self::terminate) does.
    ///
    /// # Errors
    /// One doesn't end or start in time.
    pub async fn roll(&mut self) -> anyhow::Result<ExitStatus> {
        let mut ended = Vec::new();
        for process in &mut self.processes {
            process.signal(libc::SIGTERM)?;
            ended.push(process.ended().await?);
            process.restart().await?;
        }
        of_all(&ended)
    }

    /// Starts again over the same data, after [`kill`](Self::kill) or [`terminate`](Self::terminate). Ports change.
    ///
    /// # Errors
    /// As [`start_with`](Self::start_with).
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let restarted = join_all(self.processes.iter_mut().map(Process::restart)).await;
        restarted.into_iter().collect()
    }
}

/// How a process is started.
fn spec(
    options: &Options,
    command: &'static str,
    data_dir: &Path,
    namespace: Option<&Namespace>,
    log: PathBuf,
) -> Spec {
    let own = match namespace {
        None => vec!["--data-dir".to_owned(), shown(data_dir)],
        Some(_) if command == "up" => vec!["--cluster".to_owned()],
        Some(_) => Vec::new(),
    };
    let cluster = namespace.map(Namespace::env).unwrap_or_default();
    let env = [(env::SECRET, options.secret.clone())].into_iter();
    let env = env
        .chain(cluster)
        .map(|(name, value)| (name.to_owned(), value));
    Spec {
        command,
        args: own.into_iter().chain(options.args.clone()).collect(),
        env: env.chain(options.env.clone()).collect(),
        log,
    }
}

/// A failure, if one of them failed.
fn of_all(ended: &[ExitStatus]) -> anyhow::Result<ExitStatus> {
    let failed = ended.iter().find(|status| !status.success());
    failed
        .or_else(|| ended.first())
        .copied()
        .context("no process")
}

impl Drop for Server {
    #[expect(
        clippy::print_stderr,
        reason = "the log of a failed test belongs to its output"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in &self.processes {
                let name = process.spec.log.file_stem().unwrap_or_default();
                let mut log = process.log();
                if self.processes.len() > 2 {
                    let problems = log.lines().filter(|line| !line.contains(" INFO "));
                    log = problems.collect::<Vec<_>>().join("\n");
                }
                eprintln!("--- log of {}\n{}", name.display(), tail(&log));
            }
        }
    }
}
