//! The overview of conversations: each with its last message and how many are unread, pinned first, then the newest. Deprecated;
//! what has no message is left out.

use std::{collections::HashMap, sync::Arc};

use magpie_discovery::name;
use magpie_proto::{
    openim::{
        conversation::{ConversationElem, GetSortedConversationListResp, MsgInfo},
        msg::{
            GetConversationsHasReadAndMaxSeqReq, GetLastMessageReq, Seqs, msg_client::MsgClient,
        },
        sdkws::{MsgData, RequestPagination, UserInfo},
    },
    status::from_status,
};
use magpie_service::{Context, lists, profiles::profiles};
use magpie_store::{
    Documents as _,
    documents::{Conversation, Group},
    key,
};
use magpie_types::{Error, Result, SessionType};

use crate::records::Records;

impl Records {
    /// The asked-for page of these conversations of a user; none named: of all. 1004 if there are none.
    pub(crate) async fn overview(
        self: &Arc<Self>,
        ctx: &Context,
        owner: &str,
        ids: &[String],
        pagination: RequestPagination,
    ) -> Result<GetSortedConversationListResp> {
        let records = if ids.is_empty() {
            self.of_owner(owner).await?
        } else {
            self.find_many(owner, ids).await?
        };
        if records.is_empty() {
            return Err(Error::not_found("the user has no conversations"));
        }
        let seqs = self.seqs(ctx, owner, &records).await?;
        let unread = |record: &Conversation| {
            let seqs = seqs.get(&record.conversation_id);
            seqs.map_or(0, |s| s.max_seq.saturating_sub(s.has_read_seq).max(0))
        };
        let time = |record: &Conversation| {
            let seqs = seqs.get(&record.conversation_id);
            seqs.filter(|s| s.max_seq > 0).map(|s| s.max_seq_time)
        };
        let mut records: Vec<_> = records.into_iter().filter(|r| time(r).is_some()).collect();
        records.sort_by(|a, b| {
            (b.is_pinned, time(b), &a.conversation_id).cmp(&(
                a.is_pinned,
                time(a),
                &b.conversation_id,
            ))
        });
        let unread_total = records.iter().map(unread).fold(0, i64::saturating_add);
        let total = records.len();
        let page = lists::page(records, pagination, self.config.max_page);
        let mut shown = self.last_messages(ctx, owner, &page).await?;
        let elems = page.into_iter().map(|record| ConversationElem {
            recv_msg_opt: record.recv_msg_opt,
            unread_count: unread(&record),
            is_pinned: record.is_pinned,
            msg_info: shown.remove(&record.conversation_id),
            conversation_id: record.conversation_id,
        });
        Ok(GetSortedConversationListResp {
            conversation_elems: elems.collect(),
            conversation_total: i64::try_from(total).unwrap_or(i64::MAX),
            unread_total,
        })
    }

    /// Newest message and read position of each of these conversations.
    pub(crate) async fn seqs(
        &self,
        ctx: &Context,
        owner: &str,
        records: &[Conversation],
    ) -> Result<HashMap<String, Seqs>> {
        let request = GetConversationsHasReadAndMaxSeqReq {
            user_id: owner.to_owned(),
            conversation_i_ds: records.iter().map(|r| r.conversation_id.clone()).collect(),
            return_pinned: false,
        };
        let found = MsgClient::new(self.deps.channel(name::MSG))
            .get_conversations_has_read_and_max_seq(ctx.request(request))
            .await
            .map_err(from_status)?;
        Ok(found.into_inner().seqs.into_iter().collect())
    }

    async fn last_messages(
        &self,
        ctx: &Context,
        owner: &str,
        records: &[Conversation],
    ) -> Result<HashMap<String, MsgInfo>> {
        let request = GetLastMessageReq {
            user_id: owner.to_owned(),
            conversation_i_ds: records.iter().map(|r| r.conversation_id.clone()).collect(),
        };
        let found = MsgClient::new(self.deps.channel(name::MSG))
            .get_last_message(ctx.request(request))
            .await
            .map_err(from_status)?;
        let messages = found.into_inner().msgs;
        let peers = records.iter().map(|r| r.user_id.clone());
        let peers: Vec<_> = peers.filter(|peer| !peer.is_empty()).collect();
        let users = profiles(&self.deps, ctx, peers).await?;
        let groups = records.iter().filter(|r| !r.group_id.is_empty());
        let keys = groups.map(|r| key![r.group_id.as_str()]).collect();
        let groups: Vec<Option<Group>> = self.deps.store.find_many(keys).await?;
        let groups: HashMap<_, _> = groups
            .into_iter()
            .flatten()
            .map(|group| (group.group_id.clone(), group))
            .collect();
        let shown = messages.into_iter().filter_map(|(id, msg)| {
            let record = records.iter().find(|r| r.conversation_id == id)?;
            let (user, group) = (users.get(&record.user_id), groups.get(&record.group_id));
            Some((id, shown(msg, user, group)))
        });
        Ok(shown.collect())
    }
}

/// A message as the overview has it: in a chat with the profile of the other one, in a group with the sender's name as he sent it.
fn shown(msg: MsgData, peer: Option<&UserInfo>, group: Option<&Group>) -> MsgInfo {
    let in_group = msg.session_type == SessionType::Group.number();
    let (sender_name, face_url) = match peer {
        Some(peer) if !in_group => (peer.nickname.clone(), peer.face_url.clone()),
        _ => (msg.sender_nickname, msg.sender_face_url),
    };
    MsgInfo {
        server_msg_id: msg.server_msg_id,
        client_msg_id: msg.client_msg_id,
        session_type: msg.session_type,
        send_id: msg.send_id,
        recv_id: msg.recv_id,
        sender_name,
        face_url,
        group_id: msg.group_id,
        group_name: group.map_or_else(String::new, |g| g.name.clone()),
        group_face_url: group.map_or_else(String::new, |g| g.face_url.clone()),
        group_type: group.map_or(0, |g| g.group_type),
        group_member_count: group.map_or(0, |g| g.member_count),
        latest_msg_recv_time: msg.send_time,
        msg_from: msg.msg_from,
        content_type: msg.content_type,
        content: String::from_utf8_lossy(&msg.content).into_owned(),
        ex: msg.ex,
    }
}
