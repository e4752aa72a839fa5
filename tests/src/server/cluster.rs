//! A cluster whose every process is one instance of one service.

use std::ops::{Deref, DerefMut};
use std::process::ExitStatus;

use anyhow::Context as _;

use super::engines::Namespace;
use super::process::{self, Process};
use super::{Engines, Options, Server, spec};

/// Every service, in the order in which a rolling update takes them.
const SERVICES: [&str; 12] = [
    "auth",
    "user",
    "friend",
    "group",
    "conversation",
    "third",
    "rtc-signaling",
    "msg",
    "transfer",
    "push",
    "api",
    "gateway",
];

/// Runs on real engines, whatever the environment chooses; what a [`Server`] can do it can do.
#[derive(Debug)]
pub struct Cluster(Server);

impl Cluster {
    /// Starts two instances of every service, and so many gateways, on shared engines.
    ///
    /// # Panics
    /// One doesn't become ready.
    pub async fn start(gateways: usize) -> Self {
        let engines = tokio::task::spawn_blocking(Engines::shared).await;
        let engines = engines.expect("the engines start");
        Self::start_on(engines, gateways, Options::default()).await
    }

    /// The same on these engines.
    ///
    /// # Panics
    /// One doesn't become ready.
    pub async fn start_on(engines: Engines, gateways: usize, options: Options) -> Self {
        let count = |service| if service == "gateway" { gateways } else { 2 };
        let commands: Vec<_> = SERVICES
            .into_iter()
            .flat_map(|service| std::iter::repeat_n(service, count(service)))
            .collect();
        let server = Server::launch(options, Some(engines), &commands).await;
        Self(server.expect("every process starts"))
    }

    /// A process of a service with these variables over those of the harness, which must not come up: its exit code and all it says.
    ///
    /// # Errors
    /// It does come up, or is killed.
    pub async fn refused(
        service: &'static str,
        env: &[(&str, &str)],
    ) -> anyhow::Result<(i32, String)> {
        let engines = tokio::task::spawn_blocking(Engines::shared).await?;
        let owned = tempfile::Builder::new().prefix("magpie-test-").tempdir()?;
        let log = owned.path().join("process.log");
        let namespace = Namespace::new(engines);
        let mut spec = spec(
            &Options::default(),
            service,
            owned.path(),
            Some(&namespace),
            log,
        );
        let env = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        spec.env.extend(env);
        process::refused(&spec).await
    }

    /// How many processes there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.processes.len()
    }

    /// Which service a process runs.
    #[must_use]
    pub fn service(&self, at: usize) -> &'static str {
        self.0.processes.get(at).map_or("", |p| p.spec.command)
    }

    /// `ws://…` of every gateway but this process.
    #[must_use]
    pub fn ws_urls_without(&self, at: usize) -> Vec<String> {
        let others = self.0.processes.iter().enumerate();
        let others = others.filter(|(n, _)| *n != at);
        others.filter_map(|(_, p)| p.ready.ws.clone()).collect()
    }

    fn process(&mut self, at: usize) -> anyhow::Result<&mut Process> {
        self.0.processes.get_mut(at).context("no such process")
    }

    /// Asks one process to drain and waits for its end.
    ///
    /// # Errors
    /// It has ended already, or doesn't end in time.
    pub async fn terminate_one(&mut self, at: usize) -> anyhow::Result<ExitStatus> {
        let process = self.process(at)?;
        process.signal(libc::SIGTERM)?;
        process.ended().await
    }

    /// Starts one process again, at once if it still runs.
    ///
    /// # Errors
    /// It isn't ready in time.
    pub async fn restart_one(&mut self, at: usize) -> anyhow::Result<()> {
        self.process(at)?.restart().await
    }
}

impl Deref for Cluster {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}
