//! Which services run, and what each is given.

use std::{
    fmt::Display,
    future::Future,
    sync::{Arc, OnceLock},
};

use anyhow::Context as _;
use magpie_discovery::{InProcess, name};
use magpie_gateway::Gateway;
use magpie_proto::openim::user::{AccountCheckReq, user_client::UserClient};
use magpie_service::{Context, Deps, config::Secret, grpc, health::Readiness};
use secrecy::SecretString;

use super::ports::Public;
use crate::config::Config;

/// The first part that ended by itself, and why.
pub(super) type Failed = Arc<OnceLock<String>>;

/// Starts everything; the returned cell is filled when a part fails, and the process is then stopped.
pub(super) fn start(
    deps: &Deps,
    registry: &InProcess,
    config: &Config,
    secret: Secret,
    readiness: &Readiness,
    ports: Public,
) -> Failed {
    let secret: Arc<SecretString> = Arc::new(secret.into());
    registry.serve(
        name::AUTH,
        magpie_auth::routes(deps, config.auth.clone(), secret),
    );
    registry.serve(name::USER, magpie_user::routes(deps, config.user.clone()));
    registry.serve(
        name::FRIEND,
        magpie_friend::routes(deps, config.friend.clone()),
    );
    registry.serve(
        name::GROUP,
        magpie_group::routes(deps, config.group.clone()),
    );
    registry.serve(
        name::CONVERSATION,
        magpie_conversation::routes(deps, config.conversation.clone()),
    );
    registry.serve(name::MSG, magpie_msg::routes(deps, config.msg.clone()));
    registry.serve(
        name::THIRD,
        magpie_third::routes(deps, config.third.clone()),
    );
    registry.serve(
        name::RTC,
        magpie_rtc_signaling::routes(deps, config.rtc_signaling.clone()),
    );
    registry.serve(name::PUSH, magpie_push::routes(deps, config.push.clone()));
    magpie_transfer::start(deps, config.transfer.clone());
    magpie_push::start(deps, config.push.clone());

    let failed = Failed::default();
    let gateway = Gateway::new(deps, config.gateway.clone(), name::GATEWAY.into());
    registry.serve(name::GATEWAY, gateway.routes());
    deps.tasks.spawn(gateway.serve(ports.ws));
    part(
        deps,
        &failed,
        "api",
        magpie_api::serve(deps.clone(), config.api.clone(), ports.api),
    );
    part(
        deps,
        &failed,
        "gRPC port",
        grpc::serve(
            deps.clone(),
            config.grpc.clone(),
            readiness.clone(),
            ports.grpc,
        ),
    );
    failed
}

/// Has the user service make the administrators, so that the first client finds everything in place.
pub(super) async fn warm_up(deps: &Deps) -> anyhow::Result<()> {
    let request = AccountCheckReq {
        check_user_i_ds: deps.admins.to_vec(),
    };
    let mut users = UserClient::new(deps.channel(name::USER));
    let answer = users
        .account_check(Context::internal("start").request(request))
        .await;
    answer
        .map_err(magpie_proto::status::from_status)
        .context("the administrators can't be made")?;
    Ok(())
}

/// Runs a part of the process; when it fails, the others are stopped.
fn part<E: Display + Send + 'static>(
    deps: &Deps,
    failed: &Failed,
    name: &'static str,
    serve: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    let (failed, shutdown) = (Arc::clone(failed), deps.shutdown.clone());
    deps.tasks.spawn(async move {
        if let Err(e) = serve.await {
            tracing::error!(part = name, error = %e, "a part of the process failed");
            failed.get_or_init(|| format!("the {name} failed: {e}"));
            shutdown.cancel();
        }
    });
}
