//! The generated trait: rules on fields, who may ask, the call, the answer.

use std::sync::Arc;

use magpie_proto::openim::{
    relation::{friend_server::Friend, *},
    sdkws::{FriendRequest, RequestPagination},
};
use magpie_service::{
    Context, lists,
    rpc::{Answer, answer, at_most, at_most_bytes, distinct, filled, open, some, unique},
};
use magpie_types::{Error, Result};
use tonic::Request;

use crate::{
    Relations,
    blacks::Times,
    friends::only,
    request_lists::Side,
    requests::{ACCEPTED, REFUSED},
};

magpie_service::later! {
    "applications have no versions": {
        get_incremental_friends_apply_to(GetIncrementalFriendsApplyToReq) -> GetIncrementalFriendsApplyToResp;
        get_incremental_friends_apply_from(GetIncrementalFriendsApplyFromReq) -> GetIncrementalFriendsApplyFromResp;
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

    fn short(&self, field: &'static str, text: &str) -> Result<()> {
        at_most_bytes(field, text, self.relations.config.max_text_bytes)
    }

    fn max_ids(&self) -> usize {
        self.relations.config.max_ids
    }

    /// A page of the applications that a user has got or made, with their number.
    async fn requests(
        &self,
        ctx: &Context,
        (user_id, side, results): (&str, Side, &[i32]),
        pagination: RequestPagination,
    ) -> Result<(i32, Vec<FriendRequest>)> {
        filled("userID", user_id)?;
        at_most("handleResults", results, self.max_ids())?;
        ctx.require_self(user_id)?;
        let (all, page) = self
            .relations
            .requests(user_id, side, results, pagination)
            .await?;
        Ok((total(all), self.relations.requests_shown(ctx, page).await?))
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
    async fn import_friends(&self, request: Request<ImportFriendReq>) -> Answer<ImportFriendResp> {
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
    ) -> Answer<GetPaginationFriendsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let pagination = lists::required(req.pagination)?;
            filled("userID", &req.user_id)?;
            ctx.require_self(&req.user_id)?;
            let (count, page) = self.relations.page(&req.user_id, pagination).await?;
            Ok(GetPaginationFriendsResp {
                friends_info: self.relations.shown(&ctx, page).await?,
                total: total(count),
            })
        })
        .await
    }

    async fn get_designated_friends(
        &self,
        request: Request<GetDesignatedFriendsReq>,
    ) -> Answer<GetDesignatedFriendsResp> {
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

    async fn get_friend_i_ds(&self, request: Request<GetFriendIDsReq>) -> Answer<GetFriendIDsResp> {
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
    ) -> Answer<GetFriendInfoResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            at_most("friendUserIDs", &req.friend_user_i_ds, self.max_page())?;
            ctx.require_self(&req.owner_user_id)?;
            let friends = self
                .relations
                .friends_among(&req.owner_user_id, &distinct(req.friend_user_i_ds))
                .await?;
            Ok(GetFriendInfoResp {
                friend_infos: friends.into_iter().map(only).collect(),
            })
        })
        .await
    }

    async fn is_friend(&self, request: Request<IsFriendReq>) -> Answer<IsFriendResp> {
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
    ) -> Answer<GetIncrementalFriendsResp> {
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
    ) -> Answer<GetFullFriendUserIDsResp> {
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

    async fn add_black(&self, request: Request<AddBlackReq>) -> Answer<AddBlackResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            filled("blackUserID", &req.black_user_id)?;
            self.short("ex", &req.ex)?;
            ctx.require_self(&req.owner_user_id)?;
            self.relations
                .block(&ctx, (&req.owner_user_id, &req.black_user_id), &req.ex)
                .await?;
            Ok(AddBlackResp {})
        })
        .await
    }

    async fn remove_black(&self, request: Request<RemoveBlackReq>) -> Answer<RemoveBlackResp> {
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

    async fn is_black(&self, request: Request<IsBlackReq>) -> Answer<IsBlackResp> {
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
    ) -> Answer<GetPaginationBlacksResp> {
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
    ) -> Answer<GetSpecifiedBlacksResp> {
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

    async fn apply_to_add_friend(
        &self,
        request: Request<ApplyToAddFriendReq>,
    ) -> Answer<ApplyToAddFriendResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("toUserID", &req.to_user_id)?;
            filled("fromUserID", &req.from_user_id)?;
            self.short("reqMsg", &req.req_msg)?;
            self.short("ex", &req.ex)?;
            ctx.require_self(&req.from_user_id)?;
            self.relations.apply(&ctx, &req).await?;
            Ok(ApplyToAddFriendResp {})
        })
        .await
    }

    async fn respond_friend_apply(
        &self,
        request: Request<RespondFriendApplyReq>,
    ) -> Answer<RespondFriendApplyResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("toUserID", &req.to_user_id)?;
            filled("fromUserID", &req.from_user_id)?;
            self.short("handleMsg", &req.handle_msg)?;
            ctx.require_self(&req.to_user_id)?;
            let pair = (&*req.from_user_id, &*req.to_user_id);
            match req.handle_result {
                ACCEPTED => self.relations.accept(&ctx, pair, &req.handle_msg).await?,
                REFUSED => self.relations.refuse(&ctx, pair, &req.handle_msg).await?,
                _ => return Err(Error::args("handleResult is neither 1 nor -1")),
            }
            Ok(RespondFriendApplyResp {})
        })
        .await
    }

    async fn get_pagination_friends_apply_to(
        &self,
        request: Request<GetPaginationFriendsApplyToReq>,
    ) -> Answer<GetPaginationFriendsApplyToResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let pagination = lists::required(req.pagination)?;
            let asked = (&*req.user_id, Side::To, &*req.handle_results);
            let (total, friend_requests) = self.requests(&ctx, asked, pagination).await?;
            Ok(GetPaginationFriendsApplyToResp {
                friend_requests,
                total,
            })
        })
        .await
    }

    async fn get_pagination_friends_apply_from(
        &self,
        request: Request<GetPaginationFriendsApplyFromReq>,
    ) -> Answer<GetPaginationFriendsApplyFromResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let pagination = lists::required(req.pagination)?;
            let asked = (&*req.user_id, Side::From, &*req.handle_results);
            let (total, friend_requests) = self.requests(&ctx, asked, pagination).await?;
            Ok(GetPaginationFriendsApplyFromResp {
                friend_requests,
                total,
            })
        })
        .await
    }

    async fn get_designated_friends_apply(
        &self,
        request: Request<GetDesignatedFriendsApplyReq>,
    ) -> Answer<GetDesignatedFriendsApplyResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("toUserID", &req.to_user_id)?;
            filled("fromUserID", &req.from_user_id)?;
            one_of(&ctx, [&req.from_user_id, &req.to_user_id])?;
            let between = self
                .relations
                .requests_between(&req.from_user_id, &req.to_user_id)
                .await?;
            Ok(GetDesignatedFriendsApplyResp {
                friend_requests: self.relations.requests_shown(&ctx, between).await?,
            })
        })
        .await
    }

    async fn get_self_unhandled_apply_count(
        &self,
        request: Request<GetSelfUnhandledApplyCountReq>,
    ) -> Answer<GetSelfUnhandledApplyCountResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let count = self.relations.open_requests(&req.user_id, req.time).await?;
            Ok(GetSelfUnhandledApplyCountResp {
                count: i64::try_from(count).unwrap_or(i64::MAX),
            })
        })
        .await
    }

    async fn delete_friend(&self, request: Request<DeleteFriendReq>) -> Answer<DeleteFriendResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            filled("friendUserID", &req.friend_user_id)?;
            ctx.require_self(&req.owner_user_id)?;
            self.relations
                .delete_friend(&ctx, &req.owner_user_id, &req.friend_user_id)
                .await?;
            Ok(DeleteFriendResp {})
        })
        .await
    }

    async fn set_friend_remark(
        &self,
        request: Request<SetFriendRemarkReq>,
    ) -> Answer<SetFriendRemarkResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            filled("friendUserID", &req.friend_user_id)?;
            self.short("remark", &req.remark)?;
            ctx.require_self(&req.owner_user_id)?;
            let pair = (&*req.owner_user_id, &*req.friend_user_id);
            self.relations.set_remark(&ctx, pair, &req.remark).await?;
            Ok(SetFriendRemarkResp {})
        })
        .await
    }

    async fn update_friends(
        &self,
        request: Request<UpdateFriendsReq>,
    ) -> Answer<UpdateFriendsResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("ownerUserID", &req.owner_user_id)?;
            some("friendUserIDs", &req.friend_user_i_ds)?;
            at_most("friendUserIDs", &req.friend_user_i_ds, self.max_ids())?;
            unique("friendUserIDs", &req.friend_user_i_ds)?;
            for friend in &req.friend_user_i_ds {
                filled("friendUserIDs", friend)?;
            }
            self.short("remark", req.remark.as_ref().map_or("", |v| &v.value))?;
            self.short("ex", req.ex.as_ref().map_or("", |v| &v.value))?;
            ctx.require_self(&req.owner_user_id)?;
            self.relations.update_friends(&ctx, req).await?;
            Ok(UpdateFriendsResp {})
        })
        .await
    }

    async fn get_specified_friends_info(
        &self,
        request: Request<GetSpecifiedFriendsInfoReq>,
    ) -> Answer<GetSpecifiedFriendsInfoResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            some("userIDList", &req.user_id_list)?;
            at_most("userIDList", &req.user_id_list, self.max_ids())?;
            unique("userIDList", &req.user_id_list)?;
            ctx.require_self(&req.owner_user_id)?;
            Ok(GetSpecifiedFriendsInfoResp {
                infos: self
                    .relations
                    .specified(&ctx, &req.owner_user_id, req.user_id_list)
                    .await?,
            })
        })
        .await
    }

    async fn get_incremental_blacks(
        &self,
        request: Request<GetIncrementalBlacksReq>,
    ) -> Answer<GetIncrementalBlacksResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            ctx.require_self(&req.user_id)?;
            let changes = self
                .relations
                .incremental_blacks(&req.user_id, (&req.version_id, req.version))
                .await?;
            let relations = &self.relations;
            let shown = |blacks| relations.blacks_shown(&ctx, blacks, Times::Seconds);
            Ok(GetIncrementalBlacksResp {
                version: changes.version,
                version_id: changes.version_id,
                full: changes.full,
                delete: changes.delete,
                insert: shown(changes.insert).await?,
                update: shown(changes.update).await?,
            })
        })
        .await
    }

    /// Called by the user service on behalf of whoever changed the profile.
    async fn notification_user_info_update(
        &self,
        request: Request<NotificationUserInfoUpdateReq>,
    ) -> Answer<NotificationUserInfoUpdateResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            filled("userID", &req.user_id)?;
            ctx.require_self(&req.user_id)?;
            self.relations.profile_changed(&ctx, &req.user_id).await?;
            Ok(NotificationUserInfoUpdateResp {})
        })
        .await
    }

    later_rpcs!();
}
