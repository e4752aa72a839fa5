//! The consumer of the stored log: batches of messages become one call per gateway.

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_discovery::{Channel, name};
use magpie_log::{Batch, BatchLimits, Record, Topic};
use magpie_presence::GatewayId;
use magpie_proto::magpie::{
    gateway::{DeliverReq, Item, delivery_client::DeliveryClient},
    log::Stored,
};
use magpie_service::{Context, Deps, trace};
use magpie_types::UserId;
use moka::sync::Cache;
use prost::Message as _;
use tracing::{Span, info_span};

use crate::Config;

/// The consumer group of all push instances.
const GROUP: &str = "push";

pub(crate) struct Worker {
    deps: Deps,
    config: Config,
    /// Newest seq pushed per conversation, so that repeats after a takeover are dropped.
    pushed: Cache<String, i64>,
    gateways: Vec<(String, Channel)>,
}

impl Worker {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        let pushed = Cache::builder().max_capacity(config.pushed_entries).build();
        Self {
            deps,
            config,
            pushed,
            gateways: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        let shutdown = self.deps.shutdown.clone();
        let limits = BatchLimits {
            records: self.config.batch_records,
            bytes: self.config.batch_bytes,
        };
        let mut consumer = loop {
            match self.deps.log.subscribe(Topic::Stored, GROUP, limits).await {
                Ok(consumer) => break consumer,
                Err(e) => tracing::error!(error = %e, "push can't join its group"),
            }
            if self.pause().await.is_err() {
                return;
            }
        };
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                batch = consumer.next() => batch,
            };
            match batch {
                Ok(batch) => {
                    let positions = batch.last_positions();
                    self.deliver(batch).await;
                    if let Err(e) = consumer.commit(&positions).await {
                        tracing::warn!(error = %e, "push offsets can't be committed; the batch will be repeated");
                    }
                }
                Err(e) => {
                    tracing::error!(error = %e, "the stored log can't be read");
                    if self.pause().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn pause(&self) -> Result<(), ()> {
        tokio::select! {
            () = self.deps.shutdown.cancelled() => Err(()),
            () = tokio::time::sleep(Duration::from_millis(self.config.backoff_ms)) => Ok(()),
        }
    }

    async fn deliver(&mut self, batch: Batch) {
        let mut records: Vec<(Record, Stored, Span)> = Vec::with_capacity(batch.records.len());
        for mut record in batch.records {
            match Stored::decode(std::mem::take(&mut record.value)) {
                Ok(stored) if self.is_repeat(&stored) => {
                    metrics::counter!("magpie_push_repeats_total").increment(1)
                }
                Ok(stored) => {
                    let span = span(&stored);
                    records.push((record, stored, span));
                }
                Err(e) => {
                    tracing::error!(position = ?record.position, error = %e, "a stored record can't be read")
                }
            }
        }
        if records.is_empty() {
            return;
        }
        let mut users: HashMap<&str, usize> = HashMap::new();
        let mut ids: Vec<UserId> = Vec::new();
        for receiver in records.iter().flat_map(|(_, s, _)| &s.receiver_ids) {
            if users.contains_key(receiver.as_str()) {
                continue;
            }
            if let Ok(id) = UserId::new(receiver.as_str()) {
                users.insert(receiver, ids.len());
                ids.push(id);
            }
        }
        let lookup = loop {
            match self.deps.presence.lookup(&ids).await {
                Ok(lookup) => break lookup,
                Err(e) => tracing::warn!(error = %e, "presence can't be read"),
            }
            if self.pause().await.is_err() {
                return;
            }
        };
        let mut calls: HashMap<GatewayId, Vec<Item>> = HashMap::new();
        for (record, stored, span) in &records {
            let mut targets: HashMap<GatewayId, Vec<String>> = HashMap::new();
            for receiver in &stored.receiver_ids {
                let places = users
                    .get(receiver.as_str())
                    .and_then(|at| lookup.users.get(*at));
                let known = places.iter().flat_map(|p| &p.gateways).map(|(g, _)| g);
                for gateway in known.chain(&lookup.unknown) {
                    let here = targets.entry(Arc::clone(gateway)).or_default();
                    // An unknown gateway may be a known place of this user too.
                    if here.last() != Some(receiver) {
                        here.push(receiver.clone());
                    }
                }
            }
            span.record("gateways", targets.len());
            for (gateway, user_ids) in targets {
                calls
                    .entry(gateway)
                    .or_default()
                    .push(item(record, stored, span, user_ids));
            }
        }
        let pending: Vec<_> = calls
            .into_iter()
            .map(|(gateway, items)| self.call(gateway, items))
            .collect();
        futures::future::join_all(pending).await;
    }

    fn is_repeat(&self, stored: &Stored) -> bool {
        if stored.seq == 0 || stored.resend {
            return false;
        }
        if self
            .pushed
            .get(&stored.conversation_id)
            .is_some_and(|seq| stored.seq <= seq)
        {
            return true;
        }
        self.pushed
            .insert(stored.conversation_id.clone(), stored.seq);
        false
    }

    /// The way to this gateway and no other: one that got another's deliveries would take its own for repeats.
    fn channel(&mut self, gateway: &str) -> Option<Channel> {
        let known = |gateways: &[(String, Channel)]| {
            let found = gateways.iter().find(|(id, _)| id == gateway);
            found.map(|(_, channel)| channel.clone())
        };
        known(&self.gateways).or_else(|| {
            self.gateways = self.deps.registry.instances(name::GATEWAY);
            known(&self.gateways)
        })
    }

    fn call(&mut self, gateway: GatewayId, items: Vec<Item>) -> impl Future<Output = ()> + use<> {
        let channel = self.channel(&gateway);
        let timeout = Duration::from_millis(self.config.deliver_timeout_ms);
        async move {
            let Some(channel) = channel else {
                metrics::counter!("magpie_push_failed_total").increment(1);
                tracing::warn!(%gateway, "a gateway with connections is not registered");
                return;
            };
            let request = Context::internal("push").request(DeliverReq { items });
            let mut client = DeliveryClient::new(channel).max_decoding_message_size(usize::MAX);
            match tokio::time::timeout(timeout, client.deliver(request)).await {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => {
                    metrics::counter!("magpie_push_failed_total").increment(1);
                    tracing::warn!(%gateway, %status, "a gateway refused a batch");
                }
                Err(_) => {
                    metrics::counter!("magpie_push_failed_total").increment(1);
                    tracing::warn!(%gateway, "a gateway did not acknowledge a batch in time");
                }
            }
        }
    }
}

/// From the batch's arrival until every gateway has answered.
fn span(stored: &Stored) -> Span {
    trace::follow(&stored.traceparent, || {
        info_span!(
            parent: None,
            "push.deliver",
            operation.id = stored.operation_id,
            conversation.id = stored.conversation_id,
            seq = stored.seq,
            receivers = stored.receiver_ids.len(),
            gateways = tracing::field::Empty,
        )
    })
}

fn item(record: &Record, stored: &Stored, span: &Span, user_ids: Vec<String>) -> Item {
    Item {
        conversation_id: stored.conversation_id.clone(),
        msg: stored.msg.clone(),
        operation_id: stored.operation_id.clone(),
        user_ids,
        only_connection_id: if stored.resend {
            stored.connection_id.clone()
        } else {
            String::new()
        },
        seq: stored.seq,
        notification: stored.conversation_id.starts_with("n_"),
        partition: record.position.partition,
        offset: record.position.offset,
        traceparent: trace::traceparent(span),
        sender_id: stored.sender_id.clone(),
        sender_connection_id: stored.connection_id.clone(),
    }
}
