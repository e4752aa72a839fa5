//! The command line. Everything that is a setting becomes one (`config::load`), so that file, variable and flag agree.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use magpie_discovery::name;
use magpie_service::config::Flag;

use crate::help;

/// An instant-messaging server that OpenIM clients connect to.
#[derive(Debug, Parser)]
#[command(name = "magpie", version, max_term_width = 100, after_help = help::PROGRAM)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in this process, with one data directory.
    #[command(after_help = help::UP)]
    Up(Up),
    /// Show the effective configuration and where each value is from.
    #[command(after_help = help::CONFIG)]
    Config(Config),
    /// Talk to a running server as its administrator.
    #[command(after_help = help::ADMIN)]
    Admin(Admin),
    /// Measure a server: load a running one, or run the whole suite of docs/benchmarks.md.
    #[cfg(feature = "bench")]
    Bench(Bench),
    #[command(flatten)]
    Service(Service),
    /// Anything else, to be answered in one line.
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

/// One service as a process of a cluster.
#[derive(Debug, Subcommand)]
#[command(next_help_heading = "Services")]
pub(crate) enum Service {
    /// Service: clients' WebSocket connections.
    #[command(after_help = help::SERVICE)]
    Gateway(One),
    /// Service: the REST API, and the gRPC port of back ends.
    #[command(after_help = help::SERVICE)]
    Api(One),
    /// Service: tokens.
    #[command(after_help = help::SERVICE)]
    Auth(One),
    /// Service: users.
    #[command(after_help = help::SERVICE)]
    User(One),
    /// Service: friends and black lists.
    #[command(after_help = help::SERVICE)]
    Friend(One),
    /// Service: groups and their members.
    #[command(after_help = help::SERVICE)]
    Group(One),
    /// Service: users' conversation lists and settings.
    #[command(after_help = help::SERVICE)]
    Conversation(One),
    /// Service: takes messages into the log, and answers pulls.
    #[command(after_help = help::SERVICE)]
    Msg(One),
    /// Service: numbers and stores messages.
    #[command(after_help = help::SERVICE)]
    Transfer(One),
    /// Service: brings messages to the gateways.
    #[command(after_help = help::SERVICE)]
    Push(One),
    /// Service: push tokens and badges; objects and client logs are not built yet.
    #[command(after_help = help::SERVICE)]
    Third(One),
    /// Service: calls; not built yet.
    #[command(after_help = help::SERVICE)]
    RtcSignaling(One),
}

impl Service {
    /// Its name, and how it is started.
    pub(crate) fn parts(&self) -> (&'static str, &One) {
        match self {
            Self::Gateway(one) => (name::GATEWAY, one),
            Self::Api(one) => (name::API, one),
            Self::Auth(one) => (name::AUTH, one),
            Self::User(one) => (name::USER, one),
            Self::Friend(one) => (name::FRIEND, one),
            Self::Group(one) => (name::GROUP, one),
            Self::Conversation(one) => (name::CONVERSATION, one),
            Self::Msg(one) => (name::MSG, one),
            Self::Transfer(one) => (name::TRANSFER, one),
            Self::Push(one) => (name::PUSH, one),
            Self::Third(one) => (name::THIRD, one),
            Self::RtcSignaling(one) => (name::RTC, one),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct One {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// Print one line of JSON when ready, instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Settings that have a flag.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Settings {
    /// Configuration file (TOML).
    #[arg(long, env = "MAGPIE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where everything is stored [default: ./data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// File with the shared secret [default: the data directory's `secret`, made at the first start].
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Listen {
    /// WebSocket gateway [default: 127.0.0.1:10001]; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS")]
    ws_listen: Option<String>,
    /// REST API [default: 127.0.0.1:10002].
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<String>,
    /// Health, metrics [default: 127.0.0.1:10003].
    #[arg(long, value_name = "ADDRESS")]
    ops_listen: Option<String>,
    /// gRPC for back ends [default: 127.0.0.1:10004].
    #[arg(long, value_name = "ADDRESS")]
    grpc_listen: Option<String>,
    /// For the other services of a cluster [default: 127.0.0.1:0].
    #[arg(long, value_name = "ADDRESS")]
    internal_listen: Option<String>,
}

impl Settings {
    pub(crate) fn flags(&self, listen: Option<&Listen>) -> Vec<Flag> {
        let of = |key, name, value: &Option<String>| {
            value.clone().map(|value| Flag { key, name, value })
        };
        let mut flags = vec![
            of("data.dir", "--data-dir", &self.data_dir),
            of("data.secret_file", "--secret-file", &self.secret_file),
        ];
        if let Some(listen) = listen {
            flags.extend([
                of("listen.ws", "--ws-listen", &listen.ws_listen),
                of("listen.api", "--api-listen", &listen.api_listen),
                of("listen.ops", "--ops-listen", &listen.ops_listen),
                of("listen.grpc", "--grpc-listen", &listen.grpc_listen),
                of(
                    "listen.internal",
                    "--internal-listen",
                    &listen.internal_listen,
                ),
            ]);
        }
        flags.into_iter().flatten().collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// Over etcd, Kafka, MongoDB and Redis instead of the data directory, beside other processes of the cluster.
    #[arg(long)]
    pub(crate) cluster: bool,
    /// Print one line of JSON when ready, instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// Print the reference page of all settings instead (docs/configuration.md).
    #[arg(long)]
    pub(crate) markdown: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// How `magpie admin` reaches the server.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// REST API of the server [default: where the configuration has `listen.api`].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// Configuration file (TOML).
    #[arg(long, global = true, env = "MAGPIE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory of the server, where its secret is [default: ./data].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// File with the shared secret.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) secret_file: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Print a token: of the user on a platform, or the administrator's own.
    Token {
        /// User; none: the administrator.
        user: Option<String>,
        /// Platform number: 1 iOS, 2 Android, 3 Windows, 4 macOS, 5 Web, 7 Linux, ...
        #[arg(long, default_value_t = 5)]
        platform: i32,
    },
    /// Register a user.
    CreateUser {
        /// Id: letters, digits and `_`.
        user: String,
        /// Shown name [default: the id].
        #[arg(long)]
        nickname: Option<String>,
        /// Address of the avatar.
        #[arg(long, default_value = "")]
        face_url: String,
    },
    /// Send a text message.
    Send {
        /// Text.
        text: String,
        /// Receiver.
        #[arg(long, required_unless_present = "group")]
        to: Option<String>,
        /// Group that receives it.
        #[arg(long, conflicts_with = "to")]
        group: Option<String>,
        /// Sender [default: the administrator].
        #[arg(long)]
        from: Option<String>,
    },
    /// Print a cluster's instances, its engines, how far its consumers are behind, and what is wrong; exit code 1 if anything is.
    Status,
    /// Change the number of partitions of a cluster's message log, while no msg runs.
    #[command(after_help = help::REPARTITION)]
    Repartition {
        /// Partitions that the log is to have; kafka.partitions of every process afterwards.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        partitions: u32,
        /// How long msg may take to be gone, and transfer and push to finish what is in the log.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
    },
    /// Print the server's build, readiness and metrics.
    Stats {
        /// Operator's port of the server [default: where the configuration has `listen.ops`].
        #[arg(long, value_name = "URL")]
        ops: Option<String>,
    },
}

#[cfg(feature = "bench")]
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

#[cfg(feature = "bench")]
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Send one-to-one messages at a fixed rate and check every frame; prints one line of JSON.
    Chat(BenchChat),
    /// Hold idle connections; prints one line of JSON.
    Idle(BenchIdle),
    /// Start servers, run all figures, print a table. `scripts/bench` builds and pins what it needs.
    Suite(BenchSuite),
    /// Start clusters, one process per service, over the configured engines; run their figures, print a table. `scripts/bench
    /// --cluster` starts the engines too.
    Cluster(BenchCluster),
}

#[cfg(feature = "bench")]
#[derive(Debug, Args)]
pub(crate) struct BenchChat {
    #[command(flatten)]
    pub(crate) server: Server,
    /// WebSocket address of the server.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:10001")]
    pub(crate) ws: String,
    /// Messages per second, over all pairs.
    #[arg(long, default_value_t = 300)]
    pub(crate) rate: u32,
    /// Length of the run.
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u32,
    /// Pairs of users; one of each writes.
    #[arg(long, default_value_t = 200)]
    pub(crate) pairs: usize,
    /// Bytes of a message's content.
    #[arg(long, default_value_t = 128)]
    pub(crate) bytes: usize,
}

#[cfg(feature = "bench")]
#[derive(Debug, Args)]
pub(crate) struct BenchIdle {
    #[command(flatten)]
    pub(crate) server: Server,
    /// WebSocket address of the server.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:10001")]
    pub(crate) ws: String,
    /// Connections, one user each.
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: usize,
    /// How long they stay.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
}

#[cfg(feature = "bench")]
#[derive(Debug, Args)]
pub(crate) struct BenchSuite {
    /// Core that the servers run on; start this program on another one.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) server_core: usize,
    /// Only these: chat, group, sync, users, large-group, start, idle, large.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Connections of the idle figures.
    #[arg(long, default_value_t = 15_000)]
    pub(crate) connections: usize,
    /// Members of the large group.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) members: usize,
    /// Messages of the large store.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) messages: usize,
    /// Rate at which the large store is filled, messages per second.
    #[arg(long, default_value_t = 4000)]
    pub(crate) fill_rate: u32,
    /// Folder for the servers' data; it decides which disk is measured.
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Where the result goes as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Page whose tables are replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

#[cfg(feature = "bench")]
#[derive(Debug, Args)]
pub(crate) struct BenchCluster {
    /// Only these.
    #[arg(long, value_name = "NAME", value_parser = ["chat", "group", "recovery", "growth"])]
    pub(crate) only: Vec<String>,
    /// An engine's process on this machine, whose CPU is listed too.
    #[arg(long = "engine", value_name = "NAME=PID", value_parser = engine)]
    pub(crate) engines: Vec<(String, u32)>,
    /// Where the result goes as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Page whose tables are replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

#[cfg(feature = "bench")]
fn engine(text: &str) -> Result<(String, u32), String> {
    let parts = text.split_once('=');
    let parsed = parts.and_then(|(name, pid)| Some((name.to_owned(), pid.parse().ok()?)));
    parsed.ok_or_else(|| "write it as NAME=PID, for instance redis=4711".to_owned())
}
