//! The way of a message into the log: validate, authorise, check, force options, encode once, append.
//!
//! The final `MsgData` is encoded here and nowhere else; the log, the store and the pushed frame carry these bytes, to which
//! transfer only appends the seq.

mod checks;
mod claims;
mod options;

use bytes::Bytes;
use magpie_log::Topic;
use magpie_proto::{
    magpie::log::{Inbound, Membership},
    openim::{msg::SendMsgResp, sdkws::MsgData},
};
use magpie_service::{Caller, Context, send, trace};
use magpie_types::{
    ConversationId, Error, GroupId, Result, ServerMsgId, SessionType, UserId,
    msg::{content_type, option, status},
    time::now_ms,
};
use prost::Message as _;
use tracing::{Instrument as _, info_span};

use crate::Service;
use options::is_off;

impl Service {
    pub(crate) async fn send(&self, ctx: &Context, mut msg: MsgData) -> Result<SendMsgResp> {
        let limit = match ctx.caller {
            Caller::Internal => self.config.max_notification_bytes,
            _ => self.config.max_content_bytes,
        };
        let session = self.validate(&msg, limit)?;
        ctx.require_self(&msg.send_id)?;
        if let Caller::User(_) = ctx.caller {
            checks::user_may_send(&msg)?;
        }
        claims::correct(ctx, &mut msg);
        if msg.client_msg_id.is_empty() {
            msg.client_msg_id = magpie_types::ids::random_client_msg_id();
        }
        options::force(&mut msg);
        let is_notification = is_off(&msg, option::IS_NOT_NOTIFICATION);
        let chat = match session {
            SessionType::Single => ConversationId::single(&msg.send_id, &msg.recv_id),
            SessionType::Group => ConversationId::group(&msg.group_id),
            SessionType::Notification => {
                ConversationId::notification_chat(&msg.send_id, &msg.recv_id)
            }
        };
        // Who takes part is stored last, for good: a message that is refused must not decide whose conversation an id names.
        if session == SessionType::Group {
            self.check_group(&msg).await?;
            self.group_participants(&msg.group_id).await?;
        } else {
            if session == SessionType::Single {
                self.check_single(&mut msg, &chat, is_notification).await?;
            }
            self.pair_participants(chat.stem(), &msg.send_id, &msg.recv_id)
                .await?;
        }
        self.append_all(ctx, &chat, msg, None).await
    }

    /// A notification of a group together with the change of the membership that it tells; from the group service alone.
    pub(crate) async fn announce_membership(
        &self,
        ctx: &Context,
        mut msg: MsgData,
        membership: Membership,
    ) -> Result<()> {
        ctx.require_internal()?;
        let limit = self.config.max_notification_bytes;
        let mut membership = membership;
        if msg.content.len() > limit {
            // Who comes and goes must not depend on whether it can be told.
            tracing::error!(
                group = msg.group_id,
                bytes = msg.content.len(),
                "a notification of a group is too large; its membership changes untold"
            );
            metrics::counter!("magpie_msg_notifications_refused_total").increment(1);
            membership.quiet = true;
            msg.content = Bytes::from_static(br#"{"detail":"{}"}"#);
            msg.options.insert(option::HISTORY.to_owned(), false);
            msg.options.insert(option::IS_SEND_MSG.to_owned(), false);
        }
        if self.validate(&msg, limit)? != SessionType::Group || membership.version < 1 {
            return Err(Error::args("a membership needs a group and a version"));
        }
        options::force(&mut msg);
        let chat = ConversationId::group(&msg.group_id);
        self.group_participants(&msg.group_id).await?;
        self.append_all(ctx, &chat, msg, Some(membership))
            .await
            .map(drop)
    }

    /// Appends a checked message to its stream, a notification that shows in the chat to both streams. Who joins gets both, so his
    /// joining travels with the first; who leaves gets both, so his leaving travels with the last.
    async fn append_all(
        &self,
        ctx: &Context,
        chat: &ConversationId,
        mut msg: MsgData,
        membership: Option<Membership>,
    ) -> Result<SendMsgResp> {
        let is_notification = is_off(&msg, option::IS_NOT_NOTIFICATION);
        let now = now_ms();
        if msg.send_time == 0 {
            msg.send_time = now;
        }
        if msg.content_type < 1000 || msg.content_type == content_type::OA_NOTIFICATION {
            msg.status = status::SENT;
        }
        msg.seq = 0;
        msg.is_read = false;
        if !is_notification {
            return self.append(ctx, chat, msg, None, membership).await;
        }
        let in_chat = msg
            .options
            .get(option::IS_SEND_MSG)
            .copied()
            .unwrap_or(false);
        if !in_chat {
            return self
                .append(ctx, &chat.notification_stream(), msg, None, membership)
                .await;
        }
        // The notification goes before its chat copy: the wasm client otherwise never raises its event (clients.md 4).
        let copy = options::chat_copy(&mut msg);
        let shared = ServerMsgId::derive(chat.as_str(), &msg.send_id, &msg.client_msg_id);
        let id = is_off(&msg, option::HISTORY).then_some(shared);
        let (first, last) = match membership {
            Some(change) if change.joined.is_empty() => (None, Some(change)),
            other => (other, None),
        };
        self.append(ctx, &chat.notification_stream(), msg, id, first)
            .await?;
        self.append(ctx, chat, copy, None, last).await
    }

    /// Rules on the message itself (1001), the same for every sender.
    fn validate(&self, msg: &MsgData, max_content: usize) -> Result<SessionType> {
        if msg.content.is_empty() {
            return Err(Error::args("content is empty"));
        }
        if msg.content.len() > max_content {
            return Err(Error::args(format!(
                "content is larger than {max_content} bytes"
            )));
        }
        let session = SessionType::from_number(msg.session_type)
            .ok_or_else(|| Error::args("sessionType is none of 1, 3 and 4"))?;
        if (msg.content_type == content_type::OA_NOTIFICATION)
            != (session == SessionType::Notification)
        {
            return Err(Error::args(
                "contentType 1400 and sessionType 4 need each other",
            ));
        }
        UserId::new(msg.send_id.as_str()).map_err(|e| Error::args(format!("sendID: {e}")))?;
        match session {
            SessionType::Group => drop(GroupId::new(msg.group_id.as_str())?),
            _ => drop(
                UserId::new(msg.recv_id.as_str())
                    .map_err(|e| Error::args(format!("recvID: {e}")))?,
            ),
        }
        claims::check_times(msg)?;
        send::check_lists(msg)?;
        let rest = msg.encoded_len() - msg.content.len();
        if rest > self.config.max_fields_bytes {
            return Err(Error::args(format!(
                "the message without its content is larger than {} bytes",
                self.config.max_fields_bytes
            )));
        }
        if !msg.client_msg_id.is_empty() {
            magpie_types::ClientMsgId::new(msg.client_msg_id.as_str())?;
        }
        Ok(session)
    }

    async fn append(
        &self,
        ctx: &Context,
        conversation: &ConversationId,
        mut msg: MsgData,
        id: Option<ServerMsgId>,
        membership: Option<Membership>,
    ) -> Result<SendMsgResp> {
        let id = id.unwrap_or_else(|| {
            ServerMsgId::derive(conversation.as_str(), &msg.send_id, &msg.client_msg_id)
        });
        msg.server_msg_id = id.to_string();
        let stored = !is_off(&msg, option::HISTORY);
        if stored {
            let first = self
                .cache
                .first_sent(&self.deps, conversation.stem(), id, &msg);
            msg.send_time = first.await?;
        }
        let is_notification = conversation.is_notification_stream();
        let span = info_span!(
            "msg.append",
            operation.id = ctx.operation_id,
            conversation.id = conversation.as_str(),
            message.id = msg.server_msg_id,
            content.type = msg.content_type,
            stored,
        );
        let in_group = msg.session_type == SessionType::Group.number();
        let skip_sender = is_off(&msg, option::SENDER_SYNC);
        let mut receiver_ids = Vec::new();
        if !in_group {
            receiver_ids.push(msg.recv_id.clone());
            if msg.send_id != msg.recv_id && !skip_sender {
                receiver_ids.push(msg.send_id.clone());
            }
        }
        let record = Inbound {
            conversation_id: conversation.to_string(),
            stored,
            operation_id: ctx.operation_id.clone(),
            connection_id: ctx.connection_id.clone(),
            sender_id: msg.send_id.clone(),
            receiver_ids,
            group_id: if in_group {
                msg.group_id.clone()
            } else {
                String::new()
            },
            server_msg_id: Bytes::copy_from_slice(&id.0),
            client_msg_id: msg.client_msg_id.clone(),
            send_time: msg.send_time,
            sender_reads: stored && !is_notification,
            droppable: !stored && !is_notification,
            content_type: msg.content_type,
            offline_push: !is_off(&msg, option::OFFLINE_PUSH),
            traceparent: trace::traceparent(&span),
            session_type: msg.session_type,
            version: magpie_proto::RECORD_VERSION,
            membership,
            skip_sender: in_group && skip_sender,
            mentioned: if in_group && stored && msg.content_type == content_type::AT_TEXT {
                msg.at_user_id_list.clone()
            } else {
                Vec::new()
            },
            msg: msg.encode_to_vec().into(),
        };
        let appended = self.deps.log.append(
            Topic::Inbound,
            conversation.stem().as_bytes(),
            record.encode_to_vec().into(),
        );
        appended.instrument(span).await?;
        metrics::counter!("magpie_msg_accepted_total").increment(1);
        Ok(SendMsgResp {
            server_msg_id: msg.server_msg_id,
            client_msg_id: msg.client_msg_id,
            send_time: msg.send_time,
            modify: None,
        })
    }
}
