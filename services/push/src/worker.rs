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
    members::Members,
};

/// The consumer group of all push instances.
const GROUP: &str = "push";

pub(crate) struct Worker {
    deps: Deps,
    config: Config,
    /// Newest seq pushed per conversation, so that repeats after a takeover are dropped.
    pushed: Cache<String, i64>,
    members: Members,
    gateways: Gateways,
}

impl Worker {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        let pushed = Cache::builder().max_capacity(config.pushed_entries).build();
        let gateways = Gateways::new(&deps, &config);
        let members = Members::new(&deps, config.member_entries);
        Self {
            deps,
            config,
            pushed,
            members,
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
        let mut audiences = Vec::with_capacity(records.len());
        for (_, stored, _) in &records {
            audiences.push(self.audience(stored).await?);
        }
        let mut users: HashMap<&UserId, usize> = HashMap::new();
        let mut ids: Vec<UserId> = Vec::new();
        for receiver in audiences.iter().flatten() {
            users.entry(receiver).or_insert_with(|| {
                ids.push(receiver.clone());
                ids.len() - 1
            });
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
        for ((record, stored, span), audience) in records.iter().zip(&audiences) {
            let mut targets: HashMap<GatewayId, Vec<String>> = HashMap::new();
            for receiver in audience {
                let places = users.get(receiver).and_then(|at| lookup.users.get(*at));
                let known = places.iter().flat_map(|p| &p.gateways).map(|(g, _)| g);
                for gateway in known.chain(&lookup.unknown) {
                    let here = match targets.get_mut(gateway) {
                        Some(here) => here,
                        None => targets.entry(Arc::clone(gateway)).or_default(),
                    };
                    // An unknown gateway may be a known place of this user too.
                    if here.last().map(String::as_str) != Some(receiver.as_str()) {
                        here.push(receiver.to_string());
                    }
                }
            }
            span.record("receivers", audience.len());
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

    /// Who gets a record; waits for the store where that takes a list of members.
    async fn audience(&self, stored: &Stored) -> Result<Vec<UserId>, Stopped> {
        let named = |ids: &[String]| ids.iter().filter_map(|id| UserId::new(id).ok()).collect();
        if stored.group_id.is_empty() || stored.resend {
            return Ok(named(&stored.receiver_ids));
        }
        loop {
            match self.members.audience(stored).await {
                Ok(audience) => return Ok(audience),
                Err(e) => tracing::warn!(
                    group = stored.group_id,
                    error = e.report(),
                    "the members of a group can't be read"
                ),
            }
            self.pause().await?;
        }
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
            receivers = tracing::field::Empty,
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
