//! What can be set, with limits for everything that waits, repeats or grows.

use std::time::Duration;

use secrecy::SecretString;

/// Everything.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The way to etcd, and registrations.
    pub etcd: Etcd,
    /// Calls between services.
    pub calls: Calls,
}

impl Etcd {
    /// Refuses what can't work, without asking etcd.
    pub fn check(&self) -> Result<(), Unusable> {
        if self.endpoints.is_empty() {
            return Err(Unusable::NoEndpoint);
        }
        for endpoint in &self.endpoints {
            let is_one = endpoint.parse::<http::Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.port().is_some()
            });
            if !is_one {
                return Err(Unusable::Endpoint(endpoint.clone()));
            }
            if self.tls.is_none() && endpoint.starts_with("https:") {
                return Err(Unusable::NoAuthority(endpoint.clone()));
            }
        }
        if self.lease < Duration::from_secs(2) || self.lease < 3 * self.renewal {
            return Err(Unusable::Lease(self.lease));
        }
        Ok(())
    }
}

/// The way to etcd, and registrations.
#[derive(Debug, Clone)]
pub struct Etcd {
    /// `http://host:port` or `https://host:port` of the members; one is used at a time, the next one when it fails.
    pub endpoints: Vec<String>,
    /// Before all keys: `PREFIX/SERVICE/INSTANCE`.
    pub prefix: String,
    /// User and password, where etcd asks for them.
    pub user: Option<(String, SecretString)>,
    /// For `https` endpoints.
    pub tls: Option<Tls>,
    /// A registration that is not renewed ends after this time; whole seconds, at least two.
    pub lease: Duration,
    /// Between two renewals.
    pub renewal: Duration,
    /// Longest wait for any answer of etcd.
    pub timeout: Duration,
    /// Longest pause before the next attempt to reach etcd.
    pub longest_pause: Duration,
    /// Instances beyond this number are not seen.
    pub max_instances: u32,
}

/// Certificates in PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Who signs etcd's certificate.
    pub authority: String,
    /// Our certificate and key, where etcd asks for them.
    pub identity: Option<(String, SecretString)>,
    /// The name in etcd's certificate, where it is not the host of the endpoint.
    pub domain: Option<String>,
}

/// Calls between services.
#[derive(Debug, Clone)]
pub struct Calls {
    /// Deadline of a call that brings none of its own, which may only be shorter.
    pub timeout: Duration,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Interval of HTTP/2 pings, also on idle connections.
    pub keepalive: Duration,
    /// A connection whose ping is not answered in this time is broken.
    pub keepalive_timeout: Duration,
    /// Calls under way to one service; the next one is refused at once (`RESOURCE_EXHAUSTED`).
    pub max_outstanding: usize,
    /// Longest request, bytes.
    pub max_request: usize,
    /// How often a call that may be repeated is sent at most.
    pub max_attempts: usize,
    /// Repeated calls in relation to all calls of the last ten seconds; some are always allowed.
    pub retry_share: f32,
    /// Calls broken one after the other that put an instance aside; a refused connection does so at once.
    pub eject_after: u32,
    /// How long it is left alone the first time; jittered, and doubled from one time to the next.
    pub eject_first: Duration,
    /// And at most.
    pub eject_longest: Duration,
    /// Longest wait for its answer whether it serves again.
    pub probe: Duration,
}

impl Default for Etcd {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            prefix: "/magpie/services".to_owned(),
            user: None,
            tls: None,
            lease: Duration::from_secs(5),
            renewal: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            longest_pause: Duration::from_secs(1),
            max_instances: 10_000,
        }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            connect: Duration::from_secs(1),
            keepalive: Duration::from_secs(3),
            keepalive_timeout: Duration::from_secs(2),
            max_outstanding: 10_000,
            max_request: 16 << 20,
            max_attempts: 3,
            retry_share: 0.2,
            eject_after: 3,
            eject_first: Duration::from_millis(100),
            eject_longest: Duration::from_secs(5),
            probe: Duration::from_secs(1),
        }
    }
}

/// What can't be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no etcd to ask.
    #[error("no etcd endpoint is configured; name at least one, like http://127.0.0.1:2379")]
    NoEndpoint,
    /// Something else than an address of etcd.
    #[error("{0:?} is no endpoint of etcd; one looks like http://127.0.0.1:2379")]
    Endpoint(String),
    /// Encryption without knowing whom to trust.
    #[error("{0} needs the certificate of its authority (tls)")]
    NoAuthority(String),
    /// A lease that etcd or the renewals can't keep.
    #[error("a lease of {0:?} is too short; it must last two seconds and three renewals at least")]
    Lease(Duration),
    /// A name that would be mistaken for another key.
    #[error("{0:?} can't name a service or an instance: use letters, digits, '-', '_' and '.'")]
    Name(String),
    /// Not an address that others can use.
    #[error("{0:?} is no address of the form host:port")]
    Address(String),
}
