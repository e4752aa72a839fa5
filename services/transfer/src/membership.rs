//! Membership has a place in the order: a record that says who joined or left sets their bounds in the group's chat and in its
//! notification stream where it stands in the log.
//!
//! Bounds carry the version of the membership that set them, so a record may be applied again, or late, without harm. Every record of
//! a group is stamped with the highest version applied before it: push leaves out who joined later.

use std::time::Duration;

use magpie_log::Position;
use magpie_proto::magpie::log::{Inbound, Membership};
use magpie_store::{
    Document as _, Documents as _, Follow, Page, SharedStore,
    documents::{Head, Message, UserSeq},
    key,
    store::Result,
};
use magpie_types::ConversationId;
use moka::sync::Cache;

/// The bounds of who joined and may see what was before him.
const UNBOUND: &[usize] = &[UserSeq::max_seq];
/// The bounds of who joined and may not.
const FROM_HERE: &[usize] = &[UserSeq::min_seq, UserSeq::max_seq];
/// The bound of who left.
const UP_TO_HERE: &[usize] = &[UserSeq::max_seq];
/// Messages read at once while looking for the one before a place.
const STEP: usize = 50;
/// The highest version applied per group, as far as this process knows.
pub(crate) struct Versions(Cache<String, i64>);

impl Versions {
    /// For so many groups. A version is believed for `ttl`: another instance may own the partition in between.
    pub(crate) fn new(entries: u64, ttl: Duration) -> Self {
        Self(
            Cache::builder()
                .max_capacity(entries)
                .time_to_live(ttl)
                .build(),
        )
    }

    /// The version applied before a record; 0 outside groups. Who has it keeps it for as long as it works on the record: it may be
    /// forgotten here at any moment.
    pub(crate) async fn before(&self, store: &SharedStore, record: &Inbound) -> Result<i64> {
        let group = record.group_id.as_str();
        if group.is_empty() {
            return Ok(0);
        }
        if let Some(version) = self.0.get(group) {
            return Ok(version);
        }
        let chat = ConversationId::group(group);
        let head: Option<Head> = store.find(key![chat.as_str()]).await?;
        let version = head.map_or(0, |h| h.member_version);
        self.raise(group, version);
        Ok(version)
    }

    /// Forgets what may be stale.
    pub(crate) fn forget(&self, record: &Inbound) {
        self.0.invalidate(&record.group_id);
    }

    fn raise(&self, group: &str, version: i64) {
        let known = self.0.get(group).unwrap_or(0);
        self.0.insert(group.to_owned(), known.max(version));
    }
}

/// The version at a record: its own, if it makes one.
pub(crate) fn version_at(before: i64, record: &Inbound) -> i64 {
    before.max(record.membership.as_ref().map_or(0, |m| m.version))
}

/// Where a change of a membership stands.
pub(crate) struct Place {
    group: String,
    change: Membership,
    position: Position,
    /// The stream of its record and the seq there, 0 if the record is not stored.
    conversation: String,
    seq: i64,
}

impl Place {
    pub(crate) fn version(&self) -> i64 {
        self.change.version
    }

    /// The change that a record makes.
    pub(crate) fn of(record: &Inbound, position: Position, seq: i64) -> Option<Self> {
        let change = record.membership.clone()?;
        Some(Self {
            group: record.group_id.clone(),
            change,
            position,
            conversation: record.conversation_id.clone(),
            seq,
        })
    }

    /// The last seq before the place, and the first one from it on.
    async fn in_stream(
        &self,
        store: &SharedStore,
        conversation: &ConversationId,
    ) -> Result<(i64, i64)> {
        if self.seq > 0 && conversation.as_str() == self.conversation {
            return Ok((self.seq, self.seq));
        }
        let mut page = Page::of("by_seq", key![conversation.as_str()], STEP).descending();
        loop {
            let messages: Vec<Message> = store.list(page.clone()).await?;
            if let Some(before) = messages.iter().find(|m| !self.is_before(m)) {
                return Ok((before.seq, before.seq + 1));
            }
            let Some(last) = messages.into_iter().last() else {
                return Ok((0, 1));
            };
            page = page.after_row(Message::SCHEMA, &last.into_row());
        }
    }

    /// Whether the place is before this message: a replay finds what came after it.
    fn is_before(&self, message: &Message) -> bool {
        message.log_incarnation == self.position.incarnation.cast_signed()
            && message.log_partition == self.position.partition
            && message.log_offset > self.position.offset.cast_signed()
    }
}

/// Sets the bounds of those who came and left; a change that is not newer than what is set does nothing.
pub(crate) async fn apply(store: &SharedStore, versions: &Versions, place: &Place) -> Result<()> {
    let chat = ConversationId::group(&place.group);
    let change = &place.change;
    let mut writes = Vec::new();
    for stream in [&chat, &chat.notification_stream()] {
        let (last, first) = place.in_stream(store, stream).await?;
        let bounds = |user: &str, min_seq, max_seq| UserSeq {
            user_id: user.to_owned(),
            conversation_id: stream.to_string(),
            read_seq: 0,
            min_seq,
            max_seq,
            member_version: change.version,
            marked_seq: 0,
        };
        let joined = |user: &String| {
            if change.hide_history {
                newer(bounds(user, first, 0), FROM_HERE)
            } else {
                newer(bounds(user, 0, 0), UNBOUND)
            }
        };
        writes.extend(change.joined.iter().map(joined));
        let end = if last > 0 { last } else { NOTHING };
        let left = |user: &String| newer(bounds(user, 0, end), UP_TO_HERE);
        writes.extend(change.left.iter().map(left));
        if change.dismissed {
            writes.push(close(stream, change.version, end));
        }
    }
    // Who closes the chat sets its version, and only if it is lower.
    if !change.dismissed {
        writes.push(raise_version(&chat, change.version));
    }
    store.apply(writes).await?;
    versions.raise(&place.group, change.version);
    metrics::counter!("magpie_transfer_memberships_total").increment(1);
    Ok(())
}

/// The bound of who may see nothing.
const NOTHING: i64 = -1;

fn newer(row: UserSeq, fields: &'static [usize]) -> Follow {
    Follow::Newer {
        schema: UserSeq::SCHEMA,
        row: row.into_row(),
        version: UserSeq::member_version,
        fields,
    }
}

fn head(stream: &ConversationId, version: i64) -> Head {
    Head {
        conversation_id: stream.to_string(),
        max_seq: 0,
        max_seq_time: 0,
        min_seq: 0,
        member_version: version,
        closed_seq: 0,
    }
}

fn close(stream: &ConversationId, version: i64, end: i64) -> Follow {
    let closed = Head {
        closed_seq: end,
        ..head(stream, version)
    };
    Follow::Newer {
        schema: Head::SCHEMA,
        row: closed.into_row(),
        version: Head::member_version,
        fields: &[Head::closed_seq],
    }
}

fn raise_version(chat: &ConversationId, version: i64) -> Follow {
    Follow::Max {
        schema: Head::SCHEMA,
        row: head(chat, version).into_row(),
        fields: &[Head::member_version],
    }
}
