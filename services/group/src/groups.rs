//! Groups, and which of them a user is in.

use magpie_proto::openim::sdkws::GroupInfo;
use magpie_service::{
    Deps,
    lists::{self, FullIds, Incremental},
};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember},
    key,
    versions::{self, List},
};
use magpie_types::Result;

use crate::Config;

/// Status of a dismissed group.
pub(crate) const DISMISSED: i32 = 2;

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
