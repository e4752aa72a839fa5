//! The generated trait, of which nothing is built yet.

use magpie_proto::openim::rtc::{rtc_service_server::RtcService, *};

magpie_service::later! {
    "comes with calls": {
        signal_message_assemble(SignalMessageAssembleReq) -> SignalMessageAssembleResp;
        signal_get_room_by_group_id(SignalGetRoomByGroupIdReq) -> SignalGetRoomByGroupIdResp;
        signal_get_token_by_room_id(SignalGetTokenByRoomIdReq) -> SignalGetTokenByRoomIdResp;
        signal_get_rooms(SignalGetRoomsReq) -> SignalGetRoomsResp;
        get_signal_invitation_info(GetSignalInvitationInfoReq) -> GetSignalInvitationInfoResp;
        get_signal_invitation_info_start_app(GetSignalInvitationInfoStartAppReq) -> GetSignalInvitationInfoStartAppResp;
        signal_send_custom_signal(SignalSendCustomSignalReq) -> SignalSendCustomSignalResp;
        get_signal_invitation_records(GetSignalInvitationRecordsReq) -> GetSignalInvitationRecordsResp;
        delete_signal_records(DeleteSignalRecordsReq) -> DeleteSignalRecordsResp;
    }
}

pub(crate) struct RtcGrpc;

#[tonic::async_trait]
impl RtcService for RtcGrpc {
    later_rpcs!();
}
