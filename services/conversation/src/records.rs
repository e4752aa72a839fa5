//! Records on their way in and out of the store: written by compare-and-set, with what still has to follow noted in the same
//! step, and shown with the reading bounds that msg keeps.

use std::sync::Arc;

use magpie_proto::openim::{
    conversation as wire,
    sdkws::{ConversationSetPrivateTips, ConversationUpdateTips},
};
use magpie_service::{
    Context, Deps,
    notification::{self, Notification},
    pending,
    walks::Walks,
};
use magpie_store::{
    Documents as _,
    documents::{Conversation, UserSeq},
    key,
    versions::{self, List, State},
};
use magpie_types::{Result, msg::content_type, time::now_ms};

use crate::{
    Config,
    private::{Decision, is_own_decision},
    settings::Patch,
};

/// What follows a written record; the mark of its intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Follow(u8);

impl Follow {
    /// The record is new, not changed.
    const CREATED: u8 = 1;
    /// The owner's devices are told (1300).
    pub(crate) const TELL_OWNER: Self = Self(2);
    /// Burn-after-reading goes to the peer's record, and both are told (1701).
    pub(crate) const PRIVATE: Self = Self(4);
    /// Only the version list.
    pub(crate) const QUIET: Self = Self(8);

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As the mark of an intent.
    pub(crate) fn mark(self) -> u8 {
        self.0
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Who a record is about, for making it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) conversation_id: String,
    pub(crate) conversation_type: i32,
    pub(crate) peer: String,
    pub(crate) group_id: String,
}

/// The conversation records of all users.
pub(crate) struct Records {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
    pub(crate) walks: Walks<Conversation>,
}

impl Records {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        Self {
            deps,
            walks: Walks::new(List::Conversations, config.kept_elements),
            config,
        }
    }

    /// Changes or makes one record; None if it is as wanted already and nothing is pending. Burn-after-reading is announced only if
    /// it was switched.
    pub(crate) async fn write(
        &self,
        owner: &str,
        about: &Identity,
        patch: &Patch,
        follow: Follow,
    ) -> Result<Option<Conversation>> {
        let key = key![owner, about.conversation_id.as_str()];
        let limit = self.config.max_text_bytes;
        let apply = |found: Option<Conversation>| -> Result<Option<(Conversation, u8)>> {
            // A decision that the trace of a removed record has stays behind those to come.
            let place = found.as_ref().map_or(0, |record| record.private_place);
            let found = found.filter(Conversation::is_present);
            let is_new = found.is_none();
            let mut record = found.unwrap_or_else(|| Conversation {
                private_place: place,
                ..blank(owner, about)
            });
            patch.check(limit, &record)?;
            let as_wanted = !patch.apply(&mut record) && record.pending.is_empty() && !is_new;
            let mut mark = follow.0;
            if record.private_place == place {
                mark &= !Follow::PRIVATE.0;
            }
            if is_new {
                mark |= Follow::CREATED;
            }
            Ok((!as_wanted).then_some((record, mark)))
        };
        pending::change(self.deps.store.as_ref(), key, apply).await
    }

    /// Rolls written records forward.
    pub(crate) async fn follow_up(self: &Arc<Self>, ctx: &Context, records: Vec<Conversation>) {
        let (service, ctx) = (Arc::clone(self), ctx.clone());
        pending::follow_up(
            &self.deps,
            self.config.concurrency,
            records,
            move |record| {
                let (service, ctx) = (Arc::clone(&service), ctx.clone());
                async move { service.roll_forward(&ctx, record).await }
            },
        )
        .await;
    }

    /// Does what follows a written record: the peer's record, the version lists, the notifications.
    pub(crate) async fn roll_forward(&self, ctx: &Context, record: Conversation) -> Result<()> {
        let store = self.deps.store.as_ref();
        let follow = Follow(pending::mark(&record.pending).unwrap_or(0));
        let is_own = is_own_decision(&record);
        if follow.has(Follow::PRIVATE) && is_own && record.user_id != record.owner_id {
            let about = Identity {
                peer: record.owner_id.clone(),
                ..identity(&record)
            };
            let patch = Patch {
                is_private_chat: Some(record.is_private_chat),
                decision: Some(Decision::Peer(record.private_place)),
                ..Patch::default()
            };
            if let Some(peer) = self
                .write(&record.user_id, &about, &patch, Follow::QUIET)
                .await?
            {
                self.list(&peer).await?;
                // What an earlier change of the peer's own has left is not done here.
                let left = Follow(pending::mark(&peer.pending).unwrap_or(0));
                if !left.has(Follow::TELL_OWNER.and(Follow::PRIVATE)) {
                    pending::finish(store, peer).await?;
                }
            }
        }
        self.list(&record).await?;
        self.tell(ctx, follow, &record).await?;
        pending::finish(store, record).await
    }

    async fn list(&self, record: &Conversation) -> Result<()> {
        let created =
            pending::mark(&record.pending).is_some_and(|mark| mark & Follow::CREATED != 0);
        let state = if !record.is_present() {
            State::Delete
        } else if created {
            State::Insert
        } else {
            State::Update
        };
        let changes = [(record.conversation_id.as_str(), state)];
        versions::record(
            self.deps.store.as_ref(),
            &record.owner_id,
            List::Conversations,
            &changes,
        )
        .await?;
        Ok(())
    }

    async fn tell(&self, ctx: &Context, follow: Follow, record: &Conversation) -> Result<()> {
        let id = |kind| pending::message_id(&record.pending, &record.owner_id, kind);
        let owner = &record.owner_id;
        if follow.has(Follow::TELL_OWNER) {
            let tips = ConversationUpdateTips {
                user_id: owner.clone(),
                conversation_id_list: vec![record.conversation_id.clone()],
            };
            let change =
                Notification::to_user(content_type::CONVERSATION_CHANGE, owner, owner, &tips)?;
            notification::send(
                &self.deps,
                ctx,
                change.client_msg_id(id(content_type::CONVERSATION_CHANGE)),
            )
            .await?;
        }
        if follow.has(Follow::PRIVATE) && self.stands(record).await? {
            let tips = ConversationSetPrivateTips {
                recv_id: record.user_id.clone(),
                send_id: owner.clone(),
                is_private: record.is_private_chat,
                conversation_id: record.conversation_id.clone(),
            };
            let switch = Notification::to_user(
                content_type::CONVERSATION_PRIVATE_CHAT,
                owner,
                &record.user_id,
                &tips,
            )?
            .in_chat();
            notification::send(
                &self.deps,
                ctx,
                switch.client_msg_id(id(content_type::CONVERSATION_PRIVATE_CHAT)),
            )
            .await?;
        }
        Ok(())
    }

    /// Records as clients see them.
    pub(crate) async fn shown(
        &self,
        records: Vec<Conversation>,
    ) -> Result<Vec<wire::Conversation>> {
        let keys = records
            .iter()
            .map(|r| key![r.owner_id.as_str(), r.conversation_id.as_str()])
            .collect();
        let bounds = self.deps.store.find_many::<UserSeq>(keys).await?;
        Ok(records
            .into_iter()
            .zip(bounds)
            .map(|(record, bounds)| to_wire(record, bounds))
            .collect())
    }
}

pub(crate) fn identity(record: &Conversation) -> Identity {
    Identity {
        conversation_id: record.conversation_id.clone(),
        conversation_type: record.conversation_type,
        peer: record.user_id.clone(),
        group_id: record.group_id.clone(),
    }
}

pub(crate) fn blank(owner: &str, about: &Identity) -> Conversation {
    let with = (about.peer.clone(), about.group_id.clone());
    let (owner, id) = (owner.to_owned(), about.conversation_id.clone());
    Conversation {
        rev: 1,
        ..Conversation::blank(owner, id, about.conversation_type, with, now_ms())
    }
}

fn to_wire(record: Conversation, bounds: Option<UserSeq>) -> wire::Conversation {
    let (min_seq, max_seq) = match bounds {
        Some(bounds) => (bounds.min_seq.max(record.min_seq), bounds.max_seq),
        None => (record.min_seq, record.max_seq),
    };
    wire::Conversation {
        owner_user_id: record.owner_id,
        conversation_id: record.conversation_id,
        recv_msg_opt: record.recv_msg_opt,
        conversation_type: record.conversation_type,
        user_id: record.user_id,
        group_id: record.group_id,
        is_pinned: record.is_pinned,
        attached_info: record.attached_info,
        is_private_chat: record.is_private_chat,
        group_at_type: record.group_at_type,
        ex: record.ex,
        burn_duration: record.burn_duration,
        min_seq,
        max_seq,
        msg_destruct_time: record.msg_destruct_time,
        latest_msg_destruct_time: record.latest_msg_destruct_time,
        is_msg_destruct: record.is_msg_destruct,
    }
}
