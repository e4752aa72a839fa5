//! The generated `openim.msg` service: decode, call, encode. The rules are in the capabilities' own files.

use std::sync::Arc;

use magpie_proto::openim::{
    msg::{msg_server::Msg, *},
    sdkws::{GetMaxSeqReq, GetMaxSeqResp, PullMessageBySeqsReq, PullMessageBySeqsResp},
};
use magpie_service::{
    call,
    rpc::{Answer, answer, open},
};
use magpie_types::{ConversationId, Error};
use tonic::{Request, Response};

use crate::Service;

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
        answer(async {
            let (ctx, req) = open(request)?;
            let msg = req.msg_data;
            let msg = msg.ok_or_else(|| Error::args("msgData is missing"))?;
            self.0.send(&ctx, msg).await
        })
        .await
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
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_admin()?;
            let max_seqs = self.0.heads(&req.conversation_i_ds).await?;
            Ok(SeqsInfoResp { max_seqs })
        })
        .await
    }

    async fn get_has_read_seqs(&self, request: Request<GetHasReadSeqsReq>) -> Answer<SeqsInfoResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let read = self.0.read_seqs(&req.user_id, &req.conversation_i_ds);
            let max_seqs = read.await?;
            Ok(SeqsInfoResp { max_seqs })
        })
        .await
    }

    async fn get_conversation_max_seq(
        &self,
        request: Request<GetConversationMaxSeqReq>,
    ) -> Answer<GetConversationMaxSeqResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_admin()?;
            let id = req.conversation_id;
            let heads = self.0.heads(std::slice::from_ref(&id)).await?;
            Ok(GetConversationMaxSeqResp {
                max_seq: heads.get(&id).copied().unwrap_or(0),
            })
        })
        .await
    }

    async fn get_msg_by_conversation_i_ds(
        &self,
        request: Request<GetMsgByConversationIDsReq>,
    ) -> Answer<GetMsgByConversationIDsResp> {
        call!(self, request, by_seqs)
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
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_admin()?;
            let conversation = ConversationId::parse(&req.conversation_id)?;
            self.0.erase(&conversation, &req.seqs).await?;
            Ok(DeleteMsgPhysicalBySeqResp {})
        })
        .await
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
