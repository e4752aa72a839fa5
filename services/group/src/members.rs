//! Members, and what of them changed since a version.

use std::collections::{HashMap, HashSet};

use magpie_proto::openim::{
    group::{GetIncrementalGroupMemberReq, GetIncrementalGroupMemberResp},
    sdkws::GroupMemberFullInfo,
};
use magpie_service::{Context, lists, profiles::profiles};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember, VersionHead},
    key,
    versions::{self, List},
};
use magpie_types::{Result, group::status};

use crate::{
    groups::{self, Groups, is_member},
    lists::raw,
};

impl Groups {
    /// Answers for several groups at once, one entry for each. A group that is gone, or that the caller may not see, gets an
    /// entry that says "nothing new": clients wait for an entry of each group and take an error as the failure of their
    /// whole synchronisation.
    pub(crate) async fn incremental_members_of(
        &self,
        ctx: &Context,
        requests: Vec<GetIncrementalGroupMemberReq>,
    ) -> Result<Vec<(String, GetIncrementalGroupMemberResp)>> {
        let store = self.deps.store.as_ref();
        let ids = requests.iter().map(|r| r.group_id.as_str());
        let mut heads = versions::heads(store, ids, List::Members).await?;
        let mut visible = self.visible_among(ctx, &requests).await?;
        let mut left = self.config.max_batch_changes;
        let mut answers = Vec::with_capacity(requests.len());
        let mut answered = HashSet::new();
        for request in requests {
            if !answered.insert(request.group_id.clone()) {
                continue;
            }
            let id = &request.group_id;
            let answer = match visible.remove(id) {
                Some(group) => {
                    let head = match heads.remove(id) {
                        Some(head) => head,
                        None => versions::head(store, id, List::Members).await?,
                    };
                    let known = (request.version_id.as_str(), request.version);
                    self.incremental_members(ctx, group, &head, known, left)
                        .await?
                }
                None => GetIncrementalGroupMemberResp {
                    version: request.version,
                    version_id: request.version_id,
                    ..GetIncrementalGroupMemberResp::default()
                },
            };
            left = left
                .saturating_sub(answer.delete.len() + answer.insert.len() + answer.update.len());
            answers.push((request.group_id, answer));
        }
        Ok(answers)
    }

    /// Those of the asked-for groups whose members the caller may see, by id, as [`Groups::visible`] decides.
    async fn visible_among(
        &self,
        ctx: &Context,
        requests: &[GetIncrementalGroupMemberReq],
    ) -> Result<HashMap<String, Group>> {
        let store = self.deps.store.as_ref();
        let ids = || requests.iter().map(|r| r.group_id.as_str());
        let groups: Vec<Option<Group>> =
            store.find_many(ids().map(|id| key![id]).collect()).await?;
        let member_of: HashSet<String> = if ctx.is_admin() {
            HashSet::new()
        } else {
            let keys = ids().map(|id| key![id, ctx.user_id()]).collect();
            let rows: Vec<Option<GroupMember>> = store.find_many(keys).await?;
            let rows = rows.into_iter().flatten().filter(is_member);
            rows.map(|m| m.group_id).collect()
        };
        Ok(groups
            .into_iter()
            .flatten()
            .filter(|g| g.status != status::DISMISSED)
            .filter(|g| ctx.is_admin() || member_of.contains(&g.group_id))
            .map(|g| (g.group_id.clone(), g))
            .collect())
    }

    /// What changed in one group since a version; to be read in full if it is more than `limit` members.
    pub(crate) async fn incremental_members(
        &self,
        ctx: &Context,
        group: Group,
        head: &VersionHead,
        (version_id, version): (&str, u64),
        limit: usize,
    ) -> Result<GetIncrementalGroupMemberResp> {
        let id = group.group_id.as_str();
        let known = i64::try_from(version).unwrap_or(i64::MAX);
        let delta = versions::delta(head, version_id, known)?;
        let changes = lists::resolve(
            self.deps.store.as_ref(),
            delta,
            |user| key![id, user],
            is_member,
        )
        .await?;
        if changes.delete.len() + changes.insert.len() + changes.update.len() > limit {
            return Ok(GetIncrementalGroupMemberResp {
                version: changes.version,
                version_id: changes.version_id,
                full: true,
                group: Some(groups::shown(group)),
                ..GetIncrementalGroupMemberResp::default()
            });
        }
        Ok(GetIncrementalGroupMemberResp {
            version: changes.version,
            version_id: changes.version_id,
            full: changes.full,
            delete: changes.delete,
            insert: self.members_shown(ctx, changes.insert).await?,
            update: self.members_shown(ctx, changes.update).await?,
            group: changes.changed.then(|| groups::shown(group)),
            sort_version: changes.sort_version,
        })
    }

    /// Members as clients see them: an empty group nickname or avatar is the user's own.
    pub(crate) async fn members_shown(
        &self,
        ctx: &Context,
        members: Vec<GroupMember>,
    ) -> Result<Vec<GroupMemberFullInfo>> {
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let lacking = members
            .iter()
            .filter(|m| m.nickname.is_empty() || m.face_url.is_empty());
        let users = profiles(
            &self.deps,
            ctx,
            lacking.map(|m| m.user_id.clone()).collect(),
        )
        .await?;
        let own = |group_value: String, user_value: Option<&String>| {
            if group_value.is_empty() {
                user_value.cloned().unwrap_or_default()
            } else {
                group_value
            }
        };
        let shown = members.into_iter().map(|member| {
            let user = users.get(&member.user_id);
            let nickname = own(member.nickname.clone(), user.map(|u| &u.nickname));
            let face_url = own(member.face_url.clone(), user.map(|u| &u.face_url));
            GroupMemberFullInfo {
                nickname,
                face_url,
                ..raw(member)
            }
        });
        Ok(shown.collect())
    }
}
