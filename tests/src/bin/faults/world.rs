//! The cluster under test: real servers behind proxies, and two processes of every service, three of the gateway.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use magpie_testdeps::{Kind, Server};
use magpie_tests::{Disk, Rest};
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::member::{Member, Plan};
use magpie_tests::proxy::Proxy;

/// The services, with how many processes of each.
pub(crate) const SERVICES: [(&str, usize); 12] = [
    ("auth", 2),
    ("user", 2),
    ("friend", 2),
    ("group", 2),
    ("conversation", 2),
    ("msg", 2),
    ("third", 2),
    ("rtc-signaling", 2),
    ("transfer", 2),
    ("push", 2),
    ("api", 2),
    ("gateway", 3),
];
/// The dependencies.
pub(crate) const KINDS: [Kind; 4] = [Kind::Etcd, Kind::Kafka, Kind::Mongo, Kind::Redis];

/// Signs tokens.
const SECRET: &str = "faults-only-secret-0123456789abcdef";
/// By this the processes know each other.
const CLUSTER_SECRET: &str = "faults-only-cluster-0123456789abcdef";
/// How long the cluster may take to start.
const START_BOUND: Duration = Duration::from_secs(180);
/// How long a gateway may take to say that it is ready.
const HEALTH_BOUND: Duration = Duration::from_secs(1);
/// How long an answer over REST may take.
const ANSWER_BOUND: Duration = Duration::from_secs(10);
/// Room on the disk of Kafka and on that of MongoDB, MiB.
const DISK: u32 = 2048;

/// A dependency behind its proxy.
pub(crate) struct Dependency {
    pub(crate) kind: Kind,
    /// Over its data, if it is to be filled. Before the server, so that it is unmounted first.
    pub(crate) disk: Option<Disk>,
    /// More than one: Kafka brokers.
    pub(crate) servers: Vec<Server>,
    /// None with several brokers, which clients find by themselves.
    pub(crate) proxy: Option<Proxy>,
}

/// See the module.
pub(crate) struct World {
    // Dropped in this order.
    pub(crate) members: Vec<Member>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) logs: PathBuf,
}

/// What kind of world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Three Kafka brokers instead of one.
    pub(crate) three_brokers: bool,
    /// Kafka's and MongoDB's data on disks that can be filled.
    pub(crate) disks: bool,
}

impl World {
    /// Starts everything.
    pub(crate) async fn start(shape: Shape, binary: PathBuf, logs: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(logs)?;
        let starting = KINDS.map(|kind| dependency(kind, shape));
        let dependencies = futures::future::try_join_all(starting).await?;
        let plan = Arc::new(Plan {
            env: environment(&dependencies),
            binary,
            logs: logs.to_owned(),
        });
        let members = SERVICES
            .iter()
            .flat_map(|(service, count)| (1..=*count).map(move |number| (*service, number)))
            .map(|(service, number)| Member::start(&plan, service, number))
            .collect();
        let world = Self {
            members,
            dependencies,
            logs: logs.to_owned(),
        };
        timeout(START_BOUND, world.all_ready())
            .await
            .with_context(|| format!("the cluster is not ready; see {}", logs.display()))?;
        Ok(world)
    }

    /// Waits until every process is ready.
    pub(crate) async fn all_ready(&self) {
        for member in &self.members {
            member.wait_ready().await;
        }
    }

    /// The processes of a service.
    pub(crate) fn of(&self, service: &str) -> Vec<&Member> {
        self.members
            .iter()
            .filter(|m| m.service == service)
            .collect()
    }

    /// A dependency.
    pub(crate) fn dependency(&self, kind: Kind) -> anyhow::Result<&Dependency> {
        let found = self.dependencies.iter().find(|d| d.kind == kind);
        found.context("no such dependency")
    }

    /// Addresses of the gateways that say that they are ready, as a load balancer asks them.
    pub(crate) async fn gateways(&self) -> Vec<String> {
        let gateways = self.of("gateway").into_iter().filter_map(Member::ready);
        let asked = gateways.map(|gateway| async move {
            let asking = Rest::new(&[&gateway.ops]);
            let asking = asking.call("GET", "/readyz", &[], Bytes::new());
            match timeout(HEALTH_BOUND, asking).await {
                Ok(Ok(answer)) if answer.status.is_success() => gateway.ws,
                _ => None,
            }
        });
        let answers = futures::future::join_all(asked).await;
        answers.into_iter().flatten().collect()
    }

    /// Addresses of the api processes that are ready.
    pub(crate) fn apis(&self) -> Vec<String> {
        let apis = self.of("api").into_iter();
        apis.filter_map(|m| m.ready()?.api).collect()
    }

    /// Asks one of the api processes as a user; the data of a success.
    pub(crate) async fn post(
        &self,
        token: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let apis = self.apis();
        let api = apis.choose(&mut rand::rng()).context("no api is ready")?;
        let operation_id = format!("faults-{:016x}", rand::random::<u64>());
        let headers = [
            ("operationID", operation_id.as_str()),
            ("Content-Type", "application/json"),
            ("token", token),
        ];
        let rest = Rest::new(&[api]);
        let asking = rest.call("POST", path, &headers, Bytes::from(body.to_string()));
        let answer = timeout(ANSWER_BOUND, asking).await.context("no answer")??;
        anyhow::ensure!(answer.code() == 0, "{path}: {}", answer.code());
        Ok(answer.json()["data"].take())
    }

    /// Ends of processes that nobody asked for, since the last question.
    pub(crate) fn take_crashes(&self) -> Vec<String> {
        self.members.iter().flat_map(Member::take_crashes).collect()
    }

    /// A REST client with a token of the administrator.
    pub(crate) async fn admin(&self) -> anyhow::Result<Rest> {
        let api = self.of("api")[0]
            .ready()
            .context("no api process is ready")?;
        let rest = Rest::new(&[&api.api.context("an api process has an address")?]);
        let body = json!({"secret": SECRET, "userID": api.admin});
        let data = rest.data("/auth/get_admin_token", &body).await;
        Ok(rest.with_token(text(&data["token"])?))
    }
}

/// A string in an answer.
pub(crate) fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().context("the answer has no text there")
}

async fn dependency(kind: Kind, shape: Shape) -> anyhow::Result<Dependency> {
    if kind == Kind::Kafka && shape.three_brokers {
        let servers = spawn_blocking(Server::kafka_cluster).await?.to_vec();
        return Ok(Dependency {
            kind,
            servers,
            proxy: None,
            disk: None,
        });
    }
    let proxy = Proxy::start().await?;
    let address = proxy.address;
    let with_disk = shape.disks && matches!(kind, Kind::Kafka | Kind::Mongo);
    let (server, disk) = spawn_blocking(move || {
        let advertised = format!("advertised.listeners=PLAINTEXT://{address}");
        let server = match kind {
            // Clients connect where Kafka says that it is.
            Kind::Kafka => Server::start_with(kind, &["--override", &advertised]),
            _ => Server::start(kind),
        };
        let disk = with_disk.then(|| on_disk(&server)).transpose()?;
        anyhow::Ok((server, disk))
    })
    .await??;
    proxy.lead_to(server.port());
    Ok(Dependency {
        kind,
        servers: vec![server],
        proxy: Some(proxy),
        disk,
    })
}

/// Starts the server again with its data on a disk of its own.
fn on_disk(server: &Server) -> anyhow::Result<Disk> {
    server.kill();
    let data = server.dir().join("data");
    std::fs::create_dir_all(&data)?;
    let disk = Disk::over(&data, DISK)?;
    server.restart();
    Ok(disk)
}

fn environment(dependencies: &[Dependency]) -> Vec<(String, String)> {
    let at = |kind: Kind| -> String {
        let found = dependencies.iter().find(|d| d.kind == kind);
        let addresses = found.map(|d| match &d.proxy {
            Some(proxy) => proxy.address.to_string(),
            None => {
                let urls: Vec<String> = d.servers.iter().map(Server::url).collect();
                urls.join(",")
            }
        });
        addresses.unwrap_or_default()
    };
    let replication = if at(Kind::Kafka).contains(',') { 3 } else { 1 };
    let variables = [
        ("SECRET", SECRET.to_owned()),
        ("CLUSTER_SECRET", CLUSTER_SECRET.to_owned()),
        ("ETCD_ENDPOINTS", format!("http://{}", at(Kind::Etcd))),
        ("ETCD_PREFIX", "/faults".to_owned()),
        ("KAFKA_BROKERS", at(Kind::Kafka)),
        ("KAFKA_PREFIX", "faults-".to_owned()),
        ("KAFKA_REPLICATION", replication.to_string()),
        ("KAFKA_PARTITIONS", "16".to_owned()),
        (
            "MONGO_URI",
            format!("mongodb://{}/?directConnection=true", at(Kind::Mongo)),
        ),
        ("MONGO_DATABASE", "faults".to_owned()),
        ("REDIS_URI", format!("redis://{}", at(Kind::Redis))),
        ("REDIS_PREFIX", "faults".to_owned()),
        ("GROUP_HISTORY_FOR_NEW_MEMBERS", "false".to_owned()),
        // Of the groups of 8, 12 and 20 users the first stays a small one, whose receivers push finds itself.
        ("PUSH_LARGEST_GROUP", "8".to_owned()),
        ("LISTEN_WS", "127.0.0.1:0".to_owned()),
        ("LISTEN_API", "127.0.0.1:0".to_owned()),
        ("LISTEN_OPS", "127.0.0.1:0".to_owned()),
        ("LISTEN_GRPC", "127.0.0.1:0".to_owned()),
        ("LISTEN_INTERNAL", "127.0.0.1:0".to_owned()),
    ];
    let named = variables.into_iter();
    named
        .map(|(name, value)| (format!("MAGPIE_{name}"), value))
        .collect()
}
