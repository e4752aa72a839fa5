//! Which services there are, and what each is given.

use std::{
    fmt::Display,
    future::Future,
    sync::{Arc, OnceLock},
};

use anyhow::Context as _;
use magpie_discovery::name;
use magpie_gateway::Gateway;
use magpie_proto::openim::user::{AccountCheckReq, user_client::UserClient};
use magpie_service::{Context, Deps, config::Secret, grpc, health::Readiness};
use secrecy::SecretString;

use tonic::service::Routes;

use super::{Host, Plan, ports::Public};
use crate::config::Config;

/// The first part that ended by itself, and why.
pub(super) type Failed = Arc<OnceLock<String>>;

/// All services, in the order in which they are started.
pub(crate) const ALL: [&str; 12] = [
    name::AUTH,
    name::USER,
    name::FRIEND,
    name::GROUP,
    name::CONVERSATION,
    name::MSG,
    name::THIRD,
    name::RTC,
    name::TRANSFER,
    name::PUSH,
    name::GATEWAY,
    name::API,
];

/// Starts the plan's services; the returned cell is filled when a part fails, and the process is then stopped.
pub(super) fn start(
    deps: &Deps,
    host: &mut Host,
    config: &Config,
    plan: &Plan,
    secret: Secret,
    readiness: &Readiness,
    ports: Public,
) -> Failed {
    let failed = Failed::default();
    let secret: Arc<SecretString> = Arc::new(secret.into());
    for service in ALL.into_iter().filter(|service| plan.has(service)) {
        let routes = match service {
            name::AUTH => magpie_auth::routes(deps, config.auth.clone(), Arc::clone(&secret)),
            name::USER => magpie_user::routes(deps, config.user.clone()),
            name::FRIEND => magpie_friend::routes(deps, config.friend.clone()),
            name::GROUP => magpie_group::routes(deps, config.group.clone()),
            name::CONVERSATION => magpie_conversation::routes(deps, config.conversation.clone()),
            name::MSG => magpie_msg::routes(deps, config.msg.clone()),
            name::THIRD => magpie_third::routes(deps, config.third.clone()),
            name::RTC => magpie_rtc_signaling::routes(deps, config.rtc_signaling.clone()),
            name::PUSH => {
                magpie_push::start(deps, config.push.clone());
                magpie_push::routes(deps)
            }
            name::TRANSFER => {
                magpie_transfer::start(deps, config.transfer.clone());
                Routes::default()
            }
            _ => continue,
        };
        host.add(service, routes);
    }
    if let Some(listener) = ports.ws {
        let id = host.instance(name::GATEWAY);
        let gateway = Gateway::new(deps, config.gateway.clone(), id.into());
        host.add(name::GATEWAY, gateway.routes());
        // Whose handshake is answered must not be unknown to push.
        let (mut ready, shutdown) = (readiness.watch(), deps.shutdown.clone());
        let ready = async move { ready.wait_for(|ready| *ready).await.is_ok() };
        deps.tasks.spawn(async move {
            if shutdown.run_until_cancelled(ready).await == Some(true) {
                gateway.serve(listener).await;
            }
        });
    }
    if let Some(listener) = ports.api {
        let serve = magpie_api::serve(deps.clone(), config.api.clone(), listener);
        part(deps, &failed, "api", serve);
        host.add(name::API, Routes::default());
    }
    if let Some(listener) = ports.grpc {
        let (config, readiness) = (config.grpc.clone(), readiness.clone());
        let serve = grpc::serve(deps.clone(), config, readiness, listener);
        part(deps, &failed, "gRPC port", serve);
    }
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
pub(super) fn part<E: Display + Send + 'static>(
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
