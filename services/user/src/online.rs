//! Who is online, on which platforms: from presence, and from the gateways whose presence entries can't be trusted.

use std::{collections::HashMap, time::Duration};

use magpie_presence::Platforms;
use magpie_proto::openim::{
    msggateway::{GetUsersOnlineStatusReq, msg_gateway_client::MsgGatewayClient},
    user::OnlineStatus,
};
use magpie_service::{Context, Deps, gateways};
use magpie_types::{Error, Platform, Result, UserId};

/// The state of each user, in order. A gateway that must be asked and does not answer counts as having nobody.
pub(crate) async fn status(
    deps: &Deps,
    context: &Context,
    limit: Duration,
    user_ids: Vec<String>,
) -> Result<Vec<OnlineStatus>> {
    let known: Vec<UserId> = user_ids
        .iter()
        .filter_map(|id| UserId::new(id.as_str()).ok())
        .collect();
    let lookup = deps.whereabouts(&known).await.map_err(Error::internal)?;
    let mut online: HashMap<String, Platforms> = HashMap::new();
    for (user, places) in known.into_iter().zip(lookup.users) {
        online.insert(user.into(), places.platforms());
    }
    let in_doubt = |gateway: &str| lookup.unknown.iter().any(|unknown| **unknown == *gateway);
    let answers = gateways::ask(deps, limit, in_doubt, |channel| {
        let request = context.as_internal().request(GetUsersOnlineStatusReq {
            user_i_ds: user_ids.clone(),
        });
        async move {
            MsgGatewayClient::new(channel)
                .get_users_online_status(request)
                .await
        }
    });
    for answer in answers.await {
        for user in answer.success_result {
            let platforms = user
                .detail_platform_status
                .iter()
                .filter_map(|d| Platform::from_number(d.platform_id));
            let entry = online.entry(user.user_id).or_default();
            *entry = entry.union(platforms.collect());
        }
    }
    Ok(user_ids
        .into_iter()
        .map(|user_id| {
            let platforms = online.get(&user_id).copied().unwrap_or_default();
            OnlineStatus {
                user_id,
                status: i32::from(!platforms.is_empty()),
                platform_i_ds: platforms.iter().map(Platform::number).collect(),
            }
        })
        .collect())
}
