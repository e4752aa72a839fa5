//! What back ends ask: groups by name, members by name, and single records.

use std::collections::HashMap;

use magpie_proto::openim::group::*;
use magpie_service::{Context, lists, profiles::profiles, rpc::filled};
use magpie_store::{Document as _, Documents as _, Page, documents::Group};
use magpie_types::{Error, Result, group::status};

use crate::{
    groups::{Groups, shown},
    lists::{count, raw},
};

/// Groups read at once.
const CHUNK: usize = 1000;

impl Groups {
    /// All groups, the newest first; dismissed ones only by their id.
    pub(crate) async fn search(&self, ctx: &Context, req: GetGroupsReq) -> Result<GetGroupsResp> {
        let pagination = lists::required(req.pagination)?;
        ctx.require_admin()?;
        let (total, page) = if req.group_id.is_empty() {
            let mut found = Vec::new();
            self.each_group(|group| {
                if group.status != status::DISMISSED && group.name.contains(&req.group_name) {
                    found.push(group);
                }
            })
            .await?;
            let total = count(found.len());
            (total, lists::page(found, pagination, self.config.max_page))
        } else {
            let found = self.find_many(std::slice::from_ref(&req.group_id)).await?;
            (
                count(found.len()),
                lists::page(found, pagination, self.config.max_page),
            )
        };
        let owners = page.iter().map(|g| g.owner_id.clone());
        let owners = profiles(
            &self.deps,
            ctx,
            owners.filter(|id| !id.is_empty()).collect(),
        )
        .await?;
        Ok(GetGroupsResp {
            total,
            groups: page.into_iter().map(|g| cms(g, &owners)).collect(),
        })
    }

    /// Shows every group, the newest first.
    pub(crate) async fn each_group(&self, mut see: impl FnMut(Group)) -> Result<()> {
        let mut page = Page::of("by_time", Vec::new(), CHUNK).descending();
        loop {
            let groups: Vec<Group> = self.deps.store.list(page.clone()).await?;
            let Some(last) = groups.last().cloned() else {
                return Ok(());
            };
            groups.into_iter().for_each(&mut see);
            page = page.after_row(Group::SCHEMA, &last.into_row());
        }
    }

    pub(crate) async fn members_for_admin(
        &self,
        ctx: &Context,
        req: GetGroupMembersCmsReq,
    ) -> Result<GetGroupMembersCmsResp> {
        lists::required(req.pagination)?;
        filled("groupID", &req.group_id)?;
        ctx.require_admin()?;
        let group = self.visible(ctx, &req.group_id).await?;
        let wanted = (0, req.user_name.as_str());
        let (total, members) = self
            .member_page(ctx, &group, req.pagination, wanted)
            .await?;
        Ok(GetGroupMembersCmsResp { total, members })
    }

    pub(crate) async fn info_cache(
        &self,
        ctx: &Context,
        req: GetGroupInfoCacheReq,
    ) -> Result<GetGroupInfoCacheResp> {
        filled("groupID", &req.group_id)?;
        ctx.require_admin()?;
        Ok(GetGroupInfoCacheResp {
            group_info: Some(shown(self.group(&req.group_id).await?)),
        })
    }

    pub(crate) async fn member_cache(
        &self,
        ctx: &Context,
        req: GetGroupMemberCacheReq,
    ) -> Result<GetGroupMemberCacheResp> {
        filled("groupID", &req.group_id)?;
        filled("groupMemberID", &req.group_member_id)?;
        ctx.require_admin()?;
        let member = self.member(&req.group_id, &req.group_member_id).await?;
        let member = member.ok_or_else(|| Error::not_found("the user is not a member"))?;
        Ok(GetGroupMemberCacheResp {
            member: Some(raw(member)),
        })
    }
}

fn cms(group: Group, owners: &HashMap<String, magpie_proto::openim::sdkws::UserInfo>) -> CmsGroup {
    let owner = owners.get(&group.owner_id);
    CmsGroup {
        group_owner_user_name: owner.map(|o| o.nickname.clone()).unwrap_or_default(),
        group_owner_user_id: group.owner_id.clone(),
        group_info: Some(shown(group)),
    }
}
