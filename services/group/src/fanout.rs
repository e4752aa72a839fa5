//! A user's changed profile on its way through the groups where it shows, because he has no name or avatar of his own there (1516).
//!
//! There may be a thousand, so a job walks them by their ids and stores how far it is. Another change starts the walk anew: the job of
//! the older one then fails to store its place and ends.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use magpie_proto::openim::group::NotificationUserInfoUpdateReq;
use magpie_service::{Context, lists, pending, rpc::filled};
use magpie_store::{
    documents::{Group, GroupMember, MemberFanout},
    key,
};
use magpie_types::{Code, Result, msg::content_type};

use crate::{
    change::{Change, Plan, Row},
    groups::{Groups, is_member},
};

const WALK: u8 = 1;

impl Groups {
    /// Starts the walk; it goes on when this returns.
    pub(crate) async fn profile_changed(
        self: &Arc<Self>,
        ctx: &Context,
        req: NotificationUserInfoUpdateReq,
    ) -> Result<()> {
        filled("userID", &req.user_id)?;
        ctx.require_self(&req.user_id)?;
        let user = req.user_id.as_str();
        let operator = match ctx.user_id() {
            "" => user,
            caller => caller,
        };
        let start = |_| {
            let fanout = MemberFanout {
                user_id: user.to_owned(),
                operator_id: operator.to_owned(),
                operation_id: ctx.operation_id.clone(),
                after: String::new(),
                pending: Bytes::new(),
                rev: 0,
            };
            Ok(Some((fanout, WALK)))
        };
        let written = pending::change(self.deps.store.as_ref(), key![user], start).await?;
        if let Some(fanout) = written {
            let all = Arc::clone(self);
            self.deps.tasks.spawn(async move {
                if let Err(e) = all.walk(fanout).await {
                    tracing::warn!(error = e.report(), "groups can't be told of a profile yet");
                }
            });
        }
        Ok(())
    }

    /// Tells all groups from the stored place on. At a shutdown it stops after a page, and the worker goes on.
    pub(crate) async fn walk(self: &Arc<Self>, mut fanout: MemberFanout) -> Result<()> {
        let store = self.deps.store.as_ref();
        let user = key![fanout.user_id.as_str()];
        let mut groups: Vec<GroupMember> = lists::all(store, "by_user", user).await?;
        groups.retain(|m| shows(m) && m.group_id > fanout.after);
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        let page = self.config.concurrency.max(1);
        for page in groups.chunks(page) {
            let told: Vec<_> = page
                .iter()
                .map(|m| self.tell_group(&fanout, m.group_id.clone()))
                .collect();
            stream::iter(told)
                .buffer_unordered(page.len())
                .try_collect::<()>()
                .await?;
            if let Some(last) = page.last() {
                fanout.after.clone_from(&last.group_id);
            }
            match pending::claim(store, fanout).await? {
                Some(stored) if !self.deps.shutdown.is_cancelled() => fanout = stored,
                _ => return Ok(()),
            }
        }
        pending::finish(store, fanout).await
    }

    /// A change of the group that changes nothing in the row, but is told.
    async fn tell_group(self: &Arc<Self>, fanout: &MemberFanout, id: String) -> Result<()> {
        let (id, user) = (id.as_str(), fanout.user_id.as_str());
        let plan = move |group: Group| async move {
            let member = self.member(id, user).await?.filter(shows);
            let plan = member.map(|member| {
                let ctx = Context::internal(fanout.operation_id.as_str());
                let mut change = Change::by(&ctx, vec![content_type::GROUP_MEMBER_INFO_SET]);
                change.operator.clone_from(&fanout.operator_id);
                change.by_admin = self.deps.admins.contains(&fanout.operator_id);
                change.rows = vec![Row::of(member)];
                Plan { group, change }
            });
            Ok(plan)
        };
        match self.change(id, plan).await {
            Err(e) if ![Code::GROUP_DISMISSED, Code::NOT_FOUND].contains(&e.code()) => Err(e),
            _ => Ok(()),
        }
    }
}

/// Whether a member's profile shows in his group.
fn shows(member: &GroupMember) -> bool {
    is_member(member) && (member.nickname.is_empty() || member.face_url.is_empty())
}
