//! The generated trait. The requests of lists of groups are answered here; those with rules are handed to their capability, which checks
//! fields, then who asks, then what is stored.

use std::sync::Arc;

use magpie_proto::openim::group::{group_server::Group, *};
use magpie_service::{
    call, lists,
    rpc::{Answer, answer, at_most, distinct, filled, open, some},
};
use tonic::Request;

use crate::groups::{Groups, shown};

/// Every RPC of the contract is there.
pub const UNIMPLEMENTED: &[&str] = &[];

pub(crate) struct GroupGrpc(pub(crate) Arc<Groups>);

#[tonic::async_trait]
impl Group for GroupGrpc {
    async fn get_groups_info(
        &self,
        request: Request<GetGroupsInfoReq>,
    ) -> Answer<GetGroupsInfoResp> {
        answer(async {
            let (_, req) = open(request)?;
            some("groupIDs", &req.group_i_ds)?;
            at_most("groupIDs", &req.group_i_ds, self.0.config.max_ids)?;
            let groups = self.0.find_many(&distinct(req.group_i_ds)).await?;
            Ok(GetGroupsInfoResp {
                group_infos: groups.into_iter().map(shown).collect(),
            })
        })
        .await
    }

    async fn get_joined_group_list(
        &self,
        request: Request<GetJoinedGroupListReq>,
    ) -> Answer<GetJoinedGroupListResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let pagination = lists::required(req.pagination)?;
            filled("fromUserID", &req.from_user_id)?;
            ctx.require_self(&req.from_user_id)?;
            let groups = self.0.joined(&req.from_user_id).await?;
            let total = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            let page = lists::page(groups, pagination, self.0.config.max_page);
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
    ) -> Answer<GetIncrementalJoinGroupResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let changes = self
                .0
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
    ) -> Answer<GetFullJoinGroupIDsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID", &req.user_id)?;
            ctx.require_self(&req.user_id)?;
            let full = self.0.full_joined_ids(&req.user_id, req.id_hash).await?;
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
    ) -> Answer<BatchGetIncrementalGroupMemberResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            at_most("reqList", &req.req_list, self.0.config.max_ids)?;
            let resp_list = self
                .0
                .incremental_members_of(&ctx, req.req_list)
                .await?
                .into_iter()
                .collect();
            Ok(BatchGetIncrementalGroupMemberResp { resp_list })
        })
        .await
    }

    async fn create_group(&self, request: Request<CreateGroupReq>) -> Answer<CreateGroupResp> {
        call!(self, request, create)
    }

    async fn join_group(&self, request: Request<JoinGroupReq>) -> Answer<JoinGroupResp> {
        call!(self, request, join => JoinGroupResp {})
    }

    async fn quit_group(&self, request: Request<QuitGroupReq>) -> Answer<QuitGroupResp> {
        call!(self, request, quit => QuitGroupResp {})
    }

    async fn set_group_info(&self, request: Request<SetGroupInfoReq>) -> Answer<SetGroupInfoResp> {
        call!(self, request, set_info => SetGroupInfoResp {})
    }

    async fn set_group_info_ex(
        &self,
        request: Request<SetGroupInfoExReq>,
    ) -> Answer<SetGroupInfoExResp> {
        call!(self, request, set_info_ex => SetGroupInfoExResp {})
    }

    async fn get_group_application_list(
        &self,
        request: Request<GetGroupApplicationListReq>,
    ) -> Answer<GetGroupApplicationListResp> {
        call!(self, request, received)
    }

    async fn get_group_application_unhandled_count(
        &self,
        request: Request<GetGroupApplicationUnhandledCountReq>,
    ) -> Answer<GetGroupApplicationUnhandledCountResp> {
        call!(self, request, unhandled)
    }

    async fn get_user_req_application_list(
        &self,
        request: Request<GetUserReqApplicationListReq>,
    ) -> Answer<GetUserReqApplicationListResp> {
        call!(self, request, made)
    }

    async fn get_group_users_req_application_list(
        &self,
        request: Request<GetGroupUsersReqApplicationListReq>,
    ) -> Answer<GetGroupUsersReqApplicationListResp> {
        call!(self, request, of_users)
    }

    async fn get_specified_user_group_request_info(
        &self,
        request: Request<GetSpecifiedUserGroupRequestInfoReq>,
    ) -> Answer<GetSpecifiedUserGroupRequestInfoResp> {
        call!(self, request, of_user)
    }

    async fn transfer_group_owner(
        &self,
        request: Request<TransferGroupOwnerReq>,
    ) -> Answer<TransferGroupOwnerResp> {
        call!(self, request, transfer => TransferGroupOwnerResp {})
    }

    async fn group_application_response(
        &self,
        request: Request<GroupApplicationResponseReq>,
    ) -> Answer<GroupApplicationResponseResp> {
        call!(self, request, answer => GroupApplicationResponseResp {})
    }

    async fn get_group_member_list(
        &self,
        request: Request<GetGroupMemberListReq>,
    ) -> Answer<GetGroupMemberListResp> {
        call!(self, request, list_of_members)
    }

    async fn get_group_members_info(
        &self,
        request: Request<GetGroupMembersInfoReq>,
    ) -> Answer<GetGroupMembersInfoResp> {
        call!(self, request, members_info)
    }

    async fn kick_group_member(
        &self,
        request: Request<KickGroupMemberReq>,
    ) -> Answer<KickGroupMemberResp> {
        call!(self, request, kick => KickGroupMemberResp {})
    }

    async fn invite_user_to_group(
        &self,
        request: Request<InviteUserToGroupReq>,
    ) -> Answer<InviteUserToGroupResp> {
        call!(self, request, invite => InviteUserToGroupResp {})
    }

    async fn get_groups(&self, request: Request<GetGroupsReq>) -> Answer<GetGroupsResp> {
        call!(self, request, search)
    }

    async fn get_group_members_cms(
        &self,
        request: Request<GetGroupMembersCmsReq>,
    ) -> Answer<GetGroupMembersCmsResp> {
        call!(self, request, members_for_admin)
    }

    async fn dismiss_group(&self, request: Request<DismissGroupReq>) -> Answer<DismissGroupResp> {
        call!(self, request, dismiss => DismissGroupResp {})
    }

    async fn mute_group_member(
        &self,
        request: Request<MuteGroupMemberReq>,
    ) -> Answer<MuteGroupMemberResp> {
        call!(self, request, mute_member => MuteGroupMemberResp {})
    }

    async fn cancel_mute_group_member(
        &self,
        request: Request<CancelMuteGroupMemberReq>,
    ) -> Answer<CancelMuteGroupMemberResp> {
        call!(self, request, cancel_mute_member => CancelMuteGroupMemberResp {})
    }

    async fn mute_group(&self, request: Request<MuteGroupReq>) -> Answer<MuteGroupResp> {
        call!(self, request, mute => MuteGroupResp {})
    }

    async fn cancel_mute_group(
        &self,
        request: Request<CancelMuteGroupReq>,
    ) -> Answer<CancelMuteGroupResp> {
        call!(self, request, cancel_mute => CancelMuteGroupResp {})
    }

    async fn set_group_member_info(
        &self,
        request: Request<SetGroupMemberInfoReq>,
    ) -> Answer<SetGroupMemberInfoResp> {
        call!(self, request, set_member_info => SetGroupMemberInfoResp {})
    }

    async fn get_group_abstract_info(
        &self,
        request: Request<GetGroupAbstractInfoReq>,
    ) -> Answer<GetGroupAbstractInfoResp> {
        call!(self, request, abstracts)
    }

    async fn get_user_in_group_members(
        &self,
        request: Request<GetUserInGroupMembersReq>,
    ) -> Answer<GetUserInGroupMembersResp> {
        call!(self, request, memberships)
    }

    async fn get_group_member_user_i_ds(
        &self,
        request: Request<GetGroupMemberUserIDsReq>,
    ) -> Answer<GetGroupMemberUserIDsResp> {
        call!(self, request, member_ids)
    }

    async fn get_group_member_role_level(
        &self,
        request: Request<GetGroupMemberRoleLevelReq>,
    ) -> Answer<GetGroupMemberRoleLevelResp> {
        call!(self, request, members_by_role)
    }

    async fn get_group_info_cache(
        &self,
        request: Request<GetGroupInfoCacheReq>,
    ) -> Answer<GetGroupInfoCacheResp> {
        call!(self, request, info_cache)
    }

    async fn get_group_member_cache(
        &self,
        request: Request<GetGroupMemberCacheReq>,
    ) -> Answer<GetGroupMemberCacheResp> {
        call!(self, request, member_cache)
    }

    async fn group_create_count(
        &self,
        request: Request<GroupCreateCountReq>,
    ) -> Answer<GroupCreateCountResp> {
        call!(self, request, created)
    }

    async fn notification_user_info_update(
        &self,
        request: Request<NotificationUserInfoUpdateReq>,
    ) -> Answer<NotificationUserInfoUpdateResp> {
        call!(self, request, profile_changed => NotificationUserInfoUpdateResp {})
    }

    async fn get_incremental_group_member(
        &self,
        request: Request<GetIncrementalGroupMemberReq>,
    ) -> Answer<GetIncrementalGroupMemberResp> {
        call!(self, request, incremental_member)
    }

    async fn get_full_group_member_user_i_ds(
        &self,
        request: Request<GetFullGroupMemberUserIDsReq>,
    ) -> Answer<GetFullGroupMemberUserIDsResp> {
        call!(self, request, full_member_ids)
    }
}
