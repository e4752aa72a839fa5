//! Members, and what of them changed since a version.

use magpie_proto::openim::{
    group::{GetIncrementalGroupMemberReq, GetIncrementalGroupMemberResp},
    sdkws::GroupMemberFullInfo,
};
use magpie_service::{Context, lists, profiles::profiles};
use magpie_store::{
    documents::{Group, GroupMember},
    key,
    versions::{self, List},
};
use magpie_types::{Code, Result};

use crate::{
    groups::{self, Groups, is_member},
    lists::raw,
};

/// Why a group is not in an answer.
const HIDDEN: &[Code] = &[Code::GROUP_DISMISSED, Code::NO_PERMISSION, Code::NOT_FOUND];

impl Groups {
    /// Answers for several groups at once, one entry for each. A group that is gone, or that the caller may not see, gets an
    /// entry that says "nothing new": clients wait for an entry of each group and take an error as the failure of their
    /// whole synchronisation.
    pub(crate) async fn incremental_members_of(
        &self,
        ctx: &Context,
        requests: Vec<GetIncrementalGroupMemberReq>,
    ) -> Result<Vec<(String, GetIncrementalGroupMemberResp)>> {
        let mut left = self.config.max_batch_changes;
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let visible = match self.visible(ctx, &request.group_id).await {
                Ok(group) => Some(group),
                Err(e) if HIDDEN.contains(&e.code()) => None,
                Err(e) => return Err(e),
            };
            let answer = match visible {
                None => GetIncrementalGroupMemberResp {
                    version: request.version,
                    version_id: request.version_id,
                    ..GetIncrementalGroupMemberResp::default()
                },
                Some(group) => {
                    let known = (request.version_id.as_str(), request.version);
                    self.incremental_members(ctx, group, known, left).await?
                }
            };
            left = left
                .saturating_sub(answer.delete.len() + answer.insert.len() + answer.update.len());
            answers.push((request.group_id, answer));
        }
        Ok(answers)
    }

    /// What changed in one group since a version; to be read in full if it is more than `limit` members.
    pub(crate) async fn incremental_members(
        &self,
        ctx: &Context,
        group: Group,
        known: (&str, u64),
        limit: usize,
    ) -> Result<GetIncrementalGroupMemberResp> {
        let id = group.group_id.clone();
        let store = self.deps.store.as_ref();
        let list = (id.as_str(), List::Members);
        let changes = lists::incremental(
            store,
            list,
            known,
            |user| key![id.as_str(), user],
            is_member,
        )
        .await?;
        if changes.delete.len() + changes.insert.len() + changes.update.len() > limit {
            let version = versions::current(store, &id, List::Members).await?;
            return Ok(GetIncrementalGroupMemberResp {
                version: lists::unsigned(version.number),
                version_id: version.id,
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
