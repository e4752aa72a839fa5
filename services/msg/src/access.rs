//! Who takes part in a conversation, and which of its seqs a user may see.
//!
//! Access is checked against the participants that the first message stored, never by taking an id apart: user ids may hold
//! `_`, so two pairs can have the same id. The second pair is refused (1001).

use std::{sync::Arc, time::Duration};

use magpie_service::Context;
use magpie_store::{
    Documents as _, Outcome,
    documents::{Head, Participants, UserSeq},
    key,
};
use magpie_types::{ConversationId, Error, Result};

use crate::Service;

/// The seqs of a conversation that a user may see: `low..=high`, empty if `high < low`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

/// A user's view of one conversation.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) head: Head,
    pub(crate) seqs: UserSeq,
}

impl View {
    pub(crate) fn window(&self) -> Window {
        let high = if self.seqs.max_seq > 0 {
            self.seqs.max_seq.min(self.head.max_seq)
        } else {
            self.head.max_seq
        };
        Window {
            low: self.head.min_seq.max(self.seqs.min_seq).max(1),
            high,
        }
    }
}

pub(crate) fn empty_head(conversation: &str) -> Head {
    Head {
        conversation_id: conversation.to_owned(),
        max_seq: 0,
        max_seq_time: 0,
        min_seq: 0,
        member_version: 0,
    }
}

pub(crate) fn empty_user_seq(user: &str, conversation: &str) -> UserSeq {
    UserSeq {
        user_id: user.to_owned(),
        conversation_id: conversation.to_owned(),
        read_seq: 0,
        min_seq: 0,
        max_seq: 0,
        member_version: 0,
        marked_seq: 0,
    }
}

impl Service {
    /// The participants of a pair's streams; stores them at first use.
    pub(crate) async fn pair_participants(
        &self,
        stem: &str,
        a: &str,
        b: &str,
    ) -> Result<Arc<Participants>> {
        let (first, second) = if a <= b { (a, b) } else { (b, a) };
        let found = match self.cache.participants(&self.deps, stem).await? {
            Some(found) => found,
            None => {
                let new = Participants {
                    stem: stem.to_owned(),
                    first: first.to_owned(),
                    second: second.to_owned(),
                    group_id: String::new(),
                };
                match self.deps.store.add(new.clone()).await? {
                    Outcome::Inserted => self.cache.keep_participants(new),
                    _ => self
                        .cache
                        .participants(&self.deps, stem)
                        .await?
                        .ok_or_else(|| Error::internal("participants can't be stored"))?,
                }
            }
        };
        if found.first == first && found.second == second {
            Ok(found)
        } else {
            Err(Error::args(
                "another pair of users has this conversation id",
            ))
        }
    }

    /// Whether the user takes part in the conversation. A user's own stream `n_u_u` needs no record, but a pair may have it:
    /// `n_a_b_a_b` is of user `a_b`, or of `a` and `b_a_b`, whoever came first.
    pub(crate) async fn takes_part(
        &self,
        user: &str,
        conversation: &ConversationId,
    ) -> Result<bool> {
        let participants = self.cache.participants(&self.deps, conversation.stem());
        Ok(match participants.await? {
            Some(p) => p.first == user || p.second == user,
            None => *conversation == ConversationId::notifications(user, user),
        })
    }

    /// The conversation as `user` sees it, or `None` if he takes no part in it (administrators do in all).
    pub(crate) async fn view(
        &self,
        ctx: &Context,
        user: &str,
        conversation: &ConversationId,
    ) -> Result<Option<View>> {
        if !ctx.is_admin() && !self.takes_part(user, conversation).await? {
            return Ok(None);
        }
        Ok(Some(self.load_view(user, conversation.as_str()).await?))
    }

    pub(crate) async fn load_view(&self, user: &str, conversation: &str) -> Result<View> {
        // In this order: a message raises both at once, and nobody has read more than there is.
        let seqs: Option<UserSeq> = self.deps.store.find(key![user, conversation]).await?;
        let head: Option<Head> = self.deps.store.find(key![conversation]).await?;
        Ok(View {
            head: head.unwrap_or_else(|| empty_head(conversation)),
            seqs: seqs.unwrap_or_else(|| empty_user_seq(user, conversation)),
        })
    }

    /// Like [`view`](Self::view), for requests that change something: 1004 for a stranger, and waits until the head has
    /// reached `seq`, because a message may be named right after its acknowledgement.
    pub(crate) async fn view_up_to(
        &self,
        ctx: &Context,
        user: &str,
        id: &str,
        seq: i64,
    ) -> Result<(ConversationId, View)> {
        let conversation = ConversationId::parse(id)?;
        let missing = || Error::not_found("the user has no such conversation");
        let mut waited = 0;
        loop {
            let view = self
                .view(ctx, user, &conversation)
                .await?
                .ok_or_else(missing)?;
            if view.head.max_seq >= seq || waited >= self.config.head_wait_ms {
                return Ok((conversation, view));
            }
            tokio::time::sleep(Duration::from_millis(HEAD_POLL_MS)).await;
            waited += HEAD_POLL_MS;
        }
    }
}

const HEAD_POLL_MS: u64 = 10;
