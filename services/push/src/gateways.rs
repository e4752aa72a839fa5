//! Calls of gateways, and what happens when one does not answer.
//!
//! A gateway that has not acknowledged in time is given up: its count of missed deliveries is raised in the store before the
//! offsets are committed, and the gateway, which reads it at every renewal of its presence, ends its connections, which then
//! synchronise. After a timeout it is *silent* until it answers a probe: its deliveries are not waited for, each batch of them is
//! missed at once, and the other gateways are not delayed.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use magpie_discovery::{Channel, SharedRegistry, name};
use magpie_presence::GatewayId;
use magpie_proto::magpie::gateway::{DeliverReq, Item, delivery_client::DeliveryClient};
use magpie_service::{Context, Deps};
use tokio::time::{Instant, error::Elapsed, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use crate::{
    Config,
    counts::{Counts, Stopped},
};

/// See the module.
pub(crate) struct Gateways {
    counts: Counts,
    registry: SharedRegistry,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    timeout: Duration,
    patience: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    ways: HashMap<String, Channel>,
    /// Gateways that have not answered, with whether a probe is under way.
    silent: HashMap<GatewayId, bool>,
    /// Gateways whose last batch with a large group took too long: they get no more time than others until one does not.
    slow: HashSet<GatewayId>,
}

impl Gateways {
    pub(crate) fn new(deps: &Deps, config: &Config, counts: Counts) -> Self {
        Self {
            counts,
            registry: Arc::clone(&deps.registry),
            tasks: deps.tasks.clone(),
            shutdown: deps.shutdown.clone(),
            timeout: Duration::from_millis(config.deliver_timeout_ms),
            patience: Duration::from_millis(config.audience_timeout_ms),
            state: Arc::default(),
        }
    }

    /// Brings items to a gateway. When this returns they were acknowledged, or the store knows that they were missed; `Err` says
    /// that the process stops before either.
    pub(crate) async fn deliver(
        &self,
        gateway: GatewayId,
        items: Vec<Item>,
    ) -> Result<(), Stopped> {
        if self.is_silent(&gateway) {
            self.probe(&gateway);
            return self.missed(&gateway).await;
        }
        let reason = match self.way(&gateway) {
            None => "it is not registered".to_owned(),
            Some(way) => match self.bring(&gateway, way, items).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(status)) => {
                    self.state().ways.remove(&*gateway);
                    status.to_string()
                }
                Err(elapsed) => {
                    self.state().silent.insert(Arc::clone(&gateway), false);
                    self.probe(&gateway);
                    elapsed.to_string()
                }
            },
        };
        tracing::warn!(%gateway, reason, "a gateway has missed a batch");
        self.missed(&gateway).await
    }

    /// Hands the items over within the time that it may take.
    async fn bring(
        &self,
        gateway: &GatewayId,
        way: Channel,
        items: Vec<Item>,
    ) -> Result<Result<(), Status>, Elapsed> {
        let may_read = items.iter().any(|item| item.audience.is_some());
        let mut end = Instant::now();
        if may_read && !self.state().slow.contains(gateway) {
            end += self.patience;
        }
        let mut call = pin!(call(way.clone(), items));
        loop {
            let done = timeout(self.timeout, &mut call).await;
            let goes_on = done.is_err() && Instant::now() < end;
            if goes_on && answers(&way, self.timeout).await {
                continue;
            }
            if may_read {
                let slow = &mut self.state().slow;
                match done {
                    Ok(Ok(())) => slow.remove(gateway),
                    _ => slow.insert(Arc::clone(gateway)),
                };
            }
            return done;
        }
    }

    /// The way to this gateway and no other: one that got another's deliveries would take its own for repeats.
    fn way(&self, gateway: &str) -> Option<Channel> {
        let mut state = self.state();
        if !state.ways.contains_key(gateway) {
            state.ways = self.registry.instances(name::GATEWAY).into_iter().collect();
        }
        state.ways.get(gateway).cloned()
    }

    fn is_silent(&self, gateway: &GatewayId) -> bool {
        self.state().silent.contains_key(gateway)
    }

    /// Asks a silent gateway, once at a time and beside the deliveries, whether it answers again.
    fn probe(&self, gateway: &GatewayId) {
        let under_way = self
            .state()
            .silent
            .get_mut(gateway)
            .is_some_and(|probing| std::mem::replace(probing, true));
        if under_way {
            return;
        }
        let (way, state) = (self.way(gateway), Arc::clone(&self.state));
        let (gateway, limit) = (Arc::clone(gateway), self.timeout);
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let answers = async {
                match way {
                    Some(way) => answers(&way, limit).await,
                    None => false,
                }
            };
            let answers = tokio::select! {
                answers = answers => answers,
                () = shutdown.cancelled() => return,
            };
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if answers {
                state.silent.remove(&gateway);
            } else {
                state.silent.insert(Arc::clone(&gateway), false);
                // A gateway that is gone is named by nobody any more; one that comes back is found again.
                state.ways.remove(&*gateway);
                state.slow.remove(&*gateway);
            }
        });
    }

    async fn missed(&self, gateway: &GatewayId) -> Result<(), Stopped> {
        metrics::counter!("magpie_push_missed_total").increment(1);
        self.counts.raise(gateway).await
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the gateway answers a call with nothing in it.
async fn answers(way: &Channel, limit: Duration) -> bool {
    let answer = timeout(limit, call(way.clone(), Vec::new()));
    answer.await.is_ok_and(|answer| answer.is_ok())
}

async fn call(way: Channel, items: Vec<Item>) -> Result<(), Status> {
    let request = Context::internal("push").request(DeliverReq { items });
    let mut client = DeliveryClient::new(way).max_decoding_message_size(usize::MAX);
    client.deliver(request).await.map(drop)
}
