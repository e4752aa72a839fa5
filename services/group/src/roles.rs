//! What members are to each other: the owner, administrators, and how each one is shown.

use std::{collections::HashSet, sync::Arc};

use magpie_proto::openim::group::{
    SetGroupMemberInfo, SetGroupMemberInfoReq, TransferGroupOwnerReq,
};
use magpie_service::{
    Context,
    rpc::{at_most, at_most_bytes, filled, some},
};
use magpie_store::documents::{Group, GroupMember};
use magpie_types::{Code, Error, Result, group::role, msg::content_type, time::now_ms};

use crate::{
    change::{Change, Plan, Row},
    groups::Groups,
};

impl Groups {
    pub(crate) async fn transfer(
        self: &Arc<Self>,
        ctx: &Context,
        req: TransferGroupOwnerReq,
    ) -> Result<()> {
        filled("groupID", &req.group_id)?;
        filled("oldOwnerUserID", &req.old_owner_user_id)?;
        filled("newOwnerUserID", &req.new_owner_user_id)?;
        let id = req.group_id.as_str();
        let (old, new) = (
            req.old_owner_user_id.as_str(),
            req.new_owner_user_id.as_str(),
        );
        let (_, heir) = self.heirs(ctx, &self.alive(id).await?, old, new).await?;
        if heir.mute_end_time > now_ms() {
            self.set_mute(ctx, id, new, 0).await?;
        }
        let plan = move |mut group: Group| async move {
            let (old_owner, heir) = self.heirs(ctx, &group, old, new).await?;
            new.clone_into(&mut group.owner_id);
            let mut change = Change::by(ctx, vec![content_type::GROUP_OWNER_TRANSFERRED]);
            let heirs_role = heir.role_level;
            let row = |member, role_level| Row {
                role_level,
                ..Row::of(member)
            };
            change.rows = vec![row(heir, role::OWNER), row(old_owner, heirs_role)];
            change.sorted = true;
            change.of_group = true;
            Ok(Some(Plan { group, change }))
        };
        self.change(id, plan).await.map(drop)
    }

    /// The owner and who is to be it.
    async fn heirs(
        &self,
        ctx: &Context,
        group: &Group,
        old: &str,
        new: &str,
    ) -> Result<(GroupMember, GroupMember)> {
        if old == new {
            return Err(Error::args("the owner is the owner already"));
        }
        let id = group.group_id.as_str();
        let stranger = || Error::args("both must be members");
        let owner = self.member(id, old).await?.ok_or_else(stranger)?;
        let heir = self.member(id, new).await?.ok_or_else(stranger)?;
        if !ctx.is_admin() && group.owner_id != ctx.user_id() {
            return Err(Error::no_permission(
                "only the owner may give his group away",
            ));
        }
        if owner.role_level != role::OWNER {
            return Err(Error::no_permission("oldOwnerUserID is not the owner"));
        }
        Ok((owner, heir))
    }

    /// One change per member: each has its own version and its own notification.
    pub(crate) async fn set_member_info(
        self: &Arc<Self>,
        ctx: &Context,
        req: SetGroupMemberInfoReq,
    ) -> Result<()> {
        some("members", &req.members)?;
        at_most("members", &req.members, self.config.max_ids)?;
        let mut seen = HashSet::new();
        for wanted in &req.members {
            self.check_member_info(wanted)?;
            if !seen.insert((wanted.group_id.as_str(), wanted.user_id.as_str())) {
                return Err(Error::args("a member is named twice"));
            }
        }
        for wanted in &req.members {
            self.alive(&wanted.group_id).await?;
            self.settable(ctx, wanted).await?;
        }
        for wanted in &req.members {
            let plan = move |group: Group| async move {
                let member = self.settable(ctx, wanted).await?;
                let mut row = Row::of(member);
                let tell = apply(wanted, &mut row);
                if tell.is_empty() {
                    return Ok(None);
                }
                let mut change = Change::by(ctx, tell);
                change.sorted = wanted.role_level.is_some();
                change.rows = vec![row];
                Ok(Some(Plan { group, change }))
            };
            self.change(&wanted.group_id, plan).await?;
        }
        Ok(())
    }

    fn check_member_info(&self, wanted: &SetGroupMemberInfo) -> Result<()> {
        filled("groupID", &wanted.group_id)?;
        filled("userID", &wanted.user_id)?;
        for (field, text) in [
            ("nickname", &wanted.nickname),
            ("faceURL", &wanted.face_url),
            ("ex", &wanted.ex),
        ] {
            if let Some(text) = text {
                at_most_bytes(field, &text.value, self.config.max_text)?;
            }
        }
        match wanted.role_level.as_ref().map(|level| level.value) {
            None | Some(role::ADMIN | role::ORDINARY) => Ok(()),
            Some(role::OWNER) => Err(Error::no_permission("a group has one owner")),
            Some(_) => Err(Error::args("roleLevel is neither 20 nor 60")),
        }
    }

    /// The member, if the caller may set this: everybody himself, administrators ordinary members, the owner all; roles the owner alone,
    /// and nobody his own.
    async fn settable(&self, ctx: &Context, wanted: &SetGroupMemberInfo) -> Result<GroupMember> {
        let (id, user) = (wanted.group_id.as_str(), wanted.user_id.as_str());
        let member = self.member(id, user).await?;
        let member =
            member.ok_or_else(|| Error::new(Code::ARGS, format!("{user} is not a member")))?;
        let of_role = wanted.role_level.is_some();
        if of_role && member.role_level == role::OWNER {
            return Err(Error::args(
                "the owner's role changes when he gives the group away",
            ));
        }
        if ctx.is_admin() {
            return Ok(member);
        }
        let itself = user == ctx.user_id();
        let may = match self.role_of(ctx, id).await? {
            role::OWNER => true,
            role::ADMIN => !of_role && (itself || member.role_level == role::ORDINARY),
            role::ORDINARY => !of_role && itself,
            _ => false,
        };
        if may {
            Ok(member)
        } else {
            Err(Error::no_permission("the caller may not set this"))
        }
    }
}

/// Sets what is given; what is to be told of it.
fn apply(wanted: &SetGroupMemberInfo, row: &mut Row) -> Vec<i32> {
    let mut tell = Vec::new();
    if let Some(level) = &wanted.role_level {
        row.role_level = level.value;
        tell.push(if level.value == role::ADMIN {
            content_type::GROUP_MEMBER_SET_TO_ADMIN
        } else {
            content_type::GROUP_MEMBER_SET_TO_ORDINARY
        });
    }
    let mut shown = false;
    for (field, text) in [
        (&mut row.nickname, &wanted.nickname),
        (&mut row.face_url, &wanted.face_url),
        (&mut row.ex, &wanted.ex),
    ] {
        if let Some(text) = text {
            field.clone_from(&text.value);
            shown = true;
        }
    }
    if shown {
        tell.push(content_type::GROUP_MEMBER_INFO_SET);
    }
    tell
}
