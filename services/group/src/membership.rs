//! Who comes and goes: joining, invitations, leaving, removal, and the end of a group.

use std::{collections::HashMap, sync::Arc};

use magpie_proto::openim::group::{
    DismissGroupReq, InviteUserToGroupReq, JoinGroupReq, KickGroupMemberReq, QuitGroupReq,
};
use magpie_service::{
    Context,
    rpc::{at_most, filled, some, unique},
};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember},
    key,
};
use magpie_types::{
    Code, Error, Result,
    group::{join_source, role, status, verification},
    msg::content_type,
};

use crate::{
    change::{Change, Plan, Row},
    groups::{Groups, is_member},
    requests::Application,
};

/// How users come into a group.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) join_source: i32,
    pub(crate) operator: String,
    pub(crate) inviter: String,
    /// The notification that tells it.
    pub(crate) tell: i32,
    pub(crate) in_chat: Option<bool>,
    /// Revision of a user's row when this was decided, 0 if there was none: who has another one now stays as he is.
    pub(crate) seen_rev: Option<i64>,
}

impl Groups {
    /// `inviterUserID` is the applicant: clients send their own id.
    pub(crate) async fn join(self: &Arc<Self>, ctx: &Context, req: JoinGroupReq) -> Result<()> {
        filled("groupID", &req.group_id)?;
        if !(1..=join_source::MAX).contains(&req.join_source) {
            return Err(Error::args("joinSource is invalid"));
        }
        let user = req.inviter_user_id.as_str();
        if req.join_source == join_source::INVITATION {
            filled("inviterUserID", user)?;
        }
        self.check_words(&req.req_message, &req.ex)?;
        if !user.is_empty() {
            ctx.require_self(user)?;
        }
        self.registered(ctx, &[user.to_owned()], Code::NOT_FOUND)
            .await?;
        let group = self.alive(&req.group_id).await?;
        if self.member(&req.group_id, user).await?.is_some() {
            return Err(Error::args("the user is a member already"));
        }
        if group.need_verification == verification::NONE {
            let entry = Entry {
                join_source: join_source::UNSAID,
                operator: ctx.user_id().to_owned(),
                inviter: user.to_owned(),
                tell: content_type::MEMBER_ENTER,
                in_chat: None,
                seen_rev: None,
            };
            return self
                .let_in(ctx, &req.group_id, vec![user.to_owned()], &entry)
                .await
                .map(drop);
        }
        let application = Application {
            user: user.to_owned(),
            inviter: String::new(),
            message: req.req_message,
            join_source: req.join_source,
            ex: req.ex,
            operation_id: ctx.operation_id.clone(),
        };
        self.apply(&req.group_id, application).await
    }

    pub(crate) async fn invite(
        self: &Arc<Self>,
        ctx: &Context,
        req: InviteUserToGroupReq,
    ) -> Result<()> {
        filled("groupID", &req.group_id)?;
        some("invitedUserIDs", &req.invited_user_i_ds)?;
        at_most(
            "invitedUserIDs",
            &req.invited_user_i_ds,
            self.config.max_ids,
        )?;
        unique("invitedUserIDs", &req.invited_user_i_ds)?;
        let group = self.alive(&req.group_id).await?;
        let own_role = self.role_of(ctx, &req.group_id).await?;
        if own_role == 0 {
            return Err(Error::no_permission("only members may invite"));
        }
        self.registered(ctx, &req.invited_user_i_ds, Code::NOT_FOUND)
            .await?;
        if group.need_verification == verification::ALL && own_role < role::ADMIN {
            let members = self
                .members_of(&req.group_id, &req.invited_user_i_ds)
                .await?;
            let invited = req.invited_user_i_ds.into_iter();
            for user in invited.filter(|user| members.iter().all(|m| m.user_id != *user)) {
                let application = Application {
                    user,
                    inviter: ctx.user_id().to_owned(),
                    message: String::new(),
                    join_source: join_source::INVITATION,
                    ex: String::new(),
                    operation_id: ctx.operation_id.clone(),
                };
                self.apply(&req.group_id, application).await?;
            }
            return Ok(());
        }
        let entry = Entry {
            join_source: join_source::INVITATION,
            operator: ctx.user_id().to_owned(),
            inviter: ctx.user_id().to_owned(),
            tell: content_type::MEMBER_INVITED,
            in_chat: req.send_message,
            seen_rev: None,
        };
        for users in req
            .invited_user_i_ds
            .chunks(self.config.members_per_change.max(1))
        {
            self.let_in(ctx, &req.group_id, users.to_vec(), &entry)
                .await?;
        }
        Ok(())
    }

    /// Makes these users members; those who are already stay as they are.
    pub(crate) async fn let_in(
        self: &Arc<Self>,
        ctx: &Context,
        id: &str,
        users: Vec<String>,
        entry: &Entry,
    ) -> Result<Option<Group>> {
        let users = users.as_slice();
        let plan = move |group: Group| async move {
            let keys = users.iter().map(|user| key![id, user.as_str()]).collect();
            let rows: Vec<Option<GroupMember>> = self.deps.store.find_many(keys).await?;
            let mut change = Change::by(ctx, vec![entry.tell]);
            change.operator.clone_from(&entry.operator);
            // An accepted application is carried out by the cluster itself, for whoever answered.
            if !entry.operator.is_empty() {
                change.by_admin = self.deps.admins.contains(&entry.operator);
            }
            change.in_chat = entry.in_chat;
            if entry.inviter != entry.operator {
                change.inviter.clone_from(&entry.inviter);
            }
            for (user, old) in users.iter().zip(rows) {
                // A trace of who has left may have been swept since it was seen.
                let moved = |row: &GroupMember| entry.seen_rev.is_some_and(|rev| rev != row.rev);
                if old.as_ref().is_some_and(|row| is_member(row) || moved(row)) {
                    continue;
                }
                change.rows.push(Row {
                    user_id: user.clone(),
                    expected: old.map_or(0, |row| row.rev),
                    role_level: role::ORDINARY,
                    join_time: change.at,
                    join_source: entry.join_source,
                    operator_id: entry.operator.clone(),
                    inviter_id: entry.inviter.clone(),
                    joins: true,
                    ..Row::default()
                });
            }
            Ok((!change.rows.is_empty()).then_some(Plan { group, change }))
        };
        self.change(id, plan).await
    }

    pub(crate) async fn quit(self: &Arc<Self>, ctx: &Context, req: QuitGroupReq) -> Result<()> {
        filled("groupID", &req.group_id)?;
        let user = if req.user_id.is_empty() {
            ctx.user_id()
        } else {
            req.user_id.as_str()
        };
        ctx.require_self(user)?;
        let id = req.group_id.as_str();
        let plan = move |group: Group| async move {
            let member = self.member(id, user).await?;
            let member = member.ok_or_else(|| Error::not_found("the user is not a member"))?;
            if member.role_level == role::OWNER {
                return Err(Error::no_permission("the owner can't leave his group"));
            }
            let mut change = Change::by(ctx, vec![content_type::MEMBER_QUIT]);
            change.rows = vec![leaving(member)];
            Ok(Some(Plan { group, change }))
        };
        self.change(id, plan).await.map(drop)
    }

    pub(crate) async fn kick(
        self: &Arc<Self>,
        ctx: &Context,
        req: KickGroupMemberReq,
    ) -> Result<()> {
        filled("groupID", &req.group_id)?;
        some("kickedUserIDs", &req.kicked_user_i_ds)?;
        at_most("kickedUserIDs", &req.kicked_user_i_ds, self.config.max_ids)?;
        unique("kickedUserIDs", &req.kicked_user_i_ds)?;
        if req.kicked_user_i_ds.iter().any(|id| id == ctx.user_id()) {
            return Err(Error::args("nobody can remove himself"));
        }
        let id = req.group_id.as_str();
        // All of them, before the first one goes.
        self.kicked(ctx, &self.alive(id).await?, &req.kicked_user_i_ds)
            .await?;
        for users in req
            .kicked_user_i_ds
            .chunks(self.config.members_per_change.max(1))
        {
            let in_chat = req.send_message;
            let plan = move |group: Group| async move {
                let members = self.kicked(ctx, &group, users).await?;
                let mut change = Change::by(ctx, vec![content_type::MEMBER_KICKED]);
                change.in_chat = in_chat;
                change.rows = members.into_iter().map(leaving).collect();
                Ok(Some(Plan { group, change }))
            };
            self.change(id, plan).await?;
        }
        Ok(())
    }

    /// The members to remove, in the order asked for, if the caller may: the owner anybody, an administrator ordinary members.
    async fn kicked(
        &self,
        ctx: &Context,
        group: &Group,
        users: &[String],
    ) -> Result<Vec<GroupMember>> {
        let id = group.group_id.as_str();
        if users.contains(&group.owner_id) {
            return Err(Error::args("the owner can't be removed"));
        }
        let own_role = self.role_of(ctx, id).await?;
        if own_role < role::ADMIN {
            return Err(Error::no_permission(
                "only the owner and administrators may remove members",
            ));
        }
        let found = self.members_of(id, users).await?;
        let mut found: HashMap<String, GroupMember> =
            found.into_iter().map(|m| (m.user_id.clone(), m)).collect();
        let mut members = Vec::with_capacity(users.len());
        for user in users {
            let member = found.remove(user).ok_or_else(|| {
                Error::new(Code::USER_ID_NOT_FOUND, format!("{user} is not a member"))
            })?;
            if own_role == role::ADMIN && member.role_level != role::ORDINARY {
                return Err(Error::no_permission(
                    "administrators may remove ordinary members only",
                ));
            }
            members.push(member);
        }
        Ok(members)
    }

    /// With `deleteMember` nothing is told, as ever; the members go in both cases.
    pub(crate) async fn dismiss(
        self: &Arc<Self>,
        ctx: &Context,
        req: DismissGroupReq,
    ) -> Result<()> {
        filled("groupID", &req.group_id)?;
        let id = req.group_id.as_str();
        let plan = move |mut group: Group| async move {
            if !ctx.is_admin() && group.owner_id != ctx.user_id() {
                return Err(Error::no_permission("only the owner may dismiss a group"));
            }
            group.status = status::DISMISSED;
            let mut change = Change::by(ctx, vec![content_type::GROUP_DISMISSED]);
            change.quiet = req.delete_member;
            change.in_chat = if change.quiet {
                Some(false)
            } else {
                req.send_message
            };
            change.of_group = true;
            Ok(Some(Plan { group, change }))
        };
        self.change(id, plan).await.map(drop)
    }
}

fn leaving(member: GroupMember) -> Row {
    Row {
        leaves: true,
        ..Row::of(member)
    }
}
