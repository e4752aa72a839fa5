//! The gRPC surface of a gateway that the public contract knows: `openim.msggateway.msgGateway`.

use std::sync::Arc;

use magpie_proto::openim::msggateway::get_users_online_status_resp::{
    FailedDetail, SuccessDetail, SuccessResult,
};
use magpie_proto::openim::msggateway::msg_gateway_server::MsgGateway;
use magpie_proto::openim::msggateway::{
    GetUsersOnlineStatusReq, GetUsersOnlineStatusResp, KickUserOfflineReq, KickUserOfflineResp,
    MultiTerminalLoginCheckReq, MultiTerminalLoginCheckResp, OnlineBatchPushOneMsgReq,
    OnlineBatchPushOneMsgResp, OnlinePushMsgReq, OnlinePushMsgResp,
};
use magpie_service::rpc::{Answer, answer, at_most, open};
use tonic::Request;

use crate::hub::{self, Hub};
use crate::policy::Login;

/// `status` of a user who is connected.
const ONLINE: i32 = 1;
/// Users of one call.
const MAX_USERS: usize = 10_000;

/// The service.
pub(crate) struct GatewayService(pub(crate) Arc<Hub>);

magpie_service::later! {
    "messages are pushed with magpie.gateway.Delivery": {
        online_push_msg(OnlinePushMsgReq) -> OnlinePushMsgResp;
        online_batch_push_one_msg(OnlineBatchPushOneMsgReq) -> OnlineBatchPushOneMsgResp;
        super_group_online_batch_push_one_msg(OnlineBatchPushOneMsgReq) -> OnlineBatchPushOneMsgResp;
    }
}

#[tonic::async_trait]
impl MsgGateway for GatewayService {
    async fn get_users_online_status(
        &self,
        request: Request<GetUsersOnlineStatusReq>,
    ) -> Answer<GetUsersOnlineStatusResp> {
        answer(async {
            let (context, request) = open(request)?;
            context.require_admin()?;
            at_most("userIDs", &request.user_i_ds, MAX_USERS)?;
            Ok(self.online_status(request.user_i_ds))
        })
        .await
    }

    async fn kick_user_offline(
        &self,
        request: Request<KickUserOfflineReq>,
    ) -> Answer<KickUserOfflineResp> {
        answer(async {
            let (context, request) = open(request)?;
            context.require_admin()?;
            at_most("kickUserIDList", &request.kick_user_id_list, MAX_USERS)?;
            let platform = hub::platform(request.platform_id)?;
            for user in request.kick_user_id_list {
                self.0.kick(&user, |conn| conn.platform == platform).await;
            }
            Ok(KickUserOfflineResp {})
        })
        .await
    }

    async fn multi_terminal_login_check(
        &self,
        request: Request<MultiTerminalLoginCheckReq>,
    ) -> Answer<MultiTerminalLoginCheckResp> {
        answer(async {
            let (context, login) = open(request)?;
            context.require_internal()?;
            let new = Login {
                platform: hub::platform(login.platform_id)?,
                token: &login.token,
            };
            self.0
                .enforce_remote(&login.user_id, new, &context.operation_id)
                .await;
            Ok(MultiTerminalLoginCheckResp {})
        })
        .await
    }

    later_rpcs!();
}

impl GatewayService {
    /// The connections of users to this gateway; users without one are left out.
    fn online_status(&self, users: Vec<String>) -> GetUsersOnlineStatusResp {
        let mut answer = GetUsersOnlineStatusResp {
            success_result: Vec::new(),
            failed_result: Vec::<FailedDetail>::new(),
        };
        for user_id in users {
            let connections: Vec<_> = self
                .0
                .registry
                .of(&user_id)
                .iter()
                .map(|conn| SuccessDetail {
                    platform_id: conn.platform.number(),
                    conn_id: self.0.connection_id(conn.number),
                    is_background: conn.is_background(),
                    token: String::from(&*conn.token),
                })
                .collect();
            if !connections.is_empty() {
                answer.success_result.push(SuccessResult {
                    user_id,
                    status: ONLINE,
                    detail_platform_status: connections,
                });
            }
        }
        answer
    }
}
