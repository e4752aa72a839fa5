//! The token service with a real store and the user service, called as other services call it.

use std::sync::Arc;

use magpie_auth::Config;
use magpie_discovery::{Channel, InProcess, name};
use magpie_proto::{
    openim::auth::{
        ForceLogoutReq, GetAdminTokenReq, GetExistingTokenReq, GetUserTokenReq, InvalidateTokenReq,
        KickTokensReq, ParseTokenReq, auth_client::AuthClient,
    },
    status::from_status,
};
use magpie_service::Context;
use magpie_testkit::{Engines, admin, register, user};
use magpie_types::{Code, MultiLogin, Result};
use secrecy::SecretString;

struct World {
    auth: AuthClient<Channel>,
    admin: Context,
    engines: Engines,
}

/// Auth and user service with the users u1 and u2.
#[cfg(test)]
async fn world(config: Config) -> World {
    let engines = Engines::new().await;
    let (deps, registry) = (&engines.deps, &engines.registry);
    let secret = Arc::new(SecretString::from("sesame"));
    registry.serve(name::AUTH, magpie_auth::routes(deps, config, secret));
    registry.serve(
        name::USER,
        magpie_user::routes(deps, magpie_user::Config::default()),
    );
    register(deps, &["u1", "u2"]).await;
    World {
        auth: AuthClient::new(deps.channel(name::AUTH)),
        admin: admin(),
        engines,
    }
}

#[cfg(test)]
impl World {
    async fn issue(&self, user: &str, platform_id: i32) -> Result<String> {
        let request = self.admin.request(GetUserTokenReq {
            platform_id,
            user_id: user.to_owned(),
        });
        Ok(self
            .auth
            .clone()
            .get_user_token(request)
            .await
            .map_err(from_status)?
            .into_inner()
            .token)
    }

    /// 0, or the code with which the token is refused.
    async fn code(&self, token: &str) -> i32 {
        let parsed = self
            .auth
            .clone()
            .parse_token(ParseTokenReq {
                token: token.to_owned(),
            })
            .await;
        parsed.map_or_else(|status| from_status(status).code().number(), |_| 0)
    }

    async fn admin_token(&self, secret: &str, user_id: &str) -> Result<String> {
        let request = GetAdminTokenReq {
            secret: secret.to_owned(),
            user_id: user_id.to_owned(),
        };
        Ok(self
            .auth
            .clone()
            .get_admin_token(request)
            .await
            .map_err(from_status)?
            .into_inner()
            .token)
    }
}

#[tokio::test]
async fn a_second_login_kicks_the_first_and_a_third_forgets_it() {
    let world = world(Config::default()).await;
    let first = world.issue("u1", 5).await.unwrap();
    let phone = world.issue("u1", 2).await.unwrap();
    assert_eq!(world.code(&first).await, 0);
    let second = world.issue("u1", 5).await.unwrap();
    assert_eq!(
        (world.code(&first).await, world.code(&second).await),
        (1506, 0)
    );
    let third = world.issue("u1", 5).await.unwrap();
    assert_eq!(
        (
            world.code(&first).await,
            world.code(&second).await,
            world.code(&third).await
        ),
        (1507, 1506, 0)
    );
    assert_eq!(world.code(&phone).await, 0);
}

#[tokio::test]
async fn logins_at_the_same_time_leave_one_token() {
    let world = world(Config::default()).await;
    let tokens = futures::future::join_all((0..20).map(|_| world.issue("u1", 5))).await;
    let mut valid = 0;
    for token in tokens {
        valid += usize::from(world.code(&token.unwrap()).await == 0);
    }
    assert_eq!(valid, 1);
}

#[tokio::test]
async fn tokens_survive_a_new_instance_of_the_service() {
    let world = world(Config::default()).await;
    let token = world.issue("u1", 5).await.unwrap();
    let registry = InProcess::new();
    registry.serve(
        name::AUTH,
        magpie_auth::routes(
            &world.engines.deps,
            Config::default(),
            Arc::new(SecretString::from("sesame")),
        ),
    );
    let other = World {
        auth: AuthClient::new(magpie_discovery::Registry::channel(&*registry, name::AUTH)),
        ..world
    };
    assert_eq!(other.code(&token).await, 0);
}

#[tokio::test]
async fn a_token_of_another_instance_is_known_although_older_ones_are_in_memory() {
    let here = world(Config::default()).await;
    let secret = Arc::new(SecretString::from("sesame"));
    let elsewhere = InProcess::new();
    let routes = magpie_auth::routes(&here.engines.deps, Config::default(), secret);
    elsewhere.serve(name::AUTH, routes);
    let first = here.issue("u1", 5).await.unwrap();
    assert_eq!(here.code(&first).await, 0);
    let request = here.admin.request(GetUserTokenReq {
        platform_id: 2,
        user_id: "u1".to_owned(),
    });
    let channel = magpie_discovery::Registry::channel(&*elsewhere, name::AUTH);
    let mut other = AuthClient::new(channel);
    let second = other.get_user_token(request).await.unwrap().into_inner();
    assert_eq!(here.code(&second.token).await, 0);
}

#[tokio::test]
async fn kicks_are_seen_at_once() {
    let world = world(Config {
        multi_login_policy: MultiLogin::Unlimited,
        ..Config::default()
    })
    .await;
    let (a, b) = (
        world.issue("u1", 5).await.unwrap(),
        world.issue("u1", 5).await.unwrap(),
    );
    let c = world.issue("u2", 5).await.unwrap();
    assert_eq!(
        (
            world.code(&a).await,
            world.code(&b).await,
            world.code(&c).await
        ),
        (0, 0, 0)
    );
    let invalidate = InvalidateTokenReq {
        preserved_token: b.clone(),
        user_id: "u1".to_owned(),
        platform_id: 5,
    };
    world
        .auth
        .clone()
        .invalidate_token(world.admin.request(invalidate))
        .await
        .unwrap();
    assert_eq!((world.code(&a).await, world.code(&b).await), (1506, 0));
    let kick = KickTokensReq {
        tokens: vec![b.clone(), c.clone()],
    };
    world
        .auth
        .clone()
        .kick_tokens(world.admin.request(kick))
        .await
        .unwrap();
    assert_eq!((world.code(&b).await, world.code(&c).await), (1506, 1506));
}

#[tokio::test]
async fn a_forced_logout_ends_one_platform() {
    let world = world(Config::default()).await;
    let (web, phone) = (
        world.issue("u1", 5).await.unwrap(),
        world.issue("u1", 2).await.unwrap(),
    );
    let logout = |platform_id, user_id: &str| {
        world.admin.request(ForceLogoutReq {
            platform_id,
            user_id: user_id.to_owned(),
        })
    };
    let mut auth = world.auth.clone();
    auth.force_logout(logout(5, "u1")).await.unwrap();
    assert_eq!(
        (world.code(&web).await, world.code(&phone).await),
        (1506, 0)
    );
    for (platform, user) in [(0, "u1"), (13, "u1"), (5, "")] {
        assert_eq!(
            from_status(auth.force_logout(logout(platform, user)).await.unwrap_err()).code(),
            Code::ARGS
        );
    }
    auth.force_logout(logout(5, "nobody")).await.unwrap();
}

#[tokio::test]
async fn administrators_get_tokens_for_the_secret() {
    let world = world(Config::default()).await;
    let first = world.admin_token("sesame", "imAdmin").await.unwrap();
    let second = world.admin_token("sesame", "imAdmin").await.unwrap();
    assert_eq!(
        (world.code(&first).await, world.code(&second).await),
        (0, 0)
    );
    for (secret, user, code) in [
        ("sesame", "", Code::ARGS),
        ("wrong", "imAdmin", Code::NO_PERMISSION),
        ("", "imAdmin", Code::NO_PERMISSION),
        ("sesame", "u1", Code::ARGS),
    ] {
        assert_eq!(
            world.admin_token(secret, user).await.unwrap_err().code(),
            code,
            "{secret} {user}"
        );
    }
}

#[tokio::test]
async fn user_tokens_are_for_users_on_known_platforms() {
    let world = world(Config::default()).await;
    for (user, platform, code) in [
        ("u1", 10, Code::NO_PERMISSION),
        ("imAdmin", 1, Code::NO_PERMISSION),
        ("nobody", 1, Code::NOT_FOUND),
        ("", 1, Code::NOT_FOUND),
        ("u1", 0, Code::ARGS),
        ("u1", -1, Code::ARGS),
        ("u1", 99, Code::ARGS),
    ] {
        assert_eq!(
            world.issue(user, platform).await.unwrap_err().code(),
            code,
            "{user} {platform}"
        );
    }
    for platform in [1, 9, 11, 12] {
        assert!(world.issue("u1", platform).await.is_ok(), "{platform}");
    }
}

#[tokio::test]
async fn only_administrators_and_services_ask_for_tokens() {
    let world = world(Config::default()).await;
    let user = user("u1");
    let mut auth = world.auth.clone();
    let of = GetExistingTokenReq {
        user_id: "u1".to_owned(),
        platform_id: 5,
    };
    let token = GetUserTokenReq {
        platform_id: 5,
        user_id: "u1".to_owned(),
    };
    assert_eq!(
        from_status(auth.get_existing_token(user.request(of)).await.unwrap_err()).code(),
        Code::NO_PERMISSION
    );
    assert_eq!(
        from_status(
            auth.get_user_token(user.request(token.clone()))
                .await
                .unwrap_err()
        )
        .code(),
        Code::NO_PERMISSION
    );
    assert_eq!(
        from_status(auth.get_user_token(token).await.unwrap_err()).code(),
        Code::TOKEN_NOT_EXIST
    );
}
