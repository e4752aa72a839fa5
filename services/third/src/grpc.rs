//! The generated trait: rules on fields, who may ask, the call, the answer.

use magpie_proto::openim::third::{third_server::Third, *};
use magpie_service::rpc::{Answer, answer, filled, open};
use magpie_types::{Error, Platform};
use tonic::Request;

use crate::devices::Devices;

magpie_service::later! {
    "comes with object storage": {
        part_limit(PartLimitReq) -> PartLimitResp;
        part_size(PartSizeReq) -> PartSizeResp;
        initiate_multipart_upload(InitiateMultipartUploadReq) -> InitiateMultipartUploadResp;
        auth_sign(AuthSignReq) -> AuthSignResp;
        complete_multipart_upload(CompleteMultipartUploadReq) -> CompleteMultipartUploadResp;
        access_url(AccessUrlReq) -> AccessUrlResp;
        initiate_form_data(InitiateFormDataReq) -> InitiateFormDataResp;
        complete_form_data(CompleteFormDataReq) -> CompleteFormDataResp;
        delete_outdated_data(DeleteOutdatedDataReq) -> DeleteOutdatedDataResp;
    }
    "comes with client logs": {
        upload_logs(UploadLogsReq) -> UploadLogsResp;
        delete_logs(DeleteLogsReq) -> DeleteLogsResp;
        search_logs(SearchLogsReq) -> SearchLogsResp;
    }
}

pub(crate) struct ThirdGrpc {
    devices: Devices,
}

impl ThirdGrpc {
    pub(crate) fn new(devices: Devices) -> Self {
        Self { devices }
    }
}

#[tonic::async_trait]
impl Third for ThirdGrpc {
    async fn fcm_update_token(
        &self,
        request: Request<FcmUpdateTokenReq>,
    ) -> Answer<FcmUpdateTokenResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            if Platform::from_number(req.platform_id).is_none() {
                return Err(Error::args("platformID is invalid"));
            }
            filled("fcmToken", &req.fcm_token)?;
            filled("account", &req.account)?;
            ctx.require_self(&req.account)?;
            if req.fcm_token.len() > self.devices.config.max_push_token_bytes {
                return Err(Error::args("fcmToken is too long"));
            }
            magpie_types::UserId::new(req.account.as_str())?;
            self.devices
                .set_push_token(
                    &req.account,
                    req.platform_id,
                    &req.fcm_token,
                    req.expire_time,
                )
                .await?;
            Ok(FcmUpdateTokenResp {})
        })
        .await
    }

    async fn set_app_badge(&self, request: Request<SetAppBadgeReq>) -> Answer<SetAppBadgeResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID", &req.user_id)?;
            ctx.require_self(&req.user_id)?;
            self.devices
                .set_badge(&req.user_id, req.app_unread_count)
                .await?;
            Ok(SetAppBadgeResp {})
        })
        .await
    }

    later_rpcs!();
}
