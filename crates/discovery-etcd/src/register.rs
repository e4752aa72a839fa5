//! One registration: a key under a lease that is renewed every second. Whatever goes wrong (etcd is away, stopped, or came back
//! without the lease), it is made again with a new lease over a new connection, for ever, a second apart at most. The key is
//! overwritten in place, so watchers see no gap.

use std::convert::Infallible;

use etcd_client::{Client, PutOptions};
use magpie_discovery::WIRE_VERSION;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Unusable,
    client::{Away, Connector},
    endpoint::Instance,
};

/// Keeps an instance registered. Dropped without [`deregister`](Self::deregister), the registration ends with its lease.
pub struct Registration {
    registered: watch::Receiver<bool>,
    leave: CancellationToken,
    task: JoinHandle<()>,
    /// Ends the task with the handle.
    _drop: DropGuard,
}

impl Registration {
    /// Waits until etcd has it, without a limit.
    pub async fn registered(&self) {
        let mut registered = self.registered.clone();
        // It fails only without the task, which ends with this handle.
        let _there = registered.wait_for(|there| *there).await;
    }

    /// Whether etcd had it at the last renewal.
    pub fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }

    /// Ends it now, or with its lease if etcd can't be told within its timeout. Say first to the health service that the
    /// instance does not serve any more: who sees the registration vanish asks there.
    pub async fn deregister(self) {
        self.leave.cancel();
        if let Err(e) = self.task.await {
            tracing::warn!(error = %e, "the registration ended badly");
        }
    }
}

pub(crate) fn register(
    client: Connector,
    service: &str,
    instance: &str,
    address: &str,
) -> Result<Registration, Unusable> {
    for name in [service, instance] {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(Unusable::Name(name.to_owned()));
        }
    }
    let is_address = address
        .parse::<http::uri::Authority>()
        .is_ok_and(|a| a.port_u16().is_some());
    let value = serde_json::to_vec(&Instance {
        address: address.to_owned(),
        version: WIRE_VERSION,
        started_at: magpie_types::time::now_ms(),
    });
    let (Ok(value), true) = (value, is_address) else {
        return Err(Unusable::Address(address.to_owned()));
    };
    let (told, registered) = watch::channel(false);
    let leave = CancellationToken::new();
    let holder = Holder {
        key: format!("{}{service}/{instance}", client.folder()),
        client,
        value,
        registered: told,
    };
    Ok(Registration {
        registered,
        task: tokio::spawn(holder.run(leave.clone())),
        _drop: leave.clone().drop_guard(),
        leave,
    })
}

struct Holder {
    client: Connector,
    key: String,
    value: Vec<u8>,
    registered: watch::Sender<bool>,
}

impl Holder {
    async fn run(self, leave: CancellationToken) {
        let mut held = None;
        tokio::select! {
            never = self.hold(&mut held) => match never {},
            () = leave.cancelled() => {}
        }
        if let Some((mut etcd, lease)) = held
            && let Err(e) = self.client.bounded(etcd.lease_revoke(lease)).await
        {
            tracing::warn!(key = self.key, error = %e, "not deregistered; the registration ends with its lease");
        }
        self.registered.send_replace(false);
    }

    /// Registers again and again; what it holds at the moment is in `held`.
    async fn hold(&self, held: &mut Option<(Client, i64)>) -> Infallible {
        let mut pauses = self.client.pauses();
        loop {
            let why = match Box::pin(self.keep(held)).await {
                Err(why) => why,
                Ok(never) => match never {},
            };
            if self.registered.send_replace(false) {
                pauses = self.client.pauses();
            }
            let pause = pauses.next().unwrap_or_else(|| self.client.renewal());
            metrics::counter!("magpie_discovery_registration_failures_total").increment(1);
            tracing::warn!(key = self.key, error = %why, ?pause, "the registration failed; registering again");
            tokio::time::sleep(pause).await;
        }
    }

    /// Registers and renews until that fails.
    async fn keep(&self, held: &mut Option<(Client, i64)>) -> Result<Infallible, Away> {
        let client = &self.client;
        let mut etcd = client.connect().await?;
        let ttl = client.lease().as_secs().try_into().unwrap_or(i64::MAX);
        let lease = client.bounded(etcd.lease_grant(ttl, None)).await?.id();
        *held = Some((etcd.clone(), lease));
        let with_lease = PutOptions::new().with_lease(lease);
        client
            .bounded(etcd.put(self.key.as_str(), self.value.clone(), Some(with_lease)))
            .await?;
        let (mut keeper, mut answers) = client.bounded(etcd.lease_keep_alive(lease)).await?;
        tracing::info!(key = self.key, "registered");
        self.registered.send_replace(true);
        let mut tick = tokio::time::interval(client.renewal());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            client.bounded(keeper.keep_alive()).await?;
            let answer = client.bounded(answers.message()).await?;
            let left = answer.ok_or(Away::Ended("etcd ended the renewals"))?.ttl();
            if left <= 0 {
                return Err(Away::Ended("etcd has lost the lease"));
            }
        }
    }
}
