//! Presence of a cluster, in Redis: one server, a master named by sentinels, or a Redis Cluster.
//!
//! Redis may vanish, stop or be emptied at any moment. What a lookup may believe is decided by *marks* (`keys.rs`): a gateway has one
//! in every bucket of users, writes it after all its entries there, and renews it only while Redis has every one of its writes
//! (`bucket.rs`). Where a registered gateway has no live mark, the lookup says so, and the gateway is asked itself. A mark that was
//! live while entries were missing, because Redis lost its newest writes or evicted some, is found by the next renewal; the gateway
//! then closes the connections of these users.
//!
//! All calls end by a deadline; they fail at once while there is no connection, and heal by themselves (`link.rs`).

mod bucket;
mod changes;
mod keys;
mod link;
mod reporter;
mod target;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use magpie_presence::{
    Change, GatewayId, Lookup, MAX_NOTICE, Notice, Places, Platforms, Presence, Result,
};
use magpie_types::UserId;
use redis::{ClientTlsConfig, RedisError, TlsCertificates, Value, from_redis_value};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    changes::Follower,
    keys::{BUCKETS, Keys, Mark, bucket},
    link::{Code, Link, Run},
    reporter::{Reporter, unavailable},
    target::Target,
};

static ANNOUNCE: LazyLock<Code> = LazyLock::new(|| Code::new(include_str!("lua/announce.lua")));
static LOOKUP: LazyLock<Code> = LazyLock::new(|| Code::new(include_str!("lua/lookup.lua")));

/// Changes a slow subscriber may be behind before it has to look up the present state.
const CHANGES: usize = 4096;
/// Users per run of the lookup's script, and runs per round trip.
const LOOKUP_USERS: usize = 256;
const LOOKUP_RUNS: usize = BUCKETS;
/// Longest deadline: what [`magpie_presence::TRUST`] was made with.
const MAX_DEADLINE: Duration = Duration::from_secs(1);

/// The gateways that are registered now.
pub type Registered = Arc<dyn Fn() -> Vec<GatewayId> + Send + Sync>;

/// Where Redis is.
#[derive(Clone)]
pub struct Options {
    /// `redis://`, `redis+sentinel://` or `redis+cluster://`; `rediss…` for TLS. It may hold a password.
    pub url: SecretString,
    /// What the names of all keys begin with, one per Magpie cluster. No braces.
    pub prefix: String,
    /// Limit of every call, a second at most.
    pub deadline: Duration,
    /// With TLS: PEM file of the authority that signed the servers' certificates, instead of the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// With TLS: PEM files of this client's certificate and key.
    pub identity_files: Option<(PathBuf, PathBuf)>,
}

impl Options {
    /// Defaults for a Redis at this URL.
    pub fn new(url: impl Into<SecretString>) -> Self {
        Self {
            url: url.into(),
            prefix: "magpie".to_owned(),
            deadline: MAX_DEADLINE,
            ca_file: None,
            identity_files: None,
        }
    }

    /// Refuses what can't work, without asking Redis.
    pub fn check(&self) -> Result<(), OpenError> {
        self.target().map(drop)
    }

    fn target(&self) -> Result<(Keys, Target), OpenError> {
        let keys = Keys::new(&self.prefix).ok_or(OpenError::Prefix)?;
        if self.deadline.is_zero() || self.deadline > MAX_DEADLINE {
            return Err(OpenError::Deadline);
        }
        let url = self.url.expose_secret();
        let target = Target::parse(url, certificates(self)?, self.deadline)?;
        Ok((keys, target))
    }
}

/// Why the options can't be used. Never says the URL: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Of no kind that is known.
    #[error(
        "the URL begins with none of redis://, redis+sentinel:// and redis+cluster:// (rediss… for TLS)"
    )]
    Scheme,
    /// Otherwise wrong.
    #[error("the URL can't be used: {0}")]
    Url(RedisError),
    /// Of sentinels, without `/MASTER`.
    #[error("the URL names no master: it ends with the hosts of the sentinels and /MASTER")]
    Master,
    /// Of sentinels, with something else after the master.
    #[error("what follows the master's name in the URL is no number of a database")]
    Database,
    /// Of sentinels, with an unknown option.
    #[error("the option {0} is unknown; there are sentinel_username and sentinel_password")]
    Query(String),
    /// Certificates without TLS.
    #[error("there are certificates, but the URL is without TLS: begin it with rediss")]
    Certificates,
    /// A file of certificates can't be read.
    #[error("{0} can't be read")]
    File(PathBuf, #[source] std::io::Error),
    /// The prefix is empty or has braces.
    #[error("the prefix of keys must not be empty or have braces")]
    Prefix,
    /// The deadline is too long.
    #[error("the deadline must be a second at most, and not zero")]
    Deadline,
}

/// See the crate's documentation.
pub struct RedisPresence {
    link: Link,
    keys: Keys,
    deadline: Duration,
    registered: Registered,
    reporters: Mutex<HashMap<GatewayId, Arc<Reporter>>>,
    changes: broadcast::Sender<Change>,
    notices: broadcast::Sender<Notice>,
    subscribed: Arc<watch::Sender<bool>>,
    _follower: AbortOnDropHandle<()>,
}

impl RedisPresence {
    /// Opens presence; Redis may be away. `registered` names the gateways that discovery knows. To be called in a runtime.
    pub fn open(options: &Options, registered: Registered) -> Result<Arc<Self>, OpenError> {
        let (keys, target) = options.target()?;
        let (target, deadline) = (Arc::new(target), options.deadline);
        let changes = broadcast::channel(CHANGES).0;
        let notices = broadcast::channel(CHANGES).0;
        let subscribed = Arc::new(watch::Sender::new(false));
        let follower = Follower {
            target: Arc::clone(&target),
            channels: [keys.channel(), keys.notices()],
            changes: changes.clone(),
            notices: notices.clone(),
            registered: Arc::clone(&registered),
            subscribed: Arc::clone(&subscribed),
            deadline,
        };
        Ok(Arc::new(Self {
            link: Link::new(target, deadline),
            keys,
            deadline,
            registered,
            reporters: Mutex::default(),
            changes,
            notices,
            subscribed,
            _follower: AbortOnDropHandle::new(tokio::spawn(follower.run())),
        }))
    }

    /// Returns once Redis is connected and changes arrive. Nothing needs it; who wants no [`Change::Missed`] at first waits for it.
    pub async fn ready(&self) {
        self.link.ready().await;
        let mut subscribed = self.subscribed.subscribe();
        drop(subscribed.wait_for(|subscribed| *subscribed).await);
    }

    fn reporter(&self, gateway: &GatewayId) -> Arc<Reporter> {
        let mut reporters = self
            .reporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let reporter = reporters
            .entry(Arc::clone(gateway))
            .or_insert_with(|| Arc::new(Reporter::new(Arc::clone(gateway), self.deadline)));
        Arc::clone(reporter)
    }
}

fn certificates(options: &Options) -> Result<Option<TlsCertificates>, OpenError> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|e| OpenError::File(path.clone(), e));
    let root_cert = options.ca_file.as_ref().map(read).transpose()?;
    let client_tls = match &options.identity_files {
        Some((cert, key)) => Some(ClientTlsConfig {
            client_cert: read(cert)?,
            client_key: read(key)?,
        }),
        None => None,
    };
    let some = root_cert.is_some() || client_tls.is_some();
    Ok(some.then_some(TlsCertificates {
        client_tls,
        root_cert,
    }))
}

#[async_trait]
impl Presence for RedisPresence {
    async fn report(&self, gateway: &GatewayId, users: &[(UserId, Platforms)]) -> Result<()> {
        let reporter = self.reporter(gateway);
        reporter.report(&self.link, &self.keys, users).await
    }

    async fn renew(&self, gateway: &GatewayId) -> Result<Vec<UserId>> {
        self.reporter(gateway).renew(&self.link, &self.keys).await
    }

    async fn leave(&self, gateway: &GatewayId) -> Result<()> {
        let reporter = {
            let mut reporters = self
                .reporters
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            reporters.remove(gateway)
        };
        match reporter {
            Some(reporter) => reporter.leave(&self.link, &self.keys).await,
            None => reporter::forget(&self.link, &self.keys, gateway).await,
        }
    }

    /// A gateway has a mark in every bucket.
    async fn gateways(&self) -> Result<Vec<GatewayId>> {
        let run = Run {
            code: &LOOKUP,
            keys: vec![self.keys.bucket(0)],
            arguments: Vec::new(),
        };
        let mut live = Vec::new();
        for result in self.link.run(&[run]).await? {
            let found = Found::parse(result.map_err(unavailable)?)?;
            live.extend(found.marks.into_keys().map(GatewayId::from));
        }
        Ok(live)
    }

    async fn lookup(&self, users: &[UserId]) -> Result<Lookup> {
        let mut buckets: Vec<Vec<usize>> = vec![Vec::new(); BUCKETS];
        for (n, user) in users.iter().enumerate() {
            buckets[bucket(user)].push(n);
        }
        let parts: Vec<(usize, &[usize])> = buckets
            .iter()
            .enumerate()
            .flat_map(|(bucket, of)| of.chunks(LOOKUP_USERS).map(move |part| (bucket, part)))
            .collect();
        let registered = (self.registered)();
        let mut unknown: HashSet<&GatewayId> = HashSet::new();
        let mut places = vec![Places::default(); users.len()];
        for parts in parts.chunks(LOOKUP_RUNS) {
            let run = |(bucket, part): &(usize, &[usize])| {
                let names = part.iter().map(|n| self.keys.user(*bucket, &users[*n]));
                Run {
                    code: &LOOKUP,
                    keys: std::iter::once(self.keys.bucket(*bucket))
                        .chain(names)
                        .collect(),
                    arguments: Vec::new(),
                }
            };
            let runs: Vec<Run> = parts.iter().map(run).collect();
            let results = self.link.run(&runs).await?;
            for ((_, part), result) in parts.iter().zip(results) {
                let found = Found::parse(result.map_err(unavailable)?)?;
                unknown.extend(registered.iter().filter(|g| !found.is_live(g)));
                for (n, entries) in part.iter().zip(&found.users) {
                    places[*n] = found.places(entries);
                }
            }
        }
        Ok(Lookup {
            users: places,
            unknown: registered
                .iter()
                .filter(|g| unknown.contains(g))
                .cloned()
                .collect(),
        })
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    async fn announce(&self, notice: String) -> Result<()> {
        if notice.len() > MAX_NOTICE {
            return Err(unavailable("the notice is too long"));
        }
        let run = Run {
            code: &ANNOUNCE,
            keys: vec![self.keys.bucket(0)],
            arguments: vec![self.keys.notices(), notice],
        };
        for result in self.link.run(&[run]).await? {
            result.map_err(unavailable)?;
        }
        Ok(())
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }
}

/// Part of one bucket, at one moment.
struct Found {
    /// Live marks only.
    marks: HashMap<String, Mark>,
    users: Vec<HashMap<String, String>>,
}

impl Found {
    fn parse(value: Value) -> Result<Self> {
        let values: Vec<Value> = from_redis_value(value).map_err(unavailable)?;
        let mut values = values.into_iter();
        let (Some(time), Some(marks)) = (values.next(), values.next()) else {
            return Err(unavailable("redis answered a script with too little"));
        };
        let (seconds, micros): (u64, u64) = from_redis_value(time).map_err(unavailable)?;
        let now = seconds * 1000 + micros / 1000;
        let marks: HashMap<String, String> = from_redis_value(marks).map_err(unavailable)?;
        let live = |(gateway, text): (String, String)| {
            let mark = Mark::parse(&text).filter(|mark| mark.is_live(now))?;
            Some((gateway, mark))
        };
        Ok(Self {
            marks: marks.into_iter().filter_map(live).collect(),
            users: values
                .map(|user| from_redis_value(user).map_err(unavailable))
                .collect::<Result<_>>()?,
        })
    }

    fn is_live(&self, gateway: &GatewayId) -> bool {
        self.marks.contains_key(gateway.as_ref())
    }

    /// The entries that count.
    fn places(&self, entries: &HashMap<String, String>) -> Places {
        let counts = |(gateway, text): (&String, &String)| {
            let (platforms, epoch) = keys::entry(text)?;
            let mark = self.marks.get(gateway)?;
            let counts = mark.epoch == epoch && !platforms.is_empty();
            counts.then(|| (GatewayId::from(gateway.as_str()), platforms))
        };
        Places {
            gateways: entries.iter().filter_map(counts).collect(),
        }
    }
}
