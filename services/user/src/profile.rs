//! Changes of a profile, and how everybody who shows it learns of them (messages-and-sync.md 15).
//!
//! The user's document is the decisive one. His devices are told (1303); if his name or portrait changed, friend and group walk
//! through those who show it, each in a job of its own.

use std::sync::Arc;

use magpie_discovery::name;
use magpie_proto::{
    openim::{
        group, relation,
        sdkws::{UserInfo, UserInfoUpdatedTips, UserInfoWithEx},
    },
    status::from_status,
};
use magpie_service::{
    Caller, Context,
    notification::{self, Notification},
    pending,
};
use magpie_store::{documents::User, key};
use magpie_types::{Error, Result, UserId, msg::content_type, user::recv_opt};

use crate::users::{Users, check_length, info};

/// Marks of an intent: the user's devices are told; those who show him are.
const TELL_SELF: u8 = 1;
const TELL_OTHERS: u8 = 1 << 1;

/// New values of a profile; None stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patch {
    pub(crate) nickname: Option<String>,
    pub(crate) face_url: Option<String>,
    pub(crate) ex: Option<String>,
    pub(crate) global_recv_msg_opt: Option<i32>,
    /// The user's own devices learn of it elsewhere, or have none.
    pub(crate) quiet: bool,
}

impl Patch {
    /// Of the newer route: what is present is set, empty texts too.
    pub(crate) fn of_present(new: UserInfoWithEx) -> Self {
        Self {
            nickname: new.nickname.map(|v| v.value),
            face_url: new.face_url.map(|v| v.value),
            ex: new.ex.map(|v| v.value),
            global_recv_msg_opt: new.global_recv_msg_opt.map(|v| v.value),
            quiet: false,
        }
    }

    /// Of the older route: what is neither empty nor 0 is set.
    pub(crate) fn of_filled(new: UserInfo) -> Self {
        let filled = |text: String| (!text.is_empty()).then_some(text);
        let opt = new.global_recv_msg_opt;
        Self {
            nickname: filled(new.nickname),
            face_url: filled(new.face_url),
            ex: filled(new.ex),
            global_recv_msg_opt: (opt != 0).then_some(opt),
            quiet: false,
        }
    }

    /// Rules on the values (1001).
    pub(crate) fn check(&self, limit: usize) -> Result<()> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        check_length(
            &[
                ("nickname", &text(&self.nickname)),
                ("faceURL", &text(&self.face_url)),
                ("ex", &text(&self.ex)),
            ],
            limit,
        )?;
        match self.global_recv_msg_opt {
            None | Some(recv_opt::RECEIVE..=recv_opt::DO_NOT_NOTIFY) => Ok(()),
            Some(_) => Err(Error::args("globalRecvMsgOpt is invalid")),
        }
    }

    /// Applies the values; what follows.
    fn apply(&self, user: &mut User) -> u8 {
        let shown = [
            set(&mut user.nickname, self.nickname.as_ref()),
            set(&mut user.face_url, self.face_url.as_ref()),
        ];
        set(&mut user.ex, self.ex.as_ref());
        set(
            &mut user.global_recv_msg_opt,
            self.global_recv_msg_opt.as_ref(),
        );
        let others = if shown.contains(&true) {
            TELL_OTHERS
        } else {
            0
        };
        let own = if self.quiet { 0 } else { TELL_SELF };
        others | own
    }
}

/// Sets a field if a value is given; whether that changed it.
fn set<T: PartialEq + Clone>(field: &mut T, value: Option<&T>) -> bool {
    match value {
        Some(value) if value != field => {
            *field = value.clone();
            true
        }
        _ => false,
    }
}

impl Users {
    /// Changes a profile by a checked patch; `missing` says what the answer is for nobody's.
    pub(crate) async fn update(
        self: &Arc<Self>,
        ctx: &Context,
        user_id: &str,
        patch: &Patch,
        missing: impl Fn() -> Error + Send,
    ) -> Result<()> {
        let operator = match ctx.user_id() {
            "" => user_id,
            caller => caller,
        };
        let written = pending::change(self.store.as_ref(), key![user_id], |found| {
            let mut user: User = found.ok_or_else(&missing)?;
            let mark = patch.apply(&mut user);
            operator.clone_into(&mut user.operator_id);
            Ok(Some((user, mark)))
        })
        .await?;
        let (users, ctx) = (Arc::clone(self), ctx.clone());
        pending::follow_up(&self.deps, 1, written, move |user| {
            let (users, ctx) = (Arc::clone(&users), ctx.clone());
            async move { users.roll_profile(&ctx, user).await }
        })
        .await;
        Ok(())
    }

    /// Does what follows a changed profile.
    pub(crate) async fn roll_profile(&self, ctx: &Context, user: User) -> Result<()> {
        let mark = pending::mark(&user.pending).unwrap_or(0);
        if mark & TELL_SELF != 0 {
            let kind = content_type::USER_INFO_UPDATED;
            let tips = UserInfoUpdatedTips {
                user_id: user.user_id.clone(),
            };
            let id = pending::message_id(&user.pending, &user.user_id, kind);
            let change = Notification::to_user(kind, &user.operator_id, &user.user_id, &tips)?;
            notification::send(&self.deps, ctx, change.client_msg_id(id)).await?;
        }
        if mark & TELL_OTHERS != 0 {
            self.tell_others(&self.on_behalf(ctx, &user.operator_id), &user)
                .await?;
        }
        pending::finish(self.store.as_ref(), user).await
    }

    /// Starts the walks of friend and group; each notes its own before it answers.
    async fn tell_others(&self, ctx: &Context, user: &User) -> Result<()> {
        let changed = relation::NotificationUserInfoUpdateReq {
            user_id: user.user_id.clone(),
            old_user_info: None,
            new_user_info: Some(info(user.clone())),
        };
        relation::friend_client::FriendClient::new(self.deps.channel(name::FRIEND))
            .notification_user_info_update(ctx.request(changed))
            .await
            .map_err(from_status)?;
        let changed = group::NotificationUserInfoUpdateReq {
            user_id: user.user_id.clone(),
            old_user_info: None,
            new_user_info: Some(info(user.clone())),
        };
        group::group_client::GroupClient::new(self.deps.channel(name::GROUP))
            .notification_user_info_update(ctx.request(changed))
            .await
            .map_err(from_status)?;
        Ok(())
    }

    /// The same operation, as whoever began it.
    fn on_behalf(&self, ctx: &Context, operator: &str) -> Context {
        let caller = match UserId::new(operator) {
            Ok(id) if self.is_admin(operator) => Caller::Admin(id),
            Ok(id) => Caller::User(id),
            Err(_) => Caller::Internal,
        };
        Context {
            caller,
            ..ctx.clone()
        }
    }
}
