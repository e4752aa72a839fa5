//! The generated trait: rules on fields, who may ask, the call, the answer.

use std::sync::Arc;

use magpie_proto::openim::conversation::{conversation_server::Conversation, *};
use magpie_service::{
    Context, lists,
    rpc::{Answer, answer, at_most, distinct, filled, open},
};
use magpie_types::{ConversationId, Error, GroupId, Result, SessionType, user::recv_opt};
use tonic::Request;

use crate::{records::Records, settings::Patch};

magpie_service::later! {
    "comes with retention": {
        get_conversations_need_clear_msg(GetConversationsNeedClearMsgReq) -> GetConversationsNeedClearMsgResp;
        clear_user_conversation_msg(ClearUserConversationMsgReq) -> ClearUserConversationMsgResp;
    }
}

pub(crate) struct ConversationGrpc {
    records: Arc<Records>,
}

impl ConversationGrpc {
    pub(crate) fn new(records: Arc<Records>) -> Self {
        Self { records }
    }

    /// Changes the records that these users have of a conversation, for administrators.
    async fn patch(
        &self,
        ctx: &Context,
        (field, owners): (&'static str, Vec<String>),
        conversation_id: &str,
        patch: &Patch,
    ) -> Result<()> {
        filled("conversationID", conversation_id)?;
        at_most(field, &owners, self.records.config.max_ids)?;
        ctx.require_admin()?;
        self.records
            .patch_existing(ctx, owners, conversation_id, patch)
            .await
    }
}

fn check_wanted(wanted: &ConversationReq) -> Result<()> {
    if wanted.conversation_type == 0 {
        return Err(Error::args("conversationType is invalid"));
    }
    if wanted.conversation_type == SessionType::Single.number() {
        filled("userID", &wanted.user_id)?;
    }
    if wanted.conversation_type == SessionType::Group.number() {
        filled("groupID", &wanted.group_id)?;
    }
    ConversationId::parse(&wanted.conversation_id)?;
    Ok(())
}

#[tonic::async_trait]
impl Conversation for ConversationGrpc {
    async fn get_conversation(
        &self,
        request: Request<GetConversationReq>,
    ) -> Answer<GetConversationResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("conversationID", &req.conversation_id)?;
            filled("ownerUserID", &req.owner_user_id)?;
            ctx.require_self(&req.owner_user_id)?;
            let found = self
                .records
                .find(&req.owner_user_id, &req.conversation_id)
                .await?;
            let record = found.ok_or_else(|| Error::not_found("conversation not found"))?;
            Ok(GetConversationResp {
                conversation: self.records.shown(vec![record]).await?.pop(),
            })
        })
        .await
    }

    async fn get_conversations(
        &self,
        request: Request<GetConversationsReq>,
    ) -> Answer<GetConversationsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            at_most(
                "conversationIDs",
                &req.conversation_i_ds,
                self.records.config.max_ids,
            )?;
            ctx.require_self(&req.owner_user_id)?;
            let found = self
                .records
                .find_many(&req.owner_user_id, &distinct(req.conversation_i_ds))
                .await?;
            Ok(GetConversationsResp {
                conversations: self.records.shown(found).await?,
            })
        })
        .await
    }

    async fn get_all_conversations(
        &self,
        request: Request<GetAllConversationsReq>,
    ) -> Answer<GetAllConversationsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            ctx.require_self(&req.owner_user_id)?;
            let found = self.records.of_owner(&req.owner_user_id).await?;
            Ok(GetAllConversationsResp {
                conversations: self.records.shown(found).await?,
            })
        })
        .await
    }

    async fn get_owner_conversation(
        &self,
        request: Request<GetOwnerConversationReq>,
    ) -> Answer<GetOwnerConversationResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let (total, page) = self.records.page(&req.user_id, req.pagination).await?;
            let total = i64::try_from(total).unwrap_or(i64::MAX);
            Ok(GetOwnerConversationResp {
                total,
                conversations: self.records.shown(page).await?,
            })
        })
        .await
    }

    async fn get_conversation_i_ds(
        &self,
        request: Request<GetConversationIDsReq>,
    ) -> Answer<GetConversationIDsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID", &req.user_id)?;
            ctx.require_self(&req.user_id)?;
            Ok(GetConversationIDsResp {
                conversation_i_ds: self.records.ids(&req.user_id, |_| true).await?,
            })
        })
        .await
    }

    async fn get_user_conversation_i_ds_hash(
        &self,
        request: Request<GetUserConversationIDsHashReq>,
    ) -> Answer<GetUserConversationIDsHashResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            ctx.require_self(&req.owner_user_id)?;
            let ids = self.records.ids(&req.owner_user_id, |_| true).await?;
            Ok(GetUserConversationIDsHashResp {
                hash: lists::id_hash(&ids)?,
            })
        })
        .await
    }

    async fn get_not_notify_conversation_i_ds(
        &self,
        request: Request<GetNotNotifyConversationIDsReq>,
    ) -> Answer<GetNotNotifyConversationIDsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let ids = self
                .records
                .ids(&req.user_id, |r| r.recv_msg_opt == recv_opt::DO_NOT_NOTIFY)
                .await?;
            Ok(GetNotNotifyConversationIDsResp {
                conversation_i_ds: ids,
            })
        })
        .await
    }

    async fn get_pinned_conversation_i_ds(
        &self,
        request: Request<GetPinnedConversationIDsReq>,
    ) -> Answer<GetPinnedConversationIDsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            Ok(GetPinnedConversationIDsResp {
                conversation_i_ds: self.records.ids(&req.user_id, |r| r.is_pinned).await?,
            })
        })
        .await
    }

    async fn get_full_owner_conversation_i_ds(
        &self,
        request: Request<GetFullOwnerConversationIDsReq>,
    ) -> Answer<GetFullOwnerConversationIDsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let full = self.records.full_ids(&req.user_id, req.id_hash).await?;
            Ok(GetFullOwnerConversationIDsResp {
                version: full.version,
                version_id: full.version_id,
                equal: full.equal,
                conversation_i_ds: full.ids,
            })
        })
        .await
    }

    async fn get_incremental_conversation(
        &self,
        request: Request<GetIncrementalConversationReq>,
    ) -> Answer<GetIncrementalConversationResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let changes = self
                .records
                .incremental(&req.user_id, (&req.version_id, req.version))
                .await?;
            Ok(GetIncrementalConversationResp {
                version: changes.version,
                version_id: changes.version_id,
                full: changes.full,
                delete: changes.delete,
                insert: self.records.shown(changes.insert).await?,
                update: self.records.shown(changes.update).await?,
            })
        })
        .await
    }

    async fn set_conversations(
        &self,
        request: Request<SetConversationsReq>,
    ) -> Answer<SetConversationsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let wanted = req
                .conversation
                .ok_or_else(|| Error::args("conversation is empty"))?;
            check_wanted(&wanted)?;
            at_most("userIDs", &req.user_i_ds, self.records.config.max_ids)?;
            for owner in &req.user_i_ds {
                filled("userIDs", owner)?;
                ctx.require_self(owner)?;
            }
            let mut owners = req.user_i_ds;
            owners.sort_unstable();
            owners.dedup();
            self.records.set_for(&ctx, owners, &wanted).await?;
            Ok(SetConversationsResp {})
        })
        .await
    }

    async fn update_conversation(
        &self,
        request: Request<UpdateConversationReq>,
    ) -> Answer<UpdateConversationResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let patch = Patch::of_service(&req);
            self.patch(
                &ctx,
                ("userIDs", req.user_i_ds),
                &req.conversation_id,
                &patch,
            )
            .await?;
            Ok(UpdateConversationResp {})
        })
        .await
    }

    async fn set_conversation_max_seq(
        &self,
        request: Request<SetConversationMaxSeqReq>,
    ) -> Answer<SetConversationMaxSeqResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let patch = Patch {
                max_seq: Some(req.max_seq),
                ..Patch::default()
            };
            self.patch(
                &ctx,
                ("ownerUserID", req.owner_user_id),
                &req.conversation_id,
                &patch,
            )
            .await?;
            Ok(SetConversationMaxSeqResp {})
        })
        .await
    }

    async fn set_conversation_min_seq(
        &self,
        request: Request<SetConversationMinSeqReq>,
    ) -> Answer<SetConversationMinSeqResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let patch = Patch {
                min_seq: Some(req.min_seq),
                ..Patch::default()
            };
            self.patch(
                &ctx,
                ("ownerUserID", req.owner_user_id),
                &req.conversation_id,
                &patch,
            )
            .await?;
            Ok(SetConversationMinSeqResp {})
        })
        .await
    }

    async fn create_single_chat_conversations(
        &self,
        request: Request<CreateSingleChatConversationsReq>,
    ) -> Answer<CreateSingleChatConversationsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("recvID", &req.recv_id)?;
            filled("sendID", &req.send_id)?;
            ConversationId::parse(&req.conversation_id)?;
            ctx.require_admin()?;
            self.records.create_pair(&ctx, req).await?;
            Ok(CreateSingleChatConversationsResp {})
        })
        .await
    }

    async fn create_group_chat_conversations(
        &self,
        request: Request<CreateGroupChatConversationsReq>,
    ) -> Answer<CreateGroupChatConversationsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            GroupId::new(req.group_id.as_str())?;
            at_most("userIDs", &req.user_i_ds, self.records.config.max_ids)?;
            ctx.require_admin()?;
            self.records
                .create_of_group(&ctx, &req.group_id, req.user_i_ds)
                .await?;
            Ok(CreateGroupChatConversationsResp {})
        })
        .await
    }

    async fn get_conversations_by_conversation_id(
        &self,
        request: Request<GetConversationsByConversationIdReq>,
    ) -> Answer<GetConversationsByConversationIdResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            at_most(
                "conversationIDs",
                &req.conversation_i_ds,
                self.records.config.max_ids,
            )?;
            ctx.require_admin()?;
            let mut found = Vec::new();
            for id in &req.conversation_i_ds {
                found.extend(self.records.of_conversation(id).await?);
                at_most("conversations", &found, lists::MAX_LIST)?;
            }
            Ok(GetConversationsByConversationIdResp {
                conversations: self.records.shown(found).await?,
            })
        })
        .await
    }

    async fn get_recv_msg_not_notify_user_i_ds(
        &self,
        request: Request<GetRecvMsgNotNotifyUserIDsReq>,
    ) -> Answer<GetRecvMsgNotNotifyUserIDsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("groupID", &req.group_id)?;
            ctx.require_admin()?;
            let chat = ConversationId::group(&req.group_id);
            Ok(GetRecvMsgNotNotifyUserIDsResp {
                user_i_ds: self
                    .records
                    .receiving(&chat, recv_opt::DO_NOT_NOTIFY)
                    .await?,
            })
        })
        .await
    }

    async fn get_conversation_not_receive_message_user_i_ds(
        &self,
        request: Request<GetConversationNotReceiveMessageUserIDsReq>,
    ) -> Answer<GetConversationNotReceiveMessageUserIDsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let conversation = ConversationId::parse(&req.conversation_id)?;
            ctx.require_admin()?;
            Ok(GetConversationNotReceiveMessageUserIDsResp {
                user_i_ds: self
                    .records
                    .receiving(&conversation, recv_opt::DO_NOT_RECEIVE)
                    .await?,
            })
        })
        .await
    }

    async fn get_conversation_offline_push_user_i_ds(
        &self,
        request: Request<GetConversationOfflinePushUserIDsReq>,
    ) -> Answer<GetConversationOfflinePushUserIDsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("conversationID", &req.conversation_id)?;
            at_most("userIDs", &req.user_i_ds, self.records.config.max_ids)?;
            ctx.require_admin()?;
            let records = self
                .records
                .of_users(&req.user_i_ds, &req.conversation_id)
                .await?;
            let wanted = |record: &Option<magpie_store::documents::Conversation>| {
                record
                    .as_ref()
                    .is_none_or(|r| r.recv_msg_opt == recv_opt::RECEIVE)
            };
            let user_i_ds = req
                .user_i_ds
                .into_iter()
                .zip(records)
                .filter(|(_, r)| wanted(r))
                .map(|(id, _)| id)
                .collect();
            Ok(GetConversationOfflinePushUserIDsResp { user_i_ds })
        })
        .await
    }

    async fn get_sorted_conversation_list(
        &self,
        request: Request<GetSortedConversationListReq>,
    ) -> Answer<GetSortedConversationListResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let pagination = lists::required(req.pagination)?;
            filled("userID", &req.user_id)?;
            let ids = distinct(req.conversation_i_ds);
            at_most("conversationIDs", &ids, self.records.config.max_ids)?;
            ctx.require_self(&req.user_id)?;
            self.records
                .overview(&ctx, &req.user_id, &ids, pagination)
                .await
        })
        .await
    }

    async fn set_conversation(
        &self,
        request: Request<SetConversationReq>,
    ) -> Answer<SetConversationResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let whole = req
                .conversation
                .ok_or_else(|| Error::args("conversation is empty"))?;
            filled("ownerUserID", &whole.owner_user_id)?;
            ConversationId::parse(&whole.conversation_id)?;
            ctx.require_self(&whole.owner_user_id)?;
            self.records.set_whole(&ctx, &whole).await?;
            Ok(SetConversationResp {})
        })
        .await
    }

    async fn delete_conversations(
        &self,
        request: Request<DeleteConversationsReq>,
    ) -> Answer<DeleteConversationsResp> {
        answer(async {
            let (ctx, mut req) = open(request)?;
            req.conversation_i_ds = distinct(req.conversation_i_ds);
            if req.conversation_i_ds.is_empty() == (req.need_delete_time == 0) {
                return Err(Error::args(
                    "either needDeleteTime or conversationIDs must be set",
                ));
            }
            if req.need_delete_time < 0 {
                return Err(Error::args("needDeleteTime is negative"));
            }
            let ids = &req.conversation_i_ds;
            at_most("conversationIDs", ids, self.records.config.max_ids)?;
            ctx.require_self(&req.owner_user_id)?;
            self.records.remove(&ctx, req).await?;
            Ok(DeleteConversationsResp {})
        })
        .await
    }

    async fn update_conversations_by_user(
        &self,
        request: Request<UpdateConversationsByUserReq>,
    ) -> Answer<UpdateConversationsByUserResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            filled("userID", &req.user_id)?;
            if let Some(ex) = req.ex {
                self.records
                    .set_ex_of_peer(&ctx, &req.user_id, ex.value)
                    .await?;
            }
            Ok(UpdateConversationsByUserResp {})
        })
        .await
    }

    later_rpcs!();
}
