//! The generated trait: rules on fields, who may ask, the call, the answer.

use magpie_proto::openim::group::{group_server::Group, *};
use magpie_service::{
    lists,
    rpc::{answer, at_most, filled, open, some},
};
use tonic::{Request, Response, Status};

use crate::groups::{Groups, shown};

magpie_service::later! {
    "groups": {
        create_group(CreateGroupReq) -> CreateGroupResp;
        join_group(JoinGroupReq) -> JoinGroupResp;
        quit_group(QuitGroupReq) -> QuitGroupResp;
        set_group_info(SetGroupInfoReq) -> SetGroupInfoResp;
        set_group_info_ex(SetGroupInfoExReq) -> SetGroupInfoExResp;
        get_group_application_list(GetGroupApplicationListReq) -> GetGroupApplicationListResp;
        get_group_application_unhandled_count(GetGroupApplicationUnhandledCountReq) -> GetGroupApplicationUnhandledCountResp;
        get_user_req_application_list(GetUserReqApplicationListReq) -> GetUserReqApplicationListResp;
        get_group_users_req_application_list(GetGroupUsersReqApplicationListReq) -> GetGroupUsersReqApplicationListResp;
        get_specified_user_group_request_info(GetSpecifiedUserGroupRequestInfoReq) -> GetSpecifiedUserGroupRequestInfoResp;
        transfer_group_owner(TransferGroupOwnerReq) -> TransferGroupOwnerResp;
        group_application_response(GroupApplicationResponseReq) -> GroupApplicationResponseResp;
        get_group_member_list(GetGroupMemberListReq) -> GetGroupMemberListResp;
        get_group_members_info(GetGroupMembersInfoReq) -> GetGroupMembersInfoResp;
        kick_group_member(KickGroupMemberReq) -> KickGroupMemberResp;
        invite_user_to_group(InviteUserToGroupReq) -> InviteUserToGroupResp;
        get_groups(GetGroupsReq) -> GetGroupsResp;
        get_group_members_cms(GetGroupMembersCmsReq) -> GetGroupMembersCmsResp;
        dismiss_group(DismissGroupReq) -> DismissGroupResp;
        mute_group_member(MuteGroupMemberReq) -> MuteGroupMemberResp;
        cancel_mute_group_member(CancelMuteGroupMemberReq) -> CancelMuteGroupMemberResp;
        mute_group(MuteGroupReq) -> MuteGroupResp;
        cancel_mute_group(CancelMuteGroupReq) -> CancelMuteGroupResp;
        set_group_member_info(SetGroupMemberInfoReq) -> SetGroupMemberInfoResp;
        get_group_abstract_info(GetGroupAbstractInfoReq) -> GetGroupAbstractInfoResp;
        get_user_in_group_members(GetUserInGroupMembersReq) -> GetUserInGroupMembersResp;
        get_group_member_user_i_ds(GetGroupMemberUserIDsReq) -> GetGroupMemberUserIDsResp;
        get_group_member_role_level(GetGroupMemberRoleLevelReq) -> GetGroupMemberRoleLevelResp;
        get_group_info_cache(GetGroupInfoCacheReq) -> GetGroupInfoCacheResp;
        get_group_member_cache(GetGroupMemberCacheReq) -> GetGroupMemberCacheResp;
        group_create_count(GroupCreateCountReq) -> GroupCreateCountResp;
        notification_user_info_update(NotificationUserInfoUpdateReq) -> NotificationUserInfoUpdateResp;
        get_incremental_group_member(GetIncrementalGroupMemberReq) -> GetIncrementalGroupMemberResp;
        get_full_group_member_user_i_ds(GetFullGroupMemberUserIDsReq) -> GetFullGroupMemberUserIDsResp;
    }
}

pub(crate) struct GroupGrpc {
    groups: Groups,
}

impl GroupGrpc {
    pub(crate) fn new(groups: Groups) -> Self {
        Self { groups }
    }
}

#[tonic::async_trait]
impl Group for GroupGrpc {
    async fn get_groups_info(
        &self,
        request: Request<GetGroupsInfoReq>,
    ) -> Result<Response<GetGroupsInfoResp>, Status> {
        answer(async {
            let (_, req) = open(request)?;
            some("groupIDs", &req.group_i_ds)?;
            at_most("groupIDs", &req.group_i_ds, self.groups.config.max_ids)?;
            let groups = self.groups.find_many(&req.group_i_ds).await?;
            Ok(GetGroupsInfoResp {
                group_infos: groups.into_iter().map(shown).collect(),
            })
        })
        .await
    }

    async fn get_joined_group_list(
        &self,
        request: Request<GetJoinedGroupListReq>,
    ) -> Result<Response<GetJoinedGroupListResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            let pagination = lists::required(req.pagination)?;
            filled("fromUserID", &req.from_user_id)?;
            ctx.require_self(&req.from_user_id)?;
            let groups = self.groups.joined(&req.from_user_id).await?;
            let total = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            let page = lists::page(groups, pagination, self.groups.config.max_page);
            Ok(GetJoinedGroupListResp {
                total,
                groups: page.into_iter().map(shown).collect(),
            })
        })
        .await
    }

    async fn get_incremental_join_group(
        &self,
        request: Request<GetIncrementalJoinGroupReq>,
    ) -> Result<Response<GetIncrementalJoinGroupResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let changes = self
                .groups
                .incremental_joined(&req.user_id, (&req.version_id, req.version))
                .await?;
            Ok(GetIncrementalJoinGroupResp {
                version: changes.version,
                version_id: changes.version_id,
                full: changes.full,
                delete: changes.delete,
                insert: changes.insert.into_iter().map(shown).collect(),
                update: changes.update.into_iter().map(shown).collect(),
                sort_version: 0,
            })
        })
        .await
    }

    async fn get_full_join_group_i_ds(
        &self,
        request: Request<GetFullJoinGroupIDsReq>,
    ) -> Result<Response<GetFullJoinGroupIDsResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID", &req.user_id)?;
            ctx.require_self(&req.user_id)?;
            let full = self
                .groups
                .full_joined_ids(&req.user_id, req.id_hash)
                .await?;
            Ok(GetFullJoinGroupIDsResp {
                version: full.version,
                version_id: full.version_id,
                equal: full.equal,
                group_i_ds: full.ids,
            })
        })
        .await
    }

    async fn batch_get_incremental_group_member(
        &self,
        request: Request<BatchGetIncrementalGroupMemberReq>,
    ) -> Result<Response<BatchGetIncrementalGroupMemberResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            at_most("reqList", &req.req_list, self.groups.config.max_ids)?;
            let resp_list = self
                .groups
                .incremental_members_of(&ctx, req.req_list)
                .await?
                .into_iter()
                .collect();
            Ok(BatchGetIncrementalGroupMemberResp { resp_list })
        })
        .await
    }

    later_rpcs!();
}
