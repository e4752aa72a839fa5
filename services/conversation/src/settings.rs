//! Setting: what may be set in a record (rest-api.md 4.6), for whom, and making records that are missing.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use magpie_proto::openim::conversation::{
    self as wire, ConversationReq, CreateSingleChatConversationsReq, UpdateConversationReq,
};
use magpie_service::{Context, rpc::at_most_bytes};
use magpie_store::{Document as _, documents::Conversation, key};
use magpie_types::{ConversationId, Error, Result, SessionType};

use crate::{
    private::Decision,
    records::{Follow, Identity, Records},
};

/// Values to set; what is None stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patch {
    pub(crate) recv_msg_opt: Option<i32>,
    pub(crate) is_pinned: Option<bool>,
    pub(crate) attached_info: Option<String>,
    pub(crate) is_private_chat: Option<bool>,
    /// Of `is_private_chat`; None: of another service, for one record alone.
    pub(crate) decision: Option<Decision>,
    pub(crate) ex: Option<String>,
    pub(crate) burn_duration: Option<i32>,
    pub(crate) min_seq: Option<i64>,
    pub(crate) max_seq: Option<i64>,
    pub(crate) group_at_type: Option<i32>,
    pub(crate) msg_destruct_time: Option<i64>,
    pub(crate) is_msg_destruct: Option<bool>,
    pub(crate) latest_msg_destruct_time: Option<i64>,
}

/// Sets a field if a value is given; whether that changed it.
pub(crate) fn set<T: PartialEq + Clone>(field: &mut T, value: Option<&T>) -> bool {
    match value {
        Some(value) if value != field => {
            *field = value.clone();
            true
        }
        _ => false,
    }
}

impl Patch {
    /// Applies the values; whether any of them changed the record.
    pub(crate) fn apply(&self, record: &mut Conversation) -> bool {
        [
            set(&mut record.recv_msg_opt, self.recv_msg_opt.as_ref()),
            set(&mut record.is_pinned, self.is_pinned.as_ref()),
            set(&mut record.attached_info, self.attached_info.as_ref()),
            self.decide(record),
            set(&mut record.ex, self.ex.as_ref()),
            set(&mut record.burn_duration, self.burn_duration.as_ref()),
            set(&mut record.min_seq, self.min_seq.as_ref()),
            set(&mut record.max_seq, self.max_seq.as_ref()),
            set(&mut record.group_at_type, self.group_at_type.as_ref()),
            set(
                &mut record.msg_destruct_time,
                self.msg_destruct_time.as_ref(),
            ),
            set(&mut record.is_msg_destruct, self.is_msg_destruct.as_ref()),
            set(
                &mut record.latest_msg_destruct_time,
                self.latest_msg_destruct_time.as_ref(),
            ),
        ]
        .contains(&true)
    }

    /// What a user may set: everything but the reading bounds; burn-after-reading only between two users.
    pub(crate) fn of_user(wanted: &ConversationReq) -> Self {
        let pair = wanted.conversation_type == SessionType::Single.number();
        Self {
            recv_msg_opt: wanted.recv_msg_opt.as_ref().map(|v| v.value),
            is_pinned: wanted.is_pinned.as_ref().map(|v| v.value),
            attached_info: wanted.attached_info.as_ref().map(|v| v.value.clone()),
            is_private_chat: wanted
                .is_private_chat
                .as_ref()
                .filter(|_| pair)
                .map(|v| v.value),
            ex: wanted.ex.as_ref().map(|v| v.value.clone()),
            burn_duration: wanted.burn_duration.as_ref().map(|v| v.value),
            group_at_type: wanted.group_at_type.as_ref().map(|v| v.value),
            msg_destruct_time: wanted.msg_destruct_time.as_ref().map(|v| v.value),
            is_msg_destruct: wanted.is_msg_destruct.as_ref().map(|v| v.value),
            ..Self::default()
        }
    }

    /// What the older form sets: all of it, as it stands.
    pub(crate) fn of_whole(wanted: &wire::Conversation, is_private: bool) -> Self {
        let pair = wanted.conversation_type == SessionType::Single.number();
        let switched = pair && wanted.is_private_chat != is_private;
        Self {
            recv_msg_opt: Some(wanted.recv_msg_opt),
            is_pinned: Some(wanted.is_pinned),
            attached_info: Some(wanted.attached_info.clone()),
            is_private_chat: switched.then_some(wanted.is_private_chat),
            ex: Some(wanted.ex.clone()),
            burn_duration: Some(wanted.burn_duration),
            group_at_type: Some(wanted.group_at_type),
            msg_destruct_time: Some(wanted.msg_destruct_time),
            is_msg_destruct: Some(wanted.is_msg_destruct),
            ..Self::default()
        }
    }

    /// What another service may set: everything.
    pub(crate) fn of_service(wanted: &UpdateConversationReq) -> Self {
        Self {
            recv_msg_opt: wanted.recv_msg_opt.as_ref().map(|v| v.value),
            is_pinned: wanted.is_pinned.as_ref().map(|v| v.value),
            attached_info: wanted.attached_info.as_ref().map(|v| v.value.clone()),
            is_private_chat: wanted.is_private_chat.as_ref().map(|v| v.value),
            decision: None,
            ex: wanted.ex.as_ref().map(|v| v.value.clone()),
            burn_duration: wanted.burn_duration.as_ref().map(|v| v.value),
            min_seq: wanted.min_seq.as_ref().map(|v| v.value),
            max_seq: wanted.max_seq.as_ref().map(|v| v.value),
            group_at_type: wanted.group_at_type.as_ref().map(|v| v.value),
            msg_destruct_time: wanted.msg_destruct_time.as_ref().map(|v| v.value),
            is_msg_destruct: wanted.is_msg_destruct.as_ref().map(|v| v.value),
            latest_msg_destruct_time: wanted.latest_msg_destruct_time.as_ref().map(|v| v.value),
        }
    }

    /// 1001 if a text that changes the record is longer than `limit` bytes.
    pub(crate) fn check(&self, limit: usize, record: &Conversation) -> Result<()> {
        for (name, wanted, found) in [
            ("ex", &self.ex, &record.ex),
            ("attachedInfo", &self.attached_info, &record.attached_info),
        ] {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != found) {
                at_most_bytes(name, wanted, limit)?;
            }
        }
        Ok(())
    }

    /// Whether anything but burn-after-reading is set.
    fn has_more_than_private(&self) -> bool {
        let rest = Self {
            is_private_chat: None,
            ..self.clone()
        };
        rest.recv_msg_opt.is_some()
            || rest.is_pinned.is_some()
            || rest.attached_info.is_some()
            || rest.ex.is_some()
            || rest.burn_duration.is_some()
            || rest.group_at_type.is_some()
            || rest.msg_destruct_time.is_some()
            || rest.is_msg_destruct.is_some()
    }
}

impl Records {
    /// Sets values of one conversation for these owners. Owners whose record is as wanted are skipped.
    pub(crate) async fn set_for(
        self: &Arc<Self>,
        ctx: &Context,
        owners: Vec<String>,
        wanted: &ConversationReq,
    ) -> Result<()> {
        let patch = Patch::of_user(wanted);
        self.set_patch(ctx, owners, wanted, &patch).await
    }

    /// Sets a whole record, by the older form.
    pub(crate) async fn set_whole(
        self: &Arc<Self>,
        ctx: &Context,
        whole: &wire::Conversation,
    ) -> Result<()> {
        let (owner, id) = (&whole.owner_user_id, &whole.conversation_id);
        let found = self.find(owner, id).await?;
        let patch = Patch::of_whole(whole, found.is_some_and(|r| r.is_private_chat));
        let wanted = ConversationReq {
            conversation_id: id.clone(),
            conversation_type: whole.conversation_type,
            user_id: whole.user_id.clone(),
            group_id: whole.group_id.clone(),
            ..ConversationReq::default()
        };
        self.set_patch(ctx, vec![owner.clone()], &wanted, &patch)
            .await
    }

    async fn set_patch(
        self: &Arc<Self>,
        ctx: &Context,
        owners: Vec<String>,
        wanted: &ConversationReq,
        patch: &Patch,
    ) -> Result<()> {
        let follow = match (
            patch.is_private_chat.is_some(),
            patch.has_more_than_private(),
        ) {
            (false, _) => Follow::TELL_OWNER,
            (true, false) => Follow::PRIVATE,
            (true, true) => Follow::PRIVATE.and(Follow::TELL_OWNER),
        };
        let all = owners.clone();
        for owner in &all {
            let about = about(owner, &all, wanted)?;
            if !ctx.is_admin() {
                self.check_room(owner, &about).await?;
                if patch.is_private_chat.is_some() {
                    self.check_peer(owner, &about).await?;
                }
            }
        }
        let writes = stream::iter(owners).map(|owner| {
            let all = &all;
            async move {
                let about = about(&owner, all, wanted)?;
                let patch = self.decided(&about, patch).await?;
                self.write(&owner, &about, &patch, follow).await
            }
        });
        self.write_all(ctx, writes).await
    }

    /// 1001 if a setting would make one record too many. Those that messages make have no limit: they are with users who exist.
    async fn check_room(self: &Arc<Self>, owner: &str, about: &Identity) -> Result<()> {
        if self.find(owner, &about.conversation_id).await?.is_some() {
            return Ok(());
        }
        let schema = Conversation::SCHEMA;
        let records = self.deps.store.count(schema, "key", key![owner]).await?;
        if records >= self.config.max_records {
            return Err(Error::args("there are too many conversations"));
        }
        Ok(())
    }

    /// Changes existing records of these owners on another service's behalf; owners without one are skipped.
    pub(crate) async fn patch_existing(
        self: &Arc<Self>,
        ctx: &Context,
        owners: Vec<String>,
        conversation_id: &str,
        patch: &Patch,
    ) -> Result<()> {
        let writes = stream::iter(owners).map(|owner| async move {
            let Some(record) = self.find(&owner, conversation_id).await? else {
                return Ok(None);
            };
            let about = Identity {
                conversation_id: record.conversation_id,
                conversation_type: record.conversation_type,
                peer: record.user_id,
                group_id: record.group_id,
            };
            self.write(&owner, &about, patch, Follow::TELL_OWNER).await
        });
        self.write_all(ctx, writes).await
    }

    /// Writes the decisive records, then rolls those forward that were written, also if others could not be.
    pub(crate) async fn write_all<F>(
        self: &Arc<Self>,
        ctx: &Context,
        writes: impl Stream<Item = F> + Send,
    ) -> Result<()>
    where
        F: Future<Output = Result<Option<Conversation>>> + Send,
    {
        let limit = self.config.concurrency.max(1);
        let written: Vec<_> = writes.buffer_unordered(limit).collect().await;
        let (mut records, mut failed) = (Vec::new(), Ok(()));
        for result in written {
            match result {
                Ok(record) => records.extend(record),
                Err(e) => failed = Err(e),
            }
        }
        self.follow_up(ctx, records).await;
        failed
    }

    /// Makes the records of a pair's conversation where they are missing: both sides of a chat, the receiver's of a
    /// notification chat.
    pub(crate) async fn create_pair(
        self: &Arc<Self>,
        ctx: &Context,
        req: CreateSingleChatConversationsReq,
    ) -> Result<()> {
        let sides = match SessionType::from_number(req.conversation_type) {
            Some(SessionType::Single) => vec![
                (req.recv_id.clone(), req.send_id.clone()),
                (req.send_id, req.recv_id),
            ],
            Some(SessionType::Notification) => vec![(req.recv_id, req.send_id)],
            _ => return Err(Error::args("conversationType is invalid")),
        };
        let mut records = Vec::new();
        for (owner, peer) in sides {
            let about = Identity {
                conversation_id: req.conversation_id.clone(),
                conversation_type: req.conversation_type,
                peer,
                group_id: String::new(),
            };
            let patch = Patch::default();
            records.extend(self.write(&owner, &about, &patch, Follow::QUIET).await?);
        }
        self.follow_up(ctx, records).await;
        Ok(())
    }
}

/// Who an owner's record is about. An administrator may set one conversation for both users of a chat; the request names
/// one of them, who then is his own record's owner: his peer is the other owner.
fn about(owner: &str, owners: &[String], wanted: &ConversationReq) -> Result<Identity> {
    let peer = if wanted.user_id == owner {
        let other =
            |peer: &&String| ConversationId::single(owner, peer).as_str() == wanted.conversation_id;
        owners.iter().find(other).map_or(owner, String::as_str)
    } else {
        wanted.user_id.as_str()
    };
    let group = wanted.conversation_type == SessionType::Group.number();
    let expected = match SessionType::from_number(wanted.conversation_type) {
        Some(SessionType::Single) => ConversationId::single(owner, peer),
        Some(SessionType::Notification) => ConversationId::notification_chat(owner, peer),
        Some(SessionType::Group) => ConversationId::group(&wanted.group_id),
        None => return Err(Error::args("conversationType is invalid")),
    };
    if expected.as_str() != wanted.conversation_id {
        return Err(Error::args(
            "conversationID does not belong to these users or this group",
        ));
    }
    Ok(Identity {
        conversation_id: wanted.conversation_id.clone(),
        conversation_type: wanted.conversation_type,
        peer: if group {
            String::new()
        } else {
            peer.to_owned()
        },
        group_id: if group {
            wanted.group_id.clone()
        } else {
            String::new()
        },
    })
}
