//! Messages out of the store as a user sees them, never more than a budget of bytes.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
};

use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream, try_join,
};
use magpie_proto::openim::sdkws::MsgData;
use magpie_store::{
    Documents as _, Page,
    documents::{Hidden, Message, UserSeq},
    key,
};
use magpie_types::{
    ConversationId, Error, Result,
    msg::{content_type, status},
};
use prost::Message as _;

use crate::Service;

/// Messages read before they are counted: so much is read beyond the budget at most, and [`SPAN`] by a list.
const STEP: i64 = 50;
/// Listed seqs whose distance is below this are read together with what lies between.
const SPAN: i64 = 200;

/// Message states in the store.
pub(crate) mod state {
    /// Revoked: shown as a 2101.
    pub(crate) const REVOKED: i32 = 1;
    /// Deleted for everybody: only seq, status and time are shown.
    pub(crate) const DELETED: i32 = 4;
}

fn placeholder(seq: i64) -> MsgData {
    MsgData {
        seq,
        status: status::DELETED,
        ..MsgData::default()
    }
}

/// What an answer may still hold.
pub(crate) struct Budget {
    left: usize,
    spent: bool,
    empty: bool,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            left: bytes,
            spent: false,
            empty: true,
        }
    }

    /// Whether something had to be left out.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Whether this message goes in; the first one always does. Counts what it takes on the wire and in memory.
    pub(crate) fn take(&mut self, msg: &MsgData) -> bool {
        let size = msg.encoded_len() + size_of::<MsgData>();
        if self.spent || (size > self.left && !self.empty) {
            if !self.spent {
                metrics::counter!("magpie_msg_pulls_cut_total").increment(1);
            }
            self.spent = true;
            return false;
        }
        self.left = self.left.saturating_sub(size);
        self.empty = false;
        true
    }
}

/// One conversation, read for one user.
pub(crate) struct Reader<'a> {
    service: &'a Service,
    user: &'a str,
    conversation: &'a ConversationId,
    read: ReadSeqs,
}

#[derive(Default)]
struct ReadSeqs {
    peer: i64,
    own: i64,
}

impl Service {
    /// Readers of these conversations, in their order.
    pub(crate) async fn readers<'a>(
        &'a self,
        user: &'a str,
        conversations: impl IntoIterator<Item = &'a ConversationId>,
    ) -> Result<Vec<Reader<'a>>> {
        let conversations: Vec<_> = conversations.into_iter().collect();
        let is_pair = |c: &ConversationId| c.as_str().starts_with("si_");
        let stems = conversations
            .iter()
            .filter(|c| is_pair(c))
            .map(|c| c.stem());
        let stems: Vec<&str> = stems.collect();
        let participants = self.cache.participants_of(&self.deps, &stems).await?;
        let mut participants = participants.into_iter();
        let mut keys = Vec::new();
        let mut pairs = Vec::with_capacity(conversations.len());
        for conversation in &conversations {
            let pair = is_pair(conversation).then(|| participants.next().flatten());
            pairs.push(pair.flatten().inspect(|p| {
                let peer = if p.first == user { &p.second } else { &p.first };
                let id = conversation.as_str();
                keys.extend([key![peer.as_str(), id], key![user, id]]);
            }));
        }
        let seqs: Vec<Option<UserSeq>> = self.deps.store.find_many(keys).await?;
        let mut marked = seqs.into_iter().map(|s| s.map_or(0, |s| s.marked_seq));
        let readers = conversations
            .into_iter()
            .zip(pairs)
            .map(|(conversation, pair)| {
                let mut next = || pair.as_ref().and_then(|_| marked.next()).unwrap_or(0);
                Reader {
                    service: self,
                    user,
                    conversation,
                    read: ReadSeqs {
                        peer: next(),
                        own: next(),
                    },
                }
            });
        Ok(readers.collect())
    }
}

/// The seqs of a range that are read first: the newest.
fn newest_step(range: &RangeInclusive<i64>) -> RangeInclusive<i64> {
    (range.end() - STEP + 1).max(*range.start())..=*range.end()
}

/// How many of the first ranges are read before their messages are counted: as many as have no more than one long range is read of.
fn together(wanted: &[(Reader<'_>, RangeInclusive<i64>)]) -> usize {
    let mut messages = 0;
    let short = wanted.iter().take_while(|(_, range)| {
        messages += (range.end() - range.start() + 1).min(STEP);
        messages <= STEP
    });
    short.count()
}

impl Service {
    /// The messages of several ranges, those of each from the newest down as far as the budget goes, and whether that is all of it.
    /// Ranges that the budget does not reach are left out. No range is empty, and none begins before 1.
    pub(crate) async fn newest_of_each(
        &self,
        wanted: &[(Reader<'_>, RangeInclusive<i64>)],
        budget: &mut Budget,
    ) -> Result<Vec<(Vec<MsgData>, bool)>> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut rest = wanted;
        while !rest.is_empty() {
            let (wave, later) = rest.split_at(together(rest));
            let steps = wave
                .iter()
                .map(|(reader, range)| reader.load(newest_step(range)).boxed());
            let steps: Vec<BoxFuture<'_, _>> = steps.collect();
            let steps = stream::iter(steps).buffered(self.config.pull_reads.max(1));
            let steps: Vec<_> = steps.try_collect().await?;
            for ((reader, range), newest) in wave.iter().zip(steps) {
                if budget.is_spent() {
                    return Ok(found);
                }
                found.push(reader.newest(range, newest, budget).await?);
            }
            rest = later;
        }
        Ok(found)
    }
}

impl Reader<'_> {
    /// The messages of a range: one per seq, ascending, placeholders for what is missing. The caller keeps the range small.
    pub(crate) async fn load(&self, range: RangeInclusive<i64>) -> Result<Vec<MsgData>> {
        let (low, high) = (*range.start(), *range.end());
        let (store, id) = (&self.service.deps.store, self.conversation.as_str());
        let limit = usize::try_from(high - low + 1).unwrap_or(0);
        let stored = Page::of("by_seq", key![id], limit).between(low, high);
        let hidden = Page::of("key", key![self.user, id], limit).between(low, high);
        let (stored, hidden): (Vec<Message>, Vec<Hidden>) =
            try_join!(store.list(stored), store.list(hidden))?;
        let hidden: HashSet<i64> = hidden.into_iter().map(|h| h.seq).collect();
        let mut by_seq: HashMap<i64, Message> = stored.into_iter().map(|m| (m.seq, m)).collect();
        let shown: Result<Vec<MsgData>> = range
            .map(|seq| match by_seq.remove(&seq) {
                Some(message) => {
                    let read_up_to = if message.sender_id == self.user {
                        self.read.peer
                    } else {
                        self.read.own
                    };
                    show(message, hidden.contains(&seq), read_up_to)
                }
                None => Ok(placeholder(seq)),
            })
            .collect();
        let mut shown = shown?;
        self.service
            .revoke_quotes(self.conversation, &mut shown)
            .await?;
        Ok(shown)
    }

    /// The messages of a range, ascending, from the newest down as far as the budget goes, and whether that is all of it. The first step
    /// is read already.
    async fn newest(
        &self,
        range: &RangeInclusive<i64>,
        mut step: Vec<MsgData>,
        budget: &mut Budget,
    ) -> Result<(Vec<MsgData>, bool)> {
        let low = *range.start();
        let mut left = range.clone();
        let mut found = Vec::new();
        'all: loop {
            for msg in step.into_iter().rev() {
                if !budget.take(&msg) {
                    break 'all;
                }
                found.push(msg);
            }
            left = low..=newest_step(&left).start() - 1;
            if left.is_empty() {
                break;
            }
            step = self.load(newest_step(&left)).await?;
        }
        found.reverse();
        Ok((found, left.is_empty()))
    }

    /// The messages of a list in its order, as far as the budget goes.
    pub(crate) async fn listed(&self, seqs: &[i64], budget: &mut Budget) -> Result<Vec<MsgData>> {
        let mut found = Vec::new();
        for part in seqs.chunks(usize::try_from(STEP).unwrap_or(1)) {
            let (Some(low), Some(high)) = (part.iter().min(), part.iter().max()) else {
                continue;
            };
            let mut loaded: HashMap<i64, MsgData> = HashMap::new();
            if high - low < SPAN {
                let between = self.load(*low..=*high).await?;
                loaded.extend(between.into_iter().map(|m| (m.seq, m)));
            } else {
                for seq in part {
                    let one = self.load(*seq..=*seq).await?;
                    loaded.extend(one.into_iter().map(|m| (m.seq, m)));
                }
            }
            for seq in part {
                let msg = loaded.remove(seq).unwrap_or_else(|| placeholder(*seq));
                if !budget.take(&msg) {
                    return Ok(found);
                }
                found.push(msg);
            }
        }
        Ok(found)
    }
}

/// A stored message as a reader gets it.
fn show(message: Message, hidden: bool, read_up_to: i64) -> Result<MsgData> {
    if message.state == state::DELETED {
        return Ok(MsgData {
            send_time: message.send_time,
            ..placeholder(message.seq)
        });
    }
    let mut msg = MsgData::decode(message.body).map_err(Error::internal)?;
    msg.is_read = message.seq <= read_up_to
        && msg.session_type == 1
        && msg.content_type != content_type::HAS_READ_RECEIPT;
    if hidden {
        msg.content = bytes::Bytes::new();
        msg.status = status::DELETED;
    } else if message.state == state::REVOKED {
        msg.content_type = content_type::MSG_REVOKE;
        msg.content = message.revocation;
    }
    Ok(msg)
}
