//! Pushing messages: `magpie.gateway.Delivery`.
//!
//! One call carries many messages for many users of this gateway. A message is written as a frame once per codec in use and
//! all receivers share its bytes. Repeats are dropped: by their place in the stored log, where only what is above the last offset
//! delivered of a partition goes out, so that neither a stale push worker nor a takeover can reorder (design.md, Delivery); and
//! by their seq, as a transfer worker that takes a partition over may write messages to the stored log once more.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dashmap::DashMap;
use magpie_envelope::Codec;
use magpie_proto::magpie::gateway::{
    DeliverReq, DeliverResp, Item, ItemResult, delivery_server::Delivery,
};
use magpie_service::{Context, IntoStatus, members::Receivers, trace};
use magpie_types::ConversationId;
use moka::sync::Cache;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tonic::{Request, Response, Status};
use tracing::info_span;

use crate::hub::Hub;
use crate::outgoing::Push;
use crate::{frame, metrics};

/// Field of `PushMessages` for chats.
const MSGS: u32 = 1;
/// Field of `PushMessages` for notification streams.
const NOTIFICATION_MSGS: u32 = 2;

/// A partition of one making of the stored log. A repartition makes it anew: its offsets begin again, and a push worker that stood
/// still meanwhile may come with those of before.
type Partition = (u64, u32);

fn partition(item: &Item) -> Partition {
    (item.incarnation, item.partition)
}

/// Where a record is.
fn position(item: &Item) -> (Partition, u64) {
    (partition(item), item.offset)
}

/// What was delivered: the last offset of each partition of the stored log, and the newest seq of each conversation of late.
pub(crate) struct Delivered {
    offsets: DashMap<Partition, Arc<Mutex<Option<u64>>>>,
    seqs: Cache<String, i64>,
}

impl Delivered {
    /// Remembers the newest seqs of so many conversations.
    pub(crate) fn new(conversations: u64) -> Self {
        Self {
            offsets: DashMap::new(),
            seqs: Cache::new(conversations),
        }
    }

    fn offset(&self, partition: Partition) -> Arc<Mutex<Option<u64>>> {
        Arc::clone(self.offsets.entry(partition).or_default().value())
    }

    fn has_seq(&self, item: &Item) -> bool {
        let newest = || self.seqs.get(&item.conversation_id);
        item.seq > 0 && newest().is_some_and(|newest| item.seq <= newest)
    }

    /// Never back: a repeat has an older one.
    fn raise_seqs(&self, items: &[Item]) {
        for item in items.iter().filter(|item| item.seq > 0) {
            if !is_answer(item) && !self.has_seq(item) {
                self.seqs.insert(item.conversation_id.clone(), item.seq);
            }
        }
    }
}

/// For the connection that sent a message again, and for no other.
fn is_answer(item: &Item) -> bool {
    !item.only_connection_id.is_empty()
}

/// The service.
pub(crate) struct DeliveryService(pub(crate) Arc<Hub>);

#[tonic::async_trait]
impl Delivery for DeliveryService {
    async fn deliver(&self, request: Request<DeliverReq>) -> Result<Response<DeliverResp>, Status> {
        Context::of(&request)?
            .require_internal()
            .map_err(IntoStatus::into_status)?;
        let mut items = request.into_inner().items;
        read_lists(&self.0, &items).await;
        let mut results = Vec::with_capacity(items.len());
        for record in items.chunk_by_mut(|a, b| position(a) == position(b)) {
            // Nothing may come between the two: what a list has followed is to be delivered, or a repeat would miss who has left.
            find_receivers(&self.0, record).await?;
            deliver_record(&self.0, record, &mut results);
        }
        Ok(Response::new(DeliverResp { results }))
    }
}

/// Reads the lists of members that the first items of groups need, so that the groups do not wait for each other.
async fn read_lists(hub: &Hub, items: &[Item]) {
    let mut groups = HashSet::new();
    let mut firsts = Vec::new();
    for audience in items.iter().filter_map(|item| item.audience.as_ref()) {
        if groups.insert(audience.group_id.as_str()) {
            firsts.push(audience);
        }
    }
    hub.members.prepare(&firsts).await;
}

/// Names the users of this gateway who belong to the audiences. Waits for the store; push gives up waiting, in the end.
async fn find_receivers(hub: &Hub, items: &mut [Item]) -> Result<(), Status> {
    for item in items {
        let Some(audience) = &item.audience else {
            continue;
        };
        item.user_ids = loop {
            let pick = |receivers: &Receivers<'_>| hub.registry.among(receivers);
            match hub.members.receivers(audience, pick).await {
                Ok(found) => {
                    let found = found.unwrap_or_default().into_iter();
                    break found.map(String::from).collect();
                }
                Err(e) => tracing::warn!(
                    group = audience.group_id,
                    error = e.report(),
                    "the members of a group can't be read"
                ),
            }
            tokio::select! {
                () = hub.deps.shutdown.cancelled() => {
                    return Err(Status::unavailable("the gateway stops"));
                }
                () = tokio::time::sleep(hub.config.member_backoff()) => {}
            }
        };
    }
    Ok(())
}

/// Items of one record: a message for many users may come in parts. So they are compared with what came before the record.
fn deliver_record(hub: &Hub, run: &[Item], results: &mut Vec<ItemResult>) {
    let Some(first) = run.first() else { return };
    let position = hub.delivered.offset(partition(first));
    let mut last = position.lock().unwrap_or_else(PoisonError::into_inner);
    let floor = *last;
    let is_repeat = |item: &Item| {
        floor.is_some_and(|floor| item.offset <= floor) || hub.delivered.has_seq(item)
    };
    for item in run {
        let repeated = !is_answer(item) && is_repeat(item);
        if repeated {
            metrics::repeated_item();
        }
        results.push(deliver_item(hub, item, repeated));
        if !is_answer(item) {
            *last = (*last).max(Some(item.offset));
        }
    }
    hub.delivered.raise_seqs(run);
}

/// Writes an item to its receivers. A repeated one is not written; its receivers had it, or will have synchronised since.
fn deliver_item(hub: &Hub, item: &Item, repeated: bool) -> ItemResult {
    let span = trace::follow(&item.traceparent, || {
        info_span!(
            parent: None,
            "gateway.deliver",
            operation.id = item.operation_id,
            conversation.id = item.conversation_id,
            seq = item.seq,
            repeated,
            connections = tracing::field::Empty,
        )
    });
    let mut frames = Frames {
        item,
        data: None,
        frames: Default::default(),
    };
    let only = is_answer(item).then(|| hub.connection_number(&item.only_connection_id));
    let sender = hub.connection_number(&item.sender_connection_id);
    let conversation = ConversationId::trusted(item.conversation_id.as_str());
    let mut missed = Vec::new();
    let mut written = 0;
    for (place, user_id) in (0..).zip(&item.user_ids) {
        let mut is_here = false;
        hub.registry.each(user_id, |conn| {
            let number = Some(conn.number);
            if conn.is_asleep() || only.is_some_and(|only| only != number) {
                return;
            }
            if !repeated {
                let push = Push {
                    stem: conversation.stem(),
                    operation_id: &item.operation_id,
                    own: sender == number || only == Some(number),
                };
                conn.push(&push, frames.get(conn.codec));
                written += 1;
            }
            is_here = true;
        });
        if item.audience.is_none() && !is_here {
            missed.push(place);
        }
    }
    span.record("connections", written);
    metrics::frames_out(written);
    ItemResult { missed }
}

/// The frames of one item, each made when it is first needed.
struct Frames<'a> {
    item: &'a Item,
    data: Option<Vec<u8>>,
    frames: [Option<Bytes>; Codec::ALL.len()],
}

impl Frames<'_> {
    fn get(&mut self, codec: Codec) -> Bytes {
        let frame = &mut self.frames[codec.index()];
        if let Some(frame) = frame {
            return frame.clone();
        }
        let data = self.data.get_or_insert_with(|| push_messages(self.item));
        let made = frame::binary(&codec.push_frame(&self.item.operation_id, data));
        frame.insert(made).clone()
    }
}

/// `PushMessages` with this one message, around its bytes as they are: a map entry {1: conversation, 2: {1: message}}.
fn push_messages(item: &Item) -> Vec<u8> {
    let id = item.conversation_id.as_bytes();
    let pull_msgs = delimited_len(item.msg.len());
    let entry = delimited_len(id.len()) + delimited_len(pull_msgs);
    let field = if item.notification {
        NOTIFICATION_MSGS
    } else {
        MSGS
    };
    let mut data = Vec::with_capacity(delimited_len(entry));
    open(field, entry, &mut data);
    open(1, id.len(), &mut data);
    data.extend_from_slice(id);
    open(2, pull_msgs, &mut data);
    open(1, item.msg.len(), &mut data);
    data.extend_from_slice(&item.msg);
    data
}

fn open(field: u32, length: usize, data: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, data);
    encode_varint(length as u64, data);
}

/// A field number below 16, a length, and that many bytes.
fn delimited_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

#[cfg(test)]
mod tests {
    use magpie_proto::openim::sdkws::{MsgData, PullMsgs, PushMessages};
    use prost::Message;

    use super::*;

    #[test]
    fn the_hand_made_push_is_the_encoded_message() {
        for (notification, content) in [(false, 3), (true, 300), (false, 40_000)] {
            let msg = MsgData {
                client_msg_id: "c".to_owned(),
                content: vec![7; content].into(),
                ..MsgData::default()
            };
            let item = Item {
                conversation_id: "si_a_b".to_owned(),
                msg: msg.encode_to_vec().into(),
                notification,
                ..Item::default()
            };
            let pulled = PullMsgs {
                msgs: vec![msg],
                is_end: false,
                end_seq: 0,
            };
            let map = [("si_a_b".to_owned(), pulled)].into_iter().collect();
            let expected = if notification {
                PushMessages {
                    notification_msgs: map,
                    ..PushMessages::default()
                }
            } else {
                PushMessages {
                    msgs: map,
                    ..PushMessages::default()
                }
            };
            let data = push_messages(&item);
            assert_eq!(data, expected.encode_to_vec());
            assert_eq!(data.len(), data.capacity());
        }
    }
}
