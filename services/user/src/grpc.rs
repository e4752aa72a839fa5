//! `openim.user.user`: decode, authorise, call, encode. Rules and their order: rest-api.md 4.2.

use std::{sync::Arc, time::Duration};

use magpie_proto::openim::user::{account_check_resp::SingleUserStatus, user_server::User, *};
use magpie_service::{
    Context, Deps,
    rpc::{Answer, answer, at_most, distinct, filled, open, some},
};
use magpie_store::documents;
use magpie_types::{Error, Result, user::level};
use tonic::Request;

use crate::{
    accounts::account,
    commands::{Place, Values},
    online,
    profile::Patch,
    users::{Users, check_distinct, check_new, info},
};

magpie_service::later! {
    "gateways tell presence themselves": {
        set_user_status(SetUserStatusReq) -> SetUserStatusResp;
        set_user_online_status(SetUserOnlineStatusReq) -> SetUserOnlineStatusResp;
        get_all_online_users(GetAllOnlineUsersReq) -> GetAllOnlineUsersResp;
    }
}

/// The service behind its generated trait.
pub(crate) struct UserGrpc {
    deps: Deps,
    users: Arc<Users>,
}

impl UserGrpc {
    pub(crate) fn new(deps: Deps, users: Arc<Users>) -> Self {
        Self { deps, users }
    }

    /// Caller and request, once the administrators exist.
    async fn open<T>(&self, request: Request<T>) -> Result<(Context, T)> {
        let opened = open(request)?;
        self.users.ready().await?;
        Ok(opened)
    }

    /// Changes a user's profile for himself or an administrator.
    async fn update(&self, context: &Context, user_id: String, patch: Patch) -> Result<()> {
        filled("userID", &user_id)?;
        patch.check(self.users.config.max_field_bytes)?;
        context.require_self(&user_id)?;
        self.users
            .update(context, &user_id, &patch, || unknown(&user_id))
            .await
    }

    /// A registered user (1004).
    async fn existing(&self, user_id: &str) -> Result<documents::User> {
        let found = self.users.find(user_id).await?;
        found.ok_or_else(|| unknown(user_id))
    }
}

#[tonic::async_trait]
impl User for UserGrpc {
    async fn get_designate_users(
        &self,
        request: Request<GetDesignateUsersReq>,
    ) -> Answer<GetDesignateUsersResp> {
        answer(async {
            let (_, request) = self.open(request).await?;
            at_most("userIDs", &request.user_i_ds, self.users.config.max_users)?;
            let found = self.users.find_many(&distinct(request.user_i_ds)).await?;
            Ok(GetDesignateUsersResp {
                users_info: found.into_iter().flatten().map(info).collect(),
            })
        })
        .await
    }

    async fn user_register(&self, request: Request<UserRegisterReq>) -> Answer<UserRegisterResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            at_most("users", &request.users, self.users.config.max_users)?;
            check_new(&request.users, self.users.config.max_field_bytes)?;
            context.require_admin()?;
            check_distinct(request.users.iter().map(|u| u.user_id.as_str()))?;
            self.users.register(request.users).await?;
            Ok(UserRegisterResp {})
        })
        .await
    }

    async fn account_check(&self, request: Request<AccountCheckReq>) -> Answer<AccountCheckResp> {
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
    ) -> Answer<GetGlobalRecvMessageOptResp> {
        answer(async {
            let (_, request) = self.open(request).await?;
            let user = self.existing(&request.user_id).await?;
            Ok(GetGlobalRecvMessageOptResp {
                global_recv_msg_opt: user.global_recv_msg_opt,
            })
        })
        .await
    }

    async fn get_all_user_id(&self, request: Request<GetAllUserIdReq>) -> Answer<GetAllUserIdResp> {
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
    ) -> Answer<GetPaginationUsersResp> {
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
                    u.app_manger_level < level::ADMIN
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
    ) -> Answer<GetUserStatusResp> {
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
    ) -> Answer<SubscribeOrCancelUsersStatusResp> {
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
    ) -> Answer<GetSubscribeUsersStatusResp> {
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
    ) -> Answer<AddNotificationAccountResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            filled("nickName", &request.nick_name)?;
            context.require_admin()?;
            if request.app_manger_level < level::SYSTEM {
                return Err(Error::args("appMangerLevel is less than 3"));
            }
            self.users.add_account(request).await
        })
        .await
    }

    async fn update_notification_account_info(
        &self,
        request: Request<UpdateNotificationAccountInfoReq>,
    ) -> Answer<UpdateNotificationAccountInfoResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            filled("userID", &request.user_id)?;
            if request.nick_name.is_empty() && request.face_url.is_empty() {
                return Err(Error::args("nickName and faceURL are empty"));
            }
            context.require_admin()?;
            self.users.update_account(&context, request).await?;
            Ok(UpdateNotificationAccountInfoResp {})
        })
        .await
    }

    async fn search_notification_account(
        &self,
        request: Request<SearchNotificationAccountReq>,
    ) -> Answer<SearchNotificationAccountResp> {
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
    ) -> Answer<GetNotificationAccountResp> {
        answer(async {
            let (_, request) = self.open(request).await?;
            filled("userID", &request.user_id)?;
            let found = self.existing(&request.user_id).await?;
            if found.app_manger_level < level::SYSTEM && !self.users.is_admin(&found.user_id) {
                return Err(Error::no_permission("this is no system account"));
            }
            Ok(GetNotificationAccountResp {
                account: Some(account(found)),
            })
        })
        .await
    }

    async fn update_user_info(
        &self,
        request: Request<UpdateUserInfoReq>,
    ) -> Answer<UpdateUserInfoResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            let new = request.user_info.unwrap_or_default();
            self.update(&context, new.user_id.clone(), Patch::of_filled(new))
                .await?;
            Ok(UpdateUserInfoResp {})
        })
        .await
    }

    async fn update_user_info_ex(
        &self,
        request: Request<UpdateUserInfoExReq>,
    ) -> Answer<UpdateUserInfoExResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            let empty = || Error::args("userInfo is empty");
            let new = request.user_info.ok_or_else(empty)?;
            self.update(&context, new.user_id.clone(), Patch::of_present(new))
                .await?;
            Ok(UpdateUserInfoExResp {})
        })
        .await
    }

    async fn set_global_recv_message_opt(
        &self,
        request: Request<SetGlobalRecvMessageOptReq>,
    ) -> Answer<SetGlobalRecvMessageOptResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            let patch = Patch {
                global_recv_msg_opt: Some(request.global_recv_msg_opt),
                ..Patch::default()
            };
            self.update(&context, request.user_id, patch).await?;
            Ok(SetGlobalRecvMessageOptResp {})
        })
        .await
    }

    /// These users by the names given, or their own where none is given.
    async fn sort_query(&self, request: Request<SortQueryReq>) -> Answer<SortQueryResp> {
        answer(async {
            let (_, request) = self.open(request).await?;
            let ids: Vec<String> = request.user_id_name.keys().cloned().collect();
            let found = self.users.find_many(&ids).await?;
            let mut users: Vec<_> = found.into_iter().flatten().map(info).collect();
            users.sort_by_cached_key(|user| {
                let name = request.user_id_name.get(&user.user_id);
                let name = name.filter(|name| !name.is_empty());
                (name.unwrap_or(&user.nickname).clone(), user.user_id.clone())
            });
            if !request.asc {
                users.reverse();
            }
            Ok(SortQueryResp { users })
        })
        .await
    }

    async fn user_register_count(
        &self,
        request: Request<UserRegisterCountReq>,
    ) -> Answer<UserRegisterCountResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            context.require_admin()?;
            self.users.register_count(request.start, request.end).await
        })
        .await
    }

    async fn process_user_command_add(
        &self,
        request: Request<ProcessUserCommandAddReq>,
    ) -> Answer<ProcessUserCommandAddResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            let place = Place::of(&context, request.user_id, request.r#type, request.uuid)?;
            let values = Values::of(request.value, request.ex);
            self.users.add_command(&context, &place, values).await?;
            Ok(ProcessUserCommandAddResp {})
        })
        .await
    }

    async fn process_user_command_update(
        &self,
        request: Request<ProcessUserCommandUpdateReq>,
    ) -> Answer<ProcessUserCommandUpdateResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            let place = Place::of(&context, request.user_id, request.r#type, request.uuid)?;
            let values = Values::of(request.value, request.ex);
            self.users.update_command(&context, &place, values).await?;
            Ok(ProcessUserCommandUpdateResp {})
        })
        .await
    }

    async fn process_user_command_delete(
        &self,
        request: Request<ProcessUserCommandDeleteReq>,
    ) -> Answer<ProcessUserCommandDeleteResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            let place = Place::of(&context, request.user_id, request.r#type, request.uuid)?;
            self.users.delete_command(&context, &place).await?;
            Ok(ProcessUserCommandDeleteResp {})
        })
        .await
    }

    async fn process_user_command_get(
        &self,
        request: Request<ProcessUserCommandGetReq>,
    ) -> Answer<ProcessUserCommandGetResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            filled("userID", &request.user_id)?;
            if request.r#type == 0 {
                return Err(Error::args("type is empty"));
            }
            context.require_self(&request.user_id)?;
            let kind = Some(request.r#type);
            let found = self.users.commands(&request.user_id, kind).await?;
            let shown = found.into_iter().map(|c| CommandInfoResp {
                r#type: c.kind,
                create_time: c.create_time,
                uuid: c.uuid,
                value: c.value,
                ex: c.ex,
            });
            Ok(ProcessUserCommandGetResp {
                command_resp: shown.collect(),
            })
        })
        .await
    }

    async fn process_user_command_get_all(
        &self,
        request: Request<ProcessUserCommandGetAllReq>,
    ) -> Answer<ProcessUserCommandGetAllResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            filled("userID", &request.user_id)?;
            context.require_self(&request.user_id)?;
            let found = self.users.commands(&request.user_id, None).await?;
            let shown = found.into_iter().map(|c| AllCommandInfoResp {
                r#type: c.kind,
                create_time: c.create_time,
                uuid: c.uuid,
                value: c.value,
                ex: c.ex,
            });
            Ok(ProcessUserCommandGetAllResp {
                command_resp: shown.collect(),
            })
        })
        .await
    }

    async fn get_user_client_config(
        &self,
        request: Request<GetUserClientConfigReq>,
    ) -> Answer<GetUserClientConfigResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            if !request.user_id.is_empty() {
                context.require_self(&request.user_id)?;
                self.existing(&request.user_id).await?;
            }
            Ok(GetUserClientConfigResp {
                configs: self.users.client_config(&request.user_id).await?,
            })
        })
        .await
    }

    async fn set_user_client_config(
        &self,
        request: Request<SetUserClientConfigReq>,
    ) -> Answer<SetUserClientConfigResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            context.require_admin()?;
            if !request.user_id.is_empty() {
                self.existing(&request.user_id).await?;
            }
            self.users
                .set_client_config(&request.user_id, request.configs)
                .await?;
            Ok(SetUserClientConfigResp {})
        })
        .await
    }

    async fn del_user_client_config(
        &self,
        request: Request<DelUserClientConfigReq>,
    ) -> Answer<DelUserClientConfigResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            context.require_admin()?;
            self.users
                .delete_client_config(&request.user_id, &request.keys)
                .await?;
            Ok(DelUserClientConfigResp {})
        })
        .await
    }

    async fn page_user_client_config(
        &self,
        request: Request<PageUserClientConfigReq>,
    ) -> Answer<PageUserClientConfigResp> {
        answer(async {
            let (context, request) = self.open(request).await?;
            context.require_admin()?;
            let place = (&*request.user_id, &*request.key);
            let (total, configs) = self
                .users
                .page_client_config(place, request.pagination)
                .await?;
            Ok(PageUserClientConfigResp {
                total: i64::try_from(total).unwrap_or(i64::MAX),
                configs,
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
