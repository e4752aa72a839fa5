//! Applications to join: made by who wants in or by members for others, answered by owner and administrators.
//!
//! An application's document decides, and carries as `pending` what is still to be told or done; an accepted applicant becomes a member
//! through a change of the group.

use std::sync::Arc;

use bytes::Bytes;
use magpie_proto::openim::{
    group::GroupApplicationResponseReq,
    sdkws::{
        GroupApplicationAcceptedTips, GroupApplicationRejectedTips, GroupRequest as Shown,
        JoinGroupApplicationTips, PublicUserInfo,
    },
};
use magpie_service::{
    Context,
    notification::{self, Notification},
    pending,
    profiles::profiles,
    rpc::{at_most_bytes, filled},
};
use magpie_store::{Documents as _, documents::GroupRequest, key};
use magpie_types::{Code, Error, Result, msg::content_type, time::now_ms};

use crate::{
    change::Change,
    groups::{Groups, shown},
    membership::Entry,
};

/// What follows a written application; the mark of its intent.
const APPLIED: u8 = 1;
const ACCEPTED: u8 = 2;
const REFUSED: u8 = 4;

/// States of an application.
pub(crate) const OPEN: i32 = 0;
const ACCEPT: i32 = 1;
const REFUSE: i32 = -1;

/// An application to be.
pub(crate) struct Application {
    pub(crate) user: String,
    /// Empty if he applies himself.
    pub(crate) inviter: String,
    pub(crate) message: String,
    pub(crate) join_source: i32,
    pub(crate) ex: String,
    pub(crate) operation_id: String,
}

impl Groups {
    /// Refuses long texts of an application.
    pub(crate) fn check_words(&self, message: &str, ex: &str) -> Result<()> {
        at_most_bytes("reqMessage", message, self.config.max_text)?;
        at_most_bytes("ex", ex, self.config.max_text)
    }

    /// Stores an application in place of an earlier one, and tells who can answer it.
    pub(crate) async fn apply(
        self: &Arc<Self>,
        group: &str,
        application: Application,
    ) -> Result<()> {
        let user = application.user.as_str();
        let apply = |old: Option<GroupRequest>| {
            let new = GroupRequest {
                group_id: group.to_owned(),
                user_id: user.to_owned(),
                handle_result: OPEN,
                req_msg: application.message.clone(),
                handle_msg: String::new(),
                req_time: now_ms(),
                handle_user_id: String::new(),
                handle_time: 0,
                join_source: application.join_source,
                inviter_id: application.inviter.clone(),
                ex: application.ex.clone(),
                operation_id: application.operation_id.clone(),
                pending: Bytes::new(),
                rev: 0,
                // An acceptance that is not carried out yet is left to this one.
                member_rev: old.map_or(0, |old| old.member_rev),
            };
            Ok(Some((new, APPLIED)))
        };
        let written = pending::change(self.deps.store.as_ref(), key![group, user], apply).await?;
        self.follow_request(written).await;
        Ok(())
    }

    pub(crate) async fn answer(
        self: &Arc<Self>,
        ctx: &Context,
        req: GroupApplicationResponseReq,
    ) -> Result<()> {
        filled("groupID", &req.group_id)?;
        filled("fromUserID", &req.from_user_id)?;
        if ![ACCEPT, REFUSE].contains(&req.handle_result) {
            return Err(Error::args("handleResult is neither 1 nor -1"));
        }
        at_most_bytes("handledMsg", &req.handled_msg, self.config.max_text)?;
        let (group, user) = (req.group_id.as_str(), req.from_user_id.as_str());
        self.alive(group).await?;
        self.require_manager(ctx, group, Code::NOT_FOUND).await?;
        let key = key![group, user];
        let known: Option<GroupRequest> = self.deps.store.find(key.clone()).await?;
        if known.is_some_and(|request| request.handle_result == OPEN) {
            self.registered(ctx, &[user.to_owned()], Code::NOT_FOUND)
                .await?;
        }
        let member_rev = if req.handle_result == ACCEPT {
            // His row as the changes made it that were decided before the answer.
            self.settled(group).await?;
            self.row(group, user).await?.map_or(0, |row| row.rev)
        } else {
            0
        };
        let answer = |found: Option<GroupRequest>| {
            let mut request =
                found.ok_or_else(|| Error::not_found("there is no such application"))?;
            if request.handle_result != OPEN {
                return Err(Error::new(
                    Code::GROUP_REQUEST_HANDLED,
                    "the application is answered already",
                ));
            }
            request.handle_result = req.handle_result;
            request.handle_msg.clone_from(&req.handled_msg);
            request.handle_time = now_ms();
            ctx.user_id().clone_into(&mut request.handle_user_id);
            request.operation_id.clone_from(&ctx.operation_id);
            let mark = if req.handle_result == ACCEPT {
                request.member_rev = member_rev;
                ACCEPTED
            } else {
                REFUSED
            };
            Ok(Some((request, mark)))
        };
        let written = pending::change(self.deps.store.as_ref(), key, answer).await?;
        self.follow_request(written).await;
        Ok(())
    }

    async fn follow_request(self: &Arc<Self>, request: Option<GroupRequest>) {
        let all = Arc::clone(self);
        pending::follow_up(&self.deps, 1, request, move |request| {
            let all = Arc::clone(&all);
            async move { all.finish_request(request).await }
        })
        .await;
    }

    /// Does what follows a written application. An answer given before the application was told includes that.
    pub(crate) async fn finish_request(self: &Arc<Self>, request: GroupRequest) -> Result<()> {
        let ctx = Context::internal(request.operation_id.as_str());
        let marks = pending::mark(&request.pending).unwrap_or(0);
        if marks & ACCEPTED != 0 {
            self.admit(&ctx, &request).await?;
        }
        for mark in [APPLIED, ACCEPTED, REFUSED] {
            if marks & mark != 0 {
                self.tell_request(&ctx, &request, mark).await?;
            }
        }
        pending::finish(self.deps.store.as_ref(), request).await
    }

    /// The accepted applicant becomes a member, unless the group is no more, or he has come or gone since the answer: then it was
    /// carried out before, or whoever moved him has the last word.
    async fn admit(self: &Arc<Self>, ctx: &Context, request: &GroupRequest) -> Result<()> {
        let entry = Entry {
            join_source: request.join_source,
            operator: request.handle_user_id.clone(),
            inviter: request.inviter_id.clone(),
            tell: if request.inviter_id.is_empty() {
                content_type::MEMBER_ENTER
            } else {
                content_type::MEMBER_INVITED
            },
            in_chat: None,
            seen_rev: Some(request.member_rev),
        };
        let users = vec![request.user_id.clone()];
        match self.let_in(ctx, &request.group_id, users, &entry).await {
            Err(e) if e.code() != Code::GROUP_DISMISSED => Err(e),
            _ => Ok(()),
        }
    }

    /// Owner, administrators, and who applied or is answered.
    async fn tell_request(&self, ctx: &Context, request: &GroupRequest, mark: u8) -> Result<()> {
        let group = self.group(&request.group_id).await?;
        let mut request_shown = self.request_shown(ctx, request).await?;
        // What the answer is stands beside it; an application is told as it was made.
        request_shown.handle_msg.clear();
        request_shown.handle_user_id.clear();
        request_shown.handle_time = 0;
        let managers = self.managers(&request.group_id).await?;
        let mut receivers: Vec<String> = managers.into_iter().map(|m| m.user_id).collect();
        let by = |kind| pending::message_id(&request.pending, &request.group_id, kind);
        let answered = mark != APPLIED;
        let operator = if !answered && request.inviter_id.is_empty() {
            request.user_id.clone()
        } else if !answered {
            request.inviter_id.clone()
        } else if request.handle_user_id.is_empty() {
            group.owner_id.clone()
        } else {
            request.handle_user_id.clone()
        };
        let own = if answered {
            &request.user_id
        } else {
            &operator
        };
        if !receivers.contains(own) {
            receivers.push(own.clone());
        }
        let op_user = if answered {
            let mut by_operator = Change::by(ctx, Vec::new());
            by_operator.operator.clone_from(&operator);
            by_operator.by_admin = self.deps.admins.contains(&operator);
            Some(self.operator(ctx, &group, &by_operator).await?)
        } else {
            None
        };
        let shown_group = Some(shown(group));
        let notice = match mark {
            ACCEPTED => {
                let kind = content_type::GROUP_APPLICATION_ACCEPTED;
                let tips = GroupApplicationAcceptedTips {
                    group: shown_group,
                    op_user,
                    handle_msg: request.handle_msg.clone(),
                    receiver_as: 0,
                    uuid: by(kind),
                    request: Some(request_shown),
                };
                Notification::to_user(kind, &operator, &operator, &tips)?
            }
            REFUSED => {
                let kind = content_type::GROUP_APPLICATION_REJECTED;
                let tips = GroupApplicationRejectedTips {
                    group: shown_group,
                    op_user,
                    handle_msg: request.handle_msg.clone(),
                    receiver_as: 0,
                    uuid: by(kind),
                    request: Some(request_shown),
                };
                Notification::to_user(kind, &operator, &operator, &tips)?
            }
            _ => {
                let kind = content_type::JOIN_GROUP_APPLICATION;
                let mut found = profiles(&self.deps, ctx, vec![operator.clone()]).await?;
                let tips = JoinGroupApplicationTips {
                    group: shown_group,
                    applicant: found.remove(&operator).map(public),
                    req_msg: request.req_msg.clone(),
                    uuid: by(kind),
                    request: Some(request_shown),
                };
                Notification::to_user(kind, &operator, &operator, &tips)?
            }
        };
        for receiver in receivers {
            let id = format!("{}-{receiver}", by(notice.content_type));
            let mut to_him = notice.clone().offline_push();
            to_him.recv_id = receiver;
            notification::send(&self.deps, ctx, to_him.client_msg_id(short(&id))).await?;
        }
        Ok(())
    }

    /// An application as clients see it, without its group.
    pub(crate) async fn request_shown(
        &self,
        ctx: &Context,
        request: &GroupRequest,
    ) -> Result<Shown> {
        let mut found = profiles(&self.deps, ctx, vec![request.user_id.clone()]).await?;
        Ok(Shown {
            user_info: found.remove(&request.user_id).map(public),
            group_info: None,
            handle_result: request.handle_result,
            req_msg: request.req_msg.clone(),
            handle_msg: request.handle_msg.clone(),
            req_time: request.req_time,
            handle_user_id: request.handle_user_id.clone(),
            handle_time: request.handle_time,
            ex: request.ex.clone(),
            join_source: request.join_source,
            inviter_user_id: request.inviter_id.clone(),
        })
    }
}

/// An id of one receiver's message, short enough whatever his own id is.
fn short(id: &str) -> String {
    magpie_types::ServerMsgId::derive(id, "", "").to_string()
}

pub(crate) fn public(user: magpie_proto::openim::sdkws::UserInfo) -> PublicUserInfo {
    PublicUserInfo {
        user_id: user.user_id,
        nickname: user.nickname,
        face_url: user.face_url,
        ex: user.ex,
    }
}
