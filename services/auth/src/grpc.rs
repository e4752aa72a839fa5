//! `openim.auth.Auth`: decode, authorise, call, encode. Rules and their order: rest-api.md 4.1.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use magpie_discovery::name;
use magpie_proto::{
    openim::{
        auth::{
            ForceLogoutReq, ForceLogoutResp, GetAdminTokenReq, GetAdminTokenResp,
            GetExistingTokenReq, GetExistingTokenResp, GetUserTokenReq, GetUserTokenResp,
            InvalidateTokenReq, InvalidateTokenResp, KickTokensReq, KickTokensResp, ParseTokenReq,
            ParseTokenResp, auth_server::Auth,
        },
        msggateway::{KickUserOfflineReq, msg_gateway_client::MsgGatewayClient},
        sdkws::UserInfo,
        user::{GetDesignateUsersReq, user_client::UserClient},
    },
    status::from_status,
};
use magpie_service::{
    Context, Deps, gateways,
    rpc::{Answer, answer, at_most, filled, open},
};
use magpie_types::{Error, Platform, Result, time::now_ms, user::level};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tonic::Request;

use crate::{
    config::Config,
    jwt::Signer,
    policy,
    record::{self, Entry, state},
    tokens::TokenStore,
};

/// Most tokens that one call may kick.
const MAX_KICK: usize = 1000;

magpie_service::later! {}

/// The service behind its generated trait.
pub(crate) struct AuthGrpc {
    deps: Deps,
    config: Config,
    secret: Arc<SecretString>,
    signer: Signer,
    tokens: TokenStore,
}

impl AuthGrpc {
    pub(crate) fn new(deps: Deps, config: Config, secret: Arc<SecretString>) -> Self {
        let signer = Signer::new(&secret);
        let tokens = TokenStore::new(Arc::clone(&deps.store), &config);
        Self {
            deps,
            config,
            secret,
            signer,
            tokens,
        }
    }

    /// Life of a token, seconds.
    fn life(&self) -> i64 {
        i64::from(self.config.token_expire_days) * 86_400
    }

    fn is_admin(&self, user_id: &str) -> bool {
        self.deps.admins.iter().any(|admin| admin == user_id)
    }

    async fn issue(&self, user_id: &str, platform: Platform) -> Result<String> {
        let (token, expires) = self.signer.issue(user_id, platform.number(), self.life())?;
        let created = now_ms();
        let new = Entry {
            hash: record::hash(&token),
            platform: platform.number(),
            state: state::NORMAL,
            expires,
            created,
        };
        let Config {
            multi_login_policy,
            max_num_one_end,
            ..
        } = self.config;
        self.tokens
            .change(user_id, |tokens| {
                policy::issue(
                    tokens,
                    new.clone(),
                    platform,
                    multi_login_policy,
                    max_num_one_end,
                    created / 1000,
                );
            })
            .await?;
        Ok(token)
    }

    async fn user(&self, context: &Context, user_id: &str) -> Result<UserInfo> {
        let mut users = UserClient::new(self.deps.channel(name::USER));
        let request = context.request(GetDesignateUsersReq {
            user_i_ds: vec![user_id.to_owned()],
        });
        let answer = users
            .get_designate_users(request)
            .await
            .map_err(from_status)?;
        let found = answer
            .into_inner()
            .users_info
            .into_iter()
            .find(|u| u.user_id == user_id);
        found.ok_or_else(|| Error::not_found(format!("record not found: user {user_id:?}")))
    }

    async fn admin_token(&self, request: GetAdminTokenReq) -> Result<GetAdminTokenResp> {
        filled("userID", &request.user_id)?;
        let secret = self.secret.expose_secret().as_bytes();
        if !bool::from(secret.ct_eq(request.secret.as_bytes())) {
            return Err(Error::no_permission("secret invalid"));
        }
        if !self.is_admin(&request.user_id) {
            return Err(Error::args("userID is not an administrator"));
        }
        self.user(&Context::internal("get_admin_token"), &request.user_id)
            .await?;
        let token = self.issue(&request.user_id, Platform::Admin).await?;
        Ok(GetAdminTokenResp {
            token,
            expire_time_seconds: self.life(),
        })
    }

    async fn user_token(
        &self,
        context: &Context,
        request: GetUserTokenReq,
    ) -> Result<GetUserTokenResp> {
        context.require_admin()?;
        let platform = Platform::from_number(request.platform_id);
        if platform == Some(Platform::Admin) {
            return Err(Error::no_permission(
                "platformID invalid. platformID must not be adminPlatformID",
            ));
        }
        if self.is_admin(&request.user_id) {
            return Err(Error::no_permission(
                "administrators get their token by get_admin_token",
            ));
        }
        let user = self.user(&context.as_internal(), &request.user_id).await?;
        if user.app_manger_level >= level::SYSTEM {
            return Err(Error::args(
                "this account belongs to the application and can't log in",
            ));
        }
        let platform = platform.ok_or_else(|| Error::args("platformID is not known"))?;
        let token = self.issue(&request.user_id, platform).await?;
        Ok(GetUserTokenResp {
            token,
            expire_time_seconds: self.life(),
        })
    }

    async fn parse(&self, token: &str) -> Result<ParseTokenResp> {
        filled("token", token)?;
        let claims = self.signer.check(token)?;
        let alone = self.deps.registry.instances(name::AUTH).len() <= 1;
        self.tokens
            .check(
                alone,
                &claims.user_id,
                claims.platform_id,
                &record::hash(token),
                now_ms() / 1000,
            )
            .await?;
        Ok(ParseTokenResp {
            user_id: claims.user_id,
            platform_id: claims.platform_id,
            expire_time_seconds: claims.exp,
        })
    }

    async fn logout(&self, context: &Context, request: ForceLogoutReq) -> Result<()> {
        filled("userID", &request.user_id)?;
        if Platform::from_number(request.platform_id).is_none() {
            return Err(Error::args("platformID is not known"));
        }
        context.require_admin()?;
        self.tokens
            .change(&request.user_id, |t| {
                t.kick(|e| e.platform == request.platform_id)
            })
            .await?;
        self.close_connections(context, request.platform_id, &request.user_id)
            .await;
        Ok(())
    }

    /// Asks every gateway to close the user's connections on a platform. One that can't is only logged: the tokens are
    /// kicked already, so a connection that stays can't be made again.
    async fn close_connections(&self, context: &Context, platform_id: i32, user_id: &str) {
        let limit = Duration::from_millis(self.config.kick_timeout_ms);
        gateways::ask(
            &self.deps,
            limit,
            |_| true,
            |channel| {
                let kick = KickUserOfflineReq {
                    platform_id,
                    kick_user_id_list: vec![user_id.to_owned()],
                };
                let request = context.as_internal().request(kick);
                async move {
                    MsgGatewayClient::new(channel)
                        .kick_user_offline(request)
                        .await
                }
            },
        )
        .await;
    }

    async fn kick(&self, tokens: &[String]) -> Result<()> {
        at_most("tokens", tokens, MAX_KICK)?;
        let mut by_user: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for token in tokens {
            let claims = self.signer.read(token)?;
            by_user
                .entry(claims.user_id)
                .or_default()
                .push(record::hash(token));
        }
        for (user_id, hashes) in by_user {
            self.tokens
                .change(&user_id, |t| t.kick(|e| hashes.contains(&e.hash)))
                .await?;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl Auth for AuthGrpc {
    async fn get_admin_token(
        &self,
        request: Request<GetAdminTokenReq>,
    ) -> Answer<GetAdminTokenResp> {
        answer(self.admin_token(request.into_inner())).await
    }

    async fn get_user_token(&self, request: Request<GetUserTokenReq>) -> Answer<GetUserTokenResp> {
        answer(async {
            let (context, request) = open(request)?;
            self.user_token(&context, request).await
        })
        .await
    }

    async fn force_logout(&self, request: Request<ForceLogoutReq>) -> Answer<ForceLogoutResp> {
        answer(async {
            let (context, request) = open(request)?;
            self.logout(&context, request).await?;
            Ok(ForceLogoutResp {})
        })
        .await
    }

    async fn parse_token(&self, request: Request<ParseTokenReq>) -> Answer<ParseTokenResp> {
        answer(self.parse(&request.into_inner().token)).await
    }

    /// Kicks every token of (user, platform) but one.
    async fn invalidate_token(
        &self,
        request: Request<InvalidateTokenReq>,
    ) -> Answer<InvalidateTokenResp> {
        answer(async {
            let (context, request) = open(request)?;
            context.require_admin()?;
            let InvalidateTokenReq {
                preserved_token,
                user_id,
                platform_id,
            } = request;
            let preserved = record::hash(&preserved_token);
            self.tokens
                .change(&user_id, |t| {
                    t.kick(|e| e.platform == platform_id && e.hash != preserved)
                })
                .await?;
            Ok(InvalidateTokenResp {})
        })
        .await
    }

    async fn kick_tokens(&self, request: Request<KickTokensReq>) -> Answer<KickTokensResp> {
        answer(async {
            let (context, request) = open(request)?;
            context.require_admin()?;
            self.kick(&request.tokens).await?;
            Ok(KickTokensResp {})
        })
        .await
    }

    /// States of the tokens of (user, platform). The tokens themselves are not kept: the keys are their SHA-256 in hex.
    async fn get_existing_token(
        &self,
        request: Request<GetExistingTokenReq>,
    ) -> Answer<GetExistingTokenResp> {
        answer(async {
            let (context, request) = open(request)?;
            context.require_admin()?;
            let tokens = self.tokens.of(&request.user_id).await?;
            let of_platform = tokens
                .list
                .iter()
                .filter(|e| e.platform == request.platform_id);
            Ok(GetExistingTokenResp {
                token_states: of_platform
                    .map(|e| (hex::encode(&e.hash), e.state))
                    .collect(),
            })
        })
        .await
    }
}
