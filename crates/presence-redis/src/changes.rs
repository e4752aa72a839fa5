//! Announcements and notices from Redis to the receivers of this process, over a subscription that heals itself.
//!
//! Where announcements may have been missed, receivers are told so and look up the present state: after each new subscription, and
//! when a gateway's registration ended without its leaving, once its marks have ended too.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use magpie_presence::{Change, GatewayId, Notice};
use redis::{RedisResult, aio::PubSub};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, interval, sleep, timeout},
};

use crate::{Registered, keys, target::Target};

/// Pause after a subscription that ended or failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the connection is tried and registrations are looked at.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Follower {
    pub(crate) target: Arc<Target>,
    /// Of changes, and of notices.
    pub(crate) channels: [String; 2],
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) notices: broadcast::Sender<Notice>,
    pub(crate) registered: Registered,
    /// Whether there is a subscription.
    pub(crate) subscribed: Arc<watch::Sender<bool>>,
    pub(crate) deadline: Duration,
}

impl Follower {
    pub(crate) async fn run(self) {
        let mut gateways = Gateways::default();
        loop {
            match timeout(self.deadline, self.subscribe()).await {
                Ok(Ok(subscription)) => {
                    self.tell(Change::Missed);
                    self.pass(Notice::Missed);
                    self.subscribed.send_replace(true);
                    self.follow(subscription, &mut gateways).await;
                    self.subscribed.send_replace(false);
                    tracing::warn!("the subscription to presence changes ended");
                }
                Ok(Err(e)) => tracing::debug!(error = %e, "no subscription to presence changes"),
                Err(_) => tracing::debug!("no subscription to presence changes in time"),
            }
            sleep(PAUSE).await;
        }
    }

    async fn subscribe(&self) -> RedisResult<PubSub> {
        let mut subscription = self.target.subscriber().await?;
        for channel in &self.channels {
            subscription.subscribe(channel).await?;
        }
        Ok(subscription)
    }

    /// Passes announcements on until the connection breaks.
    async fn follow(&self, subscription: PubSub, gateways: &mut Gateways) {
        let (mut sink, mut messages) = subscription.split();
        let mut looks = interval(LOOK);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return };
                    if message.get_channel_name() == self.channels[1] {
                        if let Ok(words) = message.get_payload() {
                            self.pass(Notice::Said(words));
                        }
                        continue;
                    }
                    let text = std::str::from_utf8(message.get_payload_bytes()).ok();
                    if let Some((user, platforms)) = text.and_then(keys::change) {
                        self.tell(Change::User { user, platforms });
                    }
                }
                _ = looks.tick() => {
                    if gateways.look((self.registered)(), Instant::now()) {
                        self.tell(Change::Missed);
                    }
                    let ping = timeout(self.deadline, sink.ping::<redis::Value>());
                    if !matches!(ping.await, Ok(Ok(_))) {
                        return;
                    }
                }
            }
        }
    }

    fn pass(&self, notice: Notice) {
        // No receiver is no error.
        drop(self.notices.send(notice));
    }

    fn tell(&self, change: Change) {
        // No receiver is no error.
        drop(self.changes.send(change));
    }
}

/// Gateways whose registration ended.
#[derive(Default)]
struct Gateways {
    registered: HashSet<GatewayId>,
    /// When their marks have ended.
    gone: HashMap<GatewayId, Instant>,
}

impl Gateways {
    /// Whether marks of one that is gone have ended since the last look.
    fn look(&mut self, registered: Vec<GatewayId>, now: Instant) -> bool {
        let registered: HashSet<GatewayId> = registered.into_iter().collect();
        for gateway in self.registered.difference(&registered) {
            self.gone.insert(Arc::clone(gateway), now + keys::LIFETIME);
        }
        self.gone.retain(|gateway, _| !registered.contains(gateway));
        self.registered = registered;
        let before = self.gone.len();
        self.gone.retain(|_, ended| *ended > now);
        self.gone.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_vanished_counts_after_its_marks() {
        let (a, b): (GatewayId, GatewayId) = ("a".into(), "b".into());
        let mut gateways = Gateways::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let both = || vec![Arc::clone(&a), Arc::clone(&b)];
        assert!(!gateways.look(both(), at(0)));
        assert!(!gateways.look(vec![Arc::clone(&b)], at(1)));
        assert!(!gateways.look(vec![Arc::clone(&b)], at(5)));
        assert!(gateways.look(vec![Arc::clone(&b)], at(6)));
        assert!(!gateways.look(vec![Arc::clone(&b)], at(20)));
        // One that comes back was not gone.
        assert!(!gateways.look(vec![], at(21)));
        assert!(!gateways.look(both(), at(22)));
        assert!(!gateways.look(both(), at(40)));
    }
}
