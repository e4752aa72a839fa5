//! A push worker over a scripted log, presence that can fail, and gateways that keep what they get.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use magpie_discovery::{Channel, Farewell, InProcess, Registry, name};
use magpie_presence::{
    Change, GatewayId, Lookup, Notice, Platforms, Presence, PresenceError, Result,
};
use magpie_proto::magpie::{
    gateway::{
        DeliverReq, DeliverResp, Item,
        delivery_server::{Delivery, DeliveryServer},
    },
    log::Stored,
};
use magpie_push::Config;
use magpie_service::Deps;
use magpie_store::{Documents as _, documents::Missed, key};
use magpie_testkit::{Engines, ScriptedLog};
use magpie_types::{Platform, UserId};
use prost::Message as _;
use tokio::sync::{broadcast, watch};
use tonic::{Request, Response, Status, service::Routes};

pub(crate) type Delivered = Arc<Mutex<Vec<Vec<Item>>>>;

/// A gateway that keeps the calls it gets.
#[derive(Clone, Default)]
pub(crate) struct Gateway {
    pub(crate) calls: Delivered,
    pub(crate) silent: Arc<AtomicBool>,
    /// Reads the members of a large group, and answers other calls meanwhile.
    pub(crate) reading: Arc<watch::Sender<bool>>,
}

#[tonic::async_trait]
impl Delivery for Gateway {
    async fn deliver(&self, request: Request<DeliverReq>) -> Result<Response<DeliverResp>, Status> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let items = request.into_inner().items;
        if !items.is_empty() {
            let mut reading = self.reading.subscribe();
            drop(reading.wait_for(|reading| !reading).await);
        }
        self.calls.lock().unwrap().push(items);
        Ok(Response::new(DeliverResp::default()))
    }
}

/// The gateways that are registered now, and what comes before one of them is forgotten.
#[derive(Default)]
pub(crate) struct Gateways(
    pub(crate) Mutex<BTreeMap<String, Channel>>,
    pub(crate) Mutex<Option<Farewell>>,
);

impl Registry for Gateways {
    fn channel(&self, service: &'static str) -> Channel {
        InProcess::new().channel(service)
    }

    fn instances(&self, service: &'static str) -> Vec<(String, Channel)> {
        assert_eq!(service, name::GATEWAY);
        let all = self.0.lock().unwrap();
        all.iter().map(|(id, c)| (id.clone(), c.clone())).collect()
    }

    fn before_forgetting(&self, service: &'static str, farewell: Farewell) {
        assert_eq!(service, name::GATEWAY);
        *self.1.lock().unwrap() = Some(farewell);
    }
}

/// Presence that may fail, and may not know everything of some gateways.
pub(crate) struct Flawed {
    inner: magpie_presence::SharedPresence,
    pub(crate) failures: Mutex<usize>,
    pub(crate) unknown: Mutex<Vec<GatewayId>>,
}

#[async_trait]
impl Presence for Flawed {
    async fn report(&self, gateway: &GatewayId, users: &[(UserId, Platforms)]) -> Result<()> {
        self.inner.report(gateway, users).await
    }

    async fn renew(&self, gateway: &GatewayId) -> Result<Vec<UserId>> {
        self.inner.renew(gateway).await
    }

    async fn leave(&self, gateway: &GatewayId) -> Result<()> {
        self.inner.leave(gateway).await
    }

    async fn gateways(&self) -> Result<Vec<GatewayId>> {
        self.inner.gateways().await
    }

    async fn lookup(&self, users: &[UserId]) -> Result<Lookup> {
        {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(PresenceError::Unavailable("away".to_owned()));
            }
        }
        let mut found = self.inner.lookup(users).await?;
        found.unknown.clone_from(&self.unknown.lock().unwrap());
        Ok(found)
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes()
    }

    async fn announce(&self, notice: String) -> Result<()> {
        self.inner.announce(notice).await
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.inner.notices()
    }
}

pub(crate) struct World {
    pub(crate) log: ScriptedLog,
    pub(crate) gateways: Arc<Gateways>,
    pub(crate) presence: Arc<Flawed>,
    pub(crate) engines: Engines,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Self::config()).await
    }

    /// Short times.
    pub(crate) fn config() -> Config {
        Config {
            deliver_timeout_ms: 300,
            backoff_ms: 5,
            ..Config::default()
        }
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::over(config, &[]).await
    }

    /// One whose store has the counts of these gateways when push starts; none is registered yet.
    pub(crate) async fn over(config: Config, counts: &[&str]) -> Self {
        let gateways = Arc::new(Gateways::default());
        let engines = Engines::new().await;
        for gateway in counts {
            engines.deps.store.add(count(gateway)).await.unwrap();
        }
        let presence = Arc::new(Flawed {
            inner: Arc::clone(&engines.deps.presence),
            failures: Mutex::default(),
            unknown: Mutex::default(),
        });
        let log = ScriptedLog::default();
        let deps = Deps {
            log: Arc::new(log.clone()),
            registry: Arc::<Gateways>::clone(&gateways),
            presence: Arc::<Flawed>::clone(&presence),
            ..engines.deps.clone()
        };
        magpie_push::start(&deps, config);
        // It has begun when it takes a batch.
        log.feed(std::iter::empty()).await;
        Self {
            log,
            gateways,
            presence,
            engines,
        }
    }

    /// Registers a gateway to which these users are connected.
    pub(crate) async fn gateway(&self, id: &str, users: &[&str]) -> Delivered {
        self.add(id, Gateway::default(), users).await
    }

    pub(crate) async fn add(&self, id: &str, gateway: Gateway, users: &[&str]) -> Delivered {
        self.count(id).await;
        let registry = InProcess::new();
        let server = DeliveryServer::new(gateway.clone());
        registry.serve(name::GATEWAY, Routes::new(server));
        let channel = registry.channel(name::GATEWAY);
        self.gateways
            .0
            .lock()
            .unwrap()
            .insert(id.to_owned(), channel);
        self.connect(id, users).await;
        gateway.calls
    }

    /// Makes the count of a gateway, as it does itself when it starts.
    pub(crate) async fn count(&self, gateway: &str) {
        let first = count(gateway);
        self.engines.deps.store.add(first).await.unwrap();
    }

    /// Batches that were given up for a gateway, if it has a count.
    pub(crate) async fn missed(&self, gateway: &str) -> Option<i64> {
        let store = &self.engines.deps.store;
        let found: Option<Missed> = store.find(key![gateway]).await.unwrap();
        found.map(|missed| missed.count)
    }

    pub(crate) async fn connect(&self, gateway: &str, users: &[&str]) {
        let web = || Platforms::from_iter([Platform::Web]);
        let users: Vec<_> = users
            .iter()
            .map(|id| (UserId::new(*id).unwrap(), web()))
            .collect();
        self.presence.report(&gateway.into(), &users).await.unwrap();
    }
}

fn count(gateway: &str) -> Missed {
    Missed {
        gateway_id: gateway.to_owned(),
        count: 0,
        rev: 0,
        seen_at: 0,
    }
}

pub(crate) fn stored(seq: i64, receivers: &[&str]) -> Stored {
    Stored {
        conversation_id: "si_a_b".to_owned(),
        seq,
        msg: format!("body {seq}").into_bytes().into(),
        operation_id: "op".to_owned(),
        connection_id: "sender's connection".to_owned(),
        sender_id: "a".to_owned(),
        receiver_ids: receivers.iter().map(|id| (*id).to_owned()).collect(),
        ..Stored::default()
    }
}

pub(crate) fn at(offset: u64, stored: &Stored) -> (u64, &'static str, Vec<u8>) {
    (offset, "a_b", stored.encode_to_vec())
}

/// The calls since the last look: per call, seq and receivers of each item.
pub(crate) fn calls(delivered: &Delivered) -> Vec<Vec<(i64, Vec<String>)>> {
    std::mem::take(&mut *delivered.lock().unwrap())
        .into_iter()
        .map(|items| items.into_iter().map(|i| (i.seq, i.user_ids)).collect())
        .collect()
}

pub(crate) fn item(seq: i64, users: &[&str]) -> (i64, Vec<String>) {
    (seq, users.iter().map(|id| (*id).to_owned()).collect())
}
