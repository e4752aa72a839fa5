//! Making a group.

use std::{collections::HashSet, sync::Arc};

use magpie_proto::openim::{
    group::{CreateGroupReq, CreateGroupResp},
    sdkws::GroupInfo,
};
use magpie_service::{
    Context,
    rpc::{at_most, at_most_bytes, filled},
};
use magpie_store::{Documents as _, Outcome, documents::Group};
use magpie_types::{
    Code, Error, GroupId, Result,
    group::{WORK_GROUP, join_source, role, status},
    ids::random_bytes,
    msg::content_type,
};

use crate::{
    change::{Change, Plan, Row},
    groups::{Groups, shown},
    info::check_verification,
};

/// Tries to find an id that is free.
const MAX_IDS: usize = 10;

impl Groups {
    pub(crate) async fn create(
        self: &Arc<Self>,
        ctx: &Context,
        req: CreateGroupReq,
    ) -> Result<CreateGroupResp> {
        let info = req
            .group_info
            .ok_or_else(|| Error::args("groupInfo is empty"))?;
        filled("ownerUserID", &req.owner_user_id)?;
        if info.group_type != WORK_GROUP {
            return Err(Error::args("groupType must be 2"));
        }
        if !info.group_id.is_empty() {
            GroupId::new(info.group_id.as_str())?;
        }
        self.check_info(&info)?;
        let others = [req.admin_user_i_ds.as_slice(), &req.member_user_i_ds].concat();
        at_most("memberUserIDs", &others, self.config.max_ids)?;
        ctx.require_self(&req.owner_user_id)?;
        let mut seen = HashSet::from([req.owner_user_id.as_str()]);
        if !others.iter().all(|id| seen.insert(id)) {
            return Err(Error::args("a member is named twice"));
        }
        let all = [std::slice::from_ref(&req.owner_user_id), others.as_slice()].concat();
        self.registered(ctx, &all, Code::USER_ID_NOT_FOUND).await?;

        let mut tell = vec![content_type::GROUP_CREATED];
        if !info.notification.is_empty() {
            tell.push(content_type::GROUP_ANNOUNCEMENT_SET);
        }
        let mut change = Change::by(ctx, tell);
        change.in_chat = req.send_message;
        let roles = std::iter::once(role::OWNER)
            .chain(req.admin_user_i_ds.iter().map(|_| role::ADMIN))
            .chain(req.member_user_i_ds.iter().map(|_| role::ORDINARY));
        change.rows = all
            .into_iter()
            .zip(roles)
            .map(|(user_id, role_level)| Row {
                user_id,
                role_level,
                join_time: change.at,
                join_source: join_source::INVITATION,
                operator_id: ctx.user_id().to_owned(),
                inviter_id: ctx.user_id().to_owned(),
                joins: true,
                ..Row::default()
            })
            .collect();
        let group = self.add(&req.owner_user_id, ctx, info, change).await?;
        self.follow_up(group.clone()).await;
        Ok(CreateGroupResp {
            group_info: Some(shown(group)),
        })
    }

    /// Stores the group under the wanted id (1202 if it is taken) or one that is free.
    async fn add(
        &self,
        owner: &str,
        ctx: &Context,
        info: GroupInfo,
        change: Change,
    ) -> Result<Group> {
        let wanted = !info.group_id.is_empty();
        for _ in 0..MAX_IDS {
            let group_id = if wanted {
                info.group_id.clone()
            } else {
                u32::from_be_bytes(random_bytes::<4>()).to_string()
            };
            let group = new_group(group_id, owner, ctx, &info, change.at);
            let change = change.clone();
            let group = Plan { group, change }.into_group();
            match self.deps.store.add(group.clone()).await? {
                Outcome::Inserted => return Ok(group),
                _ if wanted => {
                    return Err(Error::new(
                        Code::GROUP_ID_EXISTED,
                        format!("there is a group {} already", info.group_id),
                    ));
                }
                _ => {}
            }
        }
        Err(Error::new(Code::DATA, "no group id is free"))
    }

    fn check_info(&self, info: &GroupInfo) -> Result<()> {
        let (short, long) = (self.config.max_text, self.config.max_long_text);
        at_most_bytes("groupName", &info.group_name, short)?;
        at_most_bytes("faceURL", &info.face_url, short)?;
        at_most_bytes("ex", &info.ex, short)?;
        at_most_bytes("notification", &info.notification, long)?;
        at_most_bytes("introduction", &info.introduction, long)?;
        check_verification(info.need_verification)
    }
}

fn new_group(group_id: String, owner: &str, ctx: &Context, info: &GroupInfo, at: i64) -> Group {
    let creator = if ctx.user_id().is_empty() {
        owner
    } else {
        ctx.user_id()
    };
    Group {
        group_id,
        name: info.group_name.clone(),
        notification: info.notification.clone(),
        notification_update_time: 0,
        notification_user_id: String::new(),
        introduction: info.introduction.clone(),
        face_url: info.face_url.clone(),
        ex: info.ex.clone(),
        owner_id: owner.to_owned(),
        creator_id: creator.to_owned(),
        create_time: at,
        member_count: 0,
        status: status::NORMAL,
        group_type: WORK_GROUP,
        need_verification: info.need_verification,
        look_member_info: info.look_member_info,
        apply_member_friend: info.apply_member_friend,
        member_version: 0,
        pending: Default::default(),
        rev: 0,
        change: Default::default(),
    }
}
