//! The one watch of a process: a snapshot, then every change after its revision. Whatever ends it (etcd is away, a compaction
//! passed it, its stream broke), it starts over with a new connection and a new snapshot, for ever.

use std::{convert::Infallible, sync::Arc};

use etcd_client::{EventType, GetOptions, KeyValue, WatchOptions};

use crate::{
    client::{Away, Connector},
    endpoint::Instance,
    table::{Key, Table},
};

/// Follows the registrations until it is dropped.
pub(crate) async fn follow(client: Connector, table: Arc<Table>) {
    let mut pauses = client.pauses();
    loop {
        let mut reached = false;
        let why = match Box::pin(watch(&client, &table, &mut reached)).await {
            Err(why) => why,
            Ok(never) => match never {},
        };
        if reached {
            pauses = client.pauses();
        }
        let pause = pauses.next().unwrap_or_else(|| client.lease());
        metrics::counter!("magpie_discovery_watch_restarts_total").increment(1);
        tracing::warn!(error = %why, ?pause, "the watch of etcd ended; the last known instances stay");
        tokio::time::sleep(pause).await;
    }
}

async fn watch(
    client: &Connector,
    table: &Arc<Table>,
    reached: &mut bool,
) -> Result<Infallible, Away> {
    let mut etcd = client.connect().await?;
    let folder = client.folder();
    let all = GetOptions::new()
        .with_prefix()
        .with_limit(client.max_instances());
    let found = client.bounded(etcd.get(folder.as_str(), Some(all))).await?;
    if found.more() {
        tracing::error!(
            limit = client.max_instances(),
            "there are more instances than the limit; the others are not seen"
        );
    }
    let revision = found
        .header()
        .ok_or(Away::Ended("etcd told no revision"))?
        .revision();
    table.snapshot(
        found
            .kvs()
            .iter()
            .filter_map(|kv| read(&folder, kv))
            .collect(),
    );

    let after = WatchOptions::new()
        .with_prefix()
        .with_start_revision(revision + 1);
    let mut changes = client
        .bounded(etcd.watch(folder.as_str(), Some(after)))
        .await?;
    *reached = true;
    loop {
        let change = changes
            .message()
            .await?
            .ok_or(Away::Ended("etcd ended the watch"))?;
        if change.canceled() {
            return Err(Away::Ended(
                "etcd cancelled the watch; its place may have been compacted away",
            ));
        }
        for event in change.events() {
            let Some(kv) = event.kv() else { continue };
            match event.event_type() {
                EventType::Put => {
                    if let Some((key, instance)) = read(&folder, kv) {
                        table.put(key, instance);
                    }
                }
                EventType::Delete => {
                    if let Some(key) = read_key(&folder, kv) {
                        table.delete(&key);
                    }
                }
            }
        }
    }
}

fn read(folder: &str, kv: &KeyValue) -> Option<(Key, Instance)> {
    let read = || {
        Some((
            read_key(folder, kv)?,
            serde_json::from_slice(kv.value()).ok()?,
        ))
    };
    let found = read();
    if found.is_none() {
        tracing::warn!(key = %String::from_utf8_lossy(kv.key()), "a key among the registrations is none");
    }
    found
}

fn read_key(folder: &str, kv: &KeyValue) -> Option<Key> {
    let (service, instance) = kv.key_str().ok()?.strip_prefix(folder)?.split_once('/')?;
    Some((service.to_owned(), instance.to_owned()))
}
