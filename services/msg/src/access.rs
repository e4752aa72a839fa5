//! Who takes part in a conversation, and which of its seqs a user may see.
//!
//! Access is checked against the participants that the first message stored, never by taking an id apart: user ids may hold
//! `_`, so two pairs can have the same id. The second pair is refused (1001). A group's conversation is open to whom transfer has
//! set bounds in it: members, and up to where they left those who were.

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

/// A user's view of one conversation. His positions are the younger half: he may have read more than this head has.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) head: Head,
    pub(crate) seqs: UserSeq,
}

impl View {
    pub(crate) fn window(&self) -> Window {
        let high = [self.seqs.max_seq, self.head.closed_seq]
            .into_iter()
            .filter(|bound| *bound != 0)
            .fold(self.head.max_seq, |high, bound| high.min(bound.max(0)));
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
        closed_seq: 0,
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

/// What a user has to do with a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// He takes part.
    Takes,
    /// It is a group's; his positions in it say whether he has ever been a member.
    OfGroup,
    /// Nothing.
    None,
}

impl Part {
    /// Whether a user with these positions may look into the conversation.
    pub(crate) fn admits(self, seqs: &UserSeq) -> bool {
        match self {
            Self::Takes => true,
            Self::OfGroup => seqs.member_version > 0,
            Self::None => false,
        }
    }
}

/// The two users of a stem that can be of no other pair.
fn only_pair(stem: &str) -> Option<(&str, &str)> {
    stem.split_once('_')
        .filter(|(_, second)| !second.contains('_'))
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
        self.claim(Participants {
            stem: stem.to_owned(),
            first: first.to_owned(),
            second: second.to_owned(),
            group_id: String::new(),
        })
        .await
    }

    /// A group as the participant of its streams; stored at first use.
    pub(crate) async fn group_participants(&self, group: &str) -> Result<Arc<Participants>> {
        self.claim(Participants {
            stem: group.to_owned(),
            first: String::new(),
            second: String::new(),
            group_id: group.to_owned(),
        })
        .await
    }

    /// Stores who takes part unless somebody does already; 1001 if those are others.
    async fn claim(&self, wanted: Participants) -> Result<Arc<Participants>> {
        let found = match self.cache.participants(&self.deps, &wanted.stem).await? {
            Some(found) => found,
            None => match self.deps.store.add(wanted.clone()).await? {
                Outcome::Inserted => self.cache.keep_participants(wanted.clone()),
                _ => self
                    .cache
                    .participants(&self.deps, &wanted.stem)
                    .await?
                    .ok_or_else(|| Error::internal("participants can't be stored"))?,
            },
        };
        if *found == wanted {
            Ok(found)
        } else {
            Err(Error::args("this conversationID belongs to other users"))
        }
    }

    /// What the user has to do with each of these conversations. A user's own stream `n_u_u` needs no record, but a pair may have
    /// it: `n_a_b_a_b` is of user `a_b`, or of `a` and `b_a_b`, whoever came first.
    async fn parts(&self, user: &str, conversations: &[ConversationId]) -> Result<Vec<Part>> {
        let stems: Vec<&str> = conversations.iter().map(ConversationId::stem).collect();
        let participants = self.cache.participants_of(&self.deps, &stems).await?;
        let part = |(participants, conversation): (Option<Arc<Participants>>, &ConversationId)| {
            let takes = match participants {
                Some(p) if !p.group_id.is_empty() => return Part::OfGroup,
                Some(p) => p.first == user || p.second == user,
                None => *conversation == ConversationId::notifications(user, user),
            };
            if takes { Part::Takes } else { Part::None }
        };
        let each = participants.into_iter().zip(conversations);
        Ok(each.map(part).collect())
    }

    /// Those of a user's conversations that he takes part in, or has taken part in as a member. A record proves neither: he can make one
    /// himself.
    pub(crate) async fn own(&self, user: &str, ids: Vec<String>) -> Result<Vec<String>> {
        let (mut groups, mut pairs) = (Vec::new(), Vec::new());
        let conversations: Vec<_> = ids.into_iter().map(ConversationId::trusted).collect();
        for conversation in &conversations {
            if conversation.is_group_chat() {
                groups.push(key![user, conversation.as_str()]);
            } else if only_pair(conversation.stem()).is_none() {
                pairs.push(key![conversation.stem()]);
            }
        }
        let store = &self.deps.store;
        let mut groups = store.find_many::<UserSeq>(groups).await?.into_iter();
        let mut pairs = store.find_many::<Participants>(pairs).await?.into_iter();
        let mut own = Vec::with_capacity(conversations.len());
        for conversation in conversations {
            let takes_part = if conversation.is_group_chat() {
                let seqs = groups.next().flatten();
                seqs.is_some_and(|seqs| Part::OfGroup.admits(&seqs))
            } else if let Some((a, b)) = only_pair(conversation.stem()) {
                a == user || b == user
            } else {
                let pair = pairs.next().flatten();
                pair.is_some_and(|pair| pair.first == user || pair.second == user)
            };
            if takes_part {
                own.push(conversation.into());
            }
        }
        Ok(own)
    }

    /// The conversations as `user` sees them, in their order; `None` for one that he takes no part in (administrators do in all).
    pub(crate) async fn views(
        &self,
        ctx: &Context,
        user: &str,
        conversations: &[ConversationId],
    ) -> Result<Vec<Option<View>>> {
        let parts = if ctx.is_admin() {
            vec![Part::Takes; conversations.len()]
        } else {
            self.parts(user, conversations).await?
        };
        self.views_of(user, conversations, parts).await
    }

    /// The same where it is known what he has to do with each of them.
    pub(crate) async fn views_of(
        &self,
        user: &str,
        conversations: &[ConversationId],
        parts: Vec<Part>,
    ) -> Result<Vec<Option<View>>> {
        let store = &self.deps.store;
        // In this order: who is put out gets his bound before the next message raises the head, so nobody sees what came after him.
        let keys = conversations.iter().map(|c| key![c.as_str()]);
        let heads: Vec<Option<Head>> = store.find_many(keys.collect()).await?;
        let keys = conversations.iter().map(|c| key![user, c.as_str()]);
        let seqs: Vec<Option<UserSeq>> = store.find_many(keys.collect()).await?;
        let each = conversations
            .iter()
            .zip(parts)
            .zip(seqs.into_iter().zip(heads));
        let views = each.map(|((conversation, part), (seqs, head))| {
            let id = conversation.as_str();
            let view = View {
                head: head.unwrap_or_else(|| empty_head(id)),
                seqs: seqs.unwrap_or_else(|| empty_user_seq(user, id)),
            };
            part.admits(&view.seqs).then_some(view)
        });
        Ok(views.collect())
    }

    /// One conversation as `user` sees it.
    async fn view(
        &self,
        ctx: &Context,
        user: &str,
        conversation: &ConversationId,
    ) -> Result<Option<View>> {
        let one = std::slice::from_ref(conversation);
        Ok(self.views(ctx, user, one).await?.pop().flatten())
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
            let behind = seq - view.head.max_seq;
            if !(1..=UNDER_WAY).contains(&behind) || waited >= self.config.head_wait_ms {
                return Ok((conversation, view));
            }
            tokio::time::sleep(Duration::from_millis(HEAD_POLL_MS)).await;
            waited += HEAD_POLL_MS;
        }
    }
}

/// Messages of one conversation that may be acknowledged and not stored; a seq further above the head is no message's.
const UNDER_WAY: i64 = 10_000;
const HEAD_POLL_MS: u64 = 10;
