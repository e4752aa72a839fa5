//! `openim.user.user`: decode, authorise, call, encode. Rules and their order: rest-api.md 4.2.

use std::time::Duration;

use magpie_proto::openim::user::{account_check_resp::SingleUserStatus, user_server::User, *};
use magpie_service::{
    Context, Deps,
    rpc::{answer, at_most, filled, open, some},
};
use magpie_types::{Error, Result};
use tonic::{Request, Response, Status};

use crate::{
    accounts::{SYSTEM_LEVEL, account},
    config::Config,
    online,
    users::{Users, check_distinct, check_new, info},
};

magpie_service::later! {
    "profiles": {
        update_user_info(UpdateUserInfoReq) -> UpdateUserInfoResp;
        update_user_info_ex(UpdateUserInfoExReq) -> UpdateUserInfoExResp;
        set_global_recv_message_opt(SetGlobalRecvMessageOptReq) -> SetGlobalRecvMessageOptResp;
        sort_query(SortQueryReq) -> SortQueryResp;
    }
    "user commands": {
        process_user_command_add(ProcessUserCommandAddReq) -> ProcessUserCommandAddResp;
        process_user_command_update(ProcessUserCommandUpdateReq) -> ProcessUserCommandUpdateResp;
        process_user_command_delete(ProcessUserCommandDeleteReq) -> ProcessUserCommandDeleteResp;
        process_user_command_get(ProcessUserCommandGetReq) -> ProcessUserCommandGetResp;
        process_user_command_get_all(ProcessUserCommandGetAllReq) -> ProcessUserCommandGetAllResp;
    }
    "statistics": {
        user_register_count(UserRegisterCountReq) -> UserRegisterCountResp;
    }
    "presence across processes": {
        set_user_status(SetUserStatusReq) -> SetUserStatusResp;
        set_user_online_status(SetUserOnlineStatusReq) -> SetUserOnlineStatusResp;
        get_all_online_users(GetAllOnlineUsersReq) -> GetAllOnlineUsersResp;
    }
    "client settings": {
        get_user_client_config(GetUserClientConfigReq) -> GetUserClientConfigResp;
        set_user_client_config(SetUserClientConfigReq) -> SetUserClientConfigResp;
        del_user_client_config(DelUserClientConfigReq) -> DelUserClientConfigResp;
        page_user_client_config(PageUserClientConfigReq) -> PageUserClientConfigResp;
    }
}

/// The service behind its generated trait.
pub(crate) struct UserGrpc {
    deps: Deps,
    users: Users,
}

impl UserGrpc {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        let users = Users::new(&deps, config);
        Self { deps, users }
    }

    /// Caller and request, once the administrators exist.
    async fn open<T>(&self, request: Request<T>) -> Result<(Context, T)> {
        let opened = open(request)?;
        self.users.ready().await?;
        Ok(opened)
    }
}

#[tonic::async_trait]
impl User for UserGrpc {
    async fn get_designate_users(
        &self,
        request: Request<GetDesignateUsersReq>,
    ) -> Result<Response<GetDesignateUsersResp>, Status> {
        answer(async {
            let (_, request) = self.open(request).await?;
            let found = self.users.find_many(&request.user_i_ds).await?;
            Ok(GetDesignateUsersResp {
                users_info: found.into_iter().flatten().map(info).collect(),
            })
        })
        .await
    }

    async fn user_register(
        &self,
        request: Request<UserRegisterReq>,
    ) -> Result<Response<UserRegisterResp>, Status> {
        answer(async {
            let (context, request) = self.open(request).await?;
            check_new(&request.users, self.users.config.max_field_bytes)?;
            at_most("users", &request.users, self.users.config.max_users)?;
            context.require_admin()?;
            check_distinct(request.users.iter().map(|u| u.user_id.as_str()))?;
            self.users.register(request.users).await?;
            Ok(UserRegisterResp {})
        })
        .await
    }

    async fn account_check(
        &self,
        request: Request<AccountCheckReq>,
    ) -> Result<Response<AccountCheckResp>, Status> {
        answer(async {
            let (context, request) = self.open(request).await?;
            check_distinct(request.check_user_i_ds.iter().map(String::as_str))?;
            context.require_admin()?;
            let found = self.users.find_many(&request.check_user_i_ds).await?;
            let status = |(user_id, user): (_, Option<_>)| SingleUserStatus {
                user_id,
                account_status: i32::from(user.is_some()),
            };
            Ok(AccountCheckResp {
                results: request
                    .check_user_i_ds
                    .into_iter()
                    .zip(found)
                    .map(status)
                    .collect(),
            })
        })
        .await
    }

    async fn get_global_recv_message_opt(
        &self,
        request: Request<GetGlobalRecvMessageOptReq>,
    ) -> Result<Response<GetGlobalRecvMessageOptResp>, Status> {
        answer(async {
            let (_, request) = self.open(request).await?;
            let user = self
                .users
                .find(&request.user_id)
                .await?
                .ok_or_else(|| unknown(&request.user_id))?;
            Ok(GetGlobalRecvMessageOptResp {
                global_recv_msg_opt: user.global_recv_msg_opt,
            })
        })
        .await
    }

    async fn get_all_user_id(
        &self,
        request: Request<GetAllUserIdReq>,
    ) -> Result<Response<GetAllUserIdResp>, Status> {
        answer(async {
            let (context, request) = self.open(request).await?;
            context.require_admin()?;
            let (total, users) = self.users.page(request.pagination, |_| true).await?;
            Ok(GetAllUserIdResp {
                total: count(total),
                user_i_ds: users.into_iter().map(|u| u.user_id).collect(),
            })
        })
        .await
    }

    /// Users who are no system accounts nor administrators; a pattern is a part of the id or of the nickname in any case.
    async fn get_pagination_users(
        &self,
        request: Request<GetPaginationUsersReq>,
    ) -> Result<Response<GetPaginationUsersResp>, Status> {
        answer(async {
            let (context, request) = self.open(request).await?;
            context.require_admin()?;
            let (id, name) = (
                request.user_id.to_lowercase(),
                request.nick_name.to_lowercase(),
            );
            let has =
                |text: &str, part: &str| !part.is_empty() && text.to_lowercase().contains(part);
            let (total, users) = self
                .users
                .page(request.pagination, |u| {
                    let any = id.is_empty() && name.is_empty();
                    u.app_manger_level < 2
                        && (any || has(&u.user_id, &id) || has(&u.nickname, &name))
                })
                .await?;
            Ok(GetPaginationUsersResp {
                total: count(total),
                users: users.into_iter().map(info).collect(),
            })
        })
        .await
    }

    async fn get_user_status(
        &self,
        request: Request<GetUserStatusReq>,
    ) -> Result<Response<GetUserStatusResp>, Status> {
        answer(async {
            let (context, request) = self.open(request).await?;
            some("UserIDs", &request.user_i_ds)?;
            at_most("UserIDs", &request.user_i_ds, self.users.config.max_users)?;
            let limit = Duration::from_millis(self.users.config.gateway_timeout_ms);
            Ok(GetUserStatusResp {
                status_list: online::status(&self.deps, &context, limit, request.user_i_ds).await?,
            })
        })
        .await
    }

    /// Checked and otherwise ignored: subscriptions are made on the WebSocket.
    async fn subscribe_or_cancel_users_status(
        &self,
        request: Request<SubscribeOrCancelUsersStatusReq>,
    ) -> Result<Response<SubscribeOrCancelUsersStatusResp>, Status> {
        answer(async {
            let (_, request) = self.open(request).await?;
            filled("userID", &request.user_id)?;
            if !matches!(request.genre, 1 | 2) {
                return Err(Error::args("genre is 1 to subscribe or 2 to cancel"));
            }
            Ok(SubscribeOrCancelUsersStatusResp::default())
        })
        .await
    }

    /// Always empty; see [`Self::subscribe_or_cancel_users_status`].
    async fn get_subscribe_users_status(
        &self,
        request: Request<GetSubscribeUsersStatusReq>,
    ) -> Result<Response<GetSubscribeUsersStatusResp>, Status> {
        answer(async {
            let (_, request) = self.open(request).await?;
            filled("userID", &request.user_id)?;
            Ok(GetSubscribeUsersStatusResp::default())
        })
        .await
    }

    async fn add_notification_account(
        &self,
        request: Request<AddNotificationAccountReq>,
    ) -> Result<Response<AddNotificationAccountResp>, Status> {
        answer(async {
            let (context, request) = self.open(request).await?;
            filled("nickName", &request.nick_name)?;
            context.require_admin()?;
            if request.app_manger_level < SYSTEM_LEVEL {
                return Err(Error::args("appMangerLevel is less than 3"));
            }
            self.users.add_account(request).await
        })
        .await
    }

    async fn update_notification_account_info(
        &self,
        request: Request<UpdateNotificationAccountInfoReq>,
    ) -> Result<Response<UpdateNotificationAccountInfoResp>, Status> {
        answer(async {
            let (context, request) = self.open(request).await?;
            filled("userID", &request.user_id)?;
            if request.nick_name.is_empty() && request.face_url.is_empty() {
                return Err(Error::args("nickName and faceURL are empty"));
            }
            context.require_admin()?;
            self.users.update_account(&request).await?;
            Ok(UpdateNotificationAccountInfoResp {})
        })
        .await
    }

    async fn search_notification_account(
        &self,
        request: Request<SearchNotificationAccountReq>,
    ) -> Result<Response<SearchNotificationAccountResp>, Status> {
        answer(async {
            let (context, request) = self.open(request).await?;
            context.require_admin()?;
            self.users.search_accounts(request).await
        })
        .await
    }

    async fn get_notification_account(
        &self,
        request: Request<GetNotificationAccountReq>,
    ) -> Result<Response<GetNotificationAccountResp>, Status> {
        answer(async {
            let (_, request) = self.open(request).await?;
            filled("userID", &request.user_id)?;
            let found = self
                .users
                .find(&request.user_id)
                .await?
                .ok_or_else(|| unknown(&request.user_id))?;
            if found.app_manger_level < SYSTEM_LEVEL && !self.users.is_admin(&found.user_id) {
                return Err(Error::no_permission("this is no system account"));
            }
            Ok(GetNotificationAccountResp {
                account: Some(account(found)),
            })
        })
        .await
    }

    later_rpcs!();
}

fn unknown(user_id: &str) -> Error {
    Error::not_found(format!("record not found: user {user_id:?}"))
}

fn count(total: usize) -> i32 {
    i32::try_from(total).unwrap_or(i32::MAX)
}
