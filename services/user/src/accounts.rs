//! System accounts: users of the application itself that send notices and never log in.

use std::sync::Arc;

use magpie_proto::openim::{
    sdkws::UserInfo,
    user::{
        AddNotificationAccountReq, AddNotificationAccountResp, NotificationAccountInfo,
        SearchNotificationAccountReq, SearchNotificationAccountResp,
        UpdateNotificationAccountInfoReq,
    },
};
use magpie_service::Context;
use magpie_store::{Documents as _, Outcome, documents::User};
use magpie_types::{Error, Result, time::now_ms, user::level};

use crate::{
    profile::Patch,
    users::{Users, check_length, check_new_id, document},
};

/// How often a free id is looked for.
const ATTEMPTS: usize = 8;

impl Users {
    /// Makes a system account. An empty id is replaced by ten random digits; 1001 if the given one is in use.
    pub(crate) async fn add_account(
        &self,
        request: AddNotificationAccountReq,
    ) -> Result<AddNotificationAccountResp> {
        let AddNotificationAccountReq {
            user_id,
            nick_name,
            face_url,
            app_manger_level,
        } = request;
        self.check_account(&nick_name, &face_url)?;
        let wanted = !user_id.is_empty();
        if wanted {
            check_new_id(&user_id)?;
        }
        for _ in 0..ATTEMPTS {
            let user_id = if wanted { user_id.clone() } else { random_id() };
            let info = UserInfo {
                user_id: user_id.clone(),
                nickname: nick_name.clone(),
                face_url: face_url.clone(),
                app_manger_level,
                ..Default::default()
            };
            match self.store.add(document(info, now_ms())).await? {
                Outcome::Inserted => {
                    return Ok(AddNotificationAccountResp {
                        user_id,
                        face_url,
                        nick_name,
                        app_manger_level,
                    });
                }
                Outcome::Refused(reason) => return Err(Error::internal(reason)),
                _ if wanted => return Err(Error::args("userID is used already")),
                _ => {}
            }
        }
        Err(Error::internal("no free id for a system account"))
    }

    /// Changes what is given of name and avatar; 1001 if there is nobody with this id.
    pub(crate) async fn update_account(
        self: &Arc<Self>,
        ctx: &Context,
        request: UpdateNotificationAccountInfoReq,
    ) -> Result<()> {
        let patch = Patch {
            quiet: true,
            ..Patch::of_filled(UserInfo {
                nickname: request.nick_name,
                face_url: request.face_url,
                ..UserInfo::default()
            })
        };
        patch.check(self.config.max_field_bytes)?;
        let missing = || Error::args("there is no such account");
        self.update(ctx, &request.user_id, &patch, missing).await
    }

    fn check_account(&self, nick_name: &str, face_url: &str) -> Result<()> {
        let fields = [("nickName", nick_name), ("faceURL", face_url)];
        check_length(&fields, self.config.max_field_bytes)
    }

    /// A page of system accounts: the one whose id is the keyword, else those whose nickname is.
    pub(crate) async fn search_accounts(
        &self,
        request: SearchNotificationAccountReq,
    ) -> Result<SearchNotificationAccountResp> {
        let SearchNotificationAccountReq {
            keyword,
            app_manager_level,
            pagination,
        } = request;
        let fits = |u: &User| {
            let asked_for = app_manager_level.is_none_or(|asked| u.app_manger_level == asked);
            asked_for && u.app_manger_level >= level::SYSTEM && !self.is_admin(&u.user_id)
        };
        let by_id = if keyword.is_empty() {
            None
        } else {
            self.find(&keyword).await?.filter(fits)
        };
        let (total, accounts) = self
            .page(pagination, |u| {
                fits(u)
                    && match &by_id {
                        Some(found) => u.user_id == found.user_id,
                        None => keyword.is_empty() || u.nickname == keyword,
                    }
            })
            .await?;
        let notification_accounts = accounts.into_iter().map(account).collect();
        Ok(SearchNotificationAccountResp {
            total: i64::try_from(total).unwrap_or(i64::MAX),
            notification_accounts,
        })
    }
}

/// How an account is shown.
pub(crate) fn account(user: User) -> NotificationAccountInfo {
    let User {
        user_id,
        nickname,
        face_url,
        app_manger_level,
        ..
    } = user;
    NotificationAccountInfo {
        user_id,
        face_url,
        nick_name: nickname,
        app_manger_level,
    }
}

fn random_id() -> String {
    rand::random_range(1_000_000_000u64..10_000_000_000).to_string()
}
