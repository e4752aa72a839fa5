//! The generated `openim.push` service.

use magpie_proto::openim::push::{
    DelUserPushTokenReq, DelUserPushTokenResp, PushMsgReq, PushMsgResp,
    push_msg_service_server::PushMsgService,
};
use magpie_service::{
    Deps,
    rpc::{Answer, answer, open},
};
use magpie_store::{Documents as _, documents::PushToken, key};
use tonic::Request;

pub(crate) struct Grpc(pub(crate) Deps);

magpie_service::later! {
    "comes with offline push": {
        push_msg(PushMsgReq) -> PushMsgResp;
    }
}

#[tonic::async_trait]
impl PushMsgService for Grpc {
    async fn del_user_push_token(
        &self,
        request: Request<DelUserPushTokenReq>,
    ) -> Answer<DelUserPushTokenResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let key = key![req.user_id.as_str(), req.platform_id];
            self.0.store.remove::<PushToken>(vec![key]).await?;
            Ok(DelUserPushTokenResp {})
        })
        .await
    }

    later_rpcs!();
}
