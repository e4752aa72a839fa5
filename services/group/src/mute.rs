//! Muting: all of a group, and one member for a time.

use std::sync::Arc;

use magpie_proto::openim::group::{
    CancelMuteGroupMemberReq, CancelMuteGroupReq, MuteGroupMemberReq, MuteGroupReq,
};
use magpie_service::{Context, rpc::filled};
use magpie_store::documents::Group;
use magpie_types::{
    Code, Error, Result,
    group::{role, status},
    msg::content_type,
};

use crate::{
    change::{Change, Plan, Row},
    groups::Groups,
};

impl Groups {
    pub(crate) async fn mute(self: &Arc<Self>, ctx: &Context, req: MuteGroupReq) -> Result<()> {
        let to = (status::MUTED, content_type::GROUP_MUTED);
        self.set_status(ctx, &req.group_id, to).await
    }

    pub(crate) async fn cancel_mute(
        self: &Arc<Self>,
        ctx: &Context,
        req: CancelMuteGroupReq,
    ) -> Result<()> {
        let to = (status::NORMAL, content_type::GROUP_CANCEL_MUTED);
        self.set_status(ctx, &req.group_id, to).await
    }

    /// Every request is announced, also one that finds the group so already.
    async fn set_status(
        self: &Arc<Self>,
        ctx: &Context,
        id: &str,
        (to, tell): (i32, i32),
    ) -> Result<()> {
        filled("groupID", id)?;
        self.visible(ctx, id).await?;
        let plan = move |mut group: Group| async move {
            self.require_manager(ctx, id, Code::NO_PERMISSION).await?;
            group.status = to;
            let mut change = Change::by(ctx, vec![tell]);
            change.of_group = true;
            Ok(Some(Plan { group, change }))
        };
        self.change(id, plan).await.map(drop)
    }

    pub(crate) async fn mute_member(
        self: &Arc<Self>,
        ctx: &Context,
        req: MuteGroupMemberReq,
    ) -> Result<()> {
        filled("groupID", &req.group_id)?;
        filled("userID", &req.user_id)?;
        if req.muted_seconds == 0 {
            return Err(Error::args("mutedSeconds is 0"));
        }
        self.set_mute(ctx, &req.group_id, &req.user_id, req.muted_seconds)
            .await
    }

    pub(crate) async fn cancel_mute_member(
        self: &Arc<Self>,
        ctx: &Context,
        req: CancelMuteGroupMemberReq,
    ) -> Result<()> {
        filled("groupID", &req.group_id)?;
        filled("userID", &req.user_id)?;
        self.set_mute(ctx, &req.group_id, &req.user_id, 0).await
    }

    /// Mutes for so many seconds, 0: not any more.
    pub(crate) async fn set_mute(
        self: &Arc<Self>,
        ctx: &Context,
        id: &str,
        user: &str,
        seconds: u32,
    ) -> Result<()> {
        let plan = move |group: Group| async move {
            let member = self.member(id, user).await?;
            let member = member.ok_or_else(|| Error::not_found("the user is not a member"))?;
            let own_role = self.role_of(ctx, id).await?;
            if own_role == 0 {
                return Err(Error::not_found("the caller is not a member"));
            }
            if !ctx.is_admin() && own_role <= member.role_level.max(role::ORDINARY) {
                return Err(Error::no_permission(
                    "only those above a member may mute him",
                ));
            }
            let kind = if seconds == 0 {
                content_type::GROUP_MEMBER_CANCEL_MUTED
            } else {
                content_type::GROUP_MEMBER_MUTED
            };
            let mut change = Change::by(ctx, vec![kind]);
            change.muted_seconds = seconds;
            let mut row = Row::of(member);
            row.mute_end_time = if seconds == 0 {
                0
            } else {
                change.at + i64::from(seconds) * 1000
            };
            change.rows = vec![row];
            Ok(Some(Plan { group, change }))
        };
        self.change(id, plan).await.map(drop)
    }
}
