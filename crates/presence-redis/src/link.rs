//! Runs of scripts over a shared connection that heals itself.
//!
//! Every run has a deadline, the wait for a connection included. While Redis is away runs fail at once. A connection on which a
//! run failed is replaced, in the background. That to a cluster finds a node that comes back itself, but not always: where runs go
//! on failing, it is replaced too, and serves the other nodes until there is a new one.

use std::{
    ops::RangeInclusive,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use magpie_presence::PresenceError;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use crate::target::{Conn, Target};

/// First and longest pause between attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A run on a cluster that fails so long after another one that failed has the connection replaced.
const GOING_ON: RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(10);
/// Deadlines of a call that connecting to a cluster may take: it asks all nodes, and then where what is.
const CLUSTER_CONNECT: u32 = 3;

/// A script and the hash by which Redis knows it once it has run.
pub(crate) struct Code {
    source: &'static str,
    hash: String,
}

impl Code {
    pub(crate) fn new(source: &'static str) -> Self {
        let hash = Script::new(source).get_hash().to_owned();
        Self { source, hash }
    }
}

/// One run of a script. All its keys are of one bucket.
pub(crate) struct Run {
    pub(crate) code: &'static LazyLock<Code>,
    pub(crate) keys: Vec<String>,
    pub(crate) arguments: Vec<String>,
}

impl Run {
    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len());
        command.arg(&self.keys).arg(&self.arguments);
        command
    }
}

/// Why runs have no result.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// There is no connection; nothing was sent.
    NotSent(String),
    /// They may have had their effect, or may have it yet.
    Failed(String),
}

impl From<Failure> for PresenceError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(why) | Failure::Failed(why) => Self::Unavailable(why),
        }
    }
}

#[derive(Clone)]
enum State {
    /// For the first time, or after a connection broke: runs wait for it.
    Connecting,
    Up(u64, Conn),
    /// The last attempt failed, for this reason.
    Down(String),
}

/// See the module.
pub(crate) struct Link {
    state: Arc<watch::Sender<State>>,
    /// A connection to a cluster is to be replaced.
    stuck: Arc<Notify>,
    /// When the first of the runs on a cluster failed that failed of late.
    failing: Mutex<Option<Instant>>,
    deadline: Duration,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    pub(crate) fn new(target: Arc<Target>, deadline: Duration) -> Self {
        let state = Arc::new(watch::Sender::new(State::Connecting));
        let stuck = Arc::new(Notify::new());
        let task = keep(target, Arc::clone(&state), Arc::clone(&stuck), deadline);
        let task = tokio::spawn(task);
        Self {
            state,
            stuck,
            failing: Mutex::default(),
            deadline,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Returns once there is a connection.
    pub(crate) async fn ready(&self) {
        let mut state = self.state.subscribe();
        let up = state.wait_for(|s| matches!(s, State::Up(..))).await;
        drop(up);
    }

    /// Runs scripts in one round trip; each has its own result.
    pub(crate) async fn run(&self, runs: &[Run]) -> Result<Vec<RedisResult<Value>>, Failure> {
        let end = Instant::now() + self.deadline;
        let (number, conn) = self.connection(end).await?;
        let commands = |run: &Run| run.command("EVALSHA", &run.code.hash);
        let answer = async {
            let mut results = send(&conn, runs.iter().map(commands).collect()).await?;
            // Redis forgets scripts when it starts. Not more than one run per bucket is here, so the order does not matter.
            let unknown: Vec<usize> = (0..results.len())
                .filter(|n| results[*n].as_ref().is_err_and(is_no_script))
                .collect();
            if !unknown.is_empty() {
                let whole = |n: &usize| runs[*n].command("EVAL", runs[*n].code.source);
                let again = send(&conn, unknown.iter().map(whole).collect()).await?;
                for (n, result) in unknown.into_iter().zip(again) {
                    results[n] = result;
                }
            }
            Ok::<_, RedisError>(results)
        };
        let why = match timeout_at(end, answer).await {
            Ok(Ok(results)) => {
                let failed = |r: &RedisResult<Value>| r.as_ref().is_err_and(is_of_connection);
                if results.iter().any(failed) {
                    self.failed(number, &conn);
                }
                return Ok(results);
            }
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("no answer within {:?}", self.deadline),
        };
        self.failed(number, &conn);
        Err(Failure::Failed(why))
    }

    async fn connection(&self, end: Instant) -> Result<(u64, Conn), Failure> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|s| !matches!(s, State::Connecting));
        let not_sent = |why: &str| Failure::NotSent(why.to_owned());
        let state = match timeout_at(end, settled).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => return Err(not_sent("presence is closed")),
            Err(_) => return Err(not_sent("no connection yet")),
        };
        match state {
            State::Up(number, conn) => Ok((number, conn)),
            State::Down(why) => Err(Failure::NotSent(why)),
            State::Connecting => Err(not_sent("no connection yet")),
        }
    }

    /// Has a connection replaced on which a run failed.
    fn failed(&self, broken: u64, conn: &Conn) {
        if matches!(conn, Conn::Cluster(_)) {
            if self.goes_on_failing() {
                self.stuck.notify_one();
            }
            return;
        }
        self.state.send_if_modified(|state| {
            let current = matches!(state, State::Up(number, _) if *number == broken);
            if current {
                *state = State::Connecting;
            }
            current
        });
    }

    fn goes_on_failing(&self) -> bool {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.map(|since| since.elapsed());
        let goes_on = since.is_some_and(|since| GOING_ON.contains(&since));
        if goes_on {
            *failing = None;
        } else if since.is_none_or(|since| since > *GOING_ON.end()) {
            *failing = Some(Instant::now());
        }
        goes_on
    }
}

async fn send(conn: &Conn, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
    match conn {
        Conn::Single(conn) => {
            let mut pipeline = Pipeline::with_capacity(commands.len());
            for command in commands {
                pipeline.add_command(command);
            }
            let mut conn = conn.clone();
            pipeline.ignore_errors().query_async(&mut conn).await
        }
        // A pipeline must stay on one node; commands that are sent together share a round trip too.
        Conn::Cluster(conn) => {
            let one = |command: Cmd| {
                let mut conn = conn.clone();
                async move { command.query_async(&mut conn).await }
            };
            Ok(join_all(commands.into_iter().map(one)).await)
        }
    }
}

/// Connects, and connects again whenever the connection broke.
async fn keep(
    target: Arc<Target>,
    state: Arc<watch::Sender<State>>,
    stuck: Arc<Notify>,
    deadline: Duration,
) {
    let mut changes = state.subscribe();
    let mut number = 0;
    let mut pause = PAUSES.0;
    let limit = if target.is_cluster() {
        deadline * CLUSTER_CONNECT
    } else {
        deadline
    };
    loop {
        let why = match timeout(limit, target.connect()).await {
            Ok(Ok(conn)) => {
                number += 1;
                tracing::info!("connected to redis");
                state.send_replace(State::Up(number, conn));
                pause = PAUSES.0;
                loop {
                    tokio::select! {
                        broken = changes.wait_for(|s| matches!(s, State::Connecting)) => {
                            drop(broken);
                            break;
                        }
                        () = stuck.notified() => {}
                    }
                    if let Ok(Ok(conn)) = timeout(limit, target.connect()).await {
                        tracing::warn!("the connection to the redis cluster was replaced");
                        number += 1;
                        state.send_replace(State::Up(number, conn));
                    }
                }
                tracing::warn!("the connection to redis is replaced");
                continue;
            }
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("no connection within {limit:?}"),
        };
        state.send_modify(|state| {
            if !matches!(state, State::Down(_)) {
                tracing::warn!(error = why, "redis is away");
            }
            *state = State::Down(why);
        });
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// The node does not answer, or is a master that became a replica: another one is to be found.
fn is_of_connection(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        || error.is_io_error()
        || error.is_timeout()
}
