//! The consumer of the stored log: batches of messages become one call per gateway.

use std::{collections::HashMap, sync::Arc, time::Duration};

use indexmap::IndexSet;
use magpie_log::{Batch, BatchLimits, Record, Topic};
use magpie_presence::{GatewayId, Lookup, PresenceError};
use magpie_proto::magpie::{
    gateway::{Audience, Item},
    log::Stored,
};
use magpie_service::{
    Deps,
    members::{self, Members},
    trace,
};
use magpie_types::UserId;
use moka::sync::Cache;
use prost::Message as _;
use tracing::{Span, info_span};

use crate::{
    Config,
    counts::{Counts, Stopped},
    gateways::Gateways,
};

/// The consumer group of all push instances.
const GROUP: &str = "push";

pub(crate) struct Worker {
    deps: Deps,
    config: Config,
    /// Newest seq pushed per conversation, so that repeats after a takeover are dropped.
    pushed: Cache<String, i64>,
    members: Members,
    counts: Counts,
    gateways: Gateways,
}

impl Worker {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        let pushed = Cache::builder().max_capacity(config.pushed_entries).build();
        let counts = Counts::new(&deps, &config);
        counts.guard(&deps.registry);
        let gateways = Gateways::new(&deps, &config, counts.clone());
        let members = Members::new(&deps, config.largest_group, config.member_entries);
        Self {
            deps,
            config,
            pushed,
            members,
            counts,
            gateways,
        }
    }

    pub(crate) async fn run(self) {
        let shutdown = self.deps.shutdown.clone();
        // Before it is known who is there, everybody would count as gone.
        let begun = tokio::select! {
            begun = self.counts.begin(&self.deps.registry) => begun,
            () = shutdown.cancelled() => Err(Stopped),
        };
        if begun.is_err() {
            return;
        }
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
        let mut ids: IndexSet<UserId> = IndexSet::new();
        let mut receivers = Vec::with_capacity(records.len());
        for (_, stored, _) in &mut records {
            receivers.push(match self.receivers(stored).await? {
                Receivers::Users(users) => {
                    let places = users.into_iter().map(|user| ids.insert_full(user).0);
                    Places::Of(places.collect())
                }
                Receivers::Audience(audience) => Places::Everywhere(audience),
            });
        }
        let ids = Vec::from_iter(ids);
        let lookup = self.told(|| self.deps.whereabouts(&ids)).await?;
        let mut all = Vec::new();
        if receivers.iter().any(|r| matches!(r, Places::Everywhere(_))) {
            all = self.told(|| self.deps.gateways()).await?;
        }
        let mut calls: HashMap<GatewayId, Vec<Item>> = HashMap::new();
        for ((record, stored, span), receivers) in records.iter().zip(receivers) {
            let whole = item(record, stored, span);
            let targets = match receivers {
                Places::Everywhere(audience) => {
                    span.record("gateways", all.len());
                    for gateway in &all {
                        let item = Item {
                            audience: Some(audience.clone()),
                            ..whole.clone()
                        };
                        calls.entry(Arc::clone(gateway)).or_default().push(item);
                    }
                    continue;
                }
                Places::Of(users) => {
                    span.record("receivers", users.len());
                    targets(&users, &ids, &lookup)
                }
            };
            span.record("gateways", targets.len());
            for (gateway, user_ids) in targets {
                let item = Item {
                    user_ids,
                    ..whole.clone()
                };
                calls.entry(gateway).or_default().push(item);
            }
        }
        let calls = calls
            .into_iter()
            .map(|(gateway, items)| self.gateways.deliver(gateway, items));
        futures::future::try_join_all(calls).await.map(drop)
    }

    /// What presence says; waits for it.
    async fn told<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Stopped>
    where
        F: Future<Output = Result<T, PresenceError>>,
    {
        loop {
            match ask().await {
                Ok(told) => return Ok(told),
                Err(e) => {
                    tracing::warn!(error = %e, "presence can't be read, and no gateway is registered")
                }
            }
            self.pause().await?;
        }
    }

    /// Who gets a record; waits for the store where that takes a list of members.
    async fn receivers(&self, stored: &mut Stored) -> Result<Receivers, Stopped> {
        if stored.group_id.is_empty() || stored.resend {
            let named = stored.receiver_ids.iter();
            let named = named.filter_map(|id| UserId::new(id).ok());
            return Ok(Receivers::Users(named.collect()));
        }
        let audience = audience(stored);
        loop {
            let everybody = |r: &members::Receivers<'_>| r.iter().cloned().collect();
            match self.members.receivers(&audience, everybody).await {
                Ok(Some(users)) => return Ok(Receivers::Users(users)),
                Ok(None) => return Ok(Receivers::Audience(audience)),
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

/// Who gets a record.
enum Receivers {
    Users(Vec<UserId>),
    /// Those of a large group, whom the gateways find.
    Audience(Audience),
}

/// Where a record is to go.
enum Places {
    /// To where these users are, by their place in the lookup.
    Of(Vec<usize>),
    Everywhere(Audience),
}

fn audience(stored: &mut Stored) -> Audience {
    let mut except = String::new();
    if stored.skip_sender {
        except.clone_from(&stored.sender_id);
    }
    Audience {
        group_id: stored.group_id.clone(),
        member_version: stored.member_version,
        change: stored.membership.take(),
        except,
    }
}

/// The gateways that some users may be connected to, with those users.
fn targets(users: &[usize], ids: &[UserId], lookup: &Lookup) -> HashMap<GatewayId, Vec<String>> {
    let mut targets: HashMap<GatewayId, Vec<String>> = HashMap::new();
    for at in users {
        let (user, places) = (ids[*at].as_str(), &lookup.users[*at]);
        let known = places.gateways.iter().map(|(gateway, _)| gateway);
        for gateway in known.chain(&lookup.unknown) {
            let here = match targets.get_mut(gateway) {
                Some(here) => here,
                None => targets.entry(Arc::clone(gateway)).or_default(),
            };
            // An unknown gateway may be a known place of this user too.
            if here.last().map(String::as_str) != Some(user) {
                here.push(user.to_owned());
            }
        }
    }
    targets
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

/// What every gateway gets of a record, but for its users.
fn item(record: &Record, stored: &Stored, span: &Span) -> Item {
    Item {
        conversation_id: stored.conversation_id.clone(),
        msg: stored.msg.clone(),
        operation_id: stored.operation_id.clone(),
        user_ids: Vec::new(),
        audience: None,
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
