//! Many devices at once, on one life of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Device, Gauge, Habit, Life};
use crate::Server;
use crate::evidence::Evidence;

/// How long a state may take to come about.
const STATE_BOUND: Duration = Duration::from_secs(60);
/// Between two looks at a state.
const LOOK: Duration = Duration::from_millis(2);

/// Two devices of each of two users who write to each other: one resends, one abandons.
///
/// # Panics
/// The server refuses the users.
pub async fn pair(server: &Server, a: &str, b: &str) -> Vec<Device> {
    server.register(&[a, b]).await;
    let mut devices = Vec::new();
    for (user, peer) in [(a, b), (b, a)] {
        for (platform, habit) in [(5, Habit::Resend), (2, Habit::Abandon)] {
            let token = server.user_token(user, platform).await;
            devices.push(Device::new(user, platform, token, peer, habit));
        }
    }
    devices
}

/// Waits for a state.
///
/// # Panics
/// It doesn't come about.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(STATE_BOUND, wait).await.is_err() {
        panic!("{what} did not come about");
    }
}

/// Devices at work on one life of the server.
#[derive(Debug)]
pub struct Run {
    /// One gauge per device.
    pub gauges: Vec<Arc<Gauge>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<anyhow::Result<(Device, Life)>>>,
}

impl Run {
    /// Connects all devices, to the gateways in turn, and lets them send.
    #[must_use]
    pub fn start(ws_urls: &[String], devices: Vec<Device>, life: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut gauges = Vec::new();
        let mut tasks = Vec::new();
        for (mut device, url) in devices.into_iter().zip(ws_urls.iter().cycle()) {
            let gauge = Arc::new(Gauge::default());
            gauges.push(Arc::clone(&gauge));
            let (stop, url) = (Arc::clone(&stop), url.clone());
            tasks.push(tokio::spawn(async move {
                let life = device.live(&url, life, &stop, &gauge).await?;
                Ok((device, life))
            }));
        }
        Self {
            gauges,
            stop,
            tasks,
        }
    }

    /// Waits until every device has got a message that was sent in this life, and all together this many answers.
    ///
    /// # Panics
    /// That doesn't happen.
    pub async fn under_way(&self, answers: u64) {
        eventually("live pushes to every device and enough answers", || {
            let finished = self.tasks.iter().any(tokio::task::JoinHandle::is_finished);
            let answered: u64 = self.gauges.iter().map(|g| g.acknowledged()).sum();
            finished || (answered >= answers && self.gauges.iter().all(|g| g.live() > 0))
        })
        .await;
    }

    /// Lets the devices finish what is unanswered.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for all connections to end.
    ///
    /// # Panics
    /// A device could not connect or got no answer.
    pub async fn ended(self) -> (Vec<Device>, Vec<Life>) {
        let mut devices = Vec::new();
        let mut lives = Vec::new();
        for task in self.tasks {
            let (device, life) = task
                .await
                .expect("no device panics")
                .expect("every device connects and is answered");
            devices.push(device);
            lives.push(life);
        }
        (devices, lives)
    }
}

/// Ends a run: everything that was accepted is stored, and everybody has pulled everything.
///
/// # Panics
/// The server doesn't answer.
pub async fn settle(ws_urls: &[String], devices: &mut [Device], evidence: &mut Evidence) {
    for (device, url) in devices.iter_mut().zip(ws_urls.iter().cycle()) {
        let connection = device.finish(url).await;
        evidence
            .connections
            .push(connection.expect("the last message comes"));
    }
    evidence.pulls.clear();
    for (device, url) in devices.iter().zip(ws_urls.iter().cycle()) {
        let pull = device.pull(url).await;
        evidence.pulls.push(pull.expect("a pull"));
    }
}
