//! Groups, which of them a user is in, and who may do what to them.

use std::collections::HashMap;

use magpie_proto::openim::sdkws::{GroupInfo, UserInfo};
use magpie_service::{
    Context, Deps,
    lists::{self, FullIds, Incremental},
    profiles::profiles,
};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember},
    key,
    versions::{self, List},
};
use magpie_types::{
    Code, Error, Result,
    group::{role, status::DISMISSED},
};

use crate::{Config, change::dismissed};

/// The groups of all users.
pub(crate) struct Groups {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
}

impl Groups {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        Self { deps, config }
    }

    /// Those of these groups that exist, in the order asked for, dismissed ones included.
    pub(crate) async fn find_many(&self, group_ids: &[String]) -> Result<Vec<Group>> {
        let keys = group_ids.iter().map(|id| key![id.as_str()]).collect();
        Ok(self
            .deps
            .store
            .find_many(keys)
            .await?
            .into_iter()
            .flatten()
            .collect())
    }

    /// The group, or 1004; dismissed ones too.
    pub(crate) async fn group(&self, group_id: &str) -> Result<Group> {
        let found: Option<Group> = self.deps.store.find(key![group_id]).await?;
        found.ok_or_else(missing)
    }

    /// A group that is alive: 1004, 1204.
    pub(crate) async fn alive(&self, group_id: &str) -> Result<Group> {
        let group = self.group(group_id).await?;
        if group.status == DISMISSED {
            return Err(dismissed());
        }
        Ok(group)
    }

    /// A group whose members the caller may see: 1204 if it is dismissed, 1002 for who is no member, 1004.
    pub(crate) async fn visible(&self, ctx: &Context, group_id: &str) -> Result<Group> {
        let found: Option<Group> = self.deps.store.find(key![group_id]).await?;
        if found.as_ref().is_some_and(|g| g.status == DISMISSED) {
            return Err(dismissed());
        }
        if !ctx.is_admin() && self.member(group_id, ctx.user_id()).await?.is_none() {
            return Err(Error::no_permission("only members may do this"));
        }
        found.ok_or_else(missing)
    }

    /// A group's member.
    pub(crate) async fn member(&self, group: &str, user: &str) -> Result<Option<GroupMember>> {
        Ok(self.row(group, user).await?.filter(is_member))
    }

    /// The row of a member, or of one who has left.
    pub(crate) async fn row(&self, group: &str, user: &str) -> Result<Option<GroupMember>> {
        Ok(self.deps.store.find(key![group, user]).await?)
    }

    /// The role in which the caller acts: application administrators as owner; 0 for who is no member.
    pub(crate) async fn role_of(&self, ctx: &Context, group: &str) -> Result<i32> {
        if ctx.is_admin() {
            return Ok(role::OWNER);
        }
        let member = self.member(group, ctx.user_id()).await?;
        Ok(member.map_or(0, |m| m.role_level))
    }

    /// Refuses everybody but owner and administrators: 1002, and `stranger` for who is no member.
    pub(crate) async fn require_manager(
        &self,
        ctx: &Context,
        group: &str,
        stranger: Code,
    ) -> Result<()> {
        match self.role_of(ctx, group).await? {
            0 => Err(Error::new(stranger, "the caller is not a member")),
            level if level >= role::ADMIN => Ok(()),
            _ => Err(Error::no_permission(
                "only the owner and administrators may do this",
            )),
        }
    }

    /// The profiles of all of these users; `missing` if one is not registered.
    pub(crate) async fn registered(
        &self,
        ctx: &Context,
        users: &[String],
        missing: Code,
    ) -> Result<HashMap<String, UserInfo>> {
        let found = profiles(&self.deps, ctx, users.to_vec()).await?;
        match users.iter().find(|user| !found.contains_key(*user)) {
            Some(user) => Err(Error::new(missing, format!("{user} is not registered"))),
            None => Ok(found),
        }
    }

    /// The groups a user is in: by name, then time of creation, then id.
    pub(crate) async fn joined(&self, user_id: &str) -> Result<Vec<Group>> {
        let memberships: Vec<GroupMember> =
            lists::all(self.deps.store.as_ref(), "by_user", key![user_id]).await?;
        let ids: Vec<String> = memberships
            .into_iter()
            .filter(is_member)
            .map(|m| m.group_id)
            .collect();
        let mut groups = self.find_many(&ids).await?;
        groups.retain(|g| g.status != DISMISSED);
        groups.sort_by(|a, b| {
            (&a.name, a.create_time, &a.group_id).cmp(&(&b.name, b.create_time, &b.group_id))
        });
        Ok(groups)
    }

    /// Ids of a user's groups with the version they have at least.
    pub(crate) async fn full_joined_ids(&self, user_id: &str, hash: u64) -> Result<FullIds> {
        let version =
            versions::current(self.deps.store.as_ref(), user_id, List::JoinedGroups).await?;
        FullIds::new(
            version,
            self.joined(user_id)
                .await?
                .into_iter()
                .map(|g| g.group_id)
                .collect(),
            hash,
        )
    }

    /// What changed in a user's groups since a version: membership decides whether a group is in the list.
    pub(crate) async fn incremental_joined(
        &self,
        user_id: &str,
        known: (&str, u64),
    ) -> Result<Incremental<Group>> {
        let list = (user_id, List::JoinedGroups);
        let store = self.deps.store.as_ref();
        let changes =
            lists::incremental(store, list, known, |group| key![group, user_id], is_member).await?;
        let Incremental {
            version,
            version_id,
            full,
            mut delete,
            insert,
            update,
            sort_version,
            changed,
        } = changes;
        let mut groups = [Vec::new(), Vec::new()];
        for (found, memberships) in groups.iter_mut().zip([insert, update]) {
            let ids: Vec<String> = memberships.into_iter().map(|m| m.group_id).collect();
            *found = self.find_many(&ids).await?;
            found.retain(|g| g.status != DISMISSED);
            delete.extend(
                ids.into_iter()
                    .filter(|id| !found.iter().any(|g| g.group_id == *id)),
            );
        }
        let [insert, update] = groups;
        Ok(Incremental {
            version,
            version_id,
            full,
            delete,
            insert,
            update,
            sort_version,
            changed,
        })
    }
}

fn missing() -> Error {
    Error::not_found("there is no such group")
}

/// Whether the document is a member, not the tombstone of one.
pub(crate) fn is_member(member: &GroupMember) -> bool {
    member.left_time == 0
}

/// A group as clients see it.
pub(crate) fn shown(group: Group) -> GroupInfo {
    GroupInfo {
        group_id: group.group_id,
        group_name: group.name,
        notification: group.notification,
        introduction: group.introduction,
        face_url: group.face_url,
        owner_user_id: group.owner_id,
        create_time: group.create_time,
        member_count: group.member_count,
        ex: group.ex,
        status: group.status,
        creator_user_id: group.creator_id,
        group_type: group.group_type,
        need_verification: group.need_verification,
        look_member_info: group.look_member_info,
        apply_member_friend: group.apply_member_friend,
        notification_update_time: group.notification_update_time,
        notification_user_id: group.notification_user_id,
    }
}
