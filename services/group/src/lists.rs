//! Members in their order, and what else is read of groups: by role (owner, administrators, others), then by time of joining.

use magpie_proto::openim::{group::*, sdkws::GroupMemberFullInfo};
use magpie_service::{
    Context,
    lists::{self, FullIds, unsigned},
    rpc::{at_most, distinct, filled, some, unique},
};
use magpie_store::{
    Document as _, Documents as _, Page,
    documents::{Group, GroupMember},
    key,
    store::MAX_PAGE,
    versions::{self, List},
};
use magpie_types::{Error, Result, group::role};

use crate::groups::{Groups, is_member};

impl Groups {
    /// All members of a group in their order.
    pub(crate) async fn present(&self, group: &str) -> Result<Vec<GroupMember>> {
        let mut members: Vec<GroupMember> =
            lists::all(self.deps.store.as_ref(), "by_rank", key![group]).await?;
        members.retain(is_member);
        Ok(members)
    }

    /// Owner and administrators.
    pub(crate) async fn managers(&self, group: &str) -> Result<Vec<GroupMember>> {
        let page = Page::of("by_rank", key![group], MAX_PAGE).between(0_i64, 1_i64);
        let mut members: Vec<GroupMember> = self.deps.store.list(page).await?;
        members.retain(is_member);
        Ok(members)
    }

    /// A page of members whose names hold `keyword`, with the number of all.
    pub(crate) async fn member_page(
        &self,
        ctx: &Context,
        group: &Group,
        pagination: Option<magpie_proto::openim::sdkws::RequestPagination>,
        (filter, keyword): (i32, &str),
    ) -> Result<(u32, Vec<GroupMemberFullInfo>)> {
        let pagination = lists::required(pagination)?;
        if filter != 0 || !keyword.is_empty() {
            let mut members = self.present(&group.group_id).await?;
            members.retain(|m| fits(filter, m.role_level));
            let mut members = self.members_shown(ctx, members).await?;
            members.retain(|m| m.nickname.contains(keyword));
            let total = u32::try_from(members.len()).unwrap_or(u32::MAX);
            return Ok((
                total,
                lists::page(members, pagination, self.config.max_page),
            ));
        }
        let size = usize::try_from(pagination.show_number)
            .unwrap_or(0)
            .min(self.config.max_page);
        let mut skip = usize::try_from(pagination.page_number - 1)
            .unwrap_or(usize::MAX)
            .saturating_mul(size);
        let mut found: Vec<GroupMember> = Vec::new();
        let id = group.group_id.as_str();
        let mut page = Page::of("by_rank", key![id], MAX_PAGE).between(0_i64, 2_i64);
        // Pages before the one asked for are walked over; nobody can go further than the group is large.
        while found.len() < size && skip < lists::MAX_LIST {
            page.limit = (skip + size - found.len()).min(MAX_PAGE);
            let rows: Vec<GroupMember> = self.deps.store.list(page.clone()).await?;
            let Some(last) = rows.last().cloned() else {
                break;
            };
            let read = rows.len();
            found.extend(rows.into_iter().skip(skip).filter(is_member));
            skip = skip.saturating_sub(read);
            page = page.after_row(GroupMember::SCHEMA, &last.into_row());
        }
        Ok((group.member_count, self.members_shown(ctx, found).await?))
    }

    pub(crate) async fn list_of_members(
        &self,
        ctx: &Context,
        req: GetGroupMemberListReq,
    ) -> Result<GetGroupMemberListResp> {
        lists::required(req.pagination)?;
        filled("groupID", &req.group_id)?;
        if !(0..=5).contains(&req.filter) {
            return Err(Error::args("filter is invalid"));
        }
        let group = self.visible(ctx, &req.group_id).await?;
        let wanted = (req.filter, req.keyword.as_str());
        let (total, members) = self
            .member_page(ctx, &group, req.pagination, wanted)
            .await?;
        Ok(GetGroupMemberListResp { total, members })
    }

    pub(crate) async fn members_info(
        &self,
        ctx: &Context,
        req: GetGroupMembersInfoReq,
    ) -> Result<GetGroupMembersInfoResp> {
        filled("groupID", &req.group_id)?;
        some("userIDs", &req.user_i_ds)?;
        at_most("userIDs", &req.user_i_ds, self.config.max_ids)?;
        self.visible(ctx, &req.group_id).await?;
        let users = distinct(req.user_i_ds);
        let members = self.members_of(&req.group_id, &users).await?;
        Ok(GetGroupMembersInfoResp {
            members: self.members_shown(ctx, members).await?,
        })
    }

    /// Those of these users who are members.
    pub(crate) async fn members_of(
        &self,
        group: &str,
        users: &[String],
    ) -> Result<Vec<GroupMember>> {
        let keys = users
            .iter()
            .map(|user| key![group, user.as_str()])
            .collect();
        let rows: Vec<Option<GroupMember>> = self.deps.store.find_many(keys).await?;
        Ok(rows.into_iter().flatten().filter(is_member).collect())
    }

    pub(crate) async fn member_ids(
        &self,
        ctx: &Context,
        req: GetGroupMemberUserIDsReq,
    ) -> Result<GetGroupMemberUserIDsResp> {
        filled("groupID", &req.group_id)?;
        self.visible(ctx, &req.group_id).await?;
        Ok(GetGroupMemberUserIDsResp {
            user_i_ds: self.ids(&req.group_id).await?,
        })
    }

    async fn ids(&self, group: &str) -> Result<Vec<String>> {
        let members = self.present(group).await?;
        Ok(members.into_iter().map(|m| m.user_id).collect())
    }

    pub(crate) async fn full_member_ids(
        &self,
        ctx: &Context,
        req: GetFullGroupMemberUserIDsReq,
    ) -> Result<GetFullGroupMemberUserIDsResp> {
        filled("groupID", &req.group_id)?;
        self.visible(ctx, &req.group_id).await?;
        let store = self.deps.store.as_ref();
        let version = versions::current(store, &req.group_id, List::Members).await?;
        let full = FullIds::new(version, self.ids(&req.group_id).await?, req.id_hash)?;
        Ok(GetFullGroupMemberUserIDsResp {
            version: full.version,
            version_id: full.version_id,
            equal: full.equal,
            user_i_ds: full.ids,
        })
    }

    pub(crate) async fn incremental_member(
        &self,
        ctx: &Context,
        req: GetIncrementalGroupMemberReq,
    ) -> Result<GetIncrementalGroupMemberResp> {
        filled("groupID", &req.group_id)?;
        let group = self.visible(ctx, &req.group_id).await?;
        let known = (req.version_id.as_str(), req.version);
        let limit = self.config.max_batch_changes;
        let head = versions::head(self.deps.store.as_ref(), &req.group_id, List::Members).await?;
        self.incremental_members(ctx, group, &head, known, limit)
            .await
    }

    pub(crate) async fn members_by_role(
        &self,
        ctx: &Context,
        req: GetGroupMemberRoleLevelReq,
    ) -> Result<GetGroupMemberRoleLevelResp> {
        filled("groupID", &req.group_id)?;
        some("roleLevels", &req.role_levels)?;
        at_most("roleLevels", &req.role_levels, self.config.max_ids)?;
        self.visible(ctx, &req.group_id).await?;
        let mut members = self.present(&req.group_id).await?;
        members.retain(|m| req.role_levels.contains(&m.role_level));
        Ok(GetGroupMemberRoleLevelResp {
            members: self.members_shown(ctx, members).await?,
        })
    }

    /// One user as member of several groups; groups he is not in are left out.
    pub(crate) async fn memberships(
        &self,
        ctx: &Context,
        req: GetUserInGroupMembersReq,
    ) -> Result<GetUserInGroupMembersResp> {
        filled("userID", &req.user_id)?;
        some("groupIDs", &req.group_i_ds)?;
        at_most("groupIDs", &req.group_i_ds, self.config.max_ids)?;
        ctx.require_self(&req.user_id)?;
        let user = req.user_id.as_str();
        let groups = distinct(req.group_i_ds);
        let keys = groups.iter().map(|id| key![id.as_str(), user]);
        let rows: Vec<Option<GroupMember>> = self.deps.store.find_many(keys.collect()).await?;
        let members = rows.into_iter().flatten().filter(is_member).collect();
        Ok(GetUserInGroupMembersResp {
            members: self.members_shown(ctx, members).await?,
        })
    }

    /// How many members a group has, and a number that changes with them.
    pub(crate) async fn abstracts(
        &self,
        ctx: &Context,
        req: GetGroupAbstractInfoReq,
    ) -> Result<GetGroupAbstractInfoResp> {
        some("groupIDs", &req.group_i_ds)?;
        at_most("groupIDs", &req.group_i_ds, self.config.max_ids)?;
        unique("groupIDs", &req.group_i_ds)?;
        let mut group_abstract_infos = Vec::with_capacity(req.group_i_ds.len());
        let mut walked = 0;
        for id in req.group_i_ds {
            let group = self.visible(ctx, &id).await?;
            let mut members = self.present(&id).await?;
            walked += members.len();
            if walked > lists::MAX_LIST {
                return Err(Error::args("the groups have too many members together"));
            }
            members.sort_by(|a, b| a.user_id.cmp(&b.user_id));
            let members = self.members_shown(ctx, members).await?;
            group_abstract_infos.push(GroupAbstractInfo {
                group_id: id,
                group_member_number: group.member_count,
                group_member_list_hash: lists::json_hash(&members)?,
            });
        }
        Ok(GetGroupAbstractInfoResp {
            group_abstract_infos,
        })
    }
}

/// Whether a role is one that the filter of a member list wants.
fn fits(filter: i32, level: i32) -> bool {
    match filter {
        1 => level == role::OWNER,
        2 => level == role::ADMIN,
        3 => level == role::ORDINARY,
        4 => level != role::OWNER,
        5 => level != role::ORDINARY,
        _ => true,
    }
}

/// A member as he is stored.
pub(crate) fn raw(member: GroupMember) -> GroupMemberFullInfo {
    GroupMemberFullInfo {
        group_id: member.group_id,
        user_id: member.user_id,
        role_level: member.role_level,
        join_time: member.join_time,
        nickname: member.nickname,
        face_url: member.face_url,
        app_manger_level: 0,
        join_source: member.join_source,
        operator_user_id: member.operator_id,
        ex: member.ex,
        mute_end_time: member.mute_end_time,
        inviter_user_id: member.inviter_id,
    }
}

/// A number of documents as the wire has it.
pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Times of the wire are not negative.
pub(crate) fn since(time: i64) -> i64 {
    i64::try_from(unsigned(time)).unwrap_or(i64::MAX)
}
