//! How a process ends: the first signal drains, the second one or the deadline forces.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{Deps, health::Readiness};

/// The end of the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Between leaving (readiness fails, the registration ends) and ending connections, ms: balancers and the callers of other
    /// processes notice in this time, so that nobody sends a request into a connection that is about to be refused.
    pub notice_ms: u64,
    /// What is under way may take this long to finish, ms.
    pub deadline_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            notice_ms: 500,
            deadline_ms: 15_000,
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything was finished.
    Drained,
    /// The deadline passed or a second signal came; what was acknowledged is safe in the log all the same.
    Forced,
}

/// SIGTERM and Ctrl-C.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Returns at a signal, or when `deps.shutdown` is cancelled because a part of the process failed.
pub async fn stop_wanted(deps: &Deps, signals: &mut Signals) {
    tokio::select! {
        () = signals.next() => tracing::info!("stopping; a second signal forces"),
        () = deps.shutdown.cancelled() => tracing::warn!("stopping because a part of the process ended"),
    }
}

/// Takes this process out of the others' sight: readiness fails, `leave` deregisters it, so that nobody sends it more, and
/// others have the moment to notice, unless `shutdown` is cancelled before it is over.
pub async fn withdraw(
    readiness: &Readiness,
    config: &Config,
    shutdown: &CancellationToken,
    leave: impl Future<Output = ()>,
) {
    readiness.set(false);
    leave.await;
    let notice = tokio::time::sleep(Duration::from_millis(config.notice_ms));
    shutdown.run_until_cancelled(notice).await;
}

/// Ends everything in order: [`withdraw`], then `deps.shutdown`, then the tasks.
pub async fn drain(
    deps: &Deps,
    readiness: &Readiness,
    signals: &mut Signals,
    config: &Config,
    leave: impl Future<Output = ()>,
) -> End {
    let drain = async {
        withdraw(readiness, config, &deps.shutdown, leave).await;
        deps.shutdown.cancel();
        deps.tasks.close();
        deps.tasks.wait().await;
    };
    tokio::select! {
        () = drain => End::Drained,
        () = tokio::time::sleep(Duration::from_millis(config.deadline_ms + config.notice_ms)) => End::Forced,
        () = signals.next() => End::Forced,
    }
}
