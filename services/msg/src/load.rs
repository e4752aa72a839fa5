//! Messages out of the store as a user sees them, never more than a budget of bytes.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
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

/// Messages read at once; so much is read beyond the budget at most.
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
    pub(crate) async fn reader<'a>(
        &'a self,
        user: &'a str,
        conversation: &'a ConversationId,
    ) -> Result<Reader<'a>> {
        Ok(Reader {
            service: self,
            user,
            conversation,
            read: self.read_by(user, conversation).await?,
        })
    }

    async fn read_by(&self, user: &str, conversation: &ConversationId) -> Result<ReadSeqs> {
        if !conversation.as_str().starts_with("si_") {
            return Ok(ReadSeqs::default());
        }
        let Some(p) = self
            .cache
            .participants(&self.deps, conversation.stem())
            .await?
        else {
            return Ok(ReadSeqs::default());
        };
        let peer = if p.first == user { &p.second } else { &p.first };
        let id = conversation.as_str();
        let both: Vec<Option<UserSeq>> = self
            .deps
            .store
            .find_many(vec![key![peer.as_str(), id], key![user, id]])
            .await?;
        let mut read = both.into_iter().map(|s| s.map_or(0, |s| s.marked_seq));
        Ok(ReadSeqs {
            peer: read.next().unwrap_or(0),
            own: read.next().unwrap_or(0),
        })
    }
}

impl Reader<'_> {
    /// The messages of a range: one per seq, ascending, placeholders for what is missing. The caller keeps the range small.
    pub(crate) async fn load(&self, range: RangeInclusive<i64>) -> Result<Vec<MsgData>> {
        let (low, high) = (*range.start(), *range.end());
        let (store, id) = (&self.service.deps.store, self.conversation.as_str());
        let limit = usize::try_from(high - low + 1).unwrap_or(0);
        let page = Page::of("by_seq", key![id], limit).between(low, high);
        let stored: Vec<Message> = store.list(page).await?;
        let page = Page::of("key", key![self.user, id], limit).between(low, high);
        let hidden: Vec<Hidden> = store.list(page).await?;
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

    /// The messages of a range, ascending, from the newest down as far as the budget goes, and whether that is all of it.
    pub(crate) async fn newest(
        &self,
        range: RangeInclusive<i64>,
        budget: &mut Budget,
    ) -> Result<(Vec<MsgData>, bool)> {
        let (low, mut high) = (*range.start(), *range.end());
        let mut found = Vec::new();
        'all: while high >= low {
            let from = (high - STEP + 1).max(low);
            for msg in self.load(from..=high).await?.into_iter().rev() {
                if !budget.take(&msg) {
                    break 'all;
                }
                found.push(msg);
            }
            high = from - 1;
        }
        found.reverse();
        Ok((found, high < low))
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
