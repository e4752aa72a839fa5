//! Real etcd, Kafka, MongoDB-protocol and Redis servers for tests, one process each, that can be killed and started again.
//!
//! ```no_run
//! use magpie_testdeps::{Kind, Server};
//! let redis = Server::start(Kind::Redis);
//! println!("{}", redis.url());
//! redis.kill();
//! redis.restart(); // same port, same data
//! ```
//!
//! `scripts/deps` knows how they run; what is missing is got by `scripts/deps install`. Starting Kafka takes seconds, so the tests
//! of a binary that do no harm to it share one server, each in a namespace of its own (topic, database, prefix):
//!
//! ```no_run
//! # use std::sync::LazyLock;
//! # use magpie_testdeps::{Kind, Server};
//! static KAFKA: LazyLock<Server> = LazyLock::new(|| Server::start(Kind::Kafka));
//! ```
//!
//! A server never outlives the test process, however that ends. All calls block until they are done; an async test that
//! must go on meanwhile clones the [`Server`] into `spawn_blocking`. Used by tests only, so failures panic and say what to do.

mod certificates;
mod place;
mod process;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use certificates::certificates;
use place::Place;
use process::Process;

/// The servers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One member.
    Etcd,
    /// One broker, which is its own controller. No topic is created by itself.
    Kafka,
    /// A MongoDB-protocol server (`SecantusDB`) whose answered writes survive a kill.
    Mongo,
    /// With an append-only file, synchronised every second.
    Redis,
}

impl Kind {
    /// As `scripts/deps` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Kafka => "kafka",
            Self::Mongo => "mongo",
            Self::Redis => "redis",
        }
    }
}

/// A server. The last clone that is dropped kills it and deletes its data.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    kind: Kind,
    arguments: Vec<String>,
    place: Place,
    process: Mutex<Option<Process>>,
}

impl Server {
    /// Starts one in a fresh folder, and returns when it answers.
    ///
    /// # Panics
    /// It is not installed, or it does not answer.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[])
    }

    /// Starts one with more arguments for the server's own command line.
    ///
    /// # Panics
    /// It is not installed, or it does not answer.
    #[must_use]
    pub fn start_with(kind: Kind, arguments: &[&str]) -> Self {
        Self::start_at(kind, |_| {
            arguments.iter().map(|a| (*a).to_owned()).collect()
        })
    }

    /// The same where the arguments depend on the port: that one, the next one and the one 10,000 above are the server's.
    ///
    /// # Panics
    /// It is not installed, or it does not answer.
    #[must_use]
    pub fn start_at(kind: Kind, arguments: impl FnOnce(u16) -> Vec<String>) -> Self {
        let place = Place::reserve();
        let mut all = vec!["--".to_owned()];
        all.extend(arguments(place.port()));
        let server = Self::prepare(kind, place, all);
        server.restart();
        server
    }

    /// Three Kafka brokers; topics have three replicas, of which two must have a record before it is acknowledged.
    ///
    /// # Panics
    /// Kafka is not installed, or does not answer.
    #[must_use]
    pub fn kafka_cluster() -> [Self; 3] {
        let places = [Place::reserve(), Place::reserve(), Place::reserve()];
        let voters: Vec<String> = (1..)
            .zip(&places)
            .map(|(id, place)| format!("{id}@127.0.0.1:{}", place.port() + 1))
            .collect();
        let mut id = 0;
        let brokers = places.map(|place| {
            id += 1;
            let arguments = ["--node-id", &format!("{id}"), "--quorum", &voters.join(",")];
            Self::prepare(Kind::Kafka, place, arguments.map(str::to_owned).into())
        });
        // One alone has no quorum and does not answer.
        brokers.iter().for_each(Self::launch);
        brokers.iter().for_each(Self::wait);
        brokers
    }

    fn prepare(kind: Kind, place: Place, arguments: Vec<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            arguments,
            place,
            process: Mutex::new(None),
        }))
    }

    /// Where clients connect: `http://…` for etcd, `host:port` for Kafka, `mongodb://…`, `redis://…`.
    #[must_use]
    pub fn url(&self) -> String {
        let port = self.port();
        match self.0.kind {
            Kind::Etcd => format!("http://127.0.0.1:{port}"),
            Kind::Kafka => format!("127.0.0.1:{port}"),
            Kind::Mongo => format!("mongodb://127.0.0.1:{port}/?directConnection=true"),
            Kind::Redis => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// Its port on 127.0.0.1, the same for the server's whole life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.place.port()
    }

    /// The folder with its data and its `log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.0.place.dir()
    }

    /// Kills it as `kill -9` does, and returns when it is gone. No effect on one that is not running.
    pub fn kill(&self) {
        self.process().take();
    }

    /// Kills it if it runs, starts it on the same folder and port, and returns when it answers.
    ///
    /// # Panics
    /// It does not answer.
    pub fn restart(&self) {
        self.launch();
        self.wait();
    }

    /// Like [`restart`](Self::restart) without its data: a server that was replaced by an empty one.
    ///
    /// # Panics
    /// It does not answer.
    pub fn restart_empty(&self) {
        self.kill();
        self.0.place.empty();
        self.restart();
    }

    /// Stops the process from running (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Panics
    /// It is not running.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// Lets a stopped process run again.
    ///
    /// # Panics
    /// It is not running.
    pub fn cont(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process();
        let process = process.as_ref();
        process.expect("the server is running").signal(signal);
    }

    fn launch(&self) {
        let mut process = self.process();
        process.take();
        let mut command = self.script("run");
        command.arg("--dir").arg(self.dir()).args(&self.0.arguments);
        *process = Some(Process::spawn(command, &self.log()));
    }

    /// Returns when it answers.
    fn wait(&self) {
        let mut command = self.script("wait");
        command.args(["--timeout", "90"]);
        let mut process = self.process();
        let process = process.as_mut().expect("it was started");
        if let Err(why) = process.wait_for(command) {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(20).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            panic!("{}: {why}\n{}", self.0.kind.name(), lines.join("\n"));
        }
    }

    fn script(&self, what: &str) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/deps"));
        command.args([what, self.0.kind.name()]);
        command.args(["--port", &self.port().to_string()]);
        command
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir().join("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // A test that panicked has left it as it was.
        let lock = self.0.process.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        process.unwrap_or_else(PoisonError::into_inner).take();
        self.place.empty();
    }
}
