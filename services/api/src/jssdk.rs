//! First screen of the pure-JS SDK (rest-api.md 4.10): conversations with their last message and whom they are with, put
//! together from the services that own the parts. The body is JSON or protobuf, by `Content-Type`.

use std::collections::{HashMap, HashSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use magpie_discovery::name;
use magpie_proto::{
    openim::{
        conversation::{
            Conversation, GetConversationIDsReq, GetConversationsReq,
            conversation_client::ConversationClient,
        },
        group::{GetGroupsInfoReq, group_client::GroupClient},
        jssdk::{
            ConversationMsg, GetActiveConversationsReq, GetActiveConversationsResp,
            GetConversationsReq as GivenReq, GetConversationsResp as GivenResp,
        },
        msg::{
            GetConversationsHasReadAndMaxSeqReq, GetLastMessageReq, Seqs, msg_client::MsgClient,
        },
        relation::{GetFriendInfoReq, friend_client::FriendClient},
        sdkws::MsgData,
        user::{GetDesignateUsersReq, user_client::UserClient},
    },
    status::from_status,
};
use magpie_service::{Context, Deps};
use magpie_types::{Error, Result, SessionType};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    answer::{Answer, Failure, data},
    call::{Call, MAX_MESSAGE},
};

/// Conversations of the first screen if the request names no number, and the most it may name.
const DEFAULT_COUNT: usize = 100;
const MAX_COUNT: usize = 500;

/// `/jssdk/get_active_conversations`: pinned first, then newest first.
pub(crate) async fn active(call: Call) -> Answer {
    let form = Form::of(&call)?;
    let request: GetActiveConversationsReq = form.decode(&call)?;
    let count = usize::try_from(request.count)
        .ok()
        .filter(|c| (1..=MAX_COUNT).contains(c))
        .unwrap_or(DEFAULT_COUNT);
    let parts = Parts {
        deps: &call.deps,
        context: call.context()?,
    };
    let all = parts.conversation_ids().await?;
    let (mut seqs, pinned) = parts.seqs(all).await?;
    seqs.retain(|_, s| s.max_seq > 0);
    let unread_count = unread(seqs.values());
    let mut order: Vec<(bool, i64, &String)> = seqs
        .iter()
        .map(|(id, s)| (pinned.contains(id), s.max_seq_time, id))
        .collect();
    order.sort_unstable_by(|a, b| b.cmp(a));
    let ids: Vec<String> = order
        .into_iter()
        .take(count)
        .map(|(_, _, id)| id.clone())
        .collect();
    let conversations = parts.compose(ids, &seqs).await?;
    form.encode(&GetActiveConversationsResp {
        unread_count,
        conversations,
    })
}

/// `/jssdk/get_conversations`: those of the given ones that the caller has, with a message.
pub(crate) async fn given(call: Call) -> Answer {
    let form = Form::of(&call)?;
    let request: GivenReq = form.decode(&call)?;
    let mut ids = request.conversation_i_ds;
    ids.truncate(MAX_COUNT);
    if ids.is_empty() {
        return form.encode(&GivenResp::default());
    }
    let parts = Parts {
        deps: &call.deps,
        context: call.context()?,
    };
    let own: HashSet<String> = parts.conversation_ids().await?.into_iter().collect();
    ids.retain(|id| own.contains(id));
    let (seqs, _) = parts.seqs(ids.clone()).await?;
    let unread_count = unread(seqs.values());
    let conversations = parts.compose(ids, &seqs).await?;
    form.encode(&GivenResp {
        unread_count,
        conversations,
    })
}

fn unread<'a>(seqs: impl Iterator<Item = &'a Seqs>) -> i64 {
    seqs.map(|s| s.max_seq.saturating_sub(s.has_read_seq).max(0))
        .fold(0, i64::saturating_add)
}

/// How body and answer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

impl Form {
    fn of(call: &Call) -> Result<Self> {
        let content_type = call.content_type.as_str();
        if content_type.contains("application/x-protobuf")
            || content_type.contains("application/protobuf")
        {
            Ok(Self::Protobuf)
        } else if content_type.is_empty() || content_type.contains("application/json") {
            Ok(Self::Json)
        } else {
            Err(Error::args("Content-Type is neither JSON nor protobuf"))
        }
    }

    fn decode<T: Message + Default + DeserializeOwned>(self, call: &Call) -> Result<T> {
        match self {
            Self::Json => call.json(),
            Self::Protobuf => {
                T::decode(call.body.clone()).map_err(|e| Error::args(format!("request body: {e}")))
            }
        }
    }

    fn encode<T: Message + Serialize>(self, answer: &T) -> Answer {
        match self {
            Self::Json => data(answer),
            Self::Protobuf => data(&STANDARD.encode(answer.encode_to_vec())),
        }
    }
}

/// The services that own the parts, asked in the caller's name.
struct Parts<'a> {
    deps: &'a Deps,
    context: &'a Context,
}

impl Parts<'_> {
    fn me(&self) -> String {
        self.context.user_id().to_owned()
    }

    async fn conversation_ids(&self) -> Result<Vec<String>, Failure> {
        let mut client = ConversationClient::new(self.deps.channel(name::CONVERSATION))
            .max_decoding_message_size(MAX_MESSAGE);
        let request = self
            .context
            .request(GetConversationIDsReq { user_id: self.me() });
        Ok(client
            .get_conversation_i_ds(request)
            .await?
            .into_inner()
            .conversation_i_ds)
    }

    /// Positions of these conversations, and which of them are pinned.
    async fn seqs(
        &self,
        conversation_i_ds: Vec<String>,
    ) -> Result<(HashMap<String, Seqs>, Vec<String>), Failure> {
        if conversation_i_ds.is_empty() {
            return Ok(Default::default());
        }
        let request = GetConversationsHasReadAndMaxSeqReq {
            user_id: self.me(),
            conversation_i_ds,
            return_pinned: true,
        };
        let answer = self
            .msg()
            .get_conversations_has_read_and_max_seq(self.context.request(request))
            .await?
            .into_inner();
        Ok((
            answer.seqs.into_iter().collect(),
            answer.pinned_conversation_i_ds,
        ))
    }

    fn msg(&self) -> MsgClient<magpie_discovery::Channel> {
        MsgClient::new(self.deps.channel(name::MSG)).max_decoding_message_size(MAX_MESSAGE)
    }

    /// The conversations in the order of `ids`; those without a record or a message are left out.
    async fn compose(
        &self,
        ids: Vec<String>,
        seqs: &HashMap<String, Seqs>,
    ) -> Result<Vec<ConversationMsg>, Failure> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut messages = self.last_messages(ids.clone()).await?;
        let with_message: Vec<String> = ids
            .into_iter()
            .filter(|id| messages.contains_key(id))
            .collect();
        let mut records = self.records(with_message.clone()).await?;
        let mut found: Vec<ConversationMsg> = Vec::with_capacity(with_message.len());
        for id in with_message {
            let (Some(record), last_msg) = (records.remove(&id), messages.remove(&id)) else {
                continue;
            };
            let seqs = seqs.get(&id).copied().unwrap_or_default();
            found.push(ConversationMsg {
                conversation: Some(record),
                last_msg,
                max_seq: seqs.max_seq,
                read_seq: seqs.has_read_seq,
                ..ConversationMsg::default()
            });
        }
        self.add_users(&mut found).await?;
        self.add_groups(&mut found).await?;
        Ok(found)
    }

    async fn last_messages(
        &self,
        conversation_i_ds: Vec<String>,
    ) -> Result<HashMap<String, MsgData>, Failure> {
        let request = self.context.request(GetLastMessageReq {
            user_id: self.me(),
            conversation_i_ds,
        });
        Ok(self
            .msg()
            .get_last_message(request)
            .await?
            .into_inner()
            .msgs
            .into_iter()
            .collect())
    }

    async fn records(
        &self,
        conversation_i_ds: Vec<String>,
    ) -> Result<HashMap<String, Conversation>, Failure> {
        if conversation_i_ds.is_empty() {
            return Ok(HashMap::new());
        }
        let mut client = ConversationClient::new(self.deps.channel(name::CONVERSATION))
            .max_decoding_message_size(MAX_MESSAGE);
        let request = self.context.request(GetConversationsReq {
            owner_user_id: self.me(),
            conversation_i_ds,
        });
        let records = client
            .get_conversations(request)
            .await?
            .into_inner()
            .conversations;
        Ok(records
            .into_iter()
            .map(|r| (r.conversation_id.clone(), r))
            .collect())
    }

    async fn add_users(&self, found: &mut [ConversationMsg]) -> Result<(), Failure> {
        let ids = peers(found, |c| !in_group(c), |c| &c.user_id);
        if ids.is_empty() {
            return Ok(());
        }
        let request = self.context.request(GetDesignateUsersReq {
            user_i_ds: ids.clone(),
        });
        let users = UserClient::new(self.deps.channel(name::USER))
            .get_designate_users(request)
            .await
            .map_err(from_status)?;
        let users: HashMap<_, _> = users
            .into_inner()
            .users_info
            .into_iter()
            .map(|u| (u.user_id.clone(), u))
            .collect();
        let request = self.context.request(GetFriendInfoReq {
            owner_user_id: self.me(),
            friend_user_i_ds: ids,
        });
        let friends = FriendClient::new(self.deps.channel(name::FRIEND))
            .get_friend_info(request)
            .await?
            .into_inner();
        let friends: HashMap<_, _> = friends
            .friend_infos
            .into_iter()
            .map(|f| (f.friend_user_id.clone(), f))
            .collect();
        for entry in found {
            let peer = entry
                .conversation
                .as_ref()
                .filter(|c| !in_group(c))
                .map(|c| c.user_id.as_str());
            entry.user = peer.and_then(|id| users.get(id).cloned());
            entry.friend = peer.and_then(|id| friends.get(id).cloned());
        }
        Ok(())
    }

    async fn add_groups(&self, found: &mut [ConversationMsg]) -> Result<(), Failure> {
        let ids = peers(found, in_group, |c| &c.group_id);
        if ids.is_empty() {
            return Ok(());
        }
        let request = self.context.request(GetGroupsInfoReq { group_i_ds: ids });
        let groups = GroupClient::new(self.deps.channel(name::GROUP))
            .get_groups_info(request)
            .await?
            .into_inner();
        let groups: HashMap<_, _> = groups
            .group_infos
            .into_iter()
            .map(|g| (g.group_id.clone(), g))
            .collect();
        for entry in found {
            let group = entry.conversation.as_ref().filter(|c| in_group(c));
            entry.group = group.and_then(|c| groups.get(&c.group_id).cloned());
        }
        Ok(())
    }
}

fn in_group(conversation: &Conversation) -> bool {
    conversation.conversation_type == SessionType::Group.number()
}

fn peers(
    found: &[ConversationMsg],
    chosen: fn(&Conversation) -> bool,
    id: fn(&Conversation) -> &String,
) -> Vec<String> {
    let mut ids: Vec<String> = found
        .iter()
        .filter_map(|entry| entry.conversation.as_ref())
        .filter(|c| chosen(c))
        .map(|c| id(c).clone())
        .filter(|id| !id.is_empty())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_messages_are_summed_and_never_negative() {
        let seqs = [(5, 2), (3, 9), (0, 0)].map(|(max_seq, has_read_seq)| Seqs {
            max_seq,
            has_read_seq,
            max_seq_time: 0,
        });
        assert_eq!(unread(seqs.iter()), 3);
    }
}
