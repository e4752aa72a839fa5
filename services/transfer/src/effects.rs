//! What follows the insert of a message: the head, the sender's read position, and, with the first message of a chat, the
//! participants' conversation records with their version entries. All of it may be repeated without harm.

use std::collections::HashMap;

use futures::{TryStreamExt as _, stream};
use magpie_proto::magpie::log::{Inbound, UserIds};
use magpie_service::pending;
use magpie_store::{
    Document, Follow, SharedStore,
    documents::{Conversation, Head, Mention, UserSeq},
    store::Result,
    versions::{self, List, State},
};
use magpie_types::SessionType;
use prost::Message as _;

const HEAD_RAISED: &[usize] = &[Head::max_seq, Head::max_seq_time];
const READ_RAISED: &[usize] = &[UserSeq::read_seq];

/// The writes of one message that was given `seq`.
pub(crate) fn follow_ups(record: &Inbound, seq: i64) -> Vec<Follow> {
    let mut writes = Vec::with_capacity(4);
    if seq == 1 {
        writes.extend(records(record).into_iter().map(|c| Follow::InsertIfAbsent {
            schema: Conversation::SCHEMA,
            row: c.into_row(),
        }));
    }
    let head = Head {
        conversation_id: record.conversation_id.clone(),
        max_seq: seq,
        max_seq_time: record.send_time,
        min_seq: 0,
        member_version: 0,
        closed_seq: 0,
    };
    writes.push(Follow::Max {
        schema: Head::SCHEMA,
        row: head.into_row(),
        fields: HEAD_RAISED,
    });
    if !record.mentioned.is_empty() {
        let ids = UserIds {
            ids: record.mentioned.clone(),
        };
        let mention = Mention {
            group_id: record.group_id.clone(),
            source: seq.to_string(),
            sender_id: record.sender_id.clone(),
            mentioned: ids.encode_to_vec().into(),
            is_announcement: false,
            after: String::new(),
            pending: pending::begin(Mention::NEW),
            rev: 1,
            done_at: 0,
        };
        writes.push(Follow::InsertIfAbsent {
            schema: Mention::SCHEMA,
            row: mention.into_row(),
        });
    }
    if record.sender_reads {
        let read = UserSeq {
            user_id: record.sender_id.clone(),
            conversation_id: record.conversation_id.clone(),
            read_seq: seq,
            min_seq: 0,
            max_seq: 0,
            member_version: 0,
            marked_seq: 0,
        };
        writes.push(Follow::Max {
            schema: UserSeq::SCHEMA,
            row: read.into_row(),
            fields: READ_RAISED,
        });
    }
    writes
}

/// Who gets a conversation record with the first message: both users of a chat, the receiver of a notification chat.
fn owners(record: &Inbound) -> Vec<(String, String)> {
    let (prefix, _) = record.conversation_id.split_once('_').unwrap_or_default();
    let sender = record.sender_id.as_str();
    let Some(receiver) = receiver(record) else {
        return Vec::new();
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    match prefix {
        "si" if sender == receiver => vec![pair(sender, sender)],
        "si" => vec![pair(sender, receiver), pair(receiver, sender)],
        "sn" => vec![pair(receiver, sender)],
        _ => Vec::new(),
    }
}

/// msg names the receiver first.
fn receiver(record: &Inbound) -> Option<&str> {
    record.receiver_ids.first().map(String::as_str)
}

fn records(record: &Inbound) -> Vec<Conversation> {
    let kind = SessionType::from_number(record.session_type).map_or(0, SessionType::number);
    owners(record)
        .into_iter()
        .map(|(owner, peer)| {
            let (id, with) = (record.conversation_id.clone(), (peer, String::new()));
            Conversation::blank(owner, id, kind, with, record.send_time)
        })
        .collect()
}

/// Conversations that are new to their owners, on their way into the owners' version lists.
///
/// Each list is one document, and writing it takes two calls of the store. So a batch's entries of one owner are one write of his
/// list, and lists of different owners, which have nothing to do with each other, are written beside each other. Each conversation
/// is a step of its own there, so that versions do not depend on how messages fall into batches.
#[derive(Default)]
pub(crate) struct NewChats(HashMap<String, Vec<String>>);

impl NewChats {
    /// Takes the conversation of its first message.
    pub(crate) fn add(&mut self, first: &Inbound) {
        for (owner, _) in owners(first) {
            let conversations = self.0.entry(owner).or_default();
            conversations.push(first.conversation_id.clone());
        }
    }

    /// Enters them, at most so many lists at the same time.
    pub(crate) async fn enter(self, store: &SharedStore, at_once: usize) -> Result<()> {
        let lists = self.0.into_iter().map(Ok);
        stream::iter(lists)
            .try_for_each_concurrent(at_once, |(owner, conversations)| async move {
                let changes: Vec<(&str, State)> = conversations
                    .iter()
                    .map(|conversation| (conversation.as_str(), State::Insert))
                    .collect();
                versions::record_each(&**store, &owner, List::Conversations, &changes)
                    .await
                    .map(drop)
            })
            .await
    }
}
