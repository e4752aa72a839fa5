//! Which Redis: one server, a master that sentinels name, or a cluster; and how to connect to it.
//!
//! | URL | |
//! |---|---|
//! | `redis://user:password@host:6379/0` | one server |
//! | `redis+sentinel://user:password@host1:26379,host2:26379/master/0?sentinel_password=…` | the master that sentinels name |
//! | `redis+cluster://user:password@host1:6379,host2:6379` | a cluster, found by some of its nodes |
//!
//! With `rediss` in place of `redis` connections are encrypted. User, password and the query are optional; special characters in
//! them are percent-encoded.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo as _, RedisResult,
    TlsCertificates,
    aio::{MultiplexedConnection, PubSub},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::sync::Mutex;

use crate::OpenError;

/// Shortest and longest wait between a cluster client's own retries, milliseconds; the caller's deadline ends them. By default the
/// shortest is longer than that.
const CLUSTER_RETRY: (u64, u64) = (10, 100);

pub(crate) struct Target {
    kind: Kind,
    deadline: Duration,
}

enum Kind {
    Single(Client),
    Sentinel(Mutex<SentinelClient>),
    Cluster {
        client: ClusterClient,
        /// One client per node of the URL, for subscriptions: any node passes announcements on.
        nodes: Vec<Client>,
        next: AtomicUsize,
    },
}

/// A connection that many calls share.
#[derive(Clone)]
pub(crate) enum Conn {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Target {
    pub(crate) fn parse(
        url: &str,
        tls: Option<TlsCertificates>,
        deadline: Duration,
    ) -> Result<Self, OpenError> {
        let (scheme, rest) = url.split_once("://").ok_or(OpenError::Scheme)?;
        let (base, kind) = match scheme.split_once('+') {
            None => (scheme, "single"),
            Some(parts) => parts,
        };
        if !matches!(base, "redis" | "rediss") {
            return Err(OpenError::Scheme);
        }
        if base == "rediss" {
            // Fails if the process has chosen another one, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        } else if tls.is_some() {
            return Err(OpenError::Certificates);
        }
        let kind = match kind {
            "single" => Kind::Single(client(url, tls.as_ref())?),
            "sentinel" => Kind::Sentinel(Mutex::new(sentinel(base, rest, tls)?)),
            "cluster" => cluster(base, rest, tls, deadline)?,
            _ => return Err(OpenError::Scheme),
        };
        Ok(Self { kind, deadline })
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster { .. })
    }

    /// Connects for calls. Bounded by the caller.
    pub(crate) async fn connect(&self) -> RedisResult<Conn> {
        let client = match &self.kind {
            Kind::Single(client) => client.clone(),
            Kind::Sentinel(sentinel) => sentinel.lock().await.async_get_client().await?,
            Kind::Cluster { client, .. } => {
                return client.get_async_connection().await.map(Conn::Cluster);
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.deadline))
            .set_response_timeout(Some(self.deadline));
        let conn = client.get_multiplexed_async_connection_with_config(&config);
        conn.await.map(Conn::Single)
    }

    /// Connects for a subscription. Bounded by the caller.
    pub(crate) async fn subscriber(&self) -> RedisResult<PubSub> {
        match &self.kind {
            Kind::Single(client) => client.get_async_pubsub().await,
            Kind::Sentinel(sentinel) => {
                let client = sentinel.lock().await.async_get_client().await?;
                client.get_async_pubsub().await
            }
            Kind::Cluster { nodes, next, .. } => {
                let node = next.fetch_add(1, Ordering::Relaxed) % nodes.len();
                nodes[node].get_async_pubsub().await
            }
        }
    }
}

fn client(url: &str, tls: Option<&TlsCertificates>) -> Result<Client, OpenError> {
    let client = match tls {
        Some(tls) => Client::build_with_tls(url, tls.clone()),
        None => Client::open(url),
    };
    client.map_err(OpenError::Url)
}

/// One URL per host of `user:password@host,host/path?query`.
fn hosts(base: &str, rest: &str) -> Vec<String> {
    let (authority, _) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let at = if user.is_empty() { "" } else { "@" };
    let one = |host| format!("{base}://{user}{at}{host}");
    hosts.split(',').map(one).collect()
}

fn infos(urls: &[String]) -> Result<Vec<ConnectionInfo>, OpenError> {
    let infos = urls.iter().map(|url| url.as_str().into_connection_info());
    infos.collect::<Result<_, _>>().map_err(OpenError::Url)
}

fn cluster(
    base: &str,
    rest: &str,
    tls: Option<TlsCertificates>,
    deadline: Duration,
) -> Result<Kind, OpenError> {
    let urls = hosts(base, rest);
    let nodes: Result<_, _> = urls.iter().map(|url| client(url, tls.as_ref())).collect();
    let mut builder = ClusterClientBuilder::new(infos(&urls)?)
        .connection_timeout(deadline)
        .response_timeout(deadline)
        .min_retry_wait(CLUSTER_RETRY.0)
        .max_retry_wait(CLUSTER_RETRY.1);
    if let Some(tls) = tls {
        builder = builder.certs(tls);
    }
    Ok(Kind::Cluster {
        client: builder.build().map_err(OpenError::Url)?,
        nodes: nodes?,
        next: AtomicUsize::new(0),
    })
}

fn sentinel(
    base: &str,
    rest: &str,
    tls: Option<TlsCertificates>,
) -> Result<SentinelClient, OpenError> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (_, path) = rest.split_once('/').ok_or(OpenError::Master)?;
    let (master, db) = path.split_once('/').unwrap_or((path, "0"));
    if master.is_empty() {
        return Err(OpenError::Master);
    }
    let urls: Vec<String> = hosts(base, rest);
    let infos = infos(&urls)?;
    let redis = infos.first().ok_or(OpenError::Scheme)?.redis_settings();
    let addresses: Vec<_> = infos.iter().map(|info| info.addr().clone()).collect();
    let kind = SentinelServerType::Master;
    let builder = SentinelClientBuilder::new(addresses, master, kind).map_err(OpenError::Url)?;
    let db = db.parse().map_err(|_ignored| OpenError::Database)?;
    let mut builder = builder.set_client_to_redis_db(db);
    if let Some(user) = redis.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = redis.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        builder = match &*key {
            "sentinel_username" => builder.set_client_to_sentinel_username(value),
            "sentinel_password" => builder.set_client_to_sentinel_password(value),
            _ => return Err(OpenError::Query(key.into_owned())),
        };
    }
    if base == "rediss" {
        builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
        if let Some(tls) = tls {
            builder = builder
                .set_client_to_redis_certificates(tls.clone())
                .set_client_to_sentinel_certificates(tls);
        }
    }
    builder.build().map_err(OpenError::Url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, OpenError> {
        Target::parse(url, None, Duration::from_secs(1))
    }

    #[test]
    fn good_urls() {
        for url in [
            "redis://127.0.0.1",
            "redis://:p%40ss@host:1/3",
            "rediss://user:pass@host",
            "redis+sentinel://:p@a:1,b:2,c/mymaster/4?sentinel_username=u&sentinel_password=%25",
            "rediss+sentinel://a/m",
            "redis+cluster://u:p@a:1,b:2",
            "rediss+cluster://[::1]:1,b",
        ] {
            assert!(parse(url).is_ok(), "{url}");
        }
        assert_eq!(
            hosts("redis", "u:p@a:1,b/master?x=y"),
            ["redis://u:p@a:1", "redis://u:p@b"]
        );
    }

    #[test]
    fn bad_urls_say_why_and_no_secret() {
        for (url, why) in [
            ("", "the URL begins with"),
            ("http://:hunter2@a", "the URL begins with"),
            ("redis+x://:hunter2@a", "the URL begins with"),
            ("redis://:hunter2@", "the URL can't be used"),
            ("redis://:hunter2@a/x", "the URL can't be used"),
            ("redis+sentinel://:hunter2@a", "names no master"),
            ("redis+sentinel://:hunter2@a/m/x", "is no number"),
            ("redis+sentinel://:hunter2@a/m?y=hunter2", "y is unknown"),
        ] {
            let error = parse(url).err().unwrap();
            let text = format!("{error} {error:?}");
            assert!(text.contains(why), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
