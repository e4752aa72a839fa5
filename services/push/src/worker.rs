//! The consumer of the stored log: batches of messages become one call per gateway.

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_log::{Batch, BatchLimits, Record, Topic};
use magpie_presence::GatewayId;
use magpie_proto::magpie::{gateway::Item, log::Stored};
use magpie_service::{Deps, trace};
use magpie_types::UserId;
use moka::sync::Cache;
use prost::Message as _;
use tracing::{Span, info_span};

use crate::{
    Config,
    gateways::{Gateways, Stopped},
};

/// The consumer group of all push instances.
const GROUP: &str = "push";

pub(crate) struct Worker {
    deps: Deps,
    config: Config,
    /// Newest seq pushed per conversation, so that repeats after a takeover are dropped.
    pushed: Cache<String, i64>,
    gateways: Gateways,
}

impl Worker {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        let pushed = Cache::builder().max_capacity(config.pushed_entries).build();
        let gateways = Gateways::new(&deps, &config);
        Self {
            deps,
            config,
            pushed,
            gateways,
        }
    }

    pub(crate) async fn run(self) {
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
                    if self.deliver(batch).await.is_err() {
                        return;
                    }
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

    async fn pause(&self) -> Result<(), Stopped> {
        tokio::select! {
            () = self.deps.shutdown.cancelled() => Err(Stopped),
            () = tokio::time::sleep(Duration::from_millis(self.config.backoff_ms)) => Ok(()),
        }
    }

    async fn deliver(&self, batch: Batch) -> Result<(), Stopped> {
        metrics::histogram!("magpie_push_batch_records").record(batch.records.len() as f64);
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
            return Ok(());
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
            match self.deps.whereabouts(&ids).await {
                Ok(lookup) => break lookup,
                Err(e) => {
                    tracing::warn!(error = %e, "presence can't be read, and no gateway is registered")
                }
            }
            self.pause().await?;
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
        let calls = calls
            .into_iter()
            .map(|(gateway, items)| self.gateways.deliver(gateway, items));
        futures::future::try_join_all(calls).await.map(drop)
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
        incarnation: record.position.incarnation,
        traceparent: trace::traceparent(span),
        sender_id: stored.sender_id.clone(),
        sender_connection_id: stored.connection_id.clone(),
    }
}
