//! The generated `openim.msg` service: decode, call, encode. The rules are in the capabilities' own files.

use std::sync::Arc;

use magpie_proto::openim::{
    msg::{msg_server::Msg, *},
    sdkws::{GetMaxSeqReq, GetMaxSeqResp, PullMessageBySeqsReq, PullMessageBySeqsResp},
};
use magpie_service::{Context, IntoStatus as _, call, rpc::Answer};
use magpie_types::{ConversationId, Error};
use tonic::{Request, Response};

use crate::{Service, load::Budget};

/// The service behind its generated trait.
pub(crate) struct Grpc(pub(crate) Arc<Service>);

magpie_service::later! {
    "comes with statistics": {
        get_active_conversation(GetActiveConversationReq) -> GetActiveConversationResp;
        get_active_user(GetActiveUserReq) -> GetActiveUserResp;
        get_active_group(GetActiveGroupReq) -> GetActiveGroupResp;
    }
    "comes with bots": {
        send_simple_msg(SendSimpleMsgReq) -> SendSimpleMsgResp;
    }
    "comes with retention": {
        clear_msg(ClearMsgReq) -> ClearMsgResp;
        destruct_msgs(DestructMsgsReq) -> DestructMsgsResp;
        get_last_message_seq_by_time(GetLastMessageSeqByTimeReq) -> GetLastMessageSeqByTimeResp;
    }
    "the bounds of a member are set where his change stands in the log": {
        set_user_conversations_min_seq(SetUserConversationsMinSeqReq) -> SetUserConversationsMinSeqResp;
        set_user_conversation_max_seq(SetUserConversationMaxSeqReq) -> SetUserConversationMaxSeqResp;
        set_user_conversation_min_seq(SetUserConversationMinSeqReq) -> SetUserConversationMinSeqResp;
    }
}

#[tonic::async_trait]
impl Msg for Grpc {
    async fn send_msg(&self, request: Request<SendMsgReq>) -> Answer<SendMsgResp> {
        let ctx = Context::of(&request)?.clone();
        let msg = request
            .into_inner()
            .msg_data
            .ok_or_else(|| Error::args("msgData is missing").into_status())?;
        self.0
            .send(&ctx, msg)
            .await
            .map(Response::new)
            .map_err(Error::into_status)
    }

    async fn get_max_seq(&self, request: Request<GetMaxSeqReq>) -> Answer<GetMaxSeqResp> {
        call!(self, request, max_seqs_of_user)
    }

    async fn pull_message_by_seqs(
        &self,
        request: Request<PullMessageBySeqsReq>,
    ) -> Answer<PullMessageBySeqsResp> {
        call!(self, request, pull_ranges)
    }

    async fn get_seq_message(
        &self,
        request: Request<GetSeqMessageReq>,
    ) -> Answer<GetSeqMessageResp> {
        call!(self, request, pull_seqs)
    }

    async fn get_last_message(
        &self,
        request: Request<GetLastMessageReq>,
    ) -> Answer<GetLastMessageResp> {
        call!(self, request, last_messages)
    }

    async fn get_conversations_has_read_and_max_seq(
        &self,
        request: Request<GetConversationsHasReadAndMaxSeqReq>,
    ) -> Answer<GetConversationsHasReadAndMaxSeqResp> {
        call!(self, request, has_read_and_max)
    }

    async fn get_max_seqs(&self, request: Request<GetMaxSeqsReq>) -> Answer<SeqsInfoResp> {
        Context::of(&request)?
            .require_admin()
            .map_err(Error::into_status)?;
        let max_seqs = self
            .0
            .heads(&request.into_inner().conversation_i_ds)
            .await
            .map_err(Error::into_status)?;
        Ok(Response::new(SeqsInfoResp { max_seqs }))
    }

    async fn get_has_read_seqs(&self, request: Request<GetHasReadSeqsReq>) -> Answer<SeqsInfoResp> {
        let ctx = Context::of(&request)?.clone();
        let req = request.into_inner();
        ctx.require_self(&req.user_id).map_err(Error::into_status)?;
        let max_seqs = self
            .0
            .read_seqs(&req.user_id, &req.conversation_i_ds)
            .await
            .map_err(Error::into_status)?;
        Ok(Response::new(SeqsInfoResp { max_seqs }))
    }

    async fn get_conversation_max_seq(
        &self,
        request: Request<GetConversationMaxSeqReq>,
    ) -> Answer<GetConversationMaxSeqResp> {
        Context::of(&request)?
            .require_admin()
            .map_err(Error::into_status)?;
        let id = request.into_inner().conversation_id;
        let heads = self
            .0
            .heads(std::slice::from_ref(&id))
            .await
            .map_err(Error::into_status)?;
        Ok(Response::new(GetConversationMaxSeqResp {
            max_seq: heads.get(&id).copied().unwrap_or(0),
        }))
    }

    async fn get_msg_by_conversation_i_ds(
        &self,
        request: Request<GetMsgByConversationIDsReq>,
    ) -> Answer<GetMsgByConversationIDsResp> {
        let ctx = Context::of(&request)?.clone();
        ctx.require_admin().map_err(Error::into_status)?;
        let req = request.into_inner();
        let mut resp = GetMsgByConversationIDsResp::default();
        let mut budget = Budget::new(self.0.config.max_pull_bytes);
        for id in req.conversation_i_ds {
            let Some(seq) = req.max_seqs.get(&id).copied() else {
                continue;
            };
            let conversation = ConversationId::trusted(id.as_str());
            let load = async {
                self.0
                    .reader("", &conversation)
                    .await?
                    .load(seq..=seq)
                    .await
            };
            for msg in load.await.map_err(Error::into_status)? {
                if budget.take(&msg) {
                    resp.msg_datas.insert(id.clone(), msg);
                }
            }
            if budget.is_spent() {
                break;
            }
        }
        Ok(Response::new(resp))
    }

    async fn mark_msgs_as_read(
        &self,
        request: Request<MarkMsgsAsReadReq>,
    ) -> Answer<MarkMsgsAsReadResp> {
        call!(self, request, mark_msgs_as_read => MarkMsgsAsReadResp {})
    }

    async fn mark_conversation_as_read(
        &self,
        request: Request<MarkConversationAsReadReq>,
    ) -> Answer<MarkConversationAsReadResp> {
        call!(self, request, mark_conversation_as_read => MarkConversationAsReadResp {})
    }

    async fn set_conversation_has_read_seq(
        &self,
        request: Request<SetConversationHasReadSeqReq>,
    ) -> Answer<SetConversationHasReadSeqResp> {
        call!(self, request, set_has_read_seq => SetConversationHasReadSeqResp {})
    }

    async fn revoke_msg(&self, request: Request<RevokeMsgReq>) -> Answer<RevokeMsgResp> {
        call!(self, request, revoke => RevokeMsgResp {})
    }

    async fn delete_msgs(&self, request: Request<DeleteMsgsReq>) -> Answer<DeleteMsgsResp> {
        call!(self, request, delete_msgs => DeleteMsgsResp {})
    }

    async fn clear_conversations_msg(
        &self,
        request: Request<ClearConversationsMsgReq>,
    ) -> Answer<ClearConversationsMsgResp> {
        call!(self, request, clear_conversations => ClearConversationsMsgResp {})
    }

    async fn user_clear_all_msg(
        &self,
        request: Request<UserClearAllMsgReq>,
    ) -> Answer<UserClearAllMsgResp> {
        call!(self, request, clear_all => UserClearAllMsgResp {})
    }

    async fn delete_msg_physical_by_seq(
        &self,
        request: Request<DeleteMsgPhysicalBySeqReq>,
    ) -> Answer<DeleteMsgPhysicalBySeqResp> {
        Context::of(&request)?
            .require_admin()
            .map_err(Error::into_status)?;
        let req = request.into_inner();
        let conversation = ConversationId::parse(&req.conversation_id)
            .map_err(|e| Error::from(e).into_status())?;
        self.0
            .erase(&conversation, &req.seqs)
            .await
            .map_err(Error::into_status)?;
        Ok(Response::new(DeleteMsgPhysicalBySeqResp {}))
    }

    async fn delete_msg_physical(
        &self,
        request: Request<DeleteMsgPhysicalReq>,
    ) -> Answer<DeleteMsgPhysicalResp> {
        call!(self, request, erase_older => DeleteMsgPhysicalResp {})
    }

    async fn search_message(
        &self,
        request: Request<SearchMessageReq>,
    ) -> Answer<SearchMessageResp> {
        call!(self, request, search)
    }

    async fn set_send_msg_status(
        &self,
        request: Request<SetSendMsgStatusReq>,
    ) -> Answer<SetSendMsgStatusResp> {
        call!(self, request, set_send_state => SetSendMsgStatusResp {})
    }

    async fn get_send_msg_status(
        &self,
        request: Request<GetSendMsgStatusReq>,
    ) -> Answer<GetSendMsgStatusResp> {
        call!(self, request, send_state)
    }

    async fn get_server_time(
        &self,
        _request: Request<GetServerTimeReq>,
    ) -> Answer<GetServerTimeResp> {
        Ok(Response::new(GetServerTimeResp {
            server_time: magpie_types::time::now_ms(),
        }))
    }

    later_rpcs!();
}
