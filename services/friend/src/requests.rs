//! Applications for friendship: made, accepted, refused (messages-and-sync.md 16).
//!
//! The application is the decisive document. What an acceptance causes is derived from it: the open application in the other
//! direction is accepted too, both friend records are made, each at the revision that was seen when it was accepted.

use std::sync::Arc;

use bytes::Bytes;
use magpie_proto::openim::{
    relation::ApplyToAddFriendReq,
    sdkws::{
        FriendApplicationApprovedTips, FriendApplicationRejectedTips, FriendApplicationTips,
        FriendRequest as Shown,
    },
};
use magpie_service::{
    Context,
    notification::{self, Notification},
    pending,
    profiles::profiles,
};
use magpie_store::{Documents as _, documents::FriendRequest, key};
use magpie_types::{Code, Error, Result, msg::content_type, time::now_ms};

use crate::{
    Relations,
    records::{BY_APPLICATION, from_to, record, seen},
};

/// States of an application.
pub(crate) const OPEN: i32 = 0;
pub(crate) const ACCEPTED: i32 = 1;
pub(crate) const REFUSED: i32 = -1;

/// Marks of an intent: what was done last and is to be announced (1203, 1201, 1202).
const TELL_OPEN: u8 = 1;
const BEFRIEND: u8 = 1 << 1;
const TELL_REFUSED: u8 = 1 << 2;

impl Relations {
    /// Makes an application, or opens the last one of this pair again.
    pub(crate) async fn apply(
        self: &Arc<Self>,
        ctx: &Context,
        req: &ApplyToAddFriendReq,
    ) -> Result<()> {
        let (from, to) = (&*req.from_user_id, &*req.to_user_id);
        if from == to {
            return Err(Error::new(
                Code::ADD_YOURSELF,
                "nobody can befriend himself",
            ));
        }
        self.require_users(ctx, [from, to]).await?;
        if self.has_friend(from, to).await? && self.has_friend(to, from).await? {
            return Err(Error::new(
                Code::RELATIONSHIP_ALREADY,
                "they are friends already",
            ));
        }
        let now = now_ms();
        let written = pending::change(self.deps.store.as_ref(), key![from, to], |found| {
            let request = found.unwrap_or_else(|| blank(from, to));
            let request = FriendRequest {
                handle_result: OPEN,
                handle_msg: String::new(),
                req_msg: req.req_msg.clone(),
                ex: req.ex.clone(),
                create_time: now,
                ..request
            };
            Ok(Some((request, TELL_OPEN)))
        })
        .await?;
        self.follow_request(ctx, written).await;
        Ok(())
    }

    /// Accepts the application of `from` to `to`.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        ctx: &Context,
        (from, to): (&str, &str),
        handle_msg: &str,
    ) -> Result<()> {
        let from_rev = seen(self.friend_record(from, to).await?.as_ref());
        let to_rev = seen(self.friend_record(to, from).await?.as_ref());
        let other = self.request(to, from).await?;
        let other_rev = other
            .filter(|r| r.handle_result == OPEN)
            .map_or(0, |r| r.rev);
        let (handler, now) = (handler(ctx, to), now_ms());
        let written = pending::change(self.deps.store.as_ref(), key![from, to], |found| {
            let request = answerable(found, Code::ARGS)?;
            let request = FriendRequest {
                handle_result: ACCEPTED,
                handler_id: handler.to_owned(),
                handle_msg: handle_msg.to_owned(),
                handle_time: now,
                from_rev,
                to_rev,
                other_rev,
                ..request
            };
            Ok(Some((request, BEFRIEND)))
        })
        .await?;
        self.follow_request(ctx, written).await;
        Ok(())
    }

    /// Refuses the application of `from` to `to`.
    pub(crate) async fn refuse(
        self: &Arc<Self>,
        ctx: &Context,
        (from, to): (&str, &str),
        handle_msg: &str,
    ) -> Result<()> {
        let now = now_ms();
        let written = pending::change(self.deps.store.as_ref(), key![from, to], |found| {
            let request = answerable(found, Code::FRIEND_REQUEST_HANDLED)?;
            let request = FriendRequest {
                handle_result: REFUSED,
                handle_msg: handle_msg.to_owned(),
                handle_time: now,
                ..request
            };
            Ok(Some((request, TELL_REFUSED)))
        })
        .await?;
        self.follow_request(ctx, written).await;
        Ok(())
    }

    /// The application of `from` to `to`.
    pub(crate) async fn request(&self, from: &str, to: &str) -> Result<Option<FriendRequest>> {
        Ok(self.deps.store.find(key![from, to]).await?)
    }

    /// Refuses users who don't exist (1004).
    pub(crate) async fn require_users(&self, ctx: &Context, users: [&str; 2]) -> Result<()> {
        let found = profiles(&self.deps, ctx, users.map(str::to_owned).to_vec()).await?;
        if users.iter().all(|user| found.contains_key(*user)) {
            Ok(())
        } else {
            Err(Error::not_found("user not found"))
        }
    }

    async fn follow_request(self: &Arc<Self>, ctx: &Context, written: Option<FriendRequest>) {
        let (service, ctx) = (Arc::clone(self), ctx.clone());
        pending::follow_up(&self.deps, 1, written, move |request| {
            let (service, ctx) = (Arc::clone(&service), ctx.clone());
            async move { service.roll_request(&ctx, request).await }
        })
        .await;
    }

    /// Does what follows a change of an application.
    pub(crate) async fn roll_request(&self, ctx: &Context, request: FriendRequest) -> Result<()> {
        let mark = pending::mark(&request.pending).unwrap_or(0);
        if mark & BEFRIEND != 0 {
            self.accept_other(&request).await?;
            let (from, to) = (&*request.from_id, &*request.to_id);
            let new =
                |owner, friend| record(owner, friend, BY_APPLICATION, from, request.handle_time);
            self.befriend(new(from, to), request.from_rev).await?;
            self.befriend(new(to, from), request.to_rev).await?;
        }
        for change in self.told(ctx, &request, mark).await? {
            let kind = change.content_type;
            let id = pending::message_id(&request.pending, &request.from_id, kind);
            notification::send(&self.deps, ctx, change.client_msg_id(id)).await?;
        }
        pending::finish(self.deps.store.as_ref(), request).await
    }

    /// Whoever accepts has answered what he himself had asked.
    async fn accept_other(&self, request: &FriendRequest) -> Result<()> {
        if request.other_rev == 0 {
            return Ok(());
        }
        let other = self.request(&request.to_id, &request.from_id).await?;
        if let Some(other) = other.filter(|o| o.rev == request.other_rev) {
            let rev = other.rev;
            let accepted = FriendRequest {
                handle_result: ACCEPTED,
                handler_id: request.handler_id.clone(),
                handle_time: request.handle_time,
                rev: rev + 1,
                ..other
            };
            self.deps.store.replace(accepted, rev).await?;
        }
        Ok(())
    }

    async fn told(
        &self,
        ctx: &Context,
        request: &FriendRequest,
        mark: u8,
    ) -> Result<Vec<Notification>> {
        let (from, to) = (&*request.from_id, &*request.to_id);
        let shown = self.requests_shown(ctx, vec![request.clone()]).await?.pop();
        let mut told = Vec::new();
        if mark & TELL_OPEN != 0 {
            let tips = FriendApplicationTips {
                from_to_user_id: from_to(from, to),
                request: shown.clone(),
            };
            let kind = content_type::FRIEND_APPLICATION;
            told.push(Notification::to_user(kind, from, to, &tips)?.offline_push());
        }
        if mark & TELL_REFUSED != 0 {
            let tips = FriendApplicationRejectedTips {
                from_to_user_id: from_to(from, to),
                handle_msg: request.handle_msg.clone(),
                request: shown.clone(),
            };
            let kind = content_type::FRIEND_APPLICATION_REJECTED;
            told.push(Notification::to_user(kind, to, from, &tips)?.offline_push());
        }
        if mark & BEFRIEND != 0 {
            let tips = FriendApplicationApprovedTips {
                from_to_user_id: from_to(from, to),
                handle_msg: request.handle_msg.clone(),
                request: shown,
                ..FriendApplicationApprovedTips::default()
            };
            let kind = content_type::FRIEND_APPLICATION_APPROVED;
            let approved = Notification::to_user(kind, to, from, &tips)?;
            told.push(approved.in_chat().offline_push());
        }
        Ok(told)
    }

    /// Applications as clients see them.
    pub(crate) async fn requests_shown(
        &self,
        ctx: &Context,
        requests: Vec<FriendRequest>,
    ) -> Result<Vec<Shown>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let users = requests
            .iter()
            .flat_map(|r| [r.from_id.clone(), r.to_id.clone()]);
        let users = profiles(&self.deps, ctx, users.collect()).await?;
        let shown = requests.into_iter().map(|request| {
            let profile = |id| users.get(id).cloned().unwrap_or_default();
            let (from, to) = (profile(&request.from_id), profile(&request.to_id));
            Shown {
                from_user_id: request.from_id,
                from_nickname: from.nickname,
                from_face_url: from.face_url,
                to_user_id: request.to_id,
                to_nickname: to.nickname,
                to_face_url: to.face_url,
                handle_result: request.handle_result,
                req_msg: request.req_msg,
                create_time: request.create_time,
                handler_user_id: request.handler_id,
                handle_msg: request.handle_msg,
                handle_time: request.handle_time,
                ex: request.ex,
            }
        });
        Ok(shown.collect())
    }
}

/// Who has answered: the caller, or the one asked when the cluster itself acts for him.
fn handler<'a>(ctx: &'a Context, to: &'a str) -> &'a str {
    match ctx.user_id() {
        "" => to,
        caller => caller,
    }
}

fn answerable(found: Option<FriendRequest>, handled: Code) -> Result<FriendRequest> {
    let request = found.ok_or_else(|| Error::not_found("friend request not found"))?;
    if request.handle_result == OPEN {
        Ok(request)
    } else {
        Err(Error::new(handled, "the friend request has been answered"))
    }
}

fn blank(from: &str, to: &str) -> FriendRequest {
    FriendRequest {
        from_id: from.to_owned(),
        to_id: to.to_owned(),
        handle_result: OPEN,
        req_msg: String::new(),
        create_time: 0,
        handler_id: String::new(),
        handle_msg: String::new(),
        handle_time: 0,
        ex: String::new(),
        from_rev: 0,
        to_rev: 0,
        other_rev: 0,
        pending: Bytes::new(),
        rev: 0,
    }
}
