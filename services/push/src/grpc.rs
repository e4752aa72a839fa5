//! The generated `openim.push` service.

use magpie_proto::openim::push::{
    DelUserPushTokenReq, DelUserPushTokenResp, PushMsgReq, PushMsgResp,
    push_msg_service_server::PushMsgService,
};
use magpie_service::{Context, Deps, IntoStatus as _, rpc::Answer};
use magpie_store::{Documents as _, documents::PushToken, key};
use magpie_types::Error;
use tonic::{Request, Response};

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
        let ctx = Context::of(&request)?.clone();
        let req = request.into_inner();
        ctx.require_self(&req.user_id).map_err(Error::into_status)?;
        let removed = self
            .0
            .store
            .remove::<PushToken>(vec![key![req.user_id.as_str(), req.platform_id]])
            .await;
        removed.map_err(|e| Error::from(e).into_status())?;
        Ok(Response::new(DelUserPushTokenResp {}))
    }

    later_rpcs!();
}
