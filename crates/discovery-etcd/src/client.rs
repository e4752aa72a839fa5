//! Connections to etcd. Every attempt makes a new one, to the next member of the list: what was wrong with the last one
//! (a stopped process, an old token, a server that was replaced) stays behind with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use secrecy::ExposeSecret as _;

use crate::{Etcd, Unusable};

/// etcd closes connections that ping more often than every five seconds.
const KEEPALIVE: Duration = Duration::from_secs(6);

/// Why there is no etcd at the moment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Away {
    #[error(transparent)]
    Etcd(#[from] etcd_client::Error),
    #[error("etcd did not answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error("{0}")]
    Ended(&'static str),
}

/// Makes connections; cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    etcd: Etcd,
    options: ConnectOptions,
    next: AtomicUsize,
}

impl Connector {
    pub(crate) fn new(etcd: Etcd) -> Result<Self, Unusable> {
        etcd.check()?;
        let mut options = ConnectOptions::new()
            .with_connect_timeout(etcd.timeout)
            .with_keep_alive(KEEPALIVE, etcd.timeout)
            .with_require_leader(true);
        if let Some((user, password)) = &etcd.user {
            options = options.with_user(user, password.expose_secret());
        }
        if let Some(tls) = &etcd.tls {
            let mut set = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.authority));
            if let Some((certificate, key)) = &tls.identity {
                set = set.identity(Identity::from_pem(certificate, key.expose_secret()));
            }
            if let Some(domain) = &tls.domain {
                set = set.domain_name(domain);
            }
            options = options.with_tls(set);
        }
        Ok(Self(Arc::new(Inner {
            etcd,
            options,
            next: AtomicUsize::new(0),
        })))
    }

    /// A connection to one member.
    pub(crate) async fn connect(&self) -> Result<Client, Away> {
        let endpoints = &self.0.etcd.endpoints;
        let member = &endpoints[self.0.next.fetch_add(1, Ordering::Relaxed) % endpoints.len()];
        self.bounded(Client::connect([member], Some(self.0.options.clone())))
            .await
    }

    /// Waits for an answer of etcd no longer than configured.
    pub(crate) async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Away> {
        Ok(tokio::time::timeout(self.0.etcd.timeout, answer).await??)
    }

    /// Pauses between attempts: growing, jittered, bounded, without end.
    pub(crate) fn pauses(&self) -> backon::ExponentialBackoff {
        pauses(Duration::from_millis(50), self.0.etcd.longest_pause / 2)
    }

    /// The folder of all keys, with the slash.
    pub(crate) fn folder(&self) -> String {
        format!("{}/", self.0.etcd.prefix.trim_end_matches('/'))
    }

    pub(crate) fn lease(&self) -> Duration {
        self.0.etcd.lease
    }

    pub(crate) fn renewal(&self) -> Duration {
        self.0.etcd.renewal
    }

    pub(crate) fn max_instances(&self) -> i64 {
        self.0.etcd.max_instances.into()
    }
}

/// Pauses that double from `first` to `longest` and go on for ever; each is lengthened by up to its own length.
pub(crate) fn pauses(first: Duration, longest: Duration) -> backon::ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}
