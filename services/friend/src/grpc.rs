//! The generated trait: rules on fields, who may ask, the call, the answer.

use std::sync::Arc;

use magpie_proto::openim::relation::{friend_server::Friend, *};
use magpie_service::{
    Context, lists,
    rpc::{answer, at_most, filled, open, some, unique},
};
use magpie_types::{Error, Result};
use tonic::{Request, Response, Status};

use crate::{Relations, blacks::Times, friends::only};

magpie_service::later! {
    "friend applications": {
        apply_to_add_friend(ApplyToAddFriendReq) -> ApplyToAddFriendResp;
        respond_friend_apply(RespondFriendApplyReq) -> RespondFriendApplyResp;
        get_pagination_friends_apply_to(GetPaginationFriendsApplyToReq) -> GetPaginationFriendsApplyToResp;
        get_pagination_friends_apply_from(GetPaginationFriendsApplyFromReq) -> GetPaginationFriendsApplyFromResp;
        get_self_unhandled_apply_count(GetSelfUnhandledApplyCountReq) -> GetSelfUnhandledApplyCountResp;
        get_designated_friends_apply(GetDesignatedFriendsApplyReq) -> GetDesignatedFriendsApplyResp;
        get_incremental_friends_apply_to(GetIncrementalFriendsApplyToReq) -> GetIncrementalFriendsApplyToResp;
        get_incremental_friends_apply_from(GetIncrementalFriendsApplyFromReq) -> GetIncrementalFriendsApplyFromResp;
    }
    "changes of friend lists": {
        delete_friend(DeleteFriendReq) -> DeleteFriendResp;
        update_friends(UpdateFriendsReq) -> UpdateFriendsResp;
        set_friend_remark(SetFriendRemarkReq) -> SetFriendRemarkResp;
        get_specified_friends_info(GetSpecifiedFriendsInfoReq) -> GetSpecifiedFriendsInfoResp;
    }
    "profile changes": {
        notification_user_info_update(NotificationUserInfoUpdateReq) -> NotificationUserInfoUpdateResp;
    }
    "versions of black lists": {
        get_incremental_blacks(GetIncrementalBlacksReq) -> GetIncrementalBlacksResp;
    }
}

pub(crate) struct FriendGrpc {
    relations: Arc<Relations>,
}

impl FriendGrpc {
    pub(crate) fn new(relations: Arc<Relations>) -> Self {
        Self { relations }
    }

    fn max_page(&self) -> usize {
        self.relations.config.max_page
    }

    fn max_ids(&self) -> usize {
        self.relations.config.max_ids
    }
}

fn one_of(ctx: &Context, users: [&str; 2]) -> Result<()> {
    if users.iter().any(|user| ctx.require_self(user).is_ok()) {
        Ok(())
    } else {
        Err(Error::no_permission(
            "only one of the two users or an administrator may ask this",
        ))
    }
}

fn total(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[tonic::async_trait]
impl Friend for FriendGrpc {
    async fn import_friends(
        &self,
        request: Request<ImportFriendReq>,
    ) -> Result<Response<ImportFriendResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            at_most("friendUserIDs", &req.friend_user_i_ds, self.max_ids())?;
            ctx.require_admin()?;
            self.relations
                .import(&ctx, &req.owner_user_id, &req.friend_user_i_ds)
                .await?;
            Ok(ImportFriendResp {})
        })
        .await
    }

    async fn get_pagination_friends(
        &self,
        request: Request<GetPaginationFriendsReq>,
    ) -> Result<Response<GetPaginationFriendsResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            let pagination = lists::required(req.pagination)?;
            filled("userID", &req.user_id)?;
            ctx.require_self(&req.user_id)?;
            let friends = self.relations.friends(&req.user_id).await?;
            let total = total(friends.len());
            let page = lists::page(friends, pagination, self.max_page());
            Ok(GetPaginationFriendsResp {
                friends_info: self.relations.shown(&ctx, page).await?,
                total,
            })
        })
        .await
    }

    async fn get_designated_friends(
        &self,
        request: Request<GetDesignatedFriendsReq>,
    ) -> Result<Response<GetDesignatedFriendsResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            at_most("friendUserIDs", &req.friend_user_i_ds, self.max_page())?;
            unique("friendUserIDs", &req.friend_user_i_ds)?;
            ctx.require_self(&req.owner_user_id)?;
            let friends = self
                .relations
                .friends_among(&req.owner_user_id, &req.friend_user_i_ds)
                .await?;
            Ok(GetDesignatedFriendsResp {
                friends_info: self.relations.shown(&ctx, friends).await?,
            })
        })
        .await
    }

    async fn get_friend_i_ds(
        &self,
        request: Request<GetFriendIDsReq>,
    ) -> Result<Response<GetFriendIDsResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID", &req.user_id)?;
            ctx.require_self(&req.user_id)?;
            Ok(GetFriendIDsResp {
                friend_i_ds: self.relations.friend_ids(&req.user_id).await?,
            })
        })
        .await
    }

    async fn get_friend_info(
        &self,
        request: Request<GetFriendInfoReq>,
    ) -> Result<Response<GetFriendInfoResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            at_most("friendUserIDs", &req.friend_user_i_ds, self.max_page())?;
            ctx.require_self(&req.owner_user_id)?;
            let friends = self
                .relations
                .friends_among(&req.owner_user_id, &req.friend_user_i_ds)
                .await?;
            Ok(GetFriendInfoResp {
                friend_infos: friends.into_iter().map(only).collect(),
            })
        })
        .await
    }

    async fn is_friend(
        &self,
        request: Request<IsFriendReq>,
    ) -> Result<Response<IsFriendResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID1", &req.user_id1)?;
            filled("userID2", &req.user_id2)?;
            one_of(&ctx, [&req.user_id1, &req.user_id2])?;
            Ok(IsFriendResp {
                in_user1_friends: self
                    .relations
                    .has_friend(&req.user_id1, &req.user_id2)
                    .await?,
                in_user2_friends: self
                    .relations
                    .has_friend(&req.user_id2, &req.user_id1)
                    .await?,
            })
        })
        .await
    }

    async fn get_incremental_friends(
        &self,
        request: Request<GetIncrementalFriendsReq>,
    ) -> Result<Response<GetIncrementalFriendsResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let changes = self
                .relations
                .incremental(&req.user_id, (&req.version_id, req.version))
                .await?;
            Ok(GetIncrementalFriendsResp {
                version: changes.version,
                version_id: changes.version_id,
                full: changes.full,
                delete: changes.delete,
                insert: self.relations.shown(&ctx, changes.insert).await?,
                update: self.relations.shown(&ctx, changes.update).await?,
                sort_version: changes.sort_version,
            })
        })
        .await
    }

    async fn get_full_friend_user_i_ds(
        &self,
        request: Request<GetFullFriendUserIDsReq>,
    ) -> Result<Response<GetFullFriendUserIDsResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID", &req.user_id)?;
            ctx.require_self(&req.user_id)?;
            let full = self.relations.full_ids(&req.user_id, req.id_hash).await?;
            Ok(GetFullFriendUserIDsResp {
                version: full.version,
                version_id: full.version_id,
                equal: full.equal,
                user_i_ds: full.ids,
            })
        })
        .await
    }

    async fn add_black(
        &self,
        request: Request<AddBlackReq>,
    ) -> Result<Response<AddBlackResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            filled("blackUserID", &req.black_user_id)?;
            ctx.require_self(&req.owner_user_id)?;
            self.relations
                .block(&ctx, &req.owner_user_id, &req.black_user_id, req.ex)
                .await?;
            Ok(AddBlackResp {})
        })
        .await
    }

    async fn remove_black(
        &self,
        request: Request<RemoveBlackReq>,
    ) -> Result<Response<RemoveBlackResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            filled("blackUserID", &req.black_user_id)?;
            ctx.require_self(&req.owner_user_id)?;
            self.relations
                .unblock(&ctx, &req.owner_user_id, &req.black_user_id)
                .await?;
            Ok(RemoveBlackResp {})
        })
        .await
    }

    async fn is_black(
        &self,
        request: Request<IsBlackReq>,
    ) -> Result<Response<IsBlackResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID1", &req.user_id1)?;
            filled("userID2", &req.user_id2)?;
            one_of(&ctx, [&req.user_id1, &req.user_id2])?;
            Ok(IsBlackResp {
                in_user1_blacks: self
                    .relations
                    .has_blocked(&req.user_id1, &req.user_id2)
                    .await?,
                in_user2_blacks: self
                    .relations
                    .has_blocked(&req.user_id2, &req.user_id1)
                    .await?,
            })
        })
        .await
    }

    async fn get_pagination_blacks(
        &self,
        request: Request<GetPaginationBlacksReq>,
    ) -> Result<Response<GetPaginationBlacksResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID", &req.user_id)?;
            let pagination = lists::required(req.pagination)?;
            ctx.require_self(&req.user_id)?;
            let blacks = self.relations.blacks(&req.user_id).await?;
            let total = total(blacks.len());
            let page = lists::page(blacks, pagination, self.max_page());
            Ok(GetPaginationBlacksResp {
                blacks: self
                    .relations
                    .blacks_shown(&ctx, page, Times::Seconds)
                    .await?,
                total,
            })
        })
        .await
    }

    async fn get_specified_blacks(
        &self,
        request: Request<GetSpecifiedBlacksReq>,
    ) -> Result<Response<GetSpecifiedBlacksResp>, Status> {
        answer(async {
            let (ctx, req) = open(request)?;
            some("userIDList", &req.user_id_list)?;
            at_most("userIDList", &req.user_id_list, self.max_page())?;
            ctx.require_self(&req.owner_user_id)?;
            unique("userIDList", &req.user_id_list)?;
            let blacks = self
                .relations
                .blacks_among(&req.owner_user_id, &req.user_id_list)
                .await?;
            let total = total(blacks.len());
            Ok(GetSpecifiedBlacksResp {
                blacks: self
                    .relations
                    .blacks_shown(&ctx, blacks, Times::Milliseconds)
                    .await?,
                total,
            })
        })
        .await
    }

    later_rpcs!();
}
