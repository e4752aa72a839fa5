//! Reading applications: those to the groups that a user runs, those he made himself, those of one group.

use std::collections::{HashMap, HashSet};

use magpie_proto::openim::{
    group::*,
    sdkws::{GroupRequest as Shown, RequestPagination},
};
use magpie_service::{
    Context, lists,
    profiles::profiles,
    rpc::{at_most, distinct, filled, some},
};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember, GroupRequest},
    key,
};
use magpie_types::{Code, Error, Result, group::role};

use crate::{
    groups::{Groups, is_member, shown},
    lists::{count, since},
    requests::{OPEN, public},
};

/// Most elements of a filter by result; there are three results.
const RESULTS: usize = 16;

impl Groups {
    pub(crate) async fn received(
        &self,
        ctx: &Context,
        req: GetGroupApplicationListReq,
    ) -> Result<GetGroupApplicationListResp> {
        let pagination = lists::required(req.pagination)?;
        filled("fromUserID", &req.from_user_id)?;
        at_most("handleResults", &req.handle_results, RESULTS)?;
        at_most("groupIDs", &req.group_i_ds, self.config.max_ids)?;
        ctx.require_self(&req.from_user_id)?;
        let groups = if req.group_i_ds.is_empty() {
            self.managed(&req.from_user_id).await?
        } else {
            let ids = distinct(req.group_i_ds);
            for id in &ids {
                self.require_manager(ctx, id, Code::NO_PERMISSION).await?;
            }
            ids
        };
        let mut found = self.to_groups(&groups).await?;
        found.retain(|r| wanted(r, &req.handle_results));
        let (total, group_requests) = self.request_page(ctx, found, pagination).await?;
        Ok(GetGroupApplicationListResp {
            total,
            group_requests,
        })
    }

    pub(crate) async fn unhandled(
        &self,
        ctx: &Context,
        req: GetGroupApplicationUnhandledCountReq,
    ) -> Result<GetGroupApplicationUnhandledCountResp> {
        ctx.require_self(&req.user_id)?;
        let groups = self.managed(&req.user_id).await?;
        let mut found = self.to_groups(&groups).await?;
        found.retain(|r| r.handle_result == OPEN && r.req_time > since(req.time) - 1);
        Ok(GetGroupApplicationUnhandledCountResp {
            count: i64::from(count(found.len())),
        })
    }

    pub(crate) async fn made(
        &self,
        ctx: &Context,
        req: GetUserReqApplicationListReq,
    ) -> Result<GetUserReqApplicationListResp> {
        let pagination = lists::required(req.pagination)?;
        filled("userID", &req.user_id)?;
        at_most("handleResults", &req.handle_results, RESULTS)?;
        at_most("groupIDs", &req.group_i_ds, self.config.max_ids)?;
        ctx.require_self(&req.user_id)?;
        self.registered(ctx, std::slice::from_ref(&req.user_id), Code::NOT_FOUND)
            .await?;
        let store = self.deps.store.as_ref();
        let user = req.user_id.as_str();
        let mut found: Vec<GroupRequest> = lists::all(store, "by_user", key![user]).await?;
        let groups: HashSet<String> = req.group_i_ds.into_iter().collect();
        found.retain(|r| {
            wanted(r, &req.handle_results) && (groups.is_empty() || groups.contains(&r.group_id))
        });
        let (total, group_requests) = self.request_page(ctx, found, pagination).await?;
        Ok(GetUserReqApplicationListResp {
            total,
            group_requests,
        })
    }

    pub(crate) async fn of_users(
        &self,
        ctx: &Context,
        req: GetGroupUsersReqApplicationListReq,
    ) -> Result<GetGroupUsersReqApplicationListResp> {
        filled("groupID", &req.group_id)?;
        some("userIDs", &req.user_i_ds)?;
        at_most("userIDs", &req.user_i_ds, self.config.max_ids)?;
        self.require_manager(ctx, &req.group_id, Code::NO_PERMISSION)
            .await?;
        let id = req.group_id.as_str();
        let users = distinct(req.user_i_ds);
        let keys = users.iter().map(|user| key![id, user.as_str()]);
        let found: Vec<Option<GroupRequest>> = self.deps.store.find_many(keys.collect()).await?;
        let group_requests = self
            .requests_shown(ctx, found.into_iter().flatten().collect())
            .await?;
        Ok(GetGroupUsersReqApplicationListResp {
            total: i64::from(count(group_requests.len())),
            group_requests,
        })
    }

    pub(crate) async fn of_user(
        &self,
        ctx: &Context,
        req: GetSpecifiedUserGroupRequestInfoReq,
    ) -> Result<GetSpecifiedUserGroupRequestInfoResp> {
        filled("groupID", &req.group_id)?;
        filled("userID", &req.user_id)?;
        if ctx.user_id() != req.user_id {
            self.require_manager(ctx, &req.group_id, Code::NO_PERMISSION)
                .await?;
        }
        let key = key![req.group_id.as_str(), req.user_id.as_str()];
        let found: Option<GroupRequest> = self.deps.store.find(key).await?;
        let group_requests = self
            .requests_shown(ctx, found.into_iter().collect())
            .await?;
        Ok(GetSpecifiedUserGroupRequestInfoResp {
            total: count(group_requests.len()),
            group_requests,
        })
    }

    /// The groups that a user runs.
    async fn managed(&self, user: &str) -> Result<Vec<String>> {
        let store = self.deps.store.as_ref();
        let mut all: Vec<GroupMember> = lists::all(store, "by_user", key![user]).await?;
        all.retain(|m| is_member(m) && m.role_level >= role::ADMIN);
        Ok(all.into_iter().map(|m| m.group_id).collect())
    }

    async fn to_groups(&self, groups: &[String]) -> Result<Vec<GroupRequest>> {
        let store = self.deps.store.as_ref();
        let mut found = Vec::new();
        for id in groups {
            let of_group = lists::all(store, "by_group", key![id.as_str()]).await?;
            found.extend::<Vec<GroupRequest>>(of_group);
            if found.len() > lists::MAX_LIST {
                return Err(Error::args("there are too many applications"));
            }
        }
        Ok(found)
    }

    /// The newest first.
    async fn request_page(
        &self,
        ctx: &Context,
        mut found: Vec<GroupRequest>,
        pagination: RequestPagination,
    ) -> Result<(u32, Vec<Shown>)> {
        found.sort_by(|a, b| {
            (b.req_time, &a.group_id, &a.user_id).cmp(&(a.req_time, &b.group_id, &b.user_id))
        });
        let total = count(found.len());
        let page = lists::page(found, pagination, self.config.max_page);
        Ok((total, self.requests_shown(ctx, page).await?))
    }

    async fn requests_shown(
        &self,
        ctx: &Context,
        requests: Vec<GroupRequest>,
    ) -> Result<Vec<Shown>> {
        let users = requests.iter().map(|r| r.user_id.clone()).collect();
        let users = profiles(&self.deps, ctx, users).await?;
        let mut ids: Vec<String> = requests.iter().map(|r| r.group_id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let groups = self.find_many(&ids).await?.into_iter();
        let groups: HashMap<String, Group> = groups.map(|g| (g.group_id.clone(), g)).collect();
        let all = requests.into_iter().map(|request| Shown {
            user_info: users.get(&request.user_id).cloned().map(public),
            group_info: groups.get(&request.group_id).cloned().map(shown),
            handle_result: request.handle_result,
            req_msg: request.req_msg,
            handle_msg: request.handle_msg,
            req_time: request.req_time,
            handle_user_id: request.handle_user_id,
            handle_time: request.handle_time,
            ex: request.ex,
            join_source: request.join_source,
            inviter_user_id: request.inviter_id,
        });
        Ok(all.collect())
    }
}

fn wanted(request: &GroupRequest, results: &[i32]) -> bool {
    results.is_empty() || results.contains(&request.handle_result)
}
