//! One batch: number, insert, resolve conflicts, renumber, until every record has its place.
//!
//! The records of one stem (chat, notifications and unstored alike) form a run that is applied and published in order; the
//! first failure ends the run, the tail is read again and the rest is renumbered, so there is never a hole. Ids are looked up
//! only on a conflict, but then all that are left in the run at once: after a crash a whole batch can be a replay.
//!
//! A record that changes a group's membership ends what is inserted at once: its bounds stand before anything after it does.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use magpie_log::{Position, Record};
use magpie_proto::magpie::log::{Inbound, Stored};
use magpie_service::trace;
use magpie_store::{
    Document, Documents as _, Outcome, RunItem, SharedStore, Value,
    documents::Message,
    store::{Result, StoreError},
};
use prost::Message as _;
use tracing::{Span, info_span};

use crate::{
    effects::{self, NewChats},
    membership::{self, Place, Versions, version_at},
    tails::Tails,
};

/// One record under way.
pub(crate) struct Item {
    pub(crate) record: Inbound,
    pub(crate) position: Position,
    /// From the batch's arrival until the record is published.
    span: Span,
}

/// Messages of a run that are stored already, by id.
type Known = HashMap<Bytes, Message>;

/// A record for the stored log.
pub(crate) struct Publish {
    /// The stem.
    pub(crate) key: Bytes,
    pub(crate) stored: Stored,
    _span: Span,
}

/// What a batch came to, in the order in which it is published.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) publish: Vec<Publish>,
    /// Records that can never be stored, with the reason.
    pub(crate) parked: Vec<(Position, String)>,
    pub(crate) resends: u64,
    pub(crate) replays: u64,
    /// Conversations whose first message is in the batch.
    pub(crate) new_chats: NewChats,
}

fn stem(conversation: &str) -> &str {
    conversation
        .split_once('_')
        .map_or(conversation, |(_, stem)| stem)
}

/// Decodes the records of a batch into runs, one per stem, in order. A record of a version that is too new is nothing to park: it
/// waits for this process to be updated.
pub(crate) fn runs(records: Vec<Record>, done: &mut Done) -> Result<Vec<VecDeque<Item>>> {
    let mut index: HashMap<Bytes, usize> = HashMap::new();
    let mut runs: Vec<VecDeque<Item>> = Vec::new();
    for record in records {
        match Inbound::decode(record.value) {
            Ok(inbound) if !magpie_proto::is_readable(inbound.version) => {
                return Err(StoreError::Unavailable(format!(
                    "a record has version {}, this process knows {}: finish the update",
                    inbound.version,
                    magpie_proto::RECORD_VERSION
                )));
            }
            Ok(inbound) => {
                let next = runs.len();
                let at = *index.entry(record.key).or_insert(next);
                if at == next {
                    runs.push(VecDeque::new());
                }
                if let Some(run) = runs.get_mut(at) {
                    run.push_back(Item {
                        span: span(&inbound),
                        record: inbound,
                        position: record.position,
                    });
                }
            }
            Err(e) => done.parked.push((record.position, e.to_string())),
        }
    }
    Ok(runs)
}

fn span(record: &Inbound) -> Span {
    trace::follow(&record.traceparent, || {
        info_span!(
            parent: None,
            "transfer.store",
            operation.id = record.operation_id,
            conversation.id = record.conversation_id,
            message.id = hex::encode(&record.server_msg_id),
            seq = tracing::field::Empty,
            resend = tracing::field::Empty,
        )
    })
}

/// Stores the runs and says what to publish; it reads at most so many last seqs at the same time. Fails only when the store is away;
/// then the whole batch is tried again.
pub(crate) async fn apply(
    store: &SharedStore,
    (tails, versions): (&Tails, &Versions),
    mut runs: Vec<VecDeque<Item>>,
    at_once: usize,
    done: &mut Done,
) -> Result<()> {
    let mut known: Vec<Known> = runs.iter().map(|_| Known::new()).collect();
    while runs.iter().any(|run| !run.is_empty()) {
        let stored = runs.iter().flatten().filter(|item| item.record.stored);
        let conversations = stored.map(|item| item.record.conversation_id.as_str());
        tails.read(store, conversations.collect(), at_once).await?;
        let mut numbered = Vec::with_capacity(runs.len());
        for (run, known) in runs.iter_mut().zip(&known) {
            let mut version = match run.front() {
                Some(front) => versions.before(store, &front.record).await?,
                None => 0,
            };
            repeats(store, (versions, &mut version), run, known, done).await?;
            numbered.push((version, number(store, (tails, version), run, known).await?));
        }
        let rows: Vec<Vec<RunItem>> = numbered
            .iter_mut()
            .map(|(_, n)| n.iter_mut().filter_map(|i| i.row.take()).collect())
            .collect();
        let outcomes = if rows.iter().all(Vec::is_empty) {
            vec![Vec::new(); rows.len()]
        } else {
            store.insert_runs(Message::SCHEMA, rows).await?
        };
        let runs = runs.iter_mut().zip(&mut known);
        for (((run, known), (version, numbered)), outcomes) in runs.zip(numbered).zip(outcomes) {
            let known_here = (tails, versions, version);
            let settled = settle(known_here, run, numbered, outcomes, done);
            if let Some(place) = settled.change {
                membership::apply(store, versions, &place).await?;
            }
            if settled.conflict {
                look_up(store, run, known).await?;
            }
        }
    }
    Ok(())
}

/// An item with the number it would get; `row` is there for stored ones.
struct Numbered {
    item: Item,
    seq: i64,
    body: Bytes,
    row: Option<RunItem>,
    is_stored: bool,
}

/// Takes items from the front of a run as far as they can be inserted in one go: a repeat of an id inside the run waits for
/// the next round, in which it meets the stored row, and so does one that is known to be stored.
async fn number(
    store: &SharedStore,
    (tails, version): (&Tails, i64),
    run: &mut VecDeque<Item>,
    known: &Known,
) -> Result<Vec<Numbered>> {
    let mut next: HashMap<String, i64> = HashMap::new();
    let mut seen: HashSet<Bytes> = HashSet::new();
    let mut numbered = Vec::with_capacity(run.len());
    let is_change = |n: &Numbered| n.item.record.membership.is_some();
    while let Some(front) = run.front() {
        if numbered.last().is_some_and(is_change) {
            break;
        }
        let record = &front.record;
        if !record.stored {
            let Some(item) = run.pop_front() else { break };
            let body = item.record.msg.clone();
            numbered.push(Numbered {
                item,
                seq: 0,
                body,
                row: None,
                is_stored: false,
            });
            continue;
        }
        if known.contains_key(&record.server_msg_id) || !seen.insert(record.server_msg_id.clone()) {
            break;
        }
        let last = match next.get(&record.conversation_id) {
            Some(last) => *last,
            None => tails.get(store, &record.conversation_id).await?,
        };
        let seq = last + 1;
        next.insert(record.conversation_id.clone(), seq);
        let Some(item) = run.pop_front() else { break };
        let body = with_seq(&item.record.msg, seq);
        let row = RunItem {
            row: row(&item, seq, body.clone(), version_at(version, &item.record)),
            then: effects::follow_ups(&item.record, seq),
        };
        numbered.push(Numbered {
            item,
            seq,
            body,
            row: Some(row),
            is_stored: true,
        });
    }
    Ok(numbered)
}

/// The encoded message with its seq: the field appended, as the last occurrence wins.
fn with_seq(msg: &Bytes, seq: i64) -> Bytes {
    const SEQ_FIELD: u32 = 14;
    let mut body = BytesMut::with_capacity(msg.len() + 11);
    body.put_slice(msg);
    prost::encoding::int64::encode(SEQ_FIELD, &seq, &mut body);
    body.freeze()
}

fn row(item: &Item, seq: i64, body: Bytes, member_version: i64) -> magpie_store::Row {
    Message {
        stem: stem(&item.record.conversation_id).to_owned(),
        server_msg_id: item.record.server_msg_id.clone(),
        conversation_id: item.record.conversation_id.clone(),
        seq,
        sender_id: item.record.sender_id.clone(),
        state: 0,
        body,
        revocation: Bytes::new(),
        send_time: item.record.send_time,
        log_incarnation: item.position.incarnation.cast_signed(),
        log_partition: item.position.partition,
        log_offset: item.position.offset.cast_signed(),
        member_version,
    }
    .into_row()
}

/// What became of a part of a run.
#[derive(Default)]
struct Settled {
    /// An id was met that is stored already.
    conflict: bool,
    /// Its last record changes a membership.
    change: Option<Place>,
}

/// Settles what was inserted and gives the rest back to the run.
fn settle(
    (tails, versions, version): (&Tails, &Versions, i64),
    run: &mut VecDeque<Item>,
    numbered: Vec<Numbered>,
    outcomes: Vec<Outcome>,
    done: &mut Done,
) -> Settled {
    let mut outcomes = outcomes.into_iter();
    let mut back: Vec<Item> = Vec::new();
    let mut settled = Settled::default();
    for n in numbered {
        if !back.is_empty() {
            back.push(n.item);
            continue;
        }
        let version = version_at(version, &n.item.record);
        if !n.is_stored {
            settled.change = Place::of(&n.item.record, n.item.position, 0);
            publish(done, &n.item, 0, n.body, (false, version));
            continue;
        }
        let conversation = n.item.record.conversation_id.clone();
        match outcomes.next().unwrap_or(Outcome::Skipped) {
            Outcome::Inserted => {
                tails.set(&conversation, n.seq);
                if n.seq == 1 {
                    done.new_chats.add(&n.item.record);
                }
                settled.change = Place::of(&n.item.record, n.item.position, n.seq);
                publish(done, &n.item, n.seq, n.body, (false, version));
            }
            // The row with this id settles it; or somebody else numbered on, and the tail is read again.
            outcome @ (Outcome::Conflict(_) | Outcome::Skipped) => {
                settled.conflict |= outcome == Outcome::Conflict("key");
                tails.forget(&conversation);
                versions.forget(&n.item.record);
                back.push(n.item);
            }
            Outcome::Refused(reason) => {
                done.parked.push((n.item.position, reason));
                tails.forget(&conversation);
            }
        }
    }
    for item in back.into_iter().rev() {
        run.push_front(item);
    }
    settled
}

/// Finds the messages of a run that are stored already; the first one is.
async fn look_up(store: &SharedStore, run: &VecDeque<Item>, known: &mut Known) -> Result<()> {
    let stored = run.iter().filter(|item| item.record.stored);
    let keys = stored.map(|item| key(&item.record)).collect();
    let found: Vec<Option<Message>> = store.find_many(keys).await?;
    known.extend(
        found
            .into_iter()
            .flatten()
            .map(|message| (message.server_msg_id.clone(), message)),
    );
    let first = run.front().map(|item| &item.record.server_msg_id);
    if first.is_some_and(|id| !known.contains_key(id)) {
        return Err(StoreError::Unavailable(
            "a conflicting message is gone".to_owned(),
        ));
    }
    Ok(())
}

fn key(record: &Inbound) -> magpie_store::Key {
    vec![
        Value::from(stem(&record.conversation_id)),
        Value::Blob(record.server_msg_id.clone()),
    ]
}

/// Takes the messages at the front of a run that are stored already, and the unstored ones between them. At the same log
/// position it is a replay, which passes through every later effect again; at another one it is a resend, answered to the
/// connection that asked.
async fn repeats(
    store: &SharedStore,
    (versions, version): (&Versions, &mut i64),
    run: &mut VecDeque<Item>,
    known: &Known,
    done: &mut Done,
) -> Result<()> {
    let (mut writes, mut changes) = (Vec::new(), Vec::new());
    let mut front: Vec<(Item, Option<&Message>)> = Vec::new();
    while let Some(item) = run.pop_front() {
        let found = known.get(&item.record.server_msg_id);
        if item.record.stored && found.is_none() || known.is_empty() {
            run.push_front(item);
            break;
        }
        let found = found.filter(|_| item.record.stored);
        if let Some(found) = found.filter(|found| is_replay(found, &item)) {
            writes.extend(effects::follow_ups(&item.record, found.seq));
        }
        if found.is_none_or(|found| is_replay(found, &item)) {
            let seq = found.map_or(0, |found| found.seq);
            changes.extend(Place::of(&item.record, item.position, seq));
        }
        front.push((item, found));
    }
    // Bounds before heads, as at first.
    for place in &changes {
        membership::apply(store, versions, place).await?;
        *version = place.version().max(*version);
    }
    if !writes.is_empty() {
        store.apply(writes).await?;
    }
    for (item, found) in front {
        let Some(found) = found else {
            let body = item.record.msg.clone();
            publish(
                done,
                &item,
                0,
                body,
                (false, version_at(*version, &item.record)),
            );
            continue;
        };
        let resend = !is_replay(found, &item);
        if resend {
            done.resends += 1;
        } else {
            done.replays += 1;
            if found.seq == 1 {
                done.new_chats.add(&item.record);
            }
        }
        if found.state == 0 && !(resend && item.record.connection_id.is_empty()) {
            let version = (resend, found.member_version);
            publish(done, &item, found.seq, found.body.clone(), version);
        }
    }
    Ok(())
}

fn is_replay(found: &Message, item: &Item) -> bool {
    found.log_incarnation == item.position.incarnation.cast_signed()
        && found.log_partition == item.position.partition
        && found.log_offset == item.position.offset.cast_signed()
}

fn publish(
    done: &mut Done,
    item: &Item,
    seq: i64,
    msg: Bytes,
    (resend, member_version): (bool, i64),
) {
    let record = &item.record;
    item.span.record("seq", seq).record("resend", resend);
    let stored = Stored {
        conversation_id: record.conversation_id.clone(),
        seq,
        msg,
        operation_id: record.operation_id.clone(),
        connection_id: record.connection_id.clone(),
        sender_id: record.sender_id.clone(),
        receiver_ids: if resend {
            vec![record.sender_id.clone()]
        } else {
            record.receiver_ids.clone()
        },
        group_id: record.group_id.clone(),
        resend,
        content_type: record.content_type,
        offline_push: record.offline_push,
        traceparent: trace::traceparent(&item.span),
        member_version,
        membership: record.membership.clone().filter(|_| !resend),
        skip_sender: record.skip_sender,
        session_type: record.session_type,
        version: magpie_proto::RECORD_VERSION,
    };
    done.publish.push(Publish {
        key: Bytes::copy_from_slice(stem(&record.conversation_id).as_bytes()),
        stored,
        _span: item.span.clone(),
    });
}
