//! A cluster whose every process is one instance of one service.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::ExitStatus;

use anyhow::Context as _;
use tokio::process::Command;

use super::engines::Namespace;
use super::process::{self, Process, Spec};
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
        let owned = tempfile::Builder::new().prefix("magpie-test-").tempdir()?;
        process::refused(&with_env(service, env, owned.path()).await?).await
    }

    /// The same of a process that waits for an engine, and is asked to end as soon as its log has these words.
    ///
    /// # Errors
    /// It ends before, or doesn't end in time, or is killed.
    pub async fn ended_while(
        service: &'static str,
        env: &[(&str, &str)],
        words: &str,
    ) -> anyhow::Result<(i32, String)> {
        let owned = tempfile::Builder::new().prefix("magpie-test-").tempdir()?;
        let spec = with_env(service, env, owned.path()).await?;
        process::ended_while(&spec, words).await
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

    /// Waits for the end of one process.
    ///
    /// # Errors
    /// It has ended already, or doesn't end in time.
    pub async fn ended_one(&mut self, at: usize) -> anyhow::Result<ExitStatus> {
        self.process(at)?.ended().await
    }

    /// Sends a signal to one process.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal_one(&mut self, at: usize, signal: i32) -> anyhow::Result<()> {
        self.process(at)?.signal(signal)
    }

    /// Starts one process again, which must not come up: its exit code and all it has ever said.
    ///
    /// # Errors
    /// It does come up, or is killed.
    pub async fn refused_one(&mut self, at: usize) -> anyhow::Result<(i32, String)> {
        process::refused(&self.process(at)?.spec).await
    }

    /// Sets a variable for all processes that are started from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        for process in &mut self.0.processes {
            process.spec.env.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Starts one process again with another variable.
    ///
    /// # Errors
    /// It isn't ready in time.
    pub async fn restart_with(&mut self, at: usize, name: &str, value: &str) -> anyhow::Result<()> {
        let process = self.process(at)?;
        process.spec.env.push((name.to_owned(), value.to_owned()));
        process.restart().await
    }

    /// `magpie admin` with these arguments and what the processes are told by their environment.
    ///
    /// # Errors
    /// There is no binary.
    pub fn admin_command(&mut self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = process::clean_command(&self.process(0)?.spec)?;
        command.arg("admin").args(args);
        Ok(command)
    }

    /// Starts one process again, at once if it still runs.
    ///
    /// # Errors
    /// It isn't ready in time.
    pub async fn restart_one(&mut self, at: usize) -> anyhow::Result<()> {
        self.process(at)?.restart().await
    }
}

/// A process that is started alone, in a namespace of its own.
async fn with_env(
    service: &'static str,
    env: &[(&str, &str)],
    place: &Path,
) -> anyhow::Result<Spec> {
    let engines = tokio::task::spawn_blocking(Engines::shared).await?;
    let namespace = Namespace::new(engines);
    let log = place.join("process.log");
    let mut spec = spec(&Options::default(), service, place, Some(&namespace), log);
    let env = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    spec.env.extend(env);
    Ok(spec)
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
