//! A user's profile changed: every group where it shows, because he has no name or avatar of his own there, is told (1516).
//!
//! The request comes from whoever changed the profile, who repeats it until it succeeds; one group after another, each by a change of
//! its own.

use std::sync::Arc;

use magpie_proto::openim::group::NotificationUserInfoUpdateReq;
use magpie_service::{Context, lists, rpc::filled};
use magpie_store::{
    documents::{Group, GroupMember},
    key,
};
use magpie_types::{Code, Result, msg::content_type};

use crate::{
    change::{Change, Plan, Row},
    groups::{Groups, is_member},
};

impl Groups {
    pub(crate) async fn profile_changed(
        self: &Arc<Self>,
        ctx: &Context,
        req: NotificationUserInfoUpdateReq,
    ) -> Result<()> {
        filled("userID", &req.user_id)?;
        ctx.require_admin()?;
        let user = req.user_id.as_str();
        let name_changed = match (&req.old_user_info, &req.new_user_info) {
            (Some(old), Some(new)) => (old.nickname != new.nickname, old.face_url != new.face_url),
            _ => (true, true),
        };
        let shows = move |m: &GroupMember| {
            is_member(m)
                && (name_changed.0 && m.nickname.is_empty()
                    || name_changed.1 && m.face_url.is_empty())
        };
        let store = self.deps.store.as_ref();
        let all: Vec<GroupMember> = lists::all(store, "by_user", key![user]).await?;
        for id in all.into_iter().filter(shows).map(|m| m.group_id) {
            let id = id.as_str();
            let plan = move |group: Group| async move {
                let member = self.member(id, user).await?.filter(shows);
                let plan = member.map(|member| {
                    let mut change = Change::by(ctx, vec![content_type::GROUP_MEMBER_INFO_SET]);
                    user.clone_into(&mut change.operator);
                    change.by_admin = false;
                    change.rows = vec![Row::of(member)];
                    Plan { group, change }
                });
                Ok(plan)
            };
            match self.change(id, plan).await {
                // He is no member of it any more.
                Err(e) if [Code::GROUP_DISMISSED, Code::NOT_FOUND].contains(&e.code()) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}
